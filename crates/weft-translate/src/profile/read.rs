//! The keys of a registration file and their rules.

use std::{collections::HashMap, net::SocketAddr};

use jiff::tz::{TimeZone, TimeZoneDatabase};
use toml::de::DeTable;
use weft_model::{
    OdsCode,
    proto::event::{Code, Issue},
};

use super::{
    Accept, AckCode, Acknowledge, Codes, CxRule, Identifiers, Listener, Profile, Tls,
    document::{Document, Section, Text},
};
use crate::hl7v2::CharacterSet;

const ROOT_KEYS: [&str; 13] = [
    "feed",
    "organisation",
    "description",
    "agreement",
    "format",
    "zone",
    "character_set",
    "demo",
    "mllp",
    "accept",
    "identifiers",
    "codes",
    "acknowledge",
];
const MLLP_KEYS: [&str; 5] = ["listen", "tls", "message_bytes_max", "idle_timeout_s", "connections_max"];
const ACCEPT_KEYS: [&str; 6] = [
    "sending_applications",
    "sending_facilities",
    "receiving_applications",
    "receiving_facilities",
    "message_types",
    "versions",
];
const ACKNOWLEDGE_KEYS: [&str; 6] = ["mode", "wrong_sender", "wrong_type", "unreadable", "conflict", "unavailable"];

const CHARACTER_SETS: [(&str, CharacterSet); 4] = [
    ("unicode-utf-8", CharacterSet::Utf8),
    ("8859-1", CharacterSet::Latin1),
    ("windows-1252", CharacterSet::Windows1252),
    ("ascii", CharacterSet::Ascii),
];
const TLS: [(&str, Tls); 3] = [("off", Tls::Off), ("server", Tls::Server), ("mutual", Tls::Mutual)];
const ACK_CODES: [(&str, AckCode); 3] = [("AA", AckCode::Accept), ("AE", AckCode::Error), ("AR", AckCode::Reject)];
const SEXES: [(&str, &str); 4] = [("male", "male"), ("female", "female"), ("other", "other"), ("unknown", "unknown")];
/// HL7 v3 ActEncounterCode.
const PATIENT_CLASSES: [(&str, &str); 11] = [
    ("IMP", "IMP"),
    ("ACUTE", "ACUTE"),
    ("NONAC", "NONAC"),
    ("AMB", "AMB"),
    ("EMER", "EMER"),
    ("OBSENC", "OBSENC"),
    ("PRENC", "PRENC"),
    ("SS", "SS"),
    ("HH", "HH"),
    ("FLD", "FLD"),
    ("VR", "VR"),
];

/// Reads a whole file, reporting every mistake.
pub(super) fn profile(text: &str) -> Result<Profile, Vec<Issue>> {
    let mut document = Document::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        document.wrong_syntax(error.span().map_or(0, |span| span.start), error.message());
    }
    if !errors.is_empty() {
        // What the recovered rest lacks may be what could not be read.
        return Err(document.into_mistakes());
    }
    let read = root(&mut document, table.get_ref());
    let mistakes = document.into_mistakes();
    match read {
        Some(profile) if mistakes.is_empty() => Ok(profile),
        _ => Err(mistakes),
    }
}

/// `None` only where something required is missing, which is an issue then.
fn root<'i>(document: &mut Document<'i>, table: &DeTable<'i>) -> Option<Profile> {
    let root = document.root(table, &ROOT_KEYS);
    let feed = document.required(&root, "feed").filter(|text| is_feed(document, text));
    let organisation = document.required(&root, "organisation").and_then(|text| ods_code(document, &text));
    let description = document.string(&root, "description");
    let agreement = document.string(&root, "agreement");
    document.choice(&root, "format", &[("hl7v2", ())]);
    let zone = match document.string(&root, "zone") {
        Some(text) => zone(document, &text),
        None => bundled("Europe/London"),
    };
    let character_set = document.choice(&root, "character_set", &CHARACTER_SETS);
    let demo = document.boolean(&root, "demo");
    let listener = mllp(document, &root);
    let accept = accept(document, &root);
    let identifiers = identifiers(document, &root);
    let codes = codes(document, &root);
    let acknowledge = acknowledge(document, &root);
    let owned = |text: Option<Text<'_>>| text.map(|text| text.value.to_owned()).unwrap_or_default();
    Some(Profile {
        feed: feed?.value.to_owned(),
        organisation: organisation?.as_str().to_owned(),
        description: owned(description),
        agreement: owned(agreement),
        zone: zone?,
        character_set: character_set.unwrap_or(CharacterSet::Utf8),
        demo: demo.unwrap_or_default(),
        listener: listener?,
        accept,
        identifiers,
        codes,
        acknowledge,
    })
}

