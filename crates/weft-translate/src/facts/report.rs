//! Reports (ORU^R01): an OBR and its results. The report is one fact, each result another.
//!
//! A report is known by the number that the laboratory gave it (OBR-3), else by that of the order (OBR-2), and by what was
//! asked for (OBR-4): one number often covers several batteries of the same specimen. The same report told again as
//! final or corrected is thus the same fact.

use fhir_sdk::r4b::codes::{DiagnosticReportStatus, ObservationStatus};
use weft_model::{When, proto::event::LineKind};

use super::{
    coded::{Coded, V2_IDENTIFIER_TYPE, concept, local_uri, text_concept},
    fhir::{DiagnosticReport, Identifier, Reference},
    ids::{Unique, fhir_id, text_id},
    observation::{self, Group, Made},
    patient::{identifier, subject},
    people::Clinician,
    telling::{Facts, Telling, joined, line, one_line},
    times, value,
    visit::Visit,
};
use crate::{
    hl7v2::{Field, Segment},
    issue::warning,
};

const SERVICE_SECTION: &str = "http://terminology.hl7.org/CodeSystem/v2-0074";

/// An OBR as its results see it.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    obr: Segment<'a>,
    pub(crate) id: String,
    status: DiagnosticReportStatus,
    /// OBR-7.
    pub(crate) occurred: Option<When>,
    /// OBR-8.
    ended: Option<When>,
    /// OBR-22.
    pub(crate) issued: Option<When>,
    pub(crate) visit: Option<&'a Visit>,
}

/// An OBR, the notes under it, and its results.
struct Order<'a> {
    obr: Segment<'a>,
    notes: Vec<Segment<'a>>,
    groups: Vec<Group<'a>>,
}

/// Tells of every report in the message.
pub(crate) fn tell(facts: &mut Facts<'_>, visit: Option<&Visit>) {
    let orders = orders(facts);
    let mut ids = Unique::default();
    let mut result_ids = Unique::default();
    for order in orders {
        let report = Report::read(facts, order.obr, visit, &mut ids);
        let mut made = Vec::with_capacity(order.groups.len());
        let at = facts.told.len();
        for group in &order.groups {
            made.extend(observation::tell(facts, &report, group, &mut result_ids));
        }
        let results = facts.told.len();
        report.tell(facts, &order, &made);
        // The report goes before its results.
        if facts.told.len() > results
            && let Some(told) = facts.told.get_mut(at..)
        {
            told.rotate_right(1);
        }
    }
}

/// Walks the segments in order: notes belong to what they follow.
fn orders<'a>(facts: &mut Facts<'a>) -> Vec<Order<'a>> {
    let mut orders: Vec<Order<'a>> = Vec::new();
    // Results of a specimen (SPM) or of the patient before the first OBR have no report to belong to.
    for segment in facts.message.segments() {
        match (segment.name(), orders.last_mut()) {
            ("OBR", _) => orders.push(Order { obr: segment, notes: Vec::new(), groups: Vec::new() }),
            ("OBX", Some(order)) => {
                let taken = order.groups.last_mut().is_some_and(|group| group.takes(segment));
                if !taken {
                    order.groups.push(Group::new(segment));
                }
            }
            ("OBX", None) => {
                let text = "a result before any report; it is kept in the message only";
                facts.issues.push(warning("observation-without-report", segment.place(), text));
            }
            ("NTE", Some(order)) => match order.groups.last_mut() {
                Some(group) => group.notes.push(segment),
                None => order.notes.push(segment),
            },
            _ => {}
        }
    }
    if orders.is_empty() {
        facts.issues.push(warning("report-missing", "OBR", "the message has no report"));
    }
    orders
}

impl<'a> Report<'a> {
    fn read(facts: &mut Facts<'_>, obr: Segment<'a>, visit: Option<&'a Visit>, ids: &mut Unique) -> Self {
        let occurred = facts.time(obr.field(7));
        let number = obr.field(3).text().or_else(|| obr.field(2).text());
        let service = coded(obr.field(4)).map(|coded| match coded.code() {
            "" => text_id(coded.name()),
            code => code.to_owned(),
        });
        if number.is_none() {
            let text = "a report without a number; it is named by what was asked for and when";
            facts.issues.push(warning("report-number-missing", obr.location(3), text));
        }
        let issued = facts.time(obr.field(22));
        // Without a number and a time it is known by its own words: never taken for another, and the same told again.
        let when = number
            .is_none()
            .then(|| occurred.or(issued).as_ref().map(times::digits).unwrap_or_else(|| text_id(obr.raw())));
        let parts = [number.as_deref(), service.as_deref(), when.as_deref()];
        let name = joined(parts.into_iter().flatten(), ".");
        let id = ids.number(fhir_id(&name).into_owned());
        Self { obr, id, status: status(facts, obr), occurred, ended: facts.time(obr.field(8)), issued, visit }
    }

    /// The status of results that state none.
    pub(crate) fn status_of_results(&self) -> ObservationStatus {
        match self.status {
            DiagnosticReportStatus::Final => ObservationStatus::Final,
            DiagnosticReportStatus::Preliminary | DiagnosticReportStatus::Partial => ObservationStatus::Preliminary,
            DiagnosticReportStatus::Corrected => ObservationStatus::Corrected,
            DiagnosticReportStatus::Registered => ObservationStatus::Registered,
            DiagnosticReportStatus::Cancelled => ObservationStatus::Cancelled,
            _ => ObservationStatus::Unknown,
        }
    }

