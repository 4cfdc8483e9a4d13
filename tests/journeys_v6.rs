//! The journeys of [`journeys.rs`] where IPv6 is inside, outside or both: every byte of what leaves is compared with what
//! the RFCs say, written by hand.

mod support;

use selvedge::drops::DropReason as R;
use selvedge::path::Journey;
use support::frames::{Ip, ethernet};
use support::frames6::Ip6;
use support::six::*;
use support::*;

/// A frame over IPv6 taken apart: Ethernet, IPv6, UDP, VXLAN, inner Ethernet, inner packet.
struct Parts<'a> {
    link: &'a [u8],
    ip: &'a [u8],
    udp: &'a [u8],
    vxlan: &'a [u8],
    inner: &'a [u8],
    packet: &'a [u8],
}

fn apart(frame: &[u8]) -> Parts<'_> {
    let [link, ip, udp, vxlan, inner] = [0..14, 14..54, 54..62, 62..70, 70..84].map(|r| &frame[r]);
    Parts { link, ip, udp, vxlan, inner, packet: &frame[84..] }
}

/// What the red node must see around `packet`: headers right in every byte that is not the flow's.
fn expect_red(frame: &[u8], ethertype: u16, packet: &[u8], class: u8) {
    let parts = apart(frame);
    assert_eq!(parts.link, ethernet(ROUTER, PORT_MACS[0], 0x86dd, &[]));
    let mut outer = Ip6::new(RED_VTEP, RED_NODE.0, 17, frame[54..].to_vec());
    outer.class = class;
    let label = u32::from_be_bytes(parts.ip[..4].try_into().unwrap()) & 0xf_ffff;
    outer.label = label;
    assert_eq!(parts.ip, &outer.bytes()[..40]);
    assert!(u16::from_be_bytes([parts.udp[0], parts.udp[1]]) >= 49_152);
    assert_eq!(parts.udp[2..6], [&4789u16.to_be_bytes()[..], &((30 + packet.len()) as u16).to_be_bytes()].concat());
    outer.finish(6);
    assert_eq!(parts.udp[6..8], outer.payload[6..8], "a right checksum");
    assert_eq!(parts.vxlan, [8, 0, 0, 0, 0, 0, 9, 0]);
    assert_eq!(parts.inner, ethernet(RED_NODE.1, RED_MAC, ethertype, &[]));
    assert_eq!(parts.packet, packet);
}

fn aged(ip: &Ip) -> Vec<u8> {
    Ip { ttl: ip.ttl - 1, ..ip.clone() }.bytes()
}

#[test]
fn plain_packets_of_both_families_are_put_into_ipv6() {
    let mut g = gateway_6();
    let six = Ip6 { label: 0x12345, ..Ip6::udp(NATIVE_6, RED_POD_6, (1000, 2000), b"hello") };
    let outcome = g.receive(ACCESS, &[&plain_6(&six)]);
    expect_red(outcome.only().1, 0x86dd, &six.aged(), 0);
    assert_eq!((outcome.only().0, outcome.journeys), (UNDERLAY, [1, 0, 0, 0]));
    let four = Ip::tcp(NATIVE, RED_POD, (1000, 2000), b"hello");
    expect_red(g.receive(ACCESS, &[&plain(&four)]).only().1, 0x0800, &aged(&four), 0);
}

#[test]
fn ipv6_is_put_into_ipv4() {
    let mut g = gateway_6();
    let ip = Ip6::tcp(NATIVE_6, BLUE_POD_6, (1000, 2000), b"hello");
    let outcome = g.receive(ACCESS, &[&plain_6(&ip)]);
    let frame = outcome.only().1;
    assert_eq!(frame[50..], ethernet(BLUE_NODE.1, BLUE_MAC, 0x86dd, &ip.aged()));
    assert_eq!(frame[16..18], ((frame.len() - 14) as u16).to_be_bytes());
}

#[test]
fn all_four_pairs_are_taken_out() {
    let mut g = gateway_6();
    let six = Ip6::udp(RED_POD_6, NATIVE_6, (7, 8), b"payload");
    let four = Ip::udp(RED_POD, NATIVE, (7, 8), b"payload");
    let blue_six = Ip6::udp(BLUE_POD_6, NATIVE_6, (7, 8), b"payload");
    let cases = [
        (on_underlay(&red_outer(&red_inner(0x86dd, &six.bytes()))), 0x86dd, six.aged()),
        (on_underlay(&red_outer(&red_inner(0x0800, &four.bytes()))), 0x0800, aged(&four)),
        (from_blue_6(&blue_six).frame(), 0x86dd, blue_six.aged()),
        (from_blue_6(&blue_six).frame_with_checksum(), 0x86dd, blue_six.aged()),
    ];
    for (frame, ethertype, packet) in cases {
        let outcome = g.receive(UNDERLAY, &[&frame]);
        assert_eq!(outcome.only(), (ACCESS, &ethernet(HOST, PORT_MACS[1], ethertype, &packet)[..]));
        assert_eq!(outcome.journeys[Journey::Decap as usize], 1);
    }
}

