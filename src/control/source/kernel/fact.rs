//! What the kernel says, decoded: announcements and listings alike become [`Fact`]s.

use core::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_APPEND, NLM_F_MULTIPART, NLM_F_REPLACE, Nla, NlasIterator, Parseable};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{LinkFlags, LinkHeader};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop, RouteType, RouteVia,
};

use super::super::super::netlink::{Message, RTM_DELNEXTHOP, RTM_NEWNEXTHOP};
use crate::wire::{Mac, Prefix};

/// Lengths in bytes of the fixed parts of messages: struct ifinfomsg, and struct nhmsg of linux/nexthop.h.
const LINK_HEADER: usize = size_of::<libc::ifinfomsg>();
const NEXTHOP_HEADER: usize = 8;

/// Attributes of linux/if_link.h, linux/neighbour.h and linux/nexthop.h that libc does not name.
mod attribute {
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const INFO_DATA: u16 = 2;
    pub(super) const VLAN_ID: u16 = 1;
    pub(super) const VXLAN_ID: u16 = 1;
    pub(super) const VXLAN_LOCAL: u16 = 4;
    pub(super) const VXLAN_PORT: u16 = 15;
    pub(super) const VXLAN_LOCAL6: u16 = 17;
    pub(super) const VXLAN_COLLECT_METADATA: u16 = 25;
    pub(super) const NDA_NH_ID: u16 = 13;
    pub(super) const NHA_ID: u16 = 1;
    pub(super) const NHA_GROUP: u16 = 2;
    pub(super) const NHA_OIF: u16 = 5;
    pub(super) const NHA_GATEWAY: u16 = 6;
}

/// One thing the kernel said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fact {
    /// A link is or has become so.
    Link(Link),
    /// A link is gone.
    LinkGone(u32),
    /// The host has lost an address.
    AddressGone,
    /// A neighbour's MAC address; none if it is gone, or not known at present.
    Neighbour { at: At, mac: Option<Mac> },
    /// A VXLAN device sends frames for a MAC address there. [`Mac::ZERO`] stands for all that have no entry.
    Forward { ifindex: u32, mac: Mac, to: Remote },
    /// It does no more.
    ForwardGone { ifindex: u32, mac: Mac, to: Remote },
    /// A bridge has, or no longer has, a MAC address behind a port, in a VLAN if it knows VLANs.
    Bridged { port: u32, mac: Mac, vlan: Option<u16>, there: bool },
    /// A next-hop object is or has become so.
    Nexthop(u32, Nexthop),
    /// It is gone, and with it every route that used it.
    NexthopGone(u32),
    /// A route was added.
    Route { prefix: Prefix, route: Route, place: Place },
    /// A route was deleted.
    RouteGone { prefix: Prefix, route: Route },
}

/// A neighbour: an address on an interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct At {
    pub(super) ifindex: u32,
    pub(super) addr: IpAddr,
}

/// A link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub(super) ifindex: u32,
    pub(super) name: String,
    /// Administratively up.
    pub(super) up: bool,
    /// The bridge, bond or VRF it belongs to.
    pub(super) master: Option<u32>,
    pub(super) kind: Kind,
}

/// What sort of link it is, as far as it matters here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Vxlan(Vxlan),
    Bridge,
    /// A VLAN device and the link it is on.
    Vlan {
        on: u32,
        id: u16,
    },
    Other,
}

/// The segment of a VXLAN device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Vxlan {
    pub(super) vni: u32,
    pub(super) udp_port: u16,
    /// Its end of the tunnels; none if the kernel chooses for each packet.
    pub(super) local: Option<IpAddr>,
    /// It takes the VNI from each packet's route (`external`).
    pub(super) external: bool,
}

/// Where a VXLAN device sends frames.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Remote {
    /// To a VTEP, by another VNI or UDP port than the device's if those are given.
    Vtep { addr: IpAddr, vni: Option<u32>, udp_port: Option<u16> },
    /// To the VTEPs of a next-hop object.
    Nexthop(u32),
    /// To where its text says nothing of.
    Nowhere,
}

/// A next-hop object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Nexthop {
    Hop(Hop),
    Group(Vec<u32>),
    /// A blackhole, or whatever else leads nowhere.
    Nowhere,
}

/// Where a route leads: out of an interface, by a gateway unless what is beyond is a neighbour itself. The interface of
/// a next hop in a VXLAN device's forwarding table is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Hop {
    pub(super) ifindex: u32,
    pub(super) gateway: Option<IpAddr>,
}

