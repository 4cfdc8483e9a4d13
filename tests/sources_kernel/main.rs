//! The kernel's tables as a source, against a real kernel: programmed as flanneld does, by next-hop objects, faster than
//! announcements can be heard, and by FRR. Needs root.

#[path = "../support/root.rs"]
mod root;

mod evpn;
mod followed;

use std::process::Command;
use std::time::Duration;

use followed::{Followed, device, inside, way};
use root::root;
use selvedge::lab::{Lab, Namespace};

/// What a change may take.
const SOON: Duration = Duration::from_secs(1);

/// Runs a command in the namespace of this thread, and answers what it prints.
fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let out = Command::new(words.next().expect("a program")).args(words).output().expect("iproute2 is installed");
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn run_all(commands: &[&str]) {
    commands.iter().for_each(|command| drop(run(command)));
}

/// A namespace with flanneld's device in it, and an underlay interface.
fn flannel(test: &str) -> Option<(Lab, Namespace)> {
    if !root() {
        return None;
    }
    let lab = Lab::new(test).unwrap();
    let ns = lab.namespace("gw").unwrap();
    ns.sysctl("net.ipv6.conf.all.disable_ipv6", "0").unwrap();
    ns.sysctl("net.ipv6.conf.default.disable_ipv6", "0").unwrap();
    ns.run(|| {
        run_all(&[
            "ip link add up0 type veth peer name up1",
            "ip addr add 192.0.2.1/24 dev up0",
            "ip link set up0 up",
            "ip link set up1 up",
        ]);
        make_device();
    })
    .unwrap();
    Some((lab, ns))
}

fn make_device() {
    run_all(&[
        "ip link add flannel.1 type vxlan id 1 local 192.0.2.1 dstport 8472 nolearning",
        "ip addr add 10.244.0.0/32 dev flannel.1",
        "ip link set flannel.1 up",
    ]);
}

/// What flanneld does for a node.
fn node(subnet: &str, vtep: &str, mac: &str) {
    run(&format!("ip neigh replace {subnet} dev flannel.1 lladdr {mac} nud permanent"));
    run(&format!("bridge fdb replace {mac} dev flannel.1 dst {vtep} self permanent"));
    run(&format!("ip route replace {subnet}/24 via {subnet} dev flannel.1 onlink"));
}

const ONE: &str = "02:00:00:00:00:01";
const TWO: &str = "02:00:00:00:00:02";

#[test]
fn nodes_that_flanneld_programs_are_followed() {
    let Some((_lab, ns)) = flannel("kflannel") else { return };
    node_in(&ns, "10.244.1.0", "192.0.2.11", ONE);
    inside(&ns, async || {
        let mut source = Followed::start(&device("flannel.1", 1, 8472)).await;
        let first = "10.244.1.0/24 dev flannel.1";
        source.until("what is there", SOON, |s| s.ways(first) == [way("192.0.2.11", ONE)]).await;
        node("10.244.2.0", "192.0.2.12", TWO);
        let second = "10.244.2.0/24 dev flannel.1";
        source.until("a node comes", SOON, |s| s.ways(second) == [way("192.0.2.12", TWO)]).await;
        run(&format!("bridge fdb replace {TWO} dev flannel.1 dst 192.0.2.22 self permanent"));
        source.until("it moves", SOON, |s| s.ways(second) == [way("192.0.2.22", TWO)]).await;
        let other = "02:00:00:00:00:99";
        node("10.244.2.0", "192.0.2.22", other);
        source.until("it has another MAC address", SOON, |s| s.ways(second) == [way("192.0.2.22", other)]).await;
        run_all(&[
            "ip -6 neigh replace fd00:244:2:: dev flannel.1 lladdr 02:00:00:00:00:99 nud permanent",
            "ip -6 route replace fd00:244:2::/64 via fd00:244:2:: dev flannel.1 onlink",
        ]);
        let sixth = "fd00:244:2::/64 dev flannel.1";
        source.until("IPv6 pods", SOON, |s| s.ways(sixth) == [way("192.0.2.22", other)]).await;
        run("ip route replace 10.244.2.0/24 via 192.0.2.22");
        source.until("direct routing is the kernel's", SOON, |s| s.object(second).is_none()).await;
        run_all(&["ip route del 10.244.1.0/24", "ip -6 route del fd00:244:2::/64"]);
        source.until("nodes go", SOON, |s| s.keys().is_empty()).await;
        assert_eq!(source.lists(), 1, "all of it was heard");
    });
}

