//! Plays flanneld for a cluster: on each node it does with the subnet keys of etcd what flanneld does there, no more.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use etcd_client::{Client, Error, EventType, GetOptions, WatchOptions};
use serde_json::Value;
use tokio::time::timeout;

use super::nodes::{Remote, program};
use super::{Cluster, LabError, Namespace};
use crate::wire::{Mac, Prefix};

/// Between two looks at whether it is to end, and before a server that failed is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// One flanneld for each node of a cluster. It ends with the value; what it programmed stays, as flanneld's does.
#[derive(Debug)]
pub struct Flanneld {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What it needs to know.
struct Desk {
    prefix: String,
    cluster: Cluster,
    end: Arc<AtomicBool>,
}

impl Flanneld {
    /// Follows the keys under `prefix` of the server at `endpoint`, which is reached from the namespace `from`.
    pub fn start(from: &Namespace, endpoint: String, prefix: String, cluster: &Cluster) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let desk = Desk { prefix: format!("{prefix}/subnets/"), cluster: cluster.clone(), end: end.clone() };
        let from = from.clone();
        let work = move || {
            while !desk.ended() {
                let follow = || -> Option<()> {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
                    runtime.block_on(desk.follow(&endpoint)).ok()
                };
                // a server that is away changes nothing
                let _ = from.run(follow);
                thread::sleep(PAUSE);
            }
        };
        Self { end, thread: Some(thread::spawn(work)) }
    }
}

impl Drop for Flanneld {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Desk {
    fn ended(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// Until the connection breaks, or it is to end.
    async fn follow(&self, endpoint: &str) -> Result<(), Error> {
        let mut client = Client::connect([endpoint], None).await?;
        let all = client.get(self.prefix.clone(), Some(GetOptions::new().with_prefix())).await?;
        for kv in all.kvs() {
            self.put(kv.key_str()?, kv.value());
        }
        let from = all.header().map_or(0, |header| header.revision()) + 1;
        let options = WatchOptions::new().with_prefix().with_start_revision(from);
        let mut watch = client.watch(self.prefix.clone(), Some(options)).await?;
        while !self.ended() {
            let Ok(message) = timeout(PAUSE, watch.message()).await else { continue };
            let Some(message) = message? else { break };
            for event in message.events() {
                let Some(kv) = event.kv() else { continue };
                match event.event_type() {
                    EventType::Put => self.put(kv.key_str()?, kv.value()),
                    EventType::Delete => self.delete(kv.key_str()?),
                }
            }
        }
        Ok(())
    }

    fn subnet(&self, key: &str) -> Option<Prefix> {
        key.strip_prefix(&self.prefix)?.replace('-', "/").parse().ok()
    }

    fn put(&self, key: &str, value: &[u8]) {
        let Some(prefix) = self.subnet(key) else { return };
        let Some((vtep, mac)) = lease(value) else { return };
        let remote = Remote { vtep, mac, addresses: vec![prefix.addr()], prefixes: vec![prefix] };
        self.on_each_node(
            |node| if node.vtep == vtep { Ok(()) } else { program(&node.ns, &self.cluster.device(), &remote) },
        );
    }

    fn delete(&self, key: &str) {
        let Some(prefix) = self.subnet(key) else { return };
        self.on_each_node(|node| if node.prefix == prefix { Ok(()) } else { node.ns.unroute(prefix) });
    }

    fn on_each_node(&self, work: impl Fn(&super::Node) -> Result<(), LabError>) {
        for node in &self.cluster.nodes {
            if let Err(error) = work(node) {
                eprintln!("flanneld of {}: {error}", node.ns.name());
            }
        }
    }
}

/// Where a node is, by its lease.
fn lease(value: &[u8]) -> Option<(IpAddr, Mac)> {
    let lease: Value = serde_json::from_slice(value).ok()?;
    let vtep = lease["PublicIP"].as_str()?.parse().ok()?;
    Some((vtep, lease["BackendData"]["VtepMAC"].as_str()?.parse().ok()?))
}
