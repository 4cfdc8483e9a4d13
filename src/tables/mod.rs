//! Floor 1: what the data path knows. Written by the control plane, read by workers, published in versions.

use core::net::{IpAddr, Ipv4Addr};
use core::slice;
use std::sync::Arc;

pub mod action;
pub mod addresses;
pub mod cache;
pub mod changes;
pub mod fib;
pub mod group;
pub mod handover;
pub mod hash;
pub mod ids;
pub mod imports;
pub mod journal;
pub mod overlay;
pub mod peer;
pub mod prefix_map;
pub mod senders;
pub mod slab;
pub mod sources;
pub mod vteps;

pub use action::{Action, Packed, PackedPair};
pub use addresses::Addresses;
pub use cache::{Domain, FlowCache, Seat};
pub use fib::{Fib, FibWriter};
pub use group::{Group, Member};
pub use ids::{GroupId, HopId, OverlayId, PeerId, PortId};
pub use imports::{Imports, Rules};
pub use overlay::{Dscp, Fit, Overlay};
pub use peer::{NextHop, OuterHeader, Peer, PortFacts, Way};
pub use prefix_map::PrefixMap;
pub use vteps::{Miss, VtepKey, Vteps};

use crate::wire::Prefix;
use changes::Changes;
use imports::Borders;
use journal::{Draft, Journal, Page};
use senders::Senders;
use slab::Slab;
use sources::Sources;

/// Routes, each at random 70 to 260 bytes of nodes (`perf/FIB.md`): more of them leave a cache of 1 or 2 MiB.
const LARGE: usize = 1 << 14;

/// One version of everything the data path knows. It never changes; versions share what they have in common.
#[derive(Clone, Debug)]
pub struct Tables {
    epoch: u32,
    fib: Fib,
    routes: usize,
    borders: Borders,
    changes: Changes,
    journal: Journal,
    overlays: Arc<[Overlay]>,
    vteps: Arc<Vteps>,
    clamps: bool,
    peers: Slab<Peer>,
    senders: Senders,
    sources: Sources,
    hops: Slab<NextHop>,
    groups: Slab<Group>,
    ports: Arc<[PortFacts]>,
}

impl Tables {
    /// The number of this version, never 0.
    #[inline]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Where packets for `dst` that entered by `domain` go.
    #[inline]
    pub fn lookup(&self, domain: Domain, dst: IpAddr) -> Option<Action> {
        self.imported(domain, dst, self.fib.lookup(dst).into()).unpack()
    }

    /// The same for an IPv4 destination, in one word.
    #[inline(always)]
    pub fn lookup_v4(&self, domain: Domain, dst: Ipv4Addr) -> Packed {
        // asked before, so that nothing is kept for later where there are no rules
        if self.has_borders() { self.lookup_at_border(domain, dst) } else { self.fib.lookup_v4(dst) }
    }

    #[cold]
    #[inline(never)]
    fn lookup_at_border(&self, domain: Domain, dst: Ipv4Addr) -> Packed {
        self.imported(domain, dst.into(), self.fib.lookup_v4(dst))
    }

    /// True if some domain does not import everything.
    #[inline(always)]
    pub fn has_borders(&self) -> bool {
        !self.borders.are_open()
    }

    /// What the longest prefix says of `dst` to somebody who entered by `domain`: that, if it imports it.
    pub fn imported(&self, domain: Domain, dst: IpAddr, said: Packed) -> Packed {
        let admitted = |way: &Packed| match way.unpack() {
            Some(Action::Encap(id)) => self.borders.admits(domain, dst, self.senders.overlay(id.0)),
            Some(Action::Deliver(_)) => self.borders.admits(domain, dst, None),
            Some(Action::Local | Action::Group(_) | Action::Barred) | None => true,
        };
        if !self.has_borders() || self.ways(&said).iter().all(admitted) { said } else { Packed::BARRED }
    }

    /// True if the forwarding table may be too large for the caches that a core has for itself. Then it pays to collect
    /// lookups for [`lookup_many`](Self::lookup_many); in smaller tables they are done sooner than collected.
    #[inline]
    pub const fn is_large(&self) -> bool {
        self.routes > LARGE
    }

    /// [`lookup`](Self::lookup) for many at once, without asking what anybody [imports](Self::imported); `told` is at least
    /// as long as `dst`.
    #[inline]
    pub fn lookup_many(&self, dst: &[Ipv4Addr], told: &mut [Packed]) {
        self.fib.lookup_many(dst, told);
    }

