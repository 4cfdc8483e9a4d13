//! The rings this process and the kernel share: cursor arithmetic as plain code, and the shared memory around it.
//!
//! Indices run freely through all 2³² values and wrap; an entry's place is its index modulo the ring's size, a power
//! of two. Each side writes one index and reads the other's.

use std::sync::atomic::{AtomicU32, Ordering};

/// `XDP_RING_NEED_WAKEUP` (linux/if_xdp.h).
const NEED_WAKEUP: u32 = 1;

/// Our index into a ring, and the other side's as we last saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cursor {
    ours: u32,
    theirs: u32,
    size: u32,
}

impl Cursor {
    /// `size` is a power of two.
    pub(super) fn new(ours: u32, theirs: u32, size: u32) -> Self {
        debug_assert!(size.is_power_of_two());
        Self { ours, theirs, size }
    }

    /// For a producer: entries that can be written.
    #[inline]
    pub(super) fn vacant(&self) -> u32 {
        self.size.saturating_sub(self.ours.wrapping_sub(self.theirs))
    }

    /// For a consumer: entries that can be read. Never more than the ring has, whatever the other side claims.
    #[inline]
    pub(super) fn filled(&self) -> u32 {
        self.theirs.wrapping_sub(self.ours).min(self.size)
    }

    /// Where the entry of an index is: less than `size`, whatever the index.
    #[inline]
    fn slot(&self, index: u32) -> usize {
        (index & (self.size - 1)) as usize
    }
}

/// Pointers into one mapped ring.
pub(super) struct Shared<T> {
    /// The producer's index.
    pub(super) producer: *const AtomicU32,
    /// The consumer's index.
    pub(super) consumer: *const AtomicU32,
    /// `XDP_RING_*` flags, written by the kernel.
    pub(super) flags: *const AtomicU32,
    /// The first entry.
    pub(super) entries: *mut T,
    /// Entries, a power of two.
    pub(super) size: u32,
}

/// The writing end of a ring (fill, TX).
pub(super) struct Producer<T> {
    shared: Shared<T>,
    cursor: Cursor,
}

// SAFETY: the pointers lead to memory of the process, not of a thread, and only this value uses our side of it.
unsafe impl<T: Send> Send for Producer<T> {}

impl<T: Copy> Producer<T> {
    /// # Safety
    /// All pointers are valid and aligned for as long as the value lives, `entries` for `size` of them; no other
    /// value is this ring's producer; `size` is a power of two.
    pub(super) unsafe fn new(shared: Shared<T>) -> Self {
        // SAFETY: the caller vouches for the pointers.
        let (ours, theirs) = unsafe { (load(shared.producer), load(shared.consumer)) };
        let cursor = Cursor::new(ours, theirs, shared.size);
        Self { shared, cursor }
    }

    /// Entries that can be written, looked up only if fewer than `want` were known of.
    #[inline]
    pub(super) fn vacant(&mut self, want: u32) -> u32 {
        if self.cursor.vacant() < want {
            // SAFETY: valid by the contract of `new`. Acquire: what the consumer read, it read before we overwrite it.
            self.cursor.theirs = unsafe { load(self.shared.consumer) };
        }
        self.cursor.vacant()
    }

    /// Writes what `next` gives until it gives nothing or `most` entries or the ring are full, and shows all of it to
    /// the consumer at once. Asks for no entry there is no room for. Returns how many were written.
    #[inline]
    pub(super) fn put(&mut self, most: u32, mut next: impl FnMut() -> Option<T>) -> u32 {
        let room = self.vacant(most).min(most);
        let mut written = 0;
        while written < room {
            let Some(entry) = next() else { break };
            let slot = self.cursor.slot(self.cursor.ours.wrapping_add(written));
            // SAFETY: slot < size, and the entry is one of `room` vacant ones: the consumer is done with it and has
            // not been shown it anew.
            unsafe { self.shared.entries.add(slot).write(entry) };
            written += 1;
        }
        if written > 0 {
            self.cursor.ours = self.cursor.ours.wrapping_add(written);
            // SAFETY: valid by the contract of `new`. Release: the entries are written before the index says so.
            unsafe { (*self.shared.producer).store(self.cursor.ours, Ordering::Release) };
        }
        written
    }

