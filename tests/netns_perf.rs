//! `perf/run` from end to end, small: the gateway and the kernel in one journey. No speed is judged; that the report is
//! whole and its books balance is.

#[path = "support/root.rs"]
mod root;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Builds what `perf/run` would build, but for the optimised profile: that takes minutes. Returns the harness.
fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let flood = Command::new(root.join("perf/flood/build")).status().unwrap();
    assert!(flood.success(), "perf/flood/build: {flood}");
    let line = ["build", "--quiet", "--locked", "--example", "perf"];
    let mut cargo = Command::new(env!("CARGO"));
    // what cargo tells a test of its package, build scripts would take for a change of their surroundings: ring's would
    // compile it, and all that stands on it, anew, and once more for the next test
    let of_package = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_"].iter().any(|p| name.starts_with(p));
    for (name, _) in std::env::vars().filter(|(name, _)| of_package(name)) {
        cargo.env_remove(name);
    }
    let built = cargo.args(line).current_dir(root).status().unwrap();
    assert!(built.success(), "cargo {}: {built}", line.join(" "));
    // beside the directory of this very program: target/debug/deps
    let deps = std::env::current_exe().unwrap();
    deps.ancestors().nth(2).unwrap().with_file_name("debug").join("examples/perf")
}

fn positive(value: &Value, what: &str) -> f64 {
    let number = value.as_f64().unwrap_or_else(|| panic!("{what} is no number: {value}"));
    assert!(number > 0.0, "{what}: {number}");
    number
}

#[test]
fn a_small_run_makes_a_whole_report() {
    if !root::root() {
        return;
    }
    let room = tempfile::tempdir().unwrap();
    let perf = build();
    let mut command = Command::new(perf);
    command.args(["--smoke", "--journeys", "encap", "--seed", "7", "--nodes", "3", "--flows", "100", "--out"]);
    let status = command.arg(room.path()).env("SELVEDGE_PROGRAM", env!("CARGO_BIN_EXE_selvedge")).status().unwrap();
    assert!(status.success(), "{status}");

    let text = fs::read_to_string(room.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let rates = report["rates"].as_array().unwrap();
    let peers: Vec<&str> = rates.iter().map(|r| r["peer"].as_str().unwrap()).collect();
    assert_eq!(peers, ["selvedge", "kernel"]);
    for rate in rates {
        assert_eq!(rate["audited"], true, "no trial's books balanced: {rate}");
        let [min, median, max] = ["min", "median", "max"].map(|f| positive(&rate["pps"][f], f));
        assert!(min <= median && median <= max && max <= rate["offered_pps"].as_f64().unwrap() * 1.2, "{rate}");
        assert_eq!((&rate["workload"]["flows"], &rate["workload"]["nodes"]), (&100.into(), &3.into()));
    }
    for search in report["searches"].as_array().unwrap() {
        let trials = search["trials"].as_array().unwrap();
        assert!(!trials.is_empty());
        let most = trials.iter().map(|t| t[0].as_f64().unwrap()).fold(0.0, f64::max);
        let [ndr, pdr] = ["ndr_pps", "pdr_pps"].map(|f| search[f].as_f64().unwrap());
        assert!(ndr <= pdr * 1.2 && pdr <= most, "{search}");
    }
    for latency in report["latencies"].as_array().unwrap() {
        let at = ["p50_us", "p99_us", "p999_us"].map(|f| positive(&latency[f]["median"], f));
        assert!(at.is_sorted(), "{latency}");
    }
    assert!(report["bars"].as_array().unwrap().len() >= 12);
    assert!(report["manifest"]["kernel"].as_str().unwrap().starts_with("Linux"));
    let page = fs::read_to_string(room.path().join("report.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("src=") && !page.contains("href="), "not self-contained");
    for file in ["report.md", "manifest.json", "headline.svg"] {
        assert!(room.path().join(file).metadata().unwrap().len() > 100, "{file}");
    }
}
