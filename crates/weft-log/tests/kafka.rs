//! What goes wrong between nodes, brokers and the database: nothing that had a receipt is lost, nothing is stored twice with
//! an effect, and the counts say so.

#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use sqlx::{Connection, PgConnection, Row};
use weft_log::{
    AppendError, Draft, EventLog, KafkaLog, KafkaOptions, OpenError, OpenLogError, Reachable, Receipt, Same, SharedLog,
    Stored, Vault, header, suite,
};
use weft_model::{EventId, Stream, Verdict};
use weft_testkit::{PostgresServer, Proxy};

async fn open(options: &KafkaOptions) -> Arc<KafkaLog> {
    Arc::new(KafkaLog::open(options.clone()).await.unwrap())
}

/// The database as its administrator has it.
async fn sql(options: &KafkaOptions, text: &str) -> Vec<sqlx::postgres::PgRow> {
    let mut connection = PgConnection::connect(&options.postgres).await.unwrap();
    let path = format!("SET search_path = {}", options.schema);
    sqlx::raw_sql(sqlx::AssertSqlSafe(path)).execute(&mut connection).await.unwrap();
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned())).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

async fn everything(log: &Arc<KafkaLog>) -> Vec<Stored> {
    let shared: SharedLog = Arc::clone(log) as SharedLog;
    let mut events = Vec::new();
    for partition in log.partitions() {
        events.extend(suite::read_all(&shared, partition.at(0)).await);
    }
    events
}

/// A row of the inbox that nobody knows yet whether it will be: nodes that store under its control id have looked, found
/// nothing, and wait for it at their insert, inside PostgreSQL.
struct Gate(PgConnection);

impl Gate {
    /// Of the first feed that the log knows.
    async fn close(options: &KafkaOptions, control_id: &str) -> Self {
        let mut connection = PgConnection::connect(&options.postgres).await.unwrap();
        let row = format!(
            "SET search_path = {}; BEGIN; INSERT INTO inbox (feed, control_id, nth, verdict, partition, place, event_id)
             VALUES (1, '\\x01' || '{control_id}'::bytea, 0, 1, 0, -1, decode(repeat('07', 16), 'hex'))",
            options.schema
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(row)).execute(&mut connection).await.unwrap();
        Self(connection)
    }

    async fn wait_for(&mut self, nodes: i64) {
        let waiting =
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))";
        let deadline = Instant::now() + Duration::from_secs(8);
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut self.0).await.unwrap() < nodes {
            assert!(Instant::now() < deadline, "they never came here");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// As if the row had never been.
    async fn open(mut self) {
        sqlx::raw_sql("ROLLBACK").execute(&mut self.0).await.unwrap();
    }
}

fn id(stored: &Stored) -> EventId {
    header(stored).unwrap().id()
}

/// Ten nodes start at once on nothing: one set of topics, one schema, one vault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_starters_make_one_log() {
    let Some((options, _dir)) = support::kafka() else { return };
    let logs = join_all((0..10).map(|_| KafkaLog::open(options.clone()))).await;
    let logs: Vec<Arc<KafkaLog>> = logs.into_iter().map(|log| Arc::new(log.unwrap())).collect();
    let pseudonyms: BTreeSet<_> = logs.iter().map(|log| log.pseudonym(&suite::record(1))).collect();
    assert_eq!(pseudonyms.len(), 1, "one key makes all names");
    let receipt = logs[0].append(vec![suite::message("starters", "1", "content", 1)]).await.unwrap()[0];
    for log in &logs {
        let stored = log.read(receipt.position, weft_log::ReadLimit::PAGE).await.unwrap().remove(0);
        log.open(&stored).await.unwrap();
        log.close().await;
    }
}

