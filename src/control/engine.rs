//! The control plane's one loop body: events in, tables out.

use core::net::IpAddr;
use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use super::Route;
use super::compile::{Compiler, PortLink, hop_key};
use super::explain::explain;
use super::keeper::{Changes, HopKey, HopState, Keeper, LinkChange, LinkFacts, Unready};
use super::learnt::{Learner, Learnt, SourceStatus};
use super::moves::Moves;
use super::pmtu::{self, Ears, Heard, Ignored, Lifetimes, Narrow, PathMtus, Voice};
use super::rib::{Outcome, Preference, Rib};
use super::source::file::{self, FILE};
use super::source::{Event, News, Object, SourceId};
use crate::tables::handover::Publisher;
use crate::tables::{Addresses, Imports, Overlay, PortFacts, TablesWriter};
use crate::wire::Mtu;
use crate::wire::quote::{TooBig, Unreadable};

/// A port as the control plane is told of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EnginePort {
    /// The kernel's index of the interface.
    pub ifindex: u32,
    /// MTU to obey if smaller than the kernel's.
    pub mtu: Option<Mtu>,
    /// True if it carries VXLAN.
    pub underlay: bool,
    /// True if neighbours on it that ask for pods are answered.
    pub proxy: bool,
}

/// What the control plane knows, for people and programs.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Status {
    /// Routes in force.
    pub routes: usize,
    /// Next hops (of peers and native routes) that can be used.
    pub hops_ready: usize,
    /// Those that cannot, and why.
    pub hops_unready: BTreeMap<String, String>,
    /// Version of the tables published last.
    pub epoch: u32,
    /// Times the kernel's announcements overran and everything was listed again.
    pub overruns: u64,
    /// Paths to peers that are narrower than the kernel knows.
    pub narrow: Vec<Narrow>,
    /// What became of messages about packets that were too big.
    pub too_big: Heard,
    /// Sources of the map, beside the file.
    pub sources: Vec<SourceStatus>,
}

/// RIB, compiler, keeper and publisher, in step.
pub struct Engine {
    keeper: Keeper,
    rib: Rib,
    learnt: Learnt,
    compiler: Compiler,
    imports: Vec<Imports>,
    paths: PathMtus,
    voice: Voice,
    publisher: Publisher,
    ports: Vec<EnginePort>,
    wake: Box<dyn Fn()>,
    epoch: u32,
    /// Next hops that only the map to come needs.
    foreseen: HashSet<HopKey>,
}

impl core::fmt::Debug for Engine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine").field("epoch", &self.epoch).field("rib", &self.rib.len()).finish_non_exhaustive()
    }
}

/// The operator's own word counts before what is learnt, unless a source is given a better rank.
const FILE_PREFERENCE: Preference = Preference(10);

fn empty_rib() -> Rib {
    Rib::new([(FILE, FILE_PREFERENCE)])
}

impl Engine {
    /// An engine that has nothing to forward yet. `writer` must be the one whose first version the workers have;
    /// `wake` makes sleeping workers look for a new version.
    pub fn new(
        keeper: Keeper,
        writer: TablesWriter,
        publisher: Publisher,
        ports: Vec<EnginePort>,
        wake: Box<dyn Fn()>,
    ) -> Self {
        let compiler = Compiler::new(writer, Vec::new(), Vec::new());
        let epoch = publisher.adopted(); // workers begin with it
        Self {
            keeper,
            rib: empty_rib(),
            learnt: Learnt::default(),
            compiler,
            imports: Vec::new(),
            paths: PathMtus::new(Lifetimes::of_kernel()),
            voice: Voice::default(),
            publisher,
            ports,
            wake,
            epoch,
            foreseen: HashSet::new(),
        }
    }

    /// Resolves the next hops of a map to come beside those in use, so that a route which moves finds its new one known
    /// when the map is put in force. [`is_foreseen`](Self::is_foreseen) tells when that is done; until then
    /// [`changed`](Self::changed) must be awaited as ever.
    pub fn foresee(&mut self, overlays: &[Overlay], routes: &[Route]) {
        let (known, ports) = (self.compiler.wanted().collect::<HashSet<_>>(), self.links());
        let keys = routes.iter().map(|route| hop_key(&route.target, overlays, &ports));
        self.foreseen = keys.filter(|key| !known.contains(key)).collect();
        self.keeper.watch(known.iter().chain(&self.foreseen).copied());
    }

