//! The forwarding table: longest prefix match from a destination address to an [`Action`].
//!
//! A trie of 8-bit strides over the octets of the address, the same for both families. It is *persistent*: nodes are
//! shared between versions and copied on the way to a change ([`Arc::make_mut`]), so that a published version never
//! changes under a reader, many changes in one batch copy each node once, and a change costs the same in a table of
//! ten routes and of a million.

use core::net::IpAddr;
use std::collections::HashMap;
use std::sync::Arc;

use super::{Action, HopId, PeerId};
use crate::wire::Prefix;

/// An action in 32 bits: kind (2), length of the prefix within its stride (4), row (26).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Packed(u32);

const ROW_BITS: u32 = 26;
const ROW: u32 = (1 << ROW_BITS) - 1;

impl Packed {
    const NONE: Packed = Packed(0);

    pub(super) fn new(action: Action) -> Self {
        let (kind, row) = match action {
            Action::Encap(PeerId(row)) => (1, row),
            Action::Deliver(HopId(row)) => (2, row),
            Action::Local => (3, 0),
        };
        debug_assert!(row <= ROW, "2^26 rows are more than any host has memory for");
        Packed(kind << 30 | (row & ROW))
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

    fn with_len(self, len: u8) -> Self {
        Packed(self.0 | u32::from(len) << ROW_BITS)
    }

    fn len(self) -> u8 {
        (self.0 >> ROW_BITS & 0xf) as u8
    }
}

/// One stride: for each value of an octet the longest prefix that ends in this stride, and the node below.
#[derive(Clone, Debug)]
struct Node {
    best: [Packed; 256],
    /// Most nodes have nothing below: they end at /24 or /32.
    below: Option<Box<Below>>,
}

/// Children of a node, found by an index instead of by counting bits: plain x86-64 has no instruction for that.
#[derive(Clone, Debug)]
struct Below {
    /// Place among the nodes plus one; 0 for none.
    at: [u16; 256],
    nodes: Vec<Arc<Node>>,
}

impl Node {
    fn empty() -> Self {
        Self { best: [Packed::NONE; 256], below: None }
    }

    #[inline]
    fn child(&self, octet: u8) -> Option<&Node> {
        let below = self.below.as_ref()?;
        let place = usize::from(below.at[usize::from(octet)]).checked_sub(1)?;
        below.nodes.get(place).map(|n| &**n)
    }

    fn child_mut(&mut self, octet: u8) -> &mut Node {
        let below = self.below.get_or_insert_with(|| Box::new(Below { at: [0; 256], nodes: Vec::new() }));
        let at = &mut below.at[usize::from(octet)];
        if *at == 0 {
            below.nodes.push(Arc::new(Node::empty()));
            *at = below.nodes.len() as u16; // at most 256
        }
        Arc::make_mut(&mut below.nodes[usize::from(*at) - 1])
    }

    fn drop_child(&mut self, octet: u8) {
        let Some(below) = &mut self.below else { return };
        let place = core::mem::take(&mut below.at[usize::from(octet)]);
        if place == 0 {
            return;
        }
        // the last one takes the place of the one that goes
        let last = below.nodes.len() as u16;
        below.nodes.swap_remove(usize::from(place) - 1);
        below.at.iter_mut().filter(|at| **at == last).for_each(|at| *at = place);
        if below.nodes.is_empty() {
            self.below = None;
        }
    }

    fn is_empty(&self) -> bool {
        self.below.is_none() && self.best.iter().all(|p| *p == Packed::NONE)
    }
}

#[derive(Clone, Debug)]
struct Trie {
    root: Arc<Node>,
}

impl Trie {
    fn new() -> Self {
        Self { root: Arc::new(Node::empty()) }
    }

    #[inline]
    fn lookup(&self, key: &[u8]) -> Packed {
        let mut best = Packed::NONE;
        let mut node = &*self.root;
        for &octet in key {
            let here = node.best[usize::from(octet)];
            if here != Packed::NONE {
                best = here;
            }
            match node.child(octet) {
                Some(child) => node = child,
                None => break,
            }
        }
        best
    }

    /// Writes `entry` for the prefix of `len` bits over everything in its stride that is no more specific.
    fn set(&mut self, key: &[u8], len: u8, entry: Packed) {
        let (path, slots, bits) = place(key, len);
        let mut node = Arc::make_mut(&mut self.root);
        for &octet in path {
            node = node.child_mut(octet);
        }
        for slot in &mut node.best[slots] {
            if slot.len() <= bits {
                *slot = entry;
            }
        }
    }

