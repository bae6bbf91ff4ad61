//! Names (XPN), clinicians (XCN, CN, CNN, NDL) and the codes of their professions.

use std::borrow::Cow;

use fhir_sdk::r4b::codes::NameUse;
use weft_model::proto::event::Name;

use super::{
    coded::local_uri,
    fhir::{HumanName, Identifier, Reference, Text, text},
    telling::joined,
};
use crate::hl7v2::{Field, Repetition};

pub(crate) const GMP_NUMBER: &str = "https://fhir.hl7.org.uk/Id/gmp-number";
pub(crate) const GMC_NUMBER: &str = "https://fhir.hl7.org.uk/Id/gmc-number";

/// The names of an XPN field.
pub(crate) fn names(field: Field<'_>) -> Vec<Name> {
    field.repetitions().filter_map(|xpn| name(&xpn)).collect()
}

/// `None` where the repetition names nobody.
pub(crate) fn name(xpn: &Repetition<'_>) -> Option<Name> {
    let [family, first, further, _, prefix, _, kind] = xpn.components();
    let further = further.split_whitespace().map(str::to_owned);
    let name = Name {
        r#use: name_use(&kind).to_owned(),
        family: family.into_owned(),
        given: Some(first.into_owned()).filter(|first| !first.is_empty()).into_iter().chain(further).collect(),
        prefix: prefix.into_owned(),
    };
    (!name.family.is_empty() || !name.given.is_empty()).then_some(name)
}

/// Table 0200 and what the UK sends instead of it.
fn name_use(code: &str) -> &'static str {
    match code.to_ascii_uppercase().as_str() {
        "L" | "R" | "CURRENT" | "LEGAL" | "OFFICIAL" => "official",
        "D" | "PREFERRED" | "USUAL" => "usual",
        "M" | "MAIDEN" | "PREVIOUS-MAIDEN" => "maiden",
        "N" | "A" | "NICKNAME" | "ALIAS" => "nickname",
        "BAD" | "NOUSE" | "OLD" | "PREVIOUS" | "PREVIOUS-BIRTH" | "PREVIOUS-BACHELOR" => "old",
        "MSK" => "anonymous",
        "NAV" | "TEMP" => "temp",
        _ => "",
    }
}

/// A name as FHIR has it.
pub(crate) fn human_name(name: &Name) -> HumanName<'_> {
    let use_ = match name.r#use.as_str() {
        "official" => Some(NameUse::Official),
        "usual" => Some(NameUse::Usual),
        "maiden" => Some(NameUse::Maiden),
        "nickname" => Some(NameUse::Nickname),
        "old" => Some(NameUse::Old),
        "anonymous" => Some(NameUse::Anonymous),
        "temp" => Some(NameUse::Temp),
        _ => None,
    };
    HumanName {
        r#use: use_,
        text: None,
        family: text(&name.family),
        given: name.given.iter().map(Into::into).collect(),
        prefix: text(&name.prefix).into_iter().collect(),
    }
}

/// `Mrs Jane Ann Smith`.
pub(crate) fn spoken(name: &Name) -> String {
    let given = name.given.iter().map(String::as_str);
    joined([name.prefix.as_str()].into_iter().chain(given).chain([name.family.as_str()]), " ")
}

/// A clinician as one message names them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clinician {
    /// The code that the source has for them. May be empty.
    pub(crate) code: String,
    /// FHIR system of the code; empty where it is not known.
    pub(crate) system: String,
    /// `Dr Kathleen Woolfson`; the code where no name is given.
    pub(crate) display: String,
}

impl Clinician {
    /// Reads an XCN, or a CN of older versions, which begins alike. `None` where nobody is named.
    pub(crate) fn read(xcn: &Repetition<'_>, organisation: &str) -> Option<Self> {
        let [code, family, given, further, _, prefix, _, _, authority] = xcn.components();
        Self::of(code.into_owned(), &[prefix, given, further, family], &authority, organisation)
    }

    /// Reads an NDL, whose first component is a whole name: `code&family&given&&&prefix`.
    pub(crate) fn read_ndl(ndl: &Repetition<'_>, organisation: &str) -> Option<Self> {
        let part = |n| ndl.subcomponent(1, n);
        let parts = [part(6), part(3), part(4), part(2)];
        if parts.iter().all(|p| p.is_empty()) {
            // Some write the name of an XCN where an NDL belongs.
            return Self::read(ndl, organisation);
        }
        Self::of(part(1).into_owned(), &parts, &part(9), organisation)
    }

    fn of(code: String, parts: &[Cow<'_, str>], authority: &str, organisation: &str) -> Option<Self> {
        let mut display = joined(parts.iter().map(AsRef::as_ref), " ");
        if display.is_empty() {
            display.clone_from(&code);
        }
        let system = clinician_system(&code, authority, organisation);
        (!display.is_empty()).then_some(Self { code, system, display })
    }

    /// A reference by identifier and name: clinicians are no facts of a patient's record.
    pub(crate) fn reference(&self) -> Reference<'_> {
        referred_to(text(&self.code), text(&self.system), self.display.as_str().into())
    }

    /// The same of one that nothing else is told of.
    pub(crate) fn into_reference(self) -> Reference<'static> {
        let text = |text: String| (!text.is_empty()).then_some(text.into());
        referred_to(text(self.code), text(self.system), self.display.into())
    }
}

fn referred_to<'a>(code: Option<Text<'a>>, system: Option<Text<'a>>, display: Text<'a>) -> Reference<'a> {
    let identifier = code.map(|code| Identifier { system, value: Some(code), ..Identifier::default() });
    Reference { identifier, ..Reference::named("Practitioner", display) }
}

/// Codes of general practitioners and of the medical register by their shape: feeds name the authority of either as GMP
/// or GMC.
fn clinician_system(code: &str, authority: &str, organisation: &str) -> String {
    let digits = |text: &str| text.len() == 7 && text.bytes().all(|b| b.is_ascii_digit());
    let register = matches!(authority, "GMP" | "GMC" | "gmp" | "gmc");
    match authority {
        _ if code.strip_prefix('G').is_some_and(digits) && (register || authority.is_empty()) => GMP_NUMBER.to_owned(),
        _ if register && digits(code) => GMC_NUMBER.to_owned(),
        "" => String::new(),
        _ => local_uri("clinician", organisation, authority),
    }
}
