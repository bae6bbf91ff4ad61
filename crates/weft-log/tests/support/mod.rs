//! What the tests of this crate share.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{path::Path, sync::Arc};

use aws_lc_rs::digest;
use std::sync::atomic::{AtomicU64, Ordering};
use weft_log::Vault;
use weft_model::Random;

/// The same bytes in every run: the digests of a seed and a counter.
pub(crate) struct Seeded(u64, AtomicU64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed, AtomicU64::new(0))
    }
}

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let count = self.1.fetch_add(1, Ordering::Relaxed);
            let hash = digest::digest(&digest::SHA256, &[self.0.to_be_bytes(), count.to_be_bytes()].concat());
            chunk.copy_from_slice(&hash.as_ref()[..chunk.len()]);
        }
    }
}

/// A vault in `dir`, made where there is none.
pub(crate) fn vault(dir: &Path) -> Arc<Vault> {
    if !dir.join("keys").exists() {
        Vault::create(dir, &Seeded::new(1)).unwrap();
    }
    // Another seed each time: nonces must not repeat under one key.
    static OPENED: AtomicU64 = AtomicU64::new(2);
    Arc::new(Vault::open(dir, Arc::new(Seeded::new(OPENED.fetch_add(1, Ordering::Relaxed)))).unwrap())
}

/// A clock that tells a second more each time that it is asked.
pub(crate) struct Seconds(AtomicU64);

impl Seconds {
    pub(crate) const START_US: i64 = 1_714_555_800_000_000;

    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl weft_model::Clock for Seconds {
    fn now_us(&self) -> i64 {
        Self::START_US + 1_000_000 * self.0.fetch_add(1, Ordering::Relaxed) as i64
    }
}

/// The key of every notary of these tests.
pub(crate) fn notary_key() -> weft_log::SigningKey {
    weft_log::SigningKey::generate("example.nhs.uk/test", &Seeded::new(4)).unwrap()
}

/// A notary whose files lie in `dir`.
pub(crate) fn notary(log: &weft_log::SharedLog, dir: &Path) -> weft_log::Notary {
    weft_log::Notary {
        log: Arc::clone(log),
        key: notary_key(),
        clock: Arc::new(Seconds::new()),
        nodes: dir.join("merkle"),
        remembered: weft_log::Remembered::new(dir.join("checkpoint")),
    }
}
