//! The linker's role: follow the feed stream, decide for each record that is new or has changed, append the decision; follow
//! the identity stream, for what stewards have decided.
//!
//! [`Deciding`] decides and is pure; this file gives it its events and makes its decisions events. A decision is made once:
//! its event id is made of the event that caused it, so that deciding again after a crash adds nothing, and what stands in
//! the log is what counts. What was decided from is a function of the feed stream up to the linker's place in it and of the
//! identity stream: on start it is taken from the read model as of that place and from the streams' tails, so that a
//! restarted linker, or another one, sees what the one before it saw.
//!
//! Stewards' decisions come through the log, from any node. While one is on its way, a decision of ours may be stored
//! after it that did not know of it: the fold of the log ranks them, and the linker takes in what it finds there.

mod again;
pub(crate) mod ahead;
pub(crate) mod deciding;
pub(crate) mod redo;
#[cfg(test)]
mod replays;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use futures::future::select_all;
use prost::Message;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::watch,
    task::{block_in_place, coop::consume_budget},
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::warn;
use weft_link::{Model, TOGETHER};
use weft_log::{AppendError, Draft, OpenError, ReadError, ReadLimit, Receipt, SharedLog, VaultError};
use weft_model::{Clock, Cut, Event, Partition, Payload, Position, Stream, proto::event::Demographics};
use weft_readmodel::ReadModel;
use weft_translate::Profile;

pub(crate) use again::run;
use ahead::Steps;
use deciding::{Arrived, Deciding, accepted};

/// Everything that the role needs.
pub(crate) struct Linker {
    log: SharedLog,
    model: Arc<ReadModel>,
    clock: Arc<dyn Clock>,
    deciding: Deciding,
    /// Whether test NHS numbers count, by revision of a feed's profile.
    demo: HashMap<u64, bool>,
    /// Next offset of each partition of the feed stream.
    next: BTreeMap<Partition, u64>,
    /// Next offset of the identity stream.
    next_identity: u64,
    /// Decisions came to lie elsewhere than was presumed when they were taken in: what follows [`Self::next_identity`] is to be
    /// taken in as the log has it.
    is_astray: bool,
    /// How many messages have been decided on, told to whoever waits for it.
    place: watch::Sender<u64>,
    /// On which messages are looked ahead at.
    threads: usize,
}

/// Decisions that are being appended.
struct Sent {
    drafts: Arc<Vec<Draft>>,
    appending: AbortOnDropHandle<anyhow::Result<Vec<Receipt>>>,
    /// Becomes true once they are.
    stored: watch::Receiver<bool>,
}

/// The decisions on pages, where there are any, and one past the last message of each.
type OnTheirWay = VecDeque<(Option<Sent>, Position)>;

/// Pages of a partition that a linker which is behind decides on before it looks at what else there is.
const PAGES_TOGETHER: usize = 16;
/// Of these, pages whose decisions may still be on their way to the log when the next one is decided on: while some are
/// stored, others are made ready.
pub(crate) const PAGES_ON_THEIR_WAY: usize = 2;
/// How often the linker's place is stored. After a crash it decides again from there, which adds nothing.
const STORE_PLACE_EVERY: Duration = Duration::from_secs(1);
/// From one page to the next, at least, unless the first was full: decisions that are appended together share a commit.
const READ_EVERY: Duration = Duration::from_millis(50);
/// From one attempt to read or append to the next, where what it takes is away.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

