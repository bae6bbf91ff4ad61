//! What can be seen of the feeds from outside.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use tokio::sync::watch;

/// Every registered feed, by name.
pub type FeedStatuses = BTreeMap<String, FeedStatus>;

/// One feed as it is now. Counts begin with the process; the log keeps the lasting ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedStatus {
    /// Whether it takes messages.
    pub state: FeedState,
    /// Where it listens; absent where it does not.
    pub address: Option<SocketAddr>,
    /// Connections that are open, those that are being ended included.
    pub connections: usize,
    /// Connections that were refused because there were too many.
    pub connections_refused: u64,
    /// Frames that ended without their end block: never complete messages, neither stored nor acknowledged.
    pub frames_broken: u64,
    /// Frames over the feed's limit: answered AR, not stored.
    pub frames_oversized: u64,
    /// Bytes that belonged to no frame.
    pub bytes_skipped: u64,
    /// Messages that were answered as not stored, because the log was unavailable.
    pub messages_unstored: u64,
    /// Why it does not listen; for an operator.
    pub problem: Option<String>,
    /// Revision of the profile in force: offset of its event in stream `control`.
    pub revision: u64,
}

/// Whether a feed takes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedState {
    /// It listens.
    Listening,
    /// It was paused: its senders keep their messages.
    Paused,
    /// It should listen and cannot; `problem` says why. It is tried again.
    Failed,
}

/// Where the statuses are written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board(Arc<watch::Sender<FeedStatuses>>);

/// One feed's line on the board.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    board: Board,
    feed: Arc<str>,
}

/// One connection, counted for as long as this lives.
pub(crate) struct Counted(Slot);

impl Board {
    pub(crate) fn subscribe(&self) -> watch::Receiver<FeedStatuses> {
        self.0.subscribe()
    }

    pub(crate) fn slot(&self, feed: &str) -> Slot {
        Slot { board: self.clone(), feed: feed.into() }
    }
}

impl Slot {
    pub(crate) fn feed(&self) -> &str {
        &self.feed
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut FeedStatus)) {
        self.board.0.send_modify(|feeds| match feeds.get_mut(&*self.feed) {
            Some(status) => change(status),
            None => change(feeds.entry(self.feed.to_string()).or_insert_with(FeedStatus::new)),
        });
    }

    pub(crate) fn count_connection(&self) -> Counted {
        self.change(|status| status.connections += 1);
        Counted(self.clone())
    }
}

impl FeedStatus {
    fn new() -> Self {
        Self {
            state: FeedState::Failed,
            address: None,
            connections: 0,
            connections_refused: 0,
            frames_broken: 0,
            frames_oversized: 0,
            bytes_skipped: 0,
            messages_unstored: 0,
            problem: None,
            revision: 0,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.change(|status| status.connections = status.connections.saturating_sub(1));
    }
}
