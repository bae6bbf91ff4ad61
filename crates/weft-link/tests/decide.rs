//! Two people meet: are they one?

mod people;

use expect_test::{Expect, expect};
use people::{DEMO, demographics, features, record};
use weft_link::{Decision, Features, Index, LinkMethod, Model, Options, Outcome, decide, first_person};
use weft_model::{PersonId, proto::event::Name};

/// A node in small: every record is decided on and linked in the order told.
struct Linker {
    index: Index,
    options: Options,
}

impl Linker {
    fn new() -> Self {
        Self { index: Index::new(), options: DEMO }
    }

    fn hear(&mut self, n: u8, line: &str) -> Decision {
        self.hear_features(n, Features::from_demographics(&demographics(line), &self.options))
    }

    fn hear_features(&mut self, n: u8, features: Features) -> Decision {
        self.index.put(record(n), features.clone());
        let current = self.index.person_of(record(n));
        let decision = decide(record(n), &features, current, &self.index.candidates(&features), &Model::RULES);
        assert_eq!(decision.score, decision.evidence.iter().map(|row| i64::from(row.weight)).sum::<i64>());
        self.index.link(record(n), decision.person);
        decision
    }
}

fn person(n: u8) -> PersonId {
    first_person(record(n))
}

const NUMBER: LinkMethod = LinkMethod::NhsNumberCrossCheck;
const EXACT: LinkMethod = LinkMethod::ExactDemographics;
const NEW: LinkMethod = LinkMethod::NewPerson;

/// Two records, told one after the other: how the second is linked, and what should be reviewed.
#[track_caller]
fn check(first: &str, second: &str, method: LinkMethod, review: &[&str]) {
    for (one, other) in [(first, second), (second, first)] {
        let mut linker = Linker::new();
        assert_eq!(linker.hear(1, one).method, NEW);
        let decision = linker.hear(2, other);
        assert_eq!((decision.method, decision.review.as_slice()), (method, review), "{one} / {other}");
        assert_eq!(decision.person, if method == NEW { person(2) } else { person(1) });
        assert_eq!(decision.score >= Model::RULES.threshold, method != NEW, "{one} / {other}");
    }
}

const ANN: &str = "9990000018|Okafor|Ann Mary|19800217|female|W2 1NY";

#[test]
fn an_nhs_number_links_where_the_cross_check_passes() {
    check(ANN, ANN, NUMBER, &[]);
    check(ANN, "999 000 0018|OKAFOR|ann|19800217|female|W2 1NY", NUMBER, &[]);
    check(ANN, "9990000018|Okafor|Ann|19800217||", NUMBER, &[]);
    check(ANN, "9990000018|Okafor|A|19800217|female|NW10 2AB", NUMBER, &[]);
    check(ANN, "9990000018|Okaforr|Ann|19800217|female|NW10 2AB", NUMBER, &[]);
    // Day and month the other way round, swapped digits, two parts of three.
    check("9990000018|Okafor|Ann|19800203|female|", "9990000018|Okafor|Ann|19800302|female|", NUMBER, &[]);
    check("9990000018|Okafor|Ann|19800121|female|", "9990000018|Okafor|Ann|19800112|female|", NUMBER, &[]);
    check(ANN, "9990000018|Okafor|Ann|19080217|female|W2 1NY", NUMBER, &[]);
    check(ANN, "9990000018|Okafor|Ann|19810217|female|W2 1NY", NUMBER, &[]);
    check(ANN, "9990000018|Okafor|Ann|198002|female|W2 1NY", NUMBER, &[]);
    // A name is missing: the outcode stands in.
    check(ANN, "9990000018|Okafor||19800217|female|W2 9ZZ", NUMBER, &[]);
    check(ANN, "9990000018|Okafor|Baby|19800217|female|W2 9ZZ", NUMBER, &[]);
    // A changed family name, with everything else that tells people apart.
    check(ANN, "9990000018|Bianchi|Ann|19800217|female|SW6 1AA", NUMBER, &[]);
    check(ANN, "9990000018|Ann|Okafor|19800217|female|SW6 1AA", NUMBER, &[]);
    // A number may be reissued or a sex corrected: neither says that it is somebody else.
    check(ANN, "9990000018|Okafor|Ann|19800217|male|W2 1NY", NUMBER, &[]);
}

