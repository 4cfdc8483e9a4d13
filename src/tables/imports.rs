//! Which routes each side of the gateway may use.

use core::net::IpAddr;
use std::sync::Arc;

use super::{Action, Domain, Fib, FibWriter, OverlayId};
use crate::wire::Prefix;

/// What one side of the gateway (an overlay, or the access ports together) may send to. Its own nodes or next hops it may in
/// any case, and the gateway's own addresses.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Imports {
    /// Everything.
    #[default]
    All,
    /// What one of the rules names.
    Only(Rules),
}

/// Each is one more thing that may be reached.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Rules {
    /// Whatever is behind nodes of these overlays.
    pub overlays: Vec<OverlayId>,
    /// Whatever is behind next hops on access ports.
    pub natives: bool,
    /// Addresses in these prefixes, whoever has them.
    pub prefixes: Vec<Prefix>,
}

/// The rules of all sides. They decide whether a packet goes where its longest prefix says, and never send it elsewhere: so
/// all sides share one forwarding table, and rules cost nothing where there are none.
#[derive(Clone, Default, Debug)]
pub(super) struct Borders {
    /// By domain; without an entry everything may be reached.
    rules: Arc<[Option<Border>]>,
}

/// The rules of one side, ready to be asked.
#[derive(Clone, Debug)]
struct Border {
    overlays: Vec<OverlayId>,
    natives: bool,
    /// Only whether there is a route counts.
    prefixes: Fib,
}

impl Borders {
    /// The rules of the access side, then those of each overlay.
    pub(super) fn new(imports: &[Imports]) -> Self {
        if imports.iter().all(|imports| *imports == Imports::All) {
            return Self::default();
        }
        let border = |(side, imports): (usize, &Imports)| match imports {
            Imports::All => None,
            Imports::Only(rules) => Some(Border::new(side, rules)),
        };
        Self { rules: imports.iter().enumerate().map(border).collect() }
    }

    /// True if there are no rules.
    #[inline(always)]
    pub(super) fn are_open(&self) -> bool {
        self.rules.is_empty()
    }

    /// May packets from this side go to `dst` behind a node of this overlay, or behind a native next hop if it is none?
    pub(super) fn admits(&self, from: Domain, dst: IpAddr, behind: Option<OverlayId>) -> bool {
        let Some(Some(border)) = self.rules.get(usize::from(from.0)) else { return true };
        let named = behind.map_or(border.natives, |overlay| border.overlays.contains(&overlay));
        named || border.prefixes.lookup(dst).is_some()
    }
}

impl Border {
    fn new(side: usize, rules: &Rules) -> Self {
        let own = side.checked_sub(1).and_then(|n| u16::try_from(n).ok()).map(OverlayId);
        let mut prefixes = FibWriter::default();
        for prefix in &rules.prefixes {
            prefixes.insert(*prefix, Action::Local);
        }
        Self {
            overlays: rules.overlays.iter().copied().chain(own).collect(),
            natives: rules.natives || own.is_none(),
            prefixes: prefixes.current().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_reaches_itself_and_what_its_rules_name() {
        let (blue, green, red) = (OverlayId(0), OverlayId(1), OverlayId(2));
        let rules = Rules { overlays: vec![red], natives: false, prefixes: vec!["10.7.0.0/16".parse().unwrap()] };
        let borders = Borders::new(&[Imports::Only(Rules::default()), Imports::Only(rules), Imports::All]);
        let (inside, outside) = (IpAddr::from([10, 7, 1, 1]), IpAddr::from([10, 8, 1, 1]));
        let (access, from_blue, from_green, from_red) = (Domain(0), Domain(1), Domain(2), Domain(3));
        for (from, dst, behind, admitted) in [
            (access, outside, None, true),
            (access, inside, Some(blue), false),
            (from_blue, outside, Some(blue), true),
            (from_blue, outside, Some(red), true),
            (from_blue, outside, Some(green), false),
            (from_blue, outside, None, false),
            (from_blue, inside, Some(green), true),
            (from_blue, inside, None, true),
            (from_green, outside, Some(blue), true),
            (from_red, outside, None, true),
        ] {
            assert_eq!(borders.admits(from, dst, behind), admitted, "{from:?} {dst} {behind:?}");
        }
        assert!(!borders.are_open() && Borders::new(&[Imports::All, Imports::All]).are_open());
    }
}
