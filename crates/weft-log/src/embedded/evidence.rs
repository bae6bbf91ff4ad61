//! The embedded log as evidence: the SQLite file itself, read-only and beside the node that writes it, without its writer,
//! its memory or its keys.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use sqlx::{Row, sqlite::SqlitePool};
use weft_model::{Partition, Position, Stream, proto::event::Header};

use super::{
    APPLICATION_ID, FORMAT, OpenLogError, database, place,
    read::{failed, stream_of, unavailable},
    readers_of, refused,
};
use crate::{Evidence, Extent, Indexed, KeySlot, ReadError, ReadLimit, Stored, merkle::Hash, partitions::Partitions};

/// Events that are read together, at least and at most, and their bytes at most.
const PACKED_EVENTS_MIN: usize = 64;
const PACKED_EVENTS_MAX: usize = 1024;
const PACKED_BYTES_MAX: usize = 8 << 20;

/// A log in one SQLite file, as an auditor reads it.
pub struct EmbeddedEvidence {
    readers: SqlitePool,
    dir: PathBuf,
}

impl EmbeddedEvidence {
    /// The log in `dir`. Nothing is checked but that it is a log of a known format.
    ///
    /// # Errors
    /// [`OpenLogError`].
    pub async fn open(dir: impl AsRef<Path>) -> Result<Self, OpenLogError> {
        let dir = dir.as_ref().to_owned();
        if !database(&dir).exists() {
            return Err(OpenLogError::Missing { place: place(&dir) });
        }
        let readers = readers_of(&database(&dir));
        let numbers: (i64, i64) = sqlx::query_as(
            "SELECT (SELECT user_version FROM pragma_user_version), (SELECT application_id FROM pragma_application_id)",
        )
        .fetch_one(&readers)
        .await
        .map_err(refused(&dir))?;
        match numbers {
            (format, APPLICATION_ID) if format > FORMAT => {
                Err(OpenLogError::NewerFormat { place: place(&dir), format, known: FORMAT })
            }
            (_, APPLICATION_ID) => Ok(Self { readers, dir }),
            _ => Err(OpenLogError::Damaged { place: place(&dir), what: "log.db is not a log".to_owned() }),
        }
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Releases files.
    pub async fn close(&self) {
        self.readers.close().await;
    }

    /// The tables that are there.
    async fn tables(&self) -> Result<Vec<String>, ReadError> {
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)
    }

    /// The events from `from` on in one row of the database: each row costs more on its way than its bytes do. None where they
    /// are too large for that, or are not what they should be: no whole numbers, no leaf hashes of 32 bytes, no bytes.
    async fn packed(&self, from: Position, limit: ReadLimit) -> Result<Option<Vec<Stored>>, sqlx::Error> {
        let events = limit.events.min(PACKED_EVENTS_MAX) as i64;
        let (most, stream) = (limit.bytes.min(PACKED_BYTES_MAX) as i64, from.partition.stream);
        let bytes: Option<i64> =
            sqlx::query_scalar(bytes_of(stream)).bind(from.offset as i64).bind(events).fetch_one(&self.readers).await?;
        if bytes.is_none_or(|bytes| bytes > most) {
            return Ok(None);
        }
        let row = sqlx::query(together(stream)).bind(from.offset as i64).bind(events).fetch_one(&self.readers).await?;
        let (offsets, lengths): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
        let (leaves, envelopes): (&[u8], &[u8]) = (row.try_get(2)?, row.try_get(3)?);
        if row.try_get::<i64, _>(4)? != 0 {
            return Ok(None);
        }
        Ok(unpack(from, offsets, lengths, leaves.as_chunks().0, Bytes::copy_from_slice(envelopes)))
    }