/// One route to a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Route {
    /// The least is in force.
    pub(super) metric: u32,
    pub(super) way: Way,
}

/// Where a new route stands among those of its prefix and metric, the first of which is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    First,
    Last,
    /// In place of the first.
    Instead,
}

/// Where a route leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// By these, in equal shares. None: it is unreachable, prohibited, a blackhole and the like.
    Hops(Vec<Hop>),
    /// As a next-hop object says.
    Nexthop(u32),
}

/// Decodes one message, routes of one table only. `Ok(None)` is a message that says nothing of interest.
///
/// # Errors
/// A sentence, when the message cannot be understood.
pub(super) fn decode(message: Message<'_>, table: u32) -> Result<Option<Fact>, String> {
    let Message { kind, flags, payload } = message;
    match kind {
        libc::RTM_NEWLINK => Ok(link(payload)?.map(Fact::Link)),
        libc::RTM_DELLINK => Ok(link(payload)?.map(|link| Fact::LinkGone(link.ifindex))),
        libc::RTM_DELADDR => Ok(Some(Fact::AddressGone)),
        libc::RTM_NEWNEIGH => neighbour(payload, true),
        libc::RTM_DELNEIGH => neighbour(payload, false),
        RTM_NEWNEXTHOP => Ok(nexthop(payload)?.map(|(id, nexthop)| Fact::Nexthop(id, nexthop))),
        RTM_DELNEXTHOP => Ok(nexthop(payload)?.map(|(id, _)| Fact::NexthopGone(id))),
        libc::RTM_NEWROUTE => {
            // A listing is in the order of the table. The flags of an announcement are those of the request (fib_trie.c).
            let place = match flags {
                _ if flags & NLM_F_REPLACE != 0 => Place::Instead,
                _ if flags & (NLM_F_APPEND | NLM_F_MULTIPART) != 0 => Place::Last,
                _ => Place::First,
            };
            Ok(route(payload, table)?.map(|(prefix, route)| Fact::Route { prefix, route, place }))
        }
        libc::RTM_DELROUTE => Ok(route(payload, table)?.map(|(prefix, route)| Fact::RouteGone { prefix, route })),
        _ => Ok(None),
    }
}

/// The attributes of a message, or of an attribute.
fn attributes(payload: &[u8], header: usize) -> impl Iterator<Item = Result<(u16, &[u8]), String>> {
    let attributes = NlasIterator::new(payload.get(header..).unwrap_or_default());
    attributes.map(|nla| nla.map(|nla| (nla.kind(), nla.into_inner())).map_err(|e| e.to_string())).map(|nla| {
        // the attribute's own header, of four bytes, stands before its value; alignment may follow it
        nla.map(|(kind, whole)| {
            let len = usize::from(whole.first_chunk().map_or(0, |len| u16::from_ne_bytes(*len)));
            (kind, whole.get(4..len).unwrap_or_default())
        })
    })
}

fn u32_of(value: &[u8]) -> Option<u32> {
    value.try_into().map(u32::from_ne_bytes).ok()
}

fn addr_of(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from)).ok()
}

/// A link's message carries dozens of attributes, of every driver and every kernel release, and none of those that do not
/// matter may stop us from seeing it.
fn link(payload: &[u8]) -> Result<Option<Link>, String> {
    let header = LinkHeader::parse(payload).map_err(|e| e.to_string())?;
    // A bridge announces what becomes of its members as link messages of family AF_BRIDGE, without most attributes.
    if header.interface_family != AddressFamily::Unspec {
        return Ok(None);
    }
    let up = header.flags.contains(LinkFlags::Up);
    let mut out = Link { ifindex: header.index, name: String::new(), up, master: None, kind: Kind::Other };
    let (mut below, mut info) = (0, &[][..]);
    for attribute in attributes(payload, LINK_HEADER) {
        match attribute? {
            (libc::IFLA_IFNAME, name) => {
                out.name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
            }
            (libc::IFLA_MASTER, master) => out.master = u32_of(master),
            (libc::IFLA_LINK, link) => below = u32_of(link).unwrap_or_default(),
            (libc::IFLA_LINKINFO, nested) => info = nested,
            _ => {}
        }
    }
    out.kind = link_kind(info, below)?;
    Ok(Some(out))
}

