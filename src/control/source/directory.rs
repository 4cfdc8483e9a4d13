//! A directory of files as a source: each `*.toml` in it is an object and says which nodes there are.
//!
//! What a file says is read by whoever knows the format (the config does). A file that is wrong, half-written or empty
//! takes nothing back of what it said before: it is told what is wrong with it. To say nothing any more, delete it.

use core::convert::Infallible;
use core::time::Duration;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

use super::{Claim, Fault, News, Object, Refusal, Source, Told};
use crate::control::watch::Disturbances;

/// Reads the content of a file, or says all that is wrong with it: where, what, and what would be right.
pub type Reader = fn(&[u8]) -> Result<Vec<Claim>, Vec<String>>;

/// How often it is told that nothing has changed. Then the directory is looked at, too, heard of or not: some file systems
/// announce nothing.
const ALIVE: Duration = Duration::from_secs(5);
/// Larger files are refused: a hundred thousand nodes take a tenth of this.
const MAX_FILE: u64 = 64 << 20;
/// What is left where a directory cannot be watched.
const INSTEAD: &str = "it is looked at every 5 seconds";

/// Where the files are, and who reads them.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory.
    pub path: PathBuf,
    /// Reads a file.
    pub read: Reader,
}

/// There is one format.
impl PartialEq for Options {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Options {}

/// Why the directory cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("the directory {path} cannot be read: {source}", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The thread that reads did not finish.
    #[error("reading the files: {0}")]
    Reader(#[from] JoinError),
}

/// A directory of files as a source.
#[derive(Debug)]
pub struct Directory {
    options: Options,
    /// What each file said last, by its name: what stays in force while it is wrong.
    said: BTreeMap<String, Object>,
}

impl Directory {
    /// A source of the files of a directory.
    pub fn new(options: Options) -> Self {
        Self { options, said: BTreeMap::new() }
    }

    /// Looks at all files, on a thread of its own.
    async fn look(&mut self) -> Result<BTreeMap<String, Object>, Error> {
        let (Options { path, read }, said) = (self.options.clone(), self.said.clone());
        spawn_blocking(move || look(&path, read, &said).map_err(|source| Error::Unreadable { path, source })).await?
    }
}

impl Source for Directory {
    type Error = Error;

    async fn follow(&mut self, told: &Told) -> Result<Infallible, Error> {
        let mut disturbances = Disturbances::start(&self.options.path.join("any"), INSTEAD);
        self.said = self.look().await?;
        told.say(News::Listing).await;
        for object in self.said.values() {
            told.say(News::Is(object.clone())).await;
        }
        told.say(News::Listed).await;
        loop {
            let disturbed = timeout(ALIVE, disturbances.calm()).await.is_ok();
            disturbances.follow_links(INSTEAD);
            let now = self.look().await?;
            for gone in self.said.values().filter(|object| !now.contains_key(&*object.key)) {
                told.say(News::Gone(gone.key.clone())).await;
            }
            for object in now.values().filter(|object| self.said.get(&*object.key) != Some(object)) {
                told.say(News::Is(object.clone())).await;
            }
            self.said = now;
            if !disturbed {
                told.say(News::Alive).await;
            }
        }
    }
}

/// What all files say. One that is wrong says what it said before, and what is wrong with it.
fn look(directory: &Path, read: Reader, said: &BTreeMap<String, Object>) -> io::Result<BTreeMap<String, Object>> {
    let mut now = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // hidden ones are what editors write before they rename
        if !name.ends_with(".toml") || name.starts_with('.') {
            continue;
        }
        let (claims, faults) = match content(&entry.path()) {
            Ok(None) => continue,
            Ok(Some(bytes)) => match read(&bytes) {
                Ok(claims) => (claims, Vec::new()),
                Err(wrong) => (before(said, &name), wrong),
            },
            Err(e) => (before(said, &name), vec![format!("it cannot be read: {e}")]),
        };
        let faults = faults.into_iter().map(|what| Fault::new(Refusal::Malformed, what)).collect();
        now.insert(name.clone(), Object { key: name.into(), claims, faults });
    }
    Ok(now)
}

fn before(said: &BTreeMap<String, Object>, name: &str) -> Vec<Claim> {
    said.get(name).map(|object| object.claims.clone()).unwrap_or_default()
}

