//! ARP for IPv4 over Ethernet (RFC 826).

use core::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Mac, eth};

/// Bytes of a packet.
pub const LEN: usize = size_of::<Arp>();

const ETHERNET: U16 = U16::from_bytes([0, 1]);
const IPV4: U16 = U16::from_bytes(eth::IPV4.to_be_bytes());
const REQUEST: U16 = U16::from_bytes([0, 1]);
const REPLY: U16 = U16::from_bytes([0, 2]);

/// The packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Arp {
    hardware: U16,
    protocol: U16,
    hardware_len: u8,
    protocol_len: u8,
    operation: U16,
    /// Who says or asks this.
    pub sender: Mac,
    sender_address: [u8; 4],
    /// Whom it is about; means nothing in a request.
    pub target: Mac,
    target_address: [u8; 4],
}

impl Arp {
    /// The request at the front of `bytes`, if it is one for an IPv4 address on Ethernet.
    pub fn request(bytes: &[u8]) -> Option<&Arp> {
        let (arp, _) = Arp::ref_from_prefix(bytes).ok()?;
        let kinds = (arp.hardware, arp.protocol, arp.hardware_len, arp.protocol_len);
        (kinds == (ETHERNET, IPV4, 6, 4) && arp.operation == REQUEST).then_some(arp)
    }

    /// The address that is asked for.
    pub const fn target_address(&self) -> Ipv4Addr {
        Ipv4Addr::from_octets(self.target_address)
    }

    /// The address of who asks; unspecified in a probe (RFC 5227 §1.1).
    pub const fn sender_address(&self) -> Ipv4Addr {
        Ipv4Addr::from_octets(self.sender_address)
    }

    /// The answer to this request: the address is at `mac`. To a probe, too (RFC 5227 §2.1.1), whose sender then knows
    /// that the address is taken.
    pub const fn reply(&self, mac: Mac) -> Arp {
        Arp {
            operation: REPLY,
            sender: mac,
            sender_address: self.target_address,
            target: self.sender,
            target_address: self.sender_address,
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_answered_and_nothing_else_is_one() {
        let bytes = [
            0, 1, 8, 0, 6, 4, 0, 1, // who has
            2, 0, 0, 0, 0, 9, 10, 0, 0, 9, // says
            0, 0, 0, 0, 0, 0, 10, 0, 0, 1,
        ];
        let request = Arp::request(&bytes).unwrap();
        assert_eq!(
            (request.target_address().to_string(), request.sender_address().to_string()),
            ("10.0.0.1".into(), "10.0.0.9".into())
        );
        let reply = request.reply(Mac([2, 0, 0, 0, 0, 1]));
        assert_eq!(
            reply.as_bytes(),
            [0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 9]
        );
        for at in 0..8 {
            let mut other = bytes;
            other[at] ^= 2;
            assert!(Arp::request(&other).is_none(), "byte {at}");
        }
        assert!(Arp::request(&bytes[..27]).is_none() && Arp::request(reply.as_bytes()).is_none());
    }
}
