//! Facts in, news out. No clock, no IO.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::fact::{At, Fact, Kind, Link, Nexthop, Place, Remote, Route, Vxlan, Way};
use super::resolve::{Answer, Fate, Subject, resolve};
use super::routes::Routes;
use super::{Options, Segment};
#[cfg(test)]
use crate::control::source::Key;
use crate::control::source::{Fault, News, Object, Refusal};
use crate::wire::{Mac, Prefix};

/// How an interface leads to the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lane {
    /// It is the device.
    Device,
    /// It is the bridge that the device is a port of.
    Bridge,
    /// It is a VLAN device on that bridge.
    Vlan(u16),
}

/// What the kernel's tables say, as far as it may matter.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    options: Options,
    pub(super) segment: Segment,
    links: HashMap<u32, Link>,
    /// Interfaces whose next hops may be behind the device.
    pub(super) lanes: BTreeMap<u32, Lane>,
    /// Neighbours on those.
    pub(super) neighbours: HashMap<At, Mac>,
    /// The device's forwarding table.
    pub(super) forwards: HashMap<Mac, Remote>,
    /// Where the device sends frames that have no entry there.
    pub(super) flood: BTreeSet<Remote>,
    /// What the bridge has behind the device, by VLAN.
    pub(super) bridged: HashSet<(Mac, u16)>,
    pub(super) nexthops: HashMap<u32, Nexthop>,
    /// All of the table, other interfaces' too: one of those may be in force instead.
    pub(super) routes: HashMap<Prefix, Routes>,
    /// Prefixes whose hosts are neighbours on a lane.
    on_link: BTreeSet<(u32, Prefix)>,
}

impl Tables {
    /// Name of the device.
    pub(super) fn device(&self) -> &str {
        &self.options.device
    }

    /// Name of an interface.
    pub(super) fn name(&self, ifindex: u32) -> String {
        self.links.get(&ifindex).map_or_else(|| format!("interface {ifindex}"), |link| link.name.clone())
    }

    /// True if a neighbour's address is within a prefix whose hosts are neighbours there.
    pub(super) fn is_on_link(&self, at: At) -> bool {
        let least = Prefix::host([0; 4].into()).widened(0);
        let on_link = self.on_link.range((at.ifindex, least)..).take_while(|(ifindex, _)| *ifindex == at.ifindex);
        on_link.into_iter().any(|(_, prefix)| prefix.contains(at.addr))
    }

    /// The device, if it is there and is one.
    pub(super) fn link(&self) -> Option<(&Link, Vxlan)> {
        self.links.values().filter(|link| link.name == self.options.device).find_map(|link| match link.kind {
            Kind::Vxlan(vxlan) => Some((link, vxlan)),
            _ => None,
        })
    }

    /// True if there is an interface of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.links.values().any(|link| link.name == name)
    }

    fn find_lanes(&self) -> BTreeMap<u32, Lane> {
        let Some((device, _)) = self.link() else { return BTreeMap::new() };
        let mut lanes = BTreeMap::from([(device.ifindex, Lane::Device)]);
        let master = device.master.and_then(|master| self.links.get(&master));
        if let Some(bridge) = master.filter(|master| master.kind == Kind::Bridge) {
            lanes.insert(bridge.ifindex, Lane::Bridge);
            lanes.extend(self.links.values().filter_map(|link| match link.kind {
                Kind::Vlan { on, id } if on == bridge.ifindex => Some((link.ifindex, Lane::Vlan(id))),
                _ => None,
            }));
        }
        lanes
    }
}

/// What is to be told.
#[derive(Default, Debug)]
pub(super) struct Changes {
    gone: Vec<News>,
    said: Vec<News>,
    /// Somebody claims less than before.
    pub(super) takes_back: bool,
}

impl Changes {
    fn note(&mut self, before: Option<Object>, now: Option<&Object>) {
        let had = before.as_ref().map_or(&[][..], |object| &object.claims);
        self.takes_back |= had.iter().any(|claim| !now.is_some_and(|now| now.claims.contains(claim)));
        match (before, now) {
            (Some(before), None) => self.gone.push(News::Gone(before.key)),
            (before, Some(now)) if before.as_ref() != Some(now) => self.said.push(News::Is(now.clone())),
            _ => {}
        }
    }

