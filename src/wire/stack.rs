//! The front of a frame as nearly all frames have it: no options, no tags, every header at its usual place.

use core::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ipv4::{self, protocol};
use super::vxlan::OVERHEAD_V4;
use super::{Ethernet, Ipv4, Mac, OuterV4, Udp, Vni, Vxlan, eth};

/// All headers up to the inner IP header. A plain frame begins at `outer.inner`; what lies before is room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct StackV4 {
    /// Everything in front of the inner IP packet.
    pub outer: OuterV4,
    /// The inner IP header.
    pub ip: Ipv4,
}

/// Bytes of [`StackV4`].
pub const LEN: usize = size_of::<StackV4>();

const IPV4: U16 = U16::from_bytes(eth::IPV4.to_be_bytes());

impl StackV4 {
    /// Of a VXLAN frame of `len` bytes that fits a [`Pattern`]: do its lengths agree with each other, and are both IP
    /// headers whole?
    #[inline(always)]
    pub fn is_whole(&self, len: usize) -> bool {
        let (outer, inner) = (self.outer.ip.words(), self.ip.words());
        let [outer_len, udp_len, inner_len] =
            [outer.total_len(), self.outer.udp.len.get(), inner.total_len()].map(usize::from);
        outer_len + eth::LEN <= len
            && udp_len + ipv4::LEN == outer_len
            && inner_len + usize::from(OVERHEAD_V4) <= outer_len
            && inner_len >= ipv4::LEN
            && outer.is_intact()
            && inner.is_intact()
    }

    /// Is this a plain frame of `len` bytes with a plain IP packet in it? (The EtherType is left to whoever looks at the
    /// addresses.)
    #[inline(always)]
    pub fn is_plain(&self, len: usize) -> bool {
        let ip = self.ip.words();
        ip.is_plain() && usize::from(ip.total_len()) + eth::LEN <= len
    }
}

/// What all plain VXLAN frames to one VTEP have in common, octet by octet. To hold a frame against it is to ask many
/// questions at once: IPv4 without options in IPv4 without options, no fragment, UDP without a checksum, to this address,
/// port, VNI and MAC address, and not from a group address.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Pattern {
    words: [u32; WORDS],
    /// [`MASK`], in memory: a compiler that knows it picks the words apart, and four vectors become many pieces.
    mask: [u32; WORDS],
}

/// Words that are compared: four vectors of 128 bits.
const WORDS: usize = 16;
/// Words in front of them, which lie in the outer Ethernet addresses.
const SKIPPED: usize = 2;

/// The bits that count.
const MASK: [u32; WORDS] = words(&{
    let (all, none) = (U16::from_bytes([0xff; 2]), U16::ZERO);
    let link = Ethernet { dst: Mac([0; 6]), src: Mac([0; 6]), ethertype: all };
    let ip = Ipv4 {
        version_ihl: 0xff,
        tos: 0,
        total_len: none,
        id: none,
        flags_offset: none,
        ttl: 0,
        protocol: 0,
        checksum: [0; 2],
        src: [0; 4],
        dst: [0; 4],
    };
    let outer_ip = Ipv4 { flags_offset: U16::from_bytes([0x3f, 0xff]), protocol: 0xff, dst: [0xff; 4], ..ip };
    StackV4 {
        outer: OuterV4 {
            eth: link,
            ip: outer_ip,
            udp: Udp { src: none, dst: all, len: none, checksum: [0xff; 2] },
            vxlan: Vxlan::MASK,
            inner: Ethernet { dst: Mac([0xff; 6]), src: Mac::GROUP, ethertype: all },
        },
        ip,
    }
});

impl Default for Pattern {
    /// Nothing but zeroes, which is no IPv4.
    fn default() -> Self {
        Self { words: [0; WORDS], mask: MASK }
    }
}

impl Pattern {
    /// The pattern of frames to this VTEP.
    pub fn of(vtep: Ipv4Addr, udp_port: u16, vni: Vni, mac: Mac) -> Self {
        let mut frame = StackV4::new_zeroed();
        let outer = &mut frame.outer;
        (outer.eth.ethertype, outer.inner.ethertype, outer.inner.dst) = (IPV4, IPV4, mac);
        (outer.ip.version_ihl, outer.ip.protocol, outer.ip.dst) = (ipv4::PLAIN, protocol::UDP, vtep.octets());
        (outer.udp.dst, outer.vxlan) = (U16::new(udp_port), Vxlan::new(vni));
        frame.ip.version_ihl = ipv4::PLAIN;
        Self { words: words(&frame), mask: MASK }
    }

    /// Does a frame fit?
    #[inline(always)]
    pub fn fits(&self, frame: &StackV4) -> bool {
        let (words, wanted) = (words(frame), self.words.iter().zip(&self.mask));
        words.iter().zip(wanted).fold(0, |differ, (word, (want, mask))| differ | (word ^ want) & mask) == 0
    }
}

/// The words that are compared, as they lie in memory.
#[inline(always)]
const fn words(frame: &StackV4) -> [u32; WORDS] {
    let all: [[u8; 4]; LEN / 4] = zerocopy::transmute!(*frame);
    let (mut words, mut n) = ([0; WORDS], 0);
    while n < WORDS {
        words[n] = u32::from_ne_bytes(all[n + SKIPPED]);
        n += 1;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_that_counts_counts_and_no_other() {
        let (vtep, vni, mac) = (Ipv4Addr::new(10, 0, 0, 1), Vni::new(0x0a0b0c).unwrap(), Mac([2, 0, 0, 0, 0, 9]));
        let pattern = Pattern::of(vtep, 4789, vni, mac);
        let mut good = StackV4::new_zeroed();
        (good.outer.eth.ethertype, good.outer.inner.ethertype) = (IPV4, IPV4);
        (good.outer.ip.version_ihl, good.ip.version_ihl, good.outer.ip.protocol) = (0x45, 0x45, 17);
        (good.outer.ip.dst, good.outer.udp.dst) = (vtep.octets(), U16::new(4789));
        (good.outer.vxlan, good.outer.inner.dst) = (Vxlan::new(vni), mac);
        assert!(pattern.fits(&good) && !Pattern::default().fits(&good));
        for bit in 0..LEN * 8 {
            let mut bytes: [u8; LEN] = good.as_bytes().try_into().unwrap();
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            let counts = match (bit / 8, bit % 8) {
                (12..=14 | 21 | 23 | 30..=33 | 36..=37 | 40..=55 | 62..=64, _) => true,
                (20, bit) => bit >= 2, // fragment bits; neither the reserved one nor DF
                (56, bit) => bit == 7, // a group's address
                _ => false,
            };
            assert_eq!(!pattern.fits(StackV4::ref_from_bytes(&bytes).unwrap()), counts, "bit {bit}");
        }
    }
}
