//! Feeds and what they left behind: health, quarantine, parked events.

use prost::Message;
use sqlx::sqlite::SqliteRow;
use weft_model::proto::api::QuarantinedMessage;

use crate::{
    ReadModel, bulk,
    error::{QueryError, StoreError},
    feeds::{self, Feed, Health},
};

impl ReadModel {
    /// Every registered feed, by name.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn feeds(&self) -> Result<Vec<Feed>, QueryError> {
        let rows = sqlx::query(feeds::SELECT).fetch_all(self.readers()).await?;
        Ok(rows.iter().map(feeds::read).collect::<Result<_, _>>()?)
    }

    /// One feed, where it is registered.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn feed(&self, feed: &str) -> Result<Option<Feed>, QueryError> {
        Ok(self.feeds().await?.into_iter().find(|held| held.feed == feed))
    }

    /// What has arrived of a feed; all zero where nothing has.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn feed_health(&self, feed: &str) -> Result<Health, QueryError> {
        const HEALTH: &str = "
            SELECT accepted, conflict, quarantined, last_received_us, last_offset FROM feed_health WHERE feed = ?1";
        let row = sqlx::query(HEALTH).bind(feed).fetch_optional(self.readers()).await?;
        Ok(row.as_ref().map(read_health).transpose()?.unwrap_or_default())
    }

    /// At most `limit` messages that were kept and not projected, newest first: of one feed, or of all; from before the
    /// offset `before` on.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn quarantine(
        &self,
        feed: Option<&str>,
        limit: usize,
        before: Option<u64>,
    ) -> Result<Vec<QuarantinedMessage>, QueryError> {
        const OF_ALL: &str = "
            SELECT body FROM quarantine WHERE known_from < ?1 ORDER BY known_from DESC LIMIT ?2 + 0";
        const OF_FEED: &str = "
            SELECT body FROM quarantine WHERE known_from < ?1 AND feed = ?3 ORDER BY known_from DESC LIMIT ?2 + 0";
        let sql = if feed.is_some() { OF_FEED } else { OF_ALL };
        let before = bulk::sql(before.unwrap_or(u64::MAX));
        let query = sqlx::query(sql).bind(before).bind(bulk::sql(limit as u64)).bind(feed);
        let rows = query.fetch_all(self.readers()).await?;
        Ok(rows.iter().map(read_quarantined).collect::<Result<_, _>>()?)
    }

    /// One such message, by its offset in the feed stream.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn quarantined(&self, offset: u64) -> Result<Option<QuarantinedMessage>, QueryError> {
        let query = sqlx::query("SELECT body FROM quarantine WHERE known_from = ?1").bind(bulk::sql(offset));
        let row = query.fetch_optional(self.readers()).await?;
        Ok(row.as_ref().map(read_quarantined).transpose()?)
    }

    /// Number of events that could not be applied, or that wait behind such a one.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn parked_events(&self) -> Result<u64, QueryError> {
        let row = sqlx::query("SELECT count(*) FROM parked_event").fetch_one(self.readers()).await?;
        Ok(bulk::get_u64(&row, 0)?)
    }
}

fn read_health(row: &SqliteRow) -> Result<Health, StoreError> {
    Ok(Health {
        accepted: bulk::get_u64(row, 0)?,
        conflict: bulk::get_u64(row, 1)?,
        quarantined: bulk::get_u64(row, 2)?,
        last_received_us: bulk::get(row, 3)?,
        last_offset: bulk::get_u64(row, 4)?,
    })
}

fn read_quarantined(row: &SqliteRow) -> Result<QuarantinedMessage, StoreError> {
    QuarantinedMessage::decode(bulk::get::<&[u8]>(row, 0)?)
        .map_err(|_| StoreError::Unreadable { table: "quarantine", column: "body" })
}
