//! The value of a result (OBX-5), by the type that OBX-2 says it has. A value that is not of its type is kept as text.

use std::borrow::Cow;

use fhir_sdk::r4b::{
    resources::{ObservationComponentValue, ObservationValue},
    types::{Attachment, CodeableConcept, Extension, ExtensionValue, Quantity, Range, Ratio},
};

use super::{
    coded::Coded,
    json::{Decimal, Decimals},
    patient::extension,
    quantity::{Unit, comparator, split_comparator},
    telling::{Built, Facts},
    times,
};
use crate::{
    hl7v2::{Field, Repetition, Segment},
    issue::{information, warning},
};

const VALUE_ATTACHMENT: &str = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Observation.value";

/// The most repetitions that are values of their own.
const REPETITIONS_MAX: usize = 100;

/// A value, and how a line shows it.
#[derive(Debug)]
pub(crate) struct Value {
    pub(crate) value: FhirValue,
    pub(crate) text: String,
}

#[derive(Debug)]
pub(crate) enum FhirValue {
    Quantity(Quantity),
    Concept(CodeableConcept),
    Text(String),
    Range(Range),
    Ratio(Ratio),
    DateTime(fhir_sdk::DateTime),
    Time(fhir_sdk::Time),
    /// A document or a pointer to one, described and not copied: its bytes are in the message.
    Attached(Extension),
}

impl From<FhirValue> for Option<ObservationValue> {
    fn from(value: FhirValue) -> Self {
        Some(match value {
            FhirValue::Quantity(value) => ObservationValue::Quantity(value),
            FhirValue::Concept(value) => ObservationValue::CodeableConcept(value),
            FhirValue::Text(value) => ObservationValue::String(value),
            FhirValue::Range(value) => ObservationValue::Range(value),
            FhirValue::Ratio(value) => ObservationValue::Ratio(value),
            FhirValue::DateTime(value) => ObservationValue::DateTime(value),
            FhirValue::Time(value) => ObservationValue::Time(value),
            FhirValue::Attached(_) => return None,
        })
    }
}

impl From<FhirValue> for Option<ObservationComponentValue> {
    fn from(value: FhirValue) -> Self {
        Some(match value {
            FhirValue::Quantity(value) => ObservationComponentValue::Quantity(value),
            FhirValue::Concept(value) => ObservationComponentValue::CodeableConcept(value),
            FhirValue::Text(value) => ObservationComponentValue::String(value),
            FhirValue::Range(value) => ObservationComponentValue::Range(value),
            FhirValue::Ratio(value) => ObservationComponentValue::Ratio(value),
            FhirValue::DateTime(value) => ObservationComponentValue::DateTime(value),
            FhirValue::Time(value) => ObservationComponentValue::Time(value),
            FhirValue::Attached(_) => return None,
        })
    }
}

/// Reads every repetition of OBX-5; those of text are one text.
pub(crate) fn read(
    facts: &mut Facts<'_>,
    obx: Segment<'_>,
    unit: &Unit<'_>,
    decimals: &mut Decimals,
) -> Built<Vec<Value>> {
    let field = obx.field(5);
    let sent = obx.field(2).text();
    let kind = sent.as_deref().unwrap_or_default();
    if is_narrative(kind) {
        return Ok(narrative(field).map(text_value).into_iter().collect());
    }
    if kind.is_empty() && !field.is_absent() && !field.is_null() {
        let text = "a value without its type: a number with a unit was read as a number, all else as text";
        facts.issues.push(information("value-type-missing", obx.location(2), text));
    }
    if field.repetitions().count() > REPETITIONS_MAX {
        let text = "a value of very many repetitions is kept as one text";
        facts.issues.push(information("value-repeats", field.location(), text));
        return Ok(narrative(field).map(text_value).into_iter().collect());
    }
    let mut values = Vec::new();
    for repetition in field.repetitions().filter(|r| !r.is_empty()) {
        values.push(one(facts, kind, &repetition, unit, decimals)?);
    }
    Ok(values)
}

/// Types that hold running text.
pub(crate) fn is_narrative(kind: &str) -> bool {
    matches!(kind, "TX" | "FT")
}

