//! Every record that has been heard of, the person it belongs to, and the keys by which others find it.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use weft_model::{NhsNumber, PersonId, Pseudonym};

use crate::Features;

/// Records that may share one key before the key says nothing and is skipped: no patient has so many, a filler does.
pub const BLOCK_RECORDS_MAX: usize = 64;

/// A record that may be of the same person, and the person it is linked to.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The record.
    pub record: Pseudonym,
    /// The person it is linked to.
    pub person: PersonId,
    /// The record that it was merged into, through any number of merges.
    pub follows: Option<Pseudonym>,
    /// What to compare.
    pub features: &'a Features,
}

/// Records by pseudonym, by person and by key, in memory; rebuilt from the log at a start. Some 270 bytes a record, tables included (measured over 350,000).
///
/// A record is put when a message about it arrives, linked when that is decided. A merge ties the retired record to the
/// survivor: it belongs to whatever person the survivor belongs to, then and later. Merging a record into one that already
/// follows it turns the tie round: the person stays the same.
#[derive(Default)]
pub struct Index {
    slots: Vec<Slot>,
    by_record: Map<Pseudonym, u32>,
    by_number: Map<NhsNumber, List>,
    by_exact: Map<u64, List>,
    persons: Map<PersonId, List>,
    /// Retired record -> survivor.
    follows: Map<u32, u32>,
    followers: Map<u32, List>,
}

struct Slot {
    record: Pseudonym,
    features: Features,
    person: Option<PersonId>,
}

impl Index {
    /// An index that knows nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records known, linked or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True where nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Persons with at least one record.
    #[must_use]
    pub fn persons(&self) -> usize {
        self.persons.len()
    }

    /// Remembers what a record is known to say, in place of what it said before.
    pub fn put(&mut self, record: Pseudonym, features: Features) {
        let slot = self.slot_of(record);
        let Some(held) = self.slots.get_mut(slot as usize) else { return };
        let (number, exact) = (features.number, features.exact_key());
        let old = std::mem::replace(&mut held.features, features);
        let (old_number, old_exact) = (old.number, old.exact_key());
        if old_number != number {
            remove(&mut self.by_number, old_number, slot);
            add(&mut self.by_number, number, slot);
        }
        if old_exact != exact {
            remove(&mut self.by_exact, old_exact, slot);
            add(&mut self.by_exact, exact, slot);
        }
    }

    /// What a record is known to say; `None` for one that was never put.
    #[must_use]
    pub fn features(&self, record: Pseudonym) -> Option<&Features> {
        let slot = self.by_record.get(&record)?;
        self.slots.get(*slot as usize).map(|slot| &slot.features)
    }

    /// The record belongs to this person from now on, and so do those that follow it. For a record that follows another,
    /// nothing happens: it goes where its survivor goes.
    pub fn link(&mut self, record: Pseudonym, person: PersonId) {
        let slot = self.slot_of(record);
        if !self.follows.contains_key(&slot) {
            self.move_to(slot, Some(person));
        }
    }

    /// `retired` follows `survivor` from now on.
    pub fn merge(&mut self, retired: Pseudonym, survivor: Pseudonym) {
        let (retired, survivor) = (self.slot_of(retired), self.slot_of(survivor));
        if retired == survivor {
            return;
        }
        let turned = self.leads_to(survivor, retired);
        let above = self.untie(retired);
        if turned {
            // The survivor itself follows `retired`: it takes that place, and the person stays.
            self.untie(survivor);
            if let Some(above) = above {
                self.tie(survivor, above);
            }
        }
        self.tie(retired, survivor);
        if !turned {
            let person = self.person_at(survivor);
            self.move_to(retired, person);
        }
    }

    /// A record follows nobody any more; it stays with the person that it has, and those that follow it go with it.
    pub fn unmerge(&mut self, record: Pseudonym) {
        let slot = self.slot_of(record);
        self.untie(slot);
    }

    /// The person a record belongs to; `None` before it is linked.
    #[must_use]
    pub fn person_of(&self, record: Pseudonym) -> Option<PersonId> {
        self.by_record.get(&record).and_then(|slot| self.person_at(*slot))
    }

    /// The record that this one follows since a merge, through any number of merges; `None` where it follows none. Such a
    /// record is not decided on: it goes where its survivor goes.
    #[must_use]
    pub fn survivor_of(&self, record: Pseudonym) -> Option<Pseudonym> {
        self.by_record.get(&record).and_then(|slot| self.head_of(*slot))
    }

    /// The records of a person, in no stated order.
    pub fn records_of(&self, person: PersonId) -> impl Iterator<Item = Pseudonym> {
        self.persons.get(&person).into_iter().flat_map(List::as_slice).filter_map(|slot| self.record_at(*slot))
    }

