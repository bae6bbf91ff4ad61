//! What becomes of the drafts that are stored together: verdicts, and which of them are new. Pure: the same for every
//! backend. Where a new event comes to lie is decided by whoever stores it.
//!
//! A message that is kept and not projected is decided once more when it is offered as accepted. Then it has a second row under
//! its key, whose event id is made of the first: so it is accepted once, whoever reads it again and however often, and an append
//! of it whose outcome is not known is repeated as any other. What is decided in the same batch as the first is a duplicate
//! of it: it came at the same moment.

use std::collections::{BTreeMap, HashMap};

use weft_model::{EventId, Partition, Position, Pseudonym, Verdict};

use crate::{
    Receipt, Vault,
    error::Cause,
    keys::KeySlots,
    names::Names,
    seal::{Sealed, Unsealed},
    storage::{Count, Counted, Known, KnownMessage, MessageKey, Questions},
};

/// A draft on its way to the writer.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) head: Head,
    pub(crate) body: Body,
}

/// What decides a draft.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) partition: Partition,
    pub(crate) event_id: EventId,
    pub(crate) same: SameEntry,
}

/// As [`crate::Same`], with what decides it.
#[derive(Debug)]
pub(crate) enum SameEntry {
    Message { feed: String, control_id: String, offer: Offer },
    Named,
}

/// As what a message is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Accepted or quarantined.
    pub(crate) verdict: Verdict,
    /// It did not come from its sender: somebody had it read again.
    pub(crate) from_log: bool,
}

/// What will be stored.
#[derive(Debug)]
pub(crate) enum Body {
    Sealed(Sealed),
    /// About a record whose key slot is not remembered.
    Unsealed(Pseudonym, Box<Unsealed>),
}

/// Where an event is, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    At(Position),
    /// It was to be stored in this partition, and whether it was is not known: only where others write too.
    Pending(Partition),
    /// It is stored with this batch: its number among the new events.
    New(usize),
}

/// What became of one draft.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decision {
    pub(crate) event_id: EventId,
    pub(crate) verdict: Verdict,
    pub(crate) stored: Verdict,
    pub(crate) place: Place,
}

/// An event to store.
#[derive(Debug)]
pub(crate) struct New<B> {
    pub(crate) partition: Partition,
    pub(crate) event_id: EventId,
    /// None for a named event.
    pub(crate) message: Option<NewMessage>,
    /// It is known already that it is to be stored, from an append whose outcome is not known.
    pub(crate) again: bool,
    pub(crate) body: B,
}

/// What is known of a message beside its event.
#[derive(Debug, Clone)]
pub(crate) struct NewMessage {
    pub(crate) key: MessageKey,
    pub(crate) verdict: Verdict,
    /// How many others came before it under its key.
    pub(crate) nth: usize,
    /// Of one that was kept before.
    pub(crate) first: Option<First>,
}

/// What a message was kept as that is accepted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct First {
    pub(crate) event_id: EventId,
    pub(crate) position: Position,
    /// It was read again from the log.
    pub(crate) from_log: bool,
}

/// When messages were received first, by where they were kept. One that is not here cannot be read any more.
pub(crate) type FirstReceived = HashMap<Position, i64>;

/// Stored in the place of a verdict: accepted when it was read again from the log, and so not counted as received.
pub(crate) const REDRIVEN: i32 = 5;

impl Body {
    /// As it is stored, sealed now where the caller could not do it.
    pub(crate) fn sealed(&self, vault: &Vault, slots: &HashMap<Pseudonym, u64>) -> Result<Sealed, Cause> {
        match self {
            Self::Sealed(sealed) => Ok(sealed.clone()),
            Self::Unsealed(record, unsealed) => {
                let slot = slots.get(record).copied().ok_or_else(|| Cause::new("record without a key slot"))?;
                unsealed.seal(vault, slot)
            }
        }
    }

    /// About how many bytes will be stored.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Sealed(sealed) => sealed.bytes.len(),
            Self::Unsealed(_, unsealed) => unsealed.bytes(),
        }
    }
}

impl<B> New<B> {
    /// As what it is counted.
    pub(crate) fn counted(&self) -> Counted {
        let message = self.message.as_ref().map(|message| (message.key.feed, message.stored_verdict()));
        Counted { partition: self.partition, message }
    }
}

impl NewMessage {
    /// The number that its row has for its verdict.
    pub(crate) fn stored_verdict(&self) -> i32 {
        if self.first.is_some_and(|first| first.from_log) { REDRIVEN } else { self.verdict.into() }
    }
}

