//! What events come to.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

mod common;

use std::{
    pin::pin,
    task::{Context, Waker},
};

use common::*;
use prost::Message;
use weft_model::{NhsNumber, Payload, Stream, Verdict, proto::api::TimelineEntry};
use weft_readmodel::{ApplyError, Batch, Kept, OpenModelError, ReadModel};

on_both! {
    the_newest_word_of_the_source_stands,
    a_fact_that_loses_its_line_leaves_the_timeline,
    one_message_may_tell_a_fact_twice,
    a_batch_that_leaves_a_gap_is_refused,
    effects_and_cursor_commit_together,
    what_cannot_be_applied_parks_its_record_and_nobody_else,
    an_event_of_no_record_parks_alone,
    conflict_and_quarantine_are_kept_and_go_no_further,
    what_was_kept_is_shown_from_where_it_was_accepted,
    an_older_message_that_is_read_again_changes_nothing_newer,
    shredded_events_are_counted_and_tell_nothing,
    feeds_are_registered_changed_paused_and_resumed,
    late_demographics_change_nothing_that_is_known,
}

/// Tells `facts` of record 1, each in a message of its own, and reads the timeline.
async fn check(on: On, facts: Vec<weft_model::proto::event::Fact>, wanted: &[&str]) {
    let store = store(on).await;
    store.tell(vec![link(1, 1)]).await;
    for (n, fact) in (0..).zip(facts) {
        store.tell(vec![message(1, n, vec![fact])]).await;
    }
    assert_eq!(store.titles(1).await.unwrap(), wanted);
}

async fn the_newest_word_of_the_source_stands(on: On) {
    let first = || fact("a", "first", 10, 10);
    check(on, vec![first()], &["first"]).await;
    check(on, vec![first(), first()], &["first"]).await;
    check(on, vec![first(), fact("a", "second", 10, 20)], &["second"]).await;
    check(on, vec![first(), fact("a", "second", 10, 10)], &["second"]).await;
    check(on, vec![first(), fact("a", "late", 10, 5)], &["first"]).await;
    // The same told again at 30: what was recorded at 20 is late by then.
    check(on, vec![first(), fact("a", "first", 10, 30), fact("a", "late", 10, 20)], &["first"]).await;
    check(on, vec![first(), fact("b", "other", 20, 20)], &["other", "first"]).await;
    check(on, vec![fact("b", "other", 20, 20), first()], &["other", "first"]).await;
    // Corrected: it happened at another time.
    check(on, vec![first(), fact("b", "other", 20, 20), fact("a", "first moved", 30, 30)], &["first moved", "other"])
        .await;
    check(on, vec![first(), withdrawn(fact("a", "first", 10, 20))], &[]).await;
    check(on, vec![first(), withdrawn(fact("a", "first", 10, 20)), fact("a", "first", 10, 30)], &["first"]).await;
    check(on, vec![first(), withdrawn(fact("a", "first", 10, 5))], &["first"]).await;
}

async fn a_fact_that_loses_its_line_leaves_the_timeline(on: On) {
    let silent = |recorded_us| weft_model::proto::event::Fact { line: None, ..fact("a", "silent", 10, recorded_us) };
    check(on, vec![silent(1)], &[]).await;
    check(on, vec![fact("a", "first", 10, 10), silent(20)], &[]).await;
    check(on, vec![fact("a", "first", 10, 10), silent(20), fact("a", "again", 10, 30)], &["again"]).await;
    check(on, vec![fact("a", "first", 10, 10), silent(20), fact("a", "late", 10, 15)], &[]).await;
}

async fn one_message_may_tell_a_fact_twice(on: On) {
    let store = store(on).await;
    let twice = vec![fact("a", "first", 10, 10), fact("a", "second", 10, 10)];
    store.tell(vec![link(1, 1), message(1, 1, twice)]).await;
    assert_eq!(store.titles(1).await.unwrap(), ["second"]);
}

