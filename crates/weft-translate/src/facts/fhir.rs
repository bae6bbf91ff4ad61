//! The resources and data types of FHIR R4 that facts are made of, each with the elements that are told, in FHIR's order.
//! Codes, dates and times are those of `fhir-sdk`. Its resources have every element that FHIR has, hundreds of bytes of which a
//! fact fills a few; these borrow from the message what it says. `fhir-sdk` is the judge: tests read every fact by its types,
//! strictly, and hold that nothing was lost in the reading.

use std::borrow::Cow;

use fhir_sdk::{
    Date, DateTime, Instant, Time,
    r4b::codes::{
        AddressType, AddressUse, AdministrativeGender, AllergyIntoleranceCategory, AllergyIntoleranceCriticality,
        AllergyIntoleranceSeverity, AllergyIntoleranceType, ContactPointSystem, ContactPointUse,
        DiagnosticReportStatus, EncounterLocationStatus, EncounterStatus, IdentifierUse, NameUse, ObservationStatus,
        QuantityComparator,
    },
};
use serde::Serialize;

/// What is not said is not written.
pub(crate) trait Element {
    fn is_absent(&self) -> bool;
}

impl<T> Element for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Element for Vec<T> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

/// A text that the message says, or one made of it.
pub(crate) type Text<'a> = Cow<'a, str>;

/// A text for an element; what is empty is not said.
pub(crate) fn text(text: &str) -> Option<Text<'_>> {
    (!text.is_empty()).then_some(Cow::Borrowed(text))
}

/// The same of one that may be borrowed already.
pub(crate) fn said<'a>(text: &Text<'a>) -> Option<Text<'a>> {
    (!text.is_empty()).then(|| text.clone())
}

