//! Registration files: what is read, every mistake with its place, and the JSON Schema beside it.

use expect_test::{Expect, expect};
use weft_translate::{Profile, Tls};

const SCHEMA: &str = include_str!("../../../../schemas/feed.schema.json");

const LEAST: &str = "feed = \"ryj-pas\"\norganisation = \"RYJ\"\n[mllp]\nlisten = \"127.0.0.1:0\"\n";

const FULL: &str = r#"
feed = "ryj-pas"
organisation = "RYJ"
description = "Imperial PAS"
agreement = "DSA-2026-014"
format = "hl7v2"
zone = "Europe/London"
character_set = "windows-1252"
demo = true
[mllp]
listen = "[::1]:2575"
tls = "mutual"
message_bytes_max = 65536
idle_timeout_s = 60
connections_max = 8
[accept]
sending_applications = ["PAS"]
sending_facilities = ["RYJ"]
receiving_applications = []
receiving_facilities = []
message_types = ["ADT^A01", "ORU^R01"]
versions = ["2.3", "2.5.1"]
[identifiers]
local = { authority = "RYJ", type = "MR" }
system = "RYJ-MRN"
nhs_number = [{ authority = "NHS" }, { type = "NH" }]
[codes.sex]
"1" = "male"
[codes.patient_class]
I = "IMP"
[codes.observation]
"K^x" = { system = "http://loinc.org", code = "2823-3", display = "Potassium" }
Na = { system = "http://loinc.org", code = "2951-2" }
[acknowledge]
mode = "enhanced"
wrong_sender = "AR"
wrong_type = "AE"
unreadable = "AE"
conflict = "AA"
unavailable = "AR"
"#;

#[test]
fn the_least_and_the_most() {
    let least = Profile::parse(LEAST).unwrap();
    assert_eq!((least.feed(), least.organisation(), least.description()), ("ryj-pas", "RYJ", ""));
    let listener = least.listener();
    assert_eq!((listener.message_bytes_max, listener.idle_timeout_s, listener.connections_max), (1_048_576, 300, 256));
    assert_eq!((listener.listen.port(), listener.tls, least.demo()), (0, Tls::Off, false));
    let full = Profile::parse(FULL).unwrap();
    assert_eq!((full.description(), full.agreement(), full.demo()), ("Imperial PAS", "DSA-2026-014", true));
    let listener = full.listener();
    assert_eq!((listener.message_bytes_max, listener.idle_timeout_s, listener.connections_max), (65_536, 60, 8));
    assert_eq!((listener.listen.to_string().as_str(), listener.tls), ("[::1]:2575", Tls::Mutual));
}

#[track_caller]
fn check(text: &str, wanted: &Expect) {
    let issues = Profile::parse(text).unwrap_err();
    let lines = issues.iter().map(|issue| format!("{}: {}: {}\n", issue.location, issue.code, issue.text));
    wanted.assert_eq(&lines.collect::<String>());
}

