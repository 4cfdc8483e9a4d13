//! Test frames: one template built once, and what is patched into each copy of it.

use std::net::IpAddr;

use zerocopy::IntoBytes;
use zerocopy::byteorder::network_endian::U16;

use super::flows::{Ends, Family, Flows, number};
use super::payload::{self, Stamp};
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, protocol::UDP};
use crate::wire::{Ethernet, Ipv4, Ipv6, Mac, Udp, Vni, Vxlan, eth, ipv6, udp, vxlan};

/// The largest IP packet: with all headers it fits a chunk of 4,096 bytes and its headroom.
pub(super) const LARGEST: u16 = 3_700;
/// TTL or hop limit of every packet as it leaves.
pub(super) const TTL: u8 = 64;
const DONT_FRAGMENT: u16 = 0x4000;

/// The smallest IP packet that holds a stamp.
pub(super) const fn smallest(family: Family) -> u16 {
    (ip_len(family) + udp::LEN + payload::LEN) as u16
}

/// Bytes of an IP header.
pub(super) const fn ip_len(family: Family) -> usize {
    match family {
        Family::V4 => ipv4::LEN,
        Family::V6 => ipv6::LEN,
    }
}

/// The tunnel around the packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tunnel {
    /// Outer addresses: the VTEP that receives, then the first of those that send.
    pub(super) vtep: (IpAddr, IpAddr),
    /// Outer UDP destination port.
    pub(super) udp_port: u16,
    /// MACs of the inner frame: destination, source.
    pub(super) inner: (Mac, Mac),
}

impl Tunnel {
    fn family(&self) -> Family {
        Family::of(self.vtep.0)
    }
}

/// What stands around the IP packet that is tested with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    /// Destination and source of the frame on the wire.
    pub(super) link: (Mac, Mac),
    /// VXLAN, or nothing.
    pub(super) tunnel: Option<Tunnel>,
}

impl Shape {
    /// Bytes in front of the (inner) IP packet.
    pub(super) fn front(&self) -> usize {
        match self.tunnel {
            None => eth::LEN,
            Some(t) => eth::LEN + ip_len(t.family()) + udp::LEN + vxlan::LEN + eth::LEN,
        }
    }
}

/// Builds the frames of a run.
#[derive(Clone, Debug)]
pub(super) struct Builder {
    /// The longest frame, everything in place but what depends on length, flow and stamp.
    bytes: Vec<u8>,
    front: usize,
    flows: Flows,
    tunnel: Option<Tunnel>,
    /// Sums of the first n bytes of the filler.
    filler: Vec<Sum>,
    /// Sum of the IPv4 header without length and addresses.
    ip: Sum,
    /// Sum of the outer IPv4 header without length and source.
    outer_ip: Sum,
}

impl Builder {
    /// For frames whose IP packet has up to `longest` bytes.
    pub(super) fn new(shape: &Shape, flows: Flows, longest: u16) -> Self {
        let family = flows.family();
        let mut bytes = Vec::new();
        if let Some(tunnel) = &shape.tunnel {
            bytes.extend(ethernet(shape.link, tunnel.family()));
            let addresses = (number(tunnel.vtep.0), number(tunnel.vtep.1));
            bytes.extend(ip(tunnel.family(), addresses));
            let udp = Udp { src: U16::ZERO, dst: U16::new(tunnel.udp_port), len: U16::ZERO, checksum: [0; 2] };
            bytes.extend(udp.as_bytes());
            bytes.extend(Vxlan::new(Vni::from_octets([0; 3])).as_bytes());
            bytes.extend(ethernet(tunnel.inner, family));
        } else {
            bytes.extend(ethernet(shape.link, family));
        }
        let front = bytes.len();
        bytes.extend(ip(family, (0, 0)));
        bytes.extend([0; udp::LEN + payload::LEN]);
        let filler = payload::filler(usize::from(longest - smallest(family)));
        bytes.extend(&filler);
        let v4_sum = |at: usize| bytes.get(at..at + ipv4::LEN).map_or(Sum::ZERO, |header| Sum::ZERO.bytes(header));
        let outer_ip = v4_sum(eth::LEN).plus(Sum::ZERO); // of use in an IPv4 tunnel only
        Self {
            ip: v4_sum(front),
            outer_ip,
            filler: (0..=filler.len()).map(|n| Sum::ZERO.bytes(&filler[..n])).collect(),
            front,
            tunnel: shape.tunnel,
            flows,
            bytes,
        }
    }

