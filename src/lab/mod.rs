//! Room `lab`: networks built out of namespaces, and traffic to send through them.
//!
//! The demonstration and the tests need real kernels at both ends of a tunnel. A [`Lab`] makes them out of network
//! namespaces on one machine, over netlink alone (no `ip`, no shell), and takes everything away again when it is
//! dropped. [`two_clusters`] is the network most tests want. [`traffic`] sends through it and judges what arrived,
//! [`scrape`] reads a program's metrics from inside a namespace.
//!
//! Every loop in here is bounded in time and in count: a broken data path makes a report, never a hang.

mod etcd;
mod flanneld;
mod gateway_config;
mod links;
mod namespace;
mod nodes;
mod process;
pub mod scrape;
mod topology;
pub mod traffic;
mod vlans;

mod world;

use std::fmt;
use std::io;

pub use etcd::EtcdServer;
#[cfg(feature = "etcd")]
pub use flanneld::FlannelRegistry;
pub use flanneld::{Desk as FlannelDesk, Flanneld, PAUSE as FLANNELD_PAUSE};
pub use links::{End, Vxlan};
pub use namespace::Namespace;
pub use process::Process;
pub use topology::{
    ACCESS_PORT, Cluster, Family, Host, METRICS_ADDRESS, Node, Shape, Topology, UNDERLAY_PORT, two_clusters,
    two_clusters_with,
};
pub use vlans::{ACCESS_VLANS, UNDERLAY_VLAN};
pub use world::Lab;

/// Something the lab could not do: what it was, and what the system said.
#[derive(Debug)]
pub struct LabError {
    doing: String,
    source: io::Error,
}

impl LabError {
    /// An error met while doing `doing` ("adding vxlan flannel.1 in selv-demo-17-gw").
    pub fn new(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { doing: doing.into(), source: source.into() }
    }

    /// A refusal of the lab itself, where no system call failed.
    pub fn refused(doing: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(doing, io::Error::other(why.into()))
    }

    fn into_io(self) -> io::Error {
        self.source
    }

    /// What the system said.
    pub fn io(&self) -> &io::Error {
        &self.source
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.source)
    }
}

impl std::error::Error for LabError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Adds to an error what was being done, in the lab's words.
pub(crate) trait Doing<T> {
    /// Names the deed, lazily: the sentence is only built on failure.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, LabError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|e| LabError::new(what(), e))
    }
}
