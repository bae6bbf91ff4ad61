//! GetTimeline and GetEntry.

use prost::Message;
use weft_model::{
    PersonId,
    proto::{
        api::{AsOf, Cut, GetEntryRequest, GetTimelineRequest, GetTimelineResponse, TimelineFilter, as_of::Moment},
        event::LineKind,
    },
};

use crate::node::{DAY_US, MAY_1_US, Node, context, demographics, fact, observations, record};

fn ask(person: PersonId) -> GetTimelineRequest {
    GetTimelineRequest { context: context(), person_id: person.to_string(), ..GetTimelineRequest::default() }
}

fn sizes(cut: Cut) -> AsOf {
    AsOf { moment: Some(Moment::Cut(cut)) }
}

async fn get(node: &Node, request: GetTimelineRequest) -> GetTimelineResponse {
    node.clients.timeline.clone().get_timeline(request).await.unwrap().into_inner()
}

fn titles(answer: &GetTimelineResponse) -> Vec<String> {
    answer.entries.iter().map(|entry| format!("{} {}", entry.title, entry.detail)).collect()
}

/// All pages of `size`, with `between` called after each.
async fn walk(node: &Node, person: PersonId, size: u32, between: impl AsyncFn()) -> Vec<GetTimelineResponse> {
    let mut request = GetTimelineRequest { page_size: size, ..ask(person) };
    let mut pages = Vec::new();
    loop {
        let page = get(node, request.clone()).await;
        request.page_token.clone_from(&page.next_page_token);
        pages.push(page);
        if request.page_token.is_empty() {
            return pages;
        }
        between().await;
    }
}

#[tokio::test]
async fn a_timeline_has_every_line_newest_first_with_where_it_came_from() {
    let node = Node::start_embedded().await;
    let (person, _) = node.person(1, 3).await;
    let answer = get(&node, ask(person)).await;
    assert_eq!(
        titles(&answer),
        ["Glucose, day 2 7.4 mmol/L", "Glucose, day 1 7.4 mmol/L", "Glucose, day 0 7.4 mmol/L"]
    );
    assert_eq!((answer.next_page_token.as_str(), answer.parked_records), ("", 0));
    let encoded = node.clients.timeline_encoded(ask(person)).await.unwrap();
    assert_eq!(encoded, answer.entries.iter().map(Message::encode_to_vec).collect::<Vec<_>>());
    let entry = &answer.entries[0];
    assert_eq!(entry.kind(), LineKind::Observation);
    assert_eq!(entry.occurred.unwrap().start_us, MAY_1_US + 2 * DAY_US);
    assert_eq!(entry.received_us, MAY_1_US);
    let provenance = entry.provenance.as_ref().unwrap();
    assert_eq!(
        (provenance.organisation.as_str(), provenance.feed.as_str(), provenance.control_id.as_str()),
        ("RYJ", "ryj-pas", "C0")
    );
    assert_eq!((provenance.location.as_str(), provenance.message_type.as_str()), ("OBX[3]", "ADT^A01"));
    assert_eq!(provenance.record, Some(record("RYJ", "001")));
}

#[tokio::test]
async fn pages_together_are_the_whole_whatever_is_stored_meanwhile() {
    let node = Node::start().await;
    let (person, record) = node.person(1, 10).await;
    let whole = get(&node, ask(person)).await;
    // Between the pages a line is added at either end and one that was not yet read is changed.
    let stored = std::sync::atomic::AtomicUsize::new(0);
    let pages = walk(&node, person, 3, async || {
        let n = stored.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        node.message(&record, None, vec![fact(20 + n, "new", false), fact(0, "changed", false)]).await;
        node.projected().await;
    })
    .await;
    let sizes: Vec<usize> = pages.iter().map(|page| page.entries.len()).collect();
    assert_eq!(sizes, [3, 3, 3, 1]);
    assert!(pages.iter().all(|page| page.known_at == whole.known_at));
    let walked: Vec<_> = pages.into_iter().flat_map(|page| page.entries).collect();
    assert_eq!(walked, whole.entries);
    let now = titles(&get(&node, ask(person)).await);
    assert_eq!((now.len(), now[0].as_str(), now[12].as_str()), (13, "Glucose, day 22 new", "Glucose, day 0 changed"));
}

