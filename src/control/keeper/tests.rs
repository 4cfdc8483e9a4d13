//! The brain and the neighbour's life as tables: facts and moments in, asks and changes out.

use core::net::IpAddr;
use core::time::Duration;
use std::time::Instant;

use super::brain::{AUDIT, Ask, Brain, DEBOUNCE};
use super::fact::{Fact, Link, Lookup};
use super::neighbour::{DELETION, Entry, KEEP_ALIVE, Neighbour, NeighbourKey, Nud, Poke, RETRY, Verdict};
use super::{Changes, HopKey, HopState, LinkChange, Unready};
use crate::wire::Mac;

const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);
const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const PORT: u32 = 5;
const USE: Poke = Poke::Use { learned: false };

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn entry(nud: Nud, mac: Option<Mac>) -> Entry {
    Entry { nud, mac, managed: false, learned: false }
}

fn link(ifindex: u32, up: bool) -> Fact {
    let name = Some(format!("eth{ifindex}"));
    Fact::Link(Link { ifindex, name, mac: Some(OWN), mtu: Some(1500), up })
}

fn gateway() -> NeighbourKey {
    NeighbourKey { ifindex: PORT, addr: ip("10.0.0.2") }
}

fn via(ifindex: u32, mtu: Option<u32>) -> Lookup {
    Lookup::Via { ifindex, gateway: gateway().addr, mtu }
}

fn routed(last: u8) -> HopKey {
    HopKey::Routed { dst: IpAddr::from([10, 9, 0, last]), from: ip("10.0.0.1") }
}

fn attached() -> HopKey {
    HopKey::Attached { ifindex: PORT, addr: gateway().addr }
}

/// A brain with one port, up, that has told its links; and its first moment.
fn brain() -> (Brain, Instant) {
    let start = Instant::now();
    let mut brain = Brain::new(&[PORT], start);
    brain.hear_all(vec![link(PORT, true), link(9, true)], start);
    brain.links_are_told();
    let start = start + ms(1000);
    while !brain.asks(start, 100).is_empty() {}
    brain.changes();
    (brain, start)
}

fn lookups(asks: &[Ask]) -> Vec<HopKey> {
    asks.iter().filter_map(|a| if let Ask::Route { key, .. } = a { Some(*key) } else { None }).collect()
}

fn pokes(asks: &[Ask]) -> Vec<(NeighbourKey, Poke)> {
    asks.iter().filter_map(|a| if let Ask::Poke(key, poke) = a { Some((*key, *poke)) } else { None }).collect()
}

fn state_of(changes: &Changes, key: HopKey) -> Option<HopState> {
    changes.hops.iter().find(|(k, _)| *k == key).map(|(_, state)| state.clone())
}

#[test]
fn a_neighbours_verdict_follows_its_entries() {
    use Nud::{Delay, Failed, Incomplete, NoArp, None as Nothing, Permanent, Probe, Reachable, Stale};
    use Verdict::{Known, Unknown};
    // Each row: what the kernel said (None: deleted), in turn; what we make of it in the end.
    type Row<'a> = (&'a [Option<(Nud, Option<Mac>)>], Verdict);
    let (a, b) = (Some(A), Some(B));
    let rows: &[Row<'_>] = &[
        (&[], Unknown),
        (&[Some((Incomplete, None))], Unknown),
        (&[Some((Nothing, None))], Unknown),
        (&[Some((Reachable, a))], Known(A)),
        (&[Some((Stale, a))], Known(A)),
        (&[Some((Delay, a))], Known(A)),
        (&[Some((Probe, a))], Known(A)),
        (&[Some((Permanent, a))], Known(A)),
        (&[Some((NoArp, a))], Known(A)),
        (&[Some((NoArp, None))], Unknown),
        (&[Some((Reachable, a)), Some((Reachable, b))], Known(B)),
        (&[Some((Reachable, a)), None], Known(A)),
        (&[Some((Reachable, a)), None, Some((Incomplete, None))], Known(A)),
        (&[Some((Reachable, a)), None, Some((Incomplete, None)), Some((Failed, None))], Verdict::Failed),
        (&[Some((Reachable, a)), None, Some((Reachable, b))], Known(B)),
        (&[Some((Incomplete, None)), Some((Failed, None))], Verdict::Failed),
        (&[Some((Failed, None)), Some((Incomplete, None))], Verdict::Failed),
        (&[Some((Failed, None)), None], Verdict::Failed),
        (&[Some((Failed, None)), Some((Reachable, a))], Known(A)),
        // Deleted by hand: FAILED, then gone. And one that had been probed in vain and is then collected.
        (&[Some((Stale, a)), Some((Failed, None)), None], Known(A)),
        (&[Some((Probe, a)), Some((Failed, None)), None], Verdict::Failed),
    ];
    let now = Instant::now();
    for (said, expected) in rows {
        let mut neighbour = Neighbour::default();
        for say in *said {
            match say {
                Some((nud, mac)) => neighbour.entry_is(entry(*nud, *mac), now),
                None => neighbour.entry_gone(now),
            }
        }
        assert_eq!(neighbour.verdict(), *expected, "{said:?}");
    }
    // FAILED long before its deletion was meant.
    let mut neighbour = Neighbour::default();
    neighbour.entry_is(entry(Stale, a), now);
    neighbour.entry_is(entry(Failed, None), now);
    neighbour.entry_gone(now + DELETION + ms(1));
    assert_eq!(neighbour.verdict(), Verdict::Failed);
}

