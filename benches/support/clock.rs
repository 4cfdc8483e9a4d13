//! Time in cycles: those of the time-stamp counter, and those of the core, which has a clock of its own.

use quanta::Clock as Counter;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Reads the time-stamp counter; where the CPU's is not constant, a clock of nanoseconds stands in for it.
#[derive(Debug)]
pub(crate) struct Clock {
    counter: Counter,
    /// Ticks that reading the counter twice takes.
    pub(crate) overhead: u64,
}

/// What ticks are worth, measured in this run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// Ticks of the counter a nanosecond.
    pub(crate) ticks: f64,
    /// Cycles of the core a tick of the counter.
    pub(crate) core: f64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let counter = Counter::new();
        let pair = |_| {
            let before = counter.raw();
            counter.raw() - before
        };
        let overhead = (0..10_000).map(pair).min().unwrap_or_default();
        Self { counter, overhead }
    }

    #[inline]
    pub(crate) fn ticks(&self) -> u64 {
        self.counter.raw()
    }

    /// Ticks that `work` takes.
    #[inline]
    pub(crate) fn time(&self, work: impl FnOnce()) -> u64 {
        let before = self.ticks();
        work();
        (self.ticks() - before).saturating_sub(self.overhead)
    }

    /// Ticks a nanosecond, against the system's clock.
    pub(crate) fn ticks_a_nanosecond(&self) -> f64 {
        let (wall, ticks) = (Instant::now(), self.ticks());
        while wall.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        let (wall, ticks) = (wall.elapsed(), self.ticks() - ticks);
        ticks as f64 / wall.as_nanos() as f64
    }

    /// Cycles of the core a tick, now: additions and exclusive ors that each wait for the one before take one cycle
    /// each, on every x86-64 core and most others. The fastest of some tries, since interruptions only add.
    pub(crate) fn core_cycles_a_tick(&self) -> f64 {
        const ROUNDS: u64 = 4_000;
        let fastest = (0..8).map(|_| self.time(|| _ = black_box(chain(ROUNDS)))).min().unwrap_or(1);
        (ROUNDS * CHAIN) as f64 / fastest.max(1) as f64
    }
}

/// Dependent operations a round of [`chain`].
const CHAIN: u64 = 32;

/// The operands come from outside, so that no compiler adds them up beforehand, and the two operations do not
/// associate.
#[inline(never)]
fn chain(rounds: u64) -> u64 {
    let (mut x, a, b) = (black_box(1u64), black_box(0x9e37_79b9_u64), black_box(0x7f4a_7c15_u64));
    for _ in 0..rounds {
        macro_rules! steps { ($($n:literal)*) => { $(_ = $n; x = x.wrapping_add(a) ^ b;)* } }
        steps!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
    }
    x
}
