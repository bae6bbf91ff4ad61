//! Fifty thousand people of a place like London, with all that makes linking hard; and that hearing them again decides the
//! same.

#![allow(clippy::unwrap_used, reason = "all of it is a test")]

use std::collections::HashMap;

use weft_link::{
    Decision, Features, Index, Model, Options, decide,
    labelled::{Record, Truth, run},
};
use weft_model::{PersonId, Pseudonym};
use weft_synth::{Linkage, LinkageRecord};

const DEMO: Options = Options { test_numbers_are_evidence: true };

fn records(told: &[LinkageRecord]) -> Vec<Record> {
    let name = |told: &LinkageRecord| format!("{}-{}", told.person, told.turn);
    told.iter().map(|told| Record::new(name(told), told.person.to_string(), told.demographics.clone())).collect()
}

#[track_caller]
fn check(seed: u64, people: usize) {
    let population = Linkage::generate(seed, people);
    let told: Vec<LinkageRecord> = population.records().collect();
    let records = records(&told);
    let truth = Truth::from_labels(&records).unwrap();
    let run = run(&records, &DEMO, &Model::shipped().unwrap());
    let figures = run.figures(&truth);
    let shown = format!("{figures:?} {:.5} {:.5}", figures.precision(), figures.recall());
    assert!(figures.mixed_per_100_000() <= 2.0, "{shown}");
    assert!(figures.recall() >= 0.98, "{shown}");
    assert!(figures.review_rate() <= 0.01, "{shown}");
    assert!(figures.overlays > figures.records / 2000, "{shown}");
    assert!(figures.overlays_flagged * 100 >= figures.overlays * 95, "{shown}");
    // Nobody is one person with their twin.
    let persons: HashMap<u32, PersonId> = told.iter().map(|r| r.person).zip(run.persons.iter().copied()).collect();
    let mut twins = 0;
    for (record, person) in told.iter().zip(&run.persons) {
        if let Some(twin) = population.twin(record.person) {
            twins += 1;
            assert_ne!(persons.get(&twin), Some(person), "{} and {twin}", record.person);
        }
    }
    assert!(twins > people / 100, "{twins}");
}

#[test]
fn few_persons_are_mixed_and_most_are_whole() {
    check(1, 50_000);
}

/// As councils' files are: what has no birth date is linked by a number that the names bear out, or waits for people to look.
#[test]
fn where_every_third_birth_date_is_missing_numbers_link_and_nobody_is_mixed() {
    let mut told: Vec<LinkageRecord> = Linkage::generate(3, 10_000).records().collect();
    told.iter_mut().step_by(3).for_each(|told| told.demographics.birth = None);
    let records = records(&told);
    let run = run(&records, &DEMO, &Model::shipped().unwrap());
    let figures = run.figures(&Truth::from_labels(&records).unwrap());
    let shown = format!("{figures:?} {:.5} {:.5}", figures.precision(), figures.recall());
    assert!(figures.mixed_persons == 0 && figures.overlays_flagged == figures.overlays, "{shown}");
    assert!(
        figures.recall() >= 0.94
            && figures.right_pairs + figures.missed_pairs_in_review > figures.true_pairs * 98 / 100,
        "{shown}"
    );
}

/// A linker: decides, and remembers.
struct Linker {
    index: Index,
    model: Model,
}

impl Linker {
    fn hear(&mut self, record: &Record) -> Decision {
        let pseudonym = record.pseudonym();
        self.index.put(pseudonym, Features::from_demographics(&record.demographics, &DEMO));
        let features = self.index.features(pseudonym).unwrap();
        let candidates = self.index.candidates(features);
        let decision = decide(pseudonym, features, None, &candidates, self.index.setting(), &self.model);
        self.index.apply(pseudonym, &decision);
        decision
    }
}

fn new_linker() -> Linker {
    Linker { index: Index::new(), model: Model::shipped().unwrap() }
}

#[test]
fn hearing_again_decides_the_same() {
    let told: Vec<LinkageRecord> = Linkage::generate(2, 4000).records().collect();
    let records = records(&told);
    let hear = || {
        let mut linker = new_linker();
        records.iter().map(|record| linker.hear(record)).collect::<Vec<Decision>>()
    };
    let first = hear();
    assert!(first.iter().any(|decision| !decision.joins.is_empty()));
    let others: Vec<_> = std::thread::scope(|threads| {
        let two = [threads.spawn(hear), threads.spawn(hear)];
        two.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(others.iter().all(|other| *other == first));
}

/// A linker that fails is followed by one that knows what was said and who was linked: its decisions are the same.
#[test]
fn a_snapshot_and_the_tail_decide_the_same() {
    let told: Vec<LinkageRecord> = Linkage::generate(3, 4000).records().collect();
    let records = records(&told);
    for half in [1, records.len() / 2, records.len() - 100] {
        let (before, after) = records.split_at(half);
        let mut linker = new_linker();
        before.iter().for_each(|record| drop(linker.hear(record)));
        let mut follower = new_linker();
        // In another order, for a store keeps none.
        for record in before.iter().rev() {
            follower.index.put(record.pseudonym(), Features::from_demographics(&record.demographics, &DEMO));
        }
        for record in before {
            let person = linker.index.person_of(record.pseudonym()).unwrap();
            follower.index.link(record.pseudonym(), person);
        }
        for record in after {
            assert_eq!(follower.hear(record), linker.hear(record), "{}", record.id);
        }
        let persons = |linker: &Linker| -> Vec<Option<PersonId>> {
            let of = |record: &Record| -> Pseudonym { record.pseudonym() };
            records.iter().map(|record| linker.index.person_of(of(record))).collect()
        };
        assert_eq!(persons(&follower), persons(&linker));
    }
}
