//! Walking a TOML document so that every mistake is found and has its line.
//!
//! serde stops at the first unknown key or wrong type; here the caller names the keys of each table, takes the values
//! one by one, and what is wrong becomes an issue while the reading goes on.

use std::{net::SocketAddr, ops::RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use weft_model::proto::event::{Issue, Severity};

/// A document being read, and the mistakes found so far with the offsets of their lines.
pub(super) struct Document<'i> {
    text: &'i str,
    mistakes: Vec<(usize, Issue)>,
}

/// A table of the document and where it is.
pub(super) struct Section<'t, 'i> {
    table: &'t DeTable<'i>,
    place: Place,
}

/// A value's key path and the byte offset where it is written.
#[derive(Clone)]
pub(super) struct Place {
    path: String,
    offset: usize,
}

/// A text and where it is.
pub(super) struct Text<'t> {
    pub(super) value: &'t str,
    pub(super) place: Place,
}

type Value<'i> = Spanned<DeValue<'i>>;

impl<'i> Document<'i> {
    pub(super) fn new(text: &'i str) -> Self {
        Self { text, mistakes: Vec::new() }
    }

    /// Adds a mistake.
    pub(super) fn wrong(&mut self, place: &Place, code: &'static str, text: impl Into<String>) {
        let line = 1 + self.text.bytes().take(place.offset).filter(|b| *b == b'\n').count();
        let location =
            if place.path.is_empty() { format!("line {line}") } else { format!("{}, line {line}", place.path) };
        let severity = Severity::Error.into();
        let issue = Issue { severity, code: code.to_owned(), location, text: text.into() };
        self.mistakes.push((place.offset, issue));
    }

    /// The mistakes, in the order of the document.
    pub(super) fn into_mistakes(mut self) -> Vec<Issue> {
        self.mistakes.sort_by_key(|(offset, _)| *offset);
        self.mistakes.into_iter().map(|(_, issue)| issue).collect()
    }

    /// Adds a mistake of the syntax at a byte offset.
    pub(super) fn wrong_syntax(&mut self, offset: usize, text: &str) {
        self.wrong(&Place { path: String::new(), offset }, "toml-syntax", text);
    }

