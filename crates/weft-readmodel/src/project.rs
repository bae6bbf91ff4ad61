//! The projector's role: follow the log and apply what arrives, as much at once as waits.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use weft_log::{ReadLimit, SharedLog};

use crate::{
    apply::Conditions,
    batch::Batch,
    cursor,
    error::{ApplyError, ProjectError, StoreError},
    follow::{Follow, Patience},
    model::ReadModel,
    repeats::Repeats,
};

/// Events applied in one transaction: enough that its cost is shared, few enough that it is short.
const EVENTS_MAX: usize = 2_000;
const PAGE: ReadLimit = ReadLimit { events: 1_000, bytes: 4 << 20 };
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Keeps `model` up with `log` until `shutdown`. What is unavailable is waited for.
///
/// # Errors
/// [`ProjectError`] where going on would be wrong: a damaged log or read model, or an event of a newer program.
pub async fn project(
    log: SharedLog,
    model: Arc<ReadModel>,
    repeats: Repeats,
    shutdown: CancellationToken,
) -> Result<(), ProjectError> {
    let partitions = cursor::followed(log.partitions());
    model.follow(&partitions).await?;
    let known = model.known_at();
    info!(%known, "projecting");
    let conditions = Conditions { repeats, epochs: None };
    let mut follows: Vec<Follow> = Vec::new();
    // What changes least comes first: an answer that lacks the newest messages is better than one that lacks a link.
    for partition in partitions.into_iter().rev() {
        let from = known.0.get(&partition).copied().unwrap_or(0);
        follows.push(Follow::start(log.clone(), partition.at(from), PAGE, Patience::Follow));
    }
    loop {
        let first = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            first = next_of(&mut follows) => first?,
        };
        let mut batches = Vec::from_iter(first);
        for follow in &mut follows {
            while batches.iter().map(Batch::len).sum::<usize>() < EVENTS_MAX
                && let Some(batch) = follow.next_waiting().await?
            {
                batches.push(batch);
            }
        }
        if !apply_patiently(&model, &batches, &conditions, &shutdown).await? {
            return Ok(());
        }
    }
}

/// The next batch of any partition.
async fn next_of(follows: &mut [Follow]) -> Result<Option<Batch>, ProjectError> {
    let waiting = follows.iter_mut().map(|follow| Box::pin(follow.next()));
    futures::future::select_all(waiting).await.0
}

/// Applies `batches`, as often as it takes; false where the end came first.
async fn apply_patiently(
    model: &ReadModel,
    batches: &[Batch],
    conditions: &Conditions,
    shutdown: &CancellationToken,
) -> Result<bool, ApplyError> {
    let mut pause = PAUSE_MIN;
    loop {
        match model.apply_on(batches, conditions).await {
            Ok(()) => return Ok(true),
            Err(ApplyError::Store(StoreError::Unavailable(error))) => warn!(%error, "read model cannot be written now"),
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(false),
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
        }
    }
}
