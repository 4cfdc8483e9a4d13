//! Mirror, wishes and schedule: facts and the time go in, asks and changes come out. No clock, no IO.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Instant;

use crate::wire::Mac;

use super::fact::{Fact, Link, Lookup};
use super::neighbour::{Neighbour, NeighbourKey, Poke, Verdict};
use super::{Changes, Hop, HopKey, HopState, LinkChange, LinkFacts, Unready};

/// From the first sign that routes changed to the lookups, so that a burst of signs costs one round.
pub(super) const DEBOUNCE: Duration = Duration::from_millis(30);
/// Routed hops are looked up this often even without a sign: path MTUs and some sysctls change silently.
pub(super) const AUDIT: Duration = Duration::from_secs(30);
/// How soon a lookup that failed for no reason of routing is repeated.
pub(super) const AGAIN: Duration = Duration::from_millis(200);
/// The longest rest between two rounds of lookups.
const LONGEST_REST: Duration = Duration::from_millis(250);

/// One thing to ask the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    /// Look the route up; answer with [`Brain::looked_up`].
    Route { key: HopKey, dst: IpAddr, from: Option<IpAddr> },
    /// Poke a neighbour.
    Poke(NeighbourKey, Poke),
}

/// One wanted hop.
#[derive(Clone, Debug, Default)]
struct Wish {
    lookup: Option<Lookup>,
    /// The route before, which serves until the neighbour the new one leads to has answered, or has not.
    before: Option<Lookup>,
    told: Option<HopState>,
}

/// The round of route lookups.
#[derive(Debug)]
struct Round {
    queue: VecDeque<HopKey>,
    began: Instant,
    /// The next round begins then.
    next: Option<Instant>,
    /// But not before this: a round that took long rests as long.
    rest_until: Instant,
}

/// What is known, wanted and due.
#[derive(Debug)]
pub(super) struct Brain {
    ports: BTreeSet<u32>,
    links: HashMap<u32, LinkFacts>,
    links_told: BTreeMap<u32, LinkFacts>,
    /// The host's own addresses, on ports or not, each with one of the links it is on.
    local: HashMap<IpAddr, u32>,
    local_told: HashSet<IpAddr>,
    /// `local` may not be as it was told.
    local_changed: bool,
    neighbours: HashMap<NeighbourKey, Neighbour>,
    wishes: HashMap<HopKey, Wish>,
    needed: HashSet<NeighbourKey>,
    round: Round,
    /// When a needed neighbour is next due; `None` when that must be found out.
    due: Option<Instant>,
    /// Something was learnt that may have changed a state.
    news: bool,
    /// `needed` may be out of date.
    needs_changed: bool,
}

impl Brain {
    pub(super) fn new(ports: &[u32], now: Instant) -> Self {
        Self {
            ports: ports.iter().copied().collect(),
            links: HashMap::new(),
            links_told: BTreeMap::new(),
            local: HashMap::new(),
            local_told: HashSet::new(),
            local_changed: false,
            neighbours: HashMap::new(),
            wishes: HashMap::new(),
            needed: HashSet::new(),
            round: Round { queue: VecDeque::new(), began: now, next: Some(now + AUDIT), rest_until: now },
            due: None,
            news: false,
            needs_changed: false,
        }
    }

    /// The facts of a link.
    pub(super) fn link(&self, ifindex: u32) -> Option<&LinkFacts> {
        self.links.get(&ifindex)
    }

    /// The host's own addresses.
    pub(super) fn local(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.local.keys().copied()
    }

    /// Takes the ports' present facts and the host's present addresses as told.
    pub(super) fn links_are_told(&mut self) {
        self.addresses_changed();
        self.links_told = self.ports.iter().filter_map(|i| Some((*i, self.links.get(i)?.clone()))).collect();
    }

    /// Replaces the set of wanted hops. New ones are looked up and resolved first of all.
    pub(super) fn watch(&mut self, keys: impl IntoIterator<Item = HopKey>, now: Instant) {
        if !self.is_busy() {
            self.round.began = now;
        }
        let mut old = std::mem::take(&mut self.wishes);
        for key in keys {
            let wish = old.remove(&key).unwrap_or_else(|| {
                if matches!(key, HopKey::Routed { .. }) && !self.wishes.contains_key(&key) {
                    self.round.queue.push_front(key);
                }
                Wish::default()
            });
            self.wishes.entry(key).or_insert(wish);
        }
        self.needs_changed = true;
        self.news = true;
    }

