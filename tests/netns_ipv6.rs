//! IPv6 inside, outside and both: everybody sends everything to everybody, between plain kernels.

use std::net::IpAddr;
use std::time::Duration;

use selvedge::lab::traffic::{LoadOptions, UdpLoad, ping, tcp_transfer, udp_sweep};
use selvedge::lab::{ACCESS_PORT, End, Family, Host, Namespace, Shape, UNDERLAY_PORT};
use selvedge::wire::Prefix;

#[path = "support/netns.rs"]
mod netns;
#[path = "support/steady.rs"]
mod steady;

use netns::{Net, hosts, output_in, run_in, until};
use steady::{SOON, drops, reload};

const TRANSFER: u64 = 3 << 20;
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// IP and UDP headers.
fn headers(family: Family) -> usize {
    match family {
        Family::V4 => 28,
        Family::V6 => 48,
    }
}

fn dual_stack(underlay: Family) -> Shape {
    Shape { underlay, dual_stack: true, ..Shape::default() }
}

fn at(host: &Host, family: Family) -> IpAddr {
    host.at(family).expect("the network is dual-stack")
}

/// Pings, a TCP transfer and UDP of sizes up to the largest that fits, with all offloads as they are by default.
fn carries_everything(from: &Host, to: &Host, family: Family, mtu: u16) {
    let (what, dst) = (format!("{} to {} ({family:?})", from.ns.name(), to.ns.name()), at(to, family));
    let echo = ping(&from.ns, dst, 3, 56).unwrap();
    assert!(echo.complete(), "{what}: {echo:?}");
    let largest = usize::from(mtu) - headers(family);
    let echo = ping(&from.ns, dst, 1, largest).unwrap();
    assert!(echo.complete(), "{what}, as large as can be: {echo:?}");
    let sizes = (0..=largest).step_by(7).chain(largest - 20..=largest);
    let sweep = udp_sweep(&from.ns, &to.ns, dst, sizes).unwrap();
    assert!(sweep.complete() && sweep.intact.len() > largest / 7, "{what}: {sweep:?}");
    let transfer = tcp_transfer(&from.ns, &to.ns, dst, TRANSFER).unwrap();
    assert!(transfer.hash_ok && transfer.bytes == TRANSFER, "{what}: {transfer:?}");
}

/// All pairs that go through the gateway, both ways.
fn all_journeys(net: &Net, family: Family) {
    let [blue, green, native] = hosts(&net.t);
    for (from, to) in [(blue, green), (green, blue), (native, blue), (blue, native), (native, green), (green, native)] {
        carries_everything(from, to, family, net.t.shape.inner_mtu());
    }
    // and the gateway itself answers pings
    let (cluster, pod) = (&net.t.blue, blue);
    let own = match family {
        Family::V4 => IpAddr::V4(cluster.gateway_address),
        Family::V6 => cluster.gateway_address6.expect("the network is dual-stack").into(),
    };
    let echo = ping(&pod.ns, own, 2, 56).unwrap();
    assert!(echo.complete(), "{family:?}: {own} does not answer: {echo:?}");
    let samples = net.ledger();
    assert_eq!(drops(&samples), [], "{family:?} over {:?}", net.t.shape.underlay);
    for journey in ["encap", "decap", "transit"] {
        let packets = samples.sum("selvedge_forwarded_packets_total", &[("journey", journey)]);
        assert!(packets > 1000.0, "{journey}: {packets}");
    }
}

#[test]
fn both_families_over_ipv4() {
    let Some(mut net) = Net::shaped("six4", dual_stack(Family::V4)) else { return };
    net.start();
    FAMILIES.into_iter().for_each(|family| all_journeys(&net, family));
    plain_to_plain(&mut net);
    net.finish();
}

