//! The test bed: the system under test between a native network and an underlay, each a namespace.
//!
//! ```text
//!   near (native network) ── eth0 ═ ac0 ── sut ── ul0 ═ eth0 ── far (all nodes of both clusters)
//! ```
//!
//! Nobody lives behind `near` and `far`: frames of every node and pod are made by the generator and counted in XDP, so
//! that a bed of a thousand nodes costs what one of two does. Their addresses are routed over one permanent neighbour.

use std::net::Ipv4Addr;
use std::process::{Command, Output};

use selvedge::lab::{End, Lab, Namespace};
use selvedge::wire::addr::{Mac, Prefix, Vni};

use crate::Result;

/// The port of the system under test towards the native network.
pub(crate) const ACCESS: &str = "ac0";
/// Its port towards the nodes.
pub(crate) const UNDERLAY: &str = "ul0";
/// The one interface of `near` and of `far`.
pub(crate) const OUTER: &str = "eth0";
/// Room for a full Ethernet frame of 1514 bytes within VXLAN.
pub(crate) const MTU: u16 = 1600;
/// Bytes of outer headers (RFC 7348 §5, over IPv4).
pub(crate) const OVERHEAD: u16 = 50;

pub(crate) const SUT_UNDERLAY: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 2);
pub(crate) const SUT_ACCESS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
pub(crate) const NEAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// Who a frame may be from or to, on the wire between two namespaces.
pub(crate) const MAC_SUT_ACCESS: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub(crate) const MAC_SUT_UNDERLAY: Mac = Mac([2, 0, 0, 0, 0, 2]);
pub(crate) const MAC_NEAR: Mac = Mac([2, 0, 0, 0, 0, 3]);
pub(crate) const MAC_FAR: Mac = Mac([2, 0, 0, 0, 0, 4]);

/// One overlay: where its nodes and pods have their addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cluster {
    pub(crate) name: &'static str,
    pub(crate) vni: u32,
    pub(crate) udp_port: u16,
    /// Second octet of the VTEP addresses, 172.x.0.0/16.
    vteps: u8,
    /// Second octet of the first pod prefix, 10.x.0.0/24 and on.
    pods: u8,
}

pub(crate) const BLUE: Cluster = Cluster { name: "blue", vni: 1, udp_port: 8472, vteps: 17, pods: 128 };
pub(crate) const GREEN: Cluster = Cluster { name: "green", vni: 7, udp_port: 4789, vteps: 18, pods: 192 };
/// What the addresses have room for.
pub(crate) const MOST_NODES: u32 = 16_000;
/// What a node's /24 has room for.
pub(crate) const MOST_PODS_A_NODE: u32 = 250;

impl Cluster {
    pub(crate) fn vtep(&self, node: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from_be_bytes([172, self.vteps, 0, 0]) + node + 1)
    }

    pub(crate) fn vtep_mac(&self, node: u32) -> Mac {
        let [_, _, high, low] = node.to_be_bytes();
        Mac([2, 1, self.vteps, 0, high, low])
    }

    /// The gateway's inner MAC address in this overlay.
    pub(crate) fn gateway_mac(&self) -> Mac {
        Mac([2, 2, self.vteps, 0, 0, 1])
    }

    /// The network of a node's pods, a /24.
    pub(crate) fn network(&self, node: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from_be_bytes([10, self.pods, 0, 0]) + (node << 8))
    }

    pub(crate) fn prefix(&self, node: u32) -> Prefix {
        prefix(self.network(node), 24)
    }

    /// Pod `pod`, the pods being dealt to the nodes in turn.
    pub(crate) fn pod(&self, pod: u32, nodes: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network(pod % nodes)) + 2 + pod / nodes)
    }

    pub(crate) fn vni(&self) -> Vni {
        Vni::new(self.vni).unwrap_or_else(|e| unreachable!("{e}"))
    }

    /// All its VTEPs.
    pub(crate) fn underlay(&self) -> Prefix {
        prefix(Ipv4Addr::new(172, self.vteps, 0, 0), 16)
    }
}

