//! Ten million mutated packets: nothing panics, no book goes out of balance, no chunk is lost.
//!
//! A fuzzer that runs on the installed toolchain, in a test: seeded, so that a failure repeats. `SELVEDGE_FUZZ_SEED`
//! and `SELVEDGE_FUZZ_PACKETS` choose others. In debug builds (bounds of arithmetic checked) fewer run.

#[path = "support/dice.rs"]
mod dice;
#[path = "support/seeds.rs"]
mod seeds;
mod support;

use dice::{Dice, number};
use seeds::{long_seeds, mutate, seeds, shared_tables};
use selvedge::drops::DropReason as R;
use selvedge::path::{Finishers, Journey, Memory, Path, Tick, Verdict};
use selvedge::tables::{
    Action, Domain, Dscp, Fit, FlowCache, GroupId, HopId, Imports, Overlay, PeerId, PortId, Rules, TablesWriter,
};
use selvedge::wire::{Packet, Prefix, Span};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use support::frames::Ip;
use support::frames6::Ip6;
use support::six::*;
use support::*;

/// All is done to make packets fit.
const FIT: Fit = Fit { mss_clamp: true, fragment: true };

#[test]
fn mutated_packets_neither_panic_nor_unbalance() {
    let packets = number("SELVEDGE_FUZZ_PACKETS", if cfg!(debug_assertions) { 500_000 } else { 10_000_000 });
    let seed = number("SELVEDGE_FUZZ_SEED", 0x5e1f_ed6e);
    println!("{packets} packets from seed {seed}");
    let (mut g, mut dice, seeds) = (Gateway::with(shared_tables(Fit::default()), rings()), Dice(seed), seeds());
    for port in [UNDERLAY, ACCESS] {
        g.worker.wire(port).1.count_only();
    }
    let mut frame = Vec::with_capacity(2048);
    let mut sent = 0u64;
    while sent < packets {
        for _ in 0..32 {
            let (port, good) = &seeds[dice.below(seeds.len())];
            frame.clone_from(good);
            mutate(&mut frame, &mut dice);
            let (pool, wire) = g.worker.wire(*port);
            sent += u64::from(wire.inject(pool, &frame));
        }
        while g.worker.turn() > 0 {}
    }
    let stats = g.worker.stats().clone();
    assert_eq!((stats.received(), stats.found()), (sent, stats.total));
    assert_eq!(stats.received(), stats.accounted());
    let reasons = stats.drops.iter().filter(|(_, n)| *n > 0).count();
    assert!(reasons > 20, "mutations reached only {reasons} reasons: {:?}", stats.drops);
    assert!(stats.journeys[..3].iter().all(|n| *n > 1000), "{:?}", stats.journeys);
}

#[test]
fn every_truncation_of_every_seed_is_survived() {
    let mut g = gateway_6();
    for (port, frame) in seeds() {
        for len in 0..frame.len() {
            g.receive(port, &[&frame[..len]]);
        }
    }
}

/// A chunk of packet memory with a frame in it.
fn laid(frame: &[u8]) -> ([u8; 2048], Span) {
    let mut chunk = [0xa5; 2048];
    chunk[256..256 + frame.len()].copy_from_slice(frame);
    (chunk, Span { head: 256, len: frame.len() as u16 })
}

/// What the path makes of a frame: verdict, and the bytes that leave.
type Outcome = (Verdict, Vec<u8>);

/// What the wire sees of a packet whose checksum was left to the device.
fn finished(path: &Path<'_>, (verdict, mut bytes): Outcome) -> Outcome {
    let Verdict::SendUnfinished(port, journey) = verdict else { return (verdict, bytes) };
    path.unfinished().finish(&mut bytes);
    (Verdict::Send(port, journey), bytes)
}

/// Of a packet that is dropped nothing is left to compare.
fn outcome(verdict: Verdict, packet: &Packet<'_>) -> Outcome {
    let left = if matches!(verdict, Verdict::Drop(_)) { Vec::new() } else { packet.bytes().to_vec() };
    (verdict, left)
}

