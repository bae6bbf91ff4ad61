//! `FeedService`: registering, watching and switching feeds.
//!
//! A change is an event in the control stream; the node's connector follows that stream and needs no call from here.
//! Changes are made one at a time on what the control stream says, not on what happens to be projected, and a call
//! returns when the read model shows its effect: who lists feeds next sees it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tonic::{Request, Response, Status};
use weft_log::{AppendError, Draft, FeedStatistics, Receipt, Same, SharedLog};
use weft_model::{
    Clock, Payload, Position, Stream, Verdict,
    proto::{
        api::{
            Feed, FeedHealth, FeedState, GetFeedRequest, GetFeedResponse, GetQuarantinedRequest,
            GetQuarantinedResponse, ListFeedsRequest, ListFeedsResponse, ListQuarantineRequest, ListQuarantineResponse,
            RedriveRequest, RedriveResponse, RegisterFeedRequest, RegisterFeedResponse, SwitchFeedRequest,
            SwitchFeedResponse,
        },
        event::{FeedRegistered, FeedSwitched, Issue},
    },
};
use weft_readmodel::ReadModel;

use super::{answer, projection, quarantine, redrive};
use crate::{
    arguments,
    context::Asker,
    disclosure::{Asked, Disclosures},
    error::{Error, detail, invalid},
    feeds::{FeedControl, FeedStatus},
    generated::server::feed_service_server::FeedService,
};

/// How long a change waits for the connector, which tries the address.
const CONNECTED_WAIT: Duration = Duration::from_secs(1);
const CONNECTED_POLL: Duration = Duration::from_millis(20);
/// Feed identifiers are shorter; anything longer is not worth looking for.
pub(super) const FEED_LENGTH_MAX: usize = 100;

/// The service.
pub(crate) struct Feeds {
    pub(super) log: SharedLog,
    pub(super) model: Arc<ReadModel>,
    pub(super) disclosures: Arc<Disclosures>,
    pub(super) control: Arc<dyn FeedControl>,
    pub(super) clock: Arc<dyn Clock>,
    changing: tokio::sync::Mutex<()>,
}

#[tonic::async_trait]
impl FeedService for Feeds {
    async fn register_feed(
        &self,
        request: Request<RegisterFeedRequest>,
    ) -> Result<Response<RegisterFeedResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::of(request.context.as_ref());
        answer(&self.disclosures, "weft.v1.FeedService/RegisterFeed", asked, self.register(request)).await
    }

    async fn list_feeds(&self, request: Request<ListFeedsRequest>) -> Result<Response<ListFeedsResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::of(request.context.as_ref());
        answer(&self.disclosures, "weft.v1.FeedService/ListFeeds", asked, self.list(request)).await
    }

    async fn get_feed(&self, request: Request<GetFeedRequest>) -> Result<Response<GetFeedResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::of(request.context.as_ref());
        answer(&self.disclosures, "weft.v1.FeedService/GetFeed", asked, self.get(request)).await
    }

    async fn pause_feed(&self, request: Request<SwitchFeedRequest>) -> Result<Response<SwitchFeedResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::of(request.context.as_ref());
        answer(&self.disclosures, "weft.v1.FeedService/PauseFeed", asked, self.switch(request, true)).await
    }

    async fn resume_feed(&self, request: Request<SwitchFeedRequest>) -> Result<Response<SwitchFeedResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::of(request.context.as_ref());
        answer(&self.disclosures, "weft.v1.FeedService/ResumeFeed", asked, self.switch(request, false)).await
    }

    async fn list_quarantine(
        &self,
        request: Request<ListQuarantineRequest>,
    ) -> Result<Response<ListQuarantineResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::of(request.context.as_ref());
        answer(&self.disclosures, "weft.v1.FeedService/ListQuarantine", asked, quarantine::list(self, request)).await
    }

    async fn get_quarantined(
        &self,
        request: Request<GetQuarantinedRequest>,
    ) -> Result<Response<GetQuarantinedResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::of(request.context.as_ref());
        answer(&self.disclosures, "weft.v1.FeedService/GetQuarantined", asked, quarantine::get(self, request)).await
    }

    async fn redrive(&self, request: Request<RedriveRequest>) -> Result<Response<RedriveResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::of(request.context.as_ref());
        answer(&self.disclosures, "weft.v1.FeedService/Redrive", asked, redrive::redrive(self, request)).await
    }
}

