//! What happens to a person at one organisation, as the steps that its feeds tell of.

use crate::{
    calendar::{DAY, END, HOUR, MINUTE, START},
    chart::Chart,
    clinical::{CHILDRENS_WARD, CLINICS, CONSULTANTS, Coded, Consultant, DIAGNOSES, EMERGENCY, PANELS, WARDS, Ward},
    person::Person,
    rng::Rng,
};

/// One organisation's dealings with one person, in the order in which they are told.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) chart: Chart,
    /// A second registration.
    pub(crate) copy: Option<Chart>,
    pub(crate) visits: Vec<Visit>,
    pub(crate) steps: Vec<Step>,
    /// Index of an allergy, for those who have one.
    pub(crate) allergy: Option<u8>,
}

/// How an organisation tells of its people.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// Visits of a person in two years, by how often (weights of 0, 1, 2 ...).
    pub(crate) visits: [u32; 8],
    /// Registrations that are told by an A28, per thousand.
    pub(crate) registers: u32,
    /// Changes of a card that are told by an A31, per thousand; the others show in the next message.
    pub(crate) updates: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) number: u64,
    pub(crate) class: Class,
    /// Places in the order in which they were had: wards or a clinic, with the bed.
    pub(crate) places: Vec<(Ward, u8)>,
    pub(crate) consultant: Consultant,
    pub(crate) began: i64,
    pub(crate) ended: Option<i64>,
    pub(crate) diagnoses: [Option<Coded>; 2],
    pub(crate) is_planned: bool,
    pub(crate) died: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Inpatient,
    Emergency,
    Outpatient,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// When the message is sent.
    pub(crate) at: i64,
    /// When what it tells of happened.
    pub(crate) occurred: i64,
    /// About the second registration.
    pub(crate) is_copy: bool,
    pub(crate) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// A28.
    Register,
    /// A31.
    Update,
    /// A visit's event: its place in [`Life::visits`], its trigger, and the place in [`Visit::places`] at that time.
    Visit { visit: u8, trigger: Trigger, place: u8 },
    /// A40: the second registration goes into the first.
    Merge,
    /// ORU^R01.
    Report(Report),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trigger {
    Admit,
    Transfer,
    Discharge,
    Attend,
    PreAdmit,
    Revise,
    CancelAdmit,
    CancelTransfer,
    CancelDischarge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) order: u64,
    pub(crate) panel: u8,
    pub(crate) status: Status,
    pub(crate) drawn: i64,
    /// Decides the values.
    pub(crate) seed: u64,
    pub(crate) visit: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Preliminary,
    Final,
    Corrected,
}

impl Trigger {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Admit => "A01",
            Self::Transfer => "A02",
            Self::Discharge => "A03",
            Self::Attend => "A04",
            Self::PreAdmit => "A05",
            Self::Revise => "A08",
            Self::CancelAdmit => "A11",
            Self::CancelTransfer => "A12",
            Self::CancelDischarge => "A13",
        }
    }
}

impl Visit {
    pub(crate) fn place(&self, n: u8) -> (Ward, u8) {
        self.places.get(usize::from(n)).or(self.places.first()).copied().unwrap_or((EMERGENCY, 1))
    }
}

impl Life {
    /// The life that a patient administration system tells. `first_visit` numbers the person's first visit.
    pub(crate) fn draw(
        rng: &mut Rng,
        person: &Person,
        chart: Chart,
        copy: Option<Chart>,
        habits: &Habits,
        first_visit: u64,
    ) -> Self {
        let allergy = rng.permille(120).then(|| u8::try_from(rng.below(7)).unwrap_or_default());
        let mut life = Self { chart, copy, visits: Vec::new(), steps: Vec::new(), allergy };
        let registered = life.chart.registered;
        if rng.permille(habits.registers) {
            life.tell(registered, registered, false, What::Register);
        }
        for at in life.chart.changes().collect::<Vec<_>>() {
            if rng.permille(habits.updates) {
                life.tell(at, at - 5 * MINUTE, false, What::Update);
            }
        }
        let visits = rng.weighted(habits.visits.iter().copied()) + usize::from(person.age_at_end() > 70);
        let until = person.death.unwrap_or(END) - DAY;
        let mut from = registered + DAY;
        for n in 0..visits {
            let left = i64::try_from(visits - n).unwrap_or(1);
            let latest = from + (until - from).max(0) / left;
            let begins = at_a_desk(rng, rng_day(from, latest), person);
            if begins < until {
                from = life.visit(rng, person, begins, first_visit + n as u64).max(begins) + DAY;
            }
        }
        life.second_registration(rng);
        life = life.in_order(person);
        if life.steps.iter().all(|step| step.is_copy || step.what == What::Merge) {
            life.tell(registered, registered, false, What::Register);
        }
        life.in_order(person)
    }

