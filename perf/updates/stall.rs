//! Times at which the machine did not run a loop that never waits.

use std::time::Duration;

/// What a loop notices of the machine: how far apart its iterations are. One that never waits for anything and does little at
/// a time cannot be late by itself; when it is, somebody else had its core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stalls {
    limit: u64,
    last: u64,
    /// Iterations that took longer than the limit.
    pub(crate) count: u64,
    /// Nanoseconds that the longest one took.
    pub(crate) worst: u64,
}

impl Stalls {
    /// Of a loop that begins now, at 0 ns.
    pub(crate) fn longer_than(limit: Duration) -> Self {
        Self { limit: limit.as_nanos() as u64, last: 0, count: 0, worst: 0 }
    }

    /// An iteration begins.
    pub(crate) fn look(&mut self, now: u64) {
        let took = now - self.last;
        self.last = now;
        self.worst = self.worst.max(took);
        self.count += u64::from(took > self.limit);
    }
}

/// Processor time this thread has had.
pub(crate) fn on_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
