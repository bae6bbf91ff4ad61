//! What is given to the log, and what it says about it.

use weft_model::{EventId, Payload, Position, Stream, Verdict};

/// An event to append. The log fills in the rest of the header: schema, kind, event id, pseudonym of the record.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// What makes it the same event when it is appended again.
    pub same: Same,
    /// Feed identifier; empty where the event has no feed.
    pub feed: String,
    /// Control id of the message; empty where there is none.
    pub control_id: String,
    /// For example ADT^A01; empty where the event is not a message.
    pub message_type: String,
    /// Accepted or quarantined for a message, as translated; unspecified for everything else.
    pub verdict: Verdict,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub received_us: i64,
    /// The event that made this one necessary.
    pub cause: Option<Position>,
    /// What is sealed.
    pub payload: Payload,
}

/// What makes an event the same event. Event ids are keyed digests, those of a series behind its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Same {
    /// A message: the same feed, control id and bytes are a duplicate; the same feed and control id with other bytes are
    /// a conflict (a message without a control id never conflicts). One that is stored as quarantined and is offered as
    /// accepted is stored once more, as an event that names the one before; from then on it is a duplicate of that.
    Message,
    /// A message that is stored, read again from the log because somebody decided so: as a message, but one in conflict is
    /// stored as accepted, too; and it is not counted as received.
    Redriven,
    /// Anything else: the same kind and the same name.
    Name(Vec<u8>),
    /// One of a series of very many: the same kind, number and name. Numbers grow as events come, and ids are in the order of the
    /// numbers: what comes together has its place together in a table of ids, however large that has become. For a decision
    /// the number is the offset of its cause, for a disclosure the time at which it is made.
    Series(u64, Vec<u8>),
}

/// What became of one draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Where the event is stored; for a duplicate, where the first copy is.
    pub position: Position,
    /// Its identifier.
    pub event_id: EventId,
    /// For a message one of the four verdicts; for any other event `Accepted` if it is new and `Duplicate` if not.
    pub verdict: Verdict,
    /// Verdict of the stored event: differs from `verdict` only for a duplicate. Of a message that was quarantined and accepted
    /// since it is the event that was accepted.
    pub stored: Verdict,
}

impl Draft {
    /// The stream that it goes to.
    #[must_use]
    pub fn stream(&self) -> Stream {
        self.payload.stream()
    }
}
