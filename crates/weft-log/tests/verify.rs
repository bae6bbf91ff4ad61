//! Verification: a log that is whole is found whole, and every kind of damage is named where it is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use prost::Message;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use support::{notary, notary_key};
use tempfile::TempDir;
use weft_log::{
    EmbeddedEvidence, EmbeddedLog, Evidence, Extent, Indexed, KeySlot, LogEvidence, MemoryLog, OpenOptions, ReadError,
    ReadLimit, SharedLog, Stored, Vault, VerifyOptions, VerifyReport, cut, leaf_hash,
    merkle::{Hash, Tree},
    suite, verify,
};
use weft_model::{
    Partition, Payload, Position, Stream,
    proto::event::{CutTaken, Disclosed, Envelope, FeedRegistered, Header},
};

/// A log of every stream with three cuts (of 40, 80 and 120 messages) and 7 messages that no cut covers.
struct Site {
    dir: TempDir,
}

const CUTS: u64 = 3;
const MESSAGES: u64 = 127;

impl Site {
    async fn new() -> Self {
        let site = Self { dir: tempfile::tempdir().unwrap() };
        let log = site.open().await;
        for n in 0..CUTS {
            append(&log, n * 40, n * 40 + 40).await;
            log.append(vec![suite::named(&format!("link {n}"), n)]).await.unwrap();
            disclose(&log, &format!("shown {n}")).await;
            let registered = FeedRegistered { feed: "verify".into(), ..FeedRegistered::default() };
            let payload = Payload::FeedRegistered(registered);
            let draft = weft_log::Draft { payload, cause: None, ..suite::named(&format!("feed {n}"), 0) };
            log.append(vec![draft]).await.unwrap();
            assert_eq!(notary(&log, site.path()).cut_now().await.unwrap(), Some(n));
        }
        append(&log, 120, MESSAGES).await;
        log.close().await;
        site
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    async fn open(&self) -> SharedLog {
        let options = OpenOptions::new(self.path().join("log"), self.vault());
        Arc::new(EmbeddedLog::open(options).await.unwrap())
    }

    fn vault(&self) -> Arc<Vault> {
        support::vault(&self.path().join("vault"))
    }

    async fn verify(&self, deep: bool) -> VerifyReport {
        let evidence = Arc::new(EmbeddedEvidence::open(self.path().join("log")).await.unwrap());
        let report = verify(evidence.clone(), self.options(deep)).await.unwrap();
        evidence.close().await;
        report
    }

    fn options(&self, deep: bool) -> VerifyOptions {
        let remembered = fs::read_to_string(self.path().join("checkpoint")).ok();
        VerifyOptions {
            key: notary_key().public().clone(),
            deep: deep.then(|| self.vault()),
            checkpoints: remembered.map(|text| ("remembered".to_owned(), text)).into_iter().collect(),
        }
    }

    /// Exactly these kinds of damage are found, at these places.
    async fn check(&self, deep: bool, wanted: &[(&str, &str)]) -> VerifyReport {
        let report = self.verify(deep).await;
        let found: Vec<(String, String)> =
            report.damages.iter().map(|damage| (damage.kind.to_string(), damage.place.to_string())).collect();
        let found: Vec<(&str, &str)> = found.iter().map(|(kind, place)| (kind.as_str(), place.as_str())).collect();
        assert_eq!(found, wanted, "{:#?}", report.damages);
        report
    }

    async fn connect(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path().join("log/log.db"));
        SqliteConnection::connect_with(&options).await.unwrap()
    }

