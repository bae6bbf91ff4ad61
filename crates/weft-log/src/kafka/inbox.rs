//! What PostgreSQL knows of the events: which there are, under which verdict, and where, as far as that is known.
//!
//! Every function is one statement and so one transaction. A batch travels as arrays, so a statement has the same text for
//! any number of rows and is prepared once. Rows are written in the order of their keys: two nodes that write the same
//! ones wait for each other and do not block each other.

use std::collections::{BTreeMap, HashMap};

use sqlx::{PgPool, Row, postgres::PgRow};
use weft_model::{EventId, Partition, Position, Pseudonym, Stream};

use super::confirm::Uncertain;
use crate::{
    batch::{New, NewMessage, Place, verdict_of},
    error::Cause,
    storage::{Count, Counted, Known, KnownMessage, MessageKey, Questions},
    vault::{FIRST_RECORD_SLOT, Slot},
};

/// SQLSTATE of a key that is there already, and of a deadlock that PostgreSQL resolved against us.
const UNIQUE_VIOLATION: &str = "23505";
const DEADLOCK: &str = "40P01";
/// How often a completion is tried again after a deadlock, each of which PostgreSQL takes a second to see.
const DEADLOCKS_MAX: usize = 5;
/// How the slots of one block are numbered: the sequence counts in blocks of this many.
const BLOCK_SLOTS: i64 = 256;

const FIND: &str = "
    SELECT 0::smallint, asked.n, inbox.event_id, 0::smallint, inbox.partition, inbox.place, inbox.verdict, inbox.nth
      FROM UNNEST($1::integer[], $2::bytea[]) WITH ORDINALITY AS asked (feed, control_id, n)
      JOIN inbox ON inbox.feed = asked.feed AND inbox.control_id = asked.control_id
    UNION ALL
    SELECT 1::smallint, asked.n, event_name.event_id, event_name.stream, 0, event_name.place, 0::smallint, 0::smallint
      FROM UNNEST($3::bytea[]) WITH ORDINALITY AS asked (event_id, n)
      JOIN event_name ON event_name.event_id = asked.event_id
    UNION ALL
    SELECT 2::smallint, asked.n, key_slot.record, 0::smallint, 0, key_slot.slot, 0::smallint, 0::smallint
      FROM UNNEST($4::bytea[]) WITH ORDINALITY AS asked (record, n)
      JOIN key_slot ON key_slot.record = asked.record";

const DECIDE: &str = "
    WITH messages AS (
      INSERT INTO inbox (feed, control_id, nth, verdict, partition, place, event_id)
      SELECT * FROM UNNEST($1::integer[], $2::bytea[], $3::smallint[], $4::smallint[], $5::integer[], $6::bigint[], $7::bytea[])
    ), names AS (
      INSERT INTO event_name (event_id, stream, place) SELECT * FROM UNNEST($8::bytea[], $9::smallint[], $10::bigint[])
    ), keys AS (
      INSERT INTO key_slot (slot, record, wrapped) SELECT * FROM UNNEST($11::bigint[], $12::bytea[], $13::bytea[])
    ), messages_again AS (
      UPDATE inbox SET since = now() FROM UNNEST($14::integer[], $15::bytea[], $16::smallint[]) AS again (feed, control_id, nth)
      WHERE inbox.feed = again.feed AND inbox.control_id = again.control_id AND inbox.nth = again.nth AND inbox.place < 0
      RETURNING 1
    ), names_again AS (
      UPDATE event_name SET since = now() FROM UNNEST($17::bytea[]) AS again (event_id)
      WHERE event_name.event_id = again.event_id AND event_name.place < 0
      RETURNING 1
    )
    SELECT (SELECT count(*) FROM messages_again) + (SELECT count(*) FROM names_again)";

