//! The patient: a fact without a line, and a line for a death.

use std::borrow::Cow;

use fhir_sdk::r4b::codes::{AdministrativeGender, IdentifierUse};
use weft_model::{
    SourceRecordId,
    proto::event::{self, IdentifierKind, LineKind},
};

use super::{
    coded::{Coded, coding, concept, local_uri},
    contact::{contact_point, fhir_address},
    demographics::Person,
    fhir::{
        CodeableConcept, Coding, Extension, FieldExtension, Identifier, Meta, Patient, PatientCommunication, Reference,
        Text, Value,
    },
    people::human_name,
    telling::{Facts, Telling, line},
    times,
};
use crate::{
    hl7v2::{Field, Segment},
    identifiers::NHS_NUMBER_SYSTEM,
};

/// The identifier of every patient within their own record.
pub(crate) const PATIENT: &str = "patient";
const SUBJECT: &str = "Patient/patient";
const DEATH: &str = "patient/death";

const NHS_NUMBER_STATUS: &str =
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus";
const NHS_NUMBER_STATUS_CODES: &str = "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatus";
const ETHNIC_CATEGORY: &str = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-EthnicCategory";
const ETHNIC_CATEGORY_CODES: &str = "https://fhir.hl7.org.uk/CodeSystem/UKCore-EthnicCategoryEngland";
const BIRTH_TIME: &str = "http://hl7.org/fhir/StructureDefinition/patient-birthTime";
const PSEUDO_PERSON: &str = "urn:weft:extension:pseudo-person";
const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
const MARITAL_STATUS: &str = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus";

/// The reference to the patient in every other resource: it does not leave the record.
pub(crate) fn subject() -> Option<Reference<'static>> {
    Some(Reference::to(SUBJECT))
}

/// Tells of the patient, and of their death.
pub(crate) fn tell(facts: &mut Facts<'_>, pid: Segment<'_>, record: Option<&SourceRecordId>, person: &Person) {
    let mut telling = Telling::new("Patient", PATIENT, pid.place());
    telling.occurred = facts.context.occurred;
    let resource = resource(facts, pid, record, person);
    facts.tell(telling, &resource);
    if let Some(death) = death(facts, pid, person) {
        facts.tell(death, &resource);
    }
}

/// A death has a fact of its own: a later message that does not speak of it does not take it back. One that says that the
/// patient lives does.
fn death(facts: &Facts<'_>, pid: Segment<'_>, person: &Person) -> Option<Telling> {
    let told = &person.demographics;
    let died = told.deceased == Some(true);
    let cleared = pid.field(29).is_null() || pid.field(30).is_null();
    // Only what is sent to correct a record corrects it: many say in every message that the patient is not dead.
    let denied = told.deceased == Some(false) && matches!(facts.context.trigger, "A08" | "A31");
    if !(died || cleared || denied) {
        return None;
    }
    let field = if told.death.is_some() { 29 } else { 30 };
    let mut telling = Telling::new("Patient", DEATH, pid.location(field));
    telling.withdrawn = !died;
    telling.occurred = told.death.or(facts.context.occurred);
    telling.line = Some(line(LineKind::Death, "Died"));
    Some(telling)
}

fn resource<'a>(
    facts: &Facts<'_>,
    pid: Segment<'a>,
    record: Option<&'a SourceRecordId>,
    person: &'a Person,
) -> Patient<'a> {
    let organisation = facts.context.profile.organisation();
    let told = &person.demographics;
    let death = told.death.as_ref().and_then(times::date_time);
    let (multiple_birth_integer, multiple_birth_boolean) = multiple_birth(pid);
    Patient {
        id: Some(PATIENT.into()),
        meta: (told.location_hidden == Some(true))
            .then(|| Meta { security: vec![coding(CONFIDENTIALITY, "R", "restricted")] }),
        extension: extensions(pid.field(22), told, organisation),
        identifier: identifiers(organisation, record, &told.identifiers),
        name: told.names.iter().map(human_name).collect(),
        telecom: told.telecoms.iter().map(contact_point).collect(),
        gender: gender(&told.sex),
        birth_date: told.birth.as_ref().and_then(times::date),
        birth_date_ext: birth_time(person),
        deceased_boolean: told.deceased.filter(|_| death.is_none()),
        deceased_date_time: death,
        address: person.addresses.iter().map(fhir_address).collect(),
        marital_status: marital_status(pid.field(16), organisation),
        multiple_birth_boolean,
        multiple_birth_integer,
        communication: language(pid.field(15), organisation).into_iter().collect(),
        general_practitioner: person.practice.as_ref().map_or_else(Vec::new, |gp| gp.references(organisation)),
    }
}

fn birth_time(person: &Person) -> Option<FieldExtension<'static>> {
    let born = person.born.as_ref().filter(|born| times::has_time_of_day(born))?;
    let time = Value::DateTime(times::date_time(born)?);
    Some(FieldExtension { extension: vec![extension(BIRTH_TIME, time)] })
}

