//! The one writer of this node: decides batch after batch in PostgreSQL, hands each to the brokers, and answers its calls
//! when the brokers have it and PostgreSQL knows where.
//!
//! Batches overlap. While one is on its way, the next is decided and handed over behind it, so the order of each partition
//! is that of the calls; and no more than [`IN_FLIGHT_MAX`] are on their way, so a broker that is slow or away is felt by
//! whoever appends. An event that is on its way already is not sent a second time: its batch is awaited first.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::{Instant, timeout},
};
use weft_model::{EventId, Partition, Position, Pseudonym, Verdict};

use super::{
    client::Client,
    inbox::{Delivered, Inbox, NewKey, Outcome},
    produce::{Outcomes, Outgoing, Producer},
    read::Kafka,
};
use crate::{
    OpenLogError, ReadError, ReadLimit, Receipt,
    batch::{self, Body, Decided, Decider, Decision, Entry, FirstReceived, Head, New, Place, SameEntry},
    error::Cause,
    log::Shared,
    names::Names,
    seal,
    storage::{Count, Counted, Known, MessageKey, Questions, Storage},
    writer::{Submission, collect},
};

/// Batches that are on their way at once.
const IN_FLIGHT_MAX: u32 = 8;
/// How long PostgreSQL may take over one statement, and an event from its decision to the producer: the sweep counts on
/// it.
pub(super) const DECIDE_WITHIN: Duration = Duration::from_secs(10);
/// How many events are read over to come to the next that is wanted.
const READ_OVER_MAX: u64 = 32;
/// How often a batch is decided anew because another node was quicker.
const OVERTAKEN_MAX: usize = 20;

type Answer = Result<Vec<Receipt>, Cause>;
type Reply = oneshot::Sender<Answer>;

pub(super) struct KafkaWriter {
    shared: Arc<Shared>,
    inbox: Inbox,
    storage: Arc<Kafka>,
    producer: Producer,
    feeds: HashMap<String, u32>,
    /// Key slots that are ours and not given yet.
    slots: Range<u64>,
    in_flight: Arc<Semaphore>,
    on_their_way: Arc<Mutex<HashSet<EventId>>>,
}

/// A batch that is decided: what is stored of each call, or why none of it is.
struct Plan {
    calls: Vec<Result<Vec<Decision>, Cause>>,
    decided: Decided<Body>,
    slots: HashMap<Pseudonym, u64>,
    first_received: FirstReceived,
}

/// Events that are on their way, until it is dropped.
struct OnTheirWay {
    all: Arc<Mutex<HashSet<EventId>>>,
    these: Vec<EventId>,
}

