//! The key vault: a directory apart from the log. Whoever holds both can read events; destroying a key shreds every event
//! that was sealed with it, in every copy of the log.
//!
//! ```text
//!  node.key   64 hexadecimal digits, readable by the owner only: wraps every key below
//!  keys       slots of 64 bytes: nonce 12 | wrapped key 32 + tag 16 | check 4
//!             slot 0   seals events that are about no source record
//!             slot 1   makes pseudonyms and event ids
//!             slot 2.. one per source record, made in blocks of 1,024 ahead of use: one fsync a block
//! ```
//!
//! A slot of zeros is a destroyed key. Which source record has which slot is known to the log, not to the vault. Random
//! nonces bear 2^32 events under one key.

use std::{
    fmt,
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    digest,
};
use weft_model::Random;

use crate::generations::Generations;

const SLOT_BYTES: usize = 64;
const NONCE_BYTES: usize = 12;
const WRAPPED_BYTES: usize = 48;
const BLOCK_SLOTS: u64 = 1024;
/// Unwrapped keys held in memory: 32 bytes each, twice as many at most.
const CACHE_KEYS: usize = 32 * 1024;

/// Slot of the key for events that are about no source record.
pub(crate) const GENERAL_SLOT: u64 = 0;
const NAMES_SLOT: u64 = 1;
/// The first slot that a source record may have.
pub(crate) const FIRST_RECORD_SLOT: u64 = 2;

/// An open key vault.
pub struct Vault {
    dir: PathBuf,
    wrap: LessSafeKey,
    random: Arc<dyn Random>,
    keys: File,
    /// Slots that are known to be durable.
    slots: AtomicU64,
    refilling: Mutex<()>,
    cache: Mutex<Generations<u64, [u8; 32]>>,
    names: [u8; 32],
}

