//! Which of our VTEPs a packet is for.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::HashMap;

use super::hash::Keyed;
use super::{Overlay, OverlayId};
use crate::wire::Vni;

/// Why a packet is for none of our VTEPs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Miss {
    /// No overlay has this address and UDP port.
    Vtep,
    /// Overlays do, but none of them has this VNI.
    Vni,
}

/// Address, UDP port and VNI of an overlay's end, as one number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct VtepKey(u128);

impl VtepKey {
    /// The key of an IPv4 VTEP.
    #[inline]
    pub const fn v4(local: Ipv4Addr, udp_port: u16, vni: Vni) -> Self {
        // 1 in front, so that no key equals the default one
        let end = 1 << 48 | (local.to_bits() as u64) << 16 | udp_port as u64;
        Self((end as u128) << 64 | vni.get() as u128)
    }
}

/// The accepted (address, UDP port, VNI) triples.
#[derive(Debug, Default)]
pub struct Vteps {
    overlays: HashMap<VtepKey, OverlayId, Keyed>,
    ends: Vec<(Ipv4Addr, u16)>,
}

impl Vteps {
    /// The triples of all overlays over IPv4.
    pub fn of(overlays: &[Overlay]) -> Self {
        let mut vteps = Self::default();
        for (id, overlay) in overlays.iter().enumerate() {
            let IpAddr::V4(local) = overlay.local else { continue };
            let key = VtepKey::v4(local, overlay.udp_port, overlay.vni);
            vteps.overlays.insert(key, OverlayId(id as u16));
            if !vteps.ends.contains(&(local, overlay.udp_port)) {
                vteps.ends.push((local, overlay.udp_port));
            }
        }
        vteps
    }

    /// The overlay a packet belongs to.
    #[inline]
    pub fn find(&self, key: VtepKey) -> Option<OverlayId> {
        self.overlays.get(&key).copied()
    }

    /// Which part of a triple that was not found is unknown.
    #[cold]
    pub fn why_not(&self, local: Ipv4Addr, udp_port: u16) -> Miss {
        if self.ends.contains(&(local, udp_port)) { Miss::Vni } else { Miss::Vtep }
    }

    /// True for an address that is one of our VTEPs.
    pub fn is_ours(&self, addr: Ipv4Addr) -> bool {
        self.ends.iter().any(|(local, _)| *local == addr)
    }
}
