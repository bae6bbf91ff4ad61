//! The reading half: a few read-only connections.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::TryStreamExt;
use sqlx::{Row, SqliteConnection, sqlite::SqlitePool};
use weft_model::{Partition, Position, Pseudonym, Stream};

use super::sql::is_damage;
use crate::{
    FeedStatistics, PartitionStatistics, ReadError, ReadLimit, Statistics, Stored,
    error::Cause,
    merkle::leaf_hash,
    statistics::count_verdict,
    storage::{Ends, Storage, partitions},
};

const DAMAGED: &str = "the database file is damaged: restore it from a copy";

const ENDS: &str = "
    SELECT (SELECT max(offset) FROM event_feed), (SELECT max(offset) FROM event_identity),
      (SELECT max(offset) FROM event_control), (SELECT max(offset) FROM event_access)";

/// One text, so that all counts are of one moment.
const STATISTICS: &str = "
    SELECT 0 AS kind, stream AS number, NULL AS name, events AS a, bytes AS b FROM partition_size
    UNION ALL
    SELECT 1, feed.number, feed.name, verdict, count FROM verdict_count JOIN feed ON feed.number = verdict_count.feed
    ORDER BY 1, 3, 2";

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
            if row.try_get::<i64, _>(0).map_err(failed)?.unsigned_abs() != position.offset {
                return Err(corrupt("event is missing"));
            }
            let stored_leaf: &[u8] = row.try_get(1).map_err(failed)?;
            let envelope: &[u8] = row.try_get(2).map_err(failed)?;
            let leaf = leaf_hash(envelope);
            if leaf != stored_leaf {
                return Err(corrupt("bytes do not have their leaf hash"));
            }
            bytes += envelope.len();
            page.push(Stored { position, bytes: Bytes::copy_from_slice(envelope), leaf });
            if bytes > limit.bytes {
                break;
            }
        }
        Ok(page)
    }

    async fn key_slot(&self, record: Pseudonym) -> Result<Option<u64>, ReadError> {
        let slot: Option<i64> = sqlx::query_scalar("SELECT slot FROM key_slot WHERE record = ?")
            .bind(record.to_vec())
            .fetch_optional(&self.readers)
            .await
            .map_err(unavailable)?;
        Ok(slot.map(i64::unsigned_abs))
    }

    async fn sizes(&self) -> Result<[u64; 4], ReadError> {
        let mut connection = self.readers.acquire().await.map_err(unavailable)?;
        sizes(&mut connection).await.map_err(unavailable)
    }

    async fn statistics(&self) -> Result<Statistics, ReadError> {
        let rows = sqlx::query(STATISTICS).fetch_all(&self.readers).await.map_err(unavailable)?;
        let mut statistics = Statistics { disk_bytes: disk_bytes(&self.dir), ..Statistics::default() };
        for row in rows {
            let (a, b): (i64, i64) = (row.try_get(3).map_err(unavailable)?, row.try_get(4).map_err(unavailable)?);
            if row.try_get::<i64, _>(0).map_err(unavailable)? == 0 {
                if let Some(partition) = partition_of(row.try_get(1).map_err(unavailable)?) {
                    let (events, bytes) = (a.unsigned_abs(), b.unsigned_abs());
                    statistics.partitions.push(PartitionStatistics { partition, events, bytes });
                }
                continue;
            }
            let name: &str = row.try_get(2).map_err(unavailable)?;
            if statistics.feeds.last().is_none_or(|last| last.feed != name) {
                statistics.feeds.push(FeedStatistics { feed: name.to_owned(), ..FeedStatistics::default() });
            }
            if let Some(feed) = statistics.feeds.last_mut() {
                count_verdict(feed, i32::try_from(a).unwrap_or_default(), b.unsigned_abs());
            }
        }
        Ok(statistics)
    }

    async fn close(&self) {
        self.readers.close().await;
    }
}

/// Where the stored rows end: five searches, whatever the size of the log.
pub(crate) async fn ends(connection: &mut SqliteConnection) -> Result<Ends, sqlx::Error> {
    let next_key_slot: i64 = sqlx::query_scalar("SELECT next_key_slot FROM vault").fetch_one(&mut *connection).await?;
    let feeds: Vec<(String, u32)> = sqlx::query_as("SELECT name, number FROM feed").fetch_all(&mut *connection).await?;
    let sizes = sizes(connection).await?;
    Ok(Ends { sizes, next_key_slot: next_key_slot.unsigned_abs(), feeds: feeds.into_iter().collect() })
}

/// The sizes as they are counted, which must be as they are stored.
pub(crate) async fn counted_sizes(connection: &mut SqliteConnection) -> Result<[u64; 4], sqlx::Error> {
    let mut sizes = [0; 4];
    let rows: Vec<(i32, i64)> =
        sqlx::query_as("SELECT stream, events FROM partition_size").fetch_all(connection).await?;
    for (size, partition) in sizes.iter_mut().zip(partitions()) {
        let row = rows.iter().find(|(number, _)| partition_of(*number) == Some(partition));
        *size = row.map_or(0, |(_, events)| events.unsigned_abs());
    }
    Ok(sizes)
}

async fn sizes(connection: &mut SqliteConnection) -> Result<[u64; 4], sqlx::Error> {
    let last = sqlx::query(ENDS).fetch_one(connection).await?;
    let mut sizes = [0; 4];
    for (column, size) in sizes.iter_mut().enumerate() {
        *size = last.try_get::<Option<i64>, _>(column)?.map_or(0, |offset| offset.unsigned_abs() + 1);
    }
    Ok(sizes)
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

fn partition_of(number: i32) -> Option<Partition> {
    partitions().into_iter().find(|partition| i32::from(partition.stream.to_proto()) == number)
}

/// All files of the log together; what cannot be looked at counts nothing.
fn disk_bytes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

fn failed(error: sqlx::Error, position: Position) -> ReadError {
    if is_damage(&error) { ReadError::Corrupt { position, what: DAMAGED } } else { unavailable(error) }
}

fn unavailable(error: sqlx::Error) -> ReadError {
    Cause::new(error).into()
}
