//! Who a message is about: the source record's own key, the NHS number in any of its spellings, other identifiers.
//!
//! There is no one spelling of an NHS number in PID-3. Seen in public UK messages, and all read: `n^^^NHS`,
//! `n^^^NHS^NH`, `n^^^NHS^HN`, `n^^^NHSNBR^NHSNMBR`, `n^^^^NH`, `n^06^^^NI` (tracing status in CX.2),
//! `n^^^NHS^NH{status:01}`, the number's object identifier in CX.4.2, and in old messages PID-2 and PID-19. A feed's
//! profile adds its own. The tracing status comes from the repetition itself, else PID-32, else ZU1-27.

use std::borrow::Cow;

use weft_model::{
    NhsNumber, NhsNumberClass, NhsNumberError, SourceRecordId,
    proto::event::{Identifier, IdentifierKind, Issue, Merge},
};

use crate::{
    hl7v2::{Field, Message, Repetition},
    issue::{information, warning},
    profile::{CxRule, Profile},
};

/// Identifier system of NHS numbers.
pub(crate) const NHS_NUMBER_SYSTEM: &str = "https://fhir.nhs.uk/Id/nhs-number";
const NHS_NUMBER_OID: &str = "2.16.840.1.113883.2.1.4.1";

/// Assigning authorities (CX.4) that only NHS numbers have.
const NHS_AUTHORITIES: [&str; 5] = ["NHS", "NHSNBR", "NHSNO", "NHSNUMBER", "NHS NUMBER"];
/// Identifier types (CX.5) that only NHS numbers have.
const NHS_TYPES: [&str; 4] = ["NH", "NHS", "NHSNMBR", "NHSNBR"];
/// Identifier types that say that a number is the organisation's own, whatever its authority.
const LOCAL_TYPES: [&str; 6] = ["MR", "PI", "PT", "PN", "AN", "VN"];

/// What a message says of who it is about.
#[derive(Default)]
pub(crate) struct Identified {
    /// Key of the source record; `None` where the message names nobody.
    pub(crate) record: Option<SourceRecordId>,
    /// Every identifier but the record's own key; an NHS number also where it is the key.
    pub(crate) identifiers: Vec<Identifier>,
    /// The sender explicitly says that there is no NHS number.
    pub(crate) nhs_number_cleared: bool,
    pub(crate) issues: Vec<Issue>,
}

/// Reads PID-3 with what stands in for it or adds to it: PID-2, PID-19, PID-32 and ZU1-27.
pub(crate) fn read_pid3(message: &Message<'_>, profile: &Profile) -> Identified {
    let mut read = Identified::default();
    let Some(pid) = message.first("PID") else { return read };
    let mut numbers = NhsNumbers::default();
    let mut others = Vec::new();
    for cx in pid.field(3).repetitions().filter(|cx| !cx.raw().trim_ascii().is_empty()) {
        if is_nhs_number(&cx, profile) {
            numbers.add(&cx, &mut read);
        } else if !cx.component(1).is_empty() {
            others.push(cx);
        }
    }
    numbers.add_legacy(pid.field(2), profile, &mut read);
    numbers.add_legacy(pid.field(19), profile, &mut read);
    let legacy = pid.field(2).repetitions().next();
    let own = own_key(&others, profile, &mut read.issues).or_else(|| {
        let legacy = legacy.filter(|cx| others.is_empty() && !numbers.has(cx) && !cx.component(1).is_empty())?;
        let text = "the organisation's identifier is in a field that is no longer used for it";
        read.issues.push(information("identifier-in-legacy-field", legacy.location(), text));
        Some(legacy)
    });
    read.record = own.map(|cx| record(&cx, profile, None));
    for cx in &others {
        // Where the key came from PID-2, there are no others.
        if own.is_none_or(|own| own.number() != cx.number()) {
            read.identifiers.push(other(cx, profile));
        }
    }
    if let Some(mut number) = numbers.best() {
        if number.status.is_empty() {
            number.status = status_elsewhere(message, pid.field(32));
        }
        if read.record.is_none() {
            read.record = Some(nhs_record(&number.value, profile));
        }
        read.identifiers.push(number);
    }
    read
}

