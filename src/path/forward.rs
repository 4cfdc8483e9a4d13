//! An IP packet without any link header is routed and given new headers.

use zerocopy::{FromBytes, IntoBytes};

use super::parse::{Ip, is_forwardable};
use super::{Journey, Origin, Path, Verdict};
use crate::drops::DropReason;
use crate::tables::{Action, HopId, PeerId, Way};
use crate::wire::outer::{LEN_V4, OuterV4};
use crate::wire::{Ethernet, Ipv4, Packet, eth, flow};

impl Path<'_> {
    /// Routes the IP packet that `pkt` holds, whose header said `ip`.
    #[inline]
    pub(super) fn forward(&mut self, origin: Origin, ip: Ip, pkt: &mut Packet<'_>) -> Result<Verdict, DropReason> {
        // RFC 1812 §5.3.7: martian addresses are not forwarded.
        if !is_forwardable(ip.src) || !is_forwardable(ip.dst) {
            return Err(DropReason::Martian);
        }
        match self.route(origin.domain(), ip.dst).unpack() {
            Some(Action::Encap(peer)) => self.via_peer(origin, peer, &ip, pkt),
            Some(Action::Deliver(hop)) => self.via_hop(origin, hop, &ip, pkt),
            Some(Action::Local) => self.answer(origin, &ip, pkt),
            None => Err(DropReason::NoRoute),
        }
    }

    #[inline]
    fn via_peer(&mut self, origin: Origin, id: PeerId, ip: &Ip, pkt: &mut Packet<'_>) -> Result<Verdict, DropReason> {
        let journey = match origin {
            Origin::Access { .. } => Journey::Encap,
            Origin::Overlay { peer, .. } if peer == id => return Err(DropReason::BackToSender),
            Origin::Overlay { .. } => Journey::Transit,
        };
        // The tables outlive the packet, and `self` is needed to answer.
        let tables = self.tables;
        let way = tables.peer(id).and_then(|p| p.way.as_ref()).ok_or(DropReason::NoNeighbour)?;
        if let Some(answer) = self.obstacle(origin, ip, way.mtu, pkt) {
            return answer;
        }
        age(pkt);
        push_outer(way, ip.tos, pkt)?;
        Ok(Verdict::Send(way.port, journey))
    }

    #[inline]
    fn via_hop(&mut self, origin: Origin, id: HopId, ip: &Ip, pkt: &mut Packet<'_>) -> Result<Verdict, DropReason> {
        let journey = match origin {
            Origin::Access { .. } => Journey::Native,
            Origin::Overlay { .. } => Journey::Decap,
        };
        let hop = self.tables.hop(id).ok_or(DropReason::NoNeighbour)?;
        let (header, mtu) = hop.way.ok_or(DropReason::NoNeighbour)?;
        let port = hop.port;
        if let Some(answer) = self.obstacle(origin, ip, mtu, pkt) {
            return answer;
        }
        age(pkt);
        push_ethernet(&header, pkt)?;
        Ok(Verdict::Send(port, journey))
    }

    /// What stands in the packet's way, if anything: its age (RFC 1812 §5.3.1) or its size (RFC 1191).
    #[inline]
    fn obstacle(
        &mut self,
        origin: Origin,
        ip: &Ip,
        mtu: u16,
        pkt: &mut Packet<'_>,
    ) -> Option<Result<Verdict, DropReason>> {
        if ip.ttl <= 1 {
            return Some(self.time_exceeded(origin, ip, pkt));
        }
        if ip.total_len > mtu {
            return Some(self.too_big(origin, ip, mtu, pkt));
        }
        None
    }
}

/// The IP header at the front of an exposed packet.
#[inline]
pub(super) fn header_mut<'p>(pkt: &'p mut Packet<'_>) -> Option<&'p mut Ipv4> {
    Ipv4::mut_from_prefix(pkt.bytes_mut()).ok().map(|(ip, _)| ip)
}

/// A routed packet is one hop older.
#[inline]
fn age(pkt: &mut Packet<'_>) {
    if let Some(ip) = header_mut(pkt) {
        ip.decrement_ttl();
    }
}

/// Makes room for a peer's headers in front of an IP packet, and writes them.
#[inline]
pub(super) fn push_outer(way: &Way, tos: u8, pkt: &mut Packet<'_>) -> Result<(), DropReason> {
    let source_port = match Ipv4::ref_from_prefix(pkt.bytes()) {
        Ok((ip, _)) => flow::source_port_v4(ip, pkt.bytes().get(ip.header_len()..).unwrap_or_default()),
        Err(_) => return Err(DropReason::IpHeader),
    };
    let len = pkt.len() as u16;
    let room = pkt.prepend::<LEN_V4>().map_err(|_| DropReason::NoHeadroom)?;
    put_on(zerocopy::transmute_mut!(room), way, source_port, len, tos);
    Ok(())
}

/// Writes a peer's headers in front of an IP packet of `len` bytes.
#[inline(always)]
pub(super) fn put_on(room: &mut OuterV4, way: &Way, source_port: u16, len: u16, tos: u8) {
    *room = way.header;
    room.stamp(len, source_port, tos & way.tos_mask);
}

/// Puts an Ethernet header in front of an IP packet.
#[inline]
pub(super) fn push_ethernet(header: &Ethernet, pkt: &mut Packet<'_>) -> Result<(), DropReason> {
    let room = pkt.prepend::<{ eth::LEN }>().map_err(|_| DropReason::NoHeadroom)?;
    room.copy_from_slice(header.as_bytes());
    Ok(())
}
