//! Reading messages again that were kept and not projected: the bytes in the log, by the profile of their feed as it is now.
//!
//! The log decides what is stored, as it does for a message that its sender sends again, so nothing here must be certain: what
//! the read model does not show yet as redriven the log finds out, and a call that was cut short is made again. Messages are
//! appended in the order in which they were received.

use std::{collections::BTreeMap, sync::Arc};

use weft_log::{AppendError, Draft, Receipt, Same};
use weft_model::{
    Partition, Payload, Position, Stream, Verdict,
    proto::{
        api::{QuarantinedMessage, RedriveOutcome, RedriveRequest, RedriveResponse, Redriven},
        event::Redriver,
    },
};
use weft_readmodel::Kept;

use super::{
    feed::{FEED_LENGTH_MAX, Feeds, unknown_feed},
    projection,
    quarantine::{self, event_at},
};
use crate::{
    arguments,
    context::Asker,
    error::{Error, detail, invalid},
    feeds::{MessageReader, Reading},
    page::Walk,
};

const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1000;
/// Bounds of what is appended in one call: a page may hold more. Of each message the log reads what it was kept as.
const CALL_MESSAGES_MAX: usize = 100;
const CALL_BYTES_MAX: usize = 8 << 20;

/// Which messages are asked for.
enum Which {
    Named(Vec<Position>),
    /// Of one feed, or of all.
    Quarantined(Option<String>),
}

/// A page of messages, read again and appended.
pub(super) async fn redrive(node: &Feeds, request: RedriveRequest) -> Result<RedriveResponse, Error> {
    let asker = Asker::check(request.context.clone())?;
    let which = which(&request)?;
    // The profile that was registered last, and what was received last, as far as whoever asks can have seen it.
    node.caught_up().await?;
    for partition in node.log.partitions().into_iter().filter(|partition| partition.stream == Stream::Feed) {
        let behind = "the read model is behind the feed stream";
        projection::caught_up(&node.log, &node.model, partition, behind).await?;
    }
    let (messages, next_page_token) = match which {
        Which::Named(positions) => (named(node, &positions).await?, String::new()),
        Which::Quarantined(feed) => page(node, feed.as_deref(), &request).await?,
    };
    let by = Redriver {
        by: asker.user,
        role: asker.role,
        organisation: asker.organisation.as_str().to_owned(),
        reason: asker.reason,
    };
    let mut reading = Redriving { node, by, preview: request.preview, feeds: BTreeMap::new() };
    let messages = reading.redrive(messages).await?;
    Ok(RedriveResponse { messages, next_page_token })
}

fn which(request: &RedriveRequest) -> Result<Which, Error> {
    let feed = arguments::optional_text("feed", &request.feed, FEED_LENGTH_MAX)?;
    match (request.positions.as_slice(), feed, request.all) {
        ([], "", true) => Ok(Which::Quarantined(None)),
        ([], feed, false) if !feed.is_empty() => Ok(Which::Quarantined(Some(feed.to_owned()))),
        (positions @ [_, ..], "", false) if positions.len() <= PAGE_MAX => {
            let mut all = Vec::with_capacity(positions.len());
            for position in positions {
                all.push(arguments::position(Some(position))?);
            }
            Ok(Which::Named(all))
        }
        ([_, ..], "", false) => Err(invalid("list-too-long", "positions", format!("has more than {PAGE_MAX} values"))),
        _ => Err(invalid("messages-unclear", "positions", "is to be said, or feed, or all, and only one of them")),
    }
}

/// The messages at these positions, in the order in which they were received.
async fn named(node: &Feeds, positions: &[Position]) -> Result<Vec<QuarantinedMessage>, Error> {
    let mut messages: BTreeMap<(i64, Position), QuarantinedMessage> = BTreeMap::new();
    for position in positions {
        // One that nothing is known of is told as such, in its place.
        let nothing = QuarantinedMessage { position: Some(position.to_proto()), ..QuarantinedMessage::default() };
        let message = quarantine::held(node, *position).await?.unwrap_or(nothing);
        messages.insert((message.received_us, *position), message);
    }
    Ok(messages.into_values().collect())
}

