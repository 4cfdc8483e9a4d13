//! The receiving half: every packet is judged, counted once, and held against those before it.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use hdrhistogram::Histogram as Hdr;

use super::check::{Expect, Judge, Seen};
use super::damage::DamageCounts;
use super::live::{Live, Window};
use super::sequence::{Flow, Tally};
use super::{PktgenError, histogram, now};
use crate::port::host::Interface;
use crate::port::{
    AttachMode, Backing, Burst, CatchCounters, Catching, Options, Pool, Port, QueueSpec, RingSizes, RingStats, Umem,
    Waiter, XdpPort, ZeroCopy,
};

const BURST: usize = 64;
/// Packet memory for each queue: a full ring and a full fill ring.
const FRAMES: u32 = 8192;
const RINGS: RingSizes = RingSizes { rx: 4096, tx: 64, fill: 4096, completion: 64 };
/// After the last packet was sent: how long silence must last when packets are missing, and when none is.
const PATIENCE: u64 = 500_000_000;
const AFTERGLOW: u64 = 50_000_000;

/// What the receiver is to do.
pub(super) struct Job {
    pub(super) interface: Interface,
    pub(super) expect: Expect,
    pub(super) mode: AttachMode,
    pub(super) zero_copy: ZeroCopy,
    pub(super) chunk: u16,
}

/// What it saw.
#[derive(Clone, Debug)]
pub(super) struct Received {
    /// Whole packets of this run.
    pub(super) tally: Tally,
    pub(super) flows: Vec<Flow>,
    /// Test packets that were not whole.
    pub(super) damage: DamageCounts,
    /// Packets that are none of this run's.
    pub(super) foreign: u64,
    /// Frames read from the RX rings.
    pub(super) read: u64,
    /// The sockets' own counters, all queues together.
    pub(super) rings: RingStats,
    /// The XDP program's counters.
    pub(super) xdp: CatchCounters,
    /// The fewest and the most routers that a packet has passed.
    pub(super) hops: Option<(u8, u8)>,
    /// From a packet's intended time to its receipt.
    pub(super) latency: Hdr<u64>,
    pub(super) zero_copy: bool,
}

impl Received {
    pub(super) fn new(flows: u32, zero_copy: bool) -> Result<Self, PktgenError> {
        Ok(Self {
            tally: Tally::default(),
            flows: vec![Flow::default(); flows as usize],
            damage: DamageCounts::default(),
            foreign: 0,
            read: 0,
            rings: RingStats::default(),
            xdp: CatchCounters::default(),
            hops: None,
            latency: histogram()?,
            zero_copy,
        })
    }
}

/// Sockets and the program that fills them. Made and used in the interface's namespace.
pub(super) struct Listener {
    // detached before the sockets close
    catching: Catching,
    ports: Vec<XdpPort>,
    pool: Pool,
    waiter: Waiter,
    judge: Judge,
    seen: Received,
    window: Window,
}

