//! Open vSwitch's userspace data path as the VTEP at the far end: an implementation of VXLAN that shares no code with
//! the kernel's. All journeys, both families over both, and what is on the wire between the two read by tshark with
//! every checksum verified.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use selvedge::lab::traffic::{ping, tcp_transfer, udp_sweep};
use selvedge::lab::{Cluster, Family, Host, Node, Shape};

#[path = "support/capture.rs"]
mod capture;
#[path = "support/netns.rs"]
mod netns;
#[path = "support/steady.rs"]
mod steady;
#[path = "support/ovs.rs"]
mod switch;
#[path = "ovs/vtep.rs"]
mod vtep;

use capture::{Capture, EPHEMERAL, Frame};
use netns::{Net, hosts, run_in, until};
use steady::drops;
use vtep::in_place_of;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const TRANSFER: u64 = 1 << 20;
/// How long the first packet may take: both ends look for each other's link address first.
const PATIENCE: Duration = Duration::from_secs(5);

fn net(tag: &str, underlay: Family) -> Option<Net> {
    let mut net = Net::shaped(tag, Shape { underlay, dual_stack: true, ..Shape::default() })?;
    net.finish_checksums();
    for host in hosts(&net.t) {
        host.ns.sysctl("net.ipv4.ip_local_port_range", EPHEMERAL).unwrap();
    }
    Some(net)
}

fn at(host: &Host, family: Family) -> IpAddr {
    host.at(family).expect("the network is dual-stack")
}

/// Pings with each mark, a TCP transfer and UDP of sizes up to the largest that fits.
fn carries_everything(from: &Host, to: &Host, family: Family, mtu: u16) {
    let (what, dst) = (format!("{} to {} ({family:?})", from.ns.name(), to.ns.name()), at(to, family));
    assert!(until(PATIENCE, || ping(&from.ns, dst, 1, 56).unwrap().complete()), "{what}: nothing comes through");
    for mark in ["0", "1", "2", "3"] {
        run_in(&from.ns, &["ping", "-q", "-c", "1", "-W", "1", "-Q", mark, &dst.to_string()]);
    }
    let largest = usize::from(mtu) - if family == Family::V4 { 28 } else { 48 };
    let echo = ping(&from.ns, dst, 2, largest).unwrap();
    assert!(echo.complete(), "{what}, as large as can be: {echo:?}");
    let sweep = udp_sweep(&from.ns, &to.ns, dst, (0..largest).step_by(61).chain(largest - 3..=largest)).unwrap();
    assert!(sweep.complete(), "{what}: {sweep:?}");
    let transfer = tcp_transfer(&from.ns, &to.ns, dst, TRANSFER).unwrap();
    assert!(transfer.hash_ok && transfer.bytes == TRANSFER, "{what}: {transfer:?}");
}

/// An inner or outer IP header, as tshark reads it.
struct Ip<'a> {
    source: &'a str,
    ttl: &'a str,
    mark: &'a str,
}

/// The outer and the inner header of a VXLAN packet.
fn headers(f: &Frame, outer: Family) -> [Ip<'_>; 2] {
    let v4 = |n| Ip { source: f.at("ip.src", n), ttl: f.at("ip.ttl", n), mark: f.at("ip.dsfield.ecn", n) };
    let v6 = |n| Ip { source: f.at("ipv6.src", n), ttl: f.at("ipv6.hlim", n), mark: f.at("ipv6.tclass.ecn", n) };
    match (outer, f.all("ip.src").len(), f.all("ipv6.src").len()) {
        (Family::V4, 2, 0) => [v4(0), v4(1)],
        (Family::V4, 1, 1) => [v4(0), v6(0)],
        (Family::V6, 1, 1) => [v6(0), v4(0)],
        (Family::V6, 0, 2) => [v6(0), v6(1)],
        _ => panic!("not two headers: {f:?}"),
    }
}

/// What both ends must have done: the cluster's VNI and port, sound checksums, the outer one as its family has it.
fn sound(f: &Frame, cluster: &Cluster, outer: Family, checksums: bool) {
    assert_eq!(f.faults(), [""; 0], "{f:?}");
    assert_eq!(f.number("vxlan.flags", 0), 0x0800, "{f:?}");
    assert_eq!(f.number("vxlan.vni", 0), cluster.vni.get(), "{f:?}");
    assert_eq!(f.number("udp.dstport", 0), u32::from(cluster.udp_port), "{f:?}");
    match (outer, checksums) {
        (Family::V4, false) => assert_eq!(f.number("udp.checksum", 0), 0, "{f:?}"),
        _ => assert_eq!(f.at("udp.checksum.status", 0), "1", "verified: {f:?}"),
    }
}

