//! Path MTU between VTEPs: a router on the way takes less than the link of the gateway, and says so; others say so
//! falsely.

#[path = "support/capture.rs"]
mod capture;
#[path = "support/netns.rs"]
mod netns;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::thread::{self, sleep};
use std::time::Duration;

use capture::{Capture, Frame};
use netns::{Net, output_in, run_in, until};
use selvedge::lab::traffic::{LoadOptions, UdpLoad, ping, tcp_transfer};
use selvedge::lab::{End, Host, Namespace, UNDERLAY_PORT};
use selvedge::wire::Prefix;

/// The router between the fabric and green1, on either side; and green1's VTEP behind it.
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
const ROUTER_FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);

/// How soon what a router says must count.
const SOON: Duration = Duration::from_secs(2);

/// Moves green1 behind a router, and the gateway's peer with it. Its VXLAN device sends with DF: fragments would come
/// from the node otherwise, and the gateway takes none.
fn behind_a_router(net: &mut Net) -> Namespace {
    let t = net.t.clone();
    let (green, green1) = (&t.green, &t.green.nodes[0]);
    let router = net.lab.namespace("router").unwrap();
    router.sysctl("net.ipv4.ip_forward", "1").unwrap();
    net.lab.veth(&End::new(&router, "near").address(ROUTER, 24), &End::new(&t.fabric, "router")).unwrap();
    t.fabric.attach("router", "br0").unwrap();
    net.lab
        .veth(&End::new(&router, "far").address(ROUTER_FAR, 24), &End::new(&green1.ns, "far").address(FAR, 24))
        .unwrap();
    green1.ns.route(Prefix::host(t.gateway_vtep), ROUTER_FAR).unwrap();
    t.gateway.route("203.0.113.0/24".parse().unwrap(), ROUTER).unwrap();

    let device = green.device();
    green1.ns.delete(&device).unwrap();
    let (mac, vni, port) = (green1.vtep_mac.to_string(), green.vni.to_string(), green.udp_port.to_string());
    let local = FAR.to_string();
    let words = ["ip", "link", "add", &device, "address", &mac, "mtu", "1450", "type", "vxlan", "id", &vni];
    let more = ["dev", "far", "local", &local, "dstport", &port, "nolearning", "df", "set"];
    run_in(&green1.ns, &[&words[..], &more].concat());
    green1.ns.up(&device).unwrap();
    green1.ns.address(&device, green1.prefix.addr(), 32).unwrap();
    green1.ns.neighbour(&device, green.gateway_address, green.gateway_mac).unwrap();
    green1.ns.fdb(&device, green.gateway_mac, t.gateway_vtep).unwrap();
    for prefix in [t.blue.pods, t.native_prefix, Prefix::host(green.gateway_address.into())] {
        green1.ns.route_onlink(prefix, green.gateway_address, &device).unwrap();
    }
    net.edit(&format!("vtep = \"{}\"", green1.vtep), &format!("vtep = \"{FAR}\""));
    router
}

/// Both ends of the far link.
fn far_link(net: &Net, router: &Namespace, mtu: u16) {
    router.mtu("far", mtu).unwrap();
    net.t.green.nodes[0].ns.mtu("far", mtu).unwrap();
}

/// The path MTU that the gateway has learnt, if any.
fn learnt(net: &Net) -> Option<f64> {
    net.scrape().max("selvedge_path_mtu_bytes", &[("vtep", &FAR.to_string())])
}

/// The path MTU a host has learnt.
fn path_mtu(host: &Host, to: Ipv4Addr) -> u32 {
    let told = run_in(&host.ns, &["ip", "route", "get", &to.to_string()]);
    told.split(" mtu ").nth(1).and_then(|m| m.split_whitespace().next()?.parse().ok()).unwrap_or(1500)
}

fn forget(host: &Host) {
    run_in(&host.ns, &["ip", "route", "flush", "cache"]);
}

/// An echo of an IP packet of so many bytes, which must not be fragmented.
fn echo(from: &Host, to: &Host, len: usize) -> bool {
    ping(&from.ns, to.address, 1, len - 28).unwrap().complete()
}

