//! What one source has said: its objects, which prefix is whose, and what was not taken.

use core::mem;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use super::guard::Guard;
use super::index::Index;
use super::rules::Rules;
use crate::control::source::{Claim, Fault, Key, Object, Refusal};
use crate::wire::Prefix;

/// An object as it was told last.
#[derive(Debug, Default)]
struct Entry {
    /// Sorted, each once, without our own advertisements.
    claims: Vec<Claim>,
    /// What the source could not make sense of, then what was not taken.
    faults: Vec<Fault>,
    /// How many of those are the source's.
    told: usize,
    /// The list that named it last.
    list: u32,
    stay: Stay,
}

/// Why an object's prefixes are in force.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Stay {
    /// It claims them.
    #[default]
    Said,
    /// It claims them no more, and it is still to be judged whether they go; `gone` if the object itself is.
    Leaving { gone: bool },
    /// They stay until somebody says that they may go.
    Held { gone: bool },
}

/// Withdrawals are judged together once there was none for so long: an object that is replaced in two steps is never
/// without its prefixes, and of a source that is emptied key by key nothing goes.
const CALM: Duration = Duration::from_millis(150);
/// But no later than this after the first.
const PATIENCE: Duration = Duration::from_millis(500);

/// Withdrawals that are still to be judged.
#[derive(Debug)]
struct Departure {
    first: Instant,
    last: Instant,
    keys: BTreeSet<Key>,
}

impl Departure {
    fn due(&self) -> Instant {
        (self.last + CALM).min(self.first + PATIENCE)
    }
}

/// What became of prefixes, in the order of cause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// In force, behind these; `fresh` if it was not before.
    Put { prefix: Prefix, behind: Vec<Claim>, fresh: bool },
    /// No more.
    Take(Prefix),
}

/// Asks whether a prefix overlaps one of another overlay: then which, and whose.
pub(super) type Obstacle<'a> = &'a dyn Fn(Prefix) -> Option<(Prefix, String)>;

/// What one source has said.
#[derive(Debug)]
pub(super) struct Ledger {
    rules: Rules,
    objects: HashMap<Key, Entry, ahash::RandomState>,
    /// Whose each prefix in force is.
    owners: Index<Key>,
    /// Objects with a prefix that may be taken once another goes.
    waiting: BTreeSet<Key>,
    guard: Guard,
    departure: Option<Departure>,
    /// Lists begun.
    list: u32,
    /// A prefix went since waiting objects were looked at.
    freed: bool,
}

impl Ledger {
    pub(super) fn new(rules: Rules) -> Self {
        let guard = Guard::new(rules.withdraw_at_most);
        Self {
            rules,
            objects: HashMap::default(),
            owners: Index::default(),
            waiting: BTreeSet::new(),
            guard,
            departure: None,
            list: 0,
            freed: false,
        }
    }

    /// Prefixes in force.
    pub(super) fn len(&self) -> usize {
        self.owners.len()
    }

    /// Objects that are gone and whose prefixes stay.
    pub(super) fn held(&self) -> usize {
        self.objects.values().filter(|e| matches!(e.stay, Stay::Held { .. })).count()
    }

    /// Everything that was not taken, by object.
    pub(super) fn faults(&self) -> impl Iterator<Item = (&Key, &Fault)> {
        self.objects.iter().flat_map(|(key, entry)| entry.faults.iter().map(move |fault| (key, fault)))
    }

    /// What was not taken of one object.
    pub(super) fn faults_of(&self, key: &Key) -> &[Fault] {
        self.objects.get(key).map_or(&[], |e| &e.faults)
    }

    /// Objects there are.
    pub(super) fn objects(&self) -> usize {
        self.objects.len()
    }

    /// The object a prefix in force is of.
    pub(super) fn owner(&self, prefix: &Prefix) -> Option<&Key> {
        self.owners.get(prefix)
    }

    /// Takes an object in. True if it is not what it was.
    pub(super) fn is(&mut self, object: Object, now: Instant, obstacle: Obstacle<'_>, steps: &mut Vec<Step>) -> bool {
        let Object { key, mut claims, faults } = object;
        claims.retain(|c| !self.rules.is_own(c));
        claims.sort_unstable();
        claims.dedup();
        let leaves = claims.is_empty() && !self.prefixes_of(&key).is_empty();
        let entry = self.objects.entry(key.clone()).or_default();
        entry.list = self.list;
        let same_faults = entry.faults.get(..entry.told) == Some(&faults);
        if same_faults && (entry.claims == claims && entry.stay == Stay::Said || leaves && entry.stay != Stay::Said) {
            return false;
        }
        (entry.told, entry.faults) = (faults.len(), faults);
        if leaves {
            self.leave(&key, false, now);
            return true;
        }
        entry.stay = Stay::Said;
        let before = mem::replace(&mut entry.claims, claims);
        let stays: BTreeSet<Prefix> = entry.claims.iter().map(|c| c.prefix).collect();
        for prefix in before.iter().map(|c| c.prefix).filter(|p| !stays.contains(p)) {
            self.take(&key, prefix, steps);
        }
        self.put(&key, obstacle, steps);
        true
    }