    /// The kernel said something.
    pub(super) fn hear(&mut self, fact: Fact, now: Instant) {
        match fact {
            Fact::Link(link) => self.link_is(link, now),
            Fact::LinkGone(ifindex) => self.link_gone(ifindex, now),
            Fact::Address { ifindex, addr, len } => self.address(ifindex, addr, len, true, now),
            Fact::AddressGone { ifindex, addr, len } => self.address(ifindex, addr, len, false, now),
            Fact::Neighbour(key, entry) if self.ports.contains(&key.ifindex) => {
                self.neighbours.entry(key).or_default().entry_is(entry, now);
                self.neighbour_news(key);
            }
            Fact::NeighbourGone(key) if self.ports.contains(&key.ifindex) => self.neighbour_gone(key, now),
            Fact::Neighbour(..) | Fact::NeighbourGone(_) => {}
            Fact::Routes => self.routes_changed(now),
        }
    }

    /// The kernel listed all there is, after announcements were lost: what is not in the lists is gone.
    pub(super) fn hear_all(&mut self, facts: Vec<Fact>, now: Instant) {
        let (mut links, mut neighbours) = (HashSet::new(), HashSet::new());
        for fact in &facts {
            match fact {
                Fact::Link(link) => drop(links.insert(link.ifindex)),
                Fact::Neighbour(key, _) => drop(neighbours.insert(*key)),
                _ => {}
            }
        }
        let vanished: Vec<u32> = self.links.keys().filter(|i| !links.contains(i)).copied().collect();
        vanished.into_iter().for_each(|ifindex| self.link_gone(ifindex, now));
        let in_kernel = self.neighbours.iter().filter(|(_, n)| n.is_in_kernel()).map(|(key, _)| *key);
        let gone: Vec<NeighbourKey> = in_kernel.filter(|key| !neighbours.contains(key)).collect();
        gone.into_iter().for_each(|key| self.neighbour_gone(key, now));
        self.local.clear();
        self.local_changed = true;
        self.links.values_mut().for_each(|link| link.addresses.clear());
        facts.into_iter().for_each(|fact| self.hear(fact, now));
        self.routes_changed(now);
    }

    fn link_is(&mut self, link: Link, now: Instant) {
        let ifindex = link.ifindex;
        let facts = self.links.entry(ifindex).or_insert_with(|| LinkFacts {
            ifindex,
            name: String::new(),
            mac: Mac::ZERO,
            mtu: 0,
            up: false,
            addresses: Vec::new(),
        });
        let came_up = link.up && !facts.up;
        facts.up = link.up;
        facts.name = link.name.unwrap_or_else(|| std::mem::take(&mut facts.name));
        facts.mac = link.mac.unwrap_or(facts.mac);
        facts.mtu = link.mtu.unwrap_or(facts.mtu);
        if came_up {
            self.neighbours.iter_mut().filter(|(key, _)| key.ifindex == ifindex).for_each(|(_, n)| n.hurry());
            self.due = None;
        }
        self.news = true;
        // The kernel withdraws routes of a link that goes down without a word about each (fib_sync_down_dev).
        self.routes_changed(now);
    }

    fn link_gone(&mut self, ifindex: u32, now: Instant) {
        self.links.remove(&ifindex);
        self.local.retain(|_, on| *on != ifindex);
        self.local_changed = true;
        self.neighbours.retain(|key, _| key.ifindex != ifindex);
        self.due = None;
        self.news = true;
        self.routes_changed(now);
    }

    fn address(&mut self, ifindex: u32, addr: IpAddr, len: u8, present: bool, now: Instant) {
        if let Some(link) = self.links.get_mut(&ifindex) {
            match (link.addresses.binary_search(&(addr, len)), present) {
                (Err(at), true) => link.addresses.insert(at, (addr, len)),
                (Ok(at), false) => drop(link.addresses.remove(at)),
                _ => {}
            }
        }
        if present {
            self.local.insert(addr, ifindex);
        } else {
            let elsewhere = self.links.values().find(|l| l.addresses.iter().any(|(a, _)| *a == addr));
            match elsewhere.map(|link| link.ifindex) {
                Some(other) => self.local.insert(addr, other),
                None => self.local.remove(&addr),
            };
        }
        self.local_changed = true;
        self.news = true;
        self.routes_changed(now);
    }

    fn neighbour_gone(&mut self, key: NeighbourKey, now: Instant) {
        let wanted = self.needed.contains(&key);
        match self.neighbours.get_mut(&key) {
            Some(neighbour) if wanted => neighbour.entry_gone(now),
            _ => drop(self.neighbours.remove(&key)),
        }
        self.neighbour_news(key);
    }

    fn neighbour_news(&mut self, key: NeighbourKey) {
        if self.needed.contains(&key) {
            self.news = true;
            self.due = None;
        }
    }