/// The NHS number first, then the record's own key, then the others.
fn identifiers<'a>(
    organisation: &str,
    record: Option<&'a SourceRecordId>,
    others: &'a [event::Identifier],
) -> Vec<Identifier<'a>> {
    let mut identifiers = Vec::with_capacity(others.len() + 1);
    let (numbers, others): (Vec<_>, Vec<_>) = others.iter().partition(|i| i.kind() == IdentifierKind::NhsNumber);
    for number in numbers {
        let mut identifier = identifier(NHS_NUMBER_SYSTEM, &number.value);
        if !number.status.is_empty() {
            let status = concept(NHS_NUMBER_STATUS_CODES, &number.status, nhs_number_status(&number.status));
            identifier.extension.push(extension(NHS_NUMBER_STATUS, Value::CodeableConcept(status)));
        }
        identifiers.push(identifier);
    }
    if let Some(record) = record.filter(|record| record.system != NHS_NUMBER_SYSTEM) {
        let own = identifier(identifier_uri(organisation, &record.system), &record.value);
        identifiers.push(Identifier { r#use: Some(IdentifierUse::Usual), ..own });
    }
    let others = others.into_iter().map(|other| identifier(identifier_uri(organisation, &other.system), &other.value));
    identifiers.extend(others);
    identifiers
}

pub(crate) fn identifier<'a>(system: impl Into<Text<'a>>, value: impl Into<Text<'a>>) -> Identifier<'a> {
    let system = Some(system.into()).filter(|system| !system.is_empty());
    Identifier { system, value: Some(value.into()), ..Identifier::default() }
}

/// URI for an assigning authority as a source calls it.
pub(crate) fn identifier_uri<'s>(organisation: &str, system: &'s str) -> Text<'s> {
    let is_oid = system.contains('.') && system.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match system {
        "" => Cow::Borrowed(""),
        oid if is_oid => format!("urn:oid:{oid}").into(),
        uri if uri.contains("://") || uri.starts_with("urn:") => uri.into(),
        name => local_uri("identifier", organisation, name).into(),
    }
}

/// HL7 UK's table 0445.
fn nhs_number_status(code: &str) -> &'static str {
    match code {
        "01" => "Number present and verified",
        "02" => "Number present but not traced",
        "03" => "Trace required",
        "04" => "Trace attempted - No match or multiple match found",
        "05" => "Trace needs to be resolved - (NHS Number or patient detail conflict)",
        "06" => "Trace in progress",
        "07" => "Number not present and trace not required",
        "08" => "Trace postponed (baby under six weeks old)",
        _ => "",
    }
}

pub(crate) fn gender(sex: &str) -> Option<AdministrativeGender> {
    match sex {
        "male" => Some(AdministrativeGender::Male),
        "female" => Some(AdministrativeGender::Female),
        "other" => Some(AdministrativeGender::Other),
        "unknown" => Some(AdministrativeGender::Unknown),
        _ => None,
    }
}

/// Table 0002 where HL7 and the NHS Data Dictionary agree; the rest as sent.
fn marital_status<'a>(field: Field<'a>, organisation: &str) -> Option<CodeableConcept<'a>> {
    let coded = field.repetitions().next().and_then(|r| Coded::read(&r))?;
    let (code, display) = match coded.code() {
        "S" => ("S", "Never Married"),
        "M" => ("M", "Married"),
        "D" => ("D", "Divorced"),
        "W" => ("W", "Widowed"),
        "A" | "E" => ("L", "Legally Separated"),
        "C" => ("C", "Common Law"),
        _ => return Some(coded.concept(organisation, None)),
    };
    Some(concept(MARITAL_STATUS, code, display))
}

fn language<'a>(field: Field<'a>, organisation: &str) -> Option<PatientCommunication<'a>> {
    let coded = field.repetitions().next().and_then(|r| Coded::read(&r))?;
    let code = coded.code();
    let tagged = code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphabetic()) && coded.system().is_empty();
    let language = if tagged {
        let code = Some(code.to_ascii_lowercase().into());
        CodeableConcept { coding: vec![Coding { code, ..coding("urn:ietf:bcp:47", "", "") }], text: None }
    } else {
        coded.concept(organisation, None)
    };
    Some(PatientCommunication { language: Some(language) })
}

/// Which of several born together, or whether there were several.
fn multiple_birth(pid: Segment<'_>) -> (Option<i32>, Option<bool>) {
    let order = pid.field(25).text().and_then(|order| order.parse().ok()).filter(|order| (1..=20).contains(order));
    match (order, pid.field(24).text().as_deref()) {
        (Some(order), _) => (Some(order), None),
        (None, Some("Y")) => (None, Some(true)),
        (None, Some("N")) => (None, Some(false)),
        _ => (None, None),
    }
}

fn extensions<'a>(ethnic: Field<'a>, told: &event::Demographics, organisation: &str) -> Vec<Extension<'a>> {
    let mut extensions = Vec::new();
    if let Some(coded) = ethnic.repetitions().next().and_then(|r| Coded::read(&r)) {
        // The national code is one letter; organisations may add a second character of their own.
        let national = coded.code().starts_with(|c| matches!(c, 'A'..='H' | 'J'..='N' | 'P' | 'R' | 'S' | 'Z'));
        let category = if national && coded.code().len() <= 2 && coded.system().is_empty() {
            coded.concept_in(ETHNIC_CATEGORY_CODES, organisation)
        } else {
            coded.concept(organisation, None)
        };
        extensions.push(extension(ETHNIC_CATEGORY, Value::CodeableConcept(category)));
    }
    extensions.extend(told.pseudo_person.map(|pseudo| extension(PSEUDO_PERSON, Value::Boolean(pseudo))));
    extensions
}

pub(crate) fn extension<'a>(url: &'static str, value: Value<'a>) -> Extension<'a> {
    Extension { url: Some(url.into()), value: Some(value) }
}
