//! A log on Kafka as evidence: its topics as the brokers give them, beside the tables of its inbox, its counts and its keys.
//! Without a producer, without what a node remembers, and with no check on the way: not even the sums that Kafka itself
//! keeps of its bytes, for a damaged event is to be seen and named.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use rdkafka::{Message, error::KafkaError, message::BorrowedMessage, types::RDKafkaErrorCode};
use sqlx::PgPool;
use tokio::time::{Instant, timeout_at};
use weft_model::{Partition, Position, Stream, proto::event::Header};

use super::{
    KafkaOptions,
    client::Client,
    cursors::{Cursor, Cursors},
    inbox::{cause, stream_number, stream_of},
    produce::carried_leaf,
    read::is_passing,
    schema, topics,
};
use crate::{
    Evidence, Extent, Indexed, KeySlot, OpenLogError, ReadError, ReadLimit, Stored, Vault, VaultError, batch,
    error::Cause, partitions::Partitions, vault::KeyTable,
};

/// Consumers that are kept for the next question.
const CURSORS_MAX: usize = 8;
/// Brokers that answer and give nothing for so long have nothing that can be read.
const GIVE_WITHIN: Duration = Duration::from_secs(5);
/// SQLSTATE of a table that is not there.
const NO_TABLE: &str = "42P01";

/// A log on Kafka and PostgreSQL, as an auditor reads it.
pub struct KafkaEvidence {
    client: Client,
    pool: PgPool,
    partitions: Partitions,
    cursors: Cursors,
    /// First offset that there still is, and size, of each partition as it was looked at.
    bounds: Mutex<HashMap<Partition, (u64, u64)>>,
}

impl KafkaEvidence {
    /// The log of these topics and this schema. Topics are taken as they are; the schema must be theirs.
    ///
    /// # Errors
    /// [`OpenLogError`].
    pub async fn open(options: &KafkaOptions) -> Result<Self, OpenLogError> {
        let client = Client::new(options)?;
        let cluster = topics::cluster(&client).await?;
        let pool = schema::open(options, &cluster, false).await?;
        let partitions = Partitions::with_feed(options.feed_partitions);
        Ok(Self { client, pool, partitions, cursors: Cursors::new(CURSORS_MAX), bounds: Mutex::default() })
    }

    /// The keys that events were sealed with, to be read only: what is not there is not made.
    ///
    /// # Errors
    /// [`VaultError`], each saying what to do.
    pub async fn vault(&self, options: &KafkaOptions) -> Result<Vault, VaultError> {
        let table = KeyTable::new(self.pool.clone());
        Vault::open_shared(&options.keys, table, Arc::clone(&options.random), false).await
    }

    /// Releases connections.
    pub async fn close(&self) {
        self.cursors.close().await;
        self.pool.close().await;
    }

    /// The bounds of a partition, looked at once; None where it is gone.
    async fn bounds(&self, partition: Partition) -> Result<Option<(u64, u64)>, ReadError> {
        if let Some(bounds) = lock(&self.bounds).get(&partition) {
            return Ok(Some(*bounds));
        }
        // Asking for the bounds of a topic that is not there waits for somebody to make it.
        let partitions = topics::partitions(&self.client, &self.client.topic(partition.stream)).await?;
        if partition.number >= partitions {
            return Ok(None);
        }
        let bounds = self.client.bounds(partition).await?;
        lock(&self.bounds).insert(partition, bounds);
        Ok(Some(bounds))
    }

    /// How many events of each partition are counted. Copies of one event count once, and what was stored and not known to
    /// be so is not counted yet: there may be more events than this, and never fewer.
    async fn counts(&self) -> Result<HashMap<Partition, u64>, ReadError> {
        let rows: Vec<(i16, i32, i64)> = or_gone(
            sqlx::query_as(
                "SELECT stream, partition, sum(count)::bigint FROM count WHERE verdict <> 2 GROUP BY stream, partition",
            )
            .fetch_all(&self.pool)
            .await,
        )?
        .unwrap_or_default();
        let partition = |stream, number: i32| Some(stream_of(stream)?.partition(number.cast_unsigned()));
        let counted =
            |(stream, number, count): (i16, i32, i64)| Some((partition(stream, number)?, count.unsigned_abs()));
        Ok(rows.into_iter().filter_map(counted).collect())
    }
}

#[async_trait]
impl Evidence for KafkaEvidence {
    async fn extents(&self) -> Result<Vec<Extent>, ReadError> {
        // In this order every event that is counted, or that a cut covers, is seen to be there while nodes go on writing.
        let counts = self.counts().await?;
        lock(&self.bounds).clear();
        self.bounds(Stream::Control.partition(0)).await?;
        let mut extents = Vec::new();
        for partition in self.partitions.all() {
            let size = self.bounds(partition).await?.map(|(_, size)| size);
            let counted = counts.get(&partition).copied().filter(|counted| Some(*counted) > size);
            extents.push(Extent { partition, size, counted });
        }
        Ok(extents)
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        let Some((first, size)) = self.bounds(from.partition).await? else { return Ok(Vec::new()) };
        let from = from.partition.at(from.offset.max(first));
        if from.offset >= size {
            return Ok(Vec::new());
        }
        let cursor = self.cursors.take(&self.client, from, || self.client.auditor());
        let mut cursor = cursor.map_err(|error| ReadError::from(Cause::new(error)))?;
        let page = match cursor.whatever_comes(size, limit).await {
            // Brokers that are away are no damage.
            Err(error @ ReadError::Corrupt { .. }) => {
                self.client.bounds(from.partition).await?;
                return Err(error);
            }
            page => page?,
        };
        self.cursors.keep(cursor);
        Ok(page)
    }

