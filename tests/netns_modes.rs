//! The same traffic with other settings: one arm, two queues, busy polling, generic mode; and a gateway that crashes.

use std::time::Duration;

use selvedge::lab::traffic::{LoadOptions, UdpLoad, ping, tcp_transfer, udp_sweep};
use selvedge::lab::{Host, Shape};

#[path = "support/netns.rs"]
mod netns;

use netns::{Net, hosts, run_in, until};

/// Ping and a few datagrams from everybody to everybody.
fn basic(net: &Net) {
    let all = hosts(&net.t);
    for from in all {
        for to in all.into_iter().filter(|to| to.address != from.address) {
            let what = format!("{} to {}", from.ns.name(), to.ns.name());
            let echo = ping(&from.ns, to.address, 3, 56).unwrap();
            assert!(echo.complete(), "{what}: {echo:?}");
            let sweep = udp_sweep(&from.ns, &to.ns, to.address, (0..=1422).step_by(79)).unwrap();
            assert!(sweep.complete(), "{what}: {sweep:?}");
        }
    }
}

#[test]
fn busy_polling_carries_the_same_traffic() {
    let Some(mut net) = Net::new("busy") else { return };
    net.edit("poll = \"adaptive\"", "poll = \"busy\"");
    net.start();
    basic(&net);
    net.finish();
}

#[test]
fn generic_mode_carries_the_same_traffic() {
    let Some(mut net) = Net::new("generic") else { return };
    net.edit("[metrics]", "[xdp]\nmode = \"generic\"\n\n[metrics]");
    net.start();
    basic(&net);
    net.finish();
}

/// Ping and a datagram of every size.
fn carries(from: &Host, to: &Host) {
    let what = format!("{} to {}", from.ns.name(), to.ns.name());
    let echo = ping(&from.ns, to.address, 3, 56).unwrap();
    assert!(echo.complete(), "{what}: {echo:?}");
    let sweep = udp_sweep(&from.ns, &to.ns, to.address, 0..=1422).unwrap();
    assert!(sweep.complete(), "{what}: {sweep:?}");
}

#[test]
fn one_arm_carries_transit_between_the_overlays() {
    let Some(mut net) = Net::new("onearm") else { return };
    net.edit("[[port]]\ninterface = \"ac0\"\nrole = \"access\"\n", "");
    let native = net.config.find("[[native]]").unwrap();
    net.config.truncate(native);
    net.start();
    assert_eq!(net.programs(), ["ul0"]);
    let [blue, green, native] = hosts(&net.t);
    carries(blue, green);
    carries(green, blue);
    let across = ping(&native.ns, blue.address, 1, 56).unwrap();
    assert_eq!(across.received, 0, "the access network is not the gateway's here");
    let samples = net.finish();
    let journeys = samples.by("selvedge_forwarded_packets_total", "journey");
    assert!(journeys["transit"] > 2.0 * 1423.0, "{journeys:?}");
    assert_eq!(journeys.values().sum::<f64>(), journeys["transit"], "{journeys:?}");
}

#[test]
fn two_queues_are_served_by_two_workers() {
    let shape = Shape { gateway_queues: 2, ..Shape::default() };
    let Some(mut net) = Net::shaped("queues", shape) else { return };
    assert!(net.config.contains("count = 2"), "{}", net.config);
    net.start();
    basic(&net);
    let [blue, green, native] = hosts(&net.t);
    // many flows: which queue one takes is for the kernel's hash to say
    let options = LoadOptions { rate: 4000, flows: 64, payload: 100, duration: Duration::from_millis(700) };
    for (from, to) in [(blue, green), (native, blue), (green, native)] {
        let counts = UdpLoad::start(&from.ns, &to.ns, to.address, options).unwrap().wait();
        let what = format!("{} to {}: {counts:?}", from.ns.name(), to.ns.name());
        assert!(counts.sent > 500 && counts.received == counts.sent, "{what}");
        assert_eq!((counts.duplicate, counts.corrupt, counts.reordered), (0, 0, 0), "{what}");
    }
    carries(native, green);
    let samples = net.finish();
    for port in ["ul0", "ac0"] {
        for worker in ["0", "1"] {
            let labels = [("port", port), ("worker", worker)];
            let rx = samples.sum("selvedge_rx_packets_total", &labels);
            assert!(rx > 100.0, "worker {worker} received {rx} packets from {port}");
        }
    }
}

