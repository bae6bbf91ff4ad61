//! What an auditor does: asks what was known then, checks that nothing was changed, and carries a proof away.

use std::{fs, path::Path, time::Duration};

use anyhow::Context;
use serde_json::Value;
use weft_testkit::{Node, Sender, Site};

const FEED: &str = "feed = \"ryj-pas\"\norganisation = \"RYJ\"\ndemo = true\n[mllp]\nlisten = \"127.0.0.1:0\"\n";

fn message(control_id: u64) -> Vec<u8> {
    format!(
        "MSH|^~\\&|PAS|RYJ|ROUTE|ROUTE|20260301101500||ADT^A01|V{control_id}|P|2.4\r\
         EVN||20260301101500||||20260301100000\r\
         PID|1||77^^^RYJ^MR~9990000018^^^NHS||FAMILY^Given||19800214|2|||1 Street^^London^^W2 1NY\r\
         PV1|1|I|WARD{}^B^1||||||||||||||||N{control_id}|||||||||||||||||||||||||20260301100000\r",
        control_id % 7
    )
    .into_bytes()
}

fn start() -> anyhow::Result<(Site, Node)> {
    let site = Site::new()?;
    let file = site.write("feed.toml", FEED)?;
    assert_eq!(site.weft(&["feed", "add", &file])?.code, 0);
    let node = site.serve()?;
    Ok((site, node))
}

fn send(node: &Node, control_ids: std::ops::Range<u64>) -> anyhow::Result<()> {
    let mut sender = Sender::connect(&node.mllp("ryj-pas")?)?;
    for control_id in control_ids {
        assert_eq!(sender.send(&message(control_id))?.code, "AA");
    }
    Ok(())
}

