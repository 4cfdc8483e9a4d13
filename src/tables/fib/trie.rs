//! The trie below a [`Fib`](super::Fib): 8-bit strides, each slot with its entry and its child in one 16-byte word.
//!
//! A slot says of what form its child is, so that a lookup touches one line of a node, and nothing of a node that is
//! not there. Few slots differ in most nodes of a scattered table: those are kept as [`Runs`].

use core::mem;
use core::ops::Range;
use std::sync::Arc;

use super::entry::{Entry, stride_bits};
use super::pair::Pair;
use super::runs::Runs;

/// A leaf of one cache line with the counts of its [`Arc`]: three prefixes apart from each other, or more side by side.
type FewEntries = Runs<Entry, 8>;
/// With 32, a table of random prefixes takes 40 % less room, and a lookup 40 % longer.
type FewSlots = Runs<Slot, 16>;

/// Levels whose nodes with children are always full: they are few, and every lookup crosses them.
const DENSE: usize = 2;

/// Lookups under way at once, as many as a core has memory reads.
pub(super) const LANES: usize = 32;

/// The longest prefix that ends in this stride, and what is below.
#[derive(Clone, Debug)]
enum Slot {
    /// No node. Up to two prefixes that end in the next stride are in the slot itself (a [`Pair`], in pieces, for else it
    /// had no room), where a lookup has them at hand. Slots without any have the same form, for in large tables a branch would
    /// be guessed wrong as often as right.
    End(Entry, [u8; 2], [Entry; 2]),
    /// A single prefix, more than one stride away: where IPv6 would be a chain of nodes.
    Tail(Entry, Arc<Route>),
    /// More prefixes that end in the next stride, a few.
    Few(Entry, Arc<FewEntries>),
    /// The same, any number.
    Leaf(Entry, Arc<[Entry; 256]>),
    /// A node with children, a few.
    Sparse(Entry, Arc<FewSlots>),
    /// The same, any number.
    Full(Entry, Arc<[Slot; 256]>),
}

const _: () = assert!(size_of::<Slot>() == 16, "a slot does not straddle cache lines");

impl Default for Slot {
    fn default() -> Self {
        Slot::end(Entry::NONE, Pair::NONE)
    }
}

/// A prefix and its entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    /// The address, its first octet highest in either family.
    pub(super) key: u128,
    pub(super) len: u8,
    pub(super) entry: Entry,
}

impl Route {
    fn octet(&self, depth: usize) -> usize {
        usize::from((self.key >> (120 - 8 * depth)) as u8)
    }

    /// True if the stride at `depth` is its last.
    fn ends_at(&self, depth: usize) -> bool {
        usize::from(self.len) <= 8 * (depth + 1)
    }

    /// The slots it covers in its last stride.
    fn slots(&self, depth: usize) -> Range<usize> {
        let first = self.octet(depth);
        first..first + (1 << (8 - stride_bits(self.len)))
    }

    fn is_of(&self, other: &Route) -> bool {
        (self.key, self.len) == (other.key, other.len)
    }

    #[inline]
    fn holds(&self, key: u128) -> bool {
        (self.key ^ key).checked_shr(128 - u32::from(self.len)).unwrap_or(0) == 0
    }
}

/// What is done to the entries of a prefix.
#[derive(Clone, Copy)]
enum Change<'r> {
    /// The route comes, or has another entry.
    Set(&'r Route),
    /// The prefix goes; the entry of the route is its heir's.
    Unset(&'r Route),
}

impl Change<'_> {
    fn route(&self) -> &Route {
        match self {
            Change::Set(route) | Change::Unset(route) => route,
        }
    }

    fn apply(&self, entry: &mut Entry) {
        let bits = stride_bits(self.route().len);
        let concerned = match self {
            Change::Set(_) => entry.stride_bits() <= bits, // no more specific
            Change::Unset(_) => entry.stride_bits() == bits,
        };
        if concerned {
            *entry = self.route().entry;
        }
    }
}

