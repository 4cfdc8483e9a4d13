//! What the tables advise for a destination.

use super::{HopId, PeerId};

/// What the tables advise for a destination.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Action {
    /// Behind this peer: encapsulate.
    Encap(PeerId),
    /// Behind this native next hop: send plain.
    Deliver(HopId),
    /// An address of the gateway itself.
    Local,
}

/// Bits for the row; the two above say what kind of row it is.
const ROW_BITS: u32 = 30;
const ROW: u32 = (1 << ROW_BITS) - 1;

impl Action {
    /// The action in 32 bits, never 0: tables and caches use 0 for "none". Rows are below 2³⁰, which is more than any
    /// host has memory for.
    #[inline]
    pub const fn pack(self) -> u32 {
        let (kind, row) = match self {
            Action::Encap(PeerId(row)) => (1, row),
            Action::Deliver(HopId(row)) => (2, row),
            Action::Local => (3, 0),
        };
        debug_assert!(row <= ROW);
        kind << ROW_BITS | (row & ROW)
    }

    /// The action that was packed; `None` for 0.
    #[inline]
    pub const fn unpack(packed: u32) -> Option<Action> {
        match packed >> ROW_BITS {
            0 => None,
            1 => Some(Action::Encap(PeerId(packed & ROW))),
            2 => Some(Action::Deliver(HopId(packed & ROW))),
            _ => Some(Action::Local),
        }
    }
}

/// A packed action or none, for hot code: each question is one comparison, where a `match` would jump by a table.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Packed(pub(super) u32);

impl Packed {
    /// No action.
    pub const NONE: Packed = Packed(0);

    /// True for no action.
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The peer to encapsulate for.
    #[inline]
    pub const fn peer(self) -> Option<PeerId> {
        if self.0 >> ROW_BITS == 1 { Some(PeerId(self.0 & ROW)) } else { None }
    }

    /// The next hop to deliver to.
    #[inline]
    pub const fn hop(self) -> Option<HopId> {
        if self.0 >> ROW_BITS == 2 { Some(HopId(self.0 & ROW)) } else { None }
    }

    /// The action spelt out.
    #[inline]
    pub const fn unpack(self) -> Option<Action> {
        Action::unpack(self.0)
    }
}

impl From<Action> for Packed {
    #[inline]
    fn from(action: Action) -> Self {
        Packed(action.pack())
    }
}

impl From<Option<Action>> for Packed {
    #[inline]
    fn from(action: Option<Action>) -> Self {
        action.map_or(Packed::NONE, Packed::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked_and_never_zero() {
        for row in [0, 1, 77, ROW] {
            for action in [Action::Encap(PeerId(row)), Action::Deliver(HopId(row)), Action::Local] {
                assert_ne!(action.pack(), 0);
                assert_eq!(Action::unpack(action.pack()), Some(action));
            }
        }
        assert_eq!(Action::unpack(0), None);
    }
}
