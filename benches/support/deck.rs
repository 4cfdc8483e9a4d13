//! Frames in production packet memory, laid anew before every pass.

use super::gateway::ACCESS;
use super::traffic::Traffic;
use selvedge::path::{Memory, Path, Scouted, Tick, Verdict};
use selvedge::port::{Backing, Frame, HEADROOM, Pool, Umem};
use selvedge::tables::{PortId, Tables};
use selvedge::wire::Span;

/// One worker's packet memory, all of it received frames.
#[derive(Debug)]
pub(crate) struct Deck {
    pool: Pool,
    frames: Vec<Frame>,
}

/// What became of packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) replied: u64,
    pub(crate) dropped: u64,
}

impl Tally {
    #[inline]
    fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Send(..) | Verdict::Split(..) => self.sent += 1,
            Verdict::Reply(..) => self.replied += 1,
            Verdict::Drop(..) => self.dropped += 1,
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.sent + self.replied + self.dropped
    }
}

impl Deck {
    /// `chunks` chunks of 2 KiB.
    pub(crate) fn new(chunks: u32) -> Self {
        let mut pool = Pool::new(Umem::new(chunks, 2048, Backing::Pages).unwrap()).unwrap();
        let frames = (0..chunks).map(|_| pool.alloc().unwrap()).collect();
        Self { pool, frames }
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Lays frames `from`, `from` + 1, … of the traffic into the first `many` chunks, as the kernel would.
    pub(crate) fn lay(&mut self, traffic: &Traffic, from: usize, many: usize) {
        for (n, frame) in self.frames.iter_mut().take(many).enumerate() {
            let bytes = traffic.frame(from + n);
            frame.set_span(Span { head: HEADROOM, len: bytes.len() as u16 });
            self.pool.packet(frame).bytes_mut().copy_from_slice(bytes);
        }
    }

    /// Puts the first `many` frames through the path, `burst` at a time.
    #[inline]
    pub(crate) fn pass(&mut self, way: &mut Way<'_>, many: usize, burst: usize) -> Tally {
        let mut tally = Tally::default();
        for frames in self.frames[..many].chunks_mut(burst) {
            way.decide(&self.pool, frames, &mut tally);
        }
        tally
    }
}

/// Tables, memory and side: what a burst is decided with.
pub(crate) struct Way<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) memory: &'a mut Memory,
    pub(crate) port: PortId,
    /// What the first look found; as long as a burst.
    pub(crate) scouted: &'a mut [Scouted],
}

impl Way<'_> {
    /// As [`selvedge::worker::Worker`] does it. The only place of the benches that knows how.
    #[inline]
    fn decide(&mut self, pool: &Pool, frames: &mut [Frame], tally: &mut Tally) {
        match self.port {
            ACCESS => self.decide_from::<false>(pool, frames, tally),
            _ => self.decide_from::<true>(pool, frames, tally),
        }
    }

    #[inline]
    fn decide_from<const UNDERLAY: bool>(&mut self, pool: &Pool, frames: &mut [Frame], tally: &mut Tally) {
        let mut path = Path::new(self.tables, self.memory, Tick(1));
        if path.looks_ahead() {
            let mut touched = 0;
            for frame in frames.iter_mut() {
                let mut packet = pool.packet(frame);
                touched ^= if UNDERLAY { path.touch_inbound(&mut packet) } else { path.touch_outbound(&mut packet) };
            }
            std::hint::black_box(touched);
        }
        for (frame, scouted) in frames.iter_mut().zip(self.scouted.iter_mut()) {
            let mut packet = pool.packet(frame);
            *scouted = if UNDERLAY { path.scout_inbound(&mut packet) } else { path.scout_outbound(&mut packet) };
        }
        if path.takes_notes() {
            for (frame, scouted) in frames.iter_mut().zip(self.scouted.iter()) {
                let mut packet = pool.packet(frame);
                match UNDERLAY {
                    true => path.note_inbound(&mut packet, *scouted),
                    false => path.note_outbound(&mut packet, *scouted),
                }
            }
            path.ask_noted();
        }
        for (frame, scouted) in frames.iter_mut().zip(self.scouted.iter()) {
            let mut packet = pool.packet(frame);
            let verdict = if UNDERLAY {
                path.decide_inbound(&mut packet, *scouted)
            } else {
                path.decide_outbound(self.port, &mut packet, *scouted)
            };
            tally.count(verdict);
        }
    }
}
