//! Which visit a message is about, and of what class.

use std::borrow::Cow;

use weft_model::{When, proto::event::Code};

use super::{
    coded::{coding, local_uri},
    fhir::{Coding, Reference},
    ids::fhir_id,
    telling::Facts,
    times,
};
use crate::{
    hl7v2::Segment,
    issue::{information, warning},
};

const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const PATIENT_CLASS: &str = "http://terminology.hl7.org/CodeSystem/v2-0004";
const NULL_FLAVOR: &str = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor";

/// A visit as PV1 tells of it.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    /// `Encounter.id`.
    pub(crate) id: String,
    pub(crate) class: Class,
    /// PV1-44 and PV1-45.
    pub(crate) admitted: Option<When>,
    pub(crate) discharged: Option<When>,
}

/// PV1-2 in FHIR's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    system: Cow<'static, str>,
    pub(crate) code: String,
    display: &'static str,
}

impl Visit {
    /// Reads the visit of PV1. `None` where it speaks of none: it is empty, or its class is "not applicable".
    ///
    /// A visit without a number is named by when it began and its class, so that its other messages name it alike.
    pub(crate) fn read(facts: &mut Facts<'_>, pv1: Segment<'_>) -> Option<Self> {
        let code = pv1.field(2).text().unwrap_or_default();
        let number = pv1.field(19).text().map(Cow::into_owned).unwrap_or_default();
        let placed = !pv1.field(3).is_absent() && !pv1.field(3).is_null();
        let says = !number.is_empty() || !pv1.field(44).is_absent() || placed || is_class_of_a_visit(&code);
        if !says || (code == "N" && number.is_empty()) {
            return None;
        }
        let (admitted, discharged) = (facts.time(pv1.field(44)), facts.time(pv1.field(45)));
        if number.is_empty() && admitted.is_none() && !is_movement(facts.context.trigger) {
            let text = "neither a number nor a time of admission says which visit this is";
            facts.issues.push(information("visit-unknown", pv1.location(19), text));
            return None;
        }
        let class = Class::read(facts, pv1, &code);
        let id = if number.is_empty() {
            let text = "the visit has no number; it is named by when it began and its class";
            facts.issues.push(information("visit-number-missing", pv1.location(19), text));
            let began = admitted.or(facts.context.occurred).or(facts.context.recorded);
            format!("visit-{}-{}", began.as_ref().map(times::digits).unwrap_or_default(), class.code)
        } else {
            number
        };
        Some(Self { id: fhir_id(&id).into_owned(), class, admitted, discharged })
    }

    /// For other resources of the message.
    pub(crate) fn reference(&self) -> Reference<'static> {
        Reference::to(["Encounter/", &self.id].concat())
    }
}

/// Events that happen to a visit at a time: that time may stand for the visit where nothing else does.
pub(crate) fn is_movement(trigger: &str) -> bool {
    matches!(trigger, "A01" | "A02" | "A03" | "A04" | "A05" | "A11" | "A12" | "A13")
}

fn is_class_of_a_visit(code: &str) -> bool {
    !matches!(code, "" | "N" | "U")
}

impl Class {
    /// The feed's own map, else table 0004; a code of neither stays the organisation's own.
    fn read(facts: &mut Facts<'_>, pv1: Segment<'_>, code: &str) -> Self {
        if let Some(known) = facts.context.profile.patient_class(code) {
            return Self::act(known);
        }
        match code.to_ascii_uppercase().as_str() {
            "I" => Self::act("IMP"),
            "O" => Self::act("AMB"),
            "E" => Self::act("EMER"),
            "P" => Self::act("PRENC"),
            "" => {
                facts.issues.push(warning("patient-class-missing", pv1.location(2), "the visit has no patient class"));
                Self { system: NULL_FLAVOR.into(), code: "UNK".to_owned(), display: "unknown" }
            }
            table @ ("R" | "B" | "C" | "N" | "U") => {
                Self { system: PATIENT_CLASS.into(), code: table.to_owned(), display: "" }
            }
            _ => {
                let text = "not a known patient class; map it in the feed's profile";
                facts.issues.push(warning("code-unknown", pv1.location(2), text));
                let system = local_uri("patient-class", facts.context.profile.organisation(), "PV1-2").into();
                Self { system, code: code.to_owned(), display: "" }
            }
        }
    }

    fn act(code: &str) -> Self {
        let display = match code {
            "IMP" => "inpatient encounter",
            "AMB" => "ambulatory",
            "EMER" => "emergency",
            "PRENC" => "pre-admission",
            "ACUTE" => "inpatient acute",
            "NONAC" => "inpatient non-acute",
            "SS" => "short stay",
            "OBSENC" => "observation encounter",
            "HH" => "home health",
            "FLD" => "field",
            "VR" => "virtual",
            _ => "",
        };
        Self { system: ACT_CODE.into(), code: code.to_owned(), display }
    }

    /// Patients of this class stay.
    pub(crate) fn is_inpatient(&self) -> bool {
        matches!(self.code.as_str(), "IMP" | "ACUTE" | "NONAC" | "SS")
    }

    /// Patients of this class come for an appointment.
    pub(crate) fn is_outpatient(&self) -> bool {
        matches!(self.code.as_str(), "AMB" | "VR")
    }

    /// Patients of this class come unexpected.
    pub(crate) fn is_emergency(&self) -> bool {
        self.code == "EMER"
    }

    pub(crate) fn coding(&self) -> Coding<'_> {
        coding(&self.system, &self.code, self.display)
    }

    /// For a line.
    pub(crate) fn code(&self) -> Code {
        Code { system: self.system.to_string(), code: self.code.clone(), display: self.display.to_owned() }
    }
}
