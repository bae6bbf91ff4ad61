//! What stewards and senders say, against what scores say.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod people;

use people::{MODEL, features, record};
use proptest::prelude::*;
use weft_link::{Register, first_person};
use weft_model::{
    Payload, PersonId, Pseudonym, SourceRecordId, Stream,
    proto::event::{
        Apart, LinkMethod, NhsNumberSuperseded, NhsNumberSwitched, Placed, RecordLinked, RecordsMerged,
        RecordsUnlinked, StewardDecided, StewardDecision,
    },
};

/// The linker's part of a node in small, with its stream.
#[derive(Default)]
struct Linker {
    register: Register,
    stream: Vec<Payload>,
}

impl Linker {
    /// A message about record `n` that says `line`; returns what was decided.
    fn hear(&mut self, n: u8, line: &str) -> Vec<Payload> {
        self.register.put(record(n), features(line));
        self.again(n)
    }

    fn take(&mut self, record: Option<Pseudonym>, event: Payload) {
        self.register.take(self.stream.len() as u64, record, &event).unwrap();
        self.stream.push(event);
    }

    /// Decides on a record as if it had said something new.
    fn again(&mut self, n: u8) -> Vec<Payload> {
        let events = self.register.rule(record(n), &id(n), &MODEL);
        for event in &events {
            self.take(Some(record(n)), event.clone());
        }
        events
    }

    /// A steward releases a number, having seen all that state it.
    fn release(&mut self, number: &str) {
        let holders = self.register.holders(number.parse_number()).iter().map(Pseudonym::to_vec).collect();
        let released = NhsNumberSwitched { nhs_number: number.to_owned(), holders, ..NhsNumberSwitched::default() };
        self.take(None, Payload::NhsNumberReleased(released));
    }

    fn supersede(&mut self, superseded: &str, retained: &str) {
        let told = NhsNumberSuperseded {
            superseded: superseded.to_owned(),
            retained: retained.to_owned(),
            ..NhsNumberSuperseded::default()
        };
        self.take(None, Payload::NhsNumberSuperseded(told));
    }

    fn person(&self, n: u8) -> PersonId {
        self.register.index().person_of(record(n)).unwrap()
    }

    /// Says of each record where it belongs, and who must not meet; returns the decision's offset.
    fn decide(&mut self, placed: &[(u8, PersonId)], left: &[u8], right: &[u8], lifted: &[u64]) -> u64 {
        let ids = |records: &[u8]| records.iter().map(|n| record(*n).to_vec()).collect();
        let placed = placed.iter().map(|(n, person)| Placed {
            record: record(*n).to_vec(),
            person: person.to_vec(),
            previous: Vec::new(),
        });
        let decided = StewardDecided {
            decision: StewardDecision::Split.into(),
            placed: placed.collect(),
            apart: if left.is_empty() { vec![] } else { vec![Apart { left: ids(left), right: ids(right) }] },
            lifted: lifted.iter().map(|at| Stream::Identity.partition(0).at(*at).to_proto()).collect(),
            settled: ids(left),
            ..StewardDecided::default()
        };
        let at = self.stream.len() as u64;
        self.take(None, Payload::StewardDecided(decided));
        at
    }
}

fn id(n: u8) -> SourceRecordId {
    SourceRecordId { organisation: "RYJ".to_owned(), system: "MRN".to_owned(), value: n.to_string() }
}

fn reviews(events: &[Payload]) -> Vec<&str> {
    let codes = events.iter().flat_map(|event| match event {
        Payload::RecordLinked(linked) => linked.review.as_slice(),
        Payload::ReviewAsked(asked) => &asked.decision.as_ref().unwrap().review,
        _ => &[],
    });
    codes.map(String::as_str).collect()
}

const ANN: &str = "9990000018|Okafor|Ann Mary|19800217|female|W2 1NY";

