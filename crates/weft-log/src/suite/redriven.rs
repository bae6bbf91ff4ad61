//! Messages that were kept and not projected, and are accepted later.

use std::{collections::BTreeSet, sync::Arc};

use futures::future::join_all;
use weft_model::{
    Payload, Verdict,
    proto::event::{MessageReceived, Redrives},
};

use super::{append, message, opens_to, read_one, verdicts};
use crate::{Draft, FeedStatistics, Receipt, Same, SharedLog, header};

/// What was quarantined is stored once more when it is offered as accepted, as an event that names the one before; from then
/// on it is a duplicate of that, whatever it is offered as.
pub async fn a_quarantined_message_is_accepted_once(log: SharedLog) {
    use Verdict::{Accepted, Conflict, Duplicate, Quarantined};
    for (feed, control_id) in [("redriven-1", "1"), ("redriven-2", "")] {
        let accepted = Draft { received_us: 7_000_000, ..message(feed, control_id, "a", 1) };
        let kept = unreadable(feed, control_id, "a");
        let first = append(&log, vec![kept.clone()]).await[0];
        assert_eq!(verdicts(&append(&log, vec![kept.clone()]).await), [Duplicate]);
        let receipt = append(&log, vec![accepted.clone()]).await[0];
        assert_eq!((receipt.verdict, receipt.stored), (Accepted, Accepted));
        assert_ne!((receipt.position, receipt.event_id), (first.position, first.event_id));
        let stored = read_one(&log, receipt.position).await;
        opens_to(&log, &stored, &accepted, &receipt).await;
        let redrives = Redrives {
            event_id: first.event_id.to_vec(),
            position: Some(first.position.to_proto()),
            received_us: kept.received_us,
            resent: true,
        };
        assert_eq!(header(&stored).unwrap().redrives, Some(redrives));
        let before = read_one(&log, first.position).await;
        opens_to(&log, &before, &kept, &first).await;
        for again in [accepted.clone(), kept, Draft { same: Same::Redriven, ..accepted }] {
            let again = append(&log, vec![again]).await[0];
            assert_eq!((again.verdict, again.stored, again.position), (Duplicate, Accepted, receipt.position));
            assert_eq!(again.event_id, receipt.event_id);
        }
        let other = append(&log, vec![message(feed, control_id, "b", 1)]).await[0];
        let (conflict, new) = if control_id.is_empty() { (0, 1) } else { (1, 0) };
        assert_eq!(other.verdict, if conflict == 1 { Conflict } else { Accepted });
        let counts =
            FeedStatistics { accepted: 1 + new, duplicate: 3, conflict, quarantined: 1, ..FeedStatistics::default() };
        assert_eq!(counted(&log, feed).await, FeedStatistics { feed: feed.into(), ..counts });
    }
    // What comes with the first is a duplicate of it, and is accepted when it comes again.
    let together = vec![unreadable("redriven-3", "1", "a"), message("redriven-3", "1", "a", 1)];
    assert_eq!(verdicts(&append(&log, together.clone()).await), [Quarantined, Duplicate]);
    assert_eq!(verdicts(&append(&log, together[1..].to_vec()).await), [Accepted]);
}

