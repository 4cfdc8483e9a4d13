//! What the tables advise for a destination.

use super::{GroupId, HopId, PeerId};

/// What the tables advise for a destination.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Action {
    /// Behind this peer: encapsulate.
    Encap(PeerId),
    /// Behind this native next hop: send plain.
    Deliver(HopId),
    /// An address of the gateway itself.
    Local,
    /// Behind any member of this group.
    Group(GroupId),
    /// There is a route, but not for who asks. No route leads there; it takes the place of what one says.
    Barred,
}

/// Bits for the row; the two above say what kind of row it is.
const ROW_BITS: u32 = 30;
const ROW: u32 = (1 << ROW_BITS) - 1;
const ENCAP: u32 = 1 << ROW_BITS;
const DELIVER: u32 = 2 << ROW_BITS;
/// Of this kind row 0 stands for the gateway itself, the last one for what is barred, and those between are groups.
const LOCAL: u32 = 3 << ROW_BITS;
const GROUP: u32 = LOCAL + 1;
const BARRED: u32 = u32::MAX;

impl Action {
    /// The action in 32 bits, never 0: tables and caches use 0 for "none". Rows are below 2³⁰, which is more than any
    /// host has memory for.
    #[inline]
    pub const fn pack(self) -> u32 {
        let (kind, row) = match self {
            Action::Encap(PeerId(row)) => (1, row),
            Action::Deliver(HopId(row)) => (2, row),
            Action::Local => (3, 0),
            Action::Group(GroupId(row)) => (3, row + 1),
            Action::Barred => (3, ROW),
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
            _ if packed == LOCAL => Some(Action::Local),
            _ if packed == BARRED => Some(Action::Barred),
            _ => Some(Action::Group(GroupId(packed - GROUP))),
        }
    }
}

/// A packed action or none, for hot code: each question is one comparison, where a `match` would jump by a table.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Packed(pub(super) u32);

impl Packed {
    /// No action.
    pub const NONE: Packed = Packed(0);
    /// A route that is not for who asks.
    pub(super) const BARRED: Packed = Packed(BARRED);

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

    /// True for a peer to encapsulate for, if it is an action at all.
    #[inline(always)]
    pub const fn is_encap(self) -> bool {
        self.0 < DELIVER
    }

    /// The row of the peer; of anything else a number that is beyond every table, 2³⁰ or more.
    #[inline(always)]
    pub(super) const fn peer_row(self) -> u32 {
        self.0.wrapping_sub(ENCAP)
    }

    /// The row of the next hop; of anything else a number that is beyond every table, 2³⁰ or more.
    #[inline(always)]
    pub(super) const fn hop_row(self) -> u32 {
        self.0.wrapping_sub(DELIVER)
    }

    /// The row of the group; of anything else a number that is beyond every table, 2³⁰ - 2 or more.
    #[inline(always)]
    pub(super) const fn group_row(self) -> u32 {
        self.0.wrapping_sub(GROUP)
    }

    /// True for a route that is not for who asks.
    #[inline]
    pub const fn is_barred(self) -> bool {
        self.0 == BARRED
    }

    /// True for a group.
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        self.group_row() < BARRED - GROUP
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

/// Two of them in one word.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PackedPair(u64);

impl PackedPair {
    /// Both.
    #[inline(always)]
    pub const fn new(first: Packed, second: Packed) -> Self {
        Self(first.0 as u64 | (second.0 as u64) << 32)
    }

    /// The first.
    #[inline(always)]
    pub const fn first(self) -> Packed {
        Packed(self.0 as u32)
    }

    /// The second.
    #[inline(always)]
    pub const fn second(self) -> Packed {
        Packed((self.0 >> 32) as u32)
    }
}

impl From<Option<Action>> for Packed {
    #[inline]
    fn from(action: Option<Action>) -> Self {
        action.map_or(Packed::NONE, |a| Packed(a.pack()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked_and_never_zero() {
        for row in [0, 1, 77, ROW - 2] {
            let group = Action::Group(GroupId(row));
            for action in
                [Action::Encap(PeerId(row)), Action::Deliver(HopId(row)), Action::Local, group, Action::Barred]
            {
                assert_ne!(action.pack(), 0);
                assert_eq!(Action::unpack(action.pack()), Some(action));
                let packed = Packed::from(Some(action));
                assert_eq!(packed.peer(), Some(packed.peer_row()).filter(|row| *row <= ROW).map(PeerId));
                assert_eq!(packed.hop(), Some(packed.hop_row()).filter(|row| *row <= ROW).map(HopId));
                assert_eq!(packed.is_encap(), packed.peer().is_some());
                assert_eq!((packed.is_group(), packed.group_row() < ROW - 1), (action == group, action == group));
                assert_eq!(packed.is_barred(), action == Action::Barred);
                let pair = PackedPair::new(packed, Packed(row));
                assert_eq!((pair.first(), pair.second()), (packed, Packed(row)));
            }
        }
        assert_eq!(Action::unpack(0), None);
        assert!(
            [Packed::NONE.peer_row(), Packed::NONE.hop_row(), Packed::NONE.group_row()].iter().all(|row| *row >= ROW)
        );
        assert!(!Packed::NONE.is_group());
    }
}