#[test]
fn what_a_steward_has_split_stays_apart_and_a_record_that_fits_both_is_asked_about() {
    let mut linker = Linker::default();
    for n in [1, 2, 3] {
        linker.hear(n, ANN);
        assert_eq!(linker.person(n), first_person(record(1)));
    }
    let (stays, leaves) = (first_person(record(1)), PersonId::split_off(record(3), 3));
    let split = linker.decide(&[(1, stays), (2, stays), (3, leaves)], &[3], &[1, 2], &[]);
    // The same again, and more than before: no score brings them together.
    for n in [3, 1, 2] {
        assert!(linker.hear(n, "9990000018|Okafor|Ann|19800217|female|W2 1NX").is_empty(), "{n}");
    }
    assert_eq!((linker.person(1), linker.person(2), linker.person(3)), (stays, stays, leaves));
    // D agrees with both.
    let told = linker.hear(4, ANN);
    assert_eq!(linker.person(4), first_person(record(4)));
    assert!(!reviews(&told).is_empty(), "{told:?}");
    // Undone: C is where it was, and may be linked with.
    linker.decide(&[(3, stays)], &[], &[], &[split]);
    assert_eq!(linker.person(3), stays);
    assert!(!linker.register.are_apart(stays, leaves) && !linker.register.is_apart(record(3), stays));
}

#[test]
fn a_record_that_fits_one_side_far_better_is_still_asked_about() {
    let mut linker = Linker::default();
    linker.hear(1, "9990000018|Okafor|Ann|19800217|female|W2 1NY");
    linker.hear(2, "9990000018|Okafor|Ann|19810217||");
    let (one, other) = (linker.person(1), PersonId::split_off(record(2), 2));
    linker.decide(&[(1, one), (2, other)], &[1], &[2], &[]);
    let told = linker.hear(3, "9990000018|Okafor|Ann|19800217|female|W2 1NY");
    assert_eq!(reviews(&told), ["persons-kept-apart-agree"]);
    assert_eq!(linker.person(3), first_person(record(3)));
    let Some(Payload::RecordLinked(linked)) = told.first() else { panic!("{told:?}") };
    assert_eq!(linked.score, linked.evidence.iter().map(|row| i64::from(row.weight)).sum::<i64>());
    assert_eq!(linked.runner_up, one.to_vec());
}

#[test]
fn a_steward_s_link_is_not_overturned_by_a_better_score_and_says_so_once() {
    let mut linker = Linker::default();
    linker.hear(1, "9990000018|Okafor|Ann|19800217|female|W2 1NY");
    linker.hear(2, "9990000026|Bianchi|Eve|19510630|female|SW6 1AA");
    linker.hear(3, "|Okafor|Ann|||");
    let (ann, eve) = (linker.person(1), linker.person(2));
    linker.decide(&[(3, ann)], &[], &[], &[]);
    let told = linker.hear(3, "9990000026|Bianchi|Eve|19510630|female|SW6 1AA");
    assert_eq!(reviews(&told), ["steward-decision-contradicted"]);
    assert_eq!(linker.person(3), ann);
    assert!(linker.hear(3, "9990000026|Bianchi|Eve|19510630|female|SW6 1AA").is_empty(), "asked already");
    assert_ne!(ann, eve);
}

#[test]
fn a_frozen_number_links_nobody_until_it_is_released() {
    let mut linker = Linker::default();
    linker.hear(1, ANN);
    let overlay = linker.hear(2, "9990000018|Bianchi|Ben|19510630|male|SW6 1AA");
    assert!(matches!(overlay.as_slice(), [Payload::NhsNumberFrozen(_), Payload::RecordLinked(_)]), "{overlay:?}");
    let told = linker.hear(3, ANN);
    assert!(reviews(&told).contains(&"nhs-number-frozen"), "{told:?}");
    assert_eq!(linker.person(3), first_person(record(3)));
    assert!(linker.hear(1, ANN).iter().all(|e| !matches!(e, Payload::RecordLinked(_))), "who is linked stays");
    linker.release("9990000018");
    assert!(!linker.register.is_frozen("9990000018".parse_number()));
    // Decided on again: the one that the number kept away is linked, and that two people hold it is no news.
    assert!(reviews(&linker.again(2)).is_empty());
    assert!(linker.again(3).iter().any(|event| matches!(event, Payload::RecordLinked(_))));
    assert_eq!(linker.person(3), linker.person(1));
    assert!(reviews(&linker.again(1)).is_empty());
    // The number proves again who agrees with one of them.
    let told = linker.hear(4, "9990000018|Okafor|Ann|19800217||");
    assert_eq!((linker.person(4), reviews(&told).is_empty()), (linker.person(1), true), "{told:?}");
    let told = linker.hear(5, "9990000018|Bianchi|Ben|19510630||");
    assert_eq!((linker.person(5), reviews(&told).is_empty()), (linker.person(2), true), "{told:?}");
    // A third who agrees with nobody is news, and freezes it again.
    let third = linker.hear(6, "9990000018|Walsh|Siobhan|19661101|female|UB1 1AA");
    assert!(matches!(third.first(), Some(Payload::NhsNumberFrozen(_))), "{third:?}");
}

