//! Visits and their movements. Each movement is a fact of its own, holding the visit as it was told then; all have the
//! visit's number as `Encounter.id`, and their own identifier says which movement it is:
//!
//! | event | fact | line |
//! |---|---|---|
//! | A01, taken back by A11 | `V/admit` | ADMISSION |
//! | A04, taken back by A11 | `V/attendance` | ATTENDANCE |
//! | A02, taken back by A12 | `V/transfer/DAY/FROM/TO` | TRANSFER |
//! | A03, taken back by A13 | `V/discharge` | DISCHARGE |
//! | A05 | `V/pre-admit` | PRE_ADMISSION |
//! | A08, A28, A31 | `V/update` | ENCOUNTER |
//!
//! The message that takes a movement back must come to the identifier that the movement had. For a transfer that is its
//! day and both places: an A12 names in PV1-3 where the patient was before, and in PV1-6 where they did not go after all.
//! HL7 has EVN-6 of a cancellation be the time of what is cancelled, but many senders put in it the time of cancelling,
//! so the time of day cannot be part of it. Moving twice in a day between the same two beds is one line.

use fhir_sdk::r4b::codes::{EncounterLocationStatus, EncounterStatus};
use weft_model::{
    When,
    proto::event::{Line, LineKind},
};

use super::{
    coded::{Coded, V2_IDENTIFIER_TYPE, concept, local_uri},
    fhir::{
        CodeableConcept, Encounter, EncounterHospitalization, EncounterLocation, EncounterParticipant, Identifier, Text,
    },
    patient::{identifier, subject},
    people::Clinician,
    place::Place,
    telling::{Facts, Telling, joined, line},
    times,
    visit::Visit,
};
use crate::{
    hl7v2::{Field, Segment},
    issue::{information, warning},
};

const ADMISSION_TYPE: &str = "http://terminology.hl7.org/CodeSystem/v2-0007";
const PARTICIPATION_TYPE: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";

/// What a message does to a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Movement {
    Admit,
    Attend,
    Transfer,
    Discharge,
    PreAdmit,
    Update,
}

/// A visit with what its facts and lines are made of.
struct Told<'m, 'v> {
    visit: &'v Visit,
    pv1: Segment<'m>,
    pv2: Option<Segment<'m>>,
    /// Where the patient goes and where they were: PV1-3 and PV1-6, in an A12 the other way round.
    place: Option<Place>,
    before: Option<Place>,
    /// PV2-8.
    expected: Option<When>,
    participants: Vec<(Clinician, &'static Role)>,
}

struct Role {
    field: usize,
    code: &'static str,
    display: &'static str,
}

/// In the order in which a line names one of them: the consultant who is responsible is in PV1-9 or PV1-7.
const ROLES: [Role; 4] = [
    Role { field: 9, code: "CON", display: "consultant" },
    Role { field: 7, code: "ATND", display: "attender" },
    Role { field: 17, code: "ADM", display: "admitter" },
    Role { field: 8, code: "REF", display: "referrer" },
];

/// Tells of the visit, by the message's event.
pub(crate) fn tell<'m>(facts: &mut Facts<'m>, pv1: Segment<'m>, visit: &Visit) {
    let movement = match facts.context.trigger {
        "A01" | "A11" => Movement::Admit,
        "A04" => Movement::Attend,
        "A02" | "A12" => Movement::Transfer,
        "A03" | "A13" => Movement::Discharge,
        "A05" => Movement::PreAdmit,
        _ => Movement::Update,
    };
    let told = Told::read(facts, pv1, visit);
    match facts.context.trigger {
        "A11" => {
            // A11 takes back an A01 or an A04; its class says which, unless it says neither.
            if !visit.class.is_outpatient() {
                told.tell(facts, Movement::Admit, format!("{}/admit", visit.id), true);
            }
            if !visit.class.is_inpatient() {
                told.tell(facts, Movement::Attend, format!("{}/attendance", visit.id), true);
            }
        }
        "A12" => {
            for id in told.cancelled_transfers(facts) {
                told.tell(facts, movement, id, true);
            }
        }
        "A13" => told.tell(facts, movement, format!("{}/discharge", visit.id), true),
        _ => {
            let id = told.id(facts, movement);
            told.tell(facts, movement, id, false);
        }
    }
}

