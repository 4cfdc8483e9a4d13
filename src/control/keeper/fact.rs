//! What the kernel says, decoded: announcements and listings alike become [`Fact`]s.

use core::net::IpAddr;

use rtnetlink::packet_core::{NlasIterator, Parseable};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{LinkFlags, LinkHeader};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia};

use crate::wire::Mac;

use super::super::netlink::{RTM_DELNEXTHOP, RTM_NEWNEXTHOP};
use super::neighbour::{Entry, NeighbourKey, Nud};

/// Length in bytes of the fixed part of a link message (struct ifinfomsg).
const LINK_HEADER: usize = size_of::<libc::ifinfomsg>();

/// One thing the kernel said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fact {
    /// A link is or has become so.
    Link(Link),
    /// A link is gone.
    LinkGone(u32),
    /// The host has an address.
    Address { ifindex: u32, addr: IpAddr, len: u8 },
    /// The host has it no longer.
    AddressGone { ifindex: u32, addr: IpAddr, len: u8 },
    /// A neighbour entry is or has become so.
    Neighbour(NeighbourKey, Entry),
    /// A neighbour entry was deleted.
    NeighbourGone(NeighbourKey),
    /// A route, rule or next hop object changed: lookups may have another outcome.
    Routes,
}

/// A link message; what it leaves out is unchanged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub(super) ifindex: u32,
    pub(super) name: Option<String>,
    pub(super) mac: Option<Mac>,
    pub(super) mtu: Option<u32>,
    pub(super) up: bool,
}

/// The outcome of a route lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lookup {
    /// Out of an interface, by a gateway (the destination itself when on link), with the route's own MTU if any.
    Via { ifindex: u32, gateway: IpAddr, mtu: Option<u32> },
    /// No route.
    NoRoute,
    /// Not to one remote host.
    NotUnicast,
}

/// Decodes one message. `Ok(None)` is a message that says nothing of interest.
///
/// # Errors
/// A sentence, when the message cannot be understood.
pub(super) fn decode(kind: u16, payload: &[u8]) -> Result<Option<Fact>, String> {
    match kind {
        libc::RTM_NEWLINK => link(payload),
        libc::RTM_DELLINK => Ok(link(payload)?.map(|fact| match fact {
            Fact::Link(link) => Fact::LinkGone(link.ifindex),
            other => other,
        })),
        libc::RTM_NEWADDR => Ok(address(payload)?.map(|(ifindex, addr, len)| Fact::Address { ifindex, addr, len })),
        libc::RTM_DELADDR => Ok(address(payload)?.map(|(ifindex, addr, len)| Fact::AddressGone { ifindex, addr, len })),
        libc::RTM_NEWNEIGH => Ok(neighbour(payload)?.map(|(key, entry)| Fact::Neighbour(key, entry))),
        libc::RTM_DELNEIGH => Ok(neighbour(payload)?.map(|(key, _)| Fact::NeighbourGone(key))),
        // Routes are never decoded: whatever changed, the kernel is asked again. A burst of them costs next to nothing.
        libc::RTM_NEWROUTE
        | libc::RTM_DELROUTE
        | libc::RTM_NEWRULE
        | libc::RTM_DELRULE
        | RTM_NEWNEXTHOP
        | RTM_DELNEXTHOP => Ok(Some(Fact::Routes)),
        _ => Ok(None),
    }
}

/// Only three attributes of a link are read, and those by hand: its message carries dozens of nested ones, of every
/// driver and every kernel release, and none of those may stop us from seeing a port.
fn link(payload: &[u8]) -> Result<Option<Fact>, String> {
    let header = LinkHeader::parse(payload).map_err(|e| e.to_string())?;
    // A bridge announces its members' comings and goings as link messages of family AF_BRIDGE; a member that leaves
    // the bridge is no link that vanishes.
    if header.interface_family != AddressFamily::Unspec {
        return Ok(None);
    }
    // Not IFF_RUNNING: that follows the carrier by up to a second (net/core/link_watch.c), IFF_LOWER_UP at once.
    let up = header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    let mut out = Link { ifindex: header.index, name: None, mac: None, mtu: None, up };
    for nla in NlasIterator::new(payload.get(LINK_HEADER..).unwrap_or_default()) {
        let nla = nla.map_err(|e| e.to_string())?;
        let value = nla.value();
        match nla.kind() {
            libc::IFLA_ADDRESS => out.mac = Some(value.try_into().map_or(Mac::ZERO, Mac)),
            libc::IFLA_IFNAME => {
                out.name = Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned());
            }
            libc::IFLA_MTU => out.mtu = value.try_into().map(u32::from_ne_bytes).ok(),
            _ => {}
        }
    }
    Ok(Some(Fact::Link(out)))
}

