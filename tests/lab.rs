//! The lab builds what it says, carries traffic, and leaves nothing behind.

#[path = "support/root.rs"]
mod root;

use root::root;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use selvedge::lab::traffic::{LoadOptions, UdpLoad, ping, tcp_transfer, udp_sweep};
use selvedge::lab::{Family, Host, Lab, Shape, Topology, two_clusters, two_clusters_with};

/// Set for the process that is to be killed with a lab in its hands.
const VICTIM: &str = "SELVEDGE_LAB_VICTIM";

fn names(prefix: &str) -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
    names.retain(|name| name.starts_with(prefix));
    names.sort();
    names
}

fn carries_everything(from: &Host, to: &Host) {
    let what = format!("{} to {}", from.ns.name(), to.ns.name());
    let echo = ping(&from.ns, to.address, 3, 56).unwrap();
    assert!(echo.complete(), "{what}: {echo:?}");
    let transfer = tcp_transfer(&from.ns, &to.ns, to.address, 4 << 20).unwrap();
    assert!(transfer.hash_ok && transfer.bytes == 4 << 20, "{what}: {transfer:?}");
    let sweep = udp_sweep(&from.ns, &to.ns, to.address, 0..=1422).unwrap();
    assert!(sweep.complete() && sweep.intact.len() == 1423, "{what}: {sweep:?}");
    let options = LoadOptions { rate: 2000, flows: 3, payload: 200, duration: Duration::from_millis(300) };
    let counts = UdpLoad::start(&from.ns, &to.ns, to.address, options).unwrap().wait();
    assert!(counts.sent > 100 && counts.received == counts.sent, "{what}: {counts:?}");
    assert_eq!((counts.duplicate, counts.corrupt), (0, 0), "{what}: {counts:?}");
}

fn pods(t: &Topology) -> Vec<&Host> {
    t.clusters().into_iter().flat_map(|c| &c.nodes).map(|n| &n.pod).collect()
}

#[test]
fn pods_of_a_cluster_reach_each_other_and_nothing_is_left_behind() {
    if !root() {
        return;
    }
    let lab = Lab::new("pods").unwrap();
    let instance = lab.instance().to_string();
    let t = two_clusters(&lab).unwrap();
    for cluster in t.clusters() {
        let [a, b] = [&cluster.nodes[0].pod, &cluster.nodes[1].pod];
        carries_everything(a, b);
        carries_everything(b, a);
    }
    // Without a gateway, nothing passes between the clusters.
    let across = ping(&t.blue.nodes[0].pod.ns, t.green.nodes[0].pod.address, 10, 56).unwrap();
    assert_eq!((across.sent, across.received), (3, 0), "a dead path is not asked ten times");
    let nothing = tcp_transfer(&t.native.ns, &t.blue.nodes[0].pod.ns, t.blue.nodes[0].pod.address, 1000).unwrap();
    assert!(!nothing.hash_ok && nothing.bytes == 0, "{nothing:?}");
    // A process left running must not keep its namespace alive.
    let mut sleep = Command::new("sleep");
    sleep.arg("600");
    let left = t.gateway.spawn(sleep).unwrap();
    assert_eq!(t.gateway.processes(), [left.id()]);
    assert_eq!(names(&instance).len(), 11);
    drop(lab);
    assert_eq!(names(&instance), [""; 0]);
    assert!(t.gateway.run(|| ()).is_err(), "a handle outlives the namespace, and says so");
    assert!(!Path::new(&format!("/run/{instance}.lock")).exists());
}

