//! Every refusal: its code, and the field that it names.

use tonic::{Code, Response, Status};
use weft_api::error_details;
use weft_model::{
    PersonId, Stream,
    proto::{
        api::{
            AsOf, Cut, DemographicQuery, FindPersonsRequest, GetEntryRequest, GetFeedRequest, GetPersonRequest,
            GetQuarantinedRequest, GetTimelineRequest, ListFeedsRequest, ListQuarantineRequest, LocalIdentifier,
            RegisterFeedRequest, RequestContext, StreamTimelineRequest, SwitchFeedRequest, TimelineFilter,
            as_of::Moment, find_persons_request::By,
        },
        event,
    },
};

use crate::node::{DEADLINE, Node, context, profile};

fn sizes(cut: Cut) -> Option<AsOf> {
    Some(AsOf { moment: Some(Moment::Cut(cut)) })
}

fn check<T>(answer: Result<Response<T>, Status>, code: Code, field: &str, detail: &str) {
    let Err(status) = answer else { panic!("answered in place of {code:?} {field} {detail}") };
    let told = error_details(&status);
    assert_eq!(
        (status.code(), told.iter().map(|d| (d.field.as_str(), d.code.as_str())).collect::<Vec<_>>()),
        (code, vec![(field, detail)]),
        "{status:?}"
    );
}

fn without(change: impl FnOnce(&mut RequestContext)) -> Option<RequestContext> {
    let mut context = context();
    context.as_mut().map(change);
    context
}

const INVALID: Code = Code::InvalidArgument;

#[tokio::test]
async fn every_method_requires_the_whole_context() {
    let node = Node::start().await;
    let bad = || without(|c| c.purpose.clear());
    let (mut timeline, mut person, mut feed) =
        (node.clients.timeline.clone(), node.clients.person.clone(), node.clients.feed.clone());
    let (field, code) = ("context.purpose", "field-required");
    check(
        timeline.get_timeline(GetTimelineRequest { context: bad(), ..Default::default() }).await,
        INVALID,
        field,
        code,
    );
    check(
        timeline.stream_timeline(StreamTimelineRequest { context: bad(), ..Default::default() }).await,
        INVALID,
        field,
        code,
    );
    check(timeline.get_entry(GetEntryRequest { context: bad(), ..Default::default() }).await, INVALID, field, code);
    check(person.find_persons(FindPersonsRequest { context: bad(), ..Default::default() }).await, INVALID, field, code);
    check(person.get_person(GetPersonRequest { context: bad(), ..Default::default() }).await, INVALID, field, code);
    check(feed.register_feed(RegisterFeedRequest { context: bad(), ..Default::default() }).await, INVALID, field, code);
    check(feed.list_feeds(ListFeedsRequest { context: bad() }).await, INVALID, field, code);
    check(feed.get_feed(GetFeedRequest { context: bad(), ..Default::default() }).await, INVALID, field, code);
    check(feed.pause_feed(SwitchFeedRequest { context: bad(), ..Default::default() }).await, INVALID, field, code);
    check(feed.resume_feed(SwitchFeedRequest { context: bad(), ..Default::default() }).await, INVALID, field, code);
    check(
        feed.list_quarantine(ListQuarantineRequest { context: bad(), ..Default::default() }).await,
        INVALID,
        field,
        code,
    );
    check(
        feed.get_quarantined(GetQuarantinedRequest { context: bad(), ..Default::default() }).await,
        INVALID,
        field,
        code,
    );
    check(feed.list_feeds(ListFeedsRequest { context: None }).await, INVALID, "context", "field-required");
    let foreign = without(|c| c.organisation = "St Mary's".to_owned());
    check(
        feed.list_feeds(ListFeedsRequest { context: foreign }).await,
        INVALID,
        "context.organisation",
        "ods-code-invalid",
    );
    let long = without(|c| c.reason = "x".repeat(201));
    check(feed.list_feeds(ListFeedsRequest { context: long }).await, INVALID, "context.reason", "field-too-long");
}

