//! What a slot of the trie says of the addresses below it.

use super::super::{Action, Packed};

/// A [packed](Packed) action, and in the bits between its kind (2) and its row (26) the length of the prefix within its
/// stride (4).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Entry(u32);

const ROW_BITS: u32 = 26;
const STRIDE: u32 = 0xf << ROW_BITS;

impl Entry {
    pub(super) const NONE: Entry = Entry(0);

    /// The entry of a prefix of `len` bits.
    pub(super) fn new(action: Action, len: u8) -> Self {
        let packed = action.pack();
        debug_assert!(packed & STRIDE == 0, "2^26 rows are more than any host has memory for");
        Entry(packed & !STRIDE | u32::from(stride_bits(len)) << ROW_BITS)
    }

    #[inline]
    pub(super) fn action(self) -> Option<Action> {
        self.packed().unpack()
    }

    /// The action as caches have it.
    #[inline]
    pub(super) fn packed(self) -> Packed {
        Packed(self.0 & !STRIDE)
    }

    /// This one, or the wider one if this is none.
    #[inline]
    pub(super) fn or(self, wider: Entry) -> Entry {
        if self == Entry::NONE { wider } else { self }
    }

    /// Bits of the prefix in its stride.
    pub(super) fn stride_bits(self) -> u8 {
        ((self.0 & STRIDE) >> ROW_BITS) as u8
    }
}

/// Bits of a prefix in the last stride it reaches into: 1 to 8, and 0 only for the default route.
pub(super) fn stride_bits(len: u8) -> u8 {
    if len == 0 { 0 } else { (len - 1) % 8 + 1 }
}
