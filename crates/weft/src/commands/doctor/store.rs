//! The log and the read model: whether they open, and whether this program may write them.

use weft_log::{EmbeddedLog, EventLog, OpenLogError};
use weft_readmodel::ReadModel;

use super::Finding;
use crate::{config::Config, stores};

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    vec![embedded_log(config).await, sqlite_model(config).await]
}

async fn embedded_log(config: &Config) -> Finding {
    const CHECK: &str = "log";
    let dir = config.log_dir();
    let Ok(vault) = stores::open_vault(config) else {
        return Finding::bad(CHECK, "not looked at: the keys do not open", "see keys");
    };
    match EmbeddedLog::open_read_only(&dir, vault).await {
        Ok(log) => {
            let events = log.statistics().await.map(|s| s.partitions.iter().map(|p| p.events).sum::<u64>());
            log.close().await;
            match events {
                Ok(events) => Finding::good(CHECK, format!("{} opens: {events} events", dir.display())),
                Err(error) => Finding::bad(CHECK, error.to_string(), "look at the disk"),
            }
        }
        Err(OpenLogError::Missing { .. }) => Finding::good(CHECK, "there is none yet: `weft serve` makes it"),
        Err(error @ OpenLogError::NewerFormat { .. }) => {
            Finding::bad(CHECK, error.to_string(), "use the program that wrote it, or a newer one")
        }
        Err(error @ OpenLogError::OtherVault { .. }) => {
            Finding::bad(CHECK, error.to_string(), "put back the keys that belong to this log")
        }
        Err(error) => {
            Finding::bad(CHECK, format!("{:#}", anyhow::Error::from(error)), "restore the log from its backup")
        }
    }
}

async fn sqlite_model(config: &Config) -> Finding {
    const CHECK: &str = "read model";
    let path = config.model_path();
    if !path.exists() {
        return Finding::good(CHECK, "there is none yet: `weft serve` makes it");
    }
    match ReadModel::open(&path).await {
        Ok(model) => Finding::good(
            CHECK,
            format!("{} opens: version {}, known at {}", path.display(), weft_readmodel::VERSION, model.known_at()),
        ),
        Err(error) => {
            let advice = "it is a function of the log: move the file away, and the node builds it again";
            Finding::bad(CHECK, format!("{:#}", anyhow::Error::from(error)), advice)
        }
    }
}
