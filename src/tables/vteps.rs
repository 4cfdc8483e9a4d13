//! Which of our VTEPs a packet is for.

use core::net::Ipv4Addr;
use std::collections::HashMap;

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

/// The accepted (address, UDP port, VNI) triples.
#[derive(Debug, Default)]
pub struct Vteps {
    overlays: HashMap<(Ipv4Addr, u16, Vni), OverlayId, ahash::RandomState>,
    ends: Vec<(Ipv4Addr, u16)>,
}

impl Vteps {
    /// The triples of all overlays over IPv4.
    pub fn of(overlays: &[Overlay]) -> Self {
        let mut vteps = Self::default();
        for (id, overlay) in overlays.iter().enumerate() {
            let core::net::IpAddr::V4(local) = overlay.local else { continue };
            vteps.overlays.insert((local, overlay.udp_port, overlay.vni), OverlayId(id as u16));
            if !vteps.ends.contains(&(local, overlay.udp_port)) {
                vteps.ends.push((local, overlay.udp_port));
            }
        }
        vteps
    }

    /// The overlay a packet belongs to.
    ///
    /// # Errors
    /// [`Miss`], saying which part is unknown.
    #[inline]
    pub fn find(&self, local: Ipv4Addr, udp_port: u16, vni: Vni) -> Result<OverlayId, Miss> {
        match self.overlays.get(&(local, udp_port, vni)) {
            Some(id) => Ok(*id),
            None if self.ends.contains(&(local, udp_port)) => Err(Miss::Vni),
            None => Err(Miss::Vtep),
        }
    }

    /// True for an address that is one of our VTEPs.
    #[inline]
    pub fn is_ours(&self, addr: Ipv4Addr) -> bool {
        self.ends.iter().any(|(local, _)| *local == addr)
    }
}