impl Slot {
    #[inline]
    fn entry(&self) -> Entry {
        let (Slot::End(e, ..)
        | Slot::Tail(e, _)
        | Slot::Few(e, _)
        | Slot::Leaf(e, _)
        | Slot::Sparse(e, _)
        | Slot::Full(e, _)) = self;
        *e
    }

    fn entry_mut(&mut self) -> &mut Entry {
        let (Slot::End(e, ..)
        | Slot::Tail(e, _)
        | Slot::Few(e, _)
        | Slot::Leaf(e, _)
        | Slot::Sparse(e, _)
        | Slot::Full(e, _)) = self;
        e
    }

    fn has_child(&self) -> bool {
        self.pair().is_none_or(|pair| !pair.is_none())
    }

    fn end(entry: Entry, pair: Pair) -> Self {
        Slot::End(entry, pair.firsts, pair.entries)
    }

    /// The prefixes in the slot itself; `None` if there is a node.
    fn pair(&self) -> Option<Pair> {
        if let Slot::End(_, firsts, entries) = *self { Some(Pair { firsts, entries }) } else { None }
    }

    /// True if one run may stand for both.
    fn same(&self, other: &Slot) -> bool {
        !self.has_child() && !other.has_child() && self.entry() == other.entry()
    }

    /// Changes what is below this slot, where the node is at `depth`.
    fn change(&mut self, change: Change<'_>, depth: usize) {
        let route = change.route();
        let (ends, octet) = (route.ends_at(depth), route.octet(depth));
        match self {
            Slot::Full(_, all) if ends => change_slots(Arc::make_mut(all), change, depth),
            Slot::Full(_, all) => Arc::make_mut(all)[octet].change(change, depth + 1),
            Slot::Sparse(_, few) if !ends && few.get(octet as u8).has_child() => {
                Arc::make_mut(few).get_mut(octet as u8).change(change, depth + 1);
            }
            Slot::Leaf(_, all) if ends => change_entries(Arc::make_mut(all), change, depth),
            Slot::End(..) | Slot::Few(..) if ends => return self.change_few(change, depth),
            Slot::End(..) if !self.has_child() => return self.put_tail(change),
            Slot::Tail(_, tail) if tail.is_of(route) => return self.put_tail(change),
            _ => {
                let mut all = self.slots(depth);
                match ends {
                    true => change_slots(&mut all, change, depth),
                    false => all[octet].change(change, depth + 1),
                }
                return self.put_slots(all, depth);
            }
        }
        if let Change::Unset(_) = change {
            self.shrink(depth);
        }
    }

    /// Changes entries of a node that has few of them, or is not there yet.
    fn change_few(&mut self, change: Change<'_>, depth: usize) {
        let (octets, apply) = (change.route().slots(depth), |entry: &mut Entry| change.apply(entry));
        let edited = match self {
            Slot::Few(_, few) => few.edited(octets, apply),
            _ => self.pair().and_then(|pair| pair.runs()).and_then(|few: FewEntries| few.edited(octets, apply)),
        };
        match (edited, self) {
            (Some(edited), slot) if let Some(pair) = Pair::of(&edited) => *slot = Slot::end(slot.entry(), pair),
            (Some(edited), Slot::Few(_, few)) => match Arc::get_mut(few) {
                Some(own) => *own = edited,
                None => *few = Arc::new(edited),
            },
            (Some(edited), slot) => *slot = Slot::Few(slot.entry(), Arc::new(edited)),
            (None, slot) => {
                let mut all = slot.entries();
                change_entries(&mut all, change, depth);
                slot.put_entries(&all);
            }
        }
    }

    /// The entries of a node without children.
    fn entries(&self) -> [Entry; 256] {
        match self {
            Slot::Few(_, few) => few.spread(),
            Slot::Leaf(_, all) => **all,
            _ => self.pair().unwrap_or_default().spread(),
        }
    }

