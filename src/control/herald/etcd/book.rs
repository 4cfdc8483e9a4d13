//! What is registered at present, and what is to be done about it.

use std::collections::BTreeMap;

use super::entry::{Form, Holder};
use crate::wire::Prefix;

/// All entries, by the prefix of our family that each is for.
#[derive(Default)]
pub(super) struct Book {
    entries: BTreeMap<(Prefix, String), Entry>,
}

/// One entry.
struct Entry {
    /// The revision of its last change.
    revision: i64,
    holder: Holder,
    /// It is just as we would write it now, and hangs on this lease.
    right: bool,
    lease: i64,
}

/// One thing to be done, if the key has not been changed since `revision` (0: if there is none).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Deed {
    /// Last part of the key.
    pub(super) key: String,
    pub(super) revision: i64,
    /// Write it, or delete it.
    pub(super) write: bool,
}

/// What is to be done.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Plan {
    pub(super) deeds: Vec<Deed>,
    /// Wanted entries that are as they should be.
    pub(super) registered: usize,
    /// What cannot be, and why.
    pub(super) refused: Vec<String>,
}

impl Book {
    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// An entry is there, unless something later is known of it.
    pub(super) fn is(&mut self, form: &Form, key: &str, value: &[u8], lease: i64, revision: i64) {
        let Some(prefix) = form.prefix(key) else { return };
        let at = (prefix, key.to_owned());
        if self.entries.get(&at).is_some_and(|known| known.revision > revision) {
            return;
        }
        let right = value == form.value();
        self.entries.insert(at, Entry { revision, holder: form.holder(key, value), right, lease });
    }

    /// An entry is gone, unless something later is known of it.
    pub(super) fn gone(&mut self, form: &Form, key: &str, revision: i64) {
        let Some(prefix) = form.prefix(key) else { return };
        let at = (prefix, key.to_owned());
        if self.entries.get(&at).is_some_and(|known| known.revision <= revision) {
            self.entries.remove(&at);
        }
    }

    /// What is to be done so that `wanted`, and nothing else, is ours and hangs on `lease`.
    pub(super) fn plan(&self, form: &Form, wanted: &[Prefix], lease: i64) -> Plan {
        let mut plan = Plan::default();
        // in the order of the book
        let mut unwanted: BTreeMap<&str, i64> = BTreeMap::new();
        for ((_, key), entry) in &self.entries {
            if entry.holder == Holder::Us {
                unwanted.insert(key, entry.revision);
            }
        }
        for prefix in wanted {
            let key = match form.key(*prefix) {
                Ok(key) => key,
                Err(why) => {
                    plan.refused.push(why);
                    continue;
                }
            };
            let from = (*prefix, String::new());
            let mut same = self.entries.range(from..).take_while(|((of, _), _)| of == prefix);
            let other = same.clone().find_map(|((_, key), entry)| match &entry.holder {
                Holder::Other(who) => Some((key, who)),
                Holder::Us => None,
            });
            if let Some((key, who)) = other {
                let who = who.map_or("somebody else".to_owned(), |address| address.to_string());
                plan.refused.push(format!("{prefix}: `{key}` belongs to {who}"));
                continue;
            }
            let ours = same.find(|((_, of), _)| *of == key).map(|(_, entry)| entry);
            unwanted.remove(key.as_str());
            match ours {
                Some(entry) if entry.right && entry.lease == lease => plan.registered += 1,
                found => {
                    let revision = found.map_or(0, |entry| entry.revision);
                    plan.deeds.push(Deed { key, revision, write: true });
                }
            }
        }
        let deletions =
            unwanted.into_iter().map(|(key, revision)| Deed { key: key.to_owned(), revision, write: false });
        plan.deeds.extend(deletions);
        plan
    }
}
