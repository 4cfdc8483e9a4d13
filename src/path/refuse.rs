//! Refusals that cost little: those that a hostile sender can cause as fast as frames come in.
//!
//! Each says what the careful path would say of a frame that the first look found plain, or nothing. They are told apart
//! from it by nothing but speed, and `tests/fuzz.rs` holds them to that.

use core::net::Ipv4Addr;

use super::parse::{is_forwardable, is_unicast};
use super::scout::Shape;
use super::{Path, Verdict};
use crate::drops::DropReason;
use crate::tables::{OverlayId, Packed};
use crate::wire::ipv4::Words;

impl Path<'_> {
    /// A VXLAN packet whose inner source is not behind the node that sent it.
    #[inline(never)]
    pub(super) fn refuse_sender(&self, id: OverlayId, from: Ipv4Addr) -> Option<Verdict> {
        if !is_unicast(from) || self.tables.vteps().is_ours(from) {
            return Some(Verdict::Drop(DropReason::OuterMartian));
        }
        if self.tables.peer_by_source(id, from).is_none() {
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

    /// A VXLAN packet to nowhere, if it is not for its checksum that it must be dropped.
    #[inline(never)]
    pub(super) fn refuse_inbound(&self, ip: Words, shape: Shape) -> Option<Verdict> {
        if shape.has(Shape::CHECKED) { None } else { self.refuse_route(ip, shape) }
    }

    /// A packet to nowhere. One whose checksum may be unfinished is left to the careful path, which counts such.
    #[inline(never)]
    pub(super) fn refuse_route(&self, ip: Words, shape: Shape) -> Option<Verdict> {
        if shape.has(Shape::UNFINISHED) {
            return None;
        }
        let forwardable = is_forwardable(ip.source()) && is_forwardable(ip.destination());
        forwardable.then_some(Verdict::Drop(DropReason::NoRoute))
    }
}