    /// The reports of the laboratory that serves the same organisation.
    pub(crate) fn reports(mut self, rng: &mut Rng, person: &Person, first_order: u64) -> Self {
        self.steps.clear();
        let mut order = first_order;
        for n in 0..self.visits.len() {
            let Some(began) = self.visits.get(n).map(|v| v.began).filter(|_| rng.permille(650)) else { continue };
            for _ in 0..=rng.weighted([5, 4, 2].into_iter()) {
                let drawn = began + rng.within(20, 300) * MINUTE;
                self.report(rng, order, drawn, u8::try_from(n).ok());
                order += 1;
            }
        }
        // Asked for by the practice.
        for _ in 0..rng.weighted([5, 4, 3, 1].into_iter()) {
            let drawn = at_a_desk(rng, (self.chart.registered + DAY, END - DAY), person);
            if person.lives_at(drawn) {
                self.report(rng, order, drawn, None);
                order += 1;
            }
        }
        self.in_order(person)
    }

    /// The card that a step is about, as it is known under the step.
    pub(crate) fn chart_of(&self, step: &Step) -> &Chart {
        self.copy.as_ref().filter(|_| step.is_copy).unwrap_or(&self.chart)
    }

    /// Tells of one visit; returns its end.
    fn visit(&mut self, rng: &mut Rng, person: &Person, began: i64, number: u64) -> i64 {
        let n = u8::try_from(self.visits.len()).unwrap_or(u8::MAX);
        let class = match rng.below(100) {
            0..=37 => Class::Inpatient,
            38..=65 => Class::Emergency,
            _ => Class::Outpatient,
        };
        let is_planned = class == Class::Inpatient && rng.permille(350);
        let [first_ward, ..] = WARDS;
        let a_ward = |rng: &mut Rng| {
            let is_child = person.birth.years_until(crate::calendar::Day::at(began)) < 16;
            (if is_child { CHILDRENS_WARD } else { rng.pick(&WARDS, first_ward) }, bed(rng))
        };
        let places = match class {
            Class::Inpatient if is_planned => vec![a_ward(rng), a_ward(rng)],
            Class::Inpatient => vec![(EMERGENCY, bed(rng)), a_ward(rng), a_ward(rng)],
            Class::Emergency => vec![(EMERGENCY, bed(rng))],
            Class::Outpatient => vec![(rng.pick(&CLINICS, EMERGENCY), 0)],
        };
        let diagnoses = [class != Class::Outpatient, rng.permille(350)]
            .map(|is_coded| is_coded.then(|| rng.pick(&DIAGNOSES, Coded { code: "R69.X", text: "Unknown causes" })));
        let [first_consultant, ..] = CONSULTANTS;
        self.visits.push(Visit {
            number,
            class,
            places,
            consultant: rng.pick(&CONSULTANTS, first_consultant),
            began,
            ended: None,
            diagnoses,
            is_planned,
            died: false,
        });
        let ended = match class {
            Class::Inpatient => self.stay(rng, n, began, is_planned),
            _ => Some(self.attendance(rng, n, began)),
        };
        if let Some(visit) = self.visits.last_mut() {
            visit.ended = ended.filter(|_| class == Class::Inpatient);
        }
        ended.unwrap_or(began)
    }

