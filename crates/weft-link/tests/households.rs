//! Households where no record states a sex, an NHS number or a British postcode: an address and a family name are a family's.

#![allow(clippy::unwrap_used, reason = "all of it is a test")]

use weft_link::{
    Features, Index, Model, Options, Setting, Waiting,
    labelled::{Draw, Record, Truth, run},
};
use weft_model::{
    Pseudonym,
    proto::event::{Address, Demographics, IdentifierKind, Name, Precision, Telecom, When},
};
use weft_synth::Linkage;

const DEMO: Options = Options { test_numbers_are_evidence: true };

/// What registers say of generated people, without what tells registered people.
fn unregistered(seed: u64, people: usize) -> Vec<Record> {
    let strip = |mut said: Demographics| {
        said.sex.clear();
        said.identifiers.retain(|identifier| identifier.kind() != IdentifierKind::NhsNumber);
        said.telecoms.clear();
        for address in &mut said.addresses {
            // A code and a town of some thousands, as other countries have them.
            let district = address.postcode.bytes().fold(0, |sum, byte| (sum * 31 + u32::from(byte)) % 800);
            address.postcode = format!("{}", 2000 + district);
            address.city = format!("Town{}", char::from(b'a' + u8::try_from(district % 26).unwrap_or(0)));
        }
        said
    };
    let told = Linkage::generate(seed, people);
    let record = |told: weft_synth::LinkageRecord| {
        let name = format!("{}-{}", told.person, told.turn);
        Record::new(name, told.person.to_string(), strip(told.demographics))
    };
    told.records().map(record).collect()
}

#[test]
fn relatives_are_not_one_person() {
    for seed in [4, 5, 6] {
        let records = unregistered(seed, 6000);
        let run = run(&records, &DEMO, &Model::shipped().unwrap());
        let figures = run.figures(&Truth::from_labels(&records).unwrap());
        let shown = format!("{figures:?} {:.5} {:.5}", figures.precision(), figures.recall());
        assert!(run.index.setting().households, "{shown}");
        assert!(figures.mixed_persons <= 8 && figures.precision() >= 0.995, "{shown}");
        assert!(figures.recall() >= 0.97, "{shown}");
    }
}

/// `family|given|born|house and street|town|telephone or mail address`
fn said(line: &str) -> Features {
    let part = |n: usize| line.split('|').nth(n).unwrap().to_owned();
    let day = part(2).parse::<i64>().ok();
    let birth =
        day.map(|day| When { start_us: day * 86_400_000_000, precision: Precision::Day.into(), ..When::default() });
    let demographics = Demographics {
        names: vec![Name { family: part(0), given: vec![part(1)], ..Name::default() }],
        birth,
        addresses: vec![Address { lines: vec![part(3)], city: part(4), ..Address::default() }],
        telecoms: line
            .split('|')
            .skip(5)
            .map(|value| Telecom { value: value.to_owned(), ..Telecom::default() })
            .collect(),
        ..Demographics::default()
    };
    Features::from_demographics(&demographics, &DEMO)
}

fn setting(lines: &[&str]) -> Setting {
    let mut index = Index::new();
    for (n, line) in (0u8..).zip(lines) {
        index.put(Pseudonym([n; 16]), said(line));
    }
    index.setting()
}

const ONE_EACH: [&str; 8] = [
    "Neumann|Michaela|4000|8 Stanley Street|Winston Hills",
    "Neumann|Michafla|4000|8 Stanley Street|Winston Hills",
    "Painter|Courtney|5000|12 Pinkerton Circuit|Richlands",
    "Painter|Courtney||12 Pinkerton Circut|Richlands",
    "Green|Mitchell|6000|7 Wallaby Place|Cleveland",
    "Green|Mitchel|6000|7 Wallaby Place|Cleveland",
    "Mason|Ajay|7000|14 Derrington Crescent|Avalon",
    "Mason|Ajay|7001|14 Derrington Crescent|Avalon",
];

#[test]
fn a_place_has_households_where_two_share_a_home_more_often_than_one_is_told_twice() {
    let check = |lines: &[&str], households: bool| {
        assert_eq!(setting(lines).households, households, "{lines:?}");
    };
    check(&ONE_EACH, false);
    // Where hardly anybody tells a home nothing is known.
    check(&[&ONE_EACH[..2], &["A|B|1||"; 3]].concat(), true);
    // Once it is a slip, twice among so few it is the rule.
    let two = ["Reid|Emma|1|3 Elm Road|Avalon", "Reid|Noah|9000|3 Elm Road|Avalon"];
    check(&[&ONE_EACH[..], &two].concat(), false);
    let others = ["Webb|Anna||9 High Street|Avalon", "Webb|Peter||9 High Street|Avalon"];
    check(&[&ONE_EACH[..], &two, &others].concat(), true);
    // Neighbours and namesakes elsewhere are no household.
    check(
        &[&ONE_EACH[..], &["Green|Anna|100|7 Wattle Grove|Cleveland"], &["Wood|Anna|100|7 Wallaby Place|Cleveland"]]
            .concat(),
        false,
    );
}

#[test]
fn where_no_house_is_told_a_telephone_or_a_mail_address_is_a_home() {
    for contact in ["07700 900118", "green@example.org"] {
        let lines = |said: &[&str]| said.iter().map(|line| format!("{line}|{contact}")).collect::<Vec<String>>();
        let check = |said: &[&str], households: bool| {
            let lines = lines(said);
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert_eq!(setting(&lines).households, households, "{lines:?}");
        };
        let one = ["Green|Mitchell|6000||Leeds", "Green|Mitchel|6000||"];
        check(&one, false);
        // A child; a twin; another family with a number that was typed wrong.
        check(&[&one[..], &["Green|Anna|15000||"]].concat(), true);
        check(&["Green|Anna|6000||", "Green|Peter|6000||"], true);
        check(&[&one[..], &["Novak|Anna|15000||"]].concat(), false);
        // Half of them or more have to tell something.
        assert!(setting(&["A|B|1||", "C|D|2||", "E|F|3||", &lines(&one)[0]]).households);
    }
}

#[test]
fn twins_who_are_reached_alike_are_two_however_few_are_known() {
    let mut index = Index::new();
    let people = ["Green|Anna|6000|||07700 900118", "Green|Peter|6000|||07700 900118"];
    for (n, line) in (0u8..).zip(people) {
        let decision = index.hear(Waiting::new(Pseudonym([n; 16]), said(line)), &Model::shipped().unwrap());
        index.apply(Pseudonym([n; 16]), &decision);
    }
    assert_eq!(index.persons(), 2);
}

#[test]
fn what_is_known_of_a_place_does_not_depend_on_the_order_of_arrival() {
    let records = unregistered(7, 300);
    let mut draw = Draw::new(1);
    let mut order: Vec<usize> = (0..records.len()).collect();
    let mut settings = Vec::new();
    for _ in 0..4 {
        let mut index = Index::new();
        for n in &order {
            let record = records.get(*n).unwrap();
            // What was said first is taken back.
            index.put(record.pseudonym(), said("Neumann|Michaela|4000|8 Stanley Street|Winston Hills"));
            index.put(record.pseudonym(), Features::from_demographics(&record.demographics, &DEMO));
        }
        settings.push((index.setting(), format!("{:?}", index)));
        draw.shuffle(&mut order);
    }
    assert!(settings.windows(2).all(|pair| pair.first() == pair.last()), "{settings:?}");
}