#[tokio::test]
async fn a_page_that_is_exactly_full_is_the_last() {
    let node = Node::start().await;
    let (person, _) = node.person(1, 4).await;
    let sizes = |pages: Vec<GetTimelineResponse>| pages.iter().map(|page| page.entries.len()).collect::<Vec<_>>();
    assert_eq!(sizes(walk(&node, person, 2, async || ()).await), [2, 2]);
    assert_eq!(sizes(walk(&node, person, 4, async || ()).await), [4]);
    assert_eq!(sizes(walk(&node, person, 1000, async || ()).await), [4]);
}

#[tokio::test]
async fn the_cut_of_an_answer_gives_the_same_answer_again() {
    let node = Node::start().await;
    let (person, record) = node.person(1, 2).await;
    let before = get(&node, ask(person)).await;
    node.message(&record, None, vec![fact(0, "9.9 mmol/L", false), fact(1, "", true)]).await;
    node.projected().await;
    let now = get(&node, ask(person)).await;
    assert_eq!(titles(&now), ["Glucose, day 0 9.9 mmol/L"]);
    let again = get(&node, GetTimelineRequest { as_of: before.known_at.clone().map(sizes), ..ask(person) }).await;
    assert_eq!(again, before);
}

async fn check_filter(node: &Node, person: PersonId, filter: TimelineFilter, wanted: &[&str]) {
    let answer = get(node, GetTimelineRequest { filter: Some(filter), ..ask(person) }).await;
    assert_eq!(titles(&answer), wanted);
}

#[tokio::test]
async fn a_filter_lets_through_what_it_names() {
    let node = Node::start().await;
    let (person, _) = node.person(1, 3).await;
    let elsewhere = record("RQM", "77");
    let mut attended = fact(5, "A&E", false);
    attended.line.as_mut().unwrap().kind = LineKind::Attendance.into();
    node.message(&elsewhere, Some(demographics(1)), vec![attended, fact(6, "taken back", true)]).await;
    node.link(&elsewhere, person).await;
    node.projected().await;
    let empty = TimelineFilter::default;
    let [day0, day1, day2] = ["Glucose, day 0 7.4 mmol/L", "Glucose, day 1 7.4 mmol/L", "Glucose, day 2 7.4 mmol/L"];
    let [attendance, withdrawn] = ["Glucose, day 5 A&E", "Glucose, day 6 taken back"];
    check_filter(&node, person, empty(), &[attendance, day2, day1, day0]).await;
    let kinds = |kinds: &[LineKind]| kinds.iter().map(|kind| i32::from(*kind)).collect();
    let only = TimelineFilter { kinds: kinds(&[LineKind::Attendance, LineKind::Death]), ..empty() };
    check_filter(&node, person, only, &[attendance]).await;
    let ours = TimelineFilter { organisations: vec!["ryj".to_owned()], ..empty() };
    check_filter(&node, person, ours, &[day2, day1, day0]).await;
    let from = TimelineFilter { occurred_from_us: Some(MAY_1_US + 2 * DAY_US), ..empty() };
    check_filter(&node, person, from, &[attendance, day2]).await;
    let to = TimelineFilter { occurred_to_us: Some(MAY_1_US + 2 * DAY_US), ..empty() };
    check_filter(&node, person, to, &[day1, day0]).await;
    let all = TimelineFilter { include_withdrawn: true, organisations: vec!["RQM".to_owned()], ..empty() };
    check_filter(&node, person, all, &[withdrawn, attendance]).await;
}

#[tokio::test]
async fn an_entry_comes_with_the_resource_that_it_was_made_from() {
    let node = Node::start_embedded().await;
    let (person, record) = node.person(1, 3).await;
    let entry = get(&node, ask(person)).await.entries[1].clone();
    let request =
        GetEntryRequest { context: context(), person_id: person.to_string(), entry_id: entry.entry_id.clone() };
    let mut client = node.clients.timeline.clone();
    let answer = client.get_entry(request.clone()).await.unwrap().into_inner();
    assert_eq!(answer.entry, Some(entry.clone()));
    assert_eq!(answer.resource_json, r#"{"resourceType":"Observation","id":"1","note":"7.4 mmol/L"}"#);
    node.message(&record, None, vec![observations(7..8).remove(0), fact(1, "8.0 mmol/L", false)]).await;
    node.projected().await;
    let answer = client.get_entry(request).await.unwrap().into_inner();
    assert_eq!(answer.entry.unwrap().entry_id, entry.entry_id);
    assert_eq!(answer.resource_json, r#"{"resourceType":"Observation","id":"1","note":"8.0 mmol/L"}"#);
}
