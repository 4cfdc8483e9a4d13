//! A port in memory, for tests and benchmarks of a whole worker without sockets.
//!
//! It does with frames what a socket's rings do, one step a [`service`](Port::service) call, and stalls where it is
//! told to. Nothing in it is left to time or chance.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

mod long;

use long::Pieces;

use super::pool::{Burst, Frame, Pool};
use super::{Finishes, Held, Port, RingStats};
use crate::wire::Span;

/// Ring sizes of a [`MemPort`], in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemRings {
    /// Received and not yet taken.
    pub rx: usize,
    /// To be sent.
    pub tx: usize,
    /// Lent for receiving.
    pub fill: usize,
}

impl Default for MemRings {
    /// 256 of each.
    fn default() -> Self {
        Self { rx: 256, tx: 256, fill: 256 }
    }
}

/// What becomes of packets that are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sink {
    /// They are kept, for [`MemPort::sent`].
    Keep,
    /// They are counted.
    Count,
}

/// One queue of an interface that is not there.
#[derive(Debug)]
pub struct MemPort {
    rings: MemRings,
    fill: Burst,
    rx: Burst,
    /// In flight, then to be sent.
    tx: Burst,
    in_flight: usize,
    /// How many of those in flight complete in which service call, the soonest first.
    batches: VecDeque<(u64, usize)>,
    /// Service calls so far.
    calls: u64,
    sink: Sink,
    sent: Vec<Vec<u8>>,
    sent_count: u64,
    stalled: u32,
    completion_delay: u32,
    /// Packets every [`Port::rx`] repeats, and which one is next.
    feed: Vec<Vec<u8>>,
    next: usize,
    stats: RingStats,
    /// It finishes checksums, as a NIC would.
    finishes: Finishes,
    /// For packets in several chunks, if it has them: what its rings cannot say.
    pieces: Option<Pieces>,
}

impl MemPort {
    /// An idle port; its fill ring fills at the first [`service`](Port::service).
    pub fn new(rings: MemRings) -> Self {
        Self {
            rings,
            fill: Burst::new(rings.fill),
            rx: Burst::new(rings.rx),
            tx: Burst::new(rings.tx),
            in_flight: 0,
            batches: VecDeque::with_capacity(rings.tx), // each of one frame at least
            calls: 0,
            sink: Sink::Keep,
            sent: Vec::new(),
            sent_count: 0,
            stalled: 0,
            completion_delay: 0,
            feed: Vec::new(),
            next: 0,
            stats: RingStats::default(),
            finishes: Finishes::None,
            pieces: None,
        }
    }

    /// The port with packets in several chunks, as a socket bound with `XDP_USE_SG`. It does not [feed](Self::feed) such.
    #[must_use]
    pub fn multi_buffer(self) -> Self {
        Self { pieces: Some(Pieces::default()), ..self }
    }

    /// The port with a device that finishes such checksums, as it sends.
    #[must_use]
    pub fn finishing(self, finishes: Finishes) -> Self {
        Self { finishes, ..self }
    }

    /// As [`inject`](Self::inject), with only `headroom` bytes free in front of the packet (no kernel leaves fewer
    /// than [`HEADROOM`](super::HEADROOM)).
    pub fn inject_at(&mut self, pool: &mut Pool, headroom: u16, bytes: &[u8]) -> bool {
        if let Some(frame) = self.fill.front_mut() {
            frame.set_span(Span { head: headroom, len: 0 });
        }
        self.inject(pool, bytes)
    }

    /// Lets a packet arrive. False, and counted as the kernel counts it, when the fill ring has no frame for it, the
    /// RX ring no place, or a chunk no room.
    pub fn inject(&mut self, pool: &mut Pool, bytes: &[u8]) -> bool {
        if self.pieces.is_some() {
            return self.inject_long(pool, bytes);
        }
        if self.rx.room() == 0 {
            self.stats.rx_ring_full += 1;
            return false;
        }
        match receive(&mut self.fill, &mut self.stats, pool, bytes) {
            Some(frame) => self.rx.push(frame).is_ok(), // there is room
            None => false,
        }
    }

    /// Repeats these packets without end: each [`rx`](Port::rx) fills its burst with them as long as frames are in
    /// the fill ring. They are copied into chunks, and nothing is allocated. For benchmarks, with
    /// [`count_only`](Self::count_only).
    pub fn feed(&mut self, packets: Vec<Vec<u8>>) {
        self.feed = packets;
        self.next = 0;
    }

    /// Counts sent packets instead of keeping them.
    pub fn count_only(&mut self) {
        self.sink = Sink::Count;
    }

    /// Packets sent and kept, in order.
    pub fn sent(&self) -> &[Vec<u8>] {
        &self.sent
    }

