//! From targets and next hops to table rows: everything that can be worked out before a packet comes.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::HashMap;

use super::Target;
use super::keeper::{Hop, HopKey, HopState};
use super::rib::Outcome;
use crate::tables::{Action, Dscp, HopId, NextHop, Overlay, OverlayId, Peer, PeerId, PortId, TablesWriter, Way};
use crate::wire::outer::{Ends, OuterV4};
use crate::wire::vxlan::OVERHEAD_V4;
use crate::wire::{Ethernet, Mac, Prefix, ecn};

/// A port, as far as tables depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortLink {
    /// The kernel's index of the interface.
    pub ifindex: u32,
    /// MTU to obey if smaller than the kernel's.
    pub mtu: Option<u16>,
}

/// A row of the tables in the making: targets that share it, and its number.
#[derive(Debug)]
struct Row {
    id: u32,
    routes: usize,
}

/// Numbers for rows, the freed ones first.
#[derive(Debug, Default)]
struct Numbers {
    next: u32,
    free: Vec<u32>,
}

impl Numbers {
    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }
}

/// Keeps the tables in step with the RIB and with the kernel's next hops.
#[derive(Debug)]
pub struct Compiler {
    writer: TablesWriter,
    ports: Vec<PortLink>,
    overlays: Vec<Overlay>,
    rows: HashMap<Target, Row>,
    /// Targets by the next hop they need.
    waiting: HashMap<HopKey, Vec<Target>>,
    peer_numbers: Numbers,
    hop_numbers: Numbers,
}

impl Compiler {
    /// A compiler for these overlays and ports; the tables of `writer` must be empty.
    pub fn new(mut writer: TablesWriter, overlays: Vec<Overlay>, ports: Vec<PortLink>) -> Self {
        for overlay in &overlays {
            if let Some(address) = overlay.address {
                writer.set_route(Prefix::host(address), Action::Local);
            }
        }
        Self {
            writer,
            ports,
            overlays,
            rows: HashMap::new(),
            waiting: HashMap::new(),
            peer_numbers: Numbers::default(),
            hop_numbers: Numbers::default(),
        }
    }

    /// The tables being written.
    pub fn writer(&mut self) -> &mut TablesWriter {
        &mut self.writer
    }

    /// Gives the tables back, emptied for `overlays`, to begin anew.
    pub fn into_reset_writer(mut self, overlays: Vec<Overlay>) -> TablesWriter {
        self.writer.reset(overlays);
        self.writer
    }

    /// The overlays compiled for.
    pub fn overlays(&self) -> &[Overlay] {
        &self.overlays
    }

