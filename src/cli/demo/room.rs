//! Directories of a demonstration, named after its process: a later one can tell which are nobody's.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::DemoError;

/// What its name begins with; the process id follows.
const PREFIX: &str = "selvedge-demo-";

/// A directory that goes with this value, unless somebody will want to read what is in it.
#[derive(Debug)]
pub(super) struct Room {
    path: PathBuf,
    /// Keep it when this value goes.
    pub(super) keep: bool,
}

impl Room {
    /// For what is small, and worth reading after a failure.
    pub(super) fn for_logs() -> Result<Self, DemoError> {
        Self::make(logs())
    }

    /// For data.
    #[cfg(feature = "etcd")]
    pub(super) fn for_data() -> Result<Self, DemoError> {
        Self::make(data())
    }

    /// Nobody else may look into it, nor have made it: in directories that all may write to, its name can be guessed.
    fn make(parent: PathBuf) -> Result<Self, DemoError> {
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|e| DemoError::Host(format!("cannot make the directory {}: {e}", path.display())))?;
        Ok(Self { path, keep: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn logs() -> PathBuf {
    "/run".into()
}

fn data() -> PathBuf {
    std::env::temp_dir()
}

/// Removes the directories of this very process, whatever they would have told. Before it has made any, those are of an
/// earlier one that had the same id.
pub(super) fn discard() {
    remove(|pid| pid == std::process::id());
}

/// Removes directories of demonstrations that are over.
pub(super) fn sweep() {
    remove(|pid| !Path::new(&format!("/proc/{pid}")).exists());
    discard();
}

fn remove(whose: impl Fn(u32) -> bool) {
    for entry in [logs(), data()].iter().flat_map(fs::read_dir).flatten().flatten() {
        if owner(&entry).is_some_and(&whose) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn owner(entry: &fs::DirEntry) -> Option<u32> {
    entry.file_name().to_str()?.strip_prefix(PREFIX)?.parse().ok()
}