/// Reads MRG-1: the record that is to be used no more. One without an assigning authority has the feed's system, else
/// the survivor's.
pub(crate) fn read_merge(
    message: &Message<'_>,
    profile: &Profile,
    survivor: Option<&SourceRecordId>,
    issues: &mut Vec<Issue>,
) -> Option<Merge> {
    let (retired, location) = read_key(message.first("MRG")?.field(1), profile, survivor, issues)?;
    Some(Merge { retired: Some(retired), location })
}

/// The key of a record in a field of type CX that names it besides the message's own patient, and the field's place. Its
/// system is that of `like` where it says none.
pub(crate) fn read_key(
    field: Field<'_>,
    profile: &Profile,
    like: Option<&SourceRecordId>,
    issues: &mut Vec<Issue>,
) -> Option<(SourceRecordId, String)> {
    let mut others = Vec::new();
    let mut number = None;
    for cx in field.repetitions().filter(|cx| !cx.component(1).is_empty()) {
        if is_nhs_number(&cx, profile) {
            number = number.or(Some(cx));
        } else {
            others.push(cx);
        }
    }
    if let Some(own) = own_key(&others, profile, issues) {
        return Some((record(&own, profile, like), own.location()));
    }
    let cx = number?;
    let value = cx.component(1);
    let value = NhsNumber::parse(&value).map_or_else(|_| value.into_owned(), |number| number.to_string());
    Some((nhs_record(&value, profile), cx.location()))
}

/// The NHS numbers that a message has: one is kept, a valid one before an invalid one.
#[derive(Default)]
struct NhsNumbers {
    found: Vec<(Identifier, bool)>,
}

impl NhsNumbers {
    fn add(&mut self, cx: &Repetition<'_>, read: &mut Identified) {
        if cx.component_is_null(1) {
            read.nhs_number_cleared = true;
            return;
        }
        let sent = cx.component(1);
        if sent.is_empty() {
            return;
        }
        let (value, valid) = match NhsNumber::parse(&sent) {
            Ok(number) => (number.to_string(), true),
            Err(error) => {
                read.issues.push(invalid(error, cx.component_location(1)));
                (sent.into_owned(), false)
            }
        };
        let status = status_of(cx).unwrap_or_default();
        if let Some((first, _)) = self.found.first()
            && first.value != value
        {
            let text = "a second, different NHS number";
            read.issues.push(warning("nhs-number-several", cx.component_location(1), text));
        }
        self.found.push((identifier(IdentifierKind::NhsNumber, NHS_NUMBER_SYSTEM, value, status), valid));
    }

    /// PID-2 and PID-19 held the NHS number before PID-3 repeated. A bare number counts only where its check digit and
    /// its range say that it is one.
    fn add_legacy(&mut self, field: Field<'_>, profile: &Profile, read: &mut Identified) {
        let Some(cx) = field.repetitions().next() else { return };
        if is_nhs_number(&cx, profile) {
            self.add(&cx, read);
        } else if cx.component_raw(4).is_empty()
            && cx.component_raw(5).is_empty()
            && NhsNumber::parse(&cx.component(1)).is_ok_and(may_stand_bare)
        {
            let text = "an NHS number in a field that is no longer used for it";
            read.issues.push(information("nhs-number-in-legacy-field", cx.location(), text));
            self.add(&cx, read);
        }
    }

    fn has(&self, cx: &Repetition<'_>) -> bool {
        NhsNumber::parse(&cx.component(1))
            .is_ok_and(|number| self.found.iter().any(|(found, _)| found.value == number.to_string()))
    }

    fn best(mut self) -> Option<Identifier> {
        let best = self.found.iter().position(|(_, valid)| *valid).unwrap_or(0);
        (best < self.found.len()).then(|| self.found.swap_remove(best).0)
    }
}

fn may_stand_bare(number: NhsNumber) -> bool {
    matches!(number.class(), NhsNumberClass::Issued | NhsNumberClass::Test)
}

