//! Every case has its turn in every round, so that what the machine does meanwhile happens to all of them.

use super::clock::{Clock, Rates};
use super::deck::Deck;
use super::meter::Meter;
use super::options::Options;

/// What a case is measured with.
pub(crate) struct Bench<'a> {
    pub(crate) meter: &'a Meter,
    pub(crate) deck: &'a mut Deck,
}

/// A way to spend cycles.
pub(crate) struct Case {
    /// Parts separated by slashes; the first is the group.
    pub(crate) name: String,
    pub(crate) bar: Bar,
    pub(crate) round: Box<dyn FnMut(&mut Bench<'_>) -> Sample>,
}

/// One round of a case.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) ticks: u64,
    pub(crate) items: u64,
}

/// What a case is held to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Bar {
    None,
    /// Core cycles: at least, and the aim.
    Cycles(f64, f64),
    /// Nanoseconds.
    Nanos(f64, f64),
    /// The speed of another case of the same run, times this.
    Versus(String, f64, f64),
}

/// Median, least and most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { median: values[values.len() / 2], min: values[0], max: values[values.len() - 1] }
    }

    pub(crate) fn times(self, factor: f64) -> Self {
        Self { median: self.median * factor, min: self.min * factor, max: self.max * factor }
    }
}

/// What was measured of one case.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) bar: Bar,
    /// Ticks an item, round by round.
    pub(crate) rounds: Vec<f64>,
}

/// All of a run.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) rates: Rates,
    /// Core cycles a tick, over the rounds.
    pub(crate) core: Spread,
    pub(crate) cases: Vec<Figure>,
}

/// Runs all cases `options.rounds` times, one after the other, after one round that does not count.
pub(crate) fn run(cases: &mut [Case], options: &Options) -> Figures {
    let (clock, mut deck) = (Clock::new(), Deck::new(options.chunks));
    let ticks = clock.ticks_a_nanosecond();
    let meter = Meter::Time(clock);
    let mut rounds = vec![Vec::new(); cases.len()];
    let mut core = Vec::new();
    for round in 0..=options.rounds {
        for (case, rounds) in cases.iter_mut().zip(&mut rounds) {
            let sample = (case.round)(&mut Bench { meter: &meter, deck: &mut deck });
            if round > 0 {
                rounds.push(sample.ticks as f64 / sample.items as f64);
            }
        }
        core.extend(meter.core_cycles_a_tick());
    }
    let core = Spread::of(core);
    let figure = |(case, rounds): (&Case, _)| Figure { name: case.name.clone(), bar: case.bar.clone(), rounds };
    let cases = cases.iter().zip(rounds).map(figure).collect();
    Figures { rates: Rates { ticks, core: core.median }, core, cases }
}

/// Runs one case for somebody who counts: a round that does not count, then one that does. Returns the items of it.
pub(crate) fn count(case: &mut Case, options: &Options) -> u64 {
    let mut deck = Deck::new(options.chunks);
    let mut round = |meter: &Meter| (case.round)(&mut Bench { meter, deck: &mut deck });
    round(&Meter::Nothing);
    round(&Meter::Count).items
}
