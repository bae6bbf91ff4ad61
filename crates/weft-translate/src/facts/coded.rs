//! Coded values (CE, CWE, CNE, IS, ID) to FHIR, and the names of code systems to their URIs.

use std::borrow::Cow;

use weft_model::proto::event::Code;

use super::fhir::{CodeableConcept, Coding, Text, said, text};
use crate::hl7v2::Repetition;

pub(crate) const LOINC: &str = "http://loinc.org";
pub(crate) const SNOMED_CT: &str = "http://snomed.info/sct";
pub(crate) const ICD_10: &str = "http://hl7.org/fhir/sid/icd-10";
pub(crate) const UCUM: &str = "http://unitsofmeasure.org";
pub(crate) const V2_IDENTIFIER_TYPE: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";

/// One repetition of a coded field, read once.
#[derive(Debug, Clone)]
pub(crate) struct Coded<'a> {
    /// Primary, alternate and second alternate: code, display, system as the source calls it.
    codes: [Entry<'a>; 3],
    /// CWE.9.
    text: Cow<'a, str>,
}

#[derive(Debug, Clone, Default)]
struct Entry<'a> {
    code: Cow<'a, str>,
    display: Cow<'a, str>,
    system: Cow<'a, str>,
}

impl<'a> Coded<'a> {
    /// `None` where nothing is said.
    pub(crate) fn read(repetition: &Repetition<'a>) -> Option<Self> {
        // Most have three components: what lies beyond is read only where there is more.
        let [code, display, system] = repetition.components();
        let first = Entry { code, display, system };
        let read = if repetition.component_count() <= 3 {
            Self { codes: [first, Entry::default(), Entry::default()], text: Cow::Borrowed("") }
        } else {
            let [_, _, _, code, display, system, _, _, text, third_code, third_display, third_system] =
                repetition.components();
            let third = Entry { code: third_code, display: third_display, system: third_system };
            Self { codes: [first, Entry { code, display, system }, third], text }
        };
        let said = !read.text.is_empty() || read.codes.iter().any(|c| !c.code.is_empty() || !c.display.is_empty());
        said.then_some(read)
    }

    /// The first code; empty where there is only text.
    pub(crate) fn code(&self) -> &str {
        &self.first().code
    }

    /// Its system as the source calls it.
    pub(crate) fn system(&self) -> &str {
        &self.first().system
    }

    /// What a person reads: the display, else the text, else the code.
    pub(crate) fn name(&self) -> &str {
        let [first, second, _] = &self.codes;
        let candidates = [&first.display, &self.text, &first.code, &second.display, &second.code];
        candidates.into_iter().find(|text| !text.is_empty()).map_or("", |text| text.as_ref())
    }

    fn first(&self) -> &Entry<'a> {
        let [first, second, _] = &self.codes;
        if first.code.is_empty() && !second.code.is_empty() { second } else { first }
    }

    /// For a line: the URI of the system where it is known, else the source's own name.
    pub(crate) fn line_code(&self) -> Option<Code> {
        let entry = self.first();
        if entry.code.is_empty() {
            return None;
        }
        let system = known_system(&entry.system, &entry.code).map_or_else(|| entry.system.to_string(), Cow::into_owned);
        Some(Code { system, code: entry.code.to_string(), display: entry.display.to_string() })
    }

    /// As FHIR. `canonical` is what the feed's code map has for it, and goes first. Names of systems that are not known
    /// are made URIs under `organisation`: the same name means different things at different places.
    pub(crate) fn concept(&self, organisation: &str, canonical: Option<&'a Code>) -> CodeableConcept<'a> {
        let canonical = canonical.map(|code| coding(&code.system, &code.code, &code.display));
        let entries = self.codes.iter().filter(|entry| !entry.code.is_empty()).map(|entry| Coding {
            system: system_uri(&entry.system, &entry.code, organisation),
            code: Some(entry.code.clone()),
            display: said(&entry.display),
        });
        let [first, ..] = &self.codes;
        let text = if self.text.is_empty() && first.code.is_empty() { &first.display } else { &self.text };
        CodeableConcept { coding: canonical.into_iter().chain(entries).collect(), text: said(text) }
    }

    /// As FHIR, with `system` for the codes that state none: the table that the field has by definition.
    pub(crate) fn concept_in(&self, system: &'a str, organisation: &str) -> CodeableConcept<'a> {
        let mut concept = self.concept(organisation, None);
        for coding in concept.coding.iter_mut().filter(|c| c.system.is_none()) {
            coding.system = Some(system.into());
        }
        concept
    }
}

/// A coding; what is empty is left out.
pub(crate) fn coding<'a>(system: &'a str, code: &'a str, display: &'a str) -> Coding<'a> {
    Coding { system: text(system), code: text(code), display: text(display) }
}

/// A concept of one coding.
pub(crate) fn concept<'a>(system: &'a str, code: &'a str, display: &'a str) -> CodeableConcept<'a> {
    CodeableConcept { coding: vec![coding(system, code, display)], text: None }
}

