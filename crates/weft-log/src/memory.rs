//! A log in memory, for tests: everything is that of the embedded log but the rows.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use weft_model::{EventId, Position, Pseudonym};

use crate::{
    Log, ReadError, ReadLimit, Statistics, Stored, Vault,
    error::Cause,
    seal::Sealed,
    storage::{Count, Counted, Ends, Known, KnownMessage, MessageKey, Questions, Rows, Storage, Writing, of},
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
    counts: BTreeMap<Counted, Count>,
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
        let events = of(&tables.events, from.partition.stream).iter().zip(0u64..);
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

    async fn sizes(&self) -> Result<[u64; 4], ReadError> {
        Ok(self.lock().sizes())
    }

    async fn statistics(&self) -> Result<Statistics, ReadError> {
        let tables = self.lock();
        let feeds = tables.feeds.iter().map(|(name, number)| (*number, name.clone())).collect();
        Ok(Statistics::from_counts(tables.counts.clone(), &feeds, 0))
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
        tables.key_slots.extend(rows.key_slots.iter().copied());
        for (counted, new) in &rows.counts {
            let Count { count, bytes } = tables.counts.entry(*counted).or_default();
            *count += new.count;
            *bytes += new.bytes;
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

/// The entries of `all` with these keys.
fn pick<K: Eq + Hash + Clone, V: Clone>(all: &HashMap<K, V>, keys: &[K]) -> HashMap<K, V> {
    keys.iter().filter_map(|key| Some((key.clone(), all.get(key)?.clone()))).collect()
}
