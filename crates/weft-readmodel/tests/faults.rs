//! Faults of PostgreSQL while two projectors share a read model: its death and return, a server that hangs, a disk that
//! stalls, a network that is cut or holds bytes back under one of them, a projector that dies.
//!
//! After each, once it is over: both have heard of everything in the log, and every table is as in a read model that one
//! reader made in one go. A projector that ends with an error is a failure. Not deterministic: where in its work each is.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

mod common;
mod world;

use std::{sync::Arc, time::Duration};

use common::*;
use sqlx::{Connection, PgConnection};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;
use weft_log::SharedLog;
use weft_readmodel::{Location, OpenModelError, ProjectError, ReadModel, Repeats, rebuild, replace};
use weft_testkit::{PostgresServer, Proxy, StallingDisk, postgres_url as url_at};
use world::*;

/// A server of one's own, and two projectors on it, one of them behind a proxy.
struct Shared {
    world: World,
    server: PostgresServer,
    proxy: Proxy,
    /// Those who project, direct and behind the proxy.
    models: [Arc<ReadModel>; 2],
    projecting: Vec<JoinHandle<Result<(), ProjectError>>>,
    shutdown: CancellationToken,
    appended: i64,
}

fn location(url: &str, schema: &str) -> Location {
    Location::Postgres { url: url.to_owned(), schema: schema.to_owned() }
}

impl Shared {
    /// `None` where PostgreSQL is not installed: the test does not run.
    async fn start(environment: &[(String, String)]) -> Option<Self> {
        let server = PostgresServer::start_with(environment).unwrap()?;
        let proxy = Proxy::to(&server.address()).unwrap();
        let world = World::new(On::Sqlite);
        let direct = Arc::new(ReadModel::open(location(&server.url(), "shared")).await.unwrap());
        let behind = Arc::new(ReadModel::open(location(&url_at(proxy.address()), "shared")).await.unwrap());
        let shutdown = CancellationToken::new();
        let projecting = vec![world.project(&direct, "direct", &shutdown), world.project(&behind, "behind", &shutdown)];
        let mut shared = Self { world, server, proxy, models: [direct, behind], projecting, shutdown, appended: 0 };
        shared.append().await;
        caught_up(&shared.world.log, &shared.models[0]).await;
        Some(shared)
    }

    /// Forty more events.
    async fn append(&mut self) {
        let from = if self.appended == 0 { 0 } else { usize::try_from(self.appended).unwrap() + 5 };
        self.appended += 40;
        self.world.append(events(self.appended).split_off(from)).await;
    }

    /// Both catch up, end well, and hold what one reader would.
    async fn settle(mut self) {
        self.append().await;
        for projecting in &mut self.projecting {
            if projecting.is_finished() {
                panic!("a projector has ended: {:?}", projecting.await);
            }
        }
        for model in &self.models {
            patiently_caught_up(&self.world.log, model).await;
        }
        self.shutdown.cancel();
        for projecting in self.projecting {
            projecting.await.unwrap().unwrap();
        }
        let alone = location(&self.server.url(), "alone");
        rebuild(self.world.log.clone(), alone.clone(), None, Repeats::Never).await.unwrap();
        let alone = ReadModel::open(alone).await.unwrap();
        assert_eq!(self.models[0].digest(None).await.unwrap(), alone.digest(None).await.unwrap());
    }
}

/// Leases run out, pauses grow and pools connect anew before everything is as it was.
async fn patiently_caught_up(log: &SharedLog, model: &ReadModel) {
    let reached = async {
        for partition in [FEED, IDENTITY, CONTROL] {
            let size = log.size(partition).await.unwrap();
            while model.known_at().size(partition) < size {
                sleep(Duration::from_millis(50)).await;
            }
        }
    };
    let known = || model.known_at();
    assert!(tokio::time::timeout(Duration::from_secs(90), reached).await.is_ok(), "stuck at {}", known());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_killed_under_load_and_comes_back() {
    let Some(mut shared) = Shared::start(&[]).await else { return };
    for _ in 0..3 {
        shared.append().await;
        shared.server.kill();
        shared.append().await;
        sleep(Duration::from_millis(300)).await;
        shared.server.restart().unwrap();
        sleep(Duration::from_millis(300)).await;
    }
    shared.settle().await;
}

/// The server is killed while a rebuild copies rows, and while it makes indexes: nobody takes what there is of it for a read
/// model, the live one is as it was, and the next rebuild of the same name is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_killed_in_the_middle_of_a_rebuild() {
    let Some(mut server) = PostgresServer::start().unwrap() else { return };
    let world = World::new(On::Sqlite);
    world.append(events(6_000)).await;
    let (live, beside) = (location(&server.url(), "live"), location(&server.url(), "beside"));
    rebuild(world.log.clone(), live.clone(), None, Repeats::Never).await.unwrap();
    let before = ReadModel::open(live.clone()).await.unwrap().digest(None).await.unwrap();
    for step in ["COPY", "ALTER TABLE", "CREATE INDEX"] {
        let mut watching = server_connection(&server).await;
        let rebuilding = tokio::spawn(rebuild(world.log.clone(), beside.clone(), None, Repeats::Never));
        while !is_at(&mut watching, step).await {
            assert!(!rebuilding.is_finished(), "the rebuild never came to {step}");
        }
        server.kill();
        assert!(rebuilding.await.unwrap().is_err());
        server.restart().unwrap();
        let left = ReadModel::open(beside.clone()).await;
        assert!(matches!(&left, Err(OpenModelError::Unfinished { .. })), "{step}: {:?}", left.err());
        let replaced = replace(world.log.clone(), &beside, &live, Repeats::Never).await;
        assert!(replaced.is_err(), "{step}");
        assert_eq!(ReadModel::open(live.clone()).await.unwrap().digest(None).await.unwrap(), before);
    }
    rebuild(world.log.clone(), beside.clone(), None, Repeats::Never).await.unwrap();
    replace(world.log.clone(), &beside, &live, Repeats::Never).await.unwrap();
    assert_eq!(ReadModel::open(live).await.unwrap().digest(None).await.unwrap(), before);
}