pub(crate) fn prefix(address: Ipv4Addr, len: u8) -> Prefix {
    Prefix::new(address.into(), len).unwrap_or_else(|e| unreachable!("{e}"))
}

/// The native network, 10.10.0.0/16.
pub(crate) fn native() -> Prefix {
    prefix(Ipv4Addr::new(10, 10, 0, 0), 16)
}

/// A bed, without a system in it yet.
pub(crate) struct Bed {
    pub(crate) near: Namespace,
    pub(crate) sut: Namespace,
    pub(crate) far: Namespace,
    pub(crate) nodes: u32,
    pub(crate) queues: u32,
    _lab: Lab,
}

impl Bed {
    pub(crate) fn new(tag: &str, nodes: u32, queues: u32) -> Result<Self> {
        let lab = Lab::new(tag)?;
        let [near, sut, far] = [lab.namespace("near")?, lab.namespace("sut")?, lab.namespace("far")?];
        let end = |ns, name, mac| End::new(ns, name).mac(mac).mtu(MTU).queues(queues);
        lab.veth(
            &end(&sut, ACCESS, MAC_SUT_ACCESS).address(SUT_ACCESS, 24),
            &end(&near, OUTER, MAC_NEAR).address(NEAR, 24),
        )?;
        lab.veth(
            &end(&sut, UNDERLAY, MAC_SUT_UNDERLAY).address(SUT_UNDERLAY, 24),
            &end(&far, OUTER, MAC_FAR).address(FAR, 24),
        )?;
        sut.neighbour(ACCESS, NEAR, MAC_NEAR)?;
        sut.neighbour(UNDERLAY, FAR, MAC_FAR)?;
        sut.route(native(), NEAR)?;
        sut.route(BLUE.underlay(), FAR)?;
        sut.route(GREEN.underlay(), FAR)?;
        Ok(Self { near, sut, far, nodes, queues, _lab: lab })
    }

    /// Runs a program inside one of the namespaces, with that namespace's /sys, and wants it to succeed.
    pub(crate) fn run(&self, ns: &Namespace, program: &str, words: &[&str]) -> Result<String> {
        let output = run_in(ns, program, words)?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr).trim().to_string();
            return Err(format!("{program} {} in {}: {}: {told}", words.join(" "), ns.name(), output.status).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Lets the kernel share the work of what arrives at a port among `cores`: bit n stands for core n.
    pub(crate) fn spread(&self, port: &str, cores: u32) -> Result<()> {
        for queue in 0..self.queues {
            let line = format!("echo {cores:x} > /sys/class/net/{port}/queues/rx-{queue}/rps_cpus");
            self.run(&self.sut, "sh", &["-c", &line])?;
        }
        Ok(())
    }

    /// A port without an XDP program takes frames of the generator only if it polls, which GRO makes it do.
    pub(crate) fn poll_without_xdp(&self) -> Result<()> {
        for port in [ACCESS, UNDERLAY] {
            self.run(&self.sut, "ethtool", &["-K", port, "gro", "on"])?;
        }
        Ok(())
    }

    /// Moves the receive processing of a port into a kernel thread of its own, and that onto `core`.
    pub(crate) fn pin_napi(&self, ns: &Namespace, port: &str, core: u32) -> Result<()> {
        self.run(ns, "sh", &["-c", &format!("echo 1 > /sys/class/net/{port}/threaded")])?;
        let index = ns.index(port)?;
        let line = format!(
            "for t in $(pgrep '^napi/{port}-'); do taskset -p -c {core} $t >/dev/null || exit 1; done; echo {index}"
        );
        self.run(ns, "sh", &["-c", &line])?;
        Ok(())
    }
}

fn run_in(ns: &Namespace, program: &str, words: &[&str]) -> Result<Output> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", ns.name(), program]).args(words);
    command.output().map_err(|e| format!("ip netns exec {} {program}: {e}", ns.name()).into())
}
