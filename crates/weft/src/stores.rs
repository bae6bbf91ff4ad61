//! The log and the read model that the configuration names: files of this node, or Kafka and PostgreSQL that many share.

use std::sync::Arc;

use anyhow::Context;
use weft_log::{EmbeddedEvidence, EmbeddedLog, EventLog, Evidence, OpenOptions, Reachable, SharedLog, Vault};
use weft_readmodel::{Location, ReadModel, Repeats};

use crate::{config::Config, system::SystemRandom};

/// A log, and whoever says whether it can be used now.
pub(crate) struct Watched {
    pub(crate) log: SharedLog,
    pub(crate) reachable: Arc<dyn Reachable>,
}

impl Watched {
    fn new<L: EventLog + Reachable>(log: L) -> Self {
        let log = Arc::new(log);
        Self { log: log.clone(), reachable: log }
    }
}

/// Opens the log for writing.
pub(crate) async fn open_log(config: &Config) -> anyhow::Result<SharedLog> {
    Ok(open_watched_log(config).await?.log)
}

/// The same for a node, which tells how it is.
pub(crate) async fn open_watched_log(config: &Config) -> anyhow::Result<Watched> {
    if config.kafka.is_some() {
        return kafka::open(config, false).await;
    }
    let log = EmbeddedLog::open(OpenOptions::new(config.log_dir(), open_vault(config)?)).await;
    Ok(Watched::new(log.with_context(|| format!("cannot open the log in {}", config.log_dir().display()))?))
}

/// Opens the log to be read, also beside the node that writes it.
pub(crate) async fn open_log_read_only(config: &Config) -> anyhow::Result<SharedLog> {
    if config.kafka.is_some() {
        return Ok(kafka::open(config, true).await?.log);
    }
    Ok(Arc::new(EmbeddedLog::open_read_only(config.log_dir(), open_vault(config)?).await?))
}

/// The bytes of the log as an auditor reads them.
pub(crate) async fn open_evidence(config: &Config) -> anyhow::Result<Arc<dyn Evidence>> {
    if config.kafka.is_some() {
        return Ok(kafka::open_evidence(config, false).await?.0);
    }
    Ok(Arc::new(EmbeddedEvidence::open(config.log_dir()).await?))
}

/// The same with the keys that its events were sealed with.
pub(crate) async fn open_evidence_and_keys(config: &Config) -> anyhow::Result<(Arc<dyn Evidence>, Arc<Vault>)> {
    if config.kafka.is_some() {
        let (evidence, vault) = kafka::open_evidence(config, true).await?;
        return Ok((evidence, vault.context("keys were asked for")?));
    }
    Ok((open_evidence(config).await?, open_vault(config)?))
}

/// Opens the vault of an embedded log.
pub(crate) fn open_vault(config: &Config) -> anyhow::Result<Arc<Vault>> {
    let vault = Vault::open(&config.keys, Arc::new(SystemRandom));
    Ok(Arc::new(vault.with_context(|| format!("cannot open the key vault in {}", config.keys.display()))?))
}

/// Opens the read model, or makes it.
pub(crate) async fn open_model(config: &Config) -> anyhow::Result<ReadModel> {
    let location = model_location(config);
    ReadModel::open(&location).await.with_context(|| format!("cannot open the read model {location}"))
}

/// Where the read model is.
pub(crate) fn model_location(config: &Config) -> Location {
    match &config.postgres {
        None => Location::Sqlite(config.model_path()),
        Some(postgres) => Location::Postgres { url: postgres.url.reveal().to_owned(), schema: postgres.model_schema() },
    }
}

/// One topic of a log on Kafka, as the brokers tell of it.
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) exists: bool,
    /// Settings that are not as they should be, each with what it is and what it should be.
    pub(crate) wrong: Vec<String>,
}

/// The topics of the log; none where it is a file.
pub(crate) async fn inspect_topics(config: &Config) -> anyhow::Result<Vec<Topic>> {
    if config.kafka.is_none() {
        return Ok(Vec::new());
    }
    kafka::inspect(config).await
}

/// Whether the log may hold an event twice.
pub(crate) fn repeats(config: &Config) -> Repeats {
    if config.kafka.is_some() { Repeats::Possible } else { Repeats::Never }
}

#[cfg(feature = "kafka")]
mod kafka {
    use std::sync::Arc;

    use anyhow::Context;
    use weft_log::{Evidence, KafkaEvidence, KafkaLog, KafkaOptions, Vault};

    use super::{Topic, Watched};
    use crate::{config::Config, system::SystemRandom};

    pub(super) async fn inspect(config: &Config) -> anyhow::Result<Vec<Topic>> {
        let options = options(config).context("[kafka] needs [postgres]")?;
        let reports = KafkaLog::describe_topics(&options).await?;
        Ok(reports
            .into_iter()
            .map(|report| {
                let wrong = report.settings.iter().filter(|setting| !setting.is_good());
                let wrong = wrong.map(|s| format!("{} is {}, not {}", s.name, s.found, s.wanted)).collect();
                Topic { name: report.topic, exists: report.exists, wrong }
            })
            .collect())
    }

    pub(super) async fn open(config: &Config, read_only: bool) -> anyhow::Result<Watched> {
        let options = options(config).context("[kafka] needs [postgres]")?;
        let opened = if read_only { KafkaLog::open_read_only(options).await } else { KafkaLog::open(options).await };
        Ok(Watched::new(opened.context("cannot open the log on Kafka and PostgreSQL")?))
    }

    pub(super) async fn open_evidence(
        config: &Config,
        keys: bool,
    ) -> anyhow::Result<(Arc<dyn Evidence>, Option<Arc<Vault>>)> {
        let options = options(config).context("[kafka] needs [postgres]")?;
        let evidence = KafkaEvidence::open(&options).await.context("cannot open the log on Kafka and PostgreSQL")?;
        let vault = match keys {
            true => Some(Arc::new(evidence.vault(&options).await.context("cannot read the keys in PostgreSQL")?)),
            false => None,
        };
        Ok((Arc::new(evidence), vault))
    }

    fn options(config: &Config) -> Option<KafkaOptions> {
        let (kafka, postgres) = (config.kafka.as_ref()?, config.postgres.as_ref()?);
        Some(KafkaOptions {
            brokers: kafka.brokers.clone(),
            prefix: kafka.prefix.clone(),
            feed_partitions: kafka.feed_partitions,
            replication: kafka.replication,
            min_insync_replicas: kafka.min_insync_replicas(),
            properties: kafka.properties.0.clone(),
            postgres: postgres.url.reveal().to_owned(),
            schema: postgres.log_schema(),
            keys: config.keys.clone(),
            random: Arc::new(SystemRandom),
            deliver_within: KafkaOptions::DELIVER_WITHIN,
        })
    }
}

#[cfg(not(feature = "kafka"))]
mod kafka {
    use std::sync::Arc;

    use anyhow::bail;
    use weft_log::{Evidence, Vault};

    use super::{Topic, Watched};
    use crate::config::Config;

    const WITHOUT: &str = "[kafka] is configured, and this program was built without the feature kafka";

    pub(super) async fn inspect(_config: &Config) -> anyhow::Result<Vec<Topic>> {
        bail!(WITHOUT)
    }

    pub(super) async fn open(_config: &Config, _read_only: bool) -> anyhow::Result<Watched> {
        bail!(WITHOUT)
    }

    pub(super) async fn open_evidence(
        _config: &Config,
        _keys: bool,
    ) -> anyhow::Result<(Arc<dyn Evidence>, Option<Arc<Vault>>)> {
        bail!(WITHOUT)
    }
}
