//! Follows stream `control` and keeps one listener per feed as it says, without a restart.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use weft_log::{CutError, LogEvidence, OpenError, ReadError, ReadLimit, SharedLog, cut};
use weft_model::{Clock, Partition, Position, Stream};
use weft_translate::Tls;

use crate::{
    exchange::{ControlIds, Exchange, Reading},
    listener::Listener,
    roster::{Registered, Roster},
    status::{Board, FeedState, FeedStatuses, Slot},
    tls::{self, TlsOptions},
};

const CONTROL: Partition = Partition { stream: Stream::Control, number: 0 };
/// After a log that could not be read.
const READ_PAUSE: Duration = Duration::from_millis(500);
const BIND_PAUSE_MIN: Duration = Duration::from_millis(250);
const BIND_PAUSE_MAX: Duration = Duration::from_secs(10);

/// What a connector needs.
pub struct ConnectorOptions {
    /// Where messages are stored and feeds are followed.
    pub log: SharedLog,
    /// Says when messages were received.
    pub clock: Arc<dyn Clock>,
    /// Certificate and key for feeds that want TLS.
    pub tls: Option<TlsOptions>,
    /// Bounds; the defaults suit.
    pub limits: Limits,
}

/// Bounds of what one connection may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Messages of one connection that are stored in one append at most, and so await their acknowledgement. Default 64.
    pub in_flight_max: usize,
    /// Waits before an append that was unavailable is tried again; then the sender is told. Default 50, 100, 200 ms.
    pub append_retries: Arc<[Duration]>,
    /// How long a peer may leave its acknowledgements unread. Default 30 s.
    pub write_timeout: Duration,
    /// How long connections may take to end when their feed is paused or the node ends. Default 10 s.
    pub drain_timeout: Duration,
}

/// The listeners of all feeds. Dropping it ends them as [`shutdown`](Self::shutdown) does, without waiting.
pub struct Connector {
    board: Board,
    following: watch::Receiver<Following>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

/// Stream `control` cannot be followed: listeners stay as they are, changes of feeds have no effect. Restart the node
/// once the cause is mended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("feeds cannot be followed: {0}")]
pub struct FollowError(String);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Following {
    Behind,
    CaughtUp,
    Stopped(FollowError),
}

impl ConnectorOptions {
    /// Without TLS, with the default limits.
    #[must_use]
    pub fn new(log: SharedLog, clock: Arc<dyn Clock>) -> Self {
        Self { log, clock, tls: None, limits: Limits::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_max: 64,
            append_retries: [50, 100, 200].map(Duration::from_millis).into(),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl Connector {
    /// Starts to follow the feeds. Must be called in a tokio runtime.
    #[must_use]
    pub fn start(options: ConnectorOptions) -> Self {
        let board = Board::default();
        let (told, following) = watch::channel(Following::Behind);
        let stop = CancellationToken::new();
        let supervisor = Supervisor {
            control_ids: Arc::new(ControlIds::new(options.clock.now_us())),
            options,
            board: board.clone(),
            roster: Roster::default(),
            feeds: HashMap::new(),
            draining: JoinSet::new(),
            next: 0,
            told,
        };
        let task = tokio::spawn(supervisor.run(stop.clone()));
        Self { board, following, task, stop: stop.drop_guard() }
    }

    /// Every feed as it is now.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<FeedStatuses> {
        self.board.subscribe()
    }

    /// Waits until every feed that was registered when the connector started listens, is paused, or has failed.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn caught_up(&self) -> Result<(), FollowError> {
        let mut following = self.following.clone();
        let known = following.wait_for(|following| *following != Following::Behind).await;
        match known.as_deref() {
            Ok(Following::Stopped(error)) => Err(error.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err(FollowError("connector has ended".to_owned())),
        }
    }

    /// Stops accepting, stores and answers what senders have sent whole, and closes the connections, within
    /// [`Limits::drain_timeout`]. The log is to be closed after this.
    pub async fn shutdown(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!(error = %error, "connector task failed");
        }
    }
}

struct Supervisor {
    options: ConnectorOptions,
    control_ids: Arc<ControlIds>,
    board: Board,
    roster: Roster,
    feeds: HashMap<String, Feed>,
    /// Listeners whose connections are ending.
    draining: JoinSet<()>,
    /// Offset of the next event of stream `control`.
    next: u64,
    told: watch::Sender<Following>,
}

/// One feed as it is.
#[derive(Default)]
struct Feed {
    running: Option<Running>,
    /// The address that port 0 became, kept for as long as the process lives.
    given: Option<SocketAddr>,
    bind_again: Option<BindAgain>,
}

struct Running {
    listener: Listener,
    /// As the profile has it: port 0 is not resolved.
    listen: SocketAddr,
    tls: Tls,
}

struct BindAgain {
    at: Instant,
    pause: Duration,
    /// The registration that could not be bound: a newer one is tried at once.
    revision: u64,
}

/// What to do about an event that cannot be read.
enum Trouble {
    TryAgain(String),
    Stop(FollowError),
}

impl Supervisor {
    async fn run(mut self, stop: CancellationToken) {
        let mut target = None;
        loop {
            let step = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = bind_time(self.feeds.values()) => Ok(None),
                grown = grown(&self.options.log, self.next, target) => grown.map(Some),
            };
            let result = match step {
                Ok(None) => {
                    self.reconcile().await;
                    continue;
                }
                Ok(Some(size)) => {
                    let target = *target.get_or_insert(size);
                    self.follow(size, target).await
                }
                Err(error) => Err(trouble(&error)),
            };
            match result {
                Ok(()) => {}
                Err(Trouble::TryAgain(cause)) => {
                    tracing::warn!(cause, "feeds cannot be followed now");
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = sleep(READ_PAUSE) => {}
                    }
                }
                Err(Trouble::Stop(error)) => {
                    tracing::error!(error = %error, "changes of feeds have no effect until the node is restarted");
                    self.told.send_replace(Following::Stopped(error));
                    stop.cancelled().await;
                    break;
                }
            }
        }
        self.end().await;
    }

