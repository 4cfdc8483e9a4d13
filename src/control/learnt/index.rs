//! Prefixes, and the question which of them overlap one.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

use crate::wire::Prefix;

/// Prefix lengths of a family: 0 to 128.
const LENGTHS: usize = 129;

/// Something for each of many prefixes.
#[derive(Debug)]
pub(super) struct Index<T> {
    /// Sorted by address and length: what lies within a prefix follows it.
    all: BTreeMap<Prefix, T>,
    /// How many there are of each length, IPv4 first: there are few lengths in a cluster, and only those are asked for.
    lengths: [[usize; LENGTHS]; 2],
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { all: BTreeMap::new(), lengths: [[0; LENGTHS]; 2] }
    }
}

fn family(prefix: &Prefix) -> usize {
    usize::from(prefix.addr().is_ipv6())
}

/// The last address of a prefix.
fn last(prefix: &Prefix) -> IpAddr {
    match prefix.addr() {
        IpAddr::V4(a) => {
            Ipv4Addr::from_bits(a.to_bits() | u32::MAX.checked_shr(prefix.len().into()).unwrap_or(0)).into()
        }
        IpAddr::V6(a) => {
            Ipv6Addr::from_bits(a.to_bits() | u128::MAX.checked_shr(prefix.len().into()).unwrap_or(0)).into()
        }
    }
}

impl<T> Index<T> {
    pub(super) fn get(&self, prefix: &Prefix) -> Option<&T> {
        self.all.get(prefix)
    }

    pub(super) fn get_mut(&mut self, prefix: &Prefix) -> Option<&mut T> {
        self.all.get_mut(prefix)
    }

    pub(super) fn insert(&mut self, prefix: Prefix, value: T) {
        if self.all.insert(prefix, value).is_none() {
            self.lengths[family(&prefix)][usize::from(prefix.len())] += 1;
        }
    }

    pub(super) fn remove(&mut self, prefix: &Prefix) -> Option<T> {
        let value = self.all.remove(prefix)?;
        self.lengths[family(prefix)][usize::from(prefix.len())] -= 1;
        Some(value)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Prefix, &T)> {
        self.all.iter()
    }

    /// All that overlap `prefix`: those that hold it, longest first, then itself, then those within it.
    pub(super) fn overlapping(&self, prefix: Prefix) -> impl Iterator<Item = (Prefix, &T)> {
        let lengths = &self.lengths[family(&prefix)];
        let shorter = (0..prefix.len()).rev().filter(|len| lengths[usize::from(*len)] > 0);
        let holders = shorter.filter_map(move |len| self.all.get_key_value(&prefix.widened(len)));
        let end = Prefix::host(last(&prefix));
        holders.chain(self.all.range(prefix..=end)).map(|(prefix, value)| (*prefix, value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix() -> impl Strategy<Value = Prefix> {
        let v4 = (any::<u32>(), 0u8..=32)
            .prop_map(|(bits, len)| Prefix::host(Ipv4Addr::from_bits(0x0a00_0000 | bits & 0xff).into()).widened(len));
        let v6 = (any::<u8>(), 0u8..=128).prop_map(|(bits, len)| {
            Prefix::host(Ipv6Addr::from_bits(0xfd << 120 | u128::from(bits)).into()).widened(len)
        });
        prop_oneof![3 => v4, 1 => v6]
    }

    proptest! {
        #[test]
        fn what_overlaps_is_what_a_comparison_of_all_finds(
            all in prop::collection::vec(prefix(), 0..60),
            gone in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            asked in prefix(),
        ) {
            let (mut index, mut model) = (Index::default(), BTreeMap::new());
            for (n, prefix) in all.iter().enumerate() {
                index.insert(*prefix, n);
                model.insert(*prefix, n);
            }
            for n in gone.iter().filter(|_| !all.is_empty()) {
                let prefix = all[n.index(all.len())];
                prop_assert_eq!(index.remove(&prefix), model.remove(&prefix));
            }
            let mut found: Vec<_> = index.overlapping(asked).map(|(p, n)| (p, *n)).collect();
            found.sort_unstable();
            let same_family = |p: &Prefix| p.addr().is_ipv4() == asked.addr().is_ipv4();
            let expected: Vec<_> =
                model.iter().filter(|(p, _)| same_family(p) && p.overlaps(&asked)).map(|(p, n)| (*p, *n)).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(index.len(), model.len());
        }
    }
}
