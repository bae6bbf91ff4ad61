//! What senders are told: by version, outcome, table and mode.

use bytes::Bytes;
use expect_test::{Expect, expect};
use weft_model::Verdict;
use weft_translate::{Outcome, Profile, refuse, translate};

use crate::samples;

/// 2024-05-01T10:30:05.250+01:00
const NOW_US: i64 = 1_714_555_805_250_000;
const ACCEPTED: Outcome = Outcome::Stored { verdict: Verdict::Accepted, stored: Verdict::Accepted };

fn stored(verdict: Verdict) -> Outcome {
    Outcome::Stored { verdict, stored: verdict }
}

fn header(version: &str, kind: &str) -> String {
    format!("MSH|^~\\&|PAS|RYJ|ROUTE|ROUTE|20250505232332||{kind}|R1|P|{version}\rEVN||20250505\rPID|1||1^^^RYJ\r")
}

fn reply(message: &str, profile: &Profile, outcome: Outcome) -> String {
    let reply = translate(Bytes::from(message.to_owned()), profile, 0).acknowledge(profile, outcome, NOW_US, "W1");
    String::from_utf8(reply).unwrap().replace('\r', "\n")
}

#[track_caller]
fn check(message: &str, profile: &Profile, outcome: Outcome, wanted: &Expect) {
    wanted.assert_eq(&reply(message, profile, outcome));
}

