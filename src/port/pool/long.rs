//! Packets that fill several chunks: the first one's frame owns the others, which a table beside tells.
//!
//! All headers lie in the first chunk, so that nearly everybody works with it alone ([`Pool::front`]). Who needs every byte
//! has them copied into one piece ([`Pool::gather`]) and back ([`Pool::scatter`]).

use super::{Frame, HEADROOM, LEFT, Place, Pool};
use crate::wire::{Packet, Span};

/// Bytes of the longest packet, with its Ethernet header: more than the largest MTU that is obeyed
/// ([`Mtu::MAX`](crate::wire::Mtu)) with all that may be put in front of it.
pub const LONGEST: usize = 10_240;
/// Chunks of a packet: the kernel sends one more (`MAX_SKB_FRAGS`, 17 unless it was built otherwise).
pub const MOST_PIECES: u32 = 16;
/// The bit that tells the frame of a long packet. No pool has a number with it.
pub(super) const LONG: u32 = 1 << 31;
/// Bytes in the first chunk for which it counts as holding all headers: more than [`Pool::front`]'s users reach for.
const FRONT: u16 = 160;
/// The number of no chunk.
const NONE: u32 = u32::MAX;

/// One chunk of a long packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// The chunk in which the packet goes on, or [`NONE`].
    next: u32,
    /// Where its bytes begin: in the first chunk the frame's own span says that.
    head: u16,
    /// Where its bytes end.
    end: u16,
}

impl Link {
    /// Of a chunk that holds no piece.
    pub(super) const UNUSED: Self = Self { next: NONE, head: 0, end: 0 };
}

impl Frame {
    /// Does its packet go on in other chunks? Then its span's length counts those, too.
    #[inline]
    pub fn is_long(&self) -> bool {
        self.pool & LONG != 0
    }
}

impl Pool {
    /// Is this the frame of a long packet of this pool?
    #[inline]
    fn owns_long(&self, frame: &Frame) -> bool {
        frame.pool & !LEFT == self.id | LONG
    }

    #[inline]
    fn link(&self, chunk: u32) -> Link {
        self.links.get(chunk as usize).copied().unwrap_or(Link::UNUSED)
    }

    #[inline]
    fn set_link(&mut self, chunk: u32, link: Link) {
        if let Some(place) = self.links.get_mut(chunk as usize) {
            *place = link;
        }
    }

    /// The chunks of a frame, in order.
    fn chunks(&self, frame: &Frame) -> impl Iterator<Item = u32> {
        let follows = self.owns_long(frame);
        let next = move |chunk: &u32| follows.then(|| self.link(*chunk).next).filter(|next| *next != NONE);
        std::iter::successors(Some(frame.chunk), next)
    }

    /// How many chunks a frame owns.
    pub(in crate::port) fn pieces(&self, frame: &Frame) -> u32 {
        self.chunks(frame).count() as u32
    }

    /// How many chunks a packet of `len` bytes takes, wherever in the first one it begins.
    pub fn chunks_for(&self, len: usize) -> usize {
        1 + len.div_ceil(usize::from(self.umem.chunk_size() - HEADROOM))
    }

    /// A frame that holds a copy of `bytes`, beginning at `head` in its first chunk, in as many chunks as it takes; `None`
    /// when too few are free, or it would be too long.
    pub fn alloc_any(&mut self, head: u16, bytes: &[u8]) -> Option<Frame> {
        let size = usize::from(self.umem.chunk_size());
        let mut frame: Option<Frame> = None;
        let (mut at, mut rest) = (head, bytes);
        loop {
            let (now, behind) = rest.split_at(rest.len().min(size.saturating_sub(at.into())));
            let piece = self.alloc().map(|mut piece| {
                piece.span = Span { head: at, len: now.len() as u16 };
                self.packet(&mut piece).bytes_mut().copy_from_slice(now);
                piece
            });
            frame = match (frame, piece) {
                (frame, None) => {
                    frame.into_iter().for_each(|frame| self.free(frame));
                    return None;
                }
                (None, piece) => piece,
                (Some(frame), Some(piece)) => match self.join(frame, piece) {
                    Ok(frame) => Some(frame),
                    Err((frame, piece)) => {
                        self.free(piece);
                        self.free(frame);
                        return None;
                    }
                },
            };
            if behind.is_empty() {
                return frame;
            }
            (at, rest) = (HEADROOM, behind);
        }
    }

