//! A whole gateway over in-memory ports, for tests and benchmarks: the production worker, tables and path; only the
//! wire is not there.
#![allow(dead_code, unreachable_pub, missing_docs)] // each test crate uses its own part

pub mod frames;
pub mod frames6;
pub mod six;

use frames::{Ip, Vxlan, ethernet};
use selvedge::drops::{DropReason, Drops};
use selvedge::path::{Journey, Tick};
use selvedge::port::{Backing, MemPort, MemRings, Pool, Port, Umem};
use selvedge::tables::handover::{Publisher, channel};
use selvedge::tables::hash::Keyed;
use selvedge::tables::{
    Action, Addresses, Dscp, Fit, HopId, NextHop, OuterHeader, Overlay, OverlayId, Peer, PeerId, PortFacts, PortId,
    TablesWriter, Way,
};
use selvedge::wire::outer::{Ends, OuterV4};
use selvedge::wire::{Ethernet, Mac, Vni};
use selvedge::worker::stats::Stats;
use selvedge::worker::{Clock, Settings, Side, Worker};
use std::cell::Cell;
use std::net::Ipv4Addr;
use std::rc::Rc;

pub const UNDERLAY: PortId = PortId(0);
pub const ACCESS: PortId = PortId(1);

pub const fn mac(n: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, n]
}
/// The gateway's port MACs.
pub const PORT_MACS: [[u8; 6]; 2] = [mac(0xa0), mac(0xa1)];
/// The next hops' MACs.
pub const ROUTER: [u8; 6] = mac(0xb0);
pub const HOST: [u8; 6] = mac(0xb1);
/// The gateway's VTEP MACs.
pub const BLUE_MAC: [u8; 6] = mac(1);
pub const GREEN_MAC: [u8; 6] = mac(7);
/// Nodes.
pub const BLUE_NODE: ([u8; 4], [u8; 6]) = ([192, 0, 2, 11], mac(11));
pub const BLUE_NODE_2: ([u8; 4], [u8; 6]) = ([192, 0, 2, 12], mac(12));
pub const GREEN_NODE: ([u8; 4], [u8; 6]) = ([192, 0, 2, 21], mac(21));
/// Nobody answers there.
pub const DEAD_NODE: ([u8; 4], [u8; 6]) = ([192, 0, 2, 99], mac(99));
pub const BLUE_VTEP: [u8; 4] = [192, 0, 2, 1];
pub const GREEN_VTEP: [u8; 4] = [192, 0, 2, 2];
/// The gateway's overlay addresses.
pub const BLUE_ADDRESS: [u8; 4] = [10, 244, 255, 1];
pub const ACCESS_ADDRESS: [u8; 4] = [10, 9, 0, 1];
/// Pods and hosts.
pub const BLUE_POD: [u8; 4] = [10, 244, 1, 5];
pub const BLUE_POD_2: [u8; 4] = [10, 244, 2, 5];
pub const GREEN_POD: [u8; 4] = [10, 245, 1, 5];
pub const DEAD_POD: [u8; 4] = [10, 245, 9, 5];
pub const NATIVE: [u8; 4] = [10, 9, 0, 2];
pub const NOWHERE: [u8; 4] = [172, 16, 0, 1];

pub const INNER_MTU: u16 = 1450;

/// A clock that a test moves.
#[derive(Clone, Debug, Default)]
pub struct Hand(pub Rc<Cell<u64>>);

impl Clock for Hand {
    fn now(&self) -> Tick {
        self.0.set(self.0.get() + 100);
        Tick(self.0.get())
    }
}

pub struct Gateway {
    pub worker: Worker<MemPort, Hand>,
    pub publisher: Publisher,
    pub tables: TablesWriter,
    pub clock: Hand,
    before: Stats,
}

/// What became of one packet.
#[derive(Debug)]
pub struct Outcome {
    pub sent: Vec<(PortId, Vec<u8>)>,
    pub drops: Vec<(DropReason, u64)>,
    pub journeys: [u64; Journey::ALL.len()],
    pub replied: u64,
}

impl Outcome {
    /// The one frame that left, and by which port.
    pub fn only(&self) -> (PortId, &[u8]) {
        assert_eq!(self.sent.len(), 1, "{self:?}");
        (self.sent[0].0, &self.sent[0].1)
    }

