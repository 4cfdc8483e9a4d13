//! Packets in several chunks over in-memory ports: every outcome is that of the careful path on the packet in one piece,
//! however it was cut; no book goes out of balance, and no chunk is lost.

#[path = "support/dice.rs"]
mod dice;
mod support;

use dice::{Dice, number};
use selvedge::drops::DropReason as R;
use selvedge::path::{Memory, Path, Tick, Verdict};
use selvedge::port::{Finishes, LONGEST, MOST_PIECES, MemPort, MemRings};
use selvedge::tables::{Fit, FlowCache, HopId, NextHop, PeerId, PortId, Tables, TablesWriter};
use selvedge::wire::{Ethernet, Mac, Packet, Span};
use std::net::Ipv4Addr;
use support::frames::{Ip, udp};
use support::frames6::Ip6;
use support::six::*;
use support::*;

/// Bytes of a packet in a chunk of 2,048.
const CHUNK: usize = 1792;
/// Inner packets of an underlay with an MTU of 9,000.
const INNER: u16 = 8950;

/// The tables of the other tests, with an MTU of 9,000 everywhere, and packets made to fit.
fn jumbo_tables() -> TablesWriter {
    let mut t = fitted_tables(false, true, Fit { mss_clamp: true, fragment: true });
    let all = overlays();
    let nodes = [(0, BLUE_NODE, true), (0, BLUE_NODE_2, true), (1, GREEN_NODE, true), (1, DEAD_NODE, false)];
    for (id, (overlay, node, alive)) in nodes.into_iter().enumerate() {
        let mut peer = peer(&all, overlay, node, alive);
        peer.way.iter_mut().for_each(|way| way.mtu = INNER);
        t.set_peer(PeerId(id as u32), Some(peer));
    }
    let mut red = red_peer(false);
    red.way.iter_mut().for_each(|way| way.mtu = INNER - 20);
    t.set_peer(PeerId(10), Some(red));
    let way = Some((Ethernet::ipv4(Mac(HOST), Mac(PORT_MACS[1])), 9000));
    t.set_hop(HopId(0), Some(NextHop { port: ACCESS, addr: Ipv4Addr::from(NATIVE).into(), way }));
    t
}

fn gateway(rings: MemRings) -> Gateway {
    Gateway::on([0, 1].map(|_| MemPort::new(rings).multi_buffer()), jumbo_tables())
}

/// With devices that finish checksums.
fn finishing() -> Gateway {
    Gateway::on([0, 1].map(|_| MemPort::new(rings()).multi_buffer().finishing(Finishes::All)), jumbo_tables())
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + n / 255) as u8).collect()
}

/// What the careful path makes of a frame in one piece.
struct Oracle {
    tables: Tables,
    memory: Memory,
}

impl Oracle {
    fn new() -> Self {
        let memory = Memory::new(FlowCache::new(4096, settings().hasher));
        Self { tables: jumbo_tables().publish(), memory }
    }

    /// The frames that leave and by which port, or why none does.
    fn judge(&mut self, port: PortId, frame: &[u8], now: Tick) -> Result<(PortId, Vec<Vec<u8>>), R> {
        let mut room = vec![0xa5; 16_384];
        room[256..256 + frame.len()].copy_from_slice(frame);
        let mut span = Span { head: 256, len: frame.len() as u16 };
        let mut packet = Packet::new(&mut room, &mut span);
        let mut path = Path::new(&self.tables, &mut self.memory, now);
        let verdict =
            if port == ACCESS { path.careful_outbound(port, &mut packet) } else { path.careful_inbound(&mut packet) };
        match verdict {
            Verdict::Send(port, _) | Verdict::Reply(port) => Ok((port, vec![packet.bytes().to_vec()])),
            Verdict::SendUnfinished(..) => unreachable!("there is no device that would finish it"),
            Verdict::Split(port, _) => {
                let written = path.fragments(&packet).unwrap().map(|piece| {
                    let mut room = vec![0; 16_384];
                    let mut span = Span { head: 256, len: 0 };
                    let mut made = Packet::new(&mut room, &mut span);
                    path.write_fragment(&piece, &packet, &mut made).unwrap();
                    made.bytes().to_vec()
                });
                Ok((port, written.collect()))
            }
            Verdict::Drop(reason) => Err(reason),
        }
    }
}

