//! A number for each of many prefixes: what the writers of tables remember routes in.
//!
//! Rows of both families are kept sorted and packed, 9 bytes for an IPv4 prefix and 21 for an IPv6 one, in chunks of up
//! to 1 KiB below a B-tree: 10 to 11 bytes a route in all whatever the prefixes are, and no larger a table is ever copied
//! to grow. A hash table would take 13 to 27 bytes a row, and three times that while it grows.

mod rows;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::Prefix;
use rows::{Key, Rows};

/// A prefix as a number that sorts by address, then by length.
impl Key for u64 {
    type Bytes = [u8; 5];
    const LEAST: Self = 0;

    #[inline]
    fn pack(self) -> Self::Bytes {
        let [_, _, _, bytes @ ..] = self.to_be_bytes();
        bytes
    }

    #[inline]
    fn unpack([a, b, c, d, len]: Self::Bytes) -> Self {
        u64::from_be_bytes([0, 0, 0, a, b, c, d, len])
    }
}

/// The same for IPv6.
impl Key for (u128, u8) {
    type Bytes = ([u8; 16], u8);
    const LEAST: Self = (0, 0);

    #[inline]
    fn pack(self) -> Self::Bytes {
        (self.0.to_be_bytes(), self.1)
    }

    #[inline]
    fn unpack((addr, len): Self::Bytes) -> Self {
        (u128::from_be_bytes(addr), len)
    }
}

#[inline]
fn key_v4(addr: Ipv4Addr, len: u8) -> u64 {
    u64::from(addr.to_bits()) << 8 | u64::from(len)
}

#[inline]
fn key_v6(addr: Ipv6Addr, len: u8) -> (u128, u8) {
    (addr.to_bits(), len)
}

/// How many prefixes there are of each length, so that nobody looks for those of a length that none has.
#[derive(Clone, Debug)]
struct Lengths {
    v4: [u32; 33],
    v6: [u32; 129],
}

impl Default for Lengths {
    fn default() -> Self {
        Self { v4: [0; 33], v6: [0; 129] }
    }
}

impl Lengths {
    fn of(&self, family: IpAddr) -> &[u32] {
        if family.is_ipv4() { &self.v4 } else { &self.v6 }
    }

    fn count(&mut self, prefix: &Prefix) -> &mut u32 {
        let of = if prefix.addr().is_ipv4() { &mut self.v4[..] } else { &mut self.v6[..] };
        &mut of[usize::from(prefix.len())]
    }
}

/// A map from prefixes to numbers, sorted: IPv4 first, then by address, then by length.
#[derive(Clone, Debug, Default)]
pub struct PrefixMap {
    v4: Rows<u64>,
    v6: Rows<(u128, u8)>,
    lengths: Lengths,
}

impl PrefixMap {
    /// The number of exactly this prefix.
    #[inline]
    pub fn get(&self, prefix: &Prefix) -> Option<u32> {
        match prefix.addr() {
            IpAddr::V4(addr) => self.v4.get(key_v4(addr, prefix.len())),
            IpAddr::V6(addr) => self.v6.get(key_v6(addr, prefix.len())),
        }
    }

    /// Gives a prefix a number. Returns the one it had.
    pub fn insert(&mut self, prefix: Prefix, number: u32) -> Option<u32> {
        let before = match prefix.addr() {
            IpAddr::V4(addr) => self.v4.insert(key_v4(addr, prefix.len()), number),
            IpAddr::V6(addr) => self.v6.insert(key_v6(addr, prefix.len()), number),
        };
        if before.is_none() {
            *self.lengths.count(&prefix) += 1;
        }
        before
    }

    /// Takes a prefix out. Returns the number it had.
    pub fn remove(&mut self, prefix: &Prefix) -> Option<u32> {
        let before = match prefix.addr() {
            IpAddr::V4(addr) => self.v4.remove(key_v4(addr, prefix.len())),
            IpAddr::V6(addr) => self.v6.remove(key_v6(addr, prefix.len())),
        }?;
        *self.lengths.count(prefix) -= 1;
        Some(before)
    }

    /// The longest prefix that holds this one, is shorter than it, and has `least` bits or more: its length and its
    /// number.
    pub fn holder(&self, prefix: &Prefix, least: u8) -> Option<(u8, u32)> {
        let lengths = self.lengths.of(prefix.addr());
        let there = (least..prefix.len()).rev().filter(|len| lengths[usize::from(*len)] > 0);
        there.into_iter().find_map(|len| Some((len, self.get(&prefix.widened(len))?)))
    }

    /// Number of prefixes.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// True when there is no prefix.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All prefixes and their numbers, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix, u32)> + '_ {
        let of = |addr: IpAddr, len| Prefix::host(addr).widened(len);
        let v4 = self.v4.iter().map(move |(key, n)| (of(Ipv4Addr::from_bits((key >> 8) as u32).into(), key as u8), n));
        let v6 = self.v6.iter().map(move |((addr, len), n)| (of(Ipv6Addr::from_bits(addr).into(), len), n));
        v4.chain(v6)
    }
}

impl FromIterator<(Prefix, u32)> for PrefixMap {
    fn from_iter<I: IntoIterator<Item = (Prefix, u32)>>(all: I) -> Self {
        let mut map = Self::default();
        all.into_iter().for_each(|(prefix, number)| _ = map.insert(prefix, number));
        map
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    /// Few addresses of both families, so that prefixes come again and nest.
    fn prefix() -> impl Strategy<Value = Prefix> {
        let v4 = (0u32..400, 20u8..=32).prop_map(|(n, len)| (IpAddr::from(Ipv4Addr::from_bits(n << 7)), len));
        let v6 = (0u128..90, 0u8..=128).prop_map(|(n, len)| (IpAddr::from(Ipv6Addr::from_bits(n << 60 | n)), len));
        prop_oneof![v4, v6].prop_map(|(addr, len)| Prefix::host(addr).widened(len))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_history_is_that_of_a_plain_map(
            steps in prop::collection::vec((prefix(), any::<u32>(), 0u8..3), 1..3_000),
            ebb in prop::collection::vec(any::<bool>(), 3_000),
        ) {
            let (mut map, mut plain) = (PrefixMap::default(), BTreeMap::new());
            for (prefix, number, what) in &steps {
                match what {
                    0 => prop_assert_eq!(map.remove(prefix), plain.remove(prefix)),
                    _ => prop_assert_eq!(map.insert(*prefix, *number), plain.insert(*prefix, *number)),
                }
            }
            prop_assert!(map.iter().eq(plain.iter().map(|(p, n)| (*p, *n))), "at its fullest");
            for ((prefix, ..), goes) in steps.iter().zip(ebb) {
                prop_assert_eq!(map.get(prefix), plain.get(prefix).copied());
                let holder = (9..prefix.len()).rev().find_map(|len| Some((len, *plain.get(&prefix.widened(len))?)));
                prop_assert_eq!(map.holder(prefix, 9), holder);
                if goes {
                    prop_assert_eq!(map.remove(prefix), plain.remove(prefix));
                }
            }
            prop_assert!(map.iter().eq(plain.iter().map(|(p, n)| (*p, *n))), "after the ebb");
            prop_assert_eq!((map.len(), map.is_empty()), (plain.len(), plain.is_empty()));
        }
    }
}
