//! Which records have a key: an inverted index in little memory.
//!
//! Most keys are of the few records of one person. A key of one record holds it in place; the others hold a block of a
//! shared store, whose size is a power of two and follows from the number of records: 3, 7, 15 ... with their count.

use crate::heads::Heads;

/// Values with this bit name a block, those without a record.
const IS_BLOCK: u32 = 1 << 31;
/// Numbers in the smallest block.
const UNIT: usize = 4;

/// Records by key. A key is a digest already.
#[derive(Default)]
pub(crate) struct Postings {
    heads: Heads,
    blocks: Blocks,
}

impl Postings {
    /// The records that have the key, in no stated order.
    pub(crate) fn get(&self, key: u64) -> Records<'_> {
        match self.heads.get(key) {
            None => Records { one: None, more: &[] },
            Some(head) if head & IS_BLOCK == 0 => Records { one: Some(head), more: &[] },
            Some(head) => Records { one: None, more: self.blocks.get(head) },
        }
    }

    /// Gives a record a key that it has not got; says how many others have it.
    pub(crate) fn add(&mut self, key: u64, record: u32) -> usize {
        let Self { heads, blocks } = self;
        let mut others = 0;
        heads.update(key, |head| {
            others = head.map_or(0, |head| blocks.count(head));
            Some(head.map_or(record, |head| blocks.add(head, record)))
        });
        others
    }

    /// Takes a key from a record that has it; says how many others have it.
    pub(crate) fn remove(&mut self, key: u64, record: u32) -> usize {
        let Self { heads, blocks } = self;
        let mut others = 0;
        heads.update(key, |head| {
            let left = blocks.remove(head?, record);
            others = left.map_or(0, |head| blocks.count(head));
            left
        });
        others
    }

    /// Keys, and those that more records have than `most` says of the key.
    pub(crate) fn count(&self, most: impl Fn(u64) -> usize) -> (usize, usize) {
        let is_over = |(key, head): &(u64, u32)| head & IS_BLOCK != 0 && self.blocks.get(*head).len() > most(*key);
        (self.heads.len(), self.heads.iter().filter(is_over).count())
    }

    /// Reads the memory where a key's head is.
    #[inline]
    pub(crate) fn touch_head(&self, key: u64) -> u32 {
        self.heads.touch(key)
    }

    /// Reads the memory where a key's list begins.
    #[inline]
    pub(crate) fn touch_list(&self, key: u64) -> u32 {
        let head = self.heads.get(key).unwrap_or_default();
        if head & IS_BLOCK == 0 { head } else { self.blocks.touch(head) }
    }
}

/// The records of one key.
#[derive(Clone, Copy)]
pub(crate) struct Records<'a> {
    one: Option<u32>,
    more: &'a [u32],
}

impl Records<'_> {
    pub(crate) fn len(self) -> usize {
        usize::from(self.one.is_some()) + self.more.len()
    }

    pub(crate) fn contains(self, record: u32) -> bool {
        self.one == Some(record) || self.more.contains(&record)
    }
}

impl<'a> IntoIterator for Records<'a> {
    type Item = u32;
    type IntoIter = std::iter::Chain<std::option::IntoIter<u32>, std::iter::Copied<std::slice::Iter<'a, u32>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.one.into_iter().chain(self.more.iter().copied())
    }
}

/// Lists of two records and more.
#[derive(Default)]
struct Blocks {
    /// Blocks one after the other; a block's place is counted in [`UNIT`]s.
    store: Vec<u32>,
    /// Places of blocks that were given back, by class.
    free: Vec<Vec<u32>>,
}

impl Blocks {
    fn get(&self, head: u32) -> &[u32] {
        let at = place(head);
        let count = self.store.get(at).copied().unwrap_or_default() as usize;
        self.store.get(at + 1..at + 1 + count).unwrap_or_default()
    }

    /// Records that a head stands for.
    fn count(&self, head: u32) -> usize {
        if head & IS_BLOCK == 0 { 1 } else { self.get(head).len() }
    }

