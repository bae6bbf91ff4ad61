//! The behaviour suite of [`EventLog`](crate::EventLog): one plain function per promise. Every backend runs all of them, each on a log of
//! its own; they panic where a promise is broken.
//!
//! All of them also hold on a log that holds other events already, and whatever the number of its feed partitions: they
//! look only at their own feeds, and count from where they began.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a suite fails by panicking")]

use std::{collections::BTreeMap, future::Future, time::Duration};

use futures::future::join_all;
use weft_model::{
    Partition, Payload, Position, SourceRecordId, Stream, Verdict,
    proto::event::{MessageReceived, RecordLinked},
};

use crate::{Draft, OpenError, ReadLimit, Receipt, Same, SharedLog, Stored, header};

mod reading;
mod redriven;
mod repeats;
mod stored;

pub use reading::{
    bytes_never_change, closed_is_unavailable, pages_respect_their_limits, pseudonyms_are_stable,
    waiting_ends_when_events_come,
};
pub use redriven::{
    a_message_is_read_again_from_the_log, a_quarantined_message_is_accepted_once, reading_again_at_once_accepts_once,
    unreadable,
};
pub use repeats::{
    a_conflict_keeps_its_payload, a_name_among_many_new_is_found, a_named_event_is_stored_once,
    a_repeat_among_many_new_is_found, an_event_of_a_series_is_stored_once, counts_add_up, verdicts_on_repeats,
};
pub use stored::{
    a_cancelled_caller_may_ask_again, a_record_has_one_partition, a_refused_call_stores_nothing,
    append_then_read_is_in_order, dense_under_many_writers, drafts_wait_for_what_comes_before_them,
    no_nonce_is_used_twice, open_gives_back_what_was_appended, the_drafts_of_one_call_stay_together,
};

/// Long enough for every machine; only a broken log makes anyone wait for it.
const DEADLINE: Duration = Duration::from_secs(60);
const FEED: Partition = Partition { stream: Stream::Feed, number: 0 };

/// A message of `feed` about record number `record`.
#[must_use]
pub fn message(feed: &str, control_id: &str, content: &str, record: u64) -> Draft {
    Draft {
        same: Same::Message,
        feed: feed.to_owned(),
        control_id: control_id.to_owned(),
        message_type: "ADT^A01".to_owned(),
        verdict: Verdict::Accepted,
        received_us: 1_714_555_805_250_000,
        cause: None,
        payload: Payload::MessageReceived(MessageReceived {
            raw: content.to_owned().into_bytes().into(),
            record: Some(self::record(record)),
            ..MessageReceived::default()
        }),
    }
}

/// An event of stream `identity` with this name.
#[must_use]
pub fn named(name: &str, record: u64) -> Draft {
    Draft {
        same: Same::Name(name.as_bytes().to_vec()),
        feed: String::new(),
        control_id: String::new(),
        message_type: String::new(),
        verdict: Verdict::Unspecified,
        received_us: 0,
        cause: Some(FEED.at(7)),
        payload: Payload::RecordLinked(RecordLinked { record: Some(self::record(record)), ..RecordLinked::default() }),
    }
}

/// Source record number `n`.
#[must_use]
pub fn record(n: u64) -> SourceRecordId {
    SourceRecordId { organisation: "RYJ".to_owned(), system: "RYJ-MRN".to_owned(), value: format!("{n:07}") }
}

/// Every event from `from` on.
pub async fn read_all(log: &SharedLog, from: Position) -> Vec<Stored> {
    let mut events: Vec<Stored> = Vec::new();
    loop {
        let next = from.partition.at(from.offset + events.len() as u64);
        let page = log.read(next, ReadLimit { events: 100, bytes: 1 << 20 }).await.unwrap();
        if page.is_empty() {
            return events;
        }
        events.extend(page);
    }
}

async fn append(log: &SharedLog, drafts: Vec<Draft>) -> Vec<Receipt> {
    let wanted = drafts.len();
    let receipts = within(log.append(drafts)).await.unwrap();
    assert_eq!(receipts.len(), wanted);
    receipts
}

