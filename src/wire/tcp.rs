//! TCP (RFC 9293): the header, and the one option that a gateway may change.

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum;

/// Bytes of a header without options.
pub const LEN: usize = size_of::<Tcp>();

/// Offset of the flags in the header.
pub const FLAGS: usize = 13;
/// The flag of a segment that opens a connection, from either side.
pub const SYN: u8 = 0x02;

/// End of the option list, and padding: options of one octet.
const END: u8 = 0;
const NOP: u8 = 1;
/// Maximum segment size (RFC 9293 §3.7.1), and its length.
const MSS: u8 = 2;
const MSS_LEN: u8 = 4;

/// The fixed part of the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Tcp {
    /// Source port.
    pub src: U16,
    /// Destination port.
    pub dst: U16,
    /// Sequence number.
    pub sequence: U32,
    /// Acknowledgment number.
    pub acknowledgment: U32,
    /// Data offset in 32-bit words (the upper half), reserved bits.
    pub offset: u8,
    /// Flags.
    pub flags: u8,
    /// Window.
    pub window: U16,
    /// Checksum, in memory order.
    pub checksum: [u8; 2],
    /// Urgent pointer.
    pub urgent: U16,
}

impl Tcp {
    /// Bytes of header, options included.
    #[inline]
    pub const fn header_len(&self) -> usize {
        (self.offset >> 4) as usize * 4
    }
}

/// Does a segment open a connection?
pub fn is_syn(segment: &[u8]) -> bool {
    segment.get(FLAGS).is_some_and(|flags| flags & SYN != 0)
}

/// Lowers the maximum segment size that a SYN segment announces to `limit`, and patches the checksum. True if something
/// was changed.
///
/// What has no such option, or one that ends early, stays as it is: without one the limit is 536 or 1,220 bytes (RFC 9293
/// §3.7.1), which every tunnel has room for.
pub fn clamp_mss(segment: &mut [u8], limit: u16) -> bool {
    let Ok((header, _)) = Tcp::read_from_prefix(segment) else { return false };
    if header.flags & SYN == 0 {
        return false;
    }
    let Some(at) = mss_at(segment.get(..header.header_len()).unwrap_or_default()) else { return false };
    let Some(field) = segment.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) else { return false };
    let (old, new) = (*field, limit.to_be_bytes());
    if u16::from_be_bytes(old) <= limit {
        return false;
    }
    *field = new;
    // options begin anywhere: at an odd place the two octets stand in two words, each in the other half (RFC 1071 §2(B))
    let in_words = |[a, b]: [u8; 2]| if at.is_multiple_of(2) { [a, b] } else { [b, a] };
    if let Ok((header, _)) = Tcp::mut_from_prefix(segment) {
        header.checksum = checksum::update(header.checksum, in_words(old), in_words(new));
    }
    true
}

/// Where in a whole header the value of the option stands.
fn mss_at(header: &[u8]) -> Option<usize> {
    let mut at = LEN;
    // each step takes an octet at least
    while let Some(&kind) = header.get(at) {
        match (kind, header.get(at + 1)) {
            (END, _) => return None,
            (NOP, _) => at += 1,
            (MSS, Some(&MSS_LEN)) => return (at + 4 <= header.len()).then_some(at + 2),
            (_, Some(&len)) if len >= 2 => at += usize::from(len),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::checksum::Sum;
    use super::*;

    /// A segment with these flags and options, its checksum right but for the pseudo-header.
    fn segment(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0, flags, 0xff, 0xff, 0, 0, 0, 0];
        bytes.extend(options);
        bytes.resize(bytes.len().next_multiple_of(4), END);
        bytes[12] = (bytes.len() * 4) as u8;
        bytes.extend(payload);
        let sum = Sum::ZERO.bytes(&bytes).checksum();
        bytes[16..18].copy_from_slice(&sum);
        bytes
    }

    fn clamped(options: &[u8], limit: u16) -> Option<Vec<u8>> {
        let mut bytes = segment(SYN, options, b"");
        let before = bytes.clone();
        let changed = clamp_mss(&mut bytes, limit);
        assert_eq!(changed, bytes != before);
        assert!(Sum::ZERO.bytes(&bytes).is_intact());
        changed.then(|| bytes[LEN..LEN + options.len()].to_vec())
    }

    #[test]
    fn only_what_is_larger_is_lowered() {
        let mss = |value: u16| [&[MSS, 4][..], &value.to_be_bytes()].concat();
        assert_eq!(clamped(&mss(1460), 1410), Some(mss(1410)));
        assert_eq!((clamped(&mss(1410), 1410), clamped(&mss(536), 1410), clamped(&mss(0), 0)), (None, None, None));
        // among others, as stacks send it, and at an odd place
        let linux = |value| [&mss(value)[..], &[4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7]].concat();
        assert_eq!(clamped(&linux(1460), 1350), Some(linux(1350)));
        for nops in 1..5 {
            let odd = |value| [&vec![NOP; nops][..], &mss(value)].concat();
            assert_eq!(clamped(&odd(0xfffe), 0x0102), Some(odd(0x0102)), "{nops}");
        }
    }

    #[test]
    fn what_is_no_such_option_stays() {
        for options in [
            &[][..],
            &[END, MSS, 4, 0xff, 0xff],
            &[END, 2, MSS, 4, 0xff, 0xff],
            &[MSS, 3, 0xff, 0xff],
            &[MSS, 0, 0xff, 0xff],
            &[NOP, NOP, MSS, 4],
            &[8, 0, MSS, 4, 0xff, 0xff],
            &[8, 1, MSS, 4, 0xff, 0xff],
            &[254, 40, MSS, 4, 0xff, 0xff],
            &[5, 6, MSS, 4, 0xff, 0xff],
        ] {
            assert_eq!(clamped(options, 100), None, "{options:?}");
        }
        let mut later = segment(0x10, &[MSS, 4, 0xff, 0xff], b"");
        assert!(!clamp_mss(&mut later, 100), "no SYN");
        let mut data = segment(SYN, &[NOP; 4], &[MSS, 4, 0xff, 0xff]);
        assert!(!clamp_mss(&mut data, 100), "what lies behind the header is payload");
        let mut cut = segment(SYN, &[NOP, NOP, MSS, 4], &[0xff, 0xff]);
        assert!(!clamp_mss(&mut cut, 100), "and no value of an option");
    }

    #[test]
    fn truncation_at_every_byte_is_survived() {
        let whole = segment(SYN, &[NOP, MSS, 4, 0xff, 0xff], b"payload");
        for cut in 0..whole.len() {
            let mut bytes = whole[..cut].to_vec();
            let changed = clamp_mss(&mut bytes, 100);
            assert_eq!(changed, cut >= LEN + 8, "cut at {cut}: the header is whole, or stays");
        }
    }

    proptest! {
        #[test]
        fn anything_may_come(mut bytes in prop::collection::vec(any::<u8>(), 0..80), limit: u16) {
            if let Some(offset) = bytes.get_mut(12) { *offset |= 0x50; }
            if let Some(flags) = bytes.get_mut(FLAGS) { *flags |= SYN; }
            let before = bytes.clone();
            let changed = clamp_mss(&mut bytes, limit);
            let differ = bytes.iter().zip(&before).filter(|(a, b)| a != b).count();
            prop_assert!(differ <= 4 && (changed || differ == 0));
        }
    }
}
