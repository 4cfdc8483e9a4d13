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
//! It is IPv4 throughout, unless its [`Shape`] says otherwise: then VTEPs have IPv6 addresses, or pods and the native
//! host have one of each family.
//!
//! The nodes are plain kernels, programmed as flanneld would program them: per remote prefix an `onlink` route, a
//! permanent neighbour and an FDB entry. To the nodes of a cluster the gateway is one more node, whose prefixes are
//! everything outside of the cluster.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::nodes::{BLUE, GREEN, Remote, build_cluster, device_name, program};
use super::{End, Lab, LabError, Namespace, Vxlan, vlans};
use crate::wire::addr::{Mac, Prefix, Vni};
use crate::wire::vlan::Tag;
use crate::wire::vxlan::{OVERHEAD_V4, OVERHEAD_V6};

/// The gateway's port towards the nodes.
pub const UNDERLAY_PORT: &str = "ul0";
/// The gateway's port towards the native network.
pub const ACCESS_PORT: &str = "ac0";
/// Where the gateway answers questions about itself, inside its namespace.
pub const METRICS_ADDRESS: &str = "127.0.0.1:9472";

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What may vary between one such network and another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Queues of the gateway's two ports, and so the number of its workers.
    pub gateway_queues: u32,
    /// MTU of the underlay and of the access network; pods get less by what VXLAN adds.
    pub mtu: u16,
    /// Family of the VTEPs' addresses.
    pub underlay: Family,
    /// Pods and the native host have IPv6 addresses, too.
    pub dual_stack: bool,
    /// Over IPv6: nodes and gateway leave out the outer UDP checksum.
    pub zero_checksum: bool,
    /// The underlay is [`UNDERLAY_VLAN`](super::UNDERLAY_VLAN) of its cables, the access network the second of
    /// [`ACCESS_VLANS`](super::ACCESS_VLANS) within the first.
    pub vlans: bool,
    /// Nodes know of nobody: whoever plays their flanneld tells them.
    pub bare: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            gateway_queues: 1,
            mtu: 1500,
            underlay: Family::V4,
            dual_stack: false,
            zero_checksum: false,
            vlans: false,
            bare: false,
        }
    }
}

impl Shape {
    /// MTU of the pods.
    pub fn inner_mtu(&self) -> u16 {
        self.mtu
            - match self.underlay {
                Family::V4 => OVERHEAD_V4,
                Family::V6 => OVERHEAD_V6,
            }
    }

    /// The interfaces of the gateway that are its ports: towards the nodes, and towards the native network.
    pub fn ports(&self) -> [String; 2] {
        let [underlay, access] = self.tags();
        [vlans::device(UNDERLAY_PORT, &underlay), vlans::device(ACCESS_PORT, &access)]
    }

    /// The VLAN tags of the underlay and of the access network.
    pub(super) fn tags(&self) -> [Vec<Tag>; 2] {
        if self.vlans { vlans::tags() } else { Default::default() }
    }

    /// What a cable must take for frames with these tags: one is nothing special.
    fn cable_mtu(&self, tags: &[Tag]) -> u16 {
        self.mtu + 4 * tags.len().saturating_sub(1) as u16
    }

    /// An underlay address, with the length of its network.
    pub(super) fn vtep(&self, host: u8) -> (IpAddr, u8) {
        match self.underlay {
            Family::V4 => (Ipv4Addr::new(192, 0, 2, host).into(), 24),
            Family::V6 => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host.into()).into(), 64),
        }
    }

    /// Something of IPv6, in networks that have it.
    pub(super) fn six<T>(&self, thing: T) -> Option<T> {
        self.dual_stack.then_some(thing)
    }

    /// Adds a namespace to the lab. Where there is IPv6, it is on whatever the host's own default, and addresses are used
    /// at once: nobody else can have them, and finding that out takes a second or two (RFC 4862 §5.4).
    pub(super) fn namespace(&self, lab: &Lab, name: &str) -> Result<Namespace, LabError> {
        let ns = lab.namespace(name)?;
        if self.dual_stack || self.underlay == Family::V6 {
            for which in ["all", "default"] {
                for key in ["disable_ipv6", "accept_dad"] {
                    ns.sysctl(&format!("net.ipv6.conf.{which}.{key}"), "0")?;
                }
            }
        }
        Ok(ns)
    }
}

/// Somebody to send from, and to.
#[derive(Debug, Clone)]
pub struct Host {
    /// Where it lives.
    pub ns: Namespace,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its other address, in a network that is [dual-stack](Shape::dual_stack).
    pub address6: Option<Ipv6Addr>,
}

impl Host {
    /// Its address of a family, if it has one.
    pub fn at(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => Some(self.address.into()),
            Family::V6 => self.address6.map(IpAddr::V6),
        }
    }
}

