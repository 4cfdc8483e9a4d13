//! The guard against mass withdrawal: a source that suddenly has little left to say is more often broken than right.

use core::time::Duration;
use std::time::Instant;

/// Withdrawals are counted together for so long.
pub const WINDOW: Duration = Duration::from_secs(60);

/// Counts what a source withdraws.
#[derive(Debug)]
pub(super) struct Guard {
    /// Percent of what was there that may go within a window.
    share: u8,
    window: Option<Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    /// What there was at its beginning, and what came since.
    known: usize,
    gone: usize,
}

impl Guard {
    pub(super) fn new(share: u8) -> Self {
        Self { share, window: None }
    }

    /// May `count` of the `known` prefixes go? If so they are counted.
    pub(super) fn may_go(&mut self, count: usize, known: usize, now: Instant) -> bool {
        let over = |w: &Window| now.saturating_duration_since(w.since) >= WINDOW;
        let mut window = self.window.filter(|w| !over(w)).unwrap_or(Window { since: now, known, gone: 0 });
        window.known = window.known.max(known + window.gone);
        let gone = window.gone + count;
        let may = gone * 100 <= window.known * usize::from(self.share);
        if may {
            window.gone = gone;
        }
        self.window = Some(window);
        may
    }

    /// Somebody said that what went was meant: counting begins anew.
    pub(super) fn absolve(&mut self) {
        self.window = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_may_go_in_a_minute_and_not_one_more() {
        let (mut guard, start) = (Guard::new(50), Instant::now());
        assert!(guard.may_go(30, 100, start));
        assert!(!guard.may_go(21, 70, start), "51 of 100");
        assert!(guard.may_go(20, 70, start + WINDOW / 2), "50 of 100");
        assert!(!guard.may_go(1, 50, start + WINDOW / 2));
        assert!(guard.may_go(5, 60, start + WINDOW / 2), "10 came meanwhile: 55 of 110");
        assert!(guard.may_go(25, 50, start + WINDOW), "another minute");
        assert!(!guard.may_go(10, 25, start + WINDOW));
        guard.absolve();
        assert!(guard.may_go(10, 25, start + WINDOW));
    }

    #[test]
    fn the_last_one_stays_unless_all_may_go() {
        let now = Instant::now();
        assert!(!Guard::new(50).may_go(1, 1, now));
        assert!(Guard::new(50).may_go(1, 2, now));
        assert!(!Guard::new(99).may_go(1000, 1000, now));
        assert!(Guard::new(100).may_go(1000, 1000, now));
        assert!(!Guard::new(0).may_go(1, 1000, now));
    }
}
