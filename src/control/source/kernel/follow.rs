//! [`Kernel`]: carries facts from the sockets to the mirror, and its news to the listener.

use core::convert::Infallible;
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkSerializable;
use rtnetlink::packet_route::AddressFamily;
use tokio::task::{JoinError, spawn_blocking, yield_now};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::super::super::netlink::{Answered, AskError, Asker, Drained, Group, Listener, Message, SocketError};
use super::mirror::Mirror;
use super::{Options, RECEIVE_BUFFER, Segment, ask, fact};
use crate::control::source::{News, Source, Told};

/// What is heard of.
const GROUPS: [Group; 6] = [
    (MulticastGroup::Link, "link"),
    (MulticastGroup::Neigh, "neighbour"),
    (MulticastGroup::Ipv4Ifaddr, "IPv4 address"),
    (MulticastGroup::Ipv4Route, "IPv4 route"),
    (MulticastGroup::Ipv6Route, "IPv6 route"),
    (MulticastGroup::Nexthop, "next hop"),
];

/// A change of one node is several announcements: neighbour, forwarding entry, route. Until nothing has come for so long
/// they are taken for one change, so that what is half there is not told.
const CALM: Duration = Duration::from_millis(20);
/// But no longer than this.
const PATIENCE: Duration = Duration::from_millis(100);
/// From one listing to the next, where many would be called for.
const LIST_AGAIN: Duration = Duration::from_millis(500);
/// All is listed again this often even if nothing calls for it.
const AUDIT: Duration = Duration::from_secs(300);
/// How often it is told that nothing has changed.
const ALIVE: Duration = Duration::from_secs(5);
/// A device that was just made is about to be programmed: it is listed when nothing has been announced for so long.
const SETTLED: Duration = Duration::from_millis(500);
/// But no later than this.
const SETTLED_AT_LAST: Duration = Duration::from_secs(5);
/// Attempts at a listing that does not change under the kernel's hands.
const ATTEMPTS: usize = 4;
/// Routes that are resolved before other work gets its turn: some milliseconds' worth.
const AT_ONCE: usize = 1024;

/// Why the device cannot be mirrored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A netlink socket could not be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The kernel did not list what there is.
    #[error("cannot list the kernel's {what}: {source}")]
    List {
        /// What should have been listed.
        what: &'static str,
        /// The reason.
        source: AskError,
    },
    /// What is listed changes faster than it can be listed: some of it may be missing.
    #[error("the kernel's {what} change faster than they can be listed")]
    Unsteady {
        /// What should have been listed.
        what: &'static str,
    },
    /// There is no such device.
    #[error("there is no interface {0} in this network namespace; what was learnt from it stays until it is back")]
    NoDevice(String),
    /// It is something else.
    #[error("{0} is no VXLAN device")]
    NotVxlan(String),
    /// The device is down.
    #[error("{0} is down (ip link set {0} up); what was learnt from it stays until it is up again")]
    Down(String),
    /// The thread that lists did not finish.
    #[error("listing the kernel's tables: {0}")]
    Lister(#[from] JoinError),
}

/// The kernel's tables as a source.
#[derive(Debug)]
pub struct Kernel {
    options: Options,
    segment: Segment,
    receive_buffer: usize,
    /// The device was not there when it was looked for last.
    missing: bool,
}

impl Kernel {
    /// A source that mirrors a device of the network namespace that it is followed in.
    pub fn new(options: Options, segment: Segment) -> Self {
        Self { options, segment, receive_buffer: RECEIVE_BUFFER, missing: false }
    }

    /// With another receive buffer, in bytes; when it overruns, everything is listed anew.
    pub fn with_receive_buffer(self, receive_buffer: usize) -> Self {
        Self { receive_buffer, ..self }
    }
}

impl Source for Kernel {
    type Error = Error;

    async fn follow(&mut self, told: &Told) -> Result<Infallible, Error> {
        let listener = Listener::subscribe(&GROUPS, self.receive_buffer)?;
        let lister = Lister::open(self.options.clone(), self.segment)?;
        let lister = Arc::new(Mutex::new(lister));
        let mut following = Following { listener, lister, table: self.options.table };
        if self.missing {
            following.until_there().await?;
        }
        self.missing = false;
        let error = loop {
            let mut mirror = match following.list().await {
                Ok(mirror) => mirror,
                Err(error) => break error,
            };
            tell_all(&mut mirror, told).await;
            if let Err(error) = following.until_stale(&mut mirror, told).await {
                break error;
            }
        };
        self.missing = matches!(error, Error::NoDevice(_) | Error::Down(_));
        Err(error)
    }
}

