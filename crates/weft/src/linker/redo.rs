//! Deciding again what the log says was decided: to check it (`weft link verify`), or to see what another model would have
//! made of the same messages (`weft link compare`). Reads a log, and appends nothing.
//!
//! The identity stream says in which order its causes were taken in, and every decision says how much of the stream was
//! known to it. So messages and stewards' decisions are given to [`Deciding`] in the order in which the linker had them. A
//! message without a decision of its own is decided on before the next one that has one, in its own partition's order. What a
//! steward's decision made the linker decide is decided again in its place, too; that it made it decide nothing is not checked.

use std::collections::{BTreeMap, HashMap, VecDeque};

use anyhow::Context;
use aws_lc_rs::digest;
use weft_link::{FREQUENCIES, Model, NORMALISER};
use weft_log::SharedLog;
use weft_model::{Event, Partition, Payload, PersonId, Position, Pseudonym, SourceRecordId, Stream, hex};

use super::{
    EventAt,
    deciding::{Deciding, accepted},
    is_demo, open_page,
};

/// Positions of decisions that are told when they differ; more are counted.
const TOLD_MAX: usize = 100;

/// What deciding again came to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Messages and stewards' decisions that were decided on again.
    pub(crate) causes: u64,
    /// Decisions in the log.
    pub(crate) decisions: u64,
    /// Causes of which the decisions are not the same, in the order of the log; at most [`TOLD_MAX`].
    pub(crate) different: Vec<Position>,
    /// How many there are.
    pub(crate) differences: u64,
    /// Causes that were decided on with another normaliser or with other frequencies than this program has: they cannot be
    /// decided on again, and are not compared.
    pub(crate) of_other_versions: u64,
    /// Messages after the last one that the log has a decision on, which make a decision: the linker has not come to them.
    pub(crate) undecided: u64,
    /// SHA-256 of everything that was decided again, 64 hexadecimal digits: the same on every run.
    pub(crate) digest: String,
}

/// Who is who after deciding again, and what the records are called.
pub(crate) struct Population {
    pub(crate) persons: BTreeMap<Pseudonym, PersonId>,
    pub(crate) names: HashMap<Pseudonym, SourceRecordId>,
}

/// Decides again on everything in `log` and compares.
pub(crate) async fn verify(log: &SharedLog, model: Model) -> anyhow::Result<Report> {
    let mut redo = Redo::new(log, model, true);
    redo.run().await?;
    let digest = redo.context.finish();
    redo.report.digest = hex(digest.as_ref());
    Ok(redo.report)
}

/// What `model` makes of every message in `log`, with what stewards and senders have said.
pub(crate) async fn simulate(log: &SharedLog, model: Model) -> anyhow::Result<Population> {
    let mut redo = Redo::new(log, model, false);
    redo.run().await?;
    let index = redo.deciding.register.index();
    let persons = redo.names.keys().filter_map(|record| Some((*record, index.person_of(*record)?)));
    Ok(Population { persons: persons.collect(), names: redo.names })
}

struct Redo<'a> {
    log: &'a SharedLog,
    deciding: Deciding,
    /// The log's decisions are compared, and stand; else they are passed over.
    compares: bool,
    models: HashMap<String, Model>,
    next: BTreeMap<Partition, u64>,
    /// Opened ahead, by partition.
    pages: HashMap<Partition, VecDeque<EventAt>>,
    /// Events of others that the linker had not taken in yet.
    waiting: VecDeque<EventAt>,
    /// Its own that lie behind the first of those.
    behind: Vec<EventAt>,
    /// By offset: those that it has taken in, and that may have made it decide.
    asking: BTreeMap<u64, Payload>,
    /// The decision last come to was made with the normaliser and the frequencies that this program has.
    is_ours: bool,
    demo: HashMap<u64, bool>,
    names: HashMap<Pseudonym, SourceRecordId>,
    report: Report,
    context: digest::Context,
}

impl<'a> Redo<'a> {
    fn new(log: &'a SharedLog, model: Model, compares: bool) -> Self {
        let names = log.clone();
        let feeds = log.partitions().into_iter().filter(|partition| partition.stream == Stream::Feed);
        Self {
            log,
            models: HashMap::from([(model.name.clone(), model.clone())]),
            deciding: Deciding::new(model, move |record| names.pseudonym(record)),
            compares,
            next: feeds.map(|partition| (partition, 0)).collect(),
            pages: HashMap::new(),
            waiting: VecDeque::new(),
            behind: Vec::new(),
            asking: BTreeMap::new(),
            is_ours: true,
            demo: HashMap::new(),
            names: HashMap::new(),
            report: Report::default(),
            context: digest::Context::new(&digest::SHA256),
        }
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        let identity = Stream::Identity.partition(0);
        let size = self.log.size(identity).await?;
        let mut next = 0;
        // The decisions of one cause are next to each other.
        let mut held: Option<(Position, Vec<EventAt>)> = None;
        while next < size {
            let page = open_page(self.log, identity.at(next), size).await?;
            next = page.next;
            for (position, event) in page.events {
                match event.header.cause.as_ref().and_then(|cause| Position::from_proto(cause).ok()) {
                    None => self.waiting.push_back((position, event)),
                    Some(cause) => {
                        self.report.decisions += 1;
                        match &mut held {
                            Some((same, events)) if *same == cause => events.push((position, event)),
                            _ => {
                                if let Some((cause, events)) = held.replace((cause, vec![(position, event)])) {
                                    self.caused(cause, events).await?;
                                }
                            }
                        }
                    }
                }
            }
        }
        if let Some((cause, events)) = held {
            self.caused(cause, events).await?;
        }
        self.take_waiting(self.waiting.len())?;
        for partition in self.next.keys().copied().collect::<Vec<_>>() {
            let end = self.log.size(partition).await?;
            while let Some((position, event)) = self.message(partition, end).await? {
                let made = self.hear(&event).await?;
                self.remember(position, &made);
                self.report.undecided += u64::from(!made.is_empty());
            }
        }
        Ok(())
    }

