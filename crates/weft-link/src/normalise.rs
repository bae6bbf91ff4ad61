//! One spelling for what sources spell in many ways. Everything here appends to a text that is reused, for there are millions.

use unicode_normalization::UnicodeNormalization;

/// Longest text of one value that is looked at, in characters.
const CHARS_MAX: usize = 64;
/// Given names of one name that are kept.
const GIVEN_MAX: usize = 4;

/// Calls `each` for every letter and digit, in upper case and without its accent, and with a space for all that parts words.
fn fold(text: &str, mut each: impl FnMut(char)) {
    if text.is_ascii() {
        for byte in text.bytes().take(CHARS_MAX) {
            match byte {
                // An apostrophe joins: O'Brien.
                b'\'' | b'`' => {}
                b if b.is_ascii_alphanumeric() => each(char::from(b.to_ascii_uppercase())),
                _ => each(' '),
            }
        }
        return;
    }
    for c in text.chars().take(CHARS_MAX).nfkd() {
        match c {
            '\'' | '’' | '‘' | '`' | '´' | 'ʼ' => {}
            // What NFKD parts from a letter.
            '\u{300}'..='\u{36f}' => {}
            'Ł' | 'ł' => each('L'),
            'Ø' | 'ø' => each('O'),
            'Đ' | 'đ' | 'Ð' | 'ð' => each('D'),
            'Ħ' | 'ħ' => each('H'),
            'ı' => each('I'),
            'Æ' | 'æ' => "AE".chars().for_each(&mut each),
            'Œ' | 'œ' => "OE".chars().for_each(&mut each),
            'Þ' | 'þ' => "TH".chars().for_each(&mut each),
            c if c.is_alphanumeric() => c.to_uppercase().for_each(&mut each),
            _ => each(' '),
        }
    }
}

/// Appends words of letters, or of letters and digits, with `between` between them; other characters part words.
fn append_words(text: &str, between: char, digits: bool, out: &mut String) {
    let start = out.len();
    let mut parted = false;
    fold(text, |c| {
        if c == ' ' || !(digits || c.is_alphabetic()) {
            parted = true;
            return;
        }
        if std::mem::take(&mut parted) && out.len() > start {
            out.push(between);
        }
        out.push(c);
    });
}

/// Appends a family name, `-` between its parts. Nothing for none and for fillers.
pub(crate) fn family(text: &str, out: &mut String) {
    let start = out.len();
    append_words(text, '-', false, out);
    if out.get(start..).is_some_and(is_filler) {
        out.truncate(start);
    }
}

/// Appends given names, one word each, a space between them; hyphenated ones are parted, titles are left out. Nothing for
/// none and for fillers. True for a newborn that has no name yet.
pub(crate) fn given<'a>(names: impl Iterator<Item = &'a str>, out: &mut String) -> bool {
    let start = out.len();
    for name in names.take(GIVEN_MAX) {
        if out.len() > start && !out.ends_with(' ') {
            out.push(' ');
        }
        append_words(name, ' ', false, out);
    }
    out.truncate(out.trim_end_matches(' ').len().max(start));
    let said = out.get(start..).unwrap_or_default();
    let first = said.split(' ').next().unwrap_or_default();
    let title = match TITLES.contains(&first) {
        true => said.find(' ').map_or(said.len(), |space| space + 1),
        false => 0,
    };
    let first = said.get(title..).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let unnamed = is_newborn(first);
    if unnamed || is_filler(first) {
        out.truncate(start);
    } else {
        let end = said.match_indices(' ').nth(GIVEN_MAX - 1 + usize::from(title > 0)).map_or(said.len(), |(at, _)| at);
        out.truncate(start + end);
        out.drain(start..start + title);
    }
    unnamed
}

