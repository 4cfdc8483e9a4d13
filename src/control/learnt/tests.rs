//! Sources against what is in force: who may have which prefix, and what stays when sources fall silent.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use super::rules::tests::rules;
use super::*;
use crate::control::source::Refusal;
use crate::wire::Mac;

const EAST: SourceId = SourceId(1);
const WEST: SourceId = SourceId(2);

fn overlay(name: &str, n: u8) -> Overlay {
    Overlay {
        name: name.into(),
        vni: crate::wire::Vni::new(u32::from(n)).unwrap(),
        udp_port: 8472,
        local: [192, 0, 2, n].into(),
        mac: Mac([2, 0, 0, 0, 0, n]),
        addresses: crate::tables::Addresses::default(),
        mtu: None,
        fit: crate::tables::Fit::default(),
        dscp: crate::tables::Dscp::Pipe(0),
        source_check: true,
        gbp: false,
        inner_vlan: 0,
        zero_checksum: false,
    }
}

fn learner(id: SourceId) -> Learner {
    let n = id.0;
    let rules = Rules { overlay: OverlayId(u16::from(n) - 1), local: [192, 0, 2, n].into(), ..rules() };
    Learner { id, name: format!("source-{n}").into(), origin: "test".into(), preference: Preference(100), rules }
}

/// Two overlays with a source each; the map in force beside it, as a RIB would have it.
struct World {
    learnt: Learnt,
    now: Instant,
    map: BTreeMap<(SourceId, Prefix), u8>,
}

impl World {
    fn new(file: &[Route]) -> Self {
        let mut world = Self { learnt: Learnt::default(), now: Instant::now(), map: BTreeMap::new() };
        world.configure(file, &[learner(EAST), learner(WEST)]);
        world
    }

    fn configure(&mut self, file: &[Route], learners: &[Learner]) {
        let overlays = [overlay("east", 1), overlay("west", 2)];
        let events = self.learnt.configure(&overlays, file.iter().copied(), learners, self.now);
        self.follow(events);
    }

    fn follow(&mut self, events: Vec<Event>) {
        let mut stale: Vec<(SourceId, Prefix)> = Vec::new();
        for Event { source, change } in events {
            match change {
                Change::AnnounceAll(prefix, targets) => {
                    let [Target::Vtep { vtep: IpAddr::V4(vtep), .. }] = targets.all() else { panic!("{targets:?}") };
                    self.map.insert((source, prefix), vtep.octets()[3]);
                    stale.retain(|key| *key != (source, prefix));
                }
                Change::Announce(other) => panic!("{other:?}"),
                Change::Withdraw(prefix) => assert!(self.map.remove(&(source, prefix)).is_some(), "{prefix} twice"),
                Change::Resync => stale.extend(self.map.keys().filter(|(s, _)| *s == source)),
                Change::Synced => stale.drain(..).for_each(|key| _ = self.map.remove(&key)),
            }
        }
    }

    fn say(&mut self, source: SourceId, news: impl IntoIterator<Item = News>) {
        let mut events = Vec::new();
        for news in news {
            self.learnt.hear(source, news, self.now, &mut events);
        }
        self.learnt.settle(&mut events);
        self.follow(events);
    }

    fn list(&mut self, source: SourceId, objects: &[(&str, &str, u8)]) {
        let objects = objects.iter().map(|(key, prefix, n)| is(key, &[prefix], *n));
        let news: Vec<News> = [News::Listing].into_iter().chain(objects).chain([News::Listed]).collect();
        self.say(source, news);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let mut events = Vec::new();
        self.learnt.tend(self.now, &mut events);
        self.learnt.settle(&mut events);
        self.follow(events);
    }

    fn calm(&mut self) {
        self.pass(Duration::from_millis(600));
    }

    /// Prefixes in force, each with the last byte of its VTEP.
    fn map(&self) -> Vec<(String, u8)> {
        self.map.iter().map(|((_, prefix), n)| (prefix.to_string(), *n)).collect()
    }

    fn refusals(&self, source: SourceId) -> Vec<(String, Refusal)> {
        let status = self.learnt.status(self.now).remove(usize::from(source.0) - 1);
        status.refused.into_iter().map(|r| (r.object.to_string(), r.refusal)).collect()
    }

    fn held(&self) -> usize {
        self.learnt.status(self.now)[0].held
    }
}

