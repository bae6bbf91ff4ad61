//! Messages for benchmarks: many plain ones, and one long life.

use crate::{
    calendar::{DAY, END, HOUR, MINUTE, START},
    clinical::{CLINICS, CONSULTANTS, Coded, EMERGENCY, WARDS},
    feed::{RQM_PAS, RYJ_LAB, RYJ_PAS},
    life::{Class, Life, Report, Status, Step, Trigger, Visit, What},
    messages::{SynthMessage, message},
    population::Population,
    rng::Rng,
};

/// `count` messages of about 1 to 2 KiB about `people` people for [`crate::bench_feed`], each control id once: 60 % ADT
/// (A28, then A01, A02, A08, A03 and A31 in turn) and 40 % ORU with five results. Nothing in them is wrong.
pub fn bench_messages(seed: u64, count: usize, people: usize) -> impl Iterator<Item = Vec<u8>> {
    let population = Population::generate(seed, people.max(1));
    let mut told = vec![0u32; population.len()];
    let mut rng = Rng::of(seed, &[BENCH]);
    let step = (END - START) / i64::try_from(count.max(1)).unwrap_or(i64::MAX);
    (0..count).filter_map(move |n| {
        let index = rng.below(population.len() as u64);
        let at = START + step * i64::try_from(n).unwrap_or_default();
        let is_report = rng.below(10) < 4;
        let turn = told.get_mut(usize::try_from(index).ok()?)?;
        let this = *turn;
        *turn += u32::from(!is_report);
        let index = u32::try_from(index).ok()?;
        let (feed, life) = if is_report {
            let order = n as u64 + 1;
            let report = Report { order, panel: 1, status: Status::Final, drawn: at, seed: rng.next(), visit: None };
            (RYJ_LAB, life(&population, RYJ_PAS, index, Vec::new(), vec![a_step(at, What::Report(report))])?)
        } else {
            (RYJ_PAS, movement(&population, index, this, at)?)
        };
        let told = (index, &life, life.steps.first()?);
        Some(message(&population, feed, told, &format!("B{n:09}"), n as u64 + 1)?.bytes)
    })
}

/// Messages, each with the feed that sends it, that give one person at least `entries` timeline entries at two
/// organisations. It is the first adult at or after `person` of the population of `seed`; [`SynthMessage::person`] says
/// who. Control ids are unlike those of [`Population::messages`].
#[must_use]
pub fn long_history(seed: u64, person: u32, entries: usize) -> Vec<(usize, SynthMessage)> {
    let population = Population::generate(seed, usize::try_from(person).unwrap_or_default() + 20);
    let is_adult = |n: &u32| population.person(*n).is_some_and(|p| p.age_at_end() > 21 && p.death.is_none());
    let Some(index) = (person..person + 20).find(is_adult) else { return Vec::new() };
    // An attendance, eight results and an admission with its discharge: eleven lines and more.
    let rounds = i64::try_from(entries / 8 + 1).unwrap_or(1);
    let step = (END - START - 20 * DAY) / rounds;
    let mut told = Vec::new();
    for n in 0..rounds {
        round(&population, index, n, START + DAY + step * n, &mut told);
    }
    told
}

const BENCH: u64 = 6;

fn round(population: &Population, index: u32, n: i64, at: i64, told: &mut Vec<(usize, SynthMessage)>) {
    let number = u64::try_from(n).unwrap_or_default() + 1;
    let visit = |trigger| What::Visit { visit: 0, trigger, place: 0 };
    let report =
        Report { order: 900_000_000 + number, panel: 0, status: Status::Final, drawn: at, seed: number, visit: None };
    let steps = [
        (RYJ_PAS, Class::Outpatient, a_step(at, visit(Trigger::Attend))),
        (RYJ_LAB, Class::Outpatient, a_step(at + 4 * HOUR, What::Report(report))),
        (RQM_PAS, Class::Inpatient, a_step(at + DAY, visit(Trigger::Admit))),
        (RQM_PAS, Class::Inpatient, a_step(at + 3 * DAY, visit(Trigger::Discharge))),
    ];
    for (k, (feed, class, step)) in (1..).zip(steps) {
        let began = if class == Class::Inpatient { at + DAY } else { at };
        let visits = vec![a_visit(9_000_000 + number, class, began)];
        let Some(life) = life(population, feed, index, visits, vec![step]) else { continue };
        let sequence = number * 4 + k;
        let written = message(population, feed, (index, &life, &step), &format!("H{index}-{sequence}"), sequence);
        told.extend(written.map(|m| (feed, m)));
    }
}

/// The n-th thing told of a person: registered once, then one admission after the other.
fn movement(population: &Population, index: u32, n: u32, at: i64) -> Option<Life> {
    let visit = n.saturating_sub(1) / 5;
    let what = match n.checked_sub(1).map(|n| n % 5) {
        None => What::Register,
        Some(0) => What::Visit { visit: 0, trigger: Trigger::Admit, place: 0 },
        Some(1) => What::Visit { visit: 0, trigger: Trigger::Transfer, place: 1 },
        Some(2) => What::Visit { visit: 0, trigger: Trigger::Revise, place: 1 },
        Some(3) => What::Visit { visit: 0, trigger: Trigger::Discharge, place: 1 },
        Some(_) => What::Update,
    };
    // Begun some time before, the same for all its messages.
    let began = START + i64::from(visit) * DAY + i64::from(index % 1000) * MINUTE;
    let visits = vec![a_visit(u64::from(index) * 1000 + u64::from(visit) + 1, Class::Inpatient, began.min(at))];
    life(population, RYJ_PAS, index, visits, vec![a_step(at, what)])
}

/// A life of which nothing but this is told, on a card without mistakes.
fn life(population: &Population, feed: usize, index: u32, visits: Vec<Visit>, steps: Vec<Step>) -> Option<Life> {
    let chart = population.faultless_chart(feed, index)?;
    Some(Life { chart, copy: None, visits, steps, allergy: Some(u8::try_from(index % 7).unwrap_or_default()) })
}

fn a_step(at: i64, what: What) -> Step {
    Step { at, occurred: at - 4 * MINUTE, is_copy: false, what }
}

fn a_visit(number: u64, class: Class, began: i64) -> Visit {
    let pick = usize::try_from(number).unwrap_or_default();
    let [clinic, ..] = CLINICS;
    let [ward, ..] = WARDS;
    let [consultant, ..] = CONSULTANTS;
    let place = match class {
        Class::Outpatient => CLINICS.get(pick % CLINICS.len()).copied().unwrap_or(clinic),
        Class::Emergency => EMERGENCY,
        Class::Inpatient => WARDS.get(pick % WARDS.len()).copied().unwrap_or(ward),
    };
    let bed = if class == Class::Outpatient { 0 } else { 4 };
    Visit {
        number,
        class,
        places: vec![(place, bed), (ward, 12)],
        consultant: CONSULTANTS.get(pick % CONSULTANTS.len()).copied().unwrap_or(consultant),
        began,
        ended: None,
        diagnoses: [Some(Coded { code: "J18.9", text: "Pneumonia, unspecified" }), None],
        is_planned: false,
        died: false,
    }
}
