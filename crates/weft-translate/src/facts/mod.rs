//! What a message says: its facts (FHIR R4 resources, each with the line that a timeline shows), the person as it
//! describes them, and merges. Follows the rows of HL7's v2-to-FHIR mapping, and UK practice where that differs.
//!
//! A file for each segment or resource, and one for each family of data types. A fact's identifier and resource are made
//! of what is said and never of when or in which message it was said, so that the same thing told again is the same fact.
//! A part that cannot be read is left out with an issue; the others stand.

mod allergy;
mod coded;
mod condition;
mod contact;
mod demographics;
mod encounter;
mod fhir;
mod ids;
mod json;
mod merge;
mod observation;
mod patient;
mod people;
mod place;
mod practice;
mod quantity;
mod related_person;
mod report;
mod telling;
mod times;
mod unlink;
mod value;
mod visit;

use weft_model::proto::event::MessageReceived;

use self::{
    demographics::{location_hidden, read_person},
    telling::Facts,
    visit::{Visit, is_movement},
};
use crate::{
    context::Context,
    hl7v2::Message,
    identifiers::read_pid3,
    issue::{error, warning},
};

/// Reads the facts of `message` into `received`: its record, demographics, facts, what it says of other records, and issues.
pub(crate) fn translate_facts(message: &Message<'_>, context: &Context<'_>, received: &mut MessageReceived) {
    let mut facts = Facts::new(message, context);
    let mut identified = read_pid3(message, context.profile);
    facts.issues.append(&mut identified.issues);
    if context.trigger == "A40" {
        merge::read(&mut facts, &mut identified, received);
    } else if context.trigger == "A43" {
        unlink::read_move(&mut facts, &mut identified, received);
    } else if context.trigger == "A37" {
        unlink::read(&mut facts, &identified, received);
    } else if let Some(place) = another_patient(message) {
        let text = "the message speaks of several patients";
        facts.issues.push(error("several-patients", place, text));
    }
    let hidden = location_hidden(&facts);
    let person = read_person(&mut facts, &identified, hidden);
    if let (Some(pid), Some(person)) = (message.first("PID"), &person) {
        patient::tell(&mut facts, pid, identified.record.as_ref(), person);
        practice::tell(&mut facts, person.practice.as_ref(), hidden == Some(true));
    }
    let visit = visit(&mut facts);
    match (context.trigger, context.message_type.starts_with("ORU")) {
        (_, true) => report::tell(&mut facts, visit.as_ref()),
        ("A37" | "A40" | "A43", _) => {}
        _ => {
            if let (Some(pv1), Some(visit)) = (message.first("PV1"), &visit) {
                encounter::tell(&mut facts, pv1, visit);
            }
            condition::tell(&mut facts, visit.as_ref());
        }
    }
    related_person::tell(&mut facts, hidden == Some(true));
    allergy::tell(&mut facts);
    received.record = identified.record;
    received.demographics = person.map(|person| person.demographics);
    received.facts = facts.told;
    received.issues.append(&mut facts.issues);
}

/// The visit of PV1, if the message is about one.
fn visit(facts: &mut Facts<'_>) -> Option<Visit> {
    let pv1 = facts.message.first("PV1");
    let visit = pv1.and_then(|pv1| Visit::read(facts, pv1));
    if is_movement(facts.context.trigger) && visit.is_none() {
        let text = "the message is about a visit and does not say which";
        facts.issues.push(warning("visit-missing", "PV1", text));
    }
    visit
}

/// Place of a second PID that names another patient than the first.
fn another_patient(message: &Message<'_>) -> Option<String> {
    let first = message.first("PID")?.field(3).raw();
    message.all("PID").find(|pid| pid.field(3).raw() != first).map(|pid| pid.place())
}