/// A page of what is quarantined now, and the token of the next. What is in conflict is passed over.
async fn page(
    node: &Feeds,
    feed: Option<&str>,
    request: &RedriveRequest,
) -> Result<(Vec<QuarantinedMessage>, String), Error> {
    let size = arguments::size("page_size", request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
    let walk = Walk::new("Redrive", &[feed.unwrap_or_default().as_bytes(), &[u8::from(request.preview)]]);
    let page = walk.read(&request.page_token)?;
    if let Some(feed) = feed
        && node.held(feed).await?.ok_or_else(unknown_feed)?.paused
    {
        return Err(Error::Precondition(detail("feed-paused", "feed", "the feed is paused: resume it first")));
    }
    let (mut messages, next_page_token) =
        quarantine::messages(node, feed, Kept::NowOldestFirst, size, &walk, page).await?;
    messages.retain(|message| message.verdict() == Verdict::Quarantined);
    Ok((messages, next_page_token))
}

/// Messages on their way through the present profiles.
struct Redriving<'a> {
    node: &'a Feeds,
    by: Redriver,
    preview: bool,
    feeds: BTreeMap<String, Feed>,
}

/// How the messages of a feed are read now.
#[derive(Clone)]
enum Feed {
    Unknown,
    Paused,
    Reads(Arc<dyn MessageReader>),
}

