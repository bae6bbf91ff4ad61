//! What is around the services: health, reflection, where they listen, how they end, what they refuse to read.

use std::sync::Arc;

use tokio::{net::TcpListener, sync::watch};
use tonic::{Code, codegen::tokio_stream};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};
use weft_api::{Health, HealthOptions, ServeError, ServeOptions, client, error_details, serve, serve_health};
use weft_model::{Clock, Random, proto::api::GetTimelineRequest};

use crate::node::{DEADLINE, KnownModels, Node, context};

const SERVICES: [&str; 3] = ["weft.v1.FeedService", "weft.v1.PersonService", "weft.v1.TimelineService"];

#[tokio::test]
async fn health_is_told_for_the_node_each_service_and_each_part() {
    let node = Node::start().await;
    let mut health = HealthClient::new(node.clients.channel.clone());
    let all = || SERVICES.into_iter().chain(["", "log", "read-model"]);
    for service in all() {
        wait_for(&mut health, service, ServingStatus::Serving).await;
    }
    let other = health.check(HealthCheckRequest { service: "weft.v1.Other".to_owned() }).await.unwrap_err();
    assert_eq!(other.code(), Code::NotFound);
    // One part that is away takes everything that stands on it along, and nothing else.
    node.health.send_modify(|parts| *parts.get_mut("log").unwrap() = false);
    for service in all() {
        let wanted = if service == "read-model" { ServingStatus::Serving } else { ServingStatus::NotServing };
        wait_for(&mut health, service, wanted).await;
    }
    node.health.send_modify(|parts| *parts.get_mut("log").unwrap() = true);
    wait_for(&mut health, "", ServingStatus::Serving).await;
}

#[tokio::test]
async fn a_process_without_services_tells_its_health_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let told = watch::Sender::new(Health::from([("log", true)]));
    let shutdown = tokio_util::sync::CancellationToken::new();
    let options = HealthOptions { listener, health: told.subscribe(), allow_remote: false, shutdown: shutdown.clone() };
    let serving = tokio::spawn(serve_health(options));
    let mut clients = client::connect(&address).await.unwrap();
    let mut health = HealthClient::new(clients.channel.clone());
    wait_for(&mut health, "", ServingStatus::Serving).await;
    told.send_replace(Health::from([("log", false)]));
    wait_for(&mut health, "", ServingStatus::NotServing).await;
    let refused = clients.timeline.get_timeline(GetTimelineRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    shutdown.cancel();
    tokio::time::timeout(DEADLINE, serving).await.expect("in time").unwrap().unwrap();
}

/// Watches until the status is `wanted`: what is told follows what was seen, a moment later.
async fn wait_for(health: &mut HealthClient<tonic::transport::Channel>, service: &str, wanted: ServingStatus) {
    let watched = async {
        let mut watch = health.watch(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner();
        while watch.message().await.unwrap().unwrap().status() != wanted {}
    };
    tokio::time::timeout(DEADLINE, watched).await.unwrap_or_else(|_| panic!("{service} never was {wanted:?}"));
}

#[tokio::test]
async fn reflection_lists_the_services_and_describes_them() {
    let node = Node::start().await;
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(node.clients.channel.clone());
    use v1::{server_reflection_request::MessageRequest, server_reflection_response::MessageResponse};
    let ask = |message| v1::ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let requests = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("weft.v1.ErrorDetail".to_owned())),
    ];
    let mut answers = client.server_reflection_info(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list");
    };
    let names: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    for service in SERVICES {
        assert!(names.iter().any(|name| name == service), "{names:?}");
    }
    let described = answers.message().await.unwrap().unwrap().message_response;
    assert!(matches!(described, Some(MessageResponse::FileDescriptorResponse(_))));
}