/// Four nodes are sent the same messages at the same time, some under one control id with different contents.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_race_agree() {
    let Some((options, _dir)) = support::kafka() else { return };
    let logs = join_all((0..4).map(|_| open(&options))).await;
    let send = |node: usize| {
        let log = Arc::clone(&logs[node]);
        async move {
            let mut receipts = Vec::new();
            for n in 0..60u64 {
                let content = if n % 3 == 0 { format!("of node {node}") } else { "of all".to_owned() };
                let drafts = vec![
                    suite::message("race", &format!("{n}"), &content, n % 7),
                    suite::named(&format!("race-{n}"), n % 7),
                ];
                receipts.push(log.append(drafts).await.unwrap());
            }
            receipts
        }
    };
    let by_node: Vec<Vec<Vec<Receipt>>> =
        join_all((0..4).map(|node| tokio::spawn(send(node)))).await.into_iter().map(Result::unwrap).collect();
    let receipts_of = |n: usize| by_node.iter().map(move |receipts| receipts[n].clone());
    for n in 0..60 {
        let by_node: Vec<Vec<Receipt>> = receipts_of(n).collect();
        let verdict = |node: usize| by_node[node][0].stored;
        let accepted = (0..4).filter(|node| verdict(*node) == Verdict::Accepted).count();
        assert_eq!(accepted, if n % 3 == 0 { 1 } else { 4 }, "message {n}: one content is accepted, whoever was first");
        let links: BTreeSet<EventId> = (0..4).map(|node| by_node[node][1].event_id).collect();
        assert_eq!(links.len(), 1);
    }
    // 40 messages that all sent, and four contents of each of 20.
    let feeds = logs[0].statistics().await.unwrap().feeds;
    assert_eq!((feeds[0].accepted, feeds[0].conflict, feeds[0].received()), (60, 60, 240));
    let events = everything(&logs[1]).await;
    let ids: BTreeSet<EventId> = events.iter().map(id).collect();
    assert_eq!(ids.len(), 60 + 60 + 60);
    let accepted: BTreeMap<String, BTreeSet<EventId>> =
        events.iter().fold(BTreeMap::new(), |mut accepted: BTreeMap<_, BTreeSet<_>>, stored| {
            let header = header(stored).unwrap();
            if header.verdict() == Verdict::Accepted {
                accepted.entry(header.control_id.clone()).or_default().insert(header.id());
            }
            accepted
        });
    assert!(accepted.values().all(|ids| ids.len() == 1), "no control id has two accepted messages");
    for stored in &events {
        logs[2].open(stored).await.unwrap();
    }
}

/// Two nodes decide on the same messages at once, in the same moment of the database: both have looked, neither has found
/// anything, and nothing but the inbox's own key stands between them and two accepted contents under one control id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_have_both_found_nothing_do_not_both_store() {
    let Some((options, _dir)) = support::kafka() else { return };
    let nodes = [open(&options).await, open(&options).await];
    for (n, node) in nodes.iter().enumerate() {
        // The records' keys are known to both: they do not stand between them either.
        let known = (1..3).map(|record| suite::message("once", &format!("before-{n}-{record}"), "content", record));
        node.append(known.collect()).await.unwrap();
    }
    let mut gate = Gate::close(&options, "gate").await;
    let sending = [0, 1].map(|n| {
        let node = Arc::clone(&nodes[n]);
        let drafts = vec![
            suite::message("once", "gate", "content", 1),
            suite::message("once", "message", &format!("content of node {n}"), 2),
        ];
        tokio::spawn(async move { node.append(drafts).await.unwrap() })
    });
    gate.wait_for(2).await;
    gate.open().await;
    let receipts: Vec<Vec<Receipt>> = join_all(sending).await.into_iter().map(Result::unwrap).collect();
    let verdicts = |draft: usize| receipts.iter().map(|receipts| receipts[draft].verdict).collect::<BTreeSet<_>>();
    assert_eq!(verdicts(0), BTreeSet::from([Verdict::Accepted, Verdict::Duplicate]));
    assert_eq!(verdicts(1), BTreeSet::from([Verdict::Accepted, Verdict::Conflict]));
    let feeds = nodes[0].statistics().await.unwrap().feeds;
    assert_eq!((feeds[0].accepted, feeds[0].duplicate, feeds[0].conflict), (4 + 2, 1, 1));
    let events = everything(&nodes[0]).await;
    let ids: BTreeSet<EventId> = events.iter().map(id).collect();
    // Whoever finds a message pending elsewhere sends it too: a second copy has no effect.
    assert_eq!(ids.len(), 4 + 3);
}

