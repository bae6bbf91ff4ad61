//! The hidden truth: people and the households they live in.

use weft_model::NhsNumber;

use crate::{
    calendar::{DAY, Day, END, START},
    names::{ORIGINS, Origin},
    numbers::Numbers,
    places::Address,
    rng::Rng,
};

/// One human being, as they really are.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) number: NhsNumber,
    pub(crate) is_male: bool,
    pub(crate) family: &'static str,
    /// One or two words: some people use both.
    pub(crate) given: &'static str,
    /// Empty for most.
    pub(crate) middle: &'static str,
    pub(crate) birth: Day,
    pub(crate) ethnicity: &'static str,
    pub(crate) practice: u8,
    pub(crate) home: Address,
    /// When they moved, and where to; in order.
    pub(crate) moves: [Option<(i64, Address)>; 2],
    /// When they married, and the family name since.
    pub(crate) married: Option<(i64, &'static str)>,
    pub(crate) death: Option<i64>,
    /// Next of kin: index of the person, and what they are to this one.
    pub(crate) kin: Option<(u32, Kin)>,
    pub(crate) twin: Option<u32>,
    /// The father whose name he has.
    pub(crate) named_after: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kin {
    Spouse,
    Mother,
    Father,
    Friend,
}

impl Person {
    /// Born in the told time.
    pub(crate) fn is_baby(&self) -> bool {
        self.birth.start() >= START
    }

    /// Alive and born at the moment.
    pub(crate) fn lives_at(&self, us: i64) -> bool {
        self.birth.start() <= us && self.death.is_none_or(|death| us < death)
    }

    pub(crate) fn age_at_end(&self) -> i64 {
        self.birth.years_until(Day::at(END))
    }
}

/// Households one after the other until there are enough people: a larger population begins with the smaller one.
pub(crate) fn people(seed: u64, count: usize) -> Vec<Person> {
    let mut all = Vec::with_capacity(count + 8);
    let mut numbers = Numbers::default();
    let mut household = 0;
    while all.len() < count {
        let rng = Rng::of(seed, &[HOUSEHOLD, household]);
        Household::new(rng, &mut all, &mut numbers).settle();
        household += 1;
    }
    all.truncate(count);
    for person in &mut all {
        let is_known = |n: &u32| usize::try_from(*n).is_ok_and(|n| n < count);
        person.kin = person.kin.filter(|(n, _)| is_known(n));
        person.twin = person.twin.filter(is_known);
    }
    all
}

const HOUSEHOLD: u64 = 1;

/// A household while it is made.
struct Household<'a> {
    rng: Rng,
    all: &'a mut Vec<Person>,
    numbers: &'a mut Numbers,
    first: usize,
    origin: &'static Origin,
    home: Address,
    practice: u8,
}

impl<'a> Household<'a> {
    fn new(mut rng: Rng, all: &'a mut Vec<Person>, numbers: &'a mut Numbers) -> Self {
        let origin = an_origin(&mut rng);
        let home = Address::draw(&mut rng);
        let practice = u8::try_from(rng.below(12)).unwrap_or_default();
        let first = all.len();
        Self { rng, all, numbers, first, origin, home, practice }
    }

    fn settle(mut self) {
        match self.rng.below(100) {
            0..=27 => self.one_alone(20, 92),
            28..=47 => {
                self.a_couple(24, 68);
            }
            48..=57 => {
                self.a_couple(66, 96);
            }
            58..=92 => self.a_family(),
            _ => self.sharers(),
        }
        self.move_house();
    }

    fn one_alone(&mut self, from: i64, to: i64) {
        let is_male = self.rng.permille(500);
        let family = self.rng.pick_common(self.origin.family);
        let n = self.adult(is_male, family, from, to);
        self.may_marry(n, 170);
    }

    /// Indices of husband and wife.
    fn a_couple(&mut self, from: i64, to: i64) -> (u32, u32) {
        let his = self.rng.pick_common(self.origin.family);
        let husband = self.adult(true, his, from, to);
        let shared = self.rng.permille(700);
        let own = self.origin;
        if self.rng.permille(200) {
            self.origin = an_origin(&mut self.rng);
        }
        let hers = if shared { his } else { self.rng.pick_common(self.origin.family) };
        let wife = self.adult(false, hers, from, to);
        self.origin = own;
        self.set_kin(husband, wife, Kin::Spouse);
        self.set_kin(wife, husband, Kin::Spouse);
        (husband, wife)
    }

    fn sharers(&mut self) {
        for _ in 0..self.rng.within(2, 4) {
            self.origin = an_origin(&mut self.rng);
            self.one_alone(19, 38);
            let (this, first) = (self.all.len().saturating_sub(1), self.first);
            if this > first {
                self.set_kin(index(this), index(first), Kin::Friend);
            }
        }
    }

    fn a_family(&mut self) {
        let (father, mother) = if self.rng.permille(220) {
            let family = self.rng.pick_common(self.origin.family);
            (None, self.adult(false, family, 22, 48))
        } else {
            let (father, mother) = self.a_couple(25, 52);
            (Some(father), mother)
        };
        let family = self.person(father.unwrap_or(mother)).map_or("", |p| p.family);
        let born = self.person(mother).map_or(Day(0), |p| p.birth);
        let mut last = Day(i64::MAX - 400);
        for _ in 0..=self.rng.weighted([40, 38, 16, 6].into_iter()) {
            let age_days = self.rng.within(15, 17 * 365 + 300);
            let birth = Day(Day::at(END).0 - age_days);
            let is_possible = birth.0 - born.0 > 19 * 365 && (birth.0 - last.0).abs() > 300;
            if is_possible {
                last = birth;
                self.births(birth, family, father, mother);
            }
        }
    }

