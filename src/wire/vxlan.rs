//! VXLAN (RFC 7348 §5).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Vni, eth, ipv4, ipv6, udp};

/// Bytes of the header.
pub const LEN: usize = size_of::<Vxlan>();

/// What encapsulation adds to an inner IP packet over IPv4: outer IP, UDP and VXLAN headers and the inner Ethernet
/// header. Underlay MTU less this is the largest inner packet.
pub const OVERHEAD_V4: u16 = (ipv4::LEN + udp::LEN + LEN + eth::LEN) as u16;

/// The same over IPv6.
pub const OVERHEAD_V6: u16 = (ipv6::LEN + udp::LEN + LEN + eth::LEN) as u16;

/// The flag that says that the VNI is valid.
const I: u8 = 0x08;
/// Flags that drafts gave to reserved bits: a group policy follows (draft-smith-vxlan-group-policy), or the number of
/// another protocol than Ethernet (draft-ietf-nvo3-vxlan-gpe).
const G: u8 = 0x80;
const P: u8 = 0x04;
/// What a group policy says besides: "do not learn" and "applied already". The other bits of its octet are reserved.
const SAID: u8 = 0x48;
/// What a Geneve header with an Ethernet frame has where VXLAN has reserved bits (RFC 8926 §3.4).
const ETHERNET_BRIDGED: [u8; 2] = [0x65, 0x58];

/// The header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Vxlan {
    flags: u8,
    reserved_1: [u8; 3],
    vni: [u8; 3],
    reserved_2: u8,
}

/// What a header says beyond RFC 7348.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extension {
    /// Nothing.
    None,
    /// To which group the sender belongs.
    Policy(Policy),
    /// Another protocol than Ethernet follows, or this is no VXLAN header at all.
    Other,
}

/// A group policy, as it lies on the wire, but for its reserved bits: carried, and never looked into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// "Do not learn" and "applied already".
    bits: u8,
    /// The group.
    id: [u8; 2],
}

impl Vxlan {
    /// All bits: the reserved ones, too, are 0 in all headers but odd ones, which are worth a closer look.
    pub const MASK: Self = Self { flags: 0xff, reserved_1: [0xff; 3], vni: [0xff; 3], reserved_2: 0xff };

    /// The header of a packet of `vni`. RFC 7348 §5: I is 1, reserved bits are 0 when sent.
    pub const fn new(vni: Vni) -> Self {
        Self { flags: I, reserved_1: [0; 3], vni: vni.octets(), reserved_2: 0 }
    }

    /// What somebody put into reserved fields on purpose. A flag alone says nothing, and is ignored (RFC 7348 §5).
    #[inline]
    pub const fn extension(&self) -> Extension {
        let [bits, id @ ..] = self.reserved_1;
        if self.flags & G != 0 && !matches!(id, [0, 0]) {
            return Extension::Policy(Policy { bits: bits & SAID, id });
        }
        let other_protocol = self.flags & P != 0 && id[1] != 0;
        if other_protocol || matches!(id, ETHERNET_BRIDGED) { Extension::Other } else { Extension::None }
    }

    /// The header with a group policy.
    pub const fn with_policy(self, Policy { bits, id: [a, b] }: Policy) -> Self {
        Self { flags: self.flags | G, reserved_1: [bits, a, b], ..self }
    }

    /// The VNI, unless the header says that it has none. RFC 7348 §5: I must be 1; reserved bits are ignored on
    /// receipt.
    #[inline]
    pub const fn vni(&self) -> Option<Vni> {
        if self.has_vni() { Some(Vni::from_octets(self.vni)) } else { None }
    }

    /// Does the header say that it has a VNI?
    #[inline]
    pub const fn has_vni(&self) -> bool {
        self.flags & I != 0
    }

    /// The octets where the VNI lies, whether there is one or not, the first one lowest.
    #[inline(always)]
    pub const fn vni_word(&self) -> u32 {
        let [a, b, c] = self.vni;
        u32::from_le_bytes([a, b, c, self.reserved_2]) & 0x00ff_ffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_bytes_are_those_of_the_rfc() {
        assert_eq!(Vxlan::new(Vni::new(0x0a0b0c).unwrap()).as_bytes(), [8, 0, 0, 0, 0x0a, 0x0b, 0x0c, 0]);
        assert_eq!((OVERHEAD_V4, OVERHEAD_V6), (50, 70));
    }

    #[test]
    fn the_39_reserved_bits_are_ignored_and_i_is_not() {
        let good = Vxlan::new(Vni::new(1).unwrap());
        for bit in 0..64 {
            let mut bytes: [u8; 8] = good.as_bytes().try_into().unwrap();
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            let seen = Vxlan::read_from_bytes(&bytes).unwrap().vni().map(Vni::get);
            match bit {
                4 => assert_eq!(seen, None),
                32..56 => assert_eq!(seen, Some(1 ^ (1 << (55 - bit)))),
                _ => assert_eq!(seen, Some(1), "bit {bit}"),
            }
            let extension = Vxlan::read_from_bytes(&bytes).unwrap().extension();
            assert_eq!(extension, Extension::None, "bit {bit}: one alone says nothing");
        }
    }

    #[test]
    fn what_others_put_into_reserved_fields_is_seen() {
        let header = |bytes: [u8; 4]| Vxlan::read_from_bytes(&[&bytes[..], &[0, 0, 1, 0]].concat()).unwrap();
        for policy in [[0x88, 0, 0, 7], [0x88, 0x48, 1, 0]] {
            let Extension::Policy(found) = header(policy).extension() else { panic!("{policy:?}") };
            assert_eq!(Vxlan::new(Vni::new(1).unwrap()).with_policy(found), header(policy));
        }
        assert_eq!(header([0x0c, 0, 0, 3]).extension(), Extension::Other, "another protocol");
        assert_eq!(header([0x08, 0, 0x65, 0x58]).extension(), Extension::Other, "Geneve with options of 32 octets");
        // its own reserved bits are as any: ignored, and 0 when sent
        let Extension::Policy(found) = header([0x88, 0xff, 0, 7]).extension() else { panic!() };
        assert_eq!(Vxlan::new(Vni::new(1).unwrap()).with_policy(found), header([0x88, 0x48, 0, 7]));
        for nothing in [[0x88, 0x48, 0, 0], [0x0c, 0, 3, 0], [0xff, 0xff, 0, 0]] {
            assert_eq!(header(nothing).extension(), Extension::None);
        }
    }
}
