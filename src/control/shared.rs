//! Values that many routes have in common: each is kept once, and named by a number.

use core::hash::Hash;
use core::ops::Index;
use std::collections::HashMap;

/// Values by number, counted. A number is free to be another value's once nobody has it any more.
#[derive(Debug)]
pub(super) struct Shared<T> {
    /// Every route asks here, and no stranger chooses values: the hash may be a fast one.
    numbers: HashMap<T, u32, ahash::RandomState>,
    /// Each with how many have it; those that nobody has are to be used again.
    values: Vec<(T, u32)>,
    free: Vec<u32>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { numbers: HashMap::default(), values: Vec::new(), free: Vec::new() }
    }
}

impl<T: Clone + Eq + Hash> Shared<T> {
    /// The number of a value, for one more to have.
    pub(super) fn acquire(&mut self, value: T) -> u32 {
        if let Some(&number) = self.numbers.get(&value) {
            self.values[number as usize].1 += 1;
            return number;
        }
        let number = match self.free.pop() {
            Some(number) => {
                self.values[number as usize] = (value.clone(), 1);
                number
            }
            None => {
                self.values.push((value.clone(), 1));
                (self.values.len() - 1) as u32 // each takes more than 4 GiB / 2³² of memory
            }
        };
        self.numbers.insert(value, number);
        number
    }

    /// One that had a number has it no more.
    pub(super) fn release(&mut self, number: u32) {
        let (value, had) = &mut self.values[number as usize];
        *had -= 1;
        if *had == 0 {
            self.numbers.remove(value);
            self.free.push(number);
        }
    }

    /// How many values somebody has.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}

impl<T> Index<u32> for Shared<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.values[number as usize].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_there_as_long_as_somebody_has_it() {
        let mut shared = Shared::default();
        let (a, b) = (shared.acquire("a"), shared.acquire("b"));
        assert_eq!((shared.acquire("a"), shared[a], shared[b], shared.len()), (a, "a", "b", 2));
        shared.release(a);
        assert_eq!((shared[a], shared.len()), ("a", 2), "one still has it");
        shared.release(a);
        assert_eq!(shared.len(), 1);
        let c = shared.acquire("c");
        assert_eq!((c, shared[c], shared[b]), (a, "c", "b"), "its number is used again");
    }
}
