//! Packets that arrive when they are due, whatever the worker does meanwhile.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use selvedge::port::{Backing, MemPort, MemRings, Pool, Umem};
use selvedge::tables::handover::Subscriber;
use selvedge::tables::hash::Keyed;
use selvedge::worker::{Settings, Side, Worker};

use super::churn::histogram;
use super::gateway::{ACCESS, NATIVE, UNDERLAY, frames::Ip, plain};
use super::stall::{Stalls, on_cpu};
use super::world::pod;

/// As the configuration has them unless told otherwise.
const BURST: usize = 128;
const CACHE: usize = 65_536;
const CHUNKS: u32 = 32_768;
/// Entries of the TX ring.
const TX: usize = 2_048;

/// The production worker and its wire.
pub(crate) struct Line {
    worker: Worker<MemPort>,
    frames: Vec<Vec<u8>>,
    next: usize,
    /// When each packet that waits in the RX ring was due.
    waiting: VecDeque<u64>,
    sent: u64,
    ring: usize,
    /// What counts as a stall.
    stall: Duration,
}

/// What became of packets.
pub(crate) struct Passed {
    pub(crate) arrived: u64,
    /// Found no room in the RX ring, or were dropped by the worker.
    pub(crate) lost: u64,
    /// Nanoseconds from when each was due until it had left.
    pub(crate) latency: Histogram<u64>,
    pub(crate) took: Duration,
    /// Turns that took so long, the arrivals before them included, that the machine must have stopped.
    pub(crate) stalls: Stalls,
    /// Of `took`, the time that the thread was not running.
    pub(crate) off_cpu: Duration,
}

impl Line {
    /// Packets of 64 bytes for `flows` pods, spread over all `pods`.
    pub(crate) fn new(subscriber: Subscriber, (flows, pods): (usize, usize), ring: usize, stall: Duration) -> Self {
        let pool = Pool::new(Umem::new(CHUNKS, 2048, Backing::Pages).expect("packet memory")).expect("its numbers");
        let port = |ring| {
            let mut port = MemPort::new(MemRings { rx: ring, tx: TX, fill: ring });
            port.count_only();
            port
        };
        // nothing arrives by the underlay
        let ports = vec![(port(64), Side::Underlay), (port(ring), Side::Access)];
        let settings = Settings { burst: BURST, cache_entries: CACHE, hasher: Keyed::default() };
        // no two neighbours in one /24, so that no prefetcher helps
        let frame = |n: usize| {
            let dst = pod((n as u64 * 0x9e37_79b1 % pods as u64) as usize).octets();
            plain(&Ip::udp(NATIVE, dst, (1024 + n as u16 % 50_000, 80), &[7; 18]))
        };
        let mut worker = Worker::new(ports, pool, subscriber, &settings);
        worker.turn();
        Self {
            worker,
            frames: (0..flows).map(frame).collect(),
            next: 0,
            waiting: VecDeque::with_capacity(ring),
            sent: 0,
            ring,
            stall,
        }
    }

    /// Packets a second when the ring is always full. (With no more than a burst in it, all packets would be in the
    /// processor's caches, and more could be offered than is worked off once the machine has stopped for a moment.)
    pub(crate) fn capacity(&mut self, time: Duration) -> f64 {
        let ring = self.ring as u64;
        let nothing = self.nothing();
        let passed = self.pass(time, nothing, |_, out, waiting| out + ring - waiting as u64, |_, now| now);
        (passed.arrived - passed.lost) as f64 / passed.took.as_secs_f64()
    }

    /// `rate` packets a second, each at its time.
    pub(crate) fn open_loop(&mut self, time: Duration, rate: f64, out: Passed) -> Passed {
        let (gap, per_nano) = (1e9 / rate, rate / 1e9);
        self.pass(time, out, |now, _, _| (now as f64 * per_nano) as u64, |n, _| (n as f64 * gap) as u64)
    }

    /// What becomes of no packets: to be had before anything is timed, for its memory takes a while to come.
    pub(crate) fn nothing(&self) -> Passed {
        let stalls = Stalls::longer_than(self.stall);
        Passed { arrived: 0, lost: 0, latency: histogram(), took: Duration::ZERO, stalls, off_cpu: Duration::ZERO }
    }

    /// `target` says how many packets have arrived by a time, where so many have arrived and so many of them wait; `due`
    /// when the n-th was due.
    fn pass(
        &mut self,
        time: Duration,
        mut out: Passed,
        target: impl Fn(u64, u64, usize) -> u64,
        due: impl Fn(u64, u64) -> u64,
    ) -> Passed {
        let drops = self.worker.stats().drops.total();
        let running = on_cpu();
        let (time, start) = (time.as_nanos() as u64, Instant::now());
        loop {
            let now = start.elapsed().as_nanos() as u64;
            out.stalls.look(now);
            if now >= time {
                break;
            }
            let until = target(now, out.arrived, self.waiting.len());
            while out.arrived < until {
                if self.arrive() {
                    self.waiting.push_back(due(out.arrived, now));
                } else {
                    out.lost += 1;
                }
                out.arrived += 1;
            }
            self.turn(start, &mut out);
        }
        out.took = start.elapsed();
        out.off_cpu = out.took.saturating_sub(on_cpu() - running);
        while !self.waiting.is_empty() && self.turn(start, &mut out) > 0 {}
        self.waiting.clear();
        out.lost += self.worker.stats().drops.total() - drops;
        out
    }

    fn arrive(&mut self) -> bool {
        let (pool, wire) = self.worker.wire(ACCESS);
        let in_time = wire.inject(pool, &self.frames[self.next]);
        self.next = if self.next + 1 == self.frames.len() { 0 } else { self.next + 1 };
        in_time
    }

    /// A turn of the worker, which sends in the order of arrival.
    fn turn(&mut self, start: Instant, out: &mut Passed) -> usize {
        let got = self.worker.turn();
        let now = start.elapsed().as_nanos() as u64;
        let sent = self.worker.wire(UNDERLAY).1.sent_count();
        for due in self.waiting.drain(..((sent - self.sent) as usize).min(self.waiting.len())) {
            out.latency.saturating_record(now.saturating_sub(due));
        }
        self.sent = sent;
        got
    }
}