#[test]
fn transit_joins_overlays_of_different_families() {
    let mut g = gateway_6();
    let ip = Ip6::udp(BLUE_POD_6, RED_POD_6, (7, 8), b"payload");
    let outcome = g.receive(UNDERLAY, &[&from_blue_6(&ip).frame()]);
    expect_red(outcome.only().1, 0x86dd, &ip.aged(), 0);
    assert_eq!(outcome.journeys[Journey::Transit as usize], 1);
    let back = Ip6::udp(RED_POD_6, BLUE_POD_6, (8, 7), b"payload");
    let outcome = g.receive(UNDERLAY, &[&on_underlay(&red_outer(&red_inner(0x86dd, &back.bytes())))]);
    assert_eq!(outcome.only().1[50..], ethernet(BLUE_NODE.1, BLUE_MAC, 0x86dd, &back.aged()));
}

#[test]
fn native_routes_take_ipv6_as_well() {
    let mut g = gateway_6();
    g.tables.set_route("fd00:8::/64".parse().unwrap(), selvedge::tables::Action::Deliver(selvedge::tables::HopId(0)));
    g.publish();
    let ip = Ip6::udp(NATIVE_6, support::six::six(8, 0, 1), (7, 8), b"payload");
    let outcome = g.receive(ACCESS, &[&plain_6(&ip)]);
    assert_eq!(outcome.only(), (ACCESS, &ethernet(HOST, PORT_MACS[1], 0x86dd, &ip.aged())[..]));
}

/// RFC 6936: what was agreed upon with a peer holds in both directions, for it alone.
#[test]
fn a_peer_without_outer_checksums_is_sent_none_either() {
    let mut g = Gateway::with(tables_6(true, false), rings());
    let ip = Ip6::udp(NATIVE_6, RED_POD_6, (1, 2), b"payload");
    assert_eq!(apart(g.receive(ACCESS, &[&plain_6(&ip)]).only().1).udp[6..8], [0, 0]);
    let mut outer = red_outer(&red_inner(0x86dd, &Ip6::udp(RED_POD_6, NATIVE_6, (1, 2), b"payload").bytes()));
    for (sum, passes) in [(outer.payload[6..8].to_vec(), true), (vec![0, 0], true), (vec![0, 1], false)] {
        outer.payload[6..8].copy_from_slice(&sum);
        let outcome = g.receive(UNDERLAY, &[&on_underlay(&outer)]);
        match passes {
            true => assert_eq!(outcome.only().0, ACCESS),
            false => assert_eq!(outcome.reason(), R::OuterUdpChecksum),
        }
    }
}

#[test]
fn outer_headers_that_lie_are_refused_by_name() {
    let mut g = gateway_6();
    let good = red_outer(&red_inner(0x86dd, &Ip6::udp(RED_POD_6, NATIVE_6, (1, 2), b"payload").bytes()));
    let fragment = |offset: u16| {
        let [a, b] = offset.to_be_bytes();
        good.clone().behind(44, &[17, 0, a, b, 0, 0, 0, 1])
    };
    let changed = |change: &dyn Fn(&mut Ip6)| {
        let mut outer = good.clone();
        change(&mut outer);
        outer.finish(6);
        outer
    };
    let version = {
        let mut f = on_underlay(&good);
        f[14] = 0x45;
        f
    };
    let cut = {
        let mut f = on_underlay(&good);
        f.truncate(100);
        f
    };
    let cases = [
        (R::OuterIpHeader, version),
        (R::OuterIpHeader, cut),
        (R::OuterFragment, on_underlay(&fragment(1))),
        (R::OuterFragment, on_underlay(&fragment(0x10))),
        (R::OuterNotUdp, on_underlay(&Ip6 { next: 6, ..good.clone() })),
        (R::NotOurVtep, on_underlay(&changed(&|ip| ip.dst[15] = 77))),
        (R::UnknownVni, on_underlay(&changed(&|ip| ip.payload[14] = 77))),
        (R::UnknownPeer, on_underlay(&changed(&|ip| ip.src[15] = 77))),
        (R::OuterMartian, on_underlay(&changed(&|ip| ip.src = RED_VTEP))),
        (R::OuterMartian, on_underlay(&changed(&|ip| ip.src[0] = 0xff))),
        (R::OuterUdpLength, on_underlay(&changed(&|ip| ip.payload[4..6].copy_from_slice(&[0, 7])))),
        (R::VxlanFlags, on_underlay(&changed(&|ip| ip.payload[8] = 0))),
    ];
    for (reason, frame) in cases {
        assert_eq!(g.receive(UNDERLAY, &[&frame]).reason(), reason, "{frame:02x?}");
    }
}