    /// Appends a piece to a packet.
    ///
    /// # Errors
    /// Both, where the packet would have more than [`LONGEST`] bytes or [`MOST_PIECES`] pieces.
    #[cold]
    pub(in crate::port) fn join(&mut self, mut frame: Frame, piece: Frame) -> Result<Frame, (Frame, Frame)> {
        let len = usize::from(frame.span.len) + usize::from(piece.span.len);
        let ours = self.owns_long(&frame) || frame.pool == self.id;
        if len > LONGEST || !ours || !self.sendable(&piece) || self.pieces(&frame) == MOST_PIECES {
            return Err((frame, piece));
        }
        let last = self.chunks(&frame).last().unwrap_or(frame.chunk);
        let Span { head, len: first } = frame.span;
        let before = if frame.is_long() { self.link(last) } else { Link { next: NONE, head, end: head + first } };
        self.set_link(last, Link { next: piece.chunk, ..before });
        let Span { head, len: more } = piece.span;
        self.set_link(piece.chunk, Link { next: NONE, head, end: head + more });
        frame.span.len = len as u16;
        frame.pool |= LONG;
        Ok(frame)
    }

    /// Takes the first piece off a packet: the piece, and what is left; neither leaves anything to a device. Chunks that hold
    /// nothing of the packet any more, since it was cut, are freed.
    #[cold]
    pub(in crate::port) fn split(&mut self, frame: Frame) -> (Frame, Option<Frame>) {
        if !self.owns_long(&frame) {
            return (frame, None);
        }
        let Frame { chunk, span: Span { head, len }, .. } = frame;
        let Link { next, end, .. } = self.link(chunk);
        let first = self.mint(chunk, Span { head, len: len.min(end.saturating_sub(head)) });
        if next == NONE {
            return (first, None);
        }
        let (beyond, left) = (self.link(next), len - first.span.len);
        let bit = if beyond.next == NONE { 0 } else { LONG };
        let span = Span { head: beyond.head, len: left.min(if bit == 0 { beyond.end - beyond.head } else { left }) };
        let rest = Frame { pool: self.id | bit, ..self.mint(next, span) };
        if left == 0 {
            self.free(rest);
            return (first, None);
        }
        (first, Some(rest))
    }

    /// Frees what is no frame of one chunk.
    #[cold]
    #[inline(never)]
    pub(super) fn free_long(&mut self, mut frame: Frame) {
        let _ = self.take_unfinished(&mut frame);
        if frame.pool == self.id {
            return self.free(frame);
        }
        debug_assert!(self.owns_long(&frame), "a frame was freed into a pool it does not come from");
        let mut chunk = if self.owns_long(&frame) { frame.chunk } else { NONE };
        while chunk != NONE {
            self.ledger.moves(chunk, Place::Frame, Place::Free);
            self.free.push(chunk);
            chunk = self.link(chunk).next;
        }
    }

    /// The first chunk of a long packet, if it holds all headers that are usual.
    #[inline]
    pub fn front<'a>(&'a self, frame: &'a mut Frame) -> Option<Packet<'a>> {
        let Link { end, .. } = self.link(frame.chunk);
        if !self.owns_long(frame) || end.saturating_sub(frame.span.head) < FRONT {
            return None;
        }
        // SAFETY: as in `packet`: the frame is unique and bears this pool's number, and is borrowed mutably.
        let bytes = unsafe { self.chunk(frame.chunk) };
        // what lies behind its end is of another packet
        Some(Packet::front(bytes.get_mut(..usize::from(end))?, &mut frame.span))
    }