    /// The slots of any node.
    fn slots(&self, depth: usize) -> [Slot; 256] {
        match self {
            Slot::Full(_, all) => (**all).clone(),
            Slot::Sparse(_, few) => few.spread(),
            Slot::Tail(_, tail) => {
                let mut all = core::array::from_fn(|_| Slot::default());
                all[tail.octet(depth)].change(Change::Set(tail), depth + 1);
                all
            }
            _ => self.entries().map(|entry| Slot::end(entry, Pair::NONE)),
        }
    }

    fn put_tail(&mut self, change: Change<'_>) {
        *self = match change {
            Change::Set(route) => Slot::Tail(self.entry(), Arc::new(*route)),
            Change::Unset(_) => Slot::end(self.entry(), Pair::NONE),
        };
    }

    /// Puts a node without children below this slot, in the least form that holds it.
    fn put_entries(&mut self, all: &[Entry; 256]) {
        *self = match FewEntries::of(all, Entry::eq) {
            Some(few) => match Pair::of(&few) {
                Some(pair) => Slot::end(self.entry(), pair),
                None => Slot::Few(self.entry(), Arc::new(few)),
            },
            None => Slot::Leaf(self.entry(), Arc::new(*all)),
        };
    }

    /// Puts a node below this slot, in the least form that holds it.
    fn put_slots(&mut self, all: [Slot; 256], depth: usize) {
        if !all.iter().any(Slot::has_child) {
            return self.put_entries(&all.map(|slot| slot.entry()));
        }
        let few = if depth < DENSE { None } else { FewSlots::of(&all, Slot::same) };
        *self = match few {
            Some(few) => Slot::Sparse(self.entry(), Arc::new(few)),
            None => Slot::Full(self.entry(), Arc::new(all)),
        };
    }

    /// Gives the node below this slot a lesser form if there is one.
    fn shrink(&mut self, depth: usize) {
        match self {
            Slot::Leaf(_, all) if FewEntries::of(all, Entry::eq).is_some() => self.put_entries(&self.entries()),
            Slot::Sparse(_, few) if !few.values().iter().any(Slot::has_child) => {
                self.put_slots(self.slots(depth), depth)
            }
            Slot::Full(_, all) => {
                let runs = 1 + all.windows(2).filter(|w| !w[0].same(&w[1])).count();
                // not at once, lest a route that comes and goes copies the node each time
                let is_sparse = depth >= DENSE && runs <= 12;
                if is_sparse || !all.iter().any(Slot::has_child) {
                    self.put_slots(self.slots(depth), depth);
                }
            }
            _ => {}
        }
    }

    /// Bytes of everything below, with the counts of each [`Arc`].
    fn bytes(&self) -> usize {
        const COUNTS: usize = 2 * size_of::<usize>();
        let below = |slots: &[Slot]| slots.iter().map(Slot::bytes).sum::<usize>();
        match self {
            Slot::End(..) => 0,
            Slot::Tail(_, tail) => COUNTS + size_of_val(&**tail),
            Slot::Few(_, few) => COUNTS + size_of_val(&**few),
            Slot::Leaf(_, all) => COUNTS + size_of_val(&**all),
            Slot::Sparse(_, few) => COUNTS + size_of_val(&**few) + below(few.values()),
            Slot::Full(_, all) => COUNTS + size_of_val(&**all) + below(&**all),
        }
    }
}

fn change_entries(all: &mut [Entry; 256], change: Change<'_>, depth: usize) {
    all[change.route().slots(depth)].iter_mut().for_each(|entry| change.apply(entry));
}

fn change_slots(all: &mut [Slot; 256], change: Change<'_>, depth: usize) {
    all[change.route().slots(depth)].iter_mut().for_each(|slot| change.apply(slot.entry_mut()));
}