    /// Applies events up to `size`. Nothing listens before the feeds are as they were at the start (`target`), so that no
    /// address of the past is bound for a moment.
    async fn follow(&mut self, size: u64, target: u64) -> Result<(), Trouble> {
        if self.next == 0 {
            // Most of a long stream is the notary's cuts: a start skips them.
            let log = LogEvidence(self.options.log.clone());
            let decisions = cut::decisions(&log, size).await.map_err(|e| skipped(&e))?;
            for stored in &decisions {
                let event = self.options.log.open(stored).await.map_err(unopened)?;
                self.roster.apply(stored.position.offset, &event.payload);
            }
            self.next = size;
        }
        while self.next < size {
            let page = self.options.log.read(CONTROL.at(self.next), ReadLimit::PAGE).await.map_err(|e| trouble(&e))?;
            for stored in &page {
                let Position { offset, .. } = stored.position;
                let event = self.options.log.open(stored).await.map_err(unopened)?;
                self.roster.apply(offset, &event.payload);
                self.next = offset + 1;
            }
            if page.is_empty() {
                break;
            }
        }
        if self.next >= target {
            self.reconcile().await;
            self.told.send_replace(Following::CaughtUp);
        }
        Ok(())
    }

    /// Makes every feed what the roster says.
    async fn reconcile(&mut self) {
        while self.draining.try_join_next().is_some() {}
        let wanted: Vec<(String, Registered)> =
            self.roster.feeds().map(|(name, wanted)| (name.clone(), wanted.clone())).collect();
        for (name, wanted) in wanted {
            let mut feed = self.feeds.remove(&name).unwrap_or_default();
            self.reconcile_feed(&name, &mut feed, &wanted).await;
            self.feeds.insert(name, feed);
        }
    }

    async fn reconcile_feed(&mut self, name: &str, feed: &mut Feed, wanted: &Registered) {
        let slot = self.board.slot(name);
        let reading = match &wanted.reading {
            _ if wanted.paused => None,
            Ok(reading) => Some(reading),
            Err(_) => None,
        };
        match (feed.running.take(), reading) {
            (Some(running), Some(reading)) if running.fits(reading) => {
                if running.listener.reading.borrow().revision != reading.revision {
                    running.listener.reading.send_replace(Arc::clone(reading));
                    tracing::info!(feed = name, revision = reading.revision, "feed changed");
                    slot.change(|status| status.revision = reading.revision);
                }
                feed.running = Some(running);
                return;
            }
            (Some(running), _) => self.stop_listener(name, running).await,
            (None, _) => {}
        }
        let Some(reading) = reading else {
            feed.bind_again = None;
            let problem = wanted.reading.as_ref().err().cloned();
            let state = if wanted.paused { FeedState::Paused } else { FeedState::Failed };
            show(&slot, state, None, problem, wanted.revision);
            return;
        };
        if feed.bind_again.as_ref().is_none_or(|again| again.is_due(reading.revision)) {
            self.bind(&slot, feed, reading).await;
        }
    }

