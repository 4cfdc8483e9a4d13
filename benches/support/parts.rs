//! The whole turn of a worker, its rings alone, and parts that everything is made of.

use super::gateway::{ACCESS, UNDERLAY, rings, settings, worker};
use super::options::Options;
use super::rounds::{Bar, Bench, Case};
use super::traffic::{Journey, Traffic};
use super::world::{self, Size};
use selvedge::port::{Backing, Burst, MemPort, Pool, Port, Umem};
use selvedge::worker::Monotonic;
use selvedge::worker::latency::Histogram;
use std::hint::black_box;

/// Whole turns of the production worker, in-memory rings and their copy of each frame included; and those rings alone,
/// with nobody deciding anything.
pub(crate) fn turns(options: &Options) -> Vec<Case> {
    let size = Size { nodes: options.nodes as usize, pods: 1_000, flows: 1_000 };
    let mut cases = Vec::new();
    for journey in Journey::ALL {
        let traffic = Traffic::flows(journey, size, options.payload.into(), options.seed);
        cases.push(turn(journey, options, &traffic));
        cases.push(rings_alone(journey, options, &traffic));
    }
    cases
}

fn turn(journey: Journey, options: &Options, traffic: &Traffic) -> Case {
    let (mut worker, publisher, tables) = worker(world::writer(options.nodes as usize), rings(), Monotonic);
    for port in [UNDERLAY, ACCESS] {
        worker.wire(port).1.count_only();
    }
    worker.turn();
    worker.wire(traffic.port).1.feed(traffic.frames());
    let packets = u64::from(options.packets);
    let round = move |bench: &mut Bench<'_>| {
        let (_, _) = (&publisher, &tables); // who goes away closes the channel
        let mut received = 0;
        let ticks = bench.clock.time(|| {
            while received < packets {
                received += worker.turn() as u64;
            }
        });
        let stats = worker.stats();
        assert_eq!((stats.drops.total(), stats.received()), (0, stats.accounted()), "only forwarding is measured");
        ticks as f64 / received as f64
    };
    Case { name: format!("turn/{}", journey.name()), bar: Bar::None, round: Box::new(round) }
}

/// What in-memory rings cost: received by one port, sent by another, as a worker does.
fn rings_alone(journey: Journey, options: &Options, traffic: &Traffic) -> Case {
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
        let ticks = bench.clock.time(|| {
            while done < packets {
                done += ports[0].rx(&mut pool, &mut received);
                while let Some(frame) = received.pop_front() {
                    leaving.push(frame).expect("as much room as in the other");
                }
                ports[1].tx(&mut pool, &mut leaving);
                ports.iter_mut().for_each(|port| port.service(&mut pool));
            }
        });
        ticks as f64 / done as f64
    };
    Case { name: format!("turn/{}-rings-alone", journey.name()), bar: Bar::None, round: Box::new(round) }
}

/// Values recorded, as they come: a few microseconds, with a tail.
pub(crate) fn histogram(options: &Options) -> Vec<Case> {
    let values: Vec<u64> =
        (0..4096u64).map(|n| 2_000 + n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (1 << (11 + n % 8))).collect();
    [1, 4, options.burst.into()]
        .map(|burst: u64| {
            let (values, mut histogram) = (values.clone(), Box::<Histogram>::default());
            let round = move |bench: &mut Bench<'_>| {
                let ticks = bench.clock.time(|| {
                    for nanos in &values {
                        histogram.record(black_box(*nanos), burst);
                    }
                });
                ticks as f64 / (values.len() as u64 * burst) as f64
            };
            Case { name: format!("histogram/{burst}-a-burst"), bar: Bar::Nanos(2.0, 2.0), round: Box::new(round) }
        })
        .into()
}
