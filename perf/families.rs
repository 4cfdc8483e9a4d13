//! TCP of both families inside and outside, beside IPv4 over IPv4, through this gateway and through the kernel in its
//! place: see `perf/families`.

use std::collections::BTreeMap;

use selvedge::lab::{Cluster, Family, Namespace, Shape, Topology, Vxlan};

#[path = "../tests/support/iperf.rs"]
mod iperf;
#[path = "../tests/support/netns.rs"]
mod netns;

use iperf::{DIRECTIONS, tcp};
use netns::{Net, hosts, run_in};

const INNER: [(&str, Family); 2] = [("IPv4", Family::V4), ("IPv6", Family::V6)];
/// Underlays: name, family, whether both ends leave the outer UDP checksum out of IPv6.
const OUTER: [(&str, Family, bool); 3] =
    [("IPv4", Family::V4, false), ("IPv6", Family::V6, false), ("IPv6 without checksums", Family::V6, true)];
const JOURNEYS: [&str; 2] = ["encap", "decap"];

/// Who is the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum System {
    Selvedge,
    Kernel,
}

const SYSTEMS: [System; 2] = [System::Selvedge, System::Kernel];

/// Journey, inner family, underlay, gateway.
type Case = (&'static str, &'static str, &'static str, System);

fn running(system: System, (outer, underlay, zero_checksum): (&str, Family, bool), mtu: u16) -> Net {
    let shape = Shape { underlay, zero_checksum, mtu, dual_stack: true, ..Shape::default() };
    let version = if outer == "IPv4" { 4 } else { 6 };
    let mut net = Net::shaped(&format!("{system:?}{version}{zero_checksum}").to_lowercase(), shape)
        .expect("root makes namespaces");
    keep_off_the_worker(&net.t.fabric, "gw");
    match system {
        System::Selvedge => net.start(),
        System::Kernel => forward(&net.t),
    }
    net
}

/// Has what arrives there processed on any core but the first, the worker's. Over a veth the receiver works in the call by
/// which the sender sends, packet by packet: nodes, which are machines of their own elsewhere, would take two thirds of
/// the worker's time.
fn keep_off_the_worker(ns: &Namespace, link: &str) {
    let others = (1u64 << std::thread::available_parallelism().map_or(1, |n| n.get().min(32))) - 2;
    let line = format!("echo {others:x} > /sys/class/net/{link}/queues/rx-0/rps_cpus");
    // that command brings the /sys of its namespace
    run_in(ns, &["ip", "netns", "exec", ns.name(), "sh", "-c", &line]);
}

/// Makes the kernel the gateway: forwarding between the native network and a VXLAN device a cluster.
fn forward(t: &Topology) {
    let six = "net.ipv6.conf.all.forwarding";
    ["net.ipv4.ip_forward", six].iter().for_each(|key| t.gateway.sysctl(key, "1").unwrap());
    let [underlay, access] = t.shape.ports();
    for cluster in t.clusters() {
        program(t, cluster, &underlay);
    }
    // An XDP program at a veth has its peer cut large segments: it is every packet by itself that is to be compared.
    for (ns, link) in [(&t.native.ns, "eth0"), (&t.fabric, "gw"), (&t.gateway, &underlay), (&t.gateway, &access)] {
        one_by_one(ns, link);
    }
}

/// As flannel would have it on a node.
fn program(t: &Topology, cluster: &Cluster, dev: &str) {
    let (device, gateway) = (cluster.device(), &t.gateway);
    let spec = Vxlan {
        name: &device,
        vni: cluster.vni,
        port: cluster.udp_port,
        local: t.gateway_vtep,
        dev,
        mac: cluster.gateway_mac,
        mtu: t.shape.inner_mtu(),
        zero_checksum: t.shape.zero_checksum,
    };
    gateway.vxlan(&spec).unwrap();
    for node in &cluster.nodes {
        gateway.fdb(&device, node.vtep_mac, node.vtep).unwrap();
        for address in &node.device_addresses {
            gateway.neighbour(&device, *address, node.vtep_mac).unwrap();
            let family = |prefix: &&_| selvedge::wire::Prefix::addr(prefix).is_ipv4() == address.is_ipv4();
            node.prefixes().iter().filter(family).for_each(|p| gateway.route_onlink(*p, *address, &device).unwrap());
        }
    }
}

fn one_by_one(ns: &Namespace, link: &str) {
    run_in(ns, &["ethtool", "-K", link, "tso", "off", "gso", "off", "gro", "off"]);
}

/// The words that may be given: MTU and rounds. These are interleaved, so that what other work takes from the machine it
/// takes from all.
fn wanted() -> (u16, usize) {
    const USAGE: &str = "usage: perf/families [MTU [ROUNDS]], 1400 to 9216 and 1 to 999";
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-'));
    let mtu = words.next().map_or(Ok(Shape::default().mtu), |word| word.parse());
    let rounds = words.next().map_or(Ok(7), |word| word.parse());
    let mtu = mtu.ok().filter(|mtu| (1400..=9216).contains(mtu)).expect(USAGE);
    (mtu, rounds.ok().filter(|rounds| (1..=999).contains(rounds)).expect(USAGE))
}

fn main() {
    let (mtu, rounds) = wanted();
    let nets: Vec<(System, &str, Net)> = SYSTEMS
        .into_iter()
        .flat_map(|system| OUTER.map(|outer| (system, outer.0, running(system, outer, mtu))))
        .collect();
    let mut runs: BTreeMap<Case, Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        for (system, outer, net) in &nets {
            let [blue, _, native] = hosts(&net.t);
            for (journey, direction) in JOURNEYS.into_iter().zip(DIRECTIONS) {
                for (inner, family) in INNER {
                    let megabits = tcp(native, blue, family, direction).megabits;
                    runs.entry((journey, inner, outer, *system)).or_default().push(megabits);
                }
            }
        }
    }
    runs.values_mut().for_each(|all| all.sort_by(f64::total_cmp));
    report(mtu, rounds, &runs);
    let of_ours = nets.into_iter().filter(|(system, ..)| *system == System::Selvedge);
    of_ours.for_each(|(_, _, net)| drop(net.finish()));
}

fn report(mtu: u16, rounds: usize, runs: &BTreeMap<Case, Vec<f64>>) {
    println!(
        "TCP, MTU {mtu}, {rounds} interleaved rounds of a second: median (least to most), Mb/s; of IPv4 over IPv4"
    );
    for journey in JOURNEYS {
        for (outer, _, _) in OUTER {
            for (inner, _) in INNER {
                let line = SYSTEMS.map(|system| {
                    let (all, reference) =
                        (&runs[&(journey, inner, outer, system)], &runs[&(journey, "IPv4", "IPv4", system)]);
                    let median = all[rounds / 2];
                    let (least, most) = (all[0], all[rounds - 1]);
                    format!("{system:?} {median:.0} ({least:.0} to {most:.0}), {:.2}", median / reference[rounds / 2])
                });
                println!("{journey}, {inner} over {outer}: {}", line.join("; "));
            }
        }
    }
}
