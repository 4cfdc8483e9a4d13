//! Figures for people and programs.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::churn::Changed;
use super::start::{Memory, Start};
use super::traffic::Passed;

/// Median, least and most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut all: Vec<f64> = values.collect();
        all.sort_by(f64::total_cmp);
        Self { median: all[all.len() / 2], min: all[0], max: all[all.len() - 1] }
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

/// One round: the same traffic without changes and with them.
pub(crate) struct Round {
    /// Packets a second when there is always a burst, without changes.
    pub(crate) capacity: f64,
    /// The same with changes.
    pub(crate) capacity_changing: f64,
    /// Packets a second that were offered.
    pub(crate) offered: f64,
    pub(crate) still: Passed,
    pub(crate) changing: Passed,
    pub(crate) changed: Changed,
}

/// All of a run.
pub(crate) struct Report {
    pub(crate) options: Value,
    pub(crate) rounds: Vec<Round>,
    pub(crate) starts: Vec<Start>,
    pub(crate) memory: Memory,
    pub(crate) memory_routes: usize,
}

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

impl Report {
    fn spread(&self, of: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(of))
    }

    fn start(&self, of: impl Fn(&Start) -> f64) -> Spread {
        Spread::of(self.starts.iter().map(of))
    }

    /// Name, unit, digits, figure.
    fn lines(&self) -> Vec<(String, &'static str, usize, Spread)> {
        let mut all = Vec::new();
        let mut add = |name: &str, unit, digits, spread| all.push((name.to_owned(), unit, digits, spread));
        add("capacity without changes", "Mpps", 2, self.spread(|r| r.capacity / 1e6));
        add("capacity with changes", "Mpps", 2, self.spread(|r| r.capacity_changing / 1e6));
        add("offered", "Mpps", 2, self.spread(|r| r.offered / 1e6));
        add("lost without changes", "packets", 0, self.spread(|r| r.still.lost as f64));
        add("lost with changes", "packets", 0, self.spread(|r| r.changing.lost as f64));
        add("changes a second", "1/s", 0, self.spread(|r| r.changed.rate()));
        add("versions a second", "1/s", 0, self.spread(|r| r.changed.versions as f64 / r.changed.took.as_secs_f64()));
        add("control plane's share of its core", "%", 0, self.spread(|r| r.changed.cpu() * 100.0));
        for (name, q) in QUANTILES {
            let of = |h: &Histogram<u64>| h.value_at_quantile(q) as f64 / 1e3;
            add(&format!("latency {name} without changes"), "µs", 1, self.spread(|r| of(&r.still.latency)));
            add(&format!("latency {name} with changes"), "µs", 1, self.spread(|r| of(&r.changing.latency)));
            let ratio = |r: &Round| of(&r.changing.latency) / of(&r.still.latency).max(1e-3);
            add(&format!("latency {name}, ratio"), "×", 2, self.spread(ratio));
        }
        for (name, q) in QUANTILES {
            let of = |h: &Histogram<u64>| h.value_at_quantile(q) as f64 / 1e3;
            add(&format!("publish to adoption {name}"), "µs", 1, self.spread(|r| of(&r.changed.adoption)));
            add(&format!("change due to adoption {name}"), "µs", 1, self.spread(|r| of(&r.changed.visible)));
        }
        add("start: TOML alone", "ms", 1, self.start(|s| s.toml));
        add("start: text to configuration", "ms", 1, self.start(|s| s.config));
        add("start: configuration to tables", "ms", 1, self.start(|s| s.tables));
        add("start: text to tables", "ms", 1, self.start(|s| s.config + s.tables));
        all
    }

    fn memory(&self) -> [(&'static str, f64); 5] {
        let Memory { published, writer, rib, config } = self.memory;
        let all = published + writer + rib + config;
        [
            ("published tables", published),
            ("tables' writer", writer),
            ("RIB", rib),
            ("configuration", config),
            ("all", all),
        ]
        .map(|(name, bytes)| (name, bytes as f64 / f64::from(1 << 20)))
    }

    pub(crate) fn table(&self) -> String {
        let mut out = format!("{:<36} {:>12} {:>12} {:>12}  unit\n", "medians of rounds", "median", "least", "most");
        for (name, unit, d, s) in self.lines() {
            let _ = writeln!(out, "{name:<36} {:>12.d$} {:>12.d$} {:>12.d$}  {unit}", s.median, s.min, s.max);
        }
        let _ = writeln!(out, "\nmemory of {} routes, MiB", self.memory_routes);
        for (name, mib) in self.memory() {
            let _ = writeln!(out, "{name:<36} {mib:>12.1}");
        }
        out
    }

    pub(crate) fn json(&self) -> Value {
        let lines =
            self.lines().into_iter().map(|(name, unit, _, s)| (name, json!({ "unit": unit, "spread": s.json() })));
        json!({
            "options": self.options,
            "figures": lines.collect::<serde_json::Map<_, _>>(),
            "memory_mib": self.memory().into_iter().map(|(n, mib)| (n.to_owned(), json!(mib))).collect::<serde_json::Map<_, _>>(),
        })
    }
}
