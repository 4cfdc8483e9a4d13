//! Plain frames with IPv6 inside, outside or both: in one piece, without options, extension headers or tags, every header at its
//! usual place; of IPv6, TCP and UDP alone.
//!
//! They are decided about by the same functions as on the careful path, and one by one. But their headers alone are looked
//! at and rewritten, where they lie: so a packet that goes on in other chunks need not be put together, unless a sum over all
//! of it is asked for. Each function returns `None`, with nothing changed, as soon as a frame is not plain or is not simply
//! to be forwarded; then the careful path takes it from the start. `tests/fuzz.rs` compares the two.

use zerocopy::FromBytes;
use zerocopy::byteorder::network_endian::U16;

use super::fast::sends;
use super::forward::{Payload, fill_v4, fill_v6};
use super::parse::{Ip, Outer, is_forwardable};
use super::partial::{self, Exit};
use super::scout::agree;
use super::{Journey, Path, Verdict, domain_of, guard};
use crate::tables::{Action, Domain, Dscp, OuterHeader, Peer, PeerId, PortId};
use crate::wire::checksum::{Sum, pseudo};
use crate::wire::flow::{self, Flow};
use crate::wire::ipv4::protocol;
use crate::wire::ipv6::{self, Upper};
use crate::wire::outer::LEN_V4;
use crate::wire::outer6::LEN_V6;
use crate::wire::vxlan::Extension;
use crate::wire::{Ethernet, IpHeader, Ipv4, Ipv6, OuterV4, OuterV6, Packet, Udp, Vxlan, eth, tcp, udp, vxlan};

/// A plain IP packet in a frame.
struct Plain {
    /// Bytes of the frame in front of it.
    at: usize,
    ethertype: U16,
    ip: Ip,
    flow: Flow,
    /// It opens a TCP connection.
    syn: bool,
}

/// Where a packet goes on, and what is put in front of it.
struct Departure<'a> {
    port: PortId,
    journey: Journey,
    /// The largest IP packet that may.
    mtu: u16,
    tos_mask: u8,
    front: Front<'a>,
}

