//! The log over any storage: seals, queues, reads, and keeps the promises of [`EventLog`].

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};
use weft_model::{
    Event, Partition, Position, Pseudonym, SCHEMA_VERSION, SourceRecordId, Verdict, proto::event::Header,
};

use crate::{
    AppendError, Draft, EventLog, OpenError, ReadError, ReadLimit, Receipt, Same, Statistics, Stored, Vault,
    batch::{Body, Entry, SameEntry},
    error::{Cause, Closed, ReadOnly},
    keys::KeySlots,
    names::Names,
    seal::{self, Sealed, Unsealed},
    storage::{Ends, Storage, Writing, partitions},
    tail::{Found, Tail},
    vault::GENERAL_SLOT,
    writer::{Submission, Writer},
};

/// Calls that may wait for the writer; the next one waits before it queues.
const QUEUE_CALLS: usize = 1024;
/// The largest event, and the most that one call may append, as stored.
const EVENT_BYTES_MAX: usize = 16 << 20;
const CALL_BYTES_MAX: usize = 128 << 20;

/// An [`EventLog`] over some storage.
pub struct Log<S> {
    vault: Arc<Vault>,
    names: Names,
    storage: Arc<S>,
    shared: Arc<Shared>,
    /// None where the log is only read.
    queue: Option<mpsc::Sender<Submission>>,
    closing: watch::Sender<bool>,
    /// True once the writer has ended.
    ended: watch::Receiver<bool>,
}

/// What the writer shares with everyone who appends and reads.
pub(crate) struct Shared {
    pub(crate) vault: Arc<Vault>,
    pub(crate) keys: KeySlots,
    pub(crate) tail: Tail,
    /// Calls that are on their way to the queue.
    pub(crate) sealing: AtomicUsize,
}

impl Shared {
    fn new(vault: &Arc<Vault>, ends: &Ends) -> Self {
        let (keys, tail) = (KeySlots::new(), Tail::new(ends.sizes));
        Self { vault: Arc::clone(vault), keys, tail, sealing: AtomicUsize::new(0) }
    }
}

impl<S: Storage> Log<S> {
    /// Starts the writer over storage that ends at `ends`.
    pub(crate) fn start<W: Writing>(vault: Arc<Vault>, storage: S, writing: W, ends: Ends) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_CALLS);
        let (closing, closing_seen) = watch::channel(false);
        let (ended_set, ended) = watch::channel(false);
        let shared = Arc::new(Shared::new(&vault, &ends));
        let writer = Writer::new(Arc::clone(&shared), writing, ends);
        tokio::spawn(writer.run(waiting, closing_seen, ended_set));
        let names = Names::new(&vault);
        Self { vault, names, storage: Arc::new(storage), shared, queue: Some(queue), closing, ended }
    }

    /// Reads only; `follow` learns the sizes from what another process stores.
    pub(crate) fn start_read_only(vault: Arc<Vault>, storage: S, ends: &Ends) -> Self {
        let shared = Arc::new(Shared::new(&vault, ends));
        let storage = Arc::new(storage);
        let (closing, closing_seen) = watch::channel(false);
        let (ended_set, ended) = watch::channel(false);
        tokio::spawn(follow(Arc::clone(&storage), Arc::clone(&shared), closing_seen, ended_set));
        let names = Names::new(&vault);
        Self { vault, names, storage, shared, queue: None, closing, ended }
    }

    fn seal(&self, draft: Draft) -> Result<Entry, AppendError> {
        let event_id = self.names.event_id(&draft);
        let record = draft.payload.record().map(|record| self.names.pseudonym(&record));
        let verdict = match (&draft.same, draft.verdict) {
            (Same::Message, Verdict::Quarantined) => Verdict::Quarantined,
            (Same::Message, _) => Verdict::Accepted,
            (Same::Name(_), verdict) => verdict,
        };
        let same = match draft.same {
            Same::Message => {
                SameEntry::Message { feed: draft.feed.clone(), control_id: draft.control_id.clone(), verdict }
            }
            Same::Name(_) => SameEntry::Named,
        };
        let stream = draft.payload.stream();
        let header = Header {
            schema: SCHEMA_VERSION,
            event_id: event_id.to_vec(),
            kind: draft.payload.kind().into(),
            feed: draft.feed,
            control_id: draft.control_id,
            verdict: verdict.into(),
            received_us: draft.received_us,
            source_record: record.map(|record| record.to_vec()).unwrap_or_default(),
            cause: draft.cause.map(Position::to_proto),
            message_type: draft.message_type,
        };
        if draft.payload.is_clear() {
            let sealed = Sealed::clear(&header, draft.payload.encode());
            fits(sealed.bytes.len(), EVENT_BYTES_MAX)?;
            return Ok(Entry { stream, event_id, same, body: Body::Sealed(sealed) });
        }
        let unsealed = Unsealed::new(header, draft.payload.encode());
        fits(unsealed.bytes(), EVENT_BYTES_MAX)?;
        let slot = match record {
            None => Some(GENERAL_SLOT),
            Some(record) => self.shared.keys.get(record),
        };
        let body = match (record, slot) {
            (Some(record), None) => Body::Unsealed(record, Box::new(unsealed)),
            (_, slot) => Body::Sealed(unsealed.seal(&self.vault, slot.unwrap_or(GENERAL_SLOT))?),
        };
        Ok(Entry { stream, event_id, same, body })
    }
}

