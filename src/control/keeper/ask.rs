//! What the kernel is asked, encoded.

use core::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST};
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::neighbour::{NeighbourKey, Poke};

/// A request and the netlink flags it goes with.
pub(super) type Request = (RouteNetlinkMessage, u16);

/// All links.
pub(super) fn links() -> Request {
    (RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_REQUEST | NLM_F_DUMP)
}

/// All addresses of the host, of both families.
pub(super) fn addresses() -> Request {
    (RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_REQUEST | NLM_F_DUMP)
}

/// All neighbour entries of one family.
pub(super) fn neighbours(v6: bool) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    (RouteNetlinkMessage::GetNeighbour(message), NLM_F_REQUEST | NLM_F_DUMP)
}

/// One neighbour entry.
pub(super) fn neighbour(key: NeighbourKey) -> Request {
    (RouteNetlinkMessage::GetNeighbour(named(key)), NLM_F_REQUEST)
}

/// Makes the kernel resolve or probe a neighbour, as a packet to it would.
///
/// Two kernel facts (`__neigh_update` with NEIGH_UPDATE_F_USE) shape this request. It clears NUD_PERMANENT, so an
/// entry that may be new is created exclusively, never touched. It also takes the flags of the request for the
/// entry's, so EXT_LEARNED is repeated lest a routing daemon lose its mark; managed entries are not poked at all.
pub(super) fn poke(key: NeighbourKey, poke: Poke) -> Request {
    let mut message = named(key);
    message.header.flags = NeighbourFlags::Use;
    let mut flags = NLM_F_REQUEST | NLM_F_ACK;
    match poke {
        Poke::Create => flags |= NLM_F_CREATE | NLM_F_EXCL,
        Poke::Use { learned: true } => message.header.flags |= NeighbourFlags::ExtLearned,
        Poke::Use { learned: false } => {}
    }
    (RouteNetlinkMessage::NewNeighbour(message), flags)
}

/// Where the kernel would send a packet.
pub(super) fn route(dst: IpAddr, from: Option<IpAddr>) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family(dst);
    message.header.destination_prefix_length = width(dst);
    message.attributes.push(RouteAttribute::Destination(dst.into()));
    if let Some(from) = from {
        message.header.source_prefix_length = width(from);
        message.attributes.push(RouteAttribute::Source(from.into()));
    }
    (RouteNetlinkMessage::GetRoute(message), NLM_F_REQUEST)
}

fn named(key: NeighbourKey) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(key.addr);
    message.header.ifindex = key.ifindex;
    message.attributes.push(NeighbourAttribute::Destination(key.addr.into()));
    message
}

fn family(addr: IpAddr) -> AddressFamily {
    if addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn width(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}
