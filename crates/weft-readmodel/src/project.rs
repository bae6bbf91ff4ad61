//! The projector's role: follow the log and apply what arrives, as much at once as waits. Several may share the partitions
//! of one read model.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use weft_log::{ReadLimit, SharedLog};
use weft_model::Partition;

use crate::{
    apply::Conditions,
    batch::Batch,
    cursor,
    error::{ApplyError, ProjectError, StoreError},
    follow::{Follow, Patience},
    lease::{Held, Leases, RENEW_EVERY},
    model::ReadModel,
    repeats::Repeats,
};

/// Events applied in one transaction: enough that its cost is shared, few enough that it is short.
const EVENTS_MAX: usize = 2_000;
const PAGE: ReadLimit = ReadLimit { events: 1_000, bytes: 4 << 20 };
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How to project.
#[derive(Debug, Clone)]
pub struct ProjectOptions {
    /// Whether the log may hold an event twice.
    pub repeats: Repeats,
    /// A name that no other process has: where several project into one read model, they share its partitions.
    pub owner: String,
}

/// Keeps `model` up with `log` until `shutdown`. What is unavailable is waited for.
///
/// # Errors
/// [`ProjectError`] where going on would be wrong: a damaged log or read model, or an event of a newer program.
pub async fn project(
    log: SharedLog,
    model: Arc<ReadModel>,
    options: ProjectOptions,
    shutdown: CancellationToken,
) -> Result<(), ProjectError> {
    let mut partitions = cursor::followed(log.partitions());
    // What changes least comes first: an answer that lacks the newest messages is better than one that lacks a link.
    partitions.reverse();
    let mut projector = Projector {
        leases: patiently(&shutdown, || Leases::open(&model, &options.owner)).await?,
        log,
        model,
        repeats: options.repeats,
        partitions,
        held: Held::new(),
        follows: Vec::new(),
        since: Instant::now(),
    };
    let ended = projector.run(&shutdown).await;
    // Whoever goes on need not wait until the leases run out; if this fails, they do.
    let _ = projector.leases.leave(&projector.held).await;
    ended
}

struct Projector {
    log: SharedLog,
    model: Arc<ReadModel>,
    repeats: Repeats,
    leases: Leases,
    /// Those of the log that are projected, by whomever.
    partitions: Vec<Partition>,
    /// Those that this process projects, and in which epoch.
    held: Held,
    follows: Vec<(Partition, Follow)>,
    since: Instant,
}

impl Projector {
    async fn run(&mut self, shutdown: &CancellationToken) -> Result<(), ProjectError> {
        let (model, partitions) = (self.model.clone(), self.partitions.clone());
        patiently(shutdown, || model.follow(&partitions)).await?;
        info!(known = %self.model.known_at(), "projecting");
        let mut renew = tokio::time::interval(RENEW_EVERY);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let first = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                _ = renew.tick(), if self.leases.shared() || self.follows.is_empty() => {
                    self.share().await?;
                    continue;
                }
                first = next_of(&mut self.follows) => first?,
            };
            let mut batches = Vec::from_iter(first);
            for (_, follow) in &mut self.follows {
                while batches.iter().map(Batch::len).sum::<usize>() < EVENTS_MAX
                    && let Some(batch) = follow.next_waiting().await?
                {
                    batches.push(batch);
                }
            }
            self.apply(&batches, shutdown).await?;
        }
    }

    /// Renews what is held, and takes or gives back what the others make necessary.
    async fn share(&mut self) -> Result<(), ProjectError> {
        let held = match self.leases.share(&self.partitions, &self.held).await {
            Ok(held) => held,
            Err(StoreError::Unavailable(error)) => {
                warn!(%error, "partitions cannot be shared now");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.follows.retain(|(partition, _)| held.get(partition) == self.held.get(partition));
        self.held = held;
        if self.follows.len() < self.held.len() {
            self.start().await?;
        }
        Ok(())
    }

    /// Starts to follow what is held and not followed, from where it was applied up to.
    async fn start(&mut self) -> Result<(), ProjectError> {
        let applied = match self.model.applied().await {
            Ok(applied) => applied,
            // The next round starts it.
            Err(StoreError::Unavailable(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for partition in &self.partitions {
            if self.held.contains_key(partition) && !self.follows.iter().any(|(followed, _)| followed == partition) {
                let from = applied.0.get(partition).copied().unwrap_or(0);
                let patience = Patience::Follow { since: self.since };
                let follow = Follow::start(self.log.clone(), partition.at(from), PAGE, patience);
                self.follows.push((*partition, follow));
            }
        }
        Ok(())
    }

    /// Applies `batches`, as often as it takes, unless `shutdown` comes first.
    async fn apply(&mut self, batches: &[Batch], shutdown: &CancellationToken) -> Result<(), ProjectError> {
        let epochs = self.leases.shared().then(|| self.held.clone());
        let conditions = Conditions { repeats: self.repeats, epochs };
        match apply_patiently(&self.model, batches, &conditions, shutdown).await {
            Ok(()) => Ok(()),
            // Another goes on, or another read model was put in the place of this one: nothing of the batches was applied,
            // and what is still held is read again from where it stands.
            Err(error @ (ApplyError::Fenced(_) | ApplyError::Gap { .. })) if self.leases.shared() => {
                warn!(%error, "reading again");
                if let ApplyError::Fenced(partition) = error {
                    self.held.remove(&partition);
                }
                self.follows.clear();
                self.start().await
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The next batch of any partition.
async fn next_of(follows: &mut [(Partition, Follow)]) -> Result<Option<Batch>, ProjectError> {
    if follows.is_empty() {
        return std::future::pending().await;
    }
    let waiting = follows.iter_mut().map(|(_, follow)| Box::pin(follow.next()));
    futures::future::select_all(waiting).await.0
}

async fn apply_patiently(
    model: &ReadModel,
    batches: &[Batch],
    conditions: &Conditions,
    shutdown: &CancellationToken,
) -> Result<(), ApplyError> {
    let mut pause = PAUSE_MIN;
    loop {
        match model.apply_on(batches, conditions).await {
            Ok(()) => return Ok(()),
            Err(ApplyError::Store(StoreError::Unavailable(error))) => warn!(%error, "read model cannot be written now"),
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
        }
    }
}

/// Does what must be done before projecting begins, as often as it takes.
async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(
    shutdown: &CancellationToken,
    mut attempt: impl FnMut() -> F,
) -> Result<T, StoreError> {
    loop {
        match attempt().await {
            Err(StoreError::Unavailable(error)) if !shutdown.is_cancelled() => {
                warn!(%error, "read model cannot be used now");
            }
            done => return done,
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(PAUSE_MAX) => {}
        }
    }
}
