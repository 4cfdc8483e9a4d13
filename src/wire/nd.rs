//! Neighbour discovery for IPv6 (RFC 4861): solicitations and the advertisements that answer them.

use core::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{Sum, pseudo};
use super::ipv4::protocol;
use super::{Icmpv6, Ipv6, Mac, ipv6};

/// ICMPv6 type of a neighbour solicitation (§4.3).
pub const SOLICITATION: u8 = 135;
/// ICMPv6 type of a neighbour advertisement (§4.4).
pub const ADVERTISEMENT: u8 = 136;
/// Hop limit of a message that no router has forwarded (§3.1): the only one that counts.
pub const HOP_LIMIT: u8 = 255;
/// Bytes of an advertisement with its option.
pub const LEN: usize = size_of::<Advertisement>();

/// Options (§4.6.1): link-layer address of the source, and of the target.
const SOURCE: u8 = 1;
const TARGET: u8 = 2;
/// Flags of an advertisement (§4.4): answers a solicitation, replaces what is known. (The highest is a router's.)
const SOLICITED: u32 = 1 << 30;
const OVERRIDE: u32 = 1 << 29;

/// The first bytes of a solicitation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    icmp: Icmpv6,
    target: [u8; 16],
}

/// An advertisement with the link-layer address of its target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Advertisement {
    header: Header,
    kind: u8,
    units: u8,
    mac: Mac,
}

/// What a valid solicitation asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Solicitation {
    /// The address that is asked for.
    pub target: Ipv6Addr,
    /// Who asks; unspecified while it finds out whether the address is free (RFC 4862 §5.4).
    pub from: Ipv6Addr,
    /// Its link-layer address, if it says so.
    pub mac: Option<Mac>,
}

/// Is this ICMPv6 message one of neighbour discovery: router or neighbour solicitation or advertisement, or redirect?
pub const fn is_discovery(kind: u8) -> bool {
    matches!(kind, 133..=137)
}

impl Solicitation {
    /// Reads a solicitation: `message` is the payload of the packet with header `ip`. Every check of §7.1.1 is made:
    /// whoever fails one is no neighbour, or no solicitation.
    pub fn read(ip: &Ipv6, message: &[u8]) -> Option<Self> {
        let (header, options) = Header::ref_from_prefix(message).ok()?;
        let (from, to, target) = (ip.source(), ip.destination(), Ipv6Addr::from(header.target));
        let sum = pseudo(from.into(), to.into(), protocol::ICMPV6, message.len() as u16).bytes(message);
        let sound = (header.icmp.kind, header.icmp.code, ip.hop_limit) == (SOLICITATION, 0, HOP_LIMIT)
            && sum.is_intact()
            && !target.is_multicast();
        let mac = mac(options)?;
        // §7.1.1: who has no address says nothing of its link-layer address, and asks the solicited-node group
        let probe = !from.is_unspecified() || (mac.is_none() && to == group(target));
        (sound && probe && !from.is_multicast()).then_some(Self { target, from, mac })
    }
}

/// The source link-layer address among options; `None` if they do not hold together (§4.6: a length of zero, or one that
/// reaches past the end).
fn mac(mut options: &[u8]) -> Option<Option<Mac>> {
    let mut found = None;
    while !options.is_empty() {
        let units = usize::from(*options.get(1)?);
        let (option, rest) = options.split_at_checked(units * 8).filter(|_| units > 0)?;
        if let [SOURCE, 1, mac @ ..] = option {
            found = Some(Mac(*mac.first_chunk()?));
        }
        options = rest;
    }
    Some(found)
}

