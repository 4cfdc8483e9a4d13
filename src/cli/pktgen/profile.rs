//! Test packets: templates built once, and what is patched into each copy.

use std::net::{IpAddr, Ipv4Addr};

use zerocopy::IntoBytes;
use zerocopy::byteorder::network_endian::U16;

use super::payload::{self, Stamp};
use crate::wire::checksum::Sum;
use crate::wire::outer::{Ends, LEN_V4};
use crate::wire::{Ethernet, Ipv4, OuterV4, Prefix, Udp, eth, ipv4, udp};

/// The smallest IP packet that holds a stamp.
pub(super) const SMALLEST: u16 = (ipv4::LEN + udp::LEN + payload::LEN) as u16;
/// The largest: with all headers it fits a chunk of 4,096 bytes.
pub(super) const LARGEST: u16 = 3_700;
/// IP lengths of the mix, in the order they are sent: seven small ones, four of middle size, a large one.
const MIX: [u16; 12] = [64, 576, 64, 64, 576, 64, 1400, 64, 576, 64, 576, 64];
/// Ports a flow may come from.
const PORTS: u32 = 60_000;
const FIRST_SOURCE_PORT: u16 = 1_024;
const FIRST_DESTINATION_PORT: u16 = 20_000;

/// How long the packets are, as IP packets (the inner ones where there are two).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// All the same.
    Fixed(u16),
    /// 64, 576 and 1,400 bytes, 7:4:1.
    Mix,
}

impl Size {
    fn lengths(self) -> Vec<u16> {
        match self {
            Self::Fixed(length) => vec![length],
            Self::Mix => MIX.to_vec(),
        }
    }

    /// The longest.
    pub(super) fn longest(self) -> u16 {
        self.lengths().into_iter().max().unwrap_or(SMALLEST)
    }
}

/// The headers in front of the IP packet that is tested with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Front {
    /// Ethernet.
    Plain(Ethernet),
    /// Ethernet, IPv4, UDP, VXLAN, Ethernet.
    Vxlan(Ends),
}

impl Front {
    /// Bytes it takes.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Plain(_) => eth::LEN,
            Self::Vxlan(_) => LEN_V4,
        }
    }
}

/// Who sends to whom, as a function of the flow's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Flows {
    source: Hosts,
    destination: Hosts,
}

/// The hosts of a prefix: all addresses, less the first and the last of a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Hosts {
    first: u32,
    count: u64,
}

impl Hosts {
    fn of(prefix: Prefix) -> Option<Self> {
        let IpAddr::V4(address) = prefix.addr() else { return None };
        let all = 1u64 << (32 - prefix.len());
        Some(match prefix.len() {
            31 | 32 => Self { first: address.to_bits(), count: all },
            _ => Self { first: address.to_bits() + 1, count: all - 2 },
        })
    }

    /// Multiples of the golden ratio: as even over the prefix as their number allows.
    #[inline]
    fn spread(&self, number: u32) -> Ipv4Addr {
        let turn = u64::from(number.wrapping_mul(0x9e37_79b9));
        Ipv4Addr::from_bits(self.first.wrapping_add(((turn * self.count) >> 32) as u32))
    }
}

impl Flows {
    /// `None` unless both are IPv4.
    pub(super) fn new(source: Prefix, destination: Prefix) -> Option<Self> {
        Some(Self { source: Hosts::of(source)?, destination: Hosts::of(destination)? })
    }

    /// Addresses and ports of a flow; no two flows have the same ports.
    #[inline]
    fn ends(&self, flow: u32) -> ([u8; 8], [u8; 4]) {
        let mut addresses = [0; 8];
        addresses[..4].copy_from_slice(&self.source.spread(flow).octets());
        addresses[4..].copy_from_slice(&self.destination.spread(flow).octets());
        let [a, b] = (FIRST_SOURCE_PORT + (flow % PORTS) as u16).to_be_bytes();
        let [c, d] = (FIRST_DESTINATION_PORT + (flow / PORTS) as u16).to_be_bytes();
        (addresses, [a, b, c, d])
    }
}

