//! Bad input: each kind gets an answer that says where and what, and nothing that was accepted is lost.

use weft_testkit::{Ack, Node, Sender, Site, shared, simhospital};

const FEED: &str = "feed = \"lab\"\norganisation = \"RYJ\"\ndemo = true\n[mllp]\nlisten = \"127.0.0.1:0\"\n\
                    message_bytes_max = 20000\nidle_timeout_s = 2\n[accept]\nmessage_types = [\"ADT^A01\", \"ORU^R01\"]\nversions = [\"2.4\"]\n";

fn start() -> anyhow::Result<(Site, Node)> {
    start_with(FEED)
}

fn start_with(feed: &str) -> anyhow::Result<(Site, Node)> {
    let site = Site::new()?;
    let file = site.write("lab.toml", feed)?;
    let added = site.weft(&["feed", "add", &file])?;
    assert_eq!(added.code, 0, "{}", added.stderr);
    let node = site.serve()?;
    Ok((site, node))
}

fn message(control_id: &str) -> String {
    format!(
        "MSH|^~\\&|PAS|RYJ|R|R|20260301101500||ADT^A01|{control_id}|P|2.4\r\
         EVN||20260301101500||||20260301100000\r\
         PID|1||100^^^RYJ^MR||FAMILY^Given||19800214|2\rPV1|1|I|W1^B^1||||||||||||||||V1\r"
    )
}

#[test]
fn every_broken_message_is_answered_kept_and_counted() -> anyhow::Result<()> {
    let (site, node) = start()?;
    let mut sender = Sender::connect(&node.mllp("lab")?)?;
    let mut check = |bytes: &[u8], code: &str, control_id: &str, mentions: &str| -> anyhow::Result<()> {
        let ack: Ack = sender.send(bytes)?;
        let shown = ack.text.replace('\r', "\n");
        assert_eq!((ack.code.as_str(), ack.control_id.as_str()), (code, control_id), "{shown}");
        assert!(shown.contains(mentions), "{mentions} is not in\n{shown}");
        Ok(())
    };
    check(message("G1").as_bytes(), "AA", "G1", "MSA|AA")?;
    check(message("W1").replace("ADT^A01", "ADT^A08").as_bytes(), "AR", "W1", "MSH")?;
    check(message("W2").replace("|2.4\r", "|2.6\r").as_bytes(), "AR", "W2", "MSH")?;
    check(message("G2").replace("19800214", "19801399").as_bytes(), "AA", "G2", "MSA|AA")?;
    check(message("G3").replace("19800214", "").as_bytes(), "AA", "G3", "MSA|AA")?;
    check(message("W3").replace("100^^^RYJ^MR", "").as_bytes(), "AE", "W3", "PID")?;
    check(b"this is no message", "AE", "", "MSA|AE")?;
    check(message("").as_bytes(), "AE", "", "MSH")?;
    let mut latin = message("G4").into_bytes();
    let name = latin.windows(5).position(|w| w == b"Given").expect("the name");
    latin[name] = 0xe9;
    check(&latin, "AA", "G4", "MSA|AA")?;
    let stat = site.json(&["log", "stat", "--json"])?;
    assert_eq!(
        stat["verdicts"],
        serde_json::json!({"received": 9, "accepted": 4, "duplicate": 0, "conflict": 0, "quarantined": 5})
    );
    site.wait_for(&["quarantine", "list", "--json"], |q| q["messages"].as_array().is_some_and(|m| m.len() == 5))?;
    Ok(())
}

#[test]
fn frames_survive_what_networks_and_senders_do() -> anyhow::Result<()> {
    let (_site, node) = start()?;
    let address = node.mllp("lab")?;
    let frame = |id: &str| [b"\x0b".as_slice(), message(id).as_bytes(), b"\x1c\r"].concat();
    let mut sender = Sender::connect(&address)?;
    // Split everywhere, joined, junk between.
    for byte in frame("S1") {
        sender.write(&[byte])?;
    }
    assert_eq!(sender.reply()?.control_id, "S1");
    sender.write(&[frame("S2"), frame("S3"), b"junk".to_vec(), frame("S4")].concat())?;
    let ids = [sender.reply()?.control_id, sender.reply()?.control_id, sender.reply()?.control_id];
    assert_eq!(ids, ["S2", "S3", "S4"]);
    // A message larger than the limit is refused, and the connection or a new one goes on.
    let large = format!("{}OBX|1|TX|A||{}\r", message("L1"), "x".repeat(30_000));
    let refused = sender.send(large.as_bytes())?;
    assert_eq!(refused.code, "AR", "{}", refused.text);
    assert_eq!(Sender::connect(&address)?.send(message("S5").as_bytes())?.code, "AA");
    // A peer that says nothing is let go.
    let mut idle = Sender::connect(&address)?;
    assert!(idle.reply().is_err(), "an idle connection is closed");
    Ok(())
}

#[test]
fn the_malformed_samples_are_all_answered_and_kept() -> anyhow::Result<()> {
    let Some(dir) = shared("hl7v2/malformed") else { return Ok(()) };
    let (site, node) = start_with("feed = \"lab\"\norganisation = \"RYJ\"\n[mllp]\nlisten = \"127.0.0.1:0\"\n")?;
    let mut sender = Sender::connect(&node.mllp("lab")?)?;
    let mut sent = 0;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "hl7") {
            sender.send(&std::fs::read(&path)?)?;
            sent += 1;
        }
    }
    let stat = site.json(&["log", "stat", "--json"])?;
    assert_eq!(stat["verdicts"]["received"], sent);
    Ok(())
}

