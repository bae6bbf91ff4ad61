//! An event as the program holds it: a clear header and one typed payload.

use std::borrow::Cow;

use prost::Message;

use crate::{
    EventId, Pseudonym, SourceRecordId, Stream,
    proto::event::{
        CutTaken, Disclosed, EventKind, FeedRegistered, FeedSwitched, Header, LinkModelSwitched, MessageReceived,
        NhsNumberSuperseded, NhsNumberSwitched, PersonsMerged, RecordLinked, RecordsMerged, RecordsUnlinked,
        RequestRefused, ReviewAsked, StewardDecided,
    },
};

/// Version of the envelope and payloads that this program writes. It reads every version up to this one.
pub const SCHEMA_VERSION: u32 = 2;

/// The identifier system of NHS numbers.
const NHS_NUMBER_SYSTEM: &str = "https://fhir.nhs.uk/Id/nhs-number";

/// A header and its payload, opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What is stored in the clear.
    pub header: Header,
    /// What is stored sealed.
    pub payload: Payload,
}

/// The payload of each kind of event.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "nearly every event is a message")]
pub enum Payload {
    /// A message and what translation made of it.
    MessageReceived(MessageReceived),
    /// A source record belongs to a person.
    RecordLinked(RecordLinked),
    /// Two source records are one patient, says their organisation.
    RecordsMerged(RecordsMerged),
    /// Two source records are not one patient, says their organisation.
    RecordsUnlinked(RecordsUnlinked),
    /// Later evidence joined two persons.
    PersonsMerged(PersonsMerged),
    /// A steward has decided.
    StewardDecided(StewardDecided),
    /// Somebody should look at a record.
    ReviewAsked(ReviewAsked),
    /// Two people were found under an NHS number.
    NhsNumberFrozen(NhsNumberSwitched),
    /// An NHS number links again.
    NhsNumberReleased(NhsNumberSwitched),
    /// An NHS number was merged into another.
    NhsNumberSuperseded(NhsNumberSuperseded),
    /// Another model decides.
    LinkModelSwitched(LinkModelSwitched),
    /// A feed was registered or changed.
    FeedRegistered(FeedRegistered),
    /// A feed was paused.
    FeedPaused(FeedSwitched),
    /// A feed was resumed.
    FeedResumed(FeedSwitched),
    /// The notary said how long every partition was, and what it held.
    CutTaken(CutTaken),
    /// An answer was given.
    Disclosed(Disclosed),
    /// A request was refused, or failed.
    RequestRefused(RequestRefused),
}

/// Stored bytes that are no event this program can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer program: stop, and upgrade this one.
    #[error("event of schema version {0}, this program reads up to {SCHEMA_VERSION}")]
    NewerSchema(u32),
    /// A kind that this schema version does not have.
    #[error("unknown event kind {0}")]
    UnknownKind(i32),
    /// Not the protobuf message that the header promises.
    #[error("event payload is not readable")]
    Malformed(#[from] prost::DecodeError),
}

