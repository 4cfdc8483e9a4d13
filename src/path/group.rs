//! The second look at plain frames from or to an address that several have: a member takes the place of the group, and all
//! else is as [ever](super::fast). It begins where the fast path ended, and scouts once more, so that frames which name no
//! group know nothing of it.

use zerocopy::FromBytes;

use super::fast::{GROWTH, REACH, ports};
use super::scout::Scouted;
use super::{Path, Verdict};
use crate::tables::Packed;
use crate::wire::flow::Flow;
use crate::wire::{Packet, StackV4};

impl Path<'_> {
    /// A plain VXLAN frame whose addresses the cache knows both, one of them as a group's.
    #[inline(never)]
    pub(super) fn grouped_inbound(&mut self, pkt: &mut Packet<'_>) -> Option<Verdict> {
        if !self.tables.has_groups() {
            return None;
        }
        let scouted = self.scout_inbound(pkt);
        if !scouted.names_group() {
            return None;
        }
        let room = pkt.reach_all::<REACH>(0)?;
        let (overlay, from) = (scouted.shape.overlay(), StackV4::ref_from_prefix(room).ok()?.0.outer.ip.source());
        let (src, tables) = (scouted.src(), self.tables);
        let sender = *tables.ways(&src).iter().find(|way| tables.is_sender(**way, overlay, from))?;
        let dst = self.choose(scouted, room)?;
        if tables.ways(&scouted.dst()).contains(&sender) {
            return None;
        }
        self.send::<true, false>(pkt, scouted.with(sender, dst))
    }

    /// The same for a frame from the access side.
    #[inline(never)]
    pub(super) fn grouped_outbound(&mut self, pkt: &mut Packet<'_>) -> Option<Verdict> {
        if !self.tables.has_groups() {
            return None;
        }
        let scouted = self.scout_outbound(pkt);
        if !scouted.names_group() {
            return None;
        }
        let (src, room) = (scouted.src(), pkt.reach_all::<REACH>(GROWTH)?);
        let dst = self.choose(scouted, room)?;
        if src.hop().is_none() && !self.may_send(StackV4::ref_from_prefix(room).ok()?.0.ip.words(), src) {
            return self.refuse_source(src);
        }
        self.send::<false, false>(pkt, scouted.with(src, dst))
    }

    /// Where a frame goes of whose headers `room` has all.
    fn choose(&self, scouted: Scouted, room: &[u8]) -> Option<Packed> {
        let dst = scouted.dst();
        let Some(group) = self.tables.group_of(dst) else { return Some(dst) };
        let ip = StackV4::ref_from_prefix(room).ok()?.0.ip.words();
        Some(group.choose(Flow::of(ip, ports(scouted.shape, room)?)))
    }
}