fn node_in(ns: &Namespace, subnet: &str, vtep: &str, mac: &str) {
    ns.run(|| node(subnet, vtep, mac)).unwrap();
}

#[test]
fn equal_ways_come_as_routes_and_as_next_hop_objects() {
    let Some((_lab, ns)) = flannel("kgroups") else { return };
    node_in(&ns, "10.244.1.0", "192.0.2.11", ONE);
    node_in(&ns, "10.244.2.0", "192.0.2.12", TWO);
    inside(&ns, async || {
        let mut source = Followed::start(&device("flannel.1", 1, 8472)).await;
        let (one, two) = (way("192.0.2.11", ONE), way("192.0.2.12", TWO));
        let (a, b) = ("nexthop via 10.244.1.0 dev flannel.1 onlink", "nexthop via 10.244.2.0 dev flannel.1 onlink");
        run(&format!("ip route add 10.250.1.0/24 {a} {b}"));
        source.until("a multipath route", SOON, |s| s.ways("10.250.1.0/24 dev flannel.1") == [one, two]).await;
        run_all(&[
            "ip nexthop add id 1 via 10.244.1.0 dev flannel.1 onlink",
            "ip nexthop add id 2 via 10.244.2.0 dev flannel.1 onlink",
            "ip nexthop add id 10 group 1/2",
            "ip route add 10.250.2.0/24 nhid 10",
        ]);
        let objects = "10.250.2.0/24 dev flannel.1";
        source.until("a group", SOON, |s| s.ways(objects) == [one, two]).await;
        run("ip nexthop replace id 1 via 10.244.2.0 dev flannel.1 onlink");
        source.until("a member is another", SOON, |s| s.ways(objects) == [two]).await;
        run("ip nexthop del id 2");
        source.until("a member is gone", SOON, |s| s.ways(objects) == [two]).await;
        run("ip nexthop del id 1");
        source.until("the last is gone, and the route with it", SOON, |s| s.object(objects).is_none()).await;
        // an entry of the forwarding table by a group of VTEPs
        run_all(&[
            "ip nexthop add id 101 via 192.0.2.11 fdb",
            "ip nexthop add id 102 via 192.0.2.12 fdb",
            "ip nexthop add id 110 group 101/102 fdb",
            "bridge fdb add 02:00:00:00:00:33 dev flannel.1 nhid 110 self permanent",
            "ip neigh replace 10.244.3.0 dev flannel.1 lladdr 02:00:00:00:00:33 nud permanent",
            "ip route add 10.244.3.0/24 via 10.244.3.0 dev flannel.1 onlink",
        ]);
        let (third, mac) = ("10.244.3.0/24 dev flannel.1", "02:00:00:00:00:33");
        let both = [way("192.0.2.11", mac), way("192.0.2.12", mac)];
        source.until("a group of VTEPs", SOON, |s| s.ways(third) == both).await;
        run("ip nexthop replace id 110 group 102 fdb");
        source.until("a smaller one", SOON, |s| s.ways(third) == both[1..]).await;
        // the ways of an IPv6 route come and go one by one
        let sixth = |last: u8, mac| {
            run(&format!("ip -6 neigh replace fd00:244:{last}:: dev flannel.1 lladdr {mac} nud permanent"));
        };
        sixth(1, ONE);
        sixth(2, TWO);
        let route = "fd00:250::/64 dev flannel.1";
        run("ip -6 route add fd00:250::/64 via fd00:244:1:: dev flannel.1 onlink");
        source.until("one way", SOON, |s| s.ways(route) == [one]).await;
        run("ip -6 route append fd00:250::/64 via fd00:244:2:: dev flannel.1 onlink");
        source.until("two ways", SOON, |s| s.ways(route) == [one, two]).await;
        run("ip -6 route del fd00:250::/64 via fd00:244:1:: dev flannel.1");
        source.until("one of them", SOON, |s| s.ways(route) == [two]).await;
        assert_eq!(source.lists(), 1, "all of it was heard");
        let listed = Followed::fresh(&device("flannel.1", 1, 8472)).await;
        assert_eq!(source.picture(), listed, "what was heard is what there is");
    });
}

