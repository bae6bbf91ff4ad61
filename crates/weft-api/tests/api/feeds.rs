//! FeedService: registering, switching and watching feeds, and quarantine.

use weft_api::{Code, FeedStatus, client::Clients};
use weft_log::{EventLog, ReadLimit};
use weft_model::{
    Payload, Position, Stream, Verdict,
    proto::{
        api::{
            Feed, FeedState, GetFeedRequest, GetQuarantinedRequest, GetTimelineRequest, ListFeedsRequest,
            ListQuarantineRequest, RedriveOutcome, RedriveRequest, Redriven as RedrivenMessage, RegisterFeedRequest,
            SwitchFeedRequest,
        },
        event,
    },
};

use crate::node::{MAY_1_US, Node, context, observations, profile, record};

async fn register(clients: &Clients, profile_toml: String) -> Position {
    let request = RegisterFeedRequest { context: context(), profile_toml };
    let answer = clients.feed.clone().register_feed(request).await.unwrap().into_inner();
    Position::from_proto(&answer.position.unwrap()).unwrap()
}

async fn list(clients: &Clients) -> Vec<Feed> {
    clients.feed.clone().list_feeds(ListFeedsRequest { context: context() }).await.unwrap().into_inner().feeds
}

async fn switch(clients: &Clients, feed: &str, pause: bool) -> FeedState {
    let request = SwitchFeedRequest { context: context(), feed: feed.to_owned() };
    let mut client = clients.feed.clone();
    let answer = if pause { client.pause_feed(request).await } else { client.resume_feed(request).await };
    answer.unwrap().into_inner().state()
}

/// The control stream: kind, feed and who did it.
async fn changes(node: &Node) -> Vec<String> {
    let stored = node.log.read(Stream::Control.partition(0).at(0), ReadLimit::PAGE).await.unwrap();
    let mut changes = Vec::new();
    for stored in stored {
        changes.push(match &node.log.open(&stored).await.unwrap().payload {
            Payload::FeedRegistered(p) => format!("registered {} by {}", p.feed, p.by),
            Payload::FeedPaused(p) => format!("paused {} by {}: {}", p.feed, p.by, p.reason),
            Payload::FeedResumed(p) => format!("resumed {} by {}: {}", p.feed, p.by, p.reason),
            other => panic!("{:?} in the control stream", other.kind()),
        });
    }
    changes
}

#[tokio::test]
async fn a_registered_feed_is_listed_at_once_and_again_is_no_change() {
    let node = Node::start_embedded().await;
    node.listens("ryj-pas");
    let toml = format!("{}description = \"Imperial PAS\"\n", profile("ryj-pas", "RYJ"));
    let first = register(&node.clients, toml.clone()).await;
    assert_eq!(first.to_string(), "control/0/0");
    let listed = list(&node.clients).await;
    let [feed] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(
        (feed.feed.as_str(), feed.organisation.as_str(), feed.description.as_str(), feed.address.as_str()),
        ("ryj-pas", "RYJ", "Imperial PAS", "127.0.0.1:40123")
    );
    assert_eq!((feed.state(), feed.revision), (FeedState::Listening, Some(first.to_proto())));
    let health = feed.health.as_ref().unwrap();
    assert_eq!((health.received, health.last_received_us, health.connections), (0, 0, 2));

    assert_eq!(register(&node.clients, toml.clone()).await, first);
    let changed = register(&node.clients, format!("{toml}# changed\n")).await;
    assert_eq!(changed.to_string(), "control/0/1");
    let back = register(&node.clients, toml.clone()).await;
    assert_eq!(back.to_string(), "control/0/2");
    let request = GetFeedRequest { context: context(), feed: "ryj-pas".to_owned() };
    let one = node.clients.feed.clone().get_feed(request).await.unwrap().into_inner();
    assert_eq!((one.profile_toml, one.feed.unwrap().revision), (toml, Some(back.to_proto())));
    assert_eq!(changes(&node).await, ["registered ryj-pas by dr.patel"; 3]);
}

#[tokio::test]
async fn one_registration_from_many_callers_at_once_is_one_event() {
    let node = Node::start().await;
    node.listens("ryj-pas");
    let toml = profile("ryj-pas", "RYJ");
    let all = futures::future::join_all((0..8).map(|_| register(&node.clients, toml.clone()))).await;
    assert!(all.iter().all(|position| *position == all[0]));
    assert_eq!(changes(&node).await.len(), 1);
}

