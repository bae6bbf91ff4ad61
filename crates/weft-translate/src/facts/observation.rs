//! Results (OBX): one observation each, but consecutive lines of the same text are one.

use std::borrow::Cow;

use fhir_sdk::r4b::codes::ObservationStatus;
use weft_model::{
    When,
    proto::event::{Code, LineKind},
};

use super::{
    coded::{Coded, concept, text_concept},
    fhir::{Annotation, CodeableConcept, Observation, ObservationComponent, Reference, Text},
    ids::{Unique, fhir_id, text_id},
    json::Decimals,
    patient::subject,
    people::Clinician,
    quantity::{Limits, Unit},
    report::Report,
    telling::{Facts, Telling, joined, line, one_line},
    times,
    value::{self, FhirValue, Value},
};
use crate::{
    hl7v2::{Field, Segment},
    issue::{information, warning},
};

const INTERPRETATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation";
const DATA_ABSENT: &str = "http://terminology.hl7.org/CodeSystem/data-absent-reason";

/// Codes and displays of FHIR's.
const INTERPRETATIONS: [(&str, &str); 37] = [
    ("<", "Off scale low"),
    (">", "Off scale high"),
    ("A", "Abnormal"),
    ("AA", "Critical abnormal"),
    ("B", "Better"),
    ("CAR", "Carrier"),
    ("D", "Significant change down"),
    ("DET", "Detected"),
    ("E", "Equivocal"),
    ("EX", "outside threshold"),
    ("EXP", "Expected"),
    ("H", "High"),
    ("HH", "Critical high"),
    ("HU", "Significantly high"),
    ("I", "Intermediate"),
    ("IE", "Insufficient evidence"),
    ("IND", "Indeterminate"),
    ("L", "Low"),
    ("LL", "Critical low"),
    ("LU", "Significantly low"),
    ("N", "Normal"),
    ("NCL", "No CLSI defined breakpoint"),
    ("ND", "Not detected"),
    ("NEG", "Negative"),
    ("NR", "Non-reactive"),
    ("NS", "Non-susceptible"),
    ("POS", "Positive"),
    ("R", "Resistant"),
    ("RR", "Reactive"),
    ("S", "Susceptible"),
    ("SDD", "Susceptible-dose dependent"),
    ("SYN-R", "Synergy - resistant"),
    ("SYN-S", "Synergy - susceptible"),
    ("U", "Significant change up"),
    ("UNE", "Unexpected"),
    ("W", "Worse"),
    ("WR", "Weakly reactive"),
];

/// One or more OBX that are one observation, and the notes that follow them.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    pub(crate) obx: Segment<'a>,
    /// Further lines of the same text.
    more: Vec<Segment<'a>>,
    pub(crate) notes: Vec<Segment<'a>>,
}

impl<'a> Group<'a> {
    pub(crate) fn new(obx: Segment<'a>) -> Self {
        Self { obx, more: Vec::new(), notes: Vec::new() }
    }

    /// Takes `obx` in, if it goes on with the text of this group.
    pub(crate) fn takes(&mut self, obx: Segment<'a>) -> bool {
        let kind = |segment: Segment<'a>| segment.field(2).raw().trim_ascii();
        let same = |field: usize| self.obx.field(field).raw() == obx.field(field).raw();
        let takes = self.notes.is_empty()
            && value::is_narrative(kind(self.obx))
            && value::is_narrative(kind(obx))
            && !self.obx.field(3).is_absent()
            && same(3)
            && same(4)
            && same(11);
        if takes {
            self.more.push(obx);
        }
        takes
    }
}

/// What an observation's report needs to know of it.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) withdrawn: bool,
    /// It has an interpretation other than normal.
    pub(crate) abnormal: bool,
    /// Running text, where that is what it is.
    pub(crate) narrative: Option<String>,
}

/// OBX-11 in FHIR's terms.
struct Status {
    status: ObservationStatus,
    withdrawn: bool,
    /// Why there is no value.
    absent: Option<(&'static str, &'static str)>,
}