#[test]
fn an_nhs_number_does_not_link_people_who_look_different() {
    let disagree = ["nhs-number-demographics-disagree"];
    check(ANN, "9990000018|Bianchi|Ben|19510630|male|SW6 1AA", NEW, &disagree);
    check(ANN, "9990000018|Okafor|Ann|19510630|female|W2 1NY", NEW, &disagree);
    // The twin, with the wrong number.
    check(ANN, "9990000018|Okafor|Bea|19800217|female|W2 1NY", NEW, &disagree);
    // The sister born three years later, on the same day: an initial is not enough.
    check(ANN, "9990000018|Okafor|Amara|19830217|female|W2 1NY", NEW, &["nhs-number-unchecked"]);
    check(ANN, "9990000018|||||", NEW, &["nhs-number-unchecked"]);
    check(ANN, "9990000018|Okafor||19800217|female|NW10 2AB", NEW, &["nhs-number-unchecked"]);
    check(ANN, "9990000018|Okafor|Ann|19000101|female|W2 1NY", NEW, &["nhs-number-unchecked"]);
}

#[test]
fn a_number_that_proves_nothing_never_links() {
    for digit in 0..=9 {
        let number = digit.to_string().repeat(10);
        check(&format!("{number}|Li|Wei|19700101||"), &format!("{number}|Li|Wei|19700101||"), NEW, &[]);
    }
    for number in ["9876543210", "9990000017", "1234567890", "999000001", "ABC", "0101010101", "3200000008"] {
        check(&format!("{number}|Li|Wei|19700101||"), &format!("{number}|Li|Wei|19700101||"), NEW, &[]);
    }
    // The source itself doubts it.
    for status in ["04", "05", "07", "08", "NSTS05", "5"] {
        check("9990000018|Li|Wei|19700101||", &format!("9990000018|Li|Wei|19700101|||{status}"), NEW, &[]);
    }
    for status in ["", "01", "02", "03", "06", "NSTS01"] {
        check("9990000018|Li|Wei|19700101||", &format!("9990000018|Li|Wei|19700101|||{status}"), NUMBER, &[]);
    }
}

#[test]
fn test_numbers_are_evidence_in_demonstrations_only() {
    let mut linker = Linker { index: Index::new(), options: Options::default() };
    linker.hear(1, "9990000018|Li|Wei|19700101||");
    assert_eq!(linker.hear(2, "9990000018|Li|Wei|19700101||").method, NEW);
    linker.hear(3, "4010232137|Li|Wei|19700101||");
    assert_eq!(linker.hear(4, "4010232137|Li|Wei|19700101||").person, person(3));
}

#[test]
fn without_a_number_everything_must_agree() {
    let sam = "|O'Neill|Sam|20010911|male|HA0 1AA";
    check(sam, "|ONEILL|Sam|20010911|male|ha01aa", EXACT, &[]);
    check(sam, "9990000018|O’Neill|Sam|20010911|male|HA0 1AA", EXACT, &[]);
    check(sam, "|O'Neill|Sam|20010912|male|HA0 1AA", NEW, &[]);
    check(sam, "|O'Neill|Sam|19700911|male|HA0 1AA", NEW, &[]);
    check(sam, "|O'Neill|Tom|20010911|male|HA0 1AA", NEW, &[]);
    check(sam, "|O'Neill|Samuel|20010911|male|HA0 1AA", NEW, &[]);
    check(sam, "|O'Neil|Sam|20010911|male|HA0 1AA", NEW, &[]);
    check(sam, "|O'Neill|Sam|20010911|female|HA0 1AA", NEW, &[]);
    check(sam, "|O'Neill|Sam|20010911|unknown|HA0 1AA", NEW, &[]);
    check(sam, "|O'Neill|Sam|20010911|male|HA0 1AB", NEW, &[]);
    check(sam, "|O'Neill|Sam|20010911|male|", NEW, &[]);
    // Brothers who share a first name.
    check("|Ali|Mohammed Amin|20010911|male|UB1 1AA", "|Ali|Mohammed Bilal|20010911|male|UB1 1AA", NEW, &[]);
    check("|Ali|Mohammed Amin|20010911|male|UB1 1AA", "|Ali|Mohammed A|20010911|male|UB1 1AA", EXACT, &[]);
    // Fillers are not agreement.
    for filler in [
        "|Li|Baby|20010911|male|HA0 1AA",
        "|Li|Twin 1|20010911|male|HA0 1AA",
        "|Unknown|Sam|20010911|male|HA0 1AA",
        "|Li|Sam|19000101|male|HA0 1AA",
        "|Li|Sam|20010911|male|ZZ99 3VZ",
        "|Li|Sam|2001|male|HA0 1AA",
    ] {
        check(filler, filler, NEW, &[]);
    }
}

