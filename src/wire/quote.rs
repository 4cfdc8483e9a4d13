//! What a router says about a packet of ours that was too big for it, and the part of the packet it quotes as proof:
//! ICMP "fragmentation needed" (RFC 792, RFC 1191 §4) and ICMPv6 "packet too big" (RFC 4443 §3.2).
//!
//! Anybody can write such a message. What is read here is what it says; whether that can be true is for whoever knows
//! what was sent.

use core::net::{IpAddr, Ipv6Addr};

use zerocopy::FromBytes;

use super::checksum::{Sum, pseudo_v6};
use super::flow::{self, Flow};
use super::icmpv6::Icmpv6;
use super::ipv4::{self, protocol};
use super::{Ethernet, Icmp, Ipv4, Ipv6, Udp, Vxlan, eth, icmp, icmpv6, ipv6, udp};

/// Bytes of a source and a destination port.
const PORTS: usize = 4;

/// Why a message cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// It ends early, contradicts itself, or is another kind of message.
    Malformed,
    /// Its checksum is wrong.
    Checksum,
    /// The packet it quotes is none that a VTEP sends: not UDP, fragmented, with IP options, or free to be fragmented.
    Foreign,
}

/// A packet was too big for a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooBig<'a> {
    /// Who says so.
    pub router: IpAddr,
    /// Largest IP packet, in bytes, that the link takes; 0 from a router that does not tell (older than RFC 1191).
    pub mtu: u32,
    /// The packet it speaks of.
    pub quote: Quote<'a>,
}

/// The front of a UDP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote<'a> {
    /// Source address: whom the message is for.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Length of the packet with its IP header, in bytes, as it was sent.
    pub total_len: u32,
    /// UDP source port.
    pub src_port: u16,
    /// UDP destination port.
    pub dst_port: u16,
    /// What is quoted of the UDP payload: as much as the router liked to.
    payload: &'a [u8],
}

/// What a quote that reaches so far says of the VXLAN packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inside<'a> {
    /// The VXLAN header.
    pub vxlan: &'a Vxlan,
    /// The inner Ethernet header.
    pub link: &'a Ethernet,
    /// What is quoted of the inner packet.
    packet: &'a [u8],
}

impl<'a> TooBig<'a> {
    /// Reads an ICMP message with its IPv4 header in front.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn v4(packet: &'a [u8]) -> Result<Self, Unreadable> {
        let ip = Ipv4::parse(packet).map_err(|_| Unreadable::Malformed)?;
        let message = packet.get(ip.header_len()..usize::from(ip.total_len.get())).unwrap_or_default();
        let (header, quoted) = Icmp::ref_from_prefix(message).map_err(|_| Unreadable::Malformed)?;
        if (ip.protocol, header.kind, header.code) != (protocol::ICMP, icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED) {
            return Err(Unreadable::Malformed);
        }
        if !Sum::ZERO.bytes(message).is_intact() {
            return Err(Unreadable::Checksum);
        }
        // RFC 4884 §4.1: if this octet is not 0, the quote takes so many 32-bit words, and something else follows
        let words = usize::from(header.first.get() & 0xff);
        let quoted = if words == 0 { quoted } else { quoted.get(..words * 4).ok_or(Unreadable::Malformed)? };
        let quote = Quote::v4(quoted)?;
        // whom a packet was from is told that it was too big
        if quote.src != IpAddr::V4(ip.destination()) {
            return Err(Unreadable::Foreign);
        }
        Ok(Self { router: ip.source().into(), mtu: header.second.get().into(), quote })
    }

    /// Reads an ICMPv6 message that came from `router`, without any IP header.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn v6(message: &'a [u8], router: Ipv6Addr) -> Result<Self, Unreadable> {
        let (header, quoted) = Icmpv6::ref_from_prefix(message).map_err(|_| Unreadable::Malformed)?;
        // RFC 4443 §3.2: the code is ignored
        if header.kind != icmpv6::PACKET_TOO_BIG {
            return Err(Unreadable::Malformed);
        }
        let ip = Ipv6::ref_from_prefix(quoted).map_err(|_| Unreadable::Malformed)?.0;
        // the message is addressed to whom the quoted packet was from: the checksum proves that, too
        let mut addresses = [0; 32];
        addresses[..16].copy_from_slice(&router.octets());
        addresses[16..].copy_from_slice(&ip.src);
        let len = u16::try_from(message.len()).map_err(|_| Unreadable::Malformed)?;
        if !pseudo_v6(&addresses, protocol::ICMPV6, len).bytes(message).is_intact() {
            return Err(Unreadable::Checksum);
        }
        Ok(Self { router: router.into(), mtu: header.rest.get(), quote: Quote::v6(quoted)? })
    }
}

