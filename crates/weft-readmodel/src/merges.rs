//! Merges: records that their own organisation declared to be another of its records. A merge moves no rows: whoever
//! asks for a person follows it.

use std::collections::HashMap;

use sqlx::SqliteConnection;

use crate::{
    bulk::{self, Multi},
    error::StoreError,
};

/// Merges that a set of batches touches, and the versions that folding makes.
#[derive(Debug, Default)]
pub(crate) struct Merges {
    /// By retired record: every merge on the way up from a record that is touched.
    held: HashMap<i64, Held>,
    new: Vec<Version>,
    closed: Vec<(i64, u64, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    survivor_no: i64,
    place: Place,
}

/// Where the current version is.
#[derive(Debug, Clone, Copy)]
enum Place {
    Stored { known_from: u64 },
    New { index: usize },
}

#[derive(Debug)]
struct Version {
    retired_no: i64,
    known_from: u64,
    known_to: Option<u64>,
    survivor_no: i64,
    decided_us: i64,
}

impl Merges {
    /// Takes in one merge, known from `offset` on; false where the survivor follows the retired record already.
    pub(crate) fn fold(&mut self, retired_no: i64, survivor_no: i64, decided_us: i64, offset: u64) -> bool {
        let mut above = Some(survivor_no);
        while let Some(record_no) = above {
            if record_no == retired_no {
                return false;
            }
            above = self.held.get(&record_no).map(|held| held.survivor_no);
        }
        match self.held.get(&retired_no).map(|held| held.place) {
            None => {}
            Some(Place::Stored { known_from }) => self.closed.push((retired_no, known_from, offset)),
            Some(Place::New { index }) => {
                if let Some(version) = self.new.get_mut(index) {
                    version.known_to = Some(offset);
                }
            }
        }
        self.held.insert(retired_no, Held { survivor_no, place: Place::New { index: self.new.len() } });
        self.new.push(Version { retired_no, known_from: offset, known_to: None, survivor_no, decided_us });
        true
    }

    /// Loads the merges of `records`, and of the records that they follow.
    pub(crate) async fn load(&mut self, conn: &mut SqliteConnection, records: &[i64]) -> Result<(), StoreError> {
        const CURRENT: Multi = Multi {
            before: "SELECT m.retired_no, m.survivor_no, m.known_from FROM (VALUES ",
            columns: 1,
            after: ") AS k CROSS JOIN merge AS m ON m.retired_no = k.column1 AND m.known_to IS NULL",
        };
        let mut level = records.to_vec();
        while !level.is_empty() {
            let rows = bulk::read(conn, &CURRENT, &level, |values, record_no| {
                values.put(*record_no);
            })
            .await?;
            level.clear();
            for row in rows {
                let (retired_no, survivor_no) = (bulk::get(&row, 0)?, bulk::get(&row, 1)?);
                let place = Place::Stored { known_from: bulk::get_u64(&row, 2)? };
                if self.held.insert(retired_no, Held { survivor_no, place }).is_none() {
                    level.push(survivor_no);
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn store(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        const CLOSE: Multi = Multi {
            before: "UPDATE merge SET known_to = k.column3 FROM (VALUES ",
            columns: 3,
            after: ") AS k WHERE retired_no = k.column1 AND known_from = k.column2",
        };
        const INSERT: Multi = Multi {
            before: "INSERT INTO merge (retired_no, known_from, known_to, survivor_no, decided_us) VALUES ",
            columns: 5,
            after: "",
        };
        bulk::write(conn, &CLOSE, &self.closed, |values, (retired_no, known_from, known_to)| {
            values.put(*retired_no).put_u64(*known_from).put_u64(*known_to);
        })
        .await?;
        bulk::write(conn, &INSERT, &self.new, |values, row| {
            values.put(row.retired_no).put_u64(row.known_from).put(row.known_to.map(bulk::sql));
            values.put(row.survivor_no).put(row.decided_us);
        })
        .await
    }
}
