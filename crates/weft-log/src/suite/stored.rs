//! What was appended: where it lies, that it is whole, and that it is read back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use prost::Message;
use tokio::sync::watch;
use weft_model::{
    Partition, Payload, Position, Stream, Verdict,
    proto::event::{Disclosed, Envelope, FeedRegistered},
};

use super::{Start, append, message, named, opens_to, sizes, within};
use crate::{AppendError, Draft, Follower, ReadLimit, Receipt, SharedLog, Stored, header};

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

/// Every stored event has a nonce of its own: those of one call, those whose record is new and those whose record is known, and
/// those that the writer seals anew because they turn out to be in conflict.
pub async fn no_nonce_is_used_twice(log: SharedLog) {
    let start = Start::of(&log).await;
    for round in 0..3 {
        let drafts = (0..60).map(|n| message("nonce", &format!("{}", n % 50), &format!("{round} {n}"), n % 7));
        append(&log, drafts.collect()).await;
    }
    let stored = start.read_since(&log).await;
    assert_eq!(stored.len(), 180);
    let parts = stored.values().flat_map(|event| Envelope::decode(event.bytes.clone()).unwrap().parts);
    let nonces: Vec<Vec<u8>> = parts.map(|part| part.nonce).collect();
    assert!(nonces.iter().all(|nonce| nonce.len() == 12));
    assert_eq!(nonces.iter().collect::<BTreeSet<_>>().len(), stored.len());
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

/// Drafts that are to come after others are stored once those are, and not at all where they never are.
pub async fn drafts_wait_for_what_comes_before_them(log: SharedLog) {
    let identity = Stream::Identity.partition(0);
    let later = |before, name: &'static str| {
        let log = Arc::clone(&log);
        tokio::spawn(
            async move { log.append_after(before, vec![named(name, 1), named(&format!("{name}-2"), 2)]).await },
        )
    };
    let (stored, before) = watch::channel(false);
    let waiting = later(before.clone(), "wait-later");
    // Long enough for what does not wait.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let first = append(&log, vec![named("wait-first", 1)]).await[0].position;
    assert!(!waiting.is_finished());
    assert_eq!(log.size(identity).await.unwrap(), first.offset + 1);
    stored.send_replace(true);
    let receipts = within(waiting).await.unwrap().unwrap();
    let offsets: Vec<u64> = receipts.iter().map(|receipt| receipt.position.offset).collect();
    assert_eq!(offsets, [first.offset + 1, first.offset + 2]);
    // It has been said, whoever asks when.
    drop(stored);
    let again = within(later(before, "wait-later")).await.unwrap().unwrap();
    assert_eq!(again.iter().map(|receipt| receipt.position.offset).collect::<Vec<_>>(), offsets);

    let (never, before) = watch::channel(false);
    let waiting = later(before, "wait-never");
    drop(never);
    let refused = within(waiting).await.unwrap();
    assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{:?}", refused.map(|_| ()));
    assert_eq!(log.size(identity).await.unwrap(), first.offset + 3);
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
