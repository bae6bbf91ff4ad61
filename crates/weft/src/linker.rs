//! The linker's role: follow the feed stream, decide for each record that is new or has changed, append the decision.
//!
//! `weft_link` decides and is pure; this file gives it its index and makes its decisions events. A decision is made once:
//! its event id is made of the message that caused it, so that deciding again after a crash adds nothing. The index is a
//! function of the feed stream up to the linker's place in it and of the identity stream: on start it is taken from the
//! read model as of that place, so that a restarted linker sees what the one before it saw.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context;
use prost::Message;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use weft_link::{Features, Index, Model, Outcome};
use weft_log::{AppendError, Draft, OpenError, ReadLimit, Same, SharedLog};
use weft_model::{
    Clock, Cut, Event, Payload, PersonId, Position, Pseudonym, SourceRecordId, Stream, Verdict,
    proto::event::{Demographics, MessageReceived, RecordsMerged},
};
use weft_readmodel::ReadModel;
use weft_translate::Profile;

/// Everything that the role needs.
pub(crate) struct Linker {
    log: SharedLog,
    model: Arc<ReadModel>,
    clock: Arc<dyn Clock>,
    /// How the model weighs, and whether test NHS numbers count for a feed.
    link_model: Model,
    index: Index,
    /// What each record is known to say, as far as linking looks at it.
    records: HashMap<Pseudonym, Held>,
    /// Whether test NHS numbers count, by revision of a feed's profile.
    demo: HashMap<u64, bool>,
    /// Next offset of the feed stream.
    next: u64,
    /// The same, told to whoever waits for it.
    place: watch::Sender<u64>,
}

/// How often the linker's place is stored. After a crash it decides again from there, which adds nothing.
const STORE_PLACE_EVERY: Duration = Duration::from_secs(1);
/// From one page to the next, at least, unless the first was full: decisions that are appended together share a commit.
const READ_EVERY: Duration = Duration::from_millis(50);

/// What the linker keeps of a record between messages: encoded, for there are millions.
struct Held {
    /// The encoded [`Demographics`] of the message that was folded in last, hashed: most messages say nothing new.
    last_said: u64,
    /// When the source said so; an older message that arrives late changes nothing.
    said_us: i64,
    /// The fold of all messages, encoded, cut down to what linking looks at.
    demographics: Box<[u8]>,
}

impl Linker {
    /// Takes the index from the read model as of the linker's place, and brings it up to the identity stream's end.
    pub(crate) async fn load(
        log: SharedLog,
        model: Arc<ReadModel>,
        clock: Arc<dyn Clock>,
        place: watch::Sender<u64>,
    ) -> anyhow::Result<Self> {
        let feed = Stream::Feed.partition(0);
        let stored = model.linker_cursor().await?.0.get(&feed).copied().unwrap_or(0);
        let next = stored.max(decided_up_to(&log).await?);
        let mut linker = Self {
            log,
            model,
            clock,
            link_model: Model::shipped().context("the model that ships")?,
            index: Index::new(),
            records: HashMap::new(),
            demo: HashMap::new(),
            next,
            place,
        };
        let snapshot = linker.model.linking_snapshot(&Cut([(feed, next)].into())).await?;
        let revisions: HashMap<String, u64> =
            linker.model.feeds().await?.into_iter().map(|feed| (feed.feed, feed.revision)).collect();
        for record in snapshot.records {
            let demographics =
                Demographics::decode(record.demographics.as_slice()).context("read model: demographics")?;
            let demo = match revisions.get(&record.feed) {
                Some(revision) => linker.is_demo(*revision).await?,
                None => false,
            };
            linker.learn(record.pseudonym, demo, &demographics, record.recorded_us);
        }
        for (record, person) in snapshot.links {
            linker.index.link(record, person);
        }
        for (retired, survivor) in snapshot.merges {
            linker.index.merge(retired, survivor);
        }
        linker.follow_identity(snapshot.cut.size(Stream::Identity.partition(0))).await?;
        linker.learn_feed(snapshot.cut.size(feed), next).await?;
        info!(records = linker.records.len(), next, "linker loaded");
        linker.place.send_replace(next);
        Ok(linker)
    }

