//! A look before the first, at bursts that likely hold much that the cache does not know.
//!
//! Somebody who scans makes the first look wait for memory: hardly any set of the cache that it searches is at hand, and the
//! core has only so many instructions under way, which the work on two or three frames fills. Here each frame takes few
//! instructions, so that the reads for many frames are under way at once. Nothing is decided, and nothing remembered.

use zerocopy::FromBytes;

use super::fast::GROWTH;
use super::{Path, domain_of};
use crate::tables::Domain;
use crate::wire::{Packet, StackV4, stack};

/// Unknown frames in a burst of up to 64 from which on the next one is looked at once more: at a quarter it pays.
const MANY: u32 = 16;

impl Path<'_> {
    /// Had many frames of the last burst addresses that the cache did not know? Begins a new count.
    #[inline]
    pub fn looks_ahead(&mut self) -> bool {
        core::mem::take(&mut self.memory.unknown) >= MANY
    }

    /// Asks for the memory in which the first look will search for the addresses of a plain frame. What is returned says
    /// nothing; but who does not use it asks for nothing.
    #[inline(always)]
    pub fn touch_outbound(&self, pkt: &mut Packet<'_>) -> u32 {
        pkt.reach::<{ stack::LEN }>(GROWTH).map_or(0, |(front, _)| self.touch(Domain(0), front))
    }

    /// The same for a VXLAN frame.
    #[inline(always)]
    pub fn touch_inbound(&self, pkt: &mut Packet<'_>) -> u32 {
        let Some((front, _)) = pkt.reach::<{ stack::LEN }>(0) else { return 0 };
        let Ok((frame, _)) = StackV4::ref_from_prefix(front) else { return 0 };
        let overlay = self.memory.recent.near(&frame.outer, self.tables.epoch());
        overlay.map_or(0, |overlay| self.touch(domain_of(overlay.id), front))
    }

    #[inline(always)]
    fn touch(&self, domain: Domain, front: &[u8; stack::LEN]) -> u32 {
        let Ok((frame, _)) = StackV4::ref_from_prefix(front) else { return 0 };
        let (ip, cache) = (frame.ip.words(), &self.memory.cache);
        cache.touch(domain, ip.source()) ^ cache.touch(domain, ip.destination())
    }
}
