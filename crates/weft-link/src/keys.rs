//! The keys by which records find each other: each is shared by two records of one person that differ in some usual way, and
//! by few others. A key with a part that is not known is no key.
//!
//! | key | finds in spite of |
//! |---|---|
//! | birth date (day and month in either order), sound of one name | a move, another or a missing second name, names exchanged |
//! | birth date, postcode | other names |
//! | sounds of both names, two of year, month and day | a move and a wrong part of the birth date |
//! | postcode, sound of the given name | a wrong birth date, a changed family name |
//! | postcode, house number, year of birth | a wrong day or month and other names |
//! | sounds of both names; narrow: skipped where a few records share it | all else, where names are rare |
//! | telephone number, mail address, identifier | all else |
//!
//! Where an address has no British postcode, which names twenty houses, more keys stand in: sounds of both names with the town;
//! sound of a name with that of the street, or with house number and town; birth date with house number, or with the town; house
//! number with the sound of the street and town or postcode; sound of the street and town; sounds of two lines.

use weft_model::NhsNumber;

use crate::{
    Features,
    features::{Birth, MISTYPED, Place},
    nicknames::formal,
    normalise::{digest, is_british},
    phonetic::soundex,
};

/// A key is narrow where this bit is set: it finds nobody as soon as a few records share it.
const NARROW: u64 = 1;

/// Records that may share this key before it says nothing and is skipped: no patient has so many, a filler or a common name
/// does.
pub(crate) fn most_records(key: u64) -> usize {
    if key & NARROW != 0 { 12 } else { crate::BLOCK_RECORDS_MAX }
}

/// The keys of one record, each once.
pub(crate) fn all_keys(features: &Features) -> Keys {
    let mut all = Keys { keys: [0; KEYS_MAX], count: 0 };
    keys(features, |key| all.push(key));
    all
}

/// Keys of one record that are kept; with four names and four addresses there could be more.
const KEYS_MAX: usize = 48;

pub(crate) struct Keys {
    keys: [u64; KEYS_MAX],
    count: usize,
}

impl Keys {
    fn push(&mut self, key: u64) {
        if self.as_slice().contains(&key) {
            return;
        }
        if let Some(to) = self.keys.get_mut(self.count) {
            *to = key;
            self.count += 1;
        }
    }

    pub(crate) fn as_slice(&self) -> &[u64] {
        self.keys.get(..self.count).unwrap_or_default()
    }
}

/// Calls `each` with every key of a record, one of them perhaps twice.
fn keys(features: &Features, mut each: impl FnMut(u64)) {
    if let Some(number) = features.nhs_number() {
        each(number_key(number));
    }
    let mut wide = |parts: &[&[u8]]| each(digest(parts) & !NARROW);
    for id in features.other_ids().filter(|id| id.system != MISTYPED) {
        wide(&[b"identifier", id.system.as_bytes(), id.value.as_bytes()]);
    }
    if features.pseudo_person {
        // Never matched by likeness.
        return;
    }
    for phone in features.phones() {
        wide(&by_phone(phone));
    }
    for email in features.emails() {
        wide(&by_email(email));
    }
    for place in features.places().filter(|place| !place.postcode.is_empty()) {
        by_postcode(features, place, &mut wide);
    }
    for place in features.places().filter(|place| !is_british(place.postcode)) {
        by_street(features, place, &mut wide);
    }
    for name in features.names() {
        let given = sound(name.first_given);
        for part in std::iter::once(name.family).chain(parts(name.family)) {
            by_name(features.birth, sound(part), given, &mut each);
        }
    }
}

fn by_postcode(features: &Features, place: Place<'_>, each: &mut impl FnMut(&[&[u8]])) {
    let (postcode, birth) = (place.postcode.as_bytes(), features.birth);
    if birth.is_full() {
        each(&[b"birth-postcode", &date(birth), postcode]);
    }
    if birth.year != 0 && !place.house.is_empty() {
        each(&[b"house-year", postcode, place.house.as_bytes(), &birth.year.to_le_bytes()]);
    }
    for given in features.names().filter_map(|name| sound(name.first_given)) {
        each(&[b"postcode-given", postcode, &given.to_le_bytes()]);
    }
}

