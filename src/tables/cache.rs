//! The flow cache: one worker's memory of what the forwarding table said.

mod follow;

use core::net::{Ipv4Addr, Ipv6Addr};

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
    /// Which version each entry holds since, as far as is known; 0 in a way that was never written.
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

    /// What is remembered of the address in whatever epoch. In vectors as well.
    #[inline(always)]
    fn older(&self, domain: Domain, addr: Ipv4Addr) -> Packed {
        let (addr, domain) = (word(addr), u32::from(domain.0));
        let (Lane(addrs), Lane(domains), Lane(actions)) = (self.addrs, self.domains, self.actions);
        let mut action = 0;
        for way in 0..WAYS {
            let same = (addrs[way] ^ addr) | (domains[way] ^ domain);
            action |= actions[way] & u32::from(same == 0).wrapping_neg();
        }
        Packed(action)
    }

    /// The way that has the address, of whatever epoch.
    #[inline(never)]
    fn way(&self, domain: Domain, addr: Ipv4Addr) -> Option<usize> {
        (0..WAYS).find(|way| self.addrs.0[*way] == word(addr) && self.domains.0[*way] == u32::from(domain.0))
    }

    /// The way with this tag, of this epoch.
    fn tagged(&self, tag: &Tag, epoch: u32) -> Option<usize> {
        (0..WAYS).find(|way| {
            (self.addrs.0[*way], self.domains.0[*way], self.epochs.0[*way]) == (tag.addr, tag.domain, epoch)
        })
    }

    /// The first way of another epoch than this.
    #[inline(always)]
    fn stale(&self, epoch: u32) -> Option<usize> {
        self.epochs.0.iter().position(|e| *e != epoch)
    }
}

/// What stands for an IPv6 address in a set: there is room for 32 bits of its hash, and the rest is compared elsewhere.
struct Tag {
    place: usize,
    addr: u32,
    domain: u32,
}

/// The IPv6 addresses of a set: one cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Wide([u128; WAYS]);

/// Marks the domains of IPv6 addresses, so that no IPv4 address is taken for a tag.
const V6: u32 = 1 << 31;

/// Where in a cache an address is, or would be put: found once for all that is done there. Good until something is put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seat(u32);

impl Seat {
    /// In no cache.
    pub const NOWHERE: Seat = Seat(u32::MAX);

    #[inline(always)]
    const fn new(set: usize, way: usize) -> Self {
        Self((set * WAYS + way % WAYS) as u32)
    }

    #[inline(always)]
    const fn set(self) -> usize {
        self.0 as usize / WAYS
    }

    #[inline(always)]
    const fn way(self) -> usize {
        self.0 as usize % WAYS
    }
}

/// So that a [`Seat`] has room for the number of each, and one is left over.
const MOST_SETS: usize = 1 << 29;

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
/// The hash is keyed per boot, so that nobody outside can aim at one set. Addresses without a route are never inserted.
///
/// Who uses it [follows](Self::follow) each version of the tables first: what the version changed is struck out, one by
/// one, and all else goes on to hold. Of a version that changed too much for that, every entry of an older epoch reads as a
/// miss; whoever finds that it still holds renews it.
///
/// Both families share the sets. An IPv6 address takes a way there as an IPv4 address does, by a part of its hash, and all
/// of it is in a table beside them; that is memory of its own, a cache line more to look at, and not touched, and so
/// not even there, as long as there is no IPv6.
pub struct FlowCache {
    /// A power of two of them.
    sets: Box<[Set]>,
    /// The IPv6 address in each way of each set.
    wide: Box<[Wide]>,
    hasher: Keyed,
    /// The epoch that entries must have to be found.
    since: u32,
    /// The version up to which entries of that epoch hold.
    upto: u32,
}

impl core::fmt::Debug for FlowCache {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FlowCache").field("entries", &(self.sets.len() * WAYS)).finish_non_exhaustive()
    }
}

impl FlowCache {
    /// A cache of at least `entries` entries (rounded up to a power of two, at least 4 and at most 2³¹), 16 bytes each, and as much again once there
    /// is IPv6.
    pub fn new(entries: usize, hasher: Keyed) -> Self {
        let sets = entries.div_ceil(WAYS).min(MOST_SETS).next_power_of_two();
        let (sets, wide) = (vec![Set::default(); sets].into(), vec![Wide::default(); sets].into());
        // followed no version yet: nothing has the epoch of ways that were never written
        Self { sets, wide, hasher, since: u32::MAX, upto: 0 }
    }

    fn tag(&self, domain: Domain, addr: Ipv6Addr) -> Tag {
        let bits = addr.to_bits();
        let hash = self.hasher.hash(self.hasher.hash(bits as u64 ^ u64::from(domain.0) << 48) ^ (bits >> 64) as u64);
        Tag { place: self.set_of(hash), addr: (hash >> 32) as u32, domain: u32::from(domain.0) | V6 }
    }

