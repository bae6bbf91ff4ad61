//! Many senders at once: what was acknowledged is what is in the log, once each.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use weft_connect::{FeedState, LoadOptions, LoadReport, Messages, drive, parse_ack};
use weft_log::{EmbeddedLog, OpenOptions, SharedLog};

use crate::site::{Site, admission, framed, pause, profile, register, resume, stored, tally, vault, within};

const CONNECTIONS: usize = 16;

fn queues(each: usize) -> Messages {
    let queue = |c: usize| (0..each).map(|n| Bytes::from(admission(&format!("{c}-{n}")))).collect();
    Messages::PerConnection((0..CONNECTIONS).map(queue).collect())
}

/// Control ids that were answered positively.
#[derive(Clone, Default)]
struct Acked(Arc<Mutex<Vec<String>>>);

impl Acked {
    fn options(&self, site: &Site, in_flight: usize) -> LoadOptions {
        let ids = Arc::clone(&self.0);
        let observer = move |_: &Bytes, ack: &[u8]| {
            let ack = parse_ack(ack).unwrap();
            assert!(ack.is_positive());
            ids.lock().unwrap().push(ack.control_id);
        };
        LoadOptions { in_flight, observer: Some(Arc::new(observer)), ..LoadOptions::new(site.address()) }
    }

    fn ids(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

async fn ids_in(log: &SharedLog) -> Vec<String> {
    stored(log).await.into_iter().map(|(header, _)| header.control_id).collect()
}

/// Everything acknowledged is stored once, nothing else is, and each connection's messages are in its order.
fn check(acked: Vec<String>, stored: Vec<String>) {
    let counts = tally(stored.iter().cloned());
    assert!(counts.values().all(|count| *count == 1), "something is stored twice");
    let acked: BTreeSet<String> = acked.into_iter().collect();
    assert_eq!(acked, counts.into_keys().collect());
    for connection in 0..CONNECTIONS {
        let own = stored.iter().filter_map(|id| id.strip_prefix(&format!("{connection}-")));
        let numbers: Vec<usize> = own.map(|n| n.parse().unwrap()).collect();
        assert!(numbers.iter().copied().eq(0..numbers.len()), "connection {connection}: {numbers:?}");
    }
}

fn all_answered(report: &LoadReport, messages: u64) {
    assert_eq!((report.sent, report.aa, report.unanswered), (messages, messages, 0), "{:?}", report.problem);
    assert_eq!(report.latency_us.len(), messages);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections() {
    let site = Site::new().await;
    for in_flight in [1, 20] {
        let acked = Acked::default();
        let report = within(drive(acked.options(&site, in_flight), queues(50))).await;
        all_answered(&report, 800);
        check(acked.ids(), site.stored_ids().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_shared_by_connections_are_sent_once_each() {
    let site = Site::new().await;
    let messages: Arc<[Bytes]> = (0..500).map(|n| Bytes::from(admission(&n.to_string()))).collect();
    let report = within(drive(LoadOptions::new(site.address()), Messages::Shared { messages, connections: 8 })).await;
    all_answered(&report, 500);
    let counts = tally(site.stored_ids().await);
    assert!(counts.len() == 500 && counts.values().all(|count| *count == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_under_load_acknowledges_what_it_stored() {
    for in_flight in [1, 8] {
        let dir = tempfile::tempdir().unwrap();
        let open = OpenOptions::new(dir.path().join("log"), vault(&dir));
        let log: SharedLog = Arc::new(EmbeddedLog::open(open).await.unwrap());
        register(&log, &profile("pas", "127.0.0.1:0", "")).await;
        let mut site = Site::on(log, dir, |_| {}, |log| log).await;
        let acked = Acked::default();
        let load = tokio::spawn(drive(acked.options(&site, in_flight), queues(5_000)));
        site.status(|status| status.connections == CONNECTIONS).await;
        let feed = weft_model::Stream::Feed.partition(0);
        within(site.log.wait(feed, 200)).await.unwrap();
        let (log, _dir) = site.shutdown().await;
        let report = within(load).await.unwrap();
        assert!(report.aa >= 200 && report.ae + report.ar == 0);
        check(acked.ids(), ids_in(&log).await);
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pausing_under_load_acknowledges_what_it_stored() {
    let mut site = Site::new().await;
    let acked = Acked::default();
    let load = tokio::spawn(drive(acked.options(&site, 1), queues(5_000)));
    let feed = weft_model::Stream::Feed.partition(0);
    within(site.log.wait(feed, 200)).await.unwrap();
    pause(&site.log, "pas").await;
    site.status(|status| status.state == FeedState::Paused && status.connections == 0).await;
    within(load).await.unwrap();
    check(acked.ids(), site.stored_ids().await);
    // The senders come back with everything they have no answer for.
    resume(&site.log, "pas").await;
    site.status(|status| status.state == FeedState::Listening).await;
    let again = Acked::default();
    all_answered(&within(drive(again.options(&site, 1), queues(50))).await, 800);
    let counts = tally(site.stored_ids().await);
    assert!(counts.values().all(|count| *count == 1) && again.ids().iter().all(|id| counts.contains_key(id)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profile_changes_under_load_lose_nothing() {
    let mut site = Site::new().await;
    let acked = Acked::default();
    let load = tokio::spawn(drive(acked.options(&site, 4), queues(200)));
    for n in 0..20 {
        let toml = profile("pas", "127.0.0.1:0", &format!("idle_timeout_s = {}", 100 + n));
        let revision = register(&site.log, &toml).await;
        site.status(|status| status.revision == revision).await;
    }
    all_answered(&within(load).await.unwrap(), 3200);
    check(acked.ids(), site.stored_ids().await);
}

#[tokio::test]
async fn what_was_sent_whole_before_the_end_is_stored_and_answered() {
    let site = Site::with("", |options| options.limits.drain_timeout = Duration::from_secs(5), |log| log).await;
    let mut client = site.client().await;
    let mut bytes = framed(&["1", "2", "3"]);
    bytes.extend_from_slice(&framed(&["4"])[..30]);
    within(client.write_raw(&bytes)).await.unwrap();
    assert!(parse_ack(&within(client.receive()).await.unwrap()).unwrap().answers("1"));
    let ending = tokio::spawn(site.shutdown());
    for id in ["2", "3"] {
        assert!(parse_ack(&within(client.receive()).await.unwrap()).unwrap().answers(id));
    }
    assert!(within(client.receive()).await.is_err());
    drop(client);
    let (log, _dir) = within(ending).await.unwrap();
    assert_eq!(ids_in(&log).await, ["1", "2", "3"]);
}