impl<'m, 'v> Told<'m, 'v> {
    fn read(facts: &mut Facts<'m>, pv1: Segment<'m>, visit: &'v Visit) -> Self {
        let organisation = facts.context.profile.organisation();
        let pv2 = facts.message.first("PV2");
        let mut participants = Vec::new();
        for role in &ROLES {
            for xcn in pv1.field(role.field).repetitions() {
                participants.extend(Clinician::read(&xcn, organisation).map(|clinician| (clinician, role)));
            }
        }
        let (mut place, mut before) = (Place::read(pv1.field(3)), Place::read(pv1.field(6)));
        if facts.context.trigger == "A12" {
            std::mem::swap(&mut place, &mut before);
        }
        Self { visit, pv1, pv2, place, before, expected: pv2.and_then(|pv2| facts.time(pv2.field(8))), participants }
    }

    fn id(&self, facts: &mut Facts<'_>, movement: Movement) -> String {
        let visit = &self.visit.id;
        match movement {
            Movement::Admit => format!("{visit}/admit"),
            Movement::Attend => format!("{visit}/attendance"),
            Movement::Discharge => format!("{visit}/discharge"),
            Movement::PreAdmit => format!("{visit}/pre-admit"),
            Movement::Update => format!("{visit}/update"),
            Movement::Transfer => {
                if self.place.is_none() {
                    let text = "a transfer that does not say where to";
                    facts.issues.push(warning("transfer-location-missing", self.pv1.location(3), text));
                }
                let when = facts.context.occurred.or(facts.context.recorded);
                self.transfer_id(when.as_ref(), self.before.as_ref(), self.place.as_ref())
            }
        }
    }

    fn transfer_id(&self, when: Option<&When>, from: Option<&Place>, to: Option<&Place>) -> String {
        let key = |place: Option<&Place>| place.map(|p| p.key.clone()).unwrap_or_default();
        let day = when.map(times::day_digits).unwrap_or_default();
        format!("{}/transfer/{day}/{}/{}", self.visit.id, key(from), key(to))
    }

