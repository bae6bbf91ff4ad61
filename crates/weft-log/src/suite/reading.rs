//! Waiting, pages, bytes and names, for as long as the log is open.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use weft_model::{Partition, SourceRecordId, Stream};

use super::{FEED, Start, append, message, read_all, read_one, record, within};
use crate::{AppendError, ReadError, ReadLimit, SharedLog, header, leaf_hash};

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
