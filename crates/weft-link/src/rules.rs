//! What a comparison is held against besides coincidence: rules that forbid a link, and people who share much with a person and
//! are somebody else. Each is a row of the waterfall.

use crate::{
    Model, Setting,
    compare::{Check, Comparison},
    features::{Birth, Said, Sex},
    field::{Field, Level},
    names,
};

/// Adds the rows of all rules that apply.
pub(crate) fn apply(found: &mut Comparison, one: &Said<'_>, other: &Said<'_>, setting: Setting, model: &Model) {
    let (a, b) = (one.features, other.features);
    if found.number_agrees() {
        found.check = cross_check(found);
        match found.check {
            Check::Passed => {}
            Check::Unchecked => found.add("cross-check", "unchecked", model.veto),
            Check::Disagrees | Check::LookedAt => found.add("cross-check", "disagrees", model.veto),
        }
    } else if a.pseudo_person || b.pseudo_person {
        found.add("pseudo-person", "never-by-likeness", model.veto);
    }
    let died_before = |one: Birth, other: Birth| one.is_full() && other.is_full() && one < other;
    if died_before(a.death, b.birth) || died_before(b.death, a.birth) {
        found.add("born-after-death", "impossible", model.veto);
    }
    let is_registered = a.is_registered() || b.is_registered();
    let name_differs = [Field::Family, Field::Given].iter().any(|field| found.level(*field) == Level::Differs);
    // However few of them a node knows, registered people are of a large population. And so is, where people have families, who
    // has another name: strangers do, and they are not only those whom the node knows.
    let is_anybody = is_registered || setting.households && name_differs;
    let population = match is_anybody {
        false => model.population(setting.records),
        true if is_stranger(found) => model.population_registered(setting.records),
        true => model.population(setting.records).min(0),
    };
    if is_registered || setting.households {
        among_families(found, one, other, setting, population, model);
    }
    found.add("population", "records-known", population);
}

/// Nothing agrees but what strangers share by coincidence.
fn is_stranger(found: &Comparison) -> bool {
    let is_near = |field: &Field| *field != Field::Family && *field != Field::City && found.weight(*field) > 0;
    !is_numbered(found) && !HOUSEHOLD.iter().any(is_near)
}

/// Some source has numbered the person, and the numbers agree.
fn is_numbered(found: &Comparison) -> bool {
    [Field::Number, Field::Identifier, Field::Local].iter().any(|field| found.weight(*field) > 0)
}

/// The rows where members of one household are to be expected.
fn among_families(
    found: &mut Comparison,
    one: &Said<'_>,
    other: &Said<'_>,
    setting: Setting,
    population: i32,
    model: &Model,
) {
    let (a, b) = (one.features, other.features);
    if is_nobody_s_own(found) {
        found.add("person", "nothing-agrees", model.veto);
    }
    let is_alike = |field, levels: &[Level]| levels.contains(&found.level(field));
    if is_alike(Field::Family, &[Level::Exact, Level::Near])
        && is_alike(Field::Given, &[Level::Exact, Level::Nickname, Level::Near])
    {
        found.add("names", "go-together", model.names_together);
    }
    let of_an_age = a.birth.year.abs_diff(b.birth.year) < GENERATION_YEARS_MIN && a.birth.is_told();
    let is_woman = a.sex == Sex::Female || b.sex == Sex::Female;
    // Sons have their fathers' names; daughters hardly ever their mothers'.
    let may_be_namesake = !of_an_age && !is_woman && setting.births;
    let may_be_two_names = found.level(Field::Given) == Level::Nickname && names::are_of_two(one, other);
    guard(found, may_be_namesake, may_be_two_names, population, model);
}

