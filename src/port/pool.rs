//! Who owns which chunk: frames, the pool they come from, and the bursts they travel in.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use super::umem::Umem;
use crate::wire::{Packet, Span, Unfinished};

mod long;
mod metadata;

use long::{LONG, Link};
pub use long::{LONGEST, MOST_PIECES};
use metadata::LEFT;
pub(super) use metadata::METADATA;

/// Bytes left free in front of a packet in a fresh frame. The kernel leaves as many (`XDP_PACKET_HEADROOM`).
pub const HEADROOM: u16 = 256;

/// The owning token of one chunk of packet memory.
///
/// It can be neither copied nor cloned, and only [`Pool`] mints it; so the chunk is in exactly one place. A frame
/// that is merely dropped is lost to its pool, and the census shows it: give it to [`Pool::free`] or
/// [`Port::tx`](super::Port::tx).
///
/// The frame of a [long](Self::is_long) packet owns further chunks, in which its packet goes on.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a frame that is dropped is lost to its pool: free or send it"]
pub struct Frame {
    /// Less than the chunks of its pool.
    chunk: u32,
    /// The number of its pool; and whether its packet is a long one, or leaves a checksum to a device: then it equals no
    /// pool's number, and whoever asks whose frame it is finds that out at no cost.
    pool: u32,
    span: Span,
}

impl Frame {
    /// Where the packet lies within the chunk.
    #[inline]
    pub fn span(&self) -> Span {
        self.span
    }

    /// Says where the packet lies. With a span that does not fit the chunk it has no bytes for [`Pool::packet`], and is freed
    /// instead of sent by [`Port::tx`](super::Port::tx).
    #[inline]
    pub fn set_span(&mut self, span: Span) {
        self.span = span;
    }
}

/// The number of no pool: frames that are none bear it.
const NO_POOL: u32 = 0;

/// Packet memory and the list of its free chunks. One a worker; frames never cross to another.
#[derive(Debug)]
pub struct Pool {
    umem: Umem,
    id: u32,
    /// Chunks have 2^`shift` bytes.
    shift: u32,
    /// Last in, first out: the chunk freed last is still in the core's cache.
    free: Vec<u32>,
    /// For each chunk that holds a piece of a long packet: what of it, and where the packet goes on.
    links: Box<[Link]>,
    /// For each chunk whose frame leaves a checksum to a device: which one.
    left: Box<[Unfinished]>,
    /// Bytes that have to be free in front of a packet that is sent.
    metadata: u16,
    ledger: Ledger,
}

