//! Watching what a process stands on, so that whoever balances load or restarts processes is told by the health service,
//! and a log line says when it was lost and when it came back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use weft_api::Health;
use weft_log::Reachable;
use weft_readmodel::ReadModel;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What has not answered by then is not usable: a caller would have given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Looks until `shutdown`, and tells what changes. `model` where the process needs the read model.
pub(crate) async fn watch(
    log: Arc<dyn Reachable>,
    model: Option<Arc<ReadModel>>,
    told: watch::Sender<Health>,
    shutdown: CancellationToken,
) {
    loop {
        let log_answers = async { log.check().await.map_err(|e| e.to_string()) };
        look("log", log_answers, &told).await;
        if let Some(model) = &model {
            let model_answers = async { model.linker_cursor().await.map(drop).map_err(|e| e.to_string()) };
            look("read-model", model_answers, &told).await;
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Everything usable: it has just been opened.
pub(crate) fn opened(model: bool) -> Health {
    let mut parts = BTreeMap::from([("log", true)]);
    if model {
        parts.insert("read-model", true);
    }
    parts
}

async fn look(part: &'static str, answer: impl Future<Output = Result<(), String>>, told: &watch::Sender<Health>) {
    let answer = timeout(ANSWER_WITHIN, answer).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
    let usable = answer.is_ok();
    let changed = told.send_if_modified(|health| health.insert(part, usable) != Some(usable));
    match answer {
        Ok(()) if changed => info!(part, "usable again"),
        Err(reason) if changed => warn!(part, reason, "not usable"),
        _ => {}
    }
}
