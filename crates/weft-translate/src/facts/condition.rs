//! Diagnoses (DG1). One is known by its own identifier (DG1-20) where it has one, else by its visit, code and type.

use weft_model::{
    When,
    proto::event::{Code, LineKind},
};

use super::{
    coded::{Coded, ICD_10, coding, concept, local_uri, statuses, text_concept},
    fhir::{CodeableConcept, Condition, Identifier},
    ids::{Said, Unique, fhir_id, text_id},
    patient::{identifier, subject},
    people::Clinician,
    telling::{Facts, Telling, joined, line},
    times,
    visit::Visit,
};
use crate::{
    hl7v2::Segment,
    issue::{information, warning},
};

const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/condition-category";
const VERIFICATION: &str = "http://terminology.hl7.org/CodeSystem/condition-ver-status";
const CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/condition-clinical";
const DIAGNOSIS_TYPE: &str = "http://terminology.hl7.org/CodeSystem/v2-0052";

/// A DG1 as read.
struct Diagnosis<'a> {
    dg1: Segment<'a>,
    coded: Option<Coded<'a>>,
    /// DG1-4.
    description: String,
    /// DG1-6.
    kind: Option<Coded<'a>>,
    onset: Option<When>,
    withdrawn: bool,
}

/// Tells of every diagnosis in the message.
pub(crate) fn tell(facts: &mut Facts<'_>, visit: Option<&Visit>) {
    let (mut ids, mut said) = (Unique::default(), Said::default());
    for dg1 in facts.message.all("DG1") {
        if !said.is_new(dg1) {
            facts.issues.push(information(
                "segment-repeated",
                dg1.place(),
                "a diagnosis that the message states twice",
            ));
            continue;
        }
        let Some(diagnosis) = Diagnosis::read(facts, dg1) else {
            let text = "a diagnosis that does not say which; it is kept in the message only";
            facts.issues.push(warning("diagnosis-missing", dg1.location(3), text));
            continue;
        };
        let id = ids.number(diagnosis.id(visit));
        diagnosis.tell(facts, visit, id);
    }
}

impl<'a> Diagnosis<'a> {
    fn read(facts: &mut Facts<'_>, dg1: Segment<'a>) -> Option<Self> {
        let coded = dg1.field(3).repetitions().find_map(|r| Coded::read(&r));
        let description = dg1.field(4).text().map(|text| text.into_owned()).unwrap_or_default();
        if coded.is_none() && description.is_empty() {
            return None;
        }
        Some(Self {
            dg1,
            coded,
            description,
            kind: dg1.field(6).repetitions().find_map(|r| Coded::read(&r)),
            onset: facts.time(dg1.field(5)),
            withdrawn: dg1.field(21).text().as_deref() == Some("D"),
        })
    }

    fn id(&self, visit: Option<&Visit>) -> String {
        if let Some(own) = self.dg1.field(20).text() {
            return fhir_id(&own).into_owned();
        }
        let code = self.coded.as_ref().map(Coded::code).filter(|code| !code.is_empty());
        let what = code.map_or_else(|| text_id(self.name()), str::to_owned);
        let kind = self.kind.as_ref().map(Coded::code);
        let parts = [visit.map(|visit| visit.id.as_str()), Some(what.as_str()), kind];
        fhir_id(&joined(parts.into_iter().flatten(), ".")).into_owned()
    }

    fn name(&self) -> &str {
        let named = self.coded.as_ref().filter(|coded| coded.name() != coded.code() || self.description.is_empty());
        named.map_or(self.description.as_str(), Coded::name)
    }

    /// The coding method (DG1-2) says what system the code is of, where DG1-3 does not.
    fn is_icd_10(&self) -> bool {
        let stated = self.coded.as_ref().is_some_and(|coded| !coded.system().is_empty());
        let method = self.dg1.field(2).text();
        !stated && method.is_some_and(|method| matches!(method.as_ref(), "I10" | "ICD10" | "ICD-10" | "10"))
    }

    fn tell(&self, facts: &mut Facts<'_>, visit: Option<&Visit>, id: String) {
        let mut telling = Telling::new("Condition", id.clone(), self.dg1.place());
        telling.withdrawn = self.withdrawn;
        telling.occurred = self.onset.or(facts.context.occurred);
        telling.recorded = facts.time(self.dg1.field(19));
        let mut line = line(LineKind::Condition, self.name());
        line.detail = self.kind.as_ref().map(|kind| kind_name(kind).to_owned()).unwrap_or_default();
        line.code = self.coded.as_ref().and_then(Coded::line_code).map(|code| self.in_icd_10(code));
        line.status = if self.withdrawn { "entered-in-error" } else { "active" }.to_owned();
        line.encounter = visit.map(|visit| visit.id.clone()).unwrap_or_default();
        telling.line = Some(line);
        let resource = self.resource(facts.context.profile.organisation(), visit, id, telling.recorded);
        facts.tell(telling, &resource);
    }

    fn in_icd_10(&self, code: Code) -> Code {
        if self.is_icd_10() { Code { system: ICD_10.to_owned(), ..code } } else { code }
    }

    fn resource(&self, organisation: &str, visit: Option<&Visit>, id: String, recorded: Option<When>) -> Condition<'_> {
        let (clinical_status, verification_status) = statuses(self.withdrawn, CLINICAL, VERIFICATION);
        let mut category = concept(CATEGORY, "encounter-diagnosis", "Encounter Diagnosis");
        if let Some(kind) = self.kind.as_ref().filter(|kind| !kind.code().is_empty()) {
            category.coding.push(coding(DIAGNOSIS_TYPE, kind.code(), kind_name(kind)));
        }
        let asserter = self.dg1.field(16).repetitions().find_map(|r| Clinician::read(&r, organisation));
        Condition {
            id: Some(id.into()),
            identifier: self.own_number(organisation).into_iter().collect(),
            clinical_status,
            verification_status,
            category: vec![category],
            code: Some(self.code(organisation)),
            subject: subject(),
            encounter: visit.map(Visit::reference),
            onset_date_time: self.onset.as_ref().and_then(times::date_time),
            recorded_date: recorded.as_ref().and_then(times::date_time),
            asserter: asserter.map(Clinician::into_reference),
        }
    }

    /// DG1-20.
    fn own_number(&self, organisation: &str) -> Option<Identifier<'_>> {
        let ei = self.dg1.field(20).repetitions().next().filter(|ei| !ei.component(1).is_empty())?;
        let authority = ei.component(2);
        let authority = if authority.is_empty() { "DG1-20" } else { authority.as_ref() };
        Some(identifier(local_uri("diagnosis", organisation, authority), ei.component(1)))
    }

    fn code(&self, organisation: &str) -> CodeableConcept<'_> {
        let mut code = match &self.coded {
            Some(coded) if self.is_icd_10() => coded.concept_in(ICD_10, organisation),
            Some(coded) => coded.concept(organisation, None),
            None => return text_concept(&self.description),
        };
        if !self.description.is_empty() {
            code.text = Some(self.description.as_str().into());
        }
        code
    }
}

/// Table 0052.
fn kind_name<'k>(kind: &'k Coded<'_>) -> &'k str {
    match kind.code() {
        "A" => "admitting",
        "W" => "working",
        "F" => "final",
        _ => kind.name(),
    }
}