impl Pool {
    /// Makes all chunks of `umem` free.
    ///
    /// # Errors
    /// After 2³⁰ − 1 pools in one process, numbers to tell them apart run out.
    pub fn new(umem: Umem) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(NO_POOL + 1);
        let id = NEXT
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < LEFT - 1).then_some(n + 1))
            .map_err(|_| io::Error::other("no pool numbers left"))?;
        let free = (0..umem.frames()).rev().collect();
        let ledger = Ledger::new(umem.frames());
        let shift = umem.chunk_size().trailing_zeros(); // a power of two
        let links = vec![Link::UNUSED; umem.frames() as usize].into_boxed_slice();
        let left = vec![Unfinished::NONE; umem.frames() as usize].into_boxed_slice();
        Ok(Self { umem, id, shift, free, links, left, metadata: 0, ledger })
    }

    /// A free chunk, its packet empty and beginning at [`HEADROOM`]; `None` when all are in use.
    #[inline]
    pub fn alloc(&mut self) -> Option<Frame> {
        let chunk = self.free.pop()?;
        self.ledger.moves(chunk, Place::Free, Place::Frame);
        Some(self.mint(chunk, Span { head: HEADROOM, len: 0 }))
    }

    /// The frame of a chunk that is in no other's hands.
    #[inline]
    fn mint(&self, chunk: u32, span: Span) -> Frame {
        Frame { chunk, pool: self.id, span }
    }

    /// A free chunk holding a copy of `bytes` at [`HEADROOM`]; `None` when none is free or they do not fit. For
    /// packets the gateway makes itself, and for tests.
    pub fn alloc_with(&mut self, bytes: &[u8]) -> Option<Frame> {
        let len = u16::try_from(bytes.len()).ok().filter(|len| *len <= self.umem.chunk_size() - HEADROOM)?;
        let mut frame = self.alloc()?;
        frame.span.len = len;
        self.packet(&mut frame).bytes_mut().copy_from_slice(bytes);
        Some(frame)
    }

    /// Takes a frame back, with all its chunks. A frame of another pool is not taken (a debug build panics): its own
    /// census shows it.
    #[inline]
    pub fn free(&mut self, frame: Frame) {
        if frame.pool == self.id {
            self.ledger.moves(frame.chunk, Place::Frame, Place::Free);
            self.free.push(frame.chunk); // never grows: no chunk is in it twice
        } else {
            self.free_long(frame);
        }
    }

    /// The packet in `frame`, unless it is [long](Frame::is_long). For a long one, and for a frame of another pool, it is
    /// empty (a debug build panics).
    #[inline]
    pub fn packet<'a>(&'a self, frame: &'a mut Frame) -> Packet<'a> {
        debug_assert_eq!(frame.pool, self.id, "a frame was looked at through a pool it does not come from");
        let Frame { chunk, pool, span } = frame;
        if *pool != self.id {
            return Packet::new(&mut [], span);
        }
        debug_assert!(*chunk < self.umem.frames());
        // SAFETY: a Frame is unique, and minted only by `alloc` and `adopt` of the pool whose number it bears, for a
        // chunk of that pool (the free list begins with all of them and gets back only such; `adopt` checks) that was
        // free or came back from the kernel; or by `split`, for a chunk that such a Frame owned and gives up. So nobody
        // else reaches its bytes while the Frame is borrowed mutably, as long as the packet lives.
        let bytes = unsafe { self.chunk(*chunk) };
        // ports see to it that the span lies within the chunk: nothing is to be cut
        Packet::front(bytes, span)
    }

    /// The bytes of a chunk.
    ///
    /// # Safety
    /// It is one of this pool's, and nobody else reaches its bytes as long as these are borrowed.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    unsafe fn chunk(&self, chunk: u32) -> &mut [u8] {
        // SAFETY: the caller says that the chunk lies within the mapping, which lives as long as `self`, and is the only
        // one to reach it. Any byte is a valid u8.
        unsafe {
            let base = self.umem.base().add((chunk as usize) << self.shift);
            std::slice::from_raw_parts_mut(base, usize::from(self.umem.chunk_size()))
        }
    }

    /// Chunks free now.
    #[inline]
    pub fn free_count(&self) -> u32 {
        self.free.len() as u32
    }

    /// Chunks altogether, free or not.
    #[inline]
    pub fn total(&self) -> u32 {
        self.umem.frames()
    }

    /// Bytes in a chunk: 2,048 or 4,096.
    pub fn chunk_size(&self) -> u16 {
        self.umem.chunk_size()
    }

    /// The memory.
    pub(super) fn umem(&self) -> &Umem {
        &self.umem
    }

    /// Tells this pool from all others of the process.
    #[inline]
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Lends a free chunk to the kernel for receiving: its address in the UMEM.
    #[inline]
    pub(super) fn lend(&mut self) -> Option<u64> {
        let chunk = self.free.pop()?;
        self.ledger.moves(chunk, Place::Free, Place::Kernel);
        Some(u64::from(chunk) << self.shift)
    }

    /// False where the kernel would drop the descriptor and never complete it: an empty packet, one that does not
    /// fit its chunk, or stands too near its beginning, one of another pool. A long packet is sent by its pieces.
    #[inline]
    pub(super) fn sendable(&self, frame: &Frame) -> bool {
        let Span { head, len } = frame.span;
        let fits = u32::from(head) + u32::from(len) <= u32::from(self.umem.chunk_size());
        frame.pool == self.id && len > 0 && head >= self.metadata && fits
    }

    /// Turns a frame to be sent into the address and length the kernel wants. The frame comes back if it is not
    /// [`sendable`](Self::sendable).
    #[inline]
    pub(super) fn surrender(&mut self, frame: Frame) -> Result<(u64, u32), Frame> {
        if !self.sendable(&frame) {
            return Err(frame);
        }
        let Span { head, len } = frame.span;
        self.ledger.moves(frame.chunk, Place::Frame, Place::Kernel);
        Ok(((u64::from(frame.chunk) << self.shift) + u64::from(head), u32::from(len)))
    }

    /// Turns what the kernel received into a frame. `None` if the address is none of this UMEM's.
    ///
    /// # Safety
    /// The kernel got the chunk by [`lend`](Self::lend) or [`surrender`](Self::surrender) of this very pool, and has
    /// given it back just once since, by this descriptor.
    #[inline]
    pub(super) unsafe fn adopt(&mut self, addr: u64, len: u32) -> Option<Frame> {
        let size = u64::from(self.umem.chunk_size());
        let (chunk, head) = (addr >> self.shift, addr & (size - 1));
        if chunk >= u64::from(self.umem.frames()) || head + u64::from(len) > size {
            return None;
        }
        let chunk = chunk as u32;
        self.ledger.moves(chunk, Place::Kernel, Place::Frame);
        Some(self.mint(chunk, Span { head: head as u16, len: len as u16 }))
    }

    /// Frees a chunk the kernel has sent. `addr` may point anywhere within it, since heads move.
    ///
    /// # Safety
    /// As for [`adopt`](Self::adopt).
    #[inline]
    pub(super) unsafe fn reclaim(&mut self, addr: u64) {
        let chunk = addr >> self.shift;
        if chunk < u64::from(self.umem.frames()) {
            self.ledger.moves(chunk as u32, Place::Kernel, Place::Free);
            self.free.push(chunk as u32);
        }
    }
}

