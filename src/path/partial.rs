//! Checksums that arrive unfinished.
//!
//! A frame that a local stack sends into a veth or virtio port can carry a *partial* transport checksum: the field
//! holds the folded sum of the pseudo-header, and hardware was to add the rest. AF_XDP passes no flag for it. Such a
//! packet is told by its field, which equals the pseudo-header's sum. A finished checksum does so only by chance
//! (2⁻¹⁶), and then computing it again yields what is there already: finishing never harms an intact packet.
//!
//! They could be left to others by the TX descriptor's metadata, in `port::xdp`, with what `complete` knows: in copy mode to the
//! kernel, which then treats the frame as one of its own, in zero copy to a driver that has `tx-checksum` among the
//! xsk-features of netlink's netdev family (Documentation/networking/xsk-tx-metadata.rst).

use super::parse::Ip;
use crate::drops::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, Words, protocol};

/// Offset of the checksum in a TCP header (RFC 9293 §3.1).
const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in a UDP header (RFC 768).
const UDP_CHECKSUM: usize = 6;
/// Offset of the checksum in an ICMPv6 header (RFC 4443 §2.1).
const ICMPV6_CHECKSUM: usize = 2;

/// Finishes the transport checksum of an IP packet if it is partial. `payload` is the packet without its IP header and
/// extension headers, which said `ip`; `pseudo` is the sum over the pseudo-header. Says whether it was.
#[inline]
pub(super) fn finish(payload: &mut [u8], pseudo: Sum, ip: &Ip) -> bool {
    let at = match ip.protocol {
        protocol::TCP => TCP_CHECKSUM,
        protocol::UDP => UDP_CHECKSUM,
        protocol::ICMPV6 if ip.src.is_ipv6() => ICMPV6_CHECKSUM,
        _ => return false,
    };
    // A fragment's checksum covers what other fragments carry; stacks finish it before they fragment.
    if ip.fragment {
        return false;
    }
    match payload.get(at..at + 2) {
        Some(field) if field == pseudo.fold() => {}
        _ => return false,
    }
    complete(payload, at, pseudo, ip.protocol);
    true
}

/// Bytes of a transport header up to the end of its checksum, whichever it is.
pub(super) const REACH: usize = TCP_CHECKSUM + 2;

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
    if usize::from(ip.total_len()) < ipv4::LEN + at + 2 {
        return None;
    }
    let field = transport.get(at..)?.first_chunk()?;
    Some(ip.pseudo_may_fold_to(*field))
}

/// The field already holds the pseudo-header's sum: what is missing is the complement of the sum over everything,
/// field included.
#[cold]
fn complete(payload: &mut [u8], at: usize, pseudo: Sum, protocol: u8) {
    if let Some(field) = payload.get_mut(at..at + 2) {
        field.fill(0);
    }
    let mut sum = pseudo.bytes(payload).checksum();
    // RFC 768, RFC 8200 §8.1: a computed zero is sent as all ones, since zero means that there is none.
    if protocol == protocol::UDP && sum == [0, 0] {
        sum = [0xff, 0xff];
    }
    if let Some(field) = payload.get_mut(at..at + 2) {
        field.copy_from_slice(&sum);
    }
}

/// Verifies the UDP checksum of an outer datagram that has one (RFC 7348 §5: one that is not zero must be right), given
/// the sum over its pseudo-header, its checksum field and the sum over all of it.
///
/// The inner packet must have been finished before: the kernel computes the outer checksum over the inner packet as
/// it will be once *its* checksum is finished (local checksum offload, Documentation/networking/checksum-offloads.rst).
/// An outer checksum that is itself partial says nothing and is accepted.
#[inline]
pub(super) fn verify_outer(pseudo: Sum, field: [u8; 2], datagram: Sum) -> Result<(), DropReason> {
    if field == pseudo.fold() || datagram.plus(pseudo).is_intact() { Ok(()) } else { Err(DropReason::OuterUdpChecksum) }
}
