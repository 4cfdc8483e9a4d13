//! Routes that change under traffic: every packet goes where the version of the tables in use says, whatever the flow
//! cache remembers of versions before, and none is lost.

mod support;

use proptest::prelude::*;
use selvedge::drops::DropReason;
use selvedge::tables::{Action, Domain, PeerId, Tables};
use selvedge::wire::Prefix;
use std::net::{IpAddr, Ipv4Addr};
use support::frames::Ip;
use support::*;

/// The peers of [`tables`] that answer, by their number there.
const NODES: [([u8; 4], [u8; 6]); 3] = [BLUE_NODE, BLUE_NODE_2, GREEN_NODE];

fn to(dst: Ipv4Addr) -> Vec<u8> {
    plain(&Ip::udp(NATIVE, dst.octets(), (1, 2), b"x"))
}

/// Where a VXLAN packet goes: the outer destination.
fn vtep(frame: &[u8]) -> Ipv4Addr {
    Ipv4Addr::from(<[u8; 4]>::try_from(&frame[30..34]).unwrap())
}

#[test]
fn ten_thousand_versions_lose_nothing_and_mislead_nobody() {
    const PODS: usize = 40;
    let pod = |n: usize| Ipv4Addr::from([10, 244, 3 + (n % 4) as u8, 1 + n as u8]);
    let mut g = Gateway::new();
    let mut at: Vec<usize> = (0..PODS).map(|n| n % NODES.len()).collect();
    let set = |g: &mut Gateway, n: usize, node: usize| {
        g.tables.set_route(Prefix::host(pod(n).into()), Action::Encap(PeerId(node as u32)));
    };
    at.iter().enumerate().for_each(|(n, node)| set(&mut g, n, *node));
    g.publish();
    let mut sent = 0;
    for version in 0..10_000usize {
        let mover = version * 7 % PODS;
        at[mover] = (at[mover] + 1 + version % 2) % NODES.len();
        set(&mut g, mover, at[mover]);
        // the one that moves, one that moved before, and one that another version will move
        let probes = [mover, (mover + PODS - 7) % PODS, (version * 11 + 3) % PODS];
        // they wait in the ring when the version comes
        for n in probes {
            let (pool, wire) = g.worker.wire(ACCESS);
            assert!(wire.inject(pool, &to(pod(n))));
        }
        g.publish();
        while g.worker.turn() > 0 {}
        let outcome = g.settle(probes.len() as u64);
        assert_eq!(outcome.drops, [], "version {version}");
        let went: Vec<_> = outcome.sent.iter().map(|(port, frame)| (*port, vtep(frame))).collect();
        let should = probes.map(|n| (UNDERLAY, Ipv4Addr::from(NODES[at[n]].0)));
        assert_eq!(went, should, "version {version}");
        sent += went.len();
    }
    assert_eq!((sent, g.publisher.adopted()), (30_000, g.tables.publish().epoch() - 1));
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// A route comes, or moves.
    Set(Prefix, u32),
    Remove(Prefix),
    /// The row of a peer gets the content of another node.
    Renumber(u32, usize),
    Publish,
    /// Packets to all probes.
    Traffic,
}

/// Few addresses in few networks, so that prefixes nest and everything happens to what is in the cache.
fn address() -> impl Strategy<Value = Ipv4Addr> {
    (0u8..3, 0u8..3, 0u8..4).prop_map(|(b, c, d)| Ipv4Addr::from([10, 100 + b, 16 * c, 1 + d]))
}

fn prefix() -> impl Strategy<Value = Prefix> {
    (address(), prop::sample::select(vec![8u8, 14, 16, 20, 22, 24, 28, 31, 32]))
        .prop_map(|(addr, len)| Prefix::host(addr.into()).widened(len))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (prefix(), 0u32..3).prop_map(|(prefix, peer)| Step::Set(prefix, peer)),
        3 => prefix().prop_map(Step::Remove),
        1 => (0u32..3, 0usize..3).prop_map(|(row, node)| Step::Renumber(row, node)),
        4 => Just(Step::Publish),
        4 => Just(Step::Traffic),
    ]
}

/// What must become of a packet by this version.
fn expected(version: &Tables, dst: Ipv4Addr) -> Option<IpAddr> {
    match version.lookup(Domain(0), dst.into())? {
        Action::Encap(id) => Some(version.peer(id).unwrap().vtep),
        other => panic!("{other:?} is no route of this test"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_cache_entry_outlives_what_it_was_learned_from(
        steps in prop::collection::vec(step(), 1..80),
        probes in prop::collection::vec(address(), 1..12),
    ) {
        let (mut g, overlays) = (Gateway::new(), overlays());
        let mut version = g.tables.publish();
        g.publisher.publish(version.clone());
        for step in steps.into_iter().chain([Step::Publish, Step::Traffic]) {
            match step {
                Step::Set(prefix, peer) => g.tables.set_route(prefix, Action::Encap(PeerId(peer))),
                Step::Remove(prefix) => g.tables.remove_route(&prefix),
                Step::Renumber(row, node) => {
                    let overlay = u16::from(node == 2);
                    g.tables.set_peer(PeerId(row), Some(peer(&overlays, overlay, NODES[node], true)));
                }
                Step::Publish => {
                    version = g.tables.publish();
                    g.publisher.publish(version.clone());
                }
                Step::Traffic => {
                    for dst in &probes {
                        let outcome = g.receive(ACCESS, &[&to(*dst)]);
                        match expected(&version, *dst) {
                            Some(node) => prop_assert_eq!(IpAddr::from(vtep(outcome.only().1)), node, "{}", dst),
                            None => prop_assert_eq!(outcome.reason(), DropReason::NoRoute, "{}", dst),
                        }
                    }
                    prop_assert_eq!(g.publisher.adopted(), version.epoch());
                }
            }
        }
    }
}
