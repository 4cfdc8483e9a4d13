//! The systems that are measured, each in a bed of its own.

mod bpf;
mod kernel;
mod ovs;
mod selvedge;
mod testpmd;

use std::path::Path;

use ::selvedge::lab::Process;
use rustix::process::Signal;
use serde::Serialize;

use crate::Result;
use crate::bed::Bed;
use crate::ledger::Drops;
use crate::workload::Journey;

pub(crate) use self::selvedge::{Cores, Settings};

/// What can be put into a bed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// The gateway.
    Selvedge,
    /// The gateway, its worker on one core with receive processing.
    SelvedgeOneCore,
    /// The kernel's vxlan device and IP forwarding, programmed as flannel does.
    Kernel,
    /// The same, its work on the second core alone.
    KernelSecondCore,
    /// A tunnel in tc BPF over an external vxlan device, as Cilium's.
    TcEbpf,
    /// Open vSwitch's userspace data path over AF_XDP.
    Ovs,
    /// DPDK's testpmd over AF_XDP: frames from port to port, no gateway.
    Testpmd,
    /// A gateway wholly in XDP, without guard, counters or errors: the ceiling here.
    Xdp,
}

impl Peer {
    pub(crate) const ALL: [Self; 8] = [
        Self::Selvedge,
        Self::SelvedgeOneCore,
        Self::Kernel,
        Self::KernelSecondCore,
        Self::TcEbpf,
        Self::Ovs,
        Self::Testpmd,
        Self::Xdp,
    ];

    pub(crate) fn name(self) -> &'static str {
        [
            "selvedge",
            "selvedge, one core",
            "kernel vxlan",
            "kernel, core 1",
            "tc-eBPF tunnel",
            "OVS AF_XDP",
            "testpmd AF_XDP",
            "XDP ceiling",
        ][self as usize]
    }

    /// What it is, in a sentence.
    pub(crate) fn what(self) -> &'static str {
        [
            "the gateway as it ships, one worker",
            "the same, receive processing in a kernel thread on the worker's core",
            "the kernel's vxlan device and IP forwarding, programmed as flannel does, on both cores by RPS",
            "the same with RPS to core 1 alone: its work then displaces nothing of the generator's",
            "tc BPF with an external vxlan device and bpf_redirect, as Cilium's, on both cores by RPS",
            "Open vSwitch's userspace data path over AF_XDP, one PMD thread",
            "DPDK testpmd over AF_XDP, one thread, MAC forwarding only: raw I/O, no gateway",
            "a gateway wholly in XDP, no guard, no counters, no errors: the ceiling on these interfaces",
        ][self as usize]
    }

    /// False for what does not do that journey at all.
    pub(crate) fn does(self, journey: Journey) -> bool {
        self != Self::Testpmd || journey == Journey::Encap
    }
}

/// Cores that RPS hands a kernel's work to: bit n stands for core n. The first has the receive processing in any case.
const SECOND_CORE: u32 = 2;
const BOTH_CORES: u32 = 3;

/// What a system has spent since its start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Cost {
    /// CPU time of its process, user and system, ns.
    pub(crate) cpu_ns: u64,
}

impl Cost {
    pub(crate) fn since(&self, then: &Self) -> Self {
        Self { cpu_ns: self.cpu_ns - then.cpu_ns }
    }
}

/// A system at work in its bed. Dropping it stops what it started.
pub(crate) trait System {
    /// Packets it has refused so far, by reason, beside what the kernel's counters say.
    fn drops(&self) -> Result<Drops> {
        Ok(Drops::new())
    }

    /// What it has spent so far, where it is a process of its own.
    fn cost(&self) -> Result<Option<Cost>> {
        Ok(None)
    }

    /// The process whose cost is worth knowing.
    fn process(&self) -> Option<u32> {
        None
    }

    /// True for one that only moves frames, and adds and removes no headers.
    fn raw(&self) -> bool {
        false
    }

    /// One that spins must not do so while another is measured.
    fn wake(&self, _on: bool) -> Result<()> {
        Ok(())
    }
}

/// Stops and continues a process that spins.
fn wake(process: &Process, on: bool) -> Result<()> {
    Ok(process.signal(if on { Signal::CONT } else { Signal::STOP })?)
}

/// Starts the gateway.
pub(crate) fn gateway(bed: &Bed, settings: &Settings) -> Result<selvedge::Gateway> {
    selvedge::Gateway::start(bed, settings)
}

/// Puts a system into a bed and starts it. An error tells why it cannot run here.
pub(crate) fn start(peer: Peer, bed: &Bed, settings: &Settings, room: &Path) -> Result<Box<dyn System>> {
    Ok(match peer {
        Peer::Selvedge | Peer::SelvedgeOneCore => Box::new(gateway(bed, settings)?),
        Peer::Kernel => Box::new(kernel::start(bed, BOTH_CORES)?),
        Peer::KernelSecondCore => Box::new(kernel::start(bed, SECOND_CORE)?),
        Peer::TcEbpf => Box::new(bpf::tc(bed)?),
        Peer::Xdp => Box::new(bpf::xdp(bed)?),
        Peer::Ovs => Box::new(ovs::start(bed, room)?),
        Peer::Testpmd => Box::new(testpmd::start(bed, room)?),
    })
}
