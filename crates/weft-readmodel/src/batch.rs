//! Events on their way in: everything about an event that does not depend on what was stored before it.
//!
//! This is the dear part of projecting (digests, checking JSON, encoding the lines of a timeline), and it is pure: the
//! caller makes batches wherever a core is free, and [`ReadModel::apply`](crate::ReadModel::apply) only folds them.

use std::borrow::Cow;

use aws_lc_rs::digest::{Context, SHA256};
use prost::Message;
use weft_model::{
    Event, EventId, Partition, Payload, PersonId, Position, Pseudonym, Stream, Verdict,
    proto::{
        api::{GetTimelineResponse, Provenance, QuarantinedMessage, TimelineEntry},
        event::{Demographics, Fact, Header, MessageReceived, RecordLinked, RecordsMerged, SourceRecordId},
    },
};

use crate::{
    encounters::{self, Movement},
    place::place,
    reviews::Asked,
    rulings::{self, Ruled},
};

/// Events of one partition, next to each other, ready to be applied.
#[derive(Debug, Clone)]
pub struct Batch {
    pub(crate) partition: Partition,
    pub(crate) from: u64,
    pub(crate) events: Vec<Incoming>,
}

/// One event: what its own stream counts, and what it does.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    pub(crate) offset: u64,
    pub(crate) id: Option<EventId>,
    pub(crate) feed: String,
    pub(crate) verdict: Verdict,
    pub(crate) received_us: i64,
    /// Of a message that was kept before.
    pub(crate) redrives: Option<Redriven>,
    pub(crate) effect: Effect,
}

/// What a message was kept as that is accepted now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Redriven {
    /// Its place.
    pub(crate) held: i64,
    /// Its sender sent it again.
    pub(crate) resent: bool,
}

#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "nearly every event is a message that tells something")]
pub(crate) enum Effect {
    /// Counted, and nothing else: its content was shredded.
    Nothing,
    /// Cannot be applied.
    Park {
        record: Option<Pseudonym>,
        code: &'static str,
    },
    /// A message that is kept and not projected: an encoded `QuarantinedMessage`.
    Hold(Vec<u8>),
    /// An accepted message.
    Tell(Told),
    Link(Linked),
    Merge(Merged),
    /// A record stays where it is, and a question is asked about it or taken back.
    Ask {
        record: Pseudonym,
        asked: Option<Asked>,
    },
    /// Somebody has spoken who outranks scores, or persons were merged.
    Rule(Ruled),
    RegisterFeed {
        feed: String,
        profile_toml: String,
    },
    SwitchFeed {
        feed: String,
        paused: bool,
    },
}

/// What an accepted message tells of its source record.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) record: Pseudonym,
    pub(crate) id: SourceRecordId,
    pub(crate) demographics: Option<Demographics>,
    /// When the source wrote the message.
    pub(crate) said_us: i64,
    pub(crate) facts: Vec<ToldFact>,
}

/// A fact, reduced to what the fold looks at.
#[derive(Debug, Clone)]
pub(crate) struct ToldFact {
    /// Identifier of its entry, as a number.
    pub(crate) id: u128,
    /// Its place in the message.
    pub(crate) index: u64,
    pub(crate) occurred_us: i64,
    pub(crate) recorded_us: i64,
    pub(crate) withdrawn: bool,
    /// Digest of the resource.
    pub(crate) content: u128,
    pub(crate) line: Option<ToldLine>,
    /// Visit and movement, where it is an Encounter.
    pub(crate) movement: Option<(String, Movement)>,
}

