//! Traffic that must not notice: loads along every journey, and where a lost packet was lost.
#![allow(dead_code)] // each test crate uses its own part

use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use selvedge::lab::scrape::Samples;
use selvedge::lab::traffic::{LoadCounts, LoadOptions, UdpLoad};
use selvedge::lab::{Host, Namespace, Topology};

use super::netns::{Net, output_in, until};

/// How soon a change must have taken effect.
pub(crate) const SOON: Duration = Duration::from_secs(1);

/// Longer than any test: loads are stopped.
fn long() -> Duration {
    Duration::from_secs(60) + outage()
}

/// How long servers are away while traffic flows: SELVEDGE_OUTAGE seconds, or as long as a test may take that runs often.
pub(crate) fn outage() -> Duration {
    let said = std::env::var("SELVEDGE_OUTAGE").ok();
    said.map_or(Duration::from_secs(3), |s| {
        Duration::from_secs(s.parse().expect("SELVEDGE_OUTAGE is a number of seconds"))
    })
}

/// A load over all journeys: native → blue1, blue1 → native, blue2 → green2 and back.
pub(crate) struct Steady {
    loads: Vec<(&'static str, UdpLoad)>,
    backlog: u64,
    namespaces: Vec<Namespace>,
    began: Instant,
}

impl Steady {
    /// Begins to send `rate` packets a second, a quarter along each journey.
    pub(crate) fn start(net: &Net, rate: u32) -> Self {
        let t = &net.t;
        let (blue1, blue2) = (&t.blue.nodes[0].pod, &t.blue.nodes[1].pod);
        let ways: [(&'static str, &Host, &Host); 4] = [
            ("encap", &t.native, blue1),
            ("decap", blue1, &t.native),
            ("transit", blue2, &t.green.nodes[1].pod),
            ("transit back", &t.green.nodes[1].pod, blue2),
        ];
        let backlog = backlog_drops();
        let load = |from, to| load(from, to, rate / 4);
        let loads = ways.into_iter().map(|(name, from, to)| (name, load(from, to))).collect();
        let steady = Self { loads, backlog, namespaces: namespaces(t), began: Instant::now() };
        let flows = || steady.loads.iter().all(|(_, load)| load.counts().received > 10);
        assert!(until(Duration::from_secs(5), flows), "the load does not flow: {:?}", steady.counts());
        steady
    }

    /// What became of it so far.
    pub(crate) fn counts(&self) -> Vec<(&'static str, LoadCounts)> {
        self.loads.iter().map(|(name, load)| (*name, load.counts())).collect()
    }

    /// Ends the load: nothing was lost, doubled or changed, and the gateway dropped nothing but for these reasons, of
    /// other traffic. Returns how much was sent.
    pub(crate) fn finish(self, net: &Net, others: &[&str]) -> u64 {
        let seconds = self.began.elapsed().as_secs_f64();
        let counts: Vec<_> = self.loads.into_iter().map(|(name, load)| (name, load.stop())).collect();
        let samples = net.scrape();
        let sum = |f: fn(&LoadCounts) -> u64| counts.iter().map(|(_, c)| f(c)).sum::<u64>();
        let harm = sum(|c| c.lost) + sum(|c| c.duplicate) + sum(|c| c.corrupt);
        let mut dropped = drops(&samples);
        dropped.retain(|(reason, _)| !others.contains(&reason.as_str()));
        let losses = || losses(&self.namespaces, self.backlog, &samples);
        assert!(harm == 0 && dropped.is_empty(), "{counts:#?}\ngateway's drops: {dropped:?}\nlosses:\n{}", losses());
        let sent = sum(|c| c.sent);
        println!(
            "{} build: {sent} packets in {seconds:.1} s ({:.0}/s, {} not sent in time), 0 lost",
            if cfg!(debug_assertions) { "debug" } else { "release" },
            sent as f64 / seconds,
            sum(|c| c.unsent)
        );
        sent
    }
}

/// Begins to send to a host, until it is stopped.
pub(crate) fn load(from: &Host, to: &Host, rate: u32) -> UdpLoad {
    UdpLoad::start(&from.ns, &to.ns, to.address, LoadOptions { rate, flows: 4, payload: 64, duration: long() }).unwrap()
}

/// True if packets get from one host to another within a second.
pub(crate) fn flows(from: &Host, to: &Host) -> bool {
    let load = load(from, to, 200);
    until(SOON, || load.counts().received > 0)
}

/// The gateway's drops, by reason, those that happened.
pub(crate) fn drops(samples: &Samples) -> Vec<(String, f64)> {
    samples.by("selvedge_dropped_packets_total", "reason").into_iter().filter(|(_, count)| *count > 0.0).collect()
}

/// Puts another configuration in the place of the file, at once and whole.
pub(crate) fn put(net: &Net, text: &str) {
    let next = net.room().join("next.toml");
    fs::write(&next, text).unwrap();
    fs::rename(next, net.config_path()).unwrap();
}

/// Reloads by signal and waits until workers use the outcome; returns how long it took.
pub(crate) fn reload(net: &mut Net, text: &str) -> Duration {
    let before = reloads(net, "applied");
    put(net, text);
    let began = Instant::now();
    net.process().signal(Signal::HUP).unwrap();
    assert!(until(SOON, || reloads(net, "applied") > before && adopted(net)), "not in force after a second");
    began.elapsed()
}

/// How many reloads ended so.
pub(crate) fn reloads(net: &Net, result: &str) -> f64 {
    net.scrape().sum("selvedge_config_reloads_total", &[("result", result)])
}

/// Whether the last file read is in force.
pub(crate) fn last_reload_success(net: &Net) -> bool {
    net.scrape().sum("selvedge_config_last_reload_success", &[]) == 1.0
}

/// True when every worker uses the tables published last.
pub(crate) fn adopted(net: &Net) -> bool {
    let samples = net.scrape();
    let published = samples.sum("selvedge_tables_epoch", &[]);
    samples.select("selvedge_worker_epoch", &[]).all(|s| s.value >= published)
}

fn namespaces(t: &Topology) -> Vec<Namespace> {
    let mut all = vec![t.fabric.clone(), t.gateway.clone(), t.native.ns.clone()];
    for node in t.clusters().into_iter().flat_map(|c| &c.nodes) {
        all.extend([node.ns.clone(), node.pod.ns.clone()]);
    }
    all
}

/// Packets for which the machine's CPUs had no room (second column of softnet_stat).
fn backlog_drops() -> u64 {
    let text = fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default();
    text.lines().filter_map(|l| u64::from_str_radix(l.split_whitespace().nth(1)?, 16).ok()).sum()
}

/// Everything that says where packets were lost, on every host of the network.
fn losses(namespaces: &[Namespace], backlog: u64, samples: &Samples) -> String {
    let mut text = format!("CPU backlog: {}\n", backlog_drops() - backlog);
    for s in samples.select("selvedge_xsk_events_total", &[]).filter(|s| s.value > 0.0) {
        let _ = writeln!(text, "gateway socket {:?}: {}", s.labels, s.value);
    }
    for ns in namespaces {
        let links = output_in(ns, &["ip", "-s", "-j", "link"]).stdout;
        let counters = output_in(ns, &["nstat", "-asz"]).stdout;
        let counters = String::from_utf8_lossy(&counters).into_owned();
        let wanted = |l: &&str| ["Errors", "Discards", "NoPorts", "NoRoutes"].iter().any(|w| l.contains(w));
        let bad = counters.lines().filter(wanted).filter(|l| l.split_whitespace().nth(1) != Some("0"));
        let bad: Vec<&str> = bad.collect();
        let links = String::from_utf8_lossy(&links).into_owned();
        let dropped: Vec<&str> = links.split("\"ifname\":").skip(1).filter(|l| has_drops(l)).collect();
        if !bad.is_empty() || !dropped.is_empty() {
            let _ = writeln!(text, "{}: {bad:?} {dropped:?}", ns.name());
        }
    }
    text
}

fn has_drops(link: &str) -> bool {
    link.split("\"dropped\":").skip(1).any(|rest| !rest.starts_with('0'))
}
