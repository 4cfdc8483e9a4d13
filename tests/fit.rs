//! Packets are made to fit the tunnels: the segment size of TCP connections, and IPv4 packets without DF.

mod support;

use selvedge::drops::DropReason;
use selvedge::port::MemRings;
use selvedge::tables::{Fit, OuterHeader, PeerId, PortId};
use support::frames::{Ip, ones_sum};
use support::frames6::Ip6;
use support::six::*;
use support::*;

const CLAMP: Fit = Fit { mss_clamp: true, fragment: false };
const FRAGMENT: Fit = Fit { mss_clamp: false, fragment: true };

fn gateway(fit: Fit) -> Gateway {
    Gateway::with(fitted_tables(false, false, fit), rings())
}

/// Where the inner IP packet begins in a frame that leaves.
fn inner(port: PortId, frame: &[u8]) -> &[u8] {
    match (port, frame[12]) {
        (ACCESS, _) => &frame[14..],
        (_, 0x08) => &frame[64..],
        _ => &frame[84..],
    }
}

/// The segment size that the SYN in an IP packet announces; its checksum must be right.
fn announced(packet: &[u8]) -> u16 {
    let (at, pseudo) = match packet[0] >> 4 {
        4 => (20, [&packet[12..20], &[0, 6]].concat()),
        _ => (40, [&packet[8..40], &[0, 6]].concat()),
    };
    let segment = &packet[at..];
    let whole = [&pseudo[..], &(segment.len() as u16).to_be_bytes(), segment].concat();
    assert_eq!(ones_sum(&whole), 0xffff, "the checksum of {segment:02x?}");
    let options = &segment[20..];
    let place = if options[..2] == [2, 4] { 2 } else { 5 };
    u16::from_be_bytes([options[place], options[place + 1]])
}

/// What becomes of the segment size of a SYN that arrives in a frame by `port`.
fn clamped(fit: Fit, port: PortId, frame: &[u8]) -> (u16, u64) {
    let mut g = gateway(fit);
    let outcome = g.receive(port, &[frame]);
    let (port, frame) = outcome.only();
    let mss = announced(inner(port, frame));
    (mss, g.worker.stats().mss_clamped)
}

#[test]
fn a_syn_announces_what_fits_its_tunnels_in_both_directions() {
    for odd in [false, true] {
        let into = |dst, mss| plain(&Ip::syn(NATIVE, dst, mss, odd));
        let out = |dst, mss| from_blue(&Ip::syn(BLUE_POD, dst, mss, odd)).frame();
        for (what, port, frame, want) in [
            ("into a tunnel", ACCESS, into(BLUE_POD, 1460), (INNER_MTU - 40, 1)),
            ("out of a tunnel, whose way back counts", UNDERLAY, out(NATIVE, 1460), (INNER_MTU - 40, 1)),
            ("from tunnel to tunnel", UNDERLAY, out(GREEN_POD, 8960), (INNER_MTU - 40, 1)),
            ("to the narrower of two", UNDERLAY, out(RED_POD, 1460), (RED_MTU - 40, 1)),
            ("just so much", ACCESS, into(BLUE_POD, INNER_MTU - 40), (INNER_MTU - 40, 0)),
            ("less", ACCESS, into(BLUE_POD, 536), (536, 0)),
        ] {
            assert_eq!(clamped(CLAMP, port, &frame), want, "{what}");
            let announced = if odd { announced(&Ip::syn(NATIVE, BLUE_POD, 1460, odd).bytes()) } else { 1460 };
            if want.0 == INNER_MTU - 40 && port == ACCESS && want.1 == 1 {
                assert_eq!(clamped(FRAGMENT, port, &frame), (announced, 0), "{what}: not configured");
            }
        }
    }
}

#[test]
fn over_and_inside_ipv6_the_headers_are_longer() {
    let into = |dst| plain_6(&Ip6::syn(NATIVE_6, dst, 1440, false));
    assert_eq!(clamped(CLAMP, ACCESS, &into(BLUE_POD_6)), (INNER_MTU - 60, 1));
    assert_eq!(clamped(CLAMP, ACCESS, &into(RED_POD_6)), (RED_MTU - 60, 1));
    let out = from_blue_6(&Ip6::syn(BLUE_POD_6, NATIVE_6, 1440, true)).frame();
    assert_eq!(clamped(CLAMP, UNDERLAY, &out), (INNER_MTU - 60, 1));
    let red = on_underlay(&red_outer(&red_inner(0x0800, &Ip::syn(RED_POD, NATIVE, 1460, true).bytes())));
    assert_eq!(clamped(CLAMP, UNDERLAY, &red), (RED_MTU - 40, 1));
}

/// The field holds the pseudo-header's sum: it is finished first, and patched then.
#[test]
fn an_unfinished_checksum_comes_out_right() {
    for odd in [false, true] {
        let mut ip = Ip::syn(NATIVE, BLUE_POD, 1460, odd);
        ip.unfinish(16);
        assert_eq!(clamped(CLAMP, ACCESS, &plain(&ip)), (INNER_MTU - 40, 1));
        let mut ip = Ip6::syn(NATIVE_6, RED_POD_6, 1440, odd);
        ip.unfinish(16);
        assert_eq!(clamped(CLAMP, ACCESS, &plain_6(&ip)), (RED_MTU - 60, 1));
    }
}

