//! Quarantine, as `FeedService` shows it: which messages are held and why, and one of them as it was sent.

use std::sync::Arc;

use weft_log::{ReadLimit, SharedLog};
use weft_model::{
    Event, Payload, PersonId, Position, Stream,
    proto::{
        api::{
            GetQuarantinedRequest, GetQuarantinedResponse, ListQuarantineRequest, ListQuarantineResponse,
            LocalIdentifier, QuarantinedMessage,
        },
        event::MessageReceived,
    },
};
use weft_readmodel::Kept;

use super::feed::{FEED_LENGTH_MAX, Feeds, unknown_feed};
use crate::{
    arguments,
    context::Asker,
    disclosure::Answer,
    error::{Error, detail, invalid},
    page::{Page, Walk},
};

const GET: &str = "weft.v1.FeedService/GetQuarantined";
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1000;
/// Persons that one record can be of, should the log hold two systems with one name.
const PERSONS_MAX: usize = 50;

/// A page, newest first. What is listed names no person and no value of a message: it is not a disclosure.
pub(super) async fn list(node: &Feeds, request: ListQuarantineRequest) -> Result<ListQuarantineResponse, Error> {
    Asker::check(request.context)?;
    let feed = arguments::optional_text("feed", &request.feed, FEED_LENGTH_MAX)?;
    let size = arguments::size("page_size", request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
    let kept = if request.with_redriven { Kept::All } else { Kept::Now };
    let walk = Walk::new("ListQuarantine", &[feed.as_bytes(), &[u8::from(request.with_redriven)]]);
    let page = walk.read(&request.page_token)?;
    if !feed.is_empty() && node.held(feed).await?.is_none() {
        return Err(unknown_feed());
    }
    let of = Some(feed).filter(|feed| !feed.is_empty());
    let (messages, next_page_token) = messages(node, of, kept, size, &walk, page).await?;
    Ok(ListQuarantineResponse { messages, next_page_token })
}

/// The messages of one page of `walk`, and the token of the next: empty after the last.
pub(super) async fn messages(
    node: &Feeds,
    feed: Option<&str>,
    kept: Kept,
    size: usize,
    walk: &Walk,
    page: Option<Page>,
) -> Result<(Vec<QuarantinedMessage>, String), Error> {
    let after = page.as_ref().map(|page| position(&page.key)).transpose()?;
    let cut = page.map_or_else(|| node.model.known_at(), |page| page.cut);
    let mut messages = node.model.quarantine(feed, kept, size + 1, after).await?;
    let mut next_page_token = String::new();
    if messages.len() > size {
        messages.truncate(size);
        let last = messages.last().and_then(|message| Position::from_proto(message.position.as_ref()?).ok());
        let key = last.map(|last| last.to_string()).unwrap_or_default();
        next_page_token = walk.token(&Page { cut, key });
    }
    Ok((messages, next_page_token))
}

fn position(key: &str) -> Result<Position, Error> {
    key.parse().map_err(|_| invalid("page-token-invalid", "page_token", "is not from an answer to this request"))
}

/// One message with its bytes, opened from the log.
pub(super) async fn get(node: &Feeds, request: GetQuarantinedRequest) -> Result<GetQuarantinedResponse, Error> {
    let asker = Asker::check(request.context)?;
    let position = arguments::position(request.position.as_ref())?;
    let known_at = node.model.known_at();
    let opened = match held(node, position).await? {
        Some(message) => Some((message, message_at(&node.log, position).await?)),
        None => None,
    };
    let persons = match &opened {
        Some((_, received)) => persons_of(node, received).await?,
        None => Vec::new(),
    };
    let answer = Answer { method: GET, persons: &persons, entries: opened.iter().len(), known_at: &known_at };
    node.disclosures.record(&asker, answer).await?;
    let (message, received) = opened.ok_or_else(|| {
        Error::Answered(detail("not-in-quarantine", "position", "no message is in quarantine at this position"))
    })?;
    Ok(GetQuarantinedResponse { message: Some(message), raw: received.raw.to_vec() })
}

pub(super) async fn held(node: &Feeds, position: Position) -> Result<Option<QuarantinedMessage>, Error> {
    if position.partition.stream != Stream::Feed {
        return Ok(None);
    }
    Ok(node.model.quarantined(position).await?)
}

/// Whom the message is about, as far as that is known: a message may name a record that was never linked.
async fn persons_of(node: &Feeds, received: &MessageReceived) -> Result<Vec<PersonId>, Error> {
    let Some(record) = &received.record else { return Ok(Vec::new()) };
    let identifier = LocalIdentifier {
        organisation: record.organisation.clone(),
        system: record.system.clone(),
        value: record.value.clone(),
    };
    let found = node.model.find_by_local_identifier(&identifier, PERSONS_MAX, None).await?;
    Ok(found.persons.iter().filter_map(|person| person.person_id.parse().ok()).collect())
}

/// The message at `position`.
pub(super) async fn message_at(log: &SharedLog, position: Position) -> Result<MessageReceived, Error> {
    received(&*event_at(log, position).await?, position).cloned()
}

/// The message that `event` is.
pub(super) fn received(event: &Event, position: Position) -> Result<&MessageReceived, Error> {
    match &event.payload {
        Payload::MessageReceived(received) => Ok(received),
        payload => {
            Err(Error::Internal(format!("{position} holds {}, not a message", payload.kind().as_str_name()).into()))
        }
    }
}

/// Opens the event at `position`.
pub(super) async fn event_at(log: &SharedLog, position: Position) -> Result<Arc<Event>, Error> {
    let one = ReadLimit { events: 1, bytes: 0 };
    let stored = log.read(position, one).await?;
    let stored = stored.first().ok_or_else(|| Error::Internal(format!("nothing is stored at {position}").into()))?;
    Ok(log.open(stored).await?)
}
