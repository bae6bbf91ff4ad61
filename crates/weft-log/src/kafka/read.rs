//! The reading half.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use rdkafka::{
    Message, Offset, TopicPartitionList, consumer::Consumer, error::KafkaError, message::BorrowedMessage,
    types::RDKafkaErrorCode,
};
use tokio::time::{Instant, timeout, timeout_at};
use weft_model::{Partition, Position};

use super::{
    client::{ASK_WITHIN, Client},
    cursors::{Cursor, Cursors},
    inbox::{Inbox, cause},
    produce::carried_leaf,
    sweep,
    watch::Watcher,
};
use crate::seal::key_slot;
use crate::{
    ReadError, ReadLimit, Statistics, Stored, error::Cause, log::Shared, merkle::leaf_hash, storage::Storage,
    tail::Found,
};

/// Consumers that are kept for the next question.
const CURSORS_MAX: usize = 16;
/// How long a reader waits for brokers that do not answer.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// How long what is watched takes to come here by itself, at most.
const COMING_WITHIN: Duration = Duration::from_millis(300);

/// The events of a log in Kafka.
pub struct Kafka {
    client: Client,
    inbox: Inbox,
    shared: Arc<Shared>,
    watcher: Watcher,
    cursors: Cursors,
}

impl Kafka {
    pub(super) fn new(client: Client, inbox: Inbox, shared: Arc<Shared>) -> Self {
        let watcher = Watcher::new(client.clone(), Arc::clone(&shared));
        Self { client, inbox, shared, watcher, cursors: Cursors::new(CURSORS_MAX) }
    }

    /// Settles what was left without a place by nodes that died.
    pub(super) async fn settle(&self, older_than: Duration) -> Result<u64, Cause> {
        sweep::settle(&self.client, &self.inbox, &self.shared, older_than).await
    }
}

impl Storage for Kafka {
    async fn read(&self, from: Position, size: u64, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        if self.watcher.is_watching(from.partition) && self.shared.tail.is_ahead(from) {
            // It is on its way here already.
            let _ = timeout(COMING_WITHIN, self.shared.tail.wait(from.partition, from.offset)).await;
            if let Found::Here(page) = self.shared.tail.find(from, limit)
                && !page.is_empty()
            {
                return Ok(page);
            }
        }
        let cursor = self.cursors.take(&self.client, from, || self.client.consumer());
        let mut cursor = cursor.map_err(|error| ReadError::from(Cause::new(error)))?;
        let page = cursor.page(size, limit).await?;
        self.cursors.keep(cursor);
        // A key that cannot be had is told to whoever opens the event.
        let _ = self.shared.vault.load(page.iter().filter_map(|stored| key_slot(&stored.bytes))).await;
        Ok(page)
    }

    async fn size(&self, partition: Partition) -> Result<u64, ReadError> {
        if self.shared.tail.partitions().count(partition.stream) <= partition.number {
            return Ok(0);
        }
        let size = self.client.size(partition).await;
        // The brokers that have acknowledged an event to this node may not have told all the others.
        Ok(size?.max(self.shared.tail.size(partition)))
    }

    async fn statistics(&self) -> Result<Statistics, ReadError> {
        let counted = timeout(READ_WITHIN, self.inbox.counts()).await.map_err(Cause::new)?;
        let (counts, feeds) = counted.map_err(cause)?;
        let partitions = self.shared.tail.partitions();
        let mut statistics = Statistics::from_counts(partitions, counts, &feeds, 0);
        for counted in &mut statistics.partitions {
            // Copies of one event are counted once, and lie there twice.
            counted.events = self.size(counted.partition).await?;
        }
        Ok(statistics)
    }

    async fn watch(&self, partition: Partition) -> Result<(), ReadError> {
        Ok(self.watcher.watch(partition).await?)
    }

    async fn check(&self) -> Result<(), ReadError> {
        let asking = self.client.asking()?;
        let topic = self.client.topic(weft_model::Stream::Control);
        let asked = tokio::task::spawn_blocking(move || asking.fetch_watermarks(&topic, 0, ASK_WITHIN)).await;
        asked.map_err(Cause::new)?.map_err(|error| Cause::new(Away { what: "Kafka", error: error.into() }))?;
        let selected = timeout(ASK_WITHIN, sqlx::query("SELECT 1").execute(&self.inbox.pool)).await;
        let away = |error: Box<dyn std::error::Error + Send + Sync>| Cause::new(Away { what: "PostgreSQL", error });
        selected.map_err(|error| away(error.into()))?.map_err(|error| away(error.into()))?;
        Ok(())
    }