/// Outer fragments, and ICMP between VTEPs and routers.
const FRAGMENTS_AND_ERRORS: &str = "(ip[6:2] & 0x3fff != 0) or icmp";

fn fragments(frames: &[Frame]) -> usize {
    frames.iter().filter(|f| f.flag("ip.flags.mf", 0) || f.number("ip.frag_offset", 0) > 0).count()
}

fn watch(net: &Net, router: &Namespace) -> [Capture; 3] {
    let capture = |ns: &Namespace, link: &str| Capture::start(ns, link, FRAGMENTS_AND_ERRORS, net.room());
    [capture(&net.t.gateway, UNDERLAY_PORT), capture(router, "near"), capture(router, "far")]
}

#[test]
fn a_router_that_takes_less_for_a_while_stops_no_tcp_and_sees_no_fragment() {
    let Some(mut net) = Net::new("pmtu") else { return };
    let router = behind_a_router(&mut net);
    net.start();
    let t = net.t.clone();
    let (native, pod) = (&t.native, &t.green.nodes[0].pod);
    let transfer = |from: &Host, to: &Host, bytes| tcp_transfer(&from.ns, &to.ns, to.address, bytes).unwrap();
    assert!(transfer(native, pod, 1 << 20).hash_ok, "nothing flows before");
    assert_eq!((learnt(&net), path_mtu(native, pod.address)), (None, 1500));
    let captures = watch(&net, &router);

    thread::scope(|scope| {
        let before = net.scrape().sum("selvedge_forwarded_packets_total", &[("journey", "encap")]);
        let running = scope.spawn(|| transfer(native, pod, 200 << 20));
        let sent = |net: &Net| net.scrape().sum("selvedge_forwarded_packets_total", &[("journey", "encap")]) - before;
        assert!(until(SOON, || sent(&net) > 1000.0), "the transfer does not begin");
        far_link(&net, &router, 1400);
        assert!(until(SOON, || learnt(&net) == Some(1400.0)), "what the router says does not count");
        assert!(!running.is_finished(), "it was over before the link changed: nothing is proven");
        sleep(Duration::from_millis(300));
        far_link(&net, &router, 1500);
        let transfer = running.join().unwrap();
        println!("{:.0} Mb/s with a link that changes", transfer.megabits_per_second());
        assert!(transfer.hash_ok, "{transfer:?}");
    });
    assert_eq!(path_mtu(native, pod.address), 1350, "the sender knows the true limit: 1400 less the encapsulation");
    assert_eq!(learnt(&net), Some(1400.0), "a wider link is nobody's word");

    far_link(&net, &router, 1400);
    for (from, to) in [(native, pod), (pod, native)] {
        let transfer = transfer(from, to, 8 << 20);
        assert!(transfer.hash_ok, "{}: {transfer:?}", from.ns.name());
    }
    assert!(echo(native, pod, 1350), "what fits passes");

    for capture in captures {
        let frames = capture.stop();
        assert_eq!(fragments(&frames), 0, "{frames:?}");
        // of what is quoted, the end is missing, and with it what its checksum is over
        let faults = frames.iter().flat_map(Frame::faults).filter(|fault| !fault.starts_with("tcp"));
        assert_eq!(faults.collect::<Vec<_>>(), [""; 0]);
    }
    let samples = net.finish();
    assert!(samples.sum("selvedge_too_big_messages_total", &[("result", "accepted")]) >= 1.0);
    assert_eq!(samples.sum("selvedge_dropped_packets_total", &[("reason", "outer_fragment")]), 0.0);
}

