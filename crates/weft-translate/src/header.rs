//! The header of a message as bytes: what an acknowledgement echoes exactly as it was sent.
//!
//! It is found in the bytes, not in the text: it must be there for a message whose text could not be read, and what is
//! echoed must be in the sender's own character set.

use bytes::Bytes;

use crate::hl7v2::{Message, Separators};

/// An MSH segment. Empty where the message has none.
pub(crate) struct Header {
    bytes: Bytes,
    pub(crate) separators: Separators,
}

impl Header {
    /// The MSH segment that `raw` begins with, after blanks and marks.
    pub(crate) fn find(raw: &Bytes, message: Option<&Message<'_>>) -> Self {
        let start = raw.iter().position(u8::is_ascii_alphanumeric).unwrap_or(raw.len());
        let bytes = raw.slice(start..);
        let begins = bytes.starts_with(b"MSH") && bytes.get(3).is_some_and(u8::is_ascii_punctuation);
        if !begins {
            return Self::absent();
        }
        let end = memchr::memchr2(b'\r', b'\n', &bytes).unwrap_or(bytes.len());
        let field = bytes.get(3).copied().unwrap_or(b'|');
        let separators = message.map_or(Separators { field, ..Separators::STANDARD }, |m| m.separators);
        Self { bytes: bytes.slice(..end), separators }
    }

    /// Of a message that has none, or never became one.
    pub(crate) fn absent() -> Self {
        Self { bytes: Bytes::new(), separators: Separators::STANDARD }
    }

    /// Field `number` (from 3) as sent, blanks around it left out; empty where it is absent.
    pub(crate) fn field(&self, number: usize) -> &[u8] {
        let mut separators = memchr::memchr_iter(self.separators.field, &self.bytes);
        let start = number.checked_sub(2).and_then(|i| separators.nth(i));
        let end = separators.next().unwrap_or(self.bytes.len());
        start.and_then(|start| self.bytes.get(start + 1..end)).unwrap_or_default().trim_ascii()
    }

    /// First component of field `number`, for what must be plain ASCII.
    pub(crate) fn code(&self, number: usize) -> &str {
        let field = self.field(number);
        let first = field.split(|b| *b == self.separators.component || *b == self.separators.repetition).next();
        first.and_then(|code| std::str::from_utf8(code).ok()).unwrap_or_default()
    }
}
