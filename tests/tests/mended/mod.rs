//! A feed whose registration was wrong, and is mended: what was quarantined comes to the timeline once, whoever sends it again
//! or has it read again, whatever dies meanwhile, and whatever the log is kept on.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::Value;
use weft_testkit::{Node, Sender, Site};

use crate::hospitals::{PAS, admission, person, result};

const REDRIVE: [&str; 6] = ["quarantine", "redrive", "--feed", "ryj-pas", "--reason", "the facility's name was wrong"];

/// Registers the feed for a facility that sends nothing.
pub fn register_wrongly(site: &Site) -> anyhow::Result<()> {
    let file = site.write("wrong.toml", PAS.replace("[\"RYJ\"]", "[\"OLD\"]"))?;
    ensure!(site.weft(&["feed", "add", &file])?.code == 0);
    Ok(())
}

fn mend(site: &Site) -> anyhow::Result<()> {
    let file = site.write("mended.toml", PAS)?;
    ensure!(site.weft(&["feed", "add", &file])?.code == 0);
    Ok(())
}

/// Sends until the answer is AA: a connector follows a registration soon after it is made.
fn sent(site: &Site, message: &[u8]) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Sender::connect(&listening(site)?)?.send(message)?.code != "AA" {
        ensure!(Instant::now() < deadline, "the mended registration is not followed");
    }
    Ok(())
}

/// Where the feed is listened for now.
fn listening(site: &Site) -> anyhow::Result<String> {
    let address = |shown: &Value| shown["feed"]["address"].as_str().unwrap_or_default().to_owned();
    let shown = site.wait_for(&["feed", "show", "ryj-pas", "--json"], |shown| !address(shown).is_empty())?;
    Ok(address(&shown))
}

