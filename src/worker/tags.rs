//! Ports whose frames have VLAN tags: nobody but the lane of such a port knows of them.

use super::stats::Stats;
use super::{Door, Lane};
use crate::drops::{DropReason, Drops};
use crate::port::{Burst, Pool};
use crate::wire::VlanTags;

/// Takes the tags off every frame of a burst. Those with others are dropped: the program steers none, but what is on its
/// way when the interfaces change may be.
pub(super) fn take_off(tags: &VlanTags, received: &mut Burst, pool: &mut Pool, drops: &mut Drops) {
    for _ in 0..received.len() {
        let Some(mut frame) = received.pop_front() else { return };
        let refused = match tags.strip(&mut pool.packet(&mut frame)) {
            Ok(()) => received.push(frame).err(), // never: it has just left the burst
            Err(_) => Some(frame),
        };
        if let Some(frame) = refused {
            drops.count(DropReason::VlanTags);
            pool.free(frame);
        }
    }
}

impl<P> Lane<P> {
    /// Puts the tags on every frame that is to leave.
    pub(super) fn put_tags_on(&mut self, pool: &mut Pool, stats: &mut Stats) {
        let (tags, leaving) = (&self.tags, &mut self.leaving);
        // the doors lie as the frames do; what stays behind is in neither any more
        self.doors.retain(|door: &Door| {
            let Some(mut frame) = leaving.pop_front() else { return false };
            let refused = match tags.push(&mut pool.packet(&mut frame)) {
                Ok(()) => leaving.push(frame).err(),
                Err(_) => Some(frame),
            };
            let Some(frame) = refused else { return true };
            stats.stay(*door, DropReason::NoHeadroom);
            pool.free(frame);
            false
        });
    }
}
