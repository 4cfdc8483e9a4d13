//! ARP and neighbour discovery: what the gateway answers, byte by byte, and what it leaves unanswered by name.

mod support;

use selvedge::drops::DropReason as R;
use support::frames::{arp_request, ethernet};
use support::frames6::Ip6;
use support::six::*;
use support::*;

const ARP: u16 = 0x0806;

/// The reply to [`arp_request`], from the VTEP or port with this MAC.
fn arp_reply(at: [u8; 6], target: [u8; 4], to: [u8; 4]) -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4, 0, 2][..], &at, &target, &mac(11), &to].concat()
}

/// The advertisement that RFC 4861 §7.2.4 asks for; `flags` are the first octet of theirs.
fn advertisement(target: [u8; 16], to: [u8; 16], mac: [u8; 6], flags: u8) -> Vec<u8> {
    let mut ip = Ip6::icmp(target, to, 136, &[&[flags, 0, 0, 0], &target[..], &[2, 1], &mac].concat());
    ip.hop_limit = 255;
    ip.bytes()
}

/// An ARP packet of a blue node.
fn blue_arp(to: [u8; 6], packet: &[u8]) -> Vec<u8> {
    blue_frame(ethernet(to, BLUE_NODE.1, ARP, packet)).frame()
}

/// An IPv6 packet of a blue node that goes to a group on the link.
fn blue_nd(ip: &Ip6) -> Vec<u8> {
    let [.., a, b, c, d] = ip.dst;
    blue_frame(ethernet([0x33, 0x33, a, b, c, d], BLUE_NODE.1, 0x86dd, &ip.bytes())).frame()
}

const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

#[test]
fn who_asks_for_an_overlay_address_is_told_the_vtep_mac() {
    let mut g = gateway_6();
    for to in [[0xff; 6], BLUE_MAC] {
        let outcome = g.receive(UNDERLAY, &[&blue_arp(to, &arp_request(BLUE_POD, BLUE_ADDRESS))]);
        let want = arp_reply(BLUE_MAC, BLUE_ADDRESS, BLUE_POD);
        assert_eq!(outcome.only().1[50..], ethernet(BLUE_NODE.1, BLUE_MAC, ARP, &want), "RFC 826");
        assert_eq!(outcome.replied, 1);
    }
    let outcome = g.receive(UNDERLAY, &[&blue_arp([0xff; 6], &arp_request([0; 4], BLUE_ADDRESS))]);
    let want = arp_reply(BLUE_MAC, BLUE_ADDRESS, [0; 4]);
    assert_eq!(outcome.only().1[64..], want, "RFC 5227 §2.1.1: who probes learns that it is taken");
}

#[test]
fn solicitations_for_an_overlay_address_are_answered() {
    let mut g = gateway_6();
    let asker = six(0x244, 1, 5);
    let outcome = g.receive(UNDERLAY, &[&blue_nd(&Ip6::solicitation(asker, BLUE_ADDRESS_6, BLUE_NODE.1))]);
    let want = advertisement(BLUE_ADDRESS_6, asker, BLUE_MAC, 0x60);
    assert_eq!(outcome.only().1[50..], ethernet(BLUE_NODE.1, BLUE_MAC, 0x86dd, &want));
    // from a link-local address, to ours alone: is it still there?
    let mut link = [0; 16];
    (link[0], link[1], link[15]) = (0xfe, 0x80, 9);
    let mut ip = Ip6::icmp(link, BLUE_ADDRESS_6, 135, &[&[0; 4][..], &BLUE_ADDRESS_6].concat());
    ip.hop_limit = 255;
    let outcome = g.receive(UNDERLAY, &[&from_blue_6(&ip).frame()]);
    assert_eq!(outcome.only().1[64..], advertisement(BLUE_ADDRESS_6, link, BLUE_MAC, 0x60));
    // duplicate address detection (RFC 4862 §5.4.3)
    let mut probe = Ip6::solicitation([0; 16], BLUE_ADDRESS_6, BLUE_NODE.1);
    probe.payload.truncate(24);
    probe.finish(2);
    let outcome = g.receive(UNDERLAY, &[&blue_nd(&probe)]);
    let want = advertisement(BLUE_ADDRESS_6, ALL_NODES, BLUE_MAC, 0x20);
    assert_eq!(outcome.only().1[50..], ethernet([0x33, 0x33, 0, 0, 0, 1], BLUE_MAC, 0x86dd, &want));
    // over IPv6
    let ask = Ip6::solicitation(RED_POD_6, RED_ADDRESS_6, RED_NODE.1);
    let mut inner = red_inner(0x86dd, &ask.bytes());
    inner[..6].copy_from_slice(&[0x33, 0x33, 0xff, 0, 0, 1]);
    let outcome = g.receive(UNDERLAY, &[&on_underlay(&red_outer(&inner))]);
    let want = advertisement(RED_ADDRESS_6, RED_POD_6, RED_MAC, 0x60);
    assert_eq!(outcome.only().1[70..], ethernet(RED_NODE.1, RED_MAC, 0x86dd, &want));
}

