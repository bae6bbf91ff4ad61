//! The writing half: one connection, one transaction per batch.

use std::{fs::File, io};

use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use weft_model::{EventId, Position, Pseudonym, Stream};

use super::{
    read::{self, stream_of},
    sql::{Pack, Parts, Texts, cause},
};
use crate::{
    ReadError, Stored,
    batch::{Place, verdict_of},
    error::Cause,
    storage::{Ends, Known, KnownMessage, Questions, Rows, Writing},
    wal::Checkpointer,
};

/// What to look up: the columns are the kind, the number of the question, and what was found. CROSS JOIN: what is asked is
/// looked up, whatever the planner makes of tables that were never analysed.
const FIND: Parts<3> = Parts {
    before: "",
    parts: [
        "SELECT 0, asked.key, inbox.event_id, inbox.stream, inbox.offset, inbox.verdict
         FROM json_each($R) AS asked CROSS JOIN inbox
         WHERE inbox.feed = asked.value ->> 0 AND inbox.control_id = substr($B, asked.value ->> 1, asked.value ->> 2)",
        "SELECT 1, asked.key, event_name.event_id, event_name.stream, event_name.offset, 0
         FROM json_each($R) AS asked CROSS JOIN event_name WHERE event_name.event_id = substr($B, asked.value, 16)",
        "SELECT 2, asked.key, key_slot.record, 0, key_slot.slot, 0
         FROM json_each($R) AS asked CROSS JOIN key_slot WHERE key_slot.record = substr($B, asked.value, 16)",
    ],
    between: " UNION ALL ",
    after: "",
};

/// The events of one stream: each row says where the leaf hash and, after it, the envelope are.
macro_rules! insert_events {
    ($table:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " (offset, leaf, envelope)
             SELECT $F + key, substr($B, value >> 28, 32), substr($B, (value >> 28) + 32, value & 268435455)
             FROM json_each($R)"
        )
    };
}

/// What to write, all or none.
const STORE: Parts<9> = Parts {
    before: "BEGIN IMMEDIATE; ",
    parts: [
        insert_events!("event_feed"),
        insert_events!("event_identity"),
        insert_events!("event_control"),
        insert_events!("event_access"),
        "INSERT INTO inbox (feed, control_id, event_id, stream, offset, verdict)
         SELECT value ->> 0, substr($B, value ->> 1, value ->> 2), substr($B, (value ->> 1) + (value ->> 2), 16),
           value ->> 3, value ->> 4, value ->> 5 FROM json_each($R)",
        "INSERT INTO event_name (event_id, stream, offset)
         SELECT substr($B, value ->> 0, 16), value ->> 1, value ->> 2 FROM json_each($R)",
        "INSERT INTO feed (number, name)
         SELECT value ->> 0, CAST(substr($B, value ->> 1, value ->> 2) AS TEXT) FROM json_each($R)",
        "INSERT INTO key_slot (slot, record) SELECT value ->> 0, substr($B, value ->> 1, 16) FROM json_each($R)",
        "INSERT INTO count (stream, feed, verdict, count, bytes)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each($R) WHERE true
         ON CONFLICT DO UPDATE SET count = count + excluded.count, bytes = bytes + excluded.bytes",
    ],
    between: "; ",
    after: "; COMMIT",
};

/// The connection that writes.
pub(crate) struct SqliteWriter {
    connect: SqliteConnectOptions,
    /// None after a failure, until it is made anew.
    connection: Option<SqliteConnection>,
    checkpointer: Checkpointer,
    find: Texts,
    store: Texts,
    /// Held until the log is closed.
    lock: Option<File>,
}

impl SqliteWriter {
    pub(crate) fn new(
        connect: SqliteConnectOptions,
        connection: SqliteConnection,
        checkpointer: Checkpointer,
        lock: File,
    ) -> Self {
        let (find, store) = (Texts::default(), Texts::default());
        Self { connect, connection: Some(connection), checkpointer, find, store, lock: Some(lock) }
    }
}

impl SqliteWriter {
    /// Gives the connection up, which undoes whatever it left half done.
    async fn abandon(&mut self) {
        if let Some(failed) = self.connection.take() {
            // It is given up whatever it says.
            let _ = failed.close().await;
        }
    }
}

impl Writing for SqliteWriter {
    async fn resume(&mut self) -> Result<Ends, Cause> {
        self.abandon().await;
        let mut connection = self.connect.connect().await.map_err(cause)?;
        let ends = read::ends(&mut connection).await.map_err(cause)?;
        self.connection = Some(connection);
        Ok(ends)
    }

    async fn find(&mut self, questions: &Questions) -> Result<Known, Cause> {
        let query = FIND.query(&mut self.find, pack_questions(questions));
        let found = query.fetch_all(connected(&mut self.connection)?).await.map_err(cause)?;
        let mut known = Known::default();
        for row in found {
            add_known(&mut known, &row, questions).map_err(cause)?;
        }
        Ok(known)
    }

    async fn read(&mut self, position: Position) -> Result<Option<Stored>, Cause> {
        match read::one(connected(&mut self.connection)?, position).await {
            Ok(stored) => Ok(Some(stored)),
            Err(ReadError::Corrupt { .. }) => Ok(None),
            Err(error) => Err(Cause::new(error)),
        }
    }

