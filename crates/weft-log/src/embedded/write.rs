//! The writing half: one connection, one transaction per batch.

use std::{fs::File, io};

use sqlx::{
    ConnectOptions, Connection, Row, Sqlite, SqliteConnection,
    query::Query,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow},
};
use weft_model::{EventId, Position, Pseudonym, Stream};

use super::{
    read::{self, stream_of},
    sql::{self, Array, Blob, cause},
};
use crate::{
    ReadError, Stored,
    batch::{Place, verdict_of},
    error::Cause,
    storage::{Ends, Known, KnownMessage, Questions, Rows, Storing, Writing},
    wal::Checkpointer,
};

/// What to look up: the columns are the kind, the number of the question, and what was found. CROSS JOIN: what is asked is
/// looked up, whatever the planner makes of tables that were never analysed.
const FIND: &str = "
    SELECT 0, asked.key, inbox.event_id, inbox.stream, inbox.offset, inbox.verdict
    FROM json_each($2) AS asked CROSS JOIN inbox
    WHERE inbox.feed = asked.value ->> 0 AND inbox.control_id = substr($1, asked.value ->> 1, asked.value ->> 2)
    UNION ALL
    SELECT 1, asked.key, event_name.event_id, event_name.stream, event_name.offset, 0
    FROM json_each($3) AS asked CROSS JOIN event_name WHERE event_name.event_id = substr($1, asked.value, 16)
    UNION ALL
    SELECT 2, asked.key, key_slot.record, 0, key_slot.slot, 0
    FROM json_each($4) AS asked CROSS JOIN key_slot WHERE key_slot.record = substr($1, asked.value, 16)";

/// The events of one stream: each row says where the leaf hash and, after it, the envelope are.
macro_rules! insert_events {
    ($table:literal, $first:literal, $rows:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " (offset, leaf, envelope) SELECT ",
            $first,
            " + key, substr(NEW.bytes, value >> 28, 32), substr(NEW.bytes, (value >> 28) + 32, value & 268435455)
            FROM json_each(",
            $rows,
            ");"
        )
    };
}

/// What to write, all or none. A batch is a row of a view that only the writer's connection has, and inserting it is what
/// the trigger does instead: one statement, which is its own transaction, and one answer. Each of several statements would
/// be answered apart, and wake whoever waits for the last. A name or a record that is known is refused by the key of its table; a
/// control id may stand in the inbox under several event ids, so it is looked for.
const PREPARE_STORE: &str = concat!(
    "CREATE TEMP VIEW batch (
        bytes, feed_first, feed, identity_first, identity, control_first, control, access_first, access,
        inbox, unasked, event_name, feed_name, key_slot, count
    ) AS SELECT 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0;

    CREATE TEMP TRIGGER store INSTEAD OF INSERT ON batch BEGIN
        SELECT RAISE(ABORT, 'message is known') FROM json_each(NEW.inbox) AS given CROSS JOIN inbox
        WHERE NEW.unasked AND inbox.feed = given.value ->> 0
            AND inbox.control_id = substr(NEW.bytes, given.value ->> 1, given.value ->> 2);

    ",
    insert_events!("event_feed", "NEW.feed_first", "NEW.feed"),
    insert_events!("event_identity", "NEW.identity_first", "NEW.identity"),
    insert_events!("event_control", "NEW.control_first", "NEW.control"),
    insert_events!("event_access", "NEW.access_first", "NEW.access"),
    "
        INSERT INTO inbox (feed, control_id, event_id, stream, offset, verdict)
        SELECT value ->> 0, substr(NEW.bytes, value ->> 1, value ->> 2),
            substr(NEW.bytes, (value ->> 1) + (value ->> 2), 16), value ->> 3, value ->> 4, value ->> 5
        FROM json_each(NEW.inbox);

        INSERT INTO event_name (event_id, stream, offset)
        SELECT substr(NEW.bytes, value ->> 0, 16), value ->> 1, value ->> 2 FROM json_each(NEW.event_name);

        INSERT INTO feed (number, name)
        SELECT value ->> 0, CAST(substr(NEW.bytes, value ->> 1, value ->> 2) AS TEXT) FROM json_each(NEW.feed_name);

        INSERT INTO key_slot (slot, record)
        SELECT value ->> 0, substr(NEW.bytes, value ->> 1, 16) FROM json_each(NEW.key_slot);

        INSERT INTO count (stream, feed, verdict, count, bytes)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(NEW.count) WHERE true
        ON CONFLICT DO UPDATE SET count = count + excluded.count, bytes = bytes + excluded.bytes;
    END;"
);

const STORE: &str = "INSERT INTO temp.batch VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";

/// The connection that writes.
pub(crate) struct SqliteWriter {
    connect: SqliteConnectOptions,
    /// None after a failure, until it is made anew.
    connection: Option<SqliteConnection>,
    checkpointer: Checkpointer,
    /// Held until the log is closed.
    lock: Option<File>,
}