fn decide(path: &mut Path<'_>, port: PortId, frame: &[u8], careful: bool) -> Outcome {
    let (mut chunk, mut span) = laid(frame);
    let mut packet = Packet::new(&mut chunk, &mut span);
    let verdict = match (port, careful) {
        (ACCESS, false) => path.outbound(port, &mut packet),
        (ACCESS, true) => path.careful_outbound(port, &mut packet),
        (_, false) => path.inbound(&mut packet),
        (_, true) => path.careful_inbound(&mut packet),
    };
    outcome(verdict, &packet)
}

/// The same for the frames of a burst, as a worker does it: the look ahead and the first look at all, what they lack asked
/// for together, then the second look at each, ten seconds apart.
fn decide_burst(path: &mut Path<'_>, port: PortId, frames: &[Vec<u8>]) -> Vec<Outcome> {
    let mut laid: Vec<_> = frames.iter().map(|frame| laid(frame)).collect();
    let mut packets: Vec<_> = laid.iter_mut().map(|(chunk, span)| Packet::new(chunk, span)).collect();
    for packet in &mut packets {
        std::hint::black_box(if port == ACCESS { path.touch_outbound(packet) } else { path.touch_inbound(packet) });
    }
    let scout = |packet| if port == ACCESS { path.scout_outbound(packet) } else { path.scout_inbound(packet) };
    let scouted: Vec<_> = packets.iter_mut().map(scout).collect();
    assert!(path.takes_notes(), "the table is large");
    for (packet, scouted) in packets.iter_mut().zip(&scouted) {
        match port {
            ACCESS => path.note_outbound(packet, *scouted),
            _ => path.note_inbound(packet, *scouted),
        }
    }
    path.ask_noted();
    let decide = |(packet, scouted): (&mut Packet<'_>, _)| {
        path.now.0 += 10_000_000_000;
        let verdict = match port {
            ACCESS => path.decide_outbound(port, packet, scouted),
            _ => path.decide_inbound(packet, scouted),
        };
        outcome(verdict, packet)
    };
    packets.iter_mut().zip(scouted).map(decide).collect()
}

#[test]
fn only_a_burst_of_unknown_addresses_makes_the_next_be_looked_ahead_at() {
    let tables = tables().publish();
    let mut memory = Memory::new(FlowCache::new(4096, settings().hasher));
    let mut path = Path::new(&tables, &mut memory, Tick(0));
    let [a, b, c, _] = BLUE_POD;
    let to = |n| plain(&Ip::udp(NATIVE, [a, b, c, n], (1, 2), b"payload"));
    let from = |n| from_blue(&Ip::udp([a, b, c, n], NATIVE, (1, 2), b"payload")).frame();
    let bursts = [(ACCESS, (1..=64).map(to).collect::<Vec<_>>()), (UNDERLAY, (65..=128).map(from).collect())];
    for ((port, frames), unknown) in bursts.iter().flat_map(|burst| [(burst, true), (burst, false)]) {
        for frame in frames {
            let (verdict, _) = decide(&mut path, *port, frame, false);
            assert!(matches!(verdict, Verdict::Send(..)), "{verdict:?}");
        }
        assert_eq!(path.looks_ahead(), unknown);
        assert!(!path.looks_ahead(), "a burst counts once");
    }
}

