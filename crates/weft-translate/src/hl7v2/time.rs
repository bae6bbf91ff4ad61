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
        // A digit left over would mean that the digits before it are not what they seem.
        if self.bytes.iter().any(u8::is_ascii_digit) {
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
