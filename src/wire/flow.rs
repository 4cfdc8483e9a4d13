//! The entropy of a flow: what the outer UDP source port is made of.

use super::ipv4::{Ipv4, Words, protocol};

/// First port of the range that RFC 7348 §5 recommends (RFC 6335: the dynamic ports), which ends at 65535.
pub const FIRST_PORT: u16 = 49_152;

/// The outer UDP source port of an inner IPv4 packet: a hash of its flow, the same for every packet of the flow.
///
/// Fragments are hashed by addresses and protocol alone, since only the first of them has ports: so all pieces of
/// one datagram, and all fragmented datagrams between two hosts, share a path.
#[inline]
pub fn source_port_v4(ip: &Ipv4, payload: &[u8]) -> u16 {
    let ports = match payload.first_chunk::<4>() {
        Some(ports) if !ip.is_fragment() && has_ports(ip.protocol) => *ports,
        _ => [0; 4],
    };
    source_port(ip.words(), ports)
}

/// The same, given the first four bytes of the payload if they are ports that count, zeroes otherwise.
#[inline]
pub const fn source_port(ip: Words, ports: [u8; 4]) -> u16 {
    let flow = mix(ip.addresses(), (u32::from_le_bytes(ports) as u64) << 8 | ip.protocol() as u64);
    FIRST_PORT | (flow & 0x3fff) as u16
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

    fn ip(dst: u8, protocol: u8, flags_offset: u16) -> Ipv4 {
        let mut ip = Ipv4::new_zeroed();
        (ip.src, ip.dst, ip.protocol) = ([10, 0, 0, 1], [10, 0, 1, dst], protocol);
        ip.flags_offset = flags_offset.into();
        ip
    }

    #[test]
    fn flows_spread_evenly_over_the_range() {
        let mut buckets = [0u32; 64];
        for dst in 0..=255 {
            for port in 0..64u16 {
                let payload = [port.to_be_bytes(), [0, 80]].concat();
                let p = source_port_v4(&ip(dst, protocol::TCP, 0), &payload);
                assert!(p >= FIRST_PORT);
                buckets[usize::from(p - FIRST_PORT) / 256] += 1;
            }
        }
        // 16,384 flows over 64 buckets: 256 each, standard deviation 16; six of them is far beyond chance
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
    fn payloads_without_ports_are_legal() {
        assert!(source_port_v4(&ip(9, protocol::UDP, 0), &[1, 2]) >= FIRST_PORT);
        assert_eq!(
            source_port_v4(&ip(9, protocol::ICMP, 0), &[8, 0, 1, 2]),
            source_port_v4(&ip(9, protocol::ICMP, 0), &[0, 0, 3, 4])
        );
    }
}