    /// True once no next hop of the map to come is still being asked for the first time.
    pub fn is_foreseen(&self) -> bool {
        self.foreseen.iter().all(|key| self.has_answer(key))
    }

    /// Puts a complete map in force, in one step: no packet sees half of it. Unless the overlays themselves changed
    /// only what differs is touched.
    ///
    /// Next hops that are new are asked for before it is published: where the kernel can tell at once (a peer behind a
    /// router that others are behind, too), not even the first packet is without an answer.
    ///
    /// `learners` are the sources beside the file; what they said before stays in force as far as it may.
    pub fn load(&mut self, overlays: &[Overlay], routes: &[Route], learners: &[Learner]) {
        let known: HashSet<HopKey> = self.compiler.wanted().collect();
        if self.compiler.overlays() != overlays {
            self.begin_anew(overlays);
        }
        learners.iter().for_each(|l| self.rib.prefer(l.id, l.preference));
        self.take(file::listing(routes), |_| ());
        let learnt = self.learnt.configure(overlays, routes.iter().copied(), learners, Instant::now());
        self.take(learnt.into_iter(), |_| ());
        self.foreseen.clear();
        self.ask_for_new(&known);
        // what was learned of peers that stay still counts
        let compiler = &self.compiler;
        self.paths.retain(|key| !compiler.behind(key).is_empty());
        self.publish();
    }

    /// Takes in what sources say. All of it is put in force in one step.
    pub fn learn(&mut self, news: impl Iterator<Item = (SourceId, News)>, now: Instant) -> Moves {
        let mut events = Vec::new();
        news.for_each(|(source, news)| self.learnt.hear(source, news, now, &mut events));
        self.put_in_force(events)
    }

    /// Puts in force what a source said before the gateway was started, until the source itself is heard.
    pub fn restore(&mut self, source: SourceId, objects: Vec<Object>, now: Instant) -> Moves {
        let mut events = Vec::new();
        self.learnt.restore(source, objects, now, &mut events);
        self.put_in_force(events)
    }

    /// When [`tend`](Self::tend) has something to do, if ever.
    pub fn due(&self) -> Option<Instant> {
        self.learnt.due()
    }

    /// Judges what sources withdrew some moments ago.
    pub fn tend(&mut self, now: Instant) -> Moves {
        let mut events = Vec::new();
        self.learnt.tend(now, &mut events);
        self.put_in_force(events)
    }

    /// What a source withdrew and was held back may go: how many objects, and what is not to be steered any more. `None`
    /// if there is no such source.
    pub fn accept(&mut self, source: &str) -> Option<(usize, Moves)> {
        let mut events = Vec::new();
        let held = self.learnt.accept(source, &mut events)?;
        Some((held, self.put_in_force(events)))
    }

    /// Where packets to an address go, and which source said so; lines for people.
    pub fn explain(&self, address: IpAddr) -> String {
        explain(address, &self.rib, &self.learnt, self.compiler.overlays())
    }

    /// What was learnt, for whoever keeps it or asks.
    pub fn learnt(&mut self) -> &mut Learnt {
        &mut self.learnt
    }

