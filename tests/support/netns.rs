//! The gateway's program in a network of namespaces: started, watched, held to its ledger and stopped.
//!
//! Use it with `#[path = "support/netns.rs"] mod netns;`. Every test ends with [`Net::finish`]: the books balance, and
//! nothing is left on the interfaces.
#![allow(dead_code)] // each test crate uses its own part

#[path = "root.rs"]
mod root;

pub(crate) use root::root;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use selvedge::lab::scrape::{Samples, scrape};
use selvedge::lab::{
    ACCESS_PORT, Host, Lab, METRICS_ADDRESS, Namespace, Process, Shape, Topology, UNDERLAY_PORT, two_clusters_with,
};

/// How long the gateway may take to say it is ready.
const START: Duration = Duration::from_secs(10);
/// How long it may take to end.
const END: Duration = Duration::from_secs(5);
/// How long its counters may take to add up: workers publish theirs now and then.
const SETTLE: Duration = Duration::from_secs(2);
/// Between one look and the next.
const PAUSE: Duration = Duration::from_millis(20);

/// The most that one look counts for: a virtual machine may stand still for seconds, and nothing moves meanwhile.
const LOOK: Duration = Duration::from_millis(300);

/// Looks until `done` says so; false when `patience` ran out before.
pub(crate) fn until(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let mut left = patience;
    loop {
        let began = Instant::now();
        if done() {
            return true;
        }
        if left.is_zero() {
            return false;
        }
        thread::sleep(PAUSE);
        left = left.saturating_sub(began.elapsed().min(LOOK));
    }
}

/// Two clusters, a native host and the gateway between them.
pub(crate) struct Net {
    /// The gateway's configuration: written when it starts.
    pub(crate) config: String,
    /// The network.
    pub(crate) t: Topology,
    // before the lab: a process goes before its namespace does
    gateway: Option<Process>,
    room: tempfile::TempDir,
    starts: u32,
    /// Where further namespaces may be made.
    pub(crate) lab: Lab,
}

impl Net {
    /// The network with one queue a port; `None`, said aloud, where there is no root and need not be.
    pub(crate) fn new(tag: &str) -> Option<Self> {
        Self::shaped(tag, Shape::default())
    }

    /// The network in another shape.
    pub(crate) fn shaped(tag: &str, shape: Shape) -> Option<Self> {
        if !root() {
            return None;
        }
        Lab::sweep(tag).unwrap();
        let lab = Lab::new(tag).unwrap();
        let t = two_clusters_with(&lab, shape).unwrap();
        let config = t.config_toml(METRICS_ADDRESS);
        Some(Self { config, t, gateway: None, room: tempfile::tempdir().unwrap(), starts: 0, lab })
    }

    /// The network with its gateway running.
    pub(crate) fn running(tag: &str) -> Option<Self> {
        let mut net = Self::new(tag)?;
        net.start();
        Some(net)
    }

    /// The network, of which neither nodes nor gateway know anything yet: what is in the file are its overlays, and a
    /// place for snapshots.
    pub(crate) fn learning(tag: &str) -> Option<Self> {
        let mut net = Self::shaped(tag, Shape { bare: true, ..Shape::default() })?;
        net.config += &format!("\n[state]\ndirectory = \"{}\"\n", net.room().join("state").display());
        Some(net)
    }

    /// Replaces part of the configuration, which must be there.
    pub(crate) fn edit(&mut self, from: &str, to: &str) {
        assert!(self.config.contains(from), "no `{from}` in\n{}", self.config);
        self.config = self.config.replace(from, to);
    }

    /// The gateway finishes all checksums itself: its packets are looked at between it and who receives them.
    pub(crate) fn finish_checksums(&mut self) {
        self.edit("[metrics]", "[xdp]\ntx_checksum = \"off\"\n\n[metrics]");
    }

