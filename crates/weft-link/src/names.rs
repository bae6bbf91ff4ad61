//! Names of two records: all that either has ever had, also the other way round, also in other forms.

use crate::{
    Features, Model,
    features::{PersonName, Said},
    field::{Field, Level},
    frequencies::{Kind, bits, is_common_given, is_known_given},
    nicknames::shared_form,
    phonetic::{distance, sound_alike},
};

/// How the pair of names that agrees best comes out, with the weights where they depend on the name.
#[derive(Clone, Copy)]
pub(crate) struct NameLevels {
    pub(crate) family: (Level, i32),
    pub(crate) given: (Level, i32),
    pub(crate) middle: Level,
}

const ABSENT: NameLevels = NameLevels { family: (Level::Absent, 0), given: (Level::Absent, 0), middle: Level::Absent };

impl NameLevels {
    /// Best first by weight; equals by level, so that it does not matter which record comes first.
    fn key(&self, model: &Model) -> (i32, std::cmp::Reverse<(Level, Level, Level)>) {
        let weight = self.family.1 + self.given.1 + model.weight(Field::Middle, self.middle);
        (weight, std::cmp::Reverse((self.family.0, self.given.0, self.middle)))
    }
}

pub(crate) fn compare(a: &Said<'_>, b: &Said<'_>, model: &Model) -> NameLevels {
    let pairs = a.names.iter().flat_map(|one| b.names.iter().map(move |other| pair(*one, *other, model)));
    let unnamed = a.features.unnamed || b.features.unnamed;
    let best = pairs.max_by_key(|levels| levels.key(model));
    let mut best = best.unwrap_or(ABSENT);
    if unnamed {
        best.given = (Level::Unnamed, model.weight(Field::Given, Level::Unnamed));
        best.middle = Level::Absent;
    }
    best
}

/// How the names in use come out, family name and given name.
pub(crate) fn in_use(a: &Features, b: &Features) -> Option<(Level, Level)> {
    let (one, other) = (a.names().next()?, b.names().next()?);
    Some((families(one.family, other.family), givens(one, other).0))
}

/// Whether two given names, of which one is in use as a form of the other, may as well be those of two people: Jack is John, and
/// is what children are christened.
pub(crate) fn are_of_two(a: &Said<'_>, b: &Said<'_>) -> bool {
    let firsts = a.names.iter().flat_map(|one| b.names.iter().map(move |other| (one.first_given, other.first_given)));
    let mut forms = firsts.filter(|(one, other)| one != other && shared_form(one, other).is_some());
    forms.any(|(one, other)| {
        let most = slips(one).max(slips(other));
        let is_spelling = distance(one, other, most) <= most || one.starts_with(other) || other.starts_with(one);
        !is_spelling && is_common_given(one) && is_common_given(other)
    })
}

fn pair(one: PersonName<'_>, other: PersonName<'_>, model: &Model) -> NameLevels {
    let family = families(one.family, other.family);
    let (given, given_bits) = givens(one, other);
    let family_bits = if family == Level::Exact { bits(Kind::Family, one.family) } else { 0 };
    let straight = NameLevels {
        family: (family, model.weight(Field::Family, family) + family_bits),
        given: (given, model.weight(Field::Given, given) + given_bits),
        middle: middles(one, other, given),
    };
    let is_weak = |level| !matches!(level, Level::Exact | Level::Nickname);
    if !is_weak(family) || !is_weak(given) {
        return straight;
    }
    match crossed(one, other, model) {
        Some(crossed) if crossed.key(model) > straight.key(model) => crossed,
        _ => straight,
    }
}

/// Family and given name exchanged. Where only one pair agrees crosswise, the other name has changed besides.
fn crossed(one: PersonName<'_>, other: PersonName<'_>, model: &Model) -> Option<NameLevels> {
    let cross = |family: &str, given: &str| match (family, given) {
        ("", _) | (_, "") => Cross::Absent,
        (family, given) if distance(family, given, slips(family)) <= slips(family) => {
            Cross::Agrees(bits(Kind::Family, family))
        }
        _ => Cross::Differs,
    };
    let (first, second) = (cross(one.family, other.first_given), cross(other.family, one.first_given));
    // The stronger one first, so that the outcome is the same from both sides.
    let (first, second) = (first.max(second), first.min(second));
    let Cross::Agrees(bits) = first else { return None };
    let given = match second {
        Cross::Agrees(bits) => (Level::Swapped, model.weight(Field::Given, Level::Swapped) + bits),
        Cross::Absent => (Level::Absent, 0),
        Cross::Differs => (Level::Differs, model.weight(Field::Given, Level::Differs)),
    };
    let family = (Level::Swapped, model.weight(Field::Family, Level::Swapped) + bits);
    Some(NameLevels { family, given, middle: Level::Absent })
}

