//! LinkService: the review queue, explanations, and what stewards decide.

use std::sync::atomic::Ordering;

use tonic::{Code, Status};
use weft_api::error_details;
use weft_model::{
    Payload, PersonId, Position, SourceRecordId, Stream,
    proto::{
        api::{
            Accept, DecideRequest, DecideResponse, ExplainRequest, ListReviewsRequest, MergePersons, PreviewRequest,
            Proposal, Reject, ReleaseNumberRequest, SplitPerson, Subject, SupersedeNumberRequest, SwitchModelRequest,
            Undo, proposal::Decision, subject::Of,
        },
        event::{LinkMethod, NhsNumberSwitched, RecordLinked, ReviewAsked, StewardDecided, StewardDecision},
    },
};

use crate::node::{Node, context, demographics, nhs_number, observations, record};

fn about(record: &SourceRecordId) -> Option<Subject> {
    Some(Subject { of: Some(Of::Record(record.clone())) })
}

async fn decide(node: &Node, decision: Decision) -> Result<DecideResponse, Status> {
    let proposal = Some(Proposal { decision: Some(decision) });
    let request = DecideRequest { context: context(), proposal };
    Ok(node.clients.link.clone().decide(request).await?.into_inner())
}

async fn refused(node: &Node, decision: Decision, code: Code, field: &str, detail: &str) {
    let status = decide(node, decision).await.unwrap_err();
    let told: Vec<(String, String)> = error_details(&status).into_iter().map(|d| (d.field, d.code)).collect();
    assert_eq!((status.code(), told), (code, vec![(field.to_owned(), detail.to_owned())]), "{status:?}");
}

async fn person_of(node: &Node, record: &SourceRecordId) -> String {
    let request = ExplainRequest { context: context(), subject: about(record) };
    node.clients.link.clone().explain(request).await.unwrap().into_inner().person_id
}

async fn stored(node: &Node, answer: &DecideResponse) -> StewardDecided {
    let position = Position::from_proto(answer.position.as_ref().unwrap()).unwrap();
    let Some(Payload::StewardDecided(decided)) = node.model.ruling_at(position).await.unwrap() else {
        panic!("{answer:?}")
    };
    decided
}

fn split(person: PersonId, records: &[&SourceRecordId]) -> Decision {
    let records = records.iter().map(|record| (*record).clone()).collect();
    Decision::Split(SplitPerson { person_id: person.to_string(), records })
}

/// A person with three records of two organisations.
async fn three(node: &Node) -> (PersonId, [SourceRecordId; 3]) {
    let (person, first) = node.person(1, 3).await;
    let others = [record("RQM", "7"), record("RQM", "8")];
    for other in &others {
        node.message(other, Some(demographics(1)), observations(0..2)).await;
        node.link(other, person).await;
    }
    node.projected().await;
    let [second, third] = others;
    (person, [first, second, third])
}

#[tokio::test]
async fn a_preview_tells_what_the_decision_does_and_decides_nothing() {
    let node = Node::start().await;
    let (person, [first, second, third]) = three(&node).await;
    let before = node.model.known_at();
    let proposal = Some(Proposal { decision: Some(split(person, &[&second, &third])) });
    let request = PreviewRequest { context: context(), proposal };
    let seen = node.clients.link.clone().preview(request).await.unwrap().into_inner().effect.unwrap();
    assert_eq!((seen.entries, seen.organisations.clone()), (4, vec!["RQM".to_owned()]));
    assert_eq!(node.model.known_at(), before);
    let answer = decide(&node, split(person, &[&second, &third])).await.unwrap();
    assert_eq!(answer.effect, Some(seen));
    let decided = stored(&node, &answer).await;
    assert_eq!(
        (decided.decision(), decided.by.as_str(), decided.role.as_str(), decided.reason.as_str()),
        (StewardDecision::Split, "dr.patel", "clinician", "clinic today")
    );
    assert_eq!(person_of(&node, &first).await, person.to_string());
    assert_eq!(person_of(&node, &second).await, person_of(&node, &third).await);
    // Every answer that spoke of persons was recorded: the preview, the decision, three explanations.
    let methods: Vec<String> = node.disclosures().await.into_iter().map(|d| d.method).collect();
    let short: Vec<&str> = methods.iter().filter_map(|method| method.rsplit('/').next()).collect();
    assert_eq!(short, ["Preview", "Decide", "Explain", "Explain", "Explain"]);
}

