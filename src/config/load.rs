//! From a file or a text to a [`Config`], and from one [`Config`] to the next.

use core::net::SocketAddr;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::de::DeTable;

use super::errors::Problems;
use super::reader::{Place, Section};
use super::{Config, ConfigErrors, Cores, raw, validate};

/// Files beyond this many bytes are refused: a path such as `/dev/zero` must not eat the host.
const MAX_FILE: u64 = 64 << 20;

impl Config {
    /// Reads and validates a file of at most 64 MiB.
    ///
    /// # Errors
    /// Everything that is wrong with it, or why it cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::load_with_text(path).map(|(config, _)| config)
    }

    /// As [`load`](Self::load), with the bytes it was made of: what is in the file may be something else by now.
    ///
    /// # Errors
    /// Everything that is wrong with it, or why it cannot be read.
    pub fn load_with_text(path: &Path) -> Result<(Self, Vec<u8>), ConfigErrors> {
        let name = path.display().to_string();
        let bytes = read(path).map_err(|why| ConfigErrors::unreadable(&name, why))?;
        Self::from_bytes(&bytes, &name).map(|config| (config, bytes))
    }

    /// Validates the content of a file. `name` is what errors call it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Self, ConfigErrors> {
        Self::parse(utf8(bytes, name)?, name)
    }

    /// Validates a text. `name` is what errors call the file it came from.
    ///
    /// ```
    /// let errors = selvedge::config::Config::parse("[workers]\nburst = 999\ncuont = 1\n", "gw.toml").unwrap_err();
    /// let text = errors.to_string();
    /// assert!(text.contains("gw.toml:2:") && text.contains("1 to 256"), "the place, and what would be legal: {text}");
    /// assert!(text.contains("did you mean `count`"), "and everything else at once: {text}");
    /// ```
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigErrors> {
        let mut problems = Problems::default();
        let config = interpret(text, &mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(problems.finish(name, text)),
        }
    }

    /// Where a gateway that was started with this file can be asked how it is; `None` for nowhere. The file may be wrong by
    /// now, and refused while another is in force: only `[metrics]` is looked at, and the default stands in for an
    /// address there that cannot be read.
    ///
    /// # Errors
    /// Why the file cannot be read at all.
    pub fn metrics_address(path: &Path) -> Result<Option<SocketAddr>, ConfigErrors> {
        let bytes = read(path).map_err(|why| ConfigErrors::unreadable(&path.display().to_string(), why))?;
        Ok(metrics_address(&String::from_utf8_lossy(&bytes)))
    }

    /// The keys whose change takes effect only after a restart, as paths; empty when `new` can be taken over while
    /// packets flow. Overlays, peers, native routes and sources always can.
    pub fn needs_restart(&self, new: &Config) -> Vec<String> {
        let mut out = Vec::new();
        let mut changed = |differs: bool, key: &str| {
            if differs {
                out.push(key.to_owned());
            }
        };
        let (a, b) = (&self.workers, &new.workers);
        changed(a.cores != b.cores, cores_key(&a.cores, &b.cores));
        changed(a.poll != b.poll, "workers.poll");
        changed(a.realtime != b.realtime, "workers.realtime");
        changed(a.burst != b.burst, "workers.burst");
        changed(a.cache_entries != b.cache_entries, "workers.cache_entries");
        let (a, b) = (&self.memory, &new.memory);
        changed(a.frames != b.frames, "memory.frames");
        changed(a.chunk_size != b.chunk_size, "memory.chunk_size");
        changed(a.hugepages != b.hugepages, "memory.hugepages");
        changed(a.rx_ring != b.rx_ring, "memory.rx_ring");
        changed(a.tx_ring != b.tx_ring, "memory.tx_ring");
        changed(a.fill_ring != b.fill_ring, "memory.fill_ring");
        changed(a.completion_ring != b.completion_ring, "memory.completion_ring");
        let (a, b) = (&self.xdp, &new.xdp);
        changed(a.mode != b.mode, "xdp.mode");
        changed(a.zero_copy != b.zero_copy, "xdp.zero_copy");
        changed(a.multi_buffer != b.multi_buffer, "xdp.multi_buffer");
        changed(a.tx_checksum != b.tx_checksum, "xdp.tx_checksum");
        changed(a.busy_poll_us != b.busy_poll_us, "xdp.busy_poll_us");
        changed(self.state != new.state, "state.directory");
        changed(self.metrics != new.metrics, "metrics.address");
        changed(self.ports.len() != new.ports.len(), "port");
        for (i, (a, b)) in self.ports.iter().zip(&new.ports).enumerate() {
            changed(a.interface != b.interface, &format!("port[{i}].interface"));
            changed(a.role != b.role, &format!("port[{i}].role"));
            changed(a.mtu != b.mtu, &format!("port[{i}].mtu"));
            changed(a.queues != b.queues, &format!("port[{i}].queues"));
            changed(a.proxy != b.proxy, &format!("port[{i}].proxy"));
        }
        out
    }
}

/// The key that was written in the file, or was taken out of it.
fn cores_key(old: &Cores, new: &Cores) -> &'static str {
    match (old, new) {
        (_, Cores::Count(_)) | (Cores::Count(_), Cores::Auto) => "workers.count",
        _ => "workers.cores",
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |e| format!("cannot be read: {e}");
    let mut bytes = Vec::new();
    File::open(path).map_err(cannot)?.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("is larger than {} MiB", MAX_FILE >> 20));
    }
    Ok(bytes)
}

/// The text of a file.
pub(super) fn utf8<'b>(bytes: &'b [u8], name: &str) -> Result<&'b str, ConfigErrors> {
    core::str::from_utf8(bytes).map_err(|e| {
        let good = e.valid_up_to();
        let text = String::from_utf8_lossy(bytes); // the same bytes up to there, so places agree
        let mut problems = Problems::default();
        problems.add(&(good..good + 1), "", format!("byte {:#04x} is not UTF-8 text", bytes[good]));
        problems.finish(name, &text)
    })
}

fn metrics_address(text: &str) -> Option<SocketAddr> {
    let (table, _) = DeTable::parse_recoverable(text);
    let mut problems = Problems::default();
    let mut root = Section::new(Place::Root, table.get_ref(), 0..0, &mut problems);
    root.table("metrics", raw::metrics).unwrap_or(Some(raw::METRICS))
}

fn interpret(text: &str, problems: &mut Problems) -> Option<Config> {
    let table = parsed(text, problems)?;
    let raw = Section::new(Place::Root, &table, 0..0, problems).through(raw::file);
    validate::validate(raw, &(0..0), problems)
}

/// The tables of a text, unless something is wrong with the text itself.
pub(super) fn parsed<'t>(text: &'t str, problems: &mut Problems) -> Option<DeTable<'t>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut readable = true;
    for e in &errors {
        // The table is complete without the second of two equal keys. After any other error it may lack half the file,
        // and all that would be reported missing then would hide the cause.
        readable &= e.message().contains("duplicate key");
        problems.add(&e.span().unwrap_or(0..0), "", e.message());
    }
    readable.then(|| table.into_inner())
}
