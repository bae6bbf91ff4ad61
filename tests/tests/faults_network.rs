//! Networks that are cut or hold bytes back, consumers that do not consume, and events that are delivered twice, on Kafka and
//! PostgreSQL with every role a process of its own, under load.
//!
//! What is asked once a fault is over, and what is no failure, is told in `faults_apart.rs`.

mod apart;
mod common;

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use apart::{Apart, ROLES, SENDERS};
use common::{memory, reader_that_does_not_read};
use weft_testkit::{KafkaCluster, Load, PostgresServer, Proxy, Sender, binary, kafka, message, postgres};

/// Longer than a lease is held: whoever holds one behind the proxy loses it.
const LONGER_THAN_A_LEASE: Duration = Duration::from_secs(7);
const A_MOMENT: Duration = Duration::from_secs(2);
/// Seventeen seconds and one for threads, and what a loaded machine adds.
const END_WITHIN: Duration = Duration::from_secs(19);

/// Puts one role after the other behind `proxy`, whose configuration is `behind`, and stalls and cuts its network.
fn disturb(
    apart: &mut Apart,
    load: &Load,
    behind: &Path,
    proxy: &Proxy,
    roles: &[(&str, Duration)],
) -> anyhow::Result<()> {
    for (role, stall) in roles {
        apart.kill(role)?;
        apart.launch_as(role, role, Some(behind))?;
        load.go_to(&apart.listens_at()?);
        load.wait_for_more(50)?;
        for fault in [Proxy::stall, Proxy::cut] {
            fault(proxy);
            // What was stored already may still be on its way to its sender.
            std::thread::sleep(Duration::from_millis(200));
            let before = load.acknowledged();
            std::thread::sleep(*stall);
            if *role == "connect" {
                assert_eq!(load.acknowledged(), before, "acknowledged by a connector that is cut off");
            } else {
                assert!(load.acknowledged() > before, "receiving needs no {role}");
            }
            proxy.restore();
            load.wait_for_more(50)?;
        }
        apart.kill(role)?;
        apart.launch(role)?;
        load.go_to(&apart.listens_at()?);
    }
    Ok(())
}

#[test]
fn the_network_to_kafka_stalls_and_is_cut() -> anyhow::Result<()> {
    let Some((cluster, proxy)) = KafkaCluster::start_beside_proxy()? else { return Ok(()) };
    let Some(postgres) = postgres() else { return Ok(()) };
    let brokers = cluster.addresses();
    let mut apart = Apart::start(&brokers, &postgres, 1)?;
    let behind = apart.site.config_as("behind.toml", &brokers, proxy.address())?;
    let load = Load::start(SENDERS, &apart.listens_at()?);
    let roles = [("connect", A_MOMENT), ("project", A_MOMENT), ("link", A_MOMENT)];
    disturb(&mut apart, &load, &behind, &proxy, &roles)?;
    apart.settle(load)
}

#[test]
fn the_network_to_postgres_stalls_and_is_cut() -> anyhow::Result<()> {
    let Some(brokers) = kafka() else { return Ok(()) };
    let Some(server) = PostgresServer::start()? else { return Ok(()) };
    let proxy = Proxy::to(&server.address())?;
    let mut apart = Apart::start(&brokers, &server.url(), 1)?;
    let behind = apart.site.config_as("behind.toml", &server.address(), proxy.address())?;
    let load = Load::start(SENDERS, &apart.listens_at()?);
    let roles = [("connect", A_MOMENT), ("project", LONGER_THAN_A_LEASE), ("api", A_MOMENT)];
    disturb(&mut apart, &load, &behind, &proxy, &roles)?;
    apart.settle(load)
}

/// Tells every role that stands behind `proxy` to end, one after the other, while the network hangs: each ends all the same,
/// for whoever supervises it would kill it otherwise. What a connector could not store it has not acknowledged.
fn end_while_it_hangs(
    apart: &mut Apart,
    load: &Load,
    behind: &Path,
    proxy: &Proxy,
    roles: &[&str],
) -> anyhow::Result<()> {
    for role in roles {
        apart.kill(role)?;
        apart.launch_as(role, role, Some(behind))?;
        load.go_to(&apart.listens_at()?);
        load.wait_for_more(50)?;
        proxy.stall();
        std::thread::sleep(A_MOMENT);
        let told = Instant::now();
        assert_eq!(apart.stop(role)?, 0, "{role} ends in order");
        assert!(told.elapsed() < END_WITHIN, "{role} took {:?} to end", told.elapsed());
        proxy.restore();
        apart.launch(role)?;
        load.go_to(&apart.listens_at()?);
    }
    Ok(())
}

