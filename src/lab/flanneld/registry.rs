//! flannel's keys of a network in etcd, as an administrator and every node's flanneld write them.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use etcd_client::{Client, Error, GetOptions, PutOptions};
use serde::Serialize;
use tokio::time::timeout;

use crate::lab::{Cluster, Doing, LabError, Namespace, Node};
use crate::wire::Prefix;

/// How long a key outlives its flanneld, in seconds: a day.
const LIFETIME: i64 = 86_400;
/// How long etcd may take to do something.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an administrator writes at `PREFIX/config`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    network: String,
    backend: Backend,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Backend {
    r#type: &'static str,
    #[serde(rename = "VNI")]
    vni: u32,
    port: u16,
}

/// What a node's flanneld writes at `PREFIX/subnets/ADDRESS-LENGTH`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Lease {
    #[serde(rename = "PublicIP")]
    public_ip: IpAddr,
    #[serde(rename = "PublicIPv6")]
    public_ipv6: Option<Ipv6Addr>,
    backend_type: &'static str,
    backend_data: BackendData,
}

#[derive(Serialize)]
struct BackendData {
    #[serde(rename = "VNI")]
    vni: u32,
    #[serde(rename = "VtepMAC")]
    vtep_mac: String,
}

fn config(cluster: &Cluster) -> Config {
    let backend = Backend { r#type: "vxlan", vni: cluster.vni.get(), port: cluster.udp_port };
    Config { network: cluster.pods.to_string(), backend }
}

fn lease(cluster: &Cluster, node: &Node) -> Lease {
    let backend_data = BackendData { vni: cluster.vni.get(), vtep_mac: node.vtep_mac.to_string() };
    Lease { public_ip: node.vtep, public_ipv6: None, backend_type: "vxlan", backend_data }
}

/// A network of flannel in etcd. Each call is a connection of its own: the server may come and go.
#[derive(Debug, Clone)]
pub struct FlannelRegistry {
    from: Namespace,
    endpoint: String,
    prefix: String,
}

impl FlannelRegistry {
    /// The keys under `prefix` of the server at `endpoint`, which is reached from the namespace `from`.
    pub fn new(from: &Namespace, endpoint: String, prefix: String) -> Self {
        Self { from: from.clone(), endpoint, prefix }
    }

    /// What all its keys begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Writes the network's configuration, which is there before any flanneld starts.
    pub fn configure(&self, cluster: &Cluster) -> Result<(), LabError> {
        let (key, value) = (format!("{}/config", self.prefix), json(&config(cluster))?);
        self.ask(async |client| client.put(key, value, None).await.map(drop))
    }

    /// Writes the key of a node, under a lease of its own.
    pub fn register(&self, cluster: &Cluster, node: &Node) -> Result<(), LabError> {
        let (key, value) = (self.key(&node.prefix), json(&lease(cluster, node))?);
        self.ask(async |client| {
            let id = client.lease_grant(LIFETIME, None).await?.id();
            client.put(key, value, Some(PutOptions::new().with_lease(id))).await.map(drop)
        })
    }

    /// Deletes the key of a node.
    pub fn remove(&self, node: &Node) -> Result<(), LabError> {
        let key = self.key(&node.prefix);
        self.ask(async |client| client.delete(key, None).await.map(drop))
    }

    /// The prefixes that have keys.
    pub fn subnets(&self) -> Result<Vec<Prefix>, LabError> {
        let all = format!("{}/subnets/", self.prefix);
        self.ask(async |client| {
            let found = client.get(all.as_str(), Some(GetOptions::new().with_prefix().with_keys_only())).await?;
            let prefix = |key: &str| key.strip_prefix(&all)?.replace('-', "/").parse().ok();
            Ok(found.kvs().iter().filter_map(|kv| prefix(kv.key_str().ok()?)).collect())
        })
    }

    fn key(&self, subnet: &Prefix) -> String {
        format!("{}/subnets/{}", self.prefix, subnet.to_string().replace('/', "-"))
    }

    fn ask<T: Send>(&self, work: impl AsyncFnOnce(&mut Client) -> Result<T, Error> + Send) -> Result<T, LabError> {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let asked = async { work(&mut Client::connect([&self.endpoint], None).await?).await };
            let answer = runtime.block_on(async { timeout(PATIENCE, asked).await });
            answer.map_err(io::Error::from)?.map_err(io::Error::other)
        };
        self.from.run(run)?.doing(|| format!("asking etcd at {} for keys of {}", self.endpoint, self.prefix))
    }
}

fn json(value: &impl Serialize) -> Result<String, LabError> {
    serde_json::to_string(value).doing(|| "writing JSON".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_flannels_to_the_byte() {
        let data = BackendData { vni: 1, vtep_mac: "b6:9f:ea:8c:6e:16".into() };
        let public_ip = IpAddr::from([172, 30, 0, 11]);
        let lease = Lease { public_ip, public_ipv6: None, backend_type: "vxlan", backend_data: data };
        let written = r#"{"PublicIP":"172.30.0.11","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"b6:9f:ea:8c:6e:16"}}"#;
        assert_eq!(json(&lease).unwrap(), written);
        let config = Config { network: "10.1.0.0/16".into(), backend: Backend { r#type: "vxlan", vni: 1, port: 8472 } };
        let written = r#"{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan","VNI":1,"Port":8472}}"#;
        assert_eq!(json(&config).unwrap(), written);
    }
}
