//! Floor 2: decides about one packet.
//!
//! Two ways in, [`Path::outbound`] for plain packets and [`Path::inbound`] for VXLAN packets, and one way out: what
//! is left of either is an IP packet, which [`forward`](self) routes and gives new headers. This is the careful path,
//! and every rule about what may pass stands in it.
//!
//! In front of both stands a fast path for frames of the plainest shape, which looks at a burst twice: [`Path::scout_inbound`]
//! and [`Path::scout_outbound`] at all its frames, then [`Path::decide_inbound`] and [`Path::decide_outbound`]. Between the
//! looks a large table is asked for all that the cache did not know ([`Path::ask_noted`]); and before both, if the last burst
//! held much of that, the frames are run through for the memory that will be needed ([`Path::looks_ahead`]). Whatever it does
//! not decide goes the careful way from the start, and what it decides the careful way would have decided to the byte.
//!
//! Frames as plain, but with IPv6 in them, are decided about where they lie, too (`either`), mostly by the careful path's own
//! functions: what comes out of a tunnel, since that takes a quarter less time, and of other frames the long ones, which then
//! need not be put together. A new rule must be asked in both places, too; `tests/fuzz.rs` compares them on millions of packets.

mod ask;
mod either;
mod fast;
mod fit;
mod forward;
mod group;
mod limit;
mod neighbour;
mod parse;
mod partial;
mod recent;
mod refuse;
mod reply;
mod scout;
mod six;
mod touch;

pub use limit::{Limiter, Tick};
pub use partial::Finishers;
pub use scout::Scouted;

use crate::drops::DropReason;
use crate::tables::{Domain, Dscp, FlowCache, Miss, Overlay, OverlayId, Packed, PeerId, PortId, Tables, VtepKey};
use crate::wire::vxlan::Policy;
use crate::wire::{IpHeader, Mac, Packet, Unfinished, ecn, eth};
use ask::{Answers, Told};
use core::net::{IpAddr, Ipv4Addr};
use fit::Cut;
use parse::{Inner, Ip, Outer, is_forwardable_v4};
use recent::{Known, Recent};

/// The way of a forwarded packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Journey {
    /// Plain in, VXLAN out.
    Encap,
    /// VXLAN in, plain out.
    Decap,
    /// VXLAN in, VXLAN out.
    Transit,
    /// Plain in, plain out: a native route inside an overlay's prefix.
    Native,
}

impl Journey {
    /// All of them, in order.
    pub const ALL: [Journey; 4] = [Journey::Encap, Journey::Decap, Journey::Transit, Journey::Native];

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Journey::Encap => "encap",
            Journey::Decap => "decap",
            Journey::Transit => "transit",
            Journey::Native => "native",
        }
    }
}

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It leaves by this port.
    Send(PortId, Journey),
    /// The same, and its checksum is left to the port's device: [`Path::unfinished`] says what is.
    SendUnfinished(PortId, Journey),
    /// It was turned into an answer to its sender, which leaves by this port.
    Reply(PortId),
    /// It leaves by this port in pieces: [`Path::fragments`] says in which.
    Split(PortId, Journey),
    /// It goes no further.
    Drop(DropReason),
}

impl Verdict {
    /// Is the packet forwarded as it is now?
    #[inline]
    const fn forwards(self) -> bool {
        matches!(self, Verdict::Send(..) | Verdict::SendUnfinished(..))
    }
}

/// Where a packet came from, which is where an answer to it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    Access { port: PortId, sender: Mac },
    Overlay { overlay: OverlayId, peer: PeerId, policy: Option<Policy> },
}

impl Origin {
    #[inline]
    const fn domain(self) -> Domain {
        match self {
            Origin::Access { .. } => Domain(0),
            Origin::Overlay { overlay, .. } => domain_of(overlay),
        }
    }
}

/// The side that packets from an overlay look addresses up from.
#[inline]
const fn domain_of(overlay: OverlayId) -> Domain {
    Domain(overlay.0.wrapping_add(1))
}

/// Bytes of the longest transport header that anything is changed in: of TCP (RFC 9293 §3.1).
const TRANSPORT: usize = 60;

