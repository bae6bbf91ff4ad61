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