/// Where a chunk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Free,
    Frame,
    Kernel,
}

/// In debug builds: where each chunk is, so that a chunk in two places is found where it happens. Nothing otherwise.
#[derive(Debug)]
struct Ledger {
    #[cfg(debug_assertions)]
    places: Box<[Place]>,
}

impl Ledger {
    #[allow(unused_variables)]
    fn new(chunks: u32) -> Self {
        Self {
            #[cfg(debug_assertions)]
            places: vec![Place::Free; chunks as usize].into_boxed_slice(),
        }
    }

    #[inline]
    #[allow(unused_variables, clippy::unused_self)]
    fn moves(&mut self, chunk: u32, from: Place, to: Place) {
        #[cfg(debug_assertions)]
        {
            let was = std::mem::replace(&mut self.places[chunk as usize], to);
            assert_eq!(was, from, "chunk {chunk} cannot move to {to:?}: it is in two places");
        }
    }
}

/// Frames on their way, first in first out. Its room is allocated once; it never grows.
#[derive(Debug)]
pub struct Burst {
    /// `mask` + 1 of them, at least `capacity`. Those from `head` to `tail` are in it; what lies in the others is never
    /// handed out.
    slots: Box<[Frame]>,
    /// A power of two less one.
    mask: usize,
    capacity: usize,
    /// Both run freely and wrap; a slot is its index modulo the slots there are.
    head: usize,
    tail: usize,
    /// What `tail` was when the last long packet was in.
    long: usize,
}

impl Burst {
    /// Room for `capacity` frames.
    pub fn new(capacity: usize) -> Self {
        let none = || Frame { chunk: 0, pool: NO_POOL, span: Span::default() };
        let slots: Box<[Frame]> = std::iter::repeat_with(none).take(capacity.next_power_of_two()).collect();
        Self { mask: slots.len() - 1, slots, capacity, head: 0, tail: 0, long: 0 }
    }

    #[inline]
    fn slot(&mut self, index: usize) -> &mut Frame {
        debug_assert_eq!(self.mask + 1, self.slots.len());
        // SAFETY: index & mask <= mask, which `new` set to one less than the slots there are (one at least); neither is
        // changed afterwards.
        unsafe { self.slots.get_unchecked_mut(index & self.mask) }
    }

