//! The first trust's pathology: ORU^R01 of HL7 2.5.1, first preliminary, then final, now and then corrected.
//!
//! Patients have the trust's own numbers. Most tests have LOINC codes beside the lab's own; some have only the lab's.

use crate::{
    calendar::{MINUTE, digits},
    clinical::{Analyte, NOTES, PANELS, Panel},
    hl7::{Telling, Writer, escape, measure, range},
    life::{Report, Status, What},
    rng::Rng,
    ryj_pas::{class, doctor, header},
};

pub(crate) fn message(telling: &mut Telling<'_>) -> Vec<u8> {
    let mut writer = Writer::new("\r");
    header(&mut writer, telling, "ORU^R01^ORU_R01", "2.5.1");
    pid(&mut writer, telling);
    let What::Report(report) = telling.step.what else { return writer.finish().into_bytes() };
    pv1(&mut writer, telling, &report);
    let [first, ..] = &PANELS;
    let panel = PANELS.get(usize::from(report.panel)).unwrap_or(first);
    order(&mut writer, telling, &report, panel);
    results(&mut writer, &report, panel);
    writer.finish().into_bytes()
}

/// The lab is told less than the ward: sometimes no number, seldom an address.
fn pid(writer: &mut Writer, telling: &mut Telling<'_>) {
    let keeps_number = telling.rng.permille(700);
    let keeps_address = telling.rng.permille(300) && !telling.shown.location_hidden;
    let shown = &telling.shown;
    let number = shown.number.as_ref().filter(|_| keeps_number);
    let number = number.map(|n| format!("~{n}^^^NHS^NH")).unwrap_or_default();
    let home = shown.address;
    let address = format!("{}^{}^{}^^{}", home.flat(), home.house(), home.district().town, shown.postcode);
    writer.segment(
        "PID",
        &[
            (1, "1"),
            (3, &format!("{}^^^RYJ^MR{number}", shown.local)),
            (5, &format!("{}^{}^{}^^{}^^L", shown.family, shown.given, shown.middle, shown.title)),
            (7, &shown.birth.digits()),
            (8, if shown.is_male { "M" } else { "F" }),
            (11, if keeps_address { &address } else { "" }),
        ],
    );
}

fn pv1(writer: &mut Writer, telling: &Telling<'_>, report: &Report) {
    let visit = report.visit.and_then(|n| telling.life.visits.get(usize::from(n)));
    match visit {
        Some(visit) => {
            let (ward, _) = visit.place(0);
            writer.segment(
                "PV1",
                &[
                    (1, "1"),
                    (2, class(visit.class)),
                    (3, &format!("{}^^^RYJ01", ward.name)),
                    (7, &doctor(visit.consultant)),
                    (19, &format!("V{:09}^^^RYJ", visit.number)),
                ],
            );
        }
        None => writer.segment("PV1", &[(1, "1"), (2, "N")]),
    }
}

fn order(writer: &mut Writer, telling: &Telling<'_>, report: &Report, panel: &Panel) {
    let (placer, filler) = (format!("P{:08}^RYJ", report.order), format!("L{:08}^WINPATH", report.order));
    let status = status(report.status);
    writer.segment(
        "ORC",
        &[
            (1, "RE"),
            (2, &placer),
            (3, &filler),
            (5, if report.status == Status::Preliminary { "IP" } else { "CM" }),
            (9, &digits(report.drawn - 10 * MINUTE)),
        ],
    );
    let loinc = if panel.loinc.is_empty() { String::new() } else { format!("^{}^{}^LN", panel.loinc, panel.text) };
    writer.segment(
        "OBR",
        &[
            (1, "1"),
            (2, &placer),
            (3, &filler),
            (4, &format!("{}^{}^WinPath{loinc}", panel.local, panel.text)),
            (7, &digits(report.drawn)),
            (14, &digits(report.drawn + 25 * MINUTE)),
            (15, "BLD^Blood"),
            (22, &digits(telling.step.at)),
            (24, if panel.local == "FBC" { "HM" } else { "CH" }),
            (25, status),
        ],
    );
}

fn results(writer: &mut Writer, report: &Report, panel: &Panel) {
    let mut rng = Rng::of(report.seed, &[]);
    let analytes = match report.status {
        // What was ready first.
        Status::Preliminary => panel.analytes.get(..panel.analytes.len().div_ceil(2)).unwrap_or_default(),
        _ => panel.analytes,
    };
    for (n, analyte) in (1..).zip(analytes) {
        let (mut value, mut flag) = measure(&mut rng, analyte);
        if report.status == Status::Corrected && n == 1 {
            (value, flag) = measure(&mut Rng::of(report.seed, &[1]), analyte);
        }
        result(writer, report, n, analyte, (&value, flag));
    }
    if rng.permille(350) {
        writer.segment("NTE", &[(1, "1"), (2, "L"), (3, &escape(rng.pick(&NOTES, "")))]);
    }
}

fn result(writer: &mut Writer, report: &Report, n: i64, analyte: &Analyte, (value, flag): (&str, &str)) {
    let code = if analyte.loinc.is_empty() {
        format!("{}^{}^WinPath", analyte.local, analyte.text)
    } else {
        format!("{}^{}^LN^{}^{}^WinPath", analyte.loinc, analyte.text, analyte.local, analyte.text)
    };
    writer.segment(
        "OBX",
        &[
            (1, &n.to_string()),
            (2, "NM"),
            (3, &code),
            (5, value),
            (6, &format!("{0}^{0}^UCUM", analyte.unit)),
            (7, &range(analyte)),
            (8, flag),
            (11, status(report.status)),
            (14, &digits(report.drawn)),
            (15, "RYJ03^St Mary's Pathology"),
            (19, &digits(report.drawn + 40 * MINUTE)),
            (23, "St Mary's Pathology^^^^^ODS^XX^^^RYJ03"),
        ],
    );
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Preliminary => "P",
        Status::Final => "F",
        Status::Corrected => "C",
    }
}
