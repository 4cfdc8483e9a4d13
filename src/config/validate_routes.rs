//! The map of the file: peers and native routes, against overlays, ports and each other.

use core::net::IpAddr;
use core::ops::Range;
use std::collections::HashMap;

use super::Role;
use super::errors::Problems;
use super::overlap::{self, Claim};
use super::raw::{Raw, RawNative, RawOverlay, RawPeer};
use super::reader::{At, Place, labelled};
use super::suggest::did_you_mean;
use super::validate::check_zero_checksum;
use crate::control::{Route, Target};
use crate::tables::{OverlayId, PortId};
use crate::wire::Mac;

/// What names and addresses of the file stand for.
struct Known<'r> {
    raw: &'r Raw,
    overlays: HashMap<&'r str, usize>,
    ports: HashMap<&'r str, usize>,
    /// Our own VTEP addresses, by the first overlay that has each.
    locals: HashMap<IpAddr, (usize, &'r Range<usize>)>,
}

impl<'r> Known<'r> {
    fn new(raw: &'r Raw) -> Self {
        // Reversed, so that of two rows with one name the first stays.
        let overlays = raw.overlays.iter().enumerate().rev();
        let ports = raw.ports.iter().enumerate().rev();
        Self {
            raw,
            overlays: overlays.clone().filter_map(|(i, o)| Some((o.name.as_ref()?.value.as_str(), i))).collect(),
            ports: ports.filter_map(|(i, p)| Some((p.interface.as_ref()?.value.as_str(), i))).collect(),
            locals: overlays.filter_map(|(i, o)| o.local.as_ref().map(|l| (l.value, (i, &l.span)))).collect(),
        }
    }

    fn overlay_name(&self, row: usize) -> String {
        let name = self.raw.overlays.get(row).and_then(|o| o.name.as_ref());
        name.map(|n| n.value.clone()).unwrap_or_else(|| format!("overlay[{row}]"))
    }

    /// A key of an overlay, with its name.
    fn overlay_key(&self, row: usize, key: &str) -> String {
        let name = self.raw.overlays.get(row).and_then(|o| o.name.as_ref());
        labelled(Place::Row("overlay", row).key(key), name.map(|n| n.value.as_str()))
    }

    /// Looks a reference up in the names of one kind.
    fn find(
        names: &HashMap<&str, usize>,
        kind: &str,
        key: String,
        at: &At<String>,
        problems: &mut Problems,
    ) -> Option<usize> {
        let found = names.get(at.value.as_str()).copied();
        if found.is_none() {
            let hint = did_you_mean(&at.value, names.keys().copied());
            let shown: String = at.value.chars().take(60).flat_map(char::escape_debug).collect();
            problems.add(&at.span, key, format!("`{shown}` is not the name of {kind} of this file{hint}"));
        }
        found
    }
}

/// Checks the map and makes routes of it.
pub(super) fn routes(raw: &Raw, problems: &mut Problems) -> Vec<Route> {
    let known = Known::new(raw);
    let mut out = Vec::new();
    let mut claims = Vec::new();
    let (mut macs, mut zeros) = (HashMap::new(), HashMap::new());
    let mut vteps = HashMap::new();
    for (row, peer) in raw.peers.iter().enumerate() {
        let overlay = peer_overlay(&known, row, peer, problems);
        check_vtep(&known, row, peer, problems);
        check_family(&known, row, peer, overlay, problems);
        check_zero_checksum(Place::Row("peer", row), None, (&peer.zero_checksum, peer.vtep.as_ref()), problems);
        check_mac(&known, row, peer, overlay, &mut macs, problems);
        if let Some(vtep) = &peer.vtep {
            vteps.entry(vtep.value).or_insert((row, &vtep.span));
        }
        let zero = zero_checksum(&known, peer, overlay);
        check_agreement(row, peer, (overlay, zero), &mut zeros, problems);
        peer_routes(row, peer, (overlay, zero), &mut claims, &mut out);
    }
    for (row, native) in raw.natives.iter().enumerate() {
        out.extend(native_route(&known, row, native, &mut claims, problems));
    }
    check_addresses(&known, &raw.overlays, &vteps, problems);
    overlap::check(claims, |row| known.overlay_name(row), problems);
    out
}

