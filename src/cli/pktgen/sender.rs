//! The sending half: every packet has a time at which it should leave, whatever happened to those before it.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::payload::Stamp;
use super::profile::Builder;
use super::{Live, PktgenError, now};
use crate::port::{Backing, Burst, Options, Pool, Port, QueueSpec, RingSizes, Umem, XdpPort};
use crate::worker::latency::Histogram;

/// Frames handed to the kernel at once.
const BURST: usize = 64;
/// Packet memory: a full ring, twice.
const FRAMES: u32 = 4096;
/// Nothing is to be received here: the smallest fill ring there is.
const RINGS: RingSizes = RingSizes { rx: 64, tx: 2048, fill: 64, completion: 2048 };
/// How long before a packet's time sleeping ends and spinning begins.
const EARLY: u64 = 80_000;
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

/// How packets are distributed over flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Spread {
    /// Every flow is as likely as any other
    Uniform,
    /// Flow n is about 1/n as likely as the first (exponent 1)
    Zipf,
}

/// What the sender is to do.
pub(super) struct Job {
    pub(super) at: QueueSpec,
    pub(super) zero_copy: crate::port::ZeroCopy,
    pub(super) builder: Builder,
    pub(super) chunk: u16,
    pub(super) flows: u32,
    pub(super) spread: Spread,
    pub(super) rate: Rate,
    pub(super) seconds: u64,
    pub(super) stream: u32,
}

/// What it did.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// Packets whose time came.
    pub(super) offered: u64,
    /// Packets the kernel took and sent.
    pub(super) sent: u64,
    /// By flow.
    pub(super) by_flow: Vec<u64>,
    /// From the first packet's time to the moment the last one was handed over.
    pub(super) nanos: u64,
    /// How late packets were handed over: the generator's own part in the latency.
    pub(super) late: Histogram,
    /// The driver reads packet memory itself.
    pub(super) zero_copy: bool,
}

/// Chooses flows by a generator of its own (xorshift64*, Vigna 2014), so that runs repeat.
pub(super) struct Choice {
    state: u64,
    flows: u32,
    spread: Spread,
    log: f64,
}

impl Choice {
    pub(super) fn new(flows: u32, spread: Spread) -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, flows, spread, log: (f64::from(flows) + 1.0).ln() }
    }

    #[inline]
    pub(super) fn next(&mut self) -> u32 {
        if self.flows == 1 {
            return 0;
        }
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let random = (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32;
        match self.spread {
            Spread::Uniform => ((u64::from(random) * u64::from(self.flows)) >> 32) as u32,
            // the inverse of the distribution whose share of flow k is ln((k + 2) / (k + 1)) / ln(n + 1)
            Spread::Zipf => {
                let turn = f64::from(random) / f64::from(u32::MAX);
                (((turn * self.log).exp() - 1.0) as u32).min(self.flows - 1)
            }
        }
    }
}

/// The time of packet `n` after the first, in nanoseconds.
fn offset(n: u64, rate: u32) -> u64 {
    (u128::from(n) * 1_000_000_000 / u128::from(rate.max(1))) as u64
}

struct Line {
    pool: Pool,
    port: XdpPort,
    burst: Burst,
    choice: Choice,
    job: Job,
    by_flow: Vec<u64>,
    built: u64,
    taken: u64,
    late: Histogram,
}

