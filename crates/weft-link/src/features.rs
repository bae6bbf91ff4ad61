//! What of a record is compared.

use std::fmt;

use smallvec::SmallVec;
use weft_model::{
    NhsNumber, NhsNumberClass,
    proto::event::{Address, Demographics, IdentifierKind, Name, When},
};

use crate::normalise;

/// Name and version of how records are read and of the rules that no model weighs; written into every decision. A change of
/// either is another version, so that decisions of before are not taken for wrong ones.
pub const NORMALISER: &str = "normaliser/4";

/// Names, addresses, ways to call and identifiers of one record that are kept.
const KEPT_MAX: usize = 4;

/// System of what was written as an NHS number and is none.
pub(crate) const MISTYPED: &str = "nhs-number-mistyped";

/// What counts as evidence in this installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// NHS numbers from 900 to 999, which are never issued, count like issued ones: for demonstrations only.
    pub test_numbers_are_evidence: bool,
}

/// The comparable part of a record's demographics, in one spelling. 56 bytes and one text of some hundred; `Debug` shows
/// nothing of it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Features {
    /// An NHS number fit to be evidence by its digits.
    pub(crate) number: Option<NhsNumber>,
    pub(crate) birth: Birth,
    pub(crate) death: Birth,
    pub(crate) sex: Sex,
    /// False where the source itself says that the number is in doubt.
    pub(crate) number_trusted: bool,
    /// Some NHS number is stated, whatever it is worth.
    pub(crate) number_stated: bool,
    pub(crate) pseudo_person: bool,
    /// The given name is one of those written for a child that has none yet.
    pub(crate) unnamed: bool,
    /// The sections below one after the other, each of lines that end in LF.
    text: Box<str>,
    /// Where each section but the last ends.
    ends: [u16; 3],
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sex {
    #[default]
    Unknown,
    Male,
    Female,
    Other,
}

/// Parts of a date; 0 stands for a part that is not known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Birth {
    pub(crate) year: u16,
    pub(crate) month: u8,
    pub(crate) day: u8,
}

/// One name: a family name, `-` between its parts, and the given names in order, each possibly missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PersonName<'a> {
    pub(crate) family: &'a str,
    given: &'a str,
    /// The first of the given names; empty where there is none.
    pub(crate) first_given: &'a str,
}

/// One address, each part possibly empty.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place<'a> {
    pub(crate) postcode: &'a str,
    /// Numbers, `/` between them.
    pub(crate) house: &'a str,
    /// Lines without their numbers, `|` between them.
    pub(crate) street: &'a str,
    pub(crate) city: &'a str,
    pub(crate) region: &'a str,
}

/// What a record says, its names and places taken apart: once for all that it is compared with.
pub(crate) struct Said<'a> {
    pub(crate) features: &'a Features,
    pub(crate) names: SmallVec<[PersonName<'a>; KEPT_MAX]>,
    pub(crate) places: SmallVec<[Place<'a>; KEPT_MAX]>,
}

impl<'a> From<&'a Features> for Said<'a> {
    fn from(features: &'a Features) -> Self {
        Self { features, names: features.names().collect(), places: features.places().collect() }
    }
}

/// An identifier other than the NHS number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct OtherId<'a> {
    /// A person may have many of the kind.
    pub(crate) is_local: bool,
    pub(crate) system: &'a str,
    pub(crate) value: &'a str,
}

impl Features {
    /// Reads what can be compared; anything unreadable is as if it were absent.
    #[must_use]
    pub fn from_demographics(demographics: &Demographics, options: &Options) -> Self {
        let identifier = demographics.nhs_number();
        let number = identifier.and_then(|id| NhsNumber::parse(&id.value).ok());
        let mut text = String::with_capacity(160);
        let unnamed = names(&demographics.names, &mut text);
        let names_end = end(&text);
        addresses(&demographics.addresses, &mut text);
        let addresses_end = end(&text);
        contacts(demographics, &mut text);
        let contacts_end = end(&text);
        identifiers(demographics, number, options, &mut text);
        Self {
            number: number.filter(|n| is_evidence(*n, options)),
            number_trusted: identifier.is_some_and(|id| is_trusted(&id.status)),
            number_stated: identifier.is_some_and(|id| !id.value.is_empty()),
            pseudo_person: demographics.pseudo_person == Some(true),
            sex: match demographics.sex.as_str() {
                "male" => Sex::Male,
                "female" => Sex::Female,
                "other" => Sex::Other,
                _ => Sex::Unknown,
            },
            birth: demographics.birth.as_ref().map(Birth::read).unwrap_or_default(),
            death: demographics.death.as_ref().map(Birth::read).unwrap_or_default(),
            unnamed,
            text: text.into_boxed_str(),
            ends: [names_end, addresses_end, contacts_end],
        }
    }

