//! Towards the brokers: settings of producers and consumers, names of topics, sizes of partitions.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    consumer::{Consumer, StreamConsumer},
    error::KafkaError,
};
use tokio::task::spawn_blocking;
use weft_model::{Partition, Stream};

use super::KafkaOptions;
use crate::{OpenLogError, error::Cause};

/// The largest event and a little more: what brokers and clients must let pass.
pub(super) const MESSAGE_BYTES_MAX: usize = 17 << 20;
/// How long one question to the brokers may take.
pub(super) const ASK_WITHIN: Duration = Duration::from_secs(5);
/// What a consumer reads ahead, in KiB.
const AHEAD_KIB: &str = "8192";

/// What every connection to the brokers is made with.
#[derive(Clone)]
pub(super) struct Client {
    config: ClientConfig,
    prefix: Arc<str>,
    place: Arc<str>,
    /// Asks for sizes; made when it is first needed, within a runtime.
    asking: Arc<OnceLock<Arc<StreamConsumer>>>,
}

impl Client {
    pub(super) fn new(options: &KafkaOptions) -> Result<Self, OpenLogError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &options.brokers)
            .set("client.id", "weft")
            .set("broker.address.ttl", "10000")
            .set("reconnect.backoff.max.ms", "1000")
            .set("topic.metadata.refresh.interval.ms", "60000")
            // Two lines for every broker that is away would be said again and again; what fails is told where it matters.
            .set("log.connection.close", "false");
        for (name, value) in &options.properties {
            config.set(name, value);
        }
        let place = format!("{} (topics {}.*)", options.brokers, options.prefix);
        let (prefix, place) = (Arc::from(options.prefix.as_str()), Arc::from(place));
        Ok(Self { config, prefix, place, asking: Arc::default() })
    }

    /// The topic of a stream.
    pub(super) fn topic(&self, stream: Stream) -> String {
        format!("{}.{}", self.prefix, stream.name())
    }

    /// Settings without any of a role.
    pub(super) fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Settings of a producer whose messages may be on their way for so long.
    pub(super) fn producing(&self, deliver_within: Duration) -> ClientConfig {
        let mut config = self.config.clone();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", deliver_within.as_millis().to_string())
            .set("message.max.bytes", MESSAGE_BYTES_MAX.to_string())
            .set("queue.buffering.max.messages", "1000000")
            // A batch is handed over in one go: waiting longer would not make it larger.
            .set("linger.ms", "0.3")
            .set("batch.size", "4000000")
            .set("batch.num.messages", "10000")
            .set("compression.type", "none");
        config
    }

    /// A consumer that is assigned nothing yet. It belongs to no group: places are kept by whoever reads.
    pub(super) fn consumer(&self) -> Result<StreamConsumer, KafkaError> {
        self.consuming().create()
    }

    /// One for whoever looks for damage: bytes whose sums do not fit are given too, and it is told where a partition ends.
    pub(super) fn auditor(&self) -> Result<StreamConsumer, KafkaError> {
        self.consuming().set("check.crcs", "false").set("enable.partition.eof", "true").create()
    }

    fn consuming(&self) -> ClientConfig {
        let mut config = self.config.clone();
        config
            .set("group.id", &*self.prefix)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("check.crcs", "true")
            .set("fetch.wait.max.ms", "500")
            .set("fetch.error.backoff.ms", "100")
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.message.max.bytes", "4194304")
            .set("receive.message.max.bytes", (MESSAGE_BYTES_MAX * 2).max(100_000_000).to_string())
            .set("fetch.max.bytes", MESSAGE_BYTES_MAX.to_string())
            .set("queued.max.messages.kbytes", AHEAD_KIB);
        config
    }

    /// How many events a partition has.
    pub(super) async fn size(&self, partition: Partition) -> Result<u64, Cause> {
        Ok(self.bounds(partition).await?.1)
    }

    /// The first offset that the brokers still have, and the size.
    pub(super) async fn bounds(&self, partition: Partition) -> Result<(u64, u64), Cause> {
        let (asking, topic) = (self.asking()?, self.topic(partition.stream));
        let number = partition.number.cast_signed();
        let asked = spawn_blocking(move || asking.fetch_watermarks(&topic, number, ASK_WITHIN)).await;
        let (low, high) = asked.map_err(Cause::new)?.map_err(Cause::new)?;
        Ok((low.max(0).cast_unsigned(), high.max(0).cast_unsigned()))
    }

    pub(super) fn asking(&self) -> Result<Arc<StreamConsumer>, Cause> {
        if let Some(asking) = self.asking.get() {
            return Ok(Arc::clone(asking));
        }
        let made = Arc::new(self.consumer().map_err(Cause::new)?);
        Ok(Arc::clone(self.asking.get_or_init(|| made)))
    }

    /// The brokers do not do now what opening the log takes.
    pub(super) fn unavailable(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> OpenLogError {
        OpenLogError::Unavailable { place: self.place.to_string(), source: source.into() }
    }

    pub(super) fn place(&self) -> String {
        self.place.to_string()
    }
}