impl KafkaWriter {
    pub(super) fn start(
        client: &Client,
        shared: Arc<Shared>,
        inbox: Inbox,
        storage: Arc<Kafka>,
        deliver_within: Duration,
    ) -> Result<Self, OpenLogError> {
        let producer = Producer::new(client.clone(), Arc::clone(&shared), deliver_within);
        let producer = producer.map_err(|source| client.unavailable(source))?;
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX as usize));
        let (feeds, on_their_way) = (HashMap::new(), Arc::default());
        Ok(Self { shared, inbox, storage, producer, feeds, slots: 0..0, in_flight, on_their_way })
    }

    /// Stores until the log is closed or dropped; what was queued before that is stored too.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Submission>, mut closing: watch::Receiver<bool>) {
        let mut open = true;
        loop {
            // The permit first: what waits meanwhile shares the next batch.
            let Ok(permit) = Arc::clone(&self.in_flight).acquire_owned().await else { break };
            let first = loop {
                tokio::select! {
                    biased;
                    first = queue.recv() => break first,
                    // An error means that the log was dropped.
                    _ = closing.wait_for(|closing| *closing), if open => {
                        open = false;
                        queue.close();
                    }
                }
            };
            let Some(first) = first else { break };
            let batch = collect(first, &mut queue, &self.shared.sealing).await;
            self.store(batch, permit).await;
        }
        // Whatever is on its way is answered before the log says that it is closed.
        let _ = self.in_flight.acquire_many(IN_FLIGHT_MAX).await;
    }

    async fn store(&mut self, batch: Vec<Submission>, permit: OwnedSemaphorePermit) {
        let (mut calls, mut replies) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for Submission { entries, reply, .. } in batch {
            calls.push(entries);
            replies.push(reply);
        }
        match self.send(calls).await {
            Ok(flight) => {
                let (inbox, shared) = (self.inbox.clone(), Arc::clone(&self.shared));
                tokio::spawn(async move {
                    flight.land(&inbox, &shared, replies).await;
                    drop(permit);
                });
            }
            Err(cause) => refuse(&cause, replies),
        }
    }

    /// Decides a batch and hands it over.
    async fn send(&mut self, calls: Vec<Vec<Entry>>) -> Result<Flight, Cause> {
        let started = Instant::now();
        let plan = match timeout(DECIDE_WITHIN, self.decide(calls)).await {
            Ok(plan) => plan?,
            Err(_) => return Err(Cause::new("PostgreSQL does not answer in time")),
        };
        let Plan { calls, decided, slots, first_received } = plan;
        let mut outgoing = Vec::with_capacity(decided.new.len());
        let mut sent = Vec::with_capacity(decided.new.len());
        for new in decided.new {
            let sealed = new.body.sealed(&self.shared.vault, &slots)?;
            let sealed = match &new.message {
                Some(message) => sealed.decided(&self.shared.vault, message, &first_received)?,
                None => sealed,
            };
            let bytes = sealed.bytes.len() as u64;
            outgoing.push(Outgoing { partition: new.partition, event_id: new.event_id, sealed });
            let verdict = new.message.as_ref().map(|message| message.stored_verdict() as i16);
            let (event_id, position) = (new.event_id, new.partition.at(0));
            sent.push(Delivered { event_id, message: new.message, position, bytes, verdict });
        }
        if started.elapsed() > DECIDE_WITHIN {
            return Err(Cause::new("deciding took too long"));
        }
        let on_their_way = OnTheirWay::new(&self.on_their_way, sent.iter().map(|event| event.event_id).collect());
        let outcomes = if outgoing.is_empty() { None } else { Some(self.producer.send(outgoing).await?) };
        Ok(Flight { calls, sent, duplicates: decided.duplicates, outcomes, _on_their_way: on_their_way })
    }

    /// Decides until no other node is quicker.
    async fn decide(&mut self, calls: Vec<Vec<Entry>>) -> Result<Plan, Cause> {
        let unknown = batch::unknown_feeds(&self.feeds, calls.iter().flatten());
        if !unknown.is_empty() {
            self.feeds.extend(self.inbox.number_feeds(&unknown).await?);
        }
        for _ in 0..OVERTAKEN_MAX {
            let (questions, remembered) = batch::questions(&self.feeds, &self.shared.keys, calls.iter().flatten());
            let mut known = self.inbox.find(&questions).await?;
            known.key_slots.extend(remembered);
            if self.await_those_on_their_way(&known).await {
                continue;
            }
            let mut unknown = questions.records;
            unknown.retain(|record| !known.key_slots.contains_key(record));
            let keys = self.make_keys(unknown).await?;
            self.shared.vault.load(known.key_slots.values().copied()).await.map_err(Cause::new)?;
            let refusals = self.refusals(&calls, &known);
            let mut slots = known.key_slots.clone();
            slots.extend(keys.iter().map(|key| (key.record, key.slot)));

            let (calls_decided, decided) = decide(&self.shared.names, &self.feeds, known, &calls, refusals)?;
            let first_received = self.first_received(&decided).await?;
            let sizes = |partition: Partition| self.shared.tail.size(partition);
            let nothing_new = decided.new.is_empty();
            if nothing_new || self.inbox.decide(&decided.new, &keys, sizes).await? == Outcome::Stored {
                for NewKey { slot, wrapped, .. } in keys.iter().filter(|_| !nothing_new) {
                    self.shared.vault.remember(*slot, *wrapped).map_err(Cause::new)?;
                }
                if !nothing_new {
                    self.shared.keys.remember(slots.iter().map(|(record, slot)| (*record, *slot)));
                }
                return Plan::new(calls, calls_decided, decided, slots, first_received);
            }
        }
        Err(Cause::new("other nodes store the same events again and again"))
    }

    /// When the messages were received first that are accepted now, as far as the events that they were kept as can be read.
    async fn first_received(&self, decided: &Decided<usize>) -> Result<FirstReceived, Cause> {
        let mut wanted: BTreeSet<Position> = decided.firsts().map(|first| first.position).collect();
        let mut received = FirstReceived::new();
        while let Some(from) = wanted.pop_first() {
            // Those that lie near are read with it.
            let mut end = from.offset + 1;
            for near in wanted.iter().take_while(|near| near.partition == from.partition) {
                if near.offset - end > READ_OVER_MAX {
                    break;
                }
                end = near.offset + 1;
            }
            let limit = ReadLimit { events: usize::MAX, ..ReadLimit::PAGE };
            let page = match self.storage.read(from, end, limit).await {
                Ok(page) => page,
                Err(ReadError::Corrupt { .. }) => continue,
                Err(error) => return Err(Cause::new(error)),
            };
            for stored in &page {
                if stored.position == from || wanted.remove(&stored.position) {
                    received.insert(stored.position, seal::header(stored).map_err(Cause::new)?.received_us);
                }
            }
        }
        Ok(received)
    }

    /// True where events that are known to be pending are on their way from here: they have arrived then, or failed.
    async fn await_those_on_their_way(&self, known: &Known) -> bool {
        let pending = |place: &Place| matches!(place, Place::Pending(_));
        let messages = known.messages.values().flatten().filter(|message| pending(&message.place));
        let named = known.named.iter().filter(|(_, place)| pending(place)).map(|(event_id, _)| *event_id);
        let mut all = messages.map(|message| message.event_id).chain(named);
        let ours = {
            let on_their_way = lock(&self.on_their_way);
            all.any(|event_id| on_their_way.contains(&event_id))
        };
        if ours {
            // All but the one that this batch holds.
            let _ = self.in_flight.acquire_many(IN_FLIGHT_MAX - 1).await;
        }
        ours
    }

    /// A key for each record that has none.
    async fn make_keys(&mut self, records: Vec<Pseudonym>) -> Result<Vec<NewKey>, Cause> {
        let mut seen = HashSet::new();
        let mut keys = Vec::new();
        for record in records.into_iter().filter(|record| seen.insert(*record)) {
            let slot = match self.slots.next() {
                Some(slot) => slot,
                None => {
                    self.slots = self.inbox.next_slots().await?;
                    self.slots.next().ok_or_else(|| Cause::new("no key slot is left"))?
                }
            };
            keys.push(NewKey { record, slot, wrapped: self.shared.vault.make(slot).map_err(Cause::new)? });
        }
        Ok(keys)
    }

    /// Why a call cannot be stored, if it cannot: a key that is lost, or a message that is pending and was read otherwise
    /// when it was decided. Both stop their own call only.
    fn refusals(&self, calls: &[Vec<Entry>], known: &Known) -> Vec<Option<Cause>> {
        let mut refusals = Vec::with_capacity(calls.len());
        for call in calls {
            let mut refusal = None;
            for Entry { head, body } in call {
                if self.is_read_otherwise(head, known) {
                    refusal = Some(Cause::new("the same message is on its way as it was read before: try again later"));
                }
                if let Body::Unsealed(record, _) = body
                    && let Some(slot) = known.key_slots.get(record)
                    && let Err(error) = self.shared.vault.key(*slot)
                {
                    refusal = Some(Cause::new(error));
                }
            }
            refusals.push(refusal);
        }
        refusals
    }

    fn is_read_otherwise(&self, head: &Head, known: &Known) -> bool {
        let SameEntry::Message { feed, control_id, offer } = &head.same else { return false };
        let Some(feed) = self.feeds.get(feed) else { return false };
        let others = known.messages.get(&MessageKey::new(*feed, control_id, head.event_id));
        others.is_some_and(|others| batch::is_read_otherwise(others, head, *offer, &self.shared.names))
    }
}