#[tokio::test]
async fn a_feed_is_paused_and_resumed_once_however_often_that_is_asked() {
    let node = Node::start().await;
    node.listens("ryj-pas");
    register(&node.clients, profile("ryj-pas", "RYJ")).await;
    for (pause, wanted) in [
        (false, FeedState::Listening),
        (true, FeedState::Paused),
        (true, FeedState::Paused),
        (false, FeedState::Listening),
        (true, FeedState::Paused),
    ] {
        assert_eq!(switch(&node.clients, "ryj-pas", pause).await, wanted);
        let feed = &list(&node.clients).await[0];
        assert_eq!((feed.state(), feed.address.is_empty()), (wanted, pause));
    }
    let [paused, resumed] = ["paused ryj-pas by dr.patel: clinic today", "resumed ryj-pas by dr.patel: clinic today"];
    assert_eq!(changes(&node).await, ["registered ryj-pas by dr.patel", paused, resumed, paused]);
}

#[tokio::test]
async fn a_feed_that_cannot_listen_says_why_and_one_that_nobody_listens_for_says_nothing() {
    let node = Node::start().await;
    let failed = FeedStatus {
        state: FeedState::Failed,
        address: String::new(),
        connections: 0,
        problem: "address in use".to_owned(),
    };
    node.feeds.0.lock().unwrap().insert("a".to_owned(), failed);
    register(&node.clients, profile("a", "RYJ")).await;
    register(&node.clients, profile("b", "RQM")).await;
    let feeds = list(&node.clients).await;
    assert_eq!(
        (feeds[0].state(), feeds[0].health.as_ref().unwrap().problem.as_str()),
        (FeedState::Failed, "address in use")
    );
    assert_eq!((feeds[1].state(), feeds[1].organisation.as_str()), (FeedState::Unspecified, "RQM"));
}

#[tokio::test]
async fn health_counts_every_verdict_duplicates_too() {
    let node = Node::start_embedded().await;
    register(&node.clients, profile("ryj-pas", "RYJ")).await;
    let (_, patient) = node.person(1, 1).await;
    node.quarantined(&patient).await;
    let last = node.message(&patient, None, observations(1..2)).await;
    let again = node.log.read(last, ReadLimit { events: 1, bytes: 0 }).await.unwrap();
    let event = node.log.open(&again[0]).await.unwrap();
    let draft = |raw: &'static [u8]| {
        let Payload::MessageReceived(mut message) = event.payload.clone() else { panic!("no message") };
        if !raw.is_empty() {
            message.raw = raw.into();
        }
        weft_log::Draft {
            same: weft_log::Same::Message,
            feed: "ryj-pas".to_owned(),
            control_id: event.header.control_id.clone(),
            message_type: "ADT^A01".to_owned(),
            verdict: Verdict::Accepted,
            received_us: MAY_1_US + 1000,
            cause: None,
            payload: Payload::MessageReceived(message),
        }
    };
    node.append(draft(b"")).await;
    node.append(draft(b"other bytes")).await;
    node.projected().await;
    let health = list(&node.clients).await[0].health.clone().unwrap();
    assert_eq!(
        (health.received, health.accepted, health.duplicate, health.conflict, health.quarantined),
        (5, 2, 1, 1, 1)
    );
    assert_eq!(health.last_received_us, MAY_1_US + 1000);
}

