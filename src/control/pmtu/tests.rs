//! Messages and moments in, paths out.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, IntoBytes};

use super::*;
use crate::control::Target;
use crate::control::keeper::Unready;
use crate::tables::{Addresses, Dscp, Fit, Overlay, OverlayId};
use crate::wire::flow::{self, Flow};
use crate::wire::outer::{Ends, OuterV4};
use crate::wire::quote::tests::{message_v4, message_v6};
use crate::wire::{Ipv4, Ipv6, Mac, Vni, eth};

const OURS: [u8; 4] = [192, 0, 2, 1];
const PEER: [u8; 4] = [203, 0, 113, 5];
const ROUTER: [u8; 4] = [192, 0, 2, 99];
const OUR_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 5]);
const OURS_V6: [u8; 16] = [0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const PEER_V6: [u8; 16] = [0xfd, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];

fn overlay(vni: u32, local: IpAddr) -> Overlay {
    Overlay {
        name: format!("vni{vni}"),
        vni: Vni::new(vni).unwrap(),
        udp_port: 4789,
        local,
        mac: OUR_MAC,
        addresses: Addresses::default(),
        mtu: None,
        dscp: Dscp::Pipe(0),
        source_check: true,
        fit: Fit::default(),
        gbp: false,
        inner_vlan: 0,
        zero_checksum: false,
    }
}

/// Two overlays over IPv4, in one of which the peer is, and one over IPv6.
fn overlays() -> [Overlay; 3] {
    [overlay(7, OURS.into()), overlay(8, OURS.into()), overlay(9, OURS_V6.into())]
}

fn targets(vtep: IpAddr) -> Vec<Target> {
    let overlay = OverlayId(if vtep.is_ipv4() { 0 } else { 2 });
    vec![Target::Vtep { overlay, vtep, mac: PEER_MAC, zero_checksum: false }]
}

fn key() -> HopKey {
    HopKey::Routed { dst: PEER.into(), from: OURS.into() }
}

/// An inner packet: UDP, of so many bytes, its source port of choice.
fn inner(len: u16, port: u16) -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 63, 17, 0, 0, 10, 9, 0, 2, 10, 245, 1, 2];
    ip[2..4].copy_from_slice(&len.to_be_bytes());
    ip.extend(port.to_be_bytes());
    ip.resize(usize::from(len), 0xa5);
    ip
}

/// A packet of ours to the peer of 1,500 bytes, from the IP header on.
fn packet() -> Vec<u8> {
    let inner = inner(1450, 5000);
    let ip = Ipv4::ref_from_bytes(&inner[..20]).unwrap();
    let mut outer = OuterV4::prebuilt(&Ends {
        link: (Mac::ZERO, Mac::ZERO),
        vtep: (PEER.into(), OURS.into()),
        inner: (PEER_MAC, OUR_MAC),
        udp_port: 4789,
        vni: Vni::new(7).unwrap(),
        dscp: 0,
    });
    outer.stamp(1450, Flow::of_v4(ip, &inner[20..]).port(), 0);
    [&outer.as_bytes()[eth::LEN..], &inner].concat()
}

/// The same over IPv6, by hand.
fn packet_v6() -> Vec<u8> {
    let v4 = packet();
    let ip = [&[0x60, 0, 0, 0, 0x05, 0xc8, 17, 64][..], &OURS_V6, &PEER_V6].concat();
    let mut packet = [ip, v4[20..].to_vec()].concat();
    packet[40 + 14] = 9; // VNI
    packet
}

/// What becomes of a message about `quoted`, where nothing is known but a link's MTU of 1,500.
fn outcome(mtu: u16, quoted: &[u8]) -> Result<bool, Ignored> {
    let to = quoted.get(12..16).and_then(|src| src.try_into().ok()).unwrap_or(OURS);
    let message = message_v4(ROUTER, to, mtu, quoted);
    hear(&mut PathMtus::default(), TooBig::v4(&message).map_err(Ignored::from), Instant::now())
}

fn hear(paths: &mut PathMtus, message: Result<TooBig<'_>, Ignored>, now: Instant) -> Result<bool, Ignored> {
    let said = message?;
    let key = path_of(&said.quote);
    let targets =
        if key == self::key() || said.quote.dst == IpAddr::from(PEER_V6) { targets(said.quote.dst) } else { vec![] };
    judge(&said.quote, &targets, &overlays())?;
    let known = paths.narrowed(&key, hop(1500)).map_or(u32::MAX, |hop| hop.mtu);
    paths.learn(key, known, &said, now)
}

fn hop(mtu: u32) -> HopState {
    Ok(Hop { ifindex: 5, gateway: ROUTER.into(), mac: Mac([2, 0, 0, 0, 9, 9]), source_mac: OUR_MAC, mtu })
}

fn mtu(paths: &PathMtus) -> u32 {
    paths.narrowed(&key(), hop(1500)).unwrap().mtu
}

/// A router says this MTU, by the book.
fn told(paths: &mut PathMtus, mtu: u16, now: Instant) -> Result<bool, Ignored> {
    let message = message_v4(ROUTER, OURS, mtu, &packet()[..548]);
    hear(paths, TooBig::v4(&message).map_err(Ignored::from), now)
}

