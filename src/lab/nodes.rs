//! Clusters of plain kernels, as flannel makes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::topology::{both, net};
use super::{Cluster, End, Host, Lab, LabError, Namespace, Node, Shape, Vxlan, vlans};
use crate::wire::addr::{Mac, Prefix, Vni};

/// What tells one cluster from the other; addresses follow from it.
pub(super) struct Plan {
    name: &'static str,
    vni: u32,
    udp_port: u16,
    /// Second octet of the pod network, 10.x.0.0/16.
    pods: u8,
    /// The same in hexadecimal: second group of the pod network, fd00:x::/32.
    pods6: u16,
    /// First node's last octet on the underlay, less one.
    underlay: u8,
}

pub(super) const BLUE: Plan = Plan { name: "blue", vni: 1, udp_port: 8472, pods: 244, pods6: 0x244, underlay: 10 };
pub(super) const GREEN: Plan = Plan { name: "green", vni: 7, udp_port: 4789, pods: 245, pods6: 0x245, underlay: 20 };

impl Plan {
    /// An IPv6 address in a network of the pods: node *n* has those from 1 to 255, the gateway the last.
    fn six(&self, node: u16, subnet: u16, host: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, self.pods6, node, subnet, 0, 0, 0, host)
    }
}

/// Builds a cluster of two nodes on the underlay.
pub(super) fn build_cluster(lab: &Lab, fabric: &Namespace, plan: &Plan, shape: Shape) -> Result<Cluster, LabError> {
    let nodes = (1..=2).map(|n| build_node(lab, fabric, plan, n, shape)).collect::<Result<_, _>>()?;
    Ok(Cluster {
        name: plan.name,
        vni: vni(plan.vni),
        udp_port: plan.udp_port,
        pods: net([10, plan.pods, 0, 0], 16),
        pods6: shape.six(net(plan.six(0, 0, 0), 32)),
        gateway_mac: Mac([0x02, 0x53, 0x45, 0x4c, 0x00, plan.vni as u8]),
        gateway_address: Ipv4Addr::new(10, plan.pods, 255, 1),
        gateway_address6: shape.six(plan.six(0xffff, 0, 1)),
        nodes,
    })
}

fn build_node(lab: &Lab, fabric: &Namespace, plan: &Plan, n: u8, shape: Shape) -> Result<Node, LabError> {
    let name = format!("{}{n}", plan.name);
    let ns = shape.namespace(lab, &name)?;
    ns.sysctl("net.ipv4.ip_forward", "1")?;
    if shape.dual_stack {
        ns.sysctl("net.ipv6.conf.all.forwarding", "1")?;
    }
    let (vtep, len) = shape.vtep(plan.underlay + n);
    let [tags, _] = shape.tags();
    let underlay_mac = Mac([2, 0, 0, 1, plan.pods, n]);
    lab.veth(
        &End::new(&ns, "eth0").mac(underlay_mac).addresses(tags.is_empty().then_some((vtep, len))).mtu(shape.mtu),
        &End::new(fabric, &name).mtu(shape.mtu),
    )?;
    if !tags.is_empty() {
        vlans::put(&ns, "eth0", &tags, shape.mtu, &[(vtep, len)])?;
    }
    fabric.attach(&name, "br0")?;
    let vtep_mac = Mac([2, 0, 0, 2, plan.pods, n]);
    // As flannel: the address of the VXLAN device is one of the node's prefix, alone. In IPv4 it is the network address,
    // which in IPv6 is every router's of the network (RFC 4291 §2.6.1).
    let six = shape.six(plan.six(n.into(), 0xffff, 1));
    let device_addresses = both(Ipv4Addr::new(10, plan.pods, n, 0), six);
    build_device(&ns, (vni(plan.vni), plan.udp_port), (vtep, vtep_mac), &device_addresses, shape)?;
    let pod = build_pod(lab, &ns, plan, n, shape)?;
    let prefix = net([10, plan.pods, n, 0], 24);
    let prefix6 = shape.six(net(plan.six(n.into(), 0, 0), 48));
    Ok(Node { ns, vtep, vtep_mac, device_addresses, prefix, prefix6, pod })
}

