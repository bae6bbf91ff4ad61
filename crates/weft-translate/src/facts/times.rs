//! Times as FHIR resources hold them, no more precise than they were stated.

use fhir_sdk::{
    Date, DateTime, Instant,
    time::{self, OffsetDateTime, UtcOffset},
};
use weft_model::{When, proto::event::Precision};

use super::fhir::Period;

const DAY_US: i64 = 86_400_000_000;

/// As a FHIR `dateTime`. `None` for a year that FHIR cannot write.
pub(crate) fn date_time(when: &When) -> Option<DateTime> {
    match when.precision() {
        Precision::Year | Precision::Month | Precision::Day => date(when).map(DateTime::Date),
        _ => offset_date_time(when).map(|time| DateTime::DateTime(Instant(time))),
    }
}

/// As a FHIR `date`: its day, month or year.
pub(crate) fn date(when: &When) -> Option<Date> {
    let day = offset_date_time(when)?.date();
    match when.precision() {
        Precision::Year => Some(Date::Year(day.year())),
        Precision::Month => Some(Date::YearMonth(day.year(), day.month())),
        _ => Some(Date::Date(day)),
    }
}

/// As a FHIR `instant`, which must be known to the second; a stated minute is taken for its first second.
pub(crate) fn instant(when: &When) -> Option<Instant> {
    match when.precision() {
        Precision::Minute | Precision::Second | Precision::Fraction => offset_date_time(when).map(Instant),
        _ => None,
    }
}

/// As a FHIR `Period`; `None` where neither end is known.
pub(crate) fn period(start: Option<&When>, end: Option<&When>) -> Option<Period> {
    let (start, end) = (start.and_then(date_time), end.and_then(date_time));
    (start.is_some() || end.is_some()).then_some(Period { start, end })
}

/// The day of `when`, where it is known more precisely than that: a date of birth has no time.
pub(crate) fn day_of(when: &When) -> When {
    if matches!(when.precision(), Precision::Year | Precision::Month | Precision::Day) {
        return *when;
    }
    let offset_us = i64::from(when.offset_s) * 1_000_000;
    let into_day = when.start_us.saturating_add(offset_us).rem_euclid(DAY_US);
    When { start_us: when.start_us.saturating_sub(into_day), precision: Precision::Day.into(), ..*when }
}

/// A time on the day before, where `when` is in the small hours.
pub(crate) fn evening_before(when: &When) -> Option<When> {
    const SIX_HOURS_US: i64 = DAY_US / 4;
    let into_day = when.start_us.saturating_sub(day_of(when).start_us);
    let timed = !matches!(when.precision(), Precision::Year | Precision::Month | Precision::Day);
    (timed && into_day < SIX_HOURS_US).then(|| When { start_us: when.start_us.saturating_sub(DAY_US), ..*when })
}

/// Year, month and day as digits: `20240501`.
pub(crate) fn day_digits(when: &When) -> String {
    match when.date_parts() {
        (Some(year), Some(month), Some(day)) => format!("{year:04}{month:02}{day:02}"),
        (Some(year), Some(month), None) => format!("{year:04}{month:02}"),
        (Some(year), _, _) => format!("{year:04}"),
        _ => String::new(),
    }
}

/// All that is known, as digits: `20240501103000`.
pub(crate) fn digits(when: &When) -> String {
    let day = day_digits(when);
    match (when.precision(), offset_date_time(when)) {
        (Precision::Year | Precision::Month | Precision::Day, _) | (_, None) => day,
        (_, Some(time)) => format!("{day}{:02}{:02}{:02}", time.hour(), time.minute(), time.second()),
    }
}

/// `None` outside the years 1000 to 9999, which FHIR's JSON cannot hold. The offset is in whole minutes there: local mean
/// times are shown in UTC.
fn offset_date_time(when: &When) -> Option<OffsetDateTime> {
    let offset_s = if when.offset_s % 60 == 0 { when.offset_s } else { 0 };
    let offset = UtcOffset::from_whole_seconds(offset_s).ok()?;
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(when.start_us) * 1000).ok()?;
    let time = time.checked_to_offset(offset)?;
    (1000..10_000).contains(&time.year()).then_some(time)
}

/// A time of day from `HHMM[SS[.S...]]`, offset ignored.
pub(crate) fn time_of_day(text: &str) -> Option<fhir_sdk::Time> {
    let end = text.find(['+', '-']).unwrap_or(text.len());
    let text = text.get(..end)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole.len(), 4 | 6) || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let part = |at: usize| whole.get(at..at + 2).map_or(Some(0), |digits| digits.parse::<u8>().ok());
    let nanoseconds = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = nanoseconds.fold(0u32, |value, digit| value * 10 + u32::from(digit.saturating_sub(b'0')));
    time::Time::from_hms_nano(part(0)?, part(2)?, part(4)?, nanoseconds).ok().map(fhir_sdk::Time)
}

/// True where the time of day is stated and is not midnight.
pub(crate) fn has_time_of_day(when: &When) -> bool {
    day_of(when).start_us != when.start_us
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(precision: Precision) -> When {
        // 2024-05-01T10:30:05.25+01:00
        When { start_us: 1_714_555_805_250_000, precision: precision.into(), offset_s: 3600, offset_stated: false }
    }

    fn check(precision: Precision, wanted: &str) {
        let written = serde_json::to_value(date_time(&at(precision)).unwrap()).unwrap();
        assert_eq!(written, wanted);
    }

    #[test]
    fn as_fhir_writes_them() {
        check(Precision::Year, "2024");
        check(Precision::Month, "2024-05");
        check(Precision::Day, "2024-05-01");
        check(Precision::Minute, "2024-05-01T10:30:05.25+01:00");
        check(Precision::Fraction, "2024-05-01T10:30:05.25+01:00");
    }

    #[test]
    fn what_fhir_cannot_write_is_left_out() {
        assert_eq!(date_time(&When { start_us: i64::MAX, ..at(Precision::Day) }), None);
        assert_eq!(date(&When { start_us: -40_000_000_000_000_000, ..at(Precision::Year) }), None);
        let odd = When { offset_s: -75, ..at(Precision::Second) };
        assert_eq!(serde_json::to_value(date_time(&odd).unwrap()).unwrap(), "2024-05-01T09:30:05.25Z");
    }

    #[test]
    fn the_day_of_a_time() {
        let day = day_of(&at(Precision::Second));
        assert_eq!(day.to_fhir().as_deref(), Ok("2024-05-01"));
        assert_eq!(digits(&day), "20240501");
        assert_eq!(digits(&at(Precision::Second)), "20240501103005");
        assert!(has_time_of_day(&at(Precision::Second)) && !has_time_of_day(&day));
    }

    #[test]
    fn times_of_day() {
        let read = |text| time_of_day(text).and_then(|t| serde_json::to_value(t).ok());
        assert_eq!(read("1030").unwrap(), "10:30:00");
        assert_eq!(read("103005.25+0100").unwrap(), "10:30:05.25");
        for wrong in ["", "10", "2530", "10:30", "1030.5é"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
