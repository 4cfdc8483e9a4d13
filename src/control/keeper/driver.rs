//! [`Keeper`]: carries facts and asks between the sockets and the brain.

use core::net::IpAddr;
use core::time::Duration;
use std::time::Instant;

use rtnetlink::MulticastGroup;

use super::super::netlink::{Answered, AskError, Asker, Group, Listener, Message};
use super::ask;
use super::brain::{Ask, Brain};
use super::fact::{self, Fact, Lookup};
use super::neighbour::{NeighbourKey, Poke};
use super::{Changes, HopKey, HopState, KeeperError, LinkFacts};

/// What the keeper subscribes to.
const GROUPS: [Group; 9] = [
    (MulticastGroup::Link, "link"),
    (MulticastGroup::Neigh, "neighbour"),
    (MulticastGroup::Ipv4Ifaddr, "IPv4 address"),
    (MulticastGroup::Ipv6Ifaddr, "IPv6 address"),
    (MulticastGroup::Ipv4Route, "IPv4 route"),
    (MulticastGroup::Ipv6Route, "IPv6 route"),
    (MulticastGroup::Ipv4Rule, "IPv4 rule"),
    (MulticastGroup::Ipv6Rule, "IPv6 rule"),
    (MulticastGroup::Nexthop, "next hop"),
];

/// Lookups between two looks at the announcements; tens of microseconds each at worst.
const BUDGET: usize = 512;
/// How long changes are held back to be told together while a round of lookups goes on.
const TOGETHER: Duration = Duration::from_millis(50);
/// Attempts at a listing that does not change under the kernel's hands.
const ATTEMPTS: usize = 4;
/// How soon a listing that failed is tried again.
const LIST_AGAIN: Duration = Duration::from_millis(200);

/// What may be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Receive buffer for the kernel's announcements, in bytes. One announcement takes about 1 KiB of it; when it
    /// overruns, everything is listed anew.
    pub receive_buffer: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { receive_buffer: 8 << 20 }
    }
}

/// Keeps next hops resolved.
///
/// It has no task of its own: work is done inside [`watch`](Self::watch) and while [`changed`](Self::changed) is
/// awaited, so a caller should come back to that within tens of milliseconds. What the kernel announces meanwhile
/// waits in the receive buffer.
pub struct Keeper {
    brain: Brain,
    listener: Listener,
    asker: Asker,
    /// Announcements were lost; list everything again, not before this.
    relist: Option<Instant>,
    overruns: u64,
}

impl Keeper {
    /// Subscribes, then lists what there is, for the interfaces with the kernel indices `ports`.
    ///
    /// # Errors
    /// When netlink refuses, or one of the ports does not exist.
    ///
    /// # Panics
    /// Outside a tokio runtime with IO and time enabled.
    pub async fn start(ports: &[u32]) -> Result<Self, KeeperError> {
        Self::start_with(ports, Settings::default()).await
    }

    /// [`start`](Self::start) with other settings.
    ///
    /// # Errors
    /// When netlink refuses, or one of the ports does not exist.
    ///
    /// # Panics
    /// Outside a tokio runtime with IO and time enabled.
    #[allow(clippy::unused_async)] // it must run within a runtime, and may come to wait one day
    pub async fn start_with(ports: &[u32], settings: Settings) -> Result<Self, KeeperError> {
        let now = Instant::now();
        let listener = Listener::subscribe(&GROUPS, settings.receive_buffer)?;
        let mut keeper =
            Self { brain: Brain::new(ports, now), listener, asker: Asker::open()?, relist: None, overruns: 0 };
        let facts = keeper.list()?;
        keeper.brain.hear_all(facts, now);
        if let Some(&ifindex) = ports.iter().find(|i| keeper.brain.link(**i).is_none()) {
            return Err(KeeperError::NoSuchPort { ifindex });
        }
        keeper.brain.links_are_told();
        Ok(keeper)
    }

    /// Replaces the set of wanted hops: new ones are looked up and their neighbours asked for at once (many new ones:
    /// as [`changed`](Self::changed) is awaited), those no longer in it are forgotten.
    pub fn watch(&mut self, keys: impl IntoIterator<Item = HopKey>) {
        self.brain.watch(keys, Instant::now());
        self.listen();
        self.work();
    }

