//! The first of two looks at a frame: is it plain, and what does the cache know of its addresses?
//!
//! A burst is looked at twice. The first look checks what the frame itself says and asks the cache, and nothing in it
//! waits for the answer: so the core has the memory reads of many frames under way at once, and when the second look
//! decides, what it needs is at hand. `perf/ABLATION.md` says what that is worth.

use zerocopy::transmute_ref;

use super::fast::GROWTH;
use super::partial::{self, Transport};
use super::recent::Known;
use super::{Path, domain_of};
use crate::tables::{Domain, OverlayId, Packed, PackedPair, VtepKey};
use crate::wire::ipv4::{Words, protocol};
use crate::wire::{Packet, StackV4, ecn, eth, flow, stack, tcp};

/// What the first look found out about one frame, and good for that frame only. Two words, which stay in registers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Scouted {
    /// What is known of the source address and of the destination.
    advice: PackedPair,
    /// What the frame is like.
    pub(super) shape: Shape,
}

impl Scouted {
    /// What is known of the source address.
    #[inline(always)]
    pub(super) const fn src(self) -> Packed {
        self.advice.first()
    }

    /// What is known of the destination.
    #[inline(always)]
    pub(super) const fn dst(self) -> Packed {
        self.advice.second()
    }

    /// Is the frame plain, and are both its addresses known?
    #[inline(always)]
    pub(super) const fn is_known(self) -> bool {
        // nobody was asked about the addresses of other frames
        !self.src().is_none() && !self.dst().is_none()
    }

    /// Is the frame plain, are both its addresses known, and one of them as that of a group?
    pub(super) const fn names_group(self) -> bool {
        self.is_known() && (self.src().is_group() || self.dst().is_group())
    }

    /// Is there nothing to be done to the frame for which more of it than its headers has to be read?
    #[inline(always)]
    pub(super) const fn is_settled(self) -> bool {
        !self.shape.has(Shape::UNSETTLED)
    }

    /// The same with what the tables say besides.
    #[inline(always)]
    pub(super) const fn with(self, src: Packed, dst: Packed) -> Self {
        Self { advice: PackedPair::new(src, dst), shape: self.shape }
    }
}

/// What a frame is like, a bit a trait, none for one that is not plain; and the overlay that a VXLAN packet comes from.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Shape(u32);

impl Shape {
    /// Everything is where it usually is, in order, and may be let in as far as it says itself.
    const PLAIN: Self = Self(1);
    /// Ports that count begin the payload.
    pub(super) const PORTS: Self = Self(2);
    /// Its transport checksum may be unfinished.
    pub(super) const UNFINISHED: Self = Self(4);
    /// Its outer header has a UDP checksum.
    pub(super) const CHECKED: Self = Self(8);
    /// Not plain: its addresses, ports and VNI are where they usually are, and those of no overlay.
    pub(super) const STRANGER: Self = Self(16);
    /// There is more to be done than to forward it.
    pub(super) const UNSETTLED: Self = Self::UNFINISHED.with(Self::CHECKED);

    #[inline(always)]
    const fn from(overlay: OverlayId) -> Self {
        Self((overlay.0 as u32) << 16)
    }

    /// The overlay, of a VXLAN packet.
    #[inline(always)]
    pub(super) const fn overlay(self) -> OverlayId {
        OverlayId((self.0 >> 16) as u16)
    }

    #[inline(always)]
    pub(super) const fn is_plain(self) -> bool {
        self.has(Self::PLAIN)
    }

    #[inline(always)]
    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    #[inline(always)]
    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Bytes from the front of a frame, all headers in their usual places, to the end of what is looked at.
pub(super) const REACH: usize = stack::LEN + partial::REACH;

impl Path<'_> {
    /// First look at a VXLAN frame.
    #[inline(always)]
    pub fn scout_inbound(&mut self, pkt: &mut Packet<'_>) -> Scouted {
        let len = pkt.len();
        let Some((front, _)) = pkt.reach::<REACH>(0) else { return Scouted::default() };
        let (frame, transport) = split(front);
        match self.memory.recent.near(&frame.outer, self.tables.epoch()) {
            Some(overlay) if overlay.pattern.fits(frame) => {
                self.scout_from(overlay, frame, transport, len, Shape::PLAIN)
            }
            _ => self.scout_other(front, len),
        }
    }

