//! What a source may say.

use core::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::{Fault, SourceId};
use crate::wire::{Mac, Prefix};

/// The name of an object, as its source knows it: a node's name, an etcd key, a route of the kernel.
pub type Key = Arc<str>;

/// A prefix, and the node it is behind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Claim {
    /// Destination prefix.
    pub prefix: Prefix,
    /// The node's VTEP address: outer destination.
    pub vtep: IpAddr,
    /// The node's VTEP MAC: inner destination.
    pub mac: Mac,
}

/// Everything that one object says: it takes the place of what the object of this name said before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// Its name, unique within the source.
    pub key: Key,
    /// What it claims. One prefix behind several nodes is several claims: equal ways to it.
    pub claims: Vec<Claim>,
    /// What it says beside that and the source could not make sense of.
    pub faults: Vec<Fault>,
}

/// One message of a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// A complete list begins: objects that are not named before [`News::Listed`] are gone.
    Listing,
    /// An object is there, and says this.
    Is(Object),
    /// An object is gone.
    Gone(Key),
    /// The list is complete: from here on all is as told, until something else is said.
    Listed,
    /// Nothing has changed: the source was heard and is well.
    Alive,
    /// The source cannot be heard, and why. What it said before stays in force.
    Lost(String),
}

/// Messages that may wait to be taken in. A source that lists faster waits.
const BACKLOG: usize = 4096;

/// Where a source tells its news.
#[derive(Clone, Debug)]
pub struct Told {
    source: SourceId,
    listener: mpsc::Sender<(SourceId, News)>,
    /// A list was completed since this was asked last.
    listed: Arc<AtomicBool>,
}

/// Where the news of all sources come together.
pub type Ears = mpsc::Receiver<(SourceId, News)>;

impl Told {
    /// A listener, and where a first source tells it news.
    pub fn channel(source: SourceId) -> (Self, Ears) {
        let (listener, ears) = mpsc::channel(BACKLOG);
        (Self { source, listener, listed: Arc::default() }, ears)
    }

    /// The same listener, for another source.
    pub fn by(&self, source: SourceId) -> Self {
        Self { source, listener: self.listener.clone(), listed: Arc::default() }
    }

    /// Tells, when there is room. Once nobody listens any more it never returns: the gateway is about to end.
    pub async fn say(&self, news: News) {
        let listed = news == News::Listed;
        if self.listener.send((self.source, news)).await.is_err() {
            core::future::pending().await
        }
        if listed {
            self.listed.store(true, Ordering::Relaxed);
        }
    }

    /// True if a list was completed since this was asked last.
    pub(super) fn take_listed(&mut self) -> bool {
        self.listed.swap(false, Ordering::Relaxed)
    }
}