/// Neither the given name nor the birth date speaks for one person, and no source has numbered the person: what else agrees, a
/// whole house shares.
fn is_nobody_s_own(found: &Comparison) -> bool {
    !is_numbered(found) && found.weight(Field::Given) <= 0 && found.weight(Field::Birth) <= 0
}

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
fn guard(found: &mut Comparison, may_be_namesake: bool, may_be_two_names: bool, population: i32, model: &Model) {
    let is_other_name = found.level(Field::Given) == Level::Differs && !found.number_agrees();
    let is_born_alike = matches!(found.level(Field::Birth), Level::Exact | Level::Swapped | Level::Digit);
    let is_family = matches!(found.level(Field::Family), Level::Exact | Level::Near | Level::Part | Level::Sound);
    if is_other_name && is_born_alike && is_family && found.level(Field::Identifier) != Level::Exact {
        found.add("twin", "another-given-name", model.veto);
        return;
    }
    // What differs among these says as little against the one as against the other.
    let household: i32 = HOUSEHOLD.iter().map(|field| found.weight(*field)).sum();
    let birth = found.agreeing(&[Field::Birth]);
    let names = found.agreeing(&[Field::Given, Field::Middle, Field::Sex]);
    // Twins who are called Mohammed Ali and Mohammed Amin share the first of their names, too; and who are called John and Jack
    // do not bear one name in two forms.
    let is_called_otherwise =
        (found.level(Field::Middle) == Level::Differs || may_be_two_names) && !found.number_agrees();
    let first_name = if is_called_otherwise { found.agreeing(&[Field::Given]) } else { 0 };
    // Who shares the family name anyhow makes nothing of names that go together.
    let coincidence = population + found.rule("names");
    let rivals = [
        ("household-member", model.rivals.household - household - coincidence),
        ("twin", model.rivals.twin - household - birth - first_name - coincidence),
        ("namesake", model.rivals.namesake - household - names - coincidence),
    ];
    let possible = rivals.into_iter().filter(|(rival, _)| may_be_namesake || *rival != "namesake");
    if let Some((rival, weight)) = possible.min_by_key(|(_, weight)| *weight).filter(|(_, w)| *w < 0) {
        found.add("rival", rival, weight);
    }
}

/// The check of the Master Person Service, with three exceptions that its records taught: a changed family name passes where
/// birth date and given name agree; another given name never passes, for twins have one birth date; and where one side has no
/// birth date or the year alone, as in many a council's file, both names have to agree, and the home too where the names are
/// common: whoever picked a namesake's number found one.
fn cross_check(found: &Comparison) -> Check {
    use Level::{
        Absent, Differs, Digit, Exact, Month, Near, NewYears, Nickname, OnePart, Outcode, Part, Swapped, TwoParts,
        Unnamed, Year,
    };
    let (birth, family, given) = (found.level(Field::Birth), found.level(Field::Family), found.level(Field::Given));
    let is_near = matches!(found.level(Field::Postcode), Exact | Outcode);
    let is_reached_alike = [Field::Phone, Field::Email].iter().any(|field| found.level(*field) == Exact);
    match (birth, family, given) {
        (OnePart | Differs, ..) | (_, _, Differs) => Check::Disagrees,
        (Exact, Differs, Exact | Nickname | Near) => Check::Passed,
        (_, Differs, _) => Check::Disagrees,
        // One name is missing: the other with the birth date, or the outcode, stands in.
        (Exact, Exact, Absent | Unnamed) | (Exact, Absent, Exact) if found.level(Field::Sex) != Differs => {
            Check::Passed
        }
        (Exact | Swapped | Digit | TwoParts | NewYears | Month, Absent, _)
        | (Exact | Swapped | Digit | TwoParts | NewYears | Month, _, Absent | Unnamed)
            if is_near =>
        {
            Check::Passed
        }
        (Absent | Year, Exact | Near | Part, Exact | Nickname | Near) | (Absent | Year, Swapped, Swapped)
            if found.level(Field::Sex) != Differs && (is_near || is_reached_alike || are_rare_names(found)) =>
        {
            Check::Passed
        }
        (Absent | Year, ..) | (_, Absent, _) | (_, _, Absent | Unnamed) => Check::Unchecked,
        (Exact | Swapped | Digit | TwoParts | NewYears | Month, ..) => Check::Passed,
        _ => Check::Unchecked,
    }
}

/// Names that agree and that hardly anybody else bears.
fn are_rare_names(found: &Comparison) -> bool {
    /// One in 16,000 bears both names.
    const RARE: i32 = 1400;
    found.agreeing(&[Field::Family, Field::Given, Field::Middle]) >= RARE
}