fn is(key: &str, prefixes: &[&str], n: u8) -> News {
    let claim =
        |p: &&str| Claim { prefix: p.parse().unwrap(), vtep: [192, 0, 2, n].into(), mac: Mac([2, 0, 0, 0, 1, n]) };
    News::Is(Object { key: key.into(), claims: prefixes.iter().map(claim).collect(), faults: Vec::new() })
}

fn gone(key: &str) -> News {
    News::Gone(key.into())
}

fn pairs(all: &[(&str, u8)]) -> Vec<(String, u8)> {
    all.iter().map(|(p, n)| ((*p).to_owned(), *n)).collect()
}

const THREE: [(&str, &str, u8); 3] = [("a", "10.1.1.0/24", 11), ("b", "10.1.2.0/24", 12), ("c", "10.1.3.0/24", 13)];

#[test]
fn nodes_come_move_and_go() {
    let mut w = World::new(&[]);
    w.list(EAST, &THREE);
    assert_eq!(w.map(), pairs(&[("10.1.1.0/24", 11), ("10.1.2.0/24", 12), ("10.1.3.0/24", 13)]));
    w.say(EAST, [is("b", &["10.1.2.0/24"], 22)]);
    w.say(EAST, [is("c", &["10.1.4.0/24"], 13)]);
    assert_eq!(w.map(), pairs(&[("10.1.1.0/24", 11), ("10.1.2.0/24", 22), ("10.1.4.0/24", 13)]));
    w.say(EAST, [gone("a"), gone("never there")]);
    assert_eq!(w.map().len(), 3, "it may come back at once");
    w.calm();
    assert_eq!(w.map(), pairs(&[("10.1.2.0/24", 22), ("10.1.4.0/24", 13)]));
    w.list(EAST, &[("b", "10.1.2.0/24", 22), ("c", "10.1.4.0/24", 13), ("d", "10.1.1.0/24", 14)]);
    assert_eq!(w.map(), pairs(&[("10.1.1.0/24", 14), ("10.1.2.0/24", 22), ("10.1.4.0/24", 13)]));
}

#[test]
fn an_object_that_is_replaced_is_never_without_its_prefixes() {
    let mut w = World::new(&[]);
    w.list(EAST, &THREE);
    w.say(EAST, [gone("a")]);
    w.say(EAST, [is("a", &["10.1.1.0/24"], 11)]);
    w.calm();
    assert_eq!(w.map().len(), 3);
    w.say(EAST, [gone("a")]);
    w.say(EAST, [is("renamed", &["10.1.1.0/24"], 11)]);
    assert_eq!((w.map().len(), w.refusals(EAST)), (3, vec![]), "what nobody claims any more is free");
    w.calm();
    assert_eq!(w.map().len(), 3);
    assert_eq!(w.learnt.object(EAST, &"10.1.1.0/24".parse().unwrap()).unwrap().1.as_ref(), "renamed");
}

#[test]
fn a_node_cannot_take_anothers_prefix_until_it_is_free() {
    let mut w = World::new(&[]);
    w.list(EAST, &THREE);
    w.say(
        EAST,
        [is("thief", &["10.1.1.0/24"], 66), is("part", &["10.1.2.128/25"], 66), is("all", &["10.0.0.0/8"], 66)],
    );
    let taken = |key: &str| (key.to_owned(), Refusal::Taken);
    assert_eq!(w.refusals(EAST), [taken("all"), taken("part"), taken("thief")]);
    assert_eq!(w.map().iter().filter(|(_, n)| *n == 66).count(), 0);
    w.say(EAST, [gone("a")]);
    w.calm();
    assert_eq!(w.map()[0], ("10.1.1.0/24".into(), 66), "it is free now");
    assert_eq!(w.refusals(EAST), [taken("all"), taken("part")]);
}

#[test]
fn what_is_refused_now_does_not_stay_because_it_was_believed_before() {
    let mut w = World::new(&[]);
    let vteps = vec!["192.0.2.0/28".parse().unwrap()];
    let near = Learner { rules: Rules { vteps, ..learner(EAST).rules }, ..learner(EAST) };
    w.configure(&[], &[near, learner(WEST)]);
    w.list(EAST, &[("a", "10.1.1.0/24", 11), ("b", "10.1.2.0/24", 12)]);
    w.say(EAST, [is("a", &["10.1.1.0/24"], 66)]);
    assert_eq!(w.refusals(EAST), [("a".into(), Refusal::ForeignVtep)]);
    assert_eq!(w.map(), pairs(&[("10.1.2.0/24", 12)]), "nobody says that it is where it was");
}