    /// Puts `heir` (with the length of its own prefix) in place of a prefix, and prunes nodes left empty.
    fn unset(&mut self, key: &[u8], len: u8, heir: Packed) {
        let (path, slots, bits) = place(key, len);
        fn walk(node: &mut Node, path: &[u8], at_end: &mut dyn FnMut(&mut Node)) {
            match path.split_first() {
                None => at_end(node),
                Some((&octet, rest)) => {
                    let child = node.child_mut(octet);
                    walk(child, rest, at_end);
                    if child.is_empty() {
                        node.drop_child(octet);
                    }
                }
            }
        }
        walk(Arc::make_mut(&mut self.root), path, &mut |node| {
            for slot in &mut node.best[slots.clone()] {
                if slot.len() == bits {
                    *slot = heir;
                }
            }
        });
    }
}

/// Bits of a prefix in the last stride it reaches into: 1 to 8, and 0 only for the default route.
fn stride_bits(len: u8) -> u8 {
    if len == 0 { 0 } else { (len - 1) % 8 + 1 }
}

/// Where a prefix stands: the octets on the way, the slots it covers in its last node, and its bits there.
fn place(key: &[u8], len: u8) -> (&[u8], core::ops::Range<usize>, u8) {
    let bits = stride_bits(len);
    let depth = usize::from(len.saturating_sub(1) / 8);
    let first = usize::from(key[depth]);
    (&key[..depth], first..first + (1 << (8 - bits)), bits)
}

/// Calls `f` with the octets of an address.
#[inline]
fn with_octets<R>(addr: IpAddr, f: impl FnOnce(&[u8]) -> R) -> R {
    match addr {
        IpAddr::V4(a) => f(&a.octets()),
        IpAddr::V6(a) => f(&a.octets()),
    }
}

/// One version of the forwarding table. Cheap to clone: versions share what they have in common.
#[derive(Clone, Debug)]
pub struct Fib {
    v4: Trie,
    v6: Trie,
}

impl Fib {
    /// The action for a destination, from the longest prefix that holds it.
    #[inline]
    pub fn lookup(&self, dst: IpAddr) -> Option<Action> {
        match dst {
            IpAddr::V4(a) => self.v4.lookup(&a.octets()),
            IpAddr::V6(a) => self.v6.lookup(&a.octets()),
        }
        .action()
    }

    fn trie(&mut self, of: &Prefix) -> &mut Trie {
        if of.addr().is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }
}

/// The writer's side: the current version, and the prefixes it was made from.
///
/// ```
/// use selvedge::tables::{Action, FibWriter, PeerId};
///
/// let mut fib = FibWriter::default();
/// fib.insert("10.244.0.0/16".parse().unwrap(), Action::Encap(PeerId(1)));
/// let version = fib.current().clone();
/// fib.insert("10.244.7.0/24".parse().unwrap(), Action::Encap(PeerId(2)));
/// let pod = "10.244.7.9".parse().unwrap();
/// assert_eq!(fib.current().lookup(pod), Some(Action::Encap(PeerId(2))), "the longest prefix");
/// assert_eq!(version.lookup(pod), Some(Action::Encap(PeerId(1))), "a version does not change");
/// ```
#[derive(Debug)]
pub struct FibWriter {
    fib: Fib,
    routes: HashMap<Prefix, Action, ahash::RandomState>,
}

impl Default for FibWriter {
    fn default() -> Self {
        Self { fib: Fib { v4: Trie::new(), v6: Trie::new() }, routes: HashMap::default() }
    }
}

impl FibWriter {
    /// The table as it is now.
    pub fn current(&self) -> &Fib {
        &self.fib
    }

    /// Adds or replaces a route. Returns the action it had.
    pub fn insert(&mut self, prefix: Prefix, action: Action) -> Option<Action> {
        let before = self.routes.insert(prefix, action);
        if before != Some(action) {
            let entry = Packed::new(action).with_len(stride_bits(prefix.len()));
            with_octets(prefix.addr(), |key| self.fib.trie(&prefix).set(key, prefix.len(), entry));
        }
        before
    }

    /// Removes a route. Returns the action it had.
    pub fn remove(&mut self, prefix: &Prefix) -> Option<Action> {
        let before = self.routes.remove(prefix)?;
        let heir = self.heir(prefix);
        with_octets(prefix.addr(), |key| self.fib.trie(prefix).unset(key, prefix.len(), heir));
        Some(before)
    }