/// Row 8: a priority tag names no VLAN, whatever follows it.
#[test]
fn who_asks_behind_a_priority_tag_is_answered_as_without() {
    let mut g = gateway_6();
    let behind_tag = |vid: u8, mut frame: Vec<u8>| {
        frame.splice(12..12, [0x81, 0, 0xe0, vid]);
        blue_frame(frame).frame()
    };
    let arp = ethernet([0xff; 6], BLUE_NODE.1, ARP, &arp_request(BLUE_POD, BLUE_ADDRESS));
    let ask = Ip6::solicitation(BLUE_POD_6, BLUE_ADDRESS_6, BLUE_NODE.1);
    let [.., a, b, c, d] = ask.dst;
    let nd = ethernet([0x33, 0x33, a, b, c, d], BLUE_NODE.1, 0x86dd, &ask.bytes());
    for frame in [arp, nd] {
        let plain = g.receive(UNDERLAY, &[&blue_frame(frame.clone()).frame()]);
        let tagged = g.receive(UNDERLAY, &[&behind_tag(0, frame.clone())]);
        assert_eq!((tagged.only(), tagged.replied), (plain.only(), 1));
        assert_eq!(g.receive(UNDERLAY, &[&behind_tag(5, frame)]).reason(), R::InnerVlan);
    }
}

/// Nor does the tag of the overlay's VLAN change anything: the answer has none.
#[test]
fn who_asks_in_the_overlays_vlan_is_answered_as_without() {
    let mut all = overlays();
    all[0].inner_vlan = 5;
    let mut tables = selvedge::tables::TablesWriter::new(all, ports());
    fill(&mut tables);
    let mut g = Gateway::with(tables, rings());
    let frame = ethernet([0xff; 6], BLUE_NODE.1, ARP, &arp_request(BLUE_POD, BLUE_ADDRESS));
    let plain = g.receive(UNDERLAY, &[&blue_frame(frame.clone()).frame()]);
    for (vid, answered) in [(5, true), (6, false)] {
        let mut tagged = frame.clone();
        tagged.splice(12..12, [0x81, 0, 0xe0, vid]).for_each(drop);
        let outcome = g.receive(UNDERLAY, &[&blue_frame(tagged).frame()]);
        if answered {
            assert_eq!((outcome.only(), outcome.replied), (plain.only(), 1));
        } else {
            assert_eq!(outcome.reason(), R::InnerVlan);
        }
    }
}

