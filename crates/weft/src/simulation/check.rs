//! What a run has come to, compared with the naive model.

use std::collections::{BTreeMap, HashSet};

use prost::Message as _;
use weft_model::{
    Cut, Payload, PersonId, Stream,
    proto::api::{LocalIdentifier, TimelineEntry, TimelineFilter},
};
use weft_readmodel::{ReadModel, TableDigest};

use super::{
    naive::{FEEDS, ORGANISATIONS},
    world::{World, read_all, system},
};

/// What a run came to: two runs of one seed must not differ in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Position and leaf hash of every event: a leaf hash is one of the stored bytes.
    pub(super) log: Vec<(String, [u8; 32])>,
    tables: Vec<TableDigest>,
    /// Every acknowledgement, as it was read by a sender.
    pub(super) answers: Vec<String>,
    pub(super) seen: Seen,
}

/// How much of everything there was: a world that is too kind proves nothing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) faults: u64,
    pub(super) cuts: u64,
    /// Cuts whose answers were compared with what was answered then.
    pub(super) moments: u64,
    /// Decisions of a steward.
    pub(super) decisions: u64,
    /// Events that are in the log a second time.
    pub(super) repeats: u64,
}

impl World {
    /// Compares with the naive model.
    pub(super) async fn check(mut self) -> Outcome {
        self.connector = None;
        let mut log = Vec::new();
        for (partition, size) in self.sizes().await.into_iter().collect::<BTreeMap<_, _>>() {
            let events = read_all(&self.log, partition, size).await;
            assert_eq!(events.len() as u64, size, "{partition} is dense");
            log.extend(events.iter().map(|e| (e.position.to_string(), e.leaf)));
        }
        self.check_messages().await;
        self.check_persons().await;
        assert_eq!(self.model.parked_events().await.unwrap(), 0);
        self.check_rebuilt("rebuilt.db", None).await;
        let cuts = self.check_cuts().await;
        let tables = self.model.digest(None).await.unwrap();
        self.log.close().await;
        let seen = Seen {
            faults: self.faults,
            cuts,
            moments: self.moments.len() as u64,
            decisions: self.decisions,
            repeats: self.echo.as_ref().map_or(0, |echo| echo.repeats()),
        };
        Outcome { log, tables, answers: self.answers, seen }
    }

    /// A rebuild up to a moment holds what the live read model held then.
    pub(super) async fn check_rebuilt(&self, name: &str, upto: Option<&Cut>) {
        let beside = self.dir.path().join(name);
        let report = weft_readmodel::rebuild(self.log.clone(), &beside, upto, self.repeats()).await.unwrap();
        let rebuilt = ReadModel::open(&beside).await.unwrap();
        let differences = self.model.differences(&rebuilt, &report.known_at).await.unwrap();
        assert!(differences.is_empty(), "live is not rebuilt: {differences:?}");
    }

    async fn check_messages(&self) {
        let mut seen = HashSet::new();
        for partition in self.log.partitions().into_iter().filter(|partition| partition.stream == Stream::Feed) {
            let mut ids = HashSet::new();
            for stored in read_all(&self.log, partition, self.log.size(partition).await.unwrap()).await {
                let event = self.log.open(&stored).await.unwrap();
                if !ids.insert(event.header.id()) {
                    assert!(self.echo.is_some(), "{} is a repeat", stored.position);
                    continue;
                }
                let Payload::MessageReceived(received) = &event.payload else { panic!("{}", stored.position) };
                let message = (event.header.feed.clone(), received.raw.clone());
                assert!(seen.insert(message), "{} is stored twice", stored.position);
            }
        }
        assert_eq!(seen.len(), self.naive.events());
        for message in &self.written {
            assert!(self.naive.holds(message), "{} was never stored", message.control_id);
        }
        for counted in self.log.statistics().await.unwrap().feeds {
            let feed = FEEDS.iter().position(|f| *f == counted.feed).unwrap();
            let naive = |verdict| self.naive.counts.get(&(feed, verdict)).copied().unwrap_or(0);
            let wanted = [naive("accepted"), naive("duplicate"), naive("conflict"), 0];
            assert_eq!([counted.accepted, counted.duplicate, counted.conflict, counted.quarantined], wanted);
        }
    }

    async fn check_persons(&self) {
        let persons = self.persons().await;
        let distinct: HashSet<_> = persons.values().collect();
        assert_eq!(distinct.len(), persons.len(), "different persons are apart");
        for (truth, person) in persons {
            let filter = TimelineFilter::default();
            let page = self.model.timeline(person, &filter, 1000, None, None).await.unwrap().unwrap();
            let entries = page.entries.iter().map(|body| TimelineEntry::decode(&body[..]).unwrap());
            let mut lines: Vec<String> = entries.map(|e| e.title).collect();
            lines.sort();
            assert_eq!(lines, self.naive.lines(truth), "timeline of person {truth}");
        }
    }

    /// Who each true person is to the linker; every record that was told of is linked, and all of a person together.
    pub(super) async fn persons(&self) -> BTreeMap<u64, PersonId> {
        let mut persons: BTreeMap<u64, PersonId> = BTreeMap::new();
        for ((feed, value), truth) in self.naive.records() {
            let (organisation, system) = (ORGANISATIONS[feed].to_owned(), system(ORGANISATIONS[feed]));
            let record = LocalIdentifier { organisation, system, value };
            let found = self.model.find_by_local_identifier(&record, 9, None).await.unwrap().persons;
            assert_eq!(found.len(), 1, "who {} of {} is", record.value, record.organisation);
            let person = found[0].person_id.parse().unwrap();
            assert_eq!(*persons.entry(truth).or_insert(person), person, "the records of person {truth} are linked");
        }
        persons
    }
}
