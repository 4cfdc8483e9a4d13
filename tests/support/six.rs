//! IPv6 in the world of [`super`]: pods of both families in the blue overlay, and the red overlay, which is over IPv6.

use std::net::{IpAddr, Ipv6Addr};

use super::frames::{ethernet, udp};
use super::frames6::Ip6;
use super::*;
use selvedge::tables::{Group, GroupId, Imports, Member, Rules};
use selvedge::wire::OuterV6;

/// `fd00:<net>:<node>::<host>`.
pub const fn six(net: u16, node: u16, host: u16) -> [u8; 16] {
    Ipv6Addr::new(0xfd00, net, node, 0, 0, 0, 0, host).octets()
}

pub const RED_MAC: [u8; 6] = mac(9);
pub const RED_NODE: ([u8; 16], [u8; 6]) = (six(0xc0, 0, 31), mac(31));
pub const RED_VTEP: [u8; 16] = six(0xc0, 0, 1);
pub const RED_ADDRESS: [u8; 4] = [10, 246, 255, 1];
pub const RED_ADDRESS_6: [u8; 16] = six(0x246, 0xff, 1);
pub const RED_POD: [u8; 4] = [10, 246, 1, 5];
pub const RED_POD_6: [u8; 16] = six(0x246, 1, 5);
pub const BLUE_POD_6: [u8; 16] = six(0x244, 1, 5);
pub const BLUE_POD_2_6: [u8; 16] = six(0x244, 2, 5);
pub const BLUE_ADDRESS_6: [u8; 16] = six(0x244, 0xff, 1);
pub const ACCESS_ADDRESS_6: [u8; 16] = six(9, 0, 1);
pub const NATIVE_6: [u8; 16] = six(9, 0, 2);
pub const NOWHERE_6: [u8; 16] = six(0xdead, 0, 1);
pub const RED_MTU: u16 = 1430;

const RED: u16 = 2;
const RED_PEER: PeerId = PeerId(10);

fn red() -> Overlay {
    let mut red = overlay("red", 9, 4789, [0; 4], RED_MAC);
    red.local = Ipv6Addr::from(RED_VTEP).into();
    red.addresses = Addresses { v4: Some(RED_ADDRESS.into()), v6: Some(RED_ADDRESS_6.into()) };
    red
}

/// The node of the red overlay.
pub fn red_peer(zero_checksum: bool) -> Peer {
    let of = red();
    let header = OuterV6::prebuilt(&Ends {
        link: (Mac(ROUTER), Mac(PORT_MACS[0])),
        vtep: (Ipv6Addr::from(RED_NODE.0), Ipv6Addr::from(RED_VTEP)),
        inner: (Mac(RED_NODE.1), of.mac),
        udp_port: of.udp_port,
        vni: of.vni,
        dscp: 0,
    });
    let way = Way { port: UNDERLAY, header: OuterHeader::V6(Box::new(header)), tos_mask: 3, mtu: RED_MTU };
    Peer {
        overlay: OverlayId(RED),
        vtep: IpAddr::from(RED_NODE.0),
        mac: Mac(RED_NODE.1),
        zero_checksum,
        way: Some(way),
    }
}

/// The tables of [`super::tables`], and IPv6.
pub fn tables_6(zero_checksum: bool, proxy: bool) -> TablesWriter {
    fitted_tables(zero_checksum, proxy, Fit::default())
}

/// The same where overlays make packets fit.
pub fn fitted_tables(zero_checksum: bool, proxy: bool, fit: Fit) -> TablesWriter {
    altered_tables(zero_checksum, proxy, |overlay| overlay.fit = fit)
}

