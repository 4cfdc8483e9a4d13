//! Percentiles of the latency that workers recorded.

use hdrhistogram::Histogram as Hdr;

use crate::worker::latency::Histogram;

/// The quantiles that are exported.
pub const QUANTILES: [(f64, &str); 4] = [(0.5, "0.5"), (0.99, "0.99"), (0.999, "0.999"), (1.0, "1")];

/// Nanoseconds at each of [`QUANTILES`]; zeros when nothing was recorded.
pub fn of(latency: &Histogram) -> [u64; QUANTILES.len()] {
    // three digits: finer than the recorded buckets
    let Ok(mut hdr) = Hdr::<u64>::new_with_bounds(1, 1 << 41, 3) else { return [0; QUANTILES.len()] };
    for (nanos, count) in latency.iter() {
        hdr.saturating_record_n(nanos.max(1), count);
    }
    if hdr.is_empty() {
        return [0; QUANTILES.len()];
    }
    // a bucket stands for its upper end; the maximum is known exactly
    QUANTILES.map(|(q, _)| hdr.value_at_quantile(q).min(latency.max()))
}

/// Cumulative counts at the powers of two from 256 ns to 0.13 s, in seconds: bounds that fall between buckets.
pub fn cumulative(latency: &Histogram) -> (Vec<(f64, u64)>, u64) {
    let total = latency.iter().map(|(_, n)| n).sum();
    let below = |bound: u64| latency.iter().take_while(|(upper, _)| *upper < bound).map(|(_, n)| n).sum();
    ((8..28).map(|k| ((1u64 << k) as f64 / 1e9, below(1 << k))).collect(), total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_sixteenth_and_never_above_the_maximum() {
        let mut h = Histogram::default();
        assert_eq!(of(&h), [0; 4]);
        for v in 1..=1000u64 {
            h.record(v * 100, 1);
        }
        for (got, want) in of(&h).into_iter().zip([50_000u64, 99_000, 99_900, 100_000]) {
            assert!(got >= want && got <= want + want / 15, "{got} for {want}");
        }
        assert_eq!(of(&h)[3], 100_000);
    }

    #[test]
    fn cumulative_counts_end_with_all() {
        let mut h = Histogram::default();
        h.record(255, 2);
        h.record(256, 3);
        h.record(1 << 39, 1);
        let (buckets, total) = cumulative(&h);
        assert_eq!((buckets[0], buckets[1].1, buckets[19].1, total), ((256e-9, 2), 5, 5, 6));
    }
}