/// Types of FHIR from their elements, which are named and ordered as there.
macro_rules! types {
    ($($(#[$about:meta])* $name:ident { $($(#[$attribute:meta])* $element:ident: $type:ty,)* })*) => {
        $(
            #[derive(Debug, Clone, Default, Serialize)]
            $(#[$about])*
            #[serde(rename_all = "camelCase")]
            pub(crate) struct $name<'a> {
                $($(#[$attribute])* #[serde(skip_serializing_if = "Element::is_absent")] pub(crate) $element: $type,)*
            }
        )*
    };
}

/// The same, each with its name as `resourceType`.
macro_rules! resources {
    ($($name:ident { $($elements:tt)* })*) => {
        types! { $(#[serde(tag = "resourceType")] $name { $($elements)* })* }
    };
}

types! {
    Coding {
        system: Option<Text<'a>>,
        code: Option<Text<'a>>,
        display: Option<Text<'a>>,
    }
    CodeableConcept {
        coding: Vec<Coding<'a>>,
        text: Option<Text<'a>>,
    }
    Identifier {
        extension: Vec<Extension<'a>>,
        r#use: Option<IdentifierUse>,
        r#type: Option<CodeableConcept<'a>>,
        system: Option<Text<'a>>,
        value: Option<Text<'a>>,
    }
    Reference {
        reference: Option<Text<'a>>,
        r#type: Option<Text<'a>>,
        identifier: Option<Identifier<'a>>,
        display: Option<Text<'a>>,
    }
    HumanName {
        r#use: Option<NameUse>,
        text: Option<Text<'a>>,
        family: Option<Text<'a>>,
        given: Vec<Text<'a>>,
        prefix: Vec<Text<'a>>,
    }
    Address {
        r#use: Option<AddressUse>,
        r#type: Option<AddressType>,
        line: Vec<Text<'a>>,
        city: Option<Text<'a>>,
        district: Option<Text<'a>>,
        postal_code: Option<Text<'a>>,
        country: Option<Text<'a>>,
    }
    ContactPoint {
        system: Option<ContactPointSystem>,
        value: Option<Text<'a>>,
        r#use: Option<ContactPointUse>,
    }
    Quantity {
        value: Option<f64>,
        comparator: Option<QuantityComparator>,
        unit: Option<Text<'a>>,
        system: Option<Text<'a>>,
        code: Option<Text<'a>>,
    }
    Range {
        low: Option<Quantity<'a>>,
        high: Option<Quantity<'a>>,
    }
    Ratio {
        numerator: Option<Quantity<'a>>,
        denominator: Option<Quantity<'a>>,
    }
    Attachment {
        content_type: Option<Text<'a>>,
        url: Option<Text<'a>>,
        size: Option<u32>,
        title: Option<Text<'a>>,
    }
    Annotation {
        text: Option<Text<'a>>,
    }
    Meta {
        security: Vec<Coding<'a>>,
    }
    Extension {
        url: Option<Text<'a>>,
        #[serde(flatten)]
        value: Option<Value<'a>>,
    }
    /// What is said of an element beside its value.
    FieldExtension {
        extension: Vec<Extension<'a>>,
    }
    PatientCommunication {
        language: Option<CodeableConcept<'a>>,
    }
    EncounterParticipant {
        r#type: Vec<CodeableConcept<'a>>,
        individual: Option<Reference<'a>>,
    }
    EncounterHospitalization {
        admit_source: Option<CodeableConcept<'a>>,
        destination: Option<Reference<'a>>,
        discharge_disposition: Option<CodeableConcept<'a>>,
    }
    EncounterLocation {
        location: Option<Reference<'a>>,
        status: Option<EncounterLocationStatus>,
    }
    ObservationReferenceRange {
        low: Option<Quantity<'a>>,
        high: Option<Quantity<'a>>,
        text: Option<Text<'a>>,
    }
    ObservationComponent {
        code: Option<CodeableConcept<'a>>,
        #[serde(flatten)]
        value: Option<Value<'a>>,
    }
    AllergyIntoleranceReaction {
        manifestation: Vec<CodeableConcept<'a>>,
        severity: Option<AllergyIntoleranceSeverity>,
    }
    OrganizationContact {
        purpose: Option<CodeableConcept<'a>>,
        name: Option<HumanName<'a>>,
    }
}

impl<'a> Reference<'a> {
    /// To `target`, a resource of the same record: `Encounter/123`.
    pub(crate) fn to(target: impl Into<Text<'a>>) -> Self {
        Self { reference: Some(target.into()), ..Self::default() }
    }

    /// To what is no fact of the record, a resource of `type_`: by its name.
    pub(crate) fn named(type_: &'static str, display: impl Into<Text<'a>>) -> Self {
        Self { r#type: Some(type_.into()), display: Some(display.into()), ..Self::default() }
    }
}

/// A time from and a time to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Period {
    #[serde(skip_serializing_if = "Element::is_absent")]
    pub(crate) start: Option<DateTime>,
    #[serde(skip_serializing_if = "Element::is_absent")]
    pub(crate) end: Option<DateTime>,
}

/// `value[x]`.
#[derive(Debug, Clone, Serialize)]
pub(crate) enum Value<'a> {
    #[serde(rename = "valueQuantity")]
    Quantity(Quantity<'a>),
    #[serde(rename = "valueCodeableConcept")]
    CodeableConcept(CodeableConcept<'a>),
    #[serde(rename = "valueString")]
    String(Text<'a>),
    #[serde(rename = "valueBoolean")]
    Boolean(bool),
    #[serde(rename = "valueRange")]
    Range(Range<'a>),
    #[serde(rename = "valueRatio")]
    Ratio(Ratio<'a>),
    #[serde(rename = "valueTime")]
    Time(Time),
    #[serde(rename = "valueDateTime")]
    DateTime(DateTime),
    #[serde(rename = "valueAttachment")]
    Attachment(Attachment<'a>),
}

resources! {
    Patient {
        id: Option<Text<'a>>,
        meta: Option<Meta<'a>>,
        extension: Vec<Extension<'a>>,
        identifier: Vec<Identifier<'a>>,
        name: Vec<HumanName<'a>>,
        telecom: Vec<ContactPoint<'a>>,
        gender: Option<AdministrativeGender>,
        birth_date: Option<Date>,
        #[serde(rename = "_birthDate")]
        birth_date_ext: Option<FieldExtension<'a>>,
        deceased_boolean: Option<bool>,
        deceased_date_time: Option<DateTime>,
        address: Vec<Address<'a>>,
        marital_status: Option<CodeableConcept<'a>>,
        multiple_birth_boolean: Option<bool>,
        multiple_birth_integer: Option<i32>,
        communication: Vec<PatientCommunication<'a>>,
        general_practitioner: Vec<Reference<'a>>,
    }
    Encounter {
        id: Option<Text<'a>>,
        identifier: Vec<Identifier<'a>>,
        status: Option<EncounterStatus>,
        class: Option<Coding<'a>>,
        r#type: Vec<CodeableConcept<'a>>,
        service_type: Option<CodeableConcept<'a>>,
        subject: Option<Reference<'a>>,
        participant: Vec<EncounterParticipant<'a>>,
        period: Option<Period>,
        reason_code: Vec<CodeableConcept<'a>>,
        hospitalization: Option<EncounterHospitalization<'a>>,
        location: Vec<EncounterLocation<'a>>,
    }
    Observation {
        id: Option<Text<'a>>,
        extension: Vec<Extension<'a>>,
        status: Option<ObservationStatus>,
        code: Option<CodeableConcept<'a>>,
        subject: Option<Reference<'a>>,
        encounter: Option<Reference<'a>>,
        effective_date_time: Option<DateTime>,
        performer: Vec<Reference<'a>>,
        #[serde(flatten)]
        value: Option<Value<'a>>,
        data_absent_reason: Option<CodeableConcept<'a>>,
        interpretation: Vec<CodeableConcept<'a>>,
        note: Vec<Annotation<'a>>,
        method: Option<CodeableConcept<'a>>,
        reference_range: Vec<ObservationReferenceRange<'a>>,
        component: Vec<ObservationComponent<'a>>,
    }
    DiagnosticReport {
        id: Option<Text<'a>>,
        identifier: Vec<Identifier<'a>>,
        status: Option<DiagnosticReportStatus>,
        category: Vec<CodeableConcept<'a>>,
        code: Option<CodeableConcept<'a>>,
        subject: Option<Reference<'a>>,
        encounter: Option<Reference<'a>>,
        effective_date_time: Option<DateTime>,
        effective_period: Option<Period>,
        issued: Option<Instant>,
        performer: Vec<Reference<'a>>,
        results_interpreter: Vec<Reference<'a>>,
        result: Vec<Reference<'a>>,
        conclusion: Option<Text<'a>>,
    }
    Condition {
        id: Option<Text<'a>>,
        identifier: Vec<Identifier<'a>>,
        clinical_status: Option<CodeableConcept<'a>>,
        verification_status: Option<CodeableConcept<'a>>,
        category: Vec<CodeableConcept<'a>>,
        code: Option<CodeableConcept<'a>>,
        subject: Option<Reference<'a>>,
        encounter: Option<Reference<'a>>,
        onset_date_time: Option<DateTime>,
        recorded_date: Option<DateTime>,
        asserter: Option<Reference<'a>>,
    }
    AllergyIntolerance {
        id: Option<Text<'a>>,
        clinical_status: Option<CodeableConcept<'a>>,
        verification_status: Option<CodeableConcept<'a>>,
        r#type: Option<AllergyIntoleranceType>,
        category: Vec<AllergyIntoleranceCategory>,
        criticality: Option<AllergyIntoleranceCriticality>,
        code: Option<CodeableConcept<'a>>,
        patient: Option<Reference<'a>>,
        onset_date_time: Option<DateTime>,
        recorded_date: Option<DateTime>,
        reaction: Vec<AllergyIntoleranceReaction<'a>>,
    }
    RelatedPerson {
        id: Option<Text<'a>>,
        identifier: Vec<Identifier<'a>>,
        active: Option<bool>,
        patient: Option<Reference<'a>>,
        relationship: Vec<CodeableConcept<'a>>,
        name: Vec<HumanName<'a>>,
        telecom: Vec<ContactPoint<'a>>,
        gender: Option<AdministrativeGender>,
        birth_date: Option<Date>,
        address: Vec<Address<'a>>,
        period: Option<Period>,
    }
    Organization {
        id: Option<Text<'a>>,
        identifier: Vec<Identifier<'a>>,
        active: Option<bool>,
        name: Option<Text<'a>>,
        contact: Vec<OrganizationContact<'a>>,
    }
}
