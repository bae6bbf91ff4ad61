//! `LinkService`: what waits for a steward, why records are linked, and what stewards decide.
//!
//! A decision is one event in the identity stream, with its whole effect in it; whoever folds the stream needs nothing else.
//! Decisions are made one at a time on what that stream says, and a call returns when the read model shows its effect.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use weft_log::{AppendError, Draft, Receipt, Same, SharedLog};
use weft_model::{
    Clock, Payload, PersonId, Position, Pseudonym, Stream, Verdict,
    proto::{
        api::{
            DecideRequest, DecideResponse, ExplainRequest, ExplainResponse, Explanation, ListReviewsRequest,
            ListReviewsResponse, OtherPerson, PreviewRequest, PreviewResponse, ReleaseNumberRequest,
            ReleaseNumberResponse, Review, ReviewCount, Subject, SupersedeNumberRequest, SupersedeNumberResponse,
            SwitchModelRequest, SwitchModelResponse, subject::Of,
        },
        event::{LinkModelSwitched, NhsNumberSuperseded, NhsNumberSwitched},
    },
};
use weft_readmodel::{Decision, ReadModel, Waiting};

use super::{answer, projection, proposal};
use crate::{
    arguments,
    context::Asker,
    disclosure::{Answer, Asked, Disclosures},
    error::{Error, detail, invalid},
    generated::server::link_service_server::LinkService,
    models::{LinkModel, LinkModels},
    page::{Page, Walk},
};

const LIST: &str = "weft.v1.LinkService/ListReviews";
const EXPLAIN: &str = "weft.v1.LinkService/Explain";
const PREVIEW: &str = "weft.v1.LinkService/Preview";
const DECIDE: &str = "weft.v1.LinkService/Decide";
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 500;
/// Characters of a code.
const CODE_MAX: usize = 60;

/// The service.
pub(crate) struct Links {
    pub(super) log: SharedLog,
    pub(super) model: Arc<ReadModel>,
    link_models: Arc<dyn LinkModels>,
    disclosures: Arc<Disclosures>,
    clock: Arc<dyn Clock>,
    deciding: tokio::sync::Mutex<()>,
}

#[tonic::async_trait]
impl LinkService for Links {
    async fn list_reviews(
        &self,
        request: Request<ListReviewsRequest>,
    ) -> Result<Response<ListReviewsResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::of(request.context.as_ref());
        answer(&self.disclosures, LIST, asked, self.list(request)).await
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::of(request.context.as_ref());
        answer(&self.disclosures, EXPLAIN, asked, self.explain_record(request)).await
    }

    async fn preview(&self, request: Request<PreviewRequest>) -> Result<Response<PreviewResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::of(request.context.as_ref());
        answer(&self.disclosures, PREVIEW, asked, self.preview_proposal(request)).await
    }

    async fn decide(&self, request: Request<DecideRequest>) -> Result<Response<DecideResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::of(request.context.as_ref());
        answer(&self.disclosures, DECIDE, asked, self.decide_proposal(request)).await
    }

    async fn release_number(
        &self,
        request: Request<ReleaseNumberRequest>,
    ) -> Result<Response<ReleaseNumberResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::of(request.context.as_ref());
        answer(&self.disclosures, "weft.v1.LinkService/ReleaseNumber", asked, self.release(request)).await
    }

    async fn supersede_number(
        &self,
        request: Request<SupersedeNumberRequest>,
    ) -> Result<Response<SupersedeNumberResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::of(request.context.as_ref());
        answer(&self.disclosures, "weft.v1.LinkService/SupersedeNumber", asked, self.supersede(request)).await
    }

    async fn switch_model(
        &self,
        request: Request<SwitchModelRequest>,
    ) -> Result<Response<SwitchModelResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::of(request.context.as_ref());
        answer(&self.disclosures, "weft.v1.LinkService/SwitchModel", asked, self.switch(request)).await
    }
}

impl Links {
    pub(crate) fn new(
        log: SharedLog,
        model: Arc<ReadModel>,
        link_models: Arc<dyn LinkModels>,
        disclosures: Arc<Disclosures>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { log, model, link_models, disclosures, clock, deciding: tokio::sync::Mutex::new(()) }
    }

