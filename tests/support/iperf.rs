//! iperf3 between two hosts, and what it reports. Use it beside `mod netns`.
#![allow(dead_code)] // each crate uses its own part

use std::process::{Command, Stdio};
use std::time::Duration;

use selvedge::lab::{Family, Host, Process};

use crate::netns::{missing, output_in, run_in, until};

/// What iperf3 reports of one run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) sent: f64,
    pub(crate) received: f64,
    pub(crate) retransmits: f64,
    pub(crate) megabits: f64,
}

/// How long a server may take to listen, and to end: machines of tests stand still for seconds now and then.
const PATIENCE: Duration = Duration::from_secs(15);

/// An iperf3 server on a host that listens.
pub(crate) fn serve(host: &Host, more: &[&str]) -> Process {
    let mut command = Command::new("iperf3");
    // what it complains of belongs to what the test says
    command.arg("--server").args(more).stdin(Stdio::null()).stdout(Stdio::null());
    let mut server = host.ns.spawn(command).unwrap_or_else(|e| missing("iperf3", e.io()));
    let listens = || !run_in(&host.ns, &["ss", "-Hltn", "sport = :5201"]).is_empty();
    let mut ended = None;
    let settled = until(PATIENCE, || {
        ended = server.exited().unwrap();
        ended.is_some() || listens()
    });
    let all = || run_in(&host.ns, &["ss", "-Htanu"]);
    assert!(settled && ended.is_none(), "iperf3 does not listen; it ended: {ended:?}; sockets:\n{}", all());
    server
}

/// A second or less between `client` and `server` with these words besides; `--reverse` makes the server send.
pub(crate) fn iperf(client: &Host, server: &Host, family: Family, more: &[&str]) -> String {
    let mut serving = serve(server, &["--one-off"]);
    let address = server.at(family).expect("the network is dual-stack").to_string();
    let words = ["iperf3", "--client", &address, "--json", "--connect-timeout", "2000"];
    let words = [&words[..], more].concat();
    let output = output_in(&client.ns, &words);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words:?}: {told}");
    assert!(until(PATIENCE, || serving.exited().unwrap().is_some()), "the server ends with the run");
    // numbers are called so, too
    told.rsplit_once("\"end\":\t{").unwrap_or_else(|| panic!("no end in {told}")).1.to_owned()
}

pub(crate) fn tcp(client: &Host, server: &Host, family: Family, direction: &[&str]) -> Run {
    let end = iperf(client, server, family, &[&["--time", "1"], direction].concat());
    let sum = |name: &str, key: &str| number(&end, name, key).unwrap_or_else(|| panic!("no {name}.{key} in {end}"));
    Run {
        sent: sum("sum_sent", "bytes"),
        received: sum("sum_received", "bytes"),
        retransmits: sum("sum_sent", "retransmits"),
        megabits: sum("sum_received", "bits_per_second") / 1e6,
    }
}

/// The number at `"<object>": { … "<key>": <number>`.
pub(crate) fn number(json: &str, object: &str, key: &str) -> Option<f64> {
    let (_, after) = json.split_once(&format!("\"{object}\":"))?;
    let inside = after.split_once('}')?.0;
    let (_, value) = inside.split_once(&format!("\"{key}\":"))?;
    value.trim_start().split([',', '\n', '\t']).next()?.trim().parse().ok()
}

/// Both directions of a run.
pub(crate) const DIRECTIONS: [&[&str]; 2] = [&[], &["--reverse"]];