async fn timeline(
    node: &Node,
    person: PersonId,
    change: impl FnOnce(&mut GetTimelineRequest),
    code: Code,
    field: &str,
    detail: &str,
) {
    let mut request =
        GetTimelineRequest { context: context(), person_id: person.to_string(), ..GetTimelineRequest::default() };
    change(&mut request);
    check(node.clients.timeline.clone().get_timeline(request).await, code, field, detail);
}

#[tokio::test]
async fn timelines() {
    let node = Node::start().await;
    let (person, _) = node.person(1, 3).await;
    let (other, _) = node.person(2, 3).await;
    let n = &node;
    timeline(n, person, |r| r.person_id.clear(), INVALID, "person_id", "field-required").await;
    timeline(n, person, |r| r.person_id = "x".to_owned(), INVALID, "person_id", "person-id-invalid").await;
    timeline(n, PersonId([9; 16]), |_| (), Code::NotFound, "person_id", "person-unknown").await;
    timeline(n, person, |r| r.page_size = 1001, INVALID, "page_size", "number-too-large").await;
    let kinds = Some(TimelineFilter { kinds: vec![0], ..Default::default() });
    timeline(n, person, |r| r.filter = kinds, INVALID, "filter.kinds[0]", "kind-unknown").await;
    let ahead = Cut { sizes: vec![Stream::Feed.partition(0).at(3).to_proto()] };
    timeline(n, person, |r| r.as_of = sizes(ahead), Code::FailedPrecondition, "as_of", "not-yet-known").await;
    let wrong = Cut { sizes: vec![event::Position::default()] };
    timeline(n, person, |r| r.as_of = sizes(wrong), INVALID, "as_of", "cut-invalid").await;
    timeline(n, person, |r| r.as_of = Some(AsOf::default()), INVALID, "as_of", "cut-invalid").await;
    let tick = Some(AsOf { moment: Some(Moment::Tick(7)) });
    timeline(n, person, |r| r.as_of = tick, Code::FailedPrecondition, "as_of.tick", "no-such-cut").await;
    let time = |us| Some(AsOf { moment: Some(Moment::TimeUs(us)) });
    let (field, ever) = ("as_of.time_us", i64::MAX);
    timeline(n, person, |r| r.as_of = time(1), Code::FailedPrecondition, field, "before-the-first-cut").await;
    timeline(n, person, |r| r.as_of = time(ever), Code::FailedPrecondition, field, "time-not-past").await;

    let request =
        GetTimelineRequest { context: context(), person_id: person.to_string(), page_size: 1, ..Default::default() };
    let token = n.clients.timeline.clone().get_timeline(request).await.unwrap().into_inner().next_page_token;
    let (field, detail) = ("page_token", "page-token-invalid");
    timeline(n, person, |r| r.page_token = "7".to_owned(), INVALID, field, detail).await;
    timeline(n, other, |r| r.page_token.clone_from(&token), INVALID, field, detail).await;
    let other_filter = Some(TimelineFilter { include_withdrawn: true, ..Default::default() });
    let change = |r: &mut GetTimelineRequest| (r.page_token, r.filter) = (token.clone(), other_filter.clone());
    timeline(n, person, change, INVALID, field, detail).await;
    let other_cut = sizes(Cut { sizes: vec![Stream::Feed.partition(0).at(1).to_proto()] });
    let change = |r: &mut GetTimelineRequest| (r.page_token, r.as_of) = (token.clone(), other_cut.clone());
    timeline(n, person, change, INVALID, field, detail).await;
}

