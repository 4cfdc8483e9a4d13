//! What the XDP programs must steer, worked out from the config.

use core::net::IpAddr;

use crate::config::{Config, Role};
use crate::control::{Route, Target};
use crate::port::{PortError, SteerCapacity, Steering};
use crate::wire::Prefix;

/// Each once. There may be millions, so nothing larger than the list is made.
fn sorted<T: Ord>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = all.collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What is the gateway's on underlay and access ports. Lists are sorted, and nothing is in them twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Steered {
    vteps: Vec<(IpAddr, u16)>,
    prefixes: Vec<Prefix>,
    /// There are access ports, which know the prefixes.
    access: bool,
}

impl Steered {
    /// VXLAN to our VTEPs, and packets for pods or for the gateway's overlay addresses: those of `config` and, in place
    /// of its own, of `routes`.
    pub(super) fn of(config: &Config, routes: impl Iterator<Item = Route>) -> Self {
        let vteps = config.overlays.iter().map(|o| (o.local, o.udp_port));
        let pods = routes.filter(|r| matches!(r.target, Target::Vtep { .. })).map(|r| r.prefix);
        let own = config.overlays.iter().flat_map(|o| o.addresses.iter()).map(Prefix::host);
        let access = config.ports.iter().any(|p| p.role == Role::Access);
        Self { vteps: sorted(vteps), prefixes: sorted(pods.chain(own)), access }
    }

    /// These and those: what is steered while one set takes the other's place.
    pub(super) fn and(&self, other: &Self) -> Self {
        let vteps = self.vteps.iter().chain(&other.vteps).copied();
        let prefixes = self.prefixes.iter().chain(&other.prefixes).copied();
        Self { vteps: sorted(vteps), prefixes: sorted(prefixes), access: self.access || other.access }
    }

    /// Whether programs of this capacity can hold them beside the host's own addresses, which take a place among the
    /// prefixes of their family each.
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
        let own = own.iter().map(|a| Prefix::host(*a));
        let own = sorted(own.filter(|p| self.prefixes.binary_search(p).is_err()));
        let v4 = |prefixes: &[Prefix]| prefixes.partition_point(|p| p.addr().is_ipv4()); // they are sorted
        let here = v4(&self.prefixes) + v4(&own);
        let room = capacity.prefixes;
        for (family, prefixes) in [("IPv4", here), ("IPv6", self.prefixes.len() + own.len() - here)] {
            if self.access && prefixes > room as usize {
                return Err(format!("{prefixes} {family} prefixes, old and new, and room for {room} in the kernel"));
            }
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
        let of = |text: &str| {
            let config = Config::parse(text, "f").unwrap_or_else(|e| panic!("{e}"));
            Steered::of(&config, config.routes.iter().copied())
        };
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
        assert!(why.contains(&format!("{} IPv4 prefixes", capacity.prefixes)), "{why}");
        let six: [IpAddr; 2] = ["fd00::1", "fd00::2"].map(|a| a.parse().unwrap());
        let alone = Steered { prefixes: vec![Prefix::host(six[0])], ..old };
        let one = SteerCapacity { prefixes: 1, ..capacity };
        assert_eq!(alone.fits(one, &[six[0], own[0]]), Ok(()), "each family has room of its own");
        let why = alone.fits(one, &six).unwrap_err();
        assert!(why.contains("2 IPv6 prefixes"), "{why}");
        let one_arm = Steered { access: false, ..both };
        assert_eq!(one_arm.fits(less, &own), Ok(()), "nobody looks prefixes up");
    }
}
