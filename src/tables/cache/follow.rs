//! How a flow cache keeps up with the tables.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Domain, FlowCache, Set};
use crate::tables::Tables;

impl FlowCache {
    /// Brings the cache up to this version of the tables: what it finds from now on, this version would say. To be called
    /// before a version is used; costs a comparison if it was used last.
    #[inline]
    pub fn follow(&mut self, tables: &Tables) {
        if self.upto != tables.epoch() {
            self.catch_up(tables);
        }
    }

    #[cold]
    #[inline(never)]
    fn catch_up(&mut self, tables: &Tables) {
        let epoch = tables.epoch();
        if epoch < self.upto {
            // the counter has overflown: what an entry's epoch is the number of can no longer be told
            self.sets.fill(Set::default());
            self.since = epoch;
        } else if let Some(pages) = tables.changed_since(self.upto) {
            for page in pages {
                for domain in tables.domains() {
                    page.v4.iter().for_each(|addr| self.strike(domain, *addr));
                    page.v6.iter().for_each(|addr| self.strike_v6(domain, *addr));
                }
            }
        } else {
            self.since = epoch;
        }
        self.upto = epoch;
    }

    /// Forgets an address. Its way is as one that was never written.
    #[inline(always)]
    fn strike(&mut self, domain: Domain, addr: Ipv4Addr) {
        let place = self.place(domain, addr);
        let Some(set) = self.sets.get_mut(place) else { return };
        if !set.older(domain, addr).is_none()
            && let Some(way) = set.way(domain, addr)
        {
            set.clear(way);
        }
    }

    /// The same for an IPv6 address. One with the same tag is forgotten, too.
    fn strike_v6(&mut self, domain: Domain, addr: Ipv6Addr) {
        let tag = self.tag(domain, addr);
        if let Some(set) = self.sets.get_mut(tag.place)
            && let Some(way) = set.tagged(&tag, self.since)
        {
            set.clear(way);
        }
    }
}

