//! What is done to the work of a case.

use super::clock::Clock;

/// How the work is measured.
#[derive(Debug)]
pub(crate) enum Meter {
    /// Its time is taken.
    Time(Clock),
    /// It is done within [`measured`], where callgrind is told to count.
    Count,
    /// It is done.
    Nothing,
}

impl Meter {
    /// Does the work; returns the ticks it took, where time is taken.
    #[inline]
    pub(crate) fn take(&self, mut work: impl FnMut()) -> u64 {
        match self {
            Self::Time(clock) => return clock.time(work),
            Self::Count => measured(&mut work),
            Self::Nothing => work(),
        }
        0
    }

    /// The core's clock now, in that of the counter, where time is taken.
    pub(crate) fn core_cycles_a_tick(&self) -> Option<f64> {
        match self {
            Self::Time(clock) => Some(clock.core_cycles_a_tick()),
            Self::Count | Self::Nothing => None,
        }
    }
}

/// `perf/instructions` finds it by its name.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
}