impl Payload {
    /// The kind that the header must carry.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::MessageReceived(_) => EventKind::MessageReceived,
            Self::RecordLinked(_) => EventKind::RecordLinked,
            Self::RecordsMerged(_) => EventKind::RecordsMerged,
            Self::RecordsUnlinked(_) => EventKind::RecordsUnlinked,
            Self::PersonsMerged(_) => EventKind::PersonsMerged,
            Self::StewardDecided(_) => EventKind::StewardDecided,
            Self::ReviewAsked(_) => EventKind::ReviewAsked,
            Self::NhsNumberFrozen(_) => EventKind::NhsNumberFrozen,
            Self::NhsNumberReleased(_) => EventKind::NhsNumberReleased,
            Self::NhsNumberSuperseded(_) => EventKind::NhsNumberSuperseded,
            Self::LinkModelSwitched(_) => EventKind::LinkModelSwitched,
            Self::FeedRegistered(_) => EventKind::FeedRegistered,
            Self::FeedPaused(_) => EventKind::FeedPaused,
            Self::FeedResumed(_) => EventKind::FeedResumed,
            Self::CutTaken(_) => EventKind::CutTaken,
            Self::Disclosed(_) => EventKind::Disclosed,
            Self::RequestRefused(_) => EventKind::RequestRefused,
        }
    }

    /// The stream that events of this kind go to.
    #[must_use]
    pub fn stream(&self) -> Stream {
        match self {
            Self::MessageReceived(_) => Stream::Feed,
            Self::RecordLinked(_)
            | Self::RecordsMerged(_)
            | Self::RecordsUnlinked(_)
            | Self::PersonsMerged(_)
            | Self::StewardDecided(_)
            | Self::ReviewAsked(_)
            | Self::NhsNumberFrozen(_)
            | Self::NhsNumberReleased(_)
            | Self::NhsNumberSuperseded(_)
            | Self::LinkModelSwitched(_) => Stream::Identity,
            Self::FeedRegistered(_) | Self::FeedPaused(_) | Self::FeedResumed(_) | Self::CutTaken(_) => Stream::Control,
            Self::Disclosed(_) | Self::RequestRefused(_) => Stream::Access,
        }
    }

    /// The source record that the event is about, where there is one: its key seals the payload.
    #[must_use]
    pub fn record(&self) -> Option<Cow<'_, SourceRecordId>> {
        let named = match self {
            Self::MessageReceived(m) => m.record.as_ref(),
            Self::RecordLinked(m) => m.record.as_ref(),
            Self::RecordsMerged(m) => m.retired.as_ref(),
            Self::RecordsUnlinked(m) => m.record.as_ref(),
            Self::ReviewAsked(m) => m.decision.as_ref().and_then(|decision| decision.record.as_ref()),
            Self::NhsNumberFrozen(m) | Self::NhsNumberReleased(m) => return number_s_own(&m.nhs_number),
            Self::NhsNumberSuperseded(m) => return number_s_own(&m.superseded),
            _ => None,
        };
        named.map(Cow::Borrowed)
    }

    /// True where the payload is stored in the clear: it speaks of no person, and is checked by those who hold no key.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        matches!(self, Self::CutTaken(_))
    }

    /// The protobuf encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::MessageReceived(m) => m.encode_to_vec(),
            Self::RecordLinked(m) => m.encode_to_vec(),
            Self::RecordsMerged(m) => m.encode_to_vec(),
            Self::RecordsUnlinked(m) => m.encode_to_vec(),
            Self::PersonsMerged(m) => m.encode_to_vec(),
            Self::StewardDecided(m) => m.encode_to_vec(),
            Self::ReviewAsked(m) => m.encode_to_vec(),
            Self::NhsNumberFrozen(m) | Self::NhsNumberReleased(m) => m.encode_to_vec(),
            Self::NhsNumberSuperseded(m) => m.encode_to_vec(),
            Self::LinkModelSwitched(m) => m.encode_to_vec(),
            Self::FeedRegistered(m) => m.encode_to_vec(),
            Self::FeedPaused(m) | Self::FeedResumed(m) => m.encode_to_vec(),
            Self::CutTaken(m) => m.encode_to_vec(),
            Self::Disclosed(m) => m.encode_to_vec(),
            Self::RequestRefused(m) => m.encode_to_vec(),
        }
    }

    /// Reads the payload of the kind that `header` promises.
    ///
    /// # Errors
    /// [`DecodeError`]: a newer schema, an unknown kind, or bytes that are no such message.
    pub fn decode(header: &Header, bytes: bytes::Bytes) -> Result<Self, DecodeError> {
        if header.schema > SCHEMA_VERSION {
            return Err(DecodeError::NewerSchema(header.schema));
        }
        Ok(match header.kind() {
            EventKind::MessageReceived => Self::MessageReceived(MessageReceived::decode(bytes)?),
            EventKind::RecordLinked => Self::RecordLinked(RecordLinked::decode(bytes)?),
            EventKind::RecordsMerged => Self::RecordsMerged(RecordsMerged::decode(bytes)?),
            EventKind::RecordsUnlinked => Self::RecordsUnlinked(RecordsUnlinked::decode(bytes)?),
            EventKind::PersonsMerged => Self::PersonsMerged(PersonsMerged::decode(bytes)?),
            EventKind::StewardDecided => Self::StewardDecided(StewardDecided::decode(bytes)?),
            EventKind::ReviewAsked => Self::ReviewAsked(ReviewAsked::decode(bytes)?),
            EventKind::NhsNumberFrozen => Self::NhsNumberFrozen(NhsNumberSwitched::decode(bytes)?),
            EventKind::NhsNumberReleased => Self::NhsNumberReleased(NhsNumberSwitched::decode(bytes)?),
            EventKind::NhsNumberSuperseded => Self::NhsNumberSuperseded(NhsNumberSuperseded::decode(bytes)?),
            EventKind::LinkModelSwitched => Self::LinkModelSwitched(LinkModelSwitched::decode(bytes)?),
            EventKind::FeedRegistered => Self::FeedRegistered(FeedRegistered::decode(bytes)?),
            EventKind::FeedPaused => Self::FeedPaused(FeedSwitched::decode(bytes)?),
            EventKind::FeedResumed => Self::FeedResumed(FeedSwitched::decode(bytes)?),
            EventKind::CutTaken => Self::CutTaken(CutTaken::decode(bytes)?),
            EventKind::Disclosed => Self::Disclosed(Disclosed::decode(bytes)?),
            EventKind::RequestRefused => Self::RequestRefused(RequestRefused::decode(bytes)?),
            EventKind::Unspecified => return Err(DecodeError::UnknownKind(header.kind)),
        })
    }
}

/// The key under which an event about an NHS number is sealed: it can be destroyed without anybody's record.
fn number_s_own(nhs_number: &str) -> Option<Cow<'_, SourceRecordId>> {
    Some(Cow::Owned(SourceRecordId {
        organisation: String::new(),
        system: NHS_NUMBER_SYSTEM.to_owned(),
        value: nhs_number.to_owned(),
    }))
}

impl Header {
    /// The event's identifier; all zeros where the header has none yet.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId::from_bytes(&self.event_id).unwrap_or(EventId([0; 16]))
    }

    /// When Weft was told first what the event says: of a message that was kept aside and is accepted now, when it was received
    /// then. Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn told_us(&self) -> i64 {
        self.redrives.as_ref().map_or(self.received_us, |redrives| redrives.received_us)
    }

    /// Pseudonym of the source record, where the event is about one.
    #[must_use]
    pub fn pseudonym(&self) -> Option<Pseudonym> {
        Pseudonym::from_bytes(&self.source_record).ok()
    }
}
