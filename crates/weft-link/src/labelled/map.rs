//! Which column of a set is which field.

use std::collections::BTreeMap;

use super::{Csv, dates::Order};

/// The keys of a map, each with what it takes, for help texts and documents.
pub const KEYS: &[(&str, &str)] = &[
    ("id", "the record's own identifier: needed where the truth is a file of pairs"),
    ("given", "given names: one column, or several in order"),
    ("middle", "further given names"),
    ("family", "family name"),
    ("previous_family", "former family names"),
    ("full_name", "a whole name in one column: the last word, or what stands before a comma, is the family name"),
    ("birth", "date of birth: 1980-01-31, 19800131, 31/01/1980, 31 Jan 1980, 1980-01 or 1980"),
    ("birth_day", "with birth_month and birth_year, in place of birth"),
    ("birth_month", "see birth_day"),
    ("birth_year", "see birth_day"),
    ("date_order", "not a column: \"dmy\" (which is so without it) or \"mdy\", for dates like 02/03/1980"),
    ("sex", "m, f, male, female, 1, 2, ..."),
    ("address", "lines of the address in order, house numbers too"),
    ("previous_address", "lines of a former address"),
    ("city", "town or suburb"),
    ("state", "state, county or borough"),
    ("postcode", "postcode of any country"),
    ("previous_postcode", "former postcodes"),
    ("phone", "telephone numbers"),
    ("email", "mail addresses"),
    ("nhs_number", "NHS number; others than valid ones are told apart as everywhere"),
    ("nhs_number_status", "tracing status of the NHS number"),
    ("identifier.SYSTEM", "an identifier of which a person has one: a national number"),
    ("local.SYSTEM", "an identifier of which a person may have many: a hospital's number"),
    ("deceased", "y, true or 1 where the person has died"),
    ("death", "date of death"),
    ("pseudo_person", "y, true or 1 for what is not a full person (PID-31)"),
    (
        "order",
        "what the records arrive by: numbers by value, else text, so that ISO times work; without it as the files have them",
    ),
];

/// Columns by key. Read from TOML: `key = "column"` or `key = ["column", "column"]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Map {
    columns: BTreeMap<String, Vec<String>>,
    pub(crate) order: Order,
}

/// What is wrong with a map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Not TOML.
    #[error("map: line {line}: {text}")]
    Toml {
        /// Counted from 1.
        line: usize,
        /// What the reader says.
        text: String,
    },
    /// No key of this name.
    #[error("map: line {line}: `{key}` is no key; keys are {keys}")]
    UnknownKey {
        /// Counted from 1.
        line: usize,
        /// As written.
        key: String,
        /// All keys.
        keys: String,
    },
    /// Neither a column nor a list of columns.
    #[error("map: line {line}: `{key}` wants the name of a column, or a list of names")]
    NotAColumn {
        /// Counted from 1.
        line: usize,
        /// As written.
        key: String,
    },
    /// Neither dmy nor mdy.
    #[error("map: line {line}: `date_order` is \"dmy\" or \"mdy\"")]
    DateOrder {
        /// Counted from 1.
        line: usize,
    },
    /// No file has the column.
    #[error("map: `{key}`: no file has a column `{column}`; there are {columns}")]
    NoColumn {
        /// The key.
        key: String,
        /// As written.
        column: String,
        /// Those that there are.
        columns: String,
    },
    /// Nothing to compare.
    #[error("map: it names no column to compare")]
    Nothing,
}

impl Map {
    /// Reads a map.
    ///
    /// # Errors
    /// [`MapError`] names the line and the key.
    pub fn parse(text: &str) -> Result<Self, MapError> {
        let table: toml::Table = toml::from_str(text).map_err(|error| MapError::Toml {
            line: error.span().map_or(1, |span| line_at(text, span.start)),
            text: error.message().to_owned(),
        })?;
        let mut map = Self::default();
        for (key, value) in &table {
            match value {
                toml::Value::Table(systems) => {
                    for (system, value) in systems {
                        map.add(&format!("{key}.{system}"), value, text)?;
                    }
                }
                value => map.add(key, value, text)?,
            }
        }
        let compares = |key: &String| !matches!(key.as_str(), "id" | "order");
        if map.columns.keys().any(compares) { Ok(map) } else { Err(MapError::Nothing) }
    }

