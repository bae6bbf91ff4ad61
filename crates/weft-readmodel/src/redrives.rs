//! Which messages that were kept are accepted by now, and where. The row is of the event that was accepted: what it was kept as
//! may lie in another partition, which is applied apart.

use crate::{
    batch::Incoming,
    bulk::{self, Multi},
    error::StoreError,
    sql::{Column, Session},
};

/// Those that a set of batches tells of.
#[derive(Debug, Default)]
pub(crate) struct Redrives(Vec<Row>);

#[derive(Debug)]
struct Row {
    known_from: i64,
    held: i64,
    redriven_us: i64,
    resent: bool,
}

impl Redrives {
    /// Takes in what a message says of the one before, known from `at` on.
    pub(crate) fn fold(&mut self, event: &Incoming, at: i64) {
        if let Some(redriven) = event.redrives {
            let (redriven_us, resent) = (event.received_us, redriven.resent);
            self.0.push(Row { known_from: at, held: redriven.held, redriven_us, resent });
        }
    }

    pub(crate) async fn store(&self, conn: &mut Session<'_>) -> Result<(), StoreError> {
        const INSERT: Multi = Multi {
            sql: "INSERT INTO redrive (known_from, held, redriven_us, resent) {rows}",
            columns: &[Column::Int; 4],
        };
        bulk::write(conn, &INSERT, &self.0, |values, row| {
            values.put(row.known_from).put(row.held).put(row.redriven_us).put(i64::from(row.resent));
        })
        .await?;
        Ok(())
    }
}
