//! The second look, at the plainest frames, which are nearly all: no options, no tags, no outer fragments, headers at fixed
//! offsets, as [the first](super::scout) has made sure.
//!
//! All headers are rewritten where they lie, through one bounds check. Each function returns `None`, with nothing
//! changed that the careful path would not change too, as soon as a frame is not plain or is not simply to be forwarded;
//! then the careful path takes it from the start, and finds the reason if it is to be dropped. Only what somebody who
//! means harm sends most easily is [refused](super::refuse) at once.
//!
//! What is inlined by force is called once: in a loop over a burst, where calls and their spilled registers would cost a
//! tenth of the time.

use core::net::Ipv4Addr;

use zerocopy::{IntoBytes, transmute_mut};

use super::parse::{Ip, is_forwardable};
use super::scout::Scouted;
use super::{Journey, Path, Verdict, domain_of, partial};
use crate::tables::{Domain, Packed, PeerId, PortId, Way};
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, Words};
use crate::wire::{Ethernet, Ipv4, OuterV4, Packet, StackV4, eth, flow, outer, stack};

/// Bytes that encapsulation adds to a frame.
pub(super) const GROWTH: usize = outer::LEN_V4 - eth::LEN;

/// How a packet leaves.
#[derive(Clone, Copy)]
enum Exit<'t> {
    Tunnel(&'t Way),
    Plain(PortId, &'t Ethernet),
}

impl<'t> Path<'t> {
    #[inline(always)]
    pub(super) fn fast_inbound(&mut self, pkt: &mut Packet<'_>, scouted: Scouted) -> Option<Verdict> {
        if !scouted.plain {
            return None;
        }
        let head = pkt.headroom();
        let (front, rest) = pkt.reach::<{ stack::LEN }>(0)?;
        let frame: &mut StackV4 = transmute_mut!(front);
        let (ip, overlay) = (frame.ip.words(), scouted.overlay);
        let domain = domain_of(overlay);
        let (src, new_src) = self.consult(domain, ip.source(), scouted.src);
        let sender = match src.peer() {
            Some(id) if self.tables.peer(id).is_some_and(|p| p.sends(overlay, frame.outer.ip.source())) => id,
            _ => return self.refuse_sender(overlay, &frame.outer),
        };
        let (dst, new_dst) = self.consult(domain, ip.destination(), scouted.dst);
        if dst.is_none() {
            return self.refuse_inbound(ip, &frame.outer, rest);
        }
        let exit = self.exit(ip, dst, Some(sender))?;
        let ports = self.transport(ip, &frame.ip, rest)?;
        if new_src {
            self.remember(domain, ip.source(), src);
        }
        if new_dst {
            self.remember(domain, ip.destination(), dst);
        }
        if frame.outer.udp.checksum != [0, 0] {
            verify_outer(frame, rest)?;
        }
        frame.ip.decrement_ttl();
        let total = ip.total_len();
        Some(match exit {
            Exit::Tunnel(way) => {
                // one stack of headers takes the place of another: the packet stays where it is
                put_on(&mut frame.outer, way, ip, ports);
                pkt.set_span(head, outer::LEN_V4 + usize::from(total));
                Verdict::Send(way.port, Journey::Transit)
            }
            Exit::Plain(port, header) => {
                frame.outer.inner = *header;
                pkt.set_span(head + GROWTH, eth::LEN + usize::from(total));
                Verdict::Send(port, Journey::Decap)
            }
        })
    }

    #[inline(always)]
    pub(super) fn fast_outbound(&mut self, pkt: &mut Packet<'_>, scouted: Scouted) -> Option<Verdict> {
        if !scouted.plain {
            return None;
        }
        let head = pkt.headroom();
        let (front, rest) = pkt.reach::<{ stack::LEN }>(GROWTH)?;
        let frame: &mut StackV4 = transmute_mut!(front);
        let ip = frame.ip.words();
        let (src, new_src) = self.consult(Domain(0), ip.source(), scouted.src);
        if src.hop().is_none() && !self.may_send(ip, src) {
            return self.refuse_source(src);
        }
        let (dst, new_dst) = self.consult(Domain(0), ip.destination(), scouted.dst);
        if dst.is_none() {
            return self.refuse_route(ip, rest);
        }
        let exit = self.exit(ip, dst, None)?;
        let ports = self.transport(ip, &frame.ip, rest)?;
        if new_src {
            self.remember(Domain(0), ip.source(), src);
        }
        if new_dst {
            self.remember(Domain(0), ip.destination(), dst);
        }
        frame.ip.decrement_ttl();
        let total = ip.total_len();
        Some(match exit {
            Exit::Tunnel(way) => {
                put_on(&mut frame.outer, way, ip, ports);
                pkt.set_span(head - GROWTH, outer::LEN_V4 + usize::from(total));
                Verdict::Send(way.port, Journey::Encap)
            }
            Exit::Plain(port, header) => {
                frame.outer.inner = *header;
                pkt.set_span(head, eth::LEN + usize::from(total));
                Verdict::Send(port, Journey::Native)
            }
        })
    }

    /// What the cache knew of an address, or else what the tables say; and whether the cache is to learn it, should the
    /// packet be let in: strangers write nothing there.
    #[inline(always)]
    fn consult(&mut self, domain: Domain, addr: Ipv4Addr, known: Packed) -> (Packed, bool) {
        if known.is_none() { self.consult_tables(domain, addr) } else { (known, false) }
    }

    #[inline(never)]
    fn consult_tables(&mut self, domain: Domain, addr: Ipv4Addr) -> (Packed, bool) {
        if !is_forwardable(addr) {
            return (Packed::NONE, false);
        }
        let advice = self.ask(domain, addr);
        (advice, !advice.is_none())
    }

    /// Lets the cache know what the tables said.
    #[inline(never)]
    fn remember(&mut self, domain: Domain, addr: Ipv4Addr, advice: Packed) {
        self.memory.cache.put(domain, addr, self.tables.epoch(), advice);
    }

    /// May a plain packet come from an address that is not behind a native next hop?
    #[inline(never)]
    fn may_send(&self, ip: Words, src: Packed) -> bool {
        if src.is_none() { is_forwardable(ip.source()) } else { !self.is_watched(src) }
    }

    /// The way out of a packet that is simply to be forwarded.
    #[inline(always)]
    fn exit(&self, ip: Words, advice: Packed, sender: Option<PeerId>) -> Option<Exit<'t>> {
        if ip.ttl() <= 1 {
            return None;
        }
        let tables = self.tables;
        let (exit, mtu) = if let Some(peer) = advice.peer() {
            if sender == Some(peer) {
                return None;
            }
            let way = tables.peer(peer)?.way.as_ref()?;
            (Exit::Tunnel(way), way.mtu)
        } else {
            let hop = tables.hop(advice.hop()?)?;
            let (header, mtu) = hop.way.as_ref()?;
            (Exit::Plain(hop.port, header), *mtu)
        };
        (ip.total_len() <= mtu).then_some(exit)
    }

    /// The transport header: its ports, if it has some that count. If its checksum is unfinished it is finished.
    #[inline(always)]
    fn transport(&mut self, ip: Words, header: &Ipv4, rest: &mut [u8]) -> Option<[u8; 4]> {
        if ip.is_fragment() || !flow::has_ports(ip.protocol()) {
            return Some([0; 4]);
        }
        let payload_len = usize::from(ip.total_len()) - ipv4::LEN;
        if partial::may_be_partial(ip, payload_len, rest)? {
            self.finish(rest.get_mut(..payload_len)?, header.addresses(), &Ip::of(header));
        }
        rest.first_chunk().copied()
    }
}

/// Writes a peer's headers in front of an IP packet.
#[inline(always)]
fn put_on(room: &mut OuterV4, way: &Way, ip: Words, ports: [u8; 4]) {
    super::forward::put_on(room, way, flow::source_port(ip, ports), ip.total_len(), ip.tos());
}

/// Verifies the outer UDP checksum; `rest` is what follows the headers.
#[inline(never)]
fn verify_outer(frame: &StackV4, rest: &[u8]) -> Option<()> {
    let h = &frame.outer;
    let behind = (eth::LEN + usize::from(h.ip.total_len.get())).checked_sub(stack::LEN)?;
    // all pieces but the last are even
    let headers = Sum::ZERO.bytes(h.udp.as_bytes()).bytes(h.vxlan.as_bytes()).bytes(h.inner.as_bytes());
    let datagram = headers.bytes(frame.ip.as_bytes()).bytes(rest.get(..behind)?);
    partial::verify_outer(h.ip.addresses(), h.udp.len.get(), h.udp.checksum, datagram).ok()
}