#[test]
fn what_was_looked_at_under_a_number_stays_so_under_the_one_that_it_was_merged_into() {
    let mut linker = Linker::default();
    linker.hear(1, ANN);
    linker.hear(2, "9990000018|Bianchi|Ben|19510630|male|SW6 1AA");
    linker.release("9990000018");
    linker.supersede("9990000018", "9990000026");
    for n in [1, 2] {
        assert!(linker.again(n).iter().all(|event| !matches!(event, Payload::NhsNumberFrozen(_))), "{n}");
    }
    assert_eq!(linker.register.holders("9990000026".parse_number()), [record(1), record(2)]);
    assert_eq!(linker.register.holders("9990000018".parse_number()), []);
}

trait ParseNumber {
    fn parse_number(&self) -> weft_model::NhsNumber;
}

impl ParseNumber for str {
    fn parse_number(&self) -> weft_model::NhsNumber {
        weft_model::NhsNumber::parse(self).unwrap()
    }
}

#[test]
fn a_superseded_number_stands_for_the_retained_one_through_any_number_of_mergers() {
    let mut linker = Linker::default();
    let [a, b, c] = ["9990000018", "9990000026", "9990000034"];
    linker.hear(1, &format!("{a}|Okafor|Ann Mary|19800217|female|W2 1NY"));
    linker.supersede(a, b);
    linker.supersede(b, c);
    // A circle is a mistake, and changes nothing.
    linker.supersede(c, a);
    linker.hear(2, &format!("{c}|Okafor|Ann Mary|19800217|female|W2 1NY"));
    assert_eq!(linker.person(2), linker.person(1));
}

fn merged(retired: u8, survivor: u8) -> Payload {
    Payload::RecordsMerged(RecordsMerged {
        survivor_pseudonym: record(survivor).to_vec(),
        retired_pseudonym: record(retired).to_vec(),
        ..RecordsMerged::default()
    })
}

#[test]
fn after_a_merge_by_the_sender_what_was_linked_only_through_the_retired_record_follows() {
    let mut linker = Linker::default();
    // 2 is known under another number; 3 agrees with the retired record alone, 4 and 5 also with each other.
    linker.hear(1, "9990000018|Okafor|Ann|19800217|female|W2 1NY");
    linker.hear(2, "9990000026|Okafor|Ann|19800217|female|NW1 1AA");
    linker.hear(3, "9990000018|Okafor|Ann|19800217|female|W2 1NY");
    let (left, joined) = (linker.person(1), linker.person(2));
    linker.take(None, merged(1, 2));
    let event = linker.register.follow_merged(left, joined, &MODEL).expect("3 follows");
    linker.take(None, event);
    assert_eq!(linker.person(3), joined);
    // Two who support each other stay.
    let mut linker = Linker::default();
    linker.hear(1, "9990000018|Okafor|Ann|19800217|female|W2 1NY");
    linker.hear(2, "9990000026|Okafor|Ann|19800217|female|NW1 1AA");
    linker.hear(4, "9990000018|Okafor|Ann|19800217|female|W2 1NY");
    linker.hear(5, "9990000018|Okafor|Ann|19800217|female|W2 1NY");
    let left = linker.person(1);
    linker.take(None, merged(1, 2));
    assert_eq!(linker.register.follow_merged(left, linker.person(2), &MODEL), None);
    assert_eq!((linker.person(4), linker.person(5)), (left, left));
}

#[test]
fn records_that_their_sender_has_unlinked_do_not_meet_again_by_a_score() {
    let mut linker = Linker::default();
    linker.hear(1, ANN);
    linker.hear(2, ANN);
    let unlinked = RecordsUnlinked {
        record_pseudonym: record(2).to_vec(),
        other_pseudonym: record(1).to_vec(),
        ..RecordsUnlinked::default()
    };
    linker.take(Some(record(2)), Payload::RecordsUnlinked(unlinked));
    let own = RecordLinked {
        person: PersonId::split_off(record(2), 3).to_vec(),
        method: LinkMethod::SenderUnlink.into(),
        ..RecordLinked::default()
    };
    linker.take(Some(record(2)), Payload::RecordLinked(own));
    linker.hear(2, "9990000018|Okafor|Ann|19800217|female|W2 1NX");
    linker.hear(1, "9990000018|Okafor|Ann|19800217|female|W2 1NX");
    assert_ne!(linker.person(1), linker.person(2));
}

