//! How sources are and what was not taken, for people and programs.

use core::time::Duration;
use std::collections::BTreeMap;
use std::time::Instant;

use super::{Condition, Pupil};
use crate::control::source::{Key, Refusal};

/// Refusals that are told one by one; the others are only counted.
const TOLD: usize = 100;

/// Something a source says that was not taken.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Refused {
    /// The object that says it.
    pub object: Key,
    /// Why.
    pub refusal: Refusal,
    /// What, and what would be right.
    pub what: String,
}

/// A source, as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// What is asked.
    pub origin: String,
    /// The overlay whose map it tells.
    pub overlay: String,
    /// How it is.
    pub condition: Condition,
    /// For how long it has been so.
    pub lasts: Duration,
    /// How old what is in force may be; `None` if the source was not heard since the start: then it is a snapshot's.
    pub age: Option<Duration>,
    /// Objects it told.
    pub objects: usize,
    /// Its prefixes in force.
    pub prefixes: usize,
    /// Objects that are gone and whose prefixes are held back from withdrawal.
    pub held: usize,
    /// Complete lists so far.
    pub lists: u64,
    /// Times it could not be heard any more.
    pub losses: u64,
    /// What was not taken: how much of each kind.
    pub refusals: BTreeMap<Refusal, usize>,
    /// The first hundred of them, by object.
    pub refused: Vec<Refused>,
}

impl SourceStatus {
    pub(super) fn of(pupil: &Pupil, overlay: String, now: Instant) -> Self {
        let (ledger, health) = (&pupil.ledger, &pupil.health);
        let mut refusals = BTreeMap::new();
        let mut refused = Vec::new();
        for (object, fault) in ledger.faults() {
            *refusals.entry(fault.refusal).or_default() += 1;
            if refused.len() < TOLD {
                refused.push(Refused { object: object.clone(), refusal: fault.refusal, what: fault.what.clone() });
            }
        }
        refused.sort();
        Self {
            name: pupil.learner.name.to_string(),
            origin: pupil.learner.origin.to_string(),
            overlay,
            condition: health.condition.clone(),
            lasts: health.lasts(now),
            age: health.age(now),
            objects: ledger.objects(),
            prefixes: ledger.len(),
            held: ledger.held(),
            lists: health.lists,
            losses: health.losses,
            refusals,
            refused,
        }
    }
}
