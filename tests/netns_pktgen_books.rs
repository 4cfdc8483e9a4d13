//! `selvedge pktgen` on its own: over a cable everything arrives, and what a middle box does wrong is counted under its
//! name, neither more nor less.

#[path = "support/root.rs"]
mod root;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use selvedge::lab::{End, Lab, Namespace};
use selvedge::wire::Mac;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_selvedge");
const MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];
/// Tunnels by the family of their outer addresses.
const TUNNEL: &str = "--profile vxlan --vni 7-8,4000 --inner-src-mac 02:00:00:00:00:03 \
                      --inner-dst-mac 02:00:00:00:00:04 --vteps 5 --udp-port 8472";
const OUTER: [&str; 2] =
    ["--outer-src 192.0.2.11 --outer-dst 192.0.2.1", "--outer-src 2001:db8::b --outer-dst 2001:db8::1"];
const INNER: [&str; 2] = ["--src 10.244.1.0/24 --dst 10.9.0.0/24", "--src fd00:244::/64 --dst fd00:9::/64"];

/// Two hosts with a cable between them, or a box.
struct Wire {
    _lab: Lab,
    hosts: [Namespace; 2],
    between: Option<Namespace>,
}

impl Wire {
    fn cable(tag: &str) -> Self {
        let lab = Lab::new(tag).unwrap();
        let hosts = ["a", "b"].map(|name| lab.namespace(name).unwrap());
        lab.veth(&End::new(&hosts[0], "eth0").mac(MACS[0]), &End::new(&hosts[1], "eth0").mac(MACS[1])).unwrap();
        Self { _lab: lab, hosts, between: None }
    }

    fn boxed(tag: &str) -> Self {
        let lab = Lab::new(tag).unwrap();
        let [a, b, between] = ["a", "b", "box"].map(|name| lab.namespace(name).unwrap());
        lab.veth(&End::new(&a, "eth0").mac(MACS[0]), &End::new(&between, "in0")).unwrap();
        lab.veth(&End::new(&b, "eth0").mac(MACS[1]), &End::new(&between, "out0")).unwrap();
        Self { _lab: lab, hosts: [a, b], between: Some(between) }
    }