    /// Where the configuration lies once the gateway has been started.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.room.path().join("gateway.toml")
    }

    /// A place for files of the test.
    pub(crate) fn room(&self) -> &Path {
        self.room.path()
    }

    /// Starts the gateway and waits until it is ready.
    pub(crate) fn start(&mut self) {
        self.launch();
        let ready = |net: &mut Self| net.try_scrape().is_some_and(|s| s.sum("selvedge_ready", &[]) == 1.0);
        let deadline = Instant::now() + START;
        while !ready(self) {
            self.assert_alive();
            assert!(Instant::now() < deadline, "the gateway was not ready after {} s", START.as_secs());
            thread::sleep(PAUSE);
        }
    }

    /// Starts the gateway and waits for nothing.
    pub(crate) fn launch(&mut self) {
        assert!(self.gateway.is_none(), "it runs already");
        fs::write(self.config_path(), &self.config).unwrap();
        self.starts += 1;
        let log = File::create(self.log_path()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge"));
        command.arg("run").arg("--config").arg(self.config_path()).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.gateway = Some(self.t.gateway.spawn(command).unwrap());
    }

    /// The process of the gateway.
    pub(crate) fn process(&mut self) -> &mut Process {
        self.gateway.as_mut().expect("the gateway has been started")
    }

    /// Panics if the gateway has ended by itself.
    pub(crate) fn assert_alive(&mut self) {
        if let Some(status) = self.process().exited().unwrap() {
            panic!("the gateway ended early: {status}");
        }
    }

    /// What the running gateway, or the last one, has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.room.path().join(format!("gateway-{}.log", self.starts))
    }

    /// The metrics as they are now.
    pub(crate) fn scrape(&self) -> Samples {
        scrape(&self.t.gateway, self.t.metrics_address()).unwrap()
    }

    /// The metrics, if somebody answers.
    pub(crate) fn try_scrape(&self) -> Option<Samples> {
        scrape(&self.t.gateway, self.t.metrics_address()).ok()
    }

    /// The metrics of the first quiet moment: two readings that agree, and of which every packet and every frame of
    /// memory is accounted for. Panics with what does not add up if there is no such moment for two seconds.
    pub(crate) fn ledger(&self) -> Samples {
        let deadline = Instant::now() + SETTLE;
        let mut before = self.scrape();
        loop {
            thread::sleep(PAUSE);
            let now = self.scrape();
            let mut wrong = imbalances(&now);
            if seen(&before) != seen(&now) {
                wrong.push("packets are still arriving".to_string());
            }
            if wrong.is_empty() {
                return now;
            }
            assert!(Instant::now() < deadline, "the ledger does not balance:\n  {}", wrong.join("\n  "));
            before = now;
        }
    }

    /// Ends the gateway with SIGTERM: it must leave at once, with success, and take its programs along.
    pub(crate) fn stop(&mut self) {
        let mut gateway = self.gateway.take().expect("the gateway has been started");
        if let Some(status) = gateway.exited().unwrap() {
            panic!("the gateway ended early: {status}");
        }
        let status = gateway.stop(END).unwrap();
        assert!(status.success(), "SIGTERM did not end it cleanly: {status}");
        assert_eq!(self.programs(), [""; 0], "XDP programs left behind");
    }

    /// The gateway has ended already, with success.
    pub(crate) fn ended(&mut self) {
        let status = self.gateway.take().and_then(|mut gateway| gateway.exited().unwrap()).expect("it has ended");
        assert!(status.success(), "it did not end cleanly: {status}");
    }

    /// Ends the gateway as a crash would.
    pub(crate) fn kill(&mut self) {
        let mut gateway = self.gateway.take().expect("the gateway has been started");
        gateway.child().kill().unwrap();
        gateway.child().wait().unwrap();
    }

    /// The end of every test: the books balance, and the gateway goes without a trace.
    pub(crate) fn finish(mut self) -> Samples {
        self.assert_alive();
        let samples = self.ledger();
        self.stop();
        samples
    }

    /// The gateway's interfaces that carry an XDP program, native or generic.
    pub(crate) fn programs(&self) -> Vec<String> {
        let told = run_in(&self.t.gateway, &["ip", "-d", "-j", "link", "show"]);
        // [{"ifname":"ul0",…,"xdp":{"mode":1,"prog":{…}}},…]: one object an interface, found by its name
        let ports = [UNDERLAY_PORT, ACCESS_PORT].into_iter();
        let mut found: Vec<String> = ports.filter(|p| has_program(&told, p)).map(str::to_string).collect();
        found.sort();
        found
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the gateway's configuration\n{}\n--- its log\n{}---", self.config, self.log());
        }
    }
}

