//! The overlays that packets came by lately, with what the guard asks of each.

use crate::tables::{Dscp, Overlay, OverlayId, VtepKey};
use crate::wire::{OuterV4, Pattern, ecn};

/// A few cache lines. Overlays that share a place put each other out, which costs a lookup a packet.
const PLACES: usize = 32;

/// A small direct-mapped memory. Only overlays of ours get into it, so strangers cannot fill it.
#[derive(Debug, Default)]
pub(super) struct Recent([Known; PLACES]);

/// One overlay as the guard sees it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct Known {
    /// What its plain frames have in common.
    pub pattern: Pattern,
    key: VtepKey,
    epoch: u32,
    /// The overlay.
    pub id: OverlayId,
    /// Are inner packets to show the outer DSCP (RFC 2983)?
    pub uniform: bool,
    /// Bits of the outer TOS octet that inner packets are to show, one way or another.
    pub tos_mask: u8,
    /// Our VTEP MAC in it, in one word.
    pub mac: u64,
}

impl Recent {
    /// The overlay with this key, if the tables of this epoch were asked for it lately.
    #[inline(always)]
    pub(super) fn get(&self, key: VtepKey, epoch: u32) -> Option<&Known> {
        let known = &self.0[key.spread() % PLACES];
        if known.key == key && known.epoch == epoch { Some(known) } else { None }
    }

    /// The overlay that a VXLAN frame comes from, if the tables of this epoch were asked for it lately; any other one, or
    /// none, if not: then the frame does not fit its pattern.
    #[inline(always)]
    pub(super) fn near(&self, outer: &OuterV4, epoch: u32) -> Option<&Known> {
        let known = &self.0[VtepKey::of(outer).spread() % PLACES];
        if known.epoch == epoch { Some(known) } else { None }
    }

    /// Remembers an overlay.
    pub(super) fn put(&mut self, key: VtepKey, epoch: u32, id: OverlayId, overlay: &Overlay) -> Known {
        let uniform = overlay.dscp == Dscp::Uniform;
        let known = Known {
            pattern: key.pattern(overlay.mac),
            key,
            epoch,
            id,
            uniform,
            tos_mask: if uniform { u8::MAX } else { ecn::MASK },
            mac: overlay.mac.word(),
        };
        self.0[key.spread() % PLACES] = known;
        known
    }
}
