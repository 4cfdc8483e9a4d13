//! What was learnt, on disk: a gateway that starts while a source is away serves what the source said last.
//!
//! One file a source. The first line is a header in JSON: version, source, origin, and the length and CRC-32 of the rest.
//! Each line after it is an object in JSON. A file is replaced by a rename once it is on disk, so that there is a whole one
//! at any time.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Learner;
use crate::control::source::{Claim, Key, Object};

/// The version of the format, which goes up with each change that an older gateway would misread.
const VERSION: u32 = 1;

/// What one source has said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    source: Arc<str>,
    origin: Arc<str>,
    objects: Vec<(Key, Vec<Claim>)>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    selvedge_snapshot: u32,
    source: String,
    origin: String,
    bytes: usize,
    crc32: u32,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    object: std::borrow::Cow<'a, str>,
    /// Prefix, VTEP address, VTEP MAC.
    claims: Vec<(String, String, String)>,
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is no snapshot, or its first line is damaged.
    #[error("does not begin with the header of a snapshot")]
    NoHeader,
    /// It was written by another version of the gateway.
    #[error("has version {found} of the format; this gateway reads version {VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
    /// It was cut off, or changed.
    #[error("is damaged: its content is not what its header says")]
    Damaged,
}

impl Snapshot {
    pub(super) fn of<'a>(learner: &Learner, claims: impl Iterator<Item = (&'a Key, &'a [Claim])>) -> Self {
        let objects = claims.map(|(key, claims)| (key.clone(), claims.to_vec())).collect();
        Self { source: learner.name.clone(), origin: learner.origin.clone(), objects }
    }

    /// The source it is of.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Writes it into a directory, which is made if it is missing. Blocks until it is on disk.
    ///
    /// # Errors
    /// What the system says. A snapshot that was there before still is.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let (place, new) = (file_of(directory, &self.source), directory.join(format!(".{}.new", self.source)));
        let mut file = File::create(&new)?;
        file.write_all(&self.encoded()?)?;
        file.sync_all()?;
        fs::rename(&new, &place)?;
        // the rename is on disk once the directory is
        File::open(directory)?.sync_all()
    }

    /// What a source said last, if it is the same source with the same origin; nothing if there is no snapshot.
    ///
    /// # Errors
    /// It is there and cannot be used.
    pub fn read(directory: &Path, learner: &Learner) -> Result<Vec<Object>, SnapshotError> {
        let bytes = match fs::read(file_of(directory, &learner.name)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let end = bytes.iter().position(|b| *b == b'\n').ok_or(SnapshotError::NoHeader)?;
        let (header, body) = (&bytes[..end], &bytes[end + 1..]);
        let header: Header = serde_json::from_slice(header).map_err(|_| SnapshotError::NoHeader)?;
        if header.selvedge_snapshot != VERSION {
            return Err(SnapshotError::Version { found: header.selvedge_snapshot });
        }
        if header.bytes != body.len() || header.crc32 != crc32fast::hash(body) {
            return Err(SnapshotError::Damaged);
        }
        if header.source != *learner.name || header.origin != *learner.origin {
            return Ok(Vec::new()); // what others said is not what this one says
        }
        let lines = body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| object(line).ok_or(SnapshotError::Damaged)).collect()
    }

    fn encoded(&self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        for (key, claims) in &self.objects {
            let claims = claims.iter().map(|c| (c.prefix.to_string(), c.vtep.to_string(), c.mac.to_string()));
            serde_json::to_writer(&mut body, &Line { object: (&**key).into(), claims: claims.collect() })?;
            body.push(b'\n');
        }
        let header = Header {
            selvedge_snapshot: VERSION,
            source: self.source.to_string(),
            origin: self.origin.to_string(),
            bytes: body.len(),
            crc32: crc32fast::hash(&body),
        };
        let mut bytes = serde_json::to_vec(&header)?;
        bytes.push(b'\n');
        bytes.append(&mut body);
        Ok(bytes)
    }
}

/// Where a source's snapshot is. Names of sources are letters, digits and hyphens.
fn file_of(directory: &Path, source: &str) -> PathBuf {
    directory.join(format!("{source}.map"))
}

fn object(line: &[u8]) -> Option<Object> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let claim = |(prefix, vtep, mac): &(String, String, String)| {
        Some(Claim { prefix: prefix.parse().ok()?, vtep: vtep.parse().ok()?, mac: mac.parse().ok()? })
    };
    let claims = line.claims.iter().map(claim).collect::<Option<_>>()?;
    Some(Object { key: (&*line.object).into(), claims, faults: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::learnt::rules::tests::rules;
    use crate::control::rib::Preference;
    use crate::control::source::SourceId;

    fn learner(name: &str, origin: &str) -> Learner {
        Learner {
            id: SourceId(1),
            name: name.into(),
            origin: origin.into(),
            preference: Preference(100),
            rules: rules(),
        }
    }

    fn sample() -> Vec<(Key, Vec<Claim>)> {
        let claim = |prefix: &str, n| Claim {
            prefix: prefix.parse().unwrap(),
            vtep: [192, 0, 2, n].into(),
            mac: crate::wire::Mac([2, 0, 0, 0, 0, n]),
        };
        vec![
            ("plain".into(), vec![claim("10.1.0.0/24", 1), claim("fd00::/64", 2)]),
            ("/a \"b\"\n&c".into(), vec![claim("10.2.0.0/24", 3)]),
        ]
    }

    #[test]
    fn what_was_written_is_read_and_nothing_that_was_touched() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("not/there/yet");
        let one = learner("one", "etcd");
        assert_eq!(Snapshot::read(&dir, &one).unwrap(), []);
        let objects = sample();
        let snapshot = Snapshot::of(&one, objects.iter().map(|(k, c)| (k, c.as_slice())));
        snapshot.write(&dir).unwrap();
        snapshot.write(&dir).unwrap();
        let expected: Vec<_> =
            objects.iter().map(|(k, c)| Object { key: k.clone(), claims: c.clone(), faults: vec![] }).collect();
        assert_eq!(Snapshot::read(&dir, &one).unwrap(), expected);
        assert_eq!(Snapshot::read(&dir, &learner("one", "another etcd")).unwrap(), []);
        assert_eq!(Snapshot::read(&dir, &learner("two", "etcd")).unwrap(), []);
        let file = file_of(&dir, "one");
        let bytes = fs::read(&file).unwrap();
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            fs::write(&file, &damaged).unwrap();
            assert!(Snapshot::read(&dir, &one).map_or(true, |objects| objects.is_empty()), "bit of byte {place}");
            fs::write(&file, &bytes[..place]).unwrap();
            assert!(Snapshot::read(&dir, &one).is_err(), "cut at {place}");
        }
        let text = String::from_utf8(bytes).unwrap();
        fs::write(&file, text.replacen("snapshot\":1", "snapshot\":2", 1)).unwrap();
        let error = Snapshot::read(&dir, &one).unwrap_err().to_string();
        assert_eq!(error, "has version 2 of the format; this gateway reads version 1");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing is left lying about");
    }
}
