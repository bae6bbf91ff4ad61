//! What becomes of the drafts that are stored together: verdicts, offsets, receipts, and the rows that say so. Pure: the
//! same for every backend.

use std::collections::HashMap;

use weft_model::{EventId, Position, Pseudonym, Stream, Verdict};

use crate::{
    Receipt, Vault,
    error::Cause,
    keys::KeySlots,
    seal::{Sealed, Unsealed},
    storage::{Count, Counted, Ends, Known, KnownMessage, MessageKey, Questions, Rows, of_mut},
};

/// A draft on its way to the writer, and sealed when it is decided.
#[derive(Debug)]
pub(crate) struct Entry<B = Body> {
    pub(crate) stream: Stream,
    pub(crate) event_id: EventId,
    pub(crate) same: SameEntry,
    pub(crate) body: B,
}

/// As [`crate::Same`], with what decides it.
#[derive(Debug)]
pub(crate) enum SameEntry {
    Message { feed: String, control_id: String, verdict: Verdict },
    Named,
}

/// What will be stored.
#[derive(Debug)]
pub(crate) enum Body {
    Sealed(Sealed),
    /// About a record whose key slot is not remembered.
    Unsealed(Pseudonym, Box<Unsealed>),
}

impl Entry {
    /// Seals what the caller could not seal.
    pub(crate) fn sealed(self, vault: &Vault, slots: &HashMap<Pseudonym, u64>) -> Result<Entry<Sealed>, Cause> {
        let Self { stream, event_id, same, body } = self;
        let body = match body {
            Body::Sealed(sealed) => sealed,
            Body::Unsealed(record, unsealed) => {
                let slot = slots.get(&record).copied().ok_or_else(|| Cause::new("record without a key slot"))?;
                unsealed.seal(vault, slot)?
            }
        };
        Ok(Entry { stream, event_id, same, body })
    }
}

impl Body {
    /// About how many bytes will be stored.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Sealed(sealed) => sealed.bytes.len(),
            Self::Unsealed(_, unsealed) => unsealed.bytes(),
        }
    }
}

/// Decides the drafts of a batch one after the other.
pub(crate) struct Decider<'a> {
    vault: &'a Vault,
    sizes: [u64; 4],
    feeds: &'a HashMap<String, u32>,
    known: Known,
    rows: Rows,
}

/// Gives feeds that are new their numbers; returns what must be known to decide these entries, and those feeds.
pub(crate) fn questions<'e>(
    ends: &mut Ends,
    keys: &KeySlots,
    entries: impl Iterator<Item = &'e Entry>,
) -> (Questions, Known, Vec<(u32, String)>) {
    let (mut questions, mut known, mut new_feeds) = (Questions::default(), Known::default(), Vec::new());
    for entry in entries {
        if let Body::Unsealed(record, _) = entry.body {
            match keys.get(record) {
                Some(slot) => {
                    known.key_slots.insert(record, slot);
                }
                None => questions.records.push(record),
            }
        }
        match &entry.same {
            SameEntry::Named => questions.named.push(entry.event_id),
            SameEntry::Message { feed, control_id, .. } => {
                let feed = feed_number(&mut ends.feeds, feed, &mut new_feeds);
                questions.messages.push(MessageKey::new(feed, control_id, entry.event_id));
            }
        }
    }
    (questions, known, new_feeds)
}

impl<'a> Decider<'a> {
    /// `rows` holds what is stored besides events.
    pub(crate) fn new(vault: &'a Vault, ends: &'a Ends, known: Known, rows: Rows) -> Self {
        let rows = Rows { first: ends.sizes, ..rows };
        Self { vault, sizes: ends.sizes, feeds: &ends.feeds, known, rows }
    }

    /// Decides the next draft.
    pub(crate) fn decide(&mut self, entry: Entry<Sealed>) -> Result<Receipt, Cause> {
        match &entry.same {
            SameEntry::Named => Ok(self.named(entry)),
            SameEntry::Message { feed, control_id, verdict } => {
                let feed = self.feeds.get(feed).copied().ok_or_else(|| Cause::new("feed without a number"))?;
                let (key, verdict) = (MessageKey::new(feed, control_id, entry.event_id), *verdict);
                self.message(entry, key, verdict)
            }
        }
    }

    /// The rows to store, and the sizes after they are stored.
    pub(crate) fn finish(self) -> (Rows, [u64; 4]) {
        (self.rows, self.sizes)
    }

    fn named(&mut self, Entry { stream, event_id, body, .. }: Entry<Sealed>) -> Receipt {
        if let Some(position) = self.known.named.get(&event_id) {
            let (verdict, stored) = (Verdict::Duplicate, Verdict::Accepted);
            return Receipt { position: *position, event_id, verdict, stored };
        }
        let position = self.append(Counted { stream, message: None }, body);
        self.known.named.insert(event_id, position);
        self.rows.named.push((event_id, position));
        Receipt { position, event_id, verdict: Verdict::Accepted, stored: Verdict::Accepted }
    }

    fn message(&mut self, entry: Entry<Sealed>, key: MessageKey, verdict: Verdict) -> Result<Receipt, Cause> {
        let Entry { stream, event_id, body, .. } = entry;
        let feed = key.feed;
        let counted = |verdict: Verdict| Counted { stream, message: Some((feed, verdict.into())) };
        let others = self.known.messages.get(&key).map_or(&[][..], |others| others);
        if let Some(first) = others.iter().find(|known| known.event_id == event_id).copied() {
            self.rows.counts.entry(counted(Verdict::Duplicate)).or_default().count += 1;
            let (position, stored) = (first.position, first.verdict);
            return Ok(Receipt { position, event_id, verdict: Verdict::Duplicate, stored });
        }
        let (verdict, sealed) = if others.is_empty() {
            (verdict, body)
        } else {
            (Verdict::Conflict, body.with_verdict(self.vault, Verdict::Conflict)?)
        };
        let position = self.append(counted(verdict), sealed);
        let message = KnownMessage { event_id, position, verdict };
        self.known.messages.entry(key.clone()).or_default().push(message);
        self.rows.messages.push((key, message));
        Ok(Receipt { position, event_id, verdict, stored: verdict })
    }

    fn append(&mut self, counted: Counted, sealed: Sealed) -> Position {
        let Count { count, bytes } = self.rows.counts.entry(counted).or_default();
        *count += 1;
        *bytes += sealed.bytes.len() as u64;
        of_mut(&mut self.rows.events, counted.stream).push(sealed);
        let size = of_mut(&mut self.sizes, counted.stream);
        *size += 1;
        counted.stream.partition(0).at(*size - 1)
    }
}

fn feed_number(feeds: &mut HashMap<String, u32>, name: &str, new: &mut Vec<(u32, String)>) -> u32 {
    if let Some(number) = feeds.get(name) {
        return *number;
    }
    // There are not four billion feeds.
    let number = feeds.len() as u32;
    feeds.insert(name.to_owned(), number);
    new.push((number, name.to_owned()));
    number
}

impl MessageKey {
    fn new(feed: u32, control_id: &str, event_id: EventId) -> Self {
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
    Verdict::try_from(number).unwrap_or(Verdict::Unspecified)
}