    /// Entries written that the consumer has not taken.
    #[inline]
    pub(super) fn pending(&self) -> u32 {
        // SAFETY: valid by the contract of `new`.
        let theirs = unsafe { load(self.shared.consumer) };
        self.cursor.size - Cursor { theirs, ..self.cursor }.vacant()
    }

    /// True when the kernel asks to be told of new entries by a system call. It may say so a moment after we looked:
    /// whoever polls looks again next turn, and poll(2) tells the kernel by itself before it sleeps.
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        // SAFETY: valid by the contract of `new`.
        unsafe { load(self.shared.flags) & NEED_WAKEUP != 0 }
    }
}

/// The reading end of a ring (RX, completion).
pub(super) struct Consumer<T> {
    shared: Shared<T>,
    cursor: Cursor,
}

// SAFETY: as for `Producer`.
unsafe impl<T: Send> Send for Consumer<T> {}

impl<T: Copy> Consumer<T> {
    /// # Safety
    /// As for [`Producer::new`], with this value as the ring's only consumer, and a `T` that any bytes are valid for.
    pub(super) unsafe fn new(shared: Shared<T>) -> Self {
        // SAFETY: the caller vouches for the pointers.
        let (theirs, ours) = unsafe { (load(shared.producer), load(shared.consumer)) };
        let cursor = Cursor::new(ours, theirs, shared.size);
        Self { shared, cursor }
    }

    /// Entries that can be read, looked up only if fewer than `want` were known of.
    #[inline]
    pub(super) fn filled(&mut self, want: u32) -> u32 {
        if self.cursor.filled() < want {
            // SAFETY: valid by the contract of `new`. Acquire: entries are read after the index that shows them.
            self.cursor.theirs = unsafe { load(self.shared.producer) };
        }
        self.cursor.filled()
    }

    /// Gives `each` up to `most` entries in order, each entry just once, then all their places back to the producer.
    /// Returns how many.
    #[inline]
    pub(super) fn take(&mut self, most: u32, mut each: impl FnMut(T)) -> u32 {
        let ready = self.filled(most).min(most);
        if ready == 0 {
            return 0;
        }
        let first = self.cursor.ours;
        // Before `each` runs: should it panic, the rest is lost, but nothing is read twice.
        self.cursor.ours = first.wrapping_add(ready);
        for n in 0..ready {
            let slot = self.cursor.slot(first.wrapping_add(n));
            // SAFETY: slot < size, and the entry is one of `ready` filled ones: the producer has shown it and will not
            // touch it before its place is given back.
            each(unsafe { self.shared.entries.add(slot).read() });
        }
        // SAFETY: valid by the contract of `new`. Release: the entries are read before the index says so.
        unsafe { (*self.shared.consumer).store(self.cursor.ours, Ordering::Release) };
        ready
    }
}

