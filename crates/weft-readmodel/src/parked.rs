//! Parking: an event that cannot be applied stops its source record, in its stream, and nobody else.
//!
//! A record is parked stream by stream, so that what is parked depends on each stream's own order and not on how the
//! streams interleave.

use std::collections::HashSet;

use weft_model::{Pseudonym, Stream};

use crate::{
    batch::{STREAMS, code},
    bulk::{self, Multi},
    error::StoreError,
    records::read_pseudonym,
    sql::{self, Column, Session},
};

/// Parked records among those that a set of batches touches, and the rows that folding makes.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    held: HashSet<(Pseudonym, Stream)>,
    records: Vec<(Pseudonym, Stream, i64, &'static str)>,
    events: Vec<(Stream, i64, Option<Pseudonym>, &'static str)>,
}

impl Parking {
    /// True, and the event is put behind the others, where its record is parked.
    pub(crate) fn waits(&mut self, stream: Stream, record: Pseudonym, at: i64) -> bool {
        let waits = self.held.contains(&(record, stream));
        if waits {
            self.events.push((stream, at, Some(record), code::WAITING));
        }
        waits
    }

    /// Parks a record from `at` on; an event of no record parks alone.
    pub(crate) fn park(&mut self, stream: Stream, record: Option<Pseudonym>, at: i64, why: &'static str) {
        self.events.push((stream, at, record, why));
        if let Some(record) = record
            && self.held.insert((record, stream))
        {
            self.records.push((record, stream, at, why));
        }
    }

    /// What is held, for a next round whose loads it spares.
    pub(crate) fn next_round(self) -> Self {
        Self { held: self.held, ..Self::default() }
    }

    pub(crate) async fn load(&mut self, conn: &mut Session<'_>, records: &[Pseudonym]) -> Result<(), StoreError> {
        // Nearly always there is none at all.
        if !conn.value("SELECT EXISTS (SELECT 1 FROM parked)", vec![]).await? {
            return Ok(());
        }
        const PARKED: Multi = Multi {
            sql: "SELECT p.pseudonym, p.stream FROM ({rows}) AS k {lookup} parked AS p ON p.pseudonym = k.column1",
            columns: &[Column::Bytes],
        };
        let rows = bulk::read(conn, &PARKED, records, |values, record| {
            values.put(record.0.as_slice());
        });
        for row in rows.await? {
            let name: &str = sql::get(&row, 1)?;
            let stream = STREAMS.into_iter().find(|s| s.name() == name);
            let stream = stream.ok_or(StoreError::Unreadable { table: "parked", column: "stream" })?;
            self.held.insert((read_pseudonym(sql::get(&row, 0)?, "parked")?, stream));
        }
        Ok(())
    }

    pub(crate) async fn store(&self, conn: &mut Session<'_>) -> Result<(), StoreError> {
        const RECORD: Multi = Multi {
            sql: "INSERT INTO parked (pseudonym, stream, known_from, code) {rows}",
            columns: &[Column::Bytes, Column::Text, Column::Int, Column::Text],
        };
        const EVENT: Multi = Multi {
            sql: "INSERT INTO parked_event (stream, known_from, pseudonym, code) {rows}",
            columns: &[Column::Text, Column::Int, Column::Bytes, Column::Text],
        };
        bulk::write(conn, &RECORD, &self.records, |values, (record, stream, at, code)| {
            values.put(record.0.as_slice()).put(stream.name()).put(*at).put(*code);
        })
        .await?;
        bulk::write(conn, &EVENT, &self.events, |values, (stream, at, record, code)| {
            let record = record.as_ref().map(|record| record.0.as_slice());
            values.put(stream.name()).put(*at).put(record).put(*code);
        })
        .await?;
        Ok(())
    }
}
