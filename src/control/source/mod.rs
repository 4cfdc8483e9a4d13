//! Where the map is learnt from. A source tells what objects there are (nodes, subnet keys, routes of the kernel) and
//! what each says; it knows nothing of overlays, other sources, workers or packets.
//!
//! | file | what it holds |
//! |---|---|
//! | `news` | what a source may say: [`News`], [`Object`], [`Claim`] |
//! | `refusal` | why something it says is not taken |
//! | `driver` | keeps a source going: again after every failure, with growing pauses |
//! | `etcd` | flannel on etcd |
//! | `kind` | the kinds there are: what the config file chooses among |
//! | `file` | the config file as a source |
//! | `directory` | a directory of files |
//! | `flannel` | what flannel publishes, by etcd or by the Kubernetes API |
//! | `kernel` | the kernel's own tables: routes by a VXLAN device |
//! | `kube` | flannel's nodes on a Kubernetes API server |

pub mod directory;
pub mod driver;
#[cfg(feature = "etcd")]
pub mod etcd;
pub mod file;
pub mod flannel;
pub mod kernel;
pub mod kind;
#[cfg(feature = "kubernetes")]
pub mod kube;
pub mod news;
pub mod refusal;

use core::convert::Infallible;
use core::future::Future;

pub use kind::Kind;
pub use news::{Claim, Key, News, Object, Told};
pub use refusal::{Fault, Refusal};

use super::{Route, Targets};
use crate::wire::Prefix;

/// A place the map is learnt from.
///
/// A source holds its connection, and nothing of what it has told: whoever listens keeps the objects, finds out what a
/// list no longer names, and decides what is believed.
pub trait Source: Send + 'static {
    /// Why it could not go on.
    type Error: core::error::Error + Send + Sync + 'static;

    /// One attempt, from connecting to the end of the connection: subscribes or notes where to follow from, **then**
    /// tells a complete list ([`News::Listing`], every object, [`News::Listed`]), then each change as it comes, and
    /// [`News::Alive`] when it hears that there is none. What ends it is the error; it is called again after a pause.
    ///
    /// A list that cannot be completed is an error before [`News::Listed`]: half a list must take nothing away. Where the
    /// connection stays but changes were missed (a compacted revision, an overrun), another complete list follows.
    fn follow(&mut self, told: &Told) -> impl Future<Output = Result<Infallible, Self::Error>> + Send;
}

/// A source of routes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SourceId(pub u8);

/// What becomes of the routes of a source. What is announced takes the place of all that the source had said of the
/// prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// This prefix is there now.
    Announce(Route),
    /// This prefix is there now, and behind any of these.
    AnnounceAll(Prefix, Targets),
    /// This prefix is gone.
    Withdraw(Prefix),
    /// A list of everything begins: what is not announced before [`Change::Synced`] is gone.
    Resync,
    /// The list is complete.
    Synced,
}

/// One change of one source, as the RIB takes it in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Who says it.
    pub source: SourceId,
    /// What.
    pub change: Change,
}