    /// Appends a frame. One that may be long goes by [`push_any`](Self::push_any): otherwise it would not be looked at as
    /// such, and freed at last instead of sent.
    ///
    /// # Errors
    /// The frame itself, when there is no room for it.
    #[inline]
    pub fn push(&mut self, frame: Frame) -> Result<(), Frame> {
        debug_assert!(!frame.is_long());
        self.append(frame)
    }

    #[inline]
    fn append(&mut self, frame: Frame) -> Result<(), Frame> {
        if self.len() >= self.capacity {
            return Err(frame);
        }
        *self.slot(self.tail) = frame;
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    /// Appends a frame whose packet may be long.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    #[inline]
    pub fn push_any(&mut self, frame: Frame) -> Result<(), Frame> {
        let is_long = frame.is_long();
        self.append(frame)?;
        if is_long {
            self.long = self.tail;
        }
        Ok(())
    }

    /// May there be long packets among the frames?
    #[inline]
    pub fn has_long(&self) -> bool {
        // the distance to where the last one went in, which is behind us once it is out
        self.long.wrapping_sub(self.head).cast_signed() > 0
    }

    /// Takes the frame that has been in longest.
    #[inline]
    pub fn pop_front(&mut self) -> Option<Frame> {
        let &mut Frame { chunk, pool, span } = self.front_mut()?;
        // The token moves: its slot is out of `head..tail` from here on, and written before it is in again.
        self.head = self.head.wrapping_add(1);
        Some(Frame { chunk, pool, span })
    }

    /// The frame that has been in longest.
    #[inline]
    pub(super) fn front_mut(&mut self) -> Option<&mut Frame> {
        if self.is_empty() { None } else { Some(self.slot(self.head)) }
    }

    /// The frames in order, to be looked at and changed in place.
    #[inline]
    pub fn frames_mut(&mut self) -> impl Iterator<Item = &mut Frame> {
        let (many, first) = (self.len(), self.head & self.mask);
        let (wrapped, straight) = self.slots.split_at_mut(first);
        straight.iter_mut().chain(wrapped).take(many)
    }

    /// Frees all frames.
    pub fn free_into(&mut self, pool: &mut Pool) {
        while let Some(frame) = self.pop_front() {
            pool.free(frame);
        }
    }

    /// Frames in it.
    #[inline]
    pub fn len(&self) -> usize {
        self.tail.wrapping_sub(self.head)
    }

    /// True when there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.tail == self.head
    }

