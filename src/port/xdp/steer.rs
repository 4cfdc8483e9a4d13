//! The XDP program that hands the gateway's packets to its sockets, one instance an interface.
//!
//! What it takes is in two tables of the kernel: VTEPs (underlay role) and destination prefixes (access role). They
//! change one entry at a time while packets flow; to move from one set to another, add what is new, wait until the
//! workers know it, then retain what is left.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};

use super::error::{ATTACH, GROUPS, LOAD, MAP, PortError, SOCKET};
use super::reason::SteerCounters;
use super::sys;
use super::tables::{SteerTables, to_io};
use crate::wire::{Mac, Prefix, VlanTags};

static OBJECT: &[u8] = aya::include_bytes_aligned!("steer.bpf.o");

/// Which packets of an interface are the gateway's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Roles {
    /// VXLAN packets to our VTEPs.
    pub underlay: bool,
    /// IP packets to our prefixes.
    pub access: bool,
    /// ARP requests and neighbour solicitations for addresses in our prefixes.
    pub proxy: bool,
    /// None of these unless it has exactly these VLAN tags, behind which it begins.
    pub tags: VlanTags,
}

/// Where the program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttachMode {
    /// In the driver.
    Native,
    /// In the driver, for packets in several buffers, too (Linux 5.18): what native mode takes besides for frames larger
    /// than a page.
    NativeMultiBuffer,
    /// In the stack, on socket buffers: slow, and TCP super-frames of local senders are lost.
    Generic,
}

/// Room in the program's tables, fixed when it is loaded. Prefixes take kernel memory only as they are added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SteerCapacity {
    /// VTEP addresses with port, 1 or more.
    pub vteps: u32,
    /// Prefixes of each family, 1 or more.
    pub prefixes: u32,
}

impl Default for SteerCapacity {
    /// 1,024 VTEPs, 2²¹ prefixes of each family.
    fn default() -> Self {
        Self { vteps: 1024, prefixes: 1 << 21 }
    }
}

/// The program on one interface. Dropping it, or the death of the process, detaches it.
pub struct Steering {
    // Fields are dropped in order: detached first.
    _link: OwnedFd,
    /// Solicitations are sent to groups, one for the last three octets of an address, which the device would leave out.
    _groups: Option<OwnedFd>,
    _program: Ebpf,
    tables: SteerTables,
    ifindex: u32,
    roles: Roles,
}