/// A node is sent a batch of which another node has stored a part, of which it knows nothing: nothing of it is stored twice, the
/// rest is, and the keys that were made for records that had one are none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_another_node_has_stored_in_part_is_stored_for_the_rest() {
    let Some((options, _dir)) = support::kafka() else { return };
    let (one, other) = (open(&options).await, open(&options).await);
    let message = |n: u64, content: &str| suite::message("part", &format!("{n}"), content, n);
    let mut first = (0..6).map(|n| message(n, "content")).collect::<Vec<_>>();
    first.push(suite::named("part-0", 0));
    let first = one.append(first).await.unwrap();

    // Of each kind something is known and something is not: messages, contents, named events, records.
    let mut batch = (3..9).map(|n| message(n, if n == 5 { "another" } else { "content" })).collect::<Vec<_>>();
    batch.extend([suite::named("part-0", 0), suite::named("part-1", 10)]);
    let receipts = other.append(batch.clone()).await.unwrap();
    let verdicts: Vec<Verdict> = receipts.iter().map(|receipt| receipt.verdict).collect();
    let (accepted, duplicate) = (Verdict::Accepted, Verdict::Duplicate);
    let new = [accepted; 3];
    assert_eq!(verdicts[..3], [duplicate, duplicate, Verdict::Conflict]);
    assert_eq!((&verdicts[3..6], receipts[6].position), (&new[..], first[6].position));
    for (again, first) in [(&receipts[0], &first[3]), (&receipts[1], &first[4])] {
        assert_eq!((again.event_id, again.position), (first.event_id, first.position));
    }
    let repeated = one.append(batch).await.unwrap();
    for (first, again) in receipts.iter().zip(&repeated) {
        assert_eq!((first.event_id, first.position), (again.event_id, again.position));
    }

    let feeds = one.statistics().await.unwrap().feeds;
    assert_eq!((feeds[0].accepted, feeds[0].conflict, feeds[0].duplicate), (9, 1, 2 + 6));
    let events = everything(&one).await;
    let ids: BTreeSet<EventId> = events.iter().map(id).collect();
    assert_eq!((events.len(), ids.len()), (9 + 1 + 2, 9 + 1 + 2));
    let reader = open(&options).await;
    for stored in &events {
        reader.open(stored).await.unwrap();
    }
    // Slots that were given to records which had one are given to the next: none of a node's block is left out.
    other.append((20..24).map(|n| message(n, "content")).collect()).await.unwrap();
    let dense = "SELECT count(*), max(slot % 256) + 1 FROM key_slot WHERE slot >= 256 GROUP BY slot / 256 ORDER BY 1";
    let blocks = sql(&options, dense).await;
    let blocks: Vec<(i64, i64)> = blocks.iter().map(|block| (block.get(0), block.get(1))).collect();
    assert_eq!(blocks, [(6, 6), (8, 8)]);
}

