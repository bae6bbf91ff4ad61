//! Records that wait for their turn are read before it: that changes nothing.

#![allow(clippy::unwrap_used, reason = "all of it is a test")]

mod people;

use people::{DEMO, MODEL, features, record};
use weft_link::{Decision, Features, Index, TOGETHER, Waiting, decide};
use weft_model::{NhsNumber, Pseudonym};
use weft_synth::{Linkage, LinkageRecord};

fn pseudonym(told: &LinkageRecord) -> Pseudonym {
    Pseudonym((u128::from(told.person) << 8 | u128::from(told.turn)).to_be_bytes())
}

/// Decisions on all records, so many of them read at once.
fn decisions(told: &[LinkageRecord], together: usize) -> Vec<Decision> {
    let mut index = Index::new();
    let mut decisions = Vec::new();
    for told in told.chunks(together) {
        let read = |told: &LinkageRecord| Features::from_demographics(&told.demographics, &DEMO);
        let waiting: Vec<Waiting> = told.iter().map(|told| Waiting::new(pseudonym(told), read(told))).collect();
        index.touch(&waiting);
        for waiting in waiting {
            let record = waiting.record();
            let (features, candidates, setting) = index.hear(waiting);
            let decision = decide(record, features, None, &candidates, setting, &MODEL);
            index.apply(record, &decision);
            decisions.push(decision);
        }
    }
    decisions
}

/// Put, found and decided on one after the other.
fn decisions_alone(told: &[LinkageRecord]) -> Vec<Decision> {
    let mut index = Index::new();
    let decide = |told: &LinkageRecord| {
        let record = pseudonym(told);
        index.put(record, Features::from_demographics(&told.demographics, &DEMO));
        let features = index.features(record).unwrap();
        let decision = decide(record, features, None, &index.candidates(features), index.setting(), &MODEL);
        index.apply(record, &decision);
        decision
    };
    told.iter().map(decide).collect()
}

#[test]
fn however_many_wait_the_decisions_are_the_same() {
    let told: Vec<LinkageRecord> = Linkage::generate(4, 3000).records().collect();
    let alone = decisions_alone(&told);
    assert!(alone.iter().any(|decision| !decision.joins.is_empty()));
    for together in [1, TOGETHER, 1000] {
        assert!(decisions(&told, together) == alone, "{together}");
    }
}

/// What an NHS number counts as may change while a record that states it waits.
#[test]
fn a_number_that_is_superseded_meanwhile_counts_as_the_one_that_it_became() {
    let [old, retained] = ["9990000026", "9990000018"].map(|number| NhsNumber::parse(number).unwrap());
    let mut index = Index::new();
    index.hear(Waiting::new(record(1), features("9990000018|Okafor|Ann|19800217|female|W2 1NY")));
    let decision = decide(record(1), index.features(record(1)).unwrap(), None, &[], index.setting(), &MODEL);
    index.apply(record(1), &decision);
    let waiting = Waiting::new(record(2), features("9990000026|Nwosu|Ann||female|"));
    index.touch(std::slice::from_ref(&waiting));
    index.supersede(old, retained);
    let (features, candidates, _) = index.hear(waiting);
    assert_eq!(features.nhs_number(), Some(retained));
    assert!(candidates.iter().any(|candidate| candidate.record == record(1)));
}
