//! ICMP for IPv6 (RFC 4443).

use zerocopy::byteorder::network_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{Sum, pseudo_v6};
use super::ipv4::protocol;

/// Bytes of the header.
pub const LEN: usize = size_of::<Icmpv6>();

/// Packet too big.
pub const PACKET_TOO_BIG: u8 = 2;
/// Time exceeded; code 0 is the hop limit.
pub const TIME_EXCEEDED: u8 = 3;
/// Echo request.
pub const ECHO: u8 = 128;
/// Echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Redirect (RFC 4861 §4.5), which is no error message by its number, but may not cause one either.
pub const REDIRECT: u8 = 137;

/// The header; the meaning of the last four bytes depends on the type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Icmpv6 {
    /// Message type.
    pub kind: u8,
    /// Message code.
    pub code: u8,
    /// Checksum over pseudo-header, header and data, in memory order.
    pub checksum: [u8; 2],
    /// Packet too big: MTU of the next hop. Echo: identifier and sequence number. Unused in other errors.
    pub rest: U32,
}

impl Icmpv6 {
    /// The checksum of a message with `data` behind this header, between these addresses (RFC 4443 §2.3).
    pub fn sum(&self, addresses: &[u8; 32], data: &[u8]) -> [u8; 2] {
        let pseudo = pseudo_v6(addresses, protocol::ICMPV6, (LEN + data.len()) as u16);
        let header = Self { checksum: [0; 2], ..*self };
        Sum::ZERO.bytes(header.as_bytes()).bytes(data).plus(pseudo).checksum()
    }
}

/// True for messages about which no error may be sent (RFC 4443 §2.4(e)): errors and redirects.
#[inline]
pub const fn is_error(kind: u8) -> bool {
    kind < 128 || kind == REDIRECT
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As scapy 2.6 computes it for `IPv6(src='fe80::1', dst='fe80::2')/ICMPv6EchoRequest(id=1, seq=2, data=b'abc')`.
    #[test]
    fn a_sum_is_what_others_make_of_it() {
        let (mut src, mut dst) = ([0; 16], [0; 16]);
        (src[0], src[1], src[15]) = (0xfe, 0x80, 1);
        (dst[0], dst[1], dst[15]) = (0xfe, 0x80, 2);
        let mut addresses = [0; 32];
        addresses[..16].copy_from_slice(&src);
        addresses[16..].copy_from_slice(&dst);
        let echo = Icmpv6 { kind: ECHO, code: 0, checksum: [7; 2], rest: U32::new(0x0001_0002) };
        assert_eq!(echo.sum(&addresses, b"abc"), SCAPY);
    }
    const SCAPY: [u8; 2] = [0xbe, 0x4f];

    #[test]
    fn errors_are_below_128_and_redirects() {
        assert!([1, PACKET_TOO_BIG, TIME_EXCEEDED, 4, 127, REDIRECT].into_iter().all(is_error));
        assert!(![ECHO, ECHO_REPLY, 133, 135, 136].into_iter().any(is_error));
    }
}
