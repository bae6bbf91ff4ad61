//! Whether a message is one that its feed may send: sender, receiver, type and version.

use weft_model::proto::event::Issue;

use crate::{hl7v2::Segment, issue::error, profile::Profile};

/// The types of which facts are made, and what a feed accepts that lists none.
const TRANSLATED: [&str; 15] = [
    "ADT^A01", "ADT^A02", "ADT^A03", "ADT^A04", "ADT^A05", "ADT^A08", "ADT^A11", "ADT^A12", "ADT^A13", "ADT^A28",
    "ADT^A31", "ADT^A37", "ADT^A40", "ADT^A43", "ORU^R01",
];

/// Adds an issue of severity error for each rule of the feed that the header breaks.
pub(crate) fn check(msh: Segment<'_>, message_type: &str, version: &str, profile: &Profile, issues: &mut Vec<Issue>) {
    let accept = &profile.accept;
    for (field, allowed, code, text) in [
        (3, &accept.sending_applications, "wrong-sender", "the sending application is not one that the feed accepts"),
        (4, &accept.sending_facilities, "wrong-sender", "the sending facility is not one that the feed accepts"),
        (
            5,
            &accept.receiving_applications,
            "wrong-receiver",
            "the receiving application is not one that the feed accepts",
        ),
        (6, &accept.receiving_facilities, "wrong-receiver", "the receiving facility is not one that the feed accepts"),
    ] {
        if !allowed.is_empty() && !is_among(allowed, &msh.field(field).text().unwrap_or_default()) {
            issues.push(error(code, msh.location(field), text));
        }
    }
    check_type(message_type, profile, issues);
    if !accept.versions.is_empty() && !is_among(&accept.versions, version) {
        issues.push(error("wrong-version", "MSH-12", "the version is not one that the feed accepts"));
    } else if !version.is_empty() && !version.starts_with("2.") && version != "2" {
        issues.push(error("wrong-version", "MSH-12", "the version is not one of HL7 version 2"));
    }
}

fn check_type(message_type: &str, profile: &Profile, issues: &mut Vec<Issue>) {
    let listed = &profile.accept.message_types;
    let translated = TRANSLATED.contains(&message_type);
    if message_type.is_empty() {
        issues.push(error("wrong-type", "MSH-9", "the message has no type"));
    } else if !listed.is_empty() && !is_among(listed, message_type) {
        issues.push(error("wrong-type", "MSH-9", "the message type is not one that the feed accepts"));
    } else if !translated && listed.is_empty() {
        issues.push(error("wrong-type", "MSH-9", "the message type is not one that is translated"));
    } else if !translated {
        issues.push(error("type-not-translated", "MSH-9", "the feed accepts this type, which is not translated yet"));
    }
}

fn is_among(allowed: &[String], value: &str) -> bool {
    allowed.iter().any(|a| a == value)
}