    pub fn reason(&self) -> DropReason {
        assert!(self.drops.len() == 1 && self.drops[0].1 == 1 && self.sent.is_empty(), "{self:?}");
        self.drops[0].0
    }
}

pub fn rings() -> MemRings {
    MemRings { rx: 256, tx: 256, fill: 256 }
}

pub fn settings() -> Settings {
    // as large a cache as workers have if nobody says otherwise
    Settings { burst: 32, cache_entries: 65_536, hasher: Keyed::new(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345) }
}

pub fn overlay(name: &str, vni: u32, udp_port: u16, local: [u8; 4], mac: [u8; 6]) -> Overlay {
    Overlay {
        name: name.into(),
        vni: Vni::new(vni).unwrap(),
        udp_port,
        local: Ipv4Addr::from(local).into(),
        mac: Mac(mac),
        addresses: Addresses::default(),
        mtu: None,
        dscp: Dscp::Pipe(0),
        source_check: true,
        fit: Fit::default(),
        gbp: false,
        inner_vlan: 0,
        zero_checksum: false,
    }
}

pub fn overlays() -> Vec<Overlay> {
    let mut blue = overlay("blue", 1, 8472, BLUE_VTEP, BLUE_MAC);
    blue.addresses.v4 = Some(BLUE_ADDRESS.into());
    vec![blue, overlay("green", 7, 4789, GREEN_VTEP, GREEN_MAC)]
}

pub fn peer(overlays: &[Overlay], overlay: u16, (vtep, node_mac): ([u8; 4], [u8; 6]), reachable: bool) -> Peer {
    let of = &overlays[usize::from(overlay)];
    let std::net::IpAddr::V4(local) = of.local else { panic!("IPv4 here") };
    let header = OuterV4::prebuilt(&Ends {
        link: (Mac(ROUTER), Mac(PORT_MACS[0])),
        vtep: (Ipv4Addr::from(vtep), local),
        inner: (Mac(node_mac), of.mac),
        udp_port: of.udp_port,
        vni: of.vni,
        dscp: 0,
    });
    let way = Way { port: UNDERLAY, header: OuterHeader::V4(header), tos_mask: 3, mtu: INNER_MTU };
    Peer {
        overlay: OverlayId(overlay),
        vtep: Ipv4Addr::from(vtep).into(),
        mac: Mac(node_mac),
        zero_checksum: false,
        way: reachable.then_some(way),
    }
}

/// What is known of both ports.
pub fn ports() -> Vec<PortFacts> {
    let facts = |n: usize, v4: Option<[u8; 4]>| {
        let addresses = Addresses { v4: v4.map(Ipv4Addr::from), v6: None };
        PortFacts { mac: Mac(PORT_MACS[n]), addresses, proxy: false }
    };
    vec![facts(0, None), facts(1, Some(ACCESS_ADDRESS))]
}

pub fn tables() -> TablesWriter {
    let mut t = TablesWriter::new(overlays(), ports());
    fill(&mut t);
    t
}

/// Puts nodes, pods and the native network into tables.
pub fn fill(t: &mut TablesWriter) {
    let overlays = overlays();
    let nodes = [(0, BLUE_NODE, true), (0, BLUE_NODE_2, true), (1, GREEN_NODE, true), (1, DEAD_NODE, false)];
    let pods = ["10.244.1.0/24", "10.244.2.0/24", "10.245.1.0/24", "10.245.9.0/24"];
    for (id, ((overlay, node, alive), prefix)) in nodes.into_iter().zip(pods).enumerate() {
        t.set_peer(PeerId(id as u32), Some(peer(&overlays, overlay, node, alive)));
        t.set_route(prefix.parse().unwrap(), Action::Encap(PeerId(id as u32)));
    }
    let way = Some((Ethernet::ipv4(Mac(HOST), Mac(PORT_MACS[1])), 1500));
    t.set_hop(HopId(0), Some(NextHop { port: ACCESS, addr: Ipv4Addr::from(NATIVE).into(), way }));
    t.set_route("10.9.0.0/24".parse().unwrap(), Action::Deliver(HopId(0)));
    t.set_route("10.244.255.1/32".parse().unwrap(), Action::Local);
}