    /// True if [`lookup`](Self::lookup) says for `dst` what it said in version `epoch`. It may be false though nothing
    /// changed, never true though something did, as long as `epoch` is less than 2³² versions old.
    ///
    /// Only the advice counts: a row that an action names may have another content, or be gone.
    #[inline]
    pub fn unchanged_since(&self, _domain: Domain, dst: IpAddr, epoch: u32) -> bool {
        self.changes.unchanged_since(dst, epoch, self.epoch)
    }

    /// The addresses for which [`lookup`](Self::lookup) may say something else than in version `epoch`; `None` if they are
    /// many, or if that was many versions ago.
    #[inline]
    pub(crate) fn changed_since(&self, epoch: u32) -> Option<impl Iterator<Item = &Page>> {
        self.journal.last(self.epoch.wrapping_sub(epoch), self.domains().count())
    }

    /// The [domains](Domain) that addresses are looked up from.
    pub(crate) fn domains(&self) -> impl Iterator<Item = Domain> + use<> {
        (0..=self.overlays.len() as u16).map(Domain)
    }

    /// Our VTEPs.
    #[inline]
    pub fn vteps(&self) -> &Vteps {
        &self.vteps
    }

    /// An overlay.
    #[inline]
    pub fn overlay(&self, id: OverlayId) -> Option<&Overlay> {
        self.overlays.get(usize::from(id.0))
    }

    /// Does some overlay lower the segment size of TCP connections? Then SYN segments need a closer look.
    #[inline(always)]
    pub const fn clamps(&self) -> bool {
        self.clamps
    }

    /// The overlay of the peer that an action names, if it names one.
    #[inline]
    pub fn overlay_of(&self, advice: Packed) -> Option<&Overlay> {
        self.overlay(self.senders.overlay(advice.peer_row())?)
    }

    /// A peer.
    #[inline]
    pub fn peer(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(id.0)
    }

    /// The peer that an action names, if it names one.
    #[inline(always)]
    pub fn peer_of(&self, advice: Packed) -> Option<&Peer> {
        self.peers.get(advice.peer_row())
    }

    /// Does an action name the peer that sends from `source` in this overlay? As [`Peer::sends`], without a look at
    /// the peer.
    #[inline(always)]
    pub fn is_sender(&self, advice: Packed, overlay: OverlayId, source: Ipv4Addr) -> bool {
        self.senders.is(advice.peer_row(), overlay, source)
    }

    /// The next hop that an action names, if it names one.
    #[inline(always)]
    pub fn hop_of(&self, advice: Packed) -> Option<&NextHop> {
        self.hops.get(advice.hop_row())
    }

    /// False if there never was a group.
    #[inline]
    pub fn has_groups(&self) -> bool {
        !self.groups.is_untouched()
    }

    /// The group that an action names, if it names one.
    #[inline]
    pub fn group_of(&self, advice: Packed) -> Option<&Group> {
        self.groups.get(advice.group_row())
    }

    /// The ways that an action stands for: the members of a group, or the action alone.
    #[inline]
    pub fn ways<'a>(&'a self, advice: &'a Packed) -> &'a [Packed] {
        self.group_of(*advice).map_or(slice::from_ref(advice), Group::members)
    }

    /// The peer that sends from `source` in this overlay, if an action names it, alone or with others.
    #[inline]
    pub fn sender_of(&self, advice: Packed, overlay: OverlayId, source: IpAddr) -> Option<PeerId> {
        let sends = |id: &PeerId| self.peer(*id).is_some_and(|peer| peer.sends(overlay, source));
        self.ways(&advice).iter().filter_map(|way| way.peer()).find(sends)
    }

    /// The peer of an overlay that sends from `source`.
    #[inline]
    pub fn peer_by_source(&self, overlay: OverlayId, source: IpAddr) -> Option<PeerId> {
        self.sources.get(overlay, source)
    }

    /// A native next hop.
    #[inline]
    pub fn hop(&self, id: HopId) -> Option<&NextHop> {
        self.hops.get(id.0)
    }

    /// A port.
    #[inline]
    pub fn port(&self, id: PortId) -> Option<&PortFacts> {
        self.ports.get(usize::from(id.0))
    }

    /// All peers.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.peers.iter().map(|(row, p)| (PeerId(row), p))
    }

    /// All native next hops.
    pub fn hops(&self) -> impl Iterator<Item = (HopId, &NextHop)> {
        self.hops.iter().map(|(row, h)| (HopId(row), h))
    }
}

