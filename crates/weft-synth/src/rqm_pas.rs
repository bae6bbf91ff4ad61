//! The second trust's patient administration system: HL7 2.3 with American habits.
//!
//! The NHS number is `n^^^NHSNBR^NHSNMBR`, names are in capitals without accents, sex is M or F, every date has a time, and
//! there is no A28: the first visit registers.

use crate::{
    calendar::digits,
    clinical::{ALLERGIES, Consultant},
    hl7::{Telling, Writer, landline, plain},
    life::{Class, Trigger, Visit, What},
    person::Kin,
    places::practice,
};

pub(crate) fn message(telling: &mut Telling<'_>) -> Vec<u8> {
    let mut writer = Writer::new("\r");
    let trigger = match telling.step.what {
        What::Visit { trigger, .. } => trigger.code(),
        What::Merge => "A40",
        What::Register | What::Update | What::Report(_) => "A31",
    };
    writer.header(&[
        (3, "CERNER"),
        (4, "RQM"),
        (5, "RAPP"),
        (6, "RFAC"),
        (7, &digits(telling.step.at)),
        (9, &format!("ADT^{trigger}")),
        (10, telling.control_id),
        (11, "P"),
        (12, "2.3"),
        (15, "AL"),
        (18, "ASCII"),
    ]);
    writer.segment(
        "EVN",
        &[(1, trigger), (2, &digits(telling.step.at)), (4, "ADT_EVENT"), (6, &digits(telling.step.occurred))],
    );
    pid(&mut writer, telling);
    if !telling.shown.location_hidden {
        let practice = practice(telling.shown.practice);
        let (family, initial) = practice.doctor;
        writer.segment(
            "PD1",
            &[
                (3, &format!("{}^^{}", practice.name.to_uppercase(), practice.code)),
                (4, &format!("{}^{}^{initial}^^^DR^^^GMC", practice.doctor_code, family.to_uppercase())),
            ],
        );
    }
    match telling.step.what {
        What::Merge => merge(&mut writer, telling),
        What::Visit { visit, trigger, place } => {
            next_of_kin(&mut writer, telling);
            if let Some(visit) = telling.life.visits.get(usize::from(visit)) {
                pv1(&mut writer, telling, visit, trigger, place);
            }
        }
        What::Register | What::Update | What::Report(_) => next_of_kin(&mut writer, telling),
    }
    writer.finish().into_bytes()
}

fn pid(writer: &mut Writer, telling: &Telling<'_>) {
    let shown = &telling.shown;
    let own = format!("{}^^^RQM MRN^MRN", shown.local);
    let number = shown.number.as_ref().map(|n| format!("~{n}^^^NHSNBR^NHSNMBR")).unwrap_or_default();
    // The second given name has a place of its own.
    let given = plain(&shown.given).to_uppercase();
    let (first, second) = given.split_once(' ').unwrap_or((&given, ""));
    let middle = if second.is_empty() { plain(&shown.middle).to_uppercase() } else { second.to_owned() };
    let family = plain(&shown.family).to_uppercase();
    let mut name = format!("{family}^{first}^{middle}^^{}^^CURRENT", shown.title.to_uppercase());
    if let Some(former) = shown.former_family {
        name += &format!("~{}^{first}^^^^^PREVIOUS", plain(former).to_uppercase());
    }
    let home = shown.address;
    let lines = match home.flat() {
        flat if flat.is_empty() => format!("{}^", home.house()),
        flat => format!("{flat}^{}", home.house()),
    };
    let address = format!("{lines}^{}^^{}^GBR^HOME", home.district().town, shown.postcode);
    let hidden = shown.location_hidden;
    writer.segment(
        "PID",
        &[
            (1, "1"),
            (2, &own),
            (3, &format!("{own}{number}")),
            (5, &name),
            (7, &format!("{}000000", shown.birth.digits())),
            (8, if shown.is_male { "M" } else { "F" }),
            (10, shown.ethnicity),
            (11, if hidden { "" } else { &address }),
            (13, &if hidden { String::new() } else { format!("{}^HOME", landline(telling.index)) }),
            (29, &shown.death.map(digits).unwrap_or_default()),
            (30, if shown.death.is_some() { "Y" } else { "" }),
        ],
    );
}