fn invalid(error: NhsNumberError, location: String) -> Issue {
    match error {
        NhsNumberError::CheckDigit => {
            warning("nhs-number-check-digit", location, "the check digit of the NHS number is wrong")
        }
        NhsNumberError::NotTenDigits => {
            warning("nhs-number-shape", location, "the NHS number does not have ten digits")
        }
    }
}

/// Whether a repetition of a CX field is an NHS number, by the built-in spellings or the profile's.
fn is_nhs_number(cx: &Repetition<'_>, profile: &Profile) -> bool {
    let authority = cx.component(4);
    let kind = kind_of(cx);
    if profile.nhs_number_rules().iter().any(|rule| matches(rule, &authority, &kind)) {
        return true;
    }
    if among(&LOCAL_TYPES, &kind) {
        return false;
    }
    if among(&NHS_AUTHORITIES, &authority) || among(&NHS_TYPES, &kind) {
        return true;
    }
    let universal = cx.subcomponent(4, 2);
    if universal == NHS_NUMBER_OID || universal == NHS_NUMBER_SYSTEM || authority == NHS_NUMBER_SYSTEM {
        return true;
    }
    // A national identifier without an authority: with a tracing status in CX.2, or ten digits.
    kind.eq_ignore_ascii_case("NI")
        && authority.is_empty()
        && (is_status(&cx.component(2)) || NhsNumber::parse(&cx.component(1)) != Err(NhsNumberError::NotTenDigits))
}

/// CX.5 without the status that some senders append to it: `NH{status:01}`.
fn kind_of<'a>(cx: &Repetition<'a>) -> Cow<'a, str> {
    match cx.component(5) {
        Cow::Borrowed(kind) => Cow::Borrowed(kind.split('{').next().unwrap_or_default().trim_ascii_end()),
        Cow::Owned(kind) => Cow::Owned(kind.split('{').next().unwrap_or_default().to_owned()),
    }
}

fn among(known: &[&str], text: &str) -> bool {
    known.iter().any(|k| k.eq_ignore_ascii_case(text))
}

/// A rule without conditions matches nothing: the profile's reader refuses it.
fn matches(rule: &CxRule, authority: &str, kind: &str) -> bool {
    let agrees = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w.eq_ignore_ascii_case(is));
    agrees(&rule.authority, authority) && agrees(&rule.kind, kind)
}

/// Tracing status as the repetition itself states it.
fn status_of(cx: &Repetition<'_>) -> Option<String> {
    let in_check_digit = cx.component(2);
    if is_status(&in_check_digit) {
        return Some(in_check_digit.into_owned());
    }
    let after = cx.raw().split_once("{status:")?.1;
    after.get(..2).filter(|status| is_status(status)).map(str::to_owned)
}

/// Tracing status in PID-32 (`NSTS01`, or `01`) or ZU1-27; empty where it is in neither.
fn status_elsewhere(message: &Message<'_>, reliability: Field<'_>) -> String {
    let codes = reliability.repetitions().map(|code| code.component(1));
    let from_pid = codes.filter_map(|code| status_code(&code).map(str::to_owned)).next();
    let from_zu1 = || {
        let code = message.first("ZU1")?.field(27).text()?;
        status_code(&code).map(str::to_owned)
    };
    from_pid.or_else(from_zu1).unwrap_or_default()
}

fn status_code(code: &str) -> Option<&str> {
    let bare = code.strip_prefix("NSTS").unwrap_or(code);
    is_status(bare).then_some(bare)
}

fn is_status(text: &str) -> bool {
    matches!(text.as_bytes(), [b'0', b'1'..=b'8'])
}

/// The repetition that is the organisation's own identifier: by the profile's rule, else the first. Where the rule fits
/// none, one that states neither authority nor type is taken for it.
fn own_key<'a>(others: &[Repetition<'a>], profile: &Profile, issues: &mut Vec<Issue>) -> Option<Repetition<'a>> {
    let Some(rule) = profile.local_rule() else { return others.first().copied() };
    let by_rule = others.iter().find(|cx| matches(rule, &cx.component(4), &kind_of(cx)));
    if let Some(own) = by_rule {
        return Some(*own);
    }
    let bare = others.iter().find(|cx| cx.component(4).is_empty() && cx.component(5).is_empty());
    match (bare, others.first()) {
        (Some(bare), _) => {
            let text = "an identifier without authority and type was taken for the organisation's own";
            issues.push(information("identifier-without-authority", bare.location(), text));
            Some(*bare)
        }
        (None, Some(first)) => {
            let text = "no identifier fits the feed's rule for the organisation's own";
            issues.push(warning("local-identifier-missing", first.location(), text));
            None
        }
        (None, None) => None,
    }
}

