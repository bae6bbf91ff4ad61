//! Places: an offset and its partition in one number, so that what is known of a row is told, and compared, in one column.
//!
//! Numbers of records are given out in the same shape, from the first place of the partition that tells of them: a record's
//! number says in which partition its events are.

use weft_model::{Cut, Partition, Position, Stream};

/// Offsets of a partition are below 2^40: a thousand events a second for 34 years.
pub(crate) const BITS: u32 = 40;

/// The place of `offset` in partition `number`; of the last offset there can be, where a cut does not limit it.
pub(crate) fn place(number: u32, offset: u64) -> i64 {
    let most = (1 << BITS) - 1;
    i64::from(number) << BITS | i64::try_from(offset).unwrap_or(most).min(most)
}

/// The number of the partition that a place or a record's number lies in.
pub(crate) fn partition_of(place: i64) -> u32 {
    u32::try_from(place >> BITS).unwrap_or(0)
}

/// The position in `stream` that a place stands for.
pub(crate) fn position(stream: Stream, place: i64) -> Position {
    let offset = place & ((1 << BITS) - 1);
    stream.partition(partition_of(place)).at(offset.cast_unsigned())
}

/// How much of the streams a query sees, as places that it compares with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// One for each partition of the feed stream.
    pub(crate) feed: Vec<i64>,
    pub(crate) identity: i64,
}

impl Sizes {
    pub(crate) fn of(seen: &Cut) -> Self {
        let of_stream = |stream: Stream| seen.0.iter().filter(move |(partition, _)| partition.stream == stream);
        let partitions = of_stream(Stream::Feed).map(|(partition, _)| partition.number + 1).max().unwrap_or(0);
        let size = |partition: Partition| place(partition.number, seen.0.get(&partition).copied().unwrap_or(0));
        Self {
            feed: (0..partitions).map(|number| size(Stream::Feed.partition(number))).collect(),
            identity: size(Stream::Identity.partition(0)),
        }
    }

    /// The size that is meant where something of record number `record_no` is asked for.
    pub(crate) fn of_record(&self, record_no: i64) -> i64 {
        self.feed.get(partition_of(record_no) as usize).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_ordered_within_a_partition_and_lead_back() {
        for (number, offset) in [(0, 0), (0, 7), (3, 0), (3, (1 << BITS) - 2)] {
            let place = place(number, offset);
            assert_eq!(partition_of(place), number);
            assert_eq!(position(Stream::Feed, place), Stream::Feed.partition(number).at(offset));
        }
        assert!(place(2, 5) < place(2, 6) && place(2, u64::MAX) < place(3, 0));
    }

    #[test]
    fn a_query_sees_of_each_record_what_its_partition_holds() {
        let seen: Cut = "feed/0/5,feed/1/7,identity/0/3,control/0/9".parse().unwrap();
        let sizes = Sizes::of(&seen);
        assert_eq!(sizes.of_record(place(0, 1)), place(0, 5));
        assert_eq!(sizes.of_record(place(1, 1)), place(1, 7));
        assert_eq!(sizes.of_record(place(2, 1)), 0);
        assert_eq!(sizes.identity, 3);
    }
}
