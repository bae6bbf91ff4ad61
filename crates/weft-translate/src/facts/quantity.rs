//! Numbers with units, and the ranges that they are held against.

use std::borrow::Cow;

use fhir_sdk::r4b::codes::QuantityComparator;

use super::{
    coded::UCUM,
    fhir::{ObservationReferenceRange, Quantity, said},
    json::{Decimal, Decimals},
};
use crate::hl7v2::Field;

/// The unit of a result (OBX-6): as sent, and in UCUM where that is sure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unit<'a> {
    sent: Cow<'a, str>,
    ucum: Option<Cow<'a, str>>,
}

impl<'a> Unit<'a> {
    pub(crate) fn read(field: Field<'a>) -> Self {
        let Some(first) = field.repetitions().next().filter(|first| !first.is_empty()) else { return Self::default() };
        // An exponent's caret that was not escaped looks like components: `10^9/L`.
        let [code, text, system] = first.components();
        let power = matches!(code.as_ref(), "10" | "x10" | "X10" | "*10");
        let sent = if power {
            Cow::Borrowed(first.raw().trim_ascii())
        } else {
            if text.is_empty() { code.clone() } else { text }
        };
        let stated = !power && system.eq_ignore_ascii_case("UCUM");
        let ucum = if stated { Some(code.clone()) } else { ucum(&code).or_else(|| ucum(&sent)).map(Cow::Borrowed) };
        Self { sent, ucum }
    }

    /// For a line.
    pub(crate) fn text(&self) -> &str {
        match &self.ucum {
            // What a reader of UCUM's special forms would stumble over is shown as sent.
            Some(ucum) if !ucum.contains(['[', '{', '*']) => ucum,
            _ => &self.sent,
        }
    }

    pub(crate) fn is_stated(&self) -> bool {
        !self.sent.is_empty()
    }

    /// `decimal` in this unit.
    pub(crate) fn quantity(&self, decimal: Decimal, decimals: &mut Decimals) -> Quantity<'a> {
        Quantity {
            value: Some(decimals.keep(decimal)),
            comparator: None,
            unit: said(&self.sent),
            system: self.ucum.as_ref().map(|_| UCUM.into()),
            code: self.ucum.clone(),
        }
    }
}

/// Units as laboratories and monitors write them whose meaning is sure.
fn ucum(sent: &str) -> Option<&'static str> {
    let mut plain = [0; 24];
    let mut length = 0;
    for byte in sent.bytes().filter(|b| !b.is_ascii_whitespace()) {
        *plain.get_mut(length)? = byte.to_ascii_lowercase();
        length += 1;
    }
    Some(match std::str::from_utf8(plain.get(..length)?).ok()? {
        "mmol/l" | "mmoll" => "mmol/L",
        "umol/l" | "umoll" | "µmol/l" | "μmol/l" => "umol/L",
        "nmol/l" | "nmoll" => "nmol/L",
        "pmol/l" | "pmoll" => "pmol/L",
        "mmol/mol" => "mmol/mol",
        "mg/mmol" => "mg/mmol",
        "g/l" | "gl" => "g/L",
        "g/dl" => "g/dL",
        "mg/l" => "mg/L",
        "mg/dl" => "mg/dL",
        "ug/l" | "µg/l" | "μg/l" => "ug/L",
        "ng/l" => "ng/L",
        "ng/ml" => "ng/mL",
        "u/l" | "ul" | "iu/l" => "U/L",
        "ml/min" | "mlmin" => "mL/min",
        "x10*9/l" | "10*9/l" | "x10^9/l" | "10^9/l" | "x10e9/l" | "10e9/l" => "10*9/L",
        "x10*12/l" | "10*12/l" | "x10^12/l" | "10^12/l" | "x10e12/l" | "10e12/l" => "10*12/L",
        "fl" => "fL",
        "pg" => "pg",
        "%" | "percent" | "mdc_dim_percent" => "%",
        "mmhg" | "mm[hg]" | "mdc_dim_mmhg" => "mm[Hg]",
        "mm/h" | "mm/hr" => "mm/h",
        "kpa" => "kPa",
        "cel" | "degc" | "°c" | "mdc_dim_degc" => "Cel",
        "/min" | "bpm" | "beats/min" | "mdc_dim_beat_per_min" => "/min",
        "mdc_dim_x_l_per_min" | "l/min" => "L/min",
        "kg" => "kg",
        "g" => "g",
        "cm" => "cm",
        "mm" => "mm",
        "kg/m2" | "kg/m^2" => "kg/m2",
        "s" | "sec" | "secs" => "s",
        _ => return None,
    })
}