/// All repetitions of a text field, a line each.
pub(crate) fn narrative(field: Field<'_>) -> Option<String> {
    let mut text = String::with_capacity(field.raw().len());
    for (i, repetition) in field.repetitions().enumerate() {
        if i > 0 {
            text.push('\n');
        }
        text.push_str(&whole(&repetition));
    }
    text.truncate(text.trim_end().len());
    (!text.trim_start().is_empty()).then_some(text)
}

/// Components that were not meant as such stay as written: text often has unescaped carets.
fn whole<'a>(repetition: &Repetition<'a>) -> Cow<'a, str> {
    let components = repetition.component_count();
    if components == 1 {
        return repetition.component_whole(1);
    }
    let parts: Vec<_> = (1..=components).map(|n| repetition.component_whole(n)).collect();
    parts.join("^").trim_end_matches('^').to_owned().into()
}

fn one(
    facts: &mut Facts<'_>,
    kind: &str,
    repetition: &Repetition<'_>,
    unit: &Unit<'_>,
    decimals: &mut Decimals,
) -> Built<Value> {
    let organisation = facts.context.profile.organisation();
    match kind {
        "NM" => number(facts, repetition, unit, decimals),
        "" => match Decimal::parse(&repetition.component(1)).filter(|_| unit.is_stated()) {
            Some(_) => number(facts, repetition, unit, decimals),
            None => Ok(text_value(whole(repetition).into_owned())),
        },
        "SN" => structured(repetition, unit, decimals),
        "CE" | "CWE" | "CNE" | "CF" | "IS" | "ID" => match Coded::read(repetition) {
            Some(coded) => {
                let text = coded.name().to_owned();
                coded.concept(organisation, None).map(|concept| Value { value: FhirValue::Concept(concept), text })
            }
            None => Ok(text_value(whole(repetition).into_owned())),
        },
        "DT" | "TS" | "DTM" => Ok(date_time(facts, repetition)),
        "TM" => Ok(time(facts, repetition)),
        "ED" | "RP" => attached(kind, repetition),
        _ => Ok(text_value(whole(repetition).into_owned())),
    }
}

fn text_value(text: impl Into<String>) -> Value {
    let text = text.into();
    Value { value: FhirValue::Text(text.clone()), text }
}

fn number(
    facts: &mut Facts<'_>,
    repetition: &Repetition<'_>,
    unit: &Unit<'_>,
    decimals: &mut Decimals,
) -> Built<Value> {
    let sent = repetition.component(1);
    let (sign, rest) = split_comparator(&sent);
    let compared = comparator(sign);
    match Decimal::parse(rest).filter(|_| sign.is_empty() || compared.is_some()) {
        Some(decimal) => {
            if compared.is_some() {
                let text = "a number with a comparator, which a number cannot have; read as a quantity";
                facts.issues.push(information("number-with-comparator", repetition.location(), text));
            }
            let mut quantity = unit.quantity(decimal, decimals)?;
            quantity.comparator = compared;
            Ok(Value { value: FhirValue::Quantity(quantity), text: with_unit(&sent, unit) })
        }
        None => {
            let text = "not a number; kept as text";
            facts.issues.push(warning("number-unreadable", repetition.location(), text));
            Ok(text_value(with_unit(&whole(repetition), unit)))
        }
    }
}

fn with_unit(number: &str, unit: &Unit<'_>) -> String {
    match unit.text() {
        "" => number.to_owned(),
        "%" => [number, "%"].concat(),
        unit => [number, " ", unit].concat(),
    }
}

