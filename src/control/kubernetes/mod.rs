//! The Kubernetes API, as the source and the herald use it.
//!
//! | file | what it holds |
//! |---|---|
//! | `annotations` | the names of flannel's annotations |
//! | `api` | a client of one server: one question at a time |
//! | `pages` | a complete list |
//! | `watch` | changes, and proof that the server lives |
//! | `error` | what an answer that is none means to people |

mod annotations;
#[cfg(feature = "kubernetes")]
mod api;
#[cfg(feature = "kubernetes")]
mod error;
#[cfg(feature = "kubernetes")]
mod pages;
#[cfg(feature = "kubernetes")]
mod watch;

use core::fmt;
use std::path::PathBuf;

pub use annotations::AnnotationPrefix;
#[cfg(feature = "kubernetes")]
pub use api::Api;
#[cfg(feature = "kubernetes")]
pub use error::{ApiError, Deed};
#[cfg(feature = "kubernetes")]
pub use pages::{NODES, Pages, pages};
#[cfg(feature = "kubernetes")]
pub use watch::{Heard, Versioned, Watch};

/// The gateway's name among the nodes unless told otherwise.
pub const GATEWAY: &str = "gateway";

/// Which cluster, and how flannel's data are to be found there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The API server, and who we are to it.
    pub access: Access,
    /// What flannel's annotations begin with.
    pub annotations: AnnotationPrefix,
    /// Where flannel's configuration is, which is compared with the overlay; if it is not there, or may not be read,
    /// that is a fault, and all else goes on.
    pub net_conf: ConfigMap,
    /// The gateway's name among the nodes, unique in the cluster: a DNS label of up to 40 characters. Nodes of ours are
    /// found again by it.
    pub gateway: String,
}

impl Options {
    /// The cluster, in a line without secrets.
    pub fn origin(&self) -> String {
        let context = self.access.context.as_ref().map_or_else(String::new, |context| format!(" context {context}"));
        match &self.access.kubeconfig {
            Some(path) => format!("kubernetes {}{context} {}", path.display(), self.annotations.key("")),
            None => format!("kubernetes in-cluster {}", self.annotations.key("")),
        }
    }
}

/// Who we are to which API server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// The file that names server and credentials; without one, those that Kubernetes mounts into every pod. It is read
    /// anew with each attempt to connect, so that renewed credentials are taken up. The variable KUBECONFIG is not read.
    pub kubeconfig: Option<PathBuf>,
    /// The context of that file, if not its current one.
    pub context: Option<String>,
}

/// The name of a ConfigMap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigMap {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Default for ConfigMap {
    /// Where flannel's own manifest puts it.
    fn default() -> Self {
        Self { namespace: "kube-flannel".into(), name: "kube-flannel-cfg".into() }
    }
}

impl fmt::Display for ConfigMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configmap {}/{}", self.namespace, self.name)
    }
}
