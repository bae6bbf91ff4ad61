//! The partitions of a log, which of them an event goes to, and tables with one value for each.

use weft_model::{EventId, Partition, Pseudonym, Stream};

/// How many partitions each stream has: `feed` as many as the log was made with, every other stream one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partitions {
    feed: u32,
}

impl Partitions {
    /// One each.
    pub(crate) const SINGLE: Self = Self { feed: 1 };

    /// `feed` of the stream feed; at least one.
    pub(crate) fn with_feed(feed: u32) -> Self {
        Self { feed: feed.max(1) }
    }

    /// How many `stream` has.
    pub(crate) fn count(self, stream: Stream) -> u32 {
        if stream == Stream::Feed { self.feed } else { 1 }
    }

    /// All of them, ascending.
    pub(crate) fn all(self) -> impl Iterator<Item = Partition> {
        Stream::ALL.into_iter().flat_map(move |stream| (0..self.count(stream)).map(move |n| stream.partition(n)))
    }

    /// Where an event goes. Fixed for the life of a log: all events about one source record lie in one partition of the
    /// feed, in their order. The first eight bytes of the record's keyed pseudonym, as a big-endian number, modulo the
    /// number of partitions; of the event id, where the event is about no record.
    pub(crate) fn of(self, stream: Stream, record: Option<Pseudonym>, event_id: EventId) -> Partition {
        let [a, b, c, d, e, f, g, h, ..] = record.map_or(event_id.0, |record| record.0);
        let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]) % u64::from(self.count(stream));
        // It is less than a number of 32 bits.
        stream.partition(number as u32)
    }

    /// The place of a partition among all.
    fn index(self, partition: Partition) -> Option<usize> {
        if partition.number >= self.count(partition.stream) {
            return None;
        }
        let before = Stream::ALL.into_iter().take_while(|stream| *stream != partition.stream);
        let before: u32 = before.map(|stream| self.count(stream)).sum();
        usize::try_from(before + partition.number).ok()
    }
}

/// One value for each partition of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PerPartition<T> {
    partitions: Partitions,
    values: Vec<T>,
}

impl<T> PerPartition<T> {
    pub(crate) fn new(partitions: Partitions, value: impl FnMut(Partition) -> T) -> Self {
        Self { partitions, values: partitions.all().map(value).collect() }
    }

    pub(crate) fn partitions(&self) -> Partitions {
        self.partitions
    }

    /// None where the log has no such partition.
    pub(crate) fn get(&self, partition: Partition) -> Option<&T> {
        self.values.get(self.partitions.index(partition)?)
    }

    /// None where the log has no such partition.
    pub(crate) fn get_mut(&mut self, partition: Partition) -> Option<&mut T> {
        self.values.get_mut(self.partitions.index(partition)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Partition, &T)> {
        self.partitions.all().zip(&self.values)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }
}

impl PerPartition<u64> {
    /// Zero for every partition.
    pub(crate) fn zero(partitions: Partitions) -> Self {
        Self::new(partitions, |_| 0)
    }

    /// The value; zero where the log has no such partition.
    pub(crate) fn size(&self, partition: Partition) -> u64 {
        self.get(partition).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_a_place_of_its_own() {
        let partitions = Partitions::with_feed(3);
        let table = PerPartition::new(partitions, |partition| partition);
        assert_eq!(table.values.len(), 6);
        for partition in partitions.all() {
            assert_eq!(table.get(partition), Some(&partition));
        }
        assert!(table.iter().map(|(partition, _)| partition).is_sorted());
        for missing in [Stream::Feed.partition(3), Stream::Identity.partition(1), Stream::Access.partition(u32::MAX)] {
            assert_eq!(table.get(missing), None, "{missing}");
        }
    }

    /// Known answers: whoever changes them makes two partitions of one record's events.
    #[test]
    fn a_record_keeps_its_partition() {
        let record = |first: u64| Pseudonym([first.to_be_bytes(), [0xff; 8]].concat().try_into().unwrap());
        let partition =
            |feed, first| Partitions::with_feed(feed).of(Stream::Feed, Some(record(first)), EventId([9; 16]));
        assert_eq!(partition(8, 0x0123_4567_89ab_cdef).number, 7);
        assert_eq!(partition(7, 0x0123_4567_89ab_cdef).number, 6);
        assert_eq!(partition(8, u64::MAX).number, 7);
        assert_eq!(partition(1, u64::MAX).number, 0);
        let partitions = Partitions::with_feed(8);
        assert_eq!(partitions.of(Stream::Feed, None, EventId([9; 16])).number, 1);
        assert_eq!(partitions.of(Stream::Identity, Some(record(5)), EventId([9; 16])), Stream::Identity.partition(0));
    }
}