#[test]
fn what_opens_no_connection_is_left_alone() {
    let mut g = gateway(CLAMP);
    let mut later = Ip::syn(NATIVE, BLUE_POD, 1460, false);
    later.payload[13] = 0x10;
    later.finish(16);
    let mut first = Ip::syn(NATIVE, BLUE_POD, 1460, false);
    first.flags_offset = 0x2000;
    for ip in [later, first] {
        let outcome = g.receive(ACCESS, &[&plain(&ip)]);
        let (port, frame) = outcome.only();
        assert_eq!(&inner(port, frame)[20..], ip.payload, "{ip:?}");
    }
    let datagram = Ip6 { next: 17, ..Ip6::syn(NATIVE_6, BLUE_POD_6, 1440, false) };
    let outcome = g.receive(ACCESS, &[&plain_6(&datagram)]);
    assert_eq!(&outcome.only().1[64 + 40..], datagram.payload, "it only looks like one");
    assert_eq!(g.worker.stats().mss_clamped, 0);
}

/// A datagram from the native host to a pod that may be fragmented.
fn free(dst: [u8; 4], len: usize) -> Ip {
    let data: Vec<u8> = (0..len - 28).map(|n| n as u8).collect();
    Ip { flags_offset: 0, ..Ip::udp(NATIVE, dst, (1000, 2000), &data) }
}

/// Puts a datagram together from IP fragments in any order, as RFC 791 has it.
fn reassembled(pieces: &[&[u8]]) -> Vec<u8> {
    let mut parts: Vec<_> = pieces
        .iter()
        .map(|piece| {
            assert_eq!(ones_sum(&piece[..20]), 0xffff, "the header's checksum");
            assert_eq!(usize::from(u16::from_be_bytes([piece[2], piece[3]])), piece.len());
            let flags = u16::from_be_bytes([piece[6], piece[7]]);
            assert_eq!(flags & 0xc000, 0, "neither DF nor the reserved bit");
            (usize::from(flags & 0x1fff) * 8, flags & 0x2000 != 0, &piece[20..])
        })
        .collect();
    parts.sort();
    let mut whole = Vec::new();
    for (n, (at, more, bytes)) in parts.iter().enumerate() {
        assert_eq!((*at, *more), (whole.len(), n + 1 < parts.len()));
        whole.extend(*bytes);
    }
    whole
}

#[test]
fn a_datagram_without_df_goes_into_a_tunnel_in_pieces() {
    for (dst, mtu, len) in [(BLUE_POD, INNER_MTU, 1451), (BLUE_POD, INNER_MTU, 1500), (RED_POD, RED_MTU, 1431)] {
        let ip = free(dst, len);
        let mut g = gateway(FRAGMENT);
        let outcome = g.receive(ACCESS, &[&plain(&ip)]);
        assert_eq!((outcome.journeys, outcome.sent.len(), &outcome.drops[..]), ([1, 0, 0, 0], 2, &[][..]));
        assert_eq!((g.worker.stats().pieces, g.worker.stats().pieces_lost), (1, 0));
        let frames: Vec<&[u8]> = outcome.sent.iter().map(|(port, frame)| inner(*port, frame)).collect();
        assert!(frames.iter().all(|piece| piece.len() <= usize::from(mtu)));
        assert!(
            frames.iter().all(|piece| (piece[8], &piece[4..6]) == (ip.ttl - 1, &[0, 7][..])),
            "TTL, identification"
        );
        assert_eq!(reassembled(&frames), ip.payload, "{len}");
        let udp = if dst == RED_POD { 54 } else { 34 };
        let ports: Vec<&[u8]> = outcome.sent.iter().map(|(_, frame)| &frame[udp..udp + 2]).collect();
        assert_eq!(ports[0], ports[1], "one source port");
        let outer_flags = outcome.sent.iter().filter(|_| dst == BLUE_POD).all(|(_, frame)| frame[20..22] == [0x40, 0]);
        assert!(outer_flags, "no VXLAN packet is fragmented, or may be");
    }
}

#[test]
fn what_comes_out_of_a_tunnel_or_goes_to_another_is_cut_too() {
    let to_green = Ip { src: BLUE_POD, ..free(GREEN_POD, 1460) };
    let mut g = gateway(FRAGMENT);
    let outcome = g.receive(UNDERLAY, &[&from_blue(&to_green).frame()]);
    assert_eq!((outcome.journeys, outcome.sent.len()), ([0, 0, 1, 0], 2));
    let out = Ip { src: BLUE_POD, ..free(NATIVE, 1600) };
    let outcome = g.receive(UNDERLAY, &[&from_blue(&out).frame()]);
    assert_eq!((outcome.journeys, outcome.sent.len()), ([0, 1, 0, 0], 2));
    let frames: Vec<&[u8]> = outcome.sent.iter().map(|(port, frame)| inner(*port, frame)).collect();
    assert_eq!(reassembled(&frames), out.payload);
    assert_eq!(outcome.sent[0].1[..12], [HOST, PORT_MACS[1]].concat());
}

