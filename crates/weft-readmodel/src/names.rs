//! How names are compared: case, accents and punctuation fall away.

/// The key under which a name is searched: lower-case letters and digits of it, without accents. Empty where the name
/// has none; of a name that is longer than any, its beginning.
pub(crate) fn search_key(name: &str) -> String {
    const LETTERS_MAX: usize = 256;
    let mut key = String::with_capacity(name.len().min(LETTERS_MAX));
    for letter in name.chars().take(LETTERS_MAX).flat_map(char::to_lowercase) {
        match unaccented(letter) {
            Some(letters) => key.push_str(letters),
            None if letter.is_alphanumeric() => key.push(letter),
            None => {}
        }
    }
    key
}

/// A postcode without its space, in upper case.
pub(crate) fn postcode_key(postcode: &str) -> String {
    postcode.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect()
}

/// The base letters of Latin letters with accents, and of ligatures.
fn unaccented(letter: char) -> Option<&'static str> {
    Some(match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' | 'ǎ' | 'ạ' | 'ả' | 'ấ' | 'ầ' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' | 'ế' | 'ề' | 'ệ' => "e",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => "g",
        'ĥ' | 'ħ' => "h",
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => "i",
        'ĵ' => "j",
        'ķ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' | 'ơ' | 'ọ' => "o",
        'œ' => "oe",
        'ŕ' | 'ř' => "r",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => "s",
        'ß' => "ss",
        'ţ' | 'ť' | 'ț' => "t",
        'þ' => "th",
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' | 'ư' => "u",
        'ŵ' => "w",
        'ý' | 'ÿ' | 'ŷ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        // Combining marks: the letter before them stands.
        '\u{300}'..='\u{36f}' => "",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(one: &str, other: &str) {
        assert_eq!(search_key(one), search_key(other), "{one} {other}");
    }

    #[test]
    fn spellings_that_are_the_same_name() {
        check("O'Brien", "OBRIEN");
        check("Smith-Jones", "smith jones");
        check("Núñez", "NUNEZ");
        check("Nu\u{301}n\u{303}ez", "nunez");
        check("Łukasz", "lukasz");
        check("Müller", "MULLER");
        assert_ne!(search_key("Smith"), search_key("Smyth"));
        assert_eq!(search_key("李"), "李");
        assert_eq!(search_key(" - "), "");
        assert_eq!(postcode_key("w2 1ny"), "W21NY");
    }
}
