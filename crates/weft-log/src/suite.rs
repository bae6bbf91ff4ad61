//! The behaviour suite of [`EventLog`](crate::EventLog): one plain function per promise. Every backend runs all of them, each on a log of
//! its own; they panic where a promise is broken.
//!
//! All of them also hold on a log that holds other events already, and whatever the number of its feed partitions: they
//! look only at their own feeds, and count from where they began.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a suite fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use tokio::sync::watch;
use weft_model::{
    Partition, Payload, Position, SourceRecordId, Stream, Verdict,
    proto::event::{Disclosed, FeedRegistered, MessageReceived, RecordLinked},
};

use crate::{
    AppendError, Draft, FeedStatistics, Follower, OpenError, ReadError, ReadLimit, Receipt, Same, SharedLog, Stored,
    header, leaf_hash,
};

mod redriven;

pub use redriven::{
    a_message_is_read_again_from_the_log, a_quarantined_message_is_accepted_once, reading_again_at_once_accepts_once,
    unreadable,
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

/// What was appended is read back in order, at the positions of the receipts, and opens to what was given.
pub async fn append_then_read_is_in_order(log: SharedLog) {
    let start = Start::of(&log).await;
    let drafts: Vec<_> =
        (0..40).map(|n| message("order", &format!("M{n:04}"), &format!("content {n}"), n % 20)).collect();
    let mut receipts = Vec::new();
    for draft in &drafts {
        receipts.extend(append(&log, vec![draft.clone()]).await);
    }
    let stored = start.read_since(&log).await;
    assert_eq!(stored.len(), drafts.len());
    let mut next = start.0.clone();
    for (receipt, draft) in receipts.iter().zip(&drafts) {
        let offset = next.get_mut(&receipt.position.partition).unwrap();
        assert_eq!(receipt.position.offset, *offset, "each partition in the order of the calls");
        *offset += 1;
        assert_eq!((receipt.verdict, receipt.stored), (Verdict::Accepted, Verdict::Accepted));
        opens_to(&log, &stored[&receipt.position], draft, receipt).await;
    }
}

/// All events about one record lie in one partition, and the records are spread over all of them.
pub async fn a_record_has_one_partition(log: SharedLog) {
    let mut by_record: BTreeMap<u64, BTreeSet<Partition>> = BTreeMap::new();
    for round in 0..3 {
        let drafts = (0..200).map(|n| message(&format!("partition-{round}"), &format!("{n}"), "content", n % 100));
        for (n, receipt) in append(&log, drafts.collect()).await.into_iter().enumerate() {
            by_record.entry(n as u64 % 100).or_default().insert(receipt.position.partition);
        }
    }
    assert!(by_record.values().all(|partitions| partitions.len() == 1));
    let used: BTreeSet<Partition> = by_record.into_values().flatten().collect();
    let all: BTreeSet<Partition> = log.partitions().into_iter().filter(|p| p.stream == Stream::Feed).collect();
    assert_eq!(used, all);
}

/// Small and large payloads, with and without a record, of every stream, open to what was appended.
pub async fn open_gives_back_what_was_appended(log: SharedLog) {
    let large = incompressible(200_000);
    let registered = FeedRegistered { feed: "open".into(), profile_toml: "feed = 'open'".into(), by: "ops".into() };
    let drafts = [
        message("open", "small", "x", 1),
        message("open", "large", &large, 1),
        Draft { verdict: Verdict::Quarantined, ..message("open", "quarantined", "y", 2) },
        named("open-link", 3),
        Draft { payload: Payload::FeedRegistered(registered), cause: None, ..named("open-feed", 0) },
        Draft {
            payload: Payload::Disclosed(Disclosed { entries: 3, ..Disclosed::default() }),
            ..named("open-disclosed", 0)
        },
    ];
    for draft in drafts {
        let receipt = append(&log, vec![draft.clone()]).await[0];
        let stored = log.read(receipt.position, ReadLimit { events: 1, bytes: 1 }).await.unwrap();
        assert_eq!(stored.len(), 1);
        opens_to(&log, &stored[0], &draft, &receipt).await;
    }
}

/// Thirty-two writers at once: offsets stay dense, nobody's event is lost or stored twice, and a reader that follows
/// meanwhile sees each once, in order.
pub async fn dense_under_many_writers(log: SharedLog) {
    const WRITERS: u64 = 32;
    const EACH: u64 = 50;
    let start = Start::of(&log).await;
    let (written, written_seen) = watch::channel(false);
    let readers = start
        .0
        .clone()
        .into_iter()
        .map(|(partition, size)| tokio::spawn(follow(Arc::clone(&log), partition.at(size), written_seen.clone())));
    let readers: Vec<_> = readers.collect();
    let writer = |writer: u64| {
        let log = Arc::clone(&log);
        async move {
            let mut receipts = Vec::new();
            for n in 0..EACH {
                let record = (writer * EACH + n) % 97;
                let draft = message(&format!("dense-{}", writer % 4), &format!("{writer}-{n}"), "content", record);
                receipts.extend(append(&log, vec![draft]).await);
            }
            receipts
        }
    };
    let receipts = join_all((0..WRITERS).map(|n| tokio::spawn(writer(n)))).await;
    let receipts: Vec<Receipt> = receipts.into_iter().flat_map(Result::unwrap).collect();
    written.send_replace(true);
    let stored = start.read_since(&log).await;
    let positions: BTreeSet<Position> = receipts.iter().map(|receipt| receipt.position).collect();
    assert_eq!(positions.len() as u64, WRITERS * EACH);
    assert!(stored.keys().eq(&positions));
    for receipt in &receipts {
        assert_eq!(header(&stored[&receipt.position]).unwrap().id(), receipt.event_id);
    }
    let mut followed = BTreeMap::new();
    for reader in readers {
        let seen = within(reader).await.unwrap();
        followed.extend(seen.into_iter().map(|event| (event.position, event)));
    }
    assert!(followed == stored, "a follower sees each event once, as it is stored");
}

/// The drafts of one call stand next to each other, in order, also while others append; those of two streams become
/// visible together.
pub async fn the_drafts_of_one_call_stay_together(log: SharedLog) {
    let call = |writer: u64| {
        let log = Arc::clone(&log);
        async move {
            let mut drafts: Vec<_> =
                (0..5).map(|n| message("together", &format!("{writer}-{n}"), "content", writer)).collect();
            drafts.push(named(&format!("together-{writer}"), writer));
            append(&log, drafts).await
        }
    };
    for receipts in join_all((0..40).map(|n| tokio::spawn(call(n)))).await {
        let receipts = receipts.unwrap();
        let first = receipts[0].position;
        let positions: Vec<Position> = receipts[..5].iter().map(|receipt| receipt.position).collect();
        assert_eq!(positions, (first.offset..first.offset + 5).map(|n| first.partition.at(n)).collect::<Vec<_>>());
        assert_eq!(receipts[5].position.partition.stream, Stream::Identity);
        for receipt in receipts {
            assert!(log.size(receipt.position.partition).await.unwrap() > receipt.position.offset);
        }
    }
}

/// A call that cannot be stored whole stores nothing.
pub async fn a_refused_call_stores_nothing(log: SharedLog) {
    let sizes = sizes(&log).await;
    let too_large = incompressible(40 << 20);
    let refused = log.append(vec![message("refused", "1", "fine", 1), message("refused", "2", &too_large, 1)]).await;
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })), "{:?}", refused.map(|_| ()));
    assert_eq!(self::sizes(&log).await, sizes);
    assert_eq!(append(&log, vec![message("refused", "1", "fine", 1)]).await[0].verdict, Verdict::Accepted);
}

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

