//! The systems that are measured, each in a bed of its own.

mod kernel;
mod selvedge;

use crate::Result;
use crate::bed::Bed;

pub(crate) use self::selvedge::{Cores, Gateway, Settings};

/// What can be put into a bed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Peer {
    /// The gateway.
    Selvedge,
    /// The kernel's vxlan device and IP forwarding, programmed as flannel does.
    Kernel,
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Selvedge => "selvedge",
            Self::Kernel => "kernel",
        }
    }
}

/// A system at work in its bed. Dropping it stops what it started.
pub(crate) struct Running {
    _gateway: Option<Gateway>,
}

/// Puts a system into a bed and starts it.
pub(crate) fn start(peer: Peer, bed: &Bed, settings: &Settings) -> Result<Running> {
    match peer {
        Peer::Selvedge => Ok(Running { _gateway: Some(Gateway::start(bed, settings)?) }),
        Peer::Kernel => kernel::start(bed).map(|()| Running { _gateway: None }),
    }
}
