//! The one real path: a hospital's messages over a socket, to a person's timeline, with every side effect looked at.

use anyhow::Context;
use expect_test::expect;
use serde_json::Value;
use weft_testkit::{Node, Sender, Site};

const PAS: &str = "feed = \"ryj-pas\"\norganisation = \"RYJ\"\ndemo = true\n[mllp]\nlisten = \"127.0.0.1:0\"\n\
                   [accept]\nsending_facilities = [\"RYJ\"]\n[identifiers]\nsystem = \"RYJ-MRN\"\n";
const OTHER: &str = "feed = \"rqm-pas\"\norganisation = \"RQM\"\ndemo = true\n[mllp]\nlisten = \"127.0.0.1:0\"\n\
                     [identifiers]\nsystem = \"RQM-MRN\"\n";

fn admission(facility: &str, control_id: &str, number: &str) -> Vec<u8> {
    format!(
        "MSH|^~\\&|PAS|{facility}|ROUTE|ROUTE|20260301101500||ADT^A01^ADT_A01|{control_id}|P|2.4\r\
         EVN||20260301101500||||20260301100000\r\
         PID|1||{number}^^^{facility}^MR~9990000018^^^NHS||CANARYFAMILY^Canarygiven^^^MS||19800214|2|||1 Canary Street^^London^^W2 1NY||||||||||||||||||||01\r\
         PV1|1|I|WARD6B^BAY1^BED2^{facility}||||||C1234567^Consultant^Carl|||||||||V{number}|||||||||||||||||||||||||20260301100000\r"
    )
    .into_bytes()
}

fn result(control_id: &str, number: &str, status: &str, value: &str) -> Vec<u8> {
    format!(
        "MSH|^~\\&|LAB|RYJ|ROUTE|ROUTE|20260301120000||ORU^R01|{control_id}|P|2.4\r\
         PID|1||{number}^^^RYJ^MR||CANARYFAMILY^Canarygiven||19800214|2\r\
         OBR|1|P1|F1^LAB|4548-4^HbA1c^LN|||20260301110000|||||||||||||||20260301115900|||{status}\r\
         OBX|1|NM|4548-4^HbA1c^LN||{value}|mmol/mol|20-41|H|||{status}|||20260301110000\r"
    )
    .into_bytes()
}

fn start() -> anyhow::Result<(Site, Node)> {
    let site = Site::new()?;
    // One feed while the node is stopped, one while it runs.
    let file = site.write("pas.toml", PAS)?;
    assert_eq!(site.weft(&["feed", "add", &file])?.code, 0);
    let node = site.serve()?;
    let file = site.write("other.toml", OTHER)?;
    let added = site.weft(&["feed", "add", &file])?;
    assert_eq!((added.code, added.stderr.as_str()), (0, ""));
    Ok((site, node))
}

/// Asks for the person with the test NHS number until two records are linked.
fn person(site: &Site, records: u64) -> anyhow::Result<String> {
    let found = site.wait_for(&["person", "find", "--nhs-number", "999 000 0018", "--json"], |answer| {
        answer["persons"].as_array().is_some_and(|p| p.len() == 1) && answer["persons"][0]["records"] == records
    })?;
    Ok(found["persons"][0]["personId"].as_str().context("a person id")?.to_owned())
}