#[test]
fn both_families_over_ipv6() {
    let Some(mut net) = Net::shaped("six6", dual_stack(Family::V6)) else { return };
    assert_eq!(net.t.shape.inner_mtu(), 1430);
    net.start();
    FAMILIES.into_iter().for_each(|family| all_journeys(&net, family));
    let path = net.config_path();
    let check = output_in(&net.t.gateway, &[env!("CARGO_BIN_EXE_selvedge"), "check", "-c", path.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success() && told.ends_with("this host can do it\n"), "{told}");
    a_prefix_comes_and_goes(&mut net);
    net.finish();
}

/// Kernels and gateway leave the outer UDP checksum out, and take what comes without one.
#[test]
fn both_families_over_ipv6_without_outer_checksums() {
    let shape = Shape { zero_checksum: true, ..dual_stack(Family::V6) };
    let Some(mut net) = Net::shaped("sixzero", shape) else { return };
    net.start();
    FAMILIES.into_iter().for_each(|family| all_journeys(&net, family));
    // who is not told of it must not take it: RFC 8200 §8.1
    let strict = net.config.replace("zero_checksum = true\n", "");
    reload(&mut net, &strict);
    let [blue, _, native] = hosts(&net.t);
    assert_eq!(ping(&blue.ns, at(native, Family::V6), 2, 56).unwrap().received, 0);
    assert!(until(SOON, || net
        .scrape()
        .sum("selvedge_dropped_packets_total", &[("reason", "outer_udp_zero_checksum")])
        >= 2.0));
    net.finish();
}

/// A network of the native side inside a pod prefix: what the gateway takes by the access port leaves by it again.
fn plain_to_plain(net: &mut Net) {
    let far = behind_the_native_host(net);
    let native = net.t.native.clone();
    let route = |family| {
        let (prefix, next_hop) = (Prefix::host(at(&far, family)), at(&native, family));
        format!("\n[[native]]\nprefix = \"{prefix}\"\nport = \"{ACCESS_PORT}\"\nnext_hop = \"{next_hop}\"\n")
    };
    let text = net.config.clone() + &FAMILIES.map(route).concat();
    reload(net, &text);
    let moved = |net: &Net| net.ledger().sum("selvedge_forwarded_packets_total", &[("journey", "native")]);
    for family in FAMILIES {
        let before = moved(net);
        carries_everything(&native, &far, family, net.t.shape.mtu);
        let after = moved(net);
        assert!(after - before > 500.0, "{family:?}: {before} to {after}");
        assert_eq!(drops(&net.ledger()), []);
    }
}

/// Somebody with a pod's addresses, behind the native host: it sends there by the gateway, and hands on what comes back.
fn behind_the_native_host(net: &Net) -> Host {
    let (t, native) = (&net.t, &net.t.native.ns);
    let ns = net.lab.namespace("far").unwrap();
    for key in ["disable_ipv6", "accept_dad"] {
        ["all", "default"].iter().for_each(|which| ns.sysctl(&format!("net.ipv6.conf.{which}.{key}"), "0").unwrap());
    }
    let far = Host { ns, address: [10, 244, 1, 200].into(), address6: Some("fd00:244:1:9::1".parse().unwrap()) };
    net.lab.veth(&End::new(native, "far0"), &End::new(&far.ns, "eth0")).unwrap();
    for (family, near, there, len, gateway) in [
        (Family::V4, "10.8.0.1", "10.8.0.2", 24, IpAddr::from(t.gateway_access)),
        (Family::V6, "fd00:8::1", "fd00:8::2", 64, t.gateway_access6.expect("the network is dual-stack").into()),
    ] {
        let dst = at(&far, family);
        let ip = |ns: &Namespace, args: String| {
            let family = if family == Family::V4 { "-4" } else { "-6" };
            run_in(ns, &[&["ip", family], &args.split(' ').collect::<Vec<_>>()[..]].concat())
        };
        ip(native, format!("addr add {near}/{len} dev far0"));
        ip(&far.ns, format!("addr add {there}/{len} dev eth0"));
        ip(&far.ns, format!("addr add {dst} dev lo"));
        ip(&far.ns, format!("route add default via {near}"));
        ip(native, format!("route add {dst} via {there}"));
        ip(native, format!("route add {dst} via {gateway} table 100"));
        ip(native, format!("rule add iif lo to {dst} lookup 100")); // what it sends itself
    }
    for (key, value) in [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv6.conf.all.forwarding", "1"),
        ("net.ipv4.conf.eth0.accept_local", "1"), // its own packets come back, and are no martians
        ("net.ipv4.conf.all.rp_filter", "0"),
        ("net.ipv4.conf.eth0.rp_filter", "0"),
    ] {
        native.sysctl(key, value).unwrap();
    }
    far
}

/// The routes of IPv6 follow the file as those of IPv4 do.
fn a_prefix_comes_and_goes(net: &mut Net) {
    let (t, base) = (net.t.clone(), net.config.clone());
    let (pod, from) = (&t.green.nodes[1].pod, &t.native);
    let prefix: Prefix = t.green.nodes[1].prefix6.expect("the network is dual-stack");
    let reached = |family| ping(&from.ns, at(pod, family), 1, 56).unwrap().complete();
    assert!(reached(Family::V6) && reached(Family::V4));
    let load = LoadOptions { rate: 2000, duration: Duration::from_secs(60), ..LoadOptions::default() };
    let steady = [(from, &t.blue.nodes[0].pod), (&t.blue.nodes[1].pod, &t.green.nodes[0].pod)]
        .map(|(from, to)| UdpLoad::start(&from.ns, &to.ns, at(to, Family::V6), load).unwrap());
    reload(net, &base.replace(&format!(", \"{prefix}\""), ""));
    assert!(!reached(Family::V6) && reached(Family::V4), "{prefix} is still there");
    reload(net, &base);
    assert!(reached(Family::V6), "{prefix} does not come back");
    for counts in steady.map(UdpLoad::stop) {
        assert!(counts.sent > 100 && counts.lost + counts.duplicate + counts.corrupt == 0, "{counts:?}");
    }
    assert_eq!(drops(&net.ledger()), [], "what has no route is left to the kernel");
}

/// Routers of IPv6 are known by their link-local addresses: native next hops, and those on the way to VTEPs.
#[test]
fn next_hops_may_be_link_local() {
    let Some(mut net) = Net::shaped("sixlink", dual_stack(Family::V6)) else { return };
    let t = net.t.clone();
    let (native, green1) = (&t.native, &t.green.nodes[0]);
    let far: IpAddr = "2001:db8:f::5".parse().unwrap();
    green1.ns.address("lo", far, 128).unwrap();
    let router = link_local(&green1.ns);
    run_in(&t.gateway, &["ip", "route", "add", &far.to_string(), "via", &router, "dev", UNDERLAY_PORT]);
    net.edit(&format!("vtep = \"{}\"", green1.vtep), &format!("vtep = \"{far}\""));
    let native_hop = native.address6.expect("the network is dual-stack").to_string();
    net.edit(&format!("next_hop = \"{native_hop}\""), &format!("next_hop = \"{}\"", link_local(&native.ns)));
    net.start();
    let blue = &t.blue.nodes[0].pod;
    carries_everything(native, blue, Family::V6, t.shape.inner_mtu());
    // one way only: what comes back has the node's own address, which is no peer's any more
    let there = udp_sweep(&native.ns, &green1.pod.ns, at(&green1.pod, Family::V6), (0..1000).step_by(100)).unwrap();
    assert!(there.complete(), "{there:?}");
    assert_eq!(drops(&net.ledger()), []);
    net.finish();
}

/// The link-local address of a namespace's `eth0`.
fn link_local(ns: &Namespace) -> String {
    let told = run_in(ns, &["ip", "-6", "-br", "addr", "show", "dev", "eth0", "scope", "link"]);
    let address = told.split_whitespace().find_map(|word| word.strip_suffix("/64"));
    address.unwrap_or_else(|| panic!("no link-local address: {told}")).to_owned()
}

/// A kernel that has not heard of a neighbour for a while asks it by its own address, and forgets it without an answer.
fn still_there(host: &Host, neighbour: IpAddr, mac: &str) {
    let ip = |args: String| run_in(&host.ns, &args.split(' ').collect::<Vec<_>>());
    ip(format!("ip neigh change {neighbour} lladdr {mac} dev eth0 nud probe"));
    let state = || ip(format!("ip neigh show {neighbour} dev eth0"));
    assert!(until(5 * SOON, || state().contains("REACHABLE")), "{}", state());
}

/// Hosts that believe pods to be on their own segment: they ask for MAC addresses and get the gateway's.
#[test]
fn pods_are_neighbours_of_plain_hosts_where_the_port_is_a_proxy() {
    let Some(mut net) = Net::shaped("sixproxy", dual_stack(Family::V4)) else { return };
    let t = net.t.clone();
    let (native, pod) = (&t.native, &t.blue.nodes[0].pod);
    for pods in t.blue.all_pods() {
        run_in(&native.ns, &["ip", "route", "replace", &pods.to_string(), "dev", "eth0"]);
    }
    net.start();
    let reached = |family| ping(&native.ns, at(pod, family), 1, 56).unwrap().complete();
    assert!(!reached(Family::V4) && !reached(Family::V6), "nobody answers for pods unless told to");
    net.stop();
    net.edit("role = \"access\"", "role = \"access\"\nproxy = true");
    run_in(&native.ns, &["ip", "neigh", "flush", "dev", "eth0"]);
    net.start();
    let mac = t.gateway.mac(ACCESS_PORT).unwrap().to_string();
    for family in FAMILIES {
        assert!(reached(family), "{family:?}");
        let neighbour = run_in(&native.ns, &["ip", "neigh", "show", &at(pod, family).to_string(), "dev", "eth0"]);
        assert!(neighbour.contains(&mac), "{family:?}: {neighbour}");
        carries_everything(native, pod, family, t.shape.inner_mtu());
        still_there(native, at(pod, family), &mac);
    }
    // the host's own addresses are the kernel's to answer for, and what is nowhere is nobody's
    let own = t.gateway_access.to_string();
    run_in(&native.ns, &["ip", "neigh", "flush", "dev", "eth0"]);
    assert!(ping(&native.ns, t.gateway_access, 1, 56).unwrap().complete(), "{own}");
    let samples = net.ledger();
    assert_eq!(drops(&samples), []);
    let asked = samples.sum("selvedge_xdp_packets_total", &[("verdict", "redirected_neighbour")]);
    assert!(asked >= 2.0, "{asked}");
    net.finish();
}
