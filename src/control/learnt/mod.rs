//! What was learnt: keeps what every source has said, decides what of it is believed, and tells the RIB.
//!
//! | file | what it holds |
//! |---|---|
//! | `rules` | what a source may say, whatever others say |
//! | `ledger` | one source's objects, which prefix is whose, what was not taken and why |
//! | `guard` | the guard against mass withdrawal |
//! | `index` | which prefixes overlap one |
//! | `health` | how a source is, as far as it can be heard |
//! | `status` | all of that, for people and programs |
//! | `snapshot` | what was learnt, on disk |

mod guard;
mod health;
mod index;
mod ledger;
mod rules;
pub mod snapshot;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::pmtu::Voice;
use super::rib::Preference;
use super::source::{Change, Claim, Event, Key, News, Object, SourceId};
use super::{Route, Target, Targets};
use crate::tables::{Overlay, OverlayId};
use crate::wire::Prefix;

pub use guard::WINDOW;
pub use health::Condition;
pub use rules::Rules;
pub use status::{Refused, SourceStatus};

use health::Health;
use index::Index;
use ledger::{Ledger, Step};

/// A source as it is configured, as far as what it says is concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Learner {
    /// Its id, the RIB's.
    pub id: SourceId,
    /// Its name, unique.
    pub name: Arc<str>,
    /// What is asked, in a line: another origin's objects are other objects.
    pub origin: Arc<str>,
    /// How much it is believed against other sources.
    pub preference: Preference,
    /// What it may say.
    pub rules: Rules,
}

/// Whose a prefix in force is.
#[derive(Debug)]
struct Occupant {
    overlay: OverlayId,
    /// Sources that say so, the file among them.
    sources: u32,
}

#[derive(Debug)]
struct Pupil {
    learner: Learner,
    ledger: Ledger,
    health: Health,
    /// Something that belongs into a snapshot is not as it was when one was made last.
    changed: bool,
    /// Its whole list was told once, by itself or by a snapshot.
    whole: bool,
}

/// What all sources have said, and what of it is in force.
#[derive(Debug, Default)]
pub struct Learnt {
    overlays: Vec<Overlay>,
    occupants: Index<Occupant>,
    pupils: BTreeMap<SourceId, Pupil>,
    voice: Voice,
}

impl Learnt {
    /// Begins anew with these overlays, the file's routes and these sources. What sources with the name and the origin of
    /// before have said still counts, as far as the rules that hold now allow it. The events are complete lists.
    pub fn configure(
        &mut self,
        overlays: &[Overlay],
        file: impl Iterator<Item = Route>,
        learners: &[Learner],
        now: Instant,
    ) -> Vec<Event> {
        let mut before = core::mem::take(&mut self.pupils);
        self.overlays = overlays.to_vec();
        self.occupants = Index::default();
        // a gateway without sources need not keep a second list of a million prefixes
        if !learners.is_empty() {
            for Route { prefix, target } in file {
                if let Target::Vtep { overlay, .. } = target {
                    self.occupy(overlay, prefix);
                }
            }
        }
        let mut events = Vec::new();
        for learner in learners {
            let same = |p: &Pupil| p.learner.name == learner.name && p.learner.origin == learner.origin;
            let id = before.iter().find(|(_, pupil)| same(pupil)).map(|(id, _)| *id);
            let mut pupil = id.and_then(|id| before.remove(&id)).unwrap_or_else(|| Pupil {
                learner: learner.clone(),
                ledger: Ledger::new(learner.rules.clone()),
                health: Health::new(now),
                changed: false,
                whole: false,
            });
            pupil.learner = learner.clone();
            self.pupils.insert(learner.id, pupil);
            events.push(Event { source: learner.id, change: Change::Resync });
            let rules = learner.rules.clone();
            self.with(learner.id, &mut events, |ledger, obstacle, steps| ledger.judge_anew(rules, obstacle, steps));
        }
        for learner in learners {
            self.with(learner.id, &mut events, |ledger, obstacle, steps| ledger.retry(obstacle, steps));
            events.push(Event { source: learner.id, change: Change::Synced });
        }
        // a source that is no more has nothing to say
        for id in before.keys().filter(|id| !self.pupils.contains_key(id)) {
            events.extend([Change::Resync, Change::Synced].map(|change| Event { source: *id, change }));
        }
        events
    }

