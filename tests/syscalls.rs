//! System calls a packet of a worker under load, in copy mode over veth, counted by the kernel. A measurement, not a
//! test: `perf/syscalls` runs it and holds it to what was recorded.

#[path = "support/flood.rs"]
mod flood;
#[path = "support/netns.rs"]
mod netns;

use std::fs;

use netns::{Net, run_in};
use selvedge::lab::traffic::ping;

/// Floods along each journey, in turn.
const ROUNDS: usize = 5;
/// Calls counted each for itself.
const CALLS: [&str; 5] = ["sendto", "recvfrom", "poll", "ppoll", "getsockopt"];

/// The worker threads of a process, by the names they have.
fn workers(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|entry| entry.unwrap().path());
    let worker = |task: &std::path::PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("selvedge-w"))
    };
    tasks.filter(worker).map(|task| task.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

/// What `perf stat -x,` counted of an event.
fn counted(told: &str, event: &str) -> u64 {
    let line = told.lines().find(|l| l.split(',').nth(2) == Some(event));
    let count = line.and_then(|l| l.split(',').next()?.parse().ok());
    count.unwrap_or_else(|| panic!("perf did not count {event}:\n{told}"))
}

#[test]
#[ignore = "a measurement: perf/syscalls runs it"]
fn system_calls_of_a_worker_under_load() {
    let Some(mut net) = Net::running("syscalls") else { return };
    for pod in [&net.t.blue.nodes[0].pod, &net.t.green.nodes[0].pod] {
        assert!(ping(&net.t.native.ns, pod.address, 3, 1000).unwrap().complete());
    }
    let threads = workers(net.process().child().id());
    assert_eq!(threads.len(), 1, "one worker is expected: {threads:?}");
    let counts = net.room().join("perf");
    let single = CALLS.map(|call| format!("syscalls:sys_enter_{call}"));
    let events = format!("raw_syscalls:sys_enter,{}", single.join(","));
    let counting = format!("perf stat -x, -o {} -e {events} -t {} --", counts.display(), threads[0]);
    let ours = env!("CARGO_BIN_EXE_selvedge");
    for _ in 0..ROUNDS {
        for (name, words) in flood::ALL {
            let before = net.ledger().sum("selvedge_forwarded_packets_total", &[]);
            let load = format!("{ours} pktgen --json --seconds 1 --rate max --flows 1000 --copy {}", words(&net.t));
            run_in(&net.t.gateway, &format!("{counting} {load}").split_whitespace().collect::<Vec<_>>());
            let packets = net.ledger().sum("selvedge_forwarded_packets_total", &[]) - before;
            let told = fs::read_to_string(&counts).unwrap();
            let all = counted(&told, "raw_syscalls:sys_enter");
            assert!(packets > 10_000.0 && all > 0, "{name}: no load: {packets} packets, {all} calls");
            let each = CALLS.iter().zip(&single).map(|(call, event)| format!("{call} {}", counted(&told, event)));
            println!("{name}: {packets} packets, {all} calls: {}", each.collect::<Vec<_>>().join(", "));
        }
    }
    net.finish();
}
