//! What a backend does: it stores the rows of a batch, all or none, and finds them again. Everything else is shared.

use std::{collections::HashMap, future::Future};

use weft_model::{EventId, Partition, Position, Pseudonym, Verdict};

use crate::{ReadError, ReadLimit, Statistics, Stored, error::Cause, seal::Sealed};

/// The reading half of a backend, used by many tasks at once.
pub trait Storage: Send + Sync + 'static {
    /// Events from `from` on, as [`crate::EventLog::read`], of a partition that has `size` of them.
    fn read(
        &self,
        from: Position,
        size: u64,
        limit: ReadLimit,
    ) -> impl Future<Output = Result<Vec<Stored>, ReadError>> + Send;

    /// Slot of the key of a source record.
    fn key_slot(&self, record: Pseudonym) -> impl Future<Output = Result<Option<u64>, ReadError>> + Send;

    /// Number of events in each partition.
    fn sizes(&self) -> impl Future<Output = Result<[u64; 4], ReadError>> + Send;

    /// Counts of everything.
    fn statistics(&self) -> impl Future<Output = Result<Statistics, ReadError>> + Send;

    /// Releases files.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// The writing half of a backend, used by the one writer.
pub(crate) trait Writing: Send + 'static {
    /// Where the stored rows end. Called first, and after a batch that failed: whatever was left open by that is undone.
    fn resume(&mut self) -> impl Future<Output = Result<Ends, Cause>> + Send;

    /// What is stored of these messages and named events.
    fn find(&mut self, messages: &[MessageKey], named: &[EventId])
    -> impl Future<Output = Result<Known, Cause>> + Send;

    /// Stores the rows durably, all or none.
    fn store(&mut self, rows: &Rows) -> impl Future<Output = Result<(), Cause>> + Send;

    /// Releases files.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

/// Where the rows of a backend end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    pub(crate) sizes: [u64; 4],
    /// The first key slot that no source record has.
    pub(crate) next_key_slot: u64,
    /// Number of every feed name.
    pub(crate) feeds: HashMap<String, u32>,
}

/// Under what a message is looked up. One without a control id is told by its event id alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MessageKey {
    pub(crate) feed: u32,
    pub(crate) control_id: Vec<u8>,
}

/// One message that is stored under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownMessage {
    pub(crate) event_id: EventId,
    pub(crate) position: Position,
    pub(crate) verdict: Verdict,
}

/// What is stored already.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) messages: HashMap<MessageKey, Vec<KnownMessage>>,
    pub(crate) named: HashMap<EventId, Position>,
}

/// The rows of one batch.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// By stream, in the order of their offsets.
    pub(crate) events: [Vec<Sealed>; 4],
    /// Offset of the first new event of each stream.
    pub(crate) first: [u64; 4],
    pub(crate) messages: Vec<(MessageKey, KnownMessage)>,
    pub(crate) named: Vec<(EventId, Position)>,
    /// Feeds named for the first time.
    pub(crate) feeds: Vec<(u32, String)>,
    /// Key slots that are perhaps not stored yet.
    pub(crate) key_slots: Vec<(Pseudonym, u64)>,
    /// What to add to the counts, by feed and verdict.
    pub(crate) verdicts: Vec<(u32, Verdict, u64)>,
}

/// The partitions that these backends have: number 0 of each stream.
pub(crate) fn partitions() -> [Partition; 4] {
    weft_model::Stream::ALL.map(|stream| stream.partition(0))
}
