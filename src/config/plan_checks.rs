//! What can stand in the way of a plan, and the line that mends each.

use super::facts::{HostFacts, InterfaceFacts};
use super::plan::{Attach, Finding, Matched};
use super::plan_mtu::Sizes;
use super::{Config, Cores, Switch, plan_vlan};

/// The oldest kernel: bpf_link for XDP came with 5.9, sockets of several devices on one UMEM with 5.10; 5.15 is the
/// first long-term kernel after both that is still cared for.
const KERNEL: (u32, u32) = (5, 15);

/// A hugepage, in bytes.
const HUGE: u64 = 2 << 20;

/// Kernel version and capabilities.
pub(super) fn privileges(host: &HostFacts, findings: &mut Vec<Finding>) {
    let (major, minor) = host.kernel;
    if host.kernel >= KERNEL {
        findings.push(Finding::ok(format!("kernel {major}.{minor} (5.15 or newer is needed)")));
    } else {
        findings.push(Finding::error(
            format!(
                "kernel {major}.{minor} is too old: XDP by bpf_link needs 5.9, one packet memory for sockets of several \
                 devices 5.10, and 5.15 is the oldest that is supported"
            ),
            "boot a kernel of 5.15 or newer",
        ));
    }
    let caps = &host.caps;
    let needed = [
        (caps.net_admin, "CAP_NET_ADMIN", "attaches programs to interfaces"),
        (caps.net_raw, "CAP_NET_RAW", "opens AF_XDP sockets"),
        (caps.bpf || caps.sys_admin, "CAP_BPF", "loads XDP programs (CAP_SYS_ADMIN does as well)"),
        (
            caps.perfmon || caps.sys_admin,
            "CAP_PERFMON",
            "lets XDP programs compute with pointers (CAP_SYS_ADMIN does as well)",
        ),
    ];
    for (_, name, why) in needed.iter().filter(|(has, ..)| !has) {
        findings.push(Finding::error(
            format!("{name} is missing; it is what {why}"),
            format!("run as root, or in a unit AmbientCapabilities={name}, or in a container --cap-add {}", &name[4..]),
        ));
    }
    if needed.iter().all(|(has, ..)| *has) {
        findings.push(Finding::ok("capabilities: net_admin, net_raw, bpf, perfmon"));
    }
}

/// Cores the file lists.
pub(super) fn listed_cores(list: &[u16], host: &HostFacts, findings: &mut Vec<Finding>) {
    for core in list.iter().filter(|c| !host.cores_allowed.contains(c)) {
        let why = match host.cores_online.contains(core) {
            true => "this process may not run on it",
            false => "it is not online",
        };
        findings.push(Finding::error(
            format!("workers.cores lists core {core}, but {why}"),
            format!("list some of the cores {}", numbers(&host.cores_allowed)),
        ));
    }
    if list.iter().all(|c| host.cores_allowed.contains(c)) {
        findings.push(Finding::ok(format!("workers on cores {}", numbers(list))));
    }
}