/// Appends a postcode without its space. Nothing for one without a digit and for those that say "no address" or "not known".
pub(crate) fn postcode(text: &str, out: &mut String) {
    let start = out.len();
    fold(text, |c| {
        if c != ' ' {
            out.push(c);
        }
    });
    let code = out.get(start..).unwrap_or_default();
    let alike = code.bytes().all(|b| code.bytes().next() == Some(b));
    let shaped = (3..=10).contains(&code.len()) && code.bytes().any(|b| b.is_ascii_digit()) && code.is_ascii();
    if !shaped || alike || code.starts_with("ZZ") {
        out.truncate(start);
    }
}

/// True for a full British postcode: it names some twenty houses, where others name thousands.
pub(crate) fn is_british(code: &str) -> bool {
    let Some((outward, inward)) = code.len().checked_sub(3).and_then(|at| code.split_at_checked(at)) else {
        return false;
    };
    matches!(outward.as_bytes(), [a, .., z] if a.is_ascii_alphabetic() && outward.len() <= 4 && z.is_ascii_alphanumeric())
        && outward.bytes().any(|b| b.is_ascii_digit())
        && matches!(inward.as_bytes(), [d, a, b] if d.is_ascii_digit() && a.is_ascii_alphabetic() && b.is_ascii_alphabetic())
}

/// The part of a British postcode before its last three characters.
pub(crate) fn outcode(code: &str) -> &str {
    code.len().checked_sub(3).and_then(|at| code.get(..at)).unwrap_or_default()
}

/// Appends the numbers of an address, as written and in that order, `/` between them, then a tab, then its other words, one
/// line each, `|` between them.
pub(crate) fn address<'a>(lines: impl Iterator<Item = &'a str> + Clone, out: &mut String) {
    let mut word = String::new();
    let start = out.len();
    let is_number = |word: &str| word.len() <= 5 && word.starts_with(|c: char| c.is_ascii_digit());
    for line in lines.clone().take(4) {
        each_word(line, &mut word, |word| {
            if is_number(word) {
                if out.len() > start {
                    out.push('/');
                }
                out.push_str(word);
            }
        });
    }
    out.push('\t');
    let start = out.len();
    for line in lines.take(4) {
        let line_start = out.len();
        each_word(line, &mut word, |word| {
            if is_number(word) || UNITS.contains(&word) {
                return;
            }
            if out.len() > start && out.len() == line_start {
                out.push('|');
            }
            out.push_str(STREETS.iter().find(|(short, _)| *short == word).map_or(word, |(_, long)| long));
        });
    }
}

fn each_word(text: &str, word: &mut String, mut each: impl FnMut(&str)) {
    word.clear();
    fold(text, |c| {
        if c == ' ' {
            if !word.is_empty() {
                each(word);
                word.clear();
            }
        } else {
            word.push(c);
        }
    });
    if !word.is_empty() {
        each(word);
    }
}

/// Appends a town or a county: letters only.
pub(crate) fn place(text: &str, out: &mut String) {
    let start = out.len();
    fold(text, |c| {
        if c.is_alphabetic() {
            out.push(c);
        }
    });
    if out.get(start..).is_some_and(is_filler) {
        out.truncate(start);
    }
}

/// Appends the last ten digits of a telephone number, without leading noughts or the country. Nothing where there are fewer
/// than six, or all alike.
pub(crate) fn phone(text: &str, out: &mut String) {
    let start = out.len();
    out.extend(text.chars().take(CHARS_MAX).filter(char::is_ascii_digit));
    let digits = out.get(start..).unwrap_or_default();
    let kept = digits.trim_start_matches('0');
    let kept = kept.get(kept.len().saturating_sub(10)..).unwrap_or_default().trim_start_matches('0');
    let drop = digits.len() - kept.len();
    if kept.len() < 6 || is_filler_number(kept) {
        out.truncate(start);
    } else {
        out.drain(start..start + drop);
    }
}

