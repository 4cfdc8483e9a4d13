//! An overlay as the gateway takes part in it.

use core::net::IpAddr;

use super::Addresses;
use crate::wire::{Mac, Mtu, Vni};

/// How the DSCP of the outer header is chosen (RFC 2983).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dscp {
    /// Pipe model: a fixed code point, 0 to 63.
    Pipe(u8),
    /// Uniform model: the inner code point is copied.
    Uniform,
}

/// What is done lest packets are too big for the tunnels of an overlay. Nothing, by default.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Fit {
    /// TCP connections through its tunnels learn from the start what segments fit: the maximum segment size that a SYN
    /// announces is lowered, in both directions.
    pub mss_clamp: bool,
    /// IPv4 packets that may be fragmented are, instead of dropped, where they go into a tunnel or come out of one.
    pub fragment: bool,
}

/// One VXLAN segment and our end of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overlay {
    /// Name, for people and metrics.
    pub name: String,
    /// Network identifier (RFC 7348 §5).
    pub vni: Vni,
    /// UDP destination port, in both directions; 4789 by RFC 7348, 8472 with flannel.
    pub udp_port: u16,
    /// Our VTEP address: outer destination of what we take, outer source of what we send.
    pub local: IpAddr,
    /// Our VTEP MAC: inner destination of what we take, inner source of what we send.
    pub mac: Mac,
    /// The gateway's own addresses inside the overlay, from which it answers and reports errors.
    pub addresses: Addresses,
    /// Largest inner IP packet; when absent the underlay's MTU less the encapsulation decides alone.
    pub mtu: Option<Mtu>,
    /// What is done lest packets are too big.
    pub fit: Fit,
    /// Outer DSCP.
    pub dscp: Dscp,
    /// Drop inner packets whose source address is not routed to the peer that sent them.
    pub source_check: bool,
    /// Group policies (draft-smith-vxlan-group-policy) are taken, and carried between overlays that both have them.
    pub gbp: bool,
    /// Inner frames with a tag of this VLAN (1 to 4094) are taken as if they had none (RFC 7348 §6.1); 0 for no VLAN. What is
    /// sent has no tag.
    pub inner_vlan: u16,
    /// Over IPv6, send no outer UDP checksum, and take packets without one (RFC 6935, 6936), unless a peer is said to
    /// be otherwise. Over IPv4 none is sent, and none is asked for, in any case (RFC 7348 §5).
    pub zero_checksum: bool,
}
