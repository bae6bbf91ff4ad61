//! The notary: writes down, about once a second while events arrive, what every partition holds, and signs it.
//!
//! It holds one growing tree for each partition and one for the cuts, so a cut costs one hash for each event since the last
//! one. After a restart it goes on from the newest cut in the log: the inner nodes that it kept and a few leaves give the
//! trees, and their roots must be those of that cut; where they are not, the trees are made again from all leaves. A log
//! that does not lead to its own newest cut is not signed any further.
//!
//! What it signed last is remembered apart from the log ([`Remembered`]): a log that was put back to an earlier state has
//! fewer cuts than are remembered, and the notary signs no second history.
//!
//! A cut has its tick for a name, so two notaries never take the same one twice: whoever comes second finds the event
//! there, and goes on from it.

mod state;

use std::{io, path::PathBuf, pin::pin, sync::Arc, time::Duration};

use futures::future::select_all;
use tracing::{debug, info, warn};
use weft_model::{Clock, Partition};

use crate::{AppendError, CutError, NoteError, ReadError, Remembered, SharedLog, SigningKey};
use state::State;
pub(crate) use state::{CUT_NODES, cut_leaves, node_name};

/// From the first event that no cut covers to the cut that does.
const CUT_AFTER: Duration = Duration::from_secs(1);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The last cut, when the node ends, is given up after this: what it would cover is covered after the next start.
const LAST_CUT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a notary needs.
pub struct Notary {
    /// The log that it writes for, and into.
    pub log: SharedLog,
    /// What signs.
    pub key: SigningKey,
    /// Says when.
    pub clock: Arc<dyn Clock>,
    /// Where inner nodes are kept: a cache, which may be deleted.
    pub nodes: PathBuf,
    /// The newest checkpoint that was signed.
    pub remembered: Remembered,
}

