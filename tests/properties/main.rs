//! Encapsulation, then decapsulation by the gateway at the other end, gives back the packet: two hops older, and otherwise
//! the same in every byte, whatever it is; unless the tunnel met congestion, which it then says (RFC 6040).
//!
//! And flows that have several ways spread over them, and stay.

mod groups;
#[path = "../support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use selvedge::tables::{
    Action, Addresses, HopId, NextHop, OuterHeader, OverlayId, Peer, PeerId, PortId, TablesWriter, Way,
};
use selvedge::wire::outer::Ends;
use selvedge::wire::{Ethernet, Mac, OuterV6};
use support::frames::{Ip, checksum, ethernet};
use support::frames6::Ip6;
use support::six::*;
use support::*;

/// The gateway at the other end: what is a node to the first one is its own VTEP, and the pods behind that node are its
/// native hosts.
fn mirror() -> Gateway {
    let mut blue = overlay("blue", 1, 8472, BLUE_NODE.0, BLUE_NODE.1);
    blue.addresses = Addresses::default();
    let mut red = overlay("red", 9, 4789, [0; 4], RED_NODE.1);
    red.local = Ipv6Addr::from(RED_NODE.0).into();
    let overlays = vec![blue, red];
    let mut t = TablesWriter::new(overlays.clone(), ports());
    t.set_peer(PeerId(0), Some(peer(&overlays, 0, (BLUE_VTEP, BLUE_MAC), true)));
    t.set_peer(PeerId(1), Some(back_to_red()));
    let way = Some((Ethernet::ipv4(Mac(HOST), Mac(PORT_MACS[1])), 1500));
    t.set_hop(HopId(0), Some(NextHop { port: ACCESS, addr: Ipv4Addr::from(BLUE_POD).into(), way }));
    for pods in ["10.244.1.0/24", "fd00:244:1::/64", "10.246.1.0/24", "fd00:246:1::/64"] {
        t.set_route(pods.parse().unwrap(), Action::Deliver(HopId(0)));
    }
    // the native network is behind the first gateway, in one overlay and in the other
    for (prefix, peer) in
        [("10.9.0.0/25", 0), ("fd00:9:0:0::/65", 0), ("10.9.0.128/25", 1), ("fd00:9::8000:0:0:0/65", 1)]
    {
        t.set_route(prefix.parse().unwrap(), Action::Encap(PeerId(peer)));
    }
    Gateway::with(t, rings())
}

fn back_to_red() -> Peer {
    let header = OuterV6::prebuilt(&Ends {
        link: (Mac(ROUTER), Mac(PORT_MACS[0])),
        vtep: (Ipv6Addr::from(RED_VTEP), Ipv6Addr::from(RED_NODE.0)),
        inner: (Mac(RED_MAC), Mac(RED_NODE.1)),
        udp_port: 4789,
        vni: selvedge::wire::Vni::new(9).unwrap(),
        dscp: 0,
    });
    let way = Way { port: UNDERLAY, header: OuterHeader::V6(Box::new(header)), tos_mask: 3, mtu: RED_MTU };
    Peer {
        overlay: OverlayId(1),
        vtep: IpAddr::from(RED_VTEP),
        mac: Mac(RED_MAC),
        zero_checksum: false,
        way: Some(way),
    }
}

/// A native host, by the overlay it speaks to.
fn native_4(red: bool, n: u8) -> [u8; 4] {
    [10, 9, 0, if red { 128 | n } else { n & 127 }]
}

fn native_6(red: bool, n: u8) -> [u8; 16] {
    Ipv6Addr::new(0xfd00, 9, 0, 0, if red { 0x8000 } else { 0 }, 0, 0, n.into()).octets()
}

/// An IPv4 packet of any kind that fits: options are words, and what it carries is anything.
fn any_v4() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let header = (any::<bool>(), 2u8..127, any::<u8>(), 3u8.., any::<u16>(), any::<u8>());
    let carried = (prop::collection::vec(any::<u32>(), 0..=10), prop::collection::vec(any::<u8>(), 0..1300));
    (header, carried).prop_map(|((red, host, tos, ttl, flags_offset, protocol), (options, data))| {
        let mut ip = Ip::new(native_4(red, host), if red { RED_POD } else { BLUE_POD }, protocol, data);
        (ip.tos, ip.ttl, ip.flags_offset) = (tos, ttl, flags_offset);
        (red, with_options(&ip, &options))
    })
}

