//! How names sound, and how far apart two spellings are.

/// Longest text that is compared letter by letter.
const LETTERS_MAX: usize = 32;

/// Soundex of a name in upper case; where it does not begin with a letter of the English alphabet, a digest of the name
/// itself. `None` for an empty one.
pub(crate) fn soundex(name: &str) -> Option<u32> {
    let mut bytes = name.bytes().filter(u8::is_ascii_uppercase);
    let first = match name.chars().next()? {
        c if c.is_ascii_uppercase() => bytes.next()?,
        _ => return Some(name.bytes().fold(0x811c_9dc5, |hash, b| (hash ^ u32::from(b)).wrapping_mul(0x0100_0193))),
    };
    let (mut code, mut length, mut last) = (u32::from(first), 1, digit(first));
    for byte in bytes {
        let digit = digit(byte);
        if length == 4 {
            break;
        }
        if digit != 0 && digit != last {
            code = code << 8 | u32::from(digit);
            length += 1;
        }
        // H and W do not part equal sounds; vowels do.
        if !matches!(byte, b'H' | b'W') {
            last = digit;
        }
    }
    Some(code << (8 * (4 - length)))
}

fn digit(letter: u8) -> u8 {
    match letter {
        b'B' | b'F' | b'P' | b'V' => 1,
        b'C' | b'G' | b'J' | b'K' | b'Q' | b'S' | b'X' | b'Z' => 2,
        b'D' | b'T' => 3,
        b'L' => 4,
        b'M' | b'N' => 5,
        b'R' => 6,
        _ => 0,
    }
}

/// Whether two names sound alike. Most do not even begin alike.
pub(crate) fn sound_alike(one: &str, other: &str) -> bool {
    one.bytes().next() == other.bytes().next() && soundex(one) == soundex(other)
}

/// Letters to add, drop, replace or exchange with their neighbour to come from one to the other; `most + 1` for more than
/// `most`.
pub(crate) fn distance(one: &str, other: &str, most: usize) -> usize {
    if one.len().abs_diff(other.len()) > 4 * most {
        return most + 1;
    }
    if one.is_ascii() && other.is_ascii() {
        return apart(first(one.as_bytes()), first(other.as_bytes()), most);
    }
    let (mut a, mut b) = ([0u32; LETTERS_MAX], [0u32; LETTERS_MAX]);
    let (n, m) = (letters(one, &mut a), letters(other, &mut b));
    apart(a.get(..n).unwrap_or_default(), b.get(..m).unwrap_or_default(), most)
}

/// As many letters as are compared.
fn first(letters: &[u8]) -> &[u8] {
    letters.get(..LETTERS_MAX).unwrap_or(letters)
}

/// The letters of a text, as far as there is room for them; how many they are.
fn letters(text: &str, into: &mut [u32; LETTERS_MAX]) -> usize {
    into.iter_mut().zip(text.chars()).map(|(to, from)| *to = u32::from(from)).count()
}

fn apart<L: Copy + Eq + Into<u32>>(a: &[L], b: &[L], most: usize) -> usize {
    let (n, m) = (a.len(), b.len());
    // Each letter that the other has not got was dropped or replaced: so most of what has nothing in common is told apart.
    let (some, others) = (which(a), which(b));
    let missing = (some & !others).count_ones().max((others & !some).count_ones());
    if n.abs_diff(m) > most || missing as usize > most {
        return most + 1;
    }
    // A column of the table of all distances at a time, a bit for each row: where it is one more, or one less, than the row above
    // (H. Hyyrö, A bit-vector algorithm for computing Levenshtein and Damerau edit distances, 2003).
    let (mut more, mut less, mut diagonal, mut before) = (u32::MAX, 0u32, 0u32, 0u32);
    let mut apart = n;
    let Some(last) = n.checked_sub(1).map(|row| 1u32 << row) else { return m.min(most + 1) };
    for y in b {
        let same = a.iter().enumerate().fold(0u32, |rows, (row, x)| rows | u32::from(x == y) << row);
        let exchanged = (!diagonal & same) << 1 & before;
        diagonal = ((same & more).wrapping_add(more) ^ more) | same | less | exchanged;
        let (right, left) = (less | !(diagonal | more), diagonal & more);
        apart = apart + usize::from(right & last != 0) - usize::from(left & last != 0);
        let (right, left) = (right << 1 | 1, left << 1);
        (more, less, before) = (left | !(diagonal | right), right & diagonal, same);
    }
    apart.min(most + 1)
}

/// A bit for each letter, that it shares with those sixty-four further on.
fn which<L: Copy + Into<u32>>(letters: &[L]) -> u64 {
    letters.iter().fold(0, |all, letter| all | 1 << ((*letter).into() % 64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the book, cell after cell.
    fn whole_distance(one: &str, other: &str) -> usize {
        let (a, b): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
        let mut cells = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 0..=a.len() {
            for j in 0..=b.len() {
                cells[i][j] = if i == 0 || j == 0 {
                    i + j
                } else {
                    let replaced = cells[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    replaced.min(cells[i - 1][j] + 1).min(cells[i][j - 1] + 1)
                };
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    cells[i][j] = cells[i][j].min(cells[i - 2][j - 2] + 1);
                }
            }
        }
        cells[a.len()][b.len()]
    }

    proptest! {
        /// Few letters, two of which share a bit.
        #[test]
        fn distance_is_that_of_the_book_up_to_the_most(one in "[ABCDE\u{81}é]{0,32}", other in "[ABCDE\u{81}é]{0,32}", most in 0usize..9) {
            prop_assert_eq!(distance(&one, &other, most), whole_distance(&one, &other).min(most + 1));
        }
    }

    #[test]
    fn soundex_is_the_usual_one() {
        let text = |name: &str| {
            let code = soundex(name).unwrap().to_be_bytes();
            format!("{}{}{}{}", char::from(code[0]), code[1], code[2], code[3])
        };
        for (name, wanted) in [
            ("ROBERT", "R163"),
            ("RUPERT", "R163"),
            ("ASHCRAFT", "A261"),
            ("TYMCZAK", "T522"),
            ("PFISTER", "P236"),
            ("HONEYMAN", "H555"),
            ("LEE", "L000"),
        ] {
            assert_eq!(text(name), wanted, "{name}");
        }
        assert!(sound_alike("ROBERT", "RUPERT") && !sound_alike("ROBERT", "HOBART") && !sound_alike("李", "王"));
        assert_eq!(soundex(""), None);
        assert_ne!(soundex("李"), soundex("王"));
    }

    #[test]
    fn distance_counts_slips() {
        for (one, other, wanted) in [
            ("", "", 0),
            ("SMITH", "SMITH", 0),
            ("SMITH", "SMYTH", 1),
            ("SMITH", "SMIHT", 1),
            ("SMITH", "SMITHS", 1),
            ("SMITH", "MITH", 1),
            ("KITTEN", "SITTING", 3),
            ("ABCDEF", "UVWXYZ", 4),
            ("A", "ABCDEFG", 4),
        ] {
            assert_eq!((distance(one, other, 3), distance(other, one, 3)), (wanted, wanted), "{one} {other}");
        }
    }
}
