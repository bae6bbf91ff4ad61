//! Notices what is appended, by whichever node, to the partitions that someone waits for.
//!
//! One consumer follows them all from where they ended when the first one asked. What this node has stored itself is
//! visible from its delivery on; it comes here a second time and is passed over.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use rdkafka::{
    Message,
    consumer::{Consumer, StreamConsumer},
    types::RDKafkaErrorCode,
};
use tokio::{task::JoinHandle, time::sleep};
use weft_model::{Partition, Stream};

use super::{
    client::Client,
    read::{assignment, checked, is_passing},
};
use crate::{ReadError, Stored, error::Cause, log::Shared, seal::key_slot};

/// Events that are taken at once.
const CHUNK_EVENTS: usize = 1024;
/// How long to wait where the brokers are away.
const AWAY_PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Watcher {
    client: Client,
    shared: Arc<Shared>,
    following: tokio::sync::Mutex<Option<Following>>,
    /// The next offset of each partition that is watched.
    next: Arc<Mutex<HashMap<Partition, u64>>>,
}

struct Following {
    consumer: Arc<StreamConsumer>,
    task: JoinHandle<()>,
}

impl Watcher {
    pub(super) fn new(client: Client, shared: Arc<Shared>) -> Self {
        Self { client, shared, following: tokio::sync::Mutex::new(None), next: Arc::default() }
    }

    pub(super) fn is_watching(&self, partition: Partition) -> bool {
        lock(&self.next).contains_key(&partition)
    }

    /// Watches `partition` from its present end, unless it is watched already.
    pub(super) async fn watch(&self, partition: Partition) -> Result<(), Cause> {
        let exists = partition.number < self.shared.tail.partitions().count(partition.stream);
        if !exists || self.is_watching(partition) {
            return Ok(());
        }
        let mut following = self.following.lock().await;
        if self.is_watching(partition) {
            return Ok(());
        }
        let size = self.client.size(partition).await?;
        let consumer = match &*following {
            Some(Following { consumer, task }) if !task.is_finished() => Arc::clone(consumer),
            _ => {
                let consumer = Arc::new(self.client.consumer().map_err(Cause::new)?);
                let (shared, next) = (Arc::clone(&self.shared), Arc::clone(&self.next));
                let names = Stream::ALL.map(|stream| (self.client.topic(stream), stream));
                let task = tokio::spawn(follow(Arc::clone(&consumer), shared, next, names));
                *following = Some(Following { consumer: Arc::clone(&consumer), task });
                consumer
            }
        };
        self.shared.tail.restart(partition, size);
        lock(&self.next).insert(partition, size);
        let assigned = assignment(&self.client, partition.at(size)).and_then(|list| consumer.incremental_assign(&list));
        if let Err(error) = assigned {
            lock(&self.next).remove(&partition);
            return Err(Cause::new(error));
        }
        Ok(())
    }

    pub(super) async fn stop(&self) {
        if let Some(Following { consumer, task }) = self.following.lock().await.take() {
            task.abort();
            // It has nothing to say.
            let _ = task.await;
            // Ending a consumer waits for its threads.
            let _ = tokio::task::spawn_blocking(move || drop(consumer)).await;
        }
        lock(&self.next).clear();
    }
}

async fn follow(
    consumer: Arc<StreamConsumer>,
    shared: Arc<Shared>,
    next: Arc<Mutex<HashMap<Partition, u64>>>,
    names: [(String, Stream); 4],
) {
    let stream_of = |topic: &str| names.iter().find(|(name, _)| name == topic).map(|(_, stream)| *stream);
    loop {
        let mut chunk: Vec<Stored> = Vec::new();
        let mut received = Some(consumer.recv().await);
        while let Some(message) = received {
            match message {
                Ok(message) => {
                    let Some(stream) = stream_of(message.topic()) else { break };
                    let partition = stream.partition(message.partition().max(0).cast_unsigned());
                    let Some(expected) = lock(&next).get(&partition).copied() else { break };
                    match checked(&message, partition.at(expected)) {
                        Ok(Some(stored)) => {
                            lock(&next).insert(partition, expected + 1);
                            chunk.push(stored);
                        }
                        Ok(None) => {}
                        Err(error) => give_up(&shared, &next, partition, &message, &error),
                    }
                }
                Err(error) if is_passing(&error) => {
                    sleep(AWAY_PAUSE).await;
                    break;
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "log cannot be followed");
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) {
                        // Which partition it was is not said: all are taken up anew by those who wait.
                        lock(&next).clear();
                        return;
                    }
                    sleep(AWAY_PAUSE).await;
                    break;
                }
            }
            if chunk.len() >= CHUNK_EVENTS {
                break;
            }
            received = consumer.recv().now_or_never();
        }
        // A key that cannot be had is told to whoever opens the event.
        let _ = shared.vault.load(chunk.iter().filter_map(|stored| key_slot(&stored.bytes))).await;
        for stored in chunk {
            shared.tail.publish_next(stored);
        }
    }
}

/// Wakes whoever waits for the partition: reading it will say what is wrong.
fn give_up(
    shared: &Shared,
    next: &Mutex<HashMap<Partition, u64>>,
    partition: Partition,
    message: &rdkafka::message::BorrowedMessage<'_>,
    error: &ReadError,
) {
    tracing::error!(error = error as &dyn std::error::Error, "log is damaged");
    lock(next).remove(&partition);
    shared.tail.grow(partition, message.offset().max(0).cast_unsigned() + 1);
}

/// What a panicking thread left behind is whole: nothing under this lock fails half way.
fn lock(next: &Mutex<HashMap<Partition, u64>>) -> MutexGuard<'_, HashMap<Partition, u64>> {
    next.lock().unwrap_or_else(PoisonError::into_inner)
}
