//! Feeds and what they left behind: health, quarantine, parked events.

use prost::Message;
use weft_model::{Position, proto::api::QuarantinedMessage};

use crate::{
    ReadModel,
    error::{QueryError, StoreError},
    feeds::{self, Feed, Health},
    place::place,
    sql::{self, Row},
};

impl ReadModel {
    /// Every registered feed, by name.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn feeds(&self) -> Result<Vec<Feed>, QueryError> {
        let rows = self.ask(feeds::SELECT, vec![]).await?;
        Ok(rows.iter().map(feeds::read).collect::<Result<_, _>>()?)
    }

    /// One feed, where it is registered.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn feed(&self, feed: &str) -> Result<Option<Feed>, QueryError> {
        Ok(self.feeds().await?.into_iter().find(|held| held.feed == feed))
    }

    /// What has arrived of a feed, in all partitions; all zero where nothing has.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn feed_health(&self, feed: &str) -> Result<Health, QueryError> {
        const HEALTH: &str = "
            SELECT accepted, conflict, quarantined, last_received_us, last_offset FROM feed_health WHERE feed = $1";
        let mut all = Health::default();
        for row in &self.ask(HEALTH, vec![feed.into()]).await? {
            let health = read_health(row)?;
            all.accepted += health.accepted;
            all.conflict += health.conflict;
            all.quarantined += health.quarantined;
            if (health.last_received_us, health.last_offset) > (all.last_received_us, all.last_offset) {
                (all.last_received_us, all.last_offset) = (health.last_received_us, health.last_offset);
            }
        }
        Ok(all)
    }

    /// At most `limit` messages that were kept and not projected, newest first: of one feed, or of all; from after the
    /// message at `after` on.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn quarantine(
        &self,
        feed: Option<&str>,
        limit: usize,
        after: Option<Position>,
    ) -> Result<Vec<QuarantinedMessage>, QueryError> {
        const RECEIVED: &str = "SELECT received_us FROM quarantine WHERE known_from = $1";
        const OF_ALL: &str = "
            SELECT body FROM quarantine WHERE (received_us, known_from) < ($1, $2)
            ORDER BY received_us DESC, known_from DESC LIMIT $3 + 0";
        const OF_FEED: &str = "
            SELECT body FROM quarantine WHERE (received_us, known_from) < ($1, $2) AND feed = $4
            ORDER BY received_us DESC, known_from DESC LIMIT $3 + 0";
        let (mut received_us, mut before) = (i64::MAX, i64::MAX);
        if let Some(after) = after {
            before = place(after.partition.number, after.offset);
            let rows = self.ask(RECEIVED, vec![before.into()]).await?;
            let Some(row) = rows.first() else { return Ok(Vec::new()) };
            received_us = sql::get(row, 0)?;
        }
        let mut given = vec![received_us.into(), before.into(), (limit as u64).into()];
        given.extend(feed.map(Into::into));
        let rows = self.ask(if feed.is_some() { OF_FEED } else { OF_ALL }, given).await?;
        Ok(rows.iter().map(read_quarantined).collect::<Result<_, _>>()?)
    }

    /// One such message, by its position in the feed stream.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn quarantined(&self, position: Position) -> Result<Option<QuarantinedMessage>, QueryError> {
        let at = place(position.partition.number, position.offset);
        let rows = self.ask("SELECT body FROM quarantine WHERE known_from = $1", vec![at.into()]).await?;
        Ok(rows.first().map(read_quarantined).transpose()?)
    }

    /// Number of events that could not be applied, or that wait behind such a one.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn parked_events(&self) -> Result<u64, QueryError> {
        let rows = self.ask("SELECT count(*) FROM parked_event", vec![]).await?;
        Ok(rows.first().map_or(Ok(0), |row| sql::get_u64(row, 0))?)
    }
}

fn read_health(row: &Row) -> Result<Health, StoreError> {
    Ok(Health {
        accepted: sql::get_u64(row, 0)?,
        conflict: sql::get_u64(row, 1)?,
        quarantined: sql::get_u64(row, 2)?,
        last_received_us: sql::get(row, 3)?,
        last_offset: sql::get_u64(row, 4)?,
    })
}

fn read_quarantined(row: &Row) -> Result<QuarantinedMessage, StoreError> {
    QuarantinedMessage::decode(sql::get::<&[u8]>(row, 0)?)
        .map_err(|_| StoreError::Unreadable { table: "quarantine", column: "body" })
}
