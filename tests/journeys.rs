//! The three journeys over in-memory ports: every byte of what leaves is compared with what the RFCs say, written by
//! hand.

mod support;

use selvedge::path::Journey;
use selvedge::port::{Finishes, MemPort};
use support::frames::{Ip, Vxlan, checksum, ethernet, ones_sum, udp};
use support::*;

/// Takes a VXLAN frame apart: (outer Ethernet and IP header, UDP header, VXLAN header, inner frame).
fn apart(frame: &[u8]) -> (&[u8], &[u8], &[u8], &[u8]) {
    (&frame[..34], &frame[34..42], &frame[42..50], &frame[50..])
}

/// What an IP packet looks like one hop later.
fn one_hop_later(ip: &Ip) -> Vec<u8> {
    let mut ip = ip.clone();
    ip.ttl -= 1;
    ip.bytes()
}

/// The outer header a peer must see: DF, TTL 64, no identification, right lengths and checksum.
fn expect_outer(outer: &[u8], (src, dst): ([u8; 4], [u8; 4]), tos: u8, inner_len: usize) {
    assert_eq!(outer[..14], ethernet(ROUTER, PORT_MACS[0], 0x0800, &[])[..], "to the next hop, from our port");
    let total = (20 + 8 + 8 + inner_len) as u16;
    let mut want = vec![0x45, tos];
    want.extend(total.to_be_bytes());
    want.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    want.extend(src);
    want.extend(dst);
    let sum = checksum(&want);
    want[10..12].copy_from_slice(&sum);
    assert_eq!(outer[14..], want[..]);
}

fn expect_udp(header: &[u8], port: u16, inner_len: usize) {
    assert!(u16::from_be_bytes([header[0], header[1]]) >= 49_152, "RFC 7348 §5: a dynamic source port");
    let want = [port.to_be_bytes(), ((16 + inner_len) as u16).to_be_bytes(), [0, 0]].concat();
    assert_eq!(header[2..], want[..], "port, length, and no checksum");
}