#[derive(Debug, Clone)]
pub(crate) struct ToldLine {
    pub(crate) kind: i32,
    /// The column `entry.body`.
    pub(crate) body: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) struct Linked {
    pub(crate) record: Pseudonym,
    pub(crate) person: PersonId,
    pub(crate) method: i32,
    pub(crate) score: i64,
    /// Encoded `RecordLinked`.
    pub(crate) decision: Vec<u8>,
    /// What a steward is asked about it.
    pub(crate) asked: Option<Asked>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Merged {
    pub(crate) retired: Pseudonym,
    pub(crate) survivor: Pseudonym,
}

/// Why a record is parked; stable, for people and tests.
pub(crate) mod code {
    pub(crate) const RECORD_MISSING: &str = "record-missing";
    pub(crate) const VERDICT_UNKNOWN: &str = "verdict-unknown";
    pub(crate) const WRONG_STREAM: &str = "kind-of-another-stream";
    pub(crate) const NOT_JSON: &str = "resource-not-json";
    pub(crate) const OCCURRED_MISSING: &str = "occurred-missing";
    pub(crate) const PERSON_MISSING: &str = "person-missing";
    pub(crate) const MERGE_CIRCLE: &str = "merge-circle";
    pub(crate) const FEED_UNKNOWN: &str = "feed-unknown";
    /// An earlier event of the same record could not be applied.
    pub(crate) const WAITING: &str = "record-parked";
}

impl Batch {
    /// An empty batch that starts at offset `from` of `partition`.
    #[must_use]
    pub fn starting(partition: Partition, from: u64) -> Self {
        Self { partition, from, events: Vec::new() }
    }

    /// The events of `partition` from offset `from` on.
    #[must_use]
    pub fn new(partition: Partition, from: u64, events: Vec<Event>) -> Self {
        let mut batch = Self::starting(partition, from);
        for event in &events {
            batch.push(event);
        }
        batch
    }

    /// Adds the next event.
    pub fn push(&mut self, event: &Event) {
        let position = self.partition.at(self.next());
        let effect = effect(position, &event.header, &event.payload);
        self.events.push(incoming(position, &event.header, effect));
    }

    /// Adds the next event, whose content was shredded: it is counted, and tells nothing.
    pub fn push_shredded(&mut self, header: &Header) {
        let position = self.partition.at(self.next());
        let effect = match header.verdict() {
            Verdict::Conflict | Verdict::Quarantined => hold(position, header, &MessageReceived::default()),
            _ => Effect::Nothing,
        };
        self.events.push(incoming(position, header, effect));
    }

    /// Offset of the event after the last.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.from + self.events.len() as u64
    }

    /// Number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// True where there is nothing to apply.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

fn incoming(position: Position, header: &Header, effect: Effect) -> Incoming {
    let (id, verdict) = (EventId::from_bytes(&header.event_id).ok(), header.verdict());
    let (feed, received_us) = (storable(&header.feed).into_owned(), header.received_us);
    Incoming { offset: position.offset, id, feed, verdict, received_us, redrives: redriven(header), effect }
}

fn redriven(header: &Header) -> Option<Redriven> {
    let redrives = header.redrives.as_ref()?;
    let held = Position::from_proto(redrives.position.as_ref()?).ok()?;
    Some(Redriven { held: place(held.partition.number, held.offset), resent: redrives.resent })
}

fn effect(position: Position, header: &Header, payload: &Payload) -> Effect {
    if payload.stream() != position.partition.stream {
        return Effect::Park { record: header.pseudonym(), code: code::WRONG_STREAM };
    }
    match payload {
        Payload::MessageReceived(message) => match header.verdict() {
            Verdict::Accepted => tell(position, header, message),
            Verdict::Conflict | Verdict::Quarantined => hold(position, header, message),
            Verdict::Unspecified | Verdict::Duplicate => {
                Effect::Park { record: header.pseudonym(), code: code::VERDICT_UNKNOWN }
            }
        },
        Payload::RecordLinked(linked) => link(header, linked),
        Payload::ReviewAsked(asked) => ask(header, asked.decision.as_ref().unwrap_or(&RecordLinked::default())),
        ruling @ (Payload::RecordsUnlinked(_)
        | Payload::PersonsMerged(_)
        | Payload::StewardDecided(_)
        | Payload::NhsNumberFrozen(_)
        | Payload::NhsNumberReleased(_)
        | Payload::NhsNumberSuperseded(_)
        | Payload::LinkModelSwitched(_)) => rulings::rule(header, ruling),
        Payload::RecordsMerged(merged) => merge(header, merged),
        Payload::FeedRegistered(registered) => {
            let (feed, profile_toml) = (storable(&registered.feed), storable(&registered.profile_toml));
            Effect::RegisterFeed { feed: feed.into_owned(), profile_toml: profile_toml.into_owned() }
        }
        Payload::FeedPaused(switched) => switch(&switched.feed, true),
        Payload::FeedResumed(switched) => switch(&switched.feed, false),
        Payload::CutTaken(_) | Payload::Disclosed(_) | Payload::RequestRefused(_) => Effect::Nothing,
    }
}

fn tell(position: Position, header: &Header, message: &MessageReceived) -> Effect {
    let (Some(record), Some(id)) = (header.pseudonym(), &message.record) else {
        return Effect::Park { record: header.pseudonym(), code: code::RECORD_MISSING };
    };
    let said_us = message.sent.as_ref().map_or(header.told_us(), |sent| sent.start_us);
    let mut source = Source { record, said_us, lines: lines(position, header, id) };
    let facts = message.facts.iter().enumerate().map(|(index, fact)| source.told(index as u64, fact)).collect();
    let id = SourceRecordId {
        organisation: storable(&id.organisation).into_owned(),
        system: storable(&id.system).into_owned(),
        value: storable(&id.value).into_owned(),
    };
    match facts {
        Ok(facts) => Effect::Tell(Told { record, id, demographics: message.demographics.clone(), said_us, facts }),
        Err(code) => Effect::Park { record: Some(record), code },
    }
}

/// What the facts of one message share.
struct Source {
    record: Pseudonym,
    said_us: i64,
    /// The line of the fact before, with all that the lines of a message share.
    lines: GetTimelineResponse,
}

/// What the lines of a message share.
fn lines(position: Position, header: &Header, id: &SourceRecordId) -> GetTimelineResponse {
    let provenance = Provenance {
        organisation: id.organisation.clone(),
        feed: header.feed.clone(),
        record: Some(id.clone()),
        position: Some(position.to_proto()),
        event_id: header.id().to_string(),
        control_id: header.control_id.clone(),
        message_type: header.message_type.clone(),
        location: String::new(),
    };
    let line =
        TimelineEntry { received_us: header.told_us(), provenance: Some(provenance), ..TimelineEntry::default() };
    GetTimelineResponse { entries: vec![line], ..GetTimelineResponse::default() }
}

impl Source {
    fn told(&mut self, index: u64, fact: &Fact) -> Result<ToldFact, &'static str> {
        serde_json::from_slice::<serde::de::IgnoredAny>(&fact.resource).map_err(|_| code::NOT_JSON)?;
        let entry_id = entry_id(self.record, fact);
        let recorded_us = fact.recorded.as_ref().map_or(self.said_us, |recorded| recorded.start_us);
        // A fact without a line is nowhere in time: it changes what is held of a visit, or nothing.
        let occurred_us = match (&fact.occurred, &fact.line) {
            (Some(occurred), _) => occurred.start_us,
            (None, None) => recorded_us,
            (None, Some(_)) => return Err(code::OCCURRED_MISSING),
        };
        let mut told = ToldFact {
            id: entry_id,
            index,
            occurred_us,
            recorded_us,
            withdrawn: fact.withdrawn,
            content: digest(&[&fact.resource]),
            line: None,
            movement: None,
        };
        told.line = self.line(entry_id, fact);
        told.movement = encounters::movement(&told, fact);
        Ok(told)
    }

    fn line(&mut self, entry_id: u128, fact: &Fact) -> Option<ToldLine> {
        let line = fact.line.as_ref()?;
        let entry = self.lines.entries.first_mut()?;
        entry.entry_id = EventId(entry_id.to_be_bytes()).to_string();
        entry.kind = line.kind;
        entry.title.clone_from(&line.title);
        entry.detail.clone_from(&line.detail);
        entry.code.clone_from(&line.code);
        entry.status.clone_from(&line.status);
        entry.encounter_id.clone_from(&line.encounter);
        entry.withdrawn = fact.withdrawn;
        (entry.occurred, entry.recorded) = (fact.occurred, fact.recorded);
        entry.provenance.as_mut()?.location.clone_from(&fact.location);
        Some(ToldLine { kind: line.kind, body: self.lines.encode_to_vec() })
    }
}

