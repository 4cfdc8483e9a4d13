//! iperf3 through the gateway: TCP and UDP, every journey both ways, in all pairs of inner and outer family, with all
//! offloads as they are by default.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use selvedge::lab::{Family, Host, Namespace, Shape};

#[path = "support/netns.rs"]
mod netns;

use netns::{Net, hosts, output_in, run_in, spawn_in, until};

/// What iperf3 reports of one run.
#[derive(Debug)]
struct Run {
    sent: f64,
    received: f64,
    retransmits: f64,
    megabits: f64,
}

/// A second or less between `client` and `server` with these words besides; `--reverse` makes the server send.
fn iperf(client: &Host, server: &Host, family: Family, more: &[&str]) -> String {
    let mut serving = spawn_in(&server.ns, &["iperf3", "--server", "--one-off"], Stdio::null());
    let listens = || !run_in(&server.ns, &["ss", "-Hltn", "sport = :5201"]).is_empty();
    assert!(until(Duration::from_secs(2), listens), "iperf3 does not listen");
    let address = server.at(family).expect("the network is dual-stack").to_string();
    let words = ["iperf3", "--client", &address, "--json", "--connect-timeout", "2000"];
    let words = [&words[..], more].concat();
    let output = output_in(&client.ns, &words);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words:?}: {told}");
    assert!(until(Duration::from_secs(2), || serving.exited().unwrap().is_some()), "the server ends with the run");
    // numbers are called so, too
    told.rsplit_once("\"end\":\t{").unwrap_or_else(|| panic!("no end in {told}")).1.to_owned()
}

fn tcp(client: &Host, server: &Host, family: Family, direction: &[&str]) -> Run {
    let end = iperf(client, server, family, &[&["--time", "1"], direction].concat());
    let sum = |name: &str, key: &str| number(&end, name, key).unwrap_or_else(|| panic!("no {name}.{key} in {end}"));
    Run {
        sent: sum("sum_sent", "bytes"),
        received: sum("sum_received", "bytes"),
        retransmits: sum("sum_sent", "retransmits"),
        megabits: sum("sum_received", "bits_per_second") / 1e6,
    }
}

/// 3,000 datagrams as large as fit at a rate that everybody carries. Says how many came, and how many were lost.
fn udp(client: &Host, server: &Host, family: Family, size: usize, direction: &[&str]) -> (f64, f64) {
    let size = size.to_string();
    let words = ["--udp", "--bitrate", "50M", "--blockcount", "3000", "--length", &size];
    let end = iperf(client, server, family, &[&words, direction].concat());
    let sum = |key: &str| number(&end, "sum", key).unwrap_or_else(|| panic!("no sum.{key} in {end}"));
    (sum("packets"), sum("lost_packets"))
}

/// The number at `"<object>": { … "<key>": <number>`.
fn number(json: &str, object: &str, key: &str) -> Option<f64> {
    let (_, after) = json.split_once(&format!("\"{object}\":"))?;
    let inside = after.split_once('}')?.0;
    let (_, value) = inside.split_once(&format!("\"{key}\":"))?;
    value.trim_start().split([',', '\n', '\t']).next()?.trim().parse().ok()
}

/// Packets with a wrong TCP or UDP checksum, or a wrong header, that came to a host.
fn bad_checksums(ns: &Namespace) -> u64 {
    let told = run_in(ns, &["cat", "/proc/net/snmp", "/proc/net/snmp6"]);
    let mut bad = 0;
    let lines: Vec<&str> = told.lines().collect();
    for pair in lines.windows(2) {
        let of = |n: usize| pair[n].split_whitespace();
        if of(0).next() == of(1).next() && matches!(of(0).next(), Some("Tcp:" | "Udp:" | "Ip:")) {
            let columns = of(0).zip(of(1)).filter(|(name, _)| matches!(*name, "InCsumErrors" | "InHdrErrors"));
            bad += columns.map(|(_, n)| n.parse::<u64>().unwrap()).sum::<u64>();
        }
    }
    let v6 = lines.iter().filter_map(|line| line.split_once(char::is_whitespace));
    let v6 = v6.filter(|(name, _)| matches!(*name, "Udp6InCsumErrors" | "Ip6InHdrErrors" | "Icmp6InCsumErrors"));
    bad + v6.map(|(_, n)| n.trim().parse::<u64>().unwrap()).sum::<u64>()
}

