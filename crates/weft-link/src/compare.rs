//! Two records side by side: rows of a waterfall, and whether the rules allow a link.

use weft_model::proto::event::Evidence;

use crate::{
    Features, Model,
    features::{Birth, MISTYPED, OtherId, Sex},
    field::{FIELDS, Field, Level},
    names::{self, NameLevels},
    normalise::is_british,
    phonetic::distance,
    places::{self, PlaceLevels},
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
}

impl Comparison {
    pub(crate) fn score(&self) -> i64 {
        let rules = self.rules.iter().flatten().map(|rule| i64::from(rule.weight));
        self.weights.iter().map(|weight| i64::from(*weight)).chain(rules).sum()
    }

    pub(crate) fn level(&self, field: Field) -> Level {
        self.levels.get(field as usize).copied().unwrap_or(Level::Absent)
    }

    fn weight(&self, field: Field) -> i32 {
        self.weights.get(field as usize).copied().unwrap_or_default()
    }

    fn set(&mut self, field: Field, level: Level, weight: i32) {
        if let (Some(to), Some(held)) = (self.levels.get_mut(field as usize), self.weights.get_mut(field as usize)) {
            (*to, *held) = (level, weight);
        }
    }

    /// Adds a rule's row; there is room for every rule that there is.
    pub(crate) fn add(&mut self, name: &'static str, level: &'static str, weight: i32) {
        if let Some(free) = self.rules.iter_mut().find(|rule| rule.is_none()) {
            *free = Some(Row { field: name, level, weight });
        }
    }