impl Offer {
    /// Whether a message that is stored under this verdict is to be stored as accepted now.
    fn redrives(self, stored: Verdict) -> bool {
        self.verdict == Verdict::Accepted
            && (stored == Verdict::Quarantined || (stored == Verdict::Conflict && self.from_log))
    }
}

/// Decides the drafts of a batch one after the other.
pub(crate) struct Decider<'a, B> {
    names: &'a Names,
    feeds: &'a HashMap<String, u32>,
    known: Known,
    decided: Decided<B>,
}

/// What the drafts of a batch have come to.
#[derive(Debug)]
pub(crate) struct Decided<B> {
    pub(crate) new: Vec<New<B>>,
    /// Messages that are stored already, or twice in this batch.
    pub(crate) duplicates: BTreeMap<Counted, Count>,
}

impl<B> Decided<B> {
    /// What messages were kept as that are accepted now.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = First> {
        self.new.iter().filter_map(|new| new.message.as_ref()?.first)
    }
}

/// What must be known to decide these entries, all of whose feeds have numbers; and the key slots that are remembered.
pub(crate) fn questions<'e>(
    feeds: &HashMap<String, u32>,
    keys: &KeySlots,
    entries: impl Iterator<Item = &'e Entry>,
) -> (Questions, HashMap<Pseudonym, u64>) {
    let (mut questions, mut slots) = (Questions::default(), HashMap::new());
    for entry in entries {
        if let Body::Unsealed(record, _) = entry.body {
            match keys.get(record) {
                Some(slot) => {
                    slots.insert(record, slot);
                }
                None => questions.records.push(record),
            }
        }
        match &entry.head.same {
            SameEntry::Named => questions.named.push(entry.head.event_id),
            SameEntry::Message { feed, control_id, .. } => {
                if let Some(feed) = feeds.get(feed) {
                    questions.messages.push(MessageKey::new(*feed, control_id, entry.head.event_id));
                }
            }
        }
    }
    (questions, slots)
}

/// Names of feeds that have no number yet, each once.
pub(crate) fn unknown_feeds<'e>(feeds: &HashMap<String, u32>, entries: impl Iterator<Item = &'e Entry>) -> Vec<String> {
    let mut unknown = Vec::new();
    for entry in entries {
        if let SameEntry::Message { feed, .. } = &entry.head.same
            && !feeds.contains_key(feed)
            && !unknown.contains(feed)
        {
            unknown.push(feed.clone());
        }
    }
    unknown
}

impl<'a, B> Decider<'a, B> {
    pub(crate) fn new(names: &'a Names, feeds: &'a HashMap<String, u32>, known: Known) -> Self {
        Self { names, feeds, known, decided: Decided { new: Vec::new(), duplicates: BTreeMap::new() } }
    }

    /// Decides the next draft.
    pub(crate) fn decide(&mut self, head: &Head, body: B) -> Result<Decision, Cause> {
        match &head.same {
            SameEntry::Named => Ok(self.named(head, body)),
            SameEntry::Message { feed, control_id, offer } => {
                let feed = self.feeds.get(feed).copied().ok_or_else(|| Cause::new("feed without a number"))?;
                Ok(self.message(head, body, MessageKey::new(feed, control_id, head.event_id), *offer))
            }
        }
    }

    pub(crate) fn finish(self) -> Decided<B> {
        self.decided
    }

    fn named(&mut self, head: &Head, body: B) -> Decision {
        let event_id = head.event_id;
        let known = self.known.named.get(&event_id).copied();
        if let Some(place @ (Place::At(_) | Place::New(_))) = known {
            return Decision { event_id, verdict: Verdict::Duplicate, stored: Verdict::Accepted, place };
        }
        let place = self.add(head.partition, event_id, body, None, known.is_some());
        self.known.named.insert(event_id, place);
        Decision { event_id, verdict: Verdict::Accepted, stored: Verdict::Accepted, place }
    }

    fn message(&mut self, head: &Head, body: B, key: MessageKey, offer: Offer) -> Decision {
        let others = self.known.messages.get(&key).map_or(&[][..], |others| others);
        let Subject { event_id, known, first } = subject(others, head.event_id, offer, self.names);
        let nth = known.map_or(others.len(), |(nth, _)| nth);
        if let Some((_, KnownMessage { place: place @ (Place::At(_) | Place::New(_)), verdict: stored, .. })) = known {
            let feed = key.feed;
            let counted = Counted { partition: head.partition, message: Some((feed, Verdict::Duplicate.into())) };
            if !offer.from_log {
                self.decided.duplicates.entry(counted).or_default().count += 1;
            }
            return Decision { event_id, verdict: Verdict::Duplicate, stored, place };
        }
        let verdict = match known {
            Some((_, pending)) => pending.verdict,
            None if nth > 0 && first.is_none() => Verdict::Conflict,
            None => offer.verdict,
        };
        let message = NewMessage { key: key.clone(), verdict, nth, first };
        let place = self.add(head.partition, event_id, body, Some(message), known.is_some());
        let message = KnownMessage { event_id, place, verdict };
        let messages = self.known.messages.entry(key).or_default();
        match messages.get_mut(nth) {
            Some(pending) => *pending = message,
            None => messages.push(message),
        }
        Decision { event_id, verdict, stored: verdict, place }
    }

