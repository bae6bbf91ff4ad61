//! Two records side by side: rows of a waterfall, and whether the rules allow a link.

use weft_model::proto::event::{Evidence, LinkMethod};

use crate::{
    Features, Model,
    features::{Birth, PersonName, Sex},
    normalise,
};

/// One row: what was compared, how it came out, what it weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) field: &'static str,
    pub(crate) level: &'static str,
    pub(crate) weight: i32,
}

/// How two records compare.
pub(crate) struct Comparison {
    pub(crate) rows: Vec<Row>,
    pub(crate) method: LinkMethod,
    pub(crate) number: Number,
    /// Of the NHS number's cross-check; says nothing where the numbers do not agree.
    pub(crate) check: Check,
    /// Birth date and both names agree in full.
    pub(crate) is_same_in_full: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    Agrees,
    /// The same digits, but a source doubts them.
    Doubted,
    Differs,
    Absent,
}

/// Outcome of a cross-check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    Passed,
    /// Too little is known on one side to tell.
    Unchecked,
    Disagrees,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Exact,
    /// Day and month the other way round.
    Swapped,
    /// At least two of day, month and year.
    Partial,
    /// A short form, or the same beginning.
    Near,
    /// Family and given name the other way round.
    Transposed,
    Initial,
    Outcode,
    Disagrees,
    Absent,
}

impl Comparison {
    pub(crate) fn score(&self) -> i64 {
        self.rows.iter().map(|row| i64::from(row.weight)).sum()
    }

    pub(crate) fn add(&mut self, field: &'static str, level: &'static str, weight: i32) {
        self.rows.push(Row { field, level, weight });
    }
}

impl From<Row> for Evidence {
    fn from(row: Row) -> Self {
        Self { field: row.field.to_owned(), level: row.level.to_owned(), weight: row.weight }
    }
}

/// Compares two records by the rules.
pub(crate) fn compare(a: &Features, b: &Features, model: &Model) -> Comparison {
    let number = numbers(a, b);
    let birth = births(a.birth, b.birth);
    let (family, given) = names(a, b, model);
    let sex = sexes(a.sex, b.sex);
    let postcode = postcodes(a, b);
    let levels = [birth, family, given, sex, postcode];
    let check = cross_check(birth, family, given, postcode);
    let method = if number == Number::Agrees { LinkMethod::NhsNumberCrossCheck } else { LinkMethod::ExactDemographics };
    let mut found = Comparison {
        rows: Vec::with_capacity(8),
        method,
        number,
        check,
        is_same_in_full: [birth, family, given] == [Level::Exact; 3],
    };
    match number {
        Number::Agrees => found.add("nhs-number", "exact", model.number),
        Number::Doubted => found.add("nhs-number", "doubted", 0),
        Number::Differs => found.add("nhs-number", "differs", model.veto),
        Number::Absent => found.add("nhs-number", "absent", 0),
    }
    for (field, level) in ["birth-date", "family-name", "given-name", "sex", "postcode"].into_iter().zip(levels) {
        found.add(field, level.text(), weight(field, level, model));
    }
    if method == LinkMethod::NhsNumberCrossCheck {
        match check {
            Check::Passed => {}
            Check::Unchecked => found.add("cross-check", "unchecked", model.veto),
            Check::Disagrees => found.add("cross-check", "disagrees", model.veto),
        }
    } else {
        if levels != [Level::Exact; 5] {
            found.add("all-demographics", "not-exact", model.veto);
        }
        if a.pseudo_person || b.pseudo_person {
            found.add("pseudo-person", "never-by-likeness", model.veto);
        }
    }
    found
}

/// The check of the Master Person Service, with two exceptions that its records taught: a changed family name passes where
/// birth date and given name agree in full, and a birth date that agrees in part needs more than an initial.
fn cross_check(birth: Level, family: Level, given: Level, postcode: Level) -> Check {
    use Level::{Absent, Disagrees, Exact, Near, Outcode, Transposed};
    match (birth, family, given) {
        (Disagrees, ..) => Check::Disagrees,
        (Exact, Disagrees, Exact) => Check::Passed,
        (_, Disagrees, _) | (_, _, Disagrees) => Check::Disagrees,
        (Absent, ..) => Check::Unchecked,
        (_, Absent, _) | (_, _, Absent) => match postcode {
            Exact | Outcode => Check::Passed,
            _ => Check::Unchecked,
        },
        (Exact, ..) | (_, _, Exact | Near | Transposed) => Check::Passed,
        _ => Check::Unchecked,
    }
}

fn numbers(a: &Features, b: &Features) -> Number {
    match (a.number, b.number) {
        (Some(one), Some(other)) if one != other => Number::Differs,
        (Some(_), Some(_)) if a.number_trusted && b.number_trusted => Number::Agrees,
        (Some(_), Some(_)) => Number::Doubted,
        _ => Number::Absent,
    }
}