impl<'a> Quote<'a> {
    /// The header's checksum is not looked at: on its way to the router the packet lost hops, and routers differ in what
    /// they do about it in a quote.
    fn v4(quoted: &'a [u8]) -> Result<Self, Unreadable> {
        let (ip, rest) = Ipv4::ref_from_prefix(quoted).map_err(|_| Unreadable::Malformed)?;
        if ip.version_ihl != ipv4::PLAIN || ip.protocol != protocol::UDP || ip.is_fragment() || !ip.dont_fragment() {
            return Err(Unreadable::Foreign);
        }
        let total_len = u32::from(ip.total_len.get());
        Self::udp((ip.source().into(), ip.destination().into()), total_len, ipv4::LEN, rest)
    }

    fn v6(quoted: &'a [u8]) -> Result<Self, Unreadable> {
        let (ip, rest) = Ipv6::ref_from_prefix(quoted).map_err(|_| Unreadable::Malformed)?;
        if ip.version_class_label[0] >> 4 != 6 || ip.next_header != protocol::UDP {
            return Err(Unreadable::Foreign);
        }
        let ends = (Ipv6Addr::from(ip.src).into(), Ipv6Addr::from(ip.dst).into());
        Self::udp(ends, u32::from(ip.payload_len.get()) + ipv6::LEN as u32, ipv6::LEN, rest)
    }

    fn udp((src, dst): (IpAddr, IpAddr), total_len: u32, header: usize, rest: &'a [u8]) -> Result<Self, Unreadable> {
        // RFC 792 grants 8 bytes behind the IP header: all of this one
        let (udp, payload) = Udp::ref_from_prefix(rest).map_err(|_| Unreadable::Malformed)?;
        if u32::from(udp.len.get()) + header as u32 != total_len {
            return Err(Unreadable::Foreign);
        }
        // what is quoted beyond the packet's end is none of it
        let payload = payload.get(..usize::from(udp.len.get()).saturating_sub(udp::LEN)).unwrap_or(payload);
        Ok(Self { src, dst, total_len, src_port: udp.src.get(), dst_port: udp.dst.get(), payload })
    }

    /// What it says of the VXLAN packet; `None` if it ends before the inner Ethernet header does.
    pub fn inside(&self) -> Option<Inside<'a>> {
        let (vxlan, frame) = Vxlan::ref_from_prefix(self.payload).ok()?;
        let (link, packet) = Ethernet::ref_from_prefix(frame).ok()?;
        Some(Inside { vxlan, link, packet })
    }
}

