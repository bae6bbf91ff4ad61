//! A log in memory, for tests: everything is that of the embedded log but the rows.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use weft_model::{EventId, Position, Pseudonym};

use crate::{
    FeedStatistics, Log, PartitionStatistics, ReadError, ReadLimit, Statistics, Stored, Vault,
    error::Cause,
    seal::Sealed,
    statistics::count_verdict,
    storage::{Ends, Known, KnownMessage, MessageKey, Rows, Storage, Writing, partitions},
    vault::FIRST_RECORD_SLOT,
};

/// A log that is gone when it is dropped.
pub type MemoryLog = Log<Memory>;

/// Rows in maps.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Tables>>);

#[derive(Default)]
struct Tables {
    events: [Vec<Sealed>; 4],
    messages: HashMap<MessageKey, Vec<KnownMessage>>,
    named: HashMap<EventId, Position>,
    key_slots: HashMap<Pseudonym, u64>,
    feeds: HashMap<String, u32>,
    verdicts: HashMap<(u32, i32), u64>,
}

impl Log<Memory> {
    /// An empty log. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(vault: Arc<Vault>) -> Self {
        let memory = Memory::default();
        let ends = Ends { next_key_slot: FIRST_RECORD_SLOT, ..Ends::default() };
        Self::start(vault, memory.clone(), memory, ends)
    }
}

impl Storage for Memory {
    async fn read(&self, from: Position, size: u64, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        let tables = self.lock();
        let mut page = Vec::new();
        let mut bytes = 0;
        let events = tables.events.iter().zip(partitions()).find(|(_, partition)| *partition == from.partition);
        let events = events.map(|(events, _)| events.iter().zip(0u64..)).into_iter().flatten();
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

    async fn key_slot(&self, record: Pseudonym) -> Result<Option<u64>, ReadError> {
        Ok(self.lock().key_slots.get(&record).copied())
    }

    async fn sizes(&self) -> Result<[u64; 4], ReadError> {
        Ok(self.lock().sizes())
    }

    async fn statistics(&self) -> Result<Statistics, ReadError> {
        let tables = self.lock();
        let sum = |events: &Vec<Sealed>| events.iter().map(|event| event.bytes.len() as u64).sum();
        let partitions = partitions().into_iter().zip(&tables.events).map(|(partition, events)| PartitionStatistics {
            partition,
            events: events.len() as u64,
            bytes: sum(events),
        });
        let mut feeds: Vec<FeedStatistics> = Vec::new();
        for (name, number) in &tables.feeds {
            let mut feed = FeedStatistics { feed: name.clone(), ..FeedStatistics::default() };
            for ((_, verdict), count) in tables.verdicts.iter().filter(|((feed, _), _)| feed == number) {
                count_verdict(&mut feed, *verdict, *count);
            }
            feeds.push(feed);
        }
        feeds.sort_by(|a, b| a.feed.cmp(&b.feed));
        Ok(Statistics { partitions: partitions.collect(), feeds, disk_bytes: 0 })
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

    async fn find(&mut self, messages: &[MessageKey], named: &[EventId]) -> Result<Known, Cause> {
        let tables = self.lock();
        let stored = |key: &MessageKey| tables.messages.get(key).map(|known| (key.clone(), known.clone()));
        Ok(Known {
            messages: messages.iter().filter_map(stored).collect(),
            named: named.iter().filter_map(|id| tables.named.get(id).map(|position| (*id, *position))).collect(),
        })
    }

    async fn store(&mut self, rows: &Rows) -> Result<(), Cause> {
        let mut tables = self.lock();
        for (stored, new) in tables.events.iter_mut().zip(&rows.events) {
            stored.extend_from_slice(new);
        }
        for (key, message) in &rows.messages {
            tables.messages.entry(key.clone()).or_default().push(*message);
        }
        tables.named.extend(rows.named.iter().copied());
        tables.feeds.extend(rows.feeds.iter().map(|(number, name)| (name.clone(), *number)));
        for (record, slot) in &rows.key_slots {
            tables.key_slots.entry(*record).or_insert(*slot);
        }
        for (feed, verdict, count) in &rows.verdicts {
            *tables.verdicts.entry((*feed, i32::from(*verdict))).or_default() += count;
        }
        Ok(())
    }

    async fn close(&mut self) {}
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn sizes(&self) -> [u64; 4] {
        self.events.each_ref().map(|events| events.len() as u64)
    }
}
