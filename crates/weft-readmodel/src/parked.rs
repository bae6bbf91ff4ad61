//! Parking: an event that cannot be applied stops its source record, in its stream, and nobody else.
//!
//! A record is parked stream by stream, so that what is parked depends on each stream's own order and not on how the
//! streams interleave.

use std::collections::HashSet;

use sqlx::SqliteConnection;
use weft_model::Stream;

use crate::{
    batch::{STREAMS, code},
    bulk::{self, Multi},
    error::StoreError,
};

/// Parked records among those that a set of batches touches, and the rows that folding makes.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    held: HashSet<(i64, Stream)>,
    records: Vec<(i64, Stream, u64, &'static str)>,
    events: Vec<(Stream, u64, Option<i64>, &'static str)>,
}

impl Parking {
    /// True, and the event is put behind the others, where its record is parked.
    pub(crate) fn waits(&mut self, stream: Stream, record_no: i64, offset: u64) -> bool {
        let waits = self.held.contains(&(record_no, stream));
        if waits {
            self.events.push((stream, offset, Some(record_no), code::WAITING));
        }
        waits
    }

    /// Parks a record from `offset` on; an event of no record parks alone.
    pub(crate) fn park(&mut self, stream: Stream, record_no: Option<i64>, offset: u64, why: &'static str) {
        self.events.push((stream, offset, record_no, why));
        if let Some(record_no) = record_no
            && self.held.insert((record_no, stream))
        {
            self.records.push((record_no, stream, offset, why));
        }
    }

    pub(crate) async fn load(&mut self, conn: &mut SqliteConnection, records: &[i64]) -> Result<(), StoreError> {
        // Nearly always there is none at all.
        let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM parked)").fetch_one(&mut *conn).await?;
        if !any {
            return Ok(());
        }
        const PARKED: Multi = Multi {
            before: "SELECT p.record_no, p.stream FROM (VALUES ",
            columns: 1,
            after: ") AS k CROSS JOIN parked AS p ON p.record_no = k.column1",
        };
        let rows = bulk::read(conn, &PARKED, records, |values, record_no| {
            values.put(*record_no);
        });
        for row in rows.await? {
            let name: &str = bulk::get(&row, 1)?;
            let stream = STREAMS.into_iter().find(|s| s.name() == name);
            let stream = stream.ok_or(StoreError::Unreadable { table: "parked", column: "stream" })?;
            self.held.insert((bulk::get(&row, 0)?, stream));
        }
        Ok(())
    }

    pub(crate) async fn store(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        const RECORD: Multi =
            Multi { before: "INSERT INTO parked (record_no, stream, known_from, code) VALUES ", columns: 4, after: "" };
        const EVENT: Multi = Multi {
            before: "INSERT INTO parked_event (stream, known_from, record_no, code) VALUES ",
            columns: 4,
            after: "",
        };
        bulk::write(conn, &RECORD, &self.records, |values, (record_no, stream, offset, code)| {
            values.put(*record_no).put(stream.name()).put_u64(*offset).put(*code);
        })
        .await?;
        bulk::write(conn, &EVENT, &self.events, |values, (stream, offset, record_no, code)| {
            values.put(stream.name()).put_u64(*offset).put(*record_no).put(*code);
        })
        .await
    }
}
