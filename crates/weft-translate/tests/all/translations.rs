//! Verdicts and reasons; leniency about form; character sets.

use bytes::Bytes;
use weft_model::{Verdict, proto::event::Severity};
use weft_translate::{Profile, Translation, hl7v2::Message, translate};

use crate::samples;

const PATIENT: &str = "PID|1||1^^^RYJ||OYELARAN^TEMITOPE\r";

fn header(fields: &str) -> String {
    format!("MSH|^~\\&|{fields}\r{PATIENT}")
}

fn translated(message: impl Into<Vec<u8>>, profile: &Profile) -> Translation {
    translate(Bytes::from(message.into()), profile, 3)
}

/// Checks the reason (empty: accepted) and where the first error is.
#[track_caller]
fn check_reason(message: &str, tables: &str, reason: &str, location: &str) {
    let translation = translated(message, &samples::profile("", tables));
    assert_eq!(translation.message.reason, reason, "{message}");
    let error = translation.message.issues.iter().find(|issue| issue.severity() == Severity::Error);
    assert_eq!(error.map_or("", |issue| issue.location.as_str()), location, "{message}");
    assert_eq!(translation.verdict == Verdict::Accepted, reason.is_empty());
    assert_eq!(translation.message.profile_revision, 3);
}

#[test]
fn reasons() {
    let good = header("PAS|RYJ|ROUTE|ROUTE|20250505||ADT^A28|R1|P|2.4");
    let lists = "[accept]\nsending_applications = [\"PAS\"]\nsending_facilities = [\"RYJ\"]\n\
        receiving_applications = [\"ROUTE\"]\nreceiving_facilities = [\"ROUTE\"]\n\
        message_types = [\"ADT^A28\", \"MDM^T02\", \"ADT^A34\"]\nversions = [\"2.3\", \"2.4\"]";
    let check = |from: &str, to: &str, reason: &str, location: &str| {
        assert!(good.contains(from));
        check_reason(&good.replace(from, to), lists, reason, location);
    };
    check("PAS", "PAS^x^ISO", "", "");
    check("PAS", "LAB", "wrong-sender", "MSH-3");
    check("|RYJ|ROUTE", "||ROUTE", "wrong-sender", "MSH-4");
    check("ROUTE|ROUTE", "PAS|ROUTE", "wrong-receiver", "MSH-5");
    check("ROUTE|ROUTE", "ROUTE|", "wrong-receiver", "MSH-6");
    check("ADT^A28", "ADT^A31", "wrong-type", "MSH-9");
    check("ADT^A28", "", "wrong-type", "MSH-9");
    check("ADT^A28", "MDM^T02", "type-not-translated", "MSH-9");
    check("ADT^A28", "ADT^A34^ADT_A30", "type-not-translated", "MSH-9");
    check("2.4", "2.5", "wrong-version", "MSH-12");
    check("|2.4", "", "wrong-version", "MSH-12");
    check("R1|P", "|P", "control-id-missing", "MSH-10");
    check("R1|P", "\"\"|P", "control-id-missing", "MSH-10");
    check("1^^^RYJ", "", "no-patient-identifier", "PID-3");
    check("PID|", "PIX|", "no-patient-identifier", "PID-3");
    check("^~\\&", "", "unreadable", "MSH-2");
    check("^~\\&", "^^^^", "unreadable", "MSH-2");
    check("^~\\&", "ABCD", "unreadable", "MSH-2");
    check("^~\\&", "^~", "", "");
    check("PID|", "MSH|", "several-messages", "MSH[2]");
    check("MSH|", "MSX|", "unreadable", "byte 0");
    check("MSH|", "MSH ", "unreadable", "byte 3");
    check("MSH|", "\u{feff}\r\nMS", "unreadable", "byte 5");
}

#[test]
fn a_feed_that_lists_nothing_accepts_what_is_translated() {
    let with = |kind: &str, version: &str| header(&format!("A|B|C|D|20250505||{kind}|R1|P|{version}"));
    for trigger in ["A01", "A02", "A03", "A04", "A05", "A08", "A11", "A12", "A13", "A28", "A31"] {
        let message = with(&format!("ADT^{trigger}"), "2.5.1");
        let translation = translated(message, &samples::profile("", ""));
        assert_ne!(translation.message.reason, "wrong-type", "{trigger}");
    }
    check_reason(&with("ADT^A34", "2.4"), "", "wrong-type", "MSH-9");
    check_reason(&with("ORM^O01", "2.4"), "", "wrong-type", "MSH-9");
    check_reason(&with("ADT^A28", "3.0"), "", "wrong-version", "MSH-12");
    check_reason(&with("ADT^A28", ""), "", "", "");
    check_reason(&with("ADT", "2.2").replace("PID", "EVN|A28\rPID"), "", "", "");
}

