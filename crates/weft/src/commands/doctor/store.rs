//! The log and the read model: whether they open, and whether this program may write them.

use weft_log::{EmbeddedLog, EventLog, OpenLogError};
use weft_model::Clock;
use weft_readmodel::{Inspection, ReadModel, VERSION};

use super::Finding;
use crate::{config::Config, stores, system::SystemClock};

/// Clocks that differ by more put events and leases out of order for whoever reads their times.
const SKEW_POOR_US: i64 = 1_000_000;
const SKEW_BAD_US: i64 = 60_000_000;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let mut findings = match config.kafka {
        None => vec![embedded_log(config).await],
        Some(_) => shared_log(config).await,
    };
    match config.postgres {
        None => findings.push(sqlite_model(config).await),
        Some(_) => findings.extend(postgres_model(config).await),
    }
    findings
}

/// The topics first: a log whose topics are not as they should be is refused for that alone.
async fn shared_log(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "log";
    let topics = match stores::inspect_topics(config).await {
        Ok(topics) => topics,
        Err(error) => {
            let advice = "look whether the brokers run, and at kafka.brokers and kafka.properties";
            return vec![Finding::bad(CHECK, format!("{error:#}"), advice)];
        }
    };
    let mut findings: Vec<Finding> = topics.iter().map(topic).collect();
    if topics.iter().any(|topic| !topic.exists) {
        findings.push(Finding::good(CHECK, "there is none yet: `weft serve` makes it"));
        return findings;
    }
    findings.push(match stores::open_log_read_only(config).await {
        Ok(log) => {
            let events = log.statistics().await.map(|s| s.partitions.iter().map(|p| p.events).sum::<u64>());
            log.close().await;
            match events {
                Ok(events) => Finding::good(CHECK, format!("opens with its inbox and its keys: {events} events")),
                Err(error) => Finding::bad(CHECK, error.to_string(), "look whether PostgreSQL runs, and at its log"),
            }
        }
        Err(error) => {
            let advice = "look at the topics above, at the database, and whether keys/node.key is this log's";
            Finding::bad(CHECK, format!("{error:#}"), advice)
        }
    });
    findings
}

fn topic(topic: &stores::Topic) -> Finding {
    let check = format!("topic {}", topic.name);
    if !topic.exists {
        return Finding::good(&check, "there is none yet: `weft serve` makes it");
    }
    if topic.wrong.is_empty() {
        return Finding::good(&check, "is set as it should be");
    }
    let advice = "set it with kafka-configs, before a retention or an unclean election loses events";
    Finding::bad(&check, topic.wrong.join("; "), advice)
}

async fn postgres_model(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "read model";
    let before_us = SystemClock.now_us();
    match ReadModel::inspect(&stores::model_location(config)).await {
        Ok(Some(found)) => {
            let after_us = SystemClock.now_us();
            vec![version(&found), skew(found.server_us, before_us, after_us)]
        }
        Ok(None) => Vec::new(),
        Err(error) => {
            let advice = "look whether PostgreSQL runs, and at postgres.url: its account, its database, its password";
            vec![Finding::bad(CHECK, format!("{:#}", anyhow::Error::from(error)), advice)]
        }
    }
}

fn version(found: &Inspection) -> Finding {
    const CHECK: &str = "read model";
    match found.version {
        Some(VERSION) => Finding::good(CHECK, format!("PostgreSQL answers: version {VERSION}")),
        Some(other) => {
            let advice = "`weft replay` builds it again beside the live one; a newer version is a newer program's";
            Finding::bad(CHECK, format!("is of version {other}, not {VERSION}"), advice)
        }
        None if found.may_create => Finding::good(CHECK, "there is none yet: `weft serve` makes it"),
        None => {
            let advice = "grant the account CREATE on the database";
            Finding::bad(CHECK, "there is none yet, and this account may not make a schema", advice)
        }
    }
}

/// The server looked at its clock somewhere between `before_us` and `after_us` of ours.
fn skew(server_us: i64, before_us: i64, after_us: i64) -> Finding {
    const CHECK: &str = "clock";
    let skew_us = (before_us - server_us).max(server_us - after_us).max(0);
    let found = format!("differs from PostgreSQL's by {:.3} s at least", skew_us as f64 / 1e6);
    let advice = "let both machines follow a time server (chrony, systemd-timesyncd)";
    match skew_us {
        0..SKEW_POOR_US => Finding::good(CHECK, "goes with PostgreSQL's"),
        SKEW_POOR_US..SKEW_BAD_US => Finding::poor(CHECK, found, advice),
        _ => Finding::bad(CHECK, found, advice),
    }
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
            format!("{} opens: version {}, known at {}", path.display(), VERSION, model.known_at()),
        ),
        Err(error) => {
            let advice = "it is a function of the log: move the file away, and the node builds it again";
            Finding::bad(CHECK, format!("{:#}", anyhow::Error::from(error)), advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::State;

    #[test]
    fn clocks_are_compared_as_far_as_the_answer_took() {
        let state = |server_us, before_us, after_us| skew(server_us, before_us, after_us).state;
        assert_eq!(state(5_000_000, 0, 10_000_000), State::Good, "anywhere within the time of the question");
        assert_eq!(state(0, 2_000_000, 3_000_000), State::Poor);
        assert_eq!(state(3_000_000, 0, 1_000_000), State::Poor);
        assert_eq!(state(100_000_000, 0, 1_000_000), State::Bad);
    }

    #[test]
    fn a_topic_that_would_lose_events_is_bad() {
        let finding = topic(&stores::Topic {
            name: "weft.feed".to_owned(),
            exists: true,
            wrong: vec!["retention.ms is 604800000, not -1".to_owned()],
        });
        assert_eq!(finding.state, State::Bad);
        assert!(finding.found.contains("604800000"), "{}", finding.found);
    }

    #[test]
    fn a_read_model_of_another_version_is_bad_and_none_is_not() {
        let found = |version, may_create| self::version(&Inspection { version, server_us: 0, may_create }).state;
        assert_eq!(found(Some(VERSION), false), State::Good);
        assert_eq!(found(Some(VERSION + 1), true), State::Bad);
        assert_eq!((found(None, true), found(None, false)), (State::Good, State::Bad));
    }
}