/// Clinical and verification status of a condition or an allergy, each from its own system. What is entered in error has no
/// clinical status.
pub(crate) fn statuses<'a>(
    withdrawn: bool,
    clinical: &'a str,
    verification: &'a str,
) -> (Option<CodeableConcept<'a>>, Option<CodeableConcept<'a>>) {
    if withdrawn {
        (None, Some(concept(verification, "entered-in-error", "Entered in Error")))
    } else {
        (Some(concept(clinical, "active", "Active")), None)
    }
}

/// A concept that is only text.
pub(crate) fn text_concept<'a>(text: impl Into<Text<'a>>) -> CodeableConcept<'a> {
    CodeableConcept { coding: Vec::new(), text: Some(text.into()) }
}

/// URI of the system that a source calls `name`; one of the organisation's own where the name is not known; `None`
/// where there is no name.
pub(crate) fn system_uri<'n>(name: &Text<'n>, code: &str, organisation: &str) -> Option<Text<'n>> {
    if name.is_empty() || is_uri(name) {
        return said(name);
    }
    known_system(name, code).or_else(|| Some(local_uri("code-system", organisation, name).into()))
}

fn is_uri(name: &str) -> bool {
    name.starts_with("http://") || name.starts_with("https://") || name.starts_with("urn:")
}

/// A URI for a name that means something only at `organisation`.
pub(crate) fn local_uri(kind: &str, organisation: &str, name: &str) -> String {
    let mut uri = String::with_capacity(kind.len() + organisation.len() + name.len() + 12);
    for part in ["urn:weft:", kind, ":", organisation, ":"] {
        uri.push_str(part);
    }
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

/// URIs of the systems in HL7's table 0396 and of those that UK feeds use. Where senders use a name loosely, the code must
/// look like one of that system.
fn known_system(name: &str, code: &str) -> Option<Text<'static>> {
    let is_concept_id = || (6..=18).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_digit());
    let mut upper = [0; 12];
    let upper = upper.get_mut(..name.len())?;
    for (to, from) in upper.iter_mut().zip(name.bytes()) {
        *to = from.to_ascii_uppercase();
    }
    let uri = match std::str::from_utf8(upper).ok()? {
        "LN" => LOINC,
        "LOINC" if is_loinc(code) => LOINC,
        "SCT" | "SCT2" | "SNOMED-CT" | "SNOMEDCT" | "SNOMED CT" => SNOMED_CT,
        "SNM3" | "SNM" | "SNOMED" if is_concept_id() => SNOMED_CT,
        "I10" | "ICD10" | "ICD-10" => ICD_10,
        "I10C" => "http://hl7.org/fhir/sid/icd-10-cm",
        "I9C" | "I9" | "ICD9" => "http://hl7.org/fhir/sid/icd-9-cm",
        "OPCS4" | "OPCS-4" | "O4" => "https://fhir.hl7.org.uk/Id/opcs-4",
        "RC" | "READ" | "READV2" | "READ2" => "http://read.info/readv2",
        "CTV3" | "RC3" | "READ3" => "http://read.info/ctv3",
        "DMD" | "DM+D" => "https://dmd.nhs.uk",
        "UCUM" => UCUM,
        "CVX" => "http://hl7.org/fhir/sid/cvx",
        "NDC" => "http://hl7.org/fhir/sid/ndc",
        "RXNORM" => "http://www.nlm.nih.gov/research/umls/rxnorm",
        "ISO3166_1" => "urn:iso:std:iso:3166",
        upper => return hl7_table(upper).map(Cow::Owned),
    };
    Some(Cow::Borrowed(uri))
}

/// `12345-6`.
fn is_loinc(code: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    code.split_once('-').is_some_and(|(number, check)| digits(number) && digits(check) && check.len() == 1)
}

/// `HL70078` names a table of HL7 version 2.
fn hl7_table(name: &str) -> Option<String> {
    let table = name.strip_prefix("HL7")?.trim_start_matches('-');
    let good = table.len() == 4 && table.bytes().all(|b| b.is_ascii_digit());
    good.then(|| format!("http://terminology.hl7.org/CodeSystem/v2-{table}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, code: &str, wanted: Option<&str>) {
        assert_eq!(system_uri(&name.into(), code, "RYJ").as_deref(), wanted, "{name} {code}");
    }

    #[test]
    fn names_of_systems() {
        check("", "x", None);
        check("LN", "2160-0", Some(LOINC));
        check("LOINC", "2160-0", Some(LOINC));
        check("LOINC", "tt-0005-01", Some("urn:weft:code-system:RYJ:LOINC"));
        check("SNM3", "235719002", Some(SNOMED_CT));
        check("SNM3", "T-28000", Some("urn:weft:code-system:RYJ:SNM3"));
        check("I10", "J45.9", Some(ICD_10));
        check("HL70078", "H", Some("http://terminology.hl7.org/CodeSystem/v2-0078"));
        check("http://example.org/x", "1", Some("http://example.org/x"));
        check("Win Path/2", "1", Some("urn:weft:code-system:RYJ:Win%20Path%2F2"));
    }
}