/// Packets of `len` bytes of data, of every kind.
fn kinds(len: usize) -> Vec<(PortId, Vec<u8>)> {
    let data = data(len);
    let mut all = Vec::new();
    for dst in [NATIVE, GREEN_POD, RED_POD, BLUE_ADDRESS, NOWHERE] {
        let mut partial = Ip::tcp(BLUE_POD, dst, (1000, 22), &data);
        partial.unfinish(16);
        let kinds = [Ip::udp(BLUE_POD, dst, (1, 2), &data), Ip::tcp(BLUE_POD, dst, (1, 2), &data), partial];
        for ip in kinds.iter().chain([&Ip::echo(BLUE_POD, dst, &data)]) {
            all.push((UNDERLAY, from_blue(ip).frame()));
            all.push((UNDERLAY, from_blue(ip).frame_with_checksum()));
        }
    }
    for dst in [BLUE_POD, RED_POD, BLUE_ADDRESS] {
        let mut partial = Ip::udp(NATIVE, dst, (7, 8), &data);
        partial.unfinish(6);
        let old = Ip { ttl: 1, ..Ip::udp(NATIVE, dst, (1, 2), &data) };
        let divisible = Ip { flags_offset: 0, ..Ip::udp(NATIVE, dst, (1, 2), &data) };
        for ip in [Ip::udp(NATIVE, dst, (1, 2), &data), partial, old, divisible, Ip::echo(NATIVE, dst, &data)] {
            all.push((ACCESS, plain(&ip)));
        }
    }
    for dst in [BLUE_POD_6, RED_POD_6, BLUE_ADDRESS_6] {
        let mut partial = Ip6::tcp(NATIVE_6, dst, (1, 2), &data);
        partial.unfinish(16);
        let options = Ip6::udp(NATIVE_6, dst, (1, 2), &data).behind(60, &[17, 0, 1, 4, 0, 0, 0, 0]);
        if data.len() < 6000 {
            // what is unfinished lies in the second chunk
            let deep = [&[6, 255, 1, 253][..], &[0; 253], &[1, 253], &[0; 253], &[0; 1536]].concat();
            all.push((ACCESS, plain_6(&partial.clone().behind(60, &deep))));
        }
        for ip in [Ip6::udp(NATIVE_6, dst, (1, 2), &data), partial, options, Ip6::echo(NATIVE_6, dst, &data)] {
            all.push((ACCESS, plain_6(&ip)));
        }
    }
    for dst in [NATIVE_6, BLUE_POD_6] {
        let ip = Ip6::udp(RED_POD_6, dst, (5, 6), &data);
        all.push((UNDERLAY, on_underlay(&red_outer(&red_inner(0x86dd, &ip.bytes())))));
    }
    let four = Ip::tcp(RED_POD, NATIVE, (1, 2), &data);
    all.push((UNDERLAY, on_underlay(&red_outer(&red_inner(0x0800, &four.bytes())))));
    all
}

/// Lets a frame arrive in these pieces, and holds what becomes of it against the oracle.
fn compare(g: &mut Gateway, oracle: &mut Oracle, port: PortId, frame: &[u8], pieces: Option<&[&[u8]]>, what: &str) {
    // ten seconds apart: ICMP errors are never held back
    g.clock.0.set(g.clock.0.get() + 10_000_000_000);
    let now = Tick(g.clock.0.get());
    let outcome = match pieces {
        None => g.receive(port, &[frame]),
        Some(pieces) => {
            let (pool, wire) = g.worker.wire(port);
            assert!(wire.inject_pieces(pool, pieces), "{what}");
            while g.worker.turn() > 0 {}
            g.worker.turn();
            g.settle(1)
        }
    };
    match oracle.judge(port, frame, now) {
        Ok((port, frames)) => {
            let lens = |frames: &[Vec<u8>]| frames.iter().map(Vec::len).collect::<Vec<_>>();
            let sent: Vec<_> = outcome.sent.iter().map(|(by, frame)| (*by, frame.len())).collect();
            let want: Vec<_> = lens(&frames).into_iter().map(|len| (port, len)).collect();
            assert_eq!((sent, outcome.drops), (want, vec![]), "{what}");
            assert!(outcome.sent.into_iter().map(|(_, frame)| frame).eq(frames), "{what}: other bytes");
        }
        Err(reason) => assert_eq!(outcome.reason(), reason, "{what}"),
    }
    let stats = g.worker.stats();
    assert_eq!(stats.partial_checksums + stats.left_checksums, oracle.memory.partial_checksums, "{what}");
}

#[test]
fn all_sizes_around_the_borders_of_chunks_fare_as_in_one_piece() {
    let mut both = [gateway(rings()), finishing()].map(|g| (g, Oracle::new()));
    let borders = (1..=5).map(|n| n * CHUNK).chain([usize::from(INNER), 9000, LONGEST]);
    let mut sizes: Vec<usize> =
        borders.flat_map(|b| [0, 14, 28, 42, 64, 92, 134].map(|h| b.saturating_sub(h))).collect();
    sizes.extend(sizes.clone().iter().flat_map(|s| [s - 1, s + 1]));
    sizes.retain(|size| size + 14 + 40 + 40 + 70 + 20 <= LONGEST);
    for size in sizes {
        for (n, (port, frame)) in kinds(size).into_iter().enumerate() {
            let (g, oracle) = &mut both[(n + size) % 2];
            compare(g, oracle, port, &frame, None, &format!("kind {n} of {size} bytes"));
        }
    }
    for (g, _) in &mut both {
        let stats = g.worker.stats();
        assert!(stats.journeys[..3].iter().all(|n| *n > 200) && stats.replied > 200, "{stats:?}");
    }
    assert!(both[1].0.worker.stats().left_checksums > 200);
}

