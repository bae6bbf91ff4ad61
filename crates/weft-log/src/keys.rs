//! Which source record has which key slot.
//!
//! Only the writer gives slots, and only in the transaction of the record's first event; so no record ever has two.
//! Whoever seals looks into the memory here first. An event whose record is not remembered is sealed by the writer.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use weft_model::Pseudonym;

use crate::{Vault, VaultError, error::Cause, generations::Generations};

/// Records whose slot is remembered: about 40 bytes each, twice as many at most.
pub(crate) const CACHE_RECORDS: usize = 128 * 1024;

/// Slots that are stored, as far as they are remembered.
pub(crate) struct KeySlots(Mutex<Generations<Pseudonym, u64>>);

impl KeySlots {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Generations::new(CACHE_RECORDS)))
    }

    pub(crate) fn get(&self, record: Pseudonym) -> Option<u64> {
        self.lock().get(&record)
    }

    pub(crate) fn remember(&self, slots: impl IntoIterator<Item = (Pseudonym, u64)>) {
        let mut known = self.lock();
        for (record, slot) in slots {
            known.insert(record, slot);
        }
    }

    /// What a panicking thread left behind is whole: nothing under this lock fails half way.
    fn lock(&self) -> MutexGuard<'_, Generations<Pseudonym, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives slots to the records of one batch.
pub(crate) struct Allocator {
    vault: Arc<Vault>,
    refilling: Arc<AtomicBool>,
}

impl Allocator {
    pub(crate) fn new(vault: Arc<Vault>) -> Self {
        Self { vault, refilling: Arc::default() }
    }

    /// A slot for each of `records`, from `next` on; returns the first slot that is still free.
    pub(crate) async fn give(
        &self,
        records: Vec<Pseudonym>,
        next: u64,
    ) -> Result<(HashMap<Pseudonym, u64>, u64), Cause> {
        let mut given = HashMap::new();
        let mut slot = next;
        for record in records {
            if given.contains_key(&record) {
                continue;
            }
            loop {
                if self.vault.runs_low(slot) && self.vault.slots_made().map_err(Cause::new)? <= slot {
                    let vault = Arc::clone(&self.vault);
                    let refilled = tokio::task::spawn_blocking(move || vault.refill(slot)).await;
                    refilled.map_err(Cause::new)?.map_err(Cause::new)?;
                }
                let usable = self.vault.key(slot);
                slot += 1;
                match usable {
                    Ok(_) => break,
                    // A block torn by a power cut: nothing was ever sealed with its keys.
                    Err(VaultError::Shredded { .. } | VaultError::Damaged { .. }) => {}
                    Err(error) => return Err(Cause::new(error)),
                }
            }
            given.insert(record, slot - 1);
        }
        if slot != next {
            self.refill_ahead(slot);
        }
        Ok((given, slot))
    }

    /// Makes keys before they are needed. What fails here is tried again when it is needed, and reported then.
    fn refill_ahead(&self, next: u64) {
        if self.vault.runs_low(next) && !self.refilling.swap(true, Ordering::AcqRel) {
            let (vault, refilling) = (Arc::clone(&self.vault), Arc::clone(&self.refilling));
            tokio::task::spawn_blocking(move || {
                if let Err(error) = vault.refill(next) {
                    tracing::warn!(error = &error as &dyn std::error::Error, "keys cannot be made ahead of use");
                }
                refilling.store(false, Ordering::Release);
            });
        }
    }
}
