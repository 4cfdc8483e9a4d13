//! Everybody sends everything to everybody, with all offloads as they are by default; what the gateway sends is
//! recorded on its way and read again with every checksum verified.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use selvedge::lab::traffic::{ping, tcp_transfer, udp_sweep};
use selvedge::lab::{Cluster, Host, Node};
use selvedge::wire::Mac;
use selvedge::wire::checksum::{Sum, pseudo_v4};

#[path = "support/capture.rs"]
mod capture;
#[path = "support/netns.rs"]
mod netns;

use capture::{Capture, EPHEMERAL, Frame};
use netns::{Net, hosts};

const TRANSFER: u64 = 3 << 20;

fn carries_everything(from: &Host, to: &Host) {
    let what = format!("{} to {}", from.ns.name(), to.ns.name());
    let echo = ping(&from.ns, to.address, 3, 56).unwrap();
    assert!(echo.complete(), "{what}: {echo:?}");
    let sweep = udp_sweep(&from.ns, &to.ns, to.address, 0..=1422).unwrap();
    assert!(sweep.complete() && sweep.intact.len() == 1423, "{what}: {sweep:?}");
    let transfer = tcp_transfer(&from.ns, &to.ns, to.address, TRANSFER).unwrap();
    assert!(transfer.hash_ok && transfer.bytes == TRANSFER, "{what}: {transfer:?}");
}

/// The pairs that go through the gateway, both ways.
fn journeys(net: &Net) -> Vec<(&Host, &Host)> {
    let [blue, green, native] = hosts(&net.t);
    vec![(blue, green), (green, blue), (native, blue), (blue, native), (native, green), (green, native)]
}

#[test]
fn what_the_gateway_sends_is_sound() {
    let Some(mut net) = Net::new("traffic") else { return };
    net.finish_checksums();
    net.start();
    let t = &net.t;
    for host in hosts(t) {
        host.ns.sysctl("net.ipv4.ip_local_port_range", EPHEMERAL).unwrap();
    }
    let vxlan = format!("udp and src host {} and (port 8472 or port 4789)", t.gateway_vtep);
    let record = |ns, link, filter: &str| Capture::start(ns, link, filter, net.room());
    let emitted = record(&t.fabric, "gw", &vxlan);
    let [blue, green] = [&t.blue.nodes[0], &t.green.nodes[0]];
    let nodes = [record(&blue.ns, "eth0", &vxlan), record(&green.ns, "eth0", &vxlan)];
    let to_pods = [blue, green].map(|n| record(&n.pod.ns, "eth0", &format!("ip and dst host {}", n.pod.address)));
    let native = record(&t.native.ns, "eth0", "ip and ether src 02:00:00:00:00:02 and not src host 10.9.0.1");

    for (from, to) in journeys(&net) {
        carries_everything(from, to);
    }
    let samples = net.ledger();
    let drops = samples.by("selvedge_dropped_packets_total", "reason");
    assert!(drops.values().all(|n| *n == 0.0), "{drops:?}");
    let finished = samples.sum("selvedge_partial_checksums_total", &[]);
    assert!(finished > 1000.0, "offloads are on, so checksums come unfinished: {finished}");

    let emitted = emitted.stop();
    enough("emitted", &emitted, 4 * 1423);
    underlay(&net, &emitted);
    for (node, frames) in ["blue", "green"].into_iter().zip(nodes.map(Capture::stop)) {
        enough(node, &frames, 2 * 1423);
        underlay(&net, &frames);
    }
    for (pod, frames) in ["blue-pod", "green-pod"].into_iter().zip(to_pods.map(Capture::stop)) {
        enough(pod, &frames, 2 * 1423);
        pod_side(&frames);
    }
    let native = native.stop();
    enough("native", &native, 2 * 1423);
    access(&native);
    net.finish();
}

fn enough(what: &str, frames: &[Frame], least: usize) {
    assert!(frames.len() > least, "{what}: only {} packets recorded", frames.len());
}

/// Nothing is wrong with the packet, and tshark has verified (status 1) what there is to verify.
fn sound(f: &Frame) {
    assert_eq!(f.faults(), [""; 0], "{f:?}");
    let transport = match f.last("ip.proto") {
        "6" => "tcp.checksum.status",
        "17" => "udp.checksum.status",
        "1" => "icmp.checksum.status",
        other => panic!("protocol {other} was never sent: {f:?}"),
    };
    assert_eq!((f.last(transport), f.last("ip.checksum.status")), ("1", "1"), "{f:?}");
}