/// The whole story over the feed's socket; the person that it is about.
pub fn story(site: &Site) -> anyhow::Result<String> {
    let messages =
        [admission("RYJ", "A1", "100001"), result("R1", "100001", "P", "50"), result("R2", "100001", "F", "48")];
    let mut sender = Sender::connect(&listening(site)?)?;
    for message in messages.iter().chain(&messages[..1]) {
        assert_eq!(sender.send(message)?.code, "AR", "not the sender that this feed is for");
    }
    let kept = site.wait_for(&["quarantine", "list", "--json"], |q| q["messages"][2].is_object())?;
    let position = |message: &Value| {
        let position = &message["position"];
        format!("feed/{}/{}", position["partition"].as_u64().unwrap_or(0), position["offset"].as_str().unwrap_or("0"))
    };

    // The registration is as it was.
    let again = site.weft(&[&REDRIVE[..], &["--json"]].concat())?;
    assert_eq!(again.code, 5, "{}", again.stdout);
    let still: Value = serde_json::from_str(&again.stdout)?;
    for message in still["messages"].as_array().context("messages")? {
        assert_eq!((&message["outcome"], &message["reason"]), (&"STILL_HELD".into(), &"wrong-sender".into()));
        assert_eq!(message["issues"][0]["location"], "MSH-4", "{message}");
    }
    mend(site)?;
    // The sender's own resend of the first, then somebody has the others read again.
    sent(site, &messages[0])?;
    let before = site.json(&["log", "stat", "--json"])?;
    let preview = site.weft(&[&REDRIVE[..], &["--preview"]].concat())?;
    assert_eq!((preview.code, preview.stdout.matches("would be accepted").count()), (0, 2), "{}", preview.stdout);
    assert_eq!(
        site.json(&["log", "stat", "--json"])?["streams"]["feed"],
        before["streams"]["feed"],
        "nothing is stored"
    );
    let redriven = site.json(&[&REDRIVE[..], &["--json"]].concat())?;
    let of = |answer: &Value| -> Vec<(String, String)> {
        let messages = answer["messages"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        messages.map(|m| (text(&m["controlId"]), text(&m["outcome"]))).collect()
    };
    let accepted = |id: &str| (id.to_owned(), "ACCEPTED_NOW".to_owned());
    assert_eq!(of(&redriven), [accepted("R1"), accepted("R2")], "in the order in which they were received");
    for message in &messages {
        assert_eq!(Sender::connect(&listening(site)?)?.send(message)?.code, "AA", "a duplicate of what is accepted");
    }
    let position_of_r1 = position(&redriven["messages"][0]);
    let before = site.json(&["quarantine", "redrive", &position_of_r1, "--reason", "asked twice", "--json"])?;
    assert_eq!(of(&before), [("R1".to_owned(), "REDRIVEN_BEFORE".to_owned())]);

    let id = person(site, 1)?;
    let timeline = site.wait_for(&["timeline", &id, "--json"], |t| {
        t["entries"].as_array().is_some_and(|e| e.iter().any(|e| e["status"] == "final"))
    })?;
    let entries = timeline["entries"].as_array().context("entries")?;
    let lines: Vec<&str> = entries.iter().filter_map(|entry| entry["provenance"]["controlId"].as_str()).collect();
    assert_eq!(lines, ["R2", "R2", "A1"], "each once: {timeline}");
    let received: BTreeMap<&str, &Value> = kept["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|message| Some((message["controlId"].as_str()?, &message["receivedUs"])))
        .collect();
    for entry in entries {
        let id = entry["provenance"]["controlId"].as_str().unwrap_or_default();
        assert_eq!(Some(&&entry["receivedUs"]), received.get(id), "received when it came first");
    }
    assert!(site.json(&["quarantine", "list", "--json"])?["messages"].as_array().is_none_or(Vec::is_empty));
    let all = site.json(&["quarantine", "list", "--all", "--json"])?;
    let resent: Vec<(&str, bool)> = all["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|message| message["redrivenTo"].is_object())
        .filter_map(|message| Some((message["controlId"].as_str()?, message["resent"] == true)))
        .collect();
    assert_eq!(BTreeSet::from_iter(resent), BTreeSet::from([("A1", true), ("R1", false), ("R2", false)]), "{all}");

    // Another message under a control id that was used before: it is one only where somebody says so.
    let other = admission("RYJ", "A1", "100002");
    assert_eq!(Sender::connect(&listening(site)?)?.send(&other)?.code, "AE");
    let held = site.wait_for(&["quarantine", "list", "--json"], |q| q["messages"][0]["verdict"] == "CONFLICT")?;
    assert_eq!(of(&site.json(&[&REDRIVE[..], &["--json"]].concat())?), [], "a conflict is not read again unnamed");
    let conflict = position(&held["messages"][0]);
    let named = site.json(&["quarantine", "redrive", &conflict, "--reason", "ids start anew each day", "--json"])?;
    assert_eq!(of(&named), [accepted("A1")]);
    assert_eq!(Sender::connect(&listening(site)?)?.send(&other)?.code, "AA");

    let stat = site.json(&["log", "stat", "--json"])?;
    assert_eq!(
        (
            &stat["verdicts"]["accepted"],
            &stat["verdicts"]["conflict"],
            &stat["verdicts"]["quarantined"],
            &stat["redriven"]
        ),
        (&1.into(), &1.into(), &3.into(), &3.into()),
        "{stat}"
    );
    site.wait_for(&["feed", "show", "ryj-pas", "--json"], |shown| {
        let health = &shown["feed"]["health"];
        health["redriven"] == "3" && health["held"] == "0"
    })?;
    Ok(id)
}

/// Many messages are read again while the node is killed, again and again: each is accepted once, those of a record in their
/// order. The node that runs afterwards.
pub fn killed(site: &Site, messages: usize, kills: u64) -> anyhow::Result<Node> {
    let mut node = site.serve()?;
    let mut sender = Sender::connect(&node.mllp("ryj-pas")?)?;
    for n in 0..messages {
        let code = sender.send(&result(&format!("K{n}"), &format!("{}", n % 7), "F", &format!("{n}")))?.code;
        assert_eq!(code, "AR");
    }
    mend(site)?;
    for kill in 0..kills {
        thread::scope(|scope| {
            let redriving = scope.spawn(|| site.weft(&REDRIVE));
            thread::sleep(Duration::from_millis(100 + kill * 137 % 700));
            let killed = node.kill();
            // What it was told before is stored; whether it heard of the end does not matter.
            redriving.join().expect("the command ends")?;
            killed
        })?;
        node = site.serve()?;
    }
    // Where projectors share the partitions, the lease of the one that was killed must run out first.
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut last = site.weft(&REDRIVE)?;
    while last.code == 4 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(200));
        last = site.weft(&REDRIVE)?;
    }
    assert_eq!(last.code, 0, "{}{}", last.stdout, last.stderr);
    let stat = site.json(&["log", "stat", "--json"])?;
    let (all, none) = (Value::from(messages), Value::from(0));
    assert_eq!((&stat["redriven"], &stat["verdicts"]["accepted"]), (&all, &none), "{stat}");

    let tail = site.json_lines(&["log", "tail", "--json", "--stream", "feed"])?;
    let accepted = tail.iter().filter(|event| event["redrives"].is_string());
    let mut places: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    let mut order: BTreeMap<(String, usize), usize> = BTreeMap::new();
    for event in accepted {
        let (id, position) = (event["control_id"].as_str().context("id")?, event["position"].as_str().context("at")?);
        let number: usize = id.trim_start_matches('K').parse()?;
        let copy = !places.entry(number).or_default().insert(event["event_id"].as_str().context("id")?.to_owned());
        let partition = position.rsplit_once('/').context("position")?.0.to_owned();
        let last = order.insert((partition, number % 7), number);
        // On Kafka an event whose outcome was not known is there once more; readers drop the copy.
        assert!(copy || last.is_none_or(|last| last < number), "record {} not in order", number % 7);
    }
    assert_eq!(places.len(), messages, "every message is accepted");
    assert!(places.values().all(|ids| ids.len() == 1), "as one event");
    Ok(node)
}