    fn command(&self, words: &str) -> Command {
        let [a, b] = self.hosts.each_ref().map(Namespace::name);
        let mut command = Command::new(PROGRAM);
        command.args(["pktgen", "--json", "--copy", "--tx", "eth0", "--tx-netns", a, "--rx", "eth0", "--rx-netns", b]);
        command.args(words.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the generator: its report, and its exit code.
    fn pktgen(&self, words: &str) -> (Value, Option<i32>) {
        report(words, &self.command(words).output().unwrap())
    }
}

fn report(words: &str, output: &Output) -> (Value, Option<i32>) {
    let (told, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_str(&told).unwrap_or_else(|e| panic!("{words}: {e}: {told}{complaint}"));
    (report, output.status.code())
}

fn count(report: &Value, path: &str) -> u64 {
    report.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {path} in {report}"))
}

fn perfect(wire: &Wire, sent: u64, words: &str) -> Value {
    let (report, code) = wire.pktgen(words);
    for (path, want) in [("/offered", sent), ("/sent", sent), ("/received", sent), ("/books/rx_read", sent)] {
        assert_eq!(count(&report, path), want, "{words}: {path} in {report:#}");
    }
    for path in ["/lost", "/duplicates", "/reordered", "/corrupt", "/foreign", "/flows/with_loss", "/hops/max"] {
        assert_eq!(count(&report, path), 0, "{words}: {path} in {report:#}");
    }
    assert!(count(&report, "/books/tx_interface/tx_packets") >= sent, "{report:#}");
    assert!(count(&report, "/books/rx_interface/rx_packets") >= sent, "{report:#}");
    assert_eq!((code, &report["valid"], &report["sound"]), (Some(0), &true.into(), &true.into()), "{report:#}");
    report
}

#[test]
fn over_a_cable_every_family_tunnel_and_size_arrives_whole() {
    if !root::root() {
        return;
    }
    let wire = Wire::cable("pgcable");
    for inner in INNER {
        for tunnel in [String::new(), format!("{TUNNEL} {}", OUTER[0]), format!("{TUNNEL} {}", OUTER[1])] {
            for more in ["--size imix --flows 1000 --spread zipf:1.2", "--size 84-1380 --flows 100000"] {
                perfect(&wire, 4000, &format!("{inner} {tunnel} {more} --seconds 1 --rate 4000 --hops 0"));
            }
        }
    }
    let report = perfect(&wire, 2000, &format!("{} --seconds 1 --rate 2000 --flows 1000000 --hops 0", INNER[1]));
    assert!(count(&report, "/flows/sent") > 1950, "of a million flows hardly any comes twice: {report:#}");
    assert_eq!(count(&report, "/latency_ns/count"), 2000);
    assert!(count(&report, "/latency_ns/p50") >= count(&report, "/sent_late_ns/min"), "{report:#}");
}

#[test]
fn one_seed_is_one_choice_of_flows() {
    if !root::root() {
        return;
    }
    let wire = Wire::cable("pgseed");
    let flows = |seed: u32| {
        let words = format!("--seed {seed} --flows 1000 --spread zipf:1.1 --seconds 1 --rate 1000");
        count(&perfect(&wire, 1000, &words), "/flows/sent")
    };
    let (first, again) = (flows(1), flows(1));
    assert_eq!(first, again);
    assert!((2..=30).any(|seed| flows(seed) != first), "thirty seeds make the same choice");
}

#[test]
fn what_a_middle_box_does_wrong_is_counted_by_name() {
    if !root::root() {
        return;
    }
    let wire = Wire::boxed("pgbox");
    for (inner, family) in INNER.into_iter().zip([4, 6]) {
        deeds(&wire, inner, (family, 0));
        for (outer, tunnel) in OUTER.into_iter().zip([4, 6]) {
            deeds(&wire, &format!("{inner} {TUNNEL} {outer}"), (family, tunnel));
        }
    }
}

/// One run through the box, which does everything wrong that it can.
fn deeds(wire: &Wire, words: &str, (family, tunnel): (u8, u8)) {
    let between = wire.between.as_ref().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/relay.py");
    let mut relay = Command::new("/usr/bin/python3");
    relay.args([script, "in0", "out0", &family.to_string(), &tunnel.to_string()]);
    let mut names = vec!["drop", "duplicate", "reorder", "foreign", "payload", "bit", "ttl", "source", "destination"];
    names.extend(["ports", "stamp", "udp_checksum"]);
    names.extend((family == 4).then_some("ip_checksum"));
    names.extend(if tunnel > 0 { &["vni", "inner_mac"][..] } else { &[] });
    relay.args(names.iter().enumerate().map(|(i, name)| format!("{name}={}", 5 + 6 * i)));
    relay.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut relay = between.spawn(relay).unwrap();
    let mut told = BufReader::new(relay.child().stdout.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");

    let (report, code) = wire.pktgen(&format!("{words} --size 200 --seconds 2 --rate 1000 --hops 0"));
    assert!(relay.stop(Duration::from_secs(5)).unwrap().success());
    line.clear();
    told.read_to_string(&mut line).unwrap();
    let did: Value = serde_json::from_str(&line).unwrap();
    let did = |deed: &str| did[deed].as_u64().unwrap_or_else(|| panic!("no {deed} in {line}"));

    assert_eq!((did("seen"), count(&report, "/sent")), (2000, 2000), "{report:#}");
    let damaged: u64 = names[4..].iter().map(|deed| did(deed)).sum();
    for (path, want) in [
        ("/received", 2000 - did("drop") - damaged),
        ("/lost", did("drop") + damaged),
        ("/duplicates", did("duplicate")),
        ("/reordered", did("reorder")),
        ("/foreign", did("foreign")),
        ("/corrupt", damaged),
        ("/damage/payload", did("payload") + did("bit")),
        ("/books/rx_read", 2000 - did("drop") + did("duplicate") + did("foreign")),
    ] {
        assert_eq!(count(&report, path), want, "{words}: {path}: {line}{report:#}");
    }
    for deed in names[6..].iter() {
        assert_eq!(count(&report, &format!("/damage/{deed}")), did(deed), "{words}: {deed}: {report:#}");
        assert_eq!(did(deed), 20);
    }
    // what is wrong with the packets is not wrong with the books
    assert_eq!((code, &report["valid"], &report["sound"]), (Some(1), &true.into(), &false.into()), "{report:#}");
}

#[test]
fn a_signal_ends_a_run_early_with_a_full_report() {
    if !root::root() {
        return;
    }
    let wire = Wire::cable("pgstop");
    for signal in [Signal::TERM, Signal::INT] {
        let words = "--seconds 60 --rate 1000";
        let began = Instant::now();
        let child = wire.hosts[0].spawn(wire.command(words)).unwrap();
        thread::sleep(Duration::from_millis(1500));
        child.signal(signal).unwrap();
        let (report, code) = ended(child, words);
        assert!(began.elapsed() < Duration::from_secs(10), "it went on");
        assert_eq!((code, &report["interrupted"], &report["sound"]), (Some(0), &true.into(), &true.into()));
        let sent = count(&report, "/sent");
        assert!((200..5000).contains(&sent) && count(&report, "/received") == sent, "{report:#}");
        assert!(count(&report, "/offered").abs_diff(sent) < 100, "{report:#}");
    }
}

/// The report of a process that is about to end.
fn ended(mut child: selvedge::lab::Process, words: &str) -> (Value, Option<i32>) {
    let (mut out, mut complaint) = (Vec::new(), Vec::new());
    child.child().stdout.take().unwrap().read_to_end(&mut out).unwrap();
    child.child().stderr.take().unwrap().read_to_end(&mut complaint).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    let status = loop {
        match child.exited().unwrap() {
            Some(status) => break status,
            None => assert!(Instant::now() < deadline, "{words}: still there"),
        }
        thread::sleep(Duration::from_millis(10));
    };
    report(words, &Output { status, stdout: out, stderr: complaint })
}
