//! iperf3 through the gateway, every journey both ways in all four pairs of families, with all offloads as they are by
//! default.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use selvedge::lab::{Family, Host, Shape};

#[path = "support/netns.rs"]
mod netns;

use netns::{Net, hosts, output_in, run_in, spawn_in, until};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// What iperf3 is to send.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Traffic {
    /// As much as goes.
    Tcp,
    /// 100 Mb/s: what the slowest machine carries that can run this at all.
    Udp,
}

/// One of its runs, of a second.
struct Run<'a> {
    client: &'a Host,
    server: &'a Host,
    inner: Family,
    traffic: Traffic,
    /// The server sends.
    reverse: bool,
}

/// What it reports.
#[derive(Debug)]
struct Report {
    sent: f64,
    received: f64,
    /// Segments sent again, or datagrams lost.
    missed: f64,
    megabits: f64,
}

impl Run<'_> {
    fn words(&self) -> Vec<String> {
        let address = self.server.at(self.inner).expect("the network is dual-stack").to_string();
        let mut words = vec!["iperf3", "--client", &address, "--time", "1", "--json", "--connect-timeout", "2000"];
        if self.traffic == Traffic::Udp {
            words.extend(["--udp", "--bitrate", "100M"]);
        }
        if self.reverse {
            words.push("--reverse");
        }
        words.into_iter().map(str::to_owned).collect()
    }

    fn report(&self) -> Report {
        let mut serving = spawn_in(&self.server.ns, &["iperf3", "--server", "--one-off"], Stdio::null());
        let listens = || !run_in(&self.server.ns, &["ss", "-Hltn", "sport = :5201"]).is_empty();
        assert!(until(Duration::from_secs(2), listens), "iperf3 does not listen");
        let words = self.words();
        let output = output_in(&self.client.ns, &words.iter().map(String::as_str).collect::<Vec<_>>());
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{words:?}: {told}");
        assert!(until(Duration::from_secs(2), || serving.exited().unwrap().is_some()), "the server ends with the run");
        let end = told.split_once("\"end\":").unwrap_or_else(|| panic!("no end in {told}")).1;
        let sum = |name: &str, key: &str| number(end, name, key).unwrap_or_else(|| panic!("no {name}.{key} in {end}"));
        Report {
            sent: sum("sum_sent", "bytes"),
            received: sum("sum_received", "bytes"),
            missed: match self.traffic {
                Traffic::Tcp => sum("sum_sent", "retransmits"),
                Traffic::Udp => sum("sum_received", "lost_packets"),
            },
            megabits: sum("sum_received", "bits_per_second") / 1e6,
        }
    }

    /// Nothing is lost beyond what a sender that outruns a queue loses now and then. The bug to find loses most of it.
    fn is_sound(&self, outer: Family) {
        let report = self.report();
        let arrow = if self.reverse { "from" } else { "to" };
        let what = format!(
            "{:?} in {:?} over {outer:?}, {} {arrow} {}: {report:?}",
            self.traffic,
            self.inner,
            self.client.ns.name(),
            self.server.ns.name()
        );
        println!("{:.0} Mb/s: {what}", report.megabits);
        assert!(report.received > 1e6, "{what}");
        match self.traffic {
            Traffic::Tcp => {
                assert!(report.sent >= report.received, "{what}");
                assert!(report.missed < 100.0 + 0.05 * report.sent / SEGMENT, "{what}");
            }
            Traffic::Udp => assert!(report.missed < 0.02 * report.sent / SEGMENT, "{what}"),
        }
    }
}

/// The number at `"<object>": { … "<key>": <number>`.
fn number(json: &str, object: &str, key: &str) -> Option<f64> {
    let (_, after) = json.split_once(&format!("\"{object}\":"))?;
    let inside = after.split_once('}')?.0;
    let (_, value) = inside.split_once(&format!("\"{key}\":"))?;
    value.trim_start().split([',', '\n', '\t']).next()?.trim().parse().ok()
}

/// Bytes of payload in a full segment, about: pod MTU less IP and TCP headers with timestamps.
const SEGMENT: f64 = 1398.0;

fn running(tag: &str, underlay: Family) -> Option<Net> {
    let mut net = Net::shaped(tag, Shape { underlay, dual_stack: true, ..Shape::default() })?;
    net.start();
    Some(net)
}

fn every_journey(tag: &str, underlay: Family) {
    let Some(net) = running(tag, underlay) else { return };
    let [blue, green, native] = hosts(&net.t);
    for traffic in [Traffic::Tcp, Traffic::Udp] {
        for inner in FAMILIES {
            for (client, server) in [(blue, green), (native, blue), (green, native)] {
                for reverse in [false, true] {
                    Run { client, server, inner, traffic, reverse }.is_sound(underlay);
                }
            }
        }
    }
    net.finish();
}

#[test]
fn tcp_and_udp_flow_both_ways_on_every_journey_over_ipv4() {
    every_journey("iperf", Family::V4);
}

#[test]
fn tcp_and_udp_flow_both_ways_on_every_journey_over_ipv6() {
    every_journey("iperf6", Family::V6);
}

/// TCP is no slower for being IPv6, inside or outside. Rounds are interleaved and medians compared: what other work takes
/// from the machine it takes from all.
#[test]
fn no_family_is_slower_than_another() {
    const ROUNDS: usize = 5;
    // a tenth less is what is promised; as much again is the noise of such short rounds, and more on a busy machine
    const LEAST: f64 = 0.75;
    let Some(over_v4) = running("iperf4", Family::V4) else { return };
    let Some(over_v6) = running("iperf6", Family::V6) else { return };
    let mut all: BTreeMap<(bool, String), Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for (outer, net) in [(Family::V4, &over_v4), (Family::V6, &over_v6)] {
            let [blue, _, native] = hosts(&net.t);
            for (inner, reverse) in [(Family::V4, false), (Family::V6, false), (Family::V4, true), (Family::V6, true)] {
                let run = Run { client: native, server: blue, inner, traffic: Traffic::Tcp, reverse };
                let name = format!("{inner:?} over {outer:?}");
                all.entry((reverse, name)).or_default().push(run.report().megabits);
            }
        }
    }
    let mut medians: BTreeMap<_, f64> = BTreeMap::new();
    for (key, mut runs) in all {
        runs.sort_by(f64::total_cmp);
        medians.insert(key, runs[ROUNDS / 2]);
    }
    for ((reverse, name), median) in &medians {
        let ratio = median / medians[&(*reverse, "V4 over V4".to_owned())];
        let journey = if *reverse { "decap" } else { "encap" };
        println!("{journey} {name}: {median:.0} Mb/s, {ratio:.2} of V4 over V4");
        assert!(ratio > LEAST, "{journey} {name}: {ratio:.2} of V4 over V4");
    }
    over_v4.finish();
    over_v6.finish();
}
