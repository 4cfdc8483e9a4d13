//! The flow cache: one worker's memory of what the forwarding table said.

use core::net::Ipv4Addr;

use super::hash::Keyed;
use super::{Action, Packed};

const WAYS: usize = 4;

/// One field of all ways: a vector, and aligned as one, so that it needs no instruction to be loaded by.
#[derive(Clone, Copy, Default)]
#[repr(align(16))]
struct Lane([u32; WAYS]);

/// Four entries: one cache line. An address of a domain is in one way at most.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Set {
    addrs: Lane,
    domains: Lane,
    /// In which each entry was last known to hold; 0 in a way that was never written.
    epochs: Lane,
    actions: Lane,
}

const _: () = assert!(size_of::<Set>() == 64);

impl Set {
    /// All ways at once, in vectors: which of them has the address is a matter of chance, and no branch could guess it.
    #[inline(always)]
    fn get(&self, domain: Domain, addr: Ipv4Addr, epoch: u32) -> Packed {
        let (addr, domain) = (word(addr), u32::from(domain.0));
        let (Lane(addrs), Lane(domains), Lane(epochs), Lane(actions)) =
            (self.addrs, self.domains, self.epochs, self.actions);
        let mut action = 0;
        for way in 0..WAYS {
            let same = (addrs[way] ^ addr) | (domains[way] ^ domain) | (epochs[way] ^ epoch);
            action |= actions[way] & u32::from(same == 0).wrapping_neg();
        }
        Packed(action)
    }

    /// The way that has the address, of whatever epoch.
    #[inline]
    fn way(&self, domain: Domain, addr: Ipv4Addr) -> Option<usize> {
        (0..WAYS).find(|way| self.addrs.0[*way] == word(addr) && self.domains.0[*way] == u32::from(domain.0))
    }
}

/// An address as it lies in memory.
#[inline]
const fn word(addr: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(addr.octets())
}

/// Which side of the gateway looks an address up: an overlay's number plus one, or 0 for the access side.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Domain(pub u16);

/// A set-associative cache of fixed size, keyed on (domain, address): never on ports, so that connections, port scans
/// and SYN floods leave it alone. What is in it are addresses that packets went to or came from, and that have a route.
///
/// The hash is keyed per boot, so that nobody outside can aim at one set. An entry of another epoch than the tables'
/// reads as a miss, so that publishing new tables touches nothing here; whoever finds that it still holds renews it.
/// Addresses without a route are never inserted.
pub struct FlowCache {
    /// A power of two of them.
    sets: Box<[Set]>,
    hasher: Keyed,
}

impl core::fmt::Debug for FlowCache {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FlowCache").field("entries", &(self.sets.len() * WAYS)).finish_non_exhaustive()
    }
}

impl FlowCache {
    /// A cache of at least `entries` entries (rounded up to a power of two, at least 4), 16 bytes each.
    pub fn new(entries: usize, hasher: Keyed) -> Self {
        let sets = entries.div_ceil(WAYS).next_power_of_two();
        Self { sets: vec![Set::default(); sets].into(), hasher }
    }

    /// The set for an address.
    #[inline(always)]
    fn place(&self, domain: Domain, addr: Ipv4Addr) -> usize {
        self.set_of(self.hasher.hash(key(domain, addr)))
    }

    /// The set for a hash. With the length as it stands beside the sets, one check of bounds does for many lookups.
    #[inline(always)]
    fn set_of(&self, hash: u64) -> usize {
        hash as usize & (self.sets.len() - 1)
    }

    /// The remembered action.
    #[inline(always)]
    pub fn get(&self, domain: Domain, addr: Ipv4Addr, epoch: u32) -> Packed {
        self.sets.get(self.place(domain, addr)).map_or(Packed::NONE, |set| set.get(domain, addr, epoch))
    }

    /// The action remembered in another epoch, if any, and that epoch.
    pub fn older(&self, domain: Domain, addr: Ipv4Addr) -> Option<(Packed, u32)> {
        let set = &self.sets[self.place(domain, addr)];
        let way = set.way(domain, addr).filter(|way| set.epochs.0[*way] != 0)?;
        Some((Packed(set.actions.0[way]), set.epochs.0[way]))
    }

