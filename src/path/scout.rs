//! The first of two looks at a frame: is it plain, and what does the cache know of its addresses?
//!
//! A burst is looked at twice. The first look checks what the frame itself says and asks the cache, and nothing in it
//! waits for the answer: so the core has the memory reads of many frames under way at once, and when the second look
//! decides, what it needs is at hand. `perf/ABLATION.md` says what that is worth.

use core::net::Ipv4Addr;

use zerocopy::transmute_ref;

use super::fast::GROWTH;
use super::recent::Known;
use super::{Path, domain_of};
use crate::tables::{Domain, OverlayId, Packed, VtepKey};
use crate::wire::{Packet, StackV4, ecn, eth, stack};

/// What the first look found out about one frame, and good for that frame only.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Scouted {
    /// The frame is plain: everything is where it usually is, in order, and may be let in as far as it says itself.
    pub(super) plain: bool,
    /// The overlay that a VXLAN packet comes from.
    pub(super) overlay: OverlayId,
    /// What the cache knows of the source address.
    pub(super) src: Packed,
    /// What it knows of the destination.
    pub(super) dst: Packed,
    /// Both addresses as they stand in the header.
    addrs: [u8; 8],
}

impl Scouted {
    /// True if it is plain and the cache lacks one of its addresses.
    #[inline(always)]
    pub(super) fn lacks_any(&self) -> bool {
        self.plain & (self.src.is_none() | self.dst.is_none())
    }

    /// The source address and the destination.
    #[inline(always)]
    pub(super) fn addrs(&self) -> [Ipv4Addr; 2] {
        let [a, b, c, d, e, f, g, h] = self.addrs;
        [[a, b, c, d], [e, f, g, h]].map(Ipv4Addr::from_octets)
    }
}

impl Path<'_> {
    /// First look at a VXLAN frame.
    #[inline(always)]
    pub fn scout_inbound(&mut self, pkt: &mut Packet<'_>) -> Scouted {
        let len = pkt.len();
        let Some((front, _)) = pkt.reach::<{ stack::LEN }>(0) else { return Scouted::default() };
        let frame: &StackV4 = transmute_ref!(&*front);
        if !frame.is_vxlan(len) {
            return Scouted::default();
        }
        let key = VtepKey::of(&frame.outer);
        match self.memory.recent.get(key, self.tables.epoch()) {
            Some(overlay) if admits(overlay, frame) => self.scout(domain_of(overlay.id), overlay.id, frame),
            Some(_) => Scouted::default(),
            None => self.scout_new(key, frame),
        }
    }

    /// The same for a packet of an overlay not seen lately, or of none.
    #[cold]
    fn scout_new(&mut self, key: VtepKey, frame: &StackV4) -> Scouted {
        match self.learn(key) {
            Some(overlay) if admits(&overlay, frame) => self.scout(domain_of(overlay.id), overlay.id, frame),
            _ => Scouted::default(),
        }
    }

    /// First look at a plain frame.
    #[inline(always)]
    pub fn scout_outbound(&mut self, pkt: &mut Packet<'_>) -> Scouted {
        let len = pkt.len();
        let Some((front, _)) = pkt.reach::<{ stack::LEN }>(GROWTH) else { return Scouted::default() };
        let frame: &StackV4 = transmute_ref!(&*front);
        let link = frame.outer.inner.words();
        if !frame.is_plain(len) || link.ethertype != eth::IPV4 || !link.is_from_station() {
            return Scouted::default();
        }
        self.scout(Domain(0), OverlayId(0), frame)
    }

    #[inline(always)]
    fn scout(&self, domain: Domain, overlay: OverlayId, frame: &StackV4) -> Scouted {
        let (ip, cache, epoch) = (frame.ip.words(), &self.memory.cache, self.tables.epoch());
        let src = cache.get(domain, ip.source(), epoch);
        let dst = cache.get(domain, ip.destination(), epoch);
        Scouted { plain: true, overlay, src, dst, addrs: *frame.ip.addresses() }
    }
}

/// Has the guard nothing against a frame, and nothing of its outer header to bring to the surface? That would change the
/// inner header, and is rare.
#[inline(always)]
fn admits(overlay: &Known, frame: &StackV4) -> bool {
    let (link, outer, inner) = (frame.outer.inner.words(), frame.outer.ip.tos, frame.ip.tos);
    link.ethertype == eth::IPV4
        && link.dst == overlay.mac
        && link.src != overlay.mac
        && link.is_from_station()
        && (outer & ecn::MASK == 0 || ecn::decapsulate(inner, outer) == Ok(inner & ecn::MASK))
        && (!overlay.uniform || (inner ^ outer) & !ecn::MASK == 0)
}
