//! Quarantine: messages that are kept and not projected further, because their control id was taken or because nothing
//! could be made of them.

use crate::{
    batch::Incoming,
    bulk::{self, Multi},
    error::StoreError,
    sql::{Column, Session},
};

/// Messages that a set of batches holds back.
#[derive(Debug, Default)]
pub(crate) struct Quarantine<'a>(Vec<Held<'a>>);

#[derive(Debug)]
struct Held<'a> {
    known_from: i64,
    event: &'a Incoming,
    body: &'a [u8],
}

impl<'a> Quarantine<'a> {
    pub(crate) fn fold(&mut self, event: &'a Incoming, body: &'a [u8], at: i64) {
        self.0.push(Held { known_from: at, event, body });
    }

    pub(crate) async fn store(&self, conn: &mut Session<'_>) -> Result<(), StoreError> {
        const INSERT: Multi = Multi {
            sql: "INSERT INTO quarantine (known_from, feed, received_us, body) {rows}",
            columns: &[Column::Int, Column::Text, Column::Int, Column::Bytes],
        };
        bulk::write(conn, &INSERT, &self.0, |values, held| {
            values.put(held.known_from).put(held.event.feed.as_str()).put(held.event.received_us).put(held.body);
        })
        .await?;
        Ok(())
    }
}