    /// Copies the packet into `room`, as far from its beginning as it lies in its first chunk. Says where it lies there;
    /// it is cut where the room ends.
    pub fn gather(&self, frame: &Frame, room: &mut [u8]) -> Span {
        let span = frame.span;
        let mut rest = room.get_mut(usize::from(span.head)..).unwrap_or_default();
        let (mut head, mut left, mut copied) = (span.head, usize::from(span.len), 0);
        for chunk in self.chunks(frame) {
            let link = self.link(chunk);
            // SAFETY: the frame owns the chunk, and is borrowed; so nobody writes to it.
            let bytes = unsafe { self.chunk(chunk) };
            let end = if frame.is_long() { usize::from(link.end) } else { bytes.len() };
            let piece = bytes.get(usize::from(head)..end).unwrap_or_default();
            let many = piece.len().min(left).min(rest.len());
            let (into, behind) = rest.split_at_mut(many);
            into.copy_from_slice(&piece[..many]);
            (rest, left, copied) = (behind, left - many, copied + many);
            head = self.link(link.next).head;
        }
        Span { head: span.head, len: copied as u16 }
    }

    /// As [`scatter`](Self::scatter), of `bytes` that lay where the packet does now ([`gather`](Self::gather)) and of which no
    /// more than the first `changed` of the packet are others than in its chunks. If the first chunk has those, only that is
    /// written.
    ///
    /// # Errors
    /// The frame, when they do not fit into its chunks.
    pub fn put_back(&mut self, mut frame: Frame, changed: usize, head: u16, bytes: &[u8]) -> Result<Frame, Frame> {
        let Link { end, .. } = self.link(frame.chunk);
        let in_first = usize::from(end.saturating_sub(frame.span.head));
        if !self.owns_long(&frame) || changed > in_first || head >= end || bytes.is_empty() {
            return self.scatter(frame, head, bytes);
        }
        // SAFETY: the frame owns the chunk, and is ours.
        let room = unsafe { self.chunk(frame.chunk) };
        let front = bytes.get(..usize::from(end - head)).unwrap_or(bytes);
        let Some(room) = room.get_mut(usize::from(head)..).and_then(|room| room.get_mut(..front.len())) else {
            return Err(frame);
        };
        room.copy_from_slice(front);
        frame.span = Span { head, len: bytes.len() as u16 };
        Ok(frame)
    }

    /// Makes `bytes` the packet, beginning at `head` in its first chunk. Chunks it does not take are freed.
    ///
    /// # Errors
    /// The frame, when they do not fit into its chunks.
    pub fn scatter(&mut self, mut frame: Frame, head: u16, bytes: &[u8]) -> Result<Frame, Frame> {
        let size = usize::from(self.umem.chunk_size());
        let pieces = self.pieces(&frame) as usize;
        let capacity = pieces * size - (pieces - 1) * usize::from(HEADROOM);
        let ours = self.owns_long(&frame) || frame.pool == self.id;
        if !ours || bytes.is_empty() || usize::from(head) + bytes.len() > capacity || usize::from(head) >= size {
            return Err(frame);
        }
        let (mut chunk, mut at, mut rest) = (frame.chunk, head, bytes);
        let mut next = if frame.is_long() { self.link(chunk).next } else { NONE };
        loop {
            let (piece, behind) = rest.split_at(rest.len().min(size - usize::from(at)));
            let end = at + piece.len() as u16;
            // SAFETY: the frame owns the chunk, and is ours.
            let room = unsafe { self.chunk(chunk) };
            room[usize::from(at)..usize::from(end)].copy_from_slice(piece);
            if behind.is_empty() {
                self.set_link(chunk, Link { next: NONE, head: at, end });
                break;
            }
            self.set_link(chunk, Link { next, head: at, end });
            (chunk, at, rest) = (next, HEADROOM, behind);
            next = self.link(chunk).next;
        }
        if next != NONE {
            self.free(Frame { pool: self.id | LONG, ..self.mint(next, Span::default()) });
        }
        frame.pool = if chunk == frame.chunk { self.id } else { self.id | LONG };
        frame.span = Span { head, len: bytes.len() as u16 };
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::umem::{Backing, Umem};
    use super::*;

    fn pool(frames: u32) -> Pool {
        Pool::new(Umem::new(frames, 2048, Backing::Pages).unwrap()).unwrap()
    }

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
    }

    /// A packet of pieces of these lengths, and its bytes.
    fn long(pool: &mut Pool, lens: &[usize]) -> (Frame, Vec<u8>) {
        let all = bytes(lens.iter().sum());
        let mut rest = &all[..];
        let mut frame: Option<Frame> = None;
        for len in lens {
            let (piece, behind) = rest.split_at(*len);
            let piece = pool.alloc_with(piece).unwrap();
            rest = behind;
            frame = Some(match frame {
                Some(frame) => pool.join(frame, piece).unwrap(),
                None => piece,
            });
        }
        (frame.unwrap(), all)
    }