    /// The same for a packet of an overlay not seen lately, or of none; and for one with an outer UDP checksum.
    #[cold]
    #[inline(never)]
    fn scout_other(&mut self, front: &[u8; REACH], len: usize) -> Scouted {
        let (frame, transport) = split(front);
        if !frame.outer.is_plain_udp() {
            return Scouted::default();
        }
        let key = VtepKey::of(&frame.outer);
        let epoch = self.tables.epoch();
        if self.memory.recent.get(key, epoch).is_none() && self.learn(key).is_none() {
            return Scouted { shape: Shape::STRANGER, ..Scouted::default() };
        }
        let Some(overlay) = self.memory.recent.get(key, epoch) else { return Scouted::default() };
        let mut unchecked = *frame;
        unchecked.outer.udp.checksum = [0; 2];
        if !overlay.pattern.fits(&unchecked) {
            return Scouted::default();
        }
        let checked = if frame.outer.udp.checksum == [0; 2] { Shape::PLAIN } else { Shape::CHECKED };
        self.scout_from(overlay, frame, transport, len, checked)
    }

    /// First look at a VXLAN frame that fits the pattern of its overlay.
    #[inline(always)]
    fn scout_from(&self, from: &Known, frame: &StackV4, transport: &Transport, len: usize, shape: Shape) -> Scouted {
        if !frame.is_whole(len) || !admits(from, frame) {
            return Scouted::default();
        }
        self.scout(domain_of(from.id), frame, transport, shape.with(Shape::from(from.id)))
    }

    /// First look at a plain frame.
    #[inline(always)]
    pub fn scout_outbound(&mut self, pkt: &mut Packet<'_>) -> Scouted {
        let len = pkt.len();
        let Some((front, _)) = pkt.reach::<REACH>(GROWTH) else { return Scouted::default() };
        let (frame, transport) = split(front);
        let link = frame.outer.inner.words();
        if !frame.is_plain(len) || link.ethertype != eth::IPV4 || !link.is_from_station() {
            return Scouted::default();
        }
        self.scout(Domain(0), frame, transport, Shape::PLAIN)
    }

    #[inline(always)]
    fn scout(&self, domain: Domain, frame: &StackV4, transport: &Transport, shape: Shape) -> Scouted {
        let ip = frame.ip.words();
        let Some(transport) = look(ip, transport, self.tables.clamps()) else { return Scouted::default() };
        let cache = &self.memory.cache;
        let src = cache.get(domain, ip.source());
        let dst = cache.get(domain, ip.destination());
        Scouted { advice: PackedPair::new(src, dst), shape: shape.with(transport) }
    }
}

#[inline(always)]
fn split(front: &[u8; REACH]) -> (&StackV4, &Transport) {
    let (frame, transport): (&[u8; stack::LEN], _) = front.split_first_chunk().unwrap_or((&[0; stack::LEN], &[]));
    (transmute_ref!(frame), transport.first_chunk().unwrap_or(&[0; partial::REACH])) // constant lengths: compiled away
}

/// What a transport header adds to the shape; `None` if the packet is too short for it, or opens a TCP connection where
/// such packets may have to be changed.
#[inline(always)]
fn look(ip: Words, transport: &Transport, clamps: bool) -> Option<Shape> {
    if ip.is_fragment() || !flow::has_ports(ip.protocol()) {
        return Some(Shape::PLAIN);
    }
    if clamps && ip.protocol() == protocol::TCP && transport[tcp::FLAGS] & tcp::SYN != 0 {
        return None;
    }
    let unfinished = partial::may_be_partial(ip, transport)?;
    Some(if unfinished {
        Shape::PLAIN.with(Shape::PORTS).with(Shape::UNFINISHED)
    } else {
        Shape::PLAIN.with(Shape::PORTS)
    })
}

/// Has the guard nothing more against a frame that fits the pattern, and nothing of its outer header to bring to the
/// surface? That would change the inner header, and is rare.
#[inline(always)]
fn admits(overlay: &Known, frame: &StackV4) -> bool {
    let (src, outer, inner) = (frame.outer.inner.words().src, frame.outer.ip.tos, frame.ip.tos);
    src != overlay.mac && src != 0 && ((inner ^ outer) & overlay.tos_mask == 0 || agree(overlay.uniform, inner, outer))
}

/// Does an inner TOS octet stay as it is, whatever the outer one says (RFC 6040 §4.2; in the `uniform` model RFC 2983 §4.1)?
#[inline(never)]
pub(super) fn agree(uniform: bool, inner: u8, outer: u8) -> bool {
    ecn::decapsulate(inner, outer) == Ok(inner & ecn::MASK) && (!uniform || (inner ^ outer) & !ecn::MASK == 0)
}