/// Tells a whole listing.
async fn tell_all(mirror: &mut Mirror, told: &Told) {
    told.say(News::Listing).await;
    let (device, apart) = mirror.device();
    if let Some(device) = device {
        told.say(News::Is(device)).await;
    }
    while mirror.is_dirty() {
        let changes = mirror.changes(AT_ONCE);
        if !apart {
            for news in changes.news() {
                told.say(news).await;
            }
        }
        yield_now().await;
    }
    told.say(News::Listed).await;
}

/// Announcements came that have not been told of.
#[derive(Clone, Copy)]
struct Unrest {
    began: Instant,
    last: Instant,
}

impl Unrest {
    fn over(self) -> Instant {
        (self.last + CALM).min(self.began + PATIENCE)
    }
}

/// One attempt's sockets.
struct Following {
    listener: Listener,
    lister: Arc<Mutex<Lister>>,
    table: u32,
}

impl Following {
    /// Waits until the device is there and those who program it seem to be done.
    async fn until_there(&mut self) -> Result<(), Error> {
        let mut there: Option<(Instant, Instant)> = None;
        loop {
            let now = Instant::now();
            match self.on_thread(Lister::device).await {
                Ok(()) => there = Some((there.map_or(now, |(since, _)| since), now)),
                Err(Error::NoDevice(_) | Error::Down(_)) => there = None,
                Err(error) => return Err(error),
            }
            match there {
                Some((since, last)) => {
                    let quiet = (last + SETTLED).min(since + SETTLED_AT_LAST);
                    if timeout_at(quiet, self.listener.wait()).await.is_err() {
                        return Ok(());
                    }
                }
                None => self.listener.wait().await,
            }
            self.listener.drain(|_| {});
        }
    }

    /// Lists everything. What was announced before is heard of no more: it is in the listing. After an overrun, only a
    /// socket that was read empty hears anything new.
    async fn list(&mut self) -> Result<Mirror, Error> {
        while !self.listener.drain(|_| {}).empty {
            yield_now().await;
        }
        self.on_thread(Lister::list).await
    }

    /// Asks the kernel on a thread of its own: it may hold a lock for long (RTNL), and a table may be large.
    async fn on_thread<T: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut Lister) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let lister = Arc::clone(&self.lister);
        spawn_blocking(move || ask(&mut lister.lock().unwrap_or_else(PoisonError::into_inner))).await?
    }

    /// Tells each change to what was just listed, until it takes another listing to know what is.
    async fn until_stale(&mut self, mirror: &mut Mirror, told: &Told) -> Result<(), Error> {
        let (apart, listed) = (mirror.device().1, Instant::now());
        let (mut unrest, mut alive): (Option<Unrest>, _) = (None, listed + ALIVE);
        loop {
            if !mirror.is_stale() {
                let wake = unrest.map_or(alive, |unrest| unrest.over().min(alive)).min(listed + AUDIT);
                let _ = timeout_at(wake, self.listener.wait()).await;
            }
            let Drained { empty, lost } = self.hear(mirror);
            let now = Instant::now();
            if lost {
                tracing::warn!("the kernel's announcements overran the receive buffer; listing everything anew");
            }
            if lost || mirror.is_stale() || now >= listed + AUDIT {
                // not before it is calm: what made the mirror stale is seldom the only change
                sleep_until((now + CALM).max(listed + LIST_AGAIN)).await;
                return Ok(());
            }
            if !empty {
                yield_now().await;
                continue;
            }
            unrest = match (mirror.is_dirty(), unrest) {
                (false, _) => None,
                (true, None) => Some(Unrest { began: now, last: now }),
                (true, Some(unrest)) => Some(unrest),
            };
            if unrest.is_some_and(|unrest| unrest.over() <= now) {
                self.tell(mirror, told, apart).await?;
                (unrest, alive) = (None, Instant::now() + ALIVE);
            } else if alive <= now {
                told.say(News::Alive).await;
                alive = now + ALIVE;
            }
        }
    }

    fn hear(&mut self, mirror: &mut Mirror) -> Drained {
        let table = self.table;
        self.listener.drain(|message| match fact::decode(message, table) {
            Ok(Some(fact)) => mirror.hear(fact),
            Ok(None) => {}
            Err(e) => tracing::warn!("an announcement of the kernel (type {}) makes no sense: {e}", message.kind),
        })
    }

    async fn tell(&mut self, mirror: &mut Mirror, told: &Told, apart: bool) -> Result<(), Error> {
        while mirror.is_dirty() {
            let changes = mirror.changes(AT_ONCE);
            // A device that goes takes down first what is on it, and is announced as gone last: that is no withdrawal.
            if changes.takes_back {
                self.on_thread(Lister::device).await?;
            }
            if !apart {
                for news in changes.news() {
                    told.say(news).await;
                }
            }
            yield_now().await;
        }
        Ok(())
    }
}