/// VXLAN packets of the gateway.
fn underlay(net: &Net, frames: &[Frame]) {
    let nodes = net.t.clusters().into_iter().flat_map(|c| &c.nodes);
    let macs: BTreeMap<_, _> = nodes.map(|n| (n.vtep, n.ns.mac("eth0").unwrap())).collect();
    let mut source_ports: BTreeMap<String, u32> = BTreeMap::new();
    for f in frames {
        sound(f);
        let cluster = net.t.clusters().into_iter().find(|c| c.vni.get() == f.number("vxlan.vni", 0));
        let cluster = cluster.unwrap_or_else(|| panic!("no such VNI: {f:?}"));
        let to_node = cluster.nodes.iter().find(|n| n.vtep.to_string() == f.at("ip.dst", 0));
        let node = to_node.unwrap_or_else(|| panic!("no such VTEP in {}: {f:?}", cluster.name));
        outer_header(cluster, (node, macs[&node.vtep]), f);
        let source = f.number("udp.srcport", 0);
        let first = *source_ports.entry(f.flow()).or_insert(source);
        assert_eq!(source, first, "a flow keeps its outer source port: {f:?}");
        // A pod's 64, less one at its node, less one here; the native host's, less one here.
        let ttl = if f.last("ip.src").starts_with("10.9.") { "63" } else { "62" };
        assert_eq!(f.at("ip.ttl", 1), ttl, "{f:?}");
    }
    let used: BTreeSet<_> = source_ports.values().collect();
    assert!(used.len() * 2 > source_ports.len(), "flows are spread over source ports: {source_ports:?}");
}

fn outer_header(cluster: &Cluster, (node, underlay_mac): (&Node, Mac), f: &Frame) {
    let expected = [
        ("eth.src", vec!["02:00:00:00:00:01".to_string(), cluster.gateway_mac.to_string()]),
        ("eth.dst", vec![underlay_mac.to_string(), node.vtep_mac.to_string()]),
        ("vxlan.flags", vec!["0x0800".to_string()]),
    ];
    for (field, values) in expected {
        assert_eq!(f.all(field), values, "{field} of {f:?}");
    }
    assert_eq!(f.number("udp.dstport", 0), u32::from(cluster.udp_port), "{f:?}");
    assert!((49152..=65535).contains(&f.number("udp.srcport", 0)), "{f:?}");
    assert_eq!(f.number("udp.checksum", 0), 0, "{f:?}");
    assert_eq!((f.at("ip.ttl", 0), f.flag("ip.flags.df", 0)), ("64", true), "{f:?}");
    assert_eq!((f.flag("ip.flags.mf", 0), f.at("ip.frag_offset", 0)), (false, "0"), "{f:?}");
    assert_eq!(f.number("ip.len", 0) + 14, f.number("frame.len", 0), "{f:?}");
    assert_eq!(f.number("ip.len", 1) + 50, f.number("ip.len", 0), "{f:?}");
}

/// Plain packets of the gateway.
fn access(frames: &[Frame]) {
    for f in frames {
        sound(f);
        assert_eq!(f.all("eth.dst"), ["02:00:00:09:00:02"], "{f:?}");
        assert_eq!(f.at("ip.ttl", 0), "62", "64 of the pod, less one at its node, less one here: {f:?}");
        assert_eq!((f.flag("ip.flags.mf", 0), f.at("ip.frag_offset", 0)), (false, "0"), "{f:?}");
        assert_eq!(f.number("ip.len", 0) + 14, f.number("frame.len", 0), "{f:?}");
    }
}

/// What the node made of it. Its kernel merges TCP segments of a flow (GRO) and leaves their checksum to hardware, so
/// of TCP only packets that were not merged can be judged.
fn pod_side(frames: &[Frame]) {
    for f in frames {
        let mut faults = f.faults();
        if f.at("ip.proto", 0) == "6" {
            faults.retain(|fault| *fault != "tcp.checksum.status");
        }
        assert_eq!(faults, [""; 0], "{f:?}");
        let ttl = if f.at("ip.src", 0).starts_with("10.9.") { "62" } else { "61" };
        assert_eq!(f.at("ip.ttl", 0), ttl, "{f:?}");
    }
}

/// A recording of one TCP segment whose checksum, computed, is zero, with this one in its place.
fn segment_with(room: &Path, checksum: u16) -> Frame {
    let addresses = [10, 244, 1, 2, 10, 245, 1, 2];
    let mut header = [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    let sum = Sum::ZERO.bytes(&header).bytes(&addresses).checksum();
    header[10..].copy_from_slice(&sum);
    let mut segment = [0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0];
    // as sequence number, so that nothing is left
    let sum = pseudo_v4(&addresses, 6, 20).bytes(&segment).checksum();
    segment[4..6].copy_from_slice(&sum);
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    let frame = [&[2; 12][..], &[8, 0], &header, &addresses, &segment].concat();
    // the file's header, and the packet's: moment, length recorded, length
    let (magic, version, linktype) = (0xa1b2_c3d4u32, 2 | 4 << 16, 1);
    let words = [magic, version, 0, 0, 65_535, linktype, 0, 0, 54, 54];
    let file = room.join(format!("{checksum}.pcap"));
    fs::write(&file, [words.map(u32::to_ne_bytes).concat(), frame].concat()).unwrap();
    capture::read(&file).remove(0)
}

#[test]
fn both_zeroes_of_a_tcp_checksum_are_right() {
    let room = tempfile::tempdir().unwrap();
    for right in [0, 0xffff] {
        sound(&segment_with(room.path(), right));
    }
    assert_eq!(segment_with(room.path(), 0x1234).faults(), ["tcp.checksum.status"]);
}
