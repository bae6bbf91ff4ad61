//! Several projectors on one read model, and leads that pass from one process to another.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

mod common;
mod world;

use std::{sync::Arc, time::Duration};

use common::*;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use weft_readmodel::{LEASE_SECONDS, Leases, Location, ReadModel, Repeats, rebuild, replace};
use world::*;

const PATIENCE: Duration = Duration::from_secs(6 * LEASE_SECONDS as u64);

/// How many partitions each owner holds, by name.
async fn shares(model: &ReadModel) -> Vec<(String, i64)> {
    let Location::Postgres { url, schema } = model.location() else { panic!("no database") };
    let mut conn = PgConnection::connect(url).await.unwrap();
    let sql = format!(
        "SELECT owner, count(*) FROM {schema}_lease.lease WHERE owner IS NOT NULL AND until > now() GROUP BY 1 ORDER BY 1"
    );
    sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut conn).await.unwrap()
}

async fn until_shares_are(model: &ReadModel, wanted: &[(&str, i64)]) {
    let wanted: Vec<(String, i64)> = wanted.iter().map(|(owner, count)| ((*owner).to_owned(), *count)).collect();
    let reached = async {
        while shares(model).await != wanted {
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(PATIENCE, reached).await.is_ok(), "{:?}", shares(model).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn projectors_share_take_over_and_are_fenced() {
    if postgres_url().is_none() {
        return;
    }
    let world = World::new(On::Postgres);
    world.append(events(40)).await;
    let (one, two) = (world.place.model("shared").await, world.place.model("shared").await);
    let shutdown = CancellationToken::new();
    let first = world.project(&one, "one", &shutdown);
    caught_up(&world.log, &one).await;
    // Both hold a part, and both hear of what the other applies.
    let second = world.project(&two, "two", &shutdown);
    until_shares_are(&one, &[("one", 2), ("two", 1)]).await;
    world.append(events(80).split_off(45)).await;
    caught_up(&world.log, &one).await;
    caught_up(&world.log, &two).await;

    // Killed: it gives nothing back, and the other goes on when its leases have run out.
    first.abort();
    until_shares_are(&two, &[("two", 3)]).await;
    world.append(events(120).split_off(85)).await;
    caught_up(&world.log, &two).await;

    // Fenced: it holds its leases for all it knows, and may not commit. It takes them anew, and reads again.
    execute(two.location(), "UPDATE cursor SET epoch = epoch + 1000".to_owned()).await;
    world.append(events(160).split_off(125)).await;
    caught_up(&world.log, &two).await;
    shutdown.cancel();
    second.await.unwrap().unwrap();
    assert_eq!(shares(&two).await, []);

    // However often the partitions changed hands: as if one had read them once.
    let alone = world.rebuilt("alone").await;
    assert_eq!(two.digest(None).await.unwrap(), alone.digest(None).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_leads_at_a_time() {
    if postgres_url().is_none() {
        return;
    }
    let place = Place::new(On::Postgres);
    let model = place.model("led").await;
    let (one, two) = (Leases::open(&model, "one").await.unwrap(), Leases::open(&model, "two").await.unwrap());
    let never = CancellationToken::new();
    let lead = one.lead("link", &never).await.unwrap().unwrap();
    // Another task has a lead of its own.
    let other = two.lead("notary", &never).await.unwrap().unwrap();
    let waiting = timeout(Duration::from_secs(u64::from(LEASE_SECONDS) + 2), two.lead("link", &never)).await;
    assert!(waiting.is_err(), "two led at once, though the first renewed");
    one.give_back("link", lead).await.unwrap();
    let lead = timeout(PATIENCE, two.lead("link", &never)).await.unwrap().unwrap().unwrap();
    assert_eq!((lead.epoch(), other.epoch()), (2, 1));
    // Lost, as with a database that was away: whoever had it takes it again, and sees that nobody led between.
    drop(lead);
    assert!(one.try_lead("link").await.unwrap().is_none(), "the lease of another has not run out");
    let lead = two.try_lead("link").await.unwrap().unwrap();
    assert_eq!(lead.epoch(), 3);
    // Dead: its lease runs out.
    drop(lead);
    let lead = timeout(PATIENCE, one.lead("link", &never)).await.unwrap().unwrap().unwrap();
    assert_eq!(lead.epoch(), 4);
    // Taken away behind its back: it hears of it.
    let execute_on = weft_readmodel::Location::clone(model.location());
    let weft_readmodel::Location::Postgres { schema, .. } = &execute_on else { panic!("no database") };
    execute(&execute_on, format!("UPDATE {schema}_lease.lease SET epoch = epoch + 1")).await;
    timeout(PATIENCE, lead.lost()).await.unwrap();
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let held = one.lead("notary", &shutdown).await.unwrap();
    assert!(held.is_none() || shutdown.is_cancelled());
}

#[tokio::test]
async fn a_file_has_one_owner() {
    let place = Place::new(On::Sqlite);
    let model: Arc<ReadModel> = place.model("led").await;
    let leases = Leases::open(&model, "one").await.unwrap();
    let lead = leases.lead("link", &CancellationToken::new()).await.unwrap().unwrap();
    assert_eq!(lead.epoch(), 0);
}

/// Whoever opens first makes the tables; the others find them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_start_at_once() {
    if postgres_url().is_none() {
        return;
    }
    let place = Place::new(On::Postgres);
    let opened = (0..8).map(|_| tokio::spawn(ReadModel::open(place.location("new"))));
    for model in futures::future::join_all(opened).await {
        model.unwrap().unwrap().close().await.unwrap();
    }
    let location = place.location("foreign");
    let weft_readmodel::Location::Postgres { schema, .. } = &location else { panic!("no database") };
    execute(&location, format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.something (n int)")).await;
    let refused = ReadModel::open(&location).await;
    assert!(matches!(refused, Err(weft_readmodel::OpenModelError::Foreign { .. })), "{refused:?}");
    let location = place.location("old");
    ReadModel::open(&location).await.unwrap().close().await.unwrap();
    execute(&location, "UPDATE projection SET version = 999".to_owned()).await;
    let refused = ReadModel::open(&location).await;
    assert!(matches!(refused, Err(weft_readmodel::OpenModelError::Version { found: 999, .. })), "{refused:?}");
    let named = weft_readmodel::Location::Postgres { url: String::new(), schema: "Bad; name".to_owned() };
    let refused = ReadModel::open(&named).await;
    assert!(matches!(refused, Err(weft_readmodel::OpenModelError::SchemaName { .. })), "{refused:?}");
}

/// A read model is replaced under a projector that goes on, and under a reader that keeps asking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuilt_read_model_takes_the_place_of_the_live_one() {
    if postgres_url().is_none() {
        return;
    }
    let world = World::new(On::Postgres);
    world.append(events(60)).await;
    let live = world.place.model("live").await;
    let shutdown = CancellationToken::new();
    let role = world.project(&live, "one", &shutdown);
    caught_up(&world.log, &live).await;
    let beside = world.place.location("beside");
    rebuild(world.log.clone(), &beside, None, Repeats::Never).await.unwrap();
    // Something that only the old one has: it must be gone afterwards.
    execute(live.location(), "UPDATE feed_health SET accepted = 9999".to_owned()).await;
    assert_eq!(live.feed_health("feed-1").await.unwrap().accepted, 9999);
    // The live one goes on meanwhile.
    world.append(events(120).split_off(65)).await;
    let cut = replace(world.log.clone(), &beside, live.location(), Repeats::Never).await.unwrap();
    assert!(cut.size(FEED) >= 60);
    world.append(events(180).split_off(125)).await;
    caught_up(&world.log, &live).await;
    assert_ne!(live.feed_health("feed-1").await.unwrap().accepted, 9999);
    shutdown.cancel();
    role.await.unwrap().unwrap();
    let alone = world.rebuilt("alone").await;
    assert_eq!(live.digest(None).await.unwrap(), alone.digest(None).await.unwrap());
    // The other name is free again.
    assert_eq!(rebuild(world.log.clone(), &beside, None, Repeats::Never).await.unwrap().events, 185);
}

/// A projector is in the middle of a batch when the read model under it is replaced: the whole batch is in the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_not_divided_between_two_read_models() {
    if postgres_url().is_none() {
        return;
    }
    let world = World::new(On::Postgres);
    world.append(events(60)).await;
    let live = world.place.model("live").await;
    let shutdown = CancellationToken::new();
    let role = world.project(&live, "one", &shutdown);
    caught_up(&world.log, &live).await;
    let beside = world.place.location("beside");
    rebuild(world.log.clone(), &beside, None, Repeats::Never).await.unwrap();

    let (Location::Postgres { url, schema }, Location::Postgres { schema: rebuilt, .. }) = (live.location(), &beside)
    else {
        panic!("a database")
    };
    // It has written what records say, and comes no farther than the moves between wards.
    let mut holding = PgConnection::connect(url).await.unwrap();
    let hold = format!("BEGIN; LOCK TABLE {schema}.encounter IN SHARE MODE");
    sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut holding).await.unwrap();
    world.append(events(120).split_off(65)).await;
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut holding).await.unwrap() == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let (log, of, onto) = (world.log.clone(), beside.clone(), live.location().clone());
    let replacing = tokio::spawn(async move { replace(log, &of, &onto, Repeats::Never).await });
    // Until it waits for the projector, or has renamed what it should not have.
    let renamed = format!(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = '{schema}.cursor'::regclass)
             OR to_regnamespace('{rebuilt}') IS NULL"
    );
    let mut watching = PgConnection::connect(url).await.unwrap();
    while !sqlx::query_scalar::<_, bool>(AssertSqlSafe(renamed.clone())).fetch_one(&mut watching).await.unwrap() {
        sleep(Duration::from_millis(5)).await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut holding).await.unwrap();
    replacing.await.unwrap().unwrap();
    caught_up(&world.log, &live).await;
    shutdown.cancel();
    role.await.unwrap().unwrap();
    let alone = world.rebuilt("alone").await;
    assert_eq!(live.digest(None).await.unwrap(), alone.digest(None).await.unwrap());
}

/// The same log in a file and in a database holds the same, row for row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_hold_the_same() {
    if postgres_url().is_none() {
        return;
    }
    let world = World::new(On::Postgres);
    // More than is folded at once: what a later round ends was made by an earlier one.
    world.append(events(20_000)).await;
    let one = world.rebuilt("one").await;
    let file = Location::Sqlite(world.place.dir.path().join("other.db"));
    rebuild(world.log.clone(), &file, None, Repeats::Possible).await.unwrap();
    let other = ReadModel::open(file).await.unwrap();
    let digest = one.digest(None).await.unwrap();
    assert_eq!(digest, other.digest(None).await.unwrap());
    assert!(digest.iter().all(|table| table.rows > 0 || !["fact", "entry", "link"].contains(&table.table)));
    let cut = "feed/0/17000,identity/0/2".parse().unwrap();
    assert_eq!(one.differences(&other, &cut).await.unwrap(), []);
}
