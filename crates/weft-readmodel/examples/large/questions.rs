//! The questions of the API, about anybody.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use sqlx::PgConnection;
use weft_model::{
    Cut, NhsNumber, Stream,
    proto::{
        api::{DemographicQuery, LocalIdentifier, TimelineFilter},
        event::LineKind,
    },
};
use weft_readmodel::{Demographic, Kept, ReadModel};

use crate::{
    Counts,
    generated::{self, FEEDS, Numbers},
};

const QUESTIONS: u64 = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// The newest 100 lines of a timeline.
    FirstPage,
    /// Of one organisation, of one kind, not older than that.
    Filtered,
    /// Four pages of five lines, one after the other.
    Paged,
    /// As it was when half of the messages had come.
    AsOf,
    /// A person by number, by local identifier, by family name and date of birth (as many people have both as there are
    /// times 20,000 people), and with their records by identifier.
    ByNhsNumber,
    ByLocalIdentifier,
    ByDemographics,
    Person,
    /// All feeds and the health of one.
    Feeds,
    /// Messages that are kept now: the newest 100 of all, and 100 of one feed with the 100 before them.
    Quarantine,
    QuarantineOfFeed,
}

impl Question {
    pub(crate) const ALL: [Self; 11] = [
        Self::FirstPage,
        Self::Filtered,
        Self::Paged,
        Self::AsOf,
        Self::ByNhsNumber,
        Self::ByLocalIdentifier,
        Self::ByDemographics,
        Self::Person,
        Self::Feeds,
        Self::Quarantine,
        Self::QuarantineOfFeed,
    ];

    /// Asks about the person whose first record this is; how many things the answer has.
    async fn ask(self, model: &ReadModel, record: u64, half: &Cut) -> usize {
        let person = generated::person(record);
        let all = TimelineFilter::default();
        match self {
            Self::FirstPage => model.timeline(person, &all, 100, None, None).await.unwrap().unwrap().entries.len(),
            Self::Filtered => {
                let filter = TimelineFilter {
                    kinds: vec![LineKind::Observation.into()],
                    organisations: vec![generated::id(record).organisation],
                    occurred_from_us: Some(generated::FIRST_US + 1_000_000_000),
                    ..all
                };
                model.timeline(person, &filter, 100, None, None).await.unwrap().unwrap().entries.len()
            }
            Self::Paged => {
                let (mut lines, mut after) = (0, None);
                for _ in 0..4 {
                    let page = model.timeline(person, &all, 5, after, None).await.unwrap().unwrap();
                    lines += page.entries.len();
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
                lines
            }
            Self::AsOf => model.timeline(person, &all, 100, None, Some(half)).await.unwrap().unwrap().entries.len(),
            Self::ByNhsNumber => {
                let said = generated::demographics(record);
                let number = NhsNumber::parse(&said.nhs_number().unwrap().value).unwrap();
                model.find_by_nhs_number(number, 20, None).await.unwrap().persons.len()
            }
            Self::ByLocalIdentifier => {
                let id = generated::id(record);
                let (organisation, system, value) = (id.organisation, id.system, id.value);
                let identifier = LocalIdentifier { organisation, system, value };
                model.find_by_local_identifier(&identifier, 20, None).await.unwrap().persons.len()
            }
            Self::ByDemographics => {
                let said = generated::demographics(record);
                let (family, birth_date) = (said.names[0].family.clone(), said.birth.unwrap().to_fhir().unwrap());
                let query = DemographicQuery { family, birth_date, ..DemographicQuery::default() };
                let query = Demographic::new(&query).unwrap();
                model.find_by_demographics(&query, 20, None).await.unwrap().persons.len()
            }
            Self::Person => model.person(person, None).await.unwrap().unwrap().records.len(),
            Self::Feeds => {
                let feeds = model.feeds().await.unwrap();
                let health = model.feed_health(&generated::feed(record)).await.unwrap();
                assert!(health.accepted > 0);
                feeds.len()
            }
            Self::Quarantine => model.quarantine(None, Kept::Now, 100, None).await.unwrap().len(),
            Self::QuarantineOfFeed => {
                let feed = generated::feed(record / 2 % FEEDS);
                let page = model.quarantine(Some(&feed), Kept::Now, 100, None).await.unwrap();
                let last = page.last().and_then(|message| message.position.as_ref());
                let last = last.and_then(|last| weft_model::Position::from_proto(last).ok());
                page.len() + model.quarantine(Some(&feed), Kept::Now, 100, last).await.unwrap().len()
            }
        }
    }
}

/// Asks a question about people chosen at random, from so many clients at once, and prints what it cost.
pub(crate) async fn ask(
    model: &Arc<ReadModel>,
    watching: &mut PgConnection,
    question: Question,
    people: u64,
    clients: u64,
) {
    let mut half = model.known_at();
    for (_, size) in half.0.iter_mut().filter(|(partition, _)| partition.stream == Stream::Feed) {
        *size /= 2;
    }
    let half = Arc::new(half);
    let before = Counts::now(watching).await;
    let start = Instant::now();
    let asking: Vec<_> = (0..clients)
        .map(|client| {
            let (model, half) = (Arc::clone(model), Arc::clone(&half));
            tokio::spawn(async move {
                // Every question is about others: what one has read is not there for the next.
                let numbers = Numbers(AtomicU64::new(client * 100 + question as u64 + 1));
                let (mut times, mut things) = (Vec::new(), 0);
                for _ in 0..QUESTIONS / clients {
                    let record = numbers.below(people) * 2;
                    let start = Instant::now();
                    things += question.ask(&model, record, &half).await;
                    times.push(start.elapsed().as_secs_f64() * 1e3);
                }
                (times, things)
            })
        })
        .collect();
    let (mut times, mut things) = (Vec::new(), 0);
    for task in asking {
        let (some, of_some) = task.await.unwrap();
        times.extend(some);
        things += of_some;
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    let counted = Counts::now(watching).await.since(before);
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let each = |count: i64| count as f64 / times.len() as f64;
    println!(
        "{:<17} {clients:>2} clients: {rate:5.0}/s, p50 {:.2} ms, p99 {:.2} ms, {:.0} things; {:.0} pages, {:.1} not in \
         memory; {:.1} parts of entry; {} scans of whole tables",
        format!("{question:?}"),
        at(0.5),
        at(0.99),
        things as f64 / times.len() as f64,
        each(counted.pages),
        each(counted.read),
        each(counted.parts),
        counted.scans,
    );
}