async fn read_one(log: &SharedLog, position: Position) -> Stored {
    log.read(position, ReadLimit { events: 1, bytes: usize::MAX }).await.unwrap().remove(0)
}

async fn opens_to(log: &SharedLog, stored: &Stored, draft: &Draft, receipt: &Receipt) {
    let event = match log.open(stored).await {
        Ok(event) => event,
        Err(OpenError::Vault(error)) => panic!("{error}"),
        Err(error) => panic!("{error}"),
    };
    assert!(event.payload == draft.payload, "payload at {}", stored.position);
    assert_eq!(event.header, header(stored).unwrap());
    assert_eq!(event.header.id(), receipt.event_id);
    assert_eq!(event.header.kind(), draft.payload.kind());
    assert_eq!((&event.header.feed, &event.header.control_id), (&draft.feed, &draft.control_id));
    assert_eq!(event.header.message_type, draft.message_type);
    assert_eq!(event.header.verdict(), draft.verdict);
    assert_eq!(event.header.received_us, draft.received_us);
    assert_eq!(event.header.cause, draft.cause.map(Position::to_proto));
    assert_eq!(event.header.pseudonym(), draft.payload.record().map(|record| log.pseudonym(&record)));
}

/// The sizes of the feed's partitions at some moment.
struct Start(BTreeMap<Partition, u64>);

impl Start {
    async fn of(log: &SharedLog) -> Self {
        let mut sizes = BTreeMap::new();
        for partition in log.partitions().into_iter().filter(|partition| partition.stream == Stream::Feed) {
            sizes.insert(partition, log.size(partition).await.unwrap());
        }
        Self(sizes)
    }

    /// What was appended since then.
    async fn read_since(&self, log: &SharedLog) -> BTreeMap<Position, Stored> {
        let mut stored = BTreeMap::new();
        for (partition, size) in &self.0 {
            let events = read_all(log, partition.at(*size)).await;
            stored.extend(events.into_iter().map(|event| (event.position, event)));
        }
        stored
    }
}

async fn sizes(log: &SharedLog) -> Vec<u64> {
    join_all(log.partitions().into_iter().map(|partition| async move { log.size(partition).await.unwrap() })).await
}

fn verdicts(receipts: &[Receipt]) -> Vec<Verdict> {
    receipts.iter().map(|receipt| receipt.verdict).collect()
}

async fn within<F: Future>(future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {DEADLINE:?}"),
    }
}

/// Makes a test of every function of the suite: `weft_log::suite_tests!(backend)` where `backend()` is an async function to
/// a log and whatever must live as long as it; or to None, where it has said why it cannot run.
#[macro_export]
macro_rules! suite_tests {
    ($backend:ident) => {
        $crate::suite_tests!(
            $backend:
            append_then_read_is_in_order, a_record_has_one_partition, open_gives_back_what_was_appended, no_nonce_is_used_twice, dense_under_many_writers,
            the_drafts_of_one_call_stay_together, drafts_wait_for_what_comes_before_them,
            a_refused_call_stores_nothing, a_named_event_is_stored_once,
            an_event_of_a_series_is_stored_once,
            verdicts_on_repeats, a_repeat_among_many_new_is_found, a_name_among_many_new_is_found, a_quarantined_message_is_accepted_once,
            a_message_is_read_again_from_the_log,
            reading_again_at_once_accepts_once, a_conflict_keeps_its_payload, counts_add_up, waiting_ends_when_events_come,
            pages_respect_their_limits, bytes_never_change, pseudonyms_are_stable, a_cancelled_caller_may_ask_again,
            closed_is_unavailable
        );
    };
    ($backend:ident: $($name:ident),+) => {
        mod $backend {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    // What cannot run here has said so.
                    let backend: Option<(_, _)> = super::$backend().await.into();
                    let Some((log, _alive)) = backend else { return };
                    $crate::suite::$name(log).await;
                }
            )+
        }
    };
}