fn is_feed(document: &mut Document<'_>, text: &Text<'_>) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let good = (2..=40).contains(&text.value.len()) && text.value.bytes().all(plain);
    if !good {
        let wanted = "2 to 40 lower-case letters, digits and hyphens are wanted here";
        document.wrong(&text.place, "wrong-value", wanted);
    }
    good
}

fn ods_code(document: &mut Document<'_>, text: &Text<'_>) -> Option<OdsCode> {
    let read = OdsCode::parse(text.value).ok().filter(|_| text.value.trim() == text.value);
    if read.is_none() {
        document.wrong(&text.place, "wrong-ods-code", "an ODS code of 3 to 10 letters and digits is wanted here");
    }
    read
}

fn zone(document: &mut Document<'_>, text: &Text<'_>) -> Option<TimeZone> {
    let zone = bundled(text.value);
    if zone.is_none() {
        document.wrong(&text.place, "wrong-zone", "a time zone such as Europe/London is wanted here");
    }
    zone
}

/// From the zones compiled into the program: every machine reads the same times.
fn bundled(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

fn mllp<'t, 'i>(document: &mut Document<'i>, root: &Section<'t, 'i>) -> Option<Listener> {
    let Some(section) = document.section(root, "mllp", &MLLP_KEYS) else {
        if !root.keys().any(|key| key == "mllp") {
            document.wrong(&root.place_of("mllp"), "key-missing", "a table [mllp] with the key listen is required");
        }
        return None;
    };
    let listen = document.required(&section, "listen").and_then(|text| document.address(&text));
    let tls = document.choice(&section, "tls", &TLS).unwrap_or(Tls::Off);
    let bytes = document.integer(&section, "message_bytes_max", 1024..=67_108_864).unwrap_or(1_048_576);
    let idle_timeout_s = document.integer(&section, "idle_timeout_s", 1..=86_400).unwrap_or(300);
    let connections = document.integer(&section, "connections_max", 1..=10_000).unwrap_or(256);
    let listen: SocketAddr = listen?;
    Some(Listener {
        listen,
        tls,
        message_bytes_max: usize::try_from(bytes).unwrap_or(usize::MAX),
        idle_timeout_s,
        connections_max: usize::try_from(connections).unwrap_or(usize::MAX),
    })
}

fn accept<'t, 'i>(document: &mut Document<'i>, root: &Section<'t, 'i>) -> Accept {
    let section = document.section(root, "accept", &ACCEPT_KEYS);
    let mut list = |key: &str, good: fn(&str) -> bool, wanted: &str| -> Vec<String> {
        let Some(section) = &section else { return Vec::new() };
        let mut values = Vec::new();
        for text in document.strings(section, key) {
            if good(text.value) {
                values.push(text.value.to_owned());
            } else {
                document.wrong(&text.place, "wrong-value", wanted);
            }
        }
        values
    };
    let any: fn(&str) -> bool = |_| true;
    Accept {
        sending_applications: list("sending_applications", any, ""),
        sending_facilities: list("sending_facilities", any, ""),
        receiving_applications: list("receiving_applications", any, ""),
        receiving_facilities: list("receiving_facilities", any, ""),
        message_types: list("message_types", is_message_type, "a type such as ADT^A01 is wanted here"),
        versions: list("versions", is_version, "a version such as 2.3 or 2.5.1 is wanted here"),
    }
}

fn is_message_type(text: &str) -> bool {
    let code = |code: &str| {
        code.len() == 3
            && code.starts_with(|c: char| c.is_ascii_uppercase())
            && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    text.split_once('^').is_some_and(|(kind, trigger)| code(kind) && code(trigger))
}

fn is_version(text: &str) -> bool {
    let mut parts = text.split('.');
    let digit = |part: &str| part.len() == 1 && part.bytes().all(|b| b.is_ascii_digit());
    parts.next() == Some("2")
        && parts.next().is_some_and(digit)
        && parts.next().is_none_or(digit)
        && parts.next().is_none()
}

fn identifiers<'t, 'i>(document: &mut Document<'i>, root: &Section<'t, 'i>) -> Identifiers {
    let none = Identifiers { local: None, system: None, nhs_number: Vec::new() };
    let Some(section) = document.section(root, "identifiers", &["local", "system", "nhs_number"]) else { return none };
    let local = document.section(&section, "local", &["authority", "type"]);
    let local = local.and_then(|rule| cx_rule(document, &rule));
    let system = document.string(&section, "system").map(|text| text.value.to_owned());
    let rules = document.sections(&section, "nhs_number", &["authority", "type"]);
    let nhs_number = rules.iter().filter_map(|rule| cx_rule(document, rule)).collect();
    Identifiers { local, system, nhs_number }
}

fn cx_rule<'t, 'i>(document: &mut Document<'i>, rule: &Section<'t, 'i>) -> Option<CxRule> {
    let authority = document.string(rule, "authority").map(|text| text.value.to_owned());
    let kind = document.string(rule, "type").map(|text| text.value.to_owned());
    if rule.keys().next().is_none() {
        document.wrong(rule.place(), "key-missing", "authority, type or both are required");
    }
    (authority.is_some() || kind.is_some()).then_some(CxRule { authority, kind })
}

fn codes<'t, 'i>(document: &mut Document<'i>, root: &Section<'t, 'i>) -> Codes {
    let mut codes = Codes { sex: HashMap::new(), patient_class: HashMap::new(), observation: HashMap::new() };
    let Some(section) = document.section(root, "codes", &["sex", "patient_class", "observation"]) else { return codes };
    codes.sex = code_map(document, &section, "sex", &SEXES);
    codes.patient_class = code_map(document, &section, "patient_class", &PATIENT_CLASSES);
    if let Some(map) = document.open_section(&section, "observation") {
        for source in map.keys() {
            let Some(entry) = document.section(&map, source, &["system", "code", "display"]) else { continue };
            let system = document.required(&entry, "system").map(|text| text.value.to_owned());
            let code = document.required(&entry, "code").map(|text| text.value.to_owned());
            let display = document.string(&entry, "display").map(|text| text.value.to_owned());
            if let (Some(system), Some(code)) = (system, code) {
                let display = display.unwrap_or_default();
                codes.observation.insert(source.to_owned(), Code { system, code, display });
            }
        }
    }
    codes
}

fn code_map<'t, 'i>(
    document: &mut Document<'i>,
    section: &Section<'t, 'i>,
    key: &str,
    canonical: &[(&str, &str)],
) -> HashMap<String, String> {
    let Some(map) = document.open_section(section, key) else { return HashMap::new() };
    let mut read = HashMap::new();
    for source in map.keys() {
        let chosen = document.string(&map, source).and_then(|text| document.chosen(&text, canonical));
        if let Some(code) = chosen {
            read.insert(source.to_owned(), code.to_owned());
        }
    }
    read
}

fn acknowledge<'t, 'i>(document: &mut Document<'i>, root: &Section<'t, 'i>) -> Acknowledge {
    let mut table = Acknowledge {
        enhanced: false,
        wrong_sender: AckCode::Reject,
        wrong_type: AckCode::Reject,
        unreadable: AckCode::Error,
        conflict: AckCode::Error,
        unavailable: AckCode::Error,
    };
    let Some(section) = document.section(root, "acknowledge", &ACKNOWLEDGE_KEYS) else { return table };
    let mode = document.choice(&section, "mode", &[("original", false), ("enhanced", true)]);
    table.enhanced = mode.unwrap_or_default();
    for (key, code) in [
        ("wrong_sender", &mut table.wrong_sender),
        ("wrong_type", &mut table.wrong_type),
        ("unreadable", &mut table.unreadable),
        ("conflict", &mut table.conflict),
    ] {
        if let Some(chosen) = document.choice(&section, key, &ACK_CODES) {
            *code = chosen;
        }
    }
    // AA would be an acknowledgement of what was not stored.
    if let Some(chosen) = document.choice(&section, "unavailable", &ACK_CODES[1..]) {
        table.unavailable = chosen;
    }
    table
}
