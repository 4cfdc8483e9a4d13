//! `perf/run calls`: system calls a packet of the gateway while it is flooded, one line of JSON a trial.

use selvedge::lab::Lab;
use serde_json::json;

use crate::bed::Bed;
use crate::peers::{System, gateway};
use crate::trial::Bench;
use crate::workload::{Journey, Size, Workload};
use crate::{Result, priority, syscalls};

/// Namespaces of this command.
pub(crate) const TAG: &str = "calls";
/// Trials at one place, until one's books balance.
const PATIENCE: usize = 5;

#[derive(Debug, clap::Args)]
pub(crate) struct CallsArgs {
    /// Interleaved rounds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds of each trial
    #[arg(long, default_value_t = 1.0)]
    secs: f64,
    /// Nodes of each cluster
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    nodes: u32,
    /// Number of flows
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=262_144))]
    flows: u32,
}

pub(crate) fn run(args: &CallsArgs) -> Result<()> {
    priority::raise()?;
    Lab::sweep(TAG)?;
    let bed = Bed::new(TAG, args.nodes, 1)?;
    let system = gateway(&bed, &Default::default())?;
    let pods = Workload::usual_pods(args.flows, args.nodes);
    for _ in 0..args.rounds {
        for journey in [Journey::Encap, Journey::Decap, Journey::Transit] {
            let size = Size::Fixed(64);
            let workload = Workload { journey, size, flows: args.flows, pods, nodes: args.nodes, seed: 1 };
            let (packets, calls) = trial(&mut Bench::new(&bed, &system, &workload)?, &system, args.secs)?;
            println!("{}", json!({ "journey": journey.name(), "packets": packets, "calls": calls }));
        }
    }
    Ok(())
}

/// Packets that arrived in a flood, and the system calls of the gateway's process meanwhile.
fn trial(bench: &mut Bench<'_>, system: &impl System, seconds: f64) -> Result<(u64, u64)> {
    let process = system.process().ok_or("the gateway has no process")?;
    for _ in 0..PATIENCE {
        let counting = syscalls::count(process).ok_or("perf cannot count system calls here (Debian: linux-perf)")?;
        let trial = bench.trial(None, seconds)?;
        let calls = counting.finish().ok_or("perf counted no system calls")?;
        if trial.balanced() {
            return Ok((trial.received, calls));
        }
    }
    Err(format!("the books of {PATIENCE} trials in a row do not balance").into())
}
