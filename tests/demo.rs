//! The README's first command, as a user runs it: it ends well and leaves nothing behind.

#[path = "support/root.rs"]
mod root;

use std::fs;
use std::process::{Child, Command, Output, Stdio};

use root::root;

/// Begins a demonstration without a terminal.
fn begin(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge"));
    command.args(["demo", "--plain"]).args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for its end, after which nothing of it may be left: how it ended, what it said and what it complained of.
fn end(demo: Child) -> (Output, String, String) {
    let id = demo.id();
    let output = demo.wait_with_output().unwrap();
    let [said, complained] = [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b).into_owned());
    assert_eq!(left(id), [""; 0], "{said}\n{complained}");
    (output, said, complained)
}

/// What is left of a demonstration: namespaces, directories, and processes that were started with any of them.
fn left(id: u32) -> Vec<String> {
    let (namespaces, directory) = (format!("selv-demo-{id}"), format!("selvedge-demo-{id}"));
    let rooms = ["/run/netns".into(), "/run".into(), std::env::temp_dir()];
    let entries = rooms.iter().flat_map(fs::read_dir).flatten().flatten();
    let names = entries.filter_map(|e| e.file_name().into_string().ok());
    let mut left: Vec<String> = names.filter(|n| n.starts_with(&namespaces) || n == &directory).collect();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        left.extend(words.contains(&directory).then_some(words));
    }
    left
}

#[test]
fn the_demonstration_carries_everything_and_leaves_nothing() {
    if !root() {
        return;
    }
    let (output, said, complained) = end(begin(&["--seconds", "3"]));
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("all journeys carried everything they were given"), "{said}");
}

#[cfg(feature = "etcd")]
mod etcd {
    use std::io::Read;

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    /// What has to be said, in this order, whatever the times.
    const EVENTS: [&str; 14] = [
        "etcd ready (process ",
        "no node is told of the gateway",
        "pods of both clusters and the native host reach each other ",
        "in blue: 10.245.0.0/16, 10.9.0.0/24; in green: 10.244.1.0/24, 10.244.2.0/24",
        "green1 joins: packets to its pod arrive ",
        "green1 moves to 192.0.2.31: packets arrive again ",
        "etcd is killed (SIGKILL to process ",
        "green1 moves to 192.0.2.41, and cannot tell",
        " packets arrived on the journeys, ",
        "etcd is back, and green1 tells: packets to its pod arrive ",
        "green1 leaves: the last packet arrives ",
        "$ selvedge show sources\nblue-etcd (overlay blue): in step",
        "said by green-etcd (subnets/10.245.2.0-24), preference 100: decides",
        "the gateway has ended, and taken its keys back\nall journeys carried everything they were given",
    ];

    #[test]
    fn the_map_of_etcd_is_followed_and_etcd_is_not_missed() {
        if !root() {
            return;
        }
        let (output, said, complained) = end(begin(&["--source", "etcd", "--seconds", "2"]));
        assert!(output.status.success(), "{said}\n{complained}");
        let mut rest = said.as_str();
        for event in EVENTS {
            let Some((_, after)) = rest.split_once(event) else { panic!("no `{event}`, or not in order, in\n{said}") };
            rest = after;
        }
    }

    #[test]
    fn who_interrupts_it_finds_nothing_left() {
        if !root() {
            return;
        }
        let mut demo = begin(&["--source", "etcd", "--seconds", "600"]);
        let (mut out, mut said) = (demo.stdout.take().unwrap(), String::new());
        while !said.contains("gateway ready") {
            let mut some = [0; 4096];
            let length = out.read(&mut some).unwrap();
            assert!(length > 0, "it ended too early:\n{said}");
            said.push_str(&String::from_utf8_lossy(&some[..length]));
        }
        kill_process(Pid::from_child(&demo), Signal::INT).unwrap();
        let (output, _, complained) = end(demo);
        assert_eq!(output.status.code(), Some(1), "{complained}");
        assert!(complained.contains("interrupted; everything the demonstration made has been removed"), "{complained}");
    }

    #[test]
    fn without_etcd_it_says_which_package_has_it() {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge"));
        let output = command.args(["demo", "--source", "etcd"]).env("PATH", "/nonexistent").output().unwrap();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && complained.contains("Debian package etcd-server"), "{complained}");
    }
}
