//! Latency over time while the gateway takes over a changed configuration.

use std::time::Duration;

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

/// Entries of the gateway's rings: a generator that is later than these last overflows them when it catches up.
const RING: f64 = 4_096.0;
/// Measurements at most, until the generator is in time.
const PATIENCE: usize = 6;

/// Loads a gateway of its own at `pps`, and gives it a longer file half-way.
pub(crate) fn measure(tag: &str, workload: &Workload, pps: f64) -> Result<Reload> {
    let mut repeated = 0;
    loop {
        let reload = Reload { repeated, ..once(tag, workload, pps)? };
        repeated += 1;
        if reload.generator_late_us < 1e6 * RING / pps || repeated == PATIENCE {
            return Ok(reload);
        }
    }
}

fn once(tag: &str, workload: &Workload, pps: f64) -> Result<Reload> {
    let mut bed = Bed::new(tag, workload.nodes, 1)?;
    let system = gateway(&bed, &Settings::default())?;
    bed.nodes += MORE;
    let mut bench = Bench::new(&bed, &system, workload)?;
    let (mut points, mut changed, mut before) = (Vec::new(), None, Histogram::default());
    let trial = bench.watched(pps as u64, SECONDS, STEP, |elapsed, now: &Histogram| {
        if changed.is_none() && elapsed >= CHANGE {
            changed = Some(elapsed);
            system.rewrite(&bed, &Settings::default())?;
        }
        let step = now.since(&before);
        before = now.clone();
        if step.count() > 0 {
            points.push([elapsed, us(&step, 0.5), us(&step, 0.99), us(&step, 1.0)]);
        }
        Ok(())
    })?;
    Ok(Reload {
        workload: workload.clone(),
        pps,
        at: changed.unwrap_or(CHANGE),
        change: format!("{MORE} nodes more in each cluster"),
        lost: trial.sent.saturating_sub(trial.received),
        generator_late_us: trial.late_max_ns as f64 / 1e3,
        repeated: 0,
        points,
    })
}

fn us(histogram: &Histogram, q: f64) -> f64 {
    histogram.quantile(q) as f64 / 1e3
}