#[test]
fn what_may_not_or_shall_not_be_cut_is_not() {
    let mut g = gateway(FRAGMENT);
    let whole = Ip { flags_offset: 0x4000, ..free(BLUE_POD, 1500) };
    assert_eq!(g.receive(ACCESS, &[&plain(&whole)]).replied, 1, "its sender is told");
    let six = Ip6::udp(NATIVE_6, BLUE_POD_6, (1, 2), &[0; 1440]);
    assert_eq!(g.receive(ACCESS, &[&plain_6(&six)]).replied, 1, "in IPv6 senders fragment");
    let outcome = gateway(CLAMP).receive(ACCESS, &[&plain(&free(BLUE_POD, 1500))]);
    assert_eq!(outcome.reason(), DropReason::TooBig, "not configured");
    let fits = g.receive(ACCESS, &[&plain(&free(BLUE_POD, 1450))]);
    assert_eq!((fits.sent.len(), g.worker.stats().pieces), (1, 0));
}

/// A path so narrow that a packet becomes many pieces: more than a burst has room for behind the others.
#[test]
fn pieces_of_a_whole_burst_find_room() {
    let mut tables = fitted_tables(false, false, FRAGMENT);
    let mut node = peer(&overlays(), 0, BLUE_NODE, true);
    node.way.iter_mut().for_each(|way| way.mtu = 526);
    assert!(matches!(node.way.as_ref().unwrap().header, OuterHeader::V4(_)));
    tables.set_peer(PeerId(0), Some(node));
    let mut g = Gateway::with(tables, rings());
    let (cut, small) = (plain(&free(BLUE_POD, 1500)), plain(&Ip::udp(NATIVE, GREEN_POD, (1, 2), b"small")));
    let frames: Vec<&[u8]> = (0..32).map(|n| if n % 8 == 7 { &small[..] } else { &cut[..] }).collect();
    let outcome = g.receive(ACCESS, &frames);
    assert_eq!((outcome.journeys[0], outcome.sent.len(), outcome.drops.len()), (32, 28 * 3 + 4, 0));
    assert_eq!(g.worker.stats().pieces, 28 * 2);
}

#[test]
fn pieces_that_find_no_room_in_the_ring_are_counted() {
    let mut g = Gateway::with(fitted_tables(false, false, FRAGMENT), MemRings { rx: 64, tx: 5, fill: 64 });
    g.worker.wire(UNDERLAY).1.stall_tx(1000);
    let frame = plain(&free(BLUE_POD, 1500));
    let outcome = g.receive(ACCESS, &[&frame[..]; 4]);
    let stats = g.worker.stats();
    assert_eq!((outcome.journeys[0], &outcome.drops[..]), (3, &[(DropReason::TxRingFull, 1)][..]));
    assert_eq!((stats.pieces, stats.pieces_lost), (2, 2), "five frames of eight");
}

/// The gateway's own packets are no exception: the way back may be narrower than the way that a packet came.
#[test]
fn answers_fit_the_way_back_or_are_dropped_by_name() {
    const NARROW: u16 = 526; // over IPv4 on a path of 576 bytes
    let mut g = gateway(Fit::default());
    let overlays = overlays();
    let mut blue = peer(&overlays, 0, BLUE_NODE, true);
    blue.way.as_mut().unwrap().mtu = NARROW;
    g.tables.set_peer(PeerId(0), Some(blue));
    g.publish();
    let mut ask = |len: usize| {
        let four = from_blue(&Ip::echo(BLUE_POD, BLUE_ADDRESS, &vec![7; len - 28])).frame();
        let six = from_blue_6(&Ip6::echo(BLUE_POD_6, BLUE_ADDRESS_6, &vec![7; len - 48])).frame();
        [four, six].map(|frame| g.receive(UNDERLAY, &[&frame]))
    };
    for outcome in ask(NARROW.into()) {
        assert_eq!((outcome.replied, outcome.only().1.len()), (1, 64 + usize::from(NARROW)));
    }
    for outcome in ask(usize::from(NARROW) + 1) {
        assert_eq!(outcome.reason(), DropReason::TooBig, "an echo reply is as long as its request");
    }
    // an error quotes less
    let four = from_blue(&Ip { ttl: 1, ..Ip::udp(BLUE_POD, NATIVE, (1, 2), &[7; 1000]) }).frame();
    let six = from_blue_6(&Ip6 { hop_limit: 1, ..Ip6::udp(BLUE_POD_6, NATIVE_6, (1, 2), &[7; 1300]) }).frame();
    for frame in [four, six] {
        let outcome = g.receive(UNDERLAY, &[&frame]);
        let (port, sent) = outcome.only();
        let packet = inner(port, sent);
        assert_eq!((outcome.replied, packet.len()), (1, usize::from(NARROW)));
        let told = if packet[0] >> 4 == 4 {
            u16::from_be_bytes([packet[2], packet[3]])
        } else {
            40 + u16::from_be_bytes([packet[4], packet[5]])
        };
        assert_eq!(told, NARROW, "as long as it says");
    }
}
