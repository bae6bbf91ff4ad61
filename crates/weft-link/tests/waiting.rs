//! Looking ahead changes no decision, however many records are looked at together, on however many threads, and whatever is
//! decided, merged, split, superseded, frozen and released in between.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod people;

use std::sync::LazyLock;

use people::{features, record};
use proptest::{collection::vec, prelude::*, sample::select};
use weft_link::{Decision, Index, Model, Register, TOGETHER, Waiting, decide};
use weft_model::{
    NhsNumber, Payload, PersonId, Pseudonym, SourceRecordId, Stream,
    proto::event::{
        Apart, NhsNumberSuperseded, NhsNumberSwitched, Placed, RecordsMerged, StewardDecided, StewardDecision,
    },
};
use weft_synth::{Linkage, LinkageRecord};

/// The shipped one, but for what the number of records weighs: it weighs from a few on, so that it changes within a batch.
static MODEL: LazyLock<Model> = LazyLock::new(|| {
    let mut model = people::MODEL.clone();
    (model.population_bits, model.population_bits_min, model.population_bits_registered) = (2, 0, 2);
    model
});

/// What happens to a linker.
#[derive(Debug, Clone)]
enum Step {
    /// A record says this.
    Say(u8, String),
    /// A steward places one record apart from another.
    Split(u8, u8),
    /// A steward takes the nth of the decisions back.
    Lift(usize),
    /// A steward places one record with another's person.
    Place(u8, u8),
    /// A sender merges one record into another.
    Merge(u8, u8),
    Supersede(String, String),
    Release(String),
}

/// So few that cross-checks pass, fail and are settled.
const NUMBERS: [&str; 3] = ["9990000018", "9990000026", "4010232137"];

/// Few people out of few parts; homes without a postcode too, which are counted.
fn line() -> impl Strategy<Value = String> {
    let numbers = select(vec!["", "", NUMBERS[0], NUMBERS[1], NUMBERS[2], "9990000019"]);
    let names =
        select(vec!["Li|Wei", "Okafor|Ann Mary", "Okafor|Ben", "Okafor|Bea", "Okafor-Li|Ann", "|Wei", "Okafor|Baby"]);
    let births = select(vec!["", "19800217", "19800218", "19801702", "1980", "20010911"]);
    let sexes = select(vec!["", "male", "female"]);
    let postcodes = select(vec!["", "W2 1NY", "SW6 1AA"]);
    (numbers, names, births, sexes, postcodes).prop_map(|(n, names, b, s, p)| format!("{n}|{names}|{b}|{s}|{p}"))
}

fn step() -> impl Strategy<Value = Step> {
    let number = || select(NUMBERS.to_vec()).prop_map(str::to_owned);
    let n = || 0u8..12;
    prop_oneof![
        12 => (n(), line()).prop_map(|(n, line)| Step::Say(n, line)),
        1 => (n(), n()).prop_map(|(one, other)| Step::Split(one, other)),
        1 => (0usize..4).prop_map(Step::Lift),
        1 => (n(), n()).prop_map(|(one, other)| Step::Place(one, other)),
        1 => (n(), n()).prop_map(|(one, other)| Step::Merge(one, other)),
        1 => (number(), number()).prop_map(|(one, other)| Step::Supersede(one, other)),
        1 => number().prop_map(Step::Release),
    ]
}

fn id(n: u8) -> SourceRecordId {
    SourceRecordId { organisation: "RYJ".to_owned(), system: "MRN".to_owned(), value: n.to_string() }
}

/// A register and all that was ever taken in.
#[derive(Default)]
struct Linker {
    register: Register,
    stream: Vec<u8>,
    taken: u64,
    decided: Vec<u64>,
}

impl Linker {
    fn take(&mut self, record: Option<Pseudonym>, event: &Payload) {
        self.register.take(self.taken, record, event).unwrap();
        self.taken += 1;
        self.stream.extend(event.encode());
    }

