//! A keyed hash for tables whose keys are small integers.

use core::hash::{BuildHasher, Hasher};

/// Makes hashers of one key. The key is drawn per table, so that nobody outside can aim at one bucket.
#[derive(Clone, Copy, Debug)]
pub struct Keyed {
    high: u64,
    low: u64,
}

impl Keyed {
    /// A key of the caller's: for tests and benchmarks that must repeat.
    pub const fn new(high: u64, low: u64) -> Self {
        Self { high, low }
    }

    /// The hash of a 64-bit key.
    #[inline]
    pub fn hash(&self, key: u64) -> u64 {
        let product = u128::from(self.high) * u128::from(key ^ self.low);
        product as u64 ^ (product >> 64) as u64
    }
}

impl Default for Keyed {
    fn default() -> Self {
        // ahash draws its keys from the system's randomness, once a process
        let random = ahash::RandomState::new();
        Self { high: random.hash_one(1), low: random.hash_one(2) | 1 }
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folded;

    #[inline]
    fn build_hasher(&self) -> Folded {
        Folded { high: self.high, state: self.low }
    }
}

/// One folded multiply for a key of up to 128 bits.
#[derive(Clone, Copy, Debug)]
pub struct Folded {
    high: u64,
    state: u64,
}

impl Folded {
    #[inline]
    fn mix(&mut self, a: u64, b: u64) {
        let product = u128::from(a ^ self.high) * u128::from(b ^ self.state);
        self.state = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for Folded {
    #[inline]
    fn write_u128(&mut self, key: u128) {
        self.mix((key >> 64) as u64, key as u64);
    }

    #[inline]
    fn write_u64(&mut self, key: u64) {
        self.mix(0x9e37_79b9_7f4a_7c15, key);
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_spread_over_low_and_high_bits() {
        let keyed = Keyed::new(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211);
        let (mut low, mut high) = ([0u32; 64], [0u32; 64]);
        for n in 0..64 * 256u128 {
            let h = keyed.hash_one(0xc000_0200_0000_0000_u128 << 16 | n << 24);
            low[(h % 64) as usize] += 1;
            high[(h >> 58) as usize] += 1;
        }
        // 256 each on average; six standard deviations of 16
        assert!(low.iter().chain(&high).all(|n| n.abs_diff(256) < 96), "{low:?} {high:?}");
    }
}
