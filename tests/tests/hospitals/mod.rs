//! Two hospitals, one patient: the messages that they send, and all that must come of them, whatever the log is kept on.
#![allow(dead_code, reason = "every test file uses its own part of it")]

use anyhow::Context;
use expect_test::expect;
use serde_json::Value;
use weft_testkit::{Sender, Site};

/// Registration of the first hospital's feed.
pub const PAS: &str = "feed = \"ryj-pas\"\norganisation = \"RYJ\"\ndemo = true\n[mllp]\nlisten = \"127.0.0.1:0\"\n\
                   [accept]\nsending_facilities = [\"RYJ\"]\n[identifiers]\nsystem = \"RYJ-MRN\"\n";
/// Registration of the second hospital's feed.
pub const OTHER: &str = "feed = \"rqm-pas\"\norganisation = \"RQM\"\ndemo = true\n[mllp]\nlisten = \"127.0.0.1:0\"\n\
                     [identifiers]\nsystem = \"RQM-MRN\"\n";

/// An admission of the patient whose number in the hospital is `number`.
pub fn admission(facility: &str, control_id: &str, number: &str) -> Vec<u8> {
    format!(
        "MSH|^~\\&|PAS|{facility}|ROUTE|ROUTE|20260301101500||ADT^A01^ADT_A01|{control_id}|P|2.4\r\
         EVN||20260301101500||||20260301100000\r\
         PID|1||{number}^^^{facility}^MR~9990000018^^^NHS||CANARYFAMILY^Canarygiven^^^MS||19800214|2|||1 Canary Street^^London^^W2 1NY||||||||||||||||||||01\r\
         PV1|1|I|WARD6B^BAY1^BED2^{facility}||||||C1234567^Consultant^Carl|||||||||V{number}|||||||||||||||||||||||||20260301100000\r"
    )
    .into_bytes()
}

/// A result for the same patient.
pub fn result(control_id: &str, number: &str, status: &str, value: &str) -> Vec<u8> {
    format!(
        "MSH|^~\\&|LAB|RYJ|ROUTE|ROUTE|20260301120000||ORU^R01|{control_id}|P|2.4\r\
         PID|1||{number}^^^RYJ^MR||CANARYFAMILY^Canarygiven||19800214|2\r\
         OBR|1|P1|F1^LAB|4548-4^HbA1c^LN|||20260301110000|||||||||||||||20260301115900|||{status}\r\
         OBX|1|NM|4548-4^HbA1c^LN||{value}|mmol/mol|20-41|H|||{status}|||20260301110000\r"
    )
    .into_bytes()
}

/// Sends everything that can become of a message over the two feeds' sockets, and looks at every side effect. Returns the id
/// of the person whom the records of both hospitals are about.
pub fn one_timeline(site: &Site, pas: &str, other: &str) -> anyhow::Result<String> {
    let mut pas = Sender::connect(pas)?;
    let mut other = Sender::connect(other)?;

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

    let id = person(site, 2)?;
    let timeline = site.wait_for(&["timeline", &id, "--json"], |t| {
        t["entries"].as_array().is_some_and(|e| e.len() == 4 && e.iter().any(|e| e["status"] == "final"))
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
    Ok(id)
}

/// Asks for the person with the test NHS number until two records are linked.
pub fn person(site: &Site, records: u64) -> anyhow::Result<String> {
    let found = site.wait_for(&["person", "find", "--nhs-number", "999 000 0018", "--json"], |answer| {
        answer["persons"].as_array().is_some_and(|p| p.len() == 1) && answer["persons"][0]["records"] == records
    })?;
    Ok(found["persons"][0]["personId"].as_str().context("a person id")?.to_owned())
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
