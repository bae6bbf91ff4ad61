//! One spelling for what sources spell in many ways.

/// Longest text of one name that is looked at, in characters.
const NAME_CHARS_MAX: usize = 48;

/// Letters of a text in upper case without accents; everything else parts words.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in text.chars().take(NAME_CHARS_MAX) {
        match c {
            // An apostrophe joins: O'Brien, D’Souza.
            '\'' | '’' | '‘' | '`' | '´' => {}
            c if c.is_alphabetic() || is_combining(c) => {
                if let Some(word) = words.last_mut() {
                    c.to_uppercase().for_each(|upper| fold(upper, word));
                }
            }
            _ if words.last().is_some_and(String::is_empty) => {}
            _ => words.push(String::new()),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A family name: one word, whatever stood between its parts. Empty for none and for fillers.
pub(crate) fn family(text: &str) -> String {
    let joined = words(text).concat();
    if is_filler(&joined) { String::new() } else { joined }
}

/// Given names, one word each; hyphenated ones are parted, titles are left out. Empty for none, fillers and newborns that
/// have no name yet.
pub(crate) fn given<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut all: Vec<String> = names.take(6).flat_map(words).take(6).collect();
    if all.len() > 1 && all.first().is_some_and(|first| TITLES.contains(&first.as_str())) {
        all.remove(0);
    }
    let unnamed = |first: &String| is_filler(first) || NEWBORN.iter().any(|word| first.starts_with(word));
    if all.first().is_none_or(unnamed) { Vec::new() } else { all }
}

/// A full postcode without its space, `None` for other shapes and for ZZ99, which says "no address".
pub(crate) fn postcode(text: &str) -> Option<[u8; 7]> {
    let mut code = [b' '; 7];
    let mut length = 0;
    for byte in text.bytes().filter(u8::is_ascii_alphanumeric) {
        *code.get_mut(length)? = byte.to_ascii_uppercase();
        length += 1;
    }
    let (outward, inward) = code.get(..length)?.split_at_checked(length.checked_sub(3)?)?;
    let shaped = matches!(outward, [a, .., z] if a.is_ascii_alphabetic() && outward.len() <= 4 && z.is_ascii_alphanumeric())
        && outward.iter().any(u8::is_ascii_digit)
        && matches!(inward, [d, a, b] if d.is_ascii_digit() && a.is_ascii_alphabetic() && b.is_ascii_alphabetic());
    (shaped && !outward.starts_with(b"ZZ")).then_some(code)
}

/// The part of a postcode before its last three characters.
pub(crate) fn outcode(code: &[u8; 7]) -> &[u8] {
    let length = code.iter().position(|b| *b == b' ').unwrap_or(code.len());
    code.get(..length.saturating_sub(3)).unwrap_or_default()
}

/// The usual form that a short form stands for; the name itself where it is none.
pub(crate) fn formal(given: &str) -> &str {
    NICKNAMES.iter().find(|(_, short)| short.contains(&given)).map_or(given, |(formal, _)| formal)
}

fn is_filler(word: &str) -> bool {
    FILLERS.contains(&word) || word.starts_with("UNKNOWN") || word.starts_with("ZZZ")
}