    async fn list(&self, request: ListReviewsRequest) -> Result<ListReviewsResponse, Error> {
        let asker = Asker::check(request.context)?;
        let code = arguments::optional_text("code", &request.code, CODE_MAX)?;
        if !code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return Err(invalid("code-invalid", "code", "is not lower-case letters, digits and hyphens"));
        }
        let size = arguments::size("page_size", request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
        let walk = Walk::new("ListReviews", &[code.as_bytes()]);
        let page = walk.read(&request.page_token)?;
        let wrong = |_| invalid("page-token-invalid", "page_token", "is not from an answer to this request");
        let after = page.as_ref().map(|page| page.key.parse().map_err(wrong)).transpose()?;
        let cut = page.map(|page| page.cut);
        let found = self.model.reviews(code, size, after, cut.as_ref()).await?;
        let next_page_token = found
            .next
            .map_or_else(String::new, |key| walk.token(&Page { cut: found.known_at.clone(), key: key.to_string() }));
        let mut persons: Vec<PersonId> = found.reviews.iter().flat_map(persons_in).collect();
        persons.sort_unstable();
        persons.dedup();
        let entries = found.reviews.len();
        let told = Answer { method: LIST, persons: &persons, entries, known_at: &found.known_at };
        self.disclosures.record(&asker, told).await?;
        let counts = found.counts.into_iter().map(|(code, waiting)| ReviewCount { code, waiting });
        Ok(ListReviewsResponse {
            reviews: found.reviews.into_iter().map(review).collect(),
            next_page_token,
            waiting: found.waiting,
            counts: counts.collect(),
            known_at: Some(found.known_at.to_proto()),
        })
    }

    async fn explain_record(&self, request: ExplainRequest) -> Result<ExplainResponse, Error> {
        let asker = Asker::check(request.context)?;
        let known_at = self.model.known_at();
        let (record, _) = self.subject("subject", request.subject).await?;
        let explained = self.model.explain(record).await?;
        let waiting = self.model.reviews_of(&[record]).await?.pop();
        let persons: Vec<PersonId> = explained.person.into_iter().collect();
        let entries = explained.decisions.len();
        self.disclosures
            .record(&asker, Answer { method: EXPLAIN, persons: &persons, entries, known_at: &known_at })
            .await?;
        if explained.decisions.is_empty() && explained.person.is_none() {
            return Err(unknown_record("subject").answered());
        }
        Ok(ExplainResponse {
            record: explained.record,
            person_id: explained.person.map(|person| person.to_string()).unwrap_or_default(),
            held: explained.held,
            review: waiting.map(review),
            decisions: explained.decisions.into_iter().map(explanation).collect(),
            known_at: Some(known_at.to_proto()),
        })
    }

    async fn preview_proposal(&self, request: PreviewRequest) -> Result<PreviewResponse, Error> {
        let asker = Asker::check(request.context)?;
        let decided_at = self.caught_up().await?;
        let known_at = self.model.known_at();
        let plan = proposal::plan(self, request.proposal, decided_at).await?;
        let effect = proposal::effect(self, &plan).await?;
        let persons = proposal::persons(&plan);
        let told = Answer { method: PREVIEW, persons: &persons, entries: effect.moves.len(), known_at: &known_at };
        self.disclosures.record(&asker, told).await?;
        Ok(PreviewResponse { effect: Some(effect), known_at: Some(known_at.to_proto()) })
    }

    async fn decide_proposal(&self, request: DecideRequest) -> Result<DecideResponse, Error> {
        let asker = Asker::check(request.context)?;
        let _one_at_a_time = self.deciding.lock().await;
        let decided_at = self.caught_up().await?;
        let mut decided = proposal::plan(self, request.proposal, decided_at).await?;
        let effect = proposal::effect(self, &decided).await?;
        let persons = proposal::persons(&decided);
        let known_at = self.model.known_at();
        // The answer speaks of the persons, so it is recorded before anything is done that could not be told.
        let told = Answer { method: DECIDE, persons: &persons, entries: effect.moves.len(), known_at: &known_at };
        self.disclosures.record(&asker, told).await?;
        (decided.by, decided.role) = (asker.user, asker.role);
        (decided.organisation, decided.reason) = (asker.organisation.to_string(), asker.reason);
        let receipt = self.append(decided_at, Payload::StewardDecided(decided)).await?;
        Ok(DecideResponse {
            position: Some(receipt.position.to_proto()),
            effect: Some(effect),
            known_at: Some(self.model.known_at().to_proto()),
        })
    }