/// What the gateway sends to the switch. Returns the mark.
fn from_gateway(f: &Frame, cluster: &Cluster, node: &Node, outer: Family) -> String {
    sound(f, cluster, outer, false);
    let [tunnel, inner] = headers(f, outer);
    assert!(f.number("udp.srcport", 0) >= 49152, "{f:?}");
    assert_eq!(f.all("eth.src")[1..], [cluster.gateway_mac.to_string()], "{f:?}");
    assert_eq!(f.all("eth.dst")[1..], [node.vtep_mac.to_string()], "{f:?}");
    // 64 of the sender, less one here; a pod's has lost one at its node
    let own = cluster.gateway_addresses().iter().any(|a| a.to_string() == inner.source);
    let hops = if own || inner.source.contains("10.9.") || inner.source.starts_with("fd00:9:") { "63" } else { "62" };
    assert_eq!((tunnel.ttl, inner.ttl), ("64", hops), "{f:?}");
    assert_eq!(tunnel.mark, inner.mark, "copied, all four (RFC 6040 §4.1): {f:?}");
    inner.mark.to_owned()
}

/// What the switch sends to the gateway.
fn from_switch(f: &Frame, cluster: &Cluster, outer: Family, checksums: bool) {
    sound(f, cluster, outer, checksums);
    let [tunnel, inner] = headers(f, outer);
    assert_eq!((tunnel.ttl, inner.ttl), ("64", "63"), "{f:?}");
    // RFC 3168 §9.1.1, which RFC 6040 replaces: congestion met before the tunnel is not shown to it
    let shown = if inner.mark == "3" { "2" } else { inner.mark };
    assert_eq!(tunnel.mark, shown, "{f:?}");
}

fn over(tag: &str, underlay: Family) {
    let Some(mut net) = net(tag, underlay) else { return };
    let t = net.t.clone();
    let node = &t.blue.nodes[0];
    let _switch = in_place_of(&net, &t.blue, node, false);
    net.start();
    // what green's kernel sends is not judged: its checksums are left to hardware
    let filter =
        format!("udp and (src host {} or src host {}) and (port 8472 or port 4789)", t.gateway_vtep, node.vtep);
    let wire = Capture::start(&t.fabric, "gw", &filter, net.room());
    let [blue, green, native] = hosts(&t);
    for family in FAMILIES {
        for (from, to) in [(blue, native), (native, blue), (blue, green), (green, blue)] {
            carries_everything(from, to, family, t.shape.inner_mtu());
        }
    }
    assert_eq!(drops(&net.ledger()), []);
    let (mut sent, mut received, mut marks) = ([0; 2], 0, [BTreeSet::new(), BTreeSet::new()]);
    for f in &wire.stop() {
        let [tunnel, _] = headers(f, underlay);
        if tunnel.source == t.gateway_vtep.to_string() {
            let to_green = f.number("vxlan.vni", 0) == t.green.vni.get();
            let (cluster, node) = if to_green { (&t.green, &t.green.nodes[0]) } else { (&t.blue, node) };
            marks[usize::from(to_green)].insert(from_gateway(f, cluster, node, underlay));
            sent[usize::from(to_green)] += 1;
        } else {
            from_switch(f, &t.blue, underlay, false);
            received += 1;
        }
    }
    // every mark came out of one tunnel and went into the next
    let all: BTreeSet<String> = ["0", "1", "2", "3"].map(str::to_owned).into();
    assert_eq!(marks, [all.clone(), all]);
    assert!(sent.into_iter().all(|n| n > 1500) && received > 3000, "{sent:?} sent, {received} received");
    net.finish();
}

#[test]
fn both_families_over_ipv4() {
    over("ovs4", Family::V4);
}

#[test]
fn both_families_over_ipv6() {
    over("ovs6", Family::V6);
}

/// A switch at either end. They compute outer checksums over IPv4, which the gateway verifies and does without.
#[test]
fn switches_at_both_ends_with_outer_checksums_over_ipv4() {
    let Some(mut net) = net("ovsboth", Family::V4) else { return };
    let t = net.t.clone();
    let [blue, green] = t.clusters().map(|cluster| (cluster, &cluster.nodes[0]));
    let _switches = [blue, green].map(|(cluster, node)| in_place_of(&net, cluster, node, true));
    net.start();
    let wire = Capture::start(&t.fabric, "gw", "udp and (port 8472 or port 4789)", net.room());
    for family in FAMILIES {
        carries_everything(&blue.1.pod, &green.1.pod, family, t.shape.inner_mtu());
    }
    assert_eq!(drops(&net.ledger()), []);
    let mut count = [0; 2];
    for f in &wire.stop() {
        let to_green = f.number("udp.dstport", 0) == u32::from(t.green.udp_port);
        let (cluster, node) = if to_green { green } else { blue };
        let by_gateway = f.at("ip.src", 0) == t.gateway_vtep.to_string();
        if by_gateway {
            from_gateway(f, cluster, node, Family::V4);
        } else {
            from_switch(f, cluster, Family::V4, true);
        }
        count[usize::from(by_gateway)] += 1;
    }
    assert!(count.into_iter().all(|n| n > 1500), "{count:?}");
    net.finish();
}