    /// The NHS number, where it is fit to be evidence by its digits.
    #[must_use]
    pub fn nhs_number(&self) -> Option<NhsNumber> {
        self.number
    }

    /// Puts the number that a superseded one was merged into in its place.
    pub(crate) fn set_number(&mut self, number: Option<NhsNumber>) {
        self.number = number;
    }

    /// A record of a source that registers people states a sex, an NHS number or a British postcode.
    pub(crate) fn is_registered(&self) -> bool {
        self.sex != Sex::Unknown
            || self.number_stated
            || self.places().any(|place| normalise::is_british(place.postcode))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = PersonName<'_>> + Clone {
        lines(self.section(0, self.ends[0])).map(|line| {
            let (family, given) = cut(line, b'\t');
            PersonName { family, given, first_given: cut(given, b' ').0 }
        })
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = Place<'_>> + Clone {
        lines(self.section(self.ends[0], self.ends[1])).map(|line| {
            let (postcode, rest) = cut(line, b'\t');
            let (house, rest) = cut(rest, b'\t');
            let (street, rest) = cut(rest, b'\t');
            let (city, region) = cut(rest, b'\t');
            Place { postcode, house, street, city, region }
        })
    }

    pub(crate) fn phones(&self) -> impl Iterator<Item = &str> + Clone {
        lines(self.section(self.ends[1], self.ends[2])).filter(|line| !line.bytes().any(|b| b == b'@'))
    }

    pub(crate) fn emails(&self) -> impl Iterator<Item = &str> + Clone {
        lines(self.section(self.ends[1], self.ends[2])).filter(|line| line.bytes().any(|b| b == b'@'))
    }

    pub(crate) fn other_ids(&self) -> impl Iterator<Item = OtherId<'_>> + Clone {
        let rest = self.text.get(usize::from(self.ends[2])..).unwrap_or_default();
        lines(rest).filter_map(|line| {
            let (system, value) = cut(line, b'\t');
            let is_local = system.starts_with('l');
            Some(OtherId { is_local, system: system.get(1..)?, value })
        })
    }

    /// Reads the memory where its text is, a word of each line of a processor's cache.
    #[inline]
    pub(crate) fn touch(&self) -> u8 {
        let text = self.text.as_bytes();
        let read = |at: usize| text.get(at).copied().unwrap_or_default();
        read(0) ^ read(64) ^ read(128)
    }

    fn section(&self, from: u16, to: u16) -> &str {
        self.text.get(usize::from(from)..usize::from(to)).unwrap_or_default()
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Features(..)")
    }
}

impl Birth {
    fn read(when: &When) -> Self {
        let (year, month, day) = when.date_parts();
        Self {
            year: year.and_then(|y| u16::try_from(y).ok()).unwrap_or_default(),
            month: month.and_then(|m| u8::try_from(m).ok()).unwrap_or_default(),
            day: day.and_then(|d| u8::try_from(d).ok()).unwrap_or_default(),
        }
        .or_unknown()
    }

    pub(crate) fn is_told(self) -> bool {
        self.year != 0
    }

    pub(crate) fn is_full(self) -> bool {
        self.year != 0 && self.month != 0 && self.day != 0
    }

    /// The dates that systems write for "not known": where their own reckoning begins, or a form's.
    fn or_unknown(self) -> Self {
        let is_filler =
            matches!(self.year, ..1000 | 1600 | 1601 | 1753 | 1800 | 1900) && self.month <= 1 && self.day <= 1;
        if is_filler { Self::default() } else { self }
    }
}

impl<'a> PersonName<'a> {
    pub(crate) fn given_names(self) -> impl Iterator<Item = &'a str> {
        self.given.split(' ').filter(|name| !name.is_empty())
    }

    /// All given names as they stand, a space between them.
    pub(crate) fn given(self) -> &'a str {
        self.given
    }
}

fn is_evidence(number: NhsNumber, options: &Options) -> bool {
    match number.class() {
        NhsNumberClass::Issued => true,
        NhsNumberClass::Test => options.test_numbers_are_evidence,
        _ => false,
    }
}

/// Tracing status as HL7 table 0445 has it, with or without `NSTS`. In doubt: 04 no or several matches, 05 conflict,
/// 07 not present, 08 postponed. All others, and none, still need the cross-check.
fn is_trusted(status: &str) -> bool {
    let status = status.trim();
    let digits = status.strip_prefix("NSTS").unwrap_or(status);
    !matches!(digits.trim_start_matches('0'), "4" | "5" | "7" | "8")
}

/// Text before and after the first `at`; all of it before where there is none. These texts are short: looking byte by byte is
/// quicker than setting out to search.
fn cut(text: &str, at: u8) -> (&str, &str) {
    match text.bytes().position(|byte| byte == at) {
        Some(place) => (text.get(..place).unwrap_or_default(), text.get(place + 1..).unwrap_or_default()),
        None => (text, ""),
    }
}

