//! Visits: every event, what it withdraws, and that the same thing told again is the same fact.

use expect_test::{Expect, expect};
use weft_model::proto::event::MessageReceived;

use crate::common::{adt, fact, json, profile, read_strictly, short, told, told_by};

const PID: &str = "PID|||A1^^^RYJ^MR||SMITH^JANE";
const INPATIENT: &str = "PV1||I|6B^BAY 2^04^RYJ01^^BED||||C1234567^WOODS^ALEX^^^DR^^^GMC|||300|||||||||V1^^^RYJ^VN\
    |||||||||||||||||||||||||202404301200";

/// Encounter facts and issues of the message, in short.
fn visits(event: &str, segments: &str) -> String {
    let mut message = told(&adt(event, &format!("{PID}\n{segments}"))).message;
    message.facts.iter().for_each(|fact| read_strictly(event, fact));
    message.facts.retain(|fact| fact.resource_type == "Encounter");
    message.record = None;
    short(&message)
}

fn check(event: &str, segments: &str, wanted: Expect) {
    wanted.assert_eq(&visits(event, segments));
}

#[test]
fn every_event_is_a_line() {
    check(
        "A01",
        &format!("{INPATIENT}\nPV2|||^PNEUMONIA"),
        expect![[r#"
        Encounter V1/admit <PV1> occurred 2024-04-30 12:00 recorded 2024-05-01 10:30:00
            ADMISSION Admitted to RYJ01, 6B, BAY 2, 04 | DR ALEX WOODS; 300; PNEUMONIA | in-progress V1 http://terminology.hl7.org/CodeSystem/v3-ActCode|IMP
    "#]],
    );
    check(
        "A02",
        "PV1||I|7A^^1|||6B^^4|||||||||||||V1",
        expect![[r#"
        Encounter V1/transfer/20240501/6b_4/7a_1 <PV1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            TRANSFER Transferred to 7A, 1 | from 6B, 4 | in-progress V1 http://terminology.hl7.org/CodeSystem/v3-ActCode|IMP
    "#]],
    );
    check(
        "A03",
        "PV1||I|7A||||||||||||||||V1|||||||||||||||||19^Usual residence|||||||||202405011020",
        expect![[r#"
            Encounter V1/discharge <PV1> occurred 2024-05-01 10:20 recorded 2024-05-01 10:30:00
                DISCHARGE Discharged from 7A | Usual residence | finished V1 http://terminology.hl7.org/CodeSystem/v3-ActCode|IMP
        "#]],
    );
    check(
        "A04",
        "PV1||E|ED||||||||||||||||V2",
        expect![[r#"
            Encounter V2/attendance <PV1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
                ATTENDANCE Emergency attendance at ED |  | in-progress V2 http://terminology.hl7.org/CodeSystem/v3-ActCode|EMER
        "#]],
    );
    check(
        "A04",
        "PV1||O|CLINIC 4||||||||||||||||V3",
        expect![[r#"
            Encounter V3/attendance <PV1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
                ATTENDANCE Outpatient attendance at CLINIC 4 |  | in-progress V3 http://terminology.hl7.org/CodeSystem/v3-ActCode|AMB
        "#]],
    );
    check(
        "A05",
        "PV1||P|DAY UNIT||||||||||||||||V4\nPV2||||||||20240512",
        expect![[r#"
            Encounter V4/pre-admit <PV1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
                PRE_ADMISSION Expected at DAY UNIT | for 2024-05-12 | planned V4 http://terminology.hl7.org/CodeSystem/v3-ActCode|PRENC
        "#]],
    );
    check(
        "A08",
        INPATIENT,
        expect![[r#"
        Encounter V1/update <PV1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            ENCOUNTER Inpatient visit at RYJ01, 6B, BAY 2, 04 | DR ALEX WOODS; 300 | in-progress V1 http://terminology.hl7.org/CodeSystem/v3-ActCode|IMP
    "#]],
    );
    check(
        "A31",
        INPATIENT,
        expect![[r#"
        Encounter V1/update <PV1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            ENCOUNTER Inpatient visit at RYJ01, 6B, BAY 2, 04 | DR ALEX WOODS; 300 | in-progress V1 http://terminology.hl7.org/CodeSystem/v3-ActCode|IMP
    "#]],
    );
}

#[test]
fn cancellations_withdraw_what_was_told() {
    check(
        "A11",
        "PV1||I|6B||||||||||||||||V1",
        expect![[r#"
            Encounter V1/admit WITHDRAWN <PV1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
                ADMISSION Admitted to 6B |  | cancelled V1 http://terminology.hl7.org/CodeSystem/v3-ActCode|IMP
        "#]],
    );
    check(
        "A11",
        "PV1||O|CLINIC 4||||||||||||||||V3",
        expect![[r#"
            Encounter V3/attendance WITHDRAWN <PV1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
                ATTENDANCE Outpatient attendance at CLINIC 4 |  | cancelled V3 http://terminology.hl7.org/CodeSystem/v3-ActCode|AMB
        "#]],
    );
    check(
        "A11",
        "PV1||E|ED||||||||||||||||V2",
        expect![[r#"
            Encounter V2/admit WITHDRAWN <PV1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
                ADMISSION Admitted to ED |  | cancelled V2 http://terminology.hl7.org/CodeSystem/v3-ActCode|EMER
            Encounter V2/attendance WITHDRAWN <PV1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
                ATTENDANCE Emergency attendance at ED |  | cancelled V2 http://terminology.hl7.org/CodeSystem/v3-ActCode|EMER
        "#]],
    );
    check(
        "A13",
        "PV1||I|7A||||||||||||||||V1",
        expect![[r#"
            Encounter V1/discharge WITHDRAWN <PV1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
                DISCHARGE Discharged from 7A |  | in-progress V1 http://terminology.hl7.org/CodeSystem/v3-ActCode|IMP
        "#]],
    );
    check(
        "A12",
        "PV1||I|6B^^4|||7A^^1|||||||||||||V1",
        expect![[r#"
        Encounter V1/transfer/20240501/6b_4/7a_1 WITHDRAWN <PV1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            TRANSFER Transferred to 7A, 1 | from 6B, 4 | in-progress V1 http://terminology.hl7.org/CodeSystem/v3-ActCode|IMP
        Encounter V1/transfer/20240501//7a_1 WITHDRAWN <PV1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            TRANSFER Transferred to 7A, 1 | from 6B, 4 | in-progress V1 http://terminology.hl7.org/CodeSystem/v3-ActCode|IMP
    "#]],
    );
    check(
        "A12",
        "PV1||I|6B^^4||||||||||||||||V1",
        expect![[r#"
        WARNING cancelled-transfer-unknown PV1-6
    "#]],
    );
}

fn ids(message: &MessageReceived, withdrawn: bool) -> Vec<&str> {
    let facts = message.facts.iter().filter(|fact| fact.withdrawn == withdrawn && fact.resource_type == "Encounter");
    facts.map(|fact| fact.id.as_str()).collect()
}

/// An ADT message with its own EVN-2 and EVN-6.
fn evn(event: &str, recorded: &str, occurred: &str, pv1: &str) -> MessageReceived {
    let header = format!("MSH|^~\\&|PAS|RYJ|||{recorded}||ADT^{event}|C|P|2.4");
    told(&format!("{header}\nEVN||{recorded}||||{occurred}\n{PID}\n{pv1}")).message
}

#[test]
fn a_cancelled_transfer_is_found_whatever_its_evn_6_means() {
    let moved = evn("A02", "20240501103000", "20240501102500", "PV1||I|7A^^1|||6B^^4|||||||||||||V1");
    let silent = evn("A02", "20240501103000", "20240501102500", "PV1||I|7A^^1||||||||||||||||V1");
    let back = "PV1||I|6B^^4|||7A^^1|||||||||||||V1";
    for (recorded, occurred) in [
        // As HL7 has it: when the cancelled transfer happened.
        ("20240501113000", "20240501102500"),
        // As many send it: when it was cancelled.
        ("20240501113000", "20240501112900"),
        ("20240501113000", ""),
        // The day after, as HL7 has it.
        ("20240502080000", "20240501102500"),
        // In the small hours, by the time of cancelling.
        ("20240502003000", "20240502003000"),
    ] {
        let cancelled = evn("A12", recorded, occurred, back);
        for transfer in [&moved, &silent] {
            let id = ids(transfer, false)[0];
            assert!(ids(&cancelled, true).contains(&id), "{id} {recorded} {occurred}: {:?}", ids(&cancelled, true));
        }
    }
}

#[test]
fn movements_of_one_day_are_lines_of_their_own() {
    let ward = "PV1||I|6B^^4|||ED|||||||||||||V1";
    let theatre = "PV1||I|THEATRE|||6B^^4|||||||||||||V1";
    let back = "PV1||I|6B^^4|||THEATRE|||||||||||||V1";
    let messages = [("0900", ward), ("1400", theatre), ("1700", back)]
        .map(|(time, pv1)| evn("A02", &format!("20240501{time}"), &format!("20240501{time}"), pv1));
    let all: std::collections::BTreeSet<&str> = messages.iter().flat_map(|message| ids(message, false)).collect();
    assert_eq!(all.len(), 3);
}

#[test]
fn the_same_thing_told_again_is_the_same_fact() {
    for event in ["A01", "A02", "A03", "A04", "A05", "A08", "A11", "A12", "A13", "A28", "A31"] {
        let message = |sent: &str, control: &str| {
            let header = format!("MSH|^~\\&|PAS|RYJ|||{sent}||ADT^{event}|{control}|P|2.4");
            let rest = format!("EVN||20240501103000||||20240501102500\n{PID}\nPD1|||P^^E87003\nNK1|1|A^B\n{INPATIENT}");
            told(&format!("{header}\n{rest}\nDG1|1||J18.9^^I10\nAL1|1||91936005^P^SCT")).message
        };
        let (first, again) = (message("20240501103100", "C1"), message("20240501114500", "C2"));
        let keys = |message: &MessageReceived| {
            message
                .facts
                .iter()
                .map(|f| (f.resource_type.clone(), f.id.clone(), f.resource.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(&first), keys(&again), "{event}");
    }
    // An update that is told again another day has not changed.
    let update = |day: &str| evn("A08", &format!("{day}1030"), &format!("{day}1030"), INPATIENT);
    let (first, later) = (update("20240501"), update("20240502"));
    let resource = |message: &MessageReceived| fact(message, "Encounter", "V1/update").resource.clone();
    assert_eq!(resource(&first), resource(&later));
}

#[test]
fn the_encounter_itself() {
    let message = told(&adt("A01", &format!("{PID}\n{INPATIENT}"))).message;
    expect![[r#"
        {
          "class": {
            "code": "IMP",
            "display": "inpatient encounter",
            "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode"
          },
          "id": "V1",
          "identifier": [
            {
              "system": "urn:weft:visit:RYJ:RYJ",
              "type": {
                "coding": [
                  {
                    "code": "VN",
                    "display": "Visit number",
                    "system": "http://terminology.hl7.org/CodeSystem/v2-0203"
                  }
                ]
              },
              "value": "V1"
            }
          ],
          "location": [
            {
              "location": {
                "display": "RYJ01, 6B, BAY 2, 04",
                "type": "Location"
              },
              "status": "active"
            }
          ],
          "participant": [
            {
              "individual": {
                "display": "DR ALEX WOODS",
                "identifier": {
                  "system": "urn:weft:clinician:RYJ:GMC",
                  "value": "C1234567"
                },
                "type": "Practitioner"
              },
              "type": [
                {
                  "coding": [
                    {
                      "code": "ATND",
                      "display": "attender",
                      "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
                    }
                  ]
                }
              ]
            }
          ],
          "period": {
            "start": "2024-04-30T12:00:00+01:00"
          },
          "resourceType": "Encounter",
          "serviceType": {
            "coding": [
              {
                "code": "300"
              }
            ]
          },
          "status": "in-progress",
          "subject": {
            "reference": "Patient/patient"
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&json(fact(&message, "Encounter", "V1/admit"))).unwrap());
}

#[test]
fn classes_of_hl7_of_the_feed_and_unknown() {
    let class = |profile: &str, code: &str| {
        let message =
            told_by(&self::profile(profile), &adt("A01", &format!("{PID}\nPV1||{code}|6B||||||||||||||||V1"))).message;
        let fact = message.facts.iter().find(|fact| fact.resource_type == "Encounter").unwrap();
        (json(fact)["class"]["code"].as_str().unwrap().to_owned(), message.issues.len())
    };
    for (code, wanted, issues) in [
        ("I", "IMP", 0),
        ("O", "AMB", 0),
        ("E", "EMER", 0),
        ("P", "PRENC", 0),
        ("R", "R", 0),
        ("Z", "Z", 1),
        ("", "UNK", 1),
    ] {
        let (got, count) = class("", code);
        assert_eq!((got.as_str(), count), (wanted, issues), "{code}");
    }
    assert_eq!(class("[codes.patient_class]\nZ = \"IMP\"\n", "Z").0, "IMP");
}

#[test]
fn a_visit_without_a_number_is_named_by_when_it_began() {
    let id = |event: &str, pv1: &str| {
        let message = told(&adt(event, &format!("{PID}\n{pv1}"))).message;
        assert!(short(&message).contains("INFORMATION visit-number-missing PV1-19"));
        message.facts.iter().find_map(|f| Some(f.line.as_ref()?.encounter.clone())).unwrap()
    };
    let began = "|||||||||||||||||||||||||||||||||||||||||202404301200";
    let admitted = id("A01", &format!("PV1||I|6B{began}"));
    assert_eq!(admitted, "visit-20240430120000-IMP");
    assert_eq!(id("A03", &format!("PV1||I|7A{began}")), admitted);
    assert_eq!(id("A04", "PV1||O|CLINIC"), "visit-20240501102500-AMB");
}

#[test]
fn no_visit_no_encounter() {
    for segments in ["", "PV1||N", "PV1|1", "PV1||"] {
        assert_eq!(visits("A31", segments), "", "{segments}");
        assert_eq!(visits("A28", segments), "", "{segments}");
    }
    check(
        "A01",
        "",
        expect![[r#"
        WARNING visit-missing PV1
    "#]],
    );
}

#[test]
fn times_that_cannot_be_read_are_left_out_and_said() {
    check(
        "A01",
        "PV1||I|6B||||||||||||||||V1|||||||||||||||||||||||||20241345|never",
        expect![[r#"
            Encounter V1/admit <PV1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
                ADMISSION Admitted to 6B |  | in-progress V1 http://terminology.hl7.org/CodeSystem/v3-ActCode|IMP
            WARNING date-unreadable PV1-44
            WARNING date-unreadable PV1-45
        "#]],
    );
}
