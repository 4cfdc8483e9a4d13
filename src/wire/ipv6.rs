//! IPv6 (RFC 8200): the fixed header, and the way past extension headers.

use core::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the fixed header.
pub const LEN: usize = size_of::<Ipv6>();

/// Extension headers by their numbers (IANA): hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Routing header.
pub const ROUTING: u8 = 43;
/// Fragment header (RFC 8200 §4.5).
pub const FRAGMENT: u8 = 44;
/// Authentication header (RFC 4302), whose length counts other units.
pub const AUTHENTICATION: u8 = 51;
/// Destination options.
pub const DESTINATION: u8 = 60;

/// Extension headers that are followed: no sound packet has more (RFC 8200 §4.1 names six).
pub const MOST_EXTENSIONS: usize = 8;

/// Of the word in a fragment header that holds the offset: the offset, and what means nothing.
const OFFSET: u16 = 0xfff8;
const RESERVED: u16 = 0x0006;

/// First four octets of a header of version 6 with traffic class 0 and no flow label.
pub const PLAIN: [u8; 4] = [0x60, 0, 0, 0];

/// The fixed header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv6 {
    /// Version (4 bits), traffic class (8), flow label (20).
    pub version_class_label: [u8; 4],
    /// Bytes behind this header, extension headers included.
    pub payload_len: U16,
    /// Protocol of what follows (numbers as in IPv4).
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

/// The upper-layer header of a packet: what checksums, ports and ICMP messages are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upper {
    /// Its protocol; that of an extension header where the chain could not be followed.
    pub protocol: u8,
    /// Bytes from the front of the packet to it.
    pub at: u16,
    /// It is a piece of a fragmented packet.
    pub fragment: bool,
    /// A piece that does not begin with the header.
    pub later: bool,
}

/// Why bytes are no IPv6 packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// The bytes end before the fixed header does.
    Short,
    /// Version is not 6, the payload is longer than what arrived, or it is a jumbogram (RFC 2675).
    Header,
}

impl Ipv6 {
    /// Reads the header at the front of `bytes`: afterwards the payload is known to lie within `bytes`. Bytes beyond it
    /// are padding and legal. Of a payload length of 0 with hop-by-hop options behind it these options are to tell the
    /// true one (RFC 2675): no Ethernet carries that.
    ///
    /// # Errors
    /// See [`Malformed`].
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<&Ipv6, Malformed> {
        let fixed = bytes.first_chunk::<LEN>().ok_or(Malformed::Short)?;
        let ip: &Ipv6 = zerocopy::transmute_ref!(fixed);
        let whole = LEN + usize::from(ip.payload_len.get()) <= bytes.len();
        let jumbo = ip.payload_len.get() == 0 && ip.next_header == HOP_BY_HOP;
        if ip.version_class_label[0] >> 4 == 6 && whole && !jumbo { Ok(ip) } else { Err(Malformed::Header) }
    }

    /// Bytes of packet, this header included.
    #[inline]
    pub const fn packet_len(&self) -> usize {
        LEN + self.payload_len.get() as usize
    }

    /// Source address.
    #[inline]
    pub const fn source(&self) -> Ipv6Addr {
        Ipv6Addr::from_octets(self.src)
    }

