//! Where the map comes from. A source announces and withdraws routes; it knows nothing of workers or packets.

pub mod file;

use super::Route;
use crate::wire::Prefix;

/// A source of routes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SourceId(pub u8);

/// What a source has to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// This prefix is there now.
    Announce(Route),
    /// This prefix is gone.
    Withdraw(Prefix),
    /// A list of everything begins: what is not announced before [`Change::Synced`] is gone.
    Resync,
    /// The list is complete.
    Synced,
}

/// One message of one source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Who says it.
    pub source: SourceId,
    /// What.
    pub change: Change,
}
