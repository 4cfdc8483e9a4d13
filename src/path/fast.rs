//! The second look, at the plainest frames, which are nearly all: no options, no tags, no outer fragments, headers at fixed
//! offsets, as [the first](super::scout) has made sure.
//!
//! All headers are rewritten where they lie, through one bounds check. Each function returns `None`, with nothing
//! changed that the careful path would not change too, as soon as a frame is not plain or is not simply to be forwarded;
//! then the careful path takes it from the start, and finds the reason if it is to be dropped. Only what somebody who
//! means harm sends most easily is [refused](super::refuse) at once.
//!
//! What is inlined by force is called in a loop over a burst, where calls and their spilled registers would cost a tenth
//! of the time; and once more, out of line, for packets whose addresses the tables have to be asked about.

use core::net::Ipv4Addr;

use zerocopy::{FromBytes, IntoBytes, transmute_ref};

use super::ask::Told;
use super::parse::{Ip, is_forwardable_v4};
use super::partial::Exit;
use super::scout::{Scouted, Shape};
use super::{Journey, Path, Verdict, domain_of, partial};
use crate::tables::{Domain, OuterHeader, Packed, PortId, Seat};
use crate::wire::checksum::{Sum, pseudo_v4};
use crate::wire::flow::Flow;
use crate::wire::ipv4::{Words, protocol};
use crate::wire::{Packet, StackV4, eth, outer, stack};

/// Bytes that encapsulation adds to a frame.
pub(super) const GROWTH: usize = outer::LEN_V4 - eth::LEN;

/// Bytes from the front of all headers to the end of the ports.
pub(super) const REACH: usize = stack::LEN + 4;

