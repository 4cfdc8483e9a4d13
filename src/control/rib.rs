//! The routing information base: every source's candidates for every prefix, and which of them is in force.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::source::{Change, Event, SourceId};
use super::{Route, Target};
use crate::wire::Prefix;

/// How much a source is believed against others; the lowest value wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Preference(pub u8);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Candidate {
    preference: Preference,
    source: SourceId,
    target: Target,
}

/// What a change did to the target in force for a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The prefix.
    pub prefix: Prefix,
    /// The target before, if any.
    pub before: Option<Target>,
    /// The target now, if any.
    pub after: Option<Target>,
}

/// Candidates of all sources.
///
/// Nearly every prefix has one candidate, so those in force stand alone and close together; the others are kept apart.
#[derive(Debug, Default)]
pub struct Rib {
    preferences: HashMap<SourceId, Preference>,
    in_force: BTreeMap<Prefix, Candidate>,
    /// Candidates behind the one in force, the next to follow it first; no list is empty.
    behind: HashMap<Prefix, Vec<Candidate>, ahash::RandomState>,
    /// Sources that are listing, and what they listed so far.
    listing: HashMap<SourceId, HashSet<Prefix, ahash::RandomState>>,
}

impl Rib {
    /// An empty base in which `sources` may speak, each with its preference.
    pub fn new(sources: impl IntoIterator<Item = (SourceId, Preference)>) -> Self {
        Self { preferences: sources.into_iter().collect(), ..Self::default() }
    }

    /// Takes an event in. Returns what changed in force, in the order of cause: nothing for most events, one outcome
    /// for a change, one for each prefix that a complete list no longer has.
    pub fn apply(&mut self, event: Event) -> Vec<Outcome> {
        let Event { source, change } = event;
        match change {
            Change::Announce(route) => self.announce(source, route).into_iter().collect(),
            Change::Withdraw(prefix) => self.withdraw(source, prefix).into_iter().collect(),
            Change::Resync => {
                self.listing.insert(source, HashSet::default());
                Vec::new()
            }
            Change::Synced => self.sweep(source),
        }
    }

    /// Prefixes with a target in force.
    pub fn len(&self) -> usize {
        self.in_force.len()
    }

    /// True when there is no prefix.
    pub fn is_empty(&self) -> bool {
        self.in_force.is_empty()
    }

    fn announce(&mut self, source: SourceId, Route { prefix, target }: Route) -> Option<Outcome> {
        if let Some(listed) = self.listing.get_mut(&source) {
            listed.insert(prefix);
        }
        let preference = self.preferences.get(&source).copied().unwrap_or(Preference(u8::MAX));
        self.replace(prefix, source, Some(Candidate { preference, source, target }))
    }

    fn withdraw(&mut self, source: SourceId, prefix: Prefix) -> Option<Outcome> {
        self.replace(prefix, source, None)
    }

    fn sweep(&mut self, source: SourceId) -> Vec<Outcome> {
        let Some(listed) = self.listing.remove(&source) else { return Vec::new() };
        let behind = |p: &Prefix| self.behind.get(p).is_some_and(|all| all.iter().any(|c| c.source == source));
        let named = |(p, c): &(&Prefix, &Candidate)| c.source == source || behind(p);
        let gone: Vec<_> =
            self.in_force.iter().filter(|entry| !listed.contains(entry.0) && named(entry)).map(|(p, _)| *p).collect();
        gone.into_iter().filter_map(|p| self.withdraw(source, p)).collect()
    }

    /// Puts `new` in the place of what `source` said about a prefix before.
    fn replace(&mut self, prefix: Prefix, source: SourceId, new: Option<Candidate>) -> Option<Outcome> {
        let before = self.in_force.get(&prefix).copied();
        let alone = before.is_none_or(|c| c.source == source) && !self.behind.contains_key(&prefix);
        let after = if alone { new } else { self.contest(prefix, before, source, new) };
        match after {
            Some(candidate) => self.in_force.insert(prefix, candidate),
            None => self.in_force.remove(&prefix),
        };
        let (before, after) = (before.map(|c| c.target), after.map(|c| c.target));
        (before != after).then_some(Outcome { prefix, before, after })
    }

    /// Finds the best of several candidates, and keeps the others behind it.
    fn contest(
        &mut self,
        prefix: Prefix,
        first: Option<Candidate>,
        source: SourceId,
        new: Option<Candidate>,
    ) -> Option<Candidate> {
        let others = first.into_iter().chain(self.behind.remove(&prefix).unwrap_or_default());
        let mut all: Vec<Candidate> = others.filter(|c| c.source != source).chain(new).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        let best = all.pop();
        if !all.is_empty() {
            all.reverse();
            self.behind.insert(prefix, all);
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::PortId;

    const A: SourceId = SourceId(0);
    const B: SourceId = SourceId(1);

    fn rib() -> Rib {
        Rib::new([(A, Preference(10)), (B, Preference(20))])
    }

    fn via(n: u8) -> Target {
        Target::Native { port: PortId(n), next_hop: [10, 0, 0, n].into() }
    }

    fn prefix() -> Prefix {
        "10.1.0.0/24".parse().unwrap()
    }

    fn say(rib: &mut Rib, source: SourceId, change: Change) -> Vec<(Option<Target>, Option<Target>)> {
        rib.apply(Event { source, change }).into_iter().map(|o| (o.before, o.after)).collect()
    }

    fn announce(rib: &mut Rib, source: SourceId, n: u8) -> Vec<(Option<Target>, Option<Target>)> {
        say(rib, source, Change::Announce(Route { prefix: prefix(), target: via(n) }))
    }

    #[test]
    fn preference_decides_not_order() {
        let mut r = rib();
        assert_eq!(announce(&mut r, B, 2), [(None, Some(via(2)))]);
        assert_eq!(announce(&mut r, A, 1), [(Some(via(2)), Some(via(1)))]);
        assert_eq!(announce(&mut r, B, 3), [], "the loser may say what it likes");
        assert_eq!(say(&mut r, A, Change::Withdraw(prefix())), [(Some(via(1)), Some(via(3)))]);
        assert_eq!(say(&mut r, A, Change::Withdraw(prefix())), []);
        assert_eq!(say(&mut r, B, Change::Withdraw(prefix())), [(Some(via(3)), None)]);
        assert!(r.is_empty());
    }

    #[test]
    fn a_complete_list_sweeps_what_it_does_not_name_and_only_that() {
        let mut r = rib();
        announce(&mut r, A, 1);
        announce(&mut r, B, 2);
        assert_eq!(say(&mut r, A, Change::Resync), []);
        assert_eq!(announce(&mut r, A, 1), [], "unchanged");
        assert_eq!(say(&mut r, A, Change::Synced), []);
        say(&mut r, A, Change::Resync);
        assert_eq!(say(&mut r, A, Change::Synced), [(Some(via(1)), Some(via(2)))]);
        assert_eq!(say(&mut r, A, Change::Synced), [], "not listing");
        assert_eq!(r.len(), 1);
    }
}
