//! The notary: cuts follow each other whatever happens between them, and nothing is signed that is not so.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{fs, path::Path, sync::Arc, time::Duration};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use support::{Seconds, notary, notary_key};
use weft_log::{
    AsOfError, Draft, EmbeddedLog, LogEvidence, MemoryLog, NotaryError, OpenOptions, SharedLog, Taken, TreeHead,
    VerifyOptions, cut, merkle::Tree, suite,
};
use weft_model::{
    AsOf, Partition, Payload, Stream,
    proto::event::{CutTaken, Disclosed},
};

const CONTROL: Partition = Partition { stream: Stream::Control, number: 0 };

async fn open(dir: &Path) -> SharedLog {
    let options = OpenOptions::new(dir.join("log"), support::vault(&dir.join("vault")));
    Arc::new(EmbeddedLog::open(options).await.unwrap())
}

async fn append(log: &SharedLog, from: u64, to: u64) {
    let drafts = (from..to).map(|n| suite::message("notary", &format!("{n}"), &format!("content {n}"), n % 17));
    log.append(drafts.collect()).await.unwrap();
}

async fn disclose(log: &SharedLog, name: &str) {
    let payload = Payload::Disclosed(Disclosed { entries: 1, ..Disclosed::default() });
    log.append(vec![weft_log::Draft { payload, cause: None, ..suite::named(name, 0) }]).await.unwrap();
}

async fn cuts(log: &SharedLog) -> Vec<Taken> {
    cut::list(&LogEvidence(Arc::clone(log)), 0, usize::MAX).await.unwrap()
}

/// Every cut follows the one before, is signed, and has the roots of what the log holds: all of it made anew here.
async fn check_chain(log: &SharedLog, count: usize) -> Vec<Taken> {
    let cuts = cuts(log).await;
    assert_eq!(cuts.len(), count);
    let mut of_cuts = Tree::default();
    for (n, cut) in cuts.iter().enumerate() {
        let before = n.checked_sub(1).map(|n| &cuts[n]);
        assert_eq!((cut.tick, cut.previous), (n as u64, before.map(Taken::leaf)));
        assert!(before.is_none_or(|before| before.recorded_us < cut.recorded_us));
        of_cuts.push(cut.leaf());
        let head = TreeHead::verify(&cut.checkpoint, notary_key().public()).unwrap();
        assert_eq!((head.size, head.root), (of_cuts.size(), of_cuts.root()));
        assert!(cut.partitions[&CONTROL].size <= cut.position.offset, "a cut does not cover itself");
        assert_eq!(cut.partitions.keys().copied().collect::<Vec<_>>(), log.partitions());
        for (partition, root) in &cut.partitions {
            let stored = suite::read_all(log, partition.at(0)).await;
            let mut tree = Tree::default();
            stored.iter().take(root.size as usize).for_each(|stored| tree.push(stored.leaf));
            assert_eq!((tree.size(), tree.root()), (root.size, root.root), "{partition} at cut {n}");
        }
    }
    cuts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_follow_each_other_and_cover_every_stream() {
    let dir = tempfile::tempdir().unwrap();
    let log: SharedLog = Arc::new(MemoryLog::new(support::vault(&dir.path().join("vault"))));
    let notary = notary(&log, dir.path());
    assert_eq!(notary.cut_now().await.unwrap(), None, "nothing happened yet");
    append(&log, 0, 10).await;
    assert_eq!(notary.cut_now().await.unwrap(), Some(0));
    assert_eq!(notary.cut_now().await.unwrap(), None, "its own cut is no news");
    log.append(vec![suite::named("link", 1)]).await.unwrap();
    assert_eq!(notary.cut_now().await.unwrap(), Some(1));
    disclose(&log, "shown").await;
    assert_eq!(notary.cut_now().await.unwrap(), Some(2));
    let cuts = check_chain(&log, 3).await;
    assert_eq!(cuts[2].cut().to_string(), "feed/0/10,identity/0/1,control/0/2,access/0/1");
    assert_eq!(notary.remembered.read().unwrap().as_ref(), Some(&cuts[2].checkpoint));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_with_the_nodes_and_without_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut ticks = 0;
    for round in 0..6u64 {
        let log = open(dir.path()).await;
        let notary = notary(&log, dir.path());
        for part in 0..3 {
            let from = round * 900 + part * 300;
            append(&log, from, from + 300).await;
            // A new one each time: nothing but files carries over.
            assert_eq!(notary.cut_now().await.unwrap(), Some(ticks), "round {round}");
            ticks += 1;
        }
        check_chain(&log, ticks as usize).await;
        log.close().await;
        let nodes = dir.path().join("merkle");
        match round {
            1 => fs::remove_dir_all(&nodes).unwrap(),
            2 => fs::write(nodes.join("feed-0.8"), [7; 100]).unwrap(),
            3 => fs::write(nodes.join("feed-0.8"), vec![7; 32 * 100]).unwrap(),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_moment_leaves_a_chain_that_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let notary_at_work = notary(&log, dir.path());
    let writing = tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            for n in 0..150 {
                append(&log, n * 20, n * 20 + 20).await;
                notary_at_work.cut_now().await.unwrap();
            }
            let _ = stop.send(());
        }
    });
    let mut images = Vec::new();
    let mut stopped = std::pin::pin!(stopped);
    while tokio::time::timeout(Duration::from_millis(40), &mut stopped).await.is_err() {
        // What a crash leaves: the files as they are at some moment, without SQLite's shared memory. The remembered
        // checkpoint first: a cut is remembered after it is stored.
        let image = tempfile::tempdir().unwrap();
        copy(dir.path(), image.path(), &["checkpoint"]);
        copy(&dir.path().join("log"), &image.path().join("log"), &["log.db", "log.db-wal"]);
        copy(&dir.path().join("merkle"), &image.path().join("merkle"), &["feed-0.8", "cuts.8"]);
        images.push(image);
    }
    writing.await.unwrap();
    check_chain(&log, 150).await;
    assert!(!images.is_empty());
    for image in images.iter().rev().take(8) {
        let vault = support::vault(&dir.path().join("vault"));
        let options = OpenOptions::new(image.path().join("log"), vault);
        let crashed: SharedLog = Arc::new(EmbeddedLog::open(options).await.unwrap());
        let notary = notary(&crashed, image.path());
        append(&crashed, 100_000, 100_001).await;
        let tick = notary.cut_now().await.unwrap().unwrap();
        check_chain(&crashed, tick as usize + 1).await;
        crashed.close().await;
    }
    log.close().await;
}

