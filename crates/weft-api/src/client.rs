//! Typed clients for the command line, benchmarks and tests.

use std::time::Duration;

use bytes::Bytes;
use tonic::{
    Request, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint, Error},
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_prost::ProstCodec;
use weft_model::proto::api::GetTimelineRequest;

use crate::{
    generated::client::{
        feed_service_client::FeedServiceClient, link_service_client::LinkServiceClient,
        person_service_client::PersonServiceClient, timeline_service_client::TimelineServiceClient,
    },
    server::ANSWER_BYTES_MAX,
    wire::GetTimelineResponse,
};

const HEALTH_WITHIN: Duration = Duration::from_secs(5);

/// One connection, shared by the four services' clients. Cloning is cheap and shares the connection.
#[derive(Debug, Clone)]
pub struct Clients {
    /// A person's history.
    pub timeline: TimelineServiceClient<Channel>,
    /// Who is who.
    pub person: PersonServiceClient<Channel>,
    /// Feeds and quarantine.
    pub feed: FeedServiceClient<Channel>,
    /// Stewards: the review queue, explanations, decisions.
    pub link: LinkServiceClient<Channel>,
    /// The connection itself, for the health and reflection services.
    pub channel: Channel,
}

impl Clients {
    /// The entries of `TimelineService.GetTimeline`, each still an encoded `TimelineEntry`: for whoever passes them on, or
    /// counts them, and reads none.
    ///
    /// # Errors
    /// As the method's own.
    pub async fn timeline_encoded(&self, request: GetTimelineRequest) -> Result<Vec<Bytes>, Status> {
        const METHOD: PathAndQuery = PathAndQuery::from_static("/weft.v1.TimelineService/GetTimeline");
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<GetTimelineRequest, GetTimelineResponse>::default();
        let answer = grpc.unary(Request::new(request), METHOD, codec).await?;
        Ok(answer.into_inner().entries)
    }
}

/// Whether the process at `address` says that it can use all that it stands on. Waits for five seconds.
///
/// # Errors
/// UNAVAILABLE where nothing answers there, or not with health.
pub async fn healthy(address: &str) -> Result<bool, Status> {
    let unreachable = |error: Error| Status::unavailable(error.to_string());
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(unreachable)?;
    let endpoint = endpoint.connect_timeout(HEALTH_WITHIN).timeout(HEALTH_WITHIN);
    let mut health = HealthClient::new(endpoint.connect().await.map_err(unreachable)?);
    let answer = health.check(HealthCheckRequest::default()).await?;
    Ok(answer.into_inner().status() == ServingStatus::Serving)
}

/// Connects to a node at `address`: `127.0.0.1:50051`.
///
/// # Errors
/// The transport's, where `address` is no address or nothing answers there within five seconds.
pub async fn connect(address: &str) -> Result<Clients, Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    let channel = endpoint.connect().await?;
    Ok(Clients {
        timeline: TimelineServiceClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
        person: PersonServiceClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
        feed: FeedServiceClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
        link: LinkServiceClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
        channel,
    })
}