    /// One allocation for the whole page: its events are slices of it.
    async fn rows(&self, from: Position, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        let failed = |error| failed(error, from);
        let wanted = i64::try_from(limit.events).unwrap_or(i64::MAX);
        let mut rows =
            sqlx::query(events(from.partition.stream)).bind(from.offset as i64).bind(wanted).fetch(&self.readers);
        let (mut bytes, mut parts) = (BytesMut::new(), Vec::new());
        loop {
            let row = match rows.try_next().await {
                Ok(Some(row)) => row,
                // What was read before the damage is given; the next call begins at it.
                Err(_) if !parts.is_empty() => break,
                Ok(None) => break,
                Err(error) => return Err(failed(error)),
            };
            let offset = row.try_get::<i64, _>(0).map_err(failed)?.unsigned_abs();
            let leaf = hash(row.try_get(1).map_err(failed)?);
            bytes.extend_from_slice(row.try_get(2).map_err(failed)?);
            parts.push((offset, leaf, bytes.len()));
            if bytes.len() > limit.bytes {
                break;
            }
        }
        Ok(slices(from.partition, bytes.freeze(), parts))
    }
}

#[async_trait]
impl Evidence for EmbeddedEvidence {
    async fn extents(&self) -> Result<Vec<Extent>, ReadError> {
        let tables = self.tables().await?;
        let has = |name: &str| tables.iter().any(|table| table == name);
        // One transaction: a cut that is seen must find the events that it covers.
        let mut transaction = self.readers.begin().await.map_err(unavailable)?;
        let mut extents = Vec::new();
        for partition in Partitions::SINGLE.all() {
            let failed = |error| failed(error, partition.at(0));
            let mut extent = Extent { partition, size: None, counted: None };
            if has(table(partition.stream)) {
                let last: Option<i64> =
                    sqlx::query_scalar(last(partition.stream)).fetch_one(&mut *transaction).await.map_err(failed)?;
                extent.size = Some(last.map_or(0, |offset| offset.unsigned_abs() + 1));
            }
            if has("count") {
                let counted: i64 =
                    sqlx::query_scalar("SELECT coalesce(sum(count), 0) FROM count WHERE stream = ? AND verdict <> 2")
                        .bind(number(partition.stream))
                        .fetch_one(&mut *transaction)
                        .await
                        .map_err(failed)?;
                extent.counted = Some(counted.unsigned_abs());
            }
            extents.push(extent);
        }
        Ok(extents)
    }

    async fn size(&self, partition: Partition) -> Result<Option<u64>, ReadError> {
        if Partitions::SINGLE.count(partition.stream) <= partition.number {
            return Ok(None);
        }
        let found: Result<Option<i64>, _> = sqlx::query_scalar(last(partition.stream)).fetch_one(&self.readers).await;
        match found {
            Ok(last) => Ok(Some(last.map_or(0, |offset| offset.unsigned_abs() + 1))),
            Err(_) if !self.tables().await?.iter().any(|name| name == table(partition.stream)) => Ok(None),
            Err(error) => Err(failed(error, partition.at(0))),
        }
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        if limit.events >= PACKED_EVENTS_MIN
            && let Ok(Some(page)) = self.packed(from, limit).await
        {
            return Ok(page);
        }
        // What cannot be read together is read row by row: then it shows what is wrong, and where.
        self.rows(from, limit).await
    }

    async fn leaves(&self, from: Position, count: u64) -> Result<Vec<Hash>, ReadError> {
        let failed = |error| failed(error, from);
        let rows = sqlx::query(leaves(from.partition.stream))
            .bind(from.offset as i64)
            .bind(from.offset.saturating_add(count) as i64)
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        let mut found = Vec::with_capacity(rows.len());
        for (row, offset) in rows.iter().zip(from.offset..) {
            if row.try_get::<i64, _>(0).map_err(failed)?.unsigned_abs() != offset {
                break;
            }
            found.push(hash(row.try_get(1).map_err(failed)?));
        }
        Ok(found)
    }

    async fn indexed(&self, header: &Header) -> Result<Indexed, ReadError> {
        let tables = self.tables().await?;
        if !["inbox", "event_name", "feed"].iter().all(|name| tables.iter().any(|table| table == name)) {
            return Ok(Indexed::NotKept);
        }
        // A message is found by its id among those of its control id, anything else by its name's id.
        let found: Option<(i32, i64)> = sqlx::query_as(
            "SELECT stream, offset FROM event_name WHERE event_id = ?1
             UNION ALL
             SELECT stream, offset FROM inbox
             WHERE feed = (SELECT number FROM feed WHERE name = ?2) AND control_id = ?3 AND event_id = ?1
             LIMIT 1",
        )
        .bind(&header.event_id)
        .bind(&header.feed)
        .bind(crate::batch::message_key(&header.control_id, &header.event_id))
        .fetch_optional(&self.readers)
        .await
        .map_err(unavailable)?;
        Ok(match found.and_then(|(stream, offset)| Some((stream_of(stream)?, offset))) {
            Some((stream, offset)) => Indexed::At(stream.partition(0).at(offset.unsigned_abs())),
            None => Indexed::Absent,
        })
    }

