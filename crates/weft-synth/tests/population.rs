//! What the population promises to those who build on it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use expect_test::{Expect, expect};
use weft_model::{NhsNumber, NhsNumberClass};
use weft_synth::{
    Population, RK5_DIRTY, RQM_PAS, RYJ_LAB, RYJ_PAS, SynthKind, SynthMessage, bench_feed, bench_messages, long_history,
};

/// FNV-1a over all bytes, with a mark between messages.
fn digest<'a>(messages: impl Iterator<Item = &'a [u8]>) -> u64 {
    let bytes = messages.flat_map(|message| message.iter().chain(&[0x1c]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[track_caller]
fn check_digest(seed: u64, wanted: &Expect) {
    let population = Population::generate(seed, 300);
    let mut told = String::new();
    for (n, feed) in population.feeds().iter().enumerate() {
        let messages: Vec<SynthMessage> = population.messages(n).collect();
        let digest = digest(messages.iter().map(|m| m.bytes.as_slice()));
        told += &format!("{} {} {digest:016x}\n", feed.id, messages.len());
    }
    let bench: Vec<Vec<u8>> = bench_messages(seed, 500, 50).collect();
    told += &format!("bench {} {:016x}\n", bench.len(), digest(bench.iter().map(Vec::as_slice)));
    told += &format!("truth {:016x}\n", digest([population.truth_csv().as_bytes()].into_iter()));
    wanted.assert_eq(&told);
}

#[test]
fn a_seed_gives_the_same_bytes_for_ever() {
    check_digest(
        1,
        &expect![[r#"
        ryj-pas 1215 05302b5f74b9875b
        ryj-lab 755 32f420c17d622289
        rqm-pas 676 3cd1cc2650d678a3
        rk5-dirty 576 a74bac73cba58e13
        bench 500 fac326d0ecc158a1
        truth 15ccd6303a45d8df
    "#]],
    );
    check_digest(
        2,
        &expect![[r#"
        ryj-pas 1437 7129a43afa4ba04b
        ryj-lab 824 16f4bdfbe3be315f
        rqm-pas 773 7cd21d279826f964
        rk5-dirty 524 a9d05f868cab0e6c
        bench 500 398e063b5c232812
        truth 664e45b6b01093c3
    "#]],
    );
}

#[test]
fn a_larger_population_begins_with_the_smaller() {
    let rows = |people| Population::generate(3, people).truth().collect::<Vec<_>>();
    let (small, large) = (rows(200), rows(500));
    assert!(small.iter().all(|row| large.contains(row)));
    assert_eq!(large.iter().filter(|row| row.person < 200).count(), small.len());
}

#[track_caller]
fn check_share(what: &str, count: usize, of: usize, permille: std::ops::RangeInclusive<usize>) {
    let share = count * 1000 / of;
    assert!(permille.contains(&share), "{what}: {share} in a thousand, not within {permille:?}");
}

#[test]
fn what_makes_linking_hard_is_there_in_measure() {
    let traits = Population::generate(4, 20_000).traits();
    let people = traits.people;
    assert_eq!(people, 20_000);
    check_share("twins", traits.twins, people, 7..=20);
    check_share("movers", traits.movers, people, 110..=190);
    check_share("married", traits.married, people, 7..=20);
    check_share("babies", traits.babies, people, 20..=45);
    check_share("namesakes", traits.namesakes, people, 2..=8);
    check_share("deaths", traits.deaths, people, 8..=30);
    check_share("records", traits.records, people, 1600..=1900);
    check_share("second records", traits.second_records, traits.records, 12..=35);
}

#[test]
fn lives_are_told_in_eight_to_twelve_messages() {
    let population = Population::generate(5, 2000);
    let all: Vec<Vec<SynthMessage>> = (0..4).map(|feed| population.messages(feed).collect()).collect();
    let count: usize = all.iter().map(Vec::len).sum();
    check_share("messages", count, 2000, 8000..=12_000);
    for (feed, bytes) in [(RYJ_PAS, 850..=1400), (RYJ_LAB, 1000..=1700), (RQM_PAS, 600..=1200), (RK5_DIRTY, 250..=600)]
    {
        let sum: usize = all[feed].iter().map(|m| m.bytes.len()).sum();
        let mean = sum / all[feed].len();
        assert!(bytes.contains(&mean), "feed {feed}: {mean} bytes");
    }
    let types: BTreeSet<String> = all.iter().flatten().filter_map(message_type).collect();
    for wanted in
        ["A01", "A02", "A03", "A04", "A05", "A08", "A11", "A12", "A13", "A28", "A31", "A40"].map(|t| format!("ADT^{t}"))
    {
        assert!(types.contains(&wanted), "{wanted}");
    }
    assert!(types.contains("ORU^R01"));
    assert!(population.messages(4).next().is_none());
}

/// MSH-9, its first two components.
fn message_type(message: &SynthMessage) -> Option<String> {
    let text = String::from_utf8_lossy(&message.bytes).into_owned();
    let kind = text.split('|').nth(8)?;
    Some(kind.split('^').take(2).collect::<Vec<_>>().join("^"))
}

#[test]
fn messages_are_sent_in_order_within_the_two_years() {
    let population = Population::generate(6, 500);
    for feed in 0..4 {
        let messages: Vec<SynthMessage> = population.messages(feed).collect();
        assert!(messages.is_sorted_by_key(|m| m.sent_us), "feed {feed}");
        // 2024-11-01 to 2026-11-01.
        assert!(messages.iter().all(|m| (1_730_419_200_000_000..1_793_491_200_000_000).contains(&m.sent_us)));
        assert_eq!(messages, population.messages(feed).collect::<Vec<_>>());
    }
}

#[test]
fn control_ids_are_used_once_but_where_they_are_not() {
    let population = Population::generate(7, 3000);
    for feed in 0..4 {
        let mut seen: HashMap<String, Vec<u8>> = HashMap::new();
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for message in population.messages(feed) {
            *kinds.entry(format!("{:?}", message.kind)).or_default() += 1;
            let earlier = seen.insert(message.control_id.clone(), message.bytes.clone());
            match message.kind {
                SynthKind::Plain => assert_eq!(earlier, None),
                SynthKind::Resent => assert_eq!(earlier, Some(message.bytes)),
                SynthKind::ControlIdReused => {
                    assert!(earlier.as_ref().is_some_and(|bytes| *bytes != message.bytes));
                    seen.extend(earlier.map(|bytes| (message.control_id, bytes)));
                }
                SynthKind::Unreadable => {}
            }
        }
        assert_eq!(kinds.len(), if feed == RK5_DIRTY { 4 } else { 1 }, "{kinds:?}");
    }
}

#[test]
fn every_record_that_is_spoken_of_is_in_the_truth() {
    let population = Population::generate(8, 800);
    let csv = population.truth_csv();
    let rows: Vec<_> = population.truth().collect();
    assert_eq!(csv.lines().count(), rows.len() + 1);
    let keys: BTreeSet<_> = rows.iter().map(|row| (row.organisation, row.system, row.value.clone())).collect();
    assert_eq!(keys.len(), rows.len(), "a local identifier is one person's");
    assert_eq!(rows.iter().map(|row| row.person).collect::<BTreeSet<_>>().len(), 800, "everybody is known somewhere");
    let mut unheard: BTreeSet<_> = rows.iter().map(|row| (row.organisation, row.value.clone())).collect();
    for (feed, organisation) in [(RYJ_PAS, "RYJ"), (RYJ_LAB, "RYJ"), (RQM_PAS, "RQM"), (RK5_DIRTY, "RK5")] {
        for message in population.messages(feed).filter(|m| m.kind == SynthKind::Plain) {
            let local = local_identifier(&message.bytes, feed);
            let row = rows.iter().find(|r| r.organisation == organisation && r.value == local);
            assert_eq!(row.map(|row| row.person), Some(message.person), "{}", String::from_utf8_lossy(&message.bytes));
            unheard.remove(&(organisation, local));
        }
    }
    assert_eq!(unheard, BTreeSet::new(), "every record is spoken of");
}

/// The repetition of PID-3 that is not the NHS number.
fn local_identifier(bytes: &[u8], feed: usize) -> String {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let pid = text.split(['\r', '\n']).find(|segment| segment.starts_with("PID|")).unwrap();
    let field = pid.split('|').nth(3).unwrap();
    let own = |cx: &&str| match feed {
        RYJ_PAS | RYJ_LAB => cx.contains("^RYJ"),
        RQM_PAS => cx.contains("RQM MRN"),
        _ => !cx.contains("^NI"),
    };
    field.split('~').find(own).unwrap().split('^').next().unwrap().to_owned()
}

#[test]
fn numbers_are_of_the_range_for_tests() {
    let population = Population::generate(9, 2000);
    let (mut with, mut wrong) = (0, 0);
    let records: Vec<_> = population.records().collect();
    for record in &records {
        let Some(identifier) = record.demographics.nhs_number() else { continue };
        with += 1;
        match NhsNumber::parse(&identifier.value) {
            Ok(number) => {
                assert!(identifier.value.starts_with("999"));
                assert_eq!(number.class(), NhsNumberClass::Test);
            }
            Err(_) => wrong += 1,
        }
    }
    check_share("records with a number", with, records.len(), 860..=970);
    check_share("wrong check digits", wrong, with, 1..=12);
    assert_eq!(records.len(), population.truth().count());
}

#[test]
fn bench_messages_are_plain_and_all_different() {
    let messages: Vec<String> = bench_messages(1, 4000, 100).map(|m| String::from_utf8(m).unwrap()).collect();
    assert_eq!(messages.len(), 4000);
    let ids: BTreeSet<&str> = messages.iter().map(|m| m.split('|').nth(9).unwrap()).collect();
    assert_eq!(ids.len(), 4000);
    let reports: Vec<&String> = messages.iter().filter(|m| m.contains("|ORU^R01^")).collect();
    check_share("reports", reports.len(), 4000, 380..=420);
    assert!(reports.iter().all(|m| m.matches("\rOBX|").count() == 5));
    let mean = messages.iter().map(String::len).sum::<usize>() / 4000;
    assert!((1024..2048).contains(&mean), "{mean} bytes");
    assert!(bench_feed().profile_toml.starts_with("feed = \"bench\""));
}

#[test]
fn a_long_history_is_of_one_person_at_two_organisations() {
    let told = long_history(1, 40, 100);
    let persons: BTreeSet<u32> = told.iter().map(|(_, message)| message.person).collect();
    let feeds: BTreeSet<usize> = told.iter().map(|(feed, _)| *feed).collect();
    assert_eq!((persons.len(), feeds), (1, BTreeSet::from([RYJ_PAS, RYJ_LAB, RQM_PAS])));
    let results: usize = told.iter().map(|(_, m)| String::from_utf8_lossy(&m.bytes).matches("\rOBX|").count()).sum();
    assert!(results + told.len() >= 100, "{results} results in {} messages", told.len());
    assert!(told.is_sorted_by_key(|(_, message)| message.sent_us));
}

#[track_caller]
fn check_first(feed: usize, kind: &str, wanted: &Expect) {
    let population = Population::generate(10, 60);
    let message = population.messages(feed).find(|m| message_type(m).as_deref() == Some(kind)).unwrap();
    wanted.assert_eq(&String::from_utf8_lossy(&message.bytes).replace('\r', "\n"));
}

#[test]
fn each_feed_has_its_dialect() {
    check_first(
        RYJ_PAS,
        "ADT^A01",
        &expect![[r#"
        MSH|^~\&|PAS|RYJ|ROUTE|ROUTE|20250110125100||ADT^A01^ADT_A01|P000000009|P|2.4|9||||GBR|UNICODE UTF-8|EN||ITKv1.0
        EVN||20250110125100|||WEFTSYNTH^Clerk^Ward|20250110121300|RYJ01
        PID|1||1269246^^^RYJ||Kowalski^Tomasz^Wojciech^^Mr^^L||19950805|1|||Flat 9^92 Iffley Road^London^Hammersmith and Fulham^W6 6JW^GBR^H~Flat 9^92 Iffley Road^London^Hammersmith and Fulham^W6 6JW^GBR^PST||02079460034^PRN^PH~07700900238^PRS^CP||en|S||||||C||||||||N|N|NSTS03
        PD1|||Lampton Lodge Practice^^E85994|G9900132^Costa^L^^^Dr^^^GMP
        ROL|1|AD|PP^Primary care provider|G9900132^Costa^L^^^Dr^^^GMP
        NK1|1|Okonkwo^Faith^^^^^L|FND^Friend|Flat 9^92 Iffley Road^London^^W6 6JW^GBR^H|07700900738^PRS^CP||N^Next-of-kin
        PV1|1|I|ED^Bay 3^Bed 14^RYJ01^^N^St Mary's^^Emergency Department|21|||C9900108^Hargreaves^Paul^^^Mr^^^GMC|G9900132^Costa^L^^^Dr^^^GMP||180||||19|||C9900108^Hargreaves^Paul^^^Mr^^^GMC|NHS|V000000545^^^RYJ|||||||||||||||||||||||||20250110121300
        PV2|||^Iron deficiency anaemia, unspecified|||||20250110121300||||1||||||||||||||||||||||||||N
        DG1|1||D50.9^Iron deficiency anaemia, unspecified^I10|Iron deficiency anaemia, unspecified|20250110121300|W
        DG1|2||J45.9^Asthma, unspecified^I10|Asthma, unspecified|20250110121300|W
        ZU1|20250110121300|1|||||||180
        ZU8||1|Yes
    "#]],
    );
    check_first(
        RYJ_LAB,
        "ORU^R01",
        &expect![[r#"
        MSH|^~\&|WINPATH|RYJ|ROUTE|ROUTE|20241120204200||ORU^R01^ORU_R01|L000000001|P|2.5.1|1||||GBR|UNICODE UTF-8|EN
        PID|1||1467221^^^RYJ^MR~9994456067^^^NHS^NH||Wood^Anthony^Alexander^^Mr^^L||19520613|M|||Flat 12^167 Neasden Lane^London^^NW10 6BP
        PV1|1|N
        ORC|RE|P00003780^RYJ|L00003780^WINPATH||CM||||20241120191200
        OBR|1|P00003780^RYJ|L00003780^WINPATH|UE^Urea and electrolytes^WinPath^24326-1^Urea and electrolytes^LN|||20241120192200|||||||20241120194700|BLD^Blood|||||||20241120204200||CH|F
        OBX|1|NM|2951-2^Sodium^LN^NA^Sodium^WinPath||143|mmol/L^mmol/L^UCUM|133-146||||F|||20241120192200|RYJ03^St Mary's Pathology||||20241120200200||||St Mary's Pathology^^^^^ODS^XX^^^RYJ03
        OBX|2|NM|2823-3^Potassium^LN^K^Potassium^WinPath||3.8|mmol/L^mmol/L^UCUM|3.5-5.3||||F|||20241120192200|RYJ03^St Mary's Pathology||||20241120200200||||St Mary's Pathology^^^^^ODS^XX^^^RYJ03
        OBX|3|NM|22664-7^Urea^LN^UREA^Urea^WinPath||4.8|mmol/L^mmol/L^UCUM|2.5-7.8||||F|||20241120192200|RYJ03^St Mary's Pathology||||20241120200200||||St Mary's Pathology^^^^^ODS^XX^^^RYJ03
        OBX|4|NM|14682-9^Creatinine^LN^CREA^Creatinine^WinPath||66|umol/L^umol/L^UCUM|49-104||||F|||20241120192200|RYJ03^St Mary's Pathology||||20241120200200||||St Mary's Pathology^^^^^ODS^XX^^^RYJ03
        OBX|5|NM|GFR^eGFR^WinPath||78|mL/min/{1.73_m2}^mL/min/{1.73_m2}^UCUM|60-90||||F|||20241120192200|RYJ03^St Mary's Pathology||||20241120200200||||St Mary's Pathology^^^^^ODS^XX^^^RYJ03
    "#]],
    );
    check_first(
        RQM_PAS,
        "ADT^A02",
        &expect![[r#"
        MSH|^~\&|CERNER|RQM|RAPP|RFAC|20250403172300||ADT^A02|Q000000006|P|2.3|||AL|||ASCII
        EVN|A02|20250403172300||ADT_EVENT||20250403172100
        PID|1|2637514018^^^RQM MRN^MRN|2637514018^^^RQM MRN^MRN||PAPADOPOULOS^MARIA^^^MS^^CURRENT||19830731000000|F||C|Flat 2^72 Church Road^London^^NW10 3RQ^GBR^HOME||02079460006^HOME
        PD1|||LAMPTON LODGE PRACTICE^^E85994|G9900132^COSTA^L^^^DR^^^GMC
        NK1|1|RYAN^SIOBHAN|FRIEND||07700900542||NOK
        PV1|1|I|RENAL HDU^MainRoom^Bed 7^Chelsea^^BED^Main Building^3|28b||ED^MainRoom^Bed 28^Chelsea^^BED^Main Building^3|C9900104^Danso^Kwabena^^^Mr^^^DRNBR^PRSNL^^^ORGDR||C9900104^Danso^Kwabena^^^Mr^^^DRNBR^PRSNL^^^ORGDR|361|||||||||6000000097^^^^visitid||||||||||||||||||||||ARRIVED|||20250403092100
        DG1|1|I10|J18.9^Pneumonia, unspecified^ICD10||20250403092100|W
    "#]],
    );
    check_first(
        RK5_DIRTY,
        "ADT^A03",
        &expect![[r#"
        MSH|^~\&|Trak |RK5|WEFT||2025-01-26 09:00:00||ADT^A03|6|P|2.3.1
        EVN|A03|2025-01-26 09:00:00
        PID|||1028||Trivedi^Sanjay Amit^^^Mr||19900606|M|||100 Bath Road ^^Hounslow^^tw35ln||02079460014^^^someone14@example.org
        PV1||I|CCU ^^17||||^Hargreaves, Paul||||||||||||225|||||||||||||||||||||||||2025-01-21 15:42:00|2025-01-26 08:42:00
        DG1|1||R07.4|Chest pain, unspecified 
    "#]],
    );
}