/// Opens the interface: what is sent from now on is seen.
pub(super) fn open(job: Job) -> Result<Listener, PktgenError> {
    let memory = |e: io::Error| PktgenError::System("allocating packet memory", e);
    let (index, queues) = (job.interface.index, job.interface.rx_queues());
    let umem = Umem::new(FRAMES * queues, job.chunk, Backing::Pages).map_err(memory)?;
    let mut pool = Pool::new(umem).map_err(memory)?;
    let specs: Vec<_> = (0..queues).map(|queue| QueueSpec::new(index, queue)).collect();
    let options = Options { zero_copy: job.zero_copy, ..Options::default() };
    let ports = XdpPort::open_all(&mut pool, &specs, &RINGS, options)?;
    let sockets: Vec<(u32, BorrowedFd<'_>)> = (0..queues).zip(ports.iter().map(XdpPort::socket)).collect();
    let seen = Received::new(job.expect.count, ports.iter().all(XdpPort::zero_copy))?;
    let waiter = Waiter::new().map_err(|e| PktgenError::System("making an eventfd", e))?;
    let catching = Catching::attach(index, job.mode, &job.expect.vteps, &job.expect.prefixes, &sockets)?;
    Ok(Listener { catching, ports, pool, waiter, judge: Judge::new(job.expect), seen, window: Window::new(now()) })
}

impl Listener {
    /// Receives until the sender is done and nothing more comes.
    pub(super) fn run(mut self, live: &Live) -> Result<Received, PktgenError> {
        let mut burst = Burst::new(BURST);
        let mut last = now();
        loop {
            let mut came = 0;
            for port in &mut self.ports {
                came += port.rx(&mut self.pool, &mut burst);
                port.service(&mut self.pool);
            }
            let time = now();
            self.window.publish_if_due(time, &live.latency);
            if came > 0 {
                last = time;
                self.take(&mut burst, time);
                self.tell(live);
                continue;
            }
            if live.over.load(Acquire) {
                let all = self.seen.tally.received >= live.sent.load(Relaxed);
                if time.saturating_sub(last) > if all { AFTERGLOW } else { PATIENCE } {
                    break;
                }
            } else if live.abandoned.load(Relaxed) {
                break;
            }
            let fds = self.ports.iter().filter_map(|p| p.fd());
            let waited = self.waiter.wait(fds, Some(Duration::from_millis(10)));
            waited.map_err(|e| PktgenError::System("waiting for packets", e))?;
        }
        self.close()
    }

    #[inline]
    fn take(&mut self, burst: &mut Burst, time: u64) {
        while let Some(mut frame) = burst.pop_front() {
            let seen = self.judge.judge(self.pool.packet(&mut frame).bytes());
            self.seen.take(seen, time, &mut self.window);
            self.seen.read += 1;
            self.pool.free(frame);
        }
    }

    fn tell(&self, live: &Live) {
        live.received.store(self.seen.tally.received, Relaxed);
        live.missing.store(self.seen.tally.missing, Relaxed);
        live.corrupt.store(self.seen.damage.total(), Relaxed);
    }

    /// Takes no more packets, and reads what others have counted.
    fn close(mut self) -> Result<Received, PktgenError> {
        self.catching.detach();
        let mut burst = Burst::new(BURST);
        while self.ports.iter_mut().map(|port| port.rx(&mut self.pool, &mut burst)).sum::<usize>() > 0 {
            self.take(&mut burst, now());
        }
        self.seen.xdp = self.catching.counters()?;
        for stats in self.ports.iter().map(Port::ring_stats) {
            self.seen.rings.rx_dropped += stats.rx_dropped;
            self.seen.rings.rx_ring_full += stats.rx_ring_full;
        }
        Ok(self.seen)
    }
}

impl Received {
    #[inline]
    fn take(&mut self, seen: Seen, time: u64, window: &mut Window) {
        match seen {
            Seen::Whole(stamp, hops) => match self.flows.get_mut(stamp.flow as usize) {
                Some(flow) => {
                    flow.note(stamp.sequence, &mut self.tally);
                    let nanos = time.saturating_sub(stamp.intended);
                    self.latency.saturating_record(nanos);
                    window.record(nanos);
                    self.hops = self.hops.map_or(Some((hops, hops)), |(a, b)| Some((a.min(hops), b.max(hops))));
                }
                None => self.damage.flow += 1,
            },
            Seen::Damaged(damage) => self.damage.note(damage),
            Seen::Foreign => self.foreign += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::damage::Damage;
    use super::super::payload::Stamp;
    use super::*;

    #[test]
    fn each_packet_is_counted_once() {
        let (mut seen, mut window) = (Received::new(2, false).unwrap(), Window::new(0));
        let stamp = Stamp { stream: 1, flow: 0, sequence: 5, intended: 1000 };
        for verdict in [
            Seen::Whole(stamp, 1),
            Seen::Whole(Stamp { sequence: 4, ..stamp }, 3),
            Seen::Whole(Stamp { flow: 2, ..stamp }, 1),
            Seen::Foreign,
            Seen::Damaged(Damage::Payload),
        ] {
            seen.take(verdict, 1500, &mut window);
        }
        assert_eq!((seen.tally.received, seen.tally.missing, seen.foreign), (2, 4, 1));
        assert_eq!((seen.damage.payload, seen.damage.flow, seen.damage.total()), (1, 1, 2));
        assert_eq!((seen.latency.len(), seen.latency.max(), seen.hops), (2, 500, Some((1, 3))));
    }
}