impl SqliteWriter {
    /// Writes through `connection`, which `connect` made.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) async fn new(
        connect: SqliteConnectOptions,
        mut connection: SqliteConnection,
        checkpointer: Checkpointer,
        lock: File,
    ) -> Result<Self, sqlx::Error> {
        prepare_store(&mut connection).await?;
        Ok(Self { connect, connection: Some(connection), checkpointer, lock: Some(lock) })
    }

    /// Gives the connection up, which undoes whatever it left half done.
    async fn abandon(&mut self) {
        if let Some(failed) = self.connection.take() {
            // It is given up whatever it says.
            let _ = failed.close().await;
        }
    }
}

async fn prepare_store(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(PREPARE_STORE).execute(connection).await.map(drop)
}

impl Writing for SqliteWriter {
    async fn resume(&mut self) -> Result<Ends, Cause> {
        self.abandon().await;
        let mut connection = self.connect.connect().await.map_err(cause)?;
        prepare_store(&mut connection).await.map_err(cause)?;
        let ends = read::ends(&mut connection).await.map_err(cause)?;
        self.connection = Some(connection);
        Ok(ends)
    }

    async fn find(&mut self, questions: &Questions) -> Result<Known, Cause> {
        let found = find(questions).fetch_all(connected(&mut self.connection)?).await.map_err(cause)?;
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

    async fn store(&mut self, rows: &Rows) -> Result<Storing, Cause> {
        let query = store(rows);
        let connection = connected(&mut self.connection)?;
        match query.execute(&mut *connection).await {
            Ok(_) => {
                self.checkpointer.after_commit(connection).await;
                Ok(Storing::Done)
            }
            Err(error) if rows.unasked && sql::is_repeat(&error) => Ok(Storing::Repeats),
            Err(error) => {
                self.abandon().await;
                Err(cause(error))
            }
        }
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

/// [`FIND`] with its arguments.
fn find(questions: &Questions) -> Query<'static, Sqlite, SqliteArguments> {
    let mut bytes = Blob::default();
    let [mut messages, mut named, mut records] = <[Array; 3]>::default();
    for key in &questions.messages {
        let start = bytes.add(&key.control_id);
        messages.row(&[key.feed.into(), start, key.control_id.len() as i64]);
    }
    for event_id in &questions.named {
        named.number(bytes.add(&event_id.0));
    }
    for record in &questions.records {
        records.number(bytes.add(&record.0));
    }
    let rows = [messages, named, records].map(Array::finish);
    rows.into_iter().fold(sqlx::query(FIND).bind(bytes.0), |query, rows| query.bind(rows))
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

/// [`STORE`] with its arguments.
fn store(rows: &Rows) -> Query<'static, Sqlite, SqliteArguments> {
    let mut bytes = Blob::default();
    bytes.reserve(rows.events.iter().map(|(_, event)| event.leaf.len() + event.bytes.len()).sum());
    let mut events: [(i64, Array); 4] = Default::default();
    for (position, event) in &rows.events {
        let [feed, identity, control, access] = &mut events;
        let (first, rows) = match position.partition.stream {
            Stream::Feed => feed,
            Stream::Identity => identity,
            Stream::Control => control,
            Stream::Access => access,
        };
        if rows.is_empty() {
            *first = position.offset as i64;
        }
        let start = bytes.add(&event.leaf);
        bytes.add(&event.bytes);
        rows.slice(start, event.bytes.len());
    }
    let [mut inbox, mut names, mut feeds, mut key_slots, mut counts] = <[Array; 5]>::default();
    for (key, event_id, position, verdict) in &rows.messages {
        let start = bytes.add(&key.control_id);
        bytes.add(&event_id.0);
        let (stream, offset) = (number(position.partition.stream), position.offset as i64);
        inbox.row(&[key.feed.into(), start, key.control_id.len() as i64, stream, offset, (*verdict).into()]);
    }
    // In the order of their table, where those that lie together are then put together.
    let mut named: Vec<_> = rows.named.iter().collect();
    named.sort_unstable_by_key(|(event_id, _)| event_id.0);
    for (event_id, position) in named {
        names.row(&[bytes.add(&event_id.0), number(position.partition.stream), position.offset as i64]);
    }
    for (feed, name) in &rows.feeds {
        feeds.row(&[(*feed).into(), bytes.add(name.as_bytes()), name.len() as i64]);
    }
    for (record, slot) in &rows.key_slots {
        key_slots.row(&[*slot as i64, bytes.add(&record.0)]);
    }
    for (counted, count) in &rows.counts {
        let (feed, verdict) = counted.message.map_or((-1, 0), |(feed, verdict)| (feed.into(), verdict.into()));
        counts.row(&[number(counted.partition.stream), feed, verdict, count.count as i64, count.bytes as i64]);
    }
    let mut query = sqlx::query(STORE).bind(bytes.0);
    for (first, rows) in events {
        query = query.bind(first).bind(rows.finish());
    }
    query = query.bind(inbox.finish()).bind(rows.unasked);
    [names, feeds, key_slots, counts].map(Array::finish).into_iter().fold(query, |query, rows| query.bind(rows))
}

fn number(stream: Stream) -> i64 {
    i32::from(stream.to_proto()).into()
}
