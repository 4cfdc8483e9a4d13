//! The entropy of a flow: what the outer UDP source port is made of, and over IPv6 the flow label.

use super::ipv4::{Ipv4, Words, protocol};
use super::ipv6::{self, Ipv6, Upper};

/// First port of the range that RFC 7348 §5 recommends (RFC 6335: the dynamic ports), which ends at 65535.
pub const FIRST_PORT: u16 = 49_152;

/// Shares that flows are divided into where there are several ways for them.
pub const BUCKETS: usize = 1024;

/// A hash of a flow: the same for every packet of it.
///
/// Fragments are hashed by addresses and protocol alone, over IPv6 by addresses alone, since only the first of them has ports
/// (and tells the protocol, where an extension header stands between): so all pieces of one datagram, and all fragmented
/// datagrams between two hosts, share a path.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flow(u64);

impl Flow {
    /// A flow with this hash: for tests.
    pub const fn new(hash: u64) -> Self {
        Self(hash)
    }

    /// The flow of an IPv4 packet, given the first four bytes of its payload if they are ports that count, zeroes
    /// otherwise.
    #[inline]
    pub const fn of(ip: Words, ports: [u8; 4]) -> Self {
        Self(mix(ip.addresses(), words(ports, ip.protocol())))
    }

    /// The flow of an IPv4 packet.
    #[inline]
    pub fn of_v4(ip: &Ipv4, payload: &[u8]) -> Self {
        Self::of(ip.words(), ports(ip.protocol, ip.is_fragment(), payload))
    }

    /// The flow of an IPv6 packet whose upper-layer header, and what follows it, is `payload`. The sender's own flow label
    /// has no part in it: a connection may change it (RFC 6437 §4 is no promise), and then packets would overtake.
    pub fn of_v6(ip: &Ipv6, upper: &Upper, payload: &[u8]) -> Self {
        let ports = ports(upper.protocol, upper.fragment, payload);
        let pairs = ip.addresses().as_chunks::<16>().0;
        let mut hash = words(ports, if upper.fragment { ipv6::FRAGMENT } else { upper.protocol });
        for pair in pairs {
            let both = u128::from_le_bytes(*pair);
            hash = mix(mix(both as u64, hash), (both >> 64) as u64);
        }
        Self(hash)
    }

    /// The outer UDP source port (RFC 7348 §5).
    #[inline]
    pub const fn port(self) -> u16 {
        FIRST_PORT | (self.0 & 0x3fff) as u16
    }

    /// Which of the [`BUCKETS`] it is in. What the port is made of has no part in it, so that the flows of one bucket still
    /// spread over all ports.
    #[inline]
    pub const fn bucket(self) -> usize {
        (self.0 >> 14) as usize % BUCKETS
    }

    /// The outer flow label (RFC 6438 §3): 20 bits, of which hardly any makes the port.
    #[inline]
    pub const fn label(self) -> u32 {
        (self.0 >> 32) as u32 & 0x000f_ffff
    }
}

#[inline]
const fn words(ports: [u8; 4], protocol: u8) -> u64 {
    (u32::from_le_bytes(ports) as u64) << 8 | protocol as u64
}

/// The ports, if there are some that count.
#[inline]
fn ports(protocol: u8, fragment: bool, payload: &[u8]) -> [u8; 4] {
    match payload.first_chunk::<4>() {
        Some(ports) if !fragment && has_ports(protocol) => *ports,
        _ => [0; 4],
    }
}

/// Does the payload of this protocol begin with source and destination port?
#[inline]
pub const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP)
}

