//! Verification of a log on Kafka: one that is whole is found whole, and every kind of damage that can be done to its topics
//! and tables is named where it is.
//!
//! Whoever may write to the brokers does damage by making a topic anew with other events in it; a disk does it to the bytes
//! of a segment.

#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use prost::Message as _;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::{Header, Headers, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use sqlx::{Connection, PgConnection};
use support::{notary, notary_key};
use tempfile::TempDir;
use weft_log::{
    KafkaEvidence, KafkaLog, KafkaOptions, SharedLog, VerifyOptions, VerifyReport, leaf_hash, suite, verify,
};
use weft_model::{
    Payload, Position, Stream,
    proto::event::{CutTaken, Disclosed, Envelope, FeedRegistered},
};
use weft_testkit::KafkaCluster;

const CUTS: u64 = 3;
const MESSAGES: u64 = 127;
const PATIENCE: Duration = Duration::from_secs(20);

/// A log of every stream with three cuts (of 40, 80 and 120 messages) and 7 messages that no cut covers.
struct Site {
    options: KafkaOptions,
    dir: TempDir,
    /// Where each message is.
    at: Vec<Position>,
}

/// A message of a topic, as it is stored.
#[derive(Clone)]
struct Raw {
    partition: i32,
    key: Vec<u8>,
    payload: Vec<u8>,
    leaf: Vec<u8>,
}

impl Site {
    /// None where there are no services: the test does not run.
    async fn new() -> Option<Self> {
        let (options, dir) = support::kafka()?;
        Some(Self::on(options, dir, 40).await)
    }

    /// Messages are appended so many at a time.
    async fn on(options: KafkaOptions, dir: TempDir, at_once: usize) -> Self {
        let mut site = Self { options, dir, at: Vec::new() };
        let log = site.open().await;
        for n in 0..CUTS {
            site.append(&log, n * 40..n * 40 + 40, at_once).await;
            log.append(vec![suite::named(&format!("link {n}"), n)]).await.unwrap();
            let disclosed = Payload::Disclosed(Disclosed { entries: 1, ..Disclosed::default() });
            let registered =
                Payload::FeedRegistered(FeedRegistered { feed: "verify".into(), ..FeedRegistered::default() });
            for (name, payload) in [("shown", disclosed), ("feed", registered)] {
                let draft = weft_log::Draft { payload, cause: None, ..suite::named(&format!("{name} {n}"), 0) };
                log.append(vec![draft]).await.unwrap();
            }
            assert_eq!(notary(&log, site.path()).cut_now().await.unwrap(), Some(n));
        }
        site.append(&log, 120..MESSAGES, at_once).await;
        log.close().await;
        site
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    async fn open(&self) -> SharedLog {
        Arc::new(KafkaLog::open(self.options.clone()).await.unwrap())
    }

    async fn append(&mut self, log: &SharedLog, messages: std::ops::Range<u64>, at_once: usize) {
        let drafts: Vec<_> = messages.map(message).collect();
        for drafts in drafts.chunks(at_once) {
            let receipts = log.append(drafts.to_vec()).await.unwrap();
            self.at.extend(receipts.into_iter().map(|receipt| receipt.position));
        }
    }

    async fn verify(&self, deep: bool) -> VerifyReport {
        let evidence = Arc::new(KafkaEvidence::open(&self.options).await.unwrap());
        let vault = if deep { Some(Arc::new(evidence.vault(&self.options).await.unwrap())) } else { None };
        let remembered = fs::read_to_string(self.path().join("checkpoint")).ok();
        let checkpoints = remembered.map(|text| ("remembered".to_owned(), text)).into_iter().collect();
        let options = VerifyOptions { key: notary_key().public().clone(), deep: vault, checkpoints };
        let report = verify(evidence.clone(), options).await.unwrap();
        evidence.close().await;
        report
    }

    /// Exactly these kinds of damage are found, at these places.
    async fn check(&self, deep: bool, wanted: &[(&str, String)]) -> VerifyReport {
        let report = self.verify(deep).await;
        let found: BTreeSet<(String, String)> =
            report.damages.iter().map(|damage| (damage.kind.to_string(), damage.place.to_string())).collect();
        let wanted = wanted.iter().map(|(kind, place)| ((*kind).to_owned(), place.clone())).collect();
        assert_eq!(found, wanted, "{:#?}", report.damages);
        report
    }

    async fn kinds(&self, deep: bool) -> BTreeSet<&'static str> {
        self.verify(deep).await.damages.iter().map(|damage| damage.kind.code()).collect()
    }

