//! System calls of a process while something goes on, counted by the kernel's tracepoint through `perf stat`.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A count under way.
pub(crate) struct Counting(Child);

/// Starts to count; `None` where `perf` is not to be had.
pub(crate) fn count(process: u32) -> Option<Counting> {
    let mut command = Command::new("perf");
    command.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &process.to_string()]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
    // perf opens its events before it can be interrupted
    std::thread::sleep(Duration::from_millis(300));
    Some(Counting(child))
}

impl Counting {
    /// Ends the count. `None` when perf could not count.
    pub(crate) fn finish(mut self) -> Option<u64> {
        kill_process(Pid::from_child(&self.0), Signal::INT).ok()?;
        let mut told = String::new();
        self.0.stderr.take()?.read_to_string(&mut told).ok()?;
        let _ = self.0.wait();
        told.lines().find(|l| l.contains("raw_syscalls"))?.split(',').next()?.parse().ok()
    }
}
