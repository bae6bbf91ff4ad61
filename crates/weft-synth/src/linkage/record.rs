//! What a register makes of a person: late, mistyped, in part.

use weft_model::proto::event::{Address, Demographics, Identifier, IdentifierKind, Name, Precision, Telecom, When};

use super::{household::Human, names::Names};
use crate::{
    calendar::{Day, END},
    names::SHORT_FORMS,
    rng::Rng,
};

/// The record of one turn, and whether it has the number of `other` instead of the person's own. A person's first records
/// know neither of a move nor of a marriage.
pub(crate) fn draw(rng: &mut Rng, human: &Human, other: &Human, turn: u8, names: &Names) -> (Demographics, bool) {
    let is_late = turn >= 2 || turn == 1 && rng.permille(500);
    let (number, is_overlay) = a_number(rng, human, other);
    let (birth, precision) = a_birth(rng, human);
    let home = human.moved_to.filter(|_| is_late).unwrap_or(human.home);
    let former = human.moved_to.filter(|_| is_late && rng.permille(250)).map(|_| human.home);
    let mut addresses = vec![address(rng, home, "home")];
    addresses.extend(former.map(|home| address(rng, home, "old")));
    if rng.permille(20) {
        addresses.clear();
    }
    let sex = if human.is_male != rng.permille(2) { "male" } else { "female" };
    let said = Demographics {
        identifiers: number.into_iter().collect(),
        names: a_name(rng, human, is_late, turn, names),
        birth: Some(When { start_us: birth.start(), precision: precision.into(), ..When::default() }),
        sex: if rng.permille(5) { "" } else { sex }.to_owned(),
        addresses,
        telecoms: telecoms(rng, human),
        ..Demographics::default()
    };
    (said, is_overlay)
}

/// One in a dozen has none, some are mistyped, one in a thousand is somebody else's.
fn a_number(rng: &mut Rng, human: &Human, other: &Human) -> (Option<Identifier>, bool) {
    let is_overlay = rng.permille(1) && other.number != human.number;
    if rng.permille(85) && !is_overlay {
        return (None, false);
    }
    let mut value = if is_overlay { other.number } else { human.number }.to_string();
    if rng.permille(5) && !is_overlay {
        value = mistype_digit(rng, &value);
    }
    let number = Identifier { kind: IdentifierKind::NhsNumber.into(), value, ..Identifier::default() };
    (Some(number), is_overlay)
}

fn a_name(rng: &mut Rng, human: &Human, is_late: bool, turn: u8, names: &Names) -> Vec<Name> {
    let text = |all: &[String], n: u16| all.get(usize::from(n)).cloned().unwrap_or_default();
    let married = human.married.filter(|_| is_late);
    let mut family = text(&names.family, married.unwrap_or(human.family));
    if married.is_some() && rng.permille(200) {
        family = format!("{}-{family}", text(&names.family, human.family));
    }
    let mut given = text(&names.given, human.given);
    let is_newborn = turn == 0 && Day::at(END).0 - human.birth.0 < 700;
    if is_newborn && rng.permille(400) {
        given = if human.twin.is_some() { "Twin" } else { "Baby" }.to_owned();
    } else if rng.permille(25) {
        given = short(&given);
    } else if rng.permille(12) {
        given = mistype(rng, &given);
    } else if rng.permille(8) {
        given.truncate(given.chars().next().map_or(0, char::len_utf8));
    }
    if rng.permille(15) {
        family = mistype(rng, &family);
    }
    if rng.permille(4) {
        std::mem::swap(&mut family, &mut given);
    }
    if rng.permille(3) {
        given.clear();
    }
    let middle = human.middle.filter(|_| rng.permille(600) && !given.is_empty()).map(|n| text(&names.given, n));
    let former = married.filter(|_| rng.permille(500)).map(|_| Name {
        r#use: "maiden".to_owned(),
        family: text(&names.family, human.family),
        given: vec![given.clone()],
        ..Name::default()
    });
    let now = Name {
        r#use: "official".to_owned(),
        family,
        given: std::iter::once(given).chain(middle).collect(),
        ..Name::default()
    };
    std::iter::once(now).chain(former).collect()
}