/// Neither who sends what he must not, nor a scan of what he does not reach, puts out what others need.
#[test]
fn the_cache_learns_what_packets_are_forwarded_by_and_nothing_else() {
    let mut tables = tables_6(false, false);
    tables.set_imports(&[Imports::All, Imports::Only(Rules { natives: true, ..Rules::default() })]);
    for everything in ["0.0.0.0/0", "::/0"] {
        tables.set_route(everything.parse().unwrap(), Action::Deliver(HopId(0)));
    }
    let tables = tables.publish();
    let from = |port, src, dst| {
        let ip = Ip::udp(src, dst, (1, 2), b"x");
        (port, if port == ACCESS { plain(&ip) } else { from_blue(&ip).frame() }, IpAddr::from(src), IpAddr::from(dst))
    };
    let from_6 = |port, src, dst| {
        let ip = Ip6::udp(src, dst, (1, 2), b"x");
        (port, if port == ACCESS { plain_6(&ip) } else { from_blue_6(&ip).frame() }, src.into(), dst.into())
    };
    let (link_local, link_local_6) = ([169, 254, 7, 7], [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    // who is not to be learnt: nobody, the source, the destination
    let cases = [
        (None, from(ACCESS, NATIVE, BLUE_POD), from_6(ACCESS, NATIVE_6, BLUE_POD_6)),
        (None, from(UNDERLAY, BLUE_POD, NATIVE), from_6(UNDERLAY, BLUE_POD_6, NATIVE_6)),
        (Some((R::InnerSource, 0)), from(UNDERLAY, BLUE_POD_2, NATIVE), from_6(UNDERLAY, BLUE_POD_2_6, NATIVE_6)),
        (Some((R::NotImported, 1)), from(UNDERLAY, BLUE_POD, GREEN_POD), from_6(UNDERLAY, BLUE_POD_6, RED_POD_6)),
        (Some((R::Martian, 0)), from(ACCESS, link_local, BLUE_POD), from_6(ACCESS, link_local_6, BLUE_POD_6)),
    ];
    let each = cases.into_iter().flat_map(|(refused, four, six)| [(refused, four), (refused, six)]);
    for ((refused, (port, frame, src, dst)), careful) in each.flat_map(|case| [(case.clone(), false), (case, true)]) {
        let mut memory = Memory::new(FlowCache::new(4096, settings().hasher));
        let mut path = Path::new(&tables, &mut memory, Tick(0));
        let verdict = decide(&mut path, port, &frame, careful).0;
        let domain = Domain(u16::from(port == UNDERLAY));
        let known = [src, dst].map(|addr| match addr {
            IpAddr::V4(addr) => memory.cache.get(domain, addr).unpack().is_some(),
            IpAddr::V6(addr) => memory.cache.get_v6(domain, addr).unpack().is_some(),
        });
        match refused {
            None => assert!(matches!(verdict, Verdict::Send(..)) && known == [true; 2], "{verdict:?} {known:?}"),
            Some((reason, end)) => assert_eq!((verdict, known[end]), (Verdict::Drop(reason), false), "{src} {careful}"),
        }
    }
}

#[test]
fn the_fast_path_decides_as_the_careful_one() {
    let packets = number("SELVEDGE_FUZZ_PACKETS", if cfg!(debug_assertions) { 300_000 } else { 10_000_000 });
    let seed = number("SELVEDGE_FUZZ_SEED", 0x5e1f_ed6e);
    // the same but for what SYN segments and packets that are too big become
    let tables = [Fit::default(), FIT].map(|fit| shared_tables(fit).publish());
    let (mut dice, seeds) = (Dice(seed), seeds());
    let memory = || Memory::new(FlowCache::new(4096, settings().hasher));
    let (mut quick, mut careful) = (memory(), memory());
    let (mut quick_left, mut careful_left) = (memory(), memory());
    let mut finishers = [Finishers::default(); 2];
    for port in [ACCESS, UNDERLAY] {
        finishers[0].add(port);
        finishers[1].add_plain(port);
    }
    let mut frame = Vec::with_capacity(2048);
    for n in 0..packets {
        let (port, good) = &seeds[dice.below(seeds.len())];
        frame.clone_from(good);
        if n % 8 != 0 {
            mutate(&mut frame, &mut dice);
        }
        // ten seconds apart: ICMP errors are never held back, so that both say the same
        let now = Tick(n * 10_000_000_000);
        let tables = &tables[n as usize % 2];
        let one = decide(&mut Path::new(tables, &mut quick, now), *port, &frame, false);
        let other = decide(&mut Path::new(tables, &mut careful, now), *port, &frame, true);
        assert_eq!(one, other, "packet {n} of seed {seed}: {frame:02x?}");
        assert_eq!(quick.partial_checksums, careful.partial_checksums, "packet {n} of seed {seed}");
        assert_eq!(quick.mss_clamped, careful.mss_clamped, "packet {n} of seed {seed}");
        // with devices that finish checksums the wire sees the same
        for (memory, careful) in [(&mut quick_left, false), (&mut careful_left, true)] {
            memory.finishers = finishers[n as usize / 2 % 2];
            let mut path = Path::new(tables, memory, now);
            let outcome = decide(&mut path, *port, &frame, careful);
            assert_eq!(finished(&path, outcome), one, "left: packet {n} of seed {seed}: {frame:02x?}");
        }
        let sums = |memory: &Memory| memory.partial_checksums + memory.left_checksums;
        assert_eq!(quick_left.left_checksums, careful_left.left_checksums, "packet {n} of seed {seed}");
        assert!(
            [&quick_left, &careful_left].map(sums) == [sums(&careful); 2],
            "packet {n} of seed {seed}: {frame:02x?}"
        );
    }
    let left = quick_left.left_checksums;
    assert!(left > packets / 50 && quick_left.partial_checksums > packets / 1000, "{left} left");
    assert!(quick.mss_clamped > packets / 1000, "{}", quick.mss_clamped);
}

/// What the path makes of the first `cut` bytes of a frame that goes on elsewhere, if they are enough for it; otherwise
/// nothing is changed.
fn decide_front(path: &mut Path<'_>, port: PortId, frame: &[u8], cut: usize) -> Option<Outcome> {
    let (mut chunk, mut span) = laid(frame);
    let (front, _) = chunk.split_at_mut(256 + cut);
    let mut packet = Packet::front(front, &mut span);
    let verdict = if port == ACCESS { path.outbound_front(&mut packet) } else { path.inbound_front(&mut packet) };
    let Some(verdict) = verdict else {
        assert_eq!((chunk, span), laid(frame), "changed, though nothing is decided: {frame:02x?}");
        return None;
    };
    let (head, end) = (usize::from(span.head), usize::from(span.head + span.len));
    let left = if matches!(verdict, Verdict::Drop(_)) { Vec::new() } else { chunk[head..end].to_vec() };
    Some((verdict, left))
}

#[test]
fn what_is_decided_about_a_front_is_what_the_careful_path_decides_about_all_of_it() {
    let packets = number("SELVEDGE_FUZZ_PACKETS", if cfg!(debug_assertions) { 300_000 } else { 5_000_000 });
    let seed = number("SELVEDGE_FUZZ_SEED", 0x5e1f_ed6e);
    // with and without agreement that outer checksums may be left out, and with all that may be said of overlays
    let all = |overlay: &mut Overlay| {
        (overlay.dscp, overlay.gbp, overlay.inner_vlan) = (Dscp::Uniform, true, 5);
        overlay.fit.mss_clamp = true;
    };
    let tables =
        [tables_6(false, true), tables_6(true, true), altered_tables(true, true, all)].map(|mut t| t.publish());
    let others = seeds().into_iter().filter(|(_, frame)| frame.len() > 400);
    let long: Vec<_> = long_seeds().into_iter().chain(others).collect();
    let memory = || {
        let mut memory = Memory::new(FlowCache::new(4096, settings().hasher));
        memory.finishers.add(UNDERLAY);
        memory.finishers.add_plain(ACCESS);
        memory
    };
    // what one remembers holds for its tables alone
    let (mut fronts, mut careful) = ([(); 3].map(|()| memory()), [(); 3].map(|()| memory()));
    let (mut dice, mut frame, mut enough) = (Dice(seed), Vec::new(), BTreeMap::new());
    for n in 0..packets {
        let (port, good) = &long[dice.below(long.len())];
        frame.clone_from(good);
        if n % 4 != 0 {
            mutate(&mut frame, &mut dice);
        }
        let cut = 100 + dice.below(228);
        if frame.len() <= cut {
            continue;
        }
        let now = Tick(n * 10_000_000_000);
        let at = dice.below(3);
        let mut path = Path::new(&tables[at], &mut fronts[at], now);
        let Some(one) = decide_front(&mut path, *port, &frame, cut) else { continue };
        let one = finished(&path, one);
        let mut path = Path::new(&tables[at], &mut careful[at], now);
        let other = decide(&mut path, *port, &frame, true);
        assert_eq!(one, finished(&path, other), "packet {n} of seed {seed}, {cut} bytes: {frame:02x?}");
        if let (Verdict::Send(_, journey), out) = one {
            let six = |frame: &[u8], at| frame[at] == 0x86;
            let (came, left) = (six(&frame, 12), six(&out, 12));
            let inner = match journey {
                Journey::Encap | Journey::Native => came,
                Journey::Decap => left,
                Journey::Transit => six(&frame, if came { 82 } else { 62 }),
            };
            *enough.entry((journey, came, inner, left)).or_insert(0u64) += 1;
        }
    }
    // encap and decap in four pairs; transit in two over IPv4, and in two each way between the underlays, less IPv6's own peer
    assert_eq!(enough.len(), 4 + 4 + 5, "{enough:?}");
    assert!(enough.values().all(|n| *n > packets / 1000), "by journey and family: {enough:?} of {packets}");
    let counted = |of: &Memory| (of.partial_checksums, of.left_checksums, of.mss_clamped);
    assert_eq!(fronts.each_ref().map(counted), careful.each_ref().map(counted));
}

/// Something happens to what the seeds are about: prefixes longer and shorter than those of [`shared_tables`], which stay.
fn change(tables: &mut TablesWriter, dice: &mut Dice) {
    let hosts = [BLUE_POD, BLUE_POD_2, GREEN_POD, NATIVE, SHARED_POD, SHARED_NATIVE].map(IpAddr::from);
    let hosts_6 = [BLUE_POD_6, RED_POD_6, NATIVE_6].map(IpAddr::from);
    let host = Prefix::host([&hosts[..], &hosts_6].concat()[dice.below(9)]);
    let prefix = host.widened([host.len(), host.len(), host.len() - 4, host.len() / 8 * 3][dice.below(4)]);
    let action = [Action::Encap(PeerId(dice.below(4) as u32)), Action::Deliver(HopId(0)), Action::Group(GroupId(0))];
    match dice.below(16) {
        0 => tables.set_imports(&borders()),
        1 => tables.set_imports(&[]),
        2..10 => tables.remove_route(&prefix),
        _ => tables.set_route(prefix, action[dice.below(3)]),
    }
}

/// With so many routes that misses of a burst are looked up together, so small a cache that there are many, and changes
/// that only the cache of the burst has to follow: the other one is new each time.
#[test]
fn a_burst_is_decided_as_its_frames_one_by_one() {
    let packets = number("SELVEDGE_FUZZ_PACKETS", if cfg!(debug_assertions) { 100_000 } else { 5_000_000 });
    let seed = number("SELVEDGE_FUZZ_SEED", 0x5e1f_ed6e);
    let (mut writer, mut dice, seeds) = (shared_tables(FIT), Dice(seed), seeds());
    for n in 0..50_000u32 {
        let elsewhere = Prefix::host(Ipv4Addr::from_bits(100 << 24 | n).into());
        writer.set_route(elsewhere, Action::Encap(PeerId(n % 4)));
    }
    let mut tables = writer.publish();
    let cache = || FlowCache::new(8, settings().hasher);
    let (mut together, mut alone) = (Memory::new(cache()), Memory::new(cache()));
    let mut now = Tick(0);
    for n in 0..packets / 64 {
        for _ in 0..[0, 0, 0, 0, 1, 1, 2, 12][dice.below(8)] {
            change(&mut writer, &mut dice);
            tables = writer.publish();
        }
        alone.cache = cache();
        let port = [UNDERLAY, ACCESS][dice.below(2)];
        let mut frames = Vec::new();
        while frames.len() < 64 {
            let (at, good) = &seeds[dice.below(seeds.len())];
            if *at == port {
                let mut frame = good.clone();
                if dice.below(4) > 0 {
                    mutate(&mut frame, &mut dice);
                }
                frames.push(frame);
            }
        }
        let burst = decide_burst(&mut Path::new(&tables, &mut together, now), port, &frames);
        for (frame, one) in frames.iter().zip(burst) {
            now.0 += 10_000_000_000;
            let other = decide(&mut Path::new(&tables, &mut alone, now), port, frame, true);
            assert_eq!(one, other, "burst {n} of seed {seed}: {frame:02x?}");
        }
        assert_eq!(together.partial_checksums, alone.partial_checksums, "burst {n} of seed {seed}");
    }
}
