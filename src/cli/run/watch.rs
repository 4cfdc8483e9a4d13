//! Tells when the config file may have changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::EventKind;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Editors and configuration managers write in several steps: wait until they are done.
const CALM: Duration = Duration::from_millis(100);

/// Watches the directory of a file: files are replaced by renames, and Kubernetes swaps whole directories by links,
/// so watching the file itself would watch the old one.
#[derive(Debug)]
pub(super) struct FileWatch {
    // keeps the watch alive
    _watcher: Option<RecommendedWatcher>,
    events: mpsc::Receiver<()>,
    path: PathBuf,
    content: Option<Vec<u8>>,
}

impl FileWatch {
    /// Starts watching. Where that cannot be done a log line says so, and SIGHUP is left.
    pub(super) fn start(path: &Path) -> Self {
        // one place is enough: what matters is that something happened since
        let (sender, events) = mpsc::channel(1);
        let tell = move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|e| matches!(e.kind, EventKind::Access(_))) {
                let _ = sender.try_send(());
            }
        };
        let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let watcher = notify::recommended_watcher(tell).and_then(|mut watcher| {
            watcher.watch(directory, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "the config file is not watched; reload it with SIGHUP"))
            .ok();
        Self { _watcher: watcher, events, path: path.to_owned(), content: std::fs::read(path).ok() }
    }

    /// Waits until the file's content is another than it was when this was asked last. Cancel-safe but for the time
    /// waited. A file that is missing for a moment is no change.
    pub(super) async fn changed(&mut self) {
        loop {
            if self.events.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(CALM).await;
            while self.events.try_recv().is_ok() {}
            if self.renewed() {
                return;
            }
        }
    }

    /// Reads the file. True when its content changed.
    pub(super) fn renewed(&mut self) -> bool {
        let Ok(content) = std::fs::read(&self.path) else { return false };
        let new = self.content.as_ref() != Some(&content);
        self.content = Some(content);
        new
    }
}
