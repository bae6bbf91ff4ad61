//! The gRPC server: the four services, health and reflection on one listener.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tonic::{
    server::NamedService,
    transport::{Server, server::TcpIncoming},
};
use weft_log::SharedLog;
use weft_model::{Clock, Random};
use weft_readmodel::ReadModel;

use crate::{
    closed::Closed,
    disclosure::Disclosures,
    feeds::FeedControl,
    generated::server::{
        feed_service_server::FeedServiceServer, link_service_server::LinkServiceServer,
        person_service_server::PersonServiceServer, timeline_service_server::TimelineServiceServer,
    },
    health::{self, Health},
    models::LinkModels,
    moments::Moments,
    services::{Feeds, Links, Persons, Timelines},
};

/// Bytes of an answer. The largest is a quarantined message with its raw bytes.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Bytes of a request. The largest is a registration file.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Calls in progress on one connection; more wait.
const CALLS_PER_CONNECTION_MAX: u32 = 256;

/// How long callers may take to read their answers once the node is ending.
const GRACE: Duration = Duration::from_secs(5);

/// Everything that the services need.
pub struct ServeOptions {
    /// Where to listen: already bound, so that the caller knows the port.
    pub listener: TcpListener,
    /// Where disclosures and changes of feeds are appended, and messages are opened from.
    pub log: SharedLog,
    /// What answers are read from.
    pub model: Arc<ReadModel>,
    /// What reads profiles and listens for messages.
    pub feeds: Arc<dyn FeedControl>,
    /// What reads linking models.
    pub link_models: Arc<dyn LinkModels>,
    /// Tells when a disclosure was made.
    pub clock: Arc<dyn Clock>,
    /// Makes every disclosure an event of its own.
    pub random: Arc<dyn Random>,
    /// What the health service tells.
    pub health: watch::Receiver<Health>,
    /// Let others than this machine connect. Nothing here proves who a caller is: whoever can connect can read everything
    /// under any name, so say true only where something in front does that (a proxy with mutual TLS, a private network).
    pub allow_remote: bool,
    /// Ends [`serve`]: calls in progress are answered, streams end as UNAVAILABLE.
    pub shutdown: CancellationToken,
}

/// What [`serve_health`] needs.
pub struct HealthOptions {
    /// Where to listen: already bound, so that the caller knows the port.
    pub listener: TcpListener,
    /// What is told.
    pub health: watch::Receiver<Health>,
    /// Let others than this machine connect: they learn what is usable here, and nothing else.
    pub allow_remote: bool,
    /// Ends it.
    pub shutdown: CancellationToken,
}

/// Why the services do not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener is reachable from other machines and that was not allowed: change the address, or allow it.
    #[error("{0} is reachable from other machines, which the configuration does not allow")]
    Remote(SocketAddr),
    /// The socket failed.
    #[error("listening failed")]
    Socket(#[from] std::io::Error),
    /// The transport failed.
    #[error("serving failed")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors that this program was built with do not read.
    #[error("reflection descriptors do not read")]
    Descriptors(#[from] tonic_reflection::server::Error),
}

/// Serves until `shutdown`.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(options: ServeOptions) -> Result<(), ServeError> {
    may_listen(&options.listener, options.allow_remote)?;
    let ServeOptions { listener, log, model, feeds, link_models, clock, random, health: watched, shutdown, .. } =
        options;
    let disclosures = Arc::new(Disclosures { log: log.clone(), clock: clock.clone(), random });
    let moments = Moments { log: log.clone(), clock: clock.clone() };
    let timelines = TimelineServiceServer::new(Timelines {
        log: log.clone(),
        model: model.clone(),
        moments: moments.clone(),
        disclosures: disclosures.clone(),
        shutdown: shutdown.clone(),
    });
    let (in_model, recorded) = (model.clone(), disclosures.clone());
    let persons = PersonServiceServer::new(Persons { model: in_model, moments, disclosures: recorded });
    let links = Links::new(log.clone(), model.clone(), link_models, disclosures.clone(), clock.clone());
    let links = LinkServiceServer::new(links);
    let feeds = FeedServiceServer::new(Feeds::new(log, model, disclosures, feeds, clock));
    let timelines = timelines.max_decoding_message_size(REQUEST_BYTES_MAX).max_encoding_message_size(ANSWER_BYTES_MAX);
    let persons = persons.max_decoding_message_size(REQUEST_BYTES_MAX).max_encoding_message_size(ANSWER_BYTES_MAX);
    let links = links.max_decoding_message_size(REQUEST_BYTES_MAX).max_encoding_message_size(ANSWER_BYTES_MAX);
    let feeds = feeds.max_decoding_message_size(REQUEST_BYTES_MAX).max_encoding_message_size(ANSWER_BYTES_MAX);

    let (reporter, health_service) = tonic_health::server::health_reporter();
    let services = vec![
        TimelineServiceServer::<Timelines>::NAME,
        PersonServiceServer::<Persons>::NAME,
        FeedServiceServer::<Feeds>::NAME,
        LinkServiceServer::<Links>::NAME,
    ];
    let reporting = health::report(reporter, services, watched);

    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(weft_model::proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let serving = Server::builder()
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(60)))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(Closed(timelines))
        .add_service(Closed(persons))
        .add_service(Closed(feeds))
        .add_service(Closed(links))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), shutdown.cancelled());
    until_ended(serving, reporting, &shutdown).await
}

/// Serves health alone until `shutdown`: for a process that answers no questions.
///
/// # Errors
/// [`ServeError`].
pub async fn serve_health(options: HealthOptions) -> Result<(), ServeError> {
    let HealthOptions { listener, health: watched, allow_remote, shutdown } = options;
    may_listen(&listener, allow_remote)?;
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let serving = Server::builder()
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
        .add_service(health_service)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), shutdown.cancelled());
    until_ended(serving, health::report(reporter, Vec::new(), watched), &shutdown).await
}

fn may_listen(listener: &TcpListener, allow_remote: bool) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    if allow_remote || address.ip().is_loopback() { Ok(()) } else { Err(ServeError::Remote(address)) }
}

async fn until_ended(
    serving: impl Future<Output = Result<(), tonic::transport::Error>>,
    reporting: impl Future<Output = ()>,
    shutdown: &CancellationToken,
) -> Result<(), ServeError> {
    let reporting = async {
        reporting.await;
        // What was told last stays told.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = serving => Ok(ended?),
        () = reporting => Ok(()),
        () = grace_over(shutdown) => {
            tracing::info!("callers still connected after the grace period");
            Ok(())
        }
    }
}

/// A caller that holds a stream open (health's watch, reflection) must not keep the node from ending.
async fn grace_over(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(GRACE).await;
}
