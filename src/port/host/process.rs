//! Facts from /proc and uname(2).

use std::fs::read_to_string;
use std::io;

/// Effective capabilities of this thread that the gateway may need.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    /// CAP_NET_ADMIN: attach XDP programs, register packet memory.
    pub net_admin: bool,
    /// CAP_NET_RAW: AF_XDP sockets.
    pub net_raw: bool,
    /// CAP_BPF: load programs.
    pub bpf: bool,
    /// CAP_PERFMON: with programs that compute with pointers into packets.
    pub perfmon: bool,
    /// CAP_SYS_ADMIN: stands in for CAP_BPF and CAP_PERFMON.
    pub sys_admin: bool,
    /// CAP_IPC_LOCK: no limit on locked memory.
    pub ipc_lock: bool,
    /// CAP_SYS_RESOURCE: may raise limits.
    pub sys_resource: bool,
}

impl Capabilities {
    /// Those of the calling thread.
    ///
    /// # Errors
    /// When /proc is not mounted, or does not say.
    pub fn effective() -> io::Result<Self> {
        let status = read_to_string("/proc/thread-self/status")?;
        let bits = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
        let bits = bits.and_then(|b| u64::from_str_radix(b.trim(), 16).ok());
        bits.map(Self::from_bits).ok_or_else(|| io::Error::other("/proc/thread-self/status has no CapEff line"))
    }

    /// Numbers of linux/capability.h.
    fn from_bits(bits: u64) -> Self {
        let has = |number: u32| bits >> number & 1 == 1;
        Self {
            net_admin: has(12),
            net_raw: has(13),
            ipc_lock: has(14),
            sys_admin: has(21),
            sys_resource: has(24),
            perfmon: has(38),
            bpf: has(39),
        }
    }

    /// Names of what XDP needs and this thread lacks; empty when all is well.
    pub fn missing(&self) -> Vec<&'static str> {
        let needs = [
            (self.net_admin || self.sys_admin, "CAP_NET_ADMIN"),
            (self.net_raw, "CAP_NET_RAW"),
            (self.bpf || self.sys_admin, "CAP_BPF (or CAP_SYS_ADMIN)"),
            (self.perfmon || self.sys_admin, "CAP_PERFMON (or CAP_SYS_ADMIN)"),
        ];
        needs.into_iter().filter(|(has, _)| !has).map(|(_, name)| name).collect()
    }
}

/// Lets the calling thread run before all ordinary ones (SCHED_FIFO, priority 1, the lowest of its class).
///
/// # Errors
/// EPERM: CAP_SYS_NICE is missing, and RLIMIT_RTPRIO is 0.
pub fn become_realtime() -> io::Result<()> {
    set_scheduler(libc::SCHED_FIFO, 1)
}

/// Makes the calling thread an ordinary one again (SCHED_OTHER). Who was real-time may always do that.
///
/// # Errors
/// None that is documented.
pub fn become_ordinary() -> io::Result<()> {
    set_scheduler(libc::SCHED_OTHER, 0)
}

fn set_scheduler(class: i32, priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: `parameters` is valid for reading; 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, class, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives memory that the calling thread has freed back to the system, where mimalloc allocates. It would keep what was
/// needed for a moment: after a load of a million routes ten times of what they take. Takes milliseconds then.
pub fn release_memory() {
    // SAFETY: it takes no pointer and may be called at any time, by any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// The kernel's release, such as `6.1.0-13-amd64`.
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Free 2 MiB hugepages; 0 where there are none, or their default size is another one.
pub fn free_hugepages() -> u64 {
    free_in(&read_to_string("/proc/meminfo").unwrap_or_default())
}

fn free_in(meminfo: &str) -> u64 {
    let field = |name: &str| {
        let value = meminfo.lines().find_map(|l| l.strip_prefix(name))?;
        value.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
    };
    match field("Hugepagesize") {
        Some(2048) => field("HugePages_Free").unwrap_or(0).saturating_sub(field("HugePages_Rsvd").unwrap_or(0)),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_bits_have_names() {
        let none = Capabilities::from_bits(0);
        assert_eq!(none, Capabilities::default());
        assert_eq!(none.missing().len(), 4);
        let caps = Capabilities::from_bits(1 << 12 | 1 << 13 | 1 << 38 | 1 << 39);
        assert!(caps.missing().is_empty() && !caps.ipc_lock && !caps.sys_admin);
        assert_eq!(Capabilities::from_bits(1 << 21).missing(), ["CAP_NET_RAW"]);
        Capabilities::effective().unwrap();
    }

    #[test]
    fn a_thread_becomes_realtime_or_says_why_not() {
        // a thread of its own: whoever runs the tests keeps their class
        let (outcome, class) = std::thread::spawn(|| {
            let outcome = become_realtime();
            // SAFETY: takes no pointers.
            let class = unsafe { libc::sched_getscheduler(0) };
            become_ordinary().unwrap();
            // SAFETY: as above.
            assert_eq!(unsafe { libc::sched_getscheduler(0) }, libc::SCHED_OTHER);
            (outcome, class)
        })
        .join()
        .unwrap();
        match outcome {
            Ok(()) => assert_eq!(class, libc::SCHED_FIFO),
            Err(e) => assert_eq!((e.raw_os_error(), class), (Some(libc::EPERM), libc::SCHED_OTHER)),
        }
    }

    #[test]
    fn hugepages_are_counted_less_reservations() {
        let text = "HugePages_Total:      12\nHugePages_Free:        8\nHugePages_Rsvd:        3\nHugepagesize:       2048 kB\n";
        assert_eq!(free_in(text), 5);
        assert_eq!(free_in(&text.replace("2048", "1048576")), 0);
        assert_eq!(free_in(""), 0);
    }

    #[test]
    fn the_kernel_has_a_release() {
        assert!(kernel_release().starts_with(|c: char| c.is_ascii_digit()));
    }
}
