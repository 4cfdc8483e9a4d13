//! One target or several equal ones.

use core::slice;
use std::sync::Arc;

use super::Target;

/// Where packets for a prefix go: to one target, or to any of several equal ones, among which flows are spread.
///
/// Two of them are the same if they name the same targets, in whatever order and however often. Most prefixes have one
/// target, which takes no memory of its own.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Targets(Kind);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Kind {
    One(Target),
    /// Two or more, sorted, each once.
    Several(Arc<[Target]>),
}

impl Targets {
    /// These; `None` for none.
    pub fn of(all: impl IntoIterator<Item = Target>) -> Option<Self> {
        let mut all: Vec<Target> = all.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        match all[..] {
            [] => None,
            [one] => Some(one.into()),
            _ => Some(Self(Kind::Several(all.into()))),
        }
    }

    /// These and those.
    pub fn and(self, others: &Self) -> Self {
        if self == *others {
            return self;
        }
        Self::of(self.all().iter().chain(others.all()).copied()).unwrap_or(self)
    }

    /// All of them, sorted, each once.
    pub fn all(&self) -> &[Target] {
        match &self.0 {
            Kind::One(one) => slice::from_ref(one),
            Kind::Several(all) => all,
        }
    }
}

impl From<Target> for Targets {
    fn from(one: Target) -> Self {
        Self(Kind::One(one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::PortId;

    #[test]
    fn neither_order_nor_repetition_makes_a_difference() {
        let via = |n| Target::Native { port: PortId(n), next_hop: [10, 0, 0, n].into() };
        let of = |all: &[u8]| Targets::of(all.iter().map(|n| via(*n)));
        assert_eq!(of(&[]), None);
        assert_eq!((of(&[1]), of(&[1, 1])), (Some(via(1).into()), Some(via(1).into())));
        assert_eq!((of(&[2, 1]), of(&[1, 2, 2])), (of(&[1, 2]), of(&[1, 2])));
        assert_eq!(of(&[3, 1]).unwrap().all(), [via(1), via(3)]);
        assert_ne!(of(&[1, 2]), of(&[1, 3]));
    }
}