    /// What the file says, sorted by prefix within what is in force and what is not.
    pub fn file_routes(&self) -> impl Iterator<Item = Route> + '_ {
        self.rib.routes_of(FILE)
    }

    /// The map in force, sorted by prefix.
    pub fn routes(&self) -> impl Iterator<Item = Route> + '_ {
        self.rib.routes()
    }

    /// Says what the access side, then what each overlay may reach, for the map that is [loaded](Self::load) next: it comes
    /// in force together with that.
    pub fn set_imports(&mut self, imports: &[Imports]) {
        if self.imports != imports {
            self.imports = imports.to_vec();
            self.compiler.writer().set_imports(imports);
        }
    }

    /// Waits until the kernel has something new to say. Cancel-safe.
    pub async fn changed(&mut self) -> Changes {
        self.keeper.changed().await
    }

    /// Follows what the kernel said.
    pub fn absorb(&mut self, changes: &Changes) {
        for (key, state) in &changes.hops {
            self.compiler.resolve(key, &self.paths.narrowed(key, state.clone()));
        }
        if !changes.links.is_empty() {
            let facts = self.port_facts();
            self.compiler.writer().set_ports(facts);
        }
        for link in &changes.links {
            match link {
                LinkChange::Changed(l) => {
                    tracing::info!(interface = l.name, up = l.up, mtu = l.mtu, mac = %l.mac, "port")
                }
                LinkChange::Vanished { name, .. } => {
                    tracing::error!(interface = name, "port is gone; restart the gateway when it is back")
                }
            }
        }
        self.publish();
    }

    /// Takes in what routers say of packets that were too big for them.
    pub fn hear(&mut self, ears: &mut Ears, now: Instant) {
        ears.drain(|message| self.consider(message, now));
        self.publish();
    }

    /// Forgets what routers said too long ago: the kernel's MTU counts again.
    pub fn expire(&mut self, now: Instant) {
        for key in self.paths.expire(now) {
            let state = self.state(&key);
            self.compiler.resolve(&key, &state);
            if let Some(left_out) = self.voice.may_speak(now) {
                let mtu = state.map_or(0, |hop| hop.mtu);
                tracing::info!(path = %key, mtu, left_out, "path MTU is the kernel's again");
            }
        }
        self.publish();
    }

    fn consider(&mut self, message: Result<TooBig<'_>, Unreadable>, now: Instant) {
        let outcome = message.map_err(Ignored::from).and_then(|said| {
            let key = pmtu::path_of(&said.quote);
            pmtu::judge(&said.quote, self.compiler.behind(&key), self.compiler.overlays())?;
            let known = self.state(&key).map_or(u32::MAX, |hop| hop.mtu);
            let lowered = self.paths.learn(key, known, &said, now)?;
            Ok(lowered.then_some((key, said.router)))
        });
        self.paths.count(&outcome);
        let Ok(Some((key, router))) = outcome else { return };
        let state = self.state(&key);
        self.compiler.resolve(&key, &state);
        if let Some(left_out) = self.voice.may_speak(now) {
            let mtu = state.map_or(0, |hop| hop.mtu);
            tracing::info!(path = %key, mtu, %router, left_out, "path MTU is less than the kernel knows");
        }
    }

    /// A next hop as the kernel has it, and as routers behind it say.
    fn state(&self, key: &HopKey) -> HopState {
        self.paths.narrowed(key, self.keeper.state(key))
    }

    /// Facts of each port, in order.
    pub fn port_links(&self) -> impl Iterator<Item = Option<&LinkFacts>> {
        self.ports.iter().map(|port| self.keeper.link(port.ifindex))
    }

    /// The host's own unicast addresses, on whatever interface: a packet for one of them that comes in by an access port
    /// is for the host itself, whatever prefix of the map holds it. Link-local ones are left out: the program takes no
    /// packet to such an address anyway.
    pub fn own_addresses(&self) -> Vec<IpAddr> {
        let unicast = |address: &IpAddr| match address {
            IpAddr::V4(a) => !(a.is_loopback() || a.is_multicast() || a.is_broadcast() || a.is_unspecified()),
            IpAddr::V6(a) => !(a.is_loopback() || a.is_multicast() || a.is_unicast_link_local() || a.is_unspecified()),
        };
        self.keeper.local().filter(unicast).collect()
    }

    /// True once no next hop is still being asked for the first time.
    pub fn is_settled(&self) -> bool {
        self.compiler.wanted().all(|key| self.has_answer(&key))
    }

    fn has_answer(&self, key: &HopKey) -> bool {
        !matches!(self.keeper.state(key), Err(Unready::Resolving))
    }

    /// The version of the tables published last: what was asked of the map before may be otherwise now.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// True once every worker uses the version published last.
    pub fn is_adopted(&self) -> bool {
        self.publisher.adopted() == self.epoch
    }

    /// Frees what workers gave back.
    pub fn collect(&mut self) {
        self.publisher.collect();
    }

    /// What the control plane knows.
    pub fn status(&self) -> Status {
        let mut status = Status {
            routes: self.rib.len(),
            epoch: self.epoch,
            overruns: self.keeper.overruns(),
            narrow: self.paths.narrow(Instant::now()),
            too_big: self.paths.heard(),
            sources: self.learnt.status(Instant::now()),
            ..Status::default()
        };
        let wanted: HashSet<HopKey> = self.compiler.wanted().collect();
        for key in wanted {
            match self.compiler.judge(&key, self.keeper.state(&key)) {
                Ok(_) => status.hops_ready += 1,
                Err(why) => {
                    status.hops_unready.insert(key.to_string(), why.to_string());
                }
            }
        }
        status
    }

    fn begin_anew(&mut self, overlays: &[Overlay]) {
        let old =
            core::mem::replace(&mut self.compiler, Compiler::new(TablesWriter::new(vec![], vec![]), vec![], vec![]));
        let mut writer = old.into_reset_writer(overlays.to_vec());
        writer.set_ports(self.port_facts());
        writer.set_imports(&self.imports);
        self.compiler = Compiler::new(writer, overlays.to_vec(), self.links());
        self.rib = empty_rib();
    }

    fn links(&self) -> Vec<PortLink> {
        let link = |p: &EnginePort| PortLink { ifindex: p.ifindex, mtu: p.mtu.map(Mtu::get), underlay: p.underlay };
        self.ports.iter().map(link).collect()
    }

    fn take(&mut self, events: impl Iterator<Item = Event>, mut tell: impl FnMut(&Outcome)) {
        let (keeper, paths) = (&self.keeper, &self.paths);
        for event in events {
            let state = |key: &HopKey| paths.narrowed(key, keeper.state(key));
            self.rib.apply(event, |outcome| {
                tell(&outcome);
                self.compiler.follow(&outcome, &state);
            });
        }
    }

    fn put_in_force(&mut self, mut events: Vec<Event>) -> Moves {
        self.learnt.settle(&mut events);
        if events.is_empty() {
            return Moves::default();
        }
        let known: HashSet<HopKey> = self.compiler.wanted().collect();
        let mut moves = Vec::new();
        self.take(events.into_iter(), |outcome| moves.extend(Moves::of(outcome)));
        self.ask_for_new(&known);
        self.publish();
        moves.into_iter().collect()
    }

    /// Has the next hops that are wanted now resolved, and uses what is known of them at once.
    fn ask_for_new(&mut self, known: &HashSet<HopKey>) {
        self.keeper.watch(self.compiler.wanted().chain(self.foreseen.iter().copied()));
        let new: Vec<HopKey> = self.compiler.wanted().filter(|key| !known.contains(key)).collect();
        for key in new {
            self.compiler.resolve(&key, &self.state(&key));
        }
    }

    /// Nothing new is no new version: much of what the kernel says changes no row, and each version costs the workers
    /// their flow caches.
    fn publish(&mut self) {
        if !self.compiler.writer().is_dirty() {
            return;
        }
        let tables = self.compiler.writer().publish();
        self.epoch = tables.epoch();
        self.publisher.publish(tables);
        (self.wake)();
    }

    fn port_facts(&self) -> Vec<PortFacts> {
        let facts = |port: &EnginePort| {
            let link = self.keeper.link(port.ifindex);
            let (mac, addresses) = link.map_or_else(Default::default, |l| (l.mac, error_sources(&l.addresses)));
            PortFacts { mac, addresses, proxy: port.proxy }
        };
        self.ports.iter().map(facts).collect()
    }
}

