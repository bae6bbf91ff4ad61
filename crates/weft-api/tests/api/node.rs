//! A node without its transports: a real log, a real read model that is projected as events come, and the services on a
//! real socket. Messages and links are appended as the connector and the linker would.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use weft_api::{
    FeedControl, FeedProfile, FeedStatus, Health, LinkModel, LinkModels, MessageReader, Reading, ServeError,
    ServeOptions,
    client::{self, Clients},
};
use weft_log::{
    AppendError, Draft, EmbeddedLog, EventLog, MemoryLog, OpenError, OpenOptions, ReadError, ReadLimit, Receipt, Same,
    SharedLog, Statistics, Stored, Vault,
};
use weft_model::{
    Clock, Event, Partition, Payload, PersonId, Position, Pseudonym, Random, SourceRecordId, Stream, Verdict, When,
    proto::{
        api::{FeedState, RequestContext},
        event::{
            Address, Demographics, Disclosed, Evidence, Fact, Identifier, IdentifierKind, Issue, Line, LineKind,
            LinkMethod, MessageReceived, Name, Precision, RecordLinked, RequestRefused, Severity,
        },
    },
};
use weft_readmodel::ReadModel;

/// Nothing in a test takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const DAY_US: i64 = 86_400_000_000;
/// 2024-05-01T00:00:00Z.
pub(crate) const MAY_1_US: i64 = 1_714_521_600_000_000;

pub(crate) struct Node {
    pub(crate) log: Arc<Faulty>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) model: Arc<ReadModel>,
    pub(crate) feeds: Arc<KnownFeeds>,
    pub(crate) clients: Clients,
    pub(crate) address: String,
    pub(crate) health: watch::Sender<Health>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) projecting: CancellationToken,
    pub(crate) serving: JoinHandle<Result<(), ServeError>>,
    messages: AtomicU64,
    _dir: tempfile::TempDir,
}

/// A log whose access stream can be made to fail, and no other.
pub(crate) struct Faulty {
    log: SharedLog,
    pub(crate) refuse_disclosures: AtomicBool,
    /// Disclosures that were refused.
    pub(crate) refused: AtomicU64,
}

/// Feeds as a node would know them: a profile is `feed = "..."` and `organisation = "..."` on lines.
#[derive(Default)]
pub(crate) struct KnownFeeds(pub(crate) Mutex<BTreeMap<String, FeedStatus>>);

/// Accepts messages that contain a text, if one is given: a profile says `accept = "..."` on a line.
struct Containing(Option<String>);

/// Models as a node would know them: a file is `name = ` and the name.
pub(crate) struct KnownModels;

/// A clock that goes on by a second each time.
pub(crate) struct Steps(AtomicI64);

/// Different bytes each time.
pub(crate) struct Counter(AtomicU64);

