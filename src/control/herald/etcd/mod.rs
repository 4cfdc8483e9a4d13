//! Attraction where flannel keeps its map in etcd: the gateway registers prefixes of others as subnets of its own.
//!
//! All entries hang on one etcd lease: they vanish once nothing is heard of the gateway for the lease's time to live,
//! and at once when it retires. An entry that is not ours is never written: each write is a transaction that only
//! succeeds on what was read before.
//!
//! | file | what it holds |
//! |---|---|
//! | `entry` | the form of an entry, and whose one is |
//! | `book` | what is registered, and what is to be done about it |

mod book;
mod entry;
#[cfg(test)]
mod tests;

use core::convert::Infallible;
use core::time::Duration;

use etcd_client::{Compare, CompareOp, Error as ClientError, EventType, PutOptions, Txn, TxnOp, TxnOpResponse};
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use self::book::{Book, Deed};
use self::entry::Form;
use super::{Herald, OurEnd, Standing, Wanted};
use crate::control::etcd::{EtcdError, Following, Heard, Link, Options, Pages};
use crate::control::source::flannel::NetConf;
use crate::wire::Prefix;

/// Writes under way at a time.
const AT_A_TIME: usize = 32;

/// Registers the gateway in one network of flannel.
pub struct Etcd {
    options: Options,
    end: OurEnd,
    /// The lease, once there is one.
    lease: Option<i64>,
    turn: usize,
}

/// One connection's worth of it.
struct Session<'a> {
    link: Link,
    form: Form,
    book: Book,
    lease: i64,
    options: &'a Options,
}

impl Etcd {
    /// A herald that says that prefixes are at `end`.
    pub fn new(options: Options, end: OurEnd) -> Self {
        Self { options, end, lease: None, turn: 0 }
    }

    async fn connect(&mut self) -> Result<Session<'_>, EtcdError> {
        let mut link = Link::connect(&self.options, &mut self.turn).await?;
        let lease = match self.lease {
            Some(lease) if keep_alive(&link, lease).await.is_ok() => lease,
            _ => {
                let seconds = self.options.lifetime.as_secs().try_into().unwrap_or(i64::MAX);
                let mut leases = link.leases();
                link.answer("granting a lease", leases.grant(seconds, None)).await?.id()
            }
        };
        self.lease = Some(lease);
        let conf = link.get(self.options.config_key(), 0).await?;
        let dual = conf.and_then(|conf| NetConf::parse(&conf).ok()).is_some_and(|conf| conf.v6.is_some());
        let form = Form::new(self.end.clone(), dual);
        Ok(Session { link, form, book: Book::default(), lease, options: &self.options })
    }
}

impl Herald for Etcd {
    type Error = EtcdError;

    async fn keep(&mut self, wanted: &mut Wanted, standing: &watch::Sender<Standing>) -> Result<Infallible, EtcdError> {
        let every = self.options.lifetime / 3;
        let session = self.connect().await?;
        let Err(end) = session.keep(every, wanted, standing).await;
        if matches!(end, EtcdError::LeaseGone { .. }) {
            self.lease = None;
        }
        self.turn += 1;
        Err(end)
    }

    async fn retire(&mut self) -> Result<(), EtcdError> {
        let Some(lease) = self.lease else { return Ok(()) };
        let link = Link::connect(&self.options, &mut self.turn).await?;
        let mut leases = link.leases();
        link.answer("revoking our lease", leases.revoke(lease)).await?;
        self.lease = None;
        Ok(())
    }
}

