//! Links: which person a source record belongs to. The newest decision stands.

use std::collections::HashMap;

use sqlx::SqliteConnection;

use crate::{
    batch::Linked,
    bulk::{self, Multi},
    error::StoreError,
};

/// Links that a set of batches touches, and the versions that folding makes.
#[derive(Debug, Default)]
pub(crate) struct Links<'a> {
    held: HashMap<i64, Place>,
    new: Vec<Version<'a>>,
    closed: Vec<(i64, u64, u64)>,
}

/// Where the current version is.
#[derive(Debug, Clone, Copy)]
enum Place {
    Stored { known_from: u64 },
    New { index: usize },
}

#[derive(Debug)]
struct Version<'a> {
    record_no: i64,
    known_from: u64,
    known_to: Option<u64>,
    decided_us: i64,
    linked: &'a Linked,
}

impl<'a> Links<'a> {
    /// Takes in one decision, known from `offset` on.
    pub(crate) fn fold(&mut self, record_no: i64, linked: &'a Linked, decided_us: i64, offset: u64) {
        match self.held.get(&record_no) {
            None => {}
            Some(Place::Stored { known_from }) => self.closed.push((record_no, *known_from, offset)),
            Some(Place::New { index }) => {
                if let Some(version) = self.new.get_mut(*index) {
                    version.known_to = Some(offset);
                }
            }
        }
        self.held.insert(record_no, Place::New { index: self.new.len() });
        self.new.push(Version { record_no, known_from: offset, known_to: None, decided_us, linked });
    }

    pub(crate) async fn load(&mut self, conn: &mut SqliteConnection, records: &[i64]) -> Result<(), StoreError> {
        const CURRENT: Multi = Multi {
            before: "SELECT l.record_no, l.known_from FROM (VALUES ",
            columns: 1,
            after: ") AS k CROSS JOIN link AS l ON l.record_no = k.column1 AND l.known_to IS NULL",
        };
        let rows = bulk::read(conn, &CURRENT, records, |values, record_no| {
            values.put(*record_no);
        });
        for row in rows.await? {
            self.held.insert(bulk::get(&row, 0)?, Place::Stored { known_from: bulk::get_u64(&row, 1)? });
        }
        Ok(())
    }

    pub(crate) async fn store(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        const CLOSE: Multi = Multi {
            before: "UPDATE link SET known_to = k.column3 FROM (VALUES ",
            columns: 3,
            after: ") AS k WHERE record_no = k.column1 AND known_from = k.column2",
        };
        const INSERT: Multi = Multi {
            before: "INSERT INTO link (record_no, known_from, known_to, person, method, score, decided_us, decision) \
                     VALUES ",
            columns: 8,
            after: "",
        };
        bulk::write(conn, &CLOSE, &self.closed, |values, (record_no, known_from, known_to)| {
            values.put(*record_no).put_u64(*known_from).put_u64(*known_to);
        })
        .await?;
        bulk::write(conn, &INSERT, &self.new, |values, row| {
            values.put(row.record_no).put_u64(row.known_from).put(row.known_to.map(bulk::sql));
            values.put(row.linked.person.0.as_slice()).put(row.linked.method).put(row.linked.score);
            values.put(row.decided_us).put(row.linked.decision.as_slice());
        })
        .await
    }
}
