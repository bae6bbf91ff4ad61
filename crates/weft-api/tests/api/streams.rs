//! StreamTimeline.

use std::sync::atomic::Ordering;

use tonic::{Code, Streaming};
use weft_api::error_details;
use weft_log::EventLog;
use weft_model::{
    PersonId, Stream,
    proto::api::{StreamTimelineRequest, StreamTimelineResponse, TimelineFilter},
};

use crate::node::{DEADLINE, Node, context, demographics, fact, observations, record};

async fn follow(node: &Node, person: PersonId, filter: Option<TimelineFilter>) -> Streaming<StreamTimelineResponse> {
    let request = StreamTimelineRequest { context: context(), person_id: person.to_string(), filter };
    node.clients.timeline.clone().stream_timeline(request).await.unwrap().into_inner()
}

async fn next(messages: &mut Streaming<StreamTimelineResponse>) -> StreamTimelineResponse {
    tokio::time::timeout(DEADLINE, messages.message()).await.expect("in time").unwrap().expect("not ended")
}

fn titles(message: &StreamTimelineResponse) -> Vec<String> {
    message
        .entries
        .iter()
        .map(|e| format!("{} {}{}", e.title, e.detail, if e.withdrawn { " withdrawn" } else { "" }))
        .collect()
}

#[tokio::test]
async fn a_stream_tells_the_history_and_then_what_changes() {
    let node = Node::start_embedded().await;
    let (person, patient) = node.person(1, 2).await;
    let mut messages = follow(&node, person, None).await;
    let history = next(&mut messages).await;
    assert_eq!(titles(&history), ["Glucose, day 1 7.4 mmol/L", "Glucose, day 0 7.4 mmol/L"]);
    assert!(history.caught_up);

    node.message(&patient, None, vec![fact(0, "8.0 mmol/L", false), fact(5, "new", false)]).await;
    let changed = next(&mut messages).await;
    assert_eq!(titles(&changed), ["Glucose, day 5 new", "Glucose, day 0 8.0 mmol/L"]);
    assert!(changed.caught_up && changed.known_at != history.known_at);

    // A line that goes away is told though the filter asks for none that are withdrawn: it was shown.
    node.message(&patient, None, vec![fact(5, "new", true)]).await;
    assert_eq!(titles(&next(&mut messages).await), ["Glucose, day 5 new withdrawn"]);

    // A record that joins brings its lines.
    let elsewhere = record("RQM", "77");
    node.message(&elsewhere, Some(demographics(1)), observations(8..9)).await;
    node.link(&elsewhere, person).await;
    assert_eq!(titles(&next(&mut messages).await), ["Glucose, day 8 7.4 mmol/L"]);
    let recorded: Vec<u32> = node.disclosures().await.iter().map(|d| d.entries).collect();
    assert_eq!(recorded, [2, 2, 1, 1]);
}

#[tokio::test]
async fn a_long_history_comes_in_several_messages_of_one_cut() {
    let node = Node::start().await;
    let (person, _) = node.person(1, 450).await;
    let mut messages = follow(&node, person, None).await;
    let mut history = vec![next(&mut messages).await];
    while !history.last().unwrap().caught_up {
        history.push(next(&mut messages).await);
    }
    assert_eq!(history.iter().map(|m| m.entries.len()).collect::<Vec<_>>(), [200, 200, 50]);
    assert!(history.iter().all(|m| m.known_at == history[0].known_at));
    let told: Vec<i64> = history.iter().flat_map(|m| &m.entries).map(|e| e.occurred.unwrap().start_us).collect();
    assert!(told.is_sorted_by(|a, b| a > b));
}