    /// An admission, until the discharge; `None` where it was cancelled.
    fn stay(&mut self, rng: &mut Rng, visit: u8, began: i64, is_planned: bool) -> Option<i64> {
        let tell = |life: &mut Self, rng: &mut Rng, at: i64, trigger, place| {
            let what = What::Visit { visit, trigger, place };
            life.tell(at + rng.within(1, 50) * MINUTE, at, false, what);
        };
        if is_planned && began - 6 * DAY > self.chart.registered {
            let before = rng.within(1, 5) * DAY;
            tell(self, rng, began - before, Trigger::PreAdmit, 0);
        }
        tell(self, rng, began, Trigger::Admit, 0);
        if rng.permille(30) {
            tell(self, rng, began + HOUR, Trigger::CancelAdmit, 0);
            return None;
        }
        let mut now = began + rng.within(3, 12) * HOUR;
        let mut place = 0;
        if !is_planned || rng.permille(350) {
            place = 1;
            tell(self, rng, now, Trigger::Transfer, place);
            now += rng.within(6, 40) * HOUR;
        }
        if rng.permille(450) {
            tell(self, rng, now, Trigger::Revise, place);
            now += rng.within(2, 20) * HOUR;
        }
        if !is_planned && rng.permille(250) {
            tell(self, rng, now, Trigger::Transfer, 2);
            if rng.permille(150) {
                now += HOUR;
                tell(self, rng, now, Trigger::CancelTransfer, place);
            } else {
                place = 2;
            }
            now += rng.within(10, 60) * HOUR;
        }
        now += rng.within(4, 150) * HOUR;
        tell(self, rng, now, Trigger::Discharge, place);
        if rng.permille(40) {
            tell(self, rng, now + HOUR, Trigger::CancelDischarge, place);
            now += rng.within(18, 50) * HOUR;
            tell(self, rng, now, Trigger::Discharge, place);
        }
        Some(now)
    }

    fn attendance(&mut self, rng: &mut Rng, visit: u8, began: i64) -> i64 {
        let tell = |life: &mut Self, rng: &mut Rng, at: i64, trigger| {
            let what = What::Visit { visit, trigger, place: 0 };
            life.tell(at + rng.within(1, 20) * MINUTE, at, false, what);
        };
        tell(self, rng, began, Trigger::Attend);
        if rng.permille(350) {
            tell(self, rng, began + 2 * HOUR, Trigger::Revise);
        }
        began + 3 * HOUR
    }

    /// A second card, used once or twice and perhaps merged.
    fn second_registration(&mut self, rng: &mut Rng) {
        let Some(copy) = &self.copy else { return };
        let (began, merged) = (copy.registered, copy.merged);
        self.tell(began, began - 10 * MINUTE, true, What::Register);
        if let Some(merged) = merged {
            if rng.permille(400) {
                self.tell(began + (merged - began) / 2, began + (merged - began) / 2, true, What::Update);
            }
            self.tell(merged, merged, false, What::Merge);
        }
    }

    fn report(&mut self, rng: &mut Rng, order: u64, drawn: i64, visit: Option<u8>) {
        let panel = u8::try_from(rng.weighted([30, 30, 12, 10, 8, 6, 4].into_iter())).unwrap_or_default();
        debug_assert!(usize::from(panel) < PANELS.len());
        let seed = rng.next();
        let mut at = drawn;
        let tell = |life: &mut Self, at: i64, status| {
            life.tell(at, drawn, false, What::Report(Report { order, panel, status, drawn, seed, visit }));
        };
        if rng.permille(220) {
            at += rng.within(60, 240) * MINUTE;
            tell(self, at, Status::Preliminary);
        }
        at += rng.within(60, 1400) * MINUTE;
        tell(self, at, Status::Final);
        if rng.permille(40) {
            at += rng.within(1, 5) * DAY;
            tell(self, at, Status::Corrected);
        }
    }

    fn tell(&mut self, at: i64, occurred: i64, is_copy: bool, what: What) {
        self.steps.push(Step { at, occurred, is_copy, what });
    }

    /// What is told within the told time, in order. The dead are spoken of, but nothing happens to them.
    fn in_order(mut self, person: &Person) -> Self {
        let is_possible = |step: &Step| {
            !matches!(step.what, What::Visit { .. }) || person.death.is_none_or(|death| step.occurred <= death)
        };
        self.steps.retain(|step| (START..END).contains(&step.at) && is_possible(step));
        self.steps.sort_by_key(|step| step.at);
        self
    }
}

fn bed(rng: &mut Rng) -> u8 {
    u8::try_from(rng.below(28) + 1).unwrap_or(1)
}

fn rng_day(from: i64, to: i64) -> (i64, i64) {
    (from, to.max(from))
}

/// A moment between 8 and 20 o'clock on a day between the two.
fn at_a_desk(rng: &mut Rng, (from, to): (i64, i64), person: &Person) -> i64 {
    let from = from.max(person.birth.start());
    let days = ((to - from) / DAY).max(0);
    let midnight = (from / DAY + rng.within(0, days)) * DAY;
    (midnight + rng.within(8 * 60, 20 * 60) * MINUTE).max(from + HOUR)
}
