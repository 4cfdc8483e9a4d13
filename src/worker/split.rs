//! A packet that is too big leaves in pieces.

use super::{Door, Exit, Lane};
use crate::drops::DropReason;
use crate::path::{Journey, Path};
use crate::port::{Frame, Port};
use crate::tables::PortId;
use crate::wire::fragment::Fragments;

impl<P: Port> Exit<'_, P> {
    /// Sends the pieces of a packet that `path` has just decided to cut, by `port`, each in a chunk of its own: all of
    /// them, or none. The packet counts as one that is forwarded.
    #[cold]
    #[inline(never)]
    pub(super) fn split(&mut self, path: &Path<'_>, mut frame: Frame, port: PortId, journey: Journey) {
        let pieces = path.fragments(&self.pool.packet(&mut frame));
        let outcome = pieces.ok_or(DropReason::TooBig).and_then(|pieces| {
            let at = self.prepare(port, pieces.len())?;
            self.send(path, &mut frame, at, pieces, journey)
        });
        if let Err(reason) = outcome {
            self.stats.drops.count(reason);
        }
        self.pool.free(frame);
    }

    /// Makes sure that there are so many chunks, and room for them to leave by a port, whose place is returned.
    pub(super) fn prepare(&mut self, port: PortId, pieces: usize) -> Result<usize, DropReason> {
        let at = usize::from(port.0);
        let room = |lanes: &[Lane<P>]| lanes.get(at).map_or(0, |lane| lane.leaving.room());
        if room(self.lanes) < pieces {
            // rare enough that the burst may leave in two parts
            self.transmit();
        }
        let enough = room(self.lanes) >= pieces && self.pool.free_count() as usize >= pieces;
        if enough { Ok(at) } else { Err(DropReason::NoFrame) }
    }

    fn send(
        &mut self,
        path: &Path<'_>,
        whole: &mut Frame,
        at: usize,
        pieces: Fragments,
        journey: Journey,
    ) -> Result<(), DropReason> {
        let mut door = Door::Forwarded(journey);
        for piece in pieces {
            let mut frame = self.pool.alloc().ok_or(DropReason::NoFrame)?;
            let written = path.write_fragment(&piece, &self.pool.packet(whole), &mut self.pool.packet(&mut frame));
            let gone = match (written, self.lanes.get_mut(at)) {
                (Ok(()), Some(lane)) => lane.leave(frame, door).map_err(|frame| (frame, DropReason::NoFrame)),
                (Ok(()), None) => Err((frame, DropReason::NoFrame)),
                (Err(reason), _) => Err((frame, reason)),
            };
            if let Err((frame, reason)) = gone {
                self.pool.free(frame);
                return if door == Door::Piece { Ok(()) } else { Err(reason) };
            }
            self.stats.leave(door);
            door = Door::Piece;
        }
        Ok(())
    }
}