#[tokio::test]
async fn reflection_answers_older_callers_too() {
    let node = Node::start().await;
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(node.clients.channel.clone());
    use v1alpha::{server_reflection_request::MessageRequest, server_reflection_response::MessageResponse};
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let requests = [v1alpha::ServerReflectionRequest { host: String::new(), message_request }];
    let mut answers = client.server_reflection_info(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list");
    };
    assert!(SERVICES.iter().all(|name| listed.service.iter().any(|service| service.name == *name)));
}

struct Nothing;
impl Clock for Nothing {
    fn now_us(&self) -> i64 {
        0
    }
}
impl Random for Nothing {
    fn fill(&self, _: &mut [u8]) {}
}

#[tokio::test]
async fn others_than_this_machine_must_be_allowed_by_name() {
    let node = Node::start().await;
    let options = async |allow_remote| {
        let shutdown = tokio_util::sync::CancellationToken::new();
        shutdown.cancel();
        ServeOptions {
            listener: TcpListener::bind("0.0.0.0:0").await.unwrap(),
            log: node.log.clone(),
            model: node.model.clone(),
            link_models: Arc::new(KnownModels),
            feeds: node.feeds.clone(),
            clock: Arc::new(Nothing),
            random: Arc::new(Nothing),
            health: watch::channel(Health::new()).1,
            allow_remote,
            shutdown,
        }
    };
    let refused = serve(options(false).await).await.unwrap_err();
    assert!(matches!(refused, ServeError::Remote(address) if address.ip().is_unspecified()));
    serve(options(true).await).await.unwrap();
}

#[tokio::test]
async fn a_node_ends_though_a_caller_stays() {
    let mut node = Node::start().await;
    let mut health = HealthClient::new(node.clients.channel.clone());
    let watch = health.watch(HealthCheckRequest::default()).await.unwrap();
    node.shutdown.cancel();
    tokio::time::timeout(DEADLINE, &mut node.serving).await.expect("in time").unwrap().unwrap();
    assert!(client::connect(&node.address).await.is_err());
    drop(watch);
}

/// What is no message of the schema, and what is too large to be read, is refused in the same words as everything else.
#[tokio::test]
async fn bytes_that_are_no_request_are_refused() {
    let node = Node::start().await;
    // Field 1 of the request is a message: as a number it does not read.
    let unreadable = raw_call(&node, &[0x08, 0x01]).await;
    assert_eq!(
        (unreadable.code(), error_details(&unreadable)[0].code.as_str()),
        (Code::InvalidArgument, "request-unreadable")
    );
    let request = GetTimelineRequest { context: context(), person_id: "x".repeat(2 << 20), ..Default::default() };
    let large = node.clients.timeline.clone().get_timeline(request).await.unwrap_err();
    assert_eq!((large.code(), error_details(&large)[0].code.as_str()), (Code::InvalidArgument, "request-too-large"));
}

/// Calls GetTimeline with these bytes as its message.
async fn raw_call(node: &Node, message: &[u8]) -> tonic::Status {
    use tonic::codegen::http::uri::PathAndQuery;
    let mut grpc = tonic::client::Grpc::new(node.clients.channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/weft.v1.TimelineService/GetTimeline");
    grpc.unary(tonic::Request::new(message.to_vec()), path, Raw)
        .await
        .map(|_: tonic::Response<Vec<u8>>| ())
        .unwrap_err()
}

#[derive(Default)]
struct Raw;

impl tonic::codec::Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for Raw {
    type Item = Vec<u8>;
    type Error = tonic::Status;
    fn encode(&mut self, item: Vec<u8>, buffer: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), tonic::Status> {
        bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }
}

impl tonic::codec::Decoder for Raw {
    type Item = Vec<u8>;
    type Error = tonic::Status;
    fn decode(&mut self, buffer: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<Vec<u8>>, tonic::Status> {
        let length = bytes::Buf::remaining(buffer);
        Ok(Some(bytes::Buf::copy_to_bytes(buffer, length).to_vec()))
    }
}
