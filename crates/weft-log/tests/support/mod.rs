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

/// A log of its own on the services that the environment names, and the folder with its node key. None, and a word on
/// stderr, where there are none; where services are required that is a failure.
#[cfg(feature = "kafka")]
#[allow(clippy::print_stderr, clippy::panic, reason = "a test says what it could not run")]
pub(crate) fn kafka() -> Option<(weft_log::KafkaOptions, tempfile::TempDir)> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(brokers), Some(postgres)) = (variable("WEFT_TEST_KAFKA"), variable("WEFT_TEST_POSTGRES")) else {
        eprintln!("NOT RUN: needs WEFT_TEST_KAFKA and WEFT_TEST_POSTGRES");
        assert!(variable("WEFT_REQUIRE_SERVICES").is_none_or(|value| value != "1"), "services are required");
        return None;
    };
    static LOGS: AtomicU64 = AtomicU64::new(0);
    let name = format!("weft_test_{}_{}", std::process::id(), LOGS.fetch_add(1, Ordering::Relaxed));
    let dir = tempfile::tempdir().unwrap();
    vault(&dir.path().join("vault"));
    let options = weft_log::KafkaOptions {
        brokers,
        prefix: name.clone(),
        feed_partitions: 4,
        replication: 1,
        min_insync_replicas: 1,
        properties: Default::default(),
        postgres,
        schema: name,
        keys: dir.path().join("vault"),
        random: Arc::new(Unlike),
        deliver_within: weft_log::KafkaOptions::DELIVER_WITHIN,
    };
    Some((options, dir))
}

/// Chance that differs from one log to the next, also where they share their options: nonces must not repeat.
pub(crate) struct Unlike;

impl Random for Unlike {
    #[allow(clippy::disallowed_methods, reason = "nodes that share keys must not make the same nonces")]
    fn fill(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).unwrap();
    }
}
