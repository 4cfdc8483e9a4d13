//! The gateway as a child process, and what its metrics say.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::room::Room;
use super::{DemoError, DemoOptions, Stop, say};
use crate::lab::scrape::{Samples, scrape};
use crate::lab::{LabError, Process, Topology};

const CONFIG: &str = "gateway.toml";
const LOG: &str = "gateway.log";
/// How long the gateway may take to say it is ready.
const START: Duration = Duration::from_secs(20);
/// How long it may take to end.
const END: Duration = Duration::from_secs(5);
/// How long its counters may take to add up once the traffic has ended: they are published now and then.
const SETTLE: Duration = Duration::from_secs(3);

/// Where every packet the gateway took in has gone.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Ledger {
    pub(super) rx: f64,
    pub(super) forwarded: f64,
    pub(super) replied: f64,
    pub(super) dropped: f64,
}

impl Ledger {
    pub(super) fn of(samples: &Samples) -> Self {
        let sum = |name| samples.sum(name, &[]);
        Self {
            rx: sum("selvedge_rx_packets_total"),
            forwarded: sum("selvedge_forwarded_packets_total"),
            replied: sum("selvedge_replied_packets_total"),
            dropped: sum("selvedge_dropped_packets_total"),
        }
    }

    /// True when every packet is accounted for.
    pub(super) fn balances(&self) -> bool {
        self.rx > 0.0 && self.rx == self.forwarded + self.replied + self.dropped
    }
}

/// Drops by reason, those that happened.
pub(super) fn drops(samples: &Samples) -> BTreeMap<String, f64> {
    let mut drops = samples.by("selvedge_dropped_packets_total", "reason");
    drops.retain(|_, count| *count > 0.0);
    drops
}

/// Packets forwarded, by the gateway's name of the journey.
pub(super) fn forwarded(samples: &Samples) -> BTreeMap<String, f64> {
    samples.by("selvedge_forwarded_packets_total", "journey")
}

/// p50, p99, p99.9 and maximum of all packets since `before`, from the histogram's buckets: within a bucket, whose
/// bounds are a factor of two apart, packets are taken to be spread evenly.
pub(super) fn latency(samples: &Samples, before: &Samples) -> Option<[Duration; 4]> {
    let name = "selvedge_latency_seconds_bucket";
    let earlier = before.by(name, "le");
    let grown = |(le, count): (String, f64)| {
        let since = count - earlier.get(&le).copied().unwrap_or(0.0);
        Some((le.parse::<f64>().ok().filter(|le| le.is_finite())?, since))
    };
    let mut buckets: Vec<(f64, f64)> = samples.by(name, "le").into_iter().filter_map(grown).collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total = buckets.last().map(|(_, count)| *count).filter(|total| *total > 0.0)?;
    let at = |quantile: f64| {
        let wanted = (total * quantile).max(1.0);
        let mut lower = (0.0, 0.0);
        for (le, count) in &buckets {
            if *count >= wanted {
                let part = (wanted - lower.1) / (count - lower.1);
                return Duration::from_secs_f64(lower.0 + (le - lower.0) * part);
            }
            lower = (*le, *count);
        }
        Duration::from_secs_f64(lower.0)
    };
    Some([at(0.5), at(0.99), at(0.999), at(1.0)])
}

/// A running gateway.
pub(super) struct Gateway {
    process: Process,
    topology: Topology,
    /// Configuration and log.
    room: Room,
}

