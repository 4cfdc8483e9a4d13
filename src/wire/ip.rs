//! An IP header of either family: what a router asks of it and changes in it.

use zerocopy::FromBytes;

use super::{Ipv4, Ipv6};

/// The header at the front of a packet, writable.
#[derive(Debug)]
pub enum IpHeader<'a> {
    /// IPv4.
    V4(&'a mut Ipv4),
    /// IPv6.
    V6(&'a mut Ipv6),
}

impl<'a> IpHeader<'a> {
    /// The header at the front of `packet`, by its version; `None` if there is neither, or not all of it.
    #[inline]
    pub fn of(packet: &'a mut [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Ipv4::mut_from_prefix(packet).ok().map(|(ip, _)| Self::V4(ip)),
            6 => Ipv6::mut_from_prefix(packet).ok().map(|(ip, _)| Self::V6(ip)),
            _ => None,
        }
    }

    /// Takes one off TTL or hop limit, which must not be 0.
    #[inline]
    pub fn age(&mut self) {
        match self {
            Self::V4(ip) => ip.decrement_ttl(),
            Self::V6(ip) => ip.hop_limit = ip.hop_limit.wrapping_sub(1),
        }
    }

    /// DSCP and ECN.
    #[inline]
    pub fn tos(&self) -> u8 {
        match self {
            Self::V4(ip) => ip.tos,
            Self::V6(ip) => ip.traffic_class(),
        }
    }

    /// Replaces DSCP and ECN.
    #[inline]
    pub fn set_tos(&mut self, tos: u8) {
        match self {
            Self::V4(ip) => ip.set_tos(tos),
            Self::V6(ip) => ip.set_traffic_class(tos),
        }
    }

    /// True for a packet that routers may fragment: no IPv6 packet is one (RFC 8200 §5).
    #[inline]
    pub fn may_be_fragmented(&self) -> bool {
        match self {
            Self::V4(ip) => !ip.dont_fragment(),
            Self::V6(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum::Sum;
    use zerocopy::IntoBytes;

    #[test]
    fn both_families_age_and_are_marked() {
        let mut v4 = [0x45, 0, 0, 20, 0, 0, 0x40, 0, 9, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let sum = Sum::ZERO.bytes(&v4).checksum();
        v4[10..12].copy_from_slice(&sum);
        let mut v6 = [0u8; 40];
        (v6[0], v6[7]) = (0x60, 9);
        for packet in [&mut v4[..], &mut v6[..]] {
            let mut ip = IpHeader::of(packet).unwrap();
            ip.age();
            ip.set_tos(0xb9);
            assert_eq!((ip.tos(), ip.may_be_fragmented()), (0xb9, false));
        }
        let ip = Ipv4::parse(&v4).unwrap();
        assert_eq!((ip.ttl, v6[7], Sum::ZERO.bytes(ip.as_bytes()).is_intact()), (8, 8, true));
        v4[6] = 0;
        assert!(IpHeader::of(&mut v4).is_some_and(|ip| ip.may_be_fragmented()));
        assert!(IpHeader::of(&mut v4[..19]).is_none() && IpHeader::of(&mut [0x50; 60]).is_none());
        assert!(IpHeader::of(&mut v6[..39]).is_none() && IpHeader::of(&mut []).is_none());
    }
}