/// The writer's side: changes are made here one by one, and seen by nobody until they are published together.
#[derive(Debug)]
pub struct TablesWriter {
    fib: FibWriter,
    next: Tables,
    /// What will be said of the version being written.
    draft: Draft,
    /// Something is not as it was published last.
    dirty: bool,
}

impl TablesWriter {
    /// Empty tables of a gateway with these overlays and ports.
    pub fn new(overlays: Vec<Overlay>, ports: Vec<PortFacts>) -> Self {
        let fib = FibWriter::default();
        let next = Tables {
            epoch: 0,
            fib: fib.current().clone(),
            routes: 0,
            borders: Borders::default(),
            changes: Changes::new(0),
            journal: Journal::default(),
            vteps: Arc::new(Vteps::of(&overlays)),
            clamps: overlays.iter().any(|o| o.fit.mss_clamp),
            overlays: overlays.into(),
            peers: Slab::default(),
            senders: Senders::default(),
            sources: Sources::default(),
            hops: Slab::default(),
            groups: Slab::default(),
            ports: ports.into(),
        };
        let draft = Draft::everything(next.domains().count());
        Self { fib, next, draft, dirty: true }
    }

    /// Empties the tables for other overlays. Versions go on counting, so that no cache takes old for new.
    pub fn reset(&mut self, overlays: Vec<Overlay>) {
        let epoch = self.next.epoch;
        *self = Self::new(overlays, self.next.ports.to_vec());
        self.next.epoch = epoch;
        self.changed_everywhere();
    }

    /// Says what may be reached from where: from the access side, then from each overlay; what is not said is everything.
    pub fn set_imports(&mut self, imports: &[Imports]) {
        self.next.borders = Borders::new(imports);
        self.changed_everywhere();
    }

    /// Replaces the facts about the ports.
    pub fn set_ports(&mut self, ports: Vec<PortFacts>) {
        if *self.next.ports != *ports {
            self.next.ports = ports.into();
            self.dirty = true;
        }
    }

    /// Adds or replaces a route.
    pub fn set_route(&mut self, prefix: Prefix, action: Action) {
        if self.fib.insert(prefix, action) != Some(action) {
            self.changed(&prefix);
        }
    }

    /// Removes a route; one that is not there is no error.
    pub fn remove_route(&mut self, prefix: &Prefix) {
        if self.fib.remove(prefix).is_some() {
            self.changed(prefix);
        }
    }

    /// Writes or clears a peer.
    pub fn set_peer(&mut self, id: PeerId, peer: Option<Peer>) {
        if self.next.peers.get(id.0) == peer.as_ref() {
            return;
        }
        let key = |p: &Peer| (p.overlay, p.vtep);
        let (before, after) = (self.next.peers.get(id.0).map(key), peer.as_ref().map(key));
        if before != after {
            let sources = &mut self.next.sources;
            // another peer may have taken the address over in the meantime: then it stays
            if let Some(k) = before.filter(|k| sources.get(k.0, k.1) == Some(id)) {
                sources.remove(k.0, k.1);
            }
            if let Some(k) = after {
                sources.insert(k.0, k.1, id);
            }
            self.next.senders.set(id.0, after);
        }
        // what is behind it may be imported by others now
        if self.next.has_borders() && before.map(|k| k.0) != after.map(|k| k.0) {
            self.changed_everywhere();
        }
        self.next.peers.set(id.0, peer);
        self.dirty = true;
    }

    /// Writes or clears a native next hop.
    pub fn set_hop(&mut self, id: HopId, hop: Option<NextHop>) {
        if self.next.hops.get(id.0) != hop.as_ref() {
            self.next.hops.set(id.0, hop);
            self.dirty = true;
        }
    }

    /// Writes or clears a group. Its routes stay as they are.
    pub fn set_group(&mut self, id: GroupId, group: Option<Group>) {
        let before = self.next.groups.get(id.0);
        if before == group.as_ref() {
            return;
        }
        // its members may be imported by others than those before
        if self.next.has_borders() && before.map(Group::members) != group.as_ref().map(Group::members) {
            self.changed_everywhere();
        }
        self.next.groups.set(id.0, group);
        self.dirty = true;
    }

    /// Can packets be sent to a peer or to a next hop, as its row is written at present?
    pub fn is_ready(&self, action: Action) -> bool {
        match action {
            Action::Encap(id) => self.next.peer(id).is_some_and(|peer| peer.way.is_some()),
            Action::Deliver(id) => self.next.hop(id).is_some_and(|hop| hop.way.is_some()),
            Action::Local | Action::Group(_) | Action::Barred => false,
        }
    }

    /// Routes in the table.
    pub fn routes(&self) -> usize {
        self.fib.len()
    }

