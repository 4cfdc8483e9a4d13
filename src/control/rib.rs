//! The routing information base: every source's candidates for every prefix, and which of them is in force.

use std::collections::HashMap;

use super::shared::Shared;
use super::source::{Change, Event, SourceId};
use super::{Route, Target};
use crate::tables::PrefixMap;
use crate::wire::Prefix;

/// How much a source is believed against others; the lowest value wins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Preference(pub u8);

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
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
/// A million routes name a few thousand targets, so a candidate is kept once and prefixes have its number. Nearly every
/// prefix has one candidate, so those in force stand alone and close together; the others are kept apart.
#[derive(Debug, Default)]
pub struct Rib {
    preferences: HashMap<SourceId, Preference>,
    candidates: Shared<Candidate>,
    in_force: PrefixMap,
    /// Candidates behind the one in force, the next to follow it first; no list is empty.
    behind: HashMap<Prefix, Vec<u32>, ahash::RandomState>,
    /// What sources that are listing had said before and have not said again so far.
    stale: HashMap<SourceId, PrefixMap>,
}

impl Rib {
    /// An empty base in which `sources` may speak, each with its preference.
    pub fn new(sources: impl IntoIterator<Item = (SourceId, Preference)>) -> Self {
        Self { preferences: sources.into_iter().collect(), ..Self::default() }
    }

    /// How much a source is believed from now on; what it said before keeps its rank until it is said again.
    pub fn prefer(&mut self, source: SourceId, preference: Preference) {
        self.preferences.insert(source, preference);
    }

