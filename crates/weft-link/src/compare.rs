//! Two records side by side: rows of a waterfall, and whether the rules allow a link.

use weft_model::proto::event::Evidence;

use crate::{
    Features, Model, Setting,
    features::{Birth, MISTYPED, OtherId, Said, Sex},
    field::{FIELDS, Field, Level},
    names::{self, NameLevels},
    phonetic::distance,
    places::{self, PlaceLevels},
    rules,
};

/// One row of a waterfall: what was compared or which rule applies, how it came out, and what it weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Name of a [`Field`], or of a rule.
    pub field: &'static str,
    /// Name of a [`Level`], or what the rule found.
    pub level: &'static str,
    /// In hundredths of a bit.
    pub weight: i32,
}

impl From<Row> for Evidence {
    fn from(row: Row) -> Self {
        Self { field: row.field.to_owned(), level: row.level.to_owned(), weight: row.weight }
    }
}

/// Rules that can apply to one comparison.
const RULES_MAX: usize = 6;

/// How two records compare. On the stack: a record is compared with many that come to nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Comparison {
    pub(crate) levels: [Level; FIELDS],
    weights: [i32; FIELDS],
    rules: [Option<Row>; RULES_MAX],
    /// The sum of all these weights.
    score: i64,
    /// Of the NHS number's cross-check; says nothing where the numbers do not agree.
    pub(crate) check: Check,
}

/// Outcome of a cross-check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    Passed,
    /// Too little is known on one side to tell.
    Unchecked,
    Disagrees,
    /// Disagrees, and a steward who has seen it has released the number.
    LookedAt,
}

/// Agreement of a full postcode, of street and house, or of a telephone number.
const NEAR_MIN: i32 = 1200;

impl Comparison {
    pub(crate) fn score(&self) -> i64 {
        self.score
    }

    pub(crate) fn level(&self, field: Field) -> Level {
        self.levels.get(field as usize).copied().unwrap_or(Level::Absent)
    }

    pub(crate) fn weight(&self, field: Field) -> i32 {
        self.weights.get(field as usize).copied().unwrap_or_default()
    }

    fn set(&mut self, field: Field, level: Level, weight: i32) {
        if let (Some(to), Some(held)) = (self.levels.get_mut(field as usize), self.weights.get_mut(field as usize)) {
            self.score += i64::from(weight) - i64::from(*held);
            (*to, *held) = (level, weight);
        }
    }

    /// Adds a rule's row; there is room for every rule that there is.
    pub(crate) fn add(&mut self, name: &'static str, level: &'static str, weight: i32) {
        if let Some(free) = self.rules.iter_mut().find(|rule| rule.is_none()) {
            *free = Some(Row { field: name, level, weight });
            self.score += i64::from(weight);
        }
    }

    pub(crate) fn rule(&self, name: &str) -> i32 {
        self.rules.iter().flatten().filter(|rule| rule.field == name).map(|rule| rule.weight).sum()
    }

    /// The rows of the waterfall; their weights sum exactly to the score.
    pub(crate) fn evidence(&self) -> Vec<Row> {
        let row = |field, level, weight| Row { field, level, weight };
        let compared = Field::ALL.iter().filter(|field| self.level(**field) != Level::Absent);
        let fields = compared.map(|field| row(field.text(), self.level(*field).text(), self.weight(*field)));
        fields.chain(self.rules.iter().flatten().filter(|rule| rule.weight != 0).copied()).collect()
    }

    pub(crate) fn number_agrees(&self) -> bool {
        self.level(Field::Number) == Level::Exact
    }

    /// Two NHS numbers that may be one person's: all else agrees, also in a large population, or nearly all and the address
    /// or the telephone too.
    pub(crate) fn looks_like_two_numbers_of_one(&self, model: &Model) -> bool {
        let but_number = self.score() - i64::from(self.weight(Field::Number)) - i64::from(self.rule("population"));
        let near = self.agreeing(&[Field::Postcode, Field::House, Field::Street, Field::Phone, Field::Email]);
        but_number >= model.threshold + model.margin || but_number >= model.review && near >= NEAR_MIN
    }

    /// Sum of what speaks for a link among these rows.
    pub(crate) fn agreeing(&self, fields: &[Field]) -> i32 {
        fields.iter().map(|field| self.weight(*field).max(0)).sum()
    }
}

/// Compares two records. The same whichever comes first.
pub(crate) fn compare(one: &Said<'_>, other: &Said<'_>, setting: Setting, model: &Model) -> Comparison {
    let (a, b) = (one.features, other.features);
    let mut found = Comparison {
        levels: [Level::Absent; FIELDS],
        weights: [0; FIELDS],
        rules: [None; RULES_MAX],
        score: 0,
        check: Check::Unchecked,
    };
    let NameLevels { family, given, middle } = names::compare(one, other, model);
    let PlaceLevels { postcode, house, street, city, region } = places::compare(one, other, model);
    found.set(Field::Family, family.0, family.1);
    found.set(Field::Given, given.0, given.1);
    for (field, level) in [
        (Field::Number, numbers(a, b)),
        (Field::Middle, middle),
        (Field::Birth, births(a.birth, b.birth)),
        (Field::Sex, sexes(a.sex, b.sex)),
        (Field::Postcode, postcode),
        (Field::House, house),
        (Field::Street, street),
        (Field::City, city),
        (Field::Region, region),
        (Field::Phone, phones(a, b)),
        (Field::Email, emails(a, b)),
        (Field::Identifier, identifiers(a, b)),
        (Field::Local, locals(a, b)),
        (Field::Death, deaths(a.death, b.death)),
    ] {
        if level != Level::Absent {
            found.set(field, level, model.weight(field, level));
        }
    }
    rules::apply(&mut found, one, other, setting, model);
    found
}

