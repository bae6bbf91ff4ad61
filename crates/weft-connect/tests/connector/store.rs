//! What the log says decides what the sender is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::FutureExt;
use tokio::sync::watch;
use weft_connect::ConnectorOptions;
use weft_log::{AppendError, Draft, EventLog, OpenError, ReadError, ReadLimit, Receipt, SharedLog, Statistics, Stored};
use weft_model::{Event, Partition, Payload, Position, Pseudonym, SourceRecordId, Verdict};

use crate::site::{Site, admission, answer, answers, hung_up, send, within};

/// How the log behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Appends wait.
    Hold,
    /// Appends fail, nothing is stored.
    Fail,
    /// Appends fail, although everything is stored.
    FailAfter,
    /// So many appends fail, then they pass.
    FailTimes(usize),
    /// An append with a message that contains `HUGE` can never be stored.
    RefuseHuge,
    /// The same, and any other append of one message fails.
    RefuseHugeFailOthers,
}

/// A log in front of another one that is slow or fails on demand.
struct Faulty {
    inner: SharedLog,
    mode: watch::Receiver<Mode>,
    begun: watch::Sender<usize>,
    failed: AtomicUsize,
}

/// The test's hands on it.
struct Switch {
    mode: watch::Sender<Mode>,
    begun: watch::Receiver<usize>,
}

impl Switch {
    fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    async fn begun(&mut self, appends: usize) {
        within(self.begun.wait_for(|begun| *begun >= appends)).await.unwrap();
    }
}

async fn faulty(mode: Mode) -> (Site, Switch) {
    let (set, mode) = watch::channel(mode);
    let (begun, seen) = watch::channel(0);
    let wrap = |inner| Arc::new(Faulty { inner, mode, begun, failed: AtomicUsize::new(0) }) as SharedLog;
    let brief = |options: &mut ConnectorOptions| options.limits.drain_timeout = Duration::from_millis(300);
    (Site::with("", brief, wrap).await, Switch { mode: set, begun: seen })
}

