//! What the tests share: profiles, messages, and facts in a form to look at.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use fhir_sdk::r4b::resources::Resource;
use serde_json::Value;
use weft_model::{
    When,
    proto::event::{Fact, MessageReceived},
};
use weft_translate::{Profile, Translation, translate};

/// A profile with these lines after its required keys.
pub(crate) fn profile(tables: &str) -> Profile {
    let text = format!("feed = \"ryj-pas\"\norganisation = \"RYJ\"\n[mllp]\nlisten = \"127.0.0.1:0\"\n{tables}");
    Profile::parse(&text).unwrap()
}

/// Segments, one a line, as the wire has them.
pub(crate) fn wire(text: &str) -> String {
    text.lines().map(str::trim_start).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\r")
}

pub(crate) fn told(text: &str) -> Translation {
    told_by(&profile(""), text)
}

pub(crate) fn told_by(profile: &Profile, text: &str) -> Translation {
    translate(Bytes::from(wire(text)), profile, 0)
}

/// An ADT message of `event` with these segments after MSH and EVN.
pub(crate) fn adt(event: &str, segments: &str) -> String {
    format!(
        "MSH|^~\\&|PAS|RYJ|ROUTE|ROUTE|20240501103100||ADT^{event}|C1|P|2.4\n\
         EVN||20240501103000||||20240501102500\n{segments}"
    )
}

/// An ORU^R01 with these segments after MSH.
pub(crate) fn oru(segments: &str) -> String {
    format!("MSH|^~\\&|LAB|RYJ|ROUTE|ROUTE|20240501103100||ORU^R01|C1|P|2.4\nPID|||A1^^^RYJ^MR\n{segments}")
}

pub(crate) fn json(fact: &Fact) -> Value {
    serde_json::from_slice(&fact.resource).unwrap()
}

/// The fact of this type and identifier.
pub(crate) fn fact<'a>(message: &'a MessageReceived, kind: &str, id: &str) -> &'a Fact {
    let found = message.facts.iter().find(|fact| fact.resource_type == kind && fact.id == id);
    found.unwrap_or_else(|| panic!("no {kind} {id} in:\n{}", short(message)))
}

/// Reads the resource strictly, and holds that nothing of it was lost in the reading. Numbers are equal as numbers.
pub(crate) fn read_strictly(name: &str, fact: &Fact) {
    let read: Resource = serde_json::from_slice(&fact.resource).unwrap_or_else(|error| {
        panic!("{name}: {} {} is no resource of FHIR R4: {error}", fact.resource_type, fact.id)
    });
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(in_doubles(written), in_doubles(json(fact)), "{name}: {}", fact.id);
    assert_eq!(json(fact)["resourceType"], fact.resource_type.as_str(), "{name}");
    let id = json(fact)["id"].as_str().unwrap_or_default().to_owned();
    let good = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    assert!(good, "{name}: {id:?} is no identifier of FHIR");
    let references = references(&json(fact));
    assert!(references.iter().all(|r| r == "Patient/patient" || is_local(r)), "{name}: {references:?}");
}

fn is_local(reference: &str) -> bool {
    reference.starts_with("Encounter/") || reference.starts_with("Observation/")
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(object) => {
            let own = object.get("reference").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(object.values().flat_map(references)).collect()
        }
        Value::Array(array) => array.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

fn in_doubles(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(array) => array.into_iter().map(in_doubles).collect(),
        Value::Object(object) => object.into_iter().map(|(key, value)| (key, in_doubles(value))).collect(),
        other => other,
    }
}

/// Facts, issues and the rest of a message, a few lines each.
pub(crate) fn short(message: &MessageReceived) -> String {
    let mut text = String::new();
    if let Some(record) = &message.record {
        writeln!(text, "record {} {} {}", record.organisation, record.system, record.value).unwrap();
    }
    for fact in &message.facts {
        let withdrawn = if fact.withdrawn { " WITHDRAWN" } else { "" };
        let (occurred, recorded) = (time(fact.occurred), time(fact.recorded));
        let (kind, id, location) = (&fact.resource_type, &fact.id, &fact.location);
        writeln!(text, "{kind} {id}{withdrawn} <{location}> occurred {occurred} recorded {recorded}").unwrap();
        if let Some(line) = &fact.line {
            let kind = line.kind().as_str_name();
            let code = line.code.as_ref().map(|c| format!(" {}|{}", c.system, c.code)).unwrap_or_default();
            let (title, detail, status, visit) = (&line.title, &line.detail, &line.status, &line.encounter);
            writeln!(text, "    {kind} {title} | {detail} | {status} {visit}{code}").unwrap();
        }
    }
    if let Some(merge) = &message.merge {
        let retired = merge.retired.as_ref().unwrap();
        writeln!(text, "merge {} {} <{}>", retired.system, retired.value, merge.location).unwrap();
    }
    for (word, other) in [("unlinked", &message.unlinked), ("moved", &message.moved)] {
        if let Some(other) = other {
            let record = other.record.as_ref().unwrap();
            writeln!(text, "{word} {} {} <{}>", record.system, record.value, other.location).unwrap();
        }
    }
    for issue in &message.issues {
        writeln!(text, "{} {} {}", issue.severity().as_str_name(), issue.code, issue.location).unwrap();
    }
    if !message.reason.is_empty() {
        writeln!(text, "quarantined: {}", message.reason).unwrap();
    }
    text
}

fn time(when: Option<When>) -> String {
    when.map_or_else(|| "-".to_owned(), |when| when.to_display().unwrap())
}

/// Files of a shared set whose names end so; `None` where the set is absent, which fails if `WEFT_REQUIRE_SHARED=1`.
pub(crate) fn shared(set: &str, ending: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let root = weft_testkit::shared(set)?;
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    files.retain(|path| path.to_string_lossy().ends_with(ending));
    let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
    Some(files.iter().map(|path| (name(path), fs::read(path).unwrap())).collect())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

/// The messages of simhospital's file.
pub(crate) fn simhospital() -> Option<Vec<String>> {
    let files = shared("hl7v2/simhospital", ".out")?;
    let text = files.into_iter().map(|(_, bytes)| String::from_utf8(bytes).unwrap()).collect::<String>();
    Some(text.split("\n\n").map(|m| m.trim().to_owned()).filter(|m| m.starts_with("MSH")).collect())
}