    /// Says that what is remembered of an address holds in this epoch, too.
    pub fn renew(&mut self, domain: Domain, addr: Ipv4Addr, epoch: u32) {
        let place = self.place(domain, addr);
        let set = &mut self.sets[place];
        if let Some(way) = set.way(domain, addr) {
            set.epochs.0[way] = epoch;
        }
    }

    /// Remembers an action. Takes the place of what was known of this address, else of an entry of another epoch if
    /// the set has one, of a pseudo-random one otherwise: one set is touched and nothing moves.
    #[inline]
    pub fn put(&mut self, domain: Domain, addr: Ipv4Addr, epoch: u32, action: Action) {
        let hash = self.hasher.hash(key(domain, addr));
        let place = self.set_of(hash);
        let Some(set) = self.sets.get_mut(place) else { return };
        let way = set
            .way(domain, addr)
            .or_else(|| set.epochs.0.iter().position(|e| *e != epoch))
            .unwrap_or((hash >> 62) as usize % WAYS);
        (set.addrs.0[way], set.domains.0[way], set.epochs.0[way], set.actions.0[way]) =
            (word(addr), u32::from(domain.0), epoch, action.pack());
    }
}

#[inline]
fn key(domain: Domain, addr: Ipv4Addr) -> u64 {
    u64::from(domain.0) << 32 | u64::from(word(addr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::PeerId;

    fn cache(entries: usize) -> FlowCache {
        FlowCache::new(entries, Keyed::new(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345))
    }

    fn pod(n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0af4_0000 + n)
    }

    #[test]
    fn what_was_put_is_found_in_its_domain_and_epoch_only() {
        let mut c = cache(1024);
        c.put(Domain(1), pod(1), 7, Action::Encap(PeerId(9)));
        assert_eq!(c.get(Domain(1), pod(1), 7).unpack(), Some(Action::Encap(PeerId(9))));
        assert_eq!(c.get(Domain(2), pod(1), 7).unpack(), None);
        assert_eq!(c.get(Domain(1), pod(2), 7).unpack(), None);
        assert_eq!(c.get(Domain(1), pod(1), 8).unpack(), None);
        assert_eq!(c.get(Domain(0), Ipv4Addr::UNSPECIFIED, 0).unpack(), None, "an entry never written is no entry");
    }

    #[test]
    fn what_an_older_epoch_knew_can_be_renewed() {
        let mut c = cache(16);
        assert_eq!(c.older(Domain(0), Ipv4Addr::UNSPECIFIED), None, "an entry never written is no entry");
        c.put(Domain(1), pod(1), 7, Action::Local);
        let (advice, then) = c.older(Domain(1), pod(1)).unwrap();
        assert_eq!((advice.unpack(), then, c.older(Domain(2), pod(1))), (Some(Action::Local), 7, None));
        c.renew(Domain(1), pod(1), 9);
        c.renew(Domain(1), pod(2), 9);
        assert!(c.get(Domain(1), pod(1), 7).is_none() && c.get(Domain(1), pod(2), 9).is_none());
        assert_eq!(c.get(Domain(1), pod(1), 9).unpack(), Some(Action::Local));
    }

    #[test]
    fn stale_entries_give_way_first() {
        let mut c = cache(4);
        for n in 0..4 {
            c.put(Domain(0), pod(n), 1, Action::Local);
        }
        c.put(Domain(0), pod(9), 2, Action::Local);
        assert!(c.get(Domain(0), pod(9), 2).unpack().is_some());
        assert_eq!((0..4).filter(|&n| c.get(Domain(0), pod(n), 1).unpack().is_some()).count(), 3);
    }

    #[test]
    fn half_full_it_holds_nearly_all() {
        let mut c = cache(16_384);
        for n in 0..8_192 {
            c.put(Domain(3), pod(n), 1, Action::Encap(PeerId(n)));
        }
        let found =
            (0..8_192).filter(|&n| c.get(Domain(3), pod(n), 1).unpack() == Some(Action::Encap(PeerId(n)))).count();
        assert!(found > 8_192 * 85 / 100, "{found}");
    }
}