/// Appends a mail address in lower case. Nothing for what is none.
pub(crate) fn email(text: &str, out: &mut String) {
    let start = out.len();
    let text = text.trim();
    let has_parts = text.split_once('@').is_some_and(|(local, domain)| local.len() > 1 && domain.contains('.'));
    let is_filler =
        ["none@", "noemail", "no-reply", "noreply", "unknown@", "test@"].iter().any(|f| text.starts_with(f));
    if has_parts && !is_filler && text.len() <= CHARS_MAX && !text.contains(char::is_whitespace) {
        out.extend(text.chars().flat_map(char::to_lowercase));
    } else {
        out.truncate(start);
    }
}

/// Appends the letters and digits of an identifier. Nothing for fillers and for what is too short to tell people apart.
pub(crate) fn identifier(text: &str, out: &mut String) {
    let start = out.len();
    fold(text, |c| {
        if c != ' ' {
            out.push(c);
        }
    });
    let value = out.get(start..).unwrap_or_default();
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    if value.len() < 4 || digits < 2 || is_filler(value) || is_filler_number(value) {
        out.truncate(start);
    }
}

/// A hash of a text that is the same on every machine and for ever.
pub(crate) fn digest(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.iter().chain(&[0]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

fn is_filler(word: &str) -> bool {
    FILLERS.contains(&word) || word.starts_with("UNKNOWN") || word.starts_with("ZZZ")
}

/// All digits alike, or counted up or down.
fn is_filler_number(digits: &str) -> bool {
    let step = |by: i16| {
        digits.as_bytes().windows(2).all(|pair| match pair {
            [a, b] => (i16::from(*b) - i16::from(*a)).rem_euclid(10) == by,
            _ => true,
        })
    };
    step(0) || step(1) || step(9)
}

/// First words of what is written for a child that has no name yet.
fn is_newborn(word: &str) -> bool {
    ["BABY", "INFANT", "TWIN", "TRIPLET", "NEWBORN", "BOYOF", "GIRLOF", "FOETUS"].iter().any(|w| word.starts_with(w))
}

const TITLES: [&str; 11] = ["MR", "MRS", "MISS", "MS", "MX", "DR", "MASTER", "SIR", "REV", "MSTR", "PROF"];
const FILLERS: [&str; 19] = [
    "NOTKNOWN",
    "NOT-KNOWN",
    "NK",
    "NOTGIVEN",
    "NOT-GIVEN",
    "NONE",
    "NULL",
    "NAN",
    "NA",
    "NONAME",
    "NO-NAME",
    "UNNAMED",
    "X",
    "XX",
    "XXX",
    "ANON",
    "ANONYMOUS",
    "TBC",
    "TEST",
];
/// Words before the number of a part of a house.
const UNITS: [&str; 7] = ["FLAT", "APARTMENT", "APT", "UNIT", "ROOM", "SUITE", "NO"];
/// Short forms of the words that streets end in.
const STREETS: [(&str, &str); 14] = [
    ("RD", "ROAD"),
    ("ST", "STREET"),
    ("STR", "STREET"),
    ("AVE", "AVENUE"),
    ("AV", "AVENUE"),
    ("LN", "LANE"),
    ("DR", "DRIVE"),
    ("CT", "COURT"),
    ("CL", "CLOSE"),
    ("CRES", "CRESCENT"),
    ("PL", "PLACE"),
    ("SQ", "SQUARE"),
    ("TCE", "TERRACE"),
    ("GDNS", "GARDENS"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(read: fn(&str, &mut String), text: &str, wanted: &str) {
        let mut out = "before".to_owned();
        read(text, &mut out);
        assert_eq!(out.strip_prefix("before"), Some(wanted), "{text}");
    }

    #[track_caller]
    fn check_given(names: &[&str], wanted: &str, unnamed: bool) {
        let mut out = "before".to_owned();
        assert_eq!(given(names.iter().copied(), &mut out), unnamed, "{names:?}");
        assert_eq!(out.strip_prefix("before"), Some(wanted), "{names:?}");
    }

    #[test]
    fn family_names_in_one_spelling() {
        for (text, wanted) in [
            ("O'Brien", "OBRIEN"),
            ("o’brien ", "OBRIEN"),
            ("Smith-Jones", "SMITH-JONES"),
            ("van der Berg", "VAN-DER-BERG"),
            ("Müller", "MULLER"),
            ("Mu\u{308}ller", "MULLER"),
            ("Łukasiewicz", "LUKASIEWICZ"),
            ("Strauß", "STRAUSS"),
            ("Ａｎｎ", "ANN"),
            ("李", "李"),
            ("UNKNOWN", ""),
            ("Unknown Male", ""),
            ("not known", ""),
            ("X", ""),
            ("123", ""),
            ("", ""),
        ] {
            check(family, text, wanted);
        }
    }

    #[test]
    fn given_names_are_words_and_newborns_have_none() {
        check_given(&["Anne-Marie"], "ANNE MARIE", false);
        check_given(&["Anne", "Marie"], "ANNE MARIE", false);
        check_given(&["Mr John"], "JOHN", false);
        check_given(&["Mr"], "", false);
        check_given(&["Mrs", ""], "", false);
        check_given(&["Dr", "Ann", "", "Mary"], "ANN MARY", false);
        check_given(&["A B C D E F"], "A B C D", false);
        check_given(&["Baby"], "", true);
        check_given(&["baby boy"], "", true);
        check_given(&["Twin 1"], "", true);
        check_given(&["Mstr Baby"], "", true);
        check_given(&["", "X"], "", false);
        check_given(&[], "", false);
    }

    #[test]
    fn postcodes_have_a_shape() {
        for (text, wanted) in
            [("W2 1NY", "W21NY"), ("ha01aa", "HA01AA"), ("2119", "2119"), ("ZZ99 3VZ", ""), ("0000", ""), ("none", "")]
        {
            check(postcode, text, wanted);
        }
        assert_eq!(["W21NY", "HA01AA", "EC1A1BB", "W1A1AA"].map(is_british), [true; 4]);
        assert_eq!(["2119", "90210", "AAA1AA", "W2NYY", "12", ""].map(is_british), [false; 6]);
        assert_eq!((outcode("W21NY"), outcode("EC1A1BB")), ("W2", "EC1A"));
    }

    #[test]
    fn addresses_are_numbers_and_lines() {
        let read = |lines: &[&str]| {
            let mut out = String::new();
            address(lines.iter().copied(), &mut out);
            out
        };
        assert_eq!(read(&["Flat 9", "92 Iffley Rd"]), "9/92\tIFFLEYROAD");
        assert_eq!(read(&["7", "wallaby place", "delmar"]), "7\tWALLABYPLACE|DELMAR");
        assert_eq!(read(&["12A High St"]), "12A\tHIGHSTREET");
        assert_eq!(read(&["The Cedars"]), "\tTHECEDARS");
        assert_eq!(read(&[]), "\t");
    }

    #[test]
    fn contacts_and_identifiers_leave_fillers_out() {
        for (text, wanted) in [
            ("020 7946 0034", "2079460034"),
            ("+44 (0)20 7946 0034", "2079460034"),
            ("0044 7700 900238", "7700900238"),
            ("712 300633", "712300633"),
            ("0000000000", ""),
            ("12345", ""),
            ("1234567890", ""),
        ] {
            check(phone, text, wanted);
        }
        check(email, " Ann@Example.ORG", "ann@example.org");
        check(email, "none@example.org", "");
        check(email, "ann", "");
        for (text, wanted) in [
            ("KMC-819708", "KMC819708"),
            ("cf21 9274", "CF219274"),
            ("000000", ""),
            ("12345678", ""),
            ("N/A", ""),
            ("UNKNOWN", ""),
            ("12", ""),
        ] {
            check(identifier, text, wanted);
        }
    }
}