enum Front<'a> {
    Link(&'a Ethernet),
    V4(&'a OuterV4),
    /// And whether neither end needs its checksum.
    V6(&'a OuterV6, bool),
}

impl Front<'_> {
    const fn len(&self) -> usize {
        match self {
            Self::Link(_) => eth::LEN,
            Self::V4(_) => LEN_V4,
            Self::V6(..) => LEN_V6,
        }
    }
}

impl<'t> Path<'t> {
    /// A VXLAN frame. Of IPv4 over IPv4 only if `ANY` is: what goes into a tunnel over IPv6 may, too.
    #[inline(never)]
    pub(super) fn either_inbound<const ANY: bool>(&mut self, pkt: &mut Packet<'_>) -> Option<Verdict> {
        let len = pkt.len();
        let frame = &*pkt.reach_all::<0>(0)?;
        let outer = outer::<ANY>(frame, len)?;
        let link = Ethernet::ref_from_prefix(frame.get(outer.inner.start..)?).ok()?.0;
        let plain = Plain::read(frame, outer.inner.start + eth::LEN, outer.inner.end, link.ethertype)?;
        let id = self.overlay_of(&outer)?;
        let peer = self.sender(domain_of(id), plain.ip.src, id, outer.src)?;
        let overlay = self.tables.overlay(id)?;
        guard(overlay, link.dst, link.src).ok()?;
        self.is_checked(peer, &outer).ok()?;
        // what costs most comes last, but for the destination: no packet that is not sound may teach the cache
        if !self.is_simple(&plain) || !agree(overlay.dscp == Dscp::Uniform, plain.ip.tos, outer.tos) {
            return None;
        }
        verify(&outer, frame, &plain)?;
        self.pass(domain_of(id), Some(peer), plain, pkt)
    }

    /// A frame from the access side.
    #[inline(never)]
    pub(super) fn either_outbound(&mut self, pkt: &mut Packet<'_>) -> Option<Verdict> {
        let len = pkt.len();
        let frame = &*pkt.reach_all::<0>(0)?;
        let link = Ethernet::ref_from_prefix(frame).ok()?.0;
        if !link.src.is_station() {
            return None;
        }
        let plain = Plain::read(frame, eth::LEN, len, link.ethertype)?;
        if self.is_claimed(plain.ip.src) || !self.is_simple(&plain) {
            return None;
        }
        self.pass(Domain(0), None, plain, pkt)
    }

    /// Sends on a packet that came from this peer, or else from the access side.
    fn pass(&mut self, domain: Domain, from: Option<PeerId>, plain: Plain, pkt: &mut Packet<'_>) -> Option<Verdict> {
        let onward = self.onward(domain, from, &plain.ip)?;
        if plain.ip.total_len > onward.mtu {
            return None;
        }
        self.dress_in_place(plain, &onward, pkt)
    }

    /// Is nothing in the packet itself against forwarding it as it is?
    fn is_simple(&self, Plain { ip, syn, .. }: &Plain) -> bool {
        is_forwardable(ip.src) && is_forwardable(ip.dst) && ip.ttl > 1 && !(*syn && self.tables.clamps())
    }

    fn onward(&mut self, domain: Domain, from: Option<PeerId>, ip: &Ip) -> Option<Departure<'t>> {
        let (advice, tables) = (self.route(domain, ip.dst), self.tables);
        match advice.unpack()? {
            Action::Encap(id) if from != Some(id) => {
                let peer: &Peer = tables.peer(id)?;
                let way = peer.way.as_ref()?;
                let front = match &way.header {
                    OuterHeader::V4(header) => Front::V4(header),
                    OuterHeader::V6(header) => Front::V6(header, peer.zero_checksum),
                };
                let journey = if from.is_some() { Journey::Transit } else { Journey::Encap };
                Some(Departure { port: way.port, journey, mtu: way.mtu, tos_mask: way.tos_mask, front })
            }
            Action::Deliver(id) => {
                let hop = tables.hop(id)?;
                let (header, mtu) = hop.way.as_ref()?;
                let journey = if from.is_some() { Journey::Decap } else { Journey::Native };
                Some(Departure { port: hop.port, journey, mtu: *mtu, tos_mask: 0, front: Front::Link(header) })
            }
            _ => None,
        }
    }

    /// Makes the packet one hop older and gives it new headers in place of the old ones.
    fn dress_in_place(&mut self, plain: Plain, onward: &Departure<'_>, pkt: &mut Packet<'_>) -> Option<Verdict> {
        let Plain { at, ethertype, mut ip, flow, .. } = plain;
        let (len, total) = (onward.front.len(), usize::from(ip.total_len));
        let head = (pkt.headroom() + at).checked_sub(len)?;
        let room = pkt.reach_all::<0>(len.saturating_sub(at))?.get_mut(at.saturating_sub(len)..)?;
        let (front, packet) = room.split_at_mut_checked(len)?;

        let exit = Exit { port: onward.port, tunnel: !matches!(onward.front, Front::Link(_)) };
        let finishes = !ip.unfinished.is_none() && !self.leaves(&ip, exit);
        let sums = !ip.known && matches!(onward.front, Front::V6(_, false));
        if (finishes || sums) && packet.len() < total {
            return None;
        }
        // From here on there is no way back. Nor is one taken: all that is looked at below has been measured.
        IpHeader::of(packet)?.age();
        let left = self.leave(&ip, exit);
        if finishes {
            self.finish(packet, &mut ip);
        }
        let known = ip.sum().map(|sum| (usize::from(ip.header_len), sum));
        let payload = Payload { ethertype, tos: ip.tos, flow, to: None, policy: None, known };
        let tos = ip.tos & onward.tos_mask;
        match onward.front {
            Front::Link(header) => *Ethernet::mut_from_bytes(front).ok()? = payload.link(*header),
            Front::V4(header) => fill_v4(OuterV4::mut_from_bytes(front).ok()?, header, payload, tos, ip.total_len),
            Front::V6(header, zero_checksum) => {
                let packet = packet.get(..total.min(packet.len()))?;
                let room = OuterV6::mut_from_bytes(front).ok()?;
                *room = fill_v6(header, payload, tos, zero_checksum, (packet, ip.total_len));
            }
        }
        pkt.set_span(head, len + total);
        Some(sends(left, onward.port, onward.journey))
    }
}