    /// Comes to `cause`, of which the log has these decisions.
    async fn caused(&mut self, cause: Position, events: Vec<EventAt>) -> anyhow::Result<()> {
        if let Some((at, known)) = known_to(&events) {
            self.take_known(at, known)?;
        }
        if let Some(ours) = events.iter().find_map(|(_, event)| is_ours(&event.payload)) {
            self.is_ours = ours;
        }
        if self.compares
            && let Some(model) = events.iter().find_map(|(_, event)| self.models.get(model_of(&event.payload)))
            && model.name != self.deciding.model.name
        {
            self.deciding.model = model.clone();
        }
        let is_steward_s = cause.partition.stream == Stream::Identity;
        if is_steward_s {
            // The linker had it, whatever else it knew.
            self.take_waiting(self.waiting_before(cause.offset + 1))?;
        }
        let presumed = self.deciding.register.taken();
        if is_steward_s {
            self.answer_again(cause, &events)?;
        } else {
            self.hear_again(cause, &events).await?;
        }
        self.stand(events, presumed)
    }

    fn answer_again(&mut self, cause: Position, events: &[EventAt]) -> anyhow::Result<()> {
        if let Some(payload) = self.asking.remove(&cause.offset).filter(|_| self.compares) {
            let made: Vec<Payload> =
                self.deciding.answer(&payload)?.into_iter().map(|decided| plain(decided.payload)).collect();
            self.remember(cause, &made);
            self.compare(cause, &made, events);
        }
        Ok(())
    }

    async fn hear_again(&mut self, cause: Position, events: &[EventAt]) -> anyhow::Result<()> {
        while let Some((position, event)) = self.message(cause.partition, cause.offset + 1).await? {
            let made = self.hear(&event).await?;
            self.remember(position, &made);
            if position == cause {
                self.compare(position, &made, events);
            } else if self.compares {
                self.compare(position, &made, &[]);
            }
        }
        Ok(())
    }

    /// What the log says was decided counts, also where it differs: one difference does not make others. What was decided again
    /// was taken in from offset `presumed` on.
    fn stand(&mut self, events: Vec<EventAt>, presumed: u64) -> anyhow::Result<()> {
        if self.compares {
            self.deciding.register.take_back_from(presumed);
            for (position, event) in &events {
                self.deciding.take(position.offset, event)?;
            }
            let waiting = self.first_waiting();
            self.behind.extend(events.into_iter().filter(|(position, _)| position.offset > waiting));
        }
        Ok(())
    }

    fn compare(&mut self, cause: Position, made: &[Payload], stored: &[EventAt]) {
        let stored: Vec<Payload> = stored.iter().map(|(_, event)| plain(event.payload.clone())).collect();
        if made == stored {
            return;
        }
        for payload in made {
            self.deciding.forget(payload);
        }
        if !self.is_ours {
            self.report.of_other_versions += 1;
            return;
        }
        self.report.differences += 1;
        if self.report.different.len() < TOLD_MAX {
            self.report.different.push(cause);
        }
    }

    fn remember(&mut self, cause: Position, made: &[Payload]) {
        self.report.causes += 1;
        for payload in made {
            self.context.update(cause.to_string().as_bytes());
            self.context.update(&payload.encode());
        }
    }

    /// Takes in what the linker had taken in of others when it made the decision at offset `at`, which then were `known` events
    /// with its own. It presumes that its decisions come to lie behind what it knows: as many as lie between, it did not know.
    fn take_known(&mut self, at: u64, known: u64) -> anyhow::Result<()> {
        let unknown = usize::try_from(at.saturating_sub(known))?;
        self.take_waiting(self.waiting_before(at).saturating_sub(unknown))
    }

    /// How many events of others lie before an offset and are not taken in yet.
    fn waiting_before(&self, offset: u64) -> usize {
        self.waiting.iter().take_while(|(position, _)| position.offset < offset).count()
    }

    /// The offset of the first of those; `u64::MAX` where none waits.
    fn first_waiting(&self) -> u64 {
        self.waiting.front().map_or(u64::MAX, |(position, _)| position.offset)
    }

