//! An IP packet without any link header is routed and given new headers.

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

use super::parse::{Ip, is_forwardable};
use super::{Journey, Origin, Path, Verdict};
use crate::drops::DropReason;
use crate::tables::{Action, Group, HopId, OuterHeader, Packed, Peer, PeerId, PortId};
use crate::wire::checksum::Sum;
use crate::wire::flow::Flow;
use crate::wire::outer::LEN_V4;
use crate::wire::outer6::LEN_V6;
use crate::wire::vxlan::Policy;
use crate::wire::{Ethernet, IpHeader, Ipv4, Ipv6, Mac, OuterV4, OuterV6, Packet, Vxlan, eth};

impl Path<'_> {
    /// Routes the IP packet that `pkt` holds, whose header said `ip`.
    #[inline]
    pub(super) fn forward(&mut self, origin: Origin, mut ip: Ip, pkt: &mut Packet<'_>) -> Result<Verdict, DropReason> {
        // RFC 1812 §5.3.7: martian addresses are not forwarded.
        if !is_forwardable(ip.src) || !is_forwardable(ip.dst) {
            return Err(DropReason::Martian);
        }
        let mut advice = self.route(origin.domain(), ip.dst);
        if let Some(group) = self.tables.group_of(advice) {
            advice = choose(group, origin, pkt)?;
        }
        match advice.unpack() {
            Some(Action::Encap(peer)) => self.via_peer(origin, peer, &mut ip, pkt),
            Some(Action::Deliver(hop)) => self.via_hop(origin, hop, &mut ip, pkt),
            Some(Action::Local) => {
                self.finish_here(&mut ip, pkt);
                self.answer(origin, &ip, pkt)
            }
            Some(Action::Group(_)) => Err(DropReason::NoNeighbour),
            Some(Action::Barred) => Err(DropReason::NotImported),
            None => Err(DropReason::NoRoute),
        }
    }

    #[inline]
    fn via_peer(
        &mut self,
        origin: Origin,
        id: PeerId,
        ip: &mut Ip,
        pkt: &mut Packet<'_>,
    ) -> Result<Verdict, DropReason> {
        let journey = match origin {
            Origin::Access { .. } => Journey::Encap,
            Origin::Overlay { peer, .. } if peer == id => return Err(DropReason::BackToSender),
            Origin::Overlay { .. } => Journey::Transit,
        };
        // The tables outlive the packet, and `self` is needed to answer.
        let tables = self.tables;
        let peer = tables.peer(id).ok_or(DropReason::NoNeighbour)?;
        let way = peer.way.as_ref().ok_or(DropReason::NoNeighbour)?;
        let onward = Onward { to: Outlet::Peer(id), port: way.port, journey, mtu: way.mtu };
        if let Some(answer) = self.obstacle(origin, ip, onward, pkt) {
            return answer;
        }
        self.clamp(origin, Some(peer), ip, pkt);
        age(pkt);
        let verdict = self.send_by(way.port, journey, ip, pkt);
        self.dress(origin, onward.to, Some(ip), pkt)?;
        Ok(verdict)
    }

    #[inline]
    fn via_hop(&mut self, origin: Origin, id: HopId, ip: &mut Ip, pkt: &mut Packet<'_>) -> Result<Verdict, DropReason> {
        let journey = match origin {
            Origin::Access { .. } => Journey::Native,
            Origin::Overlay { .. } => Journey::Decap,
        };
        let hop = self.tables.hop(id).ok_or(DropReason::NoNeighbour)?;
        let (_, mtu) = hop.way.ok_or(DropReason::NoNeighbour)?;
        let port = hop.port;
        let onward = Onward { to: Outlet::Hop(id), port, journey, mtu };
        if let Some(answer) = self.obstacle(origin, ip, onward, pkt) {
            return answer;
        }
        self.clamp(origin, None, ip, pkt);
        age(pkt);
        let verdict = self.send_by(port, journey, ip, pkt);
        self.dress(origin, onward.to, Some(ip), pkt)?;
        Ok(verdict)
    }

    /// Gives an IP packet the headers that lead it on. `whole`: what its header said, if it is all of that packet.
    pub(super) fn dress(
        &self,
        origin: Origin,
        to: Outlet,
        whole: Option<&Ip>,
        pkt: &mut Packet<'_>,
    ) -> Result<(), DropReason> {
        let known = whole.and_then(|ip| Some((usize::from(ip.header_len), ip.sum()?)));
        let inside = Payload { known, ..Payload::of(pkt) };
        match to {
            Outlet::Peer(id) => {
                let peer = self.tables.peer(id).ok_or(DropReason::NoNeighbour)?;
                let policy = match origin {
                    Origin::Overlay { policy, .. } => policy.filter(|_| self.carries_policies(peer.overlay)),
                    Origin::Access { .. } => None,
                };
                push_outer(peer, Payload { policy, ..inside }, pkt).map(drop)
            }
            Outlet::Hop(id) => {
                let (header, _) = self.tables.hop(id).and_then(|hop| hop.way).ok_or(DropReason::NoNeighbour)?;
                push_ethernet(&inside.link(header), pkt)
            }
        }
    }

    /// What stands in the packet's way, if anything: its age (RFC 1812 §5.3.1) or its size (RFC 1191), unless it may be
    /// cut.
    #[inline]
    fn obstacle(
        &mut self,
        origin: Origin,
        ip: &mut Ip,
        onward: Onward,
        pkt: &mut Packet<'_>,
    ) -> Option<Result<Verdict, DropReason>> {
        if ip.ttl > 1 && ip.total_len <= onward.mtu {
            return None;
        }
        // whoever is told of it, or gets it in pieces, gets it as it was meant
        self.finish_here(ip, pkt);
        if ip.ttl <= 1 {
            return Some(self.time_exceeded(origin, ip, pkt));
        }
        let cut = self.cut(origin, onward, pkt);
        Some(cut.map_or_else(|| self.too_big(origin, ip, onward.mtu, pkt), Ok))
    }
}

