//! Timeline entries: the versions of every fact that makes a line.
//!
//! The newest word of the source stands. A fact told again word for word adds nothing; one that the source recorded
//! before what is known of it is kept, and never was current.

use std::collections::HashMap;

use sqlx::SqliteConnection;

use crate::{
    batch::{ToldFact, ToldLine},
    bulk::{self, Multi},
    error::StoreError,
};

/// Facts that a set of batches touches, and the versions that folding makes.
#[derive(Debug, Default)]
pub(crate) struct Entries<'a> {
    held: HashMap<(i64, i64), Held>,
    new: Vec<Version<'a>>,
    closed: Vec<Closed>,
}

/// The current version of a fact.
#[derive(Debug, Clone)]
struct Held {
    occurred_us: i64,
    known_from: u64,
    index: u64,
    recorded_us: i64,
    withdrawn: bool,
    content: [u8; 16],
    row: Row,
    changed: bool,
}

/// Its row in `entry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    /// It makes no line.
    None,
    Stored,
    New {
        index: usize,
    },
}

#[derive(Debug)]
struct Version<'a> {
    record_no: i64,
    fact: &'a ToldFact,
    line: &'a ToldLine,
    known_from: u64,
    known_to: Option<u64>,
}

#[derive(Debug)]
struct Closed {
    record_no: i64,
    occurred_us: i64,
    key: i64,
    known_from: u64,
    index: u64,
    known_to: u64,
}

impl<'a> Entries<'a> {
    /// Takes in one fact of a record, known from `offset` on.
    pub(crate) fn fold(&mut self, record_no: i64, fact: &'a ToldFact, offset: u64) {
        let key = (record_no, fact.key);
        match self.held.get_mut(&key) {
            // A fact that never made a line is no entry; once it has made one, every word about it counts.
            None if fact.line.is_none() => return,
            None => {}
            Some(held) if held.content == fact.content && held.withdrawn == fact.withdrawn => {
                if held.recorded_us < fact.recorded_us {
                    held.recorded_us = fact.recorded_us;
                    held.changed = true;
                }
                return;
            }
            Some(held) if fact.recorded_us < held.recorded_us => {
                self.add(record_no, fact, offset, Some(offset));
                return;
            }
            Some(held) => match held.row {
                Row::None => {}
                Row::New { index } => {
                    if let Some(version) = self.new.get_mut(index) {
                        version.known_to = Some(offset);
                    }
                }
                Row::Stored => self.closed.push(Closed {
                    record_no,
                    occurred_us: held.occurred_us,
                    key: fact.key,
                    known_from: held.known_from,
                    index: held.index,
                    known_to: offset,
                }),
            },
        }
        let row = self.add(record_no, fact, offset, None);
        let held = Held {
            occurred_us: fact.occurred_us,
            known_from: offset,
            index: fact.index,
            recorded_us: fact.recorded_us,
            withdrawn: fact.withdrawn,
            content: fact.content,
            row,
            changed: true,
        };
        self.held.insert(key, held);
    }

    fn add(&mut self, record_no: i64, fact: &'a ToldFact, known_from: u64, known_to: Option<u64>) -> Row {
        let Some(line) = &fact.line else { return Row::None };
        self.new.push(Version { record_no, fact, line, known_from, known_to });
        Row::New { index: self.new.len() - 1 }
    }

    /// Loads the facts named by record number and entry key.
    pub(crate) async fn load(&mut self, conn: &mut SqliteConnection, keys: &[(i64, i64)]) -> Result<(), StoreError> {
        const CURRENT: Multi = Multi {
            before: "SELECT f.record_no, f.entry_key, f.occurred_us, f.known_from, f.fact_index, f.recorded_us, \
                     f.withdrawn, f.has_line, f.content FROM (VALUES ",
            columns: 2,
            after: ") AS k CROSS JOIN fact AS f ON f.record_no = k.column1 AND f.entry_key = k.column2",
        };
        let rows = bulk::read(conn, &CURRENT, keys, |values, (record_no, key)| {
            values.put(*record_no).put(*key);
        });
        for row in rows.await? {
            let held = Held {
                occurred_us: bulk::get(&row, 2)?,
                known_from: bulk::get_u64(&row, 3)?,
                index: bulk::get_u64(&row, 4)?,
                recorded_us: bulk::get(&row, 5)?,
                withdrawn: bulk::get(&row, 6)?,
                content: bulk::get::<&[u8]>(&row, 8)?
                    .try_into()
                    .map_err(|_| StoreError::Unreadable { table: "fact", column: "content" })?,
                row: if bulk::get(&row, 7)? { Row::Stored } else { Row::None },
                changed: false,
            };
            self.held.insert((bulk::get(&row, 0)?, bulk::get(&row, 1)?), held);
        }
        Ok(())
    }

    pub(crate) async fn store(&mut self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        const CLOSE: Multi = Multi {
            before: "UPDATE entry SET known_to = k.column6 FROM (VALUES ",
            columns: 6,
            after: ") AS k WHERE record_no = k.column1 AND occurred_us = k.column2 AND entry_key = k.column3 \
                    AND known_from = k.column4 AND fact_index = k.column5",
        };
        const INSERT: Multi = Multi {
            before: "INSERT INTO entry (record_no, occurred_us, entry_key, known_from, fact_index, known_to, \
                     recorded_us, kind, withdrawn, body) VALUES ",
            columns: 10,
            after: "",
        };
        bulk::write(conn, &CLOSE, &self.closed, |values, row| {
            values.put(row.record_no).put(row.occurred_us).put(row.key);
            values.put_u64(row.known_from).put_u64(row.index).put_u64(row.known_to);
        })
        .await?;
        self.new.sort_unstable_by_key(|v| {
            (v.record_no, std::cmp::Reverse(v.fact.occurred_us), v.fact.key, v.known_from, v.fact.index)
        });
        bulk::write(conn, &INSERT, &self.new, |values, row| {
            let fact = row.fact;
            values.put(row.record_no).put(fact.occurred_us).put(fact.key).put_u64(row.known_from).put_u64(fact.index);
            values.put(row.known_to.map(bulk::sql)).put(fact.recorded_us).put(row.line.kind).put(fact.withdrawn);
            values.put(row.line.body.as_slice());
        })
        .await?;
        self.store_facts(conn).await
    }

    async fn store_facts(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        const PUT: Multi = Multi {
            before: "INSERT OR REPLACE INTO fact (record_no, entry_key, occurred_us, known_from, fact_index, \
                     recorded_us, withdrawn, has_line, content) VALUES ",
            columns: 9,
            after: "",
        };
        let mut changed: Vec<_> = self.held.iter().filter(|(_, held)| held.changed).collect();
        changed.sort_unstable_by_key(|(key, _)| **key);
        bulk::write(conn, &PUT, &changed, |values, ((record_no, key), held)| {
            values.put(*record_no).put(*key).put(held.occurred_us).put_u64(held.known_from).put_u64(held.index);
            values.put(held.recorded_us).put(held.withdrawn).put(held.row != Row::None).put(held.content.as_slice());
        })
        .await
    }
}
