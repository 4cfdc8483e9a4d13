//! Holds a received frame against what its flow's packets should be: all headers, all lengths, every byte of payload.

use std::net::SocketAddr;

use super::damage::Damage;
use super::flows::{Family, Flows, number};
use super::frame::{LARGEST, TTL};
use super::payload::{self, MAGIC, Stamp, Unread};
use crate::wire::checksum::{Sum, pseudo_v4, pseudo_v6};
use crate::wire::ipv4::protocol::UDP;
use crate::wire::{Ipv4, Ipv6, Mac, Prefix, Vni, Vxlan, eth, ipv4, ipv6, udp, vxlan};

/// What should arrive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Expect {
    /// Tells one run from another.
    pub(super) stream: u32,
    /// Whose packets.
    pub(super) flows: Flows,
    /// How many flows there are.
    pub(super) count: u32,
    /// VXLAN may arrive, at these addresses and ports.
    pub(super) vteps: Vec<SocketAddr>,
    /// Plain packets may arrive, to these prefixes.
    pub(super) prefixes: Vec<Prefix>,
    /// Routers on the way, each of which takes one off the TTL; `None` if any number will do.
    pub(super) hops: Option<u8>,
    /// Which segments VXLAN may have.
    pub(super) vni: Segments,
    /// Destination and source of inner frames, where it matters.
    pub(super) inner_mac: (Option<Mac>, Option<Mac>),
}

/// Which segments VXLAN may have when it arrives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Segments {
    /// All.
    Any,
    /// The flow's own.
    AsSent,
    /// One of these, in ascending order.
    Of(Vec<Vni>),
}

/// What a frame turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// A packet of this run, whole; it passed that many routers.
    Whole(Stamp, u8),
    /// One of this run, and what is wrong with it.
    Damaged(Damage),
    /// None of this run's.
    Foreign,
}

/// Judges frames.
pub(super) struct Judge {
    expect: Expect,
    filler: Vec<u8>,
}

/// A UDP datagram in an IP packet: what was found, not yet judged.
struct Datagram<'a> {
    family: Family,
    /// The IP header without options.
    header: &'a [u8],
    /// UDP header and payload.
    segment: &'a [u8],
    ip_intact: bool,
    udp: UdpSum,
}

#[derive(PartialEq, Eq)]
enum UdpSum {
    Right,
    /// None was computed.
    Zero,
    /// The sum of the pseudo-header alone: left to a device (Linux: `CHECKSUM_PARTIAL`).
    Unfinished,
    Wrong,
}

impl Datagram<'_> {
    fn payload(&self) -> &[u8] {
        self.segment.get(udp::LEN..).unwrap_or_default()
    }

    fn destination(&self) -> u128 {
        read(&self.header[self.header.len() - self.family.width()..])
    }

    fn source(&self) -> u128 {
        let at = self.header.len() - 2 * self.family.width();
        read(&self.header[at..at + self.family.width()])
    }

    fn ttl(&self) -> u8 {
        match self.family {
            Family::V4 => self.header[8],
            Family::V6 => self.header[7],
        }
    }

    /// The fields of the IP header that nobody on the way has a reason to change, as they were sent.
    fn header_as_sent(&self) -> bool {
        match self.family {
            Family::V4 => self.header.starts_with(&[ipv4::PLAIN, 0]) && self.header[4..8] == [0, 0, 0x40, 0],
            Family::V6 => self.header.starts_with(&ipv6::PLAIN),
        }
    }
}

/// An address as a number.
#[inline]
fn read(bytes: &[u8]) -> u128 {
    match bytes.first_chunk::<16>() {
        Some(long) => u128::from_be_bytes(*long),
        None => bytes.first_chunk::<4>().map_or(0, |short| u128::from(u32::from_be_bytes(*short))),
    }
}

/// Why a packet holds no datagram.
enum NoDatagram {
    /// Something else, which may well be legal.
    Other,
    /// Lengths that cannot be.
    Length,
}