    async fn release(&self, request: ReleaseNumberRequest) -> Result<ReleaseNumberResponse, Error> {
        let asker = Asker::check(request.context)?;
        let parsed = arguments::nhs_number(&request.nhs_number)?;
        let number = parsed.to_string();
        let _one_at_a_time = self.deciding.lock().await;
        let decided_at = self.caught_up().await?;
        let is_frozen = self.model.rulings().await?.into_iter().fold(false, |frozen, (_, ruling)| match ruling {
            Payload::NhsNumberFrozen(switched) if switched.nhs_number == number => true,
            Payload::NhsNumberReleased(switched) if switched.nhs_number == number => false,
            _ => frozen,
        });
        if !is_frozen {
            return Err(Error::NotFound(detail("number-not-frozen", "nhs_number", "is not frozen")));
        }
        let holders = self.model.records_stating(parsed).await?;
        let released = NhsNumberSwitched {
            nhs_number: number,
            holders: holders.iter().map(Pseudonym::to_vec).collect(),
            by: asker.user,
            role: asker.role,
            organisation: asker.organisation.to_string(),
            reason: asker.reason,
        };
        let receipt = self.append(decided_at, Payload::NhsNumberReleased(released)).await?;
        Ok(ReleaseNumberResponse { position: Some(receipt.position.to_proto()) })
    }

    async fn supersede(&self, request: SupersedeNumberRequest) -> Result<SupersedeNumberResponse, Error> {
        let asker = Asker::check(request.context)?;
        let superseded = arguments::nhs_number(&request.superseded)?;
        let retained = arguments::nhs_number(&request.retained)?;
        if superseded == retained {
            return Err(invalid("numbers-equal", "retained", "is the superseded number"));
        }
        let _one_at_a_time = self.deciding.lock().await;
        let decided_at = self.caught_up().await?;
        let told = NhsNumberSuperseded {
            superseded: superseded.to_string(),
            retained: retained.to_string(),
            by: asker.user,
            role: asker.role,
            organisation: asker.organisation.to_string(),
            reason: asker.reason,
        };
        let receipt = self.append(decided_at, Payload::NhsNumberSuperseded(told)).await?;
        Ok(SupersedeNumberResponse { position: Some(receipt.position.to_proto()) })
    }

    async fn switch(&self, request: SwitchModelRequest) -> Result<SwitchModelResponse, Error> {
        let SwitchModelRequest { context, model, file } = request;
        let asker = Asker::check(context)?;
        let model = self.read_model(&model, &file)?;
        let _one_at_a_time = self.deciding.lock().await;
        let decided_at = self.caught_up().await?;
        let mut held = vec![self.link_models.shipped().name];
        held.extend(self.model.rulings().await?.into_iter().filter_map(|(_, ruling)| match ruling {
            Payload::LinkModelSwitched(switched) => Some(switched.model),
            _ => None,
        }));
        // The newest decides now; the name of any other stands in decisions, and must mean one file for ever.
        if held.last().is_some_and(|deciding| model.is_no_newer_than(deciding)) {
            let text = "is the model that decides, or an earlier version of it: give the file a higher version";
            return Err(Error::Precondition(detail("model-not-newer", "model", text)));
        }
        if held.contains(&model.name) {
            let text = "has decided before: give the file a version of its own";
            return Err(Error::Precondition(detail("model-used", "model", text)));
        }
        let switched = LinkModelSwitched {
            model: model.name,
            file,
            by: asker.user,
            role: asker.role,
            organisation: asker.organisation.to_string(),
            reason: asker.reason,
        };
        let receipt = self.append(decided_at, Payload::LinkModelSwitched(switched)).await?;
        Ok(SwitchModelResponse { position: Some(receipt.position.to_proto()) })
    }

    /// The model that a request brings, which must be the one that it names.
    fn read_model(&self, name: &str, file: &[u8]) -> Result<LinkModel, Error> {
        let name = arguments::text("model", name, CODE_MAX)?;
        if file.is_empty() {
            return Err(arguments::required("file"));
        }
        let text = std::str::from_utf8(file).map_err(|_| invalid("not-text", "file", "is not UTF-8"))?;
        let model = self.link_models.check(text).map_err(|mistake| invalid(&mistake.code, "file", mistake.text))?;
        if model.name != name {
            return Err(invalid("model-name-differs", "model", "is not the name in the file"));
        }
        Ok(model)
    }

