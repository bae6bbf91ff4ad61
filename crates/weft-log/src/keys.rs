//! Which source record has which key slot.
//!
//! A slot is given to a record in memory when its first event is sealed, and stored in the transaction of that event, or
//! of the record's next one where that failed. A record never gets two: see [`KeySlots::of`].

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use weft_model::Pseudonym;

use crate::{Vault, VaultError, error::Cause, generations::Generations, storage::Storage, vault::FIRST_RECORD_SLOT};

/// Records whose slot is remembered: about 40 bytes each, twice as many at most.
const CACHE_RECORDS: usize = 128 * 1024;

pub(crate) struct KeySlots {
    vault: Arc<Vault>,
    refilling: Arc<AtomicBool>,
    state: Mutex<State>,
}

struct State {
    known: Generations<Pseudonym, KeySlot>,
    next: u64,
}

/// What asking for a slot came to.
enum Settled {
    Slot(KeySlot),
    VaultEmpty { next: u64 },
    LookAgain,
}

/// The slot of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeySlot {
    pub(crate) slot: u64,
    /// False where the event's transaction must store it.
    pub(crate) stored: bool,
}

impl KeySlots {
    pub(crate) fn new(vault: Arc<Vault>, next: u64) -> Self {
        // What is not stored yet is known nowhere else.
        let known = Generations::new(CACHE_RECORDS, |known: &KeySlot| !known.stored);
        Self { vault, refilling: Arc::default(), state: Mutex::new(State { known, next: next.max(FIRST_RECORD_SLOT) }) }
    }

    /// The slot of `record`, a new one where it has none.
    pub(crate) async fn of<S: Storage>(&self, record: Pseudonym, storage: &S) -> Result<KeySlot, Cause> {
        loop {
            let rotations = match self.remembered(record) {
                Ok(key_slot) => return Ok(key_slot),
                Err(rotations) => rotations,
            };
            let found = storage.key_slot(record).await.map_err(Cause::new)?;
            match self.settle(record, found, rotations)? {
                Settled::Slot(key_slot) => {
                    self.refill_ahead(key_slot);
                    return Ok(key_slot);
                }
                Settled::VaultEmpty { next } => self.refill(next).await?,
                Settled::LookAgain => {}
            }
        }
    }

    /// The remembered slot, or how often slots were forgotten so far.
    fn remembered(&self, record: Pseudonym) -> Result<KeySlot, u64> {
        let mut state = self.lock();
        state.known.get(&record).ok_or(state.known.rotations())
    }

    /// Remembers what storage said, or gives the record the next slot.
    fn settle(&self, record: Pseudonym, found: Option<u64>, rotations: u64) -> Result<Settled, Cause> {
        let mut state = self.lock();
        if let Some(key_slot) = state.known.get(&record) {
            return Ok(Settled::Slot(key_slot));
        }
        if let Some(slot) = found {
            let key_slot = KeySlot { slot, stored: true };
            state.known.insert(record, key_slot);
            return Ok(Settled::Slot(key_slot));
        }
        // Another task may have given the record a slot, stored it, and seen it forgotten since storage was asked.
        if state.known.rotations() != rotations {
            return Ok(Settled::LookAgain);
        }
        let next = state.next;
        if self.vault.runs_low(next) && self.vault.slots().map_err(Cause::new)? <= next {
            return Ok(Settled::VaultEmpty { next });
        }
        state.next += 1;
        match self.vault.key(next) {
            Ok(_) => {}
            // A block torn by a power cut: nothing was ever sealed with its keys.
            Err(VaultError::Shredded { .. } | VaultError::Damaged { .. }) => return Ok(Settled::LookAgain),
            Err(error) => return Err(Cause::new(error)),
        }
        let key_slot = KeySlot { slot: next, stored: false };
        state.known.insert(record, key_slot);
        Ok(Settled::Slot(key_slot))
    }

    /// These are stored now.
    pub(crate) fn stored(&self, key_slots: &[(Pseudonym, u64)]) {
        let mut state = self.lock();
        for (record, slot) in key_slots {
            state.known.insert(*record, KeySlot { slot: *slot, stored: true });
        }
    }

    /// Makes keys before they are needed. One that fails is tried again when it is needed, and reported then.
    fn refill_ahead(&self, KeySlot { slot: next, stored }: KeySlot) {
        if !stored && self.vault.runs_low(next) && !self.refilling.swap(true, Ordering::AcqRel) {
            let (vault, refilling) = (Arc::clone(&self.vault), Arc::clone(&self.refilling));
            tokio::task::spawn_blocking(move || {
                if let Err(error) = vault.refill(next) {
                    tracing::warn!(error = &error as &dyn std::error::Error, "keys cannot be made ahead of use");
                }
                refilling.store(false, Ordering::Release);
            });
        }
    }

    async fn refill(&self, next: u64) -> Result<(), Cause> {
        let vault = Arc::clone(&self.vault);
        let refilled = tokio::task::spawn_blocking(move || vault.refill(next)).await;
        refilled.map_err(Cause::new)?.map_err(Cause::new)
    }

    /// What a panicking thread left behind is whole: nothing under this lock fails half way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
