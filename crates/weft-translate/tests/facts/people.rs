//! The person: names, numbers, addresses, what is cleared, what is hidden, and the people around them.

use expect_test::expect;
use serde_json::{Value, json};
use weft_model::proto::event::Demographics;

use crate::common::{self, adt, fact, profile, read_strictly, short, told, told_by};

/// A PID of these fields, by number.
fn pid(fields: &[(usize, &str)]) -> String {
    let mut all = vec![String::new(); 41];
    all[3] = "A1^^^RYJ^MR".to_owned();
    for (number, value) in fields {
        all[*number] = (*value).to_owned();
    }
    all[0] = "PID".to_owned();
    all.join("|")
}

fn patient(fields: &[(usize, &str)]) -> Value {
    let translation = told(&adt("A28", &pid(fields)));
    let patient = fact(&translation.message, "Patient", "patient");
    read_strictly("patient", patient);
    common::json(patient)
}

fn demographics(fields: &[(usize, &str)]) -> Demographics {
    told(&adt("A28", &pid(fields))).message.demographics.unwrap()
}

#[test]
fn identifiers_and_the_tracing_status_of_the_nhs_number() {
    let patient = patient(&[(3, "A1^^^RYJ^MR~999 000 0018^^^NHS^NH~P7^^^RQM"), (32, "NSTS01")]);
    assert_eq!(
        patient["identifier"],
        json!([
            {
                "extension": [{
                    "url": "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus",
                    "valueCodeableConcept": {"coding": [{
                        "system": "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatus",
                        "code": "01",
                        "display": "Number present and verified",
                    }]},
                }],
                "system": "https://fhir.nhs.uk/Id/nhs-number",
                "value": "9990000018",
            },
            {"use": "usual", "system": "urn:weft:identifier:RYJ:RYJ", "value": "A1"},
            {"system": "urn:weft:identifier:RYJ:RQM", "value": "P7"},
        ])
    );
}

