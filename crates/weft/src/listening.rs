//! Where feeds are listened for, across processes: those that listen tell the database, and whoever answers for feeds asks it.
//! Where there is one process it knows by itself.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use weft_connect::{FeedStatus, FeedStatuses};
use weft_readmodel::{Listeners, Listening, ListeningState, ReadModel, StoreError};

/// So often it is told and asked, whether or not something has changed.
const EVERY: Duration = Duration::from_secs(1);

/// Tells what this process's listeners are doing until `shutdown`, and then that they are gone.
pub(crate) async fn tell(
    model: Arc<ReadModel>,
    name: String,
    mut statuses: watch::Receiver<FeedStatuses>,
    shutdown: CancellationToken,
) {
    let Some(listeners) = open(&model, &name, &shutdown).await else { return };
    let mut told = true;
    while !shutdown.is_cancelled() {
        let all: Vec<Listening> =
            statuses.borrow_and_update().iter().map(|(feed, status)| said(feed, status)).collect();
        told = note(listeners.tell(&all).await, "told", told).is_some();
        tokio::select! {
            () = shutdown.cancelled() => {}
            changed = statuses.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    // Else they are forgotten when they have not been told of for some seconds.
    let _ = listeners.leave().await;
}

/// Asks until `shutdown` what the listeners of other processes are doing.
pub(crate) async fn hear(
    model: Arc<ReadModel>,
    name: String,
    heard: watch::Sender<Vec<Listening>>,
    shutdown: CancellationToken,
) {
    let Some(listeners) = open(&model, &name, &shutdown).await else { return };
    let mut answered = true;
    while !shutdown.is_cancelled() {
        let answer = note(listeners.heard().await, "asked", answered);
        answered = answer.is_some();
        // What is not known any more is not shown as if it were.
        let others = answer.unwrap_or_default();
        heard.send_if_modified(|known| std::mem::replace(known, others.clone()) != others);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// None where there are no other processes, or `shutdown` came first.
async fn open(model: &ReadModel, name: &str, shutdown: &CancellationToken) -> Option<Listeners> {
    loop {
        match Listeners::open(model, name).await {
            Ok(listeners) => return listeners,
            Err(error) => warn!(%error, "other processes cannot be told of listeners now"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// The answer; what fails is said once, and once when it works again.
fn note<T>(answer: Result<T, StoreError>, what: &'static str, before: bool) -> Option<T> {
    match answer {
        Ok(answer) => {
            if !before {
                info!(what, "listeners are known to other processes again");
            }
            Some(answer)
        }
        Err(error) => {
            if before {
                warn!(what, %error, "listeners are not known to other processes now");
            }
            None
        }
    }
}

/// A status as it is told to others.
pub(crate) fn said(feed: &str, status: &FeedStatus) -> Listening {
    Listening {
        feed: feed.to_owned(),
        state: match status.state {
            weft_connect::FeedState::Listening => ListeningState::Listening,
            weft_connect::FeedState::Paused => ListeningState::Paused,
            weft_connect::FeedState::Failed => ListeningState::Failed,
        },
        address: status.address.map(|address| address.to_string()).unwrap_or_default(),
        connections: u32::try_from(status.connections).unwrap_or(u32::MAX),
        problem: status.problem.clone().unwrap_or_default(),
    }
}
