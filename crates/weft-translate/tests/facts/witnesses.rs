//! What other converters make of the same messages: Microsoft's FHIR-Converter and CDC's ReportStream. Neither is the
//! truth. Where we say something else, the row below says why; a disagreement that is not listed fails, and so does a
//! listed one that is gone.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use weft_translate::translate;

use crate::common::{json, profile, shared};

/// What is compared: aspects, each with the values that a converter has for it.
type Aspects = BTreeMap<&'static str, BTreeSet<String>>;

/// Aspects of the resources of one message.
fn aspects<'a>(resources: impl IntoIterator<Item = &'a Value>) -> Aspects {
    let mut all = Aspects::new();
    for resource in resources {
        let mut add = |aspect, value: String| {
            if !value.is_empty() {
                all.entry(aspect).or_default().insert(value);
            }
        };
        match resource["resourceType"].as_str().unwrap_or_default() {
            "Patient" => {
                for identifier in list(&resource["identifier"]) {
                    add("identifier", text(&identifier["value"]));
                }
                for name in list(&resource["name"]) {
                    let given = list(&name["given"]).iter().map(text).collect::<Vec<_>>().join(" ");
                    add("name", format!("{} {given}", text(&name["family"])).to_uppercase());
                }
                add("birth", text(&resource["birthDate"]));
                add("gender", text(&resource["gender"]));
                add(
                    "deceased",
                    format!("{}{}", resource["deceasedBoolean"], instant(&resource["deceasedDateTime"]))
                        .replace("null", ""),
                );
                for address in list(&resource["address"]) {
                    add("postcode", text(&address["postalCode"]));
                }
                for telecom in list(&resource["telecom"]).iter().filter(|t| t["system"] == "email") {
                    add("email", text(&telecom["value"]));
                }
            }
            "Encounter" => {
                add("class", text(&resource["class"]["code"]));
                add("start", instant(&resource["period"]["start"]));
                add("end", instant(&resource["period"]["end"]));
                for identifier in list(&resource["identifier"]) {
                    add("visit", text(&identifier["value"]));
                }
            }
            "Observation" => add("observation", observation(resource)),
            "DiagnosticReport" => {
                add(
                    "report",
                    format!("{} {}", text(&resource["code"]["coding"][0]["code"]), text(&resource["status"])),
                );
            }
            "AllergyIntolerance" => add("allergy", text(&resource["code"]["coding"][0]["code"])),
            "Condition" => add("condition", text(&resource["code"]["coding"][0]["code"])),
            "RelatedPerson" => {
                for name in list(&resource["name"]) {
                    add("related", text(&name["family"]));
                }
            }
            _ => {}
        }
    }
    all
}

/// Code, value, unit and status.
fn observation(resource: &Value) -> String {
    let quantity = &resource["valueQuantity"];
    let value = match (&quantity["value"], &resource["valueString"]) {
        (Value::Number(number), _) => format!("{} {}", number.as_f64().unwrap(), text(&quantity["unit"])),
        (_, Value::String(string)) => string.clone(),
        _ => text(&resource["valueCodeableConcept"]["coding"][0]["code"]),
    };
    format!("{} {value} {}", text(&resource["code"]["coding"][0]["code"]), text(&resource["status"]))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().trim().to_owned()
}

/// Instants are equal whatever their offset; dates are as they stand.
fn instant(value: &Value) -> String {
    let text = text(value);
    text.parse::<Timestamp>().map_or(text, |instant| instant.to_string())
}

/// `FILE ASPECT: ours [..] theirs [..]` for every aspect in which both say something, and not the same.
fn disagreements(set: &str, types: &[&str], all_of: &[&str]) -> Option<BTreeMap<String, String>> {
    let profile = profile("");
    let mut found = BTreeMap::new();
    let expected: BTreeMap<String, Vec<u8>> = shared(set, ".expected.json")?.into_iter().collect();
    let mut compared = 0;
    for (name, bytes) in shared(set, ".hl7")? {
        let theirs = expected.get(&name.replace(".hl7", ".expected.json"));
        let Some(theirs) = theirs.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok()) else { continue };
        let translation = translate(Bytes::from(bytes), &profile, 0);
        if !types.contains(&translation.message_type.as_str()) {
            continue;
        }
        let ours: Vec<Value> = translation.message.facts.iter().map(json).collect();
        let (ours, theirs) = (aspects(&ours), aspects(list(&theirs["entry"]).iter().map(|entry| &entry["resource"])));
        for (aspect, theirs) in &theirs {
            let ours = ours.get(aspect).cloned().unwrap_or_default();
            compared += 1;
            let agree =
                if all_of.contains(aspect) { ours.is_subset(theirs) && !ours.is_empty() } else { ours == *theirs };
            if !agree {
                found.insert(format!("{name} {aspect}"), format!("ours {ours:?} theirs {theirs:?}"));
            }
        }
    }
    eprintln!("{set}: {compared} aspects compared, {} differ", found.len());
    Some(found)
}

fn check(set: &str, types: &[&str], all_of: &[&str], known: &[(&str, &str)]) {
    let Some(found) = disagreements(set, types, all_of) else { return };
    let matches = |row: &str, name: &str| row == name || row.strip_prefix('*').is_some_and(|end| name.ends_with(end));
    let news: Vec<_> = found.iter().filter(|(name, _)| !known.iter().any(|(row, _)| matches(row, name))).collect();
    assert!(news.is_empty(), "disagreements without a reason: {news:#?}");
    let gone: Vec<_> = known.iter().filter(|(row, _)| !found.keys().any(|name| matches(row, name))).collect();
    assert!(gone.is_empty(), "listed disagreements that are gone: {gone:#?}");
}

const TYPES: [&str; 13] = [
    "ADT^A01", "ADT^A02", "ADT^A03", "ADT^A04", "ADT^A05", "ADT^A08", "ADT^A11", "ADT^A12", "ADT^A13", "ADT^A28",
    "ADT^A31", "ADT^A40", "ORU^R01",
];

#[test]
fn microsoft() {
    let known = [
        ("*.hl7 name", "they take XPN.15 (called by) for a given name, and make patients of ARV, GT1 and IN1 names"),
        ("*.hl7 related", "they make next of kin of guarantors (GT1) and of the insured (IN1)"),
        (
            "*.hl7 observation",
            "OBX in an ADT is not always an observation, and PDA is no result: both are not translated",
        ),
        ("ADT-A02-01.hl7 condition", "PDA, which has the cause of death, is not translated"),
        ("ADT-A13-01.hl7 condition", "PDA, which has the cause of death, is not translated"),
        ("LAB-ORU-1.hl7 observation", "they say unknown for OBX-11 = I, specimen in lab, results pending: registered"),
    ];
    check("hl7v2/microsoft", &TYPES, &["identifier"], &known);
}

#[test]
fn reportstream() {
    let known = [
        ("*.hl7 related", "they make people of contact persons of organisations (NK1-30) and of participants (PRT)"),
        ("*.hl7 observation", "a result without OBX-11 has the status of its report; they say unknown"),
        ("obx/OBX-to-Observation-sn-as-range-value.hl7 observation", "SN.1 that is no comparator: kept as text"),
        (
            "obx/OBX-to-Observation-sn-as-ratio-value-division.hl7 observation",
            "SN.1 that is no comparator: kept as text",
        ),
        ("obx/OBX-to-Observation-vr-value.hl7 observation", "a type that HL7 does not have is kept as written"),
    ];
    check("hl7v2/reportstream", &TYPES, &["identifier"], &known);
}