#[test]
fn mutated_packets_in_random_pieces_fare_as_in_one_piece() {
    let packets = number("SELVEDGE_FUZZ_PACKETS", if cfg!(debug_assertions) { 20_000 } else { 1_000_000 });
    let seed = number("SELVEDGE_FUZZ_SEED", 0x5e1f_ed6e);
    let mut both = [gateway(rings()), finishing()].map(|g| (g, Oracle::new()));
    let mut dice = Dice(seed);
    let seeds: Vec<_> = [300, 1000, 1700, 3000, 8000, 8908].into_iter().flat_map(kinds).collect();
    for n in 0..packets {
        let (port, frame) = &seeds[dice.below(seeds.len())];
        let mut frame = frame.clone();
        for _ in 0..dice.below(3) {
            let at = if dice.one_in(4) { dice.below(frame.len()) } else { dice.below(110) };
            match dice.below(6) {
                0 => frame.truncate(at.max(1)),
                1 => frame.extend(std::iter::repeat_n(0xee, dice.below(1000))),
                2 => frame.get_mut(at).into_iter().for_each(|b| *b = dice.roll() as u8),
                _ => frame.get_mut(at).into_iter().for_each(|b| *b ^= 1 << (n % 8)),
            }
        }
        frame.truncate(LONGEST);
        let mut pieces = Vec::new();
        let (mut rest, small) = (&frame[..], dice.one_in(2));
        while !rest.is_empty() {
            let left = (MOST_PIECES as usize - pieces.len() - 1) * CHUNK;
            let least = rest.len().saturating_sub(left).max(1);
            let most = rest.len().min(CHUNK);
            let len = if small { least + dice.below(most + 1 - least) } else { most };
            let (piece, behind) = rest.split_at(len);
            pieces.push(piece);
            rest = behind;
        }
        let cuts: Vec<_> = pieces.iter().map(|p| p.len()).collect();
        let what = format!("packet {n} of seed {seed} in {cuts:?}");
        let (g, oracle) = &mut both[n as usize % 2];
        compare(g, oracle, *port, &frame, Some(&pieces), &what);
    }
}

#[test]
fn what_stays_where_it_lies_and_what_is_copied_leave_in_order() {
    let mut g = gateway(rings());
    let mut partial = Ip::udp(NATIVE, BLUE_POD, (1, 2), &data(5000));
    partial.unfinish(6);
    let frames: Vec<_> = (0..12u8)
        .map(|n| match n % 3 {
            0 => plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), &[n; 8000])),
            1 => plain(&partial),
            _ => plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), &[n; 100])),
        })
        .collect();
    let outcome = g.receive(ACCESS, &frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let lens: Vec<_> = outcome.sent.iter().map(|(_, f)| f.len()).collect();
    assert_eq!(lens, frames.iter().map(|f| f.len() + 50).collect::<Vec<_>>());
    for (n, (_, frame)) in outcome.sent.iter().enumerate().filter(|(n, _)| n % 3 != 1) {
        assert!(frame[50 + 42..].iter().all(|b| *b == n as u8), "{n}");
    }
}

/// A burst takes 32 pieces, and a packet has five.
#[test]
fn a_packet_waits_in_the_port_for_its_rest() {
    let mut g = gateway(rings());
    let frame = plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), &data(8900)));
    for _ in 0..20 {
        let (pool, wire) = g.worker.wire(ACCESS);
        assert!(wire.inject(pool, &frame));
    }
    let mut came = Vec::new();
    loop {
        match g.worker.turn() {
            0 => break,
            n => came.push(n),
        }
        let stats = g.worker.stats();
        assert_eq!((stats.found(), stats.received()), (stats.total, stats.accounted()));
    }
    assert_eq!(came, [6, 6, 7, 1], "32, 64, 96 and 100 pieces of five");
    g.worker.turn();
    assert_eq!(g.settle(20).sent.len(), 20);
}