    fn tell(&self, facts: &mut Facts<'_>, order: &Order<'_>, made: &[Made]) {
        let mut telling = Telling::new("DiagnosticReport", self.id.clone(), self.obr.place());
        telling.occurred = self.occurred;
        telling.recorded = self.issued;
        let service = coded(self.obr.field(4));
        let canonical = service.as_ref().and_then(|s| facts.context.profile.observation(s.code()));
        let name = canonical.map(|c| c.display.as_str()).filter(|d| !d.is_empty());
        let name = name.or(service.as_ref().map(Coded::name)).unwrap_or("Report");
        let mut line = line(LineKind::Report, name);
        line.detail = detail(order, made);
        line.code = canonical.cloned().or_else(|| service.as_ref().and_then(Coded::line_code));
        line.status = self.status.as_ref().to_owned();
        line.encounter = self.visit.map(|visit| visit.id.clone()).unwrap_or_default();
        telling.line = Some(line);
        let organisation = facts.context.profile.organisation();
        let code = match &service {
            Some(service) => service.concept(organisation, canonical),
            None => text_concept("Report"),
        };
        let resource = DiagnosticReport { code: Some(code), ..self.resource(organisation, order, made) };
        facts.tell(telling, &resource);
    }

    /// All but the code.
    fn resource(&self, organisation: &str, order: &Order<'_>, made: &[Made]) -> DiagnosticReport<'a> {
        let (occurred, ended) = (self.occurred.as_ref(), self.ended.as_ref());
        let clinicians = |field: usize| {
            let ndl = self.obr.field(field).repetitions();
            ndl.filter_map(|ndl| Clinician::read_ndl(&ndl, organisation)).map(Clinician::into_reference)
        };
        let result = |made: &Made| Reference::to(["Observation/", &made.id].concat());
        DiagnosticReport {
            id: Some(self.id.clone().into()),
            identifier: self.numbers(organisation),
            status: Some(self.status),
            category: coded(self.obr.field(24))
                .map(|section| section.concept_in(SERVICE_SECTION, organisation))
                .into_iter()
                .collect(),
            code: None,
            subject: subject(),
            encounter: self.visit.map(|visit| visit.reference()),
            effective_date_time: occurred.filter(|_| ended.is_none()).and_then(times::date_time),
            effective_period: ended.and_then(|_| times::period(occurred, ended)),
            issued: self.issued.as_ref().and_then(times::instant),
            performer: clinicians(34).collect(),
            results_interpreter: clinicians(32).take(1).collect(),
            result: made.iter().filter(|made| !made.withdrawn).map(result).collect(),
            conclusion: conclusion(order).map(Into::into),
        }
    }

    fn numbers(&self, organisation: &str) -> Vec<Identifier<'a>> {
        let mut numbers = Vec::new();
        for (field, code, display) in [(3, "FILL", "Filler Identifier"), (2, "PLAC", "Placer Identifier")] {
            let Some(ei) = self.obr.field(field).repetitions().next() else { continue };
            let value = ei.component(1);
            if value.is_empty() {
                continue;
            }
            let authority = ei.component(2);
            let authority = if authority.is_empty() { code } else { authority.as_ref() };
            let number = identifier(local_uri("order", organisation, authority), value);
            numbers.push(Identifier { r#type: Some(concept(V2_IDENTIFIER_TYPE, code, display)), ..number });
        }
        numbers
    }
}

fn coded(field: Field<'_>) -> Option<Coded<'_>> {
    field.repetitions().find_map(|r| Coded::read(&r))
}

/// Table 0123.
fn status(facts: &mut Facts<'_>, obr: Segment<'_>) -> DiagnosticReportStatus {
    match obr.field(25).text().as_deref() {
        Some("F") => DiagnosticReportStatus::Final,
        Some("P" | "M") => DiagnosticReportStatus::Preliminary,
        Some("A" | "R") => DiagnosticReportStatus::Partial,
        Some("C") => DiagnosticReportStatus::Corrected,
        Some("I" | "O" | "S" | "N") => DiagnosticReportStatus::Registered,
        Some("X") => DiagnosticReportStatus::Cancelled,
        Some(_) => {
            facts.issues.push(warning("status-unknown", obr.location(25), "not a known status of a report"));
            DiagnosticReportStatus::Unknown
        }
        None => {
            facts.issues.push(warning("status-missing", obr.location(25), "a report without a status"));
            DiagnosticReportStatus::Unknown
        }
    }
}

fn conclusion(order: &Order<'_>) -> Option<String> {
    let lines: Vec<String> = order.notes.iter().filter_map(|nte| value::narrative(nte.field(3))).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Running text where that is all there is; else `5 results, 1 abnormal`.
fn detail(order: &Order<'_>, made: &[Made]) -> String {
    let standing = made.iter().filter(|made| !made.withdrawn);
    let texts: Vec<&str> = standing.clone().filter_map(|made| made.narrative.as_deref()).collect();
    let (count, abnormal) = (standing.clone().count(), standing.filter(|made| made.abnormal).count());
    if count == texts.len() && count < 3 {
        let conclusion = conclusion(order);
        let all = joined(texts.into_iter().chain(conclusion.as_deref()), " ");
        return one_line(&all);
    }
    let results = if count == 1 { "1 result".to_owned() } else { format!("{count} results") };
    if abnormal > 0 { format!("{results}, {abnormal} abnormal") } else { results }
}