#[test]
fn all_else_is_dropped_by_name() {
    let mut g = gateway_6();
    let spoilt = |at: usize, to: u8| {
        let mut ip = Ip6::solicitation(BLUE_POD_6, BLUE_ADDRESS_6, BLUE_NODE.1);
        ip.payload[at] = to;
        ip.finish(2);
        blue_nd(&ip)
    };
    let ask = Ip6::solicitation(BLUE_POD_6, BLUE_ADDRESS_6, BLUE_NODE.1);
    let far = Ip6 { hop_limit: 254, ..ask.clone() };
    let mut wrong = ask.clone();
    wrong.payload[2] ^= 1;
    let router = |kind| {
        let mut ip = Ip6::icmp(BLUE_POD_6, ALL_NODES, kind, &[0; 40]);
        ip.hop_limit = 255;
        blue_nd(&ip)
    };
    let reply = arp_reply(BLUE_NODE.1, BLUE_POD, BLUE_ADDRESS);
    let mut stranger = blue_frame(ethernet([0xff; 6], BLUE_NODE.1, ARP, &arp_request(BLUE_POD, BLUE_ADDRESS)));
    stranger.outer.src = [192, 0, 2, 200];
    let mut unsound =
        blue_frame(ethernet([0xff; 6], BLUE_NODE.1, ARP, &arp_request(BLUE_POD, BLUE_ADDRESS))).frame_with_checksum();
    assert_eq!(g.receive(UNDERLAY, &[&unsound]).replied, 1);
    unsound[41] ^= 1; // of the outer UDP checksum
    let cases = [
        (R::OuterUdpChecksum, unsound),
        (R::Neighbour, blue_arp([0xff; 6], &arp_request(BLUE_POD, BLUE_POD_2))),
        (R::Neighbour, blue_arp([0xff; 6], &arp_request(BLUE_POD, BLUE_POD))),
        (R::Neighbour, blue_arp(BLUE_MAC, &reply)),
        (R::Neighbour, blue_arp([0xff; 6], &[0; 20])),
        (R::Neighbour, blue_nd(&far)),
        (R::Neighbour, blue_nd(&wrong)),
        (R::Neighbour, spoilt(8, 0xff)),
        (R::Neighbour, spoilt(25, 0)),
        (R::Neighbour, blue_nd(&Ip6::solicitation(BLUE_POD_6, BLUE_POD_2_6, BLUE_NODE.1))),
        (R::Neighbour, router(133)),
        (R::Neighbour, router(134)),
        (R::Neighbour, router(136)),
        (R::Neighbour, router(137)),
        (R::UnknownPeer, stranger.frame()),
        (R::InnerSourceMac, blue_frame(ethernet([0xff; 6], [0; 6], ARP, &arp_request(BLUE_POD, BLUE_ADDRESS))).frame()),
        (R::InnerDestinationMac, blue_arp(mac(77), &arp_request(BLUE_POD, BLUE_ADDRESS))),
    ];
    for (n, (reason, frame)) in cases.into_iter().enumerate() {
        assert_eq!(g.receive(UNDERLAY, &[&frame]).reason(), reason, "case {n}: {frame:02x?}");
    }
}

/// What somebody sends to a pod across routers is no business of the gateway's, whatever its type.
#[test]
fn discovery_between_pods_is_forwarded_like_anything() {
    let mut g = gateway_6();
    for (kind, hop_limit) in (133..=137).flat_map(|kind| [(kind, 64), (kind, 255)]) {
        let ip = Ip6 { hop_limit, ..Ip6::icmp(BLUE_POD_6, RED_POD_6, kind, &[0; 20]) };
        assert_eq!(g.receive(UNDERLAY, &[&from_blue_6(&ip).frame()]).journeys[2], 1, "{kind}, {hop_limit}");
    }
    // to ourselves: a message of no bytes, and what looks like one in the padding; and data of a later fragment
    let mut frame = ethernet(BLUE_MAC, BLUE_NODE.1, 0x86dd, &Ip6::new(BLUE_POD_6, BLUE_ADDRESS_6, 58, vec![]).bytes());
    frame.extend([135; 8]);
    assert_eq!(g.receive(UNDERLAY, &[&blue_frame(frame).frame()]).reason(), R::NotForUs);
    let piece = Ip6::new(BLUE_POD_6, BLUE_ADDRESS_6, 58, vec![135; 32]).behind(44, &[58, 0, 0, 0xb8, 0, 0, 0, 7]);
    assert_eq!(g.receive(UNDERLAY, &[&from_blue_6(&piece).frame()]).reason(), R::NotForUs);
}

