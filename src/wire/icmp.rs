//! ICMP for IPv4 (RFC 792, RFC 1191).

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the header.
pub const LEN: usize = size_of::<Icmp>();

/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Echo request.
pub const ECHO: u8 = 8;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Code of [`UNREACHABLE`]: fragmentation needed and DF set.
pub const FRAGMENTATION_NEEDED: u8 = 4;

/// The header; the meaning of the last four bytes depends on the type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Icmp {
    /// Message type.
    pub kind: u8,
    /// Message code.
    pub code: u8,
    /// Checksum over header and data, in memory order.
    pub checksum: [u8; 2],
    /// Echo: identifier. Unused in errors.
    pub first: U16,
    /// Echo: sequence number. Fragmentation needed: MTU of the next hop (RFC 1191 §4).
    pub second: U16,
}

/// True for messages about which no error may be sent (RFC 1122 §3.2.2): all but the queries.
#[inline]
pub const fn is_error(kind: u8) -> bool {
    !matches!(kind, ECHO_REPLY | ECHO | 9 | 10 | 13..=18)
}
