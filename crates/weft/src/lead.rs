//! What only one process may do at a time: the others wait until the one that leads ends, or is not heard of for too long.
//!
//! A leader whom the database does not hear is none any more, and goes on all the same until it is told that another leads: what
//! it has learnt took long to read, and most often it is the database that was away, and nobody could lead. That is harmless,
//! as is what it has under way then: decisions and cuts of two leaders have the same event ids or name what they follow on.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use weft_readmodel::{Lead, Leases, ReadModel, StoreError};

use crate::system;

/// From one attempt to the next where the database is away.
const AWAY_PAUSE: Duration = Duration::from_secs(1);

/// Does `work` for as long as this process leads in `task`, again whenever it comes to lead again, until `shutdown`. The
/// work ends by itself when the token that it is given is cancelled.
pub(crate) async fn leading<F>(
    model: Arc<ReadModel>,
    task: &'static str,
    shutdown: CancellationToken,
    work: impl Fn(CancellationToken) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let Some(leases) = open(&model, task, &shutdown).await? else { return Ok(()) };
    while let Some(mut lead) = leases.lead(task, &shutdown).await? {
        let stop = shutdown.child_token();
        tokio::select! {
            ended = work(stop) => {
                ended?;
                if let Err(error) = leases.give_back(task, lead).await {
                    info!(task, %error, "lead not given back: another waits until it runs out");
                }
                return Ok(());
            }
            another = another_leads(&leases, task, &mut lead) => another?,
        }
        warn!(task, "stopped, for another leads or has led");
    }
    Ok(())
}

/// Resolves when another leads, or has led meanwhile. A lead that was lost with the database is taken again.
async fn another_leads(leases: &Leases, task: &str, lead: &mut Lead) -> anyhow::Result<()> {
    loop {
        lead.lost().await;
        match leases.try_lead(task).await {
            Ok(Some(again)) if again.epoch() == lead.epoch() + 1 => *lead = again,
            Ok(_) => return Ok(()),
            Err(StoreError::Unavailable(error)) => {
                warn!(task, %error, "lead cannot be taken now");
                tokio::time::sleep(AWAY_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// None where `shutdown` came first.
async fn open(model: &ReadModel, task: &str, shutdown: &CancellationToken) -> anyhow::Result<Option<Leases>> {
    loop {
        match Leases::open(model, &system::process_name()).await {
            Ok(leases) => return Ok(Some(leases)),
            Err(StoreError::Unavailable(error)) => warn!(task, %error, "lead cannot be taken now"),
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(AWAY_PAUSE) => {}
        }
    }
}
