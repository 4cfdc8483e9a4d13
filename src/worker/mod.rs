//! Floor 4: loops and reads the clock. One worker owns one queue of every port, and shares nothing.

pub mod duty;
pub mod idle;
pub mod latency;
mod long;
mod split;
pub mod stats;
mod tags;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use duty::{Class, Duty};
use idle::{Idle, Rest};
use stats::{Board, Stats};

use crate::drops::DropReason;
use crate::path::{Journey, Memory, Path, Scouted, Tick, Verdict};
use crate::port::host::{become_ordinary, become_realtime};
use crate::port::{Burst, Finishes, Frame, Pool, Port, Waiter};
use crate::tables::handover::Subscriber;
use crate::tables::hash::Keyed;
use crate::tables::{FlowCache, PortId};
use crate::wire::VlanTags;

/// The side of the gateway a port is on, which tells how its frames are read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// VXLAN packets between VTEPs.
    Underlay,
    /// Plain packets.
    Access,
}

/// Tells the time. Workers are the only ones to ask.
pub trait Clock {
    /// Now, on the monotonic clock.
    fn now(&self) -> Tick;
}

/// CLOCK_MONOTONIC, the timebase of `bpf_ktime_get_ns`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Monotonic;

impl Clock for Monotonic {
    #[inline]
    fn now(&self) -> Tick {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Tick(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
    }
}

/// How a worker is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Frames taken from a port at once.
    pub burst: usize,
    /// Flow cache entries.
    pub cache_entries: usize,
    /// Key of the flow cache's hash, drawn per boot.
    pub hasher: Keyed,
}

/// Nanoseconds between two copies of the counters to the board.
const PUBLISH_EVERY: u64 = 20_000_000;
/// Empty turns of a busy worker between two looks at the clock.
const CLOCK_EVERY: u32 = 4_096;
/// The longest sleep: numbers are shown and the kernel's counters read at least as often.
const NAP: Duration = Duration::from_millis(50);
/// The longest sleep while frames wait for a device that had no room for them.
const SHORT_NAP: Duration = Duration::from_millis(1);
/// Nanoseconds a stopped worker takes at most to send what it has.
const DRAIN_FOR: u64 = 200_000_000;
/// Turns with nothing to do after which it has sent all.
const DRAIN_TURNS: u32 = 64;

/// One thread's whole world.
#[derive(Debug)]
pub struct Worker<P, C = Monotonic> {
    lanes: Vec<Lane<P>>,
    pool: Pool,
    /// Where packets of several chunks lie in one piece, if that is needed.
    bench: long::Bench,
    received: Burst,
    /// What the first look found of each of them.
    scouted: Vec<Scouted>,
    subscriber: Subscriber,
    memory: Memory,
    stats: Stats,
    board: Arc<Board>,
    published: Tick,
    quiet: u32,
    duty: Duty,
    clock: C,
}

/// A port, its side, and what is to leave by it.
#[derive(Debug)]
struct Lane<P> {
    port: P,
    side: Side,
    /// What its frames have beside what the path sees of them.
    tags: VlanTags,
    leaving: Burst,
    /// As what each frame of `leaving` was counted: should it find no room, the count is taken back.
    doors: Vec<Door>,
}

/// By which door a packet leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Door {
    Forwarded(Journey),
    Replied,
    /// A further piece of a packet, of which the first is forwarded.
    Piece,
}

impl<P: Port> Lane<P> {
    /// Appends a frame; gives it back if there is no room.
    #[inline]
    fn leave(&mut self, frame: Frame, door: Door) -> Result<(), Frame> {
        self.leaving.push(frame)?;
        self.doors.push(door); // its room is that of `leaving`: it never grows
        Ok(())
    }
}

/// All by which frames leave.
#[derive(Debug)]
struct Exit<'w, P> {
    lanes: &'w mut [Lane<P>],
    pool: &'w mut Pool,
    stats: &'w mut Stats,
}

