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

/// As many partitions as a log on Kafka may have.
async fn memory_of_eight() -> (SharedLog, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Arc::new(MemoryLog::with_feed_partitions(support::vault(&dir.path().join("vault")), 8)), dir)
}

async fn embedded() -> (SharedLog, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (open(&dir).await, dir)
}

/// A log that holds events already, closed and opened again: what is in memory must not matter.
async fn reopened() -> (SharedLog, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let log = open(&dir).await;
        fill(&log).await;
        log.close().await;
    }
    (open(&dir).await, dir)
}

#[cfg(feature = "kafka")]
async fn kafka() -> Option<(SharedLog, TempDir)> {
    let (options, dir) = support::kafka()?;
    Some((Arc::new(weft_log::KafkaLog::open(options).await.unwrap()), dir))
}

/// The same, and another node has written before and has the log open too.
#[cfg(feature = "kafka")]
async fn kafka_shared() -> Option<(SharedLog, (SharedLog, TempDir))> {
    let (options, dir) = support::kafka()?;
    let other: SharedLog = Arc::new(weft_log::KafkaLog::open(options.clone()).await.unwrap());
    fill(&other).await;
    Some((Arc::new(weft_log::KafkaLog::open(options).await.unwrap()), (other, dir)))
}

async fn fill(log: &SharedLog) {
    let round = log.statistics().await.unwrap().partitions[0].events;
    let message = |n: u64| suite::message(&format!("before-{}", n % 3), &format!("{round}-{n}"), "content", n * 7);
    log.append((0..10).map(message).collect()).await.unwrap();
    log.append((0..10).map(|n| suite::named(&format!("before-{round}-{n}"), n)).collect()).await.unwrap();
}

async fn open(dir: &TempDir) -> SharedLog {
    let vault = support::vault(&dir.path().join("vault"));
    Arc::new(EmbeddedLog::open(OpenOptions::new(dir.path().join("log"), vault)).await.unwrap())
}

weft_log::suite_tests!(memory);
weft_log::suite_tests!(memory_of_eight);
weft_log::suite_tests!(embedded);
weft_log::suite_tests!(reopened);
#[cfg(feature = "kafka")]
weft_log::suite_tests!(kafka);
#[cfg(feature = "kafka")]
weft_log::suite_tests!(kafka_shared);