#[tokio::test]
async fn what_was_kept_apart_may_meet_again_by_a_steward_and_the_others_stay_apart() {
    let node = Node::start().await;
    let (person, [first, second, third]) = three(&node).await;
    let parted = decide(&node, split(person, &[&first])).await.unwrap();
    let new: PersonId = person_of(&node, &first).await.parse().unwrap();
    // The second is the first's after all; the third is not.
    let accept = Accept { subject: about(&second), person_id: new.to_string() };
    let accepted = decide(&node, Decision::Accept(accept)).await.unwrap();
    let decided = stored(&node, &accepted).await;
    assert_eq!(decided.lifted, [parted.position.unwrap()]);
    let id = |record: &SourceRecordId| node.log_pseudonym(record).to_vec();
    let apart: Vec<_> = decided.apart.iter().map(|apart| (apart.left.clone(), apart.right.clone())).collect();
    assert_eq!(apart, [(vec![id(&first)], vec![id(&third)])]);
    // Taken back, it is as it was: the second with the third, and apart from the first.
    let undone = decide(&node, Decision::Undo(Undo { decision: accepted.position })).await.unwrap();
    let decided = stored(&node, &undone).await;
    assert_eq!(decided.lifted, [accepted.position.unwrap()]);
    assert_eq!(decided.apart.len(), 1);
    assert_eq!(person_of(&node, &second).await, person.to_string());
    let again = Decision::Undo(Undo { decision: accepted.position });
    refused(&node, again, Code::FailedPrecondition, "proposal.undo.decision", "decided-meanwhile").await;
    // The first split cannot be taken back while its records are elsewhere, and can when they are not.
    let merged = MergePersons { survivor_person_id: person.to_string(), retired_person_id: new.to_string() };
    let merged = decide(&node, Decision::Merge(merged)).await.unwrap();
    let early = Decision::Undo(Undo { decision: parted.position });
    refused(&node, early, Code::FailedPrecondition, "proposal.undo.decision", "decided-meanwhile").await;
    decide(&node, Decision::Undo(Undo { decision: merged.position })).await.unwrap();
    decide(&node, Decision::Undo(Undo { decision: parted.position })).await.unwrap();
    assert_eq!(person_of(&node, &first).await, person.to_string());
}

#[tokio::test]
async fn a_question_is_answered_once() {
    let node = Node::start().await;
    let (one, first) = node.person(1, 1).await;
    let (other, _) = node.person(2, 1).await;
    let decision = RecordLinked {
        record: Some(first.clone()),
        person: one.to_vec(),
        runner_up: other.to_vec(),
        review: vec!["near-threshold".to_owned()],
        score: 90,
        threshold: 100,
        ..RecordLinked::default()
    };
    let asked = node.identity(Payload::ReviewAsked(ReviewAsked { decision: Some(decision) })).await;
    node.projected().await;
    let list = ListReviewsRequest { context: context(), ..ListReviewsRequest::default() };
    let queue = node.clients.link.clone().list_reviews(list.clone()).await.unwrap().into_inner();
    assert_eq!((queue.waiting, queue.reviews.len()), (1, 1));
    let review = &queue.reviews[0];
    assert_eq!((&review.person_id, &review.other_person_id), (&one.to_string(), &other.to_string()));
    assert_eq!((review.record.as_ref(), review.position), (Some(&first), Some(asked.to_proto())));
    let subject = Some(Subject { of: Some(Of::Review(asked.to_proto())) });
    let reject = Decision::Reject(Reject { subject, person_id: String::new() });
    let answer = decide(&node, reject.clone()).await.unwrap();
    let decided = stored(&node, &answer).await;
    assert_eq!(
        (decided.placed[0].person.clone(), decided.apart.len()),
        (one.to_vec(), 1),
        "it stays, apart from the other"
    );
    assert_eq!(node.clients.link.clone().list_reviews(list).await.unwrap().into_inner().waiting, 0);
    refused(&node, reject, Code::NotFound, "proposal.reject.subject.review", "review-unknown").await;
    let request = ExplainRequest { context: context(), subject: about(&first) };
    let explained = node.clients.link.clone().explain(request).await.unwrap().into_inner();
    assert!(explained.held && explained.review.is_none());
    assert_eq!(explained.decisions[0].method(), LinkMethod::Steward);
    assert_eq!(explained.decisions[0].steward.as_ref().unwrap().decision(), StewardDecision::LinkRejected);
}