impl<P: Port> Exit<'_, P> {
    /// Hands over what is to leave. What finds no room even after completed frames were taken back is dropped: a
    /// router's queue has an end, and waiting for one port would stop the others.
    #[inline]
    fn transmit(&mut self) {
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            let mut sent = 0;
            if !lane.leaving.is_empty() {
                if !lane.tags.is_empty() {
                    lane.put_tags_on(self.pool, self.stats);
                }
                sent = lane.port.tx(self.pool, &mut lane.leaving);
            }
            lane.port.service(self.pool);
            if !lane.leaving.is_empty() {
                sent += lane.port.tx(self.pool, &mut lane.leaving);
                lane.leaving.free_into(self.pool);
                lane.doors.iter().skip(sent).for_each(|door| self.stats.stay(*door, DropReason::TxRingFull));
            }
            lane.doors.clear();
            if let Some(port) = self.stats.ports.get_mut(at) {
                port.tx += sent as u64;
            }
        }
    }
}

impl<P: Port> Worker<P> {
    /// A worker on one queue of each of `ports`, whose order is that of `PortId`.
    pub fn new(ports: Vec<(P, Side)>, pool: Pool, subscriber: Subscriber, settings: &Settings) -> Self {
        Self::with_clock(ports, pool, subscriber, settings, Monotonic)
    }
}

impl<P: Port, C: Clock> Worker<P, C> {
    /// As [`Worker::new`], with a clock of the caller's.
    pub fn with_clock(
        ports: Vec<(P, Side)>,
        pool: Pool,
        subscriber: Subscriber,
        settings: &Settings,
        clock: C,
    ) -> Self {
        let count = ports.len();
        // in one turn all that came in by every port may leave by one
        let room = settings.burst * count;
        let lane = |(port, side)| Lane {
            port,
            side,
            tags: VlanTags::NONE,
            leaving: Burst::new(room),
            doors: Vec::with_capacity(room),
        };
        let mut memory = Memory::new(FlowCache::new(settings.cache_entries, settings.hasher));
        for (at, (port, _)) in ports.iter().enumerate() {
            match port.finishes() {
                Finishes::None => {}
                Finishes::Plain => memory.finishers.add_plain(PortId(at as u8)),
                Finishes::All => memory.finishers.add(PortId(at as u8)),
            }
        }
        let mut worker = Self {
            lanes: ports.into_iter().map(lane).collect(),
            bench: long::Bench::new(&pool),
            pool,
            received: Burst::new(settings.burst),
            scouted: vec![Scouted::default(); settings.burst],
            subscriber,
            memory,
            stats: Stats::new(count),
            board: Board::new(count),
            published: Tick(0),
            quiet: 0,
            duty: Duty::ordinary(),
            clock,
        };
        worker.publish();
        worker
    }

    /// Where the worker shows its numbers.
    pub fn board(&self) -> Arc<Board> {
        self.board.clone()
    }

    /// The numbers as they are now.
    pub fn stats(&mut self) -> &Stats {
        self.take_stock();
        &self.stats
    }

    /// The frames of a port have these VLAN tags from now on, received and sent. Until then they have none.
    pub fn set_tags(&mut self, port: PortId, tags: VlanTags) {
        if let Some(lane) = self.lanes.get_mut(usize::from(port.0)) {
            lane.tags = tags;
        }
    }

    /// The pool and a port, for tests and benchmarks that play the wire.
    pub fn wire(&mut self, port: PortId) -> (&mut Pool, &mut P) {
        (&mut self.pool, &mut self.lanes[usize::from(port.0)].port)
    }

    /// One turn: takes new tables if there are any, one burst from each port, sends what is to be sent. Returns how
    /// many frames were received.
    #[inline]
    pub fn turn(&mut self) -> usize {
        self.subscriber.refresh();
        let mut start = None;
        let mut frames = 0;
        for at in 0..self.lanes.len() {
            let got = self.receive(at);
            if got > 0 {
                let now = *start.get_or_insert_with(|| self.clock.now());
                frames += got;
                self.process(at, now);
            }
        }
        self.transmit();
        match start {
            Some(start) => self.finish_burst(start, frames),
            None => self.publish_if_quiet(),
        }
        frames
    }

    #[inline]
    fn receive(&mut self, at: usize) -> usize {
        let Some(lane) = self.lanes.get_mut(at) else { return 0 };
        let got = lane.port.rx(&mut self.pool, &mut self.received);
        if let Some(port) = self.stats.ports.get_mut(at) {
            port.rx += got as u64;
        }
        if !lane.tags.is_empty() {
            tags::take_off(&lane.tags, &mut self.received, &mut self.pool, &mut self.stats.drops);
        }
        got
    }

