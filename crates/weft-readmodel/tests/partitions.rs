//! Several partitions, events that are in the log twice, and both databases beside each other.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

mod common;

use common::*;
use weft_model::{Cut, Event, Partition, Stream, Verdict};
use weft_readmodel::{ApplyError, Batch, Kept};

on_both! {
    a_persons_records_may_lie_in_several_partitions,
    each_partition_is_seen_up_to_its_own_size,
    what_is_kept_aside_is_listed_across_partitions,
    a_partition_that_is_not_followed_is_refused,
    an_event_that_is_in_the_log_twice_counts_once,
    text_that_a_database_cannot_hold_is_kept_all_the_same,
}

const THIRD: Partition = Partition { stream: Stream::Feed, number: 2 };

/// Records 1 and 3 in partition 0 of the feed, 2 and 4 in partition 2.
async fn spread(on: On) -> Store {
    let store = store(on).await;
    store.model.follow(&[FEED, THIRD, IDENTITY, CONTROL]).await.unwrap();
    let told = |n: u8| message_of(n, 1, "Lovelace", vec![fact("a", &format!("{n}"), i64::from(n) * 10, 1)]);
    let batches = vec![
        Batch::new(THIRD, 0, vec![told(2), told(4)]),
        Batch::new(IDENTITY, 0, vec![link(1, 1), link(2, 1), link(3, 2), link(4, 2)]),
        Batch::new(FEED, 0, vec![told(1), told(3)]),
    ];
    store.model.apply(batches).await.unwrap();
    store
}

async fn a_persons_records_may_lie_in_several_partitions(on: On) {
    let store = spread(on).await;
    assert_eq!(store.model.known_at().to_string(), "feed/0/2,feed/2/2,identity/0/4,control/0/0");
    assert_eq!(store.titles(1).await.unwrap(), ["2", "1"]);
    assert_eq!(store.titles(2).await.unwrap(), ["4", "3"]);
    let whole = walk(&store.model, person(1), 1, None).await.unwrap();
    let positions = whole.iter().map(|entry| entry.provenance.as_ref().unwrap().position.unwrap());
    assert_eq!(positions.collect::<Vec<_>>(), [THIRD.at(0).to_proto(), FEED.at(0).to_proto()]);
    let found = store.model.entry(person(1), &whole[0].entry_id, None).await.unwrap().unwrap();
    assert_eq!(found.position, THIRD.at(0));
    let snapshot = store.model.linking_snapshot(&Cut::default()).await.unwrap();
    assert_eq!((snapshot.records.len(), snapshot.links.len()), (4, 4));
    store.model.apply(vec![Batch::new(IDENTITY, 4, vec![merge(4, 1)])]).await.unwrap();
    assert_eq!(store.titles(1).await.unwrap(), ["4", "2", "1"]);
}

async fn each_partition_is_seen_up_to_its_own_size(on: On) {
    let store = spread(on).await;
    let before = store.model.known_at();
    let digest = store.digest().await;
    let told = |n: u8, text: &str| message_of(n, 2, "King", vec![fact("a", text, i64::from(n) * 10, 2)]);
    let batches = vec![
        Batch::new(THIRD, 2, vec![told(2, "2 again"), told(4, "4 again")]),
        Batch::new(FEED, 2, vec![told(1, "1 again")]),
    ];
    store.model.apply(batches).await.unwrap();
    assert_eq!(store.titles(1).await.unwrap(), ["2 again", "1 again"]);
    let titles = async |cut: &str| {
        let entries = walk(&store.model, person(1), 9, Some(&cut.parse().unwrap())).await.unwrap();
        entries.into_iter().map(|entry| entry.title).collect::<Vec<_>>()
    };
    assert_eq!(titles("feed/0/2,feed/2/3").await, ["2 again", "1"]);
    assert_eq!(titles("feed/0/3,feed/2/2").await, ["2", "1 again"]);
    assert_eq!(titles("feed/0/0,feed/2/3").await, ["2 again"]);
    assert_eq!(titles(&before.to_string()).await, ["2", "1"]);
    let then = store.model.digest(Some(&before)).await.unwrap();
    for table in then {
        assert!(digest.contains(&table), "{table:?}");
    }
    let changes = store.model.entries_changed_since(person(1), &Default::default(), &before).await.unwrap().unwrap();
    assert_eq!(changes.entries.len(), 2);
}