fn link_kind(info: &[u8], below: u32) -> Result<Kind, String> {
    let (mut name, mut data) = (&[][..], &[][..]);
    for attribute in attributes(info, 0) {
        match attribute? {
            (attribute::INFO_KIND, value) => name = value,
            (attribute::INFO_DATA, value) => data = value,
            _ => {}
        }
    }
    Ok(match name.strip_suffix(b"\0").unwrap_or(name) {
        b"vxlan" => Kind::Vxlan(vxlan(data)?),
        b"bridge" => Kind::Bridge,
        b"vlan" => {
            let mut id = None;
            for attribute in attributes(data, 0) {
                if let (attribute::VLAN_ID, value) = attribute? {
                    id = value.try_into().map(u16::from_ne_bytes).ok();
                }
            }
            id.map_or(Kind::Other, |id| Kind::Vlan { on: below, id })
        }
        _ => Kind::Other,
    })
}

fn vxlan(data: &[u8]) -> Result<Vxlan, String> {
    let mut out = Vxlan::default();
    for attribute in attributes(data, 0) {
        match attribute? {
            (attribute::VXLAN_ID, value) => out.vni = u32_of(value).unwrap_or_default(),
            (attribute::VXLAN_LOCAL | attribute::VXLAN_LOCAL6, value) => {
                out.local = addr_of(value).filter(|addr| !addr.is_unspecified());
            }
            (attribute::VXLAN_PORT, value) => {
                out.udp_port = value.try_into().map(u16::from_be_bytes).unwrap_or_default();
            }
            (attribute::VXLAN_COLLECT_METADATA, value) => out.external = value.first().is_some_and(|on| *on != 0),
            _ => {}
        }
    }
    Ok(out)
}

fn neighbour(payload: &[u8], there: bool) -> Result<Option<Fact>, String> {
    let message = NeighbourMessage::parse(payload).map_err(|e| e.to_string())?;
    let mut said = Said::default();
    for attribute in &message.attributes {
        said.hear(attribute);
    }
    let header = &message.header;
    Ok(match header.family {
        AddressFamily::Inet | AddressFamily::Inet6 if !header.flags.contains(NeighbourFlags::Proxy) => {
            said.neighbour(header, there)
        }
        AddressFamily::Bridge => said.forward(header.ifindex, there),
        _ => None,
    })
}

/// What the attributes of a neighbour message say.
#[derive(Default)]
struct Said {
    dst: Option<IpAddr>,
    mac: Option<Mac>,
    vlan: Option<u16>,
    udp_port: Option<u16>,
    vni: Option<u32>,
    bridge: bool,
    nexthop: Option<u32>,
}

impl Said {
    fn hear(&mut self, attribute: &NeighbourAttribute) {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(addr)) => self.dst = Some((*addr).into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(addr)) => self.dst = Some((*addr).into()),
            // The destination of a forwarding entry is of the family of its length: that of the message is AF_BRIDGE.
            NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => self.dst = addr_of(bytes),
            NeighbourAttribute::LinkLayerAddress(bytes) => self.mac = bytes.as_slice().try_into().ok().map(Mac),
            NeighbourAttribute::Vlan(vlan) => self.vlan = Some(*vlan),
            NeighbourAttribute::Port(port) => self.udp_port = Some(*port),
            NeighbourAttribute::Vni(vni) => self.vni = Some(*vni),
            NeighbourAttribute::Controller(_) => self.bridge = true,
            NeighbourAttribute::Other(other) if other.kind() == attribute::NDA_NH_ID => {
                let mut value = vec![0; other.value_len()];
                other.emit_value(&mut value);
                self.nexthop = u32_of(&value);
            }
            _ => {}
        }
    }

    fn neighbour(&self, header: &NeighbourHeader, there: bool) -> Option<Fact> {
        let known = !matches!(
            header.state,
            NeighbourState::None | NeighbourState::Incomplete | NeighbourState::Failed | NeighbourState::Other(_)
        );
        let at = At { ifindex: header.ifindex, addr: self.dst? };
        Some(Fact::Neighbour { at, mac: self.mac.filter(|mac| there && known && mac.is_station()) })
    }

    /// An entry with NDA_MASTER is the bridge's, one without the device's own (br_fdb.c, vxlan_core.c).
    fn forward(&self, ifindex: u32, there: bool) -> Option<Fact> {
        let mac = self.mac?;
        if self.bridge {
            return Some(Fact::Bridged { port: ifindex, mac, vlan: self.vlan, there });
        }
        let to = match (self.nexthop, self.dst) {
            (Some(id), _) => Remote::Nexthop(id),
            (None, Some(addr)) => Remote::Vtep { addr, vni: self.vni, udp_port: self.udp_port },
            (None, None) => Remote::Nowhere,
        };
        Some(match there {
            true => Fact::Forward { ifindex, mac, to },
            false => Fact::ForwardGone { ifindex, mac, to },
        })
    }
}