/// A folded multiply: each input bit reaches the low half of the result.
#[inline]
const fn mix(a: u64, b: u64) -> u64 {
    // Odd constants without structure: the fractional parts of √2 and √3.
    let product = (a ^ 0x6a09_e667_f3bc_c909) as u128 * (b ^ 0xbb67_ae85_84ca_a73b) as u128;
    let folded = (product as u64) ^ (product >> 64) as u64;
    folded ^ folded >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn source_port_v4(ip: &Ipv4, payload: &[u8]) -> u16 {
        Flow::of_v4(ip, payload).port()
    }

    fn ip(dst: u8, protocol: u8, flags_offset: u16) -> Ipv4 {
        let mut ip = Ipv4::new_zeroed();
        (ip.src, ip.dst, ip.protocol) = ([10, 0, 0, 1], [10, 0, 1, dst], protocol);
        ip.flags_offset = flags_offset.into();
        ip
    }

    #[test]
    fn flows_spread_evenly_over_the_range() {
        let (mut buckets, mut shares) = ([0u32; 64], [0u32; 64]);
        let mut ports_of_one_share = std::collections::HashSet::new();
        for dst in 0..=255 {
            for port in 0..64u16 {
                let payload = [port.to_be_bytes(), [0, 80]].concat();
                let p = source_port_v4(&ip(dst, protocol::TCP, 0), &payload);
                assert!(p >= FIRST_PORT);
                let share = Flow::of_v4(&ip(dst, protocol::TCP, 0), &payload).bucket() / (BUCKETS / 64);
                shares[share] += 1;
                if share == 0 {
                    ports_of_one_share.insert(p);
                }
                buckets[usize::from(p - FIRST_PORT) / 256] += 1;
            }
        }
        // 16,384 flows over 64 buckets: 256 each, standard deviation 16; six of them is far beyond chance
        assert!(shares.iter().all(|&n| n.abs_diff(256) < 96), "{shares:?}");
        assert!(ports_of_one_share.len() > 200, "{}", ports_of_one_share.len());
        assert!(buckets.iter().all(|&n| n.abs_diff(256) < 96), "{buckets:?}");
    }

    #[test]
    fn fragments_of_a_datagram_share_a_port() {
        let first = source_port_v4(&ip(9, protocol::UDP, 0x2000), &[1, 2, 3, 4]);
        let later = source_port_v4(&ip(9, protocol::UDP, 0x00b9), &[9, 9, 9, 9]);
        assert_eq!(first, later);
        assert_ne!(first, source_port_v4(&ip(9, protocol::UDP, 0), &[1, 2, 3, 4]));
    }

    #[test]
    fn ipv6_flows_spread_and_their_fragments_stay_together() {
        let mut ip = Ipv6::new_zeroed();
        (ip.src, ip.dst) = ([1; 16], [2; 16]);
        let upper = |fragment| Upper { protocol: protocol::UDP, at: ipv6::LEN as u16, fragment, later: false };
        let (mut by_port, mut by_label) = ([0u32; 64], [0u32; 64]);
        for dst in 0..=255u8 {
            ip.dst[15] = dst;
            for port in 0..64u16 {
                let flow = Flow::of_v6(&ip, &upper(false), &[port.to_be_bytes(), [0, 80]].concat());
                by_port[usize::from(flow.port() - FIRST_PORT) / 256] += 1;
                by_label[flow.label() as usize >> 14] += 1;
            }
        }
        assert!(by_port.iter().chain(&by_label).all(|&n| n.abs_diff(256) < 96), "{by_port:?} {by_label:?}");
        let of = |ip: &Ipv6, fragment, ports| Flow::of_v6(ip, &upper(fragment), ports);
        assert_eq!(of(&ip, true, &[1, 2, 3, 4]), of(&ip, true, &[9; 4]));
        assert_ne!(of(&ip, false, &[1, 2, 3, 4]), of(&ip, false, &[9; 4]));
        let mut label = ip;
        label.set_flow_label(77);
        assert_eq!(of(&ip, false, &[1, 2]), of(&label, false, &[3]), "payloads without ports are legal");
        let swapped = Ipv6 { src: ip.dst, dst: ip.src, ..ip };
        assert_ne!(of(&ip, false, &[0; 4]), of(&swapped, false, &[0; 4]));
    }

    /// What follows the fragment header may be another extension header, which only the first fragment shows the end of.
    #[test]
    fn ipv6_fragments_stay_together_whatever_the_fragment_header_is_followed_by() {
        let (mut first, mut later) = ([0; ipv6::LEN + 24], [0; ipv6::LEN + 24]);
        for (packet, offset) in [(&mut first, [0, 1]), (&mut later, [0, 0xb8])] {
            packet[0] = 0x60;
            (packet[5], packet[6]) = (24, ipv6::FRAGMENT);
            packet[ipv6::LEN] = ipv6::DESTINATION;
            packet[ipv6::LEN + 2..ipv6::LEN + 4].copy_from_slice(&offset);
            packet[ipv6::LEN + 8] = protocol::UDP; // options of the first one; data of the other, by chance the same
        }
        let of = |packet: &[u8]| {
            let ip = Ipv6::parse(packet).unwrap();
            let upper = ip.upper(packet);
            (upper.protocol, Flow::of_v6(ip, &upper, &packet[usize::from(upper.at)..]))
        };
        let (first, later) = (of(&first), of(&later));
        assert_eq!((first.0, later.0), (protocol::UDP, ipv6::DESTINATION));
        assert_eq!(first.1, later.1);
    }

    #[test]
    fn payloads_without_ports_are_legal() {
        assert!(source_port_v4(&ip(9, protocol::UDP, 0), &[1, 2]) >= FIRST_PORT);
        assert_eq!(
            source_port_v4(&ip(9, protocol::ICMP, 0), &[8, 0, 1, 2]),
            source_port_v4(&ip(9, protocol::ICMP, 0), &[0, 0, 3, 4])
        );
    }
}
