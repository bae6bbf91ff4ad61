//! People written in one line: `NHS number|family|given given|YYYYMMDD|sex|postcode|status`, empty for what is not said.

use std::sync::LazyLock;

use weft_link::{Features, Model, Options};
use weft_model::{
    Pseudonym,
    proto::event::{Address, Demographics, Identifier, IdentifierKind, Name, Precision, When},
};

pub(crate) const DEMO: Options = Options { test_numbers_are_evidence: true };

#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
pub(crate) static MODEL: LazyLock<Model> = LazyLock::new(|| Model::shipped().unwrap());

pub(crate) fn record(n: u8) -> Pseudonym {
    Pseudonym([n; 16])
}

pub(crate) fn demographics(line: &str) -> Demographics {
    let mut parts = line.split('|');
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let (number, family, given, birth, sex, postcode, status) =
        (next(), next(), next(), next(), next(), next(), next());
    let number = Identifier { kind: IdentifierKind::NhsNumber.into(), value: number, status, ..Identifier::default() };
    Demographics {
        identifiers: Some(number).filter(|n| !n.value.is_empty()).into_iter().collect(),
        names: vec![Name { family, given: given.split(' ').map(str::to_owned).collect(), ..Name::default() }],
        birth: day(&birth),
        sex,
        addresses: vec![Address { postcode, ..Address::default() }],
        ..Demographics::default()
    }
}

pub(crate) fn features(line: &str) -> Features {
    Features::from_demographics(&demographics(line), &DEMO)
}

/// A date as `YYYYMMDD`, `YYYYMM` or `YYYY`.
fn day(text: &str) -> Option<When> {
    let number = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse::<i64>().ok());
    let year = number(0, 4)?;
    let precision = match text.len() {
        4 => Precision::Year,
        6 => Precision::Month,
        _ => Precision::Day,
    };
    let days = days_from_civil(year, number(4, 6).unwrap_or(1), number(6, 8).unwrap_or(1));
    Some(When { start_us: days * 86_400_000_000, precision: precision.into(), ..When::default() })
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}