fn hold(position: Position, header: &Header, message: &MessageReceived) -> Effect {
    let held = QuarantinedMessage {
        position: Some(position.to_proto()),
        feed: header.feed.clone(),
        control_id: header.control_id.clone(),
        message_type: header.message_type.clone(),
        verdict: header.verdict,
        received_us: header.received_us,
        reason: message.reason.clone(),
        issues: message.issues.clone(),
        ..QuarantinedMessage::default()
    };
    Effect::Hold(held.encode_to_vec())
}

fn switch(feed: &str, paused: bool) -> Effect {
    Effect::SwitchFeed { feed: storable(feed).into_owned(), paused }
}

fn link(header: &Header, linked: &RecordLinked) -> Effect {
    let Some(record) = header.pseudonym() else {
        return Effect::Park { record: None, code: code::RECORD_MISSING };
    };
    let Ok(person) = PersonId::from_bytes(&linked.person) else {
        return Effect::Park { record: Some(record), code: code::PERSON_MISSING };
    };
    Effect::Link(Linked {
        record,
        person,
        method: linked.method,
        score: linked.score,
        decision: linked.encode_to_vec(),
        asked: Asked::of(linked),
    })
}

fn ask(header: &Header, decision: &RecordLinked) -> Effect {
    match header.pseudonym() {
        Some(record) => Effect::Ask { record, asked: Asked::of(decision) },
        None => Effect::Park { record: None, code: code::RECORD_MISSING },
    }
}

