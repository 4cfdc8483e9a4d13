//! How long packets stay: a histogram that costs a few instructions to record.

/// Sub-buckets an octave: a value is known to within 1/16 of itself.
const SUB: usize = 16;
const SUB_BITS: u32 = SUB.trailing_zeros();
/// Values from 2⁴⁰ ns (18 minutes) on share the last bucket.
const OCTAVES: usize = 40 - SUB_BITS as usize;

/// Buckets of a [`Histogram`].
pub const BUCKETS: usize = SUB + OCTAVES * SUB;

/// A histogram of nanoseconds with logarithmic octaves and 16 linear sub-buckets in each: 16 buckets of width
/// 1, then 16 for each octave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Histogram {
    /// Counts by bucket.
    pub(super) buckets: [u64; BUCKETS],
    /// Sum of all values.
    pub(super) sum: u64,
    /// Largest value.
    pub(super) max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], sum: 0, max: 0 }
    }
}

impl Histogram {
    /// Records `count` packets that took `nanos` each.
    #[inline]
    pub fn record(&mut self, nanos: u64, count: u64) {
        if let Some(bucket) = self.buckets.get_mut(index(nanos)) {
            *bucket += count;
        }
        self.sum = self.sum.wrapping_add(nanos.wrapping_mul(count));
        self.max = self.max.max(nanos);
    }

    /// Nanoseconds of all packets together.
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// The longest, in nanoseconds.
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// Buckets with something in them: the largest value each stands for, and its count.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.buckets.iter().enumerate().filter(|(_, n)| **n > 0).map(|(i, n)| (upper(i), *n))
    }
}

#[inline]
fn index(nanos: u64) -> usize {
    if nanos < SUB as u64 {
        return nanos as usize;
    }
    let octave = nanos.ilog2() - SUB_BITS;
    let sub = (nanos >> octave) as usize - SUB;
    (SUB + octave as usize * SUB + sub).min(BUCKETS - 1)
}

/// The largest value that lands in a bucket.
const fn upper(index: usize) -> u64 {
    if index < SUB {
        return index as u64;
    }
    let (octave, sub) = ((index - SUB) / SUB, index % SUB);
    (((SUB + sub + 1) as u64) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_tile_the_line() {
        let mut next = 0;
        for i in 0..BUCKETS {
            assert_eq!(index(next), i, "the first value of bucket {i}");
            assert_eq!(index(upper(i)), i, "the last value of bucket {i}");
            next = upper(i) + 1;
        }
        assert_eq!(next, 1 << 40);
        assert_eq!(index(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_value_is_known_to_a_sixteenth() {
        for v in [17, 100, 999, 12_345, 1_000_000, 123_456_789] {
            let u = upper(index(v));
            assert!(u >= v && u - v <= v / 16, "{v} became {u}");
        }
    }

    #[test]
    fn records_weigh_by_count() {
        let mut h = Histogram::default();
        h.record(100, 3);
        h.record(5, 1);
        assert_eq!((h.sum(), h.max()), (305, 100));
        assert_eq!(h.iter().collect::<Vec<_>>(), [(5, 1), (103, 3)]);
    }
}