    /// The record that a request is about, and the question, where it names one.
    pub(super) async fn subject(
        &self,
        field: &str,
        subject: Option<Subject>,
    ) -> Result<(Pseudonym, Option<Waiting>), Error> {
        match subject.and_then(|subject| subject.of) {
            None => Err(arguments::required(field)),
            Some(Of::Record(record)) => Ok((self.log.pseudonym(&record), None)),
            Some(Of::Review(position)) => {
                let wrong = |_| invalid("position-invalid", format!("{field}.review"), "is not one of the streams");
                let position = Position::from_proto(&position).map_err(wrong)?;
                let waiting = self.model.review_at(position).await?.ok_or_else(|| {
                    Error::NotFound(detail(
                        "review-unknown",
                        format!("{field}.review"),
                        "no question waits there (any more)",
                    ))
                })?;
                Ok((waiting.pseudonym, Some(waiting)))
            }
        }
    }

    /// Appends what somebody decided when the identity stream had `decided_at` events, and waits until the read model shows
    /// it. It stands from the append on: a read model that is behind makes the call slow, not wrong.
    async fn append(&self, decided_at: u64, payload: Payload) -> Result<Receipt, Error> {
        // The same decision made again on the same state of the stream is the same decision.
        let mut name = decided_at.to_be_bytes().to_vec();
        name.extend(payload.encode());
        let draft = Draft {
            same: Same::Name(name),
            feed: String::new(),
            control_id: String::new(),
            message_type: String::new(),
            verdict: Verdict::Unspecified,
            received_us: self.clock.now_us(),
            cause: None,
            payload,
        };
        let receipts = self.log.append(vec![draft]).await.map_err(|error| match error {
            AppendError::TooLarge { .. } => invalid("decision-too-large", "proposal", "is about too many records"),
            AppendError::Unavailable(_) => Error::Unavailable("the decision could not be stored", error.into()),
        })?;
        let receipt = *receipts.first().ok_or_else(|| Error::Internal("the log gave no receipt".into()))?;
        if !projection::projected(&self.model, receipt.position.partition, receipt.position.offset + 1).await {
            tracing::info!("a decision is stored and not projected yet");
        }
        Ok(receipt)
    }

    /// Waits until the read model has applied all of the identity stream; returns the size of that.
    async fn caught_up(&self) -> Result<u64, Error> {
        let identity = Stream::Identity.partition(0);
        projection::caught_up(&self.log, &self.model, identity, "the read model is behind the identity stream").await
    }
}

fn persons_in(waiting: &Waiting) -> impl Iterator<Item = PersonId> {
    let (with, other) = (&waiting.decision.person, &waiting.decision.runner_up);
    [PersonId::from_bytes(with), PersonId::from_bytes(other)].into_iter().flatten()
}

/// Whom a question is about besides the person that the record is with; `None` where the link itself is in doubt.
pub(super) fn other_person(waiting: &Waiting) -> Option<PersonId> {
    PersonId::from_bytes(&waiting.decision.runner_up).ok().filter(|other| other.0.as_slice() != waiting.decision.person)
}

fn review(waiting: Waiting) -> Review {
    let other = other_person(&waiting);
    let Waiting { position, record, decision, risk, asked_us, .. } = waiting;
    Review {
        position: Some(position.to_proto()),
        record,
        person_id: person_text(&decision.person),
        other_person_id: other.map(|person| person.to_string()).unwrap_or_default(),
        codes: decision.review,
        score: decision.score,
        threshold: decision.threshold,
        evidence: decision.evidence,
        model: decision.model,
        asked_us,
        risk,
    }
}

fn explanation(decision: Decision) -> Explanation {
    let Decision { position, decided_us, linked, steward } = decision;
    let mut others: Vec<OtherPerson> = linked
        .others
        .iter()
        .map(|other| OtherPerson { person_id: person_text(&other.person), score: other.score })
        .collect();
    if others.is_empty() && !linked.runner_up.is_empty() {
        others.push(OtherPerson { person_id: person_text(&linked.runner_up), score: linked.runner_up_score });
    }
    Explanation {
        position: Some(position.to_proto()),
        decided_us,
        person_id: person_text(&linked.person),
        method: linked.method,
        score: linked.score,
        threshold: linked.threshold,
        evidence: linked.evidence,
        model: linked.model,
        normaliser: linked.normaliser,
        frequencies: linked.frequencies,
        candidates: linked.candidates,
        others,
        review: linked.review,
        steward,
    }
}

fn person_text(bytes: &[u8]) -> String {
    PersonId::from_bytes(bytes).map(|person| person.to_string()).unwrap_or_default()
}

/// No message has told of this record, or it has not been linked yet.
pub(super) fn unknown_record(field: &str) -> Error {
    Error::NotFound(detail("record-unknown", field, "no record with this identifier is linked"))
}