    /// One step after the other; with what was worked out of those that are about what a record says, where that is given.
    fn do_steps(&mut self, steps: &[Step], waiting: Option<Vec<Waiting>>) {
        let mut waiting = waiting.map(Vec::into_iter);
        for step in steps {
            let Step::Say(n, line) = step else {
                self.event(step);
                continue;
            };
            let events = match &mut waiting {
                None => {
                    self.register.put(record(*n), features(line));
                    self.register.rule(record(*n), &id(*n), &MODEL)
                }
                Some(waiting) => {
                    let mut waiting = waiting.next().unwrap();
                    self.register.hear(&mut waiting);
                    self.register.rule_heard(waiting, &id(*n), &MODEL)
                }
            };
            for event in events {
                self.take(Some(record(*n)), &event);
            }
        }
    }

    fn event(&mut self, step: &Step) {
        let person = |linker: &Self, n: u8| linker.register.index().person_of(record(n));
        match step {
            Step::Say(..) => {}
            Step::Split(one, other) if one != other => {
                let to = PersonId::split_off(record(*one), self.taken);
                let apart = Apart { left: vec![record(*one).to_vec()], right: vec![record(*other).to_vec()] };
                self.steward(*one, to, vec![apart], None);
            }
            Step::Place(one, other) => {
                if let Some(to) = person(self, *other) {
                    self.steward(*one, to, Vec::new(), None);
                }
            }
            Step::Lift(n) => {
                if let (Some(at), Some(to)) = (self.decided.get(*n).copied(), person(self, 0)) {
                    self.steward(0, to, Vec::new(), Some(at));
                }
            }
            Step::Merge(one, other) => {
                let merged = RecordsMerged {
                    survivor: Some(id(*other)),
                    retired: Some(id(*one)),
                    survivor_pseudonym: record(*other).to_vec(),
                    retired_pseudonym: record(*one).to_vec(),
                };
                self.take(Some(record(*one)), &Payload::RecordsMerged(merged));
            }
            Step::Supersede(old, new) => {
                let told = NhsNumberSuperseded {
                    superseded: old.clone(),
                    retained: new.clone(),
                    ..NhsNumberSuperseded::default()
                };
                self.take(None, &Payload::NhsNumberSuperseded(told));
            }
            Step::Release(number) => {
                let holders = self.register.holders(NhsNumber::parse(number).unwrap());
                let holders = holders.iter().map(Pseudonym::to_vec).collect();
                let told = NhsNumberSwitched { nhs_number: number.clone(), holders, ..NhsNumberSwitched::default() };
                self.take(None, &Payload::NhsNumberReleased(told));
            }
            Step::Split(..) => {}
        }
    }

    fn steward(&mut self, n: u8, to: PersonId, apart: Vec<Apart>, lifted: Option<u64>) {
        let previous = self.register.index().person_of(record(n)).map(|person| person.to_vec()).unwrap_or_default();
        let decided = StewardDecided {
            decision: StewardDecision::Split.into(),
            placed: vec![Placed { record: record(n).to_vec(), person: to.to_vec(), previous }],
            apart,
            lifted: lifted.iter().map(|at| Stream::Identity.partition(0).at(*at).to_proto()).collect(),
            ..StewardDecided::default()
        };
        self.decided.push(self.taken);
        self.take(None, &Payload::StewardDecided(decided));
    }

    /// What can be known of each step's record as of now, on so many threads.
    fn look_ahead(&self, steps: &[Step], threads: usize) -> Vec<Waiting> {
        let read = |step: &Step| match step {
            Step::Say(n, line) => Some(Waiting::new(record(*n), features(line))),
            _ => None,
        };
        let mut waiting: Vec<Waiting> = steps.iter().filter_map(read).collect();
        look_ahead(self.register.index(), &mut waiting, threads);
        waiting
    }
}

