//! What one organisation has on its card for one person: late, mistyped, and sometimes twice.

use weft_model::NhsNumber;

use crate::{
    calendar::{DAY, Day, END, MINUTE, START},
    names::SHORT_FORMS,
    person::Person,
    places::Address,
    rng::Rng,
};

/// How often a feed goes wrong, per thousand records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    /// People that the organisation knows.
    pub(crate) known: u32,
    /// Records that never have an NHS number; as many again get one later.
    pub(crate) number_missing: u32,
    /// A wrong digit in the NHS number.
    pub(crate) number_mistyped: u32,
    /// Somebody else's number: a wife's, a brother's.
    pub(crate) number_confused: u32,
    pub(crate) family_mistyped: u32,
    pub(crate) given_mistyped: u32,
    pub(crate) given_short: u32,
    pub(crate) birth_mistyped: u32,
    pub(crate) sex_mistyped: u32,
    pub(crate) postcode_mistyped: u32,
    /// Family and given name in each other's place.
    pub(crate) transposed: u32,
    /// A second registration of a person who has one.
    pub(crate) twice: u32,
    /// Second registrations that are found out and merged.
    pub(crate) merged: u32,
}

impl Rates {
    /// Nothing ever goes wrong.
    pub(crate) const FAULTLESS: Self = Self {
        known: 1000,
        number_missing: 0,
        number_mistyped: 0,
        number_confused: 0,
        family_mistyped: 0,
        given_mistyped: 0,
        given_short: 0,
        birth_mistyped: 0,
        sex_mistyped: 0,
        postcode_mistyped: 0,
        transposed: 0,
        twice: 0,
        merged: 0,
    };
}

/// One registration of one person.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    /// Local identifier.
    pub(crate) local: String,
    pub(crate) registered: i64,
    number: String,
    number_known: i64,
    slips: Slips,
    corrected: i64,
    moves_learned: [i64; 2],
    pub(crate) marriage_learned: i64,
    pub(crate) named: i64,
    pub(crate) death_learned: i64,
    location_hidden: bool,
    /// For a second registration: when it was merged into the first.
    pub(crate) merged: Option<i64>,
}

#[derive(Debug, Clone, Default)]
struct Slips {
    family: Option<String>,
    given: Option<String>,
    birth: Option<Day>,
    postcode: Option<String>,
    is_other_sex: bool,
    is_transposed: bool,
}

/// The card as it reads at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) local: String,
    pub(crate) number: Option<String>,
    /// Tracing status of the number, as table 0445 has it.
    pub(crate) status: &'static str,
    pub(crate) family: String,
    pub(crate) given: String,
    pub(crate) middle: String,
    pub(crate) former_family: Option<&'static str>,
    pub(crate) title: &'static str,
    pub(crate) birth: Day,
    pub(crate) is_male: bool,
    pub(crate) address: Address,
    pub(crate) postcode: String,
    pub(crate) ethnicity: &'static str,
    pub(crate) practice: u8,
    pub(crate) death: Option<i64>,
    pub(crate) location_hidden: bool,
    pub(crate) is_married: bool,
}

/// Never in the told time.
const NEVER: i64 = i64::MAX;

impl Chart {
    /// Draws a registration. `twin_number` is a number that may be confused with the person's own.
    pub(crate) fn draw(rng: &mut Rng, person: &Person, local: String, rates: &Rates, other: Option<NhsNumber>) -> Self {
        let earliest = START.max(person.birth.start());
        let latest = person.death.unwrap_or(END).min(END - 30 * DAY).max(earliest + DAY / 24);
        let registered = if person.is_baby() {
            earliest + rng.within(DAY / 12, DAY)
        } else {
            let day = Day::at(earliest + rng.within(0, (latest - earliest) / 2));
            day.start() + rng.within(9 * 60, 17 * 60) * MINUTE
        };
        let (number, number_known) = a_number(rng, person, rates, other, registered);
        let slips = Slips::draw(rng, person, rates);
        let corrected = if rng.permille(400) { registered + rng.within(20, 400) * DAY } else { NEVER };
        let mut learned = |event: Option<i64>, permille: u32, days: i64| {
            let lag = rng.within(0, days) * DAY + rng.within(9, 18) * DAY / 24;
            let learns = rng.permille(permille);
            match event {
                // Told at the desk when registering.
                Some(at) if at <= registered => registered,
                Some(at) if learns => at + lag,
                _ => NEVER,
            }
        };
        let [first, second] = person.moves.map(|m| m.map(|(at, _)| at));
        Self {
            local,
            registered,
            number,
            number_known,
            slips,
            corrected,
            moves_learned: [learned(first, 750, 120), learned(second, 750, 120)],
            marriage_learned: learned(person.married.map(|(at, _)| at), 800, 150),
            named: learned(person.is_baby().then_some(registered + 1), 950, 40),
            death_learned: learned(person.death, 850, 6),
            location_hidden: rng.permille(4),
            merged: None,
        }
    }

