//! The headers in front of an inner packet, as one block: what encapsulation writes and what a peer keeps prebuilt.
//! [`OuterV6`](super::OuterV6) is the same over IPv6.

use core::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{Sum, carrying_word};
use super::{Ethernet, Ipv4, Mac, Udp, Vni, Vxlan, eth, ipv4, udp, vxlan};

/// Outer Ethernet, IPv4, UDP and VXLAN headers and the inner Ethernet header: 64 bytes, one cache line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct OuterV4 {
    /// To the next hop, from our port.
    pub eth: Ethernet,
    /// From our VTEP to theirs.
    pub ip: Ipv4,
    /// From the flow's entropy to the overlay's port.
    pub udp: Udp,
    /// The VNI.
    pub vxlan: Vxlan,
    /// To the remote VTEP's MAC, from ours.
    pub inner: Ethernet,
}

/// Bytes of [`OuterV4`].
pub const LEN_V4: usize = size_of::<OuterV4>();
const _: () = assert!(LEN_V4 == 64);

/// What a prebuilt header is made of; `A` is two addresses of the outer family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends<A> {
    /// Outer Ethernet: the underlay next hop's address, then our port's.
    pub link: (Mac, Mac),
    /// Outer IP: the remote VTEP, then ours.
    pub vtep: A,
    /// Inner Ethernet: the remote VTEP's address, then ours.
    pub inner: (Mac, Mac),
    /// UDP destination port.
    pub udp_port: u16,
    /// The segment.
    pub vni: Vni,
    /// Code point in the outer header, 0 to 63.
    pub dscp: u8,
}

impl Ends<()> {
    /// The same, of a header from `local` to `remote`.
    pub fn between<A>(self, remote: A, local: A) -> Ends<(A, A)> {
        let Self { link, vtep: (), inner, udp_port, vni, dscp } = self;
        Ends { link, vtep: (remote, local), inner, udp_port, vni, dscp }
    }
}

impl OuterV4 {
    /// The header block for packets of no length at all: lengths are zero, and the IP checksum is the one that fits
    /// them, so that [`OuterV4::stamp`] need only add what differs.
    pub fn prebuilt(ends: &Ends<(Ipv4Addr, Ipv4Addr)>) -> Self {
        let mut ip = Ipv4 {
            version_ihl: 0x45,
            tos: ends.dscp << 2,
            total_len: U16::ZERO,
            // RFC 6864 §4.1: atomic datagrams (DF set, never fragmented) need no identification.
            id: U16::ZERO,
            // RFC 7348 §4.3: VTEPs must not fragment VXLAN packets; with DF no router will either.
            flags_offset: U16::new(0x4000),
            ttl: 64,
            protocol: ipv4::protocol::UDP,
            checksum: [0; 2],
            src: ends.vtep.1.octets(),
            dst: ends.vtep.0.octets(),
        };
        ip.checksum = Sum::ZERO.bytes(ip.as_bytes()).checksum();
        Self {
            eth: Ethernet::ipv4(ends.link.0, ends.link.1),
            ip,
            // RFC 7348 §5: the UDP checksum should be sent as zero (over IPv4).
            udp: Udp { src: U16::ZERO, dst: U16::new(ends.udp_port), len: U16::ZERO, checksum: [0; 2] },
            vxlan: Vxlan::new(ends.vni),
            inner: Ethernet::ipv4(ends.inner.0, ends.inner.1),
        }
    }

    /// Are all fields of a received header at their usual places: a UDP datagram in one piece, in IPv4 without options?
    #[inline]
    pub fn is_plain_udp(&self) -> bool {
        let ip = &self.ip;
        let first = (self.eth.ethertype.get(), ip.version_ihl, ip.protocol);
        first == (eth::IPV4, ipv4::PLAIN, ipv4::protocol::UDP) && !ip.is_fragment()
    }

    /// Fills in what depends on the packet: lengths, source port, the TOS bits that the inner packet contributes
    /// (disjoint from those of the prebuilt header), and the IP checksum over all of it.
    ///
    /// `inner_len` is the length of the inner IP packet, at most 65,535 less the overhead.
    ///
    /// Meant to be called on a copy that is in place already: small stores after wide ones cost nothing, while wide
    /// loads of what was just stored in small pieces would stall.
    #[inline(always)]
    pub fn stamp(&mut self, inner_len: u16, source_port: u16, tos: u8) {
        const UDP_OVERHEAD: u16 = (udp::LEN + vxlan::LEN + eth::LEN) as u16;
        const IP_OVERHEAD: u16 = UDP_OVERHEAD + ipv4::LEN as u16;
        let total = inner_len.wrapping_add(IP_OVERHEAD);
        let sum = carrying_word(!u16::from_ne_bytes(self.ip.checksum), total.to_be());
        self.ip.checksum = (!carrying_word(sum, u16::from(tos).to_be())).to_ne_bytes();
        self.ip.tos |= tos;
        self.ip.total_len = U16::new(total);
        self.udp.src = U16::new(source_port);
        self.udp.len = U16::new(inner_len.wrapping_add(UDP_OVERHEAD));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_stamped_header_is_whole(len in 0u16..=9000, port: u16, dscp in 0u8..64, tos in 0u8..4, a: u32, b: u32) {
            let mac = |n| Mac([2, 0, 0, 0, 0, n]);
            let mut o = OuterV4::prebuilt(&Ends {
                link: (mac(1), mac(2)),
                vtep: (Ipv4Addr::from_bits(a), Ipv4Addr::from_bits(b)),
                inner: (mac(3), mac(4)),
                udp_port: 4789,
                vni: Vni::new(7).unwrap(),
                dscp,
            });
            o.stamp(len, port, tos);
            prop_assert!(Sum::ZERO.bytes(o.ip.as_bytes()).is_intact());
            prop_assert_eq!(o.ip.tos, dscp << 2 | tos);
            prop_assert_eq!(o.ip.total_len.get(), len + 50);
            prop_assert_eq!(o.udp.len.get(), len + 30);
            prop_assert_eq!((o.udp.src.get(), o.udp.checksum), (port, [0, 0]));
            prop_assert_eq!((o.ip.source(), o.ip.destination()), (Ipv4Addr::from_bits(b), Ipv4Addr::from_bits(a)));
            prop_assert_eq!((o.eth.dst, o.eth.src, o.inner.dst, o.inner.src), (mac(1), mac(2), mac(3), mac(4)));
        }
    }
}
