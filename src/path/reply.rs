//! The gateway answers: ICMP errors about packets it cannot forward, and echo.
//!
//! An answer is made in the chunk of the packet that asked for it, and goes back the way that packet came.

use core::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

use super::forward::{header_mut, push_ethernet, push_outer};
use super::parse::Ip;
use super::{Origin, Path, Verdict};
use crate::drops::DropReason;
use crate::wire::checksum::{self, Sum};
use crate::wire::ipv4::protocol;
use crate::wire::{Ethernet, Icmp, Ipv4, Packet, icmp, ipv4};

/// Octets of the offending packet that an error quotes: as many as fit 576 bytes (RFC 1812 §4.3.2.3).
const QUOTE: usize = 576 - ipv4::LEN - icmp::LEN;
/// Hop count of what we send ourselves (RFC 1700).
const TTL: u8 = 64;
/// TOS of ICMP errors: internetwork control (RFC 1812 §4.3.2.5).
const TOS: u8 = 6 << 5;

impl Path<'_> {
    /// The packet's TTL ran out (RFC 1812 §5.3.1).
    #[cold]
    pub(super) fn time_exceeded(
        &mut self,
        origin: Origin,
        ip: &Ip,
        pkt: &mut Packet<'_>,
    ) -> Result<Verdict, DropReason> {
        self.error(origin, ip, (icmp::TIME_EXCEEDED, 0, 0), pkt).unwrap_or(Err(DropReason::TtlExpired))
    }

    /// The packet exceeds the MTU of its way out: if it may not be fragmented its sender learns the true limit
    /// (RFC 1191 §4). If it may, it is dropped: inner fragmentation is not done.
    #[cold]
    pub(super) fn too_big(
        &mut self,
        origin: Origin,
        ip: &Ip,
        mtu: u16,
        pkt: &mut Packet<'_>,
    ) -> Result<Verdict, DropReason> {
        if !header_mut(pkt).is_some_and(|h| h.dont_fragment()) {
            return Err(DropReason::TooBig);
        }
        let message = (icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED, mtu);
        self.error(origin, ip, message, pkt).unwrap_or(Err(DropReason::TooBig))
    }

    /// A packet for the gateway itself: echo requests are answered (RFC 1812 §4.3.3.6), all else is dropped.
    #[cold]
    pub(super) fn answer(&mut self, origin: Origin, ip: &Ip, pkt: &mut Packet<'_>) -> Result<Verdict, DropReason> {
        if ip.protocol != protocol::ICMP || ip.fragment || usize::from(ip.header_len) != ipv4::LEN {
            return Err(DropReason::NotForUs);
        }
        let payload = pkt.bytes_mut().get_mut(ip.payload()).unwrap_or_default();
        let Ok((message, _)) = Icmp::mut_from_prefix(payload) else { return Err(DropReason::NotForUs) };
        if (message.kind, message.code) != (icmp::ECHO, 0) {
            return Err(DropReason::NotForUs);
        }
        // Patched, not computed anew: a message that was damaged on its way stays recognisably so.
        message.checksum = checksum::update(message.checksum, [icmp::ECHO, 0], [icmp::ECHO_REPLY, 0]);
        message.kind = icmp::ECHO_REPLY;
        let header = Header { src: ip.dst, dst: ip.src, tos: ip.tos, len: ip.total_len };
        if let Some(room) = header_mut(pkt) {
            *room = header.build();
        }
        self.send_back(origin, pkt)
    }

    /// Turns the packet into an ICMP error about itself. `None` when there must be none (RFC 1812 §4.3.2.7), when
    /// the rate is used up, or when the gateway has no address there to speak from.
    fn error(
        &mut self,
        origin: Origin,
        ip: &Ip,
        (kind, code, second): (u8, u8, u16),
        pkt: &mut Packet<'_>,
    ) -> Option<Result<Verdict, DropReason>> {
        let src = self.own_address(origin)?;
        if !deserves_error(ip, pkt.bytes()) || !self.memory.limiter.allow(bucket(origin, kind), self.now) {
            return None;
        }
        pkt.truncate(QUOTE);
        let mut message = Icmp { kind, code, checksum: [0; 2], first: U16::ZERO, second: U16::new(second) };
        message.checksum = Sum::ZERO.bytes(message.as_bytes()).bytes(pkt.bytes()).checksum();
        let Ok(room) = pkt.prepend::<{ icmp::LEN }>() else { return Some(Err(DropReason::NoHeadroom)) };
        room.copy_from_slice(message.as_bytes());
        let header = Header { src, dst: ip.src, tos: TOS, len: (pkt.len() + ipv4::LEN) as u16 };
        let Ok(room) = pkt.prepend::<{ ipv4::LEN }>() else { return Some(Err(DropReason::NoHeadroom)) };
        room.copy_from_slice(header.build().as_bytes());
        Some(self.send_back(origin, pkt))
    }

    /// Gives an answer the headers that lead it back to where the question came from.
    fn send_back(&self, origin: Origin, pkt: &mut Packet<'_>) -> Result<Verdict, DropReason> {
        match origin {
            Origin::Access { port, sender } => {
                let own = self.tables.port(port).ok_or(DropReason::NoNeighbour)?.mac;
                push_ethernet(&Ethernet::ipv4(sender, own), pkt)?;
                Ok(Verdict::Reply(port))
            }
            Origin::Overlay { peer, .. } => {
                let way = self.tables.peer(peer).and_then(|p| p.way.as_ref()).ok_or(DropReason::NoNeighbour)?;
                let tos = header_mut(pkt).map_or(0, |ip| ip.tos);
                push_outer(way, tos, pkt)?;
                Ok(Verdict::Reply(way.port))
            }
        }
    }

    /// The address from which the gateway speaks to the packet's sender.
    fn own_address(&self, origin: Origin) -> Option<Ipv4Addr> {
        match origin {
            Origin::Access { port, .. } => self.tables.port(port)?.address,
            Origin::Overlay { overlay, .. } => match self.tables.overlay(overlay)?.address? {
                core::net::IpAddr::V4(a) => Some(a),
                core::net::IpAddr::V6(_) => None,
            },
        }
    }
}

