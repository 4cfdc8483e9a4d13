//! The shape of the file: which tables and keys there are, what each may hold, and the defaults.
//!
//! Values are checked one by one here and are of their final types; what they mean to each other is for `validate`.
//! `None` always stands for a value that was wrong or missing and is on the list of problems already.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::ops::Range;
use std::path::PathBuf;

use super::kinds;
use super::raw_imports::{RawImports, imports};
use super::raw_sources::{RawSource, source};
use super::reader::{At, Field, Section};
use super::{Cores, Poll, Role, Switch, WorkerConfig, XdpConfig, XdpMode};
use crate::tables::{Dscp, Fit};
use crate::wire::{Mac, Mtu, Prefix, Vni};

/// Where `/metrics` is served unless the file says otherwise: on this host only.
pub(super) const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9472);

/// Where what was learnt is kept unless the file says otherwise.
const STATE: &str = "/var/lib/selvedge";

const SWITCH: &[(&str, Switch)] = &[("auto", Switch::Auto), ("on", Switch::On), ("off", Switch::Off)];
const POLL: &[(&str, Poll)] = &[("adaptive", Poll::Adaptive), ("busy", Poll::Busy)];
const MODE: &[(&str, XdpMode)] = &[("auto", XdpMode::Auto), ("native", XdpMode::Native), ("generic", XdpMode::Generic)];
const ROLE: &[(&str, Role)] = &[("underlay", Role::Underlay), ("access", Role::Access)];

const ADDRESSES: &str = "an address, or an array of one IPv4 and one IPv6 address";

/// The whole file.
pub(super) struct Raw {
    pub(super) workers: Option<WorkerConfig>,
    /// How many workers the file asks for, and where; absent for "as many as there are queues".
    pub(super) worker_count: Field<u16>,
    pub(super) burst: Option<u16>,
    pub(super) memory: RawMemory,
    pub(super) xdp: Option<XdpConfig>,
    pub(super) metrics: Option<Option<SocketAddr>>,
    pub(super) ports: Vec<RawPort>,
    pub(super) overlays: Vec<RawOverlay>,
    pub(super) peers: Vec<RawPeer>,
    pub(super) natives: Vec<RawNative>,
    /// What all access ports together may reach.
    pub(super) access_imports: RawImports,
    pub(super) sources: Vec<RawSource>,
    pub(super) state: Option<PathBuf>,
}

/// `[memory]`.
pub(super) struct RawMemory {
    pub(super) frames: Option<At<u32>>,
    pub(super) chunk_size: Option<u16>,
    pub(super) hugepages: Option<Switch>,
    pub(super) rx_ring: Option<u32>,
    pub(super) tx_ring: Option<At<u32>>,
    pub(super) fill_ring: Option<At<u32>>,
    pub(super) completion_ring: Option<u32>,
}

/// One `[[port]]`.
pub(super) struct RawPort {
    pub(super) interface: Option<At<String>>,
    pub(super) role: Option<At<Role>>,
    pub(super) mtu: Field<Mtu>,
    pub(super) queues: Field<u16>,
    pub(super) proxy: Option<At<bool>>,
}

/// One `[[overlay]]`.
pub(super) struct RawOverlay {
    pub(super) name: Option<At<String>>,
    pub(super) vni: Option<At<Vni>>,
    pub(super) udp_port: Option<At<u16>>,
    pub(super) local: Option<At<IpAddr>>,
    pub(super) mac: Option<At<Mac>>,
    /// Wrong ones stand as `None`.
    pub(super) addresses: Field<Vec<Option<At<IpAddr>>>>,
    pub(super) mtu: Field<Mtu>,
    pub(super) dscp: Option<At<Dscp>>,
    pub(super) source_check: Option<At<bool>>,
    pub(super) fit: Option<Fit>,
    pub(super) gbp: Option<At<bool>>,
    pub(super) inner_vlan: Option<At<u16>>,
    pub(super) zero_checksum: Field<bool>,
    /// What may be reached from there.
    pub(super) imports: RawImports,
}

/// One `[[peer]]`.
pub(super) struct RawPeer {
    pub(super) overlay: Option<At<String>>,
    pub(super) vtep: Option<At<IpAddr>>,
    pub(super) mac: Option<At<Mac>>,
    /// Wrong ones stand as `None`.
    pub(super) prefixes: Option<At<Vec<Option<At<Prefix>>>>>,
    pub(super) zero_checksum: Field<bool>,
}

/// What a `[[peer]]` says of a node.
pub(super) struct Node {
    pub(super) vtep: Option<At<IpAddr>>,
    pub(super) mac: Option<At<Mac>>,
    /// Wrong ones stand as `None`.
    pub(super) prefixes: Option<At<Vec<Option<At<Prefix>>>>>,
}