fn events() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    prop::collection::vec((0..4u8, 0..6u8, 0..6u8), 0..60)
}

/// One event of those that a log may hold, about records and persons 0 to 5.
fn event((kind, one, other): (u8, u8, u8)) -> (Option<Pseudonym>, Payload) {
    match kind {
        0 => {
            let person = PersonId([other; 16]).to_vec();
            (Some(record(one)), Payload::RecordLinked(RecordLinked { person, ..RecordLinked::default() }))
        }
        1 => (None, merged(one, other)),
        2 => {
            let unlinked = RecordsUnlinked {
                record_pseudonym: record(one).to_vec(),
                other_pseudonym: record(other).to_vec(),
                ..RecordsUnlinked::default()
            };
            (Some(record(one)), Payload::RecordsUnlinked(unlinked))
        }
        _ => {
            let (record, person) = (record(one).to_vec(), PersonId([other; 16]).to_vec());
            let placed = vec![Placed { record, person, previous: Vec::new() }];
            (None, Payload::StewardDecided(StewardDecided { placed, ..StewardDecided::default() }))
        }
    }
}

proptest! {
    /// Where a steward has put a record it is, whatever links, merges and unlinks come after.
    #[test]
    fn no_event_but_a_steward_s_moves_what_a_steward_has_placed(sequence in events()) {
        let mut register = Register::new();
        let mut placed = std::collections::HashMap::new();
        for (offset, step) in sequence.into_iter().enumerate() {
            let (about, event) = event(step);
            register.take(offset as u64, about, &event).unwrap();
            if step.0 == 3 {
                placed.insert(step.1, PersonId([step.2; 16]));
            }
            for (n, person) in &placed {
                prop_assert_eq!(register.index().person_of(record(*n)), Some(*person));
            }
        }
    }

    /// The same events make the same register.
    #[test]
    fn the_fold_is_a_function_of_the_stream(sequence in events()) {
        let persons = || {
            let mut register = Register::new();
            for (offset, step) in sequence.iter().enumerate() {
                let (about, event) = event(*step);
                register.take(offset as u64, about, &event).unwrap();
            }
            (0..6).map(|n| register.index().person_of(record(n))).collect::<Vec<_>>()
        };
        prop_assert_eq!(persons(), persons());
    }
}

/// Three tellings that, together, would have no number to come to: the last is passed over.
#[test]
fn supersessions_never_go_round() {
    let mut linker = Linker::default();
    let [one, other, third] = ["9990000018", "9990000026", "4010232137"];
    linker.supersede(one, other);
    linker.supersede(third, one);
    linker.supersede(one, third);
    linker.hear(1, &format!("{one}|Okafor|Ann Mary|19800217|female|W2 1NY"));
    linker.hear(2, &format!("{third}|Okafor|Ann Mary|19800217|female|W2 1NY"));
    assert_eq!(linker.register.holders(other.parse_number()), [record(1), record(2)]);
    assert_eq!(linker.person(2), linker.person(1));
}

#[test]
fn what_is_taken_back_is_lifted_where_it_lies_in_the_end() {
    let mut linker = Linker::default();
    for n in [1, 2] {
        linker.hear(n, ANN);
    }
    let person = first_person(record(1));
    let unlinked = Payload::RecordsUnlinked(RecordsUnlinked {
        record_pseudonym: record(2).to_vec(),
        other_pseudonym: record(1).to_vec(),
        ..RecordsUnlinked::default()
    });
    // Taken in before it is stored, where it would lie next; a steward's decision takes that place.
    let presumed = linker.stream.len() as u64;
    linker.register.take(presumed, Some(record(2)), &unlinked).unwrap();
    assert!(linker.register.is_apart(record(2), person));
    linker.register.take_back_from(presumed);
    assert_eq!(linker.register.taken(), presumed);
    assert!(!linker.register.is_apart(record(2), person));
    linker.decide(&[(1, person)], &[], &[], &[]);
    let lies_at = linker.stream.len() as u64;
    linker.take(Some(record(2)), unlinked);
    assert!(linker.register.is_apart(record(2), person));
    linker.decide(&[], &[], &[], &[lies_at]);
    assert!(!linker.register.is_apart(record(2), person));
}
