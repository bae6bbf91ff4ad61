//! Escape sequences in text: `\F\`, `\X0D\`, `\.br\` and their like.

use std::borrow::Cow;

use super::{field::find, index::Separators};

/// Replaces the escape sequences of `text`. A sequence that is not known, not closed, or would put a control character
/// into the text stays as it was sent.
pub(super) fn unescape(text: &str, separators: Separators) -> Cow<'_, str> {
    let Some(first) = find(separators.escape, text) else {
        return Cow::Borrowed(text);
    };
    let mut result = String::with_capacity(text.len());
    result.push_str(text.get(..first).unwrap_or_default());
    let mut rest = text.get(first..).unwrap_or_default();
    while let Some((sequence, after)) = split_sequence(rest, separators.escape) {
        if push_meaning(sequence, separators, &mut result) {
            rest = after;
        } else {
            // The closing mark of what is no sequence may open the next one.
            let kept = 1 + sequence.len();
            result.push_str(rest.get(..kept).unwrap_or_default());
            rest = rest.get(kept..).unwrap_or_default();
        }
        let next = memchr::memchr(separators.escape, rest.as_bytes()).unwrap_or(rest.len());
        result.push_str(rest.get(..next).unwrap_or_default());
        rest = rest.get(next..).unwrap_or_default();
    }
    result.push_str(rest);
    Cow::Owned(result)
}

/// `text` begins with an escape mark: what is between it and the next one, and what follows.
fn split_sequence(text: &str, escape: u8) -> Option<(&str, &str)> {
    let inside = text.get(1..)?;
    let end = memchr::memchr(escape, inside.as_bytes())?;
    Some((inside.get(..end)?, inside.get(end + 1..)?))
}

/// Appends what `sequence` stands for; false where it stands for nothing known.
fn push_meaning(sequence: &str, separators: Separators, result: &mut String) -> bool {
    let mark = match sequence {
        "F" => separators.field,
        "S" => separators.component,
        "T" => separators.subcomponent,
        "R" => separators.repetition,
        "E" => separators.escape,
        ".br" | ".ce" | ".sp" | ".sp1" | ".sp+1" => b'\n',
        // Highlighting on and off, formatting on and off, and indents: no text.
        "H" | "N" | ".fi" | ".nf" => return true,
        _ => return push_other(sequence, result),
    };
    result.push(mark.into());
    true
}

fn push_other(sequence: &str, result: &mut String) -> bool {
    if let Some(digits) = sequence.strip_prefix('X') {
        return push_hexadecimal(digits, result);
    }
    let indents = sequence.strip_prefix(".in").or_else(|| sequence.strip_prefix(".ti"));
    indents.is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-')))
}

/// Bytes written as pairs of digits: UTF-8 where they are, else one character a byte.
fn push_hexadecimal(digits: &str, result: &mut String) -> bool {
    let pairs = digits.as_bytes().chunks(2);
    let Some(bytes) = pairs.map(byte).collect::<Option<Vec<u8>>>().filter(|bytes| !bytes.is_empty()) else {
        return false;
    };
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => bytes.iter().map(|b| char::from(*b)).collect::<String>().into(),
    };
    let plain = |c: char| !c.is_control() || matches!(c, '\r' | '\n' | '\t');
    let good = text.chars().all(plain);
    if good {
        result.push_str(&text);
    }
    good
}

fn byte(pair: &[u8]) -> Option<u8> {
    let [high, low] = pair else { return None };
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: &str) {
        assert_eq!(unescape(text, Separators::STANDARD), wanted, "{text}");
    }

    #[test]
    fn every_sequence() {
        check("plain", "plain");
        check(r"a\F\b\S\c\T\d\R\e\E\f", "a|b^c&d~e\\f");
        check(r"one\.br\two\X0D\three\X0A\four", "one\ntwo\rthree\nfour");
        check(r"\X436166C3A9\", "Café");
        check(r"\XE9\", "é");
        check(r"\H\bold\N\", "bold");
        check(r"\.in+4\text\.sp\next", "text\nnext");
    }

    #[test]
    fn what_is_no_sequence_stays() {
        check(r"a\b", r"a\b");
        check(r"a\b\F\c", r"a\b|c");
        check(r"\\", r"\\");
        check(r"\", r"\");
        check(r"\X0\ \X\ \XZZ\", r"\X0\ \X\ \XZZ\");
        check(r"\X00\", r"\X00\");
        check(r"C:\dir\file\é\F\", r"C:\dir\file\é|");
        check(r"\Zfoo\", r"\Zfoo\");
    }
}
