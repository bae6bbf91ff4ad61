//! What must hold of any sequence of events.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

mod common;

use common::*;
use proptest::prelude::*;
use weft_model::{
    Cut, Event, NhsNumber, Verdict,
    proto::{
        api::{LocalIdentifier, TimelineEntry},
        event::Fact,
    },
};
use weft_readmodel::{Batch, Found, Person, ReadModel};

const RECORDS: std::ops::Range<u8> = 1..5;
const PERSONS: std::ops::Range<u8> = 1..4;

/// What one event does, by small numbers so that things meet.
#[derive(Debug, Clone)]
enum Step {
    Message { record: u8, sent: i64, family: Option<u8>, facts: Vec<Told>, verdict: u8, broken: bool },
    Link { record: u8, person: u8 },
    Merge { retired: u8, survivor: u8 },
    Register { feed: u8 },
    Switch { feed: u8, paused: bool },
}

#[derive(Debug, Clone)]
struct Told {
    id: u8,
    text: u8,
    occurred: i64,
    recorded: i64,
    withdrawn: bool,
    silent: bool,
    visit: bool,
}

fn told() -> impl Strategy<Value = Told> {
    let rare = |n| prop::bool::weighted(n);
    (0..3u8, 0..3u8, 0..4i64, 0..4i64, rare(0.2), rare(0.1), rare(0.3)).prop_map(
        |(id, text, occurred, recorded, withdrawn, silent, visit)| Told {
            id,
            text,
            occurred,
            recorded,
            withdrawn,
            silent,
            visit,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let facts = prop::collection::vec(told(), 0..4);
    let message = (RECORDS, 0..5i64, prop::option::of(0..3u8), facts, 0..12u8, prop::bool::weighted(0.04)).prop_map(
        |(record, sent, family, facts, verdict, broken)| Step::Message { record, sent, family, facts, verdict, broken },
    );
    prop_oneof![
        8 => message,
        3 => (RECORDS, PERSONS).prop_map(|(record, person)| Step::Link { record, person }),
        1 => (RECORDS, RECORDS).prop_map(|(retired, survivor)| Step::Merge { retired, survivor }),
        1 => (0..2u8).prop_map(|feed| Step::Register { feed }),
        1 => (0..3u8, any::<bool>()).prop_map(|(feed, paused)| Step::Switch { feed, paused }),
    ]
}

fn make_fact(told: &Told) -> Fact {
    let (id, text) = (format!("f{}", told.id), format!("t{}", told.text));
    let mut made = if told.visit {
        movement(&format!("V{}", told.id % 2), &id, &text, "6B", told.occurred)
    } else {
        fact(&id, &text, told.occurred, told.recorded)
    };
    made.withdrawn = told.withdrawn;
    if told.silent {
        made.line = None;
    }
    made
}

fn make(step: &Step) -> Event {
    match step {
        Step::Message { record, sent, family, facts, verdict, broken } => {
            let mut facts: Vec<Fact> = facts.iter().map(make_fact).collect();
            if *broken {
                facts.push(Fact { resource: bytes::Bytes::from_static(b"{"), ..fact("broken", "broken", 1, 1) });
            }
            let event = match family {
                Some(family) => message_of(*record, *sent, &format!("Family{family}"), facts),
                None => message(*record, *sent, facts),
            };
            match verdict {
                0 => with_verdict(event, Verdict::Quarantined),
                1 => with_verdict(event, Verdict::Conflict),
                _ => event,
            }
        }
        Step::Link { record, person } => link(*record, *person),
        Step::Merge { retired, survivor } => merge(*retired, *survivor),
        Step::Register { feed } => register(&format!("feed-{feed}"), "profile"),
        Step::Switch { feed, paused } => switch(&format!("feed-{feed}"), *paused),
    }
}

/// Everything that can be asked, answered.
#[derive(Debug, PartialEq)]
struct Answers {
    timelines: Vec<Option<Vec<TimelineEntry>>>,
    parked: Vec<u32>,
    persons: Vec<Option<Person>>,
    found: Vec<Found>,
}

async fn ask(model: &ReadModel, cut: &Cut, limit: usize) -> Answers {
    let mut answers = Answers { timelines: vec![], parked: vec![], persons: vec![], found: vec![] };
    for p in PERSONS {
        answers.timelines.push(walk(model, person(p), limit, Some(cut)).await);
        let page = model.timeline(person(p), &Default::default(), 0, None, Some(cut)).await.unwrap();
        answers.parked.push(page.map_or(0, |page| page.parked_records));
        answers.persons.push(model.person(person(p), Some(cut)).await.unwrap());
    }
    let number = NhsNumber::parse(NHS_NUMBER).unwrap();
    answers.found.push(model.find_by_nhs_number(number, 2, Some(cut)).await.unwrap());
    for family in 0..3 {
        let (family, birth_date) = (format!("family{family}"), "1970-01-02".to_owned());
        let query = weft_model::proto::api::DemographicQuery { family, birth_date, ..Default::default() };
        let query = weft_readmodel::Demographic::new(&query).unwrap();
        answers.found.push(model.find_by_demographics(&query, 9, Some(cut)).await.unwrap());
    }
    for record in RECORDS {
        let id = record_id(record);
        let id = LocalIdentifier { organisation: id.organisation, system: String::new(), value: id.value };
        answers.found.push(model.find_by_local_identifier(&id, 9, Some(cut)).await.unwrap());
    }
    answers
}

/// The steps of each stream, in its own order.
fn by_stream(steps: &[Step]) -> Vec<Batch> {
    [CONTROL, IDENTITY, FEED]
        .map(|partition| {
            let events = steps.iter().map(make).filter(|event| event.payload.stream() == partition.stream);
            Batch::new(partition, 0, events.collect())
        })
        .into()
}

/// One store is told everything at once, stream after stream; the other event by event, as the streams interleave. What
/// the first says of every cut that the second passes through is what the second says then.
async fn check(on: On, steps: &[Step], chunk: usize) {
    let (whole, grown) = (store(on).await, store(on).await);
    whole.model.apply(by_stream(steps)).await.unwrap();
    for steps in steps.chunks(chunk) {
        grown.tell(steps.iter().map(make).collect()).await;
        let cut = grown.model.known_at();
        assert_eq!(ask(&whole.model, &cut, 2).await, ask(&grown.model, &cut, 3).await, "as of {cut}");
        assert_eq!(whole.model.differences(&grown.model, &cut).await.unwrap(), [], "as of {cut}");
    }
    assert_eq!(whole.digest().await, grown.digest().await);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn as_of_is_what_was_known_however_the_events_came(
        steps in prop::collection::vec(step(), 1..24),
        chunk in 1..4usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(On::Sqlite, &steps, chunk));
    }
}
