//! 256 values with few changes among them, in the room of `N`.

use core::array;
use core::ops::Range;

/// Values of the octets 0 to 255 as runs of equal ones.
///
/// There are always `N` starts, so that a search is a fixed number of comparisons without a branch (one vector of them).
/// Starts that are not needed are 255, and octet 255 is always found in the last value.
#[derive(Clone, Debug)]
pub(super) struct Runs<T, const N: usize> {
    /// First octet of each run, ascending; the first is 0.
    starts: [u8; N],
    values: [T; N],
}

impl<T: Clone + Default, const N: usize> Runs<T, N> {
    /// `None` if they are more than `N` runs.
    pub(super) fn of(all: &[T; 256], same: impl Fn(&T, &T) -> bool) -> Option<Self> {
        let mut starts = [u8::MAX; N];
        starts[0] = 0;
        let mut used = 1;
        for octet in 1..=u8::MAX {
            if !same(&all[usize::from(octet) - 1], &all[usize::from(octet)]) {
                *starts.get_mut(used)? = octet;
                used += 1;
            }
        }
        let value = |n: usize| match starts[n] {
            _ if n == N - 1 => all[255].clone(),
            u8::MAX => T::default(), // never asked for
            start => all[usize::from(start)].clone(),
        };
        Some(Self { starts, values: array::from_fn(value) })
    }

    /// One value for all octets.
    pub(super) fn all(value: T) -> Self {
        let mut starts = [u8::MAX; N];
        starts[0] = 0;
        Self { starts, values: array::from_fn(|_| value.clone()) }
    }

    /// All 256.
    pub(super) fn spread(&self) -> [T; 256] {
        let mut all = array::from_fn(|_| T::default());
        for (n, value) in self.values.iter().enumerate() {
            all[self.octets(n)].fill(value.clone());
        }
        all
    }
}

impl<T: Clone + Default + PartialEq, const N: usize> Runs<T, N> {
    /// The same with the values of some octets changed; `None` if that would be more than `N` runs. It looks at runs only,
    /// of which there are few: most changes to a table are made here.
    pub(super) fn edited(&self, octets: Range<usize>, change: impl Fn(&mut T)) -> Option<Self> {
        let mut out = Self { starts: [u8::MAX; N], values: array::from_fn(|_| T::default()) };
        let mut used = 0;
        // in front of those that change, among them, behind them
        let parts = [(0..octets.start, false), (octets.clone(), true), (octets.end..256, false)];
        for (n, value) in self.values.iter().enumerate() {
            let run = self.octets(n);
            for (part, changes) in &parts {
                let (start, end) = (run.start.max(part.start), run.end.min(part.end));
                if start >= end {
                    continue;
                }
                let mut value = value.clone();
                if *changes {
                    change(&mut value);
                }
                if used == 0 || out.values[used - 1] != value {
                    *out.starts.get_mut(used)? = start as u8; // below 256, for the run is not empty
                    out.values[used] = value;
                    used += 1;
                }
            }
        }
        out.values[N - 1] = out.values[used - 1].clone(); // where octet 255 is found
        Some(out)
    }
}

impl<T, const N: usize> Runs<T, N> {
    /// The octets of a run; none of one that is not needed.
    fn octets(&self, n: usize) -> Range<usize> {
        usize::from(self.starts[n])..self.starts.get(n + 1).map_or(256, |start| usize::from(*start))
    }

    /// The octets of each run, and its value. Octet 255 may stand apart from its run.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Range<usize>, &T)> {
        self.values.iter().enumerate().map(|(n, value)| (self.octets(n), value))
    }

    #[inline]
    fn place(&self, octet: u8) -> usize {
        let count: u8 = self.starts.iter().map(|start| u8::from(*start <= octet)).sum();
        usize::from(count - 1).min(N - 1) // the first start is 0
    }

    #[inline]
    pub(super) fn get(&self, octet: u8) -> &T {
        &self.values[self.place(octet)]
    }

    /// The value of the whole run that holds `octet`.
    pub(super) fn get_mut(&mut self, octet: u8) -> &mut T {
        &mut self.values[self.place(octet)]
    }

    pub(super) fn values(&self) -> &[T; N] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_say_what_the_values_said(changes in proptest::collection::vec((any::<u8>(), 0u32..3), 0..7)) {
            let mut all = [0u32; 256];
            for (from, value) in changes {
                all[usize::from(from)..].fill(value);
            }
            let count = 1 + all.windows(2).filter(|w| w[0] != w[1]).count();
            let runs = Runs::<u32, 4>::of(&all, |a, b| a == b);
            prop_assert_eq!(runs.is_some(), count <= 4);
            if let Some(runs) = runs {
                prop_assert_eq!(runs.spread(), all);
                prop_assert!((0..=255u8).all(|o| *runs.get(o) == all[usize::from(o)]));
            }
        }

        #[test]
        fn editing_runs_is_editing_values(
            changes in proptest::collection::vec((any::<u8>(), 1usize..256, 0u32..3, any::<bool>()), 1..12),
        ) {
            let (mut runs, mut all) = (Runs::<u32, 4>::all(7), [7u32; 256]);
            for (from, count, value, add) in changes {
                let octets = usize::from(from)..256.min(usize::from(from) + count);
                let change = |v: &mut u32| *v = if add { (*v + value) % 3 } else { value };
                let mut after = all;
                after[octets.clone()].iter_mut().for_each(change);
                let edited = runs.edited(octets, change);
                let should = Runs::<u32, 4>::of(&after, |a, b| a == b);
                prop_assert_eq!(edited.is_some(), should.is_some());
                if let Some(edited) = edited {
                    prop_assert_eq!(edited.spread(), after);
                    prop_assert!((0..=255u8).all(|o| *edited.get(o) == after[usize::from(o)]));
                    (runs, all) = (edited, after);
                }
            }
        }
    }
}
