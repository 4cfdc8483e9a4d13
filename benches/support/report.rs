//! What was measured, for people and for programs.

use super::options::Options;
use super::rounds::{Bar, Figure, Figures, Spread};
use serde_json::{Value, json};

/// How a case stands to its bar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Free,
    Aim,
    Bar,
    Below,
}

impl Standing {
    const fn label(self) -> &'static str {
        match self {
            Self::Free => "",
            Self::Aim => "aim met",
            Self::Bar => "bar met",
            Self::Below => "BELOW",
        }
    }
}

impl Figures {
    fn nanos(&self, f: &Figure) -> Spread {
        Spread::of(f.rounds.clone()).times(1.0 / self.rates.ticks)
    }

    fn core_cycles(&self, f: &Figure) -> Spread {
        Spread::of(f.rounds.clone()).times(self.rates.core)
    }

    /// The speed of one case in another's, round by round.
    fn ratio(&self, f: &Figure, other: &str) -> Option<Spread> {
        let other = self.cases.iter().find(|c| c.name == other)?;
        Some(Spread::of(f.rounds.iter().zip(&other.rounds).map(|(this, other)| other / this).collect()))
    }

    /// The bar in words, and how the case stands to it.
    fn standing(&self, f: &Figure) -> (String, Standing) {
        let at_most = |value: f64, bar, aim| match value {
            v if v <= aim => Standing::Aim,
            v if v <= bar => Standing::Bar,
            _ => Standing::Below,
        };
        match &f.bar {
            Bar::None => (String::new(), Standing::Free),
            Bar::Cycles(bar, aim) => {
                let counter = at_most(Spread::of(f.rounds.clone()).median, *bar, *aim).label();
                let told = format!("{bar} / {aim} cycles: of the counter {counter}; of the core");
                (told, at_most(self.core_cycles(f).median, *bar, *aim))
            }
            Bar::Nanos(bar, aim) => (format!("{bar} / {aim} ns"), at_most(self.nanos(f).median, *bar, *aim)),
            Bar::Versus(other, bar, aim) => match self.ratio(f, other) {
                Some(r) => (format!("{bar} / {aim} × hot: {:.2}", r.median), at_most(-r.median, -bar, -aim)),
                None => (String::new(), Standing::Free), // the other was not asked for
            },
        }
    }

    pub(crate) fn table(&self) -> String {
        let mut out = format!(
            "time-stamp counter {:.0} MHz; core {:.0} MHz ({:.0} to {:.0}), from a chain of dependent additions in this run\n\n",
            self.rates.ticks * 1e3,
            self.rates.ticks * self.rates.core * 1e3,
            self.rates.ticks * self.core.min * 1e3,
            self.rates.ticks * self.core.max * 1e3,
        );
        out += &format!(
            "{:<28} {:>8} {:>17} {:>11} {:>12}  {}\n",
            "an item of", "ns", "least to most", "TSC cycles", "core cycles", "at least / aim"
        );
        for f in &self.cases {
            let (ns, (bar, standing)) = (self.nanos(f), self.standing(f));
            let spread = format!("{:.2} to {:.2}", ns.min, ns.max);
            let line = format!(
                "{:<28} {:>8.2} {spread:>17} {:>11.1} {:>12.1}  {bar} {}",
                f.name,
                ns.median,
                Spread::of(f.rounds.clone()).median,
                self.core_cycles(f).median,
                standing.label()
            );
            out += line.trim_end();
            out.push('\n');
        }
        out
    }

    pub(crate) fn json(&self, o: &Options) -> Value {
        let spread = |s: Spread| json!({ "median": s.median, "min": s.min, "max": s.max });
        let case = |f: &Figure| {
            let (bar, standing) = self.standing(f);
            let ratio = match &f.bar {
                Bar::Versus(other, ..) => self.ratio(f, other).map(|r| json!({ "to": other, "speed": spread(r) })),
                _ => None,
            };
            json!({
                "name": f.name,
                "ns": spread(self.nanos(f)),
                "tsc_cycles": spread(Spread::of(f.rounds.clone())),
                "core_cycles": spread(self.core_cycles(f)),
                "ratio": ratio,
                "bar": bar,
                "standing": standing.label(),
            })
        };
        json!({
            "tsc_mhz": self.rates.ticks * 1e3,
            "core_mhz": spread(self.core.times(self.rates.ticks * 1e3)),
            "rounds": o.rounds, "packets": o.packets, "burst": o.burst, "chunks": o.chunks, "nodes": o.nodes,
            "cache_entries": o.cache, "payload": o.payload, "prefixes": o.prefixes, "hostile": o.hostile, "seed": o.seed,
            "cases": self.cases.iter().map(case).collect::<Vec<_>>(),
        })
    }
}