/// The member of a group that the IP packet in `pkt` goes to. One that a member sent goes to no other: what is behind him is
/// not reached by way of us, whoever else is said to have it.
#[cold]
fn choose(group: &Group, origin: Origin, pkt: &Packet<'_>) -> Result<Packed, DropReason> {
    let is_sender = |way: &Packed| matches!(origin, Origin::Overlay { peer, .. } if way.peer() == Some(peer));
    if group.members().iter().any(is_sender) {
        return Err(DropReason::BackToSender);
    }
    Ok(group.choose(Payload::of(pkt).flow))
}

/// Where a packet goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Onward {
    pub to: Outlet,
    pub port: PortId,
    pub journey: Journey,
    /// The largest IP packet that may.
    pub mtu: u16,
}

/// To whom.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outlet {
    Peer(PeerId),
    Hop(HopId),
}

/// A routed packet is one hop older.
#[inline]
pub(super) fn age(pkt: &mut Packet<'_>) {
    if let Some(mut ip) = IpHeader::of(pkt.bytes_mut()) {
        ip.age();
    }
}

/// What is known of a packet that is to be sent: what its link header says of it, and what its outer headers do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload {
    pub ethertype: U16,
    pub tos: u8,
    pub flow: Flow,
    /// The station it is for, if not the one that the headers are for.
    pub to: Option<Mac>,
    /// The group that its sender belongs to.
    pub policy: Option<Policy>,
    /// Where in the packet begins what it is known to sum up to, and that sum.
    pub known: Option<(usize, Sum)>,
}

impl Payload {
    /// Of the IP packet that `pkt` holds.
    pub(super) fn of(pkt: &Packet<'_>) -> Self {
        let packet = pkt.bytes();
        if packet.first().is_some_and(|b| b >> 4 == 6)
            && let Ok((ip, _)) = Ipv6::ref_from_prefix(packet)
        {
            let upper = ip.upper(packet);
            let flow = Flow::of_v6(ip, &upper, packet.get(usize::from(upper.at)..).unwrap_or_default());
            return Self {
                ethertype: U16::new(eth::IPV6),
                tos: ip.traffic_class(),
                flow,
                to: None,
                policy: None,
                known: None,
            };
        }
        let (tos, flow) = Ipv4::ref_from_prefix(packet).map_or((0, Flow::default()), |(ip, _)| {
            (ip.tos, Flow::of_v4(ip, packet.get(ip.header_len()..).unwrap_or_default()))
        });
        Self { ethertype: U16::new(eth::IPV4), tos, flow, to: None, policy: None, known: None }
    }