/// More workers than cores.
pub(super) fn too_few_cores(
    config: &Config,
    wanted: u16,
    have: usize,
    ports: &[Matched<'_>],
    findings: &mut Vec<Finding>,
) {
    let what = format!("{wanted} workers need {wanted} cores, and this process may use {have}");
    // A port with the wrong number of queues gets its line from `port`, where the number of workers is known.
    let mend = match config.workers.cores {
        Cores::Auto if have > 0 => {
            let lines: Vec<_> = ports.iter().map(|p| channels(p.device, have as u16)).collect();
            lines.join("; ")
        }
        _ if have > 0 => format!("workers.count = {have}"),
        _ => "allow this process some cores (taskset, cpuset)".to_owned(),
    };
    findings.push(Finding::error(what, mend));
}

/// Packet memory: hugepages and the limit on locked memory. Returns whether hugepages are used.
pub(super) fn memory(config: &Config, host: &HostFacts, workers: usize, findings: &mut Vec<Finding>) -> bool {
    let each = u64::from(config.memory.frames) * u64::from(config.memory.chunk_size);
    let all = each.saturating_mul(workers as u64);
    if let Some(limit) = host.memlock.filter(|limit| *limit < all && !host.caps.ipc_lock) {
        findings.push(Finding::error(
            format!(
                "{} of packet memory must be locked, the limit is {} and CAP_IPC_LOCK, which lifts it, is missing",
                mebibytes(all),
                mebibytes(limit)
            ),
            "add CAP_IPC_LOCK, or raise the limit: `ulimit -l unlimited`, in a unit LimitMEMLOCK=infinity",
        ));
    }
    let pages = each.div_ceil(HUGE).saturating_mul(workers as u64);
    let (free, total) = (u64::from(host.hugepages_free), u64::from(host.hugepages_total));
    let mend = || format!("sysctl -w vm.nr_hugepages={}", total - free.min(total) + pages);
    let what =
        || format!("{pages} hugepages of 2 MiB are needed for {} of packet memory, {free} are free", mebibytes(all));
    match config.memory.hugepages {
        Switch::Off => false,
        _ if free >= pages => {
            findings.push(Finding::ok(format!("{} of packet memory on {pages} hugepages", mebibytes(all))));
            true
        }
        Switch::Auto => {
            findings.push(Finding::ok(format!("{} of packet memory on small pages ({})", mebibytes(all), what())));
            false
        }
        Switch::On => {
            findings.push(Finding::error(format!("{}, and memory.hugepages is \"on\"", what()), mend()));
            false
        }
    }
}

/// One port: state, queues, MTU, offloads.
pub(super) fn port(sizes: &Sizes<'_>, port: &Matched<'_>, attach: Attach, workers: usize, findings: &mut Vec<Finding>) {
    let before = findings.len();
    state(port, findings);
    queues(port, workers, findings);
    sizes.check(port, attach, findings);
    offloads(port, attach, findings);
    plan_vlan::room(port, findings);
    plan_vlan::offload(port, findings);
    if findings.len() == before {
        let InterfaceFacts { name, driver, rx_queues, .. } = port.device;
        let mode = if attach == Attach::Native { "native" } else { "generic" };
        let mtu = port.mtu.map_or(0, |m| m.get());
        let s = if *rx_queues == 1 { "" } else { "s" };
        let most = sizes.most(port, attach);
        findings
            .push(Finding::ok(format!("{name}: {driver}, {rx_queues} RX queue{s}, MTU {mtu} ({most}), XDP {mode}")));
    }
}

fn state(port: &Matched<'_>, findings: &mut Vec<Finding>) {
    let InterfaceFacts { name, mac, .. } = port.facts;
    if !mac.is_station() {
        let what = format!("{name}: has no Ethernet address ({mac}); only Ethernet interfaces can be ports");
        findings.push(Finding::error(what, "name another interface"));
    }
    let both = [port.device, port.facts];
    let each = if port.tags.is_empty() { &both[1..] } else { &both };
    for InterfaceFacts { name, .. } in each.iter().filter(|i| !i.up) {
        findings.push(Finding::error(
            format!("{name}: is down, and sockets cannot be bound to it"),
            format!("ip link set dev {name} up"),
        ));
    }
}

fn queues(port: &Matched<'_>, workers: usize, findings: &mut Vec<Finding>) {
    let InterfaceFacts { name, rx_queues, tx_queues, .. } = port.device;
    let s = if workers == 1 { "" } else { "s" };
    if workers > 0 && usize::from(*rx_queues) != workers {
        findings.push(Finding::error(
            format!(
                "{name}: {rx_queues} RX queues, but {workers} worker{s}; worker i serves queue i of every port, and what \
                 comes in by a queue without a worker is lost"
            ),
            channels(port.device, workers as u16),
        ));
    } else if usize::from(*tx_queues) < workers {
        findings.push(Finding::error(
            format!("{name}: {tx_queues} TX queues are too few for {workers} worker{s}, which send by a queue each"),
            channels(port.device, workers as u16),
        ));
    } else if let Some(expected) = port.config.queues.filter(|q| q != rx_queues) {
        findings.push(Finding::error(
            format!("{name}: {rx_queues} RX queues, but the config expects {expected}"),
            channels(port.device, expected),
        ));
    }
}

/// The command that gives an interface `n` queues.
fn channels(interface: &InterfaceFacts, n: u16) -> String {
    match interface.driver.as_str() {
        "veth" => format!("ethtool -L {} rx {n} tx {n}", interface.name), // counts them apart
        _ => format!("ethtool -L {} combined {n}", interface.name),
    }
}

fn offloads(port: &Matched<'_>, attach: Attach, findings: &mut Vec<Finding>) {
    let InterfaceFacts { name, driver, lro, gro, .. } = port.device;
    if *lro == Some(true) {
        findings.push(Finding::error(
            format!("{name}: LRO is on; it merges packets into ones that fit no chunk and must not be forwarded"),
            format!("ethtool -K {name} lro off"),
        ));
    }
    if attach == Attach::Native {
        return;
    }
    findings.push(Finding::warning(
        format!(
            "{name}: XDP in generic mode (driver `{driver}`) is slow, and packets a neighbour on this host left to \
             segmentation offload (TSO) are lost"
        ),
        match driver.as_str() {
            "veth" => "xdp.mode = \"native\", or `ethtool -K PEER tso off` at the other end".to_owned(),
            _ => "use an interface whose driver has native XDP".to_owned(),
        },
    ));
    if *gro == Some(true) {
        findings.push(Finding::warning(
            format!("{name}: GRO is on; in generic mode packets it has merged fit no chunk and are lost"),
            format!("ethtool -K {name} gro off"),
        ));
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

fn numbers(cores: &[u16]) -> String {
    let all: Vec<_> = cores.iter().map(u16::to_string).collect();
    all.join(", ")
}