/// Why the vault does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Creating would overwrite keys.
    #[error("{} exists: a vault is never overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file of the vault is not there.
    #[error("{} is missing: restore the vault from its backup", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others can read the node key.
    #[error("{} is readable by others (mode {mode:03o}): chmod 600 it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The node key file does not hold a key.
    #[error("{} is not 64 hexadecimal digits: restore it from its backup", path.display())]
    NodeKey {
        /// The file.
        path: PathBuf,
    },
    /// The keys were wrapped by another node key.
    #[error("node key does not open the keys in {}: restore the one that belongs to them", dir.display())]
    WrongNodeKey {
        /// The vault's directory.
        dir: PathBuf,
    },
    /// The bytes of a slot are not those that were written.
    #[error("key slot {slot} is damaged: restore the vault from its backup")]
    Damaged {
        /// Its number.
        slot: u64,
    },
    /// The vault is older than the log that asks.
    #[error("key slot {slot} is not in the vault: it is older than the log")]
    Absent {
        /// Its number.
        slot: u64,
    },
    /// The key was destroyed, on purpose.
    #[error("key in slot {slot} was destroyed")]
    Shredded {
        /// Its number.
        slot: u64,
    },
    /// The first two keys belong to the whole log.
    #[error("key slot {slot} belongs to the whole log and is never destroyed")]
    NotShreddable {
        /// Its number.
        slot: u64,
    },
    /// The files cannot be used now.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Vault {
    /// Makes a new vault in `dir`, which is created where it is missing.
    ///
    /// # Errors
    /// [`VaultError::Exists`] where there is one already, [`VaultError::Io`].
    pub fn create(dir: &Path, random: &dyn Random) -> Result<(), VaultError> {
        fs::create_dir_all(dir).map_err(io_at(dir))?;
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(io_at(dir))?;
        let mut node = [0; 32];
        random.fill(&mut node);
        let digits: String = node.iter().map(|byte| format!("{byte:02x}")).collect();
        write_new(&node_path(dir), format!("{digits}\n").as_bytes())?;
        let block = make_slots(&wrapping_key(&node, dir)?, random, 0, BLOCK_SLOTS, dir)?;
        write_new(&keys_path(dir), &block)?;
        File::open(dir).and_then(|d| d.sync_all()).map_err(io_at(dir))
    }

    /// Opens the vault in `dir`.
    ///
    /// # Errors
    /// [`VaultError`], each saying what to do.
    pub fn open(dir: &Path, random: Arc<dyn Random>) -> Result<Self, VaultError> {
        let wrap = wrapping_key(&read_node_key(&node_path(dir))?, dir)?;
        let path = keys_path(dir);
        let keys = File::open(&path).map_err(missing_or_io(&path))?;
        let slots = AtomicU64::new(0);
        let cache = Mutex::new(Generations::new(CACHE_KEYS));
        let refilling = Mutex::new(());
        let mut vault = Self { dir: dir.to_owned(), wrap, random, keys, slots, refilling, cache, names: [0; 32] };
        vault.unwrap_slot(GENERAL_SLOT)?;
        vault.names = vault.unwrap_slot(NAMES_SLOT)?;
        Ok(vault)
    }

    /// Destroys the key in `slot`: what it sealed can never be opened again. Durable when it returns.
    ///
    /// # Errors
    /// [`VaultError::NotShreddable`] for the two keys of the whole log, [`VaultError::Absent`], [`VaultError::Io`].
    pub fn shred(&self, slot: u64) -> Result<(), VaultError> {
        if slot < FIRST_RECORD_SLOT {
            return Err(VaultError::NotShreddable { slot });
        }
        if slot >= self.slots()? {
            return Err(VaultError::Absent { slot });
        }
        let path = keys_path(&self.dir);
        let file = File::options().write(true).open(&path).map_err(missing_or_io(&path))?;
        file.write_all_at(&[0; SLOT_BYTES], slot * SLOT_BYTES as u64).map_err(io_at(&path))?;
        file.sync_all().map_err(io_at(&path))?;
        lock(&self.cache).remove(&slot);
        Ok(())
    }

    /// The key in `slot`, ready to seal and open. A cache miss reads 64 bytes of a file.
    pub(crate) fn key(&self, slot: u64) -> Result<LessSafeKey, VaultError> {
        let cached = lock(&self.cache).get(&slot);
        let key = match cached {
            Some(key) => key,
            None => {
                let key = self.unwrap_slot(slot)?;
                lock(&self.cache).insert(slot, key);
                key
            }
        };
        UnboundKey::new(&AES_256_GCM, &key).map(LessSafeKey::new).map_err(|_| VaultError::Damaged { slot })
    }

    /// The key of pseudonyms and event ids.
    pub(crate) fn names_key(&self) -> &[u8; 32] {
        &self.names
    }

    pub(crate) fn random(&self) -> &dyn Random {
        &*self.random
    }

    /// Number of slots made so far.
    pub(crate) fn slots(&self) -> Result<u64, VaultError> {
        let path = keys_path(&self.dir);
        let bytes = self.keys.metadata().map_err(io_at(&path))?.len();
        let slots = bytes / SLOT_BYTES as u64;
        self.slots.store(slots, Ordering::Release);
        Ok(slots)
    }

    /// True where fewer than half a block of slots is left from `next` on.
    pub(crate) fn runs_low(&self, next: u64) -> bool {
        next + BLOCK_SLOTS / 2 > self.slots.load(Ordering::Acquire)
    }

    /// Makes keys until there are a block's worth from `next` on. Blocks on the disk.
    pub(crate) fn refill(&self, next: u64) -> Result<(), VaultError> {
        let _one_at_a_time = lock(&self.refilling);
        let path = keys_path(&self.dir);
        let mut slots = self.slots()?;
        while slots < next + BLOCK_SLOTS {
            let block = make_slots(&self.wrap, self.random(), slots, BLOCK_SLOTS, &self.dir)?;
            let file = File::options().write(true).open(&path).map_err(missing_or_io(&path))?;
            file.write_all_at(&block, slots * SLOT_BYTES as u64).map_err(io_at(&path))?;
            file.sync_all().map_err(io_at(&path))?;
            slots = self.slots()?;
        }
        Ok(())
    }

    fn unwrap_slot(&self, slot: u64) -> Result<[u8; 32], VaultError> {
        if slot >= self.slots.load(Ordering::Acquire) && slot >= self.slots()? {
            return Err(VaultError::Absent { slot });
        }
        let mut bytes = [0; SLOT_BYTES];
        let path = keys_path(&self.dir);
        self.keys.read_exact_at(&mut bytes, slot * SLOT_BYTES as u64).map_err(io_at(&path))?;
        if bytes == [0; SLOT_BYTES] {
            return Err(VaultError::Shredded { slot });
        }
        let (kept, stored_check) = bytes.split_at_mut(NONCE_BYTES + WRAPPED_BYTES);
        if check(kept) != *stored_check {
            return Err(VaultError::Damaged { slot });
        }
        let (nonce, wrapped) = kept.split_at_mut(NONCE_BYTES);
        let wrong = || VaultError::WrongNodeKey { dir: self.dir.clone() };
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
        let key = self.wrap.open_in_place(nonce, Aad::from(slot.to_be_bytes()), wrapped).map_err(|_| wrong())?;
        <[u8; 32]>::try_from(&*key).map_err(|_| VaultError::Damaged { slot })
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// `count` new slots from number `first` on.
fn make_slots(
    wrap: &LessSafeKey,
    random: &dyn Random,
    first: u64,
    count: u64,
    dir: &Path,
) -> Result<Vec<u8>, VaultError> {
    let mut bytes = Vec::with_capacity(SLOT_BYTES * BLOCK_SLOTS as usize);
    for slot in first..first + count {
        let (mut nonce, mut key) = ([0; NONCE_BYTES], vec![0; 32]);
        random.fill(&mut nonce);
        random.fill(&mut key);
        wrap.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(slot.to_be_bytes()), &mut key)
            .map_err(|_| VaultError::WrongNodeKey { dir: dir.to_owned() })?;
        let kept = [&nonce[..], &key].concat();
        bytes.extend_from_slice(&kept);
        bytes.extend_from_slice(&check(&kept));
    }
    Ok(bytes)
}