    /// Frames that still fit.
    #[inline]
    pub fn room(&self) -> usize {
        self.capacity - self.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::umem::Backing;
    use super::*;

    fn pool(frames: u32) -> Pool {
        Pool::new(Umem::new(frames, 2048, Backing::Pages).unwrap()).unwrap()
    }

    #[test]
    fn the_census_holds_through_every_move() {
        let mut pool = pool(4);
        let mut burst = Burst::new(3);
        for i in 0..3u8 {
            burst.push(pool.alloc_with(&[i; 60]).unwrap()).unwrap();
        }
        let last = pool.alloc().unwrap();
        assert_eq!(last.span(), Span { head: HEADROOM, len: 0 });
        assert!(pool.alloc().is_none());
        let last = burst.push(last).unwrap_err();
        assert_eq!((pool.free_count(), burst.len(), burst.room(), pool.total()), (0, 3, 0, 4));
        pool.free(last);
        let seen: Vec<u8> = burst.frames_mut().map(|f| pool.packet(f).bytes()[59]).collect();
        assert_eq!(seen, [0, 1, 2]);
        pool.free(burst.pop_front().unwrap());
        burst.free_into(&mut pool);
        assert_eq!((pool.free_count(), burst.is_empty()), (4, true));
    }

    #[test]
    fn a_burst_keeps_order_and_room_as_it_wraps() {
        let mut pool = pool(8);
        for capacity in [0, 1, 3, 4] {
            let mut burst = Burst::new(capacity);
            [burst.head, burst.tail, burst.long] = [usize::MAX - 1; 3];
            let (mut next_in, mut next_out) = (0u8, 0u8);
            for round in 0..40 {
                for _ in 0..=round % 4 {
                    match burst.push(pool.alloc_with(&[next_in; 60]).unwrap()) {
                        Ok(()) => next_in += 1,
                        Err(frame) => pool.free(frame),
                    }
                }
                let many = (usize::from(next_in - next_out), capacity);
                assert_eq!((burst.len(), burst.len() + burst.room(), burst.is_empty()), (many.0, many.1, many.0 == 0));
                let seen: Vec<u8> = burst.frames_mut().map(|f| pool.packet(f).bytes()[0]).collect();
                assert_eq!(seen, (next_out..next_in).collect::<Vec<_>>());
                for _ in 0..=round % 3 {
                    let Some(mut frame) = burst.pop_front() else { break };
                    assert_eq!(pool.packet(&mut frame).bytes(), [next_out; 60]);
                    next_out += 1;
                    pool.free(frame);
                }
            }
            assert!(capacity == 0 || next_out > 10);
            burst.free_into(&mut pool);
            assert_eq!(pool.free_count(), 8);
        }
    }

    #[test]
    fn what_does_not_fit_is_not_allocated() {
        let mut pool = pool(1);
        assert!(pool.alloc_with(&[0; 2048 - 256 + 1]).is_none());
        assert_eq!(pool.free_count(), 1);
        let frame = pool.alloc_with(&[0; 2048 - 256]).unwrap();
        pool.free(frame);
    }

    #[test]
    fn addresses_follow_a_moved_head_and_return_to_the_chunk() {
        let mut pool = pool(4);
        let mut frame = pool.alloc_with(&[7; 100]).unwrap();
        pool.packet(&mut frame).prepend::<50>().unwrap();
        let (addr, len) = pool.surrender(frame).unwrap();
        assert_eq!((addr % 2048, len), (206, 150));
        // SAFETY: surrendered above, once.
        unsafe { pool.reclaim(addr) };
        let addr = pool.lend().unwrap();
        // SAFETY: lent above, once.
        let frame = unsafe { pool.adopt(addr + 256, 60) }.unwrap();
        assert_eq!(frame.span(), Span { head: 256, len: 60 });
        pool.free(frame);
        assert_eq!(pool.free_count(), 4);
        // SAFETY: such addresses are refused before anything is done with them.
        unsafe {
            assert!(pool.adopt(4 * 2048, 60).is_none());
            assert!(pool.adopt(2000, 60).is_none());
            pool.reclaim(u64::MAX);
        }
    }

    #[test]
    fn what_the_kernel_would_swallow_is_refused() {
        let mut pool = pool(1);
        let mut frame = pool.alloc().unwrap();
        for span in [Span { head: 256, len: 0 }, Span { head: 2000, len: 49 }, Span { head: u16::MAX, len: u16::MAX }] {
            frame.set_span(span);
            frame = pool.surrender(frame).unwrap_err();
        }
        pool.free(frame);
    }

    #[cfg(debug_assertions)]
    #[test]
    fn a_chunk_in_two_places_is_found() {
        let mut pool = pool(1);
        let frame = pool.alloc().unwrap();
        let twin = Frame { chunk: frame.chunk, pool: frame.pool, span: frame.span };
        pool.free(frame);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.free(twin))).is_err());
    }

    #[test]
    fn a_foreign_frame_reaches_nothing() {
        let (mut ours, mut theirs) = (pool(2), pool(2));
        let frame = theirs.alloc_with(&[1; 60]).unwrap();
        let mut frame = ours.surrender(frame).unwrap_err();
        if cfg!(debug_assertions) {
            let look = std::panic::AssertUnwindSafe(|| ours.packet(&mut frame).len());
            assert!(std::panic::catch_unwind(look).is_err());
        } else {
            assert_eq!(ours.packet(&mut frame).bytes(), b"");
        }
        theirs.free(frame);
        assert_eq!((ours.free_count(), theirs.free_count()), (2, 2));
    }
}
