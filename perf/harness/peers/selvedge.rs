//! The gateway itself, the program that ships.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use selvedge::lab::scrape::{Samples, scrape};
use selvedge::lab::{METRICS_ADDRESS, Namespace, Process};

use super::{Cost, System};
use crate::Result;
use crate::bed::{ACCESS, BLUE, Bed, GREEN, NEAR, SUT_UNDERLAY, UNDERLAY, native};
use crate::flood::GENERATOR_CORE;
use crate::ledger::Drops;

/// The core of the first worker.
pub(crate) const WORKER_CORE: u32 = 1;
const START: Duration = Duration::from_secs(20);

/// Which cores do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Cores {
    /// Receive processing on the generator's core, the worker on the other.
    #[default]
    Two,
    /// Receive processing shares the worker's core.
    Shared,
}

/// What may differ from the gateway's defaults.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) cores: Cores,
    /// `section.key` → value, as TOML has it.
    pub(crate) overrides: Vec<(String, String)>,
    /// Another program than the one beside this one.
    pub(crate) program: Option<PathBuf>,
}

/// The gateway at work.
pub(crate) struct Gateway {
    process: Process,
    ns: Namespace,
    config: PathBuf,
    _room: tempfile::TempDir,
}

impl Gateway {
    pub(crate) fn start(bed: &Bed, settings: &Settings) -> Result<Self> {
        let room = tempfile::tempdir()?;
        let (config, log) = (room.path().join("gateway.toml"), room.path().join("log"));
        fs::write(&config, config_toml(bed, settings))?;
        let to = File::create(&log)?;
        let mut command = Command::new(settings.program.clone().unwrap_or_else(program));
        command.arg("run").arg("--config").arg(&config).stdin(Stdio::null());
        command.stdout(to.try_clone()?).stderr(to);
        let process = bed.sut.spawn(command)?;
        let mut gateway = Self { process, ns: bed.sut.clone(), config, _room: room };
        let deadline = Instant::now() + START;
        while gateway.metrics().is_none_or(|m| m.sum("selvedge_ready", &[]) != 1.0) {
            if Instant::now() > deadline || gateway.process.exited()?.is_some() {
                let told = fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("the gateway did not get ready; it said:\n{told}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        if settings.cores == Cores::Shared {
            for port in [ACCESS, UNDERLAY] {
                bed.pin_napi(&bed.sut, port, WORKER_CORE)?;
            }
        }
        Ok(gateway)
    }

    /// Gives it another file, for as many nodes as the bed has now; it notices by itself.
    pub(crate) fn rewrite(&self, bed: &Bed, settings: &Settings) -> Result<()> {
        let fresh = self.config.with_extension("new");
        fs::write(&fresh, config_toml(bed, settings))?;
        Ok(fs::rename(fresh, &self.config)?)
    }

    /// Its metrics, if it answers.
    pub(crate) fn metrics(&self) -> Option<Samples> {
        scrape(&self.ns, METRICS_ADDRESS.parse().ok()?).ok()
    }
}

impl System for Gateway {
    fn process(&self) -> Option<u32> {
        Some(self.process.id())
    }

    fn drops(&self) -> Result<Drops> {
        let metrics = self.metrics().ok_or("the gateway does not answer")?;
        let refused = metrics.by("selvedge_dropped_packets_total", "reason");
        Ok(refused.into_iter().map(|(reason, n)| (format!("gateway: {reason}"), n as u64)).collect())
    }

    fn cost(&self) -> Result<Option<Cost>> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // the second field is a name in parentheses; user and system time are fields 14 and 15
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).ok_or("/proc/PID/stat is short");
        let cpu_ns = (ticks(11)? + ticks(12)?) * 1_000_000_000 / rustix::param::clock_ticks_per_second();
        Ok(Some(Cost { cpu_ns }))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.stop(Duration::from_secs(5));
    }
}

/// The release program, unless SELVEDGE_PROGRAM names another.
fn program() -> PathBuf {
    let usual = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/release/selvedge");
    std::env::var_os("SELVEDGE_PROGRAM").map_or_else(usual, PathBuf::from)
}

fn config_toml(bed: &Bed, settings: &Settings) -> String {
    let mut sections: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    let cores: Vec<u32> = match bed.queues {
        1 => vec![WORKER_CORE],
        n => (GENERATOR_CORE..GENERATOR_CORE + n).collect(),
    };
    sections.entry("workers").or_default().insert("cores", format!("{cores:?}"));
    sections.entry("metrics").or_default().insert("address", format!("\"{METRICS_ADDRESS}\""));
    for (name, value) in &settings.overrides {
        let (section, key) = name.split_once('.').unwrap_or(("workers", name));
        sections.entry(section).or_default().insert(key, value.clone());
    }
    let mut text = String::new();
    for (section, keys) in sections {
        let _ = writeln!(text, "[{section}]"); // writing to a String cannot fail
        for (key, value) in keys {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    for (port, role) in [(UNDERLAY, "underlay"), (ACCESS, "access")] {
        let _ = writeln!(text, "[[port]]\ninterface = \"{port}\"\nrole = \"{role}\"");
    }
    for c in [BLUE, GREEN] {
        let _ = writeln!(text, "[[overlay]]\nname = \"{}\"\nvni = {}\nudp_port = {}", c.name, c.vni, c.udp_port);
        let _ = writeln!(text, "local = \"{SUT_UNDERLAY}\"\nmac = \"{}\"", c.gateway_mac());
        for node in 0..bed.nodes {
            let _ = writeln!(text, "[[peer]]\noverlay = \"{}\"\nvtep = \"{}\"", c.name, c.vtep(node));
            let _ = writeln!(text, "mac = \"{}\"\nprefixes = [\"{}\"]", c.vtep_mac(node), c.prefix(node));
        }
    }
    let _ = writeln!(text, "[[native]]\nprefix = \"{}\"\nport = \"{ACCESS}\"\nnext_hop = \"{NEAR}\"", native());
    text
}