const COMPLETE: &str = "
    WITH durability AS MATERIALIZED (
      SELECT CASE WHEN $17 THEN set_config('synchronous_commit', 'off', true) END
    ), messages AS (
      UPDATE inbox SET place = found.place, verdict = coalesce(found.verdict, inbox.verdict)
      FROM UNNEST($1::integer[], $2::bytea[], $3::smallint[], $4::bytea[], $5::bigint[], $6::bigint[], $16::smallint[])
        AS found (feed, control_id, nth, event_id, place, bytes, verdict)
      WHERE inbox.feed = found.feed AND inbox.control_id = found.control_id AND inbox.nth = found.nth
        AND inbox.event_id = found.event_id AND inbox.place < 0
      RETURNING inbox.partition, inbox.feed, inbox.verdict, found.bytes, found.event_id
    ), names AS (
      UPDATE event_name SET place = found.place
      FROM UNNEST($7::bytea[], $8::bigint[], $9::bigint[]) AS found (event_id, place, bytes)
      WHERE event_name.event_id = found.event_id AND event_name.place < 0
      RETURNING event_name.stream, found.bytes, found.event_id
    ), new AS (
      SELECT 1::smallint AS stream, partition, feed, verdict, 1::bigint AS count, bytes FROM messages
      UNION ALL SELECT stream, 0, -1, 0::smallint, 1, bytes FROM names
      UNION ALL SELECT * FROM UNNEST($10::smallint[], $11::integer[], $12::integer[], $13::smallint[], $14::bigint[], $15::bigint[])
    ), counted AS (
      INSERT INTO count (stream, partition, feed, verdict, shard, count, bytes)
      SELECT stream, partition, feed, verdict, (pg_backend_pid() % 32)::smallint, sum(count), sum(bytes)
      FROM new, durability GROUP BY stream, partition, feed, verdict ORDER BY stream, partition, feed, verdict
      ON CONFLICT (stream, partition, feed, verdict, shard)
      DO UPDATE SET count = count.count + excluded.count, bytes = count.bytes + excluded.bytes
    )
    SELECT event_id FROM messages UNION ALL SELECT event_id FROM names";

/// The tables, for many tasks at once.
#[derive(Clone)]
pub(super) struct Inbox {
    pub(super) pool: PgPool,
    pub(super) uncertain: Uncertain,
}

/// What a decision came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Stored,
    /// Another node decided on one of the same events meanwhile: look again, and decide anew.
    Overtaken,
}

/// A new key for a source record.
pub(super) struct NewKey {
    pub(super) record: Pseudonym,
    pub(super) slot: u64,
    pub(super) wrapped: Slot,
}

/// An event that the brokers have.
#[derive(Debug, Clone)]
pub(super) struct Delivered {
    pub(super) event_id: EventId,
    pub(super) message: Option<NewMessage>,
    pub(super) position: Position,
    pub(super) bytes: u64,
    /// The number of the verdict that a message is counted under: where two have read one again it is that of the copy that is
    /// placed. None: that of its row.
    pub(super) verdict: Option<i16>,
}

