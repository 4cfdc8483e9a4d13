//! The plainest frames, which are nearly all: no options, no tags, no outer fragments, headers at fixed offsets.
//!
//! Everything is read through one bounds check. Each function returns `None`, with nothing changed that the careful
//! path would not change too, as soon as a frame is not plain or is not simply to be forwarded; then the careful path
//! takes it from the start, and finds the reason if it is to be dropped. No refusal is ever decided here.

use zerocopy::transmute_ref;

use super::forward::{header_mut, push_ethernet, push_headers};
use super::parse::{Inner, Ip, is_host};
use super::{Journey, Path, Verdict, guard, partial};
use crate::tables::{Action, Domain, PeerId, PortId, VtepKey, Way};
use crate::wire::ipv4::{self, protocol};
use crate::wire::vxlan::OVERHEAD_V4;
use crate::wire::{EncapsulatedV4, Ethernet, Packet, PlainV4, ecn, eth, flow, outer};

/// Bytes in front of the inner IP packet.
const OUTER: usize = outer::LEN_V4;

/// How a packet leaves.
#[derive(Clone, Copy)]
enum Exit<'t> {
    Tunnel(&'t Way),
    Plain(PortId, &'t Ethernet),
}

impl<'t> Path<'t> {
    #[inline]
    pub(super) fn fast_inbound(&mut self, pkt: &mut Packet<'_>) -> Option<Verdict> {
        let frame: &EncapsulatedV4 = transmute_ref!(pkt.bytes().first_chunk::<{ size_of::<EncapsulatedV4>() }>()?);
        if !is_plain_vxlan(frame, pkt.len()) {
            return None;
        }
        let h = &frame.outer;
        let key = VtepKey::v4(h.ip.destination(), h.udp.dst.get(), h.vxlan.vni()?);
        let last = self.memory.last;
        if last.key != key || last.epoch != self.tables.epoch() {
            return None;
        }
        let ip = Ip::of(&frame.ip);
        guard(self.tables.overlay(last.overlay)?, &Inner { dst: h.inner.dst, src: h.inner.src, ip }).ok()?;
        // A congestion mark that must come to the surface changes the header: rare, and the careful path's.
        if ecn::decapsulate(ip.tos, h.ip.tos) != Ok(ip.tos & ecn::MASK) {
            return None;
        }
        let (source, addresses, checked) = (h.ip.source(), *h.ip.addresses(), h.udp.checksum != [0, 0]);
        let datagram = eth::LEN + ipv4::LEN..eth::LEN + usize::from(h.ip.total_len.get());

        let domain = Domain(last.overlay.0.wrapping_add(1));
        let Some(Action::Encap(sender)) = self.route(domain, ip.src) else { return None };
        if !self.tables.peer(sender).is_some_and(|p| p.vtep == source && p.overlay == last.overlay) {
            return None;
        }
        let exit = self.exit(domain, Some(sender), &ip)?;
        self.finish(pkt.bytes_mut().get_mut(OUTER..)?, &ip);
        if checked {
            partial::verify_outer(pkt.bytes().get(datagram)?, &addresses).ok()?;
        }
        pkt.strip(OUTER).ok()?;
        leave(exit, &ip, (Journey::Decap, Journey::Transit), pkt)
    }

    #[inline]
    pub(super) fn fast_outbound(&mut self, pkt: &mut Packet<'_>) -> Option<Verdict> {
        let frame: &PlainV4 = transmute_ref!(pkt.bytes().first_chunk::<{ size_of::<PlainV4>() }>()?);
        let total = usize::from(frame.ip.total_len.get());
        let fits = total + eth::LEN <= pkt.len() && pkt.headroom() >= OUTER - eth::LEN;
        if !fits || frame.eth.ethertype.get() != eth::IPV4 || !frame.ip.is_plain() {
            return None;
        }
        let ip = Ip::of(&frame.ip);
        let exit = self.exit(Domain(0), None, &ip)?;
        self.finish(pkt.bytes_mut().get_mut(eth::LEN..)?, &ip);
        pkt.strip(eth::LEN).ok()?;
        leave(exit, &ip, (Journey::Native, Journey::Encap), pkt)
    }

    /// The way out of a packet that is simply to be forwarded.
    #[inline]
    fn exit(&mut self, domain: Domain, sender: Option<PeerId>, ip: &Ip) -> Option<Exit<'t>> {
        if ip.ttl <= 1 || !is_host(ip.src) || !is_host(ip.dst) {
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

/// Headers at their usual places, lengths that agree with each other, checksums that hold.
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

/// Gives an IP packet, of which only padding is left to take off, its new headers. The room for them was made sure of.
#[inline]
fn leave(exit: Exit<'_>, ip: &Ip, (plain, tunnel): (Journey, Journey), pkt: &mut Packet<'_>) -> Option<Verdict> {
    pkt.truncate(usize::from(ip.total_len));
    let header = header_mut(pkt)?;
    header.decrement_ttl();
    match exit {
        Exit::Tunnel(way) => {
            let header = *header;
            let source_port = flow::source_port_v4(&header, pkt.bytes().get(ipv4::LEN..)?);
            push_headers(way, source_port, ip.tos, pkt).ok()?;
            Some(Verdict::Send(way.port, tunnel))
        }
        Exit::Plain(port, header) => {
            push_ethernet(header, pkt).ok()?;
            Some(Verdict::Send(port, plain))
        }
    }
}