impl Feeds {
    pub(crate) fn new(
        log: SharedLog,
        model: Arc<ReadModel>,
        disclosures: Arc<Disclosures>,
        control: Arc<dyn FeedControl>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { log, model, disclosures, control, clock, changing: tokio::sync::Mutex::new(()) }
    }

    async fn register(&self, request: RegisterFeedRequest) -> Result<RegisterFeedResponse, Error> {
        let asker = Asker::check(request.context)?;
        if request.profile_toml.trim().is_empty() {
            return Err(arguments::required("profile_toml"));
        }
        let profile = self.control.check(&request.profile_toml).map_err(mistakes)?;
        let feed = profile.feed;
        let _one_at_a_time = self.changing.lock().await;
        let decided_at = self.caught_up().await?;
        let held = self.held(&feed).await?;
        if let Some(held) = held.as_ref().filter(|held| held.profile_toml == request.profile_toml) {
            return Ok(RegisterFeedResponse { feed, position: Some(revision(held).to_proto()) });
        }
        let registered = FeedRegistered { feed: feed.clone(), profile_toml: request.profile_toml, by: asker.user };
        let receipt = self.change(&feed, decided_at, Payload::FeedRegistered(registered)).await?;
        // A paused feed stays paused when it is changed.
        if held.is_none_or(|held| !held.paused) {
            self.connected(&feed).await;
        }
        Ok(RegisterFeedResponse { feed, position: Some(receipt.position.to_proto()) })
    }

    async fn switch(&self, request: SwitchFeedRequest, pause: bool) -> Result<SwitchFeedResponse, Error> {
        let asker = Asker::check(request.context)?;
        let feed = arguments::text("feed", &request.feed, FEED_LENGTH_MAX)?;
        let _one_at_a_time = self.changing.lock().await;
        let decided_at = self.caught_up().await?;
        let held = self.held(feed).await?.ok_or_else(unknown_feed)?;
        if held.paused != pause {
            let switched = FeedSwitched { feed: feed.to_owned(), by: asker.user, reason: asker.reason };
            let payload = if pause { Payload::FeedPaused(switched) } else { Payload::FeedResumed(switched) };
            self.change(feed, decided_at, payload).await?;
            if !pause {
                self.connected(feed).await;
            }
        }
        let status = self.control.statuses().remove(feed);
        Ok(SwitchFeedResponse { state: state(pause, status.as_ref()).into() })
    }

    async fn list(&self, request: ListFeedsRequest) -> Result<ListFeedsResponse, Error> {
        Asker::check(request.context)?;
        let view = self.view().await?;
        let mut feeds = Vec::new();
        for held in self.model.feeds().await? {
            feeds.push(self.show(&held, &view).await?);
        }
        Ok(ListFeedsResponse { feeds })
    }

    async fn get(&self, request: GetFeedRequest) -> Result<GetFeedResponse, Error> {
        Asker::check(request.context)?;
        let feed = arguments::text("feed", &request.feed, FEED_LENGTH_MAX)?;
        let held = self.held(feed).await?.ok_or_else(unknown_feed)?;
        let view = self.view().await?;
        Ok(GetFeedResponse { feed: Some(self.show(&held, &view).await?), profile_toml: held.profile_toml })
    }

    /// Appends a change and waits until the read model shows it. The change stands from the append on: a read model that
    /// is behind makes the call slow, not wrong.
    async fn change(&self, feed: &str, decided_at: u64, payload: Payload) -> Result<Receipt, Error> {
        // A change is the same change when it is made again on the same state of the control stream.
        let mut name = decided_at.to_be_bytes().to_vec();
        name.extend_from_slice(feed.as_bytes());
        if let Payload::FeedRegistered(registered) = &payload {
            name.push(0);
            name.extend_from_slice(registered.profile_toml.as_bytes());
        }
        let draft = Draft {
            same: Same::Name(name),
            feed: feed.to_owned(),
            control_id: String::new(),
            message_type: String::new(),
            verdict: Verdict::Unspecified,
            received_us: self.clock.now_us(),
            cause: None,
            payload,
        };
        let receipts = self.log.append(vec![draft]).await.map_err(|error| match error {
            AppendError::TooLarge { .. } => {
                invalid("profile-too-large", "profile_toml", "is larger than an event of the log may be")
            }
            AppendError::Unavailable(_) => Error::Unavailable("the change could not be stored", error.into()),
        })?;
        let receipt = *receipts.first().ok_or_else(|| Error::Internal("the log gave no receipt".into()))?;
        if !projection::projected(&self.model, receipt.position.partition, receipt.position.offset + 1).await {
            tracing::info!(feed, "change is stored and not projected yet");
        }
        Ok(receipt)
    }

