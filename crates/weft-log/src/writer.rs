//! The one writer: takes every call that waits, stores them in one transaction, and only then answers.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{mpsc, oneshot, watch};

use weft_model::{Position, Pseudonym};

use crate::{
    Receipt, Stored, Vault,
    batch::{self, Decided, Decider, Decision, Entry, FirstReceived},
    error::Cause,
    keys::Allocator,
    log::Shared,
    partitions::PerPartition,
    seal::{self, Sealed},
    storage::{Ends, Known, Questions, Rows, Storing, Writing},
};

/// Bounds of one batch. A call is never split, so one large call may exceed them.
const BATCH_DRAFTS_MAX: usize = 512;
const BATCH_BYTES_MAX: usize = 8 << 20;
/// For how many batches the writer asks what is stored: when it has begun, for it remembers no record yet, and after a batch in
/// which something came again.
const ASKING_BATCHES: u32 = 64;
/// How often the writer lets others go first before it stores what it has.
const YIELDS_MAX: usize = 32;

/// The sealed drafts of one call.
pub(crate) struct Submission {
    pub(crate) entries: Vec<Entry>,
    pub(crate) bytes: usize,
    /// Nobody listens any more where the caller was cancelled: its drafts are stored all the same.
    pub(crate) reply: oneshot::Sender<Result<Vec<Receipt>, Cause>>,
}

pub(crate) struct Writer<W> {
    shared: Arc<Shared>,
    allocator: Allocator,
    writing: W,
    /// None after a failure, until storage says again where it ends.
    ends: Option<Ends>,
    /// For how many batches it still asks first.
    asking: u32,
}

/// Calls that are stored together, and what is known of them before storage is asked.
struct Batch {
    calls: Vec<Vec<Entry>>,
    /// Those that are named for the first time.
    feeds: Vec<(u32, String)>,
    questions: Questions,
    /// Key slots.
    remembered: HashMap<Pseudonym, u64>,
}

/// What a batch comes to, if storage takes it.
struct Attempt {
    /// Of each call.
    decided: Vec<Result<Vec<Decision>, Cause>>,
    rows: Rows,
    /// Of the new events.
    positions: Vec<Position>,
    slots: HashMap<Pseudonym, u64>,
    sizes: PerPartition<u64>,
    next_key_slot: u64,
}

impl<W: Writing> Writer<W> {
    pub(crate) fn new(shared: Arc<Shared>, writing: W, ends: Ends) -> Self {
        Self {
            allocator: Allocator::new(Arc::clone(&shared.vault)),
            shared,
            writing,
            ends: Some(ends),
            asking: ASKING_BATCHES,
        }
    }

    /// Stores until the log is closed or dropped; what was queued before that is stored too.
    pub(crate) async fn run(
        mut self,
        mut queue: mpsc::Receiver<Submission>,
        mut closing: watch::Receiver<bool>,
        ended: watch::Sender<bool>,
    ) {
        let mut open = true;
        loop {
            let first = tokio::select! {
                biased;
                first = queue.recv() => first,
                // An error means that the log was dropped.
                _ = closing.wait_for(|closing| *closing), if open => {
                    open = false;
                    queue.close();
                    continue;
                }
            };
            let Some(first) = first else { break };
            let batch = collect(first, &mut queue, &self.shared.sealing).await;
            self.store(batch).await;
        }
        self.writing.close().await;
        ended.send_replace(true);
    }

    /// Stores a batch and answers its calls.
    async fn store(&mut self, batch: Vec<Submission>) {
        let (mut entries, mut replies) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for Submission { entries: drafts, reply, .. } in batch {
            entries.push(drafts);
            replies.push(reply);
        }
        match self.try_store(entries).await {
            Ok(answers) => {
                for (reply, receipts) in replies.into_iter().zip(answers) {
                    let _ = reply.send(receipts);
                }
            }
            Err(cause) => {
                tracing::error!(error = &cause as &dyn std::error::Error, calls = replies.len(), "events not stored");
                self.ends = None;
                for reply in replies {
                    let _ = reply.send(Err(cause.clone()));
                }
            }
        }
    }

