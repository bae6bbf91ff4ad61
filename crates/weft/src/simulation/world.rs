//! The world of one seed: the components, what is under way between them, and what happens in a turn.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};
use tokio_util::sync::CancellationToken;
use weft_connect::{Connector, ConnectorOptions};
use weft_log::{Draft, EmbeddedLog, OpenOptions, Receipt, Same, SharedLog, Vault};
use weft_model::{Clock, Payload, Random, Stream, Verdict, proto::event::FeedRegistered};
use weft_readmodel::{ProjectOptions, ReadModel, Repeats};

use super::{
    Dice,
    cuts::{Moment, Signing},
    echo::Echo,
    naive::{FEEDS, Message, Naive, ORGANISATIONS},
    steward::Joined,
    window::{Fault, Kind, Window},
};
use crate::linker::Linker;

/// 2026-03-01T12:00:00Z.
const NOON_US: i64 = 1_772_366_400_000_000;

/// Feed partitions of a log that is as one on Kafka.
const PARTITIONS: u32 = 3;

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) clock: Arc<Hands>,
    pub(super) dir: tempfile::TempDir,
    pub(super) vault: Arc<Vault>,
    pub(super) log: SharedLog,
    /// None where the log is the embedded one.
    pub(super) echo: Option<Arc<Echo>>,
    pub(super) log_dir: PathBuf,
    pub(super) signing: Signing,
    /// Cuts at whose moment it is known what was answered.
    pub(super) moments: Vec<Moment>,
    pub(super) joined: Vec<Joined>,
    /// How often a steward has decided.
    pub(super) decisions: u64,
    pub(super) model: Arc<ReadModel>,
    model_path: PathBuf,
    /// A copy of the read model as it once was.
    older_model: Option<PathBuf>,
    pub(super) connector: Option<(Connector, Arc<Window>)>,
    /// Written by their senders and not known to be stored, by feed.
    pending: [Vec<Message>; 2],
    /// Everything ever written.
    pub(super) written: Vec<Message>,
    pub(super) naive: Naive,
    pub(super) answers: Vec<String>,
    /// Copies made, which gives each its name.
    copies: u32,
    pub(super) faults: u64,
}

/// A clock that stands still but for turns.
pub(super) struct Hands(AtomicI64);

/// Seeded randomness for keys and nonces.
pub(super) struct Seeded(Mutex<Dice>);