#[async_trait]
impl EventLog for Faulty {
    async fn append(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>, AppendError> {
        self.begun.send_modify(|begun| *begun += 1);
        let mut mode = self.mode.clone();
        let mode = *mode.wait_for(|mode| *mode != Mode::Hold).await.unwrap();
        let huge = drafts.iter().any(|draft| match &draft.payload {
            Payload::MessageReceived(message) => message.raw.windows(4).any(|word| word == b"HUGE"),
            _ => false,
        });
        match mode {
            Mode::Fail => Err(unavailable()),
            Mode::FailTimes(times) if self.failed.fetch_add(1, Ordering::Relaxed) < times => Err(unavailable()),
            Mode::FailAfter => self.inner.append(drafts).await.and(Err(unavailable())),
            Mode::RefuseHuge | Mode::RefuseHugeFailOthers if huge => Err(AppendError::TooLarge { bytes: 2, limit: 1 }),
            Mode::RefuseHugeFailOthers => Err(unavailable()),
            _ => self.inner.append(drafts).await,
        }
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        self.inner.read(from, limit).await
    }

    async fn wait(&self, partition: Partition, offset: u64) -> Result<u64, ReadError> {
        self.inner.wait(partition, offset).await
    }

    async fn size(&self, partition: Partition) -> Result<u64, ReadError> {
        self.inner.size(partition).await
    }

    fn partitions(&self) -> Vec<Partition> {
        self.inner.partitions()
    }

    async fn open(&self, stored: &Stored) -> Result<Arc<Event>, OpenError> {
        self.inner.open(stored).await
    }

    fn pseudonym(&self, record: &SourceRecordId) -> Pseudonym {
        self.inner.pseudonym(record)
    }

    async fn statistics(&self) -> Result<Statistics, ReadError> {
        self.inner.statistics().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

fn unavailable() -> AppendError {
    AppendError::Unavailable("no space left on device".into())
}

#[tokio::test]
async fn no_answer_before_the_append_returns() {
    let (site, mut switch) = faulty(Mode::Hold).await;
    let mut client = site.client().await;
    within(client.write([&admission("1")[..]])).await.unwrap();
    switch.begun(1).await;
    assert!(client.receive().now_or_never().is_none());
    assert!(site.stored().await.is_empty());
    switch.set(Mode::Pass);
    assert_eq!(answer(&mut client).await, "AA 1");
    assert_eq!(site.stored_ids().await, ["1"]);
}

#[tokio::test]
async fn a_log_that_is_unavailable_is_a_negative_answer() {
    let (mut site, switch) = faulty(Mode::Fail).await;
    let mut client = site.client().await;
    within(client.write([&admission("1")[..], &admission("2")])).await.unwrap();
    assert_eq!(answers(&mut client).await, ["AE 1", "AE 2"]);
    assert!(site.stored().await.is_empty());
    assert_eq!(site.status(|_| true).await.messages_unstored, 2);
    switch.set(Mode::Pass);
    assert_eq!(send(&mut client, &admission("1")).await, "AA 1");
    assert_eq!(site.stored_ids().await, ["1"]);
}

#[tokio::test]
async fn a_log_that_is_unavailable_for_a_moment_is_tried_again() {
    let (site, switch) = faulty(Mode::FailTimes(3)).await;
    let mut client = site.client().await;
    assert_eq!(send(&mut client, &admission("1")).await, "AA 1");
    assert_eq!(*switch.begun.borrow(), 4);
    assert_eq!(site.stored_ids().await, ["1"]);
}

#[tokio::test]
async fn a_log_that_never_returns_does_not_keep_the_node_from_ending() {
    let (site, mut switch) = faulty(Mode::Hold).await;
    let mut client = site.client().await;
    within(client.write([&admission("1")[..]])).await.unwrap();
    switch.begun(1).await;
    let (log, _dir) = site.shutdown().await;
    hung_up(&mut client).await;
    assert!(crate::site::stored(&log).await.is_empty());
}

#[tokio::test]
async fn stored_after_all_is_stored_once() {
    let (site, switch) = faulty(Mode::FailAfter).await;
    let mut client = site.client().await;
    assert_eq!(send(&mut client, &admission("1")).await, "AE 1");
    switch.set(Mode::Pass);
    assert_eq!(send(&mut client, &admission("1")).await, "AA 1");
    assert_eq!(site.stored_ids().await, ["1"]);
}

#[tokio::test]
async fn what_can_never_be_stored_does_not_hold_up_the_rest() {
    let (site, switch) = faulty(Mode::RefuseHuge).await;
    let mut client = site.client().await;
    let three = [admission("1"), admission("HUGE"), admission("3")];
    within(client.write(three.iter().map(Vec::as_slice))).await.unwrap();
    assert_eq!(answers(&mut client).await, ["AA 1", "AR HUGE", "AA 3"]);
    assert_eq!(site.stored_ids().await, ["1", "3"]);
    // Once the log is unavailable nothing of the same read is stored past the failure.
    switch.set(Mode::RefuseHugeFailOthers);
    let three = [admission("HUGE"), admission("5"), admission("6")];
    within(client.write(three.iter().map(Vec::as_slice))).await.unwrap();
    assert_eq!(answers(&mut client).await, ["AR HUGE", "AE 5", "AE 6"]);
    assert_eq!(site.stored_ids().await, ["1", "3"]);
}

#[tokio::test]
async fn duplicates_and_conflicts() {
    let site = Site::new().await;
    let (mut client, mut other) = (site.client().await, site.client().await);
    let changed = String::from_utf8(admission("1")).unwrap().replace("ANNA", "HANNAH").into_bytes();
    assert_eq!(send(&mut client, &admission("1")).await, "AA 1");
    assert_eq!(send(&mut other, &admission("1")).await, "AA 1");
    assert_eq!(send(&mut other, &changed).await, "AE 1");
    // All in one read: the verdicts are the same.
    within(client.write([&admission("2")[..], &admission("2"), &admission("1")])).await.unwrap();
    assert_eq!(answers(&mut client).await, ["AA 2", "AA 2", "AA 1"]);
    let stored = site.stored().await;
    let verdicts: Vec<(&str, Verdict)> = stored.iter().map(|(h, _)| (h.control_id.as_str(), h.verdict())).collect();
    assert_eq!(verdicts, [("1", Verdict::Accepted), ("1", Verdict::Conflict), ("2", Verdict::Accepted)]);
    assert_eq!(stored[1].1.raw, changed);
    let statistics = site.log.statistics().await.unwrap();
    let feed = &statistics.feeds[0];
    assert_eq!((feed.accepted, feed.duplicate, feed.conflict, feed.quarantined), (2, 3, 1, 0));
}

#[tokio::test]
async fn a_message_that_cannot_be_used_is_kept_and_refused() {
    let site = Site::with("[accept]\nsending_applications = [\"LAB\"]", |_| {}, |log| log).await;
    let mut client = site.client().await;
    assert_eq!(send(&mut client, &admission("1")).await, "AR 1");
    assert_eq!(send(&mut client, &admission("1")).await, "AR 1");
    let stored = site.stored().await;
    assert_eq!(stored.len(), 1);
    assert_eq!((stored[0].0.verdict(), stored[0].1.reason.as_str()), (Verdict::Quarantined, "wrong-sender"));
    assert_eq!((stored[0].0.feed.as_str(), stored[0].0.received_us), ("pas", 1_714_555_805_250_000));
}
