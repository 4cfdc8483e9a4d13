//! What `cycles` measures with: a clock that knows its cycles, frames in production packet memory, the traffic, and
//! rounds in which every case has its turn.

#[path = "../../tests/support/mod.rs"]
pub(crate) mod gateway;

pub(crate) mod ablation;
pub(crate) mod cases;
pub(crate) mod clock;
pub(crate) mod deck;
pub(crate) mod hostile;
pub(crate) mod meter;
pub(crate) mod options;
pub(crate) mod parts;
pub(crate) mod report;
pub(crate) mod rounds;
pub(crate) mod traffic;
pub(crate) mod world;

/// A random sequence that a seed tells whole (splitmix64, Steele and others 2014).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Less than `n`, which is not 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// An order of 0 to `n` − 1 that no prefetcher guesses.
    pub(crate) fn order(&mut self, n: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        (1..n).rev().for_each(|i| all.swap(i, self.below(i + 1)));
        all
    }
}