    /// Takes in what a source says.
    pub fn hear(&mut self, source: SourceId, news: News, now: Instant, events: &mut Vec<Event>) {
        let Some(pupil) = self.pupils.get_mut(&source) else { return };
        if pupil.health.heard(&news, now) {
            tell(&pupil.learner.name, &pupil.health.condition);
        }
        pupil.whole |= news == News::Listed;
        match news {
            News::Listing => pupil.ledger.listing(),
            News::Is(object) => {
                let key = object.key.clone();
                let mut changed = false;
                self.with(source, events, |ledger, obstacle, steps| changed = ledger.is(object, now, obstacle, steps));
                if changed {
                    self.changed(source, &key, now);
                }
            }
            News::Gone(key) => pupil.ledger.gone(&key, now),
            News::Listed => self.judge(source, events, |ledger, steps| ledger.listed(now, steps)),
            News::Alive | News::Lost(_) => {}
        }
    }

    /// When [`tend`](Self::tend) has something to do, if ever.
    pub fn due(&self) -> Option<Instant> {
        self.pupils.values().filter_map(|p| p.ledger.due()).min()
    }

    /// Judges what was withdrawn some moments ago.
    pub fn tend(&mut self, now: Instant, events: &mut Vec<Event>) {
        let due = |p: &Pupil| p.ledger.due().is_some_and(|due| due <= now);
        let ids: Vec<SourceId> = self.pupils.iter().filter(|(_, p)| due(p)).map(|(id, _)| *id).collect();
        for id in ids {
            self.judge(id, events, |ledger, steps| ledger.tend(now, steps));
        }
    }

    /// Looks again at what was not taken because something else was in its place, if anything went: to be called once
    /// after a batch.
    pub fn settle(&mut self, events: &mut Vec<Event>) {
        let mut freed = false;
        for pupil in self.pupils.values_mut() {
            freed |= pupil.ledger.take_freed();
        }
        let ids: Vec<SourceId> = self.pupils.keys().filter(|_| freed).copied().collect();
        for id in ids {
            self.with(id, events, |ledger, obstacle, steps| ledger.retry(obstacle, steps));
        }
    }

    /// What a source withdrew and was held back may go. `None` if there is no such source; otherwise how many objects
    /// were held back.
    pub fn accept(&mut self, name: &str, events: &mut Vec<Event>) -> Option<usize> {
        let (id, pupil) = self.pupils.iter().find(|(_, p)| &*p.learner.name == name)?;
        let (id, held) = (*id, pupil.ledger.held());
        self.with(id, events, |ledger, _, steps| ledger.accept(steps));
        Some(held)
    }

    /// Has every source told its whole list, by itself or by a snapshot, or is it known that it cannot? Before, what is in
    /// force is too little to take anything back.
    pub fn is_complete(&self) -> bool {
        self.pupils.values().all(|p| p.whole || matches!(p.health.condition, Condition::Lost(_)))
    }

    /// The object that a source has a prefix in force by.
    pub fn object(&self, source: SourceId, prefix: &Prefix) -> Option<(&str, &Key)> {
        let pupil = self.pupils.get(&source)?;
        Some((&*pupil.learner.name, pupil.ledger.owner(prefix)?))
    }

    /// Puts in force what a source said before the gateway was started, until the source itself is heard.
    pub fn restore(&mut self, source: SourceId, objects: Vec<Object>, now: Instant, events: &mut Vec<Event>) {
        if let Some(pupil) = self.pupils.get_mut(&source) {
            pupil.whole |= !objects.is_empty();
        }
        for object in objects {
            self.with(source, events, |ledger, obstacle, steps| _ = ledger.is(object, now, obstacle, steps));
        }
    }

    /// Every source, in the order of ids.
    pub fn status(&self, now: Instant) -> Vec<SourceStatus> {
        let overlay = |p: &Pupil| self.overlays.get(usize::from(p.learner.rules.overlay.0)).map(|o| o.name.clone());
        self.pupils.values().map(|p| SourceStatus::of(p, overlay(p).unwrap_or_default(), now)).collect()
    }

