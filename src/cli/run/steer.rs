//! What the XDP programs must steer, worked out from the config.

use core::net::IpAddr;
use std::collections::BTreeSet;

use crate::config::{Config, Role};
use crate::control::Target;
use crate::port::{PortError, SteerCapacity, Steering};
use crate::wire::Prefix;

/// What is the gateway's on underlay and access ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Steered {
    vteps: Vec<(IpAddr, u16)>,
    prefixes: Vec<Prefix>,
    /// There are access ports, which know the prefixes.
    access: bool,
}

impl Steered {
    /// VXLAN to our VTEPs, and packets for pods or for the gateway's overlay addresses.
    pub(super) fn of(config: &Config) -> Self {
        let vteps: BTreeSet<_> = config.overlays.iter().map(|o| (o.local, o.udp_port)).collect();
        let pods = config.routes.iter().filter(|r| matches!(r.target, Target::Vtep { .. })).map(|r| r.prefix);
        let own = config.overlays.iter().filter_map(|o| o.address).map(Prefix::host);
        let prefixes: BTreeSet<_> = pods.chain(own).collect();
        let access = config.ports.iter().any(|p| p.role == Role::Access);
        Self { vteps: vteps.into_iter().collect(), prefixes: prefixes.into_iter().collect(), access }
    }

    /// These and those: what is steered while one set takes the other's place.
    pub(super) fn and(&self, other: &Self) -> Self {
        let vteps: BTreeSet<_> = self.vteps.iter().chain(&other.vteps).copied().collect();
        let prefixes: BTreeSet<_> = self.prefixes.iter().chain(&other.prefixes).copied().collect();
        let access = self.access || other.access;
        Self { vteps: vteps.into_iter().collect(), prefixes: prefixes.into_iter().collect(), access }
    }

    /// Whether programs of this capacity can hold them beside the host's own addresses, which take a place among the
    /// prefixes each.
    ///
    /// # Errors
    /// A sentence that says what there is too much of.
    pub(super) fn fits(&self, capacity: SteerCapacity, own: &[IpAddr]) -> Result<(), String> {
        let (vteps, room) = (self.vteps.len(), capacity.vteps);
        if vteps > room as usize {
            return Err(format!(
                "{vteps} VTEPs (address and UDP port), old and new, and room for {room} in the kernel"
            ));
        }
        let own = own.iter().filter(|a| a.is_ipv4()).map(|a| Prefix::host(*a));
        let prefixes = own.chain(self.prefixes.iter().copied()).collect::<BTreeSet<_>>().len();
        let room = capacity.prefixes;
        if self.access && prefixes > room as usize {
            return Err(format!("{prefixes} prefixes, old and new, and room for {room} in the kernel"));
        }
        Ok(())
    }

    /// Steers these, too.
    pub(super) fn add(&self, role: Role, program: &mut Steering) -> Result<(), PortError> {
        match role {
            Role::Underlay => program.add_vteps(&self.vteps),
            Role::Access => program.add_prefixes(&self.prefixes),
        }
    }

    /// Steers nothing but these.
    pub(super) fn retain(&self, role: Role, program: &mut Steering) -> Result<(), PortError> {
        match role {
            Role::Underlay => program.retain_vteps(&self.vteps),
            Role::Access => program.retain_prefixes(&self.prefixes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../../config/two-arm.toml");

    #[test]
    fn old_and_new_must_fit_together_with_the_hosts_addresses() {
        let of = |text: &str| Steered::of(&Config::parse(text, "f").unwrap_or_else(|e| panic!("{e}")));
        let old = of(SAMPLE);
        let new = of(&SAMPLE.replace("vni = 4096", "vni = 4096\nudp_port = 4790").replace("10.244.", "10.144."));
        let both = old.and(&new);
        let prefixes = old.prefixes.len() + new.prefixes.len();
        assert_eq!((both.vteps.len(), both.prefixes.len()), (2, prefixes));
        let own = [[10, 9, 0, 1].into(), "::1".parse().unwrap(), both.prefixes[0].addr()];
        let more = 1 + u32::from(both.prefixes[0].len() != 32);
        let capacity = SteerCapacity { vteps: 2, prefixes: prefixes as u32 + more };
        assert_eq!(both.fits(capacity, &own), Ok(()));
        assert_eq!(old.fits(SteerCapacity { vteps: 1, ..capacity }, &own), Ok(()));
        let why = both.fits(SteerCapacity { vteps: 1, ..capacity }, &own).unwrap_err();
        assert!(why.contains("2 VTEPs") && why.contains("room for 1 "), "{why}");
        let less = SteerCapacity { prefixes: capacity.prefixes - 1, ..capacity };
        let why = both.fits(less, &own).unwrap_err();
        assert!(why.contains(&format!("{} prefixes", capacity.prefixes)), "{why}");
        let one_arm = Steered { access: false, ..both };
        assert_eq!(one_arm.fits(less, &own), Ok(()), "nobody looks prefixes up");
    }
}
