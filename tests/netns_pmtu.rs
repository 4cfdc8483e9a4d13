//! Path MTU between VTEPs: a router on the way takes less than the link of the gateway, and says so; others say so
//! falsely.

#[path = "support/capture.rs"]
mod capture;
#[path = "pmtu/far.rs"]
mod far;
#[path = "support/netns.rs"]
mod netns;
#[path = "pmtu/selftests.rs"]
mod selftests;
#[path = "support/ovs.rs"]
mod switch;
#[path = "ovs/vtep.rs"]
mod vtep;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread::{self, sleep};
use std::time::Duration;

use capture::{Capture, Frame};
use far::{Far, addresses};
use netns::{Net, output_in, run_in, until};
use selvedge::lab::traffic::{LoadOptions, UdpLoad, ping, tcp_transfer};
use selvedge::lab::{Family, Host, Namespace, UNDERLAY_PORT};

/// How soon what a router says must count.
const SOON: Duration = Duration::from_secs(2);

/// The path MTU a host has learnt.
fn path_mtu(host: &Host, to: IpAddr) -> u32 {
    let told = run_in(&host.ns, &["ip", "route", "get", &to.to_string()]);
    told.split(" mtu ").nth(1).and_then(|m| m.split_whitespace().next()?.parse().ok()).unwrap_or(1500)
}

fn forget(host: &Host) {
    for family in ["-4", "-6"] {
        run_in(&host.ns, &["ip", family, "route", "flush", "cache"]);
    }
}

/// An echo of an IPv4 packet of so many bytes, which must not be fragmented.
fn echo(from: &Host, to: &Host, len: usize) -> bool {
    ping(&from.ns, to.address, 1, len - 28).unwrap().complete()
}

/// Outer fragments, and ICMP between VTEPs and routers.
const FRAGMENTS_AND_ERRORS: &str = "(ip[6:2] & 0x3fff != 0) or (ip6[6] = 44) or icmp or icmp6";

/// A TCP transfer goes on while a link on the way narrows, and when it is wide again.
fn tcp_survives(tag: &str, outer: Family, inner: Family) {
    let Some(mut far) = Far::new(tag, outer) else { return };
    far.net.start();
    let (native, pod) = far.ends();
    let at = |host: &Host| host.at(inner).unwrap();
    let transfer = |from: &Host, to: &Host, bytes| tcp_transfer(&from.ns, &to.ns, at(to), bytes).unwrap();
    assert!(transfer(&native, &pod, 1 << 20).hash_ok, "nothing flows before");
    assert_eq!((far.learnt(), path_mtu(&native, at(&pod)) >= u32::from(far.net.t.shape.inner_mtu())), (None, true));
    let capture = |ns: &Namespace, link: &str| Capture::start(ns, link, FRAGMENTS_AND_ERRORS, far.net.room());
    let captures =
        [capture(&far.net.t.gateway, UNDERLAY_PORT), capture(&far.router, "near"), capture(&far.router, "far")];

    let sent = || far.net.scrape().sum("selvedge_forwarded_packets_total", &[("journey", "encap")]);
    let before = sent();
    thread::scope(|scope| {
        let running = scope.spawn(|| transfer(&native, &pod, 150 << 20));
        assert!(until(SOON, || sent() > before + 1000.0), "the transfer does not begin");
        far.link(1400);
        assert!(!running.is_finished(), "it was over before the link changed: nothing is proven");
        assert!(until(SOON, || far.learnt() == Some(1400.0)), "what the router says does not count");
        sleep(Duration::from_millis(300));
        far.link(1500);
        let transfer = running.join().unwrap();
        println!("{:.0} Mb/s with a link that changes", transfer.megabits_per_second());
        assert!(transfer.hash_ok, "{transfer:?}");
    });
    let limit = 1400 - (far.net.t.shape.mtu - far.net.t.shape.inner_mtu());
    assert_eq!(path_mtu(&native, at(&pod)), u32::from(limit), "the sender knows the true limit");
    assert_eq!(far.learnt(), Some(1400.0), "a wider link is nobody's word");

    far.link(1400);
    for (from, to) in [(&native, &pod), (&pod, &native)] {
        let transfer = transfer(from, to, 8 << 20);
        assert!(transfer.hash_ok, "{}: {transfer:?}", from.ns.name());
    }
    assert!(echo(&native, &pod, limit.into()), "what fits passes");
    // and narrower still: no less than inner IPv6 needs
    far.link(1360);
    assert!(transfer(&native, &pod, 8 << 20).hash_ok);
    assert!(until(SOON, || far.learnt() == Some(1360.0)), "{:?}", far.learnt());
    assert_eq!(path_mtu(&native, at(&pod)), u32::from(limit) - 40);

    for capture in captures {
        let frames = capture.stop();
        let fragment = |f: &&Frame| {
            let six = f.number("eth.type", 0) == 0x86dd;
            let piece = f.flag("ip.flags.mf", 0) || f.at("ip.frag_offset", 0).parse().is_ok_and(|at: u32| at > 0);
            if six { f.at("ipv6.nxt", 0) == "44" } else { piece }
        };
        assert_eq!(frames.iter().filter(fragment).count(), 0, "{frames:?}");
        // of what is quoted, the end is missing, and with it what its checksum is over
        let faults = frames.iter().flat_map(Frame::faults).filter(|fault| !fault.starts_with("tcp"));
        assert_eq!(faults.collect::<Vec<_>>(), [""; 0]);
    }
    let samples = far.net.finish();
    assert!(samples.sum("selvedge_too_big_messages_total", &[("result", "accepted")]) >= 1.0);
    assert_eq!(samples.sum("selvedge_dropped_packets_total", &[("reason", "outer_fragment")]), 0.0);
}