    fn place(&self, message: usize) -> String {
        self.at[message].to_string()
    }

    fn topic(&self, stream: Stream) -> String {
        format!("{}.{}", self.options.prefix, stream.name())
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.options.brokers)
            .set("group.id", "audit")
            .set("enable.idempotence", "true");
        config.set("enable.auto.commit", "false");
        config
    }

    /// Everything that a topic holds, in order within each partition.
    fn messages(&self, stream: Stream) -> Vec<Raw> {
        let (consumer, topic): (BaseConsumer, String) = (self.client().create().unwrap(), self.topic(stream));
        let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE).unwrap();
        let (mut assignment, mut missing) = (TopicPartitionList::new(), 0);
        for partition in metadata.topics()[0].partitions() {
            assignment.add_partition_offset(&topic, partition.id(), Offset::Beginning).unwrap();
            let (low, high) = consumer.fetch_watermarks(&topic, partition.id(), PATIENCE).unwrap();
            missing += high - low;
        }
        consumer.assign(&assignment).unwrap();
        let mut messages = Vec::new();
        while missing > 0 {
            let message = consumer.poll(PATIENCE).unwrap().unwrap();
            messages.push(Raw {
                partition: message.partition(),
                key: message.key().unwrap().to_vec(),
                payload: message.payload().unwrap().to_vec(),
                leaf: message.headers().unwrap().iter().next().unwrap().value.unwrap().to_vec(),
            });
            missing -= 1;
        }
        messages.sort_by_key(|message| message.partition);
        messages
    }

    /// Waits until a broker that has started leads what it holds.
    fn until_led(&self) {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let deadline = Instant::now() + PATIENCE;
        for topic in Stream::ALL.map(|stream| self.topic(stream)) {
            while consumer.fetch_watermarks(&topic, 0, Duration::from_secs(1)).is_err() {
                assert!(Instant::now() < deadline, "{topic} is led by nobody");
            }
        }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    async fn delete(&self, stream: Stream) {
        let topic = self.topic(stream);
        self.admin().delete_topics(&[&topic], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
        let consumer: BaseConsumer = self.client().create().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while consumer.fetch_metadata(Some(&topic), PATIENCE).unwrap().topics()[0].error().is_none() {
            assert!(Instant::now() < deadline, "{topic} is still there");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Makes a topic anew with other messages in it.
    async fn rewrite(&self, stream: Stream, change: impl FnOnce(&mut Vec<Raw>)) {
        let mut messages = self.messages(stream);
        change(&mut messages);
        self.delete(stream).await;
        let topic = self.topic(stream);
        let partitions = if stream == Stream::Feed { self.options.feed_partitions.cast_signed() } else { 1 };
        let new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
        self.admin().create_topics(&[new], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
        let producer: FutureProducer = self.client().create().unwrap();
        for Raw { partition, key, payload, leaf } in &messages {
            let headers = OwnedHeaders::new().insert(Header { key: "leaf", value: Some(leaf) });
            let record = FutureRecord::to(&topic).partition(*partition).key(key).payload(payload).headers(headers);
            producer.send(record, PATIENCE).await.unwrap();
        }
    }

    /// The message at `position` among those of its topic.
    fn index(messages: &[Raw], position: Position) -> usize {
        let first = messages.iter().position(|m| m.partition == position.partition.number.cast_signed()).unwrap();
        first + position.offset as usize
    }

    /// The database as its administrator has it.
    async fn sql(&self, text: &str) {
        let mut connection = PgConnection::connect(&self.options.postgres).await.unwrap();
        let text = format!("SET search_path = {}; {text}", self.options.schema);
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// All of one length, so that one may lie in the place of another.
fn message(n: u64) -> weft_log::Draft {
    suite::message("verify", &format!("{n:03}"), &format!("content {n:03}"), n % 17)
}

/// Changes an event and, as a careful forger does, its leaf hash with it.
fn forge(message: &mut Raw, change: impl FnOnce(&mut Vec<u8>)) {
    change(&mut message.payload);
    message.leaf = leaf_hash(&message.payload).to_vec();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_log_is_found_whole() {
    let Some(site) = Site::new().await else { return };
    for deep in [false, true] {
        let report = site.check(deep, &[]).await;
        let covered: u64 = report.partitions.iter().take(4).map(|p| p.covered).sum();
        let events: u64 = report.partitions.iter().take(4).map(|p| p.events).sum();
        assert_eq!((report.partitions.len(), covered, events), (7, 120, 127));
        assert_eq!((report.cuts, report.newest.as_ref().map(|cut| cut.tick)), (3, Some(2)));
        assert_eq!(report.opened, if deep { 127 + 3 + 6 + 3 } else { 0 });
    }
    // Events that were delivered twice are no damage, also where a root does not fit.
    site.sql("UPDATE inbox SET place = -1 WHERE nth = 0; DELETE FROM count WHERE stream = 1").await;
    let log = site.open().await;
    log.append((0..20).map(message).collect()).await.unwrap();
    notary(&log, site.path()).cut_now().await.unwrap();
    assert_eq!(site.check(true, &[]).await.opened, 127 + 20 + 3 + 7 + 3, "also beside a node that has it open");
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_bytes_are_named_by_what_they_belong_to() {
    let Some(site) = Site::new().await else { return };
    site.rewrite(Stream::Feed, |messages| {
        let at = |n: usize| Site::index(messages, site.at[n]);
        let places = [at(50), at(51), at(52), at(53), at(125)];
        // The header is the envelope's first field; its ninth byte lies in the event id.
        messages[places[0]].payload[8] ^= 0x20;
        *messages[places[1]].payload.last_mut().unwrap() ^= 0x5a;
        messages[places[2]].leaf[31] ^= 0x80;
        messages[places[3]].payload[10..14].copy_from_slice(b"abcd");
        // An event that no cut covers.
        *messages[places[4]].payload.last_mut().unwrap() ^= 1;
    })
    .await;
    let wanted = [
        ("header-changed", site.place(50)),
        ("payload-changed", site.place(51)),
        ("leaf-changed", site.place(52)),
        ("event-changed", site.place(53)),
        ("payload-changed", site.place(125)),
    ];
    site.check(false, &wanted).await;
    site.check(true, &wanted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_careful_forger_is_found_by_the_root_and_by_the_seal() {
    let Some(site) = Site::new().await else { return };
    site.rewrite(Stream::Feed, |messages| {
        for n in [50, 125] {
            let at = Site::index(messages, site.at[n]);
            forge(&mut messages[at], |bytes| *bytes.last_mut().unwrap() ^= 1);
        }
        let at = Site::index(messages, site.at[126]);
        forge(&mut messages[at], |bytes| *bytes = vec![0xff; 40]);
    })
    .await;
    assert_eq!(site.kinds(false).await, BTreeSet::from(["root-differs", "event-unreadable"]));
    let report = site.verify(true).await;
    let broken: Vec<String> =
        report.damages.iter().filter(|d| d.kind.code() == "seal-broken").map(|d| d.place.to_string()).collect();
    assert_eq!(BTreeSet::from_iter(broken), BTreeSet::from([site.place(50), site.place(125)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_events_in_wrong_places_are_found_by_the_inbox() {
    let Some(site) = Site::new().await else { return };
    // Two of one partition, both between the first cut and the second.
    let of_one = |n: usize| site.at[n].partition == site.at[40].partition;
    let other = (41..80).rev().find(|n| of_one(*n)).unwrap();
    site.rewrite(Stream::Feed, |messages| {
        let (a, b) = (Site::index(messages, site.at[40]), Site::index(messages, site.at[other]));
        messages.swap(a, b);
    })
    .await;
    site.check(false, &[("order-swapped", site.place(40)), ("order-swapped", site.place(other))]).await;

    // An event of another log, whole in itself.
    let Some(site) = Site::new().await else { return };
    let Some(other) = Site::new().await else { return };
    let forged = other.messages(Stream::Feed).remove(0);
    site.rewrite(Stream::Feed, |messages| {
        let at = Site::index(messages, site.at[50]);
        let partition = messages[at].partition;
        messages[at] = Raw { partition, ..forged };
    })
    .await;
    site.check(false, &[("event-replaced", site.place(50))]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_beginning_and_a_lost_end_are_told_apart() {
    let Some(site) = Site::new().await else { return };
    let partition = site.at[0].partition;
    let mut before = TopicPartitionList::new();
    let number = partition.number.cast_signed();
    before.add_partition_offset(&site.topic(Stream::Feed), number, Offset::Offset(3)).unwrap();
    site.admin().delete_records(&before, &AdminOptions::new()).await.unwrap();
    let lost = format!("{} to {}", partition.at(0), partition.at(2));
    site.check(false, &[("event-missing", lost)]).await;

    // The last of a partition, which no cut covers: only the counts miss it.
    let Some(site) = Site::new().await else { return };
    let last = *site.at.last().unwrap();
    site.rewrite(Stream::Feed, |messages| {
        messages.remove(Site::index(messages, last));
    })
    .await;
    site.check(false, &[("truncated", last.to_string())]).await;

    // Those that a cut covers.
    let Some(site) = Site::new().await else { return };
    site.rewrite(Stream::Access, |messages| messages.truncate(1)).await;
    site.check(false, &[("truncated", "access/0/1 to access/0/2".to_owned())]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_topic_is_named_and_a_log_put_back_is_found_by_what_is_remembered() {
    let Some(site) = Site::new().await else { return };
    site.delete(Stream::Identity).await;
    site.check(false, &[("partition-missing", "identity/0".to_owned())]).await;
    site.delete(Stream::Feed).await;
    assert_eq!(site.verify(false).await.damages.len(), 5, "four partitions and one");

    let Some(site) = Site::new().await else { return };
    // The stream of cuts ends before the third, and the database is of the same time.
    site.rewrite(Stream::Control, |messages| messages.truncate(4)).await;
    site.sql("DELETE FROM count WHERE stream = 3").await;
    let report = site.check(false, &[("rolled-back", "log".to_owned())]).await;
    assert!(report.damages[0].what.contains("it has 2 cuts, and 3 were signed"), "{}", report.damages[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_cut_is_named() {
    let Some(site) = Site::new().await else { return };
    // Each cut follows a registration.
    site.rewrite(Stream::Control, |messages| messages[3].payload[90] ^= 4).await;
    site.check(false, &[("cut-changed", "control/0/3".to_owned())]).await;

    // A forger who mends the leaf hash too does not have the notary's key.
    let Some(site) = Site::new().await else { return };
    site.rewrite(Stream::Control, |messages| {
        forge(&mut messages[3], |bytes| {
            let mut envelope = Envelope::decode(bytes.as_slice()).unwrap();
            let mut cut = CutTaken::decode(envelope.clear.as_slice()).unwrap();
            cut.vector[9] ^= 1;
            envelope.clear = cut.encode_to_vec();
            *bytes = envelope.encode_to_vec();
        });
    })
    .await;
    let kinds = site.kinds(false).await;
    assert_eq!(kinds, BTreeSet::from(["cut-chain", "other-history", "root-differs"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_keys_are_told_from_destroyed_ones() {
    let Some(site) = Site::new().await else { return };
    let slot = |n: u64| 256 + n;
    // Of the slots of the first block, in the order in which records came.
    site.sql("UPDATE key_slot SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1) WHERE slot = 259").await;
    site.check(true, &[("key-damaged", format!("key slot {}", slot(3)))]).await;
    site.check(false, &[]).await;
    site.sql("UPDATE key_slot SET wrapped = NULL WHERE slot = 259").await;
    let report = site.check(true, &[]).await;
    assert!(report.shredded > 5 && report.opened + report.shredded == 127 + 3 + 6 + 3, "{report:?}");
    site.sql("UPDATE key_slot SET record = decode(repeat('00', 16), 'hex') WHERE slot = 260").await;
    site.check(true, &[("key-table-changed", format!("key slot {}", slot(4)))]).await;
    site.sql("DELETE FROM key_slot WHERE slot = 261").await;
    let wanted = [
        ("key-table-changed", format!("key slot {}", slot(4))),
        ("key-table-changed", format!("key slot {}", slot(5))),
    ];
    site.check(true, &wanted).await;
    // Without the keys of the whole log nothing is opened, and none are made in their place.
    site.sql("DELETE FROM key_slot WHERE slot < 2").await;
    let evidence = KafkaEvidence::open(&site.options).await.unwrap();
    assert!(matches!(evidence.vault(&site.options).await, Err(weft_log::VaultError::Absent { slot: 0 })));
    evidence.close().await;
}

/// What a disk does to the bytes of a segment: Kafka's own sums say nothing to whoever asks for the bytes as they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_segment_is_read_around() {
    let Some((options, dir)) = support::kafka() else { return };
    let Some(mut kafka) = KafkaCluster::start(1).unwrap() else { return };
    let options = KafkaOptions { brokers: kafka.addresses(), feed_partitions: 1, ..options };
    // Each event in a batch of its own.
    let site = Site::on(options, dir, 1).await;
    let segment = kafka.partition_dir(0, &site.topic(Stream::Feed), 0).join("00000000000000000000.log");
    let good = fs::read(&segment).unwrap();
    let leaf = |n: usize| {
        let leaf = &site.messages(Stream::Feed)[n].leaf;
        good.windows(32).position(|window| window == leaf).unwrap()
    };
    // A byte of a value, a byte of a leaf hash.
    let mut bytes = good.clone();
    bytes[leaf(50) - 60] ^= 1;
    bytes[leaf(70)] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    site.check(true, &[("payload-changed", site.place(50)), ("leaf-changed", site.place(70))]).await;
    // What a batch says of itself: it is no batch any more, and those behind it are read.
    let batch = |n: u64| {
        let starts = good.windows(8).enumerate().filter(|(_, window)| *window == n.to_be_bytes());
        // Base offset, length, epoch, and the magic number of the format.
        starts.map(|(at, _)| at).find(|at| good.get(at + 16) == Some(&2)).unwrap()
    };
    let mut bytes = good.clone();
    bytes[batch(60) + 61] ^= 0x7f;
    fs::write(&segment, &bytes).unwrap();
    let report = site.verify(false).await;
    let kinds: BTreeSet<&str> = report.damages.iter().map(|damage| damage.kind.code()).collect();
    assert!(kinds.is_subset(&BTreeSet::from(["file-damaged", "event-missing"])) && !kinds.is_empty(), "{report:#?}");
    assert!(report.partitions[0].events > 120, "{report:#?}");

    // The end of the segment is lost with the machine: the broker starts with what there is.
    let end = batch(100);
    kafka.kill(0);
    fs::write(&segment, &good[..end]).unwrap();
    kafka.restart(0).unwrap();
    site.until_led();
    site.check(false, &[("truncated", "feed/0/100 to feed/0/126".to_owned())]).await;
}
