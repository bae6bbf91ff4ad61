//! Among whom records are compared: a link must be a better explanation than what else there may be.
//!
//! Members of one household share family name and address. Where people live in households that must count for little; in sets
//! that were made of people without families it is all that is left of many a record. So it is counted, among the records
//! that nobody has registered, what those have in common who share a family name and a home: a house, or where none is told a
//! telephone or a mail address. The counts are a function of what the records say: they do not depend on what was linked, nor on
//! the order of arrival.

use crate::{
    Features, compare::births, features::Place, field::Level, keys::house, model::power_of_two, names::in_use,
    places::streets,
};

/// What is known of the place where records are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Records known, with the one that is decided on: of so many people a stranger may agree by coincidence.
    pub records: usize,
    /// Whether members of one household are to be expected, so that an address and a family name prove nothing.
    pub households: bool,
    /// Whether records say when people were born. Where none does, nobody could tell parent and child of one name apart.
    pub births: bool,
}

impl Setting {
    /// True where every comparison comes out the same in both: the number of records counts by its power of two.
    pub(crate) fn weighs_like(self, other: Self) -> bool {
        let told = |setting: Self| (power_of_two(setting.records), setting.households, setting.births);
        told(self) == told(other)
    }
}

/// Counts over homes: over records that say the same family name and the same home.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Homes {
    /// Records that say a family name and a home.
    pub(crate) records: u64,
    /// Pairs of one home whose given names differ, and in a house also their birth dates.
    pub(crate) of_two: u64,
    /// Pairs of one home whose given names agree, and whose birth dates do not differ.
    pub(crate) of_one: u64,
}

/// Where so many pairs of one home are of one person for each pair that is of two, it is a slip of the pen that makes them two.
/// In sets of people without families it is a hundred; in others there are more pairs of two than of one.
const PAIRS_OF_ONE_MIN: u64 = 4;

impl Homes {
    /// Whether members of one household are to be expected among so many records.
    pub(crate) fn are_shared(&self, records: usize) -> bool {
        let are_told = self.records * 2 >= records as u64;
        !are_told || self.of_two * PAIRS_OF_ONE_MIN > self.of_one
    }

    /// Takes in a pair of records with one key of a home.
    pub(crate) fn take(&mut self, one: &Features, other: &Features) {
        let Some((family, given)) = in_use(one, other) else { return };
        let houses = house(one).zip(house(other));
        let is_street = |(here, there): (Place<'_>, Place<'_>)| {
            matches!(streets(here.street, there.street), Level::Whole | Level::Exact | Level::Near)
        };
        let is_home = matches!(family, Level::Exact | Level::Near) && houses.is_none_or(is_street);
        let birth = births(one.birth, other.birth);
        let is_another = matches!(birth, Level::OnePart | Level::NewYears | Level::Differs);
        // Who is reached alike and born alike under another given name is a twin. Of a house that would be said of many a
        // name misspelt.
        let may_be_two = is_another || birth == Level::Absent || houses.is_none();
        match given {
            Level::Differs if is_home && may_be_two => self.of_two += 1,
            Level::Exact | Level::Nickname | Level::Near if is_home && !is_another => self.of_one += 1,
            _ => {}
        }
    }
}

impl std::ops::Add for Homes {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let (records, of_two) = (self.records + other.records, self.of_two + other.of_two);
        Self { records, of_two, of_one: self.of_one + other.of_one }
    }
}

impl std::ops::Sub for Homes {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let (records, of_two) = (self.records - other.records, self.of_two - other.of_two);
        Self { records, of_two, of_one: self.of_one - other.of_one }
    }
}