#[test]
fn encap_puts_on_just_the_right_bytes() {
    let mut g = Gateway::new();
    let ip = Ip::udp(NATIVE, BLUE_POD, (1000, 2000), b"hello");
    let outcome = g.receive(ACCESS, &[&plain(&ip)]);
    let (port, frame) = outcome.only();
    assert_eq!((port, outcome.journeys), (UNDERLAY, [1, 0, 0, 0]));
    let (outer, udp, vxlan, inner) = apart(frame);
    expect_outer(outer, (BLUE_VTEP, BLUE_NODE.0), 0, inner.len());
    expect_udp(udp, 8472, inner.len());
    assert_eq!(vxlan, [8, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(inner, ethernet(BLUE_NODE.1, BLUE_MAC, 0x0800, &one_hop_later(&ip)));
}

#[test]
fn decap_leaves_a_plain_frame_for_the_next_hop() {
    let mut g = Gateway::new();
    let ip = Ip::tcp(BLUE_POD, NATIVE, (1000, 22), b"hello");
    let outcome = g.receive(UNDERLAY, &[&from_blue(&ip).frame()]);
    assert_eq!(outcome.only(), (ACCESS, &ethernet(HOST, PORT_MACS[1], 0x0800, &one_hop_later(&ip))[..]));
    assert_eq!(outcome.journeys[Journey::Decap as usize], 1);
}

#[test]
fn transit_changes_vni_port_addresses_and_macs() {
    let mut g = Gateway::new();
    let ip = Ip::udp(BLUE_POD, GREEN_POD, (1000, 2000), b"hello");
    let outcome = g.receive(UNDERLAY, &[&from_blue(&ip).frame()]);
    let (port, frame) = outcome.only();
    assert_eq!((port, outcome.journeys), (UNDERLAY, [0, 0, 1, 0]), "one-arm: out of the port it came in by");
    let (outer, udp, vxlan, inner) = apart(frame);
    expect_outer(outer, (GREEN_VTEP, GREEN_NODE.0), 0, inner.len());
    expect_udp(udp, 4789, inner.len());
    assert_eq!(vxlan, [8, 0, 0, 0, 0, 0, 7, 0]);
    assert_eq!(inner, ethernet(GREEN_NODE.1, GREEN_MAC, 0x0800, &one_hop_later(&ip)));
}

#[test]
fn packets_of_the_second_overlay_are_let_in_as_such() {
    let mut g = Gateway::new();
    for _ in 0..2 {
        let ip = Ip::udp(GREEN_POD, NATIVE, (1000, 2000), b"hello");
        let inner = ethernet(GREEN_MAC, GREEN_NODE.1, 0x0800, &ip.bytes());
        let outer = Ip::new(GREEN_NODE.0, GREEN_VTEP, 17, vec![]);
        let frame = Vxlan { outer, udp_port: 4789, vni: 7, inner, ..from_blue(&ip) }.frame();
        assert_eq!(g.receive(UNDERLAY, &[&frame]).only().1[14..], one_hop_later(&ip)[..]);
    }
}

/// draft-smith-vxlan-group-policy: only where both overlays were told to.
#[test]
fn group_policies_are_carried_between_overlays_that_have_them() {
    let policy = [0x88, 0x48, 0x12, 0x34];
    let frame = |ip: &Ip| {
        let mut frame = from_blue(ip).frame();
        frame[42..46].copy_from_slice(&policy);
        frame
    };
    let transit = frame(&Ip::udp(BLUE_POD, GREEN_POD, (1000, 2000), b"hello"));
    for (blue, green, want) in [(true, true, Some(policy)), (true, false, Some([8, 0, 0, 0])), (false, true, None)] {
        let mut all = overlays();
        (all[0].gbp, all[1].gbp) = (blue, green);
        let mut tables = selvedge::tables::TablesWriter::new(all, ports());
        fill(&mut tables);
        let mut g = Gateway::with(tables, rings());
        let outcome = g.receive(UNDERLAY, &[&transit]);
        match want {
            Some(header) => assert_eq!(outcome.only().1[42..46], header),
            None => assert_eq!(outcome.reason(), selvedge::drops::DropReason::VxlanExtension),
        }
        if blue {
            let decap = frame(&Ip::udp(BLUE_POD, NATIVE, (1000, 2000), b"hello"));
            assert_eq!(g.receive(UNDERLAY, &[&decap]).only().0, ACCESS);
            let answer = frame(&Ip::echo(BLUE_POD, BLUE_ADDRESS, b"hello"));
            assert_eq!(g.receive(UNDERLAY, &[&answer]).only().1[42..46], [8, 0, 0, 0], "ours has no group");
        }
    }
}

#[test]
fn ethernet_padding_does_not_travel() {
    let mut g = Gateway::new();
    let ip = Ip::udp(BLUE_POD, NATIVE, (1, 2), b"");
    let mut frame = from_blue(&ip).frame();
    frame.extend([0xee; 40]);
    assert_eq!(g.receive(UNDERLAY, &[&frame]).only().1.len(), 14 + 28);
    let mut frame = plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), b""));
    frame.resize(60, 0xee);
    assert_eq!(g.receive(ACCESS, &[&frame]).only().1.len(), 14 + 28 + 50);
}

/// A datagram that ends before its ports do has none, whatever lies behind it.
#[test]
fn padding_is_no_part_of_a_flow() {
    let mut g = Gateway::new();
    let mut frame = plain(&Ip::new(NATIVE, BLUE_POD, 17, vec![1; 3]));
    let ports = [0x55, 0xaa].map(|padding| {
        frame.truncate(14 + 23);
        frame.resize(60, padding);
        g.receive(ACCESS, &[&frame]).only().1[34..36].to_vec()
    });
    assert_eq!(ports[0], ports[1]);
}

