//! Counts of everything stored.

use weft_model::{Partition, Verdict};

use crate::batch::verdict_of;

/// Counts of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// One row per partition, ascending.
    pub partitions: Vec<PartitionStatistics>,
    /// One row per feed that ever sent a message, by name.
    pub feeds: Vec<FeedStatistics>,
    /// Bytes on disk, all files together; 0 where the backend has none.
    pub disk_bytes: u64,
}

/// Counts of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStatistics {
    /// The partition.
    pub partition: Partition,
    /// Events stored: offsets 0 to `events - 1`.
    pub events: u64,
    /// Bytes of their envelopes.
    pub bytes: u64,
}

/// Durable counts of the verdicts given to one feed: received is their sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedStatistics {
    /// Feed identifier.
    pub feed: String,
    /// Messages stored and projected.
    pub accepted: u64,
    /// Messages that were stored already.
    pub duplicate: u64,
    /// Messages stored under a control id that was taken.
    pub conflict: u64,
    /// Messages stored and not projected.
    pub quarantined: u64,
}

impl FeedStatistics {
    /// Messages that arrived, whatever became of them.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.accepted + self.duplicate + self.conflict + self.quarantined
    }
}

/// Adds to the count that `verdict` (its number in the protobuf enum) belongs to.
pub(crate) fn count_verdict(feed: &mut FeedStatistics, verdict: i32, count: u64) {
    match verdict_of(verdict) {
        Verdict::Accepted => feed.accepted += count,
        Verdict::Duplicate => feed.duplicate += count,
        Verdict::Conflict => feed.conflict += count,
        Verdict::Quarantined => feed.quarantined += count,
        Verdict::Unspecified => {}
    }
}