impl Set {
    fn clear(&mut self, way: usize) {
        (self.addrs.0[way], self.domains.0[way], self.epochs.0[way], self.actions.0[way]) = (0, 0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::tables::hash::Keyed;
    use crate::tables::{
        Action, Fit, Group, GroupId, HopId, Imports, Member, Overlay, OverlayId, Packed, Peer, PeerId, Rules,
        TablesWriter,
    };
    use crate::wire::{Mac, Prefix, Vni};

    const DOMAINS: [Domain; 3] = [Domain(0), Domain(1), Domain(2)];

    fn overlay(n: u8) -> Overlay {
        Overlay {
            name: format!("overlay {n}"),
            vni: Vni::new(n.into()).unwrap(),
            udp_port: 4789,
            local: [192, 0, 2, 1].into(),
            mac: Mac([2, 0, 0, 0, 0, n]),
            addresses: Default::default(),
            mtu: None,
            fit: Fit::default(),
            dscp: crate::tables::Dscp::Pipe(0),
            source_check: true,
            gbp: false,
            inner_vlan: 0,
            zero_checksum: false,
        }
    }

    fn peer(overlay: u16, node: u8) -> Option<Peer> {
        let vtep = [192, 0, 2, 100 + node].into();
        Some(Peer {
            overlay: OverlayId(overlay),
            vtep,
            mac: Mac([2, 0, 0, 0, 1, node]),
            zero_checksum: false,
            way: None,
        })
    }

    /// Of the peers with these numbers.
    fn group(peers: &[u32]) -> Option<Group> {
        let member = |n: &u32| Member { action: Action::Encap(PeerId(*n)), identity: (*n).into(), ready: true };
        Some(Group::new(&peers.iter().map(member).collect::<Vec<_>>()))
    }

    fn writer() -> TablesWriter {
        TablesWriter::new(vec![overlay(1), overlay(2)], vec![])
    }

    fn cache(entries: usize) -> FlowCache {
        FlowCache::new(entries, Keyed::new(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345))
    }

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn known(cache: &FlowCache, domain: Domain, addr: IpAddr) -> Packed {
        match addr {
            IpAddr::V4(addr) => cache.get(domain, addr),
            IpAddr::V6(addr) => cache.get_v6(domain, addr),
        }
    }

    /// What the cache says; what it does not know it learns, as the path does it. It has to follow `tables`.
    fn ask(cache: &mut FlowCache, tables: &Tables, domain: Domain, addr: IpAddr) -> Packed {
        let found = known(cache, domain, addr);
        if !found.is_none() {
            return found;
        }
        let IpAddr::V4(v4) = addr else {
            let IpAddr::V6(v6) = addr else { unreachable!() };
            let told = tables.lookup(domain, addr).into();
            cache.put_v6(domain, v6, told);
            return told;
        };
        let (seat, older) = cache.seat(domain, v4);
        match older {
            Some((advice, then)) if tables.unchanged_since(domain, addr, then) => {
                cache.renew(seat);
                advice
            }
            _ => {
                let told = tables.lookup_v4(domain, v4);
                cache.put_at(seat, domain, v4, told);
                told
            }
        }
    }

    /// Learns all these in all domains.
    fn learn(cache: &mut FlowCache, tables: &Tables, all: &[IpAddr]) {
        for addr in all {
            DOMAINS.iter().for_each(|domain| assert!(!ask(cache, tables, *domain, *addr).is_none()));
        }
    }

    /// How many of these are known without a question to the tables, in all domains.
    fn held(cache: &FlowCache, all: &[IpAddr]) -> Vec<bool> {
        let everywhere = |addr: &IpAddr| DOMAINS.map(|domain| !known(cache, domain, *addr).is_none());
        let told: Vec<_> = all.iter().map(everywhere).collect();
        assert!(told.iter().all(|each| *each == [true; 3] || *each == [false; 3]), "{told:?}");
        told.iter().map(|each| each[0]).collect()
    }

    #[test]
    fn what_changed_is_struck_out_and_nothing_else() {
        let (mut w, mut c) = (writer(), cache(4096));
        let all = ["10.1.1.1", "10.1.1.2", "10.1.2.1", "fd00:1::1", "fd00:1::2"].map(|a| a.parse::<IpAddr>().unwrap());
        ["10.0.0.0/8", "10.1.1.1/32", "fd00::/16"].iter().for_each(|p| w.set_route(prefix(p), Action::Local));
        let first = w.publish();
        c.follow(&first);
        learn(&mut c, &first, &all);
        let mut after = |change: &dyn Fn(&mut TablesWriter)| {
            change(&mut w);
            let tables = w.publish();
            c.follow(&tables);
            let held = held(&c, &all);
            learn(&mut c, &tables, &all);
            held
        };
        let to = Action::Encap(PeerId(1));
        assert_eq!(after(&|_| {}), [true; 5]);
        assert_eq!(after(&|w| w.set_route(prefix("10.1.1.1/32"), Action::Local)), [true; 5], "as it was");
        assert_eq!(after(&|w| w.set_route(prefix("10.1.1.1/32"), to)), [false, true, true, true, true]);
        assert_eq!(after(&|w| w.remove_route(&prefix("10.1.1.1/32"))), [false, true, true, true, true]);
        assert_eq!(after(&|w| w.set_route(prefix("10.1.1.0/24"), to)), [false, false, true, true, true]);
        assert_eq!(after(&|w| w.set_route(prefix("fd00:1::2/128"), to)), [true, true, true, true, false]);
        assert_eq!(after(&|w| w.set_route(prefix("192.0.2.7/32"), to)), [true; 5]);
        assert_eq!(after(&|w| w.set_peer(PeerId(1), peer(0, 1))), [true; 5], "a row is written, no route changes");
        assert_eq!(after(&|w| w.set_route(prefix("11.0.0.0/8"), to)), [false; 5], "too much to strike out one by one");
        assert_eq!(after(&|w| w.set_imports(&[])), [false; 5]);
        let afresh = |w: &mut TablesWriter| {
            w.reset(vec![overlay(1), overlay(2)]);
            ["10.0.0.0/8", "fd00::/16"].iter().for_each(|p| w.set_route(prefix(p), Action::Local));
        };
        assert_eq!(after(&afresh), [false; 5]);
    }

    #[test]
    fn versions_that_were_skipped_count_and_too_many_are_a_new_beginning() {
        let (mut w, mut c) = (writer(), cache(4096));
        let all: Vec<IpAddr> = (1..=10).map(|n| [10, 1, n, 1].into()).collect();
        w.set_route(prefix("10.0.0.0/8"), Action::Local);
        let first = w.publish();
        c.follow(&first);
        learn(&mut c, &first, &all);
        let mut change = |n: usize| {
            w.set_route(Prefix::host(all[n]), Action::Encap(PeerId(1)));
            w.publish()
        };
        (0..7).for_each(|n| drop(change(n)));
        let eighth = change(7);
        c.follow(&eighth);
        assert_eq!(held(&c, &all), [vec![false; 8], vec![true; 2]].concat());
        learn(&mut c, &eighth, &all);
        let ninth = change(8);
        (0..8).for_each(|_| drop(change(8)));
        let last = change(8);
        assert!(ninth.changed_since(eighth.epoch()).is_some() && last.changed_since(eighth.epoch()).is_none());
        c.follow(&last);
        assert_eq!(held(&c, &all), [false; 10]);
        let IpAddr::V4(other) = all[9] else { unreachable!() };
        let (advice, then) = c.seat(Domain(1), other).1.unwrap();
        assert_eq!((advice.unpack(), then), (Some(Action::Local), first.epoch()), "what is left can be renewed");
        learn(&mut c, &last, &all);
        assert_eq!(held(&c, &all), [true; 10]);
    }

    /// An entry of an epoch must not be taken for one of the epoch with the same number 2³² versions later.
    #[test]
    fn the_counter_may_overflow() {
        let (mut w, mut c) = (writer(), cache(64));
        w.next.epoch = u32::MAX - 2;
        w.changed_everywhere();
        let all = [[10, 1, 1, 1].into(), [10, 1, 1, 2].into()];
        w.set_route(prefix("10.0.0.0/8"), Action::Local);
        let mut epochs = vec![];
        for n in 0..5u32 {
            w.set_route(Prefix::host(all[0]), Action::Encap(PeerId(n)));
            let tables = w.publish();
            c.follow(&tables);
            epochs.push(tables.epoch());
            assert_eq!(held(&c, &all), [false, [1, 3, 4].contains(&n)], "{n}");
            learn(&mut c, &tables, &all);
            assert_eq!(known(&c, Domain(0), all[0]).unpack(), Some(Action::Encap(PeerId(n))));
        }
        assert_eq!(epochs, [u32::MAX - 1, u32::MAX, 1, 2, 3]);
    }

    #[test]
    fn who_may_reach_an_address_depends_on_who_has_it() {
        let (mut w, mut c) = (writer(), cache(64));
        let (one, shared) = (IpAddr::from([10, 1, 1, 1]), IpAddr::from([10, 2, 1, 1]));
        w.set_imports(&[Imports::Only(Rules { overlays: vec![OverlayId(0)], ..Rules::default() })]);
        (0..3).for_each(|n| w.set_peer(PeerId(n), peer(n as u16 / 2, n as u8)));
        w.set_group(GroupId(0), group(&[0, 1]));
        w.set_route(Prefix::host(one), Action::Encap(PeerId(0)));
        w.set_route(Prefix::host(shared), Action::Group(GroupId(0)));
        let mut told = |change: &dyn Fn(&mut TablesWriter)| {
            change(&mut w);
            let tables = w.publish();
            c.follow(&tables);
            [one, shared].map(|addr| ask(&mut c, &tables, Domain(0), addr) != Packed::BARRED)
        };
        assert_eq!(told(&|_| {}), [true, true]);
        assert_eq!(told(&|w| w.set_group(GroupId(0), group(&[1, 2]))), [true, false]);
        assert_eq!(told(&|w| w.set_group(GroupId(0), group(&[0]))), [true, true]);
        assert_eq!(told(&|w| w.set_peer(PeerId(0), peer(1, 0))), [false, false]);
        assert_eq!(told(&|w| w.set_peer(PeerId(0), peer(0, 5))), [true, true]);
        assert_eq!(told(&|w| w.set_imports(&[])), [true, true]);
    }

    /// One step of a history.
    #[derive(Clone, Debug)]
    enum Step {
        Set(Prefix, Action),
        Remove(Prefix),
        Peer(u32, Option<u16>),
        Group(Vec<u32>),
        Imports(u8),
        Reset,
        /// So many versions, of which the worker sees the last.
        Publish(u8),
        Look(Domain, IpAddr),
    }

    /// Few addresses in few networks, so that prefixes nest and everything happens to what is in the cache.
    fn address() -> impl Strategy<Value = IpAddr> {
        (any::<bool>(), 0u8..2, 0u8..2, 0u8..4).prop_map(|(v4, a, b, c)| match v4 {
            true => IpAddr::from([10, a, b, c]),
            false => {
                Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(a) << 70 | u128::from(b) << 8 | u128::from(c)).into()
            }
        })
    }

    fn network() -> impl Strategy<Value = Prefix> {
        let spare = prop::sample::select(vec![0u8, 0, 0, 0, 1, 2, 8, 11, 12, 20, 24, 32]);
        (address(), spare).prop_map(|(addr, spare)| {
            let host = Prefix::host(addr);
            host.widened(host.len() - spare)
        })
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            4 => (0u32..3).prop_map(|n| Action::Encap(PeerId(n))),
            1 => Just(Action::Deliver(HopId(0))),
            1 => Just(Action::Local),
            2 => Just(Action::Group(GroupId(0))),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (network(), action()).prop_map(|(prefix, action)| Step::Set(prefix, action)),
            4 => network().prop_map(Step::Remove),
            1 => (0u32..3, prop::option::of(0u16..2)).prop_map(|(row, overlay)| Step::Peer(row, overlay)),
            1 => prop::collection::vec(0u32..3, 1..3).prop_map(Step::Group),
            1 => (0u8..3).prop_map(Step::Imports),
            1 => Just(Step::Reset),
            8 => prop_oneof![9 => 1u8..4, 1 => 1u8..20].prop_map(Step::Publish),
            32 => (0u16..3, address()).prop_map(|(domain, addr)| Step::Look(Domain(domain), addr)),
        ]
    }

