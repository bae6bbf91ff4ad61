//! The four topics: made with stated settings, and refused where those differ.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rdkafka::{
    admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::Consumer,
    metadata::MetadataTopic,
    types::RDKafkaErrorCode,
};
use tokio::{task::spawn_blocking, time::sleep};
use weft_model::Stream;

use super::{
    KafkaOptions,
    client::{ASK_WITHIN, Client, MESSAGE_BYTES_MAX},
};
use crate::{OpenLogError, error::Cause, partitions::Partitions};

/// How long the brokers of a cluster that starts beside the node may take to be as many as a topic has copies.
const BROKERS_WITHIN: Duration = Duration::from_secs(30);

/// Between two questions to brokers that do not know of a topic, or of each other, yet.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What the brokers say of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicReport {
    /// Its name.
    pub topic: String,
    /// Whether there is one.
    pub exists: bool,
    /// What it is set to, and what it should be. Empty where there is no such topic.
    pub settings: Vec<Setting>,
}

/// One setting of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// As Kafka calls it; also `partitions` and `replication.factor`.
    pub name: String,
    /// What it should be.
    pub wanted: String,
    /// What it is.
    pub found: String,
}

impl Setting {
    /// Whether it is as it should be. A topic may take larger events than ours, and keep more copies.
    #[must_use]
    pub fn is_good(&self) -> bool {
        match self.name.as_str() {
            "max.message.bytes" | "replication.factor" | "min.insync.replicas" => {
                let number = |text: &str| text.parse::<u64>().ok();
                number(&self.found) >= number(&self.wanted)
            }
            _ => self.found == self.wanted,
        }
    }
}

/// Makes topics that are missing, unless the log is only read; checks all. Returns the name of the cluster.
pub(super) async fn ensure(client: &Client, options: &KafkaOptions, create: bool) -> Result<String, OpenLogError> {
    let mut reports = describe(client, options).await?;
    if create && reports.iter().any(|report| !report.exists) {
        make(client, options).await?;
        reports = describe(client, options).await?;
    }
    for report in &reports {
        if !report.exists {
            return Err(OpenLogError::Missing { place: client.place() });
        }
        if let Some(Setting { name, wanted, found }) = report.settings.iter().find(|setting| !setting.is_good()) {
            return Err(OpenLogError::Setting {
                topic: report.topic.clone(),
                name: name.clone(),
                wanted: wanted.clone(),
                found: found.clone(),
            });
        }
    }
    cluster(client).await
}

/// The name of the cluster.
pub(super) async fn cluster(client: &Client) -> Result<String, OpenLogError> {
    let asking = client.asking().map_err(|source| client.unavailable(source))?;
    let cluster = spawn_blocking(move || asking.client().fetch_cluster_id(ASK_WITHIN)).await;
    cluster.ok().flatten().ok_or_else(|| client.unavailable("brokers do not say which cluster they are"))
}

/// What the brokers say of all four.
pub(super) async fn describe(client: &Client, options: &KafkaOptions) -> Result<Vec<TopicReport>, OpenLogError> {
    let unavailable = |cause: Cause| client.unavailable(cause);
    let admin: AdminClient<DefaultClientContext> = client.config().create().map_err(|e| unavailable(Cause::new(e)))?;
    let mut reports = Vec::new();
    for stream in Stream::ALL {
        let topic = client.topic(stream);
        let mut report = TopicReport { topic, exists: false, settings: Vec::new() };
        if let Some((partitions, replication)) = shape(client, &report.topic).await.map_err(unavailable)? {
            report.exists = true;
            let set = configured(&admin, &report.topic).await.map_err(unavailable)?;
            let wanted_partitions = Partitions::with_feed(options.feed_partitions).count(stream);
            report.settings.push(setting("partitions", wanted_partitions, partitions));
            report.settings.push(setting("replication.factor", options.replication, replication));
            for (name, wanted) in settings(options) {
                let found = set.get(name).cloned().unwrap_or_default();
                report.settings.push(Setting { name: name.to_owned(), wanted, found });
            }
        }
        reports.push(report);
    }
    Ok(reports)
}

