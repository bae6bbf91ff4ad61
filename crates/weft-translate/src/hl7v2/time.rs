//! HL7 times (TS, DTM, DT) to [`When`], never made more precise than they were written.
//!
//! A time without an offset is read in the feed's zone. Where the clocks go back, an hour happens twice: the first is
//! taken. Where they go forward, an hour does not happen: the offset from before the change is kept, so that the reading
//! of the sender's clock is shown as written and the instant is the one that a clock not yet changed would mean. Both are
//! noted (`time-ambiguous`, `time-in-gap`). Dates are not: their day is known either way.

use jiff::{
    civil::DateTime,
    tz::{AmbiguousOffset, Offset, TimeZone},
};
use weft_model::{
    When,
    proto::event::{Issue, Precision},
};

use super::{Field, Repetition};
use crate::issue::{information, warning};

/// A time, and what was noticed in reading it.
#[derive(Debug, Clone, PartialEq)]
struct Reading {
    when: When,
    /// Written otherwise than HL7 has it.
    form: bool,
    /// The time of day makes no sense; the date does.
    date_only: bool,
    change: Change,
}

/// What the clocks did at that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    Ambiguous,
    Gap,
}

/// The parts as written.
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    /// Year, month, day, hour, minute, second; only the first `count` were written.
    values: [u16; 6],
    count: usize,
    /// Microseconds, where a fraction was written.
    fraction: Option<i32>,
    offset_s: Option<i32>,
    form: bool,
    date_only: bool,
}

impl Field<'_> {
    /// Reads its first repetition as a time, in `zone` unless it states an offset. `None` where it is absent, null or
    /// unreadable; the last adds an issue `date-unreadable`.
    pub fn time(&self, zone: &TimeZone, issues: &mut Vec<Issue>) -> Option<When> {
        let first = self.repetitions().next()?;
        let text = first.text(1)?;
        let degree = first.component(2);
        settle(read(&text, &degree, zone), || self.location(), issues)
    }
}

impl Repetition<'_> {
    /// Reads component `number` as a time, as [`Field::time`] does.
    pub fn time(&self, number: usize, zone: &TimeZone, issues: &mut Vec<Issue>) -> Option<When> {
        let text = self.text(number)?;
        let degree = self.subcomponent(number, 2);
        settle(read(&text, &degree, zone), || self.component_location(number), issues)
    }
}

fn settle(reading: Option<Reading>, location: impl Fn() -> String, issues: &mut Vec<Issue>) -> Option<When> {
    let Some(reading) = reading else {
        issues.push(warning("date-unreadable", location(), "not a date or time that can be read"));
        return None;
    };
    if reading.form {
        let text = "a date or time in another form than HL7's";
        issues.push(information("date-form", location(), text));
    }
    if reading.date_only {
        let text = "the time of day cannot be read; the date stands";
        issues.push(warning("time-of-day-unreadable", location(), text));
    }
    match reading.change {
        Change::None => {}
        Change::Ambiguous => {
            let text = "this time happens twice as the clocks go back; the first is taken";
            issues.push(information("time-ambiguous", location(), text));
        }
        Change::Gap => {
            let text = "this time does not happen as the clocks go forward; read by the offset from before";
            issues.push(information("time-in-gap", location(), text));
        }
    }
    Some(reading.when)
}

/// Reads `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]`, and with a note also dashes, colons, a `T` or blank, a `Z`,
/// longer fractions, and marks at the end. `degree` is TS.2, the degree of precision (`Y`, `L`, `D`, `H`, `M`, `S`).
fn read(text: &str, degree: &str, zone: &TimeZone) -> Option<Reading> {
    let mut parts = Cursor { bytes: text.as_bytes() }.parts()?;
    let stated = match degree {
        "Y" => 1,
        "L" => 2,
        "D" => 3,
        "H" => 4,
        "M" => 5,
        "S" => 6,
        _ => 7,
    };
    if stated < parts.count {
        parts.count = stated;
    }
    if stated < 7 {
        parts.fraction = None;
    }
    if civil(&parts).is_none() {
        parts.count = parts.count.min(3);
        parts.fraction = None;
        parts.date_only = true;
    }
    let local = civil(&parts)?;
    let precision = precision(&parts);
    let (offset, stated, change) = match parts.offset_s {
        Some(seconds) => (Offset::from_seconds(seconds).ok()?, true, Change::None),
        None => in_zone(local, zone),
    };
    let start_us = offset.to_timestamp(local).ok()?.as_microsecond();
    let change = if parts.count > 3 { change } else { Change::None };
    let when = When { start_us, precision: precision.into(), offset_s: offset.seconds(), offset_stated: stated };
    Some(Reading { when, form: parts.form, date_only: parts.date_only, change })
}

