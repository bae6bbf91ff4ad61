//! The log on Kafka, with its inbox, counts and keys in PostgreSQL: many nodes write and read it at once.
//!
//! ```text
//!  append ─► seal ─► queue ─► decide ──────────► produce ─────────► complete ────────► receipts
//!                            inbox row, place    acks=all,          place = offset,
//!                            unknown; keys       idempotent         counts
//!                            └── PostgreSQL ──┘  └── Kafka ──────┘  └── PostgreSQL ─┘
//!                            one transaction     explicit partition one transaction
//! ```
//!
//! An offset is a leaf index: there are no transactions and no compaction, so offsets are dense. An event has its row in
//! the inbox before it is produced, so the log never holds one that the inbox does not know. What is not known to be
//! delivered stays without a place, and is produced again by whoever appends it again: the copy has the same event id, and
//! readers drop it. A row that nobody asks for again is settled by looking into the log ([`sweep`]). The first transaction
//! waits for the disk, and the second does not have to ([`confirm`]). Batches overlap: while one is at the brokers, the next
//! is decided.

mod client;
mod confirm;
mod cursors;
mod evidence;
mod inbox;
mod produce;
mod read;
mod schema;
mod sweep;
mod topics;
mod watch;
mod write;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use weft_model::Random;

use crate::{
    Log, OpenLogError, ReadError, Vault,
    log::Shared,
    partitions::{Partitions, PerPartition},
    vault::KeyTable,
};
use client::Client;
use inbox::Inbox;
use write::KafkaWriter;

pub use evidence::KafkaEvidence;
pub use read::Kafka;
pub use topics::{Setting, TopicReport};

/// A log on Kafka and PostgreSQL.
pub type KafkaLog = Log<Kafka>;

/// How to open a log on Kafka. The same for every node of it.
#[derive(Clone)]
pub struct KafkaOptions {
    /// Addresses of brokers, separated by commas.
    pub brokers: String,
    /// What the names of its topics begin with.
    pub prefix: String,
    /// Partitions of the stream feed; those of a log that exists must be as many.
    pub feed_partitions: u32,
    /// Copies of every partition.
    pub replication: u16,
    /// Copies that must be in step before an event counts as stored.
    pub min_insync_replicas: u16,
    /// Passed to librdkafka as they are.
    pub properties: BTreeMap<String, String>,
    /// Where the inbox and the keys are, as `postgres://user:password@host/database`.
    pub postgres: String,
    /// The schema in that database; made where it is missing.
    pub schema: String,
    /// The folder that holds this node's copy of `node.key`.
    pub keys: PathBuf,
    /// The source of keys and nonces.
    pub random: Arc<dyn Random>,
    /// How long an event may be on its way to the brokers; then whoever appends it is told that the log is unavailable.
    pub deliver_within: Duration,
}

impl KafkaOptions {
    /// How long an event may be on its way unless that is told otherwise.
    pub const DELIVER_WITHIN: Duration = Duration::from_secs(15);
}

impl Log<Kafka> {
    /// Opens the log, or makes its topics and tables. Any number of nodes may have it open.
    ///
    /// # Errors
    /// [`OpenLogError`], each saying what to do.
    pub async fn open(options: KafkaOptions) -> Result<Self, OpenLogError> {
        let parts = Parts::open(&options, true).await?;
        let Parts { client, inbox, shared, storage } = parts;
        let writer = KafkaWriter::start(
            &client,
            Arc::clone(&shared),
            inbox.clone(),
            Arc::clone(&storage),
            options.deliver_within,
        )?;
        let confirmer = confirm::start(inbox.clone());
        let sweeper = sweep::start(client, inbox, Arc::clone(&shared), options.deliver_within);
        Ok(Self::start_with(shared, storage, true, move |waiting, closing, ended| async move {
            writer.run(waiting, closing).await;
            confirmer.abort();
            sweeper.abort();
            ended.send_replace(true);
        }))
    }

    /// Opens the log to be read only. Appends are unavailable.
    ///
    /// # Errors
    /// [`OpenLogError`], each saying what to do.
    pub async fn open_read_only(options: KafkaOptions) -> Result<Self, OpenLogError> {
        let Parts { shared, storage, .. } = Parts::open(&options, false).await?;
        Ok(Self::start_watching(shared, storage))
    }

    /// Settles now what nodes that died have left without an outcome, if it is older than that; nodes do so by themselves,
    /// when it is old enough to be certain. Returns how many events.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub async fn settle(&self, older_than: Duration) -> Result<u64, ReadError> {
        Ok(self.storage().settle(older_than).await?)
    }

    /// What the brokers say of the topics, beside what they should: what `open` insists on, without opening the log.
    ///
    /// # Errors
    /// [`OpenLogError::Unavailable`].
    pub async fn describe_topics(options: &KafkaOptions) -> Result<Vec<TopicReport>, OpenLogError> {
        topics::describe(&Client::new(options)?, options).await
    }
}

/// What every opened log has.
struct Parts {
    client: Client,
    inbox: Inbox,
    shared: Arc<Shared>,
    storage: Arc<Kafka>,
}

impl Parts {
    async fn open(options: &KafkaOptions, create: bool) -> Result<Self, OpenLogError> {
        let partitions = Partitions::with_feed(options.feed_partitions);
        let client = Client::new(options)?;
        let cluster = topics::ensure(&client, options, create).await?;
        let pool = schema::open(options, &cluster, create).await?;
        let vault = Vault::open_shared(&options.keys, KeyTable::new(pool.clone()), Arc::clone(&options.random), create);
        let vault = Arc::new(vault.await.map_err(|source| client.unavailable(source))?);
        let mut sizes = PerPartition::zero(partitions);
        for partition in partitions.all() {
            if let Some(size) = sizes.get_mut(partition) {
                *size = client.size(partition).await.map_err(|source| client.unavailable(source))?;
            }
        }
        let shared = Arc::new(Shared::new(vault, &sizes));
        let inbox = Inbox::new(pool);
        let storage = Arc::new(Kafka::new(client.clone(), inbox.clone(), Arc::clone(&shared)));
        Ok(Self { client, inbox, shared, storage })
    }
}
