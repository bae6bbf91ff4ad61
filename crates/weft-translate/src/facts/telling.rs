//! Where facts and issues of one message are gathered.

use serde::Serialize;
use weft_model::{
    When,
    proto::event::{Fact, Issue, Line, LineKind},
};

use super::json::{self, Decimals};
use crate::{
    context::Context,
    hl7v2::{Field, Message},
    issue::warning,
};

/// The most characters of running text that a line shows; the resource has all of it.
const DETAIL_CHARACTERS_MAX: usize = 200;

/// The facts and issues of one message, as far as they are read.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) message: &'a Message<'a>,
    pub(crate) context: &'a Context<'a>,
    pub(crate) issues: Vec<Issue>,
    pub(crate) told: Vec<Fact>,
    /// What the resources are written in, one after the other.
    json: Vec<u8>,
    /// The time that was read last: most of a message's times are the same.
    last_time: Option<(ShortText, When)>,
}

/// Everything about a fact but its resource.
#[derive(Debug)]
pub(crate) struct Telling {
    pub(crate) resource_type: &'static str,
    pub(crate) id: String,
    pub(crate) withdrawn: bool,
    pub(crate) occurred: Option<When>,
    pub(crate) recorded: Option<When>,
    pub(crate) location: String,
    pub(crate) line: Option<Line>,
    pub(crate) decimals: Decimals,
}

impl Telling {
    pub(crate) fn new(resource_type: &'static str, id: impl Into<String>, location: impl Into<String>) -> Self {
        Self {
            resource_type,
            id: id.into(),
            withdrawn: false,
            occurred: None,
            recorded: None,
            location: location.into(),
            line: None,
            decimals: Decimals::default(),
        }
    }
}

impl<'a> Facts<'a> {
    pub(crate) fn new(message: &'a Message<'a>, context: &'a Context<'a>) -> Self {
        let told = Vec::with_capacity(message.segments().count() + 2);
        Self { message, context, issues: Vec::new(), told, json: Vec::with_capacity(4096), last_time: None }
    }

    /// Adds a fact. A line needs a time to stand at: where nothing was said of when it happened, that is when it was
    /// recorded.
    pub(crate) fn tell(&mut self, telling: Telling, resource: &impl Serialize) {
        let location = telling.location;
        if json::write(&mut self.json, resource, telling.decimals).is_err() {
            let text = "this could not be written as a FHIR resource; the message holds it";
            self.issues.push(warning("fact-not-written", location, text));
            return;
        }
        let recorded = telling.recorded.or(self.context.recorded);
        let occurred = telling.occurred.or(recorded);
        let mut line = telling.line;
        if line.is_some() && occurred.is_none() {
            let text = "neither the fact nor the message has a time; it is kept without a line on the timeline";
            self.issues.push(warning("time-missing", location.as_str(), text));
            line = None;
        }
        self.told.push(Fact {
            resource_type: telling.resource_type.to_owned(),
            id: telling.id,
            resource: bytes::Bytes::copy_from_slice(&self.json),
            withdrawn: telling.withdrawn,
            occurred,
            recorded,
            location,
            line,
        });
    }

    /// Reads the first repetition of `field` as a time.
    pub(crate) fn time(&mut self, field: Field<'_>) -> Option<When> {
        if field.is_absent() {
            return None;
        }
        let raw = ShortText::of(field.raw());
        if let Some((last, when)) = self.last_time
            && raw == Some(last)
        {
            return Some(when);
        }
        let issues = self.issues.len();
        let when = field.time(self.context.zone(), &mut self.issues);
        if issues == self.issues.len() {
            self.last_time = raw.zip(when);
        }
        when
    }
}

/// A text short enough to be kept without an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ShortText {
    bytes: [u8; 26],
    length: u8,
}

impl ShortText {
    fn of(text: &str) -> Option<Self> {
        let mut bytes = [0; 26];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { bytes, length: u8::try_from(text.len()).ok()? })
    }
}

/// A line of `kind` with a title.
pub(crate) fn line(kind: LineKind, title: impl Into<String>) -> Line {
    Line { kind: kind.into(), title: title.into(), ..Line::default() }
}

/// The parts that say something, with `between` between them.
pub(crate) fn joined<'t>(parts: impl IntoIterator<Item = &'t str>, between: &str) -> String {
    let mut text = String::new();
    for part in parts.into_iter().map(str::trim).filter(|part| !part.is_empty()) {
        if !text.is_empty() {
            text.push_str(between);
        }
        text.push_str(part);
    }
    text
}

/// As one line of a timeline: no line breaks, and not too long.
pub(crate) fn one_line(text: &str) -> String {
    if text.len() <= DETAIL_CHARACTERS_MAX && !text.bytes().any(|b| b < b' ') {
        return text.to_owned();
    }
    let line = joined(text.split_whitespace(), " ");
    match line.char_indices().nth(DETAIL_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
