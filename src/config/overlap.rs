//! Prefixes against each other: a destination must lie in one place.
//!
//! Sorted by address and length, a prefix follows everything that holds it, so one pass with a stack of the prefixes
//! that are still open (129 at most, one for each length) finds what a comparison of all pairs would.

use core::ops::Range;

use super::errors::Problems;
use super::reader::Place;
use crate::wire::Prefix;

/// A prefix of the file.
pub(super) struct Claim {
    pub(super) prefix: Prefix,
    /// The overlay it is in, by row; `None` for a native route, or where the overlay is not known.
    pub(super) overlay: Option<usize>,
    /// Bytes of the file.
    pub(super) span: Range<usize>,
    /// Its table, and its place in `prefixes` if it stands in such a list.
    pub(super) place: Place,
    pub(super) element: Option<usize>,
}

impl Claim {
    fn key(&self) -> String {
        match self.element {
            Some(i) => self.place.key(&format!("prefixes[{i}]")),
            None => self.place.key("prefix"),
        }
    }
}

/// Reports prefixes given twice, and prefixes of different overlays of which one holds the other. `name` is what
/// people call an overlay.
pub(super) fn check(mut claims: Vec<Claim>, name: impl Fn(usize) -> String, problems: &mut Problems) {
    claims.sort_by_key(|c| (c.prefix.addr(), c.prefix.len(), c.span.start));
    let mut open: Vec<&Claim> = Vec::new();
    for claim in &claims {
        while open.last().is_some_and(|c| !c.prefix.contains(claim.prefix.addr())) {
            open.pop();
        }
        match open.last() {
            Some(first) if first.prefix == claim.prefix => {
                let message = format!("{} is given twice; a prefix lives in one place", claim.prefix);
                problems.add(&claim.span, claim.key(), message).also(&first.span, first.key());
            }
            _ => {
                crossing(claim, &open, &name, problems);
                open.push(claim);
            }
        }
    }
}

/// Reports the nearest of the prefixes around `claim` that belongs to another overlay.
fn crossing(claim: &Claim, around: &[&Claim], name: &impl Fn(usize) -> String, problems: &mut Problems) {
    let Some(mine) = claim.overlay else { return };
    let other = around.iter().rev().find_map(|c| c.overlay.filter(|o| *o != mine).map(|o| (*c, o)));
    if let Some((outer, theirs)) = other {
        let message = format!(
            "{} of overlay `{}` lies in {} of overlay `{}`; prefixes of different overlays must not overlap",
            claim.prefix,
            name(mine),
            outer.prefix,
            name(theirs)
        );
        problems.add(&claim.span, claim.key(), message).also(&outer.span, outer.key());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the pass must find, by comparing all pairs: prefixes with a twin or a holder in another overlay.
    fn by_pairs(claims: &[(Prefix, Option<usize>)]) -> usize {
        (0..claims.len())
            .filter(|&i| {
                let (p, mine) = claims[i];
                let twin = claims[..i].iter().any(|(q, _)| *q == p);
                let first = |q: Prefix| claims.iter().find(|(x, _)| *x == q).unwrap().1;
                let crossed = claims.iter().any(|(q, _)| {
                    *q != p && q.contains(p.addr()) && q.len() < p.len() && mine.is_some() && {
                        let theirs = first(*q);
                        theirs.is_some() && theirs != mine
                    }
                });
                twin || crossed
            })
            .count()
    }

    proptest! {
        #[test]
        fn one_pass_finds_what_all_pairs_find(raw in prop::collection::vec((0u32..64, 24u8..=32, 0usize..4), 0..40)) {
            let claims: Vec<_> = raw
                .iter()
                .map(|(bits, len, overlay)| {
                    let keep = u32::MAX << (32 - len);
                    let addr = core::net::Ipv4Addr::from_bits((0x0a00_0000 | bits << 3) & keep);
                    (Prefix::new(addr.into(), *len).unwrap(), overlay.checked_sub(1))
                })
                .collect();
            let mut problems = Problems::default();
            let rows = claims.iter().enumerate().map(|(i, (prefix, overlay))| Claim {
                prefix: *prefix, overlay: *overlay, span: i..i + 1, place: Place::Row("peer", i), element: None,
            });
            check(rows.collect(), |o| o.to_string(), &mut problems);
            prop_assert_eq!(problems.finish("f", "").len(), by_pairs(&claims));
        }
    }
}
