//! The overlays that packets came by lately, with what the guard asks of each.

use crate::tables::{Dscp, Overlay, OverlayId, VtepKey};
use crate::wire::{OuterV4, Pattern, ecn};

/// A few cache lines. Overlays that share a place put each other out, which costs a lookup a packet.
const PLACES: usize = 32;

/// A small direct-mapped memory. Only overlays of ours get into it, so strangers cannot fill it.
#[derive(Debug, Default)]
pub(super) struct Recent([Known; PLACES]);

/// One overlay as the guard sees it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct Known {
    /// What its plain frames have in common.
    pub pattern: Pattern,
    key: VtepKey,
    epoch: u32,
    /// The overlay.
    pub id: OverlayId,
    /// Are inner packets to show the outer DSCP (RFC 2983)?
    pub uniform: bool,
    /// Bits of the outer TOS octet that inner packets are to show, one way or another.
    pub tos_mask: u8,
    /// Our VTEP MAC in it, in one word.
    pub mac: u64,
}

impl Recent {
    /// The overlay with this key, if the tables of this epoch were asked for it lately.
    #[inline(always)]
    pub(super) fn get(&self, key: VtepKey, epoch: u32) -> Option<&Known> {
        let known = &self.0[key.spread() % PLACES];
        if known.key == key && known.epoch == epoch { Some(known) } else { None }
    }

    /// The overlay that a VXLAN frame comes from, if the tables of this epoch were asked for it lately; any other one, or
    /// none, if not: then the frame does not fit its pattern.
    #[inline(always)]
    pub(super) fn near(&self, outer: &OuterV4, epoch: u32) -> Option<&Known> {
        let known = &self.0[VtepKey::of(outer).spread() % PLACES];
        if known.epoch == epoch { Some(known) } else { None }
    }

    /// Remembers an overlay.
    pub(super) fn put(&mut self, key: VtepKey, epoch: u32, id: OverlayId, overlay: &Overlay) -> Known {
        let uniform = overlay.dscp == Dscp::Uniform;
        let known = Known {
            pattern: key.pattern(overlay.mac),
            key,
            epoch,
            id,
            uniform,
            tos_mask: if uniform { u8::MAX } else { ecn::MASK },
            mac: overlay.mac.word(),
        };
        self.0[key.spread() % PLACES] = known;
        known
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use zerocopy::FromZeros;
    use zerocopy::byteorder::network_endian::U16;

    use super::*;
    use crate::tables::Fit;
    use crate::wire::{Mac, Vni, Vxlan};

    const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn overlay(vni: u32) -> Overlay {
        Overlay {
            name: String::new(),
            vni: Vni::new(vni).unwrap(),
            udp_port: 4789,
            local: LOCAL.into(),
            mac: Mac([2, 0, 0, 0, 0, vni as u8]),
            addresses: Default::default(),
            mtu: None,
            fit: Fit::default(),
            dscp: Dscp::Pipe(0),
            source_check: true,
            gbp: false,
            inner_vlan: 0,
            zero_checksum: false,
        }
    }

    #[test]
    fn overlays_that_share_a_place_put_each_other_out_and_nobody_takes_one_for_another() {
        let mut recent = Recent::default();
        let key = |vni| VtepKey::v4(LOCAL, 4789, Vni::new(vni).unwrap());
        let frame = |vni| {
            let mut outer = OuterV4::new_zeroed();
            (outer.ip.dst, outer.udp.dst) = (LOCAL.octets(), U16::new(4789));
            outer.vxlan = Vxlan::new(Vni::new(vni).unwrap());
            outer
        };
        let (epoch, places) = (7, PLACES as u32);
        for vni in 0..2 * places {
            let id = OverlayId(vni as u16);
            assert_eq!(recent.put(key(vni), epoch, id, &overlay(vni)).id, id);
            assert_eq!(recent.get(key(vni), epoch).map(|known| known.id), Some(id));
            assert_eq!(recent.near(&frame(vni), epoch).map(|known| known.id), Some(id));
        }
        for vni in 0..2 * places {
            let known = recent.get(key(vni), epoch).map(|known| known.id);
            assert_eq!(known, (vni >= places).then_some(OverlayId(vni as u16)));
            assert!(recent.get(key(vni), epoch + 1).is_none() && recent.near(&frame(vni), epoch + 1).is_none());
        }
    }
}