fn record(cx: &Repetition<'_>, profile: &Profile, survivor: Option<&SourceRecordId>) -> SourceRecordId {
    let survivor = survivor.filter(|survivor| survivor.system != NHS_NUMBER_SYSTEM);
    let system = match (profile.identifier_system(), system_of(cx), survivor) {
        (Some(system), _, _) => system.to_owned(),
        (None, Some(system), _) => system,
        (None, None, Some(survivor)) => survivor.system.clone(),
        (None, None, None) => profile.organisation().to_owned(),
    };
    let value = cx.component(1).into_owned();
    SourceRecordId { organisation: profile.organisation().to_owned(), system, value }
}

fn nhs_record(value: &str, profile: &Profile) -> SourceRecordId {
    SourceRecordId {
        organisation: profile.organisation().to_owned(),
        system: NHS_NUMBER_SYSTEM.to_owned(),
        value: value.to_owned(),
    }
}

fn other(cx: &Repetition<'_>, profile: &Profile) -> Identifier {
    let kind = if among(&LOCAL_TYPES, &kind_of(cx)) { IdentifierKind::Local } else { IdentifierKind::Other };
    let system = system_of(cx).unwrap_or_else(|| profile.organisation().to_owned());
    identifier(kind, &system, cx.component(1).into_owned(), String::new())
}

/// CX.4: its namespace, else its universal identifier.
fn system_of(cx: &Repetition<'_>) -> Option<String> {
    let namespace = cx.component(4);
    let system = if namespace.is_empty() { cx.subcomponent(4, 2) } else { namespace };
    (!system.is_empty()).then(|| system.into_owned())
}