/// A worker on two in-memory ports.
pub fn worker<C: Clock>(
    tables: TablesWriter,
    rings: MemRings,
    clock: C,
) -> (Worker<MemPort, C>, Publisher, TablesWriter) {
    worker_on([MemPort::new(rings), MemPort::new(rings)], tables, clock)
}

/// A worker on these two ports.
pub fn worker_on<C: Clock>(
    [underlay, access]: [MemPort; 2],
    mut tables: TablesWriter,
    clock: C,
) -> (Worker<MemPort, C>, Publisher, TablesWriter) {
    let pool = Pool::new(Umem::new(2048, 2048, Backing::Pages).unwrap()).unwrap();
    let (publisher, mut subscribers) = channel(1, tables.publish());
    let ports = vec![(underlay, Side::Underlay), (access, Side::Access)];
    let subscriber = subscribers.pop().unwrap();
    (Worker::with_clock(ports, pool, subscriber, &settings(), clock), publisher, tables)
}

impl Gateway {
    pub fn new() -> Self {
        Self::with(tables(), rings())
    }

    pub fn with(tables: TablesWriter, rings: MemRings) -> Self {
        Self::on([MemPort::new(rings), MemPort::new(rings)], tables)
    }

    /// The gateway on these two ports.
    pub fn on(ports: [MemPort; 2], tables: TablesWriter) -> Self {
        let clock = Hand::default();
        let (mut worker, publisher, tables) = worker_on(ports, tables, clock.clone());
        worker.turn();
        let before = worker.stats().clone();
        Self { worker, publisher, tables, clock, before }
    }

    /// Puts changes of `self.tables` in force.
    pub fn publish(&mut self) {
        let version = self.tables.publish();
        self.publisher.publish(version);
    }

    /// Lets packets arrive, takes turns until nothing moves, and balances the books.
    pub fn receive(&mut self, port: PortId, frames: &[&[u8]]) -> Outcome {
        for frame in frames {
            let (pool, wire) = self.worker.wire(port);
            assert!(wire.inject(pool, frame), "the test's frame did not get in");
        }
        while self.worker.turn() > 0 {}
        self.worker.turn();
        self.settle(frames.len() as u64)
    }

    pub fn settle(&mut self, received: u64) -> Outcome {
        let mut sent = Vec::new();
        for port in [UNDERLAY, ACCESS] {
            let (_, wire) = self.worker.wire(port);
            sent.extend(wire.take_sent().into_iter().map(|f| (port, f)));
        }
        let now = self.worker.stats().clone();
        let before = std::mem::replace(&mut self.before, now.clone());
        assert_eq!(now.received() - before.received(), received, "every frame was received");
        assert_eq!(now.received(), now.accounted(), "rx = forwarded + replied + drops: {now:?}");
        assert_eq!(now.found(), now.total, "every chunk is in one place: {now:?}");
        let drops = |d: &Drops| d.iter().collect::<Vec<_>>();
        let changed = drops(&now.drops).into_iter().zip(drops(&before.drops)).map(|((r, a), (_, b))| (r, a - b));
        let mut journeys = now.journeys;
        journeys.iter_mut().zip(before.journeys).for_each(|(a, b)| *a -= b);
        Outcome {
            sent,
            drops: changed.filter(|(_, n)| *n > 0).collect(),
            journeys,
            replied: now.replied - before.replied,
        }
    }
}

/// A plain frame from the access network to the gateway.
pub fn plain(ip: &Ip) -> Vec<u8> {
    ethernet(PORT_MACS[1], HOST, 0x0800, &ip.bytes())
}

/// A VXLAN packet from a blue node to the gateway, ready to be spoilt.
pub fn from_blue(ip: &Ip) -> Vxlan {
    Vxlan {
        link: (PORT_MACS[0], ROUTER),
        outer: Ip::new(BLUE_NODE.0, BLUE_VTEP, 17, vec![]),
        udp_port: 8472,
        flags: 8,
        vni: 1,
        inner: ethernet(BLUE_MAC, BLUE_NODE.1, 0x0800, &ip.bytes()),
    }
}

/// Chunks a port holds, for whoever wants to look.
pub fn held(gateway: &mut Gateway, port: PortId) -> u32 {
    let (_, wire) = gateway.worker.wire(port);
    wire.held().rx + wire.held().tx
}
