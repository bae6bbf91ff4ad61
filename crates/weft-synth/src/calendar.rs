//! Days and London's clock, for times from 1900 to 2100.

/// Microseconds.
pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// First moment of the told time: 2024-11-01T00:00:00Z.
pub(crate) const START: i64 = 20_028 * DAY;
/// The end of the told time, two years later: 2026-11-01T00:00:00Z.
pub(crate) const END: i64 = 20_758 * DAY;

/// A date: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Day(pub(crate) i64);

impl Day {
    pub(crate) fn of(year: i64, month: i64, day: i64) -> Self {
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let of_era = year - era * 400;
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        Self(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
    }

    /// The day of a moment, in UTC.
    pub(crate) fn at(us: i64) -> Self {
        Self(us.div_euclid(DAY))
    }

    /// Year, month from 1, day from 1.
    pub(crate) fn parts(self) -> (i64, i64, i64) {
        let shifted = self.0 + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted - era * 146_097;
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        (year + era * 400 + i64::from(month <= 2), month, day)
    }

    pub(crate) fn start(self) -> i64 {
        self.0 * DAY
    }

    /// Whole years to another day.
    pub(crate) fn years_until(self, later: Self) -> i64 {
        let ((year, month, day), (then, month_then, day_then)) = (self.parts(), later.parts());
        then - year - i64::from((month_then, day_then) < (month, day))
    }

    /// `20250131`.
    pub(crate) fn digits(self) -> String {
        let (year, month, day) = self.parts();
        format!("{year:04}{month:02}{day:02}")
    }

    /// `2025-01-31`.
    pub(crate) fn hyphened(self) -> String {
        let (year, month, day) = self.parts();
        format!("{year:04}-{month:02}-{day:02}")
    }

    fn last_sunday(year: i64, month: i64) -> Self {
        // Both months in question have 31 days; day 0 was a Thursday.
        let last = Self::of(year, month, 31);
        Self(last.0 - (last.0 + 4).rem_euclid(7))
    }
}

/// `20250131142500` on London's clocks.
pub(crate) fn digits(us: i64) -> String {
    let (day, hour, minute, second) = on_the_clock(us);
    format!("{}{hour:02}{minute:02}{second:02}", day.digits())
}

/// `2025-01-31 14:25:00` on London's clocks.
pub(crate) fn spaced(us: i64) -> String {
    let (day, hour, minute, second) = on_the_clock(us);
    format!("{} {hour:02}:{minute:02}:{second:02}", day.hyphened())
}

fn on_the_clock(us: i64) -> (Day, i64, i64, i64) {
    let local = us + if is_summer(us) { HOUR } else { 0 };
    let of_day = local.rem_euclid(DAY);
    (Day::at(local), of_day / HOUR, of_day / MINUTE % 60, of_day / SECOND % 60)
}

/// From 01:00 UTC on the last Sunday of March to the same hour on the last of October.
fn is_summer(us: i64) -> bool {
    let (year, ..) = Day::at(us).parts();
    let change = |month| Day::last_sunday(year, month).start() + HOUR;
    (change(3)..change(10)).contains(&us)
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, tz::TimeZone};

    use super::*;

    #[test]
    fn clocks_agree_with_the_zone_database() {
        let zone = TimeZone::get("Europe/London").unwrap();
        for step in 0..4000 {
            let us = START - 400 * DAY + step * 7 * HOUR + step * MINUTE;
            let zoned = Timestamp::from_microsecond(us).unwrap().to_zoned(zone.clone());
            assert_eq!(digits(us), zoned.strftime("%Y%m%d%H%M%S").to_string());
            assert_eq!(spaced(us), zoned.strftime("%Y-%m-%d %H:%M:%S").to_string());
        }
    }

    #[test]
    fn days_are_dates() {
        assert_eq!(Day(0).hyphened(), "1970-01-01");
        assert_eq!((Day::at(START).digits(), Day::at(END).digits()), ("20241101".to_owned(), "20261101".to_owned()));
        for n in (-26_000..40_000).step_by(13) {
            let (year, month, day) = Day(n).parts();
            assert_eq!(Day::of(year, month, day), Day(n));
        }
        assert_eq!(Day::of(2000, 2, 29).years_until(Day::of(2025, 2, 28)), 24);
        assert_eq!(Day::of(2000, 2, 29).years_until(Day::of(2025, 3, 1)), 25);
    }
}