impl Path<'_> {
    /// A VXLAN frame.
    #[inline(always)]
    pub(super) fn fast_inbound(&mut self, pkt: &mut Packet<'_>, scouted: Scouted) -> Option<Verdict> {
        if scouted.is_known() && scouted.is_settled() {
            self.known_inbound(pkt, scouted)
        } else {
            pkt.aside(|pkt| self.unknown_inbound(pkt, scouted))
        }
    }

    /// A frame that is not plain, or not settled, or whose addresses the cache does not both know.
    #[inline(never)]
    fn unknown_inbound(&mut self, pkt: &mut Packet<'_>, scouted: Scouted) -> Option<Verdict> {
        if !scouted.shape.is_plain() {
            return scouted.shape.has(Shape::STRANGER).then(|| self.refuse_stranger(pkt.bytes()));
        }
        self.memory.unknown += u32::from(!scouted.is_known());
        let frame = StackV4::ref_from_prefix(pkt.reach_all::<REACH>(0)?).ok()?.0;
        let (ip, overlay, from) = (frame.ip.words(), scouted.shape.overlay(), frame.outer.ip.source());
        let (domain, addrs) = (domain_of(overlay), (ip.source(), ip.destination()));
        let src = self.consult(domain, addrs.0, scouted.src());
        if !self.tables.is_sender(src.advice, overlay, from) {
            return self.refuse_sender(src.advice, overlay, from);
        }
        let dst = self.consult(domain, addrs.1, scouted.dst());
        if dst.advice.is_none() {
            return self.refuse_route(addrs.1, scouted.shape);
        }
        let verdict = self.send::<true, false>(pkt, scouted.with(src.advice, dst.advice))?;
        if verdict.forwards() {
            self.keep(domain, addrs.0, src);
            self.keep(domain, addrs.1, dst);
        }
        Some(verdict)
    }

    /// A plain frame whose addresses the cache knows both.
    #[inline(always)]
    fn known_inbound(&mut self, pkt: &mut Packet<'_>, scouted: Scouted) -> Option<Verdict> {
        let overlay = scouted.shape.overlay();
        let from = StackV4::ref_from_prefix(pkt.reach_all::<REACH>(0)?).ok()?.0.outer.ip.source();
        if !self.tables.is_sender(scouted.src(), overlay, from) {
            return self.refuse_sender(scouted.src(), overlay, from);
        }
        self.send::<true, true>(pkt, scouted)
    }

    /// A plain frame from somebody who may send it, with the advice for its addresses, from the cache or else from the
    /// tables. Of a source on the access side there may be none. Of frames that are known to be settled, `SETTLED`, more than
    /// their headers is not looked at.
    #[inline(always)]
    pub(super) fn send<const UNDERLAY: bool, const SETTLED: bool>(
        &mut self,
        pkt: &mut Packet<'_>,
        scouted: Scouted,
    ) -> Option<Verdict> {
        let (src, dst, shape) = (scouted.src(), scouted.dst(), scouted.shape);
        // a whole stack of headers begins where the frame does, or where one may be put in front of it
        let in_front = if UNDERLAY { 0 } else { GROWTH };
        let head = pkt.headroom();
        let room = pkt.reach_all::<REACH>(in_front)?;
        let at = head - in_front;
        let frame = StackV4::ref_from_prefix(room).ok()?.0;
        let tables = self.tables;
        if dst.is_encap() {
            let way = tables.peer_of(dst)?.way.as_ref()?;
            let OuterHeader::V4(header) = &way.header else { return None };
            let ip = frame.ip.words();
            let total = ip.total_len();
            if ip.ttl() <= 1 || total > way.mtu || (UNDERLAY && src == dst) {
                return None;
            }
            let ports = ports(shape, room)?;
            let unsettled = !SETTLED && shape.has(Shape::UNSETTLED);
            let left = unsettled && self.settle(shape, room, Exit { port: way.port, tunnel: true })?;
            let frame = StackV4::mut_from_prefix(room).ok()?.0;
            frame.ip.decrement_ttl();
            frame.outer = *header;
            frame.outer.stamp(total, Flow::of(ip, ports).port(), ip.tos() & way.tos_mask);
            pkt.set_span(at, outer::LEN_V4 + usize::from(total));
            Some(sends(left, way.port, if UNDERLAY { Journey::Transit } else { Journey::Encap }))
        } else {
            let hop = tables.hop_of(dst)?;
            let (header, mtu) = hop.way.as_ref()?;
            let total = frame.ip.total_len.get();
            if frame.ip.ttl <= 1 || total > *mtu {
                return None;
            }
            let unsettled = !SETTLED && shape.has(Shape::UNSETTLED);
            let left = unsettled && self.settle(shape, room, Exit { port: hop.port, tunnel: false })?;
            let frame = StackV4::mut_from_prefix(room).ok()?.0;
            frame.ip.decrement_ttl();
            frame.outer.inner = *header;
            pkt.set_span(at + GROWTH, eth::LEN + usize::from(total));
            Some(sends(left, hop.port, if UNDERLAY { Journey::Decap } else { Journey::Native }))
        }
    }

    /// A frame from the access side.
    #[inline(always)]
    pub(super) fn fast_outbound(&mut self, pkt: &mut Packet<'_>, scouted: Scouted) -> Option<Verdict> {
        if scouted.is_known() && scouted.is_settled() {
            self.known_outbound(pkt, scouted)
        } else {
            pkt.aside(|pkt| self.unknown_outbound(pkt, scouted))
        }
    }

    /// As [`Path::unknown_inbound`].
    #[inline(never)]
    fn unknown_outbound(&mut self, pkt: &mut Packet<'_>, scouted: Scouted) -> Option<Verdict> {
        if !scouted.shape.is_plain() {
            return None;
        }
        self.memory.unknown += u32::from(!scouted.is_known());
        let frame = StackV4::ref_from_prefix(pkt.reach_all::<REACH>(GROWTH)?).ok()?.0;
        let ip = frame.ip.words();
        let addrs = (ip.source(), ip.destination());
        let src = self.consult(Domain(0), addrs.0, scouted.src());
        if src.advice.hop().is_none() && !self.may_send(ip, src.advice) {
            return self.refuse_source(src.advice);
        }
        let dst = self.consult(Domain(0), addrs.1, scouted.dst());
        if dst.advice.is_none() {
            return self.refuse_route(addrs.1, scouted.shape);
        }
        let verdict = self.send::<false, false>(pkt, scouted.with(src.advice, dst.advice))?;
        if verdict.forwards() {
            self.keep(Domain(0), addrs.0, src);
            self.keep(Domain(0), addrs.1, dst);
        }
        Some(verdict)
    }

    /// As [`Path::known_inbound`].
    #[inline(always)]
    fn known_outbound(&mut self, pkt: &mut Packet<'_>, scouted: Scouted) -> Option<Verdict> {
        let src = scouted.src();
        if src.hop().is_none() {
            let frame = StackV4::ref_from_prefix(pkt.reach_all::<REACH>(GROWTH)?).ok()?.0;
            if !self.may_send(frame.ip.words(), src) {
                return self.refuse_source(src);
            }
        }
        self.send::<false, true>(pkt, scouted)
    }

    /// What few packets need before they leave: an outer checksum is verified, one that is unfinished is finished or left to
    /// the device. Says whether it is left.
    #[inline(never)]
    fn settle(&mut self, shape: Shape, room: &mut [u8], exit: Exit) -> Option<bool> {
        let (front, rest) = room.split_first_chunk_mut::<{ stack::LEN }>()?;
        let frame: &StackV4 = transmute_ref!(&*front);
        let mut ip = Ip::v4(&frame.ip);
        if shape.has(Shape::UNFINISHED) {
            ip.unfinished = partial::find(rest, &ip);
            ip.known = !ip.unfinished.is_none();
        }
        if shape.has(Shape::CHECKED) {
            verify_outer(frame, rest, &ip)?;
        }
        if ip.unfinished.is_none() {
            return Some(false);
        }
        let left = self.leave(&ip, exit);
        if !left {
            ip.unfinished.finish(rest.get_mut(..ip.payload().len())?);
            self.memory.partial_checksums += 1;
        }
        Some(left)
    }

    /// Asks the tables about an address, unless the cache knows it. What they say it is to learn only if the packet is
    /// let in and forwarded: strangers write nothing there.
    #[inline(always)]
    fn consult(&mut self, domain: Domain, addr: Ipv4Addr, known: Packed) -> Told {
        if known.is_none() && is_forwardable_v4(addr) {
            self.ask(domain, addr)
        } else {
            Told { advice: known, seat: Seat::NOWHERE }
        }
    }

    /// Lets the cache know what the tables said about an address of a packet that is forwarded.
    #[inline(always)]
    fn keep(&mut self, domain: Domain, addr: Ipv4Addr, told: Told) {
        self.memory.cache.put_at(told.seat, domain, addr, told.advice);
    }

    /// May a plain packet come from an address that is not behind a native next hop?
    #[inline(never)]
    pub(super) fn may_send(&self, ip: Words, src: Packed) -> bool {
        if src.is_none() { is_forwardable_v4(ip.source()) } else { !self.is_watched(src) }
    }
}

