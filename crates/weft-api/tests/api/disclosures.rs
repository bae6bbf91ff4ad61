//! No durable disclosure, no answer; and every answer is one.

use std::sync::atomic::Ordering;

use tonic::{Code, Status};
use weft_model::{
    PersonId,
    proto::{
        api::{
            FindPersonsRequest, GetEntryRequest, GetPersonRequest, GetQuarantinedRequest, GetTimelineRequest,
            ListFeedsRequest, ReleaseNumberRequest, RequestContext, StreamTimelineRequest, find_persons_request::By,
        },
        event::{Disclosed, Position, RequestRefused},
    },
};

use crate::node::{Node, context, nhs_number};

/// Every call that says something of a person, also that there is nobody: what it should record, and how it ended.
async fn ask_everything(
    node: &Node,
    person: PersonId,
    entry_id: &str,
    held: Position,
) -> Vec<(Wanted, Option<Status>)> {
    let (mut timeline, mut persons, mut feed) =
        (node.clients.timeline.clone(), node.clients.person.clone(), node.clients.feed.clone());
    let nobody = PersonId([9; 16]);
    let mut asked = Vec::new();
    for (id, entries) in [(person, 3), (nobody, 0)] {
        let person_id = id.to_string();
        let request = GetTimelineRequest { context: context(), person_id: person_id.clone(), ..Default::default() };
        let failed = timeline.get_timeline(request).await.err();
        asked.push((wanted("TimelineService/GetTimeline", &[id], entries), failed));

        let request = StreamTimelineRequest { context: context(), person_id: person_id.clone(), ..Default::default() };
        let mut messages = timeline.stream_timeline(request).await.unwrap().into_inner();
        let failed = messages.message().await.err();
        asked.push((wanted("TimelineService/StreamTimeline", &[id], entries), failed));

        let request =
            GetEntryRequest { context: context(), person_id: person_id.clone(), entry_id: entry_id.to_owned() };
        let failed = timeline.get_entry(request).await.err();
        asked.push((wanted("TimelineService/GetEntry", &[id], entries.min(1)), failed));

        let request = GetPersonRequest { context: context(), person_id, as_of: None };
        let failed = persons.get_person(request).await.err();
        asked.push((wanted("PersonService/GetPerson", &[id], entries.min(1)), failed));
    }
    for (number, found) in [(nhs_number(1), vec![person]), (nhs_number(99), vec![])] {
        let request = FindPersonsRequest { context: context(), by: Some(By::NhsNumber(number)), limit: 0 };
        let failed = persons.find_persons(request).await.err();
        asked.push((wanted("PersonService/FindPersons", &found, found.len()), failed));
    }
    for (position, found) in [(held, vec![person]), (Position { offset: 99, ..held }, vec![])] {
        let request = GetQuarantinedRequest { context: context(), position: Some(position) };
        let failed = feed.get_quarantined(request).await.err();
        asked.push((wanted("FeedService/GetQuarantined", &found, found.len()), failed));
    }
    asked
}

type Wanted = (String, Vec<Vec<u8>>, u32);

fn wanted(method: &str, persons: &[PersonId], entries: usize) -> Wanted {
    (format!("weft.v1.{method}"), persons.iter().map(PersonId::to_vec).collect(), u32::try_from(entries).unwrap())
}

async fn node_with_a_person() -> (Node, PersonId, String, Position) {
    let node = Node::start_embedded().await;
    let (person, record) = node.person(1, 3).await;
    let held = node.quarantined(&record).await;
    node.projected().await;
    let timeline = node.model.timeline(person, &Default::default(), 1, None, None).await.unwrap().unwrap();
    let entry: weft_model::proto::api::TimelineEntry = prost::Message::decode(timeline.entries[0].clone()).unwrap();
    (node, person, entry.entry_id, held.to_proto())
}

#[tokio::test]
async fn every_answer_is_recorded_once_with_who_asked_and_what_was_known() {
    let (node, person, entry_id, held) = node_with_a_person().await;
    let asked = ask_everything(&node, person, &entry_id, held).await;
    let recorded = node.disclosures().await;
    let summary = |d: &Disclosed| (d.method.clone(), d.persons.clone(), d.entries);
    let wanted: Vec<Wanted> = asked.iter().map(|(wanted, _)| wanted.clone()).collect();
    assert_eq!(recorded.iter().map(summary).collect::<Vec<_>>(), wanted);
    let known: Vec<_> = [3, 1].into_iter().collect();
    for disclosed in &recorded {
        let who = [&disclosed.user, &disclosed.role, &disclosed.organisation, &disclosed.purpose, &disclosed.reason];
        assert_eq!(who, ["dr.patel", "clinician", "RYJ", "direct-care", "clinic today"]);
        // Messages 0 and 1 and the quarantined one; one link.
        let sizes: Vec<u64> = disclosed.known_at.iter().map(|p| p.offset).take(2).collect();
        assert_eq!((sizes[0] + 1, sizes[1]), (known[0], known[1]), "{}", disclosed.method);
    }
    assert!(node.refusals().await.is_empty(), "what was answered is not refused");
    // Nobody: not found, and recorded all the same.
    let refused: Vec<Code> = asked.iter().filter_map(|(_, failed)| failed.as_ref().map(Status::code)).collect();
    assert_eq!(refused, [Code::NotFound; 5]);
    // The same again is recorded again.
    ask_everything(&node, person, &entry_id, held).await;
    assert_eq!(node.disclosures().await.len(), 2 * recorded.len());
}