/// What is in a file; nothing if there is none, any more or at all.
fn content(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    // not opened before it is known to be a file, for to open a FIFO is to wait
    let read = fs::metadata(path).and_then(|metadata| match metadata.is_file() {
        true => File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes).map(Some),
        false => Ok(None),
    });
    match read {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Err(_) | Ok(None) => return Ok(None),
        Ok(Some(_)) => {}
    }
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("it is larger than {} MiB", MAX_FILE >> 20)));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::control::source::{SourceId, driver::drive, news::Ears};
    use crate::wire::{Mac, Prefix};

    /// A file of this test holds one prefix.
    fn read(bytes: &[u8]) -> Result<Vec<Claim>, Vec<String>> {
        let text = str::from_utf8(bytes).map_err(|e| vec![e.to_string()])?;
        let prefix: Prefix = text.trim().parse().map_err(|e| vec![format!("line 1: {e}")])?;
        Ok(vec![Claim { prefix, vtep: [192, 0, 2, 1].into(), mac: Mac([2, 0, 0, 0, 0, 1]) }])
    }

    struct Room {
        room: tempfile::TempDir,
        ears: Ears,
    }

    impl Room {
        fn at(&self, name: &str) -> PathBuf {
            self.room.path().join(name)
        }

        /// The next news, as a line.
        async fn next(&mut self) -> String {
            loop {
                let news = timeout(Duration::from_secs(4), self.ears.recv()).await;
                match news.expect("within four seconds").expect("the source goes on").1 {
                    News::Alive => {}
                    News::Is(object) => {
                        let claims: Vec<_> = object.claims.iter().map(|claim| claim.prefix).collect();
                        let faults: Vec<_> = object.faults.iter().map(|fault| &*fault.what).collect();
                        return format!("{} {claims:?} {}", object.key, faults.join("; ")).trim().to_owned();
                    }
                    News::Gone(key) => return format!("{key} is gone"),
                    News::Lost(why) => return why,
                    news => return format!("{news:?}"),
                }
            }
        }
    }

    fn start() -> Room {
        let room = tempfile::tempdir().unwrap();
        fs::create_dir(room.path().join("d")).unwrap();
        let (told, ears) = Told::channel(SourceId(1));
        tokio::spawn(drive(Directory::new(Options { path: room.path().join("d"), read }), told));
        Room { room, ears }
    }

    #[tokio::test]
    async fn files_come_change_and_go_and_a_wrong_one_takes_nothing_back() {
        let mut room = start();
        assert_eq!((room.next().await, room.next().await), ("Listing".to_owned(), "Listed".to_owned()));
        let file = room.at("d/a.toml");
        fs::write(&file, "10.1.0.0/16").unwrap();
        assert_eq!(room.next().await, "a.toml [10.1.0.0/16]");
        fs::write(room.at("d/.a.toml.swp"), "10.9.0.0/16").unwrap();
        fs::write(room.at("d/new"), "10.2.0.0/16").unwrap();
        fs::rename(room.at("d/new"), &file).unwrap();
        assert_eq!(room.next().await, "a.toml [10.2.0.0/16]", "by a rename, and nothing of the others");
        fs::write(&file, "10.3.").unwrap();
        let wrong = room.next().await;
        assert!(wrong.starts_with("a.toml [10.2.0.0/16] line 1: `10.3.` is not an IP prefix"), "{wrong}");
        fs::remove_file(&file).unwrap();
        symlink("/dev/zero", room.at("d/zero.toml")).unwrap();
        assert_eq!(room.next().await, "a.toml is gone");
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_takes_nothing_back() {
        let mut room = start();
        fs::write(room.at("d/a.toml"), "10.1.0.0/16").unwrap();
        while room.next().await != "a.toml [10.1.0.0/16]" {}
        fs::rename(room.at("d"), room.at("away")).unwrap();
        loop {
            let news = room.next().await;
            assert!(!news.ends_with("is gone"), "{news}");
            if news.contains("cannot be read: No such file") {
                break;
            }
        }
        fs::create_dir(room.at("d")).unwrap();
        let mut news = Vec::new();
        while news.last().is_none_or(|last| last != "Listed") {
            news.push(room.next().await);
        }
        assert_eq!(news[news.len() - 2..], ["Listing", "Listed"], "{news:?}");
    }
}