#[test]
fn a_neighbour_is_poked_according_to_its_state() {
    let rows = [
        (None, Some((RETRY, Poke::Create))),
        (Some(entry(Nud::None, None)), Some((RETRY, USE))),
        (Some(entry(Nud::Incomplete, None)), Some((RETRY, USE))),
        (Some(entry(Nud::Failed, None)), Some((RETRY, USE))),
        (Some(entry(Nud::Stale, Some(A))), Some((KEEP_ALIVE, USE))),
        (Some(Entry { learned: true, ..entry(Nud::Stale, Some(A)) }), Some((KEEP_ALIVE, Poke::Use { learned: true }))),
        (Some(Entry { managed: true, ..entry(Nud::Stale, Some(A)) }), None),
        (Some(entry(Nud::Reachable, Some(A))), None),
        (Some(entry(Nud::Delay, Some(A))), None),
        (Some(entry(Nud::Probe, Some(A))), None),
        (Some(entry(Nud::NoArp, Some(A))), None),
        (Some(entry(Nud::Permanent, Some(A))), None),
    ];
    let now = Instant::now();
    for (had, expected) in rows {
        let mut neighbour = Neighbour::default();
        if let Some(entry) = had {
            neighbour.entry_is(entry, now);
        }
        assert_eq!(neighbour.due(), expected.map(|(_, poke)| (None, poke)), "{had:?}");
        neighbour.poked(now);
        assert_eq!(neighbour.due(), expected.map(|(after, poke)| (Some(now + after), poke)), "{had:?}");
    }
}

#[test]
fn a_routed_hop_is_looked_up_then_resolved_then_ready() {
    let (mut brain, t) = brain();
    let key = routed(1);
    brain.watch([key], t);
    assert!(brain.changes().is_empty(), "nothing is said before the first lookup");
    assert_eq!(brain.asks(t, 10), [Ask::Route { key, dst: ip("10.9.0.1"), from: None }]);
    brain.looked_up(key, Some(via(PORT, Some(1400))), t);
    assert_eq!(brain.asks(t, 0), [Ask::Poke(gateway(), Poke::Create)]);
    assert_eq!(state_of(&brain.changes(), key), Some(Err(Unready::Resolving)));
    brain.hear(Fact::Neighbour(gateway(), entry(Nud::Reachable, Some(A))), t);
    let hop = state_of(&brain.changes(), key).unwrap().unwrap();
    assert_eq!((hop.ifindex, hop.mac, hop.source_mac, hop.mtu), (PORT, A, OWN, 1400));
    assert!(brain.changes().is_empty() && brain.asks(t, 10).is_empty());
    // Changes that cancel out are none.
    brain.hear(Fact::Neighbour(gateway(), entry(Nud::Reachable, Some(B))), t);
    brain.hear(Fact::Neighbour(gateway(), entry(Nud::Stale, Some(A))), t);
    assert!(brain.changes().is_empty());
}

