//! What the figures depend on: the machine, its kernel, the tools, the version measured.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde::Serialize;

use crate::bed::MTU;

/// The host, and what ran on it.
#[derive(Debug, Serialize)]
pub(crate) struct Manifest {
    pub(crate) command: String,
    pub(crate) started: String,
    pub(crate) finished: String,
    pub(crate) commit: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory: String,
    pub(crate) hypervisor: bool,
    pub(crate) kernel: String,
    /// Of the processor's weaknesses, as the kernel tells.
    pub(crate) mitigations: BTreeMap<String, String>,
    pub(crate) governor: String,
    pub(crate) driver: &'static str,
    pub(crate) mtu: u16,
    pub(crate) tools: BTreeMap<String, String>,
}

/// The time, as people and programs read it.
pub(crate) fn now() -> String {
    first_line("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])
}

/// Looks at the host.
pub(crate) fn manifest(started: String) -> Manifest {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|l| l.starts_with(name));
        line.and_then(|l| l.split_once(':')).map_or_else(|| "unknown".into(), |(_, v)| v.trim().to_string())
    };
    let tools: [(&str, &str, &[&str]); 8] = [
        ("rustc", "rustc", &["--version"]),
        ("clang", "clang-14", &["--version"]),
        ("gcc", "gcc", &["--version"]),
        ("ip", "ip", &["-V"]),
        ("ethtool", "ethtool", &["--version"]),
        ("bpftool", "bpftool", &["version"]),
        ("Open vSwitch", "ovs-vswitchd", &["--version"]),
        ("testpmd", "dpkg-query", &["-W", "-f", "${Package} ${Version}\n", "dpdk-dev"]),
    ];
    Manifest {
        command: std::env::args().collect::<Vec<_>>().join(" "),
        started,
        finished: now(),
        commit: commit(),
        cpu: field("model name"),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        memory: memory(),
        hypervisor: cpuinfo.contains(" hypervisor"),
        kernel: first_line("uname", &["-srv"]),
        mitigations: mitigations(),
        governor: fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
            .map_or_else(|_| "not told by the host".into(), |g| g.trim().to_string()),
        driver: "veth, AF_XDP in copy mode",
        mtu: MTU,
        tools: tools.iter().map(|(name, program, words)| ((*name).to_string(), first_line(program, words))).collect(),
    }
}

fn commit() -> String {
    let dirty = !first_line("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
    first_line("git", &["rev-parse", "HEAD"]) + if dirty { ", with changes" } else { "" }
}

fn memory() -> String {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines().next().and_then(|l| l.split_once(':')).map(|(_, v)| v.trim().to_string()).unwrap_or_default()
}

fn mitigations() -> BTreeMap<String, String> {
    let room = "/sys/devices/system/cpu/vulnerabilities";
    let files = fs::read_dir(room).into_iter().flatten().flatten();
    let state = |entry: fs::DirEntry| {
        let told = fs::read_to_string(entry.path()).ok()?.trim().to_string();
        (told != "Not affected").then(|| (entry.file_name().to_string_lossy().into_owned(), told))
    };
    files.filter_map(state).collect()
}

/// The first line a program says; empty when it is not there.
fn first_line(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_string()
}