    fn imports(which: u8) -> Vec<Imports> {
        let only = |overlays| Imports::Only(Rules { overlays, ..Rules::default() });
        match which {
            0 => vec![],
            1 => vec![only(vec![OverlayId(0)]), Imports::All, only(vec![])],
            _ => vec![Imports::All, only(vec![OverlayId(1)])],
        }
    }

    /// Does a step to the tables; those that are in use afterwards.
    fn done(step: &Step, w: &mut TablesWriter) -> Option<Tables> {
        match step {
            Step::Set(prefix, action) => w.set_route(*prefix, *action),
            Step::Remove(prefix) => w.remove_route(prefix),
            Step::Peer(row, overlay) => w.set_peer(PeerId(*row), overlay.and_then(|overlay| peer(overlay, *row as u8))),
            Step::Group(peers) => w.set_group(GroupId(0), group(peers)),
            Step::Imports(which) => w.set_imports(&imports(*which)),
            Step::Reset => w.reset(vec![overlay(1), overlay(2)]),
            Step::Publish(versions) => {
                (1..*versions).for_each(|_| drop(w.publish()));
                return Some(w.publish());
            }
            Step::Look(..) => {}
        }
        None
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        /// Whatever happened before, the cache says what the version in use would say.
        #[test]
        fn no_answer_outlives_its_version(steps in prop::collection::vec(step(), 1..200), entries in 1usize..64) {
            let (mut w, mut c) = (writer(), cache(entries));
            let mut tables = w.publish();
            for step in &steps {
                if let Some(next) = done(step, &mut w) {
                    tables = next;
                }
                c.follow(&tables);
                if let Step::Look(domain, addr) = step {
                    let should = Packed::from(tables.lookup(*domain, *addr));
                    prop_assert_eq!(ask(&mut c, &tables, *domain, *addr), should, "{:?} {}", domain, addr);
                }
            }
        }
    }
}