fn identifier(kind: IdentifierKind, system: &str, value: String, status: String) -> Identifier {
    Identifier { kind: kind.into(), system: system.to_owned(), value, status }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "4010232137";

    fn profile(identifiers: &str) -> Profile {
        let text = format!(
            "feed = \"ryj-pas\"\norganisation = \"RYJ\"\n[mllp]\nlisten = \"127.0.0.1:0\"\n[identifiers]\n{identifiers}"
        );
        Profile::parse(&text).unwrap()
    }

    fn read(segments: &str, identifiers: &str) -> Identified {
        let text = format!("MSH|^~\\&|A\r{}", segments.replace('\n', "\r"));
        read_pid3(&Message::index(&text).unwrap(), &profile(identifiers))
    }

    fn text(record: Option<&SourceRecordId>) -> String {
        record.map(|r| format!("{}/{}/{}", r.organisation, r.system, r.value)).unwrap_or_default()
    }

    fn codes(issues: &[Issue]) -> String {
        issues.iter().map(|i| format!("{} {}", i.code, i.location)).collect::<Vec<_>>().join(", ")
    }

    /// Checks that a message has this NHS number and tracing status beside the local identifier 77.
    #[track_caller]
    fn check_nhs(pid3: &str, rest: &str, status: &str) {
        let read = read(&format!("PID|1||77^^^RYJ^MR~{pid3}{rest}"), "");
        assert_eq!(text(read.record.as_ref()), "RYJ/RYJ/77", "{pid3}");
        let [number] = &read.identifiers[..] else { panic!("{pid3}: {:?}", read.identifiers.len()) };
        assert_eq!(
            (number.kind(), number.value.as_str(), number.status.as_str()),
            (IdentifierKind::NhsNumber, GOOD, status)
        );
        assert_eq!((number.system.as_str(), codes(&read.issues)), (NHS_NUMBER_SYSTEM, String::new()), "{pid3}");
    }

    #[test]
    fn every_spelling_of_the_nhs_number() {
        for spelling in [
            "#^^^NHS",
            "#^^^NHS^NH",
            "#^^^NHS^HN",
            "#^^^nhs",
            "#^^^NHS^",
            "#^^^NHSNBR^NHSNMBR",
            "#^^^^NH",
            "#^^^X&2.16.840.1.113883.2.1.4.1&ISO",
            "#^^^https://fhir.nhs.uk/Id/nhs-number",
            "#^^^^NI",
            "# ^^^ NHS ",
            "401 023 2137^^^NHS",
            "401-023-2137^^^^NH",
        ] {
            check_nhs(&spelling.replace('#', GOOD), "", "");
        }
        check_nhs(&format!("{GOOD}^06^^^NI"), "", "06");
        check_nhs(&format!("{GOOD}^^^NHS^NH{{status:01}}"), "", "01");
    }

    #[test]
    fn its_tracing_status() {
        let to_pid_32 = "|".repeat(29);
        check_nhs(&format!("{GOOD}^^^NHS"), &format!("{to_pid_32}NSTS01"), "01");
        check_nhs(&format!("{GOOD}^^^NHS"), &format!("{to_pid_32}AL~NSTS04"), "04");
        check_nhs(&format!("{GOOD}^^^NHS"), &format!("{to_pid_32}03"), "03");
        check_nhs(&format!("{GOOD}^^^NHS"), &format!("{to_pid_32}99"), "");
        check_nhs(&format!("{GOOD}^^^NHS"), &format!("\nZU1|{}02", "|".repeat(26)), "02");
        check_nhs(&format!("{GOOD}^06^^^NI"), &format!("{to_pid_32}NSTS01"), "06");
    }

    /// Checks the record's key, the identifiers (kind:value) and the issues.
    #[track_caller]
    fn check(segments: &str, rules: &str, record: &str, identifiers: &str, issues: &str) {
        let read = read(segments, rules);
        assert_eq!(text(read.record.as_ref()), record, "{segments}");
        let all = read.identifiers.iter().map(|i| format!("{:?}:{}", i.kind(), i.value)).collect::<Vec<_>>();
        assert_eq!(all.join(" "), identifiers, "{segments}");
        assert_eq!(codes(&read.issues), issues, "{segments}");
    }

    #[test]
    fn the_key_of_the_record() {
        check("PID|1||77", "", "RYJ/RYJ/77", "", "");
        check("PID|1||77^^^PAS", "", "RYJ/PAS/77", "", "");
        check("PID|1||77^^^PAS", "system = \"MRN\"", "RYJ/MRN/77", "", "");
        check("PID|1||77^^^&1.2.3&ISO", "", "RYJ/1.2.3/77", "", "");
        check("PID|1||88^^^X^PI~77^^^RYJ^MR", "", "RYJ/X/88", "Local:77", "");
        let rule = "local = { authority = \"ryj\", type = \"MR\" }";
        check("PID|1||88^^^X^DL~77^^^RYJ^MR", rule, "RYJ/RYJ/77", "Other:88", "");
        check("PID|1||88^^^X^PI", rule, "", "Local:88", "local-identifier-missing PID-3");
        check("PID|1||77", rule, "RYJ/RYJ/77", "", "identifier-without-authority PID-3");
        check("PID|1||^^^RYJ^MR~77^^^RYJ^MR", rule, "RYJ/RYJ/77", "", "");
        check("PID|1||", "", "", "", "");
        check("PID|1||\"\"", "", "", "", "");
        check("PV1|1", "", "", "", "");
        check("PID|1|55^^^OLD^MR|", "", "RYJ/OLD/55", "", "identifier-in-legacy-field PID-2");
        check("PID|1|77^^^RYJ^MR|77^^^RYJ^MR", "", "RYJ/RYJ/77", "", "");
    }

    #[test]
    fn an_nhs_number_alone_is_the_key() {
        let key = format!("RYJ/{NHS_NUMBER_SYSTEM}/{GOOD}");
        let number = format!("NhsNumber:{GOOD}");
        check(&format!("PID|1||{GOOD}^^^NHS"), "", &key, &number, "");
        let legacy = "nhs-number-in-legacy-field PID-2";
        check(&format!("PID|1|{GOOD}|"), "", &key, &number, legacy);
        let legacy = "nhs-number-in-legacy-field PID-19";
        check(&format!("PID|1{}{GOOD}", "|".repeat(18)), "", &key, &number, legacy);
        check(&format!("PID|1||77|{}{GOOD}", "|".repeat(15)), "", "RYJ/RYJ/77", &number, legacy);
    }

    #[test]
    fn wrong_numbers_are_kept_and_noted() {
        check(
            "PID|1||77~4010232138^^^NHS",
            "",
            "RYJ/RYJ/77",
            "NhsNumber:4010232138",
            "nhs-number-check-digit PID-3[2].1",
        );
        check("PID|1||77~401023^^^NHS", "", "RYJ/RYJ/77", "NhsNumber:401023", "nhs-number-shape PID-3[2].1");
        let several = format!("PID|1||77~4010232138^^^NHS~{GOOD}^^^NHS");
        let issues = "nhs-number-check-digit PID-3[2].1, nhs-number-several PID-3[3].1";
        check(&several, "", "RYJ/RYJ/77", &format!("NhsNumber:{GOOD}"), issues);
        check(&format!("PID|1||77~{GOOD}^^^NHS~{GOOD}^^^^NH"), "", "RYJ/RYJ/77", &format!("NhsNumber:{GOOD}"), "");
    }

    #[test]
    fn what_is_no_nhs_number() {
        check(&format!("PID|1||{GOOD}"), "", &format!("RYJ/RYJ/{GOOD}"), "", "");
        check(&format!("PID|1||{GOOD}^^^NHS^MR"), "", &format!("RYJ/NHS/{GOOD}"), "", "");
        check("PID|1||77~AB123456C^^^^NI", "", "RYJ/RYJ/77", "Other:AB123456C", "");
        check("PID|1||77|||||||||||||||AB123456C", "", "RYJ/RYJ/77", "", "");
        let rule = "nhs_number = [{ authority = \"SPINE\", type = \"N\" }]";
        check(&format!("PID|1||77~{GOOD}^^^SPINE^N"), rule, "RYJ/RYJ/77", &format!("NhsNumber:{GOOD}"), "");
        check("PID|1||77~1^^^SPINE^X", rule, "RYJ/RYJ/77", "Other:1", "");
    }

    #[test]
    fn a_cleared_number_is_said_to_be() {
        assert!(read("PID|1||77~\"\"^^^NHS^NH", "").nhs_number_cleared);
        assert!(!read("PID|1||77~^^^NHS^NH", "").nhs_number_cleared);
    }

    #[test]
    fn merges() {
        let check = |segment: &str, rules: &str, wanted: &str| {
            let survivor = if segment.starts_with("PID") { "" } else { "PID|1||77^^^PAS\r" };
            let message = format!("MSH|^~\\&|A\r{survivor}{segment}");
            let message = Message::index(&message).unwrap();
            let profile = profile(rules);
            let survivor = read_pid3(&message, &profile).record;
            let merge = read_merge(&message, &profile, survivor.as_ref(), &mut Vec::new());
            let told = merge.map(|m| format!("{} {}", text(m.retired.as_ref()), m.location)).unwrap_or_default();
            assert_eq!(told, wanted, "{segment}");
        };
        check("MRG|1234", "", "RYJ/PAS/1234 MRG-1");
        check("MRG|1234", "system = \"MRN\"", "RYJ/MRN/1234 MRG-1");
        check("MRG|1234^^^OLD", "", "RYJ/OLD/1234 MRG-1");
        check(&format!("PID|1||{GOOD}^^^NHS\rMRG|1234"), "", "RYJ/RYJ/1234 MRG-1");
        check("MRG|1234", "local = { authority = \"PAS\" }", "RYJ/PAS/1234 MRG-1");
        check(&format!("MRG|{GOOD}^^^NHS~1234^^^PAS"), "", "RYJ/PAS/1234 MRG-1[2]");
        check("MRG|401 023 2137^^^NHS", "", &format!("RYJ/{NHS_NUMBER_SYSTEM}/{GOOD} MRG-1"));
        check("MRG|", "", "");
        check("PV1|", "", "");
    }
}
