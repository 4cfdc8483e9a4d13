//! How evenly a NIC spreads flows over queues.

use crate::toeplitz;
use selvedge::wire::Ipv4;
use selvedge::wire::flow::Flow;
use zerocopy::FromZeros;

/// Entries of the indirection table.
const TABLE: usize = 128;
/// Remote nodes.
const NODES: u64 = 64;
/// Populations of flows that are drawn.
const DRAWS: u64 = 25;

/// What the NIC hashes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hashed {
    /// Plain packets: addresses and ports.
    Plain,
    /// VXLAN packets: outer addresses and ports, the source port being the entropy of the inner flow.
    Outer,
    /// VXLAN packets: outer addresses alone, as many NICs do for UDP unless told otherwise.
    OuterAddresses,
}

/// How packets are distributed over flows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weights {
    Uniform,
    /// The n-th flow has 1/n of the packets of the first.
    Zipf,
}

/// Populations of flows, each as what every entry of the indirection table gets of it.
pub(crate) struct Spread {
    draws: Vec<[f64; TABLE]>,
}

impl Spread {
    pub(crate) fn of(hashed: Hashed, weights: Weights, flows: usize) -> Self {
        Self { draws: (0..DRAWS).map(|draw| entries(hashed, weights, flows, draw)).collect() }
    }

    /// The load of the fullest of so many queues, in that of the average queue: median and worst of the draws.
    pub(crate) fn imbalance(&self, queues: usize) -> (f64, f64) {
        let one = |entries: &[f64; TABLE]| {
            let mut loads = vec![0.0; queues];
            entries.iter().enumerate().for_each(|(entry, load)| loads[entry % queues] += load);
            loads.into_iter().fold(0.0, f64::max) / (entries.iter().sum::<f64>() / queues as f64)
        };
        let mut all: Vec<f64> = self.draws.iter().map(one).collect();
        all.sort_by(f64::total_cmp);
        (all[all.len() / 2], all[all.len() - 1])
    }
}

fn entries(hashed: Hashed, weights: Weights, flows: usize, draw: u64) -> [f64; TABLE] {
    let (mut random, mut loads) = (Random(draw << 32 | flows as u64), [0.0; TABLE]);
    for n in 0..flows {
        let weight = match weights {
            Weights::Uniform => 1.0,
            Weights::Zipf => 1.0 / (n + 1) as f64,
        };
        loads[toeplitz::hash(&header(hashed, &mut random)) as usize % TABLE] += weight;
    }
    loads
}

/// What is hashed of a packet of a random flow between pods of two clusters.
fn header(hashed: Hashed, random: &mut Random) -> Vec<u8> {
    let draw = random.next();
    let (node, [a, b, c, d, e, f, ..]) = (draw % NODES, random.next().to_be_bytes());
    let (src, dst, ports) = ([10, 64, node as u8, a], [10, 96, b % NODES as u8, c], [d, e, 0, 80]);
    let src_port = u16::from_be_bytes([d, e]);
    if hashed == Hashed::Plain {
        return toeplitz::input(src, dst, Some((src_port, 80)));
    }
    let mut ip = Ipv4::new_zeroed();
    (ip.src, ip.dst, ip.protocol) = (src, dst, if f < 200 { 6 } else { 17 });
    let entropy = Flow::of_v4(&ip, &ports).port();
    let vteps = ([172, 16, 0, 1 + node as u8], [192, 0, 2, 1]);
    toeplitz::input(vteps.0, vteps.1, (hashed == Hashed::Outer).then_some((entropy, 4789)))
}

/// Splitmix64 (Steele and others 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}