#[test]
fn names_and_their_uses() {
    for (sent, wanted) in [
        ("L", "official"),
        ("CURRENT", "official"),
        ("PREFERRED", "usual"),
        ("D", "usual"),
        ("PREVIOUS", "old"),
        ("PREVIOUS-MAIDEN", "maiden"),
        ("PREVIOUS-BIRTH", "old"),
        ("A", "nickname"),
        ("", ""),
        ("XYZ", ""),
    ] {
        let name = format!("SMITH^JANE^ANN MARIE^^MRS^^{sent}");
        assert_eq!(demographics(&[(5, &name)]).names[0].r#use, wanted, "{sent}");
    }
    assert_eq!(
        patient(&[(5, "SMITH^JANE^ANN MARIE^^MRS^^L~O\\T\\NEIL&VAN^J^^^^^PREVIOUS-MAIDEN")])["name"],
        json!([
            {"use": "official", "family": "SMITH", "given": ["JANE", "ANN", "MARIE"], "prefix": ["MRS"]},
            {"use": "maiden", "family": "O&NEIL", "given": ["J"]},
        ])
    );
}

#[test]
fn sex_in_both_code_sets_and_the_feeds_own() {
    for (sent, wanted) in [
        ("1", "male"),
        ("2", "female"),
        ("9", "other"),
        ("0", "unknown"),
        ("M", "male"),
        ("F", "female"),
        ("O", "other"),
        ("A", "other"),
        ("N", "other"),
        ("U", "unknown"),
        ("f", "female"),
        ("", ""),
        ("Q", ""),
    ] {
        assert_eq!(demographics(&[(8, sent)]).sex, wanted, "{sent}");
    }
    assert_eq!(patient(&[(8, "2")])["gender"], "female");
    let own = told_by(&profile("[codes.sex]\nQ = \"other\"\n\"1\" = \"female\"\n"), &adt("A28", &pid(&[(8, "1")])));
    assert_eq!(own.message.demographics.unwrap().sex, "female");
}

#[test]
fn births_are_no_more_precise_than_stated() {
    for (sent, wanted) in [
        ("19760121", json!("1976-01-21")),
        ("197601", json!("1976-01")),
        ("1976", json!("1976")),
        ("19760121000000", json!("1976-01-21")),
        ("19760121+^D", json!("1976-01-21")),
        ("196513121515", Value::Null),
        ("unknown", Value::Null),
    ] {
        assert_eq!(patient(&[(7, sent)])["birthDate"], wanted, "{sent}");
    }
    let timed = patient(&[(7, "197601212215")]);
    assert_eq!(timed["birthDate"], "1976-01-21");
    assert_eq!(timed["_birthDate"]["extension"][0]["valueDateTime"], "1976-01-21T22:15:00Z");
    assert_eq!(demographics(&[(7, "197601212215")]).birth.unwrap().to_fhir().as_deref(), Ok("1976-01-21"));
}

#[test]
fn addresses_and_telephones() {
    let patient = patient(&[
        (11, "14 FLORAL STREET^FLAT 2^LONDON^GREATER LONDON^W2 1NY^GBR^H~PO BOX 1^^^^W1^^PST~HOSTEL^^^^^^TMP~^^^^^^H"),
        (13, "02079460018^PRN^PH~07700900118^PRN^CP~^NET^Internet^a.b@example.org~a.c@example.org"),
        (14, "^WPN^PH^^44^20^79460999^12"),
    ]);
    assert_eq!(
        patient["address"],
        json!([
            {
                "use": "home",
                "line": ["14 FLORAL STREET", "FLAT 2"],
                "city": "LONDON",
                "district": "GREATER LONDON",
                "postalCode": "W2 1NY",
                "country": "GBR",
            },
            {"type": "postal", "line": ["PO BOX 1"], "postalCode": "W1"},
            {"use": "temp", "line": ["HOSTEL"]},
        ])
    );
    assert_eq!(
        patient["telecom"],
        json!([
            {"system": "phone", "value": "02079460018", "use": "home"},
            {"system": "phone", "value": "07700900118", "use": "mobile"},
            {"system": "email", "value": "a.b@example.org", "use": "home"},
            {"system": "email", "value": "a.c@example.org", "use": "home"},
            {"system": "phone", "value": "+44 20 79460999 X12", "use": "work"},
        ])
    );
}

#[test]
fn the_rest_of_pid() {
    let patient = patient(&[(15, "EN"), (16, "M^Married"), (22, "A1"), (24, "Y"), (25, "2"), (31, "Y")]);
    assert_eq!(patient["communication"][0]["language"]["coding"][0]["code"], "en");
    assert_eq!(patient["maritalStatus"]["coding"][0]["display"], "Married");
    assert_eq!(patient["multipleBirthInteger"], 2);
    let urls: Vec<&str> = patient["extension"].as_array().unwrap().iter().map(|e| e["url"].as_str().unwrap()).collect();
    assert_eq!(
        urls,
        [
            "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-EthnicCategory",
            "urn:weft:extension:pseudo-person"
        ]
    );
    let told = demographics(&[(22, "A1"), (31, "Y")]);
    assert_eq!((told.ethnicity.as_str(), told.pseudo_person), ("A1", Some(true)));
}

#[test]
fn an_empty_field_leaves_and_a_null_clears() {
    let nothing: &[String] = &[];
    assert_eq!(demographics(&[]).cleared, nothing);
    let nulls: Vec<(usize, &str)> = [5, 7, 8, 11, 13, 22, 29, 30, 31].into_iter().map(|n| (n, "\"\"")).collect();
    let told = demographics(&nulls);
    let cleared = ["names", "birth", "sex", "addresses", "telecoms", "ethnicity", "death", "deceased", "pseudo_person"];
    assert_eq!(told.cleared, cleared);
    assert!(told.names.is_empty() && told.birth.is_none() && told.addresses.is_empty());
    assert_eq!(demographics(&[(3, "A1^^^RYJ^MR~\"\"^^^NHS^NH")]).cleared, ["nhs_number"]);
    let pd1 = adt("A31", &format!("{}\nPD1|||\"\"|\"\"", pid(&[])));
    assert_eq!(told_and_short(&pd1).0.cleared, ["practice", "practitioner"]);
}

fn told_and_short(text: &str) -> (Demographics, String) {
    let translation = told(text);
    (translation.message.demographics.clone().unwrap(), short(&translation.message))
}

#[test]
fn a_death_is_a_line_of_its_own_and_later_silence_does_not_undo_it() {
    let (told, shown) = told_and_short(&adt("A31", &pid(&[(29, "202404302210"), (30, "Y")])));
    assert_eq!(
        (told.deceased, told.death.unwrap().to_fhir().unwrap().as_str()),
        (Some(true), "2024-04-30T22:10:00+01:00")
    );
    expect![[r#"
        record RYJ RYJ A1
        Patient patient <PID> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
        Patient patient/death <PID-29> occurred 2024-04-30 22:10 recorded 2024-05-01 10:30:00
            DEATH Died |  |  
    "#]]
    .assert_eq(&shown);
    let (told, shown) = told_and_short(&adt("A31", &pid(&[(30, "Y")])));
    assert_eq!(told.deceased, Some(true));
    expect![[r#"
        record RYJ RYJ A1
        Patient patient <PID> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
        Patient patient/death <PID-30> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            DEATH Died |  |  
    "#]]
    .assert_eq(&shown);
    let (_, silent) = told_and_short(&adt("A31", &pid(&[])));
    expect![[r#"
        record RYJ RYJ A1
        Patient patient <PID> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
    "#]]
    .assert_eq(&silent);
    let (_, alive) = told_and_short(&adt("A31", &pid(&[(29, "\"\""), (30, "N")])));
    expect![[r#"
        record RYJ RYJ A1
        Patient patient <PID> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
        Patient patient/death WITHDRAWN <PID-30> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            DEATH Died |  |  
    "#]]
    .assert_eq(&alive);
    let (told, contradicted) = told_and_short(&adt("A31", &pid(&[(29, "20240430"), (30, "N")])));
    assert_eq!(told.deceased, Some(true));
    assert!(contradicted.contains("death-contradiction PID-30"), "{contradicted}");
}

#[test]
fn the_practice_is_a_line_and_a_part_of_the_patient() {
    let text = adt("A28", &format!("{}\nPD1|||LISSON GROVE^^E87003|G8801234^PATEL^ANITA^^^DR^^^GMP", pid(&[])));
    let (told, shown) = told_and_short(&text);
    assert_eq!((told.practice.as_str(), told.practitioner.as_str()), ("E87003", "G8801234"));
    expect![[r#"
        record RYJ RYJ A1
        Patient patient <PID> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
        Organization registration <PD1-3> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            REGISTRATION Registered with LISSON GROVE | DR ANITA PATEL | active  https://fhir.nhs.uk/Id/ods-organization-code|E87003
    "#]].assert_eq(&shown);
    let translation = crate::common::told(&text);
    assert_eq!(
        common::json(fact(&translation.message, "Patient", "patient"))["generalPractitioner"],
        json!([
            {
                "type": "Organization",
                "identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "E87003"},
                "display": "LISSON GROVE",
            },
            {
                "type": "Practitioner",
                "identifier": {"system": "https://fhir.hl7.org.uk/Id/gmp-number", "value": "G8801234"},
                "display": "DR ANITA PATEL",
            },
        ])
    );
    let practice = fact(&translation.message, "Organization", "registration");
    read_strictly("practice", practice);
    assert_eq!(common::json(practice)["id"], "E87003");
}

#[test]
fn a_hidden_location_is_in_no_fact() {
    let secrets = ["14 FLORAL", "W2 1NY", "0207946", "a@b.example", "LISSON", "E87003", "PATEL", "SAMUEL", "0770090"];
    let mut shown = std::collections::BTreeSet::new();
    for code in ["1", "2"] {
        let text = adt(
            "A31",
            &format!(
                "{}\nPD1|||LISSON GROVE^^E87003|G8801234^PATEL^ANITA^^^DR^^^GMP\n\
                 NK1|1|SMITH^SAMUEL|SPO|14 FLORAL STREET|07700900119\nZU8||||{code}",
                pid(&[(5, "SMITH^JANE"), (11, "14 FLORAL STREET^^^^W2 1NY"), (13, "02079460018~a@b.example")])
            ),
        );
        let message = told(&text).message;
        let told = message.demographics.clone().unwrap();
        assert!(told.location_hidden == Some(true) && told.addresses.is_empty() && told.telecoms.is_empty());
        let everything = message.facts.iter().map(|fact| String::from_utf8(fact.resource.to_vec()).unwrap());
        let everything = everything.collect::<String>() + &format!("{:?}{}", told, short(&message));
        for secret in secrets {
            assert!(!everything.contains(secret), "{secret} in {everything}");
        }
        assert!(everything.contains("SMITH") && everything.contains("restricted"));
        shown.insert(short(&message));
    }
    expect![[r#"
        record RYJ RYJ A1
        Patient patient <PID> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
        Organization registration WITHDRAWN <PD1-3> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            REGISTRATION Registration with a general practice |  |  
        RelatedPerson next-of-kin-1 WITHDRAWN <NK1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            RELATED_PERSON Next of kin |  |  
    "#]]
    .assert_eq(&shown.into_iter().collect::<String>());
}

#[test]
fn next_of_kin_stand_in_numbered_places() {
    let kin = "NK1|1|SMITH^SAMUEL^^^MR|SPO^Spouse|14 FLORAL STREET^^^^W2 1NY|07700900119||NOK\n\
               NK1|2|SMITH^ANN|MTH|||02079460000\nNK1|3|\"\"\nNK1||JONES^X|NEIGHBOUR";
    let message = told(&adt("A31", &format!("{}\n{kin}", pid(&[])))).message;
    message.facts.iter().for_each(|fact| read_strictly("next of kin", fact));
    expect![[r#"
        record RYJ RYJ A1
        Patient patient <PID> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
        RelatedPerson next-of-kin-1 <NK1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            RELATED_PERSON Next of kin: MR SAMUEL SMITH | spouse, 07700900119 | active  |SPO
        RelatedPerson next-of-kin-2 <NK1[2]> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            RELATED_PERSON Next of kin: ANN SMITH | mother, 02079460000 | active  |MTH
        RelatedPerson next-of-kin-3 WITHDRAWN <NK1[3]> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            RELATED_PERSON Next of kin |  |  
        RelatedPerson next-of-kin-4 <NK1[4]> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            RELATED_PERSON Next of kin: X JONES | NEIGHBOUR | active  |NEIGHBOUR
    "#]]
    .assert_eq(&short(&message));
    let emptied = told(&adt("A31", &format!("{}\nNK1|\"\"|", pid(&[])))).message;
    let withdrawn: Vec<&str> = emptied.facts.iter().filter(|f| f.withdrawn).map(|f| f.id.as_str()).collect();
    assert_eq!(withdrawn.first(), Some(&"next-of-kin-1"));
}

#[test]
fn what_a_message_states_twice_is_told_once() {
    let segments = format!(
        "{}\nPV1||I|6B||||||||||||||||V1\nDG1|1|I10|J18.9^PNEUMONIA||20240430|A\nDG1|2|I10|J18.9^PNEUMONIA||20240430|A\n\
         DG1|3|I10|J18.9^PNEUMONIA||20240501|A\nAL1|1|DA|91936005^PENICILLIN^SCT\nAL1|2|DA|91936005^PENICILLIN^SCT",
        pid(&[])
    );
    let message = told(&adt("A08", &segments)).message;
    let ids = message.facts.iter().map(|fact| fact.id.as_str()).skip(2).collect::<Vec<_>>();
    // The third is another statement of the same diagnosis.
    assert_eq!(ids, ["V1.J18.9.A", "V1.J18.9.A.2", "91936005"]);
    let issues = message.issues.iter().map(|issue| (issue.code.as_str(), issue.location.as_str()));
    assert_eq!(issues.collect::<Vec<_>>(), [("segment-repeated", "DG1[2]"), ("segment-repeated", "AL1[2]")]);
}

#[test]
fn diagnoses_and_allergies() {
    let segments = format!(
        "{}\nPV1||I|6B||||||||||||||||V1\n\
         DG1|1|I10|J18.9^PNEUMONIA, UNSPECIFIED|Pneumonia|20240430|A\n\
         DG1|2||195967001^Asthma^SCT||20200101|W||||||||||^WOODS\nDG1|3|||broken toe\nDG1|4\n\
         AL1|1|DA|91936005^Allergy to penicillin^SCT|SV|RASH~WHEEZE|20100301\nAL1|2|FA|^NUTS|U\nAL1|3\n\
         IAM|1|EA|256277009^Grass pollen^SCT|MO||D|IAM7",
        pid(&[])
    );
    let message = told(&adt("A08", &segments)).message;
    message.facts.iter().for_each(|fact| read_strictly("diagnoses", fact));
    expect![[r#"
        record RYJ RYJ A1
        Patient patient <PID> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
        Encounter V1/update <PV1> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            ENCOUNTER Inpatient visit at 6B |  | in-progress V1 http://terminology.hl7.org/CodeSystem/v3-ActCode|IMP
        Condition V1.J18.9.A <DG1> occurred 2024-04-30 recorded 2024-05-01 10:30:00
            CONDITION PNEUMONIA, UNSPECIFIED | admitting | active V1 http://hl7.org/fhir/sid/icd-10|J18.9
        Condition V1.195967001.W <DG1[2]> occurred 2020-01-01 recorded 2024-05-01 10:30:00
            CONDITION Asthma | working | active V1 http://snomed.info/sct|195967001
        Condition V1.ff5169054e3e1424 <DG1[3]> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            CONDITION broken toe |  | active V1
        AllergyIntolerance 91936005 <AL1> occurred 2010-03-01 recorded 2024-05-01 10:30:00
            ALLERGY Allergy to penicillin | severe, RASH, WHEEZE | active  http://snomed.info/sct|91936005
        AllergyIntolerance 70059cc5b6219961 <AL1[2]> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            ALLERGY NUTS |  | active 
        AllergyIntolerance IAM7 WITHDRAWN <IAM> occurred 2024-05-01 10:25:00 recorded 2024-05-01 10:30:00
            ALLERGY Grass pollen | moderate | entered-in-error  http://snomed.info/sct|256277009
        WARNING diagnosis-missing DG1[4]-3
        WARNING allergen-missing AL1[3]-3
    "#]]
    .assert_eq(&short(&message));
    let pneumonia = common::json(fact(&message, "Condition", "V1.J18.9.A"));
    assert_eq!(
        pneumonia["code"],
        json!({
            "coding": [{
                "system": "http://hl7.org/fhir/sid/icd-10",
                "code": "J18.9",
                "display": "PNEUMONIA, UNSPECIFIED",
            }],
            "text": "Pneumonia",
        })
    );
    let penicillin = common::json(fact(&message, "AllergyIntolerance", "91936005"));
    assert_eq!((&penicillin["criticality"], &penicillin["category"]), (&json!("high"), &json!(["medication"])));
    assert_eq!(penicillin["reaction"][0]["manifestation"][1]["text"], "WHEEZE");
}

/// As DHCW's samples have it: marks after the date, e-mail in an odd component, trailing blanks, the authority left out.
#[test]
fn dirty_but_real() {
    let patient = patient(&[
        (3, "B7^^^^PI"),
        (5, "EVANS ^ GWEN "),
        (7, "19760121+^D"),
        (11, "1 HIGH ST^^CARDIFF^^CF10 1AA^^H  "),
        (13, "^^^^^^^^gwen@example.org~02920000000"),
    ]);
    assert_eq!(patient["name"][0], json!({"family": "EVANS", "given": ["GWEN"]}));
    assert_eq!(patient["birthDate"], "1976-01-21");
    assert_eq!(patient["address"][0]["postalCode"], "CF10 1AA");
    assert_eq!(patient["telecom"][0], json!({"system": "email", "value": "gwen@example.org", "use": "home"}));
}