impl Node {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(&dir);
        let log = MemoryLog::new(vault.clone());
        Self::over(dir, vault, Arc::new(log)).await
    }

    pub(crate) async fn start_embedded() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(&dir);
        let log = EmbeddedLog::open(OpenOptions::new(dir.path().join("log"), vault.clone())).await.unwrap();
        Self::over(dir, vault, Arc::new(log)).await
    }

    async fn over(dir: tempfile::TempDir, vault: Arc<Vault>, log: SharedLog) -> Self {
        let log = Arc::new(Faulty { log, refuse_disclosures: AtomicBool::new(false), refused: AtomicU64::new(0) });
        let model = Arc::new(ReadModel::open(&dir.path().join("readmodel.db")).await.unwrap());
        let projecting = CancellationToken::new();
        tokio::spawn(weft_readmodel::project(
            log.clone(),
            model.clone(),
            weft_readmodel::ProjectOptions { repeats: weft_readmodel::Repeats::Never, owner: "test".to_owned() },
            projecting.clone(),
        ));
        let feeds = Arc::new(KnownFeeds::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let health = watch::Sender::new(Health::from([("log", true), ("read-model", true)]));
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(weft_api::serve(ServeOptions {
            listener,
            log: log.clone(),
            model: model.clone(),
            feeds: feeds.clone(),
            link_models: Arc::new(KnownModels),
            clock: Arc::new(Steps(AtomicI64::new(MAY_1_US))),
            random: Arc::new(Counter(AtomicU64::new(0))),
            health: health.subscribe(),
            allow_remote: false,
            shutdown: shutdown.clone(),
        }));
        let clients = client::connect(&address).await.unwrap();
        let messages = AtomicU64::new(0);
        Self { log, vault, model, feeds, clients, address, health, shutdown, projecting, serving, messages, _dir: dir }
    }

    /// Appends a message about `record`; returns where.
    pub(crate) async fn message(
        &self,
        record: &SourceRecordId,
        demographics: Option<Demographics>,
        facts: Vec<Fact>,
    ) -> Position {
        self.told(record, Verdict::Accepted, MessageReceived { demographics, facts, ..MessageReceived::default() })
            .await
    }

    /// Appends a message that nothing can be made of.
    pub(crate) async fn quarantined(&self, record: &SourceRecordId) -> Position {
        let issue = Issue {
            severity: Severity::Error.into(),
            code: "event-type-missing".to_owned(),
            location: "EVN-1".to_owned(),
            text: "has no event type".to_owned(),
        };
        let message = MessageReceived { reason: issue.code.clone(), issues: vec![issue], ..MessageReceived::default() };
        self.told(record, Verdict::Quarantined, message).await
    }

    async fn told(&self, record: &SourceRecordId, verdict: Verdict, message: MessageReceived) -> Position {
        let n = self.messages.fetch_add(1, Ordering::Relaxed);
        let draft = Draft {
            same: Same::Message,
            feed: format!("{}-pas", record.organisation.to_lowercase()),
            control_id: format!("C{n}"),
            message_type: "ADT^A01".to_owned(),
            verdict,
            received_us: MAY_1_US + i64::try_from(n).unwrap(),
            cause: None,
            payload: Payload::MessageReceived(MessageReceived {
                raw: format!("MSH|^~\\&|message {n}\r").into_bytes().into(),
                record: Some(record.clone()),
                ..message
            }),
        };
        self.append(draft).await
    }

    /// Appends the decision that `record` belongs to `person`.
    pub(crate) async fn link(&self, record: &SourceRecordId, person: PersonId) -> Position {
        let n = self.messages.fetch_add(1, Ordering::Relaxed);
        let evidence = Evidence { field: "nhs-number".to_owned(), level: "exact".to_owned(), weight: 60 };
        let linked = RecordLinked {
            record: Some(record.clone()),
            person: person.to_vec(),
            method: LinkMethod::NhsNumberCrossCheck.into(),
            score: 60,
            evidence: vec![evidence],
            model: "rules/1".to_owned(),
            ..RecordLinked::default()
        };
        self.named(n, Payload::RecordLinked(linked)).await
    }

    /// Appends an event of the identity stream.
    pub(crate) async fn identity(&self, payload: Payload) -> Position {
        let n = self.messages.fetch_add(1, Ordering::Relaxed);
        self.named(n, payload).await
    }

    async fn named(&self, n: u64, payload: Payload) -> Position {
        let draft = Draft {
            same: Same::Name(n.to_be_bytes().to_vec()),
            feed: String::new(),
            control_id: String::new(),
            message_type: String::new(),
            verdict: Verdict::Unspecified,
            received_us: MAY_1_US,
            cause: None,
            payload,
        };
        self.append(draft).await
    }

    /// The pseudonym of a record.
    pub(crate) fn log_pseudonym(&self, record: &SourceRecordId) -> Pseudonym {
        self.log.pseudonym(record)
    }

    pub(crate) async fn append(&self, draft: Draft) -> Position {
        self.log.append(vec![draft]).await.unwrap()[0].position
    }

    /// Waits until everything appended is in the read model.
    pub(crate) async fn projected(&self) {
        let mut changes = self.model.changes();
        let caught_up = async {
            for stream in [Stream::Feed, Stream::Identity, Stream::Control] {
                let partition = stream.partition(0);
                let size = self.log.size(partition).await.unwrap();
                while self.model.known_at().0[&partition] < size {
                    changes.changed().await.unwrap();
                }
            }
        };
        tokio::time::timeout(DEADLINE, caught_up).await.expect("projected in time");
    }

    /// A person with one record and `entries` observations, projected.
    pub(crate) async fn person(&self, n: u8, entries: usize) -> (PersonId, SourceRecordId) {
        let (person, record) = (PersonId([n; 16]), record("RYJ", &format!("{n:03}")));
        self.message(&record, Some(demographics(n)), observations(0..entries)).await;
        self.link(&record, person).await;
        self.projected().await;
        (person, record)
    }

    /// Every disclosure so far.
    pub(crate) async fn disclosures(&self) -> Vec<Disclosed> {
        self.accesses().await.0
    }

    /// Every refusal so far.
    pub(crate) async fn refusals(&self) -> Vec<RequestRefused> {
        self.accesses().await.1
    }

    async fn accesses(&self) -> (Vec<Disclosed>, Vec<RequestRefused>) {
        let (mut disclosures, mut refusals, mut next) = (Vec::new(), Vec::new(), 0);
        let access = Stream::Access.partition(0);
        while next < self.log.size(access).await.unwrap() {
            for stored in self.log.read(access.at(next), ReadLimit::PAGE).await.unwrap() {
                next += 1;
                match &self.log.open(&stored).await.unwrap().payload {
                    Payload::Disclosed(disclosed) => disclosures.push(disclosed.clone()),
                    Payload::RequestRefused(refused) => refusals.push(refused.clone()),
                    other => panic!("{:?} in the access stream", other.kind()),
                }
            }
        }
        (disclosures, refusals)
    }

    pub(crate) fn listens(&self, feed: &str) {
        let status = FeedStatus {
            state: FeedState::Listening,
            address: "127.0.0.1:40123".to_owned(),
            connections: 2,
            problem: String::new(),
        };
        self.feeds.0.lock().unwrap().insert(feed.to_owned(), status);
    }
}