impl Steering {
    /// Loads the program, gives it `sockets` by their queues, and attaches it to the interface `ifindex` whose MAC
    /// is `mac`. It takes nothing before VTEPs or prefixes are added. Every RX queue needs a socket.
    ///
    /// It is attached by a bpf_link and in no other way, so that it never outlives its process; and `mode` is never
    /// changed for another one, since what makes one mode fail may make the other lose packets.
    ///
    /// # Errors
    /// What failed and what may help: no capability, another program in place, an MTU the driver has no XDP for.
    pub fn attach(
        ifindex: u32,
        mac: Mac,
        roles: Roles,
        mode: AttachMode,
        capacity: SteerCapacity,
        sockets: &[(u32, BorrowedFd<'_>)],
    ) -> Result<Self, PortError> {
        let at = |step| move |e| PortError::new(ifindex, None, step, e);
        let mut program = load(capacity, sockets).map_err(at(LOAD))?;
        let mut tables = SteerTables::new(&mut program).map_err(at(LOAD))?;
        tables.configure(mac, roles).map_err(at(MAP))?;
        for (queue, fd) in sockets {
            tables.set_socket(*queue, *fd).map_err(|e| PortError::new(ifindex, Some(*queue), SOCKET, e))?;
        }
        let fd = program_fd(&mut program, mode).map_err(at(LOAD))?;
        let link = sys::create_xdp_link(fd.as_fd(), ifindex, mode).map_err(at(ATTACH))?;
        let groups = roles.proxy.then(|| sys::take_all_groups(ifindex)).transpose().map_err(at(GROUPS))?;
        Ok(Self { _link: link, _groups: groups, _program: program, tables, ifindex, roles })
    }

    /// The interface's index.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Hands packets of `queue` to another socket from now on. Queues are those the program was attached with, or
    /// lower ones.
    ///
    /// # Errors
    /// No such queue, or what the kernel said of the socket.
    pub fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), PortError> {
        self.tables.set_socket(queue, socket).map_err(|e| PortError::new(self.ifindex, Some(queue), SOCKET, e))
    }

    /// The interface got another MAC.
    ///
    /// # Errors
    /// What the kernel said of the map.
    pub fn set_mac(&mut self, mac: Mac) -> Result<(), PortError> {
        let (roles, ifindex) = (self.roles, self.ifindex);
        self.tables.configure(mac, roles).map_err(|e| PortError::new(ifindex, None, MAP, e))
    }

    /// Takes VXLAN to these addresses and UDP ports from now on; those taken already are left alone.
    ///
    /// # Errors
    /// No room: those before it are in force.
    pub fn add_vteps(&mut self, vteps: &[(IpAddr, u16)]) -> Result<(), PortError> {
        self.tables.add_vteps(vteps).map_err(|e| PortError::new(self.ifindex, None, MAP, e))
    }

    /// Takes VXLAN to no other addresses and ports than these any more. Adds none.
    ///
    /// # Errors
    /// What the kernel said of the map.
    pub fn retain_vteps(&mut self, vteps: &[(IpAddr, u16)]) -> Result<(), PortError> {
        self.tables.retain_vteps(vteps).map_err(|e| PortError::new(self.ifindex, None, MAP, e))
    }

    /// Takes VXLAN to exactly these addresses and ports: adds, then removes.
    ///
    /// # Errors
    /// As for adding and retaining.
    pub fn set_vteps(&mut self, vteps: &[(IpAddr, u16)]) -> Result<(), PortError> {
        self.add_vteps(vteps)?;
        self.retain_vteps(vteps)
    }

    /// Takes packets to these prefixes from now on; those taken already are left alone. Costs one system call for
    /// each that is new.
    ///
    /// # Errors
    /// No room: those before it are in force.
    pub fn add_prefixes(&mut self, prefixes: &[Prefix]) -> Result<(), PortError> {
        self.tables.add_prefixes(prefixes).map_err(|e| PortError::new(self.ifindex, None, MAP, e))
    }

    /// Takes packets to these prefixes no more; those not taken anyway are left alone.
    ///
    /// # Errors
    /// What the kernel said of the map.
    pub fn remove_prefixes(&mut self, prefixes: &[Prefix]) -> Result<(), PortError> {
        self.tables.remove_prefixes(prefixes).map_err(|e| PortError::new(self.ifindex, None, MAP, e))
    }

    /// Takes packets to no other prefixes than these any more. Adds none.
    ///
    /// # Errors
    /// What the kernel said of the map.
    pub fn retain_prefixes(&mut self, prefixes: &[Prefix]) -> Result<(), PortError> {
        self.tables.retain_prefixes(prefixes).map_err(|e| PortError::new(self.ifindex, None, MAP, e))
    }

    /// Takes packets to exactly these prefixes: adds, then removes.
    ///
    /// # Errors
    /// As for adding and retaining.
    pub fn set_prefixes(&mut self, prefixes: &[Prefix]) -> Result<(), PortError> {
        self.add_prefixes(prefixes)?;
        self.retain_prefixes(prefixes)
    }

    /// Leaves packets to these addresses, which are the host's own, to the kernel, whatever prefix holds them: a route
    /// that covers them must not cut the host off. Replaces the addresses given before.
    ///
    /// # Errors
    /// What the kernel said of the map.
    pub fn set_own(&mut self, addresses: &[IpAddr]) -> Result<(), PortError> {
        self.tables.set_own(addresses).map_err(|e| PortError::new(self.ifindex, None, MAP, e))
    }

    /// VTEPs and prefixes (of both families) in force.
    pub fn loaded(&self) -> (usize, usize) {
        self.tables.loaded()
    }

    /// What it did so far. Some system calls: for the slow path.
    ///
    /// # Errors
    /// What the kernel said of the map.
    pub fn counters(&self) -> Result<SteerCounters, PortError> {
        self.tables.counters().map_err(|e| PortError::new(self.ifindex, None, "reading the program's counters", e))
    }
}

fn load(capacity: SteerCapacity, sockets: &[(u32, BorrowedFd<'_>)]) -> io::Result<Ebpf> {
    let queues = sockets.iter().map(|(queue, _)| queue.saturating_add(1)).max().unwrap_or(1);
    EbpfLoader::new()
        .btf(None) // nothing in the program depends on the kernel's own types
        .map_max_entries("xsks", queues)
        .map_max_entries("vteps", capacity.vteps.max(1))
        .map_max_entries("prefixes4", capacity.prefixes.max(1))
        .map_max_entries("prefixes6", capacity.prefixes.max(1))
        .load(OBJECT)
        .map_err(to_io)
}

fn program_fd(program: &mut Ebpf, mode: AttachMode) -> io::Result<OwnedFd> {
    let name = match mode {
        AttachMode::Native | AttachMode::Generic => "selvedge_steer",
        AttachMode::NativeMultiBuffer => "selvedge_steer_sg",
    };
    let xdp: Option<&mut Xdp> = program.program_mut(name).and_then(|p| p.try_into().ok());
    let xdp = xdp.ok_or_else(|| io::Error::other("the object has no program of this name"))?;
    xdp.load().map_err(to_io)?;
    xdp.fd().map_err(to_io)?.as_fd().try_clone_to_owned()
}
