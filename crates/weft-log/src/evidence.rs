//! What an auditor reads of a log: less than whoever writes it can do, and nothing that was checked on the way.
//!
//! [`EventLog`](crate::EventLog) refuses damaged events, which is right for everyone else. Whoever looks for damage wants
//! to see it, to name it, and to go on behind it.

use async_trait::async_trait;
use weft_model::{Partition, Position, proto::event::Header};

use crate::{ReadError, ReadLimit, SharedLog, Stored, merkle::Hash};

/// Read-only access to the bytes of a log, as they are. No method changes anything, and none needs a key.
#[async_trait]
pub trait Evidence: Send + Sync + 'static {
    /// Every partition that the log should have, ascending, all of one moment.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn extents(&self) -> Result<Vec<Extent>, ReadError>;

    /// One past the last event of `partition`; None where it is gone.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn size(&self, partition: Partition) -> Result<Option<u64>, ReadError> {
        let extents = self.extents().await?;
        Ok(extents.iter().find(|extent| extent.partition == partition).and_then(|extent| extent.size))
    }

    /// Events from `from` on, in order, as [`EventLog::read`](crate::EventLog::read), but with the leaf hashes as they are
    /// stored. An event that is not there is left out; the offsets of the others say so.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] where nothing can be read from this position on.
    async fn read(&self, from: Position, limit: ReadLimit) -> Result<Vec<Stored>, ReadError>;

    /// The leaf hashes of `count` events from `from` on, as they are stored; fewer where they are not there.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn leaves(&self, from: Position, count: u64) -> Result<Vec<Hash>, ReadError> {
        let mut leaves = Vec::new();
        while (leaves.len() as u64) < count {
            let next = from.offset + leaves.len() as u64;
            let events = usize::try_from(count - leaves.len() as u64).unwrap_or(usize::MAX).min(1024);
            let page = self.read(from.partition.at(next), ReadLimit { events, bytes: usize::MAX }).await?;
            let whole = page.iter().zip(next..).take_while(|(stored, offset)| stored.position.offset == *offset);
            let before = leaves.len();
            leaves.extend(whole.map(|(stored, _)| stored.leaf));
            if leaves.len() == before {
                break;
            }
        }
        Ok(leaves)
    }

    /// Where the log's own index has the event with this header.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn indexed(&self, header: &Header) -> Result<Indexed, ReadError>;

    /// Which source record has which key slot: at most `count` rows, ascending, from slot `from` on. None where the
    /// backend has no such table.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn key_slots(&self, from: u64, count: usize) -> Result<Option<Vec<KeySlot>>, ReadError>;
}

/// How far a partition reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The partition.
    pub partition: Partition,
    /// One past its last event; None where the partition itself is gone.
    pub size: Option<u64>,
    /// How many events the log's own counts say that it has, where it counts.
    pub counted: Option<u64>,
}

/// What an index says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexed {
    /// There it is.
    At(Position),
    /// It is not known.
    Absent,
    /// This backend keeps no index that an auditor can read.
    NotKept,
}

/// A row of the table of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySlot {
    /// The slot in the vault.
    pub slot: u64,
    /// Keyed pseudonym of the source record, as stored: 16 bytes, unless it is damaged.
    pub record: Vec<u8>,
}

/// Any log as evidence. It only shows what the log itself shows: damage that the log refuses ends the reading there.
pub struct LogEvidence(pub SharedLog);

#[async_trait]
impl Evidence for LogEvidence {
    async fn extents(&self) -> Result<Vec<Extent>, ReadError> {
        let mut extents = Vec::new();
        for partition in self.0.partitions() {
            let size = Some(self.0.size(partition).await?);
            extents.push(Extent { partition, size, counted: None });
        }
        Ok(extents)
    }

    async fn size(&self, partition: Partition) -> Result<Option<u64>, ReadError> {
        if self.0.partitions().contains(&partition) { Ok(Some(self.0.size(partition).await?)) } else { Ok(None) }
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        self.0.read(from, limit).await
    }

    async fn indexed(&self, _header: &Header) -> Result<Indexed, ReadError> {
        Ok(Indexed::NotKept)
    }

    async fn key_slots(&self, _from: u64, _count: usize) -> Result<Option<Vec<KeySlot>>, ReadError> {
        Ok(None)
    }
}