fn peer_overlay(known: &Known<'_>, row: usize, peer: &RawPeer, problems: &mut Problems) -> Option<usize> {
    let key = Place::Row("peer", row).key("overlay");
    let named = peer.overlay.as_ref()?;
    if known.overlays.is_empty() {
        return None; // overlays are missing or all nameless, which is reported
    }
    Known::find(&known.overlays, "an overlay", key, named, problems)
}

/// A packet sent to one of our own addresses would come back to us.
fn check_vtep(known: &Known<'_>, row: usize, peer: &RawPeer, problems: &mut Problems) {
    let Some(vtep) = &peer.vtep else { return };
    if let Some((overlay, span)) = known.locals.get(&vtep.value) {
        let message = format!("{} is our own VTEP address; a peer is another node", vtep.value);
        let key = Place::Row("peer", row).key("vtep");
        problems.add(&vtep.span, key, message).also(span, known.overlay_key(*overlay, "local"));
    }
}

/// Outer headers are of one family.
fn check_family(known: &Known<'_>, row: usize, peer: &RawPeer, overlay: Option<usize>, problems: &mut Problems) {
    let (Some(vtep), Some(overlay)) = (&peer.vtep, overlay) else { return };
    let Some(local) = &known.raw.overlays[overlay].local else { return };
    if vtep.value.is_ipv4() != local.value.is_ipv4() {
        let message = format!(
            "{} is an {} address, but overlay `{}` is over {}: its `local` is {}; name the peer's {} address",
            vtep.value,
            family(vtep.value),
            known.overlay_name(overlay),
            family(local.value),
            local.value,
            family(local.value),
        );
        let key = Place::Row("peer", row).key("vtep");
        problems.add(&vtep.span, key, message).also(&local.span, known.overlay_key(overlay, "local"));
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// First row, MAC and its span of a (overlay, VTEP).
type Macs<'r> = HashMap<(usize, IpAddr), (usize, &'r At<Mac>)>;

fn check_mac<'r>(
    known: &Known<'_>,
    row: usize,
    peer: &'r RawPeer,
    overlay: Option<usize>,
    seen: &mut Macs<'r>,
    problems: &mut Problems,
) {
    let (Some(mac), Some(overlay)) = (&peer.mac, overlay) else { return };
    let key = || Place::Row("peer", row).key("mac");
    if let Some(own) = &known.raw.overlays[overlay].mac
        && own.value == mac.value
    {
        let message = format!("{} is our own MAC address in this overlay; a peer has its own", mac.value);
        problems.add(&mac.span, key(), message).also(&own.span, known.overlay_key(overlay, "mac"));
    }
    let Some(vtep) = &peer.vtep else { return };
    let (first, theirs) = *seen.entry((overlay, vtep.value)).or_insert((row, mac));
    if theirs.value != mac.value {
        let message = format!(
            "VTEP {} has MAC {} here and {} elsewhere; a VTEP has one MAC address in an overlay",
            vtep.value, mac.value, theirs.value
        );
        problems.add(&mac.span, key(), message).also(&theirs.span, Place::Row("peer", first).key("mac"));
    }
}

/// Whether a peer may leave out checksums: as it says, or else as its overlay does.
fn zero_checksum(known: &Known<'_>, peer: &RawPeer, overlay: Option<usize>) -> bool {
    let overlays = || known.raw.overlays.get(overlay?)?.zero_checksum.known();
    peer.zero_checksum.known().or_else(overlays).is_some_and(|zero| zero.value)
}

/// First row of a (overlay, VTEP), the place where it is said, and what.
type Zeros<'r> = HashMap<(usize, IpAddr), (usize, &'r Range<usize>, bool)>;

/// What is true of a VTEP in one row is true of it in all.
fn check_agreement<'r>(
    row: usize,
    peer: &'r RawPeer,
    (overlay, zero): (Option<usize>, bool),
    seen: &mut Zeros<'r>,
    problems: &mut Problems,
) {
    let (Some(overlay), Some(vtep)) = (overlay, &peer.vtep) else { return };
    let span = peer.zero_checksum.known().map_or(&vtep.span, |zero| &zero.span);
    let (first, other, theirs) = *seen.entry((overlay, vtep.value)).or_insert((row, span, zero));
    if theirs != zero {
        let message = format!(
            "{zero} for VTEP {} here, and {theirs} elsewhere; write the same in every [[peer]] of it",
            vtep.value
        );
        let key = |row| Place::Row("peer", row).key("zero_checksum");
        problems.add(span, key(row), message).also(other, key(first));
    }
}

