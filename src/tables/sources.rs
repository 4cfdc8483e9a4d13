//! Which peer sends from an address.

use core::array;
use core::net::IpAddr;
use std::collections::HashMap;
use std::sync::Arc;

use super::{OverlayId, PeerId};

const SHARDS: usize = 256;

/// The key: an overlay, and the address of one of its VTEPs.
type Key = (OverlayId, IpAddr);
type Shard = HashMap<Key, PeerId, ahash::RandomState>;

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
    pub fn get(&self, key: &Key) -> Option<PeerId> {
        self.shards[shard(key)].get(key).copied()
    }

    /// Adds or replaces one.
    pub fn insert(&mut self, key: Key, id: PeerId) {
        self.shard_mut(&key).insert(key, id);
    }

    /// Removes one.
    pub fn remove(&mut self, key: &Key) {
        self.shard_mut(key).remove(key);
    }

    fn shard_mut(&mut self, key: &Key) -> &mut Shard {
        Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[shard(key)])
    }
}

/// Nodes of an overlay are numbered within a subnet: their last octets spread them.
#[inline]
fn shard(&(OverlayId(overlay), address): &Key) -> usize {
    let last = match address {
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
        let key = |overlay, n| (OverlayId(overlay), IpAddr::from([192, 0, 2, n]));
        let mut a = Sources::default();
        a.insert(key(0, 1), PeerId(1));
        a.insert(key(0, 2), PeerId(2));
        a.insert(key(3, 1), PeerId(3));
        let b = a.clone();
        assert!(Arc::ptr_eq(&a.shards, &b.shards), "a clone copies nothing");
        a.insert(key(0, 1), PeerId(9));
        a.remove(&key(3, 1));
        assert_eq!([a.get(&key(0, 1)), a.get(&key(0, 2)), a.get(&key(3, 1))], [Some(PeerId(9)), Some(PeerId(2)), None]);
        assert_eq!([b.get(&key(0, 1)), b.get(&key(3, 1))], [Some(PeerId(1)), Some(PeerId(3))]);
        let shared = a.shards.iter().zip(b.shards.iter()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, SHARDS - 2, "a write copies the part it is in");
    }
}
