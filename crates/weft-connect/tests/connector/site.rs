//! A log, a connector on it, and what tests ask of them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::{sync::watch, time::timeout};
use weft_connect::{Connector, ConnectorOptions, FeedStatus, FeedStatuses, MllpClient, parse_ack};
use weft_log::{Draft, MemoryLog, ReadLimit, Same, SharedLog, Vault};
use weft_model::{
    Clock, Payload, Position, Random, Stream, Verdict,
    proto::event::{FeedRegistered, FeedSwitched, Header, MessageReceived},
};

/// Long enough for every machine; only a failing test waits for it.
const DEADLINE: Duration = Duration::from_secs(30);

/// A whole receiving side: dropped, everything ends.
pub(crate) struct Site {
    pub(crate) log: SharedLog,
    pub(crate) connector: Connector,
    status: watch::Receiver<FeedStatuses>,
    _dir: TempDir,
}

/// Stands still at 2024-05-01T09:30:05.25Z.
pub(crate) struct FixedClock;

impl Clock for FixedClock {
    fn now_us(&self) -> i64 {
        1_714_555_805_250_000
    }
}

/// Never the same twice, always the same in every run.
pub(crate) struct CountingRandom(AtomicU64);

impl Random for CountingRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let next = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&next.to_le_bytes()[..chunk.len()]);
        }
    }
}

impl Site {
    /// One feed `pas` on a log in memory.
    pub(crate) async fn new() -> Self {
        Self::with("", |_| {}, |log| log).await
    }

    /// The same, with `mllp` lines added to the profile, options changed, and the connector's log wrapped.
    pub(crate) async fn with(
        mllp: &str,
        change: impl FnOnce(&mut ConnectorOptions),
        wrap: impl FnOnce(SharedLog) -> SharedLog,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log: SharedLog = Arc::new(MemoryLog::new(vault(&dir)));
        register(&log, &profile("pas", "127.0.0.1:0", mllp)).await;
        Self::on(log, dir, change, wrap).await
    }

    /// A connector on a log that has its feeds already.
    pub(crate) async fn on(
        log: SharedLog,
        dir: TempDir,
        change: impl FnOnce(&mut ConnectorOptions),
        wrap: impl FnOnce(SharedLog) -> SharedLog,
    ) -> Self {
        let mut options = ConnectorOptions::new(wrap(Arc::clone(&log)), Arc::new(FixedClock));
        change(&mut options);
        let connector = Connector::start(options);
        within(connector.caught_up()).await.unwrap();
        let status = connector.status();
        Self { log, connector, status, _dir: dir }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.status.borrow()["pas"].address.unwrap()
    }

    pub(crate) async fn client(&self) -> MllpClient {
        within(MllpClient::connect(self.address(), None)).await.unwrap()
    }

    /// Waits for the status of feed `pas` to become so.
    pub(crate) async fn status(&mut self, wanted: impl Fn(&FeedStatus) -> bool) -> FeedStatus {
        self.status_of("pas", wanted).await
    }

    pub(crate) async fn status_of(&mut self, feed: &str, wanted: impl Fn(&FeedStatus) -> bool) -> FeedStatus {
        let reached = |feeds: &FeedStatuses| feeds.get(feed).is_some_and(&wanted);
        if let Ok(feeds) = timeout(DEADLINE, self.status.wait_for(reached)).await {
            return feeds.unwrap()[feed].clone();
        }
        panic!("status of {feed} stays {:?}", self.status.borrow().get(feed));
    }

    /// What is stored of messages, in order.
    pub(crate) async fn stored(&self) -> Vec<(Header, MessageReceived)> {
        stored(&self.log).await
    }

    /// Control ids and verdicts of the messages stored, in order.
    pub(crate) async fn stored_ids(&self) -> Vec<String> {
        self.stored().await.into_iter().map(|(header, _)| header.control_id).collect()
    }

    /// Ends the connector and gives back what stays.
    pub(crate) async fn shutdown(self) -> (SharedLog, TempDir) {
        within(self.connector.shutdown()).await;
        (self.log, self._dir)
    }
}