/// The solicited-node multicast address (RFC 4291 §2.7.1).
pub fn group(of: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = of.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The answer to a solicitation, as an IP packet: the target is at `mac`. Not one of a router: whoever reads that would
/// take us for one to send to by default. `overriding` is false for an address that we answer for in somebody's place
/// (§7.2.8).
///
/// To who has no address yet it goes to all nodes, unsolicited (§7.2.4).
pub fn advertise(asked: &Solicitation, mac: Mac, overriding: bool) -> (Ipv6, Advertisement) {
    let (to, solicited) = match asked.from {
        Ipv6Addr::UNSPECIFIED => (Ipv6Addr::from([0xff02, 0, 0, 0, 0, 0, 0, 1]), 0),
        from => (from, SOLICITED),
    };
    let ip = Ipv6 {
        version_class_label: ipv6::PLAIN,
        payload_len: (LEN as u16).into(),
        next_header: protocol::ICMPV6,
        hop_limit: HOP_LIMIT,
        src: asked.target.octets(),
        dst: to.octets(),
    };
    let flags = solicited | if overriding { OVERRIDE } else { 0 };
    let icmp = Icmpv6 { kind: ADVERTISEMENT, code: 0, checksum: [0; 2], rest: U32::new(flags) };
    let header = Header { icmp, target: asked.target.octets() };
    let mut message = Advertisement { header, kind: TARGET, units: 1, mac };
    let sum = pseudo(asked.target.into(), to.into(), protocol::ICMPV6, LEN as u16);
    message.header.icmp.checksum = Sum::ZERO.bytes(message.as_bytes()).plus(sum).checksum();
    (ip, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const THEM: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn addr(a: &str) -> Ipv6Addr {
        a.parse().unwrap()
    }

    /// A solicitation with these options, right but for what `spoil` does before the checksum is computed.
    fn ask(from: &str, to: Ipv6Addr, options: &[u8], spoil: impl Fn(&mut Ipv6, &mut Vec<u8>)) -> (Ipv6, Vec<u8>) {
        let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        message.extend(addr("fd00::1").octets());
        message.extend(options);
        let mut ip = Ipv6 {
            version_class_label: ipv6::PLAIN,
            payload_len: 0.into(),
            next_header: protocol::ICMPV6,
            hop_limit: HOP_LIMIT,
            src: addr(from).octets(),
            dst: to.octets(),
        };
        spoil(&mut ip, &mut message);
        ip.payload_len = (message.len() as u16).into();
        let sum = pseudo(ip.source().into(), ip.destination().into(), protocol::ICMPV6, message.len() as u16);
        let sum = sum.bytes(&message).checksum();
        message[2..4].copy_from_slice(&sum);
        (ip, message)
    }

    fn read((ip, message): (Ipv6, Vec<u8>)) -> Option<Solicitation> {
        Solicitation::read(&ip, &message)
    }

    fn option() -> Vec<u8> {
        [&[SOURCE, 1][..], &THEM.0].concat()
    }

    #[test]
    fn sound_solicitations_are_read() {
        let (target, group) = (addr("fd00::1"), group(addr("fd00::1")));
        assert_eq!(group, addr("ff02::1:ff00:1"));
        let whole = |from: &str, to, options: &[u8]| read(ask(from, to, options, |_, _| {}));
        let want = |from: &str, mac| Some(Solicitation { target, from: addr(from), mac });
        assert_eq!(whole("fd00::9", group, &option()), want("fd00::9", Some(THEM)), "resolution");
        assert_eq!(whole("fe80::9", target, &[]), want("fe80::9", None), "reachability");
        assert_eq!(whole("::", group, &[]), want("::", None), "duplicate address detection");
        let other = [&[14, 2][..], &[0; 14], &option()].concat();
        assert_eq!(whole("fd00::9", group, &other), want("fd00::9", Some(THEM)), "unknown options are passed over");
    }

    #[test]
    fn unsound_ones_are_not() {
        let to = group(addr("fd00::1"));
        let spoilt = |spoil: &dyn Fn(&mut Ipv6, &mut Vec<u8>)| read(ask("fd00::9", to, &option(), spoil));
        assert!(spoilt(&|_, _| {}).is_some());
        assert!(spoilt(&|ip, _| ip.hop_limit = 254).is_none(), "came through a router");
        assert!(spoilt(&|_, m| m[0] = ADVERTISEMENT).is_none());
        assert!(spoilt(&|_, m| m[1] = 1).is_none(), "code");
        assert!(spoilt(&|_, m| m[8] = 0xff).is_none(), "a group's address");
        assert!(spoilt(&|_, m| m.truncate(23)).is_none(), "short");
        assert!(spoilt(&|_, m| m[25] = 0).is_none(), "an option without length");
        assert!(spoilt(&|_, m| m[25] = 2).is_none(), "an option that reaches past the end");
        assert!(spoilt(&|ip, _| ip.src = [0; 16]).is_none(), "no address, and yet a link-layer address");
        assert!(spoilt(&|ip, _| ip.src[0] = 0xff).is_none(), "from a group");
        assert!(read(ask("::", addr("fd00::1"), &[], |_, _| {})).is_none(), "a probe to one station");
        let (ip, mut message) = ask("fd00::9", to, &option(), |_, _| {});
        message[3] ^= 1;
        assert!(Solicitation::read(&ip, &message).is_none(), "checksum");
    }

    #[test]
    fn the_answer_is_whole_and_goes_to_who_asked() {
        let target = addr("fd00::1");
        for (from, to, flags) in [("fd00::9", "fd00::9", 0x60), ("::", "ff02::1", 0x20)] {
            let (ip, message) = advertise(&Solicitation { target, from: addr(from), mac: None }, US, true);
            assert_eq!((ip.source(), ip.destination(), ip.hop_limit), (target, addr(to), 255));
            let bytes = message.as_bytes();
            let sum = pseudo(target.into(), addr(to).into(), protocol::ICMPV6, LEN as u16).bytes(bytes);
            assert!(sum.is_intact());
            assert_eq!((bytes[0], bytes[4], &bytes[8..24]), (ADVERTISEMENT, flags, &target.octets()[..]));
            assert_eq!(bytes[24..], [&[TARGET, 1][..], &US.0].concat());
        }
        let (_, message) = advertise(&Solicitation { target, from: target, mac: None }, US, false);
        assert_eq!(message.as_bytes()[4], 0x40, "does not override");
    }
}
