//! Registers the gateway with a Kubernetes cluster whose nodes run flannel: a Node object for each prefix, with flannel's
//! annotations, so that every flanneld routes the prefix to us. A Node has at most one pod CIDR of each family, and an
//! overlay has one family, so there is one Node for each prefix.
//!
//! What is ours carries the labels `selvedge/gateway` and `selvedge/overlay`. A Node of our name without them, and a
//! prefix that overlaps the pod CIDR of any other Node, is somebody else's: told, and left alone.

mod node;
mod store;

use core::convert::Infallible;
use core::time::Duration;
use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::{Herald, OurEnd, Standing, Wanted};
use crate::control::kubernetes::{Api, ApiError, Options};
use crate::wire::Prefix;
use node::Owner;
use node::Wish;
use store::{Store, Whose};

/// How often every Node is looked at and its Lease renewed: as often as by a kubelet. The node lifecycle controller takes
/// a node for dead after 40 s.
const BEAT: Duration = Duration::from_secs(10);

/// Beats after which all nodes are looked at again, for what has come into conflict or is not any more.
const LOOK_AROUND: u32 = 6;

/// Attempts to bring one Node in step while somebody else writes to it, too.
const ATTEMPTS: usize = 4;

/// The herald of one overlay.
#[derive(Clone, Debug)]
pub struct Kube {
    options: Options,
    owner: Owner,
    end: OurEnd,
}

/// Why one prefix is not registered.
enum Trouble {
    /// Others are not affected.
    Entry(String),
    /// None can be at present.
    Api(ApiError),
}

impl From<ApiError> for Trouble {
    fn from(error: ApiError) -> Self {
        match error.code() {
            Some(400 | 403 | 409 | 422) => Self::Entry(error.to_string()),
            _ => Self::Api(error),
        }
    }
}

impl Kube {
    /// A herald that registers `end` of the overlay of that name.
    pub fn new(options: Options, overlay: &str, end: OurEnd) -> Self {
        let owner = Owner { gateway: options.gateway.clone(), overlay: overlay.to_owned() };
        Self { options, owner, end }
    }

    fn wish(&self, prefix: Prefix) -> Wish<'_> {
        Wish { owner: &self.owner, end: &self.end, keys: &self.options.annotations, prefix }
    }

    async fn store(&self) -> Result<Store, ApiError> {
        Ok(Store::new(Api::open(&self.options.access).await?))
    }

    /// Looks at all nodes: removes what is ours and not wanted. Returns the prefixes that can be registered, and adds a
    /// line for each that cannot.
    async fn look_around(
        &self,
        store: &Store,
        wanted: &[Prefix],
        lines: &mut Vec<String>,
    ) -> Result<Vec<Prefix>, ApiError> {
        let nodes = store.nodes().await?;
        let (ours, others): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| node.is_of(&self.owner));
        let mut free = Vec::new();
        for prefix in wanted {
            let taken = others.iter().find(|node| node.prefixes().any(|cidr| cidr.overlaps(prefix)));
            if prefix.addr().is_ipv4() != self.end.vtep.is_ipv4() {
                let vtep = self.end.vtep;
                lines.push(format!(
                    "{prefix}: a flannel node is reached at an address of the prefix's family, not at {vtep}"
                ));
            } else if let Some(node) = taken {
                let cidrs: Vec<_> = node.prefixes().collect();
                lines.push(format!("{prefix}: node {} has the pod CIDR {cidrs:?}", node.metadata.name));
            } else {
                free.push(*prefix);
            }
        }
        let names: BTreeSet<_> = free.iter().map(|prefix| self.wish(*prefix).name()).collect();
        for node in ours.iter().filter(|node| !names.contains(&node.metadata.name)) {
            store.remove(node).await?;
        }
        Ok(free)
    }

    /// Brings one Node in step and keeps it alive.
    async fn ensure(&self, store: &Store, prefix: Prefix) -> Result<(), Trouble> {
        let wish = self.wish(prefix);
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match self.attempt(store, &wish).await {
                Err(Trouble::Api(e)) => return Err(Trouble::Api(e)),
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(trouble) => last = Some(trouble),
            }
        }
        Err(last
            .unwrap_or_else(|| Trouble::Entry(format!("{prefix}: somebody else keeps changing node {}", wish.name()))))
    }

    /// False if somebody else was there first: to be looked at again.
    async fn attempt(&self, store: &Store, wish: &Wish<'_>) -> Result<bool, Trouble> {
        let name = wish.name();
        let node = match store.get(&name, &self.owner).await? {
            Whose::Nobody => match store.create(wish).await? {
                Some(node) => node.into(),
                None => return Ok(false),
            },
            Whose::Other => {
                let why =
                    "is there already and not this gateway's (its labels selvedge/gateway, selvedge/overlay say so)";
                return Err(Trouble::Entry(format!("{}: node {name} {why}; it is left alone", wish.prefix)));
            }
            Whose::Ours(node) if !node.prefixes().eq([wish.prefix]) => {
                // a pod CIDR cannot be changed
                store.remove(&node).await?;
                return Ok(false);
            }
            Whose::Ours(node) => node,
        };
        if let Some(patch) = node.drift(wish)
            && !store.patch(&name, &patch).await?
        {
            return Ok(false);
        }
        let now = Timestamp::now();
        if let Some(status) = node.ready(now) {
            store.patch_status(&name, &status).await?;
        }
        store.renew(&node, &self.owner, now).await?;
        Ok(true)
    }
}

impl Herald for Kube {
    type Error = ApiError;

    async fn keep(&mut self, wanted: &mut Wanted, standing: &watch::Sender<Standing>) -> Result<Infallible, ApiError> {
        let store = self.store().await?;
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut free, mut conflicts, mut looked) = (Vec::new(), Vec::new(), None::<u32>);
        loop {
            tokio::select! {
                changed = wanted.changed() => match changed {
                    Ok(()) => looked = None,
                    // nobody wants anything any more: the gateway is about to end
                    Err(_) => core::future::pending().await,
                },
                _ = beats.tick() => {}
            }
            if looked.is_none_or(|beats| beats >= LOOK_AROUND) {
                let prefixes = wanted.borrow_and_update().clone();
                conflicts.clear();
                free = self.look_around(&store, &prefixes, &mut conflicts).await?;
                looked = Some(0);
            }
            looked = looked.map(|beats| beats + 1);
            let mut lines = conflicts.clone();
            for prefix in &free {
                match self.ensure(&store, *prefix).await {
                    Ok(()) => {}
                    Err(Trouble::Entry(line)) => lines.push(line),
                    Err(Trouble::Api(error)) => return Err(error),
                }
            }
            let now = if lines.is_empty() { Standing::Registered(free.len()) } else { Standing::Partly(lines) };
            standing.send_if_modified(|was| {
                let news = *was != now;
                *was = now;
                news
            });
        }
    }

    async fn retire(&mut self) -> Result<(), ApiError> {
        let store = self.store().await?;
        for node in store.nodes().await?.iter().filter(|node| node.is_of(&self.owner)) {
            store.remove(node).await?;
        }
        Ok(())
    }
}
