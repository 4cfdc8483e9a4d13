//! A [`Config`] on this host: what will be started, or what stands in the way and how to mend it.

use core::fmt;

use super::facts::{HostFacts, InterfaceFacts};
use super::plan_mtu::Sizes;
use super::suggest::did_you_mean;
use super::{Config, Cores, PortConfig, Role, Switch, XdpMode, plan_checks, plan_checksums, plan_overlays, plan_vlan};
use crate::port::Finishing;
use crate::tables::PortId;
use crate::wire::{Mac, Mtu, VlanTags};

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It works, and less well than it might or than was meant.
    Warning,
    /// It cannot work.
    Error,
}

/// One thing found out about config and host together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What was found, and for an obstacle why it is one.
    pub what: String,
    /// What would mend it: a command line or a line of the config.
    pub mend: Option<String>,
}

impl Finding {
    pub(super) fn ok(what: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, what: what.into(), mend: None }
    }

    pub(super) fn warning(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, what: what.into(), mend: Some(mend.into()) }
    }

    pub(super) fn error(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { severity: Severity::Error, what: what.into(), mend: Some(mend.into()) }
    }
}

impl fmt::Display for Finding {
    /// `✓ what`, `warning: what` or `error: what`, and `mend: …` on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.severity {
            Severity::Ok => "✓",
            Severity::Warning => "warning:",
            Severity::Error => "error:",
        };
        write!(f, "{sign} {}", self.what)?;
        self.mend.as_ref().map_or(Ok(()), |mend| write!(f, "\n    mend: {mend}"))
    }
}

/// Where the XDP program goes on an interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Attach {
    /// In the driver.
    Native,
    /// In the stack.
    Generic,
}

/// One port as it will be started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortPlan {
    /// Its index in the tables.
    pub id: PortId,
    /// Kernel name, for people and metrics.
    pub name: String,
    /// Kernel index.
    pub ifindex: u32,
    /// Index of the device that the XDP program and the sockets go on: the interface itself, or what it is a VLAN of.
    pub device: u32,
    /// The VLAN tags of its frames there.
    pub tags: VlanTags,
    /// The interface's MAC address.
    pub mac: Mac,
    /// The MTU to obey: the smaller of the interface's and the config's.
    pub mtu: Mtu,
    /// Its side.
    pub role: Role,
    /// It answers for pods.
    pub proxy: bool,
    /// RX queues; equal to the number of workers.
    pub queues: u16,
    /// Where the XDP program goes.
    pub attach: Attach,
    /// What may be left to its device.
    pub finishing: Finishing,
}

/// What will be started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Ports, by `PortId`.
    pub ports: Vec<PortPlan>,
    /// The core of each worker.
    pub cores: Vec<u16>,
    /// Bind sockets zero-copy. One for all: it is a property of the packet memory, which the ports share.
    pub zero_copy: bool,
    /// Let a packet have several chunks. One for all, as well.
    pub multi_buffer: bool,
    /// Put the packet memory of every worker on hugepages.
    pub hugepages: bool,
    /// Largest inner IP packet of each overlay, by `OverlayId`, in bytes.
    pub overlay_mtu: Vec<u16>,
}

/// A port of the config and the interface it names.
pub(super) struct Matched<'a> {
    pub(super) config: &'a PortConfig,
    pub(super) facts: &'a InterfaceFacts,
    /// Where its frames come and go: the same, unless that is a VLAN device.
    pub(super) device: &'a InterfaceFacts,
    /// The VLAN tags they have there.
    pub(super) tags: VlanTags,
    /// The MTU to obey, if it is a legal one.
    pub(super) mtu: Option<Mtu>,
}

impl Plan {
    /// Works out what to start on a host, and everything there is to say about it. There is a plan exactly when no
    /// finding is an error.
    pub fn new(config: &Config, host: &HostFacts) -> (Option<Self>, Vec<Finding>) {
        let mut findings = Vec::new();
        plan_checks::privileges(host, &mut findings);
        let ports = matched(config, host, &mut findings);
        plan_vlan::devices(&ports, &mut findings);
        let cores = cores(config, host, &ports, &mut findings);
        let attached: Vec<_> = ports.iter().map(|p| attach(config, p, &mut findings)).collect();
        let sizes = Sizes::new(config, host, &ports, &attached);
        let zero_copy = zero_copy(config, &sizes, &ports, &mut findings);
        let finishing = ports.iter().map(|p| plan_checksums::finishing(config, host, p, zero_copy, &mut findings));
        let finishing: Vec<_> = finishing.collect();
        let hugepages = plan_checks::memory(config, host, cores.len(), &mut findings);
        let overlay_mtu = plan_overlays::overlays(config, &ports, &mut findings);
        plan_overlays::mute_ports(config, &ports, &mut findings);
        for (port, attach) in ports.iter().zip(&attached) {
            plan_checks::port(&sizes, port, *attach, cores.len(), &mut findings);
        }
        if findings.iter().any(|f| f.severity == Severity::Error) {
            return (None, findings);
        }
        let ports = ports.iter().zip(attached).zip(finishing);
        let ports = ports.enumerate().map(|(i, ((p, attach), finishing))| p.plan(i, attach, finishing));
        let multi_buffer = sizes.multi_buffer();
        let plan = ports.collect::<Option<_>>();
        let plan = plan.map(|ports| Self { ports, cores, zero_copy, multi_buffer, hugepages, overlay_mtu });
        (plan, findings)
    }
}