#[test]
fn tcp_over_ipv4_survives_a_router_that_takes_less_for_a_while() {
    tcp_survives("pmtu44", Family::V4, Family::V4);
}

#[test]
fn tcp_over_ipv6_survives_a_router_that_takes_less_for_a_while() {
    tcp_survives("pmtu64", Family::V6, Family::V4);
}

#[test]
fn tcp_of_ipv6_over_ipv4_survives_a_router_that_takes_less_for_a_while() {
    tcp_survives("pmtu46", Family::V4, Family::V6);
}

#[test]
fn tcp_of_ipv6_over_ipv6_survives_a_router_that_takes_less_for_a_while() {
    tcp_survives("pmtu66", Family::V6, Family::V6);
}

#[test]
fn what_a_router_said_is_forgotten_in_time_and_kept_over_a_reload() {
    let Some(mut far) = Far::new("pmtuage", Family::V4) else { return };
    // ten minutes are the kernel's default; the gateway asks it
    far.net.t.gateway.sysctl("net.ipv4.route.mtu_expires", "4").unwrap();
    far.net.start();
    let (native, pod) = far.ends();
    far.link(1400);
    let learns = |far: &Far| {
        until(SOON, || {
            forget(&native);
            echo(&native, &pod, 1450);
            far.learnt() == Some(1400.0)
        })
    };
    assert!(learns(&far), "{:?}", far.learnt());
    let left = far.net.scrape().max("selvedge_path_mtu_expires_seconds", &[]).unwrap();
    assert!(left > 1.0 && left <= 4.0, "{left}");
    // another map, in which the peer stays
    let more = "\n[[native]]\nprefix = \"10.99.0.0/24\"\nport = \"ac0\"\nnext_hop = \"10.9.0.2\"\n";
    far.net.config.push_str(more);
    std::fs::write(far.net.config_path(), &far.net.config).unwrap();
    let applied = || far.net.scrape().sum("selvedge_config_reloads_total", &[("result", "applied")]);
    assert!(until(SOON, || applied() == 1.0), "the file is not read again");
    assert_eq!(far.learnt(), Some(1400.0), "the peer is still there");
    far.link(1500);
    assert!(until(3 * SOON, || far.learnt().is_none()), "it is never forgotten");
    forget(&native);
    assert!(echo(&native, &pod, 1450), "the link takes it again");
    // and narrower again
    far.link(1400);
    assert!(learns(&far), "{:?}", far.learnt());
    let log = far.net.log();
    assert!(log.contains("path MTU is less") && log.contains("path MTU is the kernel's again"), "{log}");
    far.net.finish();
}

/// Sends one group of messages of `tests/scapy/pmtu.py` from the router while full packets pass it: the reasons for which
/// they have to be ignored, with their number.
fn said(far: &Far, outer: Family, what: &str) -> BTreeMap<String, f64> {
    let (native, pod) = far.ends();
    let payload = usize::from(far.net.t.shape.inner_mtu()) - 28;
    let options = LoadOptions { rate: 100, flows: 1, payload, duration: Duration::from_secs(30) };
    let _load = UdpLoad::start(&native.ns, &pod.ns, pod.address, options).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scapy/pmtu.py");
    let (family, router) = (if outer == Family::V4 { "4" } else { "6" }, addresses(outer).0[0].to_string());
    let output = output_in(&far.router, &["/usr/bin/python3", "-B", script, "near", family, &router, what]);
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

/// All that can be wrong with a message is found, and none of it changes anything; the same with a true quote does.
fn forgeries_are_seen_through(tag: &str, outer: Family) {
    let Some(mut far) = Far::new(tag, outer) else { return };
    far.net.start();
    let (native, pod) = far.ends();
    let whole = usize::from(far.net.t.shape.inner_mtu());
    assert!(until(SOON, || echo(&native, &pod, whole)), "nothing flows");
    let epoch = |far: &Far| far.net.scrape().sum("selvedge_tables_epoch", &[]);
    let before = epoch(&far);
    let mut expected = said(&far, outer, "forged");
    assert!(expected.len() >= 9, "{expected:?}");
    assert!(until(SOON, || outcomes(&far.net) == expected), "{:?}\n{expected:?}", outcomes(&far.net));
    assert_eq!((far.learnt(), epoch(&far)), (None, before), "something changed");
    assert!(echo(&native, &pod, whole));

    expected.extend(said(&far, outer, "genuine"));
    assert!(until(SOON, || outcomes(&far.net) == expected), "{:?}\n{expected:?}", outcomes(&far.net));
    assert_eq!(far.learnt(), Some(1400.0), "the same with a true quote is believed");
    far.net.finish();
}

#[test]
fn forged_messages_over_ipv4_change_nothing_and_are_counted_by_name() {
    forgeries_are_seen_through("pmtuforged4", Family::V4);
}

#[test]
fn forged_messages_over_ipv6_change_nothing_and_are_counted_by_name() {
    forgeries_are_seen_through("pmtuforged6", Family::V6);
}