#[test]
fn whose_a_quarantined_message_is_is_known_unless_it_is_a_strangers() {
    let message = header("PAS|RYJ|C|D|20250505||ADT^A34|R1|P|2.4");
    let record = |tables: &str| translated(message.as_str(), &samples::profile("", tables)).message.record;
    assert!(record("").is_some());
    assert!(record("[accept]\nsending_applications = [\"LAB\"]").is_none());
}

#[test]
fn the_header_is_read() {
    let translation = translated(samples::wire(samples::ADMISSION), &samples::profile("", ""));
    assert_eq!(translation.control_id, "RYJ-0000481516");
    assert_eq!(translation.message_type, "ADT^A01");
    assert_eq!(translation.verdict, Verdict::Accepted, "{:?}", translation.message.issues);
    assert_eq!(translation.message.version, "2.4");
    assert_eq!(translation.message.sequence, Some(481_516));
    assert_eq!(translation.message.translator, "hl7v2/1");
    let sent = translation.message.sent.unwrap();
    assert_eq!(sent.to_fhir().unwrap(), "2025-05-05T23:23:32+01:00");
    assert_eq!(translation.message.issues, [], "nothing deviates");
}

#[test]
fn a_long_control_id_is_cut() {
    let long = "é".repeat(250);
    let message = header(&format!("PAS|RYJ|C|D|20250505||ADT^A28|{long}|P|2.4"));
    let translation = translated(message.as_str(), &samples::profile("", ""));
    assert_eq!(translation.control_id, "é".repeat(199));
    assert!(translation.message.issues.iter().any(|issue| issue.code == "control-id-long"));
}

/// Checks which segments are found and what is noted.
#[track_caller]
fn check_form(text: &str, segments: &[&str], issues: &[&str]) {
    let message = Message::index(text).unwrap();
    assert_eq!(message.segments().map(|segment| segment.raw()).collect::<Vec<_>>(), segments, "{text:?}");
    let noted: Vec<String> =
        message.issues().iter().map(|issue| format!("{} at {}", issue.code, issue.location)).collect();
    assert_eq!(noted, issues, "{text:?}");
}

#[test]
fn form_is_read_leniently() {
    let two = ["MSH|^~\\&|A", "PID|1"];
    check_form("MSH|^~\\&|A\rPID|1\r", &two, &[]);
    check_form("MSH|^~\\&|A\rPID|1", &two, &[]);
    check_form("MSH|^~\\&|A\nPID|1\n", &two, &["line-ends at byte 10"]);
    check_form("MSH|^~\\&|A\r\nPID|1\r\n", &two, &["line-ends at byte 10"]);
    check_form("MSH|^~\\&|A\rPID|1\n", &two, &["line-ends at byte 16"]);
    check_form("MSH|^~\\&|A\r\nPID|1\r", &two, &["line-ends at byte 10"]);
    check_form("MSH|^~\\&|A\r\rPID|1\r", &two, &["line-ends at byte 11"]);
    check_form("MSH|^~\\&|A\r\nPID|1\r \t\r\n", &two, &["line-ends at byte 10"]);
    check_form("\u{feff}MSH|^~\\&|A\rPID|1", &two, &["byte-order-mark at byte 0"]);
    check_form(" \r\n MSH|^~\\&|A\rPID|1", &two, &["leading-blank at byte 0"]);
    check_form("\u{feff}\nMSH|^~\\&|A\rPID|1", &two, &["byte-order-mark at byte 0", "leading-blank at byte 0"]);
    check_form("MSH|^~\\&|A\rPV1\rPID|1", &["MSH|^~\\&|A", "PV1", "PID|1"], &[]);
    check_form(
        "MSH|^~\\&|A\rNTE|1||one\ntwo | three\r\rfour\rPID|1",
        &["MSH|^~\\&|A", "NTE|1||one\ntwo | three\r\rfour", "PID|1"],
        &["line-ends at byte 21", "line-break-in-field at byte 22"],
    );
    check_form("MSH|^~|A\rPID|1", &["MSH|^~|A", "PID|1"], &["encoding-characters at MSH-2"]);
}

