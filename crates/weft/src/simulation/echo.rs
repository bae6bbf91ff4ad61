//! A log as one on Kafka is: several partitions of the feed stream, and events that are there a second time because nobody
//! could tell whether their delivery had happened.
//!
//! The events lie in a log in memory, each once; this one shows them in an order of its own, and some of them twice: the
//! second copy directly behind the first, or behind a few others. A receipt names the first copy.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::watch;
use weft_log::{
    AppendError, Draft, EventLog, MemoryLog, OpenError, ReadError, ReadLimit, Receipt, SharedLog, Statistics, Stored,
    Vault,
};
use weft_model::{Event, Partition, Position, Pseudonym, SourceRecordId};

use super::Dice;

/// Of a hundred appended events, how many are there again.
const REPEATS_PERCENT: u64 = 12;
/// A second copy lies behind the first and at most so many others.
const BACK_MAX: u64 = 4;

pub(super) struct Echo {
    log: SharedLog,
    shown: Mutex<Shown>,
    grown: watch::Sender<()>,
}

struct Shown {
    dice: Dice,
    /// For every offset that is shown, that of the event in the log in memory.
    events: BTreeMap<Partition, Vec<u64>>,
    /// Where the first copy of an event is shown.
    first: HashMap<Position, Position>,
    repeats: u64,
}

impl Echo {
    pub(super) fn new(vault: Arc<Vault>, feed_partitions: u32, dice: Dice) -> Self {
        let log: SharedLog = Arc::new(MemoryLog::with_feed_partitions(vault, feed_partitions));
        let events = log.partitions().into_iter().map(|partition| (partition, Vec::new())).collect();
        let shown = Shown { dice, events, first: HashMap::new(), repeats: 0 };
        Self { log, shown: Mutex::new(shown), grown: watch::Sender::new(()) }
    }

    /// How many events are there a second time.
    pub(super) fn repeats(&self) -> u64 {
        self.shown().repeats
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    /// Shows an event of the log in memory, unless it is shown already; perhaps shows an earlier one of its partition again.
    fn show(&mut self, inner: Position) -> Position {
        if let Some(first) = self.first.get(&inner) {
            return *first;
        }
        let events = self.events.entry(inner.partition).or_default();
        let here = inner.partition.at(events.len() as u64);
        events.push(inner.offset);
        self.first.insert(inner, here);
        if self.dice.chance(REPEATS_PERCENT) {
            let back = 1 + self.dice.below(BACK_MAX.min(events.len() as u64));
            events.push(events[events.len() - back as usize]);
            self.repeats += 1;
        }
        here
    }
}

#[async_trait]
impl EventLog for Echo {
    async fn append(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>, AppendError> {
        let mut receipts = self.log.append(drafts).await?;
        {
            let mut shown = self.shown();
            for receipt in &mut receipts {
                receipt.position = shown.show(receipt.position);
            }
        }
        self.grown.send_replace(());
        Ok(receipts)
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        let wanted: Vec<u64> = {
            let shown = self.shown();
            let events = shown.events.get(&from.partition).into_iter().flatten();
            events.skip(from.offset as usize).take(limit.events).copied().collect()
        };
        let (mut page, mut bytes) = (Vec::new(), 0);
        for (inner, offset) in wanted.into_iter().zip(from.offset..) {
            let one = self.log.read(from.partition.at(inner), ReadLimit { events: 1, bytes: 0 }).await?;
            for stored in one {
                bytes += stored.bytes.len();
                page.push(Stored { position: from.partition.at(offset), ..stored });
            }
            if bytes > limit.bytes {
                break;
            }
        }
        Ok(page)
    }

    async fn wait(&self, partition: Partition, offset: u64) -> Result<u64, ReadError> {
        let mut grown = self.grown.subscribe();
        loop {
            let size = self.size(partition).await?;
            if size > offset {
                return Ok(size);
            }
            if grown.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    async fn size(&self, partition: Partition) -> Result<u64, ReadError> {
        Ok(self.shown().events.get(&partition).map_or(0, |events| events.len() as u64))
    }

    fn partitions(&self) -> Vec<Partition> {
        self.log.partitions()
    }

    async fn open(&self, stored: &Stored) -> Result<Arc<Event>, OpenError> {
        self.log.open(stored).await
    }

    fn pseudonym(&self, record: &SourceRecordId) -> Pseudonym {
        self.log.pseudonym(record)
    }

    async fn statistics(&self) -> Result<Statistics, ReadError> {
        self.log.statistics().await
    }

    async fn close(&self) {
        self.log.close().await;
    }
}
