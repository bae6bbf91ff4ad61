//! Every record that has been heard of, the person it belongs to, and the keys by which others find it.

use weft_model::{NhsNumber, PersonId, Pseudonym};

use crate::{
    Decision, Features, Setting,
    keys::{all_keys, household_key, most_records},
    map::Map,
    postings::{Postings, Records},
    recent::{self, Recent},
    setting::Homes,
    ties::Ties,
};

/// Records that may share one key before the key says nothing and is skipped: no patient has so many, a filler does.
pub const BLOCK_RECORDS_MAX: usize = 64;

/// Records of one home that are compared with each other for the counts of homes.
const HOME_RECORDS_MAX: usize = 16;

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
    /// True where somebody has decided that the record must not belong to this person.
    pub barred: bool,
    /// Whether a steward has released the NHS number that the record to be decided on and this one state.
    pub looked_at: LookedAt,
}

impl<'a> Candidate<'a> {
    /// A record that follows no other, and of which nobody has decided anything.
    #[must_use]
    pub fn new(record: Pseudonym, person: PersonId, features: &'a Features) -> Self {
        Self { record, person, follows: None, features, barred: false, looked_at: LookedAt::No }
    }
}

/// What a steward has seen of two records under one NHS number, when the number was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookedAt {
    /// Nothing: that they look like two people is news.
    No,
    /// The known one of the two: it is news unless the other agrees with some record that was looked at.
    Other,
    /// Both of them.
    Both,
}

/// Records by pseudonym, by person and by key, in memory; rebuilt from the log at a start. Records of one person
/// share most of their keys, so that the tables grow with the persons more than with the records.
///
/// A record is put when a message about it arrives, linked when that is decided. A merge ties the retired record to the
/// survivor: it belongs to whatever person the survivor belongs to, then and later. Merging a record into one that already
/// follows it turns the tie round: the person stays the same.
#[derive(Default)]
pub struct Index {
    pub(crate) slots: Vec<Slot>,
    pub(crate) by_record: Map<Pseudonym, u32>,
    pub(crate) postings: Postings,
    /// Superseded NHS number -> the one that it was merged into.
    superseded: Map<NhsNumber, NhsNumber>,
    /// A record of each person; the others follow in [`Slot::next`].
    pub(crate) persons: Map<PersonId, u32>,
    ties: Ties,
    homes: Homes,
    /// Records that say when somebody was born.
    born: usize,
    pub(crate) recent: Recent,
}

pub(crate) struct Slot {
    record: Pseudonym,
    pub(crate) features: Features,
    person: Option<PersonId>,
    /// Another record of the person, in a ring; itself where there is none.
    next: u32,
}

impl Slot {
    /// Reads the memory where it begins and where it ends.
    #[inline]
    pub(crate) fn touch(&self) -> u32 {
        self.next ^ u32::from(self.features.birth.day)
    }
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

    /// Remembers what a record is known to say, in place of what it said before. A superseded NHS number counts as the one
    /// that it was merged into.
    pub fn put(&mut self, record: Pseudonym, features: Features) {
        let slot = self.slot_of(record);
        let features = self.current(features);
        let keys = all_keys(&features);
        self.replace(slot, features, keys.as_slice());
    }

    /// Among whom a record that was put is decided on.
    #[must_use]
    pub fn setting(&self) -> Setting {
        Setting { records: self.len(), households: self.homes.are_shared(self.len()), births: self.born > 0 }
    }

    /// From now on `old` counts as `retained`, also where it was stated before. Nothing happens where `retained` itself has
    /// come to count as `old`, or as what `old` counts as by then: one of the two tellings is wrong.
    pub fn supersede(&mut self, old: NhsNumber, retained: NhsNumber) {
        let after = |number: &NhsNumber| self.superseded.get(number).copied();
        if std::iter::successors(Some(retained), after).any(|number| number == old) {
            return;
        }
        self.superseded.insert(old, retained);
        let number_key = crate::keys::number_key(old);
        for slot in self.postings.get(number_key).into_iter().collect::<Vec<_>>() {
            let Some(held) = self.slots.get(slot as usize) else { continue };
            let features = self.current(held.features.clone());
            let keys = all_keys(&features);
            self.replace(slot, features, keys.as_slice());
        }
    }

    fn current(&self, mut features: Features) -> Features {
        features.set_number(features.nhs_number().map(|number| self.counts_as(number)));
        features
    }

    /// The number that an NHS number was merged into, through any number of mergers.
    pub(crate) fn counts_as(&self, mut number: NhsNumber) -> NhsNumber {
        while let Some(next) = self.superseded.get(&number) {
            number = *next;
        }
        number
    }