    async fn close(&self) {
        self.watcher.stop().await;
        self.cursors.close().await;
        self.inbox.pool.close().await;
    }
}

/// What the log needs and does not reach.
#[derive(Debug, thiserror::Error)]
#[error("{what} does not answer")]
struct Away {
    what: &'static str,
    #[source]
    error: Box<dyn std::error::Error + Send + Sync>,
}

impl Cursor {
    /// The next events, at least one: the partition has `size`.
    pub(super) async fn page(&mut self, size: u64, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        let deadline = Instant::now() + READ_WITHIN;
        let mut page = Vec::new();
        let mut bytes = 0;
        while self.next.offset < size && page.len() < limit.events && bytes <= limit.bytes {
            let received = match self.consumer.recv().now_or_never() {
                Some(received) => received,
                // What there is is enough, unless it is nothing.
                None if !page.is_empty() => break,
                None => match timeout_at(deadline, self.consumer.recv()).await {
                    Ok(received) => received,
                    Err(_) => return Err(Cause::new("brokers do not answer in time").into()),
                },
            };
            let message = match received {
                Ok(message) => message,
                Err(error) if Instant::now() < deadline && is_passing(&error) => continue,
                Err(error) => return Err(self.failed(error)),
            };
            if let Some(stored) = checked(&message, self.next)? {
                bytes += stored.bytes.len();
                self.next.offset += 1;
                page.push(stored);
            }
        }
        Ok(page)
    }

    fn failed(&self, error: KafkaError) -> ReadError {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                ReadError::Corrupt { position: self.next, what: "event is missing" }
            }
            _ => Cause::new(error).into(),
        }
    }
}

/// The event at `expected`, if this is it and its bytes are those that were stored. None for one before it, which a
/// consumer that was elsewhere may still have had.
pub(super) fn checked(message: &BorrowedMessage<'_>, expected: Position) -> Result<Option<Stored>, ReadError> {
    let corrupt = |what| ReadError::Corrupt { position: expected, what };
    let offset = message.offset().max(0).cast_unsigned();
    if message.partition() != expected.partition.number.cast_signed() || offset < expected.offset {
        return Ok(None);
    }
    if offset > expected.offset {
        return Err(corrupt("event is missing"));
    }
    let bytes = message.payload().ok_or_else(|| corrupt("event is empty"))?;
    let leaf = leaf_hash(bytes);
    if carried_leaf(message) != Some(leaf) {
        return Err(corrupt("bytes do not have their leaf hash"));
    }
    Ok(Some(Stored { position: expected, bytes: Bytes::copy_from_slice(bytes), leaf }))
}

/// One partition from a position on.
pub(super) fn assignment(client: &Client, from: Position) -> Result<TopicPartitionList, KafkaError> {
    let mut assignment = TopicPartitionList::with_capacity(1);
    let topic = client.topic(from.partition.stream);
    let offset = Offset::Offset(from.offset.cast_signed());
    assignment.add_partition_offset(&topic, from.partition.number.cast_signed(), offset)?;
    Ok(assignment)
}

/// The brokers or the way to them are away for now: librdkafka goes on by itself.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    !matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::Fatal
        )
    )
}

/// Finds, from `from` up to `size`, where these events lie first.
pub(super) async fn first_copies(
    client: &Client,
    from: Position,
    size: u64,
    wanted: &(dyn Fn(&[u8]) -> bool + Sync),
) -> Result<HashMap<Vec<u8>, (Position, u64)>, Cause> {
    let mut found = HashMap::new();
    if from.offset >= size {
        return Ok(found);
    }
    let consumer = client.consumer().map_err(Cause::new)?;
    consumer.assign(&assignment(client, from).map_err(Cause::new)?).map_err(Cause::new)?;
    let mut next = from;
    while next.offset < size {
        let received = timeout(READ_WITHIN, consumer.recv()).await.map_err(Cause::new)?;
        let message = match received {
            Ok(message) => message,
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(Cause::new(error)),
        };
        let offset = message.offset().max(0).cast_unsigned();
        if let Some(key) = message.key().filter(|key| wanted(key)) {
            let bytes = message.payload().map_or(0, <[u8]>::len) as u64;
            found.entry(key.to_vec()).or_insert((from.partition.at(offset), bytes));
        }
        next.offset = offset + 1;
    }
    Ok(found)
}
