//! Faults under load, on an embedded log: a disk that stalls, a network that is cut or holds bytes back, a node that hangs, a
//! reader that does not read.
//!
//! After each, once it is over: what was acknowledged is in the log once, the counts add up, nothing lags, and the read model
//! equals one that is rebuilt. What is not asserted: how fast anything is, beyond the deadlines of waiting.
//! The node that is killed has a test of its own, `kill.rs`; the disk that is full is in `bad_input.rs`.

mod common;

use std::time::{Duration, Instant};

use anyhow::Context;
use common::{FEED, memory, reader_that_does_not_read, settled};
use weft_testkit::{Launch, Load, Node, Proxy, Site, StallingDisk};

const SENDERS: u64 = 4;

fn start() -> anyhow::Result<(Site, Node)> {
    let site = Site::new()?;
    let file = site.write("feed.toml", FEED)?;
    assert_eq!(site.weft(&["feed", "add", &file])?.code, 0);
    let node = site.serve()?;
    Ok((site, node))
}

#[test]
fn while_the_disk_stalls_nothing_is_acknowledged_and_nothing_is_lost() -> anyhow::Result<()> {
    let site = Site::new()?;
    let file = site.write("feed.toml", FEED)?;
    assert_eq!(site.weft(&["feed", "add", &file])?.code, 0);
    let disk = StallingDisk::new()?;
    let node = site.launch(&Launch { environment: disk.environment(), ..Launch::default() })?;
    let load = Load::start(SENDERS, &node.mllp("ryj-pas")?);
    load.wait_for_more(50)?;
    for _ in 0..3 {
        disk.stall()?;
        // What was durable already may still be on its way to its sender.
        std::thread::sleep(Duration::from_millis(200));
        let before = load.acknowledged();
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(load.acknowledged(), before, "acknowledged while the disk made nothing durable");
        disk.resume()?;
        load.wait_for_more(50)?;
    }
    settled(&site, &load.finish()?)?;
    assert_eq!(node.stop()?, 0);
    Ok(())
}

#[test]
fn messages_whose_answers_a_cut_network_swallowed_come_again_and_add_nothing() -> anyhow::Result<()> {
    let (site, node) = start()?;
    let proxy = Proxy::to(&node.mllp("ryj-pas")?)?;
    let load = Load::start(SENDERS, proxy.address());
    for round in 0..12 {
        load.wait_for_more(30)?;
        if round % 3 == 0 {
            proxy.stall()
        } else {
            proxy.cut()
        }
        std::thread::sleep(Duration::from_millis(100));
        // Bytes that were held back are lost with their connections.
        proxy.cut();
        std::thread::sleep(Duration::from_millis(50));
        proxy.restore();
    }
    settled(&site, &load.finish()?)?;
    assert_eq!(node.stop()?, 0);
    Ok(())
}

#[test]
fn a_node_that_hung_goes_on_where_it_was() -> anyhow::Result<()> {
    let (site, node) = start()?;
    let load = Load::start(SENDERS, &node.mllp("ryj-pas")?);
    for _ in 0..3 {
        load.wait_for_more(50)?;
        node.signal("STOP")?;
        std::thread::sleep(Duration::from_secs(1));
        node.signal("CONT")?;
    }
    load.wait_for_more(50)?;
    settled(&site, &load.finish()?)?;
    assert_eq!(node.stop()?, 0);
    Ok(())
}

#[test]
fn a_reader_that_does_not_read_holds_nobody_up() -> anyhow::Result<()> {
    let (site, node) = start()?;
    let load = Load::start(SENDERS, &node.mllp("ryj-pas")?);
    load.wait_for_more(200)?;
    let mut reader = reader_that_does_not_read(&site)?;
    let resident = memory(node.pid())?;
    load.wait_for_more(2000)?;
    let grown = memory(node.pid())?.saturating_sub(resident);
    assert!(grown < 200 << 20, "the node grew by {grown} bytes for a reader that does not read");
    settled(&site, &load.finish()?)?;
    reader.kill()?;
    reader.wait()?;
    assert_eq!(node.stop()?, 0);
    Ok(())
}

#[test]
fn a_node_says_that_it_is_healthy_until_it_is_not() -> anyhow::Result<()> {
    let (site, node) = start()?;
    let health = node.ready["health"].as_str().context("a health address")?.to_owned();
    assert_eq!(site.weft(&["doctor", "--health", &health])?.code, 0);
    assert_eq!(site.weft(&["serve", "--role", "connect"])?.code, 2, "an embedded log has one process");
    let report = site.json(&["doctor", "--json"])?;
    // How much room the disk has, and how quick it is, is the machine's own.
    let of_the_machine = |finding: &serde_json::Value| finding["check"] == "disk" || finding["check"] == "fsync";
    let findings = report["findings"].as_array().context("findings")?;
    let (machine, own): (Vec<_>, Vec<_>) = findings.iter().partition(|finding| of_the_machine(finding));
    assert!(own.iter().all(|finding| finding["state"] == "good"), "{report}");
    assert_eq!(machine.len(), 2, "{report}");
    let all_good = machine.iter().all(|finding| finding["state"] == "good");
    assert_eq!(report["state"] == "good", all_good, "{report}");
    assert_eq!(node.stop()?, 0);
    let deadline = Instant::now() + Duration::from_secs(10);
    while site.weft(&["doctor", "--health", &health])?.code == 0 {
        assert!(Instant::now() < deadline, "a node that has ended is healthy");
    }
    Ok(())
}