impl Inbox {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, uncertain: Uncertain::default() }
    }

    /// Gives feeds that have none a number; returns those of all these.
    pub(super) async fn number_feeds(&self, names: &[String]) -> Result<Vec<(String, u32)>, Cause> {
        sqlx::query(
            "INSERT INTO feed (name) SELECT name FROM UNNEST($1::text[]) AS name ORDER BY name ON CONFLICT DO NOTHING",
        )
        .bind(names)
        .execute(&self.pool)
        .await
        .map_err(cause)?;
        let numbered: Vec<(String, i32)> = sqlx::query_as("SELECT name, number FROM feed WHERE name = ANY($1)")
            .bind(names)
            .fetch_all(&self.pool)
            .await
            .map_err(cause)?;
        Ok(numbered.into_iter().map(|(name, number)| (name, number.cast_unsigned())).collect())
    }

    /// What there is of these messages, named events and source records.
    pub(super) async fn find(&self, questions: &Questions) -> Result<Known, Cause> {
        let feeds: Vec<i32> = questions.messages.iter().map(|key| key.feed.cast_signed()).collect();
        let control_ids: Vec<&[u8]> = questions.messages.iter().map(|key| &*key.control_id).collect();
        let named: Vec<&[u8]> = questions.named.iter().map(|id| &id.0[..]).collect();
        let records: Vec<&[u8]> = questions.records.iter().map(|record| &record.0[..]).collect();
        let query = sqlx::query(FIND).bind(feeds).bind(control_ids).bind(named).bind(records);
        let mut rows = Vec::new();
        for row in query.fetch_all(&self.pool).await.map_err(cause)? {
            rows.push(Found::read(&row).map_err(cause)?);
        }
        rows.sort_by_key(|found| found.nth);
        let mut known = Known::default();
        for found in rows {
            found.add(&mut known, questions)?;
        }
        Ok(known)
    }

    /// Slots for new keys: the first of a block of 256 that nobody else is given.
    pub(super) async fn next_slots(&self) -> Result<std::ops::Range<u64>, Cause> {
        let block: i64 =
            sqlx::query_scalar("SELECT nextval('key_slot_block')").fetch_one(&self.pool).await.map_err(cause)?;
        let first = block.cast_unsigned().max(FIRST_RECORD_SLOT);
        Ok(first..block.cast_unsigned() + BLOCK_SLOTS.cast_unsigned())
    }

    /// Stores, durably and before they are produced, that these events are to be stored, and the keys of new records.
    /// `sizes` says how many events each one's partition had at least before.
    pub(super) async fn decide<B>(
        &self,
        new: &[New<B>],
        keys: &[NewKey],
        sizes: impl Fn(Partition) -> u64,
    ) -> Result<Outcome, Cause> {
        let mut messages: Vec<(&New<B>, &NewMessage)> =
            new.iter().filter_map(|event| Some((event, event.message.as_ref()?))).collect();
        messages.sort_by(|(_, a), (_, b)| (&a.key, a.nth).cmp(&(&b.key, b.nth)));
        let (again, first): (Vec<_>, Vec<_>) = messages.into_iter().partition(|(event, _)| event.again);
        let mut names: Vec<&New<B>> = new.iter().filter(|event| event.message.is_none()).collect();
        names.sort_by_key(|event| event.event_id);
        let (names_again, names): (Vec<_>, Vec<_>) = names.into_iter().partition(|event| event.again);
        let mut keys: Vec<&NewKey> = keys.iter().collect();
        keys.sort_by_key(|key| key.record);

        let pending = |event: &New<B>| -1 - sizes(event.partition).cast_signed();
        let feed = |(_, message): &(&New<B>, &NewMessage)| message.key.feed.cast_signed();
        let nth = |(_, message): &(&New<B>, &NewMessage)| message.nth as i16;
        let verdict = |(_, message): &(&New<B>, &NewMessage)| message.stored_verdict() as i16;
        let query = sqlx::query_scalar(DECIDE)
            .bind(first.iter().map(feed).collect::<Vec<i32>>())
            .bind(first.iter().map(|(_, message)| &*message.key.control_id).collect::<Vec<&[u8]>>())
            .bind(first.iter().map(nth).collect::<Vec<i16>>())
            .bind(first.iter().map(verdict).collect::<Vec<i16>>())
            .bind(first.iter().map(|(event, _)| event.partition.number.cast_signed()).collect::<Vec<i32>>())
            .bind(first.iter().map(|(event, _)| pending(event)).collect::<Vec<i64>>())
            .bind(first.iter().map(|(event, _)| &event.event_id.0[..]).collect::<Vec<&[u8]>>())
            .bind(names.iter().map(|event| &event.event_id.0[..]).collect::<Vec<&[u8]>>())
            .bind(names.iter().map(|event| stream_number(event.partition.stream)).collect::<Vec<i16>>())
            .bind(names.iter().map(|event| pending(event)).collect::<Vec<i64>>())
            .bind(keys.iter().map(|key| key.slot.cast_signed()).collect::<Vec<i64>>())
            .bind(keys.iter().map(|key| &key.record.0[..]).collect::<Vec<&[u8]>>())
            .bind(keys.iter().map(|key| &key.wrapped[..]).collect::<Vec<&[u8]>>())
            .bind(again.iter().map(feed).collect::<Vec<i32>>())
            .bind(again.iter().map(|(_, message)| &*message.key.control_id).collect::<Vec<&[u8]>>())
            .bind(again.iter().map(nth).collect::<Vec<i16>>())
            .bind(names_again.iter().map(|event| &event.event_id.0[..]).collect::<Vec<&[u8]>>());
        let still_pending: i64 = match query.fetch_one(&self.pool).await {
            Ok(still_pending) => still_pending,
            Err(error) if is_race(&error) => return Ok(Outcome::Overtaken),
            Err(error) => return Err(cause(error)),
        };
        let all = again.len() + names_again.len();
        Ok(if still_pending == all as i64 { Outcome::Stored } else { Outcome::Overtaken })
    }

    /// Stores where delivered events are, and counts them and what was decided to be a duplicate. Returns the events that
    /// had no place before: another copy of any other one was there already.
    ///
    /// Where messages alone lie is on the disk a moment after this returns ([`Uncertain`]). A duplicate leaves nothing in
    /// the log to count it by again, and events that are known by name are often known by their place: those are there when
    /// this returns.
    pub(super) async fn complete(
        &self,
        delivered: &[Delivered],
        duplicates: &BTreeMap<Counted, Count>,
    ) -> Result<Vec<EventId>, Cause> {
        let wait = !duplicates.is_empty() || delivered.iter().any(|event| event.message.is_none());
        let placed = self.complete_with(delivered, duplicates, wait).await?;
        if !wait {
            self.uncertain.add(delivered);
        }
        Ok(placed)
    }

    /// The same without duplicates, and all of it is on the disk when this returns.
    pub(super) async fn complete_durably(&self, delivered: &[Delivered]) -> Result<(), Cause> {
        self.complete_with(delivered, &BTreeMap::new(), true).await.map(|_| ())
    }

    async fn complete_with(
        &self,
        delivered: &[Delivered],
        duplicates: &BTreeMap<Counted, Count>,
        wait: bool,
    ) -> Result<Vec<EventId>, Cause> {
        for _ in 0..DEADLOCKS_MAX {
            match self.try_complete(delivered, duplicates, wait).await {
                // Two nodes that complete the same events: the planner joins in its own order. Nothing of it was stored.
                Err(error) if is_race(&error) => {}
                placed => {
                    return placed
                        .map_err(cause)?
                        .iter()
                        .map(|id| EventId::from_bytes(id).map_err(Cause::new))
                        .collect();
                }
            }
        }
        Err(Cause::new("other nodes complete the same events again and again"))
    }

    async fn try_complete(
        &self,
        delivered: &[Delivered],
        duplicates: &BTreeMap<Counted, Count>,
        wait: bool,
    ) -> Result<Vec<Vec<u8>>, sqlx::Error> {
        let mut messages: Vec<(&Delivered, &NewMessage)> =
            delivered.iter().filter_map(|event| Some((event, event.message.as_ref()?))).collect();
        messages.sort_by(|(_, a), (_, b)| (&a.key, a.nth).cmp(&(&b.key, b.nth)));
        let mut names: Vec<&Delivered> = delivered.iter().filter(|event| event.message.is_none()).collect();
        names.sort_by_key(|event| event.event_id);
        let offset = |event: &Delivered| event.position.offset.cast_signed();
        let bytes = |event: &Delivered| event.bytes.cast_signed();
        let feed_verdict =
            |counted: &Counted| counted.message.map_or((-1, 0), |(feed, verdict)| (feed.cast_signed(), verdict as i16));
        let query = sqlx::query_scalar(COMPLETE)
            .bind(messages.iter().map(|(_, message)| message.key.feed.cast_signed()).collect::<Vec<i32>>())
            .bind(messages.iter().map(|(_, message)| &*message.key.control_id).collect::<Vec<&[u8]>>())
            .bind(messages.iter().map(|(_, message)| message.nth as i16).collect::<Vec<i16>>())
            .bind(messages.iter().map(|(event, _)| &event.event_id.0[..]).collect::<Vec<&[u8]>>())
            .bind(messages.iter().map(|(event, _)| offset(event)).collect::<Vec<i64>>())
            .bind(messages.iter().map(|(event, _)| bytes(event)).collect::<Vec<i64>>())
            .bind(names.iter().map(|event| &event.event_id.0[..]).collect::<Vec<&[u8]>>())
            .bind(names.iter().map(|event| offset(event)).collect::<Vec<i64>>())
            .bind(names.iter().map(|event| bytes(event)).collect::<Vec<i64>>())
            .bind(duplicates.keys().map(|counted| stream_number(counted.partition.stream)).collect::<Vec<i16>>())
            .bind(duplicates.keys().map(|counted| counted.partition.number.cast_signed()).collect::<Vec<i32>>())
            .bind(duplicates.keys().map(|counted| feed_verdict(counted).0).collect::<Vec<i32>>())
            .bind(duplicates.keys().map(|counted| feed_verdict(counted).1).collect::<Vec<i16>>())
            .bind(duplicates.values().map(|count| count.count.cast_signed()).collect::<Vec<i64>>())
            .bind(duplicates.values().map(|count| count.bytes.cast_signed()).collect::<Vec<i64>>())
            .bind(messages.iter().map(|(event, _)| event.verdict).collect::<Vec<Option<i16>>>())
            .bind(!wait);
        query.fetch_all(&self.pool).await
    }

    /// Every count, the shards together, and the names of the feeds.
    pub(super) async fn counts(&self) -> Result<(Vec<(Counted, Count)>, HashMap<u32, String>), sqlx::Error> {
        let rows: Vec<(i16, i32, i32, i16, i64, i64)> = sqlx::query_as(
            "SELECT stream, partition, feed, verdict, sum(count)::bigint, sum(bytes)::bigint
             FROM count GROUP BY stream, partition, feed, verdict",
        )
        .fetch_all(&self.pool)
        .await?;
        let feeds: Vec<(i32, String)> = sqlx::query_as("SELECT number, name FROM feed").fetch_all(&self.pool).await?;
        let counted = |(stream, partition, feed, verdict, count, bytes): (i16, i32, i32, i16, i64, i64)| {
            let stream = stream_of(stream).ok_or_else(|| sqlx::Error::Decode("stream number".into()))?;
            let partition = stream.partition(partition.cast_unsigned());
            let message = u32::try_from(feed).ok().map(|feed| (feed, verdict.into()));
            let count = Count { count: count.cast_unsigned(), bytes: bytes.cast_unsigned() };
            Ok((Counted { partition, message }, count))
        };
        let counts = rows.into_iter().map(counted).collect::<Result<_, sqlx::Error>>()?;
        Ok((counts, feeds.into_iter().map(|(number, name)| (number.cast_unsigned(), name)).collect()))
    }
}