#[tokio::test]
async fn entries_and_streams() {
    let node = Node::start().await;
    let (person, _) = node.person(1, 1).await;
    let mut client = node.clients.timeline.clone();
    let entry = |person_id: &str, entry_id: &str| GetEntryRequest {
        context: context(),
        person_id: person_id.to_owned(),
        entry_id: entry_id.to_owned(),
    };
    let (known, unknown) = (person.to_string(), PersonId([9; 16]).to_string());
    check(client.get_entry(entry("", "x")).await, INVALID, "person_id", "field-required");
    check(client.get_entry(entry(&known, "")).await, INVALID, "entry_id", "field-required");
    check(client.get_entry(entry(&known, "x")).await, Code::NotFound, "entry_id", "entry-unknown");
    check(client.get_entry(entry(&known, &"0".repeat(32))).await, Code::NotFound, "entry_id", "entry-unknown");
    check(client.get_entry(entry(&unknown, &"0".repeat(32))).await, Code::NotFound, "person_id", "person-unknown");
    let stream = |person_id: String| StreamTimelineRequest { context: context(), person_id, filter: None };
    check(client.stream_timeline(stream("x".to_owned())).await, INVALID, "person_id", "person-id-invalid");
    let mut messages = client.stream_timeline(stream(unknown)).await.unwrap().into_inner();
    check(messages.message().await.map(Response::new), Code::NotFound, "person_id", "person-unknown");
}

async fn persons(node: &Node, by: Option<By>, limit: u32, code: Code, field: &str, detail: &str) {
    let request = FindPersonsRequest { context: context(), by, limit };
    check(node.clients.person.clone().find_persons(request).await, code, field, detail);
}

#[tokio::test]
async fn finding_and_showing_persons() {
    let node = Node::start().await;
    let n = &node;
    persons(n, None, 0, INVALID, "by", "field-required").await;
    let number = |text: &str| Some(By::NhsNumber(text.to_owned()));
    persons(n, number("999 000 0001"), 51, INVALID, "limit", "number-too-large").await;
    persons(n, number("943 476 5918"), 0, INVALID, "nhs_number", "nhs-number-invalid").await;
    persons(n, number(""), 0, INVALID, "nhs_number", "nhs-number-invalid").await;
    let local = |organisation: &str, value: &str| {
        let (organisation, value) = (organisation.to_owned(), value.to_owned());
        Some(By::LocalIdentifier(LocalIdentifier { organisation, system: String::new(), value }))
    };
    persons(n, local("", "1"), 0, INVALID, "local_identifier.organisation", "field-required").await;
    persons(n, local("R-1", "1"), 0, INVALID, "local_identifier.organisation", "ods-code-invalid").await;
    persons(n, local("RYJ", ""), 0, INVALID, "local_identifier.value", "field-required").await;
    let named = |family: &str, birth_date: &str, sex: &str| {
        let (family, birth_date, sex) = (family.to_owned(), birth_date.to_owned(), sex.to_owned());
        Some(By::Demographics(DemographicQuery { family, birth_date, sex, ..DemographicQuery::default() }))
    };
    persons(n, named("", "1980-02-28", ""), 0, INVALID, "demographics.family", "field-required").await;
    persons(n, named("--", "1980-02-28", ""), 0, INVALID, "demographics.family", "name-empty").await;
    persons(n, named("Smith", "", ""), 0, INVALID, "demographics.birth_date", "field-required").await;
    persons(n, named("Smith", "28/02/1980", ""), 0, INVALID, "demographics.birth_date", "date-invalid").await;
    persons(n, named("Smith", "1980-02-28", "F"), 0, INVALID, "demographics.sex", "sex-unknown").await;

    let get = async |person_id: String, as_of: Option<AsOf>| {
        node.clients.person.clone().get_person(GetPersonRequest { context: context(), person_id, as_of }).await
    };
    check(get(String::new(), None).await, INVALID, "person_id", "field-required");
    check(get(PersonId([9; 16]).to_string(), None).await, Code::NotFound, "person_id", "person-unknown");
    let ahead = sizes(Cut { sizes: vec![Stream::Identity.partition(0).at(1).to_proto()] });
    check(get(PersonId([9; 16]).to_string(), ahead).await, Code::FailedPrecondition, "as_of", "not-yet-known");
}

