//! A field, and its repetitions, components and subcomponents: split when asked for.

use std::{borrow::Cow, fmt};

use hl7_parser::parser::parse_component_with_separators;

use super::{Segment, escape::unescape, index::Separators};

/// HL7's explicit null: the sender says that there is nothing.
const NULL: &str = "\"\"";

/// One field of a segment; absent where the segment does not have it.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    segment: Segment<'a>,
    number: usize,
    raw: &'a str,
    /// MSH-1 and MSH-2: not split, they are the separators.
    literal: bool,
}

/// One repetition of a field.
#[derive(Clone, Copy)]
pub struct Repetition<'a> {
    field: Field<'a>,
    number: usize,
    raw: &'a str,
}

/// Iterator over the repetitions of a field.
#[derive(Clone)]
pub struct Repetitions<'a> {
    field: Field<'a>,
    number: usize,
    rest: Option<&'a str>,
}

impl<'a> Field<'a> {
    pub(super) fn new(segment: Segment<'a>, number: usize, raw: Option<&'a str>) -> Self {
        Self { segment, number, raw: raw.unwrap_or_default(), literal: false }
    }

    pub(super) fn literal(segment: Segment<'a>, number: usize, raw: Option<&'a str>) -> Self {
        Self { literal: true, ..Self::new(segment, number, raw) }
    }

    /// The field as sent: neither split, unescaped nor trimmed. Empty where it is absent.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// The segment that it is a field of.
    #[must_use]
    pub fn segment(&self) -> Segment<'a> {
        self.segment
    }

    /// For an issue or a fact: `PID-7`, `OBX[2]-5`.
    #[must_use]
    pub fn location(&self) -> String {
        self.segment.location(self.number)
    }

    /// Nothing was said: not sent, empty or blank.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        is_blank(self.raw)
    }

    /// `""`: the sender says that there is nothing.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.raw.starts_with('"') && self.raw.trim_ascii_end() == NULL
    }

    /// Its repetitions, empty ones too. None where the field is absent or null.
    #[must_use]
    pub fn repetitions(&self) -> Repetitions<'a> {
        let rest = if self.is_absent() || self.is_null() { None } else { Some(self.raw) };
        Repetitions { field: *self, number: 0, rest }
    }

    /// First repetition, first component: unescaped and trimmed. `None` where absent, empty or null.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'a, str>> {
        self.component(1)
    }

    /// Component `number` (from 1) of the first repetition. `None` where absent, empty or null.
    #[must_use]
    pub fn component(&self, number: usize) -> Option<Cow<'a, str>> {
        self.repetitions().next().and_then(|first| first.text(number))
    }

    /// All of the field as one text, for narrative: unescaped, separators left as they were written. `None` where absent
    /// or null.
    #[must_use]
    pub fn whole_text(&self) -> Option<Cow<'a, str>> {
        let said = !self.is_absent() && !self.is_null();
        said.then(|| unescape(self.raw.trim_ascii(), self.separators()))
    }

    fn separators(&self) -> Separators {
        self.segment.message.separators
    }
}

impl<'a> Repetition<'a> {
    /// As sent.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// Its number in the field, from 1.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// For an issue or a fact: `PID-3` for the first, `PID-3[2]` for the second.
    #[must_use]
    pub fn location(&self) -> String {
        match self.number {
            1 => self.field.location(),
            n => format!("{}[{n}]", self.field.location()),
        }
    }

    /// A component for an issue or a fact: `PID-3.4`, `PID-3[2].4`.
    #[must_use]
    pub fn component_location(&self, number: usize) -> String {
        format!("{}.{number}", self.location())
    }

