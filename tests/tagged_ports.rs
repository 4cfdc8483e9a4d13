//! A gateway whose ports are VLANs does what one without does, with the tags around it.

mod support;

use selvedge::drops::DropReason;
use selvedge::port::{Finishes, MemPort};
use selvedge::tables::{HopId, NextHop, PeerId, PortId};
use selvedge::wire::vlan::Tag;
use selvedge::wire::{Ethernet, Mac, VlanTags, eth};
use std::net::Ipv4Addr;
use support::frames::Ip;
use support::*;

const VLAN: [u8; 4] = [0x81, 0, 0, 100];
const QINQ: [[u8; 4]; 2] = [[0x88, 0xa8, 0x01, 0x2c], [0x81, 0, 0, 7]];

fn tags(tags: &[[u8; 4]]) -> VlanTags {
    let tag = |[a, b, c, d]: &[u8; 4]| Tag::new(u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])).unwrap();
    VlanTags::new(&tags.iter().map(tag).collect::<Vec<_>>()).unwrap()
}

fn behind(tags: &[[u8; 4]], frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &tags.concat(), &frame[12..]].concat()
}

fn unfinished(mut ip: Ip, field: usize) -> Ip {
    ip.unfinish(field);
    ip
}

/// What each port's frames have; packets of every journey, one that is answered and one that is dropped.
fn as_without(underlay: &[[u8; 4]], access: &[[u8; 4]]) {
    let of = |port: PortId| if port == UNDERLAY { underlay } else { access };
    let packets = [
        (UNDERLAY, from_blue(&Ip::udp(BLUE_POD, GREEN_POD, (1, 2), b"transit")).frame()),
        (UNDERLAY, from_blue(&Ip::udp(BLUE_POD, NATIVE, (1, 2), b"decapsulated")).frame()),
        (ACCESS, plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), b"encapsulated"))),
        (ACCESS, plain(&unfinished(Ip::tcp(NATIVE, BLUE_POD, (1, 2), b"unfinished"), 16))),
        (UNDERLAY, from_blue(&unfinished(Ip::udp(BLUE_POD, NATIVE, (1, 2), b"odd"), 6)).frame()),
        (ACCESS, plain(&Ip::udp(NATIVE, NOWHERE, (1, 2), b"to nobody"))),
        (ACCESS, {
            let mut ip = Ip::udp(NATIVE, BLUE_POD, (1, 2), b"answered");
            ip.ttl = 1;
            plain(&ip)
        }),
    ];
    // what is left to the device is where it was, tags or not
    let mut g = Gateway::on([0, 1].map(|_| MemPort::new(rings()).finishing(Finishes::All)), tables());
    g.worker.set_tags(UNDERLAY, tags(underlay));
    g.worker.set_tags(ACCESS, tags(access));
    let (mut sent, mut dropped) = (0, 0);
    for (port, frame) in &packets {
        let want = Gateway::new().receive(*port, &[frame]);
        let tagged = behind(of(*port), frame);
        // a burst, so that the second packet takes the fast path
        let got = g.receive(*port, &[&tagged, &tagged]);
        assert_eq!(got.sent.len(), 2 * want.sent.len(), "{got:?}");
        for (by, bytes) in &got.sent {
            let (door, plain) = want.only();
            assert_eq!(*by, door);
            let same = |at: std::ops::Range<usize>| assert_eq!(bytes[at.clone()], behind(of(door), plain)[at]);
            // identifications and source ports of outer headers differ from packet to packet
            same(0..12 + 4 * of(door).len() + 2);
            assert_eq!(bytes.len(), plain.len() + 4 * of(door).len());
        }
        if let Some((by, bytes)) = got.sent.first() {
            assert_eq!(*bytes, behind(of(*by), want.only().1), "the first of each is the same to the byte");
        }
        assert_eq!(
            got.drops.iter().map(|(r, _)| r).collect::<Vec<_>>(),
            want.drops.iter().map(|(r, _)| r).collect::<Vec<_>>()
        );
        sent += got.sent.len();
        dropped += got.drops.iter().map(|(_, n)| n).sum::<u64>();
    }
    assert!(sent >= 6 && dropped + sent as u64 == 2 * packets.len() as u64, "{sent} sent, {dropped} dropped");
}

#[test]
fn a_tagged_underlay_and_an_access_port_without() {
    as_without(&[VLAN], &[]);
}

