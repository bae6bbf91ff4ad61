//! Applying batches: load what they touch, fold in memory, write back, all in one transaction with the cursors.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use weft_model::{Partition, Pseudonym, Stream};

use crate::{
    batch::{Batch, Effect, Incoming, Merged, Told, code, entry_key},
    cursor::Cursors,
    encounters::Encounters,
    entries::Entries,
    error::{ApplyError, StoreError},
    feeds::{Arrivals, Feeds},
    links::Links,
    merges::Merges,
    parked::Parking,
    place::place,
    postgres,
    quarantine::Quarantine,
    records::Records,
    redrives::Redrives,
    repeats::{self, Repeats},
    reviews::Reviews,
    rulings::{Ruled, Rulings},
    sql::{Session, Tx},
};

/// On what condition events are applied.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    pub(crate) repeats: Repeats,
    /// The epoch in which the caller owns each partition; `None` where nobody else writes.
    pub(crate) epochs: Option<BTreeMap<Partition, i64>>,
}

/// Applies `batches` in the order given, and commits; where the cursors stand afterwards.
pub(crate) async fn apply(mut tx: Tx<'_>, batches: &[Batch], conditions: &Conditions) -> Result<Cursors, ApplyError> {
    let mut conn = tx.session();
    let conn = &mut conn;
    let before = Cursors::load(conn).await?;
    let after = before.advance(batches)?;
    owned(&before, batches, conditions)?;
    let mut repeats = HashSet::new();
    if conditions.repeats == Repeats::Possible {
        repeats = repeats::remember(conn, batches).await?;
    }
    let mut work = Work::load(conn, batches).await?;
    for batch in batches {
        for event in &batch.events {
            if repeats.is_empty() || !repeats.contains(&batch.partition.at(event.offset)) {
                work.fold(batch.partition, event);
            }
        }
    }
    work.store(conn).await?;
    before.store(conn, &after).await?;
    if let Session::Postgres(conn) = conn {
        postgres::tell(conn).await?;
    }
    tx.commit().await?;
    Ok(after)
}
/// Refuses batches of partitions that somebody else owns by now.
fn owned(stored: &Cursors, batches: &[Batch], conditions: &Conditions) -> Result<(), ApplyError> {
    let Some(epochs) = &conditions.epochs else { return Ok(()) };
    let lost =
        |partition: &Partition| stored.0.get(partition).map(|cursor| cursor.epoch) != epochs.get(partition).copied();
    let lost = batches.iter().map(|batch| batch.partition).find(lost);
    lost.map_or(Ok(()), |partition| Err(ApplyError::Fenced(partition)))
}

/// Everything that a set of batches touches.
#[derive(Default)]
pub(crate) struct Work<'a> {
    records: Records,
    entries: Entries<'a>,
    encounters: Encounters,
    links: Links<'a>,
    merges: Merges,
    reviews: Reviews<'a>,
    rulings: Rulings<'a>,
    parking: Parking,
    feeds: Feeds,
    arrivals: Arrivals<'a>,
    quarantine: Quarantine<'a>,
    redrives: Redrives,
}

impl<'a> Work<'a> {
    async fn load(conn: &mut Session<'_>, batches: &'a [Batch]) -> Result<Self, StoreError> {
        let mut work = Self::default();
        let events = || batches.iter().flat_map(|batch| &batch.events);
        let partitions = batches.iter().filter(|batch| batch.partition.stream == Stream::Feed);
        let partitions = partitions.map(|batch| batch.partition.number).collect();
        work.records.load(conn, &told_of(events()), &partitions).await?;
        let (mut touched, mut facts, mut visits) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (mut linked, mut merged, mut asked) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut feeds = false;
        for event in events() {
            match &event.effect {
                Effect::Tell(message) => {
                    touched.insert(message.record);
                    // Of a record without a row there is nothing to load.
                    let Some(no) = work.records.number(message.record) else { continue };
                    facts.extend(message.facts.iter().map(|fact| (no, entry_key(fact.id))));
                    let movements = message.facts.iter().filter_map(|fact| fact.movement.as_ref());
                    visits.extend(movements.map(|(visit, _)| (no, visit.as_str())));
                }
                Effect::Link(link) => {
                    linked.insert(link.record);
                }
                Effect::Merge(Merged { retired, survivor }) => {
                    merged.extend([*retired, *survivor]);
                    // Whether a steward has placed it decides.
                    linked.insert(*retired);
                }
                Effect::Ask { record, .. } => {
                    asked.insert(*record);
                }
                Effect::Rule(ruled) => {
                    linked.extend(ruled.links.iter().map(|link| link.record));
                    merged.extend(&ruled.unfollowed);
                    asked.extend(&ruled.settled);
                }
                Effect::Park { record, .. } => touched.extend(*record),
                Effect::RegisterFeed { .. } | Effect::SwitchFeed { .. } => feeds = true,
                Effect::Nothing | Effect::Hold(_) => {}
            }
        }
        work.entries.load(conn, &sorted(facts)).await?;
        work.encounters.load(conn, &sorted(visits)).await?;
        work.links.load(conn, &sorted(linked.iter().copied())).await?;
        work.merges.load(conn, &sorted(merged.iter().copied())).await?;
        asked.extend(linked.iter().copied());
        work.reviews.load(conn, &sorted(asked.iter().copied())).await?;
        if feeds {
            work.feeds.load(conn).await?;
        }
        touched.extend(linked);
        touched.extend(merged);
        touched.extend(asked);
        work.parking.load(conn, &sorted(touched)).await?;
        Ok(work)
    }

