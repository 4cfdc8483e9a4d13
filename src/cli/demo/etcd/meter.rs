//! When packets began to arrive, and when they ceased.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::lab::traffic::UdpLoad;

/// Between two looks at a counter: what is measured is no finer.
const LOOK: Duration = Duration::from_millis(1);
/// No packet for so long: they have ceased. Two hundred times what lies between two of them.
const QUIET: Duration = Duration::from_millis(200);
/// How long losses are looked at for a moment at which nothing is on its way.
const SETTLE: Duration = Duration::from_millis(100);

/// A counter of arrivals, and when to give up on it.
pub(super) struct Meter<'a> {
    /// Packets that have arrived so far.
    pub(super) arrived: &'a dyn Fn() -> u64,
    /// Nobody wants to know any more.
    pub(super) ended: &'a dyn Fn() -> bool,
    /// The longest an answer may take.
    pub(super) patience: Duration,
}

impl Meter<'_> {
    /// From `since` to the first packet that arrives from now on.
    pub(super) fn first(&self, since: Instant) -> Option<Duration> {
        let (before, asked) = ((self.arrived)(), Instant::now());
        while asked.elapsed() < self.patience && !(self.ended)() {
            if (self.arrived)() > before {
                return Some(since.elapsed());
            }
            sleep(LOOK);
        }
        None
    }

    /// From `since` to the last packet that arrives: zero if none does after it.
    pub(super) fn last(&self, since: Instant) -> Option<Duration> {
        let asked = Instant::now();
        let (mut count, mut last) = ((self.arrived)(), since);
        while asked.elapsed() < self.patience && !(self.ended)() {
            let now = (self.arrived)();
            if now > count {
                (count, last) = (now, Instant::now());
            } else if last.max(asked).elapsed() > QUIET {
                return Some(last - since);
            }
            sleep(LOOK);
        }
        None
    }
}

/// Packets of these loads that are lost: the fewest that were missing at any moment of a short while, since those on
/// their way are missing, too.
pub(super) fn lost(loads: &[UdpLoad]) -> u64 {
    let fewest = |load: &UdpLoad| {
        let began = Instant::now();
        let mut fewest = load.counts().lost;
        while fewest > 0 && began.elapsed() < SETTLE {
            sleep(LOOK / 4);
            fewest = fewest.min(load.counts().lost);
        }
        fewest
    };
    loads.iter().map(fewest).sum()
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    /// What a meter says, in milliseconds, when a packet arrives in each millisecond of a time.
    fn measured(
        arrivals: Range<u64>,
        patience: u64,
        how: impl FnOnce(&Meter<'_>, Instant) -> Option<Duration>,
    ) -> Option<u128> {
        let began = Instant::now();
        let now = || began.elapsed().as_millis() as u64;
        let arrived = || now().clamp(arrivals.start, arrivals.end) - arrivals.start;
        let meter = Meter { arrived: &arrived, ended: &|| false, patience: Duration::from_millis(patience) };
        how(&meter, began).map(|d| d.as_millis())
    }

    #[test]
    fn the_first_and_the_last_packet_are_found() {
        // the machine may stand still for a while: later is no error, earlier is
        let first = |arrivals, patience| measured(arrivals, patience, |meter, since| meter.first(since));
        let last = |arrivals, patience| measured(arrivals, patience, |meter, since| meter.last(since));
        assert!(first(50..10_000, 5_000).is_some_and(|ms| ms >= 50));
        assert!(last(0..300, 5_000).is_some_and(|ms| ms >= 300));
        assert_eq!(last(10_000..10_001, 5_000), Some(0), "none came at all");
        assert_eq!(first(10_000..10_001, 300), None);
        assert_eq!(last(0..10_000, 300), None, "they never cease");
    }
}