fn numbers(a: &Features, b: &Features) -> Level {
    let resembles = |number: Option<weft_model::NhsNumber>, other: &Features| {
        let Some(number) = number else { return false };
        let mut mistyped = other.other_ids().filter(|id| id.system == MISTYPED).peekable();
        mistyped.peek().is_some() && {
            let digits = number.to_string();
            mistyped.any(|id| distance(&digits, id.value, 1) == 1)
        }
    };
    match (a.number, b.number) {
        (Some(one), Some(other)) if one != other => Level::Differs,
        (Some(_), Some(_)) if a.number_trusted && b.number_trusted => Level::Exact,
        (Some(_), Some(_)) => Level::Doubted,
        (one, other) if resembles(one, b) || resembles(other, a) => Level::Near,
        _ => Level::Absent,
    }
}

pub(crate) fn births(a: Birth, b: Birth) -> Level {
    if a.year == 0 || b.year == 0 {
        return Level::Absent;
    }
    if !a.is_full() || !b.is_full() {
        let month_known = a.month != 0 && b.month != 0;
        return match (a.year == b.year, month_known, a.month == b.month) {
            (true, false, _) => Level::Year,
            (true, true, true) => Level::Month,
            (true, true, false) | (false, true, true) => Level::OnePart,
            _ => Level::Differs,
        };
    }
    // The first of January is often written where the day is not known.
    let is_new_year = |birth: Birth| (birth.month, birth.day) == (1, 1);
    if a == b {
        return if is_new_year(a) { Level::Month } else { Level::Exact };
    }
    match (a.year == b.year, is_new_year(a), is_new_year(b)) {
        (true, true, _) | (true, _, true) => return Level::Year,
        (false, true, true) => return Level::NewYears,
        _ => {}
    }
    if a.year == b.year && (a.day, a.month) == (b.month, b.day) {
        return Level::Swapped;
    }
    if is_a_digit_off(a, b) {
        return Level::Digit;
    }
    match [a.year == b.year, a.month == b.month, a.day == b.day].into_iter().filter(|same| *same).count() {
        2 => Level::TwoParts,
        1 => Level::OnePart,
        _ => Level::Differs,
    }
}

/// One digit of eight differs, or two neighbours of one part are exchanged.
fn is_a_digit_off(a: Birth, b: Birth) -> bool {
    let digits = |birth: Birth| {
        let Birth { year, month, day } = birth;
        let (month, day) = (u16::from(month), u16::from(day));
        [year / 1000, year / 100 % 10, year / 10 % 10, year % 10, month / 10, month % 10, day / 10, day % 10]
    };
    let (one, other) = (digits(a), digits(b));
    let mut differing = one.iter().zip(&other).enumerate().filter(|(_, (x, y))| x != y).map(|(at, _)| at);
    match (differing.next(), differing.next(), differing.next()) {
        (Some(_), None, None) => true,
        (Some(at), Some(next), None) => {
            let is_one_part = next == at + 1 && next != 4 && next != 6;
            is_one_part && one.get(at) == other.get(next) && one.get(next) == other.get(at)
        }
        _ => false,
    }
}

fn sexes(a: Sex, b: Sex) -> Level {
    match (a, b) {
        (Sex::Unknown, _) | (_, Sex::Unknown) => Level::Absent,
        (a, b) if a == b => Level::Exact,
        _ => Level::Differs,
    }
}

fn deaths(a: Birth, b: Birth) -> Level {
    match (a.is_full() && b.is_full(), a == b) {
        (false, _) => Level::Absent,
        (true, true) => Level::Exact,
        (true, false) => Level::Differs,
    }
}

fn phones(a: &Features, b: &Features) -> Level {
    best(a.phones(), b.phones(), |one, other| if distance(one, other, 1) == 1 { Level::Near } else { Level::Differs })
}

fn emails(a: &Features, b: &Features) -> Level {
    let local = |mail: &str| mail.split('@').next().map_or(0, str::len);
    best(a.emails(), b.emails(), |one, other| {
        let same_local = local(one) > 4 && one.get(..=local(one)) == other.get(..=local(other));
        if same_local || distance(one, other, 1) == 1 { Level::Near } else { Level::Differs }
    })
}

/// The best way in which any of one side agrees with any of the other; what is equal needs no closer look.
fn best<'a>(
    one: impl Iterator<Item = &'a str> + Clone,
    other: impl Iterator<Item = &'a str> + Clone,
    otherwise: impl Fn(&str, &str) -> Level,
) -> Level {
    let mut best = Level::Absent;
    for x in one {
        for y in other.clone() {
            let level = if x == y { Level::Exact } else { otherwise(x, y) };
            if best == Level::Absent || level < best {
                best = level;
            }
        }
    }
    best
}

fn identifiers(a: &Features, b: &Features) -> Level {
    let is_national = |id: &OtherId<'_>| !id.is_local && id.system != MISTYPED;
    let mut best = Level::Absent;
    for x in a.other_ids().filter(is_national) {
        for y in b.other_ids().filter(is_national).filter(|y| y.system == x.system) {
            let level = match distance(x.value, y.value, 2) {
                0 => Level::Exact,
                1 => Level::Near,
                2 => Level::Close,
                _ => Level::Differs,
            };
            if best == Level::Absent || level < best {
                best = level;
            }
        }
    }
    best
}

fn locals(a: &Features, b: &Features) -> Level {
    let same = a.other_ids().filter(|x| x.is_local).any(|x| b.other_ids().any(|y| x == y));
    if same { Level::Exact } else { Level::Absent }
}
