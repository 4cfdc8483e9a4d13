//! What a test packet carries: whose it is, which one it is, when it should have been sent, and filler.

/// Bytes of a [`Stamp`] on the wire: magic, stream, sequence number, time, flow, check.
pub(super) const LEN: usize = 32;
/// What every test payload begins with.
pub(super) const MAGIC: [u8; 4] = *b"SVpg";

/// What stands behind the stamp: `length` bytes that are the same in every packet, so that a receiver can hold each of
/// them against what it should be. Blocks that changed places show, even of 256 bytes.
pub(super) fn filler(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at as u8) ^ ((at >> 8) as u8).wrapping_mul(37)).collect()
}

/// The identity of one test packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    /// Tells one run from another.
    pub(super) stream: u32,
    /// Which flow of the run.
    pub(super) flow: u32,
    /// Which packet of the flow, from 0.
    pub(super) sequence: u64,
    /// When it was to be sent, in nanoseconds of CLOCK_MONOTONIC: not when it was.
    pub(super) intended: u64,
}

/// Why bytes are no stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unread {
    /// They do not begin as one.
    Foreign,
    /// They begin as one and are not whole.
    Corrupt,
}

impl Stamp {
    /// As it lies on the wire.
    #[inline]
    pub(super) fn bytes(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[..4].copy_from_slice(&MAGIC);
        out[4..8].copy_from_slice(&self.stream.to_be_bytes());
        out[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        out[16..24].copy_from_slice(&self.intended.to_be_bytes());
        out[24..28].copy_from_slice(&self.flow.to_be_bytes());
        out[28..].copy_from_slice(&self.check().to_be_bytes());
        out
    }

    /// Reads one from the front of a UDP payload.
    #[inline]
    pub(super) fn read(payload: &[u8]) -> Result<Self, Unread> {
        if !payload.starts_with(&MAGIC) {
            return Err(Unread::Foreign);
        }
        let bytes: &[u8; LEN] = payload.first_chunk().ok_or(Unread::Corrupt)?;
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        let stamp = Self { stream: word(4), sequence: long(8), intended: long(16), flow: word(24) };
        if word(28) == stamp.check() { Ok(stamp) } else { Err(Unread::Corrupt) }
    }

    /// A check over all fields that, unlike the Internet checksum, notices words that changed places.
    #[inline]
    fn check(&self) -> u32 {
        let fields = [u64::from(self.stream) << 32 | u64::from(self.flow), self.sequence, self.intended];
        let mixed = fields.iter().fold(0x9e37_79b9_7f4a_7c15u64, |sum, field| {
            let x = (sum ^ field).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x ^ x >> 29
        });
        (mixed ^ mixed >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_stamp_is_read_as_it_was_written(stream: u32, flow: u32, sequence: u64, intended: u64) {
            let stamp = Stamp { stream, flow, sequence, intended };
            let long = [&stamp.bytes()[..], &[0xa5; 7]].concat();
            prop_assert_eq!(Stamp::read(&long), Ok(stamp));
        }

        #[test]
        fn one_wrong_bit_is_seen(stream: u32, sequence: u64, intended: u64, bit in 0usize..LEN * 8) {
            let mut bytes = Stamp { stream, flow: 3, sequence, intended }.bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let want = if bit < 32 { Unread::Foreign } else { Unread::Corrupt };
            prop_assert_eq!(Stamp::read(&bytes), Err(want));
        }
    }

    #[test]
    fn what_is_cut_is_corrupt_and_what_is_not_ours_is_foreign() {
        let bytes = Stamp { stream: 1, flow: 2, sequence: 3, intended: 4 }.bytes();
        for cut in 0..LEN {
            let want = if cut < 4 { Unread::Foreign } else { Unread::Corrupt };
            assert_eq!(Stamp::read(&bytes[..cut]), Err(want), "cut at {cut}");
        }
    }
}
