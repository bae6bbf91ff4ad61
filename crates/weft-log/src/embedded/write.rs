//! The writing half: one connection, one transaction per batch.

use std::{collections::HashMap, fs::File, io};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use weft_model::{EventId, Position, Stream};

use super::{checkpoint::Checkpointer, read, sql::Pack};
use crate::{
    batch::verdict_of,
    error::Cause,
    storage::{Ends, Known, KnownMessage, MessageKey, Rows, Writing},
};

const FIND_MESSAGES: &str = "
    SELECT asked.key, inbox.event_id, inbox.stream, inbox.offset, inbox.verdict
    FROM json_each($2) AS asked
    CROSS JOIN inbox ON inbox.feed = asked.value ->> 0
      AND inbox.control_id = substr($1, asked.value ->> 1, asked.value ->> 2)";

const FIND_NAMED: &str = "
    SELECT event_name.event_id, event_name.stream, event_name.offset
    FROM json_each($2) AS asked
    CROSS JOIN event_name ON event_name.event_id = substr($1, asked.value ->> 0, 16)";

// CROSS JOIN: what is asked is looked up, whatever the planner makes of an unanalysed table.

/// The tables that a batch may write, each with its statement. `$B` and `$R` stand for the blob and the rows of its pack.
const STATEMENTS: [&str; 10] = [
    "INSERT INTO event_feed (offset, leaf, envelope)
       SELECT value ->> 0, substr($B, value ->> 1, 32), substr($B, (value ->> 1) + 32, value ->> 2) FROM json_each($R);",
    "INSERT INTO event_identity (offset, leaf, envelope)
       SELECT value ->> 0, substr($B, value ->> 1, 32), substr($B, (value ->> 1) + 32, value ->> 2) FROM json_each($R);",
    "INSERT INTO event_control (offset, leaf, envelope)
       SELECT value ->> 0, substr($B, value ->> 1, 32), substr($B, (value ->> 1) + 32, value ->> 2) FROM json_each($R);",
    "INSERT INTO event_access (offset, leaf, envelope)
       SELECT value ->> 0, substr($B, value ->> 1, 32), substr($B, (value ->> 1) + 32, value ->> 2) FROM json_each($R);",
    "INSERT INTO inbox (feed, control_id, event_id, stream, offset, verdict)
       SELECT value ->> 0, substr($B, value ->> 1, value ->> 2), substr($B, (value ->> 1) + (value ->> 2), 16),
         value ->> 3, value ->> 4, value ->> 5 FROM json_each($R);",
    "INSERT INTO event_name (event_id, stream, offset)
       SELECT substr($B, value ->> 0, 16), value ->> 1, value ->> 2 FROM json_each($R);",
    "INSERT INTO feed (number, name)
       SELECT value ->> 0, CAST(substr($B, value ->> 1, value ->> 2) AS TEXT) FROM json_each($R);",
    "INSERT OR IGNORE INTO key_slot (record, slot)
       SELECT substr($B, value ->> 0, 16), value ->> 1 FROM json_each($R);
     UPDATE vault SET next_key_slot = max(next_key_slot, (SELECT max(value ->> 1) + 1 FROM json_each($R)));",
    "INSERT INTO verdict_count (feed, verdict, count)
       SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($R) WHERE true
       ON CONFLICT (feed, verdict) DO UPDATE SET count = count + excluded.count;",
    "UPDATE partition_size SET events = events + (rows.value ->> 1), bytes = bytes + (rows.value ->> 2)
       FROM json_each($R) AS rows WHERE stream = rows.value ->> 0;",
];

/// The connection that writes.
pub(crate) struct SqliteWriter {
    connect: SqliteConnectOptions,
    /// None after a failure, until it is made anew: that undoes whatever the failure left open.
    connection: Option<SqliteConnection>,
    checkpointer: Checkpointer,
    /// Statement texts by the tables that they write (one bit each).
    texts: HashMap<u16, String>,
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
        Self { connect, connection: Some(connection), checkpointer, texts: HashMap::new(), lock: Some(lock) }
    }

    fn connection(&mut self) -> Result<&mut SqliteConnection, Cause> {
        self.connection.as_mut().ok_or_else(|| Cause::new(io::Error::from(io::ErrorKind::NotConnected)))
    }
}

impl Writing for SqliteWriter {
    async fn resume(&mut self) -> Result<Ends, Cause> {
        if let Some(failed) = self.connection.take() {
            // The connection is given up whatever it says.
            let _ = failed.close().await;
        }
        let mut connection = self.connect.connect().await.map_err(Cause::new)?;
        let ends = read::ends(&mut connection).await.map_err(Cause::new)?;
        self.connection = Some(connection);
        Ok(ends)
    }

    async fn find(&mut self, messages: &[MessageKey], named: &[EventId]) -> Result<Known, Cause> {
        let connection = self.connection()?;
        let mut known = Known::default();
        if !messages.is_empty() {
            known.messages = find_messages(connection, messages).await.map_err(Cause::new)?;
        }
        if !named.is_empty() {
            known.named = find_named(connection, named).await.map_err(Cause::new)?;
        }
        Ok(known)
    }

    async fn store(&mut self, rows: &Rows) -> Result<(), Cause> {
        let bytes: usize = rows.events.iter().flatten().map(|event| event.bytes.len()).sum();
        let packs = pack(rows);
        let tables = packs.iter().zip(0u16..).fold(0, |bits, (pack, n)| bits | u16::from(!pack.is_empty()) << n);
        let text = self.texts.entry(tables).or_insert_with(|| text(tables)).clone();
        let mut query = sqlx::query(AssertSqlSafe(text));
        for pack in packs.into_iter().filter(|pack| !pack.is_empty()) {
            let (bytes, rows) = pack.finish();
            query = query.bind(bytes).bind(rows);
        }
        query.execute(self.connection()?).await.map_err(Cause::new)?;
        if self.checkpointer.written(bytes) {
            let connection = self.connection()?;
            super::checkpoint::finish(connection).await.map_err(Cause::new)?;
        }
        Ok(())
    }