/// Frames of one length: everything but the flow and the stamp is in place.
#[derive(Clone, Debug)]
struct Template {
    bytes: Vec<u8>,
    /// Sum of the IP header without addresses.
    ip: Sum,
    /// Sum of pseudo-header, UDP header and filler, without addresses, ports and stamp.
    udp: Sum,
}

/// Builds the frames of a run.
#[derive(Clone, Debug)]
pub(super) struct Builder {
    templates: Vec<Template>,
    front: usize,
    wrapped: bool,
    flows: Flows,
}

impl Builder {
    pub(super) fn new(front: &Front, flows: Flows, size: Size) -> Self {
        let templates = size.lengths().into_iter().map(|length| Template::new(front, length)).collect();
        Self { templates, front: front.len(), wrapped: matches!(front, Front::Vxlan(_)), flows }
    }

    /// The frame that packet number `n` of the run begins as; [`Builder::finish`] wants a copy of it.
    #[inline]
    pub(super) fn template(&self, n: u64) -> &[u8] {
        &self.pick(n).bytes
    }

    #[inline]
    fn pick(&self, n: u64) -> &Template {
        &self.templates[(n % self.templates.len() as u64) as usize]
    }

    /// Makes a copy of the template of packet number `n` that packet.
    #[inline]
    pub(super) fn finish(&self, n: u64, stamp: &Stamp, frame: &mut [u8]) {
        let template = self.pick(n);
        let (addresses, ports) = self.flows.ends(stamp.flow);
        if self.wrapped {
            // the flow's mark for everybody who looks at the outer headers only
            let entropy = 0xc000 | (stamp.flow.wrapping_mul(0x9e37_79b9) >> 18) as u16;
            frame[eth::LEN + ipv4::LEN..][..2].copy_from_slice(&entropy.to_be_bytes());
        }
        let ends = Sum::ZERO.bytes(&addresses);
        let (ip, rest) = frame[self.front..].split_at_mut(ipv4::LEN);
        ip[10..12].copy_from_slice(&template.ip.plus(ends).checksum());
        ip[12..].copy_from_slice(&addresses);
        let stamp = stamp.bytes();
        let sum = template.udp.plus(ends).plus(Sum::ZERO.bytes(&ports)).plus(Sum::ZERO.bytes(&stamp));
        rest[..4].copy_from_slice(&ports);
        // RFC 768: a checksum that comes out as zero is sent as all ones
        let checksum = match sum.checksum() {
            [0, 0] => [0xff, 0xff],
            other => other,
        };
        rest[6..8].copy_from_slice(&checksum);
        rest[udp::LEN..][..payload::LEN].copy_from_slice(&stamp);
    }
}

impl Template {
    fn new(front: &Front, length: u16) -> Self {
        let mut bytes = match front {
            Front::Plain(ethernet) => ethernet.as_bytes().to_vec(),
            Front::Vxlan(ends) => {
                let mut outer = OuterV4::prebuilt(ends);
                outer.stamp(length, 0, 0);
                outer.as_bytes().to_vec()
            }
        };
        let ip = Ipv4 {
            version_ihl: ipv4::PLAIN,
            tos: 0,
            total_len: U16::new(length),
            id: U16::ZERO,
            flags_offset: U16::new(0x4000), // Don't Fragment
            ttl: 64,
            protocol: ipv4::protocol::UDP,
            checksum: [0; 2],
            src: [0; 4],
            dst: [0; 4],
        };
        let inside = length - ipv4::LEN as u16;
        let udp = Udp { src: U16::ZERO, dst: U16::ZERO, len: U16::new(inside), checksum: [0; 2] };
        let filler: Vec<u8> = (usize::from(SMALLEST)..usize::from(length)).map(|at| at as u8).collect();
        let sum = Sum::ZERO.bytes(udp.as_bytes()).value(u16::from(ipv4::protocol::UDP)).value(inside).bytes(&filler);
        bytes.extend_from_slice(ip.as_bytes());
        bytes.extend_from_slice(udp.as_bytes());
        bytes.extend_from_slice(&[0; payload::LEN]);
        bytes.extend_from_slice(&filler);
        Self { bytes, ip: Sum::ZERO.bytes(ip.as_bytes()), udp: sum }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Mac, Vni};