fn by_street(features: &Features, place: Place<'_>, each: &mut impl FnMut(&[&[u8]])) {
    for name in features.names() {
        let (family, given) = (sound(name.family), sound(name.first_given));
        if let (Some(family), Some(given), false) = (family, given, place.city.is_empty()) {
            let (low, high) = (family.min(given).to_le_bytes(), family.max(given).to_le_bytes());
            each(&[b"names-city", &low, &high, place.city.as_bytes()]);
        }
        for street in place.street.split('|').filter_map(soundex) {
            for name in [family, given].into_iter().flatten() {
                each(&[b"name-street", &name.to_le_bytes(), &street.to_le_bytes()]);
            }
        }
        for name in [family, given].into_iter().flatten().filter(|_| !place.house.is_empty() && !place.city.is_empty())
        {
            each(&name_house(&name.to_le_bytes(), place));
        }
    }
    if features.birth.is_full() && !place.house.is_empty() {
        each(&[b"birth-house", &date(features.birth), place.house.as_bytes()]);
    }
    if features.birth.is_full() && !place.city.is_empty() {
        each(&[b"birth-city", &date(features.birth), place.city.as_bytes()]);
    }
    for street in place.street.split('|').filter_map(soundex).filter(|_| !place.city.is_empty()) {
        each(&[b"street-city", &street.to_le_bytes(), place.city.as_bytes()]);
    }
    let mut lines = place.street.split('|').filter_map(soundex);
    if let (Some(one), Some(other)) = (lines.next(), lines.next()) {
        each(&[b"lines", &one.min(other).to_le_bytes(), &one.max(other).to_le_bytes()]);
    }
    for street in place.street.split('|').filter_map(soundex).filter(|_| !place.house.is_empty()) {
        for town in [place.city, place.postcode].into_iter().filter(|town| !town.is_empty()) {
            each(&[b"dwelling", place.house.as_bytes(), &street.to_le_bytes(), town.as_bytes()]);
        }
    }
}

fn by_phone(phone: &str) -> [&[u8]; 2] {
    [b"phone", phone.as_bytes()]
}

fn by_email(email: &str) -> [&[u8]; 2] {
    [b"email", email.as_bytes()]
}

fn name_house<'a>(name: &'a [u8], place: Place<'a>) -> [&'a [u8]; 4] {
    [b"name-house", name, place.house.as_bytes(), place.city.as_bytes()]
}

/// The key that all members of a household have: family name and house, or where no house is told a telephone or a mail address.
/// `None` for registered people, of whom it is known that they live in households, and where none of these is known.
pub(crate) fn household_key(features: &Features) -> Option<u64> {
    if features.is_registered() || features.pseudo_person {
        return None;
    }
    let family = sound(features.names().next()?.family)?.to_le_bytes();
    let house = house(features).map(|place| digest(&name_house(&family, place)));
    let phone = || features.phones().next().map(|phone| digest(&by_phone(phone)));
    let email = || features.emails().next().map(|email| digest(&by_email(email)));
    Some(house.or_else(phone).or_else(email)? & !NARROW)
}

/// The place in use, where it tells a house.
pub(crate) fn house(features: &Features) -> Option<Place<'_>> {
    features.places().next().filter(|place| !place.house.is_empty() && !place.city.is_empty())
}

/// The key of an NHS number.
pub(crate) fn number_key(number: NhsNumber) -> u64 {
    digest(&[b"number", &number.value().to_le_bytes()]) & !NARROW
}

fn by_name(birth: Birth, family: Option<u32>, given: Option<u32>, each: &mut impl FnMut(u64)) {
    if birth.is_full() {
        for sound in [family, given].into_iter().flatten() {
            each(digest(&[b"birth-name", &date(birth), &sound.to_le_bytes()]) & !NARROW);
        }
    }
    let (Some(family), Some(given)) = (family, given) else { return };
    let (low, high) = (family.min(given).to_le_bytes(), family.max(given).to_le_bytes());
    each(digest(&[b"names", &low, &high]) | NARROW);
    if birth.is_full() {
        let year = birth.year.to_le_bytes();
        for parts in
            [[year[0], year[1], birth.month, 0], [year[0], year[1], 0, birth.day], [0, 0, birth.month, birth.day]]
        {
            each(digest(&[b"names-birth", &low, &high, &parts]) & !NARROW);
        }
    }
}

/// The parts of a double name that are long enough to be a name by themselves.
fn parts(family: &str) -> impl Iterator<Item = &str> {
    let is_double = family.contains('-');
    family.split('-').filter(move |part| is_double && part.len() > 3)
}

fn sound(name: &str) -> Option<u32> {
    soundex(formal(name))
}

/// The same for a date and for its day and month exchanged.
fn date(birth: Birth) -> [u8; 4] {
    let [low, high] = birth.year.to_le_bytes();
    [low, high, birth.month.min(birth.day), birth.month.max(birth.day)]
}