    /// The remembered action for an IPv6 address.
    #[inline]
    pub fn get_v6(&self, domain: Domain, addr: Ipv6Addr) -> Packed {
        let tag = self.tag(domain, addr);
        let found = self.sets.get(tag.place).and_then(|set| Some((set, set.tagged(&tag, self.since)?)));
        match found {
            Some((set, way)) if self.wide[tag.place].0[way] == addr.to_bits() => Packed(set.actions.0[way]),
            _ => Packed::NONE,
        }
    }

    /// Remembers an action for an IPv6 address, unless it is none: in the place of what has the same tag, of an entry of
    /// another epoch, or of a pseudo-random one.
    pub fn put_v6(&mut self, domain: Domain, addr: Ipv6Addr, advice: Packed) {
        let epoch = self.since;
        let tag = self.tag(domain, addr);
        let (Some(set), Some(wide)) = (self.sets.get_mut(tag.place), self.wide.get_mut(tag.place)) else { return };
        if advice.is_none() {
            return;
        }
        let any = tag.addr as usize % WAYS;
        let way = set.tagged(&tag, epoch).or_else(|| set.stale(epoch)).unwrap_or(any);
        (set.addrs.0[way], set.domains.0[way], set.epochs.0[way], set.actions.0[way]) =
            (tag.addr, tag.domain, epoch, advice.0);
        wide.0[way] = addr.to_bits();
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
    pub fn get(&self, domain: Domain, addr: Ipv4Addr) -> Packed {
        self.sets.get(self.place(domain, addr)).map_or(Packed::NONE, |set| set.get(domain, addr, self.since))
    }

    /// A word of the set for an address. To ask for it is to have the set at hand when it is searched.
    #[inline(always)]
    pub fn touch(&self, domain: Domain, addr: Ipv4Addr) -> u32 {
        self.sets.get(self.place(domain, addr)).map_or(0, |set| set.epochs.0[0])
    }

    /// Where an address is, of whatever epoch, and what is remembered of it: an action, and the version that it was last known
    /// to hold in. If it is nowhere, where it would be put: in the place of an entry of another epoch if the set has one, of
    /// a pseudo-random one otherwise.
    #[inline(always)]
    pub fn seat(&self, domain: Domain, addr: Ipv4Addr) -> (Seat, Option<(Packed, u32)>) {
        let hash = self.hasher.hash(key(domain, addr));
        let place = self.set_of(hash);
        let Some(set) = self.sets.get(place) else { return (Seat::NOWHERE, None) };
        let (advice, any) = (set.older(domain, addr), (hash >> 62) as usize);
        if advice.is_none() {
            return (Seat::new(place, set.stale(self.since).unwrap_or(any)), None);
        }
        let way = set.way(domain, addr).unwrap_or(any) % WAYS;
        let epoch = set.epochs.0[way];
        (Seat::new(place, way), Some((advice, if epoch == self.since { self.upto } else { epoch })))
    }

    /// Says that what is remembered there holds in the version in use, too.
    #[inline]
    pub fn renew(&mut self, seat: Seat) {
        if let Some(set) = self.sets.get_mut(seat.set()) {
            set.epochs.0[seat.way()] = self.since;
        }
    }

    /// Remembers an action, unless it is none: one set is touched and nothing moves.
    #[inline(always)]
    pub fn put_at(&mut self, seat: Seat, domain: Domain, addr: Ipv4Addr, advice: Packed) {
        if let Some(set) = self.sets.get_mut(seat.set())
            && !advice.is_none()
        {
            let way = seat.way();
            (set.addrs.0[way], set.domains.0[way], set.epochs.0[way], set.actions.0[way]) =
                (word(addr), u32::from(domain.0), self.since, advice.0);
        }
    }

    /// Remembers an action in the [seat](Self::seat) of its address.
    #[inline]
    pub fn put(&mut self, domain: Domain, addr: Ipv4Addr, action: Action) {
        let (seat, _) = self.seat(domain, addr);
        self.put_at(seat, domain, addr, Some(action).into());
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

    /// As if all up to this version were new in it.
    fn begin(c: &mut FlowCache, epoch: u32) {
        (c.since, c.upto) = (epoch, epoch);
    }

    fn pod(n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0af4_0000 + n)
    }

    #[test]
    fn what_was_put_is_found_in_its_domain_and_epoch_only() {
        let mut c = cache(1024);
        assert_eq!(c.get(Domain(0), Ipv4Addr::UNSPECIFIED).unpack(), None, "an entry never written is no entry");
        begin(&mut c, 7);
        c.put(Domain(1), pod(1), Action::Encap(PeerId(9)));
        assert_eq!(c.get(Domain(1), pod(1)).unpack(), Some(Action::Encap(PeerId(9))));
        assert_eq!(c.get(Domain(2), pod(1)).unpack(), None);
        assert_eq!(c.get(Domain(1), pod(2)).unpack(), None);
        begin(&mut c, 8);
        assert_eq!(c.get(Domain(1), pod(1)).unpack(), None);
    }

    #[test]
    fn what_an_older_epoch_knew_can_be_renewed() {
        let mut c = cache(16);
        let older = |c: &FlowCache, domain, addr| c.seat(domain, addr).1;
        assert_eq!(older(&c, Domain(0), Ipv4Addr::UNSPECIFIED), None, "an entry never written is no entry");
        begin(&mut c, 7);
        c.put(Domain(1), pod(1), Action::Local);
        c.upto = 8;
        assert_eq!(older(&c, Domain(1), pod(1)), Some((Some(Action::Local).into(), 8)), "it holds up to here");
        begin(&mut c, 9);
        let (advice, then) = older(&c, Domain(1), pod(1)).unwrap();
        assert_eq!((advice.unpack(), then, older(&c, Domain(2), pod(1))), (Some(Action::Local), 7, None));
        assert!(c.get(Domain(1), pod(1)).is_none());
        c.renew(c.seat(Domain(1), pod(1)).0);
        assert!(c.get(Domain(1), pod(2)).is_none());
        assert_eq!(c.get(Domain(1), pod(1)).unpack(), Some(Action::Local));
        begin(&mut c, 7);
        assert!(c.get(Domain(1), pod(1)).is_none());
    }

    #[test]
    fn stale_entries_give_way_first() {
        let mut c = cache(4);
        begin(&mut c, 1);
        for n in 0..4 {
            c.put(Domain(0), pod(n), Action::Local);
        }
        begin(&mut c, 2);
        c.put(Domain(0), pod(9), Action::Local);
        assert!(c.get(Domain(0), pod(9)).unpack().is_some());
        begin(&mut c, 1);
        assert_eq!((0..4).filter(|&n| c.get(Domain(0), pod(n)).unpack().is_some()).count(), 3);
    }

    #[test]
    fn an_address_has_one_entry_whatever_is_done_there() {
        let mut c = cache(4);
        for n in 0..40 {
            let (addr, epoch) = (pod(n % 7), 1 + n / 9);
            begin(&mut c, epoch);
            let (seat, _) = c.seat(Domain(0), addr);
            let before: Vec<_> = (0..7).map(|n| c.get(Domain(0), pod(n))).collect();
            c.put_at(seat, Domain(0), addr, Packed::NONE);
            assert!((0..7).map(|n| c.get(Domain(0), pod(n))).eq(before), "no action leaves no trace");
            c.put_at(seat, Domain(0), addr, Some(Action::Encap(PeerId(n))).into());
            assert_eq!(c.get(Domain(0), addr).peer(), Some(PeerId(n)));
            assert_eq!(c.seat(Domain(0), addr), (seat, Some((Some(Action::Encap(PeerId(n))).into(), epoch))));
            let set = &c.sets[0];
            assert_eq!(set.addrs.0.iter().filter(|a| **a == word(addr)).count(), 1);
        }
    }

    #[test]
    fn families_share_the_sets_and_are_never_mistaken() {
        let mut c = cache(1024);
        begin(&mut c, 7);
        let pod6 = |n: u32| Ipv6Addr::from_bits(0xfd00_0244 << 96 | u128::from(n));
        let encap = |n| Packed::from(Some(Action::Encap(PeerId(n))));
        for n in 0..200 {
            c.put(Domain(1), pod(n), Action::Encap(PeerId(n)));
            c.put_v6(Domain(1), pod6(n), encap(1000 + n));
        }
        let four = (0..200).filter(|&n| c.get(Domain(1), pod(n)) == encap(n)).count();
        let six = (0..200).filter(|&n| c.get_v6(Domain(1), pod6(n)) == encap(1000 + n)).count();
        assert!(four > 190 && six > 190, "{four} {six}");
        for n in 0..200 {
            assert!(c.get_v6(Domain(2), pod6(n)).is_none());
            assert!(c.get_v6(Domain(1), pod6(n + 200)).is_none());
        }
        c.put_v6(Domain(1), pod6(3), encap(5));
        c.put_v6(Domain(1), pod6(9999), Packed::NONE);
        assert_eq!((c.get_v6(Domain(1), pod6(3)), c.get_v6(Domain(1), pod6(9999))), (encap(5), Packed::NONE));
        begin(&mut c, 8);
        assert!((0..200).all(|n| c.get_v6(Domain(1), pod6(n)).is_none()));
    }

    /// Whoever has the same 32 bits in the same set is told from the other by the rest.
    #[test]
    fn an_address_with_the_same_tag_is_another_address() {
        let mut c = cache(4);
        begin(&mut c, 1);
        let (domain, here) = (Domain(1), Ipv6Addr::LOCALHOST);
        c.put_v6(domain, here, Packed::from(Some(Action::Local)));
        let way = c.sets[0].tagged(&c.tag(domain, here), 1).unwrap();
        c.wide[0].0[way] ^= 1 << 77;
        assert!(c.get_v6(domain, here).is_none());
    }

    #[test]
    fn half_full_it_holds_nearly_all() {
        let mut c = cache(16_384);
        for n in 0..8_192 {
            c.put(Domain(3), pod(n), Action::Encap(PeerId(n)));
        }
        let found = (0..8_192).filter(|&n| c.get(Domain(3), pod(n)).unpack() == Some(Action::Encap(PeerId(n)))).count();
        assert!(found > 8_192 * 85 / 100, "{found}");
    }
}
