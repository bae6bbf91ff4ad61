//! The index of a message: where each segment and field begins.

use std::{collections::BTreeMap, fmt};

use hl7_parser::parser::parse_msh;
use weft_model::proto::event::Issue;

use super::{Segment, segment::Span};
use crate::issue::{error, information, warning};

/// The standard header, whose separators stand in for those that a sender left out.
const STANDARD_HEADER: &str = "MSH|^~\\&";

/// A message of HL7 version 2, read as far as the places of its segments and fields.
pub struct Message<'a> {
    pub(super) text: &'a str,
    pub(crate) separators: Separators,
    pub(super) segments: Vec<Span>,
    /// Byte offsets of all field separators; each segment's are a run of these.
    pub(super) separators_at: Vec<u32>,
    issues: Vec<Issue>,
}

/// The five separators of a message. All are ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Separators {
    pub(crate) field: u8,
    pub(crate) component: u8,
    pub(crate) repetition: u8,
    pub(crate) escape: u8,
    pub(crate) subcomponent: u8,
}

impl<'a> Message<'a> {
    /// Finds the segments and fields of `text`, which is one message without the transport's framing.
    ///
    /// # Errors
    /// An issue `unreadable` with a byte offset, where there is no MSH segment at the start.
    pub fn index(text: &'a str) -> Result<Self, Issue> {
        let mut issues = Vec::new();
        let start = header_start(text, &mut issues);
        if text.is_empty() || start == text.len() {
            return Err(error("unreadable", "byte 0", "the message is empty"));
        }
        if u32::try_from(text.len()).is_err() {
            return Err(error("unreadable", "byte 4294967295", "the message is longer than can be indexed"));
        }
        let header = text.get(start..).unwrap_or_default();
        let separators = read_separators(header, start, &mut issues)?;
        let mut scan = Scan {
            text,
            separators,
            segments: Vec::with_capacity(text.len() / 128 + 4),
            separators_at: Vec::with_capacity(text.len() / 6 + 16),
            counts: Counts::default(),
            deviating: None,
        };
        scan.lines(start, &mut issues);
        let Scan { segments, separators_at, .. } = scan;
        Ok(Self { text, separators, segments, separators_at, issues })
    }

    /// The segments, in the order of the message.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.segments.iter().map(|span| Segment::new(self, span))
    }

    /// The first segment called `name`.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<Segment<'_>> {
        self.all(name).next()
    }

    /// All segments called `name`.
    pub fn all(&self, name: &str) -> impl Iterator<Item = Segment<'_>> {
        let wanted: Option<[u8; 3]> = name.as_bytes().try_into().ok();
        self.segments.iter().filter(move |span| Some(span.name) == wanted).map(|span| Segment::new(self, span))
    }

    /// What in its form deviates from the specification, read nevertheless.
    #[must_use]
    pub fn issues(&self) -> &[Issue] {
        &self.issues
    }
}

/// Says how much there is, not what it says.
impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} segments, {} bytes)", self.segments.len(), self.text.len())
    }
}

/// Skips a byte order mark and blanks in front.
fn header_start(text: &str, issues: &mut Vec<Issue>) -> usize {
    if text.starts_with("MSH") {
        return 0;
    }
    let marked = text.strip_prefix('\u{feff}');
    if marked.is_some() {
        issues.push(information("byte-order-mark", "byte 0", "a byte order mark precedes the message"));
    }
    let rest = marked.unwrap_or(text);
    let start = text.len() - rest.trim_ascii_start().len();
    if start > text.len() - rest.len() && start < text.len() {
        issues.push(information("leading-blank", "byte 0", "blanks precede the message"));
    }
    start
}

/// Reads MSH-1 and MSH-2. What is missing of MSH-2 is taken from the standard's recommendation, so that the header can
/// be read and answered; where that is a guess, the message cannot be used.
fn read_separators(header: &str, start: usize, issues: &mut Vec<Issue>) -> Result<Separators, Issue> {
    if !header.starts_with("MSH") {
        return Err(error("unreadable", format!("byte {start}"), "the message does not begin with an MSH segment"));
    }
    let field = header.as_bytes().get(3).copied().filter(u8::is_ascii_punctuation).ok_or_else(|| {
        error("unreadable", format!("byte {}", start + 3), "MSH is not followed by a field separator")
    })?;
    let given = header.as_bytes().get(4..).unwrap_or_default();
    let end = given.iter().position(|b| *b == field || b.is_ascii_whitespace()).unwrap_or(given.len());
    let given = given.get(..end).unwrap_or_default();
    if (4..=5).contains(&given.len())
        && are_separators(field, given)
        && let Some((read, _)) = header.get(..8).and_then(|head| parse_msh(head).ok())
    {
        return Ok(Separators::from(read));
    }
    let standard = STANDARD_HEADER.as_bytes().get(4..).unwrap_or_default();
    if !given.is_empty() && standard.starts_with(given) {
        issues.push(information(
            "encoding-characters",
            "MSH-2",
            "fewer than four encoding characters; the rest as usual",
        ));
    } else {
        issues.push(error("unreadable", "MSH-2", "the encoding characters are missing or not four different marks"));
    }
    Ok(Separators { field, ..Separators::STANDARD })
}

/// Different from each other, and nothing that a value is made of.
fn are_separators(field: u8, encoding: &[u8]) -> bool {
    encoding
        .iter()
        .enumerate()
        .all(|(i, b)| b.is_ascii_punctuation() && *b != field && !encoding.iter().take(i).any(|earlier| earlier == b))
}

