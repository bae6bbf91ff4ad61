//! The behaviour suite on every backend of this crate.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use tempfile::TempDir;
use weft_log::{EmbeddedLog, MemoryLog, OpenOptions, SharedLog, suite};

async fn memory() -> (SharedLog, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Arc::new(MemoryLog::new(support::vault(&dir.path().join("vault")))), dir)
}

async fn embedded() -> (SharedLog, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (open(&dir).await, dir)
}

/// A log that holds events already, closed and opened again: what is in memory must not matter.
async fn reopened() -> (SharedLog, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let log = open(&dir).await;
        let message = |n: u64| suite::message(&format!("before-{}", n % 3), &format!("{round}-{n}"), "content", n * 7);
        log.append((0..10).map(message).collect()).await.unwrap();
        log.append((0..10).map(|n| suite::named(&format!("before-{round}-{n}"), n)).collect()).await.unwrap();
        log.close().await;
    }
    (open(&dir).await, dir)
}

async fn open(dir: &TempDir) -> SharedLog {
    let vault = support::vault(&dir.path().join("vault"));
    Arc::new(EmbeddedLog::open(OpenOptions::new(dir.path().join("log"), vault)).await.unwrap())
}

weft_log::suite_tests!(memory);
weft_log::suite_tests!(embedded);
weft_log::suite_tests!(reopened);