#[test]
fn a_message_counts_from_the_inner_ethernet_header_on() {
    for n in 28..128 {
        let want = if n < 20 + 8 + 8 + 14 { Err(Ignored::ShortQuote) } else { Ok(true) };
        assert_eq!(outcome(1400, &packet()[..n]), want, "{n} bytes");
    }
}

#[test]
fn a_forged_quote_changes_nothing() {
    assert_eq!(outcome(1400, &packet()), Ok(true), "the real one does");
    let forged = |at: usize, value: u8| {
        let mut packet = packet();
        packet[at] = value;
        outcome(1400, &packet)
    };
    for (what, at, value, why) in [
        ("from another address of ours", 15, 2, Ignored::NotOurs),
        ("to somebody who is no peer", 19, 6, Ignored::NotOurs),
        ("from a port outside of the range", 20, 0x80, Ignored::Port),
        ("to another port", 23, 0xb6, Ignored::Port),
        ("without the I flag", 28, 0, Ignored::Vni),
        ("of an unknown segment", 34, 9, Ignored::Vni),
        ("of a segment in which the peer is not", 34, 8, Ignored::Vni),
        ("to another inner MAC address", 41, 9, Ignored::Mac),
        ("from another inner MAC address", 47, 9, Ignored::Mac),
        ("of something that we send into no tunnel", 49, 6, Ignored::Flow),
        ("to another inner address", 50 + 19, 9, Ignored::Flow),
        ("of another inner protocol", 50 + 9, 6, Ignored::Flow),
        ("from another inner port", 50 + 21, 9, Ignored::Flow),
        ("TCP", 9, 6, Ignored::NotOurs),
    ] {
        assert_eq!(forged(at, value), Err(why), "{what}");
    }
    assert_eq!(forged(8, 9), Ok(true), "the TTL is less on the way");
    assert_eq!(forged(1, 3), Ok(true), "and congestion is marked");
}

/// The flow of an inner IPv6 packet, with extension headers in front of its ports or without.
#[test]
fn an_inner_ipv6_flow_proves_itself_too() {
    for extension in [&[][..], &[17, 0, 1, 4, 0, 0, 0, 0]] {
        let next = if extension.is_empty() { 17 } else { 60 };
        let header = [&[0x60, 0, 0, 0, 0x05, 0x70, next, 63][..], &PEER_V6, &OURS_V6].concat();
        let inner = [header, extension.to_vec(), vec![0x13, 0x88, 0, 9], vec![0xa5; 1384]].concat();
        let ip = Ipv6::ref_from_prefix(&inner).unwrap().0;
        let upper = ip.upper(&inner);
        let port = Flow::of_v6(ip, &upper, &inner[usize::from(upper.at)..]).port();
        let mut packet = [packet()[..50].to_vec(), inner].concat();
        packet[48..50].copy_from_slice(&eth::IPV6.to_be_bytes());
        packet[20..22].copy_from_slice(&port.to_be_bytes());
        let ports_end = 50 + 40 + extension.len() + 4;
        let other = |mut packet: Vec<u8>, at: usize| {
            packet[at] ^= 1;
            outcome(1400, &packet)
        };
        assert_eq!(outcome(1400, &packet), Ok(true));
        for at in [50 + 8, 50 + 39, ports_end - 1, ports_end - 4] {
            assert_eq!(other(packet.clone(), at), Err(Ignored::Flow), "{at}");
        }
        assert_eq!(other(packet[..ports_end].to_vec(), 21), Err(Ignored::Flow));
        assert_eq!(other(packet[..ports_end - 1].to_vec(), 21), Ok(true), "its ports are not quoted");
    }
}

#[test]
fn every_inner_flow_proves_itself_by_its_own_port_only() {
    let own = packet();
    let stranger = |port: u16| {
        let mut packet = own.clone();
        packet[20..22].copy_from_slice(&port.to_be_bytes());
        outcome(1400, &packet)
    };
    let right = u16::from_be_bytes([own[20], own[21]]);
    let believed: Vec<u16> = (flow::FIRST_PORT..=u16::MAX).filter(|port| stranger(*port) == Ok(true)).collect();
    assert_eq!(believed, [right], "one of 16,384");
}

#[test]
fn claims_are_believed_as_far_as_links_go() {
    let lowered = |mtu| {
        let (mut paths, now) = (PathMtus::default(), Instant::now());
        told(&mut paths, mtu, now).map(|_| self::mtu(&paths))
    };
    for (said, want) in [
        (1500, Err(Ignored::Fits)),
        (9000, Err(Ignored::Fits)),
        (1499, Ok(1499)),
        (1400, Ok(1400)),
        (576, Ok(576)),
        (575, Err(Ignored::BelowMinimum)),
        (68, Err(Ignored::BelowMinimum)),
        (1, Err(Ignored::BelowMinimum)),
        (0, Ok(1492)),
    ] {
        assert_eq!(lowered(said), want, "{said}");
    }
    for (len, want) in [(9000, 8166), (1501, 1492), (1492, 1006), (1007, 1006), (1006, 508), (69, 68), (60, 68)] {
        assert_eq!(plateau(len), want, "{len}");
    }
}

