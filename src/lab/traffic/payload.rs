//! Pseudo-random bytes that both ends can make, and a digest of them.

use std::hash::{DefaultHasher, Hasher};

/// An endless stream of bytes, the same for the same seed (xorshift64*, Vigna 2014).
#[derive(Debug, Clone)]
pub(super) struct Stream {
    state: u64,
}

impl Stream {
    pub(super) fn new(seed: u64) -> Self {
        // A state of zero would stay zero; neighbouring seeds must not give neighbouring streams.
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03;
        Self { state: if state == 0 { 1 } else { state } }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Fills `out`. Only the last call on a stream may have a length that is no multiple of eight.
    pub(super) fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// A digest of a byte stream, however it was cut into pieces. The default hasher has fixed keys: the same bytes give
/// the same digest everywhere in one build, which is as far as one is ever compared.
#[derive(Default)]
pub(super) struct Digest(DefaultHasher);

impl Digest {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    pub(super) fn finish(&self) -> u64 {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_by_seed_and_digests_ignore_the_cuts() {
        let bytes = |seed| {
            let mut out = [0xa5; 1000];
            Stream::new(seed).fill(&mut out);
            out
        };
        assert_eq!(bytes(7), bytes(7));
        assert_ne!(bytes(7), bytes(8));
        let whole = bytes(7);
        let mut expected = Digest::default();
        expected.update(&whole);
        for cut in [0, 1, 7, 8, 999] {
            let mut digest = Digest::default();
            digest.update(&whole[..cut]);
            digest.update(&whole[cut..]);
            assert_eq!(digest.finish(), expected.finish(), "{cut}");
        }
    }
}