    /// The frame that one with an IP packet of `length` bytes begins as; [`Builder::finish`] wants a copy of it.
    #[inline]
    pub(super) fn template(&self, length: u16) -> &[u8] {
        self.bytes.get(..self.front + usize::from(length)).unwrap_or_default()
    }

    /// Where the stamp begins.
    pub(super) fn payload_at(&self) -> usize {
        self.front + ip_len(self.flows.family()) + udp::LEN
    }

    /// Makes a copy of the template for `length` the packet that `stamp` says.
    #[inline]
    pub(super) fn finish(&self, length: u16, stamp: &Stamp, frame: &mut [u8]) {
        let ends = self.flows.ends(stamp.flow);
        let (outer, inner) = frame.split_at_mut(self.front);
        let sum = self.inner(length, &ends, stamp, inner);
        if let Some(tunnel) = &self.tunnel {
            self.outer(tunnel, length, stamp.flow, &ends, sum, outer);
        }
    }

    /// Fills in the IP packet. Returns the sum of all its bytes.
    #[inline]
    fn inner(&self, length: u16, ends: &Ends, stamp: &Stamp, packet: &mut [u8]) -> Sum {
        let family = self.flows.family();
        let (ip, rest) = packet.split_at_mut(ip_len(family));
        let segment = length - ip_len(family) as u16;
        let (addresses, ip_sum) = match family {
            Family::V4 => {
                let addresses = addresses_v4(ip, ends);
                ip[2..4].copy_from_slice(&length.to_be_bytes());
                ip[10..12].copy_from_slice(&self.ip.plus(addresses).value(length).checksum());
                (addresses, Sum::ZERO) // with its checksum a header comes to nothing
            }
            Family::V6 => {
                ip[4..6].copy_from_slice(&segment.to_be_bytes());
                ip[8..24].copy_from_slice(&ends.source.to_be_bytes());
                ip[24..40].copy_from_slice(&ends.destination.to_be_bytes());
                let addresses = Sum::ZERO.bytes(&ip[8..40]);
                (addresses, addresses.bytes(&ip[..8]))
            }
        };
        let stamp = stamp.bytes();
        let pseudo = addresses.value(u16::from(UDP)).value(segment);
        let filler = self.filler.get(usize::from(segment) - udp::LEN - payload::LEN).copied().unwrap_or_default();
        let sum = pseudo.bytes(&ends.ports).value(segment).plus(Sum::ZERO.bytes(&stamp)).plus(filler);
        rest[..4].copy_from_slice(&ends.ports);
        rest[4..6].copy_from_slice(&segment.to_be_bytes());
        rest[6..8].copy_from_slice(&udp_checksum(sum));
        rest[udp::LEN..][..payload::LEN].copy_from_slice(&stamp);
        // Datagram and pseudo-header together come to nothing, so the datagram to the complement of the other.
        ip_sum.word(pseudo.checksum())
    }

