//! Open vSwitch as the VTEP of a cluster's node, in place of the kernel's VXLAN device.

use std::net::IpAddr;

use selvedge::lab::{Cluster, Node};
use selvedge::wire::{Mac, Prefix};

use super::netns::{Net, run_in};
use super::switch::Switch;

/// OpenFlow port numbers of `br-int`.
const POD: u32 = 1;
const TUNNEL: u32 = 2;

/// Puts a switch in the place of a node's VTEP and router: `br-phy` has the cable and the node's address, `br-int` the pod
/// and the tunnel. `checksums`: it computes the outer UDP checksum over IPv4, too.
pub(crate) fn in_place_of(net: &Net, cluster: &Cluster, node: &Node, checksums: bool) -> Switch {
    let [underlay, router] = ["eth0", "pod0"].map(|port| node.ns.mac(port).unwrap());
    deafen(cluster, node);
    let switch = Switch::start(&node.ns, &net.room().join(node.ns.name()), &[]).unwrap();
    bridges(&switch, cluster, node, underlay, checksums);
    node.ns.address("br-phy", node.vtep, if node.vtep.is_ipv4() { 24 } else { 64 }).unwrap();
    node.ns.mtu("br-phy", net.t.shape.mtu).unwrap();
    node.ns.up("br-phy").unwrap();
    switch.flows("br-int", &flows(net, cluster, node, router)).unwrap();
    settle_pod(node, router);
    switch
}

fn bridges(switch: &Switch, cluster: &Cluster, node: &Node, underlay: Mac, checksums: bool) {
    let vsctl = |line: &str| switch.vsctl(line).unwrap();
    vsctl(&format!(
        "add-br br-phy -- set bridge br-phy datapath_type=netdev fail-mode=standalone other_config:hwaddr=\"{underlay}\""
    ));
    vsctl("add-br br-int -- set bridge br-int datapath_type=netdev fail-mode=secure protocols=OpenFlow10,OpenFlow14");
    vsctl("add-port br-phy eth0");
    vsctl(&format!("add-port br-int pod0 -- set interface pod0 ofport_request={POD}"));
    vsctl(&format!(
        "add-port br-int vx -- set interface vx type=vxlan options:remote_ip=flow options:key=flow \
         options:local_ip=\"{}\" options:dst_port={} options:csum={checksums} ofport_request={TUNNEL}",
        node.vtep, cluster.udp_port
    ));
    for port in ["eth0", "pod0", "vx"] {
        assert_eq!(vsctl(&format!("get interface {port} error")).trim(), "[]", "{port}");
    }
}

/// The node's kernel no longer hears what arrives at the cable and at the pod's: the switch reads it, beside the kernel.
fn deafen(cluster: &Cluster, node: &Node) {
    node.ns.delete(&cluster.device()).unwrap();
    node.ns.sysctl("net.ipv4.ip_forward", "0").unwrap();
    let ip = |line: &str| run_in(&node.ns, &[&["ip"], &line.split(' ').collect::<Vec<_>>()[..]].concat());
    // The node's address moves to a bridge of the same namespace, and a kernel answers for it whatever the interface a
    // packet came by: the rule that says so comes second here.
    ip("rule add pref 10 lookup local");
    for (pref, port) in [("5", "eth0"), ("6", "pod0")] {
        ip(&format!("addr flush dev {port}"));
        ip(&format!("rule add pref {pref} iif {port} blackhole"));
        node.ns.sysctl(&format!("net.ipv6.conf.{port}.disable_ipv6"), "1").unwrap();
    }
    ip("rule del pref 0");
}

/// What the kernel's routing and the VXLAN device did: packets of the pod go to the gateway, and the other way.
fn flows(net: &Net, cluster: &Cluster, node: &Node, router: Mac) -> String {
    let (vtep, gateway, vni) = (node.vtep_mac, cluster.gateway_mac, cluster.vni.get());
    let pod = node.pod.ns.mac("eth0").unwrap();
    let remote = net.t.gateway_vtep;
    let six = if remote.is_ipv4() { "" } else { "ipv6_" };
    let both = ["ip,nw_dst=10.0.0.0/8", "ipv6,ipv6_dst=fd00::/8"];
    both.map(|packets| {
        format!(
            "priority=10,in_port={POD},{packets} actions=dec_ttl,mod_dl_src:{vtep},mod_dl_dst:{gateway},\
             set_field:{remote}->tun_{six}dst,set_field:{vni}->tun_id,output:{TUNNEL}\n\
             priority=10,in_port={TUNNEL},tun_id={vni},tun_{six}src={remote},dl_dst={vtep},{packets} \
             actions=dec_ttl,mod_dl_src:{router},mod_dl_dst:{pod},output:{POD}\n"
        )
    })
    .concat()
}

/// The pod knows its router, which answers no questions any more, and finishes its packets itself: the switch reads them
/// as they are in the pod's queue.
fn settle_pod(node: &Node, router: Mac) {
    for prefix in node.prefixes() {
        node.pod.ns.neighbour("eth0", first(prefix), router).unwrap();
    }
    run_in(&node.pod.ns, &["ethtool", "-K", "eth0", "tx", "off"]);
}

/// The first address of a prefix, the router's.
fn first(prefix: Prefix) -> IpAddr {
    match prefix.addr() {
        IpAddr::V4(net) => IpAddr::V4((u32::from(net) + 1).into()),
        IpAddr::V6(net) => IpAddr::V6((u128::from(net) + 1).into()),
    }
}
