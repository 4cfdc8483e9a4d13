//! Tells when a file, or the files of a directory, may have changed.

use std::collections::BTreeSet;
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
/// so watching the file itself would watch the old one. Where links lead to the file, every directory that one of them
/// is in is watched as well as the file's own, and found anew whenever something happened.
#[derive(Debug)]
pub struct Disturbances {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    events: mpsc::Receiver<()>,
    path: PathBuf,
    unrest: Option<Unrest>,
}

/// Something happened and nobody has looked since.
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

impl Disturbances {
    /// Watches for what happens to a file, or to the files beside it. The start counts as a disturbance: what happened
    /// before is not known. Where nothing can be watched a log line says so, and that it takes `instead`.
    pub fn start(path: &Path, instead: &'static str) -> Self {
        // one place is enough: what matters is that something happened since
        let (sender, events) = mpsc::channel(1);
        let tell = move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|e| matches!(e.kind, EventKind::Access(_))) {
                let _ = sender.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(tell).inspect_err(|error| unwatched(path, instead, error)).ok();
        let (path, now) = (path.to_owned(), Instant::now());
        let unrest = Some(Unrest { began: now, last: now });
        let mut watch = Self { watcher, watched: BTreeSet::new(), events, path, unrest };
        watch.follow_links(instead);
        watch
    }

    /// Watches the directories that matter now, and no others. To be called before the files are looked at, so that what
    /// changes after that is heard of.
    pub fn follow_links(&mut self, instead: &'static str) {
        let Some(watcher) = &mut self.watcher else { return };
        let matter = directories(&self.path);
        for gone in self.watched.difference(&matter) {
            // it may not be there any more
            let _ = watcher.unwatch(gone);
        }
        let (path, watched) = (&self.path, &self.watched);
        let mut watch = |directory: &PathBuf| {
            let outcome = match watched.contains(directory) {
                true => Ok(()),
                false => watcher.watch(directory, RecursiveMode::NonRecursive),
            };
            outcome.inspect_err(|error| unwatched(path, instead, error)).is_ok()
        };
        self.watched = matter.into_iter().filter(|directory| watch(directory)).collect();
    }

    /// Waits until something has happened, and nothing more for a while. Cancel-safe: what was heard and not yet told is
    /// kept for that.
    pub async fn calm(&mut self) {
        loop {
            let event = match self.unrest {
                None => self.events.recv().await,
                Some(unrest) => tokio::select! {
                    biased;
                    () = sleep_until(unrest.over()) => {
                        self.unrest = None;
                        return;
                    }
                    event = self.events.recv() => event,
                },
            };
            match event {
                Some(()) => self.disturbed(Instant::now()),
                // nothing will ever be heard again; what was heard is still told
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

    /// How many directories are watched.
    pub fn watched(&self) -> usize {
        self.watched.len()
    }
}

fn unwatched(path: &Path, instead: &str, error: &notify::Error) {
    tracing::warn!(%error, "{}: changes may go unnoticed; {instead}", path.display());
}

/// Links followed on the way to a file, as in the kernel (MAXSYMLINKS).
const LINKS: usize = 40;

/// The directory a path is in; those that hold the links it leads through; and the one the file itself is in.
fn directories(path: &Path) -> BTreeSet<PathBuf> {
    let parent = |path: &Path| {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        parent.unwrap_or(Path::new(".")).to_owned()
    };
    let mut found = BTreeSet::from([parent(path)]);
    let mut at = path.to_owned();
    for _ in 0..LINKS {
        let Some(link) = first_link(&at) else { break };
        let (Ok(target), Ok(rest)) = (std::fs::read_link(&link), at.strip_prefix(&link)) else { break };
        found.insert(parent(&link));
        // a relative target counts from where the link is; an absolute one replaces it
        let next = parent(&link).join(target);
        at = if rest.as_os_str().is_empty() { next } else { next.join(rest) };
    }
    found.insert(parent(&at));
    // by one name each: the kernel has one watch for a directory, and the end of one name's would be that of all
    found.into_iter().map(|directory| directory.canonicalize().unwrap_or(directory)).collect()
}

/// The first part of a path that is a link.
fn first_link(path: &Path) -> Option<PathBuf> {
    let mut parts: Vec<_> = path.ancestors().filter(|p| !p.as_os_str().is_empty()).collect();
    parts.reverse();
    parts.into_iter().find(|part| part.is_symlink()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_is_watched_by_one_name() {
        let room = tempfile::tempdir().unwrap();
        fs::create_dir(room.path().join("real")).unwrap();
        symlink("real", room.path().join("alias")).unwrap();
        symlink("../alias/target.toml", room.path().join("real/gateway.toml")).unwrap();
        let real = room.path().canonicalize().unwrap();
        let found = directories(&room.path().join("alias/../alias/gateway.toml"));
        assert!(found.contains(&real) && found.contains(&real.join("real")), "{found:?}");
        assert!(found.iter().all(|d| d.canonicalize().unwrap() == *d), "{found:?}");
        assert_eq!(
            directories(Path::new("x.toml")),
            BTreeSet::from([std::env::current_dir().unwrap().canonicalize().unwrap()])
        );
    }
}