    /// RFC 1071 §4.1, word by word.
    fn oracle(data: &[u8]) -> u16 {
        let mut sum: u32 = data.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0))).sum();
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    fn fronts() -> [Front; 2] {
        let mac = |n| Mac([2, 0, 0, 0, 0, n]);
        let ends = Ends {
            link: (mac(1), mac(2)),
            vtep: ([192, 0, 2, 1].into(), [192, 0, 2, 11].into()),
            inner: (mac(3), mac(4)),
            udp_port: 8472,
            vni: Vni::new(0x0a0b0c).unwrap(),
            dscp: 0,
        };
        [Front::Plain(Ethernet::ipv4(mac(1), mac(2))), Front::Vxlan(ends)]
    }

    fn flows(source: &str, destination: &str) -> Flows {
        Flows::new(source.parse().unwrap(), destination.parse().unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn every_frame_is_sound(
            flow in 0u32..1_000_000, sequence: u64, intended: u64, size in SMALLEST..=1500, wrapped: bool,
        ) {
            let front = fronts()[usize::from(wrapped)];
            let builder = Builder::new(&front, flows("10.9.0.0/24", "10.244.0.0/16"), Size::Fixed(size));
            let mut frame = builder.template(sequence).to_vec();
            let stamp = Stamp { stream: 9, flow, sequence, intended };
            builder.finish(sequence, &stamp, &mut frame);
            prop_assert_eq!(frame.len(), front.len() + usize::from(size));
            if wrapped {
                prop_assert_eq!(oracle(&frame[14..34]), 0);
                prop_assert_eq!(u16::from_be_bytes([frame[16], frame[17]]), size + 50);
                prop_assert_eq!(u16::from_be_bytes([frame[38], frame[39]]), size + 30);
                prop_assert_eq!(&frame[36..38], &8472u16.to_be_bytes());
                prop_assert_eq!(&frame[46..49], &[0x0a, 0x0b, 0x0c]);
                prop_assert!(frame[34] >= 0xc0);
            }
            let ip = &frame[front.len()..];
            prop_assert_eq!(oracle(&ip[..20]), 0);
            let pseudo = [&ip[12..20], &[0, 17], &(size - 20).to_be_bytes(), &ip[20..]].concat();
            prop_assert_eq!(oracle(&pseudo), 0);
            prop_assert!(ip[26..28] != [0, 0]);
            prop_assert_eq!(Stamp::read(&ip[28..]), Ok(stamp));
            prop_assert!(ip.starts_with(&[0x45]) && ip[12..15] == [10, 9, 0] && ip[16..18] == [10, 244]);
        }
    }

    #[test]
    fn flows_differ_and_stay_within_their_prefixes() {
        let f = flows("10.9.0.2/32", "10.244.0.0/22");
        let ends: HashSet<_> = (0..200_000).map(|n| f.ends(n)).collect();
        assert_eq!(ends.len(), 200_000);
        let pods: HashSet<_> = ends.iter().map(|(a, _)| [a[4], a[5], a[6], a[7]]).collect();
        assert_eq!(pods.len(), 1022);
        assert!(!pods.contains(&[10, 244, 0, 0]) && !pods.contains(&[10, 244, 3, 255]));
        assert!(ends.iter().all(|(a, _)| a[..4] == [10, 9, 0, 2]));
        let f = flows("0.0.0.0/0", "10.0.0.4/31");
        assert_eq!((0..9).map(|n| f.ends(n).0[7]).collect::<HashSet<_>>(), HashSet::from([4, 5]));
        assert_eq!(Flows::new("::/0".parse().unwrap(), "10.0.0.0/8".parse().unwrap()), None);
    }

    #[test]
    fn the_mix_has_its_proportions() {
        let builder = Builder::new(&fronts()[0], flows("10.0.0.0/8", "10.0.0.0/8"), Size::Mix);
        let count = |len: usize| (0..1200).filter(|n| builder.template(*n).len() == len + 14).count();
        assert_eq!([64, 576, 1400].map(count), [700, 400, 100]);
    }
}
