//! Feeds: their registrations, from the control stream, and their health, counted from the feed stream.

use std::collections::BTreeMap;

use sqlx::{SqliteConnection, sqlite::SqliteRow};
use weft_model::Verdict;

use crate::{
    batch::Incoming,
    bulk::{self, Multi},
    error::StoreError,
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
    /// Arrival of the last message: microseconds since 1970-01-01T00:00:00Z.
    pub last_received_us: i64,
    /// Its offset in the feed stream.
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

    /// Loads every registration: there are hundreds at most.
    pub(crate) async fn load(&mut self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        for row in sqlx::query(SELECT).fetch_all(conn).await? {
            let feed = read(&row)?;
            self.held.insert(feed.feed.clone(), feed);
        }
        Ok(())
    }

    pub(crate) async fn store(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        const PUT: Multi = Multi {
            before: "INSERT OR REPLACE INTO feed (feed, state, profile_toml, revision, registered_us) VALUES ",
            columns: 5,
            after: "",
        };
        if !self.changed {
            return Ok(());
        }
        let all: Vec<&Feed> = self.held.values().collect();
        bulk::write(conn, &PUT, &all, |values, feed| {
            values.put(feed.feed.as_str()).put(if feed.paused { "paused" } else { "registered" });
            values.put(feed.profile_toml.as_str()).put_u64(feed.revision).put(feed.registered_us);
        })
        .await
    }
}

/// What a set of batches adds to the counts.
#[derive(Debug, Default)]
pub(crate) struct Arrivals<'a>(BTreeMap<&'a str, Health>);

impl<'a> Arrivals<'a> {
    /// Counts one message.
    pub(crate) fn fold(&mut self, event: &'a Incoming) {
        let health = self.0.entry(&event.feed).or_default();
        match event.verdict {
            Verdict::Accepted => health.accepted += 1,
            Verdict::Conflict => health.conflict += 1,
            Verdict::Quarantined => health.quarantined += 1,
            // Parked, as an event that nothing can be made of.
            Verdict::Unspecified | Verdict::Duplicate => {}
        }
        health.last_received_us = event.received_us;
        health.last_offset = event.offset;
    }

    pub(crate) async fn store(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        const ADD: Multi = Multi {
            before: "INSERT INTO feed_health (feed, accepted, conflict, quarantined, last_received_us, last_offset) \
                     VALUES ",
            columns: 6,
            after: " ON CONFLICT (feed) DO UPDATE SET accepted = accepted + excluded.accepted, \
                    conflict = conflict + excluded.conflict, quarantined = quarantined + excluded.quarantined, \
                    last_received_us = excluded.last_received_us, last_offset = excluded.last_offset",
        };
        let all: Vec<_> = self.0.iter().collect();
        bulk::write(conn, &ADD, &all, |values, (feed, health)| {
            values.put(**feed).put_u64(health.accepted).put_u64(health.conflict).put_u64(health.quarantined);
            values.put(health.last_received_us).put_u64(health.last_offset);
        })
        .await
    }
}

/// All registrations.
pub(crate) const SELECT: &str = "SELECT feed, state, profile_toml, revision, registered_us FROM feed ORDER BY feed";

/// Reads a row of [`SELECT`].
pub(crate) fn read(row: &SqliteRow) -> Result<Feed, StoreError> {
    Ok(Feed {
        feed: bulk::get(row, 0)?,
        paused: bulk::get::<&str>(row, 1)? == "paused",
        profile_toml: bulk::get(row, 2)?,
        revision: bulk::get_u64(row, 3)?,
        registered_us: bulk::get(row, 4)?,
    })
}
