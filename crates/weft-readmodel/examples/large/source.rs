//! A log whose events are made when they are asked for.

use std::sync::{Arc, atomic::AtomicU64};

use async_trait::async_trait;
use bytes::Bytes;
use weft_log::{AppendError, Draft, EventLog, OpenError, ReadError, ReadLimit, Receipt, Statistics, Stored};
use weft_model::{Event, Partition, Position, Pseudonym, SourceRecordId, Stream};

use crate::{
    PARTITIONS,
    generated::{self, Numbers},
};

/// Records with so many messages each, told of in turn.
pub(crate) struct Generated {
    pub(crate) records: u64,
    pub(crate) messages: u64,
}

impl Generated {
    fn sizes(&self, partition: Partition) -> u64 {
        match partition.stream {
            Stream::Feed => self.records / PARTITIONS * self.messages,
            Stream::Identity => self.records,
            _ => 0,
        }
    }

    /// In each partition, every eighth record in turn, as often as it has messages.
    fn event(&self, position: Position) -> Event {
        let Position { partition, offset } = position;
        if partition.stream == Stream::Identity {
            return generated::link(offset);
        }
        let record = offset % (self.records / PARTITIONS) * PARTITIONS + u64::from(partition.number);
        let n = offset * PARTITIONS + u64::from(partition.number);
        generated::message(n, record, &Numbers(AtomicU64::new(n)))
    }
}

#[async_trait]
impl EventLog for Generated {
    async fn append(&self, _: Vec<Draft>) -> Result<Vec<Receipt>, AppendError> {
        Err(AppendError::Unavailable("a generated log only reads".into()))
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        let end = self.sizes(from.partition).min(from.offset + limit.events as u64);
        let stored = |offset| Stored { position: from.partition.at(offset), bytes: Bytes::new(), leaf: [0; 32] };
        Ok((from.offset..end).map(stored).collect())
    }

    async fn wait(&self, partition: Partition, offset: u64) -> Result<u64, ReadError> {
        let size = self.sizes(partition);
        if size > offset { Ok(size) } else { std::future::pending().await }
    }

    async fn size(&self, partition: Partition) -> Result<u64, ReadError> {
        Ok(self.sizes(partition))
    }

    fn partitions(&self) -> Vec<Partition> {
        let feed = (0..PARTITIONS as u32).map(|number| Stream::Feed.partition(number));
        feed.chain([Stream::Identity, Stream::Control, Stream::Access].map(|stream| stream.partition(0))).collect()
    }

    async fn open(&self, stored: &Stored) -> Result<Arc<Event>, OpenError> {
        Ok(Arc::new(self.event(stored.position)))
    }

    fn pseudonym(&self, _: &SourceRecordId) -> Pseudonym {
        Pseudonym([0; 16])
    }

    async fn statistics(&self) -> Result<Statistics, ReadError> {
        Err(ReadError::Unavailable("a generated log counts nothing".into()))
    }

    async fn close(&self) {}
}
