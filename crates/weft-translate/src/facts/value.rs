//! The value of a result (OBX-5), by the type that OBX-2 says it has. A value that is not of its type is kept as text.

use std::borrow::Cow;

use super::{
    coded::Coded,
    fhir::{self, Attachment, Extension, Range, Ratio, Text},
    json::{Decimal, Decimals},
    patient::extension,
    quantity::{Unit, comparator, split_comparator},
    telling::Facts,
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
pub(crate) struct Value<'a> {
    pub(crate) value: FhirValue<'a>,
    pub(crate) text: String,
}

#[derive(Debug)]
pub(crate) enum FhirValue<'a> {
    /// `value[x]`.
    Value(fhir::Value<'a>),
    /// A document or a pointer to one, described and not copied: its bytes are in the message.
    Attached(Extension<'a>),
}

impl<'a> Value<'a> {
    fn new(value: fhir::Value<'a>, text: String) -> Self {
        Self { value: FhirValue::Value(value), text }
    }
}

/// Reads every repetition of OBX-5; those of text are one text.
pub(crate) fn read<'a>(
    facts: &mut Facts<'_>,
    obx: Segment<'a>,
    unit: &Unit<'a>,
    decimals: &mut Decimals,
) -> Vec<Value<'a>> {
    let field = obx.field(5);
    let sent = obx.field(2).text();
    let kind = sent.as_deref().unwrap_or_default();
    if is_narrative(kind) {
        return narrative(field).map(text_value).into_iter().collect();
    }
    if kind.is_empty() && !field.is_absent() && !field.is_null() {
        let text = "a value without its type: a number with a unit was read as a number, all else as text";
        facts.issues.push(information("value-type-missing", obx.location(2), text));
    }
    if field.repetitions().count() > REPETITIONS_MAX {
        let text = "a value of very many repetitions is kept as one text";
        facts.issues.push(information("value-repeats", field.location(), text));
        return narrative(field).map(text_value).into_iter().collect();
    }
    let said = field.repetitions().filter(|r| !r.is_empty());
    said.map(|repetition| one(facts, kind, &repetition, unit, decimals)).collect()
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

fn one<'a>(
    facts: &mut Facts<'_>,
    kind: &str,
    repetition: &Repetition<'a>,
    unit: &Unit<'a>,
    decimals: &mut Decimals,
) -> Value<'a> {
    let organisation = facts.context.profile.organisation();
    match kind {
        "NM" => number(facts, repetition, unit, decimals),
        "" => match Decimal::parse(&repetition.component(1)).filter(|_| unit.is_stated()) {
            Some(_) => number(facts, repetition, unit, decimals),
            None => text_value(whole(repetition).into_owned()),
        },
        "SN" => structured(repetition, unit, decimals),
        "CE" | "CWE" | "CNE" | "CF" | "IS" | "ID" => match Coded::read(repetition) {
            Some(coded) => {
                let text = coded.name().to_owned();
                Value::new(fhir::Value::CodeableConcept(coded.concept(organisation, None)), text)
            }
            None => text_value(whole(repetition).into_owned()),
        },
        "DT" | "TS" | "DTM" => date_time(facts, repetition),
        "TM" => time(facts, repetition),
        "ED" | "RP" => attached(kind, repetition),
        _ => text_value(whole(repetition).into_owned()),
    }
}

pub(crate) fn text_value<'a>(text: impl Into<String>) -> Value<'a> {
    let text = text.into();
    Value::new(fhir::Value::String(Text::Owned(text.clone())), text)
}