impl Plain {
    /// The packet `at` bytes into a frame, which may have `end` bytes and of which `frame` has at least the front.
    fn read(frame: &[u8], at: usize, end: usize, ethertype: U16) -> Option<Self> {
        let packet = frame.get(at..)?;
        let mut ip = match ethertype.get() {
            eth::IPV4 => plain_v4(packet)?,
            eth::IPV6 => plain_v6(packet)?,
            _ => return None,
        };
        let total = usize::from(ip.total_len);
        let reach = total.min(usize::from(ip.header_len) + partial::REACH);
        if at + total > end || reach > packet.len() {
            return None;
        }
        let payload = packet.get(usize::from(ip.header_len)..total.min(packet.len()))?;
        ip.unfinished = partial::find(payload, &ip);
        ip.known = !ip.unfinished.is_none();
        let syn = ip.protocol == protocol::TCP && tcp::is_syn(payload);
        let flow = if ip.src.is_ipv4() { flow_v4(packet, payload) } else { flow_v6(packet, &ip, payload) };
        Some(Self { at, ethertype, ip, flow, syn })
    }
}

fn plain_v4(packet: &[u8]) -> Option<Ip> {
    let (ip, _) = Ipv4::ref_from_prefix(packet).ok()?;
    ip.words().is_plain().then(|| Ip::v4(ip))
}

fn plain_v6(packet: &[u8]) -> Option<Ip> {
    let (ip, _) = Ipv6::ref_from_prefix(packet).ok()?;
    let plain = ip.version_class_label[0] >> 4 == 6 && flow::has_ports(ip.next_header);
    // longer than any frame is not to become shorter
    let fits = ip.packet_len() <= usize::from(u16::MAX);
    (plain && fits).then(|| Ip::v6(ip, packet))
}

fn flow_v4(packet: &[u8], payload: &[u8]) -> Flow {
    Ipv4::ref_from_prefix(packet).map_or_else(|_| Flow::default(), |(ip, _)| Flow::of_v4(ip, payload))
}

fn flow_v6(packet: &[u8], read: &Ip, payload: &[u8]) -> Flow {
    let upper = Upper { protocol: read.protocol, at: ipv6::LEN as u16, fragment: false, later: false };
    Ipv6::ref_from_prefix(packet).map_or_else(|_| Flow::default(), |(ip, _)| Flow::of_v6(ip, &upper, payload))
}

/// The outer headers of a frame of `len` bytes, of which `frame` has at least the front, if they are plain; and, unless `ANY`
/// frame will do, there is IPv6 outside or inside.
fn outer<const ANY: bool>(frame: &[u8], len: usize) -> Option<Outer> {
    match Ethernet::ref_from_prefix(frame).ok()?.0.ethertype.get() {
        eth::IPV4 => {
            let o = OuterV4::ref_from_prefix(frame).ok()?.0;
            let wanted = ANY || o.inner.ethertype.get() == eth::IPV6;
            let plain = wanted && o.is_plain_udp() && o.ip.words().is_plain();
            if plain { around(Ip::v4(&o.ip), &o.udp, &o.vxlan, len) } else { None }
        }
        eth::IPV6 => {
            let o = OuterV6::ref_from_prefix(frame).ok()?.0;
            let ip = plain_v6(frame.get(eth::LEN..)?)?;
            if ip.protocol == protocol::UDP { around(ip, &o.udp, &o.vxlan, len) } else { None }
        }
        _ => None,
    }
}

fn around(ip: Ip, head: &Udp, header: &Vxlan, len: usize) -> Option<Outer> {
    let at = eth::LEN + usize::from(ip.header_len);
    let end = at + usize::from(head.len.get());
    let packet_end = eth::LEN + usize::from(ip.total_len);
    if end > packet_end || packet_end > len || !matches!(header.extension(), Extension::None) {
        return None;
    }
    Some(Outer {
        src: ip.src,
        dst: ip.dst,
        udp_port: head.dst.get(),
        vni: header.vni()?,
        policy: None,
        tos: ip.tos,
        checked: (head.checksum != [0, 0]).then_some((at..end, head.checksum)),
        inner: at + udp::LEN + vxlan::LEN..end,
    })
}

/// Is the outer checksum right, if there is one? `None` where it is not, or that takes more than there is.
fn verify(outer: &Outer, frame: &[u8], plain: &Plain) -> Option<()> {
    let Some((at, field)) = &outer.checked else { return Some(()) };
    let (read, rest) = match plain.ip.sum() {
        None => (at.end, Sum::ZERO),
        Some(sum) if plain.at + usize::from(plain.ip.total_len) == at.end => {
            (plain.at + usize::from(plain.ip.header_len), sum)
        }
        Some(_) => return None,
    };
    let datagram = rest.bytes(frame.get(at.start..read)?);
    partial::verify_outer(pseudo(outer.src, outer.dst, protocol::UDP, at.len() as u16), *field, datagram).ok()
}