/// The addresses of a port from which ICMP errors are sent, the first of each family. A link-local one must do where
/// there is no other: routers drop what comes from it (RFC 4291 §2.5.6), but senders on the link are told.
fn error_sources(addresses: &[(IpAddr, u8)]) -> Addresses {
    let link_local = |a: &IpAddr| matches!(a, IpAddr::V6(a) if a.is_unicast_link_local());
    let first = |wanted: &dyn Fn(&IpAddr) -> bool| addresses.iter().map(|(a, _)| *a).find(wanted);
    let v4 = first(&IpAddr::is_ipv4);
    let v6 = first(&|a| a.is_ipv6() && !link_local(a)).or_else(|| first(&link_local));
    v4.into_iter().chain(v6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_from_an_address_that_routers_let_through_if_there_is_one() {
        let of = |addresses: &[&str]| {
            let addresses: Vec<_> = addresses.iter().map(|a| (a.parse().unwrap(), 24)).collect();
            error_sources(&addresses).iter().map(|a| a.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(of(&["10.0.0.1", "10.0.0.2", "fd00::1", "fe80::1"]), ["10.0.0.1", "fd00::1"]);
        assert_eq!(of(&["fe80::1", "fd00::1"]), ["fd00::1"]);
        assert_eq!(of(&["fe80::1"]), ["fe80::1"]);
        assert_eq!(of(&[]), [""; 0]);
    }
}