/// A family name against a given name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cross {
    Differs,
    Absent,
    Agrees(i32),
}

fn families(one: &str, other: &str) -> Level {
    if one.is_empty() || other.is_empty() {
        return Level::Absent;
    }
    if one == other {
        return Level::Exact;
    }
    let is_double = |name: &str| name.bytes().any(|b| b == b'-');
    if !is_double(one) && !is_double(other) {
        return spellings(one, other, 3);
    }
    let (joined, other_joined) = (one.replace('-', ""), other.replace('-', ""));
    if joined == other_joined {
        return Level::Exact;
    }
    let mut parts = one.split('-').filter(|part| part.len() > 3);
    if parts.any(|part| other.split('-').any(|their| their == part)) {
        return Level::Part;
    }
    spellings(&joined, &other_joined, 3)
}

/// `least` is the length from which one slip leaves a name the same name.
fn spellings(one: &str, other: &str, least: usize) -> Level {
    let most = slips(one).min(slips(other)).max(1);
    let apart = distance(one, other, most + 1);
    if apart <= most && one.len().min(other.len()) >= least {
        Level::Near
    } else if apart <= most || apart == most + 1 && most > 2 || sound_alike(one, other) {
        Level::Sound
    } else {
        Level::Differs
    }
}

/// Level and, where it depends on the name, the worth of that name.
fn givens(one: PersonName<'_>, other: PersonName<'_>) -> (Level, i32) {
    let (a, b) = (one.first_given, other.first_given);
    if a.is_empty() || b.is_empty() {
        return (Level::Absent, 0);
    }
    if a == b {
        return (Level::Exact, bits(Kind::Given, a));
    }
    if let Some(form) = shared_form(a, b) {
        return (Level::Nickname, bits(Kind::Given, form));
    }
    if is_initial_of(a, b) || is_initial_of(b, a) {
        return (Level::Initial, 0);
    }
    if one.given_names().skip(1).any(|name| name == b) || other.given_names().skip(1).any(|name| name == a) {
        return (Level::Other, 0);
    }
    if is_known_given(a) && is_known_given(b) {
        // Two names that people have: a letter apart or not, not one of them misspelt.
        return (Level::Differs, 0);
    }
    if a.len() > 2 && b.len() > 2 && (a.starts_with(b) || b.starts_with(a)) {
        return (Level::Near, 0);
    }
    // Ben and Bea are two children, or not.
    match spellings(a, b, 4) {
        Level::Differs if joined_alike(one, other) => (Level::Near, 0),
        level => (level, 0),
    }
}

/// ANNE MARIE and ANNEMARIE.
fn joined_alike(one: PersonName<'_>, other: PersonName<'_>) -> bool {
    let letters = |name: PersonName<'_>| name.given().bytes().filter(|b| *b != b' ').count();
    letters(one) == letters(other)
        && one.given().bytes().filter(|b| *b != b' ').eq(other.given().bytes().filter(|b| *b != b' '))
}

/// Further given names count only beside a first one that agrees.
fn middles(one: PersonName<'_>, other: PersonName<'_>, given: Level) -> Level {
    if !matches!(given, Level::Exact | Level::Nickname | Level::Near) {
        return Level::Absent;
    }
    match (one.given_names().nth(1), other.given_names().nth(1)) {
        (Some(a), Some(b)) if a == b || shared_form(a, b).is_some() => Level::Exact,
        (Some(a), Some(b)) if is_initial_of(a, b) || is_initial_of(b, a) => Level::Initial,
        (Some(a), Some(b)) if distance(a, b, slips(a)) <= slips(a) => Level::Exact,
        (Some(_), Some(_)) => Level::Differs,
        _ => Level::Absent,
    }
}

fn is_initial_of(initial: &str, name: &str) -> bool {
    initial.chars().count() == 1 && name.starts_with(initial)
}

/// Slips of the pen that leave a name of this length the same name.
pub(crate) fn slips(name: &str) -> usize {
    match name.len() {
        ..3 => 0,
        3..6 => 1,
        6..10 => 2,
        _ => 3,
    }
}
