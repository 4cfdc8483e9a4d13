//! Two clusters, a native network, and the place of a gateway between them.
//!
//! ```text
//!  blue1-pod ── blue1 ─┐                     ┌─ green1 ── green1-pod     blue:  VNI 1, UDP 8472
//!                      ├─ fabric (a bridge) ─┤                           green: VNI 7, UDP 4789
//!  blue2-pod ── blue2 ─┘         │           └─ green2 ── green2-pod     every host a namespace of its own
//!                             ul0│
//!                               gw ──────── native
//!                                 ac0
//! ```
//!
//! The nodes are plain kernels, programmed as flanneld would program them: per remote prefix an `onlink` route, a
//! permanent neighbour and an FDB entry. To the nodes of a cluster the gateway is one more node, whose prefixes are
//! everything outside of the cluster.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};

use super::{End, Lab, LabError, Namespace, Vxlan};
use crate::wire::addr::{Mac, Prefix, Vni};

/// The gateway's port towards the nodes.
pub const UNDERLAY_PORT: &str = "ul0";
/// The gateway's port towards the native network.
pub const ACCESS_PORT: &str = "ac0";
/// Where the gateway answers questions about itself, inside its namespace.
pub const METRICS_ADDRESS: &str = "127.0.0.1:9472";

/// Bytes VXLAN adds over IPv4 (RFC 7348 §5: Ethernet 14, IP 20, UDP 8, VXLAN 8).
const VXLAN_OVERHEAD: u16 = 50;

/// What may vary between one such network and another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Queues of the gateway's two ports, and so the number of its workers.
    pub gateway_queues: u32,
    /// MTU of the underlay and of the access network; pods get 50 bytes less.
    pub mtu: u16,
}

impl Default for Shape {
    fn default() -> Self {
        Self { gateway_queues: 1, mtu: 1500 }
    }
}

/// Somebody to send from, and to.
#[derive(Debug, Clone)]
pub struct Host {
    /// Where it lives.
    pub ns: Namespace,
    /// Its address.
    pub address: Ipv4Addr,
}

#[cfg(test)]
impl Host {
    /// A host that does not exist, for tests that send nothing.
    pub(crate) fn nowhere() -> Self {
        Self { ns: Namespace::named("nowhere"), address: Ipv4Addr::LOCALHOST }
    }
}

/// A cluster node with one pod.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where the node lives.
    pub ns: Namespace,
    /// Its address on the underlay.
    pub vtep: Ipv4Addr,
    /// The MAC address of its VXLAN device.
    pub vtep_mac: Mac,
    /// The addresses of its pods.
    pub prefix: Prefix,
    /// Its one pod.
    pub pod: Host,
}

/// A cluster: an overlay and its nodes.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Network identifier.
    pub vni: Vni,
    /// Outer UDP destination port.
    pub udp_port: u16,
    /// All its pods.
    pub pods: Prefix,
    /// The gateway's inner MAC address in this overlay.
    pub gateway_mac: Mac,
    /// The gateway's inner address in this overlay.
    pub gateway_address: Ipv4Addr,
    /// Its nodes.
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// What flanneld would call the VXLAN device of a node.
    pub fn device(&self) -> String {
        format!("flannel.{}", self.vni)
    }
}

/// The whole network, as [`two_clusters`] builds it.
#[derive(Debug, Clone)]
pub struct Topology {
    /// The bridge that joins the underlay.
    pub fabric: Namespace,
    /// Where the gateway is to run.
    pub gateway: Namespace,
    /// The gateway's address on the underlay, its VTEP.
    pub gateway_vtep: Ipv4Addr,
    /// The gateway's address on the access network.
    pub gateway_access: Ipv4Addr,
    /// A host without any overlay, on the access network.
    pub native: Host,
    /// The native network.
    pub native_prefix: Prefix,
    /// Blue.
    pub blue: Cluster,
    /// Green.
    pub green: Cluster,
    /// How it was asked for.
    pub shape: Shape,
}

/// Builds the network with one queue a port and an MTU of 1500.
pub fn two_clusters(lab: &Lab) -> Result<Topology, LabError> {
    two_clusters_with(lab, Shape::default())
}

/// Builds the network.
pub fn two_clusters_with(lab: &Lab, shape: Shape) -> Result<Topology, LabError> {
    let fabric = lab.namespace("fabric")?;
    fabric.bridge("br0")?;
    fabric.mtu("br0", shape.mtu)?;
    let gateway = lab.namespace("gw")?;
    let gateway_vtep = Ipv4Addr::new(192, 0, 2, 1);
    let gateway_access = Ipv4Addr::new(10, 9, 0, 1);
    let queued = |end: End<'_>| -> Result<(), LabError> {
        let port = End::new(&gateway, UNDERLAY_PORT).mac(Mac([2, 0, 0, 0, 0, 1]));
        lab.veth(&port.address(gateway_vtep, 24).mtu(shape.mtu).queues(shape.gateway_queues), &end)
    };
    queued(End::new(&fabric, "gw").mtu(shape.mtu).queues(shape.gateway_queues))?;
    fabric.attach("gw", "br0")?;
    let native = build_native(lab, &gateway, gateway_access, shape)?;
    let blue = build_cluster(lab, &fabric, &BLUE, shape)?;
    let green = build_cluster(lab, &fabric, &GREEN, shape)?;
    let native_prefix = net([10, 9, 0, 0], 24);
    let topology =
        Topology { fabric, gateway, gateway_vtep, gateway_access, native, native_prefix, blue, green, shape };
    topology.program_nodes(&topology.blue, &topology.green)?;
    topology.program_nodes(&topology.green, &topology.blue)?;
    for cluster in topology.clusters() {
        topology.native.ns.route(cluster.pods, gateway_access)?;
    }
    Ok(topology)
}