    async fn close(&mut self) {
        self.checkpointer.stop().await;
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "log database not closed cleanly");
        }
        self.lock = None;
    }
}

async fn find_messages(
    connection: &mut SqliteConnection,
    keys: &[MessageKey],
) -> Result<HashMap<MessageKey, Vec<KnownMessage>>, sqlx::Error> {
    let mut asked = Pack::default();
    for key in keys {
        let start = asked.bytes(&key.control_id);
        asked.row(&[key.feed.into(), start, key.control_id.len() as i64]);
    }
    let (bytes, rows) = asked.finish();
    let found = sqlx::query(FIND_MESSAGES).bind(bytes).bind(rows).fetch_all(connection).await?;
    let mut known: HashMap<MessageKey, Vec<KnownMessage>> = HashMap::with_capacity(found.len());
    for row in found {
        let key = usize::try_from(row.try_get::<i64, _>(0)?).ok().and_then(|n| keys.get(n));
        let key = key.ok_or(sqlx::Error::RowNotFound)?;
        let verdict = verdict_of(row.try_get(4)?);
        let message = KnownMessage { event_id: event_id(&row, 1)?, position: position(&row, 2)?, verdict };
        let known = known.entry(key.clone()).or_default();
        // Asked twice in one batch, it is found twice.
        if !known.contains(&message) {
            known.push(message);
        }
    }
    Ok(known)
}

async fn find_named(
    connection: &mut SqliteConnection,
    ids: &[EventId],
) -> Result<HashMap<EventId, Position>, sqlx::Error> {
    let mut asked = Pack::default();
    for id in ids {
        let start = asked.bytes(&id.0);
        asked.row(&[start]);
    }
    let (bytes, rows) = asked.finish();
    let found = sqlx::query(FIND_NAMED).bind(bytes).bind(rows).fetch_all(connection).await?;
    found.iter().map(|row| Ok((event_id(row, 0)?, position(row, 1)?))).collect()
}

fn event_id(row: &SqliteRow, column: usize) -> Result<EventId, sqlx::Error> {
    EventId::from_bytes(row.try_get(column)?)
        .map_err(|error| sqlx::Error::ColumnDecode { index: column.to_string(), source: error.into() })
}

/// From a stream's number and an offset in the column after it.
fn position(row: &SqliteRow, column: usize) -> Result<Position, sqlx::Error> {
    let number: i32 = row.try_get(column)?;
    let stream = Stream::ALL.into_iter().find(|stream| i32::from(stream.to_proto()) == number);
    let stream = stream.ok_or_else(|| sqlx::Error::ColumnDecode {
        index: column.to_string(),
        source: weft_model::PositionError.into(),
    })?;
    Ok(stream.partition(0).at(row.try_get::<i64, _>(column + 1)?.unsigned_abs()))
}

/// The text that writes these tables in one transaction.
fn text(tables: u16) -> String {
    let mut text = "BEGIN IMMEDIATE;\n".to_owned();
    let mut argument = 1;
    for (statement, n) in STATEMENTS.iter().zip(0..) {
        if tables & 1 << n != 0 {
            text += &statement.replace("$B", &format!("${argument}")).replace("$R", &format!("${}", argument + 1));
            argument += 2;
        }
    }
    text + "COMMIT"
}

/// The rows of each statement, in their order.
fn pack(rows: &Rows) -> [Pack; STATEMENTS.len()] {
    let mut packs: [Pack; STATEMENTS.len()] = Default::default();
    let [feed, identity, control, access, inbox, names, feeds, key_slots, verdicts, sizes] = &mut packs;
    let streams = [feed, identity, control, access].into_iter().zip(Stream::ALL);
    for ((pack, stream), (events, first)) in streams.zip(rows.events.iter().zip(rows.first)) {
        let bytes: usize = events.iter().map(|event| event.bytes.len()).sum();
        pack.reserve(bytes + 32 * events.len());
        for (event, offset) in events.iter().zip(first..) {
            let start = pack.bytes(&event.leaf);
            pack.bytes(&event.bytes);
            pack.row(&[offset as i64, start, event.bytes.len() as i64]);
        }
        if !events.is_empty() {
            sizes.row(&[number(stream), events.len() as i64, bytes as i64]);
        }
    }
    for (key, message) in &rows.messages {
        let start = inbox.bytes(&key.control_id);
        inbox.bytes(&message.event_id.0);
        let Position { partition, offset } = message.position;
        let verdict = i32::from(message.verdict).into();
        let bytes = key.control_id.len() as i64;
        inbox.row(&[key.feed.into(), start, bytes, number(partition.stream), offset as i64, verdict]);
    }
    for (event_id, Position { partition, offset }) in &rows.named {
        let start = names.bytes(&event_id.0);
        names.row(&[start, number(partition.stream), *offset as i64]);
    }
    for (feed, name) in &rows.feeds {
        let start = feeds.bytes(name.as_bytes());
        feeds.row(&[(*feed).into(), start, name.len() as i64]);
    }
    for (record, slot) in &rows.key_slots {
        let start = key_slots.bytes(&record.0);
        key_slots.row(&[start, *slot as i64]);
    }
    for (feed, verdict, count) in &rows.verdicts {
        verdicts.row(&[(*feed).into(), i32::from(*verdict).into(), *count as i64]);
    }
    packs
}

fn number(stream: Stream) -> i64 {
    i32::from(stream.to_proto()).into()
}
