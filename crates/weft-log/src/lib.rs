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
//! under the key of the source record that it is about. Keys live apart from the log, in a [`Vault`].
//!
//! The way of an event: the caller's task seals it ([`EventLog::append`]), a bounded queue takes it to the one writer, the
//! writer stores everything that waits in one transaction (group commit), and only then are receipts given. Verdicts,
//! offsets and counts are decided in one place for every backend; a backend only stores rows ([`EmbeddedLog`] in SQLite,
//! [`MemoryLog`] in maps).

mod batch;
mod compress;
pub mod cut;
mod draft;
mod embedded;
mod envelope;
mod error;
mod event_proof;
mod evidence;
mod follow;
mod generations;
#[cfg(feature = "kafka")]
mod kafka;
mod keys;
mod log;
mod memory;
pub mod merkle;
mod names;
mod nodes;
mod notary;
mod note;
mod opened;
mod partitions;
mod path;
pub mod postgres;
pub mod proof;
mod remembered;
mod seal;
mod statistics;
mod storage;
mod stored;
#[cfg(feature = "suite")]
pub mod suite;
mod tail;
mod tree_head;
mod vault;
mod verify;
pub mod wal;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use weft_model::{Event, Partition, Position, Pseudonym, SourceRecordId};

pub use cut::{AsOfError, CutError, Taken};
pub use draft::{Draft, Receipt, Same};
pub use embedded::{EmbeddedEvidence, EmbeddedLog, OpenOptions, Sqlite};
pub use error::{AppendError, OpenError, OpenLogError, ReadError};
pub use event_proof::{EventProof, ProofError, ProveError, Proven, prove};
pub use evidence::{Evidence, Extent, Indexed, KeySlot, LogEvidence};
pub use follow::Follower;
#[cfg(feature = "kafka")]
pub use kafka::{Kafka, KafkaEvidence, KafkaLog, KafkaOptions, Setting, TopicReport};
pub use log::Log;
pub use memory::{Memory, MemoryLog};
pub use merkle::leaf_hash;
pub use nodes::Nodes;
pub use notary::{Notary, NotaryError};
pub use note::{NoteError, PublicKey, SigningKey};
pub use remembered::Remembered;
pub use seal::header;
pub use statistics::{FeedStatistics, PartitionStatistics, Statistics};
pub use stored::{ReadLimit, Stored};
pub use tree_head::TreeHead;
pub use vault::{Vault, VaultError};
pub use verify::{Damage, DamageKind, Place, VerifiedPartition, VerifyError, VerifyOptions, VerifyReport, verify};

/// An append-only log of four streams. Every backend keeps these promises, and `suite` proves them:
///
/// 1. **Durable.** When [`append`](Self::append) returns a receipt, the event survives the death of the process and of
///    the machine (as far as the backend's table in the README says).
/// 2. **All or none.** The drafts of one call are decided together, and become visible next to each other and in order, or not
///    at all. On Kafka they become visible partition by partition, other nodes' events may stand between them, and what a
///    node that died had produced of a call stands alone until the call is repeated.
/// 3. **Dense.** Offsets of a partition are 0, 1, 2 ... without a gap; a reader that sees an offset has been able to see
///    every smaller one.
/// 4. **Never rewritten.** What was read at a position is what every later read there returns, byte for byte.
/// 5. **Once.** A draft whose event id is stored already adds nothing: the receipt points at the stored event. A message that is
///    stored as quarantined and is offered as accepted is stored once more, as an event that names the one before: that once, too.
/// 6. **Checked.** Bytes are compared with their leaf hash whenever they are read from storage; damage is an error with
///    its position.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Seals `drafts` and appends them, durably, each to the stream of its payload. Waits while the log's queue is full:
    /// that is the back-pressure.
    ///
    /// # Errors
    /// [`AppendError`]; nothing of the call is stored then, or (only [`AppendError::Unavailable`]) it is not known whether
    /// it is: appending the same drafts again is always right.
    async fn append(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>, AppendError>;

    /// The same for drafts that must not be stored before others, which are still on their way: stored once `before` says
    /// true, and never where its sender is gone without having said so. They are sealed while the others are stored.
    ///
    /// # Errors
    /// As [`append`](Self::append); [`AppendError::Unavailable`] where what was to come before never comes: nothing of the
    /// call is stored then.
    async fn append_after(
        &self,
        mut before: watch::Receiver<bool>,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Receipt>, AppendError> {
        wait_until_stored(&mut before).await?;
        self.append(drafts).await
    }

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
    async fn open(&self, stored: &Stored) -> Result<Arc<Event>, OpenError>;

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

/// Waits until `before` says true.
async fn wait_until_stored(before: &mut watch::Receiver<bool>) -> Result<(), AppendError> {
    match before.wait_for(|stored| *stored).await {
        Ok(_) => Ok(()),
        Err(_) => Err(error::Cause::new("what comes before was not stored").into()),
    }
}

/// What a log stands on, apart from its promises: asked each second by whoever tells how a node is, and so cheap.
#[async_trait]
pub trait Reachable: Send + Sync + 'static {
    /// Whether everything that the log needs answers now: its file, or brokers and database.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] says what does not.
    async fn check(&self) -> Result<(), ReadError>;
}

/// A log that several roles share.
pub type SharedLog = Arc<dyn EventLog>;