/// One `[[native]]`.
pub(super) struct RawNative {
    pub(super) prefix: Option<At<Prefix>>,
    pub(super) port: Option<At<String>>,
    pub(super) next_hop: Option<At<IpAddr>>,
}

impl RawOverlay {
    /// Our addresses in the overlay, as far as they could be read.
    pub(super) fn known_addresses(&self) -> impl Iterator<Item = &At<IpAddr>> {
        self.addresses.known().into_iter().flat_map(|list| list.value.iter().flatten())
    }
}

/// Reads the file.
pub(super) fn file(s: &mut Section<'_, '_>) -> Raw {
    let (workers, worker_count, burst) = s.table("workers", workers);
    Raw {
        workers,
        worker_count,
        burst,
        memory: s.table("memory", memory),
        xdp: s.table("xdp", xdp),
        metrics: s.table("metrics", metrics),
        ports: s.rows("port", port),
        overlays: s.rows("overlay", overlay),
        peers: s.rows("peer", peer),
        natives: s.rows("native", native),
        access_imports: s.table("access", imports),
        sources: s.rows("source", source),
        state: s.table("state", state),
    }
}

fn workers(s: &mut Section<'_, '_>) -> (Option<WorkerConfig>, Field<u16>, Option<u16>) {
    let count = s.optional("count", kinds::integer("a number of workers", 1..=1024u16));
    let cores = s.list("cores", "an array of at least one core number", kinds::integer("a core number", 0..=1023u16));
    let poll = s.or("poll", Poll::Adaptive, kinds::word(POLL));
    let realtime = s.or("realtime", Switch::Auto, kinds::word(SWITCH));
    let burst = s.or("burst", 128, kinds::integer("a burst", 1..=256u16));
    let cache_entries = s.or("cache_entries", 65_536, kinds::power_of_two("a number of entries", 1024..=1_048_576));
    let (cores, wanted) = which_cores(s, count, cores);
    let settled = || {
        Some(WorkerConfig {
            cores: cores?,
            poll: poll?.value,
            realtime: realtime?.value,
            burst: burst.as_ref()?.value,
            cache_entries: cache_entries?.value,
        })
    };
    (settled(), wanted, burst.map(|b| b.value))
}

fn which_cores(
    s: &mut Section<'_, '_>,
    count: Field<u16>,
    cores: Field<Vec<Option<At<u16>>>>,
) -> (Option<Cores>, Field<u16>) {
    match (count, cores) {
        (Field::Absent, Field::Absent) => (Some(Cores::Auto), Field::Absent),
        (Field::Is(n), Field::Absent) => (Some(Cores::Count(n.value)), Field::Is(n)),
        (Field::Absent, Field::Is(list)) => {
            distinct(s, &list);
            let wanted = u16::try_from(list.value.len()).unwrap_or(u16::MAX);
            let cores = list.value.into_iter().flatten().map(|c| c.value).collect();
            (Some(Cores::List(cores)), Field::Is(At { value: wanted, span: list.span }))
        }
        (Field::Is(n), Field::Is(list)) => {
            distinct(s, &list);
            s.problems()
                .add(&list.span, "workers.cores", "excludes `workers.count`: the list already says how many; keep one")
                .also(&n.span, "workers.count");
            (None, Field::Bad)
        }
        _ => (None, Field::Bad),
    }
}

fn distinct(s: &mut Section<'_, '_>, cores: &At<Vec<Option<At<u16>>>>) {
    let mut seen: std::collections::HashMap<u16, &Range<usize>> = std::collections::HashMap::new();
    for core in cores.value.iter().flatten() {
        if let Some(first) = seen.insert(core.value, &core.span) {
            let message = format!("names core {} twice; a core carries one worker", core.value);
            s.problems().add(&core.span, "workers.cores", message).also(first, "workers.cores");
        }
    }
}

fn memory(s: &mut Section<'_, '_>) -> RawMemory {
    let ring = || kinds::power_of_two("a ring size", 64..=16_384);
    RawMemory {
        frames: s.or("frames", 32_768, kinds::power_of_two("a number of frames", 512..=1_048_576)),
        chunk_size: s.or("chunk_size", 2048, kinds::chunk_size).map(|c| c.value),
        hugepages: s.or("hugepages", Switch::Auto, kinds::word(SWITCH)).map(|h| h.value),
        rx_ring: s.or("rx_ring", 4096, ring()).map(|r| r.value),
        tx_ring: s.or("tx_ring", 2048, ring()),
        fill_ring: s.or("fill_ring", 4096, ring()),
        completion_ring: s.or("completion_ring", 2048, ring()).map(|r| r.value),
    }
}