    /// True when the next version would differ from the last in more than its number. One that says nothing new had better
    /// not be made: workers have to follow each.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The next version, with all changes so far.
    pub fn publish(&mut self) -> Tables {
        self.dirty = false;
        self.next.epoch = self.coming();
        self.next.fib = self.fib.current().clone();
        self.next.routes = self.fib.len();
        self.next.journal.push(self.draft.turn());
        self.next.clone()
    }

    /// The number of the version being written. 0 is the epoch of cache entries that were never written; after 2³²
    /// versions it is skipped.
    fn coming(&self) -> u32 {
        self.next.epoch.wrapping_add(1).max(1)
    }

    fn changed(&mut self, prefix: &Prefix) {
        let coming = self.coming();
        self.next.changes.note(prefix, coming);
        self.draft.note(prefix);
        self.dirty = true;
    }

    /// Any answer may be another than before.
    fn changed_everywhere(&mut self) {
        self.next.changes = Changes::new(self.coming());
        self.draft.note_everything();
        self.dirty = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Mac;

    #[test]
    fn only_what_differs_makes_a_new_version_worth_while() {
        let mut w = TablesWriter::new(vec![], vec![]);
        assert!(w.is_dirty());
        w.publish();
        let prefix: Prefix = "10.1.0.0/16".parse().unwrap();
        let vtep = IpAddr::from([192, 0, 2, 11]);
        let peer = |n| {
            Some(Peer { overlay: OverlayId(0), vtep, mac: Mac([2, 0, 0, 0, 0, n]), zero_checksum: false, way: None })
        };
        let hop = |n| Some(NextHop { port: PortId(0), addr: [10, 0, 0, n].into(), way: None });
        let ports = |n| vec![PortFacts { mac: Mac([2, 0, 0, 0, 1, n]), addresses: Addresses::default(), proxy: false }];
        type Edit<'a> = &'a dyn Fn(&mut TablesWriter);
        let group =
            |n| Some(Group::new(&[Member { action: Action::Encap(PeerId(n)), identity: n.into(), ready: true }]));
        let edits: [Edit<'_>; 12] = [
            &|w| w.set_peer(PeerId(3), peer(1)),
            &|w| w.set_peer(PeerId(3), peer(2)),
            &|w| w.set_hop(HopId(3), hop(1)),
            &|w| w.set_ports(ports(1)),
            &|w| w.set_group(GroupId(3), group(1)),
            &|w| w.set_group(GroupId(3), group(2)),
            &|w| w.set_group(GroupId(3), None),
            &|w| w.set_route(prefix, Action::Encap(PeerId(3))),
            &|w| w.set_route(prefix, Action::Local),
            &|w| w.remove_route(&prefix),
            &|w| w.set_peer(PeerId(3), None),
            &|w| w.set_hop(HopId(3), None),
        ];
        for (i, edit) in edits.iter().enumerate() {
            edit(&mut w);
            assert!(w.is_dirty(), "{i}");
            w.publish();
            edit(&mut w);
            assert!(!w.is_dirty(), "{i}: the same again");
        }
        w.reset(vec![]);
        assert!(w.is_dirty());
    }

    #[test]
    fn what_was_learned_stays_true_until_a_route_for_it_changes() {
        let mut w = TablesWriter::new(vec![], vec![]);
        let (here, there) = (IpAddr::from([10, 1, 1, 1]), IpAddr::from([10, 1, 2, 1]));
        let prefix: Prefix = "10.1.1.0/24".parse().unwrap();
        w.set_route(prefix, Action::Local);
        let first = w.publish();
        let unchanged = |t: &Tables, dst| t.unchanged_since(Domain(0), dst, first.epoch());
        assert!(unchanged(&first, here));
        w.set_hop(HopId(1), Some(NextHop { port: PortId(0), addr: here, way: None }));
        w.set_route(prefix, Action::Local);
        let second = w.publish();
        assert!(unchanged(&second, here), "a row is written, no route changes");
        w.set_route(prefix, Action::Deliver(HopId(1)));
        let third = w.publish();
        assert_eq!((unchanged(&third, here), unchanged(&third, there)), (false, true));
        assert!(third.unchanged_since(Domain(0), here, third.epoch()));
        w.remove_route(&prefix);
        assert!(!w.publish().unchanged_since(Domain(0), here, third.epoch()));
        w.reset(vec![]);
        let last = w.publish();
        assert!(!unchanged(&last, there) && last.unchanged_since(Domain(0), there, last.epoch()), "all is new");
    }
}