/// Waiting returns at once for what is there and soon for what comes.
pub async fn waiting_ends_when_events_come(log: SharedLog) {
    for n in 0..10 {
        let sizes = Start::of(&log).await;
        let waiting: BTreeMap<Partition, _> = sizes
            .0
            .iter()
            .map(|(partition, size)| {
                let (log, partition, size) = (Arc::clone(&log), *partition, *size);
                (partition, tokio::spawn(async move { log.wait(partition, size).await.unwrap() }))
            })
            .collect();
        let partition = append(&log, vec![message("wait", &format!("{n}"), "a", n)]).await[0].position.partition;
        let size = sizes.0[&partition];
        for (waiting_for, waiting) in waiting {
            if waiting_for == partition {
                assert_eq!(within(waiting).await.unwrap(), size + 1);
            } else {
                assert!(!waiting.is_finished());
                waiting.abort();
            }
        }
        assert_eq!(within(log.wait(partition, size)).await.unwrap(), size + 1);
    }
}

/// Pages respect both limits, always hold at least one event, and are empty beyond the end.
pub async fn pages_respect_their_limits(log: SharedLog) {
    let drafts = (0..10).map(|n| message("pages", &format!("{n}"), &format!("content {n}"), 1));
    let first = append(&log, drafts.collect()).await[0].position;
    let (partition, start) = (first.partition, first.offset);
    let page = |offset, events, bytes| log.read(partition.at(start + offset), ReadLimit { events, bytes });
    assert_eq!(page(0, 3, usize::MAX).await.unwrap().len(), 3);
    assert_eq!(page(8, 30, usize::MAX).await.unwrap().len(), 2);
    assert_eq!(page(0, 30, 0).await.unwrap().len(), 1);
    let one = page(0, 1, usize::MAX).await.unwrap()[0].bytes.len();
    assert_eq!(page(0, 30, one).await.unwrap().len(), 2, "stops after the event that exceeds the limit");
    assert_eq!(page(10, 1, usize::MAX).await.unwrap(), []);
    assert_eq!(page(1 << 40, 1, usize::MAX).await.unwrap(), []);
    for missing in [Stream::Feed.partition(1 << 20), Stream::Identity.partition(1)] {
        assert_eq!(log.read(missing.at(0), ReadLimit::PAGE).await.unwrap(), []);
        assert_eq!(log.size(missing).await.unwrap(), 0);
    }
}