/// PostgreSQL has decided and its answer does not come: nobody is told that the message is stored, for it is not; and
/// whoever sends it again has it stored, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_whose_answer_is_lost_promises_nothing() {
    let Some((options, _dir)) = support::kafka() else { return };
    let address = options.postgres.split('@').next_back().unwrap().split('/').next().unwrap();
    let proxy = Proxy::to(address).unwrap();
    let behind = KafkaOptions { postgres: options.postgres.replace(address, proxy.address()), ..options.clone() };
    let (log, beside) = (open(&behind).await, open(&options).await);
    let drafts = vec![suite::message("lost", "1", "content", 1), suite::named("lost", 1)];
    log.append(vec![suite::message("lost", "0", "content", 0)]).await.unwrap();
    let mut gate = Gate::close(&options, "1").await;
    let (appending, lost) = (Arc::clone(&log), drafts.clone());
    let appending = tokio::spawn(async move { appending.append(lost).await });
    gate.wait_for(1).await;
    proxy.hold_answers();
    gate.open().await;
    let pending =
        "SELECT (SELECT count(*) FROM inbox WHERE place < 0) + (SELECT count(*) FROM event_name WHERE place < 0)";
    let deadline = Instant::now() + Duration::from_secs(20);
    while sql(&options, pending).await[0].get::<i64, _>(0) < 2 {
        assert!(Instant::now() < deadline, "it was never decided");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.cut();
    assert!(matches!(appending.await.unwrap(), Err(AppendError::Unavailable(_))));
    assert_eq!(everything(&beside).await.len(), 1, "what is not promised is not produced");

    proxy.restore();
    // Each connection that was cut is found out when it is used.
    let stored = loop {
        match log.append(drafts.clone()).await {
            Ok(stored) => break stored,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    assert!(stored.iter().all(|receipt| receipt.verdict == Verdict::Accepted));
    let again = beside.append(drafts).await.unwrap();
    assert_eq!((again[0].verdict, again[0].position), (Verdict::Duplicate, stored[0].position));
    assert_eq!(again[1].position, stored[1].position);
    let feeds = log.statistics().await.unwrap().feeds;
    assert_eq!((feeds[0].accepted, feeds[0].duplicate), (2, 1));
    let events = everything(&beside).await;
    assert_eq!(events.len(), 3);
    for stored in &events {
        beside.open(stored).await.unwrap();
    }
}

/// A node dies after it has decided: before it produced, or after, or before it knew where. Whoever sends again gets the
/// same verdict, and the counts are those of one message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_node_left_is_stored_once() {
    let Some((options, _dir)) = support::kafka() else { return };
    let log = open(&options).await;
    let drafts: Vec<_> = (0..20).map(|n| suite::message("dead", &format!("{n}"), "content", n)).collect();
    let first = log.append(drafts.clone()).await.unwrap();
    // As if nobody had ever heard from the brokers: the events are in the log, their places and counts are not known.
    sql(&options, "UPDATE inbox SET place = -1; DELETE FROM count").await;
    let again = log.append(drafts[..10].to_vec()).await.unwrap();
    for (first, again) in first.iter().zip(&again) {
        assert_eq!((again.event_id, again.verdict), (first.event_id, Verdict::Accepted));
    }
    assert_eq!(log.statistics().await.unwrap().feeds[0].received(), 10);

    // Nobody sends the other ten again. They are found in the log; two that were never produced are forgotten.
    sql(
        &options,
        "INSERT INTO inbox (feed, control_id, nth, verdict, partition, place, event_id)
         SELECT 1, decode('01' || encode(('lost-' || n)::bytea, 'hex'), 'hex'), 0, 1, n, -1, decode(repeat('0' || n, 16), 'hex')
         FROM generate_series(0, 1) AS n",
    )
    .await;
    assert_eq!(log.settle(Duration::from_secs(3600)).await.unwrap(), 0, "they may still be on their way");
    sql(&options, "UPDATE inbox SET since = since - interval '1 day'; UPDATE log SET swept = '-infinity'").await;
    assert_eq!(log.settle(Duration::from_secs(3600)).await.unwrap(), 12);
    let feeds = log.statistics().await.unwrap().feeds;
    assert_eq!((feeds[0].accepted, feeds[0].received()), (20, 20));
    let rows = sql(&options, "SELECT count(*), count(*) FILTER (WHERE place < 0) FROM inbox").await;
    assert_eq!((rows[0].get::<i64, _>(0), rows[0].get::<i64, _>(1)), (20, 0));
    let late = log.append(drafts[10..].to_vec()).await.unwrap();
    for (first, late) in first[10..].iter().zip(&late) {
        assert_eq!((late.position, late.verdict), (first.position, Verdict::Duplicate), "the first copy");
    }
    assert_eq!(log.settle(Duration::from_secs(3600)).await.unwrap(), 0);

    // The repeats are in the log, and every event of it is in the inbox.
    let events = everything(&log).await;
    let ids: BTreeSet<EventId> = events.iter().map(id).collect();
    assert_eq!((events.len(), ids.len()), (30, 20));
}

/// The same of messages that were quarantined and are accepted now: accepted once, whoever offers them again; while the outcome
/// is not known, whoever still does not accept one gets the first answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_node_left_of_reading_again_is_stored_once() {
    let Some((options, _dir)) = support::kafka() else { return };
    let (log, other) = (open(&options).await, open(&options).await);
    let id_of = |n: u64| format!("{n}");
    let kept = |n: u64| suite::unreadable("dead", &id_of(n), "content");
    let accepted = |n: u64| suite::message("dead", &id_of(n), "content", n);
    let from_log = |n: u64| Draft { same: Same::Redriven, ..accepted(n) };
    let first = log.append((0..20).map(kept).collect()).await.unwrap();
    let redriven = log.append((0..20).map(from_log).collect()).await.unwrap();
    assert!(redriven.iter().all(|receipt| receipt.verdict == Verdict::Accepted));
    sql(&options, "UPDATE inbox SET place = -1 WHERE nth = 1; DELETE FROM count WHERE verdict = 5").await;

    let still = other.append(vec![kept(0)]).await.unwrap()[0];
    assert_eq!(
        (still.verdict, still.stored, still.position),
        (Verdict::Duplicate, Verdict::Quarantined, first[0].position)
    );
    // Read as another record's, in another partition: what the first reading came to must be known first.
    let probes = (900..920).map(|n| suite::message("probe", &id_of(n), "content", n)).collect();
    let probes = other.append(probes).await.unwrap();
    let away = probes.iter().position(|probe| probe.position.partition != redriven[0].position.partition).unwrap();
    let otherwise = other.append(vec![suite::message("dead", "0", "content", 900 + away as u64)]).await;
    assert!(matches!(otherwise, Err(AppendError::Unavailable(_))));
    // The sender sends five, somebody reads five again, nobody asks for the others.
    let resent = other.append((0..5).map(accepted).collect()).await.unwrap();
    let again = log.append((5..10).map(from_log).collect()).await.unwrap();
    for (first, again) in redriven.iter().zip(resent.iter().chain(&again)) {
        assert_eq!(again.event_id, first.event_id);
        assert_eq!(again.stored, Verdict::Accepted);
    }
    sql(&options, "UPDATE inbox SET since = since - interval '1 day'; UPDATE log SET swept = '-infinity'").await;
    assert_eq!(log.settle(Duration::from_secs(3600)).await.unwrap(), 10);
    for n in 0..20 {
        let late = log.append(vec![accepted(n)]).await.unwrap()[0];
        assert_eq!((late.verdict, late.stored), (Verdict::Duplicate, Verdict::Accepted), "{n}");
        assert_eq!(late.event_id, redriven[n as usize].event_id);
    }
    let feeds = log.statistics().await.unwrap().feeds;
    assert_eq!((feeds[0].quarantined, feeds[0].accepted, feeds[0].redriven, feeds[0].conflict), (20, 5, 15, 0));
    // Every event of the log is in the inbox, and of each message one is accepted.
    let events = everything(&log).await;
    let ids: BTreeSet<EventId> = events.iter().map(id).collect();
    assert_eq!((events.len(), ids.len()), (70, 60));
    for stored in &events {
        log.open(stored).await.unwrap();
    }
}

