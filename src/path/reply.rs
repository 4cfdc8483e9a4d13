//! The gateway answers: ICMP errors about packets it cannot forward, and echo.
//!
//! An answer is made in the chunk of the packet that asked for it, and goes back the way that packet came.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

use super::forward::{Payload, push_ethernet, push_outer, put};
use super::parse::Ip;
use super::{Origin, Path, Verdict};
use crate::drops::DropReason;
use crate::wire::checksum::{self, Sum};
use crate::wire::ipv4::protocol;
use crate::wire::{Ethernet, Icmp, Icmpv6, IpHeader, Ipv4, Ipv6, Packet, icmp, icmpv6, ipv4, ipv6};

/// Octets of the offending packet that an error quotes: as many as fit 576 bytes (RFC 1812 §4.3.2.3).
const QUOTE_V4: usize = 576 - ipv4::LEN - icmp::LEN;
/// As many as fit the least MTU of IPv6 (RFC 4443 §2.4(c)).
const QUOTE_V6: usize = LEAST_MTU as usize - ipv6::LEN - icmpv6::LEN;
/// The least MTU of a link that carries IPv6 (RFC 8200 §5); no sender obeys a smaller one (RFC 8201 §4).
const LEAST_MTU: u16 = 1280;
/// Hop count of what we send ourselves (RFC 1700).
const TTL: u8 = 64;
/// TOS of ICMP errors: internetwork control (RFC 1812 §4.3.2.5).
const TOS: u8 = 6 << 5;

/// What an ICMP error says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Complaint {
    TimeExceeded,
    /// The largest packet that would pass.
    TooBig(u16),
}

impl Path<'_> {
    /// The packet's TTL ran out (RFC 1812 §5.3.1, RFC 4443 §3.3).
    #[cold]
    pub(super) fn time_exceeded(
        &mut self,
        origin: Origin,
        ip: &Ip,
        pkt: &mut Packet<'_>,
    ) -> Result<Verdict, DropReason> {
        self.error(origin, ip, Complaint::TimeExceeded, pkt).unwrap_or(Err(DropReason::TtlExpired))
    }

    /// The packet exceeds the MTU of its way out: if it may not be fragmented its sender learns the true limit
    /// (RFC 1191 §4, RFC 8201 §4). If it may, it is dropped: here it is known that it shall not.
    #[cold]
    pub(super) fn too_big(
        &mut self,
        origin: Origin,
        ip: &Ip,
        mtu: u16,
        pkt: &mut Packet<'_>,
    ) -> Result<Verdict, DropReason> {
        let may_be_fragmented = IpHeader::of(pkt.bytes_mut()).is_none_or(|h| h.may_be_fragmented());
        let hopeless = ip.src.is_ipv6() && ip.total_len <= LEAST_MTU;
        if may_be_fragmented || hopeless {
            return Err(DropReason::TooBig);
        }
        self.error(origin, ip, Complaint::TooBig(mtu), pkt).unwrap_or(Err(DropReason::TooBig))
    }

    /// A packet for the gateway itself: echo requests are answered (RFC 1812 §4.3.3.6, RFC 4443 §4.2), all else is
    /// dropped.
    #[cold]
    pub(super) fn answer(&mut self, origin: Origin, ip: &Ip, pkt: &mut Packet<'_>) -> Result<Verdict, DropReason> {
        if ip.fragment {
            return Err(DropReason::NotForUs);
        }
        let payload = pkt.bytes_mut().get_mut(ip.payload()).unwrap_or_default();
        let header = match (ip.protocol, ip.src, ip.dst) {
            (protocol::ICMP, IpAddr::V4(from), IpAddr::V4(to)) if usize::from(ip.header_len) == ipv4::LEN => {
                echo(payload, icmp::ECHO, icmp::ECHO_REPLY)?;
                Header::V4(header_v4(to, from, ip.tos, ip.total_len))
            }
            (protocol::ICMPV6, IpAddr::V6(from), IpAddr::V6(to)) if usize::from(ip.header_len) == ipv6::LEN => {
                echo(payload, icmpv6::ECHO, icmpv6::ECHO_REPLY)?;
                Header::V6(header_v6(to, from, ip.tos, ip.payload().len() as u16))
            }
            _ => return Err(DropReason::NotForUs),
        };
        if let Some(room) = pkt.bytes_mut().get_mut(..header.bytes().len()) {
            room.copy_from_slice(header.bytes());
        }
        self.send_back(origin, pkt)
    }

    /// Turns the packet into an ICMP error about itself. `None` when there must be none (RFC 1812 §4.3.2.7), when
    /// the rate is used up, or when the gateway has no address there to speak from.
    fn error(
        &mut self,
        origin: Origin,
        ip: &Ip,
        what: Complaint,
        pkt: &mut Packet<'_>,
    ) -> Option<Result<Verdict, DropReason>> {
        let own = self.own_address(origin, ip.src)?;
        if !deserves_error(ip, pkt.bytes()) || !self.memory.limiter.allow(bucket(origin, what), self.now) {
            return None;
        }
        let most = self.most_back(origin);
        let made = match (own, ip.src) {
            (IpAddr::V4(own), IpAddr::V4(to)) => error_v4((own, to), what, most, pkt),
            (IpAddr::V6(own), IpAddr::V6(to)) => error_v6((own, to), what, most, pkt),
            _ => return None,
        };
        Some(made.and_then(|()| self.send_back(origin, pkt)))
    }

    /// Gives an answer the headers that lead it back to where the question came from, if it fits the way there: VXLAN packets
    /// are not to be fragmented (RFC 7348 §4.3), and what is asked by another way may be longer.
    fn send_back(&self, origin: Origin, pkt: &mut Packet<'_>) -> Result<Verdict, DropReason> {
        if pkt.len() > self.most_back(origin) {
            return Err(DropReason::TooBig);
        }
        let payload = Payload::of(pkt);
        match origin {
            Origin::Access { port, sender } => {
                let own = self.tables.port(port).ok_or(DropReason::NoNeighbour)?.mac;
                push_ethernet(&payload.link(Ethernet::ipv4(sender, own)), pkt)?;
                Ok(Verdict::Reply(port))
            }
            Origin::Overlay { peer, .. } => {
                let peer = self.tables.peer(peer).ok_or(DropReason::NoNeighbour)?;
                push_outer(peer, payload, pkt).map(Verdict::Reply)
            }
        }
    }

    /// The largest IP packet that can be sent back. An access port takes what it brought, and every error.
    fn most_back(&self, origin: Origin) -> usize {
        let way = match origin {
            Origin::Access { .. } => None,
            Origin::Overlay { peer, .. } => self.tables.peer(peer).and_then(|peer| peer.way.as_ref()),
        };
        way.map_or(usize::MAX, |way| way.mtu.into())
    }

    /// The address from which the gateway speaks to a sender there.
    fn own_address(&self, origin: Origin, sender: IpAddr) -> Option<IpAddr> {
        match origin {
            Origin::Access { port, .. } => self.tables.port(port)?.addresses.like(sender),
            Origin::Overlay { overlay, .. } => self.tables.overlay(overlay)?.addresses.like(sender),
        }
    }
}

