//! Packets made by hand with scapy, of which no row of the conformance table speaks, sent through the running gateway: what
//! arrives is compared byte by byte, and the counters must tell the same story. The cases are in `tests/scapy/packets.py`.

use selvedge::lab::scrape::Samples;

#[path = "support/netns.rs"]
mod netns;

use netns::{Net, output_in};

/// Runs one group of cases.
fn group(name: &str) -> Option<Samples> {
    let net = Net::running(&format!("scapy{name}"))?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scapy/packets.py");
    let instance = net.t.gateway.name().strip_suffix("-gw").unwrap();
    // Debian's own Python: scapy is a package of it
    let output = output_in(&net.t.gateway, &["/usr/bin/python3", "-B", script, instance, name]);
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    let complaint = String::from_utf8_lossy(&output.stderr);
    let failures: Vec<&str> = told.lines().filter(|line| line.starts_with("FAIL")).collect();
    assert!(output.status.success() && failures.is_empty(), "{}\n{complaint}", failures.join("\n"));
    assert!(told.lines().filter(|line| line.starts_with("ok")).count() > 5, "{told}{complaint}");
    Some(net.finish())
}

#[test]
fn who_may_send_what() {
    group("guards");
}

#[test]
fn content_and_unfinished_checksums() {
    group("content");
}
