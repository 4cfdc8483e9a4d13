//! Packets are made to fit the tunnels, between plain kernels: what hosts that know nothing of it send and get.

#[path = "support/netns.rs"]
mod netns;

use netns::Net;
use selvedge::lab::scrape::Samples;
use selvedge::lab::traffic::{ping, tcp_transfer};
use selvedge::lab::{Family, Host, Shape};

/// A network in which every overlay has these keys, too.
fn configured(tag: &str, shape: Shape, keys: &str) -> Option<Net> {
    let mut net = Net::shaped(tag, shape)?;
    net.edit("[[overlay]]\n", &format!("[[overlay]]\n{keys}\n"));
    net.start();
    Some(net)
}

fn counted(samples: &Samples) -> (f64, f64) {
    let sum = |name| samples.sum(name, &[]);
    (sum("selvedge_replied_packets_total"), sum("selvedge_mss_clamped_total"))
}

/// Transfers along every journey, both ways, through tunnels narrower than any host knows: what the gateway had to say
/// about packets that were too big, and how many connections it told before.
fn transfers(tag: &str, outer: Family, inner: Family, clamp: bool) -> Option<(f64, f64)> {
    let shape = Shape { underlay: outer, dual_stack: true, ..Shape::default() };
    let net = configured(tag, shape, &format!("mtu = 1300\nmss_clamp = {clamp}"))?;
    let t = net.t.clone();
    let (native, blue, green) = (&t.native, &t.blue.nodes[0].pod, &t.green.nodes[0].pod);
    for (from, to) in [(native, blue), (blue, native), (blue, green), (green, native)] {
        let transfer = tcp_transfer(&from.ns, &to.ns, to.at(inner).unwrap(), 1 << 20).unwrap();
        assert!(transfer.hash_ok, "{} to {}: {transfer:?}", from.ns.name(), to.ns.name());
    }
    Some(counted(&net.finish()))
}

#[test]
fn a_clamped_connection_never_sends_what_is_too_big() {
    for (tag, outer, inner) in [
        ("fit44", Family::V4, Family::V4),
        ("fit46", Family::V4, Family::V6),
        ("fit64", Family::V6, Family::V4),
        ("fit66", Family::V6, Family::V6),
    ] {
        let Some((replied, clamped)) = transfers(tag, outer, inner, true) else { return };
        // SYN and SYN-ACK of four connections
        assert_eq!((replied, clamped), (0.0, 8.0), "{tag}");
    }
}

#[test]
fn a_connection_that_is_not_clamped_has_to_be_told() {
    let Some((replied, clamped)) = transfers("fitoff", Family::V4, Family::V4, false) else { return };
    assert!(replied >= 2.0 && clamped == 0.0, "{replied} {clamped}");
}

/// An echo of an IP packet of so many bytes, which is compared when it comes back.
fn echo(from: &Host, to: &Host, len: usize) -> bool {
    ping(&from.ns, to.address, 1, len - 28).unwrap().complete()
}

#[test]
fn packets_without_df_arrive_in_pieces_that_any_kernel_puts_together() {
    for (tag, outer) in [("fitcut4", Family::V4), ("fitcut6", Family::V6)] {
        let shape = Shape { underlay: outer, ..Shape::default() };
        let Some(net) = configured(tag, shape, "mtu = 1000\nfragment = true") else { return };
        let t = net.t.clone();
        let (native, blue, green) = (&t.native, &t.blue.nodes[0].pod, &t.green.nodes[0].pod);
        for host in [native, blue, green] {
            host.ns.sysctl("net.ipv4.ip_no_pmtu_disc", "1").unwrap(); // sends without DF
        }
        // from and to the access network, from tunnel to tunnel; what a pod has cut itself is cut again
        for (from, to, len) in [(native, blue, 1500), (native, blue, 1001), (blue, green, 1400), (native, green, 8000)]
        {
            assert!(echo(from, to, len), "{tag}: {} to {}: {len}", from.ns.name(), to.ns.name());
        }
        let samples = net.finish();
        let pieces = samples.sum("selvedge_fragments_total", &[("result", "sent")]);
        assert!(pieces >= 9.0, "{pieces}");
        let dropped = samples.sum("selvedge_dropped_packets_total", &[]);
        assert_eq!(dropped, 0.0, "{:?}", samples.by("selvedge_dropped_packets_total", "reason"));
    }
}

#[test]
fn packets_without_df_are_dropped_by_name_where_that_is_configured() {
    let Some(net) = configured("fitdrop", Shape::default(), "mtu = 1000") else { return };
    let t = net.t.clone();
    t.native.ns.sysctl("net.ipv4.ip_no_pmtu_disc", "1").unwrap();
    assert!(!echo(&t.native, &t.blue.nodes[0].pod, 1500));
    let samples = net.finish();
    let by_name = |reason| samples.sum("selvedge_dropped_packets_total", &[("reason", reason)]);
    assert!(by_name("too_big") >= 1.0 && samples.sum("selvedge_fragments_total", &[]) == 0.0);
}
