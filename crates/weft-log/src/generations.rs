//! A bounded map that forgets what was not used for longest, at the price of two hash maps.

use std::{collections::HashMap, hash::Hash, mem};

/// Two generations: entries used since the last rotation, and those used before it. When the young one is full, the old
/// one is forgotten and the young one takes its place.
#[derive(Debug)]
pub(crate) struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    capacity: usize,
}

impl<K: Eq + Hash + Copy, V: Copy> Generations<K, V> {
    /// Holds at least `capacity` and at most twice as many entries.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), capacity }
    }

    /// The value, which thereby becomes young again.
    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(*value);
        }
        let value = self.old.remove(key)?;
        self.insert(*key, value);
        Some(value)
    }

    /// Inserts or replaces.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.capacity {
            self.old = mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays() {
        let mut map = Generations::new(4);
        map.insert(0, 'u');
        for n in 1..50 {
            map.insert(n, 'x');
            assert_eq!(map.get(&0), Some('u'), "after {n}");
        }
        assert_eq!(map.get(&1), None);
        assert!(map.young.len() + map.old.len() <= 8);
    }
}
