//! What holds for every input.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "all of it is a test")]

mod people;

use people::{DEMO, MODEL, features, record};
use proptest::{collection::vec, prelude::*, sample::select};
use weft_link::{Candidate, Features, Index, LinkMethod, Setting, decide, first_person};
use weft_model::{
    PersonId,
    proto::event::{Address, Demographics, Identifier, IdentifierKind, Name, When},
};

/// People out of few parts, so that many agree in something.
fn line() -> impl Strategy<Value = String> {
    let numbers = select(vec!["", "9990000018", "9990000026", "9999999999", "0000000000", "12"]);
    let families = select(vec!["", "Li", "Okafor", "Bianchi", "Unknown"]);
    let givens = select(vec!["", "Ann", "Bea", "A", "Baby", "Ann Mary"]);
    let births = select(vec!["", "19800217", "19800218", "19000101", "1980", "20010911"]);
    let sexes = select(vec!["", "male", "female"]);
    let postcodes = select(vec!["", "W2 1NY", "SW6 1AA", "ZZ99 3VZ"]);
    let statuses = select(vec!["", "01", "05"]);
    (numbers, families, givens, births, sexes, postcodes, statuses)
        .prop_map(|(n, f, g, b, s, p, t)| format!("{n}|{f}|{g}|{b}|{s}|{p}|{t}"))
}

proptest! {
    #[test]
    fn candidates_in_any_order_make_one_decision(
        lines in vec(line(), 1..8),
        persons in vec(0u8..4, 8),
        current in proptest::option::of(0u8..4),
        order in Just((1..8usize).collect::<Vec<_>>()).prop_shuffle(),
        records in 0usize..5_000_000,
        households in any::<bool>(),
        births in any::<bool>(),
    ) {
        let all: Vec<Features> = lines.iter().map(|l| features(l)).collect();
        let candidate = |n: usize| {
            let person = first_person(record(persons[n]));
            all.get(n).map(|features| Candidate::new(record(n as u8), person, features))
        };
        let sorted: Vec<_> = (1..8).filter_map(candidate).collect();
        let shuffled: Vec<_> = order.into_iter().filter_map(candidate).collect();
        let current = current.map(|n| first_person(record(n)));
        let setting = Setting { records, households, births };
        let one = decide(record(0), &all[0], current, &sorted, setting, &MODEL);
        let other = decide(record(0), &all[0], current, &shuffled, setting, &MODEL);
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(one.score, one.evidence.iter().map(|row| i64::from(row.weight)).sum::<i64>());
        prop_assert_eq!(one.score >= MODEL.threshold, one.method != LinkMethod::NewPerson);
    }

    #[test]
    fn a_filler_number_is_never_why(digit in 0u8..10, one in line(), other in line()) {
        let number = digit.to_string().repeat(10);
        let with = |line: &str| features(&format!("{number}|{}", line.split_once('|').unwrap().1));
        let (one, other) = (with(&one), with(&other));
        let held = Candidate::new(record(1), PersonId([1; 16]), &one);
        let decision = decide(record(2), &other, None, &[held], Setting { records: 0, households: false, births: true }, &MODEL);
        prop_assert_ne!(decision.method, LinkMethod::NhsNumberCrossCheck);
    }

    #[test]
    fn no_text_panics(
        texts in vec(any::<String>(), 8),
        start_us in any::<i64>(), offset_s in any::<i32>(), precision in any::<i32>(),
    ) {
        let identifier = Identifier {
            kind: IdentifierKind::NhsNumber.into(),
            value: texts[0].clone(),
            status: texts[1].clone(),
            ..Identifier::default()
        };
        let name = Name { r#use: texts[2].clone(), family: texts[3].clone(), given: texts[4..6].to_vec(), ..Name::default() };
        let said = Demographics {
            identifiers: vec![identifier],
            names: vec![name.clone(), Name { family: texts[6].clone(), ..name }],
            birth: Some(When { start_us, offset_s, precision, ..When::default() }),
            sex: texts[6].clone(),
            addresses: vec![Address { postcode: texts[7].clone(), ..Address::default() }],
            ..Demographics::default()
        };
        let features = Features::from_demographics(&said, &DEMO);
        let mut index = Index::new();
        index.put(record(1), features.clone());
        index.link(record(1), first_person(record(1)));
        let decision = decide(record(2), &features, None, &index.candidates(&features), index.setting(), &MODEL);
        index.link(record(2), decision.person);
    }

    /// Links, merges and changes in any order leave an index that finds what one built afresh finds.
    #[test]
    fn an_index_finds_what_it_holds(lines in vec((0u8..6, line(), 0u8..6, any::<bool>()), 1..40)) {
        let mut index = Index::new();
        let mut last = vec![None; 6];
        for (n, line, person, merge) in &lines {
            index.put(record(*n), features(line));
            last[*n as usize] = Some(line.clone());
            if *merge {
                index.merge(record(*n), record(*person));
            } else {
                index.link(record(*n), first_person(record(*person)));
            }
        }
        let mut fresh = Index::new();
        for (n, line) in (0u8..).zip(&last) {
            if let Some(line) = line {
                fresh.put(record(n), features(line));
            }
            if let Some(person) = index.person_of(record(n)) {
                fresh.link(record(n), person);
            }
            prop_assert!(index.survivor_of(record(n)).is_none_or(|s| index.person_of(s) == index.person_of(record(n))));
        }
        for (_, line, ..) in &lines {
            let found = |index: &Index| {
                let mut all: Vec<_> =
                    index.candidates(&features(line)).iter().map(|c| (c.record, c.person)).collect();
                all.sort();
                all
            };
            prop_assert_eq!(found(&index), found(&fresh));
        }
        prop_assert_eq!(index.persons(), fresh.persons());
    }
}
