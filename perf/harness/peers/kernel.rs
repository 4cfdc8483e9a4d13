//! The kernel's vxlan device and IP forwarding, programmed as flannel programs it: per node a permanent neighbour, an FDB
//! entry and an on-link route. Its work is spread over both cores by RPS.

use selvedge::lab::Vxlan;

use super::System;
use crate::Result;
use crate::bed::{ACCESS, BLUE, Bed, Cluster, GREEN, MTU, OVERHEAD, SUT_UNDERLAY, UNDERLAY};

const BOTH_CORES: u32 = 3;

/// The kernel at work: it goes with its namespace.
pub(crate) struct Kernel;

impl System for Kernel {}

pub(super) fn start(bed: &Bed) -> Result<Kernel> {
    bed.sut.sysctl("net.ipv4.ip_forward", "1")?;
    for cluster in [BLUE, GREEN] {
        program(bed, &cluster)?;
    }
    bed.poll_without_xdp()?;
    bed.spread(ACCESS, BOTH_CORES)?;
    bed.spread(UNDERLAY, BOTH_CORES)?;
    Ok(Kernel)
}

fn program(bed: &Bed, cluster: &Cluster) -> Result<()> {
    let device = format!("flannel.{}", cluster.vni);
    bed.sut.vxlan(&Vxlan {
        name: &device,
        vni: cluster.vni(),
        port: cluster.udp_port,
        local: SUT_UNDERLAY,
        dev: UNDERLAY,
        mac: cluster.gateway_mac(),
        mtu: MTU - OVERHEAD,
    })?;
    for node in 0..bed.nodes {
        let (network, mac) = (cluster.network(node), cluster.vtep_mac(node));
        bed.sut.neighbour(&device, network, mac)?;
        bed.sut.fdb(&device, mac, cluster.vtep(node))?;
        bed.sut.route_onlink(cluster.prefix(node), network, &device)?;
    }
    Ok(())
}