/// What tells one cluster from the other; addresses follow from it.
struct Plan {
    name: &'static str,
    vni: u32,
    udp_port: u16,
    /// Second octet of the pod network, 10.x.0.0/16.
    pods: u8,
    /// First node's last octet on the underlay, less one.
    underlay: u8,
}

const BLUE: Plan = Plan { name: "blue", vni: 1, udp_port: 8472, pods: 244, underlay: 10 };
const GREEN: Plan = Plan { name: "green", vni: 7, udp_port: 4789, pods: 245, underlay: 20 };

fn build_native(lab: &Lab, gateway: &Namespace, access: Ipv4Addr, shape: Shape) -> Result<Host, LabError> {
    let host = Host { ns: lab.namespace("native")?, address: Ipv4Addr::new(10, 9, 0, 2) };
    let near = End::new(gateway, ACCESS_PORT).mac(Mac([2, 0, 0, 0, 0, 2])).address(access, 24);
    let far = End::new(&host.ns, "eth0").mac(Mac([2, 0, 0, 9, 0, 2])).address(host.address, 24);
    lab.veth(&near.mtu(shape.mtu).queues(shape.gateway_queues), &far.mtu(shape.mtu).queues(shape.gateway_queues))?;
    Ok(host)
}

fn build_cluster(lab: &Lab, fabric: &Namespace, plan: &Plan, shape: Shape) -> Result<Cluster, LabError> {
    let nodes = (1..=2).map(|n| build_node(lab, fabric, plan, n, shape)).collect::<Result<_, _>>()?;
    Ok(Cluster {
        name: plan.name,
        vni: vni(plan.vni),
        udp_port: plan.udp_port,
        pods: net([10, plan.pods, 0, 0], 16),
        gateway_mac: Mac([0x02, 0x53, 0x45, 0x4c, 0x00, plan.vni as u8]),
        gateway_address: Ipv4Addr::new(10, plan.pods, 255, 1),
        nodes,
    })
}

fn build_node(lab: &Lab, fabric: &Namespace, plan: &Plan, n: u8, shape: Shape) -> Result<Node, LabError> {
    let name = format!("{}{n}", plan.name);
    let ns = lab.namespace(&name)?;
    ns.sysctl("net.ipv4.ip_forward", "1")?;
    let vtep = Ipv4Addr::new(192, 0, 2, plan.underlay + n);
    let underlay_mac = Mac([2, 0, 0, 1, plan.pods, n]);
    lab.veth(
        &End::new(&ns, "eth0").mac(underlay_mac).address(vtep, 24).mtu(shape.mtu),
        &End::new(fabric, &name).mtu(shape.mtu),
    )?;
    fabric.attach(&name, "br0")?;
    let vtep_mac = Mac([2, 0, 0, 2, plan.pods, n]);
    let device = format!("flannel.{}", plan.vni);
    let mtu = shape.mtu - VXLAN_OVERHEAD;
    let (vni, port) = (vni(plan.vni), plan.udp_port);
    ns.vxlan(&Vxlan { name: &device, vni, port, local: vtep, dev: "eth0", mac: vtep_mac, mtu })?;
    // As flannel: the address of the VXLAN device is the network address of the node's prefix, alone.
    ns.address(&device, Ipv4Addr::new(10, plan.pods, n, 0), 32)?;
    let pod = build_pod(lab, &ns, &name, [10, plan.pods, n], mtu)?;
    Ok(Node { ns, vtep, vtep_mac, prefix: net([10, plan.pods, n, 0], 24), pod })
}

fn build_pod(lab: &Lab, node: &Namespace, name: &str, [a, b, c]: [u8; 3], mtu: u16) -> Result<Host, LabError> {
    let pod = Host { ns: lab.namespace(&format!("{name}-pod"))?, address: Ipv4Addr::new(a, b, c, 2) };
    let router = Ipv4Addr::new(a, b, c, 1);
    lab.veth(
        &End::new(node, "pod0").mac(Mac([2, 0, 0, 3, b, c])).address(router, 24).mtu(mtu),
        &End::new(&pod.ns, "eth0").mac(Mac([2, 0, 0, 4, b, c])).address(pod.address, 24).mtu(mtu),
    )?;
    pod.ns.route(net([0; 4], 0), router)?;
    Ok(pod)
}

