//! When the answer for an address last changed, so that a flow cache need not forget all for a change of little.

use core::array;
use core::net::IpAddr;
use std::sync::Arc;

use crate::wire::Prefix;

/// Marks, and parts they are shared in by versions. 2¹⁶ marks are one for each /24 of a /8.
const PARTS: usize = 256;
const PART: usize = 256;

/// Bits of an IPv4 and an IPv6 network that have one mark.
const NET_V4: u8 = 24;
const NET_V6: u8 = 56;
/// A prefix of up to 2⁴ such networks marks each of them; a shorter one is a change everywhere.
const WIDE: u8 = 4;

/// The version in which each network's routes last changed. Networks may share a mark: then a change of one looks like a
/// change of the other, too.
///
/// Versions share the marks that did not change: a write copies one part in 256, a clone none.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Version of the last change that concerns every address.
    everywhere: u32,
    marks: Arc<[Arc<[u32; PART]>; PARTS]>,
}

impl Changes {
    /// As if everything had changed in version `epoch`.
    pub fn new(epoch: u32) -> Self {
        let part = Arc::new([epoch; PART]);
        Self { everywhere: epoch, marks: Arc::new(array::from_fn(|_| part.clone())) }
    }

    /// Takes down that a route for this prefix came, changed or went in version `epoch`.
    pub fn note(&mut self, prefix: &Prefix, epoch: u32) {
        let net = if prefix.addr().is_ipv4() { NET_V4 } else { NET_V6 };
        let spare = net.saturating_sub(prefix.len());
        if spare > WIDE {
            self.everywhere = epoch;
            return;
        }
        let first = network(prefix.addr());
        for network in first..first + (1 << spare) {
            let (part, mark) = place(network);
            if self.marks[part][mark] != epoch {
                Arc::make_mut(&mut Arc::make_mut(&mut self.marks)[part])[mark] = epoch;
            }
        }
    }

    /// True if no change after version `since` can have concerned `addr`; `now` is the version these marks are of.
    ///
    /// Versions are compared by their age, which survives the counter's overflow: a mark may seem younger than it is, and
    /// what is half a round old counts as changed.
    #[inline]
    pub fn unchanged_since(&self, addr: IpAddr, since: u32, now: u32) -> bool {
        let (part, mark) = place(network(addr));
        let age = |version: u32| now.wrapping_sub(version);
        let youngest = age(self.everywhere).min(age(self.marks[part][mark]));
        age(since) <= youngest && age(since) < 1 << 31
    }
}

/// The number of an address's network.
#[inline]
fn network(addr: IpAddr) -> u64 {
    match addr {
        IpAddr::V4(a) => u64::from(a.to_bits() >> (32 - NET_V4)),
        IpAddr::V6(a) => (a.to_bits() >> (128 - NET_V6)) as u64,
    }
}

/// Where the mark of a network is: neighbours have marks of their own, whatever stands in front of them.
#[inline]
fn place(network: u64) -> (usize, usize) {
    let above = (network >> 16).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    let mark = ((network ^ above) & 0xffff) as usize;
    (mark / PART, mark % PART)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn noted(prefix: &str) -> Changes {
        let mut changes = Changes::new(1);
        changes.note(&prefix.parse().unwrap(), 5);
        changes
    }

    #[test]
    fn a_change_concerns_its_network_and_what_was_learned_before() {
        let changes = noted("10.244.7.9/32");
        for (at, since, unchanged) in
            [("10.244.7.200", 4, false), ("10.244.7.200", 5, true), ("10.244.8.1", 4, true), ("10.244.8.1", 0, false)]
        {
            assert_eq!(changes.unchanged_since(addr(at), since, 9), unchanged, "{at} {since}");
        }
        let changes = noted("2001:db8:1:200::/64");
        assert!(!changes.unchanged_since(addr("2001:db8:1:2ff::1"), 4, 9), "a /56 has one mark");
        assert!(changes.unchanged_since(addr("2001:db8:1:300::1"), 4, 9));
    }

    #[test]
    fn a_short_prefix_concerns_all_its_networks_and_a_very_short_one_everybody() {
        let changes = noted("10.244.16.0/20");
        assert!((16..32).all(|net| !changes.unchanged_since([10, 244, net, 1].into(), 4, 9)));
        assert!([15, 32].iter().all(|net| changes.unchanged_since([10, 244, *net, 1].into(), 4, 9)));
        for prefix in ["10.244.0.0/19", "0.0.0.0/0", "2001:db8::/48"] {
            assert!(!noted(prefix).unchanged_since(addr("192.0.2.1"), 4, 9), "{prefix}");
            assert!(noted(prefix).unchanged_since(addr("192.0.2.1"), 5, 9), "{prefix}");
        }
    }

    #[test]
    fn the_counter_may_overflow() {
        let mut changes = Changes::new(u32::MAX - 9);
        changes.note(&"10.1.1.0/24".parse().unwrap(), u32::MAX);
        let at = addr("10.1.1.1");
        assert!(!changes.unchanged_since(at, u32::MAX - 1, 3), "before the change, and before the overflow");
        assert!(changes.unchanged_since(at, u32::MAX, 3) && changes.unchanged_since(at, 2, 3));
        assert!(!changes.unchanged_since(at, 3, 1 << 31 | 3), "too old to tell");
    }

    #[test]
    fn versions_share_parts_until_written() {
        let mut a = Changes::new(1);
        let b = a.clone();
        a.note(&"10.1.1.0/24".parse().unwrap(), 2);
        assert!(b.unchanged_since(addr("10.1.1.1"), 1, 1) && !a.unchanged_since(addr("10.1.1.1"), 1, 2));
        let shared = a.marks.iter().zip(b.marks.iter()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, PARTS - 1);
    }

    proptest! {
        /// Whatever prefix changes, no address in it counts as unchanged.
        #[test]
        fn no_change_is_missed(bits: u128, host: u128, v4: bool, len in 0u8..=128) {
            let (prefix, inside): (Prefix, IpAddr) = if v4 {
                let (addr, len) = (core::net::Ipv4Addr::from_bits(bits as u32), len / 4);
                let host = host as u32 & u32::MAX.checked_shr(len.into()).unwrap_or(0);
                let prefix = Prefix::host(addr.into()).widened(len);
                let IpAddr::V4(first) = prefix.addr() else { unreachable!() };
                (prefix, core::net::Ipv4Addr::from_bits(first.to_bits() | host).into())
            } else {
                let prefix = Prefix::host(core::net::Ipv6Addr::from_bits(bits).into()).widened(len);
                let host = host & u128::MAX.checked_shr(len.into()).unwrap_or(0);
                let IpAddr::V6(first) = prefix.addr() else { unreachable!() };
                (prefix, core::net::Ipv6Addr::from_bits(first.to_bits() | host).into())
            };
            let mut changes = Changes::new(1);
            changes.note(&prefix, 7);
            prop_assert!(!changes.unchanged_since(inside, 6, 9), "{prefix:?} {inside}");
            prop_assert!(changes.unchanged_since(inside, 7, 9));
        }
    }
}
