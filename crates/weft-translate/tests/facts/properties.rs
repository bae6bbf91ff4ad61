//! What holds for every message: a field that is empty, null or garbage takes at most its own facts away.

use proptest::prelude::*;
use weft_model::proto::event::MessageReceived;

use crate::common::{adt, oru, read_strictly, told};

const VISIT: &str = "PID|||A1^^^RYJ^MR~9990000018^^^NHS||SMITH^JANE^^^MRS^^L||19760121|2|||14 FLORAL STREET^^LONDON^^W2 1NY^GBR^H\
||02079460018|02079460999|EN|M||||||A|||||||20240430|Y|N|NSTS01\n\
PD1|||LISSON GROVE^^E87003|G8801234^PATEL^ANITA\n\
NK1|1|SMITH^SAMUEL|SPO|14 FLORAL STREET|07700900119||NOK\n\
PV1||I|6B^BAY 2^04^RYJ01|E||7A^^1|C1^WOODS^ALEX|C2^KHAN|C3^A|300||||19|||C4^B||V1^^^RYJ^VN|||||||||||||||||19||||||||20240430|20240501\n\
PV2|||^PNEUMONIA|||||20250512\n\
DG1|1|I10|J18.9^PNEUMONIA^I10|PNEUMONIA|20240430|A\n\
AL1|1|DA|91936005^ALLERGY^SCT|MO|RASH|20100301";

const RESULTS: &str = "PV1||I|6B||||||||||||||||V1\n\
OBR|1|P1|F1|UE^Urea and electrolytes^L|||202405010900|202405010905|||||||||||||||202405011030||CH|F\n\
OBX|1|NM|K^Potassium^L|1|7.4|mmol/L|3.5-5.3|H|||F|||202405010905|LAB|W^WOODS\nNTE|1||Telephoned\n\
OBX|2|SN|NA^Sodium^L||>^140|mmol/L|133-146||||P\nOBX|3|TX|C^Comment^L||text||||||F";

const EVENTS: [&str; 14] =
    ["A01", "A02", "A03", "A04", "A05", "A08", "A11", "A12", "A13", "A28", "A31", "A37", "A40", "A43"];

/// What a field is set to. No separator of fields or segments: those are for the mutations of whole messages.
fn garbage() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("\"\"".to_owned()),
        "[ -{}-~]{0,40}".prop_map(|text: String| text.replace(['|', '\r', '\n'], "^")),
        "[0-9]{0,24}",
        "[\\^~&\\\\\"0-9A-Z]{0,30}",
        "\\PC{0,20}".prop_map(|text: String| text.replace(['|', '\r', '\n'], "~")),
    ]
}

fn set(message: &str, segment: usize, field: usize, value: &str) -> (String, String) {
    let mut lines: Vec<String> = message.lines().map(str::to_owned).collect();
    // MSH stays: it decides whether the message is read at all.
    let at = 1 + segment % (lines.len() - 1);
    let mut fields: Vec<&str> = lines[at].split('|').collect();
    let field = 1 + field % 50;
    fields.resize(fields.len().max(field + 1), "");
    fields[field] = value;
    let name = fields[0].to_owned();
    lines[at] = fields.join("|");
    (lines.join("\n"), name)
}

/// Types of the facts that a change to `segment` cannot touch.
fn untouched(segment: &str) -> &'static [&'static str] {
    match segment {
        "PID" => &[
            "Organization",
            "Encounter",
            "Condition",
            "AllergyIntolerance",
            "RelatedPerson",
            "Observation",
            "DiagnosticReport",
        ],
        "PD1" | "NK1" => &["Encounter", "Condition", "AllergyIntolerance", "Observation", "DiagnosticReport"],
        "PV1" | "PV2" => &["Patient", "Organization", "AllergyIntolerance", "RelatedPerson"],
        "DG1" => &["Patient", "Organization", "Encounter", "AllergyIntolerance", "RelatedPerson"],
        "AL1" => &["Patient", "Organization", "Encounter", "Condition", "RelatedPerson"],
        "OBR" | "OBX" | "NTE" => &["Patient", "Organization"],
        _ => &[],
    }
}

fn facts(message: &MessageReceived, types: &[&str]) -> Vec<(String, String, Vec<u8>, bool)> {
    let facts = message.facts.iter().filter(|fact| types.contains(&fact.resource_type.as_str()));
    facts.map(|f| (f.resource_type.clone(), f.id.clone(), f.resource.to_vec(), f.withdrawn)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn one_field_takes_at_most_its_own_facts(
        event in prop::sample::select(EVENTS.to_vec()),
        results in any::<bool>(),
        segment in any::<usize>(),
        field in any::<usize>(),
        value in garbage(),
    ) {
        let whole = if results { oru(RESULTS) } else { adt(event, VISIT) };
        let (changed, segment) = set(&whole, segment, field, &value);
        let (before, after) = (told(&whole).message, told(&changed).message);
        for fact in &after.facts {
            read_strictly(&changed, fact);
            prop_assert!(fact.line.is_none() || fact.occurred.is_some());
            prop_assert!(!fact.location.is_empty());
        }
        let types = untouched(&segment);
        prop_assert_eq!(facts(&before, types), facts(&after, types), "{}", changed);
        let mut ids: Vec<_> = after.facts.iter().map(|fact| (&fact.resource_type, &fact.id)).collect();
        ids.sort();
        let count = ids.len();
        ids.dedup();
        prop_assert_eq!(ids.len(), count, "two facts of one identifier: {}", changed);
    }

    #[test]
    fn issues_never_repeat_what_was_sent(segment in any::<usize>(), field in any::<usize>(), secret in "[a-z]{12}") {
        for whole in [oru(RESULTS), adt("A08", VISIT)] {
            let (changed, _) = set(&whole, segment, field, &secret);
            for issue in told(&changed).message.issues {
                prop_assert!(!format!("{issue:?}").contains(&secret), "{issue:?}");
            }
        }
    }
}