impl Matched<'_> {
    fn plan(&self, index: usize, attach: Attach, finishing: Finishing) -> Option<PortPlan> {
        Some(PortPlan {
            id: PortId(u8::try_from(index).ok()?),
            name: self.facts.name.clone(),
            ifindex: self.facts.ifindex,
            device: self.device.ifindex,
            tags: self.tags,
            mac: self.facts.mac,
            mtu: self.mtu?,
            role: self.config.role,
            proxy: self.config.proxy,
            queues: self.device.rx_queues,
            attach,
            finishing,
        })
    }
}

/// Finds the interface of every port.
fn matched<'a>(config: &'a Config, host: &'a HostFacts, findings: &mut Vec<Finding>) -> Vec<Matched<'a>> {
    let mut out = Vec::with_capacity(config.ports.len());
    for port in &config.ports {
        match host.interfaces.iter().find(|i| i.name == port.interface) {
            Some(facts) => {
                let (device, tags) = match plan_vlan::below(facts, host) {
                    Ok(below) => below,
                    Err(finding) => {
                        findings.push(finding);
                        continue;
                    }
                };
                let least = port.mtu.map_or(facts.mtu, |m| facts.mtu.min(m.get().into()));
                let mtu = Mtu::new(least.min(Mtu::MAX.into())).ok();
                out.push(Matched { config: port, facts, device, tags, mtu });
            }
            None => {
                let names: Vec<_> = host.interfaces.iter().map(|i| i.name.as_str()).collect();
                // One that is a port already was not meant.
                let free = names.iter().copied().filter(|n| config.ports.iter().all(|p| p.interface != *n));
                let hint = did_you_mean(&port.interface, free);
                let mend = match names.is_empty() {
                    true => "give this network namespace an interface".to_owned(),
                    false => format!("name one of: {}", names.join(", ")),
                };
                let what = format!("{}: there is no such interface in this network namespace{hint}", port.interface);
                findings.push(Finding::error(what, mend));
            }
        }
    }
    out
}

/// The core of each worker. Every RX queue of every port needs a socket and worker i serves queue i, so the number of
/// workers is the number of queues; where the file leaves it open, the ports tell.
fn cores(config: &Config, host: &HostFacts, ports: &[Matched<'_>], findings: &mut Vec<Finding>) -> Vec<u16> {
    let allowed = &host.cores_allowed;
    let wanted = match &config.workers.cores {
        Cores::List(list) => {
            plan_checks::listed_cores(list, host, findings);
            return list.clone();
        }
        Cores::Count(n) => *n,
        // The ports with the fewest queues decide: queues can be taken from the others, and not always added to these.
        Cores::Auto => ports.iter().map(|p| p.device.rx_queues.max(1)).min().unwrap_or(1),
    };
    if usize::from(wanted) > allowed.len() {
        plan_checks::too_few_cores(config, wanted, allowed.len(), ports, findings);
    }
    if matches!(config.workers.cores, Cores::Auto) {
        allowed.iter().copied().take(wanted.into()).collect()
    } else {
        // As many as were asked for even when there are fewer, so that ports are held to the number of the file.
        (0..usize::from(wanted)).map(|i| allowed.get(i).copied().unwrap_or(u16::MAX)).collect()
    }
}

/// Whether sockets are bound zero-copy: only if every port can, as they share their memory.
fn zero_copy(config: &Config, sizes: &Sizes<'_>, ports: &[Matched<'_>], findings: &mut Vec<Finding>) -> bool {
    match config.xdp.zero_copy {
        Switch::Off => false,
        Switch::Auto => {
            config.xdp.mode != XdpMode::Generic
                && !ports.is_empty()
                && ports.iter().all(|p| p.device.xsk_zero_copy == Some(true) && sizes.too_many_pieces(p).is_none())
        }
        Switch::On => {
            for p in ports {
                let InterfaceFacts { name, driver, .. } = p.device;
                match p.device.xsk_zero_copy {
                    Some(true) => {
                        if let Some((pieces, most)) = sizes.too_many_pieces(p) {
                            let what = format!(
                                "{name}: packets take up to {pieces} chunks, and driver `{driver}` sends at most {most} of \
                                 one zero-copy, but xdp.zero_copy is \"on\""
                            );
                            findings
                                .push(Finding::error(what, "memory.chunk_size = 4096, or xdp.zero_copy = \"auto\""));
                        }
                    }
                    Some(false) => findings.push(Finding::error(
                        format!(
                            "{name}: driver `{driver}` cannot share memory with sockets, but xdp.zero_copy is \"on\""
                        ),
                        "xdp.zero_copy = \"auto\"",
                    )),
                    None => findings.push(Finding::warning(
                        format!("{name}: whether driver `{driver}` has zero-copy shows only when the socket is bound"),
                        "xdp.zero_copy = \"auto\", if the start fails",
                    )),
                }
            }
            true
        }
    }
}

/// Where the program goes. A driver nobody knows about is tried natively: the kernel refuses what it cannot do, and a
/// silent fall-back to generic mode would cost most of the throughput.
fn attach(config: &Config, port: &Matched<'_>, findings: &mut Vec<Finding>) -> Attach {
    let InterfaceFacts { name, driver, .. } = port.device;
    match (config.xdp.mode, port.device.xdp_native) {
        (XdpMode::Generic, _) => Attach::Generic,
        (XdpMode::Native, Some(false)) => {
            findings.push(Finding::error(
                format!("{name}: driver `{driver}` has no native XDP, but xdp.mode is \"native\""),
                "xdp.mode = \"auto\"",
            ));
            Attach::Native
        }
        (XdpMode::Auto, Some(false)) => Attach::Generic,
        (XdpMode::Native | XdpMode::Auto, _) => Attach::Native,
    }
}