/// Reads the UDP datagram in the packet behind a link header of `ethertype`.
fn datagram<'a>(ethertype: &[u8], packet: &'a [u8]) -> Result<Datagram<'a>, NoDatagram> {
    let (family, header, segment, next, ip_intact) = if ethertype == eth::IPV4.to_be_bytes() {
        // Read without its checksum, so that what is wrong behind a wrong one can be named.
        let header = packet.first_chunk::<{ ipv4::LEN }>().ok_or(NoDatagram::Length)?;
        let ip: &Ipv4 = zerocopy::transmute_ref!(header);
        let whole = packet.get(..usize::from(ip.total_len.get()));
        let segment = whole.and_then(|w| w.get(ip.header_len()..)).ok_or(NoDatagram::Length)?;
        let intact = Sum::ZERO.bytes(&packet[..ip.header_len()]).is_intact();
        if ip.is_fragment() {
            return Err(NoDatagram::Other);
        }
        (Family::V4, &header[..], segment, ip.protocol, intact)
    } else if ethertype == eth::IPV6.to_be_bytes() {
        let ip = Ipv6::parse(packet).map_err(|_| NoDatagram::Length)?;
        let segment = &packet[ipv6::LEN..ipv6::LEN + usize::from(ip.payload_len.get())];
        (Family::V6, &packet[..ipv6::LEN], segment, ip.next_header, true)
    } else {
        return Err(NoDatagram::Other);
    };
    if next != UDP {
        return Err(NoDatagram::Other);
    }
    let field = segment.get(4..udp::LEN).ok_or(NoDatagram::Length)?;
    if usize::from(u16::from_be_bytes([field[0], field[1]])) != segment.len() {
        return Err(NoDatagram::Length);
    }
    let udp = udp_sum(header, segment);
    Ok(Datagram { family, header, segment, ip_intact, udp })
}

#[inline]
fn udp_sum(header: &[u8], segment: &[u8]) -> UdpSum {
    let length = segment.len() as u16;
    let pseudo = match (header.len(), header.last_chunk::<32>(), header.last_chunk::<8>()) {
        (ipv6::LEN, Some(addresses), _) => pseudo_v6(addresses, UDP, length),
        (_, _, Some(addresses)) => pseudo_v4(addresses, UDP, length),
        _ => return UdpSum::Wrong,
    };
    match segment.get(6..udp::LEN) {
        Some([0, 0]) => UdpSum::Zero,
        _ if pseudo.bytes(segment).is_intact() => UdpSum::Right,
        Some(field) if field == pseudo.fold() => UdpSum::Unfinished,
        _ => UdpSum::Wrong,
    }
}

impl Judge {
    pub(super) fn new(expect: Expect) -> Self {
        Self { expect, filler: payload::filler(usize::from(LARGEST)) }
    }

    /// Judges a frame.
    #[inline]
    pub(super) fn judge(&self, frame: &[u8]) -> Seen {
        let Some((link, packet)) = frame.split_at_checked(eth::LEN) else { return Seen::Foreign };
        let outer = match datagram(&link[12..], packet) {
            Ok(datagram) => datagram,
            Err(NoDatagram::Other) => return Seen::Foreign,
            Err(NoDatagram::Length) => return Seen::Damaged(Damage::Length),
        };
        let verdict = match outer.payload().starts_with(&MAGIC) {
            true => self.plain(&outer),
            false => match self.wrapped(&outer) {
                // it may have been a test packet whose first bytes are not what they were
                Ok(Seen::Foreign) => self.test(&outer),
                verdict => verdict,
            },
        };
        verdict.unwrap_or_else(Seen::Damaged)
    }

    fn plain(&self, datagram: &Datagram<'_>) -> Result<Seen, Damage> {
        match self.test(datagram) {
            Ok(Seen::Whole(..)) if self.expect.prefixes.is_empty() => Err(Damage::Framing),
            verdict => verdict,
        }
    }

    fn wrapped(&self, outer: &Datagram<'_>) -> Result<Seen, Damage> {
        let Some((tunnel, frame)) = outer.payload().split_first_chunk::<{ vxlan::LEN }>() else {
            return Ok(Seen::Foreign);
        };
        let Some((link, packet)) = frame.split_first_chunk::<{ eth::LEN }>() else { return Ok(Seen::Foreign) };
        let inner = match datagram(&link[12..], packet) {
            Ok(inner) => inner,
            Err(NoDatagram::Other) => return Ok(Seen::Foreign),
            Err(NoDatagram::Length) => return Err(Damage::Length),
        };
        let seen = self.test(&inner);
        let Ok(Seen::Whole(stamp, _)) = seen else {
            return seen;
        };
        self.around(outer, tunnel, link, &stamp)?;
        seen
    }

