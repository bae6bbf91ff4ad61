//! The key vault, apart from the log. Whoever holds both can read events; destroying a key shreds every event that was
//! sealed with it, in every copy of the log.
//!
//! ```text
//!  node.key   64 hexadecimal digits, readable by the owner only: wraps every key below
//!  slots      of 64 bytes: nonce 12 | wrapped key 32 + tag 16 | check 4
//!             slot 0   seals events that are about no source record
//!             slot 1   makes pseudonyms and event ids
//!             slot 2.. one per source record
//! ```
//!
//! The slots of an embedded log lie in a file beside the node key ([`file`]); those of a log that many nodes share lie in a
//! table ([`table`]), and each node has a copy of the node key. Random nonces bear 2^32 events under one key.

mod file;
#[cfg(feature = "kafka")]
mod table;

use std::{
    error::Error,
    fmt,
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    digest,
};
use weft_model::{Random, hex};

#[cfg(feature = "kafka")]
use std::collections::HashMap;

use crate::{generations::Generations, keys::CACHE_RECORDS};
use file::KeyFile;
#[cfg(feature = "kafka")]
pub(crate) use table::KeyTable;

const SLOT_BYTES: usize = 64;
const NONCE_BYTES: usize = 12;
const WRAPPED_BYTES: usize = 48;
/// Unwrapped keys held in memory: about 50 bytes each, twice as many at most. As many as records whose slot is remembered: a
/// linker that is behind needs them once more than the connectors.
const CACHE_KEYS: usize = CACHE_RECORDS;

/// Slot of the key for events that are about no source record.
pub(crate) const GENERAL_SLOT: u64 = 0;
const NAMES_SLOT: u64 = 1;
/// The first slot that a source record may have.
pub(crate) const FIRST_RECORD_SLOT: u64 = 2;

/// A wrapped key as it is stored.
pub(crate) type Slot = [u8; SLOT_BYTES];

/// An open key vault.
pub struct Vault {
    /// Where the node key is.
    dir: PathBuf,
    wrap: LessSafeKey,
    random: Arc<dyn Random>,
    slots: Slots,
    cache: Mutex<Generations<u64, [u8; 32]>>,
    /// Why keys of a database could not be had when they were loaded.
    #[cfg(feature = "kafka")]
    unusable: Mutex<Generations<u64, Unusable>>,
    names: [u8; 32],
}

/// Why a key cannot be used.
#[cfg(feature = "kafka")]
#[derive(Debug, Clone, Copy)]
enum Unusable {
    Absent,
    Shredded,
    Damaged,
    WrongNodeKey,
}

/// Where the wrapped keys are.
enum Slots {
    File(KeyFile),
    #[cfg(feature = "kafka")]
    Table(KeyTable),
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
    /// The database that the keys are in cannot be used now.
    #[error("keys cannot be read or written in the database")]
    Database(#[source] Box<dyn Error + Send + Sync>),
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
        write_new(&node_path(dir), format!("{}\n", hex(&node)).as_bytes())?;
        KeyFile::create(dir, &wrapping_key(&node, dir)?, random)?;
        File::open(dir).and_then(|d| d.sync_all()).map_err(io_at(dir))
    }

    /// Opens the vault in `dir`.
    ///
    /// # Errors
    /// [`VaultError`], each saying what to do.
    pub fn open(dir: &Path, random: Arc<dyn Random>) -> Result<Self, VaultError> {
        let wrap = wrapping_key(&read_node_key(&node_path(dir))?, dir)?;
        let file = KeyFile::open(dir)?;
        let unwrapped = |slot| unwrap(&wrap, slot, file.read(slot)?, dir);
        let (general, names) = (unwrapped(GENERAL_SLOT)?, unwrapped(NAMES_SLOT)?);
        Ok(Self::new(dir, wrap, random, Slots::File(file), general, names))
    }

