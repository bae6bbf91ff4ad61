//! The producer: hands a batch to librdkafka in order, and tells what became of every event of it.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rdkafka::Message as _;
use rdkafka::{
    ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer},
};
use tokio::{sync::oneshot, time::sleep};
use weft_model::{EventId, Partition, Position, Stream};

use super::client::Client;
use crate::{Stored, error::Cause, log::Shared, merkle::Hash, seal::Sealed};

/// The header of a message that holds the leaf hash of its value.
pub(super) const LEAF_HEADER: &str = "leaf";
/// How long to wait where librdkafka's queue is full.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// An event on its way.
pub(super) struct Outgoing {
    pub(super) partition: Partition,
    pub(super) event_id: EventId,
    pub(super) sealed: Sealed,
}

/// What became of the events of a batch, in their order.
pub(super) type Outcomes = Vec<Result<Position, Cause>>;

/// A producer; made anew when it has failed for good.
pub(super) struct Producer {
    client: Client,
    shared: Arc<Shared>,
    deliver_within: Duration,
    topics: [String; 4],
    producer: ThreadedProducer<Deliveries>,
}

/// Told of every delivery, on librdkafka's thread.
struct Deliveries(Arc<Shared>);

/// Which event of which batch a message is.
struct Delivery {
    batch: Arc<Mutex<Batch>>,
    number: usize,
    partition: Partition,
    sealed: Sealed,
}

struct Batch {
    outcomes: Vec<Option<Result<Position, Cause>>>,
    missing: usize,
    done: Option<oneshot::Sender<Outcomes>>,
}

impl Producer {
    pub(super) fn new(client: Client, shared: Arc<Shared>, deliver_within: Duration) -> Result<Self, KafkaError> {
        let producer = make(&client, &shared, deliver_within)?;
        let topics = Stream::ALL.map(|stream| client.topic(stream));
        Ok(Self { client, shared, deliver_within, topics, producer })
    }

    /// Hands the events over, in order; what is handed over next comes behind them in each partition. The answer comes
    /// when each is delivered by all brokers that are in step, or has failed, or its time is up.
    pub(super) async fn send(&mut self, events: Vec<Outgoing>) -> Result<oneshot::Receiver<Outcomes>, Cause> {
        if self.producer.client().fatal_error().is_some() {
            // The brokers have lost what they once acknowledged to this one: it can never go on, another one can.
            self.producer = make(&self.client, &self.shared, self.deliver_within).map_err(Cause::new)?;
        }
        let (done, outcomes) = oneshot::channel();
        let missing = events.len();
        let batch = Batch { outcomes: (0..missing).map(|_| None).collect(), missing, done: Some(done) };
        let batch = Arc::new(Mutex::new(batch));
        for (number, Outgoing { partition, event_id, sealed }) in events.into_iter().enumerate() {
            let topic = self.topic(partition.stream);
            let bytes = sealed.bytes.clone();
            let leaf =
                OwnedHeaders::new_with_capacity(1).insert(Header { key: LEAF_HEADER, value: Some(&sealed.leaf[..]) });
            let delivery = Box::new(Delivery { batch: Arc::clone(&batch), number, partition, sealed });
            let mut record = BaseRecord::with_opaque_to(topic, delivery)
                .partition(partition.number.cast_signed())
                .key(&event_id.0[..])
                .payload(&bytes[..])
                .headers(leaf);
            loop {
                match self.producer.send(record) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                        sleep(FULL_PAUSE).await;
                        record = again;
                    }
                    Err((error, refused)) => {
                        refused.delivery_opaque.finish(Err(Cause::new(error)));
                        break;
                    }
                }
            }
        }
        Ok(outcomes)
    }

    fn topic(&self, stream: Stream) -> &str {
        let [feed, identity, control, access] = &self.topics;
        match stream {
            Stream::Feed => feed,
            Stream::Identity => identity,
            Stream::Control => control,
            Stream::Access => access,
        }
    }
}

fn make(
    client: &Client,
    shared: &Arc<Shared>,
    deliver_within: Duration,
) -> Result<ThreadedProducer<Deliveries>, KafkaError> {
    client.producing(deliver_within).create_with_context(Deliveries(Arc::clone(shared)))
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, mut delivery: Box<Delivery>) {
        let outcome = match result {
            Ok(message) => {
                let position = delivery.partition.at(message.offset().max(0).cast_unsigned());
                let Sealed { bytes, leaf, opened } = &mut delivery.sealed;
                let (bytes, leaf) = (bytes.clone(), *leaf);
                if let Some(opened) = opened.take() {
                    self.0.opened.keep([(leaf, opened)]);
                }
                self.0.tail.publish_next(Stored { position, bytes, leaf });
                Ok(position)
            }
            Err((error, _)) => Err(Cause::new(error.clone())),
        };
        delivery.finish(outcome);
    }
}

impl Delivery {
    fn finish(&self, outcome: Result<Position, Cause>) {
        let mut batch = lock(&self.batch);
        if let Some(place @ None) = batch.outcomes.get_mut(self.number) {
            *place = Some(outcome);
            batch.missing -= 1;
        }
        if batch.missing == 0
            && let Some(done) = batch.done.take()
        {
            let outcomes = mem::take(&mut batch.outcomes).into_iter().flatten().collect();
            // Nobody listens where the log is gone.
            let _ = done.send(outcomes);
        }
    }
}

/// The leaf hash that a message carries.
pub(super) fn carried_leaf<M: rdkafka::Message>(message: &M) -> Option<Hash>
where
    M::Headers: rdkafka::message::Headers,
{
    use rdkafka::message::Headers;
    let headers = message.headers()?;
    headers.iter().find(|header| header.key == LEAF_HEADER)?.value?.try_into().ok()
}

/// What a panicking thread left behind is whole: nothing under this lock fails half way.
fn lock(batch: &Mutex<Batch>) -> MutexGuard<'_, Batch> {
    batch.lock().unwrap_or_else(PoisonError::into_inner)
}
