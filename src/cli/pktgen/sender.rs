//! The sending half: every packet has a time at which it should leave, whatever happened to those before it.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hdrhistogram::Histogram as Hdr;

use super::choice::Choice;
use super::frame::Builder;
use super::live::{Live, Window};
use super::payload::Stamp;
use super::{PktgenError, histogram, now};
use crate::port::{Backing, Burst, Options, Pool, Port, QueueSpec, RingSizes, Umem, XdpPort};

/// Frames handed to the kernel at once.
const BURST: usize = 64;
/// Packet memory: a full ring, twice.
const FRAMES: u32 = 4096;
/// Nothing is to be received here: the smallest fill ring there is.
const RINGS: RingSizes = RingSizes { rx: 64, tx: 2048, fill: 64, completion: 2048 };
/// How long before a packet's time sleeping ends and spinning begins.
const EARLY: u64 = 80_000;
/// The longest sleep: how soon a wish to end is noticed.
const NAP: u64 = 50_000_000;
/// How long after the end a rate run may go on with what is late.
const GRACE: u64 = 1_000_000_000;
/// How long the kernel may take to send the last frames.
const LINGER: u64 = 1_000_000_000;

/// How fast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rate {
    /// Packets a second, open loop.
    Fixed(u32),
    /// As fast as it goes.
    Max,
}

/// What the sender is to do.
pub(super) struct Job {
    pub(super) at: QueueSpec,
    pub(super) zero_copy: crate::port::ZeroCopy,
    pub(super) builder: Builder,
    pub(super) choice: Choice,
    pub(super) chunk: u16,
    pub(super) flows: u32,
    pub(super) rate: Rate,
    pub(super) seconds: u64,
    pub(super) stream: u32,
}

/// What it did.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// Packets whose time came.
    pub(super) offered: u64,
    /// Frames the TX ring accepted.
    pub(super) accepted: u64,
    /// Frames the kernel has given back as sent.
    pub(super) completed: u64,
    /// Frames the kernel found invalid.
    pub(super) invalid: u64,
    /// Accepted frames by flow.
    pub(super) by_flow: Vec<u64>,
    /// From the first packet's time to the moment the last one was handed over.
    pub(super) nanos: u64,
    /// How late packets were handed over: the generator's own part in the latency.
    pub(super) late: Hdr<u64>,
    /// The driver reads packet memory itself.
    pub(super) zero_copy: bool,
    /// It ended before its time.
    pub(super) interrupted: bool,
}

/// The time of packet `n` after the first, in nanoseconds.
fn offset(n: u64, rate: u32) -> u64 {
    (u128::from(n) * 1_000_000_000 / u128::from(rate.max(1))) as u64
}

/// Packets whose time comes within `nanos`, of which the first one's is at 0.
fn due(nanos: u64, rate: u32) -> u64 {
    (u128::from(nanos) * u128::from(rate) / 1_000_000_000) as u64 + 1
}

struct Line {
    pool: Pool,
    port: XdpPort,
    burst: Burst,
    job: Job,
    by_flow: Vec<u64>,
    built: u64,
    accepted: u64,
    late: Hdr<u64>,
    window: Window,
}

/// Sends. Everything happens in the network namespace of the calling thread.
pub(super) fn run(job: Job, live: &Live) -> Result<Sent, PktgenError> {
    let memory = |e: io::Error| PktgenError::System("allocating packet memory", e);
    let mut pool = Pool::new(Umem::new(FRAMES, job.chunk, Backing::Pages).map_err(memory)?).map_err(memory)?;
    let options = Options { zero_copy: job.zero_copy, burst: BURST as u16, ..Options::default() };
    let port = XdpPort::open_all(&mut pool, &[job.at], &RINGS, options)?.pop();
    let port = port.ok_or_else(|| memory(io::ErrorKind::Unsupported.into()))?;
    let start = now() + 1_000_000;
    let mut line = Line {
        pool,
        port,
        burst: Burst::new(BURST),
        by_flow: vec![0; job.flows as usize],
        built: 0,
        accepted: 0,
        late: histogram()?,
        window: Window::new(start),
        job,
    };
    match line.job.rate {
        Rate::Fixed(rate) => line.paced(start, rate, live),
        Rate::Max => line.flat_out(start, live),
    }
    Ok(line.end(start, live))
}