#[tokio::test]
async fn quarantine_is_listed_newest_first_and_opened_byte_for_byte() {
    let node = Node::start_embedded().await;
    let (person, ours) = node.person(1, 1).await;
    register(&node.clients, profile("ryj-pas", "RYJ")).await;
    register(&node.clients, profile("rqm-pas", "RQM")).await;
    let first = node.quarantined(&ours).await;
    let elsewhere = node.quarantined(&record("RQM", "9")).await;
    let last = node.quarantined(&ours).await;
    node.projected().await;
    let mut client = node.clients.feed.clone();
    let mut pages = async |feed: &str, page_size: u32| {
        let feed = feed.to_owned();
        let mut request = ListQuarantineRequest { context: context(), feed, page_size, ..Default::default() };
        let mut all = Vec::new();
        loop {
            let page = client.list_quarantine(request.clone()).await.unwrap().into_inner();
            assert!(page.messages.len() <= page_size as usize);
            all.extend(page.messages);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return all;
            }
        }
    };
    let positions = |all: &[weft_model::proto::api::QuarantinedMessage]| {
        all.iter().map(|m| Position::from_proto(&m.position.unwrap()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(positions(&pages("", 1).await), [last, elsewhere, first]);
    assert_eq!(positions(&pages("", 2).await), [last, elsewhere, first]);
    assert_eq!(positions(&pages("ryj-pas", 1).await), [last, first]);
    let shown = pages("rqm-pas", 1).await.remove(0);
    assert_eq!(
        (shown.verdict(), shown.reason.as_str(), shown.issues[0].location.as_str()),
        (Verdict::Quarantined, "event-type-missing", "EVN-1")
    );
    assert!(node.disclosures().await.is_empty());

    let mut client = node.clients.feed.clone();
    let mut open = async |position: event::Position| {
        let request = GetQuarantinedRequest { context: context(), position: Some(position) };
        client.get_quarantined(request).await.unwrap().into_inner()
    };
    let opened = open(first.to_proto()).await;
    assert_eq!(opened.raw, b"MSH|^~\\&|message 2\r");
    assert_eq!(opened.message.unwrap().control_id, "C2");
    open(elsewhere.to_proto()).await;
    let persons: Vec<_> = node.disclosures().await.into_iter().map(|d| d.persons).collect();
    assert_eq!(persons, [vec![person.to_vec()], vec![]]);
}

#[tokio::test]
async fn what_is_quarantined_is_read_again_by_the_profile_as_it_is_now() {
    let node = Node::start_embedded().await;
    let (person, patient) = node.person(1, 1).await;
    register(&node.clients, profile("ryj-pas", "RYJ")).await;
    let mut first = Vec::new();
    for _ in 0..5 {
        first.push(node.quarantined(&patient).await);
    }
    node.projected().await;
    let of_feed = || RedriveRequest { context: context(), feed: "ryj-pas".into(), page_size: 2, ..Default::default() };
    let still = redrive(&node, of_feed()).await;
    assert_eq!(
        still.iter().map(|m| m.position.unwrap()).collect::<Vec<_>>(),
        first.iter().map(|p| p.to_proto()).collect::<Vec<_>>()
    );
    assert!(still.iter().all(|m| m.outcome() == RedriveOutcome::StillHeld && m.reason == "not-accepted"));
    assert_eq!(still[0].issues[0].location, "MSH-9");

    register(&node.clients, profile("ryj-pas", "RYJ") + "accept = \"message\"\n").await;
    let size = node.log.size(Stream::Feed.partition(0)).await.unwrap();
    let would_be = redrive(&node, RedriveRequest { preview: true, ..of_feed() }).await;
    assert!(would_be.iter().all(|m| m.outcome() == RedriveOutcome::AcceptedNow && m.accepted_at.is_none()));
    assert_eq!(
        (would_be.len(), node.log.size(Stream::Feed.partition(0)).await.unwrap()),
        (5, size),
        "nothing is stored"
    );

    let one = RedriveRequest { context: context(), positions: vec![first[3].to_proto()], ..Default::default() };
    assert_eq!(redrive(&node, one.clone()).await[0].outcome(), RedriveOutcome::AcceptedNow);
    assert_eq!(redrive(&node, one).await[0].outcome(), RedriveOutcome::RedrivenBefore);
    let rest = redrive(&node, of_feed()).await;
    let at: Vec<Position> = rest.iter().map(|m| Position::from_proto(&m.accepted_at.unwrap()).unwrap()).collect();
    assert_eq!(at.len(), 4);
    assert!(at.is_sorted(), "in the order in which they were received");
    let stored = node.log.read(at[0], ReadLimit { events: 1, bytes: 0 }).await.unwrap();
    let event = node.log.open(&stored[0]).await.unwrap();
    let Payload::MessageReceived(message) = &event.payload else { panic!("no message") };
    let by = message.redriven_by.as_ref().unwrap();
    assert_eq!((by.by.as_str(), by.role.as_str(), by.reason.as_str()), ("dr.patel", "clinician", "clinic today"));
    assert_eq!(event.header.redrives.as_ref().unwrap().received_us, MAY_1_US + 2);
    assert!(redrive(&node, of_feed()).await.is_empty());
    assert!(node.disclosures().await.is_empty(), "nothing was said of anybody");

    let mut client = node.clients.feed.clone();
    let mut listed = async |with_redriven| {
        let request = ListQuarantineRequest { context: context(), with_redriven, ..Default::default() };
        client.list_quarantine(request).await.unwrap().into_inner().messages
    };
    assert_eq!(listed(false).await, []);
    let all = listed(true).await;
    assert_eq!(all.len(), 5);
    assert!(all.iter().all(|m| m.redriven_to.is_some() && !m.resent));
    let health = list(&node.clients).await[0].health.clone().unwrap();
    assert_eq!((health.received, health.quarantined, health.redriven, health.held), (6, 5, 5, 0));
    let request = GetTimelineRequest { context: context(), person_id: person.to_string(), ..Default::default() };
    let mut client = node.clients.timeline.clone();
    assert_eq!(client.get_timeline(request).await.unwrap().into_inner().entries.len(), 6);
}

#[tokio::test]
async fn what_is_not_read_again_is_told_one_by_one() {
    let node = Node::start_embedded().await;
    let (_, patient) = node.person(1, 1).await;
    register(&node.clients, profile("ryj-pas", "RYJ") + "accept = \"message\"\n").await;
    let first = node.quarantined(&patient).await;
    let erased = node.quarantined(&record("RYJ", "erased")).await;
    let unregistered = node.quarantined(&record("RQM", "9")).await;
    node.projected().await;
    let outcomes = async |positions: &[Position]| {
        let positions = positions.iter().map(|position| position.to_proto()).collect();
        let request = RedriveRequest { context: context(), positions, ..Default::default() };
        redrive(&node, request).await.iter().map(RedrivenMessage::outcome).collect::<Vec<_>>()
    };
    // Keys are given in the order in which records are first heard of, from 2 on.
    node.vault.shred(3).await.unwrap();
    assert_eq!(outcomes(&[erased]).await, [RedriveOutcome::Erased]);
    let nothing = Stream::Feed.partition(0).at(99);
    assert_eq!(outcomes(&[unregistered, nothing]).await, [RedriveOutcome::NotHeld; 2]);
    switch(&node.clients, "ryj-pas", true).await;
    assert_eq!(outcomes(&[first]).await, [RedriveOutcome::PausedFeed]);

    let mut client = node.clients.feed.clone();
    let mut refused = async |request: RedriveRequest| {
        let status = client.redrive(RedriveRequest { context: context(), ..request }).await.unwrap_err();
        (status.code(), weft_api::error_details(&status)[0].code.clone())
    };
    let none = RedriveRequest::default;
    let feed = |feed: &str| RedriveRequest { feed: feed.to_owned(), ..none() };
    assert_eq!(refused(feed("ryj-pas")).await, (Code::FailedPrecondition, "feed-paused".to_owned()));
    assert_eq!(refused(feed("nobody")).await, (Code::NotFound, "feed-unknown".to_owned()));
    for unclear in [none(), RedriveRequest { all: true, ..feed("ryj-pas") }] {
        assert_eq!(refused(unclear).await, (Code::InvalidArgument, "messages-unclear".to_owned()));
    }
    let many = RedriveRequest { positions: vec![first.to_proto(); 1001], ..none() };
    assert_eq!(refused(many).await, (Code::InvalidArgument, "list-too-long".to_owned()));
    switch(&node.clients, "ryj-pas", false).await;
    let all = redrive(&node, RedriveRequest { context: context(), all: true, ..none() }).await;
    assert_eq!(
        all.iter().map(RedrivenMessage::outcome).collect::<Vec<_>>(),
        [RedriveOutcome::AcceptedNow, RedriveOutcome::Erased, RedriveOutcome::NotHeld]
    );
}

/// Every page of an answer.
async fn redrive(node: &Node, mut request: RedriveRequest) -> Vec<RedrivenMessage> {
    let mut client = node.clients.feed.clone();
    let mut all = Vec::new();
    loop {
        let page = client.redrive(request.clone()).await.unwrap().into_inner();
        all.extend(page.messages);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return all;
        }
    }
}
