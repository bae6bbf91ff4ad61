//! What the benchmarks of a log share: keys, messages, a clock, and the processor time that they cost.

use std::sync::atomic::{AtomicU64, Ordering};

use weft_log::{Draft, Same};
use weft_model::{
    Clock, Payload, Random, SourceRecordId, Verdict,
    proto::event::{Fact, Line, MessageReceived, Precision, When},
};

/// Bytes of a raw message as hospitals send them.
pub(crate) const RAW_BYTES: usize = 1400;

pub(crate) struct System;

impl Random for System {
    #[expect(clippy::disallowed_methods, reason = "the one real source of chance in this program")]
    fn fill(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).unwrap();
    }
}

/// A second later each time that it is asked.
pub(crate) struct Ticks(pub(crate) AtomicU64);

impl Clock for Ticks {
    fn now_us(&self) -> i64 {
        1_000_000 * self.0.fetch_add(1, Ordering::Relaxed) as i64
    }
}

/// Seconds of processor time that this process has used, user and system.
pub(crate) fn cpu_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Seconds of processor time that the whole machine has used.
pub(crate) fn busy_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let fields = stat.lines().next().unwrap().split_whitespace().skip(1).map(|n| n.parse::<f64>().unwrap());
    // Without idle and waiting for the disk.
    fields.enumerate().filter(|(n, _)| ![3, 4].contains(n)).map(|(_, n)| n).sum::<f64>() / 100.0
}

/// An admission whose raw message is about so many bytes long, with a few facts; no two are alike, and eight are of one record.
pub(crate) fn message(n: u64, raw_bytes: usize) -> Draft {
    let record = n / 8 * 7919 % 1_000_003;
    let word =
        |salt: u64| (n.wrapping_mul(6364136223846793005).wrapping_add(salt.wrapping_mul(1442695040888963407))) >> 40;
    let mut raw =
        format!("MSH|^~\\&|PAS|RYJ|WEFT|WEFT|20240501103005||ADT^A01|MSG{n:010}|P|2.4\rEVN|A01|20240501103005\r");
    raw += &format!(
        "PID|1||{record:07}^^^RYJ^MR~99900{:05}^^^NHS^NH||FAMILY{}^GIVEN{}||19{:02}0{}1{}|F|||{} HIGH STREET^^LONDON^^W{} {}AB\r",
        word(1) % 100_000,
        word(2),
        word(3),
        word(4) % 100,
        1 + word(5) % 9,
        word(6) % 9,
        word(7) % 300,
        word(8) % 14,
        word(9) % 9
    );
    while raw.len() < raw_bytes {
        raw += &format!(
            "OBX|{}|NM|{}^Observation name^L||{}.{}|mmol/L|3.5-5.3|N|||F|||20240501{:06}\r",
            raw.len(),
            word(raw.len() as u64),
            word(3 + raw.len() as u64) % 50,
            word(10) % 10,
            word(11) % 240_000
        );
    }
    let when = || {
        Some(When {
            start_us: 1_714_555_805_000_000 + word(12) as i64,
            precision: Precision::Second.into(),
            offset_s: 3600,
            offset_stated: false,
        })
    };
    let fact = |k: u64| {
        Fact {
        resource_type: "Observation".to_owned(),
        id: format!("{:032x}", u128::from(word(k)) << 64 | u128::from(word(k + 1))),
        resource: format!(
            "{{\"resourceType\":\"Observation\",\"status\":\"final\",\"identifier\":[{{\"system\":\"urn:ryj\",\"value\":\"{}\"}}],\"code\":{{\"coding\":[{{\"system\":\"http://loinc.org\",\"code\":\"{}-{}\",\"display\":\"Potassium [Moles/volume] in Serum or Plasma\"}}]}},\"subject\":{{\"reference\":\"Patient/\"}},\"effectiveDateTime\":\"2024-05-01T10:30:05+01:00\",\"valueQuantity\":{{\"value\":{}.{},\"unit\":\"mmol/L\",\"system\":\"http://unitsofmeasure.org\"}}}}",
            word(k + 2), word(k + 3) % 99_999, word(k + 4) % 10, word(k + 5) % 30, word(k + 6) % 10
        )
        .into(),
        occurred: when(),
        recorded: when(),
        location: format!("OBX[{k}]"),
        line: Some(Line { title: "Potassium".to_owned(), detail: format!("{}.{} mmol/L (3.5-5.3)", word(k) % 9, word(k + 1) % 9), status: "final".to_owned(), ..Line::default() }),
        ..Fact::default()
    }
    };
    Draft {
        same: Same::Message,
        feed: "ryj-pas".to_owned(),
        control_id: format!("MSG{n:010}"),
        message_type: "ADT^A01".to_owned(),
        verdict: Verdict::Accepted,
        received_us: 1_714_555_805_250_000 + n as i64,
        cause: None,
        payload: Payload::MessageReceived(MessageReceived {
            raw: raw.into(),
            record: Some(SourceRecordId {
                organisation: "RYJ".to_owned(),
                system: "RYJ-MRN".to_owned(),
                value: format!("{record:07}"),
            }),
            facts: (0..5 * raw_bytes as u64 / 1400).map(|k| fact(k * 10)).collect(),
            ..MessageReceived::default()
        }),
    }
}