    /// The card as if it had never changed: what happens to the person does not show.
    pub(crate) fn always_known(self) -> Self {
        Self {
            registered: START,
            number_known: START,
            moves_learned: [NEVER; 2],
            marriage_learned: NEVER,
            named: START,
            death_learned: NEVER,
            location_hidden: false,
            ..self
        }
    }

    /// Moments at which the card changes, in no order; only those in the told time.
    pub(crate) fn changes(&self) -> impl Iterator<Item = i64> {
        let corrected = if self.slips.is_any() { self.corrected } else { NEVER };
        let [first, second] = self.moves_learned;
        let all = [first, second, self.marriage_learned, self.named, self.death_learned, self.number_known, corrected];
        all.into_iter().filter(|at| *at > self.registered && *at < END)
    }

    /// What the card says at the moment.
    pub(crate) fn shown(&self, person: &Person, at: i64) -> Shown {
        let slips = if at < self.corrected { self.slips.clone() } else { Slips::default() };
        let mut family = person.family;
        let mut former_family = None;
        if let Some((_, new)) = person.married.filter(|_| at >= self.marriage_learned) {
            former_family = Some(family).filter(|_| self.marriage_learned > self.registered);
            family = new;
        }
        let is_unnamed = person.is_baby() && at < self.named;
        let (given, middle) = match is_unnamed {
            true if person.twin.is_some() => ("Twin", ""),
            true => ("Baby", ""),
            false => (person.given, person.middle),
        };
        let address = self.address(person, at);
        let is_male = person.is_male != slips.is_other_sex;
        let is_married = former_family.is_some() || matches!(person.kin, Some((_, crate::person::Kin::Spouse)));
        let mut shown = Shown {
            local: self.local.clone(),
            number: (at >= self.number_known).then(|| self.number.clone()),
            status: "01",
            family: slips.family.filter(|_| former_family.is_none()).unwrap_or_else(|| family.to_owned()),
            given: slips.given.filter(|_| !is_unnamed).unwrap_or_else(|| given.to_owned()),
            middle: middle.to_owned(),
            former_family,
            title: title(person, is_male, is_married, at),
            birth: slips.birth.unwrap_or(person.birth),
            is_male,
            address,
            postcode: slips.postcode.unwrap_or_else(|| address.postcode()),
            ethnicity: person.ethnicity,
            practice: person.practice,
            death: person.death.filter(|_| at >= self.death_learned),
            location_hidden: self.location_hidden,
            is_married,
        };
        if slips.is_transposed && !is_unnamed {
            std::mem::swap(&mut shown.family, &mut shown.given);
        }
        if shown.number.is_none() {
            shown.status = if person.is_baby() { "08" } else { "03" };
        }
        shown
    }

    fn address(&self, person: &Person, at: i64) -> Address {
        let learned = person.moves.into_iter().zip(self.moves_learned);
        learned.filter(|(_, learned)| at >= *learned).filter_map(|(m, _)| m).next_back().map_or(person.home, |(_, a)| a)
    }
}