    /// Number of routes.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// True when there is no route.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// What covers the slots of `prefix` once it is gone: the next shorter prefix that ends in the same stride.
    /// (Shorter ones that end higher up are found there on the way down.)
    fn heir(&self, prefix: &Prefix) -> Packed {
        let floor = if prefix.len() <= 8 { 0 } else { (prefix.len() - 1) / 8 * 8 + 1 };
        (floor..prefix.len())
            .rev()
            .find_map(|len| {
                let wider = prefix.widened(len);
                self.routes.get(&wider).map(|a| Packed::new(*a).with_len(stride_bits(len)))
            })
            .unwrap_or(Packed::NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encap(n: u32) -> Action {
        Action::Encap(PeerId(n))
    }

    /// The slow oracle: the longest of all prefixes that hold the address.
    fn oracle(routes: &HashMap<Prefix, Action>, dst: IpAddr) -> Option<Action> {
        routes.iter().filter(|(p, _)| p.contains(dst)).max_by_key(|(p, _)| p.len()).map(|(_, a)| *a)
    }

    #[test]
    fn the_longest_prefix_wins_at_every_length() {
        let mut w = FibWriter::default();
        let target: IpAddr = "10.244.7.9".parse().unwrap();
        for len in 0..=32u8 {
            let p = Prefix::host(target).widened(len);
            assert_eq!(w.insert(p, encap(u32::from(len))), None);
            assert_eq!(w.current().lookup(target), Some(encap(u32::from(len))));
        }
        for len in (0..=32u8).rev() {
            assert_eq!(w.current().lookup(target), Some(encap(u32::from(len))));
            assert_eq!(w.remove(&Prefix::host(target).widened(len)), Some(encap(u32::from(len))));
        }
        assert_eq!(w.current().lookup(target), None);
        assert!(w.is_empty() && w.fib.v4.root.is_empty());
    }

    #[test]
    fn a_published_version_does_not_change() {
        let mut w = FibWriter::default();
        let p: Prefix = "10.244.1.0/24".parse().unwrap();
        w.insert(p, encap(1));
        let old = w.current().clone();
        w.insert(p, encap(2));
        w.insert("10.244.2.0/24".parse().unwrap(), Action::Deliver(HopId(3)));
        assert_eq!(old.lookup("10.244.1.1".parse().unwrap()), Some(encap(1)));
        assert_eq!(old.lookup("10.244.2.1".parse().unwrap()), None);
        assert_eq!(w.current().lookup("10.244.2.1".parse().unwrap()), Some(Action::Deliver(HopId(3))));
        assert_eq!(w.remove(&"10.0.0.0/8".parse().unwrap()), None);
    }

    #[test]
    fn both_families_stand_apart() {
        let mut w = FibWriter::default();
        w.insert("::/0".parse().unwrap(), encap(6));
        w.insert("2001:db8:42::/48".parse().unwrap(), Action::Local);
        assert_eq!(w.current().lookup("10.0.0.1".parse().unwrap()), None);
        assert_eq!(w.current().lookup("2001:db8:42::1".parse().unwrap()), Some(Action::Local));
        assert_eq!(w.current().lookup("2001:db8:43::1".parse().unwrap()), Some(encap(6)));
    }

    proptest! {
        /// Dense addresses (few distinct octets), so that prefixes nest, collide and leave again.
        #[test]
        fn any_history_equals_the_oracle(
            steps in proptest::collection::vec((0u32..3, 0u32..4, 0u32..2, 0u32..256, 0u8..=32, any::<bool>(), 0u32..9), 1..120),
            probes in proptest::collection::vec((0u32..3, 0u32..4, 0u32..2, 0u32..256), 40),
        ) {
            let addr = |(a, b, c, d): (u32, u32, u32, u32)| {
                IpAddr::from(core::net::Ipv4Addr::from_bits(a << 30 | b << 22 | c << 15 | d))
            };
            let (mut w, mut model) = (FibWriter::default(), HashMap::new());
            for (a, b, c, d, len, add, n) in steps {
                let p = Prefix::host(addr((a, b, c, d))).widened(len);
                if add {
                    prop_assert_eq!(w.insert(p, encap(n)), model.insert(p, encap(n)));
                } else {
                    prop_assert_eq!(w.remove(&p), model.remove(&p));
                }
            }
            prop_assert_eq!(w.len(), model.len());
            for p in probes {
                prop_assert_eq!(w.current().lookup(addr(p)), oracle(&model, addr(p)), "{}", addr(p));
            }
        }
    }
}
