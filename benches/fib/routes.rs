//! Sets of routes, and random addresses below them. All repeat from run to run.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use selvedge::wire::Prefix;

/// Routes, each with the row it leads to, and addresses to ask for.
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) routes: Vec<(Prefix, u32)>,
    pub(crate) addresses: Vec<IpAddr>,
}

const ADDRESSES: usize = 1 << 20;

pub(crate) struct Random(SplitMix64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }

    /// An address of the prefix.
    fn host(&mut self, prefix: &Prefix) -> IpAddr {
        let mut word = || self.0.next_u64();
        match prefix.addr() {
            IpAddr::V4(a) => {
                let host = (word() as u32).checked_shr(prefix.len().into()).unwrap_or(0);
                Ipv4Addr::from_bits(a.to_bits() | host).into()
            }
            IpAddr::V6(a) => {
                let host = (u128::from(word()) << 64 | u128::from(word())).checked_shr(prefix.len().into());
                Ipv6Addr::from_bits(a.to_bits() | host.unwrap_or(0)).into()
            }
        }
    }
}

fn set(name: &'static str, count: usize, mut draw: impl FnMut(&mut Random) -> Prefix) -> Set {
    let mut random = Random(SplitMix64::seed_from_u64(count as u64));
    let (mut known, mut routes) = (HashSet::new(), Vec::new());
    while routes.len() < count {
        let prefix = draw(&mut random);
        if known.insert(prefix) {
            routes.push((prefix, random.below(4096) as u32));
        }
    }
    let mut address = || {
        let (prefix, _) = routes[random.below(count)];
        random.host(&prefix)
    };
    let addresses = (0..ADDRESSES).map(|_| address()).collect();
    Set { name, routes, addresses }
}

fn v4(addr: usize, len: u8) -> Prefix {
    Prefix::host(Ipv4Addr::from_bits(addr as u32).into()).widened(len)
}

/// Lengths as a gateway with aggregates, nodes, ranges and pods may have them: mostly /24 to /32.
pub(crate) fn anywhere(count: usize) -> Set {
    set("anywhere", count, |random| {
        let addr = 0x0100_0000 + random.below(0xdf00_0000);
        let len = match random.below(100) {
            0..2 => 12 + random.below(4),
            2..12 => 16 + random.below(8),
            12..45 => 24,
            45..65 => 25 + random.below(7),
            _ => 32,
        };
        v4(addr, len as u8)
    })
}

/// Nodes of 10/8 with a /24 each, and 244 pods (/32) a node.
pub(crate) fn pods(count: usize) -> Set {
    set("pods in /24s", count, |random| {
        let node = 0x0a00_0000 + (random.below(count / 240 + 1) << 8);
        if random.below(200) == 0 { v4(node, 24) } else { v4(node + 2 + random.below(244), 32) }
    })
}

/// Pods at random addresses of 10/8.
pub(crate) fn scattered_pods(count: usize) -> Set {
    set("scattered pods", count, |random| v4(0x0a00_0000 + random.below(1 << 24), 32))
}

/// /56, /64 and /128 of a thousand /48s.
pub(crate) fn ipv6(count: usize) -> Set {
    set("IPv6", count, |random| {
        let len = [56, 64, 64, 128][random.below(4)];
        let net = 0x2001_0db8_u128 << 96 | (random.below(1000) as u128) << 80 | (random.below(1 << 16) as u128) << 64;
        let host = (random.below(4096) as u128) << 20 | random.below(256) as u128;
        Prefix::host(Ipv6Addr::from_bits(net | host).into()).widened(len)
    })
}
