//! One packet inside one chunk of packet memory: bytes, and where they begin and end.

/// Where a packet lies inside its chunk: `head` bytes from the chunk's start, `len` bytes long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// Offset of the first byte from the start of the chunk.
    pub head: u16,
    /// Bytes of packet.
    pub len: u16,
}

impl Span {
    #[cold]
    fn cut(&mut self, size: u16) {
        self.head = self.head.min(size);
        self.len = self.len.min(size - self.head);
    }
}

/// The room in front of a packet does not hold the header that should go there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoHeadroom;

/// The room behind the front of a packet does not hold what should go there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoTailroom;

/// The packet is shorter than what should be taken off it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooShort;

/// A view of one packet within its chunk. Headers are put on and taken off by moving the head, never by moving
/// the payload; the span is written through, so whoever owns the chunk sees the packet where it ended up.
///
/// No IO: unit tests, fuzzers and benchmarks of everything above stop here.
///
/// ```
/// use selvedge::wire::{Packet, Span};
///
/// let mut chunk = *b"........payload.";
/// let mut span = Span { head: 8, len: 7 };
/// let mut packet = Packet::new(&mut chunk, &mut span);
/// packet.prepend::<4>().unwrap().copy_from_slice(b"head");
/// assert_eq!(packet.bytes(), b"headpayload");
/// packet.strip(7).unwrap();
/// assert_eq!(packet.bytes(), b"load");
/// ```
#[derive(Debug)]
pub struct Packet<'a> {
    chunk: &'a mut [u8],
    span: &'a mut Span,
}

impl<'a> Packet<'a> {
    /// A view of `span` within `chunk`. A span that reaches past the chunk is cut to fit, so that no later access
    /// can be out of bounds; a port never hands out such a span.
    #[inline]
    pub fn new(chunk: &'a mut [u8], span: &'a mut Span) -> Self {
        let size = chunk.len().min(usize::from(u16::MAX));
        if usize::from(span.head) + usize::from(span.len) > size {
            span.cut(size as u16);
        }
        Self { chunk, span }
    }

    /// A view of a span that is not cut. If it reaches past the chunk, as that of a packet which goes on elsewhere, what lies
    /// around the head can be [reached](Self::reach) and rewritten; [`bytes`](Self::bytes) are none.
    #[inline]
    pub fn front(chunk: &'a mut [u8], span: &'a mut Span) -> Self {
        Self { chunk, span }
    }

    /// Hands the packet to a function that is not inlined, with a span of its own that is copied back: then the span of
    /// all the packets that are not handed over need not be in memory.
    #[inline(always)]
    pub fn aside<R>(&mut self, work: impl FnOnce(&mut Packet<'_>) -> R) -> R {
        let mut span = *self.span;
        let result = work(&mut Packet { chunk: self.chunk, span: &mut span });
        *self.span = span;
        result
    }

    /// The packet's bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        let (head, len) = self.bounds();
        self.chunk.get(head..head + len).unwrap_or_default()
    }