/// `<`, `<=`, `>`, `>=`.
pub(crate) fn comparator(text: &str) -> Option<QuantityComparator> {
    Some(match text {
        "<" => QuantityComparator::Less,
        "<=" => QuantityComparator::LessOrEqual,
        ">" => QuantityComparator::Greater,
        ">=" => QuantityComparator::GreaterOrEqual,
        _ => return None,
    })
}

/// Splits `<15` into its comparator and the rest.
pub(crate) fn split_comparator(text: &str) -> (&str, &str) {
    let end = text.find(|c| !matches!(c, '<' | '>' | '=')).unwrap_or(text.len());
    let (comparator, rest) = text.split_at(end);
    (comparator, rest.trim_ascii_start())
}

/// What a reference range (OBX-7) says; brackets around it are skipped.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Limits {
    pub(crate) text: String,
    low: Option<Decimal>,
    high: Option<Decimal>,
}

impl Limits {
    /// `None` where it says nothing: `[ ]`.
    pub(crate) fn read(sent: &str) -> Option<Self> {
        let text = sent.trim_ascii();
        let inner = text.strip_prefix(['[', '(']).and_then(|t| t.strip_suffix([']', ')'])).unwrap_or(text).trim_ascii();
        if !inner.contains(char::is_alphanumeric) {
            return None;
        }
        let (low, high) = limits(inner);
        Some(Self { text: text.to_owned(), low, high })
    }

    /// For a line: `3.5-5.3`.
    pub(crate) fn short(&self) -> String {
        match (&self.low, &self.high) {
            (Some(low), Some(high)) => [&low.digits, "-", &high.digits].concat(),
            _ => self.text.trim_matches(['[', ']', '(', ')', ' ']).to_owned(),
        }
    }

    pub(crate) fn resource<'a>(self, unit: &Unit<'a>, decimals: &mut Decimals) -> ObservationReferenceRange<'a> {
        ObservationReferenceRange {
            low: self.low.map(|low| unit.quantity(low, decimals)),
            high: self.high.map(|high| unit.quantity(high, decimals)),
            text: Some(self.text.into()),
        }
    }
}

/// `a-b`, `a to b`, `<b`, `>a`. FHIR's limits are inclusive; the text beside them keeps the sign.
fn limits(text: &str) -> (Option<Decimal>, Option<Decimal>) {
    let (comparator, number) = split_comparator(text);
    match comparator {
        "<" | "<=" => return (None, Decimal::parse(number)),
        ">" | ">=" => return (Decimal::parse(number), None),
        "" => {}
        _ => return (None, None),
    }
    let part = |part: Option<&str>| Decimal::parse(part?.trim_ascii());
    let both = |end: usize, start: usize| part(text.get(..end)).zip(part(text.get(start..)));
    // The first character may be the sign of the lower limit.
    let dash = text.bytes().skip(1).position(|b| b == b'-').map(|at| at + 1);
    let read = match dash {
        Some(at) => both(at, at + 1),
        None => text.find(" to ").and_then(|at| both(at, at + 4)),
    };
    read.unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, low: Option<&str>, high: Option<&str>, short: &str) {
        let read = Limits::read(text).unwrap();
        let digits = |limit: &Option<Decimal>| limit.as_ref().map(|d| d.digits.clone());
        assert_eq!((digits(&read.low).as_deref(), digits(&read.high).as_deref()), (low, high), "{text}");
        assert_eq!(read.short(), short);
    }

    #[test]
    fn ranges() {
        check("3.5-5.3", Some("3.5"), Some("5.3"), "3.5-5.3");
        check("49 - 92", Some("49"), Some("92"), "49-92");
        check("[ 0.38 - 0.52 ]", Some("0.38"), Some("0.52"), "0.38-0.52");
        check("-2 - -1", Some("-2"), Some("-1"), "-2--1");
        check("2 to 4", Some("2"), Some("4"), "2-4");
        check("[ < 0.21 ]", None, Some("0.21"), "< 0.21");
        check(">60", Some("60"), None, ">60");
        check("Negative", None, None, "Negative");
        check("1-2-3", None, None, "1-2-3");
        assert_eq!(Limits::read("[ ]"), None);
        assert_eq!(Limits::read(""), None);
    }
}
