//! Waiting for the read model: a change is made on what a stream says, and a call returns when its effect is shown.

use std::time::Duration;

use weft_log::SharedLog;
use weft_model::Partition;
use weft_readmodel::ReadModel;

use crate::error::Error;

/// How long a change waits for the read model.
const PROJECTED_WAIT: Duration = Duration::from_secs(5);

/// Waits until the read model has applied all of `partition`; returns the size of that. `behind` says what is wrong where
/// it does not come to it.
pub(super) async fn caught_up(
    log: &SharedLog,
    model: &ReadModel,
    partition: Partition,
    behind: &'static str,
) -> Result<u64, Error> {
    let size = log.size(partition).await?;
    if projected(model, partition, size).await {
        Ok(size)
    } else {
        Err(Error::Unavailable(behind, "not caught up in time".into()))
    }
}

/// Waits, not for ever, until the read model has applied `size` events of `partition`; false where it has not.
pub(super) async fn projected(model: &ReadModel, partition: Partition, size: u64) -> bool {
    let mut changes = model.changes();
    let applied = async {
        loop {
            if model.known_at().0.get(&partition).is_some_and(|known| *known >= size) {
                return true;
            }
            if changes.changed().await.is_err() {
                return false;
            }
        }
    };
    tokio::time::timeout(PROJECTED_WAIT, applied).await.unwrap_or(false)
}
