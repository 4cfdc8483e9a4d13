//! What both halves of a run tell while they run, and what they are told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::worker::latency::Histogram;

/// How long a window of the live view is, in nanoseconds: half of what is between two looks, so that none is empty.
const WINDOW: u64 = 500_000_000;
/// The quantiles of a window: the last is the maximum.
pub(super) const QUANTILES: [f64; 4] = [0.5, 0.99, 0.999, 1.0];

/// Counts so far, and flags.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) missing: AtomicU64,
    /// Damaged packets.
    pub(super) corrupt: AtomicU64,
    /// From the intended time of sending to receipt, in the last window.
    pub(super) latency: Quantiles,
    /// How late the generator itself was, in the last window.
    pub(super) late: Quantiles,
    /// The sender is done.
    pub(super) over: AtomicBool,
    /// The sender failed: there is nothing to wait for.
    pub(super) abandoned: AtomicBool,
    /// Somebody asked for the end.
    pub(super) stop: AtomicBool,
}

/// Nanoseconds at [`QUANTILES`].
#[derive(Debug, Default)]
pub(super) struct Quantiles([AtomicU64; QUANTILES.len()]);

impl Quantiles {
    /// As they were published last.
    pub(super) fn get(&self) -> [u64; QUANTILES.len()] {
        self.0.each_ref().map(|n| n.load(Relaxed))
    }
}

/// A histogram of half a second, published when it is over.
#[derive(Debug)]
pub(super) struct Window {
    histogram: Histogram,
    until: u64,
}

impl Window {
    /// One that begins at `now`.
    pub(super) fn new(now: u64) -> Self {
        Self { histogram: Histogram::default(), until: now + WINDOW }
    }

    #[inline]
    pub(super) fn record(&mut self, nanos: u64) {
        self.histogram.record(nanos, 1);
    }

    /// Publishes what was recorded when the window is over.
    #[inline]
    pub(super) fn publish_if_due(&mut self, now: u64, to: &Quantiles) {
        if now >= self.until {
            self.publish(now, to);
        }
    }

    #[cold]
    fn publish(&mut self, now: u64, to: &Quantiles) {
        for (at, q) in to.0.iter().zip(QUANTILES) {
            at.store(quantile(&self.histogram, q), Relaxed);
        }
        *self = Self::new(now);
    }
}

/// The smallest value that a share of `q` does not exceed, to within a sixteenth; 0 of nothing.
fn quantile(histogram: &Histogram, q: f64) -> u64 {
    let total: u64 = histogram.iter().map(|(_, n)| n).sum();
    let rank = (total as f64 * q).ceil().max(1.0) as u64;
    let reached = |below: &mut u64, (value, n): (u64, u64)| {
        let before = *below;
        *below += n;
        Some((value, before < rank && *below >= rank))
    };
    let found = histogram.iter().scan(0, reached).find(|(_, here)| *here).map_or(0, |(value, _)| value);
    found.min(histogram.max())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_published_when_it_is_over_and_begins_anew() {
        let (mut window, to) = (Window::new(0), Quantiles::default());
        (1..=1000).for_each(|n| window.record(n * 1000));
        window.publish_if_due(WINDOW - 1, &to);
        assert_eq!(to.get(), [0; 4]);
        window.publish_if_due(WINDOW, &to);
        for (got, want) in to.get().into_iter().zip([500_000, 990_000, 999_000, 1_000_000]) {
            assert!(got >= want && got <= want + want / 15, "{got} for {want}");
        }
        window.publish_if_due(2 * WINDOW, &to);
        assert_eq!(to.get(), [0; 4]);
    }
}
