//! IPv4 (RFC 791).

use core::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{self, Sum};

/// Bytes of a header without options.
pub const LEN: usize = size_of::<Ipv4>();

/// First octet of a header without options: version 4, five 32-bit words.
pub const PLAIN: u8 = 0x45;

/// Protocol numbers the gateway knows (IANA).
pub mod protocol {
    /// RFC 792.
    pub const ICMP: u8 = 1;
    /// RFC 9293.
    pub const TCP: u8 = 6;
    /// RFC 768.
    pub const UDP: u8 = 17;
    /// RFC 4443.
    pub const ICMPV6: u8 = 58;
}

const DONT_FRAGMENT: u16 = 0x4000;
pub(super) const MORE_FRAGMENTS: u16 = 0x2000;
pub(super) const OFFSET: u16 = 0x1fff;

/// The fixed part of the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv4 {
    /// Version (4) and header length in 32-bit words.
    pub version_ihl: u8,
    /// DSCP (RFC 2474) and ECN (RFC 3168).
    pub tos: u8,
    /// Length of the packet with its header.
    pub total_len: U16,
    /// Identification of the datagram (RFC 6864).
    pub id: U16,
    /// Flags and fragment offset.
    pub flags_offset: U16,
    /// Time to live.
    pub ttl: u8,
    /// Payload protocol.
    pub protocol: u8,
    /// Header checksum, in memory order.
    pub checksum: [u8; 2],
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
}

/// A header in words: hot code takes its fields from registers.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// Version to fragment offset, the first octet lowest.
    first: u64,
    /// TTL to source address.
    second: u64,
    /// Destination address.
    third: u32,
}

impl Words {
    /// True for a header without options whose checksum is right and whose total length is at least its own: what
    /// [`Ipv4::parse`] accepts, apart from options and from what lies behind the header.
    #[inline(always)]
    pub const fn is_plain(self) -> bool {
        self.first as u8 == PLAIN && self.total_len() as usize >= LEN && self.is_intact()
    }

    /// True for a header without options whose checksum is right.
    #[inline(always)]
    pub const fn is_intact(self) -> bool {
        // with a version in it a header is not all zeroes: its sum folds to all ones, or is wrong
        let sum = checksum::carrying(checksum::carrying(self.first, self.second), self.third as u64);
        checksum::is_zero(sum)
    }

    /// Could the pseudo-header of the payload (RFC 9293 §3.1, RFC 768) fold to `field`, as it lies in memory? As
    /// [`Sum::may_fold_to`](checksum::Sum::may_fold_to) of [`pseudo_v4`](checksum::pseudo_v4), for a plain header.
    #[inline(always)]
    pub const fn pseudo_may_fold_to(self, field: [u8; 2]) -> bool {
        // Modulo 2¹⁶ − 1 a word counts the same wherever it stands among 64 bits: so fields are added where they are.
        // The payload is shorter than the packet by the header; two multiples keep what is taken off above zero.
        const LESS: u64 = 2 * 0xffff - (LEN as u16).swap_bytes() as u64;
        let addresses = (self.second >> 32) + self.third as u64;
        let rest = (self.first & 0xffff_0000) + (self.second & 0xff00) + LESS;
        checksum::is_zero(addresses + rest - u16::from_le_bytes(field) as u64)
    }

    /// The header that these are the words of.
    pub const fn header(self) -> Ipv4 {
        let [a, b, c, d, e, f, g, h] = self.first.to_le_bytes();
        let [i, j, k, l, m, n, o, p] = self.second.to_le_bytes();
        let [q, r, s, t] = self.third.to_le_bytes();
        zerocopy::transmute!([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t])
    }

    /// DSCP and ECN.
    #[inline]
    pub const fn tos(self) -> u8 {
        (self.first >> 8) as u8
    }

    /// Length of the packet with its header.
    #[inline]
    pub const fn total_len(self) -> u16 {
        ((self.first >> 16) as u16).swap_bytes()
    }

    /// True for every piece of a fragmented datagram.
    #[inline]
    pub const fn is_fragment(self) -> bool {
        (self.first >> 48) as u16 & (MORE_FRAGMENTS | OFFSET).swap_bytes() != 0
    }

    /// Time to live.
    #[inline]
    pub const fn ttl(self) -> u8 {
        self.second as u8
    }

    /// Payload protocol.
    #[inline]
    pub const fn protocol(self) -> u8 {
        (self.second >> 8) as u8
    }

    /// Both addresses, the source lowest.
    #[inline]
    pub const fn addresses(self) -> u64 {
        self.second >> 32 | (self.third as u64) << 32
    }

    /// Source address.
    #[inline]
    pub const fn source(self) -> Ipv4Addr {
        Ipv4Addr::from_octets(((self.second >> 32) as u32).to_le_bytes())
    }

    /// Destination address.
    #[inline]
    pub const fn destination(self) -> Ipv4Addr {
        Ipv4Addr::from_octets(self.third.to_le_bytes())
    }
}