/// The VXLAN device of a node at `vtep`, which knows of nobody.
fn build_device(
    node: &Namespace,
    (vni, port): (Vni, u16),
    (vtep, mac): (IpAddr, Mac),
    addresses: &[IpAddr],
    shape: Shape,
) -> Result<(), LabError> {
    let device = device_name(vni);
    let [tags, _] = shape.tags();
    node.vxlan(&Vxlan {
        name: &device,
        vni,
        port,
        local: vtep,
        dev: &vlans::device("eth0", &tags),
        mac,
        mtu: shape.inner_mtu(),
        zero_checksum: shape.zero_checksum,
    })?;
    addresses.iter().try_for_each(|address| node.address(&device, *address, Prefix::host(*address).len()))
}

/// What flanneld calls the VXLAN device of a node.
pub(super) fn device_name(vni: Vni) -> String {
    format!("flannel.{vni}")
}

impl Node {
    /// Moves it to another address on the underlay, the one that ends in `host`: its VXLAN device is made anew there, with
    /// another MAC address, and knows of nobody. The network goes on believing that it is where it was.
    pub fn move_to(&mut self, cluster: &Cluster, host: u8, shape: Shape) -> Result<(), LabError> {
        let [tags, _] = shape.tags();
        let (vtep, len) = shape.vtep(host);
        let Mac([a, b, c, d, e, _]) = self.vtep_mac;
        let mac = Mac([a, b, c, d, e, host]);
        self.ns.delete(&cluster.device())?;
        self.ns.address(&vlans::device("eth0", &tags), vtep, len)?;
        build_device(&self.ns, (cluster.vni, cluster.udp_port), (vtep, mac), &self.device_addresses, shape)?;
        (self.vtep, self.vtep_mac) = (vtep, mac);
        Ok(())
    }
}

fn build_pod(lab: &Lab, node: &Namespace, plan: &Plan, n: u8, shape: Shape) -> Result<Host, LabError> {
    let name = format!("{}{n}-pod", plan.name);
    let at = |host: u8| (Ipv4Addr::new(10, plan.pods, n, host), shape.six(plan.six(n.into(), 0, host.into())));
    let ((router, router6), (address, address6)) = (at(1), at(2));
    let pod = Host { ns: shape.namespace(lab, &name)?, address, address6 };
    let end = |ns, name, mac, (v4, v6): (Ipv4Addr, Option<Ipv6Addr>)| {
        End::new(ns, name).mac(mac).address(v4, 24).addresses(v6.map(|v6| (v6.into(), 64))).mtu(shape.inner_mtu())
    };
    lab.veth(
        &end(node, "pod0", Mac([2, 0, 0, 3, plan.pods, n]), (router, router6)),
        &end(&pod.ns, "eth0", Mac([2, 0, 0, 4, plan.pods, n]), (address, address6)),
    )?;
    pod.ns.route(net([0; 4], 0), router)?;
    if let Some(router) = router6 {
        pod.ns.route(net([0; 8], 0), router)?;
    }
    Ok(pod)
}

/// Another VTEP, as a node is told of it.
pub(super) struct Remote {
    pub(super) vtep: IpAddr,
    pub(super) mac: Mac,
    /// Its addresses in the overlay, at most one of each family: next hops of its prefixes.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) prefixes: Vec<Prefix>,
}

/// The entries a remote VTEP takes: an FDB entry, a neighbour an address, and a route a prefix.
pub(super) fn program(ns: &Namespace, device: &str, remote: &Remote) -> Result<(), LabError> {
    ns.fdb(device, remote.mac, remote.vtep)?;
    for address in &remote.addresses {
        ns.neighbour(device, *address, remote.mac)?;
        let of_family = |p: &&Prefix| p.addr().is_ipv4() == address.is_ipv4();
        remote.prefixes.iter().filter(of_family).try_for_each(|p| ns.route_onlink(*p, *address, device))?;
    }
    Ok(())
}

fn vni(value: u32) -> Vni {
    Vni::new(value).unwrap_or_else(|e| unreachable!("{e}"))
}
