//! Next of kin and other people around a patient (NK1). The segments are numbered places: who stands in place 1 now has
//! taken it from who stood there before. `NK1|""|` empties them all.

use std::borrow::Cow;

use fhir_sdk::r4b::{resources::RelatedPerson, types::CodeableConcept};
use weft_model::proto::event::LineKind;

use super::{
    coded::{Coded, concept},
    contact::{addresses, contact_point, fhir_address, telecoms},
    demographics::fhir_gender,
    ids::Unique,
    patient::{gender, identifier, identifier_uri, subject},
    people::{human_name, names, spoken},
    telling::{Built, Facts, Telling, joined, line},
    times,
};
use crate::hl7v2::{Field, Segment};

const ROLE: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";
const CONTACT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/v2-0131";
/// How many places `NK1|""|` empties: no feed was seen to fill more.
const PLACES: usize = 5;

/// Tells of everybody around the patient, or takes them back where where the patient is must not be known.
pub(crate) fn tell(facts: &mut Facts<'_>, hidden: bool) {
    let mut ids = Unique::default();
    for nk1 in facts.message.all("NK1") {
        if nk1.field(1).is_null() {
            for place in 1..=PLACES {
                withdraw(facts, nk1, format!("next-of-kin-{place}"));
            }
            continue;
        }
        let numbered = nk1.field(1).text().filter(|n| n.len() < 4 && n.bytes().all(|b| b.is_ascii_digit()));
        let place = numbered.map_or_else(|| nk1.occurrence().to_string(), |n| n.trim_start_matches('0').to_owned());
        let id = ids.number(format!("next-of-kin-{}", if place.is_empty() { "0" } else { &place }));
        let named = nk1.field(2).repetitions().any(|r| !r.is_empty()) || nk1.field(13).text().is_some();
        if hidden || !named {
            if hidden || nk1.field(2).is_null() {
                withdraw(facts, nk1, id);
            }
            continue;
        }
        tell_one(facts, nk1, id);
    }
}

fn withdraw(facts: &mut Facts<'_>, nk1: Segment<'_>, id: String) {
    let mut telling = Telling::new("RelatedPerson", id.clone(), nk1.place());
    telling.withdrawn = true;
    telling.occurred = facts.context.occurred;
    telling.line = Some(line(LineKind::RelatedPerson, "Next of kin"));
    let resource = subject().and_then(|patient| RelatedPerson::builder().patient(patient).build()).map(|mut person| {
        person.id = Some(id);
        person.active = Some(false);
        person
    });
    facts.tell(telling, resource);
}

fn tell_one(facts: &mut Facts<'_>, nk1: Segment<'_>, id: String) {
    let organisation = facts.context.profile.organisation();
    let mut telling = Telling::new("RelatedPerson", id.clone(), nk1.place());
    telling.occurred = facts.context.occurred;
    let names = names(nk1.field(2));
    let name = names.first().map(spoken).or_else(|| nk1.field(13).text().map(Cow::into_owned)).unwrap_or_default();
    let relationship = coded(nk1.field(3));
    let what = relationship.as_ref().map(|coded| relationship_name(coded).to_owned());
    let mut phones = telecoms(nk1.field(5), "home");
    phones.extend(telecoms(nk1.field(6), "work"));
    phones.extend(telecoms(nk1.field(40), ""));
    let mut line = line(LineKind::RelatedPerson, format!("Next of kin: {name}"));
    let phone = phones.first().map(|phone| phone.value.clone());
    line.detail = joined(what.as_deref().into_iter().chain(phone.as_deref()), ", ");
    line.code = relationship.as_ref().and_then(Coded::line_code);
    line.status = "active".to_owned();
    telling.line = Some(line);
    let (from, to) = (facts.time(nk1.field(8)), facts.time(nk1.field(9)));
    let born = facts.time(nk1.field(16));
    let resource = resource(nk1, id, organisation).and_then(|mut person| {
        for name in &names {
            person.name.push(Some(human_name(name)?));
        }
        for phone in &phones {
            person.telecom.push(Some(contact_point(phone)?));
        }
        person.period = times::period(from.as_ref(), to.as_ref())?;
        person.birth_date = born.as_ref().map(times::day_of).as_ref().and_then(times::date);
        Ok(person)
    });
    facts.tell(telling, resource);
}