    fn routes_changed(&mut self, now: Instant) {
        let at = now + DEBOUNCE;
        self.round.next = Some(self.round.next.map_or(at, |next| next.min(at)));
    }

    /// The answer to [`Ask::Route`]; `None` when there was none for reasons other than routing.
    pub(super) fn looked_up(&mut self, key: HopKey, lookup: Option<Lookup>, now: Instant) {
        let Some(lookup) = lookup else {
            let at = now + AGAIN;
            self.round.next = Some(self.round.next.map_or(at, |next| next.min(at)));
            return;
        };
        let Some(old) = self.wishes.get(&key).map(|wish| wish.lookup).filter(|old| *old != Some(lookup)) else {
            return;
        };
        let served = self.by_route(&key, old).is_ok();
        if let Some(wish) = self.wishes.get_mut(&key) {
            // while routes change faster than neighbours answer, the last that served goes on serving
            wish.before = if served { old } else { wish.before.take() };
            wish.lookup = Some(lookup);
            self.needs_changed = true;
            self.news = true;
        }
    }

    /// What to ask now, at most `budget` lookups and the pokes that are due. Empty when nothing is.
    pub(super) fn asks(&mut self, now: Instant, budget: usize) -> Vec<Ask> {
        self.begin_round_if_due(now);
        let was_busy = self.is_busy();
        let mut asks = Vec::new();
        while asks.len() < budget
            && let Some(key) = self.round.queue.pop_front()
        {
            if let (HopKey::Routed { dst, from }, true) = (key, self.wishes.contains_key(&key)) {
                let from = self.local.contains_key(&from).then_some(from);
                asks.push(Ask::Route { key, dst, from });
            }
        }
        if was_busy && !self.is_busy() {
            self.round.rest_until = now + now.saturating_duration_since(self.round.began).min(LONGEST_REST);
        }
        self.pokes(now, &mut asks);
        asks
    }

    /// True while lookups are queued.
    pub(super) fn is_busy(&self) -> bool {
        !self.round.queue.is_empty()
    }

    fn begin_round_if_due(&mut self, now: Instant) {
        if self.is_busy() {
            return;
        }
        if self.round.next.is_some_and(|next| next.max(self.round.rest_until) <= now) {
            let routed = self.wishes.keys().filter(|key| matches!(key, HopKey::Routed { .. }));
            self.round.queue = routed.copied().collect();
            self.round.began = now;
            self.round.next = Some(now + AUDIT);
        }
    }

    fn pokes(&mut self, now: Instant, asks: &mut Vec<Ask>) {
        self.refresh_needed();
        if self.due.is_some_and(|due| now < due) {
            return;
        }
        let mut soonest = now + AUDIT;
        for key in &self.needed {
            if !self.links.get(&key.ifindex).is_some_and(|link| link.up) {
                continue; // its coming up is announced
            }
            let neighbour = self.neighbours.entry(*key).or_default();
            if let Some((None, poke)) = neighbour.due() {
                neighbour.poked(now);
                asks.push(Ask::Poke(*key, poke));
            }
            if let Some((Some(at), poke)) = neighbour.due() {
                if at <= now {
                    neighbour.poked(now);
                    asks.push(Ask::Poke(*key, poke));
                } else {
                    soonest = soonest.min(at);
                }
            }
        }
        self.due = Some(soonest);
    }

    fn refresh_needed(&mut self) {
        if !std::mem::take(&mut self.needs_changed) {
            return;
        }
        let ports = &self.ports;
        let lookups = self.wishes.iter().flat_map(|(key, w)| [(key, w.lookup), (key, w.before)]);
        let keys = lookups.filter_map(|(key, lookup)| neighbour_of(key, lookup));
        self.needed = keys.filter(|(key, _)| ports.contains(&key.ifindex)).map(|(key, _)| key).collect();
        // What is kept of a neighbour beyond the kernel's own entry is kept for those who need it.
        let needed = &self.needed;
        self.neighbours.retain(|key, neighbour| neighbour.is_in_kernel() || needed.contains(key));
        self.due = None;
    }

    /// When there will be something to ask, should nothing be heard until then.
    pub(super) fn wake(&self, now: Instant) -> Instant {
        let round = self.round.next.map_or(now + AUDIT, |next| next.max(self.round.rest_until));
        round.min(self.due.unwrap_or(now))
    }

    /// The state of a hop, watched or not; one that is not watched is [`Unready::Resolving`] unless more is known.
    pub(super) fn state(&self, key: &HopKey) -> HopState {
        let (lookup, before) = self.wishes.get(key).map_or((None, None), |wish| (wish.lookup, wish.before));
        match self.by_route(key, lookup) {
            Err(Unready::Resolving) if before.is_some() => self.by_route(key, before).map_err(|_| Unready::Resolving),
            state => state,
        }
    }