/// What somebody has read again from the log is not counted as received; only so is a conflict accepted.
pub async fn a_message_is_read_again_from_the_log(log: SharedLog) {
    use Verdict::{Accepted, Conflict, Duplicate, Quarantined};
    let again = |draft| Draft { same: Same::Redriven, ..draft };
    let m = |control_id, content| message("again", control_id, content, 1);
    let drafts = vec![m("1", "a"), m("1", "b"), unreadable("again", "2", "a"), m("1", "b")];
    let receipts = append(&log, drafts).await;
    assert_eq!(verdicts(&receipts), [Accepted, Conflict, Quarantined, Duplicate]);
    let still = append(&log, vec![again(unreadable("again", "2", "a")), again(m("1", "a"))]).await;
    assert_eq!(
        still.iter().map(|r| (r.verdict, r.stored)).collect::<Vec<_>>(),
        [(Duplicate, Quarantined), (Duplicate, Accepted)]
    );
    let redriven = append(&log, vec![again(m("1", "b")), again(m("2", "a"))]).await;
    assert_eq!(verdicts(&redriven), [Accepted, Accepted]);
    for (receipt, first) in redriven.iter().zip(&receipts[1..]) {
        let event = read_one(&log, receipt.position).await;
        let redrives = header(&event).unwrap().redrives.unwrap();
        assert_eq!((redrives.event_id, redrives.resent), (first.event_id.to_vec(), false));
        assert_eq!(redrives.position, Some(first.position.to_proto()));
    }
    for (draft, receipt) in [(m("1", "b"), redriven[0]), (m("2", "a"), redriven[1]), (m("1", "a"), receipts[0])] {
        let sent_again = append(&log, vec![draft]).await[0];
        assert_eq!((sent_again.verdict, sent_again.stored), (Duplicate, Accepted));
        assert_eq!(sent_again.position, receipt.position);
    }
    let counts =
        FeedStatistics { accepted: 1, duplicate: 4, conflict: 1, quarantined: 1, redriven: 2, feed: "again".into() };
    assert_eq!(counts.received(), 7);
    assert_eq!(counted(&log, "again").await, counts);
    let statistics = log.statistics().await.unwrap();
    for counted in statistics.partitions {
        assert_eq!(counted.events, log.size(counted.partition).await.unwrap());
    }
}

/// Whoever reads a message again at the same time, it is accepted once; many of one call stand in their order.
pub async fn reading_again_at_once_accepts_once(log: SharedLog) {
    let kept = |n: u64| unreadable("at-once", &format!("{n}"), "content");
    append(&log, (0..100).map(kept).collect()).await;
    let drafts = |writer: u64| -> Vec<Draft> {
        let same = if writer.is_multiple_of(2) { Same::Message } else { Same::Redriven };
        let draft = |n: u64| Draft { same: same.clone(), ..message("at-once", &format!("{n}"), "content", 3) };
        (0..100).map(draft).collect()
    };
    let all = join_all((0..8).map(|writer| {
        let (log, drafts) = (Arc::clone(&log), drafts(writer));
        tokio::spawn(async move { append(&log, drafts).await })
    }))
    .await;
    let all: Vec<Vec<Receipt>> = all.into_iter().map(Result::unwrap).collect();
    let accepted = all.iter().flatten().filter(|receipt| receipt.verdict == Verdict::Accepted);
    assert_eq!(accepted.map(|receipt| receipt.position).collect::<BTreeSet<_>>().len(), 100);
    for receipts in &all {
        assert!(receipts.iter().all(|receipt| receipt.stored == Verdict::Accepted));
        assert_eq!(
            receipts.iter().map(|r| r.position).collect::<Vec<_>>(),
            all[0].iter().map(|r| r.position).collect::<Vec<_>>()
        );
        assert!(receipts.is_sorted_by_key(|receipt| receipt.position));
    }
    let feed = counted(&log, "at-once").await;
    assert_eq!((feed.quarantined, feed.conflict, feed.accepted + feed.redriven), (100, 0, 100));
}

/// A quarantined message of which not even the record could be read.
#[must_use]
pub fn unreadable(feed: &str, control_id: &str, content: &str) -> Draft {
    let raw = content.to_owned().into_bytes().into();
    let payload = MessageReceived { raw, reason: "wrong-sender".into(), ..MessageReceived::default() };
    let (verdict, payload) = (Verdict::Quarantined, Payload::MessageReceived(payload));
    Draft { verdict, payload, ..message(feed, control_id, content, 1) }
}

async fn counted(log: &SharedLog, feed: &str) -> FeedStatistics {
    log.statistics().await.unwrap().feeds.into_iter().find(|counted| counted.feed == feed).unwrap()
}