/// Bytes have their leaf hash and stay what they are, however often and in whatever pages they are read.
pub async fn bytes_never_change(log: SharedLog) {
    append(&log, (0..5).map(|n| message("bytes", &format!("{n}"), "content", n)).collect()).await;
    for partition in log.partitions() {
        let first = read_all(&log, partition.at(0)).await;
        for event in &first {
            assert_eq!(event.leaf, leaf_hash(&event.bytes));
            assert_eq!(&read_one(&log, event.position).await, event);
        }
        append(&log, vec![message("bytes", "5", "more", 9)]).await;
        let again = read_all(&log, partition.at(0)).await;
        assert_eq!(again[..first.len()], first[..]);
    }
}

/// A pseudonym is the same whenever it is asked for, stands in the header, and tells records apart.
pub async fn pseudonyms_are_stable(log: SharedLog) {
    let one = log.pseudonym(&record(1));
    assert_eq!(one, log.pseudonym(&record(1)));
    let shifted = SourceRecordId { organisation: "RYJR".into(), system: "YJ-MRN".into(), value: record(1).value };
    assert_ne!(one, log.pseudonym(&shifted), "fields do not run together");
    assert_ne!(one, log.pseudonym(&record(2)));
    let receipt = append(&log, vec![message("pseudonyms", "1", "RYJ-MRN 0000001", 1)]).await[0];
    let stored = read_one(&log, receipt.position).await;
    assert_eq!(header(&stored).unwrap().pseudonym(), Some(one));
    let clear = String::from_utf8_lossy(&stored.bytes).into_owned();
    assert!(!clear.contains("0000001") && !clear.contains("RYJ-MRN"), "identifiers are sealed");
}

/// A caller that gave up has its event stored all the same, or not at all; asking again is always right.
pub async fn a_cancelled_caller_may_ask_again(log: SharedLog) {
    for n in 0..20 {
        let draft = message("cancelled", &format!("{n}"), "content", n);
        let call = log.append(vec![draft.clone()]);
        // Polled once, then dropped.
        let _ = futures::poll!(call);
        let receipt = append(&log, vec![draft]).await[0];
        assert_eq!(receipt.stored, Verdict::Accepted);
    }
    let feeds = log.statistics().await.unwrap().feeds;
    let feed = feeds.iter().find(|feed| feed.feed == "cancelled").unwrap();
    assert_eq!(feed.accepted, 20);
}

/// A closed log answers everything as unavailable; those who wait are woken.
pub async fn closed_is_unavailable(log: SharedLog) {
    let size = log.size(FEED).await.unwrap();
    let waiting = tokio::spawn({
        let log = Arc::clone(&log);
        async move { log.wait(FEED, size + 1_000_000).await }
    });
    let pending = join_all((0..50).map(|n| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.append(vec![message("closed", &format!("{n}"), "content", n)]).await })
    }));
    tokio::task::yield_now().await;
    within(log.close()).await;
    for appended in within(pending).await {
        assert!(matches!(appended.unwrap(), Ok(_) | Err(AppendError::Unavailable(_))));
    }
    assert!(matches!(within(waiting).await.unwrap(), Err(ReadError::Unavailable(_))));
    let late = log.append(vec![message("closed", "late", "content", 1)]).await;
    assert!(matches!(late, Err(AppendError::Unavailable(_))));
    assert!(matches!(log.read(FEED.at(0), ReadLimit::PAGE).await, Err(ReadError::Unavailable(_))));
    assert!(matches!(log.size(FEED).await, Err(ReadError::Unavailable(_))));
    assert!(matches!(log.statistics().await, Err(ReadError::Unavailable(_))));
    assert!(matches!(log.wait(FEED, 0).await, Err(ReadError::Unavailable(_))));
    within(log.close()).await;
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

/// Text of this many characters with more than six bits in each.
fn incompressible(characters: u32) -> String {
    let mut state = 1u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        char::from(32 + (state >> 24) as u8 % 90)
    };
    (0..characters).map(|_| next()).collect()
}

/// What a follower sees of one partition until everything is written and it has reached the end.
async fn follow(log: SharedLog, start: Position, mut written: watch::Receiver<bool>) -> Vec<Stored> {
    let mut follower = Follower::new(Arc::clone(&log), start).with_limit(ReadLimit { events: 7, bytes: 1 << 20 });
    let mut seen: Vec<Stored> = Vec::new();
    let mut all = false;
    while !all || follower.position().offset < log.size(start.partition).await.unwrap() {
        tokio::select! {
            page = follower.next() => seen.extend(page.unwrap()),
            _ = written.wait_for(|written| *written), if !all => all = true,
        }
    }
    for (event, offset) in seen.iter().zip(start.offset..) {
        assert_eq!(event.position, start.partition.at(offset));
    }
    seen
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
            append_then_read_is_in_order, a_record_has_one_partition, open_gives_back_what_was_appended, dense_under_many_writers,
            the_drafts_of_one_call_stay_together, a_refused_call_stores_nothing, a_named_event_is_stored_once,
            verdicts_on_repeats, a_quarantined_message_is_accepted_once, a_message_is_read_again_from_the_log,
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