fn copy(from: &Path, to: &Path, names: &[&str]) {
    fs::create_dir_all(to).unwrap();
    for name in names {
        // What is not there yet was not there at the crash either.
        let _ = fs::copy(from.join(name), to.join(name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_notaries_never_take_the_same_cut() {
    let dir = tempfile::tempdir().unwrap();
    let log: SharedLog = Arc::new(MemoryLog::new(support::vault(&dir.path().join("vault"))));
    let one = |n: u64| {
        let (log, dir) = (Arc::clone(&log), dir.path().join(format!("{n}")));
        fs::create_dir_all(&dir).unwrap();
        tokio::spawn(async move {
            let notary = notary(&log, &dir);
            for k in 0..20 {
                append(&log, n * 1000 + k * 3, n * 1000 + k * 3 + 3).await;
                notary.cut_now().await.unwrap();
            }
        })
    };
    let both = [one(1), one(2)];
    for notary in both {
        notary.await.unwrap();
    }
    let taken = cuts(&log).await.len();
    check_chain(&log, taken).await;
    let last = cuts(&log).await.pop().unwrap();
    assert_eq!(last.partitions[&Stream::Feed.partition(0)].size, 120);
}

/// Where several nodes write, a delivery that nobody knows of may come after all, behind the cut that was taken in its
/// place. Both are signed, both have the same tick; the first counts, for whoever searches, signs or verifies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_cut_with_a_tick_has_no_effect() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = open(dir.path()).await;
    for tick in 0..3 {
        append(&log, tick * 10, tick * 10 + 10).await;
        assert_eq!(notary(&log, dir.path()).cut_now().await.unwrap(), Some(tick));
    }
    // What another node made of the same moment: cut 3 of this log, and another cut 3 of one that went on by an event more.
    copy(&dir.path().join("vault"), &elsewhere.path().join("vault"), &["node.key", "keys"]);
    copy(&dir.path().join("log"), &elsewhere.path().join("log"), &["log.db", "log.db-wal"]);
    append(&log, 30, 40).await;
    assert_eq!(notary(&log, dir.path()).cut_now().await.unwrap(), Some(3));
    let other = open(elsewhere.path()).await;
    append(&other, 30, 41).await;
    assert_eq!(notary(&other, elsewhere.path()).cut_now().await.unwrap(), Some(3));
    let late = cut::with_tick(&LogEvidence(Arc::clone(&other)), 3).await.unwrap().unwrap();
    other.close().await;

    let first = cuts(&log).await.pop().unwrap();
    assert_ne!(first.leaf(), late.leaf());
    let payload = CutTaken { vector: late.vector.to_vec(), checkpoint: late.checkpoint };
    let same = weft_log::Same::Name(b"late".to_vec());
    let draft = Draft { same, payload: Payload::CutTaken(payload), cause: None, ..suite::named("late", 0) };
    log.append(vec![draft.clone()]).await.unwrap();
    let evidence = LogEvidence(Arc::clone(&log));
    for more in 0..2 {
        let newest = cut::newest(&evidence).await.unwrap().unwrap();
        assert_eq!(newest.tick, 3 + more);
        assert_eq!(cut::with_tick(&evidence, 3).await.unwrap().as_ref(), Some(&first));
        for us in [first.recorded_us, late.recorded_us, first.recorded_us.max(late.recorded_us)] {
            let found = cut::by_time(&evidence, us).await.unwrap().unwrap();
            assert!(found == first || (found.tick == 2 && us < first.recorded_us), "{found:?}");
        }
        let proof = weft_log::prove(&evidence, Stream::Feed.partition(0).at(35), None, None).await.unwrap();
        assert!(proof.verify(notary_key().public()).is_ok());
        append(&log, 100 + more * 10, 110 + more * 10).await;
        assert_eq!(notary(&log, dir.path()).cut_now().await.unwrap(), Some(4 + more));
        // Once more, now behind the cut that came after it.
        let same = weft_log::Same::Name(format!("later {more}").into_bytes());
        log.append(vec![Draft { same, ..draft.clone() }]).await.unwrap();
    }
    check_chain(&log, 6).await;
    let options = VerifyOptions { key: notary_key().public().clone(), deep: None, checkpoints: Vec::new() };
    let report = weft_log::verify(Arc::new(evidence), options).await.unwrap();
    assert_eq!((report.damages, report.cuts), (vec![], 6));
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_cuts_while_events_arrive_and_rests_when_none_do() {
    let dir = tempfile::tempdir().unwrap();
    let log: SharedLog = Arc::new(MemoryLog::new(support::vault(&dir.path().join("vault"))));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let role = tokio::spawn(notary(&log, dir.path()).run(async move { stopped.await.unwrap_or_default() }));
    let deadline = Duration::from_secs(60);
    for n in 0..2 {
        append(&log, n * 5, n * 5 + 5).await;
        let reached = log.wait(CONTROL, n);
        tokio::time::timeout(deadline, reached).await.unwrap().unwrap();
    }
    // Its own cuts make none necessary: nothing comes, although it would have had the time.
    let more = tokio::time::timeout(Duration::from_millis(2500), log.wait(CONTROL, 2)).await;
    assert!(more.is_err(), "a cut of nothing");
    append(&log, 100, 101).await;
    stop.send(()).unwrap();
    role.await.unwrap().unwrap();
    let cuts = check_chain(&log, 3).await;
    assert_eq!(cuts[2].partitions[&Stream::Feed.partition(0)].size, 11, "the last cut covers everything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_with_another_past_is_not_signed() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    append(&log, 0, 300).await;
    notary(&log, dir.path()).cut_now().await.unwrap();
    log.close().await;
    let backup = tempfile::tempdir().unwrap();
    copy(&dir.path().join("log"), backup.path(), &["log.db"]);

    let log = open(dir.path()).await;
    append(&log, 300, 310).await;
    notary(&log, dir.path()).cut_now().await.unwrap();
    log.close().await;

    // The backup comes back, and what is remembered does not.
    copy(backup.path(), &dir.path().join("log"), &["log.db"]);
    let log = open(dir.path()).await;
    append(&log, 400, 410).await;
    let refused = notary(&log, dir.path());
    assert!(matches!(refused.check().await, Err(NotaryError::RolledBack { cuts: 1, remembered: 2, .. })));
    assert!(matches!(refused.cut_now().await, Err(NotaryError::RolledBack { .. })));
    // Somebody moves the file away: a second history, which the first one's checkpoint does not fit.
    let remembered = refused.remembered.read().unwrap().unwrap();
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    refused.cut_now().await.unwrap();
    fs::write(dir.path().join("checkpoint"), remembered).unwrap();
    assert!(matches!(refused.check().await, Err(NotaryError::OtherHistory { tick: 1, .. })));
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let other = weft_log::SigningKey::generate("example.nhs.uk/test", &support::Seeded::new(5)).unwrap();
    let other = weft_log::Notary { key: other, ..notary(&log, dir.path()) };
    append(&log, 500, 501).await;
    assert!(matches!(other.cut_now().await, Err(NotaryError::OtherKey(_))));
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_log_is_not_signed_any_further() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    append(&log, 0, 300).await;
    notary(&log, dir.path()).cut_now().await.unwrap();
    log.close().await;
    // Two events change places with everything that belongs to them: each fits its own leaf hash.
    let options = SqliteConnectOptions::new().filename(dir.path().join("log/log.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let swap =
        "UPDATE event_feed SET offset = -1 WHERE offset = 290; UPDATE event_feed SET offset = 290 WHERE offset = 291;
                UPDATE event_feed SET offset = 291 WHERE offset = -1";
    sqlx::raw_sql(swap).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let log = open(dir.path()).await;
    append(&log, 300, 301).await;
    let refused = notary(&log, dir.path()).cut_now().await;
    assert!(matches!(refused, Err(NotaryError::Changed { tick: 0, .. })), "{refused:?}");
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moment_names_the_same_sizes_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let log: SharedLog = Arc::new(MemoryLog::new(support::vault(&dir.path().join("vault"))));
    let evidence = LogEvidence(Arc::clone(&log));
    let notary = notary(&log, dir.path());
    let resolve = async |as_of: AsOf| cut::resolve(&evidence, &as_of, i64::MAX).await;
    assert!(matches!(resolve(AsOf::Tick(0)).await, Err(AsOfError::NoSuchTick(0))));
    for n in 0..40 {
        append(&log, n * 2, n * 2 + 2).await;
        // Runs of decisions between the cuts, some longer than one look.
        for k in 0..n % 5 * 9 {
            let registered = weft_model::proto::event::FeedRegistered { feed: "x".into(), ..Default::default() };
            let payload = Payload::FeedRegistered(registered);
            let draft = weft_log::Draft { payload, cause: None, ..suite::named(&format!("{n}-{k}"), 0) };
            log.append(vec![draft]).await.unwrap();
        }
        assert_eq!(notary.cut_now().await.unwrap(), Some(n));
    }
    let cuts = check_chain(&log, 40).await;
    for taken in &cuts {
        let wanted = taken.cut();
        assert_eq!(resolve(AsOf::Tick(taken.tick)).await.unwrap(), wanted);
        assert_eq!(resolve(AsOf::Time(taken.recorded_us)).await.unwrap(), wanted);
        assert_eq!(resolve(AsOf::Time(taken.recorded_us + 1)).await.unwrap(), wanted);
    }
    assert!(matches!(resolve(AsOf::Tick(40)).await, Err(AsOfError::NoSuchTick(40))));
    assert!(matches!(resolve(AsOf::Time(Seconds::START_US - 1)).await, Err(AsOfError::BeforeTheFirst)));
    let soon = cut::resolve(&evidence, &AsOf::Time(5_000_000), 6_000_000).await;
    assert!(matches!(soon, Err(AsOfError::NotPast)));
    assert_eq!(cut::newest(&evidence).await.unwrap().as_ref(), cuts.last());
    assert_eq!(cuts[39].newest_decision, Some(cuts[39].position.offset - 1));
    let size = log.size(CONTROL).await.unwrap();
    let mut all = suite::read_all(&log, CONTROL.at(0)).await;
    all.retain(|stored| Taken::read(stored).unwrap().is_none());
    assert_eq!(cut::decisions(&evidence, size).await.unwrap(), all, "no decision is skipped");
    all.retain(|stored| stored.position.offset < size / 2);
    assert_eq!(cut::decisions(&evidence, size / 2).await.unwrap(), all);
}