    /// Sources of which something changed since this was asked, each with what belongs into its snapshot.
    pub fn take_changed(&mut self) -> Vec<snapshot::Snapshot> {
        let snapshot = |p: &mut Pupil| {
            let changed = core::mem::take(&mut p.changed);
            changed.then(|| snapshot::Snapshot::of(&p.learner, p.ledger.claims()))
        };
        self.pupils.values_mut().filter_map(snapshot).collect()
    }

    /// Judges withdrawals, and says when they are held back.
    fn judge(&mut self, source: SourceId, events: &mut Vec<Event>, f: impl FnOnce(&mut Ledger, &mut Vec<Step>)) {
        let held = |this: &Self| this.pupils.get(&source).map_or(0, |p| p.ledger.held());
        let before = held(self);
        self.with(source, events, |ledger, _, steps| f(ledger, steps));
        let now = held(self);
        if now > before
            && let Some(pupil) = self.pupils.get(&source)
        {
            let (name, share) = (&pupil.learner.name, pupil.learner.rules.withdraw_at_most);
            tracing::error!(
                source = &**name,
                held = now,
                "more than {share} % of what it said is withdrawn at once: held back, and still in force; \
                 if it is meant: selvedge accept {name}"
            );
        }
    }

    fn changed(&mut self, source: SourceId, key: &Key, now: Instant) {
        let Some(pupil) = self.pupils.get(&source) else { return };
        for fault in pupil.ledger.faults_of(key) {
            if let Some(left_out) = self.voice.may_speak(now) {
                tracing::warn!(source = &*pupil.learner.name, object = &**key, left_out, "not taken: {fault}");
            }
        }
    }

    /// Lets a source's ledger do something, and follows what came of it.
    fn with(
        &mut self,
        source: SourceId,
        events: &mut Vec<Event>,
        f: impl FnOnce(&mut Ledger, ledger::Obstacle<'_>, &mut Vec<Step>),
    ) {
        let Some(pupil) = self.pupils.get_mut(&source) else { return };
        let overlay = pupil.learner.rules.overlay;
        let (occupants, overlays) = (&self.occupants, &self.overlays);
        let name = |id: OverlayId| overlays.get(usize::from(id.0)).map_or_else(String::new, |o| o.name.clone());
        let obstacle = |prefix: Prefix| {
            let mut others = occupants.overlapping(prefix).filter(|(_, o)| o.overlay != overlay);
            others.next().map(|(theirs, o)| (theirs, name(o.overlay)))
        };
        let mut steps = Vec::new();
        f(&mut pupil.ledger, &obstacle, &mut steps);
        pupil.changed |= !steps.is_empty();
        for step in steps {
            let change = match step {
                Step::Put { prefix, behind, fresh } => {
                    let Some(targets) = self.targets(overlay, &behind) else { continue };
                    if fresh {
                        self.occupy(overlay, prefix);
                    }
                    Change::AnnounceAll(prefix, targets)
                }
                Step::Take(prefix) => {
                    self.vacate(&prefix);
                    Change::Withdraw(prefix)
                }
            };
            events.push(Event { source, change });
        }
    }

    fn targets(&self, overlay: OverlayId, behind: &[Claim]) -> Option<Targets> {
        let zero_checksum = self.overlays.get(usize::from(overlay.0)).is_some_and(|o| o.zero_checksum);
        Targets::of(behind.iter().map(|&Claim { vtep, mac, .. }| Target::Vtep { overlay, vtep, mac, zero_checksum }))
    }

    fn occupy(&mut self, overlay: OverlayId, prefix: Prefix) {
        match self.occupants.get_mut(&prefix) {
            Some(occupant) => occupant.sources += 1,
            None => self.occupants.insert(prefix, Occupant { overlay, sources: 1 }),
        }
    }

    fn vacate(&mut self, prefix: &Prefix) {
        let Some(occupant) = self.occupants.get_mut(prefix) else { return };
        occupant.sources -= 1;
        if occupant.sources == 0 {
            self.occupants.remove(prefix);
        }
    }
}

fn tell(name: &str, condition: &Condition) {
    match condition {
        Condition::Lost(why) => tracing::error!(source = name, "cannot be heard: {why}; what it said stays in force"),
        Condition::InStep => tracing::info!(source = name, "all is as it says"),
        Condition::Waiting | Condition::Listing => {}
    }
}
