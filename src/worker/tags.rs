//! Ports whose frames have VLAN tags: nobody but the lane of such a port knows of them.

use super::stats::Stats;
use super::{Door, Lane};
use crate::drops::{DropReason, Drops};
use crate::port::{Burst, Frame, Pool};
use crate::wire::{Packet, VlanTags};

/// As much of a packet as has the tags: of one in several chunks the first, in which all headers lie.
fn head<'a>(pool: &'a Pool, frame: &'a mut Frame) -> Option<Packet<'a>> {
    if frame.is_long() { pool.front(frame) } else { Some(pool.packet(frame)) }
}

/// Takes the tags off every frame of a burst. Those with others are dropped: the program steers none, but what is on its
/// way when the interfaces change may be.
pub(super) fn take_off(tags: &VlanTags, received: &mut Burst, pool: &mut Pool, drops: &mut Drops) {
    for _ in 0..received.len() {
        let Some(mut frame) = received.pop_front() else { return };
        let stripped = head(pool, &mut frame).is_some_and(|mut packet| tags.strip(&mut packet).is_ok());
        let refused = match stripped {
            true => received.push_any(frame).err(), // never: it has just left the burst
            false => Some(frame),
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
            let unfinished = pool.take_unfinished(&mut frame);
            let pushed = head(pool, &mut frame).is_some_and(|mut packet| tags.push(&mut packet).is_ok());
            pool.leave_unfinished(&mut frame, unfinished);
            let refused = match pushed {
                true => leaving.push_any(frame).err(),
                false => Some(frame),
            };
            let Some(frame) = refused else { return true };
            stats.stay(*door, DropReason::NoHeadroom);
            pool.free(frame);
            false
        });
    }
}