    /// Waits until the read model has applied all of the control stream; returns the size of that.
    pub(super) async fn caught_up(&self) -> Result<u64, Error> {
        let control = Stream::Control.partition(0);
        projection::caught_up(&self.log, &self.model, control, "the read model is behind the control stream").await
    }

    /// Waits, not for long, until the connector says whether it can listen for a feed.
    async fn connected(&self, feed: &str) {
        let settled = |status: &FeedStatus| matches!(status.state, FeedState::Listening | FeedState::Failed);
        let connected = async {
            while !self.control.statuses().get(feed).is_some_and(settled) {
                tokio::time::sleep(CONNECTED_POLL).await;
            }
        };
        // A node that does not listen for feeds never says; the change stands all the same.
        let _ = tokio::time::timeout(CONNECTED_WAIT, connected).await;
    }

    pub(super) async fn held(&self, feed: &str) -> Result<Option<weft_readmodel::Feed>, Error> {
        Ok(self.model.feed(feed).await?)
    }

    async fn view(&self) -> Result<View, Error> {
        let statistics = self.log.statistics().await?;
        Ok(View {
            counts: statistics.feeds.into_iter().map(|feed| (feed.feed.clone(), feed)).collect(),
            statuses: self.control.statuses(),
        })
    }

    async fn show(&self, held: &weft_readmodel::Feed, view: &View) -> Result<Feed, Error> {
        let status = view.statuses.get(&held.feed);
        let counts = view.counts.get(&held.feed).cloned().unwrap_or_default();
        // A profile that an older program accepted and this one does not is shown without what it says.
        let profile = self.control.check(&held.profile_toml).ok();
        let (organisation, description) = profile.map(|p| (p.organisation, p.description)).unwrap_or_default();
        let state = state(held.paused, status);
        let arrived = self.model.feed_health(&held.feed).await?;
        let listening = status.filter(|_| state == FeedState::Listening);
        Ok(Feed {
            feed: held.feed.clone(),
            organisation,
            description,
            state: state.into(),
            address: listening.map(|s| s.address.clone()).unwrap_or_default(),
            health: Some(FeedHealth {
                received: counts.received(),
                accepted: counts.accepted,
                duplicate: counts.duplicate,
                conflict: counts.conflict,
                quarantined: counts.quarantined,
                last_received_us: arrived.last_received_us,
                connections: status.map_or(0, |s| s.connections),
                problem: status.map(|s| s.problem.clone()).unwrap_or_default(),
                redriven: counts.redriven,
                // Partitions are applied apart: for a moment one may know of more than the others have told.
                held: u64::try_from(arrived.held).unwrap_or(0),
            }),
            revision: Some(revision(held).to_proto()),
        })
    }
}

/// What is known of all feeds at one moment.
struct View {
    counts: BTreeMap<String, FeedStatistics>,
    statuses: BTreeMap<String, FeedStatus>,
}

fn state(paused: bool, status: Option<&FeedStatus>) -> FeedState {
    if paused { FeedState::Paused } else { status.map_or(FeedState::Unspecified, |s| s.state) }
}

fn revision(held: &weft_readmodel::Feed) -> Position {
    Stream::Control.partition(0).at(held.revision)
}

pub(super) fn unknown_feed() -> Error {
    Error::NotFound(detail("feed-unknown", "feed", "no feed of this name is registered"))
}

fn mistakes(issues: Vec<Issue>) -> Error {
    let one = |issue: Issue| {
        let place = if issue.location.is_empty() { String::new() } else { format!("{}: ", issue.location) };
        detail(&issue.code, "profile_toml", format!("{place}{}", issue.text))
    };
    Error::Invalid(issues.into_iter().map(one).collect())
}