    fn add(&mut self, key: &str, value: &toml::Value, text: &str) -> Result<(), MapError> {
        let line = line_of(text, key);
        if key == "date_order" {
            self.order = match value.as_str() {
                Some("dmy") => Order::DayFirst,
                Some("mdy") => Order::MonthFirst,
                _ => return Err(MapError::DateOrder { line }),
            };
            return Ok(());
        }
        let is_system = |of: &str| key.strip_prefix(of).is_some_and(|system| !system.is_empty());
        if !is_system("identifier.") && !is_system("local.") && !KEYS.iter().any(|(known, _)| *known == key) {
            let keys: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
            return Err(MapError::UnknownKey { line, key: key.to_owned(), keys: keys.join(", ") });
        }
        let column = |value: &toml::Value| value.as_str().filter(|name| !name.trim().is_empty()).map(str::to_owned);
        let columns: Option<Vec<String>> = match value {
            toml::Value::Array(all) => all.iter().map(column).collect(),
            value => column(value).map(|name| vec![name]),
        };
        let columns = columns.ok_or_else(|| MapError::NotAColumn { line, key: key.to_owned() })?;
        self.columns.insert(key.to_owned(), columns);
        Ok(())
    }

    /// Columns of a key that a table has, by place.
    pub(crate) fn places(&self, key: &str, csv: &Csv) -> Vec<usize> {
        self.columns.get(key).into_iter().flatten().filter_map(|name| csv.column(name)).collect()
    }

    /// Systems under `identifier` or `local`, with the places of their columns.
    pub(crate) fn systems(&self, of: &str, csv: &Csv) -> Vec<(String, Vec<usize>)> {
        let is_of = |key: &String| key.split_once('.').is_some_and(|(kind, _)| kind == of);
        let keys = self.columns.keys().filter(|key| is_of(key));
        keys.filter_map(|key| Some((key.split_once('.')?.1.to_owned(), self.places(key, csv)))).collect()
    }

    /// Every column that the map names must be in one of the files.
    pub(crate) fn check(&self, tables: &[&Csv]) -> Result<(), MapError> {
        for (key, columns) in &self.columns {
            for column in columns {
                if tables.iter().all(|csv| csv.column(column).is_none()) {
                    let mut names: Vec<&str> = tables.iter().flat_map(|csv| &csv.header).map(String::as_str).collect();
                    names.sort_unstable();
                    names.dedup();
                    let columns = names.join(", ");
                    return Err(MapError::NoColumn { key: key.clone(), column: column.clone(), columns });
                }
            }
        }
        Ok(())
    }
}

/// Line on which a key is written, counted from 1: the first that begins with it, or with its last part.
fn line_of(text: &str, key: &str) -> usize {
    let begins = |line: &str, word: &str| {
        let rest = line.trim_start().trim_start_matches(['"', '\'']).strip_prefix(word);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-'))
    };
    let last = key.rsplit('.').next().unwrap_or(key);
    let at = |word: &str| text.lines().position(|line| begins(line, word));
    at(key).or_else(|| at(last)).map_or(1, |n| n + 1)
}

fn line_at(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, wanted: &str) {
        let error =
            Map::parse(text).and_then(|map| map.check(&[&Csv::parse("rec_id,surname\n").unwrap()])).unwrap_err();
        assert!(error.to_string().starts_with(wanted), "{error}");
    }

    #[test]
    fn a_wrong_map_is_refused_by_line_and_key() {
        check("given = 'a'\nsurname = 'b'\n", "map: line 2: `surname` is no key; keys are id, given,");
        check("\ngiven = 3\n", "map: line 2: `given` wants the name of a column, or a list of names");
        check("given = [\"a\", 3]\n", "map: line 1: `given` wants");
        check("family = \"surname\"\ndate_order = 'ymd'\n", "map: line 2: `date_order` is \"dmy\" or \"mdy\"");
        check("[identifier]\nnin = {}\n", "map: line 2: `identifier.nin` wants");
        check("given = \n", "map: line 1: ");
        check("id = 'rec_id'\n", "map: it names no column to compare");
        check(
            "family = 'Surname'\ngiven = 'forename'\n",
            "map: `given`: no file has a column `forename`; there are rec_id, surname",
        );
    }

    #[test]
    fn identifiers_are_named_in_either_way() {
        let csv = Csv::parse("a,b,c\n").unwrap();
        let map = Map::parse("local.mrn = 'b'\n[identifier]\nnin = 'a'\nart = ['c', 'A']\n").unwrap();
        assert_eq!(map.systems("identifier", &csv), [("art".to_owned(), vec![2, 0]), ("nin".to_owned(), vec![0])]);
        assert_eq!(map.systems("local", &csv), [("mrn".to_owned(), vec![1])]);
    }
}