#[test]
fn a_route_that_moves_serves_on_until_the_new_neighbour_answers_or_does_not() {
    let (mut brain, t) = brain();
    let key = routed(1);
    let neighbour = |n: u8| NeighbourKey { ifindex: PORT, addr: IpAddr::from([10, 0, 0, n]) };
    let by = |n: u8| Some(Lookup::Via { ifindex: PORT, gateway: neighbour(n).addr, mtu: None });
    let is = |brain: &Brain| brain.state(&key).map(|hop| hop.mac);
    brain.watch([key], t);
    brain.looked_up(key, by(2), t);
    assert_eq!(is(&brain), Err(Unready::Resolving), "there is no route before");
    brain.hear(Fact::Neighbour(neighbour(2), entry(Nud::Reachable, Some(A))), t);
    brain.changes();
    // from one that answers to one that has not yet, and on to another
    brain.looked_up(key, by(3), t);
    brain.looked_up(key, by(4), t);
    let pokes = pokes(&brain.asks(t, 10));
    assert!(pokes.contains(&(neighbour(4), Poke::Create)), "the new one is asked: {pokes:?}");
    assert_eq!(is(&brain), Ok(A));
    assert!(brain.changes().is_empty(), "nothing to tell");
    brain.hear(Fact::Neighbour(neighbour(4), entry(Nud::Reachable, Some(B))), t);
    assert_eq!((is(&brain), brain.changes().hops.len()), (Ok(B), 1));
    // one that does not answer at all, and where there is no route
    brain.looked_up(key, by(5), t);
    assert_eq!(is(&brain), Ok(B));
    brain.hear(Fact::Neighbour(neighbour(5), entry(Nud::Failed, None)), t);
    assert_eq!(is(&brain), Err(Unready::Unreachable));
    assert_eq!(state_of(&brain.changes(), key), Some(Err(Unready::Unreachable)));
    brain.looked_up(key, by(6), t);
    assert_eq!(is(&brain), Err(Unready::Resolving), "the route before did not serve");
    brain.looked_up(key, by(4), t);
    brain.looked_up(key, Some(Lookup::NoRoute), t);
    assert_eq!(is(&brain), Err(Unready::NoRoute));
    // the old way is none when its link is down
    brain.looked_up(key, by(4), t);
    brain.looked_up(key, Some(Lookup::Via { ifindex: PORT, gateway: neighbour(7).addr, mtu: None }), t);
    brain.hear(link(PORT, false), t);
    assert_eq!(is(&brain), Err(Unready::LinkDown));
}

