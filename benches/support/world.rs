//! Two overlays of any number of nodes and pods, and a native network.

use super::Random;
use super::gateway::{
    ACCESS, BLUE_MAC, BLUE_VTEP, GREEN_MAC, GREEN_VTEP, HOST, NATIVE, PORT_MACS, overlay, peer, ports,
};
use selvedge::tables::{Action, HopId, NextHop, Overlay, PeerId, Tables, TablesWriter};
use selvedge::wire::{Ethernet, Mac, Prefix};
use std::net::Ipv4Addr;

/// One of the two overlays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Net {
    Blue,
    Green,
}

/// How many there are of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Nodes of each overlay, at most 4,096, each with a /24 of its own.
    pub(crate) nodes: usize,
    /// Pods of each overlay, at most 250 a node.
    pub(crate) pods: usize,
    pub(crate) flows: usize,
}

/// A node: its VTEP, and the MAC address of its VXLAN device.
pub(crate) type Node = ([u8; 4], [u8; 6]);

pub(crate) fn node(net: Net, n: usize) -> Node {
    let [high, low] = (n as u16).to_be_bytes();
    ([172, 16 + net as u8, high << 4 | low >> 4, 1 + (low & 15)], [2, 1 + net as u8, high, low, 0, 1])
}

/// The pods' addresses on a node, a /24.
pub(crate) fn subnet(net: Net, n: usize) -> [u8; 4] {
    let [high, low] = (n as u16).to_be_bytes();
    [10, 64 + 32 * net as u8 + high, low, 0]
}

/// Pods are spread over the nodes in turn.
pub(crate) fn pod(net: Net, n: usize, nodes: usize) -> [u8; 4] {
    let [a, b, c, _] = subnet(net, n % nodes);
    [a, b, c, 1 + (n / nodes) as u8]
}

/// A host of the native network, 10.9.0.0/16.
pub(crate) fn native(n: usize) -> [u8; 4] {
    let [high, low] = (n as u16 + 256).to_be_bytes();
    [10, 9, high, low]
}

fn overlays() -> Vec<Overlay> {
    vec![overlay("blue", 1, 8472, BLUE_VTEP, BLUE_MAC), overlay("green", 7, 4789, GREEN_VTEP, GREEN_MAC)]
}

/// The tables of a world, not yet published.
pub(crate) fn writer(nodes: usize) -> TablesWriter {
    let overlays = overlays();
    let mut t = TablesWriter::new(overlays.clone(), ports());
    for net in [Net::Blue, Net::Green] {
        for n in 0..nodes {
            let id = PeerId((net as usize * nodes + n) as u32);
            t.set_peer(id, Some(peer(&overlays, net as u16, node(net, n), true)));
            t.set_route(Prefix::new(Ipv4Addr::from(subnet(net, n)).into(), 24).unwrap(), Action::Encap(id));
        }
    }
    let way = Some((Ethernet::ipv4(Mac(HOST), Mac(PORT_MACS[1])), 1500));
    t.set_hop(HopId(0), Some(NextHop { port: ACCESS, addr: Ipv4Addr::from(NATIVE).into(), way }));
    t.set_route("10.9.0.0/16".parse().unwrap(), Action::Deliver(HopId(0)));
    t
}

/// As many prefixes of 18 to 32 bits in 64.0.0.0/2 as wanted, no two the same, routed to the nodes of the blue overlay,
/// and an address within each, in an order that no prefetcher guesses.
pub(crate) fn with_random_prefixes(nodes: usize, many: usize, seed: u64) -> (Tables, Vec<[u8; 4]>) {
    let (mut t, mut random) = (writer(nodes), Random(seed));
    let mut addresses = Vec::with_capacity(many);
    while addresses.len() < many {
        let before = t.routes();
        let (draw, len) = (random.next(), 18 + random.below(15) as u8);
        let address = Ipv4Addr::from_bits(0x4000_0000 | (draw as u32) >> 2);
        if address.is_loopback() {
            continue; // a martian
        }
        let prefix = Prefix::new(Ipv4Addr::from_bits(address.to_bits() & u32::MAX << (32 - len)).into(), len).unwrap();
        t.set_route(prefix, Action::Encap(PeerId(random.below(nodes) as u32)));
        if t.routes() > before {
            addresses.push(address.octets());
        }
    }
    let shuffled = random.order(many).into_iter().map(|n| addresses[n]).collect();
    (t.publish(), shuffled)
}
