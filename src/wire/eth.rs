//! Ethernet II framing (IEEE 802.3, RFC 894).

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Mac;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of ARP (RFC 826).
pub const ARP: u16 = 0x0806;
/// Tag protocol identifier of a customer VLAN tag (IEEE 802.1Q).
pub const VLAN: u16 = 0x8100;
/// Tag protocol identifier of a service VLAN tag (IEEE 802.1ad).
pub const QINQ: u16 = 0x88a8;

/// Bytes of an untagged header.
pub const LEN: usize = size_of::<Ethernet>();

/// The header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ethernet {
    /// Destination.
    pub dst: Mac,
    /// Source.
    pub src: Mac,
    /// EtherType, or the tag protocol identifier of a tag that follows.
    pub ethertype: U16,
}

impl Ethernet {
    /// The header of an IPv4 packet.
    pub const fn ipv4(dst: Mac, src: Mac) -> Self {
        Self { dst, src, ethertype: U16::from_bytes(IPV4.to_be_bytes()) }
    }
}
