//! The sources of the map as tasks: which run, what they say, and what is kept of it on disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use crate::config::{Config, SourceConfig};
use crate::control::learnt::Learner;
use crate::control::learnt::snapshot::Snapshot;
use crate::control::rib::Preference;
use crate::control::source::file::FILE;
use crate::control::source::news::Ears;
use crate::control::source::{News, Object, SourceId, Told};
use crate::tables::Overlay;

/// Messages taken in at once: what they say is put in force in one step.
const BATCH: usize = 4096;

/// Snapshots are written no more often than this.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// A source that is followed.
struct Running {
    id: SourceId,
    config: SourceConfig,
    overlay: Overlay,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All sources but the file.
pub(super) struct Sources {
    told: Told,
    ears: Ears,
    running: Vec<Running>,
    last_id: u8,
}

impl Sources {
    pub(super) fn new() -> Self {
        let (told, ears) = Told::channel(FILE);
        Self { told, ears, running: Vec::new(), last_id: FILE.0 }
    }

    /// The sources of a configuration, each with its id: the one it has, if it is followed already and in the same way.
    /// Another one otherwise: what the one before it said may still be on its way.
    pub(super) fn learners(&mut self, config: &Config) -> Vec<Learner> {
        let mut taken: BTreeSet<u8> = self.running.iter().map(|r| r.id.0).chain([FILE.0]).collect();
        let mut learners = Vec::new();
        for source in &config.sources {
            let running = self.running.iter().find(|r| r.is(source, config));
            let id = running.map_or_else(|| next_id(&mut self.last_id, &taken), |r| r.id);
            taken.insert(id.0);
            learners.push(Learner {
                id,
                name: source.name.as_str().into(),
                origin: source.kind.origin().into(),
                preference: Preference(source.preference),
                rules: source.rules.clone(),
            });
        }
        learners
    }

    /// Follows these sources and no others.
    pub(super) fn follow(&mut self, config: &Config, learners: &[Learner]) {
        self.running.retain(|r| learners.iter().any(|l| l.id == r.id));
        for (source, learner) in config.sources.iter().zip(learners) {
            let overlay = config.overlays.get(usize::from(source.rules.overlay.0));
            let Some(overlay) = overlay.filter(|_| self.running.iter().all(|r| r.id != learner.id)) else { continue };
            let task = source.kind.start(overlay, self.told.by(learner.id));
            tracing::info!(source = source.name, origin = &*learner.origin, "followed");
            self.running.push(Running { id: learner.id, config: source.clone(), overlay: overlay.clone(), task });
        }
    }

    /// Waits until sources have something to say, and tells all of it that is there. Cancel-safe.
    pub(super) async fn hear(&mut self) -> Vec<(SourceId, News)> {
        let mut heard = Vec::new();
        // it cannot end: one end of the channel is here
        self.ears.recv_many(&mut heard, BATCH).await;
        heard
    }

    /// A source that ended by itself, if one did: they never do.
    pub(super) fn casualty(&self) -> Option<&str> {
        self.running.iter().find(|r| r.task.is_finished()).map(|r| r.config.name.as_str())
    }
}

impl Running {
    /// Would this source be followed in the same way?
    fn is(&self, source: &SourceConfig, config: &Config) -> bool {
        let overlay = config.overlays.get(usize::from(source.rules.overlay.0));
        let as_it_is = |o: &Overlay| {
            (&o.name, o.vni, o.udp_port, o.local)
                == (&self.overlay.name, self.overlay.vni, self.overlay.udp_port, self.overlay.local)
        };
        self.config.name == source.name && self.config.kind == source.kind && overlay.is_some_and(as_it_is)
    }
}

/// The id after the last one given that nobody has. There are as many as there can be sources.
fn next_id(last: &mut u8, taken: &BTreeSet<u8>) -> SourceId {
    for _ in 0..=u8::MAX {
        *last = last.wrapping_add(1);
        if !taken.contains(last) {
            break;
        }
    }
    SourceId(*last)
}

/// What a source said before the gateway was started. A snapshot that cannot be used is left where it is until another one
/// takes its place.
pub(super) fn recall(config: &Config, learner: &Learner) -> Vec<Object> {
    Snapshot::read(&config.state, learner).unwrap_or_else(|error| {
        let (directory, name) = (config.state.display(), &learner.name);
        tracing::error!(source = &**name, "the snapshot {directory}/{name}.map {error}; the gateway begins without it");
        Vec::new()
    })
}

/// Keeps what was learnt on disk, without anybody waiting for the disk.
pub(super) struct Shelf {
    directory: PathBuf,
    writer: Option<JoinHandle<()>>,
    last: Instant,
}

impl Shelf {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, writer: None, last: Instant::now() }
    }

    /// Is it time to ask for what changed?
    pub(super) fn is_due(&self) -> bool {
        self.last.elapsed() >= KEEP_EVERY && self.writer.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Writes these.
    pub(super) fn keep(&mut self, snapshots: Vec<Snapshot>) {
        self.last = Instant::now();
        if snapshots.is_empty() {
            return;
        }
        let directory = self.directory.clone();
        self.writer = Some(spawn_blocking(move || write(&directory, &snapshots)));
    }

    /// Writes what changed last, and waits for the disk.
    pub(super) async fn close(&mut self, snapshots: Vec<Snapshot>) {
        if let Some(writer) = self.writer.take() {
            // that it panicked is on standard error already
            let _ = writer.await;
        }
        self.keep(snapshots);
        if let Some(writer) = self.writer.take() {
            let _ = writer.await;
        }
    }
}

fn write(directory: &Path, snapshots: &[Snapshot]) {
    for snapshot in snapshots {
        if let Err(error) = snapshot.write(directory) {
            let (directory, name) = (directory.display(), snapshot.source());
            tracing::error!(
                %error, source = name,
                "cannot keep {directory}/{name}.map: should the gateway start while the source is away, it knows less"
            );
        }
    }
}