fn peer_routes(
    row: usize,
    peer: &RawPeer,
    (overlay, zero_checksum): (Option<usize>, bool),
    claims: &mut Vec<Claim>,
    out: &mut Vec<Route>,
) {
    let Some(prefixes) = &peer.prefixes else { return };
    let place = Place::Row("peer", row);
    for (i, at) in prefixes.value.iter().enumerate() {
        let Some(at) = at else { continue };
        claims.push(Claim { prefix: at.value, overlay, span: at.span.clone(), place, element: Some(i) });
    }
    let (Some(vtep), Some(mac), Some(Ok(id))) = (&peer.vtep, &peer.mac, overlay.map(u16::try_from)) else { return };
    let target = Target::Vtep { overlay: OverlayId(id), vtep: vtep.value, mac: mac.value, zero_checksum };
    out.extend(prefixes.value.iter().flatten().map(|at| Route { prefix: at.value, target }));
}

fn native_route(
    known: &Known<'_>,
    row: usize,
    native: &RawNative,
    claims: &mut Vec<Claim>,
    problems: &mut Problems,
) -> Option<Route> {
    let place = Place::Row("native", row);
    let port = native_port(known, row, native, problems);
    if let Some(at) = &native.prefix {
        claims.push(Claim { prefix: at.value, overlay: None, span: at.span.clone(), place, element: None });
    }
    let next_hop = native.next_hop.as_ref()?;
    if let Some((overlay, span)) = known.locals.get(&next_hop.value) {
        let message = format!("{} is our own VTEP address; a next hop is another node", next_hop.value);
        problems.add(&next_hop.span, place.key("next_hop"), message).also(span, known.overlay_key(*overlay, "local"));
    }
    if let Some(prefix) = &native.prefix
        && prefix.value.addr().is_ipv4() != next_hop.value.is_ipv4()
    {
        let (theirs, ours) = (family(next_hop.value), family(prefix.value.addr()));
        let message = format!(
            "{} is an {theirs} address, but {} is an {ours} prefix; name the neighbour's {ours} address",
            next_hop.value, prefix.value
        );
        problems.add(&next_hop.span, place.key("next_hop"), message).also(&prefix.span, place.key("prefix"));
    }
    let target = Target::Native { port: PortId(u8::try_from(port?).ok()?), next_hop: next_hop.value };
    Some(Route { prefix: native.prefix.as_ref()?.value, target })
}

fn native_port(known: &Known<'_>, row: usize, native: &RawNative, problems: &mut Problems) -> Option<usize> {
    let named = native.port.as_ref()?;
    if known.ports.is_empty() {
        return None; // ports are missing or all nameless, which is reported
    }
    let key = Place::Row("native", row).key("port");
    let port = Known::find(&known.ports, "a port", key.clone(), named, problems)?;
    let role = known.raw.ports[port].role.as_ref()?;
    if role.value != Role::Access {
        let message =
            format!("`{}` is an underlay port; a native route leaves by a port with the role \"access\"", named.value);
        problems.add(&named.span, key, message).also(&role.span, Place::Row("port", port).key("role"));
        return None;
    }
    Some(port)
}

/// An overlay address may lie in a peer's prefix (most-specific wins), but not be a VTEP: outer and inner addresses
/// would be one.
fn check_addresses(
    known: &Known<'_>,
    overlays: &[RawOverlay],
    vteps: &HashMap<IpAddr, (usize, &Range<usize>)>,
    problems: &mut Problems,
) {
    for (row, overlay) in overlays.iter().enumerate() {
        for address in overlay.known_addresses() {
            if let Some((peer, span)) = vteps.get(&address.value) {
                let message = format!("{} is the VTEP address of a peer; this is our address inside", address.value);
                let key = known.overlay_key(row, "address");
                problems.add(&address.span, key, message).also(span, Place::Row("peer", *peer).key("vtep"));
            }
        }
    }
}