#[test]
fn every_mistake_has_its_place() {
    check(
        "",
        &expect![[r#"
            feed, line 1: key-missing: this key is required
            organisation, line 1: key-missing: this key is required
            mllp, line 1: key-missing: a table [mllp] with the key listen is required
        "#]],
    );
    check(
        "feed = \"x\ny = 1\n[mllp\n",
        &expect![[r#"
            line 1: toml-syntax: invalid basic string, expected `"`
            line 3: toml-syntax: unclosed table, expected `]`
        "#]],
    );
    check(
        r#"
feed = "RYJ PAS"
organisation = "RY-J"
zone = "Europe/Londinium"
character_set = "utf8"
demo = "yes"
sending = []
[mllp]
listen = "localhost"
tls = "on"
message_bytes_max = 10
idle_timeout_s = "1"
port = 1
[accept]
sending_applications = "PAS"
message_types = ["ADT^A01", "ADT", "adt^a01", 5]
versions = ["2.3", "3"]
[identifiers]
local = {}
system = ""
nhs_number = [{ authority = "NHS" }, { kind = "NH" }]
[codes.sex]
"1" = "man"
[codes.gender]
[codes.patient_class]
"x.y" = "inpatient"
[codes.observation]
K = { code = "2823-3", name = "Potassium" }
Na = "2951-2"
[acknowledge]
mode = "modern"
unreadable = "NAK"
unavailable = "AA"
"#,
        &expect![[r#"
            feed, line 2: wrong-value: 2 to 40 lower-case letters, digits and hyphens are wanted here
            organisation, line 3: wrong-ods-code: an ODS code of 3 to 10 letters and digits is wanted here
            zone, line 4: wrong-zone: a time zone such as Europe/London is wanted here
            character_set, line 5: wrong-value: one of these is wanted here: unicode-utf-8, 8859-1, windows-1252, ascii
            demo, line 6: wrong-type: true or false is wanted here
            sending, line 7: key-unknown: unknown key; these are known here: feed, organisation, description, agreement, format, zone, character_set, demo, mllp, accept, identifiers, codes, acknowledge
            mllp.listen, line 9: wrong-value: an address and a port are wanted here, such as 127.0.0.1:2575 or [::1]:0
            mllp.tls, line 10: wrong-value: one of these is wanted here: off, server, mutual
            mllp.message_bytes_max, line 11: wrong-value: a whole number from 1024 to 67108864 is wanted here
            mllp.idle_timeout_s, line 12: wrong-value: a whole number from 1 to 86400 is wanted here
            mllp.port, line 13: key-unknown: unknown key; these are known here: listen, tls, message_bytes_max, idle_timeout_s, connections_max
            accept.sending_applications, line 15: wrong-type: a list is wanted here
            accept.message_types[2], line 16: wrong-value: a type such as ADT^A01 is wanted here
            accept.message_types[3], line 16: wrong-value: a type such as ADT^A01 is wanted here
            accept.message_types[4], line 16: wrong-type: a text in quotes is wanted here
            accept.versions[2], line 17: wrong-value: a version such as 2.3 or 2.5.1 is wanted here
            identifiers.local, line 19: key-missing: authority, type or both are required
            identifiers.system, line 20: wrong-value: this must not be empty
            identifiers.nhs_number[2].kind, line 21: key-unknown: unknown key; these are known here: authority, type
            codes.sex.1, line 23: wrong-value: one of these is wanted here: male, female, other, unknown
            codes.gender, line 24: key-unknown: unknown key; these are known here: sex, patient_class, observation
            codes.patient_class."x.y", line 26: wrong-value: one of these is wanted here: IMP, ACUTE, NONAC, AMB, EMER, OBSENC, PRENC, SS, HH, FLD, VR
            codes.observation.K.system, line 28: key-missing: this key is required
            codes.observation.K.name, line 28: key-unknown: unknown key; these are known here: system, code, display
            codes.observation.Na, line 29: wrong-type: a table is wanted here
            acknowledge.mode, line 31: wrong-value: one of these is wanted here: original, enhanced
            acknowledge.unreadable, line 32: wrong-value: one of these is wanted here: AA, AE, AR
            acknowledge.unavailable, line 33: wrong-value: one of these is wanted here: AE, AR
        "#]],
    );
    check(
        "feed = \"ryj-pas\"\nfeed = \"ryj-lab\"\norganisation = \"RYJ\"\nmllp = 5\n",
        &expect![[r#"
        line 2: toml-syntax: duplicate key
    "#]],
    );
}

/// Each a replacement in the full file; whether the schema can see that it is wrong.
const WRONG: [(&str, &str, bool); 34] = [
    ("feed = \"ryj-pas\"", "", true),
    ("feed = \"ryj-pas\"", "feed = \"R\"", true),
    ("organisation = \"RYJ\"", "", true),
    ("organisation = \"RYJ\"", "organisation = \"R-J\"", true),
    ("organisation = \"RYJ\"", "organisation = 5", true),
    ("\"Imperial PAS\"", "\"\"", true),
    ("\"hl7v2\"", "\"fhir\"", true),
    ("Europe/London", "", true),
    ("Europe/London", "Europe/Londinium", false),
    ("\"windows-1252\"", "\"latin\"", true),
    ("demo = true", "demo = 1", true),
    ("[mllp]\nlisten", "[other]\nlisten", true),
    ("listen = \"[::1]:2575\"", "", true),
    ("[::1]:2575", "host", true),
    ("[::1]:2575", "1.2.3.4:99999", false),
    ("\"mutual\"", "\"both\"", true),
    ("65536", "1", true),
    ("65536", "6.5", true),
    ("= 60", "= 0", true),
    ("= 8", "= 100000", true),
    ("[\"PAS\"]", "[5]", true),
    ("[\"PAS\"]", "[\"\"]", true),
    ("\"ADT^A01\"", "\"A01\"", true),
    ("\"2.5.1\"", "\"2.x\"", true),
    ("{ authority = \"RYJ\", type = \"MR\" }", "{}", true),
    ("{ authority = \"RYJ\", type = \"MR\" }", "{ kind = \"MR\" }", true),
    ("\"RYJ-MRN\"", "\"\"", true),
    ("{ type = \"NH\" }", "{ type = 1 }", true),
    ("\"male\"", "\"man\"", true),
    ("\"IMP\"", "\"inpatient\"", true),
    ("code = \"2951-2\"", "display = \"Sodium\"", true),
    ("\"enhanced\"", "\"loud\"", true),
    ("unreadable = \"AE\"", "unreadable = \"CE\"", true),
    ("unavailable = \"AR\"", "unavailable = \"AA\"", true),
];

#[test]
fn the_schema_and_the_reader_agree() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let valid = |text: &str| validator.is_valid(&serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap());
    for good in [LEAST, FULL] {
        let json = serde_json::to_value(good.parse::<toml::Table>().unwrap()).unwrap();
        let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new());
        assert!(Profile::parse(good).is_ok());
    }
    for (from, to, seen) in WRONG {
        assert!(FULL.contains(from), "{from}");
        let text = FULL.replacen(from, to, 1);
        assert!(Profile::parse(&text).is_err(), "the reader lets through: {from} -> {to}");
        assert_eq!(valid(&text), !seen, "the schema: {from} -> {to}");
    }
}

/// An unknown key is refused in every table, by both.
#[test]
fn unknown_keys_are_refused_everywhere() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for table in ["[mllp]", "[accept]", "[identifiers]", "[acknowledge]", "demo = true"] {
        let text = FULL.replacen(table, &format!("{table}\nunknown = 1"), 1);
        assert!(Profile::parse(&text).unwrap_err().iter().any(|issue| issue.code == "key-unknown"), "{table}");
        let json = serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
        assert!(!validator.is_valid(&json), "{table}");
    }
}

#[test]
fn every_key_of_the_schema_is_described() {
    fn walk(schema: &serde_json::Value, path: &str) {
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            let described = value["description"].is_string() || value["$ref"].is_string();
            assert!(described, "{path}.{key} has no description");
            walk(value, &format!("{path}.{key}"));
        }
    }
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    walk(&schema, "");
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        assert!(definition["description"].is_string(), "{name}");
        walk(definition, name);
    }
}