#[test]
fn inner_headers_that_lie_are_refused_by_name() {
    let mut g = gateway_6();
    let ip = Ip6::udp(BLUE_POD_6, NATIVE_6, (1, 2), b"payload");
    let changed = |change: &dyn Fn(&mut Ip6)| {
        let mut ip = ip.clone();
        change(&mut ip);
        from_blue_6(&ip).frame()
    };
    let mut version = from_blue_6(&ip);
    version.inner[14] = 0x45;
    let mut long = from_blue_6(&ip);
    long.inner[19] += 1;
    let linklocal = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let cases = [
        (R::InnerIpHeader, version.frame()),
        (R::InnerIpHeader, long.frame()),
        (R::InnerSource, changed(&|ip| ip.src = BLUE_POD_2_6)),
        (R::InnerSource, changed(&|ip| ip.src = linklocal)),
        (R::Martian, changed(&|ip| ip.dst = linklocal)),
        (R::Martian, changed(&|ip| ip.dst[0] = 0xff)),
        (R::Martian, changed(&|ip| ip.dst = std::net::Ipv6Addr::LOCALHOST.octets())),
        (R::Martian, changed(&|ip| ip.dst = std::net::Ipv4Addr::from(NATIVE).to_ipv6_mapped().octets())),
        (R::NoRoute, changed(&|ip| ip.dst = NOWHERE_6)),
        (R::BackToSender, changed(&|ip| ip.dst = six(0x244, 1, 9))),
        (R::NotForUs, changed(&|ip| ip.dst = BLUE_ADDRESS_6)),
    ];
    for (reason, frame) in cases {
        assert_eq!(g.receive(UNDERLAY, &[&frame]).reason(), reason, "{frame:02x?}");
    }
    assert_eq!(g.receive(ACCESS, &[&plain_6(&Ip6::udp(BLUE_POD_6, RED_POD_6, (1, 2), b""))]).reason(), R::Source);
    let mut short = plain_6(&Ip6::udp(NATIVE_6, RED_POD_6, (1, 2), b""));
    short.truncate(50);
    assert_eq!(g.receive(ACCESS, &[&short]).reason(), R::IpHeader);
}

/// RFC 6040 §4.2 with IPv6 inside and outside.
#[test]
fn congestion_marks_cross_families() {
    let mut g = gateway_6();
    for (inner, outer, want) in [(0, 3, None), (0, 1, Some(0)), (2, 1, Some(1)), (2, 3, Some(3)), (1, 3, Some(3))] {
        let six = Ip6 { class: 0xb8 | inner, ..Ip6::udp(RED_POD_6, NATIVE_6, (1, 2), b"payload") };
        let mut packet = red_outer(&red_inner(0x86dd, &six.bytes()));
        packet.class = outer;
        let outcome = g.receive(UNDERLAY, &[&on_underlay(&packet)]);
        match want {
            None => assert_eq!(outcome.reason(), R::Congestion),
            Some(ecn) => assert_eq!(outcome.only().1[14..], Ip6 { class: 0xb8 | ecn, ..six }.aged()),
        }
    }
    for ecn in 0..4 {
        let six = Ip6 { class: 0xb8 | ecn, ..Ip6::udp(NATIVE_6, RED_POD_6, (1, 2), b"payload") };
        expect_red(g.receive(ACCESS, &[&plain_6(&six)]).only().1, 0x86dd, &six.aged(), ecn);
    }
}

/// An answer to the native host: Ethernet, IPv6, ICMPv6 with a right checksum.
fn expect_error(frame: &[u8], src: [u8; 16], dst: [u8; 16], kind: u8, rest: u32, about: &[u8]) {
    let quote = &about[..about.len().min(1280 - 48)];
    let mut want = Ip6::icmp(src, dst, kind, &[&rest.to_be_bytes()[..], quote].concat());
    want.class = 0xc0;
    assert_eq!(frame, want.bytes());
}