async fn a_batch_that_leaves_a_gap_is_refused(on: On) {
    let store = store(on).await;
    store.tell(vec![message(1, 1, vec![])]).await;
    let before = store.digest().await;
    for from in [0, 2] {
        let batches =
            vec![Batch::new(IDENTITY, 0, vec![link(1, 1)]), Batch::new(FEED, from, vec![message(1, 2, vec![])])];
        match store.model.apply(batches).await {
            Err(ApplyError::Gap { partition: FEED, next: 1, from: refused }) => assert_eq!(refused, from),
            other => panic!("{other:?}"),
        }
    }
    let other = Stream::Access.partition(0);
    let refused = store.model.apply(vec![Batch::new(other, 0, vec![])]).await;
    assert!(matches!(refused, Err(ApplyError::Partition(p)) if p == other));
    assert_eq!(store.digest().await, before);
    assert_eq!(store.model.known_at().to_string(), "feed/0/1,identity/0/0,control/0/0");
}

/// However far applying came, there are all of the effects and the cursor, or none.
async fn effects_and_cursor_commit_together(on: On) {
    let events =
        || vec![message_of(1, 1, "Lovelace", vec![fact("a", "first", 10, 10), movement("V", "m", "arrived", "6B", 5)])];
    let whole = store(on).await;
    whole.tell(events()).await;
    let whole = whole.digest().await;
    let empty = store(on).await.digest().await;
    let mut seen = [0, 0];
    // PostgreSQL is looked at more seldom: there is a conversation behind every poll.
    let step = if on == On::Sqlite { 1 } else { 12 };
    for polls in (0..).step_by(step) {
        let store = store(on).await;
        let ended = {
            let mut applying = pin!(store.model.apply(vec![Batch::new(FEED, 0, events())]));
            let mut ended = false;
            for _ in 0..polls {
                ended = applying.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
                if ended {
                    break;
                }
                tokio::task::spawn_blocking(std::thread::yield_now).await.unwrap();
            }
            ended
        };
        let Store { model, place } = store;
        drop(model);
        let model = place.model("live").await;
        let digest = model.digest(None).await.unwrap();
        let applied = model.known_at().size(FEED) == 1;
        assert_eq!(digest, if applied { whole.clone() } else { empty.clone() }, "after {polls} polls");
        seen[usize::from(applied)] += 1;
        if ended {
            assert!(applied);
            break;
        }
    }
    assert!(seen[0] > 0, "{seen:?}");
}

async fn what_cannot_be_applied_parks_its_record_and_nobody_else(on: On) {
    let broken = |wrong: fn(&mut weft_model::proto::event::MessageReceived)| {
        let mut event = message(1, 2, vec![fact("b", "second", 20, 20), fact("c", "third", 30, 30)]);
        if let Payload::MessageReceived(message) = &mut event.payload {
            wrong(message);
        }
        event
    };
    for event in [
        broken(|m| m.record = None),
        broken(|m| m.facts[1].resource = bytes::Bytes::from_static(b"{")),
        broken(|m| m.facts[1].occurred = None),
        with_verdict(broken(|_| ()), Verdict::Unspecified),
    ] {
        let store = store(on).await;
        let before = vec![link(1, 1), link(2, 2), message(1, 1, vec![fact("a", "first", 10, 10)])];
        store.tell(before).await;
        store.tell(vec![event]).await;
        store
            .tell(vec![message(1, 3, vec![fact("d", "waits", 40, 40)]), message(2, 3, vec![fact("a", "other", 1, 1)])])
            .await;
        // The identity stream goes on for a record that is parked in the feed stream.
        store.tell(vec![link(1, 3)]).await;
        assert_eq!(store.titles(3).await.unwrap(), ["first"]);
        assert_eq!(store.titles(2).await.unwrap(), ["other"]);
        assert_eq!(store.model.parked_events().await.unwrap(), 2);
        let page = store.model.timeline(person(3), &Default::default(), 9, None, None).await.unwrap().unwrap();
        assert_eq!(page.parked_records, 1);
        let shown = store.model.person(person(3), None).await.unwrap().unwrap();
        assert_eq!(shown.records[0].parked_at, Some(FEED.at(1).to_proto()));
        let earlier = "feed/0/1,identity/0/2".parse().unwrap();
        let page =
            store.model.timeline(person(1), &Default::default(), 9, None, Some(&earlier)).await.unwrap().unwrap();
        assert_eq!(page.parked_records, 0);
        assert_eq!(store.model.feed_health("feed-1").await.unwrap().last_offset, 2);
    }
}

