//! A quick look: the gateway against the kernel in one journey, for whoever changes the gateway.

use std::path::PathBuf;

use selvedge::lab::Lab;

use crate::Result;
use crate::bed::{Bed, MOST_NODES};
use crate::peers::{self, Cores, Peer, Settings};
use crate::priority;
use crate::stats::Spread;
use crate::trial::Bench;
use crate::workload::{Journey, Size, Workload};

/// Namespaces of this command.
pub(crate) const TAG: &str = "perftry";

#[derive(Debug, clap::Args)]
pub(crate) struct TryArgs {
    /// Which way through the gateway
    journey: Journey,
    /// Interleaved rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each flood
    #[arg(long, default_value_t = 1.0)]
    secs: f64,
    /// Receive processing shares the worker's core
    #[arg(long)]
    one_core: bool,
    /// Frame size with check sequence, or `imix`
    #[arg(long, default_value = "64")]
    size: Size,
    /// Flows
    #[arg(long, default_value_t = 1000)]
    flows: u32,
    /// Nodes of each cluster
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_NODES)))]
    nodes: u32,
    /// Chooses ports and the order of the flows
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The system to compare with
    #[arg(long, default_value = "kernel")]
    against: Peer,
    /// A gateway program other than target/release/selvedge
    #[arg(long)]
    program: Option<PathBuf>,
    /// `section.key=value` of the gateway's configuration, as `workers.burst=32` or `xdp.busy_poll_us=50`
    #[arg(last = true)]
    overrides: Vec<String>,
}

pub(crate) fn run(args: &TryArgs) -> Result<()> {
    priority::raise()?;
    Lab::sweep(TAG)?;
    let pods = Workload::usual_pods(args.flows, args.nodes);
    let (journey, size, flows) = (args.journey, args.size.clone(), args.flows);
    let workload = Workload { journey, size, flows, pods, nodes: args.nodes, seed: args.seed };
    let cores = if args.one_core { Cores::Shared } else { Cores::Two };
    let overrides = args.overrides.iter().map(|line| {
        let (key, value) = line.split_once('=').ok_or_else(|| format!("`{line}`: section.key=value is wanted"))?;
        Ok((key.trim().to_string(), value.trim().to_string()))
    });
    let settings = Settings { cores, overrides: overrides.collect::<Result<_>>()?, program: args.program.clone() };
    let pair = [Peer::Selvedge, args.against];
    let beds = pair.iter().map(|_| Bed::new(TAG, args.nodes, 1)).collect::<Result<Vec<_>>>()?;
    let room = tempfile::tempdir()?;
    let start = |(peer, bed): (&Peer, _)| peers::start(*peer, bed, &settings, room.path());
    let systems = pair.iter().zip(&beds).map(start).collect::<Result<Vec<_>>>()?;
    let mut benches = Vec::new();
    for (bed, system) in beds.iter().zip(&systems) {
        system.wake(false)?;
        benches.push(Bench::new(bed, system.as_ref(), &workload)?);
    }
    println!("{workload}; {} rounds of {} s, in turn; Mpps received (offered)", args.rounds, args.secs);
    let mut rates = [vec![], vec![]];
    for round in 0..args.rounds {
        print!("round {}:", round + 1);
        for ((peer, bench), rates) in pair.iter().zip(&mut benches).zip(&mut rates) {
            let trial = bench.trial(None, args.secs)?;
            print!("  {} {:.3} ({:.1})", peer.name(), trial.rate / 1e6, trial.offered / 1e6);
            if !trial.undisturbed() {
                print!(" disturbed: others took {:.0} % of a core", trial.others * 100.0);
            }
            if !trial.balanced() {
                print!(" void: {} unaccounted, {} wrong, drops {:?}", trial.unaccounted, trial.wrong, trial.drops);
            }
            rates.push(trial.rate);
        }
        println!();
    }
    let [ours, theirs] = rates.map(|r| Spread::of(&r).map_or(0.0, |s| s.median));
    let (first, second) = (pair[0].name(), pair[1].name());
    println!("median: {first} {:.3}, {second} {:.3}, ratio {:.2}", ours / 1e6, theirs / 1e6, ours / theirs);
    Ok(())
}