fn births(a: Birth, b: Birth) -> Level {
    if a.is_full() && a == b {
        return Level::Exact;
    }
    if a.year == b.year && a.is_full() && b.is_full() && (a.day, a.month) == (b.month, b.day) {
        return Level::Swapped;
    }
    let (mut agreeing, mut missing) = (0, 0);
    let parts = [(a.year, b.year), (a.month.into(), b.month.into()), (a.day.into(), b.day.into())];
    for (one, other) in parts {
        match (one, other) {
            (0, _) | (_, 0) => missing += 1,
            (one, other) if one == other || last_digits_swapped(one, other) => agreeing += 1,
            _ => {}
        }
    }
    match (agreeing, missing) {
        (2.., _) => Level::Partial,
        (0, 3) | (1, 1..) => Level::Absent,
        _ => Level::Disagrees,
    }
}

fn last_digits_swapped(one: u16, other: u16) -> bool {
    one / 100 == other / 100 && (one % 10, one / 10 % 10) == (other / 10 % 10, other % 10)
}

/// Family and given name of the pair of names that agrees best.
fn names(a: &Features, b: &Features, model: &Model) -> (Level, Level) {
    let value =
        |(family, given): &(Level, Level)| weight("family-name", *family, model) + weight("given-name", *given, model);
    a.names()
        .flat_map(|one| b.names().map(move |other| name_pair(one, other)))
        .max_by_key(|pair| (value(pair), pair.0 as u8, pair.1 as u8))
        .unwrap_or((Level::Absent, Level::Absent))
}

fn name_pair(one: PersonName<'_>, other: PersonName<'_>) -> (Level, Level) {
    let (first, second) = (one.first_given(), other.first_given());
    if one.family != other.family && !first.is_empty() && one.family == second && other.family == first {
        return (Level::Transposed, Level::Transposed);
    }
    (families(one.family, other.family), givens(one, other))
}

fn families(one: &str, other: &str) -> Level {
    match (one, other) {
        ("", _) | (_, "") => Level::Absent,
        (one, other) if one == other => Level::Exact,
        (one, other) if same_start(one, other, 3) => Level::Near,
        _ => Level::Disagrees,
    }
}

/// Exact needs the further names not to contradict either: brothers may share a first name.
fn givens(one: PersonName<'_>, other: PersonName<'_>) -> Level {
    match (one.first_given(), other.first_given()) {
        ("", _) | (_, "") => Level::Absent,
        (a, b) if a == b => {
            let rest = one.given_names().skip(1).zip(other.given_names().skip(1));
            let contradict = rest.into_iter().any(|(a, b)| !(a == b || is_initial_of(a, b) || is_initial_of(b, a)));
            if contradict { Level::Near } else { Level::Exact }
        }
        (a, b) if normalise::formal(a) == normalise::formal(b) || same_start(a, b, 3) => Level::Near,
        (a, b) if same_start(a, b, 1) => {
            if is_initial_of(a, b) || is_initial_of(b, a) {
                Level::Near
            } else {
                Level::Initial
            }
        }
        _ => Level::Disagrees,
    }
}

fn is_initial_of(initial: &str, name: &str) -> bool {
    initial.chars().count() == 1 && name.starts_with(initial)
}

/// Equal in their first characters; shorter ones must be equal.
fn same_start(one: &str, other: &str, count: usize) -> bool {
    one.chars().take(count).eq(other.chars().take(count))
}

fn sexes(a: Sex, b: Sex) -> Level {
    match (a, b) {
        (Sex::Unknown, _) | (_, Sex::Unknown) => Level::Absent,
        (a, b) if a == b => Level::Exact,
        _ => Level::Disagrees,
    }
}

fn postcodes(a: &Features, b: &Features) -> Level {
    let pairs = || a.postcodes.iter().flatten().flat_map(|one| b.postcodes.iter().flatten().map(move |two| (one, two)));
    if pairs().next().is_none() {
        Level::Absent
    } else if pairs().any(|(one, two)| one == two) {
        Level::Exact
    } else if pairs().any(|(one, two)| normalise::outcode(one) == normalise::outcode(two)) {
        Level::Outcode
    } else {
        Level::Disagrees
    }
}

fn weight(field: &str, level: Level, model: &Model) -> i32 {
    match (field, level) {
        (_, Level::Absent) => 0,
        ("birth-date", Level::Exact) => model.birth_exact,
        ("birth-date", Level::Swapped) => model.birth_swapped,
        ("birth-date", Level::Partial) => model.birth_partial,
        ("birth-date", _) => model.birth_disagrees,
        ("sex", Level::Exact) => model.sex_exact,
        ("sex", _) => model.sex_disagrees,
        ("postcode", Level::Exact) => model.postcode_exact,
        ("postcode", Level::Outcode) => model.postcode_outcode,
        ("postcode", _) => model.postcode_disagrees,
        (_, Level::Exact) => model.name_exact,
        (_, Level::Near | Level::Transposed) => model.name_near,
        (_, Level::Initial) => model.name_initial,
        _ => model.name_disagrees,
    }
}

impl Level {
    fn text(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Swapped => "swapped",
            Self::Partial => "partial",
            Self::Near => "near",
            Self::Transposed => "transposed",
            Self::Initial => "initial",
            Self::Outcode => "outcode",
            Self::Disagrees => "disagrees",
            Self::Absent => "absent",
        }
    }
}
