//! Another config file is put in force while packets flow: nothing is lost, and what is wrong changes nothing.

#[path = "support/netns.rs"]
mod netns;
#[path = "support/steady.rs"]
mod steady;

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::thread::sleep;
use std::time::Duration;

use netns::{Net, run_in, until};
use rustix::process::Signal;
use selvedge::lab::{Host, Node, Topology, Vxlan};
use selvedge::wire::{Mac, Prefix, Vni};
use steady::{SOON, Steady, drops, flows, last_reload_success, load, put, reload, reloads};

/// Routes beside those in use, of which every one is another in the next generation: it moves to another node, mostly
/// of the other overlay, appears or vanishes.
fn extra(t: &Topology, generation: usize) -> String {
    const ROUTES: usize = 1250;
    let mut text = String::new();
    let nodes = t.clusters().into_iter().flat_map(|c| c.nodes.iter().map(move |n| (c, n)));
    for (place, (cluster, node)) in nodes.enumerate() {
        let mine = (0..ROUTES).filter(|i| (i + generation) % 5 == place);
        let prefixes: Vec<_> = mine.map(|i| format!("\"10.{}.{}.0/24\"", 100 + i / 250, i % 250)).collect();
        write!(text, "\n[[peer]]\noverlay = \"{}\"\nvtep = \"{}\"\n", cluster.name, node.vtep).unwrap();
        writeln!(text, "mac = \"{}\"\nprefixes = [{}]", node.vtep_mac, prefixes.join(", ")).unwrap();
    }
    text
}

/// 1,250 routes change while 20,000 packets a second of other routes flow.
#[test]
fn reloads_lose_nothing_of_what_does_not_change() {
    let Some(mut net) = Net::new("reload") else { return };
    // senders, receivers and all the kernels between them share the gateway's cores: room for half a second without
    net.edit("[metrics]", "[memory]\nframes = 32768\nrx_ring = 8192\nfill_ring = 8192\n\n[metrics]");
    let base = net.config.clone();
    net.config = base.clone() + &extra(&net.t, 0);
    net.start();
    let load = Steady::start(&net, 20_000);
    let mut times = Vec::new();
    for generation in 1..=8 {
        let text = base.clone() + &extra(&net.t, generation);
        times.push(reload(&mut net, &text));
        assert_eq!(net.scrape().sum("selvedge_routes", &[]), 1005.0);
        sleep(Duration::from_millis(400));
    }
    // a machine that is slow to send the signal sees the file noticed before it
    assert!(reloads(&net, "applied") >= 8.0 && reloads(&net, "refused") == 0.0);
    let sent = load.finish(&net, &[]);
    println!("reloads of 1,250 changed routes took {times:?}; {sent} packets sent, 0 lost");
    net.finish();
}

/// Overlays, each with a UDP port of its own.
fn crowd(size: u16) -> String {
    let overlay = |n: u16| {
        let mac = Mac([2, 0, 0, 0x77, (n >> 8) as u8, n as u8]);
        let port = 20_000 + n;
        format!(
            "\n[[overlay]]\nname = \"o{n}\"\nvni = {port}\nudp_port = {port}\nlocal = \"192.0.2.1\"\nmac = \"{mac}\"\n"
        )
    };
    (0..size).map(overlay).collect()
}

/// Puts a file in place, says so, and expects it to be refused with these words in the log.
fn refused(net: &mut Net, text: &str, words: &[&str]) {
    let before = reloads(net, "refused");
    put(net, text);
    net.process().signal(Signal::HUP).unwrap();
    // the file may be noticed just before the signal: then it is refused twice
    assert!(until(SOON, || reloads(net, "refused") > before), "not refused: {words:?}");
    assert!(!last_reload_success(net));
    let log = net.log();
    for word in words.iter().chain(&["the configuration before stays in force"]) {
        assert!(log.contains(word), "the log does not say `{word}`:\n{log}");
    }
}

