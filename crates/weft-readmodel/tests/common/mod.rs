//! Hand-made events.
#![allow(dead_code, unreachable_pub, clippy::print_stderr, reason = "every test file uses its own part of it")]

use std::sync::Arc;

use prost::Message;
use tempfile::TempDir;
use weft_model::{
    Event, Partition, Payload, PersonId, Position, Pseudonym, SourceRecordId, Stream, Verdict, When,
    proto::{
        api::{TimelineEntry, TimelineFilter},
        event::{
            Address, Demographics, EventKind, Evidence, Fact, FeedRegistered, FeedSwitched, Header, Identifier,
            IdentifierKind, Issue, Line, LineKind, LinkMethod, MessageReceived, Name, PersonsMerged, Placed, Precision,
            RecordLinked, RecordsMerged, RecordsUnlinked, Redrives, ReviewAsked, StewardDecided, StewardDecision,
        },
    },
};
use weft_readmodel::{Batch, Location, PageKey, ReadModel};

pub const FEED: Partition = Partition { stream: Stream::Feed, number: 0 };
pub const IDENTITY: Partition = Partition { stream: Stream::Identity, number: 0 };
pub const CONTROL: Partition = Partition { stream: Stream::Control, number: 0 };
pub const NHS_NUMBER: &str = "9434765919";

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Sqlite,
    Postgres,
}

/// A place for read models that vanishes with the test.
pub struct Place {
    pub dir: TempDir,
    postgres: Option<(String, std::sync::Mutex<Vec<String>>)>,
}

/// Runs tests, which are functions of a database, on both.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::common::On::Sqlite).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if super::common::postgres_url().is_some() {
                    super::$name(super::common::On::Postgres).await;
                }
            })*
        }
    };
}

/// The database that tests may use: each makes schemas of its own and drops them.
pub fn postgres_url() -> Option<String> {
    let url = std::env::var("WEFT_TEST_POSTGRES").ok();
    if url.is_none() {
        eprintln!("NOT RUN: needs WEFT_TEST_POSTGRES");
        assert!(std::env::var("WEFT_REQUIRE_SERVICES").as_deref() != Ok("1"), "WEFT_TEST_POSTGRES is required");
    }
    url
}

impl Place {
    pub fn new(on: On) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let postgres = (on == On::Postgres).then(|| (postgres_url().unwrap(), std::sync::Mutex::default()));
        Self { dir, postgres }
    }

    /// Where a read model of this name is.
    pub fn location(&self, name: &str) -> Location {
        let Some((url, schemas)) = &self.postgres else {
            return Location::Sqlite(self.dir.path().join(format!("{name}.db")));
        };
        // The name of the folder is its own among all that run.
        let own: String =
            self.dir.path().file_name().unwrap().to_string_lossy().bytes().map(|b| format!("{b:02x}")).collect();
        let schema = format!("t{own}_{name}");
        schemas.lock().unwrap().push(schema.clone());
        Location::Postgres { url: url.clone(), schema }
    }

    pub async fn model(&self, name: &str) -> Arc<ReadModel> {
        Arc::new(ReadModel::open(self.location(name)).await.unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((url, schemas)) = self.postgres.take() else { return };
        let drop = async move {
            use sqlx::Connection;
            let mut conn = sqlx::PgConnection::connect(&url).await.unwrap();
            for schema in schemas.into_inner().unwrap() {
                let sql = format!("DROP SCHEMA IF EXISTS {schema} CASCADE");
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
            }
        };
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dropped = std::thread::spawn(move || runtime().block_on(drop)).join();
        assert!(dropped.is_ok() || std::thread::panicking());
    }
}

/// Executes a statement on the store of a read model, behind its back.
pub async fn execute(location: &Location, sql: String) {
    use sqlx::{ConnectOptions, Connection};
    let sql = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
    match location {
        Location::Sqlite(path) => {
            let mut conn = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap();
            sql.execute(&mut conn).await.unwrap();
            conn.close().await.unwrap();
        }
        Location::Postgres { url, schema } => {
            let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
            let mut conn = options.options([("search_path", schema)]).connect().await.unwrap();
            sql.execute(&mut conn).await.unwrap();
            conn.close().await.unwrap();
        }
    }
}

pub struct Store {
    pub model: Arc<ReadModel>,
    pub place: Place,
}

pub async fn store(on: On) -> Store {
    let place = Place::new(on);
    Store { model: place.model("live").await, place }
}

impl Store {
    /// Applies events at the ends of their streams.
    pub async fn tell(&self, events: Vec<Event>) {
        let mut known = self.model.known_at();
        let mut batches = Vec::new();
        for event in events {
            let partition = event.payload.stream().partition(0);
            let next = known.0.get_mut(&partition).unwrap();
            batches.push(Batch::new(partition, *next, vec![event]));
            *next += 1;
        }
        self.model.apply(batches).await.unwrap();
    }

