//! `perf/run`: the gateway and its peers over the same workloads, in turn, and a report.

mod bed;
mod flood;
mod peers;
mod trial;
mod try_out;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What goes wrong here is told to a person, and ends the run.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Debug, Parser)]
#[command(name = "perf")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The gateway against the kernel, quickly: medians of interleaved rounds of one journey, and their ratio
    Try(try_out::TryArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Try(args) => try_out::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("perf: {e}");
            ExitCode::FAILURE
        }
    }
}
