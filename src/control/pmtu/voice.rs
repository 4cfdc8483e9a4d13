//! How often the log is told of paths: a link that many peers are behind changes all of their paths at once.

use core::time::Duration;
use std::time::Instant;

/// Lines in [`SPAN`] at most.
const LINES: u32 = 10;
const SPAN: Duration = Duration::from_secs(1);

/// Says when to speak.
#[derive(Debug, Default)]
pub(in super::super) struct Voice {
    /// Since when lines are counted.
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Voice {
    /// May one more line be written? Then how many were left out before it.
    pub(in super::super) fn may_speak(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= SPAN) {
            (self.since, self.lines) = (Some(now), 0);
        }
        if self.lines == LINES {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(core::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_lines_a_second_and_none_is_forgotten() {
        let (mut voice, start) = (Voice::default(), Instant::now());
        let spoken: Vec<_> = (0..15).map(|_| voice.may_speak(start)).collect();
        assert_eq!((spoken.iter().flatten().count(), spoken[9], spoken[10]), (10, Some(0), None));
        assert_eq!(voice.may_speak(start + SPAN), Some(5));
        assert_eq!(voice.may_speak(start + SPAN), Some(0));
        assert_eq!(voice.may_speak(start), Some(0), "a clock that steps back begins no new second");
    }
}