    /// Takes the packets sent and kept so far.
    pub fn take_sent(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sent)
    }

    /// Packets sent, kept or not.
    pub fn sent_count(&self) -> u64 {
        self.sent_count
    }

    /// The next `calls` service calls send nothing, as a device whose queue is full.
    pub fn stall_tx(&mut self, calls: u32) {
        self.stalled = calls;
    }

    /// Completes each frame so many service calls after it was sent; 0 completes it in the same call.
    pub fn set_completion_delay(&mut self, calls: u32) {
        self.completion_delay = calls;
    }

    /// The next packet of the feed, as long as there is a frame for it.
    #[inline]
    fn fed(&mut self, pool: &mut Pool) -> Option<Frame> {
        let packet = self.feed.get(self.next)?;
        if self.fill.is_empty() {
            return None;
        }
        self.next += 1;
        if self.next == self.feed.len() {
            self.next = 0;
        }
        receive(&mut self.fill, &mut self.stats, pool, packet)
    }

    fn send(&mut self, pool: &Pool) {
        if self.stalled > 0 {
            self.stalled -= 1;
            return;
        }
        let sent = self.tx.len() - self.in_flight;
        if sent == 0 {
            return;
        }
        if self.pieces.is_some() {
            self.send_pieces(pool);
        } else {
            if self.sink == Sink::Keep {
                let frames = self.tx.frames_mut().skip(self.in_flight);
                self.sent.extend(frames.map(|frame| pool.packet(frame).bytes().to_vec()));
            }
            self.sent_count += sent as u64;
        }
        self.in_flight += sent;
        self.batches.push_back((self.calls + u64::from(self.completion_delay), sent));
    }

    /// Does what a frame leaves to the device, at once: nobody looks meanwhile. Says whether it can be sent then.
    #[cold]
    fn finish(&self, pool: &mut Pool, frame: &mut Frame) -> bool {
        let unfinished = pool.take_unfinished(frame);
        debug_assert!(unfinished.is_none() || self.finishes != Finishes::None, "it was left to nobody");
        if pool.sendable(frame) {
            unfinished.finish(pool.packet(frame).bytes_mut());
        }
        pool.sendable(frame)
    }

    fn complete(&mut self, pool: &mut Pool) {
        while let Some((_, frames)) = self.batches.pop_front_if(|(due, _)| *due <= self.calls) {
            self.in_flight -= frames;
            for _ in 0..frames {
                let Some(frame) = self.tx.pop_front() else { break };
                pool.free(frame);
            }
        }
    }
}

/// Copies a packet into the next frame lent for receiving, behind the head it has. `None`, and counted as the kernel
/// counts it, when there is none or it has no room.
#[inline]
fn receive(fill: &mut Burst, stats: &mut RingStats, pool: &mut Pool, bytes: &[u8]) -> Option<Frame> {
    let Some(frame) = fill.front_mut() else {
        stats.fill_ring_empty += 1;
        stats.rx_dropped += 1;
        return None;
    };
    let span = frame.span();
    frame.set_span(Span { len: bytes.len().min(usize::from(u16::MAX)) as u16, ..span });
    let mut packet = pool.packet(frame);
    let room = packet.bytes_mut();
    if room.len() == bytes.len() {
        room.copy_from_slice(bytes);
        return fill.pop_front();
    }
    frame.set_span(span);
    stats.rx_dropped += 1;
    None
}

impl Port for MemPort {
    #[inline]
    fn rx(&mut self, pool: &mut Pool, burst: &mut Burst) -> usize {
        if self.pieces.is_some() {
            return self.take_pieces(pool, burst);
        }
        let before = burst.len();
        for _ in 0..burst.room() {
            let Some(frame) = self.rx.pop_front().or_else(|| self.fed(pool)) else { break };
            if let Err(frame) = burst.push(frame) {
                pool.free(frame); // there is room: this cannot be
            }
        }
        burst.len() - before
    }

    #[inline]
    fn tx(&mut self, pool: &mut Pool, burst: &mut Burst) -> usize {
        if self.pieces.is_some() {
            return self.put_pieces(pool, burst);
        }
        let before = burst.len();
        while self.tx.room() > 0 {
            let Some(mut frame) = burst.pop_front() else { break };
            if !pool.sendable(&frame) && !self.finish(pool, &mut frame) {
                self.stats.tx_invalid += 1;
                pool.free(frame);
            } else if let Err(frame) = self.tx.push(frame) {
                pool.free(frame); // there is room: this cannot be
            }
        }
        before - burst.len()
    }

    #[inline]
    fn service(&mut self, pool: &mut Pool) {
        self.calls += 1;
        self.send(pool);
        self.complete(pool);
        for _ in self.fill.len() + self.rx.len()..self.rings.fill {
            let Some(frame) = pool.alloc() else { break };
            if let Err(frame) = self.fill.push(frame) {
                pool.free(frame); // there is room: this cannot be
            }
        }
    }

    fn finishes(&self) -> Finishes {
        self.finishes
    }

    fn held(&self) -> Held {
        let [rx, tx] = [self.fill.len() + self.rx.len(), self.tx.len()].map(|n| n as u32);
        Held { rx: rx + self.pieces.as_ref().map_or(0, Pieces::held), tx }
    }

    #[inline]
    fn unsent(&self) -> u32 {
        (self.tx.len() - self.in_flight) as u32
    }

