//! What is to be steered to the gateway, and what not any more, as the map changes.

use super::rib::Outcome;
use super::{Target, Targets};
use crate::wire::Prefix;

/// Prefixes that lead into an overlay now and did not, or did and do so no more. None is in both.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Moves {
    /// They do now. Sorted.
    pub added: Vec<Prefix>,
    /// They did. Sorted.
    pub gone: Vec<Prefix>,
}

/// A prefix that began or ceased to lead into an overlay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Move {
    prefix: Prefix,
    now: bool,
}

impl Moves {
    /// True if nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.gone.is_empty()
    }

    /// What a change means for steering, if anything.
    pub(super) fn of(outcome: &Outcome) -> Option<Move> {
        let vtep = |target: &Target| matches!(target, Target::Vtep { .. });
        let inside = |targets: &Option<Targets>| targets.as_ref().is_some_and(|all| all.all().iter().any(vtep));
        let (before, now) = (inside(&outcome.before), inside(&outcome.after));
        (before != now).then_some(Move { prefix: outcome.prefix, now })
    }
}

impl FromIterator<Move> for Moves {
    /// What several moves, in the order of cause, come to.
    fn from_iter<I: IntoIterator<Item = Move>>(moves: I) -> Self {
        let mut all: Vec<Move> = moves.into_iter().collect();
        all.sort_by_key(|m| m.prefix); // stable: those of one prefix stay in order
        let mut sum = Self::default();
        for of_one in all.chunk_by(|a, b| a.prefix == b.prefix) {
            // they alternate: an even number of them is none
            if let (1, Some(last)) = (of_one.len() % 2, of_one.last()) {
                if last.now { sum.added.push(last.prefix) } else { sum.gone.push(last.prefix) }
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Target;
    use crate::tables::{OverlayId, PortId};
    use crate::wire::Mac;

    #[test]
    fn a_prefix_that_goes_and_comes_in_one_step_did_neither() {
        let node = |n| {
            let mac = Mac([2, 0, 0, 0, 0, n]);
            Some(Target::Vtep { overlay: OverlayId(0), vtep: [192, 0, 2, n].into(), mac, zero_checksum: false })
        };
        let native = Some(Target::Native { port: PortId(0), next_hop: [10, 0, 0, 1].into() });
        let outcome = |prefix: &str, before: Option<Target>, after: Option<Target>| Outcome {
            prefix: prefix.parse().unwrap(),
            before: before.map(Targets::from),
            after: after.map(Targets::from),
        };
        let outcomes = [
            outcome("10.2.0.0/16", None, node(1)),
            outcome("10.1.0.0/16", node(1), None),
            outcome("10.3.0.0/16", node(1), node(2)),
            outcome("10.1.0.0/16", None, node(2)),
            outcome("10.4.0.0/16", node(1), native),
            outcome("10.5.0.0/16", None, native),
            outcome("10.5.0.0/16", native, node(1)),
            outcome("10.1.0.0/16", node(2), None),
        ];
        let moves: Moves = outcomes.iter().filter_map(Moves::of).collect();
        let text = |all: &[Prefix]| all.iter().map(Prefix::to_string).collect::<Vec<_>>();
        assert_eq!(text(&moves.added), ["10.2.0.0/16", "10.5.0.0/16"]);
        assert_eq!(text(&moves.gone), ["10.1.0.0/16", "10.4.0.0/16"]);
    }
}