/// Whose share of errors this one is taken from: the sender's as far as it is known, by kind.
fn bucket(origin: Origin, what: Complaint) -> usize {
    let who = match origin {
        Origin::Access { port, .. } => usize::from(port.0) << 1,
        Origin::Overlay { peer, .. } => (peer.0 as usize) << 1 | 1,
    };
    who << 1 | usize::from(what != Complaint::TimeExceeded)
}

/// RFC 1122 §3.2.2, RFC 4443 §2.4(e): no error about an ICMP error or about a fragment other than the first. (Group,
/// broadcast and unspecified addresses were dropped as martians before.)
fn deserves_error(ip: &Ip, packet: &[u8]) -> bool {
    let kind = packet.get(usize::from(ip.header_len)).copied();
    let may_be_answered = match ip.protocol {
        protocol::ICMP if ip.src.is_ipv4() => kind.is_some_and(|kind| !icmp::is_error(kind)),
        protocol::ICMPV6 if ip.src.is_ipv6() => kind.is_some_and(|kind| !icmpv6::is_error(kind)),
        _ => true,
    };
    !ip.later && may_be_answered
}

/// Turns an echo request into its reply. The sum over the addresses stays as it is when they change places; and the
/// checksum is patched, not computed anew: a message that was damaged on its way stays recognisably so.
fn echo(message: &mut [u8], request: u8, reply: u8) -> Result<(), DropReason> {
    let Ok((header, _)) = Icmp::mut_from_prefix(message) else { return Err(DropReason::NotForUs) };
    if (header.kind, header.code) != (request, 0) {
        return Err(DropReason::NotForUs);
    }
    header.checksum = checksum::update(header.checksum, [request, 0], [reply, 0]);
    header.kind = reply;
    Ok(())
}