#[test]
fn simhospital_goes_through_with_every_refused_message_explained() -> anyhow::Result<()> {
    let Some(messages) = simhospital() else { return Ok(()) };
    assert_eq!(messages.len(), 1013);
    let (site, node) = start_with("feed = \"sim\"\norganisation = \"RYJ\"\n[mllp]\nlisten = \"127.0.0.1:0\"\n")?;
    let mut sender = Sender::connect(&node.mllp("sim")?)?;
    let mut refused = 0;
    for message in &messages {
        refused += u64::from(sender.send(message)?.code != "AA");
    }
    let stat = site.json(&["log", "stat", "--json"])?;
    let count = |verdict: &str| stat["verdicts"][verdict].as_u64().unwrap_or_default();
    assert_eq!(count("received"), 1013);
    assert_eq!(refused, count("quarantined") + count("conflict"), "{stat}");
    let quarantine = site.wait_for(&["quarantine", "list", "--limit", "1000", "--json"], |q| {
        q["messages"].as_array().map(Vec::len) == Some(refused as usize)
    })?;
    let mut why: Vec<String> = quarantine["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|m| {
            format!("{} {}", m["messageType"].as_str().unwrap_or_default(), m["reason"].as_str().unwrap_or_default())
        })
        .collect();
    why.sort();
    assert_eq!(why, ["ADT^A34 wrong-type", "MDM^T02 wrong-type", "MDM^T02 wrong-type"]);
    Ok(())
}

#[test]
fn a_configuration_with_a_typo_is_refused_with_its_line() -> anyhow::Result<()> {
    let site = Site::new()?;
    let config = std::fs::read_to_string(site.config())?;
    site.write("weft.toml", config.replace("[grpc]\n", "[grpc]\nlissten = \"x\"\n"))?;
    let output = site.weft(&["serve"])?;
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("lissten") && output.stderr.contains("line"), "{}", output.stderr);
    Ok(())
}

#[test]
fn a_feed_file_with_mistakes_is_refused_with_every_place() -> anyhow::Result<()> {
    let site = Site::new()?;
    let file = site.write("bad.toml", "feed = \"Bad Name\"\norganisation = \"?\"\n[mllp]\nlisten = \"nowhere\"\n")?;
    let output = site.weft(&["feed", "add", &file])?;
    assert_eq!(output.code, 5);
    for place in ["feed", "organisation", "mllp.listen"] {
        assert!(output.stderr.contains(place), "{place} is not in {}", output.stderr);
    }
    Ok(())
}

#[test]
fn a_damaged_log_page_is_named_and_two_nodes_do_not_share_a_log() -> anyhow::Result<()> {
    let (site, node) = start()?;
    let second = site.weft(&["serve"])?;
    assert_eq!(second.code, 1, "{}", second.stderr);
    let mut sender = Sender::connect(&node.mllp("lab")?)?;
    for n in 0..200 {
        assert_eq!(sender.send(message(&format!("C{n}")).as_bytes())?.code, "AA");
    }
    node.stop()?;
    let file = std::fs::read_dir(site.path().join("data/log"))?
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "db" || e == "sqlite"))
        .max_by_key(|p| p.metadata().map(|m| m.len()).unwrap_or(0))
        .expect("the log's file");
    let mut bytes = std::fs::read(&file)?;
    let place = bytes.windows(4).rposition(|w| w == b"C150").expect("a control id in the clear header");
    bytes[place] ^= 0x20;
    std::fs::write(&file, bytes)?;
    let output = site.weft(&["log", "tail", "--json", "--stream", "feed"])?;
    assert_eq!(output.code, 1, "damage is not passed over");
    assert!(output.stderr.contains("feed/0/150"), "the position is named: {}", output.stderr);
    Ok(())
}

#[test]
fn a_full_disk_is_never_acknowledged_and_is_got_over() -> anyhow::Result<()> {
    let (site, node) = start()?;
    let mut sender = Sender::connect(&node.mllp("lab")?)?;
    assert_eq!(sender.send(message("D0").as_bytes())?.code, "AA");
    let limit = |bytes: &str| {
        let pid = node.pid().to_string();
        std::process::Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status()
    };
    // No file of the node may grow (its soft limit): to SQLite that is a disk that is full.
    if !limit("4096")?.success() {
        anyhow::bail!("prlimit (util-linux) is needed to make a file system full");
    }
    let mut sender = Sender::connect(&node.mllp("lab")?)?;
    let refused = sender.send(message("D1").as_bytes())?;
    assert_ne!(refused.code, "AA", "acknowledged what cannot be stored");
    assert!(limit("unlimited")?.success());
    let mut sender = Sender::connect(&node.mllp("lab")?)?;
    assert_eq!(sender.send(message("D1").as_bytes())?.code, "AA", "stored when there is room again");
    let stat = site.json(&["log", "stat", "--json"])?;
    assert_eq!((&stat["verdicts"]["accepted"], &stat["verdicts"]["duplicate"]), (&2.into(), &0.into()), "{stat}");
    Ok(())
}