impl Slips {
    fn draw(rng: &mut Rng, person: &Person, rates: &Rates) -> Self {
        let short = SHORT_FORMS.iter().find(|(full, _)| *full == person.given).map(|(_, short)| *short);
        let mut happens = |rate: u32| rng.permille(rate);
        let happened = [
            rates.family_mistyped,
            rates.given_mistyped,
            rates.given_short,
            rates.birth_mistyped,
            rates.postcode_mistyped,
            rates.sex_mistyped,
            rates.transposed,
        ]
        .map(&mut happens);
        let [family, given, short_used, birth, postcode, is_other_sex, is_transposed] = happened;
        Self {
            family: family.then(|| mistype(rng, person.family)),
            given: match short.filter(|_| short_used) {
                Some(short) => Some(short.to_owned()),
                None => given.then(|| mistype(rng, person.given)),
            },
            birth: birth.then(|| mistype_birth(rng, person.birth)),
            postcode: postcode.then(|| mistype_postcode(rng, &person.home.postcode())),
            is_other_sex,
            is_transposed,
        }
    }

    fn is_any(&self) -> bool {
        self.family.is_some()
            || self.given.is_some()
            || self.birth.is_some()
            || self.postcode.is_some()
            || self.is_other_sex
            || self.is_transposed
    }
}

/// The number as it is written, and since when.
fn a_number(rng: &mut Rng, person: &Person, rates: &Rates, other: Option<NhsNumber>, since: i64) -> (String, i64) {
    let own = person.number.to_string();
    let number = match other.filter(|_| rng.permille(rates.number_confused)) {
        Some(other) => other.to_string(),
        None if rng.permille(rates.number_mistyped) => mistype_number(rng, &own),
        None => own,
    };
    let later = since + rng.within(10, 300) * DAY;
    let lot = rng.below(1000);
    let known = match lot {
        _ if lot < u64::from(rates.number_missing) => NEVER,
        _ if lot < 2 * u64::from(rates.number_missing) => later,
        _ => since,
    };
    (number, known)
}

fn title(person: &Person, is_male: bool, is_married: bool, at: i64) -> &'static str {
    match (person.birth.years_until(Day::at(at)), is_male, is_married) {
        (..16, true, _) => "Master",
        (_, true, _) => "Mr",
        (16.., false, true) => "Mrs",
        (30.., false, false) => "Ms",
        _ => "Miss",
    }
}

/// One slip of the fingers, seldom in the first letter.
pub(crate) fn mistype(rng: &mut Rng, text: &str) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let first = if rng.permille(100) { 0 } else { 1 };
    let last = i64::try_from(letters.len()).unwrap_or_default() - 1;
    let Ok(at) = usize::try_from(rng.within(first.min(last), last).max(0)) else { return text.to_owned() };
    match rng.below(4) {
        0 if letters.len() > 3 => {
            letters.remove(at);
        }
        1 if at + 1 < letters.len() => letters.swap(at, at + 1),
        2 => {
            let double = letters.get(at).copied().unwrap_or('e');
            letters.insert(at, double);
        }
        _ => {
            if let Some(letter) = letters.get_mut(at) {
                *letter = rng.pick(&['a', 'e', 'i', 'o', 'n', 'r', 's', 't'], 'e');
            }
        }
    }
    letters.into_iter().collect()
}

fn mistype_birth(rng: &mut Rng, birth: Day) -> Day {
    let (year, month, day) = birth.parts();
    match rng.below(3) {
        0 if day <= 12 => Day::of(year, day, month),
        1 => Day::of(if year % 10 == 9 { year - 1 } else { year + 1 }, month, day.min(28)),
        _ => Day::of(year, month, if day > 10 { day - 10 } else { day + 10 }),
    }
}

fn mistype_postcode(rng: &mut Rng, postcode: &str) -> String {
    let mut code = postcode.to_owned();
    code.pop();
    code.push(rng.pick(&['A', 'B', 'D', 'E', 'F', 'G', 'H'], 'A'));
    code
}

/// Two neighbouring digits swapped, or one wrong: the check digit finds it.
fn mistype_number(rng: &mut Rng, number: &str) -> String {
    let mut digits: Vec<char> = number.chars().collect();
    let at = usize::try_from(rng.within(3, 8)).unwrap_or(3);
    digits.swap(at, at + 1);
    if digits.iter().copied().eq(number.chars())
        && let Some(digit) = digits.get_mut(at)
    {
        *digit = char::from_digit((digit.to_digit(10).unwrap_or_default() + 1) % 10, 10).unwrap_or('0');
    }
    digits.into_iter().collect()
}