#[test]
fn a_line_break_in_a_field_stays_in_it() {
    let message = Message::index("MSH|^~\\&|A\rNTE|1||one&\ntwo&\r\rthree|x^y\rPID|1").unwrap();
    let note = message.first("NTE").unwrap();
    assert_eq!(note.field(3).whole_text().unwrap(), "one&\ntwo&\r\rthree");
    assert_eq!(note.field(3).repetitions().next().unwrap().subcomponent(1, 3), "three");
    assert_eq!(note.field(4).component(2).unwrap(), "y");
}

#[test]
fn places_and_access() {
    let text = "MSH|^~\\&|A\rOBX|1|TX|a^b&c\\T\\d^ e ||x~~ y \rOBX|2||\"\"| |\"\"^z|";
    let message = Message::index(text).unwrap();
    let msh = message.first("MSH").unwrap();
    assert_eq!((msh.field(1).raw(), msh.field(2).raw()), ("|", "^~\\&"));
    assert_eq!(msh.field(2).text().unwrap(), "^~\\&");
    let [first, second]: [_; 2] = message.all("OBX").collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((first.location(5), second.location(5)), ("OBX-5".to_owned(), "OBX[2]-5".to_owned()));
    assert_eq!((first.place(), second.place(), second.occurrence()), ("OBX".to_owned(), "OBX[2]".to_owned(), 2));
    let coded = first.field(3).repetitions().next().unwrap();
    assert_eq!([coded.component(1), coded.component(2), coded.component(3), coded.component(4)], ["a", "b", "e", ""]);
    assert_eq!((coded.subcomponent(2, 2), coded.component_whole(2)), ("c&d".into(), "b&c&d".into()));
    assert_eq!(coded.component_location(2), "OBX-3.2");
    let values: Vec<_> = first.field(5).repetitions().map(|r| (r.location(), r.component(1).into_owned())).collect();
    let wanted = [("OBX-5", "x"), ("OBX-5[2]", ""), ("OBX-5[3]", "y")];
    assert_eq!(values, wanted.map(|(place, value)| (place.to_owned(), value.to_owned())));
    assert!(second.field(3).is_null() && !second.field(3).is_absent() && second.field(3).text().is_none());
    assert!(second.field(4).is_absent() && second.field(99).is_absent() && !second.field(5).is_null());
    assert!(second.field(5).repetitions().next().unwrap().component_is_null(1));
    assert_eq!((second.field(5).text(), second.field(5).component(2).unwrap()), (None, "z".into()));
}

/// In the likeness of what a Welsh feed sends: times with dashes, a stray mark in the birth date, trailing blanks, line
/// feeds, a merge without an authority before the visit.
#[test]
fn a_dirty_dialect() {
    let message = "MSH|^~\\&|PIMS|7A1|ROUTE|ROUTE|2025-05-05 23:23:32||ADT^A40^ADT_A39|48|P|2.3.1 \n\
        EVN|Sub|2025-05-05 23:23:32\n\
        PID|||4010232137^06^^^NI~0048^^^103^PI||REES^MAIR^^^MRS||19760121+^D|F|||1 HIGH ST^^BARRY^^CF62 7AA||^^^mair@example.org\n\
        MRG|1234\n\
        PV1||\n";
    let translation = translated(message, &samples::profile("", ""));
    assert_eq!(translation.verdict, Verdict::Accepted, "{:?}", translation.message.issues);
    let message = translation.message;
    assert_eq!((message.version.as_str(), message.record.unwrap().value.as_str()), ("2.3.1", "0048"));
    assert_eq!(message.sent.unwrap().to_fhir().unwrap(), "2025-05-05T23:23:32+01:00");
    let person = message.demographics.unwrap();
    assert_eq!(person.birth.as_ref().unwrap().to_fhir().unwrap(), "1976-01-21");
    let number = person.nhs_number().unwrap();
    assert_eq!((number.value.as_str(), number.status.as_str()), ("4010232137", "06"));
    let retired = message.merge.unwrap().retired.unwrap();
    assert_eq!((retired.system.as_str(), retired.value.as_str()), ("103", "1234"));
    let mut noted: Vec<&str> = message.issues.iter().map(|issue| issue.location.as_str()).collect();
    noted.sort_unstable();
    assert_eq!(noted, ["EVN-2", "MSH-7", "PID-7", "byte 78"]);
}

