//! The headers in front of an inner packet over IPv6, as one block.

use core::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{Sum, pseudo_v6};
use super::flow::Flow;
use super::ipv4::protocol;
use super::outer::Ends;
use super::{Ethernet, Ipv6, Udp, Vxlan, eth, ipv6, udp, vxlan};

/// Outer Ethernet, IPv6, UDP and VXLAN headers and the inner Ethernet header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct OuterV6 {
    /// To the next hop, from our port.
    pub eth: Ethernet,
    /// From our VTEP to theirs.
    pub ip: Ipv6,
    /// From the flow's entropy to the overlay's port.
    pub udp: Udp,
    /// The VNI.
    pub vxlan: Vxlan,
    /// To the remote VTEP's MAC, from ours.
    pub inner: Ethernet,
}

/// Bytes of [`OuterV6`].
pub const LEN_V6: usize = size_of::<OuterV6>();

/// Of the UDP datagram, what is in front of the inner IP packet.
const UDP_OVERHEAD: u16 = (udp::LEN + vxlan::LEN + eth::LEN) as u16;

impl OuterV6 {
    /// The header block for packets of no length and no flow.
    pub fn prebuilt(ends: &Ends<(Ipv6Addr, Ipv6Addr)>) -> Self {
        let mut ip = Ipv6 {
            version_class_label: ipv6::PLAIN,
            payload_len: U16::ZERO,
            next_header: protocol::UDP,
            hop_limit: 64,
            src: ends.vtep.1.octets(),
            dst: ends.vtep.0.octets(),
        };
        ip.set_traffic_class(ends.dscp << 2);
        Self {
            eth: Ethernet::ipv6(ends.link.0, ends.link.1),
            ip,
            udp: Udp { src: U16::ZERO, dst: U16::new(ends.udp_port), len: U16::ZERO, checksum: [0; 2] },
            vxlan: Vxlan::new(ends.vni),
            inner: Ethernet::ipv4(ends.inner.0, ends.inner.1),
        }
    }

    /// Fills in what depends on the packet: lengths, source port and flow label (RFC 6438 §3), and the bits that the
    /// inner packet adds to the traffic class (disjoint from those of the prebuilt header).
    ///
    /// `inner_len` is the length of the inner IP packet, at most 65,535 less the overhead.
    pub fn stamp(&mut self, inner_len: u16, flow: Flow, tos: u8) {
        let len = U16::new(inner_len.wrapping_add(UDP_OVERHEAD));
        (self.ip.payload_len, self.udp.len) = (len, len);
        self.udp.src = U16::new(flow.port());
        self.ip.set_flow_label(flow.label());
        self.ip.set_traffic_class(self.ip.traffic_class() | tos);
    }

    /// The UDP checksum over the datagram that these headers and an IP packet make, `front` and what sums up to `rest` (RFC
    /// 8200 §8.1): never zero, which would say that there is none. `front` is even where there is a rest.
    pub fn checksum(&self, front: &[u8], rest: Sum) -> [u8; 2] {
        let headers = Sum::ZERO.bytes(self.udp.as_bytes()).bytes(self.vxlan.as_bytes()).bytes(self.inner.as_bytes());
        let pseudo = pseudo_v6(self.ip.addresses(), protocol::UDP, self.udp.len.get());
        match headers.bytes(front).plus(rest).plus(pseudo).checksum() {
            [0, 0] => [0xff, 0xff],
            sum => sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Mac, Vni};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_stamped_header_is_whole(
            inner in proptest::collection::vec(any::<u8>(), 0..200), seed: u64, dscp in 0u8..64, tos in 0u8..4,
            ends: (u128, u128),
        ) {
            let mac = |n| Mac([2, 0, 0, 0, 0, n]);
            let mut o = OuterV6::prebuilt(&Ends {
                link: (mac(1), mac(2)),
                vtep: (Ipv6Addr::from_bits(ends.0), Ipv6Addr::from_bits(ends.1)),
                inner: (mac(3), mac(4)),
                udp_port: 4789,
                vni: Vni::new(7).unwrap(),
                dscp,
            });
            let flow = Flow::new(seed);
            o.stamp(inner.len() as u16, flow, tos);
            let (front, rest) = inner.split_at(inner.len() / 4 * 2);
            let in_parts = o.checksum(front, Sum::ZERO.bytes(rest));
            o.udp.checksum = o.checksum(&inner, Sum::ZERO);
            prop_assert_eq!(o.udp.checksum, in_parts);
            let packet = [o.ip.as_bytes(), o.udp.as_bytes(), o.vxlan.as_bytes(), o.inner.as_bytes(), &inner].concat();
            let ip = Ipv6::parse(&packet).unwrap();
            let pseudo = pseudo_v6(ip.addresses(), protocol::UDP, ip.payload_len.get());
            prop_assert!(Sum::ZERO.bytes(&packet[ipv6::LEN..]).plus(pseudo).is_intact());
            prop_assert_ne!(o.udp.checksum, [0, 0]);
            prop_assert_eq!(ip.traffic_class(), dscp << 2 | tos);
            prop_assert_eq!(ip.flow_label(), flow.label());
            prop_assert_eq!((o.udp.src.get(), o.udp.len.get()), (flow.port(), inner.len() as u16 + 30));
            prop_assert_eq!((ip.src, ip.dst), (ends.1.to_be_bytes(), ends.0.to_be_bytes()));
            prop_assert_eq!((o.eth.dst, o.eth.src, o.inner.dst, o.inner.src), (mac(1), mac(2), mac(3), mac(4)));
            prop_assert_eq!((o.eth.ethertype.get(), LEN_V6), (eth::IPV6, 84));
        }
    }

    /// RFC 768, RFC 8200 §8.1: a sum that comes out as zero is sent as all ones.
    #[test]
    fn a_checksum_of_zero_is_sent_as_all_ones() {
        let mut o = OuterV6::prebuilt(&Ends {
            link: (Mac::ZERO, Mac::ZERO),
            vtep: (Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
            inner: (Mac::ZERO, Mac::ZERO),
            udp_port: 4789,
            vni: Vni::new(1).unwrap(),
            dscp: 0,
        });
        o.stamp(2, Flow::new(0), 0);
        // the word that makes the sum zero is the checksum over zero in its place
        let inner = o.checksum(&[0, 0], Sum::ZERO);
        assert_eq!(o.checksum(&inner, Sum::ZERO), [0xff, 0xff]);
    }
}
