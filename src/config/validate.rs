//! What the values of a file mean to each other: ports, overlays, memory. Routes are in `validate_routes`.

use core::fmt::Display;
use core::hash::Hash;
use core::net::IpAddr;
use core::ops::Range;
use std::collections::HashMap;

use super::errors::Problems;
use super::raw::{Raw, RawMemory, RawOverlay, RawPort};
use super::reader::{At, Field, Place, labelled};
use super::validate_imports::imports;
use super::validate_routes::routes;
use super::validate_sources::sources;
use super::{Config, MemoryConfig, PortConfig, Role};
use crate::port::MAX_PORTS;
use crate::tables::Overlay;

/// Overlays are counted in two bytes.
const MAX_OVERLAYS: usize = 65_536;

/// The configuration, or `None` with the reasons on the list. All of the file is looked at either way.
pub(super) fn validate(raw: Raw, span: &Range<usize>, problems: &mut Problems) -> Option<Config> {
    check_ports(&raw, span, problems);
    check_overlays(&raw.overlays, span, problems);
    check_frames(&raw.memory, raw.burst, raw.ports.len(), problems);
    let routes = routes(&raw, problems);
    let imports = imports(&raw, problems);
    let sources = sources(&raw, problems);
    if !problems.is_empty() {
        return None;
    }
    Some(Config {
        ports: raw.ports.into_iter().map(port).collect::<Option<_>>()?,
        overlays: raw.overlays.into_iter().map(overlay).collect::<Option<_>>()?,
        routes,
        imports,
        sources,
        state: raw.state?,
        workers: raw.workers?,
        memory: memory(raw.memory)?,
        xdp: raw.xdp?,
        metrics: raw.metrics?,
    })
}

fn port(raw: RawPort) -> Option<PortConfig> {
    Some(PortConfig {
        interface: raw.interface?.value,
        role: raw.role?.value,
        mtu: raw.mtu.settled()?,
        queues: raw.queues.settled()?,
        proxy: raw.proxy?.value,
    })
}

fn overlay(raw: RawOverlay) -> Option<Overlay> {
    Some(Overlay {
        name: raw.name?.value,
        vni: raw.vni?.value,
        udp_port: raw.udp_port?.value,
        local: raw.local?.value,
        mac: raw.mac?.value,
        addresses: raw.addresses.settled()?.into_iter().flatten().flatten().map(|at| at.value).collect(),
        mtu: raw.mtu.settled()?,
        dscp: raw.dscp?.value,
        source_check: raw.source_check?.value,
        fit: raw.fit?,
        gbp: raw.gbp?.value,
        inner_vlan: raw.inner_vlan?.value,
        zero_checksum: raw.zero_checksum.settled()?.unwrap_or(false),
    })
}

fn memory(raw: RawMemory) -> Option<MemoryConfig> {
    Some(MemoryConfig {
        frames: raw.frames?.value,
        chunk_size: raw.chunk_size?,
        hugepages: raw.hugepages?,
        rx_ring: raw.rx_ring?,
        tx_ring: raw.tx_ring?.value,
        fill_ring: raw.fill_ring?.value,
        completion_ring: raw.completion_ring?,
    })
}

fn check_ports(raw: &Raw, span: &Range<usize>, problems: &mut Problems) {
    let ports = &raw.ports;
    at_least_one("port", ports.len(), span, problems);
    at_most("port", ports.len(), MAX_PORTS, span, problems);
    let interfaces = ports.iter().enumerate().filter_map(|(i, p)| Some((i, p.interface.as_ref()?)));
    unique("port", "interface", interfaces, problems, |name| format!("interface `{name}` is given twice"));
    let roles_known = ports.iter().all(|p| p.role.is_some());
    if let (true, Some(first)) = (roles_known, ports.first().and_then(|p| p.role.as_ref()))
        && !ports.iter().any(|p| p.role.as_ref().is_some_and(|r| r.value == Role::Underlay))
    {
        let message = "no port has the role \"underlay\"; VXLAN packets need one to come and go by";
        problems.add(&first.span, "port[0].role", message);
    }
    check_queues(raw, problems);
    check_proxies(ports, problems);
}