/// The newest cut, once it covers so many messages.
fn cut_of(site: &Site, messages: u64) -> anyhow::Result<Value> {
    for _ in 0..600 {
        let shown = site.weft(&["log", "cut", "show", "--json"])?;
        // There is none at first.
        let cut: Value = if shown.code == 0 { serde_json::from_str(&shown.stdout)? } else { Value::Null };
        if cut["partitions"]["feed/0"]["size"].as_u64() >= Some(messages) {
            return Ok(cut);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    anyhow::bail!("no cut covers {messages} messages")
}

fn entries(site: &Site, person: &str, as_of: &str) -> anyhow::Result<Value> {
    Ok(site.json(&["timeline", person, "--as-of", as_of, "--json"])?["entries"].clone())
}

fn copy_dir(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

#[test]
fn the_same_moment_has_the_same_answer_live_and_rebuilt() -> anyhow::Result<()> {
    let (site, node) = start()?;
    send(&node, 0..3)?;
    let cut = cut_of(&site, 3)?;
    let (tick, taken) = (cut["tick"].to_string(), cut["taken"].as_str().context("a time")?.to_owned());
    let sizes = cut["sizes"].as_str().context("sizes")?.to_owned();
    let found = site.wait_for(&["person", "find", "--nhs-number", "999 000 0018", "--json"], |answer| {
        answer["persons"].as_array().is_some_and(|persons| persons.len() == 1)
    })?;
    let person = found["persons"][0]["personId"].as_str().context("a person")?.to_owned();
    // Linked after the first cut, perhaps: the moment that is asked of has the person.
    send(&node, 3..6)?;
    let later = cut_of(&site, 6)?;
    let later_tick = later["tick"].to_string();
    let then = site.wait_for(&["timeline", &person, "--as-of", &later_tick, "--json"], |answer| {
        answer["entries"].as_array().is_some_and(|entries| !entries.is_empty())
    })?;
    send(&node, 6..12)?;
    cut_of(&site, 12)?;
    assert_eq!(entries(&site, &person, &later_tick)?, then["entries"], "by its tick");
    let later_time = later["taken"].as_str().context("a time")?;
    // Once it is two seconds past: until then a cut of that time may still be on its way.
    let by_time = site.wait_for(&["timeline", &person, "--as-of", later_time, "--json"], |_| true)?;
    assert_eq!(by_time["entries"], then["entries"], "by its time");
    let later_sizes = later["sizes"].as_str().context("sizes")?;
    assert_eq!(entries(&site, &person, later_sizes)?, then["entries"], "by its sizes");
    let refused = site.weft(&["timeline", &person, "--as-of", "9999"])?;
    assert!(refused.code == 1 && refused.stderr.contains("no cut has this tick"), "{}", refused.stderr);
    let refused = site.weft(&["timeline", &person, "--as-of", "2199-01-01T00:00:00Z"])?;
    assert!(refused.code == 1 && refused.stderr.contains("not two seconds past"), "{}", refused.stderr);

    let digest = |moment: &str| -> anyhow::Result<Value> {
        let replayed = site.wait_for(&["replay", "--upto", moment, "--compare", "--json"], |_| true)?;
        assert_eq!(replayed["equal"], true, "{replayed}");
        Ok(replayed["digest"].clone())
    };
    let first = digest(&tick)?;
    assert_eq!(digest(&taken)?, first);
    assert_eq!(digest(&sizes)?, first);
    assert_ne!(digest(&later_tick)?, first);
    Ok(())
}

#[test]
fn a_node_that_is_killed_leaves_a_log_that_is_whole_and_goes_on() -> anyhow::Result<()> {
    let (site, mut node) = start()?;
    for round in 0..4 {
        send(&node, round * 40..round * 40 + 20)?;
        cut_of(&site, round * 40 + 20)?;
        // Under way to the next cut, or in it.
        send(&node, round * 40 + 20..round * 40 + 40)?;
        std::thread::sleep(Duration::from_millis(600 + 200 * round));
        node.kill()?;
        let report = site.json(&["verify", "--deep", "--json"])?;
        assert_eq!((&report["whole"], &report["damages"]), (&true.into(), &Value::Array(Vec::new())), "{report}");
        node = site.serve()?;
    }
    let cut = cut_of(&site, 160)?;
    let report = site.json(&["verify", "--json"])?;
    assert!(report["cuts"].as_u64() > cut["tick"].as_u64(), "{report}");
    Ok(())
}

#[test]
fn a_proof_is_checked_anywhere_and_damage_is_named() -> anyhow::Result<()> {
    let (site, node) = start()?;
    send(&node, 0..10)?;
    cut_of(&site, 10)?;
    assert_eq!(node.stop()?, 0);

    let proof = site.path().join("event.tlog-proof").display().to_string();
    assert_eq!(site.weft(&["log", "prove", "feed/0/4", "--out", &proof])?.code, 0);
    let key = fs::read_to_string(site.path().join("notary.pub"))?;
    // No configuration, no log: the public key alone.
    let proven = weft_testkit::command(&["verify", "--proof", &proof, "--key", key.trim(), "--json"])?;
    let answer: Value = serde_json::from_str(&proven.stdout).context(proven.stderr)?;
    assert_eq!((proven.code, &answer["position"], &answer["proven"]), (0, &"feed/0/4".into(), &true.into()));
    let forged = fs::read_to_string(&proof)?.replace("position feed/0/4", "position feed/0/5");
    fs::write(&proof, forged)?;
    let refused = weft_testkit::command(&["verify", "--proof", &proof, "--key", key.trim()])?;
    assert!(refused.code == 1 && refused.stderr.contains("not proven"), "{}", refused.stderr);

    // A byte of a stored event, in the file itself.
    let path = site.path().join("data/log/log.db");
    let good = fs::read(&path)?;
    let mut bytes = good.clone();
    // In the clear header of every event lies its control id.
    let at = bytes.windows(3).rposition(|window| window == b"V7\x30").context("a control id")?;
    bytes[at] = b'W';
    fs::write(&path, &bytes)?;
    let report = site.weft(&["verify", "--json"])?;
    let answer: Value = serde_json::from_str(&report.stdout)?;
    assert_eq!((report.code, &answer["damages"][0]["kind"]), (1, &"header-changed".into()), "{answer}");
    assert_eq!(answer["damages"][0]["place"], "feed/0/7");
    fs::write(&path, &good)?;
    Ok(())
}

#[test]
fn a_log_that_was_put_back_is_neither_signed_nor_found_whole() -> anyhow::Result<()> {
    let (site, node) = start()?;
    send(&node, 0..5)?;
    cut_of(&site, 5)?;
    assert_eq!(node.stop()?, 0);
    let (log, backup) = (site.path().join("data/log"), site.path().join("backup"));
    copy_dir(&log, &backup)?;
    let node = site.serve()?;
    send(&node, 5..10)?;
    cut_of(&site, 10)?;
    assert_eq!(node.stop()?, 0);
    let kept = site.path().join("checkpoint.txt");
    let checkpoint = site.weft(&["log", "cut", "show", "--checkpoint"])?;
    fs::write(&kept, &checkpoint.stdout)?;

    fs::remove_dir_all(&log)?;
    copy_dir(&backup, &log)?;
    let refused = site.serve();
    let text = refused.err().map(|error| format!("{error:#}")).unwrap_or_default();
    assert!(text.contains("put back to an earlier state"), "{text}");
    let check = |arguments: &[&str]| -> anyhow::Result<()> {
        let report = site.weft(&[&["verify", "--json"], arguments].concat())?;
        let answer: Value = serde_json::from_str(&report.stdout)?;
        assert_eq!((report.code, &answer["damages"][0]["kind"]), (1, &"rolled-back".into()), "{answer}");
        Ok(())
    };
    check(&[])?;
    // Also by what the auditor took along, where the node forgot everything.
    fs::remove_file(site.path().join("keys/checkpoint"))?;
    check(&["--checkpoint", &kept.display().to_string()])
}
