//! The slots of an embedded log: a file `keys` beside the node key.
//!
//! Slots are made in blocks of 1,024 ahead of use: one fsync a block. A slot of zeros is a destroyed key. Which source
//! record has which slot is known to the log, not to the vault.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_lc_rs::aead::LessSafeKey;
use weft_model::Random;

use super::{SLOT_BYTES, Slot, VaultError, io_at, lock, missing_or_io, wrap_new, write_new};

const BLOCK_SLOTS: u64 = 1024;

/// The file of slots.
pub(super) struct KeyFile {
    path: PathBuf,
    file: File,
    /// Slots that are known to be durable.
    slots: AtomicU64,
    refilling: Mutex<()>,
}

impl KeyFile {
    pub(super) fn create(dir: &Path, wrap: &LessSafeKey, random: &dyn Random) -> Result<(), VaultError> {
        write_new(&path(dir), &block(dir, wrap, random, 0)?)
    }

    pub(super) fn open(dir: &Path) -> Result<Self, VaultError> {
        let path = path(dir);
        let file = File::open(&path).map_err(missing_or_io(&path))?;
        Ok(Self { path, file, slots: AtomicU64::new(0), refilling: Mutex::new(()) })
    }

    pub(super) fn read(&self, slot: u64) -> Result<Slot, VaultError> {
        if slot >= self.slots.load(Ordering::Acquire) && slot >= self.slots()? {
            return Err(VaultError::Absent { slot });
        }
        let mut bytes = [0; SLOT_BYTES];
        self.file.read_exact_at(&mut bytes, slot * SLOT_BYTES as u64).map_err(io_at(&self.path))?;
        Ok(bytes)
    }

    pub(super) fn destroy(&self, slot: u64) -> Result<(), VaultError> {
        if slot >= self.slots()? {
            return Err(VaultError::Absent { slot });
        }
        self.write(&[0; SLOT_BYTES], slot)
    }

    /// Number of slots made so far.
    pub(super) fn slots(&self) -> Result<u64, VaultError> {
        let bytes = self.file.metadata().map_err(io_at(&self.path))?.len();
        let slots = bytes / SLOT_BYTES as u64;
        self.slots.store(slots, Ordering::Release);
        Ok(slots)
    }

    /// True where fewer than half a block of slots is left from `next` on.
    pub(super) fn runs_low(&self, next: u64) -> bool {
        next + BLOCK_SLOTS / 2 > self.slots.load(Ordering::Acquire)
    }

    /// Makes keys until there are a block's worth from `next` on.
    pub(super) fn refill(&self, next: u64, wrap: &LessSafeKey, random: &dyn Random) -> Result<(), VaultError> {
        let _one_at_a_time = lock(&self.refilling);
        let mut slots = self.slots()?;
        while slots < next + BLOCK_SLOTS {
            let dir = self.path.parent().unwrap_or(&self.path);
            self.write(&block(dir, wrap, random, slots)?, slots)?;
            slots = self.slots()?;
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8], first: u64) -> Result<(), VaultError> {
        let file = File::options().write(true).open(&self.path).map_err(missing_or_io(&self.path))?;
        file.write_all_at(bytes, first * SLOT_BYTES as u64).map_err(io_at(&self.path))?;
        file.sync_all().map_err(io_at(&self.path))
    }
}

/// A block of new slots from number `first` on.
fn block(dir: &Path, wrap: &LessSafeKey, random: &dyn Random, first: u64) -> Result<Vec<u8>, VaultError> {
    let mut bytes = Vec::with_capacity(SLOT_BYTES * BLOCK_SLOTS as usize);
    for slot in first..first + BLOCK_SLOTS {
        bytes.extend_from_slice(&wrap_new(wrap, random, slot, dir)?);
    }
    Ok(bytes)
}

fn path(dir: &Path) -> PathBuf {
    dir.join("keys")
}
