//! What recording a latency costs: the worker's own buckets beside hdrhistogram's.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use hdrhistogram::Histogram as Hdr;
use selvedge::worker::latency::Histogram;

fn main() {
    divan::main();
}

/// Values as they come: a few microseconds, with a tail.
fn values() -> Vec<u64> {
    (0..4096u64).map(|n| 2_000 + n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (1 << (11 + n % 8))).collect()
}

#[divan::bench]
fn own_buckets(bencher: Bencher<'_, '_>) {
    let (values, mut h) = (values(), Box::<Histogram>::default());
    bencher.counter(ItemsCount::new(values.len())).bench_local(|| {
        for v in &values {
            h.record(black_box(*v), 1);
        }
    });
}

#[divan::bench]
fn hdrhistogram(bencher: Bencher<'_, '_>) {
    let (values, mut h) = (values(), Hdr::<u64>::new_with_bounds(1, 1 << 40, 2).unwrap());
    bencher.counter(ItemsCount::new(values.len())).bench_local(|| {
        for v in &values {
            h.saturating_record(black_box(*v));
        }
    });
}
