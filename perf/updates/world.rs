//! An overlay of many pods, and the control plane that keeps its routes: RIB, compiler, tables and publisher, as in
//! production; only the kernel, who would be asked for next hops, always has the same answer.

use std::net::{IpAddr, Ipv4Addr};

use selvedge::control::compile::{Compiler, PortLink};
use selvedge::control::keeper::{Hop, HopKey, HopState};
use selvedge::control::rib::{Preference, Rib};
use selvedge::control::source::file::FILE;
use selvedge::control::source::{Change, Event};
use selvedge::control::{Route, Target};
use selvedge::tables::{Overlay, OverlayId, Tables, TablesWriter};
use selvedge::wire::{Mac, Prefix};

use super::gateway::{ACCESS, BLUE_MAC, BLUE_VTEP, HOST, NATIVE, PORT_MACS, ROUTER, overlay, ports};

/// Pods of a node, which has a /24 for them.
pub(crate) const PODS: usize = 250;

const LINKS: [PortLink; 2] =
    [PortLink { ifindex: 1, mtu: None, underlay: true }, PortLink { ifindex: 2, mtu: None, underlay: false }];

/// The address of pod `n`: the first 250 are on node 0.
pub(crate) fn pod(n: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a40_0000 + ((n / PODS) << 8) as u32 + (n % PODS) as u32 + 1)
}

/// Node `n`, at most 65,535.
pub(crate) fn node(n: usize) -> Target {
    let [high, low] = (n as u16).to_be_bytes();
    Target::Vtep {
        overlay: OverlayId(0),
        vtep: IpAddr::from([172, 16 + (high >> 4), (high & 15) << 4 | low >> 4, 1 + (low & 15)]),
        mac: Mac([2, 1, high, low, 0, 1]),
        zero_checksum: false,
    }
}

/// The route of a pod while it is on node `at`.
pub(crate) fn route(n: usize, at: usize) -> Route {
    Route { prefix: Prefix::host(pod(n).into()), target: node(at) }
}

/// The route that leads to a node's pods as long as they have none of their own, so that a packet always has a way.
fn subnet(n: usize) -> Route {
    Route { prefix: Prefix::host(pod(n * PODS).into()).widened(24), target: node(n) }
}

/// The native network, from which the packets come.
fn native() -> Route {
    let target = Target::Native { port: ACCESS, next_hop: IpAddr::from(NATIVE) };
    Route { prefix: Prefix::host(NATIVE.into()).widened(16), target }
}

/// All routes of `pods` pods at home: theirs, their nodes', and the native network's.
pub(crate) fn routes(pods: usize) -> Vec<Route> {
    let nodes = (0..pods.div_ceil(PODS)).map(subnet);
    nodes.chain((0..pods).map(|n| route(n, n / PODS))).chain([native()]).collect()
}

pub(crate) fn overlays() -> Vec<Overlay> {
    vec![overlay("blue", 1, 8472, BLUE_VTEP, BLUE_MAC)]
}

pub(crate) fn writer() -> TablesWriter {
    TablesWriter::new(overlays(), ports())
}

pub(crate) fn rib() -> Rib {
    Rib::new([(FILE, Preference(10))])
}

/// Every next hop is there.
fn state(key: &HopKey) -> HopState {
    let (ifindex, gateway, mac, source) = match *key {
        HopKey::Routed { .. } => (1, IpAddr::from([192, 0, 2, 254]), ROUTER, PORT_MACS[0]),
        HopKey::Attached { ifindex, addr } => (ifindex, addr, HOST, PORT_MACS[1]),
    };
    Ok(Hop { ifindex, gateway, mac: Mac(mac), source_mac: Mac(source), mtu: 1500 })
}

/// From events to tables.
#[derive(Debug)]
pub(crate) struct Control {
    rib: Rib,
    compiler: Compiler,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self { rib: rib(), compiler: Compiler::new(writer(), overlays(), LINKS.to_vec()) }
    }

    /// With all routes of `pods` pods at home.
    pub(crate) fn with_routes(pods: usize) -> Self {
        let mut control = Self::new();
        routes(pods).into_iter().for_each(|route| control.change(Change::Announce(route)));
        control
    }

    pub(crate) fn take(&mut self, event: Event) {
        self.rib.apply(event, |outcome| self.compiler.follow(&outcome, &state));
    }

    pub(crate) fn change(&mut self, change: Change) {
        self.take(Event { source: FILE, change });
    }

    pub(crate) fn publish(&mut self) -> Tables {
        self.compiler.writer().publish()
    }

    pub(crate) fn routes(&mut self) -> usize {
        self.compiler.writer().routes()
    }
}