fn merge(writer: &mut Writer, telling: &Telling<'_>) {
    if let Some(copy) = &telling.life.copy {
        writer.segment("MRG", &[(1, &format!("{}^^^RQM MRN^MRN", copy.local))]);
    }
}

fn next_of_kin(writer: &mut Writer, telling: &Telling<'_>) {
    let Some(kin) = telling.kin() else { return };
    let relation = match kin.what {
        Kin::Spouse => "SPOUSE",
        Kin::Mother => "MOTHER",
        Kin::Father => "FATHER",
        Kin::Friend => "FRIEND",
    };
    let name = format!("{}^{}", plain(kin.family).to_uppercase(), plain(kin.given).to_uppercase());
    writer.segment("NK1", &[(1, "1"), (2, &name), (3, relation), (5, &kin.phone), (7, "NOK")]);
}

fn pv1(writer: &mut Writer, telling: &Telling<'_>, visit: &Visit, trigger: Trigger, place: u8) {
    let location = |n: u8| {
        let (ward, bed) = visit.place(n);
        let kind = if bed == 0 { "" } else { "BED" };
        format!("{}^MainRoom^Bed {bed}^Chelsea^^{kind}^Main Building^3", ward.name)
    };
    let (ward, _) = visit.place(place);
    let Consultant { code, family, given, title } = visit.consultant;
    let doctor = format!("{code}^{family}^{given}^^^{title}^^^DRNBR^PRSNL^^^ORGDR");
    let before = match trigger {
        Trigger::Transfer => location(place.saturating_sub(1)),
        Trigger::CancelTransfer => location(place.saturating_add(1)),
        _ => String::new(),
    };
    let ended = if trigger == Trigger::Discharge { digits(telling.step.occurred) } else { String::new() };
    let status = match trigger {
        Trigger::PreAdmit => "PLANNED",
        Trigger::Discharge => "FINISHED",
        Trigger::CancelAdmit => "CANCELLED",
        _ => "ARRIVED",
    };
    writer.segment(
        "PV1",
        &[
            (1, "1"),
            (2, crate::ryj_pas::class(visit.class)),
            (3, &location(place)),
            (4, if visit.is_planned { "11" } else { "28b" }),
            (6, &before),
            (7, &doctor),
            (9, if visit.class == Class::Inpatient { &doctor } else { "" }),
            (10, ward.specialty),
            (19, &format!("{}^^^^visitid", 6_000_000_000 + visit.number)),
            (36, if ended.is_empty() { "" } else { "1" }),
            (41, status),
            (44, &digits(visit.began)),
            (45, &ended),
        ],
    );
    if let Some((code, kind, reaction)) = telling.life.allergy.and_then(|n| ALLERGIES.get(usize::from(n))) {
        let coded = format!("{}^{}^SNM3", code.code, code.text);
        writer.segment("AL1", &[(1, "0"), (2, kind), (3, &coded), (4, "MI"), (5, reaction), (6, "20210311090000")]);
    }
    if visit.class != Class::Outpatient && !matches!(trigger, Trigger::CancelAdmit | Trigger::PreAdmit) {
        for (n, diagnosis) in (1..).zip(visit.diagnoses.iter().flatten()) {
            let coded = format!("{}^{}^ICD10", diagnosis.code, diagnosis.text);
            let fields = [n.to_string(), digits(visit.began)];
            let [number, began] = &fields;
            writer.segment("DG1", &[(1, number), (2, "I10"), (3, &coded), (5, began), (6, "W")]);
        }
    }
}