#[test]
fn all_sizes_up_to_the_mtu_pass_and_no_more() {
    let mut g = Gateway::new();
    for len in 0..=usize::from(INNER_MTU) - 28 {
        let data = vec![len as u8; len];
        let outcome = g.receive(ACCESS, &[&plain(&Ip::udp(NATIVE, BLUE_POD, (7, 8), &data))]);
        assert_eq!(outcome.only().1[50 + 14 + 28..], data[..], "{len} bytes");
    }
    let big = Ip::udp(NATIVE, BLUE_POD, (7, 8), &vec![1; usize::from(INNER_MTU) - 27]);
    assert_eq!(g.receive(ACCESS, &[&plain(&big)]).replied, 1);
}

#[test]
fn one_flow_has_one_source_port_and_flows_have_many() {
    let mut g = Gateway::new();
    let mut port_of = |ports| {
        let outcome = g.receive(ACCESS, &[&plain(&Ip::udp(NATIVE, BLUE_POD, ports, b"x"))]);
        let (_, f) = outcome.only();
        u16::from_be_bytes([f[34], f[35]])
    };
    assert_eq!(port_of((1, 2)), port_of((1, 2)));
    let distinct: std::collections::HashSet<_> = (0..100).map(|n| port_of((n, 2))).collect();
    assert!(distinct.len() > 95);
}

/// A partial checksum is finished (TCP and UDP, plain and inner), whatever the outer checksum is: absent, partial, or
/// computed by the kernel over the packet as it will be once finished.
#[test]
fn partial_checksums_are_finished() {
    let kinds = [(Ip::udp as fn(_, _, _, &_) -> Ip, 6), (Ip::tcp, 16)];
    // here, or by the device
    for ((make, at), left) in kinds.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        let port = || if left { MemPort::new(rings()).finishing(Finishes::All) } else { MemPort::new(rings()) };
        let mut g = Gateway::on([port(), port()], tables());
        let whole = make(BLUE_POD, NATIVE, (1000, 2000), b"odd length!");
        let mut partial = whole.clone();
        partial.unfinish(at);
        let want = ethernet(HOST, PORT_MACS[1], 0x0800, &one_hop_later(&whole));

        assert_eq!(g.receive(UNDERLAY, &[&from_blue(&partial).frame()]).only().1, want, "no outer checksum");
        let outer_partial = {
            let v = from_blue(&partial);
            let mut outer = v.outer.clone();
            outer.payload = udp((55_555, v.udp_port), &v.payload());
            outer.unfinish(6);
            ethernet(v.link.0, v.link.1, 0x0800, &outer.bytes())
        };
        assert_eq!(g.receive(UNDERLAY, &[&outer_partial]).only().1, want, "partial outer checksum");
        // local checksum offload: outer checksum of the finished packet, inner field unfinished
        let mut lco = from_blue(&whole).frame_with_checksum();
        let field = 50 + 14 + 20 + at;
        lco[field..field + 2].copy_from_slice(&partial.payload[at..at + 2]);
        assert_eq!(g.receive(UNDERLAY, &[&lco]).only().1, want, "outer checksum by local checksum offload");
        assert_eq!(g.receive(UNDERLAY, &[&from_blue(&whole).frame_with_checksum()]).only().1, want);
        let as_it_is = from_blue(&partial).frame_with_checksum();
        assert_eq!(g.receive(UNDERLAY, &[&as_it_is]).only().1, want, "outer checksum over the unfinished packet");
        // what follows the inner packet is summed up, too
        let mut padded = from_blue(&whole);
        padded.inner.extend([0xee; 5]);
        let mut padded = padded.frame_with_checksum();
        padded[field..field + 2].copy_from_slice(&partial.payload[at..at + 2]);
        assert_eq!(g.receive(UNDERLAY, &[&padded]).only().1, want, "padding that the outer checksum covers");

        let mut plain_partial = make(NATIVE, BLUE_POD, (1000, 2000), b"odd length!");
        let plain_whole = plain_partial.clone();
        plain_partial.unfinish(at);
        let outcome = g.receive(ACCESS, &[&plain(&plain_partial)]);
        assert_eq!(outcome.only().1[64..], one_hop_later(&plain_whole)[..]);
        let stats = g.worker.stats();
        let counts = if left { (1, 5) } else { (6, 0) }; // in front of padding it is finished to verify the other
        assert_eq!((stats.partial_checksums, stats.left_checksums), counts);
    }
}