#[test]
fn a_wrong_file_is_refused_with_all_its_problems_and_changes_nothing() {
    let Some(mut net) = Net::running("wrong") else { return };
    let good = net.config.clone();
    let load = Steady::start(&net, 2_000);
    let epoch = net.scrape().sum("selvedge_tables_epoch", &[]);
    refused(&mut net, &format!("{good}\n[[peer"), &["gateway.toml", "expected `]]`"]);
    let two = good.replacen("overlay = \"blue\"", "overlay = \"blau\"", 1).replacen("vni = 7", "vni = 16777216", 1);
    refused(&mut net, &two, &["`blau` is not the name of an overlay", "16777216"]);
    refused(&mut net, &good.replace("count = 1", "count = 2"), &["only with a restart: workers"]);
    refused(&mut net, "", &["port"]);
    let samples = net.scrape();
    assert_eq!(samples.sum("selvedge_routes", &[]), 5.0);
    assert_eq!(samples.sum("selvedge_tables_epoch", &[]), epoch, "not even a new version of the tables");
    // nothing is wrong with this one but that the XDP program has no room for it
    refused(&mut net, &(good.clone() + &crowd(1100)), &["VTEPs (address and UDP port)", "room for 1024"]);
    assert_eq!(net.scrape().sum("selvedge_routes", &[]), 5.0);
    assert_eq!(net.scrape().sum("selvedge_tables_epoch", &[]), epoch, "nor was it in force for a moment");
    reload(&mut net, &(good.clone() + "# the same, with a remark\n"));
    assert!(last_reload_success(&net));
    assert!(reloads(&net, "applied") >= 1.0 && reloads(&net, "refused") >= 5.0);
    load.finish(&net, &[]);
    net.finish();
}

/// Expects the next reload, without any signal, and only one.
fn notices(net: &Net, how: &str, change: impl FnOnce()) {
    let before = reloads(net, "applied");
    change();
    assert!(until(SOON, || reloads(net, "applied") == before + 1.0), "not noticed within a second: {how}");
    sleep(Duration::from_millis(300));
    assert_eq!((reloads(net, "applied"), reloads(net, "refused")), (before + 1.0, 0.0), "{how}");
}