#[tokio::test]
async fn what_cannot_be_decided_is_refused_with_its_field() {
    let node = Node::start().await;
    let (person, first) = node.person(1, 1).await;
    let (other, _) = node.person(2, 1).await;
    let nobody = PersonId([9; 16]).to_string();
    let text = |person: PersonId| person.to_string();
    let merge = |one: &str, two: &str| {
        Decision::Merge(MergePersons { survivor_person_id: one.to_owned(), retired_person_id: two.to_owned() })
    };
    let (kept, gone) = ("proposal.merge.survivor_person_id", "proposal.merge.retired_person_id");
    refused(&node, merge("", &text(other)), Code::InvalidArgument, kept, "field-required").await;
    refused(&node, merge("x", &text(other)), Code::InvalidArgument, kept, "person-id-invalid").await;
    refused(&node, merge(&text(person), &text(person)), Code::InvalidArgument, gone, "persons-equal").await;
    refused(&node, merge(&text(person), &nobody), Code::NotFound, gone, "person-unknown").await;
    let (of, records) = ("proposal.split.person_id", "proposal.split.records");
    refused(&node, split(PersonId([9; 16]), &[&first]), Code::NotFound, of, "person-unknown").await;
    refused(&node, split(person, &[]), Code::InvalidArgument, records, "field-required").await;
    refused(&node, split(person, &[&first]), Code::InvalidArgument, records, "nobody-stays").await;
    refused(&node, split(person, &[&record("RYJ", "no")]), Code::NotFound, records, "record-unknown").await;
    let reject = Decision::Reject(Reject { subject: about(&first), person_id: String::new() });
    refused(&node, reject, Code::FailedPrecondition, "proposal.reject", "record-alone").await;
    let accept = Decision::Accept(Accept { subject: about(&record("RYJ", "no")), person_id: text(person) });
    refused(&node, accept, Code::NotFound, "proposal.accept.subject", "record-unknown").await;
    let undo = Decision::Undo(Undo { decision: Some(Stream::Identity.partition(0).at(0).to_proto()) });
    refused(&node, undo, Code::NotFound, "proposal.undo.decision", "decision-unknown").await;
}

