//! Bytes become types, once. The only place where a wire error turns into a [`DropReason`].

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use zerocopy::FromBytes;

use crate::drops::DropReason;
use crate::wire::checksum::{Sum, pseudo};
use crate::wire::ipv4::{self, protocol};
use crate::wire::vxlan::{Extension, Policy};
use crate::wire::{Ethernet, Ipv4, Ipv6, Mac, Udp, Unfinished, Vni, Vxlan, eth, udp, vxlan};

/// What the path needs of an outer header that holds together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Outer {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub udp_port: u16,
    pub vni: Vni,
    /// Legal only in overlays that carry them.
    pub policy: Option<Policy>,
    pub tos: u8,
    /// Where the UDP datagram lies in the frame, and its checksum, if it has one. Zero says that none was computed
    /// (RFC 768), which is legal over IPv4 (RFC 7348 §5), and over IPv6 where it was agreed upon (RFC 6936).
    pub checked: Option<(Range<usize>, [u8; 2])>,
    /// Where the inner Ethernet frame lies in the frame.
    pub inner: Range<usize>,
}

/// Reads the headers in front of an inner frame: every length is checked against the one around it (RFC 768,
/// RFC 791), so that `inner` lies within the frame.
#[inline]
pub(super) fn outer(frame: &[u8]) -> Result<Outer, DropReason> {
    let (link, packet) = Ethernet::ref_from_prefix(frame).map_err(|_| DropReason::ShortFrame)?;
    let ip = match link.ethertype.get() {
        eth::IPV4 => outer_v4(packet)?,
        eth::IPV6 => outer_v6(packet)?,
        _ => return Err(DropReason::NotIp),
    };
    // RFC 7348 §4.3: VTEPs must not fragment; fragments are not reassembled here.
    if ip.fragment {
        return Err(DropReason::OuterFragment);
    }
    if ip.protocol != protocol::UDP {
        return Err(DropReason::OuterNotUdp);
    }
    let datagram_at = eth::LEN + usize::from(ip.header_len);
    let datagram = frame.get(datagram_at..eth::LEN + usize::from(ip.total_len)).unwrap_or_default();
    let (udp, _) = Udp::ref_from_prefix(datagram).map_err(|_| DropReason::OuterUdpLength)?;
    let udp_len = usize::from(udp.len.get());
    if udp_len < udp::LEN || udp_len > datagram.len() {
        return Err(DropReason::OuterUdpLength);
    }
    let payload = datagram.get(udp::LEN..udp_len).unwrap_or_default();
    let (vxlan, _) = Vxlan::ref_from_prefix(payload).map_err(|_| DropReason::VxlanShort)?;
    let vni = vxlan.vni().ok_or(DropReason::VxlanFlags)?;
    let policy = match vxlan.extension() {
        Extension::None => None,
        Extension::Policy(policy) => Some(policy),
        Extension::Other => return Err(DropReason::VxlanExtension),
    };
    Ok(Outer {
        src: ip.src,
        dst: ip.dst,
        udp_port: udp.dst.get(),
        vni,
        policy,
        tos: ip.tos,
        checked: (udp.checksum != [0, 0]).then(|| (datagram_at..datagram_at + udp_len, udp.checksum)),
        inner: datagram_at + udp::LEN + vxlan::LEN..datagram_at + udp_len,
    })
}

#[inline]
fn outer_v4(packet: &[u8]) -> Result<Ip, DropReason> {
    Ipv4::parse(packet).map(Ip::v4).map_err(|e| match e {
        ipv4::Malformed::Short | ipv4::Malformed::Header => DropReason::OuterIpHeader,
        ipv4::Malformed::Checksum => DropReason::OuterIpChecksum,
    })
}

/// Extension headers are walked past for nothing but to find fragments: VTEPs send none.
fn outer_v6(packet: &[u8]) -> Result<Ip, DropReason> {
    Ipv6::parse(packet).map(|ip| Ip::v6(ip, packet)).map_err(|_| DropReason::OuterIpHeader)
}

/// What the path needs of an inner frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Inner {
    pub dst: Mac,
    pub src: Mac,
    /// Bytes in front of the IP packet: 14, or 18 with a tag.
    pub ip_at: u8,
    pub ip: Ip,
}