    /// The packet's bytes, writable.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (head, len) = self.bounds();
        self.chunk.get_mut(head..head + len).unwrap_or_default()
    }

    /// Length in bytes.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // an empty packet is just a malformed one: nobody asks
    pub fn len(&self) -> usize {
        usize::from(self.span.len)
    }

    /// Bytes free in front of the packet.
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(self.span.head)
    }

    /// Bytes free behind the packet.
    #[inline]
    pub fn tailroom(&self) -> usize {
        let (head, len) = self.bounds();
        self.chunk.len().saturating_sub(head + len)
    }

    /// Grows the packet by `N` bytes at its front and returns them for writing. They hold whatever lay there.
    ///
    /// # Errors
    /// [`NoHeadroom`] when the chunk has less than `N` bytes in front; nothing is changed then.
    #[inline]
    pub fn prepend<const N: usize>(&mut self) -> Result<&mut [u8; N], NoHeadroom> {
        let head = self.headroom().checked_sub(N).ok_or(NoHeadroom)?;
        let room = self.chunk.get_mut(head..).and_then(|c| c.first_chunk_mut()).ok_or(NoHeadroom)?;
        self.span.head -= N as u16;
        self.span.len += N as u16;
        Ok(room)
    }

    /// Takes `n` bytes off the front.
    ///
    /// # Errors
    /// [`TooShort`] when the packet has fewer; nothing is changed then.
    #[inline]
    pub fn strip(&mut self, n: usize) -> Result<(), TooShort> {
        if n > self.len() {
            return Err(TooShort);
        }
        self.span.head += n as u16;
        self.span.len -= n as u16;
        Ok(())
    }

    /// Cuts the packet to `len` bytes if it is longer (Ethernet padding behind an IP packet, say).
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.span.len = self.len().min(len) as u16;
    }

    /// `N` bytes of the chunk that begin `back` bytes before the packet, and what follows them up to the chunk's end:
    /// both may reach well beyond the packet's.
    #[inline]
    pub fn reach<const N: usize>(&mut self, back: usize) -> Option<(&mut [u8; N], &mut [u8])> {
        self.reach_all::<N>(back)?.split_first_chunk_mut()
    }

    /// The same in one piece, of `N` bytes or more.
    #[inline]
    pub fn reach_all<const N: usize>(&mut self, back: usize) -> Option<&mut [u8]> {
        let at = self.headroom().checked_sub(back)?;
        if at + N > self.chunk.len() {
            return None;
        }
        self.chunk.get_mut(at..)
    }

    /// Says where in the chunk the packet lies from now on. A span that reaches past the chunk is that of a
    /// [front](Self::front), which has no bytes.
    #[inline]
    pub fn set_span(&mut self, head: usize, len: usize) {
        debug_assert!(head <= self.chunk.len() && len <= usize::from(u16::MAX));
        *self.span = Span { head: head as u16, len: len as u16 };
    }

    /// Makes the packet consist of these parts, one after the other, from where it begins.
    ///
    /// # Errors
    /// [`NoTailroom`] when the chunk has less room behind; nothing is changed then.
    pub fn fill(&mut self, parts: &[&[u8]]) -> Result<(), NoTailroom> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let head = self.headroom();
        let mut room = self.chunk.get_mut(head..head + len).ok_or(NoTailroom)?;
        for part in parts {
            let (now, rest) = room.split_at_mut(part.len());
            now.copy_from_slice(part);
            room = rest;
        }
        self.span.len = len as u16;
        Ok(())
    }

    #[inline]
    fn bounds(&self) -> (usize, usize) {
        (usize::from(self.span.head), usize::from(self.span.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_moves_and_payload_stays() {
        let mut chunk = [0xa5; 64];
        chunk[16..20].copy_from_slice(b"data");
        let mut span = Span { head: 16, len: 4 };
        let mut p = Packet::new(&mut chunk, &mut span);
        p.prepend::<8>().unwrap().fill(1);
        assert_eq!(p.bytes(), [&[1u8; 8][..], b"data"].concat());
        p.strip(8).unwrap();
        assert_eq!((p.bytes(), p.headroom(), p.tailroom()), (&b"data"[..], 16, 44));
        assert_eq!(p.prepend::<17>().unwrap_err(), NoHeadroom);
        assert_eq!(p.strip(5), Err(TooShort));
        p.truncate(2);
        p.truncate(3);
        assert_eq!(p.bytes(), b"da");
        p.strip(2).unwrap();
        assert_eq!(span, Span { head: 18, len: 0 });
    }

    #[test]
    fn what_lies_around_a_packet_is_within_reach() {
        let mut chunk: [u8; 16] = std::array::from_fn(|n| n as u8);
        let mut span = Span { head: 6, len: 2 };
        let mut p = Packet::new(&mut chunk, &mut span);
        let (front, rest) = p.reach::<8>(4).unwrap();
        assert_eq!((&front[..], &rest[..]), (&[2, 3, 4, 5, 6, 7, 8, 9][..], &[10, 11, 12, 13, 14, 15][..]));
        assert!(p.reach::<10>(0).is_some_and(|(_, rest)| rest.is_empty()));
        assert_eq!(p.reach_all::<14>(4).unwrap(), [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert!(p.reach_all::<15>(4).is_none() && p.reach_all::<1>(7).is_none());
        assert!(p.reach::<11>(0).is_none() && p.reach::<1>(7).is_none());
        p.set_span(2, 9);
        assert_eq!(p.bytes(), [2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn a_front_can_be_rewritten_and_keeps_the_length_of_the_whole() {
        let mut chunk: [u8; 16] = std::array::from_fn(|n| n as u8);
        let mut span = Span { head: 6, len: 9000 };
        let mut p = Packet::front(&mut chunk, &mut span);
        assert_eq!((p.bytes_mut().len(), p.bytes().len(), p.len(), p.tailroom()), (0, 0, 9000, 0));
        assert_eq!(p.reach_all::<14>(4).unwrap()[..3], [2, 3, 4]);
        p.prepend::<4>().unwrap().fill(0xee);
        p.strip(1).unwrap();
        assert_eq!(p.len(), 9003);
        p.set_span(2, 9004);
        assert_eq!(span, Span { head: 2, len: 9004 });
        assert_eq!(chunk[2..7], [0xee, 0xee, 0xee, 0xee, 6]);
    }

    #[test]
    fn a_packet_is_filled_with_parts_as_far_as_there_is_room() {
        let mut chunk = [0xa5; 16];
        let mut span = Span { head: 4, len: 3 };
        let mut p = Packet::new(&mut chunk, &mut span);
        p.fill(&[b"two ", b"", b"parts"]).unwrap();
        assert_eq!((p.bytes(), p.headroom()), (&b"two parts"[..], 4));
        assert_eq!(p.fill(&[&[1; 7], &[2; 6]]), Err(NoTailroom));
        assert_eq!(p.bytes(), b"two parts");
        p.fill(&[&[1; 7], &[2; 5]]).unwrap();
        assert_eq!((p.len(), p.tailroom()), (12, 0));
    }

    #[test]
    fn a_span_past_the_chunk_is_cut() {
        let mut chunk = [0xa5; 8];
        for (span, want) in [(Span { head: 4, len: 9 }, 4), (Span { head: 9, len: 1 }, 0)] {
            let mut s = span;
            assert_eq!(Packet::new(&mut chunk, &mut s).bytes().len(), want);
        }
    }
}
