//! Every sample message of others: all are translated, and every fact is a resource of FHIR R4, read strictly.

use std::collections::BTreeMap;

use bytes::Bytes;
use expect_test::expect;
use weft_model::Verdict;
use weft_translate::translate;

use crate::common::{profile, read_strictly, shared, short, simhospital};

#[test]
fn every_fact_of_every_sample_is_read_strictly() {
    let profile = profile("");
    let mut facts = 0;
    for set in ["hl7v2/microsoft", "hl7v2/reportstream", "hl7v2/malformed"] {
        for (name, bytes) in shared(set, ".hl7").unwrap_or_default() {
            // Types that are not translated are read as the nearest that is, so that their segments are tried too.
            let text = String::from_utf8_lossy(&bytes).into_owned();
            for event in ["", "ADT^A01", "ADT^A08", "ADT^A12", "ORU^R01"] {
                let translation = translate(Bytes::from(with_type(&text, event)), &profile, 0);
                for fact in &translation.message.facts {
                    read_strictly(&format!("{name} as {event}"), fact);
                    facts += 1;
                }
            }
        }
    }
    for (i, message) in simhospital().unwrap_or_default().into_iter().enumerate() {
        for fact in &translate(Bytes::from(message), &profile, 0).message.facts {
            read_strictly(&format!("simhospital #{i}"), fact);
            facts += 1;
        }
    }
    if shared("hl7v2", ".hl7").is_some() {
        assert!(facts > 5_000, "only {facts} facts");
    }
}

fn with_type(text: &str, event: &str) -> String {
    let Some(start) = text.find("MSH").filter(|_| !event.is_empty()) else { return text.to_owned() };
    let end = text[start..].find(['\r', '\n']).map_or(text.len(), |at| start + at);
    let mut fields: Vec<&str> = text[start..end].split('|').collect();
    if fields.len() < 12 {
        return text.to_owned();
    }
    fields[8] = event;
    format!("{}{}{}", &text[..start], fields.join("|"), &text[end..])
}