fn xdp(s: &mut Section<'_, '_>) -> Option<XdpConfig> {
    let mode = s.or("mode", XdpMode::Auto, kinds::word(MODE));
    let zero_copy = s.or("zero_copy", Switch::Auto, kinds::word(SWITCH));
    let multi_buffer = s.or("multi_buffer", Switch::Auto, kinds::word(SWITCH));
    let tx_checksum = s.or("tx_checksum", Switch::Auto, kinds::word(SWITCH));
    let busy_poll_us = s.or("busy_poll_us", 0, kinds::integer("a time in microseconds", 0..=10_000u32));
    if let (Some(m), Some(z)) = (&mode, &zero_copy)
        && (m.value, z.value) == (XdpMode::Generic, Switch::On)
    {
        s.problems()
            .add(&z.span, "xdp.zero_copy", "cannot be \"on\" in mode \"generic\": only drivers copy nothing")
            .also(&m.span, "xdp.mode");
    }
    if let (Some(m), Some(b)) = (&mode, &multi_buffer)
        && (m.value, b.value) == (XdpMode::Generic, Switch::On)
    {
        s.problems()
            .add(&b.span, "xdp.multi_buffer", "cannot be \"on\" in mode \"generic\": it takes the driver")
            .also(&m.span, "xdp.mode");
    }
    Some(XdpConfig {
        mode: mode?.value,
        zero_copy: zero_copy?.value,
        multi_buffer: multi_buffer?.value,
        tx_checksum: tx_checksum?.value,
        busy_poll_us: busy_poll_us?.value,
    })
}

pub(super) fn metrics(s: &mut Section<'_, '_>) -> Option<Option<SocketAddr>> {
    let enabled = s.or("enabled", true, kinds::boolean);
    let address = s.or("address", METRICS, kinds::socket);
    let (enabled, address) = (enabled?.value, address?.value);
    Some(enabled.then_some(address))
}

fn state(s: &mut Section<'_, '_>) -> Option<PathBuf> {
    s.or("directory", STATE.into(), kinds::absolute_path).map(|d| d.value)
}

fn port(s: &mut Section<'_, '_>) -> RawPort {
    let interface = s.required("interface", kinds::interface);
    s.set_label(interface.as_ref().map(|i| i.value.as_str()));
    RawPort {
        interface,
        role: s.required("role", kinds::word(ROLE)),
        mtu: s.optional("mtu", kinds::mtu),
        queues: s.optional("queues", kinds::integer("a number of RX queues", 1..=1024u16)),
        proxy: s.or("proxy", false, kinds::boolean),
    }
}

fn overlay(s: &mut Section<'_, '_>) -> RawOverlay {
    let name = s.required("name", kinds::overlay_name);
    s.set_label(name.as_ref().map(|n| n.value.as_str()));
    RawOverlay {
        name,
        vni: s.required("vni", kinds::vni),
        udp_port: s.or("udp_port", 4789, kinds::integer("a UDP port", 1..=65_535u16)),
        local: s.required("local", kinds::host),
        mac: s.required("mac", kinds::mac),
        addresses: s.one_or_list("address", ADDRESSES, kinds::host),
        mtu: s.optional("mtu", kinds::mtu),
        dscp: s.or("dscp", Dscp::Pipe(0), kinds::dscp),
        source_check: s.or("source_check", true, kinds::boolean),
        fit: fit(s),
        gbp: s.or("gbp", false, kinds::boolean),
        inner_vlan: s.or("inner_vlan", 0, kinds::integer("a VLAN", 1..=4094u16)),
        zero_checksum: s.optional("zero_checksum", kinds::boolean),
        imports: imports(s),
    }
}

fn fit(s: &mut Section<'_, '_>) -> Option<Fit> {
    let mss_clamp = s.or("mss_clamp", false, kinds::boolean);
    let fragment = s.or("fragment", false, kinds::boolean);
    Some(Fit { mss_clamp: mss_clamp?.value, fragment: fragment?.value })
}

fn peer(s: &mut Section<'_, '_>) -> RawPeer {
    let overlay = s.required("overlay", kinds::string);
    let Node { vtep, mac, prefixes } = node(s);
    let zero_checksum = s.optional("zero_checksum", kinds::boolean);
    RawPeer { overlay, vtep, mac, prefixes, zero_checksum }
}

/// A node, of whatever overlay.
pub(super) fn node(s: &mut Section<'_, '_>) -> Node {
    Node {
        vtep: s.required("vtep", kinds::host),
        mac: s.required("mac", kinds::mac),
        prefixes: s.required_list("prefixes", "an array of at least one prefix", kinds::prefix),
    }
}

fn native(s: &mut Section<'_, '_>) -> RawNative {
    RawNative {
        prefix: s.required("prefix", kinds::prefix),
        port: s.required("port", kinds::string),
        next_hop: s.required("next_hop", kinds::neighbour),
    }
}
