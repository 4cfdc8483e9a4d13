//! The flow cache: one worker's memory of what the forwarding table said.

use core::net::Ipv4Addr;

use super::Action;
use super::fib::Packed;
use super::hash::Keyed;

const WAYS: usize = 4;

#[derive(Clone, Copy, Default)]
struct Entry {
    key: u64,
    epoch: u32,
    action: Packed,
}

/// Four entries: one cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Set([Entry; WAYS]);

const _: () = assert!(size_of::<Set>() == 64);

/// Which side of the gateway looks an address up: an overlay's number plus one, or 0 for the access side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Domain(pub u16);

/// A set-associative cache of fixed size, keyed on (domain, address): never on ports, so that connections, port scans
/// and SYN floods leave it alone. What is in it are addresses that packets went to or came from, and that have a route.
///
/// The hash is keyed per boot, so that nobody outside can aim at one set. An entry of another epoch than the tables'
/// reads as a miss: publishing new tables empties the cache without touching it. Addresses without a route are never
/// inserted.
pub struct FlowCache {
    sets: Box<[Set]>,
    mask: u64,
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
        Self { sets: vec![Set::default(); sets].into(), mask: sets as u64 - 1, hasher }
    }

    /// The remembered action.
    #[inline]
    pub fn get(&self, domain: Domain, dst: Ipv4Addr, epoch: u32) -> Option<Action> {
        let key = key(domain, dst);
        let set = self.sets.get((self.hasher.hash(key) & self.mask) as usize)?;
        set.0.iter().find(|e| e.key == key && e.epoch == epoch).and_then(|e| e.action.action())
    }

    /// Remembers an action. Takes the place of an entry of another epoch if the set has one, of a pseudo-random one
    /// otherwise: one set is touched and nothing moves.
    #[inline]
    pub fn put(&mut self, domain: Domain, dst: Ipv4Addr, epoch: u32, action: Action) {
        let key = key(domain, dst);
        let hash = self.hasher.hash(key);
        if let Some(set) = self.sets.get_mut((hash & self.mask) as usize) {
            let way = set.0.iter().position(|e| e.epoch != epoch).unwrap_or((hash >> 62) as usize % WAYS);
            set.0[way] = Entry { key, epoch, action: Packed::new(action) };
        }
    }
}

/// Never 0: the key of an entry that was never written.
#[inline]
fn key(domain: Domain, dst: Ipv4Addr) -> u64 {
    1 << 63 | u64::from(domain.0) << 32 | u64::from(dst.to_bits())
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
        assert_eq!(c.get(Domain(1), pod(1), 7), Some(Action::Encap(PeerId(9))));
        assert_eq!(c.get(Domain(2), pod(1), 7), None);
        assert_eq!(c.get(Domain(1), pod(2), 7), None);
        assert_eq!(c.get(Domain(1), pod(1), 8), None);
        assert_eq!(c.get(Domain(0), Ipv4Addr::UNSPECIFIED, 0), None, "an entry never written is no entry");
    }

    #[test]
    fn stale_entries_give_way_first() {
        let mut c = cache(4);
        for n in 0..4 {
            c.put(Domain(0), pod(n), 1, Action::Local);
        }
        c.put(Domain(0), pod(9), 2, Action::Local);
        assert!(c.get(Domain(0), pod(9), 2).is_some());
        assert_eq!((0..4).filter(|&n| c.get(Domain(0), pod(n), 1).is_some()).count(), 3);
    }

    #[test]
    fn half_full_it_holds_nearly_all() {
        let mut c = cache(16_384);
        for n in 0..8_192 {
            c.put(Domain(3), pod(n), 1, Action::Encap(PeerId(n)));
        }
        let found = (0..8_192).filter(|&n| c.get(Domain(3), pod(n), 1) == Some(Action::Encap(PeerId(n)))).count();
        assert!(found > 8_192 * 85 / 100, "{found}");
    }
}
