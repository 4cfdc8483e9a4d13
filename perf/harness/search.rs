//! The highest rate at which a system loses no more than allowed: RFC 2544 §26.1, by bisection.
//!
//! On a virtual machine the host takes the cores away now and then, and any system loses packets meanwhile. So a rate
//! counts as carried when one of a few trials carries it, for every system alike; a rate is not carried when all fail.

use crate::Result;

/// What a search is held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limits {
    /// Packets a second that are surely too many.
    pub(crate) most: f64,
    /// Where to stop: the interval left, as a share of its upper end.
    pub(crate) resolution: f64,
    /// Share of packets that may be lost.
    pub(crate) loss: f64,
    /// Trials a rate may take.
    pub(crate) tries: usize,
}

/// The highest rate carried; 0 when not even the lowest one tried was. `probe` is a trial at a rate and tells the share
/// lost, or `None` when the trial is void.
pub(crate) fn search(limits: &Limits, mut probe: impl FnMut(f64) -> Result<Option<f64>>) -> Result<f64> {
    let (mut carried, mut lost) = (0.0, limits.most);
    while lost - carried > limits.resolution * lost && lost > limits.most / 1000.0 {
        let rate = (carried + lost) / 2.0;
        let mut passed = false;
        for _ in 0..limits.tries {
            if probe(rate)?.is_some_and(|loss| loss <= limits.loss) {
                passed = true;
                break;
            }
        }
        match passed {
            true => carried = rate,
            false => lost = rate,
        }
    }
    Ok(carried)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { most: 1000.0, resolution: 0.01, loss: 0.005, tries: 3 };

    #[test]
    fn it_finds_where_losses_begin() {
        for capacity in [1.5, 30.0, 499.0, 730.0, 999.0] {
            let found = search(&LIMITS, |rate| Ok(Some((1.0 - capacity / rate).max(0.0)))).unwrap();
            // half a percent may be lost, so a little more than the capacity is carried
            assert!(found <= capacity * 1.006 && found >= capacity * 0.98, "{capacity}: {found}");
        }
    }

    #[test]
    fn a_hiccup_is_tried_again_and_a_void_trial_carries_nothing() {
        let mut trial = 0;
        let hiccups = |rate: f64| {
            trial += 1;
            Ok(Some(if rate > 600.0 || trial % 3 != 0 { 1.0 } else { 0.0 }))
        };
        let found = search(&LIMITS, hiccups).unwrap();
        assert!((590.0..=600.0).contains(&found), "{found}");
        assert_eq!(search(&LIMITS, |_| Ok(None)).unwrap(), 0.0);
        assert!(search(&LIMITS, |_| Err("no more".into())).is_err());
    }

    #[test]
    fn it_ends_even_if_nothing_is_ever_carried_or_lost() {
        let mut trials = 0;
        let count = |loss: f64, trials: &mut u32| {
            let found = search(&LIMITS, |_| {
                *trials += 1;
                Ok(Some(loss))
            });
            found.unwrap()
        };
        assert_eq!(count(1.0, &mut trials), 0.0);
        assert!(count(0.0, &mut trials) > 985.0 && trials < 60, "{trials}");
    }
}
