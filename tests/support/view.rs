//! What a listener knows that takes in all that a source says, as the gateway does.
#![allow(dead_code)] // each crate uses its own part

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use selvedge::control::source::driver::drive;
use selvedge::control::source::news::Ears;
use selvedge::control::source::{Claim, Key, News, Object, Source, SourceId, Told};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// A change has to be known after this long at most.
pub(crate) const SOON: Duration = Duration::from_secs(1);

pub(crate) struct View {
    ears: Ears,
    driver: JoinHandle<()>,
    pub(crate) objects: BTreeMap<Key, Object>,
    /// Names that the list in progress has not told yet.
    unseen: Option<BTreeSet<Key>>,
    pub(crate) lists: usize,
    pub(crate) alive: usize,
    pub(crate) lost: Vec<String>,
    /// When anything was said last.
    pub(crate) heard: Instant,
}

impl Drop for View {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl View {
    pub(crate) fn of(source: impl Source) -> Self {
        let (told, ears) = Told::channel(SourceId(1));
        let driver = tokio::spawn(drive(source, told));
        let (objects, lost) = (BTreeMap::new(), Vec::new());
        Self { ears, driver, objects, unseen: None, lists: 0, alive: 0, lost, heard: Instant::now() }
    }

    /// A view once it has a first list.
    pub(crate) async fn listed(source: impl Source) -> Self {
        let mut view = Self::of(source);
        view.until("a first list", Duration::from_secs(10), |view| view.lists > 0).await;
        view
    }

    fn take_in(&mut self, news: News) {
        self.heard = Instant::now();
        match news {
            News::Listing => self.unseen = Some(self.objects.keys().cloned().collect()),
            News::Is(object) => {
                if let Some(unseen) = &mut self.unseen {
                    unseen.remove(&object.key);
                }
                self.objects.insert(object.key.clone(), object);
            }
            News::Gone(key) => _ = self.objects.remove(&key),
            News::Listed => {
                for key in self.unseen.take().expect("a list begins before it ends") {
                    self.objects.remove(&key);
                }
                self.lists += 1;
            }
            News::Alive => self.alive += 1,
            News::Lost(why) => self.lost.push(why),
        }
    }

    /// Listens until it is as wanted. Panics if it is not in time.
    pub(crate) async fn until(&mut self, what: &str, patience: Duration, is: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + patience;
        while !is(self) {
            match timeout_at(deadline, self.ears.recv()).await {
                Ok(Some((_, news))) => self.take_in(news),
                _ => panic!("{what}: not within {patience:?}: {:?}, lost {:?}", self.some(), self.lost),
            }
        }
    }

    fn some(&self) -> Vec<&Object> {
        self.objects.values().take(20).collect()
    }

    /// The one claim of an object, if there is one.
    pub(crate) fn claim(&self, key: &str) -> Option<Claim> {
        let claims = &self.objects.get(key)?.claims;
        assert!(claims.len() < 2, "{claims:?}");
        claims.first().copied()
    }

    /// What is wrong with an object.
    pub(crate) fn fault(&self, name: &str) -> Option<String> {
        Some(self.objects.get(name)?.faults.first()?.to_string())
    }
}

pub(crate) fn claim(prefix: &str, vtep: &str, mac: &str) -> Claim {
    Claim { prefix: prefix.parse().unwrap(), vtep: vtep.parse().unwrap(), mac: mac.parse().unwrap() }
}
