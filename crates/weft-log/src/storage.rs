//! What a backend does that has one writer: it stores the rows of a batch, all or none, and finds them again. Everything
//! else is shared.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
};

use weft_model::{EventId, Partition, Position, Pseudonym, Verdict};

use crate::{
    ReadError, ReadLimit, Statistics, Stored,
    batch::Place,
    error::Cause,
    partitions::{Partitions, PerPartition},
    seal::Sealed,
};

/// The reading half of a backend, used by many tasks at once.
pub trait Storage: Send + Sync + 'static {
    /// Events from `from` on, as [`crate::EventLog::read`], of a partition that has `size` of them.
    fn read(
        &self,
        from: Position,
        size: u64,
        limit: ReadLimit,
    ) -> impl Future<Output = Result<Vec<Stored>, ReadError>> + Send;

    /// Number of events in `partition`.
    fn size(&self, partition: Partition) -> impl Future<Output = Result<u64, ReadError>> + Send;

    /// Counts of everything.
    fn statistics(&self) -> impl Future<Output = Result<Statistics, ReadError>> + Send;

    /// From now on what is appended to `partition`, by whomever, is noticed soon: someone waits for it.
    fn watch(&self, partition: Partition) -> impl Future<Output = Result<(), ReadError>> + Send {
        let _ = partition;
        async { Ok(()) }
    }

    /// Whether everything that the log needs answers now.
    fn check(&self) -> impl Future<Output = Result<(), ReadError>> + Send {
        async { Ok(()) }
    }

    /// Releases files and connections.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// The writing half of a backend, used by the one writer.
pub(crate) trait Writing: Send + 'static {
    /// Where the stored rows end. Called first, and after a batch that failed: whatever was left open by that is undone.
    fn resume(&mut self) -> impl Future<Output = Result<Ends, Cause>> + Send;

    /// What is stored of these messages, named events and source records.
    fn find(&mut self, questions: &Questions) -> impl Future<Output = Result<Known, Cause>> + Send;

    /// The event at `position`, which was stored. None where it is damaged.
    fn read(&mut self, position: Position) -> impl Future<Output = Result<Option<Stored>, Cause>> + Send;

    /// Stores the rows durably, all or none.
    fn store(&mut self, rows: &Rows) -> impl Future<Output = Result<Storing, Cause>> + Send;

    /// Releases files.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

/// Where the rows of a backend end.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    pub(crate) sizes: PerPartition<u64>,
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
    pub(crate) place: Place,
    pub(crate) verdict: Verdict,
}

/// What to ask storage before a batch can be decided.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    pub(crate) messages: Vec<MessageKey>,
    pub(crate) named: Vec<EventId>,
    /// Records whose key slot is not remembered.
    pub(crate) records: Vec<Pseudonym>,
}

/// What is stored already.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// In the order in which they came.
    pub(crate) messages: HashMap<MessageKey, Vec<KnownMessage>>,
    pub(crate) named: HashMap<EventId, Place>,
    pub(crate) key_slots: HashMap<Pseudonym, u64>,
}

/// What became of the rows of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storing {
    /// All of them are stored.
    Done,
    /// None is: nobody had asked, and something is stored under a name of theirs.
    Repeats,
}

/// The rows of one batch.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Nobody asked what is stored under the keys of these messages, these names, and of these source records: the batch is right
    /// only where nothing is.
    pub(crate) unasked: bool,
    /// Of each partition in the order of their offsets.
    pub(crate) events: Vec<(Position, Sealed)>,
    /// With the number that stands for the verdict.
    pub(crate) messages: Vec<(MessageKey, EventId, Position, i32)>,
    pub(crate) named: Vec<(EventId, Position)>,
    /// Feeds named for the first time.
    pub(crate) feeds: Vec<(u32, String)>,
    /// Source records that are given a key slot.
    pub(crate) key_slots: Vec<(Pseudonym, u64)>,
    /// What to add to the counts.
    pub(crate) counts: BTreeMap<Counted, Count>,
}

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Counted {
    pub(crate) partition: Partition,
    /// Feed and verdict, for a message.
    pub(crate) message: Option<(u32, i32)>,
}

/// How many arrived, and the bytes of the events that were stored of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

impl Ends {
    /// Those of a log without events.
    pub(crate) fn empty(partitions: Partitions, next_key_slot: u64) -> Self {
        Self { sizes: PerPartition::zero(partitions), next_key_slot, feeds: HashMap::new() }
    }
}
