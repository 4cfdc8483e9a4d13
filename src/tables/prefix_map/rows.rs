//! Sorted rows in chunks.

use core::fmt::Debug;
use std::collections::BTreeMap;

/// A key that is stored as plain bytes, without what alignment would waste.
pub(super) trait Key: Copy + Ord {
    type Bytes: Copy + Debug;
    const LEAST: Self;
    fn pack(self) -> Self::Bytes;
    fn unpack(bytes: Self::Bytes) -> Self;
}

/// Bytes of a full chunk at most.
const CHUNK: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Row<K: Key> {
    key: K::Bytes,
    number: [u8; 4],
}

impl<K: Key> Row<K> {
    /// How many make a full chunk, and in what steps a chunk grows and shrinks.
    const ROOM: usize = CHUNK / size_of::<Self>();
    const STEP: usize = Self::ROOM / 8;

    fn new(key: K, number: u32) -> Self {
        Self { key: key.pack(), number: number.to_ne_bytes() }
    }

    fn key(&self) -> K {
        K::unpack(self.key)
    }

    fn number(&self) -> u32 {
        u32::from_ne_bytes(self.number)
    }
}

/// A map of keys to numbers.
#[derive(Clone, Debug)]
pub(super) struct Rows<K: Key> {
    /// Sorted rows, by a key no greater than that of the first. No two chunks overlap, and the first one's key is
    /// [`Key::LEAST`], so that each key has one chunk where it belongs.
    chunks: BTreeMap<K, Vec<Row<K>>>,
    len: usize,
}

impl<K: Key> Default for Rows<K> {
    fn default() -> Self {
        Self { chunks: BTreeMap::new(), len: 0 }
    }
}

impl<K: Key> Rows<K> {
    pub(super) fn get(&self, key: K) -> Option<u32> {
        let (_, chunk) = self.chunks.range(..=key).next_back()?;
        Some(chunk[find(chunk, key).ok()?].number())
    }

    pub(super) fn insert(&mut self, key: K, number: u32) -> Option<u32> {
        let row = Row::new(key, number);
        let Some((_, chunk)) = self.chunks.range_mut(..=key).next_back() else {
            self.chunks.insert(K::LEAST, vec![row]);
            self.len += 1;
            return None;
        };
        let at = match find(chunk, key) {
            Ok(at) => return Some(core::mem::replace(&mut chunk[at], row).number()),
            Err(at) => at,
        };
        self.len += 1;
        if chunk.len() == chunk.capacity() {
            chunk.reserve_exact(Row::<K>::STEP);
        }
        chunk.insert(at, row);
        if chunk.len() > Row::<K>::ROOM {
            let upper = chunk.split_off(chunk.len() / 2);
            chunk.shrink_to_fit();
            self.chunks.insert(upper[0].key(), upper);
        }
        None
    }

    pub(super) fn remove(&mut self, key: K) -> Option<u32> {
        let (first, chunk) = self.chunks.range_mut(..=key).next_back()?;
        let row = chunk.remove(find(chunk, key).ok()?);
        self.len -= 1;
        let (first, left) = (*first, chunk.len());
        if chunk.capacity() > left + 2 * Row::<K>::STEP {
            chunk.shrink_to(left + Row::<K>::STEP);
        }
        if left < Row::<K>::ROOM / 4 {
            self.join(first, left);
        }
        Some(row.number())
    }

    /// Puts what is left of a chunk to the one before it, if it has room enough for both and for more.
    fn join(&mut self, first: K, left: usize) {
        let before = self.chunks.range(..first).next_back();
        if before.is_some_and(|(_, chunk)| chunk.len() + left <= Row::<K>::ROOM * 3 / 4) {
            let rows = self.chunks.remove(&first).unwrap_or_default();
            if let Some((_, chunk)) = self.chunks.range_mut(..first).next_back() {
                chunk.reserve_exact(rows.len());
                chunk.extend(rows);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (K, u32)> + '_ {
        self.chunks.values().flatten().map(|row| (row.key(), row.number()))
    }
}

/// Where a key is in a chunk, or where it belongs.
#[inline]
fn find<K: Key>(chunk: &[Row<K>], key: K) -> Result<usize, usize> {
    chunk.binary_search_by(|row| row.key().cmp(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that are at hand, and how many would fit in what is allocated.
    fn rows(rows: &Rows<u64>) -> (usize, usize) {
        (rows.iter().count(), rows.chunks.values().map(Vec::capacity).sum())
    }

    #[test]
    fn no_row_is_wasted_in_whatever_order_they_come_and_go() {
        const N: u64 = 20_000;
        let scattered = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
        for key in [|n| n, |n| N - n, scattered] {
            let mut all = Rows::default();
            (0..N).for_each(|n| assert_eq!(all.insert(key(n), n as u32), None));
            let (there, room) = rows(&all);
            assert!(there == N as usize && room * 100 <= there * 115, "{there} in {room}");
            (0..N).filter(|n| n % 40 > 0).for_each(|n| assert_eq!(all.remove(key(n)), Some(n as u32)));
            let (there, room) = rows(&all);
            assert!(there == N as usize / 40 && room <= there * 2, "{there} in {room}");
            assert!(all.chunks.len() * Row::<u64>::ROOM <= there * 8, "{} chunks for {there}", all.chunks.len());
            (0..N).step_by(40).for_each(|n| assert_eq!(all.remove(key(n)), Some(n as u32)));
            assert_eq!((all.len(), all.chunks.len()), (0, 1));
        }
    }
}