    /// All linked records of every person that shares a key with these features, in no stated order; itself included.
    #[must_use]
    pub fn candidates(&self, features: &Features) -> Vec<Candidate<'_>> {
        let by_number = features.number.and_then(|number| self.by_number.get(&number));
        let by_exact = features.exact_key().and_then(|key| self.by_exact.get(&key));
        let blocks = [by_number, by_exact].into_iter().flatten().map(List::as_slice);
        let in_block = blocks.filter(|block| block.len() <= BLOCK_RECORDS_MAX).flatten();
        let mut persons: Vec<PersonId> = in_block.filter_map(|slot| self.person_at(*slot)).collect();
        persons.sort_unstable();
        persons.dedup();
        let members = persons.iter().filter_map(|person| self.persons.get(person)).flat_map(List::as_slice);
        members.filter_map(|slot| self.candidate(*slot)).collect()
    }

    /// Keys that too many records share, and that therefore find nobody.
    #[must_use]
    pub fn oversized_keys(&self) -> usize {
        let over = |list: &&List| list.as_slice().len() > BLOCK_RECORDS_MAX;
        self.by_number.values().filter(over).count() + self.by_exact.values().filter(over).count()
    }

    fn candidate(&self, slot: u32) -> Option<Candidate<'_>> {
        let held = self.slots.get(slot as usize)?;
        let follows = self.head_of(slot);
        Some(Candidate { record: held.record, person: held.person?, follows, features: &held.features })
    }

    fn record_at(&self, slot: u32) -> Option<Pseudonym> {
        self.slots.get(slot as usize).map(|slot| slot.record)
    }

    fn person_at(&self, slot: u32) -> Option<PersonId> {
        self.slots.get(slot as usize).and_then(|slot| slot.person)
    }

    /// The slot of a record, made where it is new.
    fn slot_of(&mut self, record: Pseudonym) -> u32 {
        let next = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let slot = *self.by_record.entry(record).or_insert(next);
        if slot == next {
            self.slots.push(Slot { record, features: Features::default(), person: None });
        }
        slot
    }

    fn head_of(&self, slot: u32) -> Option<Pseudonym> {
        let mut head = *self.follows.get(&slot)?;
        while let Some(next) = self.follows.get(&head) {
            head = *next;
        }
        self.record_at(head)
    }

    fn leads_to(&self, mut from: u32, to: u32) -> bool {
        while let Some(next) = self.follows.get(&from) {
            if *next == to {
                return true;
            }
            from = *next;
        }
        false
    }

    fn tie(&mut self, retired: u32, survivor: u32) {
        self.follows.insert(retired, survivor);
        add(&mut self.followers, Some(survivor), retired);
    }

    /// Takes a tie away and says where it led.
    fn untie(&mut self, retired: u32) -> Option<u32> {
        let survivor = self.follows.remove(&retired);
        remove(&mut self.followers, survivor, retired);
        survivor
    }

    /// Moves a record and all that follow it.
    fn move_to(&mut self, slot: u32, person: Option<PersonId>) {
        let mut moving = vec![slot];
        while let Some(slot) = moving.pop() {
            if let Some(followers) = self.followers.get(&slot) {
                moving.extend_from_slice(followers.as_slice());
            }
            let Some(held) = self.slots.get_mut(slot as usize) else { continue };
            let old = std::mem::replace(&mut held.person, person);
            if old != person {
                remove(&mut self.persons, old, slot);
                add(&mut self.persons, person, slot);
            }
        }
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("records", &self.len()).field("persons", &self.persons()).finish()
    }
}

/// Slots under one key: nearly always one.
enum List {
    One(u32),
    Many(Vec<u32>),
}

impl List {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(slot) => std::slice::from_ref(slot),
            Self::Many(slots) => slots,
        }
    }
}

fn add<K: Eq + std::hash::Hash>(map: &mut Map<K, List>, key: Option<K>, slot: u32) {
    let Some(key) = key else { return };
    map.entry(key)
        .and_modify(|list| match list {
            List::One(first) => *list = List::Many(vec![*first, slot]),
            List::Many(slots) => slots.push(slot),
        })
        .or_insert(List::One(slot));
}

fn remove<K: Eq + std::hash::Hash>(map: &mut Map<K, List>, key: Option<K>, slot: u32) {
    let Some(key) = key else { return };
    let is_empty = match map.get_mut(&key) {
        Some(List::One(only)) => *only == slot,
        Some(List::Many(slots)) => {
            slots.retain(|held| *held != slot);
            slots.is_empty()
        }
        None => false,
    };
    if is_empty {
        map.remove(&key);
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// Folds and mixes words. Without a seed, so that it needs no chance: most keys are keyed digests already, and the maps are
/// looked into, never walked in an order that anybody sees.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        (self.0 ^ self.0 >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.0 >> 29
    }
}