/// What can be wrong with a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// The bytes end before the header does.
    Short,
    /// Version is not 4, the header length is below 20, or the total length is shorter than the header or longer
    /// than what arrived.
    Header,
    /// The header checksum is wrong.
    Checksum,
}

impl Ipv4 {
    /// Reads and checks the header at the front of `bytes` (RFC 1812 §5.2.2): afterwards header and total length are
    /// known to lie within `bytes`. Bytes beyond the total length are padding and legal.
    ///
    /// # Errors
    /// See [`Malformed`].
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<&Ipv4, Malformed> {
        let fixed = bytes.first_chunk::<LEN>().ok_or(Malformed::Short)?;
        let ip: &Ipv4 = zerocopy::transmute_ref!(fixed);
        let total = usize::from(ip.total_len.get());
        let intact = if ip.version_ihl == PLAIN {
            Sum::ZERO.bytes(fixed).is_intact()
        } else {
            ip.sum_with_options(bytes)?.is_intact()
        };
        if total < ip.header_len() || total > bytes.len() {
            return Err(Malformed::Header);
        }
        if intact { Ok(ip) } else { Err(Malformed::Checksum) }
    }

    /// The header's sum when it is no plain one: with options, or malformed.
    #[cold]
    fn sum_with_options(&self, bytes: &[u8]) -> Result<Sum, Malformed> {
        let header = bytes.get(..self.header_len()).ok_or(Malformed::Short)?;
        if self.version_ihl >> 4 != 4 || header.len() < LEN {
            return Err(Malformed::Header);
        }
        Ok(Sum::ZERO.bytes(header))
    }

    /// The header without its options, in words.
    #[inline]
    pub fn words(&self) -> Words {
        let [a, b, c, d, e, f, g, h, rest @ ..]: [u8; LEN] = zerocopy::transmute!(*self);
        let [i, j, k, l, m, n, o, p, q, r, s, t] = rest;
        Words {
            first: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            second: u64::from_le_bytes([i, j, k, l, m, n, o, p]),
            third: u32::from_le_bytes([q, r, s, t]),
        }
    }

    /// Bytes of header, options included.
    #[inline]
    pub const fn header_len(&self) -> usize {
        (self.version_ihl as usize & 0xf) * 4
    }