#[test]
fn different_numbers_keep_people_apart() {
    let (one, other) = ("9990000018|Li|Wei|19700301|male|W2 1NY", "9990000026|Li|Wei|19700301|male|W2 1NY");
    check(one, other, NEW, &["nhs-numbers-differ"]);

    // The number is on another record of the person.
    let mut linker = Linker::new();
    linker.hear(1, "9990000018|Li|Wei|19700301|male|SW6 1AA");
    linker.hear(2, one);
    linker.hear(3, "|Li|Wei|19700301|male|SW6 1AA");
    let decision = linker.hear(4, "9990000026|Li|Wei|19700301|male|SW6 1AA");
    assert_eq!((decision.person, decision.review.as_slice()), (person(4), ["nhs-numbers-differ"].as_slice()));
}

#[test]
fn a_pseudo_person_is_never_matched_by_likeness() {
    let line = "|Li|Wei|19700301|male|W2 1NY";
    let mut pseudo = demographics(line);
    pseudo.pseudo_person = Some(true);
    let pseudo = Features::from_demographics(&pseudo, &DEMO);
    let mut linker = Linker::new();
    linker.hear(1, line);
    assert_eq!(linker.hear_features(2, pseudo.clone()).person, person(2));
    assert_eq!(linker.hear_features(3, pseudo).person, person(3));
    assert_eq!(linker.hear(4, line).person, person(1));
}

#[test]
fn a_former_name_agrees_too() {
    let mut married = demographics("9990000018|Bianchi|Anita|19800217|female|W2 1NY");
    married.names.push(Name {
        r#use: "maiden".to_owned(),
        family: "Okafor".to_owned(),
        given: vec!["Ann".to_owned()],
        ..Name::default()
    });
    let mut linker = Linker::new();
    linker.hear(1, ANN);
    assert_eq!(linker.hear_features(2, Features::from_demographics(&married, &DEMO)).person, person(1));
}

#[test]
fn an_ambiguous_number_links_only_in_full_agreement() {
    let mut linker = Linker::new();
    let twin = "9990000018|Okafor|Bea|19800217|female|W2 1NY";
    linker.hear(1, ANN);
    linker.hear(2, twin);
    let again = linker.hear(3, "9990000018|Okafor|Bea|19800217|female|SW6 1AA");
    assert_eq!((again.person, again.method), (person(2), NUMBER));
    assert_eq!(again.review, ["nhs-number-ambiguous", "nhs-number-demographics-disagree"]);
    let near = linker.hear(4, "9990000018|Okafor|Ann|19800218|female|SW6 1AA");
    assert_eq!((near.person, near.method), (person(4), NEW));
}

#[test]
fn two_persons_who_agree_equally_are_left_to_people() {
    let mut linker = Linker::new();
    linker.hear(1, "9990000018|Li|Wei|||W2 1NY");
    linker.hear(2, "9990000018|Li|Wei|||W2 1NY");
    let third = linker.hear(3, "9990000018|Li|Wei|19700301||W2 1NY");
    assert_eq!((third.person, third.method), (person(3), NEW));

    // Heard again with birth dates, the first two become one with the third, or stay: never silently both.
    let (one, two) =
        (linker.hear(1, "9990000018|Li|Wei|19700301||W2 1NY"), linker.hear(2, "9990000018|Li|Wei|19700301||W2 1NY"));
    assert_eq!((one.outcome, one.person, one.previous), (Outcome::Linked, person(3), Some(person(1))));
    assert_eq!((two.outcome, two.person), (Outcome::Linked, person(3)));
}

#[test]
fn a_tie_goes_to_nobody() {
    let mut linker = Linker::new();
    let line = "|Li|Wei|19700301|male|W2 1NY";
    for (n, other) in [(1, "|Li|Wei|19700301|male|SW6 1AA"), (2, line)] {
        linker.hear(n, other);
    }
    linker.hear(1, line);
    assert_eq!(linker.index.person_of(record(1)), Some(person(1)), "a linked record stays");
    let decision = linker.hear(3, line);
    assert_eq!((decision.person, decision.review.as_slice()), (person(3), ["several-persons-agree"].as_slice()));
    assert_eq!(decision.runner_up, Some((person(1), 950)));
}

