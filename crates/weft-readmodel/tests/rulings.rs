//! What outranks scores: stewards' placements, the review queue, and the same fold as the linker's.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

mod common;

use common::*;
use proptest::prelude::*;
use weft_link::Register;
use weft_model::{Event, PersonId};
use weft_readmodel::Waiting;

on_both! {
    what_a_steward_has_placed_is_moved_by_stewards_only,
    a_record_that_followed_another_follows_it_no_more_once_a_steward_has_placed_it,
    questions_wait_until_they_are_settled_taken_back_or_replaced,
    what_moves_is_counted_with_what_follows,
}

async fn persons(store: &Store, records: std::ops::Range<u8>) -> Vec<Option<PersonId>> {
    let records: Vec<_> = records.map(record_pseudonym).collect();
    let found = store.model.persons_of(&records).await.unwrap();
    records.iter().map(|record| found.get(record).copied()).collect()
}

async fn what_a_steward_has_placed_is_moved_by_stewards_only(on: On) {
    let store = store(on).await;
    let check = async |event: Event, wanted: u8| {
        store.tell(vec![event]).await;
        assert_eq!(persons(&store, 1..2).await, [Some(person(wanted))]);
    };
    check(link(1, 1), 1).await;
    check(decided(&[(1, 2)], &[]), 2).await;
    check(link(1, 3), 2).await;
    check(joined(3, 2, &[1]), 2).await;
    store.tell(vec![link(9, 9)]).await;
    check(merge(1, 9), 2).await;
    check(decided(&[(1, 4)], &[]), 4).await;
    let explained = store.model.explain(record_pseudonym(1)).await.unwrap();
    let stewards: Vec<bool> = explained.decisions.iter().map(|decision| decision.steward.is_some()).collect();
    assert_eq!(
        (explained.held, stewards),
        (true, vec![true, true, false]),
        "newest first, and what had no effect is none"
    );
}

async fn a_record_that_followed_another_follows_it_no_more_once_a_steward_has_placed_it(on: On) {
    let store = store(on).await;
    store.tell(vec![link(1, 1), link(2, 2), merge(2, 1)]).await;
    assert_eq!(persons(&store, 1..3).await, [Some(person(1)), Some(person(1))]);
    store.tell(vec![decided(&[(2, 5)], &[])]).await;
    assert_eq!(persons(&store, 1..3).await, [Some(person(1)), Some(person(5))]);
    store.tell(vec![link(3, 3), merge(3, 1), unlinked(3, 1), link(3, 6)]).await;
    assert_eq!(persons(&store, 3..4).await, [Some(person(6))]);
}

async fn questions_wait_until_they_are_settled_taken_back_or_replaced(on: On) {
    let store = store(on).await;
    let waiting = async |code: &str| {
        let page = store.model.reviews(code, 10, None, None).await.unwrap();
        assert_eq!(page.waiting as usize, page.counts.values().sum::<u32>() as usize);
        page.reviews
            .iter()
            .map(|review: &Waiting| (review.pseudonym.0[0], review.decision.review.join(" ")))
            .collect::<Vec<_>>()
    };
    store
        .tell(vec![
            asked(1, "near-threshold"),
            asked(2, "nhs-number-demographics-disagree"),
            asked(3, "nhs-numbers-differ"),
        ])
        .await;
    let (near, overlay, numbers) = (
        (1, "near-threshold".to_owned()),
        (2, "nhs-number-demographics-disagree".to_owned()),
        (3, "nhs-numbers-differ".to_owned()),
    );
    assert_eq!(waiting("").await, [overlay.clone(), numbers.clone(), near.clone()]);
    assert_eq!(waiting("near-threshold").await, vec![near.clone()]);
    // A page at a time, the same.
    let first = store.model.reviews("", 2, None, None).await.unwrap();
    let second = store.model.reviews("", 2, first.next, Some(&first.known_at)).await.unwrap();
    assert_eq!((first.reviews.len(), second.reviews.len(), second.next), (2, 1, None));
    let cut = first.known_at;
    store.tell(vec![decided(&[(2, 1)], &[2]), asked(3, "")]).await;
    assert_eq!(waiting("").await, [near]);
    store.tell(vec![link(1, 1)]).await;
    assert_eq!(waiting("").await, []);
    assert_eq!(store.model.reviews("", 10, None, Some(&cut)).await.unwrap().waiting, 3, "as it was known then");
}

async fn what_moves_is_counted_with_what_follows(on: On) {
    let store = store(on).await;
    store
        .tell(vec![
            message(1, 1, vec![fact("a", "a", 1, 1), fact("b", "b", 2, 2)]),
            message(2, 2, vec![fact("c", "c", 3, 3), withdrawn(fact("d", "d", 4, 4))]),
            link(1, 1),
            merge(2, 1),
        ])
        .await;
    let weights = store.model.weigh(&[record_pseudonym(1), record_pseudonym(2), record_pseudonym(7)]).await.unwrap();
    let told: Vec<_> = weights.iter().map(|w| (w.entries, w.organisations.join(" "), w.record.is_some())).collect();
    assert_eq!(told, [(3, "ORG0 ORG1".to_owned(), true), (1, "ORG0".to_owned(), true), (0, String::new(), false)]);
    assert_eq!(store.model.records_linked(person(1)).await.unwrap(), [record_pseudonym(1)]);
}

/// One event of those that a linker and stewards append, about records and persons 1 to 5.
fn event((kind, one, other): (u8, u8, u8)) -> Vec<Event> {
    match kind {
        0 | 1 => vec![link(one, other)],
        2 if one != other => vec![merge(one, other)],
        // Whoever unlinks says where the record goes.
        3 if one != other => vec![unlinked(one, other), link(one, other + 10)],
        4 => vec![joined(other, one, &[one])],
        _ => vec![decided(&[(one, other)], &[])],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// The linker's register and the read model's tables are the same fold.
    #[test]
    fn the_read_model_and_the_linker_say_the_same(sequence in prop::collection::vec((0..6u8, 1..6u8, 1..6u8), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = store(On::Sqlite).await;
            let mut register = Register::new();
            let mut offset = 0;
            // Every record has been linked before anything else is said of it, as the linker does.
            for event in (1..6).map(|n| link(n, n)).chain(sequence.into_iter().flat_map(event)) {
                if let weft_model::Payload::RecordsMerged(merged) = &event.payload {
                    let [retired, survivor] = [&merged.retired_pseudonym, &merged.survivor_pseudonym]
                        .map(|id| weft_model::Pseudonym::from_bytes(id).unwrap());
                    // A merge that says what is so already, or turns it round, is not appended.
                    let head = register.index().survivor_of(survivor).unwrap_or(survivor);
                    if head == retired || register.index().survivor_of(retired) == Some(head) {
                        continue;
                    }
                }
                if let weft_model::Payload::RecordLinked(_) = &event.payload
                    && register.index().survivor_of(event.header.pseudonym().unwrap()).is_some()
                {
                    continue;
                }
                if let weft_model::Payload::PersonsMerged(merged) = &event.payload {
                    let moved = weft_model::Pseudonym::from_bytes(&merged.records[0]).unwrap();
                    if register.index().survivor_of(moved).is_some() {
                        continue;
                    }
                }
                register.take(offset, event.header.pseudonym(), &event.payload).unwrap();
                offset += 1;
                store.tell(vec![event]).await;
            }
            let ours: Vec<_> = (1..6).map(|n| register.index().person_of(record_pseudonym(n))).collect();
            prop_assert_eq!(persons(&store, 1..6).await, ours);
            Ok(())
        })?;
    }
}
