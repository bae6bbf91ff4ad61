//! How rare names are: a frozen table, so that a decision is the same whoever else is known.

use std::sync::LazyLock;

use crate::map::Map;

/// Name and version of the table; written into every model file that counts on it.
pub const FREQUENCIES: &str = "names/1";

const TABLE: &str = include_str!("../../../schemas/linkage/names-1.tsv");

/// No name counts as rarer than this: a name that few tables know is often a common one misspelt.
pub(crate) const BITS_MAX: i32 = 1150;

/// Which of a person's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Family,
    Given,
}

struct Table {
    family: Map<&'static str, i32>,
    given: Map<&'static str, i32>,
    /// For the names that are not listed: family, given.
    others: (i32, i32),
}

static NAMES: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table { family: Map::default(), given: Map::default(), others: (BITS_MAX, BITS_MAX) };
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let mut cells = line.split('\t');
        let (Some(kind), Some(bits), Some(names)) = (cells.next(), cells.next(), cells.next()) else { continue };
        let bits = bits.parse::<i32>().unwrap_or(BITS_MAX).clamp(0, BITS_MAX);
        match (kind, names) {
            ("family", "*") => table.others.0 = bits,
            ("given", "*") => table.others.1 = bits,
            ("family", names) => table.family.extend(names.split(' ').map(|name| (name, bits))),
            _ => table.given.extend(names.split(' ').map(|name| (name, bits))),
        }
    }
    table
});

/// Hundredths of a bit that agreement on this name is worth: 100 times the binary logarithm of one in how many has it.
pub(crate) fn bits(kind: Kind, name: &str) -> i32 {
    match kind {
        Kind::Family => NAMES.family.get(name).copied().unwrap_or(NAMES.others.0),
        Kind::Given => NAMES.given.get(name).copied().unwrap_or(NAMES.others.1),
    }
}

/// A name that people are known to have: two such that are a letter apart are two names, not one misspelt.
pub(crate) fn is_known_given(name: &str) -> bool {
    NAMES.given.contains_key(name)
}

/// A name that more people have than have any name that is not listed.
pub(crate) fn is_common_given(name: &str) -> bool {
    bits(Kind::Given, name) < NAMES.others.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_well_formed() {
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let cells: Vec<&str> = line.split('\t').collect();
            let [kind @ ("family" | "given"), bits, names] = cells.as_slice() else { panic!("{line}") };
            assert!((1..=BITS_MAX).contains(&bits.parse().unwrap()), "{kind} {bits}");
            let is_name = |name: &str| name == "*" || name.bytes().all(|b| b.is_ascii_uppercase());
            assert!(names.split(' ').all(is_name), "{line}");
        }
    }

    #[test]
    fn common_names_are_worth_less() {
        assert!(bits(Kind::Family, "SMITH") < bits(Kind::Family, "FORSYTHE"));
        assert!(bits(Kind::Given, "JOHN") < bits(Kind::Given, "PEREGRINE"));
        assert!(is_known_given("JOHN") && !is_known_given("JOHHN"));
    }
}
