//! The kinds of sources: what the config file chooses among.

use tokio::task::JoinHandle;

use super::Told;
use super::directory::{self, Directory};
use super::driver::drive;
use super::kernel::{self, Kernel};
use crate::control::etcd;
use crate::tables::Overlay;

/// What is asked, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// flannel's keys in etcd.
    FlannelEtcd(etcd::Options),
    /// The kernel's own tables: a VXLAN device that somebody else programs.
    Kernel(kernel::Options),
    /// A directory of files.
    Directory(directory::Options),
}

impl Kind {
    /// What is asked, in a line without secrets: for people, and to tell whether a snapshot is of the same origin.
    pub fn origin(&self) -> String {
        match self {
            Self::FlannelEtcd(options) => options.origin(),
            Self::Kernel(kernel::Options { device, table }) => format!("kernel device {device} table {table}"),
            Self::Directory(options) => format!("directory {}", options.path.display()),
        }
    }

    /// May a prefix of one object lie within another's? Routes nest; leases of pod networks never do.
    pub fn nests(&self) -> bool {
        match self {
            Self::FlannelEtcd(_) => false,
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
            Self::Kernel(options) => {
                let segment = kernel::Segment { vni: overlay.vni, udp_port: overlay.udp_port, local: overlay.local };
                tokio::spawn(drive(Kernel::new(options.clone(), segment), told))
            }
            Self::Directory(options) => tokio::spawn(drive(Directory::new(options.clone()), told)),
            #[allow(unreachable_patterns, reason = "with all features every kind has an arm of its own")]
            _ => unbuilt(overlay, told),
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