fn merge(header: &Header, merged: &RecordsMerged) -> Effect {
    let retired = Pseudonym::from_bytes(&merged.retired_pseudonym);
    let survivor = Pseudonym::from_bytes(&merged.survivor_pseudonym);
    match (retired, survivor) {
        (Ok(retired), Ok(survivor)) => Effect::Merge(Merged { retired, survivor }),
        _ => Effect::Park { record: header.pseudonym(), code: code::RECORD_MISSING },
    }
}

/// The identifier of the entry that a fact makes: the same for every version of it, and saying nothing of its record. It
/// orders the lines of one instant, so its first digit says what kind of thing is told; the rest is a digest.
fn entry_id(record: Pseudonym, fact: &Fact) -> u128 {
    let separator = [0u8];
    let digest = digest(&[&record.0, fact.resource_type.as_bytes(), &separator, fact.id.as_bytes()]);
    rank(&fact.resource_type) << 124 | digest >> 4
}

/// Of things of one instant a reader sees first where the patient was, then the report, then its results. Below 16.
fn rank(resource_type: &str) -> u128 {
    const ORDER: [&str; 5] = ["Encounter", "DiagnosticReport", "Observation", "Condition", "AllergyIntolerance"];
    ORDER.iter().position(|r| *r == resource_type).unwrap_or(ORDER.len()) as u128
}

/// Text as every database can hold it in a column: PostgreSQL's has no NUL.
pub(crate) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// Text as every database can hold it in an index: a long one is its beginning and a digest of all of it.
pub(crate) fn indexable(text: &str) -> Cow<'_, str> {
    const BYTES_MAX: usize = 512;
    if text.len() <= BYTES_MAX {
        return storable(text);
    }
    let start: String = text.chars().take(BYTES_MAX / 8).collect();
    format!("{}#{:032x}", storable(&start), digest(&[text.as_bytes()])).into()
}

/// The first half of an entry's identifier, which names it within its record; ordered as the identifier is.
pub(crate) fn entry_key(id: u128) -> i64 {
    ((id >> 64) as u64 ^ (1 << 63)).cast_signed()
}

/// The first half of a SHA-256.
fn digest(parts: &[&[u8]]) -> u128 {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let digest = context.finish();
    let half = digest.as_ref().first_chunk().copied();
    half.map_or(0, u128::from_be_bytes)
}

/// The streams that the read model is a function of.
pub(crate) const STREAMS: [Stream; 3] = [Stream::Feed, Stream::Identity, Stream::Control];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_fits_every_database() {
        assert_eq!(storable("V1"), "V1");
        assert_eq!(storable("V\0"), "V\u{fffd}");
        let long = ["é".repeat(300), "é".repeat(301)].map(|text| indexable(&text).into_owned());
        assert!(long.iter().all(|text| text.len() < 200));
        assert_ne!(long[0], long[1]);
    }

    #[test]
    fn entry_keys_are_ordered_as_identifiers() {
        let ids = [0, 1 << 64, u128::MAX >> 1, 1 << 127, u128::MAX];
        assert!(ids.is_sorted_by_key(|id| entry_key(*id)));
    }
}
