//! The newest events in memory, and the sizes of the partitions: followers read here without touching the disk.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use weft_model::{Partition, Position};

use crate::{
    ReadError, ReadLimit, Stored,
    error::Closed,
    partitions::{Partitions, PerPartition},
};

/// Bounds of what each partition keeps.
const TAIL_BYTES_MAX: usize = 32 << 20;
const TAIL_EVENTS_MAX: usize = 32 << 10;

/// What can be read, by partition.
pub(crate) struct Tail {
    /// One lock for all, so that the drafts of one call become visible together.
    tails: Mutex<PerPartition<PartitionTail>>,
    levels: PerPartition<watch::Sender<Level>>,
}

/// Events `end - events.len()` to `end`, of a partition that has at least `size`. `end` is less than `size` where events
/// are stored that did not pass through here.
#[derive(Default)]
struct PartitionTail {
    size: u64,
    end: u64,
    events: VecDeque<Stored>,
    bytes: usize,
}

#[derive(Clone, Copy, Default)]
struct Level {
    size: u64,
    closed: bool,
}

/// Where to read from.
pub(crate) enum Found {
    /// The events themselves.
    Here(Vec<Stored>),
    /// They are on disk; the partition has this size.
    OnDisk { size: u64 },
    /// The partition is not known to have so many events.
    Beyond,
}

impl Tail {
    pub(crate) fn new(sizes: &PerPartition<u64>) -> Self {
        let tail = |size: u64| PartitionTail { size, end: size, ..PartitionTail::default() };
        let level = |size| watch::Sender::new(Level { size, closed: false });
        let partitions = sizes.partitions();
        Self {
            tails: Mutex::new(PerPartition::new(partitions, |partition| tail(sizes.size(partition)))),
            levels: PerPartition::new(partitions, |partition| level(sizes.size(partition))),
        }
    }

    pub(crate) fn partitions(&self) -> Partitions {
        self.levels.partitions()
    }

    /// Makes stored events visible; of each partition they follow each other.
    pub(crate) fn publish(&self, events: impl IntoIterator<Item = Stored>) {
        let mut tails = self.lock();
        let mut grown: Vec<(Partition, u64)> = Vec::new();
        for event in events {
            let partition = event.position.partition;
            let Some(tail) = tails.get_mut(partition) else { continue };
            if event.position.offset != tail.end {
                tail.restart(event.position.offset);
            }
            tail.push(event);
            match grown.last_mut() {
                Some((last, size)) if *last == partition => *size = tail.size,
                _ => grown.push((partition, tail.size)),
            }
        }
        drop(tails);
        for (partition, size) in grown {
            self.raise(partition, size);
        }
    }

    /// Makes an event visible, unless one before it is not: whoever reads the partition publishes that, and this one again.
    #[cfg(feature = "kafka")]
    pub(crate) fn publish_next(&self, event: Stored) {
        let partition = event.position.partition;
        let mut tails = self.lock();
        let Some(tail) = tails.get_mut(partition) else { return };
        tail.size = tail.size.max(event.position.offset + 1);
        let next = event.position.offset == tail.end;
        if next {
            tail.push(event);
        }
        let size = tail.end;
        drop(tails);
        if next {
            self.raise(partition, size);
        }
    }

    /// Events of `partition` from `offset` on will be published; those before it are not in memory.
    #[cfg(feature = "kafka")]
    pub(crate) fn restart(&self, partition: Partition, offset: u64) {
        if let Some(tail) = self.lock().get_mut(partition) {
            tail.restart(offset);
            tail.size = tail.size.max(offset);
        }
        self.raise(partition, offset);
    }

    /// True where the event is stored, and will pass through here.
    #[cfg(feature = "kafka")]
    pub(crate) fn is_ahead(&self, from: Position) -> bool {
        self.lock().get(from.partition).is_some_and(|tail| from.offset >= tail.end)
    }

    /// Takes note that there are so many events; those who wait are told when they can be read.
    pub(crate) fn note(&self, partition: Partition, size: u64) {
        if let Some(tail) = self.lock().get_mut(partition) {
            tail.size = tail.size.max(size);
        }
    }

    /// Takes note of events that are stored but did not pass through here: another process stored them, or a batch that
    /// was reported as failed was stored after all.
    pub(crate) fn grow(&self, partition: Partition, size: u64) {
        self.note(partition, size);
        self.raise(partition, size);
    }

    pub(crate) fn close(&self) {
        for level in self.levels.values() {
            level.send_modify(|level| level.closed = true);
        }
    }

    pub(crate) fn size(&self, partition: Partition) -> u64 {
        self.lock().get(partition).map_or(0, |tail| tail.size)
    }

    pub(crate) fn find(&self, from: Position, limit: ReadLimit) -> Found {
        let tails = self.lock();
        let Some(tail) = tails.get(from.partition) else { return Found::Here(Vec::new()) };
        if from.offset >= tail.size {
            return Found::Beyond;
        }
        let oldest = tail.end - tail.events.len() as u64;
        if !(oldest..tail.end).contains(&from.offset) {
            return Found::OnDisk { size: tail.size };
        }
        let skip = usize::try_from(from.offset - oldest).unwrap_or(usize::MAX);
        let mut page = Vec::new();
        let mut bytes = 0;
        for event in tail.events.iter().skip(skip).take(limit.events) {
            bytes += event.bytes.len();
            page.push(event.clone());
            if bytes > limit.bytes {
                break;
            }
        }
        Found::Here(page)
    }

    pub(crate) async fn wait(&self, partition: Partition, offset: u64) -> Result<u64, ReadError> {
        let closed = || ReadError::Unavailable(Closed.into());
        // A partition that the log does not have never has an event: what ends then is the log.
        let (level, exists) = match self.levels.get(partition) {
            Some(level) => (level, true),
            None => (self.levels.values().next().ok_or_else(closed)?, false),
        };
        let reached = |level: &Level| level.closed || (exists && level.size > offset);
        match level.subscribe().wait_for(reached).await.map(|level| *level) {
            Ok(level) if !level.closed => Ok(level.size),
            _ => Err(closed()),
        }
    }

    fn raise(&self, partition: Partition, size: u64) {
        if let Some(level) = self.levels.get(partition) {
            level.send_if_modified(|level| {
                let grown = size > level.size;
                level.size = level.size.max(size);
                grown
            });
        }
    }

    /// What a panicking thread left behind is whole: nothing under this lock can fail half way.
    fn lock(&self) -> MutexGuard<'_, PerPartition<PartitionTail>> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartitionTail {
    fn restart(&mut self, offset: u64) {
        self.events.clear();
        self.bytes = 0;
        self.end = offset;
    }

    fn push(&mut self, event: Stored) {
        self.end += 1;
        self.size = self.size.max(self.end);
        self.bytes += event.bytes.len();
        self.events.push_back(event);
        while self.bytes > TAIL_BYTES_MAX || self.events.len() > TAIL_EVENTS_MAX {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
        }
    }
}
