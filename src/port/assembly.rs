//! Packets put together from the chunks they come in.

use super::pool::{Frame, Pool};

/// The front of a packet whose rest is still to come: a burst may end in the middle of one.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    packet: Option<Frame>,
    /// Its chunks.
    chunks: u32,
    /// It is too long: what comes of it still is left off. Unless that is padding, the packet is shorter than it says,
    /// and refused for that as any other such.
    cut: bool,
}

impl Assembly {
    /// Is nothing begun?
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.packet.is_none()
    }

    /// Chunks that wait for the rest of their packet.
    #[inline]
    pub(super) fn held(&self) -> u32 {
        self.chunks
    }

    /// Takes the next piece. Gives the packet if there is no `more` of it.
    #[cold]
    pub(super) fn add(&mut self, pool: &mut Pool, piece: Frame, more: bool) -> Option<Frame> {
        let packet = match self.packet.take() {
            None => {
                self.chunks = 1;
                piece
            }
            Some(packet) => self.append(pool, packet, piece),
        };
        if more {
            self.packet = Some(packet);
            return None;
        }
        (self.chunks, self.cut) = (0, false);
        Some(packet)
    }

    fn append(&mut self, pool: &mut Pool, packet: Frame, piece: Frame) -> Frame {
        if self.cut {
            pool.free(piece);
            return packet;
        }
        match pool.join(packet, piece) {
            Ok(packet) => {
                self.chunks += 1;
                packet
            }
            Err((packet, piece)) => {
                pool.free(piece);
                self.cut = true;
                packet
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::LONGEST;
    use super::super::umem::{Backing, Umem};
    use super::*;

    #[test]
    fn pieces_wait_for_the_last_and_what_is_too_long_is_cut() {
        let mut pool = Pool::new(Umem::new(16, 2048, Backing::Pages).unwrap()).unwrap();
        let mut assembly = Assembly::default();
        let sizes = [&[1700usize, 1700, 10][..], &[60], &[1792, 1792, 1792, 1792, 1792, 1300, 60, 1], &[100, 100]];
        for sizes in sizes {
            for (n, size) in sizes.iter().enumerate() {
                let more = n + 1 < sizes.len();
                let piece = pool.alloc_with(&vec![n as u8; *size]).unwrap();
                let packet = assembly.add(&mut pool, piece, more);
                assert_eq!((packet.is_none(), assembly.is_idle()), (more, !more));
                let out = packet.as_ref().map_or(0, |p| pool.pieces(p));
                assert_eq!(pool.free_count() + assembly.held() + out, 16);
                if let Some(packet) = packet {
                    // nothing of the sixth piece or any after it
                    let whole: usize = sizes.iter().sum();
                    let kept = if whole > LONGEST { 5 * 1792 } else { whole };
                    assert_eq!(usize::from(packet.span().len), kept);
                    pool.free(packet);
                }
            }
            assert_eq!(pool.free_count(), 16);
        }
    }
}