    /// Decides until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let feed = Stream::Feed.partition(0);
        let mut stored_at = Instant::now();
        let mut not_before = stored_at;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => {
                    self.store_place().await;
                    return Ok(());
                }
                size = self.log.wait(feed, self.next) => { size?; }
            }
            sleep_until(not_before).await;
            let events = open_page(&self.log, feed.at(self.next), u64::MAX).await?;
            let mut drafts = Vec::new();
            for (position, event) in &events.events {
                if let Some((record, message)) = accepted(event) {
                    let demo = self.is_demo(message.profile_revision).await?;
                    self.decide_event(*position, event, record, message, demo, &mut drafts);
                }
            }
            if !drafts.is_empty() {
                append(&self.log, drafts).await?;
            }
            let full = events.next - self.next >= ReadLimit::PAGE.events as u64;
            not_before = Instant::now() + if full { Duration::ZERO } else { READ_EVERY };
            self.next = events.next;
            self.place.send_replace(self.next);
            if stored_at.elapsed() >= STORE_PLACE_EVERY {
                self.store_place().await;
                stored_at = Instant::now();
            }
        }
    }

    /// Keeps the linker's place. Where that fails the place before it stands, and deciding again from there adds nothing.
    async fn store_place(&self) {
        let place = Cut([(Stream::Feed.partition(0), self.next)].into());
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
        let page = open_page(&self.log, Stream::Control.partition(0).at(revision), revision + 1).await?;
        let demo = page.events.first().is_some_and(|(_, event)| match &event.payload {
            Payload::FeedRegistered(registered) => Profile::parse(&registered.profile_toml).is_ok_and(|p| p.demo()),
            _ => false,
        });
        self.demo.insert(revision, demo);
        Ok(demo)
    }

    /// What one message makes necessary: a merge that its sender tells of, and a decision where the record is new or says
    /// something new.
    fn decide_event(
        &mut self,
        position: Position,
        event: &Event,
        record: &SourceRecordId,
        message: &MessageReceived,
        demo: bool,
        drafts: &mut Vec<Draft>,
    ) {
        let Some(pseudonym) = event.header.pseudonym() else { return };
        if self.learn(pseudonym, demo, &said(message), said_us(event, message)) {
            drafts.extend(self.decide_record(position, pseudonym, record));
        }
        let Some(retired) = message.merge.as_ref().and_then(|m| m.retired.as_ref()) else { return };
        let retired_pseudonym = self.log.pseudonym(retired);
        let head = self.index.survivor_of(pseudonym).unwrap_or(pseudonym);
        if head == retired_pseudonym || self.index.survivor_of(retired_pseudonym) == Some(head) {
            // Told before, perhaps with the two swapped: one follows the other already.
            return;
        }
        self.index.merge(retired_pseudonym, pseudonym);
        let payload = Payload::RecordsMerged(RecordsMerged {
            survivor: Some(record.clone()),
            retired: Some(retired.clone()),
            survivor_pseudonym: pseudonym.to_vec(),
            retired_pseudonym: retired_pseudonym.to_vec(),
        });
        drafts.push(self.draft(position, retired_pseudonym, payload));
    }

    fn decide_record(&mut self, position: Position, pseudonym: Pseudonym, record: &SourceRecordId) -> Option<Draft> {
        if self.index.survivor_of(pseudonym).is_some() {
            // It goes where its survivor goes.
            return None;
        }
        let features = self.index.features(pseudonym)?;
        let person = self.index.person_of(pseudonym);
        let decision = weft_link::decide(
            pseudonym,
            features,
            person,
            &self.index.candidates(features),
            self.index.len(),
            &self.link_model,
        );
        if decision.outcome == Outcome::Unchanged {
            return None;
        }
        self.index.link(pseudonym, decision.person);
        Some(self.draft(position, pseudonym, Payload::RecordLinked(decision.into_event(record.clone()))))
    }

    /// Folds in what a message says of a record. True where the record is new or linking may now see it otherwise.
    fn learn(&mut self, pseudonym: Pseudonym, demo: bool, said: &Demographics, said_us: i64) -> bool {
        let said = for_linking(said);
        let hash = hash(&said.encode_to_vec());
        let mut fold = Demographics::default();
        if let Some(held) = self.records.get(&pseudonym) {
            if held.last_said == hash || said_us < held.said_us {
                return false;
            }
            // What this program encoded it decodes; an empty fold would only lose a link, never make a false one.
            fold = Demographics::decode(&*held.demographics).unwrap_or_default();
        }
        fold.update(&said);
        let options = weft_link::Options { test_numbers_are_evidence: demo };
        self.index.put(pseudonym, Features::from_demographics(&fold, &options));
        let demographics = fold.encode_to_vec().into_boxed_slice();
        self.records.insert(pseudonym, Held { last_said: hash, said_us, demographics });
        true
    }

    fn draft(&self, cause: Position, subject: Pseudonym, payload: Payload) -> Draft {
        let mut name = subject.to_vec();
        name.extend_from_slice(cause.to_string().as_bytes());
        Draft {
            same: Same::Name(name),
            feed: String::new(),
            control_id: String::new(),
            message_type: String::new(),
            verdict: Verdict::Unspecified,
            received_us: self.clock.now_us(),
            cause: Some(cause),
            payload,
        }
    }

    /// Applies links and merges that the read model had not yet seen.
    async fn follow_identity(&mut self, from: u64) -> anyhow::Result<()> {
        let identity = Stream::Identity.partition(0);
        let mut next = from;
        while next < self.log.size(identity).await? {
            let page = open_page(&self.log, identity.at(next), u64::MAX).await?;
            for (_, event) in &page.events {
                match &event.payload {
                    Payload::RecordLinked(linked) => {
                        if let (Some(record), Ok(person)) =
                            (event.header.pseudonym(), PersonId::from_bytes(&linked.person))
                        {
                            self.index.link(record, person);
                        }
                    }
                    Payload::RecordsMerged(merged) => {
                        let ids = (
                            Pseudonym::from_bytes(&merged.retired_pseudonym),
                            Pseudonym::from_bytes(&merged.survivor_pseudonym),
                        );
                        if let (Ok(retired), Ok(survivor)) = ids {
                            self.index.merge(retired, survivor);
                        }
                    }
                    _ => {}
                }
            }
            next = page.next;
        }
        Ok(())
    }

    /// Learns from messages that were decided on already, and decides nothing.
    async fn learn_feed(&mut self, from: u64, to: u64) -> anyhow::Result<()> {
        let feed = Stream::Feed.partition(0);
        let mut next = from;
        while next < to {
            let page = open_page(&self.log, feed.at(next), to).await?;
            for (_, event) in &page.events {
                if let (Some(pseudonym), Some((_, message))) = (event.header.pseudonym(), accepted(event)) {
                    let demo = self.is_demo(message.profile_revision).await?;
                    self.learn(pseudonym, demo, &said(message), said_us(event, message));
                }
            }
            next = page.next;
        }
        Ok(())
    }
}

