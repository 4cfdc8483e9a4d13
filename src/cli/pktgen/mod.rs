//! `selvedge pktgen`: a load generator and a receiver over AF_XDP, to measure a gateway with.
//!
//! The sender works in open loop: each packet has a time at which it should leave, which it carries, and latency is
//! counted from that time. So a system under test that stalls does not slow down the clock it is measured by. The
//! receiver knows what every packet should say and names what is wrong with one. In the end the counts of both, of the
//! rings, of the XDP program and of the interfaces must agree, or the run says that it proves nothing.
//!
//! Reading order: [`options`] and `plan` (what is asked for), `flows`, `choice` and `frame` (which packets), `sender`,
//! `receiver` with `check` and `sequence` (what arrived), `books`, [`Report`] (the JSON) and `table`.

mod books;
mod check;
mod choice;
mod counters;
mod damage;
mod export;
mod flows;
mod frame;
mod live;
pub mod options;
mod payload;
mod plan;
mod receiver;
mod report;
mod run;
mod sender;
mod sequence;
mod table;
mod view;

use std::io;
use std::process::ExitCode;

use hdrhistogram::Histogram as Hdr;
use rustix::time::{ClockId, clock_gettime};

use super::args::Exit;
use super::stop::Stop;
use crate::port::PortError;
pub use books::{Books, FlowCounts};
pub use counters::InterfaceCounts;
pub use damage::{Damage, DamageCounts};
pub use options::{PktgenCommand, PktgenOptions};
pub use report::{Hops, Percentiles, Report, ZeroCopy};

/// Latencies from here on, 18 minutes in nanoseconds, count as this.
const LONGEST: u64 = 1 << 40;

/// Why there was no run.
#[derive(Debug)]
pub enum PktgenError {
    /// The options do not go together.
    Usage(String),
    /// This host cannot do it.
    Host(String),
    /// A socket or a program could not be set up.
    Port(PortError),
    /// Something else failed: what, and what the system said.
    System(&'static str, io::Error),
}

impl std::fmt::Display for PktgenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(what) | Self::Host(what) => f.write_str(what),
            Self::Port(e) => e.fmt(f),
            Self::System(what, e) => write!(f, "{what}: {e}"),
        }
    }
}

impl std::error::Error for PktgenError {}

impl From<PortError> for PktgenError {
    fn from(e: PortError) -> Self {
        Self::Port(e)
    }
}

impl PktgenError {
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Host(_) | Self::Port(_) => Exit::Host,
            Self::System(..) => Exit::Runtime,
        }
    }
}

/// CLOCK_MONOTONIC in nanoseconds: the same on all cores and in all namespaces.
#[inline]
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// An empty histogram of nanoseconds with three significant digits. It never grows.
fn histogram() -> Result<Hdr<u64>, PktgenError> {
    Hdr::new_with_max(LONGEST, 3).map_err(|e| PktgenError::System("making a histogram", io::Error::other(e)))
}

/// The command: does it, reports, and returns the exit code.
pub fn run(options: &PktgenOptions) -> ExitCode {
    let done = match &options.command {
        Some(PktgenCommand::Export(export)) => export::export(export).map(|told| (told, Exit::Ok)),
        None => measure(options),
    };
    let exit = match done {
        Ok((told, exit)) => {
            print!("{told}");
            exit
        }
        Err(error) => {
            eprintln!("selvedge pktgen: {error}");
            error.exit()
        }
    };
    exit.into()
}

fn measure(options: &PktgenOptions) -> Result<(String, Exit), PktgenError> {
    let stop = Stop::on_signals().map_err(|e| PktgenError::System("listening for signals", e))?;
    let report = run::run(&options.run, &stop)?;
    let told = if options.run.json { report.json() + "\n" } else { table::table(&report) };
    Ok((told, if report.sound { Exit::Ok } else { Exit::Runtime }))
}
