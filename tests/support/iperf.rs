//! iperf3 between two hosts, and what it reports. Use it beside `mod netns`.
#![allow(dead_code)] // each crate uses its own part

use std::process::Stdio;
use std::time::Duration;

use selvedge::lab::{Family, Host};

use crate::netns::{output_in, run_in, spawn_in, until};

/// What iperf3 reports of one run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) sent: f64,
    pub(crate) received: f64,
    pub(crate) retransmits: f64,
    pub(crate) megabits: f64,
}

/// A second or less between `client` and `server` with these words besides; `--reverse` makes the server send.
pub(crate) fn iperf(client: &Host, server: &Host, family: Family, more: &[&str]) -> String {
    let mut serving = spawn_in(&server.ns, &["iperf3", "--server", "--one-off"], Stdio::null());
    let listens = || !run_in(&server.ns, &["ss", "-Hltn", "sport = :5201"]).is_empty();
    assert!(until(Duration::from_secs(2), listens), "iperf3 does not listen");
    let address = server.at(family).expect("the network is dual-stack").to_string();
    let words = ["iperf3", "--client", &address, "--json", "--connect-timeout", "2000"];
    let words = [&words[..], more].concat();
    let output = output_in(&client.ns, &words);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words:?}: {told}");
    assert!(until(Duration::from_secs(2), || serving.exited().unwrap().is_some()), "the server ends with the run");
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
