//! Addresses and identifiers that occur on the wire, each as a type that cannot hold an illegal value.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Text that does not denote the value it should. `Display` says what was found and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddrError {
    found: String,
    expected: &'static str,
}

impl AddrError {
    fn new(found: impl fmt::Display, expected: &'static str) -> Self {
        Self { found: found.to_string(), expected }
    }
}

impl fmt::Display for AddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not {}", self.found, self.expected)
    }
}

impl std::error::Error for AddrError {}

/// An IEEE 802 48-bit MAC address in transmission order.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `00:00:00:00:00:00`, never a legal source.
    pub const ZERO: Mac = Mac([0; 6]);
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// The bit of a group address (IEEE 802: I/G).
    pub const GROUP: Mac = Mac([1, 0, 0, 0, 0, 0]);

    const EXPECTED: &'static str = "a MAC address (six hex octets, such as 02:00:00:00:00:01)";

    /// The group address that stands for an IPv6 multicast address (RFC 2464 §7).
    pub const fn of_group(group: Ipv6Addr) -> Self {
        let [.., a, b, c, d] = group.octets();
        Self([0x33, 0x33, a, b, c, d])
    }

    /// The address in one word, its first octet lowest.
    #[inline]
    pub const fn word(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// True for group addresses (IEEE 802: the I/G bit), broadcast included.
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// True for an address that may stand as the source of a frame: neither group nor zero.
    #[inline]
    pub fn is_station(self) -> bool {
        !self.is_multicast() && self != Mac::ZERO
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = AddrError;

    fn from_str(s: &str) -> Result<Self, AddrError> {
        let mut out = [0; 6];
        let mut parts = s.split(':');
        for octet in &mut out {
            *octet = match parts.next() {
                Some(p) if p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()) => {
                    u8::from_str_radix(p, 16).map_err(|_| AddrError::new(s, Self::EXPECTED))?
                }
                _ => return Err(AddrError::new(s, Self::EXPECTED)),
            };
        }
        match parts.next() {
            None => Ok(Mac(out)),
            Some(_) => Err(AddrError::new(s, Self::EXPECTED)),
        }
    }
}

/// A VXLAN network identifier, 24 bits (RFC 7348 §5). 0 and 0xFFFFFF are legal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Vni(u32);

impl Vni {
    /// The largest VNI, 2²⁴ − 1.
    pub const MAX: u32 = 0xff_ffff;

    /// # Errors
    /// When `value` does not fit in 24 bits.
    pub fn new(value: u32) -> Result<Self, AddrError> {
        if value <= Self::MAX { Ok(Self(value)) } else { Err(AddrError::new(value, "a VNI (0 to 16777215)")) }
    }

    /// From the three octets of the header.
    #[inline]
    pub const fn from_octets([a, b, c]: [u8; 3]) -> Self {
        Self((a as u32) << 16 | (b as u32) << 8 | c as u32)
    }

    /// The three octets as they stand in the header.
    #[inline]
    pub const fn octets(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }

    /// The value, below 2²⁴.
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A maximum transmission unit: the largest IP packet, in bytes, that may leave by a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mtu(u16);

impl Mtu {
    /// Every IPv4 link carries at least this much (RFC 791 §3.2 guarantees 576 at a host; Linux insists on 68).
    pub const MIN: u16 = 576;
    /// The largest MTU accepted: common jumbo limit of data-centre switches.
    pub const MAX: u16 = 9216;
    /// Ethernet's usual MTU.
    pub const ETHERNET: Mtu = Mtu(1500);

    /// # Errors
    /// When `value` lies outside [`Mtu::MIN`]..=[`Mtu::MAX`].
    pub fn new(value: u32) -> Result<Self, AddrError> {
        match u16::try_from(value) {
            Ok(v) if (Self::MIN..=Self::MAX).contains(&v) => Ok(Self(v)),
            _ => Err(AddrError::new(value, "an MTU (576 to 9216 bytes)")),
        }
    }

    /// Bytes.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// What is left for the inner packet once `overhead` bytes of encapsulation are taken off, never below zero.
    pub const fn less(self, overhead: u16) -> u16 {
        self.0.saturating_sub(overhead)
    }
}

impl fmt::Display for Mtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// An IP prefix whose host bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

impl Prefix {
    const EXPECTED: &'static str = "an IP prefix (such as 10.244.1.0/24)";

    /// # Errors
    /// When `len` exceeds the family's width or a bit right of it is set.
    pub fn new(addr: IpAddr, len: u8) -> Result<Self, AddrError> {
        if len > width(addr) {
            return Err(AddrError::new(format_args!("{addr}/{len}"), Self::EXPECTED));
        }
        if mask(addr, len) != addr {
            return Err(AddrError::new(
                format_args!("{addr}/{len}"),
                "a prefix with host bits of zero (10.244.1.0/24, not 10.244.1.7/24)",
            ));
        }
        Ok(Self { addr, len })
    }

    /// The prefix of one address alone (/32 or /128).
    pub fn host(addr: IpAddr) -> Self {
        Self { addr, len: width(addr) }
    }

    /// The network address.
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// Length in bits.
    #[allow(clippy::len_without_is_empty)] // a prefix of length 0 is the default route, not an empty one
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// The prefix of `len` bits that holds this one; itself if `len` is no shorter.
    pub fn widened(&self, len: u8) -> Self {
        let len = len.min(self.len);
        Self { addr: mask(self.addr, len), len }
    }

