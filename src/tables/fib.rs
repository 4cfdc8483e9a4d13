//! The forwarding table: longest prefix match from a destination address to an [`Action`].
//!
//! A trie of 8-bit strides over the octets of the address, the same for both families. It is *persistent*: nodes are
//! shared between versions and copied on the way to a change (`Arc::make_mut`), so that a published version never
//! changes under a reader, many changes in one batch copy each node once, and a change costs the same in a table of
//! ten routes and of a million. Figures are in `perf/FIB.md`.

mod entry;
mod pair;
mod runs;
mod trie;

use core::net::{IpAddr, Ipv4Addr};

use super::{Action, Packed, PrefixMap};
use crate::wire::Prefix;
use entry::Entry;
use trie::{LANES, Route, Trie};

/// An address as the tries have it: its first octet highest.
#[inline]
fn key(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(a) => u128::from(a.to_bits()) << 96,
        IpAddr::V6(a) => a.to_bits(),
    }
}

fn route(prefix: &Prefix, entry: Entry) -> Route {
    Route { key: key(prefix.addr()), len: prefix.len(), entry }
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

    /// The same for an IPv4 destination, in one word.
    #[inline(always)]
    pub fn lookup_v4(&self, dst: Ipv4Addr) -> Packed {
        self.v4.lookup(&dst.octets()).packed()
    }

    /// [`lookup`](Self::lookup) for many IPv4 destinations at once, which takes a fraction of the time in a large
    /// table: the core waits for its memory once for a group of them, not for each. `found` is at least as long as
    /// `dst`.
    pub fn lookup_many(&self, dst: &[Ipv4Addr], found: &mut [Packed]) {
        for (dst, found) in dst.chunks(LANES).zip(found.chunks_mut(LANES)) {
            let mut asked = [[0; 4]; LANES];
            for (asked, dst) in asked.iter_mut().zip(dst) {
                *asked = dst.octets();
            }
            let entries = self.v4.lookup_many(&asked[..dst.len()]);
            for (found, entry) in found.iter_mut().zip(entries) {
                *found = entry.packed();
            }
        }
    }

    /// Bytes of its nodes, shared ones too. This visits each: it is for tests and measurements.
    pub fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes()
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
    /// Each prefix with its packed action.
    routes: PrefixMap,
}

impl Default for FibWriter {
    fn default() -> Self {
        Self { fib: Fib { v4: Trie::new(), v6: Trie::new() }, routes: PrefixMap::default() }
    }
}

impl FibWriter {
    /// The table as it is now.
    pub fn current(&self) -> &Fib {
        &self.fib
    }

    /// Adds or replaces a route. Returns the action it had.
    pub fn insert(&mut self, prefix: Prefix, action: Action) -> Option<Action> {
        let before = self.routes.insert(prefix, action.pack()).and_then(Action::unpack);
        if before != Some(action) {
            self.fib.trie(&prefix).set(&route(&prefix, Entry::new(action, prefix.len())));
        }
        before
    }

    /// Removes a route. Returns the action it had.
    pub fn remove(&mut self, prefix: &Prefix) -> Option<Action> {
        let before = Action::unpack(self.routes.remove(prefix)?);
        let heir = self.heir(prefix);
        self.fib.trie(prefix).unset(&route(prefix, heir));
        before
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
    fn heir(&self, prefix: &Prefix) -> Entry {
        let floor = if prefix.len() <= 8 { 0 } else { (prefix.len() - 1) / 8 * 8 + 1 };
        let heir = self.routes.holder(prefix, floor);
        heir.and_then(|(len, packed)| Some(Entry::new(Action::unpack(packed)?, len))).unwrap_or(Entry::NONE)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::{HopId, PeerId};
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
        assert!(w.is_empty());
        assert_eq!(w.fib.bytes(), FibWriter::default().fib.bytes(), "nothing is left behind");
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

    /// Of every form a node can have, in groups of every size.
    #[test]
    fn many_are_told_what_each_would_be() {
        let (mut w, mut x) = (FibWriter::default(), 1u32);
        let mut random = || {
            x = x.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            x.rotate_left(15)
        };
        let mut asked = Vec::new();
        for n in 0..3000 {
            // crowded networks and lonely ones
            let addr = Ipv4Addr::from_bits(random() & [0x4000_ffff, 0x00ff_03ff, u32::MAX][n as usize % 3]);
            w.insert(Prefix::host(addr.into()).widened(8 + (random() % 25) as u8), encap(n));
            asked.extend([addr, Ipv4Addr::from_bits(random()), Ipv4Addr::from_bits(addr.to_bits() ^ (random() % 4))]);
        }
        for size in [1, 2, 31, 32, 33, 200] {
            for asked in asked.chunks(size) {
                let mut told = vec![Packed::NONE; size];
                w.current().lookup_many(asked, &mut told);
                for (addr, told) in asked.iter().zip(told) {
                    assert_eq!(told.unpack(), w.current().lookup((*addr).into()), "{addr}");
                }
            }
        }
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
            let mut asked = Vec::new();
            for p in probes {
                prop_assert_eq!(w.current().lookup(addr(p)), oracle(&model, addr(p)), "{}", addr(p));
                asked.extend(if let IpAddr::V4(a) = addr(p) { Some(a) } else { None });
            }
            let mut told = [Packed::NONE; 40];
            w.current().lookup_many(&asked, &mut told);
            for (addr, told) in asked.iter().zip(told) {
                prop_assert_eq!(told.unpack(), oracle(&model, (*addr).into()), "{}", addr);
            }
        }
    }
}