    /// Puts other features, which have these keys, in a slot's place.
    pub(crate) fn replace(&mut self, slot: u32, features: Features, new: &[u64]) {
        let Some(held) = self.slots.get(slot as usize) else { return };
        let old = all_keys(&held.features);
        let homes = [household_key(&held.features), household_key(&features)];
        self.born -= usize::from(held.features.birth.is_told());
        self.born += usize::from(features.birth.is_told());
        self.note_person(held.person);
        self.counting(homes, |index| {
            if let Some(held) = index.slots.get_mut(slot as usize) {
                held.features = features;
            }
            for key in old.as_slice().iter().filter(|key| !new.contains(key)) {
                let others = index.postings.remove(*key, slot);
                index.note_key(*key, others);
            }
            for key in new.iter().filter(|key| !old.as_slice().contains(key)) {
                let others = index.postings.add(*key, slot);
                index.note_key(*key, others);
            }
        });
    }

    /// A record has got or lost a key, which so many others have: where these are too many, the key finds nobody as before.
    fn note_key(&mut self, key: u64, others: usize) {
        if others <= most_records(key) {
            self.recent.note(key);
        }
    }

    fn note_person(&mut self, person: Option<PersonId>) {
        if let Some(person) = person {
            self.recent.note(recent::digest(person));
        }
    }

    /// Makes a change, and keeps the counts of the homes that it is about.
    fn counting(&mut self, homes: [Option<u64>; 2], change: impl FnOnce(&mut Self)) {
        let homes = if homes[0] == homes[1] { [homes[0], None] } else { homes };
        let of = |index: &Self| homes.iter().flatten().fold(Homes::default(), |all, home| all + index.home(*home));
        let before = of(self);
        change(self);
        self.homes = self.homes + of(self) - before;
    }

    /// The counts of one home; none of one that very many share, which is a filler.
    fn home(&self, home: u64) -> Homes {
        let slots = self.postings.get(home);
        if slots.len() > HOME_RECORDS_MAX {
            return Homes::default();
        }
        let features = slots.into_iter().filter_map(|slot| self.slots.get(slot as usize)).map(|slot| &slot.features);
        let members: Vec<&Features> = features.filter(|features| household_key(features) == Some(home)).collect();
        let mut counts = Homes { records: members.len() as u64, ..Homes::default() };
        for (n, one) in members.iter().enumerate() {
            members.iter().skip(n + 1).for_each(|other| counts.take(one, other));
        }
        counts
    }

    /// The records whose NHS number this is, ascending.
    pub(crate) fn records_with(&self, number: NhsNumber) -> Vec<Pseudonym> {
        let slots = self.postings.get(crate::keys::number_key(number)).into_iter();
        let held = slots.filter_map(|slot| self.slots.get(slot as usize));
        let mut records: Vec<Pseudonym> =
            held.filter(|held| held.features.nhs_number() == Some(number)).map(|held| held.record).collect();
        records.sort_unstable();
        records
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
        if self.ties.survivor(slot).is_none() {
            self.move_to(slot, Some(person));
        }
    }

    /// `retired` follows `survivor` from now on.
    pub fn merge(&mut self, retired: Pseudonym, survivor: Pseudonym) {
        let (retired, survivor) = (self.slot_of(retired), self.slot_of(survivor));
        if retired == survivor {
            return;
        }
        let turned = self.ties.merge(retired, survivor);
        if !turned {
            let person = self.person_at(survivor);
            self.move_to(retired, person);
        }
        self.note_ties(retired);
        self.note_ties(survivor);
    }

    /// A record follows nobody any more; it stays with the person that it has, and those that follow it go with it.
    pub fn unmerge(&mut self, record: Pseudonym) {
        let slot = self.slot_of(record);
        self.note_ties(slot);
        self.ties.untie(slot);
    }

    /// What a record follows has changed, or is about to: so it has for those that follow it.
    fn note_ties(&mut self, slot: u32) {
        for slot in self.ties.with_followers(slot) {
            self.note_person(self.person_at(slot));
        }
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
        self.members(person).filter_map(|slot| self.record_at(slot))
    }