/// Tells of one observation. `None` where it adds nothing: a status without the value that was sent before.
pub(crate) fn tell(facts: &mut Facts<'_>, report: &Report<'_>, group: &Group<'_>, ids: &mut Unique) -> Option<Made> {
    let obx = group.obx;
    let Some(coded) = obx.field(3).repetitions().find_map(|r| Coded::read(&r)) else {
        let text = "a result that does not say of what; it is kept in the message only";
        facts.issues.push(warning("observation-code-missing", obx.location(3), text));
        return None;
    };
    let status = status(facts, obx, report);
    let said = |segment: &Segment<'_>| !segment.field(5).is_absent();
    if obx.field(11).text().as_deref() == Some("U") && !said(&obx) && !group.more.iter().any(said) {
        let text = "a result became final without being sent again; it stays as it was";
        facts.issues.push(information("value-not-resent", obx.location(5), text));
        return None;
    }
    let id = ids.number(id(report, obx, &coded));
    let mut telling = Telling::new("Observation", id.clone(), obx.place());
    telling.withdrawn = status.withdrawn;
    telling.occurred = facts.time(obx.field(14)).or(report.occurred);
    telling.recorded = report.issued;
    let canonical = facts.context.profile.observation(coded.code());
    let name = canonical.map(|c| c.display.as_str()).filter(|d| !d.is_empty()).unwrap_or(coded.name());
    let mut line = line(LineKind::Observation, name);
    line.code = canonical.cloned().or_else(|| coded.line_code());
    line.status = status.status.as_ref().to_owned();
    line.encounter = report.visit.map(|visit| visit.id.clone()).unwrap_or_default();
    let telling_occurred = telling.occurred;
    let read = Read::of(facts, group, &mut telling.decimals);
    let made =
        Made { id: id.clone(), withdrawn: status.withdrawn, abnormal: read.is_abnormal(), narrative: read.narrative() };
    line.detail = read.detail();
    let content = Content { group, coded: &coded, canonical, occurred: telling_occurred, id };
    let resource = resource(facts, report, content, status, read, &mut telling.decimals);
    telling.line = Some(line);
    facts.tell(telling, &resource);
    Some(made)
}

/// The report, what is observed, and OBX-4 where there are several of it.
fn id(report: &Report<'_>, obx: Segment<'_>, coded: &Coded<'_>) -> String {
    let what = if coded.code().is_empty() { text_id(coded.name()).into() } else { Cow::Borrowed(coded.code()) };
    let sub = obx.field(4).text();
    let id = match sub {
        Some(sub) => [&report.id, ".", &what, ".", &sub].concat(),
        None => [&report.id, ".", &what].concat(),
    };
    match fhir_id(&id) {
        Cow::Borrowed(_) => id,
        Cow::Owned(id) => id,
    }
}

fn status(facts: &mut Facts<'_>, obx: Segment<'_>, report: &Report<'_>) -> Status {
    let code = obx.field(11).text();
    let standing = |status| Status { status, withdrawn: false, absent: None };
    match code.as_deref() {
        Some("F" | "B" | "V" | "U") => standing(ObservationStatus::Final),
        Some("P" | "R" | "S") => standing(ObservationStatus::Preliminary),
        Some("C") => standing(ObservationStatus::Corrected),
        Some("A") => standing(ObservationStatus::Amended),
        Some("I" | "O") => standing(ObservationStatus::Registered),
        Some("X") => {
            Status { absent: Some(("not-performed", "Not Performed")), ..standing(ObservationStatus::Cancelled) }
        }
        Some("N") => Status { absent: Some(("not-asked", "Not Asked")), ..standing(ObservationStatus::Unknown) },
        Some("D" | "W") => Status { withdrawn: true, ..standing(ObservationStatus::EnteredInError) },
        Some(_) => {
            facts.issues.push(warning("status-unknown", obx.location(11), "not a known status of a result"));
            standing(ObservationStatus::Unknown)
        }
        None => {
            let text = "a result without a status; its report's is taken";
            facts.issues.push(information("status-missing", obx.location(11), text));
            standing(report.status_of_results())
        }
    }
}

/// The parts of an observation that its line shows too.
struct Read<'a> {
    unit: Unit<'a>,
    values: Vec<Value<'a>>,
    limits: Option<Limits>,
    /// Codes and names of OBX-8.
    flags: Vec<(String, CodeableConcept<'a>)>,
    text: bool,
}

impl<'a> Read<'a> {
    fn of(facts: &mut Facts<'_>, group: &Group<'a>, decimals: &mut Decimals) -> Self {
        let obx = group.obx;
        let unit = Unit::read(obx.field(6));
        let mut values = value::read(facts, obx, &unit, decimals);
        let text = value::is_narrative(obx.field(2).raw().trim_ascii());
        if text && !group.more.is_empty() {
            let lines = [obx].into_iter().chain(group.more.iter().copied());
            let lines: Vec<String> = lines.map(|obx| value::narrative(obx.field(5)).unwrap_or_default()).collect();
            values = vec![value::text_value(lines.join("\n").trim())];
        }
        let range = obx.field(7).whole_text();
        let organisation = facts.context.profile.organisation();
        Self {
            unit,
            values,
            limits: range.and_then(|range| Limits::read(&range)),
            flags: interpretations(obx.field(8), organisation),
            text,
        }
    }

    fn is_abnormal(&self) -> bool {
        self.flags.iter().any(|(code, _)| !matches!(code.as_str(), "N" | "NEG" | "ND" | "NR" | "S"))
    }