impl Slot {
    /// What the next octet of an address leads to: the best entry then, if `best` was that before, and the slot that
    /// leads further, if one does. `GUESS` says that slots without prefixes are told by a branch: cheap where it is guessed
    /// right, as in tables that are small.
    #[inline(always)]
    fn step<const OCTETS: usize, const GUESS: bool>(
        &self,
        depth: usize,
        octets: &[u8; OCTETS],
        best: Entry,
    ) -> (Entry, Option<&Slot>) {
        let octet = octets[depth];
        let place = usize::from(octet);
        let next = match self {
            Slot::End(_, _, [Entry::NONE, _]) if GUESS => return (best, None),
            Slot::End(_, firsts, entries) => {
                let pair = Pair { firsts: *firsts, entries: *entries };
                return (pair.get(octet).or(best), None);
            }
            Slot::Full(_, all) => &all[place],
            Slot::Leaf(_, all) => return (all[place].or(best), None),
            Slot::Few(_, few) => return (few.get(octet).or(best), None),
            Slot::Sparse(_, few) => few.get(octet),
            Slot::Tail(_, tail) => return (if tail.holds(key(octets)) { tail.entry } else { best }, None),
        };
        (next.entry().or(best), Some(next))
    }
}

/// A lookup under way.
#[derive(Clone, Copy)]
struct Lane<'t> {
    slot: &'t Slot,
    /// Which of the lookups it is.
    at: usize,
}

/// An address as [`Route`] has it.
#[inline]
fn key<const OCTETS: usize>(octets: &[u8; OCTETS]) -> u128 {
    let mut key = [0; 16];
    key[..OCTETS].copy_from_slice(octets);
    u128::from_be_bytes(key)
}

/// One version of the routes of a family.
#[derive(Clone, Debug)]
pub(super) struct Trie {
    root: Arc<[Slot; 256]>,
}

impl Trie {
    pub(super) fn new() -> Self {
        Self { root: Arc::new(core::array::from_fn(|_| Slot::default())) }
    }

    /// The entry of the longest prefix that holds an address.
    #[inline(always)]
    pub(super) fn lookup<const OCTETS: usize>(&self, octets: &[u8; OCTETS]) -> Entry {
        let mut slot = &self.root[usize::from(octets[0])];
        let mut best = slot.entry();
        for depth in 1..OCTETS {
            let (entry, next) = slot.step::<OCTETS, true>(depth, octets, best);
            best = entry;
            match next {
                Some(next) => slot = next,
                None => break,
            }
        }
        best
    }

    /// [`lookup`](Self::lookup) for up to [`LANES`] addresses, level by level: memory is read for all of them at once,
    /// and a branch guessed wrong finds what it depends on at hand.
    #[inline]
    pub(super) fn lookup_many<const OCTETS: usize>(&self, asked: &[[u8; OCTETS]]) -> [Entry; LANES] {
        let mut found = [Entry::NONE; LANES];
        let mut lanes = [Lane { slot: &self.root[0], at: 0 }; LANES];
        let mut under_way = 0;
        for (at, octets) in asked.iter().enumerate().take(LANES) {
            let slot = &self.root[usize::from(octets[0])];
            (lanes[at], found[at]) = (Lane { slot, at }, slot.entry());
            under_way += 1;
        }
        for depth in 1..OCTETS {
            for n in 0..mem::take(&mut under_way) {
                let Lane { slot, at } = lanes[n];
                let (entry, next) = slot.step::<OCTETS, false>(depth, &asked[at], found[at]);
                found[at] = entry;
                if let Some(slot) = next {
                    lanes[under_way] = Lane { slot, at };
                    under_way += 1;
                }
            }
        }
        found
    }

    /// Adds a route, or gives it another entry.
    pub(super) fn set(&mut self, route: &Route) {
        self.change(Change::Set(route));
    }

    /// Takes a prefix out. The entry is that of its heir: the next shorter prefix that ends in the same stride.
    pub(super) fn unset(&mut self, route: &Route) {
        self.change(Change::Unset(route));
    }

    fn change(&mut self, change: Change<'_>) {
        let (route, root) = (change.route(), Arc::make_mut(&mut self.root));
        match route.ends_at(0) {
            true => change_slots(root, change, 0),
            false => root[route.octet(0)].change(change, 1),
        }
    }

    /// Bytes of its nodes. Nodes shared with other versions count in each.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.root) + self.root.iter().map(Slot::bytes).sum::<usize>()
    }
}
