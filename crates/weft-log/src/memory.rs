//! A log in memory, for tests: everything is that of the embedded log but the rows.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use weft_model::{EventId, Partition, Position, Pseudonym};

use crate::{
    Log, ReadError, ReadLimit, Statistics, Stored, Vault,
    batch::{Place, verdict_of},
    error::Cause,
    partitions::{Partitions, PerPartition},
    seal::Sealed,
    storage::{Count, Counted, Ends, Known, KnownMessage, MessageKey, Questions, Rows, Storage, Storing, Writing},
    vault::FIRST_RECORD_SLOT,
};

/// A log that is gone when it is dropped.
pub type MemoryLog = Log<Memory>;

/// Rows in maps.
#[derive(Clone)]
pub struct Memory(Arc<Mutex<Tables>>);

struct Tables {
    events: PerPartition<Vec<Sealed>>,
    messages: HashMap<MessageKey, Vec<KnownMessage>>,
    named: HashMap<EventId, Place>,
    key_slots: HashMap<Pseudonym, u64>,
    feeds: HashMap<String, u32>,
    counts: BTreeMap<Counted, Count>,
}

impl Log<Memory> {
    /// An empty log with one partition for each stream. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(vault: Arc<Vault>) -> Self {
        Self::with_feed_partitions(vault, 1)
    }

    /// An empty log with this many partitions for the stream feed, as one on Kafka has.
    #[must_use]
    pub fn with_feed_partitions(vault: Arc<Vault>, feed_partitions: u32) -> Self {
        let partitions = Partitions::with_feed(feed_partitions);
        let memory = Memory::new(partitions);
        Self::start(vault, memory.clone(), memory, Ends::empty(partitions, FIRST_RECORD_SLOT))
    }
}

impl Storage for Memory {
    async fn read(&self, from: Position, size: u64, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        let tables = self.lock();
        let mut page = Vec::new();
        let mut bytes = 0;
        let events = tables.events.get(from.partition).into_iter().flatten().zip(0u64..);
        for (event, offset) in events.filter(|(_, n)| (from.offset..size).contains(n)).take(limit.events) {
            bytes += event.bytes.len();
            let position = from.partition.at(offset);
            page.push(Stored { position, bytes: event.bytes.clone(), leaf: event.leaf });
            if bytes > limit.bytes {
                break;
            }
        }
        Ok(page)
    }

    async fn size(&self, partition: Partition) -> Result<u64, ReadError> {
        Ok(self.lock().events.get(partition).map_or(0, |events| events.len() as u64))
    }

    async fn statistics(&self) -> Result<Statistics, ReadError> {
        let tables = self.lock();
        let feeds = tables.feeds.iter().map(|(name, number)| (*number, name.clone())).collect();
        Ok(Statistics::from_counts(tables.events.partitions(), tables.counts.clone(), &feeds, 0))
    }

    async fn close(&self) {}
}

impl Writing for Memory {
    async fn resume(&mut self) -> Result<Ends, Cause> {
        let tables = self.lock();
        let last = tables.key_slots.values().max().copied();
        let next_key_slot = last.map_or(FIRST_RECORD_SLOT, |slot| slot + 1);
        Ok(Ends { sizes: tables.sizes(), next_key_slot, feeds: tables.feeds.clone() })
    }

    async fn find(&mut self, questions: &Questions) -> Result<Known, Cause> {
        let tables = self.lock();
        Ok(Known {
            messages: pick(&tables.messages, &questions.messages),
            named: pick(&tables.named, &questions.named),
            key_slots: pick(&tables.key_slots, &questions.records),
        })
    }

    async fn read(&mut self, position: Position) -> Result<Option<Stored>, Cause> {
        let tables = self.lock();
        let at = usize::try_from(position.offset).map_err(Cause::new)?;
        let event = tables.events.get(position.partition).and_then(|events| events.get(at));
        Ok(event.map(|Sealed { bytes, leaf, .. }| Stored { position, bytes: bytes.clone(), leaf: *leaf }))
    }

    async fn store(&mut self, rows: &Rows) -> Result<Storing, Cause> {
        let mut tables = self.lock();
        if rows.unasked && tables.has_any(rows) {
            return Ok(Storing::Repeats);
        }
        for (position, event) in &rows.events {
            if let Some(events) = tables.events.get_mut(position.partition) {
                events.push(Sealed { opened: None, ..event.clone() });
            }
        }
        for (key, event_id, position, verdict) in &rows.messages {
            let verdict = verdict_of(*verdict);
            let message = KnownMessage { event_id: *event_id, place: Place::At(*position), verdict };
            tables.messages.entry(key.clone()).or_default().push(message);
        }
        tables.named.extend(rows.named.iter().map(|(event_id, position)| (*event_id, Place::At(*position))));
        tables.feeds.extend(rows.feeds.iter().map(|(number, name)| (name.clone(), *number)));
        tables.key_slots.extend(rows.key_slots.iter().copied());
        for (counted, new) in &rows.counts {
            let Count { count, bytes } = tables.counts.entry(*counted).or_default();
            *count += new.count;
            *bytes += new.bytes;
        }
        Ok(Storing::Done)
    }

    async fn close(&mut self) {}
}

impl Memory {
    fn new(partitions: Partitions) -> Self {
        Self(Arc::new(Mutex::new(Tables {
            events: PerPartition::new(partitions, |_| Vec::new()),
            messages: HashMap::new(),
            named: HashMap::new(),
            key_slots: HashMap::new(),
            feeds: HashMap::new(),
            counts: BTreeMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// Whether something is stored under a name of theirs.
    fn has_any(&self, rows: &Rows) -> bool {
        rows.messages.iter().any(|(key, ..)| self.messages.contains_key(key))
            || rows.named.iter().any(|(event_id, _)| self.named.contains_key(event_id))
            || rows.key_slots.iter().any(|(record, _)| self.key_slots.contains_key(record))
    }

    fn sizes(&self) -> PerPartition<u64> {
        PerPartition::new(self.events.partitions(), |partition| {
            self.events.get(partition).map_or(0, |events| events.len() as u64)
        })
    }
}

/// The entries of `all` with these keys.
fn pick<K: Eq + Hash + Clone, V: Clone>(all: &HashMap<K, V>, keys: &[K]) -> HashMap<K, V> {
    keys.iter().filter_map(|key| Some((key.clone(), all.get(key)?.clone()))).collect()
}
