//! The kernel's vxlan device and IP forwarding, programmed as flannel programs it: per node a permanent neighbour, an FDB
//! entry and an on-link route. RPS hands its work to the cores it may use.

use selvedge::lab::Vxlan;

use super::System;
use crate::Result;
use crate::bed::{ACCESS, BLUE, Bed, Cluster, GREEN, MTU, OVERHEAD, SUT_UNDERLAY, UNDERLAY};

/// The kernel at work: it goes with its namespace.
pub(crate) struct Kernel;

impl System for Kernel {}

pub(super) fn start(bed: &Bed, cores: u32) -> Result<Kernel> {
    bed.sut.sysctl("net.ipv4.ip_forward", "1")?;
    for cluster in [BLUE, GREEN] {
        program(bed, &cluster)?;
    }
    bed.poll_without_xdp()?;
    bed.spread(ACCESS, cores)?;
    bed.spread(UNDERLAY, cores)?;
    Ok(Kernel)
}

fn program(bed: &Bed, cluster: &Cluster) -> Result<()> {
    let device = format!("flannel.{}", cluster.vni);
    bed.sut.vxlan(&Vxlan {
        name: &device,
        vni: cluster.vni(),
        port: cluster.udp_port,
        local: SUT_UNDERLAY.into(),
        dev: UNDERLAY,
        mac: cluster.gateway_mac(),
        mtu: MTU - OVERHEAD,
        zero_checksum: false,
    })?;
    for node in 0..bed.nodes {
        let (network, mac) = (cluster.network(node), cluster.vtep_mac(node));
        bed.sut.neighbour(&device, network, mac)?;
        bed.sut.fdb(&device, mac, cluster.vtep(node))?;
        bed.sut.route_onlink(cluster.prefix(node), network, &device)?;
    }
    Ok(())
}