    /// The packet's bytes, as its pieces are sent.
    fn sent(pool: &mut Pool, frame: Frame) -> (Vec<u8>, usize) {
        let (mut out, mut pieces, mut rest) = (Vec::new(), 0, Some(frame));
        while let Some(frame) = rest.take() {
            let (mut piece, more) = pool.split(frame);
            assert!(pool.sendable(&piece));
            out.extend(pool.packet(&mut piece).bytes());
            pool.free(piece);
            (rest, pieces) = (more, pieces + 1);
        }
        (out, pieces)
    }

    #[test]
    fn what_is_joined_comes_out_in_order_and_no_chunk_is_lost() {
        let mut pool = pool(8);
        for lens in [&[1792, 1][..], &[200, 1792, 7], &[1792, 1792, 1792, 1792, 1792], &[60]] {
            let (frame, all) = long(&mut pool, lens);
            assert_eq!((frame.is_long(), pool.pieces(&frame) as usize), (lens.len() > 1, lens.len()));
            assert_eq!((usize::from(frame.span().len), pool.free_count() as usize), (all.len(), 8 - lens.len()));
            let mut room = vec![0xee; 256 + LONGEST];
            assert_eq!(pool.gather(&frame, &mut room), frame.span());
            assert!(room[256..256 + all.len()] == all[..] && room[256 + all.len()..].iter().all(|b| *b == 0xee));
            assert_eq!(sent(&mut pool, frame), (all, lens.len()));
            assert_eq!(pool.free_count(), 8);
            let (frame, _) = long(&mut pool, lens);
            pool.free(frame);
            assert_eq!(pool.free_count(), 8);
        }
    }

    #[test]
    fn a_front_moves_and_padding_in_the_tail_does_not_travel() {
        let mut pool = pool(8);
        for (cut, pieces) in [(0, 3), (7, 2), (8, 2), (1799, 1), (1800, 1)] {
            let (mut frame, all) = long(&mut pool, &[1792, 1792, 7]);
            let mut front = pool.front(&mut frame).unwrap();
            let len = front.len() - cut;
            front.reach_all::<14>(50).unwrap()[..50].fill(0xaa);
            front.set_span(256 - 50, len + 50);
            let (out, many) = sent(&mut pool, frame);
            assert!(out[..50] == [0xaa; 50] && out[50..] == all[..len] && many == pieces, "{cut}: {many}");
            assert_eq!(pool.free_count(), 8);
        }
    }

    #[test]
    fn a_first_chunk_without_the_headers_is_no_front() {
        let mut pool = pool(8);
        for (first, has) in [(159, false), (160, true)] {
            let (mut frame, _) = long(&mut pool, &[first, 1000]);
            assert_eq!(pool.front(&mut frame).is_some(), has);
            pool.free(frame);
        }
        let (mut frame, _) = long(&mut pool, &[1000]);
        assert!(pool.front(&mut frame).is_none());
        pool.free(frame);
    }

    #[test]
    fn what_is_scattered_takes_as_many_chunks_as_it_needs() {
        let mut pool = pool(8);
        for lens in [&[1792, 1792, 7][..], &[60, 60, 60], &[200]] {
            for (head, len) in [(256, 3000), (206, 3591 + 50), (206, 1842), (206, 1843), (2047, 2), (306, 1), (0, 2048)]
            {
                let (frame, _) = long(&mut pool, lens);
                let capacity = 2048 - head + (lens.len() - 1) * 1792;
                let new = bytes(len);
                let outcome = pool.scatter(frame, head as u16, &new);
                assert_eq!(outcome.is_ok(), len <= capacity, "{lens:?} {head} {len}");
                match outcome {
                    Ok(frame) => {
                        let pieces = 1 + (len.saturating_sub(2048 - head)).div_ceil(1792);
                        assert_eq!(pool.free_count() as usize, 8 - pieces);
                        assert_eq!(frame.is_long(), pieces > 1);
                        assert_eq!(sent(&mut pool, frame), (new, pieces));
                    }
                    Err(frame) => pool.free(frame),
                }
                assert_eq!(pool.free_count(), 8);
            }
        }
        let (frame, _) = long(&mut pool, &[1000, 1000]);
        let frame = pool.scatter(frame, 256, &[]).unwrap_err();
        let frame = pool.scatter(frame, 2048, &[1]).unwrap_err();
        pool.free(frame);
        assert_eq!(pool.free_count(), 8);
    }