/// Protocol 58 has a checksum in IPv6, and means nothing in IPv4. (What a congestion mark is to be brought up from is not
/// plain.)
#[test]
fn nothing_is_finished_in_what_icmpv6_would_be_in_ipv4() {
    let mut g = Gateway::new();
    let mut ip = Ip::new(BLUE_POD, NATIVE, 58, vec![7; 12]);
    ip.tos = 2;
    ip.unfinish(2);
    let mut v = from_blue(&ip);
    v.outer.tos = 3;
    ip.tos = 3;
    assert_eq!(g.receive(UNDERLAY, &[&v.frame()]).only().1[14..], one_hop_later(&ip)[..]);
    assert_eq!(g.worker.stats().partial_checksums, 0);
}

#[test]
fn a_udp_checksum_of_zero_stays_and_a_computed_zero_becomes_ones() {
    let mut g = Gateway::new();
    let none = Ip::new(BLUE_POD, NATIVE, 17, udp((1, 2), b"data"));
    assert_eq!(g.receive(UNDERLAY, &[&from_blue(&none).frame()]).only().1[40..42], [0, 0]);
    // choose data so that the sum comes out as zero: append the complement of everything else
    let mut ip = Ip::new(BLUE_POD, NATIVE, 17, udp((1, 2), &[0, 0]));
    let rest = ones_sum(&[ip.pseudo(), ip.payload.clone()].concat());
    ip.payload[8..10].copy_from_slice(&(!rest).to_be_bytes());
    ip.unfinish(6);
    assert_eq!(g.receive(UNDERLAY, &[&from_blue(&ip).frame()]).only().1[40..42], [0xff, 0xff]);
}

#[test]
fn congestion_marks_follow_rfc_6040() {
    let mut g = Gateway::new();
    let (ect0, ect1, ce) = (2, 1, 3);
    let marks = [(0, 0, 0), (0, ect0, 0), (0, ect1, 0), (ect0, ce, ce), (ect0, ect1, ect1), (ce, 0, ce)];
    for (dscp, (inner, outer, want)) in [0, 0xb8].into_iter().flat_map(|dscp| marks.map(|mark| (dscp, mark))) {
        let mut ip = Ip::udp(BLUE_POD, NATIVE, (1, 2), b"x");
        ip.tos = dscp | inner;
        let mut v = from_blue(&ip);
        v.outer.tos = outer;
        ip.tos = dscp | want;
        let outcome = g.receive(UNDERLAY, &[&v.frame()]);
        assert_eq!(outcome.only().1[14..], one_hop_later(&ip)[..], "DSCP {dscp:#x}, inner {inner}, outer {outer}");
    }
    for ecn in 0..4 {
        let mut ip = Ip::udp(NATIVE, BLUE_POD, (1, 2), b"x");
        ip.tos = 0xb8 | ecn;
        let outcome = g.receive(ACCESS, &[&plain(&ip)]);
        let (outer, _, _, inner) = apart(outcome.only().1);
        expect_outer(outer, (BLUE_VTEP, BLUE_NODE.0), ecn, inner.len());
    }
}

#[test]
fn reserved_bits_are_ignored_on_receipt() {
    let mut g = Gateway::new();
    for bit in (0..64).filter(|b| *b != 4 && !(32..56).contains(b)) {
        let mut frame = from_blue(&Ip::udp(BLUE_POD, NATIVE, (1, 2), b"x")).frame();
        frame[42 + bit / 8] ^= 0x80 >> (bit % 8);
        assert_eq!(g.receive(UNDERLAY, &[&frame]).journeys, [0, 1, 0, 0], "bit {bit}");
    }
}