#[test]
fn accepted_in_each_version() {
    let profile = samples::profile("", "");
    for (version, wanted) in [
        (
            "2.2",
            expect![[r#"
            MSH|^~\&|ROUTE|ROUTE|PAS|RYJ|20240501103005.250+0100||ACK^A28|W1|P|2.2
            MSA|AA|R1
        "#]],
        ),
        (
            "2.3",
            expect![[r#"
            MSH|^~\&|ROUTE|ROUTE|PAS|RYJ|20240501103005.250+0100||ACK^A28|W1|P|2.3
            MSA|AA|R1
        "#]],
        ),
        (
            "2.3.1",
            expect![[r#"
            MSH|^~\&|ROUTE|ROUTE|PAS|RYJ|20240501103005.250+0100||ACK^A28^ACK|W1|P|2.3.1
            MSA|AA|R1
        "#]],
        ),
        (
            "2.4",
            expect![[r#"
            MSH|^~\&|ROUTE|ROUTE|PAS|RYJ|20240501103005.250+0100||ACK^A28^ACK|W1|P|2.4
            MSA|AA|R1
        "#]],
        ),
        (
            "2.5.1",
            expect![[r#"
            MSH|^~\&|ROUTE|ROUTE|PAS|RYJ|20240501103005.250+0100||ACK^A28^ACK|W1|P|2.5.1
            MSA|AA|R1
        "#]],
        ),
    ] {
        check(&header(version, "ADT^A28"), &profile, ACCEPTED, &wanted);
    }
}

#[test]
fn refused_in_each_form() {
    let profile = samples::profile("", "[accept]\nsending_applications = [\"LAB\"]");
    check(
        &header("2.3", "ADT^A28"),
        &profile,
        stored(Verdict::Quarantined),
        &expect![[r#"
        MSH|^~\&|ROUTE|ROUTE|PAS|RYJ|20240501103005.250+0100||ACK^A28|W1|P|2.3
        MSA|AR|R1|the sending application is not one that the feed accepts
        ERR|MSH^1^3^103&Table value not found&HL70357
    "#]],
    );
    check(
        &header("2.5", "ADT^A28"),
        &profile,
        stored(Verdict::Quarantined),
        &expect![[r#"
            MSH|^~\&|ROUTE|ROUTE|PAS|RYJ|20240501103005.250+0100||ACK^A28^ACK|W1|P|2.5
            MSA|AR|R1
            ERR||MSH^1^3|103^Table value not found^HL70357|E|wrong-sender|||the sending application is not one that the feed accepts
        "#]],
    );
    let profile = samples::profile("", "");
    check(
        &header("2.4", "SIU^S12"),
        &profile,
        stored(Verdict::Quarantined),
        &expect![[r#"
        MSH|^~\&|ROUTE|ROUTE|PAS|RYJ|20240501103005.250+0100||ACK^S12^ACK|W1|P|2.4
        MSA|AR|R1|the message type is not one that is translated
        ERR|MSH^1^9^200&Unsupported message type&HL70357
    "#]],
    );
    check(
        &header("2.5.1", "SIU^S12"),
        &profile,
        stored(Verdict::Quarantined),
        &expect![[r#"
            MSH|^~\&|ROUTE|ROUTE|PAS|RYJ|20240501103005.250+0100||ACK^S12^ACK|W1|P|2.5.1
            MSA|AR|R1
            ERR||MSH^1^9|200^Unsupported message type^HL70357|E|wrong-type|||the message type is not one that is translated
        "#]],
    );
    let nobody = header("2.5.1", "ADT^A28").replace("1^^^RYJ", "");
    check(
        &nobody,
        &profile,
        stored(Verdict::Quarantined),
        &expect![[r#"
            MSH|^~\&|ROUTE|ROUTE|PAS|RYJ|20240501103005.250+0100||ACK^A28^ACK|W1|P|2.5.1
            MSA|AE|R1
            ERR||PID^1^3|101^Required field missing^HL70357|E|no-patient-identifier|||nothing says which patient the message is about
        "#]],
    );
}

#[test]
fn every_other_outcome() {
    let profile = samples::profile("", "");
    let message = header("2.4", "ADT^A28");
    check(
        &message,
        &profile,
        Outcome::NotStored,
        &expect![[r#"
        MSH|^~\&|ROUTE|ROUTE|PAS|RYJ|20240501103005.250+0100||ACK^A28^ACK|W1|P|2.4
        MSA|AE|R1|the message could not be stored; send it again
        ERR|^^^207&Application internal error&HL70357
    "#]],
    );
    check(
        &message,
        &profile,
        Outcome::TooLarge,
        &expect![[r#"
        MSH|^~\&|ROUTE|ROUTE|PAS|RYJ|20240501103005.250+0100||ACK^A28^ACK|W1|P|2.4
        MSA|AR|R1|the message is larger than the feed allows
        ERR|^^^207&Application internal error&HL70357
    "#]],
    );
    check(
        &message,
        &profile,
        stored(Verdict::Conflict),
        &expect![[r#"
        MSH|^~\&|ROUTE|ROUTE|PAS|RYJ|20240501103005.250+0100||ACK^A28^ACK|W1|P|2.4
        MSA|AE|R1|another message with this control id was received before; this one is kept apart
        ERR|MSH^1^10^205&Duplicate key identifier&HL70357
    "#]],
    );
    let duplicate = |stored| Outcome::Stored { verdict: Verdict::Duplicate, stored };
    assert_eq!(reply(&message, &profile, duplicate(Verdict::Accepted)), reply(&message, &profile, ACCEPTED));
    let wrong = header("2.4", "SIU^S12");
    assert_eq!(
        reply(&wrong, &profile, duplicate(Verdict::Quarantined)),
        reply(&wrong, &profile, stored(Verdict::Quarantined))
    );
    // Quarantined under an older profile, and readable now: still told what was told then.
    check(
        &message,
        &profile,
        duplicate(Verdict::Quarantined),
        &expect![[r#"
            MSH|^~\&|ROUTE|ROUTE|PAS|RYJ|20240501103005.250+0100||ACK^A28^ACK|W1|P|2.4
            MSA|AE|R1|the message is kept, but cannot be used as it is
            ERR|^^^207&Application internal error&HL70357
        "#]],
    );
}

#[test]
fn a_listed_type_that_is_not_translated_is_kept_and_accepted() {
    let profile = samples::profile("", "[accept]\nmessage_types = [\"SIU^S12\"]");
    check(
        &header("2.4", "SIU^S12"),
        &profile,
        stored(Verdict::Quarantined),
        &expect![[r#"
        MSH|^~\&|ROUTE|ROUTE|PAS|RYJ|20240501103005.250+0100||ACK^S12^ACK|W1|P|2.4
        MSA|AA|R1
    "#]],
    );
}

#[test]
fn by_the_feeds_table() {
    let table = "[acknowledge]\nwrong_type = \"AE\"\nunreadable = \"AR\"\nconflict = \"AA\"\nunavailable = \"AR\"";
    let profile = samples::profile("", table);
    let code = |message: &str, outcome| {
        let reply = reply(message, &profile, outcome);
        reply.split("MSA|").nth(1).unwrap()[..2].to_owned()
    };
    assert_eq!(code(&header("2.4", "SIU^S12"), stored(Verdict::Quarantined)), "AE");
    assert_eq!(code("MSH|", stored(Verdict::Quarantined)), "AR");
    assert_eq!(code(&header("2.4", "ADT^A28"), stored(Verdict::Conflict)), "AA");
    assert_eq!(code(&header("2.4", "ADT^A28"), Outcome::NotStored), "AR");
}

#[test]
fn the_enhanced_mode_honours_what_was_asked_for() {
    let profile = samples::profile("", "[acknowledge]\nmode = \"enhanced\"");
    let code = |accept: &str, application: &str, outcome| {
        let message = header("2.4", "ADT^A28").replace("|2.4\r", &format!("|2.4|||{accept}|{application}\r"));
        let reply = reply(&message, &profile, outcome);
        reply.split("MSA|").nth(1).map(|rest| rest[..2].to_owned()).unwrap_or_default()
    };
    for (accept, application, when_good, when_bad) in [
        ("AL", "NE", "CA", "CE"),
        ("NE", "NE", "", ""),
        ("ER", "", "", "CE"),
        ("SU", "", "CA", ""),
        ("", "AL", "CA", "CE"),
        ("", "", "AA", "AE"),
    ] {
        assert_eq!(code(accept, application, ACCEPTED), when_good, "{accept} {application}");
        assert_eq!(code(accept, application, Outcome::NotStored), when_bad, "{accept} {application}");
    }
    let original = samples::profile("", "");
    let message = header("2.4", "ADT^A28").replace("|2.4\r", "|2.4|||NE|NE\r");
    assert!(reply(&message, &original, ACCEPTED).contains("MSA|AA|R1"));
}

#[test]
fn what_is_echoed_is_echoed_as_it_was_sent() {
    let profile = samples::profile("", "");
    let message = "MSH$%*@!$P%1$R!Y$$$20250505$$ADT%A28$a@S@b@@!c$T%x$2.5.1$$$$$$8859/1\rPID$1$$1\r";
    check(
        message,
        &profile,
        ACCEPTED,
        &expect![[r#"
        MSH$%*@!$$$P%1$R!Y$20240501103005.250+0100$$ACK%A28%ACK$W1$T%x$2.5.1$$$$$$8859/1
        MSA$AA$a@S@b@@!c
    "#]],
    );
    // Bytes of the sender's own character set.
    let raw = b"MSH|^~\\&|PAS|H\xf4pital|||20250505||ADT^A28|\xe91|P|2.4||||||8859/1\rPID|1||1\r";
    let reply = translate(Bytes::from_static(raw), &profile, 0).acknowledge(&profile, ACCEPTED, NOW_US, "W|1");
    assert_eq!(
        reply,
        b"MSH|^~\\&|||PAS|H\xf4pital|20240501103005.250+0100||ACK^A28^ACK|W\\F\\1|P|2.4||||||8859/1\rMSA|AA|\xe91\r"
    );
}

#[test]
fn a_frame_that_is_no_message() {
    let profile = samples::profile("", "");
    let text = |code| String::from_utf8(refuse(&profile, code, NOW_US, "W1")).unwrap().replace('\r', "\n");
    expect![[r#"
        MSH|^~\&|||||20240501103005.250+0100||ACK|W1|P|2.4
        MSA|AR||the message is larger than the feed allows
        ERR|^^^207&Application internal error&HL70357
    "#]]
    .assert_eq(&text("too-large"));
    expect![[r#"
        MSH|^~\&|||||20240501103005.250+0100||ACK|W1|P|2.4
        MSA|AR||the frame is not a message that can be read
        ERR|^^^100&Segment sequence error&HL70357
    "#]]
    .assert_eq(&text("unreadable"));
    check(
        "",
        &profile,
        stored(Verdict::Quarantined),
        &expect![[r#"
        MSH|^~\&|||||20240501103005.250+0100||ACK|W1|P|2.4
        MSA|AE||the message is empty
        ERR|^^^100&Segment sequence error&HL70357
    "#]],
    );
    check(
        "PID|1||1\r",
        &profile,
        stored(Verdict::Quarantined),
        &expect![[r#"
        MSH|^~\&|||||20240501103005.250+0100||ACK|W1|P|2.4
        MSA|AE||the message does not begin with an MSH segment
        ERR|^^^100&Segment sequence error&HL70357
    "#]],
    );
}