    /// In order: what takes the place of something else comes after that is gone.
    pub(super) fn news(self) -> impl Iterator<Item = News> {
        self.gone.into_iter().chain(self.said)
    }
}

/// What is known, what was told, and what must be resolved again.
#[derive(Debug)]
pub(super) struct Mirror {
    tables: Tables,
    /// What was told of each, and what that depends on.
    told: HashMap<Subject, Answer>,
    /// Who depends on what.
    users: BTreeSet<(Fate, Subject)>,
    /// Routes that use a next-hop object, in force or not.
    by_nexthop: BTreeSet<(u32, Prefix)>,
    dirty: BTreeSet<Subject>,
    stale: bool,
}

impl Mirror {
    /// A mirror of what a listing said, of which nothing was told.
    pub(super) fn new(options: Options, segment: Segment, listing: Vec<Fact>) -> Self {
        let tables = Tables {
            options,
            segment,
            links: HashMap::new(),
            lanes: BTreeMap::new(),
            neighbours: HashMap::new(),
            forwards: HashMap::new(),
            flood: BTreeSet::new(),
            bridged: HashSet::new(),
            nexthops: HashMap::new(),
            routes: HashMap::new(),
            on_link: BTreeSet::new(),
        };
        let (told, users, by_nexthop) = (HashMap::new(), BTreeSet::new(), BTreeSet::new());
        let mut mirror = Self { tables, told, users, by_nexthop, dirty: BTreeSet::new(), stale: false };
        let (links, rest): (Vec<_>, Vec<_>) = listing.into_iter().partition(|fact| matches!(fact, Fact::Link(_)));
        for fact in links {
            if let Fact::Link(link) = fact {
                mirror.tables.links.insert(link.ifindex, link);
            }
        }
        mirror.tables.lanes = mirror.tables.find_lanes();
        rest.into_iter().for_each(|fact| mirror.hear(fact));
        mirror
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// True when the kernel has changed tables without a word, or other interfaces lead to the device now: it takes
    /// another listing to know what is.
    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// True when there may be something to tell.
    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// What is wrong with the device, as an object of its own; and whether its routes are of another segment.
    pub(super) fn device(&self) -> (Option<Object>, bool) {
        let tables = &self.tables;
        let Some((link, vxlan)) = tables.link() else { return (None, true) };
        let wanted = &tables.segment;
        let differs = |what: &str, has: String, wanted: String| {
            Fault::new(Refusal::OtherSegment, format!("the device has {what} {has}, the overlay {wanted}"))
        };
        let mut faults = Vec::new();
        if vxlan.external {
            faults.push(differs(
                "no VNI of its own (external) but",
                "that of each route".into(),
                wanted.vni.to_string(),
            ));
        } else if vxlan.vni != wanted.vni.get() {
            faults.push(differs("VNI", vxlan.vni.to_string(), wanted.vni.to_string()));
        }
        if vxlan.udp_port != wanted.udp_port {
            faults.push(differs("UDP port", vxlan.udp_port.to_string(), wanted.udp_port.to_string()));
        }
        let foreign = vxlan.local.is_some_and(|local| local.is_ipv4() != wanted.local.is_ipv4());
        let apart = foreign || !faults.is_empty();
        // The segment's VTEPs are the same behind another address of ours: that is told, and no more.
        if let Some(local) = vxlan.local.filter(|local| *local != wanted.local) {
            faults.push(differs("local address", local.to_string(), wanted.local.to_string()));
        }
        let key = format!("dev {}", link.name).into();
        ((!faults.is_empty()).then_some(Object { key, claims: Vec::new(), faults }), apart)
    }

    /// Takes in a fact.
    pub(super) fn hear(&mut self, fact: Fact) {
        match fact {
            Fact::Link(link) => self.link(link),
            Fact::LinkGone(ifindex) => self.link_gone(ifindex),
            // Routes with that preferred source are withdrawn without a word (fib_sync_down_addr).
            Fact::AddressGone => self.stale = true,
            Fact::Neighbour { at, mac } => self.neighbour(at, mac),
            Fact::Forward { ifindex, mac, to } => self.forward(ifindex, mac, to, true),
            Fact::ForwardGone { ifindex, mac, to } => self.forward(ifindex, mac, to, false),
            Fact::Bridged { port, mac, vlan, there } => self.bridged(port, mac, vlan, there),
            Fact::Nexthop(id, nexthop) => {
                if self.tables.nexthops.get(&id) != Some(&nexthop) {
                    self.tables.nexthops.insert(id, nexthop);
                    self.touched(Fate::Nexthop(id));
                }
            }
            Fact::NexthopGone(id) => self.nexthop_gone(id),
            Fact::Route { prefix, route, place } => self.route(prefix, route, place),
            Fact::RouteGone { prefix, route } => {
                let v6 = prefix.addr().is_ipv6();
                self.routes(prefix, |routes| routes.remove(&route, v6));
            }
        }
    }

    /// Who looked at this must look again.
    fn touched(&mut self, fate: Fate) {
        let least = Subject::Route(Prefix::host([0; 4].into()).widened(0));
        let users = self.users.range((fate, least)..).take_while(|(used, _)| *used == fate);
        self.dirty.extend(users.map(|(_, subject)| *subject));
    }

    fn link(&mut self, link: Link) {
        let ifindex = link.ifindex;
        let up = link.up;
        let before = self.tables.links.insert(ifindex, link.clone());
        let was_up = before.as_ref().is_some_and(|before| before.up);
        let lanes = self.tables.find_lanes();
        if lanes != self.tables.lanes || (lanes.contains_key(&ifindex) && before != Some(link)) {
            self.stale = true;
        } else if was_up && !up {
            self.down(ifindex);
        }
    }

    fn link_gone(&mut self, ifindex: u32) {
        self.tables.links.remove(&ifindex);
        match self.tables.lanes.contains_key(&ifindex) {
            true => self.stale = true,
            false => self.down(ifindex),
        }
    }

    /// The kernel takes down next-hop objects and IPv4 routes of an interface without a word about each
    /// (nexthop_flush_dev, fib_sync_down_dev); those of the device's own interfaces are listed anew.
    fn down(&mut self, ifindex: u32) {
        let on_it = |nexthop: &Nexthop| matches!(nexthop, Nexthop::Hop(hop) if hop.ifindex == ifindex);
        let gone: Vec<u32> = self.tables.nexthops.iter().filter(|(_, n)| on_it(n)).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.nexthop_gone(id));
        let by_it = |route: &Route| match &route.way {
            Way::Hops(hops) => !hops.is_empty() && hops.iter().all(|hop| hop.ifindex == ifindex),
            Way::Nexthop(_) => false,
        };
        let holds = |routes: &Routes| routes.iter().any(by_it);
        let affected = self.tables.routes.iter().filter(|(_, routes)| holds(routes)).map(|(prefix, _)| *prefix);
        for prefix in affected.collect::<Vec<_>>() {
            self.routes(prefix, |routes| routes.retain(|route| !by_it(route)));
        }
    }