    /// The answer to each call, or why none of them is stored.
    ///
    /// Hardly anything comes again. So all of a batch is taken for new, and storage refuses it where something is not: then it
    /// is decided once more, on what is stored.
    async fn try_store(&mut self, calls: Vec<Vec<Entry>>) -> Result<Vec<Result<Vec<Receipt>, Cause>>, Cause> {
        let mut ends = match self.ends.take() {
            Some(ends) => ends,
            None => self.resume().await?,
        };
        let feeds = number_feeds(&mut ends, calls.iter().flatten());
        let (questions, remembered) = batch::questions(&ends.feeds, &self.shared.keys, calls.iter().flatten());
        let batch = Batch { calls, feeds, questions, remembered };
        let mut asks = self.asking > 0;
        self.asking = self.asking.saturating_sub(1);
        let attempt = loop {
            let known = if asks { Some(self.writing.find(&batch.questions).await?) } else { None };
            let attempt = self.decide(&batch, &ends, known).await?;
            match self.writing.store(&attempt.rows).await? {
                Storing::Done => break attempt,
                Storing::Repeats if asks => return Err(Cause::new("what was decided on what is stored was refused")),
                Storing::Repeats => (asks, self.asking) = (true, ASKING_BATCHES),
            }
        };
        let Attempt { decided, mut rows, positions, slots, sizes, next_key_slot } = attempt;
        self.ends = Some(Ends { sizes, next_key_slot, ..ends });
        self.shared.keys.remember(slots);
        let opened = |(_, sealed): &mut (_, Sealed)| Some((sealed.leaf, sealed.opened.take()?));
        self.shared.opened.keep(rows.events.iter_mut().filter_map(opened));
        let stored = |(position, Sealed { bytes, leaf, .. })| Stored { position, bytes, leaf };
        self.shared.tail.publish(rows.events.into_iter().map(stored));
        let receipts = |decisions| batch::receipts(decisions, &positions);
        decided
            .into_iter()
            .map(|call| {
                Ok(match call {
                    Ok(decisions) => Ok(receipts(decisions)?),
                    Err(cause) => Err(cause),
                })
            })
            .collect()
    }

    /// What a batch comes to by what is known to be stored; where nobody asked, as if nothing were.
    async fn decide(&mut self, batch: &Batch, ends: &Ends, known: Option<Known>) -> Result<Attempt, Cause> {
        let unasked = known.is_none();
        let known = known.unwrap_or_default();
        let mut slots = batch.remembered.clone();
        slots.extend(&known.key_slots);
        let mut unknown = batch.questions.records.clone();
        unknown.retain(|record| !slots.contains_key(record));
        let (given, next_key_slot) = self.allocator.give(unknown, ends.next_key_slot).await?;
        slots.extend(&given);

        let mut decider = Decider::new(&self.shared.names, &ends.feeds, known);
        let mut decided = Vec::with_capacity(batch.calls.len());
        for call in &batch.calls {
            let sealed = call.iter().map(|entry| entry.body.sealed(&self.shared.vault, &slots));
            let sealed = sealed.collect::<Result<Vec<_>, _>>();
            // A key that is lost stops its own call only.
            decided.push(match sealed {
                Ok(sealed) => {
                    let entries = call.iter().zip(sealed);
                    let decisions = entries.map(|(entry, sealed)| decider.decide(&entry.head, sealed));
                    Ok(decisions.collect::<Result<Vec<_>, _>>()?)
                }
                Err(cause) => Err(cause),
            });
        }
        let (feeds, key_slots) = (batch.feeds.clone(), given.into_iter().collect());
        let rows = Rows { unasked, feeds, key_slots, ..Rows::default() };
        let outcome = decider.finish();
        let first_received = self.first_received(&outcome).await?;
        let mut sizes = ends.sizes.clone();
        let (rows, positions) = place(&self.shared.vault, outcome, &first_received, rows, &mut sizes)?;
        Ok(Attempt { decided, rows, positions, slots, sizes, next_key_slot })
    }

