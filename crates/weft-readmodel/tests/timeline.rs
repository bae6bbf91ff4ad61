//! What can be asked of persons and timelines.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

mod common;

use common::*;
use prost::Message;
use weft_model::{
    NhsNumber,
    proto::{
        api::{DemographicQuery, LocalIdentifier, TimelineEntry, TimelineFilter},
        event::LineKind,
    },
};
use weft_readmodel::{Demographic, QueryError};

on_both! {
    a_timeline_is_the_records_of_a_person_together,
    a_merge_and_its_end_move_no_rows,
    a_merge_that_would_close_a_circle_parks_the_retired_record,
    a_retired_record_without_a_linked_survivor_keeps_its_person,
    filters,
    a_person_of_many_records_has_one_timeline,
    a_walk_shows_one_state_while_events_are_applied,
    changes_are_what_a_stream_has_not_shown,
    an_entry_leads_to_its_fact,
    persons_are_found,
    a_name_that_changed_is_found_as_of_then,
    a_person_shows_why_its_records_are_together,
    a_cut_ahead_of_the_projection_is_not_answered,
    the_linker_starts_from_what_it_had_seen,
}

/// Two persons of two records each, record n told of once at n * 10.
async fn two_persons(on: On) -> Store {
    let store = store(on).await;
    for n in 1..=4 {
        let facts = vec![fact("a", &format!("{n}"), i64::from(n) * 10, 1), movement("V", "m", "arrived", "6B", 5)];
        store.tell(vec![message_of(n, 1, "Lovelace", facts), link(n, 1 + n / 3)]).await;
    }
    store
}

async fn a_timeline_is_the_records_of_a_person_together(on: On) {
    let store = two_persons(on).await;
    assert_eq!(store.titles(1).await.unwrap(), ["2", "1", "arrived 6B", "arrived 6B"]);
    assert_eq!(store.titles(2).await.unwrap(), ["4", "3", "arrived 6B", "arrived 6B"]);
    assert_eq!(store.titles(9).await, None);
}

async fn a_merge_and_its_end_move_no_rows(on: On) {
    let store = two_persons(on).await;
    let apart = [walk(&store.model, person(1), 9, None).await, walk(&store.model, person(2), 9, None).await];
    let before = store.model.known_at();
    store.tell(vec![merge(3, 1)]).await;
    assert_eq!(store.titles(1).await.unwrap(), ["3", "2", "1", "arrived 6B", "arrived 6B", "arrived 6B"]);
    assert_eq!(store.titles(2).await.unwrap(), ["4", "arrived 6B"]);
    // A chain: 1 follows 2, and 3 follows 1.
    store.tell(vec![merge(1, 2), link(2, 5)]).await;
    assert_eq!(store.titles(5).await.unwrap().len(), 6);
    assert_eq!(store.titles(1).await, None);
    // Taken back, both are as if nothing had been.
    let size = i64::try_from(store.model.known_at().size(IDENTITY)).unwrap();
    execute(store.model.location(), format!("UPDATE merge SET known_to = {size}")).await;
    store.tell(vec![link(2, 1), link(9, 9)]).await;
    let restored = [walk(&store.model, person(1), 9, None).await, walk(&store.model, person(2), 9, None).await];
    assert_eq!(restored, apart);
    let then =
        [walk(&store.model, person(1), 9, Some(&before)).await, walk(&store.model, person(2), 9, Some(&before)).await];
    assert_eq!(then, apart);
}

async fn a_merge_that_would_close_a_circle_parks_the_retired_record(on: On) {
    let store = two_persons(on).await;
    store.tell(vec![merge(3, 1), merge(1, 2), merge(2, 3)]).await;
    assert_eq!(store.model.parked_events().await.unwrap(), 1);
    assert_eq!(store.titles(1).await.unwrap().len(), 6);
    store.tell(vec![merge(4, 4), link(2, 2)]).await;
    assert_eq!(store.model.parked_events().await.unwrap(), 3);
    assert_eq!(store.titles(1).await.unwrap().len(), 6);
}