    fn neighbour(&mut self, at: At, mac: Option<Mac>) {
        if !self.tables.lanes.contains_key(&at.ifindex) {
            return;
        }
        let before = match mac {
            Some(mac) => self.tables.neighbours.insert(at, mac),
            None => self.tables.neighbours.remove(&at),
        };
        if before != mac {
            self.touched(Fate::Neighbour(at));
            self.dirty.insert(Subject::Host(at));
        }
    }

    fn is_device(&self, ifindex: u32) -> bool {
        self.tables.lanes.get(&ifindex) == Some(&Lane::Device)
    }

    fn forward(&mut self, ifindex: u32, mac: Mac, to: Remote, there: bool) {
        if !self.is_device(ifindex) || mac.is_multicast() {
            return;
        }
        let tables = &mut self.tables;
        // Only the entry for all others has several destinations; another that is replaced is not deleted first
        // (vxlan_fdb_replace).
        let (changed, fate) = match (mac == Mac::ZERO, there) {
            (true, true) => (tables.flood.insert(to), Fate::Flood),
            (true, false) => (tables.flood.remove(&to), Fate::Flood),
            (false, true) => (tables.forwards.insert(mac, to) != Some(to), Fate::Forward(mac)),
            (false, false) => (tables.forwards.remove(&mac).is_some(), Fate::Forward(mac)),
        };
        if changed {
            self.touched(fate);
        }
    }

