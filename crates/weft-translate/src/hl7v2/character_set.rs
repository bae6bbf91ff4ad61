//! Bytes to text: the character set that MSH-18 names, else the feed's, and a reading that loses nothing where neither
//! is right.

use std::borrow::Cow;

use weft_model::proto::event::Issue;

use crate::issue::{information, warning};

/// The character sets that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CharacterSet {
    /// `UNICODE UTF-8`.
    Utf8,
    /// `8859/1`.
    Latin1,
    /// Microsoft's code page, a superset of the printable part of 8859/1.
    Windows1252,
    /// `ASCII`.
    Ascii,
}

/// Reads `raw`. Text that is valid UTF-8 with characters beyond ASCII is read as such whatever is declared: no other
/// text looks like it by accident. A byte that the declared set does not have is read as windows-1252; either way an
/// issue gives the offset of the first such byte.
pub(crate) fn decode<'a>(
    raw: &'a [u8],
    default: CharacterSet,
    issues: &mut Vec<Issue>,
) -> (Cow<'a, str>, CharacterSet) {
    let set = declared(raw, issues).unwrap_or(default);
    let wrong_at = match (std::str::from_utf8(raw), set) {
        (Ok(text), CharacterSet::Utf8) => return (Cow::Borrowed(text), set),
        (Ok(text), _) => {
            if let Some(first) = beyond_ascii(text) {
                issues.push(wrong(first, "the bytes are UTF-8, which is not the character set of the message"));
            }
            return (Cow::Borrowed(text), CharacterSet::Utf8);
        }
        (Err(_), CharacterSet::Windows1252) => raw.iter().position(|b| !is_in_windows_1252(*b)),
        (Err(_), CharacterSet::Latin1) => raw.iter().position(|b| matches!(b, 0x80..=0x9f)),
        (Err(_), CharacterSet::Ascii) => raw.iter().position(|b| !b.is_ascii()),
        (Err(e), CharacterSet::Utf8) => Some(e.valid_up_to()),
    };
    if let Some(at) = wrong_at {
        issues.push(wrong(at, "a byte that the character set does not have was read as windows-1252"));
    }
    let text = if set == CharacterSet::Utf8 { mixed(raw) } else { raw.iter().map(|b| windows_1252(*b)).collect() };
    (Cow::Owned(text), set)
}

/// The usual answer, none, is found fast.
fn beyond_ascii(text: &str) -> Option<usize> {
    if text.is_ascii() { None } else { text.bytes().position(|b| !b.is_ascii()) }
}

/// Offset in `raw` of what is at `at` in the text that [`decode`] made of it by `set`.
pub(crate) fn offset_in_raw(raw: &[u8], set: CharacterSet, at: usize) -> usize {
    let whole = |b: &u8| windows_1252(*b).len_utf8();
    let mut text = 0;
    let mut offset = 0;
    for chunk in raw.utf8_chunks() {
        let (valid, invalid) = (chunk.valid().as_bytes(), chunk.invalid());
        if set == CharacterSet::Utf8 {
            if at < text + valid.len() {
                return offset + at - text;
            }
            text += valid.len();
            offset += valid.len();
        }
        let bytewise = if set == CharacterSet::Utf8 { [&[][..], invalid] } else { [valid, invalid] };
        for byte in bytewise.into_iter().flatten() {
            if at <= text {
                return offset;
            }
            text += whole(byte);
            offset += 1;
        }
    }
    offset
}

fn wrong(at: usize, text: &'static str) -> Issue {
    warning("character-set-wrong", format!("byte {at}"), text)
}

/// UTF-8 where it is, windows-1252 for each byte that is not.
fn mixed(raw: &[u8]) -> String {
    let mut text = String::with_capacity(raw.len() + raw.len() / 8);
    for chunk in raw.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|b| windows_1252(*b)));
    }
    text
}

/// MSH-18, first repetition, read from the bytes: it must be known before they can be text.
fn declared(raw: &[u8], issues: &mut Vec<Issue>) -> Option<CharacterSet> {
    let at = memchr::memmem::find(raw, b"MSH")?;
    let header = raw.get(at..)?;
    let separator = *header.get(3)?;
    let end = memchr::memchr2(b'\r', b'\n', header).unwrap_or(header.len());
    let mut separators = memchr::memchr_iter(separator, header.get(..end)?);
    // MSH-1 is the first separator: MSH-18 follows the seventeenth.
    let start = separators.nth(16)? + 1;
    let field = header.get(start..separators.next().unwrap_or(end))?;
    let field = field.split(|b| matches!(b, b'~' | b'^')).next().unwrap_or_default().trim_ascii();
    if field.is_empty() || field == b"\"\"" {
        return None;
    }
    let set = by_name(field);
    if set.is_none() {
        issues.push(information(
            "character-set-unknown",
            "MSH-18",
            "not a character set that is known; the feed's is used",
        ));
    }
    set
}

fn by_name(name: &[u8]) -> Option<CharacterSet> {
    const NAMES: [(&[u8], CharacterSet); 15] = [
        (b"UNICODE UTF-8", CharacterSet::Utf8),
        (b"UTF-8", CharacterSet::Utf8),
        (b"UTF8", CharacterSet::Utf8),
        (b"UNICODE", CharacterSet::Utf8),
        (b"8859/1", CharacterSet::Latin1),
        (b"8859-1", CharacterSet::Latin1),
        (b"ISO8859-1", CharacterSet::Latin1),
        (b"ISO-8859-1", CharacterSet::Latin1),
        (b"ISO 8859-1", CharacterSet::Latin1),
        (b"WINDOWS-1252", CharacterSet::Windows1252),
        (b"CP1252", CharacterSet::Windows1252),
        (b"1252", CharacterSet::Windows1252),
        (b"ASCII", CharacterSet::Ascii),
        (b"US-ASCII", CharacterSet::Ascii),
        (b"ISO IR6", CharacterSet::Ascii),
    ];
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, set)| *set)
}

/// The five bytes that windows-1252 leaves open are read as the controls of 8859/1: nothing is lost.
fn windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    let high = byte.checked_sub(0x80).and_then(|i| HIGH.get(usize::from(i)));
    high.copied().unwrap_or(char::from(byte))
}

fn is_in_windows_1252(byte: u8) -> bool {
    !matches!(byte, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d)
}
