//! A connection to an etcd cluster (API v3, etcd 3.4 or newer), and what flannel keeps there under a prefix: the
//! network's configuration and a key for each node. The source and the herald share it.
//!
//! | file | what it holds |
//! |---|---|
//! | `link` | a connection to one of several servers, and reading |
//! | `following` | a watch that notices when nobody answers any more |
//! | `error` | what can go wrong |

#[cfg(feature = "etcd")]
mod error;
#[cfg(feature = "etcd")]
mod following;
#[cfg(feature = "etcd")]
mod link;

use core::time::Duration;
use std::path::PathBuf;

#[cfg(feature = "etcd")]
pub use error::EtcdError;
#[cfg(feature = "etcd")]
pub use following::{Following, Heard};
#[cfg(feature = "etcd")]
pub use link::{Link, Pages};

/// Where flannel keeps its keys unless told otherwise.
pub const PREFIX: &str = "/coreos.com/network";

/// How long entries of ours outlive the last word from us, unless told otherwise.
pub const LIFETIME: Duration = Duration::from_secs(300);

/// How to reach a cluster, and where its keys are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// URLs of its servers, `http://…:2379` or `https://…:2379`, at least one. They are tried in turn.
    pub endpoints: Vec<String>,
    /// What all keys begin with, without a slash at the end.
    pub prefix: String,
    /// Certificates of authorities (PEM) that servers' certificates must come from. Default: the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key (PEM), for servers that ask for one.
    pub identity: Option<Identity>,
    /// A user of the cluster.
    pub user: Option<User>,
    /// How long entries of ours outlive the last word from us, whole seconds: long enough for the gateway to be restarted,
    /// and for etcd to be out of reach.
    pub lifetime: Duration,
}

/// Our certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// File with the certificate, and those that lead to its authority.
    pub certificate: PathBuf,
    /// File with its private key.
    pub key: PathBuf,
}

/// A user of the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The name.
    pub name: String,
    /// File with the password; white space at its end does not count.
    pub password: PathBuf,
}

impl Options {
    /// The cluster and the prefix, in a line without secrets.
    pub fn origin(&self) -> String {
        format!("etcd {} {}", self.endpoints.join(","), self.prefix)
    }

    /// The key of the network's configuration.
    pub fn config_key(&self) -> String {
        format!("{}/config", self.prefix)
    }

    /// What keys of nodes begin with.
    pub fn subnets(&self) -> String {
        format!("{}/subnets/", self.prefix)
    }
}
