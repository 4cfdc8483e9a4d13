//! VXLAN (RFC 7348 §5).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Vni, eth, ipv4, udp};

/// Bytes of the header.
pub const LEN: usize = size_of::<Vxlan>();

/// What encapsulation adds to an inner IP packet over IPv4: outer IP, UDP and VXLAN headers and the inner Ethernet
/// header. Underlay MTU less this is the largest inner packet.
pub const OVERHEAD_V4: u16 = (ipv4::LEN + udp::LEN + LEN + eth::LEN) as u16;

/// The flag that says that the VNI is valid.
const I: u8 = 0x08;

/// The header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Vxlan {
    flags: u8,
    reserved_1: [u8; 3],
    vni: [u8; 3],
    reserved_2: u8,
}

impl Vxlan {
    /// The bits that are not reserved.
    pub const MASK: Self = Self { flags: I, reserved_1: [0; 3], vni: [0xff; 3], reserved_2: 0 };

    /// The header of a packet of `vni`. RFC 7348 §5: I is 1, reserved bits are 0 when sent.
    pub const fn new(vni: Vni) -> Self {
        Self { flags: I, reserved_1: [0; 3], vni: vni.octets(), reserved_2: 0 }
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
        assert_eq!(OVERHEAD_V4, 50);
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
        }
    }
}