/// Asks the kernel.
struct Lister {
    asker: Asker,
    options: Options,
    segment: Segment,
}

impl Lister {
    fn open(options: Options, segment: Segment) -> Result<Self, Error> {
        Ok(Self { asker: Asker::open()?.strict()?, options, segment })
    }

    /// Whether the device is there and up.
    fn device(&mut self) -> Result<(), Error> {
        let mut facts = Vec::new();
        let device = &self.options.device;
        let asked = self.asker.ask(ask::link(device), |message| facts.extend(fact::decode(message, 0).ok().flatten()));
        match asked {
            Ok(_) => self.judge(&Mirror::new(self.options.clone(), self.segment, facts)),
            Err(e) if e.refusal() == Some(libc::ENODEV) => Err(Error::NoDevice(device.clone())),
            Err(source) => Err(Error::List { what: "links", source }),
        }
    }

    fn judge(&self, mirror: &Mirror) -> Result<(), Error> {
        let device = || self.options.device.clone();
        match mirror.tables().link() {
            Some((link, _)) if link.up => Ok(()),
            Some(_) => Err(Error::Down(device())),
            None if mirror.tables().has(&self.options.device) => Err(Error::NotVxlan(device())),
            None => Err(Error::NoDevice(device())),
        }
    }

    /// All that the kernel's tables say. Announcements that arrive meanwhile are heard after it, in their order, and so
    /// prevail.
    fn list(&mut self) -> Result<Mirror, Error> {
        let table = self.options.table;
        let mut facts = Vec::new();
        self.list_one("links", ask::links, &mut facts)?;
        // A kernel without next-hop objects (before Linux 5.3) has none.
        self.list_some("next hops", ask::nexthops, &mut facts, &[libc::EOPNOTSUPP])?;
        self.list_one("forwarding entries", || ask::neighbours(AddressFamily::Bridge), &mut facts)?;
        for (neighbours, routes, family) in [
            ("IPv4 neighbours", "IPv4 routes", AddressFamily::Inet),
            ("IPv6 neighbours", "IPv6 routes", AddressFamily::Inet6),
        ] {
            // A kernel without a family lists nothing of it; a table without routes does not exist.
            self.list_some(neighbours, || ask::neighbours(family), &mut facts, &[libc::EOPNOTSUPP])?;
            self.list_some(routes, || ask::routes(family, table), &mut facts, &[libc::EOPNOTSUPP, libc::ENOENT])?;
        }
        let mirror = Mirror::new(self.options.clone(), self.segment, facts);
        self.judge(&mirror)?;
        Ok(mirror)
    }

    fn list_some<R: NetlinkSerializable>(
        &mut self,
        what: &'static str,
        request: impl Fn() -> (R, u16),
        facts: &mut Vec<fact::Fact>,
        none: &[i32],
    ) -> Result<(), Error> {
        match self.list_one(what, request, facts) {
            Err(Error::List { source, .. }) if source.refusal().is_some_and(|code| none.contains(&code)) => Ok(()),
            listed => listed,
        }
    }

    fn list_one<R: NetlinkSerializable>(
        &mut self,
        what: &'static str,
        request: impl Fn() -> (R, u16),
        facts: &mut Vec<fact::Fact>,
    ) -> Result<(), Error> {
        let (before, table) = (facts.len(), self.options.table);
        for _ in 0..ATTEMPTS {
            facts.truncate(before);
            let hear = |message: Message<'_>| match fact::decode(message, table) {
                Ok(fact) => facts.extend(fact),
                Err(e) => tracing::warn!("an entry of the kernel's {what} makes no sense: {e}"),
            };
            let answered = self.asker.ask(request(), hear).map_err(|source| Error::List { what, source })?;
            if answered == Answered::Whole {
                return Ok(());
            }
        }
        Err(Error::Unsteady { what })
    }
}
