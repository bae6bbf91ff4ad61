//! Messages that are kept and not projected, and what became of those that were accepted since.

use prost::Message;
use weft_model::{Position, Stream, proto::api::QuarantinedMessage};

use crate::{
    ReadModel,
    error::{QueryError, StoreError},
    place::{self, place},
    sql::{self, Row},
};

/// What is shown of a message: the columns that [`read`] reads. `r.held` is null for one that is kept still.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT q.body, r.known_from, r.redriven_us, r.resent FROM quarantine AS q
             LEFT JOIN redrive AS r ON r.held = q.known_from ",
            $which
        )
    };
}

/// Which messages a list has, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Newest first, with those that were accepted since.
    All,
    /// Those that are kept now, newest first.
    Now,
    /// Those that are kept now in the order in which they were received: in which they are to be read again.
    NowOldestFirst,
}

impl ReadModel {
    /// At most `limit` messages that were kept and not projected: of one feed, or of all; from behind the message at `after`
    /// on.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn quarantine(
        &self,
        feed: Option<&str>,
        kept: Kept,
        limit: usize,
        after: Option<Position>,
    ) -> Result<Vec<QuarantinedMessage>, QueryError> {
        const RECEIVED: &str = "SELECT received_us FROM quarantine WHERE known_from = $1";
        let mut from = if kept == Kept::NowOldestFirst { (i64::MIN, i64::MIN) } else { (i64::MAX, i64::MAX) };
        if let Some(after) = after {
            let at = place(after.partition.number, after.offset);
            let rows = self.ask(RECEIVED, vec![at.into()]).await?;
            let Some(row) = rows.first() else { return Ok(Vec::new()) };
            from = (sql::get(row, 0)?, at);
        }
        let mut given = vec![from.0.into(), from.1.into(), (limit as u64).into()];
        given.extend(feed.map(Into::into));
        let rows = self.ask(kept.sql(feed.is_some()), given).await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// One such message, by its position in the feed stream.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn quarantined(&self, position: Position) -> Result<Option<QuarantinedMessage>, QueryError> {
        const ONE: &str = select!("WHERE q.known_from = $1");
        let at = place(position.partition.number, position.offset);
        let rows = self.ask(ONE, vec![at.into()]).await?;
        Ok(rows.first().map(read).transpose()?)
    }
}

impl Kept {
    fn sql(self, of_feed: bool) -> &'static str {
        match (self, of_feed) {
            (Self::All, false) => select!(
                "WHERE (q.received_us, q.known_from) < ($1, $2)
                 ORDER BY q.received_us DESC, q.known_from DESC LIMIT $3 + 0"
            ),
            (Self::All, true) => select!(
                "WHERE (q.received_us, q.known_from) < ($1, $2) AND q.feed = $4
                 ORDER BY q.received_us DESC, q.known_from DESC LIMIT $3 + 0"
            ),
            (Self::Now, false) => select!(
                "WHERE (q.received_us, q.known_from) < ($1, $2) AND r.held IS NULL
                 ORDER BY q.received_us DESC, q.known_from DESC LIMIT $3 + 0"
            ),
            (Self::Now, true) => select!(
                "WHERE (q.received_us, q.known_from) < ($1, $2) AND r.held IS NULL AND q.feed = $4
                 ORDER BY q.received_us DESC, q.known_from DESC LIMIT $3 + 0"
            ),
            (Self::NowOldestFirst, false) => select!(
                "WHERE (q.received_us, q.known_from) > ($1, $2) AND r.held IS NULL
                 ORDER BY q.received_us, q.known_from LIMIT $3 + 0"
            ),
            (Self::NowOldestFirst, true) => select!(
                "WHERE (q.received_us, q.known_from) > ($1, $2) AND r.held IS NULL AND q.feed = $4
                 ORDER BY q.received_us, q.known_from LIMIT $3 + 0"
            ),
        }
    }
}

fn read(row: &Row) -> Result<QuarantinedMessage, StoreError> {
    let mut message = QuarantinedMessage::decode(sql::get::<&[u8]>(row, 0)?)
        .map_err(|_| StoreError::Unreadable { table: "quarantine", column: "body" })?;
    if let Some(known_from) = sql::get::<Option<i64>>(row, 1)? {
        message.redriven_to = Some(place::position(Stream::Feed, known_from).to_proto());
        message.redriven_us = sql::get(row, 2)?;
        message.resent = sql::get::<i64>(row, 3)? != 0;
    }
    Ok(message)
}
