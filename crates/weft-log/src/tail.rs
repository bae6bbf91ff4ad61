//! The newest events in memory, and the sizes of the partitions: followers read here without touching the disk.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use weft_model::{Partition, Position, Stream};

use crate::{ReadError, ReadLimit, Stored, error::Closed, seal::Sealed, storage::of};

/// Bounds of what each stream keeps.
const TAIL_BYTES_MAX: usize = 32 << 20;
const TAIL_EVENTS_MAX: usize = 32 << 10;

/// What can be read, by stream.
pub(crate) struct Tail {
    /// One lock for all streams, so that the drafts of one call become visible together.
    streams: Mutex<[StreamTail; 4]>,
    levels: [watch::Sender<Level>; 4],
}

#[derive(Default)]
struct StreamTail {
    size: u64,
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
}

impl Tail {
    pub(crate) fn new(sizes: [u64; 4]) -> Self {
        let streams = sizes.map(|size| StreamTail { size, ..StreamTail::default() });
        let levels = sizes.map(|size| watch::Sender::new(Level { size, closed: false }));
        Self { streams: Mutex::new(streams), levels }
    }

    /// Makes stored events visible: of each stream those that follow its size.
    pub(crate) fn publish(&self, events: [Vec<Sealed>; 4]) {
        let mut grown = [None; 4];
        let mut streams = self.lock();
        for (((tail, events), stream), grown) in streams.iter_mut().zip(events).zip(Stream::ALL).zip(&mut grown) {
            if !events.is_empty() {
                tail.push(stream.partition(0), events);
                *grown = Some(tail.size);
            }
        }
        drop(streams);
        for (level, size) in self.levels.iter().zip(grown) {
            if let Some(size) = size {
                level.send_modify(|level| level.size = size);
            }
        }
    }

    /// Takes note of events that are stored but did not pass through here: another process stored them, or a batch that
    /// was reported as failed was stored after all.
    pub(crate) fn grow(&self, sizes: [u64; 4]) {
        for ((tail, level), size) in self.lock().iter_mut().zip(&self.levels).zip(sizes) {
            if size > tail.size {
                *tail = StreamTail { size, ..StreamTail::default() };
            }
            level.send_if_modified(|level| {
                let grown = size > level.size;
                level.size = level.size.max(size);
                grown
            });
        }
    }

    pub(crate) fn close(&self) {
        for level in &self.levels {
            level.send_modify(|level| level.closed = true);
        }
    }

    pub(crate) fn size(&self, partition: Partition) -> u64 {
        if partition.number == 0 { of(&self.lock(), partition.stream).size } else { 0 }
    }

    pub(crate) fn find(&self, from: Position, limit: ReadLimit) -> Found {
        if from.partition.number != 0 {
            return Found::Here(Vec::new());
        }
        let streams = self.lock();
        let tail = of(&streams, from.partition.stream);
        let oldest = tail.size - tail.events.len() as u64;
        if from.offset >= tail.size {
            return Found::Here(Vec::new());
        }
        let Some(skip) = from.offset.checked_sub(oldest) else { return Found::OnDisk { size: tail.size } };
        let mut page = Vec::new();
        let mut bytes = 0;
        for event in tail.events.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)).take(limit.events) {
            bytes += event.bytes.len();
            page.push(event.clone());
            if bytes > limit.bytes {
                break;
            }
        }
        Found::Here(page)
    }

    pub(crate) async fn wait(&self, partition: Partition, offset: u64) -> Result<u64, ReadError> {
        let reached = |level: &Level| level.closed || (partition.number == 0 && level.size > offset);
        match of(&self.levels, partition.stream).subscribe().wait_for(reached).await.map(|level| *level) {
            Ok(level) if !level.closed => Ok(level.size),
            _ => Err(ReadError::Unavailable(Closed.into())),
        }
    }

    /// What a panicking thread left behind is whole: nothing under this lock can fail half way.
    fn lock(&self) -> MutexGuard<'_, [StreamTail; 4]> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamTail {
    fn push(&mut self, partition: Partition, events: Vec<Sealed>) {
        for Sealed { bytes, leaf } in events {
            self.bytes += bytes.len();
            self.events.push_back(Stored { position: partition.at(self.size), bytes, leaf });
            self.size += 1;
        }
        while self.bytes > TAIL_BYTES_MAX || self.events.len() > TAIL_EVENTS_MAX {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
        }
    }
}
