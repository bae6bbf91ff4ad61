//! Records that wait for their turn, and what can be worked out about them before it.
//!
//! Each decision depends on those before it, so they are made one after the other. Yet few depend on the hundred before them: most
//! are about other people. So where many records wait, each is decided on ahead, as if its turn were now: on any number of
//! threads, and of a few at once, so that the memory that it takes can be asked for of all of them together. In an index of
//! millions most of the time of a decision is waiting for memory, a hundred times a record.
//!
//! ```text
//! a few at once, on any number of threads; nothing changes     each in its turn
//! Features ─Waiting::new─► Waiting ─Index::look_ahead────────► Index::hear ─► Index::apply
//! ```
//!
//! In its turn the record is decided on again unless all that the decision was made of is as it was: the number that its NHS
//! number counts as, the records that have its keys, the persons of these and what they say, its own person, and what the number
//! of records and the homes say of coincidence ([`Recent`](crate::recent) keeps what has changed). So the decision is, byte for
//! byte, the one that is made without looking ahead. Whether to look ahead, and on which threads, is the caller's: nothing here
//! starts any.

use std::hint::black_box;

use weft_model::{NhsNumber, PersonId, Pseudonym};

use crate::{
    Decision, Features, Index, Model, Setting, decide,
    keys::{Keys, all_keys},
    postings::Records,
    recent,
};

/// Records that are best looked ahead at together: enough to keep the memory busy, and few enough that the processor's caches
/// hold what they brought until it is needed.
pub const TOGETHER: usize = 16;

/// A record, read, with the keys by which others find it, and what looking ahead has found.
pub struct Waiting {
    record: Pseudonym,
    /// What it says, with the number that its NHS number counted as when it was last looked at; taken out in its turn.
    features: Features,
    /// The NHS number as it is stated: what that counts as may change.
    stated: Option<NhsNumber>,
    keys: Keys,
    foreseen: Option<Foreseen>,
}

/// A decision made ahead, and what else it was made of than keys.
struct Foreseen {
    decision: Decision,
    /// Of the index, when it was made.
    moment: u64,
    setting: Setting,
    /// The person that the record was of.
    current: Option<PersonId>,
    /// Those whose records were compared.
    persons: Vec<(PersonId, u32)>,
}

impl Waiting {
    /// Reads what the record is known to say.
    #[must_use]
    pub fn new(record: Pseudonym, features: Features) -> Self {
        let (stated, keys) = (features.nhs_number(), all_keys(&features));
        Self { record, features, stated, keys, foreseen: None }
    }

    /// Which record it is.
    #[must_use]
    pub fn record(&self) -> Pseudonym {
        self.record
    }

    pub(crate) fn keys(&self) -> &[u64] {
        self.keys.as_slice()
    }

    /// The decision that was made ahead, where it holds in the record's turn.
    pub(crate) fn take_decision(&mut self) -> Option<Decision> {
        self.foreseen.take().map(|foreseen| foreseen.decision)
    }

    /// Gives the record the number that its NHS number counts as now. Where that is another than before, nothing holds that was
    /// worked out.
    fn count_as(&mut self, index: &Index) {
        let number = self.stated.map(|number| index.counts_as(number));
        if number != self.features.nhs_number() {
            self.features.set_number(number);
            self.keys = all_keys(&self.features);
            self.foreseen = None;
        }
    }
}