impl Inside<'_> {
    /// Does it carry what we put into tunnels: an IP packet, by its EtherType?
    pub fn is_ip(&self) -> bool {
        matches!(self.link.ethertype.get(), eth::IPV4 | eth::IPV6)
    }

    /// The outer UDP source port that the inner packet's flow has; `None` if too little of it is quoted to tell.
    pub fn source_port(&self) -> Option<u16> {
        match self.link.ethertype.get() {
            eth::IPV4 => {
                let ip = Ipv4::ref_from_prefix(self.packet).ok()?.0;
                let payload = self.packet.get(ip.header_len()..)?;
                let ports = flow::has_ports(ip.protocol) && !ip.is_fragment();
                (!ports || payload.len() >= PORTS).then(|| Flow::of_v4(ip, payload).port())
            }
            eth::IPV6 => {
                let ip = Ipv6::ref_from_prefix(self.packet).ok()?.0;
                let upper = ip.upper(self.packet);
                let payload = self.packet.get(usize::from(upper.at)..)?;
                // a chain of extension headers ends for certain only where the quote goes on
                (payload.len() >= PORTS).then(|| Flow::of_v6(ip, &upper, payload).port())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    use super::*;

    /// The Internet checksum over `bytes`, written at `at`, where zeroes must stand.
    fn sign(sum: Sum, bytes: &mut [u8], at: usize) {
        let checksum = sum.bytes(bytes).checksum();
        bytes[at..at + 2].copy_from_slice(&checksum);
    }

    /// An ICMP message with its IP header: `to` is told by `router` that `quoted` was too big for `mtu`.
    pub(crate) fn message_v4(router: [u8; 4], to: [u8; 4], mtu: u16, quoted: &[u8]) -> Vec<u8> {
        let mut icmp =
            [&[icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED, 0, 0, 0, 0], &mtu.to_be_bytes()[..], quoted].concat();
        sign(Sum::ZERO, &mut icmp, 2);
        with_header(router, to, &icmp)
    }

    fn with_header(src: [u8; 4], dst: [u8; 4], icmp: &[u8]) -> Vec<u8> {
        let mut ip = Ipv4 {
            version_ihl: ipv4::PLAIN,
            tos: 0xc0,
            total_len: ((ipv4::LEN + icmp.len()) as u16).into(),
            id: 7.into(),
            flags_offset: 0.into(),
            ttl: 61,
            protocol: protocol::ICMP,
            checksum: [0; 2],
            src,
            dst,
        };
        ip.checksum = Sum::ZERO.bytes(ip.as_bytes()).checksum();
        [ip.as_bytes(), icmp].concat()
    }

    /// An ICMPv6 message: whom `quoted` is from is told by `router` that it was too big for `mtu`.
    pub(crate) fn message_v6(router: [u8; 16], mtu: u32, quoted: &[u8]) -> Vec<u8> {
        let mut icmp = [&[icmpv6::PACKET_TOO_BIG, 0, 0, 0], &mtu.to_be_bytes()[..], quoted].concat();
        let addresses: [u8; 32] = [&router[..], &quoted[8..24]].concat().try_into().unwrap();
        sign(pseudo_v6(&addresses, protocol::ICMPV6, icmp.len() as u16), &mut icmp, 2);
        icmp
    }

    /// A UDP datagram to port 4789 of so many bytes, which are 0xa5.
    fn datagram(len: u16) -> Vec<u8> {
        [&[0xc0, 1, 0x12, 0xb5], &len.to_be_bytes()[..], &[0, 0], &vec![0xa5; usize::from(len) - 8]].concat()
    }

    const OURS: [u8; 4] = [192, 0, 2, 1];
    const PEER: [u8; 4] = [192, 0, 2, 11];
    const ROUTER: [u8; 4] = [192, 0, 2, 99];

    fn packet_v4() -> Vec<u8> {
        let mut packet = with_header(OURS, PEER, &datagram(1480));
        packet[6] = 0x40; // DF
        packet[9] = protocol::UDP;
        packet
    }

    fn packet_v6() -> Vec<u8> {
        let ends = [[0xfd, 1].repeat(8), [0xfd, 2].repeat(8)].concat();
        [&[0x60, 0, 0, 0, 0x05, 0xb4, 17, 64], &ends[..], &datagram(0x05b4)].concat()
    }

    fn router_v6() -> Ipv6Addr {
        [0xfe, 9].repeat(8).as_slice().try_into().map(|octets: [u8; 16]| octets.into()).unwrap()
    }

    #[test]
    fn what_a_message_says_is_read() {
        let message = message_v4(ROUTER, OURS, 1400, &packet_v4()[..100]);
        let said = TooBig::v4(&message).unwrap();
        assert_eq!((said.router, said.mtu), (ROUTER.into(), 1400));
        let q = said.quote;
        assert_eq!((q.src, q.dst, q.total_len), (OURS.into(), PEER.into(), 1500));
        assert_eq!((q.src_port, q.dst_port, q.payload.len()), (0xc001, 4789, 72));

        let message = message_v6(router_v6().octets(), 1400, &packet_v6()[..100]);
        let said = TooBig::v6(&message, router_v6()).unwrap();
        let q = said.quote;
        assert_eq!((said.mtu, q.total_len, q.dst_port, q.payload.len()), (1400, 1500, 4789, 52));
        assert_eq!(q.dst, IpAddr::from(<[u8; 16]>::try_from([0xfd, 2].repeat(8)).unwrap()));
    }

    #[test]
    fn truncation_at_every_byte_is_noticed_and_so_is_every_bit() {
        let whole = message_v4(ROUTER, OURS, 1400, &packet_v4()[..80]);
        for cut in 0..whole.len() {
            assert_eq!(TooBig::v4(&whole[..cut]), Err(Unreadable::Malformed), "cut at {cut}");
        }
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(TooBig::v4(&bytes).is_err(), "bit {bit}");
        }
        let whole = message_v6(router_v6().octets(), 1400, &packet_v6()[..100]);
        for cut in 0..whole.len() {
            assert!(TooBig::v6(&whole[..cut], router_v6()).is_err(), "cut at {cut}");
        }
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(TooBig::v6(&bytes, router_v6()).is_err(), "bit {bit}");
        }
        assert_eq!(TooBig::v6(&whole, Ipv6Addr::LOCALHOST), Err(Unreadable::Checksum), "somebody else says it");
    }

    #[test]
    fn a_quote_of_less_than_eight_bytes_of_payload_is_malformed() {
        for n in 0..80 {
            let message = message_v4(ROUTER, OURS, 1400, &packet_v4()[..n]);
            assert_eq!(TooBig::v4(&message).err(), (n < 28).then_some(Unreadable::Malformed), "{n}");
            if n >= 40 {
                let message = message_v6(router_v6().octets(), 1400, &packet_v6()[..n]);
                assert_eq!(TooBig::v6(&message, router_v6()).err(), (n < 48).then_some(Unreadable::Malformed), "{n}");
            }
        }
    }

    #[test]
    fn packets_that_no_vtep_sends_are_foreign() {
        let spoilt = |at: usize, value: u8| {
            let mut packet = packet_v4();
            packet[at] = value;
            TooBig::v4(&message_v4(ROUTER, OURS, 1400, &packet)).err()
        };
        for (what, at, value) in [
            ("options", 0, 0x46),
            ("version", 0, 0x65),
            ("free to be fragmented", 6, 0),
            ("a first fragment", 6, 0x60),
            ("a later fragment", 7, 9),
            ("TCP", 9, protocol::TCP),
            ("longer than UDP says", 3, 0xdd),
            ("from somebody else", 15, 77),
        ] {
            assert_eq!(spoilt(at, value), Some(Unreadable::Foreign), "{what}");
        }
        assert_eq!(spoilt(8, 1), None, "hops were lost, and the header's checksum does not say so");
        for (at, value) in [(0, 0x50), (6, 0), (5, 0)] {
            let mut packet = packet_v6();
            packet[at] = value;
            let message = message_v6(router_v6().octets(), 1400, &packet);
            assert_eq!(TooBig::v6(&message, router_v6()), Err(Unreadable::Foreign), "{at}");
        }
    }

    #[test]
    fn other_messages_are_none_of_these() {
        let mut message = message_v4(ROUTER, OURS, 1400, &packet_v4());
        message[21] = 3; // port unreachable
        assert_eq!(TooBig::v4(&message), Err(Unreadable::Malformed));
        let mut message = message_v6(router_v6().octets(), 1400, &packet_v6());
        message[0] = 1;
        assert_eq!(TooBig::v6(&message, router_v6()), Err(Unreadable::Malformed));
    }

    /// What has no ports needs none quoted.
    #[test]
    fn of_a_flow_without_ports_the_header_is_enough() {
        let mut link = [0; 14];
        link[12..].copy_from_slice(&eth::IPV4.to_be_bytes());
        let vxlan = Vxlan::new(crate::wire::Vni::new(1).unwrap());
        let link = Ethernet::ref_from_bytes(&link).unwrap();
        for (protocol, told) in [(protocol::ICMP, true), (protocol::UDP, false)] {
            let mut packet = packet_v4();
            packet[9] = protocol;
            let inside = Inside { vxlan: &vxlan, link, packet: &packet[..ipv4::LEN] };
            assert_eq!(inside.source_port().is_some(), told, "{protocol}");
        }
    }

    #[test]
    fn a_flow_with_ports_is_told_as_soon_as_they_are_quoted() {
        let vxlan = Vxlan::new(crate::wire::Vni::new(1).unwrap());
        let families = [(eth::IPV4, ipv4::LEN, packet_v4()), (eth::IPV6, ipv6::LEN, packet_v6())];
        for (ethertype, header, packet) in families {
            let mut link = [0; 14];
            link[12..].copy_from_slice(&ethertype.to_be_bytes());
            let link = Ethernet::ref_from_bytes(&link).unwrap();
            let told = |quoted| Inside { vxlan: &vxlan, link, packet: &packet[..quoted] }.source_port();
            let whole = told(packet.len()).unwrap();
            for quoted in 0..header + 12 {
                assert_eq!(told(quoted), (quoted >= header + PORTS).then_some(whole), "{ethertype:#x} {quoted}");
            }
        }
    }

    #[test]
    fn what_goes_into_tunnels_is_ip() {
        let is_ip = |ethertype: u16| {
            let mut link = [0; 14];
            link[12..].copy_from_slice(&ethertype.to_be_bytes());
            let link = Ethernet::ref_from_bytes(&link).unwrap();
            Inside { vxlan: &Vxlan::new(crate::wire::Vni::new(1).unwrap()), link, packet: &[] }.is_ip()
        };
        assert_eq!([eth::IPV4, eth::IPV6, eth::ARP].map(is_ip), [true, true, false]);
    }

    proptest! {
        /// Whatever is behind a sound front, reading it to the end is no more than reading.
        #[test]
        fn anything_may_be_quoted(quoted in prop::collection::vec(any::<u8>(), 24..200), v4: bool, link: u16) {
            let mut quoted = quoted;
            let front = if v4 { packet_v4() } else { packet_v6() };
            let header = if v4 { 28 } else { 48 };
            quoted.splice(..0, front[..header].iter().copied());
            if let Some(ethertype) = quoted.get_mut(header + 20..header + 22) {
                ethertype.copy_from_slice(&[eth::IPV4, eth::IPV6, link][usize::from(link % 3)].to_be_bytes());
            }
            let (four, six) = (message_v4(ROUTER, OURS, 1400, &quoted), message_v6(router_v6().octets(), 1400, &quoted));
            let said = if v4 { TooBig::v4(&four) } else { TooBig::v6(&six, router_v6()) };
            let inside = said.unwrap().quote.inside().unwrap();
            let ports = inside.source_port();
            prop_assert!(ports.is_none_or(|port| inside.is_ip() && port >= flow::FIRST_PORT));
        }

        #[test]
        fn anything_may_come(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (TooBig::v4(&bytes), TooBig::v6(&bytes, Ipv6Addr::LOCALHOST));
            bytes.splice(..0, [0; 40]);
            prop_assert!(TooBig::v4(&bytes).is_err());
        }
    }

    #[test]
    fn what_follows_a_quote_is_none_of_it() {
        let (quoted, extension) = (&packet_v4()[..128], [0x20, 0, 0xdf, 0xff, 0, 4, 1, 1]);
        let with_length = |words: u8| {
            let body = [quoted, &extension].concat();
            let mut icmp = [&[icmp::UNREACHABLE, 4, 0, 0, 0, words, 5, 0x78], &body[..]].concat();
            sign(Sum::ZERO, &mut icmp, 2);
            with_header(ROUTER, OURS, &icmp)
        };
        let payload = |words| TooBig::v4(&with_length(words)).map(|said| said.quote.payload.len());
        assert_eq!((payload(32), payload(0)), (Ok(100), Ok(108)));
        assert_eq!(payload(35), Err(Unreadable::Malformed), "longer than the message");
    }
}