    fn narrative(&self) -> Option<String> {
        self.values.first().filter(|_| self.text).map(|value| value.text.clone())
    }

    /// `7.4 mmol/L (3.5-5.3) H`.
    fn detail(&self) -> String {
        let values = one_line(&joined(self.values.iter().map(|value| value.text.as_str()), ", "));
        let limits = self.limits.as_ref().map(|limits| ["(", &limits.short(), ")"].concat());
        let flags = self.flags.iter().map(|(code, _)| code.as_str());
        joined([values.as_str()].into_iter().chain(limits.as_deref()).chain(flags), " ")
    }
}

/// Table 0078, whose codes are those of FHIR's; a code of neither is the organisation's own.
fn interpretations<'a>(field: Field<'a>, organisation: &str) -> Vec<(String, CodeableConcept<'a>)> {
    let mut read = Vec::new();
    for coded in field.repetitions().filter_map(|r| Coded::read(&r)) {
        let (code, name) = (coded.code(), coded.name());
        let concept = match interpretation(code) {
            Some((code, display)) => concept(INTERPRETATION, code, display),
            None => coded.concept(organisation, None),
        };
        read.push((if code.is_empty() { name } else { code }.to_owned(), concept));
    }
    read
}

fn interpretation(code: &str) -> Option<(&'static str, &'static str)> {
    INTERPRETATIONS.iter().copied().find(|(known, _)| *known == code)
}

/// What is observed, and of which segments.
struct Content<'a> {
    group: &'a Group<'a>,
    coded: &'a Coded<'a>,
    canonical: Option<&'a Code>,
    occurred: Option<When>,
    id: String,
}

fn resource<'a>(
    facts: &Facts<'_>,
    report: &Report<'_>,
    content: Content<'a>,
    status: Status,
    read: Read<'a>,
    decimals: &mut Decimals,
) -> Observation<'a> {
    let organisation = facts.context.profile.organisation();
    let obx = content.group.obx;
    let code = content.coded.concept(organisation, content.canonical);
    let mut values = read.values.into_iter().map(|value| value.value);
    let (value, attachment, absent) = match values.next() {
        Some(FhirValue::Value(value)) => (Some(value), None, None),
        Some(FhirValue::Attached(attachment)) => (None, Some(attachment), None),
        None => (None, None, status.absent.map(|(code, display)| concept(DATA_ABSENT, code, display))),
    };
    // FHIR has one value: a field that repeats has the others as components of the same code.
    let others = values.map(|value| match value {
        FhirValue::Value(value) => Some(value),
        FhirValue::Attached(_) => None,
    });
    let component = others.map(|value| ObservationComponent { code: Some(code.clone()), value }).collect();
    Observation {
        id: Some(content.id.into()),
        extension: attachment.into_iter().collect(),
        status: Some(status.status),
        subject: subject(),
        encounter: report.visit.map(|visit| visit.reference()),
        effective_date_time: content.occurred.as_ref().and_then(times::date_time),
        performer: performers(obx, organisation),
        value,
        data_absent_reason: absent,
        interpretation: read.flags.into_iter().map(|(_, concept)| concept).collect(),
        note: note(&content.group.notes).into_iter().collect(),
        method: method(obx, organisation),
        reference_range: read.limits.map(|limits| limits.resource(&read.unit, decimals)).into_iter().collect(),
        component,
        code: Some(code),
    }
}

fn performers<'a>(obx: Segment<'a>, organisation: &str) -> Vec<Reference<'a>> {
    let producer = obx.field(15).repetitions().find_map(|r| Coded::read(&r));
    let name = producer.map(|coded| Text::Owned(coded.name().to_owned())).or_else(|| obx.field(23).text());
    let organization = name.map(|name| Reference::named("Organization", name));
    let clinicians = obx.field(16).repetitions().filter_map(|xcn| Clinician::read(&xcn, organisation));
    organization.into_iter().chain(clinicians.map(|clinician| clinician.into_reference())).collect()
}

fn method<'a>(obx: Segment<'a>, organisation: &str) -> Option<CodeableConcept<'a>> {
    let coded = obx.field(17).repetitions().find_map(|r| Coded::read(&r))?;
    Some(match coded.code() {
        "" => text_concept(coded.name().to_owned()),
        _ => coded.concept(organisation, None),
    })
}

/// The notes after a result, a line each.
fn note(notes: &[Segment<'_>]) -> Option<Annotation<'static>> {
    let lines: Vec<String> = notes.iter().filter_map(|nte| value::narrative(nte.field(3))).collect();
    (!lines.is_empty()).then(|| Annotation { text: Some(lines.join("\n").into()) })
}