impl Linker {
    /// Takes what is decided from out of the read model as of the linker's place, and brings it up to the identity
    /// stream's end.
    pub(crate) async fn load(
        log: SharedLog,
        model: Arc<ReadModel>,
        clock: Arc<dyn Clock>,
        place: watch::Sender<u64>,
    ) -> anyhow::Result<Self> {
        let mut next = decided_up_to(&log).await?;
        let places = model.linker_cursor().await?;
        for (partition, stored) in &places.0 {
            next.entry(*partition).and_modify(|next| *next = (*next).max(*stored));
        }
        let names = log.clone();
        let deciding =
            Deciding::new(Model::shipped().context("the model that ships")?, move |record| names.pseudonym(record));
        let snapshot = model.linking_snapshot(&Cut(next.clone())).await?;
        let mut linker = Self {
            log,
            model,
            clock,
            deciding,
            demo: HashMap::new(),
            next,
            next_identity: 0,
            is_astray: false,
            place,
            threads: ahead::threads(),
        };
        let identity_size = snapshot.cut.size(Stream::Identity.partition(0));
        for (offset, ruling) in &snapshot.rulings {
            // Before the records, whose numbers a supersession changes.
            linker.deciding.register.take_fact(*offset, ruling).context("read model: ruling")?;
            if let Payload::LinkModelSwitched(switched) = ruling {
                linker.deciding.model = deciding::model_in(switched).unwrap_or(linker.deciding.model);
            }
        }
        let revisions: HashMap<String, u64> =
            linker.model.feeds().await?.into_iter().map(|feed| (feed.feed, feed.revision)).collect();
        for record in snapshot.records {
            let demographics =
                Demographics::decode(record.demographics.as_slice()).context("read model: demographics")?;
            let demo = match revisions.get(&record.feed) {
                Some(revision) => linker.is_demo(*revision).await?,
                None => false,
            };
            linker.deciding.restore((&record.record, record.pseudonym), demo, &demographics, record.recorded_us);
        }
        for (record, person) in snapshot.links {
            linker.deciding.register.restore(record, person);
        }
        for (retired, survivor) in snapshot.merges {
            linker.deciding.register.restore_follower(retired, survivor);
        }
        for (record, asked) in &snapshot.questions {
            linker.deciding.register.restore_question(*record, asked);
        }
        linker.deciding.register.restore_taken(identity_size);
        linker.next_identity = identity_size;
        let answered = places.0.get(&Stream::Identity.partition(0)).copied().unwrap_or(identity_size);
        let mut unanswered = linker.learn_identity().await?;
        for (partition, next) in linker.next.clone() {
            let from = snapshot.cut.0.get(&partition).copied().unwrap_or(0);
            linker.learn_feed(partition.at(from), next).await?;
        }
        unanswered.extend(snapshot.rulings.into_iter().filter(|(_, ruling)| Deciding::wants_answer(ruling)));
        unanswered.retain(|offset, _| *offset >= answered);
        linker.answer_late(unanswered, answered).await?;
        // Before anything is decided: where no place is stored, all that the read model knows of counts as answered.
        linker.store_place().await;
        linker.place.send_replace(linker.messages());
        Ok(linker)
    }

