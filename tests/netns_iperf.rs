//! iperf3 through the gateway: TCP and UDP, every journey both ways, in all pairs of inner and outer family, at MTU 1500
//! and 9000, with all offloads as they are by default.

use selvedge::lab::{Family, Host, Namespace, Shape};

#[path = "support/iperf.rs"]
mod iperf;
#[path = "support/netns.rs"]
mod netns;

use iperf::{DIRECTIONS, iperf, number, tcp};
use netns::{Net, hosts, run_in};

/// Datagrams as large as fit, at a rate that everybody carries, less for large ones: a receiver's buffer holds a dozen of
/// those, and one that gets no CPU time for a while loses the rest. Says how many came, and how many were lost.
fn udp(client: &Host, server: &Host, family: Family, (count, size): (u32, usize), direction: &[&str]) -> (f64, f64) {
    let rate = if size > 1500 { "20M" } else { "50M" };
    let (count, size) = (count.to_string(), size.to_string());
    let words = ["--udp", "--bitrate", rate, "--blockcount", &count, "--length", &size];
    let end = iperf(client, server, family, &[&words, direction].concat());
    let sum = |key: &str| number(&end, "sum", key).unwrap_or_else(|| panic!("no sum.{key} in {end}"));
    (sum("packets"), sum("lost_packets"))
}

/// What a host's kernel counted under these names, among TCP, UDP and IPv4, and under those of IPv6.
fn counted(ns: &Namespace, names: &[&str], names_6: &[&str]) -> u64 {
    let told = run_in(ns, &["cat", "/proc/net/snmp", "/proc/net/snmp6"]);
    let mut sum = 0;
    let lines: Vec<&str> = told.lines().collect();
    for pair in lines.windows(2) {
        let of = |n: usize| pair[n].split_whitespace();
        if of(0).next() == of(1).next() && matches!(of(0).next(), Some("Tcp:" | "Udp:" | "Ip:")) {
            let columns = of(0).zip(of(1)).filter(|(name, _)| names.contains(name));
            sum += columns.map(|(_, n)| n.parse::<u64>().unwrap()).sum::<u64>();
        }
    }
    let v6 = lines.iter().filter_map(|line| line.split_once(char::is_whitespace));
    let v6 = v6.filter(|(name, _)| names_6.contains(name));
    sum + v6.map(|(_, n)| n.trim().parse::<u64>().unwrap()).sum::<u64>()
}

/// Packets with a wrong TCP or UDP checksum, or a wrong header, that came to a host.
fn bad_checksums(ns: &Namespace) -> u64 {
    let names_6 = ["Udp6InCsumErrors", "Ip6InHdrErrors", "Icmp6InCsumErrors"];
    counted(ns, &["InCsumErrors", "InHdrErrors"], &names_6)
}

/// Datagrams that came to a host whose program took none for a while: its buffer was full.
fn overflowed(ns: &Namespace) -> f64 {
    counted(ns, &["RcvbufErrors"], &["Udp6RcvbufErrors"]) as f64
}

/// One way between two hosts: nothing is lost but what a receiver that got no CPU time says it has lost, and what a queue may.
fn one_way(net: &Net, family: Family, (client, server): (&Host, &Host), direction: &[&str], datagrams: u32) {
    let headers = if family == Family::V4 { 20 } else { 40 };
    let (mtu, over) = (usize::from(net.t.shape.inner_mtu()), net.t.shape.underlay);
    // payload of a full segment: pod MTU less IP and TCP headers with timestamps
    let segment = (mtu - headers - 32) as f64;
    let what = format!("{family:?} over {over:?}, {} and {} {direction:?}", client.ns.name(), server.ns.name());
    let run = tcp(client, server, family, direction);
    println!("{:.0} Mb/s: {what}: {run:?}", run.megabits);
    assert!(run.received > 1e6 && run.sent >= run.received, "{what}: {run:?}");
    // A sender that outruns a queue loses segments now and then. The bug to find loses most of them.
    assert!(run.retransmits < 100.0 + 0.05 * run.sent / segment, "{what}: {run:?}");
    let full = || [client, server].map(|host| overflowed(&host.ns)).iter().sum::<f64>();
    let before = full();
    let (packets, lost) = udp(client, server, family, (datagrams, mtu - headers - 8), direction);
    let arrived = full() - before;
    let said = format!("{what}: {lost} of {packets} datagrams lost, {arrived} of them in receivers' buffers");
    assert!(packets >= f64::from(datagrams - 1) && lost - arrived < 0.05 * packets, "{said}");
}

fn sound(net: &Net) {
    let left = net.ledger().sum("selvedge_left_checksums_total", &[]);
    assert!(left > 1000.0, "offloads are on, so checksums come unfinished, and go so: {left}");
    for host in hosts(&net.t) {
        assert_eq!(bad_checksums(&host.ns), 0, "over {:?}: {}", net.t.shape.underlay, host.ns.name());
    }
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

fn over(tag: &str, underlay: Family) {
    let Some(mut net) = Net::shaped(tag, Shape { underlay, dual_stack: true, ..Shape::default() }) else { return };
    net.start();
    let [blue, green, native] = hosts(&net.t);
    for family in FAMILIES {
        for ends in [(blue, green), (native, blue), (green, native)] {
            DIRECTIONS.into_iter().for_each(|direction| one_way(&net, family, ends, direction, 3000));
        }
    }
    sound(&net);
    net.finish();
}

/// Each journey one way: `netns_jumbo` has all of them, and every size.
fn jumbo_over(tag: &str, underlay: Family) {
    let shape = Shape { underlay, mtu: 9000, dual_stack: true, ..Shape::default() };
    let Some(mut net) = Net::shaped(tag, shape) else { return };
    net.start();
    let [blue, green, native] = hosts(&net.t);
    for family in FAMILIES {
        one_way(&net, family, (native, blue), DIRECTIONS[0], 300);
        one_way(&net, family, (native, blue), DIRECTIONS[1], 300);
        one_way(&net, family, (blue, green), DIRECTIONS[0], 300);
    }
    sound(&net);
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

#[test]
fn both_families_over_ipv4_in_jumbo_frames() {
    jumbo_over("iperfjumbo4", Family::V4);
}

#[test]
fn both_families_over_ipv6_in_jumbo_frames() {
    jumbo_over("iperfjumbo6", Family::V6);
}
