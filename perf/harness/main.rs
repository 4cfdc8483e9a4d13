//! `perf/run`: the gateway and its peers over the same workloads, in turn, and a report.

mod bed;
mod calls;
mod flood;
mod foreign;
mod ledger;
mod options;
mod peers;
mod priority;
mod reload;
mod report;
mod search;
mod stats;
mod suite;
mod syscalls;
mod trial;
mod try_out;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use selvedge::lab::Lab;

/// What goes wrong here is told to a person, and ends the run.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Debug, Parser)]
#[command(name = "perf/run", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: options::Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The gateway against the kernel, quickly: medians of interleaved rounds of one journey, and their ratio
    Try(try_out::TryArgs),
    /// System calls a packet of the gateway under a flood; perf/syscalls holds them to what was recorded
    Calls(calls::CallsArgs),
    /// Remove what a run that was killed has left: its processes and namespaces
    Sweep,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Some(Command::Try(args)) => try_out::run(args),
        Some(Command::Calls(args)) => calls::run(args),
        Some(Command::Sweep) => sweep(),
        None => suite::run(&cli.options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("perf: {e}");
            ExitCode::FAILURE
        }
    }
}

fn sweep() -> Result<()> {
    for tag in [suite::TAG, try_out::TAG, calls::TAG] {
        for name in Lab::sweep(tag)? {
            eprintln!("perf: removed {name}");
        }
    }
    Ok(())
}