#[test]
fn debug_tells_nothing_of_the_person() {
    let text = samples::wire(samples::ADMISSION);
    let message = Message::index(&text).unwrap();
    let name = message.first("PID").unwrap().field(5);
    let translation = translated(text.as_str(), &samples::profile("", ""));
    let told = format!("{message:?} {name:?} {:?} {translation:?}", name.repetitions().next().unwrap());
    assert_eq!(
        told,
        format!(
            "Message(10 segments, {} bytes) Field(PID-5) Repetition(PID-5) Translation(ADT^A01, Accepted, \"\")",
            text.len()
        )
    );
}

/// Checks the name that is read from the bytes, and where something is found wrong.
#[track_caller]
fn check_set(declared: &str, default: &str, name: &[u8], wanted: &str, wrong: Option<usize>) {
    let head = format!("MSH|^~\\&|PAS|RYJ|C|D|20250505||ADT^A28|R1|P|2.4||||||{declared}\rZID|");
    let message = [head.as_bytes(), name, b"\rPID|1||1\r"].concat();
    let profile = samples::profile(&format!("character_set = \"{default}\""), "");
    let translation = translated(message.clone(), &profile);
    let found = translation.message.issues.iter().find(|issue| issue.code == "character-set-wrong");
    let place = wrong.map(|at| format!("byte {}", head.len() + at));
    assert_eq!(found.map(|issue| issue.location.clone()), place, "{declared} {default}");
    assert_eq!(&translation.message.raw[..], message);
    // The control id stands for the name: it is what the public result shows of the text.
    let head = "MSH|^~\\&|PAS|RYJ|C|D|20250505||ADT^A28|";
    let tail = format!("|P|2.4||||||{declared}\rPID|1||1\r");
    let translation = translated([head.as_bytes(), name, tail.as_bytes()].concat(), &profile);
    assert_eq!(translation.control_id, wanted, "{declared} {default}");
}

#[test]
fn character_sets() {
    check_set("UNICODE UTF-8", "ascii", "Zoë".as_bytes(), "Zoë", None);
    check_set("", "unicode-utf-8", "Zoë".as_bytes(), "Zoë", None);
    check_set("8859/1", "unicode-utf-8", b"Zo\xeb", "Zoë", None);
    check_set("8859/1~UNICODE", "unicode-utf-8", b"Zo\xeb", "Zoë", None);
    check_set("", "8859-1", b"Zo\xeb", "Zoë", None);
    check_set("", "windows-1252", b"\x80 \x92", "€ ’", None);
    check_set("8859/1", "unicode-utf-8", b"O\x92Neill", "O’Neill", Some(1));
    check_set("", "windows-1252", b"a\x81b", "a\u{81}b", Some(1));
    check_set("ASCII", "unicode-utf-8", b"Zo\xeb", "Zoë", Some(2));
    check_set("ASCII", "unicode-utf-8", "Zoë".as_bytes(), "Zoë", Some(2));
    check_set("8859/1", "unicode-utf-8", "Zoë".as_bytes(), "Zoë", Some(2));
    check_set("UNICODE UTF-8", "ascii", b"\xc3\xabZo\xeb", "ëZoë", Some(4));
    check_set("", "unicode-utf-8", b"Zo\xeb", "Zoë", Some(2));
    check_set("KLINGON", "8859-1", b"Zo\xeb", "Zoë", None);
    check_set("\"\"", "8859-1", b"Zo\xeb", "Zoë", None);
}

#[test]
fn a_place_is_that_of_the_bytes() {
    let place = |declared: &str, bytes: &[u8]| {
        let head = format!("MSH|^~\\&|PAS|RYJ|C|D|20250505||ADT^A28|R1|P|2.4||||||{declared}\rZID|");
        let message = [head.as_bytes(), bytes, b"\nPID|1||1\r"].concat();
        let issues = translated(message, &samples::profile("", "")).message.issues;
        let place = &issues.iter().find(|issue| issue.code == "line-ends").unwrap().location;
        place.strip_prefix("byte ").unwrap().parse::<usize>().unwrap() - head.len()
    };
    assert_eq!(place("8859/1", b"\xeb\xebab"), 4);
    assert_eq!(place("UNICODE UTF-8", b"\xeb\xebab"), 4);
    assert_eq!(place("UNICODE UTF-8", b"\xc3\xab\xebab"), 5);
    assert_eq!(place("UNICODE UTF-8", b"\xc3\xab\xe2\x82x"), 5);
    assert_eq!(place("UNICODE UTF-8", "ëab".as_bytes()), 4);
}