#[test]
fn a_killed_gateway_leaves_no_program_and_its_successor_works_at_once() {
    let Some(mut net) = Net::running("killed") else { return };
    let [blue, green, native] = hosts(&net.t);
    let (blue, green, native) = (blue.clone(), green.clone(), native.clone());
    for _ in 0..3 {
        assert_eq!(net.programs(), ["ac0", "ul0"]);
        assert!(ping(&native.ns, blue.address, 2, 56).unwrap().complete());
        // packets are on their way when it happens
        let load = LoadOptions { rate: 5000, flows: 8, payload: 200, duration: Duration::from_secs(2) };
        let load = UdpLoad::start(&blue.ns, &green.ns, green.address, load).unwrap();
        assert!(until(Duration::from_secs(1), || load.counts().received > 200));
        net.kill();
        // the kernel gives up the links of a dead process by itself, if not in the same instant
        let gone = until(Duration::from_secs(1), || net.programs().is_empty());
        assert!(gone, "{:?}", net.programs());
        net.start();
        let counts = load.stop();
        assert!(counts.corrupt == 0 && counts.duplicate == 0, "{counts:?}");
        carries(&blue, &green);
    }
    net.finish();
}

/// The successor is started in the very moment of the crash: the queues are still being given back.
#[test]
fn a_successor_need_not_wait_for_the_dead() {
    let Some(mut net) = Net::running("successor") else { return };
    for _ in 0..5 {
        net.kill();
        net.start();
    }
    basic(&net);
    net.finish();
}

/// In generic mode the program runs behind segmentation offload: a sender that is a veth's other end hands over TCP
/// segments of 64 KiB, which fit no chunk. Native mode turns that off at the other end by itself.
#[test]
fn generic_mode_carries_tcp_once_the_other_ends_segment() {
    let Some(mut net) = Net::new("generictcp") else { return };
    net.edit("[metrics]", "[xdp]\nmode = \"generic\"\n\n[metrics]");
    for (ns, link) in [(&net.t.fabric, "gw"), (&net.t.native.ns, "eth0")] {
        run_in(ns, &["ethtool", "-K", link, "tso", "off"]);
    }
    net.start();
    let [blue, green, native] = hosts(&net.t);
    for (from, to) in [(native, blue), (blue, green), (green, native)] {
        let transfer = tcp_transfer(&from.ns, &to.ns, to.address, 2 << 20).unwrap();
        assert!(transfer.hash_ok && transfer.seconds < 2.0, "{} to {}: {transfer:?}", from.ns.name(), to.ns.name());
    }
    net.finish();
}

#[test]
fn larger_frames_in_larger_chunks() {
    let Some(mut net) = Net::shaped("jumbo", Shape { mtu: 3000, ..Shape::default() }) else { return };
    net.edit("[metrics]", "[memory]\nchunk_size = 4096\n\n[metrics]");
    net.start();
    let [blue, green, native] = hosts(&net.t);
    for (from, to) in [(native, blue), (blue, green), (green, native)] {
        let sweep = udp_sweep(&from.ns, &to.ns, to.address, 2800..=2922).unwrap();
        assert!(sweep.complete(), "{sweep:?}");
        let transfer = tcp_transfer(&from.ns, &to.ns, to.address, 2 << 20).unwrap();
        assert!(transfer.hash_ok && transfer.seconds < 2.0, "{transfer:?}");
    }
    net.finish();
}