pub(crate) fn context() -> Option<RequestContext> {
    Some(RequestContext {
        user: "dr.patel".to_owned(),
        role: "clinician".to_owned(),
        organisation: "RYJ".to_owned(),
        purpose: "direct-care".to_owned(),
        reason: "clinic today".to_owned(),
    })
}

pub(crate) fn record(organisation: &str, value: &str) -> SourceRecordId {
    SourceRecordId {
        organisation: organisation.to_owned(),
        system: format!("{organisation}-MRN"),
        value: value.to_owned(),
    }
}

/// Born on 1980-02-28 in Paddington, with a test NHS number of its own.
pub(crate) fn demographics(n: u8) -> Demographics {
    Demographics {
        identifiers: vec![Identifier {
            kind: IdentifierKind::NhsNumber.into(),
            value: nhs_number(n),
            ..Identifier::default()
        }],
        names: vec![Name { family: "O'Brien".to_owned(), given: vec![format!("Zoë{n}")], ..Name::default() }],
        birth: Some(When {
            start_us: 320_544_000_000_000,
            precision: Precision::Day.into(),
            offset_s: 0,
            offset_stated: false,
        }),
        sex: "female".to_owned(),
        addresses: vec![Address { postcode: "W2 1NY".to_owned(), ..Address::default() }],
        ..Demographics::default()
    }
}

pub(crate) fn nhs_number(n: u8) -> String {
    let mut candidates = (u64::from(n) * 3..).map(|k| weft_model::NhsNumber::with_check_digit(999_000_000 + k));
    candidates.find_map(|number| number).unwrap().to_string()
}

/// One observation a day from 2024-05-01 on.
pub(crate) fn observations(days: std::ops::Range<usize>) -> Vec<Fact> {
    days.map(|day| fact(day, "7.4 mmol/L", false)).collect()
}

