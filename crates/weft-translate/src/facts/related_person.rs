//! Next of kin and other people around a patient (NK1). The segments are numbered places: who stands in place 1 now has
//! taken it from who stood there before. `NK1|""|` empties them all.

use std::borrow::Cow;

use weft_model::proto::event::LineKind;

use super::{
    coded::{Coded, concept},
    contact::{addresses, contact_point, fhir_address, telecoms},
    demographics::fhir_gender,
    fhir::{CodeableConcept, Identifier, RelatedPerson},
    ids::Unique,
    patient::{gender, identifier, identifier_uri, subject},
    people::{human_name, names, spoken},
    telling::{Facts, Telling, joined, line},
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
    let gone =
        RelatedPerson { id: Some(id.into()), active: Some(false), patient: subject(), ..RelatedPerson::default() };
    facts.tell(telling, &gone);
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
    let addresses = addresses(nk1.field(4));
    let resource = RelatedPerson {
        id: Some(id.into()),
        identifier: numbers(nk1, organisation),
        active: None,
        patient: subject(),
        relationship: [3, 7]
            .into_iter()
            .filter_map(|field| coded(nk1.field(field)))
            .map(|coded| fhir_relationship(&coded, organisation))
            .collect(),
        name: names.iter().map(human_name).collect(),
        telecom: phones.iter().map(contact_point).collect(),
        gender: nk1.field(15).text().and_then(|code| gender(fhir_gender(&code)?)),
        birth_date: born.as_ref().map(times::day_of).as_ref().and_then(times::date),
        address: addresses.iter().map(fhir_address).collect(),
        period: times::period(from.as_ref(), to.as_ref()),
    };
    facts.tell(telling, &resource);
}

/// NK1-12 and NK1-33.
fn numbers<'a>(nk1: Segment<'a>, organisation: &str) -> Vec<Identifier<'a>> {
    let numbers = [12, 33].into_iter().flat_map(|field| nk1.field(field).repetitions());
    let numbers = numbers.filter(|cx| !cx.component(1).is_empty());
    numbers
        .map(|cx| {
            let authority = cx.component(4);
            identifier(identifier_uri(organisation, &authority).into_owned(), cx.component(1))
        })
        .collect()
}

fn coded(field: Field<'_>) -> Option<Coded<'_>> {
    field.repetitions().find_map(|r| Coded::read(&r))
}

/// Table 0063 in FHIR's terms, beside the code as sent.
fn fhir_relationship<'a>(coded: &Coded<'a>, organisation: &str) -> CodeableConcept<'a> {
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
    let mut known = concept(system, code, known_relationship(coded.code()).unwrap_or_default());
    known.coding.append(&mut coded.concept(organisation, None).coding);
    known
}

fn relationship_name<'c>(coded: &'c Coded<'_>) -> &'c str {
    known_relationship(coded.code()).unwrap_or_else(|| coded.name())
}

fn known_relationship(code: &str) -> Option<&'static str> {
    Some(match code {
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
        _ => return None,
    })
}
