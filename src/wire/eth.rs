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

/// The bits of an address in a word.
const MAC: u64 = (1 << 48) - 1;

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

/// A header in words: hot code compares addresses in registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Words {
    /// Destination, as [`Mac::word`] has it.
    pub dst: u64,
    /// Source, as [`Mac::word`] has it.
    pub src: u64,
    /// EtherType.
    pub ethertype: u16,
}

impl Words {
    /// [`Mac::is_station`] of the source.
    #[inline]
    pub const fn is_from_station(self) -> bool {
        self.src & 1 == 0 && self.src != 0
    }
}

/// Eight bytes in one load: assembled byte by byte they would be loaded so, too.
#[inline(always)]
fn word(bytes: &[u8; LEN], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
}

impl Ethernet {
    /// The header in words.
    #[inline(always)]
    pub fn words(&self) -> Words {
        let bytes: &[u8; LEN] = zerocopy::transmute_ref!(self);
        let [front, back] = [0, LEN - 8].map(|at| word(bytes, at));
        Words { dst: front & MAC, src: back & MAC, ethertype: ((back >> 48) as u16).swap_bytes() }
    }

    /// The header of an IPv4 packet.
    pub const fn ipv4(dst: Mac, src: Mac) -> Self {
        Self { dst, src, ethertype: U16::from_bytes(IPV4.to_be_bytes()) }
    }

    /// The header of an IPv6 packet (RFC 2464 §3).
    pub const fn ipv6(dst: Mac, src: Mac) -> Self {
        Self { dst, src, ethertype: U16::from_bytes(IPV6.to_be_bytes()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_the_header_says() {
        let header = Ethernet::ipv4(Mac([1, 2, 3, 4, 5, 6]), Mac([7, 8, 9, 10, 11, 12]));
        let words = header.words();
        assert_eq!((words.dst, words.src, words.ethertype), (header.dst.word(), header.src.word(), IPV4));
        for src in
            [Mac([2, 0, 0, 0, 0, 0]), Mac([0, 0, 0, 0, 0, 1]), Mac([3, 0, 0, 0, 0, 0]), Mac::ZERO, Mac::BROADCAST]
        {
            assert_eq!(Ethernet::ipv4(Mac::ZERO, src).words().is_from_station(), src.is_station(), "{src}");
        }
    }
}