impl Separators {
    pub(crate) const STANDARD: Self =
        Self { field: b'|', component: b'^', repetition: b'~', escape: b'\\', subcomponent: b'&' };

    /// As `hl7-parser` wants them.
    pub(crate) fn for_parser(self) -> hl7_parser::message::Separators {
        hl7_parser::message::Separators {
            field: self.field.into(),
            component: self.component.into(),
            repetition: self.repetition.into(),
            escape: self.escape.into(),
            subcomponent: self.subcomponent.into(),
            lenient_newlines: false,
        }
    }
}

impl From<hl7_parser::message::Separators> for Separators {
    fn from(read: hl7_parser::message::Separators) -> Self {
        // The parser lets only ASCII through.
        let ascii = |c: char| u8::try_from(c).unwrap_or(b'?');
        Self {
            field: ascii(read.field),
            component: ascii(read.component),
            repetition: ascii(read.repetition),
            escape: ascii(read.escape),
            subcomponent: ascii(read.subcomponent),
        }
    }
}

struct Scan<'a> {
    text: &'a str,
    separators: Separators,
    segments: Vec<Span>,
    separators_at: Vec<u32>,
    counts: Counts,
    /// Byte offset of the first line end that is not a plain carriage return.
    deviating: Option<usize>,
}

impl Scan<'_> {
    fn lines(&mut self, start: usize, issues: &mut Vec<Issue>) {
        let bytes = self.text.as_bytes();
        let mut at = start;
        let mut broken = None;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let length = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            let end = at + length;
            let line = rest.get(..length).unwrap_or_default();
            match self.name(line) {
                Some(name) => self.segment(name, at, line),
                None if line.trim_ascii().is_empty() => self.deviating = self.deviating.or(Some(at)),
                None => {
                    broken = broken.or(Some(at));
                    self.extend(at, line);
                }
            }
            at = end + self.line_end(end);
        }
        if let Some(at) = self.deviating {
            let text = "segments do not all end with one carriage return";
            issues.push(information("line-ends", format!("byte {at}"), text));
        }
        if let Some(at) = broken {
            let text = "a line that is no segment was read as the continuation of the one before";
            issues.push(warning("line-break-in-field", format!("byte {at}"), text));
        }
    }

    /// Bytes of the line end at `end`.
    fn line_end(&mut self, end: usize) -> usize {
        let mut following = self.text.as_bytes().iter().skip(end);
        let (ends, length) = match (following.next(), following.next()) {
            (Some(b'\r'), Some(b'\n')) => (false, 2),
            (Some(b'\n'), _) => (false, 1),
            _ => (true, 1),
        };
        if !ends {
            self.deviating = self.deviating.or(Some(end));
        }
        length
    }

    /// The name of the segment that `line` is; `None` where it is no segment.
    fn name(&self, line: &[u8]) -> Option<[u8; 3]> {
        let name: [u8; 3] = *line.first_chunk()?;
        let good = match line.get(3) {
            Some(after) => *after == self.separators.field && name.iter().all(u8::is_ascii_alphanumeric),
            None => name.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()),
        };
        good.then_some(name)
    }

    fn segment(&mut self, name: [u8; 3], at: usize, line: &[u8]) {
        let occurrence = self.counts.next(name);
        let first = self.separators_at.len();
        self.segments.push(Span { name, occurrence, start: small(at), end: 0, first: small(first), count: 0 });
        self.extend(at, line);
    }

    /// Adds a line to the last segment. The first line is the header's: there always is one.
    fn extend(&mut self, at: usize, line: &[u8]) {
        push_places(self.separators.field, line, small(at), &mut self.separators_at);
        let all = self.separators_at.len();
        if let Some(span) = self.segments.last_mut() {
            span.end = small(at + line.len());
            span.count = small(all) - span.first;
        }
    }
}

/// Adds where in `line`, which begins at `at`, the separator is. Fields are a few bytes long: eight bytes at a time are
/// faster here than `memchr`, which starts anew after each hit.
fn push_places(separator: u8, line: &[u8], at: u32, places: &mut Vec<u32>) {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let pattern = u64::from_ne_bytes([separator; 8]);
    let (words, rest) = line.as_chunks::<8>();
    let mut start = at;
    for word in words {
        let zero_where_equal = u64::from_le_bytes(*word) ^ pattern;
        let mut found = !(((zero_where_equal & LOW) + LOW) | zero_where_equal | LOW);
        while found != 0 {
            places.push(start + found.trailing_zeros() / 8);
            found &= found - 1;
        }
        start += 8;
    }
    for (i, _) in rest.iter().enumerate().filter(|(_, byte)| **byte == separator) {
        places.push(start + small(i));
    }
}

/// An offset of a text that was found to be short enough.
fn small(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// Counts segments by name. A message has few names: a short list is faster than a map, but a hostile one must not cost
/// the square of its length.
#[derive(Default)]
struct Counts {
    few: Vec<([u8; 3], u32)>,
    many: BTreeMap<[u8; 3], u32>,
}

impl Counts {
    const FEW: usize = 32;

    fn next(&mut self, name: [u8; 3]) -> u32 {
        if let Some((_, count)) = self.few.iter_mut().find(|(n, _)| *n == name) {
            *count += 1;
            return *count;
        }
        if self.few.len() < Self::FEW {
            self.few.push((name, 1));
            return 1;
        }
        let count = self.many.entry(name).or_insert(0);
        *count += 1;
        *count
    }
}
