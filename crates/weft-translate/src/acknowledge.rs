//! Acknowledgements: what the sender is told, by the verdict, the feed's table and the version it speaks.

use jiff::{Timestamp, tz::TimeZone};
use weft_model::{Verdict, proto::event::Issue};

use crate::{
    header::Header,
    issue::error,
    profile::{AckCode, Profile},
    translation::{Outcome, Translation},
};

/// What messages that state no version are answered in: the one of the United Kingdom's specification.
const DEFAULT_VERSION: &str = "2.4";

impl Translation {
    /// The acknowledgement of this message: an HL7 ACK without the transport's framing, its segments ended by a carriage
    /// return. Empty where the sender asked for none (MSH-15, in enhanced mode).
    ///
    /// `now_us` is the time to write into it, in microseconds since 1970-01-01T00:00:00Z; `own_control_id` its MSH-10.
    #[must_use]
    pub fn acknowledge(&self, profile: &Profile, outcome: Outcome, now_us: i64, own_control_id: &str) -> Vec<u8> {
        let table = &profile.acknowledge;
        let (code, problem) = match outcome {
            Outcome::Stored { verdict, stored } => {
                let told = if verdict == Verdict::Duplicate { stored } else { verdict };
                match told {
                    Verdict::Quarantined => self.quarantined(profile),
                    Verdict::Conflict => {
                        let text = "another message with this control id was received before; this one is kept apart";
                        (table.conflict, Some(error("conflict", "MSH-10", text)))
                    }
                    Verdict::Accepted | Verdict::Duplicate | Verdict::Unspecified => (AckCode::Accept, None),
                }
            }
            Outcome::NotStored => {
                let text = "the message could not be stored; send it again";
                (table.unavailable, Some(error("unavailable", "", text)))
            }
            Outcome::TooLarge => (AckCode::Reject, Some(too_large())),
        };
        let mode = Mode::of(&self.header, table.enhanced);
        if !mode.answers(code) {
            return Vec::new();
        }
        let reply = Reply { header: &self.header, zone: profile.zone(), now_us, own_control_id };
        reply.write(mode.code(code), problem.as_ref().filter(|_| code != AckCode::Accept))
    }

    fn quarantined(&self, profile: &Profile) -> (AckCode, Option<Issue>) {
        let table = &profile.acknowledge;
        let code = match self.problem.as_ref().map(|problem| problem.code.as_str()) {
            Some("wrong-sender" | "wrong-receiver") => table.wrong_sender,
            Some("wrong-type" | "wrong-version") => table.wrong_type,
            // The feed lists the type: the message is what was agreed, and is kept until it can be read.
            Some("type-not-translated") => AckCode::Accept,
            _ => table.unreadable,
        };
        let text = "the message is kept, but cannot be used as it is";
        (code, Some(self.problem.clone().unwrap_or_else(|| error("quarantined", "", text))))
    }
}

/// The rejection of a frame that never became a message, because it is too large (`too-large`) or no message
/// (`unreadable`).
#[must_use]
pub fn refuse(profile: &Profile, code: &'static str, now_us: i64, own_control_id: &str) -> Vec<u8> {
    let problem = match code {
        "too-large" => too_large(),
        _ => error(code, "", "the frame is not a message that can be read"),
    };
    let header = Header::absent();
    Reply { header: &header, zone: profile.zone(), now_us, own_control_id }.write("AR", Some(&problem))
}

fn too_large() -> Issue {
    error("too-large", "", "the message is larger than the feed allows")
}

/// Original or enhanced acknowledgement, and what the sender wants to hear of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Original,
    Always,
    Never,
    OnError,
    OnSuccess,
}

impl Mode {
    /// A message without MSH-15 and MSH-16 is answered in the original mode, as the standard has it.
    fn of(header: &Header, enhanced: bool) -> Self {
        match (header.code(15), header.code(16)) {
            _ if !enhanced => Self::Original,
            ("NE", _) => Self::Never,
            ("ER", _) => Self::OnError,
            ("SU", _) => Self::OnSuccess,
            ("", "") | ("\"\"", _) => Self::Original,
            _ => Self::Always,
        }
    }

    fn answers(self, code: AckCode) -> bool {
        match self {
            Self::Original | Self::Always => true,
            Self::Never => false,
            Self::OnError => code != AckCode::Accept,
            Self::OnSuccess => code == AckCode::Accept,
        }
    }