pub(crate) fn fact(day: usize, detail: &str, withdrawn: bool) -> Fact {
    let occurred = When::instant(MAY_1_US + i64::try_from(day).unwrap() * DAY_US);
    Fact {
        resource_type: "Observation".to_owned(),
        id: format!("observation-{day}"),
        resource: format!(r#"{{"resourceType":"Observation","id":"{day}","note":"{detail}"}}"#).into_bytes().into(),
        withdrawn,
        occurred: Some(occurred),
        recorded: Some(occurred),
        location: format!("OBX[{}]", day + 1),
        line: Some(Line {
            kind: LineKind::Observation.into(),
            title: format!("Glucose, day {day}"),
            detail: detail.to_owned(),
            status: "final".to_owned(),
            ..Line::default()
        }),
    }
}

pub(crate) fn profile(feed: &str, organisation: &str) -> String {
    format!("feed = \"{feed}\"\norganisation = \"{organisation}\"\n")
}

impl LinkModels for KnownModels {
    fn check(&self, file: &str) -> Result<LinkModel, Issue> {
        if let Some(name) = file.strip_prefix("name = ") {
            return Ok(LinkModel { name: name.to_owned() });
        }
        let text = "line 1: missing field `name`".to_owned();
        Err(Issue { severity: Severity::Error.into(), code: "model-form".to_owned(), text, ..Issue::default() })
    }

    fn shipped(&self) -> LinkModel {
        LinkModel { name: "weights/2".to_owned() }
    }
}

impl FeedControl for KnownFeeds {
    fn check(&self, profile_toml: &str) -> Result<FeedProfile, Vec<Issue>> {
        let value = |key: &str| {
            let line = profile_toml.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='));
            line.map(|value| value.trim().trim_matches('"').to_owned())
        };
        let missing = |key: &str| Issue {
            severity: Severity::Error.into(),
            code: "key-missing".to_owned(),
            location: key.to_owned(),
            text: "is required".to_owned(),
        };
        match (value("feed"), value("organisation")) {
            (Some(feed), Some(organisation)) => {
                Ok(FeedProfile { feed, organisation, description: value("description").unwrap_or_default() })
            }
            (feed, organisation) => Err([("feed", feed), ("organisation", organisation)]
                .into_iter()
                .filter(|(_, value)| value.is_none())
                .map(|(key, _)| missing(key))
                .collect()),
        }
    }

    fn reader(&self, profile_toml: &str, _revision: u64) -> Result<Arc<dyn MessageReader>, Vec<Issue>> {
        let line = profile_toml.lines().find_map(|line| line.strip_prefix("accept = "));
        Ok(Arc::new(Containing(line.map(|text| text.trim_matches('"').to_owned()))))
    }

    fn statuses(&self) -> BTreeMap<String, FeedStatus> {
        self.0.lock().unwrap().clone()
    }
}

impl MessageReader for Containing {
    fn read(&self, raw: bytes::Bytes) -> Reading {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut message =
            MessageReceived { raw, record: Some(record("RYJ", "001")), facts: vec![], ..MessageReceived::default() };
        if self.0.as_ref().is_some_and(|wanted| text.contains(wanted)) {
            let day = text.bytes().rev().find(u8::is_ascii_digit).map_or(0, |digit| usize::from(digit - b'0'));
            message.facts = observations(day..day + 1);
            return Reading { message_type: "ADT^A01".to_owned(), verdict: Verdict::Accepted, message };
        }
        message.reason = "not-accepted".to_owned();
        let (code, location) = ("not-accepted".to_owned(), "MSH-9".to_owned());
        message.issues = vec![Issue { severity: Severity::Error.into(), code, location, ..Issue::default() }];
        Reading { message_type: String::new(), verdict: Verdict::Quarantined, message }
    }
}

#[async_trait]
impl EventLog for Faulty {
    async fn append(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>, AppendError> {
        let disclosure = drafts.iter().any(|draft| draft.stream() == Stream::Access);
        if disclosure && self.refuse_disclosures.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(AppendError::Unavailable("the disk is full".into()));
        }
        self.log.append(drafts).await
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        self.log.read(from, limit).await
    }

    async fn wait(&self, partition: Partition, offset: u64) -> Result<u64, ReadError> {
        self.log.wait(partition, offset).await
    }

    async fn size(&self, partition: Partition) -> Result<u64, ReadError> {
        self.log.size(partition).await
    }

    fn partitions(&self) -> Vec<Partition> {
        self.log.partitions()
    }

    async fn open(&self, stored: &Stored) -> Result<Arc<Event>, OpenError> {
        self.log.open(stored).await
    }

    fn pseudonym(&self, record: &SourceRecordId) -> Pseudonym {
        self.log.pseudonym(record)
    }

    async fn statistics(&self) -> Result<Statistics, ReadError> {
        self.log.statistics().await
    }

    async fn close(&self) {
        self.log.close().await;
    }
}

impl Clock for Steps {
    fn now_us(&self) -> i64 {
        self.0.fetch_add(1_000_000, Ordering::Relaxed)
    }
}

impl Random for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let next = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&next.to_be_bytes()[..chunk.len()]);
        }
    }
}

fn vault(dir: &tempfile::TempDir) -> Arc<Vault> {
    let keys = dir.path().join("keys");
    let random = Arc::new(Counter(AtomicU64::new(1)));
    Vault::create(&keys, random.as_ref()).unwrap();
    Arc::new(Vault::open(&keys, random).unwrap())
}
