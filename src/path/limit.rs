//! How often the gateway may speak for itself.

/// A moment of the monotonic clock, in nanoseconds. Only workers read the clock; everybody else is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Tick(pub u64);

impl Tick {
    /// Nanoseconds since `earlier`, 0 if it lies ahead.
    #[inline]
    pub const fn since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A token bucket for ICMP errors (RFC 1812 §4.3.2.8: a router must be able to limit them).
#[derive(Clone, Debug)]
pub struct Limiter {
    tokens: u32,
    refilled: Tick,
}

impl Limiter {
    /// Messages at once.
    pub const BURST: u32 = 50;
    /// Nanoseconds for one more: 1,000 a second.
    pub const INTERVAL: u64 = 1_000_000;

    /// A full bucket.
    pub const fn new() -> Self {
        Self { tokens: Self::BURST, refilled: Tick(0) }
    }

    /// Takes a token if there is one.
    pub fn allow(&mut self, now: Tick) -> bool {
        let earned = now.since(self.refilled) / Self::INTERVAL;
        if earned > 0 {
            self.tokens = Self::BURST.min(self.tokens.saturating_add(earned.min(u64::from(Self::BURST)) as u32));
            self.refilled = now;
        }
        let allowed = self.tokens > 0;
        self.tokens -= u32::from(allowed);
        allowed
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut l = Limiter::new();
        let start = Tick(5_000_000_000);
        assert_eq!((0..100).filter(|_| l.allow(start)).count(), 50);
        assert!(!l.allow(Tick(start.0 + Limiter::INTERVAL - 1)));
        assert!(l.allow(Tick(start.0 + Limiter::INTERVAL)));
        assert!(!l.allow(Tick(start.0 + Limiter::INTERVAL)));
        assert_eq!((0..100).filter(|_| l.allow(Tick(start.0 * 2))).count(), 50);
        assert!(!l.allow(Tick(0)), "a clock that steps back grants nothing");
    }
}
