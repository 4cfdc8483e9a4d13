//! A source that is followed, and what its listener believes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use selvedge::control::source::driver::drive;
use selvedge::control::source::kernel::{Kernel, MAIN_TABLE, Options, RECEIVE_BUFFER, Segment};
use selvedge::control::source::news::Ears;
use selvedge::control::source::{Key, News, Object, SourceId, Told};
use selvedge::lab::Namespace;
use selvedge::wire::{Mac, Vni};
use tokio::task::JoinHandle;

/// Runs a test in a namespace, on a thread with a runtime of its own.
pub(crate) fn inside(ns: &Namespace, test: impl AsyncFnOnce() + Send) {
    ns.run(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test())).unwrap();
}

/// A device, and the segment that is expected of it.
pub(crate) fn device(name: &str, vni: u32, udp_port: u16) -> (Options, Segment) {
    let segment = Segment { vni: Vni::new(vni).unwrap(), udp_port, local: [192, 0, 2, 1].into() };
    (Options { device: name.to_owned(), table: MAIN_TABLE }, segment)
}

/// A VTEP and its MAC address.
pub(crate) fn way(vtep: &str, mac: &str) -> (IpAddr, Mac) {
    (vtep.parse().unwrap(), mac.parse().unwrap())
}

/// What was told, put together as the listener's ledger does it.
pub(crate) struct Followed {
    task: JoinHandle<()>,
    ears: Ears,
    objects: BTreeMap<Key, Object>,
    /// Keys named in the list that is under way.
    named: Option<BTreeSet<Key>>,
    lists: usize,
    losses: Vec<String>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Followed {
    pub(crate) async fn start(device: &(Options, Segment)) -> Self {
        Self::start_with(device, RECEIVE_BUFFER).await
    }

    /// With a receive buffer of so many bytes.
    pub(crate) async fn start_with((options, segment): &(Options, Segment), buffer: usize) -> Self {
        let (told, ears) = Told::channel(SourceId(1));
        let kernel = Kernel::new(options.clone(), *segment).with_receive_buffer(buffer);
        let task = tokio::spawn(drive(kernel, told));
        let (objects, losses) = (BTreeMap::new(), Vec::new());
        let mut followed = Self { task, ears, objects, named: None, lists: 0, losses };
        followed.until("the first list", Duration::from_secs(2), |s| s.lists == 1).await;
        followed
    }

    /// What a source that starts now lists.
    pub(crate) async fn fresh(device: &(Options, Segment)) -> BTreeMap<Key, Object> {
        Self::start(device).await.picture()
    }

    /// Listens until something holds.
    pub(crate) async fn until(&mut self, what: &str, within: Duration, done: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !done(self) {
            match tokio::time::timeout_at((began + within).into(), self.ears.recv()).await {
                Ok(news) => self.take(news.expect("the source goes on").1),
                Err(_) => panic!("{what}: not within {within:?}: {:#?}, lost: {:?}", self.objects, self.losses),
            }
        }
        println!("{what}: {:?}", began.elapsed());
    }

    fn take(&mut self, news: News) {
        match news {
            News::Listing => self.named = Some(BTreeSet::new()),
            News::Is(object) => {
                if let Some(named) = &mut self.named {
                    assert!(named.insert(object.key.clone()), "{} is listed twice", object.key);
                }
                self.objects.insert(object.key.clone(), object);
            }
            News::Gone(key) => assert!(self.objects.remove(&key).is_some(), "{key} was never told of"),
            News::Listed => {
                let named = self.named.take().expect("a list began");
                self.objects.retain(|key, _| named.contains(key));
                self.lists += 1;
            }
            News::Alive => {}
            News::Lost(why) => self.losses.push(why),
        }
    }

    pub(crate) fn picture(&self) -> BTreeMap<Key, Object> {
        self.objects.clone()
    }

    pub(crate) fn keys(&self) -> Vec<&str> {
        self.objects.keys().map(|key| &**key).collect()
    }

    pub(crate) fn object(&self, key: &str) -> Option<&Object> {
        self.objects.get(key)
    }

    /// The VTEPs an object claims to be behind, and their MAC addresses.
    pub(crate) fn ways(&self, key: &str) -> Vec<(IpAddr, Mac)> {
        let claims = self.object(key).map_or(&[][..], |object| &object.claims);
        claims.iter().map(|claim| (claim.vtep, claim.mac)).collect()
    }

    /// Complete lists.
    pub(crate) fn lists(&self) -> usize {
        self.lists
    }

    /// True if the last loss says this.
    pub(crate) fn lost(&self, part: &str) -> bool {
        self.losses.last().is_some_and(|why| why.contains(part))
    }
}