fn resource(nk1: Segment<'_>, id: String, organisation: &str) -> Built<RelatedPerson> {
    let mut person = RelatedPerson::builder().patient(subject()?).build()?;
    person.id = Some(id);
    for field in [3, 7] {
        if let Some(coded) = coded(nk1.field(field)) {
            person.relationship.push(Some(relationship(&coded, organisation)?));
        }
    }
    for address in addresses(nk1.field(4)) {
        person.address.push(Some(fhir_address(&address)?));
    }
    person.gender = nk1.field(15).text().and_then(|code| gender(fhir_gender(&code)?));
    for field in [12, 33] {
        for cx in nk1.field(field).repetitions().filter(|cx| !cx.component(1).is_empty()) {
            let system = identifier_uri(organisation, &cx.component(4));
            person.identifier.push(Some(identifier(system, &cx.component(1))?));
        }
    }
    Ok(person)
}

fn coded(field: Field<'_>) -> Option<Coded<'_>> {
    field.repetitions().find_map(|r| Coded::read(&r))
}

/// Table 0063 in FHIR's terms, beside the code as sent.
fn relationship(coded: &Coded<'_>, organisation: &str) -> Built<CodeableConcept> {
    let (system, code) = match coded.code() {
        "SEL" => (ROLE, "ONESELF"),
        "SPO" => (ROLE, "SPS"),
        "DOM" => (ROLE, "SIGOTHR"),
        "CHD" => (ROLE, "CHILD"),
        "GCH" => (ROLE, "GRNDCHILD"),
        "NCH" => (ROLE, "NCHILD"),
        "SCH" => (ROLE, "STPCHLD"),
        "FCH" => (ROLE, "CHLDFOST"),
        "PAR" => (ROLE, "PRN"),
        "MTH" => (ROLE, "MTH"),
        "FTH" => (ROLE, "FTH"),
        "GRP" => (ROLE, "GRPRN"),
        "EXF" => (ROLE, "EXT"),
        "SIB" => (ROLE, "SIB"),
        "BRO" => (ROLE, "BRO"),
        "SIS" => (ROLE, "SIS"),
        "FND" => (ROLE, "FRND"),
        "EMR" => (CONTACT_ROLE, "E"),
        "EMC" => (CONTACT_ROLE, "C"),
        "UNK" => (CONTACT_ROLE, "U"),
        "OTH" => (CONTACT_ROLE, "O"),
        _ => return coded.concept(organisation, None),
    };
    let mut known = concept(system, code, relationship_name(coded))?;
    known.coding.append(&mut coded.concept(organisation, None)?.coding);
    Ok(known)
}

fn relationship_name<'c>(coded: &'c Coded<'_>) -> &'c str {
    match coded.code() {
        "SEL" => "self",
        "SPO" => "spouse",
        "DOM" => "life partner",
        "CHD" | "NCH" => "child",
        "GCH" => "grandchild",
        "SCH" => "stepchild",
        "FCH" => "foster child",
        "PAR" => "parent",
        "MTH" => "mother",
        "FTH" => "father",
        "CGV" => "care giver",
        "GRD" => "guardian",
        "GRP" => "grandparent",
        "EXF" => "extended family",
        "SIB" => "sibling",
        "BRO" => "brother",
        "SIS" => "sister",
        "FND" => "friend",
        "EMC" => "emergency contact",
        "EMR" => "employer",
        "UNK" => "unknown",
        "OTH" => "other",
        _ => coded.name(),
    }
}