    /// Destination address.
    #[inline]
    pub const fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from_octets(self.dst)
    }

    /// DSCP and ECN.
    #[inline]
    pub const fn traffic_class(&self) -> u8 {
        let [a, b, ..] = self.version_class_label;
        a << 4 | b >> 4
    }

    /// Replaces DSCP and ECN.
    #[inline]
    pub const fn set_traffic_class(&mut self, class: u8) {
        let [a, b, c, d] = self.version_class_label;
        self.version_class_label = [a & 0xf0 | class >> 4, class << 4 | b & 0x0f, c, d];
    }

    /// The flow label, 20 bits.
    #[inline]
    pub const fn flow_label(&self) -> u32 {
        u32::from_be_bytes(self.version_class_label) & 0x000f_ffff
    }

    /// Replaces the flow label by the lowest 20 bits of `label`.
    #[inline]
    pub const fn set_flow_label(&mut self, label: u32) {
        let rest = u32::from_be_bytes(self.version_class_label) & !0x000f_ffff;
        self.version_class_label = (rest | label & 0x000f_ffff).to_be_bytes();
    }

    /// What lies behind this header and all extension headers in `packet`, which begins with this header. A chain that is
    /// cut short or longer than [`MOST_EXTENSIONS`] ends where it cannot be followed.
    pub fn upper(&self, packet: &[u8]) -> Upper {
        let mut upper = Upper { protocol: self.next_header, at: LEN as u16, fragment: false, later: false };
        for _ in 0..MOST_EXTENSIONS {
            let Some([next, len, offset @ ..]) = packet.get(usize::from(upper.at)..).and_then(|p| p.first_chunk::<4>())
            else {
                break;
            };
            let bytes = match upper.protocol {
                HOP_BY_HOP | ROUTING | DESTINATION => (u16::from(*len) + 1) * 8,
                AUTHENTICATION => (u16::from(*len) + 2) * 4,
                FRAGMENT => {
                    let word = u16::from_be_bytes(*offset);
                    // RFC 6946: what is whole in spite of the header is no fragment
                    upper.fragment |= word & !RESERVED != 0;
                    upper.later |= word & OFFSET != 0;
                    8
                }
                _ => break,
            };
            (upper.protocol, upper.at) = (*next, upper.at.saturating_add(bytes));
            if upper.later {
                break;
            }
        }
        upper
    }

    /// Source and destination as they stand in the header: the addresses of the pseudo-header.
    #[inline]
    pub fn addresses(&self) -> &[u8; 32] {
        self.as_bytes().last_chunk().expect("the header is longer than 32 bytes") // constant lengths: compiled away
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(payload: u16) -> Vec<u8> {
        let ip = Ipv6 {
            version_class_label: PLAIN,
            payload_len: U16::new(payload),
            next_header: 17,
            hop_limit: 64,
            src: [1; 16],
            dst: [2; 16],
        };
        [ip.as_bytes(), &vec![0xa5; usize::from(payload)]].concat()
    }

    #[test]
    fn truncation_at_every_byte_is_refused() {
        let whole = packet(7);
        for cut in 0..whole.len() {
            let want = if cut < LEN { Malformed::Short } else { Malformed::Header };
            assert_eq!(Ipv6::parse(&whole[..cut]), Err(want), "cut at {cut}");
        }
        assert!(Ipv6::parse(&whole).is_ok() && Ipv6::parse(&[&whole[..], &[0; 3]].concat()).is_ok());
    }

    #[test]
    fn the_version_counts_and_addresses_are_where_they_should_be() {
        let mut bytes = packet(0);
        let want = [[1; 16], [2; 16]].concat();
        assert_eq!(Ipv6::parse(&bytes).unwrap().addresses()[..], want);
        bytes[0] = 0x45;
        assert_eq!(Ipv6::parse(&bytes), Err(Malformed::Header));
        let mut jumbo = packet(0);
        jumbo[6] = HOP_BY_HOP;
        assert_eq!(Ipv6::parse(&jumbo), Err(Malformed::Header));
    }

    #[test]
    fn class_and_label_stay_out_of_each_others_way() {
        let mut ip = *Ipv6::parse(&packet(0)).unwrap();
        ip.set_traffic_class(0xb9);
        ip.set_flow_label(0xfff1_2345);
        assert_eq!(
            (ip.traffic_class(), ip.flow_label(), ip.version_class_label),
            (0xb9, 0x1_2345, [0x6b, 0x91, 0x23, 0x45])
        );
        ip.set_traffic_class(0);
        assert_eq!(ip.version_class_label, [0x60, 1, 0x23, 0x45]);
        assert_eq!((ip.source(), ip.packet_len()), (Ipv6Addr::from([1; 16]), LEN));
    }

    /// A packet of these extension headers, and the upper-layer header at its end.
    fn chain(headers: &[(u8, Vec<u8>)], last: u8) -> Vec<u8> {
        let mut bytes = packet(0);
        bytes[6] = headers.first().map_or(last, |h| h.0);
        for (n, (_, body)) in headers.iter().enumerate() {
            let at = bytes.len();
            bytes.extend(body);
            bytes[at] = headers.get(n + 1).map_or(last, |h| h.0);
        }
        bytes.extend([0xa5; 20]);
        let len = (bytes.len() - LEN) as u16;
        bytes[4..6].copy_from_slice(&len.to_be_bytes());
        bytes
    }

    fn upper(bytes: &[u8]) -> Upper {
        Ipv6::parse(bytes).unwrap().upper(bytes)
    }

    #[test]
    fn extension_headers_are_walked_past() {
        let options = |units: u8| [&[0, units][..], &vec![1; usize::from(units) * 8 + 6]].concat();
        let auth = [&[0, 4][..], &[0xa5; 22]].concat();
        let all = [(HOP_BY_HOP, options(1)), (ROUTING, options(0)), (AUTHENTICATION, auth), (DESTINATION, options(2))];
        let got = upper(&chain(&all, 6));
        assert_eq!(got, Upper { protocol: 6, at: 40 + 16 + 8 + 24 + 24, fragment: false, later: false });
        assert_eq!(upper(&chain(&[], 17)), Upper { protocol: 17, at: 40, fragment: false, later: false });
        assert_eq!(upper(&packet(0)).at, 40, "nothing behind the header");
        let endless = vec![(DESTINATION, options(0)); 50];
        assert_eq!(usize::from(upper(&chain(&endless, 6)).at), LEN + MOST_EXTENSIONS * 8);
        let mut short = chain(&all, 6);
        short.truncate(LEN + 17);
        short[5] = 17;
        assert_eq!(upper(&short).protocol, ROUTING, "the chain is cut");
    }

    #[test]
    fn fragments_are_told_from_what_is_whole() {
        let piece = |word: u16| {
            let [a, b] = word.to_be_bytes();
            let got = upper(&chain(&[(FRAGMENT, vec![0, 0, a, b, 0, 0, 0, 7])], 17));
            assert_eq!((got.protocol, got.at), (17, 48));
            (got.fragment, got.later)
        };
        assert_eq!([piece(1), piece(0x00b9), piece(0x00b8)], [(true, false), (true, true), (true, true)]);
        assert_eq!([piece(0), piece(RESERVED)], [(false, false); 2], "RFC 6946: atomic");
    }
}