#[test]
fn a_linked_record_moves_only_for_a_number() {
    let mut linker = Linker::new();
    linker.hear(1, ANN);
    assert_eq!(linker.hear(2, "|Okafor|Ann|19800217|female|SW6 1AA").person, person(2));
    // It moves house, and agrees exactly with the first: it stays.
    assert_eq!(linker.hear(2, "|Okafor|Ann|19800217|female|W2 1NY").outcome, Outcome::Unchanged);
    // Its number becomes known: it moves.
    let moved = linker.hear(2, "9990000018|Okafor|Ann|19800217|female|SW6 1AA");
    assert_eq!((moved.outcome, moved.person, moved.previous), (Outcome::Linked, person(1), Some(person(2))));
    // From now on its person holds that number: whatever its demographics become, it stays.
    assert_eq!(linker.hear(2, "9990000018|Bianchi|Bob|19330505|male|UB1 1AA").outcome, Outcome::Unchanged);
    assert_eq!(linker.hear(2, "|Bianchi|Bob|19330505|male|UB1 1AA").outcome, Outcome::Unchanged);
}

#[test]
fn merged_records_follow_their_survivor() {
    let mut linker = Linker::new();
    linker.hear(1, ANN);
    linker.hear(2, "|Okafor|Ann|19800217|female|SW6 1AA");
    linker.hear(3, "|Okafor|Ann|19800217|female|UB1 1AA");
    let index = &mut linker.index;
    let persons = |index: &Index| [1, 2, 3, 4].map(|n| index.person_of(record(n)));
    index.merge(record(3), record(2));
    assert_eq!(persons(index), [Some(person(1)), Some(person(2)), Some(person(2)), None]);
    index.merge(record(2), record(1));
    assert_eq!(persons(index), [Some(person(1)), Some(person(1)), Some(person(1)), None]);
    assert_eq!(index.survivor_of(record(3)), Some(record(1)));
    assert_eq!(index.persons(), 1);
    // A follower is not moved by itself, but with its survivor.
    index.link(record(3), person(9));
    assert_eq!(index.person_of(record(3)), Some(person(1)));
    index.link(record(1), person(9));
    assert_eq!(persons(index), [Some(person(9)), Some(person(9)), Some(person(9)), None]);
    // The other way round: the tie turns, the person stays.
    index.merge(record(1), record(3));
    assert_eq!(index.survivor_of(record(1)), Some(record(3)));
    assert_eq!(persons(index), [Some(person(9)), Some(person(9)), Some(person(9)), None]);
    // A record never heard of, merged before its survivor is linked.
    index.merge(record(5), record(4));
    index.link(record(4), person(4));
    assert_eq!(index.person_of(record(5)), Some(person(4)));
    let mut members: Vec<_> = index.records_of(person(9)).collect();
    members.sort();
    assert_eq!(members, [record(1), record(2), record(3)]);
    assert_eq!((index.len(), index.persons()), (5, 2));
}

#[test]
fn a_key_that_everybody_shares_finds_nobody() {
    let mut index = Index::new();
    let shared = features(ANN);
    for n in 0..=weft_link::BLOCK_RECORDS_MAX {
        let n = u8::try_from(n).unwrap();
        index.put(record(n), shared.clone());
        index.link(record(n), person(n));
    }
    assert_eq!((index.candidates(&shared).len(), index.oversized_keys()), (0, 2));
    index.put(record(0), features("|Li|Wei|19700301|male|W2 1NY"));
    assert_eq!((index.candidates(&shared).len(), index.oversized_keys()), (64, 0));
}

#[track_caller]
fn check_told(lines: &[&str], wanted: &Expect) {
    let mut linker = Linker::new();
    let mut told = String::new();
    for (n, line) in (1..).zip(lines) {
        let decision = linker.hear(n, line);
        told += &format!("{:?} {:?} {}\n", decision.outcome, decision.method, decision.score);
        for row in &decision.evidence {
            told += &format!("  {:+6} {} {}\n", row.weight, row.field, row.level);
        }
    }
    wanted.assert_eq(&told);
}

#[test]
fn decisions_explain_themselves() {
    check_told(
        &[ANN, "9990000018|Okafor|Ann|19800217|female|SW6 1AA", "9990000026|Okafor|Ann|19800217|female|SW6 1AA"],
        &expect![[r#"
            Linked NewPerson 0
            Linked NhsNumberCrossCheck 1830
               +1000 nhs-number exact
                +400 birth-date exact
                +200 family-name exact
                +200 given-name exact
                 +50 sex exact
                 -20 postcode disagrees
            Linked NewPerson -9050
              -10000 nhs-number differs
                +400 birth-date exact
                +200 family-name exact
                +200 given-name exact
                 +50 sex exact
                +100 postcode exact
        "#]],
    );
}