async fn an_event_of_no_record_parks_alone(on: On) {
    let store = store(on).await;
    let mut nobody = message(1, 1, vec![]);
    nobody.header.source_record.clear();
    store.tell(vec![nobody, message(1, 2, vec![fact("a", "first", 1, 1)]), link(1, 1), switch("unknown", true)]).await;
    assert_eq!(store.titles(1).await.unwrap(), ["first"]);
    assert_eq!(store.model.parked_events().await.unwrap(), 2);
}

async fn conflict_and_quarantine_are_kept_and_go_no_further(on: On) {
    let store = store(on).await;
    let told = || message_of(1, 1, "Lovelace", vec![fact("a", "first", 1, 1)]);
    store
        .tell(vec![with_verdict(told(), Verdict::Quarantined), with_verdict(told(), Verdict::Conflict), link(1, 1)])
        .await;
    assert_eq!(store.titles(1).await.unwrap(), Vec::<String>::new());
    let health = store.model.feed_health("feed-1").await.unwrap();
    assert_eq!((health.accepted, health.conflict, health.quarantined), (0, 1, 1));
    let all = store.model.quarantine(None, Kept::All, 9, None).await.unwrap();
    let offsets: Vec<u64> = all.iter().map(|held| held.position.unwrap().offset).collect();
    assert_eq!(offsets, [1, 0]);
    assert_eq!(all[0].issues[0].code, "date-unreadable");
    assert_eq!(store.model.quarantine(Some("feed-1"), Kept::All, 1, Some(FEED.at(1))).await.unwrap(), all[1..]);
    assert_eq!(store.model.quarantine(Some("feed-0"), Kept::All, 9, None).await.unwrap(), []);
    assert_eq!(store.model.quarantined(FEED.at(1)).await.unwrap().as_ref(), Some(&all[0]));
    assert_eq!(store.model.quarantined(FEED.at(2)).await.unwrap(), None);
}

async fn what_was_kept_is_shown_from_where_it_was_accepted(on: On) {
    let store = store(on).await;
    let kept = |n| with_verdict(message(n, 1, vec![]), Verdict::Quarantined);
    let told = |title: &str| message_of(1, 1, "Lovelace", vec![fact(title, title, 1, 1)]);
    let mut first = kept(1);
    first.header.received_us = 7_000;
    store.tell(vec![first, kept(1), kept(0), link(1, 1)]).await;
    let before = store.model.known_at();
    let again = |event, offset, resent| redriving(event, FEED.at(offset), 7_000, resent);
    store.tell(vec![again(told("resent"), 0, true), again(told("from the log"), 1, false)]).await;
    assert_eq!(store.titles(1).await.unwrap().len(), 2);
    let page = store.model.timeline(person(1), &Default::default(), 9, None, None).await.unwrap().unwrap();
    assert!(
        page.entries.iter().all(|line| TimelineEntry::decode(&line[..]).unwrap().received_us == 7_000),
        "told when it was received first"
    );
    let then = store.model.timeline(person(1), &Default::default(), 9, None, Some(&before)).await.unwrap().unwrap();
    assert_eq!(then.entries.len(), 0, "not known before it was accepted");

    let offsets = |kept| {
        let model = store.model.clone();
        async move {
            let all = model.quarantine(None, kept, 9, None).await.unwrap();
            all.iter().map(|held| held.position.unwrap().offset).collect::<Vec<_>>()
        }
    };
    assert_eq!(offsets(Kept::Now).await, [2]);
    assert_eq!(offsets(Kept::NowOldestFirst).await, [2]);
    assert_eq!(offsets(Kept::All).await.len(), 3);
    let shown = store.model.quarantined(FEED.at(0)).await.unwrap().unwrap();
    assert_eq!((shown.redriven_to, shown.resent), (Some(FEED.at(3).to_proto()), true));
    assert!(!store.model.quarantined(FEED.at(1)).await.unwrap().unwrap().resent);
    let health = store.model.feed_health("feed-1").await.unwrap();
    assert_eq!((health.accepted, health.quarantined, health.redriven, health.held), (1, 2, 1, 0));
    assert_eq!(store.model.feed_health("feed-0").await.unwrap().held, 1);
}

