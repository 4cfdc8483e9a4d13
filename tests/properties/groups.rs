//! Flows that have several ways (ECMP), from what a source says to the packets that leave: production RIB, compiler, tables
//! and worker; only the kernel's next hops are a test's.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use selvedge::control::compile::{Compiler, PortLink};
use selvedge::control::keeper::{Hop, HopKey, HopState, Unready};
use selvedge::control::rib::{Preference, Rib};
use selvedge::control::source::{Change, Event, SourceId};
use selvedge::control::{Route, Target, Targets};
use selvedge::drops::DropReason;
use selvedge::tables::{Domain, Imports, Overlay, OverlayId, Rules, Tables, TablesWriter};
use selvedge::wire::{Mac, Prefix};

use crate::support::frames::{Ip, Vxlan, arp_request, ethernet};
use crate::support::frames6::Ip6;
use crate::support::six::{NATIVE_6, plain_6};
use crate::support::*;

const SOURCE: SourceId = SourceId(0);
const LINKS: [PortLink; 2] =
    [PortLink { ifindex: 1, mtu: None, underlay: true }, PortLink { ifindex: 2, mtu: None, underlay: false }];
/// What several nodes have.
const SHARED: [u8; 4] = [10, 247, 1, 5];
const SHARED_6: [u8; 16] = [0xfd, 0, 0x02, 0x47, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
const FLOWS: u16 = 2000;

/// A gateway with its control plane, and the next hops that do not answer.
struct Fabric {
    rib: Rib,
    compiler: Compiler,
    gateway: Gateway,
    dead: HashSet<IpAddr>,
}

fn state(dead: &HashSet<IpAddr>, key: &HopKey) -> HopState {
    let (ifindex, addr, mac, source) = match *key {
        HopKey::Routed { dst, .. } => (1, dst, ROUTER, PORT_MACS[0]),
        HopKey::Attached { ifindex, addr } => (ifindex, addr, HOST, PORT_MACS[1]),
    };
    // the way to the second blue node is a narrow one
    let mtu = if addr == IpAddr::from(BLUE_NODE_2.0) { 1350 } else { 1500 };
    let hop = Hop { ifindex, gateway: addr, mac: Mac(mac), source_mac: Mac(source), mtu };
    if dead.contains(&addr) { Err(Unready::Unreachable) } else { Ok(hop) }
}

fn node(overlay: u16, (vtep, mac): ([u8; 4], [u8; 6])) -> Target {
    Target::Vtep { overlay: OverlayId(overlay), vtep: vtep.into(), mac: Mac(mac), zero_checksum: false }
}

/// A blue node of many.
fn blue(n: u8) -> Target {
    node(0, ([192, 0, 2, 100 + n], mac(100 + n)))
}

fn native(n: u8) -> Target {
    Target::Native { port: ACCESS, next_hop: [10, 9, 0, n].into() }
}

impl Fabric {
    fn new() -> Self {
        Self::of(overlays())
    }

    fn of(overlays: Vec<Overlay>) -> Self {
        let mut facts = ports();
        facts[1].proxy = true;
        let writer = TablesWriter::new(overlays.clone(), facts.clone());
        let mut fabric = Self {
            rib: Rib::new([(SOURCE, Preference(10))]),
            compiler: Compiler::new(writer, overlays, LINKS.to_vec()),
            gateway: Gateway::with(TablesWriter::new(vec![], facts), rings()),
            dead: HashSet::new(),
        };
        fabric.publish(); // its first version has the number of the empty one that the worker began with
        for (prefix, target) in [
            ("10.9.0.0/24", native(2)),
            ("fd00:9::/64", native(2)),
            ("10.244.1.0/24", node(0, BLUE_NODE)),
            ("10.244.2.0/24", node(0, BLUE_NODE_2)),
            ("10.245.1.0/24", node(1, GREEN_NODE)),
        ] {
            fabric.change(Change::Announce(Route { prefix: prefix.parse().unwrap(), target }));
        }
        fabric
    }

    fn change(&mut self, change: Change) {
        let Self { rib, compiler, dead, .. } = self;
        rib.apply(Event { source: SOURCE, change }, |o| compiler.follow(&o, &|key: &HopKey| state(dead, key)));
        self.publish();
    }

    fn publish(&mut self) {
        self.gateway.publisher.publish(self.compiler.writer().publish());
        self.gateway.worker.turn();
    }

    /// The shared prefixes of both families are behind these.
    fn share(&mut self, targets: &[Target]) {
        for prefix in ["10.247.1.0/24", "fd00:247::/64"] {
            let targets = Targets::of(targets.iter().copied()).unwrap();
            self.change(Change::AnnounceAll(prefix.parse().unwrap(), targets));
        }
    }

    /// A next hop is there, or is not.
    fn set_alive(&mut self, addr: IpAddr, alive: bool) {
        if alive {
            self.dead.remove(&addr)
        } else {
            self.dead.insert(addr)
        };
        let keys: Vec<HopKey> = self.compiler.wanted().collect();
        for key in keys {
            self.compiler.resolve(&key, &state(&self.dead, &key));
        }
        self.publish();
    }

    /// Where each of many flows from the access side goes: the outer destination.
    fn ways(&mut self) -> Vec<Ipv4Addr> {
        (0..FLOWS).map(|n| self.way(&plain(&Ip::udp(NATIVE, SHARED, (1000 + n, 53), b"x")))).collect()
    }

    fn way(&mut self, frame: &[u8]) -> Ipv4Addr {
        let outcome = self.gateway.receive(ACCESS, &[frame]);
        let (port, frame) = outcome.only();
        assert_eq!(port, UNDERLAY);
        Ipv4Addr::from(<[u8; 4]>::try_from(&frame[30..34]).unwrap())
    }
}

fn shares(ways: &[Ipv4Addr]) -> BTreeMap<Ipv4Addr, usize> {
    ways.iter().fold(BTreeMap::new(), |mut all, way| {
        *all.entry(*way).or_default() += 1;
        all
    })
}

/// A packet of a node of the blue overlay.
fn from((vtep, mac): ([u8; 4], [u8; 6]), ip: &Ip) -> Vec<u8> {
    let blue = from_blue(ip);
    let inner = ethernet(BLUE_MAC, mac, 0x0800, &ip.bytes());
    Vxlan { outer: Ip::new(vtep, BLUE_VTEP, 17, vec![]), inner, ..blue }.frame()
}

#[test]
fn flows_spread_evenly_and_stay_whatever_else_changes() {
    let mut f = Fabric::new();
    f.share(&[blue(0), blue(1), blue(2), blue(3)]);
    let ways = f.ways();
    let shares = shares(&ways);
    // of 2,000 flows by fourths of 1,024 buckets: five standard deviations of both draws together
    assert!(shares.len() == 4 && shares.values().all(|n| n.abs_diff(500) < 170), "{shares:?}");
    assert_eq!(f.ways(), ways, "from the cache");
    f.change(Change::Announce(Route { prefix: "10.248.0.0/16".parse().unwrap(), target: blue(9) }));
    assert_eq!(f.ways(), ways, "in another version");
    let routes = f.compiler.writer().routes();
    f.share(&[blue(3), blue(2), blue(1), blue(0)]);
    assert_eq!((f.ways(), f.compiler.writer().routes()), (ways, routes));
}

#[test]
fn only_the_flows_of_a_member_that_goes_move_and_they_come_back_with_it() {
    let mut f = Fabric::new();
    let gone = IpAddr::from([192, 0, 2, 101]);
    f.share(&[blue(0), blue(1), blue(2), blue(3)]);
    let before = f.ways();
    let moved = |after: &[Ipv4Addr]| {
        let pairs = before.iter().zip(after);
        assert!(pairs.clone().all(|(before, after)| before == after || IpAddr::from(*before) == gone));
        assert!(after.iter().all(|way| IpAddr::from(*way) != gone));
        assert_eq!(shares(after).len(), 3, "to all others");
        after.to_vec()
    };
    f.set_alive(gone, false);
    let dead = moved(&f.ways());
    f.set_alive(gone, true);
    assert_eq!(f.ways(), before);
    f.share(&[blue(0), blue(2), blue(3)]);
    assert_eq!(moved(&f.ways()), dead, "the source says so, and the kernel need not");
    f.share(&[blue(0), blue(1), blue(2), blue(3)]);
    assert_eq!(f.ways(), before);
    // nobody is there: the packets are dropped for what they would be with one way
    for n in 0..4 {
        f.set_alive([192, 0, 2, 100 + n].into(), false);
    }
    let packet = plain(&Ip::udp(NATIVE, SHARED, (1, 2), b"x"));
    assert_eq!(f.gateway.receive(ACCESS, &[&packet]).reason(), DropReason::NoNeighbour);
    f.set_alive(gone, true);
    assert_eq!(shares(&f.ways()).len(), 1);
}

#[test]
fn a_member_that_comes_or_goes_changes_a_row_and_no_route() {
    let mut f = Fabric::new();
    f.change(Change::AnnounceAll(Prefix::host(SHARED.into()), Targets::of([blue(0), blue(1)]).unwrap()));
    let before = f.compiler.writer().publish();
    f.change(Change::AnnounceAll(Prefix::host(SHARED.into()), Targets::of([blue(1), blue(2)]).unwrap()));
    let after = f.compiler.writer().publish();
    let lookup = |t: &Tables| t.lookup(Domain(0), SHARED.into());
    assert!(lookup(&before).is_some() && lookup(&before) == lookup(&after));
    assert!(after.unchanged_since(Domain(0), SHARED.into(), before.epoch()));
    assert_eq!(shares(&f.ways()).len(), 2);
    assert_eq!(after.peer_by_source(OverlayId(0), [192, 0, 2, 100].into()), None, "who left is no peer any more");
    f.change(Change::Withdraw(Prefix::host(SHARED.into())));
    let packet = plain(&Ip::udp(NATIVE, SHARED, (1, 2), b"x"));
    assert_eq!(f.gateway.receive(ACCESS, &[&packet]).reason(), DropReason::NoRoute);
    assert_eq!(f.compiler.wanted().count(), 4, "next hops of the other routes only");
}

#[test]
fn every_member_may_send_from_what_all_have_and_nobody_else() {
    let mut f = Fabric::new();
    f.share(&[node(0, BLUE_NODE), node(0, BLUE_NODE_2), node(1, GREEN_NODE)]);
    let ip = Ip::udp(SHARED, NATIVE, (1, 2), b"x");
    for _ in 0..2 {
        for member in [BLUE_NODE, BLUE_NODE_2] {
            assert_eq!(f.gateway.receive(UNDERLAY, &[&from(member, &ip)]).only().0, ACCESS);
        }
    }
    f.change(Change::Announce(Route { prefix: "10.249.0.0/24".parse().unwrap(), target: blue(0) }));
    let stranger = from(([192, 0, 2, 100], mac(100)), &ip);
    for _ in 0..2 {
        assert_eq!(f.gateway.receive(UNDERLAY, &[&stranger]).reason(), DropReason::InnerSource);
    }
    // from the access side neither
    let spoofed = plain(&Ip::udp(SHARED, [10, 244, 1, 9], (1, 2), b"x"));
    for _ in 0..2 {
        assert_eq!(f.gateway.receive(ACCESS, &[&spoofed]).reason(), DropReason::Source);
    }
}

/// Of the overlays of all ways to a source the strictest counts, unless it may be on the access side.
#[test]
fn who_may_send_from_the_access_side_is_up_to_the_overlays_that_have_the_address() {
    let mut all = overlays();
    all[1].source_check = false;
    let mut f = Fabric::of(all);
    let green_too = node(1, ([192, 0, 2, 22], mac(22)));
    let (watched, open) = (Some(DropReason::Source), None);
    let sends = |f: &mut Fabric, src, want: Option<DropReason>| {
        for _ in 0..2 {
            let outcome = f.gateway.receive(ACCESS, &[&plain(&Ip::udp(src, [10, 244, 1, 9], (1, 2), b"x"))]);
            match want {
                Some(reason) => assert_eq!(outcome.reason(), reason),
                None => assert_eq!(outcome.only().0, UNDERLAY),
            }
        }
    };
    sends(&mut f, BLUE_POD, watched);
    sends(&mut f, GREEN_POD, open);
    for (members, want) in [
        ([node(0, BLUE_NODE), node(0, BLUE_NODE_2)], watched),
        ([node(0, BLUE_NODE), node(1, GREEN_NODE)], watched),
        ([node(1, GREEN_NODE), green_too], open),
        ([node(0, BLUE_NODE), native(7)], open),
    ] {
        f.share(&members);
        sends(&mut f, SHARED, want);
    }
}

#[test]
fn a_member_does_not_reach_its_own_prefix_through_the_gateway() {
    let mut f = Fabric::new();
    f.share(&[node(0, BLUE_NODE), node(1, GREEN_NODE)]);
    for _ in 0..2 {
        let back = from(BLUE_NODE, &Ip::udp(BLUE_POD, SHARED, (1, 2), b"x"));
        assert_eq!(f.gateway.receive(UNDERLAY, &[&back]).reason(), DropReason::BackToSender);
        let mut members = BTreeMap::new();
        for n in 0..200 {
            let on = from(BLUE_NODE_2, &Ip::udp(BLUE_POD_2, SHARED, (n, 2), b"x"));
            let outcome = f.gateway.receive(UNDERLAY, &[&on]);
            let (port, frame) = outcome.only();
            assert_eq!((port, outcome.journeys[2]), (UNDERLAY, 1));
            *members.entry(frame[30..34].to_vec()).or_insert(0) += 1;
        }
        assert!(members.len() == 2 && members.values().all(|n| *n > 50), "{members:?}");
    }
}

#[test]
fn a_packet_that_is_too_big_for_its_member_learns_the_mtu_of_that_member() {
    let mut f = Fabric::new();
    f.share(&[node(0, BLUE_NODE), node(0, BLUE_NODE_2)]);
    let (mut passed, mut told) = (0, 0);
    for n in 0..40 {
        let ip = Ip::udp(NATIVE, SHARED, (n, 2), &[7; 1350]);
        let narrow = f.way(&plain(&Ip { payload: ip.payload[..100].to_vec(), ..ip.clone() }));
        let outcome = f.gateway.receive(ACCESS, &[&plain(&ip)]);
        if narrow == Ipv4Addr::from(BLUE_NODE_2.0) {
            let (port, frame) = outcome.only();
            assert_eq!((port, &frame[34..36], &frame[40..42]), (ACCESS, &[3, 4][..], &1300u16.to_be_bytes()[..]));
            told += 1;
        } else {
            assert_eq!(outcome.only().0, UNDERLAY);
            passed += 1;
        }
    }
    assert!(passed > 5 && told > 5, "{passed} {told}");
}

#[test]
fn ipv6_flows_and_native_next_hops_spread_as_well() {
    let mut f = Fabric::new();
    f.share(&[blue(0), blue(1)]);
    let six: Vec<_> =
        (0..FLOWS).map(|n| f.way(&plain_6(&Ip6::udp(NATIVE_6, SHARED_6, (1000 + n, 53), b"x")))).collect();
    assert!(shares(&six).len() == 2 && shares(&six).values().all(|n| n.abs_diff(1000) < 250), "{:?}", shares(&six));
    f.share(&[native(7), native(8)]);
    let outcome = f.gateway.receive(UNDERLAY, &[&from(BLUE_NODE, &Ip::udp(BLUE_POD, SHARED, (1, 2), b"x"))]);
    assert_eq!((outcome.only().0, outcome.journeys[1]), (ACCESS, 1));
    // addresses that next hops of the access side have are nobody's else
    let outcome = f.gateway.receive(ACCESS, &[&plain(&Ip::udp(SHARED, [10, 244, 1, 9], (1, 2), b"x"))]);
    assert_eq!(outcome.only().0, UNDERLAY);
}

#[test]
fn who_asks_on_the_access_side_for_what_several_have_is_answered() {
    let mut f = Fabric::new();
    f.share(&[blue(0), blue(1)]);
    let asked = ethernet([0xff; 6], HOST, 0x0806, &arp_request(NATIVE, SHARED));
    assert_eq!(f.gateway.receive(ACCESS, &[&asked]).replied, 1);
}

/// What is not imported is neither reached nor believed; and its longer prefixes are not passed by.
#[test]
fn imports_decide_whether_a_packet_goes_and_never_where() {
    let mut f = Fabric::new();
    f.share(&[node(0, BLUE_NODE), node(0, BLUE_NODE_2)]);
    f.change(Change::Announce(Route { prefix: "0.0.0.0/0".parse().unwrap(), target: native(2) }));
    let to = |dst| plain(&Ip::udp(NATIVE, dst, (1, 2), b"x"));
    let as_if = plain(&Ip::udp(BLUE_POD, [10, 245, 1, 9], (1, 2), b"x"));
    assert_eq!(f.gateway.receive(ACCESS, &[&to(BLUE_POD)]).only().0, UNDERLAY);
    let only = |overlays: &[u16], prefixes: &[&str]| {
        let overlays = overlays.iter().map(|n| OverlayId(*n)).collect();
        let prefixes = prefixes.iter().map(|p| p.parse().unwrap()).collect();
        Imports::Only(Rules { overlays, natives: false, prefixes })
    };
    let import = |f: &mut Fabric, access: Imports| {
        f.compiler.writer().set_imports(&[access]);
        f.publish();
    };
    import(&mut f, only(&[1], &["10.247.1.5/32"]));
    for _ in 0..2 {
        let outcome = f.gateway.receive(ACCESS, &[&to(BLUE_POD)]);
        assert_eq!(
            outcome.reason(),
            DropReason::NotImported,
            "the cache knew it before, and the default route is there"
        );
        assert_eq!(f.gateway.receive(ACCESS, &[&to([10, 247, 1, 6])]).reason(), DropReason::NotImported);
        assert_eq!(f.gateway.receive(ACCESS, &[&to(SHARED)]).only().0, UNDERLAY);
        assert_eq!(f.gateway.receive(ACCESS, &[&to(GREEN_POD)]).only().0, UNDERLAY);
        assert_eq!(f.gateway.receive(ACCESS, &[&to(NOWHERE)]).journeys[3], 1, "its own is always imported");
        assert_eq!(f.gateway.receive(ACCESS, &[&as_if]).reason(), DropReason::Source, "it cannot come from there");
        let back = from(BLUE_NODE, &Ip::udp(BLUE_POD, GREEN_POD, (1, 2), b"x"));
        assert_eq!(f.gateway.receive(UNDERLAY, &[&back]).journeys[2], 1, "others reach what they did");
    }
    import(&mut f, Imports::All);
    assert_eq!(f.gateway.receive(ACCESS, &[&to(BLUE_POD)]).only().0, UNDERLAY);
}
