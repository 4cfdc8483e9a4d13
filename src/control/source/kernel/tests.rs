//! Facts in, news out: what a listing and what single changes come to.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fact::{At, Fact, Hop, Kind, Link, Nexthop, Place, Remote, Route, Vxlan, Way};
use super::mirror::Mirror;
use super::{MAIN_TABLE, Options, Segment};
use crate::control::source::{Claim, Key, News, Object, Refusal};
use crate::wire::{Mac, Prefix, Vni};

const ETH0: u32 = 2;
const VXLAN: u32 = 3;
const BRIDGE: u32 = 4;
const VLAN: u32 = 5;

fn mirror(listing: Vec<Fact>) -> Mirror {
    let options = Options { device: "vxlan7".to_owned(), table: MAIN_TABLE };
    let segment = Segment { vni: Vni::new(7).unwrap(), udp_port: 4789, local: [192, 0, 2, 1].into() };
    Mirror::new(options, segment, listing)
}

fn link(ifindex: u32, name: &str, kind: Kind) -> Link {
    let master = (ifindex == VXLAN).then_some(BRIDGE);
    Link { ifindex, name: name.to_owned(), up: true, master, kind }
}

fn vxlan() -> Vxlan {
    Vxlan { vni: 7, udp_port: 4789, local: Some([192, 0, 2, 1].into()), external: false }
}