/// Tells damage from a wrong node key: the first four bytes of the SHA-256 of what the slot keeps.
fn check(kept: &[u8]) -> [u8; 4] {
    let mut check = [0; 4];
    for (to, from) in check.iter_mut().zip(digest::digest(&digest::SHA256, kept).as_ref()) {
        *to = *from;
    }
    check
}

fn wrapping_key(node: &[u8; 32], dir: &Path) -> Result<LessSafeKey, VaultError> {
    let key = UnboundKey::new(&AES_256_GCM, node).map_err(|_| VaultError::NodeKey { path: node_path(dir) })?;
    Ok(LessSafeKey::new(key))
}

fn read_node_key(path: &Path) -> Result<[u8; 32], VaultError> {
    let mode = fs::metadata(path).map_err(missing_or_io(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(VaultError::Exposed { path: path.to_owned(), mode });
    }
    let text = fs::read_to_string(path).map_err(missing_or_io(path))?;
    let digits = text.trim().as_bytes();
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
        let digits = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2);
        *byte = digits
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            .ok_or_else(|| VaultError::NodeKey { path: path.to_owned() })?;
    }
    if digits.len() == 64 { Ok(key) } else { Err(VaultError::NodeKey { path: path.to_owned() }) }
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), VaultError> {
    let opened = File::options().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match opened {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            return Err(VaultError::Exists { path: path.to_owned() });
        }
        opened => opened.map_err(io_at(path))?,
    };
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_at(path))
}

fn node_path(dir: &Path) -> PathBuf {
    dir.join("node.key")
}

fn keys_path(dir: &Path) -> PathBuf {
    dir.join("keys")
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> VaultError + '_ {
    |source| VaultError::Io { path: path.to_owned(), source }
}

fn missing_or_io(path: &Path) -> impl Fn(io::Error) -> VaultError + '_ {
    |source| match source.kind() {
        io::ErrorKind::NotFound => VaultError::Missing { path: path.to_owned() },
        _ => VaultError::Io { path: path.to_owned(), source },
    }
}

/// What a panicking thread left behind under these locks is whole: they are never held across a failure.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
