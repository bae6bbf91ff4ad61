//! The append-only log: the truth of which everything else is a function.
//!
//! ```text
//!  partition feed/0        0    1    2    3    4   <- offsets: dense, from 0
//!                        [ e ][ e ][ e ][ e ][ e ]     size = 5
//!                          ^ oldest            ^ newest
//!                                   a reader that has read 3 events asks from offset 3
//! ```
//!
//! What is stored of an event is its [`Envelope`](weft_model::proto::event::Envelope): a clear header and a payload sealed
//! under the key of the source record that it is about ([`seal`]). Keys live apart from the log, in a [`vault`].

use std::sync::Arc;

use async_trait::async_trait;
use weft_model::{Event, EventId, Partition, Payload, Position, Pseudonym, SourceRecordId, Stream, Verdict};

/// An append-only log of four streams. Every backend keeps these promises, and `suite` proves them:
///
/// 1. **Durable.** When [`append`](Self::append) returns a receipt, the event survives the death of the process and of
///    the machine (as far as the backend's table in the README says).
/// 2. **All or none.** The drafts of one call become visible together, next to each other and in order, or not at all.
/// 3. **Dense.** Offsets of a partition are 0, 1, 2 ... without a gap; a reader that sees an offset has been able to see
///    every smaller one.
/// 4. **Never rewritten.** What was read at a position is what every later read there returns, byte for byte.
/// 5. **Once.** A draft whose event id is stored already adds nothing: the receipt points at the stored event.
/// 6. **Checked.** Bytes are compared with their leaf hash whenever they are read; damage is an error with its position.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Seals `drafts` and appends them, durably, each to the stream of its payload. Waits while the log's queue is full:
    /// that is the back-pressure.
    ///
    /// # Errors
    /// [`AppendError`]; nothing of the call is stored then, or (only [`AppendError::Unavailable`]) it is not known whether
    /// it is: appending the same drafts again is always right.
    async fn append(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>, AppendError>;

    /// Reads stored events from `from` on, in order: at most `limit.events`, and no more after `limit.bytes` are
    /// exceeded. Empty where `from` is the size of the partition or beyond.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] where the bytes are not those that were stored.
    async fn read(&self, from: Position, limit: ReadLimit) -> Result<Vec<Stored>, ReadError>;

    /// Waits until `partition` has more than `offset` events; returns its size.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] when the log is closed.
    async fn wait(&self, partition: Partition, offset: u64) -> Result<u64, ReadError>;

    /// Number of events in `partition`.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    async fn size(&self, partition: Partition) -> Result<u64, ReadError>;

    /// Partitions of all streams, ascending. Fixed for the life of the log.
    fn partitions(&self) -> Vec<Partition>;

    /// Opens a stored event: unseals, decompresses and decodes its payload.
    ///
    /// # Errors
    /// [`OpenError`] says whether the bytes are damaged, the key is gone, or a newer program wrote it.
    async fn open(&self, stored: &Stored) -> Result<Event, OpenError>;

    /// The keyed pseudonym under which headers speak of `record`.
    fn pseudonym(&self, record: &SourceRecordId) -> Pseudonym;

    /// Counts of everything stored, and of every verdict given.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    async fn statistics(&self) -> Result<Statistics, ReadError>;

    /// Stops taking appends, makes what was taken durable, and releases files. Later calls fail as unavailable.
    async fn close(&self);
}

/// A log that several roles share.
pub type SharedLog = Arc<dyn EventLog>;

/// An event to append. The log fills in the rest of the header: schema, kind, event id, pseudonym of the record.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// What makes it the same event when it is appended again.
    pub same: Same,
    /// Feed identifier; empty where the event has no feed.
    pub feed: String,
    /// Control id of the message; empty where there is none.
    pub control_id: String,
    /// For example ADT^A01; empty where the event is not a message.
    pub message_type: String,
    /// Accepted or quarantined for a message, as translated; unspecified for everything else.
    pub verdict: Verdict,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub received_us: i64,
    /// The event that made this one necessary.
    pub cause: Option<Position>,
    /// What is sealed.
    pub payload: Payload,
}

/// What makes an event the same event. Both kinds of event id are keyed digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Same {
    /// A message: the same feed, control id and bytes are a duplicate; the same feed and control id with other bytes are
    /// a conflict (a message without a control id never conflicts).
    Message,
    /// Anything else: the same kind and the same name. For a decision: its cause and its subject.
    Name(Vec<u8>),
}

/// What became of one draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Where the event is stored; for a duplicate, where the first copy is.
    pub position: Position,
    /// Its identifier.
    pub event_id: EventId,
    /// For a message one of the four verdicts; for any other event `Accepted` if it is new and `Duplicate` if not.
    pub verdict: Verdict,
    /// Verdict of the stored event: differs from `verdict` only for a duplicate.
    pub stored: Verdict,
}

/// One event as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where it is.
    pub position: Position,
    /// The encoded envelope, exactly as stored.
    pub bytes: bytes::Bytes,
    /// RFC 9162 leaf hash of `bytes`: SHA-256 of a zero byte and the bytes.
    pub leaf: [u8; 32],
}

/// How much to read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Events at most.
    pub events: usize,
    /// Stop after the event that exceeds this many bytes.
    pub bytes: usize,
}

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

/// Why drafts were not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The log cannot take events now (disk full, I/O error, closing): keep the message and try again.
    #[error("log cannot store events now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// This event can never be stored (larger than the log allows): do not try again.
    #[error("event of {bytes} bytes is larger than the log's limit of {limit}")]
    TooLarge {
        /// Encoded size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// Why events were not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Try again, or the log is closed.
    #[error("log cannot be read now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The bytes at this position are not those that were stored: stop, and restore from a copy.
    #[error("event at {position} is damaged: {what}")]
    Corrupt {
        /// Where.
        position: Position,
        /// What does not fit.
        what: &'static str,
    },
}

/// Why a stored event was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Envelope, seal or payload do not read: stop.
    #[error("event at {position} is damaged: {what}")]
    Corrupt {
        /// Where.
        position: Position,
        /// What does not fit.
        what: &'static str,
    },
    /// The key was destroyed, on purpose: there is nothing to show.
    #[error("key of event at {position} was destroyed")]
    Shredded {
        /// Where.
        position: Position,
    },
    /// The vault cannot be read now.
    #[error("key vault cannot be read")]
    Vault(#[source] std::io::Error),
    /// The payload is of a schema or kind that this program does not know.
    #[error("event at {position} cannot be decoded")]
    Decode {
        /// Where.
        position: Position,
        /// Why.
        #[source]
        source: weft_model::DecodeError,
    },
}

impl ReadLimit {
    /// A page: 1,024 events or 4 MiB.
    pub const PAGE: Self = Self { events: 1024, bytes: 4 << 20 };
}

impl FeedStatistics {
    /// Messages that arrived, whatever became of them.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.accepted + self.duplicate + self.conflict + self.quarantined
    }
}

impl Draft {
    /// The stream that it goes to.
    #[must_use]
    pub fn stream(&self) -> Stream {
        self.payload.stream()
    }
}
