//! The bars the project holds itself to, each with what was measured.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Report;
use crate::Result;
use crate::peers::Peer;
use crate::workload::{Journey, Size};

/// One bar.
#[derive(Debug, Serialize)]
pub(crate) struct Bar {
    pub(crate) what: String,
    /// In words, with its direction.
    pub(crate) least: String,
    pub(crate) aim: String,
    pub(crate) measured: Option<f64>,
    pub(crate) met: Option<bool>,
}

/// A figure of the in-memory benchmarks, taken over from a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InMemory {
    pub(crate) name: String,
    /// Nanoseconds a packet.
    pub(crate) ns: f64,
    /// Core cycles a packet.
    pub(crate) cycles: f64,
}

impl InMemory {
    /// Reads a list of figures, `[{"name": …, "ns": …, "cycles": …}, …]`.
    pub(crate) fn read(file: &Path) -> Result<Vec<Self>> {
        let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        Ok(serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?)
    }
}

/// Ratios wanted for encap, decap and transit: at least, and the aim.
struct Ratios {
    what: &'static str,
    ours: Peer,
    theirs: Peer,
    least: [f64; 3],
    aim: [f64; 3],
}

const RATIOS: [Ratios; 3] = [
    Ratios {
        what: "64 B, 1 k flows, against the kernel's vxlan path",
        ours: Peer::Selvedge,
        theirs: Peer::Kernel,
        least: [2.1, 2.0, 2.4],
        aim: [2.5, 2.4, 3.2],
    },
    Ratios {
        what: "64 B, 1 k flows, worker and receive processing on one core, against the kernel's vxlan path",
        ours: Peer::SelvedgeOneCore,
        theirs: Peer::Kernel,
        least: [1.3, 1.2, 1.8],
        aim: [1.6; 3],
    },
    Ratios {
        what: "two cores, against Open vSwitch over AF_XDP",
        ours: Peer::Selvedge,
        theirs: Peer::Ovs,
        least: [1.15; 3],
        aim: [1.4; 3],
    },
];

/// Every end-to-end bar.
pub(crate) fn bars(report: &Report) -> Vec<Bar> {
    let journeys = [Journey::Encap, Journey::Decap, Journey::Transit];
    let mut bars = Vec::new();
    for r in &RATIOS {
        for (n, journey) in journeys.iter().enumerate() {
            let measured = rate(report, r.ours, *journey).zip(rate(report, r.theirs, *journey)).map(|(a, b)| a / b);
            bars.push(Bar {
                what: format!("{journey}: {}", r.what),
                least: format!("≥ {}×", r.least[n]),
                aim: format!("{}×", r.aim[n]),
                measured,
                met: measured.map(|m| m >= r.least[n]),
            });
        }
    }
    for journey in journeys {
        let p99 = |peer| {
            let at = |l: &&super::LatencyResult| l.peer == peer && l.load == 0 && l.workload.journey == journey;
            report.latencies.iter().find(at).map(|l| l.p99_us.median)
        };
        let measured = p99(Peer::Selvedge).zip(p99(Peer::Kernel)).map(|(a, b)| a / b);
        bars.push(Bar {
            what: format!("{journey}: p99 latency at half of the kernel path's NDR, against it"),
            least: "≤ 1.0×".into(),
            aim: "0.5×".into(),
            measured,
            met: measured.map(|m| m <= 1.0),
        });
    }
    for cost in report.costs.iter().filter(|c| c.peer == Peer::Selvedge) {
        bars.push(Bar {
            what: format!("{}: system calls a packet in copy mode under load", cost.workload.journey),
            least: "≤ 1/24 = 0.042".into(),
            aim: "1/128 = 0.0078".into(),
            measured: cost.syscalls_a_packet,
            met: cost.syscalls_a_packet.map(|s| s <= 1.0 / 24.0),
        });
    }
    bars
}

/// The median rate at the bars' workload: 64 B, and of the flow counts measured the one nearest to a thousand.
fn rate(report: &Report, peer: Peer, journey: Journey) -> Option<f64> {
    let fits =
        |r: &&super::RateResult| r.peer == peer && r.workload.journey == journey && r.workload.size == Size::Fixed(64);
    let nearest = |r: &&super::RateResult| r.workload.flows.abs_diff(1000);
    report.rates.iter().filter(fits).min_by_key(nearest).map(|r| r.pps.median)
}
