//! Packets made by hand with scapy, of which no row of the conformance table speaks, sent through the running gateway: what
//! arrives is compared byte by byte, and the counters must tell the same story. The cases are in `tests/scapy/packets.py`;
//! those that the suites of other gateways have, too, in `tests/scapy/suites.py` (tests/PEERS.md).

use selvedge::lab::{Family, Shape};

#[path = "support/netns.rs"]
mod netns;

use netns::{Net, output_in};

/// Runs the cases of a script, so many at least.
fn play(net: Net, script: &str, word: &str, least: usize) {
    let script = format!("{}/tests/scapy/{script}", env!("CARGO_MANIFEST_DIR"));
    let instance = net.t.gateway.name().strip_suffix("-gw").unwrap();
    // Debian's own Python: scapy is a package of it
    let output = output_in(&net.t.gateway, &["/usr/bin/python3", "-B", &script, instance, word]);
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    let complaint = String::from_utf8_lossy(&output.stderr);
    let failures: Vec<&str> = told.lines().filter(|line| line.starts_with("FAIL")).collect();
    assert!(output.status.success() && failures.is_empty(), "{}\n{complaint}", failures.join("\n"));
    assert!(told.lines().filter(|line| line.starts_with("ok")).count() >= least, "{told}{complaint}");
    net.finish();
}

#[test]
fn who_may_send_what() {
    let Some(net) = Net::running("scapyguards") else { return };
    play(net, "packets.py", "guards", 10);
}

/// What must not change on the way, and checksums that are to be finished.
fn content(tag: &str, underlay: Family, word: &str) {
    let Some(mut net) = Net::shaped(tag, Shape { underlay, dual_stack: true, ..Shape::default() }) else { return };
    net.finish_checksums();
    net.start();
    play(net, "packets.py", word, 34);
}

#[test]
fn content_and_unfinished_checksums_over_ipv4() {
    content("scapycontent4", Family::V4, "4");
}

#[test]
fn content_and_unfinished_checksums_over_ipv6() {
    content("scapycontent6", Family::V6, "6");
}

/// Both inner families over this underlay.
fn suites(tag: &str, underlay: Family, word: &str) {
    let Some(mut net) = Net::shaped(tag, Shape { underlay, dual_stack: true, ..Shape::default() }) else { return };
    net.start();
    play(net, "suites.py", word, 50);
}

#[test]
fn what_other_suites_try_over_ipv4() {
    suites("suites4", Family::V4, "4");
}

#[test]
fn what_other_suites_try_over_ipv6() {
    suites("suites6", Family::V6, "6");
}
