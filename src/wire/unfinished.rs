//! A transport checksum of which only the beginning is done.

use super::checksum::Sum;

/// Offset of the checksum in a TCP header (RFC 9293 §3.1).
pub const TCP_CHECKSUM: u16 = 16;
/// Offset of the checksum in a UDP header (RFC 768).
pub const UDP_CHECKSUM: u16 = 6;
/// Offset of the checksum in an ICMPv6 header (RFC 4443 §2.1).
pub const ICMPV6_CHECKSUM: u16 = 2;

/// Which bytes of a packet are still to be summed up, and where the checksum goes. Its field holds the folded sum of the
/// pseudo-header, and the bytes reach up to the packet's end (Linux: `CHECKSUM_PARTIAL`, include/linux/skbuff.h). Everything
/// is counted from that end, so that it stays true whatever is put in front of the packet, or taken off.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Unfinished {
    /// Bytes from the transport header to the end; 0 where nothing is unfinished.
    behind: u16,
    /// Offset of the checksum in the transport header.
    field: u16,
}

impl Unfinished {
    /// Nothing is.
    pub const NONE: Self = Self { behind: 0, field: 0 };

    /// The checksum `field` bytes into a transport header with which the packet's last `behind` bytes begin. None, if they
    /// end before it does.
    pub const fn new(behind: u16, field: u16) -> Self {
        if behind as u32 >= field as u32 + 2 { Self { behind, field } } else { Self::NONE }
    }

    /// Is nothing unfinished?
    #[inline]
    pub const fn is_none(self) -> bool {
        self.behind == 0
    }

    /// Where the bytes begin in a packet of `len`, and where in them the checksum lies; `None` where nothing is unfinished, or
    /// the packet is shorter than that.
    #[inline]
    pub const fn within(self, len: usize) -> Option<(usize, usize)> {
        if self.is_none() || len < self.behind as usize {
            return None;
        }
        Some((len - self.behind as usize, self.field as usize))
    }

    /// Finishes the checksum of `packet`, or of a part of it that ends where it does.
    pub fn finish(self, packet: &mut [u8]) {
        let Some((start, field)) = self.within(packet.len()) else { return };
        let Some(payload) = packet.get_mut(start..) else { return };
        // The field's own sum is that of the pseudo-header, which is to be in.
        let mut sum = Sum::ZERO.bytes(payload).checksum();
        // RFC 768, RFC 8200 §8.1: a computed zero is sent as all ones, since zero means that there is none.
        if self.field == UDP_CHECKSUM && sum == [0, 0] {
            sum = [0xff, 0xff];
        }
        if let Some(room) = payload.get_mut(field..field + 2) {
            room.copy_from_slice(&sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum::pseudo_v4;
    use proptest::prelude::*;

    #[test]
    fn it_is_found_whatever_stands_in_front() {
        let tcp = Unfinished::new(40, TCP_CHECKSUM);
        assert_eq!((tcp.within(60), tcp.within(110), tcp.within(40)), (Some((20, 16)), Some((70, 16)), Some((0, 16))));
        assert_eq!((tcp.within(39), Unfinished::NONE.within(39)), (None, None));
        assert_eq!((Unfinished::new(17, TCP_CHECKSUM), Unfinished::new(0, 0)), (Unfinished::NONE, Unfinished::NONE));
        assert!(!Unfinished::new(18, TCP_CHECKSUM).is_none() && !Unfinished::new(u16::MAX, u16::MAX - 2).is_none());
    }

    #[test]
    fn a_udp_checksum_is_never_left_out() {
        // pseudo-header and payload together are all ones
        for (field, expected) in [(UDP_CHECKSUM, [0xff; 2]), (TCP_CHECKSUM, [0; 2])] {
            let mut payload = [0; 20];
            payload[usize::from(field)..][..2].fill(0xff);
            Unfinished::new(20, field).finish(&mut payload);
            assert_eq!(payload[usize::from(field)..][..2], expected);
        }
    }

    #[test]
    fn what_is_too_short_stays_as_it_is() {
        let mut payload = [7; 19];
        Unfinished::new(20, TCP_CHECKSUM).finish(&mut payload);
        Unfinished::NONE.finish(&mut payload);
        assert_eq!(payload, [7; 19]);
    }

    proptest! {
        #[test]
        fn what_is_finished_is_intact(
            mut payload in proptest::collection::vec(any::<u8>(), 18..80),
            addresses: [u8; 8],
            front in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let pseudo = pseudo_v4(&addresses, 6, payload.len() as u16);
            payload[16..18].copy_from_slice(&pseudo.fold());
            let mut packet = [&front[..], &payload].concat();
            Unfinished::new(payload.len() as u16, TCP_CHECKSUM).finish(&mut packet);
            prop_assert!(pseudo.bytes(&packet[front.len()..]).is_intact());
            prop_assert_eq!(&packet[..front.len()], &front[..]);
        }
    }
}