fn has_program(links: &str, port: &str) -> bool {
    let (_, after) =
        links.split_once(&format!("\"ifname\":\"{port}\"")).unwrap_or_else(|| panic!("no {port} in {links}"));
    let own = after.split("\"ifname\":").next().unwrap_or_default();
    own.contains("\"xdp\":") || own.contains("\"prog\":")
}

/// How many packets came in.
fn seen(s: &Samples) -> f64 {
    s.sum("selvedge_rx_packets_total", &[])
}

/// All that does not add up, in sentences.
fn imbalances(s: &Samples) -> Vec<String> {
    let sum = |name: &str| s.sum(name, &[]);
    let mut wrong = Vec::new();
    let mut equal = |what: String, a: f64, b: f64| {
        if a != b {
            wrong.push(format!("{what}: {a} ≠ {b}"));
        }
    };
    let doors = ["forwarded", "replied", "dropped"].map(|door| sum(&format!("selvedge_{door}_packets_total")));
    equal(format!("received = forwarded + replied + dropped {doors:?}"), seen(s), doors.iter().sum());
    let sent = s.sum("selvedge_tx_packets_total", &[]);
    let pieces = s.sum("selvedge_fragments_total", &[("result", "sent")]);
    equal("sent = forwarded + replied + further fragments".into(), sent, doors[0] + doors[1] + pieces);
    for port in s.by("selvedge_xdp_packets_total", "port").keys() {
        let xdp = |verdict: &str| s.sum("selvedge_xdp_packets_total", &[("port", port), ("verdict", verdict)]);
        let event = |event: &str| s.sum("selvedge_xsk_events_total", &[("port", port), ("event", event)]);
        let received = s.sum("selvedge_rx_packets_total", &[("port", port)]);
        let lost = event("rx_dropped") + event("rx_ring_full");
        let redirected = xdp("redirected_underlay") + xdp("redirected_access") + xdp("redirected_neighbour");
        equal(format!("{port}: redirected = received + lost at the socket ({lost})"), redirected, received + lost);
        equal(format!("{port}: packets for a queue without a socket"), xdp("pass_no_socket"), 0.0);
    }
    for (worker, total) in s.select("selvedge_frames", &[("place", "total")]).map(|x| (&x.labels["worker"], x.value)) {
        let at = |place| s.sum("selvedge_frames", &[("worker", worker), ("place", place)]);
        equal(format!("worker {worker}: frames free + rx + tx = total"), at("free") + at("rx") + at("tx"), total);
    }
    wrong
}

/// Standard output of a program run in a namespace, which must succeed.
pub(crate) fn run_in(ns: &Namespace, words: &[&str]) -> String {
    let output = output_in(ns, words);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?} in {}: {}\n{told}\n{complaint}", ns.name(), output.status);
    told
}

/// What a program run in a namespace says, and how it ends.
pub(crate) fn output_in(ns: &Namespace, words: &[&str]) -> Output {
    let run = || Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output();
    ns.run(run).unwrap().unwrap_or_else(|e| missing(words[0], &e))
}

/// Starts a program in a namespace; it ends when the value is dropped.
pub(crate) fn spawn_in(ns: &Namespace, words: &[&str], to: Stdio) -> Process {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(to).stderr(Stdio::null());
    ns.spawn(command).unwrap_or_else(|e| missing(words[0], e.io()))
}

/// A tool that is not there fails the test, and says what to install.
pub(crate) fn missing(program: &str, error: &std::io::Error) -> ! {
    let package = match program {
        "tshark" | "iperf3" | "tcpdump" | "ethtool" => program,
        "ip" | "ss" | "tc" => "iproute2",
        "/usr/bin/python3" => "python3-scapy",
        _ => "that has it",
    };
    panic!("cannot run {program} ({error}): install the Debian package {package}")
}

/// Everybody who sends and receives: the pods of blue, those of green, and the native host.
pub(crate) fn hosts(t: &Topology) -> [&Host; 3] {
    [&t.blue.nodes[0].pod, &t.green.nodes[0].pod, &t.native]
}
