//! `TimelineService`: a person's history, a page at a time or as it grows.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_stream::try_stream;
use bytes::Bytes;
use futures::{Stream, StreamExt, future::ready, stream::BoxStream};
use prost::Message;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use weft_log::SharedLog;
use weft_model::{
    Cut, Partition, PersonId, SourceRecordId,
    proto::api::{GetEntryRequest, GetTimelineRequest, StreamTimelineRequest, TimelineFilter},
};
use weft_readmodel::{PageKey, ReadModel};

use super::{answer, person::unknown_person, quarantine::message_at, status};
use crate::{
    arguments,
    context::Asker,
    disclosure::{Answer, Asked, Disclosures},
    error::{Error, detail, invalid},
    generated::server::timeline_service_server::TimelineService,
    moments::Moments,
    page::{Page, Walk},
    wire::{GetEntryResponse, GetTimelineResponse, StreamTimelineResponse},
};

const GET: &str = "weft.v1.TimelineService/GetTimeline";
const STREAM: &str = "weft.v1.TimelineService/StreamTimeline";
const ENTRY: &str = "weft.v1.TimelineService/GetEntry";
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1000;
/// Entries of one message of a stream.
const STREAM_PAGE: usize = 200;
/// A stream looks for changes at most this often, however many commits there are.
const STREAM_PAUSE: Duration = Duration::from_millis(50);

/// The service. Cloning shares everything.
#[derive(Clone)]
pub(crate) struct Timelines {
    pub(crate) log: SharedLog,
    pub(crate) model: Arc<ReadModel>,
    pub(crate) moments: Moments,
    pub(crate) disclosures: Arc<Disclosures>,
    pub(crate) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl TimelineService for Timelines {
    type StreamTimelineStream = BoxStream<'static, Result<StreamTimelineResponse, Status>>;

    async fn get_timeline(
        &self,
        request: Request<GetTimelineRequest>,
    ) -> Result<Response<GetTimelineResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::about(request.context.as_ref(), &request.person_id);
        answer(&self.disclosures, GET, asked, self.page(request)).await
    }

    async fn stream_timeline(
        &self,
        request: Request<StreamTimelineRequest>,
    ) -> Result<Response<Self::StreamTimelineStream>, Status> {
        let request = request.into_inner();
        let asked = Asked::about(request.context.as_ref(), &request.person_id);
        let messages = self.follow(request);
        let messages = messages.map(|messages| messages.map(|m| m.map_err(|e| status(STREAM, &e))).boxed());
        answer(&self.disclosures, STREAM, asked, ready(messages)).await
    }

    async fn get_entry(&self, request: Request<GetEntryRequest>) -> Result<Response<GetEntryResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::about(request.context.as_ref(), &request.person_id);
        answer(&self.disclosures, ENTRY, asked, self.entry(request)).await
    }
}

