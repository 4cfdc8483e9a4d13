//! The whole turn of a worker, its rings alone, and parts that everything is made of.

use super::Random;
use super::gateway::{ACCESS, Hand, UNDERLAY, rings, settings, worker};
use super::options::Options;
use super::rounds::{Bar, Bench, Case, Sample};
use super::traffic::{Journey, Traffic};
use super::world::{self, Net, Size};
use selvedge::port::{Backing, Burst, MemPort, Pool, Port, Umem};
use selvedge::tables::{Action, Domain, FlowCache, PeerId};
use selvedge::worker::latency::Histogram;
use selvedge::worker::{Clock, Monotonic};
use std::hint::black_box;
use std::net::Ipv4Addr;

/// Whole turns of the production worker, in-memory rings and their copy of each frame included.
pub(crate) fn turns(options: &Options) -> Vec<Case> {
    each(options, turn)
}

/// What in-memory rings cost, with nobody deciding anything.
pub(crate) fn rings_alone(options: &Options) -> Vec<Case> {
    each(options, ring)
}

fn each(options: &Options, make: fn(Journey, &Options, &Traffic) -> Case) -> Vec<Case> {
    let size = Size { nodes: options.nodes as usize, pods: 1_000, flows: 1_000 };
    let traffic = |journey| Traffic::flows(journey, size, options.payload.into(), options.seed);
    Journey::ALL.map(|journey| make(journey, options, &traffic(journey))).into()
}

fn turn(journey: Journey, options: &Options, traffic: &Traffic) -> Case {
    // valgrind shows no vDSO: whoever counts goes without the clock's instructions
    match options.count {
        true => turn_by(Hand::default(), journey, options, traffic),
        false => turn_by(Monotonic, journey, options, traffic),
    }
}

fn turn_by<C: Clock + 'static>(clock: C, journey: Journey, options: &Options, traffic: &Traffic) -> Case {
    let (mut worker, publisher, tables) = worker(world::writer(options.nodes as usize), rings(), clock);
    for port in [UNDERLAY, ACCESS] {
        worker.wire(port).1.count_only();
    }
    worker.turn();
    worker.wire(traffic.port).1.feed(traffic.frames());
    let packets = u64::from(options.packets);
    let round = move |bench: &mut Bench<'_>| {
        let (_, _) = (&publisher, &tables); // who goes away closes the channel
        let mut received = 0;
        let ticks = bench.meter.take(|| {
            while received < packets {
                received += worker.turn() as u64;
            }
        });
        let stats = worker.stats();
        assert_eq!((stats.drops.total(), stats.received()), (0, stats.accounted()), "only forwarding is measured");
        Sample { ticks, items: received }
    };
    Case { name: format!("turn/{}", journey.name()), bar: Bar::None, round: Box::new(round) }
}

/// Received by one port, sent by another, as a worker does.
fn ring(journey: Journey, options: &Options, traffic: &Traffic) -> Case {
    let mut pool = Pool::new(Umem::new(2048, 2048, Backing::Pages).unwrap()).unwrap();
    let mut ports = [MemPort::new(rings()), MemPort::new(rings())];
    for port in &mut ports {
        port.count_only();
        port.service(&mut pool);
    }
    ports[0].feed(traffic.frames());
    let (mut received, mut leaving) = (Burst::new(settings().burst), Burst::new(settings().burst));
    let packets = options.packets as usize;
    let round = move |bench: &mut Bench<'_>| {
        let mut done = 0;
        let ticks = bench.meter.take(|| {
            while done < packets {
                done += ports[0].rx(&mut pool, &mut received);
                while let Some(frame) = received.pop_front() {
                    leaving.push(frame).expect("as much room as in the other");
                }
                ports[1].tx(&mut pool, &mut leaving);
                ports.iter_mut().for_each(|port| port.service(&mut pool));
            }
        });
        Sample { ticks, items: done as u64 }
    };
    Case { name: format!("rings/{}", journey.name()), bar: Bar::None, round: Box::new(round) }
}

/// Values recorded, as they come: a few microseconds, with a tail.
pub(crate) fn histogram(options: &Options) -> Vec<Case> {
    let values: Vec<u64> =
        (0..4096u64).map(|n| 2_000 + n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (1 << (11 + n % 8))).collect();
    [1, 4, options.burst.into()]
        .map(|burst: u64| {
            let (values, mut histogram) = (values.clone(), Box::<Histogram>::default());
            let round = move |bench: &mut Bench<'_>| {
                let ticks = bench.meter.take(|| {
                    for nanos in &values {
                        histogram.record(black_box(*nanos), burst);
                    }
                });
                Sample { ticks, items: values.len() as u64 * burst }
            };
            Case { name: format!("histogram/{burst}-a-burst"), bar: Bar::Nanos(2.0, 2.0), round: Box::new(round) }
        })
        .into()
}

/// Lookups of pods that the flow cache holds.
pub(crate) fn hits(options: &Options) -> Vec<Case> {
    [("1k", 1_000), ("64k", 65_536)].map(|(label, pods)| hit(label, pods, options)).into()
}

fn hit(label: &str, pods: usize, options: &Options) -> Case {
    let (nodes, packets) = (pods.div_ceil(250).max(64), options.packets as usize);
    // as much room again, so that nearly none is pushed out: what is asked for is what it holds
    let mut cache = FlowCache::new(2 * pods, settings().hasher);
    let all: Vec<Ipv4Addr> = (0..pods).map(|n| world::pod(Net::Blue, n, nodes).into()).collect();
    all.iter().for_each(|pod| cache.put(Domain(1), *pod, Action::Encap(PeerId(1))));
    let held: Vec<_> = all.into_iter().filter(|pod| !cache.get(Domain(1), *pod).is_none()).collect();
    let mut random = Random(options.seed);
    let asked: Vec<_> = (0..packets).map(|_| held[random.below(held.len())]).collect();
    let round = move |bench: &mut Bench<'_>| {
        let ticks = bench.meter.take(|| {
            for pod in &asked {
                black_box(cache.get(Domain(1), *pod));
            }
        });
        Sample { ticks, items: packets as u64 }
    };
    Case { name: format!("cache/get/{label}"), bar: Bar::None, round: Box::new(round) }
}