    /// Identifiers that the transfer may have had: on the day of EVN-6 or of EVN-2, or the evening before where that is in
    /// the small hours; told with or without PV1-6.
    fn cancelled_transfers(&self, facts: &mut Facts<'_>) -> Vec<String> {
        let Some(to) = &self.place else {
            let text = "a cancelled transfer that does not say where to: which it was cannot be told";
            facts.issues.push(warning("cancelled-transfer-unknown", self.pv1.location(6), text));
            return Vec::new();
        };
        let mut ids: Vec<String> = Vec::new();
        let times = [facts.context.occurred, facts.context.recorded];
        let evenings = times.map(|when| when.as_ref().and_then(times::evening_before));
        for when in times.into_iter().chain(evenings).flatten() {
            for from in [self.before.as_ref(), None] {
                let id = self.transfer_id(Some(&when), from, Some(to));
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
        }
        ids
    }

    fn tell(&self, facts: &mut Facts<'_>, movement: Movement, id: String, withdrawn: bool) {
        let context = facts.context;
        let event = context.occurred.or(context.recorded);
        let mut telling = Telling::new("Encounter", id, self.pv1.place());
        telling.withdrawn = withdrawn;
        telling.occurred = match movement {
            Movement::Admit | Movement::Attend => self.visit.admitted.or(event),
            Movement::Discharge => self.visit.discharged.or(event),
            Movement::Transfer | Movement::PreAdmit | Movement::Update => event,
        };
        let status = self.status(movement, withdrawn);
        telling.line = Some(self.line(movement, status));
        let resource = self.resource(facts, movement, status);
        facts.tell(telling, &resource);
    }

    fn status(&self, movement: Movement, withdrawn: bool) -> EncounterStatus {
        match movement {
            _ if withdrawn && matches!(movement, Movement::Admit | Movement::Attend) => EncounterStatus::Cancelled,
            Movement::Discharge if withdrawn => EncounterStatus::InProgress,
            Movement::Discharge => EncounterStatus::Finished,
            _ if self.visit.discharged.is_some() => EncounterStatus::Finished,
            Movement::PreAdmit => EncounterStatus::Planned,
            Movement::Update if self.visit.class.code == "PRENC" => EncounterStatus::Planned,
            _ => EncounterStatus::InProgress,
        }
    }

    fn line(&self, movement: Movement, status: EncounterStatus) -> Line {
        let class = &self.visit.class;
        let (kind, what, preposition) = match movement {
            Movement::Admit => (LineKind::Admission, "Admitted", "to"),
            Movement::Transfer => (LineKind::Transfer, "Transferred", "to"),
            Movement::Discharge => (LineKind::Discharge, "Discharged", "from"),
            Movement::PreAdmit => (LineKind::PreAdmission, "Expected", "at"),
            Movement::Attend if class.is_emergency() => (LineKind::Attendance, "Emergency attendance", "at"),
            Movement::Attend if class.is_outpatient() => (LineKind::Attendance, "Outpatient attendance", "at"),
            Movement::Attend => (LineKind::Attendance, "Attendance", "at"),
            Movement::Update if class.is_inpatient() => (LineKind::Encounter, "Inpatient visit", "at"),
            Movement::Update if class.is_emergency() => (LineKind::Encounter, "Emergency visit", "at"),
            Movement::Update if class.is_outpatient() => (LineKind::Encounter, "Outpatient visit", "at"),
            Movement::Update => (LineKind::Encounter, "Visit", "at"),
        };
        let title = match &self.place {
            Some(place) => format!("{what} {preposition} {}", place.display),
            None => what.to_owned(),
        };
        let mut line = line(kind, title);
        line.detail = self.detail(movement);
        line.code = Some(class.code());
        line.status = status.as_ref().to_owned();
        line.encounter.clone_from(&self.visit.id);
        line
    }

    /// `from Ward 3; Dr Kathleen Woolfson; MED; chest pain`.
    fn detail(&self, movement: Movement) -> String {
        let first = match movement {
            Movement::Transfer => self.before.as_ref().map(|place| format!("from {}", place.display)),
            Movement::Discharge => self.coded(36).map(|coded| coded.name().to_owned()),
            Movement::PreAdmit => {
                let expected = self.expected.or(self.visit.admitted);
                expected.and_then(|when| when.to_display().ok()).map(|when| format!("for {when}"))
            }
            _ => None,
        };
        let clinician = self.participants.first().map(|(clinician, _)| clinician.display.as_str());
        let service = self.coded(10);
        let reason = self.reason();
        let names = [service.as_ref().map(Coded::name), reason.as_ref().map(Coded::name)];
        joined([first.as_deref(), clinician].into_iter().chain(names).flatten(), "; ")
    }

    fn coded(&self, field: usize) -> Option<Coded<'m>> {
        read_coded(self.pv1.field(field))
    }

