//! Counts of everything stored.

use std::collections::{BTreeMap, HashMap};

use weft_model::{Partition, Verdict};

use crate::{
    batch::{REDRIVEN, verdict_of},
    partitions::Partitions,
    storage::{Count, Counted},
};

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
    /// Of those that were stored and not projected, how many were read again from the log and accepted: they were counted when
    /// they were received, and are in no sum. One that was accepted because its sender sent it again is among `accepted`.
    pub redriven: u64,
}

impl FeedStatistics {
    /// Messages that arrived, whatever became of them.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.accepted + self.duplicate + self.conflict + self.quarantined
    }
}

impl Statistics {
    /// Puts together what a backend counted; `feeds` names them by number.
    pub(crate) fn from_counts(
        partitions: Partitions,
        counts: impl IntoIterator<Item = (Counted, Count)>,
        feeds: &HashMap<u32, String>,
        disk_bytes: u64,
    ) -> Self {
        let partitions = partitions.all().map(|partition| PartitionStatistics { partition, events: 0, bytes: 0 });
        let mut statistics = Self { partitions: partitions.collect(), feeds: Vec::new(), disk_bytes };
        let mut by_name: BTreeMap<&str, FeedStatistics> = BTreeMap::new();
        for (Counted { partition, message }, Count { count, bytes }) in counts {
            let verdict = message.map_or(0, |(_, verdict)| verdict);
            if let Some(counted) = statistics.partitions.iter_mut().find(|p| p.partition == partition) {
                counted.events += if verdict_of(verdict) == Verdict::Duplicate { 0 } else { count };
                counted.bytes += bytes;
            }
            if let Some(name) = message.and_then(|(feed, _)| feeds.get(&feed)) {
                let feed = by_name.entry(name).or_default();
                feed.feed.clone_from(name);
                feed.add(verdict, count);
            }
        }
        statistics.feeds = by_name.into_values().collect();
        statistics
    }
}

impl FeedStatistics {
    fn add(&mut self, verdict: i32, count: u64) {
        if verdict == REDRIVEN {
            self.redriven += count;
            return;
        }
        match verdict_of(verdict) {
            Verdict::Accepted => self.accepted += count,
            Verdict::Duplicate => self.duplicate += count,
            Verdict::Conflict => self.conflict += count,
            Verdict::Quarantined => self.quarantined += count,
            Verdict::Unspecified => {}
        }
    }
}