/// Sends. Everything happens in the network namespace of the calling thread.
pub(super) fn run(job: Job, live: &Live) -> Result<Sent, PktgenError> {
    let memory = |e: io::Error| PktgenError::System("allocating packet memory", e);
    let mut pool = Pool::new(Umem::new(FRAMES, job.chunk, Backing::Pages).map_err(memory)?).map_err(memory)?;
    let options = Options { zero_copy: job.zero_copy, burst: BURST as u16, ..Options::default() };
    let port = XdpPort::open_all(&mut pool, &[job.at], &RINGS, options)?.pop();
    let port = port.ok_or_else(|| memory(io::ErrorKind::Unsupported.into()))?;
    let mut line = Line {
        pool,
        port,
        burst: Burst::new(BURST),
        choice: Choice::new(job.flows, job.spread),
        by_flow: vec![0; job.flows as usize],
        built: 0,
        taken: 0,
        late: Histogram::default(),
        job,
    };
    let start = now() + 1_000_000;
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
        let Some(mut frame) = self.pool.alloc_with(self.job.builder.template(self.built)) else { return false };
        let flow = self.choice.next();
        let Some(sequence) = self.by_flow.get_mut(flow as usize) else {
            self.pool.free(frame);
            return false;
        };
        let stamp = Stamp { stream: self.job.stream, flow, sequence: *sequence, intended };
        self.job.builder.finish(self.built, &stamp, self.pool.packet(&mut frame).bytes_mut());
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
        self.taken += self.port.tx(&mut self.pool, &mut self.burst) as u64;
        self.port.service(&mut self.pool);
        live.sent.store(self.taken, Ordering::Relaxed);
    }

    /// Packet *n* leaves at `start` + *n* / rate, or as soon after as it can.
    fn paced(&mut self, start: u64, rate: u32, live: &Live) {
        let count = u64::from(rate) * self.job.seconds;
        let stop = start + self.job.seconds * 1_000_000_000 + GRACE;
        while self.built < count {
            let mut time = now();
            if time > stop {
                break;
            }
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
                self.late.record(time - due, 1);
            }
            self.send(live);
        }
    }

    /// Waits for the next packet's time, or a part of it.
    fn pause(&mut self, nanos: u64, live: &Live) {
        if self.port.held().tx > 0 {
            self.send(live);
        } else if nanos > EARLY {
            std::thread::sleep(Duration::from_nanos(nanos - EARLY));
        } else {
            std::thread::yield_now();
        }
    }

    fn flat_out(&mut self, start: u64, live: &Live) {
        let stop = start + self.job.seconds * 1_000_000_000;
        loop {
            let time = now();
            if time >= stop {
                return;
            }
            while self.build(time) {}
            self.send(live);
        }
    }

    /// Sees the last frames off and closes the books. Frames that stay behind have not been sent.
    fn end(mut self, start: u64, live: &Live) -> Sent {
        let deadline = now() + LINGER;
        while (!self.burst.is_empty() || self.port.held().tx > 0) && now() < deadline {
            self.send(live);
        }
        let nanos = now().saturating_sub(start);
        let sent = self.taken - u64::from(self.port.held().tx) - self.port.refused();
        self.burst.free_into(&mut self.pool);
        let offered = match self.job.rate {
            Rate::Fixed(rate) => u64::from(rate) * self.job.seconds,
            Rate::Max => self.built,
        };
        let zero_copy = self.port.zero_copy();
        Sent { offered, sent, by_flow: self.by_flow, nanos, late: self.late, zero_copy }
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
        }
        assert_eq!(offset(3600 * 10_000_000, 10_000_000), 3_600_000_000_000);
    }

    #[test]
    fn flows_are_chosen_as_asked() {
        let count = |flows: u32, spread| {
            let (mut choice, mut counts) = (Choice::new(flows, spread), vec![0u32; flows as usize]);
            (0..100_000).for_each(|_| counts[choice.next() as usize] += 1);
            counts
        };
        assert_eq!(count(1, Spread::Zipf), [100_000]);
        assert!(count(10, Spread::Uniform).iter().all(|n| (9_500..10_500).contains(n)));
        let zipf = count(1000, Spread::Zipf);
        // ln 2, ln 3/2 and ln 11/10 of ln 1001
        for (flow, share) in [(0, 10_033), (1, 5_869), (9, 1_380)] {
            assert!(zipf[flow].abs_diff(share) < share / 10, "{flow}: {} of {share}", zipf[flow]);
        }
        assert!(zipf.iter().filter(|n| **n > 0).count() > 900);
    }
}