fn in_zone(local: DateTime, zone: &TimeZone) -> (Offset, bool, Change) {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => (offset, false, Change::None),
        AmbiguousOffset::Gap { before, .. } => (before, false, Change::Gap),
        AmbiguousOffset::Fold { before, .. } => (before, false, Change::Ambiguous),
    }
}

/// The first moment of the interval that was written; `None` where the calendar or the clock has none.
fn civil(parts: &Parts) -> Option<DateTime> {
    let value = |i: usize, absent: u16| -> u16 {
        if i < parts.count { parts.values.get(i).copied().unwrap_or(absent) } else { absent }
    };
    let small = |i: usize, absent: u16| i8::try_from(value(i, absent)).ok();
    let year = i16::try_from(value(0, 0)).ok().filter(|year| *year > 0)?;
    let nanoseconds = parts.fraction.unwrap_or_default() * 1000;
    DateTime::new(year, small(1, 1)?, small(2, 1)?, small(3, 0)?, small(4, 0)?, small(5, 0)?, nanoseconds).ok()
}

fn precision(parts: &Parts) -> Precision {
    match (parts.count, parts.fraction) {
        (1, _) => Precision::Year,
        (2, _) => Precision::Month,
        (3, _) => Precision::Day,
        (4, _) => Precision::Hour,
        (5, _) => Precision::Minute,
        (_, None) => Precision::Second,
        (_, Some(_)) => Precision::Fraction,
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
}

impl Cursor<'_> {
    fn parts(mut self) -> Option<Parts> {
        let mut parts = Parts { values: [self.number(4)?, 0, 0, 0, 0, 0], count: 1, ..Parts::default() };
        for value in parts.values.iter_mut().skip(1) {
            parts.form |= self.skip_mark(parts.count, parts.form);
            let Some(read) = self.number(2) else { break };
            *value = read;
            parts.count += 1;
        }
        if parts.count == 6 {
            parts.fraction = self.fraction(&mut parts.form);
        }
        parts.offset_s = self.offset(&mut parts.form);
        // A digit or letter left over would mean that the digits before it are not what they seem: `11pm`.
        if self.bytes.iter().any(|b| b.is_ascii_alphanumeric() || !b.is_ascii()) {
            return None;
        }
        parts.form |= !self.bytes.is_empty();
        Some(parts)
    }

    /// Skips a mark between two parts, where two digits follow and it is not the sign of an offset.
    fn skip_mark(&mut self, count: usize, marked: bool) -> bool {
        let good = match self.bytes.first() {
            Some(b'-') => count == 1 || count == 2 && marked,
            Some(b' ' | b'T' | b't') => count == 3,
            Some(b':') => count == 4 || count == 5 && marked,
            _ => false,
        };
        let digits = self.bytes.iter().skip(1).take_while(|b| b.is_ascii_digit()).count();
        // `1976-0500` is a year and an offset; after the day, `2025-05-05 232332` is a time.
        let good = good && (digits == 2 || count == 3 && digits >= 2);
        if good {
            self.advance(1);
        }
        good
    }

    fn number(&mut self, digits: usize) -> Option<u16> {
        let mut value = 0u16;
        for byte in self.bytes.get(..digits)? {
            value = value * 10 + u16::from(byte.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        }
        self.advance(digits);
        Some(value)
    }

    fn fraction(&mut self, form: &mut bool) -> Option<i32> {
        match self.bytes.first() {
            Some(b'.') if self.bytes.get(1).is_some_and(u8::is_ascii_digit) => self.advance(1),
            // Milliseconds without their point.
            Some(b'0'..=b'9') => *form = true,
            _ => return None,
        }
        let digits = self.bytes.iter().take_while(|b| b.is_ascii_digit()).count();
        *form |= digits > 4;
        let read = self.bytes.iter().take(digits).chain(std::iter::repeat(&b'0')).take(6);
        let value = read.fold(0, |value, digit| value * 10 + i32::from(digit - b'0'));
        self.advance(digits);
        Some(value)
    }

    /// `+ZZZZ`, and with a note `+ZZ`, `+ZZ:ZZ` and `Z`. A sign without digits is left for a stray mark.
    fn offset(&mut self, form: &mut bool) -> Option<i32> {
        let sign = match self.bytes.first()? {
            b'+' => 1,
            b'-' => -1,
            b'Z' | b'z' => {
                self.advance(1);
                *form = true;
                return Some(0);
            }
            _ => return None,
        };
        let before = self.bytes;
        self.advance(1);
        let Some(hours) = self.number(2) else {
            self.bytes = before;
            return None;
        };
        if self.bytes.first() == Some(&b':') {
            *form = true;
            self.advance(1);
        }
        let minutes = self.number(2);
        *form |= minutes.is_none();
        let minutes = minutes.unwrap_or_default();
        if hours > 18 || minutes > 59 {
            // Put back: the digits that remain make the whole unreadable.
            self.bytes = before;
            return None;
        }
        Some(sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60))
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes = self.bytes.get(bytes..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZoneDatabase;

    use super::*;

    /// Checks the time as FHIR writes it, its precision and what is noted, in London.
    #[track_caller]
    fn check(text: &str, fhir: &str, precision: Precision, notes: &str) {
        check_with_degree(text, "", fhir, precision, notes);
    }

    #[track_caller]
    fn check_with_degree(text: &str, degree: &str, fhir: &str, precision: Precision, notes: &str) {
        let zone = TimeZoneDatabase::bundled().get("Europe/London").unwrap();
        let mut issues = Vec::new();
        let when = settle(read(text, degree, &zone), || "PID-7".to_owned(), &mut issues);
        let when = when.unwrap_or_else(|| panic!("{text} is not read"));
        assert_eq!(when.to_fhir().as_deref(), Ok(fhir), "{text}");
        assert_eq!(when.precision(), precision, "{text}");
        assert_eq!(noted(&issues), notes, "{text}");
    }

    fn noted(issues: &[Issue]) -> String {
        issues.iter().map(|issue| issue.code.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_precision() {
        check("2025", "2025", Precision::Year, "");
        check("202505", "2025-05", Precision::Month, "");
        check("20250505", "2025-05-05", Precision::Day, "");
        check("2025050523", "2025-05-05T23:00:00+01:00", Precision::Hour, "");
        check("202505052323", "2025-05-05T23:23:00+01:00", Precision::Minute, "");
        check("20250505232332", "2025-05-05T23:23:32+01:00", Precision::Second, "");
        check("20250505232332.1", "2025-05-05T23:23:32.1+01:00", Precision::Fraction, "");
        check("20250505232332.1234", "2025-05-05T23:23:32.1234+01:00", Precision::Fraction, "");
        check("20250105", "2025-01-05", Precision::Day, "");
        check("20250105000000", "2025-01-05T00:00:00+00:00", Precision::Second, "");
        check("19000101", "1900-01-01", Precision::Day, "");
        check("18471201", "1847-12-01", Precision::Day, "");
        check("20240229", "2024-02-29", Precision::Day, "");
        check("99991201", "9999-12-01", Precision::Day, "");
    }

    #[test]
    fn stated_offsets() {
        check("20250505232332+0000", "2025-05-05T23:23:32Z", Precision::Second, "");
        check("20250505232332-0500", "2025-05-05T23:23:32-05:00", Precision::Second, "");
        check("202505052323+0530", "2025-05-05T23:23:00+05:30", Precision::Minute, "");
        check("20250505232332.25+0100", "2025-05-05T23:23:32.25+01:00", Precision::Fraction, "");
        check("1976-0500", "1976", Precision::Year, "");
        check("197605-0500", "1976-05", Precision::Month, "");
        check("20230101010000-0000", "2023-01-01T01:00:00Z", Precision::Second, "");
    }

    #[test]
    fn other_forms_are_noted() {
        check("2025-05-05 23:23:32", "2025-05-05T23:23:32+01:00", Precision::Second, "date-form");
        check("2025-05-05T23:23:32Z", "2025-05-05T23:23:32Z", Precision::Second, "date-form");
        check(
            "2025-05-05T23:23:32.123456789+01:00",
            "2025-05-05T23:23:32.123456+01:00",
            Precision::Fraction,
            "date-form",
        );
        check("2025-05-05", "2025-05-05", Precision::Day, "date-form");
        check("2025-05", "2025-05", Precision::Month, "date-form");
        check("20250505 2323", "2025-05-05T23:23:00+01:00", Precision::Minute, "date-form");
        check("20250505 23:23", "2025-05-05T23:23:00+01:00", Precision::Minute, "date-form");
        check("19760121+", "1976-01-21", Precision::Day, "date-form");
        check("20250505232332+01", "2025-05-05T23:23:32+01:00", Precision::Second, "date-form");
        check("20250505232332123", "2025-05-05T23:23:32.123+01:00", Precision::Fraction, "date-form");
        check("20250505?", "2025-05-05", Precision::Day, "date-form");
    }

    #[test]
    fn a_degree_of_precision_is_not_exceeded() {
        check_with_degree("19760121+", "D", "1976-01-21", Precision::Day, "date-form");
        check_with_degree("19760121000000", "D", "1976-01-21", Precision::Day, "");
        check_with_degree("19760121", "Y", "1976", Precision::Year, "");
        check_with_degree("19760121", "L", "1976-01", Precision::Month, "");
        check_with_degree("20250505232332.5", "M", "2025-05-05T23:23:00+01:00", Precision::Minute, "");
        check_with_degree("20250505232332.5", "S", "2025-05-05T23:23:32+01:00", Precision::Second, "");
        check_with_degree("1976", "D", "1976", Precision::Year, "");
        check_with_degree("19760121", "X", "1976-01-21", Precision::Day, "");
    }

    #[test]
    fn a_wrong_time_of_day_leaves_the_date() {
        check("202505052460", "2025-05-05", Precision::Day, "time-of-day-unreadable");
        check("20250505236032", "2025-05-05", Precision::Day, "time-of-day-unreadable");
        check("20250505232360", "2025-05-05", Precision::Day, "time-of-day-unreadable");
    }

    #[test]
    fn the_clocks_go_back_and_forward() {
        // 26 October 2025, 02:00 BST becomes 01:00 GMT.
        check("20251026005959", "2025-10-26T00:59:59+01:00", Precision::Second, "");
        check("202510260130", "2025-10-26T01:30:00+01:00", Precision::Minute, "time-ambiguous");
        check("2025102601", "2025-10-26T01:00:00+01:00", Precision::Hour, "time-ambiguous");
        check("202510260200", "2025-10-26T02:00:00+00:00", Precision::Minute, "");
        check("202510260130+0000", "2025-10-26T01:30:00Z", Precision::Minute, "");
        check("202510260130+0100", "2025-10-26T01:30:00+01:00", Precision::Minute, "");
        // 30 March 2025, 01:00 GMT becomes 02:00 BST.
        check("20250330005959", "2025-03-30T00:59:59+00:00", Precision::Second, "");
        check("202503300130", "2025-03-30T01:30:00+00:00", Precision::Minute, "time-in-gap");
        check("202503300200", "2025-03-30T02:00:00+01:00", Precision::Minute, "");
        check("20251026", "2025-10-26", Precision::Day, "");
        check("20250330", "2025-03-30", Precision::Day, "");
        // British Standard Time, and double summer time in the war.
        check("196901011200", "1969-01-01T12:00:00+01:00", Precision::Minute, "");
        check("194406061200", "1944-06-06T12:00:00+02:00", Precision::Minute, "");
    }

    #[test]
    fn what_is_no_time() {
        let zone = TimeZone::UTC;
        for text in [
            "x",
            "202",
            "20251",
            "2025051",
            "196513121515",
            "20250230",
            "20251301",
            "00000000",
            "0000",
            "20250500",
            "05/05/2025",
            "5 May 2025",
            "20250505 11pm",
            "2025050523233",
            "20250505232332+2500",
            "20250505232332+0160",
            "２０２５",
            "20250505２",
            // Beyond what a timestamp holds in every zone: a filler, not a date.
            "99991231",
            "20250505+01000",
            "2025--05",
            "-2025",
        ] {
            let mut issues = Vec::new();
            assert_eq!(settle(read(text, "", &zone), || "PID-7".to_owned(), &mut issues), None, "{text}");
            assert_eq!(noted(&issues), "date-unreadable", "{text}");
            assert!(!issues[0].text.contains(text), "{text}");
        }
    }
}
