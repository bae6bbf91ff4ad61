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
    AppendError, Draft, EventLog, OpenError, Reachable, ReadError, ReadLimit, Receipt, Same, Statistics, Stored, Vault,
    batch::{Body, Entry, Head, Offer, SameEntry},
    error::{Cause, Closed, ReadOnly},
    keys::KeySlots,
    names::Names,
    opened::OpenedEvents,
    partitions::PerPartition,
    seal::{self, NonceBytes, Sealed, Unsealed},
    storage::{Ends, Storage, Writing},
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
    storage: Arc<S>,
    shared: Arc<Shared>,
    /// None where the log is only read.
    queue: Option<mpsc::Sender<Submission>>,
    /// Others may store events, so that only storage knows how many there are.
    others_write: bool,
    closing: watch::Sender<bool>,
    /// True once the writer has ended.
    ended: watch::Receiver<bool>,
}

/// What the writer shares with everyone who appends and reads.
pub(crate) struct Shared {
    pub(crate) vault: Arc<Vault>,
    pub(crate) names: Names,
    pub(crate) keys: KeySlots,
    pub(crate) tail: Tail,
    pub(crate) opened: OpenedEvents,
    /// Calls that are on their way to the queue.
    pub(crate) sealing: AtomicUsize,
    /// Events are stored unsealed and unhashed, to be compared with.
    #[cfg(feature = "suite")]
    bare: std::sync::atomic::AtomicBool,
}

impl Shared {
    pub(crate) fn new(vault: Arc<Vault>, sizes: &PerPartition<u64>) -> Self {
        let (names, keys, tail) = (Names::new(&vault), KeySlots::new(), Tail::new(sizes));
        Self {
            vault,
            names,
            keys,
            tail,
            opened: OpenedEvents::default(),
            sealing: AtomicUsize::new(0),
            #[cfg(feature = "suite")]
            bare: false.into(),
        }
    }
}

impl<S: Storage> Log<S> {
    /// Starts the writer over storage that ends at `ends`.
    pub(crate) fn start<W: Writing>(vault: Arc<Vault>, storage: S, writing: W, ends: Ends) -> Self {
        let shared = Arc::new(Shared::new(vault, &ends.sizes));
        let writer = Writer::new(Arc::clone(&shared), writing, ends);
        Self::start_with(shared, Arc::new(storage), false, |waiting, closing, ended| {
            writer.run(waiting, closing, ended)
        })
    }

