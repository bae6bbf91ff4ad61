//! Typed clients for the command line, benchmarks and tests.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint, Error};

use crate::{
    generated::client::{
        feed_service_client::FeedServiceClient, person_service_client::PersonServiceClient,
        timeline_service_client::TimelineServiceClient,
    },
    server::ANSWER_BYTES_MAX,
};

/// One connection, shared by the three services' clients. Cloning is cheap and shares the connection.
#[derive(Debug, Clone)]
pub struct Clients {
    /// A person's history.
    pub timeline: TimelineServiceClient<Channel>,
    /// Who is who.
    pub person: PersonServiceClient<Channel>,
    /// Feeds and quarantine.
    pub feed: FeedServiceClient<Channel>,
    /// The connection itself, for the health and reflection services.
    pub channel: Channel,
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
        channel,
    })
}
