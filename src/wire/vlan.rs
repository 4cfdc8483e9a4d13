//! VLAN tags in front of the EtherType (IEEE 802.1Q; two of them, "QinQ", in IEEE 802.1ad).
//!
//! ```text
//!  0      6      12    14    16          18
//!  | dst  | src  | TPID | TCI | EtherType | …     TCI: priority (3 bits), drop eligible (1), VLAN identifier (12)
//! ```

use core::fmt;

use super::{NoHeadroom, Packet, eth};

/// Bytes of a tag.
pub const TAG: usize = 4;
/// The most tags a port may have.
pub const MAX_TAGS: usize = 2;

/// Bytes of both MAC addresses, which stand in front of the tags.
const MACS: usize = 12;
/// Bytes of the most tags.
const ROOM: usize = MAX_TAGS * TAG;

/// One tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tag {
    tpid: u16,
    vid: u16,
}

impl Tag {
    /// The tag of a VLAN: its protocol is [`eth::VLAN`] or [`eth::QINQ`], its identifier one from 1 to 4094 (0 is no
    /// VLAN, and 4095 is reserved). `None` otherwise.
    pub const fn new(tpid: u16, vid: u16) -> Option<Self> {
        let known = tpid == eth::VLAN || tpid == eth::QINQ;
        if known && vid >= 1 && vid <= 4094 { Some(Self { tpid, vid }) } else { None }
    }

    /// Its protocol, as an EtherType.
    pub const fn tpid(self) -> u16 {
        self.tpid
    }

    /// The VLAN's identifier.
    pub const fn vid(self) -> u16 {
        self.vid
    }

    /// As it lies on the wire, with priority 0.
    pub const fn bytes(self) -> [u8; TAG] {
        let ([a, b], [c, d]) = (self.tpid.to_be_bytes(), self.vid.to_be_bytes());
        [a, b, c, d]
    }
}

impl fmt::Display for Tag {
    /// `VLAN 100`, or `service VLAN 100` for a tag of IEEE 802.1ad.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}VLAN {}", if self.tpid == eth::QINQ { "service " } else { "" }, self.vid)
    }
}

/// The frame does not have the tags of its port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OtherTags;

/// The tags of every frame of a port, the outermost first: none, one or two.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct VlanTags {
    count: usize,
    bytes: [u8; ROOM],
}

impl VlanTags {
    /// The tags of a port without any.
    pub const NONE: Self = Self { count: 0, bytes: [0; ROOM] };

    /// These tags, the outermost first; `None` if they are more than [`MAX_TAGS`].
    pub fn new(tags: &[Tag]) -> Option<Self> {
        let mut bytes = [0; ROOM];
        let room = bytes.get_mut(..tags.len() * TAG)?;
        room.chunks_exact_mut(TAG).zip(tags).for_each(|(to, tag)| to.copy_from_slice(&tag.bytes()));
        Some(Self { count: tags.len(), bytes })
    }

    /// True for a port without tags.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there are.
    #[inline]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// How many bytes they make a frame longer.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // it has one
    pub const fn len(&self) -> usize {
        self.count * TAG
    }

    /// The tags as they lie on the wire, with priority 0; zeros behind them.
    pub const fn bytes(&self) -> &[u8; ROOM] {
        &self.bytes
    }

    /// Takes the tags off a frame, which must have exactly these; their priority bits are nobody's concern. What follows
    /// stays where it is, so that IP headers are aligned as they would be behind the tags. No more than the frame's first
    /// bytes need lie in the chunk.
    ///
    /// # Errors
    /// [`OtherTags`] for a frame with other tags, none, or not even room for them; nothing is changed then.
    #[inline]
    pub fn strip(&self, packet: &mut Packet<'_>) -> Result<(), OtherTags> {
        let len = self.len();
        if packet.len() < len + eth::LEN {
            return Err(OtherTags);
        }
        let (head, _) = packet.reach::<{ MACS + ROOM }>(0).ok_or(OtherTags)?;
        let found = head.last_chunk::<ROOM>().map_or(0, |tags| u64::from_be_bytes(*tags));
        if (found ^ u64::from_be_bytes(self.bytes)) & self.mask() != 0 {
            return Err(OtherTags);
        }
        head.copy_within(..MACS, len);
        packet.strip(len).map_err(|_| OtherTags)
    }

