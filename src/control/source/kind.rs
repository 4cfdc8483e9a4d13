//! The kinds of sources: what the config file chooses among.

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::Told;
#[cfg(feature = "etcd")]
use super::driver::drive;
use crate::control::herald::{Standing, Wanted};
use crate::tables::Overlay;

/// What is asked, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// flannel on etcd.
    #[cfg(feature = "etcd")]
    FlannelEtcd(crate::control::etcd::Options),
}

/// What to send to the gateway, where its registration stands, and when it ends.
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
        match *self {
            #[cfg(feature = "etcd")]
            Self::FlannelEtcd(ref options) => options.origin(),
        }
    }

    /// May a prefix of one object lie within another's? Routes nest; leases of pod networks never do.
    pub fn nests(&self) -> bool {
        match *self {
            #[cfg(feature = "etcd")]
            Self::FlannelEtcd(_) => false,
        }
    }

    /// Can the gateway register itself where the map comes from?
    pub fn attracts(&self) -> bool {
        match *self {
            #[cfg(feature = "etcd")]
            Self::FlannelEtcd(_) => true,
        }
    }

    /// Follows it from now on, for `overlay`, until the task is aborted.
    #[allow(unused_variables, reason = "kinds may all be left out")]
    pub fn start(&self, overlay: &Overlay, told: Told) -> JoinHandle<()> {
        match *self {
            #[cfg(feature = "etcd")]
            Self::FlannelEtcd(ref options) => {
                let half = super::flannel::Half::of(overlay);
                tokio::spawn(drive(super::etcd::Etcd::new(options.clone(), half), told))
            }
        }
    }

    /// Registers the gateway from now on, so that nodes of `overlay` send to it; `None` where that cannot be.
    #[allow(unused_variables, reason = "kinds may all be left out")]
    pub fn attract(&self, overlay: &Overlay, attraction: Attraction) -> Option<JoinHandle<()>> {
        match *self {
            #[cfg(feature = "etcd")]
            Self::FlannelEtcd(ref options) => {
                use crate::control::herald;
                let Attraction { wanted, standing, end } = attraction;
                let herald = herald::etcd::Etcd::new(options.clone(), herald::OurEnd::of(overlay));
                Some(tokio::spawn(herald::drive(herald, wanted, standing, end)))
            }
        }
    }
}
