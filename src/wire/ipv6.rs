//! IPv6 (RFC 8200): the fixed header.

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the fixed header.
pub const LEN: usize = size_of::<Ipv6>();

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

/// Why bytes are no IPv6 packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// The bytes end before the fixed header does.
    Short,
    /// Version is not 6, or the payload is longer than what arrived.
    Header,
}

impl Ipv6 {
    /// Reads the header at the front of `bytes`: afterwards the payload is known to lie within `bytes`. Bytes beyond it
    /// are padding and legal. Jumbograms (RFC 2675), whose payload length is 0, read as packets without payload.
    ///
    /// # Errors
    /// See [`Malformed`].
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<&Ipv6, Malformed> {
        let fixed = bytes.first_chunk::<LEN>().ok_or(Malformed::Short)?;
        let ip: &Ipv6 = zerocopy::transmute_ref!(fixed);
        let whole = LEN + usize::from(ip.payload_len.get()) <= bytes.len();
        if ip.version_class_label[0] >> 4 == 6 && whole { Ok(ip) } else { Err(Malformed::Header) }
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
    }
}