    /// True when `addr` is of the same family and within.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.addr.is_ipv4() == addr.is_ipv4() && mask(addr, self.len) == self.addr
    }

    /// True when one of the two holds the other.
    pub fn overlaps(&self, other: &Prefix) -> bool {
        self.contains(other.addr) || other.contains(self.addr)
    }
}

fn width(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

fn mask(addr: IpAddr, len: u8) -> IpAddr {
    match addr {
        IpAddr::V4(a) => {
            let keep = u32::MAX.checked_shl(32 - u32::from(len.min(32))).unwrap_or(0);
            Ipv4Addr::from_bits(a.to_bits() & keep).into()
        }
        IpAddr::V6(a) => {
            let keep = u128::MAX.checked_shl(128 - u32::from(len.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(a.to_bits() & keep).into()
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Prefix {
    type Err = AddrError;

    fn from_str(s: &str) -> Result<Self, AddrError> {
        let bad = || AddrError::new(s, Self::EXPECTED);
        let (addr, len) = s.split_once('/').ok_or_else(bad)?;
        Self::new(addr.parse().map_err(|_| bad())?, len.parse().map_err(|_| bad())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_text_round_trips_and_bad_text_is_named() {
        let mac: Mac = "02:00:5e:10:00:fF".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:10:00:ff");
        for bad in ["", "02:00", "02:00:00:00:00:00:00", "02-00-00-00-00-00", "02:00:00:00:00:+1", "zz:00:00:00:00:00"]
        {
            let e = bad.parse::<Mac>().unwrap_err();
            assert!(e.to_string().contains("six hex octets"), "{bad}: {e}");
        }
        assert_eq!(Mac::of_group("ff02::1:ff00:809".parse().unwrap()), Mac([0x33, 0x33, 0xff, 0, 8, 9]));
        assert!(Mac::BROADCAST.is_multicast() && !Mac::BROADCAST.is_station() && !Mac::ZERO.is_station());
    }

    #[test]
    fn vni_and_mtu_have_edges() {
        assert_eq!(Vni::new(0).unwrap().octets(), [0, 0, 0]);
        assert_eq!(Vni::new(Vni::MAX).unwrap().octets(), [0xff; 3]);
        assert_eq!(Vni::from_octets([1, 2, 3]).get(), 0x010203);
        assert!(Vni::new(1 << 24).is_err());
        assert!(Mtu::new(575).is_err() && Mtu::new(576).is_ok() && Mtu::new(9216).is_ok() && Mtu::new(9217).is_err());
        assert!(Mtu::new(65_536 + 1500).is_err());
    }

    #[test]
    fn prefixes_contain_overlap_and_refuse_host_bits() {
        let p: Prefix = "10.244.0.0/16".parse().unwrap();
        assert!(p.contains("10.244.255.255".parse().unwrap()) && !p.contains("10.245.0.0".parse().unwrap()));
        assert!(!p.contains("::1".parse().unwrap()));
        assert!(p.overlaps(&"10.0.0.0/8".parse().unwrap()) && p.overlaps(&"10.244.1.0/24".parse().unwrap()));
        assert!(!p.overlaps(&"10.245.0.0/16".parse().unwrap()));
        let all: Prefix = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("255.255.255.255".parse().unwrap()) && !all.contains("::".parse().unwrap()));
        assert!("10.244.1.7/24".parse::<Prefix>().unwrap_err().to_string().contains("host bits"));
        for bad in ["10.0.0.0", "10.0.0.0/33", "::/129", "x/8", "10.0.0.0/-1", "10.0.0.0/"] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn everything_prints_as_it_is_written() {
        assert_eq!(format!("{:?}", Mac([2, 0, 0x5e, 0x10, 0, 0xff])), "02:00:5e:10:00:ff");
        assert_eq!(Vni::from_octets([0x12, 0x34, 0x56]).to_string(), 0x12_3456.to_string());
        let mtu = Mtu::new(9000).unwrap();
        assert_eq!((mtu.to_string(), mtu.get(), mtu.less(70), mtu.less(u16::MAX)), ("9000".into(), 9000, 8930, 0));
        let prefix: Prefix = "fd00:244:1::/48".parse().unwrap();
        assert_eq!((prefix.to_string(), format!("{prefix:?}")), ("fd00:244:1::/48".into(), "fd00:244:1::/48".into()));
        assert_eq!(prefix.len(), 48);
    }

    #[test]
    fn a_prefix_of_either_family_holds_what_shares_its_bits() {
        for (prefix, inside, outside) in [
            ("10.244.128.0/17", ["10.244.128.0", "10.244.255.255"], ["10.244.127.255", "10.245.0.0"]),
            (
                "fd00:244::/33",
                ["fd00:244::", "fd00:244:7fff:ffff:ffff:ffff:ffff:ffff"],
                ["fd00:244:8000::", "fd00:243::"],
            ),
            ("::/0", ["::", "ffff::1"], ["0.0.0.0", "255.255.255.255"]),
            ("fd00::1/128", ["fd00::1", "fd00::1"], ["fd00::", "fd00::2"]),
        ] {
            let net: Prefix = prefix.parse().unwrap();
            assert!(inside.iter().all(|a| net.contains(a.parse().unwrap())), "{prefix}");
            assert!(!outside.iter().any(|a| net.contains(a.parse().unwrap())), "{prefix}");
        }
        let wide = Prefix::host("fd00:244:8000::9".parse().unwrap()).widened(33);
        assert_eq!(wide.to_string(), "fd00:244:8000::/33");
    }
}