    async fn key_slots(&self, from: u64, count: usize) -> Result<Option<Vec<KeySlot>>, ReadError> {
        if !self.tables().await?.iter().any(|table| table == "key_slot") {
            return Ok(None);
        }
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT slot, record FROM key_slot WHERE slot >= ? ORDER BY slot LIMIT ?")
                .bind(from as i64)
                .bind(i64::try_from(count).unwrap_or(i64::MAX))
                .fetch_all(&self.readers)
                .await
                .map_err(unavailable)?;
        Ok(Some(rows.into_iter().map(|(slot, record)| KeySlot { slot: slot.unsigned_abs(), record }).collect()))
    }
}

/// A hash as stored; one of another length is no leaf hash, and is told as one that does not fit.
fn hash(stored: &[u8]) -> Hash {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(stored) {
        *to = *from;
    }
    hash
}

/// The events that were read together; None where the parts do not fit each other.
fn unpack(from: Position, offsets: &str, lengths: &str, leaves: &[Hash], envelopes: Bytes) -> Option<Vec<Stored>> {
    let (mut page, mut start, mut next) = (Vec::with_capacity(leaves.len()), 0usize, from.offset);
    let mut lengths = lengths.split(',');
    let mut leaves = leaves.iter();
    for offset in offsets.split(',') {
        let offset: u64 = offset.parse().ok().filter(|offset| *offset >= next)?;
        let end = start.checked_add(lengths.next()?.parse().ok()?).filter(|end| *end <= envelopes.len())?;
        let position = from.partition.at(offset);
        page.push(Stored { position, bytes: envelopes.slice(start..end), leaf: *leaves.next()? });
        (start, next) = (end, offset + 1);
    }
    let whole = start == envelopes.len() && leaves.next().is_none() && lengths.next().is_none();
    whole.then_some(page)
}

fn slices(partition: Partition, bytes: Bytes, parts: Vec<(u64, Hash, usize)>) -> Vec<Stored> {
    let mut start = 0;
    let slice = |(offset, leaf, end): (u64, Hash, usize)| {
        let stored = Stored { position: partition.at(offset), bytes: bytes.slice(start..end), leaf };
        start = end;
        stored
    };
    parts.into_iter().map(slice).collect()
}

fn number(stream: Stream) -> i32 {
    stream.to_proto().into()
}

macro_rules! by_stream {
    ($name:ident, $before:literal, $after:literal) => {
        fn $name(stream: Stream) -> &'static str {
            match stream {
                Stream::Feed => concat!($before, "event_feed", $after),
                Stream::Identity => concat!($before, "event_identity", $after),
                Stream::Control => concat!($before, "event_control", $after),
                Stream::Access => concat!($before, "event_access", $after),
            }
        }
    };
}

by_stream!(table, "", "");
by_stream!(last, "SELECT max(offset) FROM ", "");
by_stream!(events, "SELECT offset, leaf, envelope FROM ", " WHERE offset >= ? ORDER BY offset LIMIT ?");
by_stream!(
    bytes_of,
    "SELECT sum(length(envelope)) FROM (SELECT envelope FROM ",
    " WHERE offset >= ? ORDER BY offset LIMIT ?)"
);
by_stream!(
    together,
    "SELECT group_concat(offset), group_concat(length(envelope)), CAST(group_concat(leaf, '') AS BLOB),
       CAST(group_concat(envelope, '') AS BLOB), sum(length(leaf) <> 32)
     FROM (SELECT offset, leaf, envelope FROM ",
    " WHERE offset >= ? ORDER BY offset LIMIT ?)"
);
by_stream!(leaves, "SELECT offset, leaf FROM ", " WHERE offset >= ? AND offset < ? ORDER BY offset");
