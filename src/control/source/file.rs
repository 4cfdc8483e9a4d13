//! The config file as a source: each load is a complete list.

use super::{Change, Event, SourceId};
use crate::control::Route;

/// The file's id.
pub const FILE: SourceId = SourceId(0);

/// The events of one load.
pub fn listing(routes: &[Route]) -> impl Iterator<Item = Event> + '_ {
    let announced = routes.iter().map(|r| Change::Announce(*r));
    [Change::Resync].into_iter().chain(announced).chain([Change::Synced]).map(|change| Event { source: FILE, change })
}