impl Topology {
    /// Both clusters.
    pub fn clusters(&self) -> [&Cluster; 2] {
        [&self.blue, &self.green]
    }

    /// Does on every node of `cluster` what flanneld does there.
    fn program_nodes(&self, cluster: &Cluster, other: &Cluster) -> Result<(), LabError> {
        let device = cluster.device();
        for node in &cluster.nodes {
            for peer in cluster.nodes.iter().filter(|peer| peer.vtep != node.vtep) {
                program(&node.ns, &device, peer.vtep, peer.vtep_mac, v4(peer.prefix), &[peer.prefix])?;
            }
            let outside = [other.pods, self.native_prefix];
            let (mac, address) = (cluster.gateway_mac, cluster.gateway_address);
            program(&node.ns, &device, self.gateway_vtep, mac, address, &outside)?;
            // The gateway can be reached in the overlay too, for replies it sends and pings it answers.
            node.ns.route_onlink(Prefix::host(address.into()), address, &device)?;
        }
        Ok(())
    }

    /// Makes the kernel of the gateway's namespace the gateway: what the real one is measured against, and the proof
    /// that a failure is not the network's.
    pub fn kernel_gateway(&self) -> Result<(), LabError> {
        self.gateway.sysctl("net.ipv4.ip_forward", "1")?;
        for cluster in self.clusters() {
            let device = cluster.device();
            let mtu = self.shape.mtu - VXLAN_OVERHEAD;
            self.gateway.vxlan(&Vxlan {
                name: &device,
                vni: cluster.vni,
                port: cluster.udp_port,
                local: self.gateway_vtep,
                dev: UNDERLAY_PORT,
                mac: cluster.gateway_mac,
                mtu,
            })?;
            self.gateway.address(&device, cluster.gateway_address, 32)?;
            for node in &cluster.nodes {
                program(&self.gateway, &device, node.vtep, node.vtep_mac, v4(node.prefix), &[node.prefix])?;
            }
        }
        Ok(())
    }

    /// The gateway's configuration for this network.
    pub fn config_toml(&self, metrics: &str) -> String {
        let mut text = String::from("# Written by the lab for the network it built.\n");
        let mut line = |args: std::fmt::Arguments<'_>| {
            let _ = text.write_fmt(args); // writing to a String cannot fail
            text.push('\n');
        };
        line(format_args!("[workers]\ncount = {}\npoll = \"adaptive\"\n", self.shape.gateway_queues));
        line(format_args!("[metrics]\naddress = \"{metrics}\"\n"));
        for (port, role) in [(UNDERLAY_PORT, "underlay"), (ACCESS_PORT, "access")] {
            line(format_args!("[[port]]\ninterface = \"{port}\"\nrole = \"{role}\"\n"));
        }
        for c in self.clusters() {
            line(format_args!("[[overlay]]\nname = \"{}\"\nvni = {}\nudp_port = {}", c.name, c.vni, c.udp_port));
            line(format_args!("local = \"{}\"\nmac = \"{}\"", self.gateway_vtep, c.gateway_mac));
            line(format_args!("address = \"{}\"\n", c.gateway_address));
        }
        for c in self.clusters() {
            for n in &c.nodes {
                line(format_args!("[[peer]]\noverlay = \"{}\"\nvtep = \"{}\"", c.name, n.vtep));
                line(format_args!("mac = \"{}\"\nprefixes = [\"{}\"]\n", n.vtep_mac, n.prefix));
            }
        }
        line(format_args!("[[native]]\nprefix = \"{}\"\nport = \"{ACCESS_PORT}\"", self.native_prefix));
        line(format_args!("next_hop = \"{}\"", self.native.address));
        text
    }

    /// Where the gateway's metrics are to be had: [`METRICS_ADDRESS`].
    pub fn metrics_address(&self) -> SocketAddr {
        METRICS_ADDRESS.parse().unwrap_or_else(|_| unreachable!("the constant is an address"))
    }
}

/// The three entries a remote VTEP takes: neighbour, FDB, and a route a prefix.
fn program(
    ns: &Namespace,
    device: &str,
    vtep: Ipv4Addr,
    mac: Mac,
    address: Ipv4Addr,
    prefixes: &[Prefix],
) -> Result<(), LabError> {
    ns.neighbour(device, address, mac)?;
    ns.fdb(device, mac, vtep)?;
    prefixes.iter().try_for_each(|prefix| ns.route_onlink(*prefix, address, device))
}

fn net(octets: [u8; 4], len: u8) -> Prefix {
    Prefix::new(Ipv4Addr::from(octets).into(), len).unwrap_or_else(|e| unreachable!("{e}"))
}

fn vni(value: u32) -> Vni {
    Vni::new(value).unwrap_or_else(|e| unreachable!("{e}"))
}

fn v4(prefix: Prefix) -> Ipv4Addr {
    match prefix.addr() {
        std::net::IpAddr::V4(address) => address,
        std::net::IpAddr::V6(_) => unreachable!("this network is IPv4"),
    }
}