/// Lines that end in LF.
fn lines(mut text: &str) -> impl Iterator<Item = &str> + Clone {
    std::iter::from_fn(move || {
        let (line, rest) = cut(text, b'\n');
        text = rest;
        (!line.is_empty()).then_some(line)
    })
}

fn end(text: &str) -> u16 {
    u16::try_from(text.len()).unwrap_or(u16::MAX)
}

/// Ends the line that begins at `start`, or takes it back where it says nothing, repeats one of this section, or is one too
/// many.
fn end_line(section: usize, start: usize, kept: &mut usize, text: &mut String) {
    let (before, line) = text.split_at_checked(start).unwrap_or((text, ""));
    let says = line.bytes().any(|b| b != b'\t');
    let repeats = before.get(section..).is_some_and(|lines| lines.lines().any(|other| other == line));
    if says && !repeats && *kept < KEPT_MAX && line.len() < 1000 {
        text.push('\n');
        *kept += 1;
    } else {
        text.truncate(start);
    }
}

/// The names in use first, then former ones, each spelt in one way and told once. True where the name in use is that of a
/// child without one.
fn names(all: &[Name], text: &mut String) -> bool {
    let is_former = |name: &&Name| matches!(name.r#use.as_str(), "old" | "maiden");
    let in_order = all.iter().filter(|n| !is_former(n)).chain(all.iter().filter(is_former));
    let (section, mut kept, mut unnamed) = (text.len(), 0, None);
    for name in in_order.take(2 * KEPT_MAX) {
        let start = text.len();
        normalise::family(&name.family, text);
        text.push('\t');
        let is_newborn = normalise::given(name.given.iter().map(String::as_str), text);
        unnamed.get_or_insert(is_newborn);
        end_line(section, start, &mut kept, text);
    }
    unnamed.unwrap_or_default()
}

/// The newest first, those of former homes last.
fn addresses(all: &[Address], text: &mut String) {
    let is_former = |address: &&Address| address.r#use == "old";
    let in_order = all.iter().filter(|a| !is_former(a)).chain(all.iter().filter(is_former));
    let (section, mut kept) = (text.len(), 0);
    for address in in_order.take(2 * KEPT_MAX) {
        let start = text.len();
        normalise::postcode(&address.postcode, text);
        text.push('\t');
        normalise::address(address.lines.iter().map(String::as_str), text);
        text.push('\t');
        normalise::place(&address.city, text);
        text.push('\t');
        normalise::place(&address.district, text);
        end_line(section, start, &mut kept, text);
    }
}

fn contacts(demographics: &Demographics, text: &mut String) {
    let (section, mut kept) = (text.len(), 0);
    for telecom in demographics.telecoms.iter().take(2 * KEPT_MAX) {
        let start = text.len();
        if telecom.value.contains('@') {
            normalise::email(&telecom.value, text);
        } else {
            normalise::phone(&telecom.value, text);
        }
        end_line(section, start, &mut kept, text);
    }
}

/// Identifiers other than the NHS number. Ten digits with a wrong check digit are kept under a system of their own, so that a
/// mistyped number still resembles what it was meant to be; a number of Scotland, Northern Ireland or Ireland is one of those
/// registers, whatever field it was sent in.
fn identifiers(demographics: &Demographics, number: Option<NhsNumber>, options: &Options, text: &mut String) {
    let (section, mut kept) = (text.len(), 0);
    if let Some(number) = number.filter(|n| !is_evidence(*n, options)) {
        let register = match number.class() {
            NhsNumberClass::ScottishChi => Some("CHI"),
            NhsNumberClass::NorthernIrish => Some("HCN"),
            NhsNumberClass::Irish => Some("IHI"),
            _ => None,
        };
        if let Some(register) = register {
            let start = text.len();
            *text += &format!("n{register}\t{number}");
            end_line(section, start, &mut kept, text);
        }
    }
    if number.is_none()
        && let Some(written) = demographics.nhs_number()
    {
        let digits: String = written.value.chars().filter(char::is_ascii_digit).take(11).collect();
        if digits.len() == 10 {
            let start = text.len();
            *text += &format!("n{MISTYPED}\t{digits}");
            end_line(section, start, &mut kept, text);
        }
    }
    for identifier in demographics.identifiers.iter().take(2 * KEPT_MAX) {
        let kind = match identifier.kind() {
            IdentifierKind::NhsNumber => continue,
            IdentifierKind::Local => 'l',
            _ => 'n',
        };
        let start = text.len();
        text.push(kind);
        text.extend(identifier.system.chars().filter(|c| !c.is_control()));
        text.push('\t');
        let value = text.len();
        normalise::identifier(&identifier.value, text);
        if text.len() == value {
            text.truncate(start);
        } else {
            end_line(section, start, &mut kept, text);
        }
    }
}