    fn bridged(&mut self, port: u32, mac: Mac, vlan: Option<u16>, there: bool) {
        let Some(vlan) = vlan.filter(|_| self.is_device(port)) else { return };
        let changed = match there {
            true => self.tables.bridged.insert((mac, vlan)),
            false => self.tables.bridged.remove(&(mac, vlan)),
        };
        if changed {
            self.touched(Fate::Bridged(mac, vlan));
        }
    }

    /// Routes by an object go with it, without a word (__remove_nexthop_fib).
    fn nexthop_gone(&mut self, id: u32) {
        self.tables.nexthops.remove(&id);
        self.touched(Fate::Nexthop(id));
        let least = Prefix::host([0; 4].into()).widened(0);
        let users = self.by_nexthop.range((id, least)..).take_while(|(used, _)| *used == id);
        for prefix in users.map(|(_, prefix)| *prefix).collect::<Vec<_>>() {
            self.routes(prefix, |routes| routes.retain(|route| route.way != Way::Nexthop(id)));
        }
    }

    fn route(&mut self, prefix: Prefix, route: Route, place: Place) {
        let v6 = prefix.addr().is_ipv6();
        self.routes(prefix, |routes| routes.add(route, place, v6));
    }

    /// Changes the routes to a prefix.
    fn routes(&mut self, prefix: Prefix, change: impl FnOnce(&mut Routes)) {
        let mut routes = self.tables.routes.remove(&prefix).unwrap_or_default();
        for id in nexthops(&routes) {
            self.by_nexthop.remove(&(id, prefix));
        }
        for ifindex in self.on_link(&routes) {
            self.tables.on_link.remove(&(ifindex, prefix));
            self.touched(Fate::OnLink(ifindex));
        }
        change(&mut routes);
        self.by_nexthop.extend(nexthops(&routes).map(|id| (id, prefix)));
        for ifindex in self.on_link(&routes) {
            self.tables.on_link.insert((ifindex, prefix));
            self.touched(Fate::OnLink(ifindex));
        }
        if !routes.is_empty() {
            self.tables.routes.insert(prefix, routes);
        }
        self.dirty.insert(Subject::Route(prefix));
        self.touched(Fate::Routes(prefix));
    }

    /// The lanes on which the hosts of a prefix are neighbours.
    fn on_link(&self, routes: &Routes) -> Vec<u32> {
        let Some(Route { way: Way::Hops(hops), .. }) = routes.best() else { return Vec::new() };
        let lanes = &self.tables.lanes;
        let on_link = hops.iter().filter(|hop| hop.gateway.is_none() && lanes.contains_key(&hop.ifindex));
        on_link.map(|hop| hop.ifindex).collect()
    }

    /// What is not as it was told, by at most so many subjects; it counts as told from here on.
    pub(super) fn changes(&mut self, most: usize) -> Changes {
        let mut changes = Changes::default();
        for _ in 0..most {
            let Some(subject) = self.dirty.pop_first() else { break };
            let answer = resolve(&self.tables, subject);
            let before = self.told.remove(&subject).unwrap_or_default();
            for fate in before.fates.difference(&answer.fates) {
                self.users.remove(&(*fate, subject));
            }
            self.users.extend(answer.fates.difference(&before.fates).map(|fate| (*fate, subject)));
            changes.note(before.object, answer.object.as_ref());
            if answer != Answer::default() {
                self.told.insert(subject, answer);
            }
        }
        changes
    }

    /// All objects, resolved from scratch.
    #[cfg(test)]
    pub(super) fn all(&self) -> BTreeMap<Key, Object> {
        use std::sync::Arc;
        let routes = self.tables.routes.keys().map(|prefix| Subject::Route(*prefix));
        let hosts = self.tables.neighbours.keys().map(|at| Subject::Host(*at));
        let objects = routes.chain(hosts).filter_map(|subject| resolve(&self.tables, subject).object);
        objects.map(|object| (Arc::clone(&object.key), object)).collect()
    }
}

fn nexthops(routes: &Routes) -> impl Iterator<Item = u32> {
    routes.iter().filter_map(|route| match route.way {
        Way::Nexthop(id) => Some(id),
        Way::Hops(_) => None,
    })
}