async fn an_older_message_that_is_read_again_changes_nothing_newer(on: On) {
    let in_order = store(on).await;
    let older = || {
        let facts =
            vec![fact("a", "preliminary", 10, 10), movement("V", "m", "planned", "6B", 10), fact("b", "other", 10, 10)];
        message_of(1, 10, "Maiden", facts)
    };
    let newer = || {
        let facts = vec![fact("a", "final", 20, 20), movement("V", "m", "in-progress", "7A", 20)];
        message_of(1, 20, "Married", facts)
    };
    in_order.tell(vec![older(), newer(), link(1, 1)]).await;
    let redriven = store(on).await;
    let kept = with_verdict(older(), Verdict::Quarantined);
    redriven.tell(vec![kept, newer(), link(1, 1), redriving(older(), FEED.at(0), 0, false)]).await;
    assert_eq!(redriven.titles(1).await.unwrap(), in_order.titles(1).await.unwrap());
    let (one, other) = (in_order.model.person(person(1), None).await, redriven.model.person(person(1), None).await);
    let (one, other) = (one.unwrap().unwrap().summary, other.unwrap().unwrap().summary);
    assert_eq!(one, other);
    assert!(format!("{one:?}").contains("Married"));
}

async fn shredded_events_are_counted_and_tell_nothing(on: On) {
    let store = store(on).await;
    let mut batch = Batch::starting(FEED, 0);
    batch.push_shredded(&message(1, 1, vec![]).header);
    batch.push_shredded(&with_verdict(message(1, 1, vec![]), Verdict::Quarantined).header);
    batch.push(&message(1, 2, vec![fact("a", "first", 1, 1)]));
    store.model.apply(vec![batch]).await.unwrap();
    store.tell(vec![link(1, 1)]).await;
    assert_eq!(store.titles(1).await.unwrap(), ["first"]);
    let health = store.model.feed_health("feed-1").await.unwrap();
    assert_eq!((health.accepted, health.quarantined), (2, 1));
    assert_eq!(store.model.quarantine(None, Kept::All, 9, None).await.unwrap()[0].issues, []);
}

async fn feeds_are_registered_changed_paused_and_resumed(on: On) {
    let store = store(on).await;
    let paused = || async { store.model.feed("pas").await.unwrap().map(|feed| (feed.paused, feed.revision)) };
    assert_eq!(paused().await, None);
    store.tell(vec![register("pas", "one"), register("lab", "two")]).await;
    assert_eq!(paused().await, Some((false, 0)));
    store.tell(vec![switch("pas", true), register("pas", "three")]).await;
    assert_eq!(paused().await, Some((true, 3)));
    store.tell(vec![switch("pas", false)]).await;
    assert_eq!(paused().await, Some((false, 3)));
    let names: Vec<String> = store.model.feeds().await.unwrap().into_iter().map(|feed| feed.feed).collect();
    assert_eq!(names, ["lab", "pas"]);
}

async fn late_demographics_change_nothing_that_is_known(on: On) {
    let store = store(on).await;
    store.tell(vec![link(1, 1), message_of(1, 20, "Lovelace", vec![]), message_of(1, 10, "Byron", vec![])]).await;
    let family = || async {
        let shown = store.model.person(person(1), None).await.unwrap().unwrap();
        shown.summary.name.unwrap().family
    };
    assert_eq!(family().await, "Lovelace");
    store.tell(vec![message_of(1, 20, "King", vec![])]).await;
    assert_eq!(family().await, "King");
    let number = NhsNumber::parse(NHS_NUMBER).unwrap();
    assert_eq!(store.model.find_by_nhs_number(number, 9, None).await.unwrap().persons.len(), 1);
}

#[tokio::test]
async fn another_version_or_another_program_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("readmodel.db");
    ReadModel::open(&path).await.unwrap().close().await.unwrap();
    let execute = async |sql: &'static str| {
        use sqlx::{ConnectOptions, Connection};
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let mut conn = options.connect().await.unwrap();
        sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    };
    execute("PRAGMA user_version = 999").await;
    let refused = ReadModel::open(&path).await;
    assert!(matches!(&refused, Err(OpenModelError::Version { found: 999, .. })), "{refused:?}");
    execute("PRAGMA application_id = 0").await;
    assert!(matches!(ReadModel::open(&path).await, Err(OpenModelError::Foreign { .. })));
    std::fs::write(&path, "no database at all, but long enough that it is looked at").unwrap();
    assert!(matches!(ReadModel::open(&path).await, Err(OpenModelError::Store { .. })));
}
