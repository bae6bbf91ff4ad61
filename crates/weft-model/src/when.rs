//! Times as sources write them: an interval of stated precision, with the offset that was in force.

use jiff::{Timestamp, tz::Offset};

use crate::proto::event::{Precision, When};

/// A time that cannot be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("time outside the years -9999 to 9999, or an offset over a day")]
pub struct WhenError;

impl When {
    /// A point in time known to the microsecond, in UTC.
    #[must_use]
    pub fn instant(us: i64) -> Self {
        Self { start_us: us, precision: Precision::Fraction.into(), offset_s: 0, offset_stated: true }
    }

    /// As FHIR writes it, no more precise than it is known: `2024`, `2024-05`, `2024-05-01`,
    /// `2024-05-01T10:30:00+01:00`. FHIR knows no hours without minutes: those are shown from their first second.
    ///
    /// # Errors
    /// [`WhenError`] for what no calendar holds.
    pub fn to_fhir(&self) -> Result<String, WhenError> {
        let local = self.local()?;
        let text = match self.precision() {
            Precision::Year => local.strftime("%Y").to_string(),
            Precision::Month => local.strftime("%Y-%m").to_string(),
            Precision::Day => local.strftime("%Y-%m-%d").to_string(),
            Precision::Fraction => local.strftime("%Y-%m-%dT%H:%M:%S%.f").to_string(),
            _ => local.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        };
        let timed = !matches!(self.precision(), Precision::Year | Precision::Month | Precision::Day);
        Ok(if timed { text + &self.offset_text() } else { text })
    }

    /// As a person reads it in a table: `2024-05-01 10:30`, no more precise than it is known.
    ///
    /// # Errors
    /// [`WhenError`] for what no calendar holds.
    pub fn to_display(&self) -> Result<String, WhenError> {
        let local = self.local()?;
        let format = match self.precision() {
            Precision::Year => "%Y",
            Precision::Month => "%Y-%m",
            Precision::Day => "%Y-%m-%d",
            Precision::Hour => "%Y-%m-%d %H:",
            Precision::Unspecified | Precision::Minute => "%Y-%m-%d %H:%M",
            Precision::Second | Precision::Fraction => "%Y-%m-%d %H:%M:%S",
        };
        Ok(local.strftime(format).to_string())
    }

    /// Year, month and day as written by the source, where it is that precise.
    #[must_use]
    pub fn date_parts(&self) -> (Option<i16>, Option<i8>, Option<i8>) {
        let Ok(local) = self.local() else { return (None, None, None) };
        match self.precision() {
            Precision::Unspecified => (None, None, None),
            Precision::Year => (Some(local.year()), None, None),
            Precision::Month => (Some(local.year()), Some(local.month()), None),
            _ => (Some(local.year()), Some(local.month()), Some(local.day())),
        }
    }

    fn local(&self) -> Result<jiff::civil::DateTime, WhenError> {
        let offset = Offset::from_seconds(self.offset_s).map_err(|_| WhenError)?;
        let instant = Timestamp::from_microsecond(self.start_us).map_err(|_| WhenError)?;
        Ok(offset.to_datetime(instant))
    }

    fn offset_text(&self) -> String {
        if self.offset_s == 0 && self.offset_stated {
            return "Z".to_owned();
        }
        let minutes = self.offset_s.abs() / 60;
        format!("{}{:02}:{:02}", if self.offset_s < 0 { '-' } else { '+' }, minutes / 60, minutes % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(precision: Precision, fhir: &str, display: &str) {
        // 2024-05-01T10:30:05.25+01:00
        let when =
            When { start_us: 1_714_555_805_250_000, precision: precision.into(), offset_s: 3600, offset_stated: false };
        assert_eq!(when.to_fhir().as_deref(), Ok(fhir));
        assert_eq!(when.to_display().as_deref(), Ok(display));
    }

    #[test]
    fn shown_no_more_precise_than_known() {
        check(Precision::Year, "2024", "2024");
        check(Precision::Month, "2024-05", "2024-05");
        check(Precision::Day, "2024-05-01", "2024-05-01");
        check(Precision::Minute, "2024-05-01T10:30:05+01:00", "2024-05-01 10:30");
        check(Precision::Second, "2024-05-01T10:30:05+01:00", "2024-05-01 10:30:05");
        check(Precision::Fraction, "2024-05-01T10:30:05.25+01:00", "2024-05-01 10:30:05");
    }

    #[test]
    fn a_time_out_of_range_is_an_error() {
        assert_eq!(When { start_us: i64::MAX, ..When::instant(0) }.to_fhir(), Err(WhenError));
        assert_eq!(When { offset_s: 1_000_000, ..When::instant(0) }.to_display(), Err(WhenError));
    }
}
