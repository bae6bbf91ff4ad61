//! Allergies and intolerances (AL1, IAM). One is known by its own identifier (IAM-7) where it has one, else by what it is
//! to.

use fhir_sdk::r4b::codes::{
    AllergyIntoleranceCategory as Category, AllergyIntoleranceCriticality as Criticality,
    AllergyIntoleranceSeverity as Severity, AllergyIntoleranceType as Type,
};
use weft_model::{When, proto::event::LineKind};

use super::{
    coded::{Coded, statuses, text_concept},
    fhir::{AllergyIntolerance, AllergyIntoleranceReaction},
    ids::{Said, Unique, fhir_id, text_id},
    patient::subject,
    telling::{Facts, Telling, joined, line},
    times,
};
use crate::{
    hl7v2::Segment,
    issue::{information, warning},
};

const CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical";
const VERIFICATION: &str = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification";

/// An AL1 or IAM as read: both have the kind in field 2, what it is to in 3, the severity in 4 and reactions in 5.
struct Allergy<'a> {
    segment: Segment<'a>,
    kind: Option<Coded<'a>>,
    to: Coded<'a>,
    severity: Option<Coded<'a>>,
    reactions: Vec<String>,
    onset: Option<When>,
    reported: Option<When>,
    withdrawn: bool,
}

/// Tells of every allergy in the message.
pub(crate) fn tell(facts: &mut Facts<'_>) {
    let (mut ids, mut said) = (Unique::default(), Said::default());
    let message = facts.message;
    for segment in message.all("AL1").chain(message.all("IAM")) {
        if !said.is_new(segment) {
            let text = "an allergy that the message states twice";
            facts.issues.push(information("segment-repeated", segment.place(), text));
            continue;
        }
        let Some(allergy) = Allergy::read(facts, segment) else {
            let text = "an allergy that does not say to what; it is kept in the message only";
            facts.issues.push(warning("allergen-missing", segment.location(3), text));
            continue;
        };
        let id = ids.number(allergy.id());
        allergy.tell(facts, id);
    }
}

impl<'a> Allergy<'a> {
    fn read(facts: &mut Facts<'_>, segment: Segment<'a>) -> Option<Self> {
        let coded = |field: usize| segment.field(field).repetitions().find_map(|r| Coded::read(&r));
        let to = coded(3)?;
        let iam = segment.name() == "IAM";
        let reactions = segment.field(5).repetitions().filter_map(|r| Coded::read(&r));
        Some(Self {
            segment,
            kind: coded(2),
            to,
            severity: coded(4),
            reactions: reactions.map(|reaction| reaction.name().to_owned()).collect(),
            onset: facts.time(segment.field(if iam { 11 } else { 6 })),
            reported: if iam { facts.time(segment.field(13)) } else { None },
            withdrawn: iam && segment.field(6).text().as_deref() == Some("D"),
        })
    }

    fn id(&self) -> String {
        let own = if self.segment.name() == "IAM" { self.segment.field(7).text() } else { None };
        match (own, self.to.code()) {
            (Some(own), _) => fhir_id(&own).into_owned(),
            (None, "") => text_id(self.to.name()),
            (None, code) => fhir_id(code).into_owned(),
        }
    }

    fn tell(&self, facts: &mut Facts<'_>, id: String) {
        let mut telling = Telling::new("AllergyIntolerance", id.clone(), self.segment.place());
        telling.withdrawn = self.withdrawn;
        telling.occurred = self.onset.or(facts.context.occurred);
        telling.recorded = self.reported;
        let mut line = line(LineKind::Allergy, self.to.name());
        let severity = self.severity.as_ref().map(|severity| severity_name(severity).to_owned());
        let reactions = self.reactions.iter().map(String::as_str);
        line.detail = joined(severity.as_deref().into_iter().chain(reactions), ", ");
        line.code = self.to.line_code();
        line.status = if self.withdrawn { "entered-in-error" } else { "active" }.to_owned();
        telling.line = Some(line);
        let resource = self.resource(facts.context.profile.organisation(), id);
        facts.tell(telling, &resource);
    }

    fn resource(&self, organisation: &str, id: String) -> AllergyIntolerance<'_> {
        let (clinical_status, verification_status) = statuses(self.withdrawn, CLINICAL, VERIFICATION);
        let kind = self.kind.as_ref().map(Coded::code).unwrap_or_default();
        let severity = self.severity.as_ref().map(Coded::code).unwrap_or_default();
        let reaction = (!self.reactions.is_empty()).then(|| AllergyIntoleranceReaction {
            manifestation: self.reactions.iter().map(text_concept).collect(),
            severity: reaction_severity(severity),
        });
        AllergyIntolerance {
            id: Some(id.into()),
            clinical_status,
            verification_status,
            r#type: kind_type(kind),
            category: category(kind).into_iter().collect(),
            criticality: criticality(severity),
            code: Some(self.to.concept(organisation, None)),
            patient: subject(),
            onset_date_time: self.onset.as_ref().and_then(times::date_time),
            recorded_date: self.reported.as_ref().and_then(times::date_time),
            reaction: reaction.into_iter().collect(),
        }
    }
}

/// Table 0127.
fn category(kind: &str) -> Option<Category> {
    match kind {
        "DA" => Some(Category::Medication),
        "FA" => Some(Category::Food),
        "EA" | "PA" | "LA" => Some(Category::Environment),
        "AA" => Some(Category::Biologic),
        _ => None,
    }
}

fn kind_type(kind: &str) -> Option<Type> {
    match kind {
        "DA" | "FA" | "MA" | "EA" | "PA" | "LA" | "AA" => Some(Type::Allergy),
        "DI" | "FI" => Some(Type::Intolerance),
        _ => None,
    }
}

/// Table 0128.
fn criticality(severity: &str) -> Option<Criticality> {
    match severity {
        "SV" => Some(Criticality::High),
        "MI" => Some(Criticality::Low),
        _ => None,
    }
}

fn reaction_severity(severity: &str) -> Option<Severity> {
    match severity {
        "SV" => Some(Severity::Severe),
        "MO" => Some(Severity::Moderate),
        "MI" => Some(Severity::Mild),
        _ => None,
    }
}

fn severity_name<'s>(severity: &'s Coded<'_>) -> &'s str {
    match severity.code() {
        "SV" => "severe",
        "MO" => "moderate",
        "MI" => "mild",
        "U" => "",
        _ => severity.name(),
    }
}
