//! Packets through the path: ready flows, and destinations that no cache holds.

use super::deck::{Tally, Way};
use super::gateway::{ACCESS, frames::Ip, plain, settings};
use super::options::Options;
use super::rounds::{Bar, Bench, Case, Sample};
use super::traffic::{Journey, Traffic};
use super::world::{self, Size};
use selvedge::path::{Memory, Scouted};
use selvedge::tables::{Domain, FlowCache, Packed, Tables};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::rc::Rc;

/// What must become of the packets of a case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    Sent,
    Dropped,
    /// A mixture.
    Any,
}

impl Expect {
    fn check(self, name: &str, tally: Tally) {
        let all = match self {
            Self::Sent => tally.sent,
            Self::Dropped => tally.dropped,
            Self::Any => tally.total(),
        };
        assert_eq!(all, tally.total(), "{name}: not what was to be measured: {tally:?}");
    }
}

/// Where the frames lie when their turn comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Distance {
    /// One burst, laid just before: in the nearest cache.
    Near,
    /// All of the packet memory is laid before the first is looked at.
    Far,
}

pub(crate) fn memory(options: &Options) -> Memory {
    Memory::new(FlowCache::new(options.cache, settings().hasher))
}

/// A case of the path alone: passes over frames laid anew. Laying them is not timed.
pub(crate) fn path(
    name: String,
    bar: Bar,
    options: &Options,
    tables: &Rc<Tables>,
    traffic: Rc<Traffic>,
    (distance, expect): (Distance, Expect),
) -> Case {
    let (tables, mut memory) = (tables.clone(), memory(options));
    let (packets, burst) = (options.packets as usize, options.burst as usize);
    let (mut at, told) = (0, name.clone());
    let mut scouted = vec![Scouted::default(); burst];
    let round = move |bench: &mut Bench<'_>| {
        let many = match distance {
            Distance::Near => burst,
            Distance::Far => bench.deck.len(),
        };
        let passes = packets.div_ceil(many);
        let (mut ticks, mut tally) = (0, Tally::default());
        // one pass more than is timed: the case before has left its own in the caches
        for pass in 0..=passes {
            bench.deck.lay(&traffic, at, many);
            at = (at + many) % traffic.count();
            let mut way = Way { tables: &tables, memory: &mut memory, port: traffic.port, scouted: &mut scouted };
            let mut pass_over = || tally = bench.deck.pass(&mut way, many, burst);
            match pass {
                0 => pass_over(),
                _ => ticks += bench.meter.take(pass_over),
            }
            expect.check(&told, tally);
        }
        Sample { ticks, items: (passes * many) as u64 }
    };
    Case { name, bar, round: Box::new(round) }
}

/// Encapsulation, decapsulation and transit, of few flows and of many.
pub(crate) fn journeys(options: &Options) -> Vec<Case> {
    let sizes = [
        ("1k", 1_000, 1_000, [(50.0, 30.0), (50.0, 25.0), (75.0, 40.0)]),
        ("64k", 65_536, 10_000, [(90.0, 45.0), (80.0, 40.0), (120.0, 60.0)]),
    ];
    let tables = Rc::new(world::writer(options.nodes as usize).publish());
    let mut cases = Vec::new();
    for (label, flows, pods, bars) in sizes {
        let size = Size { nodes: options.nodes as usize, pods, flows };
        for (journey, (bar, aim)) in Journey::ALL.into_iter().zip(bars) {
            let traffic = Rc::new(Traffic::flows(journey, size, options.payload.into(), options.seed));
            for (place, distance) in [("near", Distance::Near), ("far", Distance::Far)] {
                let name = format!("path/{}/{label}/{place}", journey.name());
                let how = (distance, Expect::Sent);
                cases.push(path(name, Bar::Cycles(bar, aim), options, &tables, traffic.clone(), how));
            }
        }
    }
    cases
}

/// Destinations in as many prefixes that none is in the cache when it is asked for.
pub(crate) fn misses(options: &Options) -> Vec<Case> {
    let (nodes, prefixes) = (options.nodes as usize, options.prefixes as usize);
    let (tables, addresses) = world::with_random_prefixes(nodes, prefixes, options.seed);
    let tables = Rc::new(tables);
    let data = vec![7; options.payload.into()];
    let frames = addresses.iter().map(|dst| plain(&Ip::udp(world::native(1), *dst, (1024, 80), &data)));
    let traffic = Rc::new(Traffic::of(ACCESS, frames));
    let bar = || Bar::Nanos(60.0, 30.0);
    let how = |distance| (distance, Expect::Sent);
    vec![
        lookups(bar(), options, &tables, addresses),
        path("miss/encap/near".into(), bar(), options, &tables, traffic.clone(), how(Distance::Near)),
        path("miss/encap/far".into(), bar(), options, &tables, traffic, how(Distance::Far)),
    ]
}

/// What a miss costs alone: asked for, looked up, remembered; a burst at a time, as the path does it.
fn lookups(bar: Bar, options: &Options, tables: &Rc<Tables>, addresses: Vec<[u8; 4]>) -> Case {
    let (tables, mut cache) = (tables.clone(), memory(options).cache);
    let (packets, burst, mut at) = (options.packets as usize, options.burst as usize, 0);
    let addresses: Vec<Ipv4Addr> =
        addresses.into_iter().cycle().take(packets.max(1 << 20)).map(Ipv4Addr::from).collect();
    let round = move |bench: &mut Bench<'_>| {
        cache.follow(&tables);
        let (mut missing, mut told) = (Vec::with_capacity(burst), vec![Packed::NONE; burst]);
        at = if at + packets > addresses.len() { 0 } else { at };
        let asked = &addresses[at..at + packets];
        let ticks = bench.meter.take(|| {
            for burst in asked.chunks(burst) {
                missing.clear();
                missing.extend(burst.iter().filter(|dst| cache.get(Domain(0), **dst).is_none()));
                tables.lookup_many(&missing, &mut told);
                for (dst, advice) in missing.iter().zip(&told) {
                    if let Some(action) = advice.unpack() {
                        cache.put(Domain(0), *dst, black_box(action));
                    }
                }
            }
        });
        at += packets;
        Sample { ticks, items: packets as u64 }
    };
    Case { name: "miss/lookup".into(), bar, round: Box::new(round) }
}