#[tokio::test]
async fn without_a_record_nothing_is_answered() {
    let (node, person, entry_id, held) = node_with_a_person().await;
    node.log.refuse_disclosures.store(true, Ordering::SeqCst);
    let asked = ask_everything(&node, person, &entry_id, held).await;
    for ((method, ..), failed) in &asked {
        let failed = failed.as_ref().unwrap_or_else(|| panic!("{method} answered"));
        assert_eq!(
            (failed.code(), failed.message()),
            (Code::Unavailable, "the disclosure could not be recorded: try again")
        );
    }
    assert_eq!(node.log.refused.load(Ordering::SeqCst), asked.len() as u64);
    assert!(node.disclosures().await.is_empty());
    assert!(node.refusals().await.is_empty(), "a log that takes no disclosure is not asked again");
    // A refusal tells nothing: it leaves as it is, recorded or not.
    let request = GetTimelineRequest { context: context(), person_id: "x".to_owned(), ..Default::default() };
    let refused = node.clients.timeline.clone().get_timeline(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(node.log.refused.load(Ordering::SeqCst), asked.len() as u64 + 1);
    // What is of no person is answered, and with the disk there is everything again.
    node.clients.feed.clone().list_feeds(ListFeedsRequest { context: context() }).await.unwrap();
    node.log.refuse_disclosures.store(false, Ordering::SeqCst);
    ask_everything(&node, person, &entry_id, held).await;
    assert_eq!(node.disclosures().await.len(), asked.len());
}

/// What a refusal's record says: the method, the user, the person, the status and what was wrong.
type Recorded = (String, String, Vec<u8>, String, Vec<String>);

fn recorded(method: &str, user: &str, person: &[u8], status: &str, mistakes: &[&str]) -> Recorded {
    let mistakes = mistakes.iter().map(|mistake| (*mistake).to_owned()).collect();
    (format!("weft.v1.{method}"), user.to_owned(), person.to_vec(), status.to_owned(), mistakes)
}

#[tokio::test]
async fn a_request_that_is_refused_is_recorded_as_that_and_is_no_disclosure() {
    let node = Node::start().await;
    let mut timelines = node.clients.timeline.clone();
    let id = PersonId([1; 16]);
    let request = |context, person_id: &str| GetTimelineRequest {
        context,
        person_id: person_id.to_owned(),
        ..GetTimelineRequest::default()
    };
    timelines.get_timeline(request(context(), "x")).await.unwrap_err();
    timelines.get_timeline(request(None, &id.to_string())).await.unwrap_err();
    let (long, short) = ("é".repeat(300), "é".repeat(200));
    let nameless = context().map(|context| RequestContext { user: long, purpose: String::new(), ..context });
    timelines
        .stream_timeline(StreamTimelineRequest { context: nameless, person_id: id.to_string(), filter: None })
        .await
        .unwrap_err();
    let by = Some(By::NhsNumber("9990000019".to_owned()));
    let searched = FindPersonsRequest { context: context(), by, limit: 0 };
    node.clients.person.clone().find_persons(searched).await.unwrap_err();
    let released = ReleaseNumberRequest { context: context(), nhs_number: nhs_number(1) };
    node.clients.link.clone().release_number(released).await.unwrap_err();

    let summary = |r: &RequestRefused| {
        let mistakes = r.mistakes.iter().map(|m| format!("{} {}", m.code, m.field)).collect();
        (r.method.clone(), r.user.clone(), r.person.clone(), r.status.clone(), mistakes)
    };
    let refusals = node.refusals().await;
    assert_eq!(
        refusals.iter().map(summary).collect::<Vec<_>>(),
        [
            recorded(
                "TimelineService/GetTimeline",
                "dr.patel",
                &[],
                "INVALID_ARGUMENT",
                &["person-id-invalid person_id"]
            ),
            recorded("TimelineService/GetTimeline", "", &id.0, "INVALID_ARGUMENT", &["field-required context"]),
            recorded(
                "TimelineService/StreamTimeline",
                &short,
                &id.0,
                "INVALID_ARGUMENT",
                &["field-too-long context.user", "field-required context.purpose"]
            ),
            recorded(
                "PersonService/FindPersons",
                "dr.patel",
                &[],
                "INVALID_ARGUMENT",
                &["nhs-number-invalid nhs_number"]
            ),
            recorded("LinkService/ReleaseNumber", "dr.patel", &[], "NOT_FOUND", &["number-not-frozen nhs_number"]),
        ]
    );
    let first = &refusals[0];
    let who = [&first.role, &first.organisation, &first.purpose, &first.reason];
    assert_eq!(who, ["clinician", "RYJ", "direct-care", "clinic today"]);
    assert!(node.disclosures().await.is_empty());
}

#[tokio::test]
async fn answers_at_once_are_as_many_disclosures() {
    let node = Node::start_embedded().await;
    let (person, _) = node.person(1, 5).await;
    let ask = || async {
        let request = GetTimelineRequest { context: context(), person_id: person.to_string(), ..Default::default() };
        node.clients.timeline.clone().get_timeline(request).await.unwrap();
    };
    futures::future::join_all((0..100).map(|_| ask())).await;
    let recorded = node.disclosures().await;
    assert_eq!((recorded.len(), recorded.iter().map(|d| d.entries).sum::<u32>()), (100, 500));
}
