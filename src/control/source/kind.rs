//! The kinds of sources: what the config file chooses among.

use super::Told;
use crate::tables::Overlay;

/// What is asked, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {}

impl Kind {
    /// What is asked, in a line without secrets: for people, and to tell whether a snapshot is of the same origin.
    pub fn origin(&self) -> String {
        match *self {}
    }

    /// May a prefix of one object lie within another's? Routes nest; leases of pod networks never do.
    pub fn nests(&self) -> bool {
        match *self {}
    }

    /// Follows it from now on, for `overlay`, until the task is aborted.
    pub fn start(&self, _overlay: &Overlay, _told: Told) -> tokio::task::JoinHandle<()> {
        match *self {}
    }
}