    fn code(self, code: AckCode) -> &'static str {
        match (self, code) {
            (Self::Original, AckCode::Accept) => "AA",
            (Self::Original, AckCode::Error) => "AE",
            (Self::Original, AckCode::Reject) => "AR",
            (_, AckCode::Accept) => "CA",
            (_, AckCode::Error) => "CE",
            (_, AckCode::Reject) => "CR",
        }
    }
}

struct Reply<'a> {
    header: &'a Header,
    zone: &'a TimeZone,
    now_us: i64,
    own_control_id: &'a str,
}

impl Reply<'_> {
    fn write(&self, code: &str, problem: Option<&Issue>) -> Vec<u8> {
        let mut reply = Vec::with_capacity(256);
        self.msh(&mut reply);
        self.msa(&mut reply, code, problem);
        if let Some(problem) = problem {
            self.err(&mut reply, problem);
        }
        reply
    }

    fn msh(&self, reply: &mut Vec<u8>) {
        let marks = self.header.separators;
        reply.extend(b"MSH");
        reply.extend([marks.field, marks.component, marks.repetition, marks.escape, marks.subcomponent]);
        for swapped in [5, 6, 3, 4] {
            self.field(reply, self.header.field(swapped));
        }
        self.field(reply, self.now().as_bytes());
        self.field(reply, b"");
        self.field(reply, b"ACK");
        let trigger = self.trigger();
        if !trigger.is_empty() {
            reply.push(marks.component);
            reply.extend(trigger);
            if !matches!(self.version(), "2.1" | "2.2" | "2.3") {
                reply.push(marks.component);
                reply.extend(b"ACK");
            }
        }
        reply.push(marks.field);
        self.text(reply, self.own_control_id);
        let processing = self.header.field(11);
        self.field(reply, if processing.is_empty() { b"P" } else { processing });
        let version = self.header.field(12);
        self.field(reply, if version.is_empty() { DEFAULT_VERSION.as_bytes() } else { version });
        let character_set = self.header.field(18);
        if !character_set.is_empty() {
            reply.extend([marks.field; 5]);
            self.field(reply, character_set);
        }
        reply.push(b'\r');
    }

    fn msa(&self, reply: &mut Vec<u8>, code: &str, problem: Option<&Issue>) {
        reply.extend(b"MSA");
        self.field(reply, code.as_bytes());
        self.field(reply, self.header.field(10));
        // From 2.5 on, the text is in ERR-8.
        if let Some(problem) = problem.filter(|_| !self.speaks_2_5()) {
            reply.push(self.header.separators.field);
            self.text(reply, &problem.text);
        }
        reply.push(b'\r');
    }

    fn err(&self, reply: &mut Vec<u8>, problem: &Issue) {
        let marks = self.header.separators;
        let (code, meaning) = table_0357(problem);
        let place = Place::parse(&problem.location);
        reply.extend(b"ERR");
        reply.push(marks.field);
        if self.speaks_2_5() {
            reply.push(marks.field);
            let parts = place.parts();
            self.join(reply, marks.component, &parts);
            reply.push(marks.field);
            self.join(reply, marks.component, &[code, meaning, "HL70357"]);
            self.field(reply, b"E");
            reply.push(marks.field);
            self.text(reply, &problem.code);
            reply.extend([marks.field; 3]);
            self.text(reply, &problem.text);
        } else {
            let parts = place.parts();
            let part = |i: usize| parts.get(i).copied().unwrap_or_default();
            self.join(reply, marks.component, &[part(0), part(1), part(2), ""]);
            self.join(reply, marks.subcomponent, &[code, meaning, "HL70357"]);
        }
        reply.push(b'\r');
    }

    /// The version that the sender speaks.
    fn version(&self) -> &str {
        Some(self.header.code(12)).filter(|version| !version.is_empty()).unwrap_or(DEFAULT_VERSION)
    }

    /// Whether ERR has the form of version 2.5 and later.
    fn speaks_2_5(&self) -> bool {
        let minor = self.version().strip_prefix("2.").and_then(|rest| rest.bytes().next());
        minor.is_some_and(|digit| matches!(digit, b'5'..=b'9'))
    }

    /// MSH-9.2 as sent.
    fn trigger(&self) -> &[u8] {
        self.header.field(9).split(|b| *b == self.header.separators.component).nth(1).unwrap_or_default()
    }

    /// In the feed's zone, with its offset.
    fn now(&self) -> String {
        let now = Timestamp::from_microsecond(self.now_us).unwrap_or_default();
        let offset = self.zone.to_offset(now);
        let local = offset.to_datetime(now);
        let minutes = offset.seconds().abs() / 60;
        format!(
            "{:04}{:02}{:02}{:02}{:02}{:02}.{:03}{}{:02}{:02}",
            local.year(),
            local.month(),
            local.day(),
            local.hour(),
            local.minute(),
            local.second(),
            local.millisecond(),
            if offset.seconds() < 0 { '-' } else { '+' },
            minutes / 60,
            minutes % 60
        )
    }

    fn field(&self, reply: &mut Vec<u8>, raw: &[u8]) {
        reply.push(self.header.separators.field);
        reply.extend(raw);
    }

    /// Parts with a separator between them; empty ones at the end are left out.
    fn join(&self, reply: &mut Vec<u8>, separator: u8, parts: &[&str]) {
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                reply.push(separator);
            }
            self.text(reply, part);
        }
    }

    /// Our own text, escaped.
    fn text(&self, reply: &mut Vec<u8>, text: &str) {
        let marks = self.header.separators;
        for byte in text.bytes() {
            let sequence = match byte {
                b if b == marks.escape => b'E',
                b if b == marks.field => b'F',
                b if b == marks.component => b'S',
                b if b == marks.subcomponent => b'T',
                b if b == marks.repetition => b'R',
                b => {
                    reply.push(if b.is_ascii_control() { b' ' } else { b });
                    continue;
                }
            };
            reply.extend([marks.escape, sequence, marks.escape]);
        }
    }
}

