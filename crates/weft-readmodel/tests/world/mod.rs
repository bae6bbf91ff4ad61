//! A log in memory, and read models that follow it.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part of it")]

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use weft_log::{Draft, MemoryLog, Same, SharedLog, Vault};
use weft_model::{Event, Payload, Random, Verdict};
use weft_readmodel::{ProjectError, ProjectOptions, ReadModel, Repeats, project, rebuild};

use crate::common::*;

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

pub struct World {
    pub place: Place,
    pub log: SharedLog,
}

impl World {
    pub fn new(on: On) -> Self {
        let place = Place::new(on);
        let random: Arc<dyn Random> = Arc::new(Counter(1.into()));
        let keys = place.dir.path().join("keys");
        Vault::create(&keys, random.as_ref()).unwrap();
        let vault = Arc::new(Vault::open(&keys, random).unwrap());
        Self { place, log: Arc::new(MemoryLog::new(vault)) }
    }

    /// Projects until it is told to end.
    pub fn project(
        &self,
        model: &Arc<ReadModel>,
        owner: &str,
        shutdown: &CancellationToken,
    ) -> tokio::task::JoinHandle<Result<(), ProjectError>> {
        let options = ProjectOptions { repeats: Repeats::Never, owner: owner.to_owned() };
        tokio::spawn(project(self.log.clone(), model.clone(), options, shutdown.clone()))
    }

    /// The log as it is, replayed into a read model of this name.
    pub async fn rebuilt(&self, name: &str) -> Arc<ReadModel> {
        rebuild(self.log.clone(), self.place.location(name), None, Repeats::Never).await.unwrap();
        self.place.model(name).await
    }

    /// Appends events, with the pseudonyms of the log's own key.
    pub async fn append(&self, events: Vec<Event>) {
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
}

pub fn events(messages: i64) -> Vec<Event> {
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
pub async fn caught_up(log: &SharedLog, model: &ReadModel) {
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
