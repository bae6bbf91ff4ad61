//! A site on Kafka and PostgreSQL with every role a process of its own, and what must hold of it once a fault is over.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part of it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use weft_testkit::{Launch, Load, Node, Site};

use crate::common::{FEED, settled};

pub const ROLES: [&str; 5] = ["notary", "connect", "link", "project", "api"];
pub const SENDERS: u64 = 4;
/// How soon every role goes on once a fault is over, however long it was: no pause between two attempts is longer than two
/// seconds, and some follow on each other. Two cores that other tests keep busy are given three times as much as it takes.
const GOES_ON_WITHIN: Duration = Duration::from_secs(15);
/// Whom the messages of a [`Load`] are about.
const PATIENTS: u64 = 97;

/// A site, and a process for each role, or more.
pub struct Apart {
    pub site: Site,
    /// By role, or another name where several have it.
    nodes: BTreeMap<String, Node>,
}

impl Apart {
    pub fn start(brokers: &str, postgres: &str, replication: u16) -> anyhow::Result<Self> {
        let site = Site::on_kafka(brokers, postgres, replication)?;
        let file = site.write("feed.toml", FEED)?;
        let added = site.weft(&["feed", "add", &file])?;
        assert_eq!(added.code, 0, "{}", added.stderr);
        let mut apart = Self { site, nodes: BTreeMap::new() };
        for role in ROLES {
            apart.launch(role)?;
        }
        Ok(apart)
    }

    pub fn launch(&mut self, role: &str) -> anyhow::Result<()> {
        self.launch_as(role, role, None)
    }

    /// Launches a process of this role under another name, or with another configuration, or both.
    pub fn launch_as(&mut self, name: &str, role: &str, config: Option<&Path>) -> anyhow::Result<()> {
        let node = self.site.launch(&Launch { config, roles: &[role], ..Launch::default() })?;
        self.add(name, node);
        Ok(())
    }

    /// Takes in a process of the site that was launched otherwise.
    pub fn add(&mut self, name: &str, node: Node) {
        self.nodes.insert(name.to_owned(), node);
    }

    pub fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        self.nodes.remove(name).context("a role that runs")?.kill()
    }

    /// Ends a process with SIGTERM; its exit code.
    pub fn stop(&mut self, name: &str) -> anyhow::Result<i32> {
        self.nodes.remove(name).context("a role that runs")?.stop()
    }

    /// The same; what it has said.
    pub fn stop_and_listen(&mut self, name: &str) -> anyhow::Result<String> {
        self.nodes.remove(name).context("a role that runs")?.stop_and_listen()
    }

    /// A process that runs.
    pub fn node(&self, name: &str) -> anyhow::Result<&Node> {
        self.nodes.get(name).context("a role that runs")
    }

    pub fn listens_at(&self) -> anyhow::Result<String> {
        self.node("connect")?.mllp("ryj-pas")
    }

    /// How many projectors hold partitions now.
    pub fn projectors(&self) -> anyhow::Result<u64> {
        const HOLDING: &str = "SELECT count(DISTINCT owner) FROM weft_model_lease.lease
                               WHERE name LIKE 'project/%' AND owner IS NOT NULL AND until > clock_timestamp()";
        Ok(self.site.sql(HOLDING)?.parse()?)
    }

    /// Waits until so many projectors share the partitions.
    pub fn wait_for_projectors(&self, wanted: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let holding = self.projectors()?;
            if holding == wanted {
                return Ok(());
            }
            assert!(Instant::now() < deadline, "{holding} projectors hold partitions, {wanted} should");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The fault is over now: soon every role has come further.
    pub fn goes_on(&self, load: &Load) -> anyhow::Result<()> {
        let over = Instant::now();
        // More than can have been stored already, and were only to be answered.
        load.wait_for_more(2 * SENDERS as usize)?;
        let received =
            self.places("SELECT partition, max(place) + 1 FROM weft_log.inbox WHERE place >= 0 GROUP BY partition")?;
        let linked = || self.places("SELECT partition, next FROM weft_model.linker");
        let projected = || self.places("SELECT partition, next FROM weft_model.cursor WHERE stream = 'feed'");
        loop {
            let missing = if !reaches(&linked()?, &received) {
                "linked"
            } else if !reaches(&projected()?, &received) {
                "projected"
            } else if !reaches(&self.newest_cut()?, &received) {
                "in a cut"
            } else if self.site.weft(&["person", "find", "--local-id", "RYJ/P1"])?.code != 0 {
                "answered"
            } else {
                println!("every role goes on after {:?}", over.elapsed());
                return Ok(());
            };
            let since = over.elapsed();
            assert!(since < GOES_ON_WITHIN, "{since:?} after the fault not everything is {missing}: {received:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Sizes of partitions of the feed stream that a query answers with, one a line.
    fn places(&self, query: &str) -> anyhow::Result<BTreeMap<i64, u64>> {
        let rows = self.site.sql(query)?;
        let row = |row: &str| {
            let (partition, size) = row.split_once('|').context("two values")?;
            Ok((partition.parse()?, size.parse()?))
        };
        rows.lines().map(row).collect()
    }

    /// The sizes that the newest cut gives to partitions of the feed stream.
    fn newest_cut(&self) -> anyhow::Result<BTreeMap<i64, u64>> {
        let cut = self.site.json(&["log", "cut", "show", "--json"])?;
        let partitions = cut["partitions"].as_object().context("partitions of a cut")?;
        let feed = partitions.iter().filter_map(|(name, root)| Some((name.strip_prefix("feed/")?, &root["size"])));
        feed.map(|(number, size)| Ok((number.parse()?, size.as_u64().context("a size")?))).collect()
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
            if Instant::now() > deadline {
                anyhow::bail!("{linked} records are linked, {patients} were spoken of");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Nothing but the load's end is waited for: the roles have to get over the fault by themselves.
    pub fn settle(self, load: Load) -> anyhow::Result<()> {
        load.wait_for_more(50)?;
        self.settle_with(&load.finish()?)
    }

    /// The same where the load has ended, and these are all that were acknowledged.
    pub fn settle_with(mut self, acknowledged: &BTreeSet<String>) -> anyhow::Result<()> {
        if let Err(missing) = self.wait_for_links(acknowledged) {
            anyhow::bail!("{missing}; the linker said: {}", self.stop_and_listen("link")?);
        }
        settled(&self.site, acknowledged)?;
        for (role, node) in &mut self.nodes {
            assert!(node.runs()?, "the role {role} has ended");
        }
        for (role, node) in self.nodes {
            assert_eq!(node.stop()?, 0, "the role {role} ends in order");
        }
        Ok(())
    }
}

fn reaches(sizes: &BTreeMap<i64, u64>, wanted: &BTreeMap<i64, u64>) -> bool {
    wanted.iter().all(|(partition, size)| sizes.get(partition) >= Some(size))
}