    /// Takes in the first `count` events of others that wait and, as the linker did, once more what it had decided since: in the
    /// order of the log.
    fn take_waiting(&mut self, count: usize) -> anyhow::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let mut events: Vec<EventAt> = self.waiting.drain(..count).chain(self.behind.iter().cloned()).collect();
        events.sort_unstable_by_key(|(position, _)| position.offset);
        let waiting = self.first_waiting();
        self.behind.retain(|(position, _)| position.offset > waiting);
        for (position, event) in events {
            match event.header.cause {
                Some(_) => self.deciding.take(position.offset, &event)?,
                None => self.take_others(position, &event)?,
            }
        }
        Ok(())
    }

    fn take_others(&mut self, position: Position, event: &Event) -> anyhow::Result<()> {
        if let Payload::LinkModelSwitched(switched) = &event.payload
            && let Some(model) = super::deciding::model_in(switched)
        {
            self.models.insert(model.name.clone(), model);
        }
        let model = self.deciding.model.clone();
        self.deciding.take(position.offset, event)?;
        if Deciding::wants_answer(&event.payload) {
            self.asking.insert(position.offset, event.payload.clone());
        }
        if !self.compares {
            // The model is the one that is asked about, and what the linker made of it is not in the log that it has.
            self.deciding.model = model;
            self.deciding.answer(&event.payload)?;
        }
        Ok(())
    }

    async fn hear(&mut self, event: &Event) -> anyhow::Result<Vec<Payload>> {
        let Some((record, message)) = accepted(event) else { return Ok(Vec::new()) };
        let revision = message.profile_revision;
        let demo = match self.demo.get(&revision) {
            Some(demo) => *demo,
            None => {
                let demo = is_demo(self.log, revision).await?;
                self.demo.insert(revision, demo);
                demo
            }
        };
        if !self.compares
            && let Some(pseudonym) = event.header.pseudonym()
        {
            self.names.entry(pseudonym).or_insert_with(|| record.clone());
        }
        Ok(self.deciding.hear(event, demo)?.into_iter().map(|decided| plain(decided.payload)).collect())
    }

    /// The next message of a partition before `end`.
    async fn message(&mut self, partition: Partition, end: u64) -> anyhow::Result<Option<EventAt>> {
        loop {
            let page = self.pages.entry(partition).or_default();
            match page.front() {
                Some((position, _)) if position.offset >= end => return Ok(None),
                Some(_) => return Ok(page.pop_front()),
                None => {}
            }
            let next = self.next.get(&partition).copied().context("a cause in a partition that the log has not")?;
            let opened = open_page(self.log, partition.at(next), u64::MAX).await?;
            if opened.next == next {
                return Ok(None);
            }
            self.next.insert(partition, opened.next);
            self.pages.insert(partition, opened.events.into());
        }
    }
}

/// A decision without what depends on when it was made.
fn plain(mut payload: Payload) -> Payload {
    match &mut payload {
        Payload::RecordLinked(linked) => linked.identity_known = 0,
        Payload::PersonsMerged(merged) => merged.identity_known = 0,
        Payload::ReviewAsked(asked) => {
            if let Some(decision) = &mut asked.decision {
                decision.identity_known = 0;
            }
        }
        _ => {}
    }
    payload
}

/// Where the decisions of one cause lie, and how many events the linker had taken in when it came to that.
fn known_to(events: &[EventAt]) -> Option<(u64, u64)> {
    let (at, _) = events.first()?;
    let mut told = events.iter().enumerate();
    let (nth, known) = told.find_map(|(nth, (_, event))| Some((nth, identity_known(&event.payload)?)))?;
    // A number is frozen by the decision that comes after it; all else was taken in before that was made.
    let is_before = |(_, event): &&EventAt| !matches!(event.payload, Payload::NhsNumberFrozen(_));
    let taken_since = events.iter().take(nth).filter(is_before).count() as u64;
    Some((at.offset, known.saturating_sub(taken_since)))
}

fn identity_known(payload: &Payload) -> Option<u64> {
    match payload {
        Payload::RecordLinked(linked) => Some(linked.identity_known),
        Payload::PersonsMerged(merged) => Some(merged.identity_known),
        Payload::ReviewAsked(asked) => asked.decision.as_ref().map(|decision| decision.identity_known),
        _ => None,
    }
}

/// Whether a decision was made with the normaliser and the frequencies that this program has; `None` for what does not say.
fn is_ours(payload: &Payload) -> Option<bool> {
    let decision = match payload {
        Payload::RecordLinked(linked) => Some(linked),
        Payload::ReviewAsked(asked) => asked.decision.as_ref(),
        _ => None,
    }?;
    let has = |stated: &str, ours: &str| stated.is_empty() || stated == ours;
    let is_stated = !decision.normaliser.is_empty();
    is_stated.then(|| has(&decision.normaliser, NORMALISER) && has(&decision.frequencies, FREQUENCIES))
}

fn model_of(payload: &Payload) -> &str {
    match payload {
        Payload::RecordLinked(linked) => &linked.model,
        Payload::PersonsMerged(merged) => &merged.model,
        Payload::ReviewAsked(asked) => asked.decision.as_ref().map_or("", |decision| &decision.model),
        _ => "",
    }
}