    fn by_route(&self, key: &HopKey, lookup: Option<Lookup>) -> HopState {
        match (key, lookup) {
            (HopKey::Routed { .. }, Some(Lookup::NoRoute)) => Err(Unready::NoRoute),
            (HopKey::Routed { .. }, Some(Lookup::NotUnicast)) => Err(Unready::NotUnicast),
            _ => match neighbour_of(key, lookup) {
                Some((neighbour, mtu)) => self.hop(neighbour, mtu),
                None => Err(Unready::Resolving),
            },
        }
    }

    fn hop(&self, key: NeighbourKey, mtu: Option<u32>) -> HopState {
        let NeighbourKey { ifindex, addr } = key;
        let link = self.links.get(&ifindex);
        if !self.ports.contains(&ifindex) {
            return Err(Unready::NotAPort { ifindex, name: link.map(|link| link.name.clone()) });
        }
        let Some(link) = link.filter(|link| link.up) else { return Err(Unready::LinkDown) };
        if addr.is_multicast() || addr.is_unspecified() {
            return Err(Unready::NotUnicast);
        }
        match self.neighbours.get(&key).map(Neighbour::verdict).unwrap_or_default() {
            // The kernel maps a subnet's broadcast address to this.
            Verdict::Known(Mac::BROADCAST) => Err(Unready::NotUnicast),
            Verdict::Known(mac) => Ok(Hop {
                ifindex,
                gateway: addr,
                mac,
                source_mac: link.mac,
                mtu: mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)),
            }),
            Verdict::Unknown => Err(Unready::Resolving),
            Verdict::Failed => Err(Unready::Unreachable),
        }
    }

    /// What is not as last told; it counts as told from here on.
    pub(super) fn changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        if !std::mem::take(&mut self.news) {
            return changes;
        }
        self.forget_old_routes();
        for (key, wish) in &self.wishes {
            if matches!(key, HopKey::Routed { .. }) && wish.lookup.is_none() {
                continue; // its first lookup is queued
            }
            let state = self.state(key);
            if wish.told.as_ref() != Some(&state) {
                changes.hops.push((*key, state));
            }
        }
        for (key, state) in &changes.hops {
            if let Some(wish) = self.wishes.get_mut(key) {
                wish.told = Some(state.clone());
            }
        }
        self.link_changes(&mut changes.links);
        changes.addresses = self.addresses_changed();
        changes
    }

    /// Whether the host's own addresses are others than told; they count as told from here on.
    fn addresses_changed(&mut self) -> bool {
        if !std::mem::take(&mut self.local_changed) {
            return false;
        }
        let now: HashSet<IpAddr> = self.local.keys().copied().collect();
        let changed = now != self.local_told;
        self.local_told = now;
        changed
    }

    /// The route before is done with once it is known what the present one leads to.
    fn forget_old_routes(&mut self) {
        let waiting = |(key, wish): (&HopKey, &Wish)| wish.before.is_some().then_some((*key, wish.lookup));
        let waiting: Vec<_> = self.wishes.iter().filter_map(waiting).collect();
        for (key, lookup) in waiting {
            if self.by_route(&key, lookup) != Err(Unready::Resolving)
                && let Some(wish) = self.wishes.get_mut(&key)
            {
                wish.before = None;
                self.needs_changed = true;
            }
        }
    }

    fn link_changes(&mut self, out: &mut Vec<LinkChange>) {
        for ifindex in &self.ports {
            match (self.links.get(ifindex), self.links_told.get(ifindex)) {
                (Some(now), told) if told != Some(now) => {
                    out.push(LinkChange::Changed(now.clone()));
                    self.links_told.insert(*ifindex, now.clone());
                }
                (None, Some(told)) => {
                    out.push(LinkChange::Vanished { ifindex: *ifindex, name: told.name.clone() });
                    self.links_told.remove(ifindex);
                }
                _ => {}
            }
        }
    }
}

/// The neighbour a hop leads to, and its route's MTU.
fn neighbour_of(key: &HopKey, lookup: Option<Lookup>) -> Option<(NeighbourKey, Option<u32>)> {
    match (*key, lookup) {
        (HopKey::Attached { ifindex, addr }, _) => Some((NeighbourKey { ifindex, addr }, None)),
        (HopKey::Routed { .. }, Some(Lookup::Via { ifindex, gateway, mtu })) => {
            Some((NeighbourKey { ifindex, addr: gateway }, mtu))
        }
        (HopKey::Routed { .. }, _) => None,
    }
}