#[tokio::test]
async fn others_changes_and_what_the_filter_holds_back_are_not_told() {
    let node = Node::start().await;
    let (person, patient) = node.person(1, 1).await;
    let (_, other) = node.person(2, 1).await;
    let filter = TimelineFilter { organisations: vec!["RYJ".to_owned()], ..TimelineFilter::default() };
    let mut messages = follow(&node, person, Some(filter)).await;
    next(&mut messages).await;
    let elsewhere = record("RQM", "77");
    node.message(&elsewhere, Some(demographics(1)), observations(3..4)).await;
    node.link(&elsewhere, person).await;
    node.message(&other, None, observations(4..5)).await;
    node.projected().await;
    node.message(&patient, None, observations(6..7)).await;
    assert_eq!(titles(&next(&mut messages).await), ["Glucose, day 6 7.4 mmol/L"]);
    assert_eq!(node.disclosures().await.len(), 2);
}

#[tokio::test]
async fn a_slow_caller_gets_what_changed_meanwhile_together() {
    let node = Node::start().await;
    let (person, patient) = node.person(1, 0).await;
    let mut messages = follow(&node, person, None).await;
    assert!(next(&mut messages).await.caught_up);
    let details: Vec<String> = (0..300).map(|n| format!("{n}")).collect();
    for detail in &details {
        node.message(&patient, None, vec![fact(0, detail, false)]).await;
    }
    node.projected().await;
    let mut told = Vec::new();
    while told.last().is_none_or(|title: &String| title != "Glucose, day 0 299") {
        told.extend(titles(&next(&mut messages).await));
    }
    // Versions that were replaced before they were told are skipped; what is told is in order.
    let order: Vec<u32> = told.iter().map(|t| t.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
    assert!(order.len() < 300);
}

#[tokio::test]
async fn a_stream_whose_person_loses_a_record_ends_and_says_to_read_again() {
    let node = Node::start().await;
    let (person, patient) = node.person(1, 1).await;
    let second = record("RQM", "77");
    node.message(&second, Some(demographics(1)), observations(3..4)).await;
    node.link(&second, person).await;
    node.projected().await;
    let mut messages = follow(&node, person, None).await;
    next(&mut messages).await;
    node.link(&second, PersonId([7; 16])).await;
    let status = tokio::time::timeout(DEADLINE, messages.message()).await.expect("in time").unwrap_err();
    assert_eq!((status.code(), error_details(&status)[0].code.as_str()), (Code::FailedPrecondition, "records-left"));

    let mut messages = follow(&node, person, None).await;
    next(&mut messages).await;
    node.link(&patient, PersonId([7; 16])).await;
    let status = tokio::time::timeout(DEADLINE, messages.message()).await.expect("in time").unwrap_err();
    assert_eq!((status.code(), error_details(&status)[0].code.as_str()), (Code::NotFound, "person-unknown"));
}

#[tokio::test]
async fn a_change_that_cannot_be_recorded_is_not_told() {
    let node = Node::start().await;
    let (person, patient) = node.person(1, 1).await;
    let mut messages = follow(&node, person, None).await;
    next(&mut messages).await;
    node.log.refuse_disclosures.store(true, Ordering::SeqCst);
    node.message(&patient, None, observations(1..2)).await;
    let status = tokio::time::timeout(DEADLINE, messages.message()).await.expect("in time").unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(node.disclosures().await.len(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_is_told_nothing_more() {
    let node = Node::start().await;
    let (person, patient) = node.person(1, 1).await;
    let mut messages = follow(&node, person, None).await;
    next(&mut messages).await;
    drop(messages);
    // A second stream on the same connection shows that the first one's end has arrived.
    let mut witness = follow(&node, person, None).await;
    next(&mut witness).await;
    node.message(&patient, None, observations(1..2)).await;
    next(&mut witness).await;
    assert_eq!(node.log.size(Stream::Access.partition(0)).await.unwrap(), 3);
}

#[tokio::test]
async fn a_stream_ends_when_the_node_does() {
    let node = Node::start().await;
    let (person, _) = node.person(1, 1).await;
    let mut messages = follow(&node, person, None).await;
    next(&mut messages).await;
    node.shutdown.cancel();
    let status = tokio::time::timeout(DEADLINE, messages.message()).await.expect("in time").unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    drop(messages);
}