impl Gateway {
    /// Writes the configuration and starts `program`, or this very program, in the gateway's namespace.
    fn start(topology: &Topology, config: &str, program: Option<&Path>) -> Result<Self, DemoError> {
        let room = Room::for_logs()?;
        let io = |e: std::io::Error| DemoError::Gateway(format!("cannot prepare {}: {e}", room.path().display()));
        let program = program.map_or_else(std::env::current_exe, |path| Ok(path.to_path_buf())).map_err(io)?;
        let path = room.path().join(CONFIG);
        fs::write(&path, config).map_err(io)?;
        let log = File::create(room.path().join(LOG)).map_err(io)?;
        let mut command = Command::new(&program);
        command.arg("run").arg("--config").arg(&path).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(io)?).stderr(log);
        // A process group of its own: Ctrl-C is for us to pass on, when the traffic has ended.
        command.process_group(0);
        let process = topology.gateway.spawn(command)?;
        Ok(Self { process, topology: topology.clone(), room })
    }

    /// Starts it, and waits until it is ready.
    pub(super) fn launch(
        topology: &Topology,
        config: &str,
        options: &DemoOptions,
        stop: &Stop,
    ) -> Result<Self, DemoError> {
        let mut gateway = Self::start(topology, config, options.gateway.as_deref())?;
        say(format_args!("gateway configuration: {}", gateway.config().display()));
        gateway.wait_until_ready(stop)?;
        say(format_args!("gateway ready (process {} in {})", gateway.process.id(), topology.gateway.name()));
        Ok(gateway)
    }

    fn config(&self) -> PathBuf {
        self.room.path().join(CONFIG)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.room.path().join(LOG)
    }

    /// The metrics as they are now.
    pub(super) fn scrape(&self) -> Result<Samples, LabError> {
        scrape(&self.topology.gateway, self.topology.metrics_address())
    }

    /// Waits for `selvedge_ready 1`.
    fn wait_until_ready(&mut self, stop: &Stop) -> Result<(), DemoError> {
        let deadline = Instant::now() + START;
        let mut last = String::new();
        while Instant::now() < deadline {
            stop.check()?;
            self.check_alive()?;
            match self.scrape() {
                Ok(samples) if samples.sum("selvedge_ready", &[]) == 1.0 => return Ok(()),
                Ok(_) => last = "its metrics do not say it is ready".into(),
                Err(e) => last = e.to_string(),
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(self.blame(&format!("the gateway was not ready after {} s: {last}", START.as_secs())))
    }

    /// An error if the gateway is no longer there.
    pub(super) fn check_alive(&mut self) -> Result<(), DemoError> {
        match self.process.exited() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.blame(&format!("the gateway ended early ({status})"))),
            Err(e) => Err(self.blame(&format!("the gateway cannot be watched: {e}"))),
        }
    }

    /// The metrics as soon as the ledger balances, or as they are after a while.
    pub(super) fn settled(&self) -> Option<Samples> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let samples = self.scrape().ok();
            if samples.as_ref().is_some_and(|s| Ledger::of(s).balances()) || Instant::now() > deadline {
                return samples;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends the gateway; the error is a sentence for the summary.
    pub(super) fn stop(&mut self) -> Result<(), String> {
        self.room.keep = true;
        match self.process.stop(END) {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("the gateway did not end cleanly on SIGTERM ({status})")),
            Err(e) => Err(format!("the gateway could not be ended: {e}")),
        }
    }

    /// Nobody will want to read the log.
    pub(super) fn forget(&mut self) {
        self.room.keep = false;
    }

    /// An error that ends with the last words of the log, and where the rest is.
    pub(super) fn blame(&mut self, what: &str) -> DemoError {
        self.room.keep = true;
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let mut text = what.to_string();
        for line in lines.iter().skip(lines.len().saturating_sub(5)) {
            text.push_str("\n    ");
            text.push_str(line);
        }
        text.push_str(&format!("\n    log: {}", self.log().display()));
        DemoError::Gateway(text)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.stop(END);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
selvedge_rx_packets_total{worker="0",port="ul0"} 100
selvedge_rx_packets_total{worker="0",port="ac0"} 20
selvedge_tx_packets_total{worker="0",port="ul0"} 110
selvedge_forwarded_packets_total{worker="0",journey="encap"} 20
selvedge_forwarded_packets_total{worker="0",journey="transit"} 89
selvedge_replied_packets_total{worker="0"} 1
selvedge_dropped_packets_total{worker="0",reason="no_route"} 4
selvedge_dropped_packets_total{worker="1",reason="no_route"} 6
selvedge_dropped_packets_total{worker="0",reason="unknown_vni"} 0
selvedge_latency_seconds_bucket{worker="0",le="0.000008"} 50
selvedge_latency_seconds_bucket{worker="0",le="0.000016"} 140
selvedge_latency_seconds_bucket{worker="1",le="0.000016"} 10
selvedge_latency_seconds_bucket{worker="0",le="0.000032"} 140
selvedge_latency_seconds_bucket{worker="1",le="0.000032"} 10
selvedge_latency_seconds_bucket{worker="0",le="+Inf"} 140
"#;

    #[test]
    fn metrics_become_a_ledger_drops_and_latency() {
        let samples = Samples::parse(TEXT);
        let ledger = Ledger::of(&samples);
        assert_eq!(ledger, Ledger { rx: 120.0, forwarded: 109.0, replied: 1.0, dropped: 10.0 });
        assert!(ledger.balances() && !Ledger { rx: 121.0, ..ledger }.balances() && !Ledger::default().balances());
        assert_eq!(drops(&samples).into_iter().collect::<Vec<_>>(), [("no_route".to_string(), 10.0)]);
        let before = Samples::parse(
            "selvedge_latency_seconds_bucket{worker=\"0\",le=\"0.000008\"} 50\n\
            selvedge_latency_seconds_bucket{worker=\"0\",le=\"0.000016\"} 50\n\
            selvedge_latency_seconds_bucket{worker=\"0\",le=\"0.000032\"} 50",
        );
        let ns = latency(&samples, &before).unwrap().map(|d| d.as_nanos());
        assert_eq!(ns, [12_000, 15_920, 15_992, 16_000], "a hundred packets between 8 and 16 µs");
        assert_eq!((latency(&Samples::default(), &before), latency(&before, &before)), (None, None));
    }
}