    /// Nothing is said in it, or it is `""`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        is_blank(self.raw) || self.raw.trim_ascii() == NULL
    }

    /// Component `number` (from 1), unescaped and trimmed; its first subcomponent where it has several. Empty where it
    /// was not said or is null.
    #[must_use]
    pub fn component(&self, number: usize) -> Cow<'a, str> {
        self.subcomponent(number, 1)
    }

    /// The same; `None` where it is empty.
    #[must_use]
    pub fn text(&self, number: usize) -> Option<Cow<'a, str>> {
        Some(self.component(number)).filter(|text| !text.is_empty())
    }

    /// The first `N` components, each as [`Self::component`] has it, read in one walk.
    #[must_use]
    pub fn components<const N: usize>(&self) -> [Cow<'a, str>; N] {
        let mut components = [const { Cow::Borrowed("") }; N];
        let separators = self.field.separators();
        if self.field.literal {
            components.iter_mut().take(1).for_each(|first| *first = Cow::Borrowed(self.raw));
            return components;
        }
        let special = |b: u8| b == separators.escape || b == separators.subcomponent || b == b'"';
        let plain = !self.raw.bytes().any(special);
        let mut rest = Some(self.raw);
        for component in &mut components {
            let Some(text) = rest else { break };
            let end = find(separators.component, text);
            let raw = end.map_or(text, |end| text.get(..end).unwrap_or_default());
            rest = end.and_then(|end| text.get(end + 1..));
            *component = if plain {
                Cow::Borrowed(raw.trim_ascii())
            } else {
                self.cleaned(nth(raw, separators.subcomponent, 1))
            };
        }
        components
    }

    /// How many components were written, at least 1.
    #[must_use]
    pub fn component_count(&self) -> usize {
        let separator = self.field.separators().component;
        if self.field.literal { 1 } else { self.raw.bytes().filter(|b| *b == separator).count() + 1 }
    }

    /// Component `number` as sent: neither unescaped nor trimmed, with its subcomponents.
    #[must_use]
    pub fn component_raw(&self, number: usize) -> &'a str {
        if self.field.literal {
            return if number == 1 { self.raw } else { "" };
        }
        nth(self.raw, self.field.separators().component, number)
    }

    /// Component `number`, unescaped and trimmed, its subcomponents with the separator as written: for text in which a
    /// sender did not escape an ampersand.
    #[must_use]
    pub fn component_whole(&self, number: usize) -> Cow<'a, str> {
        self.cleaned(self.component_raw(number))
    }

    /// Component `number` is `""`: the sender says that there is nothing.
    #[must_use]
    pub fn component_is_null(&self, number: usize) -> bool {
        self.component_raw(number).trim_ascii() == NULL
    }

    /// Subcomponent `subcomponent` of component `component` (both from 1), unescaped and trimmed. Empty where it was not
    /// said or is null.
    #[must_use]
    pub fn subcomponent(&self, component: usize, subcomponent: usize) -> Cow<'a, str> {
        let raw = self.component_raw(component);
        let separators = self.field.separators();
        if self.field.literal || find(separators.subcomponent, raw).is_none() {
            return if subcomponent == 1 { self.cleaned(raw) } else { Cow::Borrowed("") };
        }
        if subcomponent == 1 || memchr::memchr2(b'\r', b'\n', raw.as_bytes()).is_some() {
            // The parser ends a component at a line end; here a line break is part of it.
            return self.cleaned(nth(raw, separators.subcomponent, subcomponent));
        }
        let parsed = parse_component_with_separators(raw, separators.for_parser()).ok();
        let value = parsed.and_then(|parsed| parsed.subcomponents.get(subcomponent.wrapping_sub(1)).map(|s| s.value));
        self.cleaned(value.unwrap_or_default())
    }

    fn cleaned(&self, raw: &'a str) -> Cow<'a, str> {
        match raw.trim_ascii() {
            NULL => Cow::Borrowed(""),
            text if self.field.literal => Cow::Borrowed(text),
            text => unescape(text, self.field.separators()),
        }
    }
}

impl<'a> Iterator for Repetitions<'a> {
    type Item = Repetition<'a>;

    fn next(&mut self) -> Option<Repetition<'a>> {
        let rest = self.rest?;
        let separator = self.field.separators().repetition;
        let split = if self.field.literal { None } else { find(separator, rest) };
        let raw = match split {
            Some(at) => {
                self.rest = rest.get(at + 1..);
                rest.get(..at).unwrap_or_default()
            }
            None => {
                self.rest = None;
                rest
            }
        };
        self.number += 1;
        Some(Repetition { field: self.field, number: self.number, raw })
    }
}

/// Says where it is, not what it says.
impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({})", self.location())
    }
}

/// Says where it is, not what it says.
impl fmt::Debug for Repetitions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repetitions({})", self.field.location())
    }
}

/// Says where it is, not what it says.
impl fmt::Debug for Repetition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repetition({})", self.location())
    }
}

/// Part `number` (from 1) of `text`; empty where there are fewer.
fn nth(text: &str, separator: u8, number: usize) -> &str {
    let mut rest = text;
    for _ in 1..number {
        let Some(at) = find(separator, rest) else { return "" };
        rest = rest.get(at + 1..).unwrap_or_default();
    }
    find(separator, rest).and_then(|end| rest.get(..end)).unwrap_or(rest)
}

/// Where `byte` first is. Most fields are too short for `memchr` to be worth its call.
pub(super) fn find(byte: u8, text: &str) -> Option<usize> {
    if text.len() < 32 { text.bytes().position(|b| b == byte) } else { memchr::memchr(byte, text.as_bytes()) }
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_whitespace())
}
