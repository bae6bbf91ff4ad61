//! Following a real log, and rebuilding from it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

mod common;

use std::{sync::Arc, time::Duration};

use common::*;
use tokio_util::sync::CancellationToken;
use weft_log::{Draft, MemoryLog, Same, SharedLog, Vault};
use weft_model::{Event, Payload, Random, Verdict};
use weft_readmodel::{ProjectError, ReadModel, Repeats, project, rebuild};

/// Enough for tests: every call another sequence.
struct Counter(std::sync::atomic::AtomicU64);

impl Random for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let next = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, std::sync::atomic::Ordering::Relaxed);
            chunk.copy_from_slice(&next.wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes()[..chunk.len()]);
        }
    }
}

struct World {
    dir: tempfile::TempDir,
    log: SharedLog,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let random: Arc<dyn Random> = Arc::new(Counter(1.into()));
    let keys = dir.path().join("keys");
    Vault::create(&keys, random.as_ref()).unwrap();
    let vault = Arc::new(Vault::open(&keys, random).unwrap());
    World { dir, log: Arc::new(MemoryLog::new(vault)) }
}

impl World {
    /// Appends events, with the pseudonyms of the log's own key.
    async fn append(&self, events: Vec<Event>) {
        let real = |id: &Option<weft_model::SourceRecordId>| self.log.pseudonym(id.as_ref().unwrap()).to_vec();
        for (n, mut event) in events.into_iter().enumerate() {
            if let Payload::RecordsMerged(merged) = &mut event.payload {
                merged.retired_pseudonym = real(&merged.retired);
                merged.survivor_pseudonym = real(&merged.survivor);
            }
            let same = match event.payload {
                Payload::MessageReceived(_) => Same::Message,
                _ => Same::Name(n.to_be_bytes().to_vec()),
            };
            let draft = Draft {
                same,
                verdict: event.header.verdict(),
                feed: event.header.feed,
                control_id: event.header.control_id,
                message_type: event.header.message_type,
                received_us: event.header.received_us,
                cause: None,
                payload: event.payload,
            };
            self.log.append(vec![draft]).await.unwrap();
        }
    }

    async fn model(&self, name: &str) -> Arc<ReadModel> {
        Arc::new(ReadModel::open(&self.dir.path().join(name)).await.unwrap())
    }
}

fn events(messages: i64) -> Vec<Event> {
    let mut events = vec![register("feed-1", "profile"), link(1, 1), link(2, 2), merge(2, 1), switch("feed-1", true)];
    for n in 0..messages {
        let record = u8::try_from(1 + n % 5).unwrap();
        let facts = vec![fact(&format!("{}", n / 7), &format!("{n}"), n, n), movement("V", "m", "arrived", "6B", n)];
        let mut event = message_of(record, n, &format!("Family{}", n / 11), facts);
        if n % 10 == 3 {
            event = with_verdict(event, Verdict::Quarantined);
        }
        events.push(event);
    }
    events
}

/// Waits until `model` holds everything that the log holds.
async fn caught_up(log: &SharedLog, model: &ReadModel) {
    let mut changes = model.changes();
    let all = async {
        for partition in [FEED, IDENTITY, CONTROL] {
            while model.known_at().size(partition) < log.size(partition).await.unwrap() {
                changes.changed().await.unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_restarted_and_rebuilt_hold_the_same() {
    let world = world();
    world.append(events(60)).await;
    let model = world.model("live.db").await;
    let shutdown = CancellationToken::new();
    let role = tokio::spawn(project(world.log.clone(), model.clone(), Repeats::Never, shutdown.clone()));
    caught_up(&world.log, &model).await;
    let early = model.known_at();
    world.append(events(150).split_off(65)).await;
    caught_up(&world.log, &model).await;
    shutdown.cancel();
    role.await.unwrap().unwrap();

    // The role starts again where it ended.
    world.append(events(200).split_off(155)).await;
    let shutdown = CancellationToken::new();
    let role = tokio::spawn(project(world.log.clone(), model.clone(), Repeats::Never, shutdown.clone()));
    caught_up(&world.log, &model).await;
    shutdown.cancel();
    role.await.unwrap().unwrap();

    let path = world.dir.path().join("rebuilt.db");
    let report = rebuild(world.log.clone(), &path, None).await.unwrap();
    assert_eq!(report.events, 205);
    assert_eq!(report.known_at, model.known_at());
    let rebuilt = world.model("rebuilt.db").await;
    assert_eq!(model.digest(None).await.unwrap(), rebuilt.digest(None).await.unwrap());

    // As of an earlier cut, what the newer file says of it is what a file that knows no more says.
    let path = world.dir.path().join("early.db");
    assert_eq!(rebuild(world.log.clone(), &path, Some(&early)).await.unwrap().known_at, early);
    let then = world.model("early.db").await;
    assert_eq!(model.differences(&then, &early).await.unwrap(), []);
    assert!(then.digest(None).await.unwrap().iter().all(|table| table.rows > 0 || table.table.starts_with("parked")));
    let again = rebuild(world.log.clone(), &path, None).await;
    assert!(matches!(again, Err(ProjectError::Exists(_))), "{again:?}");

    // The rebuilt file goes on as a live one.
    world.append(events(210).split_off(205)).await;
    let shutdown = CancellationToken::new();
    let role = tokio::spawn(project(world.log.clone(), rebuilt.clone(), Repeats::Never, shutdown.clone()));
    caught_up(&world.log, &rebuilt).await;
    shutdown.cancel();
    role.await.unwrap().unwrap();
    assert_ne!(model.digest(None).await.unwrap(), rebuilt.digest(None).await.unwrap());
}

#[tokio::test]
async fn a_projector_waits_for_a_log_that_is_closed_until_it_is_told_to_end() {
    let world = world();
    let model = world.model("live.db").await;
    let shutdown = CancellationToken::new();
    let role = tokio::spawn(project(world.log.clone(), model.clone(), Repeats::Never, shutdown.clone()));
    world.log.close().await;
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(20), role).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_rebuild_that_fails_leaves_no_file() {
    let world = world();
    world.append(events(10)).await;
    world.log.close().await;
    let path = world.dir.path().join("rebuilt.db");
    assert!(rebuild(world.log.clone(), &path, None).await.is_err());
    assert!(!path.exists());
}