#[inline(always)]
pub(super) fn sends(left: bool, port: PortId, journey: Journey) -> Verdict {
    if left { Verdict::SendUnfinished(port, journey) } else { Verdict::Send(port, journey) }
}

/// The ports, if the payload begins with some that count; zeroes otherwise.
#[inline(always)]
pub(super) fn ports(shape: Shape, room: &[u8]) -> Option<[u8; 4]> {
    if shape.has(Shape::PORTS) { Some(*room.first_chunk::<REACH>()?.last_chunk()?) } else { Some([0; 4]) }
}

/// Verifies the outer UDP checksum; `rest` is what follows the headers, of which the inner one said `ip`.
#[inline(never)]
fn verify_outer(frame: &StackV4, rest: &[u8], ip: &Ip) -> Option<()> {
    let h = &frame.outer;
    let behind = (eth::LEN + usize::from(h.ip.total_len.get())).checked_sub(stack::LEN)?;
    let payload = match ip.sum() {
        None => Sum::ZERO.bytes(rest.get(..behind)?),
        Some(sum) if behind == ip.payload().len() => sum,
        Some(_) => return None,
    };
    // all pieces but the last are even
    let headers = Sum::ZERO.bytes(h.udp.as_bytes()).bytes(h.vxlan.as_bytes()).bytes(h.inner.as_bytes());
    let datagram = headers.bytes(frame.ip.as_bytes()).plus(payload);
    let pseudo = pseudo_v4(h.ip.addresses(), protocol::UDP, h.udp.len.get());
    partial::verify_outer(pseudo, h.udp.checksum, datagram).ok()
}
