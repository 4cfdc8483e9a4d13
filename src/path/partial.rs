//! Checksums that arrive unfinished.
//!
//! A frame that a local stack sends into a veth or virtio port can carry a *partial* transport checksum: the field
//! holds the folded sum of the pseudo-header, and hardware was to add the rest. AF_XDP passes no flag for it. Such a
//! packet is told by its field, which equals the pseudo-header's sum. A finished checksum does so only by chance
//! (2⁻¹⁶), and then computing it again yields what is there already: finishing never harms an intact packet.
//!
//! If the port by which it leaves has a device that finishes such checksums, it is left to that one: then nobody here reads the
//! packet's payload, and where the device is a veth, the kernel at its other end does not either. Otherwise it is finished here.

use super::parse::{Ip, Outer};
use super::{Path, Verdict};
use crate::drops::DropReason;
use crate::path::Journey;
use crate::tables::PortId;
use crate::wire::checksum::{Sum, pseudo};
use crate::wire::ipv4::{self, Words, protocol};
use crate::wire::unfinished::{ICMPV6_CHECKSUM, TCP_CHECKSUM, UDP_CHECKSUM};
use crate::wire::{Packet, Unfinished};

/// The ports whose devices finish checksums, a bit a port.
#[derive(Clone, Copy, Default, Debug)]
pub struct Finishers {
    anywhere: u64,
    plainly: u64,
}

impl Finishers {
    /// The device of a port (0 to 63) finishes checksums wherever in a packet they lie.
    pub fn add(&mut self, port: PortId) {
        self.anywhere |= 1u64.checked_shl(port.0.into()).unwrap_or(0);
    }

    /// It finishes those of TCP and UDP in packets without a tunnel header, where it finds them by itself.
    pub fn add_plain(&mut self, port: PortId) {
        self.plainly |= 1u64.checked_shl(port.0.into()).unwrap_or(0);
    }

    fn finish(self, ip: &Ip, exit: Exit) -> bool {
        let plain = !exit.tunnel && ip.protocol != protocol::ICMPV6;
        let ports = self.anywhere | if plain { self.plainly } else { 0 };
        ports.checked_shr(exit.port.0.into()).is_some_and(|bits| bits & 1 == 1)
    }
}

/// How a packet leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exit {
    pub port: PortId,
    /// Behind a tunnel header.
    pub tunnel: bool,
}

/// Bytes of headers of an IP packet behind which a checksum is not left to others: who sends a packet in several pieces asks for
/// it in front of the first, which has to reach so far (xsk_build_skb in net/xdp/xsk.c).
const DEEPEST: u16 = 512;

/// What is unfinished of an IP packet whose header said `ip`; `payload` begins with the transport header, and need not be all
/// of it.
#[inline]
pub(super) fn find(payload: &[u8], ip: &Ip) -> Unfinished {
    let at = match ip.protocol {
        protocol::TCP => TCP_CHECKSUM,
        protocol::UDP => UDP_CHECKSUM,
        protocol::ICMPV6 if ip.src.is_ipv6() => ICMPV6_CHECKSUM,
        _ => return Unfinished::NONE,
    };
    // A fragment's checksum covers what other fragments carry; stacks finish it before they fragment.
    if ip.fragment {
        return Unfinished::NONE;
    }
    let field = payload.get(usize::from(at)..).and_then(<[u8]>::first_chunk);
    match field {
        Some(field) if *field == ip.pseudo().fold() => Unfinished::new(ip.payload().len() as u16, at),
        _ => Unfinished::NONE,
    }
}

/// Bytes of a transport header up to the end of its checksum, whichever it is.
pub(super) const REACH: usize = TCP_CHECKSUM as usize + 2;

/// The front of what follows a plain IP header, which may be more than the packet has.
pub(super) type Transport = [u8; REACH];

/// May the transport checksum of a TCP or UDP packet be partial? Says yes for every one that is, and rarely else; `None`
/// if the packet ends before its checksum does.
#[inline(always)]
pub(super) fn may_be_partial(ip: Words, transport: &Transport) -> Option<bool> {
    let at = match ip.protocol() {
        protocol::TCP => TCP_CHECKSUM,
        _ => UDP_CHECKSUM,
    };
    let at = usize::from(at);
    if usize::from(ip.total_len()) < ipv4::LEN + at + 2 {
        return None;
    }
    let field = transport.get(at..)?.first_chunk()?;
    Some(ip.pseudo_may_fold_to(*field))
}