impl Redriving<'_> {
    async fn redrive(&mut self, messages: Vec<QuarantinedMessage>) -> Result<Vec<Redriven>, Error> {
        let mut all: Vec<Redriven> = Vec::with_capacity(messages.len());
        let mut waiting = Waiting::default();
        for message in messages {
            let mut told = Redriven {
                position: message.position,
                feed: message.feed.clone(),
                control_id: message.control_id.clone(),
                message_type: message.message_type.clone(),
                ..Redriven::default()
            };
            if let Some(draft) = self.read(&message, &mut told).await? {
                waiting.add(all.len(), draft);
            }
            all.push(told);
            if waiting.bytes > CALL_BYTES_MAX || waiting.drafts.len() >= CALL_MESSAGES_MAX {
                self.append(&mut waiting, &mut all).await?;
            }
        }
        self.append(&mut waiting, &mut all).await?;
        for (partition, size) in waiting.sizes {
            if !projection::projected(&self.node.model, partition, size).await {
                tracing::info!(%partition, "messages are redriven and not projected yet");
            }
        }
        Ok(all)
    }

    /// Reads one message again; what is to be appended of it. Where that is nothing, `told` says why.
    async fn read(&mut self, message: &QuarantinedMessage, told: &mut Redriven) -> Result<Option<Draft>, Error> {
        let position = message.position.as_ref().and_then(|position| Position::from_proto(position).ok());
        let (Some(position), false) = (position, message.feed.is_empty()) else {
            told.set_outcome(RedriveOutcome::NotHeld);
            return Ok(None);
        };
        if let Some(accepted_at) = message.redriven_to {
            told.set_outcome(RedriveOutcome::RedrivenBefore);
            told.accepted_at = Some(accepted_at);
            return Ok(None);
        }
        let reader = match self.feed(&message.feed).await? {
            Feed::Reads(reader) => reader,
            Feed::Paused => {
                told.set_outcome(RedriveOutcome::PausedFeed);
                return Ok(None);
            }
            Feed::Unknown => {
                told.set_outcome(RedriveOutcome::NotHeld);
                return Ok(None);
            }
        };
        let event = match event_at(&self.node.log, position).await {
            Ok(event) => event,
            Err(Error::Precondition(_)) => {
                told.set_outcome(RedriveOutcome::Erased);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let before = quarantine::received(&event, position)?;
        let Reading { message_type, verdict, message: mut received } = reader.read(before.raw.clone());
        told.issues.clone_from(&received.issues);
        if verdict != Verdict::Accepted {
            told.set_outcome(RedriveOutcome::StillHeld);
            told.reason = received.reason;
            return Ok(None);
        }
        if self.preview {
            told.set_outcome(RedriveOutcome::AcceptedNow);
            return Ok(None);
        }
        received.redriven_by = Some(self.by.clone());
        Ok(Some(Draft {
            same: Same::Redriven,
            feed: event.header.feed.clone(),
            // As it was read then: it is part of what makes it this message.
            control_id: event.header.control_id.clone(),
            message_type,
            verdict,
            received_us: self.node.clock.now_us(),
            cause: None,
            payload: Payload::MessageReceived(received),
        }))
    }

    async fn feed(&mut self, feed: &str) -> Result<Feed, Error> {
        if let Some(known) = self.feeds.get(feed) {
            return Ok(known.clone());
        }
        let how = match self.node.held(feed).await? {
            None => Feed::Unknown,
            Some(held) if held.paused => Feed::Paused,
            Some(held) => {
                let reader = self.node.control.reader(&held.profile_toml, held.revision);
                let text = "the feed's profile cannot be read any more: register it again";
                Feed::Reads(reader.map_err(|_| Error::Precondition(detail("profile-unreadable", "feed", text)))?)
            }
        };
        self.feeds.insert(feed.to_owned(), how.clone());
        Ok(how)
    }

    /// Appends what waits, and says what became of it. What one call cannot hold is appended message by message.
    async fn append(&self, waiting: &mut Waiting, all: &mut [Redriven]) -> Result<(), Error> {
        waiting.bytes = 0;
        let (numbers, drafts): (Vec<usize>, Vec<Draft>) = std::mem::take(&mut waiting.drafts).into_iter().unzip();
        if drafts.is_empty() {
            return Ok(());
        }
        let mut receipts = Vec::with_capacity(drafts.len());
        match self.node.log.append(drafts.clone()).await {
            Ok(all) => receipts.extend(all.into_iter().map(Some)),
            Err(AppendError::TooLarge { .. }) => {
                for draft in drafts {
                    match self.node.log.append(vec![draft]).await {
                        Ok(one) => receipts.push(one.first().copied()),
                        Err(AppendError::TooLarge { .. }) => receipts.push(None),
                        Err(error) => return Err(unavailable(error)),
                    }
                }
            }
            Err(error) => return Err(unavailable(error)),
        }
        for (number, receipt) in numbers.into_iter().zip(receipts) {
            let Some(told) = all.get_mut(number) else { continue };
            tell(told, receipt);
            if let Some(Receipt { position, verdict: Verdict::Accepted, .. }) = receipt {
                let size = waiting.sizes.entry(position.partition).or_default();
                *size = (*size).max(position.offset + 1);
            }
        }
        Ok(())
    }
}

/// What is to be appended.
#[derive(Default)]
struct Waiting {
    /// With the number of the message that each is of.
    drafts: Vec<(usize, Draft)>,
    bytes: usize,
    /// How long the partitions are by what was appended.
    sizes: BTreeMap<Partition, u64>,
}

impl Waiting {
    fn add(&mut self, number: usize, draft: Draft) {
        if let Payload::MessageReceived(message) = &draft.payload {
            self.bytes += message.raw.len();
        }
        self.drafts.push((number, draft));
    }
}

fn tell(told: &mut Redriven, receipt: Option<Receipt>) {
    match receipt {
        Some(Receipt { position, verdict, stored: Verdict::Accepted, .. }) => {
            let now = verdict == Verdict::Accepted;
            told.set_outcome(if now { RedriveOutcome::AcceptedNow } else { RedriveOutcome::RedrivenBefore });
            told.accepted_at = Some(position.to_proto());
        }
        Some(_) => told.set_outcome(RedriveOutcome::StillHeld),
        None => {
            told.set_outcome(RedriveOutcome::StillHeld);
            "too-large".clone_into(&mut told.reason);
        }
    }
}

fn unavailable(error: AppendError) -> Error {
    Error::Unavailable("not all messages could be stored; those that were are redriven", error.into())
}
