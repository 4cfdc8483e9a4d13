//! Plays flanneld for a cluster: on each node it does with what the cluster's store says what flanneld does there, no
//! more. Which store that is, the caller says; etcd's is here.

#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "etcd")]
mod registry;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::io::Errno;

use super::nodes::{Remote, program};
use super::{Cluster, LabError, Namespace, Node};
use crate::wire::{Mac, Prefix};

#[cfg(feature = "etcd")]
pub use registry::FlannelRegistry;

/// Between two looks at whether it is to end, and before a server that failed is asked again.
pub const PAUSE: Duration = Duration::from_millis(50);

/// One flanneld for each node of a cluster. It ends with the value; what it programmed stays, as flanneld's does.
#[derive(Debug)]
pub struct Flanneld {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The nodes, to whoever follows a store.
#[derive(Debug)]
pub struct Desk {
    cluster: Cluster,
    end: Arc<AtomicBool>,
}

impl Flanneld {
    /// Has `follow` tell the nodes, from the namespace `from`, until [`Desk::ended`]; if it returns before, it is called
    /// again: a server that is away changes nothing.
    pub fn following(from: &Namespace, cluster: &Cluster, mut follow: impl FnMut(&Desk) + Send + 'static) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let desk = Desk { cluster: cluster.clone(), end: end.clone() };
        let from = from.clone();
        let work = move || {
            while !desk.ended() {
                // a namespace that is gone has nodes no more
                let _ = from.run(|| follow(&desk));
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
    /// Is it to end?
    pub fn ended(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// The node at `vtep` has the pods of `prefix`.
    pub fn put(&self, prefix: Prefix, vtep: IpAddr, mac: Mac) {
        let remote = Remote { vtep, mac, addresses: vec![prefix.addr()], prefixes: vec![prefix] };
        // a node has its own prefix whatever address it is reached at
        let own = |node: &Node| node.vtep == vtep || node.prefix.overlaps(&prefix);
        self.on_each_node(|node| if own(node) { Ok(()) } else { program(&node.ns, &self.cluster.device(), &remote) });
    }

    /// Nobody has them any more.
    pub fn delete(&self, prefix: Prefix) {
        // pods of a node itself: its own routes stay, and of further ones there are none
        let none = |error: &LabError| error.io().raw_os_error() == Some(Errno::SRCH.raw_os_error());
        self.on_each_node(|node| match node.prefix == prefix {
            true => Ok(()),
            false => node.ns.unroute(prefix).or_else(|error| if none(&error) { Ok(()) } else { Err(error) }),
        });
    }

    fn on_each_node(&self, work: impl Fn(&Node) -> Result<(), LabError>) {
        for node in &self.cluster.nodes {
            if let Err(error) = work(node) {
                eprintln!("flanneld of {}: {error}", node.ns.name());
            }
        }
    }
}