/// An issue's location, taken apart: `OBX[2]-5[1].3`.
#[derive(Default)]
struct Place<'a> {
    segment: &'a str,
    occurrence: &'a str,
    field: &'a str,
    repetition: &'a str,
    component: &'a str,
}

impl<'a> Place<'a> {
    /// Empty for a location that is no segment, such as `byte 312`.
    fn parse(location: &'a str) -> Self {
        let (segment, field) = location.split_once('-').unwrap_or((location, ""));
        let (segment, occurrence) = counted(segment);
        if segment.len() != 3 || segment.contains(' ') {
            return Self::default();
        }
        let (field, component) = field.split_once('.').unwrap_or((field, ""));
        if field.is_empty() {
            return Self { segment, occurrence, ..Self::default() };
        }
        let (field, repetition) = counted(field);
        Self { segment, occurrence, field, repetition, component }
    }

    /// The parts of ERR-2, as far as they are known.
    fn parts(&self) -> Vec<&'a str> {
        let all = [self.segment, self.occurrence, self.field, self.repetition, self.component];
        let known = match (self.segment, self.field, self.component) {
            ("", _, _) => 0,
            (_, "", _) => 2,
            (_, _, "") if self.repetition == "1" => 3,
            (_, _, "") => 4,
            _ => 5,
        };
        all.into_iter().take(known).collect()
    }
}

/// `OBX[2]` is `OBX` and `2`; `PID` is `PID` and `1`.
fn counted(text: &str) -> (&str, &str) {
    match text.split_once('[') {
        Some((name, count)) => (name, count.trim_end_matches(']')),
        None => (text, "1"),
    }
}

/// HL7's table of error codes, with its own words.
fn table_0357(problem: &Issue) -> (&'static str, &'static str) {
    match problem.code.as_str() {
        "wrong-type" => ("200", "Unsupported message type"),
        "wrong-version" => ("203", "Unsupported version id"),
        "wrong-sender" | "wrong-receiver" => ("103", "Table value not found"),
        "control-id-missing" | "no-patient-identifier" => ("101", "Required field missing"),
        "conflict" => ("205", "Duplicate key identifier"),
        "unavailable" | "too-large" | "quarantined" => ("207", "Application internal error"),
        "several-messages" => ("100", "Segment sequence error"),
        "unreadable" if !problem.location.starts_with("MSH") => ("100", "Segment sequence error"),
        _ => ("102", "Data type error"),
    }
}