/// RFC 1812 §4.3.2: an error quotes what it is about, comes from our address, and its checksums hold.
fn expect_icmp(packet: &[u8], (src, dst): ([u8; 4], [u8; 4]), head: [u8; 2], mtu: u16, quote: &[u8]) {
    assert_eq!(ones_sum(&packet[..20]), 0xffff, "IP checksum");
    assert_eq!(ones_sum(&packet[20..]), 0xffff, "ICMP checksum");
    assert_eq!((&packet[12..16], &packet[16..20], packet[9], packet[8]), (&src[..], &dst[..], 1, 64));
    assert_eq!(packet[20..22], head);
    assert_eq!(packet[26..28], mtu.to_be_bytes());
    assert_eq!(packet[28..], quote[..quote.len().min(548)]);
    assert_eq!(packet[2..4], (packet.len() as u16).to_be_bytes());
    assert!(packet.len() <= 576);
}

#[test]
fn errors_go_back_the_way_the_packet_came() {
    let mut g = Gateway::new();
    let mut ip = Ip::udp(BLUE_POD, GREEN_POD, (1, 2), b"x");
    ip.ttl = 1;
    let outcome = g.receive(UNDERLAY, &[&from_blue(&ip).frame()]);
    let (outer, _, _, inner) = apart(outcome.only().1);
    expect_outer(outer, (BLUE_VTEP, BLUE_NODE.0), 0, inner.len());
    assert_eq!(inner[..14], ethernet(BLUE_NODE.1, BLUE_MAC, 0x0800, &[])[..]);
    expect_icmp(&inner[14..], (BLUE_ADDRESS, BLUE_POD), [11, 0], 0, &ip.bytes());

    let big = Ip::udp(NATIVE, BLUE_POD, (7, 8), &vec![1; 1460]);
    let outcome = g.receive(ACCESS, &[&plain(&big)]);
    let (port, frame) = outcome.only();
    assert_eq!((port, &frame[..14]), (ACCESS, &ethernet(HOST, PORT_MACS[1], 0x0800, &[])[..]));
    expect_icmp(&frame[14..], (ACCESS_ADDRESS, NATIVE), [3, 4], INNER_MTU, &big.bytes());
}

/// RFC 1812 §5.3.1, on every journey.
#[test]
fn a_packet_goes_as_many_hops_as_its_ttl_says() {
    let journeys = [
        (ACCESS, NATIVE, BLUE_POD, 64),
        (UNDERLAY, BLUE_POD, NATIVE, 14),
        (UNDERLAY, BLUE_POD, GREEN_POD, 64),
        (ACCESS, NATIVE, [10, 9, 0, 3], 14),
    ];
    for (journey, (port, src, dst, at)) in journeys.into_iter().enumerate() {
        let mut g = Gateway::new();
        for ttl in 0..3 {
            let ip = Ip { ttl, ..Ip::udp(src, dst, (1, 2), b"x") };
            let frame = if port == ACCESS { plain(&ip) } else { from_blue(&ip).frame() };
            let outcome = g.receive(port, &[&frame]);
            assert_eq!((outcome.replied, outcome.journeys[journey]), if ttl < 2 { (1, 0) } else { (0, 1) }, "{ttl}");
            if ttl == 2 {
                assert_eq!(outcome.only().1[at..], one_hop_later(&ip)[..]);
            }
        }
    }
}

#[test]
fn there_is_no_error_about_an_error_or_a_later_fragment() {
    let mut g = Gateway::new();
    let mut error = Ip::new(BLUE_POD, GREEN_POD, 1, vec![3, 1, 0, 0, 0, 0, 0, 0]);
    error.ttl = 1;
    let mut fragment = Ip::udp(BLUE_POD, GREEN_POD, (1, 2), b"x");
    (fragment.ttl, fragment.flags_offset) = (1, 0x00b9);
    for ip in [error, fragment] {
        let reason = g.receive(UNDERLAY, &[&from_blue(&ip).frame()]).reason();
        assert_eq!(reason, selvedge::drops::DropReason::TtlExpired);
    }
    let echo = Ip::echo(BLUE_POD, GREEN_POD, b"ping");
    let icmpv6 = Ip::new(BLUE_POD, GREEN_POD, 58, vec![1; 8]); // which IPv4 does not have
    for ip in [echo, icmpv6] {
        let frame = from_blue(&Ip { ttl: 1, ..ip }).frame();
        assert_eq!(g.receive(UNDERLAY, &[&frame]).replied, 1, "queries are no errors");
    }
}

