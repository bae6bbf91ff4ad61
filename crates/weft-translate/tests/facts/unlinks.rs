//! Unlinking (A37) and moving (A43), and the ways in which they go wrong.

use expect_test::{Expect, expect};

use crate::common::{profile, short, told_by};

fn check(trigger: &str, segments: &str, wanted: Expect) {
    let head = format!("MSH|^~\\&|PAS|RYJ|||20240501103100||ADT^{trigger}^ADT_{trigger}|C1|P|2.4\nEVN||20240501103000");
    let rules = profile("[identifiers]\nlocal = { authority = \"RYJ\" }\n");
    let mut message = told_by(&rules, &format!("{head}\n{segments}")).message;
    message.facts.retain(|fact| fact.resource_type != "Patient");
    wanted.assert_eq(&short(&message));
}

#[test]
fn two_records_that_are_not_one_patient() {
    check(
        "A37",
        "PID|||ONE^^^RYJ^MR\nPV1||I|6B||||||||||||||||V1\nPID|||TWO^^^RYJ^MR\nPV1||I|7B",
        expect![[r#"
        record RYJ RYJ ONE
        unlinked RYJ TWO <PID[2]-3>
    "#]],
    );
    check(
        "A37",
        "PID|||ONE^^^RYJ^MR",
        expect![[r#"
        record RYJ RYJ ONE
        ERROR unlink-without-two-patients PID[2]
        quarantined: unlink-without-two-patients
    "#]],
    );
    check(
        "A37",
        "PID|||ONE^^^RYJ^MR\nPID|||TWO^^^RYJ^MR\nPID|||THREE^^^RYJ^MR",
        expect![[r#"
        record RYJ RYJ ONE
        ERROR unlink-without-two-patients PID[3]
        quarantined: unlink-without-two-patients
    "#]],
    );
    check(
        "A37",
        "PID|||ONE^^^RYJ^MR\nPID|||",
        expect![[r#"
        record RYJ RYJ ONE
        ERROR unlink-without-two-patients PID[2]
        quarantined: unlink-without-two-patients
    "#]],
    );
    check(
        "A37",
        "PID|||ONE^^^RYJ^MR\nPID|||ONE^^^RYJ^MR",
        expect![[r#"
        record RYJ RYJ ONE
        WARNING unlink-circular PID[2]-3
    "#]],
    );
}

#[test]
fn a_record_that_is_another_one_s_patient() {
    check(
        "A43",
        "PID|||TO^^^RYJ^MR\nMRG|MOVED^^^RYJ^MR",
        expect![[r#"
        record RYJ RYJ TO
        moved RYJ MOVED <MRG-1>
    "#]],
    );
    // The standard's example has the moved one in PID-3, too.
    check(
        "A43",
        "PID|||MOVED^^^RYJ^MR~TO^^^RYJ^MR\nMRG|MOVED^^^RYJ^MR",
        expect![[r#"
        record RYJ RYJ TO
        moved RYJ MOVED <MRG-1>
    "#]],
    );
    check(
        "A43",
        "PID|||TO^^^RYJ^MR\nMRG|TO^^^RYJ^MR",
        expect![[r#"
        record RYJ RYJ TO
        WARNING move-circular MRG-1
    "#]],
    );
    check(
        "A43",
        "PID|||TO^^^RYJ^MR",
        expect![[r#"
        record RYJ RYJ TO
        ERROR move-without-mrg MRG-1
        quarantined: move-without-mrg
    "#]],
    );
}