/// The stated settings of every topic.
fn settings(options: &KafkaOptions) -> [(&'static str, String); 6] {
    [
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", "-1".to_owned()),
        ("retention.bytes", "-1".to_owned()),
        ("min.insync.replicas", options.min_insync_replicas.to_string()),
        ("unclean.leader.election.enable", "false".to_owned()),
        ("max.message.bytes", MESSAGE_BYTES_MAX.to_string()),
    ]
}

async fn make(client: &Client, options: &KafkaOptions) -> Result<(), OpenLogError> {
    let unavailable = |e: rdkafka::error::KafkaError| client.unavailable(e);
    let admin: AdminClient<DefaultClientContext> = client.config().create().map_err(unavailable)?;
    let (settings, partitions) = (settings(options), Partitions::with_feed(options.feed_partitions));
    let names = Stream::ALL.map(|stream| (client.topic(stream), partitions.count(stream)));
    let topics = names.each_ref().map(|(name, partitions)| {
        let replication = TopicReplication::Fixed(options.replication.into());
        let topic = NewTopic::new(name, partitions.cast_signed(), replication);
        settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
    });
    let ask = AdminOptions::new().operation_timeout(Some(ASK_WITHIN)).request_timeout(Some(ASK_WITHIN));
    let until = Instant::now() + BROKERS_WITHIN;
    loop {
        let made = admin.create_topics(&topics, &ask).await.map_err(unavailable)?;
        // Where it exists, another node was quicker.
        let refused =
            made.into_iter().filter_map(Result::err).find(|(_, e)| *e != RDKafkaErrorCode::TopicAlreadyExists);
        let Some((topic, code)) = refused else { break };
        if !is_starting(code) || Instant::now() >= until {
            return Err(client.unavailable(format!("topic {topic} cannot be made: {code}")));
        }
        sleep(AGAIN_AFTER).await;
    }
    // The brokers tell each other of it; until then it is not there for everyone.
    for (name, wanted) in names {
        for _ in 0..100 {
            match shape(client, &name).await {
                Ok(Some((partitions, _))) if partitions == wanted => break,
                _ => sleep(AGAIN_AFTER).await,
            }
        }
    }
    Ok(())
}

/// Whether a topic was refused for what a cluster says while its brokers still start: that there are fewer of them than copies
/// are wanted, or that nobody leads them.
fn is_starting(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::InvalidReplicationFactor | Code::NotController | Code::RequestTimedOut | Code::BrokerNotAvailable
    )
}

/// How many partitions a topic has; none where there is no such topic.
pub(super) async fn partitions(client: &Client, topic: &str) -> Result<u32, Cause> {
    Ok(shape(client, topic).await?.map_or(0, |(partitions, _)| partitions))
}

/// Partitions and copies of a topic; None where there is no such topic.
async fn shape(client: &Client, topic: &str) -> Result<Option<(u32, usize)>, Cause> {
    let (asking, name) = (client.asking()?, topic.to_owned());
    let metadata = spawn_blocking(move || asking.fetch_metadata(Some(&name), ASK_WITHIN)).await;
    let metadata = metadata.map_err(Cause::new)?.map_err(Cause::new)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
    Ok(found.filter(|found| !found.partitions().is_empty()).map(|found: &MetadataTopic| {
        let replication = found.partitions().iter().map(|partition| partition.replicas().len()).min();
        (found.partitions().len() as u32, replication.unwrap_or(0))
    }))
}

async fn configured(admin: &AdminClient<DefaultClientContext>, topic: &str) -> Result<HashMap<String, String>, Cause> {
    let ask = AdminOptions::new().request_timeout(Some(ASK_WITHIN));
    let described = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &ask).await.map_err(Cause::new)?;
    let mut set = HashMap::new();
    for resource in described {
        let ConfigResource { entries, .. } =
            resource.map_err(|code| Cause::new(format!("settings of {topic} are not told: {code}")))?;
        set.extend(entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))));
    }
    Ok(set)
}

fn setting(name: &str, wanted: impl ToString, found: impl ToString) -> Setting {
    Setting { name: name.to_owned(), wanted: wanted.to_string(), found: found.to_string() }
}
