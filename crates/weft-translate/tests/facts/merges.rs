//! Merges, and the ways in which they go wrong.

use expect_test::{Expect, expect};

use crate::common::{profile, short, told_by};

fn check(segments: &str, wanted: Expect) {
    let text = format!("MSH|^~\\&|PAS|RYJ|||20240501103100||ADT^A40^ADT_A39|C1|P|2.4\nEVN||20240501103000\n{segments}");
    let mut message = told_by(&profile("[identifiers]\nlocal = { authority = \"RYJ\" }\n"), &text).message;
    message.facts.retain(|fact| fact.resource_type != "Patient");
    let identifiers = message.demographics.as_ref().map(|d| d.identifiers.len()).unwrap_or_default();
    wanted.assert_eq(&format!("{}{identifiers} other identifiers\n", short(&message)));
}

#[test]
fn merges() {
    check(
        "PID|||NEW^^^RYJ^MR~9990000018^^^NHS\nMRG|OLD^^^RYJ^MR~9990000018^^^NHS",
        expect![[r#"
        record RYJ RYJ NEW
        merge RYJ OLD <MRG-1>
        1 other identifiers
    "#]],
    );
    // The authority left out; PV1 after MRG.
    check(
        "PID|||NEW^^^RYJ^MR\nMRG|OLD\nPV1||I|6B||||||||||||||||V1",
        expect![[r#"
        record RYJ RYJ NEW
        merge RYJ OLD <MRG-1>
        INFORMATION identifier-without-authority MRG-1
        0 other identifiers
    "#]],
    );
    // Into itself.
    check(
        "PID|||NEW^^^RYJ^MR\nMRG|NEW^^^RYJ^MR",
        expect![[r#"
        record RYJ RYJ NEW
        WARNING merge-circular MRG-1
        0 other identifiers
    "#]],
    );
    check(
        "PID|||NEW^^^RYJ^MR\nMRG|NEW",
        expect![[r#"
        record RYJ RYJ NEW
        INFORMATION identifier-without-authority MRG-1
        WARNING merge-circular MRG-1
        0 other identifiers
    "#]],
    );
    // Both in PID-3, in either order.
    check(
        "PID|||NEW^^^RYJ^MR~OLD^^^RYJ^MR\nMRG|OLD^^^RYJ^MR",
        expect![[r#"
        record RYJ RYJ NEW
        merge RYJ OLD <MRG-1>
        INFORMATION merge-both-in-pid3 PID-3
        0 other identifiers
    "#]],
    );
    check(
        "PID|||OLD^^^RYJ^MR~NEW^^^RYJ^MR\nMRG|OLD^^^RYJ^MR",
        expect![[r#"
        record RYJ RYJ NEW
        merge RYJ OLD <MRG-1>
        INFORMATION merge-both-in-pid3 PID-3
        0 other identifiers
    "#]],
    );
    // Without a record to retire.
    check(
        "PID|||NEW^^^RYJ^MR",
        expect![[r#"
        record RYJ RYJ NEW
        ERROR merge-without-mrg MRG-1
        quarantined: merge-without-mrg
        0 other identifiers
    "#]],
    );
    check(
        "PID|||NEW^^^RYJ^MR\nMRG|\"\"",
        expect![[r#"
        record RYJ RYJ NEW
        ERROR merge-without-mrg MRG-1
        quarantined: merge-without-mrg
        0 other identifiers
    "#]],
    );
    check(
        "PID|||NEW^^^RYJ^MR\nMRG|",
        expect![[r#"
        record RYJ RYJ NEW
        ERROR merge-without-mrg MRG-1
        quarantined: merge-without-mrg
        0 other identifiers
    "#]],
    );
    // More than one.
    check(
        "PID|||NEW^^^RYJ^MR\nMRG|OLD^^^RYJ^MR\nMRG|OLDER^^^RYJ^MR",
        expect![[r#"
        record RYJ RYJ NEW
        ERROR merge-several MRG[2]
        quarantined: merge-several
        0 other identifiers
    "#]],
    );
    check(
        "PID|||NEW^^^RYJ^MR\nMRG|OLD^^^RYJ^MR\nPID|||C^^^RYJ^MR\nMRG|D^^^RYJ^MR",
        expect![[r#"
        record RYJ RYJ NEW
        ERROR merge-several MRG[2]
        quarantined: merge-several
        0 other identifiers
    "#]],
    );
}
