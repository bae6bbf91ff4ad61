//! The first trust's patient administration system: HL7 2.4 as the NHS Interoperability Toolkit has it.
//!
//! The NHS number is `n^^^NHS`, its tracing status in PID-32; sex is 1 or 2; EVN-2 says when it was recorded and EVN-6 when
//! it happened; a merge lists identifiers in MRG-1 at the places that they have in PID-3.

use crate::{
    calendar::digits,
    chart::Shown,
    clinical::{ALLERGIES, Consultant},
    hl7::{Telling, Writer, escape, landline, mobile},
    life::{Class, Trigger, Visit, What},
    person::Kin,
    places::practice,
};

pub(crate) fn message(telling: &mut Telling<'_>) -> Vec<u8> {
    let mut writer = Writer::new("\r");
    let what = telling.step.what;
    let (trigger, structure) = match what {
        What::Register => ("A28", "ADT_A05"),
        What::Update | What::Report(_) => ("A31", "ADT_A05"),
        What::Merge => ("A40", "ADT_A39"),
        What::Visit { trigger, .. } => (trigger.code(), structure(trigger)),
    };
    header(&mut writer, telling, &format!("ADT^{trigger}^{structure}"), "2.4");
    writer.segment(
        "EVN",
        &[
            (2, &digits(telling.step.at)),
            (5, "WEFTSYNTH^Clerk^Ward"),
            (6, &digits(telling.step.occurred)),
            (7, "RYJ01"),
        ],
    );
    pid(&mut writer, telling);
    pd1(&mut writer, &telling.shown);
    match what {
        What::Merge => merge(&mut writer, telling),
        What::Visit { visit, trigger, place } => {
            next_of_kin(&mut writer, telling);
            if let Some(visit) = telling.life.visits.get(usize::from(visit)) {
                pv1(&mut writer, telling, visit, trigger, place);
            }
        }
        What::Register | What::Update | What::Report(_) => {
            next_of_kin(&mut writer, telling);
            writer.segment("PV1", &[(1, "1"), (2, "N")]);
            allergy(&mut writer, telling);
        }
    }
    sharing(&mut writer, telling);
    writer.finish().into_bytes()
}

/// Both of the trust's systems write the same header.
pub(crate) fn header(writer: &mut Writer, telling: &Telling<'_>, kind: &str, version: &str) {
    let application = if version == "2.4" { "PAS" } else { "WINPATH" };
    let profile = if version == "2.4" { "ITKv1.0" } else { "" };
    writer.header(&[
        (3, application),
        (4, "RYJ"),
        (5, "ROUTE"),
        (6, "ROUTE"),
        (7, &digits(telling.step.at)),
        (9, kind),
        (10, telling.control_id),
        (11, "P"),
        (12, version),
        (13, &telling.sequence.to_string()),
        (17, "GBR"),
        (18, "UNICODE UTF-8"),
        (19, "EN"),
        (21, profile),
    ]);
}

fn structure(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Admit | Trigger::Attend | Trigger::Revise | Trigger::CancelDischarge => "ADT_A01",
        Trigger::Transfer => "ADT_A02",
        Trigger::Discharge => "ADT_A03",
        Trigger::PreAdmit => "ADT_A05",
        Trigger::CancelAdmit | Trigger::CancelTransfer => "ADT_A09",
    }
}

fn pid(writer: &mut Writer, telling: &Telling<'_>) {
    let shown = &telling.shown;
    let number = shown.number.as_ref().map(|n| format!("{n}^^^NHS~")).unwrap_or_default();
    let mut name = format!("{}^{}^{}^^{}^^L", shown.family, shown.given, shown.middle, shown.title);
    if let Some(former) = shown.former_family {
        name += &format!("~{former}^{}^^^^^PREVIOUS-MAIDEN", shown.given);
    }
    let at_home = !shown.location_hidden;
    let home = shown.address;
    let place = format!("{}^{}^{}^{}", home.flat(), home.house(), home.district().town, home.district().borough);
    let address = format!("{place}^{0}^GBR^H~{place}^{0}^GBR^PST", shown.postcode);
    let phones = format!("{}^PRN^PH~{}^PRS^CP", landline(telling.index), mobile(telling.index));
    writer.segment(
        "PID",
        &[
            (1, "1"),
            (3, &format!("{number}{}^^^RYJ", shown.local)),
            (5, &name),
            (7, &shown.birth.digits()),
            (8, if shown.is_male { "1" } else { "2" }),
            (11, if at_home { &address } else { "" }),
            (13, if at_home { &phones } else { "" }),
            (15, "en"),
            (16, if shown.is_married { "M" } else { "S" }),
            (22, shown.ethnicity),
            (29, &shown.death.map(digits).unwrap_or_default()),
            (30, if shown.death.is_some() { "Y" } else { "N" }),
            (31, "N"),
            (32, &format!("NSTS{}", shown.status)),
        ],
    );
}

fn pd1(writer: &mut Writer, shown: &Shown) {
    if shown.location_hidden {
        return;
    }
    let practice = practice(shown.practice);
    let (family, initial) = practice.doctor;
    let doctor = format!("{}^{family}^{initial}^^^Dr^^^GMP", practice.doctor_code);
    writer.segment("PD1", &[(3, &format!("{}^^{}", practice.name, practice.code)), (4, &doctor)]);
    writer.segment("ROL", &[(1, "1"), (2, "AD"), (3, "PP^Primary care provider"), (4, &doctor)]);
}