    /// Waits for something to change, and says what. What the caller has not been told yet is never lost: when
    /// several changes meet, the latest state counts.
    ///
    /// Cancel-safe: all state is in the keeper, and no change counts as told before it is returned.
    pub async fn changed(&mut self) -> Changes {
        let began = Instant::now();
        loop {
            let heard_all = self.listen();
            self.work();
            if self.brain.is_busy() && began.elapsed() < TOGETHER {
                tokio::task::yield_now().await;
                continue;
            }
            let changes = self.brain.changes();
            if !changes.is_empty() {
                return changes;
            }
            if !heard_all || self.brain.is_busy() {
                tokio::task::yield_now().await;
                continue;
            }
            let wake = self.wake(Instant::now());
            tokio::select! {
                () = self.listener.wait() => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    /// The state of a hop as known now. One that is not watched is at best known by accident.
    pub fn state(&self, key: &HopKey) -> HopState {
        self.brain.state(key)
    }

    /// The facts of an interface, a port or not.
    pub fn link(&self, ifindex: u32) -> Option<&LinkFacts> {
        self.brain.link(ifindex)
    }

    /// The host's own addresses, on all interfaces of the network namespace, in no order.
    pub fn local(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.brain.local()
    }

    /// How often announcements were lost and everything was listed anew, since the start.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }

    fn wake(&self, now: Instant) -> Instant {
        self.relist.map_or(self.brain.wake(now), |at| at.min(self.brain.wake(now)))
    }

    /// Takes in what the kernel announced: true when nothing more is waiting.
    fn listen(&mut self) -> bool {
        let now = Instant::now();
        let brain = &mut self.brain;
        let drained = self.listener.drain(|message| hear(brain, message, now));
        if drained.lost {
            self.overruns += 1;
            self.relist = Some(now);
            tracing::warn!("the kernel's announcements overran the receive buffer; listing everything anew");
        }
        // Only a socket read empty hears anything new, so the listing must not come before that.
        if drained.empty && self.relist.is_some_and(|at| at <= now) {
            self.relist_now();
        }
        drained.empty
    }

    fn relist_now(&mut self) {
        match self.list() {
            Ok(facts) => {
                self.relist = None;
                self.brain.hear_all(facts, Instant::now());
            }
            Err(e) => {
                tracing::warn!("{e}; trying again");
                self.relist = Some(Instant::now() + LIST_AGAIN);
            }
        }
    }

    /// Lists links, addresses and neighbours. Announcements that arrive meanwhile are heard after it, in their order,
    /// and so prevail.
    fn list(&mut self) -> Result<Vec<Fact>, KeeperError> {
        let mut facts = Vec::new();
        self.list_one("links", ask::links, &mut facts)?;
        self.list_one("addresses", ask::addresses, &mut facts)?;
        self.list_one("IPv4 neighbours", || ask::neighbours(false), &mut facts)?;
        // A kernel without IPv6 has none.
        if let Err(e) = self.list_one("IPv6 neighbours", || ask::neighbours(true), &mut facts) {
            tracing::debug!("{e}");
        }
        Ok(facts)
    }

    fn list_one(
        &mut self,
        what: &'static str,
        request: impl Fn() -> ask::Request,
        facts: &mut Vec<Fact>,
    ) -> Result<(), KeeperError> {
        let before = facts.len();
        for _ in 0..ATTEMPTS {
            facts.truncate(before);
            let answered = self
                .asker
                .ask(request(), |message| match fact::decode(message.kind, message.payload) {
                    Ok(fact) => facts.extend(fact),
                    Err(e) => tracing::warn!("an entry of the kernel's {what} makes no sense: {e}"),
                })
                .map_err(|source| KeeperError::List { what, source })?;
            if answered == Answered::Whole {
                return Ok(());
            }
        }
        // It changes faster than it can be listed. Take it, and list again.
        self.relist = Some(Instant::now() + LIST_AGAIN);
        Ok(())
    }

    /// Asks what is due.
    fn work(&mut self) {
        let now = Instant::now();
        for ask in self.brain.asks(now, BUDGET) {
            match ask {
                Ask::Route { key, dst, from } => {
                    let lookup = look_up(&mut self.asker, dst, from);
                    self.brain.looked_up(key, lookup, now);
                }
                Ask::Poke(key, poke) => self.poke(key, poke, now),
            }
        }
        // Lookups may have brought neighbours to light.
        for ask in self.brain.asks(now, 0) {
            if let Ask::Poke(key, poke) = ask {
                self.poke(key, poke, now);
            }
        }
    }

    fn poke(&mut self, key: NeighbourKey, poke: Poke, now: Instant) {
        match self.asker.ask(ask::poke(key, poke), |_| {}) {
            Ok(_) => {}
            Err(e) if e.refusal() == Some(libc::EEXIST) => {}
            Err(e) => {
                tracing::debug!("asking for neighbour {} on interface {}: {e}", key.addr, key.ifindex);
                return;
            }
        }
        // A new entry is not announced before it is resolved, and one that needs no resolving (NOARP) never is.
        if poke == Poke::Create {
            let brain = &mut self.brain;
            let seen = self.asker.ask(ask::neighbour(key), |message| hear(brain, message, now));
            if let Err(e) = seen {
                tracing::debug!("reading neighbour {} on interface {}: {e}", key.addr, key.ifindex);
            }
        }
    }
}

fn hear(brain: &mut Brain, message: Message<'_>, now: Instant) {
    match fact::decode(message.kind, message.payload) {
        Ok(Some(fact)) => brain.hear(fact, now),
        Ok(None) => {}
        Err(e) => tracing::warn!("an announcement of the kernel (type {}) makes no sense: {e}", message.kind),
    }
}

/// Looks a route up; `None` when the kernel could not be asked.
fn look_up(asker: &mut Asker, dst: IpAddr, from: Option<IpAddr>) -> Option<Lookup> {
    let mut found = None;
    let asked = asker.ask(ask::route(dst, from), |message| {
        if message.kind == libc::RTM_NEWROUTE {
            found = Some(fact::lookup(dst, message.payload));
        }
    });
    let e = match (asked, found) {
        (Ok(_), Some(Ok(lookup))) => return Some(lookup),
        (Ok(_), Some(Err(e))) => AskError::Garbled(e),
        (Ok(_), None) => AskError::Garbled("it holds no route".to_owned()),
        (Err(e), _) => e,
    };
    match e.refusal() {
        // A source that ceased to be ours a moment ago. (Without one it is a blackhole.)
        Some(libc::EINVAL) if from.is_some() => look_up(asker, dst, None),
        Some(libc::ENETUNREACH | libc::ESRCH) => Some(Lookup::NoRoute),
        Some(libc::EINVAL | libc::EHOSTUNREACH | libc::EACCES) => Some(Lookup::NotUnicast),
        _ => {
            tracing::warn!("looking up the route to {dst}: {e}");
            None
        }
    }
}