    #[test]
    fn what_is_put_back_is_written_as_far_as_it_changed() {
        let mut pool = pool(8);
        for (lens, changed) in
            [(&[1792, 1792, 7][..], 100), (&[1792, 1792, 7], 1793), (&[60, 1792, 60], 61), (&[200], 9)]
        {
            for (head, cut) in [(206u16, 0usize), (256, 0), (300, 0), (206, 8), (300, 1800)] {
                let (frame, all) = long(&mut pool, lens);
                let mut whole = vec![0xee; 256 + LONGEST];
                let span = pool.gather(&frame, &mut whole);
                assert_eq!(span, frame.span());
                let until = (256 + changed.min(all.len())).max(head.into());
                whole[usize::from(head)..until].fill(0xcc);
                let end = (256 + all.len()).saturating_sub(cut).max(usize::from(head) + 1);
                let bytes = &whole[usize::from(head)..end];
                match pool.put_back(frame, changed, head, bytes) {
                    Ok(frame) => assert_eq!(sent(&mut pool, frame).0, bytes, "{lens:?} {changed} {head} {cut}"),
                    Err(frame) => {
                        // more in front than its chunks have room for, had they to be filled anew
                        assert!(changed > 200 || lens.len() == 1, "{lens:?} {changed} {head} {cut}");
                        pool.free(frame);
                    }
                }
                assert_eq!(pool.free_count(), 8);
            }
        }
    }

    #[test]
    fn a_copy_takes_as_many_chunks_as_it_needs_or_none() {
        let mut pool = pool(8);
        for (head, len, pieces) in [(256, 60, 1), (206, 1842, 1), (206, 1843, 2), (186, LONGEST, 6)] {
            assert!(pieces <= pool.chunks_for(len));
            let frame = pool.alloc_any(head, &bytes(len)).unwrap();
            assert_eq!((pool.free_count() as usize, frame.span().head), (8 - pieces, head));
            assert_eq!(sent(&mut pool, frame), (bytes(len), pieces));
        }
        assert!(pool.alloc_any(256, &bytes(LONGEST + 1)).is_none());
        let taken = pool.alloc_any(256, &bytes(5000)).unwrap();
        assert!(pool.alloc_any(256, &bytes(9000)).is_none());
        pool.free(taken);
        assert_eq!(pool.free_count(), 8);
    }

    #[test]
    fn too_much_and_too_many_are_not_joined() {
        let mut pool = pool(32);
        let (mut frame, _) = long(&mut pool, &[1792, 1792, 1792, 1792, 1792]);
        let piece = pool.alloc_with(&[0; 1281]).unwrap();
        let (back, piece) = pool.join(frame, piece).unwrap_err();
        pool.free(piece);
        let piece = pool.alloc_with(&[0; 1280]).unwrap();
        frame = pool.join(back, piece).unwrap();
        assert_eq!(usize::from(frame.span().len), LONGEST);
        pool.free(frame);
        let (frame, _) = long(&mut pool, &[60; MOST_PIECES as usize]);
        let empty = pool.alloc().unwrap();
        let (frame, piece) = pool.join(frame, empty).unwrap_err();
        pool.free(piece);
        pool.free(frame);
        assert_eq!(pool.free_count(), 32);
    }

    #[cfg(not(debug_assertions))]
    #[test]
    fn a_long_packet_looked_at_as_a_short_one_is_empty() {
        let mut pool = pool(4);
        let (mut frame, _) = long(&mut pool, &[1000, 1000]);
        assert_eq!(pool.packet(&mut frame).bytes(), b"");
        let frame = pool.surrender(frame).unwrap_err();
        pool.free(frame);
        assert_eq!(pool.free_count(), 4);
    }
}