    /// Fills in what is in front of the inner IP packet, whose bytes sum up to `inner`.
    #[inline]
    fn outer(&self, tunnel: &Tunnel, length: u16, flow: u32, ends: &Ends, inner: Sum, front: &mut [u8]) {
        let (ip, rest) = front[eth::LEN..].split_at_mut(ip_len(tunnel.family()));
        let segment = length + (udp::LEN + vxlan::LEN + eth::LEN) as u16;
        let source = number(tunnel.vtep.1) + u128::from(ends.vtep);
        // the flow's mark for everybody who looks at the outer headers only
        let entropy = 0xc000 | (flow.wrapping_mul(0x9e37_79b9) >> 18) as u16;
        rest[..2].copy_from_slice(&entropy.to_be_bytes());
        rest[4..6].copy_from_slice(&segment.to_be_bytes());
        rest[udp::LEN + 4..][..3].copy_from_slice(&ends.vni.octets());
        match tunnel.family() {
            Family::V4 => {
                // RFC 7348 §5: the UDP checksum should be sent as zero (over IPv4).
                let total = segment + ipv4::LEN as u16;
                let source = (source as u32).to_be_bytes();
                ip[2..4].copy_from_slice(&total.to_be_bytes());
                ip[10..12].copy_from_slice(&self.outer_ip.value(total).bytes(&source).checksum());
                ip[12..16].copy_from_slice(&source);
            }
            Family::V6 => {
                ip[4..6].copy_from_slice(&segment.to_be_bytes());
                ip[8..24].copy_from_slice(&source.to_be_bytes());
                // RFC 8200 §8.1: UDP over IPv6 has a checksum. What is inside has been summed up already.
                let pseudo = Sum::ZERO.bytes(&ip[8..40]).value(u16::from(UDP)).value(segment);
                let sum = pseudo.bytes(&rest[..6]).bytes(&rest[udp::LEN..]).plus(inner);
                rest[6..8].copy_from_slice(&udp_checksum(sum));
            }
        }
    }
}

/// RFC 768: a checksum that comes out as zero is sent as all ones.
#[inline]
fn udp_checksum(sum: Sum) -> [u8; 2] {
    match sum.checksum() {
        [0, 0] => [0xff, 0xff],
        other => other,
    }
}

/// Writes both addresses into an IPv4 header. Returns their sum.
#[inline]
fn addresses_v4(ip: &mut [u8], ends: &Ends) -> Sum {
    ip[12..16].copy_from_slice(&(ends.source as u32).to_be_bytes());
    ip[16..20].copy_from_slice(&(ends.destination as u32).to_be_bytes());
    Sum::ZERO.bytes(&ip[12..20])
}

fn ethernet((dst, src): (Mac, Mac), family: Family) -> [u8; eth::LEN] {
    let ethertype = U16::new(match family {
        Family::V4 => eth::IPV4,
        Family::V6 => eth::IPV6,
    });
    zerocopy::transmute!(Ethernet { dst, src, ethertype })
}