    fn rule(&self, name: &str) -> i32 {
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
    fn agreeing(&self, fields: &[Field]) -> i32 {
        fields.iter().map(|field| self.weight(*field).max(0)).sum()
    }
}

/// Compares two records. The same whichever comes first. `population` is what the number of records known adds.
pub(crate) fn compare(a: &Features, b: &Features, population: i32, model: &Model) -> Comparison {
    let mut found = Comparison {
        levels: [Level::Absent; FIELDS],
        weights: [0; FIELDS],
        rules: [None; RULES_MAX],
        check: Check::Unchecked,
    };
    let NameLevels { family, given, middle } = names::compare(a, b, model);
    let PlaceLevels { postcode, house, street, city, region } = places::compare(a, b, model);
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
    apply_rules(&mut found, a, b, population, model);
    found
}

fn apply_rules(found: &mut Comparison, a: &Features, b: &Features, population: i32, model: &Model) {
    if found.number_agrees() {
        found.check = cross_check(found);
        match found.check {
            Check::Passed => {}
            Check::Unchecked => found.add("cross-check", "unchecked", model.veto),
            Check::Disagrees => found.add("cross-check", "disagrees", model.veto),
        }
    } else if a.pseudo_person || b.pseudo_person {
        found.add("pseudo-person", "never-by-likeness", model.veto);
    }
    let died_before = |one: Birth, other: Birth| one.is_full() && other.is_full() && one < other;
    if died_before(a.death, b.birth) || died_before(b.death, a.birth) {
        found.add("born-after-death", "impossible", model.veto);
    }
    let is_registered = tells_households_apart(a) || tells_households_apart(b);
    // However few of them a node knows, registered people are of a large population.
    let population = if is_registered { population.min(0) } else { population };
    if is_registered {
        if is_only_an_address(found) {
            found.add("person", "nothing-agrees", model.veto);
        }
        let is_alike = |field, levels: &[Level]| levels.contains(&found.level(field));
        if is_alike(Field::Family, &[Level::Exact, Level::Near])
            && is_alike(Field::Given, &[Level::Exact, Level::Nickname, Level::Near])
        {
            found.add("names", "go-together", model.names_together);
        }
        guard(
            found,
            a.birth.year.abs_diff(b.birth.year) < GENERATION_YEARS_MIN && a.birth.year != 0,
            population,
            model,
        );
    }
    found.add("population", "records-known", population);
}

/// Neither a name nor any part of the birth date agrees: whatever else does, it is the house that is the same.
fn is_only_an_address(found: &Comparison) -> bool {
    use Level::{Absent, Differs, Unnamed};
    let is_known =
        [Field::Number, Field::Identifier, Field::Local].iter().any(|f| !matches!(found.level(*f), Absent | Differs));
    let personal = [Field::Family, Field::Given, Field::Birth];
    !is_known && personal.iter().all(|field| matches!(found.level(*field), Absent | Differs | Unnamed))
}

/// A record of a source that registers people states a sex, an NHS number or a British postcode. Where neither side does,
/// nothing is known of households, and people who share one are not a rival explanation: only coincidence is.
fn tells_households_apart(features: &Features) -> bool {
    features.sex != Sex::Unknown || features.number_stated || features.places().any(|place| is_british(place.postcode))
}

/// Agreement of a full postcode, of street and house, or of a telephone number.
const NEAR_MIN: i32 = 1200;

/// Parents and children are at least so far apart.
const GENERATION_YEARS_MIN: u16 = 12;

/// What people of one household share.
const HOUSEHOLD: [Field; 8] = [
    Field::Family,
    Field::Postcode,
    Field::House,
    Field::Street,
    Field::City,
    Field::Region,
    Field::Phone,
    Field::Email,
];

/// A link must be a better explanation than a member of the household, a twin, or a parent or child of the same name: each
/// shares some rows by nature, and is rarer than a stranger, however many strangers there are. One row brings the score
/// down to the strongest of them.
/// `of_an_age` where the years of birth rule out parent and child.
fn guard(found: &mut Comparison, of_an_age: bool, population: i32, model: &Model) {
    let is_other_name = found.level(Field::Given) == Level::Differs && !found.number_agrees();
    let is_born_alike = matches!(found.level(Field::Birth), Level::Exact | Level::Swapped | Level::Digit);
    let is_family = matches!(found.level(Field::Family), Level::Exact | Level::Near | Level::Part | Level::Sound);
    if is_other_name && is_born_alike && is_family && found.level(Field::Identifier) != Level::Exact {
        found.add("twin", "another-given-name", model.veto);
        return;
    }
    let household = found.agreeing(&HOUSEHOLD);
    let birth = found.agreeing(&[Field::Birth]);
    let names = found.agreeing(&[Field::Given, Field::Middle, Field::Sex]);
    // Who shares the family name anyhow makes nothing of names that go together.
    let coincidence = population + found.rule("names");
    let rivals = [
        ("household-member", model.rivals.household - household - coincidence),
        ("twin", model.rivals.twin - household - birth - coincidence),
        ("namesake", model.rivals.namesake - household - names - coincidence),
    ];
    let possible = rivals.into_iter().filter(|(rival, _)| !(of_an_age && *rival == "namesake"));
    if let Some((rival, weight)) = possible.min_by_key(|(_, weight)| *weight).filter(|(_, w)| *w < 0) {
        found.add("rival", rival, weight);
    }
}

/// The check of the Master Person Service, with two exceptions that its records taught: a changed family name passes where
/// birth date and given name agree, and another given name never passes, for twins have one birth date.
fn cross_check(found: &Comparison) -> Check {
    use Level::{Absent, Differs, Digit, Exact, Month, OnePart, Outcode, Swapped, TwoParts, Unnamed, Year};
    let (birth, family, given) = (found.level(Field::Birth), found.level(Field::Family), found.level(Field::Given));
    let is_near = matches!(found.level(Field::Postcode), Exact | Outcode);
    match (birth, family, given) {
        (OnePart | Differs, ..) | (_, _, Differs) => Check::Disagrees,
        (Exact, Differs, Exact | Level::Nickname | Level::Near) => Check::Passed,
        (_, Differs, _) => Check::Disagrees,
        // One name is missing: the other with the birth date, or the outcode, stands in.
        (Exact, Exact, Absent | Unnamed) | (Exact, Absent, Exact) if found.level(Field::Sex) != Differs => {
            Check::Passed
        }
        (Exact | Swapped | Digit | TwoParts | Month, Absent, _)
        | (Exact | Swapped | Digit | TwoParts | Month, _, Absent | Unnamed)
            if is_near =>
        {
            Check::Passed
        }
        (Year, Exact | Level::Near, Exact | Level::Nickname | Level::Near) if is_near => Check::Passed,
        (Absent | Year, ..) | (_, Absent, _) | (_, _, Absent | Unnamed) => Check::Unchecked,
        (Exact | Swapped | Digit | TwoParts | Month, ..) => Check::Passed,
        _ => Check::Unchecked,
    }
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

fn births(a: Birth, b: Birth) -> Level {
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
    if a == b {
        // The first of January is often written where the day is not known.
        return if (a.month, a.day) == (1, 1) { Level::Month } else { Level::Exact };
    }
    if a.year == b.year && [a, b].iter().any(|birth| (birth.month, birth.day) == (1, 1)) {
        return Level::Year;
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