fn a_birth(rng: &mut Rng, human: &Human) -> (Day, Precision) {
    let (year, month, day) = human.birth.parts();
    match rng.below(1000) {
        0..=1 => (Day(human.birth.0 + rng.within(1, 9)), Precision::Day),
        2 => (Day::of(year + 10 * rng.within(0, 1) - 5, month, day.min(28)), Precision::Day),
        3 if day <= 12 => (Day::of(year, day, month), Precision::Day),
        4 => (Day::of(year, 1, 1), Precision::Day),
        5 => (Day::of(year, 1, 1), Precision::Year),
        _ => (human.birth, Precision::Day),
    }
}

fn telecoms(rng: &mut Rng, human: &Human) -> Vec<Telecom> {
    let mut telecoms = Vec::new();
    if rng.permille(550) {
        // Numbers for drama have few digits: the rest stands where no number of this form is given out.
        telecoms.push(Telecom {
            system: "phone".to_owned(),
            value: format!("070{:010}", human.phone),
            ..Telecom::default()
        });
    }
    if rng.permille(200) {
        let value = format!("person{}@example.org", human.number.value() % 1_000_000_007);
        telecoms.push(Telecom { system: "email".to_owned(), value, ..Telecom::default() });
    }
    telecoms
}

/// Eighteen dwellings share a street and a postcode.
fn address(rng: &mut Rng, dwelling: u32, kind: &str) -> Address {
    const AREAS: [&str; 10] = ["W", "NW", "SW", "HA", "UB", "TW", "N", "SE", "E", "EN"];
    const LETTERS: &[u8; 20] = b"ABDEFGHJLNPQRSTUWXYZ";
    const STREETS: [&str; 12] =
        ["Acacia", "Beech", "Church", "Elm", "Grove", "High", "King", "Mill", "Park", "Queen", "Station", "Victoria"];
    const ENDS: [&str; 8] = ["Road", "Street", "Avenue", "Lane", "Close", "Gardens", "Crescent", "Drive"];
    let group = u64::from(dwelling / 18);
    let pick = |from: &[&'static str], n: u64| from.get((n % from.len() as u64) as usize).copied().unwrap_or_default();
    let letter = |n: u64| char::from(LETTERS.get((n % 20) as usize).copied().unwrap_or(b'A'));
    // Neighbouring groups are not alike; no two have one postcode.
    let spread = group * 7_919 % 400_000;
    let postcode = format!(
        "{}{} {}{}{}",
        pick(&AREAS, spread),
        1 + spread / 10 % 10,
        spread / 100 % 10,
        letter(spread / 1000),
        letter(spread / 20_000)
    );
    let street = Rng::of(group, &[34]).next();
    let house = 1 + street % 150 + u64::from(dwelling % 18) * 2;
    let flat = (Rng::of(dwelling.into(), &[35]).permille(250)).then(|| format!("Flat {}", 1 + dwelling % 7));
    let line = format!("{house} {} {}", pick(&STREETS, street / 151), pick(&ENDS, street / 4001));
    let mut lines: Vec<String> = flat.into_iter().chain([line]).collect();
    if rng.permille(30) {
        lines.clear();
    }
    let postcode = if rng.permille(6) { mistype_digit(rng, &postcode) } else { postcode };
    Address { r#use: kind.to_owned(), lines, city: "London".to_owned(), postcode, ..Address::default() }
}

fn short(given: &str) -> String {
    SHORT_FORMS.iter().find(|(long, _)| *long == given).map_or(given, |(_, short)| short).to_owned()
}

/// Drops, doubles, exchanges or replaces a letter, not the first.
fn mistype(rng: &mut Rng, name: &str) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    if letters.len() < 3 {
        return name.to_owned();
    }
    let at = usize::try_from(1 + rng.below(letters.len() as u64 - 2)).unwrap_or(1);
    match rng.below(4) {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, letters.get(at).copied().unwrap_or('e')),
        2 => letters.swap(at, at + 1),
        _ => {
            let other = rng.pick(&['a', 'e', 'i', 'n', 'r', 's', 't'], 'e');
            letters.splice(at..=at, [other]);
        }
    }
    letters.into_iter().collect()
}

/// Replaces one digit by another.
fn mistype_digit(rng: &mut Rng, text: &str) -> String {
    let digits: Vec<usize> = text.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(at, _)| at).collect();
    let at = rng.pick(&digits, 0);
    let by = u32::try_from(1 + rng.below(9)).unwrap_or(1);
    let turned = |c: char| c.to_digit(10).and_then(|d| char::from_digit((d + by) % 10, 10)).unwrap_or(c);
    text.char_indices().map(|(n, c)| if n == at { turned(c) } else { c }).collect()
}
