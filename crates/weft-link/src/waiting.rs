//! Records that wait for their turn, and what can be worked out about them before it.
//!
//! Each decision depends on those before it, so they are made one after the other. Most of the work of one does not: reading
//! what a record says, finding its keys, and comparing it with what is known already. Where many records wait it is done of a
//! few at once, so that the memory that it reads can be asked for of all of them together: in an index of millions most of
//! the time of a decision is waiting for memory, a hundred times a record.
//!
//! ```text
//! a few at once, on any number of threads; nothing changes     each in its turn
//! Features ─Waiting::new─► Waiting ─Index::look_ahead────────► Index::hear ─► decide ─► apply
//! ```
//!
//! Nothing that was worked out ahead decides anything. Who the candidates are is asked when it is the record's turn; a
//! comparison is a function of what two records say, of the setting and of the model, and is taken over only where none of
//! these has changed. So the decision is, byte for byte, the one that is made without looking ahead. Whether to look ahead, and
//! on which threads, is the caller's: nothing here starts any.

use std::hint::black_box;

use weft_model::{NhsNumber, PersonId, Pseudonym};

use crate::{
    Features, Index, Model, Setting,
    compare::{Comparison, compare},
    keys::{Keys, all_keys},
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
    compared: Option<Compared>,
}

/// Comparisons of one record, made ahead of its turn.
pub(crate) struct Compared {
    /// Among whom they were made.
    setting: Setting,
    /// [`Index::changes`] when they were made.
    as_of: u32,
    /// By slot, ascending.
    with: Vec<(u32, Comparison)>,
}

impl Waiting {
    /// Reads what the record is known to say.
    #[must_use]
    pub fn new(record: Pseudonym, features: Features) -> Self {
        let (stated, keys) = (features.nhs_number(), all_keys(&features));
        Self { record, features, stated, keys, compared: None }
    }

    /// Which record it is.
    #[must_use]
    pub fn record(&self) -> Pseudonym {
        self.record
    }

    pub(crate) fn keys(&self) -> &[u64] {
        self.keys.as_slice()
    }

    /// The comparisons that were made, where they would come out the same among whom the record is decided on.
    pub(crate) fn compared(&self, setting: Setting) -> Option<&Compared> {
        self.compared.as_ref().filter(|compared| compared.setting.weighs_like(setting))
    }

    /// Takes out what the record says, with the number that its NHS number counts as now.
    pub(crate) fn take_features(&mut self, index: &Index) -> Features {
        self.count_as(index);
        std::mem::take(&mut self.features)
    }

    /// Gives the record the number that its NHS number counts as now. Where that is another than before, nothing holds that was
    /// worked out.
    fn count_as(&mut self, index: &Index) {
        let number = self.stated.map(|number| index.counts_as(number));
        if number != self.features.nhs_number() {
            self.features.set_number(number);
            self.keys = all_keys(&self.features);
            self.compared = None;
        }
    }
}

impl Compared {
    /// The comparison with what is in a slot since `changed`.
    pub(crate) fn with(&self, slot: u32, changed: u32) -> Option<&Comparison> {
        if changed > self.as_of || changed == u32::MAX {
            return None;
        }
        let at = self.with.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
        self.with.get(at).map(|(_, comparison)| comparison)
    }
}

impl Index {
    /// Works out what can be known of some records before the turn of each, which `model` is to decide on. Best for
    /// [`TOGETHER`] records at a time.
    pub fn look_ahead<'a>(&self, waiting: impl IntoIterator<Item = &'a mut Waiting>, model: &Model) {
        let mut waiting: Vec<&mut Waiting> = waiting.into_iter().collect();
        waiting.iter_mut().for_each(|waiting| waiting.count_as(self));
        self.touch(&waiting);
        let (setting, as_of) = (self.setting(), self.changes());
        for waiting in waiting {
            let others = self.candidates_by(waiting.keys(), None);
            let others = others.into_iter().filter(|other| other.record != waiting.record);
            let compare = |features| compare(&waiting.features, features, setting, model);
            let mut with: Vec<(u32, Comparison)> = others.map(|other| (other.slot, compare(other.features))).collect();
            with.sort_unstable_by_key(|(slot, _)| *slot);
            waiting.compared = Some(Compared { setting, as_of, with });
        }
    }

    /// Reads what comparing and deciding will read, in steps: each depends on what the one before has brought, while within a
    /// step nothing waits for anything else, so that the memory serves many readings at once.
    fn touch(&self, waiting: &[&mut Waiting]) {
        let keys = || waiting.iter().flat_map(|waiting| waiting.keys());
        black_box(keys().fold(0, |all, key| all ^ self.postings.touch_head(*key)));
        for Waiting { record, .. } in waiting {
            black_box(self.by_record.get(record));
            black_box(self.persons.get(&PersonId::started_by(*record)));
        }
        black_box(keys().fold(0, |all, key| all ^ self.postings.touch_list(*key)));
        let found = waiting.iter().flat_map(|waiting| self.found_by(waiting.keys()));
        let held: Vec<_> = found.filter_map(|slot| self.slots.get(slot as usize)).collect();
        black_box(held.iter().fold(0, |all, held| all ^ held.touch()));
        black_box(held.iter().fold(0, |all, held| all ^ held.features.touch()));
    }
}