#[test]
fn echo_to_the_overlay_address_is_answered_from_both_sides() {
    let mut g = Gateway::new();
    let reply = |from: [u8; 4]| {
        let mut ip = Ip::echo(BLUE_ADDRESS, from, b"ping");
        ip.payload[0] = 0;
        ip.payload[2..4].fill(0);
        let sum = checksum(&ip.payload);
        ip.payload[2..4].copy_from_slice(&sum);
        ip.bytes()
    };
    let zero_id = |mut packet: Vec<u8>| {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
        let sum = checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum);
        packet
    };
    let outcome = g.receive(UNDERLAY, &[&from_blue(&Ip::echo(BLUE_POD, BLUE_ADDRESS, b"ping")).frame()]);
    assert_eq!(apart(outcome.only().1).3[14..], zero_id(reply(BLUE_POD))[..]);
    let outcome = g.receive(ACCESS, &[&plain(&Ip::echo(NATIVE, BLUE_ADDRESS, b"ping"))]);
    assert_eq!(outcome.only().1[14..], zero_id(reply(NATIVE))[..]);
}

/// Where it would begin behind options, a reply without them would not.
#[test]
fn echo_behind_options_is_not_answered() {
    let mut g = Gateway::new();
    let mut packet = Ip::echo(NATIVE, BLUE_ADDRESS, b"ping").bytes();
    packet.splice(20..20, [1, 1, 1, 0]).for_each(drop);
    let len = packet.len() as u8;
    (packet[0], packet[3]) = (0x46, len);
    packet[10..12].fill(0);
    let sum = checksum(&packet[..24]);
    packet[10..12].copy_from_slice(&sum);
    let outcome = g.receive(ACCESS, &[&ethernet(PORT_MACS[1], HOST, 0x0800, &packet)]);
    assert_eq!(outcome.reason(), selvedge::drops::DropReason::NotForUs);
}

#[test]
fn new_tables_take_effect_between_bursts_and_the_cache_follows() {
    let mut g = Gateway::new();
    let frame = plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), b"x"));
    assert_eq!(g.receive(ACCESS, &[&frame]).only().1[30..34], BLUE_NODE.0);
    g.tables.set_route("10.244.1.0/24".parse().unwrap(), selvedge::tables::Action::Encap(selvedge::tables::PeerId(1)));
    assert_eq!(g.receive(ACCESS, &[&frame]).only().1[30..34], BLUE_NODE.0, "not published yet");
    g.publish();
    assert_eq!(g.receive(ACCESS, &[&frame]).only().1[30..34], BLUE_NODE_2.0);
    g.tables.remove_route(&"10.244.1.0/24".parse().unwrap());
    g.publish();
    assert_eq!(g.receive(ACCESS, &[&frame]).reason(), selvedge::drops::DropReason::NoRoute);
}

#[test]
fn metrics_name_the_journeys() {
    assert_eq!(Journey::ALL.map(Journey::label), ["encap", "decap", "transit", "native"]);
}

#[test]
fn a_mixed_burst_keeps_its_order() {
    let mut g = Gateway::new();
    let frames: Vec<_> = (0..64u16)
        .map(|n| plain(&Ip::udp(NATIVE, if n % 2 == 0 { BLUE_POD } else { GREEN_POD }, (n, 9), &n.to_be_bytes())))
        .collect();
    let outcome = g.receive(ACCESS, &frames.iter().map(|f| &f[..]).collect::<Vec<_>>());
    let seen: Vec<_> = outcome.sent.iter().map(|(_, f)| u16::from_be_bytes([f[92], f[93]])).collect();
    assert_eq!(seen, (0..64).collect::<Vec<_>>());
}