#[test]
fn a_proxy_answers_for_pods_and_for_nobody_else() {
    let mut g = Gateway::with(tables_6(false, true), rings());
    let ask = |from, target| ethernet([0xff; 6], mac(11), ARP, &arp_request(from, target));
    let outcome = g.receive(ACCESS, &[&ask(NATIVE, BLUE_POD)]);
    let want = ethernet(mac(11), PORT_MACS[1], ARP, &arp_reply(PORT_MACS[1], BLUE_POD, NATIVE));
    assert_eq!((outcome.only(), outcome.replied), ((ACCESS, &want[..]), 1));
    let solicit = |from, target| {
        let ip = Ip6::solicitation(from, target, mac(11));
        let [.., a, b, c, d] = ip.dst;
        ethernet([0x33, 0x33, a, b, c, d], mac(11), 0x86dd, &ip.bytes())
    };
    let outcome = g.receive(ACCESS, &[&solicit(NATIVE_6, RED_POD_6)]);
    let want = advertisement(RED_POD_6, NATIVE_6, PORT_MACS[1], 0x40);
    assert_eq!(outcome.only(), (ACCESS, &ethernet(mac(11), PORT_MACS[1], 0x86dd, &want)[..]));
    // who knows the pod asks it alone, now and then, whether it is still there
    let mut probe = Ip6::solicitation(NATIVE_6, RED_POD_6, mac(11));
    probe.dst = RED_POD_6;
    probe.finish(2);
    let to_us = |ip: &Ip6| ethernet(PORT_MACS[1], mac(11), 0x86dd, &ip.bytes());
    assert_eq!(
        g.receive(ACCESS, &[&to_us(&probe)]).only(),
        (ACCESS, &ethernet(mac(11), PORT_MACS[1], 0x86dd, &want)[..])
    );
    probe.hop_limit = 254;
    assert_eq!(g.receive(ACCESS, &[&to_us(&probe)]).journeys[0], 1, "from beyond the link: a packet like any other");
    for frame in [
        ask([0; 4], BLUE_POD),
        ask(BLUE_POD, BLUE_POD),
        ask(NATIVE, [10, 9, 0, 77]),
        ask(NATIVE, BLUE_ADDRESS),
        ask(NATIVE, NOWHERE),
        solicit(NATIVE_6, six(9, 0, 77)),
        solicit(NATIVE_6, NOWHERE_6),
    ] {
        assert_eq!(g.receive(ACCESS, &[&frame]).reason(), R::Neighbour, "{frame:02x?}");
    }
    let mut g = gateway_6();
    assert_eq!(g.receive(ACCESS, &[&ask(NATIVE, BLUE_POD)]).reason(), R::NotIp, "a port that is no proxy");
    probe.hop_limit = 255;
    assert_eq!(g.receive(ACCESS, &[&to_us(&probe)]).journeys[0], 1, "nor are its neighbours the pods'");
}

/// A later fragment has no header of its own: what looks like a solicitation's is data.
#[test]
fn a_later_fragment_to_a_pod_is_no_probe() {
    let mut g = Gateway::with(tables_6(false, true), rings());
    let mut later = Ip6::new(NATIVE_6, RED_POD_6, 58, vec![135; 32]).behind(44, &[58, 0, 0, 0xb8, 0, 0, 0, 7]);
    later.hop_limit = 255;
    let frame = ethernet(PORT_MACS[1], mac(11), 0x86dd, &later.bytes());
    assert_eq!(g.receive(ACCESS, &[&frame]).journeys[0], 1);
}
