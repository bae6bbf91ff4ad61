//! Addresses (XAD) and telecommunications (XTN).

use std::borrow::Cow;

use fhir_sdk::r4b::codes::{AddressType, AddressUse, ContactPointSystem, ContactPointUse};
use weft_model::proto::event::{self, Telecom};

use super::fhir::{Address, ContactPoint, text};
use crate::hl7v2::{Field, Repetition};

/// An address, and what linking has no use for.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) address: event::Address,
    country: String,
    postal: bool,
}

/// The addresses of an XAD field.
pub(crate) fn addresses(field: Field<'_>) -> Vec<Read> {
    field.repetitions().filter_map(|xad| address(&xad)).collect()
}

fn address(xad: &Repetition<'_>) -> Option<Read> {
    // XAD.1 is a street, in newer versions split: whole street, its name, the number.
    let [street, other, city, state, postcode, country, kind, _, county] = xad.components();
    let lines = [street, other, xad.subcomponent(1, 2)];
    let (use_, postal) = address_use(&kind);
    let county = if state.is_empty() { county } else { state };
    let address = event::Address {
        r#use: use_.to_owned(),
        lines: lines.into_iter().filter(|line| !line.is_empty()).map(Cow::into_owned).collect(),
        city: city.into_owned(),
        district: county.into_owned(),
        postcode: postcode.into_owned(),
    };
    let said = !address.lines.is_empty()
        || [&address.city, &address.district, &address.postcode].iter().any(|part| !part.is_empty());
    said.then(|| Read { address, country: country.into_owned(), postal })
}

/// Table 0190 and what the UK sends instead of it: use, and whether it is for post only.
fn address_use(code: &str) -> (&'static str, bool) {
    match code.to_ascii_uppercase().as_str() {
        "H" | "HOME" | "P" | "CURRENT" => ("home", false),
        "C" | "TMP" | "TEMP" | "T" => ("temp", false),
        "B" | "O" | "WORK" => ("work", false),
        "BA" | "BAD" | "OLD" | "PREVIOUS" => ("old", false),
        "BI" => ("billing", false),
        "PST" | "M" | "SH" => ("", true),
        _ => ("", false),
    }
}

/// An address as FHIR has it; a county is its district, as UK Core has it.
pub(crate) fn fhir_address(read: &Read) -> Address<'_> {
    let use_ = match read.address.r#use.as_str() {
        "home" => Some(AddressUse::Home),
        "temp" => Some(AddressUse::Temp),
        "work" => Some(AddressUse::Work),
        "old" => Some(AddressUse::Old),
        "billing" => Some(AddressUse::Billing),
        _ => None,
    };
    Address {
        r#use: use_,
        r#type: read.postal.then_some(AddressType::Postal),
        line: read.address.lines.iter().map(Into::into).collect(),
        city: text(&read.address.city),
        district: text(&read.address.district),
        postal_code: text(&read.address.postcode),
        country: text(&read.country),
    }
}

/// The telecommunications of an XTN field; `use_` is what the field is for where the repetition does not say.
pub(crate) fn telecoms(field: Field<'_>, use_: &str) -> Vec<Telecom> {
    field.repetitions().filter_map(|xtn| telecom(&xtn, use_)).collect()
}

fn telecom(xtn: &Repetition<'_>, field_use: &str) -> Option<Telecom> {
    let components: [_; 12] = xtn.components();
    let [_, code, equipment, ..] = &components;
    // An e-mail address is found wherever it was put.
    let mail = find_mail(xtn);
    let use_ = match (code.to_ascii_uppercase().as_str(), equipment.to_ascii_uppercase().as_str()) {
        (_, "CP" | "MC") | ("PRS" | "MOBILE" | "CP" | "MOB" | "MC", _) => "mobile",
        ("PRN" | "HOME" | "H", _) => "home",
        ("WPN" | "WORK" | "BUSINESS" | "B", _) => "work",
        ("VHN" | "TMP", _) => "temp",
        _ => field_use,
    };
    if let Some(value) = mail {
        let use_ = if use_ == "mobile" { field_use } else { use_ };
        return Some(Telecom { system: "email".to_owned(), r#use: use_.to_owned(), value: value.into_owned() });
    }
    let system = match equipment.to_ascii_uppercase().as_str() {
        "FX" => "fax",
        "BP" => "pager",
        "INTERNET" | "X.400" => "email",
        "MD" | "SAT" | "TDD" | "TTY" => "other",
        _ => "phone",
    };
    let value = number(components);
    (!value.is_empty()).then(|| Telecom { system: system.to_owned(), r#use: use_.to_owned(), value })
}

/// XTN.12, XTN.1, or what XTN.5 to XTN.8 come to.
fn number(xtn: [Cow<'_, str>; 12]) -> String {
    let [whole, _, _, mail, country, area, local, extension, _, _, _, unformatted] = xtn;
    if let Some(text) = [unformatted, whole].into_iter().find(|text| !text.is_empty()) {
        return text.into_owned();
    }
    if local.is_empty() {
        return mail.into_owned();
    }
    let mut number = String::new();
    for (before, part) in [("+", country), (" ", area), (" ", local), (" X", extension)] {
        if !part.is_empty() {
            number.push_str(before);
            number.push_str(&part);
        }
    }
    number.trim().to_owned()
}

fn find_mail<'a>(xtn: &Repetition<'a>) -> Option<Cow<'a, str>> {
    if !xtn.raw().contains('@') && !xtn.raw().contains('\\') {
        return None;
    }
    (1..=xtn.component_count()).map(|n| xtn.component(n)).find(|text| is_mail(text))
}

fn is_mail(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
}

/// A telecommunication as FHIR has it.
pub(crate) fn contact_point(telecom: &Telecom) -> ContactPoint<'_> {
    let system = match telecom.system.as_str() {
        "email" => ContactPointSystem::Email,
        "fax" => ContactPointSystem::Fax,
        "pager" => ContactPointSystem::Pager,
        "phone" => ContactPointSystem::Phone,
        _ => ContactPointSystem::Other,
    };
    let use_ = match telecom.r#use.as_str() {
        "home" => Some(ContactPointUse::Home),
        "work" => Some(ContactPointUse::Work),
        "mobile" => Some(ContactPointUse::Mobile),
        "temp" => Some(ContactPointUse::Temp),
        _ => None,
    };
    ContactPoint { system: Some(system), value: Some(telecom.value.as_str().into()), r#use: use_ }
}
