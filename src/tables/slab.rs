//! Rows that many versions share.

use core::array;
use std::sync::Arc;

const CHUNK: usize = 64;

/// A growing array of rows in chunks that versions share; a write copies one chunk, and the list of chunks if it is shared;
/// a clone copies nothing.
#[derive(Clone, Debug)]
pub struct Slab<T> {
    chunks: Arc<[Arc<[Option<T>; CHUNK]>]>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Arc::default() }
    }
}

impl<T: Clone> Slab<T> {
    /// The row, if there is one.
    #[inline]
    pub fn get(&self, row: u32) -> Option<&T> {
        let row = row as usize;
        self.chunks.get(row / CHUNK)?[row % CHUNK].as_ref()
    }

    /// True if no row was ever written.
    #[inline]
    pub fn is_untouched(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Writes or clears a row.
    pub fn set(&mut self, row: u32, value: Option<T>) {
        let row = row as usize;
        if self.chunks.len() <= row / CHUNK {
            let more = (self.chunks.len()..=row / CHUNK).map(|_| Arc::new(array::from_fn(|_| None)));
            self.chunks = self.chunks.iter().cloned().chain(more).collect();
        }
        Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[row / CHUNK])[row % CHUNK] = value;
    }

    /// All rows there are.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.chunks.iter().flat_map(|c| c.iter()).enumerate().filter_map(|(i, v)| Some((i as u32, v.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_share_chunks_until_written() {
        let mut a = Slab::default();
        assert!(a.is_untouched());
        a.set(3, Some("three"));
        assert!(!a.is_untouched());
        a.set(200, Some("far"));
        let b = a.clone();
        a.set(3, None);
        assert_eq!(
            (a.get(3), b.get(3), a.get(200), a.get(64), a.get(9999)),
            (None, Some(&"three"), Some(&"far"), None, None)
        );
        assert!(Arc::ptr_eq(&a.chunks[3], &b.chunks[3]) && !Arc::ptr_eq(&a.chunks[0], &b.chunks[0]));
        assert_eq!(b.iter().collect::<Vec<_>>(), [(3, &"three"), (200, &"far")]);
    }
}
