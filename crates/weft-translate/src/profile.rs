//! A feed's profile: the registration file, checked once and compiled, so that no message pays for it.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use weft_model::proto::event::Code;

/// A compiled feed profile.
#[derive(Debug)]
pub struct Profile {
    organisation: String,
    zone: TimeZone,
    identifiers: Identifiers,
    codes: Codes,
}

#[derive(Debug)]
struct Identifiers {
    local: Option<CxRule>,
    system: Option<String>,
    nhs_number: Vec<CxRule>,
}

/// Which repetitions of a CX field a rule is about. At least one condition is given.
#[derive(Debug)]
pub(crate) struct CxRule {
    /// CX.4.1, compared without case.
    pub(crate) authority: Option<String>,
    /// CX.5, compared without case.
    pub(crate) kind: Option<String>,
}

#[derive(Debug)]
struct Codes {
    sex: HashMap<String, String>,
    patient_class: HashMap<String, String>,
    observation: HashMap<String, Code>,
}

impl Profile {
    /// ODS code of the organisation.
    #[must_use]
    pub fn organisation(&self) -> &str {
        &self.organisation
    }

    /// The zone in which times without an offset are read.
    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    pub(crate) fn local_rule(&self) -> Option<&CxRule> {
        self.identifiers.local.as_ref()
    }

    pub(crate) fn identifier_system(&self) -> Option<&str> {
        self.identifiers.system.as_deref()
    }

    pub(crate) fn nhs_number_rules(&self) -> &[CxRule] {
        &self.identifiers.nhs_number
    }

    /// FHIR administrative gender for the feed's own code of PID-8, where its map has it.
    pub(crate) fn sex(&self, code: &str) -> Option<&str> {
        self.codes.sex.get(code).map(String::as_str)
    }

    /// FHIR encounter class (`IMP`, `AMB`, `EMER` ...) for the feed's own code of PV1-2, where its map has it.
    pub(crate) fn patient_class(&self, code: &str) -> Option<&str> {
        self.codes.patient_class.get(code).map(String::as_str)
    }

    /// Canonical code for the feed's own code of OBX-3 or OBR-4, where its map has it.
    pub(crate) fn observation(&self, code: &str) -> Option<&Code> {
        self.codes.observation.get(code)
    }
}
