//! What comes again, and what is counted.

use futures::future::join_all;
use weft_model::{Payload, Stream, Verdict, proto::event::Disclosed};

use super::{append, message, named, opens_to, read_all, read_one, verdicts};
use crate::{Draft, FeedStatistics, Receipt, Same, SharedLog, header};

/// A named event is stored once, whoever appends it again, also within one call and at the same time.
pub async fn a_named_event_is_stored_once(log: SharedLog) {
    let start = log.size(Stream::Identity.partition(0)).await.unwrap();
    let receipts = append(&log, vec![named("once", 1), named("once", 1), named("other", 1)]).await;
    assert_eq!(verdicts(&receipts), [Verdict::Accepted, Verdict::Duplicate, Verdict::Accepted]);
    assert_eq!(receipts[0].position, receipts[1].position);
    let again = join_all((0..10).map(|_| append(&log, vec![named("once", 1)]))).await;
    for receipt in again.into_iter().flatten() {
        assert_eq!((receipt.verdict, receipt.position), (Verdict::Duplicate, receipts[0].position));
        assert_eq!(receipt.event_id, receipts[0].event_id);
    }
    assert_eq!(log.size(Stream::Identity.partition(0)).await.unwrap(), start + 2);
    let other_kind = Draft { payload: Payload::Disclosed(Disclosed::default()), ..named("once", 1) };
    assert_eq!(append(&log, vec![other_kind]).await[0].verdict, Verdict::Accepted, "the kind is part of the name");
}

/// So is one of a series, whose ids are in the order of its numbers.
pub async fn an_event_of_a_series_is_stored_once(log: SharedLog) {
    let of = |number, name: &str| Draft { same: Same::Series(number, name.as_bytes().to_vec()), ..named("", 1) };
    let drafts = [(700, "a"), (2, "a"), (2, "b"), (700, "a"), (300_000, "a")].map(|(number, name)| of(number, name));
    let receipts = append(&log, drafts.to_vec()).await;
    let [new, again] = [Verdict::Accepted, Verdict::Duplicate];
    assert_eq!(verdicts(&receipts), [new, new, new, again, new], "number and name are told apart");
    assert_eq!(receipts[3].position, receipts[0].position);
    let late = append(&log, drafts.to_vec()).await;
    assert_eq!(verdicts(&late), [again; 5]);
    let ids = |receipts: &[Receipt]| receipts.iter().map(|receipt| receipt.event_id.0).collect::<Vec<_>>();
    let [late, ids] = [late, receipts].map(|receipts| ids(&receipts));
    assert_eq!(late, ids);
    assert!(ids[1].max(ids[2]) < ids[0] && ids[0] < ids[4], "ids are in the order of the numbers");
}

/// What comes again long after is found among messages that are new, in a call of its own and together with some; what is
/// new beside it is stored once.
pub async fn a_repeat_among_many_new_is_found(log: SharedLog) {
    use Verdict::{Accepted, Conflict, Duplicate, Quarantined};
    let m = |control_id: &str, content| message("rare", control_id, content, 1);
    let first = append(&log, vec![m("first", "a"), Draft { verdict: Quarantined, ..m("kept", "a") }]).await;
    let mut size = log.size(first[0].position.partition).await.unwrap();
    let cases = [(m("first", "a"), Duplicate, 102), (m("first", "b"), Conflict, 103), (m("kept", "a"), Accepted, 103)];
    for (round, (again, wanted, new)) in cases.into_iter().enumerate() {
        // So many that a log may expect nothing but new ones.
        for n in 0..100 {
            let receipts = append(&log, vec![m(&format!("{round}-{n}"), "a")]).await;
            assert_eq!(verdicts(&receipts), [Accepted], "round {round}");
        }
        let [before, after] = ["before", "after"].map(|name| m(&format!("{round}-{name}"), "a"));
        let receipts = append(&log, vec![before, again, after]).await;
        assert_eq!(verdicts(&receipts), [Accepted, wanted, Accepted], "round {round}");
        assert_eq!(receipts[1].position == first[0].position, wanted == Duplicate, "round {round}");
        size += new;
        assert_eq!(log.size(first[0].position.partition).await.unwrap(), size, "round {round}");
    }
    let feeds = log.statistics().await.unwrap().feeds;
    let counts = feeds.iter().find(|counts| counts.feed == "rare").unwrap();
    assert_eq!((counts.accepted, counts.duplicate, counts.conflict, counts.quarantined), (308, 1, 1, 1));
}

/// The same of a named event.
pub async fn a_name_among_many_new_is_found(log: SharedLog) {
    let first = append(&log, vec![named("rare", 1)]).await;
    for n in 0..100 {
        append(&log, vec![named(&format!("rare {n}"), 1)]).await;
    }
    let drafts = vec![named("rare before", 1), named("rare", 1), named("rare after", 1)];
    let receipts = append(&log, drafts).await;
    assert_eq!(verdicts(&receipts), [Verdict::Accepted, Verdict::Duplicate, Verdict::Accepted]);
    assert_eq!(receipts[1].position, first[0].position);
    assert_eq!(receipts[2].position.offset, receipts[0].position.offset + 1);
}

