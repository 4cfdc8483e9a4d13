//! The neighbour keeper: asks the kernel where packets for a next hop go, and keeps the answers fresh before any
//! packet needs them.
//!
//! The kernel owns addresses, routes and neighbours of the underlay. The keeper listens to its announcements
//! (rtnetlink multicast) *before* it lists what is there, looks up each wanted destination in the kernel's own
//! routing tables, and makes the kernel resolve and keep probing the neighbours that come out, although no packet the
//! kernel knows of uses them. It leaves nothing behind: the neighbour entries it provokes are ordinary ones that the
//! kernel collects when nobody asks any more.
//!
//! | file | what it holds |
//! |---|---|
//! | `fact` | what the kernel says, decoded |
//! | `ask` | what the kernel is asked, encoded |
//! | `neighbour` | one neighbour's life: a state machine without a clock |
//! | `brain` | mirror, wishes and schedule: facts and time in, asks and changes out; no IO |
//! | `driver` | [`Keeper`]: carries facts and asks between the sockets and the brain |
//!
//! Facts of the Linux kernel relied on here (net/core/neighbour.c, net/ipv4/fib_frontend.c, net/netlink/af_netlink.c)
//! stand as comments beside the lines that rely on them.

mod ask;
mod brain;
mod driver;
mod fact;
mod neighbour;
#[cfg(test)]
mod tests;

use core::fmt;
use core::net::IpAddr;

use super::netlink::{AskError, SocketError};
use crate::wire::Mac;

pub use driver::{Keeper, Settings};

/// What must be resolved.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum HopKey {
    /// A remote address found through the kernel's routing tables (a peer's VTEP); it must leave by a port.
    Routed {
        /// The address to reach.
        dst: IpAddr,
        /// Our VTEP address. It takes part in the lookup (policy rules, source routes) while the host owns it;
        /// otherwise the lookup goes without a source.
        from: IpAddr,
    },
    /// A neighbour directly on an interface (a native next hop on an access port).
    Attached {
        /// Kernel index of the interface.
        ifindex: u32,
        /// The neighbour's address.
        addr: IpAddr,
    },
}

impl fmt::Display for HopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Routed { dst, from } => write!(f, "{dst} from {from}"),
            Self::Attached { ifindex, addr } => write!(f, "{addr} on interface {ifindex}"),
        }
    }
}

/// How to reach a next hop: everything an Ethernet header needs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Hop {
    /// The interface packets leave by; always one of the keeper's ports.
    pub ifindex: u32,
    /// The neighbour that was asked for its MAC address: a router, or the destination itself when it is on link.
    pub gateway: IpAddr,
    /// The neighbour's MAC address: destination of frames.
    pub mac: Mac,
    /// The interface's own MAC address: source of frames.
    pub source_mac: Mac,
    /// Largest IP packet, in bytes: the smaller of the link's MTU and the route's, when the route has one.
    pub mtu: u32,
}

/// Why packets cannot be sent to a next hop at present.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Unready {
    /// The kernel has no route.
    NoRoute,
    /// The route leads out of an interface the gateway does not work on.
    NotAPort {
        /// Kernel index of that interface.
        ifindex: u32,
        /// Its name, when known.
        name: Option<String>,
    },
    /// The route to a peer leaves by an access port. (The keeper knows no roles; who does says this.)
    NotUnderlay {
        /// Kernel index of that interface.
        ifindex: u32,
    },
    /// The neighbour was asked and has not answered yet.
    Resolving,
    /// The neighbour does not answer. It is asked again every second.
    Unreachable,
    /// The interface is down, has no carrier or no longer exists.
    LinkDown,
    /// The route is no way to one remote host: it is local, broadcast, multicast, blackhole, unreachable or
    /// prohibited.
    NotUnicast,
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute => f.write_str("the kernel has no route to it"),
            Self::NotAPort { ifindex, name: Some(name) } => {
                write!(f, "its route leaves by {name} (interface {ifindex}), which is not a port of the gateway")
            }
            Self::NotAPort { ifindex, name: None } => {
                write!(f, "its route leaves by interface {ifindex}, which is not a port of the gateway")
            }
            Self::NotUnderlay { ifindex } => write!(
                f,
                "its route leaves by interface {ifindex}, which is an access port: its replies there would not be taken"
            ),
            Self::Resolving => f.write_str("the neighbour has been asked for its MAC address and has not answered yet"),
            Self::Unreachable => f.write_str("the neighbour does not answer (asked again every second)"),
            Self::LinkDown => f.write_str("the interface is down or without carrier"),
            Self::NotUnicast => f.write_str(
                "its route does not lead to one remote host (local, broadcast, multicast, blackhole, unreachable or \
                 prohibited)",
            ),
        }
    }
}

/// A hop, or the reason there is none.
pub type HopState = Result<Hop, Unready>;

/// What the kernel says of an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkFacts {
    /// Kernel index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// Its own MAC address; [`Mac::ZERO`] when it has none of six octets.
    pub mac: Mac,
    /// Largest IP packet, in bytes, as the kernel gives it (it may exceed what [`crate::wire::Mtu`] accepts).
    pub mtu: u32,
    /// True when it is administratively up and has carrier.
    pub up: bool,
    /// The host's addresses on it, each with its prefix length, in the order of the addresses.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// Something new about a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkChange {
    /// These are its facts now (it may have reappeared under the same index).
    Changed(LinkFacts),
    /// It no longer exists in this network namespace.
    Vanished {
        /// Kernel index it had.
        ifindex: u32,
        /// Name it had.
        name: String,
    },
}

/// What changed since the last time; each key and each port occurs at most once, with its latest state.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Changes {
    /// Hops whose state is not what was last reported. The first state of every watched key is reported.
    pub hops: Vec<(HopKey, HopState)>,
    /// Ports whose facts are not what was last reported.
    pub links: Vec<LinkChange>,
    /// The host's own addresses, on whatever link, are not those last reported.
    pub addresses: bool,
}

impl Changes {
    /// True when there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.hops.is_empty() && self.links.is_empty() && !self.addresses
    }
}

/// Why the keeper could not start.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// A netlink socket could not be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The kernel did not list what there is.
    #[error("cannot list the kernel's {what}: {source}")]
    List {
        /// What should have been listed.
        what: &'static str,
        /// The reason.
        source: AskError,
    },
    /// A port does not exist.
    #[error("there is no interface with index {ifindex} in this network namespace")]
    NoSuchPort {
        /// The index asked for.
        ifindex: u32,
    },
}
