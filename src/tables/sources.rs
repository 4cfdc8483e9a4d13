//! Which peer sends from an address.

use core::array;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::HashMap;
use std::sync::Arc;

use super::hash::Keyed;
use super::{OverlayId, PeerId};

const SHARDS: usize = 256;

/// One part, by family. An IPv4 address and its overlay are one word, which takes few instructions to hash and to compare:
/// who sends with a false source address makes the data path ask for it as fast as frames come in.
#[derive(Clone, Debug, Default)]
struct Shard {
    v4: HashMap<u64, PeerId, Keyed>,
    v6: HashMap<(OverlayId, Ipv6Addr), PeerId, ahash::RandomState>,
}

#[inline]
const fn word(overlay: OverlayId, source: Ipv4Addr) -> u64 {
    (overlay.0 as u64) << 32 | source.to_bits() as u64
}

/// A map in parts that versions share: a write copies one part, 1/256 of it, and the list of parts if it is
/// shared; a clone copies nothing, so that versions which differ in routes only have the same memory here.
#[derive(Clone, Debug)]
pub struct Sources {
    shards: Arc<[Arc<Shard>; SHARDS]>,
}

impl Default for Sources {
    fn default() -> Self {
        let empty: Arc<Shard> = Arc::default();
        Self { shards: Arc::new(array::from_fn(|_| empty.clone())) }
    }
}

impl Sources {
    /// The peer of an overlay that sends from an address.
    #[inline]
    pub fn get(&self, overlay: OverlayId, source: IpAddr) -> Option<PeerId> {
        let shard = &self.shards[place(overlay, source)];
        match source {
            IpAddr::V4(source) => shard.v4.get(&word(overlay, source)).copied(),
            IpAddr::V6(source) => shard.v6.get(&(overlay, source)).copied(),
        }
    }

    /// Adds or replaces one.
    pub fn insert(&mut self, overlay: OverlayId, source: IpAddr, id: PeerId) {
        let shard = self.shard_mut(overlay, source);
        match source {
            IpAddr::V4(source) => shard.v4.insert(word(overlay, source), id),
            IpAddr::V6(source) => shard.v6.insert((overlay, source), id),
        };
    }

    /// Removes one.
    pub fn remove(&mut self, overlay: OverlayId, source: IpAddr) {
        let shard = self.shard_mut(overlay, source);
        match source {
            IpAddr::V4(source) => shard.v4.remove(&word(overlay, source)),
            IpAddr::V6(source) => shard.v6.remove(&(overlay, source)),
        };
    }

    fn shard_mut(&mut self, overlay: OverlayId, source: IpAddr) -> &mut Shard {
        Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[place(overlay, source)])
    }
}

/// The part that an address is in. Nodes of an overlay are numbered within a subnet: their last octets spread them.
#[inline]
fn place(OverlayId(overlay): OverlayId, source: IpAddr) -> usize {
    let last = match source {
        IpAddr::V4(a) => a.octets()[3],
        IpAddr::V6(a) => a.octets()[15],
    };
    usize::from(last ^ overlay as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_share_parts_until_written() {
        let at = |n| IpAddr::from([192, 0, 2, n]);
        let (blue, green) = (OverlayId(0), OverlayId(3));
        let mut a = Sources::default();
        a.insert(blue, at(1), PeerId(1));
        a.insert(blue, at(2), PeerId(2));
        a.insert(green, at(1), PeerId(3));
        let b = a.clone();
        assert!(Arc::ptr_eq(&a.shards, &b.shards), "a clone copies nothing");
        a.insert(blue, at(1), PeerId(9));
        a.remove(green, at(1));
        let all = |s: &Sources| [s.get(blue, at(1)), s.get(blue, at(2)), s.get(green, at(1))];
        assert_eq!(all(&a), [Some(PeerId(9)), Some(PeerId(2)), None]);
        assert_eq!(all(&b), [1, 2, 3].map(|n| Some(PeerId(n))));
        let shared = a.shards.iter().zip(b.shards.iter()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, SHARDS - 2, "a write copies the part it is in");
    }

    #[test]
    fn families_do_not_mix() {
        let all = ["192.0.2.1", "::c000:201", "::ffff:c000:201", "2001:db8::1"].map(|a| a.parse::<IpAddr>().unwrap());
        let mut s = Sources::default();
        for (n, source) in all.iter().enumerate() {
            s.insert(OverlayId(1), *source, PeerId(n as u32));
        }
        for (n, source) in all.iter().enumerate() {
            assert_eq!(s.get(OverlayId(1), *source), Some(PeerId(n as u32)));
            assert_eq!(s.get(OverlayId(257), *source), None, "another overlay, whose addresses are in the same part");
            s.remove(OverlayId(1), *source);
            assert_eq!(s.get(OverlayId(1), *source), None);
        }
    }
}
