//! Checksums that a frame leaves to the device by which its packet leaves.
//!
//! What is left is noted beside the frames, so that those that leave nothing are no larger for it. What a descriptor asks of
//! the device stands right in front of the packet (Documentation/networking/xsk-tx-metadata.rst).

use super::{Frame, LONG, Pool};
use crate::wire::Unfinished;

/// The bit that tells a frame that leaves a checksum to a device. No pool has a number with it.
pub(super) const LEFT: u32 = 1 << 30;

/// Bytes of `struct xsk_tx_metadata` (linux/if_xdp.h): what is asked for; where the checksum begins and where it goes, 16
/// bits each; the rest is for launch times.
pub(in crate::port) const METADATA: u16 = 24;

impl Pool {
    /// Leaves a checksum of the frame's packet to the device by which it leaves, which must be one that
    /// [finishes](crate::port::Port::finishes) them. From here on the packet is looked at no more, and the frame is sent or
    /// freed.
    pub fn leave_unfinished(&mut self, frame: &mut Frame, unfinished: Unfinished) {
        debug_assert_eq!(frame.pool & !LONG, self.id, "a checksum of a frame of another pool, or left already");
        if unfinished.is_none() || frame.pool & !LONG != self.id {
            return;
        }
        if let Some(place) = self.left.get_mut(frame.chunk as usize) {
            *place = unfinished;
            frame.pool |= LEFT;
        }
    }

    /// Takes back what a frame leaves to a device.
    pub fn take_unfinished(&mut self, frame: &mut Frame) -> Unfinished {
        if frame.pool & LEFT == 0 || frame.pool & !(LONG | LEFT) != self.id {
            return Unfinished::NONE;
        }
        frame.pool &= !LEFT;
        self.left.get(frame.chunk as usize).copied().unwrap_or_default()
    }

    /// Every packet is to leave with [`METADATA`] bytes free in front, asked for something or not: so the kernel wants it
    /// where the memory is registered with metadata.
    pub(in crate::port) fn keep_metadata(&mut self, wanted: bool) {
        self.metadata = if wanted { METADATA } else { 0 };
    }

    /// Asks for the checksum over the frame's packet from byte `start` on, to be put `field` bytes from there. False, with
    /// nothing written, where there is no room for that in front of the packet.
    #[inline(never)]
    pub(in crate::port) fn ask_for_checksum(&mut self, frame: &Frame, (start, field): (usize, usize)) -> bool {
        let (Ok(start), Ok(field)) = (u16::try_from(start), u16::try_from(field)) else { return false };
        if frame.pool & !LONG != self.id {
            return false;
        }
        // SAFETY: as in `packet`: the frame is unique and bears this pool's number; a long one, too, owns its first chunk.
        let bytes = unsafe { self.chunk(frame.chunk) };
        let Some(room) = bytes.get_mut(..usize::from(frame.span.head)).and_then(<[u8]>::last_chunk_mut) else {
            return false;
        };
        let asked: &mut [u8; METADATA as usize] = room;
        asked.fill(0);
        asked[..8].copy_from_slice(&u64::from(libc::XDP_TXMD_FLAGS_CHECKSUM).to_ne_bytes());
        asked[8..10].copy_from_slice(&start.to_ne_bytes());
        asked[10..12].copy_from_slice(&field.to_ne_bytes());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::umem::{Backing, Umem};
    use super::*;
    use crate::wire::Span;
    use crate::wire::unfinished::UDP_CHECKSUM;

    #[test]
    fn what_is_left_goes_with_its_frame() {
        let mut pool = Pool::new(Umem::new(3, 2048, Backing::Pages).unwrap()).unwrap();
        let sum = Unfinished::new(40, UDP_CHECKSUM);
        for data in [&[0xaa; 60][..], &[0xbb; 3000]] {
            let mut frame = pool.alloc_any(256, data).unwrap();
            let long = frame.is_long();
            pool.leave_unfinished(&mut frame, Unfinished::NONE);
            assert!(pool.take_unfinished(&mut frame).is_none());
            pool.leave_unfinished(&mut frame, sum);
            assert_eq!((frame.is_long(), pool.sendable(&frame)), (long, false));
            assert_eq!([0; 2].map(|_| pool.take_unfinished(&mut frame)), [sum, Unfinished::NONE]);
            assert_eq!((frame.is_long(), pool.sendable(&frame)), (long, !long));
            pool.leave_unfinished(&mut frame, sum);
            pool.free(frame);
            assert_eq!(pool.free_count(), 3);
        }
    }

    #[test]
    fn what_is_asked_for_stands_in_front_and_needs_its_room() {
        let mut pool = Pool::new(Umem::new(2, 2048, Backing::Pages).unwrap()).unwrap();
        let mut frame = pool.alloc_with(&[0xaa; 60]).unwrap();
        assert!(pool.ask_for_checksum(&frame, (34, 16)));
        let asked: Vec<u8> = pool.packet(&mut frame).reach::<24>(24).unwrap().0.to_vec();
        assert_eq!(asked[..8], 2u64.to_ne_bytes());
        assert_eq!((&asked[8..10], &asked[10..12]), (&34u16.to_ne_bytes()[..], &16u16.to_ne_bytes()[..]));
        assert!(asked[12..].iter().all(|b| *b == 0) && pool.packet(&mut frame).bytes() == [0xaa; 60]);
        assert!(!pool.ask_for_checksum(&frame, (70_000, 16)));
        for (head, room) in [(24, true), (23, false), (0, false)] {
            frame.set_span(Span { head, len: 60 });
            assert_eq!(pool.ask_for_checksum(&frame, (34, 16)), room);
            pool.keep_metadata(true);
            assert_eq!(pool.sendable(&frame), room);
            pool.keep_metadata(false);
            assert!(pool.sendable(&frame));
        }
        pool.free(frame);
    }
}