#[test]
fn nodes_end_while_postgres_hangs() -> anyhow::Result<()> {
    let Some(brokers) = kafka() else { return Ok(()) };
    let Some(server) = PostgresServer::start()? else { return Ok(()) };
    let proxy = Proxy::to(&server.address())?;
    let mut apart = Apart::start(&brokers, &server.url(), 1)?;
    let behind = apart.site.config_as("behind.toml", &server.address(), proxy.address())?;
    let load = Load::start(SENDERS, &apart.listens_at()?);
    end_while_it_hangs(&mut apart, &load, &behind, &proxy, &ROLES)?;
    a_start_can_be_ended(&behind, &proxy)?;
    apart.settle(load)
}

#[test]
fn nodes_end_while_kafka_hangs() -> anyhow::Result<()> {
    let Some((cluster, proxy)) = KafkaCluster::start_beside_proxy()? else { return Ok(()) };
    let Some(postgres) = postgres() else { return Ok(()) };
    let brokers = cluster.addresses();
    let mut apart = Apart::start(&brokers, &postgres, 1)?;
    let behind = apart.site.config_as("behind.toml", &brokers, proxy.address())?;
    let load = Load::start(SENDERS, &apart.listens_at()?);
    end_while_it_hangs(&mut apart, &load, &behind, &proxy, &ROLES)?;
    apart.settle(load)
}

/// So does one that has not got ready yet.
fn a_start_can_be_ended(behind: &Path, proxy: &Proxy) -> anyhow::Result<()> {
    proxy.stall();
    let mut serve = Command::new(binary());
    serve.arg("--config").arg(behind).args(["serve", "--role", "project"]);
    let mut starting = serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    std::thread::sleep(A_MOMENT);
    assert!(starting.try_wait()?.is_none(), "it waits for the database");
    Command::new("kill").arg("-TERM").arg(starting.id().to_string()).status()?;
    let deadline = Instant::now() + 2 * A_MOMENT;
    let ended = loop {
        match starting.try_wait()? {
            Some(status) => break status.code(),
            None if Instant::now() > deadline => break None,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    starting.kill()?;
    starting.wait()?;
    assert_eq!(ended, Some(0));
    proxy.restore();
    Ok(())
}

/// A projector that hangs, and a caller who does not read what the API tells it.
#[test]
fn slow_consumers_hold_nobody_up() -> anyhow::Result<()> {
    let (Some(brokers), Some(postgres)) = (kafka(), postgres()) else { return Ok(()) };
    let apart = Apart::start(&brokers, &postgres, 1)?;
    let load = Load::start(SENDERS, &apart.listens_at()?);
    load.wait_for_more(200)?;
    let mut reader = reader_that_does_not_read(&apart.site)?;
    let resident = ["connect", "api"].map(|role| apart.node(role).and_then(|node| memory(node.pid())));
    apart.node("project")?.signal("STOP")?;
    load.wait_for_more(1000)?;
    // It was taken for dead, and finds out.
    std::thread::sleep(LONGER_THAN_A_LEASE);
    apart.node("project")?.signal("CONT")?;
    load.wait_for_more(1000)?;
    for (role, before) in ["connect", "api"].into_iter().zip(resident) {
        let grown = memory(apart.node(role)?.pid())?.saturating_sub(before?);
        assert!(grown < 200 << 20, "{role} grew by {grown} bytes for whoever does not read");
    }
    reader.kill()?;
    reader.wait()?;
    apart.settle(load)
}

/// A connector that dies before it knows whether its events were stored leaves its senders without an answer: they send again,
/// and the events lie in the log twice. The inbox as such a connector leaves it is made by hand here, so that it is sure.
#[test]
fn events_that_are_delivered_twice_have_one_effect() -> anyhow::Result<()> {
    let (Some(brokers), Some(postgres)) = (kafka(), postgres()) else { return Ok(()) };
    let mut apart = Apart::start(&brokers, &postgres, 1)?;
    let load = Load::start(SENDERS, &apart.listens_at()?);
    load.wait_for_more(300)?;
    let acknowledged = load.finish()?;
    apart.kill("connect")?;
    apart.site.sql("UPDATE weft_log.inbox SET place = -1; DELETE FROM weft_log.count WHERE stream = 1")?;
    apart.launch("connect")?;
    let mut sender = Sender::connect(&apart.listens_at()?)?;
    for id in &acknowledged {
        let number = id.trim_start_matches('K').parse()?;
        assert_eq!(sender.send(&message(number))?.code, "AA");
    }
    let stat = apart.site.json(&["log", "stat", "--json"])?;
    let events = stat["streams"]["feed"]["events"].as_u64().context("events")?;
    assert_eq!(events, 2 * acknowledged.len() as u64, "each is there twice: {stat}");
    apart.settle_with(&acknowledged)
}