/// Both directions of a run.
const DIRECTIONS: [&[&str]; 2] = [&[], &["--reverse"]];

fn every_journey(net: &Net, family: Family) {
    let [blue, green, native] = hosts(&net.t);
    let headers = if family == Family::V4 { 20 } else { 40 };
    let (mtu, over) = (usize::from(net.t.shape.inner_mtu()), net.t.shape.underlay);
    // payload of a full segment: pod MTU less IP and TCP headers with timestamps
    let segment = (mtu - headers - 32) as f64;
    for (client, server) in [(blue, green), (native, blue), (green, native)] {
        for direction in DIRECTIONS {
            let what = format!("{family:?} over {over:?}, {} and {} {direction:?}", client.ns.name(), server.ns.name());
            let run = tcp(client, server, family, direction);
            println!("{:.0} Mb/s: {what}: {run:?}", run.megabits);
            assert!(run.received > 1e6 && run.sent >= run.received, "{what}: {run:?}");
            // A sender that outruns a queue loses segments now and then. The bug to find loses most of them.
            assert!(run.retransmits < 100.0 + 0.05 * run.sent / segment, "{what}: {run:?}");
            let (packets, lost) = udp(client, server, family, mtu - headers - 8, direction);
            // A receiver that gets no CPU time loses some. What is wrong with large ones, or with one family, loses all.
            assert!(packets >= 2999.0 && lost < 0.2 * packets, "{what}: {lost} of {packets} datagrams lost");
        }
    }
    for host in [blue, green, native] {
        assert_eq!(bad_checksums(&host.ns), 0, "{family:?} over {over:?}: {}", host.ns.name());
    }
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

fn running(tag: &str, underlay: Family) -> Option<Net> {
    let mut net = Net::shaped(tag, Shape { underlay, dual_stack: true, ..Shape::default() })?;
    net.start();
    Some(net)
}

fn over(tag: &str, underlay: Family) {
    let Some(net) = running(tag, underlay) else { return };
    FAMILIES.into_iter().for_each(|family| every_journey(&net, family));
    net.finish();
}

#[test]
fn both_families_over_ipv4() {
    over("iperf4", Family::V4);
}

#[test]
fn both_families_over_ipv6() {
    over("iperf6", Family::V6);
}

/// TCP is no slower for being IPv6, inside or outside. Rounds are interleaved and medians compared: what other work takes
/// from the machine it takes from all.
#[test]
fn no_family_is_slower_than_another() {
    const ROUNDS: usize = 5;
    // 0.9 is what is to be had; such short rounds differ by 0.15 on a quiet machine, and by more on a busy one
    const LEAST: f64 = 0.6;
    let Some(over_v4) = running("ratio4", Family::V4) else { return };
    let Some(over_v6) = running("ratio6", Family::V6) else { return };
    let mut runs: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for (outer, net) in [("IPv4", &over_v4), ("IPv6", &over_v6)] {
            let [blue, _, native] = hosts(&net.t);
            for (journey, direction) in ["encap", "decap"].into_iter().zip(DIRECTIONS) {
                for (inner, family) in ["IPv4", "IPv6"].into_iter().zip(FAMILIES) {
                    let megabits = tcp(native, blue, family, direction).megabits;
                    runs.entry((journey, inner, outer)).or_default().push(megabits);
                }
            }
        }
    }
    let median = |key| {
        let mut sorted = runs[&key].clone();
        sorted.sort_by(f64::total_cmp);
        sorted[ROUNDS / 2]
    };
    for (journey, inner, outer) in runs.keys().copied() {
        let (here, reference) = (median((journey, inner, outer)), median((journey, "IPv4", "IPv4")));
        let ratio = here / reference;
        println!("{journey}, {inner} over {outer}: {here:.0} Mb/s, {ratio:.2} of IPv4 over IPv4");
        assert!(ratio > LEAST, "{journey}, {inner} over {outer}: {here:.0} Mb/s, IPv4 over IPv4 {reference:.0}");
    }
    over_v4.finish();
    over_v6.finish();
}
