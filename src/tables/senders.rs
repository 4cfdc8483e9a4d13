//! Which peer sends from where, in one word a peer: what the guard asks about every packet.

use core::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::OverlayId;

/// Overlay and VTEP address by a peer's row. Versions share it until a peer comes, moves or goes.
#[derive(Clone, Default, Debug)]
pub struct Senders(Arc<[u64]>);

/// A row without a peer: no [`word`] is that large.
const NOBODY: u64 = u64::MAX;
/// Set where the peer sends IPv6, whose address has no room here: then whoever asks has to look at the peer.
const V6: u64 = 1 << 48;

#[inline(always)]
const fn word(overlay: OverlayId, source: Ipv4Addr) -> u64 {
    (overlay.0 as u64) << 32 | u32::from_ne_bytes(source.octets()) as u64
}

impl Senders {
    /// Does what arrives from `source` in this overlay come from the peer of this row? Not if it sends IPv6.
    #[inline(always)]
    pub fn is(&self, row: u32, overlay: OverlayId, source: Ipv4Addr) -> bool {
        self.0.get(row as usize) == Some(&word(overlay, source))
    }

    /// The overlay of the peer of this row, if there is one.
    #[inline]
    pub fn overlay(&self, row: u32) -> Option<OverlayId> {
        let word = *self.0.get(row as usize)?;
        (word != NOBODY).then_some(OverlayId((word >> 32) as u16))
    }

    /// Writes or clears a row.
    pub fn set(&mut self, row: u32, sender: Option<(OverlayId, IpAddr)>) {
        let row = row as usize;
        if self.0.len() <= row {
            // doubled, so that peers that come one by one are not copied each time
            let more = (self.0.len()..(row + 1).next_power_of_two()).map(|_| NOBODY);
            self.0 = self.0.iter().copied().chain(more).collect();
        }
        Arc::make_mut(&mut self.0)[row] = match sender {
            Some((overlay, IpAddr::V4(source))) => word(overlay, source),
            Some((overlay, IpAddr::V6(_))) => word(overlay, Ipv4Addr::UNSPECIFIED) | V6,
            None => NOBODY,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_knows_its_own_sender_only() {
        let (blue, green) = (OverlayId(0), OverlayId(0xffff));
        let (here, there) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::BROADCAST);
        let mut senders = Senders::default();
        senders.set(5, Some((blue, here.into())));
        let before = senders.clone();
        senders.set(6, Some((green, there.into())));
        assert!(senders.is(5, blue, here) && senders.is(6, green, there) && !before.is(6, green, there));
        assert!(!senders.is(5, green, here) && !senders.is(5, blue, there) && !senders.is(6, blue, here));
        assert!(!senders.is(7, green, there) && !senders.is(u32::MAX, blue, here), "nobody is there");
        senders.set(6, Some((green, IpAddr::from([0u16; 8]))));
        senders.set(5, None);
        assert_eq!((senders.overlay(5), senders.overlay(6), before.overlay(5)), (None, Some(green), Some(blue)));
        assert!(!senders.is(6, green, Ipv4Addr::UNSPECIFIED), "an IPv6 sender is no IPv4 address");
        assert!(!senders.is(6, green, there) && !senders.is(5, blue, here) && before.is(5, blue, here));
    }
}
