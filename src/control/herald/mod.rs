//! Attraction: where the nodes of an overlay take their map from, the gateway registers itself as the node that has the
//! prefixes of others, so that nodes send to it and none of them is touched.

mod driver;
#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(feature = "kubernetes")]
pub mod kube;

pub use driver::drive;

use core::convert::Infallible;
use core::future::Future;
use core::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::tables::Overlay;
use crate::wire::{Mac, Prefix, Vni};

/// Our end of the overlay, as nodes are to reach it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OurEnd {
    /// Our VTEP address.
    pub vtep: IpAddr,
    /// Our VTEP MAC.
    pub mac: Mac,
    /// The overlay's network identifier.
    pub vni: Vni,
    /// The overlay's UDP port.
    pub udp_port: u16,
}

impl OurEnd {
    /// Our end of an overlay.
    pub fn of(overlay: &Overlay) -> Self {
        Self { vtep: overlay.local, mac: overlay.mac, vni: overlay.vni, udp_port: overlay.udp_port }
    }
}

/// What nodes are to send to the gateway: prefixes, sorted, none within another. Nothing is known of it before the first change.
pub type Wanted = watch::Receiver<Arc<[Prefix]>>;

/// What became of an attempt to register.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// All that is wanted is registered; so many entries.
    Registered(usize),
    /// What is not, and why: somebody else has it, the format cannot say it, it is forbidden. The rest is registered.
    Partly(Vec<String>),
    /// Nothing can be registered or kept at present, and why.
    Lost(String),
}

/// Something that registers the gateway.
pub trait Herald: Send + 'static {
    /// Why it could not go on.
    type Error: core::error::Error + Send + Sync + 'static;

    /// Brings what is registered in step with `wanted`, keeps it alive, and follows each change of `wanted`. What ends it
    /// is the error; it is called again after a pause. It tells its standing whenever that changes.
    ///
    /// What the gateway does not own is never overwritten: a conflict is told by [`Standing::Partly`]. What an earlier
    /// process of this gateway left registered is its own: that is taken over, or removed if it is not wanted any more.
    fn keep(
        &mut self,
        wanted: &mut Wanted,
        standing: &watch::Sender<Standing>,
    ) -> impl Future<Output = Result<Infallible, Self::Error>> + Send;

    /// Takes back everything it registered, at the end of the gateway.
    fn retire(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