/// A reading that was decided and never produced is forgotten, and made anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_that_was_never_stored_is_made_anew() {
    let Some((options, _dir)) = support::kafka() else { return };
    let log = open(&options).await;
    log.append(vec![suite::unreadable("never", "1", "content")]).await.unwrap();
    sql(
        &options,
        "INSERT INTO inbox (feed, control_id, nth, verdict, partition, place, since, event_id)
         SELECT feed, control_id, 1, 5, partition, -1, now() - interval '1 day', decode(repeat('07', 16), 'hex') FROM inbox;
         UPDATE log SET swept = '-infinity'",
    )
    .await;
    assert_eq!(log.settle(Duration::from_secs(3600)).await.unwrap(), 1);
    let receipt = log.append(vec![suite::message("never", "1", "content", 1)]).await.unwrap()[0];
    assert_eq!(receipt.verdict, Verdict::Accepted);
    let feeds = log.statistics().await.unwrap().feeds;
    assert_eq!((feeds[0].quarantined, feeds[0].accepted, feeds[0].redriven), (1, 1, 0));
}

/// A database that is killed right after an acknowledgement has forgotten where its message lies, for that is not waited
/// for: the node tells it again, long before the sweep would.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_dies_is_told_again_what_it_forgot() {
    let Some((options, _dir)) = support::kafka() else { return };
    let Some(mut server) = PostgresServer::start().unwrap() else { return };
    let options = KafkaOptions { postgres: server.url(), ..options };
    let log = open(&options).await;
    // It writes what was not waited for so seldom that it dies before it does.
    sql(&options, "ALTER SYSTEM SET wal_writer_delay = '10s'").await;
    sql(&options, "SELECT pg_reload_conf()").await;
    let mut drafts = (0..40).map(|n| suite::message("dies", &format!("{n}"), "content", n));
    log.append(drafts.by_ref().take(30).collect()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    log.append(drafts.collect()).await.unwrap();
    server.kill();
    server.restart().unwrap();

    let deadline = Instant::now() + Duration::from_secs(20);
    let mut forgotten = sql(&options, "SELECT count(*) FROM inbox WHERE place < 0").await[0].get::<i64, _>(0);
    let before = forgotten;
    while forgotten > 0 {
        assert!(Instant::now() < deadline, "{forgotten} of {before} places are forgotten still");
        tokio::time::sleep(Duration::from_millis(50)).await;
        forgotten = sql(&options, "SELECT count(*) FROM inbox WHERE place < 0").await[0].get::<i64, _>(0);
    }
    let feeds = log.statistics().await.unwrap().feeds;
    assert_eq!((feeds[0].accepted, feeds[0].received()), (40, 40), "{before} were forgotten at first");
    log.close().await;
}