#[test]
fn overlays_do_not_overlap_whoever_says_so() {
    let file = Route {
        prefix: "10.9.0.0/16".parse().unwrap(),
        target: Target::Vtep {
            overlay: OverlayId(1),
            vtep: [192, 0, 2, 99].into(),
            mac: Mac([2, 0, 0, 0, 0, 99]),
            zero_checksum: false,
        },
    };
    let mut w = World::new(&[file]);
    w.list(EAST, &[("a", "10.1.1.0/24", 11), ("b", "10.9.7.0/24", 12)]);
    w.list(WEST, &[("a", "10.1.0.0/16", 21), ("b", "10.9.8.0/24", 22)]);
    assert_eq!(w.refusals(EAST), [("b".into(), Refusal::OverlapsOverlay)], "the file was first");
    assert_eq!(w.refusals(WEST), [("a".into(), Refusal::OverlapsOverlay)]);
    let status = w.learnt.status(w.now).remove(1);
    let what = &status.refused[0].what;
    assert!(what.contains("10.1.0.0/16") && what.contains("10.1.1.0/24 of overlay `east`"), "names both: {what}");
    assert_eq!(w.map(), pairs(&[("10.1.1.0/24", 11), ("10.9.8.0/24", 22)]));
    w.configure(&[], &[learner(EAST), learner(WEST)]);
    assert_eq!((w.refusals(EAST), w.refusals(WEST).len()), (vec![], 1), "the file says nothing of it any more");
    w.list(EAST, &[("b", "10.9.7.0/24", 12), ("c", "10.3.0.0/24", 13)]);
    let west = ("10.1.0.0/16", 21);
    assert_eq!(w.map(), pairs(&[("10.3.0.0/24", 13), ("10.9.7.0/24", 12), west, ("10.9.8.0/24", 22)]));
    w.say(EAST, [is("a", &["10.1.1.0/24"], 11)]);
    assert_eq!(w.refusals(EAST), [("a".into(), Refusal::OverlapsOverlay)]);
    w.configure(&[], &[learner(EAST), learner(WEST)]);
    assert_eq!(w.refusals(EAST), [("a".into(), Refusal::OverlapsOverlay)], "what was in force comes first");
}

#[test]
fn a_source_that_falls_empty_takes_nothing_away() {
    let mut w = World::new(&[]);
    w.list(EAST, &THREE);
    w.list(EAST, &[]);
    assert_eq!((w.map().len(), w.held()), (3, 3));
    w.calm();
    w.list(EAST, &[]);
    w.pass(2 * WINDOW);
    w.list(EAST, &[]);
    assert_eq!((w.map().len(), w.held()), (3, 3), "nor by and by");
    w.list(EAST, &THREE[..2]);
    assert_eq!((w.map().len(), w.held()), (3, 1), "what is said again is not held any more");
    let mut events = Vec::new();
    assert_eq!(w.learnt.accept("nobody", &mut events), None);
    assert_eq!(w.learnt.accept("source-1", &mut events), Some(1));
    w.follow(events);
    assert_eq!((w.map().len(), w.held()), (2, 0));
}

#[test]
fn a_source_that_is_emptied_key_by_key_takes_nothing_away() {
    let mut w = World::new(&[]);
    w.list(EAST, &THREE);
    for key in ["a", "b", "c"] {
        w.say(EAST, [gone(key)]);
        w.pass(Duration::from_millis(100));
    }
    w.calm();
    assert_eq!((w.map().len(), w.held()), (3, 3));
    w.say(EAST, [is("other", &["10.1.1.0/24"], 11)]);
    assert_eq!((w.map().len(), w.held()), (3, 3), "a held prefix goes to who claims it");
    assert_eq!(w.learnt.object(EAST, &"10.1.1.0/24".parse().unwrap()).unwrap().1.as_ref(), "other");
}

#[test]
fn objects_that_stay_but_say_nothing_count_as_gone() {
    let mut w = World::new(&[]);
    w.list(EAST, &THREE);
    w.say(EAST, [is("a", &[], 0)]);
    w.calm();
    assert_eq!((w.map().len(), w.held()), (2, 0));
    w.say(EAST, [is("b", &[], 0), is("c", &[], 0)]);
    w.calm();
    assert_eq!((w.map().len(), w.held()), (2, 2));
    w.say(EAST, [is("b", &["10.1.2.0/24"], 12)]);
    assert_eq!((w.map().len(), w.held()), (2, 1));
}

