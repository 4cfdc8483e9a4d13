//! The path over in-memory rings: parse to stamped frame, with every check of the real path. Runs without root.
//!
//! `turn` is the whole production turn over [`MemPort`]s: receive (which copies a frame into its chunk), decide,
//! send, complete, refill. `path` is the decision alone on frames laid ready. `fib` and `cache` are what it looks up.
//! ns an item is 1 / (items/s); compare columns of one run only.

#[path = "../tests/support/mod.rs"]
mod support;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use selvedge::path::{Memory, Path, Tick, Verdict};
use selvedge::tables::{Action, Domain, FibWriter, FlowCache, PeerId, PortId, Tables, TablesWriter};
use selvedge::wire::{Packet, Prefix, Span};
use std::net::Ipv4Addr;
use support::frames::Ip;
use support::frames6::Ip6;
use support::six::*;
use support::*;

fn main() {
    divan::main();
}

const JOURNEYS: [&str; 3] = ["encap", "decap", "transit"];
const BATCH: usize = 256;

/// Frames of `flows` flows over as many pods (up to 250) of the journey's destination network.
fn frames(journey: &str, flows: usize, size: usize) -> (PortId, Vec<Vec<u8>>) {
    let data = vec![7; size];
    let make = |n: usize| {
        let ports = (1024 + (n / 250) as u16, 80);
        let pod = |net: [u8; 4]| [net[0], net[1], net[2], 1 + (n % 250) as u8];
        match journey {
            "encap" => plain(&Ip::udp(NATIVE, pod(BLUE_POD), ports, &data)),
            "decap" => from_blue(&Ip::udp(pod(BLUE_POD), NATIVE, ports, &data)).frame(),
            _ => from_blue(&Ip::udp(BLUE_POD, pod(GREEN_POD), ports, &data)).frame(),
        }
    };
    (if journey == "encap" { ACCESS } else { UNDERLAY }, (0..flows).map(make).collect())
}

/// A whole turn of the production worker.
#[divan::bench(args = JOURNEYS)]
fn turn(bencher: Bencher<'_, '_>, journey: &str) {
    let mut g = Gateway::new();
    let (port, frames) = frames(journey, 1000, 18);
    g.worker.wire(port).1.feed(frames);
    g.worker.wire(UNDERLAY).1.count_only();
    g.worker.wire(ACCESS).1.count_only();
    let per_turn = g.worker.turn();
    bencher.counter(ItemsCount::new(per_turn)).bench_local(|| black_box(g.worker.turn()));
    let stats = g.worker.stats();
    assert_eq!((stats.drops.total(), stats.received()), (0, stats.accounted()), "only forwarding was measured");
}

/// Inner and outer IP version.
const PAIRS: [&str; 4] = ["4in4", "6in4", "4in6", "6in6"];

/// The same of flows between a native host and one pod, for a pair.
fn pair_frames(journey: &str, pair: &str, size: usize) -> (PortId, Vec<Vec<u8>>) {
    let data = vec![7; size];
    let (v6, red) = (pair.starts_with('6'), pair.ends_with('6'));
    let (pod, pod_6) = if red { (RED_POD, RED_POD_6) } else { (BLUE_POD, BLUE_POD_6) };
    let make = |n: usize| {
        let ports = (1024 + n as u16, 80);
        let back = Ip::udp(pod, NATIVE, ports, &data);
        let back_6 = Ip6::udp(pod_6, NATIVE_6, ports, &data);
        let over_ipv6 = |ethertype, ip: &[u8]| on_underlay(&red_outer(&red_inner(ethertype, ip)));
        match (journey, v6, red) {
            ("encap", false, _) => plain(&Ip::udp(NATIVE, pod, ports, &data)),
            ("encap", true, _) => plain_6(&Ip6::udp(NATIVE_6, pod_6, ports, &data)),
            (_, false, false) => from_blue(&back).frame(),
            (_, true, false) => from_blue_6(&back_6).frame(),
            (_, false, true) => over_ipv6(0x0800, &back.bytes()),
            (_, true, true) => over_ipv6(0x86dd, &back_6.bytes()),
        }
    };
    (if journey == "encap" { ACCESS } else { UNDERLAY }, (0..BATCH).map(make).collect())
}

fn memory() -> Memory {
    Memory::new(FlowCache::new(65_536, settings().hasher))
}

fn decide(tables: &Tables, memory: &mut Memory, port: PortId, chunk: &mut [u8], span: &mut Span) -> Verdict {
    let mut path = Path::new(tables, memory, Tick(1));
    let mut packet = Packet::new(chunk, span);
    if port == ACCESS { path.outbound(port, &mut packet) } else { path.inbound(&mut packet) }
}