#[test]
fn simhospital_goes_through_and_what_does_not_says_why() {
    let Some(messages) = simhospital() else { return };
    let profile = profile("");
    let (mut reasons, mut facts, mut issues) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for message in &messages {
        let translation = translate(Bytes::from(message.clone()), &profile, 0);
        let read = &translation.message;
        assert_eq!(translation.verdict == Verdict::Accepted, read.reason.is_empty());
        if translation.verdict != Verdict::Accepted {
            *reasons.entry(format!("{} {}", translation.message_type, read.reason)).or_insert(0) += 1;
            continue;
        }
        assert!(!read.facts.is_empty(), "{}", short(read));
        for fact in &read.facts {
            let line = fact.line.as_ref().map(|line| line.kind().as_str_name()).unwrap_or_default();
            *facts.entry(format!("{} {line}", fact.resource_type)).or_insert(0) += 1;
        }
        for issue in &read.issues {
            *issues.entry(format!("{} {}", issue.severity().as_str_name(), issue.code)).or_insert(0) += 1;
        }
    }
    assert_eq!(messages.len(), 1_013);
    expect![[r#"
        {
            "ADT^A34 wrong-type": 1,
            "MDM^T02 wrong-type": 2,
        }
        {
            "AllergyIntolerance ALLERGY": 162,
            "DiagnosticReport REPORT": 610,
            "Encounter ADMISSION": 400,
            "Observation OBSERVATION": 3323,
            "Organization REGISTRATION": 400,
            "Patient ": 1010,
        }
        {
            "INFORMATION number-with-comparator": 73,
            "INFORMATION value-type-missing": 122,
            "INFORMATION visit-number-missing": 218,
        }
    "#]]
    .assert_eq(&format!("{reasons:#?}\n{facts:#?}\n{issues:#?}\n"));
}

#[test]
fn simhospital_as_it_is_shown() {
    let Some(messages) = simhospital() else { return };
    let profile = profile("");
    let show = |i: usize| short(&translate(Bytes::from(messages[i].clone()), &profile, 0).message);
    expect![[r#"
        record RYJ SIMULATOR MRN 2590157853
        Patient patient <PID> occurred 2020-05-01 14:06:43 recorded 2020-05-01 14:06:43
        DiagnosticReport 4262718364.us-0003 <OBR> occurred 2020-05-01 14:06:43 recorded 2020-05-01 14:06:43
            REPORT UREA AND ELECTROLYTES | 1 result, 1 abnormal | final visit-20200501140643-AMB WinPath|us-0003
        Observation 4262718364.us-0003.tt-0003-01 <OBX> occurred 2020-05-01 14:06:43 recorded 2020-05-01 14:06:43
            OBSERVATION Creatinine | 98.00 umol/L (49-92) H | final visit-20200501140643-AMB WinPath|tt-0003-01
        INFORMATION visit-number-missing PV1-19
    "#]]
    .assert_eq(&show(0));
    expect![[r#"
        record RYJ SIMULATOR MRN 1076943130
        Patient patient <PID> occurred 2020-05-08 13:06:44 recorded 2020-05-08 13:06:44
        Organization registration <PD1-3> occurred 2020-05-08 13:06:44 recorded 2020-05-08 13:06:44
            REGISTRATION Registered with FAMILY PRACTICE |  | active 
        Encounter 4637913778641671097/admit <PV1> occurred 2020-05-08 13:06:44 recorded 2020-05-08 13:06:44
            ADMISSION Admitted to Simulated Hospital, Main Building, floor 4, OtherWard, MainRoom, Bed 1 | Dr Elizabeth Smith; SUR | in-progress 4637913778641671097 http://terminology.hl7.org/CodeSystem/v3-ActCode|IMP
        AllergyIntolerance 235719002 <AL1> occurred 2019-12-22 13:06:44 recorded 2020-05-08 13:06:44
            ALLERGY Food intolerance (disorder) | mild, Diarrhoea | active  http://snomed.info/sct|235719002
        AllergyIntolerance 414285001 <AL1[2]> occurred 2020-01-11 13:06:44 recorded 2020-05-08 13:06:44
            ALLERGY Food allergy (disorder) | mild, Diarrhoea | active  http://snomed.info/sct|414285001
    "#]].assert_eq(&show(5));
    expect![[r#"
        record RYJ SIMULATOR MRN 1076943130
        Patient patient <PID> occurred 2020-05-08 13:06:44 recorded 2020-05-08 13:06:44
        DiagnosticReport 2427424202.us-0003 <OBR> occurred 2020-05-08 13:06:44 recorded 2020-05-08 13:06:44
            REPORT UREA AND ELECTROLYTES | 5 results | final 4637913778641671097 WinPath|us-0003
        Observation 2427424202.us-0003.tt-0003-02 <OBX> occurred 2020-05-08 13:06:44 recorded 2020-05-08 13:06:44
            OBSERVATION Potassium | 5.10 mmol/L (3.5-5.3) | final 4637913778641671097 WinPath|tt-0003-02
        Observation 2427424202.us-0003.tt-0003-03 <OBX[2]> occurred 2020-05-08 13:06:44 recorded 2020-05-08 13:06:44
            OBSERVATION Sodium | 145.01 mmol/L (133-146) | final 4637913778641671097 WinPath|tt-0003-03
        Observation 2427424202.us-0003.tt-0003-04 <OBX[3]> occurred 2020-05-08 13:06:44 recorded 2020-05-08 13:06:44
            OBSERVATION Urea | 5.45 mmol/L (2.5-7.8) | final 4637913778641671097 WinPath|tt-0003-04
        Observation 2427424202.us-0003.tt-0003-05 <OBX[4]> occurred 2020-05-08 13:06:44 recorded 2020-05-08 13:06:44
            OBSERVATION eGFR (MDRD) | <15 mL/min | final 4637913778641671097 WinPath|tt-0003-05
        Observation 2427424202.us-0003.tt-0003-01 <OBX[5]> occurred 2020-05-08 13:06:44 recorded 2020-05-08 13:06:44
            OBSERVATION Creatinine | 86.25 umol/L (49-92) | final 4637913778641671097 WinPath|tt-0003-01
        INFORMATION number-with-comparator OBX[4]-5
    "#]]
    .assert_eq(&show(6));
}
