//! Dates in the forms that tables have them.

use weft_model::proto::event::{Precision, When};

/// Which of day and month comes first where both could.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Order {
    /// 31/01/1980, as in most of the world.
    #[default]
    DayFirst,
    /// 01/31/1980.
    MonthFirst,
}

/// Reads `19800131`, `1980-01-31`, `1980-01-31T00:00:00`, `31/01/1980`, `31.1.80`, `31 Jan 1980`, `1980-01`, `1980`. A part that
/// cannot be is left out, with what is finer; `None` where there is no year.
pub(crate) fn read(text: &str, order: Order) -> Option<When> {
    let text = text.split(['T', 't']).next().filter(|date| date.len() >= 8).unwrap_or(text);
    let text = text.strip_suffix(".0").unwrap_or(text);
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let parts: Vec<i64> = words.iter().take(3).map(|word| number(word)).collect::<Option<_>>()?;
    let first_length = words.first().map_or(0, |word| word.len());
    let (year, month, day) = match (parts.as_slice(), first_length) {
        ([digits], 8) => (digits / 10_000, digits / 100 % 100, digits % 100),
        ([digits], 6) => (digits / 100, digits % 100, 0),
        ([year], 4) => (*year, 0, 0),
        ([year, month, day], 4) => (*year, *month, *day),
        ([year, month], 4) => (*year, *month, 0),
        ([month, year], _) => (*year, *month, 0),
        ([one, other, year], _) => {
            let year = full_year(*year);
            let is_month_first = order == Order::MonthFirst || words.first().is_some_and(|word| is_name(word));
            let (day, month) = if is_month_first { (*other, *one) } else { (*one, *other) };
            // What cannot be a month is the day, whatever comes first.
            if month > 12 && day <= 12 { (year, day, month) } else { (year, month, day) }
        }
        _ => return None,
    };
    from_parts(year, month, day)
}

/// A date of what is known of it; 0 and what cannot be stand for "not known".
pub(crate) fn from_parts(year: i64, month: i64, day: i64) -> Option<When> {
    if !(1000..2100).contains(&year) {
        return None;
    }
    let days_in = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let (precision, month, day) = match ((1..=12).contains(&month), (1..=days_in).contains(&day)) {
        (false, _) => (Precision::Year, 1, 1),
        (true, false) => (Precision::Month, month, 1),
        (true, true) => (Precision::Day, month, day),
    };
    let start_us = days_from_civil(year, month, day) * 86_400_000_000;
    Some(When { start_us, precision: precision.into(), ..When::default() })
}

/// Digits, or the English name of a month.
fn number(word: &str) -> Option<i64> {
    if word.bytes().all(|b| b.is_ascii_digit()) {
        return word.parse().ok();
    }
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let start = word.get(..3)?.to_ascii_lowercase();
    (1..).zip(MONTHS).find(|(_, name)| *name == start).map(|(month, _)| month)
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic())
}

fn full_year(year: i64) -> i64 {
    match year {
        0..=29 => 2000 + year,
        30..=99 => 1900 + year,
        year => year,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, order: Order, wanted: Option<(i64, u32, u32)>) {
        let parts = read(text, order).map(|when| when.date_parts());
        let shown = parts.map(|(year, month, day)| {
            (year.map(i64::from).unwrap_or(0), month.map(|m| m as u32).unwrap_or(0), day.map(|d| d as u32).unwrap_or(0))
        });
        assert_eq!(shown, wanted, "{text}");
    }

    #[test]
    fn dates_in_many_forms() {
        for text in [
            "19800131",
            "1980-01-31",
            "1980/1/31",
            "1980-01-31T10:00:00Z",
            "1980-01-31 10:00",
            "31/01/1980",
            "31.1.1980",
            "31-01-80",
            "31 Jan 1980",
            "31-JAN-1980",
            "January 31, 1980",
            "19800131.0",
            "01/31/1980",
        ] {
            check(text, Order::DayFirst, Some((1980, 1, 31)));
        }
        check("02/03/1980", Order::DayFirst, Some((1980, 3, 2)));
        check("02/03/1980", Order::MonthFirst, Some((1980, 2, 3)));
        check("1980", Order::DayFirst, Some((1980, 0, 0)));
        check("1980-02", Order::DayFirst, Some((1980, 2, 0)));
        check("02/1980", Order::DayFirst, Some((1980, 2, 0)));
        check("19800031", Order::DayFirst, Some((1980, 0, 0)));
        check("19800231", Order::DayFirst, Some((1980, 2, 0)));
        for none in ["", "unknown", "0", "99999999", "-"] {
            check(none, Order::DayFirst, None);
        }
    }
}
