//! Why a port could not be opened or an interface not steered, and what to do about it.

use std::fmt;
use std::io;

use crate::port::host;

/// What failed on which interface, what the kernel said, and what can be done about it.
#[derive(Debug)]
pub struct PortError {
    interface: String,
    queue: Option<u32>,
    step: &'static str,
    source: io::Error,
}

impl PortError {
    pub(super) fn new(ifindex: u32, queue: Option<u32>, step: &'static str, source: io::Error) -> Self {
        let interface = host::interface_name(ifindex).unwrap_or_else(|_| format!("interface {ifindex}"));
        Self { interface, queue, step, source }
    }

    /// The interface's name (its index in words where it has none any more).
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The queue, where the failure was about one.
    pub fn queue(&self) -> Option<u32> {
        self.queue
    }

    /// What was being done, in words that name the system call.
    pub fn step(&self) -> &'static str {
        self.step
    }

    /// What the kernel said.
    pub fn io(&self) -> &io::Error {
        &self.source
    }

    /// What may help, where the error number is known to have a remedy.
    pub fn hint(&self) -> Option<&'static str> {
        let errno = self.source.raw_os_error()?;
        Some(match (errno, self.step) {
            (libc::EPERM, _) => "CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF (or CAP_SYS_ADMIN) are needed",
            (libc::ENOBUFS | libc::ENOMEM, UMEM) => {
                "the limit of locked memory is too low: give CAP_IPC_LOCK, raise LimitMEMLOCK, or lower memory.frames"
            }
            (libc::EBUSY, BIND) => "another process has an AF_XDP socket on this queue",
            (libc::EBUSY, ATTACH) => {
                "another XDP program is attached: see `ip link show`, remove it with `ip link set … xdp off`"
            }
            (libc::EEXIST, ATTACH) => {
                "an XDP program is attached in the other mode (native or generic): remove it first"
            }
            (libc::EOPNOTSUPP | libc::EPROTONOSUPPORT, BIND) => {
                "the driver has no zero-copy: set xdp.zero_copy to \"auto\" or \"off\""
            }
            (libc::EOPNOTSUPP, ATTACH) => "the driver has no native XDP: set xdp.mode to \"generic\" (slow)",
            (libc::EINVAL, BIND) => {
                "there is no such queue, or the driver cannot do what is asked (with xdp.multi_buffer, a kernel before 6.6)"
            }
            (libc::EINVAL | libc::ERANGE | libc::ENOSPC | libc::E2BIG, ATTACH) => {
                "the driver refuses XDP as the interface is set up: lower its MTU (at most 3,498 is common), turn off \
                 LRO, or leave free queues (`ethtool -L`); the kernel log says more"
            }
            (libc::ENETDOWN, _) => "the interface is down",
            (libc::ENODEV | libc::ENXIO, _) => "the interface is gone, or in another network namespace",
            (libc::E2BIG | libc::ENOSPC, MAP) => "the table in the kernel is full: raise its capacity",
            _ => return None,
        })
    }
}

/// Registering packet memory.
pub(super) const UMEM: &str = "registering packet memory (XDP_UMEM_REG)";
/// Binding a socket.
pub(super) const BIND: &str = "binding an AF_XDP socket (bind)";
/// Loading the program.
pub(super) const LOAD: &str = "loading the XDP program (BPF_PROG_LOAD)";
/// Attaching the program.
pub(super) const ATTACH: &str = "attaching the XDP program (BPF_LINK_CREATE)";
/// Asking the device for frames to groups.
pub(super) const GROUPS: &str = "taking frames to all groups (PACKET_ADD_MEMBERSHIP)";
/// Giving the program a socket.
pub(super) const SOCKET: &str = "entering a socket into the XSKMAP (BPF_MAP_UPDATE_ELEM)";
/// Writing an entry.
pub(super) const MAP: &str = "writing a BPF map (BPF_MAP_UPDATE_ELEM)";

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, step, source, .. } = self;
        write!(f, "{interface}")?;
        if let Some(queue) = self.queue {
            write!(f, " queue {queue}")?;
        }
        write!(f, ": {step}: {source}")?;
        self.hint().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for PortError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