    /// Starts whatever takes calls from the queue.
    pub(crate) fn start_with<F: Future<Output = ()> + Send + 'static>(
        shared: Arc<Shared>,
        storage: Arc<S>,
        others_write: bool,
        writer: impl FnOnce(mpsc::Receiver<Submission>, watch::Receiver<bool>, watch::Sender<bool>) -> F,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_CALLS);
        let (closing, closing_seen) = watch::channel(false);
        let (ended_set, ended) = watch::channel(false);
        tokio::spawn(writer(waiting, closing_seen, ended_set));
        Self { storage, shared, queue: Some(queue), others_write, closing, ended }
    }

    /// Reads only; `follow` learns the sizes from what another process stores.
    pub(crate) fn start_read_only(vault: Arc<Vault>, storage: S, ends: &Ends) -> Self {
        let shared = Arc::new(Shared::new(vault, &ends.sizes));
        let storage = Arc::new(storage);
        let (closing, closing_seen) = watch::channel(false);
        let (ended_set, ended) = watch::channel(false);
        tokio::spawn(follow(Arc::clone(&storage), Arc::clone(&shared), closing_seen, ended_set));
        Self { storage, shared, queue: None, others_write: true, closing, ended }
    }

    /// Reads only; storage itself notices what others store.
    pub(crate) fn start_watching(shared: Arc<Shared>, storage: Arc<S>) -> Self {
        Self {
            storage,
            shared,
            queue: None,
            others_write: true,
            closing: watch::Sender::new(false),
            ended: watch::channel(true).1,
        }
    }

    /// From now on events are stored as large as they would be, unsealed, unhashed and without keys: nobody can read or
    /// prove them. Only to measure what the rest of an append costs; no program that keeps anything has this.
    #[cfg(feature = "suite")]
    pub fn store_bare(&self) {
        self.shared.bare.store(true, Ordering::Relaxed);
    }

    #[cfg(feature = "kafka")]
    pub(crate) fn storage(&self) -> &S {
        &self.storage
    }

    /// One call, as the writer takes it, and what is told what becomes of it.
    async fn seal_all(&self, drafts: Vec<Draft>) -> Result<(Submission, Reply), AppendError> {
        let mut entries = Vec::with_capacity(drafts.len());
        let sealed = drafts.iter().filter(|draft| !draft.payload.is_clear()).count();
        let mut nonces = seal::new_nonces(&self.shared.vault, sealed).into_iter();
        for draft in drafts {
            entries.push(self.seal(draft, &mut nonces).await?);
        }
        let bytes = entries.iter().map(|entry| entry.body.bytes()).sum();
        fits(bytes, CALL_BYTES_MAX)?;
        let (reply, receipts) = oneshot::channel();
        Ok((Submission { entries, bytes, reply }, receipts))
    }

    /// Where the writer takes calls from.
    fn queue(&self) -> Result<&mpsc::Sender<Submission>, AppendError> {
        self.queue.as_ref().ok_or_else(|| Cause::new(ReadOnly).into())
    }

    async fn seal(
        &self,
        draft: Draft,
        nonces: &mut (impl Iterator<Item = NonceBytes> + Send),
    ) -> Result<Entry, AppendError> {
        let Shared { vault, names, keys, tail, opened, .. } = &*self.shared;
        let event_id = names.event_id(&draft);
        let record = draft.payload.record().map(|record| names.pseudonym(&record));
        let verdict = match (&draft.same, draft.verdict) {
            (Same::Message | Same::Redriven, Verdict::Quarantined) => Verdict::Quarantined,
            (Same::Message | Same::Redriven, _) => Verdict::Accepted,
            (Same::Name(_) | Same::Series(..), verdict) => verdict,
        };
        let same = match &draft.same {
            Same::Message | Same::Redriven => {
                let offer = Offer { verdict, from_log: draft.same == Same::Redriven };
                SameEntry::Message { feed: draft.feed.clone(), control_id: draft.control_id.clone(), offer }
            }
            Same::Name(_) | Same::Series(..) => SameEntry::Named,
        };
        let partition = tail.partitions().of(draft.payload.stream(), record, event_id);
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
            redrives: None,
        };
        if draft.payload.is_clear() {
            let sealed = Sealed::clear(&header, draft.payload.encode());
            fits(sealed.bytes.len(), EVENT_BYTES_MAX)?;
            return Ok(Entry { head: Head { partition, event_id, same }, body: Body::Sealed(sealed) });
        }
        let nonce = nonces.next().ok_or_else(|| Cause::new("an event to seal without a nonce"))?;
        #[cfg(feature = "suite")]
        if self.shared.bare.load(Ordering::Relaxed) {
            let body = Body::Sealed(Unsealed::new(header, draft.payload, nonce, false).bare());
            return Ok(Entry { head: Head { partition, event_id, same }, body });
        }
        let unsealed = Unsealed::new(header, draft.payload, nonce, opened.wanted());
        fits(unsealed.bytes(), EVENT_BYTES_MAX)?;
        let slot = match record {
            None => Some(GENERAL_SLOT),
            Some(record) => keys.get(record),
        };
        #[cfg(feature = "kafka")]
        vault.load(slot).await.map_err(Cause::new)?;
        let body = match (record, slot) {
            (Some(record), None) => Body::Unsealed(record, Box::new(unsealed)),
            (_, slot) => Body::Sealed(unsealed.seal(vault, slot.unwrap_or(GENERAL_SLOT))?),
        };
        Ok(Entry { head: Head { partition, event_id, same }, body })
    }
}