/// # Safety
/// `index` is valid and aligned.
#[inline]
unsafe fn load(index: *const AtomicU32) -> u32 {
    // SAFETY: the caller vouches for it.
    unsafe { (*index).load(Ordering::Acquire) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_wrap_at_two_to_the_32() {
        let mut c = Cursor::new(u32::MAX - 1, u32::MAX - 1, 4);
        assert_eq!((c.vacant(), c.filled()), (4, 0));
        let slots: Vec<usize> = (0..4).map(|n| c.slot(c.ours.wrapping_add(n))).collect();
        assert_eq!(slots, [2, 3, 0, 1]);
        c.ours = c.ours.wrapping_add(4);
        assert_eq!((c.ours, c.vacant()), (2, 0));
        c.theirs = 0;
        assert_eq!(c.vacant(), 2);
        let c = Cursor::new(u32::MAX, 2, 8);
        assert_eq!(c.filled(), 3);
    }

    #[test]
    fn nonsense_from_the_other_side_stays_within_the_ring() {
        assert_eq!(Cursor::new(0, 1_000, 8).filled(), 8);
        assert_eq!(Cursor::new(0, 1, 8).vacant(), 0);
        assert_eq!(Cursor::new(1_000, 0, 8).vacant(), 0);
    }

    struct Memory {
        producer: AtomicU32,
        consumer: AtomicU32,
        flags: AtomicU32,
        entries: [u64; 4],
    }

    fn ends(memory: &mut Memory) -> (Producer<u64>, Consumer<u64>) {
        let entries = memory.entries.as_mut_ptr();
        let Memory { producer, consumer, flags, .. } = memory;
        let shared = || Shared { producer, consumer, flags, entries, size: 4 };
        // SAFETY: the memory outlives both ends in each test, and there is one end of each kind.
        unsafe { (Producer::new(shared()), Consumer::new(shared())) }
    }

    fn memory(start: u32) -> Memory {
        let [producer, consumer] = [start; 2].map(AtomicU32::new);
        Memory { producer, consumer, flags: AtomicU32::new(0), entries: [u64::MAX; 4] }
    }

    #[test]
    fn what_goes_in_comes_out_in_order_across_the_wrap() {
        let mut memory = memory(u32::MAX - 5);
        let (mut p, mut c) = ends(&mut memory);
        let (mut next_in, mut next_out) = (0, 0);
        for round in 0..20u32 {
            let mut upcoming = next_in..;
            let many = round % 4 + 1;
            assert_eq!(p.put(many, || upcoming.next()), many);
            next_in = upcoming.start;
            assert_eq!((p.pending(), c.filled(1)), (many, many));
            let got = c.take(u32::MAX, |got| {
                assert_eq!(got, next_out);
                next_out += 1;
            });
            assert_eq!((got, p.pending(), c.filled(4)), (many, 0, 0));
        }
        assert_eq!(next_in, next_out);
    }

    #[test]
    fn a_full_ring_asks_for_nothing_and_places_come_back_in_one_go() {
        let mut memory = memory(0);
        let (mut p, mut c) = ends(&mut memory);
        let mut upcoming = 0..;
        assert_eq!((p.put(9, || upcoming.next()), p.put(1, || upcoming.next()), upcoming.start), (4, 0, 4));
        let mut seen = Vec::new();
        let took = c.take(1, |n| {
            assert_eq!(p.put(1, || upcoming.next()), 0, "its place is still taken");
            seen.push(n);
        });
        assert_eq!((took, p.put(2, || upcoming.next()), p.pending()), (1, 1, 4));
        assert_eq!((c.take(9, |n| seen.push(n)), seen), (4, vec![0, 1, 2, 3, 4]));
        assert_eq!(p.put(4, || None), 0);
        assert_eq!(p.pending(), 0);
    }

    #[test]
    fn a_reader_that_panics_reads_nothing_twice() {
        let mut memory = memory(0);
        let (mut p, mut c) = ends(&mut memory);
        p.put(3, || Some(7));
        let look = std::panic::AssertUnwindSafe(|| c.take(3, |_| panic!("once")));
        assert!(std::panic::catch_unwind(look).is_err());
        assert_eq!(c.take(3, |_| ()), 0);
    }

    #[test]
    fn the_wakeup_flag_is_read() {
        let mut memory = memory(0);
        memory.flags = AtomicU32::new(NEED_WAKEUP);
        assert!(ends(&mut memory).0.needs_wakeup());
        memory.flags = AtomicU32::new(2);
        assert!(!ends(&mut memory).0.needs_wakeup());
    }
}
