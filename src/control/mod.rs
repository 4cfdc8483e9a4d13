//! Floor 4: waits for the world. Route events become a RIB, the RIB and the kernel's next hops become tables.

pub mod compile;
pub mod engine;
pub mod etcd;
mod explain;
pub mod herald;
pub mod keeper;
pub mod kubernetes;
pub mod learnt;
pub mod moves;
pub mod netlink;
pub mod pmtu;
pub mod rib;
mod shared;
pub mod source;
pub mod targets;
pub mod watch;

use core::net::IpAddr;

pub use targets::Targets;

use crate::tables::{OverlayId, PortId};
use crate::wire::{Mac, Prefix};

/// Where packets for a prefix go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Target {
    /// To a node of an overlay.
    Vtep {
        /// The overlay the node is in.
        overlay: OverlayId,
        /// The node's VTEP address: outer destination.
        vtep: IpAddr,
        /// The node's VTEP MAC: inner destination.
        mac: Mac,
        /// Over IPv6, neither it nor we need send an outer UDP checksum.
        zero_checksum: bool,
    },
    /// To a router or host on an access port.
    Native {
        /// The access port.
        port: PortId,
        /// The neighbour on it.
        next_hop: IpAddr,
    },
}

/// One line of the map: a prefix and where it lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Route {
    /// Destination prefix.
    pub prefix: Prefix,
    /// Where its packets go.
    pub target: Target,
}
