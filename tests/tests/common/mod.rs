//! What every fault test asks once the fault is over.
#![allow(dead_code, reason = "every test file uses its own part of it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, bail};
use weft_testkit::Site;

/// The feed that a [`Load`](weft_testkit::Load) speaks to.
pub const FEED: &str = "feed = \"ryj-pas\"\norganisation = \"RYJ\"\ndemo = true\n[mllp]\nlisten = \"127.0.0.1:0\"\n";

/// Acknowledged = in the log once; received = accepted + duplicate + conflict + quarantined; nothing lags; live = rebuilt.
pub fn settled(site: &Site, acknowledged: &BTreeSet<String>) -> anyhow::Result<()> {
    let mut events: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in site.json_lines(&["log", "tail", "--json", "--stream", "feed"])? {
        let text = |field: &str| event[field].as_str().map(str::to_owned).context("a header");
        events.entry(text("control_id")?).or_default().insert(text("event_id")?);
    }
    let lost: Vec<_> = acknowledged.iter().filter(|id| !events.contains_key(*id)).collect();
    assert_eq!(lost, Vec::<&String>::new(), "acknowledged and not in the log");
    let twice: Vec<_> = events.iter().filter(|(_, ids)| ids.len() > 1).collect();
    assert_eq!(twice, Vec::new(), "in the log as more than one event");
    let stat = site.json(&["log", "stat", "--json"])?;
    let count = |verdict: &str| stat["verdicts"][verdict].as_u64().unwrap_or_default();
    assert_eq!(count("accepted"), events.len() as u64, "{stat}");
    assert_eq!(
        count("received"),
        count("accepted") + count("duplicate") + count("conflict") + count("quarantined"),
        "{stat}"
    );
    assert_eq!((count("conflict"), count("quarantined")), (0, 0), "{stat}");
    let size = stat["streams"]["feed"]["events"].as_u64().context("size of the feed stream")?;
    let answer = site.wait_for(&["replay", "--compare", "--json"], |answer| {
        let known = answer["known_at"].as_object();
        let feed = known.map(|known| known.iter().filter(|(partition, _)| partition.starts_with("feed/")));
        feed.is_some_and(|feed| feed.filter_map(|(_, size)| size.as_u64()).sum::<u64>() == size)
    })?;
    if answer["equal"] != true {
        bail!("the live read model differs from a rebuilt one: {answer}");
    }
    Ok(())
}

/// A caller who follows the timeline of the load's first person, and reads nothing of it. To be killed at the end.
pub fn reader_that_does_not_read(site: &Site) -> anyhow::Result<Child> {
    let found = site.wait_for(&["person", "find", "--local-id", "RYJ/P1", "--json"], |answer| {
        answer["persons"][0]["personId"].is_string()
    })?;
    let person = found["persons"][0]["personId"].as_str().context("a person")?.to_owned();
    let config = site.config().display().to_string();
    let reader = Command::new(weft_testkit::binary())
        .args(["--config", &config, "timeline", &person, "--follow", "--json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Command::new("kill").args(["-STOP", &reader.id().to_string()]).status()?;
    Ok(reader)
}

/// Resident bytes of a process.
pub fn memory(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("VmRSS")?.parse::<u64>()? << 10)
}