/// The library knows no next-hop objects.
fn nexthop(payload: &[u8]) -> Result<Option<(u32, Nexthop)>, String> {
    let (mut id, mut ifindex, mut gateway, mut group) = (None, None, None, None);
    for attribute in attributes(payload, NEXTHOP_HEADER) {
        match attribute? {
            (attribute::NHA_ID, value) => id = u32_of(value),
            (attribute::NHA_OIF, value) => ifindex = u32_of(value),
            (attribute::NHA_GATEWAY, value) => gateway = addr_of(value),
            // struct nexthop_grp: the id, and four bytes of weight and reserve
            (attribute::NHA_GROUP, value) => {
                group = Some(value.chunks_exact(8).filter_map(|entry| u32_of(&entry[..4])).collect());
            }
            _ => {}
        }
    }
    let what = match (group, ifindex, gateway) {
        (Some(group), _, _) => Nexthop::Group(group),
        (None, None, None) => Nexthop::Nowhere,
        (None, ifindex, gateway) => Nexthop::Hop(Hop { ifindex: ifindex.unwrap_or_default(), gateway }),
    };
    Ok(id.map(|id| (id, what)))
}

fn route(payload: &[u8], table: u32) -> Result<Option<(Prefix, Route)>, String> {
    let header = RouteHeader::parse(payload).map_err(|e| e.to_string())?;
    let unspecified = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return Ok(None),
    };
    // Routes for a type of service or a source, and what the kernel has copied from its own routes, are no routes for all.
    // A table above 255 stands in an attribute, and RT_TABLE_COMPAT (252) or RT_TABLE_UNSPEC in the header.
    let elsewhere = u32::from(header.table) != table && (table < 256 || !matches!(header.table, 0 | 252));
    if elsewhere || header.tos != 0 || header.source_prefix_length != 0 || header.flags.contains(RouteFlags::Cloned) {
        return Ok(None);
    }
    let message = RouteMessage::parse(payload).map_err(|e| e.to_string())?;
    let (mut dst, mut metric, mut in_table, mut nexthop) = (unspecified, 0, u32::from(header.table), None);
    let mut hops = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(addr)) => dst = (*addr).into(),
            RouteAttribute::Destination(RouteAddress::Inet6(addr)) => dst = (*addr).into(),
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Table(table) => in_table = *table,
            RouteAttribute::NhId(id) => nexthop = Some(*id),
            RouteAttribute::MultiPath(ways) => hops.extend(ways.iter().map(way)),
            _ => {}
        }
    }
    if in_table != table {
        return Ok(None);
    }
    if hops.is_empty() {
        hops.extend(hop(None, &message.attributes));
    }
    let way = match (nexthop, header.kind) {
        (Some(id), _) => Way::Nexthop(id),
        (None, RouteType::Unicast) => Way::Hops(hops),
        (None, _) => Way::Hops(Vec::new()),
    };
    let prefix = Prefix::new(dst, header.destination_prefix_length).map_err(|e| e.to_string())?;
    Ok(Some((prefix, Route { metric, way })))
}

fn way(way: &RouteNextHop) -> Hop {
    let alone = Hop { ifindex: way.interface_index, gateway: None };
    hop(Some(way.interface_index), &way.attributes).unwrap_or(alone)
}

/// The hop that attributes name.
fn hop(ifindex: Option<u32>, attributes: &[RouteAttribute]) -> Option<Hop> {
    let (mut ifindex, mut gateway) = (ifindex, None);
    for attribute in attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            // RTA_VIA: an IPv4 route by an IPv6 router (RFC 5549).
            RouteAttribute::Gateway(RouteAddress::Inet(a)) | RouteAttribute::Via(RouteVia::Inet(a)) => {
                gateway = Some((*a).into());
            }
            RouteAttribute::Gateway(RouteAddress::Inet6(a)) | RouteAttribute::Via(RouteVia::Inet6(a)) => {
                gateway = Some((*a).into());
            }
            _ => {}
        }
    }
    ifindex.map(|ifindex| Hop { ifindex, gateway })
}