    async fn store(&mut self, rows: &Rows) -> Result<(), Cause> {
        let query = STORE.query(&mut self.store, pack_rows(rows));
        let connection = connected(&mut self.connection)?;
        if let Err(error) = query.execute(&mut *connection).await {
            self.abandon().await;
            return Err(cause(error));
        }
        self.checkpointer.after_commit(connection).await;
        Ok(())
    }

    async fn close(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            let moved = self.checkpointer.finish(&mut connection).await;
            if let Err(error) = moved.and(connection.close().await) {
                tracing::warn!(error = &error as &dyn std::error::Error, "log database not closed cleanly");
            }
        } else {
            self.checkpointer.stop().await;
        }
        self.lock = None;
    }
}

fn connected(connection: &mut Option<SqliteConnection>) -> Result<&mut SqliteConnection, Cause> {
    connection.as_mut().ok_or_else(|| Cause::new(io::Error::from(io::ErrorKind::NotConnected)))
}

/// The rows of each part of [`FIND`].
fn pack_questions(questions: &Questions) -> [Pack; 3] {
    let mut packs: [Pack; 3] = Default::default();
    let [messages, named, records] = &mut packs;
    for key in &questions.messages {
        let start = messages.bytes(&key.control_id);
        messages.row(&[key.feed.into(), start, key.control_id.len() as i64]);
    }
    for event_id in &questions.named {
        let start = named.bytes(&event_id.0);
        named.number(start);
    }
    for record in &questions.records {
        let start = records.bytes(&record.0);
        records.number(start);
    }
    packs
}

fn add_known(known: &mut Known, row: &SqliteRow, questions: &Questions) -> Result<(), sqlx::Error> {
    let number = usize::try_from(row.try_get::<i64, _>(1)?).unwrap_or(usize::MAX);
    match row.try_get::<i64, _>(0)? {
        0 => {
            let key = questions.messages.get(number).ok_or(sqlx::Error::RowNotFound)?;
            let verdict = verdict_of(row.try_get(5)?);
            let message = KnownMessage { event_id: EventId(id(row)?), place: Place::At(position(row)?), verdict };
            let messages = known.messages.entry(key.clone()).or_default();
            // What is asked twice in one batch is found twice.
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        1 => {
            known.named.insert(EventId(id(row)?), Place::At(position(row)?));
        }
        _ => {
            known.key_slots.insert(Pseudonym(id(row)?), row.try_get::<i64, _>(4)?.unsigned_abs());
        }
    }
    Ok(())
}

fn id(row: &SqliteRow) -> Result<[u8; 16], sqlx::Error> {
    let bytes: &[u8] = row.try_get(2)?;
    bytes.try_into().map_err(|_| sqlx::Error::Decode("identifier of other than 16 bytes".into()))
}

fn position(row: &SqliteRow) -> Result<Position, sqlx::Error> {
    let stream = stream_of(row.try_get(3)?).ok_or_else(|| sqlx::Error::Decode("stream number".into()))?;
    Ok(stream.partition(0).at(row.try_get::<i64, _>(4)?.unsigned_abs()))
}

/// The rows of each part of [`STORE`].
fn pack_rows(rows: &Rows) -> [Pack; 9] {
    let mut packs: [Pack; 9] = Default::default();
    let [feed, identity, control, access, inbox, names, feeds, key_slots, counts] = &mut packs;
    feed.reserve(rows.events.iter().map(|(_, event)| event.leaf.len() + event.bytes.len()).sum());
    for (position, event) in &rows.events {
        let pack = match position.partition.stream {
            Stream::Feed => &mut *feed,
            Stream::Identity => &mut *identity,
            Stream::Control => &mut *control,
            Stream::Access => &mut *access,
        };
        if pack.is_empty() {
            pack.first = position.offset as i64;
        }
        let start = pack.bytes(&event.leaf);
        pack.bytes(&event.bytes);
        pack.slice(start, event.bytes.len());
    }
    for (key, event_id, position, verdict) in &rows.messages {
        let start = inbox.bytes(&key.control_id);
        inbox.bytes(&event_id.0);
        let (stream, offset) = (number(position.partition.stream), position.offset as i64);
        let bytes = key.control_id.len() as i64;
        inbox.row(&[key.feed.into(), start, bytes, stream, offset, (*verdict).into()]);
    }
    for (event_id, position) in &rows.named {
        let start = names.bytes(&event_id.0);
        names.row(&[start, number(position.partition.stream), position.offset as i64]);
    }
    for (feed, name) in &rows.feeds {
        let start = feeds.bytes(name.as_bytes());
        feeds.row(&[(*feed).into(), start, name.len() as i64]);
    }
    for (record, slot) in &rows.key_slots {
        let start = key_slots.bytes(&record.0);
        key_slots.row(&[*slot as i64, start]);
    }
    for (counted, count) in &rows.counts {
        let (feed, verdict) = counted.message.map_or((-1, 0), |(feed, verdict)| (feed.into(), verdict.into()));
        counts.row(&[number(counted.partition.stream), feed, verdict, count.count as i64, count.bytes as i64]);
    }
    packs
}

fn number(stream: Stream) -> i64 {
    i32::from(stream.to_proto()).into()
}
