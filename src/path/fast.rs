//! The plainest frames, which are nearly all: no options, no tags, no outer fragments, headers at fixed offsets.
//!
//! All headers are read, and rewritten where they lie, through one bounds check. Each function returns `None`, with
//! nothing changed that the careful path would not change too, as soon as a frame is not plain or is not simply to be
//! forwarded; then the careful path takes it from the start, and finds the reason if it is to be dropped. No refusal
//! is ever decided here.

use zerocopy::{IntoBytes, transmute_mut};

use super::forward::put_on;
use super::parse::{Ip, is_forwardable};
use super::{Journey, Path, Verdict, guard, partial};
use crate::tables::{Action, Domain, Dscp, PeerId, PortId, VtepKey, Way};
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, protocol};
use crate::wire::vxlan::OVERHEAD_V4;
use crate::wire::{EncapsulatedV4, Ethernet, OuterV4, Packet, PlainV4, ecn, eth, flow, outer};

/// Bytes that encapsulation adds to a frame.
const GROWTH: usize = outer::LEN_V4 - eth::LEN;

/// How a packet leaves.
#[derive(Clone, Copy)]
enum Exit<'t> {
    Tunnel(&'t Way),
    Plain(PortId, &'t Ethernet),
}

impl<'t> Path<'t> {
    #[inline]
    pub(super) fn fast_inbound(&mut self, pkt: &mut Packet<'_>) -> Option<Verdict> {
        let len = pkt.len();
        let (head, rest) = pkt.bytes_mut().split_first_chunk_mut::<{ size_of::<EncapsulatedV4>() }>()?;
        let frame: &mut EncapsulatedV4 = transmute_mut!(head);
        if !is_plain_vxlan(frame, len) {
            return None;
        }
        let ip = Ip::of(&frame.ip);
        let exit = self.admit_and_route(&frame.outer, &ip)?;
        let payload_len = usize::from(ip.total_len) - ipv4::LEN;
        self.finish(rest.get_mut(..payload_len)?, frame.ip.addresses(), &ip);
        if frame.outer.udp.checksum != [0, 0] {
            verify_outer(frame, rest)?;
        }
        frame.ip.decrement_ttl();
        Some(match exit {
            Exit::Tunnel(way) => {
                // one stack of headers takes the place of another: the packet stays where it is
                let source_port = flow::source_port_v4(&frame.ip, rest.get(..payload_len)?);
                put_on(&mut frame.outer, way, source_port, ip.total_len, ip.tos);
                pkt.truncate(outer::LEN_V4 + usize::from(ip.total_len));
                Verdict::Send(way.port, Journey::Transit)
            }
            Exit::Plain(port, header) => {
                frame.outer.inner = *header;
                pkt.strip(GROWTH).ok()?;
                pkt.truncate(eth::LEN + usize::from(ip.total_len));
                Verdict::Send(port, Journey::Decap)
            }
        })
    }

    #[inline]
    pub(super) fn fast_outbound(&mut self, pkt: &mut Packet<'_>) -> Option<Verdict> {
        let (len, room) = (pkt.len(), pkt.headroom());
        let (head, rest) = pkt.bytes_mut().split_first_chunk_mut::<{ size_of::<PlainV4>() }>()?;
        let frame: &mut PlainV4 = transmute_mut!(head);
        let fits = usize::from(frame.ip.total_len.get()) + eth::LEN <= len && room >= GROWTH;
        let plain = frame.eth.ethertype.get() == eth::IPV4 && frame.eth.src.is_station() && frame.ip.is_plain();
        if !fits || !plain {
            return None;
        }
        let ip = Ip::of(&frame.ip);
        if self.is_claimed(ip.src) {
            return None;
        }
        let exit = self.exit(Domain(0), None, &ip)?;
        let payload = rest.get_mut(..usize::from(ip.total_len) - ipv4::LEN)?;
        self.finish(payload, frame.ip.addresses(), &ip);
        frame.ip.decrement_ttl();
        match exit {
            Exit::Tunnel(way) => {
                let source_port = flow::source_port_v4(&frame.ip, payload);
                pkt.truncate(eth::LEN + usize::from(ip.total_len));
                pkt.prepend::<GROWTH>().ok()?;
                let head: &mut [u8; outer::LEN_V4] = pkt.bytes_mut().first_chunk_mut()?;
                put_on(transmute_mut!(head), way, source_port, ip.total_len, ip.tos);
                Some(Verdict::Send(way.port, Journey::Encap))
            }
            Exit::Plain(port, header) => {
                frame.eth = *header;
                pkt.truncate(eth::LEN + usize::from(ip.total_len));
                Some(Verdict::Send(port, Journey::Native))
            }
        }
    }

    /// The guard of the careful path, for the overlay of the packet before, and the way out.
    #[inline]
    fn admit_and_route(&mut self, h: &OuterV4, ip: &Ip) -> Option<Exit<'t>> {
        let key = VtepKey::v4(h.ip.destination(), h.udp.dst.get(), h.vxlan.vni()?);
        let last = self.memory.last;
        if last.key != key || last.epoch != self.tables.epoch() {
            return None;
        }
        let overlay = self.tables.overlay(last.overlay)?;
        guard(overlay, h.inner.dst, h.inner.src).ok()?;
        // What must come to the surface changes the inner header: rare, and the careful path's.
        let marked = ecn::decapsulate(ip.tos, h.ip.tos) != Ok(ip.tos & ecn::MASK);
        if marked || (overlay.dscp == Dscp::Uniform && (ip.tos ^ h.ip.tos) & !ecn::MASK != 0) {
            return None;
        }
        let domain = Domain(last.overlay.0.wrapping_add(1));
        let sender = self.sender(domain, ip.src, last.overlay, h.ip.source())?;
        self.exit(domain, Some(sender), ip)
    }

    /// The way out of a packet that is simply to be forwarded.
    #[inline]
    fn exit(&mut self, domain: Domain, sender: Option<PeerId>, ip: &Ip) -> Option<Exit<'t>> {
        if ip.ttl <= 1 || !is_forwardable(ip.src) || !is_forwardable(ip.dst) {
            return None;
        }
        let tables = self.tables;
        let (exit, mtu) = match self.route(domain, ip.dst)? {
            Action::Encap(peer) if sender != Some(peer) => {
                let way = tables.peer(peer)?.way.as_ref()?;
                (Exit::Tunnel(way), way.mtu)
            }
            Action::Deliver(hop) => {
                let hop = tables.hop(hop)?;
                let (header, mtu) = hop.way.as_ref()?;
                (Exit::Plain(hop.port, header), *mtu)
            }
            Action::Encap(_) | Action::Local => return None,
        };
        (ip.total_len <= mtu).then_some(exit)
    }
}