    async fn bind(&self, slot: &Slot, feed: &mut Feed, reading: &Arc<Reading>) {
        let listener = reading.profile.listener();
        let bound = match tls::acceptor(self.options.tls.as_ref(), listener.tls) {
            Err(problem) => Err(problem.to_owned()),
            Ok(acceptor) => {
                let open = |address| {
                    let exchange = self.exchange(slot);
                    Listener::bind(
                        address,
                        acceptor.clone(),
                        Arc::clone(reading),
                        exchange,
                        self.options.limits.clone(),
                    )
                };
                let given =
                    feed.given.filter(|given| listener.listen.port() == 0 && given.ip() == listener.listen.ip());
                let bound = match open(given.unwrap_or(listener.listen)).await {
                    // Somebody took the port while the feed was paused: any other will do.
                    Err(error) if given.is_some() && error.kind() == io::ErrorKind::AddrInUse => {
                        open(listener.listen).await
                    }
                    bound => bound,
                };
                bound.map_err(|error| format!("cannot listen on {}: {error}", listener.listen))
            }
        };
        let feed_name = slot.feed();
        match bound {
            Ok(bound) => {
                tracing::info!(feed = feed_name, address = %bound.address, revision = reading.revision, "feed listens");
                show(slot, FeedState::Listening, Some(bound.address), None, reading.revision);
                feed.given = (listener.listen.port() == 0).then_some(bound.address);
                feed.bind_again = None;
                feed.running = Some(Running { listener: bound, listen: listener.listen, tls: listener.tls });
            }
            Err(problem) => {
                let pause = feed.bind_again.as_ref().map_or(BIND_PAUSE_MIN, |b| (b.pause * 2).min(BIND_PAUSE_MAX));
                if feed.bind_again.is_none() {
                    tracing::error!(feed = feed_name, problem, "feed does not listen; trying again");
                }
                show(slot, FeedState::Failed, None, Some(problem), reading.revision);
                feed.bind_again = Some(BindAgain { at: Instant::now() + pause, pause, revision: reading.revision });
            }
        }
    }

    async fn stop_listener(&mut self, name: &str, running: Running) {
        tracing::info!(feed = name, address = %running.listener.address, "feed stops listening");
        let finishing = running.listener.stop().await;
        self.draining.spawn(async move {
            if let Err(error) = finishing.await {
                tracing::error!(error = %error, "listener task failed");
            }
        });
    }

    async fn end(&mut self) {
        for (name, feed) in std::mem::take(&mut self.feeds) {
            if let Some(running) = feed.running {
                self.stop_listener(&name, running).await;
            }
        }
        while self.draining.join_next().await.is_some() {}
    }

    fn exchange(&self, slot: &Slot) -> Exchange {
        Exchange {
            log: Arc::clone(&self.options.log),
            clock: Arc::clone(&self.options.clock),
            control_ids: Arc::clone(&self.control_ids),
            slot: slot.clone(),
            append_retries: Arc::clone(&self.options.limits.append_retries),
        }
    }
}

impl Running {
    /// True where the socket is the one that `reading` wants.
    fn fits(&self, reading: &Reading) -> bool {
        let wanted = reading.profile.listener();
        self.listen == wanted.listen && self.tls == wanted.tls
    }
}

impl BindAgain {
    fn is_due(&self, revision: u64) -> bool {
        self.at <= Instant::now() || self.revision != revision
    }
}

/// The size of stream `control`: at once while it is not known how far to go, then whenever it has grown.
async fn grown(log: &SharedLog, next: u64, target: Option<u64>) -> Result<u64, ReadError> {
    if target.is_none() { log.size(CONTROL).await } else { log.wait(CONTROL, next).await }
}

/// Returns when the next socket is to be tried again; never, where none is.
async fn bind_time(feeds: impl Iterator<Item = &Feed>) {
    match feeds.filter_map(|feed| feed.bind_again.as_ref()).map(|again| again.at).min() {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn trouble(error: &ReadError) -> Trouble {
    match error {
        ReadError::Unavailable(_) => Trouble::TryAgain(error.to_string()),
        ReadError::Corrupt { .. } => Trouble::Stop(FollowError(error.to_string())),
    }
}

fn skipped(error: &CutError) -> Trouble {
    match error {
        CutError::Read(error) => trouble(error),
        _ => Trouble::Stop(FollowError(error.to_string())),
    }
}

fn unopened(error: OpenError) -> Trouble {
    match error {
        OpenError::Vault(_) => Trouble::TryAgain(error.to_string()),
        _ => Trouble::Stop(FollowError(error.to_string())),
    }
}

fn show(slot: &Slot, state: FeedState, address: Option<SocketAddr>, problem: Option<String>, revision: u64) {
    slot.change(|status| {
        status.state = state;
        status.address = address;
        status.problem = problem;
        status.revision = revision;
    });
}