impl Session<'_> {
    /// `every`: how often the lease is renewed.
    async fn keep(
        mut self,
        every: Duration,
        wanted: &mut Wanted,
        standing: &watch::Sender<Standing>,
    ) -> Result<Infallible, EtcdError> {
        let mut renewal = interval(every);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let revision = self.list().await?;
            let mut watch = self.link.watch(&self.options.subnets(), revision + 1).await?;
            loop {
                let prefixes = wanted.borrow_and_update().clone();
                self.settle(&prefixes, standing).await?;
                tokio::select! {
                    heard = self.hear(&mut watch) => if !heard? { break },
                    _ = renewal.tick() => keep_alive(&self.link, self.lease).await?,
                    () = changed(wanted) => {}
                }
            }
        }
    }

    /// Reads all entries, and returns the revision they are of.
    async fn list(&mut self) -> Result<i64, EtcdError> {
        self.book.clear();
        let prefix = self.options.subnets();
        let mut pages = Pages::of(&prefix);
        while let Some(page) = pages.next(&mut self.link).await? {
            for kv in page {
                if let Some(key) = kv.key_str().ok().and_then(|key| key.strip_prefix(&prefix)) {
                    self.book.is(&self.form, key, kv.value(), kv.lease(), kv.mod_revision());
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(pages.revision())
    }

    /// Waits for entries to change; false if what changed is not known any more.
    async fn hear(&mut self, watch: &mut Following) -> Result<bool, EtcdError> {
        let changes = loop {
            match watch.next().await? {
                Heard::Changes(changes) => break changes,
                Heard::Alive => {}
                Heard::Compacted => return Ok(false),
            }
        };
        let prefix = self.options.subnets();
        for event in changes.events() {
            let Some(kv) = event.kv() else { continue };
            let Some(key) = kv.key_str().ok().and_then(|key| key.strip_prefix(&prefix)) else { continue };
            match event.event_type() {
                EventType::Put => self.book.is(&self.form, key, kv.value(), kv.lease(), kv.mod_revision()),
                EventType::Delete => self.book.gone(&self.form, key, kv.mod_revision()),
            }
        }
        Ok(true)
    }

    /// Brings what is registered in step with what is wanted, and tells how it stands.
    async fn settle(&mut self, wanted: &[Prefix], standing: &watch::Sender<Standing>) -> Result<(), EtcdError> {
        let mut plan = self.book.plan(&self.form, wanted, self.lease);
        if !plan.deeds.is_empty() {
            let outcomes: Vec<_> = {
                let session = &*self;
                let deeds = stream::iter(plan.deeds.into_iter().map(|deed| session.attempt(deed)));
                deeds.buffer_unordered(AT_A_TIME).collect().await
            };
            for outcome in outcomes {
                self.enter(outcome?);
            }
            // what somebody else changed in this moment is heard of by the watch, and settled then
            plan = self.book.plan(&self.form, wanted, self.lease);
        }
        let stands = match plan.refused {
            none if none.is_empty() => Standing::Registered(plan.registered),
            some => Standing::Partly(some),
        };
        standing.send_if_modified(|told| {
            let news = *told != stands;
            *told = stands;
            news
        });
        Ok(())
    }

    /// Does one deed, unless the key was changed meanwhile.
    async fn attempt(&self, deed: Deed) -> Result<Outcome, EtcdError> {
        let key = format!("{}{}", self.options.subnets(), deed.key);
        let as_read = Compare::mod_revision(key.clone(), CompareOp::Equal, deed.revision);
        let write = if deed.write {
            TxnOp::put(key.clone(), self.form.value(), Some(PutOptions::new().with_lease(self.lease)))
        } else {
            TxnOp::delete(key.clone(), None)
        };
        let txn = Txn::new().when([as_read]).and_then([write]).or_else([TxnOp::get(key, None)]);
        let mut kv = self.link.kv();
        let doing = if deed.write { "registering a prefix" } else { "taking a prefix back" };
        let done = self.link.answer(doing, kv.txn(txn)).await?;
        let revision = done.header().map_or(0, |header| header.revision());
        let found = match done.op_responses().pop() {
            Some(TxnOpResponse::Get(mut found)) => found.take_kvs().pop(),
            _ => None,
        };
        let now = match found {
            _ if done.succeeded() => deed.write.then(|| (self.form.value(), self.lease, revision)),
            found => found.map(|kv| (kv.value().to_vec(), kv.lease(), kv.mod_revision())),
        };
        Ok(Outcome { key: deed.key, revision, now })
    }

    fn enter(&mut self, Outcome { key, revision, now }: Outcome) {
        match now {
            Some((value, lease, revision)) => self.book.is(&self.form, &key, &value, lease, revision),
            None => self.book.gone(&self.form, &key, revision),
        }
    }
}

/// What is known of a key after an attempt.
struct Outcome {
    key: String,
    /// When it was so.
    revision: i64,
    /// Value, lease and revision, if it is there.
    now: Option<(Vec<u8>, i64, i64)>,
}

/// Renews a lease.
async fn keep_alive(link: &Link, lease: i64) -> Result<(), EtcdError> {
    let mut leases = link.leases();
    let renewed = link.answer("renewing our lease", leases.keep_alive(lease)).await;
    match renewed {
        Ok(_) => Ok(()),
        Err(EtcdError::Call { endpoint, source: ClientError::LeaseKeepAliveError(_), .. }) => {
            Err(EtcdError::LeaseGone { endpoint, lease })
        }
        Err(error) => Err(error),
    }
}

/// Returns when something else is wanted; never, once nobody can want anything any more.
async fn changed(wanted: &mut Wanted) {
    if wanted.changed().await.is_err() {
        core::future::pending().await
    }
}