    /// Decides about every frame received on port `at`.
    #[inline]
    fn process(&mut self, at: usize, now: Tick) {
        match self.lanes.get(at).map(|l| l.side) {
            Some(Side::Underlay) => self.process_from::<true>(at, now),
            Some(Side::Access) => self.process_from::<false>(at, now),
            None => {}
        }
    }

    /// Looks at every frame, then decides about each. A loop of one side has registers for what it needs.
    #[inline]
    fn process_from<const UNDERLAY: bool>(&mut self, at: usize, now: Tick) {
        if self.received.has_long() {
            return self.process_long::<UNDERLAY>(at, now);
        }
        let mut path = Path::new(self.subscriber.tables(), &mut self.memory, now);
        if path.looks_ahead() {
            let mut touched = 0;
            for frame in self.received.frames_mut() {
                let mut packet = self.pool.packet(frame);
                touched ^= if UNDERLAY { path.touch_inbound(&mut packet) } else { path.touch_outbound(&mut packet) };
            }
            core::hint::black_box(touched);
        }
        for (frame, scouted) in self.received.frames_mut().zip(&mut self.scouted) {
            let mut packet = self.pool.packet(frame);
            *scouted = if UNDERLAY { path.scout_inbound(&mut packet) } else { path.scout_outbound(&mut packet) };
        }
        if path.takes_notes() {
            for (frame, scouted) in self.received.frames_mut().zip(&self.scouted) {
                let mut packet = self.pool.packet(frame);
                match UNDERLAY {
                    true => path.note_inbound(&mut packet, *scouted),
                    false => path.note_outbound(&mut packet, *scouted),
                }
            }
            path.ask_noted();
        }
        let mut scouted = self.scouted.iter();
        while let Some(mut frame) = self.received.pop_front() {
            let scouted = scouted.next().copied().unwrap_or_default();
            let mut packet = self.pool.packet(&mut frame);
            let verdict = if UNDERLAY {
                path.decide_inbound(&mut packet, scouted)
            } else {
                path.decide_outbound(PortId(at as u8), &mut packet, scouted)
            };
            // what nearly all packets are is asked first and alone, which takes one comparison
            let (port, door) = if let Verdict::Send(port, journey) = verdict {
                (port, Door::Forwarded(journey))
            } else if let Verdict::Reply(port) = verdict {
                (port, Door::Replied)
            } else if let Verdict::SendUnfinished(port, journey) = verdict {
                self.pool.leave_unfinished(&mut frame, path.unfinished());
                (port, Door::Forwarded(journey))
            } else {
                match verdict {
                    Verdict::Split(port, journey) => {
                        let mut exit = Exit { lanes: &mut self.lanes, pool: &mut self.pool, stats: &mut self.stats };
                        exit.split(&path, frame, port, journey);
                    }
                    Verdict::Drop(reason) => {
                        self.stats.drops.count(reason);
                        self.pool.free(frame);
                    }
                    // asked before
                    Verdict::Send(..) | Verdict::Reply(_) | Verdict::SendUnfinished(..) => self.pool.free(frame),
                }
                continue;
            };
            self.stats.leave(door);
            let refused = match self.lanes.get_mut(usize::from(port.0)) {
                Some(lane) => lane.leave(frame, door).err(),
                None => {
                    debug_assert!(false, "tables name a port that does not exist: {port:?}");
                    Some(frame)
                }
            };
            if let Some(frame) = refused {
                self.stats.stay(door, DropReason::TxRingFull);
                self.pool.free(frame);
            }
        }
    }

    #[inline]
    fn transmit(&mut self) {
        Exit { lanes: &mut self.lanes, pool: &mut self.pool, stats: &mut self.stats }.transmit();
    }

    #[inline]
    fn finish_burst(&mut self, start: Tick, frames: usize) {
        let end = self.clock.now();
        self.stats.bursts += 1;
        self.stats.latency.record(end.since(start), frames as u64);
        if end.since(self.published) > PUBLISH_EVERY {
            self.publish_at(end);
        }
        self.take_duty(end);
    }

