//! The one real path on Kafka and PostgreSQL: the same story as on an embedded log, told by one process and by five.

mod hospitals;
mod mended;

use anyhow::Context;
use hospitals::{OTHER, PAS, admission, one_timeline, person};
use serde_json::Value;
use weft_testkit::{Launch, Node, Sender, Site, kafka, postgres};

const ROLES: [&str; 5] = ["notary", "connect", "link", "project", "api"];

/// Both feeds, registered while no node runs. `None` where there are no services.
fn site() -> anyhow::Result<Option<Site>> {
    let (Some(brokers), Some(server)) = (kafka(), postgres()) else { return Ok(None) };
    let site = Site::on_kafka(&brokers, &server, 1)?;
    for (name, registration) in [("pas.toml", PAS), ("other.toml", OTHER)] {
        let file = site.write(name, registration)?;
        assert_eq!(site.weft(&["feed", "add", &file])?.code, 0);
    }
    Ok(Some(site))
}

/// What must hold of the log and the read model once everything has been sent: live = rebuilt, signed and whole, and a cut
/// shows what the newest state shows.
fn hold(site: &Site, person: &str) -> anyhow::Result<()> {
    let sizes = |stream: &str, answer: &Value| -> u64 {
        let known = answer["known_at"].as_object().into_iter().flatten();
        known.filter(|(partition, _)| partition.starts_with(stream)).filter_map(|(_, size)| size.as_u64()).sum()
    };
    let stat = site.json(&["log", "stat", "--json"])?;
    let compared = site.wait_for(&["replay", "--compare", "--json"], |answer| {
        ["feed", "identity"].iter().all(|stream| sizes(stream, answer) == stat["streams"][stream]["events"])
    })?;
    assert_eq!(
        (&compared["equal"], &compared["different"]),
        (&Value::Bool(true), &Value::Array(Vec::new())),
        "{compared}"
    );

    // Reading is recorded, so that the log grows by being looked at; what was sent is beyond no cut.
    let verified = site.wait_for(&["verify", "--json"], |report| {
        let partitions = report["partitions"].as_object();
        partitions
            .is_some_and(|all| all.iter().filter(|(p, _)| !p.starts_with("control")).all(|(_, p)| p["beyond"] == 0))
    })?;
    assert_eq!(
        (&verified["whole"], &verified["damages"]),
        (&Value::Bool(true), &Value::Array(Vec::new())),
        "{verified}"
    );
    let tick = verified["newest"]["tick"].as_u64().context("a cut")?.to_string();
    let now = site.json(&["timeline", person, "--json"])?;
    let then = site.wait_for(&["timeline", person, "--as-of", &tick, "--json"], |t| t["entries"].is_array())?;
    assert_eq!(then["entries"], now["entries"], "as of the newest cut");
    Ok(())
}

/// Decided again from the log alone, everything is as it was decided, and always the same; a stricter model would take apart
/// what was linked, and comparing it changes nothing.
fn hold_links(site: &Site) -> anyhow::Result<()> {
    let verified = site.json(&["link", "verify", "--json"])?;
    assert_eq!((&verified["differences"], &verified["undecided"]), (&0.into(), &0.into()), "{verified}");
    assert!(verified["decisions"].as_u64().is_some_and(|decisions| decisions > 1), "{verified}");
    let same = site.json(&["link", "compare", "shipped", "shipped", "--json"])?;
    assert_eq!((&same["changed"], &same["pairs"]["both"]), (&0.into(), &1.into()), "{same}");
    let shipped = include_str!("../../schemas/linkage/weights-1.toml");
    let threshold = shipped.lines().find(|line| line.starts_with("threshold")).context("a threshold")?;
    let strict = site.write("strict.toml", shipped.replace(threshold, "threshold = 9000"))?;
    let compared = site.json(&["link", "compare", "shipped", &strict, "--json"])?;
    assert_eq!((&compared["changed"], &compared["pairs"]["lost"]), (&2.into(), &1.into()), "{compared}");
    assert_eq!(site.json(&["link", "verify", "--json"])?, verified);
    Ok(())
}

#[test]
fn from_two_hospitals_to_one_timeline_in_one_process() -> anyhow::Result<()> {
    let Some(site) = site()? else { return Ok(()) };
    let node = site.serve()?;
    let id = one_timeline(&site, &node.mllp("ryj-pas")?, &node.mllp("rqm-pas")?)?;
    hold(&site, &id)?;
    hold_links(&site)?;
    assert_eq!(node.stop()?, 0);

    // What is known lives in the services alone: a node that starts again has all of it.
    let node = site.serve()?;
    assert_eq!(person(&site, 2)?, id);
    assert_eq!(Sender::connect(&node.mllp("ryj-pas")?)?.send(&admission("RYJ", "A1", "100001"))?.code, "AA");
    let stat = site.json(&["log", "stat", "--json"])?;
    assert_eq!((&stat["verdicts"]["duplicate"], &stat["streams"]["feed"]["events"]), (&2.into(), &6.into()), "{stat}");
    assert_eq!(node.stop()?, 0);
    Ok(())
}

#[test]
fn from_two_hospitals_to_one_timeline_with_every_role_a_process() -> anyhow::Result<()> {
    let Some(site) = site()? else { return Ok(()) };
    let launch = |role| site.launch(&Launch { roles: &[role], ..Launch::default() });
    let mut nodes: Vec<Node> = ROLES.into_iter().map(launch).collect::<anyhow::Result<_>>()?;
    let listens = |node: &Node| node.ready["mllp"]["ryj-pas"].is_string();
    let connect = nodes.remove(nodes.iter().position(listens).context("one that listens")?);
    let pas = connect.mllp("ryj-pas")?;
    let id = one_timeline(&site, &pas, &connect.mllp("rqm-pas")?)?;
    hold(&site, &id)?;
    hold_links(&site)?;

    // The process that answers is not the one that listens: it says where that is, for as long as that lives.
    let shown = |address: &str| {
        let address = address.to_owned();
        site.wait_for(&["feed", "show", "ryj-pas", "--json"], move |shown| {
            shown["feed"]["address"].as_str().unwrap_or_default() == address
        })
    };
    assert_eq!(shown(&pas)?["feed"]["state"], "LISTENING");
    connect.kill()?;
    shown("")?;
    for node in nodes {
        assert_eq!(node.stop()?, 0, "every role ends in order");
    }
    Ok(())
}

#[test]
fn what_was_quarantined_comes_to_the_timeline_once() -> anyhow::Result<()> {
    let (Some(brokers), Some(server)) = (kafka(), postgres()) else { return Ok(()) };
    let site = Site::on_kafka(&brokers, &server, 1)?;
    mended::register_wrongly(&site)?;
    let node = site.serve()?;
    let id = mended::story(&site)?;
    hold(&site, &id)?;
    assert_eq!(node.stop()?, 0);
    Ok(())
}

#[test]
fn a_node_that_dies_while_it_reads_again_accepts_each_message_once() -> anyhow::Result<()> {
    let (Some(brokers), Some(server)) = (kafka(), postgres()) else { return Ok(()) };
    let site = Site::on_kafka(&brokers, &server, 1)?;
    mended::register_wrongly(&site)?;
    let node = mended::killed(&site, 400, 3)?;
    assert_eq!(node.stop()?, 0);
    Ok(())
}
