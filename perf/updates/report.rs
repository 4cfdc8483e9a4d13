//! Figures for people and programs.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::churn::{Changed, histogram};
use super::start::Start;
use super::traffic::Passed;

/// Median, least and most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// `None` of nothing.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut all: Vec<f64> = values.collect();
        all.sort_by(f64::total_cmp);
        Some(Self { median: *all.get(all.len() / 2)?, min: *all.first()?, max: *all.last()? })
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

/// Half a round: packets, and what went on beside them.
pub(crate) struct Half {
    pub(crate) passed: Passed,
    pub(crate) changed: Changed,
}

impl Half {
    fn stalls(&self) -> u64 {
        self.passed.stalls.count + self.changed.stalls.count
    }

    /// Microseconds.
    fn latency(&self, quantile: f64) -> f64 {
        self.passed.latency.value_at_quantile(quantile) as f64 / 1e3
    }
}

/// One round: the same traffic without changes and with them.
pub(crate) struct Round {
    /// Packets a second when the ring is always full, without changes and with them, and without them afterwards.
    pub(crate) capacity: f64,
    pub(crate) capacity_changing: f64,
    pub(crate) capacity_after: f64,
    /// Packets a second that were offered.
    pub(crate) offered: f64,
    pub(crate) still: Half,
    pub(crate) changing: Half,
}

impl Round {
    /// The machine stopped one of the loops.
    fn stalled(&self) -> bool {
        self.still.stalls() + self.changing.stalls() > 0
    }

    /// The machine was not as fast at the end as at the begin.
    fn wobbled(&self) -> bool {
        (self.capacity_after / self.capacity - 1.0).abs() > STEADY
    }

    fn is_valid(&self) -> bool {
        !self.stalled() && !self.wobbled()
    }
}

/// All of a run.
pub(crate) struct Report {
    pub(crate) options: Value,
    pub(crate) rounds: Vec<Round>,
    pub(crate) starts: Vec<Start>,
}

/// One half of a round.
type Which = fn(&Round) -> &Half;