    /// Source address.
    #[inline]
    pub const fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from_octets(self.src)
    }

    /// Destination address.
    #[inline]
    pub const fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from_octets(self.dst)
    }

    /// Source and destination as they stand in the header: the addresses of the pseudo-header.
    #[inline]
    pub fn addresses(&self) -> &[u8; 8] {
        let bytes = self.as_bytes();
        bytes.last_chunk().expect("the header is longer than 8 bytes") // constant lengths: compiled away
    }

    /// True when the sender forbids fragmentation.
    #[inline]
    pub const fn dont_fragment(&self) -> bool {
        self.flags_offset.get() & DONT_FRAGMENT != 0
    }

    /// True for every piece of a fragmented datagram.
    #[inline]
    pub const fn is_fragment(&self) -> bool {
        self.flags_offset.get() & (MORE_FRAGMENTS | OFFSET) != 0
    }

    /// True for pieces that do not begin with the payload's header.
    #[inline]
    pub const fn is_later_fragment(&self) -> bool {
        self.flags_offset.get() & OFFSET != 0
    }

    /// Takes one off the TTL and patches the checksum. The TTL must not be 0.
    ///
    /// RFC 1624 §3, equation 3, for a word that loses 0x0100: HC' = ~(~HC + ~0x0100), which is HC + 0x0100 with the
    /// end-around carry, and zero instead of all ones.
    #[inline]
    pub fn decrement_ttl(&mut self) {
        const STEP: u32 = u16::from_ne_bytes([1, 0]) as u32;
        self.ttl = self.ttl.wrapping_sub(1);
        let sum = u32::from(u16::from_ne_bytes(self.checksum)) + STEP;
        self.checksum = ((sum + u32::from(sum >= 0xffff)) as u16).to_ne_bytes();
    }

    /// Replaces the TOS octet and patches the checksum.
    #[inline]
    pub fn set_tos(&mut self, tos: u8) {
        let old = [self.version_ihl, self.tos];
        self.tos = tos;
        self.checksum = checksum::update(self.checksum, old, [self.version_ihl, tos]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(ttl: u8, tos: u8) -> [u8; 20] {
        let mut ip = Ipv4 {
            version_ihl: 0x45,
            tos,
            total_len: U16::new(20),
            id: U16::new(7),
            flags_offset: U16::new(DONT_FRAGMENT),
            ttl,
            protocol: protocol::UDP,
            checksum: [0; 2],
            src: [10, 0, 0, 1],
            dst: [10, 0, 0, 2],
        };
        ip.checksum = Sum::ZERO.bytes(ip.as_bytes()).checksum();
        ip.as_bytes().try_into().unwrap()
    }

    #[test]
    fn truncation_at_every_byte_is_refused() {
        let h = header(64, 0);
        assert!(Ipv4::parse(&h).is_ok());
        for cut in 0..h.len() {
            assert_eq!(Ipv4::parse(&h[..cut]), Err(Malformed::Short), "cut at {cut}");
        }
    }

    #[test]
    fn each_defect_has_its_name() {
        let with = |at: usize, v: u8| {
            let mut h = header(64, 0);
            h[at] = v;
            Ipv4::parse(&h).unwrap_err()
        };
        assert_eq!(with(0, 0x65), Malformed::Header);
        assert_eq!(with(0, 0x44), Malformed::Header);
        assert_eq!(with(0, 0x46), Malformed::Short);
        assert_eq!(with(3, 19), Malformed::Header);
        assert_eq!(with(3, 21), Malformed::Header);
        assert_eq!(with(8, 63), Malformed::Checksum);
    }

    #[test]
    fn fragments_are_told_apart() {
        let mut ip = *Ipv4::parse(&header(1, 0)).unwrap();
        assert!(ip.dont_fragment() && !ip.is_fragment());
        ip.flags_offset = U16::new(MORE_FRAGMENTS);
        assert!(ip.is_fragment() && !ip.is_later_fragment() && !ip.dont_fragment());
        ip.flags_offset = U16::new(185);
        assert!(ip.is_fragment() && ip.is_later_fragment());
    }

    /// Among all checksums are the few whose carry comes around.
    #[test]
    fn every_checksum_is_patched_right() {
        let mut bytes = header(64, 0);
        let ip = Ipv4::mut_from_bytes(&mut bytes).unwrap();
        for checksum in (0..=u16::MAX).map(u16::to_be_bytes) {
            (ip.ttl, ip.checksum) = (64, checksum);
            ip.decrement_ttl();
            assert_eq!(ip.checksum, checksum::update(checksum, [64, ip.protocol], [63, ip.protocol]));
        }
    }

    proptest! {
        #[test]
        fn words_say_what_the_header_says(bytes: [u8; LEN], mend: bool) {
            let mut bytes = bytes;
            if mend {
                bytes[0] = PLAIN;
                bytes[10..12].fill(0);
                let sum = Sum::ZERO.bytes(&bytes).checksum();
                bytes[10..12].copy_from_slice(&sum);
            }
            let (ip, mut long) = (Ipv4::read_from_bytes(&bytes).unwrap(), bytes.to_vec());
            long.resize(65_535, 0);
            let w = ip.words();
            prop_assert_eq!(w.header(), ip);
            prop_assert_eq!(w.is_plain(), ip.version_ihl == PLAIN && Ipv4::parse(&long).is_ok());
            prop_assert_eq!((w.tos(), w.total_len(), w.is_fragment()), (ip.tos, ip.total_len.get(), ip.is_fragment()));
            prop_assert_eq!((w.ttl(), w.protocol()), (ip.ttl, ip.protocol));
            prop_assert_eq!((w.source(), w.destination()), (ip.source(), ip.destination()));
        }

        #[test]
        fn words_know_the_pseudo_header(bytes: [u8; LEN], len in 20u16.., other: [u8; 2]) {
            let mut ip = Ipv4::read_from_bytes(&bytes).unwrap();
            ip.total_len = U16::new(len);
            let pseudo = checksum::pseudo_v4(ip.addresses(), ip.protocol, len - 20);
            prop_assert!(ip.words().pseudo_may_fold_to(pseudo.fold()));
            prop_assert_eq!(ip.words().pseudo_may_fold_to(other), pseudo.may_fold_to(other));
            prop_assert_eq!(ip.words().pseudo_may_fold_to([0; 2]), ip.words().pseudo_may_fold_to([0xff; 2]));
        }

        #[test]
        fn a_decremented_ttl_is_an_updated_word(ttl in 1u8.., checksum: [u8; 2], protocol: u8) {
            let mut bytes = header(ttl, 0);
            let ip = Ipv4::mut_from_bytes(&mut bytes).unwrap();
            (ip.checksum, ip.protocol) = (checksum, protocol);
            let want = checksum::update(checksum, [ttl, protocol], [ttl - 1, protocol]);
            ip.decrement_ttl();
            prop_assert_eq!(ip.checksum, want);
        }

        #[test]
        fn patched_headers_stay_intact(ttl in 1u8.., tos: u8, new_tos: u8) {
            let mut bytes = header(ttl, tos);
            let ip = Ipv4::mut_from_bytes(&mut bytes).unwrap();
            ip.decrement_ttl();
            ip.set_tos(new_tos);
            prop_assert_eq!((ip.ttl, ip.tos), (ttl - 1, new_tos));
            prop_assert!(Ipv4::parse(&bytes).is_ok());
        }
    }
}
