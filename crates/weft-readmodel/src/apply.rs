//! Applying batches: load what they touch, fold in memory, write back, all in one transaction with the cursors.

use std::collections::{BTreeSet, HashSet};

use sqlx::{Connection, SqliteConnection};
use weft_model::{Cut, Pseudonym, Stream};

use crate::{
    batch::{Batch, Effect, Incoming, Merged, Told, code, entry_key},
    cursor,
    encounters::Encounters,
    entries::Entries,
    error::{ApplyError, StoreError},
    feeds::{Arrivals, Feeds},
    links::Links,
    merges::Merges,
    parked::Parking,
    quarantine::Quarantine,
    records::Records,
};

/// Applies `batches` in the order given; what is known afterwards.
pub(crate) async fn apply(conn: &mut SqliteConnection, batches: &[Batch]) -> Result<Cut, ApplyError> {
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    let before = cursor::load(&mut transaction).await?;
    let after = cursor::advance(&before, batches)?;
    let mut work = Work::load(&mut transaction, batches).await?;
    for batch in batches {
        for event in &batch.events {
            work.fold(batch.partition.stream, event);
        }
    }
    work.store(&mut transaction).await?;
    cursor::store(&mut transaction, &after).await?;
    transaction.commit().await?;
    Ok(after)
}

/// Everything that a set of batches touches.
#[derive(Default)]
struct Work<'a> {
    records: Records,
    entries: Entries<'a>,
    encounters: Encounters,
    links: Links<'a>,
    merges: Merges,
    parking: Parking,
    feeds: Feeds,
    arrivals: Arrivals<'a>,
    quarantine: Quarantine<'a>,
}

impl<'a> Work<'a> {
    async fn load(conn: &mut SqliteConnection, batches: &'a [Batch]) -> Result<Self, StoreError> {
        let mut work = Self::default();
        let events = || batches.iter().flat_map(|batch| &batch.events);
        work.records.load(conn, &mentioned(events())).await?;
        let (mut told, mut facts, mut visits) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (mut linked, mut merged, mut feeds) = (BTreeSet::new(), BTreeSet::new(), false);
        for event in events() {
            match &event.effect {
                Effect::Tell(message) => {
                    // Of a record without a row there is nothing to load.
                    let Some(no) = work.records.stored_number(message.record) else { continue };
                    told.insert(no);
                    facts.extend(message.facts.iter().map(|fact| (no, entry_key(fact.id))));
                    let movements = message.facts.iter().filter_map(|fact| fact.movement.as_ref());
                    visits.extend(movements.map(|(visit, _)| (no, visit.as_str())));
                }
                Effect::Link(link) => linked.extend(work.records.stored_number(link.record)),
                Effect::Merge(Merged { retired, survivor }) => {
                    merged.extend([*retired, *survivor].into_iter().filter_map(|r| work.records.stored_number(r)));
                }
                Effect::RegisterFeed { .. } | Effect::SwitchFeed { .. } => feeds = true,
                Effect::Nothing | Effect::Park { .. } | Effect::Hold(_) => {}
            }
        }
        work.entries.load(conn, &sorted(facts)).await?;
        work.encounters.load(conn, &sorted(visits)).await?;
        work.links.load(conn, &linked.iter().copied().collect::<Vec<_>>()).await?;
        work.merges.load(conn, &merged.iter().copied().collect::<Vec<_>>()).await?;
        if feeds {
            work.feeds.load(conn).await?;
        }
        told.extend(linked);
        told.extend(merged);
        work.parking.load(conn, &sorted(told)).await?;
        Ok(work)
    }

    fn fold(&mut self, stream: Stream, event: &'a Incoming) {
        if stream == Stream::Feed {
            self.arrivals.fold(event);
        }
        let offset = event.offset;
        match &event.effect {
            Effect::Nothing => {}
            Effect::Hold(body) => self.quarantine.fold(&event.feed, body, offset),
            Effect::Park { record, code } => {
                let record_no = record.and_then(|record| self.records.number(record));
                if !record_no.is_some_and(|no| self.parking.waits(stream, no, offset)) {
                    self.parking.park(stream, record_no, offset, code);
                }
            }
            Effect::Tell(told) => self.tell(told, &event.feed, offset),
            Effect::Link(linked) => {
                let Some(no) = self.records.number(linked.record) else { return };
                if !self.parking.waits(stream, no, offset) {
                    self.links.fold(no, linked, event.received_us, offset);
                }
            }
            Effect::Merge(merged) => self.merge(*merged, event.received_us, offset),
            Effect::RegisterFeed { feed, profile_toml } => {
                self.feeds.register(feed, profile_toml, event.received_us, offset);
            }
            Effect::SwitchFeed { feed, paused } => {
                if !self.feeds.switch(feed, *paused) {
                    self.parking.park(stream, None, offset, code::FEED_UNKNOWN);
                }
            }
        }
    }

    fn tell(&mut self, told: &'a Told, feed: &str, offset: u64) {
        let Some(no) = self.records.number(told.record) else { return };
        if self.parking.waits(Stream::Feed, no, offset) {
            return;
        }
        self.records.fold(told, feed, offset);
        for fact in &told.facts {
            self.entries.fold(no, fact, offset);
            if let Some((visit, movement)) = &fact.movement {
                self.encounters.fold(no, visit, movement, offset);
            }
        }
    }

    fn merge(&mut self, merged: Merged, decided_us: i64, offset: u64) {
        let numbers = (self.records.number(merged.retired), self.records.number(merged.survivor));
        let (Some(retired_no), Some(survivor_no)) = numbers else { return };
        if self.parking.waits(Stream::Identity, retired_no, offset) {
            return;
        }
        if !self.merges.fold(retired_no, survivor_no, decided_us, offset) {
            self.parking.park(Stream::Identity, Some(retired_no), offset, code::MERGE_CIRCLE);
        }
    }

    async fn store(&mut self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        self.records.store(conn).await?;
        self.entries.store(conn).await?;
        self.encounters.store(conn).await?;
        self.links.store(conn).await?;
        self.merges.store(conn).await?;
        self.parking.store(conn).await?;
        self.feeds.store(conn).await?;
        self.arrivals.store(conn).await?;
        self.quarantine.store(conn).await
    }
}

/// The records that events speak of, each once, in the order of their first mention.
fn mentioned<'e>(events: impl Iterator<Item = &'e Incoming>) -> Vec<Pseudonym> {
    let mut seen = HashSet::new();
    let mut records = Vec::new();
    for event in events {
        let (one, other) = match &event.effect {
            Effect::Tell(told) => (Some(told.record), None),
            Effect::Link(linked) => (Some(linked.record), None),
            Effect::Merge(merged) => (Some(merged.retired), Some(merged.survivor)),
            Effect::Park { record, .. } => (*record, None),
            _ => (None, None),
        };
        records.extend(one.into_iter().chain(other).filter(|record| seen.insert(*record)));
    }
    records
}

fn sorted<T>(set: impl IntoIterator<Item = T>) -> Vec<T> {
    set.into_iter().collect()
}