#[tokio::test]
async fn every_method_requires_the_whole_context_and_tells_nothing_without_a_disclosure() {
    let node = Node::start().await;
    let (person, [_, second, _]) = three(&node).await;
    let mut link = node.clients.link.clone();
    let bad = || context().map(|context| weft_model::proto::api::RequestContext { reason: String::new(), ..context });
    let statuses = [
        link.list_reviews(ListReviewsRequest { context: bad(), ..Default::default() }).await.unwrap_err(),
        link.explain(ExplainRequest { context: bad(), ..Default::default() }).await.unwrap_err(),
        link.preview(PreviewRequest { context: bad(), ..Default::default() }).await.unwrap_err(),
        link.decide(DecideRequest { context: bad(), ..Default::default() }).await.unwrap_err(),
        link.release_number(ReleaseNumberRequest { context: bad(), ..Default::default() }).await.unwrap_err(),
        link.supersede_number(SupersedeNumberRequest { context: bad(), ..Default::default() }).await.unwrap_err(),
        link.switch_model(SwitchModelRequest { context: bad(), ..Default::default() }).await.unwrap_err(),
    ];
    for status in statuses {
        assert_eq!(error_details(&status)[0].field, "context.reason", "{status:?}");
    }
    let before = node.model.known_at();
    node.log.refuse_disclosures.store(true, Ordering::Relaxed);
    let status = decide(&node, split(person, &[&second])).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let status = link.explain(ExplainRequest { context: context(), subject: about(&second) }).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(node.model.known_at(), before, "nothing was decided");
}

/// Asks for a switch; the code and the details of a refusal, or nothing.
async fn switch(node: &Node, model: &str, file: &str) -> Option<(Code, String, String)> {
    let request = SwitchModelRequest { context: context(), model: model.to_owned(), file: file.as_bytes().to_vec() };
    let status = node.clients.link.clone().switch_model(request).await.err()?;
    let detail = error_details(&status).remove(0);
    assert!(!detail.text.is_empty());
    Some((status.code(), detail.field, detail.code))
}

#[tokio::test]
async fn a_model_is_read_before_it_is_switched_to_and_never_goes_back() {
    let node = Node::start().await;
    let refused = |code, field: &str, detail: &str| Some((code, field.to_owned(), detail.to_owned()));
    let (invalid, precondition) = (Code::InvalidArgument, Code::FailedPrecondition);
    assert_eq!(switch(&node, "", "name = weights/3").await, refused(invalid, "model", "field-required"));
    assert_eq!(switch(&node, "weights/3", "").await, refused(invalid, "file", "field-required"));
    assert_eq!(switch(&node, "weights/3", "weights").await, refused(invalid, "file", "model-form"));
    assert_eq!(switch(&node, "weights/4", "name = weights/3").await, refused(invalid, "model", "model-name-differs"));
    for old in ["weights/1", "weights/2"] {
        let told = switch(&node, old, &format!("name = {old}")).await;
        assert_eq!(told, refused(precondition, "model", "model-not-newer"), "{old}");
    }
    let before = node.model.known_at();
    assert_eq!(switch(&node, "weights/3", "name = weights/3").await, None);
    assert_ne!(node.model.known_at(), before, "the switch is an event");
    assert_eq!(switch(&node, "weights/3", "name = weights/3").await, refused(precondition, "model", "model-not-newer"));
    assert_eq!(switch(&node, "strict/1", "name = strict/1").await, None);
    // Another name decides now; what has decided before stays what it was.
    assert_eq!(switch(&node, "weights/3", "name = weights/3").await, refused(precondition, "model", "model-used"));
    assert_eq!(switch(&node, "weights/4", "name = weights/4").await, None);
}

#[tokio::test]
async fn a_release_names_the_records_that_state_the_number() {
    let node = Node::start().await;
    let (_, first) = node.person(1, 1).await;
    node.person(2, 1).await;
    let number = nhs_number(1);
    let frozen = NhsNumberSwitched { nhs_number: number.clone(), ..NhsNumberSwitched::default() };
    node.identity(Payload::NhsNumberFrozen(frozen)).await;
    let request = ReleaseNumberRequest { context: context(), nhs_number: number.clone() };
    let answer = node.clients.link.clone().release_number(request.clone()).await.unwrap().into_inner();
    let position = Position::from_proto(answer.position.as_ref().unwrap()).unwrap();
    let Some(Payload::NhsNumberReleased(released)) = node.model.ruling_at(position).await.unwrap() else {
        panic!("{answer:?}")
    };
    assert_eq!(released.holders, [node.log_pseudonym(&first).to_vec()]);
    let again = node.clients.link.clone().release_number(request).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound, "{again:?}");
}