/// What the path remembers between packets: one worker's.
#[derive(Debug)]
pub struct Memory {
    /// What the tables said.
    pub cache: FlowCache,
    /// How often we may still speak.
    pub limiter: Limiter,
    /// Packets whose transport checksum had to be finished.
    pub partial_checksums: u64,
    /// Packets whose transport checksum was left to a device.
    pub left_checksums: u64,
    /// The ports whose devices finish checksums.
    pub finishers: Finishers,
    /// What is left to the device of the packet that was decided about last.
    unfinished: Unfinished,
    /// See [`Path::changed`].
    changed: usize,
    /// TCP connections whose segment size was lowered, counted by their SYN segments.
    pub mss_clamped: u64,
    /// How the packet is to be cut that was decided about last.
    cut: Option<Cut>,
    recent: Recent,
    answers: Answers,
    /// Frames of this burst, so far, with an address that the cache did not know.
    unknown: u32,
}

impl Memory {
    /// An empty memory with this cache.
    pub fn new(cache: FlowCache) -> Self {
        Self {
            cache,
            limiter: Limiter::new(),
            partial_checksums: 0,
            left_checksums: 0,
            finishers: Finishers::default(),
            unfinished: Unfinished::NONE,
            changed: usize::MAX,
            mss_clamped: 0,
            cut: None,
            recent: Recent::default(),
            answers: Answers::default(),
            unknown: 0,
        }
    }
}

/// The path of packets, for the time of one burst.
#[derive(Debug)]
#[non_exhaustive]
pub struct Path<'a> {
    /// The version of the tables in use.
    pub tables: &'a Tables,
    /// The worker's memory.
    pub memory: &'a mut Memory,
    /// When the burst was received.
    pub now: Tick,
}

impl<'a> Path<'a> {
    /// For a burst that was received at `now`. The memory is made to follow these tables.
    #[inline]
    pub fn new(tables: &'a Tables, memory: &'a mut Memory, now: Tick) -> Self {
        memory.cache.follow(tables);
        Self { tables, memory, now }
    }
}