    /// Puts the tags on a frame.
    ///
    /// # Errors
    /// [`NoHeadroom`] when there is no room for them in front; nothing is changed then.
    #[inline]
    pub fn push(&self, packet: &mut Packet<'_>) -> Result<(), NoHeadroom> {
        let len = self.len();
        let (head, _) = packet.reach::<{ MACS + ROOM }>(len).ok_or(NoHeadroom)?;
        head.copy_within(len..len + MACS, 0);
        // behind the tags of fewer than two nothing is overwritten
        for (to, tag) in head.iter_mut().skip(MACS).zip(self.bytes).take(len) {
            *to = tag;
        }
        let (start, whole) = (packet.headroom() - len, packet.len() + len);
        packet.set_span(start, whole);
        Ok(())
    }

    /// The bits of [`bytes`](Self::bytes) that a received tag is compared by: all but priority and drop eligibility.
    const fn mask(&self) -> u64 {
        match self.count {
            0 => 0,
            1 => 0xffff_0fff_0000_0000,
            _ => 0xffff_0fff_ffff_0fff,
        }
    }
}

impl fmt::Display for VlanTags {
    /// `VLAN 100`, `VLAN 200 within service VLAN 100`, or `untagged`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tags = self.bytes.chunks_exact(TAG).take(self.count).enumerate().rev();
        for (depth, tag) in tags {
            let [a, b, c, d] = *tag else { continue };
            let tag = Tag { tpid: u16::from_be_bytes([a, b]), vid: u16::from_be_bytes([c, d]) };
            write!(f, "{tag}{}", if depth > 0 { " within " } else { "" })?;
        }
        if self.is_empty() { f.write_str("untagged") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Span;
    use proptest::prelude::*;

    fn tags(all: &[(u16, u16)]) -> VlanTags {
        let all: Vec<_> = all.iter().map(|(tpid, vid)| Tag::new(*tpid, *vid).unwrap()).collect();
        VlanTags::new(&all).unwrap()
    }

    /// What a frame of `bytes` behind 8 bytes of headroom becomes.
    fn change<E>(bytes: &[u8], how: impl FnOnce(&mut Packet<'_>) -> Result<(), E>) -> Result<Vec<u8>, E> {
        let mut chunk = [&[0xa5; 8][..], bytes, &[0x5a; 16]].concat();
        let mut span = Span { head: 8, len: bytes.len() as u16 };
        let mut packet = Packet::new(&mut chunk, &mut span);
        let done = how(&mut packet);
        assert!(done.is_ok() || packet.bytes() == bytes, "what is refused is left alone");
        done.map(|()| packet.bytes().to_vec())
    }

    const FRAME: [u8; 18] = *b"dddddds\0ssss\x08\0data";

    #[test]
    fn tags_lie_between_the_addresses_and_the_ethertype() {
        let tagged = change(&FRAME, |p| tags(&[(eth::VLAN, 100)]).push(p)).unwrap();
        assert_eq!(tagged, *b"dddddds\0ssss\x81\0\0\x64\x08\0data");
        let twice = change(&FRAME, |p| tags(&[(eth::QINQ, 0xabc), (eth::VLAN, 1)]).push(p)).unwrap();
        assert_eq!(twice, *b"dddddds\0ssss\x88\xa8\x0a\xbc\x81\0\0\x01\x08\0data");
        assert_eq!(change(&FRAME, |p| VlanTags::NONE.push(p)).unwrap(), FRAME);
        assert_eq!(change(&FRAME, |p| VlanTags::NONE.strip(p)).unwrap(), FRAME);
    }

    #[test]
    fn only_these_tags_are_taken_off_whatever_their_priority() {
        let one = tags(&[(eth::VLAN, 100)]);
        let of = |tag: &[u8]| [&FRAME[..12], tag, &FRAME[12..]].concat();
        for right in [[0x81, 0, 0, 100], [0x81, 0, 0xe0, 100], [0x81, 0, 0x10, 100]] {
            assert_eq!(change(&of(&right), |p| one.strip(p)).unwrap(), FRAME);
        }
        for wrong in [[0x81, 0, 0, 101], [0x81, 0, 1, 100], [0x88, 0xa8, 0, 100], [0x81, 1, 0, 100]] {
            assert_eq!(change(&of(&wrong), |p| one.strip(p)), Err(OtherTags));
        }
        assert_eq!(change(&FRAME, |p| one.strip(p)), Err(OtherTags));
        let two = tags(&[(eth::QINQ, 100), (eth::VLAN, 7)]);
        assert_eq!(change(&of(&[0x88, 0xa8, 0x20, 100, 0x81, 0, 0x40, 7]), |p| two.strip(p)).unwrap(), FRAME);
        for wrong in [[0x88, 0xa8, 0, 100, 0x81, 0, 0, 8], [0x88, 0xa8, 0, 101, 0x81, 0, 0, 7]] {
            assert_eq!(change(&of(&wrong), |p| two.strip(p)), Err(OtherTags));
        }
        assert_eq!(change(&of(&[0x88, 0xa8, 0, 100]), |p| two.strip(p)), Err(OtherTags));
    }

    #[test]
    fn a_frame_that_ends_within_its_tags_has_others() {
        let one = tags(&[(eth::VLAN, 100)]);
        let whole = change(&FRAME, |p| one.push(p)).unwrap();
        for len in 0..18 {
            assert_eq!(change(&whole[..len], |p| one.strip(p)), Err(OtherTags), "{len}");
        }
        assert_eq!(change(&whole[..18], |p| one.strip(p)).unwrap(), FRAME[..14]);
    }

    #[test]
    fn without_room_there_is_no_tag() {
        let mut chunk = [0; 64];
        let mut span = Span { head: 7, len: 20 };
        let mut packet = Packet::new(&mut chunk, &mut span);
        assert_eq!(tags(&[(eth::VLAN, 1), (eth::VLAN, 2)]).push(&mut packet), Err(NoHeadroom));
        assert_eq!(tags(&[(eth::VLAN, 1)]).push(&mut packet), Ok(()));
        assert_eq!(span, Span { head: 3, len: 24 });
    }

    #[test]
    fn tags_that_are_none_and_too_many_are_refused() {
        for (tpid, vid) in [(eth::VLAN, 0), (eth::VLAN, 4095), (eth::QINQ, 5000), (eth::IPV4, 1)] {
            assert_eq!(Tag::new(tpid, vid), None);
        }
        let tag = Tag::new(eth::VLAN, 4094).unwrap();
        assert_eq!((tag.tpid(), tag.vid()), (eth::VLAN, 4094));
        assert_eq!(tags(&[(eth::QINQ, 5)]).bytes(), &[0x88, 0xa8, 0, 5, 0, 0, 0, 0]);
        assert_eq!(VlanTags::new(&[tag; 3]), None);
        assert_eq!(VlanTags::new(&[]), Some(VlanTags::NONE));
        assert_eq!(VlanTags::new(&[tag; 2]).map(|t| (t.count(), t.len(), t.is_empty())), Some((2, 8, false)));
    }

    #[test]
    fn they_are_told_from_the_inside_out() {
        assert_eq!(tags(&[(eth::VLAN, 100)]).to_string(), "VLAN 100");
        assert_eq!(tags(&[(eth::QINQ, 100), (eth::VLAN, 7)]).to_string(), "VLAN 7 within service VLAN 100");
        assert_eq!(VlanTags::NONE.to_string(), "untagged");
    }

    proptest! {
        #[test]
        fn what_was_put_on_comes_off(
            frame in proptest::collection::vec(any::<u8>(), 14..100),
            all in proptest::collection::vec((any::<bool>(), 1u16..4095), 0..3),
            priorities in any::<[u8; 2]>(),
        ) {
            let all: Vec<_> = all.iter().map(|(s, vid)| (if *s { eth::QINQ } else { eth::VLAN }, *vid)).collect();
            let of_port = tags(&all);
            let mut tagged = change(&frame, |p| of_port.push(p)).unwrap();
            prop_assert_eq!(tagged.len(), frame.len() + of_port.len());
            for (n, priority) in priorities.into_iter().enumerate().take(all.len()) {
                tagged[14 + 4 * n] |= priority & 0xf0;
            }
            prop_assert_eq!(change(&tagged, |p| of_port.strip(p)).unwrap(), frame);
        }

        #[test]
        fn no_frame_makes_it_panic(
            frame in proptest::collection::vec(any::<u8>(), 0..40),
            vid in 1u16..4095,
            two in any::<bool>(),
        ) {
            let one = (eth::VLAN, vid);
            let of_port = if two { tags(&[one, one]) } else { tags(&[one]) };
            let _ = change(&frame, |p| of_port.strip(p));
            let _ = change(&frame, |p| of_port.push(p));
        }
    }
}
