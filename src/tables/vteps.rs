//! Which of our VTEPs a packet is for.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::HashMap;

use super::hash::Keyed;
use super::{Overlay, OverlayId};
use crate::wire::{Mac, OuterV4, Pattern, Vni};

/// Why a packet is for none of our VTEPs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Miss {
    /// No overlay has this address and UDP port.
    Vtep,
    /// Overlays do, but none of them has this VNI.
    Vni,
}

/// Address, UDP port and VNI of an overlay's end over IPv4, as they lie on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct VtepKey {
    local: [u8; 4],
    vni: u32,
    udp_port: [u8; 2],
}

impl VtepKey {
    /// The key of an IPv4 VTEP.
    #[inline]
    pub const fn v4(local: Ipv4Addr, udp_port: u16, vni: Vni) -> Self {
        let [a, b, c] = vni.octets();
        Self { local: local.octets(), udp_port: udp_port.to_be_bytes(), vni: u32::from_le_bytes([a, b, c, 0]) }
    }

    /// The key of the VTEP that a packet is for; what its VXLAN header says counts only if it says that it has a VNI.
    #[inline(always)]
    pub fn of(outer: &OuterV4) -> Self {
        Self { local: outer.ip.dst, udp_port: outer.udp.dst.to_bytes(), vni: outer.vxlan.vni_word() }
    }

    /// What the plain frames to this VTEP, which has this MAC address, have in common.
    pub fn pattern(self, mac: Mac) -> Pattern {
        let [a, b, c, _] = self.vni.to_le_bytes();
        Pattern::of(self.local.into(), u16::from_be_bytes(self.udp_port), Vni::from_octets([a, b, c]), mac)
    }

    /// A small number for small tables.
    #[inline(always)]
    pub const fn spread(self) -> usize {
        // VNIs and addresses of neighbours differ in their last octets
        (self.vni >> 16 ^ self.local[3] as u32) as usize
    }
}

/// The accepted (address, UDP port, VNI) triples.
#[derive(Debug, Default)]
pub struct Vteps {
    overlays: HashMap<VtepKey, OverlayId, Keyed>,
    overlays_v6: HashMap<(Ipv6Addr, u16, Vni), OverlayId, ahash::RandomState>,
    /// Apart by family: who sends to no VNI of ours makes the data path ask here as fast as frames come in.
    ends: Vec<(Ipv4Addr, u16)>,
    ends_v6: Vec<(Ipv6Addr, u16)>,
}

impl Vteps {
    /// The triples of all overlays.
    pub fn of(overlays: &[Overlay]) -> Self {
        let mut vteps = Self::default();
        for (id, overlay) in overlays.iter().enumerate() {
            let (id, port, vni) = (OverlayId(id as u16), overlay.udp_port, overlay.vni);
            match overlay.local {
                IpAddr::V4(local) => {
                    vteps.overlays.insert(VtepKey::v4(local, port, vni), id);
                    vteps.ends.push((local, port));
                }
                IpAddr::V6(local) => {
                    vteps.overlays_v6.insert((local, port, vni), id);
                    vteps.ends_v6.push((local, port));
                }
            }
        }
        once(&mut vteps.ends);
        once(&mut vteps.ends_v6);
        vteps
    }

    /// The overlay a packet over IPv4 belongs to.
    #[inline]
    pub fn find(&self, key: VtepKey) -> Option<OverlayId> {
        self.overlays.get(&key).copied()
    }

    /// The overlay a packet over IPv6 belongs to.
    #[inline]
    pub fn find_v6(&self, local: Ipv6Addr, udp_port: u16, vni: Vni) -> Option<OverlayId> {
        self.overlays_v6.get(&(local, udp_port, vni)).copied()
    }

    /// Which part of a triple that was not found is unknown.
    #[cold]
    pub fn why_not(&self, local: IpAddr, udp_port: u16) -> Miss {
        let ours = match local {
            IpAddr::V4(local) => self.ends.contains(&(local, udp_port)),
            IpAddr::V6(local) => self.ends_v6.contains(&(local, udp_port)),
        };
        if ours { Miss::Vni } else { Miss::Vtep }
    }

    /// True for an address that is one of our VTEPs.
    pub fn is_ours(&self, addr: IpAddr) -> bool {
        match addr {
            IpAddr::V4(addr) => self.ends.iter().any(|(local, _)| *local == addr),
            IpAddr::V6(addr) => self.ends_v6.iter().any(|(local, _)| *local == addr),
        }
    }
}

/// Leaves each of them once.
fn once<T: Ord>(ends: &mut Vec<T>) {
    ends.sort_unstable();
    ends.dedup();
}