    /// All linked records of every person that shares a key with these features, in no stated order; itself included.
    #[must_use]
    pub fn candidates(&self, features: &Features) -> Vec<Candidate<'_>> {
        self.candidates_by(all_keys(features).as_slice())
    }

    pub(crate) fn candidates_by(&self, keys: &[u64]) -> Vec<Candidate<'_>> {
        let mut found: Vec<u32> = self.lists(keys, |_| 0).flatten().collect();
        found.sort_unstable();
        found.dedup();
        self.of_persons(&self.persons_of(&found))
    }

    /// The records under each key that is not skipped, where so many `more` are about to get it besides those that have it.
    pub(crate) fn lists(&self, keys: &[u64], more: impl Fn(Records<'_>) -> usize) -> impl Iterator<Item = Records<'_>> {
        let list = move |key: &u64| {
            let records = self.postings.get(*key);
            (records.len() + more(records) <= most_records(*key)).then_some(records)
        };
        keys.iter().filter_map(list)
    }

    /// Each person of these records once, with one of them.
    pub(crate) fn persons_of(&self, slots: &[u32]) -> Vec<(PersonId, u32)> {
        let mut persons: Vec<(PersonId, u32)> =
            slots.iter().filter_map(|slot| Some((self.person_at(*slot)?, *slot))).collect();
        persons.sort_unstable();
        persons.dedup_by_key(|(person, _)| *person);
        persons
    }

    /// All records of persons.
    pub(crate) fn of_persons(&self, persons: &[(PersonId, u32)]) -> Vec<Candidate<'_>> {
        persons.iter().flat_map(|(_, slot)| self.ring(*slot)).filter_map(|slot| self.candidate(slot)).collect()
    }

    /// Whether two records share a key that is not skipped: whether one would have been compared with the other.
    #[must_use]
    pub fn meet(&self, one: Pseudonym, other: Pseudonym) -> bool {
        let (Some(one), Some(other)) = (self.features(one), self.features(other)) else { return false };
        let (one, other) = (all_keys(one), all_keys(other));
        let is_shared = |key: &&u64| other.as_slice().contains(key);
        one.as_slice().iter().filter(is_shared).any(|key| self.postings.get(*key).len() <= most_records(*key))
    }

    /// Makes a decision true: links the record, and moves the records of every person that it joins to another.
    pub fn apply(&mut self, record: Pseudonym, decision: &Decision) {
        self.link(record, decision.person);
        for join in &decision.joins {
            self.join(join.person, decision.person);
        }
    }

    /// Moves all records of a person to another.
    pub fn join(&mut self, from: PersonId, into: PersonId) {
        for slot in self.members(from).collect::<Vec<_>>() {
            self.move_to(slot, Some(into));
        }
    }

    /// Keys in all, and those that too many records share, which therefore find nobody.
    #[must_use]
    pub fn keys(&self) -> (usize, usize) {
        self.postings.count(most_records)
    }

    fn candidate(&self, slot: u32) -> Option<Candidate<'_>> {
        let held = self.slots.get(slot as usize)?;
        Some(Candidate { follows: self.head_of(slot), ..Candidate::new(held.record, held.person?, &held.features) })
    }

    fn record_at(&self, slot: u32) -> Option<Pseudonym> {
        self.slots.get(slot as usize).map(|slot| slot.record)
    }

    pub(crate) fn person_at(&self, slot: u32) -> Option<PersonId> {
        self.slots.get(slot as usize).and_then(|slot| slot.person)
    }

    /// The slot of a record, made where it is new.
    pub(crate) fn slot_of(&mut self, record: Pseudonym) -> u32 {
        let next = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let slot = *self.by_record.entry(record).or_insert(next);
        if slot == next {
            self.slots.push(Slot { record, features: Features::default(), person: None, next: slot });
        }
        slot
    }

    fn head_of(&self, slot: u32) -> Option<Pseudonym> {
        self.ties.head(slot).and_then(|head| self.record_at(head))
    }

    /// Moves a record and all that follow it.
    fn move_to(&mut self, slot: u32, person: Option<PersonId>) {
        for slot in self.ties.with_followers(slot) {
            let Some(held) = self.slots.get_mut(slot as usize) else { continue };
            let old = std::mem::replace(&mut held.person, person);
            if old != person {
                self.note_person(old);
                self.leave(old, slot);
                self.note_person(person);
                self.enter(person, slot);
            }
        }
    }

    /// The records of a person.
    fn members(&self, person: PersonId) -> impl Iterator<Item = u32> {
        self.persons.get(&person).into_iter().flat_map(|slot| self.ring(*slot))
    }

    /// A record, and the others of its person.
    fn ring(&self, first: u32) -> impl Iterator<Item = u32> {
        let after = move |slot: &u32| self.next(*slot).filter(|next| *next != first);
        std::iter::successors(Some(first), after)
    }

    fn next(&self, slot: u32) -> Option<u32> {
        self.slots.get(slot as usize).map(|held| held.next)
    }

    fn set_next(&mut self, slot: u32, next: u32) {
        if let Some(held) = self.slots.get_mut(slot as usize) {
            held.next = next;
        }
    }

    fn enter(&mut self, person: Option<PersonId>, slot: u32) {
        let Some(person) = person else { return };
        let known = *self.persons.entry(person).or_insert(slot);
        if known != slot
            && let Some(next) = self.next(known)
        {
            self.set_next(slot, next);
            self.set_next(known, slot);
        }
    }

    fn leave(&mut self, person: Option<PersonId>, slot: u32) {
        let (Some(person), Some(next)) = (person, self.next(slot)) else { return };
        if next == slot {
            self.persons.remove(&person);
            return;
        }
        if let Some(before) = self.ring(slot).last() {
            self.set_next(before, next);
        }
        self.set_next(slot, slot);
        self.persons.insert(person, next);
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("records", &self.len()).field("persons", &self.persons()).finish()
    }
}