    /// Titles of the timeline, newest first; `None` where there is no such person.
    pub async fn titles(&self, person: u8) -> Option<Vec<String>> {
        let page =
            self.model.timeline(self::person(person), &TimelineFilter::default(), 1000, None, None).await.unwrap();
        Some(page?.entries.iter().map(|body| TimelineEntry::decode(&body[..]).unwrap().title).collect())
    }

    pub async fn digest(&self) -> Vec<weft_readmodel::TableDigest> {
        self.model.digest(None).await.unwrap()
    }
}

pub fn record_pseudonym(n: u8) -> Pseudonym {
    Pseudonym([n; 16])
}

pub fn person(n: u8) -> PersonId {
    PersonId([n; 16])
}

pub fn record_id(n: u8) -> SourceRecordId {
    SourceRecordId { organisation: format!("ORG{}", n % 2), system: "MRN".to_owned(), value: format!("P{n}") }
}

fn header(kind: EventKind, record: Option<u8>) -> Header {
    Header {
        schema: 1,
        event_id: vec![7; 16],
        kind: kind.into(),
        received_us: 1_000_000,
        source_record: record.map(|n| record_pseudonym(n).to_vec()).unwrap_or_default(),
        ..Header::default()
    }
}

/// A message about record `n`, accepted, written by its sender at `sent_us`.
pub fn message(n: u8, sent_us: i64, facts: Vec<Fact>) -> Event {
    let header = Header {
        feed: format!("feed-{}", n % 2),
        control_id: format!("C{sent_us}"),
        message_type: "ADT^A01".to_owned(),
        verdict: Verdict::Accepted.into(),
        ..header(EventKind::MessageReceived, Some(n))
    };
    let payload = MessageReceived {
        raw: bytes::Bytes::from_static(b"MSH|"),
        record: Some(record_id(n)),
        facts,
        sent: Some(When::instant(sent_us)),
        ..MessageReceived::default()
    };
    Event { header, payload: Payload::MessageReceived(payload) }
}

/// The same, saying who the patient is.
pub fn message_of(n: u8, sent_us: i64, family: &str, facts: Vec<Fact>) -> Event {
    let mut event = message(n, sent_us, facts);
    if let Payload::MessageReceived(message) = &mut event.payload {
        message.demographics = Some(demographics(family));
    }
    event
}

/// The same event with another verdict.
pub fn with_verdict(mut event: Event, verdict: Verdict) -> Event {
    event.header.verdict = verdict.into();
    if let Payload::MessageReceived(message) = &mut event.payload {
        message.reason = "date-unreadable".to_owned();
        message.issues = vec![Issue { code: "date-unreadable".to_owned(), ..Issue::default() }];
    }
    event
}

/// The same event as what was kept at `held`, and received then, is accepted as.
pub fn redriving(mut event: Event, held: Position, received_us: i64, resent: bool) -> Event {
    let position = Some(held.to_proto());
    event.header.redrives = Some(Redrives { position, received_us, resent, event_id: vec![7; 16] });
    event
}

pub fn demographics(family: &str) -> Demographics {
    Demographics {
        identifiers: vec![Identifier {
            kind: IdentifierKind::NhsNumber.into(),
            value: NHS_NUMBER.to_owned(),
            ..Identifier::default()
        }],
        names: vec![Name { family: family.to_owned(), given: vec!["Ada".to_owned()], ..Name::default() }],
        // 1970-01-02
        birth: Some(When {
            start_us: 86_400_000_000,
            precision: Precision::Day.into(),
            offset_s: 0,
            offset_stated: false,
        }),
        sex: "female".to_owned(),
        addresses: vec![Address { postcode: "W2 1NY".to_owned(), ..Address::default() }],
        ..Demographics::default()
    }
}

/// An observation: `text` is its content and its line.
pub fn fact(id: &str, text: &str, occurred_us: i64, recorded_us: i64) -> Fact {
    Fact {
        resource_type: "Observation".to_owned(),
        id: id.to_owned(),
        resource: format!(r#"{{"resourceType":"Observation","id":"{id}","text":"{text}"}}"#).into(),
        withdrawn: false,
        occurred: Some(When::instant(occurred_us)),
        recorded: Some(When::instant(recorded_us)),
        location: "OBX[1]".to_owned(),
        line: Some(Line { kind: LineKind::Observation.into(), title: text.to_owned(), ..Line::default() }),
    }
}

pub fn withdrawn(fact: Fact) -> Fact {
    Fact { withdrawn: true, ..fact }
}

/// One movement of a visit.
pub fn movement(visit: &str, id: &str, status: &str, ward: &str, occurred_us: i64) -> Fact {
    let resource = format!(
        r#"{{"resourceType":"Encounter","status":"{status}","class":{{"code":"IMP"}},
            "period":{{"start":"2024-05-01T10:30:00Z"}},"location":[{{"location":{{"display":"{ward}"}}}}]}}"#
    );
    let line = Line { kind: LineKind::Admission.into(), encounter: visit.to_owned(), ..Line::default() };
    Fact {
        resource_type: "Encounter".to_owned(),
        resource: resource.into(),
        line: Some(Line { title: format!("{status} {ward}"), ..line }),
        ..fact(id, "", occurred_us, occurred_us)
    }
}

