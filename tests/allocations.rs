//! The steady path allocates nothing: a counting allocator watches whole turns, table updates included.

mod support;

use selvedge::drops::DropReason;
use selvedge::path::Journey;
use selvedge::tables::{Action, Fit, PeerId};
use selvedge::wire::Prefix;
use support::frames::Ip;
use support::*;

const TURNS: usize = 1000;

/// A gateway fed without end on both sides: every journey, an answer, drops, what a hostile sender sends, a partial
/// checksum, and what is made to fit.
fn busy() -> Gateway {
    let fit = Fit { mss_clamp: true, fragment: true };
    let mut g = Gateway::with(six::fitted_tables(false, false, fit), rings());
    let mut partial = Ip::tcp(BLUE_POD, NATIVE, (1, 22), b"x");
    partial.unfinish(16);
    let inner = [
        Ip::udp(BLUE_POD, GREEN_POD, (1, 2), b"transit"),
        Ip::udp(BLUE_POD, NATIVE, (1, 2), b"decap"),
        Ip::udp(BLUE_POD, NOWHERE, (1, 2), b"no route"),
        Ip::echo(BLUE_POD, BLUE_ADDRESS, b"answered"),
        partial,
        Ip::syn(BLUE_POD, NATIVE, 1460, true),
    ];
    let mut old = Ip::udp(BLUE_POD, NATIVE, (1, 2), b"dies here");
    old.ttl = 1;
    let spoofed = from_blue(&Ip::udp(GREEN_POD, NATIVE, (1, 2), b"of another node"));
    let [mut stranger, mut unknown] = [&inner[1], &inner[1]].map(from_blue);
    stranger.outer.src = NOWHERE;
    unknown.vni = 99;
    let hostile = [from_blue(&old), spoofed, stranger, unknown];
    let packets = inner.iter().map(from_blue).chain(hostile).map(|packet| packet.frame());
    g.worker.wire(UNDERLAY).1.feed(packets.collect());
    let outward = [
        Ip::udp(NATIVE, BLUE_POD, (1, 2), b"encap"),
        Ip::udp(NATIVE, DEAD_POD, (1, 2), b"no neighbour"),
        Ip::udp(NATIVE, NOWHERE, (1, 2), b"no route"),
        Ip::udp(BLUE_POD, BLUE_POD_2, (1, 2), b"spoofed"),
        Ip { flags_offset: 0, ..Ip::udp(NATIVE, BLUE_POD, (1, 2), &[7; 1423]) },
    ];
    g.worker.wire(ACCESS).1.feed(outward.iter().map(plain).collect());
    for port in [UNDERLAY, ACCESS] {
        g.worker.wire(port).1.count_only();
    }
    g
}

#[test]
fn turns_allocate_nothing() {
    let mut g = busy();
    g.worker.turn();
    let counts = allocation_counter::measure(|| {
        for _ in 0..TURNS {
            g.worker.turn();
        }
    });
    assert_eq!((counts.count_total, counts.bytes_total), (0, 0));
    let stats = g.worker.stats().clone();
    assert!(stats.received() >= TURNS as u64 * 32, "the turns were not empty: {}", stats.received());
    for journey in [Journey::Encap, Journey::Decap, Journey::Transit] {
        assert!(stats.journeys[journey as usize] > TURNS as u64, "{}", journey.label());
    }
    assert!(stats.replied > 0 && stats.partial_checksums > 0);
    assert!(stats.mss_clamped > 0 && stats.pieces > TURNS as u64);
    for reason in [
        DropReason::NoRoute,
        DropReason::NoNeighbour,
        DropReason::Source,
        DropReason::InnerSource,
        DropReason::UnknownPeer,
        DropReason::UnknownVni,
        DropReason::TtlExpired,
    ] {
        assert!(stats.drops.iter().any(|(r, n)| r == reason && n > 0), "{reason}");
    }
}

#[test]
fn taking_new_tables_neither_allocates_nor_frees() {
    let mut g = busy();
    g.worker.turn();
    for n in 0..20u8 {
        // routes to strike out, and now and then more of them than that
        let prefix = Prefix::host(BLUE_POD.into()).widened(if n % 5 == 4 { 16 } else { 32 });
        g.tables.set_route(prefix, Action::Encap(PeerId(u32::from(n % 2))));
        g.publish();
        let counts = allocation_counter::measure(|| {
            g.worker.turn();
        });
        assert_eq!((counts.count_total, counts.count_current), (0, 0), "the old version went back to its maker");
    }
    assert_eq!(g.publisher.adopted(), g.worker.stats().epoch as u32);
}