fn links() -> Vec<Fact> {
    let links = [
        link(ETH0, "eth0", Kind::Other),
        link(VXLAN, "vxlan7", Kind::Vxlan(vxlan())),
        link(BRIDGE, "br0", Kind::Bridge),
        link(VLAN, "br0.100", Kind::Vlan { on: BRIDGE, id: 100 }),
    ];
    links.map(Fact::Link).into()
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn vtep(last: u8) -> Remote {
    Remote::Vtep { addr: [192, 0, 2, last].into(), vni: None, udp_port: None }
}

fn prefix(third: u8) -> Prefix {
    Prefix::new([10, 244, third, 0].into(), 24).unwrap()
}

fn at(ifindex: u32, third: u8) -> At {
    At { ifindex, addr: [10, 244, third, 9].into() }
}

fn hop(ifindex: u32, third: u8) -> Hop {
    Hop { ifindex, gateway: Some(at(ifindex, third).addr) }
}

fn route(third: u8, metric: u32, way: Way) -> Fact {
    Fact::Route { prefix: prefix(third), route: Route { metric, way }, place: Place::Last }
}

fn via(third: u8, hops: &[Hop]) -> Fact {
    route(third, 0, Way::Hops(hops.to_vec()))
}

fn neighbour(at: At, last: u8) -> Fact {
    Fact::Neighbour { at, mac: Some(mac(last)) }
}

fn forward(last: u8, to: Remote) -> Fact {
    Fact::Forward { ifindex: VXLAN, mac: mac(last), to }
}

/// A mirror, and what its listener believes.
struct Listener {
    mirror: Mirror,
    objects: BTreeMap<Key, Object>,
}

impl Listener {
    fn new(facts: impl IntoIterator<Item = Fact>) -> Self {
        let listing = links().into_iter().chain(facts).collect();
        let mut listener = Self { mirror: mirror(listing), objects: BTreeMap::new() };
        listener.settle();
        listener
    }

    fn hear(&mut self, facts: impl IntoIterator<Item = Fact>) {
        facts.into_iter().for_each(|fact| self.mirror.hear(fact));
        self.settle();
    }

    fn settle(&mut self) {
        while self.mirror.is_dirty() {
            for news in self.mirror.changes(3).news() {
                match news {
                    News::Is(object) => drop(self.objects.insert(object.key.clone(), object)),
                    News::Gone(key) => assert!(self.objects.remove(&key).is_some(), "{key} was never told of"),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(self.objects, self.mirror.all());
    }

    fn object(&self, key: &str) -> Option<&Object> {
        self.objects.get(key)
    }

    /// The VTEPs that a prefix is behind, by their last octet, each with the last of its MAC address.
    fn ways(&self, third: u8) -> Vec<(u8, u8)> {
        let object = self.object(&format!("10.244.{third}.0/24 dev vxlan7"));
        let claims = object.map_or(&[][..], |object| &object.claims);
        assert!(claims.iter().all(|claim| claim.prefix == prefix(third)), "{claims:?}");
        claims.iter().map(last_octets).collect()
    }

    /// The only fault of a prefix's route.
    fn fault(&self, third: u8) -> (Refusal, &str) {
        let object = self.object(&format!("10.244.{third}.0/24 dev vxlan7")).expect("it is told of");
        let [fault] = &object.faults[..] else { panic!("{object:?}") };
        (fault.refusal, &fault.what)
    }
}

fn last_octets(claim: &Claim) -> (u8, u8) {
    let last = match claim.vtep {
        std::net::IpAddr::V4(addr) => addr.octets()[3],
        std::net::IpAddr::V6(addr) => addr.octets()[15],
    };
    (last, claim.mac.0[5])
}

/// One node as flanneld programs it.
fn node(third: u8) -> [Fact; 3] {
    let at = at(VXLAN, third);
    [neighbour(at, third), forward(third, vtep(third)), via(third, &[hop(VXLAN, third)])]
}

#[test]
fn a_node_comes_moves_and_goes() {
    let mut listener = Listener::new(node(2));
    assert_eq!(listener.ways(2), [(2, 2)]);
    listener.hear(node(3));
    assert_eq!((listener.ways(2), listener.ways(3)), (vec![(2, 2)], vec![(3, 3)]));
    listener.hear([forward(2, vtep(12))]);
    assert_eq!(listener.ways(2), [(12, 2)], "its address");
    listener.hear([neighbour(at(VXLAN, 2), 22), forward(22, vtep(12))]);
    assert_eq!(listener.ways(2), [(12, 22)], "its MAC address");
    let gone = Route { metric: 0, way: Way::Hops(vec![hop(VXLAN, 2)]) };
    listener.hear([Fact::RouteGone { prefix: prefix(2), route: gone }]);
    assert_eq!((listener.object("10.244.2.0/24 dev vxlan7"), listener.ways(3)), (None, vec![(3, 3)]));
    assert!(!listener.mirror.is_stale());
}

#[test]
fn each_step_that_is_missing_is_named() {
    let mut listener = Listener::new([via(2, &[hop(VXLAN, 2)])]);
    let says = |listener: &Listener, refusal, part: &str| {
        let (is, what) = listener.fault(2);
        assert!(is == refusal && what.contains(part), "{is:?}: {what}");
        assert!(listener.ways(2).is_empty());
    };
    says(&listener, Refusal::Malformed, "10.244.2.9 is no neighbour with a MAC address on vxlan7");
    listener.hear([neighbour(at(VXLAN, 2), 2)]);
    says(&listener, Refusal::Malformed, "no entry for 02:00:00:00:00:02, nor a default one");
    let flood = |last, there| match there {
        true => Fact::Forward { ifindex: VXLAN, mac: Mac::ZERO, to: vtep(last) },
        false => Fact::ForwardGone { ifindex: VXLAN, mac: Mac::ZERO, to: vtep(last) },
    };
    listener.hear([flood(8, true)]);
    assert_eq!(listener.ways(2), [(8, 2)], "the only VTEP there is");
    listener.hear([flood(9, true)]);
    says(&listener, Refusal::Malformed, "and 2 default ones");
    listener.hear([flood(8, false)]);
    assert_eq!(listener.ways(2), [(9, 2)]);
    let port = Remote::Vtep { addr: [192, 0, 2, 2].into(), vni: None, udp_port: Some(8472) };
    listener.hear([forward(2, port)]);
    says(&listener, Refusal::OtherSegment, "UDP port 8472, not the overlay's 4789");
    let vni = Remote::Vtep { addr: [192, 0, 2, 2].into(), vni: Some(8), udp_port: None };
    listener.hear([forward(2, vni)]);
    says(&listener, Refusal::OtherSegment, "VNI 8, not the overlay's 7");
    let v6 = Remote::Vtep { addr: "2001:db8::2".parse().unwrap(), vni: None, udp_port: None };
    listener.hear([forward(2, v6)]);
    says(&listener, Refusal::NoFamily, "2001:db8::2");
    listener.hear([forward(2, Remote::Nexthop(70))]);
    says(&listener, Refusal::Malformed, "no VTEP");
    listener.hear([Fact::Neighbour { at: at(VXLAN, 2), mac: None }, via(2, &[hop(VXLAN, 2), hop(ETH0, 2)])]);
    assert_eq!(listener.ways(2), []);
}

#[test]
fn groups_of_routes_and_of_forwarding_entries_are_equal_ways() {
    let member = |third: u8| Fact::Nexthop(third.into(), Nexthop::Hop(hop(BRIDGE, third)));
    let fdb = |last: u8| {
        let to = Hop { ifindex: 0, gateway: Some([192, 0, 2, last].into()) };
        Fact::Nexthop(u32::from(last) + 100, Nexthop::Hop(to))
    };
    let mut listener = Listener::new([
        member(2),
        member(3),
        Fact::Nexthop(50, Nexthop::Group(vec![2, 3])),
        route(9, 20, Way::Nexthop(50)),
        neighbour(at(BRIDGE, 2), 2),
        neighbour(at(BRIDGE, 3), 3),
        forward(2, vtep(2)),
        fdb(3),
        fdb(4),
        Fact::Nexthop(60, Nexthop::Group(vec![103, 104])),
        forward(3, Remote::Nexthop(60)),
    ]);
    assert_eq!(listener.ways(9), [(2, 2), (3, 3), (4, 3)]);
    listener.hear([Fact::Nexthop(60, Nexthop::Group(vec![104]))]);
    assert_eq!(listener.ways(9), [(2, 2), (4, 3)]);
    listener.hear([Fact::NexthopGone(2), Fact::Nexthop(50, Nexthop::Group(vec![3]))]);
    assert_eq!(listener.ways(9), [(4, 3)]);
    listener.hear([Fact::NexthopGone(50)]);
    assert_eq!(listener.object("10.244.9.0/24 dev vxlan7"), None, "the route went with it");
    listener.hear([Fact::Nexthop(50, Nexthop::Group(vec![3]))]);
    assert_eq!(listener.object("10.244.9.0/24 dev vxlan7"), None, "and does not come back with another of that number");
}

#[test]
fn the_route_in_force_counts() {
    let direct = route(2, 5, Way::Hops(vec![hop(ETH0, 2)]));
    let tunnelled = route(2, 10, Way::Hops(vec![hop(VXLAN, 2)]));
    let mut listener = Listener::new(node(3).into_iter().chain([direct, tunnelled]));
    assert_eq!(listener.object("10.244.2.0/24 dev vxlan7"), None);
    listener.hear([neighbour(at(VXLAN, 2), 2), forward(2, vtep(2))]);
    listener.hear([Fact::Link(Link { up: false, ..link(ETH0, "eth0", Kind::Other) })]);
    assert_eq!(listener.ways(2), [(2, 2)], "a link that goes down takes its routes with it, unsaid");
    assert!(!listener.mirror.is_stale());
    listener.hear([via(3, &[])]);
    assert_eq!(listener.ways(3), [(3, 3)], "a blackhole behind it");
}

#[test]
fn a_bridge_with_vlans_has_each_mac_address_behind_the_device_in_some() {
    let facts = [neighbour(at(VLAN, 2), 2), forward(2, vtep(2)), via(2, &[hop(VLAN, 2)])];
    let mut listener = Listener::new(facts);
    assert!(listener.fault(2).1.contains("behind vxlan7 in VLAN 100"), "{:?}", listener.fault(2));
    let bridged = |vlan, there| Fact::Bridged { port: VXLAN, mac: mac(2), vlan: Some(vlan), there };
    listener.hear([bridged(200, true), Fact::Bridged { port: ETH0, mac: mac(2), vlan: Some(100), there: true }]);
    assert!(listener.ways(2).is_empty());
    listener.hear([bridged(100, true)]);
    assert_eq!(listener.ways(2), [(2, 2)]);
    listener.hear([bridged(100, false)]);
    assert!(listener.ways(2).is_empty());
}

#[test]
fn hosts_of_a_prefix_on_the_bridge_are_prefixes_of_their_own() {
    let on_link = Hop { ifindex: BRIDGE, gateway: None };
    let local = At { ifindex: BRIDGE, addr: "fe80::9".parse().unwrap() };
    let mut listener = Listener::new([
        via(2, &[on_link]),
        neighbour(at(BRIDGE, 2), 2),
        neighbour(at(BRIDGE, 3), 2),
        neighbour(local, 2),
        forward(2, vtep(2)),
    ]);
    let host = "10.244.2.9 dev br0";
    assert_eq!(listener.objects.len(), 1, "{:?}", listener.objects);
    let claims = &listener.object(host).unwrap().claims;
    assert_eq!((claims[0].prefix, last_octets(&claims[0])), (Prefix::host([10, 244, 2, 9].into()), (2, 2)));
    // a route to it says more
    let alone = Prefix::host([10, 244, 2, 9].into());
    let way = Way::Hops(vec![hop(BRIDGE, 3)]);
    let exact = Route { metric: 0, way };
    listener.hear([Fact::Route { prefix: alone, route: exact.clone(), place: Place::First }]);
    assert!(listener.object(host).is_none() && listener.object("10.244.2.9/32 dev vxlan7").is_some());
    listener.hear([Fact::RouteGone { prefix: alone, route: exact }]);
    assert!(listener.object(host).is_some());
    let gone = Route { metric: 0, way: Way::Hops(vec![on_link]) };
    listener.hear([Fact::RouteGone { prefix: prefix(2), route: gone }]);
    assert!(listener.objects.is_empty(), "{:?}", listener.objects);
}

#[test]
fn one_address_in_two_places_is_told_of_by_each() {
    let on_link = |ifindex| Hop { ifindex, gateway: None };
    let bridged = Fact::Bridged { port: VXLAN, mac: mac(3), vlan: Some(100), there: true };
    let mut listener = Listener::new([
        via(2, &[on_link(BRIDGE), on_link(VLAN)]),
        bridged,
        neighbour(at(BRIDGE, 2), 2),
        neighbour(at(VLAN, 2), 3),
        forward(2, vtep(2)),
        forward(3, vtep(3)),
    ]);
    let ways = |listener: &Listener, key| listener.object(key).map(|object| last_octets(&object.claims[0]));
    let (bridge, vlan) = ("10.244.2.9 dev br0", "10.244.2.9 dev br0.100");
    assert_eq!((ways(&listener, bridge), ways(&listener, vlan)), (Some((2, 2)), Some((3, 3))));
    listener.hear([Fact::Neighbour { at: at(BRIDGE, 2), mac: None }]);
    assert_eq!((ways(&listener, bridge), ways(&listener, vlan)), (None, Some((3, 3))));
}

#[test]
fn what_the_kernel_changes_in_silence_takes_another_listing() {
    let fresh = || Listener::new(node(2));
    let stale = |fact| {
        let mut listener = fresh();
        listener.hear([fact]);
        listener.mirror.is_stale()
    };
    assert!(stale(Fact::AddressGone));
    assert!(stale(Fact::LinkGone(VXLAN)) && stale(Fact::LinkGone(BRIDGE)) && !stale(Fact::LinkGone(ETH0)));
    assert!(stale(Fact::Link(Link { up: false, ..link(BRIDGE, "br0", Kind::Bridge) })));
    assert!(stale(Fact::Link(Link { master: None, ..link(VXLAN, "vxlan7", Kind::Vxlan(vxlan())) })));
    assert!(stale(Fact::Link(link(9, "br0.7", Kind::Vlan { on: BRIDGE, id: 7 }))), "another way to it");
    assert!(!stale(Fact::Link(link(BRIDGE, "br0", Kind::Bridge))) && !stale(Fact::Link(link(9, "x", Kind::Other))));
}

#[test]
fn a_device_of_another_segment_is_told_of_and_why() {
    let device = |vxlan: Vxlan| {
        let mut links = links();
        links[1] = Fact::Link(link(VXLAN, "vxlan7", Kind::Vxlan(vxlan)));
        let (object, apart) = mirror(links).device();
        (object.map(|o| o.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")), apart)
    };
    assert_eq!(device(vxlan()), (None, false));
    assert_eq!(device(Vxlan { local: None, ..vxlan() }), (None, false), "the kernel chooses");
    let says = "other_segment: the device has VNI 9, the overlay 7; \
                other_segment: the device has UDP port 8472, the overlay 4789";
    assert_eq!(device(Vxlan { vni: 9, udp_port: 8472, ..vxlan() }), (Some(says.to_owned()), true));
    assert!(device(Vxlan { vni: 0, external: true, ..vxlan() }).1);
    let (says, apart) = device(Vxlan { local: Some([192, 0, 2, 77].into()), ..vxlan() });
    assert!(says.unwrap().contains("local address 192.0.2.77, the overlay 192.0.2.1") && !apart);
    assert!(device(Vxlan { local: Some("2001:db8::1".parse().unwrap()), ..vxlan() }).1);
}

fn any_hop() -> impl Strategy<Value = Hop> {
    let ifindex = prop::sample::select(vec![ETH0, VXLAN, BRIDGE, VLAN]);
    (ifindex, 0..4u8, 0..6u8).prop_map(|(ifindex, third, gateway)| match gateway {
        0 => Hop { ifindex, gateway: None },
        _ => hop(ifindex, third),
    })
}

fn any_way() -> impl Strategy<Value = Way> {
    prop_oneof![prop::collection::vec(any_hop(), 0..3).prop_map(Way::Hops), (0..6u32).prop_map(Way::Nexthop)]
}

fn any_route() -> impl Strategy<Value = (Prefix, Route)> {
    let prefixes = (0..4u8, any::<bool>()).prop_map(|(third, host)| match host {
        true => Prefix::host(at(VXLAN, third).addr),
        false => prefix(third),
    });
    (prefixes, 0..2u32, any_way()).prop_map(|(prefix, metric, way)| (prefix, Route { metric, way }))
}

fn any_remote() -> impl Strategy<Value = Remote> {
    prop_oneof![(1..5u8).prop_map(vtep), (0..6u32).prop_map(Remote::Nexthop), Just(Remote::Nowhere)]
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let ifindex = || prop::sample::select(vec![ETH0, VXLAN, BRIDGE, VLAN]);
    let macs = || (0..4u8).prop_map(|last| if last == 0 { Mac::ZERO } else { mac(last) });
    let place = prop::sample::select(vec![Place::First, Place::Last, Place::Instead]);
    prop_oneof![
        4 => (ifindex(), 0..4u8, prop::option::weighted(0.7, 1..4u8))
            .prop_map(|(ifindex, third, last)| Fact::Neighbour { at: at(ifindex, third), mac: last.map(mac) }),
        3 => (macs(), any_remote()).prop_map(|(mac, to)| Fact::Forward { ifindex: VXLAN, mac, to }),
        1 => (macs(), any_remote()).prop_map(|(mac, to)| Fact::ForwardGone { ifindex: VXLAN, mac, to }),
        1 => (1..4u8, any::<bool>())
            .prop_map(|(last, there)| Fact::Bridged { port: VXLAN, mac: mac(last), vlan: Some(100), there }),
        2 => (0..6u32, any_hop()).prop_map(|(id, hop)| Fact::Nexthop(id, Nexthop::Hop(hop))),
        1 => (0..6u32, prop::collection::vec(0..6u32, 1..3)).prop_map(|(id, ids)| Fact::Nexthop(id, Nexthop::Group(ids))),
        1 => (0..6u32).prop_map(Fact::NexthopGone),
        5 => (any_route(), place).prop_map(|((prefix, route), place)| Fact::Route { prefix, route, place }),
        3 => any_route().prop_map(|(prefix, route)| Fact::RouteGone { prefix, route }),
        1 => Just(Fact::Link(Link { up: false, ..link(ETH0, "eth0", Kind::Other) })),
        1 => Just(Fact::Link(link(ETH0, "eth0", Kind::Other))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// `settle` compares what was told, change by change, with all of it resolved from scratch.
    #[test]
    fn what_is_told_change_by_change_is_what_the_tables_say(facts in prop::collection::vec(any_fact(), 1..80)) {
        let mut listener = Listener::new([]);
        for fact in facts {
            listener.hear([fact]);
        }
    }
}