#[test]
fn senders_of_ipv6_learn_what_is_wrong() {
    let mut g = gateway_6();
    let mut old = Ip6::udp(NATIVE_6, RED_POD_6, (1, 2), b"payload");
    old.hop_limit = 1;
    let outcome = g.receive(ACCESS, &[&plain_6(&old)]);
    expect_error(&outcome.only().1[14..], ACCESS_ADDRESS_6, NATIVE_6, 3, 0, &old.bytes());
    assert_eq!(outcome.only().1[..14], ethernet(HOST, PORT_MACS[1], 0x86dd, &[]));
    let big = Ip6::udp(NATIVE_6, RED_POD_6, (1, 2), &[7; RED_MTU as usize - 47]);
    let outcome = g.receive(ACCESS, &[&plain_6(&big)]);
    expect_error(&outcome.only().1[14..], ACCESS_ADDRESS_6, NATIVE_6, 2, RED_MTU.into(), &big.bytes());
    let fits = Ip6::udp(NATIVE_6, RED_POD_6, (1, 2), &[7; RED_MTU as usize - 48]);
    assert_eq!(g.receive(ACCESS, &[&plain_6(&fits)]).journeys[0], 1);
    // to a pod: back into its overlay
    let mut old = Ip6::udp(RED_POD_6, NATIVE_6, (1, 2), b"payload");
    old.hop_limit = 0;
    let outcome = g.receive(UNDERLAY, &[&on_underlay(&red_outer(&red_inner(0x86dd, &old.bytes())))]);
    expect_error(apart(outcome.only().1).packet, RED_ADDRESS_6, RED_POD_6, 3, 0, &old.bytes());
}

