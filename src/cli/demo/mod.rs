//! `selvedge demo`: the whole product on one machine, in namespaces that are gone afterwards.
//!
//! It builds the network of [`crate::lab::two_clusters`], starts the real gateway in it as a child process, sends
//! every kind of traffic over every journey, shows what happens, and judges it. Whatever ends it, success, failure,
//! a panic or Ctrl-C, it removes what it made.
//!
//! Where the gateway learns the map from is the [`MapSource`]: its own file, or a server that the clusters keep it in.

#[cfg(feature = "etcd")]
mod etcd;
mod gateway;
mod host;
mod journeys;
mod live;
mod room;
mod summary;
mod view;

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::stop::Stop;
use crate::lab::scrape::Samples;
use crate::lab::{Lab, LabError, METRICS_ADDRESS, two_clusters};
use gateway::Gateway;
use journeys::Journey;

/// The tag of the demonstration's namespaces: `selv-demo-<pid>-…`.
const TAG: &str = "demo";
/// Echo requests a journey.
const ECHOES: u32 = 10;
/// Bytes a TCP transfer.
const TCP_BYTES: u64 = 64 << 20;

/// Where the gateway learns from which pods are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum MapSource {
    /// The gateway's config file; nodes are told of the gateway by hand
    #[default]
    File,
    /// flannel's keys in a real etcd, in which the gateway also registers itself; nodes come, move and go, and etcd is
    /// killed and comes back
    Etcd,
}

/// What the demonstration may be asked for.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct DemoOptions {
    /// Where the gateway learns from which pods are where
    #[arg(long, value_enum, default_value_t = MapSource::File, value_name = "SOURCE")]
    pub source: MapSource,
    /// Seconds of UDP load; with --source etcd at least as long as all that happens takes
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// UDP packets a second on each of the four journeys
    #[arg(long, default_value_t = 2500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// One line a second instead of a live view
    #[arg(long)]
    pub plain: bool,
    /// The program to run as the gateway, instead of this one
    #[arg(long, hide = true)]
    pub gateway: Option<PathBuf>,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { source: MapSource::File, seconds: 10, rate: 2500, plain: false, gateway: None }
    }
}

/// Why the demonstration did not end well.
#[derive(Debug)]
pub enum DemoError {
    /// The machine lacks something; the sentence says what.
    Host(String),
    /// The network could not be built.
    Lab(LabError),
    /// The gateway did not start, or ended early.
    Gateway(String),
    /// Somebody asked for the end.
    Interrupted,
    /// It ran to the end, and these expectations were not met.
    Failed(Vec<String>),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(what) => write!(f, "{what}"),
            Self::Lab(e) => write!(f, "building the network failed: {e}"),
            Self::Gateway(what) => write!(f, "{what}"),
            Self::Interrupted => write!(f, "interrupted; everything the demonstration made has been removed"),
            Self::Failed(list) => write!(f, "the demonstration failed:\n  {}", list.join("\n  ")),
        }
    }
}

impl std::error::Error for DemoError {}

impl From<LabError> for DemoError {
    fn from(e: LabError) -> Self {
        Self::Lab(e)
    }
}

impl Stop {
    /// For `?` between steps.
    fn check(&self) -> Result<(), DemoError> {
        if self.asked() { Err(DemoError::Interrupted) } else { Ok(()) }
    }
}

/// Runs the demonstration from the first check to the summary.
///
/// # Errors
/// See [`DemoError`]. By the time it returns, everything it made is gone; after a failure of the gateway its
/// configuration and log stay, and the error says where.
pub fn run(options: DemoOptions) -> Result<(), DemoError> {
    host::check_source(options.source)?;
    host::check()?;
    let stop = Stop::on_signals().map_err(|e| DemoError::Host(format!("cannot listen for signals: {e}")))?;
    let outcome = perform(&options, &stop);
    // An error met on the way out is the interruption's doing.
    if stop.asked() {
        room::discard();
        return Err(DemoError::Interrupted);
    }
    outcome
}

fn perform(options: &DemoOptions, stop: &Stop) -> Result<(), DemoError> {
    let swept = Lab::sweep(TAG)?;
    room::sweep();
    if !swept.is_empty() {
        say(format_args!("removed {} namespaces an earlier demonstration left behind", swept.len()));
    }
    let lab = Lab::new(TAG)?;
    say(format_args!("building two clusters, a native network and a gateway's place: {}-*", lab.instance()));
    match options.source {
        MapSource::File => from_file(&lab, options, stop),
        #[cfg(feature = "etcd")]
        MapSource::Etcd => etcd::perform(&lab, options, stop),
        #[cfg(not(feature = "etcd"))]
        MapSource::Etcd => host::check_source(options.source),
    }
}

/// All is said in the gateway's file, and to the nodes by hand.
fn from_file(lab: &Lab, options: &DemoOptions, stop: &Stop) -> Result<(), DemoError> {
    let topology = two_clusters(lab)?;
    stop.check()?;
    let config = topology.config_toml(METRICS_ADDRESS);
    let mut gateway = Gateway::launch(&topology, &config, options, stop)?;
    let mut journeys = journeys::all(&topology);
    one_by_one(&mut journeys, &mut gateway, stop)?;
    let before = live::run(&mut journeys, &mut gateway, options, stop)?;
    let mut failures = judge(&journeys, &gateway, &before);
    failures.extend(gateway.stop().err());
    verdict(gateway, failures)
}

/// Prints the last page, and returns every expectation that was not met. `before` are the metrics before the load.
fn judge(journeys: &[Journey], gateway: &Gateway, before: &Samples) -> Vec<String> {
    let samples = gateway.settled();
    let account = samples.as_ref().map(|now| summary::account(now, before)).unwrap_or_default();
    say(format_args!("\n{}{account}", summary::table(journeys)));
    summary::failures(journeys, samples.as_ref())
}

fn verdict(mut gateway: Gateway, mut failures: Vec<String>) -> Result<(), DemoError> {
    if failures.is_empty() {
        gateway.forget();
        say(format_args!("all journeys carried everything they were given"));
        return Ok(());
    }
    failures.push(format!("log of the gateway: {}", gateway.log().display()));
    Err(DemoError::Failed(failures))
}

/// Echoes and transfers, journey by journey: alone, each can be blamed.
fn one_by_one(journeys: &mut [Journey], gateway: &mut Gateway, stop: &Stop) -> Result<(), DemoError> {
    for journey in journeys {
        journey.ping(ECHOES)?;
        stop.check()?;
        journey.transfer(TCP_BYTES)?;
        stop.check()?;
        gateway.check_alive()?;
        say(format_args!("{}", summary::line(journey)));
    }
    Ok(())
}

/// Prints a line. A reader that went away is no reason to panic with namespaces in hand.
fn say(line: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// A duration as people read it.
fn human(duration: Duration) -> String {
    let us = duration.as_secs_f64() * 1e6;
    match us {
        _ if us < 10.0 => format!("{us:.1} µs"),
        _ if us < 1_000.0 => format!("{us:.0} µs"),
        _ if us < 10_000.0 => format!("{:.1} ms", us / 1e3),
        _ if us < 1e6 => format!("{:.0} ms", us / 1e3),
        _ => format!("{:.1} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_readable() {
        let cases = [(900, "0.9 µs"), (12_345, "12 µs"), (1_500_000, "1.5 ms"), (15_500_000, "16 ms")];
        for (ns, text) in cases {
            assert_eq!(human(Duration::from_nanos(ns)), text);
        }
        assert_eq!(human(Duration::from_millis(1500)), "1.5 s");
    }
}
