//! Bursts with packets of several chunks: decided one by one.
//!
//! Of a plain packet no more is needed than its headers, and it stays where it lies, unless a sum over all of it is asked
//! for. What goes the careful way, which may read any byte, is copied into one piece; and back as far as it is changed,
//! which is its headers alone if it is forwarded.

use super::{Door, Exit, Lane, Worker};
use crate::drops::DropReason;
use crate::path::{Journey, Path, Tick, Verdict};
use crate::port::{Frame, HEADROOM, LONGEST, Pool, Port};
use crate::tables::PortId;
use crate::wire::{Packet, Span};

/// Room for a packet in one piece, and for a fragment of it.
#[derive(Debug)]
pub(super) struct Bench {
    whole: Box<[u8]>,
    fragment: Box<[u8]>,
}

impl Bench {
    /// Room for the longest packet, wherever in its first chunk it begins.
    pub(super) fn new(pool: &Pool) -> Self {
        let room = || vec![0; usize::from(pool.chunk_size()) + LONGEST].into_boxed_slice();
        Self { whole: room(), fragment: room() }
    }
}

impl<P: Port> Lane<P> {
    /// As [`Lane::leave`], for a frame that may be long.
    fn leave_any(&mut self, frame: Frame, door: Door) -> Result<(), Frame> {
        self.leaving.push_any(frame)?;
        self.doors.push(door);
        Ok(())
    }
}

impl<P: Port, C> Worker<P, C> {
    /// Decides about every frame received on port `at`, long or not.
    #[cold]
    #[inline(never)]
    pub(super) fn process_long<const UNDERLAY: bool>(&mut self, at: usize, now: Tick) {
        let mut path = Path::new(self.subscriber.tables(), &mut self.memory, now);
        let mut exit = Exit { lanes: &mut self.lanes, pool: &mut self.pool, stats: &mut self.stats };
        let port = PortId(at as u8);
        while let Some(mut frame) = self.received.pop_front() {
            if frame.is_long() {
                exit.long::<UNDERLAY>(&mut path, port, frame, &mut self.bench);
            } else {
                let mut packet = exit.pool.packet(&mut frame);
                let verdict = if UNDERLAY { path.inbound(&mut packet) } else { path.outbound(port, &mut packet) };
                match verdict {
                    Verdict::Split(port, journey) => exit.split(&path, frame, port, journey),
                    other => exit.follow(&path, frame, other),
                }
            }
        }
    }
}

impl<P: Port> Exit<'_, P> {
    /// Decides about a long packet, and does it.
    fn long<const UNDERLAY: bool>(&mut self, path: &mut Path<'_>, from: PortId, mut frame: Frame, bench: &mut Bench) {
        let in_place = self.pool.front(&mut frame).and_then(|mut front| match UNDERLAY {
            true => path.inbound_front(&mut front),
            false => path.outbound_front(&mut front),
        });
        if let Some(verdict) = in_place {
            return self.follow(path, frame, verdict);
        }
        let mut span = self.pool.gather(&frame, &mut bench.whole);
        let mut packet = Packet::new(&mut bench.whole, &mut span);
        let verdict =
            if UNDERLAY { path.careful_inbound(&mut packet) } else { path.careful_outbound(from, &mut packet) };
        match verdict {
            Verdict::Drop(_) => self.follow(path, frame, verdict),
            Verdict::Send(..) | Verdict::SendUnfinished(..) | Verdict::Reply(_) => {
                let changed = if let Verdict::Reply(_) = verdict { usize::MAX } else { path.changed() };
                match self.pool.put_back(frame, changed, packet.headroom() as u16, packet.bytes()) {
                    Ok(frame) => self.follow(path, frame, verdict),
                    // its chunks hold what came and all that is put in front: this cannot be
                    Err(frame) => self.follow(path, frame, Verdict::Drop(DropReason::NoHeadroom)),
                }
            }
            Verdict::Split(port, journey) => {
                self.pool.free(frame);
                if let Err(reason) = self.split_long(path, &packet, &mut bench.fragment, port, journey) {
                    self.stats.drops.count(reason);
                }
            }
        }
    }

    /// Does with a frame what `path` has just decided.
    fn follow(&mut self, path: &Path<'_>, mut frame: Frame, verdict: Verdict) {
        let (port, door) = match verdict {
            Verdict::Send(port, journey) | Verdict::Split(port, journey) => (port, Door::Forwarded(journey)),
            Verdict::SendUnfinished(port, journey) => {
                self.pool.leave_unfinished(&mut frame, path.unfinished());
                (port, Door::Forwarded(journey))
            }
            Verdict::Reply(port) => (port, Door::Replied),
            Verdict::Drop(reason) => {
                self.stats.drops.count(reason);
                return self.pool.free(frame);
            }
        };
        self.stats.leave(door);
        let refused = match self.lanes.get_mut(usize::from(port.0)) {
            Some(lane) => lane.leave_any(frame, door).err(),
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

    /// As [`Exit::split`], for a packet that lies in one piece elsewhere, and fragments that may be long.
    fn split_long(
        &mut self,
        path: &Path<'_>,
        whole: &Packet<'_>,
        room: &mut [u8],
        port: PortId,
        journey: Journey,
    ) -> Result<(), DropReason> {
        let pieces = path.fragments(whole).ok_or(DropReason::TooBig)?;
        let count = pieces.len();
        let at = self.prepare(port, count)?;
        // all of them, or none: as many chunks as the longest packets take
        if (self.pool.free_count() as usize) < count * self.pool.chunks_for(LONGEST) {
            return Err(DropReason::NoFrame);
        }
        let mut door = Door::Forwarded(journey);
        for piece in pieces {
            let mut span = Span { head: HEADROOM, len: 0 };
            let mut packet = Packet::new(room, &mut span);
            let gone = path.write_fragment(&piece, whole, &mut packet).and_then(|()| {
                let frame = self.pool.alloc_any(packet.headroom() as u16, packet.bytes()).ok_or(DropReason::NoFrame)?;
                let left = self.lanes.get_mut(at).ok_or(DropReason::NoFrame).map(|lane| lane.leave_any(frame, door));
                left?.map_err(|frame| {
                    self.pool.free(frame);
                    DropReason::NoFrame
                })
            });
            if let Err(reason) = gone {
                return if door == Door::Piece { Ok(()) } else { Err(reason) };
            }
            self.stats.leave(door);
            door = Door::Piece;
        }
        Ok(())
    }
}