impl Line {
    /// Builds the next packet, whose time is `intended`. False when there is no room or no memory for it.
    #[inline]
    fn build(&mut self, intended: u64) -> bool {
        if self.burst.room() == 0 {
            return false;
        }
        let length = self.job.choice.length();
        let Some(mut frame) = self.pool.alloc_with(self.job.builder.template(length)) else { return false };
        let flow = self.job.choice.flow();
        let Some(sequence) = self.by_flow.get_mut(flow as usize) else {
            self.pool.free(frame);
            return false;
        };
        let stamp = Stamp { stream: self.job.stream, flow, sequence: *sequence, intended };
        self.job.builder.finish(length, &stamp, self.pool.packet(&mut frame).bytes_mut());
        match self.burst.push(frame) {
            Ok(()) => {
                *sequence += 1;
                self.built += 1;
                true
            }
            Err(frame) => {
                self.pool.free(frame);
                false
            }
        }
    }

    #[inline]
    fn send(&mut self, live: &Live) {
        self.accepted += self.port.tx(&mut self.pool, &mut self.burst) as u64;
        self.port.service(&mut self.pool);
        live.sent.store(self.accepted, Relaxed);
    }

    /// Packet *n* leaves at `start` + *n* / rate, or as soon after as it can.
    fn paced(&mut self, start: u64, rate: u32, live: &Live) {
        let count = u64::from(rate) * self.job.seconds;
        let stop = start + self.job.seconds * 1_000_000_000 + GRACE;
        while self.built < count && !live.stop.load(Relaxed) {
            let mut time = now();
            if time > stop {
                break;
            }
            self.window.publish_if_due(time, &live.late);
            let due = start + offset(self.built, rate);
            if time < due && self.burst.is_empty() {
                self.pause(due - time, live);
                time = now();
            }
            while self.built < count {
                let due = start + offset(self.built, rate);
                if due > time || !self.build(due) {
                    break;
                }
                self.late.saturating_record(time - due);
                self.window.record(time - due);
            }
            self.send(live);
        }
    }

    /// Waits for the next packet's time, or a part of it.
    fn pause(&mut self, nanos: u64, live: &Live) {
        if self.port.held().tx > 0 {
            self.send(live);
        } else if nanos > EARLY {
            std::thread::sleep(Duration::from_nanos((nanos - EARLY).min(NAP)));
        } else {
            std::thread::yield_now();
        }
    }

    fn flat_out(&mut self, start: u64, live: &Live) {
        let stop = start + self.job.seconds * 1_000_000_000;
        loop {
            let time = now();
            if time >= stop || live.stop.load(Relaxed) {
                return;
            }
            while self.build(time) {}
            self.send(live);
        }
    }

    /// Sees the last frames off and closes the books.
    fn end(mut self, start: u64, live: &Live) -> Sent {
        let ended = now();
        let deadline = ended + LINGER;
        while (!self.burst.is_empty() || self.port.held().tx > 0) && now() < deadline {
            self.send(live);
        }
        let nanos = now().saturating_sub(start);
        self.take_back();
        let whole = match self.job.rate {
            Rate::Fixed(rate) => u64::from(rate) * self.job.seconds,
            Rate::Max => self.built,
        };
        let interrupted = live.stop.load(Relaxed) && ended < start + self.job.seconds * 1_000_000_000;
        let offered = match self.job.rate {
            Rate::Fixed(rate) if interrupted => due(ended.saturating_sub(start), rate).min(whole),
            _ => whole,
        };
        Sent {
            offered,
            accepted: self.accepted,
            completed: self.accepted - u64::from(self.port.held().tx) - self.port.refused(),
            invalid: self.port.ring_stats().tx_invalid + self.port.refused(),
            by_flow: self.by_flow,
            nanos,
            late: self.late,
            zero_copy: self.port.zero_copy(),
            interrupted,
        }
    }

    /// Frames that were built and that the ring never accepted were not sent: they stand at the ends of their flows.
    fn take_back(&mut self) {
        while let Some(mut frame) = self.burst.pop_front() {
            let at = self.job.builder.payload_at();
            let stamp = self.pool.packet(&mut frame).bytes().get(at..).map(Stamp::read);
            if let Some(Ok(stamp)) = stamp
                && let Some(count) = self.by_flow.get_mut(stamp.flow as usize)
            {
                *count -= 1;
            }
            self.pool.free(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_their_times_without_drift() {
        for (n, rate, want) in
            [(0, 3, 0), (1, 3, 333_333_333), (3, 3, 1_000_000_000), (7_000_000, 7_000_000, 1_000_000_000)]
        {
            assert_eq!(offset(n, rate), want, "{n} at {rate}");
            assert_eq!((due(want, rate), due(want + 1, rate)), if n == 1 { (1, 2) } else { (n + 1, n + 1) });
        }
        assert_eq!(offset(3600 * 10_000_000, 10_000_000), 3_600_000_000_000);
    }
}
