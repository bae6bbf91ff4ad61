//! The projector's role: follow the log and apply what arrives, as much at once as waits.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use weft_log::{ReadLimit, SharedLog};

use crate::{
    batch::Batch,
    cursor,
    error::{ApplyError, ProjectError, StoreError},
    follow::{Follow, Patience},
    model::ReadModel,
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
pub async fn project(log: SharedLog, model: Arc<ReadModel>, shutdown: CancellationToken) -> Result<(), ProjectError> {
    let known = model.known_at();
    info!(%known, "projecting");
    let follow = |partition| {
        let from = known.0.get(&partition).copied().unwrap_or(0);
        Follow::start(log.clone(), partition.at(from), PAGE, Patience::Follow)
    };
    let [mut feed, mut identity, mut control] = [cursor::feed(), cursor::identity(), cursor::control()].map(follow);
    loop {
        let first = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            batch = control.next() => batch?,
            batch = identity.next() => batch?,
            batch = feed.next() => batch?,
        };
        let mut batches = Vec::from_iter(first);
        for source in [&mut control, &mut identity, &mut feed] {
            while batches.iter().map(Batch::len).sum::<usize>() < EVENTS_MAX
                && let Some(batch) = source.next_waiting().await?
            {
                batches.push(batch);
            }
        }
        if !apply_patiently(&model, &batches, &shutdown).await? {
            return Ok(());
        }
    }
}

/// Applies `batches`, as often as it takes; false where the end came first.
async fn apply_patiently(
    model: &ReadModel,
    batches: &[Batch],
    shutdown: &CancellationToken,
) -> Result<bool, ApplyError> {
    let mut pause = PAUSE_MIN;
    loop {
        match model.apply_all(batches).await {
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
