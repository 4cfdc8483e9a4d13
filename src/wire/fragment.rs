//! Fragmentation of an IPv4 packet on its way (RFC 791 §3.2).

use core::ops::Range;

use zerocopy::FromBytes;
use zerocopy::byteorder::network_endian::U16;

use super::Ipv4;
use super::checksum::Sum;
use super::ipv4::{LEN, MORE_FRAGMENTS, OFFSET};

/// The longest header: fifteen 32-bit words.
const HEADER: usize = 60;
/// Offsets count such blocks.
const BLOCK: usize = 8;
/// The bit of an option that is to be in every fragment, not only the first.
const COPIED: u8 = 0x80;
/// Options of one octet: end of the list, and padding.
const END: u8 = 0;
const NOP: u8 = 1;

/// The fragments of a packet, one after the other.
#[derive(Clone, Debug)]
pub struct Fragments {
    first: Header,
    later: Header,
    /// Where the rest of the payload lies in the packet.
    rest: Range<usize>,
    /// Where it lies in the datagram, in blocks.
    offset: u16,
    /// More fragments follow this packet, which is one itself.
    more: bool,
    mtu: usize,
}

/// One fragment of a packet.
#[derive(Clone, Debug)]
pub struct Fragment {
    header: Header,
    /// Where its payload lies in the packet.
    pub payload: Range<usize>,
}

/// A header with its options.
#[derive(Clone, Copy, Debug)]
struct Header {
    bytes: [u8; HEADER],
    len: usize,
}

impl Fragments {
    /// Those of an intact packet, none longer than `mtu` bytes. `None` if there is no room for any payload: `mtu` must be 68
    /// at least (RFC 791 §3.2).
    pub fn of(packet: &[u8], mtu: u16) -> Option<Self> {
        let ip = Ipv4::ref_from_prefix(packet).ok()?.0;
        let total = usize::from(ip.total_len.get());
        let (header, mtu) = (packet.get(..ip.header_len())?, usize::from(mtu));
        if header.len() < LEN || total > packet.len() || header.len() > total || mtu < HEADER + BLOCK {
            return None;
        }
        let flags = ip.flags_offset.get();
        // RFC 791 §3.1: no datagram is longer, so no fragment may reach further
        if usize::from(flags & OFFSET) * BLOCK + total > usize::from(u16::MAX) {
            return None;
        }
        Some(Self {
            first: Header::of(header)?,
            later: Header::copied(header)?,
            rest: header.len()..total,
            offset: flags & OFFSET,
            more: flags & MORE_FRAGMENTS != 0,
            mtu,
        })
    }
}

impl Iterator for Fragments {
    type Item = Fragment;

    fn next(&mut self) -> Option<Fragment> {
        if self.rest.is_empty() {
            return None;
        }
        let mut header = self.first;
        let room = self.mtu - header.len;
        let last = self.rest.len() <= room;
        let len = if last { self.rest.len() } else { room / BLOCK * BLOCK };
        let payload = self.rest.start..self.rest.start + len;
        header.place(len, self.offset, self.more || !last);
        self.rest.start = payload.end;
        self.offset += (len / BLOCK) as u16;
        self.first = self.later;
        Some(Fragment { header, payload })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let ([first, later], rest) = ([self.first, self.later].map(|h| self.mtu - h.len), self.rest.len());
        let blocks = |room: usize| room / BLOCK * BLOCK;
        // the last one alone need not end with a block
        let count = match rest {
            0 => 0,
            _ if rest <= first => 1,
            _ => 2 + (rest - blocks(first)).saturating_sub(later).div_ceil(blocks(later)),
        };
        (count, Some(count))
    }
}

impl ExactSizeIterator for Fragments {}

impl Fragment {
    /// Its header, options included.
    pub fn header(&self) -> &[u8] {
        self.header.bytes.get(..self.header.len).unwrap_or_default()
    }
}

impl Header {
    fn of(header: &[u8]) -> Option<Self> {
        let mut bytes = [0; HEADER];
        bytes.get_mut(..header.len())?.copy_from_slice(header);
        Some(Self { bytes, len: header.len() })
    }

    /// That of a later fragment: only the options that are to be copied.
    fn copied(header: &[u8]) -> Option<Self> {
        let (mut bytes, mut len) = ([END; HEADER], LEN);
        bytes.get_mut(..LEN)?.copy_from_slice(header.get(..LEN)?);
        let mut rest = header.get(LEN..)?;
        while let [kind, ..] = *rest {
            let size = match (kind, rest.get(1)) {
                (END, _) => break,
                (NOP, _) => 1,
                (_, Some(&size)) if size >= 2 => usize::from(size),
                _ => break, // it lies about its length: what follows is no option
            };
            let Some(option) = rest.get(..size) else { break };
            if kind & COPIED != 0 {
                bytes.get_mut(len..len + size)?.copy_from_slice(option);
                len += size;
            }
            rest = rest.get(size..)?;
        }
        let len = len.next_multiple_of(4); // the list ends with zeroes
        bytes[0] = 0x40 | (len / 4) as u8;
        Some(Self { bytes, len })
    }

