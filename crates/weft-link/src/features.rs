//! What of a record is compared.

use std::fmt;

use weft_model::{
    NhsNumber, NhsNumberClass,
    proto::event::{Address, Demographics, Name},
};

use crate::normalise;

/// Name and version of the normalising; written into every decision.
pub const NORMALISER: &str = "normaliser/1";

/// Names of one record that are kept.
const NAMES_MAX: usize = 4;

/// What counts as evidence in this installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// NHS numbers from 900 to 999, which are never issued, count like issued ones: for demonstrations only.
    pub test_numbers_are_evidence: bool,
}

/// The comparable part of a record's demographics, in one spelling. About 120 bytes; `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Features {
    /// An NHS number fit to be evidence by its digits.
    pub(crate) number: Option<NhsNumber>,
    /// False where the source itself says that the number is in doubt.
    pub(crate) number_trusted: bool,
    pub(crate) pseudo_person: bool,
    pub(crate) sex: Sex,
    pub(crate) birth: Birth,
    /// `FAMILY\tGIVEN GIVEN` a line; the name in use first.
    names: Box<str>,
    /// Newest first.
    pub(crate) postcodes: [Option<[u8; 7]>; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sex {
    #[default]
    Unknown,
    Male,
    Female,
    Other,
}

/// Parts of a birth date; 0 stands for a part that is not known.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Birth {
    pub(crate) year: u16,
    pub(crate) month: u8,
    pub(crate) day: u8,
}

/// One name: a family name and the given names in order, each possibly missing.
#[derive(Clone, Copy)]
pub(crate) struct PersonName<'a> {
    pub(crate) family: &'a str,
    given: &'a str,
}

impl Features {
    /// Reads what can be compared; anything unreadable is as if it were absent.
    #[must_use]
    pub fn from_demographics(demographics: &Demographics, options: &Options) -> Self {
        let identifier = demographics.nhs_number();
        let (year, month, day) = demographics.birth.as_ref().map(|when| when.date_parts()).unwrap_or_default();
        let [first, second] = postcodes(&demographics.addresses);
        Self {
            number: identifier.and_then(|id| NhsNumber::parse(&id.value).ok()).filter(|n| is_evidence(*n, options)),
            number_trusted: identifier.is_some_and(|id| is_trusted(&id.status)),
            pseudo_person: demographics.pseudo_person == Some(true),
            sex: match demographics.sex.as_str() {
                "male" => Sex::Male,
                "female" => Sex::Female,
                "other" => Sex::Other,
                _ => Sex::Unknown,
            },
            birth: Birth {
                year: year.and_then(|y| u16::try_from(y).ok()).unwrap_or_default(),
                month: month.and_then(|m| u8::try_from(m).ok()).unwrap_or_default(),
                day: day.and_then(|d| u8::try_from(d).ok()).unwrap_or_default(),
            }
            .or_unknown(),
            names: names(&demographics.names),
            postcodes: [first, second],
        }
    }

    /// The NHS number, where it is fit to be evidence.
    #[must_use]
    pub fn nhs_number(&self) -> Option<NhsNumber> {
        self.number
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = PersonName<'_>> {
        self.names.lines().map(|line| {
            let (family, given) = line.split_once('\t').unwrap_or((line, ""));
            PersonName { family, given }
        })
    }

    /// The key that two records share where they agree exactly: digest of family name, first given name, birth date, sex
    /// and postcode. `None` where one of them is missing, and for a pseudo person, which is never matched by likeness.
    pub(crate) fn exact_key(&self) -> Option<u64> {
        let name = self.names().next()?;
        let (first, postcode) = (name.first_given(), self.postcodes.first()?.as_ref()?);
        if self.pseudo_person
            || name.family.is_empty()
            || first.is_empty()
            || !self.birth.is_full()
            || self.sex == Sex::Unknown
        {
            return None;
        }
        let Birth { year, month, day } = self.birth;
        let [year_high, year_low] = year.to_be_bytes();
        let rest = [0, year_high, year_low, month, day, self.sex as u8];
        let parts = [name.family.as_bytes(), &[0], first.as_bytes(), &rest, postcode];
        Some(
            parts.into_iter().flatten().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            }),
        )
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Features(..)")
    }
}

impl Birth {
    pub(crate) fn is_full(self) -> bool {
        self.year != 0 && self.month != 0 && self.day != 0
    }

    /// 1 January 1900 and before are what systems write for "not known".
    fn or_unknown(self) -> Self {
        if self.year <= 1900 && self.month <= 1 && self.day <= 1 { Self::default() } else { self }
    }
}

impl<'a> PersonName<'a> {
    pub(crate) fn first_given(self) -> &'a str {
        self.given_names().next().unwrap_or_default()
    }

    pub(crate) fn given_names(self) -> impl Iterator<Item = &'a str> {
        self.given.split(' ').filter(|name| !name.is_empty())
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

/// The names in use first, then former ones, each spelt in one way and told once.
fn names(all: &[Name]) -> Box<str> {
    let is_former = |name: &&Name| matches!(name.r#use.as_str(), "old" | "maiden");
    let mut lines: Vec<String> = Vec::new();
    let in_order = all.iter().filter(|n| !is_former(n)).chain(all.iter().filter(is_former));
    for name in in_order.take(2 * NAMES_MAX) {
        let given = normalise::given(name.given.iter().map(String::as_str)).join(" ");
        let line = format!("{}\t{given}", normalise::family(&name.family));
        if line.len() > 1 && !lines.contains(&line) && lines.len() < NAMES_MAX {
            lines.push(line);
        }
    }
    lines.join("\n").into()
}

/// The first two postcodes; those of former addresses last.
fn postcodes(all: &[Address]) -> [Option<[u8; 7]>; 2] {
    let is_former = |address: &&Address| address.r#use == "old";
    let in_order = all.iter().filter(|a| !is_former(a)).chain(all.iter().filter(is_former));
    let mut read = in_order.filter_map(|address| normalise::postcode(&address.postcode));
    let first = read.next();
    let second = read.find(|code| Some(*code) != first);
    [first, second]
}