#[cfg(test)]
impl Host {
    /// A host that does not exist, for tests that send nothing.
    pub(crate) fn nowhere() -> Self {
        Self { ns: Namespace::named("nowhere"), address: Ipv4Addr::LOCALHOST, address6: None }
    }
}

/// A cluster node with one pod.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where the node lives.
    pub ns: Namespace,
    /// Its address on the underlay.
    pub vtep: IpAddr,
    /// The MAC address of its VXLAN device.
    pub vtep_mac: Mac,
    /// The addresses of its VXLAN device, one of each family.
    pub device_addresses: Vec<IpAddr>,
    /// The addresses of its pods.
    pub prefix: Prefix,
    /// Their IPv6 addresses, if they have some.
    pub prefix6: Option<Prefix>,
    /// Its one pod.
    pub pod: Host,
}

impl Node {
    /// Its prefixes, of each family there is.
    pub fn prefixes(&self) -> Vec<Prefix> {
        [self.prefix].into_iter().chain(self.prefix6).collect()
    }

    fn remote(&self) -> Remote {
        let (vtep, mac) = (self.vtep, self.vtep_mac);
        Remote { vtep, mac, addresses: self.device_addresses.clone(), prefixes: self.prefixes() }
    }
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
    /// The IPv6 addresses of all its pods, if they have some.
    pub pods6: Option<Prefix>,
    /// The gateway's inner MAC address in this overlay.
    pub gateway_mac: Mac,
    /// The gateway's inner address in this overlay.
    pub gateway_address: Ipv4Addr,
    /// The gateway's inner IPv6 address, where pods have some.
    pub gateway_address6: Option<Ipv6Addr>,
    /// Its nodes.
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// What flanneld would call the VXLAN device of a node.
    pub fn device(&self) -> String {
        device_name(self.vni)
    }

    /// The gateway's inner addresses, of each family there is.
    pub fn gateway_addresses(&self) -> Vec<IpAddr> {
        both(self.gateway_address, self.gateway_address6)
    }

    /// All its pods, of each family there is.
    pub fn all_pods(&self) -> impl Iterator<Item = Prefix> + use<> {
        [self.pods].into_iter().chain(self.pods6)
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
    pub gateway_vtep: IpAddr,
    /// The gateway's address on the access network.
    pub gateway_access: Ipv4Addr,
    /// The gateway's IPv6 address on the access network, where there is one.
    pub gateway_access6: Option<Ipv6Addr>,
    /// A host without any overlay, on the access network.
    pub native: Host,
    /// The native network.
    pub native_prefix: Prefix,
    /// The native network's IPv6 addresses, if it has some.
    pub native_prefix6: Option<Prefix>,
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
    let fabric = shape.namespace(lab, "fabric")?;
    fabric.bridge("br0")?;
    fabric.mtu("br0", shape.mtu)?;
    let gateway = shape.namespace(lab, "gw")?;
    let (gateway_vtep, len) = shape.vtep(1);
    let [tags, _] = shape.tags();
    cable(
        lab,
        &tags,
        (End::new(&gateway, UNDERLAY_PORT).mac(Mac([2, 0, 0, 0, 0, 1])), &[(gateway_vtep, len)]),
        (End::new(&fabric, "gw"), &[]),
        shape,
    )?;
    fabric.attach("gw", "br0")?;
    let gateway_access = Ipv4Addr::new(10, 9, 0, 1);
    let gateway_access6 = shape.six(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 1));
    let native = build_native(lab, &gateway, &both(gateway_access, gateway_access6), shape)?;
    let topology = Topology {
        gateway_vtep,
        gateway_access,
        gateway_access6,
        native,
        native_prefix: net([10, 9, 0, 0], 24),
        native_prefix6: shape.six(net([0xfd00, 9, 0, 0, 0, 0, 0, 0], 64)),
        blue: build_cluster(lab, &fabric, &BLUE, shape)?,
        green: build_cluster(lab, &fabric, &GREEN, shape)?,
        fabric,
        gateway,
        shape,
    };
    if !shape.bare {
        topology.program_nodes(&topology.blue, &topology.green)?;
        topology.program_nodes(&topology.green, &topology.blue)?;
    }
    for cluster in topology.clusters() {
        topology.native.ns.route(cluster.pods, gateway_access)?;
        if let (Some(pods), Some(via)) = (cluster.pods6, gateway_access6) {
            topology.native.ns.route(pods, via)?;
        }
    }
    Ok(topology)
}