impl World {
    pub(super) async fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let random = Arc::new(Seeded::new(!seed));
        Vault::create(&dir.path().join("keys"), random.as_ref()).unwrap();
        let signing = Signing::new(random.as_ref());
        let vault = Arc::new(Vault::open(&dir.path().join("keys"), random).unwrap());
        let (log_dir, model_path) = (dir.path().join("log"), dir.path().join("model.db"));
        let (log, echo): (SharedLog, _) = if seed.is_multiple_of(2) {
            let echo = Arc::new(Echo::new(vault.clone(), PARTITIONS, Dice::new(seed ^ 0xec40)));
            (echo.clone(), Some(echo))
        } else {
            (open_log(&log_dir, &vault).await, None)
        };
        for (feed, organisation) in FEEDS.iter().zip(ORGANISATIONS) {
            log.append(vec![registration(feed, organisation)]).await.unwrap();
        }
        Self {
            dice: Dice::new(seed),
            clock: Arc::new(Hands(AtomicI64::new(NOON_US))),
            vault,
            log,
            echo,
            log_dir,
            signing,
            moments: Vec::new(),
            joined: Vec::new(),
            decisions: 0,
            model: Arc::new(ReadModel::open(&model_path).await.unwrap()),
            model_path,
            older_model: None,
            connector: None,
            pending: [Vec::new(), Vec::new()],
            written: Vec::new(),
            naive: Naive::default(),
            answers: Vec::new(),
            copies: 0,
            faults: 0,
            dir,
        }
    }

    /// One thing happens.
    pub(super) async fn turn(&mut self) {
        self.clock.0.fetch_add(1_000_000, Ordering::Relaxed);
        match self.dice.below(100) {
            0..42 => {
                let fault = self.fault(1);
                self.deliver(fault).await;
            }
            42..58 => {
                let fault = self.fault(8);
                self.link(fault).await;
            }
            58..74 => {
                let fault = self.fault(6);
                self.project(fault).await;
            }
            74..80 => {
                let fault = self.fault(8);
                self.cut(fault).await;
            }
            80..84 => self.look_at_a_cut().await,
            84..87 => self.decide().await,
            87..91 => self.crash_log().await,
            91..94 => self.reopen_model().await,
            94..97 => self.copy_model().await,
            _ => self.restore_model().await,
        }
    }

    /// From here on everything goes well, until nothing is left to do.
    pub(super) async fn settle(&mut self) {
        for feed in 0..FEEDS.len() {
            while !self.pending[feed].is_empty() {
                let count = self.pending[feed].len().min(3);
                let some = self.pending[feed].drain(..count).collect();
                self.send(feed, some, None, false).await;
            }
        }
        self.link(None).await;
        self.cut(None).await;
        self.project(None).await;
        // A read model that came from an older copy gave the linker an older place: it decides again, and adds nothing.
        let decisions = self.log.size(Stream::Identity.partition(0)).await.unwrap();
        self.link(None).await;
        assert_eq!(self.log.size(Stream::Identity.partition(0)).await.unwrap(), decisions);
    }

    fn fault(&mut self, calls: u64) -> Option<Fault> {
        let kinds = [Kind::DieBefore, Kind::DieAfter, Kind::Refuse, Kind::RefuseAfter];
        let (happens, call, kind) =
            (self.dice.chance(35), 1 + self.dice.below(calls), kinds[self.dice.below(4) as usize]);
        happens.then_some(Fault { call, kind })
    }

    /// A sender connects and sends one to three messages: new ones, repeats of what was not acknowledged, in any order.
    async fn deliver(&mut self, fault: Option<Fault>) {
        let feed = self.dice.below(2) as usize;
        let mut some = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            let waiting = self.pending[feed].len() as u64;
            if waiting > 0 && self.dice.chance(40) {
                let which = self.dice.below(waiting) as usize;
                some.push(self.pending[feed].remove(which));
                continue;
            }
            let number = self.written.len() as u64;
            let old: Vec<&Message> = self.written.iter().filter(|m| m.feed == feed).collect();
            let message = if !old.is_empty() && self.dice.chance(6) {
                old[self.dice.below(old.len() as u64) as usize].contradicted(number)
            } else {
                Message::new(&mut self.dice, number, feed)
            };
            self.written.push(message.clone());
            // Delay: some messages are held by their sender, and overtaken.
            if self.dice.chance(15) { self.pending[feed].push(message) } else { some.push(message) }
        }
        let loses = self.dice.chance(10);
        self.send(feed, some, fault, loses).await;
    }

    /// Sends messages on one connection and reads their answers; what is not known to be stored stays with its sender.
    async fn send(&mut self, feed: usize, messages: Vec<Message>, fault: Option<Fault>, loses_answers: bool) {
        if messages.is_empty() {
            return;
        }
        if self.connector.is_none() {
            self.connector = Some(self.start_connector().await);
        }
        let Some((connector, window)) = &self.connector else { return };
        window.set_fault(fault);
        if self.dice.chance(15) {
            window.cut_after(1, self.notary(self.log.clone()));
        }
        let address = connector.status().borrow()[FEEDS[feed]].address.unwrap();
        let mut socket = TcpStream::connect(address).await.unwrap();
        let frames: Vec<u8> = messages.iter().flat_map(|m| [b"\x0b", &m.bytes[..], b"\x1c\r"].concat()).collect();
        socket.write_all(&frames).await.unwrap();
        let answers = tokio::select! {
            answers = read_answers(&mut socket, messages.len()) => answers,
            () = window.dead.cancelled() => Vec::new(),
        };
        window.set_fault(None);
        let (died, stored) = (window.dead.is_cancelled(), window.take_stored());
        for (draft, receipt) in stored {
            self.check_verdict(feed, &draft, &receipt);
        }
        self.faults += u64::from(fault.is_some()) + u64::from(loses_answers);
        for (n, message) in messages.into_iter().enumerate() {
            let answer = answers.get(n).cloned().unwrap_or_default();
            let code = answer.split("MSA|").nth(1).map(|msa| &msa[..2]).unwrap_or_default().to_owned();
            if code == "AA" {
                assert!(self.naive.holds(&message), "acknowledged and not stored: {}", message.control_id);
            }
            // AE to a conflict says that it is kept; to anything else, that it is not.
            let kept = code == "AA" || (code == "AE" && self.naive.holds(&message));
            if !kept || loses_answers {
                self.pending[feed].push(message);
            }
            self.answers.push(answer);
        }
        if died && let Some((connector, _)) = self.connector.take() {
            drop(connector);
        }
    }

    fn check_verdict(&mut self, feed: usize, draft: &Draft, receipt: &Receipt) {
        let Payload::MessageReceived(received) = &draft.payload else { return };
        let same = |m: &&Message| m.feed == feed && m.bytes[..] == received.raw[..];
        let message = self.written.iter().find(same).expect("a message that somebody wrote").clone();
        assert_eq!(receipt.verdict, self.naive.store(&message), "{}", message.control_id);
    }

    async fn start_connector(&mut self) -> (Connector, Arc<Window>) {
        let window = Arc::new(Window::of_connector(self.log.clone()));
        let mut options = ConnectorOptions::new(window.clone(), self.clock.clone());
        let retries = if self.dice.chance(50) { 0 } else { 1 };
        options.limits.append_retries = vec![std::time::Duration::ZERO; retries].into();
        options.limits.drain_timeout = std::time::Duration::from_millis(1);
        let connector = Connector::start(options);
        connector.caught_up().await.unwrap();
        (connector, window)
    }

    /// The linker starts, decides on all there is, and ends; or dies.
    pub(super) async fn link(&mut self, fault: Option<Fault>) {
        let window = self.window(fault).await;
        if self.dice.chance(20) {
            window.cut_after(1 + self.dice.below(2), self.notary(self.log.clone()));
        }
        let sizes = self.sizes().await;
        let size = sizes.iter().filter(|(p, _)| p.stream == Stream::Feed).map(|(_, size)| size).sum();
        let (place, mut reached) = watch::channel(0);
        let shutdown = CancellationToken::new();
        let role = async {
            Linker::load(window.clone(), self.model.clone(), self.clock.clone(), place)
                .await?
                .run(shutdown.clone())
                .await
        };
        let done = async {
            let _ = reached.wait_for(|at| *at >= size).await;
            shutdown.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = role => ended.unwrap(),
            () = done => {}
            () = window.dead.cancelled() => {}
        }
        self.faults += u64::from(fault.is_some());
    }

    /// The projector starts, applies all there is, and ends; or dies, and the read model is opened again.
    pub(super) async fn project(&mut self, fault: Option<Fault>) {
        let window = self.window(fault).await;
        let sizes = self.sizes().await;
        let shutdown = CancellationToken::new();
        let mut changes = self.model.changes();
        let done = async {
            loop {
                changes.borrow_and_update();
                let known = self.model.known_at();
                let behind = |partition| known.0.get(partition).is_some_and(|at| at < &sizes[partition]);
                if !sizes.keys().any(behind) {
                    shutdown.cancel();
                    std::future::pending::<()>().await;
                }
                changes.changed().await.unwrap();
            }
        };
        let role = weft_readmodel::project(window.clone(), self.model.clone(), self.projecting(), shutdown.clone());
        tokio::select! {
            ended = role => ended.unwrap(),
            () = done => {}
            () = window.dead.cancelled() => {}
        }
        self.faults += u64::from(fault.is_some());
        if window.dead.is_cancelled() {
            self.reopen_model().await;
        }
    }

    pub(super) fn projecting(&self) -> ProjectOptions {
        ProjectOptions { repeats: self.repeats(), owner: "simulation".to_owned() }
    }

    pub(super) fn repeats(&self) -> Repeats {
        if self.echo.is_some() { Repeats::Possible } else { Repeats::Never }
    }

    async fn window(&self, fault: Option<Fault>) -> Arc<Window> {
        Arc::new(Window::new(self.log.clone(), self.sizes().await, fault))
    }

    pub(super) async fn sizes(&self) -> HashMap<weft_model::Partition, u64> {
        let mut sizes = HashMap::new();
        for partition in self.log.partitions() {
            sizes.insert(partition, self.log.size(partition).await.unwrap());
        }
        sizes
    }

    /// The log's process dies: what is opened is a copy of its files as they are now, without SQLite's shared memory.
    async fn crash_log(&mut self) {
        self.connector = None;
        self.faults += 1;
        if self.echo.is_some() {
            // Brokers keep what they have acknowledged; it is only those who talk to them that begin anew.
            return;
        }
        self.copies += 1;
        let copy = self.dir.path().join(format!("log-{}", self.copies));
        std::fs::create_dir(&copy).unwrap();
        copy_database(&self.log_dir.join("log.db"), &copy.join("log.db"));
        self.log = open_log(&copy, &self.vault).await;
        self.log_dir = copy;
    }

    async fn reopen_model(&mut self) {
        self.model = Arc::new(ReadModel::open(&self.model_path).await.unwrap());
    }

    async fn copy_model(&mut self) {
        self.copies += 1;
        let copy = self.dir.path().join(format!("model-{}.db", self.copies));
        copy_database(&self.model_path, &copy);
        self.older_model = Some(copy);
    }

    /// The read model of some time ago is put in the place of the one of now.
    async fn restore_model(&mut self) {
        let Some(older) = &self.older_model else { return };
        self.copies += 1;
        self.faults += 1;
        self.model_path = self.dir.path().join(format!("model-{}.db", self.copies));
        copy_database(older, &self.model_path);
        self.reopen_model().await;
    }
}

