//! iperf3 through the gateway, every journey both ways, with all offloads as they are by default.

use std::process::Stdio;
use std::time::Duration;

use selvedge::lab::Host;

#[path = "support/netns.rs"]
mod netns;

use netns::{Net, hosts, output_in, run_in, spawn_in, until};

/// What iperf3 reports of one run.
#[derive(Debug)]
struct Run {
    sent: f64,
    received: f64,
    retransmits: f64,
    megabits: f64,
}

/// One second of TCP from `client` to `server`, or the other way round.
fn iperf(client: &Host, server: &Host, reverse: bool) -> Run {
    let mut serving = spawn_in(&server.ns, &["iperf3", "--server", "--one-off"], Stdio::null());
    let listens = || !run_in(&server.ns, &["ss", "-Hltn", "sport = :5201"]).is_empty();
    assert!(until(Duration::from_secs(2), listens), "iperf3 does not listen");
    let address = server.address.to_string();
    let mut words = vec!["iperf3", "--client", &address, "--time", "1", "--json", "--connect-timeout", "2000"];
    if reverse {
        words.push("--reverse");
    }
    let output = output_in(&client.ns, &words);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words:?}: {told}");
    assert!(until(Duration::from_secs(2), || serving.exited().unwrap().is_some()), "the server ends with the run");
    let end = told.split_once("\"end\":").unwrap_or_else(|| panic!("no end in {told}")).1;
    let sum = |name: &str, key: &str| number(end, name, key).unwrap_or_else(|| panic!("no {name}.{key} in {end}"));
    Run {
        sent: sum("sum_sent", "bytes"),
        received: sum("sum_received", "bytes"),
        retransmits: sum("sum_sent", "retransmits"),
        megabits: sum("sum_received", "bits_per_second") / 1e6,
    }
}

/// The number at `"<object>": { … "<key>": <number>`.
fn number(json: &str, object: &str, key: &str) -> Option<f64> {
    let (_, after) = json.split_once(&format!("\"{object}\":"))?;
    let inside = after.split_once('}')?.0;
    let (_, value) = inside.split_once(&format!("\"{key}\":"))?;
    value.trim_start().split([',', '\n', '\t']).next()?.trim().parse().ok()
}

/// Bytes of payload in a full segment: pod MTU less IP and TCP headers with timestamps.
const SEGMENT: f64 = 1398.0;

#[test]
fn tcp_flows_both_ways_on_every_journey() {
    let Some(net) = Net::running("iperf") else { return };
    let [blue, green, native] = hosts(&net.t);
    for (client, server) in [(blue, green), (native, blue), (green, native)] {
        for reverse in [false, true] {
            let run = iperf(client, server, reverse);
            let arrow = if reverse { "from" } else { "to" };
            let what = format!("{} {arrow} {}: {run:?}", client.ns.name(), server.ns.name());
            println!("{:.0} Mb/s: {what}", run.megabits);
            assert!(run.received > 1e6 && run.sent >= run.received, "{what}");
            // A sender that outruns a queue loses segments now and then. The bug to find loses most of them.
            assert!(run.retransmits < 100.0 + 0.05 * run.sent / SEGMENT, "{what}");
        }
    }
    net.finish();
}