impl Index {
    /// Decides on some records before the turn of each, as `model` is to decide then. Best for [`TOGETHER`] records at a time.
    pub fn look_ahead<'a>(&self, waiting: impl IntoIterator<Item = &'a mut Waiting>, model: &Model) {
        let mut waiting: Vec<&mut Waiting> = waiting.into_iter().collect();
        waiting.iter_mut().for_each(|waiting| waiting.count_as(self));
        let found = self.find(&waiting);
        for (waiting, found) in waiting.into_iter().zip(found) {
            waiting.foreseen = self.foresee(waiting, &found, model);
        }
    }

    /// Reads the memory that the turns of some records will write, so that none of them waits for it alone: another thread may
    /// have looked ahead, and its processor's caches are not this one's. Best for [`TOGETHER`] records at a time.
    pub fn ready<'a>(&self, waiting: impl IntoIterator<Item = &'a Waiting> + Clone) {
        let keys = || waiting.clone().into_iter().flat_map(Waiting::keys);
        black_box(keys().fold(0, |all, key| all ^ self.postings.touch_head(*key)));
        for Waiting { record, .. } in waiting.clone() {
            black_box(self.by_record.get(record));
            black_box(self.persons.get(&PersonId::started_by(*record)));
        }
        black_box(keys().fold(0, |all, key| all ^ self.postings.touch_list(*key)));
    }

    /// The turn of a record has come: remembers what it says, and decides which person it belongs to; to
    /// [`apply`](Self::apply) that is the caller's. If it was looked ahead at, then with the same model.
    pub fn hear(&mut self, mut waiting: Waiting, model: &Model) -> Decision {
        self.put_waiting(&mut waiting);
        waiting.take_decision().unwrap_or_else(|| {
            let (record, nothing) = (waiting.record, Features::default());
            let features = self.features(record).unwrap_or(&nothing);
            let candidates = self.candidates_by(waiting.keys());
            decide(record, features, self.person_of(record), &candidates, self.setting(), model)
        })
    }

    /// [`put`](Self::put) for a record that has waited; leaves it the decision that was made ahead where that holds.
    pub(crate) fn put_waiting(&mut self, waiting: &mut Waiting) {
        waiting.count_as(self);
        let slot = self.slot_of(waiting.record);
        let foreseen = waiting.foreseen.take();
        if let Some(foreseen) = &foreseen {
            self.recent.turn(foreseen.moment);
        }
        let foreseen = foreseen.filter(|foreseen| self.holds(foreseen, waiting.keys(), slot));
        self.replace(slot, std::mem::take(&mut waiting.features), waiting.keys());
        waiting.foreseen = foreseen.filter(|foreseen| foreseen.setting.weighs_like(self.setting()));
    }

    /// Whether the same would be found and compared for a record, which is about to be put in this slot.
    fn holds(&self, foreseen: &Foreseen, keys: &[u64], slot: u32) -> bool {
        let persons = foreseen.persons.iter().map(|(person, _)| recent::digest(*person));
        foreseen.current == self.person_at(slot)
            && self.recent.are_as_they_were(foreseen.moment, keys.iter().copied().chain(persons))
    }

    /// Decides on a record as if it were put now; `found` are the records under its keys. Nothing where one of these is in the
    /// middle of its own turn and has no person yet.
    fn foresee(&self, waiting: &Waiting, found: &[u32], model: &Model) -> Option<Foreseen> {
        let own = self.by_record.get(&waiting.record).copied();
        if found.iter().any(|slot| own != Some(*slot) && self.person_at(*slot).is_none()) {
            return None;
        }
        let current = own.and_then(|own| self.person_at(own));
        let (persons, setting) = (self.persons_of(found), self.setting());
        let candidates = self.of_persons(&persons);
        let decision = decide(waiting.record, &waiting.features, current, &candidates, setting, model);
        Some(Foreseen { decision, moment: self.recent.moment(), setting, current, persons })
    }

    /// The records that each will find in its turn, ascending. What comparing and deciding will read is read on the way, in steps:
    /// each depends on what the one before has brought, while within a step nothing waits for anything else, so that the memory
    /// serves many readings at once.
    fn find(&self, waiting: &[&mut Waiting]) -> Vec<Vec<u32>> {
        self.ready(waiting.iter().map(|waiting| &**waiting));
        let found: Vec<Vec<u32>> = waiting.iter().map(|waiting| self.found_for(waiting)).collect();
        let held = || found.iter().flatten().filter_map(|slot| self.slots.get(*slot as usize));
        black_box(held().fold(0, |all, held| all ^ held.touch()));
        black_box(held().fold(0, |all, held| all ^ held.features.touch()));
        found
    }

    /// The records that one will find once it has its keys itself, ascending; itself among them.
    fn found_for(&self, waiting: &Waiting) -> Vec<u32> {
        let own = self.by_record.get(&waiting.record).copied();
        let is_new = |records: Records<'_>| own.is_none_or(|own| !records.contains(own));
        let mut lists = self.lists(waiting.keys(), |records| usize::from(is_new(records))).peekable();
        let mut found: Vec<u32> = own.filter(|_| lists.peek().is_some()).into_iter().collect();
        found.extend(lists.flatten());
        found.sort_unstable();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use weft_model::proto::event::{Demographics, Name, Precision, When};

    use super::*;
    use crate::Options;

    fn waiting(record: u8, family: &str, given: &str, day: i64) -> Waiting {
        let birth = When { start_us: day * 86_400_000_000, precision: Precision::Day.into(), ..When::default() };
        let said = Demographics {
            names: vec![Name { family: family.to_owned(), given: vec![given.to_owned()], ..Name::default() }],
            birth: Some(birth),
            ..Demographics::default()
        };
        Waiting::new(Pseudonym([record; 16]), Features::from_demographics(&said, &Options::default()))
    }

    /// Whether the decision that was made ahead is taken over in the record's turn.
    fn is_taken_over(index: &mut Index, mut waiting: Waiting) -> bool {
        index.put_waiting(&mut waiting);
        let (record, decision) = (waiting.record(), waiting.take_decision());
        index.link(record, decision.as_ref().map_or(PersonId::started_by(record), |decision| decision.person));
        decision.is_some()
    }

    #[test]
    fn a_decision_made_ahead_is_taken_over_unless_what_it_was_made_of_has_changed() {
        let (mut index, model) = (Index::new(), Model::shipped().unwrap());
        // So many that a few more weigh the same.
        for n in 100..170 {
            assert!(!is_taken_over(&mut index, waiting(n, "Okafor", "Ann", 40 * i64::from(n))), "not looked ahead at");
        }
        let mut later = [
            waiting(1, "Okafor", "Ann", 4000),
            waiting(2, "Novak", "Jan", 5000),
            // What the one before it has added is news for the one after it.
            waiting(3, "Novak", "Jan", 5000),
            waiting(4, "Silva", "Ana", 6000),
        ];
        index.look_ahead(later.iter_mut(), &model);
        let taken_over = later.map(|waiting| is_taken_over(&mut index, waiting));
        assert_eq!(taken_over, [true, true, false, true]);
    }
}