    async fn indexed(&self, header: &Header) -> Result<Indexed, ReadError> {
        let found: Option<Option<(i16, i32, i64)>> = or_gone(
            sqlx::query_as(
                "SELECT stream, 0, place FROM event_name WHERE event_id = $1
                 UNION ALL
                 SELECT $4::smallint, partition, place FROM inbox
                 WHERE feed = (SELECT number FROM feed WHERE name = $2) AND control_id = $3 AND event_id = $1
                 LIMIT 1",
            )
            .bind(&header.event_id)
            .bind(&header.feed)
            .bind(batch::message_key(&header.control_id, &header.event_id))
            .bind(stream_number(Stream::Feed))
            .fetch_optional(&self.pool)
            .await,
        )?;
        Ok(match found {
            None => Indexed::NotKept,
            Some(None) => Indexed::Absent,
            Some(Some((stream, number, place))) => match (stream_of(stream), u64::try_from(place)) {
                (Some(stream), Ok(offset)) => Indexed::At(stream.partition(number.cast_unsigned()).at(offset)),
                // Stored, and not settled yet where.
                _ => Indexed::NotKept,
            },
        })
    }

    async fn key_slots(&self, from: u64, count: usize) -> Result<Option<Vec<KeySlot>>, ReadError> {
        let rows: Option<Vec<(i64, Vec<u8>)>> = or_gone(
            sqlx::query_as(
                "SELECT slot, record FROM key_slot WHERE slot >= $1 AND record IS NOT NULL ORDER BY slot LIMIT $2",
            )
            .bind(from.cast_signed())
            .bind(i64::try_from(count).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await,
        )?;
        Ok(rows
            .map(|rows| rows.into_iter().map(|(slot, record)| KeySlot { slot: slot.unsigned_abs(), record }).collect()))
    }
}

impl Cursor {
    /// The next events that there are of a partition of `size`; none only where there are none.
    async fn whatever_comes(&mut self, size: u64, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        let deadline = Instant::now() + GIVE_WITHIN;
        let (mut page, mut bytes) = (Vec::new(), 0);
        while self.next.offset < size && page.len() < limit.events && bytes <= limit.bytes {
            let received = match self.consumer.recv().now_or_never() {
                Some(received) => received,
                // What there is is enough, unless it is nothing.
                None if !page.is_empty() => break,
                None => match timeout_at(deadline, self.consumer.recv()).await {
                    Ok(received) => received,
                    Err(_) => return Err(self.unreadable()),
                },
            };
            match received {
                Ok(message) => {
                    if let Some(stored) = self.taken(&message) {
                        bytes += stored.bytes.len();
                        self.next.offset = stored.position.offset + 1;
                        page.push(stored);
                    }
                }
                // Whatever was to come is not there.
                Err(KafkaError::PartitionEOF(_)) => break,
                Err(error) if is_bad(&error) && page.is_empty() => return Err(self.unreadable()),
                Err(error) if is_bad(&error) => break,
                Err(error) if Instant::now() < deadline && is_passing(&error) => {}
                Err(error) => return Err(Cause::new(error).into()),
            }
        }
        Ok(page)
    }

    /// The event in a message, whatever it is; None for one before it, which a consumer that was elsewhere may still have had.
    fn taken(&self, message: &BorrowedMessage<'_>) -> Option<Stored> {
        let (partition, offset) = (self.next.partition, message.offset().max(0).cast_unsigned());
        if message.partition() != partition.number.cast_signed() || offset < self.next.offset {
            return None;
        }
        let bytes = Bytes::copy_from_slice(message.payload().unwrap_or_default());
        // One of another length is no leaf hash, and is told as one that does not fit.
        let leaf = carried_leaf(message).unwrap_or_default();
        Some(Stored { position: partition.at(offset), bytes, leaf })
    }

    fn unreadable(&self) -> ReadError {
        ReadError::Corrupt { position: self.next, what: "the brokers do not give what they have here" }
    }
}

/// What was received is no batch of messages.
fn is_bad(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BadMessage
                | RDKafkaErrorCode::InvalidMessage
                | RDKafkaErrorCode::BadCompression
                | RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
        )
    )
}

/// An answer; None where the table itself is gone.
fn or_gone<T>(answer: Result<T, sqlx::Error>) -> Result<Option<T>, ReadError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NO_TABLE) => Ok(None),
        Err(error) => Err(cause(error).into()),
    }
}

/// What a panicking thread left behind is whole: nothing under these locks fails half way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
