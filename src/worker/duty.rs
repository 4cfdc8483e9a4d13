//! When a real-time worker gives way to ordinary threads.
//!
//! Linux bounds what real-time threads take of a core: 950 ms of each second, `kernel.sched_rt_runtime_us` (Documentation/
//! scheduler/sched-rt-group.rst), and since 6.12 the fair server sees to the same. What is over the bound the kernel takes
//! back in one piece, though the core be idle meanwhile: 50 ms in which a worker's rings overflow. So a worker never gets
//! there: again and again it is an ordinary thread for a while. If nobody else wants its core it does not even notice.

use crate::path::Tick;

/// How the kernel schedules a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Before all ordinary threads (SCHED_FIFO).
    RealTime,
    /// As one of them (SCHED_OTHER).
    Ordinary,
}

/// Nanoseconds of a real-time turn.
const REAL_TIME: u64 = 40_000_000;
/// Nanoseconds of an ordinary turn: about what a thread that waits is given at once, so that one wait a turn suffices.
const ORDINARY: u64 = 4_000_000;
const _: () = assert!(REAL_TIME * 100 / (REAL_TIME + ORDINARY) < 95, "less than the kernel's bound");

/// The turns of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Duty {
    class: Class,
    /// When the turn is over.
    until: Tick,
}

impl Duty {
    /// A worker that is always an ordinary thread.
    pub const fn ordinary() -> Self {
        Self { class: Class::Ordinary, until: Tick(u64::MAX) }
    }

    /// A worker that is a real-time thread already, and goes on in turns.
    pub const fn real_time() -> Self {
        Self { class: Class::RealTime, until: Tick(0) }
    }

    /// The class to change to, if it is time.
    #[inline]
    pub fn next(&mut self, now: Tick) -> Option<Class> {
        if now < self.until { None } else { Some(self.change(now)) }
    }

    /// Takes into account that the worker slept from one time to another: who sleeps gives way as well, and has earned
    /// as much more of a real-time turn.
    pub fn slept(&mut self, from: Tick, to: Tick) {
        if self.class == Class::RealTime {
            let earned = to.since(from).saturating_mul(REAL_TIME / ORDINARY);
            self.until = Tick(self.until.0.saturating_add(earned).min(to.0.saturating_add(REAL_TIME)));
        }
    }

    #[cold]
    fn change(&mut self, now: Tick) -> Class {
        let (class, lasts) = match self.class {
            Class::RealTime => (Class::Ordinary, ORDINARY),
            Class::Ordinary => (Class::RealTime, REAL_TIME),
        };
        *self = Self { class, until: Tick(now.0.saturating_add(lasts)) };
        class
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nanoseconds in each class within a second, of a worker that looks every `step`.
    fn second(duty: &mut Duty, step: u64) -> [u64; 2] {
        let (mut class, mut spent) = (Class::RealTime, [0; 2]);
        for now in (0..1_000_000_000).step_by(step as usize) {
            class = duty.next(Tick(now)).unwrap_or(class);
            spent[usize::from(class == Class::Ordinary)] += step;
        }
        spent
    }

    #[test]
    fn no_second_has_more_real_time_than_the_kernel_grants() {
        for step in [1_000, 50_000, 1_000_000] {
            let [real_time, ordinary] = second(&mut Duty::real_time(), step);
            assert!(real_time < 930_000_000, "{real_time} of a second, looking every {step} ns");
            assert!(ordinary < 120_000_000, "{ordinary} of a second, looking every {step} ns");
        }
    }

    #[test]
    fn an_ordinary_worker_stays_one() {
        let mut duty = Duty::ordinary();
        duty.slept(Tick(1), Tick(2));
        assert_eq!(duty.next(Tick(u64::MAX - 1)), None);
    }

    /// Changes in ten seconds of a worker that wakes every 100 µs and then works for `work` ns.
    fn changes(work: u64) -> usize {
        let mut duty = Duty::real_time();
        let wakes = (0..10_000_000_000).step_by(100_000);
        let mut changes = |at: u64| {
            let change = duty.next(Tick(at + work)).is_some();
            duty.slept(Tick(at + work), Tick(at + 100_000));
            change
        };
        wakes.filter(|at| changes(*at)).count()
    }

    #[test]
    fn who_sleeps_enough_never_has_to_give_way() {
        assert!(changes(0) <= 2 && changes(85_000) <= 2, "the first turn is short");
        assert!(changes(99_000) > 100);
    }
}