    /// Of something that concerns the link alone, for one station on it.
    pub(super) fn link_layer(ethertype: u16, to: Mac) -> Self {
        let (flow, to) = (Flow::default(), Some(to));
        Self { ethertype: U16::new(ethertype), tos: 0, flow, to, policy: None, known: None }
    }

    /// A VXLAN header, with what it is to say besides.
    fn vxlan(self, header: Vxlan) -> Vxlan {
        self.policy.map_or(header, |policy| header.with_policy(policy))
    }

    /// A link header, made one for this payload.
    pub(super) fn link(self, header: Ethernet) -> Ethernet {
        Ethernet { ethertype: self.ethertype, dst: self.to.unwrap_or(header.dst), ..header }
    }
}

/// Makes room for a peer's headers in front of what `pkt` holds, and writes them. Says by which port it leaves.
pub(super) fn push_outer(peer: &Peer, payload: Payload, pkt: &mut Packet<'_>) -> Result<PortId, DropReason> {
    let way = peer.way.as_ref().ok_or(DropReason::NoNeighbour)?;
    let tos = payload.tos & way.tos_mask;
    match &way.header {
        OuterHeader::V4(header) => push_v4(header, payload, tos, pkt)?,
        OuterHeader::V6(header) => push_v6(header, payload, tos, peer.zero_checksum, pkt)?,
    }
    Ok(way.port)
}

#[inline]
fn push_v4(header: &OuterV4, payload: Payload, tos: u8, pkt: &mut Packet<'_>) -> Result<(), DropReason> {
    let len = pkt.len() as u16;
    let room = pkt.prepend::<LEN_V4>().map_err(|_| DropReason::NoHeadroom)?;
    fill_v4(zerocopy::transmute_mut!(room), header, payload, tos, len);
    Ok(())
}

/// Writes a header in front of a packet of `len` bytes.
#[inline]
pub(super) fn fill_v4(room: &mut OuterV4, header: &OuterV4, payload: Payload, tos: u8, len: u16) {
    *room = *header;
    room.stamp(len, payload.flow.port(), tos);
    (room.vxlan, room.inner) = (payload.vxlan(room.vxlan), payload.link(room.inner));
}

fn push_v6(
    header: &OuterV6,
    payload: Payload,
    tos: u8,
    zero_checksum: bool,
    pkt: &mut Packet<'_>,
) -> Result<(), DropReason> {
    let header = fill_v6(header, payload, tos, zero_checksum, (pkt.bytes(), pkt.len() as u16));
    put::<LEN_V6>(header.as_bytes(), pkt)
}

/// The header in front of a packet of `len` bytes, of which `packet` has those that are not known to sum up to something.
///
/// RFC 6935 §5, RFC 6936 §4: over IPv6 the checksum is left out only where both ends are known to agree.
#[inline]
pub(super) fn fill_v6(
    header: &OuterV6,
    payload: Payload,
    tos: u8,
    zero_checksum: bool,
    (packet, len): (&[u8], u16),
) -> OuterV6 {
    let mut header = *header;
    header.stamp(len, payload.flow, tos);
    (header.vxlan, header.inner) = (payload.vxlan(header.vxlan), payload.link(header.inner));
    if !zero_checksum {
        let (read, rest) = payload.known.unwrap_or((usize::from(len), Sum::ZERO));
        header.udp.checksum = header.checksum(packet.get(..read).unwrap_or_default(), rest);
    }
    header
}

/// Puts an Ethernet header in front of a packet.
#[inline]
pub(super) fn push_ethernet(header: &Ethernet, pkt: &mut Packet<'_>) -> Result<(), DropReason> {
    put::<{ eth::LEN }>(header.as_bytes(), pkt)
}

/// Puts a header of `N` bytes in front of a packet.
#[inline]
pub(super) fn put<const N: usize>(header: &[u8], pkt: &mut Packet<'_>) -> Result<(), DropReason> {
    pkt.prepend::<N>().map_err(|_| DropReason::NoHeadroom)?.copy_from_slice(header);
    Ok(())
}
