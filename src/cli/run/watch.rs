//! Tells when the config file may have changed.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::control::watch::Disturbances;

/// What is left where the file cannot be watched.
const INSTEAD: &str = "reload it with SIGHUP";

/// Watches a file for other contents.
#[derive(Debug)]
pub(super) struct FileWatch {
    disturbances: Disturbances,
    path: PathBuf,
    /// `None` if it was never known.
    content: Option<Digest>,
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

impl FileWatch {
    /// Starts watching a file of which `content` was read before; if it is another by now, that is the first change.
    /// Where a file cannot be watched a log line says so, and SIGHUP is left.
    pub(super) fn start(path: &Path, content: &[u8]) -> Self {
        let disturbances = Disturbances::start(path, INSTEAD);
        Self { disturbances, path: path.to_owned(), content: Digest::of(content).ok() }
    }

    /// Waits until the file's content is another than it was when this was asked last. A file that is missing for a
    /// moment is no change. Cancel-safe: what was heard and not yet looked into is kept.
    pub(super) async fn changed(&mut self) {
        loop {
            self.disturbances.calm().await;
            if self.renewed() {
                return;
            }
        }
    }

    /// Reads the file. True when its content changed.
    pub(super) fn renewed(&mut self) -> bool {
        self.disturbances.follow_links(INSTEAD);
        let Ok(content) = File::open(&self.path).and_then(Digest::of) else { return false };
        self.content.replace(content) != Some(content)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

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
        assert_eq!(watch.disturbances.watched(), 3);
    }
}
