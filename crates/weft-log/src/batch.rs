//! What becomes of the drafts that are stored together: verdicts, offsets, receipts, and the rows that say so. Pure: the
//! same for every backend.

use std::collections::{BTreeMap, HashMap, hash_map};

use weft_model::{EventId, Position, Pseudonym, Stream, Verdict};

use crate::{
    Receipt, Vault,
    error::Cause,
    seal::{self, Sealed},
    storage::{Ends, Known, KnownMessage, MessageKey, Rows, partitions},
};

/// A sealed draft on its way to the writer.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) stream: Stream,
    pub(crate) event_id: EventId,
    pub(crate) same: SameEntry,
    pub(crate) sealed: Sealed,
    /// The record's key slot, where it is not known to be stored.
    pub(crate) key_slot: Option<(Pseudonym, u64)>,
}

/// As [`crate::Same`], with what decides it.
#[derive(Debug)]
pub(crate) enum SameEntry {
    Message { feed: String, control_id: String, verdict: Verdict },
    Named,
}

/// What to ask storage before a batch can be decided.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    pub(crate) messages: Vec<MessageKey>,
    pub(crate) named: Vec<EventId>,
}

/// Decides the drafts of a batch one after the other.
pub(crate) struct Decider<'a> {
    vault: &'a Vault,
    sizes: [u64; 4],
    known: Known,
    feeds: &'a HashMap<String, u32>,
    verdicts: BTreeMap<(u32, i32), u64>,
    rows: Rows,
}

/// Gives feeds that are new their numbers, and says what must be known of these entries.
pub(crate) fn questions<'e>(
    ends: &mut Ends,
    entries: impl Iterator<Item = &'e Entry>,
) -> (Questions, Vec<(u32, String)>) {
    let mut questions = Questions::default();
    let mut new_feeds = Vec::new();
    for entry in entries {
        match &entry.same {
            SameEntry::Named => questions.named.push(entry.event_id),
            SameEntry::Message { feed, control_id, .. } => {
                let number = match ends.feeds.get(feed) {
                    Some(number) => *number,
                    None => {
                        let number = ends.feeds.len() as u32;
                        ends.feeds.insert(feed.clone(), number);
                        new_feeds.push((number, feed.clone()));
                        number
                    }
                };
                questions.messages.push(MessageKey::new(number, control_id, entry.event_id));
            }
        }
    }
    (questions, new_feeds)
}

impl<'a> Decider<'a> {
    pub(crate) fn new(vault: &'a Vault, ends: &'a Ends, known: Known, feeds: Vec<(u32, String)>) -> Self {
        let rows = Rows { first: ends.sizes, feeds, ..Rows::default() };
        Self { vault, sizes: ends.sizes, known, feeds: &ends.feeds, verdicts: BTreeMap::new(), rows }
    }

    /// Decides the next draft.
    pub(crate) fn decide(&mut self, entry: Entry) -> Result<Receipt, Cause> {
        self.rows.key_slots.extend(entry.key_slot);
        match entry.same {
            SameEntry::Named => Ok(self.named(entry.stream, entry.event_id, entry.sealed)),
            SameEntry::Message { feed, control_id, verdict } => {
                let feed = self.feeds.get(&feed).copied().ok_or_else(|| Cause::new("feed without a number"))?;
                let key = MessageKey::new(feed, &control_id, entry.event_id);
                self.message(key, entry.stream, entry.event_id, verdict, entry.sealed)
            }
        }
    }

    /// The rows to store, and the sizes after they are stored.
    pub(crate) fn finish(mut self) -> (Rows, [u64; 4]) {
        let counted = self.verdicts.into_iter();
        self.rows.verdicts = counted.map(|((feed, verdict), n)| (feed, verdict_of(verdict), n)).collect();
        (self.rows, self.sizes)
    }

    fn named(&mut self, stream: Stream, event_id: EventId, sealed: Sealed) -> Receipt {
        if let Some(position) = self.known.named.get(&event_id) {
            let (verdict, stored) = (Verdict::Duplicate, Verdict::Accepted);
            return Receipt { position: *position, event_id, verdict, stored };
        }
        let position = self.append(stream, sealed);
        self.known.named.insert(event_id, position);
        self.rows.named.push((event_id, position));
        Receipt { position, event_id, verdict: Verdict::Accepted, stored: Verdict::Accepted }
    }

    fn message(
        &mut self,
        key: MessageKey,
        stream: Stream,
        event_id: EventId,
        verdict: Verdict,
        sealed: Sealed,
    ) -> Result<Receipt, Cause> {
        let feed = key.feed;
        let others = match self.known.messages.entry(key.clone()) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(none) => none.insert(Vec::new()),
        };
        if let Some(first) = others.iter().find(|known| known.event_id == event_id).copied() {
            self.count(feed, Verdict::Duplicate);
            let (position, stored) = (first.position, first.verdict);
            return Ok(Receipt { position, event_id, verdict: Verdict::Duplicate, stored });
        }
        let conflict = !others.is_empty();
        let (verdict, sealed) = if conflict {
            (Verdict::Conflict, seal::reseal(self.vault, &sealed, Verdict::Conflict)?)
        } else {
            (verdict, sealed)
        };
        let position = self.append(stream, sealed);
        let message = KnownMessage { event_id, position, verdict };
        self.known.messages.entry(key.clone()).or_default().push(message);
        self.rows.messages.push((key, message));
        self.count(feed, verdict);
        Ok(Receipt { position, event_id, verdict, stored: verdict })
    }

    fn append(&mut self, stream: Stream, sealed: Sealed) -> Position {
        let mut offset = 0;
        let slots = self.rows.events.iter_mut().zip(&mut self.sizes).zip(partitions());
        for ((events, size), partition) in slots {
            if partition.stream == stream {
                offset = *size;
                *size += 1;
                events.push(sealed);
                break;
            }
        }
        stream.partition(0).at(offset)
    }

    fn count(&mut self, feed: u32, verdict: Verdict) {
        *self.verdicts.entry((feed, verdict.into())).or_default() += 1;
    }
}

impl MessageKey {
    fn new(feed: u32, control_id: &str, event_id: EventId) -> Self {
        // The first byte keeps event ids apart from control ids.
        let mut bytes = Vec::with_capacity(1 + control_id.len().max(16));
        if control_id.is_empty() {
            bytes.push(0);
            bytes.extend_from_slice(&event_id.0);
        } else {
            bytes.push(1);
            bytes.extend_from_slice(control_id.as_bytes());
        }
        Self { feed, control_id: bytes }
    }
}

/// The verdict with this number; numbers come from [`Verdict`] itself or from our own store.
pub(crate) fn verdict_of(number: i32) -> Verdict {
    Verdict::try_from(number).unwrap_or(Verdict::Unspecified)
}