/// SN: `>^100`, `^1^:^128`, `^3^-^5`.
fn structured(repetition: &Repetition<'_>, unit: &Unit<'_>, decimals: &mut Decimals) -> Built<Value> {
    let [sign, first, separator, second] = [1, 2, 3, 4].map(|n| repetition.component(n));
    let text = with_unit(&[sign.as_ref(), first.as_ref(), separator.as_ref(), second.as_ref()].concat(), unit);
    let sign = sign.trim_start_matches('=');
    let compared = comparator(sign);
    let (one, two) = (Decimal::parse(&first), Decimal::parse(&second));
    let value = match (sign, separator.as_ref(), one, two) {
        ("", "-", Some(low), Some(high)) => {
            let mut range = Range::builder().build()?;
            range.low = Some(unit.quantity(low, decimals)?);
            range.high = Some(unit.quantity(high, decimals)?);
            FhirValue::Range(range)
        }
        (_, ":" | "/", Some(one), Some(two)) if sign.is_empty() || compared.is_some() => {
            let mut ratio = Ratio::builder().build()?;
            let mut numerator = unit.quantity(one, decimals)?;
            numerator.comparator = compared;
            ratio.numerator = Some(numerator);
            ratio.denominator = Some(Unit::default().quantity(two, decimals)?);
            FhirValue::Ratio(ratio)
        }
        (_, "", Some(one), None) if second.is_empty() && (sign.is_empty() || compared.is_some()) => {
            let mut quantity = unit.quantity(one, decimals)?;
            quantity.comparator = compared;
            FhirValue::Quantity(quantity)
        }
        _ => FhirValue::Text(text.clone()),
    };
    Ok(Value { value, text })
}

fn date_time(facts: &mut Facts<'_>, repetition: &Repetition<'_>) -> Value {
    let when = repetition.time(1, facts.context.zone(), &mut facts.issues);
    let shown = when.as_ref().and_then(|when| when.to_display().ok());
    match (when.as_ref().and_then(times::date_time), shown) {
        (Some(value), Some(text)) => Value { value: FhirValue::DateTime(value), text },
        _ => text_value(whole(repetition)),
    }
}

fn time(facts: &mut Facts<'_>, repetition: &Repetition<'_>) -> Value {
    let sent = repetition.component(1);
    match times::time_of_day(&sent) {
        Some(time) => {
            let text = format!("{:02}:{:02}", time.0.hour(), time.0.minute());
            Value { value: FhirValue::Time(time), text }
        }
        None => {
            facts.issues.push(warning("date-unreadable", repetition.location(), "not a time of day that can be read"));
            text_value(whole(repetition))
        }
    }
}

/// ED: source, type, subtype, encoding, data. RP: pointer, application, type, subtype.
fn attached(kind: &str, repetition: &Repetition<'_>) -> Built<Value> {
    let (type_, subtype) = if kind == "ED" { (2, 3) } else { (3, 4) };
    let (type_, subtype) = (repetition.component(type_), repetition.component(subtype));
    let content = content_type(&type_, &subtype);
    let mut attachment = Attachment::builder().build()?;
    attachment.content_type = (!content.is_empty()).then(|| content.clone());
    let mut text = format!("attached document {content}").trim_end().to_owned();
    if kind == "RP" {
        attachment.url = repetition.text(1).map(Cow::into_owned);
        text = format!("document elsewhere {content}").trim_end().to_owned();
    } else {
        attachment.size = u32::try_from(size(repetition)).ok();
    }
    attachment.title = Some(text.clone());
    let value = extension(VALUE_ATTACHMENT, ExtensionValue::Attachment(attachment))?;
    Ok(Value { value: FhirValue::Attached(value), text })
}

/// Bytes of the document as far as its encoding tells.
fn size(repetition: &Repetition<'_>) -> usize {
    let data = repetition.component_raw(5).trim_ascii();
    match repetition.component(4).to_ascii_lowercase().as_str() {
        "base64" => data.trim_end_matches('=').len() * 3 / 4,
        "hex" => data.len() / 2,
        _ => data.len(),
    }
}

fn content_type(type_: &str, subtype: &str) -> String {
    let subtype = subtype.to_ascii_lowercase();
    match (type_.to_ascii_lowercase().as_str(), subtype.as_str()) {
        ("", "") => String::new(),
        (whole, _) if whole.contains('/') => whole.to_owned(),
        ("im" | "image", known) | ("binary", known @ ("jpeg" | "png" | "gif" | "tiff")) => format!("image/{known}"),
        ("ap" | "application" | "binary" | "", known) => format!("application/{known}"),
        ("au" | "audio", known) => format!("audio/{known}"),
        ("tx" | "ft" | "text" | "si", "") => "text/plain".to_owned(),
        ("tx" | "ft" | "text" | "si", known) => format!("text/{known}"),
        (other, "") => other.to_owned(),
        (other, known) => format!("{other}/{known}"),
    }
}