/// What the path needs of an IP packet whose header holds together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ip {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub tos: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Of the payload; in IPv6 of what lies behind the extension headers.
    pub protocol: u8,
    /// A piece of a fragmented packet.
    pub fragment: bool,
    /// A piece that does not begin with the payload's header.
    pub later: bool,
    /// Bytes in front of the payload: options and extension headers count.
    pub header_len: u16,
    pub total_len: u16,
    /// What of the checksum of the payload is still to be done.
    pub unfinished: Unfinished,
    /// The payload's checksum is right, or will be once it is finished: it was not computed elsewhere.
    pub known: bool,
}

impl Ip {
    #[inline]
    pub(super) fn v4(ip: &Ipv4) -> Self {
        Self {
            src: ip.source().into(),
            dst: ip.destination().into(),
            tos: ip.tos,
            ttl: ip.ttl,
            protocol: ip.protocol,
            fragment: ip.is_fragment(),
            later: ip.is_later_fragment(),
            header_len: ip.header_len() as u16,
            total_len: ip.total_len.get(),
            unfinished: Unfinished::NONE,
            known: false,
        }
    }

    /// Of the packet that begins with this header.
    pub(super) fn v6(ip: &Ipv6, packet: &[u8]) -> Self {
        let total_len = ip.packet_len() as u16; // no chunk holds as much as 64 KiB
        let upper = ip.upper(packet.get(..usize::from(total_len)).unwrap_or_default());
        Self {
            src: ip.source().into(),
            dst: ip.destination().into(),
            tos: ip.traffic_class(),
            ttl: ip.hop_limit,
            protocol: upper.protocol,
            fragment: upper.fragment,
            later: upper.later,
            header_len: upper.at,
            total_len,
            unfinished: Unfinished::NONE,
            known: false,
        }
    }

    /// Where the payload lies in the packet.
    #[inline]
    pub(super) fn payload(&self) -> Range<usize> {
        usize::from(self.header_len)..usize::from(self.total_len)
    }

    /// The sum over the pseudo-header of its payload.
    pub(super) fn pseudo(&self) -> Sum {
        pseudo(self.src, self.dst, self.protocol, self.payload().len() as u16)
    }

    /// What its payload sums up to, once its checksum is finished, if that is known without reading it: with its
    /// pseudo-header to all ones (RFC 1071 §1). So it need not be read for an outer checksum (local checksum offload,
    /// Documentation/networking/checksum-offloads.rst).
    pub(super) fn sum(&self) -> Option<Sum> {
        self.known.then(|| Sum::ZERO.word(self.pseudo().checksum()))
    }
}

/// Does a plain frame hold ARP?
#[inline]
pub(super) fn is_arp(frame: &[u8]) -> bool {
    Ethernet::ref_from_prefix(frame).is_ok_and(|(link, _)| link.ethertype.get() == eth::ARP)
}

/// The header of an inner Ethernet frame and what it holds. A priority tag, or one of this VLAN, is none of either.
pub(super) fn link(frame: &[u8], vlan: u16) -> Result<(Ethernet, &[u8]), DropReason> {
    let (link, rest) = Ethernet::read_from_prefix(frame).map_err(|_| DropReason::InnerShort)?;
    if link.ethertype.get() != eth::VLAN {
        return Ok((link, rest));
    }
    let (ethertype, payload) = untagged(rest, vlan)?;
    Ok((Ethernet { ethertype: ethertype.into(), ..link }, payload))
}

/// Does an inner frame hold ARP, behind a tag of this VLAN or none?
#[inline]
pub(super) fn is_inner_arp(frame: &[u8], vlan: u16) -> bool {
    let behind_tag = |rest| untagged(rest, vlan).is_ok_and(|(ethertype, _)| ethertype == eth::ARP);
    Ethernet::ref_from_prefix(frame).is_ok_and(|(link, rest)| match link.ethertype.get() {
        eth::VLAN => behind_tag(rest),
        ethertype => ethertype == eth::ARP,
    })
}