#[test]
fn over_ipv6_no_claim_below_1280_counts() {
    let router = Ipv6Addr::from(PEER_V6);
    let told = |mtu: u32, quoted: &[u8]| {
        let message = message_v6(router.octets(), mtu, quoted);
        hear(&mut PathMtus::default(), TooBig::v6(&message, router).map_err(Ignored::from), Instant::now())
    };
    let packet = packet_v6();
    for (mtu, want) in [
        (1400, Ok(true)),
        (1280, Ok(true)),
        (1279, Err(Ignored::BelowMinimum)),
        (0, Err(Ignored::BelowMinimum)),
        (1520, Err(Ignored::Fits)),
        (u32::MAX, Err(Ignored::Fits)),
    ] {
        assert_eq!(told(mtu, &packet[..1200]), want, "{mtu}");
    }
    assert_eq!(told(1400, &packet[..48]), Err(Ignored::ShortQuote));
    let mut forged = packet;
    forged[54] = 7;
    assert_eq!(told(1400, &forged), Err(Ignored::Vni), "of a segment over IPv4");
}

#[test]
fn a_path_is_lowered_never_raised_and_forgotten_ten_minutes_after_the_last_word() {
    let (mut paths, start) = (PathMtus::default(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(told(&mut paths, 1400, start), Ok(true));
    assert_eq!(told(&mut paths, 1450, at(1)), Err(Ignored::NotLower));
    assert_eq!(told(&mut paths, 1300, at(2)), Ok(true));
    assert_eq!((told(&mut paths, 1400, at(3)), mtu(&paths)), (Err(Ignored::NotLower), 1300));
    assert_eq!(told(&mut paths, 1300, at(100)), Ok(false), "packets under way when it was lowered");
    let left = |paths: &PathMtus, now| paths.narrow(now).iter().map(|n| (n.mtu, n.left.as_secs())).collect::<Vec<_>>();
    assert_eq!(left(&paths, at(150)), [(1300, 550)]);
    assert_eq!(paths.expire(at(699)), []);
    assert_eq!((paths.expire(at(700)), mtu(&paths)), (vec![key()], 1500));
    assert_eq!(paths.expire(at(701)), []);
}

#[test]
fn the_kernels_mtu_counts_where_it_is_less_and_other_paths_are_not_concerned() {
    let (mut paths, now) = (PathMtus::default(), Instant::now());
    told(&mut paths, 1400, now).unwrap();
    assert_eq!(paths.narrowed(&key(), hop(1300)), hop(1300));
    assert_eq!(paths.narrowed(&key(), Err(Unready::NoRoute)), Err(Unready::NoRoute));
    for (dst, from) in [(PEER, [192, 0, 2, 2]), ([203, 0, 113, 6], OURS)] {
        assert_eq!(paths.narrowed(&HopKey::Routed { dst: dst.into(), from: from.into() }, hop(1500)), hop(1500));
    }
    paths.retain(|k| *k == key());
    assert_eq!(mtu(&paths), 1400, "the peer is still there");
    paths.retain(|_| false);
    assert_eq!(mtu(&paths), 1500);
}

#[test]
fn a_path_is_not_lowered_without_end() {
    let (mut paths, start) = (PathMtus::default(), Instant::now());
    let lowered =
        |paths: &mut PathMtus, from: u16, now| (0..20).take_while(|n| told(paths, from - n, now) == Ok(true)).count();
    assert_eq!(lowered(&mut paths, 1400, start), usize::from(AT_ONCE));
    assert_eq!(told(&mut paths, 1000, start + ONCE_MORE - Duration::from_secs(1)), Err(Ignored::Rate));
    assert_eq!(lowered(&mut paths, 1300, start + ONCE_MORE), 1);
    assert_eq!(lowered(&mut paths, 1200, start + 100 * ONCE_MORE), usize::from(AT_ONCE));
}

#[test]
fn outcomes_are_counted_by_name() {
    let mut paths = PathMtus::default();
    paths.count(&Ok(()));
    for (n, why) in Ignored::ALL.into_iter().enumerate() {
        (0..=n).for_each(|_| paths.count::<()>(&Err(why)));
    }
    let heard = paths.heard();
    assert_eq!(heard.accepted, 1);
    assert!(heard.ignored().enumerate().all(|(n, (why, count))| why == Ignored::ALL[n] && count == n as u64 + 1));
    let labels: std::collections::HashSet<_> = Ignored::ALL.iter().map(|why| why.label()).collect();
    assert_eq!(labels.len(), Ignored::ALL.len());
}

#[test]
fn a_header_is_what_it_should_be() {
    let packet = packet();
    assert_eq!((packet.len(), Ipv4::parse(&packet).unwrap().source()), (1500, Ipv4Addr::from(OURS)));
    assert_eq!(packet_v6().len(), 1520);
}
