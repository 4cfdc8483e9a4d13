//! The kernel's tables as a source: a mirror of one VXLAN device, whoever programs it (flanneld, Calico, FRR's EVPN, a
//! script).
//!
//! A route names a next hop on the device, or on the bridge that the device is a port of, or on a VLAN device above that
//! bridge. The next hop is a neighbour with a MAC address; the device's forwarding table (FDB) knows the VTEP behind that
//! MAC address. Route and VTEP may each lead on through next-hop objects and groups of them, whose members are equal ways
//! here: weights are not taken over. A host that is a neighbour on such a bridge itself (EVPN's type-2 routes) is a prefix
//! of its own.
//!
//! | file | what it holds |
//! |---|---|
//! | `fact` | what the kernel says, decoded |
//! | `ask` | what the kernel is asked |
//! | `routes` | the routes to a prefix, in the kernel's order |
//! | `mirror` | facts in, news out: what is known, and what must be resolved again |
//! | `resolve` | from a route to the VTEPs behind it; notes all that was looked at on the way |
//! | `follow` | [`Kernel`]: carries facts from the sockets to the mirror, and its news to the listener |
//!
//! What the kernel does (net/ipv4/fib_trie.c, net/ipv6/ip6_fib.c, net/ipv4/nexthop.c, drivers/net/vxlan/vxlan_core.c)
//! stands as comments beside the lines that rely on it.

mod ask;
mod fact;
mod follow;
mod mirror;
mod resolve;
mod routes;
#[cfg(test)]
mod tests;

use core::net::IpAddr;

use crate::wire::Vni;

pub use follow::{Error, Kernel};

/// What to mirror.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Name of the VXLAN device.
    pub device: String,
    /// The routing table; [`MAIN_TABLE`] unless the device belongs to a VRF.
    pub table: u32,
}

/// What the overlay expects of the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Network identifier.
    pub vni: Vni,
    /// UDP port.
    pub udp_port: u16,
    /// Our VTEP address. The others are of its family.
    pub local: IpAddr,
}

/// The routing table `main` (RT_TABLE_MAIN).
pub const MAIN_TABLE: u32 = libc::RT_TABLE_MAIN as u32;

/// Receive buffer for the kernel's announcements unless another is asked for, in bytes. One takes about 1 KiB of it.
pub const RECEIVE_BUFFER: usize = 16 << 20;
