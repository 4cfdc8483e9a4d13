//! `perf/route-updates`: a production worker under load, over ports in memory, while the production control plane changes
//! routes beside it; what a start with many routes takes; and what routes weigh.
//!
//! Each round offers the same share of the capacity measured in it twice, without changes and with them, in an order
//! that alternates. Packets are timed from when they were due, so that a stall costs all that wait for it.

mod churn;
#[path = "../../tests/support/mod.rs"]
mod gateway;
mod report;
mod start;
mod traffic;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use core_affinity::CoreId;
use selvedge::tables::handover::channel;
use serde_json::json;

use churn::{Changed, Churn};
use report::{Report, Round};
use traffic::Line;
use world::Control;

/// Route changes a second beside packets: loss, latency, and how soon a change is in force.
#[derive(Debug, Parser)]
#[command(name = "route-updates")]
struct Options {
    /// Rounds, each without and with changes
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Seconds of each half of a round
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Changes a second
    #[arg(long, default_value_t = 250_000.0)]
    rate: f64,
    /// Microseconds between two published versions
    #[arg(long, default_value_t = 500)]
    every_us: u64,
    /// Pods with a route each
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=4_000_000))]
    pods: u32,
    /// Pods that packets go to
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    flows: u32,
    /// Share of the measured capacity that is offered
    #[arg(long, default_value_t = 0.8)]
    load: f64,
    /// Entries of the RX and fill rings
    #[arg(long, default_value_t = 4_096)]
    ring: usize,
    /// Routes of which the memory is counted
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=4_000_000))]
    memory_routes: u32,
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
    let starts = (0..options.rounds).map(|_| start::start(&text)).collect();
    let memory_routes = options.memory_routes as usize;
    Report {
        options: json!({
            "rounds": options.rounds, "seconds": options.seconds, "rate": options.rate, "every_us": options.every_us,
            "pods": options.pods, "flows": options.flows, "load": options.load, "ring": options.ring,
            "memory_routes": memory_routes, "seed": options.seed,
        }),
        rounds: rounds(options),
        starts,
        memory: start::memory(memory_routes),
        memory_routes,
    }
}

/// What rounds are made with.
struct Bed {
    churn: Churn,
    line: Line,
    /// Those this process may use, asked for before any thread was pinned.
    cores: Vec<CoreId>,
}

fn rounds(options: &Options) -> Vec<Round> {
    let (pods, cores) = (options.pods as usize, core_affinity::get_core_ids().unwrap_or_default());
    let mut control = Control::with_routes(pods);
    let (publisher, mut subscribers) = channel(1, control.publish());
    let subscriber = subscribers.pop().expect("one worker");
    let churn = Churn::new(control, publisher, pods, options.seed);
    let line = Line::new(subscriber, (options.flows as usize, pods), options.ring);
    let mut bed = Bed { churn, line, cores };
    pin(&bed.cores, 0);
    bed.line.capacity(Duration::from_millis(200)); // caches, pages and clocks come up
    let rounds = (0..options.rounds).map(|n| bed.round(options, n.is_multiple_of(2))).collect();
    let (routes, should) = bed.churn.routes();
    assert_eq!(routes, should, "the tables have the routes that are in force");
    rounds
}

impl Bed {
    fn round(&mut self, options: &Options, still_first: bool) -> Round {
        let (short, time) = (Duration::from_millis(100), Duration::from_secs_f64(options.seconds));
        let capacity = self.line.capacity(short);
        let offered = capacity * options.load;
        let (capacity_changing, _) = self.while_changing(options, |line| line.capacity(short));
        let before = still_first.then(|| self.line.open_loop(time, offered));
        let (changing, changed) = self.while_changing(options, |line| line.open_loop(time, offered));
        let still = before.unwrap_or_else(|| self.line.open_loop(time, offered));
        Round { capacity, capacity_changing, offered, still, changing, changed }
    }

    /// Does `work` on this thread, while another one changes routes.
    fn while_changing<T>(&mut self, options: &Options, work: impl FnOnce(&mut Line) -> T) -> (T, Changed) {
        let (stop, every) = (AtomicBool::new(false), Duration::from_micros(options.every_us));
        let Self { churn, line, cores } = self;
        std::thread::scope(|scope| {
            let changing = scope.spawn(|| {
                pin(cores, 1);
                churn.run(options.rate, every, &stop)
            });
            let done = work(line);
            stop.store(true, Ordering::Relaxed);
            (done, changing.join().expect("the control plane does not panic"))
        })
    }
}

/// Keeps this thread on the n-th of these cores, if there are as many.
fn pin(cores: &[CoreId], n: usize) {
    if let Some(core) = cores.get(n) {
        core_affinity::set_for_current(*core);
    }
}