/// A row of [`FIND`].
struct Found {
    kind: i16,
    asked: usize,
    id: [u8; 16],
    stream: i16,
    partition: i32,
    place: i64,
    verdict: i16,
    nth: i16,
}

impl Found {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let id: &[u8] = row.try_get(2)?;
        let asked: i64 = row.try_get(1)?;
        Ok(Self {
            kind: row.try_get(0)?,
            // SQL counts from 1.
            asked: usize::try_from(asked - 1).unwrap_or(usize::MAX),
            id: id.try_into().map_err(|_| sqlx::Error::Decode("identifier of other than 16 bytes".into()))?,
            stream: row.try_get(3)?,
            partition: row.try_get(4)?,
            place: row.try_get(5)?,
            verdict: row.try_get(6)?,
            nth: row.try_get(7)?,
        })
    }

    fn add(self, known: &mut Known, questions: &Questions) -> Result<(), Cause> {
        match self.kind {
            0 => {
                let key: &MessageKey =
                    questions.messages.get(self.asked).ok_or_else(|| Cause::new("answer without a question"))?;
                let partition = Stream::Feed.partition(self.partition.cast_unsigned());
                let verdict = verdict_of(self.verdict.into());
                let message = KnownMessage { event_id: EventId(self.id), place: place(partition, self.place), verdict };
                let messages = known.messages.entry(key.clone()).or_default();
                // What is asked twice in one batch is found twice.
                if !messages.contains(&message) {
                    messages.push(message);
                }
            }
            1 => {
                let stream = stream_of(self.stream).ok_or_else(|| Cause::new("stream number"))?;
                known.named.insert(EventId(self.id), place(stream.partition(0), self.place));
            }
            _ => {
                known.key_slots.insert(Pseudonym(self.id), self.place.cast_unsigned());
            }
        }
        Ok(())
    }
}

fn place(partition: Partition, place: i64) -> Place {
    match u64::try_from(place) {
        Ok(offset) => Place::At(partition.at(offset)),
        Err(_) => Place::Pending(partition),
    }
}

pub(super) fn stream_number(stream: Stream) -> i16 {
    i32::from(stream.to_proto()) as i16
}

/// The stream with this number in the protobuf enum.
pub(super) fn stream_of(number: i16) -> Option<Stream> {
    Stream::ALL.into_iter().find(|stream| stream_number(*stream) == number)
}

fn is_race(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some(UNIQUE_VIOLATION | DEADLOCK))
}

/// The error without sqlx's words around PostgreSQL's own.
pub(super) fn cause(error: sqlx::Error) -> Cause {
    match error {
        sqlx::Error::Database(error) => Cause::new(error.into_error()),
        error => Cause::new(error),
    }
}