    /// Next hops that some target needs.
    pub fn wanted(&self) -> impl Iterator<Item = HopKey> + '_ {
        self.waiting.keys().copied()
    }

    /// Follows a change of the RIB. `state` answers for next hops.
    pub fn follow(&mut self, outcome: &Outcome, state: &dyn Fn(&HopKey) -> HopState) {
        match outcome.after {
            Some(target) => {
                let action = self.acquire(target, state);
                self.writer.set_route(outcome.prefix, action);
            }
            // the gateway's own address is no route of the RIB and stays
            None if self.is_own(&outcome.prefix) => self.writer.set_route(outcome.prefix, Action::Local),
            None => self.writer.remove_route(&outcome.prefix),
        }
        if let Some(target) = outcome.before {
            self.release(target);
        }
    }

    /// Follows a change of a next hop.
    pub fn resolve(&mut self, key: &HopKey, state: &HopState) {
        let Some(targets) = self.waiting.get(key) else { return };
        for target in targets.clone() {
            self.write(target, state);
        }
    }

    fn is_own(&self, prefix: &Prefix) -> bool {
        self.overlays.iter().any(|o| o.address.map(Prefix::host) == Some(*prefix))
    }

    fn acquire(&mut self, target: Target, state: &dyn Fn(&HopKey) -> HopState) -> Action {
        if let Some(row) = self.rows.get_mut(&target) {
            row.routes += 1;
            return action(&target, row.id);
        }
        let id = match target {
            Target::Vtep { .. } => self.peer_numbers.take(),
            Target::Native { .. } => self.hop_numbers.take(),
        };
        self.rows.insert(target, Row { id, routes: 1 });
        let key = self.hop_key(&target);
        self.waiting.entry(key).or_default().push(target);
        self.write(target, &state(&key));
        action(&target, id)
    }

    fn release(&mut self, target: Target) {
        let Some(row) = self.rows.get_mut(&target) else { return };
        row.routes -= 1;
        if row.routes > 0 {
            return;
        }
        let id = row.id;
        self.rows.remove(&target);
        let key = self.hop_key(&target);
        if let Some(targets) = self.waiting.get_mut(&key) {
            targets.retain(|t| *t != target);
            if targets.is_empty() {
                self.waiting.remove(&key);
            }
        }
        match target {
            Target::Vtep { .. } => {
                self.writer.set_peer(PeerId(id), None);
                self.peer_numbers.free.push(id);
            }
            Target::Native { .. } => {
                self.writer.set_hop(HopId(id), None);
                self.hop_numbers.free.push(id);
            }
        }
    }

    fn hop_key(&self, target: &Target) -> HopKey {
        match *target {
            Target::Vtep { overlay, vtep, .. } => {
                let from = self.overlay(overlay).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |o| o.local);
                HopKey::Routed { dst: vtep, from }
            }
            Target::Native { port, next_hop } => {
                let ifindex = self.ports.get(usize::from(port.0)).map_or(0, |p| p.ifindex);
                HopKey::Attached { ifindex, addr: next_hop }
            }
        }
    }

    fn overlay(&self, id: OverlayId) -> Option<&Overlay> {
        self.overlays.get(usize::from(id.0))
    }

    /// Writes the row of a target as far as its next hop is known.
    fn write(&mut self, target: Target, state: &HopState) {
        let Some(id) = self.rows.get(&target).map(|r| r.id) else { return };
        let hop = state.as_ref().ok();
        match target {
            Target::Vtep { overlay, vtep, mac } => {
                let way = hop.and_then(|hop| self.way(overlay, vtep, mac, hop));
                self.writer.set_peer(PeerId(id), Some(Peer { overlay, vtep, mac, way }));
            }
            Target::Native { port, next_hop } => {
                let way = hop.map(|hop| (Ethernet::ipv4(hop.mac, hop.source_mac), self.link_mtu(port, hop)));
                self.writer.set_hop(HopId(id), Some(NextHop { port, addr: next_hop, way }));
            }
        }
    }

    fn way(&self, overlay: OverlayId, vtep: IpAddr, mac: Mac, hop: &Hop) -> Option<Way> {
        let overlay = self.overlay(overlay)?;
        let port = self.ports.iter().position(|p| p.ifindex == hop.ifindex)?;
        let port = PortId(u8::try_from(port).ok()?);
        let (IpAddr::V4(remote), IpAddr::V4(local)) = (vtep, overlay.local) else { return None };
        let (dscp, tos_mask) = match overlay.dscp {
            Dscp::Pipe(dscp) => (dscp, ecn::MASK),
            Dscp::Uniform => (0, u8::MAX),
        };
        let header = OuterV4::prebuilt(&Ends {
            link: (hop.mac, hop.source_mac),
            vtep: (remote, local),
            inner: (mac, overlay.mac),
            udp_port: overlay.udp_port,
            vni: overlay.vni,
            dscp,
        });
        let room = self.link_mtu(port, hop).saturating_sub(OVERHEAD_V4);
        let mtu = overlay.mtu.map_or(room, |m| room.min(m.get()));
        Some(Way { port, header, tos_mask, mtu })
    }

    /// The largest IP packet that may leave towards a next hop.
    fn link_mtu(&self, port: PortId, hop: &Hop) -> u16 {
        let configured = self.ports.get(usize::from(port.0)).and_then(|p| p.mtu).unwrap_or(u16::MAX);
        u16::try_from(hop.mtu).unwrap_or(u16::MAX).min(configured)
    }
}

fn action(target: &Target, id: u32) -> Action {
    match target {
        Target::Vtep { .. } => Action::Encap(PeerId(id)),
        Target::Native { .. } => Action::Deliver(HopId(id)),
    }
}
