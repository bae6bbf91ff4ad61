//! What goes wrong with files: each fault is told with what to do, and loses nothing that had a receipt.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use expect_test::{Expect, expect};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use weft_log::{
    AppendError, EmbeddedLog, OpenError, OpenLogError, OpenOptions, ReadLimit, SharedLog, Vault, VaultError, header,
    suite,
};
use weft_model::{Partition, Stream, Verdict};

const FEED: Partition = Partition { stream: Stream::Feed, number: 0 };

async fn open(dir: &Path) -> Result<SharedLog, OpenLogError> {
    open_with(OpenOptions::new(dir.join("log"), support::vault(&dir.join("vault")))).await
}

async fn open_with(options: OpenOptions) -> Result<SharedLog, OpenLogError> {
    Ok(Arc::new(EmbeddedLog::open(options).await?))
}

async fn append(log: &SharedLog, range: std::ops::Range<u64>) {
    let drafts = range.map(|n| suite::message("faults", &format!("{n}"), &format!("content {n}"), n));
    log.append(drafts.collect()).await.unwrap();
}

fn check_error(error: impl std::error::Error, dir: &TempDir, wanted: Expect) {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    wanted.assert_eq(&text.replace(dir.path().to_str().unwrap(), "DIR"));
}

/// A second connection to the database.
async fn database(dir: &TempDir) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(dir.path().join("log/log.db"));
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// Changes the database as an attacker or a failing disk does.
async fn sql(dir: &TempDir, text: &'static str) {
    let mut connection = database(dir).await;
    sqlx::raw_sql(text).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_keeps_every_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await.unwrap();
    for round in 0..20 {
        let mut receipts = Vec::new();
        for n in 0..10 {
            let draft = suite::message("crash", &format!("{round}-{n}"), "content", round * 10 + n);
            receipts.extend(log.append(vec![draft, suite::named(&format!("{round}-{n}"), n)]).await.unwrap());
        }
        // What a crash leaves: the files as they are at some moment, without SQLite's shared memory.
        let image = tempfile::tempdir().unwrap();
        fs::create_dir(image.path().join("log")).unwrap();
        for name in ["log.db", "log.db-wal"] {
            fs::copy(dir.path().join("log").join(name), image.path().join("log").join(name)).unwrap();
        }
        let vault = support::vault(&dir.path().join("vault"));
        let crashed = open_with(OpenOptions::new(image.path().join("log"), vault)).await.unwrap();
        for receipt in receipts {
            let stored = crashed.read(receipt.position, ReadLimit { events: 1, bytes: 1 }).await.unwrap();
            assert_eq!(header(&stored[0]).unwrap().id(), receipt.event_id);
            crashed.open(&stored[0]).await.unwrap();
        }
        assert_eq!(suite::read_all(&crashed, FEED.at(0)).await, suite::read_all(&log, FEED.at(0)).await);
        let feeds = crashed.statistics().await.unwrap().feeds;
        assert_eq!(feeds[0].accepted, (round + 1) * 10);
        append(&crashed, 0..3).await;
        crashed.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grows_meanwhile_is_opened_to_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let vault = support::vault(&dir.path().join("vault"));
    let log = Arc::new(open(dir.path()).await.unwrap());
    let appending = tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            for n in 0.. {
                append(&log, n..n + 1).await;
            }
        }
    });
    for _ in 0..200 {
        let opened = EmbeddedLog::open_read_only(dir.path().join("log"), Arc::clone(&vault)).await;
        let reader: SharedLog = Arc::new(opened.unwrap());
        reader.close().await;
    }
    appending.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_open_once_and_read_beside() {
    let dir = tempfile::tempdir().unwrap();
    let vault = support::vault(&dir.path().join("vault"));
    let missing = EmbeddedLog::open_read_only(dir.path().join("log"), Arc::clone(&vault)).await.err().unwrap();
    check_error(missing, &dir, expect!["there is no log in DIR/log"]);

    let log = open(dir.path()).await.unwrap();
    append(&log, 0..5).await;
    let second = open(dir.path()).await.err().unwrap();
    check_error(second, &dir, expect!["log in DIR/log is in use by another process: stop that one first"]);

    let reader: SharedLog = Arc::new(EmbeddedLog::open_read_only(dir.path().join("log"), vault).await.unwrap());
    assert_eq!(reader.size(FEED).await.unwrap(), 5);
    let waiting = tokio::spawn({
        let reader = Arc::clone(&reader);
        async move { reader.wait(FEED, 5).await.unwrap() }
    });
    append(&log, 5..8).await;
    let seen = tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap();
    assert_eq!(seen, 8);
    assert_eq!(suite::read_all(&reader, FEED.at(0)).await, suite::read_all(&log, FEED.at(0)).await);
    assert_eq!(reader.statistics().await.unwrap().feeds, log.statistics().await.unwrap().feeds);
    let refused = reader.append(vec![suite::message("faults", "x", "y", 1)]).await.unwrap_err();
    check_error(refused, &dir, expect!["log cannot store events now: log was opened for reading only"]);

    log.close().await;
    // Also of a log that nobody writes.
    assert_eq!(suite::read_all(&reader, FEED.at(0)).await.len(), 8);
    reader.close().await;
    open(dir.path()).await.unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_makes_appends_unavailable_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let vault = support::vault(&dir.path().join("vault"));
    let options = OpenOptions::new(dir.path().join("log"), vault);
    let log = open_with(OpenOptions { disk_bytes_max: Some(400 << 10), ..options.clone() }).await.unwrap();
    let mut stored = Vec::new();
    let refused = loop {
        let n = stored.len() as u64;
        let content: String = (0..500).map(|k: u64| format!("{:x}", (n + 1) * (k + 7) * 7919)).collect();
        match log.append(vec![suite::message("full", &format!("{n}"), &content, n)]).await {
            Ok(receipts) => stored.extend(receipts),
            Err(error) => break error,
        }
        assert!(n < 10_000, "never full");
    };
    check_error(refused, &dir, expect!["log cannot store events now: (code: 13) database or disk is full"]);
    assert_eq!(log.size(FEED).await.unwrap(), stored.len() as u64);
    assert_eq!(suite::read_all(&log, FEED.at(0)).await.len(), stored.len());
    assert_eq!(log.statistics().await.unwrap().feeds[0].accepted, stored.len() as u64);
    log.close().await;

    let log = open_with(options).await.unwrap();
    let next = log.append(vec![suite::message("full", "after", "content", 1)]).await.unwrap()[0];
    assert_eq!(next.position, FEED.at(stored.len() as u64));
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_fails_leaves_nothing_and_the_writer_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await.unwrap();
    append(&log, 0..3).await;
    // Late in the transaction: events and inbox are written already.
    sql(&dir, "CREATE TRIGGER failing BEFORE INSERT ON count BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END").await;
    for n in 10..15 {
        let refused = log.append(vec![suite::message("new-feed", &format!("{n}"), "content", n)]).await;
        assert!(matches!(refused, Err(AppendError::Unavailable(_))));
        assert_eq!(log.size(FEED).await.unwrap(), 3);
    }
    sql(&dir, "DROP TRIGGER failing").await;
    append(&log, 3..6).await;
    let receipts = log.append(vec![suite::message("new-feed", "10", "content", 10)]).await.unwrap();
    assert_eq!(receipts[0].position, FEED.at(6));
    for stored in suite::read_all(&log, FEED.at(0)).await {
        log.open(&stored).await.unwrap();
    }
    log.close().await;
    let log = open(dir.path()).await.unwrap();
    assert_eq!(log.size(FEED).await.unwrap(), 7);
    let feeds: Vec<_> = log.statistics().await.unwrap().feeds.iter().map(|f| (f.feed.clone(), f.received())).collect();
    assert_eq!(feeds, [("faults".to_owned(), 6), ("new-feed".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_is_found_at_its_position() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await.unwrap();
    append(&log, 0..10).await;
    log.close().await;
    sql(
        &dir,
        "UPDATE event_feed SET envelope = CAST(substr(envelope, 1, 60) || iif(substr(envelope, 61, 1) = x'00', x'01', x'00') || substr(envelope, 62) AS BLOB) WHERE offset = 4",
    )
    .await;
    let log = open(dir.path()).await.unwrap();
    assert_eq!(log.read(FEED.at(0), ReadLimit { events: 4, bytes: 1 << 20 }).await.unwrap().len(), 4);
    let damaged = log.read(FEED.at(2), ReadLimit::PAGE).await.unwrap_err();
    check_error(damaged, &dir, expect!["event at feed/0/4 is damaged: bytes do not have their leaf hash"]);
    assert_eq!(log.read(FEED.at(5), ReadLimit::PAGE).await.unwrap().len(), 5);
    log.close().await;

    // Whoever also mends the leaf hash does not get past the seal.
    let log = open(dir.path()).await.unwrap();
    let mut stored = log.read(FEED.at(5), ReadLimit::PAGE).await.unwrap().remove(0);
    let last = stored.bytes.len() - 1;
    let mut bytes = stored.bytes.to_vec();
    bytes[last] ^= 1;
    stored.bytes = bytes.into();
    check_error(log.open(&stored).await.unwrap_err(), &dir, expect!["event at feed/0/5 is damaged: seal does not fit"]);
    log.close().await;

    sql(&dir, "DELETE FROM event_feed WHERE offset = 7").await;
    let log = open(dir.path()).await.unwrap();
    let missing = log.read(FEED.at(6), ReadLimit::PAGE).await.unwrap_err();
    check_error(missing, &dir, expect!["event at feed/0/7 is damaged: event is missing"]);
    log.close().await;

    sql(&dir, "DELETE FROM event_feed WHERE offset = 9").await;
    check_error(
        open(dir.path()).await.err().unwrap(),
        &dir,
        expect!["log in DIR/log is damaged (counted events are not those that are stored): restore it from a copy"],
    );
}

/// Where a message was kept is damaged, and its sender sends it again: that is no reason to refuse it, nor those beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_accepted_whose_first_event_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await.unwrap();
    let first = log.append(vec![suite::unreadable("feed", "1", "content")]).await.unwrap()[0];
    log.close().await;
    sql(&dir, "UPDATE event_feed SET leaf = zeroblob(32) WHERE offset = 0").await;
    let log = open(dir.path()).await.unwrap();
    let again = suite::message("feed", "1", "content", 1);
    let receipts = log.append(vec![suite::message("feed", "2", "other", 1), again.clone()]).await.unwrap();
    assert!(receipts.iter().all(|receipt| receipt.verdict == Verdict::Accepted));
    let stored = log.read(receipts[1].position, ReadLimit::PAGE).await.unwrap().remove(0);
    let redrives = header(&stored).unwrap().redrives.unwrap();
    assert_eq!((redrives.position, redrives.received_us), (Some(first.position.to_proto()), again.received_us));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_database_page_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await.unwrap();
    append(&log, 0..200).await;
    log.close().await;
    let file = fs::File::options().write(true).open(dir.path().join("log/log.db")).unwrap();
    let pages = file.metadata().unwrap().len() / 8192;
    for page in 1..pages {
        file.write_all_at(&[0xff; 8192], page * 8192).unwrap();
    }
    let damaged = open(dir.path()).await.err().unwrap();
    check_error(
        damaged,
        &dir,
        expect!["log in DIR/log is damaged ((code: 11) database disk image is malformed): restore it from a copy"],
    );
    file.write_all_at(&[0xff; 100], 0).unwrap();
    check_error(
        open(dir.path()).await.err().unwrap(),
        &dir,
        expect!["log in DIR/log is damaged ((code: 26) file is not a database): restore it from a copy"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destroyed_key_shreds_its_record_only() {
    let dir = tempfile::tempdir().unwrap();
    let vault = support::vault(&dir.path().join("vault"));
    let log = open_with(OpenOptions::new(dir.path().join("log"), Arc::clone(&vault))).await.unwrap();
    append(&log, 0..3).await;
    let stored = suite::read_all(&log, FEED.at(0)).await;
    let before = fs::read(dir.path().join("vault/keys")).unwrap();
    vault.shred(3).await.unwrap();
    check_error(
        vault.shred(0).await.unwrap_err(),
        &dir,
        expect!["key slot 0 belongs to the whole log and is never destroyed"],
    );
    check_error(
        vault.shred(1 << 40).await.unwrap_err(),
        &dir,
        expect!["key slot 1099511627776 is not in the vault: it is older than the log"],
    );
    let after = fs::read(dir.path().join("vault/keys")).unwrap();
    assert_eq!(after[3 * 64..4 * 64], [0; 64]);
    assert_ne!(before[3 * 64..4 * 64], [0; 64]);

    let mut opened = Vec::new();
    for stored in &stored {
        opened.push(log.open(stored).await);
    }
    let shredded: Vec<_> = opened.iter().filter(|r| matches!(r, Err(OpenError::Shredded { .. }))).collect();
    assert_eq!((shredded.len(), opened.iter().filter(|r| r.is_ok()).count()), (1, 2));
    assert_eq!(suite::read_all(&log, FEED.at(0)).await, stored, "the log itself is as it was");
    log.close().await;

    // News of that record are refused; those of the others, in the same batch, are not.
    let log = open(dir.path()).await.unwrap();
    let news = (0..40).map(|n| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.append(vec![suite::message("news", &format!("{n}"), "content", n)]).await })
    });
    let news = futures::future::join_all(news).await;
    assert_eq!(news.iter().filter(|appended| appended.as_ref().unwrap().is_err()).count(), 1);
    assert_eq!(log.size(FEED).await.unwrap(), 3 + 39);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await.unwrap();
    append(&log, 0..1).await;
    log.close().await;

    let other = dir.path().join("other");
    Vault::create(&other, &support::Seeded::new(99)).unwrap();
    let other_vault = Arc::new(Vault::open(&other, Arc::new(support::Seeded::new(98))).unwrap());
    let refused = open_with(OpenOptions::new(dir.path().join("log"), other_vault)).await.err().unwrap();
    check_error(
        refused,
        &dir,
        expect!["log in DIR/log was sealed with another vault: name the vault that belongs to it"],
    );

    let vault = dir.path().join("vault");
    let opening = || Vault::open(&vault, Arc::new(support::Seeded::new(97))).err();
    let refused = |wanted: Expect| check_error(opening().unwrap(), &dir, wanted);
    check_error(
        Vault::create(&vault, &support::Seeded::new(96)).unwrap_err(),
        &dir,
        expect!["DIR/vault/node.key exists: a vault is never overwritten"],
    );
    let node = vault.join("node.key");
    let good = fs::read(&node).unwrap();
    fs::copy(other.join("node.key"), &node).unwrap();
    refused(expect!["node key does not open the keys in DIR/vault: restore the one that belongs to them"]);
    fs::write(&node, "not a key\n").unwrap();
    refused(expect!["DIR/vault/node.key is not 64 hexadecimal digits: restore it from its backup"]);
    fs::set_permissions(&node, fs::Permissions::from_mode(0o644)).unwrap();
    refused(expect!["DIR/vault/node.key is readable by others (mode 644): chmod 600 it"]);
    fs::set_permissions(&node, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&node, good).unwrap();
    assert!(opening().is_none());

    let keys = vault.join("keys");
    let good = fs::read(&keys).unwrap();
    let mut damaged = good.clone();
    damaged[64 + 20] ^= 1;
    fs::write(&keys, damaged).unwrap();
    refused(expect!["key slot 1 is damaged: restore the vault from its backup"]);
    fs::remove_file(&keys).unwrap();
    refused(expect!["DIR/vault/keys is missing: restore the vault from its backup"]);

    // A backup of the vault from before the record had its key.
    fs::write(&keys, &good[..2 * 64]).unwrap();
    let log = open(dir.path()).await.unwrap();
    let stored = suite::read_all(&log, FEED.at(0)).await.remove(0);
    let absent = log.open(&stored).await.unwrap_err();
    assert!(matches!(&absent, OpenError::Vault(VaultError::Absent { slot: 2 })));
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_as_records_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await.unwrap();
    for start in (0..5000).step_by(250) {
        append(&log, start..start + 250).await;
    }
    // Sealed by the caller now, not by the writer: their records are remembered.
    let again = (0..5000).map(|n| suite::message("again", &format!("{n}"), "content", n));
    log.append(again.collect()).await.unwrap();
    log.close().await;
    let log = open(dir.path()).await.unwrap();
    let again = (0..5000).map(|n| suite::message("and-again", &format!("{n}"), "content", n));
    log.append(again.collect()).await.unwrap();
    let stored = suite::read_all(&log, FEED.at(0)).await;
    assert_eq!(stored.len(), 15_000);
    for stored in &stored {
        log.open(stored).await.unwrap();
    }
    let slots = fs::metadata(dir.path().join("vault/keys")).unwrap().len() / 64;
    assert!((5002..5002 + 2048).contains(&slots), "a record has one key: {slots}");
    log.close().await;
}

/// Which records have a key is not remembered over a restart; a record that comes after many messages has its key all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_keeps_its_key_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await.unwrap();
    append(&log, 0..50).await;
    log.close().await;
    let log = open(dir.path()).await.unwrap();
    for n in 100..200 {
        append(&log, n..n + 1).await;
    }
    let again = [7, 200, 8, 7]
        .into_iter()
        .zip(0..)
        .map(|(record, n)| suite::message("again", &n.to_string(), "content", record));
    let receipts = log.append(again.collect()).await.unwrap();
    assert!(receipts.iter().all(|receipt| receipt.verdict == Verdict::Accepted));
    let stored = suite::read_all(&log, FEED.at(0)).await;
    assert_eq!(stored.len(), 154);
    for stored in &stored {
        log.open(stored).await.unwrap();
    }
    log.close().await;
    let mut connection = database(&dir).await;
    let records: i64 = sqlx::query_scalar("SELECT count(*) FROM key_slot").fetch_one(&mut connection).await.unwrap();
    assert_eq!(records, 151);
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).await.unwrap().close().await;
    sql(&dir, "PRAGMA user_version = 2").await;
    check_error(
        open(dir.path()).await.err().unwrap(),
        &dir,
        expect!["log in DIR/log has format 2, this program reads up to 1: upgrade the program"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wal_stays_short() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await.unwrap();
    // Small events with names all over the index: many pages for few bytes.
    for batch in 0..300 {
        log.append((0..200).map(|n| suite::named(&format!("{batch}-{n}"), n)).collect()).await.unwrap();
    }
    let bytes = fs::metadata(dir.path().join("log/log.db-wal")).unwrap().len();
    assert!((8 << 20..64 << 20).contains(&bytes), "{bytes} bytes of WAL");
    log.close().await;
}
