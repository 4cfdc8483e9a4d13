//! MTU 9000: packets in several chunks, between plain kernels, with all offloads as they are by default and without.

use std::net::IpAddr;

use selvedge::lab::traffic::{ping, tcp_transfer, udp_sweep};
use selvedge::lab::{Family, Host, Shape};

#[path = "support/netns.rs"]
mod netns;

use netns::{Net, hosts, output_in, run_in};

const MTU: u16 = 9000;
const TRANSFER: u64 = 8 << 20;

fn shape(underlay: Family) -> Shape {
    Shape { mtu: MTU, underlay, dual_stack: true, ..Shape::default() }
}

fn at(host: &Host, family: Family) -> IpAddr {
    host.at(family).expect("the network is dual-stack")
}

/// Payloads whose packets end at, before and behind every border of a chunk, with and without outer headers; and some
/// more, up to the largest.
fn sizes(chunk: usize, largest: usize) -> Vec<usize> {
    let room = chunk - 256;
    let headers = [42, 62, 92, 112, 132];
    let ends = (1..=largest / room).flat_map(|n| headers.map(|h| n * room - h));
    let around = ends.flat_map(|end| end - 2..=end + 2);
    around.chain((0..largest).step_by(131)).chain(largest - 2..=largest).filter(|size| *size <= largest).collect()
}

/// Pings, a TCP transfer and UDP of many sizes up to the largest that fits.
fn carries_everything(from: &Host, to: &Host, family: Family, chunk: usize, mtu: u16) -> f64 {
    let (what, dst) = (format!("{} to {} ({family:?})", from.ns.name(), to.ns.name()), at(to, family));
    let largest = usize::from(mtu) - if family == Family::V4 { 28 } else { 48 };
    for size in [56, 8000, largest] {
        let echo = ping(&from.ns, dst, 2, size).unwrap();
        assert!(echo.complete(), "{what}, {size} bytes: {echo:?}");
    }
    let sweep = udp_sweep(&from.ns, &to.ns, dst, sizes(chunk, largest)).unwrap();
    assert!(sweep.complete(), "{what}: {sweep:?}");
    let transfer = tcp_transfer(&from.ns, &to.ns, dst, TRANSFER).unwrap();
    assert!(transfer.hash_ok && transfer.bytes == TRANSFER, "{what}: {transfer:?}");
    transfer.megabits_per_second()
}

/// All pairs that go through the gateway, both ways.
fn all_journeys(net: &Net, family: Family, chunk: usize) {
    let mtu = net.t.shape.inner_mtu();
    let [blue, green, native] = hosts(&net.t);
    for (from, to) in [(blue, green), (green, blue), (native, blue), (blue, native), (native, green), (green, native)] {
        let rate = carries_everything(from, to, family, chunk, mtu);
        println!("{} to {} ({family:?}): {rate:.0} Mb/s", from.ns.name(), to.ns.name());
    }
    let own = match family {
        Family::V4 => IpAddr::V4(net.t.blue.gateway_address),
        Family::V6 => net.t.blue.gateway_address6.expect("the network is dual-stack").into(),
    };
    let echo = ping(&blue.ns, own, 2, 8000).unwrap();
    assert!(echo.complete(), "{family:?}: {own} does not answer: {echo:?}");
}

/// Nothing was dropped, and the kernel refused nothing.
fn no_losses(net: &Net) {
    let samples = net.ledger();
    let drops = samples.by("selvedge_dropped_packets_total", "reason");
    assert!(drops.values().all(|n| *n == 0.0), "{drops:?}");
    for event in ["rx_dropped", "rx_ring_full", "rx_invalid", "tx_invalid"] {
        assert_eq!(samples.sum("selvedge_xsk_events_total", &[("event", event)]), 0.0, "{event}");
    }
    let left = samples.sum("selvedge_left_checksums_total", &[]);
    assert!(left > 500.0, "offloads are on, so checksums come unfinished, and go so: {left}");
}

fn check(net: &Net) -> String {
    let path = net.config_path();
    let words = [env!("CARGO_BIN_EXE_selvedge"), "check", "-c", path.to_str().unwrap()];
    let output = output_in(&net.t.gateway, &words);
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn everything_passes_over_ipv4() {
    let Some(mut net) = Net::shaped("jumbo4", shape(Family::V4)) else { return };
    net.start();
    let told = check(&net);
    assert!(told.contains("MTU 9000 (in up to 6 chunks; at most 9216)"), "{told}");
    [Family::V4, Family::V6].into_iter().for_each(|family| all_journeys(&net, family, 2048));
    no_losses(&net);
    net.finish();
}

/// Outer checksums are over the whole packet there.
#[test]
fn everything_passes_over_ipv6() {
    let Some(mut net) = Net::shaped("jumbo6", shape(Family::V6)) else { return };
    net.start();
    [Family::V4, Family::V6].into_iter().for_each(|family| all_journeys(&net, family, 2048));
    no_losses(&net);
    net.finish();
}

#[test]
fn everything_passes_in_larger_chunks_and_finished_checksums() {
    let Some(mut net) = Net::shaped("jumbochunks", shape(Family::V4)) else { return };
    net.edit("[metrics]", "[memory]\nchunk_size = 4096\n\n[metrics]");
    for host in hosts(&net.t) {
        run_in(&host.ns, &["ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off"]);
    }
    net.start();
    assert!(check(&net).contains("MTU 9000 (in up to 3 chunks; at most 9216)"), "{}", check(&net));
    all_journeys(&net, Family::V4, 4096);
    let samples = net.ledger();
    let drops = samples.by("selvedge_dropped_packets_total", "reason");
    assert!(drops.values().all(|n| *n == 0.0), "{drops:?}");
    net.finish();
}

/// A host on a link with MTU 9000 learns that the way to the pods has 50 bytes less.
#[test]
fn who_sends_too_much_is_told_how_much_passes() {
    let Some(mut net) = Net::shaped("jumbopmtu", shape(Family::V4)) else { return };
    net.start();
    let [blue, _, native] = hosts(&net.t);
    let dst = blue.address.to_string();
    let before = run_in(&native.ns, &["ip", "route", "get", &dst]);
    assert!(!before.contains("mtu"), "{before}");
    let lost = ping(&native.ns, blue.address, 1, 8950 - 28 + 1).unwrap();
    assert_eq!(lost.received, 0, "{lost:?}");
    let after = run_in(&native.ns, &["ip", "route", "get", &dst]);
    assert!(after.contains("mtu 8950"), "{after}");
    assert!(ping(&native.ns, blue.address, 2, 8950 - 28).unwrap().complete());
    net.finish();
}

/// Where packets in several chunks are not to be had, the MTU stands in the way, and the check says so and why.
#[test]
fn without_them_the_check_says_which_mtu_is_possible() {
    let Some(mut net) = Net::shaped("jumbooff", shape(Family::V4)) else { return };
    net.edit("[metrics]", "[xdp]\nmulti_buffer = \"off\"\n\n[metrics]");
    std::fs::write(net.config_path(), &net.config).unwrap();
    let told = check(&net);
    assert!(told.contains("error: ul0: a frame of MTU 9000 is 9018 bytes"), "{told}");
    assert!(told.contains("packets in several: xdp.multi_buffer is \"off\""), "{told}");
    let mend = "mend: xdp.multi_buffer = \"auto\", or memory.chunk_size = 4096 and ip link set dev ul0 mtu 3506, \
                or ip link set dev ul0 mtu 1774";
    assert!(told.contains(mend), "{told}");
}