    /// Changes the thread's class when its turn is over.
    #[inline]
    fn take_duty(&mut self, now: Tick) {
        if let Some(class) = self.duty.next(now) {
            change_class(class);
        }
    }

    /// A busy worker shows its numbers when idle, too, without reading the clock on every empty turn.
    #[inline]
    fn publish_if_quiet(&mut self) {
        self.quiet = self.quiet.wrapping_add(1);
        if self.quiet.is_multiple_of(CLOCK_EVERY) {
            let now = self.clock.now();
            if now.since(self.published) > PUBLISH_EVERY {
                self.publish_at(now);
            }
            self.take_duty(now);
        }
    }

    /// Lets a worker that its thread has made real-time give way now and then. To be called in that thread.
    pub fn set_duty(&mut self, duty: Duty) {
        self.duty = duty;
    }

    /// Shows all numbers now.
    pub fn publish(&mut self) {
        let now = self.clock.now();
        self.publish_at(now);
    }

    #[cold]
    fn publish_at(&mut self, now: Tick) {
        self.published = now;
        self.take_stock();
        self.board.write(&mut self.stats);
    }

    /// Turns until `stop` is set, resting as `idle` says; then until all that was received has left, for at most
    /// 200 ms. `waiter` is what an adaptive worker sleeps on.
    pub fn run(&mut self, mut idle: Idle, waiter: &mut Waiter, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let frames = self.turn();
            match idle.after(frames) {
                Rest::None => {}
                Rest::Spin => core::hint::spin_loop(),
                Rest::Sleep => self.sleep(waiter),
            }
        }
        let deadline = self.clock.now().0 + DRAIN_FOR;
        let mut empty = 0;
        while empty < DRAIN_TURNS && self.clock.now().0 < deadline {
            let busy = self.turn() > 0 || self.lanes.iter().any(|l| l.port.held().tx > 0);
            empty = if busy { 0 } else { empty + 1 };
        }
        self.publish();
    }

    /// Sleeps until something arrives. Numbers not shown yet are shown before, or by a wake-up soon.
    #[cold]
    fn sleep(&mut self, waiter: &mut Waiter) {
        let now = self.clock.now();
        if now.since(self.published) > PUBLISH_EVERY {
            self.publish_at(now);
        }
        let fds = self.lanes.iter().filter_map(|l| l.port.fd());
        // nothing but another kick gets frames going that a device had no room for
        let nap = if self.lanes.iter().any(|l| l.port.unsent() > 0) { SHORT_NAP } else { NAP };
        // poll(2) fails only when memory is short; then the worker spins a round more
        let _ = waiter.wait(fds, Some(nap));
        self.duty.slept(now, self.clock.now());
    }

    fn take_stock(&mut self) {
        self.stats.partial_checksums = self.memory.partial_checksums;
        self.stats.left_checksums = self.memory.left_checksums;
        self.stats.mss_clamped = self.memory.mss_clamped;
        self.stats.free = u64::from(self.pool.free_count());
        self.stats.total = u64::from(self.pool.total());
        self.stats.epoch = u64::from(self.subscriber.tables().epoch());
        for (lane, stats) in self.lanes.iter().zip(&mut self.stats.ports) {
            stats.rings = lane.port.ring_stats();
            stats.held = lane.port.held();
        }
    }
}

#[cold]
#[inline(never)]
fn change_class(class: Class) {
    // a change that fails is tried again when the next is due; meanwhile the thread is what it was
    let _ = match class {
        Class::RealTime => become_realtime(),
        Class::Ordinary => become_ordinary(),
    };
}

impl Stats {
    /// Counts a packet by the door it leaves by.
    #[inline]
    fn leave(&mut self, door: Door) {
        match door {
            Door::Forwarded(journey) => self.journeys[journey as usize] += 1,
            Door::Replied => self.replied += 1,
            Door::Piece => self.pieces += 1,
        }
    }

    /// Takes such a count back: the packet did not get through the door.
    #[cold]
    fn stay(&mut self, door: Door, why: DropReason) {
        match door {
            Door::Forwarded(journey) => self.journeys[journey as usize] -= 1,
            Door::Replied => self.replied -= 1,
            Door::Piece => {
                // its packet has been counted by another door
                self.pieces -= 1;
                self.pieces_lost += 1;
                return;
            }
        }
        self.drops.count(why);
    }
}
