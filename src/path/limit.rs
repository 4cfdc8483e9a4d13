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

/// Token buckets for ICMP errors (RFC 1812 §4.3.2.8: a router must be able to limit them).
///
/// Peers and ports have buckets of their own for each kind of error, as far as buckets go round: a pod that provokes
/// Time Exceeded all day takes nothing from another's path MTU discovery.
#[derive(Clone, Debug)]
pub struct Limiter {
    buckets: [Bucket; Self::BUCKETS],
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u32,
    refilled: Tick,
}

impl Limiter {
    /// Messages of a bucket at once.
    pub const BURST: u32 = 50;
    /// Nanoseconds for one more: 100 a second.
    pub const INTERVAL: u64 = 10_000_000;
    /// Buckets.
    const BUCKETS: usize = 128;

    /// Full buckets.
    pub const fn new() -> Self {
        Self { buckets: [Bucket { tokens: Self::BURST, refilled: Tick(0) }; Self::BUCKETS] }
    }

    /// Takes a token from the bucket of `who` if it has one.
    pub fn allow(&mut self, who: usize, now: Tick) -> bool {
        let bucket = &mut self.buckets[who % Self::BUCKETS];
        let earned = now.since(bucket.refilled) / Self::INTERVAL;
        if earned >= u64::from(Self::BURST) {
            *bucket = Bucket { tokens: Self::BURST, refilled: now };
        } else {
            bucket.tokens = Self::BURST.min(bucket.tokens + earned as u32);
            // what is left of the interval goes on counting
            bucket.refilled.0 += earned * Self::INTERVAL;
        }
        let allowed = bucket.tokens > 0;
        bucket.tokens -= u32::from(allowed);
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
        let start = 50_000_000_000;
        assert_eq!((0..100).filter(|_| l.allow(0, Tick(start))).count(), 50);
        assert!(!l.allow(0, Tick(start + Limiter::INTERVAL - 1)));
        assert!(l.allow(0, Tick(start + Limiter::INTERVAL)));
        assert!(!l.allow(0, Tick(start + Limiter::INTERVAL)));
        assert_eq!((0..100).filter(|_| l.allow(0, Tick(start * 2))).count(), 50);
        assert!(!l.allow(0, Tick(0)), "a clock that steps back grants nothing");
    }

    #[test]
    fn over_time_the_rate_is_the_rate() {
        let mut l = Limiter::new();
        (0..100).for_each(|_| _ = l.allow(3, Tick(0)));
        // asked every 0.7 intervals, for 700 intervals
        let granted = (1..=1000).filter(|n| l.allow(3, Tick(n * Limiter::INTERVAL * 7 / 10))).count();
        assert!((699..=750).contains(&granted), "{granted}");
    }

    #[test]
    fn one_who_uses_his_up_takes_nothing_from_another() {
        let mut l = Limiter::new();
        (0..100).for_each(|_| _ = l.allow(1, Tick(0)));
        assert!(!l.allow(1, Tick(0)) && l.allow(2, Tick(0)));
    }
}