    /// One child, now and then two.
    fn births(&mut self, birth: Day, family: &'static str, father: Option<u32>, mother: u32) {
        let is_male = self.rng.permille(512);
        if !self.rng.permille(25) {
            let child = self.child(is_male, birth, family, mother);
            if is_male && let Some(father) = father.filter(|_| self.rng.permille(50)) {
                self.name_after(child, father);
            }
            return;
        }
        let in_a_row = self.rng.permille(700).then(|| self.numbers.two_in_a_row());
        let first = self.child(is_male, birth, family, mother);
        let same_sex = self.rng.permille(660);
        let second = self.child(is_male == same_sex, birth, family, mother);
        for (twin, other, place) in [(first, second, 0), (second, first, 1)] {
            let number = in_a_row.and_then(|pair| pair.get(place).copied());
            if let Some(person) = self.person_mut(twin) {
                person.twin = Some(other);
                person.number = number.unwrap_or(person.number);
            }
        }
    }

    fn child(&mut self, is_male: bool, birth: Day, family: &'static str, mother: u32) -> u32 {
        let child = self.add(is_male, family, birth);
        self.set_kin(child, mother, Kin::Mother);
        child
    }

    fn name_after(&mut self, son: u32, father: u32) {
        let Some(names) = self.person(father).map(|p| (p.family, p.given, p.middle)) else { return };
        if let Some(person) = self.person_mut(son) {
            (person.family, person.given, person.middle) = names;
            person.named_after = Some(father);
            person.kin = Some((father, Kin::Father));
        }
    }

    fn adult(&mut self, is_male: bool, family: &'static str, from: i64, to: i64) -> u32 {
        let days = self.rng.within(from * 365 + from / 4, to * 365 + to / 4);
        self.add(is_male, family, Day(Day::at(END).0 - days))
    }

    /// Nobody in a household has another's given name, but a son his father's.
    fn add(&mut self, is_male: bool, family: &'static str, birth: Day) -> u32 {
        let given = self.origin.given(is_male);
        let is_taken = |name: &str| self.all.iter().skip(self.first).any(|p| p.given == name);
        let mut name = self.rng.pick_common(given);
        for _ in 0..20 {
            if !is_taken(name) {
                break;
            }
            name = self.rng.pick(given, name);
        }
        let middle = if self.rng.permille(400) { self.rng.pick_common(given) } else { "" };
        let death = self.a_death(birth);
        self.all.push(Person {
            number: self.numbers.one(),
            is_male,
            family,
            given: name,
            middle: if middle == name { "" } else { middle },
            birth,
            ethnicity: if self.rng.permille(60) { "Z" } else { self.origin.ethnicity },
            practice: self.practice,
            home: self.home,
            moves: [None, None],
            married: None,
            death,
            kin: None,
            twin: None,
            named_after: None,
        });
        index(self.all.len() - 1)
    }

    fn a_death(&mut self, birth: Day) -> Option<i64> {
        let permille = match birth.years_until(Day::at(END)) {
            ..50 => 2,
            50..70 => 12,
            70..80 => 45,
            _ => 140,
        };
        let at = self.rng.within(START.max(birth.start()) + 20 * DAY, END - 10 * DAY);
        self.rng.permille(permille).then_some(at)
    }

    fn may_marry(&mut self, n: u32, permille: u32) {
        let at = self.rng.within(START + 60 * DAY, END - 90 * DAY);
        let origin = an_origin(&mut self.rng);
        let family = self.rng.pick_common(origin.family);
        let marries = self.rng.permille(permille);
        if let Some(person) = self.person_mut(n)
            && marries
            && !person.is_male
            && person.age_at_end() < 46
            && person.family != family
        {
            person.married = Some((at, family));
        }
    }

    /// All together, or one alone.
    fn move_house(&mut self) {
        let together = self.rng.permille(120).then(|| self.a_move(START));
        let again = self.rng.permille(150);
        let second = together.filter(|_| again).map(|(at, _)| self.a_move(at));
        for n in self.first..self.all.len() {
            let alone = (together.is_none() && self.rng.permille(40)).then(|| self.a_move(START));
            let Some(person) = self.all.get_mut(n) else { continue };
            let is_adult = person.age_at_end() >= 20;
            person.moves = [together.or(alone.filter(|_| is_adult)), second];
        }
    }

    fn a_move(&mut self, after: i64) -> (i64, Address) {
        let at = self.rng.within((after + 20 * DAY).min(END - 20 * DAY), END - 10 * DAY);
        (at, Address::draw(&mut self.rng))
    }

    fn set_kin(&mut self, of: u32, kin: u32, what: Kin) {
        if let Some(person) = self.person_mut(of) {
            person.kin = Some((kin, what));
        }
    }

    fn person(&self, n: u32) -> Option<&Person> {
        self.all.get(usize::try_from(n).ok()?)
    }

    fn person_mut(&mut self, n: u32) -> Option<&mut Person> {
        self.all.get_mut(usize::try_from(n).ok()?)
    }
}

fn an_origin(rng: &mut Rng) -> &'static Origin {
    let [first, ..] = &ORIGINS;
    ORIGINS.get(rng.weighted(ORIGINS.iter().map(|o| o.share))).unwrap_or(first)
}

fn index(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