fn build_native(lab: &Lab, gateway: &Namespace, near: &[IpAddr], shape: Shape) -> Result<Host, LabError> {
    let host = Host {
        ns: shape.namespace(lab, "native")?,
        address: Ipv4Addr::new(10, 9, 0, 2),
        address6: shape.six(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 2)),
    };
    let ours = End::new(gateway, ACCESS_PORT).mac(Mac([2, 0, 0, 0, 0, 2]));
    let theirs = End::new(&host.ns, "eth0").mac(Mac([2, 0, 0, 9, 0, 2]));
    let with_len = |a: &IpAddr| (*a, if a.is_ipv4() { 24 } else { 64 });
    let far = both(host.address, host.address6);
    let [near, far]: [Vec<_>; 2] = [near, &far].map(|all| all.iter().map(with_len).collect());
    let [_, tags] = shape.tags();
    cable(lab, &tags, (ours, &near), (theirs, &far), shape)?;
    Ok(host)
}

/// A cable of the gateway's. Addresses are on its ends, or on VLAN devices there; an end without any has none.
fn cable(
    lab: &Lab,
    tags: &[Tag],
    (a, a_addresses): (End<'_>, &[(IpAddr, u8)]),
    (b, b_addresses): (End<'_>, &[(IpAddr, u8)]),
    shape: Shape,
) -> Result<(), LabError> {
    let [(a, a_addresses), (b, b_addresses)] = [(a, a_addresses), (b, b_addresses)]
        .map(|(end, addresses)| (end.mtu(shape.cable_mtu(tags)).queues(shape.gateway_queues), addresses));
    if tags.is_empty() {
        return lab.veth(&a.addresses(a_addresses.iter().copied()), &b.addresses(b_addresses.iter().copied()));
    }
    lab.veth(&a, &b)?;
    let dressed = [(a, a_addresses), (b, b_addresses)].into_iter().filter(|(_, addresses)| !addresses.is_empty());
    for (end, addresses) in dressed {
        vlans::put(end.namespace(), end.name(), tags, shape.mtu, addresses)?;
    }
    Ok(())
}

impl Topology {
    /// Both clusters.
    pub fn clusters(&self) -> [&Cluster; 2] {
        [&self.blue, &self.green]
    }

    /// The native network, of each family there is.
    pub fn native_prefixes(&self) -> impl Iterator<Item = Prefix> + use<> {
        [self.native_prefix].into_iter().chain(self.native_prefix6)
    }

    /// Does on every node of `cluster` what flanneld does there.
    fn program_nodes(&self, cluster: &Cluster, other: &Cluster) -> Result<(), LabError> {
        let device = cluster.device();
        let addresses = cluster.gateway_addresses();
        // The gateway can be reached in the overlay too, for replies it sends and pings it answers.
        let own = addresses.iter().map(|a| Prefix::host(*a));
        let prefixes = other.all_pods().chain(self.native_prefixes()).chain(own).collect();
        let gateway = Remote { vtep: self.gateway_vtep, mac: cluster.gateway_mac, addresses, prefixes };
        for node in &cluster.nodes {
            for peer in cluster.nodes.iter().filter(|peer| peer.vtep != node.vtep) {
                program(&node.ns, &device, &peer.remote())?;
            }
            program(&node.ns, &device, &gateway)?;
        }
        Ok(())
    }

    /// Makes the kernel of the gateway's namespace the gateway: what the real one is measured against, and the proof
    /// that a failure is not the network's.
    pub fn kernel_gateway(&self) -> Result<(), LabError> {
        self.gateway.sysctl("net.ipv4.ip_forward", "1")?;
        if self.shape.dual_stack {
            self.gateway.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        }
        let [underlay, _] = self.shape.ports();
        for cluster in self.clusters() {
            let device = cluster.device();
            self.gateway.vxlan(&Vxlan {
                name: &device,
                vni: cluster.vni,
                port: cluster.udp_port,
                local: self.gateway_vtep,
                dev: &underlay,
                mac: cluster.gateway_mac,
                mtu: self.shape.inner_mtu(),
                zero_checksum: self.shape.zero_checksum,
            })?;
            for address in cluster.gateway_addresses() {
                self.gateway.address(&device, address, Prefix::host(address).len())?;
            }
            for node in &cluster.nodes {
                program(&self.gateway, &device, &node.remote())?;
            }
        }
        Ok(())
    }

    /// Where the gateway's metrics are to be had: [`METRICS_ADDRESS`].
    pub fn metrics_address(&self) -> SocketAddr {
        METRICS_ADDRESS.parse().unwrap_or_else(|_| unreachable!("the constant is an address"))
    }
}

/// The addresses there are.
pub(super) fn both(v4: Ipv4Addr, v6: Option<Ipv6Addr>) -> Vec<IpAddr> {
    [v4.into()].into_iter().chain(v6.map(IpAddr::V6)).collect()
}

/// A prefix from its octets, or from its groups of 16 bits.
pub(super) fn net<T: Into<IpAddr>>(address: T, len: u8) -> Prefix {
    Prefix::new(address.into(), len).unwrap_or_else(|e| unreachable!("{e}"))
}