fn number<'a>(
    facts: &mut Facts<'_>,
    repetition: &Repetition<'_>,
    unit: &Unit<'a>,
    decimals: &mut Decimals,
) -> Value<'a> {
    let sent = repetition.component(1);
    let (sign, rest) = split_comparator(&sent);
    let compared = comparator(sign);
    match Decimal::parse(rest).filter(|_| sign.is_empty() || compared.is_some()) {
        Some(decimal) => {
            if compared.is_some() {
                let text = "a number with a comparator, which a number cannot have; read as a quantity";
                facts.issues.push(information("number-with-comparator", repetition.location(), text));
            }
            let mut quantity = unit.quantity(decimal, decimals);
            quantity.comparator = compared;
            Value::new(fhir::Value::Quantity(quantity), with_unit(&sent, unit))
        }
        None => {
            let text = "not a number; kept as text";
            facts.issues.push(warning("number-unreadable", repetition.location(), text));
            text_value(with_unit(&whole(repetition), unit))
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
fn structured<'a>(repetition: &Repetition<'_>, unit: &Unit<'a>, decimals: &mut Decimals) -> Value<'a> {
    let [sign, first, separator, second] = [1, 2, 3, 4].map(|n| repetition.component(n));
    let text = with_unit(&[sign.as_ref(), first.as_ref(), separator.as_ref(), second.as_ref()].concat(), unit);
    let sign = sign.trim_start_matches('=');
    let compared = comparator(sign);
    let (one, two) = (Decimal::parse(&first), Decimal::parse(&second));
    let value = match (sign, separator.as_ref(), one, two) {
        ("", "-", Some(low), Some(high)) => fhir::Value::Range(Range {
            low: Some(unit.quantity(low, decimals)),
            high: Some(unit.quantity(high, decimals)),
        }),
        (_, ":" | "/", Some(one), Some(two)) if sign.is_empty() || compared.is_some() => {
            let mut numerator = unit.quantity(one, decimals);
            numerator.comparator = compared;
            let denominator = Unit::default().quantity(two, decimals);
            fhir::Value::Ratio(Ratio { numerator: Some(numerator), denominator: Some(denominator) })
        }
        (_, "", Some(one), None) if second.is_empty() && (sign.is_empty() || compared.is_some()) => {
            let mut quantity = unit.quantity(one, decimals);
            quantity.comparator = compared;
            fhir::Value::Quantity(quantity)
        }
        _ => return text_value(text),
    };
    Value::new(value, text)
}

fn date_time<'a>(facts: &mut Facts<'_>, repetition: &Repetition<'_>) -> Value<'a> {
    let when = repetition.time(1, facts.context.zone(), &mut facts.issues);
    let shown = when.as_ref().and_then(|when| when.to_display().ok());
    match (when.as_ref().and_then(times::date_time), shown) {
        (Some(value), Some(text)) => Value::new(fhir::Value::DateTime(value), text),
        _ => text_value(whole(repetition)),
    }
}

fn time<'a>(facts: &mut Facts<'_>, repetition: &Repetition<'_>) -> Value<'a> {
    let sent = repetition.component(1);
    match times::time_of_day(&sent) {
        Some(time) => {
            let text = format!("{:02}:{:02}", time.0.hour(), time.0.minute());
            Value::new(fhir::Value::Time(time), text)
        }
        None => {
            facts.issues.push(warning("date-unreadable", repetition.location(), "not a time of day that can be read"));
            text_value(whole(repetition))
        }
    }
}

/// ED: source, type, subtype, encoding, data. RP: pointer, application, type, subtype.
fn attached<'a>(kind: &str, repetition: &Repetition<'a>) -> Value<'a> {
    let (type_, subtype) = if kind == "ED" { (2, 3) } else { (3, 4) };
    let (type_, subtype) = (repetition.component(type_), repetition.component(subtype));
    let content = content_type(&type_, &subtype);
    let (where_, url, size) = match kind {
        "RP" => ("document elsewhere", repetition.text(1), None),
        _ => ("attached document", None, u32::try_from(size(repetition)).ok()),
    };
    let text = format!("{where_} {content}").trim_end().to_owned();
    let content_type = (!content.is_empty()).then_some(content.into());
    let attachment = Attachment { content_type, url, size, title: Some(text.clone().into()) };
    let value = FhirValue::Attached(extension(VALUE_ATTACHMENT, fhir::Value::Attachment(attachment)));
    Value { value, text }
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
