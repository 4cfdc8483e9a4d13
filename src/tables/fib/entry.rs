//! What a slot of the trie says of the addresses below it.

use super::super::{Action, HopId, Packed, PeerId};

/// An action in 32 bits: kind (2), length of the prefix within its stride (4), row (26).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Entry(u32);

const ROW_BITS: u32 = 26;
const ROW: u32 = (1 << ROW_BITS) - 1;
const STRIDE_BITS: u32 = 0xf;

impl Entry {
    pub(super) const NONE: Entry = Entry(0);

    /// The entry of a prefix of `len` bits.
    pub(super) fn new(action: Action, len: u8) -> Self {
        let (kind, row) = match action {
            Action::Encap(PeerId(row)) => (1, row),
            Action::Deliver(HopId(row)) => (2, row),
            Action::Local => (3, 0),
        };
        debug_assert!(row <= ROW, "2^26 rows are more than any host has memory for");
        Entry(kind << 30 | u32::from(stride_bits(len)) << ROW_BITS | (row & ROW))
    }

    #[inline]
    pub(super) fn action(self) -> Option<Action> {
        match self.0 >> 30 {
            0 => None,
            1 => Some(Action::Encap(PeerId(self.0 & ROW))),
            2 => Some(Action::Deliver(HopId(self.0 & ROW))),
            _ => Some(Action::Local),
        }
    }

    /// The action as caches have it: the same kind and row, with no length between them.
    #[inline]
    pub(super) fn packed(self) -> Packed {
        Packed(self.0 & !(STRIDE_BITS << ROW_BITS))
    }

    /// This one, or the wider one if this is none.
    #[inline]
    pub(super) fn or(self, wider: Entry) -> Entry {
        if self == Entry::NONE { wider } else { self }
    }

    /// Bits of the prefix in its stride.
    pub(super) fn stride_bits(self) -> u8 {
        (self.0 >> ROW_BITS & STRIDE_BITS) as u8
    }
}

/// Bits of a prefix in the last stride it reaches into: 1 to 8, and 0 only for the default route.
pub(super) fn stride_bits(len: u8) -> u8 {
    if len == 0 { 0 } else { (len - 1) % 8 + 1 }
}