#[async_trait]
impl<S: Storage> Reachable for Log<S> {
    async fn check(&self) -> Result<(), ReadError> {
        if *self.closing.borrow() {
            return Err(ReadError::Unavailable(Closed.into()));
        }
        self.storage.check().await
    }
}

#[async_trait]
impl<S: Storage> EventLog for Log<S> {
    async fn append(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>, AppendError> {
        let queue = self.queue()?;
        let on_its_way = OnItsWay::new(&self.shared.sealing);
        let (call, receipts) = self.seal_all(drafts).await?;
        queue.send(call).await.map_err(|_| closed())?;
        drop(on_its_way);
        Ok(receipts.await.map_err(|_| closed())??)
    }

    async fn append_after(
        &self,
        mut before: watch::Receiver<bool>,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Receipt>, AppendError> {
        let queue = self.queue()?;
        let (call, receipts) = self.seal_all(drafts).await?;
        crate::wait_until_stored(&mut before).await?;
        queue.send(call).await.map_err(|_| closed())?;
        Ok(receipts.await.map_err(|_| closed())??)
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        if *self.closing.borrow() {
            return Err(ReadError::Unavailable(Closed.into()));
        }
        match self.shared.tail.find(from, limit) {
            Found::Here(events) => Ok(events),
            Found::OnDisk { size } => self.storage.read(from, size, limit).await,
            Found::Beyond if self.others_write => match self.size(from.partition).await? {
                size if size > from.offset => self.storage.read(from, size, limit).await,
                _ => Ok(Vec::new()),
            },
            Found::Beyond => Ok(Vec::new()),
        }
    }

    async fn wait(&self, partition: Partition, offset: u64) -> Result<u64, ReadError> {
        loop {
            if *self.closing.borrow() {
                return Err(ReadError::Unavailable(Closed.into()));
            }
            // Waiting has no end but the event or that of the log: what cannot be watched now is watched later.
            if let Err(error) = self.storage.watch(partition).await {
                tracing::warn!(%partition, error = &error as &dyn std::error::Error, "log cannot be watched now");
            }
            if let Ok(ended) = tokio::time::timeout(WATCH_AGAIN, self.shared.tail.wait(partition, offset)).await {
                return ended;
            }
        }
    }

    async fn size(&self, partition: Partition) -> Result<u64, ReadError> {
        if *self.closing.borrow() {
            return Err(ReadError::Unavailable(Closed.into()));
        }
        if self.others_write {
            self.shared.tail.note(partition, self.storage.size(partition).await?);
        }
        Ok(self.shared.tail.size(partition))
    }

    fn partitions(&self) -> Vec<Partition> {
        self.shared.tail.partitions().all().collect()
    }

    async fn open(&self, stored: &Stored) -> Result<Arc<Event>, OpenError> {
        if let Some(event) = self.shared.opened.find(&stored.leaf, &self.shared.vault) {
            return Ok(event);
        }
        #[cfg(feature = "kafka")]
        let loaded = self.shared.vault.load(seal::key_slot(&stored.bytes)).await;
        #[cfg(feature = "kafka")]
        loaded.map_err(OpenError::Vault)?;
        seal::open(&self.shared.vault, stored).map(Arc::new)
    }

    fn pseudonym(&self, record: &SourceRecordId) -> Pseudonym {
        self.shared.names.pseudonym(record)
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

type Reply = oneshot::Receiver<Result<Vec<Receipt>, Cause>>;

fn closed() -> AppendError {
    Cause::new(Closed).into()
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

/// How often whoever waits looks whether the partition is still watched.
const WATCH_AGAIN: std::time::Duration = std::time::Duration::from_secs(2);
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
        for partition in shared.tail.partitions().all() {
            if let Ok(size) = storage.size(partition).await {
                shared.tail.grow(partition, size);
            }
        }
    }
    ended.send_replace(true);
}

fn fits(bytes: usize, limit: usize) -> Result<(), AppendError> {
    if bytes <= limit { Ok(()) } else { Err(AppendError::TooLarge { bytes, limit }) }
}
