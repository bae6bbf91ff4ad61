//! Faults under load on Kafka and PostgreSQL with every role a process of its own: kill -9 of each role, of one of two
//! projectors in the middle of a batch, of the broker, of each of three brokers, of PostgreSQL, and their return.
//!
//! After each, once it is over: what was acknowledged is in the log as one event, the counts add up, nothing lags, and the read
//! model equals one that is rebuilt. Not a failure: an event that lies in the log twice under one id, and a message that was
//! stored and not acknowledged. What is not asserted: how fast anything is, beyond the deadlines of waiting.

mod apart;
mod common;

use std::time::{Duration, Instant};

use apart::{Apart, ROLES, SENDERS};
use weft_testkit::{KafkaCluster, Launch, Load, PostgresServer, Proxy, kafka, postgres};

/// Longer than the longest pause between two attempts, and than a connection is waited for.
const LONG: Duration = Duration::from_secs(12);
/// An event may be on its way to the brokers for 15 seconds.
const LONGER_THAN_A_DELIVERY: Duration = Duration::from_secs(20);

#[test]
fn each_role_is_killed_and_comes_back() -> anyhow::Result<()> {
    let (Some(brokers), Some(postgres)) = (kafka(), postgres()) else { return Ok(()) };
    let mut apart = Apart::start(&brokers, &postgres, 1)?;
    let load = Load::start(SENDERS, &apart.listens_at()?);
    for role in ROLES {
        load.wait_for_more(50)?;
        apart.kill(role)?;
        if role != "connect" {
            // Receiving needs none of the others.
            load.wait_for_more(50)?;
        }
        apart.launch(role)?;
        load.go_to(&apart.listens_at()?);
    }
    apart.settle(load)
}

#[test]
fn the_broker_is_killed_and_comes_back() -> anyhow::Result<()> {
    let Some(mut kafka) = KafkaCluster::start(1)? else { return Ok(()) };
    let Some(postgres) = postgres() else { return Ok(()) };
    let apart = Apart::start(&kafka.addresses(), &postgres, 1)?;
    let load = Load::start(SENDERS, &apart.listens_at()?);
    for _ in 0..2 {
        load.wait_for_more(50)?;
        kafka.kill(0);
        // What was stored already may still be on its way to its sender.
        std::thread::sleep(Duration::from_millis(200));
        let before = load.acknowledged();
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(load.acknowledged(), before, "acknowledged while there was no broker");
        kafka.restart(0)?;
    }
    apart.settle(load)
}

#[test]
fn postgres_is_killed_and_comes_back() -> anyhow::Result<()> {
    let Some(mut server) = PostgresServer::start()? else { return Ok(()) };
    let Some(brokers) = kafka() else { return Ok(()) };
    let apart = Apart::start(&brokers, &server.url(), 1)?;
    let load = Load::start(SENDERS, &apart.listens_at()?);
    for _ in 0..2 {
        load.wait_for_more(50)?;
        server.kill();
        std::thread::sleep(Duration::from_millis(200));
        let before = load.acknowledged();
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(load.acknowledged(), before, "acknowledged while nobody could tell repeats");
        server.restart()?;
    }
    apart.settle(load)
}

/// Away for longer than anything waits between two attempts: nobody may need as long again to notice that it is back.
#[test]
fn postgres_is_away_for_long() -> anyhow::Result<()> {
    let Some(mut server) = PostgresServer::start()? else { return Ok(()) };
    let Some(brokers) = kafka() else { return Ok(()) };
    let mut apart = Apart::start(&brokers, &server.url(), 1)?;
    let load = Load::start(SENDERS, &apart.listens_at()?);
    load.wait_for_more(50)?;
    server.kill();
    std::thread::sleep(LONG);
    server.restart()?;
    apart.goes_on(&load)?;
    loaded_once(&mut apart)?;
    apart.settle(load)
}

/// The linker has kept what it knew: to read it again takes minutes where there are millions of people.
fn loaded_once(apart: &mut Apart) -> anyhow::Result<()> {
    let said = apart.stop_and_listen("link")?;
    assert_eq!(said.matches("linker loaded").count(), 1, "{said}");
    apart.launch("link")
}