#[test]
fn the_network_works_with_the_kernel_as_its_gateway() {
    if !root() {
        return;
    }
    let lab = Lab::new("kernel").unwrap();
    let t = two_clusters_with(&lab, Shape { gateway_queues: 2, ..Shape::default() }).unwrap();
    assert_eq!(t.gateway.queues("ul0").unwrap(), (2, 2));
    assert_eq!(t.gateway.queues("ac0").unwrap(), (2, 2));
    assert_eq!(t.gateway.links().unwrap(), ["lo", "ul0", "ac0"]);
    t.kernel_gateway().unwrap();
    let mut hosts = pods(&t);
    hosts.push(&t.native);
    for from in &hosts {
        for to in hosts.iter().filter(|to| to.address != from.address) {
            let echo = ping(&from.ns, to.address, 1, 56).unwrap();
            assert!(echo.complete(), "{} to {}: {echo:?}", from.ns.name(), to.ns.name());
        }
    }
    carries_everything(&t.native, &t.blue.nodes[0].pod);
    carries_everything(&t.green.nodes[1].pod, &t.blue.nodes[0].pod);
}

#[test]
fn the_network_has_ipv6_where_it_is_asked_for() {
    if !root() {
        return;
    }
    let lab = Lab::new("kernel6").unwrap();
    let shape = Shape { underlay: Family::V6, dual_stack: true, ..Shape::default() };
    let t = two_clusters_with(&lab, shape).unwrap();
    t.kernel_gateway().unwrap();
    let mut hosts = pods(&t);
    hosts.push(&t.native);
    for from in &hosts {
        for to in hosts.iter().filter(|to| to.address != from.address) {
            for family in [Family::V4, Family::V6] {
                let echo = ping(&from.ns, to.at(family).unwrap(), 1, 1430 - 48).unwrap();
                assert!(echo.complete(), "{} to {} by {family:?}: {echo:?}", from.ns.name(), to.ns.name());
            }
        }
    }
}

#[test]
fn a_panic_leaves_nothing_behind() {
    if !root() {
        return;
    }
    let mut instance = String::new();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let lab = Lab::new("panic").unwrap();
        instance = lab.instance().to_string();
        lab.namespace("a").unwrap().run(|| panic!("on purpose")).unwrap();
    }));
    assert!(outcome.is_err() && !instance.is_empty());
    assert_eq!(names(&instance), [""; 0]);
}

#[test]
fn sweep_removes_what_a_killed_process_left_and_nothing_else() {
    if std::env::var_os(VICTIM).is_some() {
        be_the_victim();
    }
    if !root() {
        return;
    }
    let alive = Lab::new("sweep").unwrap();
    alive.namespace("mine").unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sweep_removes_what_a_killed_process_left_and_nothing_else", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let instance = lines.map_while(Result::ok).find_map(|l| l.split("holding ").nth(1).map(str::to_string)).unwrap();
    assert_eq!(Lab::sweep("sweep").unwrap(), [""; 0], "both are alive");
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert_eq!(names(&instance).len(), 2);
    let orphan = orphan_of(&instance);
    assert_eq!(orphan.len(), 1, "the child of the victim lives on");
    assert_eq!(Lab::sweep("sweep").unwrap(), [format!("{instance}-a"), format!("{instance}-b")]);
    assert_eq!(names(&instance), [""; 0]);
    assert!(
        fs::read_to_string(format!("/proc/{}/stat", orphan[0])).is_ok_and(|s| s.contains(") Z"))
            || !Path::new(&format!("/proc/{}", orphan[0])).exists()
    );
    assert_eq!(names(alive.instance()).len(), 1);
}

fn orphan_of(instance: &str) -> Vec<u32> {
    use std::os::unix::fs::MetadataExt;
    let home = fs::metadata(format!("/run/netns/{instance}-a")).unwrap().ino();
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    all.filter(|pid: &u32| fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|m| m.ino() == home)).collect()
}

fn be_the_victim() -> ! {
    let lab = Lab::new("sweep").unwrap();
    let a = lab.namespace("a").unwrap();
    lab.namespace("b").unwrap();
    let mut sleep = Command::new("sleep");
    sleep.arg("600").stdout(Stdio::null());
    let _child = a.spawn(sleep).unwrap();
    println!("holding {}", lab.instance());
    std::thread::sleep(Duration::from_secs(60));
    panic!("should have been killed");
}
