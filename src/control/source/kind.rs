//! The kinds of sources: what the config file chooses among.

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::Told;
use super::directory::{self, Directory};
use super::driver::drive;
use super::kernel::{self, Kernel};
use crate::control::herald::{Standing, Wanted};
use crate::control::{etcd, kubernetes};
use crate::tables::Overlay;

/// What is asked, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// flannel's keys in etcd.
    FlannelEtcd(etcd::Options),
    /// flannel's annotations of Nodes on a Kubernetes API server.
    FlannelKube(kubernetes::Options),
    /// The kernel's own tables: a VXLAN device that somebody else programs.
    Kernel(kernel::Options),
    /// A directory of files.
    Directory(directory::Options),
}

/// What to register, where its standing is told, and when it ends.
#[derive(Debug)]
pub struct Attraction {
    /// What nodes are to send here.
    pub wanted: Wanted,
    /// How it stands.
    pub standing: watch::Sender<Standing>,
    /// Everything is to be taken back.
    pub end: oneshot::Receiver<()>,
}

impl Kind {
    /// What is asked, in a line without secrets: for people, and to tell whether a snapshot is of the same origin.
    pub fn origin(&self) -> String {
        match self {
            Self::FlannelEtcd(options) => options.origin(),
            Self::FlannelKube(options) => options.origin(),
            Self::Kernel(kernel::Options { device, table }) => format!("kernel device {device} table {table}"),
            Self::Directory(options) => format!("directory {}", options.path.display()),
        }
    }

    /// May a prefix of one object lie within another's? Routes nest; leases of pod networks never do.
    pub fn nests(&self) -> bool {
        match self {
            Self::FlannelEtcd(_) | Self::FlannelKube(_) => false,
            Self::Kernel(_) | Self::Directory(_) => true,
        }
    }

    /// Follows it from now on, for `overlay`, until the task is aborted. A kind that this gateway was built without is no
    /// kind that a config can have.
    pub fn start(&self, overlay: &Overlay, told: Told) -> JoinHandle<()> {
        match self {
            #[cfg(feature = "etcd")]
            Self::FlannelEtcd(options) => {
                let half = super::flannel::Half::of(overlay);
                tokio::spawn(drive(super::etcd::Etcd::new(options.clone(), half), told))
            }
            #[cfg(feature = "kubernetes")]
            Self::FlannelKube(options) => {
                let half = super::flannel::Half::of(overlay);
                tokio::spawn(drive(super::kube::Kube::new(options.clone(), half), told))
            }
            Self::Kernel(options) => {
                let segment = kernel::Segment { vni: overlay.vni, udp_port: overlay.udp_port, local: overlay.local };
                tokio::spawn(drive(Kernel::new(options.clone(), segment), told))
            }
            Self::Directory(options) => tokio::spawn(drive(Directory::new(options.clone()), told)),
            #[allow(unreachable_patterns, reason = "with all features every kind has an arm of its own")]
            _ => unbuilt(overlay, told),
        }
    }

    /// Can the gateway register itself where this comes from?
    pub fn attracts(&self) -> bool {
        matches!(self, Self::FlannelEtcd(_) | Self::FlannelKube(_))
    }

    /// Registers the gateway from now on, so that nodes of `overlay` send to it; `None` where that cannot be.
    #[allow(unused_variables, reason = "without any feature nothing attracts")]
    pub fn attract(&self, overlay: &Overlay, attraction: Attraction) -> Option<JoinHandle<()>> {
        match self {
            #[cfg(feature = "etcd")]
            Self::FlannelEtcd(options) => {
                use crate::control::herald;
                let Attraction { wanted, standing, end } = attraction;
                let herald = herald::etcd::Etcd::new(options.clone(), herald::OurEnd::of(overlay));
                Some(tokio::spawn(herald::drive(herald, wanted, standing, end)))
            }
            #[cfg(feature = "kubernetes")]
            Self::FlannelKube(options) => {
                use crate::control::herald;
                let Attraction { wanted, standing, end } = attraction;
                let herald = herald::kube::Kube::new(options.clone(), &overlay.name, herald::OurEnd::of(overlay));
                Some(tokio::spawn(herald::drive(herald, wanted, standing, end)))
            }
            #[allow(unreachable_patterns, reason = "with all features every kind that attracts has an arm")]
            _ => None,
        }
    }
}

/// Stands for what cannot be: it says nothing, and never ends.
#[allow(dead_code, reason = "with all features nobody asks")]
fn unbuilt(_: &Overlay, told: Told) -> JoinHandle<()> {
    tokio::spawn(async move {
        told.say(super::News::Lost("this gateway was built without it".into())).await;
        core::future::pending().await
    })
}
