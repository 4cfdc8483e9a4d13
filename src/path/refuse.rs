//! Refusals that cost little: those that a hostile sender can cause as fast as frames come in.
//!
//! Each says what the careful path would say of a frame that the first look found plain, or nothing. They are told apart
//! from it by nothing but speed, and `tests/fuzz.rs` holds them to that.

use core::net::Ipv4Addr;

use super::parse::{self, is_forwardable_v4, is_unicast_v4};
use super::scout::Shape;
use super::{Path, Verdict};
use crate::drops::DropReason;
use crate::tables::{OverlayId, Packed};

impl Path<'_> {
    /// A packet that the first look found to be of no overlay: what else is wrong with it comes first.
    #[inline(never)]
    pub(super) fn refuse_stranger(&self, frame: &[u8]) -> Verdict {
        Verdict::Drop(parse::outer(frame).map_or_else(|why| why, |outer| self.stranger(&outer)))
    }

    /// A VXLAN packet whose inner source is not behind the node that sent it, unless it is one of several that have it.
    #[inline(never)]
    pub(super) fn refuse_sender(&self, src: Packed, id: OverlayId, from: Ipv4Addr) -> Option<Verdict> {
        if src.is_group() {
            return None;
        }
        if !is_unicast_v4(from) || self.tables.vteps().is_ours(from.into()) {
            return Some(Verdict::Drop(DropReason::OuterMartian));
        }
        if self.tables.peer_by_source(id, from.into()).is_none() {
            return Some(Verdict::Drop(DropReason::UnknownPeer));
        }
        let checked = self.tables.overlay(id).is_some_and(|overlay| overlay.source_check);
        checked.then_some(Verdict::Drop(DropReason::InnerSource))
    }

    /// A plain packet from an address that an overlay watches, or from one of ours.
    #[inline(never)]
    pub(super) fn refuse_source(&self, src: Packed) -> Option<Verdict> {
        (!src.is_none()).then_some(Verdict::Drop(DropReason::Source))
    }

    /// A packet, from an address that may send it, to nowhere. One that may have an unfinished checksum is left to the
    /// careful path, which counts such; so is one with an outer checksum, for which it may have to be dropped first.
    #[inline(always)]
    pub(super) fn refuse_route(&self, dst: Ipv4Addr, shape: Shape) -> Option<Verdict> {
        (!shape.has(Shape::UNSETTLED) && is_forwardable_v4(dst)).then_some(Verdict::Drop(DropReason::NoRoute))
    }
}