fn look_ahead(index: &Index, waiting: &mut [Waiting], threads: usize) {
    let size = waiting.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        for part in waiting.chunks_mut(size) {
            scope.spawn(|| part.chunks_mut(TOGETHER).for_each(|waiting| index.look_ahead(waiting, &MODEL)));
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn decisions_are_the_same_byte_for_byte(
        steps in vec(step(), 1..120),
        size in 1usize..40,
        threads in 1usize..=2,
    ) {
        let mut plain = Linker::default();
        plain.do_steps(&steps, None);
        let mut linker = Linker::default();
        for batch in steps.chunks(size) {
            let waiting = linker.look_ahead(batch, threads);
            linker.do_steps(batch, Some(waiting));
        }
        prop_assert_eq!(plain.taken, linker.taken);
        prop_assert_eq!(plain.stream, linker.stream);
    }
}

/// What is decided on records as they arrive, put, found and decided on one after the other.
fn decisions_alone(told: &[(Pseudonym, LinkageRecord)]) -> Vec<Decision> {
    let mut index = Index::new();
    let decide = |(record, told): &(Pseudonym, LinkageRecord)| {
        let current = index.person_of(*record);
        index.put(*record, read(told));
        let features = index.features(*record).unwrap();
        let decision = decide(*record, features, current, &index.candidates(features), index.setting(), &MODEL);
        index.apply(*record, &decision);
        decision
    };
    told.iter().map(decide).collect()
}

/// The same where so many wait, and are looked ahead at on so many threads.
fn decisions(told: &[(Pseudonym, LinkageRecord)], together: usize, threads: usize) -> Vec<Decision> {
    let mut index = Index::new();
    let mut decisions = Vec::new();
    for told in told.chunks(together) {
        let mut waiting: Vec<Waiting> = told.iter().map(|(record, told)| Waiting::new(*record, read(told))).collect();
        look_ahead(&index, &mut waiting, threads);
        for waiting in waiting {
            let record = waiting.record();
            let decision = index.hear(waiting, &MODEL);
            index.apply(record, &decision);
            decisions.push(decision);
        }
    }
    decisions
}

fn read(told: &LinkageRecord) -> weft_link::Features {
    weft_link::Features::from_demographics(&told.demographics, &people::DEMO)
}

/// Eight thousand people as they arrive: also where the number of records crosses the powers of two that weights depend on, and
/// some records tell a second time, of other people.
#[test]
fn a_population_is_decided_on_the_same_however_many_wait() {
    let pseudonym = |n: usize| Pseudonym((u128::from(n as u64 % 16_000) * 0x9e37_79b9_7f4a_7c15_f39c).to_be_bytes());
    let population = Linkage::generate(7, 8000);
    let told: Vec<_> = population.records().enumerate().map(|(n, told)| (pseudonym(n), told)).collect();
    let alone = decisions_alone(&told);
    assert!(alone.iter().any(|decision| !decision.joins.is_empty()));
    assert!(alone.iter().any(|decision| decision.previous.is_some()));
    for (together, threads) in [(1, 1), (TOGETHER, 1), (256, 1), (256, 2), (5000, 2)] {
        let decided = decisions(&told, together, threads);
        let first = decided.iter().zip(&alone).position(|(one, other)| one != other);
        assert_eq!(first, None, "{together} on {threads}: the first that differs");
        assert_eq!(decided.len(), alone.len());
    }
}

/// What an NHS number counts as may change while a record that states it waits.
#[test]
fn a_number_that_is_superseded_meanwhile_counts_as_the_one_that_it_became() {
    let [old, retained] = ["9990000026", "9990000018"].map(|number| NhsNumber::parse(number).unwrap());
    let mut index = Index::new();
    index.put(record(1), features("9990000018|Okafor|Ann|19800217|female|W2 1NY"));
    index.link(record(1), PersonId::started_by(record(1)));
    let mut waiting = [Waiting::new(record(2), features("9990000026|Nwosu|Ann||female|"))];
    index.look_ahead(&mut waiting, &MODEL);
    index.supersede(old, retained);
    let [waiting] = waiting;
    let decision = index.hear(waiting, &MODEL);
    assert_eq!(index.features(record(2)).unwrap().nhs_number(), Some(retained));
    assert_eq!(decision.others.first().map(|(person, _)| *person), index.person_of(record(1)));
}
