//! The reading half: a few read-only connections.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::TryStreamExt;
use sqlx::{
    Row, SqliteConnection,
    sqlite::{SqlitePool, SqliteRow},
};
use weft_model::{Partition, Position, Stream};

use super::sql::{cause, is_damage};
use crate::{
    ReadError, ReadLimit, Statistics, Stored,
    merkle::leaf_hash,
    partitions::{Partitions, PerPartition},
    storage::{Count, Counted, Ends, Storage},
    vault::FIRST_RECORD_SLOT,
};

const DAMAGED: &str = "the database file is damaged: restore it from a copy";

/// The rows of a log in SQLite.
pub struct Sqlite {
    readers: SqlitePool,
    dir: PathBuf,
}

impl Sqlite {
    pub(crate) fn new(readers: SqlitePool, dir: &Path) -> Self {
        Self { readers, dir: dir.to_owned() }
    }
}

impl Storage for Sqlite {
    async fn read(&self, from: Position, size: u64, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        let wanted = limit.events.min(usize::try_from(size.saturating_sub(from.offset)).unwrap_or(usize::MAX));
        let failed = |error| failed(error, from);
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        let mut rows = sqlx::query(select(from.partition.stream))
            .bind(from.offset as i64)
            .bind(wanted as i64)
            .fetch(&mut *connection);
        let mut page = Vec::with_capacity(wanted.min(1024));
        let mut bytes = 0;
        while page.len() < wanted {
            let position = from.partition.at(from.offset + page.len() as u64);
            let corrupt = |what| ReadError::Corrupt { position, what };
            let row = rows.try_next().await.map_err(failed)?.ok_or(corrupt("event is missing"))?;
            let stored = checked(&row, position)?;
            bytes += stored.bytes.len();
            page.push(stored);
            if bytes > limit.bytes {
                break;
            }
        }
        Ok(page)
    }

    async fn size(&self, partition: Partition) -> Result<u64, ReadError> {
        let mut connection = self.readers.acquire().await.map_err(unavailable)?;
        size(&mut connection, partition).await.map_err(unavailable)
    }

    async fn statistics(&self) -> Result<Statistics, ReadError> {
        // One transaction, so that all counts are of one moment.
        let mut transaction = self.readers.begin().await.map_err(unavailable)?;
        let counts = counts(&mut transaction).await.map_err(unavailable)?;
        let feeds = feeds(&mut transaction).await.map_err(unavailable)?;
        transaction.commit().await.map_err(unavailable)?;
        let feeds = feeds.into_iter().map(|(name, number)| (number, name)).collect();
        Ok(Statistics::from_counts(Partitions::SINGLE, counts, &feeds, disk_bytes(&self.dir)))
    }

    async fn check(&self) -> Result<(), ReadError> {
        self.size(Stream::Control.partition(0)).await.map(drop)
    }

    async fn close(&self) {
        self.readers.close().await;
    }
}

/// One event.
pub(crate) async fn one(connection: &mut SqliteConnection, position: Position) -> Result<Stored, ReadError> {
    let query = sqlx::query(select(position.partition.stream)).bind(position.offset as i64).bind(1i64);
    let row = query.fetch_optional(connection).await.map_err(|error| failed(error, position))?;
    checked(&row.ok_or(ReadError::Corrupt { position, what: "event is missing" })?, position)
}

/// The event in a row, which must be the one at `position`, with the bytes that were stored.
fn checked(row: &SqliteRow, position: Position) -> Result<Stored, ReadError> {
    let failed = |error| failed(error, position);
    let corrupt = |what| ReadError::Corrupt { position, what };
    if row.try_get::<i64, _>(0).map_err(failed)?.unsigned_abs() != position.offset {
        return Err(corrupt("event is missing"));
    }
    let stored_leaf: &[u8] = row.try_get(1).map_err(failed)?;
    let envelope: &[u8] = row.try_get(2).map_err(failed)?;
    let leaf = leaf_hash(envelope);
    if leaf != stored_leaf {
        return Err(corrupt("bytes do not have their leaf hash"));
    }
    Ok(Stored { position, bytes: Bytes::copy_from_slice(envelope), leaf })
}

