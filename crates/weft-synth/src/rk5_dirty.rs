//! A third trust's feed, of the dirty kind: what senders really write when nobody reads the specification.
//!
//! Dates like `2025-05-05 23:23:32`, LF for CR, blanks at the end, Latin-1 bytes that nothing declares, the NHS number as
//! `n^06^^^NI` with its tracing status in the second component, local identifiers without an authority, `MRG|1234`, PV1
//! after MRG, `Sub` in EVN-1.

use crate::{
    calendar::spaced,
    hl7::{Telling, Writer, landline, plain},
    life::{Trigger, Visit, What},
    ryj_pas::class,
};

pub(crate) fn message(telling: &mut Telling<'_>) -> Vec<u8> {
    let mut writer = Writer::new("\n");
    let kind = match telling.step.what {
        What::Register => "ADT^A28",
        What::Merge => "ADT^A40^ADT_A39",
        What::Update | What::Report(_) => "ADT^A31",
        What::Visit { trigger, .. } => match trigger {
            // This system knows no transfers' cancels: it says that something changed.
            Trigger::CancelTransfer => "ADT^A08",
            other => other.message_type(),
        },
    };
    writer.header(&[
        (3, "Trak "),
        (4, "RK5"),
        (5, "WEFT"),
        (7, &spaced(telling.step.at)),
        (9, kind),
        (10, telling.control_id),
        (11, "P"),
        (12, "2.3.1"),
    ]);
    let event = if telling.rng.permille(300) { "Sub" } else { kind.get(4..7).unwrap_or_default() };
    writer.segment("EVN", &[(1, event), (2, &spaced(telling.step.at))]);
    pid(&mut writer, telling);
    match telling.step.what {
        What::Merge => {
            if let Some(copy) = &telling.life.copy {
                writer.segment("MRG", &[(1, &copy.local)]);
            }
            writer.segment("PV1", &[(2, "N")]);
        }
        What::Visit { visit, trigger, place } => {
            if let Some(visit) = telling.life.visits.get(usize::from(visit)) {
                pv1(&mut writer, telling, visit, trigger, place);
            }
        }
        What::Register | What::Update | What::Report(_) => {}
    }
    latin1(&writer.finish())
}

fn pid(writer: &mut Writer, telling: &mut Telling<'_>) {
    let rng = &mut telling.rng;
    let shown = &telling.shown;
    let status = if rng.permille(250) { "06" } else { shown.status };
    let number = shown.number.as_ref().map(|n| format!("{n}^{status}^^^NI~")).unwrap_or_default();
    let blank = if rng.permille(300) { " " } else { "" };
    let family = if rng.permille(200) { shown.family.to_lowercase() } else { shown.family.clone() };
    let given = if shown.middle.is_empty() { shown.given.clone() } else { format!("{} {}", shown.given, shown.middle) };
    let birth = if rng.permille(12) { format!("{}+^D", shown.birth.digits()) } else { shown.birth.digits() };
    let sex = match (shown.is_male, rng.below(10)) {
        (true, 0) => "Male",
        (false, 0) => "Female",
        (true, _) => "M",
        (false, _) => "F",
    };
    let home = shown.address;
    let lines = if home.flat().is_empty() { home.house() } else { format!("{}, {}", home.flat(), home.house()) };
    let postcode =
        if rng.permille(150) { shown.postcode.replace(' ', "").to_lowercase() } else { shown.postcode.clone() };
    let address = if shown.location_hidden {
        String::new()
    } else {
        format!("{lines} ^^{}^^{postcode}{blank}", home.district().town)
    };
    let phone = format!("{}^^^someone{}@example.org", landline(telling.index), telling.index);
    writer.segment(
        "PID",
        &[
            (3, &format!("{number}{}", shown.local)),
            (5, &format!("{family}{blank}^{given}{blank}^^^{}", shown.title)),
            (7, &birth),
            (8, sex),
            (11, &address),
            (13, if shown.location_hidden { "" } else { &phone }),
            (29, &shown.death.map(spaced).unwrap_or_default()),
            (30, if shown.death.is_some() { "Y" } else { "" }),
        ],
    );
}

fn pv1(writer: &mut Writer, telling: &Telling<'_>, visit: &Visit, trigger: Trigger, place: u8) {
    let (ward, bed) = visit.place(place);
    let ended = if trigger == Trigger::Discharge { spaced(telling.step.occurred) } else { String::new() };
    writer.segment(
        "PV1",
        &[
            (2, class(visit.class)),
            (3, &format!("{} ^^{bed}", ward.name)),
            (7, &format!("^{}, {}", visit.consultant.family, visit.consultant.given)),
            (19, &visit.number.to_string()),
            (44, &spaced(visit.began)),
            (45, &ended),
        ],
    );
    if matches!(trigger, Trigger::Revise | Trigger::Discharge) {
        for (n, diagnosis) in (1..).zip(visit.diagnoses.iter().flatten()) {
            writer
                .segment("DG1", &[(1, &i64::to_string(&n)), (3, diagnosis.code), (4, &format!("{} ", diagnosis.text))]);
        }
    }
}

/// One byte a letter; what Latin-1 lacks loses its accent.
fn latin1(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(u32::from(c)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend(plain(c.encode_utf8(&mut [0; 4])).bytes()),
        }
    }
    bytes
}

/// A message that cannot be used, as they do arrive: cut off, without its header, of an unknown type, about nobody.
pub(crate) fn unreadable(telling: &mut Telling<'_>) -> Vec<u8> {
    let header =
        |kind: &str, id: &str| format!("MSH|^~\\&|Trak|RK5|WEFT||{}||{kind}|{id}|P|2.3.1\n", spaced(telling.step.at));
    let id = telling.control_id;
    let text = match telling.sequence % 5 {
        0 => "MSH|^~\\&|Trak|RK5|WE".to_owned(),
        1 => format!("EVN|A01|{}\nPID|||{}\n", spaced(telling.step.at), telling.shown.local),
        2 => header("ADT^A99", id) + "PID|||1\n",
        3 => header("ADT^A08", id) + "EVN|A08\nPID|||||^\n",
        _ => "Connection test from Trak".to_owned(),
    };
    text.into_bytes()
}

impl Trigger {
    fn message_type(self) -> &'static str {
        match self {
            Self::Admit => "ADT^A01",
            Self::Transfer => "ADT^A02",
            Self::Discharge => "ADT^A03",
            Self::Attend => "ADT^A04",
            Self::PreAdmit => "ADT^A05",
            Self::Revise | Self::CancelTransfer => "ADT^A08",
            Self::CancelAdmit => "ADT^A11",
            Self::CancelDischarge => "ADT^A13",
        }
    }
}