#[test]
fn a_fill_ring_that_ends_in_the_middle_of_a_packet_loses_it_whole() {
    let mut g = gateway(MemRings { rx: 256, tx: 256, fill: 8 });
    let frame = plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), &data(8000)));
    let (pool, wire) = g.worker.wire(ACCESS);
    assert!(wire.inject(pool, &frame) && !wire.inject(pool, &frame));
    while g.worker.turn() > 0 {}
    g.worker.turn();
    assert_eq!(g.settle(1).sent.len(), 1);
    let (_, wire) = g.worker.wire(ACCESS);
    assert_eq!(selvedge::port::Port::ring_stats(wire).rx_dropped, 1);
}

#[test]
fn a_packet_is_sent_whole_or_not_at_all() {
    let mut g = gateway(MemRings { rx: 256, tx: 16, fill: 256 });
    let frame = plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), &data(8000)));
    // five pieces each, and the ring has sixteen places, which a device that sends nothing does not give back
    g.worker.wire(UNDERLAY).1.stall_tx(2);
    let outcome = g.receive(ACCESS, &[&frame[..]; 5]);
    assert_eq!((outcome.sent.len(), outcome.drops), (3, vec![(R::TxRingFull, 2)]));
    let mut g = gateway(MemRings { rx: 256, tx: 4, fill: 256 });
    assert_eq!(g.receive(ACCESS, &[&frame]).reason(), R::TxRingFull);
}

#[test]
fn a_packet_of_too_many_or_too_large_pieces_is_cut_and_refused() {
    let mut g = gateway(rings());
    let mut oracle = Oracle::new();
    let frame = plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), &data(8000)));
    for (size, many) in [(503, 16), (502, 17), (100, 81)] {
        let pieces: Vec<_> = frame.chunks(size).collect();
        assert_eq!(pieces.len(), many);
        let (pool, wire) = g.worker.wire(ACCESS);
        assert!(wire.inject_pieces(pool, &pieces));
        // a burst takes 32 pieces, so that there are turns in which no packet is whole
        for _ in 0..6 {
            g.worker.turn();
        }
        let outcome = g.settle(1);
        if many > 16 {
            assert_eq!(outcome.reason(), R::IpHeader);
        } else {
            assert_eq!(outcome.only().1, oracle.judge(ACCESS, &frame, Tick(0)).unwrap().1[0]);
        }
    }
    let huge = Ip::udp(NATIVE, BLUE_POD, (1, 2), &data(12_000));
    assert_eq!(g.receive(ACCESS, &[&plain(&huge)]).reason(), R::IpHeader);
    // what is cut off another is padding
    let mut padded = plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), &data(3000)));
    padded.resize(20_000, 0xee);
    assert_eq!(g.receive(ACCESS, &[&padded]).only().1.len(), 50 + 14 + 28 + 3000);
}

#[test]
fn an_error_about_a_long_packet_quotes_its_front_and_frees_its_tail() {
    let mut g = gateway(rings());
    let frame = plain(&Ip::udp(NATIVE, BLUE_POD, (1, 2), &data(usize::from(INNER) - 27)));
    let outcome = g.receive(ACCESS, &[&frame]);
    let (port, sent) = outcome.only();
    assert_eq!((port, sent.len(), outcome.replied), (ACCESS, 14 + 576, 1));
    assert_eq!(sent[14 + 20 + 6..][..2], INNER.to_be_bytes(), "the largest that would pass");
    assert_eq!(sent[14 + 28..], frame[14..14 + 576 - 28], "the quote");
    let blue = from_blue(&Ip::udp(BLUE_POD, GREEN_POD, (1, 2), &data(8950))).frame();
    let outcome = g.receive(UNDERLAY, &[&blue]);
    assert_eq!((outcome.only().0, outcome.replied), (UNDERLAY, 1));
}

#[test]
fn padding_in_the_tail_does_not_travel() {
    let mut g = gateway(rings());
    for (len, padded) in [(1000, 2000), (1000, 9000), (3000, 7000), (CHUNK - 14 - 28, CHUNK + 1)] {
        let ip = Ip::udp(NATIVE, BLUE_POD, (1, 2), &data(len));
        let mut frame = plain(&ip);
        frame.resize(padded, 0xee);
        assert_eq!(g.receive(ACCESS, &[&frame]).only().1.len(), 50 + 14 + 28 + len);
        let mut frame = from_blue(&Ip::udp(BLUE_POD, NATIVE, (1, 2), &data(len))).frame();
        frame.resize(padded + 50, 0xee);
        assert_eq!(g.receive(UNDERLAY, &[&frame]).only().1.len(), 14 + 28 + len);
    }
}

#[test]
fn a_port_without_packets_in_several_chunks_loses_them() {
    let mut g = Gateway::with(jumbo_tables(), rings());
    let frame = plain(&Ip::new(NATIVE, BLUE_POD, 17, udp((1, 2), &data(8000))));
    let (pool, wire) = g.worker.wire(ACCESS);
    assert!(!wire.inject(pool, &frame));
    assert_eq!(g.settle(0).drops, []);
}
