//! Latency over time while the gateway takes over a changed configuration.

use std::time::{Duration, Instant};

use crate::Result;
use crate::bed::Bed;
use crate::peers::{Settings, gateway};
use crate::report::Reload;
use crate::stats::Histogram;
use crate::trial::Bench;
use crate::workload::Workload;

/// How long the load lasts, when the file changes, and how often latency is read.
const SECONDS: f64 = 6.0;
const CHANGE: f64 = 3.0;
const STEP: Duration = Duration::from_millis(100);
/// Nodes of each cluster that the change adds.
const MORE: u32 = 500;

/// Loads a gateway of its own at `pps`, and gives it a longer file half-way.
pub(crate) fn measure(tag: &str, workload: &Workload, pps: f64) -> Result<Reload> {
    let mut bed = Bed::new(tag, workload.nodes, 1)?;
    let system = gateway(&bed, &Settings::default())?;
    bed.nodes += MORE;
    let mut bench = Bench::new(&bed, &system, workload)?;
    let (mut points, mut changed, mut before) = (Vec::new(), None, Histogram::default());
    let mut next = Instant::now() + STEP;
    let trial = bench.watched(pps as u64, SECONDS, |elapsed, now: &Histogram| {
        if changed.is_none() && elapsed >= CHANGE {
            changed = Some(elapsed);
            system.rewrite(&bed, &Settings::default())?;
        }
        if Instant::now() >= next {
            next += STEP;
            let step = now.since(&before);
            before = now.clone();
            if step.count() > 0 {
                points.push([elapsed, us(&step, 0.5), us(&step, 0.99), us(&step, 1.0)]);
            }
        }
        Ok(())
    })?;
    Ok(Reload {
        workload: workload.clone(),
        pps,
        at: changed.unwrap_or(CHANGE),
        change: format!("{MORE} nodes more in each cluster"),
        lost: trial.sent.saturating_sub(trial.received),
        points,
    })
}

fn us(histogram: &Histogram, q: f64) -> f64 {
    histogram.quantile(q) as f64 / 1e3
}