    /// Opens a vault whose slots lie in a database, with the node key in `dir`. Where there are no keys of the whole log they
    /// are made if `create` says so, however many nodes do so at once; else they are missed.
    #[cfg(feature = "kafka")]
    pub(crate) async fn open_shared(
        dir: &Path,
        table: KeyTable,
        random: Arc<dyn Random>,
        create: bool,
    ) -> Result<Self, VaultError> {
        let wrap = wrapping_key(&read_node_key(&node_path(dir))?, dir)?;
        let whole_log = [GENERAL_SLOT, NAMES_SLOT];
        for slot in whole_log.into_iter().filter(|_| create) {
            table.insert_new(slot, &wrap_new(&wrap, &*random, slot, dir)?).await?;
        }
        let stored: HashMap<u64, Slot> = table.read(&whole_log).await?.into_iter().collect();
        let key = |slot| unwrap(&wrap, slot, *stored.get(&slot).ok_or(VaultError::Absent { slot })?, dir);
        let (general, names) = (key(GENERAL_SLOT)?, key(NAMES_SLOT)?);
        Ok(Self::new(dir, wrap, random, Slots::Table(table), general, names))
    }

    fn new(
        dir: &Path,
        wrap: LessSafeKey,
        random: Arc<dyn Random>,
        slots: Slots,
        general: [u8; 32],
        names: [u8; 32],
    ) -> Self {
        let mut cache = Generations::new(CACHE_KEYS);
        cache.insert(GENERAL_SLOT, general);
        Self {
            dir: dir.to_owned(),
            wrap,
            random,
            slots,
            cache: Mutex::new(cache),
            #[cfg(feature = "kafka")]
            unusable: Mutex::new(Generations::new(CACHE_KEYS)),
            names,
        }
    }

    /// Destroys the key in `slot`: what it sealed can never be opened again. Durable when it returns. Another node that
    /// shares the keys and has used this one lately may hold it in memory until it needs the room.
    ///
    /// # Errors
    /// [`VaultError::NotShreddable`] for the two keys of the whole log, [`VaultError::Absent`], [`VaultError::Io`],
    /// [`VaultError::Database`].
    pub async fn shred(&self, slot: u64) -> Result<(), VaultError> {
        if slot < FIRST_RECORD_SLOT {
            return Err(VaultError::NotShreddable { slot });
        }
        match &self.slots {
            Slots::File(file) => file.destroy(slot)?,
            #[cfg(feature = "kafka")]
            Slots::Table(table) => table.destroy(slot).await?,
        }
        lock(&self.cache).remove(&slot);
        Ok(())
    }

    /// The key in `slot`, ready to seal and open. One that is not remembered is read from the file; one that lies in a
    /// database must have been loaded.
    pub(crate) fn key(&self, slot: u64) -> Result<LessSafeKey, VaultError> {
        let cached = lock(&self.cache).get(&slot);
        let key = match cached {
            Some(key) => key,
            None => {
                let wrapped = match &self.slots {
                    Slots::File(file) => file.read(slot)?,
                    #[cfg(feature = "kafka")]
                    Slots::Table(_) => return Err(self.not_loaded(slot)),
                };
                self.remember(slot, wrapped)?
            }
        };
        UnboundKey::new(&AES_256_GCM, &key).map(LessSafeKey::new).map_err(|_| VaultError::Damaged { slot })
    }