#[test]
fn an_access_port_with_one_tag_or_two() {
    as_without(&[], &[VLAN]);
    as_without(&[], &QINQ);
}

#[test]
fn both_ports_tagged() {
    as_without(&[VLAN], &QINQ);
}

#[test]
fn a_burst_loses_only_what_has_other_tags() {
    let mut g = Gateway::new();
    g.worker.set_tags(ACCESS, tags(&[VLAN]));
    let frame = plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), b"payload"));
    let (own, priority) = (behind(&[VLAN], &frame), behind(&[[0x81, 0, 0xe0, 100]], &frame));
    let other = behind(&[[0x81, 0, 0, 101]], &frame);
    let outcome = g.receive(ACCESS, &[&own, &other, &priority, &frame, &own, &frame[..10]]);
    assert_eq!((outcome.sent.len(), &outcome.drops[..]), (3, &[(DropReason::VlanTags, 3)][..]));
    assert!(outcome.sent.iter().all(|(port, _)| *port == UNDERLAY));
}

#[test]
fn without_room_for_a_tag_a_packet_is_dropped_and_the_others_are_not() {
    let mut g = Gateway::new();
    g.worker.set_tags(UNDERLAY, tags(&QINQ));
    let frame = plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), b"payload"));
    let (pool, wire) = g.worker.wire(ACCESS);
    for headroom in [256, 57, 58, 50] {
        assert!(wire.inject_at(pool, headroom, &frame)); // the outer headers take 50, the tags 8
    }
    while g.worker.turn() > 0 {}
    g.worker.turn();
    let outcome = g.settle(4);
    assert_eq!((outcome.sent.len(), &outcome.drops[..]), (2, &[(DropReason::NoHeadroom, 2)][..]));
    assert!(outcome.sent.iter().all(|(_, bytes)| bytes[12..20] == QINQ.concat()));
}

#[test]
fn a_tag_is_put_on_once_however_often_sending_is_tried() {
    let mut g = Gateway::with(support::tables(), selvedge::port::MemRings { rx: 64, tx: 2, fill: 64 });
    g.worker.set_tags(UNDERLAY, tags(&[VLAN]));
    let (_, wire) = g.worker.wire(UNDERLAY);
    wire.set_completion_delay(1);
    let frame = plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), b"payload"));
    let outcome = g.receive(ACCESS, &[&frame[..]; 6]);
    assert!(!outcome.sent.is_empty() && outcome.drops.iter().all(|(r, _)| *r == DropReason::TxRingFull), "{outcome:?}");
    let untagged = eth::IPV4.to_be_bytes();
    assert!(outcome.sent.iter().all(|(_, b)| b[12..16] == VLAN && b[16..18] == untagged), "{outcome:?}");
}

/// MTU 9,000 on both ports.
fn jumbo() -> Gateway {
    let (mut t, all) = (support::tables(), overlays());
    let mut node = peer(&all, 0, BLUE_NODE, true);
    node.way.iter_mut().for_each(|way| way.mtu = 8950);
    t.set_peer(PeerId(0), Some(node));
    let way = Some((Ethernet::ipv4(Mac(HOST), Mac(PORT_MACS[1])), 9000));
    t.set_hop(HopId(0), Some(NextHop { port: ACCESS, addr: Ipv4Addr::from(NATIVE).into(), way }));
    Gateway::on([0, 1].map(|_| MemPort::new(rings()).multi_buffer()), t)
}

#[test]
fn packets_in_several_chunks_have_tags_as_well() {
    let data = vec![0x5a; 8000];
    let packets = [
        (UNDERLAY, from_blue(&Ip::udp(BLUE_POD, NATIVE, (1, 2), &data)).frame(), &[VLAN][..]),
        (ACCESS, plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), &data)), &QINQ[..]),
    ];
    for (port, frame, own) in packets {
        let want = jumbo().receive(port, &[&frame]);
        let (door, whole) = want.only();
        let mut g = jumbo();
        g.worker.set_tags(UNDERLAY, tags(&[VLAN]));
        g.worker.set_tags(ACCESS, tags(&QINQ));
        let theirs = if door == UNDERLAY { &[VLAN][..] } else { &QINQ[..] };
        let short = plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), b"payload"));
        let outcome = g.receive(port, &[&behind(own, &frame), &frame, &short]);
        assert_eq!(outcome.only(), (door, &behind(theirs, whole)[..]));
        assert_eq!(outcome.drops, [(DropReason::VlanTags, 2)], "without tags");
    }
}
