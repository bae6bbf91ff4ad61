//! Faults under load on Kafka and PostgreSQL with every role a process of its own: kill -9 of each role, of the broker, of
//! PostgreSQL, and their return.
//!
//! After each, once it is over: what was acknowledged is in the log as one event, the counts add up, nothing lags, and the read
//! model equals one that is rebuilt. Not a failure: an event that lies in the log twice under one id, and a message that was
//! stored and not acknowledged. What is not asserted: how fast anything is, beyond the deadlines of waiting.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::Context;
use common::{FEED, settled};
use weft_testkit::{KafkaCluster, Launch, Load, Node, PostgresServer, Site, kafka, postgres};

const ROLES: [&str; 5] = ["notary", "connect", "link", "project", "api"];
const SENDERS: u64 = 4;
/// Whom the messages of a [`Load`] are about.
const PATIENTS: u64 = 97;

/// A site, and a process for each role.
struct Apart {
    site: Site,
    nodes: BTreeMap<&'static str, Node>,
}

impl Apart {
    fn start(brokers: &str, postgres: &str, replication: u16) -> anyhow::Result<Self> {
        let site = Site::on_kafka(brokers, postgres, replication)?;
        let file = site.write("feed.toml", FEED)?;
        assert_eq!(site.weft(&["feed", "add", &file])?.code, 0);
        let mut apart = Self { site, nodes: BTreeMap::new() };
        for role in ROLES {
            apart.launch(role)?;
        }
        Ok(apart)
    }

    fn launch(&mut self, role: &'static str) -> anyhow::Result<()> {
        let node = self.site.launch(&Launch { roles: &[role], ..Launch::default() })?;
        self.nodes.insert(role, node);
        Ok(())
    }

    fn kill(&mut self, role: &str) -> anyhow::Result<()> {
        self.nodes.remove(role).context("a role that runs")?.kill()
    }

    fn listens_at(&self) -> anyhow::Result<String> {
        self.nodes.get("connect").context("a role that runs")?.mllp("ryj-pas")
    }

    /// Each of the patients whom the messages are about comes to a person, by a decision of its own.
    fn wait_for_links(&self, acknowledged: &BTreeSet<String>) -> anyhow::Result<()> {
        let numbers = acknowledged.iter().filter_map(|id| id.trim_start_matches('K').parse::<u64>().ok());
        let patients = numbers.map(|number| number % PATIENTS).collect::<BTreeSet<_>>().len();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let identity = self.site.json_lines(&["log", "tail", "--json", "--stream", "identity"])?;
            let linked = identity.iter().filter(|event| event["kind"] == "record_linked");
            let linked = linked.filter_map(|event| event["event_id"].as_str()).collect::<BTreeSet<_>>().len();
            if linked == patients {
                return Ok(());
            }
            assert!(Instant::now() < deadline, "{linked} records are linked, {patients} were spoken of");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Nothing but the load's end is waited for: the roles have to get over the fault by themselves.
    fn settle(mut self, load: Load) -> anyhow::Result<()> {
        load.wait_for_more(50)?;
        let acknowledged = load.finish()?;
        self.wait_for_links(&acknowledged)?;
        settled(&self.site, &acknowledged)?;
        for (role, node) in &mut self.nodes {
            assert!(node.runs()?, "the role {role} has ended");
        }
        for (role, node) in self.nodes {
            assert_eq!(node.stop()?, 0, "the role {role} ends in order");
        }
        Ok(())
    }
}

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
