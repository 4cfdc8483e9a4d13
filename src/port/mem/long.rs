//! Packets in several chunks, one ring entry a chunk.

use std::collections::VecDeque;

use super::{MemPort, Sink, receive};
use crate::port::Finishes;
use crate::port::assembly::Assembly;
use crate::port::pool::{Burst, Pool};
use crate::wire::Unfinished;

/// What the rings of [`MemPort`] do not say of their entries.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// Does the packet of each entry received go on in the next one?
    rx: VecDeque<bool>,
    /// The same of each entry to be sent that is not in flight; and what its packet leaves to the device, of the first.
    tx: VecDeque<(bool, Unfinished)>,
    assembly: Assembly,
}

impl Pieces {
    /// Chunks that wait for the rest of their packet.
    pub(super) fn held(&self) -> u32 {
        self.assembly.held()
    }
}

impl MemPort {
    /// Lets a packet arrive in as many chunks as it takes, each full but the last.
    pub(super) fn inject_long(&mut self, pool: &mut Pool, bytes: &[u8]) -> bool {
        let size = usize::from(pool.chunk_size());
        let rooms: Vec<usize> = self.fill.frames_mut().map(|f| size.saturating_sub(f.span().head.into())).collect();
        let (mut rest, mut pieces) = (bytes, Vec::new());
        for room in rooms {
            let (piece, behind) = rest.split_at(rest.len().min(room));
            pieces.push(piece);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        if !rest.is_empty() || pieces.is_empty() {
            self.stats.fill_ring_empty += 1;
            self.stats.rx_dropped += 1;
            return false;
        }
        self.inject_pieces(pool, &pieces)
    }

    /// Lets a packet arrive in these pieces, a chunk each, all of them or none: drivers cut where they like.
    pub fn inject_pieces(&mut self, pool: &mut Pool, pieces: &[&[u8]]) -> bool {
        if self.rx.room() < pieces.len() {
            self.stats.rx_ring_full += 1;
            return false;
        }
        let Some(more) = self.pieces.as_mut() else { return false };
        if self.fill.len() < pieces.len() {
            self.stats.fill_ring_empty += 1;
            self.stats.rx_dropped += 1;
            return false;
        }
        for (n, bytes) in pieces.iter().enumerate() {
            let Some(frame) = receive(&mut self.fill, &mut self.stats, pool, bytes) else { return false };
            match self.rx.push(frame) {
                Ok(()) => more.rx.push_back(n + 1 < pieces.len()),
                Err(frame) => pool.free(frame), // there is room: this cannot be
            }
        }
        true
    }

    /// Takes as many pieces as the burst has room for packets.
    #[cold]
    pub(super) fn take_pieces(&mut self, pool: &mut Pool, burst: &mut Burst) -> usize {
        let before = burst.len();
        let Some(pieces) = self.pieces.as_mut() else { return 0 };
        for _ in 0..burst.room() {
            let (Some(frame), Some(more)) = (self.rx.pop_front(), pieces.rx.pop_front()) else { break };
            let Some(packet) = pieces.assembly.add(pool, frame, more) else { continue };
            if let Err(frame) = burst.push_any(packet) {
                pool.free(frame); // there is room: this cannot be
            }
        }
        burst.len() - before
    }

    /// Takes packets for which there is room with all their pieces.
    #[cold]
    pub(super) fn put_pieces(&mut self, pool: &mut Pool, burst: &mut Burst) -> usize {
        let before = burst.len();
        let Some(pieces) = self.pieces.as_mut() else { return 0 };
        while let Some(many) = burst.front_mut().map(|frame| pool.pieces(frame)) {
            if self.tx.room() < many as usize {
                break;
            }
            let mut rest = burst.pop_front();
            let mut unfinished = rest.as_mut().map(|frame| pool.take_unfinished(frame));
            while let Some(frame) = rest.take() {
                let (piece, more) = pool.split(frame);
                let whole = more.as_ref().map_or(0, |more| more.span().len) + piece.span().len;
                let asked = unfinished.unwrap_or_default();
                debug_assert!(asked.is_none() || self.finishes != Finishes::None, "it was left to nobody");
                // the kernel looks for the field in the first piece, and stops at a packet where it is not
                let place = asked.within(whole.into());
                let beyond = place.is_some_and(|(start, field)| start + field + 2 > piece.span().len.into());
                if beyond || !pool.sendable(&piece) {
                    self.stats.tx_invalid += 1;
                    pool.free(piece);
                    more.into_iter().for_each(|more| pool.free(more));
                    break;
                }
                match self.tx.push(piece) {
                    Ok(()) => pieces.tx.push_back((more.is_some(), unfinished.take().unwrap_or_default())),
                    Err(piece) => pool.free(piece), // there is room: this cannot be
                }
                rest = more;
            }
        }
        before - burst.len()
    }

    /// Puts the packets that are not in flight together again.
    pub(super) fn send_pieces(&mut self, pool: &Pool) {
        let Some(pieces) = self.pieces.as_mut() else { return };
        let mut packet = Vec::new();
        let mut unfinished = Unfinished::NONE;
        for (frame, (more, left)) in self.tx.frames_mut().skip(self.in_flight).zip(pieces.tx.drain(..)) {
            if packet.is_empty() {
                unfinished = left;
            }
            if self.sink == Sink::Keep {
                packet.extend(pool.packet(frame).bytes());
            }
            if !more {
                self.sent_count += 1;
                if self.sink == Sink::Keep {
                    unfinished.finish(&mut packet);
                    self.sent.push(std::mem::take(&mut packet));
                }
            }
        }
    }
}