/// A linker reads what it knows from the read model when it starts, and whenever it comes to lead: so also when the database has
/// just come back. That it dies once more meanwhile is no reason to end.
#[test]
fn postgres_is_killed_while_the_linker_loads() -> anyhow::Result<()> {
    const HOLD: &str = "BEGIN; LOCK TABLE weft_model.review IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)";
    const LOADING: &str = "SELECT count(*) FROM pg_stat_activity
                           WHERE wait_event_type = 'Lock' AND query LIKE '%SELECT pseudonym, body FROM review%'";
    let Some(mut server) = PostgresServer::start()? else { return Ok(()) };
    let Some(brokers) = kafka() else { return Ok(()) };
    let mut apart = Apart::start(&brokers, &server.url(), 1)?;
    let load = Load::start(SENDERS, &apart.listens_at()?);
    load.wait_for_more(50)?;
    apart.kill("link")?;
    let site = &apart.site;
    let linker = std::thread::scope(|scope| {
        // Ends when the server does.
        scope.spawn(|| site.sql(HOLD));
        let linker = site.launch(&Launch { roles: &["link"], ..Launch::default() });
        let deadline = Instant::now() + Duration::from_secs(30);
        while !site.sql(LOADING).is_ok_and(|waiting| waiting == "1") && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        let loading = site.sql(LOADING);
        server.kill();
        assert_eq!(loading?, "1", "linkers that load");
        linker
    })?;
    apart.add("link", linker);
    server.restart()?;
    apart.goes_on(&load)?;
    apart.settle(load)
}

/// What was under way to the broker has failed by then.
#[test]
fn the_broker_is_away_for_long() -> anyhow::Result<()> {
    let Some(mut kafka) = KafkaCluster::start(1)? else { return Ok(()) };
    let Some(postgres) = postgres() else { return Ok(()) };
    let mut apart = Apart::start(&kafka.addresses(), &postgres, 1)?;
    let load = Load::start(SENDERS, &apart.listens_at()?);
    load.wait_for_more(50)?;
    kafka.kill(0);
    std::thread::sleep(LONGER_THAN_A_DELIVERY);
    kafka.restart(0)?;
    apart.goes_on(&load)?;
    loaded_once(&mut apart)?;
    apart.settle(load)
}

/// Every broker leads partitions: whichever is killed, others have to lead them, and the clients to find out. The last of them
/// starts when the first command already asks for topics that it is to have a copy of.
#[test]
fn each_of_three_brokers_is_killed_and_the_others_lead() -> anyhow::Result<()> {
    let Some(mut kafka) = KafkaCluster::start_some(2, 3)? else { return Ok(()) };
    let Some(postgres) = postgres() else { return Ok(()) };
    let addresses = kafka.addresses();
    let apart = std::thread::scope(|scope| {
        let starting = scope.spawn(|| Apart::start(&addresses, &postgres, 3));
        std::thread::sleep(Duration::from_secs(10));
        kafka.restart(2)?;
        starting.join().unwrap_or_else(|_| anyhow::bail!("the site does not start"))
    })?;
    let load = Load::start(SENDERS, &apart.listens_at()?);
    for broker in 0..3 {
        load.wait_for_more(100)?;
        kafka.kill(broker);
        // Messages about every patient, so to every partition: also those that it led are led by another now.
        load.wait_for_more(400)?;
        kafka.restart(broker)?;
    }
    apart.settle(load)
}

#[test]
fn one_of_two_projectors_is_killed_in_the_middle_of_a_batch() -> anyhow::Result<()> {
    let (Some(brokers), Some(postgres)) = (kafka(), postgres()) else { return Ok(()) };
    let mut apart = Apart::start(&brokers, &postgres, 1)?;
    let address = apart.site.database().split('@').nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let proxy = Proxy::to(address)?;
    let behind = apart.site.config_as("behind.toml", address, proxy.address())?;
    let load = Load::start(SENDERS, &apart.listens_at()?);
    for round in 0..2 {
        let (dying, next) = (format!("project-{round}"), format!("project-{}", round + 1));
        if round == 0 {
            apart.launch_as(&dying, "project", Some(&behind))?;
        }
        apart.wait_for_projectors(2)?;
        load.wait_for_more(100)?;
        // Its transaction is open, and its words to the database are under way for ever.
        proxy.stall();
        load.wait_for_more(100)?;
        apart.kill(&dying)?;
        apart.wait_for_projectors(1)?;
        // What it had said reaches the database now that its partitions are another's.
        proxy.restore();
        load.wait_for_more(100)?;
        apart.launch_as(&next, "project", Some(&behind))?;
    }
    apart.wait_for_projectors(2)?;
    // One that joins takes a part of what the two have.
    apart.launch_as("project-third", "project", None)?;
    apart.wait_for_projectors(3)?;
    apart.settle(load)
}
