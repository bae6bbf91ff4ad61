//! Links: which person a source record belongs to. The newest decision stands, but for one: what a steward has placed is
//! moved by stewards only ([`weft_model::identity`]).

use std::collections::HashMap;

use weft_model::{Pseudonym, proto::event::LinkMethod};

use crate::{
    batch::Linked,
    bulk::{self, Multi},
    current::Current,
    error::StoreError,
    records::read_pseudonym,
    sql::{self, Column, Session},
};

/// Links that a set of batches touches, and the versions that folding makes.
#[derive(Debug, Default)]
pub(crate) struct Links<'a> {
    held: HashMap<Pseudonym, Held>,
    round: u32,
    new: Vec<Version<'a>>,
    closed: Vec<(Pseudonym, i64, i64)>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    by_steward: bool,
    current: Current,
}

#[derive(Debug)]
struct Version<'a> {
    known_from: i64,
    known_to: Option<i64>,
    decided_us: i64,
    linked: &'a Linked,
}

impl<'a> Links<'a> {
    /// Takes in one decision, known from `at` on.
    pub(crate) fn fold(&mut self, linked: &'a Linked, decided_us: i64, at: i64) {
        let by_steward = is_steward_s(linked.method);
        if self.is_held(linked.record) && !by_steward {
            return;
        }
        if let Some(Held { current, .. }) = self.held.get(&linked.record) {
            match current.index_in(self.round).and_then(|index| self.new.get_mut(index)) {
                Some(version) => version.known_to = Some(at),
                None => self.closed.push((linked.record, current.known_from, at)),
            }
        }
        let current = Current::new(at, self.round, self.new.len());
        self.held.insert(linked.record, Held { by_steward, current });
        self.new.push(Version { known_from: at, known_to: None, decided_us, linked });
    }

    /// True where a steward has placed the record.
    pub(crate) fn is_held(&self, record: Pseudonym) -> bool {
        self.held.get(&record).is_some_and(|held| held.by_steward)
    }

    /// What is held, for a next round whose loads it spares.
    pub(crate) fn next_round<'b>(self) -> Links<'b> {
        Links { held: self.held, round: self.round + 1, new: Vec::new(), closed: Vec::new() }
    }

    pub(crate) async fn load(&mut self, conn: &mut Session<'_>, records: &[Pseudonym]) -> Result<(), StoreError> {
        const CURRENT: Multi = Multi {
            sql: "SELECT l.pseudonym, l.known_from, l.method FROM ({rows}) AS k \
                  {lookup} link AS l ON l.pseudonym = k.column1 AND l.known_to IS NULL",
            columns: &[Column::Bytes],
        };
        let rows = bulk::read(conn, &CURRENT, records, |values, record| {
            values.put(record.0.as_slice());
        });
        for row in rows.await? {
            let record = read_pseudonym(sql::get(&row, 0)?, "link")?;
            let method = i32::try_from(sql::get::<i64>(&row, 2)?)
                .map_err(|_| StoreError::Unreadable { table: "link", column: "method" })?;
            let current = Current::stored(sql::get(&row, 1)?);
            self.held.insert(record, Held { by_steward: is_steward_s(method), current });
        }
        Ok(())
    }

    pub(crate) async fn store(&self, conn: &mut Session<'_>) -> Result<(), StoreError> {
        const CLOSE: Multi = Multi {
            sql: "UPDATE link SET known_to = k.column3 FROM ({rows}) AS k \
                  WHERE pseudonym = k.column1 AND known_from = k.column2",
            columns: &[Column::Bytes, Column::Int, Column::Int],
        };
        const INSERT: Multi = Multi {
            sql: "INSERT INTO link (pseudonym, known_from, known_to, person, method, score, decided_us, decision) \
                  {rows}",
            columns: &[
                Column::Bytes,
                Column::Int,
                Column::Int,
                Column::Bytes,
                Column::Int,
                Column::Int,
                Column::Int,
                Column::Bytes,
            ],
        };
        bulk::write(conn, &CLOSE, &self.closed, |values, (record, known_from, known_to)| {
            values.put(record.0.as_slice()).put(*known_from).put(*known_to);
        })
        .await?;
        bulk::write(conn, &INSERT, &self.new, |values, row| {
            values.put(row.linked.record.0.as_slice()).put(row.known_from).put(row.known_to);
            values.put(row.linked.person.0.as_slice()).put(row.linked.method).put(row.linked.score);
            values.put(row.decided_us).put(row.linked.decision.as_slice());
        })
        .await?;
        Ok(())
    }
}

fn is_steward_s(method: i32) -> bool {
    LinkMethod::try_from(method) == Ok(LinkMethod::Steward)
}