    /// Decides until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut stored_at = Instant::now();
        let mut not_before = stored_at;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => {
                    self.store_place().await;
                    return Ok(());
                }
                waited = self.wait() => waited?,
            }
            sleep_until(not_before).await;
            self.take_identity().await?;
            let mut full = false;
            for partition in self.next.keys().copied().collect::<Vec<_>>() {
                full |= self.take_feed(partition).await?;
            }
            not_before = Instant::now() + if full { Duration::ZERO } else { READ_EVERY };
            if stored_at.elapsed() >= STORE_PLACE_EVERY {
                self.store_place().await;
                stored_at = Instant::now();
            }
        }
    }

    /// Waits until there is something to take in.
    async fn wait(&self) -> anyhow::Result<()> {
        let identity = (Stream::Identity.partition(0), self.next_identity);
        let places = self.next.iter().map(|(partition, next)| (*partition, *next)).chain([identity]);
        let waits = places.map(|(partition, next)| self.log.wait(partition, next));
        select_all(waits).await.0?;
        Ok(())
    }

    /// Messages that have been decided on.
    fn messages(&self) -> u64 {
        self.next.values().sum()
    }

    /// Decides on what comes next of a partition; true where there is more. A linker that is behind decides on a page while the
    /// next one is read and the decisions on those before are appended: those it knows already, and takes for appended next to
    /// each other. Where they were not, for somebody else has appended too, it does not go on before it has
    /// [taken that in](Self::take_identity).
    async fn take_feed(&mut self, partition: Partition) -> anyhow::Result<bool> {
        let mut next = self.next.get(&partition).copied().unwrap_or(0);
        let (mut full, mut on_their_way) = (true, OnTheirWay::new());
        let mut page = self.page(partition.at(next)).await?;
        for left in (0..PAGES_TOGETHER).rev() {
            full = page.next - next >= ReadLimit::PAGE.events as u64;
            next = page.next;
            let reading = (full && left > 0).then(|| self.read_on(partition.at(next)));
            let drafts = match self.decide_on(&page, full).await {
                Ok(drafts) => drafts,
                Err(error) => {
                    // What was decided before it is appended first.
                    self.settle(&mut on_their_way, 0).await?;
                    return Err(error);
                }
            };
            let before = on_their_way.iter().rev().find_map(|(sent, _)| sent.as_ref());
            let sent = self.send(drafts, before);
            on_their_way.push_back((sent, partition.at(next)));
            self.settle(&mut on_their_way, PAGES_ON_THEIR_WAY).await?;
            page = match reading {
                Some(reading) if !self.is_astray => match reading.await.context("reading on")? {
                    Ok(page) => page,
                    // What cannot be read now is read in its turn: what was decided before it is appended first.
                    Err(_) => break,
                },
                _ => break,
            };
        }
        self.settle(&mut on_their_way, 0).await?;
        Ok(full)
    }

    async fn decide_on(&mut self, page: &Page, full: bool) -> anyhow::Result<Vec<Draft>> {
        let mut messages = Vec::with_capacity(page.events.len());
        for (position, event) in &page.events {
            if let Some((_, message)) = accepted(event) {
                let demo = self.is_demo(message.profile_revision).await?;
                messages.push(Arrived::new(*position, event, demo));
            }
        }
        if full { at_length(|| self.decide_ahead(&mut messages)) } else { self.decide(&mut messages) }
    }

    fn decide(&mut self, messages: &mut [Arrived<'_>]) -> anyhow::Result<Vec<Draft>> {
        let mut drafts = Vec::new();
        for message in messages {
            decide_in_turn(&mut self.deciding, message, &*self.clock, &mut drafts)?;
        }
        Ok(drafts)
    }

    /// The same, with all that can be known of messages worked out before the turn of each. It is no more work in all, and less
    /// among very many records; but it takes all processors at once, so it is done by a linker that is behind: one that keeps up
    /// leaves them to the roles beside it.
    fn decide_ahead(&mut self, messages: &mut [Arrived<'_>]) -> anyhow::Result<Vec<Draft>> {
        messages.chunks_mut(ahead::PARTS * TOGETHER).for_each(|group| self.deciding.sort_out(group));
        let mut drafts = Vec::new();
        let steps = Steps {
            read: |part: &mut &mut [Arrived<'_>]| part.iter_mut().for_each(Arrived::read),
            look: |deciding: &Deciding, part: &mut &mut [Arrived<'_>]| deciding.look_ahead(part),
            turn: |deciding: &mut Deciding, part: &mut &mut [Arrived<'_>]| {
                deciding.ready(part);
                part.iter_mut().try_for_each(|message| decide_in_turn(deciding, message, &*self.clock, &mut drafts))
            },
        };
        let mut parts: Vec<&mut [Arrived<'_>]> = messages.chunks_mut(TOGETHER).collect();
        ahead::in_turns(&mut parts, &mut self.deciding, self.threads, steps)?;
        Ok(drafts)
    }

    /// Takes in what others have appended to the identity stream, and appends what that makes necessary.
    async fn take_identity(&mut self) -> anyhow::Result<()> {
        let identity = Stream::Identity.partition(0);
        loop {
            if std::mem::take(&mut self.is_astray) {
                self.deciding.register.take_back_from(self.next_identity);
            }
            if self.next_identity >= self.size(identity).await? {
                return Ok(());
            }
            let page = self.page(identity.at(self.next_identity)).await?;
            let mut drafts = Vec::new();
            for (position, event) in &page.events {
                self.deciding.take(position.offset, event)?;
                let decided = self.deciding.answer(&event.payload)?;
                drafts.extend(decided.into_iter().map(|decided| decided.draft(*position, self.clock.now_us())));
            }
            self.next_identity = page.next;
            self.append(drafts).await?;
        }
    }

    /// What comes next. While log or keys are away it is waited for: to be loaded again takes long where there are many people.
    async fn page(&self, from: Position) -> anyhow::Result<Page> {
        patiently(|| open_page(&self.log, from, u64::MAX)).await
    }

    /// The same, read beside whatever is done next.
    fn read_on(&self, from: Position) -> AbortOnDropHandle<anyhow::Result<Page>> {
        let log = self.log.clone();
        AbortOnDropHandle::new(tokio::spawn(async move { patiently(|| open_page(&log, from, u64::MAX)).await }))
    }

    async fn size(&self, partition: Partition) -> anyhow::Result<u64> {
        let log = &self.log;
        patiently(|| async move { Ok(log.size(partition).await?) }).await
    }

    async fn append(&mut self, drafts: Vec<Draft>) -> anyhow::Result<()> {
        let sent = self.send(drafts, None);
        self.appended(sent).await
    }

    /// Appends decisions, if there are any, behind those of `before`, beside whatever is done next; a log that cannot store now
    /// is waited for. It ends with the linker.
    fn send(&self, drafts: Vec<Draft>, before: Option<&Sent>) -> Option<Sent> {
        if drafts.is_empty() {
            return None;
        }
        let (log, drafts) = (self.log.clone(), Arc::new(drafts));
        let (tell, stored) = watch::channel(false);
        let before = before.map_or_else(|| watch::channel(true).1, |before| before.stored.clone());
        let sent = drafts.clone();
        let append = async move {
            let receipts = patiently(|| async { Ok(log.append_after(before.clone(), sent.to_vec()).await?) }).await?;
            tell.send_replace(true);
            Ok(receipts)
        };
        Some(Sent { drafts, appending: AbortOnDropHandle::new(tokio::spawn(append)), stored })
    }

    /// Waits until decisions are appended. Where all of them are new and nothing else was stored meanwhile, the log says what was
    /// taken in when they were made. Else it is to be read again, in its order. What was decided before, in an earlier life that
    /// came further, stands as it was stored then, and is not decided again.
    async fn appended(&mut self, sent: Option<Sent>) -> anyhow::Result<()> {
        let Some(Sent { drafts, appending, .. }) = sent else { return Ok(()) };
        let receipts = appending.await.context("appending decisions")??;
        let mut expected = self.next_identity;
        for (draft, receipt) in drafts.iter().zip(&receipts) {
            self.is_astray |= receipt.position.offset != expected;
            if receipt.position.offset < self.next_identity {
                self.deciding.forget(&draft.payload);
            }
            expected += 1;
        }
        if !self.is_astray {
            self.next_identity = expected;
        }
        Ok(())
    }

    /// Waits until the decisions on all pages but the last `left` are appended. The messages before the place of each are done
    /// with then.
    async fn settle(&mut self, on_their_way: &mut OnTheirWay, left: usize) -> anyhow::Result<()> {
        while on_their_way.len() > left
            && let Some((sent, place)) = on_their_way.pop_front()
        {
            self.appended(sent).await?;
            self.next.insert(place.partition, place.offset);
            let messages = self.messages();
            self.place.send_if_modified(|told| std::mem::replace(told, messages) != messages);
        }
        Ok(())
    }

    /// Keeps the linker's place. Where that fails the place before it stands, and deciding again from there adds nothing.
    async fn store_place(&self) {
        let mut place = Cut(self.next.clone());
        place.0.insert(Stream::Identity.partition(0), self.next_identity);
        if let Err(error) = self.model.set_linker_cursor(&place).await {
            warn!(%error, "linker's place not stored");
        }
    }

    /// Whether the profile of this revision is a demonstration's, whose test NHS numbers count as evidence. A revision is
    /// the offset of its event.
    async fn is_demo(&mut self, revision: u64) -> anyhow::Result<bool> {
        if let Some(demo) = self.demo.get(&revision) {
            return Ok(*demo);
        }
        let demo = patiently(|| is_demo(&self.log, revision)).await?;
        self.demo.insert(revision, demo);
        Ok(demo)
    }

    /// Takes in the identity events that the read model had not yet seen; returns those that may want an answer.
    async fn learn_identity(&mut self) -> anyhow::Result<BTreeMap<u64, Payload>> {
        let identity = Stream::Identity.partition(0);
        let mut asking = BTreeMap::new();
        while self.next_identity < self.log.size(identity).await? {
            let page = open_page(&self.log, identity.at(self.next_identity), u64::MAX).await?;
            for (position, event) in page.events {
                self.deciding.take(position.offset, &event)?;
                if Deciding::wants_answer(&event.payload) {
                    asking.insert(position.offset, event.payload.clone());
                }
            }
            self.next_identity = page.next;
        }
        Ok(asking)
    }

    /// What `asking`, at these offsets from `answered` on, makes necessary was appended by whoever took it in before; where
    /// nobody was there to do so, it is now.
    async fn answer_late(&mut self, mut asking: BTreeMap<u64, Payload>, answered: u64) -> anyhow::Result<()> {
        let identity = Stream::Identity.partition(0);
        let mut next = answered;
        while !asking.is_empty() && next < self.next_identity {
            let stored = self.log.read(identity.at(next), ReadLimit::PAGE).await?;
            for stored in &stored {
                let cause = weft_log::header(stored)?.cause;
                let cause = cause.as_ref().and_then(|cause| Position::from_proto(cause).ok());
                if let Some(cause) = cause.filter(|cause| cause.partition == identity) {
                    asking.remove(&cause.offset);
                }
                next = stored.position.offset + 1;
            }
        }
        let mut drafts = Vec::new();
        for (offset, payload) in &asking {
            let decided = self.deciding.answer(payload)?;
            drafts.extend(decided.into_iter().map(|decided| decided.draft(identity.at(*offset), self.clock.now_us())));
        }
        self.append(drafts).await
    }

    /// Learns from messages that were decided on already, and decides nothing.
    async fn learn_feed(&mut self, from: Position, to: u64) -> anyhow::Result<()> {
        let mut next = from.offset;
        while next < to {
            let page = open_page(&self.log, from.partition.at(next), to).await?;
            for (_, event) in &page.events {
                if let Some((_, message)) = accepted(event) {
                    let demo = self.is_demo(message.profile_revision).await?;
                    self.deciding.learn_from(event, demo);
                }
            }
            next = page.next;
        }
        Ok(())
    }
}

/// Does what takes long and waits for nothing, while other tasks go on.
fn at_length<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => block_in_place(work),
        _ => work(),
    }
}

/// What a message makes necessary, in its turn.
fn decide_in_turn(
    deciding: &mut Deciding,
    message: &mut Arrived<'_>,
    clock: &dyn Clock,
    drafts: &mut Vec<Draft>,
) -> anyhow::Result<()> {
    let decided = deciding.hear_waiting(message)?;
    drafts.extend(decided.into_iter().map(|decided| decided.draft(message.position, clock.now_us())));
    Ok(())
}

/// Whether the feed profile registered at this offset of the control stream is a demonstration's.
pub(crate) async fn is_demo(log: &SharedLog, revision: u64) -> anyhow::Result<bool> {
    let page = open_page(log, Stream::Control.partition(0).at(revision), revision + 1).await?;
    Ok(page.events.first().is_some_and(|(_, event)| match &event.payload {
        Payload::FeedRegistered(registered) => Profile::parse(&registered.profile_toml).is_ok_and(|p| p.demo()),
        _ => false,
    }))
}

/// An event and where it is.
pub(crate) type EventAt = (Position, Arc<Event>);

/// Events read and opened.
pub(crate) struct Page {
    pub(crate) events: Vec<EventAt>,
    pub(crate) next: u64,
}

/// Reads and opens events from `from` on, before `to`. A shredded event has nothing to decide on and is passed over.
pub(crate) async fn open_page(log: &SharedLog, from: Position, to: u64) -> anyhow::Result<Page> {
    let stored = log.read(from, ReadLimit::PAGE).await?;
    let mut page = Page { events: Vec::with_capacity(stored.len()), next: from.offset };
    for stored in stored.iter().take_while(|s| s.position.offset < to) {
        // A whole page takes long, and nothing in it waits: other tasks have their turn.
        consume_budget().await;
        match log.open(stored).await {
            Ok(event) => page.events.push((stored.position, event)),
            Err(OpenError::Shredded { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        page.next = stored.position.offset + 1;
    }
    Ok(page)
}

/// Reads or appends, as often as it takes until what it takes is there.
async fn patiently<T, F: Future<Output = anyhow::Result<T>>>(attempt: impl Fn() -> F) -> anyhow::Result<T> {
    let mut pause = PAUSE_MIN;
    loop {
        match attempt().await {
            Err(error) if is_away(&error) => warn!(reason = format!("{error:#}"), "linking waits"),
            done => return done,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Whether brokers or database are away. A key that is damaged is there.
fn is_away(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(cause.downcast_ref(), Some(ReadError::Unavailable(_)))
            || matches!(cause.downcast_ref(), Some(AppendError::Unavailable(_)))
            || matches!(cause.downcast_ref(), Some(OpenError::Vault(VaultError::Database(_))))
    })
}

/// For each partition of the feed stream, one past the last message that a stored decision was made on, as far as the
/// newest decisions tell: what lies behind them is found again, and adds nothing.
async fn decided_up_to(log: &SharedLog) -> anyhow::Result<BTreeMap<Partition, u64>> {
    const BACK: u64 = 256;
    const BACK_MAX: u64 = 64 * BACK;
    let feeds = log.partitions().into_iter().filter(|partition| partition.stream == Stream::Feed);
    let mut decided: BTreeMap<Partition, Option<u64>> = feeds.map(|partition| (partition, None)).collect();
    let identity = Stream::Identity.partition(0);
    let size = log.size(identity).await?;
    let mut end = size;
    while end > 0 && size - end < BACK_MAX && decided.values().any(Option::is_none) {
        let start = end.saturating_sub(BACK);
        let mut next = start;
        while next < end {
            for stored in log.read(identity.at(next), ReadLimit { events: BACK as usize, ..ReadLimit::PAGE }).await? {
                next = stored.position.offset + 1;
                let cause = weft_log::header(&stored)?.cause;
                let cause = cause.as_ref().and_then(|cause| Position::from_proto(cause).ok());
                if let Some(place) = cause.and_then(|cause| Some((cause.offset, decided.get_mut(&cause.partition)?))) {
                    let (offset, place) = place;
                    *place = (*place).max(Some(offset + 1));
                }
            }
        }
        end = start;
    }
    Ok(decided.into_iter().map(|(partition, next)| (partition, next.unwrap_or(0))).collect())
}
