//! Floor 5: text becomes types, and types become a plan for this host.

mod errors;
mod facts;
pub mod fragment;
mod kinds;
mod load;
mod overlap;
mod plan;
mod plan_checks;
mod plan_checksums;
mod plan_mtu;
mod plan_overlays;
mod plan_vlan;
pub mod probe;
mod raw;
mod raw_imports;
mod raw_sources;
mod reader;
mod suggest;
mod validate;
mod validate_imports;
mod validate_routes;
mod validate_sources;

#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_families;

use core::net::SocketAddr;
use std::path::PathBuf;

pub use errors::{ConfigError, ConfigErrors, Position};
pub use facts::{HostFacts, InterfaceFacts};
pub use plan::{Attach, Finding, Plan, PortPlan, Severity};

use crate::control::Route;
use crate::control::learnt::Rules;
use crate::control::source::Kind;
use crate::tables::{Imports, Overlay};
use crate::wire::{Mtu, Prefix};

/// A validated configuration: nothing in it contradicts the rest of it. Whether this host can do it, [`Plan`] says.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Interfaces; a port's place here is its `PortId`.
    pub ports: Vec<PortConfig>,
    /// Overlays; an overlay's place here is its `OverlayId`.
    pub overlays: Vec<Overlay>,
    /// The map: overlay and native routes of the file.
    pub routes: Vec<Route>,
    /// What may be reached: by the access side, then by each overlay.
    pub imports: Vec<Imports>,
    /// Where the map is learnt from besides.
    pub sources: Vec<SourceConfig>,
    /// Where what was learnt is kept for the next start.
    pub state: PathBuf,
    /// Worker threads.
    pub workers: WorkerConfig,
    /// Packet memory and rings.
    pub memory: MemoryConfig,
    /// How to attach to interfaces.
    pub xdp: XdpConfig,
    /// Where `/metrics` is served; `None` for nowhere.
    pub metrics: Option<SocketAddr>,
}

/// A source of the map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceConfig {
    /// Its name, unique: in logs, metrics, commands and the name of its snapshot.
    pub name: String,
    /// How much it is believed against other sources, the lowest value first; the file has 10.
    pub preference: u8,
    /// What it may say.
    pub rules: Rules,
    /// What is asked, and how.
    pub kind: Kind,
    /// What the overlay's nodes are to send to the gateway; nothing unless it is said.
    pub advertise: Option<Advertise>,
    /// When the gateway ends, that is taken back.
    pub deregister: bool,
}

/// What the nodes of an overlay are to send to the gateway: it registers itself for that where its map comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Advertise {
    /// All prefixes of other overlays, as they come and go.
    Imported,
    /// These, whether they lead anywhere or not. Sorted, none within another.
    These(Vec<Prefix>),
}

/// Which side of the gateway an interface is on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Carries VXLAN packets between VTEPs.
    Underlay,
    /// Carries plain IP packets.
    Access,
}

/// One interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortConfig {
    /// Kernel name.
    pub interface: String,
    /// Its side.
    pub role: Role,
    /// MTU to obey if smaller than the interface's own.
    pub mtu: Option<Mtu>,
    /// RX queues it is expected to have, 1 to 1,024; a host where it has another number is refused.
    pub queues: Option<u16>,
    /// Neighbours on it that ask for the MAC address of a pod (ARP, neighbour solicitations) get the port's own. Access
    /// ports only.
    pub proxy: bool,
}

/// Which cores workers run on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cores {
    /// As many workers as the ports have queues, on the first cores this process may use.
    Auto,
    /// So many workers, on the first cores this process may use.
    Count(u16),
    /// One worker on each of these cores.
    List(Vec<u16>),
}

/// What a worker does when there is nothing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Poll {
    /// Spins: lowest latency, a whole core.
    Busy,
    /// Sleeps in poll(2) after a short spin.
    Adaptive,
}

/// Worker threads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerConfig {
    /// Where they run.
    pub cores: Cores,
    /// Idle behaviour.
    pub poll: Poll,
    /// Whether workers run before all ordinary threads of their cores; [`Switch::Auto`]: if they are adaptive.
    pub realtime: Switch,
    /// Frames taken from a port at once, 1 to 256.
    pub burst: u16,
    /// Flow cache entries a worker, a power of two, 1,024 to 1,048,576.
    pub cache_entries: u32,
}

/// Whether something is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Switch {
    /// If it can be had; a log line tells when it cannot.
    Auto,
    /// Insist: it is an error when it cannot be had.
    On,
    /// Never.
    Off,
}

/// Packet memory and rings of one worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryConfig {
    /// Chunks in the UMEM, a power of two, 512 to 1,048,576.
    pub frames: u32,
    /// Bytes in a chunk: 2,048 or 4,096.
    pub chunk_size: u16,
    /// Hugepages under the UMEM.
    pub hugepages: Switch,
    /// RX ring entries, a power of two, 64 to 16,384.
    pub rx_ring: u32,
    /// TX ring entries, likewise.
    pub tx_ring: u32,
    /// Fill ring entries, likewise.
    pub fill_ring: u32,
    /// Completion ring entries, likewise.
    pub completion_ring: u32,
}

/// Where the XDP program is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XdpMode {
    /// Native if the driver has XDP at all, generic (with a warning) if it has none.
    Auto,
    /// In the driver.
    Native,
    /// In the stack, on socket buffers. Slow.
    Generic,
}

/// How to attach to interfaces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XdpConfig {
    /// Attachment.
    pub mode: XdpMode,
    /// Zero-copy sockets.
    pub zero_copy: Switch,
    /// Packets in several chunks, for MTUs that one does not hold. "auto": if an interface's MTU takes it.
    pub multi_buffer: Switch,
    /// Checksums that arrive unfinished are left to the device by which they leave.
    pub tx_checksum: Switch,
    /// Microseconds of preferred busy polling (SO_BUSY_POLL), 0 to 10,000; 0 is off.
    pub busy_poll_us: u32,
}
