//! Tells when the config file may have changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::EventKind;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Editors and configuration managers write in several steps: wait until nothing has happened for so long.
const CALM: Duration = Duration::from_millis(100);
/// But no longer than this: somebody else may write into the directory all the time.
const PATIENCE: Duration = Duration::from_millis(400);

/// Watches the directory of a file: files are replaced by renames, and Kubernetes swaps whole directories by links,
/// so watching the file itself would watch the old one.
#[derive(Debug)]
pub(super) struct FileWatch {
    // keeps the watch alive
    _watcher: Option<RecommendedWatcher>,
    events: mpsc::Receiver<()>,
    path: PathBuf,
    content: Option<Vec<u8>>,
    unrest: Option<Unrest>,
}

/// Something happened and the file has not been looked at since.
#[derive(Clone, Copy, Debug)]
struct Unrest {
    began: Instant,
    last: Instant,
}

impl Unrest {
    fn over(&self) -> Instant {
        (self.last + CALM).min(self.began + PATIENCE)
    }
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
        Self { _watcher: watcher, events, path: path.to_owned(), content: std::fs::read(path).ok(), unrest: None }
    }

    /// Waits until the file's content is another than it was when this was asked last. A file that is missing for a
    /// moment is no change. Cancel-safe: what was heard and not yet looked into is kept.
    pub(super) async fn changed(&mut self) {
        loop {
            let event = match self.unrest {
                None => self.events.recv().await,
                Some(unrest) => tokio::select! {
                    biased;
                    () = sleep_until(unrest.over()) => {
                        self.unrest = None;
                        if self.renewed() {
                            return;
                        }
                        continue;
                    }
                    event = self.events.recv() => event,
                },
            };
            match event {
                Some(()) => self.disturbed(Instant::now()),
                // nothing will ever be heard again; what was heard is still looked into
                None => match self.unrest {
                    Some(unrest) => sleep_until(unrest.over()).await,
                    None => std::future::pending().await,
                },
            }
        }
    }

    fn disturbed(&mut self, now: Instant) {
        let began = self.unrest.map_or(now, |u| u.began);
        self.unrest = Some(Unrest { began, last: now });
    }

    /// Reads the file. True when its content changed.
    pub(super) fn renewed(&mut self) -> bool {
        let Ok(content) = std::fs::read(&self.path) else { return false };
        let new = self.content.as_ref() != Some(&content);
        self.content = Some(content);
        new
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tokio::time::timeout;

    use super::*;

    /// What the control plane's loop does: something else ends the wait again and again.
    async fn noticed(watch: &mut FileWatch) -> bool {
        let deadline = Instant::now() + Duration::from_secs(1);
        while Instant::now() < deadline {
            if timeout(Duration::from_millis(30), watch.changed()).await.is_ok() {
                return true;
            }
        }
        false
    }

    #[tokio::test]
    async fn every_way_to_replace_a_file_is_noticed_once_however_often_the_wait_is_cancelled() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("gateway.toml");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::start(&file);
        assert!(!noticed(&mut watch).await, "nothing happened");
        fs::write(&file, "b").unwrap();
        assert!(noticed(&mut watch).await, "written in place");
        let other = room.path().join("other");
        fs::write(&other, "c").unwrap();
        fs::rename(&other, &file).unwrap();
        assert!(noticed(&mut watch).await, "another file in its place");
        fs::remove_file(&file).unwrap();
        assert!(!noticed(&mut watch).await, "gone");
        fs::write(&file, "c").unwrap();
        assert!(!noticed(&mut watch).await, "back as it was");
        fs::remove_file(&file).unwrap();
        fs::write(&file, "d").unwrap();
        assert!(noticed(&mut watch).await, "back as another");
        assert!(!noticed(&mut watch).await, "once");
    }

    #[tokio::test]
    async fn a_swap_of_the_directory_behind_a_link_is_noticed() {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        for (version, text) in [("..1", "a"), ("..2", "b")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("gateway.toml"), text).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/gateway.toml", at("gateway.toml")).unwrap();
        let mut watch = FileWatch::start(&at("gateway.toml"));
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(noticed(&mut watch).await);
    }
}
