//! Up to two prefixes of one stride, small enough to be in a slot.

use core::ops::Range;

use super::entry::Entry;
use super::runs::Runs;

/// Prefixes that end in the same stride, by their first octets; how many bits of it they have, their entries say.
///
/// Where there is none is [`Entry::NONE`], of no bits: it holds every octet, and says nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Pair {
    pub(super) firsts: [u8; 2],
    /// If one lies within the other, the longer prefix is in front.
    pub(super) entries: [Entry; 2],
}

impl Pair {
    pub(super) const NONE: Pair = Pair { firsts: [0; 2], entries: [Entry::NONE; 2] };

    pub(super) fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// What these runs say, if two prefixes do.
    pub(super) fn of<const N: usize>(runs: &Runs<Entry, N>) -> Option<Self> {
        let (mut pair, mut count) = (Self::NONE, 0);
        for (octets, entry) in runs.iter().filter(|(_, entry)| **entry != Entry::NONE) {
            let size = 1 << (8 - entry.stride_bits());
            // a longer prefix may have cut off where this one begins, and neighbours of one entry are one run
            for first in (octets.start / size * size..octets.end).step_by(size) {
                let known = (0..count).any(|n| (usize::from(pair.firsts[n]), pair.entries[n]) == (first, *entry));
                if !known {
                    *pair.firsts.get_mut(count)? = first as u8; // an octet
                    pair.entries[count] = *entry;
                    count += 1;
                }
            }
        }
        if pair.entries[0].stride_bits() < pair.entries[1].stride_bits() {
            pair.firsts.reverse();
            pair.entries.reverse();
        }
        Some(pair)
    }

    /// The entry of the longer of those that hold `octet`. No branch: which of them do is a matter of chance.
    #[inline(always)]
    pub(super) fn get(self, octet: u8) -> Entry {
        let of = |n: usize| {
            let differing = u32::from(octet ^ self.firsts[n]) >> (8 - self.entries[n].stride_bits());
            if differing == 0 { self.entries[n] } else { Entry::NONE }
        };
        of(0).or(of(1))
    }

    /// The octets of the prefixes, the shorter one first.
    fn ranges(&self) -> impl Iterator<Item = (Range<usize>, Entry)> {
        let range = |n: usize| {
            let (first, entry) = (usize::from(self.firsts[n]), self.entries[n]);
            (first..first + (1 << (8 - entry.stride_bits())), entry)
        };
        [1, 0].into_iter().map(range).filter(|(_, entry)| *entry != Entry::NONE)
    }

    /// The same as runs; `None` if that would be more than `N`. Five are enough.
    pub(super) fn runs<const N: usize>(&self) -> Option<Runs<Entry, N>> {
        self.ranges().try_fold(Runs::all(Entry::NONE), |runs, (octets, entry)| runs.edited(octets, |e| *e = entry))
    }

    /// The entries of all octets.
    pub(super) fn spread(&self) -> [Entry; 256] {
        let mut all = [Entry::NONE; 256];
        self.ranges().for_each(|(octets, entry)| all[octets].fill(entry));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Action, PeerId};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Few actions, so that neighbours are one run.
        #[test]
        fn a_pair_says_what_its_runs_said(
            prefixes in proptest::collection::vec((any::<u8>(), 1u8..=8, 0u32..2), 0..4),
        ) {
            let mut prefixes: Vec<_> = prefixes
                .into_iter()
                .map(|(octet, bits, row)| (octet & u8::MAX << (8 - bits), Entry::new(Action::Encap(PeerId(row)), bits)))
                .collect();
            prefixes.sort_by_key(|(first, entry)| (entry.stride_bits(), *first));
            prefixes.dedup_by_key(|(first, entry)| (entry.stride_bits(), *first));
            let mut all = [Entry::NONE; 256];
            for (first, entry) in &prefixes {
                let first = usize::from(*first);
                all[first..first + (1 << (8 - entry.stride_bits()))].fill(*entry);
            }
            let runs = Runs::<Entry, 8>::of(&all, Entry::eq).expect("three prefixes are seven runs at most");
            match Pair::of(&runs) {
                None => prop_assert_eq!(prefixes.len(), 3),
                Some(pair) => {
                    prop_assert!((0..=u8::MAX).all(|octet| pair.get(octet) == all[usize::from(octet)]), "{:?}", pair);
                    prop_assert_eq!(pair.spread(), all);
                    prop_assert_eq!(pair.runs::<5>().expect("five are enough").spread(), all);
                    prop_assert_eq!(pair.is_none(), prefixes.is_empty());
                }
            }
            prop_assert!(prefixes.len() > 2 || Pair::of(&runs).is_some(), "two prefixes have room");
        }
    }
}