/// A rebuild that is at work is no leftover: another one of the same name is refused, and it comes to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_rebuild_of_the_same_schema_is_refused() {
    let Some(server) = PostgresServer::start().unwrap() else { return };
    let world = World::new(On::Sqlite);
    world.append(events(6_000)).await;
    let beside = location(&server.url(), "beside");
    let mut watching = server_connection(&server).await;
    let rebuilding = tokio::spawn(rebuild(world.log.clone(), beside.clone(), None, Repeats::Never));
    while !is_at(&mut watching, "COPY").await {
        assert!(!rebuilding.is_finished(), "the rebuild never came to COPY");
    }
    let second = rebuild(world.log.clone(), beside.clone(), None, Repeats::Never).await;
    assert!(matches!(second, Err(ProjectError::Rebuilding(_))), "{second:?}");
    rebuilding.await.unwrap().unwrap();
    ReadModel::open(beside.clone()).await.unwrap().close().await.unwrap();
    let third = rebuild(world.log.clone(), beside, None, Repeats::Never).await;
    assert!(matches!(third, Err(ProjectError::Exists(_))), "{third:?}");
}

async fn server_connection(server: &PostgresServer) -> PgConnection {
    PgConnection::connect(&server.url()).await.unwrap()
}

/// True where a statement of this kind is being done by another connection.
async fn is_at(watching: &mut PgConnection, step: &str) -> bool {
    const DOING: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity
                         WHERE pid <> pg_backend_pid() AND state = 'active' AND query LIKE $1 || '%' AND query !~ 'DROP')";
    sqlx::query_scalar(DOING).bind(step).fetch_one(watching).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_hangs_for_longer_than_a_lease() {
    let Some(mut shared) = Shared::start(&[]).await else { return };
    shared.append().await;
    shared.server.stall();
    shared.append().await;
    sleep(Duration::from_secs(7)).await;
    shared.server.resume();
    shared.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_disk_stalls_in_the_middle_of_commits() {
    let disk = StallingDisk::new().unwrap();
    let Some(mut shared) = Shared::start(&disk.environment()).await else { return };
    for _ in 0..3 {
        shared.append().await;
        disk.stall().unwrap();
        shared.append().await;
        sleep(Duration::from_secs(1)).await;
        disk.resume().unwrap();
    }
    shared.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_projector_is_cut_off_and_the_other_takes_over() {
    let Some(mut shared) = Shared::start(&[]).await else { return };
    shared.append().await;
    // Held back, longer than a lease lasts: the one behind the proxy still believes that it owns its partitions.
    shared.proxy.stall();
    shared.append().await;
    patiently_caught_up(&shared.world.log, &shared.models[0]).await;
    // What it sent before it was cut off reaches the server now, and must have no effect.
    shared.proxy.restore();
    shared.append().await;
    patiently_caught_up(&shared.world.log, &shared.models[1]).await;
    for _ in 0..3 {
        shared.proxy.cut();
        shared.append().await;
        sleep(Duration::from_millis(500)).await;
        shared.proxy.restore();
        shared.append().await;
        sleep(Duration::from_millis(500)).await;
    }
    shared.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_dies_in_the_middle_of_a_batch_again_and_again() {
    let Some(mut shared) = Shared::start(&[]).await else { return };
    for round in 0..6_u64 {
        shared.append().await;
        sleep(Duration::from_millis(20 + 60 * round)).await;
        // It gives nothing back: the other waits until its leases have run out.
        shared.projecting.pop().unwrap().abort();
        shared.append().await;
        let owner = format!("behind-{round}");
        shared.projecting.push(shared.world.project(&shared.models[1], &owner, &shared.shutdown));
    }
    shared.settle().await;
}