#[test]
fn from_two_hospitals_to_one_timeline() -> anyhow::Result<()> {
    let (site, node) = start()?;
    let mut pas = Sender::connect(&node.mllp("ryj-pas")?)?;
    let mut other = Sender::connect(&node.mllp("rqm-pas")?)?;

    let ack = pas.send(&admission("RYJ", "A1", "100001"))?;
    assert_eq!((ack.code.as_str(), ack.control_id.as_str()), ("AA", "A1"));
    let ack = pas.send(&admission("RYJ", "A1", "100001"))?;
    assert_eq!((ack.code.as_str(), ack.control_id.as_str()), ("AA", "A1"), "the same again is acknowledged again");
    let ack = pas.send(&admission("RYJ", "A1", "100002"))?;
    assert_eq!(ack.code, "AE", "other bytes under a control id that is taken");
    let ack = pas.send(&admission("XXX", "A2", "100003"))?;
    assert_eq!(ack.code, "AR", "not the sender that this feed is for");
    assert_eq!(pas.send(&result("R1", "100001", "P", "50"))?.code, "AA");
    assert_eq!(pas.send(&result("R2", "100001", "F", "48"))?.code, "AA");
    // Two lines of one instant and one kind have no order that every node shares: this one was an hour earlier.
    let earlier = String::from_utf8(admission("RQM", "B1", "77"))?.replace("20260301100000", "20260301090000");
    assert_eq!(other.send(earlier.as_bytes())?.code, "AA");

    let id = person(&site, 2)?;
    let timeline = site.wait_for(&["timeline", &id, "--json"], |t| {
        t["entries"].as_array().is_some_and(|e| e.iter().any(|e| e["status"] == "final"))
    })?;
    let lines: Vec<String> = timeline["entries"].as_array().context("entries")?.iter().map(line).collect();
    expect![[r#"
        REPORT | HbA1c | 1 result, 1 abnormal | final | RYJ | ryj-pas | R2 | ORU^R01 | OBR
        OBSERVATION | HbA1c | 48 mmol/mol (20-41) H | final | RYJ | ryj-pas | R2 | ORU^R01 | OBX
        ADMISSION | Admitted to RYJ, WARD6B, BAY1, BED2 | Carl Consultant | in-progress | RYJ | ryj-pas | A1 | ADT^A01 | PV1
        ADMISSION | Admitted to RQM, WARD6B, BAY1, BED2 | Carl Consultant | in-progress | RQM | rqm-pas | B1 | ADT^A01 | PV1"#]]
    .assert_eq(&lines.join("\n"));

    // Every side effect: what the log counted, what is kept aside, who saw it.
    let stat = site.json(&["log", "stat", "--json"])?;
    assert_eq!(
        stat["verdicts"],
        serde_json::json!({"received": 7, "accepted": 4, "duplicate": 1, "conflict": 1, "quarantined": 1})
    );
    assert_eq!(stat["streams"]["feed"]["events"], 6, "a duplicate adds no event");
    let quarantine = site.wait_for(&["quarantine", "list", "--json"], |q| q["messages"][1].is_object())?;
    let reasons: Vec<&str> =
        quarantine["messages"].as_array().context("messages")?.iter().filter_map(|m| m["verdict"].as_str()).collect();
    assert_eq!(reasons, ["QUARANTINED", "CONFLICT"]);
    let seen = site.json_lines(&["log", "tail", "--json", "--stream", "access", "--open"])?;
    let timelines = seen.iter().filter(|d| d["payload"]["method"] == "weft.v1.TimelineService/GetTimeline").count();
    assert!(timelines > 0 && seen.iter().all(|d| d["payload"]["purpose"] == "direct-care"));

    // As it was known before the second hospital spoke.
    let before = site.json(&["timeline", &id, "--as-of", "feed/0/1", "--json"])?;
    assert_eq!(before["entries"].as_array().map(Vec::len), Some(1), "{before}");
    assert_eq!(node.stop()?, 0);
    Ok(())
}

fn line(entry: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let from = &entry["provenance"];
    [
        text(&entry["kind"]),
        text(&entry["title"]),
        text(&entry["detail"]),
        text(&entry["status"]),
        text(&from["organisation"]),
        text(&from["feed"]),
        text(&from["controlId"]),
        text(&from["messageType"]),
        text(&from["location"]),
    ]
    .join(" | ")
}

#[test]
fn a_restarted_node_goes_on_where_it_ended() -> anyhow::Result<()> {
    let (site, node) = start()?;
    assert_eq!(Sender::connect(&node.mllp("ryj-pas")?)?.send(&admission("RYJ", "A1", "100001"))?.code, "AA");
    let id = person(&site, 1)?;
    assert_eq!(node.stop()?, 0);
    assert_eq!(site.weft(&["timeline", &id])?.code, 4, "no node answers");
    let node = site.serve()?;
    assert_eq!(Sender::connect(&node.mllp("rqm-pas")?)?.send(&admission("RQM", "B1", "77"))?.code, "AA");
    assert_eq!(person(&site, 2)?, id, "linked to the person of before");
    assert_eq!(Sender::connect(&node.mllp("ryj-pas")?)?.send(&admission("RYJ", "A1", "100001"))?.code, "AA");
    let stat = site.json(&["log", "stat", "--json"])?;
    assert_eq!(stat["verdicts"]["duplicate"], 1, "a repeat is known across a restart");
    Ok(())
}

#[test]
fn a_feed_is_paused_changed_and_resumed_while_it_runs() -> anyhow::Result<()> {
    let (site, node) = start()?;
    let address = node.mllp("ryj-pas")?;
    assert_eq!(site.weft(&["feed", "pause", "ryj-pas"])?.code, 0);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while Sender::connect(&address).is_ok_and(|mut s| s.send(&admission("RYJ", "P1", "1")).is_ok()) {
        assert!(std::time::Instant::now() < deadline, "a paused feed still acknowledges");
    }
    assert_eq!(site.weft(&["feed", "resume", "ryj-pas"])?.code, 0);
    site.wait_for(&["feed", "list", "--json"], |f| {
        f["feeds"].as_array().is_some_and(|f| f.iter().all(|f| f["state"] == "LISTENING"))
    })?;
    let file = site.write("pas.toml", PAS.replace("[\"RYJ\"]", "[\"NEW\"]"))?;
    assert_eq!(site.weft(&["feed", "add", &file])?.code, 0);
    let shown = site.json(&["feed", "show", "ryj-pas", "--json"])?;
    let address = shown["feed"]["address"].as_str().context("an address")?.to_owned();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let mut sender = Sender::connect(&address)?;
    for n in 0.. {
        if sender.send(&admission("NEW", &format!("N{n}"), "9"))?.code == "AA" {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the changed registration is not followed");
    }
    Ok(())
}

#[test]
fn nothing_of_a_person_is_in_the_log_files_or_what_the_node_says() -> anyhow::Result<()> {
    let site = Site::new()?;
    let file = site.write("pas.toml", PAS)?;
    site.weft(&["feed", "add", &file])?;
    let node = site.serve_logging("trace")?;
    let mut sender = Sender::connect(&node.mllp("ryj-pas")?)?;
    sender.send(&admission("RYJ", "A1", "100001"))?;
    sender.send(&admission("XXX", "A2", "100001"))?;
    sender.send(
        &String::from_utf8_lossy(&admission("RYJ", "A3", "100001")).replace("19800214", "19801414CANARY").into_bytes(),
    )?;
    person(&site, 1)?;
    let said = node.stop_and_listen()?;
    assert!(said.contains("TRACE") || said.contains("DEBUG"), "the node logged at its most talkative");
    let canaries = ["CANARY", "Canary", "9990000018", "999 000 0018", "19800214", "100001"];
    for canary in canaries {
        assert!(!said.contains(canary), "the node's log says {canary}");
    }
    for entry in std::fs::read_dir(site.path().join("data/log"))? {
        let path = entry?.path();
        let bytes = std::fs::read(&path)?;
        for canary in canaries {
            let found = bytes.windows(canary.len()).any(|w| w == canary.as_bytes());
            assert!(!found, "{} has {canary} in the clear", path.display());
        }
    }
    Ok(())
}