impl Timelines {
    async fn page(&self, request: GetTimelineRequest) -> Result<GetTimelineResponse, Error> {
        let asker = Asker::check(request.context)?;
        let person = arguments::person_id(&request.person_id)?;
        let size = arguments::size("page_size", request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
        let parts =
            [request.filter.as_ref().map(Message::encode_to_vec), request.as_of.as_ref().map(Message::encode_to_vec)];
        let [filter, as_of] = parts.map(Option::unwrap_or_default);
        let walk = Walk::new(GET, &[&person.0, &filter, &as_of]);
        let filter = arguments::filter(request.filter)?;
        let now = self.model.known_at();
        let (as_of, after) = match walk.read(&request.page_token)? {
            Some(page) => (Some(page.cut), Some(page_key(&page.key)?)),
            None => (arguments::as_of(request.as_of.as_ref(), &self.moments, &now).await?, None),
        };
        let Some(found) = self.model.timeline(person, &filter, size, after, as_of.as_ref()).await? else {
            let known_at = as_of.as_ref().unwrap_or(&now);
            return Err(self.nobody(&asker, GET, person, known_at).await);
        };
        let answer =
            Answer { method: GET, persons: &[person], entries: found.entries.len(), known_at: &found.known_at };
        self.disclosures.record(&asker, answer).await?;
        let known_at = Some(found.known_at.to_proto());
        let next = found.next.map(|key| Page { cut: found.known_at, key: key.to_string() });
        Ok(GetTimelineResponse {
            entries: found.entries,
            next_page_token: next.map(|page| walk.token(&page)).unwrap_or_default(),
            known_at,
            parked_records: found.parked_records,
        })
    }

    async fn entry(&self, request: GetEntryRequest) -> Result<GetEntryResponse, Error> {
        let asker = Asker::check(request.context)?;
        let person = arguments::person_id(&request.person_id)?;
        let entry_id = arguments::text("entry_id", &request.entry_id, 100)?;
        let known_at = self.model.known_at();
        let found = self.model.entry(person, entry_id, Some(&known_at)).await?;
        let resource_json = match &found {
            Some(found) => {
                let mut facts = message_at(&self.log, found.position).await?.facts;
                let missing = || Error::Internal(format!("{} has no such fact", found.position).into());
                let fact = facts.get_mut(found.fact_index).ok_or_else(missing)?;
                String::from_utf8(std::mem::take(&mut fact.resource).into())
                    .map_err(|_| Error::Internal("a resource is no text".into()))?
            }
            None => String::new(),
        };
        let answer = Answer { method: ENTRY, persons: &[person], entries: found.iter().len(), known_at: &known_at };
        self.disclosures.record(&asker, answer).await?;
        match found {
            Some(found) => Ok(GetEntryResponse { entry: found.entry, resource_json }),
            None if self.model.person(person, Some(&known_at)).await?.is_none() => Err(unknown_person().answered()),
            None => {
                Err(Error::Answered(detail("entry-unknown", "entry_id", "this person's timeline has no such entry")))
            }
        }
    }

    /// The refusal that nobody has an identifier. It says something about who is known, so it is recorded too.
    async fn nobody(&self, asker: &Asker, method: &'static str, person: PersonId, known_at: &Cut) -> Error {
        let answer = Answer { method, persons: &[person], entries: 0, known_at };
        match self.disclosures.record(asker, answer).await {
            Ok(()) => unknown_person().answered(),
            Err(not_recorded) => not_recorded,
        }
    }

    fn follow(
        &self,
        request: StreamTimelineRequest,
    ) -> Result<impl Stream<Item = Result<StreamTimelineResponse, Error>> + use<>, Error> {
        let asker = Asker::check(request.context)?;
        let person = arguments::person_id(&request.person_id)?;
        let filter = arguments::filter(request.filter)?;
        Ok(Follow { node: self.clone(), asker, person, filter }.messages())
    }
}

/// One stream: it reads only when the caller takes a message, so that a slow caller gets what changed meanwhile at once
/// and costs no memory. It is dropped with the call.
struct Follow {
    node: Timelines,
    asker: Asker,
    person: PersonId,
    filter: TimelineFilter,
}

impl Follow {
    fn messages(self) -> impl Stream<Item = Result<StreamTimelineResponse, Error>> {
        try_stream! {
            // Before the first read, so that no commit is missed.
            let mut changes = self.node.model.changes();
            let mut cut = self.node.model.known_at();
            let mut after = None;
            loop {
                let (message, next) = self.history(after, &cut).await?;
                yield message;
                after = next;
                if after.is_none() {
                    break;
                }
            }
            let mut records = self.records(&cut).await?;
            loop {
                self.changed(&mut changes).await?;
                let Some(found) =
                    self.node.model.entries_changed_since(self.person, &self.filter, &cut).await?
                else {
                    Err(self.node.nobody(&self.asker, STREAM, self.person, &cut).await)?;
                    return;
                };
                if identity(&found.known_at) != identity(&cut) {
                    let held = self.records(&found.known_at).await?;
                    if !held.is_superset(&records) {
                        Err(records_left())?;
                    }
                    records = held;
                }
                cut = found.known_at;
                for entries in found.entries.chunks(STREAM_PAGE) {
                    yield self.told(entries.to_vec(), &cut, true).await?;
                }
            }
        }
    }

    /// A page of the history as of `cut`, and where the next one starts.
    async fn history(
        &self,
        after: Option<PageKey>,
        cut: &Cut,
    ) -> Result<(StreamTimelineResponse, Option<PageKey>), Error> {
        let page = self.node.model.timeline(self.person, &self.filter, STREAM_PAGE, after, Some(cut)).await?;
        let Some(page) = page else { return Err(self.node.nobody(&self.asker, STREAM, self.person, cut).await) };
        let message = self.told(page.entries, &page.known_at, page.next.is_none()).await?;
        Ok((message, page.next))
    }

    /// A message, once it is recorded that it leaves.
    async fn told(
        &self,
        entries: Vec<Bytes>,
        known_at: &Cut,
        caught_up: bool,
    ) -> Result<StreamTimelineResponse, Error> {
        let answer = Answer { method: STREAM, persons: &[self.person], entries: entries.len(), known_at };
        self.node.disclosures.record(&self.asker, answer).await?;
        Ok(StreamTimelineResponse { entries, known_at: Some(known_at.to_proto()), caught_up })
    }

    /// Waits for a commit, and a little longer for those that follow it.
    async fn changed(&self, changes: &mut watch::Receiver<u64>) -> Result<(), Error> {
        let ending = || Error::Unavailable("the node is ending", "shutdown".into());
        tokio::select! {
            () = self.node.shutdown.cancelled() => return Err(ending()),
            changed = changes.changed() => changed.map_err(|_| ending())?,
        }
        tokio::time::sleep(STREAM_PAUSE).await;
        changes.mark_unchanged();
        Ok(())
    }

    /// The records of the person as of `cut`.
    async fn records(&self, cut: &Cut) -> Result<BTreeSet<RecordKey>, Error> {
        let person = self.node.model.person(self.person, Some(cut)).await?;
        let records = person.into_iter().flat_map(|person| person.records);
        Ok(records.filter_map(|record| record.record).map(key).collect())
    }
}

type RecordKey = (String, String, String);

fn key(record: SourceRecordId) -> RecordKey {
    (record.organisation, record.system, record.value)
}

/// The part of a cut that says who is whom.
fn identity(cut: &Cut) -> Vec<(&Partition, &u64)> {
    cut.0.iter().filter(|(partition, _)| partition.stream == weft_model::Stream::Identity).collect()
}

/// A stream can add and change lines; it has no word for "these lines are somebody else's".
fn records_left() -> Error {
    Error::Precondition(detail(
        "records-left",
        "person_id",
        "records were found to be another person's: drop what was streamed and read the timeline again",
    ))
}

fn page_key(text: &str) -> Result<PageKey, Error> {
    text.parse().map_err(|_| invalid("page-token-invalid", "page_token", "is not from an answer to this request"))
}
