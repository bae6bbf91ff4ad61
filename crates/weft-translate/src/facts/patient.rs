//! The patient: a fact without a line, and a line for a death.

use fhir_sdk::r4b::{
    codes::{AdministrativeGender, IdentifierUse},
    resources::{Patient, PatientCommunication, PatientDeceased, PatientMultipleBirth},
    types::{CodeableConcept, Extension, ExtensionValue, FieldExtension, Identifier, Meta, Reference},
};
use weft_model::{
    SourceRecordId,
    proto::event::{self, IdentifierKind, LineKind},
};

use super::{
    coded::{Coded, coding, concept, local_uri},
    contact::{contact_point, fhir_address},
    demographics::Person,
    people::human_name,
    telling::{Built, Facts, Telling, line},
    times,
};
use crate::{
    hl7v2::{Field, Segment},
    identifiers::NHS_NUMBER_SYSTEM,
};

/// The identifier of every patient within their own record.
pub(crate) const PATIENT: &str = "patient";
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
pub(crate) fn subject() -> Built<Reference> {
    Reference::builder().reference(["Patient/", PATIENT].concat()).build()
}

/// Tells of the patient, and of their death.
pub(crate) fn tell(facts: &mut Facts<'_>, pid: Segment<'_>, record: Option<&SourceRecordId>, person: &Person) {
    let mut telling = Telling::new("Patient", PATIENT, pid.place());
    telling.occurred = facts.context.occurred;
    let resource = resource(facts, pid, record, person);
    facts.tell(telling, resource.as_ref());
    if let Some(death) = death(facts, pid, person) {
        facts.tell(death, resource.as_ref());
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

fn resource(
    facts: &mut Facts<'_>,
    pid: Segment<'_>,
    record: Option<&SourceRecordId>,
    person: &Person,
) -> Built<Patient> {
    let organisation = facts.context.profile.organisation();
    let told = &person.demographics;
    let mut patient = Patient::builder().build()?;
    patient.id = Some(PATIENT.to_owned());
    patient.identifier = identifiers(organisation, record, &told.identifiers)?;
    for name in &told.names {
        patient.name.push(Some(human_name(name)?));
    }
    patient.gender = gender(&told.sex);
    patient.birth_date = told.birth.as_ref().and_then(times::date);
    if let Some(born) = person.born.as_ref().filter(|born| times::has_time_of_day(born))
        && let Some(time) = times::date_time(born)
    {
        let mut field = FieldExtension::builder().build()?;
        field.extension.push(extension(BIRTH_TIME, ExtensionValue::DateTime(time))?);
        patient.birth_date_ext = Some(field);
    }
    for address in &person.addresses {
        patient.address.push(Some(fhir_address(address)?));
    }
    for telecom in &told.telecoms {
        patient.telecom.push(Some(contact_point(telecom)?));
    }
    if let Some(practice) = &person.practice {
        patient.general_practitioner = practice.references(organisation)?;
    }
    patient.deceased = deceased(told);
    patient.marital_status = marital_status(pid.field(16), organisation)?;
    patient.communication.extend(language(pid.field(15), organisation)?.map(Some));
    patient.multiple_birth = multiple_birth(pid);
    patient.extension = extensions(pid.field(22), told, organisation)?;
    if told.location_hidden == Some(true) {
        let mut meta = Meta::builder().build()?;
        meta.security.push(Some(coding(CONFIDENTIALITY, "R", "restricted")?));
        patient.meta = Some(meta);
    }
    Ok(patient)
}

/// The NHS number first, then the record's own key, then the others.
fn identifiers(
    organisation: &str,
    record: Option<&SourceRecordId>,
    others: &[event::Identifier],
) -> Built<Vec<Option<Identifier>>> {
    let mut identifiers = Vec::with_capacity(others.len() + 1);
    let (numbers, others): (Vec<_>, Vec<_>) = others.iter().partition(|i| i.kind() == IdentifierKind::NhsNumber);
    for number in numbers {
        let mut identifier = identifier(NHS_NUMBER_SYSTEM.to_owned(), &number.value)?;
        if !number.status.is_empty() {
            let status = concept(NHS_NUMBER_STATUS_CODES, &number.status, nhs_number_status(&number.status))?;
            identifier.extension.push(extension(NHS_NUMBER_STATUS, ExtensionValue::CodeableConcept(status))?);
        }
        identifiers.push(Some(identifier));
    }
    if let Some(record) = record.filter(|record| record.system != NHS_NUMBER_SYSTEM) {
        let mut own = identifier(identifier_uri(organisation, &record.system), &record.value)?;
        own.r#use = Some(IdentifierUse::Usual);
        identifiers.push(Some(own));
    }
    for other in others {
        identifiers.push(Some(identifier(identifier_uri(organisation, &other.system), &other.value)?));
    }
    Ok(identifiers)
}

pub(crate) fn identifier(system: String, value: &str) -> Built<Identifier> {
    let mut identifier = Identifier::builder().build()?;
    identifier.system = Some(system).filter(|system| !system.is_empty());
    identifier.value = Some(value.to_owned());
    Ok(identifier)
}

/// URI for an assigning authority as a source calls it.
pub(crate) fn identifier_uri(organisation: &str, system: &str) -> String {
    let is_oid = system.contains('.') && system.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match system {
        "" => String::new(),
        oid if is_oid => format!("urn:oid:{oid}"),
        uri if uri.contains("://") || uri.starts_with("urn:") => uri.to_owned(),
        name => local_uri("identifier", organisation, name),
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

fn deceased(told: &event::Demographics) -> Option<PatientDeceased> {
    match told.death.as_ref().and_then(times::date_time) {
        Some(time) => Some(PatientDeceased::DateTime(time)),
        None => told.deceased.map(PatientDeceased::Boolean),
    }
}

/// Table 0002 where HL7 and the NHS Data Dictionary agree; the rest as sent.
fn marital_status(field: Field<'_>, organisation: &str) -> Built<Option<CodeableConcept>> {
    let Some(coded) = field.repetitions().next().and_then(|r| Coded::read(&r)) else { return Ok(None) };
    let (code, display) = match coded.code() {
        "S" => ("S", "Never Married"),
        "M" => ("M", "Married"),
        "D" => ("D", "Divorced"),
        "W" => ("W", "Widowed"),
        "A" | "E" => ("L", "Legally Separated"),
        "C" => ("C", "Common Law"),
        _ => return coded.concept(organisation, None).map(Some),
    };
    concept(MARITAL_STATUS, code, display).map(Some)
}

fn language(field: Field<'_>, organisation: &str) -> Built<Option<PatientCommunication>> {
    let Some(coded) = field.repetitions().next().and_then(|r| Coded::read(&r)) else { return Ok(None) };
    let code = coded.code();
    let tagged = code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphabetic()) && coded.system().is_empty();
    let language = if tagged {
        concept("urn:ietf:bcp:47", &code.to_ascii_lowercase(), "")?
    } else {
        coded.concept(organisation, None)?
    };
    PatientCommunication::builder().language(language).build().map(Some)
}

fn multiple_birth(pid: Segment<'_>) -> Option<PatientMultipleBirth> {
    let order = pid.field(25).text().and_then(|order| order.parse().ok()).filter(|order| (1..=20).contains(order));
    match (order, pid.field(24).text().as_deref()) {
        (Some(order), _) => Some(PatientMultipleBirth::Integer(order)),
        (None, Some("Y")) => Some(PatientMultipleBirth::Boolean(true)),
        (None, Some("N")) => Some(PatientMultipleBirth::Boolean(false)),
        _ => None,
    }
}

fn extensions(ethnic: Field<'_>, told: &event::Demographics, organisation: &str) -> Built<Vec<Extension>> {
    let mut extensions = Vec::new();
    if let Some(coded) = ethnic.repetitions().next().and_then(|r| Coded::read(&r)) {
        // The national code is one letter; organisations may add a second character of their own.
        let national = coded.code().starts_with(|c| matches!(c, 'A'..='H' | 'J'..='N' | 'P' | 'R' | 'S' | 'Z'));
        let category = if national && coded.code().len() <= 2 && coded.system().is_empty() {
            coded.concept_in(ETHNIC_CATEGORY_CODES, organisation)?
        } else {
            coded.concept(organisation, None)?
        };
        extensions.push(extension(ETHNIC_CATEGORY, ExtensionValue::CodeableConcept(category))?);
    }
    if let Some(pseudo) = told.pseudo_person {
        extensions.push(extension(PSEUDO_PERSON, ExtensionValue::Boolean(pseudo))?);
    }
    Ok(extensions)
}

pub(crate) fn extension(url: &str, value: ExtensionValue) -> Built<Extension> {
    Extension::builder().url(url.to_owned()).value(value).build()
}