/// An accepted message about a record.
fn accepted(event: &Event) -> Option<(&SourceRecordId, &MessageReceived)> {
    let Payload::MessageReceived(message) = &event.payload else { return None };
    let accepted = event.header.verdict() == Verdict::Accepted;
    accepted.then_some((message.record.as_ref()?, message))
}

/// What a message says of its person; a message that says nothing may still be the first to name a record.
fn said(message: &MessageReceived) -> Demographics {
    message.demographics.clone().unwrap_or_default()
}

fn said_us(event: &Event, message: &MessageReceived) -> i64 {
    message.sent.as_ref().map_or(event.header.received_us, |sent| sent.start_us)
}

/// The parts that linking looks at.
fn for_linking(said: &Demographics) -> Demographics {
    let mut kept = said.clone();
    kept.practice.clear();
    kept.practitioner.clear();
    kept.ethnicity.clear();
    kept
}

struct Page {
    events: Vec<(Position, Event)>,
    next: u64,
}

/// Reads and opens events from `from` on, before `to`. A shredded event has nothing to decide on and is passed over.
async fn open_page(log: &SharedLog, from: Position, to: u64) -> anyhow::Result<Page> {
    let stored = log.read(from, ReadLimit::PAGE).await?;
    let mut page = Page { events: Vec::with_capacity(stored.len()), next: from.offset };
    for stored in stored.iter().take_while(|s| s.position.offset < to) {
        match log.open(stored).await {
            Ok(event) => page.events.push((stored.position, event)),
            Err(OpenError::Shredded { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        page.next = stored.position.offset + 1;
    }
    Ok(page)
}

/// Appends decisions; a log that cannot store now is waited for.
async fn append(log: &SharedLog, drafts: Vec<Draft>) -> anyhow::Result<()> {
    let mut pause = Duration::from_millis(50);
    loop {
        match log.append(drafts.clone()).await {
            Ok(_) => return Ok(()),
            Err(AppendError::Unavailable(error)) => warn!(%error, "decisions wait for the log"),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// One past the last message that a stored decision was made on.
async fn decided_up_to(log: &SharedLog) -> anyhow::Result<u64> {
    let identity = Stream::Identity.partition(0);
    let size = log.size(identity).await?;
    let Some(last) = size.checked_sub(1) else { return Ok(0) };
    let stored = log.read(identity.at(last), ReadLimit { events: 1, bytes: 1 }).await?;
    let Some(stored) = stored.first() else { return Ok(0) };
    let header = weft_log::header(stored)?;
    Ok(header.cause.map_or(0, |cause| cause.offset + 1))
}

fn hash(bytes: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