/// Reads an inner Ethernet frame, without a tag or with one of this VLAN, and the IP header in it.
#[inline]
pub(super) fn inner(frame: &[u8], vlan: u16) -> Result<Inner, DropReason> {
    let (link, rest) = Ethernet::ref_from_prefix(frame).map_err(|_| DropReason::InnerShort)?;
    let (ethertype, packet) = match link.ethertype.get() {
        eth::VLAN => untagged(rest, vlan)?,
        other => (other, rest),
    };
    let ip = match ethertype {
        eth::IPV4 => Ipv4::parse(packet).map(Ip::v4).map_err(|e| match e {
            ipv4::Malformed::Short | ipv4::Malformed::Header => DropReason::InnerIpHeader,
            ipv4::Malformed::Checksum => DropReason::InnerIpChecksum,
        })?,
        eth::IPV6 => Ipv6::parse(packet).map(|ip| Ip::v6(ip, packet)).map_err(|_| DropReason::InnerIpHeader)?,
        eth::VLAN | eth::QINQ => return Err(DropReason::InnerVlan),
        _ => return Err(DropReason::InnerNotIp),
    };
    let ip_at = (frame.len() - packet.len()) as u8;
    Ok(Inner { dst: link.dst, src: link.src, ip_at, ip })
}

/// What lies behind a priority tag, which names no VLAN (IEEE 802.1Q: VID 0), or behind one of this VLAN. RFC 7348 §6.1:
/// frames of a VLAN are dropped unless configured.
#[cold]
fn untagged(rest: &[u8], vlan: u16) -> Result<(u16, &[u8]), DropReason> {
    let (tag, packet) = rest.split_first_chunk::<4>().ok_or(DropReason::InnerShort)?;
    let [control_high, control_low, type_high, type_low] = *tag;
    let id = u16::from_be_bytes([control_high, control_low]) & 0x0fff;
    if id != 0 && id != vlan {
        return Err(DropReason::InnerVlan);
    }
    Ok((u16::from_be_bytes([type_high, type_low]), packet))
}

/// Reads a plain frame: its source MAC and the IP header in it.
#[inline]
pub(super) fn plain(frame: &[u8]) -> Result<(Mac, Ip), DropReason> {
    let (link, packet) = Ethernet::ref_from_prefix(frame).map_err(|_| DropReason::ShortFrame)?;
    let ethertype = link.ethertype.get();
    if !matches!(ethertype, eth::IPV4 | eth::IPV6) {
        return Err(DropReason::NotIp);
    }
    // An answer goes to this address: it must be a station's.
    if !link.src.is_station() {
        return Err(DropReason::SourceMac);
    }
    let ip = match ethertype {
        eth::IPV4 => Ipv4::parse(packet).map(Ip::v4).map_err(|e| match e {
            ipv4::Malformed::Short | ipv4::Malformed::Header => DropReason::IpHeader,
            ipv4::Malformed::Checksum => DropReason::IpChecksum,
        })?,
        _ => Ipv6::parse(packet).map(|ip| Ip::v6(ip, packet)).map_err(|_| DropReason::IpHeader)?,
    };
    Ok((link.src, ip))
}

/// True for an address that can be a host's.
#[inline]
pub(super) const fn is_unicast(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => is_unicast_v4(addr),
        IpAddr::V6(addr) => is_unicast_v6(addr),
    }
}

/// True for an address that a router may forward from or to.
#[inline]
pub(super) const fn is_forwardable(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => is_forwardable_v4(addr),
        // RFC 4291 §2.5.6: link-local
        IpAddr::V6(addr) => is_unicast_v6(addr) && addr.to_bits() >> 118 != 0x3fa,
    }
}

/// RFC 1122 §3.2.1.3: not of "this network", loopback, multicast or reserved.
#[inline]
pub(super) const fn is_unicast_v4(addr: Ipv4Addr) -> bool {
    !matches!(addr.octets()[0], 0 | 127 | 224..)
}

/// RFC 4291 §2.5: not multicast, unspecified or loopback; nor of the formats that hold an IPv4 address (§2.5.5), which
/// name no host of an IPv6 network.
#[inline]
const fn is_unicast_v6(addr: Ipv6Addr) -> bool {
    addr.octets()[0] != 0xff && !matches!(addr.to_bits() >> 32, 0 | 0xffff)
}

/// [`is_forwardable`] of an IPv4 address: a host's, and not link-local (RFC 3927 §7).
#[inline]
pub(super) const fn is_forwardable_v4(addr: Ipv4Addr) -> bool {
    is_unicast_v4(addr) && addr.to_bits() >> 16 != 0xa9fe
}