/// Decides the drafts of all calls that can be stored; the body of each is its number among all drafts.
#[expect(clippy::type_complexity, reason = "said once")]
fn decide(
    names: &Names,
    feeds: &HashMap<String, u32>,
    known: Known,
    calls: &[Vec<Entry>],
    refusals: Vec<Option<Cause>>,
) -> Result<(Vec<Result<Vec<Decision>, Cause>>, Decided<usize>), Cause> {
    let mut decider = Decider::new(names, feeds, known);
    let mut decided = Vec::with_capacity(calls.len());
    let mut number = 0;
    for (call, refusal) in calls.iter().zip(refusals) {
        let first = number;
        number += call.len();
        decided.push(match refusal {
            Some(cause) => Err(cause),
            None => {
                let decisions = call.iter().zip(first..).map(|(entry, number)| decider.decide(&entry.head, number));
                Ok(decisions.collect::<Result<Vec<_>, _>>()?)
            }
        });
    }
    Ok((decided, decider.finish()))
}

impl Plan {
    /// Gives every new event its body.
    fn new(
        calls: Vec<Vec<Entry>>,
        calls_decided: Vec<Result<Vec<Decision>, Cause>>,
        decided: Decided<usize>,
        slots: HashMap<Pseudonym, u64>,
        first_received: FirstReceived,
    ) -> Result<Self, Cause> {
        let mut bodies: Vec<Option<Body>> = calls.into_iter().flatten().map(|entry| Some(entry.body)).collect();
        let Decided { new, duplicates } = decided;
        let with_body = |New { partition, event_id, message, again, body }| {
            let body = bodies.get_mut(body).and_then(Option::take).ok_or_else(|| Cause::new("event without a body"))?;
            Ok(New { partition, event_id, message, again, body })
        };
        let new = new.into_iter().map(with_body).collect::<Result<_, Cause>>()?;
        Ok(Self { calls: calls_decided, decided: Decided { new, duplicates }, slots, first_received })
    }
}

