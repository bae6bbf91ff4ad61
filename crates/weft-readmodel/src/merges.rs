//! Merges: records that their own organisation declared to be another of its records. A merge moves no rows: whoever
//! asks for a person follows it.

use std::collections::HashMap;

use weft_model::Pseudonym;

use crate::{
    batch::Merged,
    bulk::{self, Multi},
    current::Current,
    error::StoreError,
    records::read_pseudonym,
    sql::{self, Column, Session},
};

/// Merges that a set of batches touches, and the versions that folding makes.
#[derive(Debug, Default)]
pub(crate) struct Merges {
    /// By retired record: every merge on the way up from a record that is touched.
    held: HashMap<Pseudonym, Held>,
    round: u32,
    new: Vec<Version>,
    closed: Vec<(Pseudonym, i64, i64)>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    survivor: Pseudonym,
    current: Current,
}

#[derive(Debug)]
struct Version {
    merged: Merged,
    known_from: i64,
    known_to: Option<i64>,
    decided_us: i64,
}

impl Merges {
    /// Takes in one merge, known from `at` on; false where the survivor follows the retired record already.
    pub(crate) fn fold(&mut self, merged: Merged, decided_us: i64, at: i64) -> bool {
        let Merged { retired, survivor } = merged;
        let mut above = Some(survivor);
        while let Some(record) = above {
            if record == retired {
                return false;
            }
            above = self.held.get(&record).map(|held| held.survivor);
        }
        if let Some(Held { current, .. }) = self.held.get(&retired) {
            match current.index_in(self.round).and_then(|index| self.new.get_mut(index)) {
                Some(version) => version.known_to = Some(at),
                None => self.closed.push((retired, current.known_from, at)),
            }
        }
        let current = Current::new(at, self.round, self.new.len());
        self.held.insert(retired, Held { survivor, current });
        self.new.push(Version { merged, known_from: at, known_to: None, decided_us });
        true
    }

    /// The record follows nobody any more, from `at` on.
    pub(crate) fn unfollow(&mut self, record: Pseudonym, at: i64) {
        let Some(Held { current, .. }) = self.held.remove(&record) else { return };
        match current.index_in(self.round).and_then(|index| self.new.get_mut(index)) {
            Some(version) => version.known_to = Some(at),
            None => self.closed.push((record, current.known_from, at)),
        }
    }

    /// What is held, for a next round whose loads it spares.
    pub(crate) fn next_round(self) -> Self {
        Self { held: self.held, round: self.round + 1, ..Self::default() }
    }

    /// Loads the merges of `records`, and of the records that they follow.
    pub(crate) async fn load(&mut self, conn: &mut Session<'_>, records: &[Pseudonym]) -> Result<(), StoreError> {
        const CURRENT: Multi = Multi {
            sql: "SELECT m.retired, m.survivor, m.known_from FROM ({rows}) AS k \
                  {lookup} merge AS m ON m.retired = k.column1 AND m.known_to IS NULL",
            columns: &[Column::Bytes],
        };
        let mut level = records.to_vec();
        while !level.is_empty() {
            let rows = bulk::read(conn, &CURRENT, &level, |values, record| {
                values.put(record.0.as_slice());
            })
            .await?;
            level.clear();
            for row in rows {
                let retired = read_pseudonym(sql::get(&row, 0)?, "merge")?;
                let survivor = read_pseudonym(sql::get(&row, 1)?, "merge")?;
                let current = Current::stored(sql::get(&row, 2)?);
                if self.held.insert(retired, Held { survivor, current }).is_none() {
                    level.push(survivor);
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn store(&self, conn: &mut Session<'_>) -> Result<(), StoreError> {
        const CLOSE: Multi = Multi {
            sql: "UPDATE merge SET known_to = k.column3 FROM ({rows}) AS k \
                  WHERE retired = k.column1 AND known_from = k.column2",
            columns: &[Column::Bytes, Column::Int, Column::Int],
        };
        const INSERT: Multi = Multi {
            sql: "INSERT INTO merge (retired, known_from, known_to, survivor, decided_us) {rows}",
            columns: &[Column::Bytes, Column::Int, Column::Int, Column::Bytes, Column::Int],
        };
        bulk::write(conn, &CLOSE, &self.closed, |values, (retired, known_from, known_to)| {
            values.put(retired.0.as_slice()).put(*known_from).put(*known_to);
        })
        .await?;
        bulk::write(conn, &INSERT, &self.new, |values, row| {
            values.put(row.merged.retired.0.as_slice()).put(row.known_from).put(row.known_to);
            values.put(row.merged.survivor.0.as_slice()).put(row.decided_us);
        })
        .await?;
        Ok(())
    }
}