/// Whose share of errors this one is taken from: the sender's as far as it is known, by kind.
fn bucket(origin: Origin, kind: u8) -> usize {
    let who = match origin {
        Origin::Access { port, .. } => usize::from(port.0) << 1,
        Origin::Overlay { peer, .. } => (peer.0 as usize) << 1 | 1,
    };
    who << 1 | usize::from(kind == icmp::UNREACHABLE)
}

/// RFC 1122 §3.2.2: no error about an ICMP error or about a fragment other than the first. (Group, broadcast and
/// unspecified addresses were dropped as martians before.)
fn deserves_error(ip: &Ip, packet: &[u8]) -> bool {
    let later = Ipv4::ref_from_prefix(packet).is_ok_and(|(h, _)| h.is_later_fragment());
    let kind = packet.get(usize::from(ip.header_len)).copied();
    !later && (ip.protocol != protocol::ICMP || kind.is_some_and(|k| !icmp::is_error(k)))
}

struct Header {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    tos: u8,
    len: u16,
}

impl Header {
    /// The header of a packet of ours: ICMP, not to be fragmented.
    fn build(&self) -> Ipv4 {
        let mut ip = Ipv4 {
            version_ihl: 0x45,
            tos: self.tos,
            total_len: U16::new(self.len),
            id: U16::ZERO, // RFC 6864 §4.1: atomic datagrams need none
            flags_offset: U16::new(0x4000),
            ttl: TTL,
            protocol: protocol::ICMP,
            checksum: [0; 2],
            src: self.src.octets(),
            dst: self.dst.octets(),
        };
        ip.checksum = Sum::ZERO.bytes(ip.as_bytes()).checksum();
        ip
    }
}