#[test]
fn vxlan_of_a_stranger_is_dropped_before_its_inside_is_read() {
    let mut g = Gateway::new();
    let mut v: Vxlan = from_blue(&Ip::udp(BLUE_POD, NATIVE, (1, 2), b"x"));
    v.outer.src = [203, 0, 113, 1];
    v.inner = vec![0xff; 3];
    assert_eq!(g.receive(UNDERLAY, &[&v.frame()]).reason(), selvedge::drops::DropReason::UnknownPeer);
}

#[test]
fn a_priority_tag_is_taken_off() {
    let mut g = Gateway::new();
    let ip = Ip::udp(BLUE_POD, NATIVE, (1, 2), b"x");
    let mut v = from_blue(&ip);
    v.inner.splice(12..12, [0x81, 0, 0xe0, 0]).for_each(drop);
    assert_eq!(g.receive(UNDERLAY, &[&v.frame()]).only().1, ethernet(HOST, PORT_MACS[1], 0x0800, &one_hop_later(&ip)));
}

/// Row 8: "unless configured".
#[test]
fn the_tag_of_an_overlays_vlan_is_taken_off_and_no_other() {
    let mut all = overlays();
    all[0].inner_vlan = 0x105;
    let mut tables = selvedge::tables::TablesWriter::new(all, ports());
    fill(&mut tables);
    let mut g = Gateway::with(tables, rings());
    let tagged = |to, control: [u8; 2]| {
        let ip = Ip::udp(BLUE_POD, to, (1, 2), b"x");
        let mut v = from_blue(&ip);
        v.inner.splice(12..12, [0x81, 0, control[0], control[1]]).for_each(drop);
        (ip, v.frame())
    };
    for priority in [0x01, 0xf1] {
        let (ip, frame) = tagged(NATIVE, [priority, 5]);
        let outcome = g.receive(UNDERLAY, &[&frame]);
        assert_eq!(outcome.only().1, ethernet(HOST, PORT_MACS[1], 0x0800, &one_hop_later(&ip)));
    }
    let (ip, frame) = tagged(GREEN_POD, [1, 5]);
    let outcome = g.receive(UNDERLAY, &[&frame]);
    let inner = apart(outcome.only().1).3;
    assert_eq!(inner, ethernet(GREEN_NODE.1, GREEN_MAC, 0x0800, &one_hop_later(&ip)), "what is sent has no tag");
    let (_, priority) = tagged(NATIVE, [0xe0, 0]);
    assert_eq!(g.receive(UNDERLAY, &[&priority]).journeys, [0, 1, 0, 0]);
    for other in [[0, 5], [1, 4], [5, 5], [0x0f, 0xff]] {
        let (_, frame) = tagged(NATIVE, other);
        assert_eq!(g.receive(UNDERLAY, &[&frame]).reason(), selvedge::drops::DropReason::InnerVlan, "{other:?}");
    }
}

#[test]
fn nobody_on_the_access_side_speaks_as_a_pod_or_as_the_gateway() {
    let mut g = Gateway::new();
    for src in [BLUE_POD, GREEN_POD, BLUE_ADDRESS] {
        let reason = g.receive(ACCESS, &[&plain(&Ip::udp(src, BLUE_POD_2, (1, 2), b"x"))]).reason();
        assert_eq!(reason, selvedge::drops::DropReason::Source);
    }
    let internet = plain(&Ip::udp([198, 51, 100, 7], BLUE_POD, (1, 2), b"x"));
    assert_eq!(g.receive(ACCESS, &[&internet]).journeys, [1, 0, 0, 0], "who has no route here may speak");
}

