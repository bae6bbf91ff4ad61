//! The person as a message describes them: PID, PD1 and ZU8. What is absent was not said; what is `""` was cleared.

use weft_model::{
    When,
    proto::event::{Demographics, IdentifierKind},
};

use super::{
    contact::{self, addresses, telecoms},
    people::names,
    practice::Practice,
    telling::Facts,
    times,
};
use crate::{
    hl7v2::{Field, Segment},
    identifiers::Identified,
    issue::warning,
};

/// What one message says of the person, and what of it only the resources need.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) demographics: Demographics,
    pub(crate) addresses: Vec<contact::Read>,
    pub(crate) practice: Option<Practice>,
    /// PID-7 as read, with the time of birth where it has one.
    pub(crate) born: Option<When>,
}

/// ZU8-4 says that where the person is must not be told: address, telephone, next of kin and practice.
/// `None` where the message does not speak of it.
pub(crate) fn location_hidden(facts: &Facts<'_>) -> Option<bool> {
    let field = facts.message.first("ZU8")?.field(4);
    if field.is_null() {
        return Some(false);
    }
    field.text().filter(|code| !code.is_empty()).map(|code| matches!(code.as_ref(), "1" | "2" | "Y"))
}

/// Reads the person. `None` where the message has no PID.
pub(crate) fn read_person(facts: &mut Facts<'_>, identified: &Identified, hidden: Option<bool>) -> Option<Person> {
    let pid = facts.message.first("PID")?;
    let mut told = Demographics { location_hidden: hidden, ..Demographics::default() };
    told.identifiers.clone_from(&identified.identifiers);
    let numbered = told.identifiers.iter().any(|i| i.kind() == IdentifierKind::NhsNumber);
    if identified.nhs_number_cleared && !numbered {
        told.cleared.push("nhs_number".to_owned());
    }
    told.names = names(pid.field(5));
    for mut alias in names(pid.field(9)) {
        if alias.r#use.is_empty() {
            alias.r#use = "nickname".to_owned();
        }
        told.names.push(alias);
    }
    let born = facts.time(pid.field(7));
    told.birth = born.as_ref().map(times::day_of);
    told.sex = sex(facts, pid.field(8));
    told.ethnicity = pid.field(22).text().map(std::borrow::Cow::into_owned).unwrap_or_default();
    told.pseudo_person = flag(facts, pid.field(31));
    read_death(facts, pid, &mut told);
    let mut person = Person { demographics: told, addresses: Vec::new(), practice: None, born };
    if hidden != Some(true) {
        read_location(facts, pid, &mut person);
    }
    clear(facts, pid, hidden == Some(true), &mut person.demographics);
    Some(person)
}

fn read_location(facts: &mut Facts<'_>, pid: Segment<'_>, person: &mut Person) {
    person.addresses = addresses(pid.field(11));
    let told = &mut person.demographics;
    told.addresses = person.addresses.iter().map(|read| read.address.clone()).collect();
    told.telecoms = telecoms(pid.field(13), "home");
    told.telecoms.extend(telecoms(pid.field(14), "work"));
    for other in telecoms(pid.field(40), "") {
        if !told.telecoms.iter().any(|known| known.value == other.value) {
            told.telecoms.push(other);
        }
    }
    person.practice = Practice::read(facts);
    if let Some(practice) = &person.practice {
        told.practice.clone_from(&practice.ods);
        told.practitioner = practice.practitioner.as_ref().map(|gp| gp.code.clone()).unwrap_or_default();
    }
}

/// The feed's own map, ITK's codes (1 male, 2 female, 9 not specified, 0 not known) or HL7's table 0001.
fn sex(facts: &mut Facts<'_>, field: Field<'_>) -> String {
    let Some(code) = field.text() else { return String::new() };
    if let Some(known) = facts.context.profile.sex(&code) {
        return known.to_owned();
    }
    match fhir_gender(&code) {
        Some(known) => known.to_owned(),
        None => {
            facts.issues.push(warning("code-unknown", field.location(), "not a known code for sex"));
            String::new()
        }
    }
}

/// FHIR administrative gender.
pub(crate) fn fhir_gender(code: &str) -> Option<&'static str> {
    Some(match code.to_ascii_uppercase().as_str() {
        "M" | "1" | "MALE" => "male",
        "F" | "2" | "FEMALE" => "female",
        "O" | "A" | "N" | "9" | "I" | "OTHER" => "other",
        "U" | "0" | "UNK" | "UNKNOWN" => "unknown",
        _ => return None,
    })
}

/// `Y` or `N`.
fn flag(facts: &mut Facts<'_>, field: Field<'_>) -> Option<bool> {
    let code = field.text()?;
    match code.as_ref() {
        "Y" | "y" | "1" | "YES" | "Yes" => Some(true),
        "N" | "n" | "0" | "2" | "NO" | "No" => Some(false),
        _ => {
            facts.issues.push(warning("code-unknown", field.location(), "neither Y nor N"));
            None
        }
    }
}

fn read_death(facts: &mut Facts<'_>, pid: Segment<'_>, told: &mut Demographics) {
    told.death = facts.time(pid.field(29));
    told.deceased = flag(facts, pid.field(30));
    if told.death.is_some() {
        if told.deceased == Some(false) {
            let text = "a time of death for a patient who is said to be alive; the time is believed";
            facts.issues.push(warning("death-contradiction", "PID-30", text));
        }
        told.deceased = Some(true);
    }
}

/// Names the fields that were explicitly made empty.
fn clear(facts: &Facts<'_>, pid: Segment<'_>, hidden: bool, told: &mut Demographics) {
    let fields = [
        (5, "names"),
        (7, "birth"),
        (8, "sex"),
        (11, "addresses"),
        (13, "telecoms"),
        (14, "telecoms"),
        (22, "ethnicity"),
        (29, "death"),
        (30, "deceased"),
        (31, "pseudo_person"),
    ];
    let of_pid = fields.into_iter().filter(|(number, _)| pid.field(*number).is_null());
    let pd1 = facts.message.first("PD1").filter(|_| !hidden);
    let fields = [(3, "practice"), (4, "practitioner")];
    let of_pd1 = fields.into_iter().filter(|(number, _)| pd1.is_some_and(|pd1| pd1.field(*number).is_null()));
    for (_, name) in of_pid.chain(of_pd1) {
        if !told.cleared.iter().any(|cleared| cleared == name) {
            told.cleared.push(name.to_owned());
        }
    }
}
