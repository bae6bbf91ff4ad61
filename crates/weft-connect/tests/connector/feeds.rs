//! Feeds change while the connector runs.

use weft_connect::{FeedState, MllpClient};
use weft_log::{MemoryLog, SharedLog};

use crate::site::{Site, admission, hung_up, pause, profile, register, resume, send, stored, vault, within};

#[tokio::test]
async fn a_feed_that_is_registered_later_listens() {
    let mut site = Site::new().await;
    let revision = register(&site.log, &profile("lab", "127.0.0.1:0", "")).await;
    let lab = site.status_of("lab", |status| status.state == FeedState::Listening).await;
    assert_eq!((lab.revision, revision), (1, 1));
    let mut client = within(MllpClient::connect(lab.address.unwrap(), None)).await.unwrap();
    assert_eq!(send(&mut client, &admission("1")).await, "AA 1");
    let stored = site.stored().await;
    assert_eq!((stored[0].0.feed.as_str(), stored[0].1.profile_revision), ("lab", 1));
}

#[tokio::test]
async fn a_changed_profile_applies_to_the_next_message_of_an_open_connection() {
    let mut site = Site::new().await;
    let address = site.address();
    let mut client = site.client().await;
    assert_eq!(send(&mut client, &admission("1")).await, "AA 1");
    let stricter = profile("pas", "127.0.0.1:0", "message_bytes_max = 1024\n[accept]\nmessage_types = [\"ORU^R01\"]");
    let revision = register(&site.log, &stricter).await;
    let status = site.status(|status| status.revision == revision).await;
    assert_eq!(status.address, Some(address));
    assert_eq!(send(&mut client, &admission("2")).await, "AR 2");
    assert_eq!(send(&mut client, &[b'x'; 2000]).await, "AR ");
    let revisions: Vec<u64> = site.stored().await.iter().map(|(_, message)| message.profile_revision).collect();
    assert_eq!(revisions, [0, revision]);
}

#[tokio::test]
async fn a_changed_address_is_bound_instead() {
    let mut site = Site::new().await;
    let (before, mut client) = (site.address(), site.client().await);
    assert_eq!(send(&mut client, &admission("1")).await, "AA 1");
    register(&site.log, &profile("pas", "127.0.0.2:0", "")).await;
    let status = site.status(|status| status.address.is_some_and(|address| address != before)).await;
    assert_eq!((status.state, status.address.unwrap().ip().to_string().as_str()), (FeedState::Listening, "127.0.0.2"));
    hung_up(&mut client).await;
    assert!(within(MllpClient::connect(before, None)).await.is_err());
    assert_eq!(send(&mut site.client().await, &admission("2")).await, "AA 2");
}

#[tokio::test]
async fn pause_and_resume_keep_the_port() {
    let mut site = Site::new().await;
    let (address, mut client) = (site.address(), site.client().await);
    assert_eq!(send(&mut client, &admission("1")).await, "AA 1");
    pause(&site.log, "pas").await;
    let status = site.status(|status| status.state == FeedState::Paused && status.connections == 0).await;
    assert_eq!((status.address, status.problem), (None, None));
    hung_up(&mut client).await;
    assert!(within(MllpClient::connect(address, None)).await.is_err());
    // Registered again it stays paused.
    register(&site.log, &profile("pas", "127.0.0.1:0", "idle_timeout_s = 60")).await;
    assert_eq!(site.status(|status| status.revision == 2).await.state, FeedState::Paused);
    resume(&site.log, "pas").await;
    let status = site.status(|status| status.state == FeedState::Listening).await;
    assert_eq!(status.address, Some(address));
    assert_eq!(send(&mut site.client().await, &admission("2")).await, "AA 2");
}

#[tokio::test]
async fn an_address_in_use_is_a_problem_until_it_is_free() {
    let mut site = Site::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    register(&site.log, &profile("lab", &address.to_string(), "")).await;
    let status = site.status_of("lab", |status| status.state == FeedState::Failed && status.problem.is_some()).await;
    let problem = status.problem.unwrap();
    assert!(problem.starts_with(&format!("cannot listen on {address}: ")), "{problem}");
    drop(taken);
    let status = site.status_of("lab", |status| status.state == FeedState::Listening).await;
    assert_eq!((status.address, status.problem), (Some(address), None));
}

#[tokio::test]
async fn a_feed_that_wants_what_the_node_lacks_has_a_problem() {
    let mut site = Site::new().await;
    register(&site.log, &profile("lab", "127.0.0.1:0", "tls = \"server\"")).await;
    let status = site.status_of("lab", |status| status.problem.is_some()).await;
    assert_eq!(status.problem.as_deref(), Some("feed wants TLS, and this node has no certificate"));
    // Changed, it listens at once.
    register(&site.log, &profile("lab", "127.0.0.1:0", "")).await;
    site.status_of("lab", |status| status.state == FeedState::Listening && status.problem.is_none()).await;
}

#[tokio::test]
async fn a_registration_that_cannot_be_read_closes_the_feed_and_says_where() {
    let mut site = Site::new().await;
    register(&site.log, &profile("pas", "127.0.0.1:0", "tsl = \"off\"")).await;
    let status = site.status(|status| status.state == FeedState::Failed).await;
    let problem = status.problem.unwrap();
    assert!(problem.starts_with("registration cannot be read: ") && problem.contains("tsl"), "{problem}");
}

#[tokio::test]
async fn only_the_feeds_as_they_are_now_are_bound_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let log: SharedLog = std::sync::Arc::new(MemoryLog::new(vault(&dir)));
    register(&log, &profile("pas", "127.0.0.1:0", "")).await;
    register(&log, &profile("lab", "127.0.0.3:0", "")).await;
    register(&log, &profile("lab", "127.0.0.1:0", "")).await;
    pause(&log, "pas").await;
    let mut site = Site::on(log, dir, |_| {}, |log| log).await;
    // Known when `caught_up` returns: nothing is waited for.
    let feeds = site.connector.status().borrow().clone();
    assert_eq!((feeds["pas"].state, feeds["lab"].state), (FeedState::Paused, FeedState::Listening));
    assert_eq!(feeds["lab"].address.unwrap().ip().to_string(), "127.0.0.1");
    assert_eq!(site.status_of("lab", |_| true).await.revision, 2);
}

#[tokio::test]
async fn connections_over_the_limit_are_refused() {
    let mut site = Site::with("connections_max = 2", |_| {}, |log| log).await;
    let (mut one, mut two) = (site.client().await, site.client().await);
    assert_eq!(send(&mut one, &admission("1")).await, "AA 1");
    assert_eq!(send(&mut two, &admission("2")).await, "AA 2");
    let mut three = site.client().await;
    hung_up(&mut three).await;
    assert_eq!(site.status(|status| status.connections_refused == 1).await.connections, 2);
    within(one.finish()).await.unwrap();
    site.status(|status| status.connections == 1).await;
    assert_eq!(send(&mut site.client().await, &admission("3")).await, "AA 3");
    let (log, _dir) = site.shutdown().await;
    assert_eq!(stored(&log).await.len(), 3);
}