    /// For a store that is empty, and is written to only: what is to be known of what came before is held from round to round.
    pub(crate) fn filling() -> Self {
        Self { records: Records::filling(), encounters: Encounters::filling(), ..Self::default() }
    }

    /// Makes rows of versions that stand at the end of a fill, no more of a table than `most`; false where there are none left.
    pub(crate) fn end(&mut self, most: usize) -> bool {
        let records = self.records.end(most);
        self.encounters.end(most) || records
    }

    /// For a next round of events: what this one held need not be loaded.
    pub(crate) fn next_round<'b>(self) -> Work<'b> {
        Work {
            records: self.records.next_round(),
            entries: self.entries.next_round(),
            encounters: self.encounters.next_round(),
            links: self.links.next_round(),
            merges: self.merges.next_round(),
            reviews: self.reviews.next_round(),
            rulings: Rulings::default(),
            parking: self.parking.next_round(),
            feeds: self.feeds.next_round(),
            arrivals: Arrivals::default(),
            quarantine: Quarantine::default(),
            redrives: Redrives::default(),
        }
    }

    /// Number of facts that are held.
    pub(crate) fn facts(&self) -> usize {
        self.entries.held()
    }

    /// Takes out the current state of every fact.
    pub(crate) fn into_facts(self) -> impl Iterator<Item = (i64, i64, Vec<u8>)> {
        self.entries.into_facts()
    }

    pub(crate) fn fold(&mut self, partition: Partition, event: &'a Incoming) {
        let stream = partition.stream;
        if stream == Stream::Feed {
            self.arrivals.fold(event, partition.number);
        }
        let at = place(partition.number, event.offset);
        self.redrives.fold(event, at);
        match &event.effect {
            Effect::Nothing => {}
            Effect::Hold(body) => self.quarantine.fold(event, body, at),
            Effect::Park { record, code } => {
                if !record.is_some_and(|record| self.parking.waits(stream, record, at)) {
                    self.parking.park(stream, *record, at, code);
                }
            }
            Effect::Tell(told) => self.tell(told, &event.feed, at),
            Effect::Link(linked) => {
                if !self.parking.waits(stream, linked.record, at) {
                    self.links.fold(linked, event.received_us, at);
                    self.reviews.fold(linked.record, linked.asked.as_ref(), event.received_us, at);
                }
            }
            Effect::Ask { record, asked } => {
                if !self.parking.waits(stream, *record, at) {
                    self.reviews.fold(*record, asked.as_ref(), event.received_us, at);
                }
            }
            Effect::Rule(ruled) => self.rule(ruled, event.received_us, at),
            Effect::Merge(merged) => self.merge(*merged, event.received_us, at),
            Effect::RegisterFeed { feed, profile_toml } => {
                self.feeds.register(feed, profile_toml, event.received_us, event.offset);
            }
            Effect::SwitchFeed { feed, paused } => {
                if !self.feeds.switch(feed, *paused) {
                    self.parking.park(stream, None, at, code::FEED_UNKNOWN);
                }
            }
        }
    }

    fn tell(&mut self, told: &'a Told, feed: &str, at: i64) {
        if self.parking.waits(Stream::Feed, told.record, at) {
            return;
        }
        let no = self.records.fold(told, feed, at);
        for fact in &told.facts {
            self.entries.fold(no, fact, at);
            if let Some((visit, movement)) = &fact.movement {
                self.encounters.fold(no, visit, movement, at);
            }
        }
    }

    fn merge(&mut self, merged: Merged, decided_us: i64, at: i64) {
        if self.parking.waits(Stream::Identity, merged.retired, at) || self.links.is_held(merged.retired) {
            return;
        }
        if !self.merges.fold(merged, decided_us, at) {
            self.parking.park(Stream::Identity, Some(merged.retired), at, code::MERGE_CIRCLE);
        }
    }

    /// What is ruled speaks of many records, and holds for each, also for one that is parked: it says itself all that it does.
    fn rule(&mut self, ruled: &'a Ruled, decided_us: i64, at: i64) {
        for record in &ruled.unfollowed {
            self.merges.unfollow(*record, at);
        }
        for linked in &ruled.links {
            self.links.fold(linked, decided_us, at);
        }
        for record in &ruled.settled {
            self.reviews.fold(*record, None, decided_us, at);
        }
        self.rulings.fold(ruled, decided_us, at);
    }

    pub(crate) async fn store(&mut self, conn: &mut Session<'_>) -> Result<(), StoreError> {
        self.records.store(conn).await?;
        self.entries.store(conn).await?;
        if !conn.only_writes() {
            self.entries.store_facts(conn).await?;
        }
        self.encounters.store(conn).await?;
        self.links.store(conn).await?;
        self.merges.store(conn).await?;
        self.reviews.store(conn).await?;
        self.rulings.store(conn).await?;
        self.parking.store(conn).await?;
        self.feeds.store(conn).await?;
        self.arrivals.store(conn).await?;
        self.quarantine.store(conn).await?;
        self.redrives.store(conn).await
    }
}

/// The records that messages tell of, each once.
fn told_of<'e>(events: impl Iterator<Item = &'e Incoming>) -> Vec<Pseudonym> {
    let mut seen = HashSet::new();
    let told = events.filter_map(|event| match &event.effect {
        Effect::Tell(told) => Some(told.record),
        _ => None,
    });
    told.filter(|record| seen.insert(*record)).collect()
}

fn sorted<T>(set: impl IntoIterator<Item = T>) -> Vec<T> {
    set.into_iter().collect()
}
