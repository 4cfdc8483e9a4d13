//! How a source is, as far as it can be heard.

use core::time::Duration;
use std::time::Instant;

use crate::control::source::News;

/// How a source is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// It has not said anything yet.
    Waiting,
    /// It is telling a complete list.
    Listing,
    /// All is as it told.
    InStep,
    /// It cannot be heard, and why; what it said before stays in force.
    Lost(String),
}

impl Condition {
    /// Its name in metrics and on the command line.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Listing => "listing",
            Self::InStep => "in step",
            Self::Lost(_) => "lost",
        }
    }
}

/// Follows how a source is.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) condition: Condition,
    /// Since when it is so.
    since: Instant,
    /// When it was heard last while all was as told: what is in force is no older than that.
    in_step: Option<Instant>,
    /// Complete lists.
    pub(super) lists: u64,
    /// Times it was lost.
    pub(super) losses: u64,
}

impl Health {
    pub(super) fn new(now: Instant) -> Self {
        Self { condition: Condition::Waiting, since: now, in_step: None, lists: 0, losses: 0 }
    }

    /// Takes in that something was said. True if the condition is another now.
    pub(super) fn heard(&mut self, news: &News, now: Instant) -> bool {
        let next = match news {
            News::Listing => Condition::Listing,
            News::Listed => Condition::InStep,
            News::Lost(why) => Condition::Lost(why.clone()),
            News::Is(_) | News::Gone(_) | News::Alive => self.condition.clone(),
        };
        self.lists += u64::from(*news == News::Listed);
        if next == Condition::InStep {
            self.in_step = Some(now);
        }
        let changed = next != self.condition;
        if changed {
            self.losses +=
                u64::from(matches!(next, Condition::Lost(_)) && !matches!(self.condition, Condition::Lost(_)));
            (self.condition, self.since) = (next, now);
        }
        changed
    }

    /// For how long it has been so.
    pub(super) fn lasts(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// How old what is in force may be; `None` if it never was in step.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        self.in_step.map(|at| now.saturating_duration_since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_force_is_as_old_as_the_last_word_of_a_source_in_step() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut health = Health::new(start);
        assert_eq!((health.condition.label(), health.age(start)), ("waiting", None));
        assert!(health.heard(&News::Listing, start));
        assert!(!health.heard(&News::Alive, start + second));
        assert_eq!(health.age(start + second), None, "half a list is none");
        assert!(health.heard(&News::Listed, start + 2 * second));
        assert!(!health.heard(&News::Alive, start + 3 * second));
        assert_eq!(health.age(start + 4 * second), Some(second));
        assert!(health.heard(&News::Lost("away".into()), start + 5 * second));
        assert!(health.heard(&News::Lost("still away".into()), start + 6 * second), "for another reason");
        assert!(!health.heard(&News::Alive, start + 7 * second));
        assert_eq!(health.age(start + 8 * second), Some(5 * second));
        assert_eq!((health.lists, health.losses, health.lasts(start + 8 * second)), (1, 1, 2 * second));
    }
}
