//! Writing HL7 version 2, and what the feeds' dialects share.

use crate::{
    chart::Shown,
    clinical::Analyte,
    life::{Life, Step},
    names::ORIGINS,
    person::{Kin, Person},
    rng::Rng,
};

/// Everything that one message tells.
pub(crate) struct Telling<'a> {
    pub(crate) people: &'a [Person],
    pub(crate) index: u32,
    pub(crate) person: &'a Person,
    pub(crate) life: &'a Life,
    pub(crate) step: &'a Step,
    pub(crate) shown: Shown,
    pub(crate) control_id: &'a str,
    /// Place of the message in its feed, from 1.
    pub(crate) sequence: u64,
    /// For what differs from message to message.
    pub(crate) rng: Rng,
}

impl Telling<'_> {
    /// The next of kin: one of the household, else a friend from elsewhere; a few name nobody.
    pub(crate) fn kin(&self) -> Option<NextOfKin> {
        if self.shown.location_hidden {
            return None;
        }
        let known = self.person.kin.and_then(|(n, what)| Some((n, what, self.people.get(usize::try_from(n).ok()?)?)));
        if let Some((n, what, kin)) = known {
            return Some(NextOfKin { family: kin.family, given: kin.given, what, phone: mobile(n) });
        }
        let mut rng = Rng::of(self.index.into(), &[FRIEND]);
        let [first, ..] = &ORIGINS;
        let origin = ORIGINS.get(rng.weighted(ORIGINS.iter().map(|o| o.share))).unwrap_or(first);
        let (family, is_male) = (rng.pick_common(origin.family), rng.permille(500));
        let given = rng.pick_common(origin.given(is_male));
        let named = rng.permille(850);
        named.then(|| NextOfKin { family, given, what: Kin::Friend, phone: mobile(self.index.wrapping_add(500)) })
    }
}

const FRIEND: u64 = 7;

/// Whom a person names as next of kin.
pub(crate) struct NextOfKin {
    pub(crate) family: &'static str,
    pub(crate) given: &'static str,
    pub(crate) what: Kin,
    pub(crate) phone: String,
}

/// Segments of one message.
pub(crate) struct Writer {
    text: String,
    end: &'static str,
}

impl Writer {
    pub(crate) fn new(end: &'static str) -> Self {
        Self { text: String::with_capacity(2048), end }
    }

    /// The header; fields from MSH-3 on.
    pub(crate) fn header(&mut self, fields: &[(usize, &str)]) {
        self.text.push_str("MSH|^~\\&");
        self.fields(2, fields);
    }

    /// A segment: its fields by number, in order.
    pub(crate) fn segment(&mut self, name: &str, fields: &[(usize, &str)]) {
        self.text.push_str(name);
        self.fields(0, fields);
    }

    fn fields(&mut self, mut at: usize, fields: &[(usize, &str)]) {
        for (number, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            while at < *number {
                self.text.push('|');
                at += 1;
            }
            self.text.push_str(value);
        }
        self.text.push_str(self.end);
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }
}

/// Text with the five separators written as escapes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\E\\"),
            '|' => escaped.push_str("\\F\\"),
            '^' => escaped.push_str("\\S\\"),
            '&' => escaped.push_str("\\T\\"),
            '~' => escaped.push_str("\\R\\"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Without what ASCII lacks.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let letter = match c {
            'á' | 'ą' | 'ã' | 'ä' => "a",
            'ç' | 'ć' => "c",
            'é' | 'è' | 'ê' | 'ë' | 'ę' => "e",
            'í' => "i",
            'ł' => "l",
            'Ł' => "L",
            'ń' => "n",
            'ó' | 'ö' | 'ô' => "o",
            'ś' => "s",
            'ț' => "t",
            'ü' => "u",
            'ź' | 'ż' => "z",
            c if c.is_ascii() => {
                out.push(c);
                continue;
            }
            _ => "?",
        };
        out.push_str(letter);
    }
    out
}

/// A landline of Ofcom's range for drama: `02079460123`.
pub(crate) fn landline(person: u32) -> String {
    format!("02079460{:03}", person % 1000)
}

/// A mobile of the like range.
pub(crate) fn mobile(person: u32) -> String {
    format!("07700900{:03}", person.wrapping_mul(7) % 1000)
}

/// A value of a test, mostly in range: as written, and its flag (`H`, `L` or empty).
pub(crate) fn measure(rng: &mut Rng, analyte: &Analyte) -> (String, &'static str) {
    let span = analyte.high - analyte.low;
    let value = match rng.below(100) {
        0..=9 => analyte.high + rng.within(1, span / 2 + 1),
        10..=17 => (analyte.low - rng.within(1, span / 3 + 1)).max(0),
        _ => rng.within(analyte.low, analyte.high),
    };
    let flag = match value {
        v if v > analyte.high => "H",
        v if v < analyte.low => "L",
        _ => "",
    };
    (decimal(value, analyte.decimals), flag)
}

/// `3.5-5.3`.
pub(crate) fn range(analyte: &Analyte) -> String {
    format!("{}-{}", decimal(analyte.low, analyte.decimals), decimal(analyte.high, analyte.decimals))
}

fn decimal(value: i64, decimals: usize) -> String {
    let digits = format!("{value:0width$}", width = decimals + 1);
    match digits.split_at_checked(digits.len() - decimals) {
        Some((whole, part)) if decimals > 0 => format!("{whole}.{part}"),
        _ => digits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clinical::PANELS;

    #[test]
    fn fields_stand_at_their_numbers() {
        let mut writer = Writer::new("\r");
        writer.header(&[(3, "PAS"), (4, ""), (5, "ROUTE"), (9, "ADT^A01")]);
        writer.segment("PID", &[(1, "1"), (3, "x"), (8, "")]);
        assert_eq!(writer.finish(), "MSH|^~\\&|PAS||ROUTE||||ADT^A01\rPID|1||x\r");
        assert_eq!(escape("a&b|c"), "a\\T\\b\\F\\c");
    }

    #[test]
    fn every_name_can_be_written_plainly() {
        for origin in &ORIGINS {
            for name in origin.male.iter().chain(origin.female).chain(origin.family) {
                assert!(!plain(name).contains('?'), "{name}");
            }
        }
    }

    #[test]
    fn values_have_their_decimals() {
        assert_eq!((decimal(35, 1), decimal(5, 2), decimal(120, 0)), ("3.5".into(), "0.05".into(), "120".into()));
        let mut rng = Rng::of(1, &[]);
        for analyte in PANELS.iter().flat_map(|panel| panel.analytes) {
            let (value, _) = measure(&mut rng, analyte);
            assert!(value.parse::<f64>().is_ok(), "{value}");
        }
    }
}
