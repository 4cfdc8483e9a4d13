//! Where packets go: remote VTEPs, native next hops, and the ports they are reached by.

use core::net::{IpAddr, Ipv4Addr};

use super::{OverlayId, PortId};
use crate::wire::outer::OuterV4;
use crate::wire::{Ethernet, Mac};

/// One remote VTEP of one overlay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The overlay it is in.
    pub overlay: OverlayId,
    /// Its VTEP address.
    pub vtep: IpAddr,
    /// Its VTEP MAC.
    pub mac: Mac,
    /// How to reach it; `None` while the kernel knows no next hop that answers.
    pub way: Option<Way>,
}

impl Peer {
    /// Does what arrives from `source` in this overlay come from this peer?
    #[inline]
    pub fn sends(&self, overlay: OverlayId, source: Ipv4Addr) -> bool {
        self.overlay == overlay && self.vtep == source
    }
}

/// How packets reach a peer. All of it is worked out by the control plane; the data path copies and patches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    /// The underlay port.
    pub port: PortId,
    /// The prebuilt headers.
    pub header: OuterV4,
    /// Bits of the inner TOS octet that are copied to the outer one: ECN always (RFC 6040 §4.1, normal mode), DSCP
    /// in the uniform model (RFC 2983).
    pub tos_mask: u8,
    /// Largest inner IP packet, in bytes.
    pub mtu: u16,
}

/// One neighbour on an access port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NextHop {
    /// The access port.
    pub port: PortId,
    /// Its address.
    pub addr: IpAddr,
    /// Its Ethernet header and the largest packet in bytes; `None` while it does not answer.
    pub way: Option<(Ethernet, u16)>,
}

/// What the data path knows of a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortFacts {
    /// Its MAC address.
    pub mac: Mac,
    /// The address from which ICMP errors are sent to plain senders.
    pub address: Option<Ipv4Addr>,
}