#[test]
fn a_changed_file_is_noticed_without_a_signal() {
    let Some(mut net) = Net::new("notice") else { return };
    // as Kubernetes mounts a ConfigMap: the file is a link into ..data, which is a link to the version
    let at = |name: &str| net.room().join(name);
    let version = |n: u8| format!("..version{n}");
    let publish = |n: u8, text: &str| {
        fs::create_dir(at(&version(n))).unwrap();
        fs::write(at(&version(n)).join("gateway.toml"), text).unwrap();
        symlink(version(n), at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    let text = |n: u8| format!("{}\n# version {n}\n", net.config);
    publish(1, "");
    symlink("..data/gateway.toml", at("gateway.toml")).unwrap();
    let (config, room) = (net.config_path(), net.room().to_owned());
    let (texts, original) = ((0..9).map(text).collect::<Vec<_>>(), net.config.clone());
    publish(2, &texts[2]);
    net.config = original;
    net.start();
    let load = Steady::start(&net, 2_000);
    notices(&net, "swap of ..data", || {
        fs::create_dir(room.join("..version3")).unwrap();
        fs::write(room.join("..version3/gateway.toml"), &texts[3]).unwrap();
        symlink("..version3", room.join("..data_tmp")).unwrap();
        fs::rename(room.join("..data_tmp"), room.join("..data")).unwrap();
    });
    notices(&net, "another file in its place", || {
        fs::write(room.join("new"), &texts[4]).unwrap();
        fs::rename(room.join("new"), &config).unwrap();
    });
    notices(&net, "written in place", || fs::write(&config, &texts[5]).unwrap());
    notices(&net, "written in two steps", || {
        fs::write(&config, "").unwrap();
        sleep(Duration::from_millis(30));
        fs::write(&config, &texts[6]).unwrap();
    });
    fs::remove_file(&config).unwrap();
    sleep(Duration::from_millis(600));
    fs::write(&config, &texts[6]).unwrap();
    sleep(Duration::from_millis(600));
    assert_eq!((reloads(&net, "applied"), reloads(&net, "refused")), (4.0, 0.0), "gone and back is no change");
    assert!(last_reload_success(&net));
    load.finish(&net, &[]);
    net.finish();
}

/// A third overlay: one node, green1, which is its own pod.
struct Red {
    vni: u32,
    port: u16,
    mac: Mac,
}

impl Red {
    const POD: [u8; 4] = [10, 66, 0, 2];
    const DEVICE: &str = "red";

    fn host(t: &Topology) -> Host {
        Host { ns: t.green.nodes[0].ns.clone(), address: Self::POD.into(), address6: None }
    }

    /// Makes the device on the node anew, and the ways to and from the native network.
    fn build(&self, t: &Topology) {
        let node = &t.green.nodes[0];
        let _ = node.ns.delete(Self::DEVICE);
        let (name, vni) = (Self::DEVICE, Vni::new(self.vni).unwrap());
        let Self { port, mac, .. } = *self;
        let (local, dev) = (node.vtep, "eth0");
        node.ns.vxlan(&Vxlan { name, vni, port, local, dev, mac, mtu: 1450, zero_checksum: false }).unwrap();
        node.ns.address(name, std::net::Ipv4Addr::from(Self::POD), 32).unwrap();
        let (gateway, far) = ([10, 66, 255, 1], Mac([2, 0, 0, 0, 0x66, 1]));
        node.ns.neighbour(name, gateway, far).unwrap();
        node.ns.fdb(name, far, t.gateway_vtep).unwrap();
        node.ns.route_onlink(t.native_prefix, gateway, name).unwrap();
        t.native.ns.route("10.66.0.0/16".parse().unwrap(), t.gateway_access).unwrap();
    }

    fn overlay(&self, t: &Topology) -> String {
        let Self { vni, port, .. } = self;
        format!(
            "\n[[overlay]]\nname = \"red\"\nvni = {vni}\nudp_port = {port}\nlocal = \"{}\"\n\
             mac = \"02:00:00:00:66:01\"\naddress = \"10.66.255.1\"\n",
            t.gateway_vtep
        )
    }

    fn peer(&self, t: &Topology) -> String {
        let (vtep, mac) = (t.green.nodes[0].vtep, self.mac);
        format!("\n[[peer]]\noverlay = \"red\"\nvtep = \"{vtep}\"\nmac = \"{mac}\"\nprefixes = [\"10.66.0.0/24\"]\n")
    }

    /// The configuration with this overlay first or last.
    fn within(&self, t: &Topology, base: &str, first: bool) -> String {
        let (overlay, peer) = (self.overlay(t), self.peer(t));
        let at = if first { base.find("[[overlay]]") } else { base.find("[[peer]]") }.unwrap();
        format!("{}{overlay}\n{}{peer}", &base[..at], &base[at..])
    }
}

fn not_ours(net: &Net) -> f64 {
    net.scrape().sum("selvedge_xdp_packets_total", &[("port", "ac0"), ("verdict", "pass_not_ours")])
}

#[test]
fn overlays_come_change_and_go_while_others_flow() {
    let Some(mut net) = Net::running("overlays") else { return };
    let (t, base) = (net.t.clone(), net.config.clone());
    let steady = Steady::start(&net, 2_000);
    let pod = Red::host(&t);
    let mut red = Red { vni: 9, port: 4790, mac: Mac([2, 0, 0, 2, 0x66, 1]) };
    red.build(&t);
    let kernels = not_ours(&net);
    assert!(!flows(&t.native, &pod), "nobody knows it yet");
    assert!(not_ours(&net) > kernels, "the kernel has it");
    let both_ways = |net: &mut Net, red: &Red, first: bool, what: &str| {
        let took = reload(net, &red.within(&t, &base, first));
        red.build(&t);
        assert!(flows(&t.native, &pod) && flows(&pod, &t.native), "{what}");
        println!("{what}: in force after {took:?}");
    };
    both_ways(&mut net, &red, false, "an overlay is added");
    red.vni = 10;
    both_ways(&mut net, &red, false, "another VNI");
    red.port = 4791;
    both_ways(&mut net, &red, false, "another UDP port");
    both_ways(&mut net, &red, true, "overlays in another order");
    red.mac = Mac([2, 0, 0, 2, 0x66, 2]);
    both_ways(&mut net, &red, true, "another MAC of a peer");
    reload(&mut net, &base);
    let kernels = not_ours(&net);
    assert!(!flows(&t.native, &pod), "it is no more");
    assert!(not_ours(&net) > kernels, "the kernel has it again");
    // what still came over the old overlay when it was gone, and nothing else
    steady.finish(&net, &["not_our_vtep", "unknown_vni", "no_route", "unknown_peer"]);
    net.finish();
}

/// True when the VXLAN device of a node receives much more than the steady load gives it.
fn is_busy(node: &Node) -> bool {
    let received = || -> u64 {
        let told = run_in(&node.ns, &["ip", "-s", "-j", "link", "show", "flannel.7"]);
        let rx = told.split("\"rx\":").nth(1).and_then(|rx| rx.split("\"packets\":").nth(1)).unwrap();
        rx.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let before = received();
    sleep(Duration::from_millis(100));
    received() - before > 200
}

#[test]
fn a_prefix_moves_to_another_node_and_native_routes_come_and_go() {
    let Some(mut net) = Net::running("moves") else { return };
    let (t, base) = (net.t.clone(), net.config.clone());
    let steady = Steady::start(&net, 2_000);
    // green2 hands on to green1 what arrives for its pod, so that nothing of the moved traffic may be lost either
    let [green1, green2] = [&t.green.nodes[0], &t.green.nodes[1]];
    let moved = load(&t.native, &green1.pod, 4_000);
    assert!(until(SOON, || moved.counts().received > 10));
    let one = format!("prefixes = [\"{}\"]", green1.prefix);
    let two = format!("prefixes = [\"{}\"]", green2.prefix);
    let (without, with) = (base.replace(&one, "prefixes = [\"10.245.99.0/24\"]"), format!("{two}\n"));
    let text = without.replace(&with, &format!("prefixes = [\"{}\", \"{}\"]\n", green2.prefix, green1.prefix));
    assert_ne!(text, without);
    assert!(!is_busy(green2));
    let took = reload(&mut net, &text);
    assert!(until(SOON, || is_busy(green2)), "it still goes to the other node");
    reload(&mut net, &base);
    assert!(until(SOON, || !is_busy(green2)), "it does not come back");
    // a node nobody has asked for yet: an address of green2 that is new to the gateway
    let fresh = std::net::Ipv4Addr::new(192, 0, 2, 77);
    green2.ns.address("eth0", fresh, 32).unwrap();
    let peer = format!(
        "\n[[peer]]\noverlay = \"green\"\nvtep = \"{fresh}\"\nmac = \"{}\"\nprefixes = [\"{}\"]\n",
        green2.vtep_mac, green1.prefix
    );
    reload(&mut net, &(without + &peer));
    assert!(until(SOON, || is_busy(green2)), "it still goes to the other node");
    let counts = moved.stop();
    assert_eq!((counts.lost, counts.corrupt), (0, 0), "{counts:?}");
    println!("a prefix moved in {took:?}, to a known node and to a new one: {} packets, 0 lost", counts.sent);
    native_routes(&mut net, &base);
    steady.finish(&net, &["no_route"]);
    net.finish();
}

/// Another node for the pods of green1: one that green2 is, too, at this address.
fn moved_to(t: &Topology, base: &str, vtep: [u8; 4]) -> String {
    let [green1, green2] = [&t.green.nodes[0], &t.green.nodes[1]];
    let vtep = std::net::Ipv4Addr::from(vtep);
    base.replace(&format!("prefixes = [\"{}\"]", green1.prefix), "prefixes = [\"10.245.99.0/24\"]")
        + &format!(
            "\n[[peer]]\noverlay = \"green\"\nvtep = \"{vtep}\"\nmac = \"{}\"\nprefixes = [\"{}\"]\n",
            green2.vtep_mac, green1.prefix
        )
}

/// Until the new node answers, packets take the old way; and the wait stands in nobody's way.
#[test]
fn a_route_leaves_the_old_node_only_when_the_new_one_answers() {
    let Some(mut net) = Net::new("before") else { return };
    for (knob, value) in [("retrans_time_ms", "100"), ("mcast_solicit", "20")] {
        net.t.gateway.sysctl(&format!("net.ipv4.neigh.ul0.{knob}"), value).unwrap();
    }
    net.start();
    let (t, base) = (net.t.clone(), net.config.clone());
    let green2 = &t.green.nodes[1];
    let load = load(&t.native, &t.green.nodes[0].pod, 4_000);
    assert!(until(SOON, || load.counts().received > 10));
    let before = reloads(&net, "applied");
    put(&net, &moved_to(&t, &base, [192, 0, 2, 78]));
    net.process().signal(Signal::HUP).unwrap();
    sleep(Duration::from_millis(400));
    assert_eq!(reloads(&net, "applied"), before, "nobody has that address yet");
    green2.ns.address("eth0", [192, 0, 2, 78], 32).unwrap();
    assert!(until(SOON, || reloads(&net, "applied") == before + 1.0), "the new node answers");
    assert!(until(SOON, || is_busy(green2)), "it still goes to the other node");
    let counts = load.stop();
    assert_eq!((counts.lost, drops(&net.scrape())), (0, vec![]), "{counts:?}");

    // one that never answers is waited for only so long; the file after it has its turn
    put(&net, &moved_to(&t, &base, [192, 0, 2, 79]));
    net.process().signal(Signal::HUP).unwrap();
    sleep(Duration::from_millis(200));
    put(&net, &base);
    net.process().signal(Signal::HUP).unwrap();
    sleep(Duration::from_millis(200));
    assert_eq!(reloads(&net, "applied"), before + 1.0, "both wait");
    assert!(until(2 * SOON, || reloads(&net, "applied") >= before + 3.0), "they wait for ever");
    assert!(flows(&t.native, &t.green.nodes[0].pod));
    assert!(net.log().contains("have not answered yet"));

    put(&net, &moved_to(&t, &base, [192, 0, 2, 80]));
    net.process().signal(Signal::HUP).unwrap();
    sleep(Duration::from_millis(200));
    let began = std::time::Instant::now();
    net.stop();
    assert!(began.elapsed() < Duration::from_millis(500), "the end waits for a reload");
}

fn native_routes(net: &mut Net, base: &str) {
    let t = net.t.clone();
    let pod = &t.blue.nodes[0].pod;
    let server = Host { ns: t.native.ns.clone(), address: [10, 77, 0, 1].into(), address6: None };
    t.native.ns.address("lo", server.address, 32).unwrap();
    let prefix: Prefix = "10.77.0.0/24".parse().unwrap();
    t.blue.nodes[0].ns.route_onlink(prefix, t.blue.gateway_address, &t.blue.device()).unwrap();
    assert!(!flows(pod, &server), "no route yet");
    let dropped = drops(&net.scrape());
    assert!(dropped.iter().any(|(reason, _)| reason == "no_route"), "{dropped:?}");
    let native = format!("\n[[native]]\nprefix = \"{prefix}\"\nport = \"ac0\"\nnext_hop = \"{}\"\n", t.native.address);
    reload(net, &format!("{base}{native}"));
    assert!(flows(pod, &server), "a native route is added");
    reload(net, base);
    assert!(!flows(pod, &server), "and removed");
}

/// Until workers know the way the kernel keeps what is sent to a new prefix: the gateway never takes what it must drop.
#[test]
fn a_prefix_that_appears_is_taken_over_without_a_gap() {
    let Some(mut net) = Net::new("appears") else { return };
    let (t, base) = (net.t.clone(), net.config.clone());
    let pod = &t.green.nodes[0].pod;
    let without = base.replace("10.245.1.0/24", "10.245.99.0/24");
    net.config = without.clone() + &extra(&net.t, 0);
    net.start();
    let load = load(&t.native, pod, 4_000);
    for generation in 1..=4 {
        let appears = base.clone() + &extra(&net.t, generation);
        let before = load.counts().received;
        reload(&mut net, &appears);
        assert!(until(SOON, || load.counts().received > before + 100));
        assert_eq!(drops(&net.scrape()), []);
        load_stops(&mut net, &(without.clone() + &extra(&t, generation)), &load);
        // what was under way when it went
        net.stop();
        net.start();
    }
    drop(load);
    net.stop();
}

fn load_stops(net: &mut Net, text: &str, load: &selvedge::lab::traffic::UdpLoad) {
    reload(net, text);
    let quiet = || {
        let before = load.counts().received;
        sleep(Duration::from_millis(50));
        load.counts().received == before
    };
    assert!(until(SOON, quiet), "it still arrives");
    net.config = text.to_owned();
}
