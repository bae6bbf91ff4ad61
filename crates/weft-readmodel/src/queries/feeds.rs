//! Feeds and what they left behind: health, parked events.

use crate::{
    ReadModel,
    error::{QueryError, StoreError},
    feeds::{self, Feed, Health},
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
            SELECT accepted, conflict, quarantined, redriven, held, last_received_us, last_offset
            FROM feed_health WHERE feed = $1";
        let mut all = Health::default();
        for row in &self.ask(HEALTH, vec![feed.into()]).await? {
            let health = read_health(row)?;
            all.accepted += health.accepted;
            all.conflict += health.conflict;
            all.quarantined += health.quarantined;
            all.redriven += health.redriven;
            all.held += health.held;
            if (health.last_received_us, health.last_offset) > (all.last_received_us, all.last_offset) {
                (all.last_received_us, all.last_offset) = (health.last_received_us, health.last_offset);
            }
        }
        Ok(all)
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
        redriven: sql::get_u64(row, 3)?,
        held: sql::get(row, 4)?,
        last_received_us: sql::get(row, 5)?,
        last_offset: sql::get_u64(row, 6)?,
    })
}