impl Path<'_> {
    /// What is left to the device of the packet of which [`Verdict::SendUnfinished`] was said last.
    pub fn unfinished(&self) -> Unfinished {
        self.memory.unfinished
    }

    /// Sees whether the checksum of the IP packet that `packet` begins with is unfinished.
    pub(super) fn examine(&self, packet: &[u8], ip: &mut Ip) {
        ip.unfinished = find(packet.get(ip.payload()).unwrap_or_default(), ip);
        ip.known = !ip.unfinished.is_none();
    }

    /// Finishes the checksum of an IP packet.
    pub(super) fn finish(&mut self, packet: &mut [u8], ip: &mut Ip) {
        let unfinished = std::mem::take(&mut ip.unfinished);
        if !unfinished.is_none() {
            unfinished.finish(packet.get_mut(ip.payload()).unwrap_or_default());
            self.memory.partial_checksums += 1;
        }
    }

    /// As [`Path::finish`], of the IP packet that `pkt` holds.
    #[inline]
    pub(super) fn finish_here(&mut self, ip: &mut Ip, pkt: &mut Packet<'_>) {
        if !ip.unfinished.is_none() {
            self.finish(pkt.bytes_mut(), ip);
        }
    }

    /// Is there a checksum to be finished, and does the device of the port finish it?
    pub(super) fn leaves(&self, ip: &Ip, exit: Exit) -> bool {
        !ip.unfinished.is_none() && ip.header_len <= DEEPEST && self.memory.finishers.finish(ip, exit)
    }

    /// Leaves a checksum to the device of a port, if it finishes them.
    pub(super) fn leave(&mut self, ip: &Ip, exit: Exit) -> bool {
        let leaves = self.leaves(ip, exit);
        if leaves {
            self.memory.unfinished = ip.unfinished;
            self.memory.left_checksums += 1;
        }
        leaves
    }

    /// Sends the IP packet that `pkt` holds by a port, by which its checksum is finished by the device or here.
    #[inline]
    pub(super) fn send_by(&mut self, port: PortId, journey: Journey, ip: &mut Ip, pkt: &mut Packet<'_>) -> Verdict {
        let tunnel = matches!(journey, Journey::Encap | Journey::Transit);
        if self.leave(ip, Exit { port, tunnel }) {
            return Verdict::SendUnfinished(port, journey);
        }
        self.finish_here(ip, pkt);
        Verdict::Send(port, journey)
    }

    /// Verifies the UDP checksum of the outer header, if it has one, of a packet whose inner IP packet lies at `ip_at`.
    ///
    /// The kernel computes it over the inner packet as it will be once *its* checksum is finished, which is known without
    /// reading it. Where anything follows the inner packet, that is finished first. Other VTEPs know nothing of the matter: what
    /// they compute is right over the packet as it is.
    pub(super) fn verify_datagram(
        &mut self,
        outer: &Outer,
        frame: &mut [u8],
        ip_at: usize,
        ip: &mut Ip,
    ) -> Result<(), DropReason> {
        let Some((at, field)) = outer.checked.clone() else { return Ok(()) };
        let payload = ip_at + usize::from(ip.header_len);
        let ends = ip_at + usize::from(ip.total_len) == at.end;
        if !ends && !ip.unfinished.is_none() {
            if verify_whole(outer, frame).is_ok() {
                return Ok(());
            }
            self.finish(frame.get_mut(ip_at..).unwrap_or_default(), ip);
        }
        // Nothing in front of the payload is of an odd length, so that sums can be added.
        let (read, rest) = ip.sum().filter(|_| ends).map_or((at.end, Sum::ZERO), |sum| (payload, sum));
        let datagram = rest.bytes(frame.get(at.start..read).unwrap_or_default());
        let verdict = verify_outer(pseudo(outer.src, outer.dst, protocol::UDP, at.len() as u16), field, datagram);
        if verdict.is_err() && !ip.unfinished.is_none() { verify_whole(outer, frame) } else { verdict }
    }
}

/// As [`Path::verify_datagram`], of a packet whose inner one is as it is.
pub(super) fn verify_whole(outer: &Outer, frame: &[u8]) -> Result<(), DropReason> {
    let Some((at, field)) = &outer.checked else { return Ok(()) };
    let datagram = Sum::ZERO.bytes(frame.get(at.clone()).unwrap_or_default());
    verify_outer(pseudo(outer.src, outer.dst, protocol::UDP, at.len() as u16), *field, datagram)
}

/// Verifies the UDP checksum of an outer datagram that has one (RFC 7348 §5: one that is not zero must be right), given
/// the sum over its pseudo-header, its checksum field and the sum over all of it, with the inner packet's checksum as it is
/// once it is finished.
///
/// An outer checksum that is itself partial says nothing and is accepted.
#[inline]
pub(super) fn verify_outer(pseudo: Sum, field: [u8; 2], datagram: Sum) -> Result<(), DropReason> {
    if field == pseudo.fold() || datagram.plus(pseudo).is_intact() { Ok(()) } else { Err(DropReason::OuterUdpChecksum) }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;
    use crate::wire::Ipv4;

    #[test]
    fn a_device_is_left_what_it_finds() {
        let mut finishers = Finishers::default();
        [1, 2, 64].into_iter().for_each(|port| finishers.add(PortId(port)));
        [2, 3, 63, 64].into_iter().for_each(|port| finishers.add_plain(PortId(port)));
        for (protocol, tunnel, ports) in [
            (protocol::TCP, false, &[1, 2, 3, 63][..]),
            (protocol::UDP, false, &[1, 2, 3, 63]),
            (protocol::TCP, true, &[1, 2]),
            (protocol::ICMPV6, false, &[1, 2]),
            (protocol::ICMPV6, true, &[1, 2]),
        ] {
            let ip = Ip { protocol, ..Ip::v4(&Ipv4::new_zeroed()) };
            let finishes = |port: &u8| finishers.finish(&ip, Exit { port: PortId(*port), tunnel });
            assert_eq!((0..=u8::MAX).filter(finishes).collect::<Vec<_>>(), ports, "{protocol}, {tunnel}");
        }
    }
}
