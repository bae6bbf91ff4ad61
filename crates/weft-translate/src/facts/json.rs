//! Resources as JSON. FHIR holds that `7.40` is more precise than `7.4`; the typed resources keep numbers as `f64`, so the
//! digits that the source wrote are kept beside the resource and written in the number's place.

use std::{collections::VecDeque, io};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// The decimals of one resource as their source wrote them.
#[derive(Debug, Default)]
pub(crate) struct Decimals(VecDeque<Decimal>);

/// A number and its digits, which are a JSON number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decimal {
    pub(crate) value: f64,
    pub(crate) digits: String,
}

impl Decimal {
    /// Reads a number as HL7 allows it: a sign, digits, at most one point; `.5`, `5.` and `+5` too. `None` for all else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (minus, unsigned) = match text.as_bytes().first()? {
            b'-' => ("-", text.get(1..)?),
            b'+' => ("", text.get(1..)?),
            _ => ("", text),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let are_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !are_digits(whole) || !are_digits(fraction) {
            return None;
        }
        let whole = match whole.trim_start_matches('0') {
            "" => "0",
            significant => significant,
        };
        let point = if fraction.is_empty() { "" } else { "." };
        let digits = [minus, whole, point, fraction].concat();
        let value = digits.parse().ok().filter(|value: &f64| value.is_finite())?;
        Some(Self { value, digits })
    }
}

impl Decimals {
    /// Remembers how `decimal` was written; returns it as the typed resource holds it.
    pub(crate) fn keep(&mut self, decimal: Decimal) -> f64 {
        let value = decimal.value;
        self.0.push_back(decimal);
        value
    }

    /// The digits of `value`. Each is given once, in the order in which they were kept, where several are equal.
    fn take(&mut self, value: f64) -> Option<String> {
        let at = self.0.iter().position(|kept| kept.value.to_bits() == value.to_bits())?;
        self.0.remove(at).map(|kept| kept.digits)
    }
}

/// Writes a resource into `json`, which is emptied first. Its numbers get the digits kept for them.
///
/// # Errors
/// What FHIR's JSON cannot hold, such as a year before 1000.
pub(crate) fn write(
    json: &mut Vec<u8>,
    resource: &impl Serialize,
    decimals: Decimals,
) -> Result<(), serde_json::Error> {
    json.clear();
    resource.serialize(&mut Serializer::with_formatter(Appending(json), AsWritten(decimals)))
}

/// Appends where it is called: JSON is mostly pieces of one byte, and `Vec`'s own `Write` is a call for each.
struct Appending<'a>(&'a mut Vec<u8>);

impl io::Write for Appending<'_> {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    #[inline(always)]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match bytes {
            [byte] => self.0.push(*byte),
            bytes => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct AsWritten(Decimals);

impl Formatter for AsWritten {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        match self.0.take(value) {
            Some(digits) => writer.write_all(digits.as_bytes()),
            None => write!(writer, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, digits: Option<&str>) {
        assert_eq!(Decimal::parse(text).map(|d| d.digits).as_deref(), digits, "{text}");
    }

    #[test]
    fn numbers_keep_their_digits() {
        check("98.00", Some("98.00"));
        check("5", Some("5"));
        check("+5.", Some("5"));
        check("-.50", Some("-0.50"));
        check("007", Some("7"));
        check("000", Some("0"));
        for wrong in ["", "-", ".", "1,5", "1e5", "<15", "1.2.3", "0x1", "NaN", "inf", "٣"] {
            check(wrong, None);
        }
        check(&"9".repeat(400), None);
    }

    #[test]
    fn equal_numbers_are_told_apart_by_their_order() {
        let mut decimals = Decimals::default();
        let values = ["98.00", "49", "98.0"].map(|text| decimals.keep(Decimal::parse(text).unwrap()));
        let mut json = Vec::new();
        write(&mut json, &values, decimals).unwrap();
        assert_eq!(json, b"[98.00,49,98.0]");
        write(&mut json, &[1.5, -0.0], Decimals::default()).unwrap();
        assert_eq!(json, b"[1.5,-0]");
    }
}
