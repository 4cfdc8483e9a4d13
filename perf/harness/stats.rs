//! Figures out of repeated trials.

use std::collections::BTreeMap;

use serde::Serialize;

/// The spread of repeated trials.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
    /// How many trials.
    pub(crate) trials: usize,
}

impl Spread {
    /// `None` without any value.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
            _ => sorted[middle],
        };
        Some(Self { min, median, max, trials: sorted.len() })
    }
}

/// Latencies as the counter keeps them: the upper bound of a bucket in ns, and how many fell into it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Histogram(pub(crate) Vec<[u64; 2]>);

impl Histogram {
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|[_, n]| n).sum()
    }

    /// What came since an earlier reading.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let old: BTreeMap<u64, u64> = before.0.iter().map(|[bound, n]| (*bound, *n)).collect();
        let grown = self.0.iter().map(|[bound, n]| [*bound, n - old.get(bound).unwrap_or(&0).min(n)]);
        Self(grown.filter(|[_, n]| *n > 0).collect())
    }

    /// The upper bound of the bucket that holds quantile `q` (0 to 1), in ns; 0 of nothing.
    pub(crate) fn quantile(&self, q: f64) -> u64 {
        let wanted = (self.count() as f64 * q).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.0.iter().find(|[_, n]| {
            seen += n;
            seen >= wanted
        });
        found.map_or(0, |[bound, _]| *bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Spread::of(&[]), None);
        let spread = |values: &[f64]| Spread::of(values).map(|s| (s.min, s.median, s.max, s.trials));
        assert_eq!(spread(&[3.0]), Some((3.0, 3.0, 3.0, 1)));
        assert_eq!(spread(&[9.0, 1.0, 2.0]), Some((1.0, 2.0, 9.0, 3)));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 9.0]), Some((1.0, 3.0, 9.0, 4)));
    }

    #[test]
    fn quantiles_are_never_below_what_was_measured() {
        let histogram = Histogram(vec![[10, 50], [20, 49], [1000, 1]]);
        assert_eq!(histogram.count(), 100);
        let got = [0.0, 0.5, 0.51, 0.99, 0.999, 1.0].map(|q| histogram.quantile(q));
        assert_eq!(got, [10, 10, 20, 20, 1000, 1000]);
        assert_eq!(Histogram::default().quantile(0.5), 0);
        let earlier = Histogram(vec![[10, 50], [20, 9]]);
        assert_eq!(histogram.since(&earlier), Histogram(vec![[20, 40], [1000, 1]]));
    }
}