#[test]
fn the_source_takes_part_in_the_lookup_while_it_is_ours() {
    let (mut brain, t) = brain();
    let (key, from) = (routed(1), ip("10.0.0.1"));
    brain.watch([key], t);
    let asked = |brain: &mut Brain, now| match brain.asks(now, 10)[..] {
        [Ask::Route { from, .. }] => from,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(asked(&mut brain, t), None);
    brain.looked_up(key, Some(Lookup::NoRoute), t);
    brain.hear(Fact::Address { ifindex: 9, addr: from, len: 24 }, t);
    brain.hear(Fact::Address { ifindex: PORT, addr: from, len: 32 }, t);
    assert_eq!(asked(&mut brain, t + DEBOUNCE), Some(from));
    brain.hear(Fact::AddressGone { ifindex: 9, addr: from, len: 24 }, t + ms(100));
    assert_eq!(asked(&mut brain, t + ms(100) + DEBOUNCE), Some(from));
    brain.hear(Fact::AddressGone { ifindex: PORT, addr: from, len: 32 }, t + ms(200));
    assert_eq!(asked(&mut brain, t + ms(200) + DEBOUNCE), None);
}

#[test]
fn a_burst_of_route_events_costs_one_round() {
    let (mut brain, t) = brain();
    let keys: Vec<HopKey> = (0..100).map(routed).collect();
    brain.watch(keys.iter().copied(), t);
    let mut first = Vec::new();
    while brain.is_busy() {
        first.extend(lookups(&brain.asks(t, 16)));
    }
    assert_eq!(first.len(), 100);
    keys.iter().for_each(|key| brain.looked_up(*key, Some(Lookup::NoRoute), t));

    let burst = t + ms(500);
    let mut asked = 0;
    for i in 0..1000 {
        let now = burst + Duration::from_micros(i * 10); // 10 ms in all
        brain.hear(Fact::Routes, now);
        asked += lookups(&brain.asks(now, 1000)).len();
    }
    assert_eq!(asked, 0);
    assert_eq!(brain.wake(burst + ms(10)), burst + DEBOUNCE);
    assert_eq!(lookups(&brain.asks(burst + DEBOUNCE, 1000)).len(), 100);
    // Nothing more, until the audit.
    assert!(brain.asks(burst + ms(5000), 1000).is_empty());
    assert_eq!(lookups(&brain.asks(burst + DEBOUNCE + AUDIT, 1000)).len(), 100);
    // Events during a round call for another; without an end of events, rounds keep their distance.
    let mut asked = 0;
    for i in 0..1000 {
        let now = t + AUDIT * 3 + ms(i);
        brain.hear(Fact::Routes, now);
        asked += lookups(&brain.asks(now, 1000)).len();
    }
    assert!((2500..=3500).contains(&asked), "{asked}");
}

#[test]
fn lookups_that_could_not_be_made_are_repeated() {
    let (mut brain, t) = brain();
    brain.watch([routed(1)], t);
    brain.asks(t, 10);
    brain.looked_up(routed(1), None, t);
    assert!(brain.asks(t + ms(100), 10).is_empty());
    assert_eq!(lookups(&brain.asks(t + ms(200), 10)), [routed(1)]);
}

#[test]
fn states_name_what_is_wrong() {
    let (mut brain, t) = brain();
    let foreign = HopKey::Attached { ifindex: 9, addr: gateway().addr };
    brain.watch([routed(1), attached(), foreign], t);
    let not_a_port = Err(Unready::NotAPort { ifindex: 9, name: Some("eth9".into()) });
    assert_eq!(brain.state(&foreign), not_a_port);
    let rows = [
        (Lookup::NoRoute, Err(Unready::NoRoute)),
        (Lookup::NotUnicast, Err(Unready::NotUnicast)),
        (via(9, None), not_a_port),
        (via(77, None), Err(Unready::NotAPort { ifindex: 77, name: None })),
        (via(PORT, None), Err(Unready::Resolving)),
    ];
    for (lookup, expected) in rows {
        brain.looked_up(routed(1), Some(lookup), t);
        assert_eq!(brain.state(&routed(1)), expected, "{lookup:?}");
        let text = expected.unwrap_err().to_string();
        assert!(text.len() > 10 && !text.ends_with('.'), "{text}");
    }
    // Neighbours of interfaces that are no ports are not poked.
    assert_eq!(pokes(&brain.asks(t, 10)), [(gateway(), Poke::Create)]);
    brain.hear(Fact::Neighbour(gateway(), entry(Nud::Failed, None)), t);
    assert_eq!(brain.state(&attached()), Err(Unready::Unreachable));
    brain.hear(Fact::Neighbour(gateway(), entry(Nud::NoArp, Some(Mac::BROADCAST))), t);
    assert_eq!(brain.state(&attached()), Err(Unready::NotUnicast));
    brain.hear(link(PORT, false), t);
    assert_eq!(brain.state(&attached()), Err(Unready::LinkDown));
}

#[test]
fn a_link_that_comes_up_has_its_neighbours_asked_at_once() {
    let (mut brain, t) = brain();
    brain.watch([attached()], t);
    brain.hear(link(PORT, false), t);
    assert!(pokes(&brain.asks(t, 10)).is_empty(), "nobody is asked on a link that is down");
    brain.hear(link(PORT, true), t + ms(10));
    assert_eq!(pokes(&brain.asks(t + ms(10), 10)), [(gateway(), Poke::Create)]);
    brain.hear(link(PORT, false), t + ms(20));
    brain.hear(link(PORT, true), t + ms(30));
    assert_eq!(pokes(&brain.asks(t + ms(30), 10)), [(gateway(), Poke::Create)]);
    assert!(pokes(&brain.asks(t + ms(40), 10)).is_empty());
    assert_eq!(pokes(&brain.asks(t + ms(30) + RETRY, 10)), [(gateway(), Poke::Create)]);
}

#[test]
fn ports_are_reported_when_they_change_and_vanish() {
    let (mut brain, t) = brain();
    brain.hear(link(PORT, true), t);
    brain.hear(link(9, false), t);
    assert!(brain.changes().is_empty(), "the same, and no port");
    brain.hear(Fact::Link(Link { ifindex: PORT, name: None, mac: None, mtu: Some(9000), up: true }), t);
    match &brain.changes().links[..] {
        [LinkChange::Changed(facts)] => assert_eq!((facts.mtu, &*facts.name, facts.mac), (9000, "eth5", OWN)),
        other => panic!("{other:?}"),
    }
    brain.hear(Fact::LinkGone(PORT), t);
    let gone = LinkChange::Vanished { ifindex: PORT, name: "eth5".into() };
    assert_eq!(brain.changes().links, [gone]);
    brain.hear(link(PORT, true), t);
    assert!(matches!(brain.changes().links[..], [LinkChange::Changed(_)]));
}

#[test]
fn the_hosts_addresses_are_reported_on_whatever_link_they_are() {
    let (mut brain, t) = brain();
    let address = |ifindex, addr| Fact::Address { ifindex, addr: ip(addr), len: 32 };
    let gone = |ifindex, addr| Fact::AddressGone { ifindex, addr: ip(addr), len: 32 };
    let local = |brain: &Brain| {
        let mut all: Vec<_> = brain.local().map(|a| a.to_string()).collect();
        all.sort();
        all
    };
    brain.hear(address(9, "10.1.1.1"), t);
    assert!(brain.changes().addresses && local(&brain) == ["10.1.1.1"], "{:?}", local(&brain));
    brain.hear(address(9, "10.1.1.1"), t);
    brain.hear(address(9, "10.1.1.2"), t);
    brain.hear(gone(9, "10.1.1.2"), t);
    assert!(brain.changes().is_empty(), "as it was");
    brain.hear(address(PORT, "10.1.1.1"), t);
    assert!(!brain.changes().addresses);
    brain.hear(gone(PORT, "10.1.1.1"), t);
    assert!(!brain.changes().addresses, "the other link has it still");
    brain.hear(Fact::LinkGone(9), t);
    assert!(brain.changes().addresses && local(&brain).is_empty());
    // a listing says the same as the announcements that were lost
    brain.hear_all(vec![link(PORT, true), link(9, true), address(9, "10.1.1.3")], t);
    assert!(brain.changes().addresses);
    brain.hear_all(vec![link(PORT, true), link(9, true), address(9, "10.1.1.3")], t);
    assert!(!brain.changes().addresses);
}

#[test]
fn a_listing_after_losses_says_what_is_gone() {
    let (mut brain, t) = brain();
    brain.watch([attached(), routed(1)], t);
    brain.asks(t, 10);
    brain.looked_up(routed(1), Some(via(PORT, None)), t);
    brain.hear(Fact::Neighbour(gateway(), entry(Nud::Reachable, Some(A))), t);
    brain.hear(Fact::Address { ifindex: PORT, addr: ip("10.0.0.1"), len: 24 }, t);
    brain.changes();
    let later = t + ms(50);
    let address = Fact::Address { ifindex: PORT, addr: ip("10.0.0.1"), len: 24 };
    brain.hear_all(vec![link(PORT, true), address], later);
    // The neighbour's entry is gone: its MAC address stays in force and it is asked for anew; routes are too.
    assert!(brain.state(&attached()).is_ok());
    let mut asks = brain.asks(later, 10);
    asks.extend(brain.asks(later + DEBOUNCE, 10));
    assert_eq!(pokes(&asks), [(gateway(), Poke::Create)]);
    assert_eq!(lookups(&asks), [routed(1)]);
    assert!(brain.link(9).is_none() && brain.changes().is_empty(), "the same facts are no change");
}

#[test]
fn what_is_no_longer_watched_is_forgotten_and_what_is_watched_anew_is_told_again() {
    let (mut brain, t) = brain();
    brain.watch([attached(), attached()], t);
    brain.hear(Fact::Neighbour(gateway(), entry(Nud::Stale, Some(A))), t);
    assert_eq!(brain.asks(t, 10), [Ask::Poke(gateway(), USE)]);
    assert_eq!(brain.changes().hops.len(), 1);
    brain.watch([attached()], t);
    assert!(brain.changes().is_empty());
    brain.watch([], t);
    assert!(brain.asks(t + ms(10_000), 10).is_empty());
    brain.hear(Fact::NeighbourGone(gateway()), t);
    brain.watch([attached()], t);
    assert_eq!(state_of(&brain.changes(), attached()), Some(Err(Unready::Resolving)));
}
