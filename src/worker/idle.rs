//! When a worker with nothing to do sleeps.

/// What a worker does after a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// Takes the next turn at once.
    None,
    /// Takes the next turn after a pause instruction.
    Spin,
    /// Waits until something happens.
    Sleep,
}

/// Decides from how turns went, without a clock.
#[derive(Clone, Debug)]
pub struct Idle {
    /// Empty turns before sleep; `None` for never.
    patience: Option<u32>,
    empty: u32,
}

impl Idle {
    /// Empty turns an adaptive worker takes before it sleeps: a few microseconds, more than the gaps between bursts
    /// under load and less than a context switch costs.
    pub const PATIENCE: u32 = 64;

    /// A worker that never sleeps.
    pub const fn busy() -> Self {
        Self { patience: None, empty: 0 }
    }

    /// A worker that sleeps when rings stay empty.
    pub const fn adaptive() -> Self {
        Self { patience: Some(Self::PATIENCE), empty: 0 }
    }

    /// What to do after a turn that received `frames`.
    #[inline]
    pub fn after(&mut self, frames: usize) -> Rest {
        if frames > 0 {
            self.empty = 0;
            return Rest::None;
        }
        self.empty = self.empty.saturating_add(1);
        match self.patience {
            Some(p) if self.empty > p => {
                // after waking there is most likely work: look a few times before sleeping again
                self.empty = 0;
                Rest::Sleep
            }
            _ => Rest::Spin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_counted_from_the_last_frame() {
        let mut idle = Idle::adaptive();
        for _ in 0..Idle::PATIENCE {
            assert_eq!(idle.after(0), Rest::Spin);
        }
        assert_eq!(idle.after(3), Rest::None);
        for _ in 0..Idle::PATIENCE {
            assert_eq!(idle.after(0), Rest::Spin);
        }
        assert_eq!(idle.after(0), Rest::Sleep);
        assert_eq!(idle.after(0), Rest::Spin);
    }

    #[test]
    fn busy_never_sleeps() {
        let mut idle = Idle::busy();
        assert!((0..100_000).all(|_| idle.after(0) == Rest::Spin));
    }
}