#[tokio::test]
async fn feeds_and_quarantine() {
    let node = Node::start().await;
    let mut client = node.clients.feed.clone();
    let register =
        |profile_toml: &str| RegisterFeedRequest { context: context(), profile_toml: profile_toml.to_owned() };
    check(client.register_feed(register(" ")).await, INVALID, "profile_toml", "field-required");
    check(client.register_feed(register("feed = \"a\"")).await, INVALID, "profile_toml", "key-missing");
    let both = client.register_feed(register("# nothing")).await.unwrap_err();
    let told = error_details(&both);
    assert_eq!(
        told.iter().map(|d| d.text.as_str()).collect::<Vec<_>>(),
        ["feed: is required", "organisation: is required"]
    );
    check(
        client.register_feed(register(&format!("{}{}", profile("a", "RYJ"), "#".repeat(1 << 20)))).await,
        INVALID,
        "",
        "request-too-large",
    );

    let name = |feed: &str| GetFeedRequest { context: context(), feed: feed.to_owned() };
    check(client.get_feed(name("")).await, INVALID, "feed", "field-required");
    check(client.get_feed(name("nobody")).await, Code::NotFound, "feed", "feed-unknown");
    let switch = |feed: &str| SwitchFeedRequest { context: context(), feed: feed.to_owned() };
    check(client.pause_feed(switch("")).await, INVALID, "feed", "field-required");
    check(client.pause_feed(switch("nobody")).await, Code::NotFound, "feed", "feed-unknown");
    check(client.resume_feed(switch("nobody")).await, Code::NotFound, "feed", "feed-unknown");

    let list = |feed: &str, page_size: u32, page_token: &str| ListQuarantineRequest {
        context: context(),
        feed: feed.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
        with_redriven: false,
    };
    check(client.list_quarantine(list("nobody", 0, "")).await, Code::NotFound, "feed", "feed-unknown");
    check(client.list_quarantine(list("", 1001, "")).await, INVALID, "page_size", "number-too-large");
    check(client.list_quarantine(list("", 0, "00")).await, INVALID, "page_token", "page-token-invalid");
    let at = |position: Option<event::Position>| GetQuarantinedRequest { context: context(), position };
    check(client.get_quarantined(at(None)).await, INVALID, "position", "field-required");
    let nowhere = Some(event::Position::default());
    check(client.get_quarantined(at(nowhere)).await, INVALID, "position.stream", "position-invalid");
    for elsewhere in [Stream::Feed.partition(0), Stream::Feed.partition(7), Stream::Access.partition(0)] {
        let position = Some(elsewhere.at(0).to_proto());
        check(client.get_quarantined(at(position)).await, Code::NotFound, "position", "not-in-quarantine");
    }
}

#[tokio::test]
async fn a_change_to_a_feed_waits_for_a_read_model_that_is_behind_and_then_says_so() {
    let node = Node::start().await;
    node.projecting.cancel();
    let mut client = node.clients.feed.clone();
    node.listens("ryj-pas");
    let request = RegisterFeedRequest { context: context(), profile_toml: profile("ryj-pas", "RYJ") };
    // The first is stored, and answered once the wait is over; the second does not know what it would change.
    tokio::time::timeout(DEADLINE, client.register_feed(request)).await.expect("in time").unwrap();
    let pause = SwitchFeedRequest { context: context(), feed: "ryj-pas".to_owned() };
    check(client.pause_feed(pause).await, Code::Unavailable, "", "unavailable");
}

#[tokio::test]
async fn no_refusal_repeats_what_was_sent() {
    let node = Node::start().await;
    let secret = "9434765918";
    let mut person = node.clients.person.clone();
    for by in [
        By::NhsNumber(secret.to_owned()),
        By::LocalIdentifier(LocalIdentifier { organisation: secret.repeat(3), ..Default::default() }),
        By::Demographics(DemographicQuery {
            family: "x".to_owned(),
            birth_date: secret.to_owned(),
            ..Default::default()
        }),
        By::Demographics(DemographicQuery { family: secret.repeat(100), ..Default::default() }),
    ] {
        let request = FindPersonsRequest { context: context(), by: Some(by), limit: 0 };
        let status = person.find_persons(request).await.unwrap_err();
        assert!(!format!("{status:?}{:?}", error_details(&status)).contains(secret));
    }
}