    /// What somebody with access to the file does.
    async fn sql(&self, text: &'static str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(text).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Changes a blob of an event.
    async fn change(&self, table: &str, column: &str, offset: i64, change: impl FnOnce(&mut Vec<u8>)) {
        let mut connection = self.connect().await;
        let select = format!("SELECT {column} FROM {table} WHERE offset = ?");
        let mut bytes: Vec<u8> =
            sqlx::query_scalar(AssertSqlSafe(select)).bind(offset).fetch_one(&mut connection).await.unwrap();
        change(&mut bytes);
        let update = format!("UPDATE {table} SET {column} = ? WHERE offset = ?");
        sqlx::query(AssertSqlSafe(update)).bind(bytes).bind(offset).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Changes an event and, as a careful forger does, its leaf hash with it.
    async fn forge(&self, table: &str, offset: i64, change: impl FnOnce(&mut Vec<u8>)) {
        let mut leaf = Vec::new();
        self.change(table, "envelope", offset, |bytes| {
            change(bytes);
            leaf = leaf_hash(bytes).to_vec();
        })
        .await;
        self.change(table, "leaf", offset, |stored| *stored = leaf).await;
    }
}

async fn append(log: &SharedLog, from: u64, to: u64) {
    for n in from..to {
        log.append(vec![suite::message("verify", &format!("{n}"), &format!("content {n}"), n % 17)]).await.unwrap();
    }
}

async fn disclose(log: &SharedLog, name: &str) {
    let payload = Payload::Disclosed(Disclosed { entries: 1, ..Disclosed::default() });
    log.append(vec![weft_log::Draft { payload, cause: None, ..suite::named(name, 0) }]).await.unwrap();
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_log_is_found_whole() {
    let site = Site::new().await;
    for deep in [false, true] {
        let report = site.check(deep, &[]).await;
        let parts: Vec<String> =
            report.partitions.iter().map(|p| format!("{} {}/{}", p.partition, p.covered, p.events)).collect();
        assert_eq!(parts, ["feed/0 120/127", "identity/0 3/3", "control/0 5/6", "access/0 3/3"]);
        assert_eq!((report.cuts, report.newest.as_ref().map(|cut| cut.tick)), (3, Some(2)));
        assert_eq!(report.opened, if deep { 127 + 3 + 6 + 3 } else { 0 });
    }
    // Also beside the node that writes it, and through the interface of every other backend.
    let log = site.open().await;
    append(&log, 200, 210).await;
    assert_eq!(site.check(true, &[]).await.partitions[0].events, 137);
    let report = verify(Arc::new(LogEvidence(Arc::clone(&log))), site.options(true)).await.unwrap();
    assert_eq!((report.damages, report.opened), (vec![], 137 + 3 + 6 + 3));
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_without_cuts_is_compared_with_itself() {
    let site = Site { dir: tempfile::tempdir().unwrap() };
    let log = site.open().await;
    append(&log, 0, 10).await;
    log.close().await;
    assert_eq!(site.check(true, &[]).await.newest, None);
    site.change("event_feed", "leaf", 3, |leaf| leaf[0] ^= 1).await;
    site.check(false, &[("leaf-changed", "feed/0/3")]).await;
}

/// A cut of partitions that are still empty says nothing against what comes later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_was_empty_at_a_cut_is_compared_from_the_next_one() {
    let site = Site { dir: tempfile::tempdir().unwrap() };
    let log = site.open().await;
    for n in 0..3 {
        disclose(&log, &format!("shown {n}")).await;
        assert_eq!(notary(&log, site.path()).cut_now().await.unwrap(), Some(n));
        append(&log, n * 10, n * 10 + n * 5).await;
    }
    log.close().await;
    site.check(true, &[]).await;
    site.sql("DELETE FROM event_feed WHERE offset = 2").await;
    site.check(false, &[("event-missing", "feed/0/2")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_changed_byte_is_named_by_what_it_belongs_to() {
    let site = Site::new().await;
    // The header is the envelope's first field; its ninth byte lies in the event id.
    site.change("event_feed", "envelope", 50, |bytes| bytes[8] ^= 0x20).await;
    site.change("event_feed", "envelope", 51, |bytes| *bytes.last_mut().unwrap() ^= 0x5a).await;
    site.change("event_identity", "envelope", 1, |bytes| bytes[20] ^= 1).await;
    site.change("event_access", "leaf", 2, |leaf| leaf[31] ^= 0x80).await;
    // An event that no cut covers.
    site.change("event_feed", "envelope", 125, |bytes| *bytes.last_mut().unwrap() ^= 1).await;
    let wanted = [
        ("header-changed", "feed/0/50"),
        ("payload-changed", "feed/0/51"),
        ("payload-changed", "feed/0/125"),
        ("header-changed", "identity/0/1"),
        ("leaf-changed", "access/0/2"),
    ];
    let report = site.check(false, &wanted).await;
    assert!(report.damages[0].what.starts_with("byte 8 of "), "{}", report.damages[0]);
    site.check(true, &wanted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_changed_bytes_are_named_by_the_root_that_still_holds() {
    let site = Site::new().await;
    site.change("event_feed", "envelope", 50, |bytes| bytes[10..14].copy_from_slice(b"abcd")).await;
    site.change("event_feed", "leaf", 90, |leaf| leaf.fill(7)).await;
    site.check(false, &[("event-changed", "feed/0/50"), ("leaf-changed", "feed/0/90")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_careful_forger_is_found_by_the_root_and_by_the_seal() {
    let site = Site::new().await;
    site.forge("event_feed", 50, |bytes| *bytes.last_mut().unwrap() ^= 1).await;
    site.check(false, &[("root-differs", "feed/0/40 to feed/0/79")]).await;
    site.check(true, &[("root-differs", "feed/0/40 to feed/0/79"), ("seal-broken", "feed/0/50")]).await;

    // Beyond the newest cut only the seal says so.
    let site = Site::new().await;
    site.forge("event_feed", 125, |bytes| *bytes.last_mut().unwrap() ^= 1).await;
    site.check(false, &[]).await;
    site.check(true, &[("seal-broken", "feed/0/125")]).await;
    site.forge("event_feed", 126, |bytes| *bytes = vec![0xff; 40]).await;
    site.check(false, &[("event-unreadable", "feed/0/126")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_events_in_wrong_places_are_found_by_the_index() {
    let site = Site::new().await;
    site.sql(
        "UPDATE event_feed SET offset = -1 WHERE offset = 45; UPDATE event_feed SET offset = 45 WHERE offset = 71;
         UPDATE event_feed SET offset = 71 WHERE offset = -1",
    )
    .await;
    // The tree is put right by the index, so what comes later is compared all the same.
    site.forge("event_feed", 110, |bytes| *bytes.last_mut().unwrap() ^= 1).await;
    let wanted =
        [("order-swapped", "feed/0/45"), ("order-swapped", "feed/0/71"), ("root-differs", "feed/0/80 to feed/0/119")];
    let report = site.check(false, &wanted).await;
    assert!(report.damages[0].what.contains("stored at feed/0/71"), "{}", report.damages[0]);

    // An event of another log, whole in itself.
    let site = Site::new().await;
    let other = Site { dir: tempfile::tempdir().unwrap() };
    let log = other.open().await;
    log.append(vec![suite::message("verify", "forged", "content", 1)]).await.unwrap();
    let forged = suite::read_all(&log, Stream::Feed.partition(0).at(0)).await.remove(0);
    log.close().await;
    site.forge("event_feed", 50, |bytes| *bytes = forged.bytes.to_vec()).await;
    site.check(false, &[("event-replaced", "feed/0/50")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_events_are_told_from_a_lost_tail() {
    let site = Site::new().await;
    site.sql("DELETE FROM event_feed WHERE offset IN (50, 51, 52, 60)").await;
    site.check(false, &[("event-missing", "feed/0/50 to feed/0/52"), ("event-missing", "feed/0/60")]).await;

    let site = Site::new().await;
    site.sql("DELETE FROM event_feed WHERE offset >= 100").await;
    let report = site.check(false, &[("truncated", "feed/0/100 to feed/0/126")]).await;
    assert!(report.damages[0].what.contains("cut 2"), "{}", report.damages[0]);

    // Those that no cut covers are missed by the log's own counts.
    let site = Site::new().await;
    site.sql("DELETE FROM event_feed WHERE offset >= 124").await;
    site.check(false, &[("truncated", "feed/0/124 to feed/0/126")]).await;
    let site = Site::new().await;
    site.sql("UPDATE count SET count = count - 1 WHERE stream = 1").await;
    site.check(false, &[("count-differs", "feed/0")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_partition_is_named() {
    let site = Site::new().await;
    site.sql("DROP TABLE event_identity").await;
    site.check(false, &[("partition-missing", "identity/0")]).await;
    let site = Site::new().await;
    site.sql("DROP TABLE event_control").await;
    site.check(false, &[("rolled-back", "log"), ("partition-missing", "control/0")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_put_back_to_an_earlier_state_is_found_by_what_is_remembered() {
    let site = Site::new().await;
    let (log, backup) = (site.path().join("log"), site.path().join("backup"));
    copy_dir(&log, &backup);
    let running = site.open().await;
    append(&running, 300, 320).await;
    notary(&running, site.path()).cut_now().await.unwrap();
    running.close().await;
    site.check(true, &[]).await;
    fs::remove_dir_all(&log).unwrap();
    copy_dir(&backup, &log);
    let report = site.check(true, &[("rolled-back", "log")]).await;
    assert!(report.damages[0].what.contains("it has 3 cuts, and 4 were signed"), "{}", report.damages[0]);

    // Somebody goes on from there: a second history, long enough, and not the one that was signed.
    let remembered = fs::read_to_string(site.path().join("checkpoint")).unwrap();
    fs::remove_file(site.path().join("checkpoint")).unwrap();
    let running = site.open().await;
    append(&running, 400, 420).await;
    notary(&running, site.path()).cut_now().await.unwrap();
    running.close().await;
    site.check(true, &[]).await;
    fs::write(site.path().join("checkpoint"), remembered).unwrap();
    site.check(true, &[("other-history", "cut 3")]).await;
    fs::write(site.path().join("checkpoint"), "no checkpoint").unwrap();
    site.check(true, &[("checkpoint-unreadable", "log")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_write_ahead_log_is_found_by_what_is_remembered() {
    let site = Site::new().await;
    let running = site.open().await;
    append(&running, 300, 320).await;
    notary(&running, site.path()).cut_now().await.unwrap();
    // The machine loses power, and the disk its newest file.
    let image = Site { dir: tempfile::tempdir().unwrap() };
    for part in ["log", "vault"] {
        copy_dir(&site.path().join(part), &image.path().join(part));
    }
    fs::copy(site.path().join("checkpoint"), image.path().join("checkpoint")).unwrap();
    running.close().await;
    image.check(true, &[]).await;
    for lost in ["log.db-wal", "log.db-shm"] {
        fs::remove_file(image.path().join("log").join(lost)).unwrap();
    }
    image.check(true, &[("rolled-back", "log")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_cut_is_named() {
    let site = Site::new().await;
    let second = position_of_cut(&site, 1).await;
    let place = format!("control/0/{second}");
    for at in [30, 90, 300] {
        site.change("event_control", "envelope", second, |bytes| bytes[at] ^= 4).await;
        site.check(false, &[("cut-changed", &place)]).await;
        site.change("event_control", "envelope", second, |bytes| bytes[at] ^= 4).await;
    }
    site.check(false, &[]).await;

    // A forger who mends the leaf hash too does not have the notary's key.
    site.forge("event_control", second, |bytes| forge_cut(bytes, |cut| cut.checkpoint = sign_with_another_key())).await;
    site.check(false, &[("root-differs", "control/0/3 to control/0/4"), ("cut-signature", "cut 1")]).await;

    let site = Site::new().await;
    site.forge("event_control", second, |bytes| forge_cut(bytes, |cut| cut.vector[9] ^= 1)).await;
    let report = site.verify(false).await;
    let kinds: BTreeSet<&str> = report.damages.iter().map(|damage| damage.kind.code()).collect();
    assert_eq!(kinds, BTreeSet::from(["cut-chain", "other-history", "root-differs"]), "{:#?}", report.damages);

    let site = Site::new().await;
    site.sql("DELETE FROM event_control WHERE offset = 3").await;
    site.check(false, &[("event-missing", "control/0/3"), ("cut-chain", "cut 2")]).await;
}

async fn position_of_cut(site: &Site, tick: u64) -> i64 {
    let evidence = EmbeddedEvidence::open(site.path().join("log")).await.unwrap();
    let cut = cut::with_tick(&evidence, tick).await.unwrap().unwrap();
    evidence.close().await;
    cut.position.offset as i64
}

fn forge_cut(bytes: &mut Vec<u8>, change: impl FnOnce(&mut CutTaken)) {
    let mut envelope = Envelope::decode(bytes.as_slice()).unwrap();
    let mut cut = CutTaken::decode(envelope.clear.as_slice()).unwrap();
    change(&mut cut);
    envelope.clear = cut.encode_to_vec();
    *bytes = envelope.encode_to_vec();
}

fn sign_with_another_key() -> String {
    let key = weft_log::SigningKey::generate("example.nhs.uk/test", &support::Seeded::new(77)).unwrap();
    key.sign("example.nhs.uk/test\n2\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_keys_are_told_from_destroyed_ones() {
    let site = Site::new().await;
    let keys: PathBuf = site.path().join("vault/keys");
    let good = fs::read(&keys).unwrap();
    let mut bytes = good.clone();
    bytes[5 * 64 + 20] ^= 1;
    fs::write(&keys, &bytes).unwrap();
    site.check(true, &[("key-damaged", "key slot 5")]).await;
    site.check(false, &[]).await;
    // Destroyed on purpose: what it sealed cannot be read, and is proven all the same.
    fs::write(&keys, &good).unwrap();
    site.vault().shred(5).await.unwrap();
    let report = site.check(true, &[]).await;
    assert!(report.shredded > 5 && report.opened + report.shredded == 127 + 3 + 6 + 3, "{report:?}");
    fs::write(&keys, &good[..18 * 64]).unwrap();
    site.check(true, &[("key-missing", "key slot 18")]).await;
    fs::write(&keys, &good).unwrap();

    site.sql("UPDATE key_slot SET record = zeroblob(16) WHERE slot = 7").await;
    site.check(true, &[("key-table-changed", "key slot 7")]).await;
    site.check(false, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_read_around() {
    let site = Site::new().await;
    let log = site.open().await;
    append(&log, 1000, 1600).await;
    notary(&log, site.path()).cut_now().await.unwrap();
    log.close().await;
    // A page of the events' table, found by what lies in it.
    let path = site.path().join("log/log.db");
    let mut bytes = fs::read(&path).unwrap();
    let evidence = EmbeddedEvidence::open(site.path().join("log")).await.unwrap();
    let middle = evidence.leaves(Stream::Feed.partition(0).at(400), 1).await.unwrap().remove(0);
    evidence.close().await;
    let at = bytes.windows(32).position(|window| window == middle).unwrap();
    let page = at / 8192 * 8192;
    bytes[page..page + 8192].fill(0xee);
    fs::write(&path, bytes).unwrap();
    let report = site.verify(false).await;
    let kinds: BTreeSet<&str> = report.damages.iter().map(|damage| damage.kind.code()).collect();
    assert!(kinds.contains("file-damaged"), "{:#?}", report.damages);
    assert!(report.partitions[0].events > 300, "what lies behind the damage is read: {:#?}", report.damages);
    assert_eq!(report.cuts, 4);
}

/// Whatever single byte of the feed's table is changed, it is found, and nothing else is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_of_an_event_counts() {
    let site = Site::new().await;
    let mut length = 0;
    site.change("event_feed", "envelope", 60, |bytes| length = bytes.len()).await;
    for at in (0..length).step_by(7) {
        site.change("event_feed", "envelope", 60, |bytes| bytes[at] ^= 1 << (at % 8)).await;
        let report = site.verify(false).await;
        assert_eq!(report.damages.len(), 1, "byte {at}: {:#?}", report.damages);
        assert_eq!(report.damages[0].place.to_string(), "feed/0/60");
        assert!(report.damages[0].what.contains(&format!("byte {at} ")), "{}", report.damages[0]);
        site.change("event_feed", "envelope", 60, |bytes| bytes[at] ^= 1 << (at % 8)).await;
    }
}

/// Proofs of every event, with the kept nodes, without them, and with wrong ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_covered_event_is_proven_with_the_public_key_alone() {
    let site = Site { dir: tempfile::tempdir().unwrap() };
    let log = site.open().await;
    for n in 0..3 {
        log.append((0..300).map(|k| suite::message("p", &format!("{n}-{k}"), "content", k)).collect()).await.unwrap();
        notary(&log, site.path()).cut_now().await.unwrap();
    }
    log.append(vec![suite::message("p", "later", "content", 1)]).await.unwrap();
    log.close().await;
    let key = notary_key().public().clone();
    let evidence = EmbeddedEvidence::open(site.path().join("log")).await.unwrap();
    let nodes = site.path().join("merkle");
    let feed = Stream::Feed.partition(0);
    for (offset, tick) in
        [(0, None), (255, None), (256, None), (600, None), (899, None), (299, Some(0)), (300, Some(1))]
    {
        for dir in [Some(nodes.as_path()), None] {
            let proof = weft_log::prove(&evidence, feed.at(offset), tick, dir).await.unwrap();
            let text = proof.to_text();
            let read = weft_log::EventProof::parse(&text).unwrap();
            assert_eq!(read, proof);
            let proven = read.verify(&key).unwrap();
            assert_eq!((proven.position, proven.tick), (feed.at(offset), tick.unwrap_or(2)));
            let elsewhere = text.replace(&format!("feed/0/{offset}"), &format!("feed/0/{}", offset ^ 1));
            assert!(weft_log::EventProof::parse(&elsewhere).unwrap().verify(&key).is_err(), "{offset}");
        }
    }
    let proof = weft_log::prove(&evidence, Stream::Control.partition(0).at(1), None, Some(&nodes)).await.unwrap();
    assert!(proof.verify(&key).is_ok());
    let not_yet = weft_log::prove(&evidence, feed.at(900), None, None).await;
    assert!(matches!(not_yet, Err(weft_log::ProveError::NotCovered { tick: 2, .. })));
    let none = weft_log::prove(&evidence, feed.at(0), Some(9), None).await;
    assert!(matches!(none, Err(weft_log::ProveError::NoCut)));

    let text = weft_log::prove(&evidence, feed.at(600), None, Some(&nodes)).await.unwrap().to_text();
    // No byte can be changed: what still reads proves nothing.
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        let Ok(changed) = String::from_utf8(changed) else { continue };
        let proven = weft_log::EventProof::parse(&changed).and_then(|proof| proof.verify(&key));
        assert!(proven.is_err(), "byte {at} of {text}");
    }
    let other = weft_log::SigningKey::generate("example.nhs.uk/test", &support::Seeded::new(77)).unwrap();
    assert!(weft_log::EventProof::parse(&text).unwrap().verify(other.public()).is_err());
    // Kept nodes that are wrong cost time and change nothing.
    fs::write(nodes.join("feed-0.8"), vec![1; 32 * 3]).unwrap();
    assert_eq!(weft_log::prove(&evidence, feed.at(600), None, Some(&nodes)).await.unwrap().to_text(), text);
    evidence.close().await;
}

/// Counts the questions that are asked of a log.
struct Counting {
    log: LogEvidence,
    questions: AtomicU64,
}

impl Counting {
    fn ask(&self) -> &LogEvidence {
        self.questions.fetch_add(1, Ordering::Relaxed);
        &self.log
    }
}

#[async_trait]
impl Evidence for Counting {
    async fn extents(&self) -> Result<Vec<Extent>, ReadError> {
        self.ask().extents().await
    }

    async fn size(&self, partition: Partition) -> Result<Option<u64>, ReadError> {
        self.ask().size(partition).await
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        self.ask().read(from, limit).await
    }

    async fn leaves(&self, from: Position, count: u64) -> Result<Vec<Hash>, ReadError> {
        self.ask().leaves(from, count).await
    }

    async fn indexed(&self, header: &Header) -> Result<Indexed, ReadError> {
        self.ask().indexed(header).await
    }

    async fn key_slots(&self, from: u64, count: usize) -> Result<Option<Vec<KeySlot>>, ReadError> {
        self.ask().key_slots(from, count).await
    }
}

/// Where the log ends, the newest cut and those around it, the event, two blocks of leaves and one of cuts: no more, however
/// many hashes the paths have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_asks_seven_questions_of_the_log() {
    const CUTS: u64 = 300;
    let dir = tempfile::tempdir().unwrap();
    let log: SharedLog = Arc::new(MemoryLog::new(support::vault(&dir.path().join("vault"))));
    let notary = notary(&log, dir.path());
    for n in 0..CUTS {
        log.append((0..4).map(|k| suite::message("p", &format!("{n}-{k}"), "content", k)).collect()).await.unwrap();
        assert_eq!(notary.cut_now().await.unwrap(), Some(n));
    }
    let evidence = Counting { log: LogEvidence(log), questions: AtomicU64::new(0) };
    let nodes = dir.path().join("merkle");
    for offset in [0, 255, 256, 700, 1100, 1199] {
        let position = Stream::Feed.partition(0).at(offset);
        let proof = weft_log::prove(&evidence, position, None, Some(&nodes)).await.unwrap();
        assert_eq!(proof.verify(notary_key().public()).unwrap().tick, CUTS - 1);
        let questions = evidence.questions.swap(0, Ordering::Relaxed);
        assert!(questions <= 7, "{questions} for {position}");
        let without = weft_log::prove(&evidence, position, None, None).await.unwrap();
        assert_eq!(without, proof);
        evidence.questions.store(0, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roots_in_cuts_are_those_of_a_tree_built_from_the_file() {
    let site = Site::new().await;
    let evidence = EmbeddedEvidence::open(site.path().join("log")).await.unwrap();
    for taken in cut::list(&evidence, 0, 9).await.unwrap() {
        for (partition, root) in &taken.partitions {
            let mut tree = Tree::default();
            let leaves = evidence.leaves(partition.at(0), root.size).await.unwrap();
            leaves.into_iter().for_each(|leaf| tree.push(leaf));
            assert_eq!((tree.size(), tree.root()), (root.size, root.root));
        }
    }
    evidence.close().await;
}