    /// Judges what is around an inner packet that is whole.
    fn around(&self, outer: &Datagram<'_>, tunnel: &[u8; 8], link: &[u8; 14], stamp: &Stamp) -> Result<(), Damage> {
        let e = &self.expect;
        if e.vteps.is_empty() {
            return Err(Damage::Framing);
        }
        let (destination, port) = (outer.destination(), u16::from_be_bytes([outer.segment[2], outer.segment[3]]));
        let here =
            |v: &SocketAddr| Family::of(v.ip()) == outer.family && number(v.ip()) == destination && v.port() == port;
        if !e.vteps.iter().any(here) {
            return Err(Damage::OuterDestination);
        }
        let header: &Vxlan = zerocopy::transmute_ref!(tunnel);
        let vni = header.vni().ok_or(Damage::VxlanFlags)?;
        let right = match &e.vni {
            Segments::Any => true,
            Segments::AsSent => vni == e.flows.ends(stamp.flow).vni,
            Segments::Of(some) => some.binary_search(&vni).is_ok(),
        };
        if !right {
            return Err(Damage::Vni);
        }
        let differs = |want: Option<Mac>, got: &[u8]| want.is_some_and(|mac| mac.0[..] != *got);
        if differs(e.inner_mac.0, &link[..6]) || differs(e.inner_mac.1, &link[6..12]) {
            return Err(Damage::InnerMac);
        }
        if !outer.ip_intact || outer.udp == UdpSum::Wrong {
            return Err(Damage::OuterChecksum);
        }
        Ok(())
    }