fn merge(writer: &mut Writer, telling: &Telling<'_>) {
    let Some(copy) = &telling.life.copy else { return };
    let retired = copy.shown(telling.person, telling.step.at);
    // Positions are those of PID-3: a number that the retired registration lacks leaves its place empty.
    let number = match (&telling.shown.number, retired.number) {
        (Some(_), Some(number)) => format!("{number}^^^NHS~"),
        (Some(_), None) => "~".to_owned(),
        _ => String::new(),
    };
    writer.segment("MRG", &[(1, &format!("{number}{}^^^RYJ", retired.local))]);
}

fn next_of_kin(writer: &mut Writer, telling: &Telling<'_>) {
    let Some(kin) = telling.kin() else { return };
    let relation = match kin.what {
        Kin::Spouse => "SPO^Spouse",
        Kin::Mother => "MTH^Mother",
        Kin::Father => "FTH^Father",
        Kin::Friend => "FND^Friend",
    };
    let home = telling.shown.address;
    let address = format!("{}^{}^{}^^{}^GBR^H", home.flat(), home.house(), home.district().town, home.postcode());
    writer.segment(
        "NK1",
        &[
            (1, "1"),
            (2, &format!("{}^{}^^^^^L", kin.family, kin.given)),
            (3, relation),
            (4, &address),
            (5, &format!("{}^PRS^CP", kin.phone)),
            (7, "N^Next-of-kin"),
        ],
    );
}

fn pv1(writer: &mut Writer, telling: &mut Telling<'_>, visit: &Visit, trigger: Trigger, place: u8) {
    let location = |n: u8| {
        let (ward, bed) = visit.place(n);
        let bed = if bed == 0 { String::new() } else { format!("Bed {bed}") };
        format!("{}^Bay {}^{bed}^RYJ01^^N^St Mary's^^{}", ward.name, bed.len() % 4 + 1, ward.called)
    };
    let (ward, _) = visit.place(place);
    let is_end = trigger == Trigger::Discharge;
    let disposition = if visit.died { "4" } else { "1" };
    let before = match trigger {
        Trigger::Transfer => location(place.saturating_sub(1)),
        // The place that was left again.
        Trigger::CancelTransfer => location(place.saturating_add(1)),
        _ => String::new(),
    };
    let general_practitioner = practice(telling.shown.practice);
    let (family, initial) = general_practitioner.doctor;
    let referred_by = match visit.class {
        Class::Emergency => String::new(),
        _ => format!("{}^{family}^{initial}^^^Dr^^^GMP", general_practitioner.doctor_code),
    };
    writer.segment(
        "PV1",
        &[
            (1, "1"),
            (2, class(visit.class)),
            (3, &location(place)),
            (4, if visit.is_planned { "11" } else { "21" }),
            (6, &before),
            (7, &doctor(visit.consultant)),
            (8, &referred_by),
            (10, ward.specialty),
            (14, "19"),
            (17, &doctor(visit.consultant)),
            (18, "NHS"),
            (19, &format!("V{:09}^^^RYJ", visit.number)),
            (36, if is_end { disposition } else { "" }),
            (37, if is_end { "19" } else { "" }),
            (44, &digits(visit.began)),
            (45, &if is_end { digits(telling.step.occurred) } else { String::new() }),
        ],
    );
    if visit.class == Class::Inpatient {
        let reason = visit.diagnoses.iter().flatten().next().map(|d| escape(d.text)).unwrap_or_default();
        writer.segment("PV2", &[(3, &format!("^{reason}")), (8, &digits(visit.began)), (12, "1"), (38, "N")]);
    }
    allergy(writer, telling);
    if !matches!(trigger, Trigger::PreAdmit | Trigger::CancelAdmit | Trigger::CancelTransfer) {
        for (n, diagnosis) in (1..).zip(visit.diagnoses.iter().flatten()) {
            let code = format!("{}^{}^I10", diagnosis.code, escape(diagnosis.text));
            let kind = if is_end { "F" } else { "W" };
            let fields = [(1, n.to_string()), (3, code), (4, escape(diagnosis.text)), (5, digits(visit.began))];
            let mut fields: Vec<(usize, &str)> = fields.iter().map(|(n, text)| (*n, text.as_str())).collect();
            fields.push((6, kind));
            writer.segment("DG1", &fields);
        }
    }
    if visit.class == Class::Inpatient && telling.rng.permille(700) {
        let fit = if is_end { digits(telling.step.occurred) } else { String::new() };
        writer.segment("ZU1", &[(1, &digits(visit.began)), (2, "1"), (9, ward.specialty), (22, &fit)]);
    }
}

fn allergy(writer: &mut Writer, telling: &Telling<'_>) {
    if let Some((code, kind, reaction)) = telling.life.allergy.and_then(|n| ALLERGIES.get(usize::from(n))) {
        let coded = format!("{}^{}^SCT", code.code, code.text);
        writer.segment("AL1", &[(1, "1"), (2, kind), (3, &coded), (4, "MO"), (5, reaction), (6, "20190604")]);
    }
}

/// ZU8 is sent now and then; always for those whose address is withheld.
fn sharing(writer: &mut Writer, telling: &mut Telling<'_>) {
    let hidden = telling.shown.location_hidden;
    if hidden || telling.rng.permille(200) {
        writer.segment("ZU8", &[(2, "1"), (3, "Yes"), (4, if hidden { "2" } else { "" })]);
    }
}

pub(crate) fn doctor(consultant: Consultant) -> String {
    let Consultant { code, family, given, title } = consultant;
    format!("{code}^{family}^{given}^^^{title}^^^GMC")
}

pub(crate) fn class(class: Class) -> &'static str {
    match class {
        Class::Inpatient => "I",
        Class::Emergency => "E",
        Class::Outpatient => "O",
    }
}