#[test]
fn link_local_addresses_stay_on_their_link() {
    let mut g = Gateway::new();
    let metadata = from_blue(&Ip::udp(BLUE_POD, [169, 254, 169, 254], (1, 80), b"x")).frame();
    assert_eq!(g.receive(UNDERLAY, &[&metadata]).reason(), selvedge::drops::DropReason::Martian);
}

#[test]
fn one_senders_errors_are_not_anothers() {
    let mut g = Gateway::new();
    let mut dying = Ip::udp(BLUE_POD, GREEN_POD, (1, 2), b"x");
    dying.ttl = 1;
    let dying = from_blue(&dying).frame();
    let replied: u64 = (0..100).map(|_| g.receive(UNDERLAY, &[&dying]).replied).sum();
    assert!(replied < 100);
    let big = plain(&Ip::udp(NATIVE, BLUE_POD, (7, 8), &vec![1; 1460]));
    assert_eq!(g.receive(ACCESS, &[&big]).replied, 1);
}

#[test]
fn the_uniform_model_carries_the_code_point_both_ways() {
    let mut overlays = overlays();
    overlays[0].dscp = selvedge::tables::Dscp::Uniform;
    let mut t = tables();
    t.reset(overlays.clone());
    let mut node = peer(&overlays, 0, BLUE_NODE, true);
    node.way.as_mut().unwrap().tos_mask = 0xff;
    t.set_peer(selvedge::tables::PeerId(0), Some(node));
    t.set_route("10.244.1.0/24".parse().unwrap(), selvedge::tables::Action::Encap(selvedge::tables::PeerId(0)));
    let way =
        Some((selvedge::wire::Ethernet::ipv4(selvedge::wire::Mac(HOST), selvedge::wire::Mac(PORT_MACS[1])), 1500));
    let hop = selvedge::tables::NextHop { port: ACCESS, addr: std::net::Ipv4Addr::from(NATIVE).into(), way };
    t.set_hop(selvedge::tables::HopId(0), Some(hop));
    t.set_route("10.9.0.0/24".parse().unwrap(), selvedge::tables::Action::Deliver(selvedge::tables::HopId(0)));
    let mut g = Gateway::with(t, rings());
    let mut ip = Ip::udp(NATIVE, BLUE_POD, (1, 2), b"x");
    ip.tos = 0xb8;
    let outcome = g.receive(ACCESS, &[&plain(&ip)]);
    assert_eq!(outcome.only().1[15], 0xb8, "out");
    for tos in (0..=u8::MAX).step_by(4) {
        let mut v = from_blue(&Ip::udp(BLUE_POD, NATIVE, (1, 2), b"x"));
        v.outer.tos = tos;
        assert_eq!(g.receive(UNDERLAY, &[&v.frame()]).only().1[15], tos, "and back in");
    }
}

/// An adaptive worker sleeps when nothing arrives; frames that a device had no room for must not sleep with it.
#[test]
fn a_sleeping_worker_gets_stalled_frames_going() {
    use selvedge::worker::idle::Idle;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    let (mut worker, _publisher, _tables) = worker(tables(), rings(), selvedge::worker::Monotonic);
    worker.turn();
    let (pool, wire) = worker.wire(ACCESS);
    assert!(wire.inject(pool, &plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), b"x"))));
    // more calls than a spell of spinning makes: at 50 ms a sleep it would take a second, at 1 ms some 20 ms
    worker.wire(UNDERLAY).1.stall_tx(20 * (2 * Idle::PATIENCE + 2));
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let mut waiter = selvedge::port::Waiter::new().unwrap();
    let (ender, waker, board) = (stop.clone(), waiter.waker(), worker.board());
    let timer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(400));
        let held = board.read().ports[0].held.tx; // before the stop, which drains the ring whatever it takes
        ender.store(true, Ordering::Relaxed);
        waker.wake();
        held
    });
    let begun = Instant::now();
    worker.run(Idle::adaptive(), &mut waiter, &stop);
    assert_eq!(timer.join().unwrap(), 0, "the frame was still waiting after 400 ms");
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(worker.wire(UNDERLAY).1.sent().len(), 1);
}