/// A batch that was handed over.
struct Flight {
    calls: Vec<Result<Vec<Decision>, Cause>>,
    sent: Vec<Delivered>,
    duplicates: BTreeMap<Counted, Count>,
    /// None where nothing was sent.
    outcomes: Option<oneshot::Receiver<Outcomes>>,
    _on_their_way: OnTheirWay,
}

impl Flight {
    /// Waits for the brokers, stores where the events are, and answers. Events that failed stop their own calls only.
    async fn land(self, inbox: &Inbox, shared: &Shared, replies: Vec<Reply>) {
        let outcomes = match self.outcomes {
            None => Vec::new(),
            Some(outcomes) => match outcomes.await {
                Ok(outcomes) => outcomes,
                Err(_) => return refuse(&Cause::new("the producer has ended"), replies),
            },
        };
        let mut delivered = Vec::with_capacity(self.sent.len());
        for (event, outcome) in self.sent.into_iter().zip(&outcomes) {
            if let Ok(position) = outcome {
                delivered.push(Delivered { position: *position, ..event });
            }
        }
        let placed = match timeout(DECIDE_WITHIN, complete(inbox, &delivered, &self.duplicates)).await {
            Ok(Ok(placed)) => placed,
            Ok(Err(cause)) => return refuse(&cause, replies),
            Err(_) => return refuse(&Cause::new("PostgreSQL does not answer in time"), replies),
        };
        for event in &delivered {
            shared.tail.note(event.position.partition, event.position.offset + 1);
        }
        for (call, reply) in self.calls.into_iter().zip(replies) {
            // Nobody listens where the caller was cancelled.
            let _ = reply.send(call.and_then(|decisions| answer(decisions, &outcomes, &placed)));
        }
    }
}

/// Events that another copy had a place for already, and where.
type Elsewhere = HashMap<EventId, (Position, Verdict)>;