async fn what_is_kept_aside_is_listed_across_partitions(on: On) {
    let store = spread(on).await;
    let held = |n: u8, received_us: i64| {
        let mut event = with_verdict(message(n, received_us, vec![]), Verdict::Quarantined);
        event.header.received_us = received_us;
        event
    };
    let batches =
        vec![Batch::new(FEED, 2, vec![held(1, 10), held(3, 30)]), Batch::new(THIRD, 2, vec![held(1, 20), held(3, 40)])];
    store.model.apply(batches).await.unwrap();
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.model.quarantine(Some("feed-1"), Kept::All, 1, after).await.unwrap();
        let Some(message) = page.first() else { break };
        seen.push(message.received_us);
        after = message.position.map(|position| weft_model::Position::from_proto(&position).unwrap());
    }
    assert_eq!(seen, [40, 30, 20, 10]);
    assert_eq!(store.model.quarantined(THIRD.at(3)).await.unwrap().unwrap().received_us, 40);
    let health = store.model.feed_health("feed-1").await.unwrap();
    assert_eq!((health.accepted, health.quarantined, health.last_received_us), (2, 4, 40));
}

async fn a_partition_that_is_not_followed_is_refused(on: On) {
    let store = spread(on).await;
    let second = Stream::Feed.partition(1);
    let refused = store.model.apply(vec![Batch::new(second, 0, vec![])]).await;
    assert!(matches!(refused, Err(ApplyError::Partition(p)) if p == second), "{refused:?}");
}

fn numbered(id: u8, mut event: Event) -> Event {
    event.header.event_id = vec![id; 16];
    event
}

async fn an_event_that_is_in_the_log_twice_counts_once(on: On) {
    let once = store(on).await;
    let a = || numbered(1, message_of(1, 1, "Lovelace", vec![fact("a", "first", 10, 10)]));
    let b = || numbered(2, message_of(1, 2, "Lovelace", vec![fact("a", "second", 10, 20)]));
    let held = || numbered(3, with_verdict(message(1, 3, vec![]), Verdict::Quarantined));
    let model = &once.model;
    // Within a batch, between batches of a call, and between calls.
    model
        .apply_once(vec![Batch::new(FEED, 0, vec![a(), a(), held()]), Batch::new(FEED, 3, vec![a(), b()])])
        .await
        .unwrap();
    model.apply_once(vec![Batch::new(FEED, 5, vec![a(), held(), b()])]).await.unwrap();
    model
        .apply_once(vec![Batch::new(IDENTITY, 0, vec![numbered(4, link(1, 1)), numbered(4, link(1, 1))])])
        .await
        .unwrap();
    assert_eq!(once.titles(1).await.unwrap(), ["second"]);
    let health = model.feed_health("feed-1").await.unwrap();
    assert_eq!((health.accepted, health.quarantined, health.last_offset), (2, 1, 4));
    assert_eq!(model.quarantine(None, Kept::All, 9, None).await.unwrap().len(), 1);
    assert_eq!(model.known_at().size(FEED), 8);
}

async fn text_that_a_database_cannot_hold_is_kept_all_the_same(on: On) {
    let store = store(on).await;
    let long = "x".repeat(9_000);
    let mut event = message_of(1, 1, &long, vec![movement(&long, "m", "arr\\u0000ived", &long, 5)]);
    if let weft_model::Payload::MessageReceived(message) = &mut event.payload {
        message.record.as_mut().unwrap().value = format!("P\0{long}");
    }
    store.tell(vec![event, link(1, 1)]).await;
    assert_eq!(store.titles(1).await.unwrap().len(), 1);
    assert_eq!(store.model.parked_events().await.unwrap(), 0);
    let id = weft_model::proto::api::LocalIdentifier {
        organisation: "ORG1".to_owned(),
        system: String::new(),
        value: format!("P\0{long}"),
    };
    assert_eq!(store.model.find_by_local_identifier(&id, 9, None).await.unwrap().persons.len(), 1);
}