#[test]
fn what_a_router_said_is_forgotten_in_time_and_kept_over_a_reload() {
    let Some(mut net) = Net::new("pmtuage") else { return };
    let router = behind_a_router(&mut net);
    // ten minutes are the kernel's default; the gateway asks it
    net.t.gateway.sysctl("net.ipv4.route.mtu_expires", "4").unwrap();
    net.start();
    let t = net.t.clone();
    let (native, pod) = (&t.native, &t.green.nodes[0].pod);
    far_link(&net, &router, 1400);
    let learns = |net: &Net| {
        until(SOON, || {
            forget(native);
            echo(native, pod, 1450);
            learnt(net) == Some(1400.0)
        })
    };
    assert!(learns(&net), "{:?}", learnt(&net));
    let left = net.scrape().max("selvedge_path_mtu_expires_seconds", &[]).unwrap();
    assert!(left > 1.0 && left <= 4.0, "{left}");
    // another map, in which the peer stays
    net.edit(
        "[[native]]",
        "[[native]]\nprefix = \"10.99.0.0/24\"\nport = \"ac0\"\nnext_hop = \"10.9.0.2\"\n\n[[native]]",
    );
    std::fs::write(net.config_path(), &net.config).unwrap();
    let applied = |net: &Net| net.scrape().sum("selvedge_config_reloads_total", &[("result", "applied")]);
    assert!(until(SOON, || applied(&net) == 1.0), "the file is not read again");
    assert_eq!(learnt(&net), Some(1400.0), "the peer is still there");
    far_link(&net, &router, 1500);
    assert!(until(3 * SOON, || learnt(&net).is_none()), "it is never forgotten");
    forget(native);
    assert!(echo(native, pod, 1450), "the link takes it again");
    // and narrower still
    far_link(&net, &router, 1400);
    assert!(learns(&net), "{:?}", learnt(&net));
    let log = net.log();
    assert!(log.contains("path MTU is less") && log.contains("path MTU is the kernel's again"), "{log}");
    net.finish();
}

/// Sends one group of messages of `tests/scapy/pmtu.py` from the router while full packets pass it: the reasons for which
/// they have to be ignored, with their number.
fn said(net: &Net, router: &Namespace, what: &str) -> BTreeMap<String, f64> {
    let (native, pod) = (&net.t.native, &net.t.green.nodes[0].pod);
    let options = LoadOptions { rate: 100, flows: 1, payload: 1450 - 28, duration: Duration::from_secs(30) };
    let _load = UdpLoad::start(&native.ns, &pod.ns, pod.address, options).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scapy/pmtu.py");
    let output = output_in(router, &["/usr/bin/python3", "-B", script, "near", "4", what]);
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let mut reasons = BTreeMap::new();
    for line in told.lines() {
        let (_, reason) = line.rsplit_once(": ").unwrap_or_else(|| panic!("{line}"));
        *reasons.entry(reason.to_owned()).or_default() += 1.0;
    }
    reasons
}

/// What became of messages so far, those that happened.
fn outcomes(net: &Net) -> BTreeMap<String, f64> {
    let all = net.scrape().by("selvedge_too_big_messages_total", "result");
    all.into_iter().filter(|(_, count)| *count > 0.0).collect()
}

#[test]
fn forged_messages_change_nothing_and_are_counted_by_name() {
    let Some(mut net) = Net::new("pmtuforged") else { return };
    let router = behind_a_router(&mut net);
    net.start();
    assert!(until(SOON, || echo(&net.t.native, &net.t.green.nodes[0].pod, 1450)), "nothing flows");
    let epoch = |net: &Net| net.scrape().sum("selvedge_tables_epoch", &[]);
    let before = epoch(&net);
    let mut expected = said(&net, &router, "forged");
    assert!(expected.len() >= 9, "{expected:?}");
    assert!(until(SOON, || outcomes(&net) == expected), "{:?}\n{expected:?}", outcomes(&net));
    assert_eq!((learnt(&net), epoch(&net)), (None, before), "something changed");
    assert!(echo(&net.t.native, &net.t.green.nodes[0].pod, 1450));

    expected.extend(said(&net, &router, "genuine"));
    assert!(until(SOON, || outcomes(&net) == expected), "{:?}\n{expected:?}", outcomes(&net));
    assert_eq!(learnt(&net), Some(1400.0), "the same with a true quote is believed");
    net.finish();
}