fn lay(frames: &[Vec<u8>]) -> Vec<(Vec<u8>, Span)> {
    let lay = |f: &Vec<u8>| {
        let mut chunk = vec![0xa5; 2048];
        chunk[256..256 + f.len()].copy_from_slice(f);
        (chunk, Span { head: 256, len: f.len() as u16 })
    };
    frames.iter().map(lay).collect()
}

/// The decision alone; `size` is the UDP payload. Over IPv4 the partial-checksum test reads headers only, whatever the
/// size; over IPv6 the outer checksum is over everything.
fn path_of(bencher: Bencher<'_, '_>, tables: TablesWriter, (port, frames): (PortId, Vec<Vec<u8>>)) {
    let (tables, mut memory) = ({ tables }.publish(), memory());
    let laid = lay(&frames);
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(|| laid.clone()).bench_local_refs(|batch| {
        for (chunk, span) in batch.iter_mut() {
            black_box(decide(&tables, &mut memory, port, chunk, span));
        }
    });
}

#[divan::bench(args = JOURNEYS)]
fn path_64(bencher: Bencher<'_, '_>, journey: &str) {
    path_of(bencher, tables(), frames(journey, BATCH, 18));
}

#[divan::bench(args = JOURNEYS)]
fn path_1400(bencher: Bencher<'_, '_>, journey: &str) {
    path_of(bencher, tables(), frames(journey, BATCH, 1372));
}

#[divan::bench(args = PAIRS, consts = [18, 1372])]
fn pair_encap<const SIZE: usize>(bencher: Bencher<'_, '_>, pair: &str) {
    path_of(bencher, tables_6(false, false), pair_frames("encap", pair, SIZE));
}

#[divan::bench(args = PAIRS, consts = [18, 1372])]
fn pair_decap<const SIZE: usize>(bencher: Bencher<'_, '_>, pair: &str) {
    path_of(bencher, tables_6(false, false), pair_frames("decap", pair, SIZE));
}

/// Reading and refusing: a VXLAN packet of an unknown VNI.
#[divan::bench]
fn parse_and_refuse(bencher: Bencher<'_, '_>) {
    let (tables, mut memory) = (tables().publish(), memory());
    let mut v = from_blue(&Ip::udp(BLUE_POD, NATIVE, (1, 2), b"x"));
    v.vni = 99;
    let mut laid = lay(&[v.frame()]);
    let (chunk, span) = &mut laid[0];
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        let before = *span;
        let verdict = decide(&tables, &mut memory, UNDERLAY, chunk, span);
        *span = before;
        verdict
    });
}

/// Destinations drawn from all routes, in an order the prefetcher cannot guess.
fn destinations(routes: u32) -> Vec<Ipv4Addr> {
    (0..65_536u32).map(|n| Ipv4Addr::from_bits(route(n.wrapping_mul(0x9e37_79b1) % routes) | 9)).collect()
}

/// The n-th /24 of a space of as many.
fn route(n: u32) -> u32 {
    0x0a00_0000u32.wrapping_add(n << 8)
}

#[divan::bench(args = [1_000, 100_000, 1_000_000])]
fn fib_lookup(bencher: Bencher<'_, '_>, routes: u32) {
    let mut fib = FibWriter::default();
    for n in 0..routes {
        fib.insert(Prefix::new(Ipv4Addr::from_bits(route(n)).into(), 24).unwrap(), Action::Encap(PeerId(n)));
    }
    let (fib, destinations) = (fib.current().clone(), destinations(routes));
    bencher.counter(ItemsCount::new(destinations.len())).bench_local(|| {
        for dst in &destinations {
            black_box(fib.lookup((*dst).into()));
        }
    });
}

#[divan::bench(args = [1_000, 30_000])]
fn cache_hit(bencher: Bencher<'_, '_>, pods: u32) {
    let mut cache = memory().cache;
    let pods: Vec<_> = destinations(pods).into_iter().take(pods as usize).collect();
    for pod in &pods {
        cache.put(Domain(1), *pod, Action::Encap(PeerId(1)));
    }
    bencher.counter(ItemsCount::new(pods.len())).bench_local(|| {
        for pod in &pods {
            black_box(cache.get(Domain(1), *pod));
        }
    });
}

/// One route changed and published, in tables of different sizes: the cost must not grow with them.
#[divan::bench(args = [1_000, 100_000])]
fn fib_update(bencher: Bencher<'_, '_>, routes: u32) {
    let mut fib = FibWriter::default();
    for n in 0..routes {
        fib.insert(Prefix::new(Ipv4Addr::from_bits(route(n)).into(), 24).unwrap(), Action::Encap(PeerId(n)));
    }
    let mut published = fib.current().clone();
    let mut n = 0u32;
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        n = n.wrapping_add(7919) % routes;
        fib.insert(Prefix::new(Ipv4Addr::from_bits(route(n)).into(), 24).unwrap(), Action::Encap(PeerId(n ^ 1)));
        published = fib.current().clone();
    });
    black_box(published);
}