    /// The whole document as a table with these keys.
    pub(super) fn root<'t>(&mut self, table: &'t DeTable<'i>, keys: &[&str]) -> Section<'t, 'i> {
        let section = Section { table, place: Place { path: String::new(), offset: 0 } };
        self.check_keys(&section, keys);
        section
    }

    /// Table `key` with these keys; `None` where it is absent or no table.
    pub(super) fn section<'t>(
        &mut self,
        parent: &Section<'t, 'i>,
        key: &str,
        keys: &[&str],
    ) -> Option<Section<'t, 'i>> {
        let section = self.open_section(parent, key)?;
        self.check_keys(&section, keys);
        Some(section)
    }

    /// Table `key`, whose keys are codes of the feed's own.
    pub(super) fn open_section<'t>(&mut self, parent: &Section<'t, 'i>, key: &str) -> Option<Section<'t, 'i>> {
        let (value, place) = parent.get(key)?;
        self.as_table(value, place)
    }

    /// The tables of list `key`, each with these keys.
    pub(super) fn sections<'t>(&mut self, parent: &Section<'t, 'i>, key: &str, keys: &[&str]) -> Vec<Section<'t, 'i>> {
        let items = self.list(parent, key);
        let tables = items.into_iter().filter_map(|(value, place)| self.as_table(value, place));
        let tables: Vec<_> = tables.collect();
        tables.iter().for_each(|section| self.check_keys(section, keys));
        tables
    }

    pub(super) fn string<'t>(&mut self, section: &Section<'t, 'i>, key: &str) -> Option<Text<'t>> {
        let (value, place) = section.get(key)?;
        self.as_string(value, place)
    }

    /// A text that must be there.
    pub(super) fn required<'t>(&mut self, section: &Section<'t, 'i>, key: &str) -> Option<Text<'t>> {
        if section.get(key).is_none() {
            self.wrong(&section.place_of(key), "key-missing", "this key is required");
        }
        self.string(section, key)
    }

    pub(super) fn strings<'t>(&mut self, section: &Section<'t, 'i>, key: &str) -> Vec<Text<'t>> {
        let items = self.list(section, key);
        items.into_iter().filter_map(|(value, place)| self.as_string(value, place)).collect()
    }

    pub(super) fn boolean(&mut self, section: &Section<'_, 'i>, key: &str) -> Option<bool> {
        let (value, place) = section.get(key)?;
        let read = value.get_ref().as_bool();
        if read.is_none() {
            self.wrong(&place, "wrong-type", "true or false is wanted here");
        }
        read
    }

    pub(super) fn integer(&mut self, section: &Section<'_, 'i>, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let (value, place) = section.get(key)?;
        let read = match value.get_ref() {
            DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            _ => None,
        };
        let good = read.filter(|n| range.contains(n));
        if good.is_none() {
            let text = format!("a whole number from {} to {} is wanted here", range.start(), range.end());
            self.wrong(&place, "wrong-value", text);
        }
        good
    }

    /// A text that is one of `choices`, and what that choice stands for.
    pub(super) fn choice<T: Copy>(&mut self, section: &Section<'_, 'i>, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.string(section, key)?;
        self.chosen(&text, choices)
    }

    pub(super) fn chosen<T: Copy>(&mut self, text: &Text<'_>, choices: &[(&str, T)]) -> Option<T> {
        let chosen = choices.iter().find(|(name, _)| *name == text.value).map(|(_, choice)| *choice);
        if chosen.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.wrong(&text.place, "wrong-value", format!("one of these is wanted here: {}", names.join(", ")));
        }
        chosen
    }

    pub(super) fn address(&mut self, text: &Text<'_>) -> Option<SocketAddr> {
        let read = text.value.parse().ok();
        if read.is_none() {
            let wanted = "an address and a port are wanted here, such as 127.0.0.1:2575 or [::1]:0";
            self.wrong(&text.place, "wrong-value", wanted);
        }
        read
    }

    fn list<'t>(&mut self, section: &Section<'t, 'i>, key: &str) -> Vec<(&'t Value<'i>, Place)> {
        let Some((value, place)) = section.get(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(&place, "wrong-type", "a list is wanted here");
            return Vec::new();
        };
        items.iter().enumerate().map(|(i, item)| (item, place.item(i, item.span().start))).collect()
    }

    fn as_string<'t>(&mut self, value: &'t Value<'i>, place: Place) -> Option<Text<'t>> {
        match value.get_ref().as_str() {
            Some(text) if text.trim().is_empty() => self.wrong(&place, "wrong-value", "this must not be empty"),
            Some(text) => return Some(Text { value: text, place }),
            None => self.wrong(&place, "wrong-type", "a text in quotes is wanted here"),
        }
        None
    }

    fn as_table<'t>(&mut self, value: &'t Value<'i>, place: Place) -> Option<Section<'t, 'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong(&place, "wrong-type", "a table is wanted here");
        }
        table.map(|table| Section { table, place })
    }

    fn check_keys(&mut self, section: &Section<'_, 'i>, keys: &[&str]) {
        for key in section.table.keys().filter(|key| !keys.contains(&key.get_ref().as_ref())) {
            let place = Place { offset: key.span().start, ..section.place.key(key.get_ref()) };
            self.wrong(&place, "key-unknown", format!("unknown key; these are known here: {}", keys.join(", ")));
        }
    }
}

impl<'t, 'i> Section<'t, 'i> {
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Where `key` would be.
    pub(super) fn place_of(&self, key: &str) -> Place {
        self.place.key(key)
    }

    /// Its keys, in the order of the alphabet.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'t str> {
        self.table.keys().map(|key| key.get_ref().as_ref())
    }

    fn get(&self, key: &str) -> Option<(&'t Value<'i>, Place)> {
        let (key, value) = self.table.iter().find(|(known, _)| known.get_ref() == key)?;
        Some((value, Place { offset: key.span().start, ..self.place.key(key.get_ref()) }))
    }
}

impl Place {
    fn key(&self, key: &str) -> Self {
        let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        let key = if plain { key.to_owned() } else { format!("{key:?}") };
        let path = if self.path.is_empty() { key } else { format!("{}.{key}", self.path) };
        Self { path, offset: self.offset }
    }

    fn item(&self, index: usize, offset: usize) -> Self {
        Self { path: format!("{}[{}]", self.path, index + 1), offset }
    }
}