/// A figure: name, unit, digits, and its spread if it could be measured.
type Line = (String, &'static str, usize, Option<Spread>);

/// By how much the capacity may change in a valid round.
const STEADY: f64 = 0.1;

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

impl Report {
    fn valid(&self) -> impl Iterator<Item = &Round> {
        self.rounds.iter().filter(|r| r.is_valid())
    }

    fn spread(&self, of: impl Fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.valid().map(of))
    }

    /// Latencies of all packets of valid rounds.
    fn pooled(&self, half: Which) -> Histogram<u64> {
        let mut all = histogram();
        self.valid().for_each(|r| all.add(&half(r).passed.latency).expect("of the same bounds"));
        all
    }

    fn lines(&self) -> Vec<Line> {
        [self.traffic(), self.changes(), self.starting()].concat()
    }

    fn traffic(&self) -> Vec<Line> {
        let mut all = Vec::new();
        let mut add = |name: &str, unit, digits, spread| all.push((name.to_owned(), unit, digits, spread));
        add("capacity without changes", "Mpps", 2, self.spread(|r| r.capacity / 1e6));
        add("capacity with changes", "Mpps", 2, self.spread(|r| r.capacity_changing / 1e6));
        add("capacity, ratio", "×", 2, self.spread(|r| r.capacity_changing / r.capacity));
        add("offered", "Mpps", 2, self.spread(|r| r.offered / 1e6));
        add("lost without changes", "packets", 0, self.spread(|r| r.still.passed.lost as f64));
        add("lost with changes", "packets", 0, self.spread(|r| r.changing.passed.lost as f64));
        for (name, q) in QUANTILES {
            add(&format!("latency {name} without changes"), "µs", 1, self.spread(|r| r.still.latency(q)));
            add(&format!("latency {name} with changes"), "µs", 1, self.spread(|r| r.changing.latency(q)));
            let ratio = |r: &Round| r.changing.latency(q) / r.still.latency(q).max(1e-3);
            add(&format!("latency {name}, ratio"), "×", 2, self.spread(ratio));
        }
        for (name, q) in QUANTILES {
            let [still, changing] = [self.pooled(|r| &r.still), self.pooled(|r| &r.changing)];
            let [still, changing] = [still, changing].map(|h| h.value_at_quantile(q) as f64 / 1e3);
            add(&format!("latency {name} of all without changes"), "µs", 1, Spread::of([still].into_iter()));
            add(&format!("latency {name} of all with changes"), "µs", 1, Spread::of([changing].into_iter()));
        }
        all
    }

    fn changes(&self) -> Vec<Line> {
        let mut all = Vec::new();
        let mut add = |name: &str, unit, digits, of: &dyn Fn(&Changed) -> f64| {
            all.push((name.to_owned(), unit, digits, self.spread(|r| of(&r.changing.changed))));
        };
        add("changes a second", "1/s", 0, &|c| c.rate());
        add("versions a second", "1/s", 0, &|c| c.versions as f64 / c.took.as_secs_f64());
        add("control plane's share of its core", "%", 0, &|c| c.cpu() * 100.0);
        for (name, q) in QUANTILES {
            let of = move |h: &Histogram<u64>| h.value_at_quantile(q) as f64 / 1e3;
            add(&format!("publish to adoption {name}"), "µs", 1, &|c| of(&c.adoption));
            add(&format!("change due to adoption {name}"), "µs", 1, &|c| of(&c.visible));
        }
        all
    }

    fn starting(&self) -> Vec<Line> {
        let start = |of: fn(&Start) -> f64| Spread::of(self.starts.iter().map(of));
        let line = |name: &str, of| (name.to_owned(), "ms", 1, start(of));
        vec![
            line("start: TOML alone", |s| s.toml),
            line("start: text to configuration", |s| s.config),
            line("start: configuration to tables", |s| s.tables),
            line("start: text to tables", |s| s.config + s.tables),
        ]
    }

    /// Counts over rounds.
    fn counts(&self) -> [(&'static str, u64); 13] {
        let halves = |of: Which| self.rounds.iter().map(of);
        let count = |of: Which, what: fn(&Half) -> u64| halves(of).map(what).sum::<u64>();
        let off = |half: &Half| half.passed.off_cpu.as_micros() as u64;
        let (still, changing): (Which, Which) = (|r| &r.still, |r| &r.changing);
        let rounds = |what: fn(&Round) -> bool| self.rounds.iter().filter(|r| what(r)).count() as u64;
        let lost = |of: Which| self.valid().map(|r| of(r).passed.lost).sum();
        let lossless = |of: Which| self.valid().filter(|r| of(r).passed.lost == 0).count() as u64;
        [
            ("rounds", self.rounds.len() as u64),
            ("valid rounds", self.valid().count() as u64),
            ("void rounds, for the machine stalled", rounds(Round::stalled)),
            ("other void rounds, for its speed changed", rounds(|r| r.wobbled() && !r.stalled())),
            ("stalls without changes", count(still, Half::stalls)),
            ("stalls with changes", count(changing, Half::stalls)),
            ("worker off its core without changes, µs", count(still, off)),
            ("worker off its core with changes, µs", count(changing, off)),
            ("packets lost in valid rounds, without changes", lost(still)),
            ("packets lost in valid rounds, with changes", lost(changing)),
            ("valid rounds without loss, without changes", lossless(still)),
            ("valid rounds without loss, with changes", lossless(changing)),
            ("packets of valid rounds, with changes", self.valid().map(|r| r.changing.passed.arrived).sum()),
        ]
    }

    pub(crate) fn table(&self) -> String {
        let mut out =
            format!("{:<46} {:>12} {:>12} {:>12}  unit\n", "medians of valid rounds", "median", "least", "most");
        for (name, unit, d, spread) in self.lines() {
            let _ = match spread {
                Some(s) => {
                    writeln!(out, "{name:<46} {:>12.d$} {:>12.d$} {:>12.d$}  {unit}", s.median, s.min, s.max)
                }
                None => writeln!(out, "{name:<46} {:>12}", "-"),
            };
        }
        out.push('\n');
        for (name, count) in self.counts() {
            let _ = writeln!(out, "{name:<46} {count:>12}");
        }
        out
    }

    pub(crate) fn json(&self) -> Value {
        let object = |all: Vec<(String, Value)>| all.into_iter().collect::<serde_json::Map<_, _>>();
        let figure =
            |(name, unit, _, spread): Line| (name, json!({ "unit": unit, "spread": spread.map(Spread::json) }));
        json!({
            "options": self.options,
            "figures": object(self.lines().into_iter().map(figure).collect()),
            "counts": object(self.counts().map(|(n, count)| (n.to_owned(), json!(count))).to_vec()),
        })
    }
}