/// The packet's bytes with options in its header.
fn with_options(ip: &Ip, options: &[u32]) -> Vec<u8> {
    let mut bytes = ip.bytes();
    bytes.splice(20..20, options.iter().flat_map(|word| word.to_be_bytes()));
    bytes[0] += options.len() as u8;
    let total = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&total.to_be_bytes());
    let end = 20 + 4 * options.len();
    bytes[10..12].fill(0);
    let sum = checksum(&bytes[..end]);
    bytes[10..12].copy_from_slice(&sum);
    bytes
}

/// An IPv6 packet of any kind that fits; what follows its header may or may not be what the header says.
fn any_v6() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let next = prop_oneof![any::<u8>(), prop::sample::select(vec![0u8, 6, 17, 43, 44, 50, 51, 58, 59, 60, 135])];
    let header = (any::<bool>(), 1u8..255, any::<u8>(), 3u8.., 0u32..1 << 20, next);
    (header, prop::collection::vec(any::<u8>(), 0..1300)).prop_map(
        |((red, host, class, hop_limit, label, next), data)| {
            let ip = Ip6::new(native_6(red, host), if red { RED_POD_6 } else { BLUE_POD_6 }, next, data);
            (red, Ip6 { class, label, hop_limit, ..ip }.bytes())
        },
    )
}

/// The packet two hops later, with this ECN field.
fn later(mut packet: Vec<u8>, ecn: u8) -> Vec<u8> {
    if packet[0] >> 4 == 6 {
        packet[7] -= 2;
        packet[1] = packet[1] & 0xcf | ecn << 4;
        return packet;
    }
    packet[8] -= 2;
    packet[1] = packet[1] & 0xfc | ecn;
    let end = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = checksum(&packet[..end]);
    packet[10..12].copy_from_slice(&sum);
    packet
}

fn ecn(packet: &[u8]) -> u8 {
    (if packet[0] >> 4 == 6 { packet[1] >> 4 } else { packet[1] }) & 3
}

fn ethertype(packet: &[u8]) -> u16 {
    if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 }
}

/// Marks the outer header of a frame as having met congestion, as a router would.
fn mark(frame: &mut [u8]) {
    if frame[14] >> 4 == 6 {
        frame[15] |= 0x30;
        return;
    }
    frame[15] |= 3;
    frame[24..26].fill(0);
    let sum = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum);
}

/// Takes a frame from one port to the one that it leaves by; `None` if it leaves by none, or was finished on the way.
fn through(g: &mut Gateway, port: PortId, frame: &[u8]) -> Option<(PortId, Vec<u8>)> {
    let finished = g.worker.stats().partial_checksums;
    let outcome = g.receive(port, &[frame]);
    if g.worker.stats().partial_checksums > finished || outcome.sent.is_empty() {
        return None;
    }
    let (port, frame) = outcome.only();
    Some((port, frame.to_vec()))
}

fn journey_and_back(
    here: &mut Gateway,
    there: &mut Gateway,
    packet: &[u8],
    red: bool,
    congested: bool,
) -> Result<(), TestCaseError> {
    let plain = ethernet(PORT_MACS[1], HOST, ethertype(packet), packet);
    // what looks like an unfinished checksum by chance is finished: once in 65,536
    let Some((port, mut frame)) = through(here, ACCESS, &plain) else {
        return Err(TestCaseError::reject("finished"));
    };
    prop_assert_eq!(port, UNDERLAY);
    prop_assert_eq!(frame.len(), 14 + packet.len() + if red { 70 } else { 50 });
    // the next hop sends it on to the other gateway
    frame[..12].copy_from_slice(&ethernet(PORT_MACS[0], ROUTER, 0, &[])[..12]);
    if congested {
        mark(&mut frame);
    }
    let inner = ecn(packet);
    let out = through(there, UNDERLAY, &frame);
    if congested && inner == 0 {
        prop_assert_eq!(out, None, "who cannot say that it met congestion is dropped");
        return Ok(());
    }
    let want = later(packet.to_vec(), if congested { 3 } else { inner });
    prop_assert_eq!(out, Some((ACCESS, ethernet(HOST, PORT_MACS[1], ethertype(packet), &want))));
    Ok(())
}

/// Tries many packets with the same two gateways.
fn hold(packets: impl Strategy<Value = (bool, Vec<u8>)>) {
    let gateways = RefCell::new([Gateway::with(tables_6(false, false), rings()), mirror()]);
    let marked = prop::bool::weighted(0.3);
    let result = TestRunner::new(Config::with_cases(5000)).run(&(packets, marked), |((red, packet), congested)| {
        let [here, there] = &mut *gateways.borrow_mut();
        journey_and_back(here, there, &packet, red, congested)
    });
    result.unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn an_ipv4_packet_comes_out_as_it_went_in() {
    hold(any_v4());
}

#[test]
fn an_ipv6_packet_comes_out_as_it_went_in() {
    hold(any_v6());
}
