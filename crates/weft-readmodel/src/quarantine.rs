//! Quarantine: messages that are kept and not projected further, because their control id was taken or because nothing
//! could be made of them.

use sqlx::SqliteConnection;

use crate::{
    bulk::{self, Multi},
    error::StoreError,
};

/// Messages that a set of batches holds back.
#[derive(Debug, Default)]
pub(crate) struct Quarantine<'a>(Vec<Held<'a>>);

#[derive(Debug)]
struct Held<'a> {
    offset: u64,
    feed: &'a str,
    body: &'a [u8],
}

impl<'a> Quarantine<'a> {
    pub(crate) fn fold(&mut self, feed: &'a str, body: &'a [u8], offset: u64) {
        self.0.push(Held { offset, feed, body });
    }

    pub(crate) async fn store(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        const INSERT: Multi =
            Multi { before: "INSERT INTO quarantine (known_from, feed, body) VALUES ", columns: 3, after: "" };
        bulk::write(conn, &INSERT, &self.0, |values, held| {
            values.put_u64(held.offset).put(held.feed).put(held.body);
        })
        .await
    }
}
