//! The kinds of sources: what the config file chooses among.

use tokio::task::JoinHandle;

use super::directory::{self, Directory};
use super::driver::drive;
use super::kernel::{self, Kernel};
use super::{Source, Told};
use crate::tables::Overlay;

/// What is asked, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The kernel's own tables: a VXLAN device that somebody else programs.
    Kernel(kernel::Options),
    /// A directory of files.
    Directory(directory::Options),
}

impl Kind {
    /// What is asked, in a line without secrets: for people, and to tell whether a snapshot is of the same origin.
    pub fn origin(&self) -> String {
        match self {
            Self::Kernel(kernel::Options { device, table }) => format!("kernel device {device} table {table}"),
            Self::Directory(options) => format!("directory {}", options.path.display()),
        }
    }

    /// May a prefix of one object lie within another's? Routes nest; leases of pod networks never do.
    pub fn nests(&self) -> bool {
        match self {
            Self::Kernel(_) | Self::Directory(_) => true,
        }
    }

    /// Follows it from now on, for `overlay`, until the task is aborted.
    pub fn start(&self, overlay: &Overlay, told: Told) -> JoinHandle<()> {
        match self.clone() {
            Self::Kernel(options) => {
                let segment = kernel::Segment { vni: overlay.vni, udp_port: overlay.udp_port, local: overlay.local };
                spawn(Kernel::new(options, segment), told)
            }
            Self::Directory(options) => spawn(Directory::new(options), told),
        }
    }
}

fn spawn(source: impl Source, told: Told) -> JoinHandle<()> {
    tokio::spawn(drive(source, told))
}