/// Brokers that do not answer, or a database, or a log that is closed: each is said, no password with it, and nothing is
/// promised.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_promised_without_brokers() {
    let Some((options, _dir)) = support::kafka() else { return };
    let log = open(&options).await;
    log.check().await.unwrap();
    log.append(vec![suite::message("away", "0", "content", 1)]).await.unwrap();

    let nowhere = KafkaOptions { brokers: "127.0.0.1:9".to_owned(), ..options.clone() };
    let error = KafkaLog::open(nowhere).await.err().unwrap();
    assert!(matches!(&error, OpenLogError::Unavailable { place, .. } if place.contains("127.0.0.1:9")), "{error}");
    let no_database = KafkaOptions { postgres: "postgres://weft:swordfish@127.0.0.1:9/weft".to_owned(), ..options };
    let error = KafkaLog::open(no_database).await.err().unwrap();
    let shown = format!("{error} {error:?}");
    assert!(matches!(error, OpenLogError::Unavailable { .. }));
    assert!(!shown.contains("swordfish"), "{shown}");
    log.close().await;
    assert!(log.check().await.is_err());
    assert!(matches!(
        log.append(vec![suite::message("away", "1", "content", 1)]).await,
        Err(AppendError::Unavailable(_))
    ));
}

/// Topics and schema belong together, and a node key opens what it wrapped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_belong_together_is_refused() {
    let Some((options, dir)) = support::kafka() else { return };
    let missing = KafkaLog::open_read_only(options.clone()).await.err().unwrap();
    assert!(matches!(missing, OpenLogError::Missing { .. }), "{missing}");
    let log = open(&options).await;
    let receipt = log.append(vec![suite::message("belongs", "1", "content", 1)]).await.unwrap()[0];
    assert!(
        KafkaLog::describe_topics(&options)
            .await
            .unwrap()
            .iter()
            .flat_map(|topic| &topic.settings)
            .all(|s| s.is_good())
    );

    let refused = async |options: KafkaOptions, wanted: &str| {
        let error = KafkaLog::open(options).await.err().unwrap().to_string();
        assert!(error.contains(wanted), "{error}");
    };
    refused(KafkaOptions { feed_partitions: 5, ..options.clone() }, "has partitions = 4, and the log needs 5").await;
    refused(KafkaOptions { min_insync_replicas: 2, ..options.clone() }, "min.insync.replicas = 1").await;
    let other_topics = KafkaOptions { prefix: format!("{}_other", options.prefix), ..options.clone() };
    refused(other_topics, "belongs to the log of topics").await;

    let other_keys = dir.path().join("other");
    Vault::create(&other_keys, &support::Unlike).unwrap();
    refused(KafkaOptions { keys: other_keys, ..options.clone() }, "cannot be opened").await;
    sql(&options, "INSERT INTO format VALUES (2)").await;
    refused(options.clone(), "has format 2, this program reads up to 1").await;
    sql(&options, "DELETE FROM format WHERE version = 2").await;

    // A reader beside the nodes reads, and cannot write.
    let reader = KafkaLog::open_read_only(options.clone()).await.unwrap();
    let stored = reader.read(receipt.position, weft_log::ReadLimit::PAGE).await.unwrap().remove(0);
    reader.open(&stored).await.unwrap();
    assert!(matches!(
        reader.append(vec![suite::message("belongs", "2", "content", 1)]).await,
        Err(AppendError::Unavailable(_))
    ));

    // A destroyed key shreds its record only.
    let other = log.append(vec![suite::message("belongs", "3", "content", 2)]).await.unwrap()[0];
    sql(
        &options,
        &format!(
            "UPDATE key_slot SET wrapped = NULL WHERE record = decode('{}', 'hex')",
            log.pseudonym(&suite::record(1))
        ),
    )
    .await;
    let fresh = open(&options).await;
    assert!(matches!(fresh.open(&stored).await, Err(OpenError::Shredded { .. })));
    let kept = fresh.read(other.position, weft_log::ReadLimit::PAGE).await.unwrap().remove(0);
    fresh.open(&kept).await.unwrap();
    let news = [suite::message("belongs", "4", "content", 1), suite::message("belongs", "5", "content", 2)];
    let appended = join_all(news.map(|draft| fresh.append(vec![draft]))).await;
    assert!(matches!(appended[0], Err(AppendError::Unavailable(_))) && appended[1].is_ok());
    assert_eq!(log.size(Stream::Identity.partition(0)).await.unwrap(), 0);
}
