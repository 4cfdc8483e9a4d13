//! The VXLAN cases of Linux's own path MTU tests (`tools/testing/selftests/net/pmtu.sh`), with the gateway as the VTEP
//! whose path narrows: links take 5,000 bytes, the last one to the far VTEP 4,000, and whoever sends more into the tunnel
//! must learn the true limit by the error that comes back.
//!
//! There the sender is the VTEP's host, or behind a bridge, or behind Open vSwitch; here it is on the gateway's access
//! network, or behind a kernel's VTEP, or behind Open vSwitch's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use selvedge::lab::traffic::{ping, udp_sweep};
use selvedge::lab::{Family, Host};

use super::far::Far;
use super::netns::until;
use super::vtep::in_place_of;
use super::{SOON, path_mtu};

const NEAR: u16 = 5000;
const FAR: u16 = 4000;
/// A port that nobody listens to (RFC 863).
const DISCARD: u16 = 9;
/// What is sent: more than the far link takes, and less than the others.
const PAYLOAD: usize = 4500;

/// A sender learns the limit, and what it sends then arrives in pieces that fit.
fn exception(case: &str, from: &Host, to: &Host, inner: Family, limit: u32) {
    let dst = to.at(inner).unwrap();
    let any = if inner == Family::V4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = from.ns.run(|| UdpSocket::bind((any, 0))).unwrap().unwrap();
    assert_ne!(path_mtu(from, dst), limit, "{case}: known before");
    // the gateway learns from the first packet, the sender from the second; a kernel that knows refuses a third
    let told = until(SOON, || {
        let _ = socket.send_to(&[0; PAYLOAD], (dst, DISCARD));
        path_mtu(from, dst) == limit
    });
    assert!(told, "{case}: {} instead of {limit}", path_mtu(from, dst));
    let pieces = udp_sweep(&from.ns, &to.ns, dst, [PAYLOAD]).unwrap();
    assert!(pieces.complete(), "{case}: pieces that are short enough do not pass");
}

fn exceptions(tag: &str, outer: Family) {
    let Some(mut far) = Far::with_mtu(tag, outer, NEAR) else { return };
    far.link(FAR);
    let t = far.net.t.clone();
    let [blue1, blue2] = [&t.blue.nodes[0], &t.blue.nodes[1]];
    let _switch = in_place_of(&far.net, &t.blue, blue1, false);
    far.net.start();
    let (native, pod) = far.ends();
    let limit = u32::from(FAR - (NEAR - t.shape.inner_mtu()));
    let over = if outer == Family::V4 { 4 } else { 6 };
    for (inner, ip) in [(Family::V4, 4), (Family::V6, 6)] {
        for (kind, from) in [("", &native), ("br_", &blue2.pod), ("ovs_", &blue1.pod)] {
            let case = format!("pmtu_ipv{ip}_{kind}vxlan{over}_exception");
            // short ones pass before, and so do the first ones of a switch, which looks for its neighbour
            let short = || ping(&from.ns, pod.at(inner).unwrap(), 1, 3000).unwrap().complete();
            assert!(until(SOON, short), "{case}: nothing comes through");
            exception(&case, from, &pod, inner, limit);
            println!("ok   {case}: {limit}");
        }
    }
    // cleanup_ipv4_exception, cleanup_ipv6_exception: what was learnt keeps nobody from ending
    assert_eq!(far.learnt(), Some(f64::from(FAR)));
    let samples = far.net.finish();
    assert_eq!(samples.sum("selvedge_dropped_packets_total", &[("reason", "outer_fragment")]), 0.0);
}

#[test]
fn exceptions_over_ipv4() {
    exceptions("pmtuself4", Family::V4);
}

#[test]
fn exceptions_over_ipv6() {
    exceptions("pmtuself6", Family::V6);
}