/// RFC 4443 §2.4(e), and pieces that do not begin with a header.
#[test]
fn some_packets_cause_no_error() {
    let mut g = gateway_6();
    let expired = |mut ip: Ip6| {
        ip.hop_limit = 1;
        plain_6(&ip)
    };
    let icmp = |kind| Ip6::icmp(NATIVE_6, RED_POD_6, kind, &[0; 40]);
    for ip in [icmp(1), icmp(3), icmp(127), icmp(137)] {
        assert_eq!(g.receive(ACCESS, &[&expired(ip)]).reason(), R::TtlExpired);
    }
    let later = Ip6::udp(NATIVE_6, RED_POD_6, (1, 2), b"").behind(44, &[17, 0, 0, 0x10, 0, 0, 0, 1]);
    assert_eq!(g.receive(ACCESS, &[&expired(later)]).reason(), R::TtlExpired);
    let behind_options = icmp(1).behind(60, &[58, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(g.receive(ACCESS, &[&expired(behind_options)]).reason(), R::TtlExpired);
    assert_eq!(g.receive(ACCESS, &[&expired(icmp(128))]).replied, 1);
    let icmp_of_ipv4 = Ip6::new(NATIVE_6, RED_POD_6, 1, vec![3; 8]);
    assert_eq!(g.receive(ACCESS, &[&expired(icmp_of_ipv4)]).replied, 1, "no error: IPv6 has another");
}

/// RFC 8201 §4: nobody sends less than 1280 octets for it, so nobody is told.
#[test]
fn a_way_too_narrow_for_ipv6_is_told_to_nobody() {
    let mut g = gateway_6();
    let mut narrow = red_peer(false);
    narrow.way.as_mut().unwrap().mtu = 1000;
    g.tables.set_peer(selvedge::tables::PeerId(10), Some(narrow));
    g.publish();
    let of = |len: usize| plain_6(&Ip6::udp(NATIVE_6, RED_POD_6, (1, 2), &vec![7; len - 48]));
    assert_eq!(g.receive(ACCESS, &[&of(1280)]).reason(), R::TooBig);
    let outcome = g.receive(ACCESS, &[&of(1281)]);
    assert_eq!(outcome.only().1[58..62], 1280u32.to_be_bytes(), "the least that may be asked for");
}

#[test]
fn echo_is_answered_in_every_pair() {
    let mut g = gateway_6();
    let reply = |ip: &Ip6| Ip6::icmp(ip.dst, ip.src, 129, &ip.payload[4..]).bytes();
    let ask = Ip6::echo(BLUE_POD_6, BLUE_ADDRESS_6, b"are you there");
    let outcome = g.receive(UNDERLAY, &[&from_blue_6(&ask).frame()]);
    assert_eq!(outcome.only().1[50..], ethernet(BLUE_NODE.1, BLUE_MAC, 0x86dd, &reply(&ask)));
    let ask = Ip6::echo(RED_POD_6, RED_ADDRESS_6, b"are you there");
    let outcome = g.receive(UNDERLAY, &[&on_underlay(&red_outer(&red_inner(0x86dd, &ask.bytes())))]);
    expect_red(outcome.only().1, 0x86dd, &reply(&ask), 0);
    let ask = Ip6::echo(NATIVE_6, BLUE_ADDRESS_6, b"are you there");
    let outcome = g.receive(ACCESS, &[&plain_6(&ask)]);
    assert_eq!(outcome.only().1, ethernet(HOST, PORT_MACS[1], 0x86dd, &reply(&ask)));
    let four = Ip::echo(RED_POD, RED_ADDRESS, b"are you there");
    let outcome = g.receive(UNDERLAY, &[&on_underlay(&red_outer(&red_inner(0x0800, &four.bytes())))]);
    assert_eq!(apart(outcome.only().1).packet[20], 0, "an echo reply");
    let behind_options = ask.behind(60, &[58, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(g.receive(ACCESS, &[&plain_6(&behind_options)]).reason(), R::NotForUs);
}

#[test]
fn unfinished_checksums_are_finished() {
    let mut g = gateway_6();
    let (udp, tcp) = (Ip6::udp(NATIVE_6, RED_POD_6, (1, 2), b"odd"), Ip6::tcp(NATIVE_6, RED_POD_6, (1, 2), b"even"));
    let echo = Ip6::echo(NATIVE_6, RED_POD_6, b"payload");
    for (n, (whole, at)) in [(udp, 6), (tcp, 16), (echo, 2)].into_iter().enumerate() {
        let mut partial = whole.clone();
        partial.unfinish(at);
        assert_ne!(partial.payload, whole.payload);
        expect_red(g.receive(ACCESS, &[&plain_6(&partial)]).only().1, 0x86dd, &whole.aged(), 0);
        assert_eq!(g.worker.stats().partial_checksums, n as u64 + 1);
    }
}

/// Rows 5 and 6: a right checksum is accepted. The kernel's is over the inner packet as it will be once that is finished; a VTEP
/// that knows nothing of the matter computes it over the bytes it sends.
#[test]
fn an_outer_checksum_is_right_over_an_unfinished_packet_as_it_is() {
    let mut g = gateway_6();
    for padding in [0, 3] {
        let mut four = Ip::udp(RED_POD, NATIVE, (1, 2), b"odd");
        let mut six = Ip6::tcp(RED_POD_6, NATIVE_6, (1, 2), b"even");
        let whole = [aged(&four), six.aged()];
        four.unfinish(6);
        six.unfinish(16);
        let unfinished = [(0x0800, four.bytes()), (0x86dd, six.bytes())];
        for ((ethertype, packet), whole) in unfinished.into_iter().zip(whole) {
            let inner = [red_inner(ethertype, &packet), vec![0xee; padding]].concat();
            let outer = red_outer(&inner);
            let outcome = g.receive(UNDERLAY, &[&on_underlay(&outer)]);
            assert_eq!(outcome.only().1, ethernet(HOST, PORT_MACS[1], ethertype, &whole), "{padding}");
            let mut wrong = outer;
            wrong.payload[6] ^= 1;
            assert_eq!(g.receive(UNDERLAY, &[&on_underlay(&wrong)]).reason(), R::OuterUdpChecksum);
        }
    }
}

/// Row 4: a flow keeps its port and label; fragments share theirs; extension headers do not hide the ports.
#[test]
fn entropy_is_the_flows() {
    let mut g = gateway_6();
    let mut entropy = |ip: &Ip6| {
        let outcome = g.receive(ACCESS, &[&plain_6(ip)]);
        let frame = outcome.only().1;
        (frame[54..56].to_vec(), [frame[15] & 0xf, frame[16], frame[17]])
    };
    let udp = |port| Ip6::udp(NATIVE_6, RED_POD_6, (port, 80), b"payload");
    let one = entropy(&udp(1));
    assert_eq!(entropy(&Ip6 { label: 99, ..Ip6::udp(NATIVE_6, RED_POD_6, (1, 80), b"other") }), one);
    assert_eq!(entropy(&udp(1).behind(60, &[17, 0, 1, 4, 0, 0, 0, 0])), one);
    let other = entropy(&udp(2));
    assert!(other.0 != one.0 && other.1 != one.1);
    let piece = |offset: u16, data: &[u8]| {
        let [a, b] = offset.to_be_bytes();
        Ip6::udp(NATIVE_6, RED_POD_6, (3, 80), data).behind(44, &[17, 0, a, b, 0, 0, 0, 1])
    };
    assert_eq!(entropy(&piece(1, b"first")), entropy(&piece(0x100, b"later")));
}