    /// An object is gone.
    pub(super) fn gone(&mut self, key: &Key, now: Instant) {
        self.leave(key, true, now);
    }

    /// A complete list begins.
    pub(super) fn listing(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// A complete list ends: what it did not name is gone.
    pub(super) fn listed(&mut self, now: Instant, steps: &mut Vec<Step>) {
        let unnamed = self.objects.iter().filter(|(_, e)| e.list != self.list).map(|(k, _)| k.clone());
        for key in unnamed.collect::<Vec<_>>() {
            self.leave(&key, true, now);
        }
        self.depart(now, steps);
    }

    /// When withdrawals are to be judged, if there are any.
    pub(super) fn due(&self) -> Option<Instant> {
        self.departure.as_ref().map(Departure::due)
    }

    /// Judges the withdrawals that wait, if it is time: all of them go, or none.
    pub(super) fn tend(&mut self, now: Instant, steps: &mut Vec<Step>) {
        if self.due().is_some_and(|due| due <= now) {
            self.depart(now, steps);
        }
    }

    /// What is gone is meant to be: nothing is held back any more.
    pub(super) fn accept(&mut self, steps: &mut Vec<Step>) {
        let keys = self.objects.iter().filter(|(_, e)| e.stay != Stay::Said).map(|(k, _)| k.clone());
        for key in keys.collect::<Vec<_>>() {
            self.forget(&key, steps);
        }
        self.departure = None;
        self.guard.absolve();
    }

    /// Looks again at what could not be taken, if anything went since.
    pub(super) fn retry(&mut self, obstacle: Obstacle<'_>, steps: &mut Vec<Step>) {
        for key in mem::take(&mut self.waiting) {
            self.put(&key, obstacle, steps);
        }
    }

    /// Objects and what they claim, for a snapshot.
    pub(super) fn claims(&self) -> impl Iterator<Item = (&Key, &[Claim])> {
        self.objects.iter().filter(|(_, e)| !e.claims.is_empty()).map(|(key, e)| (key, e.claims.as_slice()))
    }

    /// True if a prefix went since this was asked.
    pub(super) fn take_freed(&mut self) -> bool {
        mem::take(&mut self.freed)
    }

    /// Decides anew about what was in force, by other rules or among other prefixes. All else waits to be [tried
    /// again](Self::retry), so that of no source something new takes the place of what another one had in force.
    pub(super) fn judge_anew(&mut self, rules: Rules, obstacle: Obstacle<'_>, steps: &mut Vec<Step>) {
        if rules.withdraw_at_most != self.rules.withdraw_at_most {
            self.guard = Guard::new(rules.withdraw_at_most);
        }
        self.rules = rules;
        let first: BTreeSet<Key> = mem::take(&mut self.owners).iter().map(|(_, key)| key.clone()).collect();
        self.waiting = self.objects.keys().filter(|k| !first.contains(*k)).cloned().collect();
        first.iter().for_each(|key| self.put(key, obstacle, steps));
    }

    /// Prefixes in force that are an object's.
    fn prefixes_of(&self, key: &Key) -> Vec<Prefix> {
        let claims = self.objects.get(key).map_or(&[][..], |e| &e.claims);
        let mut prefixes: Vec<Prefix> = claims.iter().map(|c| c.prefix).collect();
        prefixes.dedup(); // they are sorted
        prefixes.retain(|p| self.owners.get(p) == Some(key));
        prefixes
    }

    /// An object claims nothing any more. What it had stays in force until it is judged.
    fn leave(&mut self, key: &Key, gone: bool, now: Instant) {
        let Some(entry) = self.objects.get_mut(key) else { return };
        if let Stay::Held { .. } = entry.stay {
            entry.stay = Stay::Held { gone };
            return;
        }
        entry.stay = Stay::Leaving { gone };
        let departure = self.departure.get_or_insert(Departure { first: now, last: now, keys: BTreeSet::new() });
        departure.last = now;
        departure.keys.insert(key.clone());
    }

    fn depart(&mut self, now: Instant, steps: &mut Vec<Step>) {
        let Some(Departure { keys, .. }) = self.departure.take() else { return };
        let leaving = |key: &&Key| self.objects.get(*key).is_some_and(|e| matches!(e.stay, Stay::Leaving { .. }));
        let keys: Vec<&Key> = keys.iter().filter(leaving).collect();
        let prefixes = keys.iter().map(|key| self.prefixes_of(key).len()).sum();
        let may = prefixes == 0 || self.guard.may_go(prefixes, self.owners.len(), now);
        for key in keys {
            match may || self.prefixes_of(key).is_empty() {
                true => self.forget(key, steps),
                false => self.hold(key),
            }
        }
    }

    fn hold(&mut self, key: &Key) {
        if let Some(entry) = self.objects.get_mut(key)
            && let Stay::Leaving { gone } = entry.stay
        {
            entry.stay = Stay::Held { gone };
        }
    }

    /// Takes back what an object claimed, and forgets it unless it is still there.
    fn forget(&mut self, key: &Key, steps: &mut Vec<Step>) {
        for prefix in self.prefixes_of(key) {
            self.take(key, prefix, steps);
        }
        self.waiting.remove(key);
        let Some(entry) = self.objects.get_mut(key) else { return };
        if let Stay::Leaving { gone: true } | Stay::Held { gone: true } = entry.stay {
            self.objects.remove(key);
        } else {
            entry.claims.clear();
            entry.faults.truncate(entry.told);
            entry.stay = Stay::Said;
        }
    }

    fn take(&mut self, key: &Key, prefix: Prefix, steps: &mut Vec<Step>) {
        if self.owners.get(&prefix) == Some(key) {
            self.owners.remove(&prefix);
            self.freed = true;
            steps.push(Step::Take(prefix));
        }
    }

    /// Puts what an object claims in force, as far as nothing speaks against it.
    fn put(&mut self, key: &Key, obstacle: Obstacle<'_>, steps: &mut Vec<Step>) {
        let Some(entry) = self.objects.get_mut(key) else { return };
        entry.faults.truncate(entry.told);
        let mut groups: BTreeMap<Prefix, Vec<Claim>> = BTreeMap::new();
        for claim in &entry.claims {
            match self.rules.refuse(claim) {
                None => groups.entry(claim.prefix).or_default().push(*claim),
                Some(fault) => entry.faults.push(fault),
            }
        }
        let refused = entry.claims.iter().map(|c| c.prefix).filter(|p| !groups.contains_key(p));
        // what was believed before is not said any more
        for prefix in refused.collect::<Vec<_>>() {
            self.take(key, prefix, steps);
        }
        for (prefix, claims) in groups {
            match self.against(key, prefix, obstacle, steps) {
                None => {
                    let fresh = self.owners.get(&prefix).is_none();
                    self.owners.insert(prefix, key.clone());
                    steps.push(Step::Put { prefix, behind: claims, fresh });
                }
                Some(fault) => {
                    self.take(key, prefix, steps);
                    self.waiting.insert(key.clone());
                    if let Some(entry) = self.objects.get_mut(key) {
                        entry.faults.push(fault);
                    }
                }
            }
        }
    }

    /// What speaks against a prefix among those in force. What nobody claims any more gives way to what is said now.
    fn against(&mut self, key: &Key, prefix: Prefix, obstacle: Obstacle<'_>, steps: &mut Vec<Step>) -> Option<Fault> {
        let nested = self.rules.nested;
        let clashes = |p: &Prefix| !nested || *p == prefix;
        let others = self.owners.overlapping(prefix).filter(|(p, owner)| *owner != key && clashes(p));
        let others: Vec<(Prefix, Key)> = others.map(|(p, owner)| (p, owner.clone())).collect();
        let is_said = |owner: &Key| self.objects.get(owner).is_some_and(|e| e.stay == Stay::Said);
        if let Some((theirs, owner)) = others.iter().find(|(_, owner)| is_said(owner)) {
            let what = format!("{prefix} overlaps {theirs} of {owner}; each prefix belongs to one object");
            return Some(Fault::new(Refusal::Taken, what));
        }
        if let Some((theirs, overlay)) = obstacle(prefix) {
            let what = format!("{prefix} overlaps {theirs} of overlay `{overlay}`; overlays must not overlap");
            return Some(Fault::new(Refusal::OverlapsOverlay, what));
        }
        for (theirs, owner) in &others {
            self.take(owner, *theirs, steps);
        }
        let full = self.owners.get(&prefix).is_none() && self.owners.len() >= self.rules.max_prefixes;
        full.then(|| {
            let what = format!("{prefix} is more than `max_prefixes` = {}", self.rules.max_prefixes);
            Fault::new(Refusal::TooMany, what)
        })
    }
}