impl Path<'_> {
    /// A plain frame that came in by access port `port`: both looks at it.
    #[inline]
    pub fn outbound(&mut self, port: PortId, pkt: &mut Packet<'_>) -> Verdict {
        let scouted = self.scout_outbound(pkt);
        self.decide_outbound(port, pkt, scouted)
    }

    /// A VXLAN frame that came in by an underlay port: both looks at it.
    #[inline]
    pub fn inbound(&mut self, pkt: &mut Packet<'_>) -> Verdict {
        let scouted = self.scout_inbound(pkt);
        self.decide_inbound(pkt, scouted)
    }

    /// As [`Path::outbound`], for the [front](Packet::front) of a frame that goes on elsewhere. `None`, with nothing
    /// changed, where it takes all of the frame to decide.
    #[inline(never)]
    pub fn outbound_front(&mut self, pkt: &mut Packet<'_>) -> Option<Verdict> {
        let scouted = self.scout_outbound(pkt);
        if scouted.shape.is_plain()
            && let Some(verdict) = self.fast_outbound(pkt, scouted).or_else(|| self.grouped_outbound(pkt))
        {
            return Some(verdict);
        }
        self.either_outbound(pkt)
    }

    /// As [`Path::inbound`], for the front of a frame that goes on elsewhere.
    #[inline(never)]
    pub fn inbound_front(&mut self, pkt: &mut Packet<'_>) -> Option<Verdict> {
        let scouted = self.scout_inbound(pkt);
        if scouted.shape.is_plain()
            && let Some(verdict) = self.fast_inbound(pkt, scouted).or_else(|| self.grouped_inbound(pkt))
        {
            return Some(verdict);
        }
        self.either_inbound::<true>(pkt)
    }

    /// Second look at a plain frame that came in by access port `port`.
    #[inline(always)]
    pub fn decide_outbound(&mut self, port: PortId, pkt: &mut Packet<'_>, scouted: Scouted) -> Verdict {
        match self.fast_outbound(pkt, scouted) {
            Some(verdict) => verdict,
            None => pkt.aside(|pkt| self.slow_outbound(port, pkt)),
        }
    }

    /// Second look at a VXLAN frame that came in by an underlay port.
    #[inline(always)]
    pub fn decide_inbound(&mut self, pkt: &mut Packet<'_>, scouted: Scouted) -> Verdict {
        match self.fast_inbound(pkt, scouted) {
            Some(verdict) => verdict,
            None => pkt.aside(|pkt| self.slow_inbound(pkt)),
        }
    }

    #[inline(never)]
    fn slow_outbound(&mut self, port: PortId, pkt: &mut Packet<'_>) -> Verdict {
        self.grouped_outbound(pkt).unwrap_or_else(|| self.careful_outbound(port, pkt))
    }

    #[inline(never)]
    fn slow_inbound(&mut self, pkt: &mut Packet<'_>) -> Verdict {
        let forwarded = self.either_inbound::<false>(pkt).or_else(|| self.grouped_inbound(pkt));
        forwarded.unwrap_or_else(|| self.careful_inbound(pkt))
    }

    /// [`Path::outbound`] without its fast path, which must never decide otherwise.
    #[inline(never)]
    pub fn careful_outbound(&mut self, port: PortId, pkt: &mut Packet<'_>) -> Verdict {
        self.plain(port, pkt).unwrap_or_else(Verdict::Drop)
    }

    /// [`Path::inbound`] without its fast path, which must never decide otherwise.
    #[inline(never)]
    pub fn careful_inbound(&mut self, pkt: &mut Packet<'_>) -> Verdict {
        self.vxlan(pkt).unwrap_or_else(Verdict::Drop)
    }

    #[inline]
    fn plain(&mut self, port: PortId, pkt: &mut Packet<'_>) -> Result<Verdict, DropReason> {
        if parse::is_arp(pkt.bytes()) {
            return self.asked_outside(port, pkt);
        }
        let (sender, mut ip) = parse::plain(pkt.bytes())?;
        let packet = pkt.bytes().get(eth::LEN..).unwrap_or_default();
        if self.is_discovery(&ip, packet) || self.is_probe(port, &ip, packet) {
            return self.asked_outside(port, pkt);
        }
        if self.is_claimed(ip.src) {
            return Err(DropReason::Source);
        }
        self.memory.changed = eth::LEN + usize::from(ip.header_len) + TRANSPORT;
        self.expose(pkt, eth::LEN, &ip)?;
        self.examine(pkt.bytes(), &mut ip);
        self.forward(Origin::Access { port, sender }, ip, pkt)
    }

    #[inline]
    fn vxlan(&mut self, pkt: &mut Packet<'_>) -> Result<Verdict, DropReason> {
        let outer = parse::outer(pkt.bytes())?;
        let overlay = self.overlay(&outer)?;
        if outer.policy.is_some() && !self.carries_policies(overlay) {
            return Err(DropReason::VxlanExtension);
        }
        let frame = pkt.bytes().get(outer.inner.clone()).unwrap_or_default();
        let vlan = self.tables.overlay(overlay).map_or(0, |overlay| overlay.inner_vlan);
        let inner = parse::inner(frame, vlan);
        let asks = |inner: &Inner| self.is_discovery(&inner.ip, frame.get(inner.ip_at.into()..).unwrap_or_default());
        if parse::is_inner_arp(frame, vlan) || inner.as_ref().is_ok_and(asks) {
            return self.asked_inside(overlay, &outer, pkt);
        }
        let (peer, mut inner) = self.admit(overlay, &outer, inner)?;

        let ip_at = outer.inner.start + usize::from(inner.ip_at);
        self.memory.changed = ip_at + usize::from(inner.ip.header_len) + TRANSPORT;
        self.examine(pkt.bytes().get(ip_at..).unwrap_or_default(), &mut inner.ip);
        self.is_checked(peer, &outer)?;
        self.verify_datagram(&outer, pkt.bytes_mut(), ip_at, &mut inner.ip)?;

        self.expose(pkt, ip_at, &inner.ip)?;
        let uniform = self.tables.overlay(overlay).is_some_and(|o| o.dscp == Dscp::Uniform);
        let ip = surface(pkt, inner.ip, outer.tos, uniform)?;
        self.forward(Origin::Overlay { overlay, peer, policy: outer.policy }, ip, pkt)
    }

    /// Of the packet that was last sent on by the careful path: how many bytes of it, as it came, can have been changed or taken
    /// off. Behind them it is as it was, but for what was cut off its end.
    pub fn changed(&self) -> usize {
        self.memory.changed
    }

    fn carries_policies(&self, id: OverlayId) -> bool {
        self.tables.overlay(id).is_some_and(|overlay| overlay.gbp)
    }

    /// The overlay that a packet is in.
    #[inline]
    fn overlay(&mut self, outer: &Outer) -> Result<OverlayId, DropReason> {
        self.overlay_of(outer).ok_or_else(|| self.stranger(outer))
    }

    #[inline]
    fn overlay_of(&mut self, outer: &Outer) -> Option<OverlayId> {
        let key = match outer.dst {
            IpAddr::V4(dst) => VtepKey::v4(dst, outer.udp_port, outer.vni),
            IpAddr::V6(dst) => return self.tables.vteps().find_v6(dst, outer.udp_port, outer.vni),
        };
        match self.memory.recent.get(key, self.tables.epoch()) {
            Some(known) => Some(known.id),
            None => self.learn(key).map(|known| known.id),
        }
    }

    /// The overlay with this key, to be remembered.
    #[cold]
    fn learn(&mut self, key: VtepKey) -> Option<Known> {
        let id = self.tables.vteps().find(key)?;
        Some(self.memory.recent.put(key, self.tables.epoch(), id, self.tables.overlay(id)?))
    }

    /// Why a packet is in no overlay of ours.
    #[cold]
    fn stranger(&self, outer: &Outer) -> DropReason {
        let vteps = self.tables.vteps();
        if !parse::is_unicast(outer.src) || vteps.is_ours(outer.src) {
            return DropReason::OuterMartian;
        }
        match vteps.why_not(outer.dst, outer.udp_port) {
            Miss::Vtep => DropReason::NotOurVtep,
            Miss::Vni => DropReason::UnknownVni,
        }
    }

    /// May whoever sent this send it? Yes, if the inner source address is routed to a peer with the outer source
    /// address; one lookup then answers for both. What is wrong otherwise is found out in the order of the headers:
    /// who is no peer is dropped as such, whatever the inner frame looks like.
    #[inline]
    fn admit(
        &mut self,
        id: OverlayId,
        outer: &Outer,
        inner: Result<Inner, DropReason>,
    ) -> Result<(PeerId, Inner), DropReason> {
        let overlay = self.tables.overlay(id).ok_or(DropReason::UnknownVni)?;
        let Ok(frame) = inner else {
            return Err(self.peer(id, outer).err().or(inner.err()).unwrap_or(DropReason::InnerShort));
        };
        let domain = domain_of(id);
        let peer = match self.sender(domain, frame.ip.src, id, outer.src) {
            Some(peer) => peer,
            None => {
                let peer = self.peer(id, outer)?;
                guard(overlay, frame.dst, frame.src)?;
                if overlay.source_check {
                    return Err(DropReason::InnerSource);
                }
                peer
            }
        };
        guard(overlay, frame.dst, frame.src)?;
        Ok((peer, frame))
    }

    /// The peer that sent a packet, if the inner source address is routed to one with the outer source address. Only
    /// then is the route remembered: strangers write nothing into the cache.
    #[inline]
    fn sender(&mut self, domain: Domain, src: IpAddr, overlay: OverlayId, outer_src: IpAddr) -> Option<PeerId> {
        let src = match src {
            IpAddr::V4(src) => src,
            IpAddr::V6(src) => return self.sender_v6(domain, src, overlay, outer_src),
        };
        let cached = self.memory.cache.get(domain, src);
        let new = cached.is_none().then(|| self.ask(domain, src));
        let id = self.tables.sender_of(new.map_or(cached, |told| told.advice), overlay, outer_src)?;
        if let Some(told) = new {
            self.remember(domain, src, told);
        }
        Some(id)
    }

    /// Does a source address of the access side belong to an overlay that watches its sources, or to ourselves? Then
    /// whoever sends from there is not who he says (RFC 1812 §5.3.8).
    #[inline]
    fn is_claimed(&mut self, src: IpAddr) -> bool {
        let action = self.route(Domain(0), src);
        if action.is_none() || action.hop().is_some() {
            return false;
        }
        self.is_watched(action)
    }

    #[cold]
    fn is_watched(&self, action: Packed) -> bool {
        self.tables.overlay_of(action).map_or_else(|| self.is_any_watched(action), |overlay| overlay.source_check)
    }

    /// Of several ways to an address the strictest counts, unless one of them leads to the access side. What is not behind a
    /// peer at all is watched.
    #[cold]
    #[inline(never)]
    fn is_any_watched(&self, action: Packed) -> bool {
        let ways = self.tables.ways(&action);
        let watches = |way: &Packed| self.tables.overlay_of(*way).is_none_or(|overlay| overlay.source_check);
        !action.is_group() || ways.iter().all(|way| way.hop().is_none()) && ways.iter().any(watches)
    }

    /// The peer at the outer source address.
    #[cold]
    fn peer(&self, overlay: OverlayId, outer: &Outer) -> Result<PeerId, DropReason> {
        if !parse::is_unicast(outer.src) || self.tables.vteps().is_ours(outer.src) {
            return Err(DropReason::OuterMartian);
        }
        self.tables.peer_by_source(overlay, outer.src).ok_or(DropReason::UnknownPeer)
    }

    /// Is there an outer UDP checksum, or else agreement that there need be none?
    fn is_checked(&self, peer: PeerId, outer: &Outer) -> Result<(), DropReason> {
        let agreed = || self.tables.peer(peer).is_some_and(|peer| peer.zero_checksum);
        let fine = outer.checked.is_some() || outer.src.is_ipv4() || agreed();
        if fine { Ok(()) } else { Err(DropReason::OuterUdpZeroChecksum) }
    }

    /// Takes everything off the packet but the IP packet at `at`: headers in front and padding behind.
    #[inline]
    fn expose(&self, pkt: &mut Packet<'_>, at: usize, ip: &Ip) -> Result<(), DropReason> {
        pkt.strip(at).map_err(|_| DropReason::ShortFrame)?;
        pkt.truncate(usize::from(ip.total_len));
        Ok(())
    }

    /// The action for an address, from the cache or else from the tables. What has no route is not cached.
    #[inline]
    fn route(&mut self, domain: Domain, addr: IpAddr) -> Packed {
        match addr {
            IpAddr::V4(addr) => self.route_v4(domain, addr),
            IpAddr::V6(addr) => self.route_v6(domain, addr),
        }
    }

    #[inline]
    fn route_v4(&mut self, domain: Domain, addr: Ipv4Addr) -> Packed {
        let action = self.memory.cache.get(domain, addr);
        if action.is_none() { self.look_up(domain, addr) } else { action }
    }

    /// The action for an address that the cache does not know, or knows from another epoch.
    #[inline(never)]
    fn look_up(&mut self, domain: Domain, addr: Ipv4Addr) -> Packed {
        let told = self.ask(domain, addr);
        self.remember(domain, addr, told);
        told.advice
    }

    /// Lets the cache know what the tables said, if that is a way and a packet may be forwarded there: a scan of what is
    /// not imported puts nothing out.
    #[inline]
    fn remember(&mut self, domain: Domain, addr: Ipv4Addr, told: Told) {
        if is_forwardable_v4(addr) && !told.advice.is_barred() {
            self.memory.cache.put_at(told.seat, domain, addr, told.advice);
        }
    }
}

/// Are the inner frame's MAC addresses those of a frame from a VTEP to ours (IEEE 802.3)?
#[inline]
fn guard(overlay: &Overlay, dst: Mac, src: Mac) -> Result<(), DropReason> {
    if !src.is_station() || src == overlay.mac {
        return Err(DropReason::InnerSourceMac);
    }
    if dst != overlay.mac {
        return Err(DropReason::InnerDestinationMac);
    }
    Ok(())
}

/// Brings to the surface what the outer header says: a congestion mark (RFC 6040 §4.2), and in the uniform model the
/// DSCP (RFC 2983 §4.1).
#[inline]
fn surface(pkt: &mut Packet<'_>, mut ip: Ip, outer_tos: u8, uniform: bool) -> Result<Ip, DropReason> {
    let ecn = ecn::decapsulate(ip.tos, outer_tos).map_err(|_| DropReason::Congestion)?;
    let dscp = if uniform { outer_tos } else { ip.tos } & !ecn::MASK;
    if dscp | ecn != ip.tos {
        ip.tos = dscp | ecn;
        if let Some(mut header) = IpHeader::of(pkt.bytes_mut()) {
            header.set_tos(ip.tos);
        }
    }
    Ok(ip)
}
