//! The Internet checksum (RFC 1071), whole and incremental (RFC 1624).
//!
//! All sums are taken over 16-bit words *as they lie in memory*. RFC 1071 §2(B): the one's complement sum does not
//! depend on byte order as long as load and store agree, so nothing is swapped on the way.

use core::net::IpAddr;

/// A one's complement sum in progress, not yet folded or complemented.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum(u64);

impl Sum {
    /// The empty sum.
    pub const ZERO: Sum = Sum(0);

    /// Adds the bytes, padded with a zero byte if their number is odd (RFC 1071 §1). Only the last piece of a sum
    /// may be odd.
    #[inline]
    pub fn bytes(self, data: &[u8]) -> Sum {
        // Halves of 64-bit words are added into a 64-bit accumulator: no carry can be lost before 2³² words, and
        // the loop turns into vector code.
        let (words, tail) = data.as_chunks::<8>();
        let mut acc = self.0;
        for w in words {
            let w = u64::from_ne_bytes(*w);
            acc += (w & 0xffff_ffff) + (w >> 32);
        }
        if !tail.is_empty() {
            let mut last = [0; 8];
            last[..tail.len()].copy_from_slice(tail);
            let w = u64::from_ne_bytes(last);
            acc += (w & 0xffff_ffff) + (w >> 32);
        }
        Sum(acc)
    }

    /// Adds one 16-bit value given in host order.
    #[inline]
    pub const fn value(self, v: u16) -> Sum {
        Sum(self.0 + v.to_be() as u64)
    }

    /// Adds another sum.
    #[inline]
    pub const fn plus(self, other: Sum) -> Sum {
        Sum(self.0 + other.0)
    }

    /// Adds one 16-bit word as it lies in memory.
    #[inline]
    pub const fn word(self, w: [u8; 2]) -> Sum {
        Sum(self.0 + u16::from_ne_bytes(w) as u64)
    }

    /// The sum in 16 bits, not complemented, in memory order.
    #[inline]
    pub const fn fold(self) -> [u8; 2] {
        // end-around carries (RFC 1071 §2(A)), once for each halving: a carry leaves room for itself
        fold(self.0).to_ne_bytes()
    }

    /// Could this fold to `field`? Says yes for what it folds to, and for zero in place of all ones.
    #[inline]
    pub const fn may_fold_to(self, field: [u8; 2]) -> bool {
        // equal but for a multiple of 2¹⁶ − 1; sums of packets have room for one word more
        is_zero(self.0 + !u16::from_ne_bytes(field) as u64)
    }

    /// The checksum to store: the complement of the folded sum.
    #[inline]
    pub const fn checksum(self) -> [u8; 2] {
        let [a, b] = self.fold();
        [!a, !b]
    }

    /// True when a sum taken over data that includes its checksum says that it is intact.
    #[inline]
    pub const fn is_intact(self) -> bool {
        matches!(self.fold(), [0xff, 0xff])
    }
}

