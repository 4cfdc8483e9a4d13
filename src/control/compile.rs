//! From targets and next hops to table rows: everything that can be worked out before a packet comes.

mod groups;

use core::net::{IpAddr, Ipv4Addr};
use std::collections::HashMap;

use super::keeper::{Hop, HopKey, HopState, Unready};
use super::rib::Outcome;
use super::{Target, Targets};
use crate::tables::{
    Action, Dscp, Group, GroupId, HopId, Member, NextHop, OuterHeader, Overlay, OverlayId, Peer, PeerId, PortId,
    TablesWriter, Way,
};
use crate::wire::outer::Ends;
use crate::wire::vxlan::{OVERHEAD_V4, OVERHEAD_V6};
use crate::wire::{Ethernet, Mac, OuterV4, OuterV6, Prefix, ecn};
use groups::{Groups, identity};

/// A port, as far as tables depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortLink {
    /// The kernel's index of the interface.
    pub ifindex: u32,
    /// MTU to obey if smaller than the kernel's.
    pub mtu: Option<u16>,
    /// True if it carries VXLAN: only there are replies of peers taken.
    pub underlay: bool,
}

/// A row of the tables in the making: its number, and the routes and groups that need it.
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

/// Every route asks for its target here, and no stranger chooses targets: the hash may be a fast one.
type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// Keeps the tables in step with the RIB and with the kernel's next hops.
#[derive(Debug)]
pub struct Compiler {
    writer: TablesWriter,
    ports: Vec<PortLink>,
    overlays: Vec<Overlay>,
    rows: Map<Target, Row>,
    groups: Groups,
    /// Targets by the next hop they need.
    waiting: Map<HopKey, Vec<Target>>,
    peer_numbers: Numbers,
    hop_numbers: Numbers,
}

