//! The general practice and practitioner that a patient is registered with (PD1-3, PD1-4): a line of the timeline, and a
//! part of the patient.
//!
//! The fact has one identifier for all practices: a patient is registered with one at a time, so the next is a new
//! version of it, and it can be withdrawn without saying which it was.

use std::borrow::Cow;

use weft_model::{
    OdsCode,
    proto::event::{Code, LineKind},
};

use super::{
    coded::{local_uri, text_concept},
    fhir::{HumanName, Identifier, Organization, OrganizationContact, Reference, text},
    ids::{fhir_id, text_id},
    people::Clinician,
    telling::{Facts, Telling, line},
};

pub(crate) const ODS: &str = "https://fhir.nhs.uk/Id/ods-organization-code";
const REGISTRATION: &str = "registration";

/// What PD1 says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Practice {
    /// ODS code; empty where the code is none.
    pub(crate) ods: String,
    /// The code as sent, if any.
    code: String,
    name: String,
    pub(crate) practitioner: Option<Clinician>,
}

impl Practice {
    /// `None` where neither practice nor practitioner is named.
    pub(crate) fn read(facts: &Facts<'_>) -> Option<Self> {
        let pd1 = facts.message.first("PD1")?;
        let organisation = facts.context.profile.organisation();
        let mut practice = Self::default();
        if let Some(xon) = pd1.field(3).repetitions().find(|xon| !xon.is_empty()) {
            let code = xon.text(3).or_else(|| xon.text(10)).map(Cow::into_owned).unwrap_or_default();
            let foreign =
                !matches!(xon.component(6).to_ascii_uppercase().as_str(), "" | "ODS" | "NHS" | "NACS" | "GPN");
            practice.name = xon.component(1).into_owned();
            practice.ods = ods_code(&code).filter(|_| !foreign).unwrap_or_default();
            practice.code = code;
            if practice.code.is_empty()
                && let Some(ods) = ods_code(&practice.name)
            {
                // A code where the name belongs.
                (practice.code, practice.ods) = (std::mem::take(&mut practice.name), ods);
            }
        }
        let mut practitioners = pd1.field(4).repetitions();
        practice.practitioner = practitioners.find_map(|xcn| Clinician::read(&xcn, organisation));
        let said = practice.is_named() || practice.practitioner.is_some();
        said.then_some(practice)
    }

    fn is_named(&self) -> bool {
        !self.code.is_empty() || !self.name.is_empty()
    }

    fn display(&self) -> &str {
        if self.name.is_empty() { &self.code } else { &self.name }
    }

    /// For `Patient.generalPractitioner`.
    pub(crate) fn references(&self, organisation: &str) -> Vec<Reference<'_>> {
        let practice = self.is_named().then(|| Reference {
            identifier: self.identifier(organisation),
            ..Reference::named("Organization", self.display())
        });
        practice.into_iter().chain(self.practitioner.as_ref().map(Clinician::reference)).collect()
    }

    fn identifier(&self, organisation: &str) -> Option<Identifier<'_>> {
        let (system, value) = match (self.code.as_str(), self.ods.as_str()) {
            ("", _) => return None,
            (code, "") => (local_uri("practice", organisation, "PD1-3").into(), code),
            (_, ods) => (ODS.into(), ods),
        };
        Some(Identifier { system: Some(system), value: Some(value.into()), ..Identifier::default() })
    }

    fn resource(&self, organisation: &str) -> Organization<'_> {
        let own = if self.ods.is_empty() { &self.code } else { &self.ods };
        let id = if own.is_empty() { text_id(self.display()).into() } else { fhir_id(own) };
        let contact = self.practitioner.as_ref().map(|practitioner| OrganizationContact {
            purpose: Some(text_concept("registered general practitioner")),
            name: Some(HumanName { text: Some(practitioner.display.as_str().into()), ..HumanName::default() }),
        });
        Organization {
            id: Some(id),
            identifier: self.identifier(organisation).into_iter().collect(),
            active: None,
            name: text(self.display()),
            contact: contact.into_iter().collect(),
        }
    }
}

/// Three to ten letters and digits, the first a letter, some digits.
fn ods_code(text: &str) -> Option<String> {
    let code = OdsCode::parse(text).ok()?;
    let good = code.as_str().starts_with(|c: char| c.is_ascii_alphabetic())
        && code.as_str().contains(|c: char| c.is_ascii_digit());
    good.then(|| code.as_str().to_owned())
}

/// Tells of the registration, or takes it back where PD1 clears it or the patient's location is hidden.
pub(crate) fn tell(facts: &mut Facts<'_>, practice: Option<&Practice>, hidden: bool) {
    let Some(pd1) = facts.message.first("PD1") else { return };
    let organisation = facts.context.profile.organisation();
    let mut telling = Telling::new("Organization", REGISTRATION, pd1.location(3));
    telling.occurred = facts.context.occurred;
    if hidden || (pd1.field(3).is_null() && practice.is_none()) {
        telling.withdrawn = true;
        telling.line = Some(line(LineKind::Registration, "Registration with a general practice"));
        let ended = Organization { id: Some(REGISTRATION.into()), active: Some(false), ..Organization::default() };
        facts.tell(telling, &ended);
        return;
    }
    let Some(practice) = practice else { return };
    let title = match (practice.is_named(), &practice.practitioner) {
        (true, _) => format!("Registered with {}", practice.display()),
        (false, Some(practitioner)) => format!("Registered with {}", practitioner.display),
        (false, None) => return,
    };
    let mut line = line(LineKind::Registration, title);
    line.status = "active".to_owned();
    if practice.is_named() {
        line.detail = practice.practitioner.as_ref().map(|gp| gp.display.clone()).unwrap_or_default();
        line.code = (!practice.ods.is_empty()).then(|| Code {
            system: ODS.to_owned(),
            code: practice.ods.clone(),
            display: practice.name.clone(),
        });
    }
    telling.line = Some(line);
    facts.tell(telling, &practice.resource(organisation));
}