/// Record `n` belongs to person `p`.
pub fn link(n: u8, p: u8) -> Event {
    let linked = RecordLinked {
        record: Some(record_id(n)),
        person: person(p).to_vec(),
        method: LinkMethod::NhsNumberCrossCheck.into(),
        score: 12,
        evidence: vec![Evidence { field: "nhs-number".to_owned(), level: "exact".to_owned(), weight: 12 }],
        ..RecordLinked::default()
    };
    Event { header: header(EventKind::RecordLinked, Some(n)), payload: Payload::RecordLinked(linked) }
}

/// A steward should look at record `n`, which stays with person 1 and may be person 2.
pub fn asked(n: u8, code: &str) -> Event {
    let decision = RecordLinked {
        record: Some(record_id(n)),
        person: person(1).to_vec(),
        runner_up: person(2).to_vec(),
        score: 10,
        threshold: 12,
        review: if code.is_empty() { Vec::new() } else { vec![code.to_owned()] },
        ..RecordLinked::default()
    };
    let payload = Payload::ReviewAsked(ReviewAsked { decision: Some(decision) });
    Event { header: header(EventKind::ReviewAsked, Some(n)), payload }
}

/// A steward says of each record whose it is; the questions about `settled` are answered.
pub fn decided(placed: &[(u8, u8)], settled: &[u8]) -> Event {
    let placed = placed.iter().map(|(n, p)| Placed {
        record: record_pseudonym(*n).to_vec(),
        person: person(*p).to_vec(),
        previous: Vec::new(),
    });
    let decided = StewardDecided {
        decision: StewardDecision::LinkAccepted.into(),
        by: "s.steward".to_owned(),
        placed: placed.collect(),
        settled: settled.iter().map(|n| record_pseudonym(*n).to_vec()).collect(),
        ..StewardDecided::default()
    };
    Event { header: header(EventKind::StewardDecided, None), payload: Payload::StewardDecided(decided) }
}

/// Evidence joined two persons: these records move.
pub fn joined(survivor: u8, retired: u8, records: &[u8]) -> Event {
    let merged = PersonsMerged {
        survivor: person(survivor).to_vec(),
        retired: person(retired).to_vec(),
        records: records.iter().map(|n| record_pseudonym(*n).to_vec()).collect(),
        ..PersonsMerged::default()
    };
    Event { header: header(EventKind::PersonsMerged, None), payload: Payload::PersonsMerged(merged) }
}

/// Record `n` is not the patient of record `other`.
pub fn unlinked(n: u8, other: u8) -> Event {
    let unlinked = RecordsUnlinked {
        record: Some(record_id(n)),
        other: Some(record_id(other)),
        record_pseudonym: record_pseudonym(n).to_vec(),
        other_pseudonym: record_pseudonym(other).to_vec(),
    };
    Event { header: header(EventKind::RecordsUnlinked, Some(n)), payload: Payload::RecordsUnlinked(unlinked) }
}

/// Record `retired` is record `survivor`.
pub fn merge(retired: u8, survivor: u8) -> Event {
    let merged = RecordsMerged {
        survivor: Some(record_id(survivor)),
        retired: Some(record_id(retired)),
        survivor_pseudonym: record_pseudonym(survivor).to_vec(),
        retired_pseudonym: record_pseudonym(retired).to_vec(),
    };
    Event { header: header(EventKind::RecordsMerged, Some(retired)), payload: Payload::RecordsMerged(merged) }
}

pub fn register(feed: &str, profile_toml: &str) -> Event {
    let (feed, profile_toml) = (feed.to_owned(), profile_toml.to_owned());
    let registered = FeedRegistered { feed, profile_toml, by: "test".to_owned() };
    Event { header: header(EventKind::FeedRegistered, None), payload: Payload::FeedRegistered(registered) }
}

pub fn switch(feed: &str, paused: bool) -> Event {
    let switched = FeedSwitched { feed: feed.to_owned(), by: "test".to_owned(), reason: String::new() };
    let (kind, payload) = if paused {
        (EventKind::FeedPaused, Payload::FeedPaused(switched))
    } else {
        (EventKind::FeedResumed, Payload::FeedResumed(switched))
    };
    Event { header: header(kind, None), payload }
}

/// The whole timeline, walked in pages of `limit` under the cut of the first; `None` where nobody has the identifier.
pub async fn walk(
    model: &ReadModel,
    person: PersonId,
    limit: usize,
    as_of: Option<&weft_model::Cut>,
) -> Option<Vec<TimelineEntry>> {
    let filter = TimelineFilter { include_withdrawn: true, ..TimelineFilter::default() };
    let mut after: Option<PageKey> = None;
    let mut cut = as_of.cloned();
    let mut entries = Vec::new();
    loop {
        let page = model.timeline(person, &filter, limit, after, cut.as_ref()).await.unwrap()?;
        entries.extend(page.entries.iter().map(|body| TimelineEntry::decode(&body[..]).unwrap()));
        cut = Some(page.known_at);
        after = page.next;
        if after.is_none() {
            return Some(entries);
        }
    }
}