/// The table of verdicts: what the same or another content under the same or another control id comes to.
pub async fn verdicts_on_repeats(log: SharedLog) {
    use Verdict::{Accepted, Conflict, Duplicate, Quarantined};
    let quarantined = |draft| Draft { verdict: Quarantined, ..draft };
    let m = |control_id, content| message("repeats", control_id, content, 1);
    let cases = [
        ("new", m("1", "a"), Accepted, Accepted, None),
        ("same again", m("1", "a"), Duplicate, Accepted, Some(0)),
        ("other content", m("1", "b"), Conflict, Conflict, None),
        ("the conflict again", m("1", "b"), Duplicate, Conflict, Some(2)),
        ("the first again", m("1", "a"), Duplicate, Accepted, Some(0)),
        ("a third content", m("1", "c"), Conflict, Conflict, None),
        ("same content under another id", m("2", "a"), Accepted, Accepted, None),
        ("quarantined", quarantined(m("3", "a")), Quarantined, Quarantined, None),
        ("quarantined again", quarantined(m("3", "a")), Duplicate, Quarantined, Some(7)),
        ("a conflict that is unreadable too", quarantined(m("3", "b")), Conflict, Conflict, None),
        ("without a control id", m("", "a"), Accepted, Accepted, None),
        ("without a control id, again", m("", "a"), Duplicate, Accepted, Some(10)),
        ("without a control id, other content", m("", "b"), Accepted, Accepted, None),
        ("of another feed", message("repeats-2", "1", "a", 1), Accepted, Accepted, None),
    ];
    // Each in a call of its own, then all in one call for another feed, must come to the same.
    let mut one_by_one = Vec::new();
    for (_, draft, ..) in &cases {
        one_by_one.extend(append(&log, vec![draft.clone()]).await);
    }
    let other_feed =
        |(_, draft, ..): &(_, Draft, _, _, _)| Draft { feed: format!("{}-at-once", draft.feed), ..draft.clone() };
    let at_once = append(&log, cases.iter().map(other_feed).collect()).await;
    for receipts in [one_by_one, at_once] {
        for ((name, _, verdict, stored, first), receipt) in cases.iter().zip(&receipts) {
            assert_eq!((receipt.verdict, receipt.stored), (*verdict, *stored), "{name}");
            if let Some(first) = first {
                assert_eq!(receipt.position, receipts[*first].position, "{name}");
                assert_eq!(receipt.event_id, receipts[*first].event_id, "{name}");
            }
            let event = read_one(&log, receipt.position).await;
            assert_eq!(header(&event).unwrap().verdict(), *stored, "{name}");
        }
    }
}

/// A conflict keeps what the message said: only its verdict differs from what was appended.
pub async fn a_conflict_keeps_its_payload(log: SharedLog) {
    append(&log, vec![message("keeps", "1", "first", 1)]).await;
    let draft = message("keeps", "1", &"second ".repeat(100), 2);
    let receipt = append(&log, vec![draft.clone()]).await[0];
    assert_eq!(receipt.verdict, Verdict::Conflict);
    let stored = read_one(&log, receipt.position).await;
    opens_to(&log, &stored, &Draft { verdict: Verdict::Conflict, ..draft }, &receipt).await;
}

/// Received = accepted + duplicate + conflict + quarantined, by feed; events and bytes by partition.
pub async fn counts_add_up(log: SharedLog) {
    let before = log.statistics().await.unwrap();
    let quarantined = Draft { verdict: Verdict::Quarantined, ..message("counts", "3", "c", 1) };
    let drafts = vec![
        message("counts", "1", "a", 1),
        message("counts", "1", "a", 1),
        message("counts", "1", "b", 1),
        message("counts", "2", "a", 1),
        quarantined,
        named("counts", 1),
    ];
    let sent = drafts.len() as u64 - 1;
    append(&log, drafts.clone()).await;
    append(&log, drafts[..1].to_vec()).await;
    let after = log.statistics().await.unwrap();
    let feed = after.feeds.iter().find(|feed| feed.feed == "counts").unwrap();
    let counts = FeedStatistics { accepted: 2, duplicate: 2, conflict: 1, quarantined: 1, ..FeedStatistics::default() };
    let wanted = FeedStatistics { feed: "counts".into(), ..counts };
    assert_eq!(feed, &wanted);
    assert_eq!(feed.received(), sent + 1);
    assert!(after.feeds.is_sorted_by_key(|feed| &feed.feed));
    assert_eq!(after.partitions.iter().map(|p| p.partition).collect::<Vec<_>>(), log.partitions());
    for (before, after) in before.partitions.iter().zip(&after.partitions) {
        let start = after.partition.at(before.events);
        let stored = read_all(&log, start).await;
        assert_eq!(after.events - before.events, stored.len() as u64);
        assert_eq!(after.bytes - before.bytes, stored.iter().map(|event| event.bytes.len() as u64).sum::<u64>());
        assert_eq!(log.size(after.partition).await.unwrap(), after.events);
    }
}
