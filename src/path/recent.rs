//! The overlays that packets came by lately, with what the guard asks of each.

use crate::tables::{Dscp, Overlay, OverlayId, VtepKey};

/// A few cache lines. Overlays that share a place put each other out, which costs a lookup a packet.
const PLACES: usize = 32;

/// A small direct-mapped memory. Only overlays of ours get into it, so strangers cannot fill it.
#[derive(Debug, Default)]
pub(super) struct Recent([Known; PLACES]);

/// One overlay as the guard sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    key: VtepKey,
    epoch: u32,
    /// The overlay.
    pub id: OverlayId,
    /// Are inner packets to show the outer DSCP (RFC 2983)?
    pub uniform: bool,
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

    /// Remembers an overlay.
    pub(super) fn put(&mut self, key: VtepKey, epoch: u32, id: OverlayId, overlay: &Overlay) -> Known {
        let uniform = overlay.dscp == Dscp::Uniform;
        let known = Known { key, epoch, id, uniform, mac: overlay.mac.word() };
        self.0[key.spread() % PLACES] = known;
        known
    }
}
