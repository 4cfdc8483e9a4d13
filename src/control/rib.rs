//! The routing information base: every source's candidates for every prefix, and which of them is in force.

use core::iter;
use core::net::IpAddr;
use std::collections::HashMap;

use super::shared::Shared;
use super::source::{Change, Event, SourceId};
use super::{Route, Targets};
use crate::tables::PrefixMap;
use crate::wire::Prefix;

/// How much a source is believed against others; the lowest value wins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Preference(pub u8);

/// What one source says of a prefix. The least is in force, together with all that are believed as much.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Candidate {
    /// How much the source is believed.
    pub preference: Preference,
    /// Who says it.
    pub source: SourceId,
    /// Where packets go by it.
    pub targets: Targets,
}

/// All that is said of a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said<'r> {
    /// The prefix.
    pub prefix: Prefix,
    /// What counts.
    pub in_force: &'r Candidate,
    /// What counts beside it, if it is believed as much, or would count without it; the next to follow first.
    pub behind: Vec<&'r Candidate>,
}

impl Said<'_> {
    /// Are a candidate's targets in force?
    pub fn has_in_force(&self, candidate: &Candidate) -> bool {
        candidate.preference == self.in_force.preference
    }
}

/// What a change did to the targets in force for a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The prefix.
    pub prefix: Prefix,
    /// The targets before, if any.
    pub before: Option<Targets>,
    /// The targets now, if any.
    pub after: Option<Targets>,
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
        all.flat_map(|(prefix, number)| {
            self.candidates[number].targets.all().iter().map(move |target| Route { prefix, target: *target })
        })
    }

    /// Takes an event in, and tells what changed in force, in the order of cause: nothing for most events, one outcome
    /// for a change, one for each prefix that a complete list no longer has.
    pub fn apply(&mut self, event: Event, tell: impl FnMut(Outcome)) {
        let Event { source, change } = event;
        match change {
            Change::Announce(Route { prefix, target }) => {
                self.announce(source, prefix, target.into()).into_iter().for_each(tell);
            }
            Change::AnnounceAll(prefix, targets) => {
                self.announce(source, prefix, targets).into_iter().for_each(tell);
            }
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

    /// Prefixes with targets in force.
    pub fn len(&self) -> usize {
        self.in_force.len()
    }

    /// True when there is no prefix.
    pub fn is_empty(&self) -> bool {
        self.in_force.is_empty()
    }

    /// All routes in force, sorted by prefix; one for each target.
    pub fn routes(&self) -> impl Iterator<Item = Route> + '_ {
        self.in_force.iter().flat_map(|(prefix, number)| {
            let targets = self.targets(&prefix, number);
            (0..targets.all().len()).map(move |n| Route { prefix, target: targets.all()[n] })
        })
    }

    /// What is said of exactly this prefix, if anything is.
    pub fn candidates(&self, prefix: &Prefix) -> Option<Said<'_>> {
        let in_force = &self.candidates[self.in_force.get(prefix)?];
        let behind = self.behind.get(prefix).into_iter().flatten().map(|number| &self.candidates[*number]);
        Some(Said { prefix: *prefix, in_force, behind: behind.collect() })
    }

    /// What is said of all prefixes that hold an address, from the longest to the shortest: the first one decides where
    /// its packets go.
    pub fn explain(&self, addr: IpAddr) -> impl Iterator<Item = Said<'_>> {
        let host = Prefix::host(addr);
        let shorter = |prefix: &Prefix| Some(prefix.widened(self.in_force.holder(prefix, 0)?.0));
        iter::successors(Some(host), shorter).filter_map(|prefix| self.candidates(&prefix))
    }

    fn announce(&mut self, source: SourceId, prefix: Prefix, targets: Targets) -> Option<Outcome> {
        if let Some(stale) = self.stale.get_mut(&source) {
            stale.remove(&prefix);
        }
        let preference = self.preferences.get(&source).copied().unwrap_or(Preference(u8::MAX));
        let new = self.candidates.acquire(Candidate { preference, source, targets });
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

    /// The targets in force for a prefix whose best candidate is this one: its own, and those of all behind it that are
    /// believed as much.
    fn targets(&self, prefix: &Prefix, best: u32) -> Targets {
        let best = &self.candidates[best];
        let behind = self.behind.get(prefix).into_iter().flatten().map(|number| &self.candidates[*number]);
        let equal = behind.take_while(|candidate| candidate.preference == best.preference);
        equal.fold(best.targets.clone(), |all, candidate| all.and(&candidate.targets))
    }

    /// Makes the best candidate the one in force, where `new` took the place of `first` because `source` said so.
    fn settle(&mut self, prefix: Prefix, source: SourceId, first: Option<u32>, new: Option<u32>) -> Option<Outcome> {
        let before = first.map(|n| self.targets(&prefix, n));
        let alone = first.is_none_or(|n| self.candidates[n].source == source) && !self.behind.contains_key(&prefix);
        let best = if alone { new } else { self.contest(prefix, source, first, new) };
        let after = best.map(|n| self.targets(&prefix, n));
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
        all.sort_unstable_by(|a, b| self.candidates[*b].cmp(&self.candidates[*a]));
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

    use super::super::Target;
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

    fn any_of(all: &[u8]) -> Targets {
        Targets::of(all.iter().map(|n| via(*n))).unwrap()
    }

    fn prefix() -> Prefix {
        "10.1.0.0/24".parse().unwrap()
    }

    type Told = Vec<(Option<Targets>, Option<Targets>)>;

    fn say(rib: &mut Rib, source: SourceId, change: Change) -> Told {
        let mut said = Vec::new();
        rib.apply(Event { source, change }, |o| said.push((o.before, o.after)));
        said
    }

    fn announce(rib: &mut Rib, source: SourceId, n: u8) -> Told {
        say(rib, source, Change::Announce(Route { prefix: prefix(), target: via(n) }))
    }

    #[test]
    fn preference_decides_not_order() {
        let mut r = rib();
        assert_eq!(announce(&mut r, B, 2), [(None, Some(any_of(&[2])))]);
        assert_eq!(announce(&mut r, A, 1), [(Some(any_of(&[2])), Some(any_of(&[1])))]);
        assert_eq!(announce(&mut r, B, 3), [], "the loser may say what it likes");
        assert_eq!(say(&mut r, A, Change::Withdraw(prefix())), [(Some(any_of(&[1])), Some(any_of(&[3])))]);
        assert_eq!(say(&mut r, A, Change::Withdraw(prefix())), []);
        assert_eq!(say(&mut r, B, Change::Withdraw(prefix())), [(Some(any_of(&[3])), None)]);
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
        assert_eq!(say(&mut r, A, Change::Synced), [(Some(any_of(&[1])), Some(any_of(&[2])))]);
        assert_eq!(say(&mut r, A, Change::Synced), [], "not listing");
        assert_eq!(r.len(), 1);
    }

    #[test]
    fn several_targets_are_in_force_together_and_take_each_others_place() {
        let mut r = rib();
        let all = |targets: &[u8]| Change::AnnounceAll(prefix(), any_of(targets));
        assert_eq!(say(&mut r, A, all(&[2, 1])), [(None, Some(any_of(&[1, 2])))]);
        assert_eq!(say(&mut r, A, all(&[1, 2, 2])), [], "the same again");
        assert_eq!(r.routes().map(|route| route.target).collect::<Vec<_>>(), [via(1), via(2)]);
        assert_eq!(announce(&mut r, B, 3), [], "who is believed less has no share");
        assert_eq!(say(&mut r, A, all(&[2])), [(Some(any_of(&[1, 2])), Some(any_of(&[2])))]);
        assert_eq!(announce(&mut r, A, 2), [], "one of one is that one");
        assert_eq!(say(&mut r, B, all(&[3, 4])), []);
        assert_eq!(say(&mut r, A, Change::Withdraw(prefix())), [(Some(any_of(&[2])), Some(any_of(&[3, 4])))]);
        assert_eq!((r.len(), r.routes().count()), (1, 2));
    }

    #[test]
    fn who_is_believed_as_much_has_a_share() {
        let mut r = Rib::new([(A, Preference(10)), (B, Preference(10))]);
        assert_eq!(announce(&mut r, A, 1), [(None, Some(any_of(&[1])))]);
        assert_eq!(announce(&mut r, B, 2), [(Some(any_of(&[1])), Some(any_of(&[1, 2])))]);
        assert_eq!(announce(&mut r, B, 1), [(Some(any_of(&[1, 2])), Some(any_of(&[1])))], "both say the same");
        assert_eq!(say(&mut r, A, Change::Withdraw(prefix())), [], "one of them is enough");
        assert_eq!((r.len(), r.routes().count()), (1, 1));
    }

    #[test]
    fn an_address_is_explained_from_the_longest_prefix_to_the_shortest() {
        let mut r = rib();
        let said = |source, prefix: &str, n: u8| {
            let route = Route { prefix: prefix.parse().unwrap(), target: via(n) };
            Event { source, change: Change::Announce(route) }
        };
        for (source, prefix, n) in [
            (A, "0.0.0.0/0", 1),
            (B, "10.1.0.0/16", 2),
            (B, "10.1.7.0/24", 3),
            (A, "10.1.7.0/24", 4),
            (B, "10.1.7.9/32", 5),
            (A, "10.1.8.0/24", 6),
            (A, "::/0", 7),
        ] {
            r.apply(said(source, prefix, n), drop);
        }
        let of = |addr: &str| -> Vec<_> {
            let line = |said: Said<'_>| {
                let candidate = |c: &Candidate| (c.source, c.preference, c.targets.clone());
                let behind: Vec<_> = said.behind.into_iter().map(candidate).collect();
                (said.prefix.to_string(), candidate(said.in_force), behind)
            };
            r.explain(addr.parse().unwrap()).map(line).collect()
        };
        let (a, b) = (
            |n| (A, Preference(10), any_of(&[n])), //
            |n| (B, Preference(20), any_of(&[n])),
        );
        let line = |prefix: &str, in_force, behind| (prefix.to_owned(), in_force, behind);
        let short = [line("10.1.0.0/16", b(2), vec![]), line("0.0.0.0/0", a(1), vec![])];
        let middle = line("10.1.7.0/24", a(4), vec![b(3)]);
        assert_eq!(of("10.1.9.1"), short);
        assert_eq!(of("10.1.7.8"), [core::slice::from_ref(&middle), &short[..]].concat());
        assert_eq!(of("10.1.7.9"), [&[line("10.1.7.9/32", b(5), vec![]), middle], &short[..]].concat());
        assert_eq!(of("fd00::1"), [line("::/0", a(7), vec![])]);
        r.apply(Event { source: A, change: Change::Withdraw("::/0".parse().unwrap()) }, drop);
        assert_eq!(r.explain("fd00::1".parse().unwrap()).count(), 0);
        assert_eq!(r.candidates(&"10.1.7.0/25".parse().unwrap()), None);
    }

    /// What anybody may say of few prefixes.
    fn event() -> impl Strategy<Value = Event> {
        let prefix = || {
            (0u8..4, prop::sample::select(vec![24, 31, 32]))
                .prop_map(|(n, len)| Prefix::host([10, 1, 0, n].into()).widened(len))
        };
        let change = prop_oneof![
            3 => (prefix(), 0u8..4).prop_map(|(prefix, n)| Change::Announce(Route { prefix, target: via(n) })),
            2 => (prefix(), prop::collection::vec(0u8..4, 1..4))
                .prop_map(|(prefix, all)| Change::AnnounceAll(prefix, any_of(&all))),
            2 => prefix().prop_map(Change::Withdraw),
            1 => Just(Change::Resync),
            1 => Just(Change::Synced),
        ];
        (0u8..3, change).prop_map(|(source, change)| Event { source: SourceId(source), change })
    }

    /// The targets of all who are believed most.
    fn equal(all: &BTreeSet<Candidate>) -> Targets {
        let most = all.first().unwrap().preference;
        let best = all.iter().filter(|candidate| candidate.preference == most);
        Targets::of(best.flat_map(|candidate| candidate.targets.all().to_vec())).unwrap()
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
                match change.clone() {
                    Change::Announce(Route { prefix, target }) => {
                        said.insert((prefix, source), Targets::from(target));
                        stale.remove(&(prefix, source));
                    }
                    Change::AnnounceAll(prefix, targets) => {
                        said.insert((prefix, source), targets);
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
                        Some(targets) => told.insert(o.prefix, targets),
                        None => told.remove(&o.prefix),
                    };
                    assert_eq!(before, o.before);
                });
                let mut best = BTreeMap::<Prefix, BTreeSet<Candidate>>::new();
                for ((prefix, source), targets) in &said {
                    let preference = Preference(preferences[usize::from(source.0)]);
                    let candidate = Candidate { preference, source: *source, targets: targets.clone() };
                    best.entry(*prefix).or_default().insert(candidate);
                }
                let in_force: BTreeMap<_, _> = best.iter().map(|(prefix, all)| (*prefix, equal(all))).collect();
                let routes = in_force.iter().flat_map(|(prefix, targets)| {
                    targets.all().iter().map(|target| Route { prefix: *prefix, target: *target })
                });
                prop_assert!(rib.routes().eq(routes));
                prop_assert_eq!(&told, &in_force, "as was told");
                for n in 0..5 {
                    let addr = IpAddr::from([10, 1, 0, n]);
                    let mut covering: Vec<_> = best.iter().filter(|(prefix, _)| prefix.contains(addr)).collect();
                    covering.sort_by_key(|(prefix, _)| core::cmp::Reverse(prefix.len()));
                    let explained = rib.explain(addr).map(|s| (s.prefix, [&[s.in_force], &s.behind[..]].concat()));
                    let expected = covering.into_iter().map(|(prefix, all)| (*prefix, all.iter().collect::<Vec<_>>()));
                    prop_assert!(explained.eq(expected), "{}", addr);
                }
                let distinct: BTreeSet<_> = said.iter().map(|((_, source), targets)| (source.0, targets)).collect();
                prop_assert_eq!(rib.candidates.len(), distinct.len(), "none is forgotten, none is kept");
            }
        }
    }
}
