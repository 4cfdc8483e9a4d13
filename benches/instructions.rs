//! A fixed amount of work, to be counted by callgrind: `instructions turn|path JOURNEY PACKETS` takes so many packets
//! through whole production turns, or through the decision alone. `perf/instructions` runs it twice with different
//! amounts; the difference, divided, is the instructions a packet, start-up and table building taken out.

#[path = "../tests/support/mod.rs"]
mod support;

use selvedge::path::{Memory, Path, Tick, Verdict};
use selvedge::tables::{FlowCache, PortId};
use selvedge::wire::{Packet, Span};
use support::frames::Ip;
use support::*;

const FLOWS: usize = 256;

fn ip(journey: &str, n: usize) -> Ip {
    let (from, to) = match journey {
        "encap" => (NATIVE, BLUE_POD),
        "decap" => (BLUE_POD, NATIVE),
        _ => (BLUE_POD, GREEN_POD),
    };
    Ip::udp(from, to, (1024 + n as u16, 80), &[7; 18])
}

fn frames(journey: &str) -> (PortId, Vec<Vec<u8>>) {
    match journey {
        "encap" => (ACCESS, (0..FLOWS).map(|n| plain(&ip(journey, n))).collect()),
        _ => (UNDERLAY, (0..FLOWS).map(|n| from_blue(&ip(journey, n)).frame()).collect()),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    // `cargo bench` without arguments runs every bench: there is nothing to time here
    let [what, journey, count] = &args[..] else {
        return println!("usage: instructions turn|path encap|decap|transit PACKETS");
    };
    let count = count.parse().expect("a number of packets");
    match &what[..] {
        "turn" => turns(journey, count),
        _ => decisions(journey, count),
    }
}

/// Whole production turns.
fn turns(journey: &str, packets: u64) {
    let mut g = Gateway::new();
    let (port, frames) = frames(journey);
    for port in [UNDERLAY, ACCESS] {
        g.worker.wire(port).1.count_only();
    }
    g.worker.wire(port).1.feed(frames);
    while g.worker.stats().received() < packets {
        (0..100).for_each(|_| _ = g.worker.turn());
    }
    let stats = g.worker.stats();
    assert_eq!((stats.received(), stats.drops.total()), (stats.accounted(), 0));
    println!("{} packets", stats.received());
}

/// The decision alone, on a frame that is laid anew each time.
fn decisions(journey: &str, packets: u64) {
    let (tables, (port, frames)) = (tables().publish(), frames(journey));
    let mut memory = Memory::new(FlowCache::new(4096, settings().hasher));
    let mut chunk = vec![0xa5; 2048];
    for n in 0..packets {
        let frame = &frames[n as usize % FLOWS];
        chunk[256..256 + frame.len()].copy_from_slice(frame);
        let mut span = Span { head: 256, len: frame.len() as u16 };
        let mut packet = Packet::new(&mut chunk, &mut span);
        let mut path = Path { tables: &tables, memory: &mut memory, now: Tick(1) };
        let verdict = if port == ACCESS { path.outbound(port, &mut packet) } else { path.inbound(&mut packet) };
        assert!(matches!(verdict, Verdict::Send(..)));
    }
    println!("{packets} packets");
}