/// Why no cuts are taken any more. None of these goes away by trying again.
#[derive(Debug, thiserror::Error)]
pub enum NotaryError {
    /// The log holds other events than its newest cut says: find out with `weft verify`.
    #[error("{partition} is not what it was at cut {tick}: the log was changed; run `weft verify`")]
    Changed {
        /// What differs.
        partition: Partition,
        /// The newest cut.
        tick: u64,
    },
    /// The cuts themselves do not lead to the newest one's checkpoint.
    #[error("the cuts before cut {tick} are not those that it was signed with: the log was changed; run `weft verify`")]
    CutsChanged {
        /// The newest cut.
        tick: u64,
    },
    /// The log is older than what was signed for it.
    #[error(
        "the log ends with {cuts} cuts and {remembered} are remembered in {}: it was put back to an earlier state; \
         restore the newest one, or move that file away to go on from here, which is a second history", path.display()
    )]
    RolledBack {
        /// Cuts in the log.
        cuts: u64,
        /// Cuts that were signed.
        remembered: u64,
        /// Where they are remembered.
        path: PathBuf,
    },
    /// The log has another past than was signed for it.
    #[error("cut {tick} is not the one that is remembered in {}: this is another history", path.display())]
    OtherHistory {
        /// The cut.
        tick: u64,
        /// Where it is remembered.
        path: PathBuf,
    },
    /// The newest cut is another notary's.
    #[error("the cuts of this log are signed with another key: restore keys/notary.key from its backup")]
    OtherKey(#[source] NoteError),
    /// What is remembered cannot be read.
    #[error("remembered checkpoint {} cannot be read", path.display())]
    Remembered {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A cut in the log cannot be read.
    #[error(transparent)]
    Cut(CutError),
    /// The log is damaged.
    #[error(transparent)]
    Read(ReadError),
    /// A cut is larger than an event may be.
    #[error("a cut cannot be appended")]
    Append(#[source] AppendError),
}

/// What stops a cut.
#[derive(Debug)]
enum Stopped {
    /// Begin again from the log.
    TryAgain(Box<dyn std::error::Error + Send + Sync>),
    /// Another notary took this cut.
    Overtaken,
    /// End.
    Failed(NotaryError),
}

impl Notary {
    /// Takes cuts until `shutdown`, and then a last one. What is unavailable is waited for.
    ///
    /// # Errors
    /// [`NotaryError`], where going on would sign what is not so.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), NotaryError> {
        let mut shutdown = pin!(shutdown);
        let mut pause = PAUSE_MIN;
        loop {
            let stopped = tokio::select! {
                () = &mut shutdown => break,
                stopped = self.follow(&mut pause) => stopped,
            };
            match stopped {
                Stopped::Failed(error) => return Err(error),
                Stopped::Overtaken => debug!("another notary took this cut"),
                Stopped::TryAgain(error) => warn!(%error, "no cut can be taken now"),
            }
            tokio::select! {
                () = &mut shutdown => break,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
            }
        }
        self.last_cut().await
    }

    /// Looks whether this log is the one that was signed before: quick, so that a node which must not start says so at once.
    /// What cannot be read now is looked at again by [`run`](Self::run).
    ///
    /// # Errors
    /// [`NotaryError`].
    pub async fn check(&self) -> Result<(), NotaryError> {
        match state::check(self).await {
            Err(Stopped::Failed(error)) => Err(error),
            Ok(_) | Err(Stopped::TryAgain(_) | Stopped::Overtaken) => Ok(()),
        }
    }

    /// Takes a cut of what no cut covers yet, if there is anything; returns its tick.
    ///
    /// # Errors
    /// [`NotaryError`].
    pub async fn cut_now(&self) -> Result<Option<u64>, NotaryError> {
        loop {
            let taken = async { State::resume(self).await?.take(self).await };
            match taken.await {
                Ok(tick) => return Ok(tick),
                Err(Stopped::Failed(error)) => return Err(error),
                Err(Stopped::Overtaken) => {}
                Err(Stopped::TryAgain(error)) => {
                    warn!(%error, "no cut can be taken now");
                    tokio::time::sleep(PAUSE_MIN).await;
                }
            }
        }
    }

    async fn follow(&self, pause: &mut Duration) -> Stopped {
        let mut state = match State::resume(self).await {
            Ok(state) => state,
            Err(stopped) => return stopped,
        };
        info!(cuts = state.cuts(), "notary follows the log");
        loop {
            if let Err(error) = self.grown(&state).await {
                return error.into();
            }
            tokio::time::sleep(CUT_AFTER).await;
            match state.take(self).await {
                Ok(_) => *pause = PAUSE_MIN,
                Err(stopped) => return stopped,
            }
        }
    }

    /// Waits until a partition has events that no cut covers.
    async fn grown(&self, state: &State) -> Result<(), ReadError> {
        let waits = state.seen().map(|(partition, size)| self.log.wait(partition, size));
        select_all(waits).await.0.map(|_| ())
    }

    /// The log may be unavailable when the node ends; then this is not the time to wait for it.
    async fn last_cut(&self) -> Result<(), NotaryError> {
        match tokio::time::timeout(LAST_CUT_TIMEOUT, self.cut_now()).await {
            Ok(taken) => taken.map(|_| ()),
            Err(_) => {
                warn!("ended without a last cut");
                Ok(())
            }
        }
    }

    fn remember(&self, checkpoint: &str) {
        if let Err(error) = self.remembered.write(checkpoint) {
            warn!(%error, path = %self.remembered.path().display(), "newest checkpoint is not remembered");
        }
    }

    fn unremembered(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Stopped {
        let path = self.remembered.path().to_owned();
        Stopped::Failed(NotaryError::Remembered { path, source: source.into() })
    }
}

impl From<ReadError> for Stopped {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(error) => Self::TryAgain(error),
            error => Self::Failed(NotaryError::Read(error)),
        }
    }
}

impl From<CutError> for Stopped {
    fn from(error: CutError) -> Self {
        match error {
            CutError::Read(error) => error.into(),
            error => Self::Failed(NotaryError::Cut(error)),
        }
    }
}

impl From<AppendError> for Stopped {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Unavailable(error) => Self::TryAgain(error),
            error => Self::Failed(NotaryError::Append(error)),
        }
    }
}

impl From<NotaryError> for Stopped {
    fn from(error: NotaryError) -> Self {
        Self::Failed(error)
    }
}

/// A cache that cannot be written costs a slower start; it is not worth ending for.
fn not_kept(error: &io::Error) {
    warn!(%error, "inner nodes cannot be kept");
}