pub(crate) async fn stored(log: &SharedLog) -> Vec<(Header, MessageReceived)> {
    let partition = Stream::Feed.partition(0);
    let mut messages = Vec::new();
    loop {
        let page = log.read(partition.at(messages.len() as u64), ReadLimit::PAGE).await.unwrap();
        if page.is_empty() {
            return messages;
        }
        for stored in &page {
            let event = Arc::unwrap_or_clone(log.open(stored).await.unwrap());
            let Payload::MessageReceived(message) = event.payload else { panic!("not a message") };
            messages.push((event.header, message));
        }
    }
}

pub(crate) fn vault(dir: &TempDir) -> Arc<Vault> {
    let random = Arc::new(CountingRandom(AtomicU64::new(1)));
    let keys = dir.path().join("keys");
    Vault::create(&keys, &*random).unwrap();
    Arc::new(Vault::open(&keys, random).unwrap())
}

/// A registration file. `mllp` holds further lines of that section and, after it, whole sections.
pub(crate) fn profile(feed: &str, listen: &str, mllp: &str) -> String {
    format!("feed = \"{feed}\"\norganisation = \"RYJ\"\n[mllp]\nlisten = \"{listen}\"\n{mllp}\n")
}

/// Registers the feed that `toml` names first; returns the offset of the event.
pub(crate) async fn register(log: &SharedLog, toml: &str) -> u64 {
    let feed = toml.lines().next().unwrap().trim_start_matches("feed = ").trim_matches('"').to_owned();
    let payload = FeedRegistered { feed, profile_toml: toml.to_owned(), by: "test".to_owned() };
    control(log, Payload::FeedRegistered(payload)).await.offset
}

pub(crate) async fn pause(log: &SharedLog, feed: &str) {
    control(log, Payload::FeedPaused(switched(feed))).await;
}

pub(crate) async fn resume(log: &SharedLog, feed: &str) {
    control(log, Payload::FeedResumed(switched(feed))).await;
}

fn switched(feed: &str) -> FeedSwitched {
    FeedSwitched { feed: feed.to_owned(), by: "test".to_owned(), reason: String::new() }
}

async fn control(log: &SharedLog, payload: Payload) -> Position {
    let size = log.size(Stream::Control.partition(0)).await.unwrap();
    let draft = Draft {
        same: Same::Name(size.to_be_bytes().to_vec()),
        feed: String::new(),
        control_id: String::new(),
        message_type: String::new(),
        verdict: Verdict::Unspecified,
        received_us: 0,
        cause: None,
        payload,
    };
    within(log.append(vec![draft])).await.unwrap()[0].position
}

/// An admission that translates without a problem.
pub(crate) fn admission(control_id: &str) -> Vec<u8> {
    let number = control_id.bytes().fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 1000;
    format!(
        "MSH|^~\\&|PAS|RYJ|WEFT|NWL|20240501103005||ADT^A01|{control_id}|P|2.4\r\
         EVN|A01|20240501103005\r\
         PID|1||{number}^^^RYJ^MR||SMITH^ANNA||19800101|F\r\
         PV1|1|I|W6^B^1\r"
    )
    .into_bytes()
}

pub(crate) fn framed(messages: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for id in messages {
        weft_connect::frame::encode(&admission(id), &mut bytes);
    }
    bytes
}

/// Sends and returns code and control id of the answer: `AA 1`.
pub(crate) async fn send(client: &mut MllpClient, message: &[u8]) -> String {
    within(client.write([message])).await.unwrap();
    answer(client).await
}

pub(crate) async fn answer(client: &mut MllpClient) -> String {
    let ack = parse_ack(&within(client.receive()).await.unwrap()).unwrap();
    format!("{} {}", ack.code, ack.control_id)
}

pub(crate) async fn answers<const N: usize>(client: &mut MllpClient) -> [String; N] {
    let mut all = [const { String::new() }; N];
    for one in &mut all {
        *one = answer(client).await;
    }
    all
}

/// Says that the connection was ended without an answer.
pub(crate) async fn hung_up(client: &mut MllpClient) {
    assert!(within(client.receive()).await.is_err());
}

pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.expect("not done before the deadline")
}

/// How often each is there.
pub(crate) fn tally(ids: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for id in ids {
        *counts.entry(id).or_default() += 1;
    }
    counts
}