/// Pods are behind the gateway for plain neighbours only; what VTEPs ask each other for is no pod.
fn check_proxies(ports: &[RawPort], problems: &mut Problems) {
    for (i, port) in ports.iter().enumerate() {
        let (Some(proxy), Some(role)) = (&port.proxy, &port.role) else { continue };
        if proxy.value && role.value == Role::Underlay {
            let name = port.interface.as_ref().map(|n| n.value.as_str());
            let key = |key| labelled(Place::Row("port", i).key(key), name);
            let message = "cannot be `true` on an underlay port, where nobody asks for the MAC address of a pod; \
                           take it out, or give the port the role \"access\"";
            problems.add(&proxy.span, key("proxy"), message).also(&role.span, key("role"));
        }
    }
}

/// Worker i serves queue i of every port, so the numbers the file gives must agree.
fn check_queues(raw: &Raw, problems: &mut Problems) {
    let counts = raw.ports.iter().enumerate().filter_map(|(i, p)| Some((i, p.queues.known()?)));
    let mut reference: Option<(String, &At<u16>)> = raw.worker_count.known().map(|at| ("workers".to_owned(), at));
    for (i, queues) in counts {
        let key = Place::Row("port", i).key("queues");
        match &reference {
            None => reference = Some((key, queues)),
            Some((other, at)) if at.value != queues.value => {
                let message = format!(
                    "{} queues here, but {} says {}; worker i serves queue i of every port, so the numbers must be equal",
                    queues.value, other, at.value
                );
                problems.add(&queues.span, key, message).also(&at.span, other.clone());
            }
            Some(_) => {}
        }
    }
}

fn check_overlays(overlays: &[RawOverlay], span: &Range<usize>, problems: &mut Problems) {
    at_least_one("overlay", overlays.len(), span, problems);
    at_most("overlay", overlays.len(), MAX_OVERLAYS, span, problems);
    let names = overlays.iter().enumerate().filter_map(|(i, o)| Some((i, o.name.as_ref()?)));
    unique("overlay", "name", names, problems, |name| format!("overlay `{name}` is given twice"));
    for (i, overlay) in overlays.iter().enumerate() {
        check_families(i, overlay, problems);
        let label = overlay.name.as_ref().map(|n| n.value.as_str());
        let local = overlay.local.as_ref();
        check_zero_checksum(Place::Row("overlay", i), label, (&overlay.zero_checksum, local), problems);
    }
    check_identities(overlays, problems);
}

/// ICMP errors of each family come from the one address of it.
fn check_families(row: usize, overlay: &RawOverlay, problems: &mut Problems) {
    let (mut v4, mut v6) = (None, None);
    for address in overlay.known_addresses() {
        let (family, first) = if address.value.is_ipv4() { ("IPv4", &mut v4) } else { ("IPv6", &mut v6) };
        match first {
            None => *first = Some(&address.span),
            Some(first) => {
                let label = overlay.name.as_ref().map(|n| n.value.as_str());
                let key = labelled(Place::Row("overlay", row).key("address"), label);
                let message = format!("{} is a second {family} address; one of each family is possible", address.value);
                problems.add(&address.span, key.clone(), message).also(first, key);
            }
        }
    }
}

/// RFC 7348 §5: over IPv4 the outer checksum is zero in any case. RFC 6935 §5 and RFC 6936 §4: over IPv6 it may be
/// where somebody said so.
pub(super) fn check_zero_checksum(
    place: Place,
    label: Option<&str>,
    (zero, over): (&Field<bool>, Option<&At<IpAddr>>),
    problems: &mut Problems,
) {
    if let (Some(zero), Some(over)) = (zero.known(), over)
        && over.value.is_ipv4()
    {
        let key = |key| labelled(place.key(key), label);
        let (message, other) = (
            "is a choice over IPv6 only: over IPv4 the outer UDP checksum is always sent as zero; take it out",
            if matches!(place, Place::Row("peer", _)) { "vtep" } else { "local" },
        );
        problems.add(&zero.span, key("zero_checksum"), message).also(&over.span, key(other));
    }
}