/// Headers at their usual places, lengths that agree with each other, header checksums that hold.
#[inline]
fn is_plain_vxlan(frame: &EncapsulatedV4, len: usize) -> bool {
    let h = &frame.outer;
    let total = h.ip.total_len.get();
    h.eth.ethertype.get() == eth::IPV4
        && h.inner.ethertype.get() == eth::IPV4
        && h.ip.protocol == protocol::UDP
        && !h.ip.is_fragment()
        && h.ip.is_plain()
        && frame.ip.is_plain()
        && usize::from(total) + eth::LEN <= len
        && usize::from(h.udp.len.get()) + ipv4::LEN == usize::from(total)
        && u32::from(frame.ip.total_len.get()) + u32::from(OVERHEAD_V4) <= u32::from(total)
}

/// Verifies the outer UDP checksum; `rest` is what follows the headers.
#[inline]
fn verify_outer(frame: &EncapsulatedV4, rest: &[u8]) -> Option<()> {
    let h = &frame.outer;
    let behind = (eth::LEN + usize::from(h.ip.total_len.get())).checked_sub(size_of::<EncapsulatedV4>())?;
    // all pieces but the last are even
    let headers = Sum::ZERO.bytes(h.udp.as_bytes()).bytes(h.vxlan.as_bytes()).bytes(h.inner.as_bytes());
    let datagram = headers.bytes(frame.ip.as_bytes()).bytes(rest.get(..behind)?);
    partial::verify_outer(h.ip.addresses(), h.udp.len.get(), h.udp.checksum, datagram).ok()
}
