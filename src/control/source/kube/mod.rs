//! The nodes of a cluster that runs flannel, from its Kubernetes API: a list and a watch of Nodes, and a look at flannel's
//! ConfigMap. What it may do there: get, list and watch nodes, and get that ConfigMap (`config/kubernetes-rbac.yaml`).

mod net_conf;
mod node;

use core::convert::Infallible;
use core::time::Duration;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::flannel::Half;
use super::{News, Object, Source, Told};
use crate::control::kubernetes::{Api, ApiError, Deed, Heard, NODES, Options, Watch, pages};
use node::Node;

/// Lists follow each other no faster than this, however often the server says that what we know is too old.
const RELIST: Duration = Duration::from_secs(1);

/// How often flannel's ConfigMap is read.
const NET_CONF: Duration = Duration::from_secs(60);

/// The source.
#[derive(Clone, Debug)]
pub struct Kube {
    options: Options,
    half: Half,
}

impl Kube {
    /// A source of these nodes, of which `half` is the overlay.
    pub fn new(options: Options, half: Half) -> Self {
        Self { options, half }
    }

    /// Tells all nodes. Returns the version that they are of.
    async fn list(&self, api: &Api, told: &Told) -> Result<String, ApiError> {
        told.say(News::Listing).await;
        self.look_at_net_conf(api, told, false).await?;
        let mut pages = pages(api, NODES, Deed { verb: "list", group: "", resource: "nodes" });
        while let Some(page) = pages.next::<Node>().await? {
            for object in page.iter().filter_map(|node| node.object(&self.options.annotations, &self.half)) {
                told.say(News::Is(object)).await;
            }
        }
        told.say(News::Listed).await;
        Ok(pages.version())
    }

    /// Tells changes from one version on.
    async fn watch(&self, api: &Api, told: &Told, version: String) -> Result<Infallible, ApiError> {
        let mut watch = Watch::<Node>::new(api, "nodes", NODES, version);
        let mut looked = Instant::now();
        loop {
            let news = match watch.next().await? {
                Heard::Is(node) => match node.object(&self.options.annotations, &self.half) {
                    Some(object) => News::Is(object),
                    None => News::Gone(node.key()),
                },
                Heard::Gone(node) => News::Gone(node.key()),
                Heard::Alive => News::Alive,
            };
            told.say(news).await;
            if looked.elapsed() >= NET_CONF {
                self.look_at_net_conf(api, told, true).await?;
                looked = Instant::now();
            }
        }
    }

    /// Tells what is wrong with flannel's configuration, as an object of its name; with `again`, also that nothing is.
    async fn look_at_net_conf(&self, api: &Api, told: &Told, again: bool) -> Result<(), ApiError> {
        let at = &self.options.net_conf;
        let faults = net_conf::faults(at, api, &self.half).await?;
        let key: Arc<str> = at.to_string().into();
        if !faults.is_empty() {
            told.say(News::Is(Object { key, claims: Vec::new(), faults })).await;
        } else if again {
            told.say(News::Gone(key)).await;
        }
        Ok(())
    }
}

impl Source for Kube {
    type Error = ApiError;

    async fn follow(&mut self, told: &Told) -> Result<Infallible, ApiError> {
        let api = Api::open(&self.options.access).await?;
        loop {
            let next = Instant::now() + RELIST;
            let version = self.list(&api, told).await?;
            match self.watch(&api, told, version).await {
                // changes were missed: the list that follows says which objects are gone
                Err(error) if error.is_gone() => sleep_until(next).await,
                ended => return ended,
            }
        }
    }
}
