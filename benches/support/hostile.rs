//! What a hostile sender can do to the path, beside the traffic it is made for.

use super::Random;
use super::cases::{Distance, Expect, path};
use super::gateway::{ACCESS, UNDERLAY, frames::Ip, plain};
use super::options::Options;
use super::rounds::{Bar, Case};
use super::traffic::{Journey, Traffic, vxlan};
use super::world::{self, Net, Size, native, node, pod, subnet};
use std::rc::Rc;

/// Nodes of each overlay here, each with a /24: a million addresses to aim at, many times what a flow cache holds.
const WIDE: usize = 4_096;

/// All kinds, each beside the hot traffic of the side it arrives on.
pub(crate) fn cases(options: &Options) -> Vec<Case> {
    let tables = Rc::new(world::writer(WIDE).publish());
    let size = Size { nodes: options.nodes as usize, pods: 1_000, flows: 1_000 };
    let hot = |journey| Rc::new(Traffic::flows(journey, size, options.payload.into(), options.seed));
    let mut cases = Vec::new();
    let mut add = |name: &str, bar: Bar, traffic: Rc<Traffic>, expect| {
        cases.push(path(format!("hostile/{name}"), bar, options, &tables, traffic, (Distance::Far, expect)));
    };
    let versus = |name: &str| Bar::Versus(format!("hostile/{name}"), 0.5, 0.65);
    for journey in Journey::ALL {
        let (hot, name) = (hot(journey), format!("{}/hot", journey.name()));
        add(&name, Bar::None, hot.clone(), Expect::Sent);
        for (kind, make, expect) in KINDS.iter().filter(|k| k.0 == journey).map(|k| (k.1, k.2, k.3)) {
            let mut random = Random(options.seed);
            let data = vec![7; options.payload.into()];
            let frames = (0..options.hostile as usize).map(|n| make(n, &mut random, &data));
            let hostile = Rc::new(Traffic::of(hot.port, frames));
            add(&format!("{}/{kind}", journey.name()), versus(&name), hostile.clone(), expect);
            if kind == "scan" {
                let half = Rc::new(Traffic::mixed(&hot, &hostile));
                add(&format!("{}/half-scan", journey.name()), versus(&name), half, Expect::Any);
            }
        }
    }
    cases
}

type Make = fn(usize, &mut Random, &[u8]) -> Vec<u8>;

/// Kinds of hostile traffic: the journey beside which it stands, its name, its packets, what becomes of them.
const KINDS: [(Journey, &str, Make, Expect); 9] = [
    (Journey::Encap, "scan", scan_out, Expect::Sent),
    (Journey::Encap, "no-route", nowhere_out, Expect::Dropped),
    (Journey::Encap, "spoofed", spoofed_out, Expect::Dropped),
    (Journey::Decap, "scan", scan_in, Expect::Sent),
    (Journey::Decap, "spoofed", spoofed_in, Expect::Dropped),
    (Journey::Decap, "stranger", stranger_in, Expect::Dropped),
    (Journey::Decap, "unknown-vni", unknown_vni, Expect::Dropped),
    (Journey::Transit, "scan", scan_across, Expect::Sent),
    (Journey::Transit, "no-route", nowhere_across, Expect::Dropped),
];

/// A random address in a node's subnet.
fn anyone(net: Net, n: usize, random: &mut Random) -> [u8; 4] {
    let [a, b, c, _] = subnet(net, n);
    [a, b, c, random.next() as u8]
}

/// An address that nothing is routed to.
fn nowhere(random: &mut Random) -> [u8; 4] {
    let [a, b, c, _] = (random.next() as u32).to_be_bytes();
    [11, a, b, c]
}

fn from_blue(n: usize, src: [u8; 4], dst: [u8; 4], data: &[u8]) -> Vec<u8> {
    vxlan(node(Net::Blue, n), &Ip::udp(src, dst, (1, 2), data)).frame()
}

/// From any host of the native network to any address of any pod subnet.
fn scan_out(_: usize, random: &mut Random, data: &[u8]) -> Vec<u8> {
    let (src, node) = (native(random.below(60_000)), random.below(WIDE));
    plain(&Ip::udp(src, anyone(Net::Blue, node, random), (1, 2), data))
}

fn nowhere_out(_: usize, random: &mut Random, data: &[u8]) -> Vec<u8> {
    plain(&Ip::udp(native(random.below(60_000)), nowhere(random), (1, 2), data))
}

/// From the access side, with source addresses of pods.
fn spoofed_out(n: usize, random: &mut Random, data: &[u8]) -> Vec<u8> {
    let src = anyone(Net::Green, n % WIDE, random);
    plain(&Ip::udp(src, pod(Net::Blue, random.below(1_000), WIDE), (1, 2), data))
}

/// A node that uses every address of its subnet towards any native host.
fn scan_in(n: usize, random: &mut Random, data: &[u8]) -> Vec<u8> {
    from_blue(n % WIDE, anyone(Net::Blue, n % WIDE, random), native(random.below(60_000)), data)
}

/// A node that sends with addresses of other nodes' pods.
fn spoofed_in(n: usize, random: &mut Random, data: &[u8]) -> Vec<u8> {
    from_blue(n % WIDE, anyone(Net::Blue, (n + 1) % WIDE, random), native(1), data)
}

/// VTEPs that are no peers.
fn stranger_in(_: usize, random: &mut Random, data: &[u8]) -> Vec<u8> {
    let [a, b, ..] = random.next().to_be_bytes();
    let mut packet = vxlan(([198, 18, a, b], [2; 6]), &Ip::udp(anyone(Net::Blue, 1, random), native(1), (1, 2), data));
    packet.udp_port = 8472;
    packet.frame()
}

fn unknown_vni(n: usize, random: &mut Random, data: &[u8]) -> Vec<u8> {
    let inner = Ip::udp(anyone(Net::Blue, n % WIDE, random), native(1), (1, 2), data);
    let mut packet = vxlan(node(Net::Blue, n % WIDE), &inner);
    packet.vni = 100 + random.below(1_000_000) as u32;
    packet.frame()
}

/// A node that uses every address of its subnet towards every address of the other overlay.
fn scan_across(n: usize, random: &mut Random, data: &[u8]) -> Vec<u8> {
    let src = anyone(Net::Blue, n % WIDE, random);
    let to = random.below(WIDE);
    from_blue(n % WIDE, src, anyone(Net::Green, to, random), data)
}

fn nowhere_across(n: usize, random: &mut Random, data: &[u8]) -> Vec<u8> {
    from_blue(n % WIDE, anyone(Net::Blue, n % WIDE, random), nowhere(random), data)
}

/// The sides are those of the journeys.
const _: () = assert!(Journey::Encap.port().0 == ACCESS.0 && Journey::Decap.port().0 == UNDERLAY.0);
