//! The kinds of sources: what the config file chooses among.

use tokio::task::JoinHandle;

use super::Told;
use crate::control::etcd;
use crate::tables::Overlay;

/// What is asked, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// flannel's keys in etcd.
    FlannelEtcd(etcd::Options),
}

impl Kind {
    /// What is asked, in a line without secrets: for people, and to tell whether a snapshot is of the same origin.
    pub fn origin(&self) -> String {
        match self {
            Self::FlannelEtcd(options) => options.origin(),
        }
    }

    /// May a prefix of one object lie within another's? Routes nest; leases of pod networks never do.
    pub fn nests(&self) -> bool {
        match self {
            Self::FlannelEtcd(_) => false,
        }
    }

    /// Follows it from now on, for `overlay`, until the task is aborted. A kind that this gateway was built without is no
    /// kind that a config can have.
    pub fn start(&self, overlay: &Overlay, told: Told) -> JoinHandle<()> {
        match self {
            #[cfg(feature = "etcd")]
            Self::FlannelEtcd(options) => tokio::spawn(super::driver::drive(
                super::etcd::Etcd::new(options.clone(), super::flannel::Half::of(overlay)),
                told,
            )),
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