async fn a_retired_record_without_a_linked_survivor_keeps_its_person(on: On) {
    let store = two_persons(on).await;
    store.tell(vec![merge(1, 8)]).await;
    assert_eq!(store.titles(1).await.unwrap().len(), 4);
    store.tell(vec![link(8, 2)]).await;
    assert_eq!(store.titles(1).await.unwrap().len(), 2);
    assert_eq!(store.titles(2).await.unwrap().len(), 6);
}

async fn check(on: On, filter: TimelineFilter, wanted: &[&str]) {
    let store = two_persons(on).await;
    store.tell(vec![message(1, 9, vec![withdrawn(fact("w", "w", 50, 50))])]).await;
    for limit in [1, 2, 100] {
        let (mut after, mut titles) = (None, Vec::new());
        loop {
            let page = store.model.timeline(person(1), &filter, limit, after, None).await.unwrap().unwrap();
            assert!(page.entries.len() <= limit);
            titles.extend(page.entries.iter().map(|body| TimelineEntry::decode(&body[..]).unwrap().title));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(titles, wanted);
    }
}

async fn filters(on: On) {
    let all = TimelineFilter::default;
    check(on, all(), &["2", "1", "arrived 6B", "arrived 6B"]).await;
    check(on, TimelineFilter { include_withdrawn: true, ..all() }, &["w", "2", "1", "arrived 6B", "arrived 6B"]).await;
    check(on, TimelineFilter { kinds: vec![LineKind::Observation.into()], ..all() }, &["2", "1"]).await;
    check(on, TimelineFilter { kinds: vec![LineKind::Death.into()], ..all() }, &[]).await;
    check(on, TimelineFilter { organisations: vec!["ORG0".to_owned()], ..all() }, &["2", "arrived 6B"]).await;
    check(on, TimelineFilter { organisations: vec!["ORG9".to_owned()], ..all() }, &[]).await;
    check(on, TimelineFilter { occurred_from_us: Some(20), ..all() }, &["2"]).await;
    check(on, TimelineFilter { occurred_to_us: Some(20), ..all() }, &["1", "arrived 6B", "arrived 6B"]).await;
    check(on, TimelineFilter { occurred_from_us: Some(6), occurred_to_us: Some(20), ..all() }, &["1"]).await;
}

async fn a_person_of_many_records_has_one_timeline(on: On) {
    let store = store(on).await;
    for n in 1..=40 {
        store.tell(vec![message(n, 1, vec![fact("a", &n.to_string(), i64::from(n % 7), 1)]), link(n, 1)]).await;
    }
    let whole = walk(&store.model, person(1), 1000, None).await.unwrap();
    assert_eq!(whole.len(), 40);
    let keys: Vec<_> =
        whole.iter().map(|e| (std::cmp::Reverse(e.occurred.unwrap().start_us), e.entry_id.clone())).collect();
    assert!(keys.is_sorted());
    assert_eq!(walk(&store.model, person(1), 7, None).await.unwrap(), whole);
}

async fn a_walk_shows_one_state_while_events_are_applied(on: On) {
    let store = two_persons(on).await;
    let whole = walk(&store.model, person(1), 100, None).await.unwrap();
    let filter = TimelineFilter { include_withdrawn: true, ..TimelineFilter::default() };
    let mut page = store.model.timeline(person(1), &filter, 1, None, None).await.unwrap().unwrap();
    let mut walked = page.entries.clone();
    for n in 0.. {
        let Some(after) = page.next else { break };
        // Everything moves: lines appear, change and vanish, and a record joins.
        store
            .tell(vec![
                message(1, 100 + n, vec![fact(&format!("new{n}"), "new", 15, 15), fact("a", "1 moved", 99, 100 + n)]),
                message(2, 100 + n, vec![withdrawn(fact("a", "2", 20, 100 + n))]),
                link(3, 1),
                merge(4, 1),
            ])
            .await;
        page = store.model.timeline(person(1), &filter, 1, Some(after), Some(&page.known_at)).await.unwrap().unwrap();
        walked.extend(page.entries.clone());
    }
    let walked: Vec<_> = walked.iter().map(|body| TimelineEntry::decode(&body[..]).unwrap()).collect();
    assert_eq!(walked, whole);
}

async fn changes_are_what_a_stream_has_not_shown(on: On) {
    let store = two_persons(on).await;
    let all = TimelineFilter::default();
    let changed = async |since: &weft_model::Cut| {
        let changes = store.model.entries_changed_since(person(1), &all, since).await.unwrap().unwrap();
        let titles: Vec<String> =
            changes.entries.iter().map(|body| TimelineEntry::decode(&body[..]).unwrap().title).collect();
        (titles, changes.known_at)
    };
    let (titles, since) = changed(&"feed/0/0,identity/0/0".parse().unwrap()).await;
    assert_eq!(titles.len(), 4);
    assert_eq!(changed(&since).await.0, Vec::<String>::new());
    let news = vec![fact("b", "new", 1, 1), fact("a", "1 corrected", 10, 9), fact("c", "other", 1, 1)];
    store.tell(vec![message(1, 9, news), message(2, 9, vec![withdrawn(fact("a", "2", 20, 9))])]).await;
    let (titles, since) = changed(&since).await;
    assert_eq!(titles.len(), 4);
    assert_eq!(titles[3], "2");
    store.tell(vec![link(3, 1), message(4, 9, vec![fact("x", "of another", 1, 1)])]).await;
    let (titles, since) = changed(&since).await;
    assert_eq!(titles.len(), 2, "{titles:?}");
    assert_eq!(changed(&since).await.0, Vec::<String>::new());
}

async fn an_entry_leads_to_its_fact(on: On) {
    let store = two_persons(on).await;
    let whole = walk(&store.model, person(1), 100, None).await.unwrap();
    for entry in &whole {
        let found = store.model.entry(person(1), &entry.entry_id, None).await.unwrap().unwrap();
        assert_eq!(TimelineEntry::decode(&found.entry[..]).unwrap(), *entry);
        assert_eq!(found.position.to_proto(), entry.provenance.as_ref().unwrap().position.unwrap());
        assert_eq!(found.fact_index, usize::from(entry.encounter_id == "V"));
        assert_eq!(store.model.entry(person(2), &entry.entry_id, None).await.unwrap(), None);
    }
    assert_eq!(store.model.entry(person(1), "no identifier", None).await.unwrap(), None);
}

async fn persons_are_found(on: On) {
    let store = two_persons(on).await;
    store.tell(vec![message_of(7, 1, "Lovelace", vec![])]).await;
    let number = NhsNumber::parse(NHS_NUMBER).unwrap();
    let by_number = store.model.find_by_nhs_number(number, 9, None).await.unwrap();
    let ids: Vec<&str> = by_number.persons.iter().map(|p| p.person_id.as_str()).collect();
    assert_eq!(ids, [person(1).to_string(), person(2).to_string()]);
    assert_eq!((by_number.persons[0].records, by_number.persons[0].birth_date.as_str()), (2, "1970-01-02"));
    assert!(store.model.find_by_nhs_number(number, 1, None).await.unwrap().more);

    let local = |organisation: &str, system: &str| LocalIdentifier {
        organisation: organisation.to_owned(),
        system: system.to_owned(),
        value: "P3".to_owned(),
    };
    for (identifier, found) in
        [(local("ORG1", ""), 1), (local("ORG1", "MRN"), 1), (local("ORG1", "OTHER"), 0), (local("ORG0", ""), 0)]
    {
        assert_eq!(store.model.find_by_local_identifier(&identifier, 9, None).await.unwrap().persons.len(), found);
    }

    let asked = DemographicQuery {
        family: "LOVELACE".to_owned(),
        birth_date: "1970-01-02".to_owned(),
        ..DemographicQuery::default()
    };
    for (query, found) in [
        (asked.clone(), 2),
        (DemographicQuery { given: "ada".to_owned(), postcode: "w21ny".to_owned(), ..asked.clone() }, 2),
        (DemographicQuery { given: "Bea".to_owned(), ..asked.clone() }, 0),
        (DemographicQuery { sex: "male".to_owned(), ..asked.clone() }, 0),
        (DemographicQuery { postcode: "W2 1NX".to_owned(), ..asked.clone() }, 0),
        (DemographicQuery { birth_date: "1970-01-03".to_owned(), ..asked.clone() }, 0),
    ] {
        let query = Demographic::new(&query).unwrap();
        assert_eq!(store.model.find_by_demographics(&query, 9, None).await.unwrap().persons.len(), found, "{query:?}");
    }
    assert_eq!(Demographic::new(&DemographicQuery { family: "-".to_owned(), ..asked }), None);
}

async fn a_name_that_changed_is_found_as_of_then(on: On) {
    let store = store(on).await;
    store.tell(vec![link(1, 1), message_of(1, 1, "Byron", vec![])]).await;
    let before = store.model.known_at();
    store.tell(vec![message_of(1, 2, "Lovelace", vec![])]).await;
    let ask = |family: &str| {
        let (family, birth_date) = (family.to_owned(), "1970-01-02".to_owned());
        Demographic::new(&DemographicQuery { family, birth_date, ..Default::default() }).unwrap()
    };
    for (family, as_of, found) in
        [("Byron", None, 0), ("Lovelace", None, 1), ("Byron", Some(&before), 1), ("Lovelace", Some(&before), 0)]
    {
        assert_eq!(store.model.find_by_demographics(&ask(family), 9, as_of).await.unwrap().persons.len(), found);
    }
}

async fn a_person_shows_why_its_records_are_together(on: On) {
    let store = two_persons(on).await;
    store.tell(vec![merge(3, 1)]).await;
    let shown = store.model.person(person(1), None).await.unwrap().unwrap();
    let ids: Vec<&str> = shown.records.iter().map(|r| r.record.as_ref().unwrap().value.as_str()).collect();
    assert_eq!(ids, ["P2", "P1", "P3"]);
    assert_eq!(shown.records[0].evidence[0].field, "nhs-number");
    assert_eq!(shown.records[0].decided_at, Some(IDENTITY.at(1).to_proto()));
    assert_eq!(shown.records[2].merged_into, Some(record_id(1)));
    assert_eq!(shown.summary.records, 3);
    assert!(store.model.person(person(9), None).await.unwrap().is_none());
}

async fn a_cut_ahead_of_the_projection_is_not_answered(on: On) {
    let store = two_persons(on).await;
    let ahead = "feed/0/5".parse().unwrap();
    let refused = store.model.timeline(person(1), &TimelineFilter::default(), 1, None, Some(&ahead)).await;
    assert!(matches!(refused, Err(QueryError::Ahead { .. })), "{refused:?}");
    let other_stream = "access/0/99,feed/0/4".parse().unwrap();
    assert!(store.model.person(person(1), Some(&other_stream)).await.unwrap().is_some());
}

async fn the_linker_starts_from_what_it_had_seen(on: On) {
    let store = two_persons(on).await;
    store.tell(vec![merge(3, 1), message_of(1, 50, "King", vec![]), message_of(6, 50, "New", vec![])]).await;
    assert_eq!(store.model.linker_cursor().await.unwrap(), weft_model::Cut::default());
    let four = "feed/0/4".parse().unwrap();
    store.model.set_linker_cursor(&four).await.unwrap();
    let snapshot = store.model.linking_snapshot(&four).await.unwrap();
    assert_eq!(snapshot.cut.to_string(), "feed/0/4,identity/0/5");
    let family = |demographics: &[u8]| {
        weft_model::proto::event::Demographics::decode(demographics).unwrap().names[0].family.clone()
    };
    assert_eq!(snapshot.records.len(), 4);
    assert!(snapshot.records.iter().all(|r| family(&r.demographics) == "Lovelace" && r.recorded_us == 1));
    assert_eq!(snapshot.links.len(), 4);
    assert_eq!(snapshot.merges, [(record_pseudonym(3), record_pseudonym(1))]);
    let newest = store.model.linking_snapshot(&weft_model::Cut::default()).await.unwrap();
    assert_eq!((newest.cut.size(FEED), newest.records.len()), (6, 5));
    assert_eq!(store.model.linker_cursor().await.unwrap(), four);
}