fn is_combining(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

/// Appends an upper case letter without its accent.
fn fold(c: char, out: &mut String) {
    let plain = match c {
        'A'..='Z' => return out.push(c),
        'À'..='Å' | 'Ā' | 'Ă' | 'Ą' => "A",
        'Æ' => "AE",
        'Ç' | 'Ć' | 'Ĉ' | 'Ċ' | 'Č' => "C",
        'Ď' | 'Đ' | 'Ð' => "D",
        'È'..='Ë' | 'Ē' | 'Ĕ' | 'Ė' | 'Ę' | 'Ě' => "E",
        'Ĝ' | 'Ğ' | 'Ġ' | 'Ģ' => "G",
        'Ĥ' | 'Ħ' => "H",
        'Ì'..='Ï' | 'Ĩ' | 'Ī' | 'Ĭ' | 'Į' | 'İ' => "I",
        'Ĵ' => "J",
        'Ķ' => "K",
        'Ĺ' | 'Ļ' | 'Ľ' | 'Ŀ' | 'Ł' => "L",
        'Ñ' | 'Ń' | 'Ņ' | 'Ň' | 'Ŋ' => "N",
        'Ò'..='Ö' | 'Ø' | 'Ō' | 'Ŏ' | 'Ő' => "O",
        'Œ' => "OE",
        'Ŕ' | 'Ŗ' | 'Ř' => "R",
        'Ś' | 'Ŝ' | 'Ş' | 'Š' | 'Ș' => "S",
        'Ţ' | 'Ť' | 'Ŧ' | 'Ț' => "T",
        'Þ' => "TH",
        'Ù'..='Ü' | 'Ũ' | 'Ū' | 'Ŭ' | 'Ů' | 'Ű' | 'Ų' => "U",
        'Ŵ' => "W",
        'Ý' | 'Ŷ' | 'Ÿ' => "Y",
        'Ź' | 'Ż' | 'Ž' => "Z",
        c if is_combining(c) => "",
        other => return out.push(other),
    };
    out.push_str(plain);
}

const TITLES: [&str; 9] = ["MR", "MRS", "MISS", "MS", "MX", "DR", "MASTER", "SIR", "REV"];
const FILLERS: [&str; 11] =
    ["NOTKNOWN", "NK", "NOTGIVEN", "NONE", "NONAME", "UNNAMED", "X", "XX", "XXX", "ANON", "ANONYMOUS"];
/// First words of what is written for a child that has no name yet.
const NEWBORN: [&str; 6] = ["BABY", "INFANT", "TWIN", "TRIPLET", "NEWBORN", "BOYOF"];

/// Formal name and its short forms.
const NICKNAMES: [(&str, &[&str]); 40] = [
    ("ABDUL", &["ABD"]),
    ("ALEXANDER", &["ALEX", "SANDY", "ALEC"]),
    ("ANDREW", &["ANDY", "DREW"]),
    ("ANTHONY", &["TONY", "ANTONY"]),
    ("BENJAMIN", &["BEN", "BENNY"]),
    ("CATHERINE", &["CATH", "CATHY", "KATE", "KATIE", "KATHERINE", "KATHRYN", "KATHY", "KITTY"]),
    ("CHARLES", &["CHARLIE", "CHAS", "CHUCK"]),
    ("CHRISTINE", &["CHRISSIE", "TINA", "CHRISTINA"]),
    ("CHRISTOPHER", &["CHRIS", "KIT"]),
    ("DANIEL", &["DAN", "DANNY"]),
    ("DAVID", &["DAVE", "DAVEY"]),
    ("DEBORAH", &["DEBBIE", "DEB", "DEBRA"]),
    ("DOROTHY", &["DOT", "DOTTIE", "DOLLY"]),
    ("EDWARD", &["ED", "EDDIE", "TED", "NED"]),
    ("ELIZABETH", &["LIZ", "BETH", "BETTY", "ELIZA", "LIBBY", "LIZZIE", "ELISABETH", "BESS"]),
    ("FRANCIS", &["FRANK", "FRAN"]),
    ("FREDERICK", &["FRED", "FREDDIE"]),
    ("GEOFFREY", &["GEOFF", "JEFF", "JEFFREY"]),
    ("HENRY", &["HARRY", "HAL"]),
    ("JACOB", &["JAKE"]),
    ("JAMES", &["JIM", "JIMMY", "JAMIE"]),
    ("JENNIFER", &["JENNY", "JEN"]),
    ("JOHN", &["JACK", "JOHNNY", "JON"]),
    ("JOSEPH", &["JOE", "JOEY"]),
    ("JOSHUA", &["JOSH"]),
    ("MARGARET", &["MAGGIE", "MEG", "PEGGY", "RITA", "MARGE"]),
    ("MATTHEW", &["MATT"]),
    ("MICHAEL", &["MIKE", "MICK", "MICKEY"]),
    ("MOHAMMED", &["MOHAMED", "MUHAMMAD", "MOHAMMAD", "MUHAMMED", "MOHAMAD", "MD", "MOHD"]),
    ("NICHOLAS", &["NICK", "NICKY", "NICOLAS"]),
    ("PATRICIA", &["PAT", "TRISH", "PATSY", "TRICIA"]),
    ("PETER", &["PETE"]),
    ("REBECCA", &["BECKY", "BECCA"]),
    ("RICHARD", &["RICK", "DICK", "RICKY", "RICH"]),
    ("ROBERT", &["BOB", "BOBBY", "ROB", "ROBBIE", "BERT"]),
    ("SAMUEL", &["SAM", "SAMMY"]),
    ("SUSAN", &["SUE", "SUSIE", "SUZANNE"]),
    ("THOMAS", &["TOM", "TOMMY"]),
    ("VICTORIA", &["VICKY", "VIC", "TORI"]),
    ("WILLIAM", &["BILL", "BILLY", "WILL", "WILLIE", "LIAM"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check_family(text: &str, wanted: &str) {
        assert_eq!(family(text), wanted, "{text}");
    }

    fn check_given(names: &[&str], wanted: &[&str]) {
        assert_eq!(given(names.iter().copied()), wanted, "{names:?}");
    }

    fn check_postcode(text: &str, wanted: Option<(&str, &str)>) {
        let read = postcode(text);
        let shown = read.as_ref().map(|code| (String::from_utf8_lossy(code), String::from_utf8_lossy(outcode(code))));
        let wanted = wanted.map(|(code, out)| (code.into(), out.into()));
        assert_eq!(shown, wanted, "{text}");
    }

    #[test]
    fn family_names_in_one_spelling() {
        check_family("O'Brien", "OBRIEN");
        check_family("o’brien ", "OBRIEN");
        check_family("Smith-Jones", "SMITHJONES");
        check_family("van der Berg", "VANDERBERG");
        check_family("Müller", "MULLER");
        check_family("Mu\u{308}ller", "MULLER");
        check_family("Łukasiewicz", "LUKASIEWICZ");
        check_family("Strauß", "STRAUSS");
        check_family("李", "李");
        check_family("UNKNOWN", "");
        check_family("Unknown Male", "");
        check_family("X", "");
        check_family("123", "");
        check_family("", "");
    }

    #[test]
    fn given_names_are_words_and_newborns_have_none() {
        check_given(&["Anne-Marie"], &["ANNE", "MARIE"]);
        check_given(&["Anne", "Marie"], &["ANNE", "MARIE"]);
        check_given(&["Mr John"], &["JOHN"]);
        check_given(&["Mr"], &["MR"]);
        check_given(&["Baby"], &[]);
        check_given(&["baby boy"], &[]);
        check_given(&["Twin 1"], &[]);
        check_given(&["", "X"], &[]);
        check_given(&[], &[]);
    }

    #[test]
    fn postcodes_have_a_shape() {
        check_postcode("W2 1NY", Some(("W21NY  ", "W2")));
        check_postcode("ha01aa", Some(("HA01AA ", "HA0")));
        check_postcode(" EC1A 1BB ", Some(("EC1A1BB", "EC1A")));
        for wrong in ["", "W2", "ZZ99 3VZ", "12345", "W2 1NY EXTRA", "AAA 1AA", "W2 NYY"] {
            check_postcode(wrong, None);
        }
    }

    #[test]
    fn short_forms_have_one_formal_name() {
        assert_eq!((formal("BILL"), formal("WILLIAM"), formal("AMINA")), ("WILLIAM", "WILLIAM", "AMINA"));
    }
}
