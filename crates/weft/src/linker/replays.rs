//! The same messages decided on again and again come to the same identity stream, byte for byte: on one thread and on
//! several, and where the linker was started again from a snapshot and the tail.
//!
//! All parts are real: the log on disk, the linker's role, the projector, the read model that the snapshot is taken from.

use std::{fs, path::Path, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weft_link::{Model, NORMALISER};
use weft_log::{Draft, EmbeddedLog, OpenOptions, Same, SharedLog, Vault};
use weft_model::{
    Clock, Cut, Event, Payload, PersonId, Position, SourceRecordId, Stream, Verdict, When,
    proto::event::{Demographics, FeedRegistered, Merge, MessageReceived, Placed, StewardDecided, StewardDecision},
};
use weft_readmodel::{ProjectOptions, ReadModel, Repeats};
use weft_synth::Linkage;

use super::{Linker, open_page, redo::verify};
use crate::system::SystemRandom;

const PEOPLE: usize = 900;

struct Still;

impl Clock for Still {
    fn now_us(&self) -> i64 {
        1_700_000_000_000_000
    }
}

/// A log with its keys and its read model.
struct Site {
    dir: TempDir,
    log: SharedLog,
    model: Arc<ReadModel>,
}

impl Site {
    /// With a copy of the keys, which name the records, and nothing in the log but the feed.
    async fn new(keys: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("keys")).unwrap();
        for file in fs::read_dir(keys).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), dir.path().join("keys").join(file.file_name())).unwrap();
        }
        let vault = Arc::new(Vault::open(&dir.path().join("keys"), Arc::new(SystemRandom)).unwrap());
        let log: SharedLog =
            Arc::new(EmbeddedLog::open(OpenOptions::new(dir.path().join("log"), vault)).await.unwrap());
        let model = Arc::new(ReadModel::open(&dir.path().join("model.db")).await.unwrap());
        log.append(vec![registration()]).await.unwrap();
        Self { dir, log, model }
    }

    async fn append(&self, drafts: &[Draft]) {
        for drafts in drafts.chunks(500) {
            self.log.append(drafts.to_vec()).await.unwrap();
        }
    }

    /// The linker starts, decides on all there is on so many threads, and ends.
    async fn link(&self, threads: usize) {
        let size = self.log.size(Stream::Feed.partition(0)).await.unwrap();
        let (place, mut reached) = watch::channel(0);
        let mut linker = Linker::load(self.log.clone(), self.model.clone(), Arc::new(Still), place).await.unwrap();
        linker.threads = threads;
        let shutdown = CancellationToken::new();
        let linking = tokio::spawn(linker.run(shutdown.clone()));
        reached.wait_for(|at| *at >= size).await.unwrap();
        shutdown.cancel();
        linking.await.unwrap().unwrap();
    }

    /// The projector brings the read model up to the log's end.
    async fn project(&self) {
        let shutdown = CancellationToken::new();
        let options = ProjectOptions { repeats: Repeats::Never, owner: "replays".to_owned() };
        let projecting =
            tokio::spawn(weft_readmodel::project(self.log.clone(), self.model.clone(), options, shutdown.clone()));
        let mut changes = self.model.changes();
        for partition in self.log.partitions() {
            let size = self.log.size(partition).await.unwrap();
            while self.model.known_at().0.get(&partition).is_some_and(|at| *at < size) {
                changes.changed().await.unwrap();
            }
        }
        shutdown.cancel();
        projecting.await.unwrap().unwrap();
    }

    /// The identity stream.
    async fn identity(&self) -> Vec<Arc<Event>> {
        let identity = Stream::Identity.partition(0);
        let (mut next, mut all) = (0, Vec::new());
        while next < self.log.size(identity).await.unwrap() {
            let page = open_page(&self.log, identity.at(next), u64::MAX).await.unwrap();
            all.extend(page.events.into_iter().map(|(_, event)| event));
            next = page.next;
        }
        all
    }

    /// Of each event of the identity stream its cause and its bytes. Decided again, it is the same.
    async fn decisions(self) -> Vec<(String, Vec<u8>)> {
        let events = self.identity().await;
        let report = verify(&self.log, Model::shipped().unwrap()).await.unwrap();
        assert_eq!((report.differences, report.of_other_versions, report.undecided), (0, 0, 0));
        self.log.close().await;
        drop(self.dir);
        events.iter().map(|event| (format!("{:?}", event.header.cause), event.payload.encode())).collect()
    }
}

fn registration() -> Draft {
    let profile_toml = "feed = \"one\"\norganisation = \"RYJ\"\ndemo = true\n[mllp]\nlisten = \"127.0.0.1:0\"\n\
                        [identifiers]\nsystem = \"MRN\"\n";
    let registered =
        FeedRegistered { feed: "one".to_owned(), profile_toml: profile_toml.to_owned(), by: "replays".to_owned() };
    Draft { payload: Payload::FeedRegistered(registered), ..draft("registration", MessageReceived::default()) }
}

