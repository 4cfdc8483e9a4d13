//! Tells when the config file may have changed.

use std::collections::BTreeSet;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
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
pub(super) struct FileWatch {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    events: mpsc::Receiver<()>,
    path: PathBuf,
    /// `None` if it was never known.
    content: Option<Digest>,
    unrest: Option<Unrest>,
}

/// What is remembered of a content: a file of a million routes has tens of megabytes. Two contents are taken for one once
/// in 2⁶⁴ changes, and nobody can make two that are, for the hash has a key of its process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Digest {
    bytes: usize,
    hash: u64,
}

/// A content is read and hashed in pieces of so many bytes, for no more of it is needed at a time.
const PIECE: usize = 64 << 10;

impl Digest {
    fn of(mut content: impl Read) -> io::Result<Self> {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let (mut bytes, mut hasher, mut piece) = (0, KEY.build_hasher(), Vec::with_capacity(PIECE));
        while content.by_ref().take(PIECE as u64).read_to_end(&mut piece)? > 0 {
            bytes += piece.len();
            hasher.write(&piece);
            piece.clear();
        }
        Ok(Self { bytes, hash: hasher.finish() })
    }
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
    /// Starts watching a file of which `content` was read before; if it is another by now, that is the first change.
    /// Where a file cannot be watched a log line says so, and SIGHUP is left.
    pub(super) fn start(path: &Path, content: &[u8]) -> Self {
        // one place is enough: what matters is that something happened since
        let (sender, events) = mpsc::channel(1);
        let tell = move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|e| matches!(e.kind, EventKind::Access(_))) {
                let _ = sender.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(tell).inspect_err(|error| unwatched(path, error)).ok();
        let (path, now) = (path.to_owned(), Instant::now());
        let unrest = Some(Unrest { began: now, last: now });
        let content = Digest::of(content).ok();
        let mut watch = Self { watcher, watched: BTreeSet::new(), events, path, content, unrest };
        watch.follow_links();
        watch
    }

    /// Watches the directories that matter now, and no others.
    fn follow_links(&mut self) {
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
            outcome.inspect_err(|error| unwatched(path, error)).is_ok()
        };
        self.watched = matter.into_iter().filter(|directory| watch(directory)).collect();
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
        // first, so that what changes after it was read is heard of
        self.follow_links();
        let Ok(content) = File::open(&self.path).and_then(Digest::of) else { return false };
        self.content.replace(content) != Some(content)
    }
}

fn unwatched(path: &Path, error: &notify::Error) {
    tracing::warn!(%error, "{}: changes may go unnoticed; reload it with SIGHUP", path.display());
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
        let mut watch = FileWatch::start(&file, b"a");
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
        let mut watch = FileWatch::start(&at("gateway.toml"), b"a");
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(noticed(&mut watch).await);
    }

    #[tokio::test]
    async fn what_changed_before_the_watch_began_is_noticed() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("gateway.toml");
        fs::write(&file, "b").unwrap();
        let mut watch = FileWatch::start(&file, b"a");
        assert!(noticed(&mut watch).await);
        assert!(!noticed(&mut watch).await, "once");
    }

    #[test]
    fn a_digest_is_that_of_all_bytes_however_they_come() {
        let content: Vec<u8> = (0..3 * PIECE + 5).map(|n| n as u8).collect();
        let of = |content: &[u8]| Digest::of(content).unwrap();
        let (begin, rest) = content.split_at(PIECE / 3);
        assert_eq!(Digest::of(begin.chain(rest)).unwrap(), of(&content));
        for at in [0, PIECE - 1, PIECE, content.len() - 1] {
            let mut other = content.clone();
            other[at] ^= 1;
            assert_ne!(of(&other), of(&content), "byte {at}");
        }
        assert_ne!(of(&content[..2 * PIECE]), of(&content[..3 * PIECE]));
    }

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

    #[tokio::test]
    async fn what_links_lead_to_is_watched_where_it_is() {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        for directory in ["etc", "links", "one", "two"] {
            fs::create_dir(at(directory)).unwrap();
        }
        fs::write(at("one/real.toml"), "a").unwrap();
        symlink("../one", at("links/current")).unwrap();
        symlink(at("links/current/real.toml"), at("etc/gateway.toml")).unwrap();
        let mut watch = FileWatch::start(&at("etc/gateway.toml"), b"a");
        assert!(!noticed(&mut watch).await, "nothing happened");
        fs::write(at("one/real.toml"), "b").unwrap();
        assert!(noticed(&mut watch).await, "the target is edited in place");
        fs::write(at("two/real.toml"), "c").unwrap();
        symlink("../two", at("links/next")).unwrap();
        fs::rename(at("links/next"), at("links/current")).unwrap();
        assert!(noticed(&mut watch).await, "a link on the way leads elsewhere");
        fs::write(at("two/new.toml"), "d").unwrap();
        fs::rename(at("two/new.toml"), at("two/real.toml")).unwrap();
        assert!(noticed(&mut watch).await, "another file in place of the new target");
        fs::write(at("one/real.toml"), "e").unwrap();
        assert!(!noticed(&mut watch).await, "the old one is nobody's");
        assert_eq!(watch.watched.len(), 3, "{:?}", watch.watched);
    }
}