#[test]
fn half_a_list_takes_nothing_away() {
    let mut w = World::new(&[]);
    w.list(EAST, &THREE);
    w.say(EAST, [News::Listing, is("a", &["10.1.1.0/24"], 11), News::Lost("cut off".into())]);
    w.calm();
    assert_eq!(w.map().len(), 3);
    w.list(EAST, &THREE[..2]);
    assert_eq!(w.map().len(), 2);
}

#[test]
fn our_own_advertisement_is_no_route_and_too_many_are_too_many() {
    let mut w = World::new(&[]);
    w.say(EAST, [is("ours", &["10.2.0.0/16"], 1)]);
    assert_eq!((w.map().len(), w.refusals(EAST)), (0, vec![]));
    let few = Learner { rules: Rules { max_prefixes: 2, ..learner(EAST).rules }, ..learner(EAST) };
    w.configure(&[], &[few, learner(WEST)]);
    w.list(EAST, &THREE);
    assert_eq!((w.map().len(), w.refusals(EAST).len()), (2, 1));
    assert_eq!(w.refusals(EAST)[0].1, Refusal::TooMany);
    w.say(EAST, [gone("a")]);
    w.calm();
    assert_eq!(w.map(), pairs(&[("10.1.2.0/24", 12), ("10.1.3.0/24", 13)]));
}

#[test]
fn what_was_said_survives_another_configuration_and_a_restart() {
    let mut w = World::new(&[]);
    w.list(EAST, &THREE);
    w.list(WEST, &[("a", "10.2.1.0/24", 21)]);
    let narrow = Rules { allow: vec!["10.1.2.0/23".parse().unwrap()], ..learner(EAST).rules };
    w.configure(&[], &[Learner { rules: narrow, ..learner(EAST) }]);
    assert_eq!(w.map(), pairs(&[("10.1.2.0/24", 12), ("10.1.3.0/24", 13)]), "a source that is no more says nothing");
    w.configure(&[], &[learner(EAST), learner(WEST)]);
    assert_eq!(w.map().len(), 3);
    w.configure(&[], &[Learner { origin: "another".into(), ..learner(EAST) }]);
    assert_eq!(w.map().len(), 0, "what another source said is another's");

    let mut w = World::new(&[]);
    w.list(EAST, &THREE);
    let snapshots = w.learnt.take_changed();
    assert_eq!((snapshots.len(), w.learnt.take_changed().len()), (1, 0));
    let dir = tempfile::tempdir().unwrap();
    snapshots[0].write(dir.path()).unwrap();
    let mut w = World::new(&[]);
    let (mut events, objects) = (Vec::new(), snapshot::Snapshot::read(dir.path(), &learner(EAST)).unwrap());
    w.learnt.restore(EAST, objects, w.now, &mut events);
    w.follow(events);
    assert_eq!((w.map().len(), w.learnt.status(w.now)[0].age), (3, None));
    w.list(EAST, &THREE[1..]);
    assert_eq!(w.map(), pairs(&[("10.1.2.0/24", 12), ("10.1.3.0/24", 13)]), "gone while the gateway was away");
}

#[test]
fn it_is_complete_once_everybody_was_heard_or_cannot_be() {
    let mut w = World::new(&[]);
    assert!(!w.learnt.is_complete(), "nobody has said anything");
    w.say(EAST, [News::Listing, is("a", &["10.1.1.0/24"], 1)]);
    w.say(WEST, [News::Lost("away".into())]);
    assert!(!w.learnt.is_complete(), "a part of a list is no list");
    w.say(EAST, [News::Listed]);
    assert!(w.learnt.is_complete(), "west cannot be heard");
    w.say(EAST, [News::Listing]);
    assert!(w.learnt.is_complete(), "what it told before is in force until it has told all again");
    let mut w = World::new(&[]);
    w.say(WEST, [News::Listing, News::Listed]);
    let News::Is(object) = is("a", &["10.1.1.0/24"], 1) else { unreachable!() };
    w.learnt.restore(EAST, vec![object], w.now, &mut Vec::new());
    assert!(w.learnt.is_complete(), "a snapshot tells what was whole");
}
