//! Reports and results.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::common::{self, fact, oru, profile, read_strictly, short, told, told_by};

const OBR: &str = "OBR|1|P1|F1|UE^Urea and electrolytes^L|||202405010900|||||||||||||||202405011030|||F";

fn check(segments: &str, wanted: Expect) {
    let mut message = told(&oru(segments)).message;
    message.facts.iter().for_each(|fact| read_strictly("results", fact));
    message.facts.retain(|fact| fact.resource_type != "Patient");
    message.record = None;
    wanted.assert_eq(&short(&message));
}

/// The observation that one OBX makes.
fn observation(obx: &str) -> Value {
    let message = told(&oru(&format!("{OBR}\n{obx}"))).message;
    let fact = message.facts.iter().find(|fact| fact.resource_type == "Observation").unwrap();
    read_strictly(obx, fact);
    common::json(fact)
}

#[test]
fn a_report_and_its_results() {
    check(
        &format!(
            "PV1||I|6B||||||||||||||||V1\nORC|RE\n{OBR}\nNTE|1||Haemolysed sample\n\
             OBX|1|NM|K^Potassium^L||7.4|mmol/L|3.5-5.3|H|||F|||202405010905\nNTE|1||Telephoned\nNTE|2||to the ward\n\
             OBX|2|NM|NA^Sodium^L||140|mmol/L|133-146||||P"
        ),
        expect![[r#"
            DiagnosticReport F1.UE <OBR> occurred 2024-05-01 09:00 recorded 2024-05-01 10:30
                REPORT Urea and electrolytes | 2 results, 1 abnormal | final V1 L|UE
            Observation F1.UE.K <OBX> occurred 2024-05-01 09:05 recorded 2024-05-01 10:30
                OBSERVATION Potassium | 7.4 mmol/L (3.5-5.3) H | final V1 L|K
            Observation F1.UE.NA <OBX[2]> occurred 2024-05-01 09:00 recorded 2024-05-01 10:30
                OBSERVATION Sodium | 140 mmol/L (133-146) | preliminary V1 L|NA
        "#]],
    );
}

#[test]
fn the_report_and_the_observation_themselves() {
    let text = oru(&format!(
        "{OBR}\nNTE|1||Haemolysed\nOBX|1|NM|K^Potassium^L||7.40|mmol/L|3.5-5.3|HH|||C|||202405010905|RYJ^Pathology|^WOODS^ALEX\n\
         NTE|1||Telephoned"
    ));
    let message = told(&text).message;
    let pretty = |kind, id| serde_json::to_string_pretty(&common::json(fact(&message, kind, id))).unwrap();
    expect![[r#"
        {
          "code": {
            "coding": [
              {
                "code": "UE",
                "display": "Urea and electrolytes",
                "system": "urn:weft:code-system:RYJ:L"
              }
            ]
          },
          "conclusion": "Haemolysed",
          "effectiveDateTime": "2024-05-01T09:00:00+01:00",
          "id": "F1.UE",
          "identifier": [
            {
              "system": "urn:weft:order:RYJ:FILL",
              "type": {
                "coding": [
                  {
                    "code": "FILL",
                    "display": "Filler Identifier",
                    "system": "http://terminology.hl7.org/CodeSystem/v2-0203"
                  }
                ]
              },
              "value": "F1"
            },
            {
              "system": "urn:weft:order:RYJ:PLAC",
              "type": {
                "coding": [
                  {
                    "code": "PLAC",
                    "display": "Placer Identifier",
                    "system": "http://terminology.hl7.org/CodeSystem/v2-0203"
                  }
                ]
              },
              "value": "P1"
            }
          ],
          "issued": "2024-05-01T10:30:00+01:00",
          "resourceType": "DiagnosticReport",
          "result": [
            {
              "reference": "Observation/F1.UE.K"
            }
          ],
          "status": "final",
          "subject": {
            "reference": "Patient/patient"
          }
        }"#]]
    .assert_eq(&pretty("DiagnosticReport", "F1.UE"));
    expect![[r#"
        {
          "code": {
            "coding": [
              {
                "code": "K",
                "display": "Potassium",
                "system": "urn:weft:code-system:RYJ:L"
              }
            ]
          },
          "effectiveDateTime": "2024-05-01T09:05:00+01:00",
          "id": "F1.UE.K",
          "interpretation": [
            {
              "coding": [
                {
                  "code": "HH",
                  "display": "Critical high",
                  "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
                }
              ]
            }
          ],
          "note": [
            {
              "text": "Telephoned"
            }
          ],
          "performer": [
            {
              "display": "Pathology",
              "type": "Organization"
            },
            {
              "display": "ALEX WOODS",
              "type": "Practitioner"
            }
          ],
          "referenceRange": [
            {
              "high": {
                "code": "mmol/L",
                "system": "http://unitsofmeasure.org",
                "unit": "mmol/L",
                "value": 5.3
              },
              "low": {
                "code": "mmol/L",
                "system": "http://unitsofmeasure.org",
                "unit": "mmol/L",
                "value": 3.5
              },
              "text": "3.5-5.3"
            }
          ],
          "resourceType": "Observation",
          "status": "corrected",
          "subject": {
            "reference": "Patient/patient"
          },
          "valueQuantity": {
            "code": "mmol/L",
            "system": "http://unitsofmeasure.org",
            "unit": "mmol/L",
            "value": 7.4
          }
        }"#]]
    .assert_eq(&pretty("Observation", "F1.UE.K"));
    // The laboratory's digits are kept: 7.40 says more than 7.4.
    let raw = String::from_utf8(fact(&message, "Observation", "F1.UE.K").resource.to_vec()).unwrap();
    assert!(raw.contains("\"value\":7.40"), "{raw}");
}

#[test]
fn values_of_every_type() {
    let value = |kind: &str, sent: &str| {
        let mut made = observation(&format!("OBX|1|{kind}|X^x^L||{sent}|mmol/L|||||F"));
        let made = made.as_object_mut().unwrap();
        let mut value =
            made.iter().filter(|(key, _)| key.starts_with("value") || *key == "extension" || *key == "component");
        value.next().map(|(key, value)| (key.clone(), value.clone()))
    };
    let unit = json!({"unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"});
    let with = |extra: Value| {
        let mut all = extra;
        all.as_object_mut().unwrap().extend(unit.as_object().unwrap().clone());
        all
    };
    let quantity = |extra: Value| Some(("valueQuantity".to_owned(), with(extra)));
    let text = |text: &str| Some(("valueString".to_owned(), json!(text)));
    assert_eq!(value("NM", "7.4"), quantity(json!({"value": 7.4})));
    assert_eq!(value("NM", "<15"), quantity(json!({"value": 15, "comparator": "<"})));
    assert_eq!(value("NM", "1,5"), text("1,5 mmol/L"));
    assert_eq!(value("NM", "pending"), text("pending mmol/L"));
    assert_eq!(value("NM", ""), None);
    assert_eq!(value("NM", "\"\""), None);
    assert_eq!(value("SN", ">^100"), quantity(json!({"value": 100, "comparator": ">"})));
    assert_eq!(
        value("SN", "^3^-^5"),
        Some(("valueRange".to_owned(), json!({"low": with(json!({"value": 3})), "high": with(json!({"value": 5}))})))
    );
    assert_eq!(
        value("SN", "^1^:^128"),
        Some(("valueRatio".to_owned(), json!({"numerator": with(json!({"value": 1})), "denominator": {"value": 128}})))
    );
    assert_eq!(value("SN", "^2^+"), text("2+ mmol/L"));
    assert_eq!(value("ST", "Positive"), text("Positive"));
    assert_eq!(value("ST", "A^B"), text("A^B"));
    assert_eq!(value("TX", "one~two"), text("one\ntwo"));
    assert_eq!(value("FT", "one\\.br\\two"), text("one\ntwo"));
    assert_eq!(value("DT", "20240501"), Some(("valueDateTime".to_owned(), json!("2024-05-01"))));
    assert_eq!(value("TS", "202405011030"), Some(("valueDateTime".to_owned(), json!("2024-05-01T10:30:00+01:00"))));
    assert_eq!(value("DT", "soon"), text("soon"));
    assert_eq!(value("TM", "1030"), Some(("valueTime".to_owned(), json!("10:30:00"))));
    assert_eq!(value("", "28"), quantity(json!({"value": 28})));
    assert_eq!(value("", "Yes"), text("Yes"));
    assert_eq!(value("XX", "a^b"), text("a^b"));
    assert_eq!(
        value("CWE", "112283007^Escherichia coli^SCT"),
        Some((
            "valueCodeableConcept".to_owned(),
            json!({"coding": [{"system": "http://snomed.info/sct", "code": "112283007", "display": "Escherichia coli"}]})
        ))
    );
    assert_eq!(
        value("ED", "LAB^AP^PDF^Base64^SGVsbG8="),
        Some((
            "extension".to_owned(),
            json!([{
                "url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-Observation.value",
                "valueAttachment": {
                    "contentType": "application/pdf",
                    "size": 5,
                    "title": "attached document application/pdf",
                },
            }])
        ))
    );
    let several = value("NM", "1~2").unwrap();
    assert_eq!((several.0.as_str(), &several.1[0]["valueQuantity"]["value"]), ("component", &json!(2)));
}

#[test]
fn statuses() {
    let status = |code: &str| observation(&format!("OBX|1|ST|X^x^L||y|||||{code}|{code}"))["status"].clone();
    for (code, wanted) in [
        ("F", "final"),
        ("P", "preliminary"),
        ("C", "corrected"),
        ("A", "amended"),
        ("X", "cancelled"),
        ("D", "entered-in-error"),
        ("W", "entered-in-error"),
        ("R", "preliminary"),
        ("S", "preliminary"),
        ("I", "registered"),
        ("N", "unknown"),
        ("?", "unknown"),
        ("", "final"),
    ] {
        assert_eq!(status(code), wanted, "{code}");
    }
    let deleted = told(&oru(&format!("{OBR}\nOBX|1|ST|X^x^L||y||||||D"))).message;
    assert!(fact(&deleted, "Observation", "F1.UE.X").withdrawn);
    assert_eq!(common::json(fact(&deleted, "DiagnosticReport", "F1.UE"))["result"], Value::Null);
}

#[test]
fn preliminary_final_and_corrected_are_one_fact() {
    let told = |status: &str, value: &str| {
        let obr = OBR.replace("|||F", &format!("|||{status}"));
        let message = told(&oru(&format!("{obr}\nOBX|1|NM|K^Potassium^L||{value}|mmol/L|||||{status}"))).message;
        let fact = fact(&message, "Observation", "F1.UE.K").clone();
        (fact.withdrawn, common::json(&fact)["status"].as_str().unwrap().to_owned())
    };
    assert_eq!(told("P", "7.4"), (false, "preliminary".to_owned()));
    assert_eq!(told("F", "7.4"), (false, "final".to_owned()));
    assert_eq!(told("C", "4.7"), (false, "corrected".to_owned()));
    // Final by status alone: what was sent before is not overwritten by nothing.
    let message = common::told(&oru(&format!("{OBR}\nOBX|1|NM|K^Potassium^L|||mmol/L|||||U"))).message;
    assert!(!message.facts.iter().any(|fact| fact.resource_type == "Observation"));
    assert!(short(&message).contains("value-not-resent OBX-5"));
}

#[test]
fn lines_of_one_text_are_one_observation() {
    check(
        &format!(
            "{OBR}\nOBX|1|TX|HIST^Histology^L||First line||||||F\nOBX|2|TX|HIST^Histology^L||||||||F\n\
             OBX|3|TX|HIST^Histology^L||third line||||||F\nOBX|4|TX|HIST^Histology^L|2|another||||||F"
        ),
        expect![[r#"
            DiagnosticReport F1.UE <OBR> occurred 2024-05-01 09:00 recorded 2024-05-01 10:30
                REPORT Urea and electrolytes | First line third line another | final  L|UE
            Observation F1.UE.HIST <OBX> occurred 2024-05-01 09:00 recorded 2024-05-01 10:30
                OBSERVATION Histology | First line third line | final  L|HIST
            Observation F1.UE.HIST.2 <OBX[4]> occurred 2024-05-01 09:00 recorded 2024-05-01 10:30
                OBSERVATION Histology | another | final  L|HIST
        "#]],
    );
}

#[test]
fn repeats_and_several_reports() {
    check(
        &format!(
            "{OBR}\nOBX|1|CE|ORG^Organism^L||A^a^L||||||F\nOBX|2|CE|ORG^Organism^L||B^b^L||||||F\n\
             OBR|2|P1|F1|FBC^Full blood count^L|||202405010900|||||||||||||||202405011030|||P\n\
             OBX|1|NM|HB^Haemoglobin^L||131|g/L|130-180||||P\nOBR|3||||||\nOBX|1|ST\nOBX|2|ST|^free text||x"
        ),
        expect![[r#"
            DiagnosticReport F1.UE <OBR> occurred 2024-05-01 09:00 recorded 2024-05-01 10:30
                REPORT Urea and electrolytes | 2 results | final  L|UE
            Observation F1.UE.ORG <OBX> occurred 2024-05-01 09:00 recorded 2024-05-01 10:30
                OBSERVATION Organism | a | final  L|ORG
            Observation F1.UE.ORG.2 <OBX[2]> occurred 2024-05-01 09:00 recorded 2024-05-01 10:30
                OBSERVATION Organism | b | final  L|ORG
            DiagnosticReport F1.FBC <OBR[2]> occurred 2024-05-01 09:00 recorded 2024-05-01 10:30
                REPORT Full blood count | 1 result | preliminary  L|FBC
            Observation F1.FBC.HB <OBX[3]> occurred 2024-05-01 09:00 recorded 2024-05-01 10:30
                OBSERVATION Haemoglobin | 131 g/L (130-180) | preliminary  L|HB
            DiagnosticReport 475b2a6dbf0848db <OBR[3]> occurred 2024-05-01 10:31:00 recorded 2024-05-01 10:31:00
                REPORT Report | 1 result | unknown 
            Observation 475b2a6dbf0848db.38427e7d0c28d092 <OBX[5]> occurred 2024-05-01 10:31:00 recorded 2024-05-01 10:31:00
                OBSERVATION free text | x | unknown 
            WARNING report-number-missing OBR[3]-3
            WARNING status-missing OBR[3]-25
            WARNING observation-code-missing OBX[4]-3
            INFORMATION status-missing OBX[5]-11
        "#]],
    );
}

#[test]
fn codes_through_the_feeds_map() {
    let profile = profile(
        "[codes.observation]\nK = { system = \"http://loinc.org\", code = \"2823-3\", display = \"Potassium\" }\n",
    );
    let message = told_by(&profile, &oru(&format!("{OBR}\nOBX|1|NM|K^K^L||7.4|mmol/L|||||F"))).message;
    let made = fact(&message, "Observation", "F1.UE.K");
    assert_eq!(
        common::json(made)["code"]["coding"],
        json!([
            {"system": "http://loinc.org", "code": "2823-3", "display": "Potassium"},
            {"system": "urn:weft:code-system:RYJ:L", "code": "K", "display": "K"},
        ])
    );
    let line = made.line.as_ref().unwrap();
    assert_eq!((line.title.as_str(), line.code.as_ref().unwrap().code.as_str()), ("Potassium", "2823-3"));
}

#[test]
fn results_of_several_patients_are_kept_apart_by_not_being_told() {
    let message = told(&oru(&format!("{OBR}\nPID|2||B2^^^RYJ^MR\n{OBR}"))).message;
    assert_eq!(message.reason, "several-patients");
}

#[test]
fn other_separators_and_very_many_values() {
    let text = "MSH|@~\\&|LAB|RYJ|||20240501||ORU@R01|C1|P|2.4\nPID|||A1@@@RYJ@MR\n\
                OBR|1||F1|UE@Urea@LN|||20240501\nOBX|1|CE|ORG@Organism@L||112283007@E. coli@SCT||||||F";
    let message = told(text).message;
    let made = common::json(fact(&message, "Observation", "F1.UE.ORG"));
    assert_eq!(made["code"]["coding"][0]["display"], "Organism");
    assert_eq!(made["valueCodeableConcept"]["coding"][0]["system"], "http://snomed.info/sct");
    let many = observation(&format!("OBX|1|NM|X^x^L||{}||||||F", "1~".repeat(100_000)));
    assert!(many["valueString"].as_str().unwrap().starts_with("1\n1\n") && many["component"].is_null());
}