/// An error from one address to another, of `most` bytes at most.
fn error_v4(
    (own, to): (Ipv4Addr, Ipv4Addr),
    what: Complaint,
    most: usize,
    pkt: &mut Packet<'_>,
) -> Result<(), DropReason> {
    let (kind, code, mtu) = match what {
        Complaint::TimeExceeded => (icmp::TIME_EXCEEDED, 0, 0),
        Complaint::TooBig(mtu) => (icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED, mtu),
    };
    pkt.truncate(QUOTE_V4.min(most.saturating_sub(ipv4::LEN + icmp::LEN)));
    let mut message = Icmp { kind, code, checksum: [0; 2], first: U16::ZERO, second: U16::new(mtu) };
    message.checksum = Sum::ZERO.bytes(message.as_bytes()).bytes(pkt.bytes()).checksum();
    let len = (pkt.len() + icmp::LEN + ipv4::LEN) as u16;
    put::<{ icmp::LEN }>(message.as_bytes(), pkt)?;
    put::<{ ipv4::LEN }>(header_v4(own, to, TOS, len).as_bytes(), pkt)
}

fn error_v6(
    (own, to): (Ipv6Addr, Ipv6Addr),
    what: Complaint,
    most: usize,
    pkt: &mut Packet<'_>,
) -> Result<(), DropReason> {
    let (kind, mtu) = match what {
        Complaint::TimeExceeded => (icmpv6::TIME_EXCEEDED, 0),
        Complaint::TooBig(mtu) => (icmpv6::PACKET_TOO_BIG, u32::from(mtu.max(LEAST_MTU))),
    };
    pkt.truncate(QUOTE_V6.min(most.saturating_sub(ipv6::LEN + icmpv6::LEN)));
    let header = header_v6(own, to, TOS, (pkt.len() + icmpv6::LEN) as u16);
    let mut message = Icmpv6 { kind, code: 0, checksum: [0; 2], rest: U32::new(mtu) };
    message.checksum = message.sum(header.addresses(), pkt.bytes());
    put::<{ icmpv6::LEN }>(message.as_bytes(), pkt)?;
    put::<{ ipv6::LEN }>(header.as_bytes(), pkt)
}

enum Header {
    V4(Ipv4),
    V6(Ipv6),
}

impl Header {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::V4(ip) => ip.as_bytes(),
            Self::V6(ip) => ip.as_bytes(),
        }
    }
}

/// The header of a packet of ours, of `len` bytes with this header: ICMP, not to be fragmented.
fn header_v4(src: Ipv4Addr, dst: Ipv4Addr, tos: u8, len: u16) -> Ipv4 {
    let mut ip = Ipv4 {
        version_ihl: ipv4::PLAIN,
        tos,
        total_len: U16::new(len),
        id: U16::ZERO, // RFC 6864 §4.1: atomic datagrams need none
        flags_offset: U16::new(0x4000),
        ttl: TTL,
        protocol: protocol::ICMP,
        checksum: [0; 2],
        src: src.octets(),
        dst: dst.octets(),
    };
    ip.checksum = Sum::ZERO.bytes(ip.as_bytes()).checksum();
    ip
}

/// The same for IPv6; `len` counts what follows this header.
fn header_v6(src: Ipv6Addr, dst: Ipv6Addr, class: u8, len: u16) -> Ipv6 {
    let mut ip = Ipv6 {
        version_class_label: ipv6::PLAIN,
        payload_len: U16::new(len),
        next_header: protocol::ICMPV6,
        hop_limit: TTL,
        src: src.octets(),
        dst: dst.octets(),
    };
    ip.set_traffic_class(class);
    ip
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{OverlayId, PeerId, PortId};

    #[test]
    fn every_neighbour_has_a_bucket_for_each_kind_of_error() {
        let mut buckets = Vec::new();
        for n in 0..16 {
            let access = Origin::Access { port: PortId(n), sender: crate::wire::Mac([2; 6]) };
            let overlay = Origin::Overlay { overlay: OverlayId(0), peer: PeerId(n.into()), policy: None };
            for origin in [access, overlay] {
                buckets.extend([Complaint::TimeExceeded, Complaint::TooBig(1400)].map(|what| bucket(origin, what)));
            }
        }
        buckets.sort_unstable();
        assert_eq!(buckets, (0..64).collect::<Vec<_>>());
    }
}