fn draft(control_id: &str, message: MessageReceived) -> Draft {
    Draft {
        same: Same::Message,
        feed: "one".to_owned(),
        control_id: control_id.to_owned(),
        message_type: String::new(),
        verdict: Verdict::Accepted,
        received_us: Still.now_us(),
        cause: None,
        payload: Payload::MessageReceived(message),
    }
}

/// What a hospital sends of generated people: some records say the same twice, some say soon after what another record of the
/// person says, some are merged into the one before. Of earlier ones some say a part again, some all, and some what was
/// said of another before they were heard of, which comes late.
fn messages() -> Vec<Draft> {
    let population = Linkage::generate(5, PEOPLE);
    let told: Vec<Demographics> = population.records().map(|record| record.demographics.clone()).collect();
    let mut drafts = Vec::new();
    for (n, said) in told.iter().enumerate() {
        let earlier = n * 31 % (n + 1);
        let again = told.get(earlier).unwrap();
        let part = Demographics { addresses: Vec::new(), telecoms: Vec::new(), ..again.clone() };
        let every = |of: usize, at: usize| n % of == at;
        send(&mut drafts, n, said, Sent::Now);
        every(7, 3).then(|| send(&mut drafts, n - n % 5, said, Sent::Now));
        every(11, 5).then(|| send(&mut drafts, n, said, Sent::Now));
        every(97, 9).then(|| send(&mut drafts, n, said, Sent::Merging(n - 1)));
        every(5, 2).then(|| send(&mut drafts, earlier, &part, Sent::Now));
        every(5, 4).then(|| send(&mut drafts, earlier, again, Sent::Now));
        every(19, 7).then(|| send(&mut drafts, earlier, said, Sent::Before));
    }
    drafts
}

fn id(n: usize) -> SourceRecordId {
    SourceRecordId { organisation: "RYJ".to_owned(), system: "MRN".to_owned(), value: format!("{n:05}") }
}

enum Sent {
    Now,
    /// Before anything else was.
    Before,
    /// And says that a record is to be used no more.
    Merging(usize),
}

fn send(drafts: &mut Vec<Draft>, n: usize, said: &Demographics, sent: Sent) {
    let after_us = if matches!(sent, Sent::Before) { 0 } else { 1 + drafts.len() as i64 };
    let merge = match sent {
        Sent::Merging(retired) => Some(Merge { retired: Some(id(retired)), ..Merge::default() }),
        Sent::Now | Sent::Before => None,
    };
    let message = MessageReceived {
        record: Some(id(n)),
        demographics: Some(said.clone()),
        merge,
        sent: Some(When { start_us: Still.now_us() + after_us, ..When::default() }),
        ..MessageReceived::default()
    };
    drafts.push(draft(&drafts.len().to_string(), message));
}

#[tokio::test]
async fn replays_on_one_thread_and_on_two_and_from_a_snapshot_and_the_tail_decide_the_same() {
    let keys = tempfile::tempdir().unwrap();
    Vault::create(keys.path(), &SystemRandom).unwrap();
    let messages = messages();
    let mut streams = Vec::new();
    for threads in [1, 1, 1, 2, 2, 2] {
        let site = Site::new(keys.path()).await;
        site.append(&messages).await;
        site.link(threads).await;
        streams.push(site.decisions().await);
    }
    // What came before is in the read model whenever the linker is started again.
    let site = Site::new(keys.path()).await;
    for (some, threads) in messages.chunks(messages.len() / 12).zip([1, 2].into_iter().cycle()) {
        site.append(some).await;
        site.link(threads).await;
        site.project().await;
    }
    streams.push(site.decisions().await);
    let first = streams.first().unwrap();
    assert!(first.len() > PEOPLE, "{}", first.len());
    for (n, stream) in streams.iter().enumerate() {
        let differs = stream.iter().zip(first).position(|(one, other)| one != other);
        assert_eq!((n, differs, stream.len()), (n, None, first.len()));
    }
}

