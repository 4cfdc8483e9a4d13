//! What the XDP programs must steer, worked out from the config.

use core::net::IpAddr;
use std::collections::BTreeSet;

use crate::config::{Config, Role};
use crate::control::Target;
use crate::port::{PortError, Steering};
use crate::wire::Prefix;

/// What is the gateway's on underlay and access ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Steered {
    vteps: Vec<(IpAddr, u16)>,
    prefixes: Vec<Prefix>,
}

impl Steered {
    /// VXLAN to our VTEPs, and packets for pods or for the gateway's overlay addresses.
    pub(super) fn of(config: &Config) -> Self {
        let vteps: BTreeSet<_> = config.overlays.iter().map(|o| (o.local, o.udp_port)).collect();
        let pods = config.routes.iter().filter(|r| matches!(r.target, Target::Vtep { .. })).map(|r| r.prefix);
        let own = config.overlays.iter().filter_map(|o| o.address).map(Prefix::host);
        let prefixes: BTreeSet<_> = pods.chain(own).collect();
        Self { vteps: vteps.into_iter().collect(), prefixes: prefixes.into_iter().collect() }
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