    fn add(
        &mut self,
        partition: Partition,
        event_id: EventId,
        body: B,
        message: Option<NewMessage>,
        again: bool,
    ) -> Place {
        self.decided.new.push(New { partition, event_id, message, again, body });
        Place::New(self.decided.new.len() - 1)
    }
}

/// Which event a message that is offered comes to, stored or not.
struct Subject {
    event_id: EventId,
    /// Its number under its key, and what is known of it.
    known: Option<(usize, KnownMessage)>,
    /// What it was kept as, where it is to be accepted now.
    first: Option<First>,
}

/// A message that was accepted after it had been kept is that event for ever, whatever it is offered as. While that is not
/// known to be stored, whoever still does not accept the message gets the answer of the first.
fn subject(others: &[KnownMessage], event_id: EventId, offer: Offer, names: &Names) -> Subject {
    let find = |event_id| others.iter().copied().enumerate().find(|(_, known)| known.event_id == event_id);
    let first = find(event_id);
    let unchanged = Subject { event_id, known: first, first: None };
    let Some((_, KnownMessage { place: Place::At(position), verdict, .. })) = first else { return unchanged };
    if !matches!(verdict, Verdict::Quarantined | Verdict::Conflict) {
        return unchanged;
    }
    let redriven_id = names.redriven_id(&event_id.0);
    let redriven = find(redriven_id);
    let is_stored = redriven.is_some_and(|(_, known)| !matches!(known.place, Place::Pending(_)));
    if is_stored || offer.redrives(verdict) {
        let first = First { event_id, position, from_log: offer.from_log };
        return Subject { event_id: redriven_id, known: redriven, first: Some(first) };
    }
    unchanged
}

/// Why a message cannot be stored now, if it cannot: it is pending, and was read otherwise when it was decided. What it came to
/// is known soon; stored under the verdict or in the partition of the other reading it would say what it is not.
#[cfg(feature = "kafka")]
pub(crate) fn is_read_otherwise(others: &[KnownMessage], head: &Head, offer: Offer, names: &Names) -> bool {
    match subject(others, head.event_id, offer, names).known {
        Some((_, KnownMessage { place: Place::Pending(partition), verdict, .. })) => {
            partition != head.partition || (verdict != Verdict::Conflict && verdict != offer.verdict)
        }
        _ => false,
    }
}

/// Receipts of what was decided, once it is known where every new event lies.
pub(crate) fn receipts(decisions: Vec<Decision>, positions: &[Position]) -> Result<Vec<Receipt>, Cause> {
    let receipt = |Decision { event_id, verdict, stored, place }| {
        let position = match place {
            Place::At(position) => Some(position),
            Place::New(number) => positions.get(number).copied(),
            Place::Pending(_) => None,
        };
        let position = position.ok_or_else(|| Cause::new("event without a position"))?;
        Ok(Receipt { position, event_id, verdict, stored })
    };
    decisions.into_iter().map(receipt).collect()
}

impl MessageKey {
    pub(crate) fn new(feed: u32, control_id: &str, event_id: EventId) -> Self {
        Self { feed, control_id: message_key(control_id, &event_id.0) }
    }
}

/// What a message is looked up by within its feed.
pub(crate) fn message_key(control_id: &str, event_id: &[u8]) -> Vec<u8> {
    // The first byte keeps event ids apart from control ids.
    let mut bytes = Vec::with_capacity(1 + control_id.len().max(16));
    if control_id.is_empty() {
        bytes.push(0);
        bytes.extend_from_slice(event_id);
    } else {
        bytes.push(1);
        bytes.extend_from_slice(control_id.as_bytes());
    }
    bytes
}

/// The verdict with this number; numbers come from [`Verdict`] itself or from our own store.
pub(crate) fn verdict_of(number: i32) -> Verdict {
    if number == REDRIVEN {
        return Verdict::Accepted;
    }
    Verdict::try_from(number).unwrap_or(Verdict::Unspecified)
}
