//! Which groups of targets have a row in the tables.

use core::hash::{BuildHasher, BuildHasherDefault};
use std::collections::BTreeSet;
use std::hash::DefaultHasher;

use super::{Map, Numbers, Row};
use crate::control::{Target, Targets};
use crate::tables::OverlayId;

/// Groups, and the targets in them. Those of one target are none.
#[derive(Debug, Default)]
pub(super) struct Groups {
    rows: Map<Targets, Row>,
    numbers: Numbers,
    /// The groups that each target is in.
    of: Map<Target, Vec<Targets>>,
}

impl Groups {
    /// The row of a group.
    pub(super) fn row(&self, targets: &Targets) -> Option<u32> {
        self.rows.get(targets).map(|row| row.id)
    }

    /// The groups that a target is in.
    pub(super) fn of(&self, target: &Target) -> &[Targets] {
        self.of.get(target).map_or(&[], Vec::as_slice)
    }

    /// The row of a group that is there already, for one more route.
    pub(super) fn share(&mut self, targets: &Targets) -> Option<u32> {
        let row = self.rows.get_mut(targets)?;
        row.routes += 1;
        Some(row.id)
    }

    /// A row for a group that is not there yet.
    pub(super) fn add(&mut self, targets: &Targets) -> u32 {
        let id = self.numbers.take();
        self.put(targets, id);
        id
    }

    /// One route fewer needs a group. Returns its row if that was the last one.
    pub(super) fn release(&mut self, targets: &Targets) -> Option<u32> {
        let row = self.rows.get_mut(targets)?;
        row.routes -= 1;
        if row.routes > 0 {
            return None;
        }
        let id = self.take(targets)?;
        self.numbers.free.push(id);
        Some(id)
    }

    /// Gives the row of a group to another one, if only one route needs the former, and nobody has the latter so far: then
    /// that route need not change. Both must be of the same sides.
    pub(super) fn rename(&mut self, before: &Targets, after: &Targets) -> bool {
        let is_sole = self.rows.get(before).is_some_and(|row| row.routes == 1);
        if !is_sole || self.rows.contains_key(after) || sides(before) != sides(after) {
            return false;
        }
        if let Some(id) = self.take(before) {
            self.put(after, id);
        }
        true
    }

    fn put(&mut self, targets: &Targets, id: u32) {
        self.rows.insert(targets.clone(), Row { id, routes: 1 });
        for target in targets.all() {
            self.of.entry(*target).or_default().push(targets.clone());
        }
    }

    fn take(&mut self, targets: &Targets) -> Option<u32> {
        for target in targets.all() {
            if let Some(groups) = self.of.get_mut(target) {
                groups.retain(|group| group != targets);
                if groups.is_empty() {
                    self.of.remove(target);
                }
            }
        }
        self.rows.remove(targets).map(|row| row.id)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.of.is_empty()
    }
}

/// Overlays that targets are in, and `None` for the access side.
fn sides(targets: &Targets) -> BTreeSet<Option<OverlayId>> {
    let side = |target: &Target| match target {
        Target::Vtep { overlay, .. } => Some(*overlay),
        Target::Native { .. } => None,
    };
    targets.all().iter().map(side).collect()
}

/// A number for a member of a group: that of its address, so that a node has the same flows whatever else of it changes.
/// It is the same in every process.
pub(super) fn identity(target: &Target) -> u64 {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    match target {
        Target::Vtep { overlay, vtep, .. } => hasher.hash_one((overlay, vtep)),
        Target::Native { port, next_hop } => hasher.hash_one((port, next_hop)),
    }
}