/// Packets of two overlays must be told apart.
fn check_identities(overlays: &[RawOverlay], problems: &mut Problems) {
    let mut seen = HashMap::new();
    for (i, o) in overlays.iter().enumerate() {
        let (Some(vni), Some(port), Some(local)) = (&o.vni, &o.udp_port, &o.local) else { continue };
        let label = o.name.as_ref().map(|n| n.value.as_str());
        let key = labelled(Place::Row("overlay", i).key("vni"), label);
        match seen.entry((local.value, port.value, vni.value)) {
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert((key, &vni.span));
            }
            std::collections::hash_map::Entry::Occupied(first) => {
                let message = format!(
                    "VNI {} on {} and UDP port {} is given twice; packets of the two overlays could not be told apart",
                    vni.value, local.value, port.value
                );
                let (other, span) = first.get();
                problems.add(&vni.span, key, message).also(span, other.clone());
            }
        }
    }
}

/// The pool of a worker must be able to fill the fill ring and the TX ring of every port and still have a burst left,
/// or a port with a full TX ring would starve the others of receive buffers.
fn check_frames(memory: &RawMemory, burst: Option<u16>, ports: usize, problems: &mut Problems) {
    let (Some(frames), Some(fill), Some(tx)) = (&memory.frames, &memory.fill_ring, &memory.tx_ring) else { return };
    // A burst that is wrong is told of elsewhere; the rings alone may be too many.
    let need = ports as u64 * (u64::from(fill.value) + u64::from(tx.value)) + burst.map_or(1, u64::from);
    let burst = burst.map_or("a workers.burst of at least 1".to_owned(), |b| format!("workers.burst {b}"));
    if u64::from(frames.value) >= need {
        return;
    }
    let least = need.next_power_of_two();
    let cure = if least <= 1_048_576 {
        format!("the least legal value is {least}")
    } else {
        "no legal value is enough: lower `memory.fill_ring` or `memory.tx_ring`".to_owned()
    };
    let message = format!(
        "{} frames are too few: {ports} ports × (memory.fill_ring {} + memory.tx_ring {}) + {burst} \
         is {need}; {cure}",
        frames.value, fill.value, tx.value
    );
    problems.add(&frames.span, "memory.frames", message);
}

fn at_least_one(name: &str, count: usize, span: &Range<usize>, problems: &mut Problems) {
    if count == 0 {
        problems.add(&(span.start..span.start), name, format!("missing; at least one [[{name}]] is needed"));
    }
}

pub(super) fn at_most(name: &str, count: usize, limit: usize, span: &Range<usize>, problems: &mut Problems) {
    if count > limit {
        let message = format!("{count} are given, {limit} are possible");
        problems.add(&(span.start..span.start), name, message);
    }
}

/// Reports values that occur in more than one row, naming the first.
pub(super) fn unique<'a, T: Hash + Eq + Display + 'a>(
    row: &'static str,
    key: &str,
    values: impl Iterator<Item = (usize, &'a At<T>)>,
    problems: &mut Problems,
    message: impl Fn(&T) -> String,
) {
    let mut seen: HashMap<&T, (usize, &Range<usize>)> = HashMap::new();
    for (i, at) in values {
        match seen.get(&at.value) {
            None => {
                seen.insert(&at.value, (i, &at.span));
            }
            Some((first, span)) => {
                let path = Place::Row(row, i).key(key);
                problems.add(&at.span, path, message(&at.value)).also(span, Place::Row(row, *first).key(key));
            }
        }
    }
}