/// The one's complement sum in 16 bits: end-around carries (RFC 1071 §2(A)), once for each halving. A carry leaves room
/// for itself.
#[inline]
const fn fold(sum: u64) -> u16 {
    let (sum, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    let sum = sum + carry as u32;
    let (sum, carry) = (sum as u16).overflowing_add((sum >> 16) as u16);
    sum + carry as u16
}

/// Does a one's complement sum fold to zero, or to all ones, which says the same? Folding keeps a sum's remainder by
/// 2¹⁶ − 1 (the carries come back in), and to be a multiple of an odd number takes one multiplication to find out: by its
/// inverse modulo 2⁶⁴, which takes just the multiples to the smallest numbers.
#[inline]
pub(super) const fn is_zero(sum: u64) -> bool {
    const INVERSE: u64 = 0x0001_0001_0001_0001u64.wrapping_neg();
    const _: () = assert!(INVERSE.wrapping_mul(0xffff) == 1);
    sum.wrapping_mul(INVERSE) <= u64::MAX / 0xffff
}

/// The one's complement sum of two words of 64 bits (RFC 1071 §2(C)).
#[inline]
pub(super) const fn carrying(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u64
}

/// The one's complement sum of two words.
#[inline]
pub(super) const fn carrying_word(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u16
}

/// The IPv4 pseudo-header of TCP and UDP (RFC 9293 §3.1, RFC 768).
#[inline]
pub fn pseudo_v4(addresses: &[u8; 8], protocol: u8, length: u16) -> Sum {
    Sum::ZERO.bytes(addresses).value(u16::from(protocol)).value(length)
}

/// The IPv6 pseudo-header of TCP, UDP and ICMPv6 (RFC 8200 §8.1).
#[inline]
pub fn pseudo_v6(addresses: &[u8; 32], protocol: u8, length: u16) -> Sum {
    Sum::ZERO.bytes(addresses).value(u16::from(protocol)).value(length)
}

/// The pseudo-header of either family, from its parts.
pub fn pseudo(src: IpAddr, dst: IpAddr, protocol: u8, length: u16) -> Sum {
    let address = |sum: Sum, address| match address {
        IpAddr::V4(a) => sum.bytes(&a.octets()),
        IpAddr::V6(a) => sum.bytes(&a.octets()),
    };
    address(address(Sum::ZERO, src), dst).value(u16::from(protocol)).value(length)
}

/// The checksum after one 16-bit word of the data changed from `old` to `new` (RFC 1624 §3, equation 3:
/// HC' = ~(~HC + ~m + m')). All in memory order.
#[inline]
pub fn update(checksum: [u8; 2], old: [u8; 2], new: [u8; 2]) -> [u8; 2] {
    let not = |[a, b]: [u8; 2]| [!a, !b];
    Sum::ZERO.word(not(checksum)).word(not(old)).word(new).checksum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 §4.1, word by word: the slow oracle.
    fn oracle(data: &[u8]) -> u16 {
        let mut sum: u32 = data.chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], *c.get(1).unwrap_or(&0)]))).sum();
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn rfc_1071_example() {
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::ZERO.bytes(&data).fold(), [0xdd, 0xf2]);
    }

    #[test]
    fn rfc_1624_example_of_section_4() {
        // HC = 0xDD2F, m = 0x5555, m' = 0x3285 → HC' = 0x0000
        assert_eq!(update([0xdd, 0x2f], [0x55, 0x55], [0x32, 0x85]), [0x00, 0x00]);
    }

    #[test]
    fn a_pseudo_header_is_the_same_however_it_is_given() {
        let (a, b) = ([10, 0, 0, 1], [192, 168, 255, 254]);
        let both = [10, 0, 0, 1, 192, 168, 255, 254];
        assert_eq!(pseudo(a.into(), b.into(), 17, 999).fold(), pseudo_v4(&both, 17, 999).fold());
        let (a, b): ([u8; 16], [u8; 16]) = ([0xfd; 16], core::array::from_fn(|n| n as u8));
        let both: [u8; 32] = [a, b].concat().try_into().unwrap();
        assert_eq!(pseudo(a.into(), b.into(), 58, 0xffff).fold(), pseudo_v6(&both, 58, 0xffff).fold());
    }

    #[test]
    fn a_long_sum_loses_no_carry() {
        // every halving carries
        assert_eq!((fold(u64::MAX), fold(0xffff_ffff_0000_0002)), (0xffff, 2));
        let data = vec![0xff; 65_535];
        assert_eq!(u16::from_be_bytes(Sum::ZERO.bytes(&data).checksum()), oracle(&data));
    }

    proptest! {
        #[test]
        fn whole_equals_oracle(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(u16::from_be_bytes(Sum::ZERO.bytes(&data).checksum()), oracle(&data));
        }

        #[test]
        fn what_folds_to_a_field_may(data in proptest::collection::vec(any::<u8>(), 1..60), other: [u8; 2]) {
            let sum = Sum::ZERO.bytes(&data);
            prop_assert!(sum.may_fold_to(sum.fold()));
            let same = |f: [u8; 2]| u16::from_ne_bytes(f) % 0xffff;
            prop_assert_eq!(sum.may_fold_to(other), same(other) == same(sum.fold()));
        }

        #[test]
        fn zeroes_are_what_folds_to_them(sum: u64, multiple in 0..u64::MAX / 0xffff) {
            prop_assert_eq!(is_zero(sum), matches!(fold(sum), 0 | 0xffff));
            prop_assert!(is_zero(multiple * 0xffff));
        }

        #[test]
        fn incremental_equals_whole(mut data in proptest::collection::vec(any::<u8>(), 4..60), new: [u8; 2], at in 0usize..28) {
            let at = (at * 2) % (data.len() / 2 * 2);
            if data.len() % 2 == 1 { data.push(0); }
            // an all-zero block cannot occur in a header that holds a version and a length
            data[0] |= 1;
            if at == 0 { return Ok(()); }
            let before = Sum::ZERO.bytes(&data).checksum();
            let old = [data[at], data[at + 1]];
            data[at..at + 2].copy_from_slice(&new);
            prop_assert_eq!(update(before, old, new), Sum::ZERO.bytes(&data).checksum());
        }
    }
}
