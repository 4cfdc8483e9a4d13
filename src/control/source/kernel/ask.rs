//! What the kernel is asked.

use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkSerializable};
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::neighbour::NeighbourMessage;
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

/// RTM_GETNEXTHOP of linux/rtnetlink.h.
const RTM_GETNEXTHOP: u16 = 106;

const LIST: u16 = NLM_F_REQUEST | NLM_F_DUMP;

/// All links.
pub(super) fn links() -> (RouteNetlinkMessage, u16) {
    (RouteNetlinkMessage::GetLink(LinkMessage::default()), LIST)
}

/// One link.
pub(super) fn link(name: &str) -> (RouteNetlinkMessage, u16) {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    (RouteNetlinkMessage::GetLink(message), NLM_F_REQUEST)
}

/// All neighbours of a family; of [`AddressFamily::Bridge`], all entries of forwarding tables.
pub(super) fn neighbours(family: AddressFamily) -> (RouteNetlinkMessage, u16) {
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    (RouteNetlinkMessage::GetNeighbour(message), LIST)
}

/// All routes of a family in one table.
pub(super) fn routes(family: AddressFamily, table: u32) -> (RouteNetlinkMessage, u16) {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.attributes.push(RouteAttribute::Table(table));
    (RouteNetlinkMessage::GetRoute(message), LIST)
}

/// All next-hop objects.
pub(super) fn nexthops() -> (Nexthops, u16) {
    (Nexthops, LIST)
}

/// A request for next-hop objects, which the library does not know: struct nhmsg with nothing set.
pub(super) struct Nexthops;

impl NetlinkSerializable for Nexthops {
    fn message_type(&self) -> u16 {
        RTM_GETNEXTHOP
    }

    fn buffer_len(&self) -> usize {
        8
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.fill(0);
    }
}
