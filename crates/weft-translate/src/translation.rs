//! From bytes to a message with its facts and its verdict.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use weft_model::{
    Verdict,
    proto::event::{ContentType, Issue, MessageReceived, Severity},
};

use crate::{
    context::Context,
    facts::translate_facts,
    header::Header,
    hl7v2::{self, Message, Segment},
    identifiers::read_pid3,
    issue::{error, information, warning},
    profile::Profile,
    route,
};

/// Name and version of this translator, as every event says that it made.
const TRANSLATOR: &str = "hl7v2/1";
/// The most characters of a control id that an event's header holds.
const CONTROL_ID_CHARACTERS_MAX: usize = 199;

/// What translation made of one message. There is one for every message, readable or not: `message.raw` is always what
/// was sent.
pub struct Translation {
    /// MSH-10; at most 199 characters. Empty where the message has none.
    pub control_id: String,
    /// `ADT^A01`. Empty where the message has none.
    pub message_type: String,
    /// [`Verdict::Accepted`] or [`Verdict::Quarantined`]; the log may still find a duplicate or a conflict.
    pub verdict: Verdict,
    /// The payload of the event, whole.
    pub message: MessageReceived,
    /// What the acknowledgement echoes.
    pub(crate) header: Header,
    /// Why it is quarantined.
    pub(crate) problem: Option<Issue>,
}

/// Says what became of it, not what it says.
impl fmt::Debug for Translation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, reason) = (&self.message_type, &self.message.reason);
        write!(f, "Translation({kind}, {:?}, {reason:?})", self.verdict)
    }
}

/// What became of a message, for its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Stored {
        /// What the log found: accepted, duplicate, conflict or quarantined.
        verdict: Verdict,
        /// For a duplicate, what was found when it was stored.
        stored: Verdict,
    },
    /// The log is unavailable: the sender must send it again.
    NotStored,
    /// It has more bytes than the feed allows.
    TooLarge,
}

/// Translates one message, given without the transport's framing. `revision` is the offset of the event that registered
/// `profile`.
///
/// Never fails: what cannot be read is quarantined, its bytes whole, its issues saying where.
#[must_use]
pub fn translate(raw: Bytes, profile: &Profile, revision: u64) -> Translation {
    let mut received = MessageReceived {
        raw: raw.clone(),
        content_type: ContentType::Hl7v2.into(),
        translator: TRANSLATOR.to_owned(),
        profile_revision: revision,
        ..MessageReceived::default()
    };
    let (text, set) = hl7v2::decode(&raw, profile.character_set(), &mut received.issues);
    let decoded = received.issues.len();
    let read = match Message::index(&text) {
        Ok(message) => {
            received.issues.extend_from_slice(message.issues());
            let header = Header::find(&raw, Some(&message));
            read(&message, header, profile, &mut received)
        }
        Err(issue) => {
            received.issues.push(issue);
            Read { control_id: String::new(), message_type: String::new(), header: Header::find(&raw, None) }
        }
    };
    if matches!(text, Cow::Owned(_)) {
        for issue in received.issues.iter_mut().skip(decoded) {
            place_in_raw(issue, &raw, set);
        }
    }
    let problem = received.issues.iter().find(|issue| issue.severity() == Severity::Error).cloned();
    if let Some(problem) = problem.as_ref().filter(|_| received.reason.is_empty()) {
        received.reason.clone_from(&problem.code);
    }
    let verdict = if received.reason.is_empty() { Verdict::Accepted } else { Verdict::Quarantined };
    let Read { control_id, message_type, header } = read;
    Translation { control_id, message_type, verdict, message: received, header, problem }
}

/// What is wanted of a message beside its payload.
struct Read {
    control_id: String,
    message_type: String,
    header: Header,
}

/// Reads an indexed message into `received`. An issue of severity error quarantines it.
fn read(message: &Message<'_>, header: Header, profile: &Profile, received: &mut MessageReceived) -> Read {
    let Some(msh) = message.first("MSH") else {
        return Read { control_id: String::new(), message_type: String::new(), header };
    };
    let evn = message.first("EVN");
    let control_id = control_id(msh, &mut received.issues);
    let (message_type, trigger) = message_type(msh, evn, &mut received.issues);
    let version = msh.field(12).text().unwrap_or_default();
    received.version = version.clone().into_owned();
    received.sequence = msh.field(13).text().and_then(|number| number.parse().ok());
    received.sent = msh.field(7).time(profile.zone(), &mut received.issues);
    if let Some(second) = message.all("MSH").nth(1) {
        let text = "a second message in the same frame";
        received.issues.push(error("several-messages", second.place(), text));
    }
    route::check(msh, &message_type, &version, profile, &mut received.issues);
    if let Some(problem) = received.issues.iter().find(|issue| issue.severity() == Severity::Error) {
        // Whose message it is says under which key it is kept; a stranger's identifiers are not this organisation's.
        if !matches!(problem.code.as_str(), "wrong-sender" | "wrong-receiver") {
            received.record = read_pid3(message, profile).record;
        }
        return Read { control_id, message_type, header };
    }
    let recorded = evn.and_then(|evn| evn.field(2).time(profile.zone(), &mut received.issues));
    let occurred = evn.and_then(|evn| evn.field(6).time(profile.zone(), &mut received.issues));
    let context = Context {
        profile,
        message_type: &message_type,
        trigger: &trigger,
        recorded: recorded.or(received.sent),
        occurred,
    };
    translate_facts(message, &context, received);
    if received.record.is_none() {
        let text = "nothing says which patient the message is about";
        received.issues.push(error("no-patient-identifier", "PID-3", text));
    }
    Read { control_id, message_type, header }
}

fn control_id(msh: Segment<'_>, issues: &mut Vec<Issue>) -> String {
    let Some(id) = msh.field(10).text() else {
        issues.push(error("control-id-missing", "MSH-10", "the message has no control id"));
        return String::new();
    };
    match id.char_indices().nth(CONTROL_ID_CHARACTERS_MAX) {
        Some((end, _)) => {
            issues.push(warning(
                "control-id-long",
                "MSH-10",
                "the control id has more than 199 characters and was cut",
            ));
            id.get(..end).unwrap_or_default().to_owned()
        }
        None => id.into_owned(),
    }
}

/// `ADT^A01` and `A01`. Old senders state the event in EVN-1 alone.
fn message_type(msh: Segment<'_>, evn: Option<Segment<'_>>, issues: &mut Vec<Issue>) -> (String, String) {
    let field = msh.field(9);
    let Some(kind) = field.component(1) else { return (String::new(), String::new()) };
    let mut trigger = field.component(2);
    if trigger.is_none() {
        trigger = evn.and_then(|evn| evn.field(1).text());
        if trigger.is_some() {
            issues.push(information("event-from-evn", "MSH-9", "MSH-9 has no event; EVN-1 has"));
        }
    }
    match trigger {
        Some(trigger) => (format!("{kind}^{trigger}"), trigger.into_owned()),
        None => (kind.into_owned(), String::new()),
    }
}

/// The index counts bytes of the text; an issue speaks of the bytes that were sent.
fn place_in_raw(issue: &mut Issue, raw: &[u8], set: hl7v2::CharacterSet) {
    if let Some(at) = issue.location.strip_prefix("byte ").and_then(|at| at.parse().ok()) {
        issue.location = format!("byte {}", hl7v2::offset_in_raw(raw, set, at));
    }
}