    /// Judges the packet that was generated.
    #[inline]
    fn test(&self, packet: &Datagram<'_>) -> Result<Seen, Damage> {
        let payload = packet.payload();
        let stamp = match Stamp::read(payload) {
            Ok(stamp) if stamp.stream == self.expect.stream => stamp,
            // not ours: but if it is not whole, who can say whose it is?
            Err(Unread::Foreign) if packet.ip_intact && packet.udp != UdpSum::Wrong => return Ok(Seen::Foreign),
            Ok(_) => return Ok(Seen::Foreign),
            Err(_) => return Err(Damage::Stamp),
        };
        if stamp.flow >= self.expect.count {
            return Err(Damage::Flow);
        }
        let ends = self.expect.flows.ends(stamp.flow);
        let hops = TTL.checked_sub(packet.ttl());
        let filler = &payload[payload::LEN..];
        let rules = [
            (packet.source() == ends.source && packet.family == self.expect.flows.family(), Damage::Source),
            (packet.destination() == ends.destination, Damage::Destination),
            (packet.segment.starts_with(&ends.ports), Damage::Ports),
            (hops.is_some_and(|n| self.expect.hops.is_none_or(|want| n == want)), Damage::Ttl),
            (packet.header_as_sent(), Damage::IpHeader),
            (self.filler.starts_with(filler), Damage::Payload),
            (packet.ip_intact, Damage::IpChecksum),
            (packet.udp == UdpSum::Right, Damage::UdpChecksum),
        ];
        match rules.into_iter().find(|(kept, _)| !kept) {
            Some((_, damage)) => Err(damage),
            None => Ok(Seen::Whole(stamp, hops.unwrap_or(0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::tests::{flows, frame};
    use super::*;

    const STAMP: Stamp = Stamp { stream: 1, flow: 4, sequence: 5, intended: 1000 };
    const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

    fn expect(inner: Family, outer: Option<Family>) -> Expect {
        let vtep = |family| match family {
            Family::V4 => "192.0.2.1:8472".parse().unwrap(),
            Family::V6 => "[2001:db8::1]:8472".parse().unwrap(),
        };
        Expect {
            stream: 1,
            flows: flows(inner),
            count: 5,
            vteps: outer.into_iter().map(vtep).collect(),
            prefixes: if outer.is_none() { vec!["0.0.0.0/0".parse().unwrap()] } else { vec![] },
            hops: Some(0),
            vni: Segments::AsSent,
            inner_mac: (Some(Mac([2, 0, 0, 0, 0, 3])), Some(Mac([2, 0, 0, 0, 0, 4]))),
        }
    }

    fn kinds() -> impl Iterator<Item = (Family, Option<Family>)> {
        FAMILIES.into_iter().flat_map(|inner| [None, Some(Family::V4), Some(Family::V6)].map(|outer| (inner, outer)))
    }

    /// Offsets of the inner IP packet, its UDP header and its payload.
    fn places(inner: Family, outer: Option<Family>) -> [usize; 3] {
        let ip = 14 + outer.map_or(0, |o| super::super::frame::ip_len(o) + 8 + 8 + 14);
        let udp = ip + super::super::frame::ip_len(inner);
        [ip, udp, udp + 8]
    }

    #[test]
    fn every_kind_of_frame_is_read_and_every_bit_that_is_ours_counts() {
        for (inner, outer) in kinds() {
            let (judge, good) = (Judge::new(expect(inner, outer)), frame(inner, outer, 131, &STAMP));
            assert_eq!(judge.judge(&good), Seen::Whole(STAMP, 0));
            assert_eq!(judge.judge(&[&good[..], &[0; 9]].concat()), Seen::Whole(STAMP, 0), "padding is legal");
            for bit in places(inner, outer)[0] * 8..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(!matches!(judge.judge(&bad), Seen::Whole(..)), "{inner:?} {outer:?}: bit {bit}");
            }
            for cut in 0..good.len() {
                assert!(!matches!(judge.judge(&good[..cut]), Seen::Whole(..)), "cut at {cut}");
            }
        }
    }

    /// The verdict on a frame of which one octet was changed.
    fn changed(inner: Family, outer: Option<Family>, at: usize) -> Seen {
        let mut bad = frame(inner, outer, 131, &STAMP);
        bad[at] ^= 0x11;
        Judge::new(expect(inner, outer)).judge(&bad)
    }

    #[test]
    fn each_defect_has_its_name() {
        for (inner, outer) in kinds() {
            let [ip, udp, payload] = places(inner, outer);
            let (ttl, source, destination) = match inner {
                Family::V4 => (ip + 8, ip + 12, ip + 19),
                Family::V6 => (ip + 7, ip + 8, ip + 39),
            };
            for (at, want) in [
                (ttl, Damage::Ttl),
                (source, Damage::Source),
                (destination, Damage::Destination),
                (udp, Damage::Ports),
                (udp + 3, Damage::Ports),
                (udp + 5, Damage::Length),
                (udp + 6, Damage::UdpChecksum),
                (payload + 9, Damage::Stamp),
                (payload + 32, Damage::Payload),
                (ip + 1, Damage::IpHeader),
            ] {
                assert_eq!(changed(inner, outer, at), Seen::Damaged(want), "{inner:?} in {outer:?}: octet {at}");
            }
            let Some(outer_family) = outer else { continue };
            let (to, sum) = match outer_family {
                Family::V4 => (33, 24),
                Family::V6 => (53, 60),
            };
            for (at, want) in [
                (to, Damage::OuterDestination),
                (ip - 28, Damage::OuterDestination), // the port
                (ip - 17, Damage::Vni),
                (ip - 14, Damage::InnerMac),
                (ip - 8, Damage::InnerMac),
                (sum, Damage::OuterChecksum),
            ] {
                assert_eq!(changed(inner, outer, at), Seen::Damaged(want), "{inner:?} in {outer:?}: octet {at}");
            }
        }
    }

    #[test]
    fn flags_without_the_bit_and_the_other_framing_are_named() {
        let outer = Some(Family::V4);
        let mut bad = frame(Family::V4, outer, 131, &STAMP);
        bad[42] = 0;
        assert_eq!(Judge::new(expect(Family::V4, outer)).judge(&bad), Seen::Damaged(Damage::VxlanFlags));
        for (sent, expected) in [(None, outer), (outer, None)] {
            let judge = Judge::new(expect(Family::V4, expected));
            assert_eq!(judge.judge(&frame(Family::V4, sent, 131, &STAMP)), Seen::Damaged(Damage::Framing));
        }
    }

    #[test]
    fn other_runs_and_flows_are_told_apart() {
        let judge = Judge::new(expect(Family::V4, None));
        let one = |stamp| judge.judge(&frame(Family::V4, None, 131, &stamp));
        assert_eq!(one(Stamp { stream: 2, ..STAMP }), Seen::Foreign);
        assert_eq!(one(Stamp { flow: 5, ..STAMP }), Seen::Damaged(Damage::Flow));
        let judge = Judge::new(Expect { hops: Some(1), ..expect(Family::V4, None) });
        assert_eq!(judge.judge(&frame(Family::V4, None, 131, &STAMP)), Seen::Damaged(Damage::Ttl));
        let any = Segments::Of(vec![Vni::new(1).unwrap(), Vni::new(7).unwrap()]);
        let outer = Some(Family::V4);
        let judge = Judge::new(Expect { vni: any, ..expect(Family::V4, outer) });
        let one = |flow| judge.judge(&frame(Family::V4, outer, 131, &Stamp { flow, ..STAMP }));
        assert_eq!(one(0), Seen::Damaged(Damage::Vni));
        assert!(matches!(one(4), Seen::Whole(..)));
    }

    #[test]
    fn only_an_outer_checksum_may_be_unfinished() {
        for outer in [None, Some(Family::V4)] {
            let judge = Judge::new(expect(Family::V4, outer));
            let mut frame = frame(Family::V4, outer, 131, &STAMP);
            let segment = u16::from_be_bytes([frame[38], frame[39]]);
            let addresses: [u8; 8] = frame[26..34].try_into().unwrap();
            frame[40..42].copy_from_slice(&pseudo_v4(&addresses, UDP, segment).fold());
            let whole = matches!(judge.judge(&frame), Seen::Whole(..));
            assert_eq!(whole, outer.is_some());
            frame[40] ^= 1;
            assert!(matches!(judge.judge(&frame), Seen::Damaged(_)));
        }
    }
}
