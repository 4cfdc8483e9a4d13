//! What a listener knows that takes in all that a source says, as the gateway does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use selvedge::control::kubernetes::{Access, Options};
use selvedge::control::source::driver::drive;
use selvedge::control::source::flannel::{Family, Half};
use selvedge::control::source::kube::Kube;
use selvedge::control::source::news::Ears;
use selvedge::control::source::{Claim, Key, News, Object, SourceId, Told};
use selvedge::wire::Vni;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// A change has to be known after this long at most.
pub(crate) const SOON: Duration = Duration::from_secs(1);

/// What is asked, and the half of it that a usual overlay is.
pub(crate) type Asked = (Options, Half);

/// flannel as its own manifest sets it up, and an overlay of a family.
pub(crate) fn asked(access: Access, family: Family) -> Asked {
    let half = Half { family, vni: Vni::new(1).unwrap(), udp_port: 8472 };
    (Options { access, annotations: Default::default(), net_conf: Default::default(), gateway: "gateway".into() }, half)
}

pub(crate) struct View {
    ears: Ears,
    driver: JoinHandle<()>,
    pub(crate) objects: BTreeMap<Key, Object>,
    /// Names that the list in progress has not told yet.
    unseen: Option<BTreeSet<Key>>,
    pub(crate) lists: usize,
    pub(crate) lost: Vec<String>,
    pub(crate) heard: Instant,
}

impl Drop for View {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl View {
    pub(crate) fn of((options, half): Asked) -> Self {
        let (told, ears) = Told::channel(SourceId(1));
        let driver = tokio::spawn(drive(Kube::new(options, half), told));
        let (objects, lost) = (BTreeMap::new(), Vec::new());
        Self { ears, driver, objects, unseen: None, lists: 0, lost, heard: Instant::now() }
    }

    /// A view once it has a first list.
    pub(crate) async fn listed(asked: Asked) -> Self {
        let mut view = Self::of(asked);
        view.until("a first list", Duration::from_secs(5), |view| view.lists > 0).await;
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
            News::Alive => {}
            News::Lost(why) => self.lost.push(why),
        }
    }

    /// Listens until it is as wanted. Panics if it is not in time.
    pub(crate) async fn until(&mut self, what: &str, patience: Duration, is: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + patience;
        while !is(self) {
            match timeout_at(deadline, self.ears.recv()).await {
                Ok(news) => self.take_in(news.expect("the source goes on for ever").1),
                Err(_) => panic!("not within {patience:?}: {what}; {:?}; {:?}", self.objects, self.lost),
            }
        }
    }

    /// The one claim of a node, if there is one.
    pub(crate) fn claim(&self, node: &str) -> Option<Claim> {
        let claims = &self.objects.get(node)?.claims;
        assert!(claims.len() < 2, "{claims:?}");
        claims.first().copied()
    }
}

pub(crate) fn claim(prefix: &str, vtep: &str, mac: &str) -> Claim {
    Claim { prefix: prefix.parse().unwrap(), vtep: vtep.parse().unwrap(), mac: mac.parse().unwrap() }
}