    /// Writes what depends on the fragment: length, place, and the checksum over all.
    fn place(&mut self, payload: usize, offset: u16, more: bool) {
        let len = self.len;
        let Ok((ip, _)) = Ipv4::mut_from_prefix(&mut self.bytes) else { return };
        // a packet that may be fragmented has no DF; the reserved bit is nobody's
        ip.flags_offset = U16::new(offset | if more { MORE_FRAGMENTS } else { 0 });
        ip.total_len = U16::new((len + payload) as u16);
        ip.checksum = [0; 2];
        let sum = Sum::ZERO.bytes(self.bytes.get(..len).unwrap_or_default()).checksum();
        if let Ok((ip, _)) = Ipv4::mut_from_prefix(&mut self.bytes) {
            ip.checksum = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    use super::*;

    fn packet(flags_offset: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let header = LEN + options.len();
        let mut ip = Ipv4 {
            version_ihl: 0x40 | (header / 4) as u8,
            tos: 0x2e,
            total_len: U16::new((header + payload.len()) as u16),
            id: U16::new(0xbeef),
            flags_offset: U16::new(flags_offset),
            ttl: 63,
            protocol: 17,
            checksum: [0; 2],
            src: [10, 0, 0, 1],
            dst: [10, 0, 0, 2],
        };
        ip.checksum = Sum::ZERO.bytes(ip.as_bytes()).bytes(options).checksum();
        [ip.as_bytes(), options, payload].concat()
    }

    fn whole(packet: &[u8], mtu: u16) -> Vec<Vec<u8>> {
        let fragments = Fragments::of(packet, mtu).unwrap();
        let count = fragments.len();
        let all: Vec<_> = fragments.map(|f| [f.header(), &packet[f.payload.clone()]].concat()).collect();
        assert_eq!(all.len(), count);
        all
    }

    /// RFC 791's own words, as a receiver reads them: where each piece goes, and whether it is the last.
    fn pieces(fragments: &[Vec<u8>]) -> Vec<(usize, bool, &[u8])> {
        let piece = |bytes: &'_ Vec<u8>| {
            let ip = Ipv4::parse(bytes).unwrap();
            assert_eq!(usize::from(ip.total_len.get()), bytes.len());
            let flags = ip.flags_offset.get();
            (usize::from(flags & OFFSET) * 8, flags & MORE_FRAGMENTS != 0, ip.header_len())
        };
        fragments.iter().map(|f| (piece(f).0, piece(f).1, &f[piece(f).2..])).collect()
    }

    #[test]
    fn a_packet_that_is_a_fragment_itself_is_cut_again() {
        let payload: Vec<u8> = (0..64).collect();
        for (flags, more) in [(MORE_FRAGMENTS | 100, true), (100, false)] {
            let fragments = whole(&packet(flags, &[], &payload), 68);
            let got: Vec<_> = pieces(&fragments).iter().map(|(at, more, bytes)| (*at, *more, bytes.len())).collect();
            assert_eq!(got, [(800, true, 48), (848, more, 16)]);
        }
    }

    #[test]
    fn options_are_copied_as_they_say() {
        // no operation, record route (first fragment only), loose source route (all), end
        let (record, source) = ([7, 7, 4, 1, 2, 3, 4], [0x83, 7, 4, 9, 9, 9, 9]);
        let options = [&[NOP][..], &record, &source, &[END]].concat();
        let fragments = whole(&packet(0, &options, &[1; 200]), 100);
        assert_eq!(&fragments[0][LEN..LEN + 16], options);
        for later in &fragments[1..] {
            assert_eq!((later[0], &later[LEN..LEN + 8]), (0x47, &[&source[..], &[END]].concat()[..]));
        }
        let behind_the_end = [END, 2, 0x83, 2];
        for broken in [[0x83, 0, 1, 1], [0x83, 1, 1, 1], [0x83, 5, 1, 1], [NOP, NOP, NOP, 0x83], behind_the_end] {
            assert_eq!(whole(&packet(0, &broken, &[1; 200]), 100)[1][0], 0x45, "{broken:?}");
        }
    }

    #[test]
    fn there_must_be_room() {
        let packet = packet(0, &[], &[1; 200]);
        assert!(Fragments::of(&packet, 67).is_none() && Fragments::of(&packet, 68).is_some());
        assert!(Fragments::of(&self::packet(OFFSET, &[], &[1; 200]), 100).is_none(), "it reaches beyond 65,535 bytes");
        let last = |n: usize| Fragments::of(&self::packet(8189, &[], &[1; 4][..n]), 100);
        assert!(last(3).is_some() && last(4).is_none(), "byte 65,534 is the last there can be");
        let mut bare = self::packet(0, &[], &[]);
        assert_eq!(whole(&bare, 100).len(), 0, "a header alone is a packet, and nothing is to be cut");
        bare[3] -= 1;
        assert!(Fragments::of(&bare, 100).is_none(), "a length within the header");
        for cut in 0..packet.len() {
            assert!(Fragments::of(&packet[..cut], 100).is_none(), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn fragments_make_the_packet_again(payload in prop::collection::vec(any::<u8>(), 1..4000), mtu in 68u16..1500, words in 0usize..=10) {
            let packet = packet(0, &vec![NOP; words * 4], &payload);
            let fragments = whole(&packet, mtu);
            let (mut together, pieces) = (Vec::<u8>::new(), pieces(&fragments));
            for (n, (at, more, bytes)) in pieces.iter().enumerate() {
                prop_assert!(*at == together.len() && *more == (n + 1 < pieces.len()) && !bytes.is_empty());
                together.extend(*bytes);
            }
            prop_assert_eq!(together, payload);
            for f in &fragments {
                let ip = Ipv4::parse(f).unwrap();
                prop_assert!(f.len() <= usize::from(mtu));
                prop_assert_eq!((ip.id.get(), ip.tos, ip.ttl, ip.protocol), (0xbeef, 0x2e, 63, 17));
            }
        }
    }
}