/// An IP header without length and checksum, to an address from an address; of IPv4 without the source, too.
fn ip(family: Family, (to, from): (u128, u128)) -> Vec<u8> {
    match family {
        Family::V4 => {
            let header = Ipv4 {
                version_ihl: ipv4::PLAIN,
                tos: 0,
                total_len: U16::ZERO,
                id: U16::ZERO,
                flags_offset: U16::new(DONT_FRAGMENT),
                ttl: TTL,
                protocol: UDP,
                checksum: [0; 2],
                src: [0; 4],
                dst: (to as u32).to_be_bytes(),
            };
            header.as_bytes().to_vec()
        }
        Family::V6 => {
            let header = Ipv6 {
                version_class_label: ipv6::PLAIN,
                payload_len: U16::ZERO,
                next_header: UDP,
                hop_limit: TTL,
                src: from.to_be_bytes(),
                dst: to.to_be_bytes(),
            };
            header.as_bytes().to_vec()
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 §4.1, word by word.
    fn oracle(data: &[u8]) -> u16 {
        let mut sum: u32 = data.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0))).sum();
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    pub(in crate::cli::pktgen) fn shape(outer: Option<Family>) -> Shape {
        let mac = |n| Mac([2, 0, 0, 0, 0, n]);
        let vtep = |family| match family {
            Family::V4 => ("192.0.2.1".parse().unwrap(), "192.0.2.11".parse().unwrap()),
            Family::V6 => ("2001:db8::1".parse().unwrap(), "2001:db8::b".parse().unwrap()),
        };
        let tunnel = |family| Tunnel { vtep: vtep(family), udp_port: 8472, inner: (mac(3), mac(4)) };
        Shape { link: (mac(1), mac(2)), tunnel: outer.map(tunnel) }
    }

    pub(in crate::cli::pktgen) fn flows(inner: Family) -> Flows {
        let (source, destination) = match inner {
            Family::V4 => ("10.9.0.0/24", "10.244.0.0/16"),
            Family::V6 => ("fd00:9::/64", "fd00:244::/64"),
        };
        let vnis = [0x0a0b0c, 7].map(|n| Vni::new(n).unwrap()).to_vec();
        Flows::new(source.parse().unwrap(), destination.parse().unwrap(), 3, vnis).unwrap()
    }

    pub(in crate::cli::pktgen) fn frame(inner: Family, outer: Option<Family>, length: u16, stamp: &Stamp) -> Vec<u8> {
        let builder = Builder::new(&shape(outer), flows(inner), 1500);
        let mut frame = builder.template(length).to_vec();
        builder.finish(length, stamp, &mut frame);
        frame
    }

    /// A UDP packet is sound from end to end; returns its payload.
    fn sound(packet: &[u8], may_lack_checksum: bool) -> &[u8] {
        let (addresses, segment) = match packet[0] >> 4 {
            4 => {
                assert_eq!(oracle(&packet[..20]), 0);
                assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
                (&packet[12..20], &packet[20..])
            }
            _ => {
                assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])) + 40, packet.len());
                (&packet[8..40], &packet[40..])
            }
        };
        assert_eq!(usize::from(u16::from_be_bytes([segment[4], segment[5]])), segment.len());
        if segment[6..8] != [0, 0] {
            let length = (segment.len() as u16).to_be_bytes();
            assert_eq!(oracle(&[addresses, &[0, 17], &length, segment].concat()), 0);
        } else {
            assert!(may_lack_checksum);
        }
        &segment[8..]
    }

    proptest! {
        #[test]
        fn every_frame_is_sound(
            flow in 0u32..1_000_000, sequence: u64, intended: u64, size in 80u16..=1500, six: bool,
            outer in prop_oneof![Just(None), Just(Some(Family::V4)), Just(Some(Family::V6))],
        ) {
            let inner = if six { Family::V6 } else { Family::V4 };
            let stamp = Stamp { stream: 9, flow, sequence, intended };
            let frame = frame(inner, outer, size, &stamp);
            let (shape, ends) = (shape(outer), flows(inner).ends(flow));
            prop_assert_eq!(frame.len(), shape.front() + usize::from(size));
            let mut packet = &frame[14..];
            if let Some(family) = outer {
                let payload = sound(packet, family == Family::V4);
                prop_assert_eq!(&payload[..4], &[8, 0, 0, 0]);
                prop_assert_eq!(&payload[4..7], &ends.vni.octets());
                let source = ip_len(family) - 2 * family.width();
                prop_assert_eq!(packet[source + family.width() - 1], 11 + ends.vtep as u8);
                prop_assert!(packet[ip_len(family)] >= 0xc0);
                prop_assert_eq!(&packet[ip_len(family) + 2..][..2], &8472u16.to_be_bytes());
                packet = &payload[22..];
            }
            let payload = sound(packet, false);
            prop_assert_eq!(Stamp::read(payload), Ok(stamp));
            let filler = payload::filler(payload.len() - payload::LEN);
            prop_assert_eq!(&payload[payload::LEN..], &filler[..]);
            prop_assert_eq!(&packet[ip_len(inner)..][..4], &ends.ports);
            let destination = &packet[ip_len(inner) - inner.width()..ip_len(inner)];
            prop_assert!(ends.destination.to_be_bytes().ends_with(destination));
        }
    }

    #[test]
    fn the_smallest_packet_is_a_stamp_and_headers() {
        let stamp = Stamp { stream: 1, flow: 0, sequence: 0, intended: 0 };
        for (family, len) in [(Family::V4, 60), (Family::V6, 80)] {
            assert_eq!(smallest(family), len);
            sound(&frame(family, None, len, &stamp)[14..], false);
        }
    }
}