fn address(payload: &[u8]) -> Result<Option<(u32, IpAddr, u8)>, String> {
    let message = AddressMessage::parse(payload).map_err(|e| e.to_string())?;
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link IFA_ADDRESS is the other end and IFA_LOCAL ours (linux/if_addr.h).
            AddressAttribute::Local(addr) => local = Some(*addr),
            AddressAttribute::Address(addr) => address = Some(*addr),
            _ => {}
        }
    }
    Ok(local.or(address).map(|addr| (message.header.index, addr, message.header.prefix_len)))
}

fn neighbour(payload: &[u8]) -> Result<Option<(NeighbourKey, Entry)>, String> {
    let message = NeighbourMessage::parse(payload).map_err(|e| e.to_string())?;
    let header = &message.header;
    // Bridges announce their forwarding entries in the same group, and proxy entries are no neighbours.
    if !matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6)
        || header.flags.contains(NeighbourFlags::Proxy)
    {
        return Ok(None);
    }
    let learned = header.flags.contains(NeighbourFlags::ExtLearned);
    let mut entry = Entry { nud: nud(header.state), mac: None, managed: false, learned };
    let mut addr = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => addr = Some(IpAddr::V4(*a)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => addr = Some(IpAddr::V6(*a)),
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                entry.mac = bytes.as_slice().try_into().ok().map(Mac).filter(|mac| *mac != Mac::ZERO);
            }
            NeighbourAttribute::ExtFlags(flags) => entry.managed = flags.contains(NeighbourExtFlags::Managed),
            _ => {}
        }
    }
    Ok(addr.map(|addr| (NeighbourKey { ifindex: header.ifindex, addr }, entry)))
}

fn nud(state: NeighbourState) -> Nud {
    match state {
        NeighbourState::Reachable => Nud::Reachable,
        NeighbourState::Stale => Nud::Stale,
        NeighbourState::Delay => Nud::Delay,
        NeighbourState::Probe => Nud::Probe,
        NeighbourState::Failed => Nud::Failed,
        NeighbourState::Noarp => Nud::NoArp,
        NeighbourState::Permanent => Nud::Permanent,
        NeighbourState::Incomplete => Nud::Incomplete,
        _ => Nud::None,
    }
}

/// Decodes the answer to a route lookup for `dst`.
///
/// # Errors
/// A sentence, when the message cannot be understood.
pub(super) fn lookup(dst: IpAddr, payload: &[u8]) -> Result<Lookup, String> {
    let message = RouteMessage::parse(payload).map_err(|e| e.to_string())?;
    match message.header.kind {
        RouteType::Unicast => {}
        RouteType::Unspec | RouteType::Throw => return Ok(Lookup::NoRoute),
        _ => return Ok(Lookup::NotUnicast),
    }
    let (mut ifindex, mut gateway, mut mtu) = (None, dst, None);
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(index),
            RouteAttribute::Gateway(RouteAddress::Inet(a)) | RouteAttribute::Via(RouteVia::Inet(a)) => {
                gateway = a.into();
            }
            // RTA_VIA: an IPv4 route by an IPv6 router (RFC 5549).
            RouteAttribute::Gateway(RouteAddress::Inet6(a)) | RouteAttribute::Via(RouteVia::Inet6(a)) => {
                gateway = a.into();
            }
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|m| if let RouteMetric::Mtu(v) = m { Some(*v) } else { None });
            }
            _ => {}
        }
    }
    Ok(ifindex.map_or(Lookup::NoRoute, |ifindex| Lookup::Via { ifindex, gateway, mtu: mtu.filter(|m| *m > 0) }))
}