/// Stores where the events are. An event that has a place already, from a copy that another node sent, keeps that one: then
/// this copy is a duplicate.
async fn complete(
    inbox: &Inbox,
    delivered: &[Delivered],
    duplicates: &BTreeMap<Counted, Count>,
) -> Result<Elsewhere, Cause> {
    if delivered.is_empty() && duplicates.is_empty() {
        return Ok(Elsewhere::new());
    }
    let placed: HashSet<EventId> = inbox.complete(delivered, duplicates).await?.into_iter().collect();
    let copies: Vec<&Delivered> = delivered.iter().filter(|event| !placed.contains(&event.event_id)).collect();
    if copies.is_empty() {
        return Ok(Elsewhere::new());
    }
    let questions = Questions {
        messages: copies.iter().filter_map(|event| Some(event.message.as_ref()?.key.clone())).collect(),
        named: copies.iter().filter(|event| event.message.is_none()).map(|event| event.event_id).collect(),
        records: Vec::new(),
    };
    let known = inbox.find(&questions).await?;
    let mut elsewhere = Elsewhere::new();
    let mut counts: BTreeMap<Counted, Count> = BTreeMap::new();
    for event in copies {
        let messages = event.message.as_ref().and_then(|message| known.messages.get(&message.key));
        let message = messages.into_iter().flatten().find(|message| message.event_id == event.event_id);
        let (place, verdict) = match message {
            Some(message) => (Some(message.place), message.verdict),
            None => (known.named.get(&event.event_id).copied(), Verdict::Accepted),
        };
        let Some(Place::At(position)) = place else {
            return Err(Cause::new("an event lost its row in the inbox: append it again"));
        };
        elsewhere.insert(event.event_id, (position, verdict));
        if let Some(message) = &event.message {
            let is_from_log = message.first.is_some_and(|first| first.from_log);
            let message = Some((message.key.feed, Verdict::Duplicate.into()));
            let counted = Counted { partition: event.position.partition, message };
            let Count { count, bytes } = counts.entry(counted).or_default();
            // What was read again from the log was not received.
            *count += u64::from(!is_from_log);
            *bytes += event.bytes;
        }
    }
    inbox.complete(&[], &counts).await?;
    Ok(elsewhere)
}

/// The receipts of one call, or why one of its events is not known to be stored.
fn answer(decisions: Vec<Decision>, outcomes: &Outcomes, elsewhere: &Elsewhere) -> Answer {
    let receipt = |Decision { event_id, verdict, stored, place }| {
        let position = match place {
            Place::At(position) => position,
            Place::Pending(_) => return Err(Cause::new("event without a position")),
            Place::New(number) => match outcomes.get(number) {
                Some(Ok(position)) => *position,
                Some(Err(cause)) => return Err(cause.clone()),
                None => return Err(Cause::new("event without an outcome")),
            },
        };
        Ok(match elsewhere.get(&event_id) {
            Some((position, stored)) => {
                Receipt { position: *position, event_id, verdict: Verdict::Duplicate, stored: *stored }
            }
            None => Receipt { position, event_id, verdict, stored },
        })
    };
    decisions.into_iter().map(receipt).collect()
}

fn refuse(cause: &Cause, replies: Vec<Reply>) {
    tracing::error!(error = cause as &dyn std::error::Error, calls = replies.len(), "events not stored");
    for reply in replies {
        // Nobody listens where the caller was cancelled.
        let _ = reply.send(Err(cause.clone()));
    }
}

impl OnTheirWay {
    fn new(all: &Arc<Mutex<HashSet<EventId>>>, these: Vec<EventId>) -> Self {
        lock(all).extend(these.iter().copied());
        Self { all: Arc::clone(all), these }
    }
}

impl Drop for OnTheirWay {
    fn drop(&mut self) {
        let mut all = lock(&self.all);
        for event_id in &self.these {
            all.remove(event_id);
        }
    }
}

/// What a panicking thread left behind is whole: nothing under this lock fails half way.
fn lock(set: &Mutex<HashSet<EventId>>) -> MutexGuard<'_, HashSet<EventId>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}