#[test]
fn after_an_overrun_the_picture_is_that_of_a_fresh_listing() {
    let Some((_lab, ns)) = flannel("koverrun") else { return };
    inside(&ns, async || {
        let mut source = Followed::start_with(&device("flannel.1", 1, 8472), 4096).await;
        source.until("an empty list", SOON, |s| s.lists() == 1).await;
        let dir = tempfile::tempdir().unwrap();
        let (mut fdb, mut ip) = (String::new(), String::new());
        for n in 0..2000u32 {
            let (subnet, mac) =
                (format!("10.{}.{}.0", 1 + n / 250, n % 250), format!("02:00:00:01:{:02x}:{:02x}", n >> 8, n & 255));
            fdb += &format!("fdb replace {mac} dev flannel.1 dst 192.0.2.{} self permanent\n", 2 + n % 200);
            ip += &format!("neigh replace {subnet} dev flannel.1 lladdr {mac} nud permanent\n");
            ip += &format!("route replace {subnet}/24 via {subnet} dev flannel.1 onlink\n");
        }
        // every third is gone again, every fifth has moved
        for n in (0..2000u32).step_by(3) {
            ip += &format!("route del 10.{}.{}.0/24\n", 1 + n / 250, n % 250);
        }
        for n in (0..2000u32).step_by(5) {
            let mac = format!("02:00:00:01:{:02x}:{:02x}", n >> 8, n & 255);
            fdb += &format!("fdb replace {mac} dev flannel.1 dst 192.0.2.222 self permanent\n");
        }
        for (name, text) in [("fdb", &fdb), ("ip", &ip)] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        // meanwhile nothing is read: this thread is the runtime's
        run(&format!("bridge -batch {}", dir.path().join("fdb").display()));
        run(&format!("ip -batch {}", dir.path().join("ip").display()));
        let there = 2000 - 2000usize.div_ceil(3);
        source.until("all routes", 5 * SOON, |s| s.lists() > 1 && s.keys().len() == there).await;
        let listed = Followed::fresh(&device("flannel.1", 1, 8472)).await;
        assert_eq!(source.picture(), listed);
        assert_eq!(source.ways("10.1.10.0/24 dev flannel.1"), [way("192.0.2.222", "02:00:00:01:00:0a")]);
    });
}

#[test]
fn a_device_that_goes_takes_nothing_with_it_and_is_listed_when_it_is_back() {
    let Some((_lab, ns)) = flannel("kdevice") else { return };
    for (third, mac) in [(1, ONE), (2, TWO)] {
        node_in(&ns, &format!("10.244.{third}.0"), &format!("192.0.2.1{third}"), mac);
    }
    inside(&ns, async || {
        let mut source = Followed::start(&device("flannel.1", 1, 8472)).await;
        source.until("both nodes", SOON, |s| s.keys().len() == 2).await;
        run("ip link del flannel.1");
        source.until("it is lost", SOON, |s| s.lost("there is no interface flannel.1")).await;
        assert_eq!((source.keys().len(), source.lists()), (2, 1), "what it said stays");
        make_device();
        node("10.244.2.0", "192.0.2.12", TWO);
        source.until("another device of that name", 3 * SOON, |s| s.keys() == ["10.244.2.0/24 dev flannel.1"]).await;
        run("ip link set flannel.1 down");
        source.until("it is down", SOON, |s| s.lost("flannel.1 is down")).await;
        assert_eq!(source.keys().len(), 1);
        run("ip link set flannel.1 up");
        source.until("it is up, without its routes", 3 * SOON, |s| s.keys().is_empty()).await;
        run_all(&["ip link del flannel.1", "ip link add flannel.1 type bridge", "ip link set flannel.1 up"]);
        source.until("it is something else", 3 * SOON, |s| s.lost("flannel.1 is no VXLAN device")).await;
    });
}

#[test]
fn a_device_of_another_segment_is_named() {
    let Some((_lab, ns)) = flannel("ksegment") else { return };
    node_in(&ns, "10.244.1.0", "192.0.2.11", ONE);
    inside(&ns, async || {
        let mut source = Followed::start(&device("flannel.1", 2, 8472)).await;
        source.until("a list", SOON, |s| s.keys() == ["dev flannel.1"]).await;
        let fault = source.object("dev flannel.1").unwrap().faults[0].to_string();
        assert_eq!(fault, "other_segment: the device has VNI 1, the overlay 2");
    });
}