    fn touch(&self, head: u32) -> u32 {
        self.store.get(place(head)).copied().unwrap_or_default()
    }

    /// The head of what `head` stands for and one record more.
    fn add(&mut self, head: u32, record: u32) -> u32 {
        if head & IS_BLOCK == 0 {
            let block = self.take(0);
            self.write(block, &[head, record]);
            return block;
        }
        let held = self.get(head);
        let (count, class) = (held.len() + 1, class_of(held.len()));
        if class_of(count) == class {
            let at = place(head);
            if let Some(to) = self.store.get_mut(at + count) {
                *to = record;
            }
            self.set_count(at, count);
            return head;
        }
        let mut all = held.to_vec();
        all.push(record);
        self.give_back(head, class);
        let block = self.take(class + 1);
        self.write(block, &all);
        block
    }

    /// The head of what `head` stands for without a record; `None` where that is nothing.
    fn remove(&mut self, head: u32, record: u32) -> Option<u32> {
        if head & IS_BLOCK == 0 {
            return (head != record).then_some(head);
        }
        let held = self.get(head);
        let Some(at) = held.iter().position(|other| *other == record) else { return Some(head) };
        let (count, class) = (held.len() - 1, class_of(held.len()));
        let mut left = held.to_vec();
        left.swap_remove(at);
        if let [only] = left.as_slice() {
            self.give_back(head, class);
            return Some(*only);
        }
        if class_of(count) == class {
            self.write(head, &left);
            return Some(head);
        }
        self.give_back(head, class);
        let block = self.take(class - 1);
        self.write(block, &left);
        Some(block)
    }

    fn write(&mut self, head: u32, records: &[u32]) {
        let at = place(head);
        if let Some(to) = self.store.get_mut(at + 1..at + 1 + records.len()) {
            to.copy_from_slice(records);
        }
        self.set_count(at, records.len());
    }

    fn set_count(&mut self, at: usize, count: usize) {
        if let Some(held) = self.store.get_mut(at) {
            *held = u32::try_from(count).unwrap_or(u32::MAX);
        }
    }

    /// A block of a class, used before or new.
    fn take(&mut self, class: usize) -> u32 {
        if let Some(free) = self.free.get_mut(class).and_then(Vec::pop) {
            return free;
        }
        let at = self.store.len() / UNIT;
        self.store.resize(self.store.len() + (UNIT << class), 0);
        u32::try_from(at).unwrap_or(!IS_BLOCK) | IS_BLOCK
    }

    fn give_back(&mut self, head: u32, class: usize) {
        if self.free.len() <= class {
            self.free.resize_with(class + 1, Vec::new);
        }
        if let Some(free) = self.free.get_mut(class) {
            free.push(head);
        }
    }
}

/// Class of the smallest block that holds so many records and their count.
fn class_of(count: usize) -> usize {
    let units = (count + 1).div_ceil(UNIT);
    units.next_power_of_two().trailing_zeros() as usize
}

fn place(head: u32) -> usize {
    (head & !IS_BLOCK) as usize * UNIT
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holds_what_a_map_of_lists_holds(steps in proptest::collection::vec((0u64..4, 0u32..40, any::<bool>()), 0..300)) {
            let (mut postings, mut plain) = (Postings::default(), BTreeMap::<u64, Vec<u32>>::new());
            for (key, record, add) in steps {
                let list = plain.entry(key).or_default();
                if add && !list.contains(&record) {
                    list.push(record);
                    postings.add(key, record);
                } else if !add {
                    list.retain(|other| *other != record);
                    postings.remove(key, record);
                }
                for (key, list) in &plain {
                    let (mut held, mut wanted) = (postings.get(*key).into_iter().collect::<Vec<_>>(), list.clone());
                    held.sort_unstable();
                    wanted.sort_unstable();
                    prop_assert_eq!(held, wanted);
                }
            }
            let keys = plain.values().filter(|list| !list.is_empty()).count();
            let over = plain.values().filter(|list| list.len() > 5).count();
            prop_assert_eq!(postings.count(|_| 5), (keys, over));
        }
    }
}
