//! The XDP program that hands a measurement's packets to its sockets: by destination alone, IPv4 or IPv6, and whatever
//! is wrong with them otherwise. For the load generator's receiving half; the gateway's own is in `steer`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use aya::maps::{HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, XskMap, lpm_trie};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};

use super::error::{ATTACH, LOAD, MAP, PortError, SOCKET};
use super::steer::AttachMode;
use super::sys;
use super::tables::to_io;
use crate::wire::Prefix;

static OBJECT: &[u8] = aya::include_bytes_aligned!("catch.bpf.o");

/// What the program did so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CatchCounters {
    /// Packets handed to a socket, which may have had no room for them.
    pub taken: u64,
    /// Packets left to the kernel: others'.
    pub passed: u64,
    /// Packets that should have been taken, on a queue that has no socket: left to the kernel.
    pub no_socket: u64,
}

/// The program on one interface. Dropping it, or the death of the process, detaches it.
pub struct Catching {
    // Fields are dropped in order: detached first.
    link: Option<OwnedFd>,
    _program: Ebpf,
    counters: PerCpuArray<MapData, u64>,
    ifindex: u32,
}

impl Catching {
    /// Loads the program, gives it `sockets` by their queues, and attaches it to the interface `ifindex`. From now on
    /// it takes UDP to the addresses and ports of `vteps`, and anything to `prefixes`.
    ///
    /// # Errors
    /// What failed and what may help: no capability, another program in place, an MTU the driver has no XDP for.
    pub fn attach(
        ifindex: u32,
        mode: AttachMode,
        vteps: &[SocketAddr],
        prefixes: &[Prefix],
        sockets: &[(u32, BorrowedFd<'_>)],
    ) -> Result<Self, PortError> {
        let at = |step| move |e| PortError::new(ifindex, None, step, e);
        let mut program = load(vteps.len(), prefixes.len(), sockets).map_err(at(LOAD))?;
        // First: a loaded program keeps its maps, whoever lets go of them.
        let fd = program_fd(&mut program).map_err(at(LOAD))?;
        let counters = take(&mut program, "counters").map_err(at(LOAD))?;
        fill(&mut program, vteps, prefixes).map_err(at(MAP))?;
        let mut map: XskMap<MapData> = take(&mut program, "xsks").map_err(at(LOAD))?;
        for (queue, fd) in sockets {
            let set = map.set(*queue, fd.as_raw_fd(), 0).map_err(to_io);
            set.map_err(|e| PortError::new(ifindex, Some(*queue), SOCKET, e))?;
        }
        let link = sys::create_xdp_link(fd.as_fd(), ifindex, mode).map_err(at(ATTACH))?;
        Ok(Self { link: Some(link), _program: program, counters, ifindex })
    }

    /// Takes nothing any more: counters stand still from now on, and what was taken is in the sockets' rings.
    pub fn detach(&mut self) {
        self.link = None;
    }

    /// What it did so far. Some system calls: for the slow path.
    ///
    /// # Errors
    /// What the kernel said of the map.
    pub fn counters(&self) -> Result<CatchCounters, PortError> {
        let count = |index: u32| -> io::Result<u64> {
            let by_cpu = self.counters.get(&index, 0).map_err(to_io)?;
            Ok(by_cpu.iter().copied().fold(0, u64::wrapping_add))
        };
        let all = || Ok(CatchCounters { taken: count(0)?, passed: count(1)?, no_socket: count(2)? });
        all().map_err(|e| PortError::new(self.ifindex, None, "reading the program's counters", e))
    }
}

fn load(vteps: usize, prefixes: usize, sockets: &[(u32, BorrowedFd<'_>)]) -> io::Result<Ebpf> {
    let queues = sockets.iter().map(|(queue, _)| queue.saturating_add(1)).max().unwrap_or(1);
    let room = |n: usize| u32::try_from(n.max(1)).unwrap_or(u32::MAX);
    EbpfLoader::new()
        .btf(None) // nothing in the program depends on the kernel's own types
        .map_max_entries("xsks", queues)
        .map_max_entries("vteps", room(vteps))
        .map_max_entries("prefixes", room(prefixes))
        .load(OBJECT)
        .map_err(to_io)
}

fn fill(program: &mut Ebpf, vteps: &[SocketAddr], prefixes: &[Prefix]) -> io::Result<()> {
    let mut map: HashMap<MapData, [u8; 20], u8> = take(program, "vteps")?;
    for vtep in vteps {
        let mut key = [0; 20];
        key[..16].copy_from_slice(&mapped(vtep.ip()));
        key[16..18].copy_from_slice(&vtep.port().to_be_bytes());
        map.insert(key, 1, 0).map_err(to_io)?;
    }
    let mut trie: LpmTrie<MapData, [u8; 16], u8> = take(program, "prefixes")?;
    for prefix in prefixes {
        let bits = u32::from(prefix.len()) + if prefix.addr().is_ipv4() { 96 } else { 0 };
        trie.insert(&lpm_trie::Key::new(bits, mapped(prefix.addr())), 1, 0).map_err(to_io)?;
    }
    Ok(())
}

/// As the program writes an address.
fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    }
}

fn take<M: TryFrom<Map, Error = MapError>>(program: &mut Ebpf, name: &str) -> io::Result<M> {
    let map = program.take_map(name).ok_or_else(|| io::Error::other(format!("the object has no map {name}")))?;
    M::try_from(map).map_err(to_io)
}

fn program_fd(program: &mut Ebpf) -> io::Result<OwnedFd> {
    let xdp: Option<&mut Xdp> = program.program_mut("selvedge_catch").and_then(|p| p.try_into().ok());
    let xdp = xdp.ok_or_else(|| io::Error::other("the object has no program of this name"))?;
    xdp.load().map_err(to_io)?;
    xdp.fd().map_err(to_io)?.as_fd().try_clone_to_owned()
}
