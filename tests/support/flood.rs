//! Floods through the gateway, each along one journey: the words `selvedge pktgen` is called with.
#![allow(dead_code)] // each test crate uses its own part

use selvedge::lab::{ACCESS_PORT, Node, Topology, UNDERLAY_PORT};

/// A journey's name, and its flood.
pub(crate) type Flood = (&'static str, fn(&Topology) -> String);

/// One for each journey.
pub(crate) const ALL: [Flood; 3] = [("encap", encap), ("decap", decap), ("transit", transit)];

fn encap(t: &Topology) -> String {
    let node = &t.blue.nodes[0];
    let (native, mac) = (t.native.ns.name(), t.gateway.mac(ACCESS_PORT).unwrap());
    let (from, to) = (t.native_prefix, node.prefix);
    format!(
        "--tx-netns {native} --tx eth0 --dst-mac {mac} --src {from} --dst {to} {}",
        received_by(node, t.blue.udp_port)
    )
}

fn decap(t: &Topology) -> String {
    let (native, host) = (t.native.ns.name(), t.native.address);
    format!("{} --dst {host}/32 --rx-netns {native} --rx eth0 --rx-prefix {host}/32", sent_by_blue(t))
}

fn transit(t: &Topology) -> String {
    let node = &t.green.nodes[0];
    format!("{} --dst {} {}", sent_by_blue(t), node.prefix, received_by(node, t.green.udp_port))
}

fn sent_by_blue(t: &Topology) -> String {
    let node = &t.blue.nodes[0];
    let (near, mac) = (node.ns.name(), t.gateway.mac(UNDERLAY_PORT).unwrap());
    let (here, there, port, vni) = (node.vtep, t.gateway_vtep, t.blue.udp_port, t.blue.vni);
    let (from, to, pods) = (node.vtep_mac, t.blue.gateway_mac, node.prefix);
    format!(
        "--profile vxlan --tx-netns {near} --tx eth0 --dst-mac {mac} --outer-src {here} --outer-dst {there} \
         --udp-port {port} --vni {vni} --inner-src-mac {from} --inner-dst-mac {to} --src {pods}"
    )
}

fn received_by(node: &Node, udp_port: u16) -> String {
    format!("--rx-netns {} --rx eth0 --rx-vtep {}:{udp_port}", node.ns.name(), node.vtep)
}