#[async_trait]
impl<S: Storage> EventLog for Log<S> {
    async fn append(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>, AppendError> {
        let Some(queue) = &self.queue else { return Err(Cause::new(ReadOnly).into()) };
        let on_its_way = OnItsWay::new(&self.shared.sealing);
        let entries = drafts.into_iter().map(|draft| self.seal(draft)).collect::<Result<Vec<_>, _>>()?;
        let bytes = entries.iter().map(|entry| entry.body.bytes()).sum();
        fits(bytes, CALL_BYTES_MAX)?;
        let (reply, receipts) = oneshot::channel();
        let closed = || AppendError::from(Cause::new(Closed));
        queue.send(Submission { entries, bytes, reply }).await.map_err(|_| closed())?;
        drop(on_its_way);
        Ok(receipts.await.map_err(|_| closed())??)
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        if *self.closing.borrow() {
            return Err(ReadError::Unavailable(Closed.into()));
        }
        match self.shared.tail.find(from, limit) {
            Found::Here(events) => Ok(events),
            Found::OnDisk { size } => self.storage.read(from, size, limit).await,
        }
    }

    async fn wait(&self, partition: Partition, offset: u64) -> Result<u64, ReadError> {
        self.shared.tail.wait(partition, offset).await
    }

    async fn size(&self, partition: Partition) -> Result<u64, ReadError> {
        if *self.closing.borrow() {
            return Err(ReadError::Unavailable(Closed.into()));
        }
        if self.queue.is_none() {
            self.shared.tail.grow(self.storage.sizes().await?);
        }
        Ok(self.shared.tail.size(partition))
    }

    fn partitions(&self) -> Vec<Partition> {
        partitions().to_vec()
    }

    async fn open(&self, stored: &Stored) -> Result<Event, OpenError> {
        seal::open(&self.vault, stored)
    }

    fn pseudonym(&self, record: &SourceRecordId) -> Pseudonym {
        self.names.pseudonym(record)
    }

    async fn statistics(&self) -> Result<Statistics, ReadError> {
        if *self.closing.borrow() {
            return Err(ReadError::Unavailable(Closed.into()));
        }
        self.storage.statistics().await
    }

    async fn close(&self) {
        self.closing.send_replace(true);
        self.shared.tail.close();
        // An error means that the writer is gone already.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
        self.storage.close().await;
    }
}

impl<S> Drop for Log<S> {
    fn drop(&mut self) {
        self.closing.send_replace(true);
        self.shared.tail.close();
    }
}

/// Counts a call as on its way for as long as it lives, also where the caller is cancelled.
struct OnItsWay<'a>(&'a AtomicUsize);

impl<'a> OnItsWay<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How often a log that is only read looks for what the node has stored.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(50);

async fn follow<S: Storage>(
    storage: Arc<S>,
    shared: Arc<Shared>,
    mut closing: watch::Receiver<bool>,
    ended: watch::Sender<bool>,
) {
    while tokio::time::timeout(LOOK_EVERY, closing.wait_for(|closing| *closing)).await.is_err() {
        // A look that fails is repeated; whoever reads meanwhile gets the error.
        if let Ok(sizes) = storage.sizes().await {
            shared.tail.grow(sizes);
        }
    }
    ended.send_replace(true);
}

fn fits(bytes: usize, limit: usize) -> Result<(), AppendError> {
    if bytes <= limit { Ok(()) } else { Err(AppendError::TooLarge { bytes, limit }) }
}
