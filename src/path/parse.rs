//! Bytes become types, once. The only place where a wire error turns into a [`DropReason`].

use core::net::Ipv4Addr;
use core::ops::Range;

use zerocopy::FromBytes;

use crate::drops::DropReason;
use crate::wire::ipv4::{Malformed, protocol};
use crate::wire::{Ethernet, Ipv4, Mac, Udp, Vni, Vxlan, eth, udp, vxlan};

/// What the path needs of an outer header that holds together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Outer {
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
    pub udp_port: u16,
    pub vni: Vni,
    pub tos: u8,
    pub addresses: [u8; 8],
    /// Where the UDP datagram lies in the frame, and its checksum, if it has one. Zero says that none was computed
    /// (RFC 768), which is legal (RFC 7348 §5).
    pub checked: Option<(Range<usize>, [u8; 2])>,
    /// Where the inner Ethernet frame lies in the frame.
    pub inner: Range<usize>,
}

/// Reads the headers in front of an inner frame: every length is checked against the one around it (RFC 768,
/// RFC 791), so that `inner` lies within the frame.
#[inline]
pub(super) fn outer(frame: &[u8]) -> Result<Outer, DropReason> {
    let (link, packet) = Ethernet::ref_from_prefix(frame).map_err(|_| DropReason::ShortFrame)?;
    if link.ethertype.get() != eth::IPV4 {
        return Err(DropReason::NotIp);
    }
    let ip = Ipv4::parse(packet).map_err(|e| match e {
        Malformed::Short | Malformed::Header => DropReason::OuterIpHeader,
        Malformed::Checksum => DropReason::OuterIpChecksum,
    })?;
    // RFC 7348 §4.3: VTEPs must not fragment; fragments are not reassembled here.
    if ip.is_fragment() {
        return Err(DropReason::OuterFragment);
    }
    if ip.protocol != protocol::UDP {
        return Err(DropReason::OuterNotUdp);
    }
    let datagram_at = eth::LEN + ip.header_len();
    let datagram = frame.get(datagram_at..eth::LEN + usize::from(ip.total_len.get())).unwrap_or_default();
    let (udp, _) = Udp::ref_from_prefix(datagram).map_err(|_| DropReason::OuterUdpLength)?;
    let udp_len = usize::from(udp.len.get());
    if udp_len < udp::LEN || udp_len > datagram.len() {
        return Err(DropReason::OuterUdpLength);
    }
    let payload = datagram.get(udp::LEN..udp_len).unwrap_or_default();
    let (vxlan, _) = Vxlan::ref_from_prefix(payload).map_err(|_| DropReason::VxlanShort)?;
    let vni = vxlan.vni().ok_or(DropReason::VxlanFlags)?;
    Ok(Outer {
        src: ip.source(),
        dst: ip.destination(),
        udp_port: udp.dst.get(),
        vni,
        tos: ip.tos,
        addresses: *ip.addresses(),
        checked: (udp.checksum != [0, 0]).then(|| (datagram_at..datagram_at + udp_len, udp.checksum)),
        inner: datagram_at + udp::LEN + vxlan::LEN..datagram_at + udp_len,
    })
}

/// What the path needs of an inner frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Inner {
    pub dst: Mac,
    pub src: Mac,
    /// Bytes in front of the IP packet: 14, or 18 with a priority tag.
    pub ip_at: u8,
    pub ip: Ip,
}

/// What the path needs of an IP packet whose header holds together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ip {
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
    pub tos: u8,
    pub ttl: u8,
    pub protocol: u8,
    pub fragment: bool,
    pub header_len: u8,
    pub total_len: u16,
}

impl Ip {
    #[inline]
    pub(super) fn of(ip: &Ipv4) -> Self {
        Self {
            src: ip.source(),
            dst: ip.destination(),
            tos: ip.tos,
            ttl: ip.ttl,
            protocol: ip.protocol,
            fragment: ip.is_fragment(),
            header_len: ip.header_len() as u8,
            total_len: ip.total_len.get(),
        }
    }

    /// Where the payload lies in the packet.
    #[inline]
    pub(super) fn payload(&self) -> Range<usize> {
        usize::from(self.header_len)..usize::from(self.total_len)
    }
}

/// Reads an inner Ethernet frame and the IP header in it.
#[inline]
pub(super) fn inner(frame: &[u8]) -> Result<Inner, DropReason> {
    let (link, rest) = Ethernet::ref_from_prefix(frame).map_err(|_| DropReason::InnerShort)?;
    let (ethertype, packet) = match link.ethertype.get() {
        eth::VLAN => untagged(rest)?,
        other => (other, rest),
    };
    match ethertype {
        eth::IPV4 => {}
        eth::VLAN | eth::QINQ => return Err(DropReason::InnerVlan),
        _ => return Err(DropReason::InnerNotIp),
    }
    let ip = Ipv4::parse(packet).map_err(|e| match e {
        Malformed::Short | Malformed::Header => DropReason::InnerIpHeader,
        Malformed::Checksum => DropReason::InnerIpChecksum,
    })?;
    let ip_at = (frame.len() - packet.len()) as u8;
    Ok(Inner { dst: link.dst, src: link.src, ip_at, ip: Ip::of(ip) })
}

/// What lies behind a priority tag, which names no VLAN (IEEE 802.1Q: VID 0). RFC 7348 §6.1: frames of a VLAN are
/// dropped unless configured.
#[cold]
fn untagged(rest: &[u8]) -> Result<(u16, &[u8]), DropReason> {
    let (tag, packet) = rest.split_first_chunk::<4>().ok_or(DropReason::InnerShort)?;
    let [control_high, control_low, type_high, type_low] = *tag;
    match u16::from_be_bytes([control_high, control_low]) & 0x0fff {
        0 => Ok((u16::from_be_bytes([type_high, type_low]), packet)),
        _ => Err(DropReason::InnerVlan),
    }
}

/// Reads a plain frame: its source MAC and the IP header in it.
#[inline]
pub(super) fn plain(frame: &[u8]) -> Result<(Mac, Ip), DropReason> {
    let (link, packet) = Ethernet::ref_from_prefix(frame).map_err(|_| DropReason::ShortFrame)?;
    if link.ethertype.get() != eth::IPV4 {
        return Err(DropReason::NotIp);
    }
    // An answer goes to this address: it must be a station's.
    if !link.src.is_station() {
        return Err(DropReason::SourceMac);
    }
    let ip = Ipv4::parse(packet).map_err(|e| match e {
        Malformed::Short | Malformed::Header => DropReason::IpHeader,
        Malformed::Checksum => DropReason::IpChecksum,
    })?;
    Ok((link.src, Ip::of(ip)))
}

/// True for an address that can be a host's (RFC 1122 §3.2.1.3): not of "this network", loopback, multicast or
/// reserved.
#[inline]
pub(super) const fn is_unicast(addr: Ipv4Addr) -> bool {
    !matches!(addr.octets()[0], 0 | 127 | 224..)
}

/// True for an address that a router may forward from or to: a host's, and not link-local (RFC 3927 §7).
#[inline]
pub(super) const fn is_forwardable(addr: Ipv4Addr) -> bool {
    is_unicast(addr) && addr.to_bits() >> 16 != 0xa9fe
}