/// Where the stored rows end: a few searches, whatever the size of the log.
pub(crate) async fn ends(connection: &mut SqliteConnection) -> Result<Ends, sqlx::Error> {
    let last: Option<i64> = sqlx::query_scalar("SELECT max(slot) FROM key_slot").fetch_one(&mut *connection).await?;
    let next_key_slot = last.map_or(FIRST_RECORD_SLOT, |slot| slot.unsigned_abs() + 1);
    let feeds = feeds(connection).await?.into_iter().collect();
    let mut sizes = PerPartition::zero(Partitions::SINGLE);
    for partition in Partitions::SINGLE.all() {
        if let Some(known) = sizes.get_mut(partition) {
            *known = size(connection, partition).await?;
        }
    }
    Ok(Ends { sizes, next_key_slot, feeds })
}

/// Every count: one row for each stream, feed and verdict.
pub(crate) async fn counts(connection: &mut SqliteConnection) -> Result<Vec<(Counted, Count)>, sqlx::Error> {
    let rows = sqlx::query("SELECT stream, feed, verdict, count, bytes FROM count").fetch_all(connection).await?;
    let counted = |row: SqliteRow| {
        let number = row.try_get(0)?;
        let partition = stream_of(number).map(|stream| stream.partition(0));
        let partition = partition.ok_or_else(|| sqlx::Error::Decode("stream number".into()))?;
        // A named event has the feed -1.
        let feed = u32::try_from(row.try_get::<i64, _>(1)?).ok();
        let verdict: i32 = row.try_get(2)?;
        let count =
            Count { count: row.try_get::<i64, _>(3)?.unsigned_abs(), bytes: row.try_get::<i64, _>(4)?.unsigned_abs() };
        Ok((Counted { partition, message: feed.map(|feed| (feed, verdict)) }, count))
    };
    rows.into_iter().map(counted).collect()
}

async fn feeds(connection: &mut SqliteConnection) -> Result<Vec<(String, u32)>, sqlx::Error> {
    sqlx::query_as("SELECT name, number FROM feed").fetch_all(connection).await
}

async fn size(connection: &mut SqliteConnection, partition: Partition) -> Result<u64, sqlx::Error> {
    if partition.number != 0 {
        return Ok(0);
    }
    let last = match partition.stream {
        Stream::Feed => "SELECT max(offset) FROM event_feed",
        Stream::Identity => "SELECT max(offset) FROM event_identity",
        Stream::Control => "SELECT max(offset) FROM event_control",
        Stream::Access => "SELECT max(offset) FROM event_access",
    };
    let last: Option<i64> = sqlx::query_scalar(last).fetch_one(connection).await?;
    Ok(last.map_or(0, |offset| offset.unsigned_abs() + 1))
}

fn select(stream: Stream) -> &'static str {
    match stream {
        Stream::Feed => "SELECT offset, leaf, envelope FROM event_feed WHERE offset >= ? ORDER BY offset LIMIT ?",
        Stream::Identity => {
            "SELECT offset, leaf, envelope FROM event_identity WHERE offset >= ? ORDER BY offset LIMIT ?"
        }
        Stream::Control => "SELECT offset, leaf, envelope FROM event_control WHERE offset >= ? ORDER BY offset LIMIT ?",
        Stream::Access => "SELECT offset, leaf, envelope FROM event_access WHERE offset >= ? ORDER BY offset LIMIT ?",
    }
}

/// The stream with this number in the protobuf enum.
pub(crate) fn stream_of(number: i32) -> Option<Stream> {
    Stream::ALL.into_iter().find(|stream| i32::from(stream.to_proto()) == number)
}

/// All files of the log together; what cannot be looked at counts nothing.
fn disk_bytes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

pub(crate) fn failed(error: sqlx::Error, position: Position) -> ReadError {
    if is_damage(&error) { ReadError::Corrupt { position, what: DAMAGED } } else { unavailable(error) }
}

pub(crate) fn unavailable(error: sqlx::Error) -> ReadError {
    cause(error).into()
}