    /// What a source has said.
    pub fn routes_of(&self, source: SourceId) -> impl Iterator<Item = Route> + '_ {
        let of = move |number: &u32| self.candidates[*number].source == source;
        let first = self.in_force.iter().filter(move |(_, number)| of(number));
        let behind = self.behind.iter().flat_map(|(prefix, all)| all.iter().map(|number| (*prefix, *number)));
        let all = first.chain(behind.filter(move |(_, number)| of(number)));
        all.map(|(prefix, number)| Route { prefix, target: self.candidates[number].target })
    }

    /// Takes an event in, and tells what changed in force, in the order of cause: nothing for most events, one outcome
    /// for a change, one for each prefix that a complete list no longer has.
    pub fn apply(&mut self, event: Event, tell: impl FnMut(Outcome)) {
        let Event { source, change } = event;
        match change {
            Change::Announce(route) => self.announce(source, route).into_iter().for_each(tell),
            Change::Withdraw(prefix) => self.withdraw(source, prefix).into_iter().for_each(tell),
            Change::Resync => {
                let all = self.said_by(source);
                self.stale.insert(source, all);
            }
            Change::Synced => {
                let gone = self.stale.remove(&source).unwrap_or_default();
                gone.iter().filter_map(|(prefix, _)| self.withdraw(source, prefix)).for_each(tell);
            }
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

    /// All routes in force, sorted by prefix.
    pub fn routes(&self) -> impl Iterator<Item = Route> + '_ {
        self.in_force.iter().map(|(prefix, number)| Route { prefix, target: self.candidates[number].target })
    }

    fn announce(&mut self, source: SourceId, Route { prefix, target }: Route) -> Option<Outcome> {
        if let Some(stale) = self.stale.get_mut(&source) {
            stale.remove(&prefix);
        }
        let preference = self.preferences.get(&source).copied().unwrap_or(Preference(u8::MAX));
        let new = self.candidates.acquire(Candidate { preference, source, target });
        // in force before it is known whether another one is better: mostly nobody else speaks of the prefix
        let first = self.in_force.insert(prefix, new);
        self.settle(prefix, source, first, Some(new))
    }

    fn withdraw(&mut self, source: SourceId, prefix: Prefix) -> Option<Outcome> {
        let first = self.in_force.remove(&prefix)?;
        self.settle(prefix, source, Some(first), None)
    }

    /// All prefixes a source has said something about.
    fn said_by(&self, source: SourceId) -> PrefixMap {
        let theirs = |number: &u32| self.candidates[*number].source == source;
        let first = self.in_force.iter().filter(|(_, number)| theirs(number));
        let behind = self.behind.iter().filter(|(_, all)| all.iter().any(theirs)).map(|(prefix, _)| (*prefix, 0));
        first.chain(behind).collect()
    }

    /// Makes the best candidate the one in force, where `new` took the place of `first` because `source` said so.
    fn settle(&mut self, prefix: Prefix, source: SourceId, first: Option<u32>, new: Option<u32>) -> Option<Outcome> {
        let target = |rib: &Self, number: Option<u32>| number.map(|n| rib.candidates[n].target);
        let before = target(self, first);
        let alone = first.is_none_or(|n| self.candidates[n].source == source) && !self.behind.contains_key(&prefix);
        let best = if alone { new } else { self.contest(prefix, source, first, new) };
        let after = target(self, best);
        if alone && let Some(first) = first {
            self.candidates.release(first);
        }
        (before != after).then_some(Outcome { prefix, before, after })
    }

    /// Puts the best of several candidates in force, and keeps the others behind it.
    fn contest(&mut self, prefix: Prefix, source: SourceId, first: Option<u32>, new: Option<u32>) -> Option<u32> {
        let others = first.into_iter().chain(self.behind.remove(&prefix).unwrap_or_default());
        let (past, mut all): (Vec<u32>, Vec<u32>) = others.partition(|n| self.candidates[*n].source == source);
        all.extend(new);
        all.sort_unstable_by_key(|n| core::cmp::Reverse(self.candidates[*n]));
        past.into_iter().for_each(|n| self.candidates.release(n));
        let best = all.pop();
        match best {
            Some(best) => self.in_force.insert(prefix, best),
            None => self.in_force.remove(&prefix),
        };
        if !all.is_empty() {
            all.reverse();
            self.behind.insert(prefix, all);
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

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
        let mut said = Vec::new();
        rib.apply(Event { source, change }, |o| said.push((o.before, o.after)));
        said
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

    /// What anybody may say of few prefixes.
    fn event() -> impl Strategy<Value = Event> {
        let prefix = || (0u8..6).prop_map(|n| Prefix::host([10, 1, 0, n].into()));
        let change = prop_oneof![
            4 => (prefix(), 0u8..4).prop_map(|(prefix, n)| Change::Announce(Route { prefix, target: via(n) })),
            2 => prefix().prop_map(Change::Withdraw),
            1 => Just(Change::Resync),
            1 => Just(Change::Synced),
        ];
        (0u8..3, change).prop_map(|(source, change)| Event { source: SourceId(source), change })
    }

    proptest! {
        /// Against a list of what each source says now, and what it said before a list that is not complete yet.
        #[test]
        fn any_history_has_the_best_of_what_is_said_in_force(events in prop::collection::vec(event(), 1..200)) {
            let preferences = [20, 10, 10];
            let mut rib = Rib::new((0u8..3).map(|n| (SourceId(n), Preference(preferences[usize::from(n)]))));
            let (mut said, mut stale) = (BTreeMap::new(), BTreeSet::<(Prefix, SourceId)>::new());
            let mut told = BTreeMap::new();
            for Event { source, change } in events {
                match change {
                    Change::Announce(Route { prefix, target }) => {
                        said.insert((prefix, source), target);
                        stale.remove(&(prefix, source));
                    }
                    Change::Withdraw(prefix) => _ = said.remove(&(prefix, source)),
                    Change::Resync => stale.extend(said.keys().filter(|(_, s)| *s == source)),
                    Change::Synced => {
                        said.retain(|key, _| key.1 != source || !stale.contains(key));
                        stale.retain(|key| key.1 != source);
                    }
                }
                rib.apply(Event { source, change }, |o| {
                    assert_ne!(o.before, o.after);
                    let before = match o.after {
                        Some(target) => told.insert(o.prefix, target),
                        None => told.remove(&o.prefix),
                    };
                    assert_eq!(before, o.before);
                });
                let mut best = BTreeMap::new();
                for ((prefix, source), target) in &said {
                    let rank = (preferences[usize::from(source.0)], source.0, *target);
                    best.entry(*prefix).and_modify(|b| *b = rank.min(*b)).or_insert(rank);
                }
                let best: Vec<Route> =
                    best.into_iter().map(|(prefix, (.., target))| Route { prefix, target }).collect();
                prop_assert_eq!(rib.routes().collect::<Vec<_>>(), best.clone());
                prop_assert!(told.iter().map(|(p, t)| Route { prefix: *p, target: *t }).eq(best), "as was told");
                let distinct: BTreeSet<_> = said.iter().map(|((_, source), target)| (source.0, *target)).collect();
                prop_assert_eq!(rib.candidates.len(), distinct.len(), "none is forgotten, none is kept");
            }
        }
    }
}
