//! Where packets go: remote VTEPs, native next hops, and the ports they are reached by.

use core::net::IpAddr;

use super::{Addresses, OverlayId, PortId};
use crate::wire::{Ethernet, Mac, OuterV4, OuterV6};

/// One remote VTEP of one overlay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The overlay it is in.
    pub overlay: OverlayId,
    /// Its VTEP address.
    pub vtep: IpAddr,
    /// Its VTEP MAC.
    pub mac: Mac,
    /// Over IPv6, neither it nor we need send an outer UDP checksum (RFC 6936).
    pub zero_checksum: bool,
    /// How to reach it; `None` while the kernel knows no next hop that answers.
    pub way: Option<Way>,
}

impl Peer {
    /// Does what arrives from `source` in this overlay come from this peer?
    #[inline]
    pub fn sends(&self, overlay: OverlayId, source: IpAddr) -> bool {
        self.overlay == overlay && self.vtep == source
    }
}

/// How packets reach a peer. All of it is worked out by the control plane; the data path copies and patches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    /// The underlay port.
    pub port: PortId,
    /// The prebuilt headers.
    pub header: OuterHeader,
    /// Bits of the inner TOS octet that are copied to the outer one: ECN always (RFC 6040 §4.1, normal mode), DSCP
    /// in the uniform model (RFC 2983).
    pub tos_mask: u8,
    /// Largest inner IP packet, in bytes.
    pub mtu: u16,
}

/// Prebuilt headers of either family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OuterHeader {
    /// Over IPv4.
    V4(OuterV4),
    /// Over IPv6. It is longer, and not to make the rows of all others longer.
    V6(Box<OuterV6>),
}

/// One neighbour on an access port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NextHop {
    /// The access port.
    pub port: PortId,
    /// Its address.
    pub addr: IpAddr,
    /// Its Ethernet header, that of IPv4 packets, and the largest packet in bytes; `None` while it does not answer.
    pub way: Option<(Ethernet, u16)>,
}

/// What the data path knows of a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortFacts {
    /// Its MAC address.
    pub mac: Mac,
    /// The addresses from which ICMP errors are sent to plain senders.
    pub addresses: Addresses,
    /// An access port that answers ARP and neighbour solicitations in the place of pods.
    pub proxy: bool,
}