pub(super) fn system(organisation: &str) -> String {
    format!("{organisation}-MRN")
}

fn registration(feed: &str, organisation: &str) -> Draft {
    let profile_toml = format!(
        "feed = \"{feed}\"\norganisation = \"{organisation}\"\ndemo = true\n[mllp]\nlisten = \"127.0.0.1:0\"\n\
         [identifiers]\nsystem = \"{}\"\n",
        system(organisation)
    );
    Draft {
        same: Same::Name(feed.as_bytes().to_vec()),
        feed: feed.to_owned(),
        control_id: String::new(),
        message_type: String::new(),
        verdict: Verdict::Unspecified,
        received_us: NOON_US,
        cause: None,
        payload: Payload::FeedRegistered(FeedRegistered {
            feed: feed.to_owned(),
            profile_toml,
            by: "simulation".to_owned(),
        }),
    }
}

async fn open_log(dir: &Path, vault: &Arc<Vault>) -> SharedLog {
    Arc::new(EmbeddedLog::open(OpenOptions::new(dir.to_owned(), vault.clone())).await.unwrap())
}

pub(super) async fn read_all(log: &SharedLog, partition: weft_model::Partition, size: u64) -> Vec<weft_log::Stored> {
    let mut events = Vec::new();
    while (events.len() as u64) < size {
        events.extend(log.read(partition.at(events.len() as u64), weft_log::ReadLimit::PAGE).await.unwrap());
    }
    events
}

/// Copies a database as a crash leaves it: its file and its write-ahead log.
fn copy_database(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
    let wal = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    if wal(from).exists() {
        std::fs::copy(wal(from), wal(to)).unwrap();
    }
}

/// Reads this many answers; fewer where the connection ends.
async fn read_answers(socket: &mut TcpStream, count: usize) -> Vec<String> {
    let mut bytes = Vec::new();
    let ends = |bytes: &[u8]| bytes.windows(2).filter(|w| *w == b"\x1c\r").count();
    while ends(&bytes) < count && socket.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {}
    let text = String::from_utf8(bytes).unwrap();
    text.split("\x1c\r").filter(|answer| !answer.is_empty()).map(str::to_owned).collect()
}

impl Clock for Hands {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Seeded {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new(Dice::new(seed)))
    }
}

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        let mut dice = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.fill_with(|| dice.below(256) as u8);
    }
}
