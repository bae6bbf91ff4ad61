//! The truth: people by the households they live in.

use weft_model::NhsNumber;

use super::names::Names;
use crate::{
    calendar::{Day, END},
    numbers::Numbers,
    rng::Rng,
};

/// One human being. Names and homes are small numbers: there may be millions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Human {
    pub(crate) number: NhsNumber,
    pub(crate) birth: Day,
    pub(crate) is_male: bool,
    pub(crate) family: u16,
    pub(crate) given: u16,
    pub(crate) middle: Option<u16>,
    pub(crate) home: u32,
    /// Where they have lived since some record.
    pub(crate) moved_to: Option<u32>,
    /// Their family name since some record.
    pub(crate) married: Option<u16>,
    pub(crate) twin: Option<u32>,
    /// People of one household may have one telephone.
    pub(crate) phone: u32,
}

/// Residents of a care home.
const CARE_HOME: usize = 50;

/// Draws one household and adds its people.
pub(crate) fn draw(rng: &mut Rng, names: &Names, numbers: &mut Numbers, dwelling: &mut u32, people: &mut Vec<Human>) {
    let first = people.len();
    let mut home = Home { rng, names, numbers, people, dwelling: *dwelling };
    match home.rng.below(1000) {
        0..=1 => (0..CARE_HOME).for_each(|_| home.alone(70, 99)),
        2..=299 => home.alone(19, 95),
        300..=519 => {
            home.couple(22, 92);
        }
        520..=939 => home.family(),
        _ => (0..4).for_each(|_| home.alone(18, 35)),
    }
    *dwelling += 1;
    let moves_together = rng.permille(110).then(|| take(dwelling));
    for person in people.iter_mut().skip(first) {
        let alone = rng.permille(40).then(|| take(dwelling));
        person.moved_to = moves_together.or(alone);
    }
}

fn take(dwelling: &mut u32) -> u32 {
    *dwelling += 1;
    *dwelling - 1
}

struct Home<'a> {
    rng: &'a mut Rng,
    names: &'a Names,
    numbers: &'a mut Numbers,
    people: &'a mut Vec<Human>,
    dwelling: u32,
}

impl Home<'_> {
    fn alone(&mut self, from: i64, to: i64) {
        let community = Names::a_community(self.rng);
        let family = self.names.a_family(self.rng, community);
        let is_male = self.rng.permille(490);
        let birth = self.a_birth(from, to);
        let n = self.add(community, is_male, family, birth);
        if !is_male && self.rng.permille(60) {
            let married = self.names.a_family(self.rng, community);
            self.change(n, |person| person.married = Some(married));
        }
    }

    fn couple(&mut self, from: i64, to: i64) -> (usize, usize, usize) {
        let community = Names::a_community(self.rng);
        let his = self.names.a_family(self.rng, community);
        let birth = self.a_birth(from, to);
        let husband = self.add(community, true, his, birth);
        let hers = if self.rng.permille(700) { his } else { self.names.a_family(self.rng, community) };
        let birth = Day(birth.0 + self.rng.within(-2500, 2500));
        let wife = self.add(community, false, hers, birth);
        (community, husband, wife)
    }

    fn family(&mut self) {
        let (community, father, mother) = self.couple(24, 50);
        let family = self.people.get(father).map_or(0, |person| person.family);
        let born = self.people.get(mother).map_or(Day(0), |person| person.birth);
        let mut last = Day::at(END);
        for _ in 0..self.rng.within(1, 4) {
            let birth = Day(last.0 - self.rng.within(300, 1600));
            if birth.0 - born.0 < 18 * 365 {
                break;
            }
            last = birth;
            self.birth(community, family, birth, father);
        }
    }

    /// One child, now and then two.
    fn birth(&mut self, community: usize, family: u16, birth: Day, father: usize) {
        let is_male = self.rng.permille(512);
        let child = self.add(community, is_male, family, birth);
        if self.rng.permille(17) {
            let is_other_male = if self.rng.permille(650) { is_male } else { !is_male };
            let twin = self.add(community, is_other_male, family, birth);
            let numbers = self.rng.permille(700).then(|| self.numbers.two_in_a_row());
            for (n, other, place) in [(child, twin, 0), (twin, child, 1)] {
                let number = numbers.and_then(|pair| pair.get(place).copied());
                self.change(n, |person| {
                    person.twin = u32::try_from(other).ok();
                    person.number = number.unwrap_or(person.number);
                });
            }
        } else if is_male && self.rng.permille(40) {
            let Some((given, middle)) = self.people.get(father).map(|person| (person.given, person.middle)) else {
                return;
            };
            self.change(child, |person| (person.given, person.middle) = (given, middle));
        }
    }

    /// Nobody of a household has another's given name, but a son his father's; residents of a care home may.
    fn add(&mut self, community: usize, is_male: bool, family: u16, birth: Day) -> usize {
        let mut given = self.names.a_given(self.rng, community, is_male);
        let near = self.people.len().saturating_sub(8);
        for _ in 0..8 {
            let home = self.dwelling;
            if !self.people.iter().skip(near).any(|person| person.home == home && person.given == given) {
                break;
            }
            given = self.names.a_given(self.rng, community, is_male);
        }
        let middle = self.rng.permille(450).then(|| self.names.a_given(self.rng, community, is_male));
        let number = self.numbers.one();
        let phone = if self.rng.permille(250) {
            self.dwelling
        } else {
            u32::try_from(self.people.len()).unwrap_or(0) | 1 << 31
        };
        self.people.push(Human {
            number,
            birth,
            is_male,
            family,
            given,
            middle,
            home: self.dwelling,
            moved_to: None,
            married: None,
            twin: None,
            phone,
        });
        self.people.len() - 1
    }

    fn a_birth(&mut self, from: i64, to: i64) -> Day {
        Day(Day::at(END).0 - self.rng.within(from * 365, to * 365))
    }

    fn change(&mut self, n: usize, change: impl FnOnce(&mut Human)) {
        if let Some(person) = self.people.get_mut(n) {
            change(person);
        }
    }
}