/// Somebody else appends while decisions are on their way: they come to lie elsewhere than the linker presumed, and what was
/// said first was not known to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stewards_say_while_the_linker_catches_up_is_taken_in_and_decides_the_same_again() {
    let keys = tempfile::tempdir().unwrap();
    Vault::create(keys.path(), &SystemRandom).unwrap();
    let site = Site::new(keys.path()).await;
    let messages = messages();
    site.append(&messages).await;
    let (log, ids) = (site.log.clone(), messages.len());
    let stewards = tokio::spawn(async move {
        for n in 0.. {
            log.append(vec![placed(&log, n, n * 7919 % ids)]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    site.link(2).await;
    stewards.abort();
    let _ = stewards.await;
    let events = site.identity().await;
    let said = events.iter().filter(|event| matches!(event.payload, Payload::StewardDecided(_))).count();
    assert!(said > 5 && events.len() > PEOPLE, "{said} of {}", events.len());
    let report = verify(&site.log, Model::shipped().unwrap()).await.unwrap();
    assert_eq!((report.different, report.undecided), (vec![], 0));
}

/// A steward says that a record is somebody of their own.
fn placed(log: &SharedLog, n: usize, record: usize) -> Draft {
    let record = log.pseudonym(&id(record));
    let placed =
        Placed { record: record.to_vec(), person: PersonId::started_by(record).to_vec(), previous: Vec::new() };
    let decided = StewardDecided {
        decision: StewardDecision::Split.into(),
        placed: vec![placed],
        settled: vec![record.to_vec()],
        ..StewardDecided::default()
    };
    Draft {
        same: Same::Name(n.to_be_bytes().to_vec()),
        feed: String::new(),
        verdict: Verdict::Unspecified,
        payload: Payload::StewardDecided(decided),
        ..draft("", MessageReceived::default())
    }
}

/// Else a steward's decision would go unanswered whose answer it died over.
#[tokio::test]
async fn a_linker_has_a_place_before_it_decides() {
    let keys = tempfile::tempdir().unwrap();
    Vault::create(keys.path(), &SystemRandom).unwrap();
    let site = Site::new(keys.path()).await;
    site.append(&messages()[..10]).await;
    assert_eq!(site.model.linker_cursor().await.unwrap(), Cut::default());
    let (place, _) = watch::channel(0);
    drop(Linker::load(site.log.clone(), site.model.clone(), Arc::new(Still), place).await.unwrap());
    let places = site.model.linker_cursor().await.unwrap();
    assert_eq!(places.0.get(&Stream::Identity.partition(0)), Some(&0));
    assert_eq!(site.log.size(Stream::Identity.partition(0)).await.unwrap(), 0);
}

/// A site whose linker has decided on all messages, with its keys and the messages.
async fn decided() -> (TempDir, Vec<Draft>, Site) {
    let keys = tempfile::tempdir().unwrap();
    Vault::create(keys.path(), &SystemRandom).unwrap();
    let messages = messages();
    let site = Site::new(keys.path()).await;
    site.append(&messages).await;
    site.link(1).await;
    (keys, messages, site)
}

#[tokio::test]
async fn decisions_of_another_normaliser_stand_and_are_not_called_different() {
    let (keys, messages, site) = decided().await;
    let decided = site.identity().await;
    let report = verify(&site.log, Model::shipped().unwrap()).await.unwrap();
    assert_eq!((report.differences, report.of_other_versions), (0, 0));
    // The same decisions with other reasons: by this version of the linker they are wrong, of another they may be right.
    for (normaliser, wanted) in [(NORMALISER, [1, 0]), ("normaliser/1", [0, 1])] {
        let site = Site::new(keys.path()).await;
        site.append(&messages).await;
        let drafts: Vec<Draft> = decided.iter().enumerate().map(|(n, event)| repeated(n, event, normaliser)).collect();
        site.append(&drafts).await;
        let report = verify(&site.log, Model::shipped().unwrap()).await.unwrap();
        assert_eq!(
            [report.differences, report.of_other_versions].map(|count| u64::from(count > PEOPLE as u64)),
            wanted
        );
        assert_eq!(report.decisions, decided.len() as u64);
    }
}

/// An earlier version gave decisions other ids, by which the log does not know them when they are made again.
#[tokio::test]
async fn decisions_that_are_stored_under_other_ids_are_not_made_again() {
    let (keys, messages, site) = decided().await;
    let decided = site.identity().await;
    let site = Site::new(keys.path()).await;
    site.append(&messages).await;
    let drafts: Vec<Draft> =
        decided.iter().enumerate().map(|(n, event)| named(n, event, event.payload.clone())).collect();
    site.append(&drafts).await;
    // It died before it had kept any place.
    site.link(1).await;
    let again = site.identity().await;
    assert_eq!(again.len(), decided.len());
}

/// A decision as if it had been made with `normaliser`, for another score.
fn repeated(n: usize, event: &Event, normaliser: &str) -> Draft {
    let mut payload = event.payload.clone();
    if let Payload::RecordLinked(linked) = &mut payload {
        (linked.normaliser, linked.score) = (normaliser.to_owned(), linked.score + 1);
    }
    named(n, event, payload)
}

/// What a decision said, or something else, under an id of its own.
fn named(n: usize, event: &Event, payload: Payload) -> Draft {
    Draft {
        same: Same::Name(n.to_le_bytes().to_vec()),
        feed: String::new(),
        cause: event.header.cause.as_ref().and_then(|cause| Position::from_proto(cause).ok()),
        verdict: Verdict::Unspecified,
        payload,
        ..draft("", MessageReceived::default())
    }
}
