//! What a worker counts, and how others get to see it.
//!
//! A worker counts in plain memory of its own. Now and then it copies all of it to a [`Board`], where any thread can
//! read it: no atomic read-modify-write, no lock, and nothing per packet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::latency::Histogram;
use crate::drops::Drops;
use crate::path::Journey;
use crate::port::{Held, RingStats};

/// One worker's share of one port.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PortStats {
    /// Frames received.
    pub rx: u64,
    /// Frames handed over for sending.
    pub tx: u64,
    /// The kernel's counters of the socket.
    pub rings: RingStats,
    /// Chunks the port holds.
    pub held: Held,
}

/// Everything a worker counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stats {
    /// By port.
    pub ports: Vec<PortStats>,
    /// Packets forwarded, by [`Journey`].
    pub journeys: [u64; Journey::ALL.len()],
    /// Packets answered.
    pub replied: u64,
    /// Packets dropped, by reason.
    pub drops: Drops,
    /// Packets whose transport checksum had to be finished.
    pub partial_checksums: u64,
    /// Packets whose transport checksum was left to the device by which they left.
    pub left_checksums: u64,
    /// TCP SYN segments whose maximum segment size was lowered.
    pub mss_clamped: u64,
    /// Frames that left beyond the first of a packet that was fragmented: frames sent = forwarded + answered + these.
    pub pieces: u64,
    /// Such frames that found no room in the TX ring.
    pub pieces_lost: u64,
    /// Turns in which something was received.
    pub bursts: u64,
    /// Chunks free.
    pub free: u64,
    /// Chunks altogether.
    pub total: u64,
    /// Version of the tables in use.
    pub epoch: u64,
    /// Nanoseconds from the burst's arrival to its hand-over for sending.
    pub latency: Histogram,
}

impl Stats {
    /// Nothing counted yet, on `ports` ports.
    pub fn new(ports: usize) -> Self {
        Self {
            ports: vec![PortStats::default(); ports],
            journeys: [0; Journey::ALL.len()],
            replied: 0,
            drops: Drops::default(),
            partial_checksums: 0,
            left_checksums: 0,
            mss_clamped: 0,
            pieces: 0,
            pieces_lost: 0,
            bursts: 0,
            free: 0,
            total: 0,
            epoch: 0,
            latency: Histogram::default(),
        }
    }

    /// Packets received on all ports.
    pub fn received(&self) -> u64 {
        self.ports.iter().map(|p| p.rx).sum()
    }

    /// Packets that left by one of the doors: forwarded, answered or dropped for a reason.
    pub fn accounted(&self) -> u64 {
        self.journeys.iter().sum::<u64>() + self.replied + self.drops.total()
    }

    /// Chunks that are somewhere: free or held by a port. Equal to `total` between turns.
    pub fn found(&self) -> u64 {
        self.free + self.ports.iter().map(|p| u64::from(p.held.rx) + u64::from(p.held.tx)).sum::<u64>()
    }

    /// Visits every number in a fixed order: the only place that knows how a board is laid out.
    fn words(&mut self, f: &mut impl FnMut(&mut u64)) {
        for p in &mut self.ports {
            let r = &mut p.rings;
            for w in [&mut p.rx, &mut p.tx, &mut r.rx_dropped, &mut r.rx_ring_full, &mut r.fill_ring_empty] {
                f(w);
            }
            for w in [&mut r.rx_invalid, &mut r.tx_invalid, &mut r.tx_ring_empty] {
                f(w);
            }
            for w in [&mut p.held.rx, &mut p.held.tx] {
                let mut wide = u64::from(*w);
                f(&mut wide);
                *w = wide as u32;
            }
        }
        self.journeys.iter_mut().for_each(&mut *f);
        self.drops.counts_mut().iter_mut().for_each(&mut *f);
        for w in [&mut self.replied, &mut self.partial_checksums, &mut self.left_checksums, &mut self.bursts] {
            f(w);
        }
        for w in [&mut self.mss_clamped, &mut self.pieces, &mut self.pieces_lost] {
            f(w);
        }
        for w in [&mut self.free, &mut self.total, &mut self.epoch] {
            f(w);
        }
        self.latency.buckets.iter_mut().for_each(&mut *f);
        f(&mut self.latency.sum);
        f(&mut self.latency.max);
    }
}

/// The place where one worker shows its numbers. One writer, any number of readers.
#[derive(Debug)]
pub struct Board {
    /// Odd while a copy is being written (a sequence lock: readers retry, the writer never waits).
    sequence: AtomicU64,
    words: Box<[AtomicU64]>,
    ports: usize,
}

impl Board {
    /// A board for a worker with `ports` ports.
    pub fn new(ports: usize) -> Arc<Self> {
        let mut count = 0;
        Stats::new(ports).words(&mut |_| count += 1);
        Arc::new(Self { sequence: AtomicU64::new(0), words: (0..count).map(|_| AtomicU64::new(0)).collect(), ports })
    }

    /// Shows `stats`. Only the worker that owns the board may call it.
    pub(super) fn write(&self, stats: &mut Stats) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release); // the odd number is seen before any word that follows it
        let mut words = self.words.iter();
        stats.words(&mut |w| {
            if let Some(word) = words.next() {
                word.store(*w, Ordering::Relaxed);
            }
        });
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// What was shown last, all of it from the same moment.
    pub fn read(&self) -> Stats {
        let mut stats = Stats::new(self.ports);
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            let mut words = self.words.iter();
            stats.words(&mut |w| *w = words.next().map_or(0, |word| word.load(Ordering::Relaxed)));
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == before {
                return stats;
            }
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::latency::BUCKETS;

    #[test]
    fn a_board_returns_what_was_written_word_by_word() {
        let board = Board::new(2);
        let mut stats = Stats::new(2);
        let mut n = 0;
        stats.words(&mut |w| {
            n += 1;
            *w = n;
        });
        assert!(n > BUCKETS as u64);
        board.write(&mut stats);
        assert_eq!(board.read(), stats);
        assert_eq!(stats.ports[1].rx, 11, "a port has ten numbers");
    }

    #[test]
    fn readers_never_see_half_a_copy() {
        let board = Board::new(1);
        let reader = board.clone();
        let handle = std::thread::spawn(move || {
            for _ in 0..500 {
                let s = reader.read();
                assert_eq!(s.ports[0].rx, s.latency.sum(), "first and last word are of one moment");
            }
        });
        let mut stats = Stats::new(1);
        while !handle.is_finished() {
            stats.ports[0].rx += 1;
            stats.latency.sum += 1;
            board.write(&mut stats);
            // a writer without a pause would starve the reader; the real one pauses for milliseconds
            std::thread::yield_now();
            (0..1000).for_each(|_| std::hint::spin_loop());
        }
        handle.join().unwrap();
    }
}
