//! `perf/route-updates`: a production worker under load, over ports in memory, while the production control plane changes
//! routes beside it; and what a start with many routes takes.
//!
//! Each round measures the capacity and offers a share of it twice, without changes and with them, in an order that
//! alternates; then it measures the capacity again. Packets are timed from when they were due, so that a stall costs all
//! that wait for it. The two loops never wait, and do little at a time: when an iteration took long, the machine had
//! stopped them, and the round is void; so it is when the two capacities differ. Void rounds are counted.

mod churn;
mod feeder;
#[path = "../../tests/support/mod.rs"]
mod gateway;
mod report;
mod stall;
mod start;
mod traffic;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use core_affinity::CoreId;
use serde_json::json;

use churn::{Changed, Pace};
use feeder::Feeder;
use report::{Half, Report, Round};
use traffic::Line;

/// As in the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Route changes a second beside packets: loss, latency, and how soon a change is in force.
#[derive(Debug, Parser)]
#[command(name = "route-updates")]
struct Options {
    /// Rounds, each without and with changes
    #[arg(long, default_value_t = 501, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Seconds of each half of a round
    #[arg(long, default_value_t = 0.03)]
    seconds: f64,
    /// Starts
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    starts: u32,
    /// Changes a second
    #[arg(long, default_value_t = 250_000.0)]
    rate: f64,
    /// Microseconds between two published versions
    #[arg(long, default_value_t = 800)]
    every_us: u64,
    /// Pods with a route each
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=4_000_000))]
    pods: u32,
    /// Pods that packets go to
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    flows: u32,
    /// Share that is offered of the capacity (without changes, the ring always full), which each round measures
    #[arg(long, default_value_t = 0.8)]
    load: f64,
    /// Packets a second that are offered, in place of a share
    #[arg(long)]
    load_pps: Option<f64>,
    /// Microseconds beyond which an iteration of a loop shows that the machine had stopped it
    #[arg(long, default_value_t = 200)]
    stall_us: u64,
    /// Entries of the RX and fill rings
    #[arg(long, default_value_t = 4_096)]
    ring: usize,
    /// Seed of all that is random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes all figures to this file, too
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let report = run(&options);
    print!("{}", report.table());
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report.json()).expect("plain numbers and words");
        if let Err(e) = std::fs::write(file, text + "\n") {
            eprintln!("route-updates: cannot write {}: {e}", file.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(options: &Options) -> Report {
    let pods = options.pods as usize;
    let text = start::file(pods);
    let starts = (0..options.starts).map(|_| start::start(&text)).collect();
    Report {
        options: json!({
            "rounds": options.rounds, "seconds": options.seconds, "starts": options.starts, "rate": options.rate,
            "every_us": options.every_us, "pods": options.pods, "flows": options.flows, "load": options.load,
            "load_pps": options.load_pps, "stall_us": options.stall_us, "ring": options.ring,
            "seed": options.seed,
        }),
        rounds: rounds(options),
        starts,
    }
}

/// What rounds are made with.
struct Bed {
    feeder: Feeder,
    line: Line,
    /// With changes.
    pace: Pace,
}

/// How long a capacity is measured.
const CAPACITY: Duration = Duration::from_millis(10);

fn rounds(options: &Options) -> Vec<Round> {
    let (pods, cores) = (options.pods as usize, core_affinity::get_core_ids().unwrap_or_default());
    let stall = Duration::from_micros(options.stall_us);
    pin(&cores, 0);
    let (feeder, subscriber) = Feeder::start(pods, options.seed, cores);
    let line = Line::new(subscriber, (options.flows as usize, pods), options.ring, stall);
    let pace = Pace { rate: options.rate, every: Duration::from_micros(options.every_us), stall };
    let mut bed = Bed { feeder, line, pace };
    bed.line.capacity(Duration::from_millis(200)); // caches, pages and clocks come up
    let rounds = (0..options.rounds).map(|n| bed.round(options, n.is_multiple_of(2))).collect();
    let (routes, should) = bed.feeder.end();
    assert_eq!(routes, should, "the tables have the routes that are in force");
    rounds
}

impl Bed {
    fn round(&mut self, options: &Options, still_first: bool) -> Round {
        let (changes, time) = (self.pace.rate, Duration::from_secs_f64(options.seconds));
        let (capacity_changing, _) = self.beside(changes, |line| line.capacity(CAPACITY));
        let (capacity, _) = self.beside(0.0, |line| line.capacity(CAPACITY));
        let offered = options.load_pps.unwrap_or(capacity * options.load);
        let mut half = |rate| {
            let nothing = self.line.nothing();
            let (passed, changed) = self.beside(rate, |line| line.open_loop(time, offered, nothing));
            Half { passed, changed }
        };
        let before = still_first.then(|| half(0.0));
        let changing = half(changes);
        let still = before.unwrap_or_else(|| half(0.0));
        let (capacity_after, _) = self.beside(0.0, |line| line.capacity(CAPACITY));
        Round { capacity, capacity_changing, capacity_after, offered, still, changing }
    }

    /// Does `work` on this thread, while another one changes routes at a rate, or only waits with as much zeal.
    fn beside<T>(&mut self, rate: f64, work: impl FnOnce(&mut Line) -> T) -> (T, Changed) {
        let pace = Pace { rate, ..self.pace };
        self.feeder.beside(pace, || work(&mut self.line))
    }
}

/// Keeps this thread on the n-th of these cores, if there are as many.
fn pin(cores: &[CoreId], n: usize) {
    if let Some(core) = cores.get(n) {
        core_affinity::set_for_current(*core);
    }
}