    fn ring_stats(&self) -> RingStats {
        self.stats
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::umem::{Backing, Umem};
    use super::*;

    const RINGS: MemRings = MemRings { rx: 4, tx: 4, fill: 6 };

    fn parts(frames: u32) -> (Pool, MemPort, Burst) {
        let pool = Pool::new(Umem::new(frames, 2048, Backing::Pages).unwrap()).unwrap();
        let mut port = MemPort::new(RINGS);
        let mut pool = pool;
        port.service(&mut pool);
        (pool, port, Burst::new(8))
    }

    fn census(pool: &Pool, port: &MemPort, burst: &Burst) {
        let Held { rx, tx } = port.held();
        assert_eq!(pool.free_count() + rx + tx + burst.len() as u32, pool.total());
    }

    #[test]
    fn packets_pass_in_order_and_the_census_holds() {
        let (mut pool, mut port, mut burst) = parts(16);
        for i in 0..4u8 {
            assert!(port.inject(&mut pool, &[i; 60]));
        }
        assert!(!port.inject(&mut pool, &[4; 60]));
        assert_eq!(port.rx(&mut pool, &mut burst), 4);
        for frame in burst.frames_mut() {
            pool.packet(frame).prepend::<50>().unwrap().fill(0xee);
        }
        census(&pool, &port, &burst);
        assert_eq!(port.tx(&mut pool, &mut burst), 4);
        census(&pool, &port, &burst);
        port.service(&mut pool);
        census(&pool, &port, &burst);
        assert_eq!((port.held(), port.sent_count()), (Held { rx: 6, tx: 0 }, 4));
        let sent = port.take_sent();
        assert_eq!(sent[3], [&[0xee; 50][..], &[3; 60]].concat());
        assert_eq!(port.ring_stats(), RingStats { rx_ring_full: 1, ..RingStats::default() });
    }

    #[test]
    fn stalls_hold_frames_and_let_go() {
        let (mut pool, mut port, mut burst) = parts(16);
        port.stall_tx(2);
        port.set_completion_delay(1);
        for i in 0..6u8 {
            burst.push(pool.alloc_with(&[i; 60]).unwrap()).unwrap();
        }
        assert_eq!(port.tx(&mut pool, &mut burst), 4);
        let mut held = Vec::new();
        for _ in 0..4 {
            port.service(&mut pool);
            census(&pool, &port, &burst);
            held.push((port.held().tx, port.unsent(), port.sent().len()));
        }
        assert_eq!(held, [(4, 4, 0), (4, 4, 0), (4, 0, 4), (0, 0, 4)]);
        assert_eq!((port.tx(&mut pool, &mut burst), burst.len(), port.unsent()), (2, 0, 2));
    }

    #[test]
    fn completions_keep_their_order_and_their_delay() {
        let (mut pool, mut port, mut burst) = parts(16);
        let mut held = Vec::new();
        for delay in [3, 0, 1] {
            burst.push(pool.alloc_with(&[delay; 60]).unwrap()).unwrap();
            port.tx(&mut pool, &mut burst);
            port.set_completion_delay(delay.into());
            port.service(&mut pool);
            held.push((port.held().tx, port.unsent()));
        }
        for _ in 0..2 {
            port.service(&mut pool);
            held.push((port.held().tx, port.unsent()));
            census(&pool, &port, &burst);
        }
        // the second is done at once, but the first is in its way
        assert_eq!(held, [(1, 0), (2, 0), (3, 0), (0, 0), (0, 0)]);
        assert_eq!(port.sent().len(), 3);
    }

    #[test]
    fn an_empty_pool_shows_as_an_empty_fill_ring() {
        let (mut pool, mut port, mut burst) = parts(2);
        assert!(port.inject(&mut pool, &[0; 60]) && port.inject(&mut pool, &[0; 60]));
        assert!(!port.inject(&mut pool, &[0; 60]));
        assert_eq!(port.rx(&mut pool, &mut burst), 2);
        burst.free_into(&mut pool);
        port.service(&mut pool);
        assert!(!port.inject(&mut pool, &[0; 2048]));
        assert!(port.inject(&mut pool, &[0; 60]));
        assert_eq!(port.ring_stats(), RingStats { rx_dropped: 2, fill_ring_empty: 1, ..RingStats::default() });
    }

    #[test]
    fn a_feed_never_ends_and_empty_packets_never_leave() {
        let (mut pool, mut port, mut burst) = parts(16);
        port.feed(vec![vec![1; 60], vec![2; 60]]);
        port.count_only();
        for _ in 0..100 {
            assert!(port.rx(&mut pool, &mut burst) > 0);
            while !burst.is_empty() {
                port.tx(&mut pool, &mut burst);
                port.service(&mut pool);
            }
        }
        assert!(port.sent_count() > 400 && port.sent().is_empty());
        burst.push(pool.alloc().unwrap()).unwrap();
        assert_eq!((port.tx(&mut pool, &mut burst), port.held().tx), (1, 0));
        assert_eq!(port.ring_stats().tx_invalid, 1);
        census(&pool, &port, &burst);
    }
}