    /// Reads the keys of all these slots at once, so that each is remembered when it is asked for; why one cannot be had is
    /// told then.
    #[cfg(feature = "kafka")]
    pub(crate) async fn load(&self, slots: impl IntoIterator<Item = u64>) -> Result<(), VaultError> {
        let Slots::Table(table) = &self.slots else { return Ok(()) };
        let mut unknown: Vec<u64> = {
            let mut cache = lock(&self.cache);
            slots.into_iter().filter(|slot| cache.get(slot).is_none()).collect()
        };
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            let mut found: HashMap<u64, Slot> = table.read(&unknown).await?.into_iter().collect();
            for slot in unknown {
                let loaded = match found.remove(&slot) {
                    Some(wrapped) => self.remember(slot, wrapped),
                    None => Err(VaultError::Absent { slot }),
                };
                let mut unusable = lock(&self.unusable);
                match loaded {
                    Ok(_) => unusable.remove(&slot),
                    Err(VaultError::Shredded { .. }) => unusable.insert(slot, Unusable::Shredded),
                    Err(VaultError::Absent { .. }) => unusable.insert(slot, Unusable::Absent),
                    Err(VaultError::WrongNodeKey { .. }) => unusable.insert(slot, Unusable::WrongNodeKey),
                    Err(_) => unusable.insert(slot, Unusable::Damaged),
                }
            }
        }
        Ok(())
    }

    #[cfg(feature = "kafka")]
    fn not_loaded(&self, slot: u64) -> VaultError {
        match lock(&self.unusable).get(&slot) {
            Some(Unusable::Absent) => VaultError::Absent { slot },
            Some(Unusable::Shredded) => VaultError::Shredded { slot },
            Some(Unusable::Damaged) => VaultError::Damaged { slot },
            Some(Unusable::WrongNodeKey) => VaultError::WrongNodeKey { dir: self.dir.clone() },
            None => VaultError::Database("the key is not loaded".into()),
        }
    }

    /// A new key for `slot`, to be stored; only [`remember`](Self::remember) makes it known here.
    #[cfg(feature = "kafka")]
    pub(crate) fn make(&self, slot: u64) -> Result<Slot, VaultError> {
        wrap_new(&self.wrap, self.random(), slot, &self.dir)
    }

    /// The key of pseudonyms and event ids.
    pub(crate) fn names_key(&self) -> &[u8; 32] {
        &self.names
    }

    pub(crate) fn random(&self) -> &dyn Random {
        &*self.random
    }

    /// Number of slots that were made ahead of use; zero where they are made when they are needed.
    pub(crate) fn slots_made(&self) -> Result<u64, VaultError> {
        match &self.slots {
            Slots::File(file) => file.slots(),
            #[cfg(feature = "kafka")]
            Slots::Table(_) => Ok(0),
        }
    }

    /// True where few of the slots that were made ahead of use are left from `next` on.
    pub(crate) fn runs_low(&self, next: u64) -> bool {
        match &self.slots {
            Slots::File(file) => file.runs_low(next),
            #[cfg(feature = "kafka")]
            Slots::Table(_) => false,
        }
    }

    /// Makes keys ahead of use until there are enough from `next` on. Blocks on the disk.
    pub(crate) fn refill(&self, next: u64) -> Result<(), VaultError> {
        match &self.slots {
            Slots::File(file) => file.refill(next, &self.wrap, self.random()),
            #[cfg(feature = "kafka")]
            Slots::Table(_) => Ok(()),
        }
    }

    /// Unwraps what is stored in `slot`, and keeps it in memory.
    pub(crate) fn remember(&self, slot: u64, wrapped: Slot) -> Result<[u8; 32], VaultError> {
        let key = unwrap(&self.wrap, slot, wrapped, &self.dir)?;
        lock(&self.cache).insert(slot, key);
        Ok(key)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A new key, wrapped.
fn wrap_new(wrap: &LessSafeKey, random: &dyn Random, slot: u64, dir: &Path) -> Result<Slot, VaultError> {
    let (mut nonce, mut key) = ([0; NONCE_BYTES], vec![0; 32]);
    random.fill(&mut nonce);
    random.fill(&mut key);
    wrap.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(slot.to_be_bytes()), &mut key)
        .map_err(|_| VaultError::WrongNodeKey { dir: dir.to_owned() })?;
    let kept = [&nonce[..], &key].concat();
    let check = check(&kept);
    let bytes = [&kept[..], &check].concat();
    bytes.try_into().map_err(|_| VaultError::Damaged { slot })
}

fn unwrap(wrap: &LessSafeKey, slot: u64, mut bytes: Slot, dir: &Path) -> Result<[u8; 32], VaultError> {
    if bytes == [0; SLOT_BYTES] {
        return Err(VaultError::Shredded { slot });
    }
    let (kept, stored_check) = bytes.split_at_mut(NONCE_BYTES + WRAPPED_BYTES);
    if check(kept) != *stored_check {
        return Err(VaultError::Damaged { slot });
    }
    let (nonce, wrapped) = kept.split_at_mut(NONCE_BYTES);
    let wrong = || VaultError::WrongNodeKey { dir: dir.to_owned() };
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
    let key = wrap.open_in_place(nonce, Aad::from(slot.to_be_bytes()), wrapped).map_err(|_| wrong())?;
    <[u8; 32]>::try_from(&*key).map_err(|_| VaultError::Damaged { slot })
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