impl Compiler {
    /// A compiler for these overlays and ports; the tables of `writer` must be empty.
    pub fn new(mut writer: TablesWriter, overlays: Vec<Overlay>, ports: Vec<PortLink>) -> Self {
        for overlay in &overlays {
            for address in overlay.addresses.iter() {
                writer.set_route(Prefix::host(address), Action::Local);
            }
        }
        Self {
            writer,
            ports,
            overlays,
            rows: Map::default(),
            groups: Groups::default(),
            waiting: Map::default(),
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
        let Outcome { prefix, before, after } = outcome;
        if let (Some(before), Some(after)) = (before, after)
            && self.regroup(before, after, state)
        {
            return;
        }
        match after {
            Some(targets) => {
                let action = self.acquire(targets, state);
                self.writer.set_route(*prefix, action);
            }
            // the gateway's own address is no route of the RIB and stays
            None if self.is_own(prefix) => self.writer.set_route(*prefix, Action::Local),
            None => self.writer.remove_route(prefix),
        }
        if let Some(targets) = before {
            self.release(targets);
        }
    }

    /// Follows a change of a next hop.
    pub fn resolve(&mut self, key: &HopKey, state: &HopState) {
        let Some(targets) = self.waiting.get(key) else { return };
        for target in targets.clone() {
            self.write(target, state);
        }
    }

    /// A next hop's state, as it counts: VXLAN that left by an access port would bring replies that nobody takes.
    pub fn judge(&self, key: &HopKey, state: HopState) -> HopState {
        match (key, state) {
            (HopKey::Routed { .. }, Ok(hop)) if self.underlay(hop.ifindex).is_none() => {
                Err(Unready::NotUnderlay { ifindex: hop.ifindex })
            }
            (_, state) => state,
        }
    }

    /// The targets that need a next hop.
    pub(super) fn behind(&self, key: &HopKey) -> &[Target] {
        self.waiting.get(key).map_or(&[], Vec::as_slice)
    }

    /// The underlay port on an interface.
    fn underlay(&self, ifindex: u32) -> Option<PortId> {
        let port = self.ports.iter().position(|p| p.underlay && p.ifindex == ifindex)?;
        u8::try_from(port).ok().map(PortId)
    }

    fn is_own(&self, prefix: &Prefix) -> bool {
        self.overlays.iter().any(|o| o.addresses.iter().any(|a| Prefix::host(a) == *prefix))
    }

    fn acquire(&mut self, targets: &Targets, state: &dyn Fn(&HopKey) -> HopState) -> Action {
        if let [target] = targets.all() {
            return self.acquire_row(*target, state);
        }
        let shared = self.groups.share(targets);
        let id = shared.unwrap_or_else(|| {
            targets.all().iter().for_each(|target| _ = self.acquire_row(*target, state));
            let id = self.groups.add(targets);
            self.write_group(targets);
            id
        });
        Action::Group(GroupId(id))
    }

    fn release(&mut self, targets: &Targets) {
        if let [target] = targets.all() {
            return self.release_row(*target);
        }
        if let Some(id) = self.groups.release(targets) {
            self.writer.set_group(GroupId(id), None);
            targets.all().iter().for_each(|target| self.release_row(*target));
        }
    }

    /// Lets members come and go where nothing else has the group: its row changes, and no route.
    fn regroup(&mut self, before: &Targets, after: &Targets, state: &dyn Fn(&HopKey) -> HopState) -> bool {
        if after.all().len() < 2 || !self.groups.rename(before, after) {
            return false;
        }
        after.all().iter().for_each(|target| _ = self.acquire_row(*target, state));
        self.write_group(after);
        before.all().iter().for_each(|target| self.release_row(*target));
        true
    }

    /// Writes the row of a group as far as its members' rows are written.
    fn write_group(&mut self, targets: &Targets) {
        let Some(id) = self.groups.row(targets) else { return };
        let member = |target: &Target| {
            let action = action(target, self.rows.get(target)?.id);
            Some(Member { action, identity: identity(target), ready: self.writer.is_ready(action) })
        };
        let members: Vec<Member> = targets.all().iter().filter_map(member).collect();
        self.writer.set_group(GroupId(id), Some(Group::new(&members)));
    }

    fn acquire_row(&mut self, target: Target, state: &dyn Fn(&HopKey) -> HopState) -> Action {
        if let Some(row) = self.rows.get_mut(&target) {
            row.routes += 1;
            return action(&target, row.id);
        }
        let id = match target {
            Target::Vtep { .. } => self.peer_numbers.take(),
            Target::Native { .. } => self.hop_numbers.take(),
        };
        self.rows.insert(target, Row { id, routes: 1 });
        let key = hop_key(&target, &self.overlays, &self.ports);
        self.waiting.entry(key).or_default().push(target);
        self.write(target, &state(&key));
        action(&target, id)
    }

    fn release_row(&mut self, target: Target) {
        let Some(row) = self.rows.get_mut(&target) else { return };
        row.routes -= 1;
        if row.routes > 0 {
            return;
        }
        let id = row.id;
        self.rows.remove(&target);
        let key = hop_key(&target, &self.overlays, &self.ports);
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

    fn overlay(&self, id: OverlayId) -> Option<&Overlay> {
        self.overlays.get(usize::from(id.0))
    }

    /// Writes the row of a target as far as its next hop is known, and those of the groups that it is in.
    fn write(&mut self, target: Target, state: &HopState) {
        self.write_row(target, state);
        for group in self.groups.of(&target).to_vec() {
            self.write_group(&group);
        }
    }

    fn write_row(&mut self, target: Target, state: &HopState) {
        let Some(id) = self.rows.get(&target).map(|r| r.id) else { return };
        let hop = state.as_ref().ok();
        match target {
            Target::Vtep { overlay, vtep, mac, zero_checksum } => {
                let way = hop.and_then(|hop| self.way(overlay, vtep, mac, hop));
                self.writer.set_peer(PeerId(id), Some(Peer { overlay, vtep, mac, zero_checksum, way }));
            }
            Target::Native { port, next_hop } => {
                let way = hop.map(|hop| (Ethernet::ipv4(hop.mac, hop.source_mac), self.link_mtu(port, hop)));
                self.writer.set_hop(HopId(id), Some(NextHop { port, addr: next_hop, way }));
            }
        }
    }

    fn way(&self, overlay: OverlayId, vtep: IpAddr, mac: Mac, hop: &Hop) -> Option<Way> {
        let overlay = self.overlay(overlay)?;
        let port = self.underlay(hop.ifindex)?;
        let (dscp, tos_mask) = match overlay.dscp {
            Dscp::Pipe(dscp) => (dscp, ecn::MASK),
            Dscp::Uniform => (0, u8::MAX),
        };
        let ends = Ends {
            link: (hop.mac, hop.source_mac),
            vtep: (),
            inner: (mac, overlay.mac),
            udp_port: overlay.udp_port,
            vni: overlay.vni,
            dscp,
        };
        let (header, overhead) = match (vtep, overlay.local) {
            (IpAddr::V4(remote), IpAddr::V4(local)) => {
                (OuterHeader::V4(OuterV4::prebuilt(&ends.between(remote, local))), OVERHEAD_V4)
            }
            (IpAddr::V6(remote), IpAddr::V6(local)) => {
                (OuterHeader::V6(Box::new(OuterV6::prebuilt(&ends.between(remote, local)))), OVERHEAD_V6)
            }
            _ => return None,
        };
        let room = self.link_mtu(port, hop).saturating_sub(overhead);
        let mtu = overlay.mtu.map_or(room, |m| room.min(m.get()));
        Some(Way { port, header, tos_mask, mtu })
    }

    /// The largest IP packet that may leave towards a next hop.
    fn link_mtu(&self, port: PortId, hop: &Hop) -> u16 {
        let configured = self.ports.get(usize::from(port.0)).and_then(|p| p.mtu).unwrap_or(u16::MAX);
        u16::try_from(hop.mtu).unwrap_or(u16::MAX).min(configured)
    }
}

/// The next hop that a target needs.
pub fn hop_key(target: &Target, overlays: &[Overlay], ports: &[PortLink]) -> HopKey {
    match *target {
        Target::Vtep { overlay, vtep, .. } => {
            let overlay = overlays.get(usize::from(overlay.0));
            let from = overlay.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |o| o.local);
            HopKey::Routed { dst: vtep, from }
        }
        Target::Native { port, next_hop } => {
            let ifindex = ports.get(usize::from(port.0)).map_or(0, |p| p.ifindex);
            HopKey::Attached { ifindex, addr: next_hop }
        }
    }
}

fn action(target: &Target, id: u32) -> Action {
    match target {
        Target::Vtep { .. } => Action::Encap(PeerId(id)),
        Target::Native { .. } => Action::Deliver(HopId(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::Tables;
    use crate::wire::Vni;

    const LINKS: [PortLink; 3] = [
        PortLink { ifindex: 5, mtu: None, underlay: true },
        PortLink { ifindex: 6, mtu: Some(1400), underlay: false },
        PortLink { ifindex: 7, mtu: Some(1400), underlay: true },
    ];

    fn overlay(name: &str, vni: u32, local: [u8; 4], address: Option<[u8; 4]>) -> Overlay {
        Overlay {
            name: name.into(),
            vni: Vni::new(vni).unwrap(),
            udp_port: 4789,
            local: local.into(),
            mac: Mac([2, 0, 0, 0, 0, vni as u8]),
            addresses: address.map(IpAddr::from).into_iter().collect(),
            mtu: None,
            dscp: Dscp::Pipe(0),
            source_check: true,
            fit: crate::tables::Fit::default(),
            gbp: false,
            inner_vlan: 0,
            zero_checksum: false,
        }
    }

    fn blue() -> Overlay {
        overlay("blue", 1, [192, 0, 2, 1], Some([10, 244, 255, 1]))
    }

    fn green() -> Overlay {
        overlay("green", 7, [192, 0, 2, 2], None)
    }

    fn compiler(overlays: &[Overlay]) -> Compiler {
        Compiler::new(TablesWriter::new(overlays.to_vec(), vec![]), overlays.to_vec(), LINKS.to_vec())
    }

    fn node(overlay: u16, n: u8, mac: u8) -> Target {
        let mac = Mac([2, 0, 0, 0, 1, mac]);
        Target::Vtep { overlay: OverlayId(overlay), vtep: [192, 0, 2, n].into(), mac, zero_checksum: false }
    }

    fn router(n: u8) -> Target {
        Target::Native { port: PortId(1), next_hop: [10, 9, 0, n].into() }
    }

    fn hop(ifindex: u32, mac: u8) -> HopState {
        let gateway = [192, 0, 2, 254].into();
        Ok(Hop { ifindex, gateway, mac: Mac([2, 0, 0, 0, 9, mac]), source_mac: Mac([2, 0, 0, 0, 8, 0]), mtu: 1500 })
    }

    /// Moves a prefix from one target to another; peers leave by port 0, native next hops by port 1.
    fn change(c: &mut Compiler, prefix: &str, before: Option<Target>, after: Option<Target>) {
        let state = |key: &HopKey| match key {
            HopKey::Routed { .. } => hop(5, 1),
            HopKey::Attached { ifindex, .. } => hop(*ifindex, 2),
        };
        let [before, after] = [before, after].map(|target| target.map(Targets::from));
        c.follow(&Outcome { prefix: prefix.parse().unwrap(), before, after }, &state);
    }

    fn tables(c: &mut Compiler) -> Tables {
        c.writer().publish()
    }

    fn at(t: &Tables, dst: [u8; 4]) -> Option<Action> {
        t.lookup(crate::tables::Domain(0), dst.into())
    }

    fn peer(t: &Tables, dst: [u8; 4]) -> &Peer {
        match at(t, dst) {
            Some(Action::Encap(id)) => t.peer(id).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_peer_with_another_mac_is_another_peer_and_stays_the_source_it_was() {
        let mut c = compiler(&[blue()]);
        let (old, new) = (node(0, 11, 1), node(0, 11, 2));
        change(&mut c, "10.244.1.0/24", None, Some(old));
        change(&mut c, "10.244.2.0/24", None, Some(old));
        let before = tables(&mut c);
        change(&mut c, "10.244.1.0/24", Some(old), Some(new));
        let between = tables(&mut c);
        assert_eq!(peer(&between, [10, 244, 2, 1]).mac, Mac([2, 0, 0, 0, 1, 1]), "the rest of it is still to come");
        change(&mut c, "10.244.2.0/24", Some(old), Some(new));
        let after = tables(&mut c);
        for dst in [[10, 244, 1, 1], [10, 244, 2, 1]] {
            let p = peer(&after, dst);
            assert_eq!((p.mac, p.way.is_some()), (Mac([2, 0, 0, 0, 1, 2]), true));
            let id = after.peer_by_source(OverlayId(0), [192, 0, 2, 11].into()).unwrap();
            assert_eq!((at(&after, dst), after.peers().count()), (Some(Action::Encap(id)), 1));
            assert_eq!(peer(&before, dst).mac, Mac([2, 0, 0, 0, 1, 1]), "versions published before stay as they are");
        }
        assert_eq!(c.wanted().count(), 1, "it is behind the same next hop");
    }

    #[test]
    fn rows_live_as_long_as_a_route_needs_them_and_are_used_again() {
        let mut c = compiler(&[blue()]);
        change(&mut c, "10.244.1.0/24", None, Some(node(0, 11, 1)));
        change(&mut c, "10.244.2.0/24", None, Some(node(0, 11, 1)));
        change(&mut c, "10.9.0.0/24", None, Some(router(1)));
        change(&mut c, "10.244.1.0/24", Some(node(0, 11, 1)), None);
        let t = tables(&mut c);
        assert_eq!((at(&t, [10, 244, 1, 1]), t.peers().count(), c.wanted().count()), (None, 1, 2));
        change(&mut c, "10.244.2.0/24", Some(node(0, 11, 1)), Some(node(0, 12, 2)));
        change(&mut c, "10.9.0.0/24", Some(router(1)), Some(router(2)));
        change(&mut c, "10.244.3.0/24", None, Some(node(0, 13, 3)));
        let t = tables(&mut c);
        assert_eq!(peer(&t, [10, 244, 2, 1]).vtep, IpAddr::from([192, 0, 2, 12]));
        assert_eq!(peer(&t, [10, 244, 3, 1]).vtep, IpAddr::from([192, 0, 2, 13]));
        assert_eq!((t.peers().count(), t.hops().count(), c.peer_numbers.next), (2, 1, 2), "the freed row is in use");
        assert_eq!(t.peer_by_source(OverlayId(0), [192, 0, 2, 11].into()), None, "nobody's address any more");
        assert_eq!((c.wanted().count(), c.rows.len()), (3, 3));
        for (prefix, target) in
            [("10.244.2.0/24", node(0, 12, 2)), ("10.244.3.0/24", node(0, 13, 3)), ("10.9.0.0/24", router(2))]
        {
            change(&mut c, prefix, Some(target), None);
        }
        let t = tables(&mut c);
        assert_eq!((t.peers().count(), t.hops().count(), c.wanted().count(), c.rows.len()), (0, 0, 0, 0));
    }

    #[test]
    fn a_group_lives_as_long_as_a_route_needs_it_and_so_do_its_members() {
        let mut c = compiler(&[blue(), green()]);
        let state = |key: &HopKey| match key {
            HopKey::Routed { .. } => hop(5, 1),
            HopKey::Attached { ifindex, .. } => hop(*ifindex, 2),
        };
        let any_of = |targets: &[Target]| Targets::of(targets.iter().copied());
        let follow = |c: &mut Compiler, prefix: &str, before: &Option<Targets>, after: &Option<Targets>| {
            let outcome = Outcome { prefix: prefix.parse().unwrap(), before: before.clone(), after: after.clone() };
            c.follow(&outcome, &state);
            tables(c)
        };
        let (two, other, one) = (
            any_of(&[node(0, 11, 1), node(0, 12, 2)]),
            any_of(&[node(0, 12, 2), node(0, 13, 3)]),
            any_of(&[node(0, 11, 1)]),
        );
        let mixed = any_of(&[node(0, 12, 2), node(1, 21, 3)]);
        follow(&mut c, "10.244.1.0/24", &None, &two);
        let t = follow(&mut c, "10.244.2.0/24", &None, &two);
        assert_eq!((at(&t, [10, 244, 1, 1]), t.peers().count()), (Some(Action::Group(GroupId(0))), 2));
        assert_eq!(at(&t, [10, 244, 1, 1]), at(&t, [10, 244, 2, 1]));
        let t = follow(&mut c, "10.244.1.0/24", &two, &other);
        assert_eq!((at(&t, [10, 244, 1, 1]), t.peers().count()), (Some(Action::Group(GroupId(1))), 3));
        let t = follow(&mut c, "10.244.2.0/24", &two, &other);
        assert_eq!((at(&t, [10, 244, 2, 1]), t.peers().count()), (Some(Action::Group(GroupId(1))), 2), "it is shared");
        follow(&mut c, "10.244.1.0/24", &other, &one);
        let t = follow(&mut c, "10.244.2.0/24", &other, &mixed);
        assert_eq!(
            at(&t, [10, 244, 2, 1]),
            Some(Action::Group(GroupId(0))),
            "what may be reached from where is another"
        );
        assert_eq!(t.ways(&at(&t, [10, 244, 2, 1]).into()).len(), 2);
        follow(&mut c, "10.244.1.0/24", &one, &None);
        let t = follow(&mut c, "10.244.2.0/24", &mixed, &None);
        assert_eq!((t.peers().count(), c.wanted().count(), c.rows.len(), c.groups.is_empty()), (0, 0, 0, true));
    }

    #[test]
    fn a_next_hop_that_changes_reaches_every_target_behind_it_and_no_other() {
        let mut c = compiler(&[blue(), green()]);
        let shared = HopKey::Routed { dst: [192, 0, 2, 11].into(), from: [192, 0, 2, 1].into() };
        change(&mut c, "10.244.1.0/24", None, Some(node(0, 11, 1)));
        change(&mut c, "10.244.2.0/24", None, Some(node(0, 11, 2)));
        change(&mut c, "10.245.1.0/24", None, Some(node(1, 11, 3)));
        assert_eq!(c.wanted().count(), 2, "the lookup depends on our end");
        c.resolve(&shared, &Err(Unready::Unreachable));
        let t = tables(&mut c);
        let ready = |t: &Tables| {
            [[10, 244, 1, 1], [10, 244, 2, 1], [10, 245, 1, 1]].map(|dst| peer(t, dst).way.as_ref().map(|w| w.mtu))
        };
        assert_eq!(ready(&t), [None, None, Some(1450)]);
        c.resolve(&shared, &hop(7, 3));
        let t = tables(&mut c);
        assert_eq!(ready(&t), [Some(1350), Some(1350), Some(1450)], "the MTU of the other port obeys the file");
        c.resolve(&shared, &hop(77, 3));
        assert_eq!(ready(&tables(&mut c))[0], None, "by an interface that is no port");
        c.resolve(&shared, &hop(6, 3));
        assert_eq!(ready(&tables(&mut c)), [None, None, Some(1450)], "replies to an access port are nobody's");
        assert_eq!(c.judge(&shared, hop(6, 3)), Err(Unready::NotUnderlay { ifindex: 6 }));
        assert_eq!(c.judge(&shared, hop(7, 3)), hop(7, 3));
        let native = HopKey::Attached { ifindex: 6, addr: [10, 9, 0, 1].into() };
        assert_eq!(c.judge(&native, hop(6, 3)), hop(6, 3));
        c.resolve(&HopKey::Attached { ifindex: 6, addr: [1, 1, 1, 1].into() }, &hop(6, 3));
    }

    #[test]
    fn the_gateways_own_address_is_local_again_when_a_route_to_it_goes() {
        let mut c = compiler(&[blue()]);
        let own = [10, 244, 255, 1];
        assert_eq!(at(&tables(&mut c), own), Some(Action::Local));
        change(&mut c, "10.244.0.0/16", None, Some(node(0, 11, 1)));
        assert_eq!(at(&tables(&mut c), own), Some(Action::Local), "the longest prefix wins");
        change(&mut c, "10.244.255.1/32", Some(node(0, 11, 1)), None);
        let t = tables(&mut c);
        assert_eq!(at(&t, own), Some(Action::Local));
        change(&mut c, "10.244.0.0/16", Some(node(0, 11, 1)), None);
        assert_eq!((at(&tables(&mut c), own), at(&t, [10, 244, 1, 1]).is_some()), (Some(Action::Local), true));
    }

    #[test]
    fn another_set_of_overlays_begins_empty_with_a_higher_epoch() {
        let mut c = compiler(&[blue(), green()]);
        change(&mut c, "10.245.1.0/24", None, Some(node(1, 21, 1)));
        let before = tables(&mut c);
        let now = [green(), blue()];
        let writer = c.into_reset_writer(now.to_vec());
        let mut c = Compiler::new(writer, now.to_vec(), LINKS.to_vec());
        change(&mut c, "10.245.1.0/24", None, Some(node(0, 21, 1)));
        let after = tables(&mut c);
        assert!(after.epoch() > before.epoch(), "no cache takes an old answer for a new one");
        assert_eq!((peer(&before, [10, 245, 1, 1]).overlay, after.peers().count()), (OverlayId(1), 1));
        assert_eq!(peer(&after, [10, 245, 1, 1]).overlay, OverlayId(0));
        assert_eq!(after.overlay(OverlayId(0)).unwrap().name, "green");
        assert_eq!(at(&after, [10, 244, 255, 1]), Some(Action::Local));
    }
}
