//! flannel's subnet keys in etcd, as flanneld follows them.

use std::net::IpAddr;

use etcd_client::{Client, Error, EventType, GetOptions, WatchOptions};
use serde_json::Value;
use tokio::time::timeout;

use super::{Desk, Flanneld, PAUSE};
use crate::lab::{Cluster, Namespace};
use crate::wire::{Mac, Prefix};

impl Flanneld {
    /// Follows the keys under `prefix` of the server at `endpoint`, which is reached from the namespace `from`.
    pub fn start(from: &Namespace, endpoint: String, prefix: String, cluster: &Cluster) -> Self {
        let subnets = format!("{prefix}/subnets/");
        Self::following(from, cluster, move |desk| {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                // a server that is away changes nothing
                let _ = runtime.block_on(follow(desk, &endpoint, &subnets));
            }
        })
    }
}

/// Until the connection breaks, or it is to end.
async fn follow(desk: &Desk, endpoint: &str, subnets: &str) -> Result<(), Error> {
    let mut client = Client::connect([endpoint], None).await?;
    let all = client.get(subnets, Some(GetOptions::new().with_prefix())).await?;
    for kv in all.kvs() {
        put(desk, subnet(subnets, kv.key_str()?), kv.value());
    }
    let from = all.header().map_or(0, |header| header.revision()) + 1;
    let options = WatchOptions::new().with_prefix().with_start_revision(from);
    let mut watch = client.watch(subnets, Some(options)).await?;
    while !desk.ended() {
        let Ok(message) = timeout(PAUSE, watch.message()).await else { continue };
        let Some(message) = message? else { break };
        for event in message.events() {
            let Some(kv) = event.kv() else { continue };
            let subnet = subnet(subnets, kv.key_str()?);
            match event.event_type() {
                EventType::Put => put(desk, subnet, kv.value()),
                EventType::Delete => subnet.into_iter().for_each(|subnet| desk.delete(subnet)),
            }
        }
    }
    Ok(())
}

fn subnet(subnets: &str, key: &str) -> Option<Prefix> {
    key.strip_prefix(subnets)?.replace('-', "/").parse().ok()
}

fn put(desk: &Desk, subnet: Option<Prefix>, value: &[u8]) {
    if let (Some(subnet), Some((vtep, mac))) = (subnet, lease(value)) {
        desk.put(subnet, vtep, mac);
    }
}

/// Where a node is, by its lease.
fn lease(value: &[u8]) -> Option<(IpAddr, Mac)> {
    let lease: Value = serde_json::from_slice(value).ok()?;
    let vtep = lease["PublicIP"].as_str()?.parse().ok()?;
    Some((vtep, lease["BackendData"]["VtepMAC"].as_str()?.parse().ok()?))
}