/// The same with all overlays altered.
pub fn altered_tables(zero_checksum: bool, proxy: bool, alter: impl FnMut(&mut Overlay)) -> TablesWriter {
    let mut all = overlays();
    all[0].addresses.v6 = Some(BLUE_ADDRESS_6.into());
    all.push(red());
    all.iter_mut().for_each(alter);
    let mut facts = ports();
    facts[1].addresses.v6 = Some(ACCESS_ADDRESS_6.into());
    facts[1].proxy = proxy;
    let mut t = TablesWriter::new(all, facts);
    fill(&mut t);
    t.set_peer(RED_PEER, Some(red_peer(zero_checksum)));
    let routes = [
        ("fd00:244:1::/64", Action::Encap(PeerId(0))),
        ("fd00:244:2::/64", Action::Encap(PeerId(1))),
        ("fd00:244:ff::1/128", Action::Local),
        ("10.246.1.0/24", Action::Encap(RED_PEER)),
        ("fd00:246:1::/64", Action::Encap(RED_PEER)),
        ("fd00:246:ff::1/128", Action::Local),
        ("10.246.255.1/32", Action::Local),
        ("fd00:9::/64", Action::Deliver(HopId(0))),
    ];
    for (prefix, action) in routes {
        t.set_route(prefix.parse().unwrap(), action);
    }
    t
}

/// What several nodes of different overlays have, one of which is not there.
pub const SHARED_POD: [u8; 4] = [10, 247, 1, 5];
/// What native hosts have, two of which are one.
pub const SHARED_NATIVE: [u8; 4] = [10, 9, 7, 5];

/// Rules by which neither the access side nor the blue overlay reaches the red one, but for few of its addresses.
pub fn borders() -> [Imports; 2] {
    let prefixes = vec!["10.246.1.5/32".parse().unwrap(), "fd00:246:1::/64".parse().unwrap()];
    let access = Rules { overlays: vec![OverlayId(0), OverlayId(1)], natives: false, prefixes };
    let blue = Rules { overlays: vec![OverlayId(1)], natives: true, prefixes: vec![] };
    [access, blue].map(Imports::Only)
}

/// Puts groups into the tables above.
pub fn share(t: &mut TablesWriter) {
    let member = |(n, action): (u64, Action)| Member { action, identity: n << 32, ready: t.is_ready(action) };
    let peers = [PeerId(0), PeerId(2), PeerId(3), RED_PEER].map(Action::Encap);
    let peers: Vec<_> = (0..).zip(peers).map(member).collect();
    let hops: Vec<_> = (0..).zip([Action::Deliver(HopId(0)); 2]).map(member).collect();
    t.set_group(GroupId(0), Some(Group::new(&peers)));
    t.set_group(GroupId(1), Some(Group::new(&hops)));
    let routes = [("10.247.1.0/24", 0), ("fd00:247:1::/64", 0), ("10.9.7.0/24", 1), ("fd00:9:7::/64", 1)];
    for (prefix, group) in routes {
        t.set_route(prefix.parse().unwrap(), Action::Group(GroupId(group)));
    }
}

/// A gateway with these tables.
pub fn gateway_6() -> Gateway {
    Gateway::with(tables_6(false, false), rings())
}

/// A plain IPv6 frame from the access network.
pub fn plain_6(ip: &Ip6) -> Vec<u8> {
    ethernet(PORT_MACS[1], HOST, 0x86dd, &ip.bytes())
}

/// A VXLAN packet over IPv4 from a blue node with this inner frame.
pub fn blue_frame(inner: Vec<u8>) -> Vxlan {
    Vxlan { inner, ..from_blue(&Ip::new([0; 4], [0; 4], 0, vec![])) }
}

/// The same with an IPv6 packet of a blue pod in it.
pub fn from_blue_6(ip: &Ip6) -> Vxlan {
    blue_frame(ethernet(BLUE_MAC, BLUE_NODE.1, 0x86dd, &ip.bytes()))
}

/// The inner frame of a red node's packet.
pub fn red_inner(ethertype: u16, packet: &[u8]) -> Vec<u8> {
    ethernet(RED_MAC, RED_NODE.1, ethertype, packet)
}

/// The outer packet over IPv6 from the red node with this inner frame, its checksum right.
pub fn red_outer(inner: &[u8]) -> Ip6 {
    let vxlan = [&[8, 0, 0, 0, 0, 0, 9, 0], inner].concat();
    let mut outer = Ip6::new(RED_NODE.0, RED_VTEP, 17, udp((55_555, 4789), &vxlan));
    outer.finish(6);
    outer
}

/// The whole frame on the underlay.
pub fn on_underlay(outer: &Ip6) -> Vec<u8> {
    ethernet(PORT_MACS[0], ROUTER, 0x86dd, &outer.bytes())
}