    fn reason(&self) -> Option<Coded<'m>> {
        self.pv2.and_then(|pv2| read_coded(pv2.field(3)))
    }

    fn resource(&self, facts: &mut Facts<'_>, movement: Movement, status: EncounterStatus) -> Encounter<'_> {
        let organisation = facts.context.profile.organisation();
        let visit = self.visit;
        let event = facts.context.occurred.or(facts.context.recorded);
        let start = match movement {
            Movement::Admit | Movement::Attend => visit.admitted.or(event),
            _ => visit.admitted,
        };
        let end = if movement == Movement::Discharge { visit.discharged.or(event) } else { visit.discharged };
        if let (Some(start), Some(end)) = (start, end)
            && end.start_us < start.start_us
        {
            let text = "the visit ends before it begins";
            facts.issues.push(information("period-reversed", self.pv1.location(45), text));
        }
        let participants = self.participants.iter().map(|(clinician, role)| EncounterParticipant {
            r#type: vec![concept(PARTICIPATION_TYPE, role.code, role.display)],
            individual: Some(clinician.reference()),
        });
        Encounter {
            id: Some(visit.id.as_str().into()),
            identifier: self.numbers(organisation),
            status: Some(status),
            class: Some(visit.class.coding()),
            r#type: self.concept(4, organisation).into_iter().collect(),
            service_type: self.concept(10, organisation),
            subject: subject(),
            participant: participants.collect(),
            period: times::period(start.as_ref(), end.as_ref()),
            reason_code: self.reason().map(|reason| reason.concept(organisation, None)).into_iter().collect(),
            hospitalization: self.hospitalization(organisation),
            location: self.places(movement, status),
        }
    }

    fn places(&self, movement: Movement, status: EncounterStatus) -> Vec<EncounterLocation<'_>> {
        let before = self.before.as_ref().filter(|_| movement == Movement::Transfer);
        let before = before.map(|place| (place, EncounterLocationStatus::Completed));
        let now = self.place.as_ref().map(|place| (place, place_status(status)));
        let all = before.into_iter().chain(now);
        all.map(|(place, status)| EncounterLocation { location: Some(place.reference()), status: Some(status) })
            .collect()
    }

    /// PV1-19 and PV1-50, which is the same visit by another number.
    fn numbers(&self, organisation: &str) -> Vec<Identifier<'m>> {
        let mut numbers = Vec::new();
        for (field, code, display) in [(19, "VN", "Visit number"), (50, "", "")] {
            let Some(cx) = self.pv1.field(field).repetitions().next().filter(|cx| !cx.component(1).is_empty()) else {
                continue;
            };
            let authority = cx.component(4);
            let authority: Text<'_> = if authority.is_empty() { format!("PV1-{field}").into() } else { authority };
            let mut number = identifier(local_uri("visit", organisation, &authority), cx.component(1));
            if !code.is_empty() {
                number.r#type = Some(concept(V2_IDENTIFIER_TYPE, code, display));
            }
            numbers.push(number);
        }
        numbers
    }

    fn concept(&self, field: usize, organisation: &str) -> Option<CodeableConcept<'m>> {
        let coded = self.coded(field)?;
        // Only HL7's own codes are in HL7's tables: the UK puts the Data Dictionary's numbers there.
        let hl7 = field == 4 && coded.code().bytes().all(|b| b.is_ascii_uppercase());
        Some(if hl7 { coded.concept_in(ADMISSION_TYPE, organisation) } else { coded.concept(organisation, None) })
    }

    fn hospitalization(&self, organisation: &str) -> Option<EncounterHospitalization<'m>> {
        let stay = EncounterHospitalization {
            admit_source: self.concept(14, organisation),
            destination: Place::read(self.pv1.field(37)).map(Place::into_reference),
            discharge_disposition: self.concept(36, organisation),
        };
        let said = stay.admit_source.is_some() || stay.destination.is_some() || stay.discharge_disposition.is_some();
        said.then_some(stay)
    }
}

fn read_coded(field: Field<'_>) -> Option<Coded<'_>> {
    field.repetitions().find_map(|repetition| Coded::read(&repetition))
}

fn place_status(status: EncounterStatus) -> EncounterLocationStatus {
    match status {
        EncounterStatus::Finished | EncounterStatus::Cancelled => EncounterLocationStatus::Completed,
        EncounterStatus::Planned => EncounterLocationStatus::Planned,
        _ => EncounterLocationStatus::Active,
    }
}
