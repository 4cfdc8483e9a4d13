//! The report: what was measured, as JSON; and from that alone the Markdown, the HTML page and the pictures.

mod bars;
mod html;
mod manifest;
mod markdown;
mod plot;

use std::fs;
use std::path::Path;

use serde::Serialize;

pub(crate) use self::bars::{Bar, InMemory, bars};
pub(crate) use self::manifest::{Manifest, manifest, now};
use crate::Result;
use crate::ledger::Drops;
use crate::peers::Peer;
use crate::stats::Spread;
use crate::workload::Workload;

/// Everything one run found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Of this shape of JSON.
    pub(crate) version: u32,
    pub(crate) manifest: Manifest,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    /// Of the searches: the interval left at the end, as a share; and the trials a rate may take.
    pub(crate) resolution: f64,
    pub(crate) tries: usize,
    /// Systems, and why those that did not run did not.
    pub(crate) systems: Vec<SystemNote>,
    pub(crate) rates: Vec<RateResult>,
    pub(crate) searches: Vec<SearchResult>,
    pub(crate) latencies: Vec<LatencyResult>,
    pub(crate) costs: Vec<CostResult>,
    pub(crate) reload: Option<Reload>,
    pub(crate) in_memory: Vec<InMemory>,
    pub(crate) bars: Vec<Bar>,
    /// What was not measured, and why.
    pub(crate) omitted: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct SystemNote {
    pub(crate) peer: Peer,
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Why it could not run here.
    pub(crate) missing: Option<String>,
}

/// Maximum rate of one system under one workload.
#[derive(Debug, Serialize)]
pub(crate) struct RateResult {
    pub(crate) peer: Peer,
    pub(crate) workload: Workload,
    /// Packets a second that arrived, a trial each.
    pub(crate) pps: Spread,
    pub(crate) offered_pps: f64,
    /// Trials that other programs disturbed in spite of repetition, among those in `pps`.
    pub(crate) disturbed: usize,
    /// Trials whose books did not balance, or that were disturbed; repeated, and not in `pps`.
    pub(crate) void: Vec<Void>,
    /// False when no trial's books balanced: the figure is not audited.
    pub(crate) audited: bool,
    /// Where packets were lost in the last valid trial.
    pub(crate) drops: Drops,
}

#[derive(Debug, Serialize)]
pub(crate) struct Void {
    pub(crate) unaccounted: i64,
    pub(crate) wrong: u64,
    pub(crate) sent: u64,
    /// CPU time of other programs, as a share of one core.
    pub(crate) others: f64,
}

/// The highest rates without loss, and with half a percent.
#[derive(Debug, Serialize)]
pub(crate) struct SearchResult {
    pub(crate) peer: Peer,
    pub(crate) workload: Workload,
    pub(crate) ndr_pps: f64,
    pub(crate) pdr_pps: f64,
    /// Every trial: rate, share lost (`null`: void).
    pub(crate) trials: Vec<(f64, Option<f64>)>,
}

/// Latency of one system at one load.
#[derive(Debug, Serialize)]
pub(crate) struct LatencyResult {
    pub(crate) peer: Peer,
    pub(crate) workload: Workload,
    /// Percent of the system's own NDR; 0: at half of the kernel's, for comparison.
    pub(crate) load: u32,
    pub(crate) pps: f64,
    /// Share of packets lost, the worst trial.
    pub(crate) loss: f64,
    /// Over the trials, µs.
    pub(crate) p50_us: Spread,
    pub(crate) p99_us: Spread,
    pub(crate) p999_us: Spread,
    pub(crate) max_us: Spread,
    /// How late the generator itself was at p99, µs.
    pub(crate) late_p99_us: f64,
}

/// What a packet costs the gateway's process.
#[derive(Debug, Serialize)]
pub(crate) struct CostResult {
    pub(crate) peer: Peer,
    pub(crate) workload: Workload,
    pub(crate) cpu_ns_a_packet: f64,
    /// `null` where `perf` is not to be had.
    pub(crate) syscalls_a_packet: Option<f64>,
}

/// Latency over time while the gateway takes over a changed configuration.
#[derive(Debug, Serialize)]
pub(crate) struct Reload {
    pub(crate) workload: Workload,
    pub(crate) pps: f64,
    /// When the file changed, seconds from the start.
    pub(crate) at: f64,
    pub(crate) change: String,
    pub(crate) lost: u64,
    /// How late the generator was at most: after that it sends at once what is due, and rings may overflow of it.
    pub(crate) generator_late_us: f64,
    /// Measurements in which the generator was later than rings last; repeated.
    pub(crate) repeated: usize,
    /// A row an interval: seconds from the start, then p50, p99 and the largest, µs.
    pub(crate) points: Vec<[f64; 4]>,
}

impl Report {
    /// The median maximum rate of a system under a workload.
    pub(crate) fn rate(&self, peer: Peer, workload: &Workload) -> Option<Spread> {
        self.rates.iter().find(|r| r.peer == peer && r.workload == *workload).map(|r| r.pps)
    }

    /// Workloads in the order they were measured, each once.
    fn workloads(&self) -> Vec<&Workload> {
        let mut all: Vec<&Workload> = Vec::new();
        for result in &self.rates {
            if !all.contains(&&result.workload) {
                all.push(&result.workload);
            }
        }
        all
    }

    /// Systems that have a maximum rate.
    fn peers(&self) -> Vec<Peer> {
        Peer::ALL.into_iter().filter(|p| self.rates.iter().any(|r| r.peer == *p)).collect()
    }

    /// Writes all files of the report.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        let file = |name: &str, text: String| fs::write(dir.join(name), text);
        file("report.json", serde_json::to_string_pretty(self)? + "\n")?;
        file("manifest.json", serde_json::to_string_pretty(&self.manifest)? + "\n")?;
        file("report.md", markdown::page(self))?;
        let pictures = plot::all(self)?;
        if let Some(headline) = pictures.first() {
            file("headline.svg", headline.svg.clone())?;
        }
        file("report.html", html::page(self, &pictures))?;
        Ok(())
    }
}
