//! Feeds: their registrations, from the control stream, and their health, counted from the feed stream.

use std::collections::BTreeMap;

use weft_model::Verdict;

use crate::{
    batch::Incoming,
    bulk::{self, Multi},
    error::StoreError,
    sql::{self, Column, Row, Session},
};

/// A registered feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Its identifier.
    pub feed: String,
    /// True where it is to listen to nobody.
    pub paused: bool,
    /// The registration file as given.
    pub profile_toml: String,
    /// Offset of its newest registration in the control stream.
    pub revision: u64,
    /// When it was registered last: microseconds since 1970-01-01T00:00:00Z.
    pub registered_us: i64,
}

/// What has arrived of one feed. Duplicates are no events: the log counts them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Messages stored and projected (or parked).
    pub accepted: u64,
    /// Messages stored under a control id that was taken.
    pub conflict: u64,
    /// Messages stored and not projected.
    pub quarantined: u64,
    /// Messages read again from the log and accepted: none of those that arrived.
    pub redriven: u64,
    /// Messages kept now: quarantined or in conflict, and not accepted since. Of one partition alone it may be negative.
    pub held: i64,
    /// Arrival of the last message: microseconds since 1970-01-01T00:00:00Z.
    pub last_received_us: i64,
    /// Its offset in its partition of the feed stream.
    pub last_offset: u64,
}

/// Registrations that a set of batches touches.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    held: BTreeMap<String, Feed>,
    changed: bool,
}

impl Feeds {
    /// Takes in a registration. One that is registered again stays paused if it was.
    pub(crate) fn register(&mut self, feed: &str, profile_toml: &str, registered_us: i64, revision: u64) {
        let paused = self.held.get(feed).is_some_and(|held| held.paused);
        let (feed, profile_toml) = (feed.to_owned(), profile_toml.to_owned());
        self.held.insert(feed.clone(), Feed { feed, paused, profile_toml, revision, registered_us });
        self.changed = true;
    }

    /// Takes in a pause or its end; false where there is no such feed.
    pub(crate) fn switch(&mut self, feed: &str, paused: bool) -> bool {
        let Some(held) = self.held.get_mut(feed) else { return false };
        held.paused = paused;
        self.changed = true;
        true
    }

    /// What is held, for a next round whose loads it spares.
    pub(crate) fn next_round(self) -> Self {
        Self { held: self.held, changed: false }
    }

    /// Loads every registration: there are hundreds at most.
    pub(crate) async fn load(&mut self, conn: &mut Session<'_>) -> Result<(), StoreError> {
        for row in conn.all(SELECT, vec![]).await? {
            let feed = read(&row)?;
            self.held.insert(feed.feed.clone(), feed);
        }
        Ok(())
    }

    pub(crate) async fn store(&self, conn: &mut Session<'_>) -> Result<(), StoreError> {
        const PUT: Multi = Multi {
            sql: "INSERT INTO feed (feed, state, profile_toml, revision, registered_us) {rows} \
                  ON CONFLICT (feed) DO UPDATE SET state = excluded.state, profile_toml = excluded.profile_toml, \
                  revision = excluded.revision, registered_us = excluded.registered_us",
            columns: &[Column::Text, Column::Text, Column::Text, Column::Int, Column::Int],
        };
        if !self.changed {
            return Ok(());
        }
        let all: Vec<&Feed> = self.held.values().collect();
        bulk::write(conn, &PUT, &all, |values, feed| {
            values.put(feed.feed.as_str()).put(if feed.paused { "paused" } else { "registered" });
            values.put(feed.profile_toml.as_str()).put(feed.revision).put(feed.registered_us);
        })
        .await?;
        Ok(())
    }
}

/// What a set of batches adds to the counts of each feed in each partition.
#[derive(Debug, Default)]
pub(crate) struct Arrivals<'a>(BTreeMap<(&'a str, u32), Health>);

impl<'a> Arrivals<'a> {
    /// Counts one message.
    pub(crate) fn fold(&mut self, event: &'a Incoming, partition: u32) {
        let health = self.0.entry((&event.feed, partition)).or_default();
        if let Some(redriven) = event.redrives {
            health.held -= 1;
            if !redriven.resent {
                // It arrived long ago.
                health.redriven += 1;
                return;
            }
        }
        match event.verdict {
            Verdict::Accepted => health.accepted += 1,
            Verdict::Conflict => health.conflict += 1,
            Verdict::Quarantined => health.quarantined += 1,
            // Parked, as an event that nothing can be made of.
            Verdict::Unspecified | Verdict::Duplicate => return,
        }
        health.held += i64::from(event.verdict != Verdict::Accepted);
        (health.last_received_us, health.last_offset) = (event.received_us, event.offset);
    }

    pub(crate) async fn store(&self, conn: &mut Session<'_>) -> Result<(), StoreError> {
        const ADD: Multi = Multi {
            sql: "INSERT INTO feed_health AS h \
                  (feed, partition, accepted, conflict, quarantined, redriven, held, last_received_us, last_offset) \
                  {rows} \
                  ON CONFLICT (feed, partition) DO UPDATE SET accepted = h.accepted + excluded.accepted, \
                  conflict = h.conflict + excluded.conflict, quarantined = h.quarantined + excluded.quarantined, \
                  redriven = h.redriven + excluded.redriven, held = h.held + excluded.held, \
                  last_received_us = CASE WHEN excluded.accepted + excluded.conflict + excluded.quarantined = 0 \
                  THEN h.last_received_us ELSE excluded.last_received_us END, \
                  last_offset = CASE WHEN excluded.accepted + excluded.conflict + excluded.quarantined = 0 \
                  THEN h.last_offset ELSE excluded.last_offset END",
            columns: &[
                Column::Text,
                Column::Int,
                Column::Int,
                Column::Int,
                Column::Int,
                Column::Int,
                Column::Int,
                Column::Int,
                Column::Int,
            ],
        };
        let all: Vec<_> = self.0.iter().collect();
        bulk::write(conn, &ADD, &all, |values, ((feed, partition), health)| {
            values.put(*feed).put(*partition);
            values.put(health.accepted).put(health.conflict).put(health.quarantined);
            values.put(health.redriven).put(health.held).put(health.last_received_us).put(health.last_offset);
        })
        .await?;
        Ok(())
    }
}

/// All registrations.
pub(crate) const SELECT: &str = "SELECT feed, state, profile_toml, revision, registered_us FROM feed ORDER BY feed";

/// Reads a row of [`SELECT`].
pub(crate) fn read(row: &Row) -> Result<Feed, StoreError> {
    Ok(Feed {
        feed: sql::get(row, 0)?,
        paused: sql::get::<&str>(row, 1)? == "paused",
        profile_toml: sql::get(row, 2)?,
        revision: sql::get_u64(row, 3)?,
        registered_us: sql::get(row, 4)?,
    })
}