    /// When the messages were received first that are accepted now, as far as the events that they were kept as can be read.
    async fn first_received(&mut self, decided: &Decided<Sealed>) -> Result<FirstReceived, Cause> {
        let mut received = FirstReceived::new();
        for first in decided.firsts() {
            if let Some(stored) = self.writing.read(first.position).await? {
                received.insert(first.position, seal::header(&stored).map_err(Cause::new)?.received_us);
            }
        }
        Ok(received)
    }

    /// Where storage ends after a failure. What that batch stored after all, against what its callers were told, becomes
    /// visible now.
    async fn resume(&mut self) -> Result<Ends, Cause> {
        let ends = self.writing.resume().await?;
        for (partition, size) in ends.sizes.iter() {
            self.shared.tail.grow(partition, *size);
        }
        Ok(ends)
    }
}

/// The rows of what was decided, each new event behind those that its partition has, and where that is.
fn place(
    vault: &Vault,
    decided: Decided<Sealed>,
    first_received: &FirstReceived,
    mut rows: Rows,
    sizes: &mut PerPartition<u64>,
) -> Result<(Rows, Vec<Position>), Cause> {
    rows.counts = decided.duplicates;
    let mut positions = Vec::with_capacity(decided.new.len());
    for new in decided.new {
        let counted = new.counted();
        let sealed = match &new.message {
            Some(message) => new.body.decided(vault, message, first_received)?,
            None => new.body,
        };
        let size = sizes.get_mut(new.partition).ok_or_else(|| Cause::new("event of no partition"))?;
        let position = new.partition.at(*size);
        *size += 1;
        let count = rows.counts.entry(counted).or_default();
        count.count += 1;
        count.bytes += sealed.bytes.len() as u64;
        match new.message {
            Some(message) => {
                let verdict = message.stored_verdict();
                rows.messages.push((message.key, new.event_id, position, verdict));
            }
            None => rows.named.push((new.event_id, position)),
        }
        rows.events.push((position, sealed));
        positions.push(position);
    }
    Ok((rows, positions))
}

/// Gives feeds that are new their numbers; returns them.
fn number_feeds<'e>(ends: &mut Ends, entries: impl Iterator<Item = &'e Entry>) -> Vec<(u32, String)> {
    let unknown = batch::unknown_feeds(&ends.feeds, entries);
    // There are not four billion feeds.
    let numbered: Vec<_> = (ends.feeds.len() as u32..).zip(unknown).collect();
    ends.feeds.extend(numbered.iter().map(|(number, name)| (name.clone(), *number)));
    numbered
}

/// The first call and every other one that waits, within the bounds. A call that is being sealed is nearly here, and one
/// fsync for it and the others is cheaper than two: the writer lets those go first, a few times.
pub(crate) async fn collect(
    first: Submission,
    queue: &mut mpsc::Receiver<Submission>,
    sealing: &AtomicUsize,
) -> Vec<Submission> {
    let (mut drafts, mut bytes) = (first.entries.len(), first.bytes);
    let mut batch = vec![first];
    let mut patience = YIELDS_MAX;
    while drafts < BATCH_DRAFTS_MAX && bytes < BATCH_BYTES_MAX {
        match queue.try_recv() {
            Ok(next) => {
                drafts += next.entries.len();
                bytes += next.bytes;
                batch.push(next);
            }
            Err(_) if patience > 0 && sealing.load(Ordering::Acquire) > 0 => {
                patience -= 1;
                tokio::task::yield_now().await;
            }
            Err(_) => break,
        }
    }
    batch
}
