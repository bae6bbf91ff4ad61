//! A segment of an indexed message.

use std::fmt;

use super::{Field, Message};

/// Where a segment is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) name: [u8; 3],
    /// 1 for the first of its name.
    pub(super) occurrence: u32,
    /// Byte offsets in the text.
    pub(super) start: u32,
    pub(super) end: u32,
    /// Its run of [`Message::separators_at`].
    pub(super) first: u32,
    pub(super) count: u32,
}

/// One segment.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    pub(super) message: &'a Message<'a>,
    span: &'a Span,
}

impl<'a> Segment<'a> {
    pub(super) fn new(message: &'a Message<'a>, span: &'a Span) -> Self {
        Self { message, span }
    }

    /// Three letters or digits: `PID`.
    #[must_use]
    pub fn name(&self) -> &'a str {
        let start = self.span.start as usize;
        self.message.text.get(start..start + 3).unwrap_or_default()
    }

    /// Its number among the segments of its name, from 1.
    #[must_use]
    pub fn occurrence(&self) -> usize {
        self.span.occurrence as usize
    }

    /// The segment as sent, without its end.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.message.text.get(self.span.start as usize..self.span.end as usize).unwrap_or_default()
    }

    /// Byte offset of the segment in the text.
    #[must_use]
    pub fn start(&self) -> usize {
        self.span.start as usize
    }

    /// The segment for an issue or a fact: `PID` for the first, `OBX[2]` for the second.
    #[must_use]
    pub fn place(&self) -> String {
        match self.span.occurrence {
            1 => self.name().to_owned(),
            n => format!("{}[{n}]", self.name()),
        }
    }

    /// A field for an issue or a fact: `PID-7`, `OBX[2]-5`.
    #[must_use]
    pub fn location(&self, field: usize) -> String {
        match self.span.occurrence {
            1 => format!("{}-{field}", self.name()),
            n => format!("{}[{n}]-{field}", self.name()),
        }
    }

    /// Field `number`, counted as HL7 counts (from 1; MSH-1 is the field separator and MSH-2 the encoding characters).
    /// A field that the segment does not reach is absent.
    #[must_use]
    pub fn field(&self, number: usize) -> Field<'a> {
        let header = self.span.name == *b"MSH";
        if header && number == 1 {
            return Field::literal(*self, 1, self.message.text.get(self.start() + 3..self.start() + 4));
        }
        // MSH-1 is itself the first separator.
        let raw = number.checked_sub(if header { 2 } else { 1 }).and_then(|i| self.between(i));
        if header && number == 2 { Field::literal(*self, 2, raw) } else { Field::new(*self, number, raw) }
    }

    /// Number of the last field that is there, even if empty; 0 where there is none.
    #[must_use]
    pub fn last_field(&self) -> usize {
        self.span.count as usize + usize::from(self.span.name == *b"MSH")
    }

    /// What follows the segment's separator `i`, up to the next or the end.
    fn between(&self, i: usize) -> Option<&'a str> {
        if i >= self.span.count as usize {
            return None;
        }
        let at = self.span.first as usize + i;
        let start = *self.message.separators_at.get(at)? as usize + 1;
        let end =
            if i + 1 < self.span.count as usize { *self.message.separators_at.get(at + 1)? } else { self.span.end };
        self.message.text.get(start..end as usize)
    }
}

/// Says where it is, not what it says.
impl fmt::Debug for Segment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({})", self.place())
    }
}
